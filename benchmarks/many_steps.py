"""Time of a training step in single calls, and in one call for many steps.

    python benchmarks/many_steps.py [--batch 10] [--steps 100] [--repeats 60]

Adam trains a 64-32-10 network in float32, both ways in one process and in turns.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.tensor.special import softmax

import updates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=60)
    options = parser.parse_args()
    print(f"PyTensor {pytensor.__version__}, {pytensor.config.mode}, {options}")

    i, batches = pt.lscalar("i"), pt.lvector("batches")
    loss, rule = network(i, options)
    single = pytensor.function([i], loss, updates=rule)
    loss, rule = network(i, options)
    many, losses = updates.many_steps(rule, loss, i, batches)
    looped = pytensor.function([batches], losses, updates=many)

    indices = np.arange(options.steps)
    ways: dict[str, Callable[[], Any]] = {
        "single calls": lambda: [single(index) for index in indices],
        "many_steps": lambda: looped(indices),
    }
    if not np.array_equal(ways["single calls"](), ways["many_steps"]()):
        raise SystemExit("the losses of the two ways differ")
    times: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(options.repeats):
        for way, run in ways.items():
            start = time.perf_counter()
            run()
            times[way].append(1e6 * (time.perf_counter() - start) / options.steps)
    medians = {way: statistics.median(values) for way, values in times.items()}
    print("| way | us a step | times faster |")
    print("|---|---:|---:|")
    for way, median in medians.items():
        print(f"| {way} | {median:.1f} | {medians['single calls'] / median:.2f} |")


def network(i: Any, options: argparse.Namespace) -> tuple[Any, Any]:
    """Build the loss of mini-batch i and Adam's updates, with parameters of their own."""
    random = np.random.default_rng(0)

    def shared(values: np.ndarray) -> Any:
        return pytensor.shared(values.astype("float32"), shape=values.shape)

    examples = options.batch * options.steps
    data = shared(random.normal(size=(examples, 64)))
    targets = shared(np.eye(10)[random.integers(10, size=examples)])
    sizes = [(64, 32), (32,), (32, 10), (10,)]
    w1, b1, w2, b2 = params = [shared(random.normal(scale=0.1, size=size)) for size in sizes]
    rows = i * options.batch + np.arange(options.batch)
    hidden = pt.tanh(data[rows] @ w1 + b1)
    output = softmax(hidden @ w2 + b2, axis=1)
    loss = -(targets[rows] * pt.log(output)).sum(axis=1).mean()
    return loss, updates.adam(loss, params)


if __name__ == "__main__":
    main()
