"""The processes of a job: who they are, that they do the same, and that they end together.

- ``communicator``: the communicator that was given, checked, or that of all processes
- ``is_root``: whether this process is the first
- ``agree``: find out, before processes exchange anything, whether they are about to do the same
- ``agree_on``: the same for a text that is used once
- ``MismatchError``: what all of them raise if not

An exception that nothing catches ends the whole job (``MPI.Abort``), as the other processes would
wait for this one forever. A process that comes to the end of its program while others still
reduce is found out by `agree`: it takes part in that once more, to say so. (Among all processes
of the job, that is, not in communicators of some of them.) So all of them have to import this.
"""

import atexit
import contextlib
import io
import os
import sys
import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from types import TracebackType
from typing import Any

import numpy as np
from mpi4py import MPI

from updates.arguments import kind_of

# How long a process that has failed gives others, failing at the same time, to say why.
GRACE_SECONDS = 0.5

_SHOWN = 5  # differing lines in a message


class MismatchError(RuntimeError):
    """The processes of a job were about to do different things. All of them raise it."""


def communicator(owner: str, comm: Any) -> Any:
    """Return a communicator: the given one, or that of all processes of the job."""
    if comm is None:
        return MPI.COMM_WORLD
    if isinstance(comm, MPI.Comm) and comm == MPI.COMM_NULL:
        raise ValueError(
            f"{owner}: comm is MPI.COMM_NULL, this process is in none; leave the call to those "
            "that are"
        )
    if not isinstance(comm, MPI.Intracomm):
        raise TypeError(
            f"{owner}: comm must be an intracommunicator of mpi4py, such as MPI.COMM_WORLD, got "
            f"{comm!r} of type {kind_of(comm)}"
        )
    return comm


def is_root(comm: Any = None) -> bool:
    """Say whether this process is the root, the one that writes files and shows progress.

    Parameters
    ----------
    comm : mpi4py.MPI.Intracomm, optional
        The processes that work together. By default all of the job.

    Returns
    -------
    bool
        True in the process of rank 0, which is the only one without ``mpirun``.

    Raises
    ------
    TypeError, ValueError
        If `comm` is no communicator, or that of no process.

    Examples
    --------
    >>> from updates.distributed import is_root
    >>> if is_root():
    ...     print("one line, however many processes there are")
    one line, however many processes there are
    """
    return communicator("is_root", comm).rank == 0


def key_of(lines: Sequence[str]) -> int:
    """Return a number that stands for a text: positive, and equal on all processes."""
    return 1 + int.from_bytes(sha256("\n".join(lines).encode()).digest()[:7])


def agree(comm: Any, key: int, describe: Callable[[], Sequence[str]]) -> None:
    """Go on if all processes come with the same key, or raise `MismatchError` on all of them.

    Costs one reduction of two numbers. `describe` gives the lines that a message compares.
    """
    if comm.size == 1:
        return
    bounds = np.array([key, -key])
    comm.Allreduce(MPI.IN_PLACE, bounds, MPI.MAX)
    if bounds[0] != -bounds[1]:
        raise MismatchError(_report(comm.allgather(list(describe()))))


def agree_on(comm: Any, lines: Sequence[str]) -> None:
    """Do the same for a text that is used once."""
    agree(comm, key_of(lines), lambda: lines)


def _report(texts: list[list[str]]) -> str:
    """Say in which lines the texts of the processes differ, and which have which.

    A text of one line, such as that at the end of a program, is compared in that line only.
    """
    differences = []
    for index in range(max(map(len, texts))):
        ranks: dict[str, list[int]] = {}
        for rank, text in enumerate(texts):
            if index == 0 or len(text) > 1:
                ranks.setdefault(text[index] if index < len(text) else "none", []).append(rank)
        if len(ranks) > 1:
            differences.append([f"  {_named(own)}: {line}" for line, own in ranks.items()])
    parts = ["updates.distributed: the processes of the job are about to do different things"]
    parts += [line for lines in differences[:_SHOWN] for line in lines]
    if len(differences) > _SHOWN:
        parts.append(f"  and {len(differences) - _SHOWN} more differences")
    parts.append(
        "All of them must build the same model and take the same number of steps, on batches of "
        "their own."
    )
    return "\n".join(parts)


def _named(ranks: list[int]) -> str:
    return f"rank{'s' * (len(ranks) > 1)} {', '.join(map(str, ranks))}"


def _say_goodbye() -> None:
    """Wait until all processes are at their end, and tell those that are not."""
    while not MPI.Is_finalized():
        try:
            agree(MPI.COMM_WORLD, 0, lambda: ["the end of the program"])
        except MismatchError:
            continue  # the others raise it; this process may have nothing to do with it
        return


def _abort(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Show an exception that nothing catches, and end the whole job."""
    with contextlib.redirect_stderr(io.StringIO()) as text:
        _hook_before(kind, error, trace)
    rank = MPI.COMM_WORLD.rank
    # As one text, or those of several processes would mix.
    sys.stderr.write("".join(f"rank {rank}: {line}\n" for line in text.getvalue().splitlines()))
    sys.stderr.flush()
    time.sleep(GRACE_SECONDS)
    MPI.COMM_WORLD.Abort(1)


def _leave_the_job() -> None:
    """In a forked child: it is none of the processes of the job."""
    atexit.unregister(_say_goodbye)
    if sys.excepthook is _abort:
        sys.excepthook = _hook_before


_hook_before = sys.excepthook
if MPI.COMM_WORLD.size > 1:
    sys.excepthook = _abort
    atexit.register(_say_goodbye)
    os.register_at_fork(after_in_child=_leave_the_job)
