"""Time the loop of ``minimize`` beside bare calls of the function that it compiles.

    python benchmarks/minimize.py [--rounds 7] [--steps 20000]

Prints microseconds a step of a small network with `adam`: of ``function(x, y)`` on mini-batches
that are already there, of ``minimize``, and the difference, which is the loop's own: drawing
shuffled mini-batches, sums of monitors, the bar's clock. Both take turns; medians.
"""

import argparse
import statistics
from time import perf_counter

import numpy as np
import pytensor
import pytensor.tensor as pt

import updates
from updates.training.batches import Arrays
from updates.training.functions import Functions
from updates.training.problem import Problem

ROWS, COLUMNS, HIDDEN, BATCH = 3200, 64, 32, 32


def problem() -> tuple[list[np.ndarray], Problem]:
    random = np.random.default_rng(0)
    x, y = pt.matrix("x"), pt.vector("y")
    w = pytensor.shared(random.normal(size=(COLUMNS, HIDDEN)) / 8, name="w")
    v = pytensor.shared(random.normal(size=HIDDEN) / 6, name="v")
    error = pt.tanh(x @ w) @ v - y
    data = random.normal(size=(ROWS, COLUMNS))
    monitors = {"absolute error": abs(error).mean()}
    return [data, np.sin(data.sum(axis=1))], Problem((error**2).mean(), None, None, None, monitors)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=20_000)
    options = parser.parse_args()
    arrays, parts = problem()
    rule = updates.adam(learning_rate=1e-4)
    step = Functions(parts, rule, False, False, mode=None).step
    source = Arrays("train", arrays, parts.inputs, batch_size=BATCH, seed=0, per_epoch=None)
    batches = [batch for batch, _ in source.epoch(0)]
    epochs = options.steps // len(batches)
    bare, loop = [], []
    for round_ in range(options.rounds + 1):
        start = perf_counter()
        for _ in range(epochs):
            for batch in batches:
                step(*batch)
        middle = perf_counter()
        # Compiling is not part of the loop: the first epoch is, and the clock starts after it.
        run = updates.iterate(
            parts.loss,
            rule=rule,
            train=arrays,
            monitors=parts.monitors,
            batch_size=BATCH,
            max_epochs=epochs + 1,
            validate_every=10**9,
            patience=None,
            progress=False,
        )
        next(run)
        begin = perf_counter()
        for training, _ in run:
            if training["epoch"] == epochs + 1:
                break
        end = perf_counter()
        if round_:  # the first warms up
            bare.append((middle - start) / epochs / len(batches))
            loop.append((end - begin) / epochs / len(batches))
    own = [whole - call for whole, call in zip(loop, bare, strict=True)]
    for name, seconds in (("bare calls", bare), ("minimize", loop), ("the loop's own", own)):
        print(f"{name:15} {1e6 * statistics.median(seconds):6.1f} us a step")


if __name__ == "__main__":
    main()
