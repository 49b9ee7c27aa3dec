"""Projections give the nearest point of a set: optax's, to 1e-12, and what else holds of them."""

import json
from pathlib import Path

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from catalogue import AS_WRITTEN

import updates

GOLDEN = json.loads((Path(__file__).parent / "golden" / "projections.json").read_text())["rows"]
NAMES = ["box", "non_negative", "halfspace", "simplex", "l1_ball", "l2_ball", "unit_sphere"]
random = np.random.default_rng(3)
MATRIX = random.normal(size=(3, 4)) * 2 + 0.5
WITH_AXIS = ["simplex", "l1_ball", "l2_ball", "unit_sphere"]


@pytest.fixture(autouse=True)
def little_to_compile():
    with pytensor.config.change_flags(mode=AS_WRITTEN):
        yield


def projection(name, **arguments):
    """Return one that waits, with what it requires."""
    required = {"box": {"low": -0.5, "high": 0.5}, "halfspace": {"normal": np.ones((3, 4))}}
    return getattr(updates, name)(**{**required.get(name, {}), **arguments})


@pytest.mark.parametrize("row", GOLDEN, ids=lambda row: f"{row['projection']}-{row['arguments']}")
def test_they_are_those_of_optax(row):
    arguments = dict(row["arguments"])
    if row["projection"] == "halfspace":
        arguments["normal"] = np.array(row["normal"])
    got = getattr(updates, row["projection"])(pt.constant(row["point"]), **arguments).eval()
    np.testing.assert_allclose(got, row["result"], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", NAMES)
def test_a_projection_of_a_projection_changes_nothing_more(name):
    onto = projection(name)
    x = pt.matrix("x")
    once = onto(x)
    f = pytensor.function([x], [once, onto(once)])
    first, second = f(MATRIX)
    assert (first != MATRIX).any()
    np.testing.assert_allclose(second, first, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ["box", "halfspace", "l1_ball", "l2_ball"])
def test_what_is_in_the_set_stays_bit_for_bit(name):
    inside = -abs(MATRIX) / 100
    np.testing.assert_array_equal(projection(name)(pt.constant(inside)).eval(), inside)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "unit_sphere"])
def test_no_point_of_the_set_is_nearer(name):
    """Any point between the projection and another of the set is farther away."""
    x = pt.matrix("x")
    f = pytensor.function([x], projection(name)(x))
    nearest = f(MATRIX)
    for _ in range(20):
        other = f(random.normal(size=(3, 4)) * 2)
        assert ((MATRIX - nearest) * (other - nearest)).sum() <= 1e-12


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("name", WITH_AXIS)
def test_along_an_axis_each_slice_is_a_point(name, axis):
    got = projection(name, axis=axis)(pt.constant(MATRIX)).eval()
    for k in range(MATRIX.shape[axis - 1]):
        own = MATRIX.take(k, axis=1 if axis == 0 else 0)
        expected = projection(name)(pt.constant(own)).eval()
        np.testing.assert_allclose(got.take(k, axis=1 if axis == 0 else 0), expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_dtypes_stay(name, dtype):
    got = projection(name)(pt.constant(MATRIX.astype(dtype)))
    assert got.type.dtype == dtype
    expected = projection(name)(pt.constant(MATRIX)).eval()
    np.testing.assert_allclose(got.eval(), expected, rtol=1e-2 if dtype == "float16" else 1e-5)


def test_zeros_stay_where_no_point_of_the_sphere_is_nearest():
    np.testing.assert_array_equal(updates.unit_sphere(pt.zeros(3)).eval(), 0)


@pytest.mark.parametrize("mode", ["NUMBA", "JAX", pytest.param("CVM", marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore:PyTensor could not link", "ignore:Skipping Assert")
def test_projected_training_on_the_backends(mode):
    if mode == "JAX":
        pytest.importorskip("jax")
    start, target = np.full((2, 3), 1 / 3), np.array([[0.9, 0.4, -0.2], [0.1, 0.1, 0.1]])
    w = pytensor.shared(start, name="w")
    changes = updates.sgd(((w - target) ** 2).sum(), [w], learning_rate=0.1)
    changes = updates.apply_projection(changes, projection=updates.simplex(axis=1))
    step = pytensor.function([], updates=changes, mode=mode)
    for _ in range(100):
        step()
        np.testing.assert_allclose(w.get_value().sum(axis=1), 1, rtol=1e-12)
        assert (w.get_value() >= 0).all()
    nearest = updates.simplex(pt.constant(target), axis=1).eval(mode="FAST_COMPILE")
    np.testing.assert_allclose(w.get_value(), nearest, atol=1e-9)


def test_named_dimensions_and_functions_of_the_user():
    px = pytest.importorskip("pytensor.xtensor")
    w = px.type.xtensor_shared(MATRIX, dims=("row", "column"), name="w")
    plain = updates.sgd((w**2).sum(), [w], 0.1)
    by_name = updates.apply_projection(plain, projection=updates.simplex(axis="column"))
    step = pytensor.function([], updates=by_name)
    step()
    np.testing.assert_allclose(w.get_value().sum(axis=1), 1)
    v = pytensor.shared(MATRIX, name="v")
    halved = updates.apply_projection(
        updates.sgd((v**2).sum(), [v], 0.0), projection=lambda x: x / 2
    )
    pytensor.function([], updates=halved)()
    np.testing.assert_array_equal(v.get_value(), MATRIX / 2)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda v: updates.box(v), ValueError, "box: low and high are both missing"),
        (lambda v: updates.box(v, low=1, high=0), ValueError, "low must be <= high, got low=1 and"),
        (lambda v: updates.halfspace(v, normal=np.zeros(3)), ValueError, "not all 0"),
        (lambda v: updates.halfspace(v, normal=np.ones((1, 3))), ValueError, "normal has ndim 2"),
        (lambda v: updates.halfspace(v, normal=["a"]), ValueError, "normal must be an array"),
        (lambda v: updates.simplex(v, scale=0), ValueError, "scale must be a finite number > 0"),
        (
            lambda v: updates.simplex(v, axis=1),
            ValueError,
            "axis must be one of a tensor of ndim 1, got 1",
        ),
        (
            lambda v: updates.l2_ball(v, axis="out"),
            ValueError,
            "the tensor has no named dimensions",
        ),
        (
            lambda v: updates.l1_ball(v, axis=(0, 1)),
            TypeError,
            "axis must be an integer, the name of a dimension",
        ),
        (
            lambda v: updates.apply_projection(updates.sgd(v.sum(), [v], 0.1), projection=3),
            TypeError,
            "projection must be a projection that waits",
        ),
        (
            lambda v: updates.apply_projection(
                updates.sgd(v.sum(), [v], 0.1), projection=lambda x: x.sum()
            ),
            TypeError,
            "projection must return a tensor of ndim 1 for parameter 'v'",
        ),
    ],
)
def test_bad_input_is_named(call, error, words):
    with pytest.raises(error, match=words):
        call(pytensor.shared(np.ones(3), name="v"))
