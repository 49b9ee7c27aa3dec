"""The promises that every rule keeps: order, types, hyperparameters, time, state, deferral."""

import inspect
import pickle

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from catalogue import (
    AROUND_A_RULE,
    AS_WRITTEN,
    FEW,
    RULES,
    assert_same_bits,
    every_rule,
    every_rule_but_few_slow,
    every_update_but_few_slow,
    loss_of,
    parameters,
    run,
    trained,
)

import updates
from updates.rules import __all__ as rule_names


def cube_schedule(step):
    """Give a different learning rate for each of the first steps."""
    return 0.1 / (step + 1) ** 3


def test_every_rule_is_in_the_table():
    assert {row.name for row in RULES} | {"momentum_updates", *AROUND_A_RULE} == set(rule_names)


# --- 1. Order-independent -------------------------------------------------------------------


@every_update_but_few_slow
def test_any_order_and_any_form_give_the_same_bits(make_updates):
    def items():
        params = parameters()
        return list(make_updates(loss_of(params), params).items())

    def shuffled(pairs):
        return [pairs[i] for i in np.random.default_rng(0).permutation(len(pairs))]

    for form in (lambda pairs: pairs[::-1], lambda pairs: dict(shuffled(pairs))):
        expected = trained(make_updates, "FAST_COMPILE")
        assert_same_bits(expected, run(form(items()), mode="FAST_COMPILE"))


# --- 2. One function, beside other updates ---------------------------------------------------


@every_update_but_few_slow
def test_two_dictionaries_run_in_one_function_as_they_run_apart(make_updates):
    first, second = parameters(), parameters()
    for param in second:
        param.name += "2"
    together = {**make_updates(loss_of(first), first), **make_updates(loss_of(second), second)}
    alone, after = trained(make_updates, "FAST_COMPILE"), run(together, mode="FAST_COMPILE")
    assert_same_bits(alone, {name: after[name] for name in alone})
    for param in first:
        np.testing.assert_array_equal(after[f"{param.name}2"], alone[param.name])


# --- 3. The parameter's type wins ------------------------------------------------------------


@pytest.mark.parametrize("floatx", ["float32", "float64"])
@every_rule_but_few_slow
def test_state_and_next_values_have_the_parameters_dtype_and_static_shape(row, floatx):
    dtypes = ("float32", "float64", "float32", "float16")
    with pytensor.config.change_flags(floatX=floatx):
        params = parameters(dtypes)
        data = pytensor.shared(np.float64(2.0))
        rule = row.rule(**row.bind(lambda _, value: pytensor.shared(np.float64(value))))
        result = rule(loss_of(params) * data, params)
        after = run(result, steps=1)
    for param, dtype in zip(params, dtypes, strict=True):
        assert result[param].type.dtype == dtype
        assert result[param].type.shape[: param.ndim].count(1) == param.type.shape.count(1)
        assert after[param.name].dtype == dtype
        for slot in row.slots_of(param):
            [state] = [v for v in result if v.name == f"{param.name}/{row.name}/{slot}"]
            assert state.type.dtype == result[state].type.dtype == dtype
            if row.whole:
                continue
            assert state.type.shape[: param.ndim] == param.type.shape
            assert state.get_value().shape[: param.ndim] == param.get_value().shape


def awkward_parameters():
    values = np.arange(1.0, 7.0).reshape(2, 3)
    return [
        pytensor.shared(np.asfortranarray(values), name="fortran"),
        pytensor.shared(np.arange(1.0, 25.0).reshape(4, 6)[::2, ::2], name="view", borrow=True),
        pytensor.shared(np.zeros((0, 3)), name="zero-size"),
        pytensor.shared(np.array(1.0), name="0-d"),
        pytensor.shared(values[:1], name="row", shape=(1, None)),
        pytensor.shared(values[:1], name="row of unknown shape"),
        pytensor.shared(values[None, :, None], name="4-d", shape=(1, 2, 1, 3)),
    ]


@every_rule_but_few_slow
def test_parameters_of_any_layout_train_like_plain_ones(row):
    odd = awkward_parameters()
    before = [param.get_value() for param in odd]
    plain = [
        pytensor.shared(value.ravel(), name=p.name) for p, value in zip(odd, before, strict=True)
    ]
    trained, expected = (
        run(row.rule(sum(pt.sum((p**2 - 2) ** 2) for p in params), params), steps=3)
        for params in (odd, plain)
    )
    for param, start in zip(odd, before, strict=True):
        assert trained[param.name].shape == start.shape
        assert (trained[param.name] != start).all()
        if not callable(row.slots):  # those look at axes
            expected_values = expected[param.name]
            np.testing.assert_allclose(trained[param.name].ravel(), expected_values, rtol=1e-14)


# --- 4. Hyperparameters of every kind --------------------------------------------------------


KINDS_OF_HYPERPARAMETER = {
    "number": lambda value: value,
    "float32": np.float32,
    "float64": np.float64,
    "constant": lambda value: pt.constant(np.float64(value)),
    "shared": lambda value: pytensor.shared(np.float64(value)),
    "symbol": lambda value: pytensor.shared(np.float32(value)) * 1,
    "schedule": lambda value: lambda step: value + 0 * step,
    "constant schedule": lambda value: lambda step: value,
}


@pytest.mark.parametrize("row", [row for row in RULES if row.name in FEW], ids=repr)
def test_a_hyperparameter_may_be_a_number_a_symbol_or_a_schedule(row):
    merged = {}
    for kind, convert in KINDS_OF_HYPERPARAMETER.items():
        w = pytensor.shared(np.array([0.3, -0.7]), name=kind)
        bound = row.bind(lambda _, value, convert=convert: convert(value))
        merged |= row.rule(pt.sum((w**2 - 1.5) ** 2), w, **bound)
    after = run(merged)
    assert (after["number"] != [0.3, -0.7]).all()
    for kind in KINDS_OF_HYPERPARAMETER:
        np.testing.assert_allclose(after[kind], after["number"], rtol=2e-6, err_msg=kind)


@every_rule_but_few_slow
def test_a_shared_learning_rate_changes_without_recompiling(row):
    learning_rate = pytensor.shared(0.0, name="learning_rate")
    params = parameters()
    before = [param.get_value() for param in params]
    step = pytensor.function(
        [], updates=row.rule(loss_of(params), params, learning_rate), mode=AS_WRITTEN
    )
    step()
    step()
    for param, value in zip(params, before, strict=True):
        np.testing.assert_array_equal(param.get_value(), value)
    learning_rate.set_value(0.1)
    step()
    for param, value in zip(params, before, strict=True):
        assert (param.get_value() != value).all()


@every_rule_but_few_slow
def test_a_schedule_is_evaluated_at_0_1_2(row):
    learning_rate = pytensor.shared(0.0)
    scheduled, by_hand = parameters(), parameters()
    step = pytensor.function(
        [], updates=row.rule(loss_of(scheduled), scheduled, cube_schedule), mode=AS_WRITTEN
    )
    step_by_hand = pytensor.function(
        [], updates=row.rule(loss_of(by_hand), by_hand, learning_rate), mode=AS_WRITTEN
    )
    for number in range(4):
        learning_rate.set_value(0.1 / (number + 1) ** 3)
        step()
        step_by_hand()
    for first, second in zip(scheduled, by_hand, strict=True):
        np.testing.assert_allclose(first.get_value(), second.get_value(), rtol=1e-13)


# --- 5. Time is an int64 counter -------------------------------------------------------------


@every_rule
def test_one_rule_call_has_one_int64_clock_however_many_schedules(row):
    params = parameters()
    schedules = row.bind(lambda _, value: lambda step: value + 0 * step)
    [clock] = [
        v for v in row.rule(loss_of(params), params, **schedules) if v.name == f"{row.name}/step"
    ]
    assert clock.type.dtype == "int64"


@pytest.mark.parametrize("rule", [updates.adam, updates.adamax, updates.amsgrad])
def test_time_does_not_stall_at_2_to_the_24(rule):
    params = parameters(("float32",) * 4)
    result = rule(loss_of(params), params)
    [clock] = [variable for variable in result if variable.name.endswith("/step")]
    clock.set_value(2**24)
    run(result, steps=3)
    assert clock.get_value() == 2**24 + 3


@pytest.mark.parametrize(
    "rule",
    [
        updates.adam,
        updates.adamax,
        updates.amsgrad,
        updates.adamw(weight_decay=0.0),
        updates.adamaxw(weight_decay=0.0),
    ],
    ids=lambda rule: getattr(rule, "__name__", repr(rule)),
)
def test_the_first_float32_step_has_full_precision(rule):
    w = pytensor.shared(np.zeros(100, dtype="float32"), name="w")
    grads = np.random.default_rng(0).normal(size=100).astype("float32")
    run(rule([pt.constant(grads)], [w], learning_rate=1.0, epsilon=0.0), steps=1)
    np.testing.assert_allclose(w.get_value(), -np.sign(grads), rtol=3e-7)


@pytest.mark.parametrize(
    "rule",
    [
        updates.polyak_sgd,
        updates.momo,
        updates.momo_adam,
        updates.lbfgs,
        updates.sophia,
        updates.esgd,
        updates.nesterov_lookahead(learning_rate=0.1),
        updates.sam(rule=updates.sgd(learning_rate=0.1)),
    ],
    ids=lambda rule: getattr(rule, "__name__", repr(rule)),
)
def test_rules_that_need_the_loss_say_why_gradients_do_not_do(rule):
    params = parameters()
    grads = updates.get_or_compute_grads(loss_of(params), params)
    with pytest.raises(TypeError, match="needs the loss itself and not its gradients, because "):
        rule(grads, params)


# --- 6. State has names and tags --------------------------------------------------------------


@every_rule
def test_state_is_named_and_tagged(row):
    params = parameters()
    result = row.rule(loss_of(params), params)
    state = {variable.name for variable in result if updates.is_state(variable)}
    expected = {
        f"{param.name}/{row.name}/{slot}" for param in params for slot in row.slots_of(param)
    }
    expected |= {f"{row.name}/{scalar}" for scalar in row.scalars}
    assert state == expected | ({f"{row.name}/step"} if row.counts else set())
    assert [variable for variable in result if not updates.is_state(variable)] == params


def test_unnamed_parameters_have_state_with_their_position_in_its_name():
    params = [pytensor.shared(1.0), pytensor.shared(2.0)]
    names = {v.name for v in updates.momentum(loss_of(params), params, 0.1) if v.name}
    assert names == {"param_0/momentum/velocity", "param_1/momentum/velocity"}


# --- 8. Deferred call ------------------------------------------------------------------------


@every_rule_but_few_slow
def test_a_deferred_rule_pickles_and_gives_the_same_as_a_direct_call(row):
    deferred = pickle.loads(pickle.dumps(row.rule))
    params = parameters()
    direct = getattr(updates, row.name)(loss_of(params), params, **row.rule.hyperparameters)
    assert_same_bits(trained(deferred), run(direct))
    assert repr(deferred) == repr(row.rule)
    assert repr(row.rule).startswith(row.name + "(learning_rate=")


def test_a_deferred_schedule_pickles():
    rule = pickle.loads(pickle.dumps(updates.adam(learning_rate=cube_schedule)))
    assert "cube_schedule" in repr(rule)
    params = parameters()
    assert "adam/step" in run(rule(loss_of(params), params))


def test_a_required_hyperparameter_may_come_with_the_second_call():
    rule = pickle.loads(pickle.dumps(updates.momentum(momentum=0.5)))
    now, later = parameters(), parameters()
    assert_same_bits(
        run(rule(loss_of(later), later, 0.1)),
        run(updates.momentum(loss_of(now), now, 0.1, 0.5)),
    )


@every_rule
def test_signatures_are_explicit(row):
    names = list(inspect.signature(getattr(updates, row.name)).parameters)
    assert names[0] in ("loss", "loss_or_grads")
    assert names[1:] == ["params", *row.rule.hyperparameters]


# --- the numbers that were promised ------------------------------------------------------------


def test_momentum_updates_is_momentum():
    assert updates.momentum_updates is updates.momentum


def test_the_rmsprop_walk_of_dive_into_deep_learning_7_6():
    x1, x2 = pytensor.shared(-5.0, name="x1"), pytensor.shared(-2.0, name="x2")
    loss = 0.1 * x1**2 + 2 * x2**2
    walk = updates.rmsprop(loss, [x1, x2], learning_rate=0.4, rho=0.9, epsilon=1e-6)
    after = run(walk, steps=20)
    assert (f"{after['x1']:.6f}", f"{abs(after['x2']):.6f}") == ("-0.010599", "0.000000")


@pytest.mark.parametrize("reverse", [False, True])
def test_the_order_of_updates_does_not_matter(reverse):
    # By hand, with p = 0.5 and cost = 3 * param**2, so a gradient of 6 * param:
    #   param_update' = 0.5 * param_update + 0.5 * 6 * param,   param' = param - 0.1 * param_update
    #   (1, 2) -> (1 - 0.2, 1 + 3) = (0.8, 4) -> (0.4, 2 + 2.4) = (0.4, 4.4) -> (-0.04, 3.4)
    param = pytensor.shared(1.0, name="param")
    param_update = pytensor.shared(2.0, name="param_update")
    gradient = pytensor.grad(3 * param**2, param)
    pairs = [
        (param, param - 0.1 * param_update),
        (param_update, 0.5 * param_update + 0.5 * gradient),
    ]
    step = pytensor.function([], updates=pairs[::-1] if reverse else pairs, mode="FAST_COMPILE")
    seen = []
    for _ in range(3):
        step()
        seen.append((float(param.get_value()), float(param_update.get_value())))
    np.testing.assert_allclose(seen, [(0.8, 4.0), (0.4, 4.4), (-0.04, 3.4)], rtol=1e-15)


# --- rules that no peer computes -----------------------------------------------------------------


def test_esgd_divides_by_the_rows_of_the_hessian():
    hessian = np.array([[3.0, 1.0, 0.0], [1.0, 2.0, 0.5], [0.0, 0.5, 0.2]])
    w = pytensor.shared(np.array([1.0, -2.0]), name="w")
    s = pytensor.shared(0.5, name="s")
    both = pt.concatenate([w, s[None]])
    result = updates.esgd(pt.dot(both, pt.dot(hessian, both)) / 2, [w, s], 0.1, halflife=5, seed=3)
    step = pytensor.function([], updates=result, mode="FAST_COMPILE")
    point, mean_square, rho = np.array([1.0, -2.0, 0.5]), np.zeros(3), 2 ** (-1 / 5)
    random = np.random.default_rng(3)
    for _ in range(10):
        step()
        noise = np.append(random.normal(size=2), random.normal())
        mean_square = rho * mean_square + (1 - rho) * (hessian @ noise) ** 2
        point = point - 0.1 * (hessian @ point) / (np.sqrt(mean_square) + 1e-8)
        np.testing.assert_allclose(np.append(w.get_value(), s.get_value()), point, rtol=1e-12)


def test_the_noise_of_noisy_sgd_fades_and_has_its_seed():
    w = pytensor.shared(np.zeros(4), name="w")
    result = updates.noisy_sgd([np.ones(4)], [w], 0.1, eta=0.5, gamma=0.6, seed=7)
    step = pytensor.function([], updates=result, mode="FAST_COMPILE")
    point, random = np.zeros(4), np.random.default_rng(7)
    for call in range(1, 6):
        step()
        point = point - 0.1 * (1 + np.sqrt(0.5 / call**0.6) * random.normal(size=4))
        np.testing.assert_allclose(w.get_value(), point, rtol=1e-12)


def test_sam_keeps_the_dropout_of_the_first_gradient():
    w, generator = pytensor.shared(np.ones(50), name="w"), pytensor.shared(np.random.default_rng(0))
    next_generator, draw = pt.random.normal(size=50, rng=generator).owner.outputs
    result = updates.sam(((w * (draw > 0)) ** 2).sum(), [w], updates.sgd(learning_rate=0.1))
    pytensor.function([], updates={**result, generator: next_generator}, mode="FAST_COMPILE")()
    dropped = np.random.default_rng(0).normal(size=50) <= 0
    np.testing.assert_array_equal(w.get_value() == 1, dropped)
