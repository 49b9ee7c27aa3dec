"""What an optimizer is worth in variational inference: the ELBO after equal iterations.

    pip install "pytensor-updates[pymc,pymc-extras]"
    python benchmarks/pymc_fit.py [--iterations 5000] [--seeds 3] [--posteriors funnel ...]

Fits five posteriors by mean-field ADVI, with PyMC and, for its default, with pymc-extras, and prints
by how many nats the ELBO in the end is below the best of a long run: the least and the greatest of
the seeds.
"""

import argparse
import contextlib
import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pymc as pm

import updates

sys.path.insert(0, str(Path(__file__).parents[1] / "notebooks"))

from posteriors import POSTERIORS

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


def elbo(model: pm.Model, optimizer: Any, iterations: int, seed: int) -> float:
    """Fit with PyMC, and return the ELBO as the mean over 4,000 draws."""
    with model:
        inference = pm.ADVI(random_seed=seed)
        try:
            inference.fit(iterations, obj_optimizer=optimizer, progressbar=False)
        except FloatingPointError:
            return -np.inf
        loss = inference.objective.score_function(sc_n_mc=200)
        return -float(np.mean([loss() for _ in range(20)]))


def elbo_of_trainer(model: pm.Model, optimizer: Any, iterations: int, seed: int) -> float:
    """Do the same with pymc-extras."""
    from pymc_extras.inference.advi import Trainer
    from pymc_extras.inference.advi.training import SVIState

    trainer = Trainer(optimizer=optimizer, random_seed=seed)
    resting = Trainer(optimizer=updates.sgd(learning_rate=0.0), n_particles=200, random_seed=seed)
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):  # their progress
        fitted = trainer.fit(iterations, model=model, random_seed=seed)
        state = SVIState(fitted.params, {}, 0, np.array([]))
        evaluated = resting.fit(20, state=state, model=model, random_seed=seed)
    return -float(np.mean(evaluated.loss_history))


def results(name: str, iterations: int, seeds: int) -> Iterator[tuple[str, list[float]]]:
    """Yield for each optimizer the ELBO of each seed."""
    for optimizer_name, make in OPTIMIZERS.items():
        fit = elbo_of_trainer if "pymc-extras" in optimizer_name else elbo
        yield (
            optimizer_name,
            [
                fit(POSTERIORS[name](), make(iterations), iterations, 1 + seed)
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
        best = elbo(POSTERIORS[name](), updates.advi_optimizer(long), long, seed=7)
        print(f"\n{name}: ELBO of {long:,} iterations {best:.2f}, below it in nats", flush=True)
        for optimizer_name, elbos in results(name, options.iterations, options.seeds):
            below = [best - value for value in elbos]
            print(f"  {optimizer_name:44} {min(below):8.1f} to {max(below):8.1f}", flush=True)


if __name__ == "__main__":
    main()
