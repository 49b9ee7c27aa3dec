"""Random dictionaries, by rules and by hand: whatever is done with them is what NumPy says."""

import pickle
from collections import OrderedDict

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from catalogue import AS_WRITTEN
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import updates

SHAPES = [(), (3,), (1, 3), (2, 3)]
FORMS = [OrderedDict, dict, list, iter]


class Made:
    """A dictionary of updates, and a step of the same in NumPy.

    ``step`` takes the values of all variables by key and returns the next ones. ``stepped`` are the
    keys of what rules step.
    """

    def __init__(self):
        self.items, self.stepped, self.next = [], [], {}

    def add(self, dictionary, next_values):
        self.items += dictionary.items()
        self.next |= next_values

    def step(self, values):
        return {key: self.next[key](values) for key in values}


def shared(value, name, dtype="float64"):
    return pytensor.shared(np.asarray(value, dtype=dtype), name=name)


def by_sgd(made, loss, param, slope):
    key = param.name
    made.add(updates.sgd(loss, [param], 0.1), {key: lambda v: v[key] - 0.1 * slope(v[key])})
    made.stepped.append(key)


def by_momentum(made, loss, param, slope):
    key, velocity = param.name, f"{param.name}/momentum/velocity"

    def moved(v):
        return 0.9 * v[velocity] - 0.1 * slope(v[key])

    made.add(
        updates.momentum(loss, [param], 0.1), {velocity: moved, key: lambda v: v[key] + moved(v)}
    )
    made.stepped.append(key)


def by_rmsprop(made, loss, param, slope):
    key, square = param.name, f"{param.name}/rmsprop/mean_square"

    def mean(v):
        return 0.9 * v[square] + (1 - 0.9) * slope(v[key]) ** 2

    made.add(
        updates.rmsprop(loss, [param], 0.1),
        {square: mean, key: lambda v: v[key] - 0.1 * slope(v[key]) / np.sqrt(mean(v) + 1e-6)},
    )
    made.stepped.append(key)


def by_hand(made, loss, param, slope):
    """Make classical momentum as Theano programs do."""
    key, velocity = param.name, f"{param.name}_velocity"
    v = shared(np.zeros_like(param.get_value()), velocity)
    new = 0.5 * v - 0.1 * pytensor.grad(loss, param)

    def moved(values):
        return 0.5 * values[velocity] - 0.1 * slope(values[key])

    made.add({param: param + new, v: new}, {key: lambda v: v[key] + moved(v), velocity: moved})


def running_mean(made, index):
    key = f"mean{index}"
    mean = shared([1.0, -2.0], key)
    made.add({mean: 0.9 * mean + 0.1 * index}, {key: lambda v: 0.9 * v[key] + 0.1 * index})


def counter(made, index):
    key = f"count{index}"
    count = shared(index, key, "int64")
    made.add({count: count + 1}, {key: lambda v: v[key] + 1})


def swapped(made, index):
    first, second = f"first{index}", f"second{index}"
    a, b = shared([1.0, 2.0], first), shared([3.0, 4.0], second)
    made.add({a: b, b: a}, {first: lambda v: v[second], second: lambda v: v[first]})


@st.composite
def dictionaries(draw):
    made = Made()
    trained = draw(
        st.lists(st.sampled_from([by_sgd, by_momentum, by_rmsprop, by_hand]), max_size=4)
    )
    random = np.random.default_rng(draw(st.integers(0, 9)))
    for index, train in enumerate(trained):
        shape = draw(st.sampled_from(SHAPES))
        param, target = shared(random.normal(size=shape), f"w{index}"), random.normal(size=shape)
        loss = ((param - target) ** 2).sum()
        train(made, loss, param, lambda value, target=target: 2 * (value - target))
    others = st.sampled_from([running_mean, counter, swapped])
    for index, make in enumerate(draw(st.lists(others, min_size=not trained, max_size=3))):
        make(made, index)
    made.items = draw(st.permutations(made.items))
    return made


def values(dictionary):
    return updates.state_dict(dictionary)


def assert_close(found, expected):
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, rtol=1e-12, atol=1e-14, err_msg=key)


def run(dictionary, steps=3):
    step = pytensor.function([], updates=dictionary, mode=AS_WRITTEN)
    for _ in range(steps):
        step()


many = settings(
    max_examples=20,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
)


@many
@given(dictionaries(), st.sampled_from([OrderedDict, dict, list]))
def test_a_compiled_dictionary_computes_what_numpy_does(made, form):
    expected = values(dict(made.items))
    run(form(made.items))
    for _ in range(3):
        expected = made.step(expected)
    assert_close(values(dict(made.items)), expected)


@many
@given(dictionaries(), st.randoms(use_true_random=False), st.sampled_from(FORMS))
def test_saved_in_one_order_it_is_loaded_in_another(tmp_path, made, random, form):
    start = values(dict(made.items))
    updates.save(tmp_path / "run.npz", form(made.items))
    run(dict(made.items))
    end = updates.state_dict(form(made.items))
    shuffled = list(made.items)
    random.shuffle(shuffled)
    updates.load(tmp_path / "run.npz", form(shuffled))
    assert_close(values(dict(made.items)), start)
    copy = pickle.loads(pickle.dumps(OrderedDict(shuffled)))
    updates.load_state_dict(copy, end)
    assert_close(values(copy), end)
    assert_close(values(dict(made.items)), start)


@many
@given(dictionaries(), st.randoms(use_true_random=False))
def test_a_transform_moves_what_rules_step_and_nothing_else(made, random):
    assume(made.stepped)  # for those by hand see test_transforms.py
    dictionary, before = OrderedDict(made.items), list(made.items)
    result = updates.apply_weight_decay(dictionary, weight_decay=0.25)
    assert list(dictionary.items()) == before
    expected, items = values(dictionary), list(result.items())
    random.shuffle(items)
    run(updates.apply_if_finite(items))
    for _ in range(3):
        decays = {key: 0.25 * expected[key] for key in made.stepped}
        expected = made.step(expected)
        expected |= {key: expected[key] - decay for key, decay in decays.items()}
    assert_close(values(dictionary), expected)


@many
@given(dictionaries(), st.randoms(use_true_random=False))
def test_its_description_names_every_variable_and_depends_on_no_order(made, random):
    text = str(updates.describe(OrderedDict(made.items)))
    shuffled = list(made.items)
    random.shuffle(shuffled)
    for variable, _ in made.items:
        assert variable.name.rpartition("/")[2] in text
    rows = sorted(str(updates.describe(dict(shuffled))).splitlines())
    assert len(rows) == len(text.splitlines())


@pytest.mark.slow
@settings(many, max_examples=20)
@given(dictionaries())
def test_it_can_be_drawn(made):
    axes = updates.draw(OrderedDict(made.items))
    assert axes.figure is not None
    axes.figure.clear()


@pytest.mark.slow
@settings(many, max_examples=20)
@given(dictionaries())
def test_the_default_mode_computes_what_numpy_does(made):
    expected = values(dict(made.items))
    step = pytensor.function([], [pt.as_tensor(1)], updates=OrderedDict(made.items))
    for _ in range(3):
        step()
        expected = made.step(expected)
    assert_close(values(dict(made.items)), expected)
