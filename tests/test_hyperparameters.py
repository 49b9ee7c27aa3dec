"""Hyperparameters: bad ones are refused by name, value and range; numbers are inputs."""

import copy
import inspect
import itertools
import json
import math
import pickle
import re
from fractions import Fraction

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from catalogue import (
    AROUND_A_RULE,
    AS_WRITTEN,
    FEW,
    RULES,
    arrays,
    assert_same_bits,
    every_rule,
    loss_of,
    parameters,
    run,
)
from pytensor.graph.basic import Constant
from pytensor.graph.traversal import ancestors

import updates
from updates.declaration import declaration_of
from updates.description.draw import diagram_of
from updates.kinds import Integer, OneOf, PlainNumber, Scalar, ScalarOfEach, TrueOrFalse, Which
from updates.loss_graph import params_of
from updates.schedules.schedule import ListOf, StepNumber

BAD_NUMBERS = {
    "a finite number": [math.inf, math.nan, 10**400],
    "a number >= 0": [-0.1, math.nan],
    "a finite number >= 0": [-0.1, math.inf, math.nan, np.float32(-1), 10**400],
    "a finite number > 0": [0, -3.0, math.inf, math.nan],
    "a finite number >= 1": [0.5, -3.0, math.inf, math.nan],
    "in [0, 1)": [-0.1, 1, 1.0, 1.5, math.nan],
    "in [0, 1]": [-0.1, 1.5, math.nan],
}
WRONG_TYPES = [
    "0.1",
    None,
    True,
    np.True_,
    0.1j,
    np.array([0.1]),
    np.array(0.1),
    [0.1],
    pt.bscalar() > 0,
]
NAMES_AND_RULES = [(name, row) for row in RULES for name in row.rule.hyperparameters]


def parameter(dtype="float64"):
    return pytensor.shared(np.array([1.0, 2.0], dtype=dtype), name="w")


def call(row, w=None, **hyperparameters):
    w = parameter() if w is None else w
    return row.rule((w**2).sum(), w, **hyperparameters)


def bad_numbers(kind):
    """Give numbers that a hyperparameter refuses, and what its message says it must be."""
    if isinstance(kind, Integer):
        return ([0, -1], "> 0") if kind.least == 1 else ([-1], ">= 0")
    if isinstance(kind, Scalar | PlainNumber):
        return BAD_NUMBERS[kind.interval.words], kind.interval.words
    return [], ""


def accepts(row, name, value):
    kind = row.kind(name)
    if isinstance(kind, Which):  # see test_choice.py
        return True
    is_flag = isinstance(kind, TrueOrFalse) and isinstance(value, bool | np.bool_)
    return is_flag or (value is None and name in declaration_of(row.rule.rule).optional)


@pytest.mark.parametrize(("name", "row"), NAMES_AND_RULES)
def test_numbers_out_of_range_and_wrong_types_are_refused(name, row):
    values, words = bad_numbers(row.kind(name))
    for value in values:
        message = re.escape(f"{row.name}: {name} must be {words}, got {value}")
        with pytest.raises(ValueError, match=message):
            call(row, **{name: value})
        with pytest.raises(ValueError, match=message):
            row.rule(**{name: value})
    error = ValueError if isinstance(row.kind(name), OneOf) else TypeError
    for value in WRONG_TYPES:
        if not accepts(row, name, value):
            with pytest.raises(error, match=f"^{row.name}: {name} must be "):
                call(row, **{name: value})


@every_rule
def test_symbols_must_be_real_scalars(row):
    for name in row.rule.hyperparameters:
        if not row.is_symbolic(name):
            continue
        with pytest.raises(ValueError, match=f"{name} must be a scalar, got the symbol rates"):
            call(row, **{name: pt.vector("rates")})
        with pytest.raises(TypeError, match=f"{name} must be a real scalar"):
            call(row, **{name: pt.zscalar()})
        with pytest.raises(ValueError, match=f"{name} must be .*nan"):
            call(row, **{name: pt.constant(math.nan)})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((0.1, 0.999999999), r"momentum must be in \[0, 1\), got 1.0 .*0.999999999 in float32"),
        ((1e300, 0.9), r"learning_rate must be a finite number >= 0, got inf .*1e\+300 in float32"),
    ],
)
def test_a_number_that_leaves_its_range_by_rounding_is_refused(arguments, words):
    w, v = parameter("float32"), parameter("float64")
    with pytest.raises(ValueError, match=words):
        updates.momentum((w**2).sum(), w, *arguments)
    assert len(updates.momentum((v**2).sum(), v, *arguments)) == 2


BAD_SCHEDULES = {
    "vector": (lambda step: pt.stack([step, step]) * 0.1, ValueError, "must be a scalar"),
    "string": (lambda step: "0.1", TypeError, "must be a number"),
    "None": (lambda step: None, TypeError, "must be a number"),
    "out of range": (lambda step: -0.1, ValueError, "must be a finite number >= 0, got -0.1"),
    "a schedule": (lambda step: lambda step: 0.1, TypeError, "must be a number"),
    "python if": (lambda step: 0.1 if step < 10 else 0.01, ValueError, "switch"),
    "no argument": (lambda: 0.1, ValueError, "failed on a symbolic step"),
}


@pytest.mark.parametrize("case", BAD_SCHEDULES)
def test_a_bad_schedule_is_refused(case):
    schedule, error, words = BAD_SCHEDULES[case]
    with pytest.raises(error, match=f"^rmsprop: the schedule given as learning_rate .*{words}"):
        call(next(row for row in RULES if row.name == "rmsprop"), learning_rate=schedule)


@pytest.mark.parametrize("value", [1, Fraction(1, 8), np.int32(1), np.float16(0.5), 0, 0.0])
def test_any_real_number_is_a_learning_rate(value):
    w = parameter()
    after = run(updates.sgd((w**2).sum(), w, value), steps=1)
    np.testing.assert_allclose(after["w"], np.array([1.0, 2.0]) * (1 - 2 * float(value)))


def test_an_integer_symbol_is_a_learning_rate():
    w, rate = parameter("float32"), pytensor.shared(1, name="rate")
    assert run(updates.sgd((w**2).sum(), w, rate), steps=1)["w"].dtype == "float32"


# --- Numbers are inputs ----------------------------------------------------------------------

# Two numbers for each hyperparameter that takes one, by what it admits.
NUMBERS = {"in [0, 1)": (0.4321, 0.25), "in [0, 1]": (0.4321, 0.75)}
NUMBERS |= {"a finite number >= 1": (1.4321, 2.5)}
WITHIN_ALL_OTHERS = (0.4321, 0.75)
GIVEN = {  # what is no number and must be given, or is needed for all numbers to count
    **{name: {"rule": updates.sgd(learning_rate=0.1)} for name in AROUND_A_RULE},
    "accumulate_gradients": {"rule": updates.sgd(learning_rate=0.1), "every": 2},
    "reduce_on_plateau": {"patience": 1},
    "one_cycle": {"shape": "linear"},
    "warmup": {"schedule": updates.constant_schedule(0.2)},
    "warmup_stable_decay": {"steps": 9},
    "halfspace": {"normal": np.ones_like(parameters()[0].get_value())},
    "join_schedules": {"schedules": [0.2, updates.constant_schedule(0.1)]},
}
FURTHER = {  # further numbers in these, by their keys
    "warmup_stable_decay": {"sgd/learning_rate/steps": 9},
    **{name: {"sgd/learning_rate": 0.1} for name in AROUND_A_RULE},
    "warmup": {"sgd/learning_rate/schedule/value": 0.2},
    "join_schedules": {
        "sgd/learning_rate/schedules/0": 0.2,
        "sgd/learning_rate/schedules/1/value": 0.1,
    },
}
SCHEDULES = set(updates.schedules.__all__) - {"Schedule"}


def two_numbers(kind):
    """Give two values that a hyperparameter admits, or None if it takes no number."""
    if isinstance(kind, ListOf):
        # One value more than boundaries.
        return ([3], [1]) if kind.increases else ([0.4321, 0.75], [0.25, 0.3])
    if isinstance(kind, StepNumber):
        return (3, 2)
    if isinstance(kind, Scalar | ScalarOfEach):
        return NUMBERS.get(kind.interval.words, WITHIN_ALL_OTHERS)
    return None


def numbers_of(name, which):
    """Give all hyperparameters of a public function that may be numbers, by name."""
    kinds = declaration_of(getattr(updates, name)).kinds
    pairs = {argument: two_numbers(kind) for argument, kind in kinds.items()}
    given = GIVEN.get(name, {})
    return {a: pair[which] for a, pair in pairs.items() if pair is not None and a not in given}


def keys_of(name, numbers):
    """Give the numbers by the keys that they should have."""
    owner = getattr(updates, name).__name__  # `momentum_updates` is `momentum`
    path = "sgd/learning_rate/{}" if name in SCHEDULES else f"{owner}/{{}}"
    keys = {}
    for argument, value in numbers.items():
        items = enumerate(value) if isinstance(value, list) else []
        keys |= {path.format(f"{argument}/{i}"): item for i, item in items}
        keys |= {} if isinstance(value, list) else {path.format(argument): value}
    if name == "reduce_on_plateau":  # it has a state of that name
        keys[f"{name}/cooldown#2"] = keys.pop(f"{name}/cooldown")
    if name not in RULE_NAMES and name not in SCHEDULES:
        keys["sgd/learning_rate"] = 0.1
    return keys | FURTHER.get(name, {})


def made(name, which=0):
    """Make updates in which a public function has all its numbers, and parameters for them."""
    function, arguments = getattr(updates, name), numbers_of(name, which) | GIVEN.get(name, {})
    params = parameters()[:2]
    loss = loss_of(params)
    if name in SCHEDULES:
        return updates.sgd(loss, params, function(**arguments))
    leading = declaration_of(function).leading
    if leading[0].startswith("loss"):
        return function(loss, params, **arguments)
    if leading == ["updates"]:
        besides = [loss] * ("loss" in inspect.signature(function).parameters)
        return function(updates.sgd(loss, params, 0.1), *besides, **arguments)
    grads = updates.get_or_compute_grads(loss, params)
    if name == "differentially_private_mean":
        grads = function([pt.expand_dims(grad, 0) for grad in grads], **arguments)
    elif leading == ["tensor_var"]:
        grads = [function(grads[0], **arguments), grads[1]]
    else:
        grads = function(grads, *[params] * ("params" in leading), **arguments)
    return updates.sgd(grads, params, 0.1)


RULE_NAMES = set(updates.rules.__all__)
WITH_NUMBERS = [
    name
    for name in updates.__all__
    if hasattr(getattr(updates, name), "__declaration__")
    and name != "halflife_to_decay"  # of a number it makes a number
    and numbers_of(name, 0)
]


def test_all_kinds_of_functions_have_numbers():
    assert {"adam", "clip_by_norm", "apply_ema", "cosine_decay", "scale_gradients"} <= set(
        WITH_NUMBERS
    )
    assert len(WITH_NUMBERS) > 75


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name in RULE_NAMES - FEW))
        for name in WITH_NUMBERS
    ],
)
def test_every_number_is_an_input(name):
    rule = made(name)
    hyperparameters = updates.hyperparameters(rule)
    assert dict(hyperparameters) == keys_of(name, numbers_of(name, 0))
    constants = [v.data for v in ancestors(rule.values()) if isinstance(v, Constant)]
    assert not any(np.any(np.isin(c, [0.4321, 1.4321, np.float32(0.4321)])) for c in constants)
    step = pytensor.function([], updates=rule, mode=AS_WRITTEN)
    hyperparameters.update(keys_of(name, numbers_of(name, 1)))
    for _ in range(3):
        step()
    assert_same_bits(arrays(rule), run(made(name, 1)))


def two_parameters(dtype="float64"):
    params = parameter(dtype), pytensor.shared(np.array(2.0, dtype=dtype), name="b")
    return *params, (params[0] ** 2).sum() + params[1] ** 2


@pytest.mark.parametrize(
    ("given", "shown", "value"),
    [
        (0.1, "0.1", 0.1),
        (1, "1", 1),
        (Fraction(1, 8), "1/8", 0.125),
        (np.float32(0.1), "0.1", float(np.float32(0.1))),
        (pt.constant(0.1), "0.1", 0.1),
    ],
)
def test_a_number_reads_as_it_was_given(given, shown, value):
    w = parameter()
    rule = updates.sgd((w**2).sum(), w, given)
    [row] = updates.describe(rule).to_dict()["variables"]
    assert row["formula"] == f"w' = w - {shown}*g"
    found = updates.hyperparameters(rule)
    assert json.loads(json.dumps(dict(found))) == dict(found) == {"sgd/learning_rate": value}
    assert repr(found) == f"sgd/learning_rate  {value}"


def test_what_is_shown_is_the_present_number():
    w, _, loss = two_parameters("float32")
    rule = updates.rmsprop(loss, w, learning_rate=0.1, epsilon=0)
    updates.hyperparameters(rule)["rmsprop/learning_rate"] = 0.025
    [row, _] = updates.describe(rule).to_dict()["variables"]
    assert row["formula"] == "w' = w - 0.025*g/sqrt(mean_square' + 0)"
    assert r"0.025 \cdot g" in updates.describe(rule)._repr_html_()
    assert not any("learning_rate" in label for label in diagram_of(rule, None).old)


def test_one_variable_holds_a_number_for_all_dtypes():
    w, b = parameter("float32"), parameter("float64")
    b.name = "b"
    rule = updates.lamb((w**2).sum() + (b**2).sum(), [w, b], learning_rate=0.1)
    assert dict(updates.hyperparameters(rule)) == {
        "lamb/learning_rate": 0.1,
        "lamb/beta1": 0.9,
        "lamb/beta2": 0.999,
        "lamb/epsilon": 1e-6,
        "lamb/weight_decay": 0.0,
    }


@pytest.mark.parametrize("factor", [{"w": 3.0}, {"w": 3.0, "b": 2.0}, [3.0, 2.0], 3.0])
def test_factors_have_the_names_of_their_parameters(factor):
    w, b, loss = two_parameters()
    grads = updates.scale_gradients(updates.get_or_compute_grads(loss, [w, b]), factor)
    found = dict(updates.hyperparameters(updates.sgd(grads, [w, b], 0.1)))
    expected = {"scale_gradients/factor": factor}
    if factor != 3.0:
        pairs = factor.items() if isinstance(factor, dict) else zip("wb", factor, strict=True)
        expected = {f"scale_gradients/factor/{name}": value for name, value in pairs}
    assert found == expected | {"sgd/learning_rate": 0.1}


def test_a_schedule_that_the_user_calls_has_numbers_of_its_own_name():
    w, step = parameter(), pytensor.shared(0, name="step")
    rate = updates.linear_schedule(0.5, 0.0, 4)(step)
    rule = updates.sgd((w**2).sum(), w, rate)
    assert dict(updates.hyperparameters(rule)) == {
        "step": 0,
        "linear_schedule/initial_value": 0.5,
        "linear_schedule/end_value": 0.0,
        "linear_schedule/steps": 4,
        "linear_schedule/begin": 0,
    }


# --- What may be set -------------------------------------------------------------------------


@pytest.mark.parametrize("words", BAD_NUMBERS)
def test_a_number_out_of_range_is_refused_later_too(words):
    names = [(row, n) for row in RULES for n in row.rule.hyperparameters if row.is_symbolic(n)]
    names = [(row, n) for row, n in names if row.kind(n).interval.words == words]
    for row, name in names[:1]:
        hyperparameters = updates.hyperparameters(
            call(row, **{name: two_numbers(row.kind(name))[0]})
        )
        before, key = dict(hyperparameters), f"{row.name}/{name}"
        for value in BAD_NUMBERS[words]:
            message = re.escape(f"hyperparameters: {key} must be {words}, got {value}")
            with pytest.raises(ValueError, match=message):
                hyperparameters[key] = value
        for value in [*WRONG_TYPES, updates.constant_schedule(0.1), pytensor.shared(0.1)]:
            with pytest.raises(TypeError, match=f"^hyperparameters: {key} must be a number"):
                hyperparameters[key] = value
        assert dict(hyperparameters) == before


def test_a_number_that_would_leave_its_range_by_rounding_is_refused_later_too():
    w, b = parameter("float32"), parameter("float64")
    for param, is_refused in ((w, True), (b, False)):
        h = updates.hyperparameters(updates.momentum((param**2).sum(), param, 0.1))
        if is_refused:
            with pytest.raises(ValueError, match=r"got 1.0 \(that is 0.999999999 in float32\)"):
                h["momentum/momentum"] = 0.999999999
        else:
            h["momentum/momentum"] = 0.999999999


def test_a_step_number_must_be_an_integer_in_range():
    w = parameter()
    rate = updates.piecewise_constant([2, 4], [0.1, 0.2, 0.3])
    h = updates.hyperparameters(updates.sgd((w**2).sum(), w, rate))
    with pytest.raises(TypeError, match=r"boundaries/0 must be an integer, got 2\.5"):
        h["sgd/learning_rate/boundaries/0"] = 2.5
    with pytest.raises(ValueError, match="boundaries/1 must be an integer >= 0, got -1"):
        h["sgd/learning_rate/boundaries/1"] = -1
    h["sgd/learning_rate/boundaries/1"] = np.int32(7)
    assert h["sgd/learning_rate/boundaries/1"] == 7


def test_an_update_sets_all_or_none():
    w, _, loss = two_parameters()
    h = updates.hyperparameters(updates.adam(loss, w))
    before = dict(h)
    for bad, error in (({"adam/beta1": 1}, ValueError), ({"adam/beta3": 0.5}, KeyError)):
        with pytest.raises(error):
            h.update({"adam/learning_rate": 0.5} | bad)
        assert dict(h) == before
    h.update({"adam/learning_rate": 0.5, "adam/beta1": 0})
    assert dict(h) == before | {"adam/learning_rate": 0.5, "adam/beta1": 0.0}
    h.update(before)
    assert h == before


def test_an_unknown_name_is_told_the_known_ones():
    w, _, loss = two_parameters()
    h = updates.hyperparameters(updates.momentum(loss, w, 0.1))
    for unknown in ("learning_rate", "momentum/learning_rat"):
        words = (
            f"there is no hyperparameter '{unknown}'; did you mean 'momentum/learning_rate'? "
            "There are: 'momentum/learning_rate', 'momentum/momentum'"
        )
        for access in (h.__getitem__, lambda name: h.__setitem__(name, 0.1)):
            with pytest.raises(KeyError, match=re.escape(words)):
                access(unknown)
    with pytest.raises(TypeError, match="cannot be deleted"):
        del h["momentum/learning_rate"]
    assert repr(updates.hyperparameters({w: w + 1})) == "no hyperparameters"


def test_shared_variables_in_hyperparameters_are_among_them():
    w, b, loss = two_parameters()
    rate, table = pytensor.shared(np.float32(0.5), name="rate"), pytensor.shared(np.ones(3))
    rule = updates.merge_updates(
        updates.momentum(loss, w, rate, momentum=pytensor.shared(0.5)),
        updates.sgd(loss, b, table[1] * 0.1),
    )
    h = updates.hyperparameters(rule)
    assert dict(h) == {"rate": 0.5, "momentum": 0.5, "learning_rate": [1.0, 1.0, 1.0]}
    assert set(h) <= set(updates.state_dict(rule))
    with pytest.raises(ValueError, match="rate must be a finite number >= 0, got -1"):
        h["rate"] = -1
    with pytest.raises(ValueError, match=r"learning_rate must have shape \(3,\), got shape \(\)"):
        h["learning_rate"] = 0.1
    h.update({"rate": 0.1, "learning_rate": [1, 2, 3]})
    assert rate.get_value() == np.float32(0.1)
    assert rate.get_value().dtype == "float32"
    assert table.get_value().tolist() == [1, 2, 3]


def test_hyperparameters_can_be_read_while_averages_are_in_use():
    w, _, loss = two_parameters()
    averaged = updates.apply_ema(updates.sgd(loss, w, 0.1))
    with updates.use_averages(averaged):
        updates.hyperparameters(averaged)["apply_ema/decay"] = 0.5
    assert dict(updates.hyperparameters(averaged)) == {
        "sgd/learning_rate": 0.1,
        "apply_ema/decay": 0.5,
    }


# --- Keys ------------------------------------------------------------------------------------


def test_two_calls_of_a_rule_are_told_apart_by_their_parameters_in_any_order():
    w, b, loss = two_parameters()
    bad = parameter()
    bad.name = "bad"
    groups = [
        updates.sgd(loss, w, 0.1),
        updates.sgd(loss, [b], 0.2),
        updates.adam((bad**2).sum(), bad, updates.constant_schedule(0.3)),
    ]
    expected = {"w/sgd/learning_rate": 0.1, "b/sgd/learning_rate": 0.2}
    expected |= {"adam/learning_rate/value": 0.3, "adam/beta1": 0.9, "adam/beta2": 0.999}
    expected |= {"adam/epsilon": 1e-8}
    for order in itertools.permutations(groups):
        rule = updates.merge_updates(*order)
        for form in (rule, dict(reversed(rule.items())), list(rule.items())):
            assert dict(updates.hyperparameters(form)) == expected


def test_calls_for_the_same_parameters_are_numbered():
    w, _, loss = two_parameters()
    grads = updates.get_or_compute_grads(loss, w)
    grads = updates.clip_by_norm(updates.clip_by_norm(grads, 1.0), 2.0)
    assert dict(updates.hyperparameters(updates.sgd(grads, w, 0.1))) == {
        "clip_by_norm/max_norm": 1.0,
        "clip_by_norm/max_norm#2": 2.0,
        "sgd/learning_rate": 0.1,
    }


def test_gradient_transforms_of_groups_are_told_apart_by_their_parameters():
    w, b, loss = two_parameters()
    rules = [
        updates.sgd(updates.clip_by_norm(updates.get_or_compute_grads(loss, p), bound), p, 0.1)
        for p, bound in ((w, 1.0), (b, 2.0))
    ]
    found = updates.hyperparameters(updates.merge_updates(*rules))
    assert found["w/clip_by_norm/max_norm"] == 1.0
    assert found["b/clip_by_norm/max_norm"] == 2.0


def test_a_number_makes_way_for_a_variable_of_its_name():
    w, _, loss = two_parameters()
    own = pytensor.shared(0.0, name="sgd/learning_rate")
    rule = updates.merge_updates(updates.sgd(loss, w, 0.1), {own: own + 1})
    assert dict(updates.hyperparameters(rule)) == {"sgd/learning_rate#2": 0.1}
    assert list(updates.state_dict(rule)) == ["w", "sgd/learning_rate"]


def test_parameters_need_no_names():
    params = [pytensor.shared(1.0), pytensor.shared(2.0)]
    loss = params[0] ** 2 + params[1] ** 2
    assert dict(updates.hyperparameters(updates.sgd(loss, params, 0.1))) == {
        "sgd/learning_rate": 0.1
    }
    rates = [pytensor.shared(0.1, name="rate"), pytensor.shared(0.2, name="rate")]
    rules = [updates.sgd(loss, *each) for each in zip(params, rates, strict=True)]
    with pytest.raises(ValueError, match="2 variables are called 'rate'"):
        updates.hyperparameters(updates.merge_updates(*rules))


# --- Checkpoints -----------------------------------------------------------------------------


def adam_of(learning_rate):
    w, _, loss = two_parameters()
    return w, updates.adam(loss, w, learning_rate)


@pytest.fixture(params=["state_dict", "file"])
def resume(request, tmp_path):
    """Save one dictionary and load it into another, in memory or by a file."""

    def through_memory(saved, loaded, **options):
        updates.load_state_dict(loaded, updates.state_dict(saved), **options)

    def through_a_file(saved, loaded, **options):
        updates.save(tmp_path / "run.npz", saved)
        updates.load(tmp_path / "run.npz", loaded, **options)

    return through_memory if request.param == "state_dict" else through_a_file


def test_a_number_that_was_changed_is_saved(resume):
    _, saved = adam_of(0.1)
    updates.hyperparameters(saved)["adam/learning_rate"] = 0.05
    assert updates.state_dict(saved)["adam/learning_rate"] == 0.05
    _, loaded = adam_of(0.1)
    resume(saved, loaded)
    assert updates.hyperparameters(loaded)["adam/learning_rate"] == 0.05
    updates.hyperparameters(saved)["adam/learning_rate"] = 0.1
    assert "adam/learning_rate" not in updates.state_dict(saved)


def test_a_number_that_is_edited_in_the_program_holds_when_training_is_resumed(resume):
    _, saved = adam_of(0.1)
    _, loaded = adam_of(0.2)
    h = updates.hyperparameters(loaded)
    h.update({"adam/learning_rate": 0.5, "adam/beta1": 0.5})
    resume(saved, loaded)
    assert h["adam/learning_rate"] == 0.2
    assert h["adam/beta1"] == 0.9


def test_a_saved_number_is_checked(resume):
    w = parameter()
    saved = updates.momentum((w**2).sum(), w, 0.1)
    number = next(v for v in ancestors(saved.values()) if v.name == "momentum/momentum")
    number.set_value(1.5)
    v = parameter()
    loaded = updates.momentum((v**2).sum() + v[0], v, 0.1)
    before = updates.state_dict(loaded)
    with pytest.raises(updates.CheckpointError, match=r"momentum/momentum must be in \[0, 1\)"):
        resume(saved, loaded)
    assert_same_bits(before, updates.state_dict(loaded))


def test_a_saved_number_without_a_counterpart_is_unexpected(resume):
    _, saved = adam_of(0.1)
    updates.hyperparameters(saved)["adam/learning_rate"] = 0.05
    _, loaded = adam_of(updates.cosine_decay(0.1, 10))
    with pytest.raises(updates.CheckpointError, match="has unknown 'adam/learning_rate'"):
        resume(saved, loaded)


def test_numbers_go_with_renamed_parameters(resume):
    w, b, loss = two_parameters()
    saved = updates.merge_updates(updates.sgd(loss, w, 0.1), updates.sgd(loss, b, 0.1))
    updates.hyperparameters(saved)["b/sgd/learning_rate"] = 0.5
    v, c, loss = two_parameters()
    c.name = "c"
    loaded = updates.merge_updates(updates.sgd(loss, v, 0.1), updates.sgd(loss, c, 0.1))
    resume(saved, loaded, names={"b": "c"})
    assert dict(updates.hyperparameters(loaded)) == {
        "w/sgd/learning_rate": 0.1,
        "c/sgd/learning_rate": 0.5,
    }


def test_a_reset_leaves_hyperparameters_alone():
    _, rule = adam_of(0.1)
    h = updates.hyperparameters(rule)
    h["adam/learning_rate"] = 0.5
    updates.reset(rule)
    assert h["adam/learning_rate"] == 0.5


# --- What numbers are not --------------------------------------------------------------------


def test_the_numbers_of_a_schedule_in_the_loss_are_not_trained():
    w, step = pytensor.shared(1.0, name="w"), pytensor.shared(0, name="step")
    weight = updates.linear_schedule(1.0, 0.1, 10)(step)
    loss = (w - 1) ** 2 + weight * w**2
    updates.minimize(
        loss,
        rule=updates.sgd(learning_rate=0.1),
        updates={step: step + 1},
        train=[()],
        max_epochs=1,
        progress=False,
        mode=AS_WRITTEN,
    )
    assert w.get_value() < 1
    assert params_of(loss) == [w]
    rule = updates.sgd(loss, [w], 0.1)
    assert [row.role for row in updates.describe(rule, loss).rows] == ["parameter"]
    assert updates.describe(rule, loss).warnings == []
    by_hand = {w: w - 0.1 * pytensor.grad(loss, w)}
    assert [v.name for v in updates.apply_momentum(by_hand)] == ["w", "w/apply_momentum/velocity"]
    assert updates.describe(by_hand).to_dict()["variables"][0]["formula"] == "w' = w - 0.1*g"


def test_updates_with_numbers_pickle_and_copy():
    w, _, loss = two_parameters()
    rate = updates.warmup(updates.piecewise_constant([2], [0.1, 0.2]), 2)
    rule = updates.apply_if_finite(updates.rprop(loss, w, rate), max_norm=2.0)
    updates.hyperparameters(rule)["rprop/eta_plus"] = 1.5
    for other in (pickle.loads(pickle.dumps(rule)), copy.deepcopy(rule)):
        h = updates.hyperparameters(other)
        assert dict(h) == dict(updates.hyperparameters(rule))
        h["rprop/eta_plus"] = 2
        assert updates.hyperparameters(rule)["rprop/eta_plus"] == 1.5
        with pytest.raises(ValueError, match="rprop/eta_plus must be a finite number >= 1"):
            h["rprop/eta_plus"] = 0.5
    step = pytensor.function([], updates=rule, mode="FAST_COMPILE")
    pickle.loads(pickle.dumps(step))()


def test_many_steps_in_one_call_use_the_present_number():
    w = pytensor.shared(8.0, name="w")
    rule = updates.sgd(w**2, [w], learning_rate=0.1)
    i, batches = pt.lscalar("i"), pt.lvector("batches")
    with pytensor.config.change_flags(mode="FAST_COMPILE", cxx=""):
        many, losses = updates.many_steps(rule, w**2 + i, i, batches)
        train = pytensor.function([batches], losses, updates=many)
    updates.hyperparameters(many)["sgd/learning_rate"] = 0.25
    train([0, 0, 0])
    assert w.get_value() == 1.0


def test_another_number_compiles_nothing_new_under_numba():
    pytest.importorskip("numba")
    from numba.core import event

    def compiled(rate):
        """Compile a rule, take a step, and count what numba has compiled."""
        w, _, loss = two_parameters()
        with event.install_recorder("numba:compile") as recorded:
            pytensor.function([], updates=updates.momentum(loss, w, rate), mode="NUMBA")()
        return len(recorded.buffer)

    first, second = np.random.default_rng().random(2)
    compiled(float(first))
    assert compiled(float(second)) == 0
