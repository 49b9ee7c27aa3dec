"""State in 16 bits: what a code can hold, and that averages in it are right in the long run."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from catalogue import AS_WRITTEN, LIGHT_RULES

import updates
from updates.declaration import declaration_of
from updates.half_precision import CODES, restored, stored, threshold

MODE = "FAST_COMPILE"
HALF = {"state_dtype": "float16"}
RULES = [row for row in LIGHT_RULES if "state_dtype" in declaration_of(row.rule.rule).kinds]


@pytest.fixture(scope="module")
def kept():
    """Compile what is left of numbers that are kept by a call."""
    numbers, step = pt.fvector(), pt.lscalar()
    codes = stored(numbers, threshold(step))
    assert codes.type.dtype == CODES
    return pytensor.function([numbers, step], restored(codes, "float32"), mode=MODE)


@pytest.mark.parametrize("power", [1, 2])
def test_numbers_and_their_squares_keep_their_size(kept, power):
    numbers = np.geomspace(1e-9, 3e4, 2000) ** power
    for step in range(20):
        found = kept(numbers.astype("float32"), step)
        np.testing.assert_allclose(found, numbers, rtol=0.008 if power == 1 else 0.03)
        np.testing.assert_array_equal(kept(-numbers.astype("float32"), step), -found)


def test_zero_nan_and_what_is_too_large(kept):
    values = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 1e38, 1e-45], dtype="float32")
    for step in range(5):
        found = kept(values, step)
        np.testing.assert_array_equal(found[:2], 0)
        assert np.isnan(found[2])
        np.testing.assert_allclose(found[3:6], [4.2924e9, -4.2924e9, 4.2924e9], rtol=1e-3)
        assert abs(found[6]) < 1e-40


def test_what_has_not_changed_stays_where_it_is():
    codes, step = pt.vector(dtype=CODES), pt.lscalar()
    again = stored(restored(codes, "float32"), threshold(step))
    function = pytensor.function([codes, step], again, mode="NUMBA")
    # Below 200 numbers are less than 1e-25 and lose digits in float32.
    every = np.concatenate([np.arange(-32767, -200), [0], np.arange(200, 32768)]).astype(CODES)
    moves = [function(every, number) - every for number in range(200)]
    assert np.abs(moves).max() <= 1
    assert np.abs(np.mean(moves, axis=0)).max() < 0.02


def test_an_average_of_noise_is_right_in_the_long_run():
    sizes = np.array([[1e3], [1.0], [1e-4], [1e-7]])
    gradient = pt.fmatrix("gradient")
    w = pytensor.shared(np.zeros((4, 500), dtype="float32"), name="w")
    changes = updates.adam([gradient], [w], **HALF)
    _, first, second, _ = changes
    function = pytensor.function([gradient], updates=changes, mode="NUMBA")
    random = np.random.default_rng(0)
    mean = square = 0.0
    for _ in range(2000):
        value = sizes * random.normal(size=(4, 500))
        mean, square = 0.9 * mean + 0.1 * value, 0.999 * square + 0.001 * value**2
        function(value.astype("float32"))
    moments = [restored(first, "float64"), restored(second, "float64")]
    found_mean, found_square = pytensor.function([], moments, mode=MODE)()
    np.testing.assert_array_less(abs(found_mean - mean) / sizes, 0.01)
    ratios = found_square / square
    np.testing.assert_array_less(abs(ratios.mean(axis=1) - 1), 0.005)
    np.testing.assert_array_less(ratios.std(axis=1), 0.06)


def problem(dtype="float32"):
    w = pytensor.shared(np.linspace(-1, 2, 12, dtype=dtype).reshape(3, 4), name="w")
    b = pytensor.shared(np.zeros((), dtype=dtype), name="b")
    return ((w - b) ** 2).mean() + (b - 3) ** 2 / 2, [w, b]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("row", RULES, ids=repr)
def test_rules_step_as_they_do_in_full_precision(row, dtype):
    given = {**row.rule.hyperparameters, **HALF}
    after = []
    for hyperparameters in (row.rule.hyperparameters, given):
        loss, params = problem(dtype)
        start = [param.get_value() for param in params]
        changes = row.rule.rule(loss, params, **hyperparameters)
        function = pytensor.function([], updates=changes, mode=AS_WRITTEN)
        for _ in range(30):
            function()
        after += [[param.get_value() for param in params]]
        state = [v for v in changes if updates.is_state(v) and v.name.startswith(("w/", "b/"))]
    assert {variable.type.dtype for variable in state} == {CODES}
    assert len(state) == len(params) * len(row.slots)
    for begin, full, half in zip(start, *after, strict=True):
        assert half.dtype == dtype
        assert np.abs(half - full).max() < 0.02 * np.abs(full - begin).max()


def test_the_formula_reads_the_same():
    def lines(**hyperparameters):
        loss, params = problem()
        text = str(updates.describe(updates.adam(loss, params, **hyperparameters)))
        return [line.strip() for line in text.splitlines() if "' = " in line]

    assert lines(**HALF) == lines()


def test_rows_of_a_table_keep_theirs():
    table = pytensor.shared(np.ones((5, 3), dtype="float32"), name="table")
    rows = table[np.array([3, 1, 3])]
    changes = updates.adam((rows**2).sum(), [rows], **HALF)
    pytensor.function([], updates=changes, mode=MODE)()
    [moment] = [v for v in changes if v.name.endswith("first_moment")]
    assert moment.type.dtype == CODES
    np.testing.assert_array_equal(moment.get_value().any(axis=1), [0, 1, 0, 1, 0])


def test_it_is_saved_and_goes_on(tmp_path):
    def trained(stop):
        loss, params = problem()
        changes = updates.nadam(loss, params, learning_rate=0.1, **HALF)
        function = pytensor.function([], updates=changes, mode=MODE)
        for step in range(20):
            if step == stop:
                updates.save(tmp_path / "run.npz", changes)
                loss, params = problem()
                changes = updates.nadam(loss, params, learning_rate=0.1, **HALF)
                updates.load(tmp_path / "run.npz", changes)
                function = pytensor.function([], updates=changes, mode=MODE)
            function()
        return [param.get_value() for param in params]

    for one, other in zip(trained(7), trained(None), strict=True):
        np.testing.assert_array_equal(one, other)


def test_full_precision_is_not_loaded_into_it(tmp_path):
    loss, params = problem()
    updates.save(tmp_path / "run.npz", updates.adam(loss, params))
    with pytest.raises(ValueError, match="int16"):
        updates.load(tmp_path / "run.npz", updates.adam(loss, params, **HALF))


@pytest.mark.parametrize("wrong", ["float32", "bfloat16", 16])
def test_other_dtypes_are_refused(wrong):
    with pytest.raises(ValueError, match="state_dtype must be 'float16', got"):
        updates.adam(*problem(), state_dtype=wrong)
