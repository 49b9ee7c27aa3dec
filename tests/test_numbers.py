"""PyTensor's own watchers of numbers have nothing to say about the library.

Each function that makes or changes updates is in a table, and trains a healthy model.
"""

import inspect

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from catalogue import AS_WRITTEN, COMPOSITIONS, FEW, RULES, every_rule, loss_of, parameters, run
from pytensor.compile.debug.nanguardmode import NanGuardMode

import updates
from updates import gradients, schedules, transforms
from updates.kinds import REQUIRED

sgd = updates.sgd(learning_rate=0.02)
half, slow = pytensor.shared(np.float32(0.5)), updates.cosine_decay(0.05, 10)

GRADIENTS = {
    "norm_constraint": lambda g, p: [updates.norm_constraint(x, 0.5, range(x.ndim)) for x in g[:3]],
    "total_norm_constraint": lambda g, p: updates.total_norm_constraint(g, half),
    "centralize_gradients": lambda g, p: updates.centralize_gradients(g),
    "scale_gradients": lambda g, p: updates.scale_gradients(g, half),
    "zero_nonfinite": lambda g, p: updates.zero_nonfinite(g),
    "clip_by_value": lambda g, p: updates.clip_by_value(g, half),
    "clip_by_norm": lambda g, p: updates.clip_by_norm(g, 0.5),
    "clip_by_global_norm": lambda g, p: updates.clip_by_global_norm(g, 0.5, return_norm=True)[0],
    "adaptive_clip": lambda g, p: updates.adaptive_clip(g, p),
    "normalize_gradients": lambda g, p: updates.normalize_gradients(g),
    "add_weight_decay": lambda g, p: updates.add_weight_decay(g, p, 0.1),
    "add_l1_penalty": lambda g, p: updates.add_l1_penalty(g, p, 0.1),
    "add_gradient_noise": lambda g, p: updates.add_gradient_noise(g),
    "differentially_private_mean": lambda g, p: updates.differentially_private_mean(
        [pt.expand_dims(x, 0) for x in g], half, 0.0
    ),
}
UPDATES = {
    "apply_momentum": lambda u, loss: updates.apply_momentum(u),
    "apply_nesterov_momentum": lambda u, loss: updates.apply_nesterov_momentum(u),
    "apply_ema": lambda u, loss: updates.apply_ema(u),
    "apply_lookahead": lambda u, loss: updates.apply_lookahead(u, every=2),
    "apply_weight_decay": lambda u, loss: updates.apply_weight_decay(u, weight_decay=slow),
    "apply_norm_constraint": lambda u, loss: updates.apply_norm_constraint(u, next(iter(u)), 1.0),
    "apply_bounds": lambda u, loss: updates.apply_bounds(u, low=-1),
    "apply_projection": lambda u, loss: updates.apply_projection(u, projection=updates.simplex()),
    "apply_if_finite": lambda u, loss: updates.apply_if_finite(u, max_norm=1e3, max_skips=9),
    "reduce_on_plateau": lambda u, loss: updates.reduce_on_plateau(u, loss, every=2, patience=1),
    "freeze": lambda u, loss: updates.freeze(u, lambda param: param.ndim == 0),
    "merge_updates": lambda u, loss: updates.merge_updates(u),
}
SCHEDULES = {
    "constant_schedule": updates.constant_schedule(0.1),
    "piecewise_constant": updates.piecewise_constant([2, 4], [0.1, half, 0.01]),
    "step_decay": updates.step_decay(0.1, 2),
    "linear_schedule": updates.linear_schedule(0.1, 0.0, 3),
    "polynomial_decay": updates.polynomial_decay(0.1, 0.0, 3, power=2.0),
    "exponential_decay": updates.exponential_decay(0.1, 2, 0.5, end_value=0.01),
    "inverse_time_decay": updates.inverse_time_decay(0.1, 2, 0.5),
    "inverse_sqrt": updates.inverse_sqrt(0.1, 2),
    "cosine_decay": slow,
    "cosine_restarts": updates.cosine_restarts(0.1, 2, decay=0.5),
    "one_cycle": updates.one_cycle(0.1, 4),
    "piecewise_interpolate": updates.piecewise_interpolate([2, 4], [0.1, half, 0.01]),
    "warmup_stable_decay": updates.warmup_stable_decay(0.1, 6, 2, 2, shape="sqrt"),
    "warmup": updates.warmup(updates.step_decay(0.1, 2), 2),
    "join_schedules": updates.join_schedules([slow, 0.1], [2]),
}


def with_gradients(transform):
    def rule(loss, params):
        grads = updates.get_or_compute_grads(loss, params)
        transformed = transform(grads, params)
        return sgd(transformed, params[: len(transformed)])

    return rule


def with_updates(transform):
    return lambda loss, params: transform(sgd(loss, params), loss)


EVERYTHING = {
    **{repr(row.rule): row.rule for row in RULES},
    **{composition.__name__: composition for composition in COMPOSITIONS},
    **{name: with_gradients(transform) for name, transform in GRADIENTS.items()},
    **{name: with_updates(transform) for name, transform in UPDATES.items()},
    **{name: updates.adam(learning_rate=schedule) for name, schedule in SCHEDULES.items()},
    "halflife_to_decay": lambda loss, params: updates.momentum(
        loss, params, 0.1, momentum=updates.halflife_to_decay(half)
    ),
}
SLOW = {repr(row.rule) for row in RULES if row.name not in FEW}
everything = pytest.mark.parametrize(
    "rule",
    [
        pytest.param(rule, id=name, marks=[pytest.mark.slow] * (name in SLOW))
        for name, rule in EVERYTHING.items()
    ],
)


def test_everything_is_in_the_tables():
    functions = {*gradients.__all__, *transforms.__all__, *schedules.__all__}
    # Those that return neither updates nor gradients, and those that are among the compositions.
    others = {"get_or_compute_grads", "averages", "use_averages", "accumulate_gradients"}
    others |= {"per_example_gradients"}  # which transforms no gradients
    others |= {"Schedule", "schedule_values"}
    assert functions - others == {*GRADIENTS, *UPDATES, *SCHEDULES, "halflife_to_decay"}


def model(dtype):
    """Give a loss with one more parameter, which it does not depend on: zeros are healthy, too."""
    params = parameters((dtype,) * 4)
    resting = pytensor.shared(np.zeros((2, 2), dtype=dtype), name="resting")
    return loss_of(params) + 0 * pt.sum(resting), [*params, resting]


@everything
def test_nan_guard_mode_has_nothing_to_complain_of(rule):
    loss, params = model("float32")
    with pytensor.config.change_flags(cxx=""):  # compiling in C would take far longer
        mode = NanGuardMode(optimizer="minimum_compile")
        step = pytensor.function([], updates=rule(loss, params), mode=mode)
    for _ in range(4):
        step()


@every_rule
def test_the_defaults_of_every_rule_are_admitted_in_float16(row):
    params = parameters(("float16",) * 4)
    arguments = inspect.signature(row.rule.rule).parameters
    needed = {name: 0.5 for name, given in arguments.items() if given.default is REQUIRED}
    dictionary = row.rule.rule(loss_of(params), params, **needed)
    assert {dictionary[param].type.dtype for param in params} == {"float16"}


@pytest.mark.parametrize("convert", [float, pytensor.shared, np.float32])
@pytest.mark.parametrize(
    ("rule", "decays"),
    [
        (updates.adopt, {"beta2": 0.9999}),
        (updates.ademamix, {"beta2": 0.999, "beta3": 0.9999}),
        (updates.adam, {"beta1": 0.9, "beta2": 0.9999}),
        (updates.prodigy, {"beta2": 0.9999, "beta3": 0.9999}),
    ],
)
def test_a_decay_that_float16_has_not_is_kept_all_the_same(rule, decays, convert):
    def trained(dtype):
        start = np.array([[1, -2, 0.5], [0.25, 3, -1]])
        w = pytensor.shared(start.astype(dtype), name="w")
        given = {name: convert(value) for name, value in decays.items()}
        dictionary = rule(pt.sum(w**2), [w], learning_rate=0.01, **given)
        assert {v.type.dtype for v in dictionary if v.name.startswith("w")} == {dtype}
        return run(dictionary, steps=5)

    coarse, fine = trained("float16"), trained("float64")
    for name, value in coarse.items():
        np.testing.assert_allclose(value, fine[name], rtol=1e-2, atol=1e-5, err_msg=name)


MODES = [
    AS_WRITTEN,
    *(pytest.param(mode, marks=pytest.mark.slow) for mode in ("FAST_COMPILE", "JAX", "NUMBA")),
]
# Numba takes about ten seconds to compile one of them, JAX three.
COMPILED = {
    "NUMBA": ("lamb",),
    "JAX": ("adafactor", "clip_by_norm", "cosine_restarts", "differentially", "lamb", "noisy_sgd"),
}


@everything
@pytest.mark.filterwarnings("ignore:Skipping", "ignore:The RandomType SharedVariables")
@pytest.mark.parametrize("mode", MODES, ids=["", "FAST_COMPILE", "JAX", "NUMBA"])
def test_warn_float64_has_nothing_to_complain_of_in_float32_models(rule, mode, request):
    if mode == "JAX":
        pytest.importorskip("jax")
    if mode in COMPILED and not any(name in request.node.name for name in COMPILED[mode]):
        pytest.skip("is compiled in the other modes")
    flags = {"floatX": "float32", "warn_float64": "raise", "on_opt_error": "raise"}
    with pytensor.config.change_flags(**flags):
        loss, params = model("float32")
        single = run(rule(loss, params), mode=mode)
    assert "float64" not in {value.dtype for value in single.values()}
    if mode == "JAX":
        return  # which draws other numbers in float32 than in float64
    loss, params = model("float32")
    usual = run(rule(loss, params), mode=mode)
    assert single.keys() == usual.keys()
    for name, value in single.items():
        np.testing.assert_allclose(value, usual[name], rtol=1e-3, atol=1e-4, err_msg=name)
