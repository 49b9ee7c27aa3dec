"""What processes share: equal starts, the data, one checkpoint.

- ``broadcast``: give all processes the values of one of them
- ``shard``: the rows of this process
- ``save``, ``load``: the root writes and reads the file, and all take part
"""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Variable
from pytensor.graph.traversal import ancestors

from updates import checkpoint
from updates.arguments import kind_of
from updates.declaration import declared
from updates.distributed.machines import BUCKET
from updates.distributed.processes import agree_on, communicator, is_root
from updates.distributed.waiting import Waiting
from updates.given_numbers import is_number
from updates.keys import Saved, keyed, reusable, variables_of
from updates.kinds import Integer, TrueOrFalse
from updates.loss_graph import by_age
from updates.state_dict import assign, checked_value, to_array

T = TypeVar("T")


@declared
def broadcast(
    params: SharedVariable | Sequence[SharedVariable] | Mapping[SharedVariable, Any],
    root: int = 0,
    comm: Any = None,
) -> None:
    """Give the variables of all processes the values that they have in one of them.

    Call it once, before training: from equal parameters `allreduce_mean` leads to equal steps.

    Parameters
    ----------
    params : shared variable, list of shared variables, or dictionary of updates
        The variables to make equal, or a dictionary, of which all variables that it changes, and
        the numbers in it that `updates.hyperparameters` can change.
    root : int, optional
        The rank whose values count, from 0 to the number of processes - 1.
    comm : mpi4py.MPI.Intracomm, optional
        The processes that work together. By default all of the job.

    Raises
    ------
    TypeError
        If `params` holds anything but shared variables of arrays or random generators, or
        another argument is of the wrong type.
    ValueError
        If `params` is empty, or `root` is not the rank of a process.
    MismatchError
        In all processes, if their variables differ in number, name, dtype or shape. No value is
        changed then.

    Examples
    --------
    >>> import numpy as np, pytensor
    >>> from updates.distributed import broadcast
    >>> w = pytensor.shared(np.random.default_rng().normal(size=3), name="w")
    >>> broadcast([w])  # now w holds the same numbers in all processes
    """
    comm = communicator(comm)
    if isinstance(params, Variable):
        params = [params]
    if not isinstance(params, Sequence | Mapping) or isinstance(params, str):
        raise TypeError(
            f"params must be a list of shared variables or a dictionary of updates, got "
            f"{params!r} of type {kind_of(params)}"
        )
    variables = list(params)
    if isinstance(params, Mapping):
        values = [value for value in params.values() if isinstance(value, Variable)]
        numbers: list[Any] = by_age(filter(is_number, ancestors(values)))
        variables += numbers
    if not variables:
        raise ValueError("params is empty, give at least one shared variable")
    for index, variable in enumerate(variables):
        if not isinstance(variable, SharedVariable):
            raise TypeError(
                f"params[{index}] must be a shared variable (made by pytensor.shared), "
                f"got {variable!r} of type {kind_of(variable)}"
            )
    Integer(0).check("root", root)
    if root >= comm.size:
        raise ValueError(
            f"root must be a rank from 0 to {comm.size - 1}, as there are {comm.size} "
            f"processes, got {root}"
        )
    _broadcast("broadcast", variables, root, comm)


def _broadcast(title: str, variables: Sequence[Any], root: int, comm: Any) -> None:
    arrays = [to_array(variable) for variable in variables]
    is_generator = [
        isinstance(variable.get_value(borrow=True), np.random.Generator) for variable in variables
    ]
    lines = [f"{title} of {len(arrays)} variables from rank {root}"]
    for index, (variable, array, generator) in enumerate(
        zip(variables, arrays, is_generator, strict=True)
    ):
        kind = "a random generator" if generator else f"{array.dtype}, shape {array.shape}"
        lines.append(f"{variable.name or f'params[{index}]'}: {kind}")
    agree_on(comm, lines)
    with Waiting(comm, title):
        news = [
            _sent(array, generator, root, comm)
            for array, generator in zip(arrays, is_generator, strict=True)
        ]
    values = [
        (variable, checked_value(str(variable), variable, new))
        for variable, new in zip(variables, news, strict=True)
    ]
    if comm.rank != root:
        assign(values)


def _sent(array: np.ndarray, is_generator: bool, root: int, comm: Any) -> np.ndarray:
    """Return an array of the root in all processes, each of which gives its own."""
    if is_generator:  # its state is a text, whose length the other processes do not know
        return comm.bcast(array, root)
    new = np.array(array, order="C")  # reshape must return a view of it
    octets = new.reshape(-1).view(np.uint8)
    for start in range(0, octets.size, BUCKET):
        comm.Bcast(octets[start : start + BUCKET], root)
    return new


@declared
def shard(
    arrays: Sequence[Any], seed: int = 0, drop_last: bool = False, comm: Any = None
) -> list[np.ndarray]:
    """Return the rows of this process: disjoint parts of equal size, which cover all data.

    The rows are shuffled before they are dealt out; the same rows of all arrays stay together.

    Parameters
    ----------
    arrays : list of arrays
        All data, the same in every process, such as ``[images, labels]``, with equally many rows.
    seed : int, optional
        Seed of the order of the rows, >= 0, the same in every process.
    drop_last : bool, optional
        Whether to leave out the rows that remain, chosen by `seed`, if the number of rows is not a
        multiple of the number of processes. By default such data are refused.
    comm : mpi4py.MPI.Intracomm, optional
        The processes that work together. By default all of the job.

    Returns
    -------
    list of numpy.ndarray
        Copies of this process's rows of each array.

    Raises
    ------
    TypeError
        If `arrays` is not a list of arrays, or another argument is of the wrong type.
    ValueError
        If there are no arrays, or they have different numbers of rows or too few, or the rows
        cannot be dealt out equally.
    MismatchError
        In all processes, if their arrays differ in shape or dtype, or their other arguments differ.

    Examples
    --------
    >>> from updates.distributed import shard
    >>> images, labels = shard([[[0.1], [0.2], [0.3], [0.4]], [1, 2, 3, 4]], seed=0)
    >>> len(images) == len(labels), (images[:, 0] * 10 == labels).all()
    (True, np.True_)
    """
    comm = communicator(comm)
    Integer(0).check("seed", seed)
    TrueOrFalse().check("drop_last", drop_last)
    if not isinstance(arrays, list | tuple):
        raise TypeError(
            f"arrays must be a list of arrays such as [x, y], got an object of type "
            f"{kind_of(arrays)}"
        )
    if not arrays:
        raise ValueError("arrays is empty, give at least one")
    data = [np.asarray(array) for array in arrays]
    for index, array in enumerate(data):
        if array.ndim == 0 or array.dtype == object:
            raise TypeError(f"arrays[{index}] must be an array with rows, got {arrays[index]!r}")
        if len(array) != len(data[0]):
            raise ValueError(f"arrays[{index}] has {len(array)} rows, arrays[0] has {len(data[0])}")
    lines = [f"shard of {len(data)} arrays with seed {seed}, drop_last {drop_last}"]
    lines += [f"arrays[{k}]: {array.dtype}, shape {array.shape}" for k, array in enumerate(data)]
    agree_on(comm, lines)
    n_rows = len(data[0])
    size, rest = divmod(n_rows, comm.size)
    if size == 0:
        raise ValueError(f"{n_rows} rows are too few for {comm.size} processes")
    if rest and not drop_last:
        raise ValueError(
            f"{n_rows} rows cannot be dealt out to {comm.size} processes in equal parts; "
            f"drop_last=True leaves out {rest}"
        )
    order = np.random.default_rng(seed).permutation(n_rows)
    own = order[comm.rank * size : (comm.rank + 1) * size]
    return [array[own] for array in data]


@declared
def save(path: str | os.PathLike[str], updates: Saved, extra: Any = None, comm: Any = None) -> None:
    """Write a checkpoint as `updates.save` does, in the root only, while the others wait.

    Parameters
    ----------
    path, updates, extra
        As in `updates.save`.
    comm : mpi4py.MPI.Intracomm, optional
        The processes that work together. By default all of the job.

    Raises
    ------
    OSError, ValueError, TypeError
        In all processes: as `updates.save` does in the root.
    MismatchError
        In all processes, if one of them does something else.

    See Also
    --------
    load : read it, also with another number of processes.

    Examples
    --------
    >>> import pytensor, tempfile, updates
    >>> from updates import distributed
    >>> w = pytensor.shared(1.0, name="w")
    >>> rule = updates.adam(w**2, [w])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     distributed.save(f"{folder}/run.npz", rule, extra={"epoch": 3})
    ...     distributed.load(f"{folder}/run.npz", rule)
    {'epoch': 3}
    """
    comm = communicator(comm)
    agree_on(comm, ["save"])
    _in_root(comm, "save", lambda: checkpoint.save(path, updates, extra))


@declared
def load(
    path: str | os.PathLike[str],
    updates: Saved,
    strict: bool = True,
    comm: Any = None,
    names: Mapping[str, str] | None = None,
) -> Any:
    """Restore a checkpoint as `updates.load` does: the root reads it, and all get the values.

    The number of processes may differ from that when it was saved. Only the root needs the file.

    Parameters
    ----------
    path, updates, strict, names
        As in `updates.load`.
    comm : mpi4py.MPI.Intracomm, optional
        The processes that work together. By default all of the job.

    Returns
    -------
    JSON-able
        The `extra` that was saved, in all processes.

    Raises
    ------
    CheckpointError, OSError, ValueError, TypeError
        In all processes: as `updates.load` does in the root. Every variable is then as it was.
    MismatchError
        In all processes, if their variables differ in number, name, dtype or shape.

    Notes
    -----
    Generators that the function advances by itself (``default_update``), those of dropout for
    instance, are restored in the root and stay as they are in the others, so that the masks of
    processes differ.

    Examples
    --------
    See `save`.
    """
    comm = communicator(comm)
    own: Any = reusable(updates)
    keys = keyed(own)
    given = variables_of(own)
    variables = [v for v in keys.values() if v in given or v.default_update is None]
    agree_on(comm, [f"load of {len(keys)} variables", *keys])
    extra = _in_root(comm, "load", lambda: checkpoint.load(path, own, strict, names))
    _broadcast("load", variables, 0, comm)
    return extra


def _in_root(comm: Any, title: str, action: Callable[[], T]) -> T:
    """Call a function in the root; all processes return its result or raise its error."""
    result = error = None
    if is_root(comm):
        try:
            result = action()
        except (OSError, ValueError, TypeError) as problem:
            error = problem
    with Waiting(comm, title):
        result, error = comm.bcast((result, error))
    if error is not None:
        raise error
    return result
