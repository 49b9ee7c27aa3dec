"""What an optimizer is worth in variational inference: the ELBO after equal iterations.

    pip install "pytensor-updates[pymc,pymc-extras]"
    python benchmarks/pymc_fit.py [--iterations 5000] [--seeds 3] [--posteriors funnel ...]

Fits five posteriors by mean-field ADVI, with PyMC and with pymc-extras, and prints by how many nats
the ELBO in the end is below that of a run ten times as long: the least and the greatest of the
seeds.
"""

import argparse
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pymc as pm

import updates

sys.path.insert(0, str(Path(__file__).parents[1] / "notebooks"))

from posteriors import POSTERIORS, fit, fit_with_trainer

PYMC_EXTRAS = "pymc-extras' default, clipped_adam at 0.01"
OURS_IN_EXTRAS = "advi_optimizer(n) in pymc-extras"
OPTIMIZERS: dict[str, Callable[[int], Any]] = {
    "PyMC's default, adagrad_window at 0.001": lambda n: pm.adagrad_window(),
    "pm.adam at its default, 0.001": lambda n: pm.adam(),
    "pm.adam at 0.01": lambda n: pm.adam(learning_rate=0.01),
    "pm.adam at 0.1": lambda n: pm.adam(learning_rate=0.1),
    PYMC_EXTRAS: lambda n: None,
    "advi_optimizer(n)": updates.advi_optimizer,
    OURS_IN_EXTRAS: updates.advi_optimizer,
}


def results(name: str, iterations: int, seeds: int) -> Iterator[tuple[str, list[float]]]:
    """Yield for each optimizer the ELBO of each seed."""
    for optimizer_name, make in OPTIMIZERS.items():
        run = fit_with_trainer if "pymc-extras" in optimizer_name else fit
        yield (
            optimizer_name,
            [
                run(POSTERIORS[name](), make(iterations), iterations, 1 + seed).elbo
                for seed in range(seeds)
            ],
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iterations", type=int, default=5_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--posteriors", nargs="+", default=list(POSTERIORS), choices=POSTERIORS)
    options = parser.parse_args()
    logging.getLogger("pymc").setLevel("ERROR")
    for name in options.posteriors:
        long = 10 * options.iterations
        best = fit(POSTERIORS[name](), updates.advi_optimizer(long), long, seed=7).elbo
        print(f"\n{name}: ELBO of {long:,} iterations {best:.2f}, below it in nats", flush=True)
        for optimizer_name, elbos in results(name, options.iterations, options.seeds):
            below = [best - value for value in elbos]
            print(f"  {optimizer_name:44} {min(below):8.1f} to {max(below):8.1f}", flush=True)


if __name__ == "__main__":
    main()
