"""Norms are right wherever they can be represented, whatever becomes of the squares."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from catalogue import AS_WRITTEN

import updates
from updates import norms

# A tensor whose squares overflow in its own dtype, ordinary ones, and those that underflow.
# (NumPy warns of a sum that overflows; it is how a norm finds that its squares are too large.)
pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered in reduce")
SIZES = {
    "float16": [3e4, 300, 1, 1e-3, 6e-6],
    "float32": [1e38, 1e20, 1, 1e-22, 1e-30],
    "float64": [8e307, 1e200, 1e154, 1e150, 1, 1e-150, 1e-160, 1e-200],
}
CASES = [(dtype, size) for dtype, sizes in SIZES.items() for size in sizes]
every_size = pytest.mark.parametrize(("dtype", "size"), CASES)
# Below what an epsilon is at least.
SUBNORMAL = [("float32", 1e-43), ("float64", 1e-310)]
WAVE = np.reshape([1, -0.5, 0.25, 0, -1, 0.75], (3, 2))
exact = np.longdouble


def tensors(dtype, size):
    """Make a matrix and a vector of about one size."""
    return (size * WAVE).astype(dtype), (size * WAVE[0]).astype(dtype)


def norm_of(*arrays, **axes):
    """Compute a norm with scaled squares, in extended precision."""
    largest = max(exact(abs(array).max()) for array in arrays) or exact(1)
    return largest * np.sqrt(sum(((exact(x) / largest) ** 2).sum(**axes) for x in arrays))


def computed(*symbols, mode=AS_WRITTEN):
    return pytensor.function([], symbols, mode=mode, on_unused_input="ignore")()


def assert_close(values, expected, dtype, errors=4):
    """Compare up to some errors of rounding, in units of normal and of subnormal numbers."""
    info = np.finfo(dtype)
    for value, wanted in zip(values, expected, strict=True):
        assert value.dtype == dtype
        tolerance = {"rtol": errors * float(info.eps), "atol": 2 * float(info.smallest_subnormal)}
        np.testing.assert_allclose(exact(value), exact(wanted), **tolerance)


FUNCTIONS = {
    "joint_norm": (lambda *x: norms.joint_norm(x), norm_of),
    "norm_over": (
        lambda x, _: norms.norm_over(x, (0,)),
        lambda x, _: norm_of(x, axis=0, keepdims=True),
    ),
    "root_mean_square": (
        lambda x, _: norms.root_mean_square(x),
        lambda x, _: norm_of(x) / np.sqrt(exact(x.size)),
    ),
    "mean_over": (
        lambda x, _: norms.mean_over(x, (0,)),
        lambda x, _: exact(x).mean(axis=0, keepdims=True),
    ),
}


@pytest.mark.parametrize(("dtype", "size"), CASES + SUBNORMAL)
@pytest.mark.parametrize("case", FUNCTIONS)
def test_norms_and_means_neither_overflow_nor_underflow(case, dtype, size):
    function, formula = FUNCTIONS[case]
    given = tensors(dtype, size)
    value = computed(function(*map(pt.constant, given)))[0]
    # The means of a dtype are in that dtype, norms are wider.
    assert_close([value], [formula(*given)], dtype if case == "mean_over" else "float64")


@pytest.mark.parametrize(
    ("dtype", "size"), [case for case in CASES if case[0] != "float64"] + SUBNORMAL[:1]
)
@pytest.mark.parametrize("case", FUNCTIONS)
def test_norms_are_right_without_float64_too(case, dtype, size):
    function, formula = FUNCTIONS[case]
    given = tensors(dtype, size)
    with pytensor.config.change_flags(floatX="float32", warn_float64="raise"):
        value = computed(function(*map(pt.constant, given)))[0]
    expected_dtype = dtype if case == "mean_over" else "float32"
    assert_close([value], [formula(*given)], expected_dtype)


@pytest.mark.parametrize("mode", [None, "FAST_COMPILE", "CVM", "JAX"])
def test_no_rewrite_takes_the_scale_out_of_the_squares(mode):
    if mode == "JAX":
        pytest.importorskip("jax")
    x, y = pt.dmatrix(), pt.dvector()
    outputs = [norms.joint_norm([x, y]), norms.norm_over(x, (0,)), norms.root_mean_square(x)]
    function = pytensor.function([x, y], outputs, mode=mode)
    for size in SIZES["float64"]:
        given = tensors("float64", size)
        expected = [FUNCTIONS[name][1](*given) for name in ("joint_norm", "norm_over")]
        expected.append(norm_of(given[0]) / np.sqrt(exact(6)))
        assert_close(map(np.asarray, function(*given)), expected, "float64")


def all_norms(x):
    return norms.joint_norm([x]), norms.norm_over(x, (0,)), norms.root_mean_square(x)


@pytest.mark.parametrize("dtype", SIZES)
@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("besides", [0, 1, -1])
def test_infinities_and_nans_stay_visible_in_norms(dtype, bad, besides):
    x = pt.constant(np.array([[bad], [SIZES[dtype][besides]]], dtype=dtype))
    for norm in computed(
        norms.joint_norm([x]), norms.norm_over(x, (0,)), norms.root_mean_square(x)
    ):
        np.testing.assert_array_equal(norm, np.full(norm.shape, abs(bad)))


@pytest.mark.parametrize("dtype", SIZES)
@pytest.mark.parametrize("shape", [(0, 2), (3, 2)])
def test_the_norm_of_nothing_and_of_zeros_is_zero(dtype, shape):
    x = pt.zeros(shape, dtype)
    for norm in computed(
        norms.joint_norm([x]), norms.norm_over(x, (0,)), norms.root_mean_square(x)
    ):
        assert not norm.any()


def test_ordinary_norms_keep_every_bit():
    random = np.random.default_rng(0)
    for exponent in range(-70, 100, 10):
        given = random.normal(size=(7, 5)) * 10.0**exponent, random.normal(size=9)
        x, y = map(pt.constant, given)
        values = computed(norms.joint_norm([x, y]), norms.norm_over(x, (0,)))
        plain = computed(
            pt.sqrt(pt.sum(x**2) + pt.sum(y**2)), pt.sqrt(pt.sum(x**2, axis=0, keepdims=True))
        )
        for value, wanted in zip(values, plain, strict=True):
            assert value.tobytes() == wanted.tobytes()


# --- What is made of norms -------------------------------------------------------------------


def clipped(x, norm, bound):
    return exact(x) * np.where(norm > bound, bound / np.where(norm > 0, norm, 1), 1)


def constrained(x, norm, bound):
    return exact(x) * np.minimum(norm, exact(bound)) / (norm + exact(1e-7))


def units(x):
    return norm_of(x, axis=0, keepdims=True)


# From two gradients, their parameters and a bound.
TRANSFORMS = {
    "clip_by_norm": (
        lambda g, p, bound: updates.clip_by_norm(g, bound),
        lambda g, p, bound: [clipped(x, norm_of(x), bound) for x in g],
    ),
    "clip_by_global_norm": (
        lambda g, p, bound: updates.clip_by_global_norm(g, bound),
        lambda g, p, bound: [clipped(x, norm_of(*g), bound) for x in g],
    ),
    "adaptive_clip": (
        lambda g, p, bound: updates.adaptive_clip(g, p, 0.5, epsilon=0.0),
        lambda g, p, bound: [
            clipped(g[0], units(g[0]), 0.5 * units(p[0])),
            clipped(g[1], norm_of(g[1]), 0.5 * norm_of(p[1])),
        ],
    ),
    "normalize_gradients": (
        lambda g, p, bound: updates.normalize_gradients(g, epsilon=1e-300),
        lambda g, p, bound: [exact(x) / norm_of(*g) for x in g],
    ),
    "norm_constraint": (
        lambda g, p, bound: [updates.norm_constraint(x, bound, norm_axes=(0,)) for x in g],
        lambda g, p, bound: [constrained(x, units(x), bound) for x in g],
    ),
    "total_norm_constraint": (
        lambda g, p, bound: updates.total_norm_constraint(g, bound),
        lambda g, p, bound: [constrained(x, norm_of(*g), bound) for x in g],
    ),
}


@every_size
@pytest.mark.parametrize("relative", [0.125, 8])
@pytest.mark.parametrize("case", TRANSFORMS)
def test_transforms_bound_norms_of_any_size(case, relative, dtype, size):
    transform, formula = TRANSFORMS[case]
    grads = tensors(dtype, size)
    values = tensors(dtype, size if relative > 1 else size / 8)
    params = [pytensor.shared(value) for value in values]
    bound = float(exact(size) * relative)
    if not np.isfinite(bound):
        bound = float(np.finfo("float64").max)
    result = computed(*transform(list(map(pt.constant, grads)), params, bound))
    assert_close(result, formula(grads, values, exact(bound)), dtype, errors=8)


@every_size
def test_apply_norm_constraint_bounds_norms_of_any_size(dtype, size):
    [value, _] = tensors(dtype, size)
    w = pytensor.shared(value)
    bound = min(size / 8, float(np.finfo(dtype).max))
    dictionary = updates.apply_norm_constraint(updates.sgd([0 * w], [w], 0.0), [w], bound)
    expected = constrained(value, units(value), exact(np.asarray(bound)))
    assert_close(computed(dictionary[w]), [expected], dtype, errors=8)


@every_size
def test_the_norm_that_is_returned_is_right_where_it_can_be_represented(dtype, size):
    grads = tensors(dtype, size / 2)
    for transform in (updates.total_norm_constraint, updates.clip_by_global_norm):
        _, norm = transform(list(map(pt.constant, grads)), 1.0, return_norm=True)
        assert_close(computed(norm), [norm_of(*grads)], norm.type.dtype)


# --- Rules -----------------------------------------------------------------------------------

LEARNING_RATE = 0.25


def lars(param, grad):
    return 0.001 * norm_of(param) / norm_of(grad) * exact(grad)


def fromage(param, grad):
    step = norm_of(param) / norm_of(grad) * exact(grad)
    size = np.sqrt(1 + exact(LEARNING_RATE) ** 2)
    return (exact(param) - (exact(param) - LEARNING_RATE * step) / size) / LEARNING_RATE


def novograd(param, grad):
    return exact(grad) / norm_of(grad)


RULES = {
    # the rule, the direction of its first step, and the size of the parameter
    "lars": (updates.lars(epsilon=0.0), lars, lambda dtype, size: size),
    "fromage": (updates.fromage(min_norm=0.0), fromage, lambda dtype, size: size),
    "novograd": (updates.novograd(epsilon=0.0), novograd, lambda dtype, size: 1),
    "lars of a small parameter": (updates.lars(epsilon=0.0), lars, lambda dtype, size: 1),
    "fromage of a small parameter": (updates.fromage(min_norm=0.0), fromage, lambda *_: 1),
}


@every_size
@pytest.mark.parametrize("case", RULES)
def test_rules_step_in_units_of_norms_of_any_size(case, dtype, size):
    rule, direction, size_of = RULES[case]
    [grad, _], [value, _] = tensors(dtype, size), tensors(dtype, size_of(dtype, size))
    w = pytensor.shared(value, name="w")
    step = rule([pt.constant(grad)], [w], learning_rate=LEARNING_RATE)
    expected = exact(value) - LEARNING_RATE * direction(value, grad)
    assert_close(computed(step[w]), [expected], dtype, errors=8)


@every_size
def test_novograd_goes_on_with_gradients_of_any_size(dtype, size):
    [grad, _] = tensors(dtype, size)
    w = pytensor.shared(0 * grad, name="w")
    rule = updates.novograd([pt.constant(grad)], [w], 0.25, beta1=0.0, epsilon=0.0)
    step = pytensor.function([], updates=rule, mode=AS_WRITTEN)
    for _ in range(4):
        step()
    assert_close([w.get_value()], [-exact(grad) / norm_of(grad)], dtype, errors=16)


@every_size
def test_muon_is_blind_to_the_size_of_a_gradient(dtype, size):
    def stepped(size, dtype):
        w = pytensor.shared(np.zeros((3, 2), dtype=dtype), name="w")
        grad = pt.constant(tensors(dtype, size)[0])
        return computed(updates.muon([grad], [w], 1.0, epsilon=0.0, nesterov=False)[w])[0]

    size = max(size, float(np.finfo(dtype).tiny) * 100)  # below, the mean gradient is rounded
    tolerance = 200 * float(np.finfo(dtype).eps)
    np.testing.assert_allclose(stepped(size, dtype), stepped(1, "float64"), atol=tolerance)


@every_size
def test_sam_looks_as_far_away_whatever_the_size_of_the_gradient(dtype, size):
    w = pytensor.shared(np.zeros(2, dtype=dtype), name="w")
    grad = (size * np.array([0.6, -0.8])).astype(dtype)
    x = pt.constant(grad)
    # The gradient is x at 0, and the point itself, times a number, where x has no part in it.
    loss = pt.sum(pt.switch(pt.eq(w, 0), x * w, w**2 / 2))
    dictionary = updates.sam(loss, [w], updates.sgd(learning_rate=1.0), rho=0.5)
    expected = -0.5 * exact(grad) / norm_of(grad)
    assert_close(computed(dictionary[w]), [expected], dtype)


@every_size
def test_adafactor_and_dog_measure_parameters_of_any_size(dtype, size):
    [value, _] = tensors(dtype, size)
    w = pytensor.shared(value, name="w")
    rule = updates.dog([w * 0], [w], initial_step=1e-3)
    [distance] = [v for v in rule if v.name == "dog/max_distance"]
    assert_close(computed(rule[distance]), [0.001 * (1 + norm_of(value))], "float64")
    if size > 1:
        step = updates.adafactor([pt.constant(np.ones_like(value))], [w], learning_rate=0.5)[w]
        expected = exact(value) - 0.5 * norm_of(value) / np.sqrt(exact(6))
        assert_close(computed(step), [expected], dtype, errors=8)
