"""How long a process waits for the others: it says so, and in the end it ends the job.

- ``Waiting``: what this process waits for while it is inside ``with``
- ``watch``: look after that from now on
- ``limit``: after how many seconds something happens
- ``listed``: ranks as words

A process that waits is inside a call of MPI, which returns when all have come to it. So a thread
looks once a second whether it is still the same call. The calls themselves only note that they have
begun and ended.
"""

import faulthandler
import math
import sys
import threading
import time
from functools import cache
from typing import Any

from mpi4py import MPI

from updates.distributed.machines import known_machine

# The longest time between two looks.
TICK_SECONDS = 1.0

# How long MPI may take to end the job before this process ends by itself.
ABORT_SECONDS = 5.0


class Waiting:
    """What this process waits for while it is inside ``with``.

    Parameters
    ----------
    comm : mpi4py.MPI.Intracomm
        The processes that take part.
    title : str
        What they do together.
    """

    def __init__(self, comm: Any, title: str) -> None:
        self.comm, self.title = comm, title

    def __enter__(self) -> None:
        _WATCH.number += 1
        _WATCH.now = self

    def __exit__(self, *error: object) -> None:
        _WATCH.now = None

    def __str__(self) -> str:
        """Say which process waits where, and for whom as far as that is known."""
        rank, host = self.comm.rank, MPI.Get_processor_name()
        return f"rank {rank} on host {host}: {self.title}. {self._for_whom()}"

    def _for_whom(self) -> str:
        machine = known_machine(self.comm)
        if machine is None:
            return "It is their first exchange, to which some processes have not come"
        late = machine.late()
        if late:
            return f"{listed(late)} on this host has not come to it"
        others: dict[str, list[int]] = {}
        for rank, host in enumerate(machine.hosts):
            if rank not in machine.ranks or (late is None and rank != self.comm.rank):
                others.setdefault(host, []).append(rank)
        if not others:
            return "All have come to it, so one of them has stopped in the middle of it"
        named = ", ".join(f"{listed(ranks)} on {host}" for host, ranks in others.items())
        return (
            f"It waits for at least one of {named}: those that do not write this as well are "
            "busy, have stopped, or cannot be reached"
        )


class _Watch:
    """What a thread knows about the waiting of this process."""

    now: Waiting | None = None
    number = 0
    warn_after = 60.0
    timeout = math.inf

    def __init__(self) -> None:
        self.changed = threading.Event()

    def look(self) -> None:
        """Look again and again."""
        seen, waited = 0, 0.0
        warned: Waiting | None = None
        last = time.monotonic()
        while True:
            tick = min(TICK_SECONDS, self.warn_after / 4, self.timeout / 4)
            self.changed.wait(tick)
            self.changed.clear()
            now, number = self.now, self.number
            # Time in which this process itself was stopped does not count.
            passed = min(time.monotonic() - last, 2 * tick)
            last = time.monotonic()
            if now is None or number != seen:
                if warned:
                    _say(f"rank {warned.comm.rank} goes on after {_rounded(waited)} s")
                seen, waited, warned = number, 0.0, None
                continue
            waited += passed
            if waited >= self.timeout:
                _say(f"after {_rounded(waited)} s of waiting the job ends, by {now}")
                _end_the_job()
            if waited >= self.warn_after and not warned:
                warned = now
                _say(f"waiting for {_rounded(waited)} s, {now}")


_WATCH = _Watch()


@cache
def watch() -> None:
    """Look after this process's waiting from now on."""
    threading.Thread(target=_WATCH.look, name="updates.distributed", daemon=True).start()


def limit(timeout: float, warn_after: float) -> None:
    """Set after how many seconds of waiting the job ends, and after how many a warning is due."""
    _WATCH.timeout, _WATCH.warn_after = timeout, warn_after
    _WATCH.changed.set()


def _rounded(seconds: float) -> str:
    return f"{seconds:.0f}" if seconds >= 1 else f"{seconds:.1g}"


def _say(text: str) -> None:
    # In one call, because the lines of several processes would mix otherwise.
    sys.stderr.write(f"updates.distributed: {text}\n")
    sys.stderr.flush()


def _end_the_job() -> None:
    """End all processes, or this one if MPI cannot."""
    # A thread that needs no lock of Python's, which MPI may keep.
    faulthandler.dump_traceback_later(ABORT_SECONDS, exit=True, file=2)
    MPI.COMM_WORLD.Abort(1)


def listed(ranks: list[int]) -> str:
    """Name processes by their ranks."""
    return f"rank{'s' * (len(ranks) > 1)} {', '.join(map(str, ranks))}"
