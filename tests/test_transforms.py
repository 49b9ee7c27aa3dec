"""The update transforms: they copy, they touch parameters only, they compose."""

from collections import OrderedDict

import numpy as np
import pytensor
import pytest
from catalogue import loss_of, parameters, run

import updates

TRANSFORMS = [updates.apply_momentum, updates.apply_nesterov_momentum]
both = pytest.mark.parametrize("transform", TRANSFORMS, ids=lambda f: f.__name__)


@both
@pytest.mark.parametrize("form", [dict, OrderedDict, lambda items: list(items.items()), iter])
def test_the_given_dictionary_stays_as_it_is(transform, form):
    params = parameters()
    plain = updates.rmsprop(loss_of(params), params, 0.01)
    given = form(plain) if form is not iter else iter(plain.items())
    before = list(plain.items())
    result = transform(given, momentum=0.5)
    assert list(plain.items()) == before
    assert isinstance(result, OrderedDict)
    assert list(result)[: len(plain)] == list(plain)


@both
def test_without_params_only_parameters_get_momentum(transform):
    params = parameters()
    plain = updates.adam(loss_of(params), params, 0.01)
    result = transform(plain)
    changed = {variable for variable in plain if result[variable] is not plain[variable]}
    assert changed == set(params)
    added = {variable.name for variable in result if variable not in plain}
    assert added == {f"{param.name}/{transform.__name__}/velocity" for param in params}


@both
def test_with_params_only_these_get_momentum(transform):
    params = parameters()
    plain = updates.sgd(loss_of(params), params, 0.01)
    result = transform(plain, params[1])
    assert {v for v in plain if result[v] is not plain[v]} == {params[1]}


@pytest.mark.parametrize(
    ("transform", "rule"),
    [
        (updates.apply_momentum, updates.momentum),
        (updates.apply_nesterov_momentum, updates.nesterov_momentum),
    ],
)
def test_on_sgd_it_is_the_rule_of_its_name(transform, rule):
    first, second = parameters(), parameters()
    after = run(transform(updates.sgd(loss_of(first), first, 0.02), momentum=0.8), steps=5)
    expected = run(rule(loss_of(second), second, 0.02, 0.8), steps=5)
    for param in first:
        np.testing.assert_allclose(after[param.name], expected[param.name], rtol=1e-13)


@both
def test_a_hand_written_dictionary_of_another_dtype_keeps_the_parameters_dtype(transform):
    w = pytensor.shared(np.ones(3, dtype="float32"), name="w")
    by_hand = {w: w - 0.1 * w}
    assert by_hand[w].type.dtype == "float64"
    assert run(transform(by_hand))["w"].dtype == "float32"


@both
def test_other_variables_of_the_dictionary_are_left_alone(transform):
    w = pytensor.shared(1.0, name="w")
    count = pytensor.shared(0, name="count")
    generator = pytensor.shared(np.random.default_rng(0), name="generator")
    mine = {w: 0.5 * w, count: count + 1, generator: generator}
    result = transform(mine)
    assert result[count] is mine[count]
    assert result[generator] is mine[generator]


@both
def test_momentum_may_be_a_schedule(transform):
    scheduled, fixed = parameters(), parameters()
    after = run(
        transform(updates.sgd(loss_of(scheduled), scheduled, 0.02), momentum=lambda step: 0.8), 4
    )
    expected = run(transform(updates.sgd(loss_of(fixed), fixed, 0.02), momentum=0.8), 4)
    for param in fixed:
        np.testing.assert_allclose(after[param.name], expected[param.name], rtol=1e-14)


w = pytensor.shared(1.0, name="w")
b = pytensor.shared(1.0, name="b")
REFUSED = {
    "empty": ({}, None, 0.9, ValueError, ["updates is empty"]),
    "number": (3, None, 0.9, TypeError, ["updates", "3"]),
    "not pairs": ([w, b], None, 0.9, TypeError, ["updates[0]", "pair"]),
    "not shared": ([(3, w)], None, 0.9, TypeError, ["shared", "3"]),
    "twice": ([(w, w), (w, b)], None, 0.9, ValueError, ["w", "two next values"]),
    "not updated": ({w: 0.5 * w}, [b], 0.9, ValueError, ["'b'", "params[0]"]),
    "no next value": ({w: None}, None, 0.9, TypeError, ["next value of parameter 'w'", "None"]),
    "wrong ndim": ({w: np.ones(3)}, None, 0.9, ValueError, ["next value", "'w'", "ndim 1"]),
    "momentum": ({w: 0.5 * w}, None, 1.0, ValueError, ["momentum", "[0, 1)", "1.0"]),
    "only state": (
        {k: v for k, v in updates.momentum(w**2, w, 0.1).items() if k is not w},
        None,
        0.9,
        ValueError,
        ["params is empty"],
    ),
}


@both
@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_by_name(transform, case):
    given, params, momentum, error, words = REFUSED[case]
    with pytest.raises(error) as caught:
        transform(given, params, momentum)
    for word in [transform.__name__, *words]:
        assert word in str(caught.value)
