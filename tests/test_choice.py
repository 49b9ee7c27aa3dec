"""Choices of parameters: which of them decay, and a factor of its own for each gradient."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from catalogue import RULES, arrays, assert_same_bits, run

import updates
from updates.declaration import declaration_of


def largest(gradient):
    return float(abs(gradient.eval(mode="FAST_COMPILE")).max())


def model():
    W, b, table = (
        pytensor.shared(np.full(shape, 0.5), name=name)
        for shape, name in (((3, 2), "W"), ((2,), "b"), ((4, 2), "table"))
    )
    rows = table[np.array([1, 3, 1])]
    loss = ((rows @ W.T)[:, :2] * b).sum() + ((W - 1) ** 2).sum() + ((rows - 2) ** 2).sum()
    return loss, [W, b, table], rows


def with_decay(function):
    return "mask" in declaration_of(function).kinds


DECAYING = {row.name: row.rule for row in RULES if with_decay(row.rule.rule)}
MATRICES = {
    "bools": lambda: [True, False, True],
    "an array": lambda: np.array([True, False, True]),
    "names": lambda: ["W", "table"],
    "a set": lambda: {"table", "W"},
    "an iterator": lambda: iter(["table", "W"]),
    "a function": lambda: lambda param: param.ndim > 1,
}


# Rules in which one weight decay of all parameters is part of how long the step is.
OF_ALL = {"momo", "momo_adam", "mechanize"}


def test_every_rule_and_transform_with_weight_decay_takes_a_mask():
    functions = [getattr(updates, name) for name in updates.__all__]
    declared = [f for f in functions if hasattr(f, "__declaration__")]
    decaying = [f for f in declared if "weight_decay" in declaration_of(f).kinds]
    assert len(decaying) > 15
    assert {f.__name__ for f in decaying if not with_decay(f)} == OF_ALL
    rules = {f.__name__ for f in decaying} - OF_ALL - {"add_weight_decay", "apply_weight_decay"}
    assert DECAYING.keys() == rules


def trained(dictionary):
    run(dictionary)
    return arrays(dictionary)


@pytest.mark.parametrize("name", DECAYING)
def test_what_the_mask_leaves_out_does_not_decay(name):
    """Each parameter has a gradient of its own, so that each can be followed by itself."""

    def decayed(weight_decay, mask):
        params = [pytensor.shared(np.array([[0.5, -1.0], [2.0, 0.1]]), name=key) for key in "uv"]
        loss = sum(((p - 1) ** 2).sum() for p in params)
        rule = DECAYING[name](weight_decay=weight_decay, mask=mask)
        return trained(rule(loss, params))

    none, both = decayed(0.0, None), decayed(0.1, None)
    first = decayed(0.1, ["u"])
    assert (none["u"] != both["u"]).any()
    if name not in (
        "dog",
        "dowg",
        "prodigy",
        "dadapt_adamw",
    ):  # where one rate of all depends on both
        assert_same_bits({k: first[k] for k in "uv"}, {"u": both["u"], "v": none["v"]})
    assert_same_bits(decayed(0.1, []), none)
    assert_same_bits(decayed(0.1, [True, True]), both)


@pytest.mark.parametrize("form", MATRICES)
@pytest.mark.parametrize("by_rows", [False, True])
def test_all_forms_of_a_mask_mean_the_same(form, by_rows):
    def masked(mask):
        loss, [W, b, table], rows = model()
        params = [W, b, rows if by_rows else table]
        return trained(updates.adamw(loss, params, 0.1, weight_decay=0.5, mask=mask(W, table)))

    expected = masked(lambda W, table: [W, table])
    assert_same_bits(masked(lambda *_: MATRICES[form]()), expected)


def test_a_mask_waits_with_its_rule_and_goes_on_steps_and_gradients():
    loss, params, _ = model()
    rule = updates.adamw(learning_rate=0.1, mask="W")
    assert "mask='W'" in repr(rule)
    text = str(updates.describe(rule(loss, params)))
    assert "0.0001*W)" in text
    assert "0*p)" in text
    decayed = updates.apply_weight_decay(updates.sgd(loss, params, 0.0), weight_decay=0.5, mask="b")
    run(decayed, steps=1)
    assert [p.get_value().max() for p in params] == [0.5, 0.25, 0.5]
    grads = updates.add_weight_decay([0 * p for p in params], params, 1.0, mask=["W", "b"])
    assert [largest(grad) for grad in grads] == [0.5, 0.25, 0.0]


def test_muon_leaves_to_adam_what_is_not_orthogonalized():
    def moved(rule, mask=None, **more):
        _, params, _ = model()
        loss = sum(((p - 1) ** 2).sum() for p in params)
        return trained(rule(loss, params, 0.1, mask=mask, **more))

    kept = moved(updates.muon, orthogonalized="W", adam_weight_decay=0.5, mask=["table"])
    by_adam = moved(updates.nadamw, weight_decay=0.5, mask=["table"])
    by_muon = moved(updates.muon)
    assert_same_bits({"W": kept["W"]}, {"W": by_muon["W"]})
    for name in ("b", "table"):
        np.testing.assert_allclose(kept[name], by_adam[name], rtol=1e-12)
    assert (kept["table"] != by_muon["table"]).any()
    assert_same_bits(moved(updates.muon, orthogonalized=["table", "W"]), by_muon)
    loss, params, _ = model()
    with pytest.raises(ValueError, match=r"choose matrices only, but parameter 'b' .* has 1 axes"):
        updates.muon(loss, params, orthogonalized=["W", "b"])


@pytest.mark.parametrize(
    ("mask", "error", "words"),
    [
        ("v", ValueError, r"'v' is not among \[W, b, table\], which mask chooses from"),
        ([True], ValueError, "mask has 1 entries for 3 parameters"),
        ({"W": True}, TypeError, "mask must be a list of bools, of names"),
        (3, TypeError, "mask must be a list of bools, of names"),
        (lambda param: param.sum() > 0, TypeError, "mask must say True or False for parameter 'W'"),
        (["W", 3], TypeError, "mask must hold names or shared variables"),
        (pytensor.shared(1.0, name="W"), ValueError, r"W is not among \[W, b, table\], which mask"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(mask, error, words):
    loss, params, _ = model()
    with pytest.raises(error, match=f"^lamb: {words}"):
        updates.lamb(loss, params, mask=mask)


# --- factors -----------------------------------------------------------------------------------


def scaled(factor, transformed=False, by_hand=False, **given):
    loss, params, _ = model()
    grads = updates.get_or_compute_grads(loss, params)
    if by_hand:
        grads = [2.0 * pytensor.grad(loss, param) for param in params]
    if transformed:
        grads = updates.clip_by_value(grads, 100.0)
    factor = factor(params) if given.pop("of_params", False) else factor
    given = {"params": params} if given else {}
    found = updates.scale_gradients(grads, factor, **given)
    old, new = (map(largest, some) for some in (grads, found))
    return [float(b / a) for a, b in zip(old, new, strict=True)]


FACTORS = {
    "a list": [1.0, 2, 1],
    "an array": np.array([1.0, 2.0, 1.0]),
    "a tuple with a shared variable": (1, pytensor.shared(2.0), 1),
    "by name": {"b": 2},
    "by name, a symbol": {"b": pt.constant(2.0)},
    "by function": lambda param: 2.0 if param.ndim == 1 else 1.0,
}


@pytest.mark.parametrize("transformed", [False, True])
@pytest.mark.parametrize("case", FACTORS)
def test_factors_by_parameter(case, transformed):
    assert scaled(FACTORS[case], transformed) == [1.0, 2.0, 1.0]
    assert scaled(FACTORS[case], transformed, by_hand=True, params=True) == [1.0, 2.0, 1.0]


def test_factors_by_the_variable_itself_and_of_equal_gradients():
    assert scaled(lambda params: {params[1]: 2.0}, of_params=True) == [1.0, 2.0, 1.0]
    w, b = (pytensor.shared(1.0, name=name) for name in "wb")
    grads = updates.get_or_compute_grads((w + b) ** 2, [w, b])
    assert [largest(g) for g in updates.scale_gradients(grads, {"b": 2})] == [4.0, 8.0]


BAD_FACTORS = {
    "too few": ([1.0], {}, ValueError, r"factor has shape \(1,\) for 3 gradients"),
    "a matrix": (np.ones((3, 3)), {}, ValueError, r"factor has shape \(3, 3\)|factor must be"),
    "no number": ([1.0, "2", 1.0], {}, TypeError, "factor must be a number.*'2'"),
    "no such name": (
        {"bias": 2.0},
        {},
        ValueError,
        r"'bias' is not among \[W, b, ",
    ),
    "a schedule": (lambda step: 0.5**step, {}, (TypeError, ValueError), "factor must be a sc"),
    "infinite": ({"b": np.inf}, {}, ValueError, "factor must be a finite number, got inf"),
    "by name of unknown": ({"b": 2.0}, {"by_hand": True}, ValueError, "params is needed"),
}


@pytest.mark.parametrize("case", BAD_FACTORS)
def test_factors_that_do_not_fit_are_refused(case):
    factor, given, error, words = BAD_FACTORS[case]
    with pytest.raises(error, match=f"^scale_gradients: ({words})"):
        scaled(factor, **given)
