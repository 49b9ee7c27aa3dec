"""The processes of a job: who they are, that they do the same, and that they end together.

- ``communicator``: the communicator that was given, checked, or that of all processes
- ``is_root``: whether this process is the first
- ``set_timeout``: after how many seconds of waiting the job ends
- ``agree``: make sure, before processes exchange anything, that they are about to do the same
- ``agree_on``: the same for a text that is used once
- ``MismatchError``: what all of them raise if they are not

The others would wait forever for a process that has stopped. So an exception that nothing catches
ends the whole job (``MPI.Abort``), from the first call of a public function on. And a process that
comes to the end of its program takes part in `agree` once more, so that others which still want to
reduce find out. It does so once it has exchanged anything with all processes of the job, because
only then all of them do; exchanges in a communicator of some of the processes do not count.
"""

import atexit
import contextlib
import io
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from functools import cache, partial
from hashlib import sha256
from types import TracebackType
from typing import Any

import numpy as np
from mpi4py import MPI

from updates.arguments import kind_of
from updates.declaration import declared, public
from updates.distributed.machines import machine_of
from updates.distributed.waiting import Waiting, limit, listed, watch
from updates.interval import POSITIVE
from updates.kinds import PlainNumber

# How long a process that has failed waits for others that fail at the same time to say why.
GRACE_SECONDS = 0.5

# A child forked from this process does not belong to the job.
_PROCESS = os.getpid()

_END = "the end of the program"
_SHOWN = 5  # differing lines in a message


@public
class MismatchError(RuntimeError):
    """The processes of a job were about to do different things. All of them raise it."""


def communicator(comm: Any) -> Any:
    """Return a communicator: the given one, or that of all processes of the job.

    Public functions begin with this, before any other check, so that a failed check ends the job.
    """
    _let_exceptions_end_the_job()
    if comm is None:
        return MPI.COMM_WORLD
    if isinstance(comm, MPI.Comm) and comm == MPI.COMM_NULL:
        raise ValueError(
            "comm is MPI.COMM_NULL, as this process belongs to none; leave the call to "
            "those that do"
        )
    if not isinstance(comm, MPI.Intracomm):
        raise TypeError(
            f"comm must be an intracommunicator of mpi4py, such as MPI.COMM_WORLD, got "
            f"{comm!r} of type {kind_of(comm)}"
        )
    return comm


@declared
def is_root(comm: Any = None) -> bool:
    """Tell whether this process is the root, the one that writes files and shows progress.

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
        If `comm` is not a communicator, or this process does not belong to it.

    Examples
    --------
    >>> from updates.distributed import is_root
    >>> if is_root():
    ...     print("one line, however many processes there are")
    one line, however many processes there are
    """
    return communicator(comm).rank == 0


@declared
def set_timeout(seconds: float | None, warn_after: float = 60.0) -> None:
    """Let the job end when a process has waited so long for the others.

    Without a call there is no limit, as processes may have to wait while one of them validates or
    writes files. After a minute in one exchange a process writes to the standard error what it
    waits for, and for whom, and once more when it goes on.

    Parameters
    ----------
    seconds : float or None
        Seconds in one exchange, a reduction or a checkpoint for instance, after which the job ends
        with a status that is not 0. None is without limit.
    warn_after : float, optional
        Seconds after which the process says that it waits.

    Raises
    ------
    TypeError, ValueError
        If an argument is not a finite number > 0.

    Notes
    -----
    Call it in all processes. Each of them looks after itself, so that those end, too, that the
    network has cut off from ``mpirun``. Time in which a process itself was stopped does not count.
    It is known which processes of the same machine have not come to an exchange; about those of
    other machines it is not.

    Examples
    --------
    >>> from updates.distributed import set_timeout
    >>> set_timeout(600)  # ten minutes
    >>> set_timeout(None)
    """
    communicator(None)
    if seconds is not None:
        PlainNumber(POSITIVE).check("seconds", seconds)
    PlainNumber(POSITIVE).check("warn_after", warn_after)
    limit(math.inf if seconds is None else seconds, warn_after)


def key_of(lines: Sequence[str]) -> int:
    """Return a positive number that stands for a text, equal on all processes."""
    return 1 + int.from_bytes(sha256("\n".join(lines).encode()).digest()[:7])


def agree(comm: Any, key: int, describe: Callable[[], Sequence[str]]) -> None:
    """Go on if all processes have the same key, or else raise `MismatchError` on all of them.

    It costs one reduction of two numbers. `describe` gives the lines that the message compares.
    """
    if comm.size == 1:
        return
    _let_exceptions_end_the_job()
    watch()
    if comm.size == MPI.COMM_WORLD.size:
        _announce_the_end()
    machine_of(comm).begin()
    bounds = np.array([key, -key])
    comm.Allreduce(MPI.IN_PLACE, bounds, MPI.MAX)
    if bounds[0] != -bounds[1]:
        raise MismatchError(_report(comm.allgather(list(describe()))))


def agree_on(comm: Any, lines: Sequence[str]) -> None:
    """Do the same for a text that is used once."""
    with Waiting(comm, lines[0]):
        agree(comm, key_of(lines), lambda: lines)


def _report(texts: list[list[str]]) -> str:
    """List the lines in which the texts of the processes differ, and the ranks that have each.

    A text of one line, such as that at the end of a program, is compared in that line only.
    """
    differences = []
    for index in range(max(map(len, texts))):
        ranks: dict[str, list[int]] = {}
        for rank, text in enumerate(texts):
            if index == 0 or len(text) > 1:
                ranks.setdefault(text[index] if index < len(text) else "none", []).append(rank)
        if len(ranks) > 1:
            differences.append([f"  {listed(own)}: {line}" for line, own in ranks.items()])
    parts = ["updates.distributed: the processes of the job are about to do different things"]
    parts += [line for lines in differences[:_SHOWN] for line in lines]
    if len(differences) > _SHOWN:
        parts.append(f"  and {len(differences) - _SHOWN} more differences")
    parts.append(
        "All of them must build the same model and take the same number of steps, on batches of "
        "their own."
    )
    return "\n".join(parts)


@cache
def _let_exceptions_end_the_job() -> None:
    """Let an exception that nothing catches in this process end the whole job."""
    if MPI.COMM_WORLD.size > 1 and os.getpid() == _PROCESS:
        sys.excepthook = partial(_abort, sys.excepthook)


@cache
def _announce_the_end() -> None:
    """Let this process tell the others when it comes to the end of its program."""
    atexit.register(_say_goodbye)


def _abort(
    hook_before: Callable[..., Any],
    kind: type[BaseException],
    error: BaseException,
    trace: TracebackType | None,
) -> None:
    """Show an exception that nothing catches, and end the whole job."""
    if os.getpid() != _PROCESS:
        hook_before(kind, error, trace)
        return
    with contextlib.redirect_stderr(io.StringIO()) as text:
        hook_before(kind, error, trace)
    rank = MPI.COMM_WORLD.rank
    # In one call, because the lines of several processes would mix otherwise.
    sys.stderr.write("".join(f"rank {rank}: {line}\n" for line in text.getvalue().splitlines()))
    sys.stderr.flush()
    time.sleep(GRACE_SECONDS)
    MPI.COMM_WORLD.Abort(1)


def _say_goodbye() -> None:
    """Wait until all processes have come to their end, and tell those that have not."""
    while os.getpid() == _PROCESS and not MPI.Is_finalized():
        try:
            with Waiting(MPI.COMM_WORLD, _END):
                agree(MPI.COMM_WORLD, 0, lambda: [_END])
        except MismatchError:
            continue  # the others raise it; this process may have nothing to do with it
        return
