"""Losses with named dimensions train like the same losses without names."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from catalogue import AS_WRITTEN, RULES, every_update_but_few_slow
from matplotlib.figure import Figure

import updates

px = pytest.importorskip("pytensor.xtensor")


@pytest.fixture(autouse=True)
def little_to_compile():
    with pytensor.config.change_flags(mode=AS_WRITTEN):
        yield


def parameters():
    w = pytensor.shared(np.array([0.5, -1.0, 2.0]), name="w")
    b = pytensor.shared(np.array([[1.0, 2.0], [-3.0, 0.5]]), name="b")
    return [w, b]


def named(w, b):
    w, b = px.as_xtensor(w, dims=("unit",)), px.as_xtensor(b, dims=("row", "column"))
    return ((px.math.tanh(w) * b - 1) ** 2).mean()


def plain(w, b):
    return ((w.tanh()[:, None, None] * b - 1) ** 2).mean()


def stepped(make_updates, loss_of):
    params = parameters()
    changes = make_updates(loss_of(*params), params)
    step = pytensor.function([], updates=changes)
    for _ in range(3):
        step()
    return {variable.name: variable.get_value() for variable in changes}


LOSS_RULES = {
    "adam": updates.adam(learning_rate=0.1),
    "sam": updates.sam(rule=updates.sgd(learning_rate=0.1)),
    "sophia": updates.sophia(learning_rate=0.1, update_interval=1),
    "polyak_sgd": updates.polyak_sgd(),
    "chain": updates.chain(
        updates.clip_by_global_norm(max_norm=0.1),
        updates.momentum(learning_rate=0.1),
        updates.reduce_on_plateau(patience=1),
        updates.apply_if_finite(),
    ),
    "lbfgs": updates.lbfgs(),
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name == "lbfgs")) for name in LOSS_RULES],
)
def test_the_steps_are_those_of_the_loss_without_names(name):
    expected, got = (stepped(LOSS_RULES[name], loss_of) for loss_of in (plain, named))
    assert got.keys() == expected.keys()
    for key, value in expected.items():
        if isinstance(value, np.ndarray):
            np.testing.assert_allclose(got[key], value, rtol=1e-12, err_msg=key)


def test_the_loss_itself_stays_as_it_is():
    params = parameters()
    loss = named(*params)
    before = pytensor.dprint(loss, file="str")
    updates.adam(loss, params)
    updates.describe(updates.adam(loss, params), loss)
    assert pytensor.dprint(loss, file="str") == before


def test_values_of_a_named_loss_are_a_loss_too():
    params = parameters()
    by_name, by_values = (
        pytensor.function([], updates.get_or_compute_grads(loss, params))()
        for loss in (named(*params), named(*params).values)
    )
    for got, expected in zip(by_name, by_values, strict=True):
        np.testing.assert_array_equal(got, expected)


def test_describe_and_minimize_take_it():
    [w, b] = parameters()
    loss = named(w, b)
    text = str(updates.describe(updates.adam(loss, [w, b]), loss))
    assert text == str(updates.describe(updates.adam(plain(w, b), [w, b]), plain(w, b)))
    history = updates.minimize(
        loss,
        [w, b],
        rule=updates.adam(learning_rate=0.05),
        train=[],
        train_batches=10,
        max_epochs=30,
        progress=False,
    )
    losses = history.train["loss"]
    assert losses[-1] < 0.2 * losses[0]


def test_a_loss_that_is_no_scalar_is_refused():
    [w, _b] = parameters()
    with pytest.raises(ValueError, match="adam: the loss must be a scalar, got ndim 1"):
        updates.adam(px.as_xtensor(w, dims=("unit",)), [w])


# --- Parameters with named dimensions ---------------------------------------------------------

X = np.random.default_rng(1).normal(size=(5, 3))


def model(is_named, dtype="float64"):
    """Return parameters and a loss, with or without names of dimensions."""
    random = np.random.default_rng(0)
    shapes = {"w": (("in", 3), ("out", 2)), "b": (("out", 2),), "s": ()}
    values = {
        name: random.normal(size=[length for _, length in dims]).astype(dtype)
        for name, dims in shapes.items()
    }
    x = X.astype(dtype)
    if is_named:
        w, b, s = params = [
            px.type.xtensor_shared(value, dims=[dim for dim, _ in shapes[name]], name=name)
            for name, value in values.items()
        ]
        output = px.math.tanh(px.as_xtensor(x, dims=("n", "in")).dot(w) + b) * s
        return params, ((output - 0.5) ** 2).mean()
    w, b, s = params = [pytensor.shared(value, name=name) for name, value in values.items()]
    return params, (((pt.dot(x, w) + b).tanh() * s - 0.5) ** 2).mean()


def after_steps(make_updates, is_named, mode=AS_WRITTEN, dtype="float64"):
    params, loss = model(is_named, dtype)
    changes = make_updates(loss, params)
    step = pytensor.function([], updates=changes, mode=mode)
    for _ in range(3):
        step()
    return params, changes


def assert_alike(got, expected, rtol=1e-11):
    assert [v.name for v in got] == [v.name for v in expected]
    for variable, other in zip(got, expected, strict=True):
        value = other.get_value()
        if isinstance(value, np.ndarray):
            error = {"rtol": rtol, "atol": 1e-3 * rtol, "err_msg": other.name}
            np.testing.assert_allclose(variable.get_value(), value, **error)


@every_update_but_few_slow
def test_every_rule_steps_parameters_with_names_like_those_without(make_updates):
    _, expected = after_steps(make_updates, is_named=False)
    _, got = after_steps(make_updates, is_named=True)
    assert_alike(got, expected)


@pytest.mark.parametrize("row", [row for row in RULES if not row.whole], ids=repr)
def test_state_has_the_dimensions_of_its_parameter(row):
    params, loss = model(is_named=True)
    changes = row.rule(loss, params)
    for param in params:
        for state in changes:
            if str(state.name).startswith(f"{param.name}/"):
                assert state.type.dims[: param.type.ndim] == param.type.dims


def test_describe_says_the_same_of_both_and_shows_the_names():
    [named_lines, plain_lines] = [
        str(updates.describe(updates.adamw(loss, params), loss)).splitlines()
        for params, loss in (model(is_named) for is_named in (True, False))
    ]
    assert any("in 3 x out 2" in line for line in named_lines)
    for got, expected in zip(named_lines, plain_lines, strict=True):
        if not expected.startswith("---"):
            got = got.replace("in 3 x out 2", "3 x 2").replace("out 2", "2")
            assert got.split() == expected.split()


@pytest.mark.parametrize(
    ("mode", "dtype"),
    [
        ("NUMBA", "float32"),
        ("JAX", "float32"),
        pytest.param("CVM", "float64", marks=pytest.mark.slow),
    ],
)
@pytest.mark.filterwarnings("ignore:PyTensor could not link", "ignore:Skipping Assert")
def test_the_backends_compute_it(mode, dtype):
    if mode == "JAX":
        pytest.importorskip("jax")
    rule = updates.chain(updates.clip_by_global_norm(max_norm=0.1), updates.adam(learning_rate=0.1))
    _, expected = after_steps(rule, is_named=False, dtype=dtype)
    _, got = after_steps(rule, is_named=True, mode=mode, dtype=dtype)
    assert_alike(got, expected, rtol=1e-5 if dtype == "float32" else 1e-11)


def test_gradients_have_the_names_of_their_parameters_and_so_have_transformed_ones():
    params, loss = model(is_named=True)
    grads = updates.get_or_compute_grads(loss, params)
    clipped = updates.clip_by_global_norm(updates.scale_gradients(grads, {"b": 2}), max_norm=1.0)
    by_param = updates.clip_by_norm(dict(zip(params, grads, strict=True)), max_norm=1.0)
    for given in (grads, clipped, by_param.values()):
        assert [grad.type.dims for grad in given] == [param.type.dims for param in params]
    changes = updates.adam(clipped, params)
    expected, plain_loss = model(is_named=False)
    plain = updates.get_or_compute_grads(plain_loss, expected)
    plain = updates.clip_by_global_norm(updates.scale_gradients(plain, {"b": 2}), max_norm=1.0)
    other = updates.adam(plain, expected)
    for dictionary in (changes, other):
        pytensor.function([], updates=dictionary)()
    assert_alike(changes, other)


def test_a_gradient_may_have_its_dimensions_in_another_order_and_no_others():
    [w, _, _], _ = model(is_named=True)
    given = px.as_xtensor(np.arange(6.0).reshape(2, 3), dims=("out", "in"))
    before = w.get_value()
    pytensor.function([], updates=updates.sgd([given], [w], 1.0))()
    np.testing.assert_array_equal(w.get_value(), before - np.arange(6.0).reshape(2, 3).T)
    other = px.as_xtensor(np.ones((3, 2)), dims=("in", "unit"))
    with pytest.raises(ValueError, match=r"'w'.*\('in', 'unit'\).*\('in', 'out'\)"):
        updates.sgd([other], [w], 1.0)
    rows = w.isel({"in": px.as_xtensor([0, 2], dims=("n",))})
    turned = px.as_xtensor(np.ones((2, 2)), dims=("out", "n"))
    with pytest.raises(ValueError, match=r"'w'.*\('out', 'n'\).*\('out', 'out'\)"):
        updates.sgd([turned], [rows], 1.0)
    [v, _, _], _ = model(is_named=False)
    with pytest.raises(ValueError, match=r"'w'.*no named dimensions; give its \.values"):
        updates.sgd([given], [v], 1.0)


def test_axes_have_names():
    w = px.type.xtensor_shared(np.array([[3.0, 0.3], [4.0, 0.4]]), dims=("in", "out"), name="w")
    by_name = updates.norm_constraint(w, max_norm=1.0, norm_axes=["in"])
    assert by_name.type.dims == ("in", "out")
    expected = updates.norm_constraint(w.values, max_norm=1.0, norm_axes=(0,))
    np.testing.assert_array_equal(by_name.values.eval(), expected.eval())
    loss = (w**2).sum()
    changes = updates.apply_norm_constraint(
        updates.sgd(loss, [w], 0.0), max_norm=1.0, norm_axes=["in"]
    )
    pytensor.function([], updates=changes)()
    np.testing.assert_allclose(w.get_value(), [[0.6, 0.3], [0.8, 0.4]], rtol=1e-6)
    with pytest.raises(ValueError, match=r"norm_axes names 'unit'.*\('in', 'out'\)"):
        updates.norm_constraint(w, max_norm=1.0, norm_axes=["unit"])


@pytest.mark.parametrize("rule", [updates.sgd(learning_rate=0.1), updates.adam(learning_rate=0.1)])
@pytest.mark.parametrize("dims", [("n",), ("n", "m")])
def test_rows_of_a_table(rule, dims):
    index = np.array([2, 0, 2, 1])[: 2 * len(dims)].reshape((2,) * len(dims))
    results = []
    for is_named in (True, False):
        start = np.arange(8.0).reshape(4, 2) + 1
        if is_named:
            table = px.type.xtensor_shared(start, dims=("word", "unit"), name="table")
            rows = table.isel(word=px.as_xtensor(index, dims=dims))
        else:
            table = pytensor.shared(start, name="table")
            rows = table[index]
        changes = updates.apply_if_finite(rule((rows**2).sum(), [rows]))
        step = pytensor.function([], updates=changes)
        step(), step()
        results.append(changes)
    assert_alike(*results)


def test_a_column_of_a_table_and_a_table_used_elsewhere_are_refused():
    table = px.type.xtensor_shared(np.ones((4, 2)), dims=("word", "unit"), name="table")
    column = table.isel(unit=px.as_xtensor([1], dims=("n",)))
    with pytest.raises(TypeError, match=r"params\[0\] must be a shared variable"):
        updates.sgd((column**2).sum(), [column], 0.1)
    rows = table.isel(word=px.as_xtensor([1], dims=("n",)))
    with pytest.raises(ValueError, match="rows of table, and the loss depends on table in other"):
        updates.sgd((rows**2).sum() + (table**2).sum(), [rows], 0.1)


def test_values_of_a_parameter_are_not_the_parameter():
    [w, _, _], loss = model(is_named=True)
    with pytest.raises(TypeError, match=r"it is the values of 'w'; give w itself"):
        updates.sgd(loss, [w.values], 0.1)


def test_transforms_of_dictionaries_take_them(tmp_path):
    params, loss = model(is_named=True)

    def made():
        changes = updates.apply_ema(updates.adam(loss, params, 0.1))
        changes = updates.apply_weight_decay(changes, mask=["w"])
        return updates.apply_if_finite(updates.freeze(changes, "s"), max_norm=10.0)

    changes = made()
    step = pytensor.function([], updates=changes)
    step(), step()
    present = [variable.get_value() for variable in changes]
    updates.save(tmp_path / "state.npz", changes)
    step()
    updates.load(tmp_path / "state.npz", changes)
    for variable, value in zip(changes, present, strict=True):
        np.testing.assert_array_equal(variable.get_value(), value)
    with updates.use_averages(changes):
        average = changes_of("average", changes)
        assert average.type.dims == ("in", "out")
    assert changes_of("w", changes).type.dims == ("in", "out")


def changes_of(end, changes):
    return next(v for v in changes if v.name == end or (v.name.startswith("w/") and end in v.name))


def test_minimize_takes_them():
    losses = {}
    for is_named in (True, False):
        params, loss = model(is_named)
        rule = updates.adam(learning_rate=0.05)
        history = updates.minimize(
            loss,
            params,
            rule=rule,
            train=[],
            train_batches=5,
            max_epochs=3,
            progress=False,
            monitor_gradients=True,
            monitor_updates=True,
        )
        losses[is_named] = history.train
    assert losses[True].keys() == losses[False].keys()
    for name, values in losses[False].items():
        np.testing.assert_allclose(losses[True][name], values, rtol=1e-9, err_msg=name)


def test_a_dictionary_by_hand():
    [w, _, _], loss = model(is_named=True)
    [grad] = updates.get_or_compute_grads(loss, [w])
    by_hand = updates.apply_momentum({w: w - 0.1 * grad}, [w])
    by_rule = updates.apply_momentum(updates.sgd([grad], [w], 0.1))
    start, ends = w.get_value(), []
    for changes in (by_hand, by_rule):
        w.set_value(start)
        step = pytensor.function([], updates=changes)
        step(), step()
        ends.append(w.get_value())
    np.testing.assert_allclose(*ends, rtol=1e-12)


@pytest.mark.filterwarnings("ignore:PyTensor could not link")
def test_many_steps_take_them():
    """The loop does not know names; what comes out of it has them again."""
    data = pytensor.shared(np.arange(24.0).reshape(8, 3) / 10)
    i, batches = pt.lscalar("i"), pt.lvector("batches")
    results = {}
    for is_named in (True, False):
        [w, _, _], _ = model(is_named)
        x = data[2 * i + pt.arange(2)]
        output = px.as_xtensor(x, dims=("n", "in")).dot(w) if is_named else pt.dot(x, w)
        loss = (output**2).mean()
        changes = updates.momentum(loss, [w], learning_rate=0.01)
        with pytensor.config.change_flags(mode="FAST_COMPILE"):
            many, losses = updates.many_steps(changes, loss, i, batches)
            values = pytensor.function([batches], losses, updates=many)([0, 3, 1])
        assert [variable.type for variable in many] == [variable.type for variable in changes]
        results[is_named] = values, w.get_value()
    for got, expected in zip(results[True], results[False], strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-9)


@pytest.mark.parametrize("returns", [False, True])
def test_next_values_are_computed_together_and_in_place(returns):
    params, loss = model(is_named=True)
    changes = updates.adam(loss, params, learning_rate=0.1)
    expected, plain_loss = model(is_named=False)
    plain = updates.adam(plain_loss, expected, learning_rate=0.1)
    outputs = [
        [dictionary[p[0]]] * returns for dictionary, p in ((changes, params), (plain, expected))
    ]
    step = pytensor.function([], outputs[0], updates=changes, mode="NUMBA")
    ops = [type(node.op).__name__ for node in step.maker.fgraph.apply_nodes]
    assert ops.count("MultiTensor") == 1 + returns
    places = [variable.get_value(borrow=True).ctypes.data for variable in changes]
    plain_step = pytensor.function([], outputs[1], updates=plain, mode="FAST_COMPILE")
    for _ in range(2):
        for value, other in zip(step(), plain_step(), strict=True):
            np.testing.assert_allclose(value, other, rtol=1e-12)
    assert_alike(changes, plain)
    assert places == [variable.get_value(borrow=True).ctypes.data for variable in changes]


def test_inputs_with_names_are_trained_on_arrays():
    [w, _, _], _ = model(is_named=True)
    x = px.xtensor("x", dims=("n", "in"), shape=(None, 3))
    loss = ((x.dot(w) - 1) ** 2).mean()
    before = w.get_value()

    def losses(train):
        w.set_value(before)
        rule = updates.sgd(learning_rate=0.1)
        return updates.minimize(
            loss, [w], rule=rule, train=[train], max_epochs=20, progress=False
        ).train["loss"]

    found = losses(X)
    assert found[-1] < found[0]
    xarray = pytest.importorskip("xarray")
    assert losses(xarray.DataArray(X.T, dims=("in", "n"))) == found
    with pytest.raises(ValueError, match=r"dimensions \('n', 'out'\), the input x has \('n', 'in'"):
        losses(xarray.DataArray(X, dims=("n", "out")))


def test_the_picture_says_the_same_of_both():
    texts = []
    for is_named in (True, False):
        params, loss = model(is_named)
        axes = Figure().subplots()
        updates.draw(updates.momentum(loss, params, 0.1), loss, axes=axes)
        texts.append([text.get_text() for text in axes.texts])
    assert texts[0] == texts[1] != []


def test_gradients_reduced_over_processes_keep_their_names():
    reduction = pytest.importorskip("updates.distributed")
    params, loss = model(is_named=True)
    grads = reduction.allreduce_mean(updates.get_or_compute_grads(loss, params))
    assert [grad.type.dims for grad in grads] == [param.type.dims for param in params]
