"""The gradient transforms: what they bound, what they leave, what they refuse."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import updates
from updates import (
    adaptive_clip,
    add_gradient_noise,
    add_l1_penalty,
    add_weight_decay,
    centralize_gradients,
    clip_by_global_norm,
    clip_by_norm,
    clip_by_value,
    normalize_gradients,
    scale_gradients,
    zero_nonfinite,
)
from updates.given_numbers import is_number

MODE = "FAST_COMPILE"
random = np.random.default_rng(0)

x = pt.matrix("x")
w = pytensor.shared(np.ones((2, 2)), name="w")
b = pytensor.shared(np.ones(2), name="b")

# Every transform of a list of gradients, with arguments that change something.
TRANSFORMS = {
    "total_norm_constraint": lambda grads, params: updates.total_norm_constraint(grads, 0.5),
    "clip_by_value": lambda grads, params: clip_by_value(grads, 0.5),
    "clip_by_norm": lambda grads, params: clip_by_norm(grads, 0.5),
    "clip_by_global_norm": lambda grads, params: clip_by_global_norm(grads, 0.5),
    "adaptive_clip": lambda grads, params: adaptive_clip(grads, params, 0.5),
    "normalize_gradients": lambda grads, params: normalize_gradients(grads),
    "centralize_gradients": lambda grads, params: centralize_gradients(grads),
    "scale_gradients": lambda grads, params: scale_gradients(grads, -0.5),
    "zero_nonfinite": lambda grads, params: zero_nonfinite(grads),
    "add_weight_decay": lambda grads, params: add_weight_decay(grads, params, 0.5),
    "add_l1_penalty": lambda grads, params: add_l1_penalty(grads, params, 0.5),
    "add_gradient_noise": lambda grads, params: add_gradient_noise(grads),
}
every_transform = pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)


def constant(*shape, dtype="float64"):
    return pt.constant(random.normal(size=shape).astype(dtype), name="x")


def evaluate(*symbols):
    return pytensor.function([], symbols, mode=MODE)()


def wave(*shape):
    return np.sin(1 + np.arange(np.prod(shape))).reshape(shape)


def norm_of(*arrays):
    return np.sqrt(sum((x.astype("longdouble") ** 2).sum() for x in arrays)).astype("float64")


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
    x = pt.constant(wave(4))
    norm = pytensor.function([], updates.total_norm_constraint([x], bound)[0].norm(2), mode=MODE)
    for value in (1.0, 0.5):
        bound.set_value(value)
        np.testing.assert_allclose(norm(), value, rtol=1e-6)


@every_transform
def test_dtypes_shapes_and_broadcast_patterns_are_kept(transform):
    types = [
        ("float16", (2, 3), (None, None)),
        ("float32", (1, 3), (1, None)),
        ("float64", (), ()),
        ("float32", (0, 3), (None, 3)),
        ("float16", (2, 1, 2, 2), (None, 1, 2, 2)),
        ("float32", (4,), (None,)),
    ]
    params = [
        pytensor.shared(random.normal(size=shape).astype(dtype), shape=static)
        for dtype, shape, static in types
    ]
    grads = [param * param for param in params]
    transformed = transform(grads, params)
    assert isinstance(transformed, list)
    for param, grad, value in zip(params, transformed, evaluate(*transformed), strict=True):
        assert grad.type.dtype == value.dtype == param.type.dtype
        assert grad.type.shape == param.type.shape
        assert value.shape == param.get_value().shape
        assert np.isfinite(value).all()


@every_transform
@pytest.mark.parametrize(
    "form", [lambda grad: grad, lambda grad: (grad,), lambda grad: iter([grad])]
)
def test_gradients_come_as_one_tensor_or_any_iterable(transform, form):
    param = pytensor.shared(wave(3, 2))
    [expected] = evaluate(*transform([2 * param], [param]))
    [got] = evaluate(*transform(form(2 * param), param))
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(
    ("transform", "formula"),
    [
        (lambda g, p: clip_by_value(g, 0.3), lambda g, p: np.clip(g, -0.3, 0.3)),
        (lambda g, p: clip_by_value(g, 0.3, -0.1), lambda g, p: np.clip(g, -0.1, 0.3)),
        (lambda g, p: clip_by_value(g, np.uint8(0)), lambda g, p: 0 * g),
        (lambda g, p: clip_by_norm(g, 0.5), lambda g, p: g * min(1, 0.5 / norm_of(g))),
        (lambda g, p: clip_by_norm(g, 0), lambda g, p: 0 * g),
        (lambda g, p: normalize_gradients(g), lambda g, p: g / norm_of(g)),
        (lambda g, p: normalize_gradients(g, 10), lambda g, p: g / 10),
        (lambda g, p: scale_gradients(g, -2), lambda g, p: -2 * g),
        (lambda g, p: add_weight_decay(g, p, 0.1), lambda g, p: g + 0.1 * p),
        (lambda g, p: add_l1_penalty(g, p, 0.1), lambda g, p: g + 0.1 * np.sign(p)),
        (lambda g, p: add_gradient_noise(g, eta=0), lambda g, p: g),
        (lambda g, p: zero_nonfinite(g), lambda g, p: g),
    ],
)
@pytest.mark.parametrize("shape", [(), (2, 3, 1, 2)])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_formulas(transform, formula, shape, dtype):
    grad = wave(*shape).astype(dtype)
    param = pytensor.shared((1 - wave(*shape).round()).astype(dtype))
    [value] = evaluate(*transform([pt.constant(grad)], [param]))
    expected = formula(grad, param.get_value())
    np.testing.assert_allclose(value, expected, rtol=4 * np.finfo(dtype).eps)


def test_clip_by_global_norm_scales_all_gradients_by_one_factor():
    grads = [wave(3), wave(2, 2).astype("float32"), wave().astype("float16")]
    for bound, factor in [(0.5, 0.5 / norm_of(*grads)), (100.0, 1), (0, 0)]:
        clipped, norm = clip_by_global_norm(map(pt.constant, grads), bound, return_norm=True)
        *values, norm = evaluate(*clipped, norm)
        np.testing.assert_allclose(norm, norm_of(*grads), rtol=1e-15)
        for value, grad in zip(values, grads, strict=True):
            np.testing.assert_allclose(value, grad * factor, rtol=np.finfo(grad.dtype).eps)
            assert factor != 1 or value.tobytes() == grad.tobytes()


def test_clip_by_global_norm_is_that_of_optax():
    # optax.clip_by_global_norm(1.0).update([wave(3), wave(2, 2)], optax.EmptyState())
    clipped = evaluate(*clip_by_global_norm([pt.constant(wave(3)), pt.constant(wave(2, 2))], 1))
    np.testing.assert_allclose(clipped[0], [0.438505881248, 0.47385147755, 0.073540210671])
    np.testing.assert_allclose(
        clipped[1], [[0.438505881248, 0.47385147755], [0.073540210671, -0.394383586751]]
    )


CLIPPED_UNITS = [
    [0.8414709848079, 0.4546487134128, 2.254096071257e-04],
    [-0.7568024953079, -0.4794621373316, -4.463076394321e-04],
]
CLIPPED_FILTERS = [
    [0.8414709848079, 0.9092974268257, 0.1411200080599, -0.7568024953079],
    [-0.4794621373316, -0.1397077490995, 0.3284932993594, 0.4946791233117],
    [1.556021156859e-04, -2.054041225122e-04, -3.775627577422e-04, -2.025919347239e-04],
]
FILTER_SIZES = np.reshape([10, 1, 0], (3, 1, 1, 1))


@pytest.mark.parametrize(
    ("grad", "relative_size", "norm_axes", "expected"),
    [
        (wave(), 10, None, [0.841470984808]),
        (wave(3), 1, None, [0.420735492404, 0.454648713413, 0.07056000403]),
        (wave(2, 3), [10, 1, 0], None, CLIPPED_UNITS),
        (wave(2, 3).T, FILTER_SIZES[:, :, 0, 0], (1,), np.transpose(CLIPPED_UNITS)),
        (wave(3, 2, 2, 1), FILTER_SIZES, None, CLIPPED_FILTERS),
        (wave(2, 1, 1, 3), [10, 1, 0], (0, 1, 2), CLIPPED_UNITS),
    ],
)
def test_adaptive_clip_is_that_of_optax_on_the_units_of_norm_constraint(
    grad, relative_size, norm_axes, expected
):
    # optax.adaptive_grad_clip(0.5) of grad, with grad * relative_size as parameter; filters, which
    # are (out, in, height, width) here, were transposed to (height, width, in, out) for it
    param = pytensor.shared(grad * relative_size)
    [value] = evaluate(*adaptive_clip([pt.constant(grad)], param, 0.5, norm_axes=[norm_axes]))
    np.testing.assert_allclose(value.ravel(), np.ravel(expected), rtol=1e-11)


CENTRED_UNITS = [  # optax.centralize() of the transposed wave(3, 2)
    [0.83358207874, 0.951604282386],
    [0.133231101992, -0.714495639748],
    [-0.966813180731, -0.237108642639],
]
CENTRED_FILTERS = [  # optax.centralize() of wave(2, 3, 1)
    [0.210841511577, 0.278667953595, -0.489509465171],
    [-0.091755072585, -0.29387685194, 0.385631924524],
]


@pytest.mark.parametrize(
    ("grad", "expected"),
    [
        (wave(3, 2), CENTRED_UNITS),
        (wave(2, 3, 1), CENTRED_FILTERS),
        (wave(2, 1, 1, 1, 3, 1), CENTRED_FILTERS),
        (wave(3), wave(3)),
        (wave(), wave()),
    ],
)
def test_centralize_gradients_is_that_of_optax_on_the_units_of_norm_constraint(grad, expected):
    [value] = evaluate(*centralize_gradients(pt.constant(grad)))
    np.testing.assert_allclose(value.ravel(), np.ravel(expected), rtol=1e-11)


@pytest.mark.parametrize(
    "mask", [[True, False], lambda param: param.ndim == 2, np.array([True, False])]
)
def test_only_masked_parameters_decay(mask):
    params = [pytensor.shared(np.ones((2, 2))), pytensor.shared(np.ones(2))]
    first, second = evaluate(*add_weight_decay([2 * p for p in params], params, 0.5, mask))
    np.testing.assert_array_equal(first, np.full((2, 2), 2.5))
    np.testing.assert_array_equal(second, np.full(2, 2.0))


SYMBOLS = {
    "clip_by_value": (lambda g, s: clip_by_value(g, s), lambda g, s: np.clip(g, -s, s)),
    "clip_by_value, low": (lambda g, s: clip_by_value(g, 1, s), lambda g, s: np.clip(g, s, 1)),
    "clip_by_norm": (lambda g, s: clip_by_norm(g, s), lambda g, s: g * s / norm_of(g)),
    "clip_by_global_norm": (clip_by_global_norm, lambda g, s: g * s / norm_of(g)),
    "adaptive_clip": (
        lambda g, s: adaptive_clip(g, pytensor.shared(np.ones(4, dtype="float32")), s),
        lambda g, s: g * min(1, 2 * s / norm_of(g)),
    ),
    "scale_gradients": (scale_gradients, lambda g, s: s * g),
    "add_weight_decay": (
        lambda g, s: add_weight_decay(g, pytensor.shared(np.ones(4, dtype="float32")), s),
        lambda g, s: g + s,
    ),
}


@pytest.mark.parametrize("case", SYMBOLS)
@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_hyperparameters_may_be_shared_variables(case, dtype):
    transform, formula = SYMBOLS[case]
    number = pytensor.shared(np.asarray(0.5, dtype=dtype))
    grad = wave(4).astype("float32")
    [transformed] = transform(pt.constant(grad), number)
    assert transformed.type.dtype == "float32"
    function = pytensor.function([], transformed, mode=MODE)
    for value in (0.5, 0.25):
        number.set_value(np.asarray(value, dtype=dtype))
        np.testing.assert_allclose(function(), formula(grad, value), rtol=1e-6)


CLIPPERS = {
    (name, dtype): pytensor.function(inputs, clip(inputs[:-1], inputs[-1]), mode=MODE)
    for name, clip in [("norm", clip_by_norm), ("global", clip_by_global_norm)]
    for dtype in ("float16", "float32", "float64")
    for inputs in [[pt.vector(dtype=dtype), pt.vector(dtype=dtype), pt.dscalar()]]
}


@settings(deadline=None, max_examples=200)
@given(
    st.sampled_from(sorted(CLIPPERS)),
    *[st.lists(st.floats(-1e300, 1e300), max_size=4)] * 2,
    st.floats(0, 1e300),
)
def test_norms_keep_the_bound_and_gradients_under_it_every_bit(key, first, second, bound):
    name, dtype = key
    largest = np.finfo(dtype).max
    grads = [np.clip(values, -largest, largest).astype(dtype) for values in (first, second)]
    assume(bound == 0 or bound > 1e-7)  # below, the factor of the largest gradients underflows
    clipped = CLIPPERS[key](*grads, bound)
    groups = [[0], [1]] if name == "norm" else [[0, 1]]
    for group in groups:
        before = norm_of(*(grads[i] for i in group))
        after = norm_of(*(clipped[i] for i in group))
        if before <= bound:
            assert all(clipped[i].tobytes() == grads[i].tobytes() for i in group)
        else:
            smallest = float(np.finfo(dtype).smallest_subnormal)
            assert after <= float(bound) * (1 + 2 * float(np.finfo(dtype).eps)) + 8 * smallest
            for i in group:
                np.testing.assert_allclose(
                    clipped[i],
                    grads[i] * (bound / before),
                    rtol=4 * np.finfo(dtype).eps,
                    atol=smallest,
                )


def test_squares_do_not_overflow():
    grads = [np.full(4, 6e4, dtype="float16"), np.full(4, 3e38, dtype="float32")]
    for transform in (lambda g: clip_by_norm(g, 1.0), lambda g: normalize_gradients(g)):
        for grad in grads:
            [value] = evaluate(*transform(pt.constant(grad)))
            np.testing.assert_allclose(value, np.full(4, 0.5), rtol=1e-3)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_zero_gradients_have_no_direction_and_stay_zero(dtype):
    for value in evaluate(*normalize_gradients([pt.zeros((2, 2), dtype), pt.zeros((), dtype)])):
        assert not value.any()


nan = np.nan
KEPT, CLIPPED, ZERO = [0.5, -2.0], [0.5, -1.5], [0.0, 0.0]
NONFINITE = {
    # from the gradients [[bad, 3], [2, 1]] and [0.5, -2], of parameters [[4, 0], [2, 2]], [1, -1]
    "clip_by_value": (
        lambda g, p: clip_by_value(g, 1.5),
        lambda bad: ([[np.clip(bad, -1.5, 1.5), 1.5], [1.5, 1]], CLIPPED),
    ),
    "clip_by_norm": (lambda g, p: clip_by_norm(g, 9), lambda bad: ([[nan, 0], [0, 0]], KEPT)),
    "clip_by_global_norm": (
        lambda g, p: clip_by_global_norm(g, 9),
        lambda bad: ([[nan, 0], [0, 0]], ZERO),
    ),
    "adaptive_clip": (
        lambda g, p: adaptive_clip(g, p, clipping=9),
        lambda bad: ([[nan, 3], [0, 1]], KEPT),
    ),
    "normalize_gradients": (
        lambda g, p: normalize_gradients(g),
        lambda bad: ([[nan, 0], [0, 0]], ZERO),
    ),
    "centralize_gradients": (
        lambda g, p: centralize_gradients(g),
        lambda bad: ([[bad, 1], [2, -1]], KEPT),
    ),
    "scale_gradients": (
        lambda g, p: scale_gradients(g, 2),
        lambda bad: ([[bad, 6], [4, 2]], [1, -4]),
    ),
    "zero_nonfinite": (lambda g, p: zero_nonfinite(g), lambda bad: ([[0, 3], [2, 1]], KEPT)),
    "add_weight_decay": (
        lambda g, p: add_weight_decay(g, p, 0.5),
        lambda bad: ([[bad, 3], [3, 2]], [1, -2.5]),
    ),
    "add_l1_penalty": (
        lambda g, p: add_l1_penalty(g, p, 0.5),
        lambda bad: ([[bad, 3], [2.5, 1.5]], [1, -2.5]),
    ),
    "add_gradient_noise": (
        lambda g, p: add_gradient_noise(g, eta=0),
        lambda bad: ([[bad, 3], [2, 1]], KEPT),
    ),
    "norm_constraint": (
        lambda g, p: [updates.norm_constraint(g[0], 9, epsilon=0), g[1]],
        lambda bad: ([[nan, 3], [0, 1]], KEPT),
    ),
    "total_norm_constraint": (
        lambda g, p: updates.total_norm_constraint(g, 9),
        lambda bad: ([[nan, 0], [0, 0]], ZERO),
    ),
}


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("case", NONFINITE)
def test_what_becomes_of_an_infinity_or_a_nan(case, bad):
    transform, expected = NONFINITE[case]
    grads = [pt.constant(np.array([[bad, 3], [2, 1]])), pt.constant(np.array([0.5, -2]))]
    params = [pytensor.shared(np.array(x)) for x in ([[4.0, 0.0], [2.0, 2.0]], [1.0, -1.0])]
    for value, wanted in zip(evaluate(*transform(grads, params)), expected(bad), strict=True):
        np.testing.assert_array_equal(value, wanted)


def test_every_transform_says_what_becomes_of_an_infinity_or_a_nan():
    assert set(TRANSFORMS) | {"norm_constraint"} == set(NONFINITE)


@pytest.mark.parametrize("bad", [np.inf, np.nan])
@pytest.mark.parametrize("constrain", [updates.total_norm_constraint, clip_by_global_norm])
def test_the_norm_shows_a_nonfinite_gradient(constrain, bad):
    _, norm = constrain([pt.constant(np.array([bad, 1.0]))], 1.0, return_norm=True)
    np.testing.assert_array_equal(evaluate(norm), [bad])


def noise_of(shapes, calls, dtype="float64", **arguments):
    """Return what add_gradient_noise adds to gradients in each of several calls."""
    noise = add_gradient_noise([pt.zeros(shape, dtype) for shape in shapes], **arguments)
    function = pytensor.function([], noise, mode=MODE)
    return [function() for _ in range(calls)]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_noise_is_numpys_with_a_variance_that_falls(dtype):
    shapes = [(3, 2), (), (4,)]
    generator = np.random.default_rng(7)
    for t, noise in enumerate(noise_of(shapes, 5, dtype, eta=0.3, gamma=0.55, seed=7)):
        for value, shape in zip(noise, shapes, strict=True):
            drawn = generator.normal(size=shape) * np.sqrt(0.3 / (1 + t) ** 0.55)
            np.testing.assert_allclose(value, drawn, rtol=2 * np.finfo(dtype).eps)


def test_noise_has_the_variance_that_the_paper_asks_for():
    for t, [noise] in enumerate(noise_of([(40_000,)], 4, eta=0.01, gamma=0.55)):
        np.testing.assert_allclose(noise.var(), 0.01 / (1 + t) ** 0.55, rtol=0.03)
        np.testing.assert_allclose(noise.mean(), 0, atol=0.002)


def test_noise_repeats_with_its_seed_and_only_with_it():
    [first, other] = noise_of([(4000,)], 2, seed=1, gamma=0)
    [again] = noise_of([(4000,)], 1, seed=1, gamma=0)
    [different] = noise_of([(4000,)], 1, seed=2, gamma=0)
    np.testing.assert_array_equal(first, again)
    for independent in (other, different):
        assert abs(np.corrcoef(first[0], independent[0])[0, 1]) < 0.05


def test_noise_keeps_named_state_that_a_function_advances_by_itself():
    param = pytensor.shared(np.zeros(3), name="w")
    grads = add_gradient_noise(param * 0, seed=3)
    step = pytensor.function([], updates=updates.sgd(grads, param, 1.0), mode=MODE)
    state = {v.name: v for v in step.get_shared() if v is not param and not is_number(v)}
    assert set(state) == {"add_gradient_noise/generator", "add_gradient_noise/step"}
    assert all(updates.is_state(variable) for variable in state.values())
    step()
    step()
    assert state["add_gradient_noise/step"].get_value() == 2
    generator = np.random.default_rng(3)
    drawn = generator.normal(size=3) + generator.normal(size=3) / np.sqrt(2**0.55)
    np.testing.assert_allclose(param.get_value(), -0.1 * drawn)


def test_transforms_compose_on_their_way_to_a_rule():
    w = pytensor.shared(np.array([[3.0], [4.0]], dtype="float32"), name="w")
    grads = updates.get_or_compute_grads((w**2).sum() / 2, [w])
    grads = clip_by_global_norm(add_weight_decay(grads, [w], 1.0), 5.0)
    pytensor.function([], updates=updates.sgd(grads, [w], 0.1), mode=MODE)()
    np.testing.assert_allclose(w.get_value(), [[2.7], [3.6]], rtol=1e-6)
    assert w.get_value().dtype == "float32"


@every_transform
@pytest.mark.parametrize(
    ("bad", "error", "words"),
    [
        ([], ValueError, ["is empty", "at least one"]),
        (3.0, TypeError, ["must be a symbolic tensor or a list", "3.0"]),
        ("grads", TypeError, ["must be a symbolic tensor or a list", "'grads'"]),
        ({x: x}, TypeError, ["must be a symbolic tensor, a list of them, or a mapping", "dict"]),
        ({x}, TypeError, ["must be a symbolic tensor or a list", "set"]),
        ([np.ones((2, 2))], TypeError, ["[0] must be a symbolic floating-point", "ndarray"]),
        (pt.imatrix("i"), TypeError, ["[0] must be a symbolic floating-point", "int32"]),
        ([x, None], TypeError, ["[1] must be a symbolic floating-point", "None"]),
    ],
)
def test_what_is_no_list_of_gradients_is_refused(transform, bad, error, words):
    with pytest.raises(error) as caught:
        transform(bad, [w])
    [name] = [name for name, other in TRANSFORMS.items() if other is transform]
    for word in [f"{name}: ", "tensor_vars" if name.startswith("total") else "grads", *words]:
        assert word in str(caught.value)


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
    "bad bound": (lambda: updates.norm_constraint(x, -1), ValueError, ["max_norm", "-1", ">= 0"]),
    "schedule as bound": (
        lambda: updates.total_norm_constraint([x], lambda step: 1.0),
        TypeError,
        ["total_norm_constraint", "max_norm", "symbolic scalar"],
    ),
    "bounds in the wrong order": (
        lambda: clip_by_value(x, 1, 2.0),
        ValueError,
        ["clip_by_value: min_value", "<= max_value", "2.0", "max_value=1"],
    ),
    "a bound on the wrong side": (
        lambda: clip_by_value(x, np.float32(-1)),
        ValueError,
        ["clip_by_value", "without min_value", ">= 0", "-1.0"],
    ),
    "an infinite bound": (
        lambda: clip_by_value(x, np.inf),
        ValueError,
        ["clip_by_value: max_value", "finite", "inf"],
    ),
    "a bound that is too large": (
        lambda: clip_by_value(pt.vector(dtype="float16"), 1e5),
        ValueError,
        ["clip_by_value: max_value", "100000.0", "float16"],
    ),
    "a bound of None": (
        lambda: clip_by_value(x, None),
        TypeError,
        ["clip_by_value: max_value", "None"],
    ),
    "a negative norm": (
        lambda: clip_by_norm(x, -1.0),
        ValueError,
        ["clip_by_norm: max_norm", ">= 0", "-1.0"],
    ),
    "a norm for each element": (
        lambda: clip_by_global_norm(x, x),
        ValueError,
        ["clip_by_global_norm: max_norm", "scalar", "2 axes"],
    ),
    "a string as flag": (
        lambda: clip_by_global_norm(x, 1, return_norm="no"),
        TypeError,
        ["clip_by_global_norm: return_norm", "True or False", "'no'"],
    ),
    "negative clipping": (
        lambda: adaptive_clip(x, w, -0.01),
        ValueError,
        ["adaptive_clip: clipping", ">= 0", "-0.01"],
    ),
    "axes without a list": (
        lambda: adaptive_clip(x, w, norm_axes=(0, 1)),
        ValueError,
        ["adaptive_clip", "2 norm_axes for 1 param", "None for the default"],
    ),
    "an axis as axes": (
        lambda: adaptive_clip(x, w, norm_axes=0),
        TypeError,
        ["adaptive_clip: norm_axes", "list", "got 0"],
    ),
    "axes of another parameter": (
        lambda: adaptive_clip([x, b], [w, b], norm_axes=[None, (1,)]),
        ValueError,
        ["adaptive_clip: norm_axes[1]", "ndim 1", "(1,)"],
    ),
    "no default unit": (
        lambda: adaptive_clip(pt.zeros((1,) * 6), pytensor.shared(np.ones((1,) * 6))),
        ValueError,
        ["adaptive_clip: norm_axes[0]", "ndim 6"],
    ),
    "a parameter too few": (
        lambda: adaptive_clip([x, x], w),
        ValueError,
        ["adaptive_clip", "2 gradients for 1 param"],
    ),
    "a parameter of another shape": (
        lambda: add_l1_penalty([x], [b], 0.1),
        ValueError,
        ["add_l1_penalty", "'b'", "ndim 2", "ndim 1"],
    ),
    "a symbol as parameter": (
        lambda: add_weight_decay([x], [x], 0.1),
        TypeError,
        ["add_weight_decay: params[0]", "shared"],
    ),
    "rows, which would decay as often as the index names them": (
        lambda: add_weight_decay([x], [w[pt.lvector()]], 0.1),
        TypeError,
        ["add_weight_decay: params[0]"],
    ),
    "negative decay": (
        lambda: add_weight_decay(x, w, -1),
        ValueError,
        ["add_weight_decay: weight_decay", ">= 0", "-1"],
    ),
    "a short mask": (
        lambda: add_weight_decay([x, b], [w, b], 0.1, mask=[True]),
        ValueError,
        ["add_weight_decay: mask", "1 entries for 2", "one for each"],
    ),
    "a mask of numbers": (
        lambda: add_weight_decay([x, b], [w, b], 0.1, mask=[True, 0]),
        TypeError,
        ["add_weight_decay: mask", "True or False", "'b'", "got 0"],
    ),
    "a symbolic predicate": (
        lambda: add_weight_decay(x, w, 0.1, mask=lambda param: param.sum() > 0),
        TypeError,
        ["add_weight_decay: mask", "True or False", "'w'"],
    ),
    "a name of none": (
        lambda: add_weight_decay(x, w, 0.1, mask="v"),
        ValueError,
        ["add_weight_decay: 'v' is not among [w], which mask chooses from"],
    ),
    "a mask by parameter": (
        lambda: add_weight_decay(x, w, 0.1, mask={w: True}),
        TypeError,
        ["add_weight_decay: mask", "function from parameter to bool", "dict"],
    ),
    "negative penalty": (
        lambda: add_l1_penalty(x, w, -0.1),
        ValueError,
        ["add_l1_penalty: l1", ">= 0", "-0.1"],
    ),
    "negative variance": (
        lambda: add_gradient_noise(x, eta=-1),
        ValueError,
        ["add_gradient_noise: eta", ">= 0", "-1"],
    ),
    "a broken seed": (
        lambda: add_gradient_noise(x, seed=0.5),
        TypeError,
        ["add_gradient_noise: seed", "integer", "0.5"],
    ),
    "no smallest norm": (
        lambda: normalize_gradients(x, epsilon=0),
        ValueError,
        ["normalize_gradients: epsilon", "> 0", "got 0"],
    ),
    "an infinite factor": (
        lambda: scale_gradients(x, -np.inf),
        ValueError,
        ["scale_gradients: factor", "finite", "-inf"],
    ),
    "a string as factor": (
        lambda: scale_gradients(x, "-1"),
        TypeError,
        ["scale_gradients: factor", "'-1'"],
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_by_name(case):
    call, error, words = REFUSED[case]
    with pytest.raises(error) as caught:
        call()
    for word in words:
        assert word in str(caught.value)
