"""Sums over processes; those of one machine use memory that all of them see.

- ``Machine``: the processes of a communicator that run on one machine, and the memory they share
- ``machine_of``, ``known_machine``: the machine of a communicator
- ``allreduce``: MPI's own sum, in place, in bounded pieces

MPI passes data from process to process, which between processes of one machine takes one copy more
than adding up in shared memory. So each process packs its tensors straight into shared memory and
adds up one slice of what all have packed there. MPI then sums the slices over machines, and every
process copies the result. (Two processes that are alone each add up all of it, which saves that
copy.) On systems other than Linux, and where machines have unequal numbers of processes, MPI does
everything.
"""

import mmap
import os
from typing import Any

import numpy as np
from mpi4py import MPI

from updates.distributed.narrow import allreduce_narrow

# Bytes that one call of MPI reduces at most. This bounds the memory that MPI takes for itself, and
# keeps the number of elements below 2^31, the limit of its counts.
BUCKET = 1 << 24

# Bytes from which shared memory is faster than a message.
WORTHWHILE = 1 << 15

_MACHINE = MPI.Comm.Create_keyval()


def allreduce(comm: Any, buffer: np.ndarray, wire: str | None = None) -> None:
    """Sum an array over all processes of a communicator, in place.

    With a `wire` of `narrow.WIRES` numbers travel in 16 bits, if they are so many that this counts.
    """
    if wire is not None and buffer.nbytes >= WORTHWHILE:
        allreduce_narrow(comm, buffer, wire)
        return
    step = BUCKET // buffer.itemsize
    for start in range(0, buffer.size, step):
        comm.Allreduce(MPI.IN_PLACE, buffer[start : start + step])


def machine_of(comm: Any) -> "Machine":
    """Return the machine of this process.

    The first call for a communicator has to be made by all its processes together.
    """
    machine = known_machine(comm)
    if machine is None:
        machine = Machine(comm)
        comm.Set_attr(_MACHINE, machine)
    return machine


def known_machine(comm: Any) -> "Machine | None":
    """Return the machine of this process if `machine_of` has been called for the communicator."""
    return comm.Get_attr(_MACHINE)


class Machine:
    """The processes of a communicator that run on the machine of this one.

    Parameters
    ----------
    comm : mpi4py.MPI.Intracomm
        The processes that work together.

    Attributes
    ----------
    local : mpi4py.MPI.Intracomm
        Those of them that run on this machine.
    across : mpi4py.MPI.Intracomm
        One process of each machine: those that sum the same slice.
    ranks : list of int
        The ranks in `comm` of the processes on this machine.
    hosts : list of str
        The name of the machine of each process.
    is_alone : bool
        Whether all processes run on this machine.
    """

    def __init__(self, comm: Any) -> None:
        self.comm = comm
        self.local = comm.Split_type(MPI.COMM_TYPE_SHARED, comm.rank)
        self.across = comm.Split(self.local.rank, comm.rank)
        self.ranks = self.local.allgather(comm.rank)
        found = comm.allgather((self.local.size, MPI.Get_processor_name()))
        self.hosts = [host for _, host in found]
        self.is_alone = self.local.size == comm.size
        can_map = self.local.size > 1 and hasattr(os, "memfd_create")
        self.can_share = can_map and len({size for size, _ in found}) == 1
        self.memory = self._nothing()
        counts = self._map(mmap.PAGESIZE) if can_map else None
        # A memoryview, because it is quicker to write one number to.
        self._begun = None if counts is None else memoryview(counts.view(np.int64)[:-1, 0])
        self._own = self.local.rank
        share_cores(self.local)

    def begin(self) -> None:
        """Let the others of this machine see that this process has come to the next exchange."""
        if self._begun is not None:
            self._begun[self._own] += 1

    def late(self) -> list[int] | None:
        """Return the ranks that have not come to this process's exchange, or None if unknown.

        Only those of this machine are looked at.
        """
        if self._begun is None:
            return [] if self.local.size == 1 else None
        begun = self._begun.tolist()
        return [rank for rank, n in zip(self.ranks, begun, strict=True) if n < begun[self._own]]

    def _nothing(self) -> np.ndarray:
        """Return no memory: one row for each process and one for the sum."""
        return np.empty((self.local.size + 1, 0), np.uint8)

    def shares(self, n_bytes: int) -> bool:
        """Tell, equally on all processes, whether so much can be summed in shared memory."""
        if not self.can_share or n_bytes < WORTHWHILE:
            return False
        if self.memory.shape[1] < n_bytes:
            self.memory = self._nothing()  # what is too small is of no use while there is more
            memory = self._map(-(-n_bytes // mmap.PAGESIZE) * mmap.PAGESIZE)
            self.can_share = self.comm.allreduce(memory is not None, MPI.LAND)
            if memory is not None and self.can_share:
                self.memory = memory
        return self.can_share

    def _map(self, n_bytes: int) -> np.ndarray | None:
        """Map new memory that all processes of this machine see, or return None in all of them.

        The memory has no name, so it vanishes with the processes, however they end.
        """
        shape = self.local.size + 1, n_bytes
        descriptor = None
        found: Any = None
        try:
            if self.local.rank == 0:
                descriptor = os.memfd_create("updates")
                os.posix_fallocate(descriptor, 0, shape[0] * shape[1])
                found = f"/proc/{os.getpid()}/fd/{descriptor}", _identity(descriptor)
        except OSError:
            pass
        found = self.local.bcast(found)
        memory = None
        try:
            if found is not None:
                path, identity = found
                if descriptor is None:
                    descriptor = os.open(path, os.O_RDWR)
                if _identity(descriptor) == identity:
                    pages = mmap.mmap(descriptor, shape[0] * shape[1])
                    memory = np.frombuffer(pages, np.uint8).reshape(shape)
        except OSError:
            pass
        # The others open it while it is open here.
        all_have_it = self.local.allreduce(memory is not None, MPI.LAND)
        if descriptor is not None:
            os.close(descriptor)
        return memory if all_have_it else None

    def own_row(self, size: int, dtype: np.dtype) -> np.ndarray:
        """Return the part of this process's row for so many numbers."""
        return self.memory[self.local.rank, : size * dtype.itemsize].view(dtype)

    def sum(self, result: np.ndarray, wire: str | None = None) -> None:
        """Sum what all processes have written to their rows."""
        rows = self.memory[:, : result.nbytes].view(result.dtype)
        n, rank = self.local.size, self.local.rank
        self.local.Barrier()
        if n == self.comm.size == 2:
            # Neither writes its next row before `agree`, which the other joins after this addition.
            np.add(rows[0], rows[1], out=result)
            return
        *parts, total = rows[:, result.size * rank // n : result.size * (rank + 1) // n]
        np.add(parts[0], parts[1], out=total)
        for part in parts[2:]:
            np.add(total, part, out=total)
        if self.across.size > 1:
            allreduce(self.across, total, wire)
        self.local.Barrier()
        # The next sum is written after a barrier that all join after they have read this one.
        np.copyto(result, rows[n])


def share_cores(local: Any) -> None:
    """Limit numba's threads to this process's share of the cores.

    Threads of several processes that compete for one core wait for each other, which can take a
    hundred times as long as the work itself. If ``NUMBA_NUM_THREADS`` is set, it decides.
    """
    has_affinity = hasattr(os, "sched_getaffinity")
    own = os.sched_getaffinity(0) if has_affinity else {*range(os.cpu_count() or 1)}
    sharing = sum(bool(own & other) for other in local.allgather(own))
    if "NUMBA_NUM_THREADS" not in os.environ:
        import numba

        numba.set_num_threads(max(1, min(numba.get_num_threads(), len(own) // sharing)))


def _identity(descriptor: int) -> tuple[int, int]:
    """Return two numbers that no other file of this machine has."""
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino
