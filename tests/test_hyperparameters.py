"""Bad hyperparameters are refused by name, value and range, in direct and in deferred calls."""

import math
import re
from fractions import Fraction

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from catalogue import RULES, every_rule, run

import updates
from updates.declaration import declaration_of
from updates.kinds import Integer, PlainNumber, Scalar, TrueOrFalse, Which

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
    for value in WRONG_TYPES:
        if not accepts(row, name, value):
            with pytest.raises(TypeError, match=f"^{row.name}: {name} must be "):
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
