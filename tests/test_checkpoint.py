"""Checkpoints: training goes on bit for bit, and a file is whole and the model's, or is refused."""

import contextlib
import errno
import functools
import io
import itertools
import json
import math
import os
import pickle
import resource
import stat
import subprocess
import sys
import tempfile
import tracemalloc
import warnings
import zipfile
import zlib
from collections import OrderedDict
from functools import partial
from pathlib import Path

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from catalogue import (
    AS_WRITTEN,
    COMPOSITIONS,
    RULES,
    assert_same_bits,
    every_update,
    loss_of,
    parameters,
)
from numpy.lib import format as npy

import updates
from updates import provenance, replacing
from updates.keys import keyed

MANIFEST = "%updates.npy"
SAMPLE = [
    next(row.rule for row in reversed(RULES) if row.name == name)
    for name in (
        *("sgd", "adam", "nadam", "adagrad_window", "noisy_sgd", "schedule_free_adamw", "madgrad"),
        *("adafactor", "sm3", "muon", "prodigy", "sophia"),
    )
] + [f for f in COMPOSITIONS if f.__name__ in ("with_sam", "with_transforms_and_schedules")]


def bits(rule):
    return updates.state_dict(rule)


def shared(value, name=None):
    return pytensor.shared(np.asarray(value), name=name)


def same(*variables):
    """Make a dictionary of updates of any variables, which changes nothing."""
    return {variable: variable for variable in variables}


def compiled(rule):
    return pytensor.function([], updates=rule, mode=AS_WRITTEN)


def repeat(step, times):
    for _ in range(times):
        step()


def small_model(seed=1):
    """Make variables of several kinds, all of whose values follow from the seed."""
    random = np.random.default_rng(seed)
    generator = pytensor.shared(random, name="rng")
    return same(
        shared(random.normal(size=(2, 3)), "w"),
        shared(random.normal(size=3).astype("float32"), "b"),
        shared(np.int64(seed), "step"),
        generator,
    )


def assert_refused(path, rule, words=".", **settings):
    """Check that a file is refused with its name, and that nothing has changed."""
    before = bits(rule)
    with pytest.raises(updates.CheckpointError, match=words) as caught:
        updates.load(path, rule, **settings)
    assert str(caught.value).startswith(f"load: {str(path)!r}: ")
    assert_same_bits(bits(rule), before)


# --- training goes on --------------------------------------------------------------------------


def assert_goes_on(make_updates, path):
    params = parameters()
    rule = make_updates(loss_of(params), params)
    step = compiled(rule)
    repeat(step, 2)
    updates.save(path, rule, extra={"step": 2})
    saved = bits(rule)
    repeat(step, 3)
    after = bits(rule)
    assert any(after[key].tobytes() != saved[key].tobytes() for key in saved)

    fresh_params = parameters()
    for param in fresh_params:
        param.set_value(param.get_value() * 0)
    fresh = make_updates(loss_of(fresh_params), fresh_params)
    assert updates.load(path, fresh) == {"step": 2}
    assert_same_bits(bits(fresh), saved)

    for put_back in (updates.load, lambda _, rule: updates.load_state_dict(rule, saved)):
        put_back(path, rule)
        assert_same_bits(bits(rule), saved)
        repeat(step, 3)
        assert_same_bits(bits(rule), after)

    updates.reset(rule)
    assert_same_bits(bits(rule), bits(make_updates(loss_of(params), params)))
    assert_same_bits(
        {p.name: p.get_value() for p in params}, {p.name: after[p.name] for p in params}
    )


@pytest.mark.parametrize(
    "make_updates", SAMPLE, ids=[getattr(f, "__name__", repr(f)) for f in SAMPLE]
)
def test_training_goes_on_bit_for_bit_and_reset_is_a_new_start(make_updates, tmp_path):
    assert_goes_on(make_updates, tmp_path / "run.npz")


@pytest.mark.slow
@every_update
def test_training_goes_on_bit_for_bit_under_every_rule(make_updates, tmp_path):
    assert_goes_on(make_updates, tmp_path / "run.npz")


def with_dropout():
    """Make a user's own dropout noise and running mean beside a rule."""
    random = pytensor.shared(np.random.default_rng(5), name="dropout")
    next_random, mask = pt.random.bernoulli(0.5, size=(3,), rng=random).owner.outputs
    w, mean = shared(np.ones(3), "w"), shared(np.zeros(3), "mean")
    rule = updates.adam(((w * mask) ** 2).sum(), [w], learning_rate=0.1)
    return {**rule, random: next_random, mean: 0.9 * mean + 0.1 * w * mask}


def with_gradient_noise():
    """Make a rule whose function advances variables that its dictionary does not list."""
    params = parameters()
    grads = updates.get_or_compute_grads(loss_of(params), params)
    return updates.sgd(updates.add_gradient_noise(grads), params, learning_rate=0.1)


def with_random_stream():
    """Make a rule on noise of PyTensor's stream, whose generators advance by themselves."""
    w = shared(np.ones(3), "w")
    noise = pt.random.RandomStream(7).normal(size=(3,)) + pt.random.RandomStream(8).normal()
    return updates.sgd((w * noise).sum(), [w], learning_rate=0.1)


def with_chained_defaults():
    """Make an update that needs a default update that needs another one."""
    w, first, second = (shared(0.0, name) for name in ("w", "first", "second"))
    first.default_update, second.default_update = first + second, second + 1
    return {w: w + first}


def with_a_plain_number():
    """Make an update to a number, which PyTensor takes as well."""
    w, flag = shared(1.0, "w"), shared(1.0, "flag")
    return {w: w * 2 + flag, flag: 0.0}


HAND_MADE = {
    with_dropout: {"dropout", "mean"},
    with_gradient_noise: {"add_gradient_noise/generator", "add_gradient_noise/step"},
    with_random_stream: {"generator_0", "generator_1"},
    with_chained_defaults: {"first", "second"},
    with_a_plain_number: {"flag"},
}


@pytest.mark.parametrize("make", HAND_MADE, ids=lambda make: make.__name__)
def test_all_that_a_function_changes_is_saved_and_users_variables_are_not_reset(make, tmp_path):
    rule = make()
    step = compiled(rule)
    repeat(step, 2)
    updates.save(tmp_path / "run.npz", rule)
    before = bits(rule)
    repeat(step, 3)
    after = bits(rule)
    assert HAND_MADE[make] <= {key for key in after if (after[key] != before[key]).any()} | {"flag"}
    updates.reset(rule)
    users = {key for key in after if "/" not in key}
    assert_same_bits({key: bits(rule)[key] for key in users}, {key: after[key] for key in users})
    updates.load(tmp_path / "run.npz", rule)
    repeat(step, 3)
    assert_same_bits(bits(rule), after)


def test_values_are_copies():
    w = shared(np.ones(3), "w")
    state = updates.state_dict(same(w))
    state["w"][:] = 2
    np.testing.assert_array_equal(w.get_value(), 1)
    updates.load_state_dict(same(w), state)
    state["w"][:] = 3
    np.testing.assert_array_equal(w.get_value(), 2)


# --- keys --------------------------------------------------------------------------------------


def two_adams():
    first, second = shared(1.0, "first"), shared(1.0, "second")
    return updates.merge_updates(
        updates.adam(second**2, [second], learning_rate=0.1), updates.adam(first**2, [first])
    )


def two_averages():
    w = shared(1.0, "w")
    once = updates.apply_ema(updates.sgd(w**2, [w], 0.1), decay=0.5)
    return updates.apply_ema(once, decay=0.9)


def nameless():
    w = shared(1.0)
    rng = [pytensor.shared(np.random.default_rng(seed)) for seed in (1, 2)]
    return {**updates.adam(w**2, [w], 0.1), **same(*reversed(rng))}


def with_slashes():
    w = shared(1.0, "encoder/dense/W")
    return updates.momentum(w**2, [w], 0.1)


KEYS = {
    two_adams: [
        *("second/adam/first_moment", "second/adam/second_moment", "second/adam/step", "second"),
        *("first/adam/first_moment", "first/adam/second_moment", "first/adam/step", "first"),
    ],
    two_averages: [
        *("w", "w/apply_ema/average", "w/apply_ema/average#2"),
        *("w/apply_ema/step", "w/apply_ema/step#2"),
    ],
    nameless: [
        *("variable_0/adam/first_moment", "variable_0/adam/second_moment", "adam/step"),
        *("variable_0", "generator_1", "generator_0"),
    ],
    with_slashes: ["encoder/dense/W/momentum/velocity", "encoder/dense/W"],
}


@pytest.mark.parametrize("make", KEYS, ids=lambda make: make.__name__)
def test_keys_do_not_depend_on_the_order_of_items(make):
    rule = make()
    expected = {variable: key for key, variable in keyed(rule).items()}
    assert sorted(updates.state_dict(rule)) == sorted(KEYS[make])
    for items in itertools.islice(itertools.permutations(rule.items()), 0, None, 41):
        for form in (dict(items), list(items), OrderedDict(items), iter(items)):
            assert {variable: key for key, variable in keyed(form).items()} == expected
    copy = pickle.loads(pickle.dumps(rule))
    assert sorted(keyed(copy)) == sorted(expected.values())


def lasagne():
    """Make two layers whose weights are both called W, as in Lasagne and in network3."""
    weights = [shared(np.full(3, value), "W") for value in (1.0, 2.0)]
    return updates.adam(sum(pt.sum((w - 5) ** 2) for w in weights), weights)


NOT_TOLD_APART = {
    "equal names": (lasagne, r"2 variables are called 'W' \(float64 of shape \(3,\), float64"),
    "no names": (
        lambda: same(shared(1.0), shared(np.ones(3))),
        r"2 variables have no name \(float64 of shape \(\), float64 of shape \(3,\)",
    ),
    "a name that is state's": (
        lambda: {**adam_of(1.0, names="w"), **same(shared(1.0, "w/adam/first_moment"))},
        "called 'w/adam/first_moment'",
    ),
    "the name of a rate": (
        lambda: updates.sgd((w := shared(1.0, "w")) ** 2, [w], shared(1.0, "w")),
        "called 'w'",
    ),
}


@pytest.mark.parametrize("case", NOT_TOLD_APART)
def test_what_cannot_be_told_apart_is_refused_when_it_is_saved(case, tmp_path):
    make, words = NOT_TOLD_APART[case]
    path = tmp_path / "run.npz"
    for name, call in {
        "save": lambda: updates.save(path, make()),
        "state_dict": lambda: updates.state_dict(make()),
    }.items():
        with pytest.raises(ValueError, match=rf'^{name}: .*{words}.*W.name = "W1"'):
            call()
    assert not path.exists()


def test_a_run_that_cannot_be_saved_is_refused_before_it_begins(tmp_path):
    a, b = shared(1.0, "W"), shared(2.0, "W")
    rule = updates.sgd(learning_rate=0.1)
    settings = {"train": None, "max_epochs": 1, "progress": False, "mode": "FAST_COMPILE"}
    with pytest.raises(ValueError, match=r"^minimize: 2 variables are called 'W'"):
        updates.minimize(a**2 + b**2, [a, b], rule=rule, checkpoint=tmp_path / "run", **settings)
    assert a.get_value() == 1
    updates.minimize(a**2 + b**2, [a, b], rule=rule, **settings)


def scheduled(rate):
    return lambda step: rate * 0.5**step


SHARED_RATES = {
    "a rule": lambda w, rate: updates.adam(w**2, [w], rate),
    "in another dtype": lambda w, rate: updates.sgd(w**2, [w], rate.astype("float32")),
    "an epsilon": lambda w, rate: updates.rmsprop(w**2, [w], 0.1, epsilon=rate),
    "an expression": lambda w, rate: updates.sgd(w**2, [w], 2 * rate + 1),
    "a schedule": lambda w, rate: updates.sgd(w**2, [w], scheduled(rate)),
    "the library's schedule": lambda w, rate: updates.sgd(w**2, [w], updates.cosine_decay(rate, 9)),
    "sam": lambda w, rate: updates.sam(w**2, [w], updates.sgd(learning_rate=0.1), rho=rate),
    "a gradient transform": lambda w, rate: updates.sgd(
        updates.clip_by_global_norm(updates.get_or_compute_grads(w**2, [w]), rate), [w], 0.1
    ),
    "an update transform": lambda w, rate: updates.apply_ema(
        updates.sgd(w**2, [w], 0.1), decay=rate
    ),
    "below a guard": lambda w, rate: updates.apply_if_finite(updates.sgd(w**2, [w], rate)),
}


@pytest.mark.parametrize("name", ["rate", None])
@pytest.mark.parametrize("case", SHARED_RATES)
def test_shared_hyperparameters_are_saved_with_the_rule(case, name, tmp_path):
    w, rate = shared(1.0, "w"), shared(0.5, name)
    rule = SHARED_RATES[case](w, rate)
    [key] = [key for key, variable in keyed(rule).items() if variable is rate]
    hyperparameters = ("learning_rate", "epsilon", "rho", "max_norm", "decay", "initial_value")
    assert key in ([name] if name else hyperparameters)
    updates.save(tmp_path / "run.npz", rule)
    rate.set_value(0.25)
    updates.load(tmp_path / "run.npz", rule)
    assert rate.get_value() == 0.5
    assert provenance.of(rate) == provenance.Provenance()
    assert rate not in rule


def test_data_in_shared_variables_are_no_hyperparameters():
    w, data = shared(1.0, "w"), shared(np.ones(9), "data")
    assert list(bits(updates.sgd(((w - data) ** 2).mean(), [w], 0.1))) == ["w"]


NAMES = [
    "w/adam/first_moment",
    "Gewicht θ 重み 🏋",
    "a b  c ",
    "100%",
    "%25",
    "%",
    "%updates",
    "\x00",
    "tab\tline\nbell\x07end\x1f\x7f",
    "../../etc/passwd",
    "/etc/passwd",
    "..",
    ".",
    "/",
    "folder/",
    "C:\\w",
    "w.npy",
    "'\"",
    "lone \ud800 surrogate",
    "long" * 10_000,
]


def test_any_name_comes_back_and_stays_within_the_file(tmp_path):
    folder = tmp_path / "a" / "b" / "c"
    folder.mkdir(parents=True)
    variables = [shared(float(index), name) for index, name in enumerate(NAMES)]
    updates.save(folder / "run.npz", same(*variables))
    for variable in variables:
        variable.set_value(np.float64(-1))
    updates.load(folder / "run.npz", same(*variables))
    assert [float(variable.get_value()) for variable in variables] == [*range(len(NAMES))]
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["run.npz"]
    with np.load(folder / "run.npz") as archive:
        assert sorted(float(archive[key]) for key in archive if key != "%updates") == [
            *range(len(NAMES))
        ]


# --- what does not fit -------------------------------------------------------------------------


def adam_of(*values, names="wxyz", rule=updates.adam, rate=0.1):
    params = [shared(value, name) for value, name in zip(values, names, strict=False)]
    return rule(sum((param**2).sum() for param in params), params, learning_rate=rate)


def generator_of(kind):
    return same(pytensor.shared(np.random.Generator(kind(0)), name="rng"))


OTHERS = {
    "another rule": (
        lambda: adam_of(np.ones(3)),
        lambda: adam_of(np.ones(3), rule=updates.rmsprop),
        r"lacks 'w/rmsprop/mean_square' and has unknown 'w/adam/first_moment', .*another model\?",
    ),
    "another shape": (
        lambda: adam_of(np.ones(3)),
        lambda: adam_of(np.ones(4)),
        r"'w.*' has dtype float64 and shape \(3,\), the variable has .* shape \(4,\)",
    ),
    "a shape that would broadcast": (
        lambda: same(shared(np.ones((1, 3)), "w")),
        lambda: same(shared(np.ones((2, 3)), "w")),
        r"'w' has .* shape \(1, 3\), the variable",
    ),
    "another dtype": (
        lambda: adam_of(np.ones(3)),
        lambda: adam_of(np.ones(3, dtype="float32")),
        r"'w.*' has dtype float64 .* the variable has dtype float32",
    ),
    "integers": (
        lambda: same(shared(np.int64(3), "n")),
        lambda: same(shared(np.int32(3), "n")),
        "'n' has dtype int64 .* the variable has dtype int32",
    ),
    "one parameter more": (
        lambda: adam_of(1.0),
        lambda: adam_of(1.0, 2.0),
        "lacks 'x/adam/first_moment', 'x/adam/second_moment', 'x': is it another model",
    ),
    "one parameter less": (
        lambda: adam_of(1.0, 2.0),
        lambda: adam_of(1.0),
        "has unknown 'x/adam/first_moment', 'x/adam/second_moment', 'x': is it another model",
    ),
    "many parameters more": (
        lambda: same(shared(1.0, "w")),
        lambda: same(*(shared(1.0, f"w{i}") for i in range(9))),
        r"lacks 'w0', 'w1', 'w2', 'w3', 'w4' \.\.\. and has unknown 'w': is",
    ),
    "another kind of generator": (
        lambda: generator_of(np.random.PCG64),
        lambda: generator_of(np.random.Philox),
        "'rng' is not the state of a random generator of type Philox",
    ),
    "an array for a generator": (
        lambda: same(shared(np.ones(3), "rng")),
        lambda: generator_of(np.random.PCG64),
        "'rng' is not the state of a random generator of type PCG64",
    ),
    "a generator for an array": (
        lambda: generator_of(np.random.PCG64),
        lambda: same(shared(np.ones(3), "rng")),
        "'rng' has dtype uint8",
    ),
}


@pytest.mark.parametrize("case", OTHERS)
def test_another_model_is_refused_and_nothing_changes(case, tmp_path):
    saved, loading, words = OTHERS[case]
    first = shared(np.zeros(2), "0")  # would be put back before what does not fit
    rule, other = (OrderedDict({first: first, **make()}) for make in (saved, loading))
    updates.save(tmp_path / "run.npz", rule)
    state = bits(rule)
    first.set_value(np.ones(2))
    assert_refused(tmp_path / "run.npz", other, words)
    before = bits(other)
    with pytest.raises(updates.CheckpointError, match=f"^load_state_dict: .*{words}"):
        updates.load_state_dict(other, state)
    assert_same_bits(bits(other), before)


def test_not_strict_leaves_alone_what_has_no_counterpart_and_names_it(tmp_path):
    one, two = adam_of(1.0, 2.0, names="wx"), adam_of(3.0, 4.0, names="xy")
    updates.save(tmp_path / "run.npz", one, extra=3)
    missing, unexpected = updates.load_state_dict(two, bits(one), strict=False)
    by_file = adam_of(3.0, 4.0, names="xy")
    with pytest.warns(UserWarning, match=r"^load: '.*run.npz' lacks 'y/adam/first_.* has 'w/adam/"):
        assert updates.load(tmp_path / "run.npz", by_file, strict=False) == 3
    for rule in (two, by_file):
        state = bits(rule)
        assert (float(state["x"]), float(state["y"])) == (2.0, 4.0)
    assert missing == ["y/adam/first_moment", "y/adam/second_moment", "y"]
    assert unexpected == ["w/adam/first_moment", "w/adam/second_moment", "w"]
    other_shape = [shared(np.ones(3), "x")]
    with pytest.raises(updates.CheckpointError, match=r"'x' has .*shape"):
        updates.load(tmp_path / "run.npz", other_shape, strict=False)


def test_state_of_no_parameter_of_the_model_is_refused(tmp_path):
    """The step counter and the learning rate would fit, and all would seem well."""
    rate = shared(0.1, "rate")
    saved, model = (adam_of(v, names=[name], rate=rate) for v, name in ((1.0, "enc.W"), (9.0, "W")))
    updates.save(tmp_path / "run.npz", saved)
    with pytest.raises(updates.CheckpointError, match=r"no parameter of this model .*names=\{"):
        updates.load_state_dict(model, bits(saved), strict=False)
    assert_refused(tmp_path / "run.npz", model, "no parameter of this model", strict=False)
    assert_refused(tmp_path / "run.npz", model, r"another model\? .*names=\{saved name")


def test_renamed_variables_are_found_by_a_mapping_and_their_state_goes_with_them(tmp_path):
    path = tmp_path / "run.npz"
    old, new = adam_of(1.0, 2.0, names=["enc", "enc/W"]), adam_of(3.0, 4.0, names=["enc/W", "dec"])
    compiled(old)()
    updates.save(path, old)
    updates.load(path, new, names={"enc": "enc/W", "enc/W": "dec"})
    assert_same_bits(dict(zip(bits(old), bits(new).values(), strict=True)), bits(old))
    assert [key for key in bits(new) if "adam" not in key] == ["enc/W", "dec"]


BAD_NAMES = {
    "nothing of that name": ({"encoder": "x"}, ValueError, "'encoder', and nothing of that name"),
    "a part of a name": ({"en": "x"}, ValueError, "'en', and nothing of that name"),
    "two into one": ({"enc": "dec"}, ValueError, "the same key 'dec"),
    "no names": ({"enc": shared(1.0)}, TypeError, "from saved names to names now"),
    "a list": ([("enc", "dec")], TypeError, "from saved names to names now"),
}


@pytest.mark.parametrize("case", BAD_NAMES)
def test_a_mapping_that_does_not_fit_is_refused(case, tmp_path):
    names, error, words = BAD_NAMES[case]
    rule = adam_of(1.0, 2.0, names=["enc", "dec"])
    with pytest.raises(error, match=f"^load_state_dict: .*{words}"):
        updates.load_state_dict(rule, bits(rule), names=names)
    updates.save(tmp_path / "run.npz", rule)
    with pytest.raises(error, match=words):
        updates.load(tmp_path / "run.npz", rule, names=names)


@pytest.mark.parametrize("given", [list, tuple, iter, lambda params: params[0]])
def test_parameters_are_loaded_without_a_rule(given, tmp_path):
    path = tmp_path / "run.npz"
    updates.save(path, adam_of(1.0, 2.0, names="wb"), extra="all")
    params = [shared(0.0, "w"), shared(0.0, "b")]
    assert updates.load(path, given(params)) == "all"
    count = 1 if isinstance(given(params), type(params[0])) else 2
    assert [float(p.get_value()) for p in params] == [1.0, 2.0][:count] + [0.0] * (2 - count)
    updates.save(path, given(params))
    assert updates.load_state_dict(given(params), updates.state_dict(given(params))) == ([], [])
    with pytest.raises(updates.CheckpointError, match="lacks 'x'"):
        updates.load(path, [*params[:count], shared(0.0, "x")])


def test_masked_values_are_refused():
    w = shared(np.ones(2), "w")
    with pytest.raises(updates.CheckpointError, match="'w' is a masked array"):
        updates.load_state_dict([w], {"w": np.ma.masked_equal([1.0, 2.0], 2)})


OLD_KEYS = {
    "equal names": {"W": 1.0, "W#2": 2.0},
    "no names": {"variable_0": 1.0, "variable_1": 2.0},
    "a rule of one without a name": {"param_0/momentum/velocity": 1.0, "W": 2.0},
}


@pytest.mark.parametrize("case", OLD_KEYS)
def test_keys_that_depended_on_an_order_are_explained(case):
    state = {key: np.array(value) for key, value in OLD_KEYS[case].items()}
    first, second = shared(0.0, "first"), shared(0.0, "second")
    with pytest.raises(updates.CheckpointError, match="numbered in the order of the dictionary"):
        updates.load_state_dict(same(first, second), state)
    names = dict(zip(state, ["first", "second"], strict=True))
    updates.load_state_dict(same(first, second), state, names=names)
    assert (float(first.get_value()), float(second.get_value())) == (1.0, 2.0)


BAD_ARGUMENTS = {
    "nothing": ({}, ValueError, "is empty"),
    "a rule that waits": (updates.adam(), TypeError, "must be a dictionary"),
    "a symbol": ({pt.dscalar("x"): pt.dscalar("y")}, TypeError, "shared variables only"),
}


@pytest.mark.parametrize("case", BAD_ARGUMENTS)
def test_what_is_no_dictionary_of_updates_is_refused(case, tmp_path):
    given, error, words = BAD_ARGUMENTS[case]
    path = tmp_path / "run.npz"
    updates.save(path, small_model())
    before = path.read_bytes()
    calls = {
        "state_dict": lambda: updates.state_dict(given),
        "load_state_dict": lambda: updates.load_state_dict(given, {}),
        "reset": lambda: updates.reset(given),
        "save": lambda: updates.save(path, given),
        "load": lambda: updates.load(path, given),
    }
    for name, call in calls.items():
        with pytest.raises(error, match=f"^{name}: .*{words}"):
            call()
    assert path.read_bytes() == before


def test_state_that_is_no_dictionary_is_refused():
    with pytest.raises(TypeError, match=r"^load_state_dict: state must be a dictionary"):
        updates.load_state_dict(small_model(), [1, 2])


# --- extra -------------------------------------------------------------------------------------

EXTRAS = [
    None,
    True,
    0,
    2**80,
    -0.1,
    math.inf,
    "",
    "Zürich 🏔 \x00 \ud800",
    [],
    {},
    {"epoch": 3, "scores": [0.1, None, {"a": [False, "b"]}], "": {}},
]


@pytest.mark.parametrize("extra", EXTRAS, ids=ascii)
def test_extra_comes_back(extra, tmp_path):
    rule = small_model()
    updates.save(tmp_path / "run.npz", rule, extra)
    back = updates.load(tmp_path / "run.npz", rule)
    assert back == extra
    assert type(back) is type(extra)


circle: list = []
circle.append(circle)
NO_JSON = {
    "array": np.ones(3),
    "number of NumPy": np.float32(1),
    "set": {1},
    "object": object(),
    "bytes": b"x",
    "variable": shared(1.0),
    "key that is a tuple": {(1, 2): 3},
    "circle": circle,
    "deep": [[object()]],
}


@pytest.mark.parametrize("case", NO_JSON)
def test_extra_that_is_no_json_is_refused_and_leaves_the_file(case, tmp_path):
    path, rule = tmp_path / "run.npz", small_model()
    updates.save(path, rule)
    before = path.read_bytes()
    with pytest.raises(TypeError, match=r"^save: extra must be made of what JSON knows"):
        updates.save(path, rule, NO_JSON[case])
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["run.npz"]


# --- the file ----------------------------------------------------------------------------------

random = np.random.default_rng(3)
ARRAYS = {
    "float16": random.normal(size=(3, 2)).astype("float16"),
    "float32": random.normal(size=(3, 2)).astype("float32"),
    "float64": random.normal(size=(3, 2)),
    "complex": random.normal(size=3) * 1j,
    "int8": np.arange(-3, 3, dtype="int8"),
    "uint64": np.array([2**64 - 1], dtype="uint64"),
    "bool": np.array([True, False, True]),
    "no axes": np.float32(0.1),
    "nothing in it": np.zeros((3, 0, 2)),
    "nothing but zeros, some negative": np.array([0.0, -0.0]),
    "not numbers": np.array([np.nan, np.inf, -np.inf, 5e-324]),
    "Fortran": np.asfortranarray(random.normal(size=(3, 2, 4))),
    "not contiguous": random.normal(size=(6, 8))[::2, 1::3],
    "backwards": np.arange(5.0)[::-1],
    "transposed": random.normal(size=(3, 2, 4)).transpose(1, 0, 2),
    "broadcast": np.broadcast_to(np.arange(3.0), (4, 3)),
    "larger than a block": random.random((3, 1 << 20), dtype="float32").T,
}


def test_arrays_of_every_kind_come_back_and_numpy_reads_them(tmp_path):
    path = tmp_path / "run.npz"
    rule = same(*(pytensor.shared(value, name=name, borrow=True) for name, value in ARRAYS.items()))
    assert not rule_value(rule, "not contiguous").flags.c_contiguous
    updates.save(path, rule)
    with np.load(path) as archive:
        assert archive.files == ["%updates", *ARRAYS]
        assert_same_bits(dict(archive.items()), {**ARRAYS, "%updates": archive["%updates"]})
        listed = json.loads(archive["%updates"].tobytes())
    assert listed["arrays"]["float16"] == ["float16", [3, 2]]
    for variable in rule:
        variable.set_value(np.zeros_like(variable.get_value()))
    updates.load(path, rule)
    assert_same_bits(bits(rule), ARRAYS)
    assert all(variable.get_value(borrow=True).flags.writeable for variable in rule)


def rule_value(rule, name):
    [variable] = [variable for variable in rule if variable.name == name]
    return variable.get_value(borrow=True)


def test_the_file_is_a_plain_archive_without_pickles_and_the_same_each_time(tmp_path):
    path = tmp_path / "run.npz"
    updates.save(path, small_model(), extra={"a": 1})
    data = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert archive.comment == b"%08x" % zlib.crc32(data[:-8])
        for info in archive.infolist():
            with archive.open(info) as stream:
                npy.read_magic(stream)
                assert not npy.read_array_header_1_0(stream)[2].hasobject
    updates.save(path, small_model(), extra={"a": 1})
    assert path.read_bytes() == data


@pytest.mark.parametrize("kind", ["PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"])
def test_random_generators_of_every_kind_go_on(kind, tmp_path):
    rule = generator_of(getattr(np.random, kind))
    [variable] = rule
    variable.get_value(borrow=True).integers(10, dtype="int32")  # leaves half a number over
    updates.save(tmp_path / "run.npz", rule)
    following = variable.get_value().integers(10**9, size=1000, dtype="int32")
    updates.load(tmp_path / "run.npz", rule)
    after = variable.get_value().integers(10**9, size=1000, dtype="int32")
    np.testing.assert_array_equal(after, following)


# --- damage ------------------------------------------------------------------------------------


def some_block(data, random):
    start, stop = sorted(random.integers(len(data) + 1, size=2))
    return (start, stop) if start < stop else some_block(data, random)


def without_a_block(data, random):
    start, stop = some_block(data, random)
    return data[:start] + data[stop:]


def with_a_flipped_bit(data, random):
    place, bit = random.integers(len(data)), random.integers(8)
    return data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]


def with_other_bytes(data, random):
    start = random.integers(len(data))
    stop = start + random.integers(1, 9)
    return data[:start] + random.bytes(len(data[start:stop])) + data[stop:]


def with_inserted_bytes(data, random):
    place = random.integers(len(data) + 1)
    return data[:place] + random.bytes(random.integers(1, 50)) + data[place:]


def with_a_doubled_block(data, random):
    start, stop = some_block(data, random)
    return data[:stop] + data[start:]


def with_a_zeroed_block(data, random):
    start, stop = some_block(data, random)
    return data[:start] + bytes(stop - start) + data[stop:]


def with_swapped_blocks(data, random):
    length = random.integers(1, len(data) // 2)
    first = random.integers(len(data) - 2 * length + 1)
    second = random.integers(first + length, len(data) - length + 1)
    middle = data[first + length : second]
    swapped = data[second : second + length] + middle + data[first : first + length]
    return data[:first] + swapped + data[second + length :]


def with_the_end_of_another(data, random):
    other = saved_bytes(seed=2)
    place = random.integers(1, len(data) - 1)
    return data[:place] + other[place:]


def joined_with_another(data, random):
    parts = [saved_bytes(int(random.integers(3))) for _ in range(random.integers(1, 3))]
    parts.insert(random.integers(len(parts) + 1), data)
    return b"".join(parts)


DAMAGES = {
    "truncated": lambda data, random: data[: random.integers(len(data))],
    "beheaded": lambda data, random: data[random.integers(1, len(data)) :],
    "a block removed": without_a_block,
    "a bit flipped": with_a_flipped_bit,
    "bytes replaced": with_other_bytes,
    "bytes inserted": with_inserted_bytes,
    "a block doubled": with_a_doubled_block,
    "a block zeroed": with_a_zeroed_block,
    "blocks swapped": with_swapped_blocks,
    "two halves": with_the_end_of_another,
    "two files": joined_with_another,
}
few_and_many = pytest.mark.parametrize("count", [30, pytest.param(300, marks=pytest.mark.slow)])
every_damage = pytest.mark.parametrize("kind", DAMAGES)


@functools.cache
def saved_bytes(seed=1):
    """Return a checkpoint of the small model; equal seeds give equal bytes."""
    with tempfile.TemporaryDirectory() as folder:
        updates.save(f"{folder}/run.npz", small_model(seed), extra={"seed": seed})
        return Path(f"{folder}/run.npz").read_bytes()


def damaged(kind, count):
    """Damage a checkpoint in one way, each time elsewhere."""
    random = np.random.default_rng([count, *kind.encode()])
    made = (DAMAGES[kind](saved_bytes(), random) for _ in itertools.count())
    whole = (saved_bytes(), saved_bytes(seed=2))
    return itertools.islice((data for data in made if data not in whole), count)


@few_and_many
@every_damage
def test_damaged_files_are_refused(kind, count, tmp_path):
    rule = small_model(seed=5)
    for index, data in enumerate(damaged(kind, count)):
        path = tmp_path / f"{index}.npz"
        path.write_bytes(data)
        assert_refused(path, rule, "damaged or no checkpoint: its checksum does not fit")
        path.unlink()


@pytest.mark.slow
def test_a_file_cut_anywhere_or_with_any_bit_flipped_is_refused(tmp_path):
    path, rule, data = tmp_path / "run.npz", small_model(seed=5), saved_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        assert_refused(path, rule)
    flipped = bytearray(data)
    for place, bit in itertools.product(range(len(data)), range(8)):
        flipped[place] ^= 1 << bit
        path.write_bytes(flipped)
        assert_refused(path, rule)
        flipped[place] ^= 1 << bit


@pytest.mark.parametrize(
    "data", [b"", b"PK", b"PK\x05\x06" + bytes(18), bytes(8), b"00000000", b"\x93NUMPY", b"x" * 99]
)
def test_files_that_are_no_checkpoints_are_refused(data, tmp_path):
    path = tmp_path / "run.npz"
    path.write_bytes(data)
    assert_refused(path, small_model())
    np.savez(path, w=np.ones(3))
    assert_refused(path, small_model(), "no checkpoint: its checksum does not fit")


# --- hostile files: the checksum is right, and nothing else ------------------------------------


def sealed(data):
    """Put a right checksum in the place of the last bytes."""
    return bytes(data[:-8]) + b"%08x" % zlib.crc32(data[:-8])


def packed(members, **options):
    """Pack members as `save` packs them, the checksum still missing."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", **options) as archive:
        warnings.simplefilter("ignore", UserWarning)  # two members of one name
        archive.comment = bytes(8)
        for name, content in members:
            archive.writestr(name, content)
    return bytearray(buffer.getvalue())


def unpacked(data):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [[name, archive.read(name)] for name in archive.namelist()]


def member(array, **changes):
    """Write an array as a file of NumPy, with another header where one is given."""
    array = np.asarray(array)
    header = {**npy.header_data_from_array_1_0(array), **changes}
    buffer = io.BytesIO()
    npy.write_array_header_1_0(buffer, header)
    return buffer.getvalue() + array.tobytes()


def text(content):
    return member(np.frombuffer(content.encode(), dtype="uint8"))


HARM = f"{tempfile.gettempdir()}/unpickled-{os.getpid()}"


class Payload:
    """What makes a folder when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, (HARM,)


def pickled_array():
    buffer = io.BytesIO()
    npy.write_array(buffer, np.array([Payload()], dtype=object))
    return buffer.getvalue()


def put(name, content):
    """Replace the content of one member."""

    def change(members):
        next(member for member in members if member[0] == name)[1] = content

    return change


def listing(**changes):
    """Replace entries of the manifest; an array's value replaces what is listed of it."""

    def change(members):
        manifest = json.loads(saved_manifest())
        for key, value in changes.items():
            (manifest["arrays"] if key in manifest["arrays"] else manifest)[key] = value
        members[0][1] = text(json.dumps(manifest))

    return change


def saved_manifest():
    return npy.read_array(io.BytesIO(unpacked(saved_bytes())[0][1])).tobytes().decode()


def both(*changes):
    return lambda members: [change(members) for change in changes]


def manifest_without(key):
    def change(members):
        manifest = json.loads(saved_manifest())
        del manifest[key]
        members[0][1] = text(json.dumps(manifest))

    return change


def generator_state(**changes):
    state = np.random.default_rng(0).bit_generator.state
    return put("rng.npy", text(json.dumps({**state, **changes})))


def relisted(change_bytes, listed):
    """Change the generator's bytes, and what is listed of them."""
    return both(put("rng.npy", change_bytes), listing(rng=listed))


def generator_bytes(content):
    return relisted(text(content), ["uint8", [len(content.encode())]])


VALUES = np.arange(6.0).reshape(2, 3)
CONTENTS = {
    "a pickled array": (put("w.npy", pickled_array()), "holds Python objects"),
    "a pickled manifest": (put(MANIFEST, pickled_array()), "holds Python objects"),
    "a pickle": (put("w.npy", pickle.dumps(Payload())), "damaged"),
    "objects in a structure": (
        put("w.npy", member(VALUES, descr=[("a", "<f4"), ("b", "|O")])),
        "holds Python objects",
    ),
    "objects in a subarray": (
        put("w.npy", member(VALUES, descr=[("a", "|O", (3,))])),
        "holds Python objects",
    ),
    "another dtype": (put("w.npy", member(VALUES.astype("<f4"))), "'w' is not what the file lists"),
    "another byte order": (put("w.npy", member(VALUES.astype(">f8"))), "'w' is not what the file"),
    "another dtype that is listed": (
        both(put("w.npy", member(VALUES.astype("<i8"))), listing(w=["int64", [2, 3]])),
        "'w' has dtype int64 and shape",
    ),
    "another shape": (put("w.npy", member(VALUES.T)), "'w' is not what the file lists"),
    "another shape that is listed": (
        both(put("w.npy", member(VALUES.T)), listing(w=["float64", [3, 2]])),
        r"'w' has dtype float64 and shape \(3, 2\)",
    ),
    "a dtype that is only listed": (listing(w=["float32", [2, 3]]), "'w' is not what the file"),
    "a shape that is only listed": (listing(w=["float64", [10**12]]), "'w' is not what the file"),
    "10**12 numbers": (
        both(put("w.npy", member(VALUES, shape=(10**12,))), listing(w=["float64", [10**12]])),
        r"'w.npy' of dtype float64 and shape \(1000000000000,\) is not in the file",
    ),
    "10**30 numbers": (put("w.npy", member(VALUES, shape=(10**15, 10**15))), "is not in the file"),
    "one number of 10**9 bytes": (put("w.npy", member(VALUES, descr="|S999999999")), "not in the"),
    "10**12 numbers, of no bytes": (
        put("w.npy", member([], descr="|V0", shape=(10**12,))),
        "'w' is not what the file lists",
    ),
    "10**12 rows without columns": (put("w.npy", member([], shape=(10**12, 0))), "not what"),
    "a negative length": (put("w.npy", member(VALUES, shape=(-6,))), "damaged"),
    "two negative lengths": (put("w.npy", member(VALUES, shape=(-2, -3))), "damaged"),
    "a length that is no number": (put("w.npy", member(VALUES, shape=("2", 3))), "damaged"),
    "a few bytes less": (put("w.npy", member(VALUES)[:-1]), "'w.npy' ends early"),
    "a few bytes more": (put("w.npy", member(VALUES) + b"x"), "'w.npy' goes on after its end"),
    "an empty member": (put("w.npy", b""), "damaged"),
    "version 2 of NumPy's format": (put("w.npy", b"\x93NUMPY\x02" + bytes(99)), "another version"),
    "another format": (put("w.npy", b"x" * 300), "damaged"),
    "a header of code": (
        put(
            "w.npy",
            b"\x93NUMPY\x01\x00\x80\x00" + f"__import__('os').mkdir({HARM!r})".encode().ljust(128),
        ),
        "damaged",
    ),
    "a header of nests": (put("w.npy", b"\x93NUMPY\x01\x00\x00\x20" + b"(" * 8192), "damaged"),
    "a long header": (put("w.npy", b"\x93NUMPY\x01\x00\xff\xff" + b" " * 65535), "damaged"),
    "a member missing": (lambda members: members.pop(), "entries are not those that it lists"),
    "no manifest": (lambda members: members.pop(0), "damaged"),
    "no members": (lambda members: members.clear(), "damaged"),
    "an unknown member": (lambda members: members.append(["x.npy", b""]), "entries are not those"),
    "a member outside": (lambda members: members.append(["../../x", b"x"]), "entries are not"),
    "a member at the root": (lambda members: members.append([HARM, b"x"]), "entries"),
    "a member twice": (lambda members: members.append(members[1]), "entries are not those"),
    "members in another order": (lambda members: members.reverse(), "entries are not those"),
    "a key outside": (
        both(
            lambda members: members.append(["../../x.npy", member(1.0)]),
            lambda members: members.__setitem__(
                slice(0, 1),
                [
                    [
                        MANIFEST,
                        text(
                            saved_manifest().replace(
                                '}, "extra"', ', "../../x": ["float64", []]}, "extra"'
                            )
                        ),
                    ]
                ],
            ),
        ),
        "has unknown '../../x'",
    ),
    "a manifest of bytes": (put(MANIFEST, text("\x00\x01")), "damaged"),
    "a manifest that is not Unicode": (put(MANIFEST, member(np.full(9, 255, "uint8"))), "damaged"),
    "a manifest of numbers": (put(MANIFEST, member(VALUES)), "damaged"),
    "a manifest that is a list": (put(MANIFEST, text("[1, 2]")), "damaged"),
    "a manifest that is a text": (put(MANIFEST, text('"version"')), "damaged"),
    "an empty manifest": (put(MANIFEST, text("{}")), "damaged"),
    "a manifest of lists in lists": (put(MANIFEST, text("[" * 200_000)), "damaged"),
    "a manifest of names in names": (put(MANIFEST, text('{"a":' * 200_000)), "damaged"),
    "a manifest of one long number": (put(MANIFEST, text("9" * 200_000)), "damaged"),
    "a newer version": (listing(version=2), "version 2, .* reads 1; install a newer one"),
    "an older version": (listing(version=0), "version 0, and this version of updates reads 1$"),
    "a version that is a text": (listing(version="1"), "version '1'"),
    "a version that is a list": (listing(version=[1]), r"version \[1\]"),
    "no version": (manifest_without("version"), "damaged"),
    "no arrays": (manifest_without("arrays"), "damaged"),
    "no extra": (manifest_without("extra"), "damaged"),
    "arrays that are a list": (listing(arrays=["w", "b", "step", "rng"]), "damaged"),
    "arrays that are a number": (listing(arrays=4), "damaged"),
    "arrays that are none": (listing(arrays={}), "entries are not those"),
    "an array listed as a number": (listing(w=3), "'w' is not what the file lists: 3"),
    "an array listed as a text": (listing(w="float64"), "'w' is not what the file lists"),
    "an array listed without a shape": (listing(w=["float64"]), "'w' is not what the file lists"),
    "an array listed as lists in lists": (
        put(MANIFEST, text(saved_manifest().replace("[2, 3]", "[" * 500 + "]" * 500))),
        "'w' is not what the file lists",
    ),
    "a generator of bytes": (generator_bytes("\x00\x01"), "'rng' is not the state of a random"),
    "a generator of nothing": (generator_bytes(""), "'rng' is not the state of a random"),
    "a generator that is a list": (generator_bytes("[1]"), "'rng' is not the state of a random"),
    "a generator of lists in lists": (generator_bytes("[" * 200_000), "'rng' is not the state"),
    "a generator of names in names": (generator_bytes('{"state":' * 200_000), "'rng' is not the"),
    "a generator of floats": (relisted(member([1.0, 2.0]), ["float64", [2]]), "'rng' is not the"),
    "a generator in two axes": (
        relisted(member(np.zeros((2, 2), "uint8")), ["uint8", [2, 2]]),
        "'rng' is not the state of a random generator of type PCG64: dtype uint8 and shape",
    ),
}


@pytest.mark.filterwarnings("ignore")  # NumPy warns of odd headers
@pytest.mark.parametrize("case", CONTENTS)
def test_hostile_contents_are_refused(case, tmp_path):
    change, words = CONTENTS[case]
    members = unpacked(saved_bytes())
    assert packed(members) != saved_bytes()  # other sizes and flags, the same contents
    path = tmp_path / "run.npz"
    path.write_bytes(sealed(packed(members)))
    updates.load(path, small_model())
    change(members)
    path.write_bytes(sealed(packed(members)))
    assert_hostile_is_refused(path, small_model(seed=5), words)


def assert_hostile_is_refused(path, rule, words):
    """Check that a file is refused, and that nothing is run and little memory taken."""
    allowed = 3_000_000 + 4 * path.stat().st_size
    tracemalloc.start()
    try:
        assert_refused(path, rule, words)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < allowed
    assert not os.path.exists(HARM)


def field(signature, offset, size, value):
    """Overwrite a number in the last header of a kind."""

    def change(data):
        place = data.rindex(signature) + offset
        data[place : place + size] = value.to_bytes(size, "little")

    return change


entry, local, end = b"PK\1\2", b"PK\3\4", b"PK\5\6"


def compressed(method):
    def change(data):
        members = unpacked(data)
        next(m for m in members if m[0] == "w.npy")[1] = member(np.zeros(8 << 20), shape=(8 << 20,))
        data[:] = packed(members, compression=method)

    return change


HEADERS = {
    "encrypted": (field(entry, 8, 2, 1), "'rng.npy' is compressed or encrypted"),
    "deflated, a bomb": (compressed(zipfile.ZIP_DEFLATED), "'%updates.npy' is compressed"),
    "bzip2, a bomb": (compressed(zipfile.ZIP_BZIP2), "'%updates.npy' is compressed"),
    "lzma, a bomb": (compressed(zipfile.ZIP_LZMA), "'%updates.npy' is compressed"),
    "an unknown method": (field(entry, 10, 2, 99), "'rng.npy' is compressed or encrypted"),
    "another checksum of a member": (field(entry, 16, 4, 0), "Bad CRC-32"),
    "a member larger than the file": (
        both(field(entry, 20, 4, 2**31), field(entry, 24, 4, 2**31)),
        "damaged|goes on",
    ),
    "a member larger than said": (field(entry, 24, 4, 20), "damaged|ends early"),
    "a member smaller than said": (field(entry, 20, 4, 20), "damaged|ends early"),
    "a member beyond the end": (field(entry, 42, 4, 2**31), "damaged"),
    "a member in the place of another": (field(entry, 42, 4, 0), "damaged|Overlapped"),
    "a member in the middle of another": (field(entry, 42, 4, 77), "damaged"),
    "another name in its own header": (field(local, 30, 1, ord("x")), "damaged"),
    "a directory beyond the end": (field(end, 16, 4, 2**31), "something before or after"),
    "a directory elsewhere": (field(end, 16, 4, 3), "something before or after"),
    "a long directory": (field(end, 12, 4, 2**31), "damaged"),
    "an empty directory": (field(end, 12, 4, 0), "damaged"),
    "a negative offset": (field(end, 16, 4, 2**32 - 2), "something before or after"),
    "no comment": (field(end, 20, 2, 0), "something before or after"),
    "bytes behind the end": (lambda data: data.extend(b"x" * 20), "something before or after"),
    "an archive behind the end": (lambda data: data.extend(data), "something before or after"),
    "bytes before the start": (
        lambda data: data.__setitem__(slice(0, 0), b"x" * 20),
        "something before or after",
    ),
    "nothing but an end": (
        lambda data: data.__setitem__(slice(None), end + bytes(16) + b"\x08\x00" + bytes(8)),
        "damaged",
    ),
}


@pytest.mark.parametrize("case", HEADERS)
def test_hostile_headers_are_refused(case, tmp_path):
    change, words = HEADERS[case]
    data = packed(unpacked(saved_bytes()))
    change(data)
    path = tmp_path / "run.npz"
    path.write_bytes(sealed(data))
    assert_hostile_is_refused(path, small_model(seed=5), words)


def test_entries_that_overlap_take_no_more_memory_than_the_file(tmp_path):
    """Each array holds, in its bytes, the entries of all that follow: 1 MB poses as 60 MB."""
    count, infos, arrays, starts = 60, [], {}, []
    content = bytes(1 << 20)
    for index in reversed(range(count)):
        array = np.frombuffer(content, dtype="uint8")
        arrays[f"w{index}"] = array
        info = zipfile.ZipInfo(f"w{index}.npy")
        file = member(array)
        info.file_size = info.compress_size = len(file)
        info.CRC = zlib.crc32(file)
        infos.append(info)
        head = info.FileHeader() + file[: len(file) - len(content)]
        starts.append(len(head))
        content = head + content
    infos.reverse()
    offsets = itertools.accumulate(reversed(starts), initial=0)
    described = {f"w{i}": ["uint8", list(arrays[f"w{i}"].shape)] for i in range(count)}
    manifest = text(json.dumps({"version": 1, "arrays": described, "extra": None}))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.comment = bytes(8)
        archive.writestr(MANIFEST, manifest)
        start = buffer.tell()
        buffer.write(content)
        archive.start_dir = buffer.tell()
        for info, offset in zip(infos, offsets, strict=False):
            info.header_offset = start + offset
            archive.filelist.append(info)
            archive.NameToInfo[info.filename] = info
    path = tmp_path / "run.npz"
    path.write_bytes(sealed(buffer.getvalue()))
    variables = [pytensor.shared(arrays[key], name=key, borrow=True) for key in described]
    for key in ("w0", "w59"):  # each of them alone is as it should be
        only = [v for v in variables if v.name == key]
        with contextlib.suppress(updates.CheckpointError):  # newer Pythons see it by themselves
            updates.load(path, only)
    before = [variable.get_value(borrow=True) for variable in variables]
    tracemalloc.start()
    with pytest.raises(updates.CheckpointError, match=r"is not in the file|Overlapped"):
        updates.load(path, same(*variables))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20
    assert all(
        v.get_value(borrow=True) is value for v, value in zip(variables, before, strict=True)
    )


INNER = {
    "position beyond the table": ("MT19937", lambda s: s["state"].update(pos=10**6)),
    "position at a huge place": ("MT19937", lambda s: s["state"].update(pos=2**31 - 1)),
    "position before the table": ("MT19937", lambda s: s["state"].update(pos=-5)),
    "position that is true": ("MT19937", lambda s: s["state"].update(pos=True)),
    "short table": ("MT19937", lambda s: s["state"].update(key=[1, 2])),
    "long table": ("MT19937", lambda s: s["state"]["key"].append(1)),
    "table in a table": ("MT19937", lambda s: s["state"].update(key=[[1]] * 624)),
    "number too large": ("MT19937", lambda s: s["state"].update(key=[2**40] * 624)),
    "buffer position before": ("Philox", lambda s: s.update(buffer_pos=-(10**9))),
    "buffer position beyond": ("Philox", lambda s: s.update(buffer_pos=10**6)),
    "buffer position just beyond": ("Philox", lambda s: s.update(buffer_pos=5)),
    "short buffer": ("Philox", lambda s: s.update(buffer=[1])),
    "short counter": ("Philox", lambda s: s["state"].update(counter=[1])),
    "short state": ("SFC64", lambda s: s["state"].update(state=[1])),
    "negative state": ("PCG64", lambda s: s["state"].update(state=-1)),
    "state too large": ("PCG64", lambda s: s["state"].update(state=2**200)),
    "state that is a float": ("PCG64", lambda s: s["state"].update(state=1.5)),
    "increment that is a text": ("PCG64", lambda s: s["state"].update(inc="a")),
    "state that is a number": ("PCG64", lambda s: s.update(state=3)),
    "remainder too large": ("PCG64", lambda s: s.update(uinteger=2**40)),
    "no increment": ("PCG64", lambda s: s["state"].pop("inc")),
    "no remainder": ("PCG64", lambda s: s.pop("uinteger")),
    "something more": ("PCG64", lambda s: s.update(x=1)),
    "another kind": ("PCG64", lambda s: s.update(bit_generator="PCG64DXSM")),
    "a kind that is a number": ("PCG64", lambda s: s.update(bit_generator=1)),
}


@pytest.mark.parametrize("case", INNER)
def test_nonsense_in_a_generator_is_refused(case, tmp_path):
    """NumPy itself would read memory anywhere, and the process would die, for some of them."""
    kind, change = INNER[case]
    rule = generator_of(getattr(np.random, kind))
    path = tmp_path / "run.npz"
    updates.save(path, rule)
    state = json.loads(bits(rule)["rng"].tobytes())
    change(state)
    content = np.frombuffer(json.dumps(state).encode(), dtype="uint8")
    members = unpacked(path.read_bytes())
    put("rng.npy", member(content))(members)
    manifest = json.loads(npy.read_array(io.BytesIO(members[0][1])).tobytes())
    manifest["arrays"]["rng"][1] = [len(content)]
    members[0][1] = text(json.dumps(manifest))
    path.write_bytes(sealed(packed(members)))
    words = f"'rng' is not the state of a random generator of type {kind}: "
    assert_hostile_is_refused(path, rule, words)
    with pytest.raises(updates.CheckpointError, match=f"^load_state_dict: {words}"):
        updates.load_state_dict(rule, {"rng": content})


def test_the_pickles_of_these_tests_would_do_harm():
    np.lib.format.read_array(io.BytesIO(pickled_array()), allow_pickle=True)
    assert os.path.isdir(HARM)
    os.rmdir(HARM)


@pytest.mark.filterwarnings("ignore")
@few_and_many
@every_damage
def test_damage_under_a_right_checksum_is_refused_or_changes_nothing(kind, count, tmp_path):
    """A change of a date in the archive, for instance, does no harm: the values are those saved."""
    path, refused = tmp_path / "run.npz", 0
    saved = bits(small_model())
    for data in damaged(kind, count):
        path.write_bytes(sealed(data + bytes(8) if kind == "truncated" else data))
        rule = small_model(seed=5)
        before = bits(rule)
        try:
            extra = updates.load(path, rule)
        except updates.CheckpointError:
            refused += 1
            assert_same_bits(bits(rule), before)
        else:
            others = (1, saved), (2, bits(small_model(seed=2))), (0, bits(small_model(seed=0)))
            [expected] = [state for seed, state in others if extra == {"seed": seed}]
            assert_same_bits(bits(rule), expected)
    assert refused > count / 4


# --- writing is all or nothing -----------------------------------------------------------------


class FailingFile(io.FileIO):
    """A file that asks before each write."""

    ask = staticmethod(lambda call: None)

    def write(self, data):
        self.ask("write")
        return super().write(data)


class Calls:
    """Count the system calls that saving makes, and let one of them fail."""

    NAMES = ("open", "stat", "fchown", "fchmod", "fsync", "replace")

    def __init__(self, monkeypatch, fail_at=None, error=None):
        self.made, self.fail_at, self.error = [], fail_at, error
        for name in self.NAMES:
            monkeypatch.setattr(os, name, partial(self.call, name, getattr(os, name)))
        monkeypatch.setattr(replacing, "open", self.open, raising=False)

    def open(self, descriptor, mode):
        file = FailingFile(descriptor, mode)
        file.ask = self.ask
        return io.BufferedWriter(file, 1000)

    def call(self, name, function, *args, **kwargs):
        self.ask(name)
        return function(*args, **kwargs)

    def ask(self, name):
        self.made.append(name)
        if len(self.made) - 1 == self.fail_at:
            raise self.error


def calls_of_a_save(path, rule):
    with pytest.MonkeyPatch.context() as monkeypatch:
        calls = Calls(monkeypatch)
        updates.save(path, rule)
    return calls.made


def changed_model():
    """Make the small model with larger arrays, which take several writes."""
    return {**same(shared(np.arange(500.0), "large")), **small_model(seed=2)}


FAILURES = {
    "no space": OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
    "disk error": OSError(errno.EIO, os.strerror(errno.EIO)),
    "interrupt": KeyboardInterrupt(),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failure_of_any_system_call_leaves_the_old_file_and_no_other(failure, tmp_path):
    path, old, new = tmp_path / "run.npz", small_model(), changed_model()
    calls = calls_of_a_save(path, new)
    calls = calls_of_a_save(path, new)
    assert {*calls} == {*Calls.NAMES, "write"}
    assert calls.count("write") > 4
    moved = calls.index("replace")
    assert calls[moved - 1 : moved + 2] == ["fsync", "replace", "fsync"]
    updates.save(path, old)
    before = path.read_bytes()
    for index, call in enumerate(calls):
        error = FAILURES[failure]
        if isinstance(error, OSError):
            error = OSError(error.errno, error.strerror)
        with pytest.MonkeyPatch.context() as monkeypatch:
            Calls(monkeypatch, index, error)
            with pytest.raises(type(error)) as caught:
                updates.save(path, new)
        assert caught.value is error or call == "write"
        if isinstance(error, OSError):
            assert caught.value.errno == error.errno
            assert caught.value.filename == str(path)
            assert str(path) in str(caught.value)
        assert os.listdir(tmp_path) == ["run.npz"], (index, call)
        if index <= moved:
            assert path.read_bytes() == before, (index, call)
            updates.load(path, old)
        else:  # the new one is in its place, and may yet be lost when the power fails
            updates.load(path, new)


def test_a_file_that_may_grow_no_further_is_an_os_error(tmp_path):
    """The system itself refuses to write here, at any length of the file."""
    path, old, new = tmp_path / "run.npz", small_model(), changed_model()
    updates.save(path, new)
    length = path.stat().st_size
    updates.save(path, old)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in (0, 1, 100, length // 2, length - 9, length - 1):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))
        try:
            with pytest.raises(OSError, match=r"too large.*run\.npz"):
                updates.save(path, new)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert path.read_bytes() == before
        assert os.listdir(tmp_path) == ["run.npz"]
    updates.save(path, new)


def test_a_full_disk_leaves_the_old_file(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"mounting is not permitted here: {error}")
    try:
        path, rule = disk / "run.npz", small_model()
        updates.save(path, rule)
        before = path.read_bytes()
        large = {**rule, **same(shared(np.zeros(1 << 16), "large"))}
        with pytest.raises(OSError, match=r"No space left.*run\.npz"):
            updates.save(path, large)
        assert path.read_bytes() == before
        assert os.listdir(disk) == ["run.npz"]
        updates.load(path, rule)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_link_stays_a_link(tmp_path):
    rule = small_model()
    for folder in ("real", "links"):
        (tmp_path / folder).mkdir()
    link, dangling = tmp_path / "links" / "run.npz", tmp_path / "links" / "new.npz"
    link.symlink_to("../real/run.npz")
    dangling.symlink_to(tmp_path / "real" / "new.npz")
    for path in (link, link, dangling):
        updates.save(path, rule)
        assert path.is_symlink()
        updates.load(path, rule)
    assert sorted(os.listdir(tmp_path / "real")) == ["new.npz", "run.npz"]
    assert sorted(os.listdir(tmp_path / "links")) == ["new.npz", "run.npz"]


def test_permissions_stay_and_new_files_have_the_usual_ones(tmp_path):
    path, rule = tmp_path / "run.npz", small_model()
    umask = os.umask(0o027)
    try:
        updates.save(path, rule)
    finally:
        os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    for mode in (0o640, 0o600, 0o664, 0o444):
        path.chmod(mode)
        updates.save(path, rule)
        assert stat.S_IMODE(path.stat().st_mode) == mode
    if os.geteuid() == 0:
        os.chown(path, 1234, 1235)
        updates.save(path, rule)
        assert (path.stat().st_uid, path.stat().st_gid) == (1234, 1235)


def test_an_owner_that_cannot_be_kept_is_no_failure(tmp_path, monkeypatch):
    path, rule = tmp_path / "run.npz", small_model()
    updates.save(path, rule)
    calls = Calls(monkeypatch, calls_of_a_save(path, rule).index("fchown"), PermissionError())
    updates.save(path, small_model(seed=2))
    assert "replace" in calls.made
    assert float(np.load(path)["step"]) == 2


def test_paths_that_cannot_be_written_are_os_errors(tmp_path):
    rule, folder = small_model(), tmp_path / "folder"
    folder.mkdir()
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for path in (tmp_path / "missing" / "run.npz", folder, fifo, loop, fifo / "run.npz"):
        with pytest.raises(OSError, match=str(tmp_path)):
            updates.save(path, rule)
    with pytest.raises(FileNotFoundError):
        updates.load(tmp_path / "run.npz", rule)
    with pytest.raises(IsADirectoryError):
        updates.load(folder, rule)
    assert sorted(os.listdir(tmp_path)) == ["fifo", "folder", "loop"]
    assert os.listdir(folder) == []
    assert stat.S_ISFIFO(fifo.stat().st_mode)


@pytest.mark.parametrize("name", ["a", "n" * 255, "重" * 85, "a b\nc", "-x.npz", ".hidden"])
def test_any_name_of_a_file_will_do(name, tmp_path, monkeypatch):
    rule = small_model()
    updates.save(tmp_path / name, rule, extra=name)
    assert updates.load(str(tmp_path / name), rule) == name
    monkeypatch.chdir(tmp_path)
    updates.save(name, rule, extra=1)
    assert updates.load(name, rule) == 1
    assert os.listdir(tmp_path) == [name]


# --- killed at any moment ----------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_ends_bit_for_bit_like_one_that_is_not(tmp_path):
    def finish(folder, kills):
        (tmp_path / folder).mkdir()
        program = Path(__file__).with_name("checkpoint_run.py")
        command = [sys.executable, program, tmp_path / folder, "2000", str(kills)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
        with np.load(tmp_path / folder / "run.npz") as archive:
            return json.loads(done.stdout), dict(archive.items())

    never, expected = finish("never", 0)
    often, after = finish("often", 50)
    assert_same_bits(after, expected)
    assert never == {"kills": 0, "during_save": 0, "starts": [0]}
    assert often["kills"] == 50
    assert 5 < often["during_save"] < 50
    assert often["starts"] == sorted(often["starts"])
    assert len({*often["starts"]}) > 10
