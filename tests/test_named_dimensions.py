"""Losses with named dimensions train like the same losses without names."""

import numpy as np
import pytensor
import pytest
from catalogue import AS_WRITTEN, COMPOSITIONS

import updates

px = pytest.importorskip("pytensor.xtensor")


@pytest.fixture(autouse=True)
def little_to_compile():
    with pytensor.config.change_flags(mode=AS_WRITTEN):
        yield


def parameters():
    w = pytensor.shared(np.array([0.5, -1.0, 2.0]), name="w")
    b = pytensor.shared(np.array([[1.0, 2.0], [-3.0, 0.5]]), name="b")
    return [w, b]


def named(w, b):
    w, b = px.as_xtensor(w, dims=("unit",)), px.as_xtensor(b, dims=("row", "column"))
    return ((px.math.tanh(w) * b - 1) ** 2).mean()


def plain(w, b):
    return ((w.tanh()[:, None, None] * b - 1) ** 2).mean()


def stepped(make_updates, loss_of):
    params = parameters()
    changes = make_updates(loss_of(*params), params)
    step = pytensor.function([], updates=changes)
    for _ in range(3):
        step()
    return {variable.name: variable.get_value() for variable in changes}


RULES = {
    "adam": updates.adam(learning_rate=0.1),
    "sam": updates.sam(rule=updates.sgd(learning_rate=0.1)),
    "sophia": updates.sophia(learning_rate=0.1, update_interval=1),
    "polyak_sgd": updates.polyak_sgd(),
    "chain": updates.chain(
        updates.clip_by_global_norm(max_norm=0.1),
        updates.momentum(learning_rate=0.1),
        updates.reduce_on_plateau(patience=1),
        updates.apply_if_finite(),
    ),
} | {make.__name__: make for make in COMPOSITIONS}


@pytest.mark.parametrize("name", RULES)
def test_the_steps_are_those_of_the_loss_without_names(name):
    expected, got = (stepped(RULES[name], loss_of) for loss_of in (plain, named))
    assert got.keys() == expected.keys()
    for key, value in expected.items():
        if isinstance(value, np.ndarray):
            np.testing.assert_allclose(got[key], value, rtol=1e-12, err_msg=key)


def test_the_loss_itself_stays_as_it_is():
    params = parameters()
    loss = named(*params)
    before = pytensor.dprint(loss, file="str")
    updates.adam(loss, params)
    updates.describe(updates.adam(loss, params), loss)
    assert pytensor.dprint(loss, file="str") == before


def test_values_of_a_named_loss_are_a_loss_too():
    params = parameters()
    by_name, by_values = (
        pytensor.function([], updates.get_or_compute_grads(loss, params))()
        for loss in (named(*params), named(*params).values)
    )
    for got, expected in zip(by_name, by_values, strict=True):
        np.testing.assert_array_equal(got, expected)


def test_describe_and_minimize_take_it():
    [w, b] = parameters()
    loss = named(w, b)
    text = str(updates.describe(updates.adam(loss, [w, b]), loss))
    assert text == str(updates.describe(updates.adam(plain(w, b), [w, b]), plain(w, b)))
    history = updates.minimize(
        loss,
        [w, b],
        rule=updates.adam(learning_rate=0.05),
        train=[],
        train_batches=10,
        max_epochs=30,
        progress=False,
    )
    losses = history.train["loss"]
    assert losses[-1] < 0.2 * losses[0]


def test_a_loss_that_is_no_scalar_is_refused():
    [w, _b] = parameters()
    with pytest.raises(ValueError, match="adam: the loss must be a scalar, got ndim 1"):
        updates.adam(px.as_xtensor(w, dims=("unit",)), [w])
