"""A composition is one value: what its parts do, one after the other, and goes where rules go."""

import pickle

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from catalogue import AS_WRITTEN

import updates


@pytest.fixture(autouse=True)
def little_to_compile():
    with pytensor.config.change_flags(mode=AS_WRITTEN):
        yield


def parameters():
    w = pytensor.shared(np.array([[3.0, -1.0], [0.5, 2.0]]), name="w")
    b = pytensor.shared(np.array([1.0, -4.0]), name="b")
    return [w, b]


def loss_of(params):
    w, b = params
    return ((w - 1) ** 4).sum() + (b * w[0]).sum()


def stepped(rule, steps=3):
    """Return the values of all variables after some steps, by name."""
    params = parameters()
    changes = rule(loss_of(params), params)
    step = pytensor.function([], updates=changes)
    for _ in range(steps):
        step()
    return {v.name: v.get_value() for v in changes}


def assert_same(got, expected):
    assert list(got) == list(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(got[name], value, err_msg=name)


def clipped(loss, params):
    return updates.clip_by_global_norm(updates.get_or_compute_grads(loss, params), 1.0)


def of_everything(loss, params):
    grads = updates.adaptive_clip(clipped(loss, params), params, 0.5)
    changes = updates.apply_momentum(updates.rmsprop(grads, params, 0.1), momentum=0.5)
    changes = updates.reduce_on_plateau(changes, loss, patience=1, factor=0.5)
    return updates.apply_if_finite(updates.apply_ema(changes, decay=0.5))


COMPOSITIONS = {
    "a rule": (updates.chain(updates.adam(learning_rate=0.1)), updates.adam(learning_rate=0.1)),
    "a gradient transform": (
        updates.chain(updates.clip_by_global_norm(max_norm=1.0), updates.sgd(learning_rate=0.1)),
        lambda loss, params: updates.sgd(clipped(loss, params), params, 0.1),
    ),
    "everything": (
        updates.chain(
            updates.clip_by_global_norm(max_norm=1.0),
            updates.adaptive_clip(clipping=0.5),
            updates.rmsprop(learning_rate=0.1),
            updates.apply_momentum(momentum=0.5),
            updates.reduce_on_plateau(patience=1, factor=0.5),
            updates.apply_ema(decay=0.5),
            updates.apply_if_finite(),
        ),
        of_everything,
    ),
    "a chain in a chain": (
        updates.chain(
            updates.clip_by_value(max_value=0.5),
            updates.chain(
                updates.clip_by_global_norm(max_norm=1.0), updates.sgd(learning_rate=0.1)
            ),
            updates.apply_ema(),
        ),
        updates.chain(
            updates.clip_by_value(max_value=0.5),
            updates.clip_by_global_norm(max_norm=1.0),
            updates.sgd(learning_rate=0.1),
            updates.apply_ema(),
        ),
    ),
    "functions of the user's": (
        updates.chain(
            clipped,
            updates.sgd(learning_rate=0.1),
            lambda changes, params: {**changes, params[0]: pt.clip(changes[params[0]], -1, 1)},
        ),
        lambda loss, params: updates.apply_bounds(
            updates.sgd(clipped(loss, params), params, 0.1), params[0], low=-1, high=1
        ),
    ),
    "a rule of the user's": (
        updates.chain(
            updates.clip_by_global_norm(max_norm=1.0),
            lambda grads, params: [(p, p - 0.1 * g) for p, g in zip(params, grads, strict=True)],
            updates.apply_momentum(momentum=0.5),
        ),
        lambda loss, params: updates.apply_momentum(
            updates.sgd(clipped(loss, params), params, 0.1), momentum=0.5
        ),
    ),
    "sharpness-aware": (
        updates.chain(updates.sam(rule=updates.sgd(learning_rate=0.1)), updates.apply_if_finite()),
        lambda loss, params: updates.apply_if_finite(
            updates.sam(loss, params, rule=updates.sgd(learning_rate=0.1))
        ),
    ),
    "within another rule": (
        updates.sam(
            rule=updates.chain(updates.clip_by_norm(max_norm=1), updates.sgd(learning_rate=0.1))
        ),
        lambda loss, params: updates.sam(
            loss,
            params,
            rule=lambda x, p: updates.sgd(
                updates.clip_by_norm(updates.get_or_compute_grads(x, p), 1), p, 0.1
            ),
        ),
    ),
}


@pytest.mark.parametrize("name", COMPOSITIONS)
def test_a_chain_does_what_its_parts_do_one_after_the_other(name):
    composed, by_hand = COMPOSITIONS[name]
    assert_same(stepped(composed), stepped(by_hand))


def test_a_chain_waits_prints_and_pickles():
    rule = updates.chain(
        updates.clip_by_global_norm(max_norm=1.0), updates.sgd(learning_rate=0.1), clipped
    )
    assert repr(rule) == (
        "chain(clip_by_global_norm(max_norm=1.0, return_norm=False), sgd(learning_rate=0.1), "
        "clipped)"
    )
    assert rule() is rule
    assert repr(pickle.loads(pickle.dumps(rule))) == repr(rule)


def test_a_transform_that_waits_acts_on_the_parameters_that_it_is_given():
    w, b = parameters()
    changes = updates.sgd(loss_of([w, b]), [w, b], 0.1)
    averaged = updates.apply_ema(decay=0.5)(changes, [b])
    assert [v.name for v in averaged] == ["w", "b", "apply_ema/step", "b/apply_ema/average"]


def test_rows_of_a_table_pass_through_a_chain():
    results = []
    for rule in (
        updates.chain(updates.adagrad(learning_rate=0.1), updates.apply_if_finite()),
        lambda loss, rows: updates.apply_if_finite(updates.adagrad(loss, rows, 0.1)),
    ):
        table = pytensor.shared(np.arange(6.0).reshape(3, 2), name="table")
        rows = table[pt.constant([2, 0])]
        pytensor.function([], updates=rule((rows**2).sum(), [rows]))()
        results.append(table.get_value())
    np.testing.assert_array_equal(*results)


ADAM = updates.adam(learning_rate=0.1)
CLIP, EMA = updates.clip_by_norm(max_norm=1.0), updates.apply_ema()
REFUSED = {
    "nothing": ([], ValueError, "give at least a rule"),
    "no rule": ([CLIP], ValueError, "no rule among clip_by_norm"),
    "no rule, but updates": ([EMA], ValueError, "no rule among apply_ema"),
    "two rules": ([ADAM, updates.sgd(learning_rate=1)], ValueError, "adam.* and sgd.* are both"),
    "a chain and a rule": ([updates.chain(ADAM), ADAM], ValueError, "are both rules"),
    "gradients after": ([ADAM, CLIP], ValueError, "clip_by_norm.* comes before the rule"),
    "updates before": ([EMA, ADAM], ValueError, "apply_ema.* comes after adam"),
    "updates before a function": ([EMA, clipped], ValueError, "apply_ema.* comes after clipped"),
    "one tensor": ([updates.norm_constraint(max_norm=1), ADAM], TypeError, "works on one tensor"),
    "a function uncalled": ([updates.adam], TypeError, r"call it without loss .*: adam\(...\)"),
    "updates": ([{}], TypeError, "a dictionary of updates, made already"),
    "a number": ([ADAM, 3], TypeError, r"parts\[1\] must be a rule or transform that waits, got 3"),
    "a symbol": ([pt.scalar("x")], TypeError, "must be a rule or transform"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_composition_is_refused(name):
    parts, error, message = REFUSED[name]
    with pytest.raises(error, match=f"^chain: .*{message}"):
        updates.chain(*parts)


def test_calls_that_lack_something_are_refused():
    rule, [w, _b] = updates.chain(ADAM, updates.reduce_on_plateau()), parameters()
    with pytest.raises(ValueError, match="chain: params is missing"):
        rule(w.sum())
    with pytest.raises(ValueError, match="chain: loss_or_grads is missing"):
        rule(params=[w])
    with pytest.raises(TypeError, match="reduce_on_plateau: loss is required"):
        rule([w], [w])
    with pytest.raises(TypeError, match="returns more than gradients; leave return_norm out"):
        updates.chain(updates.clip_by_global_norm(max_norm=1, return_norm=True), ADAM)(w.sum(), [w])
    with pytest.raises(TypeError, match="chain: <lambda> must return a list of gradients or a"):
        updates.chain(lambda loss, params: loss, ADAM)(w.sum(), [w])


# --- Gradients by parameter ---------------------------------------------------------------------


@pytest.mark.parametrize("rule", [updates.sgd, updates.adam, updates.lamb])
def test_gradients_may_come_by_parameter_in_any_order(rule):
    def by_parameter(loss, params):
        grads = updates.get_or_compute_grads(loss, params)
        return rule(dict(reversed(list(zip(params, grads, strict=True)))), params, 0.1)

    assert_same(stepped(by_parameter), stepped(rule(learning_rate=0.1)))


def test_transforms_return_what_they_are_given():
    w, b = parameters()
    grads = updates.clip_by_global_norm({w: 2 * w, b: 2 * b}, max_norm=1.0)
    assert list(grads) == [w, b]
    grads, norm = updates.clip_by_global_norm({w: 2 * w, b: 2 * b}, 1.0, return_norm=True)
    assert list(grads) == [w, b]
    assert norm.ndim == 0
    assert list(updates.adaptive_clip({b: 2 * b, w: 2 * w}, [w, b], 0.5)) == [w, b]


def test_gradients_that_are_not_those_of_the_parameters_are_refused():
    w, b = parameters()
    with pytest.raises(ValueError, match=r"adam: there is no gradient of parameter 'b' \(params"):
        updates.adam({w: w}, [w, b], 0.1)
    with pytest.raises(ValueError, match="adam: loss_or_grads has a gradient of b, which is not"):
        updates.adam({w: w, b: b}, [w], 0.1)
    with pytest.raises(TypeError, match="sgd: loss_or_grads holds next values"):
        updates.sgd(updates.sgd(w.sum(), [w], 0.1), [w], 0.1)


# --- Optimizers of arrays -----------------------------------------------------------------------


NEED_THE_LOSS = {"everything", "sharpness-aware", "within another rule"}


@pytest.mark.parametrize("name", [name for name in COMPOSITIONS if name not in NEED_THE_LOSS])
def test_arrays_take_the_steps_of_the_function(name):
    composed, by_hand = COMPOSITIONS[name]
    params = parameters()
    loss = loss_of(params)
    gradients = pytensor.function([], updates.get_or_compute_grads(loss, params))
    values = {param.name: param.get_value() for param in params}
    state = composed.init(values)
    for _ in range(3):
        grads = dict(zip(values, gradients(), strict=True))
        before = {name: np.array(value) for name, value in state.items()}
        steps, after = composed.update(grads, state, values)
        for name, value in state.items():
            np.testing.assert_array_equal(value, before[name])
        state = after
        values = {name: value + steps[name] for name, value in values.items()}
        for param in params:
            param.set_value(values[param.name])
    for name, value in stepped(by_hand).items():
        np.testing.assert_allclose((values | state)[name], value, rtol=1e-14)


def test_arrays_need_parameters_and_their_own_state():
    rule, w = updates.adam(learning_rate=0.1), np.ones(2)
    state = rule.init({"w": w})
    with pytest.raises(TypeError, match="params is needed"):
        rule.update({"w": w}, state)
    with pytest.raises(ValueError, match=r"state must be of \['w/adam/first_moment"):
        rule.update({"w": w}, {}, {"w": w})


def test_a_transform_of_gradients_is_an_optimizer_as_well():
    clip = updates.clip_by_norm(max_norm=1.0)
    assert clip.init({"w": np.ones(2)}) == {}
    steps, state = clip.update({"w": np.array([3.0, 4.0])}, {}, {"w": np.ones(2)})
    np.testing.assert_allclose(steps["w"], [0.6, 0.8], rtol=1e-6)
    assert state == {}


def test_state_of_equal_names_is_numbered():
    rule = updates.chain(
        updates.sgd(learning_rate=0.1), updates.apply_ema(), updates.apply_ema(decay=0.5)
    )
    [w, _] = parameters()
    _, state = rule.pytensor([w], [w])
    names = [variable.name for variable in state]
    assert len(set(names)) == len(names) == 4
    assert names[2:] == ["apply_ema/step#2", "w/apply_ema/average#2"]


def test_what_returns_no_updates_is_no_optimizer():
    [w, b] = parameters()
    optimizer = updates.gradient_transformation(lambda grads, params: {params[0]: grads[0]})
    with pytest.raises(TypeError, match="must return a dictionary with the next value of each"):
        optimizer.pytensor([w, b], [w, b])
    with pytest.raises(TypeError, match="gradient_transformation: function must be a rule"):
        updates.gradient_transformation(3)
