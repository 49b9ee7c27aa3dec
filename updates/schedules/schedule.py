"""What a schedule is made of: its class, the decorator, and the parts of formulas.

- ``Schedule``: a formula with all its arguments but the step
- ``schedule``: the decorator that turns a formula of the step into a function that makes one
- ``as_float``, ``share_of``, ``between``, ``half_wave``: parts of formulas
- ``value_at``, ``pieces``: values of schedules inside of schedules
"""

import functools
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from numbers import Integral
from typing import Any, Concatenate, ParamSpec

import numpy as np
import pytensor.tensor as pt
from pytensor.graph.basic import Variable
from pytensor.graph.replace import vectorize_graph
from pytensor.tensor.variable import TensorVariable

from updates.arguments import kind_of
from updates.hyperparameters import FLAGS, as_scalar, check, evaluate, is_schedule

Step = TensorVariable
Value = float | TensorVariable
Count = int | TensorVariable
P = ParamSpec("P")

_LEAST = {"steps": 1, "warmup_steps": 1, "begin": 0, "boundaries": 0}
_LISTS = {"boundaries", "values", "schedules"}
_SCHEDULES = {"schedule", "schedules", "halflife"}
_CHOICES = {"shape": ("cosine", "linear")}


@dataclass(frozen=True, repr=False)
class Schedule:
    """A formula with all its arguments but the step; two with equal arguments are equal.

    Parameters
    ----------
    factory : function
        What made it, for instance `cosine_decay`.
    arguments : dict
        All arguments by name.

    Examples
    --------
    >>> from updates import linear_schedule
    >>> schedule = linear_schedule(1.0, 0.0, steps=4)
    >>> schedule
    linear_schedule(initial_value=1.0, end_value=0.0, steps=4)
    >>> schedule(np.arange(6)).eval(mode="FAST_COMPILE")
    array([1.  , 0.75, 0.5 , 0.25, 0.  , 0.  ])
    """

    factory: Any
    arguments: dict[str, Any]

    def __call__(self, step: Any) -> TensorVariable:
        """Return the float64 value at a symbolic step, at an integer, or at each of an array."""
        step = pt.as_tensor_variable(step)
        if np.dtype(step.type.dtype).kind not in "iu":
            raise TypeError(
                f"{self.factory.__name__}: the step must be an integer or an array of integers, "
                f"got dtype {step.type.dtype}"
            )
        step = pt.cast(step, "int64")
        if step.type.ndim:
            scalar = pt.scalar("step", dtype="int64")
            return pt.second(step, vectorize_graph(self(scalar), {scalar: step}))
        owner = self.factory.__name__
        symbols = {name: _symbol(owner, name, value) for name, value in self.arguments.items()}
        return self.factory.__wrapped__(step, **symbols)

    def __hash__(self) -> int:
        return hash((self.factory, *self.arguments.items()))

    def __repr__(self) -> str:
        parameters = inspect.signature(self.factory).parameters
        chosen = (
            f"{name}={value!r}"
            for name, value in self.arguments.items()
            if value != parameters[name].default
        )
        return f"{self.factory.__name__}({', '.join(chosen)})"


def schedule(formula: Callable[Concatenate[TensorVariable, P], Any]) -> Callable[P, Schedule]:
    """Turn a formula of the step into a function of its other arguments that gives a `Schedule`.

    The formula sees the step and the counts as int64 scalars, values as float64 scalars, flags
    and schedules as they are. The tables of ``updates.hyperparameters`` and those above tell
    which is which, by the names of the arguments.
    """
    whole = inspect.signature(formula)
    parameters = list(whole.parameters.values())[1:]
    signature = whole.replace(parameters=parameters, return_annotation=Schedule)
    owner = formula.__name__

    @functools.wraps(formula)
    def factory(*args: P.args, **kwargs: P.kwargs) -> Schedule:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{owner}: {error}; its signature is {owner}{signature}") from None
        bound.apply_defaults()
        checked = {name: _checked(owner, name, value) for name, value in bound.arguments.items()}
        made = Schedule(factory, checked)
        made(pt.scalar("step", dtype="int64"))  # so that what it cannot evaluate is refused now
        return made

    vars(factory)["__signature__"] = signature
    return factory


def as_float(count: Any) -> TensorVariable:
    """Cast a step or a count for division."""
    return pt.cast(count, "float64")


def share_of(step: Step, steps: Any, begin: Any = 0) -> TensorVariable:
    """Give the share of the way that is over, in [0, 1]."""
    return as_float(pt.clip(step - begin, 0, steps)) / as_float(steps)


def between(start: Any, end: Any, share: TensorVariable) -> TensorVariable:
    """Interpolate, exactly at both ends."""
    return start * (1 - share) + end * share


def half_wave(share: TensorVariable) -> TensorVariable:
    """Fall from 1 to 0 along half a cosine wave."""
    pi = pt.constant(np.pi, dtype="float64")  # a plain number would be rounded to floatX
    return (1 + pt.cos(pi * share)) / 2


def value_at(owner: str, name: str, value: Any, step: Step) -> TensorVariable:
    """Evaluate what may be a schedule."""
    if is_schedule(value):
        value = evaluate(owner, name, value, step)
    return as_scalar(owner, name, value, "float64")


def pieces(owner: str, name: str, items: Any, step: Step, boundaries: Any) -> TensorVariable:
    """Select the item whose turn it is; each sees the steps since its turn began."""
    if len(items) != len(boundaries) + 1:
        raise ValueError(
            f"{owner}: {name} must be one more than boundaries, got {len(items)} and "
            f"{len(boundaries)} boundaries"
        )
    result = value_at(owner, name, items[0], step)
    for boundary, item in zip(boundaries, items[1:], strict=True):
        value = value_at(owner, name, item, pt.maximum(step - boundary, 0))
        result = pt.switch(pt.lt(step, boundary), result, value)
    return result


def _checked(owner: str, name: str, value: Any) -> Any:
    if name not in _LISTS:
        return _checked_item(owner, name, value)
    if isinstance(value, Variable) or not isinstance(value, Iterable):
        raise TypeError(f"{owner}: {name} must be a list, got {value!r} of type {kind_of(value)}")
    items = tuple(_checked_item(owner, name, item) for item in value)
    if name == "boundaries" and any(left >= right for left, right in pairwise(items)):
        raise ValueError(f"{owner}: boundaries must be strictly increasing, got {list(items)}")
    return items


def _checked_item(owner: str, name: str, value: Any) -> Any:
    if name in _LEAST:
        return _checked_count(owner, name, value)
    if name not in _CHOICES:
        check(owner, name, value, schedules=name in _SCHEDULES)
    elif value not in _CHOICES[name]:
        choices = " or ".join(map(repr, _CHOICES[name]))
        raise ValueError(f"{owner}: {name} must be {choices}, got {value!r}")
    return value


def _checked_count(owner: str, name: str, value: Any) -> Any:
    got = f"got {value!r} of type {kind_of(value)}"
    if isinstance(value, Variable) and name not in _LISTS:
        if np.dtype(getattr(value.type, "dtype", object)).kind not in "iu":
            raise TypeError(f"{owner}: {name} must be an integer, {got}")
        if value.type.ndim:
            raise ValueError(f"{owner}: {name} must be a scalar, {got}")
        return value
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise TypeError(f"{owner}: {name} must be an integer, {got}")
    if not _LEAST[name] <= int(value) < 2**63:
        raise ValueError(f"{owner}: {name} must be an integer >= {_LEAST[name]}, {got}")
    return int(value)


def _symbol(owner: str, name: str, value: Any) -> Any:
    """Turn a checked argument into what a formula sees."""
    if name in _LISTS | _SCHEDULES | FLAGS | _CHOICES.keys() or value is None:
        return value
    if name in _LEAST:
        return pt.cast(value, "int64")
    return as_scalar(owner, name, value, "float64")
