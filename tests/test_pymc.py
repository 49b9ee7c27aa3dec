"""PyMC: a rule stands where an optimizer of its own does, with its numbers, and brings the rest.

What PyMC calls an optimizer is any function of (gradients, parameters): a deferred rule is one, and
so is a small function with transforms before and after a rule. PyMC hands over the gradients of
the negative ELBO, never the loss.
"""

import inspect
import pickle

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from catalogue import RULES

import updates

pm = pytest.importorskip("pymc")
callbacks = pytest.importorskip("pymc.variational.callbacks")

SHARED = {
    "sgd": {"learning_rate": 0.001},
    "momentum": {"learning_rate": 0.0005, "momentum": 0.8},
    "nesterov_momentum": {"learning_rate": 0.0005, "momentum": 0.8},
    "adagrad": {"learning_rate": 0.1, "epsilon": 1e-3},
    "adagrad_window": {"learning_rate": 0.05, "epsilon": 0.2, "n_win": 7},
    "rmsprop": {"learning_rate": 0.05, "rho": 0.8, "epsilon": 1e-4},
    "adadelta": {"learning_rate": 2.0, "rho": 0.9, "epsilon": 1e-4},
    "adam": {"learning_rate": 0.05, "beta1": 0.8, "beta2": 0.99, "epsilon": 1e-3},
    "adamax": {"learning_rate": 0.05, "beta1": 0.8, "beta2": 0.99, "epsilon": 1e-3},
}
random = np.random.default_rng(0)
X = random.normal(size=(40, 2))
Y = X @ [1.0, -2.0] + 0.3 * random.normal(size=40)
# 50 values of known spread, whose mean has a normal posterior.
VALUES = random.normal(3, 1, size=50)
VARIANCE = 1 / (50 + 1 / 10**2)
MEAN, STD = VARIANCE * VALUES.sum(), VARIANCE**0.5


@pytest.fixture(autouse=True)
def little_to_compile():
    with pytensor.config.change_flags(mode="FAST_COMPILE"):
        yield


def regression():
    with pm.Model() as model:
        slopes = pm.Normal("slopes", 0, 3, shape=2)
        pm.Normal("y", X @ slopes, 0.3, observed=Y)
    return model


def normal_mean(batch=None):
    values = VALUES if batch is None else pm.Minibatch(VALUES, batch_size=batch)
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 10)
        pm.Normal("y", mu, 1, observed=values, total_size=None if batch is None else len(VALUES))
    return model


def variance_line():
    """Make a model whose variance a draw of its two coefficients may make negative."""
    with pm.Model() as model:
        a, b = pm.Normal("a", 0, 5), pm.Normal("b", 0, 5)
        pm.Normal("y", 0, pt.sqrt(a + b * LINE_X), observed=LINE_Y)
    return model


LINE_X = random.uniform(0, 4, size=200)
LINE_Y = random.normal(0, np.sqrt(4 + 2 * LINE_X))


def fit(optimizer, model=None, n=50, **given):
    with model or regression():
        return pm.fit(n, obj_optimizer=optimizer, progressbar=False, **{"random_seed": 1} | given)


def values(approx):
    return {param.name: param.get_value() for param in approx.params}


def assert_equal(ours, theirs, tolerance=1e-10):
    assert values(ours).keys() == values(theirs).keys()
    for name, value in values(theirs).items():
        np.testing.assert_allclose(values(ours)[name], value, rtol=tolerance, atol=tolerance)
        assert values(ours)[name].dtype == value.dtype
    np.testing.assert_allclose(ours.hist, theirs.hist, rtol=tolerance)


class Keep:
    """A small function for obj_optimizer that keeps its dictionary for the tests to look at."""

    def __init__(self, rule, max_norm=None, guard=False):
        self.rule, self.max_norm, self.guard = rule, max_norm, guard

    def __call__(self, grads, params):
        if self.max_norm is not None:
            grads = updates.clip_by_global_norm(grads, self.max_norm)
        self.updates = self.rule(grads, params)
        if self.guard:
            self.updates = updates.apply_if_finite(self.updates)
        return self.updates

    def __getitem__(self, key):
        return updates.state_dict(self.updates)[key]


# --- The numbers of PyMC ---------------------------------------------------------------------


@pytest.mark.parametrize("name", SHARED)
def test_a_deferred_rule_gives_the_numbers_of_pymc(name):
    theirs = fit(getattr(pm, name)(**SHARED[name]))
    assert np.abs(values(theirs)["mu"]).min() > 1e-3  # all have moved
    assert_equal(fit(getattr(updates, name)(**SHARED[name])), theirs)


def test_these_are_all_optimizers_of_pymc_and_defaults_agree_where_there_are_any():
    theirs = vars(pm.variational.updates)
    is_rule = {
        name
        for name in pm.variational.updates.__all__
        if "learning_rate" in arguments(theirs[name])
    }
    assert is_rule == set(SHARED)
    for name in SHARED:
        ours = {key: given.default for key, given in arguments(getattr(updates, name)).items()}
        for key, given in arguments(theirs[name]).items():
            required = key == "learning_rate" and name in ("sgd", "momentum", "nesterov_momentum")
            assert ours[key] == given.default or required, (name, key)


def arguments(function):
    return inspect.signature(function).parameters


@pytest.mark.parametrize(
    "given",
    [
        {"method": "fullrank_advi"},
        pytest.param({"obj_n_mc": 3}, marks=pytest.mark.slow),  # a scan: seconds of C compiler
        {"total_grad_norm_constraint": 5.0},
        {"start": {"mu": np.array(2.0)}, "start_sigma": {"mu": np.array(0.1)}},
        {"method": "svgd", "inf_kwargs": {"n_particles": 5}},
    ],
    ids=lambda given: "-".join(given),
)
def test_what_else_is_given_to_fit_means_the_same(given):
    def seeded(optimizer):
        np.random.seed(0)  # SVGD draws its start from NumPy's own generator
        return fit(optimizer, normal_mean(), **given)

    theirs = seeded(pm.adam(learning_rate=0.05))
    assert_equal(seeded(updates.adam(learning_rate=0.05)), theirs)


def test_parameters_of_the_users_own_learn_as_well():
    def learned(optimizer):
        scale = pytensor.shared(1.0, name="scale")
        calls = pytensor.shared(0, name="calls")
        with pm.Model() as model:
            mu = pm.Normal("mu", 0, pt.exp(scale))
            pm.Normal("y", mu, 1, observed=VALUES)
        fit(optimizer, model, more_obj_params=[scale], more_updates={calls: calls + 1})
        assert calls.get_value() == 50
        return scale.get_value()

    theirs = learned(pm.adam(learning_rate=0.05))
    assert abs(theirs - 1) > 0.01
    np.testing.assert_allclose(learned(updates.adam(learning_rate=0.05)), theirs, rtol=1e-10)


def test_float32_gives_the_numbers_of_pymc_and_stays_float32():
    with pytensor.config.change_flags(floatX="float32"):
        with pm.Model() as model:
            mu = pm.Normal("mu", 0, 10)
            pm.Normal("y", mu, 1, observed=VALUES.astype("float32"))
        theirs = fit(pm.adam(learning_rate=0.05), model)
        ours = Keep(updates.adam(learning_rate=0.05))
        assert_equal(fit(ours, model), theirs, tolerance=1e-5)
        scheduled = Keep(updates.adamw(learning_rate=updates.one_cycle(0.1, 50)), 100.0, guard=True)
        fit(scheduled, model)
    for kept in (ours, scheduled):
        floating = {v.type.dtype for v in kept.updates if v.type.dtype.startswith("float")}
        assert floating == {"float32"}


# --- What PyMC's optimizers have not ---------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "batch", "n"),
    [("advi", None, 500), ("advi", 10, 500), ("fullrank_advi", None, 500), ("svgd", None, 100)],
)
def test_adamw_with_one_cycle_finds_a_known_posterior(method, batch, n):
    np.random.seed(0)
    optimizer = Keep(updates.adamw(learning_rate=updates.one_cycle(0.3, n)))
    approx = fit(optimizer, normal_mean(batch), n=n, method=method)
    assert abs(approx.mean.eval().item() - MEAN) < 0.4 * STD
    assert approx.std.eval().item() == pytest.approx(STD, rel=0.25)
    assert optimizer["adamw/step"] == n


def test_the_schedule_advances_by_one_in_every_iteration():
    schedule = updates.one_cycle(0.1, 20)
    optimizer = Keep(updates.adamw(learning_rate=schedule))

    def rate():
        return updates.schedule_values(optimizer.updates)["adamw/learning_rate"].eval()

    tracker = callbacks.Tracker(rate=rate)
    fit(optimizer, normal_mean(), n=20, callbacks=[tracker])
    np.testing.assert_allclose(tracker["rate"], schedule(np.arange(1, 21)).eval())


def grid_means():
    """Integrate the posterior of `variance_line` on a grid; return means and deviations."""
    a, b = np.meshgrid(np.linspace(0.01, 12, 200), np.linspace(0.01, 7, 200), indexing="ij")
    variance = a[..., None] + b[..., None] * LINE_X
    logp = -(a**2 + b**2) / 50 - (np.log(variance) + LINE_Y**2 / variance).sum(axis=-1) / 2
    weights = np.exp(logp - logp.max())
    weights /= weights.sum()
    points = np.stack([a, b])
    mean = (weights * points).sum(axis=(1, 2))
    return mean, np.sqrt((weights * points**2).sum(axis=(1, 2)) - mean**2)


def errors(approx):
    """Return how far the means are from those of the grid, in its standard deviations."""
    mean, std = grid_means()
    return np.abs(approx.mean.eval() - mean) / std


def test_clipped_and_guarded_a_fit_survives_gradients_that_are_not_finite():
    fits = []

    def optimizer(loss, params):
        grads = updates.clip_by_global_norm(updates.get_or_compute_grads(loss, params), 100.0)
        rule = updates.adam(grads, params, learning_rate=updates.one_cycle(0.3, 600))
        fits.append(updates.apply_if_finite(rule))
        return fits[-1]

    approx = fit(optimizer, variance_line(), n=600)
    outside = np.isposinf(approx.hist)
    [state] = map(updates.state_dict, fits)
    assert state["apply_if_finite/skipped"] == outside.sum() > 20
    assert state["adam/step"] == 600 - outside.sum()
    assert errors(approx).max() < 0.5
    drawn = approx.sample(100).posterior
    assert np.isfinite(drawn["a"]).all()
    assert np.isfinite(drawn["b"]).all()


def test_the_ready_made_optimizer_is_that_composition():
    n, text = 600, repr(updates.advi_optimizer(600, learning_rate=0.3))
    ready = fit(updates.advi_optimizer(n, learning_rate=0.3), variance_line(), n=n)
    rule = updates.adam(learning_rate=updates.one_cycle(0.3, n))
    assert_equal(ready, fit(Keep(rule, 100.0, guard=True), variance_line(), n=n))
    assert "clip_by_global_norm(max_norm=100.0" in text
    assert "one_cycle(peak_value=0.3, steps=600)" in text
    assert errors(ready).max() < 0.5
    again = pickle.loads(pickle.dumps(updates.advi_optimizer(n, learning_rate=0.3)))
    assert_equal(fit(again, variance_line(), n=n), ready)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_guarded_without_clipping_the_fit_is_stuck_after_huge_gradients(seed):
    rule = updates.adam(learning_rate=updates.one_cycle(0.3, 600))
    clipped, unclipped = (
        fit(Keep(rule, max_norm, guard=True), variance_line(), n=600, random_seed=seed)
        for max_norm in (100.0, None)
    )
    assert errors(clipped).max() < 0.5
    assert errors(unclipped).max() > 1.5


@pytest.mark.parametrize("optimizer", [pm.adam(learning_rate=0.1), Keep(updates.adam(), 100.0)])
def test_without_the_guard_the_same_fit_ends_in_nan(optimizer):
    with variance_line():
        advi = pm.ADVI(random_seed=1)
    with pytest.raises(FloatingPointError, match="NaN occurred in optimization"):
        advi.fit(400, obj_optimizer=optimizer, progressbar=False)
    assert np.isnan(values(advi.approx)["mu"]).all()


def test_at_a_loss_of_nan_pymc_stops_but_guarded_parameters_are_the_last_good_ones():
    data = pytensor.shared(VALUES, name="data")
    with pm.Model():
        mu = pm.Normal("mu", 0, 10)
        pm.Potential("likelihood", -((data - mu) ** 2).sum() / 2)
        advi = pm.ADVI(random_seed=1)

    def spoil(approx, losses, i):
        if i == 30:
            kept.update(values(approx))
            data.set_value(np.full(50, np.nan))

    kept = {}
    optimizer = Keep(updates.adam(learning_rate=0.1), guard=True)
    with pytest.raises(FloatingPointError, match="NaN occurred in optimization"):
        advi.fit(60, obj_optimizer=optimizer, progressbar=False, callbacks=[spoil])
    np.testing.assert_equal(values(advi.approx), kept)
    assert optimizer["apply_if_finite/skipped"] == 1
    assert np.isfinite(advi.approx.sample(10).posterior["mu"]).all()


def test_averaged_parameters_are_swapped_in_for_what_is_read():
    def optimizer(grads, params):
        rule = updates.adam(grads, params, learning_rate=0.1)
        kept.update(updates.apply_ema(rule, params))
        return kept

    kept = {}
    approx = fit(optimizer, normal_mean())
    last = approx.mean.eval()
    averages = {param.name: mean.get_value() for param, mean in updates.averages(kept).items()}
    with updates.use_averages(kept):
        np.testing.assert_array_equal(approx.mean.eval(), averages["mu"])
        assert not np.array_equal(averages["mu"], last)
    np.testing.assert_array_equal(approx.mean.eval(), last)


# --- Time and state over several fits --------------------------------------------------------


def test_every_fit_starts_with_fresh_state_also_from_a_pickle():
    optimizer = updates.adamw(learning_rate=updates.one_cycle(0.1, 50))
    first = fit(optimizer, normal_mean())
    assert_equal(fit(optimizer, normal_mean()), first, tolerance=0)
    assert_equal(fit(pickle.loads(pickle.dumps(optimizer)), normal_mean()), first, tolerance=0)


def test_refine_goes_on_where_fit_stopped_and_another_fit_starts_its_schedule_anew():
    optimizer = Keep(updates.adamw(learning_rate=updates.one_cycle(0.1, 50)))
    whole = fit(optimizer, normal_mean())
    with normal_mean():
        advi = pm.ADVI(random_seed=1)
    advi.fit(30, obj_optimizer=optimizer, progressbar=False)
    assert optimizer["adamw/step"] == 30
    advi.refine(20, progressbar=False)
    assert optimizer["adamw/step"] == 50
    np.testing.assert_array_equal(advi.hist, whole.hist)
    advi.fit(0, obj_optimizer=optimizer, progressbar=False)
    assert optimizer["adamw/step"] == 0
    np.testing.assert_equal(values(advi.approx), values(whole))


def test_a_fit_is_saved_and_goes_on_in_another_inference(tmp_path):
    optimizer = Keep(updates.adam(learning_rate=updates.one_cycle(0.3, 400)))
    fit(optimizer, normal_mean(), n=200)
    updates.save(tmp_path / "fit.npz", optimizer.updates)
    saved = updates.state_dict(optimizer.updates)
    assert {"mu", "rho", "mu/adam/first_moment", "adam/step"} <= set(saved)

    with normal_mean():
        advi = pm.ADVI(random_seed=2)
    advi.fit(0, obj_optimizer=optimizer, progressbar=False)
    updates.load(tmp_path / "fit.npz", optimizer.updates)
    np.testing.assert_equal(updates.state_dict(optimizer.updates), saved)
    np.testing.assert_equal(values(advi.approx)["mu"], saved["mu"])
    advi.refine(200, progressbar=False)
    assert optimizer["adam/step"] == 400
    assert abs(advi.approx.mean.eval().item() - MEAN) < 0.4 * STD


# --- Every rule, every backend ---------------------------------------------------------------


@pytest.mark.parametrize(
    "rule",
    [
        updates.esgd(),
        updates.sophia(),
        updates.polyak_sgd(),
        updates.nesterov_lookahead(learning_rate=0.01),
        updates.sam(rule=updates.sgd(learning_rate=0.01)),
    ],
    ids=lambda rule: rule.rule.__name__,
)
def test_a_rule_that_needs_the_loss_says_so(rule):
    with pytest.raises(TypeError, match="needs the loss itself and not its gradients"):
        fit(rule, normal_mean())


def works_on_gradients(row):
    return "loss_or_grads" in arguments(row.rule.rule)


@pytest.mark.slow
@pytest.mark.parametrize("row", filter(works_on_gradients, RULES), ids=lambda row: repr(row.rule))
def test_every_rule_fits(row):
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 1)
        pm.Normal("y", mu, 2, observed=VALUES[:2])
    approx = fit(row.rule, model, n=20)
    assert np.isfinite(approx.hist).all()
    assert approx.mean.eval() != 0
    assert np.isfinite([approx.mean.eval(), approx.std.eval()]).all()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:PyTensor could not link to a BLAS")
@pytest.mark.filterwarnings("ignore:The RandomType SharedVariables")
@pytest.mark.parametrize("backend", ["numba", "c", "jax"])
def test_every_backend_gives_the_numbers_of_pymc(backend):
    if backend == "jax":
        pytest.importorskip("jax")
        if pm.__version__.startswith("6.3."):
            pytest.skip(
                "a model with vectors does not run under JAX in PyMC 6.3, with any optimizer"
            )
    theirs = fit(pm.adam(learning_rate=0.05), backend=backend)
    assert_equal(fit(updates.adam(learning_rate=0.05), backend=backend), theirs)
