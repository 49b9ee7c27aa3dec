"""Gradients summed or averaged over the processes of a job, as one operation of the graph.

- ``allreduce_mean``, ``allreduce_sum``: gradients -> gradients
- ``AllReduce``: the operation: all gradients of a dtype are packed into one buffer and reduced
- ``Fused``: the tensors of one dtype, their buffer, and the reduction itself
- ``OrderReductions``: the rewrite that puts the reductions of a function into one order
- ``LoadConversion``: the rewrite that loads what numba or JAX need to run one
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import pytensor.tensor as pt
from pytensor.compile.mode import optdb
from pytensor.graph.basic import Apply, Variable
from pytensor.graph.features import ReplaceValidate
from pytensor.graph.fg import FunctionGraph
from pytensor.graph.op import Op
from pytensor.graph.rewriting.basic import GraphRewriter
from pytensor.tensor.type import TensorType
from pytensor.tensor.variable import TensorVariable

from updates import provenance
from updates.distributed.machines import allreduce, machine_of
from updates.distributed.processes import agree, communicator, key_of
from updates.gradients.constraints import checked_tensors
from updates.multi_tensor import numba_is_ready


def allreduce_mean(grads: Variable | Iterable[Variable], comm: Any = None) -> list[TensorVariable]:
    """Average gradients over all processes, each of which has computed them on its own batch.

    ``(g of rank 0 + g of rank 1 + ...) / number of processes``, for every element

    Goes between gradients and rule, and makes ``k`` processes with batches of ``B`` take the
    steps of one process with batches of ``k*B``, if the loss is a mean over the batch.

    Parameters
    ----------
    grads : symbolic tensor, or iterable of symbolic tensors
        Floating-point gradients of any shapes and dtypes, or a loss. Of the same ones in all
        processes.
    comm : mpi4py.MPI.Intracomm, optional
        The processes that work together. By default all of the job.

    Returns
    -------
    list of symbolic tensors
        The means, with dtypes kept, bit for bit the same in all processes. An infinity or a NaN
        of one process arrives in all of them, so that guards such as `apply_if_finite` decide
        alike.

    Raises
    ------
    TypeError
        If a gradient is not a floating-point tensor, or `comm` is no communicator.
    ValueError
        If there are no gradients.
    MismatchError
        When the compiled function is called, in all processes: if their gradients differ in
        number, name, dtype or shape, if they call other functions, or if one of them has ended.

    See Also
    --------
    allreduce_sum : for losses that are sums.
    broadcast : equal parameters to start with.
    shard : the data of each process.

    Notes
    -----
    The gradients of a dtype are packed into one buffer, which is kept for the next call: in memory
    that the processes of a machine share (Linux), and from machine to machine by MPI in pieces of
    at most 16 MB. All reductions of a function happen in the same order in every process.

    The operation has no gradient itself: reduce gradients, not the loss that you take gradients
    of. Rules that need the loss, `sam` or `sophia`, cannot be run this way, and rules refuse
    averaged gradients for the rows ``W[index]`` of a table, which are others in each process.

    That one of the processes has ended is found among all of the job, but not in a `comm` of some
    of them. All of them have to import `updates.distributed`.

    It works on all backends of PyTensor. JAX calls back to Python for it, and puts a
    `MismatchError` into an error of its own.

    References
    ----------
    Sergeev, Del Balso (2018), "Horovod: fast and easy distributed deep learning in TensorFlow",
    arXiv:1802.05799, for the fused buffers.

    Examples
    --------
    Run by ``mpirun -n 4 python program.py``, or without mpirun as one process:

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
    return _reduced("allreduce_mean", grads, comm)


def allreduce_sum(grads: Variable | Iterable[Variable], comm: Any = None) -> list[TensorVariable]:
    """Sum gradients over all processes, each of which has computed them on its own batch.

    ``g of rank 0 + g of rank 1 + ...``, for every element

    Parameters
    ----------
    grads, comm
        As in `allreduce_mean`.

    Returns
    -------
    list of symbolic tensors
        The sums, with dtypes kept, bit for bit the same in all processes.

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
    return _reduced("allreduce_sum", grads, comm)


def _reduced(owner: str, grads: Any, comm: Any) -> list[TensorVariable]:
    comm = communicator(owner, comm)
    tensors = checked_tensors(owner, "grads", grads)
    labels = [_label(tensor, index) for index, tensor in enumerate(tensors)]
    # MPI knows no float16.
    wide = [pt.cast(t, "float32") if t.type.dtype == "float16" else t for t in tensors]
    labels = [
        f"{label} (float16)" if tensor.type.dtype == "float16" else label
        for label, tensor in zip(labels, tensors, strict=True)
    ]
    types = [tensor.type for tensor in wide]
    results: Any = AllReduce(owner, comm, types, labels)(*wide, return_list=True)
    return [
        pt.cast(result, tensor.type.dtype) for result, tensor in zip(results, tensors, strict=True)
    ]


def _label(tensor: TensorVariable, index: int) -> str:
    """Name a gradient after its parameter, or by its own name, or by its place."""
    names = [param.name for param in provenance.of(tensor).gradient_of if param.name]
    return " and ".join(names) or tensor.name or f"grads[{index}]"


class AllReduce(Op):
    """Sum or average tensors over processes.

    ``number`` tells one such operation from another, ``made`` says which was made first.

    Parameters
    ----------
    owner : str
        The public function, "allreduce_mean" or "allreduce_sum".
    comm : mpi4py.MPI.Intracomm
        The processes.
    types : list of TensorType
        Those of the inputs. What a node has beyond these is only waited for.
    labels : list of str
        How messages name the inputs.
    """

    __props__ = ("number",)
    of_all_processes = True  # so that rules refuse it for rows
    _numbers = itertools.count()

    def __init__(
        self, owner: str, comm: Any, types: Sequence[TensorType], labels: Sequence[str]
    ) -> None:
        self.number = self.made = next(self._numbers)
        self.name_of_each = owner  # for `describe`
        self.n_tensors = len(types)
        places: dict[str, list[int]] = {}
        for place, tensor_type in enumerate(types):
            places.setdefault(tensor_type.dtype, []).append(place)
        self.fused = [Fused(owner, comm, own, types, labels) for own in places.values()]

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Come back in a pickled function, as an operation of its own.

        `made` stays as it was, so that copies have the order of the originals.
        """
        self.__dict__.update(state, number=next(self._numbers))
        if numba_is_ready():  # no rewrite runs again
            import_module("updates.distributed.numba_reduction")

    def __str__(self) -> str:
        """Name the function and the number of tensors."""
        return f"{self.name_of_each}{{{self.n_tensors}}}"

    def make_node(self, *inputs: Any) -> Apply:
        """Make the node: each tensor is reduced to one of its own type."""
        return Apply(self, list(inputs), [v.type() for v in inputs[: self.n_tensors]])

    def infer_shape(self, *arguments: Any) -> Any:
        """Return the shapes of the inputs, which the processes agree on."""
        input_shapes = arguments[-1]  # PyTensor 3.0 gives the function graph as well
        return input_shapes[: self.n_tensors]

    def do_constant_folding(self, fgraph: FunctionGraph, node: Apply) -> bool:
        """Stay: what compiles may not wait for other processes."""
        return False

    def pullback(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        """Refuse: the gradient of what is already a mean of all processes is seldom meant."""
        name = self.name_of_each
        raise NotImplementedError(
            f"{name} has no gradient. Differentiate the loss of the process's own batch and reduce "
            f"the gradients: {name}(get_or_compute_grads(loss, params))"
        )

    def perform(self, node: Apply, inputs: Any, output_storage: Any) -> None:
        """Reduce the tensors."""
        results = self.reduce(inputs[: self.n_tensors])
        for storage, result in zip(output_storage, results, strict=True):
            storage[0] = result

    def reduce(self, tensors: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Reduce the tensors of each dtype."""
        results: dict[int, np.ndarray] = {}
        for fused in self.fused:
            reduced = fused.reduce([tensors[place] for place in fused.places])
            results |= zip(fused.places, reduced, strict=True)
        return [results[place] for place in range(self.n_tensors)]


class Fused:
    """Tensors of one dtype that are reduced as one.

    Parameters
    ----------
    owner, comm, types, labels
        As in `AllReduce`, those of all tensors.
    places : list of int
        Which of the tensors these are.

    Attributes
    ----------
    number : int
        The key in `FUSED`, by which compiled code finds it.
    scale : numpy scalar
        What the tensors are multiplied by before they are summed.
    """

    def __init__(
        self,
        owner: str,
        comm: Any,
        places: list[int],
        types: Sequence[TensorType],
        labels: Sequence[str],
    ) -> None:
        self.comm = comm
        self.places = places
        self.dtype = np.dtype(types[places[0]].dtype)
        self.ndims = [types[place].ndim for place in places]
        self.scale = self.dtype.type(1 / comm.size if owner == "allreduce_mean" else 1)
        # Of all tensors, so that processes that differ in those of another dtype say so at once.
        self.title = f"{owner} of {len(types)} tensor{'s' * (len(types) > 1)}"
        self.tensors = [f"{label}: {t.dtype}" for label, t in zip(labels, types, strict=True)]
        self._start()

    def _start(self) -> None:
        self.number = next(_NUMBERS)
        FUSED[self.number] = self
        self._free: list[np.ndarray] = []
        self._shapes: object = None
        self._key = 0
        self._shared = False

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what belongs to this process alone."""
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Come back in a pickled function."""
        self.__dict__.update(state)
        self._start()

    def agree(self, shapes: object, listed: Callable[[], Iterable[Any]]) -> None:
        """Make sure that all processes are about to reduce tensors of these shapes.

        `shapes` is anything that tells shapes apart, `listed` returns them one by one.
        """
        if shapes != self._shapes:
            self._key = key_of(self._lines(listed()))
            self._shapes = shapes
        agree(self.comm, self._key, lambda: self._lines(listed()))

    def _lines(self, shapes: Iterable[Any]) -> list[str]:
        tensors = list(self.tensors)
        for place, shape in zip(self.places, shapes, strict=True):
            tensors[place] += f", shape {tuple(shape)}"
        return [self.title, *tensors]

    def lease(self, size: int) -> np.ndarray:
        """Return a buffer that is used again once nothing refers to it or to a part of it.

        New memory for every call would have to be mapped by the system, page after page.
        """
        memory = self._free.pop() if self._free else np.empty(size, self.dtype)
        if memory.size < size:
            memory = np.empty(size, self.dtype)
        return np.asarray(_Lease(memory, self._free))[:size]

    def reduce(self, tensors: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the sums or means of the tensors over all processes."""
        shapes = [tensor.shape for tensor in tensors]
        self.agree(shapes, lambda: shapes)
        ends = np.cumsum([tensor.size for tensor in tensors]).tolist()
        packed = self.place(ends[-1])
        np.concatenate([tensor.ravel() for tensor in tensors], out=packed)
        packed *= self.scale
        total = self.total(packed)
        starts = [0, *ends]
        return [
            total[start:end].reshape(shape)
            for start, end, shape in zip(starts, ends, shapes, strict=False)
        ]

    def place(self, size: int) -> np.ndarray:
        """Return where to pack this process's tensors: shared memory, or a buffer of its own."""
        machine = machine_of(self.comm)
        self._shared = machine.shares(size * self.dtype.itemsize)
        return machine.own(size, self.dtype) if self._shared else self.lease(size)

    def total(self, packed: np.ndarray) -> np.ndarray:
        """Return the sum over all processes of what they have packed."""
        if self._shared:
            result = self.lease(packed.size)
            machine_of(self.comm).sum(result)
            return result
        allreduce(self.comm, packed)
        return packed


class _Lease:
    """Memory on loan: what an array, or a view of it, refers to as long as it lives."""

    def __init__(self, memory: np.ndarray, free: list[np.ndarray]) -> None:
        self.memory, self.free = memory, free
        self.__array_interface__ = memory.__array_interface__

    def __del__(self) -> None:
        self.free[:] = [self.memory]  # the latest alone, or memory once needed would never go


# Those of existing graphs and functions.
FUSED: WeakValueDictionary[int, Fused] = WeakValueDictionary()
_NUMBERS = itertools.count()


class OrderReductions(GraphRewriter):
    """Let every reduction of a function wait for the one before it.

    Processes that reduce in different orders exchange the wrong tensors, or wait for each other
    forever. The order is that in which the program made the reductions, where none needs the
    result of another.
    """

    def add_requirements(self, fgraph: FunctionGraph) -> None:
        """Ask for replacements that are checked."""
        fgraph.attach_feature(ReplaceValidate())

    def apply(self, fgraph: FunctionGraph) -> None:
        """Give each reduction a result of the one before it as a further input."""
        depth: dict[Apply, int] = {}
        for node in fgraph.toposort():
            parents = [variable.owner for variable in node.inputs if variable.owner is not None]
            before = max((depth[parent] for parent in parents), default=0)
            depth[node] = before + isinstance(node.op, AllReduce)
        nodes: Any = [node for node in depth if isinstance(node.op, AllReduce)]
        nodes.sort(key=lambda node: (depth[node], node.op.made, node.op.number))
        for position in range(1, len(nodes)):
            node, token = nodes[position], nodes[position - 1].outputs[0]
            if token not in node.inputs:
                nodes[position] = node.op.make_node(*node.inputs[: node.op.n_tensors], token)
                pairs = list(zip(node.outputs, nodes[position].outputs, strict=True))
                fgraph.replace_all_validate(pairs, reason="order_reductions")


class LoadConversion(GraphRewriter):
    """Load the module that tells a backend how to run a reduction, where one is compiled."""

    def __init__(self, backend: str) -> None:
        self.backend = backend

    def apply(self, fgraph: FunctionGraph) -> None:
        """Import it; without it numba would leave the operation to Python."""
        is_needed = any(isinstance(node.op, AllReduce) for node in fgraph.apply_nodes)
        if is_needed and (self.backend != "numba" or numba_is_ready()):
            import_module(f"updates.distributed.{self.backend}_reduction")


# After elementwise fusion (49), before the in-place rewrites (49.5 on).
optdb.register("order_reductions", OrderReductions(), "fast_run", "fast_compile", position=49.4)
for backend in ("numba", "jax"):
    optdb.register(f"{backend}_reduction", LoadConversion(backend), backend, position=49.4)
