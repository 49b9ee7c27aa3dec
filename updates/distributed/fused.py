"""Many tensors in one buffer: packed, compared between processes, and summed.

- ``Fused``: the tensors of one dtype of an operation, and their reduction
- ``FUSED``: all such objects of existing graphs and functions, by number
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from pytensor.tensor.type import TensorType

from updates.distributed.machines import Machine, allreduce, machine_of
from updates.distributed.narrow import WIRES
from updates.distributed.processes import agree, key_of
from updates.distributed.waiting import Waiting

_NAMED = 3  # tensors that a process which waits names


class Fused:
    """Tensors of one dtype, packed into one buffer and reduced together.

    Parameters
    ----------
    name, comm, types, labels, wire
        As in `AllReduce`, for all tensors of the operation.
    places : list of int
        The positions of these tensors among them.

    Attributes
    ----------
    number : int
        The key in `FUSED` by which compiled code finds this object.
    scale : numpy scalar
        What the tensors are multiplied by before they are summed.
    waiting : Waiting
        Around each reduction.
    """

    def __init__(
        self,
        name: str,
        comm: Any,
        places: list[int],
        types: Sequence[TensorType],
        labels: Sequence[str],
        wire: str | None,
    ) -> None:
        self.comm = comm
        self.places = places
        self.dtype = np.dtype(types[places[0]].dtype)
        self.ndims = [types[place].ndim for place in places]
        self.scale = self.dtype.type(1 / comm.size if name == "allreduce_mean" else 1)
        # About all tensors, so that a difference in those of another dtype shows, too.
        self.title = f"{name} of {len(types)} tensor{'s' * (len(types) > 1)}"
        self.title += f" by {wire}" if wire else ""
        self.wire = wire if wire in WIRES else None
        self.tensors = [f"{label}: {t.dtype}" for label, t in zip(labels, types, strict=True)]
        self.waiting = Waiting(comm, f"{self.title} ({', '.join(self.tensors[:_NAMED])})")
        self._start()

    def _start(self) -> None:
        self.number = next(_NUMBERS)
        FUSED[self.number] = self
        self._free: list[np.ndarray] = []
        self._shapes: object = None
        self._key = 0
        self._shared = False
        self._machine: Machine | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is of use in this process only."""
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the object of a pickled function."""
        self.__dict__.update(state)
        self._start()

    def agree(self, shapes: object, listed: Callable[[], Iterable[Any]]) -> None:
        """Make sure that all processes are about to reduce tensors of these shapes.

        `shapes` stands for them in a comparison with the last call's, `listed` returns them one by
        one.
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
        """Return a buffer that is reused as soon as nothing refers to it or to a part of it.

        The system would have to map new memory for every call, page after page.
        """
        memory = self._free.pop() if self._free else np.empty(size, self.dtype)
        if memory.size < size:
            memory = np.empty(size, self.dtype)
        return np.asarray(_Lease(memory, self._free))[:size]

    def reduce(self, tensors: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the sums or means of the tensors over all processes."""
        shapes = [tensor.shape for tensor in tensors]
        ends = np.cumsum([tensor.size for tensor in tensors]).tolist()
        with self.waiting:
            self.agree(shapes, lambda: shapes)
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
        """Return where to pack this process's tensors: in shared memory or in its own buffer."""
        if self._machine is None:
            self._machine = machine_of(self.comm)
        self._shared = self._machine.shares(size * self.dtype.itemsize)
        return self._machine.own_row(size, self.dtype) if self._shared else self.lease(size)

    def total(self, packed: np.ndarray) -> np.ndarray:
        """Return the sum over all processes of what they have packed."""
        if self._machine is not None and self._shared:
            result = self.lease(packed.size)
            self._machine.sum(result, self.wire)
            return result
        is_alone = self._machine is not None and self._machine.is_alone
        allreduce(self.comm, packed, None if is_alone else self.wire)
        return packed


FUSED: WeakValueDictionary[int, Fused] = WeakValueDictionary()
_NUMBERS = itertools.count()


class _Lease:
    """Memory on loan: an array and its views refer to this object, which returns it in the end."""

    def __init__(self, memory: np.ndarray, free: list[np.ndarray]) -> None:
        self.memory, self.free = memory, free
        self.__array_interface__ = memory.__array_interface__

    def __del__(self) -> None:
        self.free[:] = [self.memory]  # only the latest: memory that was needed once is let go
