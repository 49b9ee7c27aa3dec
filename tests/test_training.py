"""minimize and iterate: what the loop promises."""

import inspect
import io
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import OrderedDict
from pathlib import Path
from typing import get_type_hints

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
import scipy.sparse
from pytensor import sparse

import updates
from updates.training import progress
from updates.training.batches import Arrays, source
from updates.training.inputs import Input

GOLDEN = json.loads((Path(__file__).parent / "golden" / "downhill.json").read_text())
DATA = np.random.default_rng(1).normal(size=(25, 3))
TARGET = DATA @ [1.0, -2.0, 0.5] + 0.1
WHOLE = [DATA, TARGET]
adam = updates.adam(learning_rate=0.05)
slow = pytest.mark.slow
quiet = {"progress": False, "mode": "FAST_COMPILE"}


class Regression:
    """A loss, its inputs, and its parameters."""

    def __init__(self):
        self.x, self.y = pt.matrix("x"), pt.vector("y")
        self.w = pytensor.shared(np.zeros(3), name="w")
        self.b = pytensor.shared(0.0, name="b")
        self.loss = ((self.x @ self.w + self.b - self.y) ** 2).mean()

    def minimize(self, **settings):
        given = {"rule": adam, "train": WHOLE, "batch_size": 10, "max_epochs": 5, **quiet}
        given |= settings
        return updates.minimize(given.pop("loss", self.loss), **given)

    @property
    def values(self):
        return np.append(self.w.get_value(), self.b.get_value())


def run(**settings):
    """Minimize a regression, and return history and parameters."""
    model = Regression()
    return model.minimize(**settings), model.values


# --- Data ------------------------------------------------------------------------------------


def inputs():
    return [Input(pt.matrix("x")), Input(pt.vector("y"))]


def test_every_epoch_goes_through_all_rows_in_another_order_and_keeps_the_remainder():
    arrays = source("train", [DATA, TARGET], inputs(), batch_size=10, owner="minimize", seed=0)
    epochs = [list(arrays.epoch(number)) for number in range(3)]
    for batches in epochs:
        assert [rows for _, rows in batches] == [10, 10, 5]
        joined = [np.concatenate(parts) for parts in zip(*(b for b, _ in batches), strict=True)]
        order = np.argsort(joined[1])
        np.testing.assert_array_equal(joined[0][order], DATA[np.argsort(TARGET)])
        np.testing.assert_array_equal(joined[1][order], np.sort(TARGET))
    orders = [np.concatenate([b[1] for b, _ in batches]).tolist() for batches in epochs]
    assert orders[0] != orders[1] != orders[2] != orders[0]
    again = source("train", [DATA, TARGET], inputs(), batch_size=10, owner="minimize", seed=0)
    np.testing.assert_array_equal(next(again.epoch(2))[0][0], epochs[2][0][0][0])
    other = source("train", [DATA, TARGET], inputs(), batch_size=10, owner="minimize", seed=1)
    assert next(other.epoch(0))[0][1].tolist() != orders[0][:10]


@pytest.mark.parametrize("per_epoch", [1, 2, 3, 4, 7])
def test_epochs_of_any_length_go_on_where_the_last_one_ended(per_epoch):
    def firsts(arrays, epochs, skip=0):
        return [b[1][0] for number in range(epochs) for b, _ in arrays.epoch(number, skip)]

    settings = {"owner": "minimize", "batch_size": 10, "seed": 0}
    passes = firsts(source("train", [DATA, TARGET], inputs(), **settings), 30)
    arrays = source("train", [DATA, TARGET], inputs(), **settings, per_epoch=per_epoch)
    assert firsts(arrays, 5) == passes[: 5 * per_epoch]
    rest = [b[1][0] for b, _ in arrays.epoch(4, per_epoch - 1)]
    assert rest == passes[5 * per_epoch - 1 : 5 * per_epoch]


BATCHES = [[DATA[i : i + 10], TARGET[i : i + 10]] for i in (0, 10, 20)]


class Loader:
    def __init__(self, length=None):
        self.length = length

    def __iter__(self):
        return iter(BATCHES[: self.length])


def counted(length=None):
    """Return a callable that gives one batch after the other."""
    calls = iter(BATCHES * 100)
    kind = type("Callable", (), {"__call__": lambda self: next(calls)})
    if length:
        kind.__len__ = lambda self: length
    return kind()


FORMS = {
    "by name": {"x": DATA, "y": TARGET},
    "by name, in any order": {"y": TARGET, "x": DATA},
    "a tuple": (DATA, TARGET),
    "shared variables": [pytensor.shared(DATA), pytensor.shared(TARGET)],
    "an iterable of one batch": [WHOLE],
    "an iterable of dictionaries": [{"x": DATA, "y": TARGET}],
}


@pytest.mark.parametrize("form", FORMS)
def test_data_in_any_form_train_alike(form):
    _, expected = run(batch_size=0, max_epochs=2)
    _, found = run(train=FORMS[form], batch_size=0, max_epochs=2)
    np.testing.assert_array_equal(found, expected)


def test_iterables_and_callables_train_alike_and_say_how_long_an_epoch_is():
    history, expected = run(train=BATCHES, valid=WHOLE, max_epochs=4)
    assert history.train["step"] == [3, 6, 9, 12]
    for train in (Loader(), counted(length=3)):
        history, found = run(train=train, valid=WHOLE, max_epochs=4)
        assert history.train["step"] == [3, 6, 9, 12]
        np.testing.assert_array_equal(found, expected)
    endless = run(
        train=(batch for batch in BATCHES * 9), valid=WHOLE, train_batches=2, max_epochs=6
    )
    assert endless[0].train["step"] == [2, 4, 6, 8, 10, 12]
    np.testing.assert_array_equal(endless[1], expected)
    once = run(train=iter(BATCHES), valid=WHOLE)
    assert once[0].train["step"] == [3]
    assert once[0].stopped == "the end of train"
    hundred = run(train=counted(), valid=WHOLE, max_epochs=1)
    assert hundred[0].train["step"] == [100]


def test_integers_and_lower_precision_become_what_the_input_is():
    x, labels = pt.matrix("x", dtype="float32"), pt.ivector("labels")
    w = pytensor.shared(np.zeros((3, 2), dtype="float32"), name="w")
    loss = -pt.log(pt.special.softmax(x @ w, axis=1))[pt.arange(labels.shape[0]), labels].mean()
    train = [DATA, (TARGET > 0).astype("int64")]
    history = updates.minimize(loss, rule=adam, train=train, max_epochs=3, **quiet)
    assert history.train["loss"][-1] < history.train["loss"][0]
    assert w.get_value().dtype == "float32"


X, Y = (variable.variable for variable in inputs())
BAD_DATA = [
    (None, TypeError, ["train", "x, y", "None"]),
    ("data.csv", TypeError, ["train", "'data.csv'"]),
    (3, TypeError, ["train", "3"]),
    ([DATA], ValueError, ["train has 1 arrays", "2 inputs: x, y"]),
    ([DATA, TARGET[:-1]], ValueError, ["different lengths", "25, 24"]),
    ([DATA[:0], TARGET[:0]], ValueError, ["no rows"]),
    ([TARGET, DATA], ValueError, ["train[0]", "ndim 1", "input x"]),
    ([DATA, TARGET.astype(complex)], TypeError, ["train[1]", "complex128", "input y"]),
    ([DATA, TARGET.astype(object)], TypeError, ["train[1]", "object"]),
    ({"x": DATA}, ValueError, ["train", "none for y"]),
    ({"x": DATA, "y": TARGET, "z": TARGET}, ValueError, ["'z'", "x, y"]),
    ([np.array(1.0), TARGET], ValueError, ["train[0]", "ndim 0", "input x"]),
    ([], ValueError, ["train is empty"]),
    ([[DATA]], ValueError, ["train, batch 0", "1 arrays"]),
    ([3], ValueError, ["train has 1 arrays", "2 inputs: x, y", "one array of the numbers"]),
    (iter([]), ValueError, ["train gave no batches"]),
    (lambda: (DATA, DATA), ValueError, ["train, batch 0", "ndim 2", "input y"]),
    (iter([WHOLE]), ValueError, ["valid", "iterator"]),
]


@pytest.mark.parametrize(("train", "error", "words"), BAD_DATA, ids=range(len(BAD_DATA)))
def test_data_that_do_not_fit_are_refused_by_name(train, error, words):
    with pytest.raises(error) as caught:
        run(train=train, **({"valid": WHOLE} if "batches" in words[0] else {}))
    message = str(caught.value)
    assert message.startswith("minimize: ")
    assert [word for word in words if word not in message] == []


def minimized(**arguments):
    return updates.minimize(Regression().loss, **quiet, **arguments)


def iterated(**arguments):
    return list(updates.iterate(Regression().loss, **quiet, **arguments))


@pytest.mark.parametrize("train", [minimized, iterated])
def test_errors_of_the_users_own_code_pass_as_they_are(train):
    def batches():
        yield WHOLE
        raise ValueError("the file is torn")

    def rule(loss, params):
        raise TypeError("mine")

    class Dataset:
        def __iter__(self):
            raise FileNotFoundError("no data")

    for arguments, error, message in [
        ({"rule": adam, "train": batches(), "valid": WHOLE}, ValueError, "the file is torn"),
        ({"rule": rule, "train": WHOLE}, TypeError, "mine"),
        ({"rule": adam, "train": Dataset()}, FileNotFoundError, "no data"),
        (
            {"rule": lambda *_: updates.sgd(*_, -1), "train": WHOLE},
            ValueError,
            "sgd: learning_rate",
        ),
    ]:
        with pytest.raises(error, match=f"^{message}"):
            train(**arguments)


@pytest.mark.parametrize("train", [minimized, iterated])
def test_errors_of_the_loop_have_the_name_of_the_function_once(train):
    name = {minimized: "minimize", iterated: "iterate"}[train]
    diverging = updates.sgd(learning_rate=1e200)
    for arguments, error, message in [
        ({"rule": adam, "train": [WHOLE, [DATA]]}, ValueError, "train, batch 1 has 1 arrays"),
        ({"rule": adam, "train": iter([]), "valid": WHOLE}, ValueError, "train gave no batches"),
        ({"rule": adam, "train": WHOLE, "valid": iter([])}, ValueError, "valid is an iterator"),
        ({"rule": adam, "train": WHOLE, "valid": Loader(0)}, ValueError, "valid gave no batches"),
        ({"rule": diverging, "train": WHOLE}, FloatingPointError, "the loss is "),
    ]:
        with pytest.raises(error, match=f"^{name}: {message}"):
            train(**arguments)


def test_an_input_of_a_known_number_of_rows_takes_no_remainder():
    x = Input(pt.matrix("x", shape=(10, 3)))
    with pytest.raises(ValueError, match="the input x takes 10 rows, and 25 rows in mini-batches"):
        Arrays("train", [DATA], [x], 10, 0, None)
    assert len(list(Arrays("train", [DATA[:20]], [x], 10, 0, None).epoch(0))) == 2
    with pytest.raises(ValueError, match="shape"):
        Arrays("train", [DATA[:20]], [Input(pt.matrix("x", shape=(10, 4)))], 10, 0, None)


def masked(array):
    return np.ma.masked_greater(array, 2)


WRONG_ARRAYS = {
    "a big integer": (pt.ivector, np.array([2**40]), "int64, which does not fit .* of dtype int32"),
    "a big float": (pt.fvector, np.array([1.0, 1e300]), "does not fit .* of dtype float32"),
    "a masked array": (pt.vector, masked([1.0, 5.0]), "mask would be lost: give .filled"),
    "a masked number": (pt.scalar, np.ma.masked, "mask would be lost"),
    "a sparse matrix": (pt.matrix, scipy.sparse.eye(3).tocsr(), "is sparse, .* is dense"),
    "a dense matrix": (sparse.csr_matrix, np.eye(3), "is dense, .* scipy.sparse.csr_matrix"),
    "sparse integers": (sparse.csr_matrix, scipy.sparse.eye(2) * 1j, "complex128, which does not"),
    "rows of different lengths": (pt.matrix, [[1.0], [1.0, 2.0]], "is no array"),
    "text": (pt.vector, np.array(["1"]), "has dtype <U1"),
}


@pytest.mark.parametrize("case", WRONG_ARRAYS)
def test_values_that_would_change_are_refused(case):
    make, value, message = WRONG_ARRAYS[case]
    with pytest.raises((TypeError, ValueError), match=rf"^train\[0\] .*{message}"):
        Input(make("i")).converted("train[0]", value)


def test_an_array_without_masked_elements_is_an_array():
    found = Input(pt.vector("x")).converted("train[0]", masked([1.0, 2.0]))
    np.testing.assert_array_equal(found, [1.0, 2.0])


@pytest.mark.parametrize("form", ["arrays", "batches", "by name"])
def test_a_scalar_input_takes_a_number(form):
    model = Regression()
    rate, is_on = pt.scalar("rate"), pt.bscalar("is_on")
    loss = model.loss + rate * pt.switch(is_on, model.w.sum(), np.nan)
    train = {
        "arrays": [*WHOLE, np.float32(0.5), True],
        "batches": [[*WHOLE, 0.5, 1]],
        "by name": {"x": DATA, "y": TARGET, "rate": np.array(0.5), "is_on": 1},
    }[form]
    model.minimize(loss=loss, train=train, batch_size=0, max_epochs=2)
    expected = Regression()
    expected.minimize(loss=expected.loss + 0.5 * expected.w.sum(), batch_size=0, max_epochs=2)
    np.testing.assert_array_equal(model.values, expected.values)


def test_sparse_rows_are_shuffled_like_dense_ones():
    x, y, w = sparse.csr_matrix("x", "float32"), pt.fvector("y"), pytensor.shared(np.zeros((3, 1)))
    loss = ((sparse.structured_dot(x, w.astype("float32")).flatten() - y) ** 2).mean()
    train = [scipy.sparse.coo_matrix(DATA), TARGET]
    updates.minimize(loss, [w], rule=adam, train=train, batch_size=10, max_epochs=3, **quiet)
    model = Regression()
    model.minimize(params=[model.w], max_epochs=3)
    np.testing.assert_allclose(w.get_value()[:, 0], model.w.get_value(), rtol=1e-5)


def test_numbers_in_lists_are_asked_about():
    with pytest.raises(TypeError, match=r"^minimize: train\[0\] is a list of numbers.*numpy.asarr"):
        run(train=[[1.0, 2.0], [3.0, 4.0]])


def test_a_callable_may_draw_from_an_iterator_that_ends():
    history, _ = run(train=iter(BATCHES * 2).__next__, valid=WHOLE, train_batches=4)
    assert history.train["step"] == [4, 6]
    assert history.stopped == "the end of train"


# --- What is found and recorded --------------------------------------------------------------


def test_monitors_are_means_over_all_rows_though_the_last_mini_batch_is_smaller():
    model = Regression()
    history = model.minimize(
        rule=updates.sgd(learning_rate=0.0), monitors={"mean": model.y.mean()},
        monitor_gradients=True, monitor_updates=True,
    )  # fmt: skip
    for records in (history.train, history.valid):
        np.testing.assert_allclose(records["loss"], (TARGET**2).mean(), rtol=1e-12)
        np.testing.assert_allclose(records["mean"], TARGET.mean(), rtol=1e-12)
    columns = ["epoch", "step", "loss", "mean"]
    assert list(history.valid) == columns
    assert list(history.train) == [*columns, "grad(w)", "grad(b)", "update(w)", "update(b)"]


def test_norms_of_gradients_and_updates_are_those():
    history, _ = run(
        rule=updates.sgd(learning_rate=0.5), batch_size=0, max_epochs=1,
        monitor_gradients=True, monitor_updates=True,
    )  # fmt: skip
    gradient = 2 * DATA.T @ -TARGET / len(DATA)
    np.testing.assert_allclose(history.train["grad(w)"], np.linalg.norm(gradient))
    np.testing.assert_allclose(history.train["update(w)"], 0.5 * np.linalg.norm(gradient))
    np.testing.assert_allclose(history.train["grad(b)"], abs(2 * TARGET.mean()))


def test_parameters_are_found_but_for_what_updates_changes():
    model = Regression()
    mean = pytensor.shared(0.0, name="mean")
    counter = pytensor.shared(0, name="counter")
    extra = {mean: 0.9 * mean + 0.1 * model.loss, counter: counter + 1}
    model.minimize(loss=model.loss + 0 * mean, updates=extra)
    assert counter.get_value() == 15
    assert mean.get_value() > 0
    assert model.values.all()


def shared(value, name):
    return pytensor.shared(np.asarray(value, dtype="float64"), name=name)


def unclear_losses():
    data, target, w = shared(DATA, "data"), shared(TARGET, "target"), shared(np.zeros(3), "w")
    i, start = pt.lvector("i"), pt.lscalar("start")
    x, y = pt.matrix("x"), pt.vector("y")
    return {
        "no input": ((data @ w - target) ** 2).mean(),
        "an index": ((data[i] @ w - y) ** 2).mean(),
        "integers only": ((data[i] @ w - target[i]) ** 2).mean(),
        "slices": ((data[start : start + 5] @ w - target[start : start + 5]) ** 2).mean(),
        "a scalar": ((data @ w - target) ** 2).mean() * pt.scalar("rate"),
        "rows of data beside inputs": ((x @ w + (data[i] @ w) - y) ** 2).mean(),
    }


@pytest.mark.parametrize("case", unclear_losses())
def test_parameters_are_not_guessed_where_data_could_be_among_them(case):
    with pytest.raises(ValueError, match=r"^minimize: params is needed here: .*data.*w"):
        updates.minimize(unclear_losses()[case], rule=adam, train=None, **quiet)


def test_one_shared_variable_must_be_the_parameter():
    w = shared(np.zeros(3), "w")
    updates.minimize(
        ((DATA @ w - TARGET) ** 2).mean(), rule=adam, train=None, max_epochs=1, **quiet
    )
    assert w.get_value().all()


def test_parameters_of_equal_names_lose_no_monitor():
    x, y = pt.matrix("x"), pt.vector("y")
    first, second, third = shared(np.ones(3), "W"), shared(2.0, "W"), shared(1.0, None)
    loss = (((x @ first) * second + third - y) ** 2).mean()
    history = updates.minimize(
        loss, rule=adam, train=WHOLE, monitor_gradients=True, monitor_updates=True, max_epochs=1,
        **quiet,
    )  # fmt: skip
    names = ["W, params[0]", "W, params[1]", "params[2]"]
    expected = [f"{kind}({name})" for kind in ("grad", "update") for name in names]
    assert list(history.train) == ["epoch", "step", "loss", *expected]


def test_a_monitor_with_the_name_of_a_norm_is_refused():
    model = Regression()
    with pytest.raises(ValueError, match=r"^minimize: monitors has 'grad\(w\)'.*another name"):
        model.minimize(monitors={"grad(w)": model.w.sum()}, monitor_gradients=True)


@pytest.mark.parametrize("empty", [{}, [], (), OrderedDict()])
def test_further_updates_may_be_none_at_all(empty):
    np.testing.assert_array_equal(run(updates=empty)[1], run()[1])


def test_inputs_are_found_in_the_order_in_which_they_were_made():
    first = pt.vector("first")
    second = pt.vector("second")
    w = pytensor.shared(1.0, name="w")
    loss = ((second - w) ** 2 + 0 * first).mean()
    train = [np.zeros(4), np.full(4, 3.0)]
    rule = updates.sgd(learning_rate=0.5)
    updates.minimize(loss, rule=rule, train=train, max_epochs=1, **quiet)
    assert w.get_value() == 3
    updates.minimize(loss, [w], [second, first], rule=rule, train=train, max_epochs=1, **quiet)
    assert w.get_value() == 0


def test_rows_of_a_table_are_trained():
    index = pt.lvector("index")
    table = pytensor.shared(np.ones((4, 2)), name="table")
    rows = table[index]
    history = updates.minimize(
        (rows**2).sum(), [rows], rule=updates.sgd(learning_rate=0.25), train=[[[0, 2]]],
        monitor_updates=True, max_epochs=1, **quiet,
    )  # fmt: skip
    np.testing.assert_array_equal(table.get_value()[:, 0], [0.5, 1, 0.5, 1])
    assert history.train["update(table)"] == [1.0]


def test_validation_changes_nothing_that_training_reads():
    def state_after(**settings):
        model = Regression()
        rng = pytensor.shared(np.random.default_rng(0), name="rng")
        rng.default_update, noise = pt.random.normal(rng=rng, return_next_rng=True)
        model.minimize(loss=model.loss * (1 + 0.1 * noise), patience=None, **settings)
        return rng.get_value().bit_generator.state

    assert state_after(validate_every=1) == state_after(validate_every=5)


# --- When it stops, and with what ------------------------------------------------------------


def validated(losses, **settings):
    """Run with given validation losses; the parameter counts the steps, one in an epoch."""
    x = pt.vector("x")
    w = pytensor.shared(0.0, name="w")
    left = iter([[np.array([float(value)])] for value in losses])
    valid = type("Losses", (), {"__call__": lambda self: next(left), "__len__": lambda self: 1})()
    history = updates.minimize(
        x.mean() + 0 * w, rule=lambda loss, params: {w: w + 1}, train=[np.zeros(1)], valid=valid,
        **{"validate_every": 1, **settings}, **quiet,
    )  # fmt: skip
    return history, w.get_value().item()


ENDS = [
    # validation losses, settings, last epoch, epoch of the best parameters, what stopped it
    ([3, 2, 1, 1], {"patience": 0}, 3, 2, "patience"),
    ([3, 2, 1, 4, 5], {"patience": 1}, 4, 2, "patience"),
    ([3, 2, 4, 1, 5, 6, 7], {"patience": 2}, 6, 3, "patience"),
    ([3, 2, 2.5, 2.4, 2.3], {"patience": 2}, 4, 1, "patience"),
    ([4, 3.9, 3.8], {"patience": 1, "min_improvement": 0.1}, 2, 2, "patience"),
    (
        [4, 3.7, 3.5, 3.3],
        {"patience": 1, "min_improvement": 0.1, "max_epochs": 3},
        3,
        3,
        "max_epochs",
    ),
    ([-1, -1.05, -1.2, -1.25, -1.3], {"patience": 1, "min_improvement": 0.1}, 4, 4, "patience"),
    ([0, 0, -1, 5, 5], {"patience": 1}, 4, 2, "patience"),
    ([3, 2, 2, 2], {"patience": None, "max_epochs": 3}, 3, 1, "max_epochs"),
    ([3, 4, 2], {"patience": None, "max_updates": 2}, 2, 2, "max_updates"),
    (
        [9, 5, 6, 4],
        {"validate_every": 10, "max_epochs": 25, "patience": None},
        25,
        25,
        "max_epochs",
    ),
    (
        [9, 5, 6, 7],
        {"validate_every": 10, "max_epochs": 25, "patience": None},
        25,
        10,
        "max_epochs",
    ),
    ([9, 5, 6], {"validate_every": 10, "max_epochs": 100, "patience": 0}, 20, 10, "patience"),
]


@pytest.mark.parametrize(("losses", "settings", "epochs", "best", "stopped"), ENDS)
def test_it_ends_when_downhill_would_and_leaves_the_best(losses, settings, epochs, best, stopped):
    history, w = validated(losses, **settings)
    assert (history.train["epoch"][-1], history.stopped) == (epochs, stopped)
    assert history.valid["loss"] == losses[: len(history.valid["loss"])]
    assert (w, history.best["epoch"], history.best["loss"]) == (best, best, min(losses))


def flawed(values):
    """Return a model, and a loss and data for which validations are multiplied by some values."""
    model = Regression()
    factor = pytensor.shared(1.0, name="factor")
    values = iter(values)

    class Valid:
        def __iter__(self):
            factor.set_value(next(values))
            yield WHOLE
            factor.set_value(1.0)

    return model, model.loss * factor, Valid()


NAN = np.nan
ALWAYS = [NAN] * 99


@pytest.mark.parametrize("is_guarded", [False, True])
@pytest.mark.parametrize(
    ("factors", "kept"),
    [
        ([1, NAN, 1, *ALWAYS], "best"),
        ([1, 1, *ALWAYS], "best"),
        ([1, *ALWAYS], "last"),
        ([1, np.inf, -np.inf, *ALWAYS], "last"),
        ([NAN, 1, *ALWAYS], "best"),
        (ALWAYS, "last"),
    ],
)
def test_nan_in_validation_throws_no_training_away(factors, kept, is_guarded):
    def rule(loss, params):
        return updates.apply_if_finite(adam(loss, params)) if is_guarded else adam(loss, params)

    model, loss, valid = flawed(factors)
    settings = {"rule": rule, "params": [model.w, model.b], "valid": valid, "validate_every": 1}
    settings |= {"loss": loss, "train": [WHOLE], "max_epochs": 8, "patience": 2}
    if np.isnan(factors[0]) and not is_guarded:  # nothing is lost yet
        with pytest.raises(FloatingPointError, match=r"after step 0 .*not finite in valid"):
            model.minimize(**settings)
        return
    with pytest.warns(RuntimeWarning, match="^minimize: ") as caught:
        history = model.minimize(**settings)
    steps = history.best.get("step", 0) if kept == "best" else 8
    expected = Regression()
    expected.minimize(train=[WHOLE], max_epochs=steps)
    np.testing.assert_array_equal(model.values, expected.values)
    assert history.stopped == "max_epochs"
    assert len(caught) == 1 + (kept == "last")


def test_without_a_limit_validations_that_are_not_finite_end_by_patience():
    model, loss, valid = flawed([1, *ALWAYS])
    settings = {"valid": valid, "validate_every": 1, "patience": 2, "max_epochs": None}
    with pytest.warns(RuntimeWarning):
        history = model.minimize(loss=loss, params=[model.w, model.b], **settings)
    assert history.stopped == "patience"
    assert len(history.valid["loss"]) == 4


def test_running_means_return_to_the_best_with_the_parameters():
    mean = pytensor.shared(0.0, name="mean")
    validated([3, 1, 2], updates={mean: mean + 10}, max_epochs=2)
    assert mean.get_value() == 10


def at_step(number, action, batches=BATCHES):
    """Give batches without end, and do something before one of them."""
    for index in itertools.count():
        if index == number:
            action()
        yield batches[index % len(batches)]


def press_ctrl_c():
    os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_waits_for_the_step_and_leaves_the_best_parameters_and_the_history():
    model = Regression()
    history = model.minimize(train=at_step(7, press_ctrl_c), train_batches=3, valid=WHOLE)
    assert history.stopped == "Ctrl-C"
    assert history.train["epoch"] == [1, 2, 3]
    assert history.train["step"] == [3, 6, 8]
    assert history.valid["step"] == [0, 8]
    best = min(history.valid["loss"])
    assert np.isclose(
        ((DATA @ model.w.get_value() + model.b.get_value() - TARGET) ** 2).mean(), best
    )
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_ctrl_c_raises_at_once_and_leaves_the_best_parameters():
    def twice():
        press_ctrl_c()
        press_ctrl_c()

    model = Regression()
    with pytest.raises(KeyboardInterrupt):
        model.minimize(train=at_step(7, twice), train_batches=3, valid=WHOLE, validate_every=1)
    _, expected = run(train=at_step(-1, None), train_batches=3, valid=WHOLE, max_epochs=2)
    np.testing.assert_array_equal(model.values, expected)


def test_an_error_in_the_data_leaves_the_best_parameters():
    def fail():
        raise OSError("the disk is gone")

    model = Regression()
    with pytest.raises(OSError, match="the disk is gone"):
        model.minimize(train=at_step(7, fail), train_batches=3, valid=WHOLE, validate_every=1)
    _, expected = run(train=at_step(-1, None), train_batches=3, valid=WHOLE, max_epochs=2)
    np.testing.assert_array_equal(model.values, expected)


def test_who_leaves_iterate_early_keeps_the_parameters_of_that_moment():
    model = Regression()
    settings = {"rule": updates.sgd(learning_rate=2.0), "validate_every": 1, **quiet}
    for training, validation in updates.iterate(model.loss, train=WHOLE, **settings):
        assert training["epoch"] == validation["epoch"]
        if training["epoch"] == 3:
            break
    assert np.isclose(
        ((DATA @ model.w.get_value() + model.b.get_value() - TARGET) ** 2).mean(),
        validation["loss"],
    )
    assert abs(model.values).min() > 0


def test_iterate_yields_what_minimize_records():
    model = Regression()
    epochs = updates.iterate(model.loss, rule=adam, train=WHOLE, max_epochs=12, **quiet)
    pairs = []
    while True:
        try:
            pairs.append(next(epochs))
        except StopIteration as end:
            history = end.value
            break
    assert history == run(batch_size=32, max_epochs=12)[0]
    assert [training["loss"] for training, _ in pairs] == history.train["loss"]
    assert [validation["epoch"] for _, validation in pairs] == [0] * 9 + [10, 10, 12]


def bad(values=np.nan):
    """Make batches of which the fifth has a bad number."""
    batches = [[x.copy(), y.copy()] for x, y in BATCHES * 2]
    batches[4][1][0] = values
    return batches


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_stops_with_epoch_step_and_gradient(value):
    model = Regression()
    with pytest.raises(FloatingPointError) as caught:
        model.minimize(train=bad(value), train_batches=3, valid=WHOLE, validate_every=1)
    assert re.fullmatch(
        rf"minimize: the loss is {value} in epoch 2, step 2 \(step 5 of all\); the gradient of 'w' "
        r"is not finite; the parameters are the best ones \(after step 3\) again. .*",
        str(caught.value),
    )
    _, expected = run(train=BATCHES, valid=WHOLE, max_epochs=1)
    np.testing.assert_array_equal(model.values, expected)


def test_the_gradient_that_was_not_finite_before_the_loss_is_named():
    x = pt.scalar("x")
    u, v = pytensor.shared(1.0, name="u"), pytensor.shared(0.0, name="v")
    loss = u**2 + pt.sqrt(v * x)  # finite at 0, with an infinite slope
    batches = [[0.0], [0.0], [1.0], [1.0]]
    with pytest.raises(FloatingPointError, match="'v' was already not finite one step before"):
        updates.minimize(
            loss, rule=updates.sgd(learning_rate=0.1), train=batches, valid=[[0.0]], **quiet
        )
    assert (u.get_value(), v.get_value()) == (1, 0)


def test_a_guarded_rule_goes_on_and_its_skipped_steps_do_not_count():
    def guarded(loss, params):
        return updates.apply_if_finite(adam(loss, params))

    history, found = run(rule=guarded, train=bad(), train_batches=6, valid=WHOLE, max_epochs=1)
    assert np.isfinite(history.train["loss"]).all()
    healthy = [batch for index, batch in enumerate(BATCHES * 2) if index != 4]
    _, expected = run(train=healthy, valid=WHOLE, max_epochs=1)
    np.testing.assert_array_equal(found, expected)


# --- Checkpoints -----------------------------------------------------------------------------


class KilledError(Exception):
    pass


def kill():
    raise KilledError


def noisy_rule(loss, params):
    return updates.apply_ema(updates.noisy_sgd(loss, params, updates.cosine_decay(0.1, 40)))


DATA_FORMS = {
    "arrays": lambda: {"train": WHOLE},
    "mini-batches of part of a pass": lambda: {"train": WHOLE, "train_batches": 2},
    "a callable": lambda: {"train": counted(3), "valid": WHOLE},
    "a callable that validates as well": lambda: {"train": counted(3)},
    "an endless generator": lambda: {
        "train": at_step(-1, None), "train_batches": 2, "valid": WHOLE,
    },
}  # fmt: skip


@pytest.mark.parametrize(
    "form",
    [
        form if form in ("arrays", "an endless generator") else pytest.param(form, marks=slow)
        for form in DATA_FORMS
    ],
)
def test_a_run_that_stops_at_any_step_and_resumes_ends_bit_for_bit_alike(form, tmp_path):
    settings = {"rule": noisy_rule, "validate_every": 2, "max_epochs": 5, "monitor_updates": True}
    expected = run(**settings, **DATA_FORMS[form]())
    path = tmp_path / "run.npz"
    steps = expected[0].train["step"][-1]
    for last in [1, 2, 3, 7, steps - 1, steps]:
        history, found = run(
            **settings, **DATA_FORMS[form](), checkpoint=path, max_updates=last,
        )  # fmt: skip
    assert history == expected[0]
    np.testing.assert_array_equal(found, expected[1])
    again = run(**settings, **DATA_FORMS[form](), checkpoint=path)
    assert again[0] == expected[0]
    np.testing.assert_array_equal(again[1], expected[1])


def test_a_run_that_is_killed_resumes_from_the_last_save(tmp_path):
    expected = run(rule=noisy_rule, train=BATCHES, validate_every=2)
    path, model = tmp_path / "run.npz", None
    for step in (0, 1, 5, 11):
        model = Regression()
        train = [[*batch] for batch in BATCHES]
        with pytest.raises(KilledError):
            model.minimize(
                rule=noisy_rule, train=Dying(train, step), valid=train, validate_every=2,
                checkpoint=path, checkpoint_every=0,
            )  # fmt: skip
    history, found = run(rule=noisy_rule, train=BATCHES, validate_every=2, checkpoint=path)
    assert history == expected[0]
    np.testing.assert_array_equal(found, expected[1])


class Dying:
    """Batches again and again, until one that kills."""

    def __init__(self, batches, last):
        self.batches, self.left = batches, last

    def __iter__(self):
        for batch in self.batches:
            if not self.left:
                raise KilledError
            self.left -= 1
            yield batch


def test_a_finished_run_returns_at_once_and_a_longer_one_goes_on(tmp_path):
    path = tmp_path / "run.npz"
    short = run(max_epochs=3, checkpoint=path)
    stamp = path.stat().st_mtime_ns
    assert run(max_epochs=3, checkpoint=path)[0] == short[0]
    assert path.stat().st_mtime_ns >= stamp
    longer, expected = run(max_epochs=12, checkpoint=path), run(max_epochs=12)
    assert longer[0] == expected[0]
    np.testing.assert_array_equal(longer[1], expected[1])


def test_ctrl_c_saves_and_the_same_call_goes_on(tmp_path):
    settings = {"train_batches": 3, "valid": WHOLE, "checkpoint": tmp_path / "run.npz"}
    stopped, _ = run(train=at_step(7, press_ctrl_c), **settings)
    assert stopped.stopped == "Ctrl-C"
    history, found = run(train=at_step(-1, None), **settings)
    expected = run(train=at_step(-1, None), train_batches=3, valid=WHOLE)
    assert history == expected[0]
    np.testing.assert_array_equal(found, expected[1])


OTHER_RUNS = [
    ({"batch_size": 5}, "batch_size = 10, and now it is 5"),
    ({"seed": 1}, "seed = 0, and now it is 1"),
    ({"train": [DATA[:20], TARGET[:20]]}, r"rows = \[25, 25\], and now it is \[20, 20\]"),
    ({"validate_every": 3}, "validate_every = 10, and now it is 3"),
    ({"monitor_updates": True}, "monitors = "),
    ({"rule": updates.sgd(learning_rate=0.1)}, "unknown 'w/adam/first_moment'"),
]


@pytest.mark.parametrize(("settings", "message"), OTHER_RUNS, ids=range(len(OTHER_RUNS)))
def test_the_checkpoint_of_another_run_is_refused_and_nothing_changes(settings, message, tmp_path):
    path = tmp_path / "run.npz"
    run(checkpoint=path)
    content, model = path.read_bytes(), Regression()
    with pytest.raises(updates.CheckpointError, match=f"^minimize: .*run.npz.*{message}"):
        model.minimize(**settings, checkpoint=path)
    assert path.read_bytes() == content
    assert not model.values.any()


def test_a_file_that_is_no_checkpoint_of_training_is_refused(tmp_path):
    path = tmp_path / "run.npz"
    path.write_bytes(b"something else")
    with pytest.raises(updates.CheckpointError, match=r"^minimize: .*damaged or no checkpoint"):
        run(checkpoint=path)
    with pytest.raises(FileNotFoundError, match=r"^minimize: checkpoint .*nowhere"):
        run(checkpoint=tmp_path / "nowhere" / "run.npz")
    with pytest.raises(IsADirectoryError, match=r"^minimize: checkpoint must be a file"):
        run(checkpoint=tmp_path)


@slow
def test_a_training_program_that_is_killed_ends_like_one_that_was_not(tmp_path):
    path = tmp_path / "run.npz"
    program = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_training import *
checkpoint = dict(checkpoint={str(path)!r}, checkpoint_every=0.01) if sys.argv[1:] else dict()
settings = dict(max_epochs=5000, patience=None, validate_every=70, monitor_updates=True, mode=None)
history, found = run(rule=noisy_rule, **settings, **checkpoint)
print(history.train, history.valid, found.tolist())
"""

    def start(*arguments):
        command = [sys.executable, "-c", program, *arguments]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    expected, _ = start().communicate()
    for seconds in (0.05, 0.3, 0.1):
        process, before = start("resumes"), path.exists() and path.stat().st_mtime_ns
        while not path.exists() or path.stat().st_mtime_ns == before:
            assert process.poll() is None
            time.sleep(0.01)
        time.sleep(seconds)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        process.communicate()
    assert start("resumes").communicate()[0] == expected


# --- What is shown ---------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_nothing_is_shown_without_progress(capfd):
    run(progress=False)
    assert capfd.readouterr() == ("", "")


def test_a_log_file_gets_lines_and_no_bar(capsys, monkeypatch):
    monkeypatch.setattr(progress, "LINE_SECONDS", 0)
    history, _ = run(progress=True, max_epochs=2)
    *lines, last = capsys.readouterr().err.splitlines()
    assert len(lines) == 6
    pattern = r"minimize: epoch \d, loss [\d.e-]+, valid [\d.e-]+, \d+ steps, [\d.e+]+ steps/s"
    assert all(re.fullmatch(pattern, line) for line in lines)
    assert last == f"minimize: {history}"
    monkeypatch.undo()
    run(progress=True, max_epochs=2)
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_terminal_gets_a_bar_with_losses_and_speed(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(progress, "BAR_SECONDS", 0)
    monkeypatch.setattr(sys, "stderr", terminal)
    history, _ = run(progress=True, max_epochs=4)
    *_, bar, last, _ = re.split("[\r\n]", terminal.getvalue())
    assert "100%" in bar
    assert "12/12" in bar
    assert f"epoch 4, loss {history.train['loss'][-1]:.4g}, valid" in bar
    assert "steps/s" in bar
    assert last == f"minimize: {history}"


def test_a_terminal_without_tqdm_gets_the_lines_of_a_log_file(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(progress, "LINE_SECONDS", 0)
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    history, _ = run(progress=True, max_epochs=2)
    *lines, last = terminal.getvalue().splitlines()
    assert len(lines) == 6
    assert all(line.startswith("minimize: epoch ") for line in lines)
    assert last == f"minimize: {history}"
    assert "\r" not in terminal.getvalue()


def test_the_history_tells_and_draws_itself(tmp_path):
    history, _ = run(max_epochs=12)
    text = f"12 epochs, 36 steps, best validation loss {history.best['loss']:.6g} after step 36"
    assert str(history) == f"{text}, stopped by max_epochs"
    with pytest.raises(ValueError, match="no monitor 'accuracy', only loss"):
        history.plot("accuracy")
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    axes = history.plot()
    training, validation, best = axes.get_lines()
    np.testing.assert_array_equal(
        training.get_data(), [history.train["step"], history.train["loss"]]
    )
    np.testing.assert_array_equal(validation.get_xdata(), [0, 30, 36])
    assert best.get_ydata() == [history.best["loss"]]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("step", "loss")
    axes.figure.savefig(tmp_path / "curves.png")
    pyplot.close(axes.figure)
    other = pyplot.figure().subplots()
    assert history.plot("loss", axes=other) is other
    pyplot.close(other.figure)


# --- downhill --------------------------------------------------------------------------------


def factorization():
    """Make the example of downhill's README."""
    u, v = (pytensor.shared(np.array(GOLDEN["given"][name]), name=name) for name in ("u", "v"))
    z = pt.matrix("z")
    err = (z - u @ v) ** 2
    loss = err.mean() + abs(u).mean() + (v * v).mean()
    monitors = {
        "err": err.mean(),
        "|u|<0.1": (abs(u) < 0.1).mean(),
        "|v|<0.1": (abs(v) < 0.1).mean(),
    }

    def rule(loss, params):
        grads = updates.clip_by_norm(updates.get_or_compute_grads(loss, params), 1)
        return updates.graves_rmsprop(grads, params, learning_rate=0.1)

    settings = {"rule": rule, "monitors": monitors, "patience": 0, "monitor_gradients": True}
    return loss, u, v, {**settings, "batch_size": 20, **quiet}


def test_the_factorization_of_downhill_s_readme_comes_to_the_same():
    loss, u, v, settings = factorization()
    golden = GOLDEN["minimize"]
    history = updates.minimize(loss, train=[np.array(GOLDEN["given"]["y"])], **settings)
    np.testing.assert_allclose(u.get_value(), golden["u"], rtol=1e-9)
    np.testing.assert_allclose(v.get_value(), golden["v"], rtol=1e-9)
    for name, value in golden["training"].items():
        power = 2 if name.startswith("grad") else 1  # downhill has the squares of norms
        np.testing.assert_allclose(history.train[name][-1] ** power, value, rtol=1e-9)
    for name, value in golden["validation"].items():
        if not name.startswith("grad"):
            np.testing.assert_allclose(history.best[name], value, rtol=1e-9)


def test_iterating_downhill_s_readme_gives_the_same_losses():
    loss, _, _, settings = factorization()
    epochs = updates.iterate(loss, train=[[np.array(GOLDEN["given"]["y"])]], **settings)
    losses = [training["loss"] for training, _ in epochs]
    np.testing.assert_allclose(losses, GOLDEN["iterate"]["losses"], rtol=1e-9)


def test_the_rosenbrock_walk_of_downhill_s_documentation_is_the_same():
    x = pytensor.shared(np.array([-1.0, 0.0]), name="x")
    loss = (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()

    def nag(loss, params, learning_rate=0.001, momentum=0.95):
        grads = updates.clip_by_norm(updates.get_or_compute_grads(loss, params), 100)
        # What downhill calls NAG is momentum of the square of its number.
        return updates.momentum(grads, params, learning_rate * (1 + momentum), momentum**2)

    monitors = {"x": x[:-1].sum(), "y": x[1:].sum()}
    walk = []
    for at, _ in updates.iterate(loss, rule=nag, train=[[]], monitors=monitors, **quiet):
        walk.append([at["x"], at["y"], at["loss"]])
        if len(walk) == 300:
            break
    np.testing.assert_allclose(walk, GOLDEN["walk"], rtol=1e-6)


# --- Arguments -------------------------------------------------------------------------------


def test_minimize_and_iterate_take_the_same_arguments():
    signatures = [inspect.signature(function) for function in (updates.minimize, updates.iterate)]
    assert signatures[0].parameters == signatures[1].parameters
    assert signatures[0].return_annotation is updates.History
    loss, params, inputs, rule = itertools.islice(signatures[0].parameters.values(), 4)
    assert [each.kind.name for each in (loss, params, inputs)] == ["POSITIONAL_OR_KEYWORD"] * 3
    assert (rule.kind.name, rule.default) == ("KEYWORD_ONLY", inspect.Parameter.empty)
    assert signatures[0].parameters["batch_size"].default == 32
    assert get_type_hints(updates.minimize).keys() == {*signatures[0].parameters, "return"}


def test_the_documentation_of_arguments_and_errors_is_the_same_and_complete_in_both():
    def sections(function):
        parts = re.split(r"\n\n([A-Z][A-Za-z ]+)\n-+\n", inspect.getdoc(function))
        return dict(zip(parts[1::2], parts[2::2], strict=True))

    minimize, iterate = sections(updates.minimize), sections(updates.iterate)
    titles = ["Parameters", "Returns", "Raises", "See Also", "References", "Examples"]
    assert list(minimize) == titles
    assert [title for title in iterate if title != "Yields"] == titles
    same = [title for title in titles if minimize[title] == iterate[title]]
    assert same == ["Parameters", "Raises", "References"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "minimize: rule is required, for example rule=updates.sgd(learning_rate=0.01)"),
        ({"rule": adam}, "minimize: train is required"),
        (
            {"rule": adam, "train": WHOLE, "patiense": 3},
            "minimize has no hyperparameter 'patiense'; did you mean patience?",
        ),
        (
            {"rule": adam, "train": WHOLE, "loss": 3},
            "minimize got loss twice, by position and by name",
        ),
    ],
)
def test_arguments_that_are_missing_or_unknown_are_refused(arguments, message):
    with pytest.raises(TypeError, match=re.escape(message)):
        updates.minimize(Regression().loss, **arguments)


def test_a_rule_that_needs_another_input_is_refused():
    rate = pt.scalar("rate")
    with pytest.raises(ValueError, match="minimize: the updates of rule need the input rate"):
        run(rule=updates.sgd(learning_rate=rate))


def test_two_next_values_of_one_variable_are_refused():
    model = Regression()
    with pytest.raises(ValueError, match="minimize: w gets a next value from rule and another"):
        updates.minimize(
            model.loss, [model.w], rule=adam, train=WHOLE, updates={model.w: 2 * model.w}, **quiet
        )


@slow
@pytest.mark.filterwarnings("ignore:Skipping Assert:UserWarning")  # JAX knows no shapes here
@pytest.mark.parametrize("mode", ["NUMBA", "CVM", "JAX"])
def test_it_trains_on_every_backend(mode):
    if mode == "JAX":
        pytest.importorskip("jax")
    history, found = run(mode=mode, max_epochs=20)
    expected = run(max_epochs=20)
    np.testing.assert_allclose(found, expected[1], rtol=1e-6)
    np.testing.assert_allclose(history.train["loss"], expected[0].train["loss"], rtol=1e-6)
