"""pymc-extras: what waits is an optimizer of its ``Trainer`` and of ``fit_advi``."""

import copy
import inspect

import numpy as np
import pytest
from catalogue import RULES, every_rule_but_few_slow

import updates

pm = pytest.importorskip("pymc")
advi = pytest.importorskip("pymc_extras.inference.advi")
theirs = pytest.importorskip("pymc_extras.inference.advi.optimizers")

VALUES = np.random.default_rng(0).normal(2, 1, size=50)
FAST = {"mode": "FAST_COMPILE"}
NEED_THE_LOSS = {
    row.name for row in RULES if "loss" in inspect.signature(getattr(updates, row.name)).parameters
}


@pytest.fixture
def model():
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 5)
        sigma = pm.HalfNormal("sigma", 2)
        pm.Normal("y", mu, sigma, observed=VALUES)
    return model


def fitted(optimizer, *steps, model):
    """Return the state after some steps, from the same start with the same draws."""
    with model:
        trainer = advi.Trainer(optimizer=optimizer, random_seed=3, compile_kwargs=FAST)
        for seed, n in enumerate(steps):
            state = trainer.fit(n, random_seed=seed)
    return trainer, state


def assert_same_values(got, expected, rtol):
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(got[name], value, rtol=rtol, err_msg=name)


def step_by_hand(grads, params):
    return [(param, param - 1e-5 * grad) for param, grad in zip(params, grads, strict=True)]


SAME = {
    "adam": (theirs.adam(0.05), updates.adamw(learning_rate=0.05, weight_decay=0.0)),
    "sgd": (theirs.sgd(1e-5), updates.sgd(learning_rate=1e-5)),
    "a function": (theirs.sgd(1e-5), updates.gradient_transformation(step_by_hand)),
    "a schedule": (
        theirs.sgd(lambda step: 1e-5 / (step + 1.0)),
        updates.sgd(learning_rate=lambda step: 1e-5 / (step + 1.0)),
    ),
    "a composition": (
        theirs.clipped_adam(0.05, clip_norm=1.0),
        updates.chain(
            updates.clip_by_global_norm(max_norm=1.0),
            updates.adamw(learning_rate=0.05, weight_decay=0.0),
            updates.apply_if_finite(),
        ),
    ),
    "our transform in their chain": (
        theirs.clipped_adam(0.05, clip_norm=1.0),
        theirs.chain(updates.clip_by_global_norm(max_norm=1.0), theirs.adam(0.05)),
    ),
    "our guard in their chain": (
        theirs.adam(0.05),
        theirs.chain(theirs.adam(0.05), updates.apply_if_finite()),
    ),
    "our rule in their chain": (
        theirs.clipped_adam(0.05, clip_norm=1.0),
        theirs.chain(
            theirs.clip_by_global_norm(1.0), updates.adamw(learning_rate=0.05, weight_decay=0.0)
        ),
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_the_numbers_are_theirs(name, model):
    expected, got = (fitted(optimizer, 20, model=model)[1] for optimizer in SAME[name])
    # They add 1e-12 to the norm that they divide by, we add 1e-7.
    rtol = 1e-6 if "clip" in repr(SAME[name]) or name == "a composition" else 1e-12
    assert_same_values(got.params, expected.params, rtol)
    np.testing.assert_allclose(got.loss_history, expected.loss_history, rtol=rtol)


def test_an_interrupted_run_ends_bit_for_bit_like_one_that_was_not(model):
    rule = updates.chain(
        updates.clip_by_global_norm(max_norm=10.0),
        updates.adam(learning_rate=updates.one_cycle(0.1, 30)),
        updates.apply_if_finite(),
        updates.apply_ema(decay=0.9),
    )
    whole = fitted(rule, 10, 20, model=model)[1]
    first = fitted(rule, 10, model=model)[1]
    with model:
        resumed = advi.Trainer(optimizer=rule, random_seed=7, compile_kwargs=FAST)
        state = resumed.fit(20, state=copy.deepcopy(first), random_seed=1)
    assert_same_values(state.params, whole.params, 0)
    assert_same_values(state.optimizer_state, whole.optimizer_state, 0)
    np.testing.assert_array_equal(state.loss_history, whole.loss_history)
    assert "mu_loc/apply_ema/average" in state.optimizer_state


def test_the_ready_made_optimizer_survives_where_their_default_ends_in_nan():
    random = np.random.default_rng(2)
    sizes = np.geomspace(0.1, 10, 20)
    x = random.normal(size=(500, 20)) * sizes
    y = random.random(500) < 1 / (1 + np.exp(-x @ (random.normal(size=20) / sizes)))
    with pm.Model() as logistic:
        logits = pm.Normal("level", 0, 5) + x @ pm.Normal("weights", 0, 5, shape=20)
        pm.Bernoulli("y", logit_p=logits, observed=y.astype(int))
    _, default = fitted(None, 100, model=logistic)
    _, safe = fitted(updates.advi_optimizer(500), 500, model=logistic)
    assert np.isnan(default.loss_history[-1])
    assert safe.loss_history[-50:].mean() < 200


def test_fit_advi_takes_a_rule_with_a_schedule(model):
    idata = advi.fit_advi(
        model,
        n_steps=500,
        optimizer=updates.adam(learning_rate=updates.one_cycle(0.1, 500)),
        random_seed=1,
        compile_kwargs=FAST,
    )
    assert abs(float(idata.posterior["mu"].mean()) - VALUES.mean()) < 0.2


@pytest.mark.parametrize("backend", ["numba", "jax", "c"])
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:PyTensor could not link")
@pytest.mark.filterwarnings("ignore:The RandomType SharedVariables")
def test_their_backends_take_the_same_steps(backend, model):
    rule = updates.chain(
        updates.clip_by_global_norm(max_norm=1.0), updates.adam(learning_rate=0.05)
    )
    with model:
        trainer = advi.Trainer(optimizer=rule, random_seed=3, backend=backend)
        trainer.fit(5, random_seed=0)
    expected = fitted(rule, 5, model=model)[1]
    if backend != "jax":  # which draws other numbers
        assert_same_values(trainer.state.params, expected.params, 1e-10)
    assert np.isfinite(trainer.state.loss_history).all()


@every_rule_but_few_slow
def test_every_rule_trains_or_says_that_it_needs_the_loss(row, model):
    rule = updates.chain(updates.clip_by_global_norm(max_norm=0.01), row.rule)
    if row.name in NEED_THE_LOSS:
        with pytest.raises(TypeError, match=f"{row.name}: needs the loss itself"):
            fitted(rule, 1, model=model)
        return
    trainer, state = fitted(rule, 3, model=model)
    assert np.isfinite(state.loss_history).all()
    start = dict(trainer.guide.params_init_values)
    assert any((state.params[param.name] != value).any() for param, value in start.items())
