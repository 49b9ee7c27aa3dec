"""One process for each system, which makes a task and times it when it is its turn.

Threads of a pool keep spinning for a while after their work, those of OpenBLAS for 40 ms, so
systems within one process would slow each other down. A worker whose turn it is not waits for its
pipe and needs no processor.
"""

import gc
import multiprocessing
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

AT_LEAST = 5  # steps a turn
REST = 0.1  # seconds between turns, in which the threads of the last one fall asleep


@dataclass
class Task:
    """A step to time, and what a few first steps come to.

    All systems must agree about the latter; those that compute something else have None.
    """

    step: Callable[[], object]
    check: Callable[[], np.ndarray | None]


Make = Callable[..., Task | None]  # from the system and more arguments; None: it has no such task


class Worker:
    """A process of its own."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        context.Process(target=serve, args=(theirs,), daemon=True).start()
        theirs.close()

    def ask(self, *request: Any) -> Any:
        """Send a request and wait for its answer."""
        self.connection.send(request)
        is_good, answer = self.connection.recv()
        if not is_good:
            sys.exit(f"a worker failed:\n{answer}")
        return answer


def serve(connection: Connection) -> None:
    """Answer requests until the other end is closed."""
    task: Task | None = None
    while True:
        try:
            request = connection.recv()
        except EOFError:
            return
        try:
            if isinstance(request[0], float):
                assert task is not None
                connection.send((True, timed(task.step, request[0])))
                continue
            task = None  # its arrays go before the next ones come
            gc.collect()
            make, *arguments = request
            task = make(*arguments)
            connection.send((True, task and (True, task.check())))
        except Exception:
            connection.send((False, traceback.format_exc()))


def timed(step: Callable[[], object], seconds: float) -> list[float]:
    """Return the milliseconds of as many steps as fit, after one that wakes the threads."""
    step()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < AT_LEAST or time.perf_counter() < end:
        start = time.perf_counter()
        step()
        times.append(1e3 * (time.perf_counter() - start))
    return times


def take_turns(
    workers: dict[str, Worker], make: Make, arguments: tuple, rounds: int, seconds: float
) -> dict[str, list[float]]:
    """Time a task on all systems in turns, and stop the program where their results differ."""
    checks = {}
    for system, worker in workers.items():
        print(f"  {', '.join(map(str, arguments))}: {system}", file=sys.stderr, flush=True)
        if made := worker.ask(make, system, *arguments):
            checks[system] = made[1]
    known = {system: values for system, values in checks.items() if values is not None}
    first, *others = known
    for system in others:
        if not np.allclose(known[first], known[system], rtol=1e-3, atol=1e-6):
            apart = np.abs(known[first] - known[system]).max()
            sys.exit(f"{arguments}: {first} and {system} come to different results, by {apart}")
    times: dict[str, list[float]] = {system: [] for system in checks}
    for _ in range(rounds):
        for system in times:
            time.sleep(REST)
            times[system] += workers[system].ask(seconds)
    return times
