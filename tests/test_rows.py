"""``W[index]`` in the place of a parameter: only those rows of the table and its state change."""

from functools import partial

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from catalogue import AS_WRITTEN, RULES, arrays, run
from pytensor.compile.mode import get_mode

import updates

BY_ELEMENT = [row for row in RULES if not row.whole]
WHOLE = {row.name: row for row in RULES if row.whole}.values()
BATCHES = [[0, 3, -1, 3, 5], [1, 1, 1, 2, 1], [-6, 0, 4, 4, 2]]
index = pt.lvector("index")


def table(shape=(6, 3), dtype="float64", name="table"):
    return pytensor.shared(np.random.default_rng(0).normal(size=shape).astype(dtype), name=name)


def loss_of_rows(rows):
    weights = np.random.default_rng(1).normal(size=(5, 1))
    weights = weights.reshape((5,) + (1,) * (rows.ndim - 1))
    return (pt.tanh(rows) * weights).sum() + 0.1 * (rows**2).sum()


def trained(rule, batches=BATCHES, *, dense=False, mode=AS_WRITTEN, **kwargs):
    """Train a table by lookups, as rows or as a whole, and return it and its state by name."""
    whole = table(**kwargs)
    rows = whole[index]
    result = rule(loss_of_rows(rows), whole if dense else rows)
    step = pytensor.function([index], updates=result, mode=mode)
    for batch in batches:
        step(batch)
    return arrays(result)


@pytest.mark.parametrize("kwargs", [{}, {"shape": (6,)}, {"shape": (6, 2, 3), "dtype": "float32"}])
@pytest.mark.parametrize(
    "rule",
    [
        updates.sgd(learning_rate=0.1),
        updates.adagrad(learning_rate=0.1),
        updates.adagrad(epsilon=0.0, epsilon_outside=1e-6),
    ],
    ids=repr,
)
def test_sgd_and_adagrad_equal_the_dense_result(rule, kwargs):
    by_rows, dense = trained(rule, **kwargs), trained(rule, dense=True, **kwargs)
    rtol = 1e-4 if kwargs.get("dtype") == "float32" else 1e-12
    for name, value in dense.items():
        np.testing.assert_allclose(by_rows[name], value, rtol=rtol, err_msg=name)


@pytest.mark.parametrize("row", BY_ELEMENT, ids=[repr(row.rule) for row in BY_ELEMENT])
def test_other_rows_and_their_state_rest_and_repeated_rows_are_combined(row):
    repeated = [1, 1, 1, 2, 1]
    # Noise would be drawn for each repetition.
    rule = row.rule(eta=0.0) if "eta" in row.rule.hyperparameters else row.rule
    after = trained(rule, [repeated])
    # The same with each row once, and the gradients of the repeated one summed by hand.
    whole = table()
    rows = whole[np.array(repeated)]
    grads = pytensor.grad(loss_of_rows(rows), rows).eval()
    summed = pt.constant(np.stack([grads[[0, 1, 2, 4]].sum(axis=0), grads[3]]))
    result = rule([summed], [whole[np.array([1, 2])]])
    pytensor.function([], updates=result, mode=AS_WRITTEN)()
    for variable in result:
        if isinstance(variable.get_value(), np.ndarray):
            expected = variable.get_value()
            np.testing.assert_allclose(after[variable.name], expected, 1e-12, 1e-15, str(variable))
            if variable.ndim:
                start = table().get_value() if variable is whole else expected
                np.testing.assert_array_equal(after[variable.name][3:], start[3:])


@pytest.mark.parametrize("mode", ["FAST_COMPILE", "NUMBA", "JAX"])
@pytest.mark.parametrize(
    "rule",
    [
        updates.adagrad(learning_rate=0.1),
        pytest.param(updates.adam(learning_rate=0.1), marks=pytest.mark.slow),
    ],
    ids=repr,
)
def test_rows_on_other_backends(rule, mode):
    if mode == "JAX":
        pytest.importorskip("jax", reason="JAX is not installed")
    expected, got = trained(rule), trained(rule, mode=get_mode(mode))
    for name, value in expected.items():
        np.testing.assert_allclose(got[name], value, rtol=1e-10, err_msg=name)


def test_an_index_that_is_known_may_repeat_rows_too():
    by_rows, dense = table(), table(name="dense")
    known = np.array(BATCHES[0])
    run(updates.adagrad(loss_of_rows(dense[known]), dense, 0.1))
    rows = by_rows[known]
    run(updates.adagrad(loss_of_rows(rows), rows, 0.1), mode=get_mode("NUMBA"))
    np.testing.assert_allclose(by_rows.get_value(), dense.get_value(), rtol=1e-12)


@pytest.mark.parametrize("known", [False, True], ids=["symbolic", "constant"])
@pytest.mark.parametrize(
    "look_up",
    [lambda w, i: w[i], lambda w, i: w[i, :], lambda w, i: w[i.reshape((2, 1, 2))]],
    ids=["matrix", "with a full slice", "tensor"],
)
def test_an_index_may_have_any_shape(look_up, known):
    words = np.array([[0, 3], [-1, 3]])
    context = pt.constant(words) if known else pt.lmatrix("context")
    by_rows, dense = table(), table(name="dense")
    weights = np.random.default_rng(1).normal(size=3)
    for variable in (by_rows, dense):
        rows = look_up(variable, context)
        loss = (pt.tanh(rows) @ weights).sum() + (rows**2).sum()
        result = updates.adagrad(loss, rows if variable is by_rows else dense, 0.1)
        step = pytensor.function([] if known else [context], updates=result, mode=AS_WRITTEN)
        step(*([] if known else [words]))
    np.testing.assert_allclose(by_rows.get_value(), dense.get_value(), rtol=1e-12)


@pytest.mark.parametrize("use", [lambda w: w.shape[0], pytensor.gradient.disconnected_grad])
def test_what_has_no_gradient_for_the_table_is_no_loss_of_it(use):
    rows = w[index]
    assert list(updates.sgd((rows**2).sum() * pt.sum(use(w)), [rows], 0.1)) == [w]


def test_no_rows_at_all_is_a_step_without_effect():
    whole = table()
    rows = whole[index]
    result = updates.adam((rows**2).sum(), rows, 0.1)
    pytensor.function([index], updates=result, mode=AS_WRITTEN)(np.zeros(0, dtype="int64"))
    np.testing.assert_array_equal(whole.get_value(), table().get_value())


def test_gradients_of_rows_may_be_clipped_on_their_way():
    whole, alone = table(), table()
    for variable, clip in ((whole, True), (alone, False)):
        rows = variable[index]
        grads = updates.get_or_compute_grads(loss_of_rows(rows), [rows])
        norm = pt.sqrt((grads[0] ** 2).sum())
        grads = updates.clip_by_global_norm(grads, 0.1) if clip else [grads[0] * 0.1 / norm]
        result = updates.adagrad(grads, [rows], 0.1)
        pytensor.function([index], updates=result, mode=AS_WRITTEN)(BATCHES[0])
    np.testing.assert_allclose(whole.get_value(), alone.get_value(), rtol=1e-13)


def test_rows_train_beside_whole_parameters_with_one_clock():
    whole, bias = table(dtype="float32"), pytensor.shared(np.ones(3), name="bias")
    rows = whole[index]
    result = updates.adam(((rows + bias) ** 2).sum(), [rows, bias], lambda step: 0.1 / (step + 1))
    step = pytensor.function([index], updates=result, mode=AS_WRITTEN)
    step([1, 1])
    assert [v.name for v in result].count("adam/step") == 1
    assert whole.get_value().dtype == "float32"
    assert (bias.get_value() != 1).all()


w = table()
rows = w[index]
other = w[index + 1]


def given(loss):
    """Train by a gradient that the user computed."""
    return updates.sgd([2.0 * pytensor.grad(loss, rows)], [rows], 0.1)


REFUSED = {
    **{
        f"{name}, {how}": (partial(rule, (rows**2).sum() + more), ValueError, words)
        for name, more in {
            "a penalty on the table": 0.5 * (w**2).sum(),
            "a tied output layer": pt.tanh(rows @ w.T).sum(),
            "a second look-up": (other**2).sum(),
            "the same look-up once more": (w[index] ** 3).sum(),
            "a slice beside it": w[:2].sum(),
        }.items()
        for how, rule in {
            "loss": lambda loss: updates.sgd(loss, [rows], 0.1),
            "gradients": lambda loss: updates.adam(
                updates.clip_by_global_norm(updates.get_or_compute_grads(loss, [rows]), 1), [rows]
            ),
            "gradients by hand": given,
        }.items()
        for words in [["params[0]", "table", "in other ways", "pt.concatenate"]]
    },
    "rows in another shape": (
        lambda: updates.sgd((rows**2).sum(), [rows.reshape((-1,))], 0.1),
        TypeError,
        ["params[0]", "rows of table in another shape"],
    ),
    "one row": (
        lambda: updates.sgd((w[1] ** 2).sum(), [w[1]], 0.1),
        TypeError,
        ["one row of 'table'", "table[[number]]"],
    ),
    "accumulated": (
        lambda: updates.accumulate_gradients((rows**2).sum(), rows, updates.sgd(), 2),
        TypeError,
        ["params[0] is rows of parameter 'table'", "the table itself"],
    ),
    "the same table twice": (
        lambda: updates.sgd((w[index] * w[index + 1]).sum(), [w[index], w[index + 1]], 0.1),
        ValueError,
        ["'table'", "params[1]", "params[0]", "pt.concatenate"],
    ),
    "a table and its rows": (
        lambda: updates.sgd((w[index]).sum(), [w, w[index]], 0.1),
        ValueError,
        ["'table'", "params[1]", "params[0]"],
    ),
    "a loss built on other rows": (
        lambda: updates.sgd((w[index]).sum(), [w[index]], 0.1),
        ValueError,
        ["'table'", "does not depend", "the same W[index] object"],
    ),
    "a slice": (
        lambda: updates.sgd((w[1:3]).sum(), [w[1:3]], 0.1),
        TypeError,
        ["params[0]", "shared variable"],
    ),
    "columns": (
        lambda: updates.sgd((w[:, index]).sum(), [w[:, index]], 0.1),
        TypeError,
        ["params[0]", "shared variable"],
    ),
    "a mask": (
        lambda: updates.sgd((w[w[:, 0] > 0]).sum(), [w[w[:, 0] > 0]], 0.1),
        TypeError,
        ["params[0]", "shared variable"],
    ),
    "rows of an expression": (
        lambda: updates.sgd(((2 * w)[index]).sum(), [(2 * w)[index]], 0.1),
        TypeError,
        ["params[0]", "shared variable"],
    ),
    "rows of integers": (
        lambda: updates.sgd(w.sum(), [pytensor.shared(np.arange(3), name="counts")[index]], 0.1),
        TypeError,
        ["'counts'", "floating-point"],
    ),
    "a transform": (
        lambda: updates.apply_momentum(updates.sgd(w.sum(), w, 0.1), w[index]),
        TypeError,
        ["rows of parameter 'table'", "the table itself"],
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_table_of_rows_is_refused(case):
    call, error, words = REFUSED[case]
    with pytest.raises(error) as caught:
        call()
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("row", WHOLE, ids=lambda row: row.name)
def test_rules_that_look_at_whole_tensors_refuse_rows(row):
    rows = w[index]
    with pytest.raises(TypeError, match=rf"^{row.name}: params\[0\] is rows of parameter 'table'"):
        row.rule((rows**2).sum(), rows)
