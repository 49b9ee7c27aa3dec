"""The table that the tests run over: every rule and every composition, one row each.

A new rule needs one row here. ``slots`` are the state variables that it keeps for each parameter,
``scalars`` those that it keeps once a call, ``counts`` says whether it keeps a step counter.
``whole`` rules look at each tensor, or all of them, as a whole: ``W[index]`` is refused, and state
need not have the parameter's shape.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

import updates
from updates.hyperparameters import is_symbolic


class Row(NamedTuple):
    name: str
    rule: Callable[..., Any]
    slots: tuple[str, ...]
    counts: bool = False
    scalars: tuple[str, ...] = ()
    whole: bool = False

    def bind(self, convert: Callable[[str, float], Any]) -> dict[str, Any]:
        """Convert each number that may be a symbol as well."""
        return {
            name: convert(name, value) if isinstance(value, float) and is_symbolic(name) else value
            for name, value in self.rule.hyperparameters.items()
        }

    def __repr__(self) -> str:
        return self.name


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
]


def with_momentum(loss, params):
    """Put momentum on the steps of a rule."""
    return updates.apply_momentum(updates.rmsprop(loss, params, learning_rate=0.01))


def with_nesterov_momentum(loss, params):
    """Put Nesterov momentum on the steps of a rule."""
    return updates.apply_nesterov_momentum(updates.adam(loss, params, learning_rate=0.01))


def with_total_norm_constraint(loss, params):
    """Constrain gradients on their way to a rule."""
    grads = updates.get_or_compute_grads(loss, params)
    return updates.sgd(updates.total_norm_constraint(grads, 0.5), params, 0.1)


COMPOSITIONS = [with_momentum, with_nesterov_momentum, with_total_norm_constraint]

every_rule = pytest.mark.parametrize("row", RULES, ids=[repr(row.rule) for row in RULES])
every_update = pytest.mark.parametrize(
    "make_updates",
    [*(row.rule for row in RULES), *COMPOSITIONS],
    ids=[*(repr(row.rule) for row in RULES), *(f.__name__ for f in COMPOSITIONS)],
)


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


def run(updates_of_params, steps=3, mode="FAST_COMPILE"):
    """Run the compiled updates for some steps and return the values of all that they change."""
    step = pytensor.function([], updates=updates_of_params, mode=mode)
    for _ in range(steps):
        step()
    return {variable.name: variable.get_value() for variable in dict(updates_of_params)}
