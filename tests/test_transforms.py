"""The update transforms: they copy, each does what it says, and they compose."""

import itertools
from collections import OrderedDict

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from catalogue import AS_WRITTEN, arrays, assert_same_bits, loss_of, parameters, run
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.replace import clone_replace

import updates

loss = pt.dscalar("loss")
TRANSFORMS = {
    "apply_momentum": lambda given: updates.apply_momentum(given, momentum=0.5),
    "apply_nesterov_momentum": lambda given: updates.apply_nesterov_momentum(given, momentum=0.5),
    "apply_weight_decay": lambda given: updates.apply_weight_decay(given, weight_decay=0.1),
    "apply_norm_constraint": lambda given: updates.apply_norm_constraint(given, max_norm=0.5),
    "apply_bounds": lambda given: updates.apply_bounds(given, low=-1, high=pt.constant(0.75)),
    "apply_ema": lambda given: updates.apply_ema(given, decay=lambda step: 0.9 + 0 * step),
    "apply_lookahead": lambda given: updates.apply_lookahead(given, every=2),
    "apply_if_finite": updates.apply_if_finite,
    "freeze": lambda given: updates.freeze(given, "vector"),
    "reduce_on_plateau": lambda given: updates.reduce_on_plateau(
        given, loss=next(iter(p for p in dict(given) if p.name == "scalar")) ** 2, patience=1
    ),
    "merge_updates": updates.merge_updates,
}
every_transform = pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
both_momenta = pytest.mark.parametrize(
    "transform", [updates.apply_momentum, updates.apply_nesterov_momentum], ids=lambda f: f.__name__
)


def sgd(params, learning_rate=0.02):
    return updates.sgd(loss_of(params), params, learning_rate)


def named(dictionary, name):
    [variable] = [variable for variable in dictionary if variable.name == name]
    return variable


def train(dictionary, inputs, batches):
    """Run compiled updates over batches and return the values of all tensors."""
    step = pytensor.function(inputs, updates=dictionary, mode=AS_WRITTEN)
    for batch in batches:
        step(*batch)
    return arrays(dictionary)


# --- what all of them keep ---------------------------------------------------------------------


@every_transform
def test_the_given_dictionary_stays_as_it_is(transform):
    params = parameters()
    plain = updates.rmsprop(loss_of(params), params, 0.01)
    before = list(plain.items())
    for given in (plain, dict(plain), list(before)):
        result = transform(given)
        assert list(plain.items()) == before
        assert isinstance(result, OrderedDict)
        assert result is not plain
        assert [v for v in result if v in plain] == [v for v in plain if v in result]


def test_an_iterator_of_pairs_is_a_dictionary_of_updates_too():
    params = parameters()
    assert len(updates.apply_momentum(iter(sgd(params).items()))) == 2 * len(params)


REFUSED = {
    "no dictionary": (3, TypeError, "must be a dictionary"),
    "no pairs": ([1, 2], TypeError, "must be a pair"),
    "no shared variable": ({pt.dscalar("x"): pt.dscalar("y")}, TypeError, "shared variables only"),
    "nothing": ({}, ValueError, "is empty"),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("name", [name for name in TRANSFORMS if name != "reduce_on_plateau"])
def test_what_is_no_dictionary_of_updates_is_refused(name, case):
    given, error, words = REFUSED[case]
    if (name, case) == ("merge_updates", "nothing"):
        assert updates.merge_updates(given, [], ()) == OrderedDict()
        return
    with pytest.raises(error, match=f"^{name}: .*{words}"):
        TRANSFORMS[name](given)


@every_transform
def test_float32_stays_float32(transform):
    params = parameters(("float32",) * 4)
    for name, value in run(transform(sgd(params))).items():
        if name in ("matrix", "vector", "row", "scalar"):
            assert value.dtype == "float32"


def test_variables_that_are_no_parameters_of_the_transform_stay_as_they_are():
    params = parameters()
    plain = updates.adam(loss_of(params), params, 0.01)
    for name in ("apply_momentum", "apply_weight_decay", "apply_bounds", "apply_lookahead"):
        result = TRANSFORMS[name](plain)
        assert {v for v in plain if result[v] is not plain[v]} == set(params)
        added = {v for v in result if v not in plain}
        assert all(updates.is_state(v) and v.name.split("/")[-2] == name for v in added)


@pytest.mark.parametrize("name", ["apply_momentum", "apply_weight_decay", "apply_lookahead"])
def test_with_params_only_these_are_touched(name):
    params = parameters()
    plain = sgd(params)
    result = getattr(updates, name)(plain, params[1])
    assert {v for v in plain if result[v] is not plain[v]} == {params[1]}
    with pytest.raises(ValueError, match=f"^{name}: parameter 'other' .* is not among"):
        getattr(updates, name)(plain, [pytensor.shared(1.0, name="other")])


# --- momentum ----------------------------------------------------------------------------------


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


@both_momenta
def test_a_hand_written_dictionary_of_another_dtype_keeps_the_parameters_dtype(transform):
    w = pytensor.shared(np.ones(3, dtype="float32"), name="w")
    by_hand = {w: w - 0.1 * w}
    assert by_hand[w].type.dtype == "float64"
    assert run(transform(by_hand))["w"].dtype == "float32"


# --- decay and bounds --------------------------------------------------------------------------


def test_weight_decay_around_a_rule_is_that_of_adamw():
    first, second = parameters(), parameters()
    plain = updates.adamw(loss_of(first), first, learning_rate=0.05, weight_decay=0.0)
    outside = run(updates.apply_weight_decay(plain, weight_decay=0.05 * 0.1))
    inside = run(updates.adamw(loss_of(second), second, learning_rate=0.05, weight_decay=0.1))
    for param in first:
        np.testing.assert_allclose(outside[param.name], inside[param.name], rtol=1e-13)


def test_norms_keep_their_bound_and_vectors_are_left_alone_by_default():
    first, second = parameters(), parameters()
    after = run(updates.apply_norm_constraint(sgd(first), max_norm=0.25))
    free = run(sgd(second))
    assert np.linalg.norm(after["matrix"], axis=0).max() <= 0.25
    assert np.linalg.norm(free["matrix"], axis=0).min() > 0.25
    by_rows = updates.apply_norm_constraint(sgd(first), first[0], max_norm=0.1, norm_axes=(1,))
    assert np.linalg.norm(run(by_rows)["matrix"], axis=1).max() <= 0.1
    vectors = {v for v in first if v.ndim != 2}
    plain = sgd(first)
    result = updates.apply_norm_constraint(plain, max_norm=0.25)
    assert {v for v in plain if result[v] is plain[v]} == vectors


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ({"low": -0.5}, [-0.5, 0.0, 2.0]),
        ({"high": 0.5}, [-2.0, 0.0, 0.5]),
        ({"low": -0.5, "high": pytensor.shared(np.float32(0.5))}, [-0.5, 0.0, 0.5]),
    ],
)
def test_bounds_project(bounds, expected):
    w = pytensor.shared(np.zeros(3), name="w")
    result = updates.apply_bounds({w: pt.constant([-2.0, 0.0, 2.0])}, **bounds)
    np.testing.assert_array_equal(run(result, steps=1)["w"], expected)


def test_bad_bounds_are_refused():
    plain = sgd(parameters())
    with pytest.raises(ValueError, match="low and high are both missing"):
        updates.apply_bounds(plain)
    with pytest.raises(ValueError, match="low=2 and high=1"):
        updates.apply_bounds(plain, low=2, high=1)
    with pytest.raises(TypeError, match="max_norm is required"):
        updates.apply_norm_constraint(plain)


# --- averages ----------------------------------------------------------------------------------


def averaged():
    params = parameters()
    return params, updates.apply_ema(sgd(params), decay=0.9)


def test_an_average_starts_at_the_parameter_and_equals_it_after_one_call():
    params, result = averaged()
    for param, average in updates.averages(result).items():
        np.testing.assert_array_equal(average.get_value(), param.get_value())
    run(result, steps=1)
    for param, average in updates.averages(result).items():
        np.testing.assert_array_equal(average.get_value(), param.get_value())
    run(result, steps=2)
    assert list(updates.averages(result)) == params
    for param, average in updates.averages(result).items():
        assert (average.get_value() != param.get_value()).all()


def test_averages_are_swapped_in_and_back_whatever_happens():
    params, result = averaged()
    run(result)
    plain = [param.get_value(borrow=True) for param in params]
    means = [average.get_value(borrow=True) for average in updates.averages(result).values()]

    def evaluate_and_fail():
        with updates.use_averages(result):
            assert all(p.get_value(borrow=True) is m for p, m in zip(params, means, strict=True))
            raise KeyError

    with pytest.raises(KeyError):
        evaluate_and_fail()
    assert all(p.get_value(borrow=True) is v for p, v in zip(params, plain, strict=True))


def test_a_block_within_a_block_for_the_same_averages_changes_nothing():
    params, result = averaged()
    run(result)
    plain = [param.get_value(borrow=True) for param in params]
    means = [average.get_value(borrow=True) for average in updates.averages(result).values()]
    with updates.use_averages(result):
        with updates.use_averages(dict(result)):
            assert all(p.get_value(borrow=True) is m for p, m in zip(params, means, strict=True))
        assert all(p.get_value(borrow=True) is m for p, m in zip(params, means, strict=True))
    assert all(p.get_value(borrow=True) is v for p, v in zip(params, plain, strict=True))
    with updates.use_averages(result):
        assert all(p.get_value(borrow=True) is m for p, m in zip(params, means, strict=True))


def test_blocks_for_other_averages_of_the_same_parameters_nest():
    w = pytensor.shared(1.0, name="w")
    inner = updates.apply_ema(updates.sgd(w**2, [w], 0.25), decay=0.5)
    outer = updates.apply_ema(inner, decay=0.9)
    run(outer)
    first, last = updates.averages(inner)[w].get_value(), updates.averages(outer)[w].get_value()
    assert first != last
    with updates.use_averages(inner):
        with updates.use_averages(outer):
            assert w.get_value() == last
        assert w.get_value() == first


@pytest.mark.parametrize("call", ["save", "load", "state_dict", "load_state_dict"])
def test_values_that_have_changed_places_are_not_saved(call, tmp_path):
    params, result = averaged()
    path, state = tmp_path / "run.npz", updates.state_dict(result)
    updates.save(path, result)
    calls = {
        "save": lambda what: updates.save(path, what),
        "load": lambda what: updates.load(path, what),
        "state_dict": updates.state_dict,
        "load_state_dict": lambda what: updates.load_state_dict(what, state),
    }
    with updates.use_averages(result):
        with pytest.raises(ValueError, match=f"^{call}: use_averages has put averages in the"):
            calls[call](result)
        calls[call](params)
    calls[call](result)


def test_there_must_be_averages():
    with pytest.raises(ValueError, match="holds no averages; make them with apply_ema"):
        updates.averages(sgd(parameters()))


# --- skipped steps -----------------------------------------------------------------------------

data = pt.dvector("data")
RULES_TO_GUARD = {
    "sgd": updates.sgd(learning_rate=0.1),
    "adam": updates.adam(learning_rate=lambda step: 0.1 / (step + 1)),
    "adagrad_window": updates.adagrad_window(learning_rate=0.1, n_win=2),
    "prodigy": updates.prodigy(learning_rate=0.5, initial_distance=0.01),
    "schedule_free_adamw": updates.schedule_free_adamw(learning_rate=0.1),
    "adafactor": updates.adafactor(min_dim_size_to_factor=2),
    "muon": updates.muon(),
    "apply_ema": lambda loss, params: updates.apply_ema(updates.sgd(loss, params, 0.1)),
    "accumulate_gradients": updates.accumulate_gradients(
        rule=updates.adam(learning_rate=0.1), every=2
    ),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("rule", RULES_TO_GUARD.values(), ids=RULES_TO_GUARD)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_step_that_is_not_finite_leaves_no_trace(rule, bad):
    def after(batches):
        w = pytensor.shared(np.array([[0.5, -1.0], [2.0, 0.3]], dtype="float32"), name="w")
        b = pytensor.shared(np.array([0.1, -0.2]), name="b")
        error = ((w * data[:2] + b - data[2]) ** 2).sum()
        return train(updates.apply_if_finite(rule(error, [w, b])), [data], [[x] for x in batches])

    good = [[1.0, 2.0, 0.5], [0.5, -1.0, 0.1], [2.0, 0.3, -0.7], [1.0, 1.0, 1.0]]
    clean = after(good)
    assert clean.pop("apply_if_finite/skipped") == 0
    broken = after([[bad, 0, 0], good[0], good[1], [1, bad, 1], [1, 1, bad], good[2], good[3]])
    assert broken.pop("apply_if_finite/skipped") == 3
    assert_same_bits(clean, broken)


def test_a_skipped_step_on_rows_of_a_table_leaves_no_trace():
    table, index = pytensor.shared(np.ones((4, 2)), name="table"), pt.lvector("index")
    rows = table[index]
    result = updates.apply_if_finite(updates.adam(((rows - data) ** 2).sum(), [rows], 0.1))
    inputs, batch = [index, data], [[0, 2, 0], [0.5, 2.0]]
    once = train(result, inputs, [batch, [[1, 2, 2], [np.nan, 1.0]]])
    assert once.pop("apply_if_finite/skipped") == 1
    assert (once["table"][[0, 2]] != 1).all()
    assert (once["table"][[1, 3]] == 1).all()
    assert once["adam/step"] == 1


@pytest.mark.parametrize("mode", [AS_WRITTEN, "NUMBA"], ids=["as written", "numba"])
def test_a_guard_stops_after_some_skips_in_a_row_and_changes_nothing_then(mode):
    w = pytensor.shared(np.ones(2), name="w")
    result = updates.apply_if_finite(updates.adam((w * data).sum(), [w], 0.1), max_skips=3)
    step = pytensor.function([data], updates=result, mode=mode)
    good, bad = [1.0, 1.0], [np.nan, 1.0]
    for batch in (bad, bad, good, bad, bad):
        step(batch)
    before = arrays(result)
    assert before["apply_if_finite/skipped"] == 4
    assert before["apply_if_finite/skipped_in_a_row"] == 2
    with pytest.raises(FloatingPointError, match="apply_if_finite: 3 steps in a row were skipped"):
        step(bad)
    assert_same_bits(arrays(result), before)
    step(good)
    assert named(result, "apply_if_finite/skipped_in_a_row").get_value() == 0


@pytest.mark.parametrize("form", ["number", "shared", "rows"])
def test_a_guard_skips_steps_that_are_too_long(form):
    table, b = pytensor.shared(np.ones((3, 2)), name="table"), pytensor.shared(0.0, name="b")
    w = table[[0, 2, 2]] if form == "rows" else table
    grads = [w * 0 + data[0], b * 0 + data[1]]  # repeated rows step once
    bound = pytensor.shared(5.0) if form == "shared" else 5.0
    result = updates.apply_if_finite(updates.sgd(grads, [w, b], 1.0), max_norm=bound)
    result[pytensor.shared(0.0, name="merged")] = data[0] * 100
    guarded = updates.apply_if_finite(dict(result), max_norm=bound)
    for dictionary in (result, guarded):
        step = pytensor.function([data], updates=dictionary, mode=AS_WRITTEN)
        expected = table.get_value(), b.get_value()
        step([0.0, 5.1])
        assert (table.get_value() == expected[0]).all()
        assert b.get_value() == expected[1]
        step([0.0, 4.9])
        assert b.get_value() == expected[1] - 4.9
    assert named(guarded, "merged").get_value() == 0


# --- which variables ---------------------------------------------------------------------------


def by_hand(has_gradient=True):
    """Make updates as Theano programs do: classical momentum, and a running mean beside it."""
    w, b, v = (pytensor.shared(value, name=n) for value, n in ((2.0, "w"), (1.0, "b"), (0.0, "v")))
    mean, x = pytensor.shared(1.0, name="mean"), pt.dscalar("x")
    loss = (w * x + b - mean) ** 2
    grads = pytensor.grad(loss, [w, b]) if has_gradient else [2 * w, 2 * b]
    v_new = 0.9 * v - 0.1 * grads[0]
    items = {w: w + v_new, v: v_new, b: b - 0.1 * grads[1], mean: 0.9 * mean + 0.1 * x}
    return [w, b], items


STEPPING = [name for name in TRANSFORMS if name not in ("apply_if_finite", "freeze")]
STEPPING = [name for name in STEPPING if name not in ("merge_updates", "reduce_on_plateau")]


@pytest.mark.parametrize("name", [n for n in STEPPING if n != "apply_norm_constraint"])
def test_in_updates_by_hand_the_parameters_of_the_loss_are_transformed(name):
    params, items = by_hand()
    for order in itertools.permutations(items.items()):
        result = TRANSFORMS[name](list(order))
        assert {v for v in items if result[v] is not items[v]} <= set(params)
    chosen = getattr(updates, name)(items, params, **{"apply_bounds": {"low": -1}}.get(name, {}))
    assert [v.name for v in chosen] == [v.name for v in TRANSFORMS[name](items)]


@pytest.mark.parametrize("name", STEPPING)
def test_where_nothing_tells_the_parameters_they_are_asked_for(name):
    params, items = by_hand(has_gradient=False)
    with pytest.raises(ValueError, match=f"^{name}: params is needed here: .*w, v, b, mean"):
        TRANSFORMS[name](items)
    if name != "apply_norm_constraint":
        given = {"apply_bounds": {"low": -1}}.get(name, {})
        assert set(items) <= set(getattr(updates, name)(items, params, **given))


# --- freezing and merging ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "choose",
    [
        lambda params: "matrix",
        lambda params: params[0],
        lambda params: ["matrix"],
        lambda params: [params[0]],
        lambda params: lambda param: param.ndim == 2 and param.name == "matrix",
    ],
    ids=["name", "variable", "names", "variables", "function"],
)
def test_what_is_frozen_stays_and_its_state_goes(choose):
    params = parameters()
    plain = updates.apply_ema(updates.adam(loss_of(params), params, 0.01))
    result = updates.freeze(plain, choose(params))
    gone = {v.name for v in plain if v not in result}
    assert gone == {
        "matrix",
        "matrix/adam/first_moment",
        "matrix/adam/second_moment",
        "matrix/apply_ema/average",
    }
    before = params[0].get_value()
    after = run(result)
    np.testing.assert_array_equal(params[0].get_value(), before)
    assert after["adam/step"] == 3


def test_a_name_that_no_parameter_has_cannot_be_frozen():
    with pytest.raises(ValueError, match=r"freeze: 'matrx' is not among .*\[matrix, vector"):
        updates.freeze(sgd(parameters()), ["vector", "matrx"])
    with pytest.raises(TypeError, match="freeze: params must be a list of names"):
        updates.freeze(sgd(parameters()), 3)


def test_groups_of_parameters_with_different_rules():
    params, alone = parameters(), parameters()
    total, total_alone = loss_of(params), loss_of(alone)
    merged = updates.merge_updates(
        updates.adam(total, params[:2], 0.1), updates.adam(total, params[2:], 0.01)
    )
    assert [v.name for v in merged].count("adam/step") == 2
    step = pytensor.function([], updates=merged, mode=AS_WRITTEN)
    by_hand = pytensor.function(
        [],
        updates={
            **updates.adam(total_alone, alone[:2], 0.1),
            **updates.adam(total_alone, alone[2:], 0.01),
        },
        mode=AS_WRITTEN,
    )
    for _ in range(3):
        step(), by_hand()
    for first, second in zip(params, alone, strict=True):
        np.testing.assert_array_equal(first.get_value(), second.get_value())


def test_a_variable_in_two_groups_is_refused_by_name():
    params = parameters()
    with pytest.raises(ValueError, match="dictionaries 0 and 2 both change vector"):
        updates.merge_updates(sgd(params[:2]), sgd(params[2:]), sgd(params[1:2]))


# --- accumulation and plateaus -----------------------------------------------------------------


def test_accumulated_batches_are_one_large_batch_and_time_counts_steps():
    x = pt.dmatrix("x")
    batches = np.random.default_rng(0).normal(size=(6, 4, 3))

    def model():
        w = pytensor.shared(np.array([0.5, -0.3, 0.8]), name="w")
        return w, ((x * w).sum(axis=1) ** 2 - 1).mean() ** 2

    rule = updates.adam(learning_rate=lambda step: 0.1 / (step + 1))
    w, error = model()
    small = updates.accumulate_gradients([pytensor.grad(error, w)], [w], rule, every=3)
    # The mean loss of three batches has the mean gradient.
    v, error = model()
    thirds = [clone_replace(error, {x: x[4 * k : 4 * k + 4]}) for k in range(3)]
    large = rule(sum(thirds) / 3, [v])
    after_small = train(small, [x], [[batch] for batch in batches])
    after_large = train(large, [x], [[batches[:3].reshape(12, 3)], [batches[3:].reshape(12, 3)]])
    assert after_small["accumulate_gradients/step"] == 6
    assert after_small["adam/step"] == after_large["adam/step"] == 2
    np.testing.assert_allclose(after_small["w"], after_large["w"], rtol=1e-13)
    np.testing.assert_array_equal(after_small["w/accumulate_gradients/sum_of_gradients"], 0)


def test_nothing_moves_between_accumulated_steps():
    params = parameters()
    before = [param.get_value() for param in params]
    result = updates.accumulate_gradients(
        loss_of(params), params, rule=updates.noisy_sgd(learning_rate=0.1), every=3
    )
    run(result, steps=2)
    for param, value in zip(params, before, strict=True):
        np.testing.assert_array_equal(param.get_value(), value)


def test_a_plateau_is_judged_by_the_mean_of_several_losses():
    w, value = pytensor.shared(0.0, name="w"), pt.dscalar("value")
    steps = updates.sgd([pt.constant(-1.0)], [w], learning_rate=1.0)
    result = updates.reduce_on_plateau(steps, value, factor=0.5, patience=1, rtol=0.0, every=2)
    scale = named(result, "reduce_on_plateau/scale")
    step = pytensor.function([value], updates=result, mode=AS_WRITTEN)
    seen = []
    for losses in ([4, 2], [1, 4], [2, 3], [9, 9]):  # means 3, 2.5, 2.5, 9
        for number in losses:
            step(number)
            seen.append(float(scale.get_value()))
    assert seen == [1, 1, 1, 1, 1, 0.5, 0.5, 0.25]
    assert float(w.get_value()) == 5 + 0.5 + 0.5 + 0.25


def test_a_loss_that_is_no_loss_is_refused():
    with pytest.raises(TypeError, match=r"reduce_on_plateau: .*loss"):
        updates.reduce_on_plateau(sgd(parameters()), 3.0)
    with pytest.raises(ValueError, match="reduce_on_plateau: the loss must be a scalar"):
        updates.reduce_on_plateau(sgd(parameters()), pt.dvector())


# --- pairs -------------------------------------------------------------------------------------

PAIRS = list(itertools.permutations(TRANSFORMS, 2))


@pytest.mark.parametrize(("first", "second"), PAIRS, ids=lambda name: name)
def test_transforms_compose_in_any_order(first, second):
    def built():
        vector = pytensor.shared(np.array([0.5, -0.8], dtype="float32"), name="vector")
        matrix = pytensor.shared(np.array([[0.5, -0.8]]), name="matrix")
        scalar = pytensor.shared(0.7, name="scalar")
        total = (pt.tanh(vector) * matrix * scalar).sum() ** 2 + (matrix**2).sum() - scalar
        plain = updates.momentum(total, [vector, matrix, scalar], 0.1)
        return TRANSFORMS[second](TRANSFORMS[first](plain))

    result = built()
    for variable, new_value in result.items():
        assert isinstance(variable, SharedVariable)
        assert new_value.type.dtype == variable.type.dtype
        assert new_value.type.ndim == variable.type.ndim
    names = [variable.name for variable in result]
    assert len(set(names)) == len(names)
    after = run(result)
    assert all(np.isfinite(value).all() for name, value in after.items() if "best" not in name)
    assert_same_bits(after, run(list(built().items())[::-1]))


def test_what_comes_last_sees_what_came_before():
    params = parameters()
    bounded = updates.apply_bounds(sgd(params, 10.0), low=-0.01, high=0.01)
    result = updates.apply_ema(bounded, decay=0.5)
    run(result)
    for average in updates.averages(result).values():
        assert np.abs(average.get_value()).max() <= 0.01

    params = parameters()
    momentum = updates.apply_momentum(sgd(params, 10.0))
    run(updates.apply_bounds(momentum, low=-0.01, high=0.01))
    for param in params:
        assert np.abs(param.get_value()).max() <= 0.01


def test_a_guard_inside_accumulation_skips_one_step_and_outside_one_call():
    w, x = pytensor.shared(1.0, name="w"), pt.dscalar("x")

    def guarded(grads, params):
        return updates.apply_if_finite(updates.sgd(grads, params, 1.0))

    inside = updates.accumulate_gradients([x], [w], guarded, every=2)
    after = train(inside, [x], [[1], [np.nan], [1], [1]])
    assert (after["w"], after["apply_if_finite/skipped"]) == (0.0, 1)

    w.set_value(1.0)
    outside = updates.apply_if_finite(
        updates.accumulate_gradients([x], [w], updates.sgd(learning_rate=1.0), every=2)
    )
    after = train(outside, [x], [[1], [np.nan], [1], [1]])
    assert (after["w"], after["apply_if_finite/skipped"]) == (0.0, 1)
    assert after["accumulate_gradients/step"] == 3


ON_STEPS = {
    "apply_momentum": updates.apply_momentum(),
    "apply_nesterov_momentum": updates.apply_nesterov_momentum(),
    "apply_weight_decay": updates.apply_weight_decay(weight_decay=0.1),
    "apply_lookahead": updates.apply_lookahead(every=2),
    "apply_bounds": updates.apply_bounds(low=0.5, high=0.6),
    "apply_ema": updates.apply_ema(),
}


@pytest.mark.parametrize("name", ON_STEPS)
def test_a_transform_without_params_leaves_running_means_alone(name):
    w, mean = pytensor.shared(1.0, name="w"), pytensor.shared(0.0, name="mean")
    dictionary = {**updates.adam((w - 3) ** 2, [w], 0.1), mean: 0.9 * mean + 0.1}
    transformed = ON_STEPS[name](updates.apply_momentum(dictionary))
    run(transformed, steps=3)
    assert mean.get_value() == pytest.approx(1 - 0.9**3)
    assert not any("mean/" in variable.name for variable in transformed)
