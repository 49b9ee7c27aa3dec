"""Schedules: their values, what they take and refuse, and what a rule does with them."""

import copy
import functools
import inspect
import json
import math
import pickle
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from catalogue import AS_WRITTEN
from hypothesis import given, settings
from hypothesis import strategies as st

import updates
from updates import schedules as module
from updates.schedules import (
    Schedule,
    constant_schedule,
    cosine_decay,
    cosine_restarts,
    exponential_decay,
    halflife_to_decay,
    inverse_sqrt,
    inverse_time_decay,
    join_schedules,
    linear_schedule,
    one_cycle,
    piecewise_constant,
    piecewise_interpolate,
    polynomial_decay,
    schedule_values,
    step_decay,
    warmup,
    warmup_stable_decay,
)
from updates.schedules.compositions import halflife_decay

PEERS = {
    row["name"]: row
    for row in json.loads((Path(__file__).parent / "golden" / "peers.json").read_text())[
        "schedules"
    ]
}
# The schedule that is to equal each of the peers'.
SAME_AS_PEER = {
    "linear": linear_schedule(0.1, 0.01, 40),
    "linear, begin": linear_schedule(0.1, 0.01, 40, begin=5),
    "polynomial": polynomial_decay(0.1, 0.01, 40, power=2.0),
    "polynomial, begin": polynomial_decay(0.1, 0.01, 40, power=0.5, begin=5),
    "exponential": exponential_decay(0.1, 10, 0.5),
    "exponential, begin": exponential_decay(0.1, 10, 0.5, begin=5),
    "exponential, staircase": exponential_decay(0.1, 10, 0.5, staircase=True),
    "exponential, staircase, begin": exponential_decay(0.1, 10, 0.5, begin=5, staircase=True),
    "exponential, end": exponential_decay(0.1, 10, 0.5, end_value=0.02),
    "exponential, growing, end": exponential_decay(0.1, 10, 2.0, end_value=0.5),
    "cosine": cosine_decay(0.1, 40, alpha=0.1),
    "cosine, exponent": cosine_decay(0.1, 40, alpha=0.1, exponent=1.5),
    "piecewise constant": piecewise_constant([10, 30], [0.1, 0.05, 0.005]),
    "cosine one cycle": one_cycle(0.1, 40),
    "linear one cycle": one_cycle(0.1, 40, shape="linear"),
    "sgdr": cosine_restarts(0.1, 10, decay=0.5),
    "warm-up, cosine": warmup(cosine_decay(0.1, 40 - 10, alpha=0.001 / 0.1), 10),
    "warm-up, constant": warmup(0.1, 10, initial_value=0.01),
    "warm-up, exponential": warmup(exponential_decay(0.1, 10, 0.5), 10),
    "joined": join_schedules([linear_schedule(0.0, 0.1, 10), 0.1, cosine_decay(0.1, 20)], [10, 25]),
    "warm restarts": cosine_restarts(0.1, 10, end_value=0.01),
    "warm-up, stable, linear": warmup_stable_decay(0.1, 50, 10, 20),
    "warm-up, stable, cosine": warmup_stable_decay(0.1, 50, 10, 20, 0, 0.01, shape="cosine"),
    "warm-up, stable, sqrt": warmup_stable_decay(0.1, 50, 10, 20, shape="sqrt"),
}
# A schedule, its value long after its end, and its repr.
TABLE = [
    (constant_schedule(0.1), 0.1, "constant_schedule(value=0.1)"),
    (
        piecewise_constant(np.array([3, 7]), [1, 0.5, 0.25]),
        0.25,
        "piecewise_constant(boundaries=(3, 7), values=(1, 0.5, 0.25))",
    ),
    (step_decay(0.1, 10), 0.0, "step_decay(initial_value=0.1, steps=10)"),
    (
        piecewise_interpolate([3, 7], [1, 0.5, 0.25], shape="cosine"),
        0.25,
        "piecewise_interpolate(boundaries=(3, 7), values=(1, 0.5, 0.25), shape='cosine')",
    ),
    (
        warmup_stable_decay(0.1, 20, 5, 5, end_value=0.01),
        0.01,
        "warmup_stable_decay(peak_value=0.1, steps=20, warmup_steps=5, decay_steps=5, "
        "end_value=0.01)",
    ),
    (
        linear_schedule(0.1, 0.3, 10, 5),
        0.3,
        "linear_schedule(initial_value=0.1, end_value=0.3, steps=10, begin=5)",
    ),
    (
        polynomial_decay(0.1, 0.01, 10, power=2),
        0.01,
        "polynomial_decay(initial_value=0.1, end_value=0.01, steps=10, power=2)",
    ),
    (
        exponential_decay(0.1, 10, 0.5, staircase=True),
        0.0,
        "exponential_decay(initial_value=0.1, steps=10, decay_rate=0.5, staircase=True)",
    ),
    (
        exponential_decay(0.0, 10, 2.0, end_value=0.5),
        0.0,
        "exponential_decay(initial_value=0.0, steps=10, decay_rate=2.0, end_value=0.5)",
    ),
    (
        exponential_decay(0.1, 10, 2.0, end_value=0.5),
        0.5,
        "exponential_decay(initial_value=0.1, steps=10, decay_rate=2.0, end_value=0.5)",
    ),
    (
        inverse_time_decay(0.1, 10, 0.5),
        0.1 / (1 + 0.05 * 2**40),
        "inverse_time_decay(initial_value=0.1, steps=10, decay_rate=0.5)",
    ),
    (
        inverse_sqrt(0.1, 10),
        0.1 * math.sqrt(10 / (2**40 + 1)),
        "inverse_sqrt(peak_value=0.1, warmup_steps=10)",
    ),
    (cosine_decay(1e-2, 5000), 0.0, "cosine_decay(initial_value=0.01, steps=5000)"),
    (
        cosine_decay(0.1, 10, alpha=0.1, exponent=0.5),
        0.01,
        "cosine_decay(initial_value=0.1, steps=10, alpha=0.1, exponent=0.5)",
    ),
    (
        cosine_restarts(0.1, 2**36, factor=1, end_value=0.02),
        0.1,
        f"cosine_restarts(initial_value=0.1, steps={2**36}, factor=1, end_value=0.02)",
    ),
    (
        cosine_restarts(0.1, 10, decay=0.0),
        0.0,
        "cosine_restarts(initial_value=0.1, steps=10, decay=0.0)",
    ),
    (one_cycle(0.1, 10), 0.1 / 25 / 1e4, "one_cycle(peak_value=0.1, steps=10)"),
    (
        one_cycle(0.1, 10, warmup_fraction=0, final_divisor=10, shape="linear"),
        0.0004,
        "one_cycle(peak_value=0.1, steps=10, warmup_fraction=0, final_divisor=10, shape='linear')",
    ),
    (
        warmup(join_schedules([0.1, linear_schedule(0.2, 0.3, 5)], [4]), 10),
        0.3,
        "warmup(schedule=join_schedules(schedules=(0.1, linear_schedule(initial_value=0.2, "
        "end_value=0.3, steps=5)), boundaries=(4,)), steps=10)",
    ),
    (
        halflife_to_decay(linear_schedule(1, 2, 10)),
        0.5**0.5,
        "halflife_decay(halflife=linear_schedule(initial_value=1, end_value=2, steps=10))",
    ),
]
every_schedule = pytest.mark.parametrize(
    ("schedule", "far_value", "text"), TABLE, ids=lambda value: getattr(value, "factory", None)
)
STEPS = np.array([*range(100), 2**24 + 1, 2**31, 2**40, 2**62])


def evaluated(schedules, steps):
    """Compile many schedules at once; one row each."""
    outputs = [schedule(steps) for schedule in schedules]
    assert all(output.type.dtype == "float64" for output in outputs)
    return np.array(pytensor.function([], outputs, mode="FAST_COMPILE")())


@functools.cache
def table_of_values(floatx):
    with pytensor.config.change_flags(floatX=floatx):
        values = evaluated([schedule for schedule, *_ in TABLE], STEPS)
        peers = evaluated(SAME_AS_PEER.values(), np.arange(61))
    return values, dict(zip(SAME_AS_PEER, peers, strict=True))


def number(symbol):
    return float(symbol.eval(mode="FAST_COMPILE"))


# --- Values ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PEERS)
def test_every_value_is_that_of_the_peer(name):
    values = table_of_values("float64")[1][name]
    np.testing.assert_allclose(values, PEERS[name]["values"], rtol=1e-14, atol=1e-17)


def test_floatx_makes_no_difference():
    (values, peers), (values32, peers32) = map(table_of_values, ("float64", "float32"))
    assert values.tobytes() == values32.tobytes()
    assert all(peers[name].tobytes() == peers32[name].tobytes() for name in PEERS)


def test_every_value_is_finite_and_right_long_after_the_end():
    values, _ = table_of_values("float64")
    assert np.isfinite(values).all()
    assert (values >= 0).all()
    far_values = values[:, list(STEPS).index(2**40)]
    np.testing.assert_allclose(far_values, [row[1] for row in TABLE], rtol=1e-14)


def test_growth_from_zero_stays_at_zero():
    growing = exponential_decay(pytensor.shared(0.0), 10, 2.0, end_value=0.5)
    assert number(growing(2**40)) == 0.0


FORMULAS = {
    "step_decay": (step_decay(0.8, 7, 0.3), lambda t: 0.8 * 0.3 ** (t // 7)),
    "inverse_time_decay": (
        inverse_time_decay(0.8, 7, 0.3),
        lambda t: 0.8 / (1 + 0.3 * t / 7),
    ),
    "inverse_time_decay, staircase": (
        inverse_time_decay(0.8, 7, 0.3, staircase=True),
        lambda t: 0.8 / (1 + 0.3 * (t // 7)),
    ),
    "inverse_sqrt": (  # the formula of "Attention Is All You Need"
        inverse_sqrt((512 * 40) ** -0.5, 40),
        lambda t: 512**-0.5 * min((t + 1) ** -0.5, (t + 1) * 40**-1.5),
    ),
    "one_cycle without a rise": (
        one_cycle(1, 10, warmup_fraction=0.0, final_divisor=5),
        lambda t: 0.008 + (1 - 0.008) * (1 + math.cos(math.pi * min(t / 10, 1))) / 2,
    ),
    "a schedule of one's own, warmed up": (
        warmup(lambda step: 1.0 / (step + 1), 4),
        lambda t: t / 4 if t < 4 else 1 / (t - 3),
    ),
    "no boundary": (join_schedules([Fraction(1, 4)], []), lambda t: 0.25),
    "a boundary at 0": (piecewise_constant([0, 2], [1, 2, 3]), lambda t: 2 if t < 2 else 3),
}


def test_values_are_those_of_the_formulas():
    values = evaluated([schedule for schedule, _ in FORMULAS.values()], np.arange(100))
    for row, (_, formula) in zip(values, FORMULAS.values(), strict=True):
        np.testing.assert_allclose(row, [formula(t) for t in range(100)], rtol=1e-13)


def test_the_ends_are_exact():
    ends = {
        linear_schedule(0.1, 0.7, 3): (0, 0.1, 3, 0.7),
        polynomial_decay(0.1, 0.7, 3, power=0.3): (0, 0.1, 3, 0.7),
        cosine_decay(0.1, 3): (0, 0.1, 3, 0.0),
        warmup(0.7, 3, initial_value=0.1): (0, 0.1, 3, 0.7),
        one_cycle(0.7, 10): (0, 0.7 / 25, 3, 0.7),
        cosine_restarts(0.7, 3, factor=1.7, end_value=0.1): (0, 0.7, 3, 0.7),
    }
    first, first_values, last, last_values = zip(*ends.values(), strict=True)
    for steps, expected in ((first, first_values), (last, last_values)):
        outputs = [schedule(t) for schedule, t in zip(ends, steps, strict=True)]
        assert tuple(pytensor.function([], outputs, mode="FAST_COMPILE")()) == expected


def test_steps_are_exact_beyond_float32_and_float64():
    far = 2**53
    assert number(linear_schedule(0, 1, 2**40)(2**24 + 1)) == (2**24 + 1) / 2**40
    jump = piecewise_constant([far + 1], [0, 1])
    np.testing.assert_array_equal(evaluated([jump], [far - 1, far, far + 1]), [[0, 0, 1]])
    assert number(step_decay(1, far + 1)(far)) == 1
    assert number(step_decay(1, far + 1)(far + 1)) == 0.5
    assert number(join_schedules([0, linear_schedule(0, 1, 2)], [far])(far + 1)) == 0.5


def restarts_by_hand(step, steps, factor, decay):
    start, period, length = 0, 0, Fraction(steps)
    end = total = length
    while step >= round(end):
        start, period = round(end), period + 1
        length *= Fraction(factor)
        total += length
        end = total
    share = Fraction(step - start, round(end) - start)
    return decay**period * (1 + math.cos(math.pi * share)) / 2


@pytest.mark.parametrize("factor", [1, 1 + 2**-10, 1.5, 2, 3.0, 10])
@pytest.mark.parametrize("steps", [1, 7])
def test_restarts_happen_at_whole_steps_and_no_other(steps, factor):
    tried = [*range(200)]
    if factor > 1.1:
        periods = int(math.log(2**40 * (factor - 1) / steps + 1, factor))
        for count in range(1, periods):
            start = round(sum(steps * Fraction(factor) ** k for k in range(count)))
            tried += [start - 1, start, start + 1]
    [values] = evaluated([cosine_restarts(1.0, steps, factor, decay=0.9)], tried)
    expected = [restarts_by_hand(step, steps, factor, 0.9) for step in tried]
    np.testing.assert_allclose(values, expected, rtol=1e-12, atol=1e-15)


@functools.cache
def of_symbols():
    """Compile schedules between two values for any arguments."""
    start, end, power = pt.dscalars("start", "end", "power")
    steps, begin, step = pt.lscalars("steps", "begin", "step")
    schedules = [
        linear_schedule(start, end, steps, begin),
        polynomial_decay(start, end, steps, power, begin),
        join_schedules([start, cosine_decay(start, steps, end / start, power)], [1]),
        warmup(end, steps, initial_value=start),
        cosine_restarts(start, steps, factor=1 + power, end_value=end),
    ]
    return pytensor.function(
        [start, end, power, steps, begin, step],
        [schedule(step) for schedule in schedules],
        mode="FAST_COMPILE",
        on_unused_input="ignore",
    )


value = st.floats(1e-6, 10.0)


@settings(max_examples=100, deadline=None)
@given(value, value, st.floats(0.1, 5), st.integers(1, 1000), st.integers(0, 50), st.data())
def test_values_go_from_one_end_to_the_other_and_never_back(start, end, power, steps, begin, data):
    first = data.draw(st.integers(0, 2 * steps))
    second = data.draw(st.integers(first, 2**50))
    low, high = min(start, end), max(start, end)
    rounding = 1e-14 * high
    earlier, later = (of_symbols()(start, end, power, steps, begin, t) for t in (first, second))
    for one, other in zip(earlier, later, strict=True):
        assert low - rounding <= one <= high + rounding
        assert low - rounding <= other <= high + rounding
    for one, other in zip(earlier[:-1], later[:-1], strict=True):
        assert (other - one) * (end - start) >= -rounding * high


PARTS = [linear_schedule(0.0, 0.5, 7), 0.25, cosine_decay(0.1, 9), lambda step: 0.01 * step]


@settings(max_examples=8, deadline=None)
@given(st.sets(st.integers(0, 40), min_size=3, max_size=3), st.permutations(PARTS))
def test_joined_schedules_equal_their_parts(boundaries, parts):
    boundaries = sorted(boundaries)
    joined = join_schedules(parts, boundaries)
    steps = np.arange(50)
    [values, *alone] = evaluated([joined, *(join_schedules([part], []) for part in parts)], steps)
    ends = [*boundaries, 50]
    for row, start, end in zip(alone, [0, *boundaries], ends, strict=True):
        np.testing.assert_array_equal(values[start:end], row[: end - start])


# --- What a schedule is ----------------------------------------------------------------------


@every_schedule
def test_a_schedule_reads_like_its_call(schedule, far_value, text):
    assert repr(schedule) == text
    assert eval(text, vars(module) | {"halflife_decay": halflife_decay}) == schedule


@every_schedule
def test_a_schedule_pickles_and_copies(schedule, far_value, text):
    for other in (pickle.loads(pickle.dumps(schedule)), copy.deepcopy(schedule)):
        assert other == schedule
        assert hash(other) == hash(schedule)
    values = [each(3).eval(mode=AS_WRITTEN).tobytes() for each in (other, schedule)]
    assert values[0] == values[1]


def test_schedules_compare_by_value():
    rate = pytensor.shared(0.1)
    assert cosine_decay(rate, 10) == cosine_decay(rate, np.int64(10), alpha=0)
    assert cosine_decay(rate, 10) != cosine_decay(pytensor.shared(0.1), 10)
    assert cosine_decay(0.1, 10) != cosine_decay(0.1, 11)
    assert linear_schedule(0.1, 0.0, 10) != polynomial_decay(0.1, 0.0, 10)
    assert len({cosine_decay(0.1, 10), cosine_decay(0.1, steps=10), step_decay(0.1, 10)}) == 2


def test_the_signature_leaves_out_the_step():
    assert list(inspect.signature(cosine_decay).parameters) == [
        "initial_value",
        "steps",
        "alpha",
        "exponent",
    ]
    assert inspect.signature(cosine_decay).return_annotation is Schedule
    assert cosine_decay.__doc__.startswith("Fall along half a cosine wave")
    with pytest.raises(TypeError, match=r"^cosine_decay: steps is required"):
        cosine_decay(0.1)


def test_lists_may_come_as_iterators():
    listed = updates.piecewise_constant([2, 4], [0.1, 0.2, 0.3])
    assert updates.piecewise_constant(iter([2, 4]), (v / 10 for v in [1, 2, 3])).arguments == {
        "boundaries": (2, 4),
        "values": (0.1, 0.2, 0.3),
    }
    assert listed == updates.piecewise_constant(iter([2, 4]), iter([0.1, 0.2, 0.3]))


# optax.piecewise_interpolate_schedule(shape, 1.0, {4: 0.1, 8: 0.5}) at 0, 1, 2, 4, 5, 7, 8, 10.
INTERPOLATED = {
    "linear": [1.0, 0.775, 0.55, 0.1, 0.0875, 0.0625, 0.05, 0.05],
    "cosine": [1.0, 0.8681980515339, 0.55, 0.1, 0.0926776695296637, 0.0573223304703363, 0.05, 0.05],
}


@pytest.mark.parametrize("shape", INTERPOLATED)
def test_piecewise_interpolate_is_that_of_optax(shape):
    schedule = piecewise_interpolate([4, 8], [1.0, 0.1, 0.05], shape=shape)
    got = schedule([0, 1, 2, 4, 5, 7, 8, 10]).eval(mode="FAST_COMPILE")
    np.testing.assert_allclose(got, INTERPOLATED[shape], rtol=1e-12)


FALLS = {
    "linear": lambda s: 1 - s,
    "cosine": lambda s: (1 + math.cos(math.pi * s)) / 2,
    "sqrt": lambda s: 1 - math.sqrt(s),
}


@pytest.mark.parametrize("shape", FALLS)
@pytest.mark.parametrize(("steps", "up", "down"), [(20, 5, 8), (12, 4, 8), (3, 1, 1)])
def test_warmup_stable_decay_goes_up_along_and_down(shape, steps, up, down):
    schedule = warmup_stable_decay(0.3, steps, up, down, 0.1, 0.02, shape)
    got = schedule(np.arange(steps + 4)).eval(mode="FAST_COMPILE")
    for t, value in enumerate(got):
        expected = 0.1 + (0.3 - 0.1) * t / up if t < up else 0.3
        if t >= steps - down:
            left = FALLS[shape](min((t - steps + down) / down, 1))
            expected = 0.02 + (0.3 - 0.02) * left
        assert abs(value - expected) < 1e-15
    straight = join_schedules([linear_schedule(0.1, 0.3, up), 0.3], [up])
    np.testing.assert_array_equal(
        got[: steps - down], straight(np.arange(steps - down)).eval(mode="FAST_COMPILE")
    )


def test_parts_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"steps must be at least .*, got 9 < 5 \+ 5"):
        warmup_stable_decay(0.1, 9, 5, 5)(0)
    with pytest.raises(ValueError, match="values must be one more than boundaries, got 2 and 2"):
        piecewise_interpolate([1, 2], [0.1, 0.2])(0)


def test_every_schedule_is_tested_and_documented():
    made = {name for name, thing in vars(module).items() if hasattr(thing, "__signature__")}
    made = made - {"schedule_values", "halflife_to_decay"} | {"halflife_decay"}
    tested = [schedule for schedule, *_ in TABLE] + list(SAME_AS_PEER.values())
    assert made == {schedule.factory.__name__ for schedule in tested}
    for name in made - {"halflife_decay"}:
        assert f"``{name}``" in module.__doc__
        assert "Examples\n----" in inspect.getdoc(getattr(module, name))


def test_a_schedule_takes_numbers_arrays_and_symbols():
    schedule = linear_schedule(0.0, 1.0, 4)
    assert number(schedule(np.int32(1))) == 0.25
    grid = schedule(np.arange(6, dtype="uint8").reshape(2, 3)).eval(mode="FAST_COMPILE")
    np.testing.assert_array_equal(grid, [[0, 0.25, 0.5], [0.75, 1, 1]])
    np.testing.assert_array_equal(evaluated([constant_schedule(0.5)], [1, 2, 3]), [[0.5] * 3])
    assert schedule(pt.lvector()).type.ndim == 1
    assert schedule(pt.bscalar()).type.ndim == 0
    for bad in (0.5, np.arange(3.0), pt.dscalar(), np.array(True)):
        with pytest.raises(TypeError, match=r"^linear_schedule: the step must be an integer"):
            schedule(bad)


def test_shared_arguments_may_change_between_calls():
    rate, steps = pytensor.shared(np.float32(0.5)), pytensor.shared(np.int32(10))
    schedules = [cosine_decay(rate, steps), join_schedules([linear_schedule(rate, 0, steps)], [])]
    step = pytensor.function([], [schedule(5) for schedule in schedules], mode="FAST_COMPILE")
    np.testing.assert_allclose(step(), [0.25, 0.25])
    rate.set_value(np.float32(2.0))
    np.testing.assert_allclose(step(), [1.0, 1.0])
    steps.set_value(np.int32(5))
    np.testing.assert_allclose(step(), [0.0, 0.0], atol=1e-15)


def test_a_halflife_may_be_a_number_a_symbol_or_a_schedule():
    assert halflife_to_decay(1) == 0.5
    assert type(halflife_to_decay(np.float32(2))) is float
    assert halflife_to_decay(14) == pytest.approx(math.exp(-math.log(2) / 14), rel=1e-15)
    halflife = pytensor.shared(np.float32(2.0))
    decay = halflife_to_decay(halflife)
    assert decay.type.dtype == "float64"
    assert number(decay) == 0.5**0.5
    halflife.set_value(np.float32(0.5))
    assert number(decay) == 0.25
    assert number(halflife_to_decay(lambda step: step + 1)(3)) == 0.5**0.25
    assert isinstance(halflife_to_decay(constant_schedule(3)), Schedule)


# --- What is refused -------------------------------------------------------------------------

NAN = math.nan
REFUSED = [
    (lambda: constant_schedule(NAN), ValueError, "value must be a finite number >= 0, got nan"),
    (lambda: constant_schedule(-0.1), ValueError, "value must be .*-0.1"),
    (lambda: constant_schedule(math.inf), ValueError, "value must be .*inf"),
    (lambda: constant_schedule("0.1"), TypeError, "value must be a number"),
    (lambda: constant_schedule(step_decay(1, 2)), TypeError, "value must be a number"),
    (lambda: constant_schedule(pt.vector("v")), ValueError, "value must be a scalar"),
    (lambda: constant_schedule(pt.constant(-1.0)), ValueError, "value must be .*-1"),
    (lambda: linear_schedule(1, None, 5), TypeError, "end_value must be a number"),
    (lambda: linear_schedule(1, 0, 0), ValueError, "steps must be an integer >= 1, got 0"),
    (lambda: linear_schedule(1, 0, 2**63), ValueError, "steps must be an integer"),
    (lambda: linear_schedule(1, 0, 10.0), TypeError, r"steps must be an integer, got 10.0 of"),
    (lambda: linear_schedule(1, 0, True), TypeError, "steps must be an integer, got True"),
    (lambda: linear_schedule(1, 0, pt.dscalar()), TypeError, "steps must be an integer"),
    (lambda: linear_schedule(1, 0, pt.lvector()), ValueError, "steps must be a scalar"),
    (lambda: linear_schedule(1, 0, 5, -1), ValueError, "begin must be an integer >= 0, got -1"),
    (
        lambda: linear_schedule(1, 0, 5, stop=1),
        TypeError,
        "no hyperparameter 'stop'; did you mean steps",
    ),
    (lambda: step_decay(1, 10, 1.5), ValueError, r"factor must be in \[0, 1\], got 1.5"),
    (lambda: exponential_decay(1, 10, 0), ValueError, "decay_rate must be a finite number > 0"),
    (lambda: exponential_decay(1, 10, 1, staircase=1), TypeError, "staircase must be True or"),
    (lambda: exponential_decay(1, 10, 1, end_value=-1), ValueError, "end_value must be .*-1"),
    (lambda: inverse_time_decay(1, 10, -0.5), ValueError, "decay_rate must be .*-0.5"),
    (lambda: polynomial_decay(1, 0, 10, power=0), ValueError, "power must be .*> 0, got 0"),
    (lambda: cosine_decay(1, 10, alpha=-1), ValueError, "alpha must be .*-1"),
    (lambda: cosine_decay(1, 10, exponent=NAN), ValueError, "exponent must be .*nan"),
    (lambda: cosine_restarts(1, 10, factor=0.9), ValueError, "factor must be .*>= 1, got 0.9"),
    (lambda: cosine_restarts(1, 10, decay=1.1), ValueError, r"decay must be in \[0, 1\], got 1.1"),
    (lambda: one_cycle(1, 10, divisor=0.5), ValueError, "divisor must be .*0.5"),
    (lambda: one_cycle(1, 10, warmup_fraction=1), ValueError, "warmup_fraction must be .*1"),
    (lambda: one_cycle(1, 10, shape="cos"), ValueError, "shape must be 'cosine' or 'linear'"),
    (
        lambda: one_cycle(1, 10, 0.5, final_fraction=0.4, shape="linear"),
        ValueError,
        "final_fraction must be >= warmup_fraction, got 0.4 < 0.5",
    ),
    (lambda: inverse_sqrt(1, 0), ValueError, "warmup_steps must be an integer >= 1, got 0"),
    (lambda: piecewise_constant([5, 5], [1, 2, 3]), ValueError, r"increasing, got \[5, 5\]"),
    (lambda: piecewise_constant([-1], [1, 2]), ValueError, "boundaries must be .*>= 0, got -1"),
    (lambda: piecewise_constant([0.5], [1, 2]), TypeError, "boundaries must be an integer"),
    (lambda: piecewise_constant([pt.lscalar()], [1, 2]), TypeError, "boundaries must be an int"),
    (lambda: piecewise_constant(5, [1, 2]), TypeError, "boundaries must be a list, got 5"),
    (lambda: piecewise_constant([5], pt.vector()), TypeError, "values must be a list"),
    (
        lambda: piecewise_constant([5], [1]),
        ValueError,
        "values must be one more than boundaries, got 1 and 1 boundaries",
    ),
    (lambda: piecewise_constant([5], [1, NAN]), ValueError, "values must be .*nan"),
    (lambda: join_schedules([], []), ValueError, "schedules must be one more than .* 0 and 0"),
    (lambda: join_schedules([1, 2, 3], [4]), ValueError, "schedules must be one more than .* 3"),
    (lambda: join_schedules([1, "2"], [4]), TypeError, "schedules must be a number.*'2'"),
    (lambda: join_schedules([1, lambda t: -1], [4]), ValueError, "returned a bad value: .*-1"),
    (
        lambda: warmup(lambda step: 1 if step > 3 else math.exp(step), 5),
        ValueError,
        "the schedule given as schedule failed on a symbolic step",
    ),
    (lambda: warmup(None, 5), TypeError, "schedule must be a number.*None"),
    (lambda: halflife_to_decay(0), ValueError, "halflife must be a finite number > 0, got 0"),
    (lambda: halflife_to_decay(NAN), ValueError, "halflife must be .*nan"),
    (lambda: halflife_to_decay("1"), TypeError, "halflife must be a number"),
    (lambda: halflife_decay(lambda step: -1.0), ValueError, "halflife returned a bad value"),
    (lambda: schedule_values(None), TypeError, "updates must be a dictionary"),
    (lambda: schedule_values([1, 2]), TypeError, "must be a pair"),
    (lambda: schedule_values({"w": 1}), TypeError, "shared variables only"),
    (lambda: schedule_values(pt.vector()), TypeError, "updates must be a dictionary"),
    (lambda: schedule_values(updates.sgd(learning_rate=0.1)), TypeError, "got sgd"),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case[2][:30])
def test_bad_arguments_are_refused_at_once(case):
    make, error, words = case
    with pytest.raises(error, match=rf"^[a-z_]+(: | ).*{words}"):
        make()


# --- In rules --------------------------------------------------------------------------------


def weights(dtype="float64"):
    return pytensor.shared(np.array([1.0, -2.0], dtype=dtype), name="w")


def test_a_rule_follows_its_schedule():
    w = weights()
    rates = piecewise_constant([1, 3], [0.5, 0.25, 0.0])
    step = pytensor.function([], updates=updates.sgd([pt.ones(2)], [w], rates), mode="FAST_COMPILE")
    seen = []
    for _ in range(5):
        step()
        seen.append(w.get_value()[0])
    assert seen == [0.5, 0.25, 0.0, 0.0, 0.0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_values_can_be_read_during_a_call_and_between_calls(dtype):
    w = weights(dtype)
    training = updates.adam(
        (w**2).sum(),
        [w],
        learning_rate=warmup(cosine_decay(0.5, 4), 2),
        beta1=linear_schedule(0.5, 1.0, 4),
        beta2=lambda step: 0.99,
    )
    assert [v.name for v in training if v.ndim == 0] == ["adam/step"]
    assert training[w].type.dtype == dtype
    values = schedule_values(training)
    assert list(values) == ["adam/learning_rate", "adam/beta1", "adam/beta2"]
    step = pytensor.function([], list(values.values()), updates=training, mode="FAST_COMPILE")
    for t in range(4):
        expected = [
            [0, 0.25, 0.5, 0.25 * (1 + 0.5**0.5)][t],
            0.5 + t / 8,
            0.99,
        ]
        np.testing.assert_allclose([number(value) for value in values.values()], expected)
        np.testing.assert_allclose(step(), expected)


def test_values_of_several_calls_have_names_of_their_own():
    first, second, third = weights(), weights(), weights()
    rate = step_decay(0.1, 10)
    training = updates.sgd((first**2).sum(), [first], rate)
    training |= updates.sgd((second**2).sum(), [second], step_decay(0.2, 10))
    training |= updates.momentum((third**2).sum(), [third], 0.1, momentum=rate)
    for form in (training, dict(training), list(training.items())):
        values = schedule_values(form)
        assert {name: number(value) for name, value in values.items()} == {
            "sgd/learning_rate": 0.1,
            "sgd/learning_rate#2": 0.2,
            "momentum/momentum": 0.1,
        }


def test_without_a_schedule_there_is_no_value():
    w = weights()
    assert schedule_values(updates.adam((w**2).sum(), [w])) == {}


def test_a_deferred_rule_with_schedules_pickles():
    rule = updates.adam(learning_rate=warmup(cosine_decay(1e-2, 5000), 100))
    assert repr(rule).startswith(
        "adam(learning_rate=warmup(schedule=cosine_decay(initial_value=0.01, steps=5000), "
    )
    again = pickle.loads(pickle.dumps(rule))
    assert again.hyperparameters == rule.hyperparameters
    w = weights()
    [value] = schedule_values(again((w**2).sum(), [w])).values()
    assert number(value) == 0.0
