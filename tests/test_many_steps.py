"""many_steps: one call for many steps gives what single calls give, bit for bit."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from catalogue import arrays, assert_same_bits, every_rule, with_transforms_and_schedules
from pytensor.compile.mode import Mode
from pytensor.graph.replace import graph_replace

import updates
from updates.loop import OwnCopy

INDICES = [1, 0, 3, 1, 1, 2]


@pytest.fixture(autouse=True)
def little_to_compile():
    with pytensor.config.change_flags(mode="FAST_COMPILE"):
        yield


def model(dtypes=("float64",) * 3):
    """Make an index, a loss of its mini-batch, and parameters of three shapes."""
    random = np.random.default_rng(0)
    data = pytensor.shared(random.normal(size=(8, 3)), name="data")
    shapes = {"matrix": (3, 2), "vector": (2,), "scalar": ()}
    w, b, c = params = [
        pytensor.shared(random.normal(size=shape).astype(dtype), name=name)
        for (name, shape), dtype in zip(shapes.items(), dtypes, strict=True)
    ]
    i = pt.lscalar("i")
    x = data[2 * i + np.arange(2)]
    return i, ((pt.tanh(x @ w + b) - c) ** 2).mean().astype("float64"), params


def dropout(x, rng):
    next_rng, mask = pt.random.bernoulli(0.5, size=x.shape, rng=rng, return_next_rng=True)
    return x * mask, next_rng


def with_default_update():
    i, loss, params = model()
    rng = pytensor.shared(np.random.default_rng(1), name="rng")
    dropped, rng.default_update = dropout(params[0], rng)
    loss = loss + (dropped**2).sum()
    grads = updates.add_gradient_noise(updates.get_or_compute_grads(loss, params))
    return i, updates.sgd(grads, params, 0.1), [loss]


def with_explicit_generator():
    i, loss, params = model()
    rng = pytensor.shared(np.random.default_rng(1), name="rng")
    dropped, next_rng = dropout(params[0], rng)
    loss = loss + (dropped**2).sum()
    return i, {**updates.noisy_sgd(loss, params, 0.1), rng: next_rng}, [loss]


def with_rows():
    i, loss, [w, *_] = model()
    rows = w[pt.stack([i % 3, i % 2])]
    loss = ((rows - 1) ** 2).sum()
    return i, updates.adam(loss, [rows]), [loss]


def with_mixed_dtypes():
    i, loss, params = model(("float32", "float64", "float16"))
    return i, updates.adam(loss, params), [loss, params[0], i, pt.constant(2.0), loss]


def with_transforms():
    i, loss, params = model()
    return i, with_transforms_and_schedules(loss, params), [loss, *params]


def with_integers():
    i, _, _ = model()
    count, flag = pytensor.shared(np.int8([1, 2]), name="count"), pytensor.shared(3, name="n")
    return i, {count: count + pt.cast(i, "int8"), flag: i}, [count.sum(), flag]


def with_equal_next_values():
    a, b, c, data = (pytensor.shared(np.arange(5) / (k + 2), name=f"v{k}") for k in range(4))
    i = pt.lscalar("i")
    new = pt.tanh(c) + i
    return i, {a: new, b: new, c: pt.tanh(a) + b[::-1], data: data}, [new, data.sum()]


def with_old_and_foreign_values():
    a, b, c, d = (pytensor.shared(np.arange(5) / (k + 2), name=f"v{k}") for k in range(4))
    data = pytensor.shared(np.ones(5), name="data")
    i = pt.lscalar("i")
    return i, {a: b, b: data, c: pt.tanh(a) + c[::-1] * b, d: pt.zeros(5)}, [a + b, d, data * i]


MODELS = [
    with_default_update,
    with_explicit_generator,
    with_rows,
    with_mixed_dtypes,
    with_transforms,
    with_integers,
    with_equal_next_values,
    with_old_and_foreign_values,
]
every_model = pytest.mark.parametrize("make", MODELS, ids=[make.__name__ for make in MODELS])


def in_single_calls(make, mode=None):
    i, rule, outputs = make()
    train = pytensor.function([i], outputs, updates=rule, mode=mode, on_unused_input="ignore")
    results = [train(index) for index in INDICES]
    return arrays(rule), [np.array(values) for values in zip(*results, strict=True)]


def in_two_calls(make, mode=None):
    i, rule, outputs = make()
    batches = pt.lvector("batches")
    many, stacked = updates.many_steps(rule, outputs, i, batches)
    train = pytensor.function([batches], stacked, updates=many, mode=mode)
    parts = [train(part) for part in (INDICES[:4], INDICES[4:])]
    return arrays(rule), [np.concatenate(values) for values in zip(*parts, strict=True)]


def assert_alike(make, mode=None):
    (values, outputs), (expected_values, expected_outputs) = (
        run(make, mode) for run in (in_two_calls, in_single_calls)
    )
    assert_same_bits(values, expected_values)
    assert_same_bits(dict(enumerate(outputs)), dict(enumerate(expected_outputs)))


@every_model
def test_many_steps_are_single_steps(make):
    assert_alike(make)


@pytest.mark.slow
@every_rule
def test_every_rule_takes_many_steps(row):
    def make():
        i, loss, params = model()
        return i, row.rule(loss, params), [loss]

    assert_alike(make)


@pytest.mark.parametrize(
    "make",
    [
        with_old_and_foreign_values,
        *(pytest.param(m, marks=pytest.mark.slow) for m in (with_equal_next_values, with_rows)),
    ],
)
def test_the_default_mode_keeps_variables_apart(make):
    with pytensor.config.change_flags(mode="Mode"):
        assert_alike(make)


def test_the_default_mode_copies_no_table():
    with pytensor.config.change_flags(mode="Mode"):
        i, rule, outputs = with_rows()
        many, losses = updates.many_steps(rule, outputs, i, pt.arange(3))
        fgraph = pytensor.function([], losses, updates=many).maker.fgraph
    [loop] = (node.op for node in fgraph.apply_nodes if type(node.op).__name__ == "Scan")
    left = [node for node in loop.fgraph.apply_nodes if isinstance(node.op, OwnCopy)]
    assert not left


def test_no_indices_change_nothing():
    i, loss, params = model()
    rule = updates.adam(loss, params)
    batches = pt.ivector("batches")
    many, [losses, norms] = updates.many_steps(rule, [loss, params[0]], i, batches)
    train = pytensor.function([batches], [losses, norms], updates=many)
    before = arrays(rule)
    results = train(np.array([], dtype="int32"))
    assert [len(result) for result in results] == [0, 0]
    assert_same_bits(arrays(rule), before)


def test_outputs_come_back_in_the_form_in_which_they_were_given():
    i, loss, params = model()
    rule, batches = updates.sgd(loss, params, 0.1), pt.lvector("batches")
    many, losses = updates.many_steps(list(rule.items()), loss, i, batches)
    assert losses.type == pt.dvector().type
    assert list(many) == list(rule)
    assert updates.many_steps(rule, [], i, batches)[1] == []
    assert [v.ndim for v in updates.many_steps(rule, (loss, params[0]), i, batches)[1]] == [1, 3]


def test_generators_with_a_default_update_are_advanced_by_the_loop():
    i, rule, outputs = with_default_update()
    many, _ = updates.many_steps(rule, outputs, i, pt.arange(3))
    added = [variable.name for variable in many if variable not in rule]
    assert sorted(added) == ["add_gradient_noise/generator", "add_gradient_noise/step", "rng"]


def test_an_input_is_named_and_replaced():
    i, _, [_, b, _] = model()
    x, batches = pt.dvector("x"), pt.lvector("batches")
    loss = ((b - x.sum()) ** 2).sum()
    rule = updates.sgd(loss, [b], 0.1)
    with pytest.raises(ValueError, match=r"need x of type .*index selects"):
        updates.many_steps(rule, loss, i, batches)
    data = pytensor.shared(np.ones((4, 2)))
    loss, *new_values = graph_replace([loss, *rule.values()], {x: data[i]})
    many, losses = updates.many_steps(dict(zip(rule, new_values, strict=True)), loss, i, batches)
    assert pytensor.function([batches], losses, updates=many)([0, 1]).shape == (2,)


@pytest.mark.filterwarnings("ignore:PyTensor could not link to a BLAS")
@pytest.mark.parametrize("linker", ["cvm", "py"])
def test_other_linkers(linker):
    with pytensor.config.change_flags(mode="Mode", linker=linker):
        assert_alike(with_equal_next_values if linker == "cvm" else with_integers)


def test_jax_needs_a_constant_number_of_steps():
    pytest.importorskip("jax")

    def losses(mode):
        start = pt.lscalar("start")
        i, w = pt.lscalar("i"), pytensor.shared(np.ones(3), name="w", shape=(3,))
        loss = ((w - i) ** 2).mean()
        many, stacked = updates.many_steps(updates.adam(loss, [w]), loss, i, start + pt.arange(2))
        train = pytensor.function([start], stacked, updates=many, mode=mode)
        return np.concatenate([train(0), train(2)])

    np.testing.assert_allclose(losses("JAX"), losses(Mode("py", "fast_compile")), rtol=1e-6)
