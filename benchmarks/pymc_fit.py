"""What a schedule is worth in variational inference: the ELBO that PyMC reaches with and without.

    pip install "pytensor-updates[pymc]"
    python benchmarks/pymc_fit.py [--iterations 2000 10000] [--seeds 3]

Fits a hierarchical regression (8 groups, 200 observations, non-centered) by mean-field ADVI, and
prints by how many nats the ELBO in the end is below that of 60,000 iterations: the least and the
greatest of the seeds.
"""

import argparse
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pymc as pm

import updates

OPTIMIZERS: dict[str, Callable[[int], Any]] = {
    "PyMC's default, adagrad_window at 0.001": lambda n: pm.adagrad_window(),
    "pm.adam at its default, 0.001": lambda n: pm.adam(),
    "pm.adam at 0.01": lambda n: pm.adam(learning_rate=0.01),
    "pm.adam at 0.03": lambda n: pm.adam(learning_rate=0.03),
    "pm.adam at 0.1": lambda n: pm.adam(learning_rate=0.1),
    "adam with one_cycle(0.1, n)": lambda n: updates.adam(learning_rate=updates.one_cycle(0.1, n)),
    "adam with cosine_decay(0.1, n)": lambda n: updates.adam(
        learning_rate=updates.cosine_decay(0.1, n)
    ),
    "adam with one_cycle(0.3, n)": lambda n: updates.adam(learning_rate=updates.one_cycle(0.3, n)),
}


def model() -> pm.Model:
    random = np.random.default_rng(0)
    group, x = random.integers(0, 8, 200), random.normal(size=200)
    levels, slopes = random.normal(2, 1, 8), random.normal(-1, 0.5, 8)
    y = levels[group] + slopes[group] * x + random.normal(0, 0.5, 200)
    with pm.Model() as hierarchical:
        mean = pm.Normal("mean", 0, 5, shape=2)
        spread = pm.HalfNormal("spread", 2, shape=2)
        of_groups = mean[:, None] + spread[:, None] * pm.Normal("z", 0, 1, shape=(2, 8))
        noise = pm.HalfNormal("noise", 2)
        pm.Normal("y", of_groups[0, group] + of_groups[1, group] * x, noise, observed=y)
    return hierarchical


def elbo(optimizer: Any, iterations: int, seed: int) -> float:
    """Fit, and return the ELBO as the mean over 4,000 draws."""
    with model():
        inference = pm.ADVI(random_seed=seed)
        inference.fit(iterations, obj_optimizer=optimizer, progressbar=False)
        loss = inference.objective.score_function(sc_n_mc=200)
        return -float(np.mean([loss() for _ in range(20)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iterations", type=int, nargs="+", default=[2_000, 10_000])
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    logging.getLogger("pymc").setLevel("ERROR")
    best = elbo(updates.adam(learning_rate=updates.one_cycle(0.05, 60_000)), 60_000, seed=7)
    print(f"ELBO of 60,000 iterations: {best:.2f}")
    for name, optimizer in OPTIMIZERS.items():
        for n in options.iterations:
            below = [best - elbo(optimizer(n), n, 1 + seed) for seed in range(options.seeds)]
            print(f"{name:42} {n:7,}: {min(below):6.1f} to {max(below):6.1f}", flush=True)


if __name__ == "__main__":
    main()
