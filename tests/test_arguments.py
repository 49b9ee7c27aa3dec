"""Bad input is refused when the graph is built, with a message that names the culprit."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from catalogue import loss_of, parameters
from pytensor import wrap_py
from pytensor.tensor.sharedvar import TensorSharedVariable

import updates


@wrap_py(itypes=[pt.dvector], otypes=[pt.dvector])
def ungraded(values):
    """Stand for an operation that has no gradient."""
    return values


w = pytensor.shared(np.ones((2, 3)), name="w")
b = pytensor.shared(np.ones(3), name="b")
unnamed = pytensor.shared(np.ones(3))
counter = pytensor.shared(3, name="counter")
flags = pytensor.shared(np.array([True]), name="flags")
wave = pytensor.shared(np.array([1j]), name="wave")
random = pytensor.shared(np.random.default_rng(0), name="random")
x = pt.vector("x")
loss = (w**2).sum() + (b**2).sum()
grads = [2 * w, 2 * b]


def sgd(loss_or_grads, params, learning_rate=0.1):
    return lambda: updates.sgd(loss_or_grads, params, learning_rate)


REFUSED = {
    # parameters
    "no params": (sgd(loss, []), ValueError, ["params is empty"]),
    "symbolic param": (sgd(loss, [w, x]), TypeError, ["params[1]", "x", "pytensor.shared"]),
    "array param": (sgd(loss, [np.ones(3)]), TypeError, ["params[0]", "ndarray"]),
    "string params": (sgd(loss, "wb"), TypeError, ["params[0]", "'w'"]),
    "number params": (sgd(loss, 3), TypeError, ["params", "3", "int"]),
    "set params": (sgd(loss, {w, b}), TypeError, ["params", "no order"]),
    "duplicate": (sgd(loss, [w, b, w]), ValueError, ["'w'", "params[2]", "params[0]"]),
    "integer": (sgd(loss, [w, counter]), TypeError, ["'counter'", "params[1]", "floating-point"]),
    "bool": (sgd(loss, [flags]), TypeError, ["'flags'", "floating-point"]),
    "complex": (sgd(loss, [wave]), TypeError, ["'wave'", "floating-point"]),
    "generator": (sgd(loss, [random]), TypeError, ["'random'", "floating-point"]),
    # loss
    "vector loss": (sgd(b**2, [b]), ValueError, ["ndim 1", ".mean()"]),
    "integer loss": (sgd(counter, [b]), TypeError, ["loss", "floating-point"]),
    "number loss": (sgd(3.0, [b]), TypeError, ["loss_or_grads", "3.0"]),
    "string loss": (sgd("loss", [b]), TypeError, ["loss_or_grads", "'loss'"]),
    "gradients of names": (sgd({"w": 2 * w}, [w]), TypeError, ["loss_or_grads maps 'w'"]),
    "loss without a parameter": (sgd((w**2).sum(), [w, b]), ValueError, ["'b'", "params[1]"]),
    "loss without an unnamed one": (sgd((w**2).sum(), [unnamed]), ValueError, ["params[0]"]),
    "loss through a shape": (sgd((b.shape[0] * w).sum(), [w, b]), ValueError, ["'b'"]),
    "loss without a gradient": (sgd(ungraded(b).sum(), [b]), ValueError, ["cannot differentiate"]),
    "params without loss": (sgd(None, [b]), ValueError, ["loss_or_grads is missing"]),
    "loss without params": (sgd(loss, None), ValueError, ["params is missing"]),
    # gradients
    "too few": (sgd([2 * w], [w, b]), ValueError, ["1 gradients", "2 parameters"]),
    "too many": (sgd([*grads, b], [w, b]), ValueError, ["3 gradients", "2 parameters"]),
    "wrong ndim": (sgd([b, w], [w, b]), ValueError, ["'w'", "ndim 1", "ndim 2"]),
    "wrong shape": (
        sgd([pt.constant(np.ones((2, 4)))], [w]),
        ValueError,
        ["'w'", "(2, 4)", "(2, 3)"],
    ),
    "broadcasting shape": (sgd([pt.constant(np.ones((1, 3)))], [w]), ValueError, ["'w'", "(1, 3)"]),
    "integer gradient": (sgd([pt.lvector()], [b]), TypeError, ["'b'", "int64"]),
    "complex gradient": (sgd([pt.zvector()], [b]), TypeError, ["'b'", "complex128"]),
    "no gradient": (sgd([None], [b]), TypeError, ["'b'", "None"]),
    "string gradient": (sgd(["g"], [unnamed]), TypeError, ["params[0]", "'g'"]),
    # calling
    "missing learning rate": (
        lambda: updates.sgd(loss, [w, b]),
        TypeError,
        ["sgd", "learning_rate is required"],
    ),
    "unknown argument": (
        lambda: updates.sgd(loss, [w], lr=0.1),
        TypeError,
        ["sgd", "'lr'", "learning_rate"],
    ),
    "number where the loss belongs": (
        lambda: updates.adam(0.01),
        ValueError,
        ["adam", "params is missing", "hyperparameters by name"],
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_by_name_and_nothing_is_made(case, monkeypatch):
    call, error, words = REFUSED[case]
    made = []
    init = TensorSharedVariable.__init__
    monkeypatch.setattr(
        TensorSharedVariable,
        "__init__",
        lambda self, *a, **k: made.append(self) or init(self, *a, **k),
    )
    with pytest.raises(error) as caught:
        call()
    message = str(caught.value)
    for word in words:
        assert word in message
    assert message.startswith(("sgd: ", "adam: ", "sgd has no "))
    assert made == []


@pytest.mark.parametrize(
    "form",
    [
        list,
        tuple,
        iter,
        lambda params: dict.fromkeys(params).keys(),
        lambda params: (p for p in params),
    ],
    ids=["list", "tuple", "iterator", "keys", "generator"],
)
def test_params_and_gradients_come_in_any_ordered_form(form):
    params = parameters()
    gradients = updates.get_or_compute_grads(loss_of(params), form(params))
    assert list(updates.sgd(loss_of(params), form(params), 0.1)) == params
    assert list(updates.sgd(form(gradients), form(params), 0.1)) == params


def test_a_single_shared_variable_may_stand_for_a_list():
    assert list(updates.sgd((b**2).sum(), b, 0.1)) == [b]


def test_gradients_may_be_arrays():
    result = updates.sgd([np.ones(3)], [b], 0.5)
    np.testing.assert_array_equal(result[b].eval(), 0.5 * np.ones(3))


def test_gradients_come_in_the_parameters_dtype():
    small = pytensor.shared(np.ones(3, dtype="float32"), name="small")
    data = pt.constant(np.ones(3))
    assert pytensor.grad(((small * data) ** 2).sum(), small).type.dtype == "float64"
    [gradient] = updates.get_or_compute_grads(((small * data) ** 2).sum(), small)
    assert gradient.type.dtype == "float32"
