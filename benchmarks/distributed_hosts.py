"""Exchanges between hosts with networks of their own, beside the model of `distributed.py`.

    python benchmarks/distributed_hosts.py [--seconds 5]

Lays out 2 and 4 hosts on this machine (``tests/hosts.py``: Linux, root, Open MPI), one process on
each, and measures a function that averages float32 gradients and steps by `sgd`:

- beside a bare ``comm.Allreduce`` of as many bytes and beside what the model says, with half a
  round trip as latency and the whole rate of the links;
- with numbers that travel in 16 bits (``wire``);
- four calls of `accumulate_gradients`, reduced inside its rule, which exchanges once, and before.

Milliseconds, medians of the slowest process. The hosts share the cores of this machine with each
other and with the switch between them, so that what they compute takes longer than on machines of
their own.
"""

import argparse
import math
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytensor
from speed_common import table

import updates

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
NETWORKS = {"1 Gbit/s": (1e9, 0.0), "100 Mbit/s, 1 ms": (100e6, 1e-3)}
SIZES = [340_000, 7_200_000]
EVERY = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5, help="at most, a measurement")
    parser.add_argument("--rate", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.rate:
        measure(options.rate, options.seconds)
        return
    from hosts import Hosts, reason_against
    from mpi_jobs import ENVIRONMENT

    if reason := reason_against():
        sys.exit(reason)
    for name, (rate, delay) in NETWORKS.items():
        for number in (2, 4):
            print(f"\n{number} hosts, {name}", flush=True)
            with Hosts(number, rate, delay) as hosts:
                command = [*hosts.processes(1), __file__, "--rate", rate]
                command += ["--seconds", options.seconds]
                environment = ENVIRONMENT | {"NUMBA_NUM_THREADS": "1"}
                subprocess.run(list(map(str, command)), env=environment, check=True)


def measure(rate: float, seconds: float) -> None:
    """Measure and print all, in a process of the job."""
    from mpi4py import MPI

    from updates.distributed import allreduce_mean

    comm = MPI.COMM_WORLD
    word = np.zeros(1)

    def there_and_back() -> None:
        if comm.rank < 2:
            for sender in (0, 1):
                if comm.rank == sender:
                    comm.Send(word, 1 - sender)
                else:
                    comm.Recv(word, sender)

    sgd = updates.sgd(learning_rate=1e-6)
    clock = partial(median_of_slowest, comm, seconds)
    latency = clock(there_and_back) / 2
    hops = math.ceil(math.log2(comm.size))
    rows = []
    for size in SIZES:
        params, grads = (
            [pytensor.shared(np.ones(size // 40, "float32"), name=f"{n}{k}") for k in range(10)]
            for n in "pg"
        )

        def step(rule: Callable, params: list = params, grads: list = grads) -> Callable:
            return pytensor.function([], updates=rule(grads, params))

        by = {
            wire: step(lambda g, p, wire=wire: sgd(allreduce_mean(g, wire=wire), p))
            for wire in (None, "float16", "bfloat16")
        }
        inside = step(
            updates.accumulate_gradients(rule=lambda g, p: sgd(allreduce_mean(g), p), every=EVERY)
        )
        before = step(
            lambda g, p: updates.accumulate_gradients(allreduce_mean(g), p, rule=sgd, every=EVERY)
        )
        buffer = np.ones(size // 4, "float32")
        times = [
            clock(lambda buffer=buffer: comm.Allreduce(MPI.IN_PLACE, buffer)),
            3 * hops * latency + 2 * (comm.size - 1) / comm.size * size * 8 / rate,
            *map(clock, by.values()),
            *(clock(lambda f=f: [f() for _ in range(EVERY)]) for f in (before, inside)),
        ]
        rows.append([f"{size / 1e6:.2f} MB", *(f"{1e3 * t:.1f}" for t in times)])
    if comm.rank == 0:
        wires = ["float16", "bfloat16"]
        names = [
            "Allreduce",
            "model",
            "allreduce_mean",
            *wires,
            "4 calls, reduced before",
            "inside",
        ]
        print(f"latency {1e6 * latency:.0f} us", table(["", *names], rows), sep="\n", flush=True)


def median_of_slowest(comm: Any, seconds: float, call: Callable) -> float:
    """Call again and again; return the median of the times of the slowest process."""
    call()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while comm.bcast(len(times) < 5 or time.perf_counter() < end) and len(times) < 200:
        comm.Barrier()
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return float(np.median(np.max(comm.allgather(times), axis=0)))


if __name__ == "__main__":
    main()
