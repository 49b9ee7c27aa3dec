"""L-BFGS: as few iterations and evaluations as others take, and what it does at the edges."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from pytensor.compile.builders import OpFromGraph

import updates
from updates import lbfgs

MODE = "FAST_COMPILE"
GOLDEN = json.loads((Path(__file__).parent / "golden" / "lbfgs.json").read_text())
DATA = {
    name: {key: np.array(values) for key, values in arrays.items()}
    for name, arrays in GOLDEN["data"].items()
}


@pytest.fixture(autouse=True)
def _in_python():
    """Compile the inside of the search in Python, too, unless another mode is tried."""
    with pytensor.config.change_flags(mode=MODE):
        yield


def rosenbrock(x):
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def logistic(w):
    data = DATA["logistic regression"]
    margin = data["signs"] * (data["inputs"] @ w)
    return pt.log1p(pt.exp(-margin)).mean() + 1e-3 * (w**2).sum()


def network(w):
    data = DATA["network"]
    hidden = pt.tanh(data["inputs"] * w[:8] + w[8:16])
    return ((hidden @ w[16:24] + w[24] - data["targets"]) ** 2).mean()


PROBLEMS = {
    "rosenbrock": rosenbrock,
    "rosenbrock of ten": rosenbrock,
    "logistic regression": logistic,
    "network": network,
}


SLOW = {"rosenbrock of ten", "network"}


def state_of(rule):
    return {v.name.removeprefix("lbfgs/"): v for v in rule if (v.name or "").startswith("lbfgs/")}


def minimized(loss, params, iterations, tolerance=GOLDEN["tolerance"], mode=MODE, **arguments):
    """Make calls until the gradient is small; return how many, and evaluations and failures."""
    rule = lbfgs(loss, params, **arguments)
    state = state_of(rule)
    step = pytensor.function([], updates=rule, mode=mode)
    evaluations, failures, losses = 0, 0, []
    made = 0
    while made < iterations:
        step()
        made += 1
        evaluations += int(state["evaluations"].get_value())
        failures += int(state["failed"].get_value())
        losses.append(float(state["loss"].get_value()))
        if abs(state["gradient"].get_value()).max() <= tolerance:
            break
    return made, evaluations, failures, losses


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(row, id=row["problem"], marks=[pytest.mark.slow] * (row["problem"] in SLOW))
        for row in GOLDEN["problems"]
    ],
)
def test_iterations_and_evaluations_are_no_more_than_the_best_of_others_plus_a_tenth(row):
    x = pytensor.shared(np.array(row["start"]), name="x")
    iterations, evaluations, failures, losses = minimized(PROBLEMS[row["problem"]](x), x, 500)
    others = [row[peer] for peer in ("scipy", "torch", "optax")]
    assert iterations <= 1.1 * min(other["iterations"] for other in others)
    assert evaluations <= 1.1 * min(other["evaluations"] for other in others)
    assert failures == 0
    assert all(after <= before for before, after in pairwise(losses))


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["NUMBA", "CVM", "JAX"])
@pytest.mark.filterwarnings("ignore:PyTensor could not link to a BLAS")
def test_every_backend_takes_the_same_way(mode):
    if mode == "JAX":
        pytest.importorskip("jax")
    row = GOLDEN["problems"][0]
    ways = []
    for each in (MODE, mode):
        x = pytensor.shared(np.array(row["start"]), name="x")
        ways.append(minimized(rosenbrock(x), x, 500, mode=each, memory=2))
    assert ways[0][:3] == ways[1][:3]
    np.testing.assert_allclose(ways[0][3][:20], ways[1][3][:20], rtol=1e-6)


def test_parameters_of_many_shapes_and_dtypes_go_together():
    random = np.random.default_rng(0)
    W = pytensor.shared(random.normal(size=(3, 2)).astype("float32"), name="W")
    b = pytensor.shared(random.normal(size=2), name="b")
    s = pytensor.shared(2.0, name="s")
    nothing = pytensor.shared(np.zeros((0, 3)), name="nothing")
    loss = ((W - 1) ** 2).sum() + ((b * s - 3) ** 2).sum() + (s - 1) ** 2 + (nothing**2).sum()
    minimized(loss, [W, b, s, nothing], 60)
    np.testing.assert_allclose(W.get_value(), 1, rtol=1e-6)
    np.testing.assert_allclose(b.get_value(), 3, rtol=1e-4)
    np.testing.assert_allclose(s.get_value(), 1, rtol=1e-4)
    assert [v.get_value().dtype for v in (W, b, s)] == ["float32", "float64", "float64"]


def test_what_is_known_of_the_point_is_used_again_unless_something_has_changed():
    data = pytensor.shared(np.array([1.0, 2.0]), name="data")
    weight = pt.dscalar("weight")
    x = pytensor.shared(np.array([5.0, -3.0]), name="x")
    loss = (weight * (x - data) ** 4).sum()
    rule = lbfgs(loss, x)
    state = state_of(rule)
    step = pytensor.function([weight], loss, updates=rule, mode=MODE)

    def used_again():
        """Tell whether the call after this one found what the last call had kept."""
        before = float(state["loss"].get_value())
        at = (weight * (x - data) ** 4).sum().eval({weight: 1.0}, mode=MODE)
        return before == pytest.approx(float(at), rel=1e-12)

    def evaluations_of(value=1.0):
        step(value)
        return int(state["evaluations"].get_value())

    assert evaluations_of() == 1 + 1  # at the start, and one trial
    assert used_again()
    assert evaluations_of() == 1
    step(2.0)  # another input
    assert float(state["loss"].get_value()) == pytest.approx(
        2 * float((((x - data) ** 4).sum()).eval(mode=MODE)), rel=1e-12
    )
    x.set_value(np.array([4.0, -2.0]))
    assert evaluations_of() >= 2
    data.set_value(np.array([2.0, 1.0]))
    assert evaluations_of() >= 2
    data.set_value(np.array([1.0, 2.0]))
    assert evaluations_of() >= 2
    assert evaluations_of() == 1


@pytest.mark.parametrize(
    "odd", [np.nan, *(pytest.param(odd, marks=pytest.mark.slow) for odd in (np.inf, -np.inf, 2.0))]
)
def test_changes_beside_what_is_no_number_are_seen(odd):
    values = np.array([1.0, odd, 3.0])
    data = pytensor.shared(values, name="data")
    x = pytensor.shared(5.0, name="x")
    used = pt.switch(pt.eq(data, 1) | pt.eq(data, 3) | pt.eq(data, 30), data, 0)
    loss = ((x - used) ** 4).sum()
    rule = lbfgs(loss, x)
    state = state_of(rule)
    step = pytensor.function([], loss, updates=rule, mode=MODE)
    for _ in range(3):
        step()
    data.set_value(np.array([30.0, odd, 3.0]))
    before = float(step())
    assert int(state["evaluations"].get_value()) >= 2
    assert float(state["loss"].get_value()) < before


def test_a_change_that_moves_from_one_variable_to_another_is_seen():
    a, b = (pytensor.shared(np.arange(5.0), name=name) for name in "ab")
    x = pytensor.shared(9.0, name="x")
    rule = lbfgs(((x - a) ** 4).sum() + ((x - 2 * b) ** 2).sum(), x)
    step = pytensor.function([], updates=rule, mode=MODE)
    for _ in range(3):
        step()
    evaluations = state_of(rule)["evaluations"]
    for i, j in np.ndindex(5, 5):
        step()
        assert int(evaluations.get_value()) == 1
        for variable, place, change in ((a, i, -4.0), (b, j, 4.0)):
            values = variable.get_value()
            values[place] += change
            variable.set_value(values)
        step()
        assert int(evaluations.get_value()) >= 2


def test_at_a_minimum_everything_rests():
    x = pytensor.shared(np.zeros(3), name="x")
    rule = lbfgs((x**2).sum(), x)
    step = pytensor.function([], updates=rule, mode=MODE)
    step()
    assert np.array_equal(x.get_value(), np.zeros(3))
    assert int(state_of(rule)["failed"].get_value()) == 0
    assert all(np.isfinite(v.get_value()).all() for v in rule)


def test_a_search_that_finds_nothing_says_so_and_leaves_the_parameters():
    x = pytensor.shared(np.array([1.0, -1.0]), name="x")
    loss = pt.log(x).sum()  # not finite at the second
    rule = lbfgs(loss, x, max_trials=4)
    step = pytensor.function([], updates=rule, mode=MODE)
    step()
    assert np.array_equal(x.get_value(), [1.0, -1.0])
    assert int(state_of(rule)["failed"].get_value()) == 1


def test_trials_outside_of_the_domain_are_too_long():
    x = pytensor.shared(np.array([0.01]), name="x")
    # Its first Newton steps lead below 0, where the logarithm is NaN.
    _, _, failures, losses = minimized((x - pt.log(x)).sum(), x, 30)
    np.testing.assert_allclose(x.get_value(), 1, rtol=1e-5)
    assert failures == 0
    assert losses[-1] == pytest.approx(1.0)


def test_too_few_trials_take_the_best_of_them_or_rest():
    x = pytensor.shared(np.array([-1.2, 1.0]), name="x")
    _, evaluations, failures, losses = minimized(rosenbrock(x), x, 30, max_trials=2)
    assert failures > 0
    assert evaluations <= 30 * (2 + 1)  # two trials, and anew after a search that found nothing
    assert all(after <= before for before, after in pairwise(losses))
    assert losses[-1] < 24


def test_it_goes_on_where_it_was_saved(tmp_path):
    def problem():
        x = pytensor.shared(np.array([-1.2, 1.0]), name="x")
        rule = lbfgs(rosenbrock(x), x)
        return x, rule, pytensor.function([], updates=rule, mode=MODE)

    x, rule, step = problem()
    for _ in range(12):
        step()
    updates.save(tmp_path / "half.npz", rule)
    for _ in range(12):
        step()
    whole = updates.state_dict(rule)
    again, rule, step = problem()
    updates.load(tmp_path / "half.npz", rule)
    for _ in range(12):
        step()
    assert np.array_equal(x.get_value(), again.get_value())
    assert len(whole) > 8
    for name, value in updates.state_dict(rule).items():
        np.testing.assert_array_equal(value, whole[name])


def test_a_loss_that_draws_is_refused():
    x = pytensor.shared(np.ones(3), name="x")
    with pytest.raises(ValueError, match=r"^lbfgs: the loss draws random numbers"):
        lbfgs((x * pt.random.normal(size=3)).sum(), x)
    inner = OpFromGraph(
        [x, rng := pytensor.shared(np.random.default_rng(0))],
        [(x * pt.random.normal(size=3, rng=rng)).sum()],
    )
    with pytest.raises(ValueError, match=r"^lbfgs: the loss draws random numbers"):
        lbfgs(inner(x, rng), x)


def test_it_is_one_step_of_newton_where_the_curvature_is_known():
    x = pytensor.shared(np.array([3.0]), name="x")
    iterations, evaluations, *_ = minimized(((x - 1) ** 2).sum(), x, 10)
    assert iterations == 2
    assert evaluations <= 4
