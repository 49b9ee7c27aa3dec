"""The table that the tests run over: every rule and every composition, one row each.

A new rule needs one row here. ``slots`` are the state variables that it keeps for each parameter,
or a function of it that gives them,
``scalars`` those that it keeps once a call, ``counts`` says whether it keeps a step counter.
``whole`` rules look at each tensor, or all of them, as a whole: ``W[index]`` is refused, and state
need not have the parameter's shape.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from pytensor.compile.mode import Mode
from pytensor.tensor.sharedvar import TensorSharedVariable

import updates
from updates.declaration import declaration_of
from updates.kinds import Scalar, Waiting

# Computes a graph as it was written, in Python. Rewrites are most of what compiling costs even in
# FAST_COMPILE: this compiles six times as fast. For tests of formulas: those of what rewrites may
# break (order, aliases, dtypes) need another mode.
AS_WRITTEN = Mode("py", "minimum_compile")


class Row(NamedTuple):
    name: str
    rule: Callable[..., Any]
    slots: tuple[str, ...] | Callable[[Any], tuple[str, ...]]
    counts: bool = False
    scalars: tuple[str, ...] = ()
    whole: bool = False

    def slots_of(self, param: Any) -> tuple[str, ...]:
        """Give the slots of one parameter."""
        return self.slots(param) if callable(self.slots) else self.slots

    def kind(self, name: str) -> Any:
        """Give what the rule declares of a hyperparameter."""
        return declaration_of(self.rule.rule).kinds[name]

    def is_symbolic(self, name: str) -> bool:
        """Tell whether a hyperparameter enters the formula."""
        return isinstance(self.kind(name), Scalar)

    def bind(self, convert: Callable[[str, float], Any]) -> dict[str, Any]:
        """Convert each number that may be a symbol as well."""
        return {
            name: convert(name, value)
            if isinstance(value, float) and self.is_symbolic(name)
            else value
            for name, value in self.rule.hyperparameters.items()
        }

    def __repr__(self) -> str:
        return self.name


MOMENTS = ("first_moment", "second_moment")
RULES = [
    Row("sgd", updates.sgd(learning_rate=0.1), ()),
    Row("momentum", updates.momentum(learning_rate=0.05, momentum=0.9), ("velocity",)),
    Row("momentum", updates.momentum(learning_rate=0.05, rate_in_velocity=False), ("velocity",)),
    Row(
        "gradient_updates_momentum",
        updates.gradient_updates_momentum(learning_rate=0.1, momentum=0.9),
        ("velocity",),
    ),
    Row(
        "nesterov_momentum",
        updates.nesterov_momentum(learning_rate=0.05, momentum=0.9),
        ("velocity",),
    ),
    Row("adagrad", updates.adagrad(learning_rate=0.1), ("sum_of_squares",)),
    Row(
        "adagrad",
        updates.adagrad(
            learning_rate=0.1, epsilon=0.0, initial_accumulator=0.1, epsilon_outside=1e-6
        ),
        ("sum_of_squares",),
    ),
    Row("adagrad_window", updates.adagrad_window(learning_rate=0.1, n_win=2), ("squares",), True),
    Row("adadelta", updates.adadelta(), ("mean_square", "mean_square_step")),
    Row("rmsprop", updates.rmsprop(learning_rate=0.01), ("mean_square",)),
    Row("rmsprop", updates.rmsprop(learning_rate=0.01, max_scaling=2.0), ("mean_square",)),
    Row("rmsprop", updates.rmsprop(learning_rate=0.01, epsilon_outside=1e-4), ("mean_square",)),
    Row(
        "deepmind_rmsprop",
        updates.deepmind_rmsprop(learning_rate=0.01),
        ("mean", "mean_square"),
    ),
    Row(
        "graves_rmsprop",
        updates.graves_rmsprop(learning_rate=0.01),
        ("mean", "mean_square"),
    ),
    Row(
        "graves_rmsprop",
        updates.graves_rmsprop(learning_rate=0.01, momentum=0.9),
        ("mean", "mean_square", "velocity"),
    ),
    Row(
        "graves_rmsprop",
        updates.graves_rmsprop(learning_rate=0.01, momentum=0.9, nesterov=True),
        ("mean", "mean_square", "velocity"),
    ),
    Row("adam", updates.adam(learning_rate=0.01), ("first_moment", "second_moment"), True),
    Row("adamax", updates.adamax(learning_rate=0.01), ("first_moment", "infinity_norm"), True),
    Row(
        "amsgrad",
        updates.amsgrad(learning_rate=0.01),
        ("first_moment", "second_moment", "max_second_moment"),
        True,
    ),
    Row("adamw", updates.adamw(learning_rate=0.01, weight_decay=0.1), MOMENTS, True),
    Row(
        "adamaxw",
        updates.adamaxw(learning_rate=0.01, weight_decay=0.1),
        ("first_moment", "infinity_norm"),
        True,
    ),
    Row(
        "ademamix",
        updates.ademamix(learning_rate=0.01, beta3=0.99, weight_decay=0.1),
        (*MOMENTS, "slow_moment"),
        True,
    ),
    Row(
        "mars",
        updates.mars(learning_rate=0.01, weight_decay=0.1),
        (*MOMENTS, "previous_gradient"),
        True,
        whole=True,
    ),
    Row("nadam", updates.nadam(learning_rate=0.01), MOMENTS, True),
    Row(
        "nadam",
        updates.nadam(learning_rate=0.01, momentum_decay=0.004),
        MOMENTS,
        True,
        ("momentum_product",),
    ),
    Row("nadamw", updates.nadamw(learning_rate=0.01, weight_decay=0.1), MOMENTS, True),
    Row(
        "adan",
        updates.adan(learning_rate=0.01, weight_decay=0.1),
        (*MOMENTS, "mean_change", "previous_gradient"),
        True,
    ),
    Row(
        "optimistic_adam",
        updates.optimistic_adam(learning_rate=0.01, nesterov=True),
        (*MOMENTS, "previous_direction"),
        True,
    ),
    Row("adabelief", updates.adabelief(learning_rate=0.01), ("first_moment", "variance"), True),
    Row("yogi", updates.yogi(learning_rate=0.01), MOMENTS, True),
    Row("radam", updates.radam(learning_rate=0.01), MOMENTS, True),
    Row(
        "acprop",
        updates.acprop(learning_rate=0.01, weight_decay=0.1),
        ("first_moment", "variance"),
        True,
    ),
    Row("laprop", updates.laprop(learning_rate=0.01), ("second_moment", "momentum"), True),
    Row("adopt", updates.adopt(learning_rate=0.01, beta2=0.99), MOMENTS, True),
    Row("sign_sgd", updates.sign_sgd(learning_rate=0.01), ()),
    Row("signum", updates.signum(learning_rate=0.01), ("mean",)),
    Row("lion", updates.lion(learning_rate=0.01, weight_decay=0.1), ("mean",)),
    Row("rprop", updates.rprop(learning_rate=0.01), ("scale", "sign")),
    Row("noisy_sgd", updates.noisy_sgd(learning_rate=0.1), (), True, ("generator",)),
    Row(
        "optimistic_gradient_descent",
        updates.optimistic_gradient_descent(learning_rate=0.1),
        ("previous_gradient",),
        True,
    ),
    Row("asgd", updates.asgd(learning_rate=0.1, start=1.0), ("average",), True),
    Row(
        "schedule_free_sgd",
        updates.schedule_free_sgd(learning_rate=0.1),
        ("base", "average"),
        scalars=("max_learning_rate", "weight_sum"),
    ),
    Row(
        "schedule_free_adamw",
        updates.schedule_free_adamw(learning_rate=0.01),
        ("second_moment", "base", "average"),
        True,
        ("max_learning_rate", "weight_sum"),
    ),
    Row(
        "madgrad",
        updates.madgrad(learning_rate=0.01),
        ("start", "sum_of_gradients", "sum_of_squares"),
        True,
    ),
    Row("lars", updates.lars(learning_rate=1.0, weight_decay=0.1), ("velocity",), whole=True),
    Row("lamb", updates.lamb(learning_rate=0.01), MOMENTS, True, whole=True),
    Row("fromage", updates.fromage(learning_rate=0.01), (), whole=True),
    Row(
        "novograd",
        updates.novograd(learning_rate=0.01),
        ("first_moment", "mean_norm"),
        True,
        whole=True,
    ),
    Row("adafactor", updates.adafactor(learning_rate=0.01), ("mean_square",), True, whole=True),
    Row(
        "adafactor",
        updates.adafactor(learning_rate=0.01, momentum=0.9, min_dim_size_to_factor=2),
        lambda param: (
            ("row_mean_square", "column_mean_square", "velocity")
            if param.name == "matrix"
            else ("mean_square", "velocity")
        ),
        True,
        whole=True,
    ),
    Row(
        "sm3",
        updates.sm3(learning_rate=0.1),
        lambda param: (*(f"cover_{axis}" for axis in range(max(1, param.ndim))), "velocity"),
        whole=True,
    ),
    Row(
        "muon",
        updates.muon(learning_rate=0.02),
        lambda param: MOMENTS[: 1 if param.ndim == 2 else 2],
        True,
        whole=True,
    ),
    Row(
        "soap",
        # A row that broadcasts has rank 1: its other eigenvectors depend on the backend.
        updates.soap(learning_rate=0.01, update_interval=2, max_precondition_dim=2),
        lambda param: (*MOMENTS, *(("factor_0", "basis_0") if param.ndim > 1 else ())),
        True,
        whole=True,
    ),
    Row(
        "shampoo",
        updates.shampoo(learning_rate=0.05, epsilon=0.01, update_interval=2),
        lambda param: ("factor_0", "factor_1", "root_0", "root_1") if param.ndim > 1 else MOMENTS,
        True,
        whole=True,
    ),
    Row(
        "dog",
        updates.dog(learning_rate=1.0),
        ("start",),
        scalars=("max_distance", "sum_of_squares"),
        whole=True,
    ),
    Row(
        "dowg",
        updates.dowg(learning_rate=1.0),
        ("start",),
        scalars=("max_square_distance", "weighted_sum_of_squares"),
        whole=True,
    ),
    Row(
        "prodigy",
        updates.prodigy(learning_rate=1.0, beta3=0.9, safeguard_warmup=True),
        ("start", "weighted_sum", *MOMENTS),
        True,
        ("distance", "numerator"),
        True,
    ),
    Row(
        "dadapt_adamw",
        updates.dadapt_adamw(learning_rate=1.0),
        ("weighted_sum", *MOMENTS),
        True,
        ("distance", "numerator"),
        True,
    ),
    Row(
        "cocob",
        updates.cocob(learning_rate=1.0),
        ("start", "max_gradient", "sum_of_sizes", "sum_of_gradients", "reward"),
    ),
    Row("polyak_sgd", updates.polyak_sgd(learning_rate=1.0), (), whole=True),
    Row(
        "momo",
        updates.momo(learning_rate=1.0, adapt_f_min=True),
        ("mean_gradient",),
        True,
        ("mean_loss", "mean_product", "found_f_min"),
        True,
    ),
    Row(
        "momo_adam",
        updates.momo_adam(learning_rate=0.01),
        MOMENTS,
        True,
        ("mean_loss", "mean_product"),
        True,
    ),
    Row(
        "sophia",
        updates.sophia(learning_rate=0.01, update_interval=2),
        ("first_moment", "hessian_diagonal"),
        True,
        ("generator",),
        True,
    ),
    Row(
        "esgd",
        updates.esgd(learning_rate=0.01),
        ("mean_square_product",),
        scalars=("generator",),
        whole=True,
    ),
    Row(
        "lbfgs",
        updates.lbfgs(learning_rate=0.5, memory=2, max_trials=8),
        (),
        True,
        (
            *("steps", "gradient_changes", "curvatures", "pairs"),
            *("point", "gradient", "loss", "data", "evaluations", "failed"),
        ),
        True,
    ),
    Row(
        "nesterov_lookahead",
        updates.nesterov_lookahead(learning_rate=0.01),
        ("velocity",),
        whole=True,
    ),
]


def with_momentum(loss, params):
    """Put momentum on the steps of a rule."""
    return updates.apply_momentum(updates.rmsprop(loss, params, learning_rate=0.01))


def with_nesterov_momentum(loss, params):
    """Put Nesterov momentum on the steps of a rule."""
    return updates.apply_nesterov_momentum(updates.adam(loss, params, learning_rate=0.01))


# Rules around a rule, with one inside.
AROUND_A_RULE = {
    name: getattr(updates, name)(rule=updates.sgd(learning_rate=0.1))
    for name in updates.rules.__all__
    if isinstance(declaration_of(getattr(updates, name)).kinds.get("rule"), Waiting)
}


def with_sam(loss, params):
    """Take the gradient of a rule at another point."""
    return updates.sam(loss, params, updates.adamw(learning_rate=0.01), rho=0.1)


def with_cautious(loss, params):
    """Make only the elements of a rule's step that agree with the gradient."""
    return updates.cautious(loss, params, updates.adamw(learning_rate=0.01))


def with_schedule_free(loss, params):
    """Average the points of a rule."""
    return updates.schedule_free(loss, params, updates.rmsprop(learning_rate=0.01), 0.01)


def with_mechanize(loss, params):
    """Find the length of a rule's steps."""
    return updates.mechanize(loss, params, updates.adam(learning_rate=1.0))


def with_gradient_transforms(loss, params):
    """Change gradients on their way to a rule."""
    grads = updates.get_or_compute_grads(loss, params)
    grads = updates.zero_nonfinite(updates.centralize_gradients(grads))
    grads = updates.add_l1_penalty(updates.add_weight_decay(grads, params, 0.01), params, 0.01)
    grads = updates.clip_by_value(updates.clip_by_norm(grads, 2.0), 1.0)
    grads = updates.clip_by_global_norm(updates.adaptive_clip(grads, params, 0.5), 0.6)
    return updates.sgd(updates.total_norm_constraint(grads, 0.5), params, 0.1)


def with_transforms_and_schedules(loss, params):
    """Wrap a rule in the transforms that keep state, with schedules inside."""
    rate = updates.warmup(updates.cosine_restarts(0.05, 10), 3)
    rule = updates.adam(learning_rate=rate, beta1=updates.one_cycle(0.9, 20))
    steps = updates.accumulate_gradients(loss, params, rule, every=2)
    steps = updates.apply_lookahead(updates.apply_weight_decay(steps, params), params, every=3)
    steps = updates.apply_bounds(updates.reduce_on_plateau(steps, loss, params), params, high=2)
    steps = updates.apply_norm_constraint(steps, max_norm=3.0)
    return updates.apply_if_finite(updates.apply_ema(steps, params))


COMPOSITIONS = [
    with_sam,
    with_cautious,
    with_schedule_free,
    with_mechanize,
    with_momentum,
    with_nesterov_momentum,
    with_gradient_transforms,
    with_transforms_and_schedules,
]

# What proves a promise of the code that all rules share: the fast tests try it on these.
FEW = {"sgd", "momentum", "deepmind_rmsprop", "adam", "sophia"}
FEW |= {"with_sam", "with_transforms_and_schedules"}
# What has a loop inside, in which a loss is evaluated: tests of their own try it on every backend.
COMPILE_FOR_LONG = {"lbfgs"}
LIGHT_RULES = [row for row in RULES if row.name not in COMPILE_FOR_LONG]


def _each(argument, values, names, ids, few=None):
    """Parametrize a test; the slow tests have what is not among the few, if there are any.

    Where there are, what takes long to compile is left out.
    """
    params = [
        pytest.param(
            value, id=id_, marks=[pytest.mark.slow] * (few is not None and name not in few)
        )
        for value, name, id_ in zip(values, names, ids, strict=True)
        if few is None or name not in COMPILE_FOR_LONG
    ]
    return pytest.mark.parametrize(argument, params)


_rules = ("row", RULES, [row.name for row in RULES], [repr(row.rule) for row in RULES])
_compositions = [f.__name__ for f in COMPOSITIONS]
_updates = (
    "make_updates",
    [*(row.rule for row in RULES), *COMPOSITIONS],
    [*_rules[2], *_compositions],
    [*_rules[3], *_compositions],
)
every_rule, every_update = _each(*_rules), _each(*_updates)
every_rule_but_few_slow, every_update_but_few_slow = _each(*_rules, FEW), _each(*_updates, FEW)


def parameters(dtypes=("float64",) * 4):
    """Make a matrix, a vector, a row that broadcasts and a scalar."""
    random = np.random.default_rng(0)
    matrix, vector, row, scalar = (
        random.normal(size=shape).astype(dtype)
        for shape, dtype in zip([(2, 3), (3,), (1, 3), ()], dtypes, strict=True)
    )
    return [
        pytensor.shared(matrix, name="matrix"),
        pytensor.shared(vector, name="vector"),
        pytensor.shared(row, name="row", shape=(1, 3)),
        pytensor.shared(scalar, name="scalar"),
    ]


def loss_of(params):
    """Tie all parameters together in one smooth loss without a dot product."""
    joint = sum(pt.mean(pt.tanh(param)) for param in params)
    return joint**2 + sum(pt.sum((param**2 - 1.5) ** 2) for param in params)


def run(updates_of_params, steps=3, mode=AS_WRITTEN):
    """Run the compiled updates for some steps and return the values of all that they change."""
    step = pytensor.function([], updates=updates_of_params, mode=mode)
    for _ in range(steps):
        step()
    return arrays(updates_of_params)


@functools.cache
def trained(make_updates, mode=AS_WRITTEN):
    """Run a rule or a composition for three steps on parameters of its own."""
    params = parameters()
    return run(make_updates(loss_of(params), params), mode=mode)


def arrays(updates_of_params):
    """Return the values of all tensors that updates change, by name: not random generators."""
    variables = (v for v in dict(updates_of_params) if isinstance(v, TensorSharedVariable))
    return {variable.name: variable.get_value() for variable in variables}


def assert_same_bits(first, second):
    """Compare the values of variables by name, to the last bit."""
    assert first.keys() == second.keys()
    for name in sorted(first):
        assert first[name].dtype == second[name].dtype
        assert first[name].tobytes() == second[name].tobytes(), name
