"""Five posteriors that variational inference is asked for, as PyMC models, and how good a fit is.

- ``POSTERIORS``: name to function that makes the model
- ``fit``, ``fit_with_trainer``: the ELBO that mean-field ADVI reaches with PyMC, with pymc-extras
"""

import contextlib
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pymc as pm
import pytensor.tensor as pt

import updates


def regression() -> pm.Model:
    """Return a hierarchical regression: 8 groups, 200 observations, non-centered."""
    random = np.random.default_rng(0)
    group, x = random.integers(0, 8, 200), random.normal(size=200)
    levels, slopes = random.normal(2, 1, 8), random.normal(-1, 0.5, 8)
    y = levels[group] + slopes[group] * x + random.normal(0, 0.5, 200)
    with pm.Model() as model:
        mean = pm.Normal("mean", 0, 5, shape=2)
        spread = pm.HalfNormal("spread", 2, shape=2)
        of_groups = mean[:, None] + spread[:, None] * pm.Normal("z", 0, 1, shape=(2, 8))
        noise = pm.HalfNormal("noise", 2)
        pm.Normal("y", of_groups[0, group] + of_groups[1, group] * x, noise, observed=y)
    return model


def funnel() -> pm.Model:
    """Return Neal's funnel in 10 dimensions, which has no data."""
    with pm.Model() as model:
        scale = pm.Normal("scale", 0, 3)
        pm.Normal("x", 0, pt.exp(scale / 2), shape=9)
    return model


def horseshoe() -> pm.Model:
    """Return a regression on 40 inputs, 4 of which matter, with horseshoe priors."""
    random = np.random.default_rng(1)
    x = random.normal(size=(100, 40))
    y = x[:, :4] @ [3.0, -2.0, 2.0, 1.5] + random.normal(0, 1, 100)
    with pm.Model() as model:
        overall = pm.HalfCauchy("overall", 0.1)
        local = pm.HalfCauchy("local", 1, shape=40)
        weights = pm.Deterministic("weights", pm.Normal("z", 0, 1, shape=40) * local * overall)
        pm.Normal("y", x @ weights, pm.HalfNormal("noise", 2), observed=y)
    return model


def logistic() -> pm.Model:
    """Return a logistic regression: 500 observations of 20 inputs of very different size."""
    random = np.random.default_rng(2)
    x = random.normal(size=(500, 20)) * np.geomspace(0.1, 10, 20)
    weights = random.normal(size=20) / np.geomspace(0.1, 10, 20)
    y = random.random(500) < 1 / (1 + np.exp(-x @ weights))
    with pm.Model() as model:
        logits = pm.Normal("level", 0, 5) + x @ pm.Normal("weights", 0, 5, shape=20)
        pm.Bernoulli("y", logit_p=logits, observed=y.astype(int))
    return model


def gaussian_process() -> pm.Model:
    """Return a Gaussian process at 60 points, its scales and noise unknown."""
    random = np.random.default_rng(3)
    x = np.sort(random.uniform(0, 10, 60))[:, None]
    y = np.sin(x[:, 0]) + 0.3 * x[:, 0] + random.normal(0, 0.3, 60)
    with pm.Model() as model:
        length = pm.InverseGamma("length", 5, 5)
        kernel = pm.HalfNormal("height", 3) ** 2 * pm.gp.cov.ExpQuad(1, ls=length)
        process = pm.gp.Marginal(cov_func=kernel)
        process.marginal_likelihood("y", X=x, y=y, sigma=pm.HalfNormal("noise", 1))
    return model


POSTERIORS: dict[str, Callable[[], pm.Model]] = {
    "hierarchical regression": regression,
    "funnel": funnel,
    "horseshoe": horseshoe,
    "logistic regression": logistic,
    "Gaussian process": gaussian_process,
}


class Fit(NamedTuple):
    """The ELBO of a fit, as the mean over 4,000 draws, and the negative ELBO of each iteration."""

    elbo: float
    losses: np.ndarray


def fit(model: pm.Model, optimizer: Any, iterations: int, seed: int) -> Fit:
    """Fit a model with PyMC."""
    with model:
        inference = pm.ADVI(random_seed=seed)
        inference.fit(iterations, obj_optimizer=optimizer, progressbar=False)
        loss = inference.objective.score_function(sc_n_mc=200)
        return Fit(-float(np.mean([loss() for _ in range(20)])), inference.hist)


def fit_with_trainer(model: pm.Model, optimizer: Any, iterations: int, seed: int) -> Fit:
    """Fit a model with pymc-extras."""
    from pymc_extras.inference.advi import Trainer
    from pymc_extras.inference.advi.training import SVIState

    trainer = Trainer(optimizer=optimizer, random_seed=seed)
    resting = Trainer(optimizer=updates.sgd(learning_rate=0.0), n_particles=200, random_seed=seed)
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):  # their progress
        fitted = trainer.fit(iterations, model=model, random_seed=seed)
        state = SVIState(fitted.params, {}, 0, np.array([]))
        evaluated = resting.fit(20, state=state, model=model, random_seed=seed)
    return Fit(-float(np.mean(evaluated.loss_history)), fitted.loss_history)
