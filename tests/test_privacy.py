"""Gradients of single examples, their private mean beside optax and Opacus, what is refused."""

import json
from pathlib import Path

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

import updates
from updates import differentially_private_mean, per_example_gradients

MODE = "FAST_COMPILE"
GOLDEN = json.loads((Path(__file__).parent / "golden" / "privacy.json").read_text())
random = np.random.default_rng(0)
X = random.normal(size=(6, 5))
LABELS = random.integers(0, 4, 6)
WORDS = random.integers(0, 7, (6, 3))


def shared(name, *shape, dtype="float64"):
    return pytensor.shared(random.normal(size=shape).astype(dtype), name=name)


W, b, table = shared("W", 5, 4), shared("b", 4), shared("table", 7, 5)
scale = shared("scale")
x, labels, words = pt.matrix("x"), pt.lvector("labels"), pt.lmatrix("words")


def cross_entropy(out, labels):
    return -pt.special.log_softmax(out, axis=1)[pt.arange(labels.shape[0]), labels].mean()


# A loss, its parameters and its batch.
LOSSES = {
    "classes": (cross_entropy(scale * pt.tanh(x @ W + b), labels), [W, b, scale], [x, labels]),
    "sum": ((pt.tanh(x @ W + b) ** 2).sum(), [b, W], [x]),
    "penalty": (((x @ W) ** 2).mean() + 0.1 * (W**2).sum(), [W], [x]),
    "looked up": (
        cross_entropy(table[words].mean(axis=1) @ W, labels),
        [table, W],
        [words, labels],
    ),
    "inside the graph": (cross_entropy((2 * x) @ W, labels), [W], [x, labels]),
}
VALUES = {x: X, labels: LABELS, words: WORDS}


@pytest.mark.parametrize("name", LOSSES)
def test_each_example_has_the_gradient_of_a_batch_of_its_own(name):
    loss, params, batch = LOSSES[name]
    together = pytensor.function(batch, per_example_gradients(loss, params, batch), mode=MODE)
    alone = pytensor.function(batch, pytensor.grad(loss, params), mode=MODE)
    values = [VALUES[example] for example in batch]
    found = together(*values)
    for k in range(len(X)):
        expected = alone(*(value[k : k + 1] for value in values))
        for own, gradients in zip(expected, found, strict=True):
            np.testing.assert_allclose(gradients[k], own, rtol=1e-12, atol=1e-15)


def test_a_batch_may_be_computed_of_data():
    data, targets, start = shared("data", 6, 5), shared("targets", 6), pt.iscalar("start")
    rows, values = (variable[start + pt.arange(3)] for variable in (data, targets))
    w = shared("w", 5)
    loss = ((rows @ w - values) ** 2).mean()
    [grads] = per_example_gradients(loss, w, [rows, values])
    found = grads.eval({start: 2}, mode=MODE)
    part = data.get_value()[2:5]
    errors = part @ w.get_value() - targets.get_value()[2:5]
    np.testing.assert_allclose(found, 2 * errors[:, None] * part, rtol=1e-12)


def test_lengths_that_are_known_may_be_those_of_the_batch():
    fixed = pt.tensor("fixed", shape=(6, 5), dtype="float64")
    [grads] = per_example_gradients(((fixed @ W) ** 2).mean(), W, fixed)
    assert grads.type.shape[0] == 6
    assert grads.eval({fixed: X}, mode=MODE).shape == (6, 5, 4)


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: str(case["max_norm"]))
def test_without_noise_it_is_optax_and_opacus(case):
    grads = [np.array(array) for array in GOLDEN["gradients"]]
    made = differentially_private_mean(list(map(pt.constant, grads)), case["max_norm"], 0.0)
    for own, theirs in zip(made, case["without_noise"], strict=True):
        np.testing.assert_allclose(own.eval(mode=MODE), theirs, rtol=1e-12, atol=1e-300)
    # Opacus adds 1e-6 to the norm that it divides by.
    for own, theirs in zip(made, case["opacus"], strict=True):
        np.testing.assert_allclose(own.eval(mode=MODE), theirs, atol=1e-6 * case["max_norm"])


@pytest.mark.parametrize(("size", "expected"), [(None, 5), (20.0, 20)])
def test_the_noise_has_the_deviation_that_was_asked_for(size, expected):
    grads = [pt.zeros((5, 40, 50)), pt.zeros((5, 1000), "float32")]
    made = differentially_private_mean(grads, 3.0, 1.5, batch_size=size, seed=1)
    call = pytensor.function([], made, mode=MODE)
    first, second = call(), call()
    for one, other in zip(first, second, strict=True):
        assert one.std() == pytest.approx(3.0 * 1.5 / expected, rel=0.05)
        assert not np.any(one == other)
    assert [array.dtype for array in first] == ["float64", "float32"]
    assert not np.array_equal(first[0].ravel()[:1000], first[1])


def test_no_example_moves_the_sum_by_more_than_the_bound():
    loss, params, batch = LOSSES["classes"]
    grads = per_example_gradients(1000 * loss, params, batch)
    made = differentially_private_mean(grads, 0.5, 0.0, batch_size=1.0)
    call = pytensor.function(batch, made, mode=MODE)
    with_all, without_last = call(X, LABELS), call(X[:-1], LABELS[:-1])
    way = np.sqrt(sum(((a - b) ** 2).sum() for a, b in zip(with_all, without_last, strict=True)))
    assert way == pytest.approx(0.5, rel=1e-9)


@pytest.mark.parametrize("bad", [np.inf, np.nan, 1e300])
def test_an_example_without_a_norm_shows_and_a_huge_one_is_clipped(bad):
    values = np.ones((3, 2))
    values[1, 0] = bad
    [made] = differentially_private_mean([pt.constant(values)], 1.0, 0.0)
    found = made.eval(mode=MODE)
    if np.isfinite(bad):
        others = 2 / np.sqrt(2)
        np.testing.assert_allclose(found, [(others + 1) / 3, others / 3], rtol=1e-12)
    else:
        assert np.isnan(found).all()


def test_training_is_resumed_with_the_noise_that_would_have_come(tmp_path):
    def training():
        w = pytensor.shared(np.ones(3), name="w")
        loss = ((x[:, :3] @ w - 1) ** 2).mean()
        grads = per_example_gradients(loss, w, x)
        rule = updates.adam(differentially_private_mean(grads, 1.0, 0.5, seed=3), w)
        return w, rule, pytensor.function([x], updates=rule, mode=MODE)

    w, rule, step = training()
    step(X)
    assert "differentially_private_mean/generator" in updates.state_dict(rule)
    updates.save(tmp_path / "half.npz", rule)
    step(X)
    again, rule, step = training()
    updates.load(tmp_path / "half.npz", rule)
    step(X)
    assert np.array_equal(w.get_value(), again.get_value())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The RandomType SharedVariables")
@pytest.mark.filterwarnings("ignore:Skipping Assert")
@pytest.mark.filterwarnings("ignore:PyTensor could not link to a BLAS")
@pytest.mark.parametrize("mode", ["NUMBA", "CVM", "JAX"])
def test_every_backend_computes_the_same(mode):
    if mode == "JAX":
        pytest.importorskip("jax")
    fixed = pt.tensor("fixed", shape=(6, 5), dtype="float64")
    loss = ((pt.tanh(fixed @ W + b) * scale) ** 2).mean()
    grads = per_example_gradients(loss, [W, b, scale], fixed)
    made = differentially_private_mean(grads, 0.05, 0.0)
    expected = pytensor.function([fixed], made, mode=MODE)(X)
    for own, theirs in zip(pytensor.function([fixed], made, mode=mode)(X), expected, strict=True):
        np.testing.assert_allclose(own, theirs, rtol=1e-10)


def test_describe_says_what_is_done():
    loss, params, batch = LOSSES["penalty"]
    grads = per_example_gradients(loss, params, batch)
    rule = updates.sgd(differentially_private_mean(grads, 0.5, 2.0), params, 0.1)
    text = str(updates.describe(rule))
    assert "(0.5/max(norms, 0.5))" in text
    assert "+ 0.5*2*normal())/shape(norms)[0]" in " ".join(text.split())


noisy = (x * pt.random.normal(size=x.shape) @ W).mean()
REFUSED = {
    "gradients": (lambda: per_example_gradients([W * 1], W, x), TypeError, "loss itself"),
    "no batch": (lambda: per_example_gradients((x @ W).mean(), W, []), TypeError, r"batch.*\[\]"),
    "data": (lambda: per_example_gradients((x @ W).mean(), W, [X]), TypeError, r"batch\[0\]"),
    "a scalar": (
        lambda: per_example_gradients((x @ W).mean() * scale, W, [scale]),
        ValueError,
        r"batch\[0\].*axis of examples",
    ),
    "a parameter": (
        lambda: per_example_gradients((x @ W).mean(), W, [x, W]),
        ValueError,
        r"batch\[1\], W, is a parameter",
    ),
    "twice": (lambda: per_example_gradients((x @ W).mean(), W, [x, x]), ValueError, "twice"),
    "another batch": (
        lambda: per_example_gradients((x @ W).mean(), W, [x, labels]),
        ValueError,
        r"does not depend on batch\[1\], labels",
    ),
    "targets left out": (
        lambda: per_example_gradients(LOSSES["classes"][0], W, [x]),
        ValueError,
        "depends on the input labels",
    ),
    "noise": (lambda: per_example_gradients(noisy, W, [x]), ValueError, "dropout"),
    "rows": (
        lambda: per_example_gradients((W[words[:, 0]] ** 2).sum(), W[words[:, 0]], words),
        TypeError,
        "rows of parameter .W.",
    ),
    "mean of scalars": (
        lambda: differentially_private_mean([scale * 1], 1.0, 1.0),
        ValueError,
        r"grads\[0\].*axis of examples",
    ),
    "norm": (
        lambda: differentially_private_mean([x], 0.0, 1.0),
        ValueError,
        "max_norm must be .* > 0, got 0.0",
    ),
}


@pytest.mark.parametrize(("call", "error", "words"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_done_is_refused_by_name(call, error, words):
    with pytest.raises(error, match=f"^(per_example|differentially).*{words}"):
        call()
