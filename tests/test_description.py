"""What `describe` and `draw` promise: formulas as they are written, tables that stay readable."""

import functools
import json
import pickle
import re

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from catalogue import every_update, parameters
from matplotlib.figure import Figure

import updates
from updates.description.draw import diagram_of
from updates.description.reads import reads_of


def shared(shape, name, dtype="float64"):
    return pytensor.shared(np.ones(shape, dtype=dtype), name=name)


def model():
    """Make a layer: weights, biases, and a loss on given data."""
    w, b, x = shared((2, 3), "w"), shared(3, "b"), pt.matrix("x", dtype="float64")
    return w, b, ((pt.tanh(x @ w + b)) ** 2).mean()


def formulas(dictionary, loss=None):
    rows = updates.describe(dictionary, loss).to_dict()["variables"]
    return {row["name"]: row["formula"] for row in rows}


def shown(dictionary, loss=None):
    """Give the formulas of the printed table, those of groups once."""
    found = []
    for line in str(updates.describe(dictionary, loss)).splitlines():
        indent = len(line) - len(line.lstrip())
        if indent in (4, 6, 11):  # a formula, its first and its further definitions
            found.append(line.strip())
        elif indent:
            found[-1] += " " + line.strip()
    return found


ADAM = (
    "p' = p - 0.001*sqrt(1 - 0.999^t)/(1 - 0.9^t)*first_moment'/(sqrt(second_moment') + 1e-8)",
    "first_moment' = 0.9*first_moment + (1 - 0.9)*g",
    "second_moment' = 0.999*second_moment + (1 - 0.999)*g^2",
    "step' = step + 1",
)
WRITTEN = [
    (updates.sgd(learning_rate=0.1), ("p' = p - 0.1*g",)),
    (
        updates.momentum(learning_rate=0.01),
        ("p' = p + velocity'", "velocity' = 0.9*velocity - 0.01*g"),
    ),
    (
        updates.gradient_updates_momentum(learning_rate=0.1, momentum=0.9),
        ("p' = p - 0.1*velocity", "velocity' = 0.9*velocity + (1 - 0.9)*g"),
    ),
    (
        updates.nesterov_momentum(learning_rate=0.1),
        ("p' = p + (0.9*velocity' - 0.1*g)", "velocity' = 0.9*velocity - 0.1*g"),
    ),
    (
        updates.nesterov_lookahead(learning_rate=0.1),
        ("p' = p + velocity'", "velocity' = 0.9*velocity - 0.1*g(p + 0.9*velocity)"),
    ),
    (
        updates.rmsprop(learning_rate=0.01),
        (
            "p' = p - 0.01*g/sqrt(mean_square' + 1e-6)",
            "mean_square' = 0.9*mean_square + (1 - 0.9)*g^2",
        ),
    ),
    (
        updates.deepmind_rmsprop(learning_rate=0.01),
        (
            "p' = p - 0.01*g/sqrt(max(mean_square' - mean'^2, 0) + 0.01)",
            "mean' = 0.95*mean + (1 - 0.95)*g",
            "mean_square' = 0.95*mean_square + (1 - 0.95)*g^2",
        ),
    ),
    (updates.adam(), ADAM),
    (
        updates.sam(rule=updates.sgd(learning_rate=0.1), rho=0.5),
        ("p' = p - 0.1*g(p + 0.5*(1/norm(all g))*g)",),
    ),
    (
        updates.polyak_sgd(),
        (
            "p' = p - min(where(a, 0, (loss - 0)/where(a, 1, c)), 1)*1*g,",
            "with a = c <= 2.220446049250313e-16",
            "c = 1^2*sum(all g^2) + 0",
        ),
    ),
    (
        updates.lion(learning_rate=0.01, weight_decay=0.1),
        (
            "p' = p - 0.01*(sign(0.9*mean + (1 - 0.9)*g) + 0.1*p)",
            "mean' = 0.99*mean + (1 - 0.99)*g",
        ),
    ),
    (
        updates.noisy_sgd(learning_rate=0.1),
        (
            "p' = p - 0.1*(g + sqrt(0.01/t^0.55)*normal())",
            "generator' = next(generator)",
            "step' = step + 1",
        ),
    ),
    (
        updates.dog(learning_rate=1.0),
        (
            "p' = p - 1*(max_distance'/sqrt(sum_of_squares' + 1e-8))*(g + 0*p)",
            "start' = start",
            "max_distance' = max(max_distance, max(1e-6*(1 + norm(all start)), "
            "norm(all (p - start))))",
            "sum_of_squares' = sum_of_squares + sum(all (g + 0*p)^2)",
        ),
    ),
]


@pytest.mark.parametrize(("rule", "written"), WRITTEN, ids=[repr(rule) for rule, _ in WRITTEN])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_rule_reads_like_its_docstring(rule, written, dtype):
    w, b = shared((2, 3), "w", dtype), shared(3, "b", dtype)
    assert tuple(shown(rule((w**2).sum() + (w * b).sum() ** 2, [w, b]))) == written


def test_a_composition_reads_like_its_calls():
    w, b, loss = model()
    grads = updates.clip_by_global_norm(updates.get_or_compute_grads(loss, [w, b]), 1.0)
    rule = updates.momentum(grads, [w, b], updates.cosine_decay(0.1, 100))
    assert shown(updates.apply_if_finite(updates.apply_ema(rule, decay=0.5))) == [
        "p' = where(finite, p + velocity', p)",
        "velocity' = where(finite, 0.9*velocity - learning_rate(momentum.step)*"
        "(g*where(norm(all g) <= 1, 1, 1/norm(all g))), velocity)",
        "average' = where(finite, (1 - a)*average + a*p', average),",
        "with a = (1 - 0.5)/(1 - 0.5^apply_ema.t)",
        "skipped' = where(finite, skipped, skipped + 1)",
        "momentum.step' = where(finite, momentum.step + 1, momentum.step)",
        "apply_ema.step' = where(finite, apply_ema.step + 1, apply_ema.step)",
    ]


def test_a_single_parameter_keeps_its_name_and_others_have_theirs():
    w, b, loss = model()
    grads = updates.clip_by_global_norm(updates.get_or_compute_grads(loss, w), 1.0)
    velocity = shared(3, "v")
    by_hand = {velocity: 0.9 * velocity - pytensor.grad(loss, b), b: b + velocity + w.sum()}
    found = formulas(updates.sgd(grads, w, 0.1) | by_hand, loss)
    assert found == {
        "w": "w' = w - 0.1*(g*where(norm(g) <= 1, 1, 1/norm(g)))",
        "b": "b' = b + v + sum(w)",
        "v": "v' = 0.9*v - g(b)",
    }


def test_gradients_are_recognized_in_dictionaries_made_by_hand():
    w, b, loss = model()
    rate = pytensor.shared(0.5, name="rate")
    by_hand = {p: p - rate * g for p, g in zip([w, b], pytensor.grad(loss, [w, b]), strict=True)}
    assert shown(by_hand) == ["p' = p - rate*g"]


def test_whatever_a_rule_is_given_for_gradients_is_called_gradient():
    w, b, loss = model()
    target = 0.9 * w + b
    loss = loss + ((w - target) ** 2).sum()
    grads = pytensor.grad(loss, [w, b], consider_constant=[target])
    assert shown(updates.sgd(grads, [w, b], 0.1)) == ["p' = p - 0.1*g"]
    grads = updates.get_or_compute_grads([pt.tanh(w) ** 3, 2 * b], [w, b])
    clipped = updates.normalize_gradients(grads)
    assert shown(updates.sgd(clipped, [w, b], 0.1)) == [
        "p' = p - 0.1*(g*(1/max(norm(all g), 1e-12)))"
    ]


def test_a_gradient_that_two_parameters_share_is_that_of_each():
    a, b = shared(3, "a"), shared(3, "b")
    assert shown(updates.sgd(((a + b) ** 2).sum(), [a, b], 0.1)) == ["p' = p - 0.1*g"]


def test_rows_of_a_table_read_like_the_table():
    table, index = shared((9, 2), "table"), pt.lvector("index")
    rows = table[index]
    rule = updates.apply_if_finite(updates.momentum((rows**2).sum(), rows, 0.1))
    assert formulas(rule) == {
        "table": "table'[index] = where(finite, table[index] + velocity'[index], table[index])",
        "table/momentum/velocity": (
            "velocity'[index] = where(finite, 0.9*velocity[index] - 0.1*g, velocity[index])"
        ),
        "apply_if_finite/skipped": "skipped' = where(finite, skipped, skipped + 1)",
    }


def test_two_rules_with_the_same_slot_are_told_apart():
    w, b, loss = model()
    rule = updates.apply_momentum(updates.momentum(loss, [w, b], 0.1))
    assert shown(rule)[:2] == [
        "p' = p + apply_momentum.velocity'",
        "momentum.velocity' = 0.9*momentum.velocity - 0.1*g",
    ]
    two = updates.merge_updates(updates.adam(loss, w, 0.1), updates.adam(loss, b, 0.1))
    assert "first_moment'/" in formulas(two)["w"]
    assert formulas(two)["adam/step"] == "step' = step + 1"
    assert formulas(two)["adam/step#2"] == "step#2' = step#2 + 1"


@every_update
def test_every_rule_and_composition_is_readable_and_has_no_warning(make_updates):
    params = parameters()[:2]
    loss = sum(pt.sum((param - 1) ** 2) for param in params)
    dictionary = make_updates(loss, params)
    description = updates.describe(dictionary, loss)
    assert description.warnings == updates.describe(dictionary).warnings == []
    assert max(map(len, str(description).splitlines())) <= 100
    data = description.to_dict()
    roles = {row["name"]: row["role"] for row in data["variables"]}
    assert {name for name, role in roles.items() if role == "parameter"} == {"matrix", "vector"}
    assert "other" not in roles.values()
    graph_words = "<(?! |=)|0x|auto_|Elemwise|DimShuffle|Composite|Subtensor|Constant|Cast|param_"
    for row in data["variables"]:
        assert not re.search(graph_words, row["formula"])
        assert len(row["formula"]) <= 1000
        assert row["formula"].count("(") == row["formula"].count(")")
        assert not row["formula"].startswith("...")


def test_a_model_that_nothing_explains_is_cut_to_a_readable_length():
    w, x, y = shared((3, 3), "w"), shared((), "x"), shared((3, 3), "y")
    deep, often, sums = w, x, y
    for number in range(100):
        deep = pt.tanh(deep @ w) + number
        often = pt.switch(pt.eq(pt.tanh(often), 0), 0, often * (often + 1) / (1 - often**2))
        sums = (sums + sums) * (sums - 1)
    grads = [deep * often, deep.sum() * often + often, sums * pt.sqrt((sums**2).sum() + often)]
    for formula in formulas({w: w - grads[0], x: x - grads[1], y: y - grads[2]}).values():
        assert len(formula) <= 1000
        assert "..." in formula


@functools.cache
def hundred():
    """Make 50 weights and 50 biases, a loss that ties them together, and Adam's updates."""
    params = [shared((4, 4) if i % 2 else (4,), f"{'bW'[i % 2]}{i // 2}") for i in range(100)]
    loss = (pt.matrix("x") * sum(param.sum() for param in params)).sum() ** 2
    return params, loss, updates.adam(loss, params)


def test_a_hundred_parameters_take_a_row_for_each_formula():
    _, _, rule = hundred()
    assert tuple(shown(rule)) == ADAM
    text = str(updates.describe(rule))
    assert "b0, W0, b1" in text
    assert "(100)" in text
    assert "*/adam/first_moment (100)" in text
    assert len(updates.describe(rule).to_dict()["variables"]) == 301


def test_totals_are_those_of_the_arrays():
    w, b, loss = model()
    mean = shared(3, "mean", "float32")
    dictionary = {**updates.adam(loss, [w, b]), mean: mean}
    described = updates.describe(dictionary, loss)
    data = described.to_dict()
    assert data["totals"] == {
        "parameter": {"variables": 2, "bytes": 72},
        "state": {"variables": 4, "bytes": 144},
        "time": {"variables": 1, "bytes": 8},
        "other": {"variables": 1, "bytes": 12},
    }
    arrays = updates.state_dict(dictionary)
    assert {row["name"]: row["bytes"] for row in data["variables"]} == {
        name: array.nbytes for name, array in arrays.items()
    }
    assert {row["name"]: tuple(row["shape"]) for row in data["variables"]} == {
        name: array.shape for name, array in arrays.items()
    }
    assert "8 variables, 236 B: 2 parameters (72 B), 4 state variables (144 B)" in str(described)


def test_what_a_function_advances_by_itself_is_listed_as_in_state_dict():
    w, b, loss = model()
    grads = updates.add_gradient_noise(updates.get_or_compute_grads(loss, [w, b]))
    rule = updates.sgd(grads, [w, b], 0.1)
    rows = updates.describe(rule).to_dict()["variables"]
    assert {row["name"] for row in rows} == set(updates.state_dict(rule))
    roles = {row["name"]: row["role"] for row in rows}
    assert roles["add_gradient_noise/generator"] == "state"
    assert roles["add_gradient_noise/step"] == "time"


def test_roles_follow_the_loss():
    w, b, loss = model()
    mean, count = shared(3, "mean"), pytensor.shared(0, name="count")
    random = pytensor.shared(np.random.default_rng(0), name="random")
    drawn, _ = pt.random.normal(rng=random).owner.outputs
    dictionary = {mean: 0.9 * mean, count: count + 1, random: drawn, **updates.adam(loss, [w, b])}
    roles = {
        row["name"]: row["role"]
        for row in updates.describe(dictionary, loss).to_dict()["variables"]
    }
    assert roles == {
        "w": "parameter",
        "b": "parameter",
        **{f"{name}/adam/{slot}_moment": "state" for name in "wb" for slot in ("first", "second")},
        "adam/step": "time",
        "mean": "other",
        "count": "other",
        "random": "other",
    }
    assert diagram_of(dictionary, loss).roles["mean"] == "other"
    [without] = [r for r in updates.describe({mean: 0.9 * mean}).rows if r.name == "mean"]
    assert without.role == "parameter"


# --- What usually is a mistake ----------------------------------------------------------------


def without(dictionary, *names):
    return {variable: new for variable, new in dictionary.items() if variable.name not in names}


w, b, loss = model()
other = shared(3, "other")
adam = updates.adam(loss, [w, b])
MISTAKES = {
    "left out": (updates.sgd(loss, w, 0.1), loss, ["the loss depends on 'b', but nothing updates"]),
    "left out?": (updates.sgd(loss, w, 0.1), None, ["next values read 'b', but nothing updates"]),
    "time": (
        without(adam, "adam/step"),
        loss,
        ["read the state 'adam/step', but nothing advances"],
    ),
    "state": (
        without(adam, "w/adam/first_moment"),
        loss,
        ["read the state 'w/adam/first_moment', but nothing advances it"],
    ),
    "parameter": (
        without(updates.momentum(loss, [w, b], 0.1), "w"),
        None,
        ["nothing updates 'w', but 'w/momentum/velocity' still advances"],
    ),
    "identity": (
        {w: pt.cast(w, "float64"), b: b},
        None,
        ["the next value of 'w', 'b' is the old one: they do not change"],
    ),
    "dtype": (
        {other: pt.cast(2 * other, "float32")},
        None,
        ["the next value of 'other' has dtype float32 and ndim 1, not dtype float64 and ndim 1"],
    ),
    "ndim": ({other: other.sum()}, None, ["has dtype float64 and ndim 0, not"]),
}


@pytest.mark.parametrize(("dictionary", "loss", "said"), MISTAKES.values(), ids=MISTAKES)
def test_what_usually_is_a_mistake_is_said(dictionary, loss, said):
    description = updates.describe(dictionary, loss)
    assert len(description.warnings) == len(said)
    for words, warning in zip(said, description.warnings, strict=True):
        assert words in warning
    assert description.to_dict()["warnings"] == description.warnings
    text = " ".join(str(description).split())
    assert all(warning in text for warning in description.warnings)


def test_many_mistakes_of_a_kind_take_one_sentence():
    params, loss, _ = hundred()
    description = updates.describe(updates.sgd(loss, params[:10], 0.1), loss)
    [warning] = description.warnings
    assert "(90)" in warning
    assert len(warning) < 150


def test_data_that_is_looked_up_is_no_mistake():
    data, i = shared((10, 2), "data"), pt.lscalar("i")
    loss = ((data[2 * i : 2 * i + 2] @ w + b) ** 2).mean()
    for rule in (updates.sgd(loss, [w, b], 0.1), updates.apply_ema(updates.adam(loss, [w, b]))):
        assert updates.describe(rule).warnings == []
        assert updates.describe(rule, loss).warnings == []
    batches = pt.lvector("batches")
    many, _ = updates.many_steps(updates.momentum(loss, [w, b], 0.1), loss, i, batches)
    assert updates.describe(many).warnings == []
    assert shown(many) == ["p' = scan(...)", "velocity' = scan(...)"]


# --- Forms ------------------------------------------------------------------------------------


def test_html_escapes_names_and_holds_what_the_text_says():
    evil = shared(2, "<script>alert('w')</script>")
    frozen = shared(2, "<b>frozen</b>")
    described = updates.describe({evil: evil + frozen})
    page = described._repr_html_()
    assert "<script>" not in page
    assert "<b>frozen" not in page
    assert "&lt;script&gt;" in page
    assert "but nothing updates it" in page
    assert page.count("<tr>") == 2


def test_the_data_is_json_and_the_table_does_not_depend_on_the_order_or_form():
    items = list(adam.items())
    for form in (
        items,
        dict(items),
        dict(reversed(items)),
        [items[i] for i in (3, 1, 4, 0, 2)] + items[5:],
    ):
        described = updates.describe(form, loss)
        data = json.loads(json.dumps(described.to_dict()))
        assert data == described.to_dict()
        assert {row["name"]: row["formula"] for row in data["variables"]} == formulas(adam, loss)
        assert sorted(shown(form)) == sorted(ADAM)


def test_gradients_that_carry_their_name_pickle_without_it():
    grads = updates.get_or_compute_grads(loss, [w, b])
    copy = pickle.loads(pickle.dumps(updates.sgd(grads, [w, b], 0.1)))
    assert shown(copy) == ["p' = p - 0.1*g"]


@pytest.mark.parametrize("function", [updates.describe, updates.draw])
def test_bad_updates_are_refused_by_name(function):
    for bad, error in (({}, ValueError), (None, TypeError), ({"w": w}, TypeError), (w, TypeError)):
        with pytest.raises(error, match=f"^{function.__name__}: "):
            function(bad)


# --- The picture ------------------------------------------------------------------------------


def test_each_new_value_reads_old_values_only():
    rule = updates.momentum(loss, [w, b], 0.1)
    names = {variable: variable.name for variable in rule}
    found = {
        names[variable]: (
            {leaf.name for leaf in reads.directly},
            {leaf.name for leaf in reads.by_gradient},
        )
        for variable, reads in reads_of(rule).items()
    }
    gradient = {"w", "b", "x"}
    assert found == {
        "w": ({"w", "w/momentum/velocity"}, gradient),
        "b": ({"b", "b/momentum/velocity"}, gradient),
        "w/momentum/velocity": ({"w/momentum/velocity"}, gradient),
        "b/momentum/velocity": ({"b/momentum/velocity"}, gradient),
    }


def test_the_picture_has_a_line_for_each_reading():
    diagram = diagram_of(adam)
    first, second = "first_moment of b, w", "second_moment of b, w"
    assert diagram.old.keys() == {"b, w", first, second, "adam/step", "data: x"}
    assert diagram.new == {
        "b, w": "b', w'",
        first: "first_moment' of b, w",
        second: "second_moment' of b, w",
        "adam/step": "adam/step'",
    }
    itself = {(old, new) for kind, old, new in diagram.lines if kind == "itself"}
    assert itself == {
        *((old, "b, w") for old in ("b, w", first, second, "adam/step")),
        *((label, label) for label in (first, second, "adam/step")),
    }
    assert diagram.through("gradient") == ({"b, w", "data: x"}, {"b, w", first, second})
    assert diagram.through("finite") == (set(), set())


def test_skipping_bad_steps_is_one_box_of_the_picture():
    guarded = updates.apply_if_finite(updates.momentum(loss, [w, b], 0.1))
    diagram = diagram_of(guarded)
    sources, targets = diagram.through("finite")
    assert sources == {"b, w", "velocity of b, w", "data: x"}
    assert targets == {"b, w", "velocity of b, w", "apply_if_finite/skipped"}
    itself = {(old, new) for kind, old, new in diagram.lines if kind == "itself"}
    assert ("apply_if_finite/skipped", "b, w") not in itself


def test_the_order_of_the_items_does_not_change_what_is_drawn():
    guarded = list(updates.apply_if_finite(updates.apply_ema(adam)).items())
    assert diagram_of(guarded) == diagram_of(guarded[::-1]) == diagram_of(dict(guarded[::-1]))
    assert list(diagram_of(guarded).old) == list(diagram_of(guarded[::-1]).old)


def test_a_hundred_parameters_make_a_picture_of_five_boxes(tmp_path):
    _, _, rule = hundred()
    assert list(diagram_of(rule).old) == [
        "W0 ... b49 (100)",
        "first_moment of W0 ... b49",
        "second_moment of W0 ... b49",
        "adam/step",
        "data: x",
    ]
    axes = updates.draw(rule, axes=Figure(figsize=(9, 5)).subplots())
    axes.figure.savefig(tmp_path / "adam.png")
    assert (tmp_path / "adam.png").read_bytes().startswith(b"\x89PNG")
    texts = {text.get_text() for text in axes.texts}
    assert {
        "old values",
        "new values",
        "gradient",
        "W0 ... b49 (100)",
        "W0' ... b49' (100)",
    } < texts


def test_only_axes_are_drawn_on():
    with pytest.raises(TypeError, match="draw: axes must be matplotlib Axes, got 'axes'"):
        updates.draw(adam, axes="axes")


def test_without_axes_a_figure_is_made():
    import matplotlib.pyplot as plt

    axes = updates.draw(updates.sgd(loss, [w, b], 0.1))
    assert "order of the items does not matter" in axes.get_title()
    plt.close(axes.figure)
