"""The gradient transforms: what they bound, what they leave, what they refuse."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

import updates

random = np.random.default_rng(0)


def constant(*shape, dtype="float64"):
    return pt.constant(random.normal(size=shape).astype(dtype), name="x")


def evaluate(*symbols):
    return pytensor.function([], symbols, mode="FAST_COMPILE")()


@pytest.mark.parametrize(
    ("shape", "norm_axes", "summed"),
    [
        ((4, 3), None, (0,)),
        ((4, 3, 2), None, (1, 2)),
        ((4, 3, 2, 2), None, (1, 2, 3)),
        ((4, 3, 2, 2, 1), None, (1, 2, 3, 4)),
        ((4,), (0,), (0,)),
        ((4, 3), (0, 1), (0, 1)),
        ((4, 3), [-1], (1,)),
    ],
)
def test_norm_constraint_scales_down_the_slices_above_the_bound(shape, norm_axes, summed):
    x = constant(*shape)
    [y] = evaluate(updates.norm_constraint(x, 1.2, norm_axes, epsilon=0))
    norms = np.sqrt((x.data**2).sum(axis=summed, keepdims=True))
    np.testing.assert_allclose(y, x.data * np.minimum(1, 1.2 / norms), rtol=1e-14)


def test_total_norm_constraint_scales_all_tensors_by_one_factor():
    tensors = [constant(4, 3), constant(), constant(5, dtype="float32")]
    joint = np.sqrt(sum((x.data.astype("float64") ** 2).sum() for x in tensors))
    for bound in (0.5, 100.0):
        scaled, norm = updates.total_norm_constraint(tensors, bound, epsilon=0, return_norm=True)
        *values, norm = evaluate(*scaled, norm)
        np.testing.assert_allclose(norm, joint, rtol=1e-7)
        for value, x in zip(values, tensors, strict=True):
            assert value.dtype == x.type.dtype
            np.testing.assert_allclose(value, x.data * min(1, bound / joint), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("convert", [float, np.float64, pytensor.shared, pt.constant])
def test_constraints_keep_the_dtype_whatever_the_bounds(dtype, convert):
    x = constant(4, 3, dtype=dtype)
    assert updates.norm_constraint(x, convert(0.123)).type.dtype == dtype
    [y], norm = updates.total_norm_constraint([x], convert(0.123), return_norm=True)
    assert y.type.dtype == norm.type.dtype == dtype


def test_a_symbolic_bound_can_change():
    bound = pytensor.shared(1.0)
    x = constant(4)
    norm = pytensor.function(
        [], updates.total_norm_constraint([x], bound)[0].norm(2), mode="FAST_COMPILE"
    )
    for value in (1.0, 0.5):
        bound.set_value(value)
        np.testing.assert_allclose(norm(), value, rtol=1e-6)


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_a_nonfinite_gradient_stays_visible(bad):
    tensors = [pt.constant(np.array([bad, 1.0])), pt.constant(np.array([2.0, 3.0]))]
    scaled, norm = updates.total_norm_constraint(tensors, 1.0, return_norm=True)
    *values, norm = evaluate(*scaled, norm)
    assert not np.isfinite(norm)
    assert np.isnan(values[0][0])
    [y] = evaluate(updates.norm_constraint(tensors[0], 1.0, norm_axes=(0,)))
    assert np.isnan(y).any()


x = pt.matrix("x")
REFUSED = {
    "norm of integers": (
        lambda: updates.norm_constraint(pt.imatrix("i"), 1),
        TypeError,
        ["norm_constraint", "tensor_var", "int32"],
    ),
    "norm of an array": (
        lambda: updates.norm_constraint(np.ones((2, 2)), 1),
        TypeError,
        ["tensor_var", "ndarray"],
    ),
    "no default axes": (
        lambda: updates.norm_constraint(pt.vector(), 1),
        ValueError,
        ["norm_axes", "ndim 1"],
    ),
    "no such axis": (
        lambda: updates.norm_constraint(x, 1, norm_axes=(2,)),
        ValueError,
        ["norm_axes", "(2,)"],
    ),
    "axis twice": (
        lambda: updates.norm_constraint(x, 1, norm_axes=(0, -2)),
        ValueError,
        ["norm_axes", "each once"],
    ),
    "axes no sequence": (
        lambda: updates.norm_constraint(x, 1, norm_axes=0),
        TypeError,
        ["norm_axes", "(0,)"],
    ),
    "bad bound": (
        lambda: updates.norm_constraint(x, -1),
        ValueError,
        ["max_norm", "-1", ">= 0"],
    ),
    "schedule as bound": (
        lambda: updates.total_norm_constraint([x], lambda step: 1.0),
        TypeError,
        ["total_norm_constraint", "max_norm", "symbolic scalar"],
    ),
    "no tensors": (
        lambda: updates.total_norm_constraint([], 1),
        ValueError,
        ["tensor_vars is empty"],
    ),
    "a bad tensor": (
        lambda: updates.total_norm_constraint([x, None], 1),
        TypeError,
        ["tensor_vars[1]", "None"],
    ),
    "not a list": (
        lambda: updates.total_norm_constraint(3.0, 1),
        TypeError,
        ["tensor_vars", "3.0"],
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_by_name(case):
    call, error, words = REFUSED[case]
    with pytest.raises(error) as caught:
        call()
    for word in words:
        assert word in str(caught.value)
