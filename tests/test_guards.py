"""What no choice of parameters, no number of calls and no size of gradient may break.

Random sets of parameters under every rule, arrays that nobody else may touch, long runs, numbers
at the edge of what a dtype holds, copies of rules and functions, and several threads.
"""

import copy
import itertools
import pickle
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from catalogue import AS_WRITTEN, LIGHT_RULES, RULES, every_rule, loss_of, parameters, run
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from pytensor.graph.basic import equal_computations
from pytensor.graph.traversal import graph_inputs
from pytensor.tensor.sharedvar import TensorSharedVariable

import updates
from updates.given_numbers import is_number
from updates.loss_graph import by_age

NEED_THE_LOSS = {"polyak_sgd", "momo", "momo_adam", "sophia", "esgd", "nesterov_lookahead", "lbfgs"}


# --- Random sets of parameters ---------------------------------------------------------------


class Parameter(NamedTuple):
    """What a parameter is made from; its values follow from its place in the set."""

    dtype: str
    shape: tuple[int, ...]
    layout: str
    is_static: bool
    name: str | None

    def make(self, index):
        """Make it anew, always with the same values."""
        random = np.random.default_rng(index)
        value = random.uniform(0.5, 1.5, self.shape) * random.choice([-1, 1], self.shape)
        value = np.asarray(value, dtype=self.dtype)
        if self.layout == "fortran":
            value = np.array(value, order="F")
        elif self.layout == "view" and self.shape:
            wide = np.zeros((*self.shape[:-1], 2 * self.shape[-1]), dtype=self.dtype)
            wide[..., ::2] = value
            value = wide[..., ::2]
        static = tuple(1 if n == 1 and self.is_static else None for n in self.shape)
        name = self.name and f"{self.name}{index}"
        return pytensor.shared(value, name=name, shape=static, borrow=True)


lengths = st.sampled_from([0, 1, 1, 2, 3])
parameter_sets = st.lists(
    st.builds(
        Parameter,
        dtype=st.sampled_from(["float16", "float32", "float64"]),
        shape=st.lists(lengths, max_size=4).map(tuple),
        layout=st.sampled_from(["C", "fortran", "view"]),
        is_static=st.booleans(),
        name=st.sampled_from([None, "p"]),
    ),
    min_size=1,
    max_size=4,
)


def name_of(rule):
    """Name a rule alike in every process: without addresses."""
    return re.sub(r" at 0x\w+", "", repr(rule))


def made(parameter_set):
    return [parameter.make(index) for index, parameter in enumerate(parameter_set)]


def built(row, params, gives_gradients):
    """Apply a rule to gradients that are given, where it takes them, or to those of a loss."""
    if row.name in NEED_THE_LOSS or not gives_gradients:
        return row.rule(loss_of_any(params), params)
    random = np.random.default_rng(7)
    grads = [random.uniform(-2, 2, p.get_value().shape).astype(p.dtype) for p in params]
    return row.rule(list(map(pt.constant, grads)), params)


def loss_of_any(params):
    """Give a loss that is finite for empty parameters and in float16, too."""
    return sum(pt.sum((pt.cast(param, "float64") ** 2 - 0.5) ** 2) for param in params)


def compiled(dictionary, mode=AS_WRITTEN):
    return pytensor.function([], updates=dictionary, mode=mode)


def values(dictionary):
    """Return copies of all arrays in their order: parameters may have no name."""
    return [v.get_value() for v in dictionary if isinstance(v, TensorSharedVariable)]


def after(dictionary, steps=2, mode=AS_WRITTEN):
    """Train, and return what became of everything."""
    step = compiled(dictionary, mode)
    for _ in range(steps):
        step()
    return values(dictionary)


def assert_equal_bits(first, second):
    assert [value.dtype for value in first] == [value.dtype for value in second]
    assert [value.shape for value in first] == [value.shape for value in second]
    assert [value.tobytes() for value in first] == [value.tobytes() for value in second]


def check_a_rule_on_any_parameters(row, other, first, second, gives_gradients, mode):
    """Check what must hold of a rule, and of its merger with another on other parameters."""

    def dictionaries():
        return (
            built(row, made(first), gives_gradients),
            built(other, made(second), gives_gradients),
        )

    # Apart, and again from the start: the same bits.
    apart = [after(dictionary, mode=mode) for dictionary in dictionaries()]
    params = made(first)
    before = [param.get_value() for param in params]
    own = built(row, params, gives_gradients)
    assert_equal_bits(apart[0], after(own, mode=mode))
    # Dtypes and shapes are kept.
    for param, value in zip(params, before, strict=True):
        now = param.get_value()
        assert (now.dtype, now.shape) == (value.dtype, value.shape)
        assert own[param].type.dtype == param.type.dtype
        assert param.type.filter(now) is now
    # In one function, in another order: the same bits.
    one, two = dictionaries()
    items = list(updates.merge_updates(one, two).items())
    order = np.random.default_rng(len(items)).permutation(len(items))
    together = compiled([items[i] for i in order], mode)
    for _ in range(2):
        together()
    assert_equal_bits(apart[0], values(one))
    assert_equal_bits(apart[1], values(two))


def check_state(row, parameter_set):
    """Compare the number and the bytes of state variables with the slots of the catalogue."""
    if callable(row.slots):  # as many as a parameter has axes
        return
    params = made(parameter_set)
    state = [v for v in built(row, params, False) if updates.is_state(v)]
    scalars = len(row.scalars) + row.counts
    assert len(state) == len(params) * len(row.slots) + scalars
    if row.whole:  # some keep one number a tensor
        return
    copies = len(row.slots) * row.rule.hyperparameters.get("n_win", 1)
    in_bytes = sum(copies * param.get_value().nbytes for param in params)
    in_bytes += 8 * (scalars - ("generator" in row.scalars))
    kept = [v.get_value().nbytes for v in state if isinstance(v, TensorSharedVariable)]
    assert sum(kept) == in_bytes


@settings(max_examples=25, derandomize=True, deadline=None)
@given(
    st.sampled_from(LIGHT_RULES),
    st.sampled_from(LIGHT_RULES),
    parameter_sets,
    parameter_sets,
    st.booleans(),
    st.sampled_from(["FAST_COMPILE", AS_WRITTEN]),
)
def test_order_types_and_mergers_hold_for_any_parameters(row, other, first, second, gives, mode):
    check_a_rule_on_any_parameters(row, other, first, second, gives, mode)


@pytest.mark.slow
@every_rule
def test_order_types_and_mergers_hold_for_any_parameters_under_every_rule(row):
    other = LIGHT_RULES[(RULES.index(row) * 7 + 5) % len(LIGHT_RULES)]

    @settings(max_examples=2, derandomize=True, deadline=None, phases=[Phase.generate])
    @given(parameter_sets, parameter_sets, st.booleans())
    def check(first, second, gives):
        check_a_rule_on_any_parameters(row, other, first, second, gives, "FAST_COMPILE")

    check()


@settings(max_examples=60, derandomize=True, deadline=None)
@given(st.sampled_from(LIGHT_RULES), parameter_sets)
def test_state_is_as_large_as_the_catalogue_says(row, parameter_set):
    check_state(row, parameter_set)


@every_rule
def test_a_gradient_that_broadcasts_fits_a_parameter_that_need_not(row):
    w = pytensor.shared(np.ones((2, 1)), name="w")
    grad = pt.constant(np.ones((2, 1)))
    by_loss = row.name in NEED_THE_LOSS
    for variable, new_value in row.rule(pt.sum(w * grad) if by_loss else [grad], [w]).items():
        fitted = variable.type.filter_variable(new_value)  # as pytensor.function does
        assert variable.type.in_same_class(fitted.type), (variable, new_value.type)


TRANSFORMS = [
    updates.apply_momentum,
    updates.apply_nesterov_momentum,
    updates.apply_ema,
    updates.apply_lookahead,
    updates.apply_weight_decay,
    updates.apply_if_finite,
    updates.merge_updates,
    lambda given: updates.apply_bounds(given, low=-1),
    lambda given: updates.freeze(given, lambda param: param.dtype == "float32"),
    lambda given: updates.reduce_on_plateau(given, pt.constant(1.0)),
]


@settings(max_examples=40, derandomize=True, deadline=None)
@given(
    st.sampled_from(LIGHT_RULES), st.lists(st.sampled_from(TRANSFORMS), max_size=3), parameter_sets
)
def test_transforms_leave_the_old_dictionary_and_its_arrays_alone(row, transforms, parameter_set):
    dictionary = built(row, made(parameter_set), True)
    items, before = list(dictionary.items()), values(dictionary)
    result = dictionary
    for transform in transforms:
        given_items = list(result.items())
        transformed = transform(result)
        assert transformed is not result
        assert list(result.items()) == given_items
        result = transformed or dictionary  # where all was frozen
    assert list(dictionary.items()) == items
    assert_equal_bits(before, values(dictionary))


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("value", [0, 0.5, np.float64(0.5), np.full(2, 0.5)], ids=name_of)
def test_a_next_value_may_be_a_number_as_pytensor_allows(transform, value):
    w = pytensor.shared(np.ones(2, dtype="float32"), name="w", shape=(2,))
    if np.ndim(value) == 0:
        w = pytensor.shared(np.float32(1), name="w")
    count = pytensor.shared(1, name="count")
    dictionary = transform({w: value, count: count + 1})
    for now in after(dictionary, steps=1):
        assert np.isfinite(now).all()
    assert w not in dictionary or w.get_value().dtype == "float32"


# --- Arrays that belong to one variable ------------------------------------------------------


def assert_no_two_share_memory(variables):
    tensors = [v for v in variables if isinstance(v, TensorSharedVariable)]
    arrays = {v: v.get_value(borrow=True) for v in tensors}
    for first, second in itertools.combinations(arrays, 2):
        assert not np.shares_memory(arrays[first], arrays[second]), (first, second)


def equal_parameters():
    """Make parameters that a careless rule could confuse: equal values, borrowed and viewed."""
    whole = np.arange(1.0, 13.0).reshape(2, 6)
    values_ = [np.ones((2, 3)), np.ones((2, 3)), np.asfortranarray(np.ones((2, 3))), whole[:, ::2]]
    names = ["first", "second", "fortran", "view"]
    params = [
        pytensor.shared(value, name=name, borrow=True)
        for value, name in zip(values_, names, strict=True)
    ]
    return params, values_


def same_gradient_for_all(row, params):
    if row.name in NEED_THE_LOSS:
        return row.rule(loss_of(params), params)
    return row.rule([params[0] * 0.5] * len(params), params)


@every_rule
def test_no_two_variables_ever_share_an_array(row):
    params, borrowed = equal_parameters()
    before = [value.copy() for value in borrowed]
    both = [same_gradient_for_all(row, params) for _ in range(2)]
    states = [[v for v in dictionary if updates.is_state(v)] for dictionary in both]
    assert not set(states[0]) & set(states[1])
    assert [v.name for v in states[0]] == [v.name for v in states[1]]
    assert_no_two_share_memory([*params, *states[0], *states[1]])
    # Building writes into nothing and copies nothing.
    for param, value, old in zip(params, borrowed, before, strict=True):
        assert param.get_value(borrow=True) is value
        np.testing.assert_array_equal(value, old)
    compiled(both[0])()
    assert_no_two_share_memory([*params, *states[0], *states[1]])


@pytest.mark.slow
@pytest.mark.parametrize(
    "row",
    [row for row in RULES if row.name in {"adan", "madgrad", "asgd", "schedule_free_sgd", "adopt"}],
    ids=lambda row: row.name,
)
def test_no_two_variables_share_an_array_in_the_default_mode(row):
    params, _ = equal_parameters()
    dictionary = same_gradient_for_all(row, params)
    step = compiled(dictionary, mode=None)
    for _ in range(3):
        step()
        assert_no_two_share_memory(dictionary)


@every_rule
def test_two_rules_on_the_same_parameters_cannot_be_merged(row):
    w = pytensor.shared(np.ones((2, 2)), name="weights")
    own, plain = row.rule((w**2).sum(), [w]), updates.sgd((w**2).sum(), [w], 0.01)
    with pytest.raises(ValueError, match="merge_updates: dictionaries 0 and 1 both change weights"):
        updates.merge_updates(own, plain)


def test_two_rules_on_the_same_parameters_take_turns_in_two_functions():
    params = parameters()
    rules = [updates.momentum(learning_rate=0.1, momentum=0.5), updates.sgd(learning_rate=0.1)]
    both = [rule(loss_of(params), params) for rule in rules]
    steps = [compiled(dictionary) for dictionary in both]
    expected = np.array(params[0].get_value()), np.zeros((2, 3))
    gradient = pytensor.function([], pytensor.grad(loss_of(params), params[0]), mode=AS_WRITTEN)
    for number in range(4):
        (value, velocity), grad = expected, gradient()
        if number % 2:
            expected = value - 0.1 * grad, velocity
        else:
            velocity = 0.5 * velocity - 0.1 * grad
            expected = value + velocity, velocity
        steps[number % 2]()
        np.testing.assert_allclose(params[0].get_value(), expected[0], rtol=1e-13)


# --- Long runs -------------------------------------------------------------------------------


def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_two_million_steps_need_no_more_memory_and_lose_no_time():
    w = pytensor.shared(np.float32(1.0), name="w")
    dictionary = updates.adam(w**2, [w], learning_rate=1e-5)
    [clock] = [v for v in dictionary if v.name == "adam/step"]
    start, warm_up, steps = 2**24 - 1_000_000, 100_000, 2_000_000
    clock.set_value(start)
    step = compiled(dictionary, mode=None)
    step.trust_input = True
    for _ in range(warm_up):
        step()
    before = resident_bytes()
    for _ in range(steps):
        step()
    assert resident_bytes() - before < 1_000_000
    assert clock.get_value() == start + warm_up + steps > 2**24
    assert clock.get_value().dtype == "int64"
    assert abs(w.get_value()) < 1e-3


@pytest.mark.parametrize(
    "row", [row for row in RULES if row.counts], ids=lambda row: repr(row.rule)[:40]
)
def test_steps_are_finite_whatever_the_time(row):
    params = [pytensor.shared(np.array([[0.5, -1], [2, 0]], dtype="float32"), name="w")]
    dictionary = row.rule(loss_of(params), params)
    [clock] = [v for v in dictionary if v.name == f"{row.name}/step"]
    start = values(dictionary)
    step = compiled(dictionary)
    for number in (1, 2, 10**7, 2**31, 2**53 + 1, 2**62):
        tensors = [v for v in dictionary if isinstance(v, TensorSharedVariable)]
        for variable, value in zip(tensors, start, strict=True):
            variable.set_value(value)
        clock.set_value(number - 1)
        step()
        assert clock.get_value() == number
        for value in values(dictionary):
            assert np.isfinite(value).all(), number


# --- Numbers at the edge ---------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "rule",
    [
        updates.deepmind_rmsprop(epsilon=0.0),
        updates.deepmind_rmsprop,
        updates.graves_rmsprop(epsilon=0.0),
        updates.graves_rmsprop(momentum=0.9),
        updates.graves_rmsprop(halflife=0.01, momentum=0.9, nesterov=True),
    ],
    ids=name_of,
)
def test_a_variance_of_constant_gradients_is_never_negative(rule):
    sizes = np.logspace(-44, 18, 500).astype("float32")  # larger squares are infinite
    grads = np.concatenate([-sizes, [0], sizes]).astype("float32")
    w = pytensor.shared(np.zeros_like(grads), name="w")
    dictionary = rule([pt.constant(grads)], [w], learning_rate=0.0 + 1e-30)
    step = compiled(dictionary, mode=None)
    step.trust_input = True
    for _ in range(100_000):
        step()
    for variable in dictionary:
        assert not np.isnan(variable.get_value()).any(), variable
        assert not np.isinf(variable.get_value()).any(), variable


@every_rule
def test_zero_gradients_from_the_start_leave_everything_finite(row):
    least = {name: 0.0 for name in row.rule.hyperparameters if name.startswith("epsilon")}
    dictionary = {}
    for rule in (row.rule, row.rule(**least)) if least else (row.rule,):
        for dtype in ("float16", "float32"):
            params = [
                pytensor.shared(np.ones(shape, dtype=dtype), name=str(shape))
                for shape in [(2, 3), ()]
            ]
            dictionary |= rule(0 * sum(pt.sum(param**2) for param in params), params)
    for value in after(dictionary, steps=5):
        assert np.isfinite(value).all()


@pytest.mark.parametrize(
    "rule", [updates.dog(epsilon=0.0), updates.dowg(epsilon=0.0, initial_distance=0.1)], ids=name_of
)
def test_the_distance_over_no_gradient_at_all_moves_nothing(rule):
    w, grad = pytensor.shared(np.float32(1), name="w"), pytensor.shared(np.float32(0), name="grad")
    dictionary = rule([grad], [w])
    step = compiled(dictionary, "FAST_COMPILE")
    step()
    assert w.get_value() == 1
    grad.set_value(np.float32(0.5))
    step()
    assert 0 < w.get_value() < 1


TINY, HEALTHY, HUGE = np.float32(1e-30), np.float32(0.5), np.float32(1e30)

# What becomes of a float32 parameter whose gradient is 1e30 in every call. The square is infinite.
# Most rules that divide by a root mean square then divide by infinity: the parameter rests (with
# decoupled weight decay it moves). These few work out infinity - infinity or infinity / infinity.
NAN_WHERE_SQUARES_OVERFLOW = {"deepmind_rmsprop", "graves_rmsprop", "yogi", "adafactor"}
RESTS_WHERE_SQUARES_OVERFLOW = {
    *("adagrad", "adagrad_window", "adadelta", "rmsprop", "sm3", "madgrad", "adopt"),
    *("adam", "amsgrad", "nadam", "optimistic_adam", "adabelief", "schedule_free_adamw"),
    *("lamb", "prodigy", "dadapt_adamw", "momo_adam", "laprop", "shampoo"),
}
# Rules with one step length for all parameters, which a huge gradient makes too short to see.
HOLD_BACK_THE_OTHERS = {"dog", "dowg", "polyak_sgd", "momo", "lbfgs"}


def what_becomes(value):
    """Name what became of a parameter that started at 1."""
    if not np.isfinite(value).all():
        return "nan" if np.isnan(value).any() else "infinity"
    return "moves" if (value != 1).all() else "rests"


@every_rule
def test_a_huge_gradient_spoils_no_other_parameter(row):
    params = {
        name: pytensor.shared(np.ones((2, 2), dtype="float32"), name=name)
        for name in ("tiny", "healthy", "huge")
    }
    loss = sum(
        pt.sum(param * grad)
        for param, grad in zip(params.values(), (TINY, HEALTHY, HUGE), strict=True)
    )
    run(row.rule(loss, list(params.values())))
    became = {name: what_becomes(param.get_value()) for name, param in params.items()}
    expected = "nan" if row.name in NAN_WHERE_SQUARES_OVERFLOW else "moves"
    expected = "rests" if row.name in RESTS_WHERE_SQUARES_OVERFLOW else expected
    assert became["huge"] == expected
    assert became["healthy"] == ("rests" if row.name in HOLD_BACK_THE_OTHERS else "moves")
    assert became["tiny"] in ("moves", "rests")


# --- Copies of rules and of functions --------------------------------------------------------


def falling(step):
    """Give a schedule of one's own."""
    return 0.1 / (step + 1)


DEFERRED = [
    *(row.rule for row in RULES),
    updates.adam(learning_rate=updates.warmup(updates.cosine_decay(0.1, 9), 2)),
    updates.momentum(learning_rate=falling, momentum=updates.linear_schedule(0.5, 0.9, 3)),
    updates.sam(rule=updates.adamw(learning_rate=updates.step_decay(0.1, 1)), rho=0.1),
    updates.accumulate_gradients(rule=updates.rmsprop(learning_rate=falling), every=2),
    updates.accumulate_gradients(
        rule=updates.accumulate_gradients(rule=updates.lion(learning_rate=0.1), every=1), every=2
    ),
]
COPIES = {
    "pickle": lambda rule: pickle.loads(pickle.dumps(rule)),
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
}


def on_two_numbers(rule):
    params = [pytensor.shared(np.array([0.3, -0.7]), name="w")]
    return rule(loss_of(params), params)


def assert_same_graphs(first, second):
    """Compare dictionaries of updates: names, numbers, and what is computed from them."""
    assert [variable.name for variable in first] == [variable.name for variable in second]
    names, numbers, variables = [], [], []
    for dictionary in (first, second):
        found = by_age(v for v in graph_inputs(dictionary.values()) if is_number(v))
        names.append([variable.name for variable in found])
        numbers.append([variable.get_value() for variable in found])
        variables.append([*dictionary, *found])
    assert names[0] == names[1]
    assert numbers[0] == numbers[1]
    computations = [list(dictionary.values()) for dictionary in (first, second)]
    assert equal_computations(*computations, *variables)


@pytest.mark.parametrize("rule", DEFERRED, ids=name_of)
def test_a_copy_of_a_deferred_rule_is_the_same_rule(rule):
    expected = on_two_numbers(rule)
    for make_copy in COPIES.values():
        copied = make_copy(rule)
        assert copied is not rule
        assert repr(copied) == repr(rule)
        assert_same_graphs(on_two_numbers(copied), expected)


def test_graphs_of_different_rules_differ():
    fast, slow = (on_two_numbers(updates.sgd(learning_rate=rate)) for rate in (0.1, 0.01))
    with pytest.raises(AssertionError):
        assert_same_graphs(fast, slow)


TRAINED_FOR = 5


def adam_function():
    params = parameters()
    dictionary = updates.adam(loss_of(params), params, updates.linear_schedule(0.1, 0.0, 9))
    return dictionary, compiled(dictionary)


def test_a_pickled_function_trains_on_from_where_it_was():
    dictionary, step = adam_function()
    expected = after(adam_function()[0], TRAINED_FOR)
    step()
    restored = pickle.loads(pickle.dumps(step))
    saved = values(dictionary)
    for _ in range(TRAINED_FOR - 1):
        restored()
    assert_equal_bits(saved, values(dictionary))  # it has variables of its own
    theirs = {variable.name: variable for variable in restored.get_shared()}
    assert_equal_bits([theirs[v.name].get_value() for v in dictionary], expected)


def test_a_copied_function_trains_the_same_variables():
    dictionary, step = adam_function()
    expected = after(adam_function()[0], TRAINED_FOR)
    copied = step.copy()
    for number in range(TRAINED_FOR):
        (copied if number % 2 else step)()
    assert_equal_bits(values(dictionary), expected)


# --- Threads ---------------------------------------------------------------------------------


def test_rules_built_by_several_threads_are_those_built_one_by_one():
    rules = [*DEFERRED, *DEFERRED][:80]
    with ThreadPoolExecutor(max_workers=8) as threads:
        together = list(threads.map(on_two_numbers, rules))
    for rule, dictionary in zip(rules, together, strict=True):
        assert_same_graphs(dictionary, on_two_numbers(rule))
