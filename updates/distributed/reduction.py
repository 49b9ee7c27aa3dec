"""Gradients summed or averaged over the processes of a job, as one operation of the graph.

- ``allreduce_mean``, ``allreduce_sum``: gradients -> gradients
"""

from collections.abc import Iterable
from typing import Any

import pytensor.tensor as pt
from pytensor.graph.basic import Variable
from pytensor.tensor.variable import TensorVariable

from updates import provenance
from updates.arguments import checked_tensors, kept, renamed
from updates.conditional import condition_on
from updates.declaration import declared
from updates.distributed.narrow import WIRES
from updates.distributed.operation import AllReduce
from updates.distributed.processes import communicator
from updates.kinds import OneOf
from updates.private import REDUCTION_ORDER

with REDUCTION_ORDER.needed():
    from updates.distributed import rewrites as rewrites  # registers them


@declared
def allreduce_mean(
    grads: Variable | Iterable[Variable], comm: Any = None, wire: str | None = None
) -> list[TensorVariable]:
    """Average gradients over all processes, each of which has computed them on its own batch.

    ``(g of rank 0 + g of rank 1 + ...) / number of processes``, for every element

    It goes between gradients and rule. If the loss is a mean over the batch, ``k`` processes with
    batches of ``B`` then take the steps of one process with batches of ``k*B``.

    Parameters
    ----------
    grads : symbolic tensor, or iterable of symbolic tensors
        Floating-point gradients of any shapes and dtypes, or a loss; the same in all processes.
    comm : mpi4py.MPI.Intracomm, optional
        The processes that work together. By default all of the job.
    wire : {'float32', 'float16', 'bfloat16'}, optional
        How numbers travel, where that takes less than their own dtype. They are added up in float32
        then. By default they stay as they are.

    Returns
    -------
    list of symbolic tensors
        The means, of unchanged dtypes, bit for bit the same in all processes. An infinity or a
        NaN of one process arrives in all of them, so that guards such as `apply_if_finite` decide
        alike.

    Raises
    ------
    TypeError
        If a gradient is not a floating-point tensor, or `comm` is not a communicator.
    ValueError
        If there are no gradients, or `wire` is not one of these.
    MismatchError
        In all processes, when the compiled function is called: if their gradients differ in
        number, name, dtype or shape, if they call different functions, or if one of them has
        ended.

    See Also
    --------
    allreduce_sum : for losses that are sums.
    broadcast : equal parameters to start with.
    shard : each process's part of the data.

    Notes
    -----
    The gradients of a dtype are packed into one buffer, which is kept for the next call. The
    processes of one machine add them up in memory that they share (on Linux), and MPI sums over
    machines, in pieces of at most 16 MB. All reductions of a function happen in the same order in
    every process.

    In 16 bits numbers travel between machines only, in exchanges of at least 32 kB: within a
    machine it would take longer. ``"float16"`` keeps 11 bits of numbers that are not below 2^-29 of
    the largest one in a part of the buffer, by a scale that travels with it; ``"bfloat16"`` keeps 8
    bits of every number. Each is rounded twice, whatever the number of machines.

    The operation has no gradient: reduce gradients, not the loss that they are taken of. Rules
    that need the loss, such as `sam` and `sophia`, cannot be run this way, and rules refuse
    averaged gradients for the rows ``W[index]`` of a table, which differ between processes.

    A process that has ended is noticed if the others are all the rest of the job, but not if
    `comm` holds only some of its processes.

    It works on all backends of PyTensor. JAX calls back to Python for it, and wraps a
    `MismatchError` in an error of its own.

    References
    ----------
    Sergeev, Del Balso (2018), "Horovod: fast and easy distributed deep learning in TensorFlow",
    arXiv:1802.05799: one buffer for many gradients.

    Examples
    --------
    To be run by ``mpirun -n 4 python program.py``, or without mpirun as one process:

    >>> import numpy as np, pytensor, pytensor.tensor as pt, updates
    >>> from updates.distributed import allreduce_mean, shard
    >>> x, w = pt.matrix("x"), pytensor.shared(np.zeros(2), name="w")
    >>> loss = ((x @ w - 1.0) ** 2).mean()
    >>> grads = allreduce_mean(updates.get_or_compute_grads(loss, [w]))
    >>> [mean_loss] = allreduce_mean(loss)
    >>> rule = updates.rmsprop(grads, [w], learning_rate=0.1)
    >>> train = pytensor.function([x], mean_loss, updates=rule, mode="FAST_COMPILE")
    >>> [rows] = shard([np.eye(2).repeat(6, axis=0)], seed=0)
    >>> float(train(rows))
    1.0
    >>> w.get_value().round(3)
    array([0.316, 0.316])
    """
    return _reduced("allreduce_mean", grads, comm, wire)


@declared
def allreduce_sum(
    grads: Variable | Iterable[Variable], comm: Any = None, wire: str | None = None
) -> list[TensorVariable]:
    """Sum gradients over all processes, each of which has computed them on its own batch.

    ``g of rank 0 + g of rank 1 + ...``, for every element

    Parameters
    ----------
    grads, comm, wire
        As in `allreduce_mean`.

    Returns
    -------
    list of symbolic tensors
        The sums, of unchanged dtypes, bit for bit the same in all processes.

    Raises
    ------
    TypeError, ValueError, MismatchError
        As in `allreduce_mean`.

    See Also
    --------
    allreduce_mean : for losses that are means.

    Examples
    --------
    >>> import pytensor.tensor as pt
    >>> from updates.distributed import allreduce_sum, shard
    >>> x = pt.vector("x")
    >>> [total] = allreduce_sum(x.sum())
    >>> [numbers] = shard([[1.0, 2.0, 3.0, 6.0]], seed=0)
    >>> float(total.eval({x: numbers}))
    12.0
    """
    return _reduced("allreduce_sum", grads, comm, wire)


def _reduced(name: str, grads: Any, comm: Any, wire: str | None) -> list[TensorVariable]:
    comm = communicator(comm)
    if wire is not None:
        OneOf(("float32", *WIRES)).check("wire", wire)
    grads = kept(grads)
    tensors = checked_tensors("grads", grads)
    labels = [_label(tensor, index) for index, tensor in enumerate(tensors)]
    # MPI knows no float16.
    wide = [pt.cast(t, "float32") if wire or t.type.dtype == "float16" else t for t in tensors]
    labels = [
        f"{label} (float16)" if tensor.type.dtype == "float16" else label
        for label, tensor in zip(labels, tensors, strict=True)
    ]
    types = [tensor.type for tensor in wide]
    condition = condition_on(wide)
    inputs = wide if condition is None else [*wide, condition]
    reduction = AllReduce(name, comm, types, labels, condition is not None, wire)
    results: Any = reduction(*inputs, return_list=True)
    return renamed(
        grads,
        [
            pt.cast(result, tensor.type.dtype)
            for result, tensor in zip(results, tensors, strict=True)
        ],
    )


def _label(tensor: TensorVariable, index: int) -> str:
    """Name a gradient after its parameter, or by its own name, or by its position."""
    names = [param.name for param in provenance.of(tensor).gradient_of if param.name]
    return " and ".join(names) or tensor.name or f"grads[{index}]"
