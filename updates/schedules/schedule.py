"""What a schedule is made of: its class, the decorator, its types, and the parts of formulas.

- ``Schedule``: a formula with all its arguments but the step
- ``schedule``: the decorator that turns a formula of the step into a function that makes one
- ``Steps``, ``Begin``, ``Boundaries``, ``Values``, ``Inner``, ``Inners``, ``Shape``: the types of
  arguments that only schedules have
- ``as_float``, ``share_of``, ``between``, ``half_wave``: parts of formulas
- ``value_at``, ``pieces``: values of schedules inside of schedules
"""

import functools
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from numbers import Integral
from typing import Annotated, Any, Concatenate, ParamSpec

import numpy as np
import pytensor.tensor as pt
from pytensor.graph.basic import Variable
from pytensor.graph.replace import vectorize_graph
from pytensor.tensor.variable import TensorVariable

from updates.arguments import kind_of
from updates.declaration import Declaration, declaration_of, declare, named, parameters_of, public
from updates.docstrings import Shared
from updates.given_numbers import HasNumbers, Place, as_input
from updates.interval import NON_NEGATIVE, POSITIVE
from updates.kinds import Hyperparameter, Kind, OneOf, Scalar, is_schedule, marked
from updates.precision import wide
from updates.symbols import evaluate

Step = TensorVariable
_P = ParamSpec("_P")


@dataclass(frozen=True)
class StepNumber(Kind):
    """An integer, a symbolic integer or a shared variable that holds one."""

    least: int
    example = "4"

    def check(self, name: str, value: Any, schedules: bool = True) -> None:
        got = f"got {value!r} of type {kind_of(value)}"
        if isinstance(value, Variable):
            if np.dtype(getattr(value.type, "dtype", object)).kind not in "iu":
                raise TypeError(f"{name} must be an integer, {got}")
            if value.type.ndim:
                raise ValueError(f"{name} must be a scalar, {got}")
        elif not isinstance(value, Integral) or isinstance(value, bool):
            raise TypeError(f"{name} must be an integer, {got}")
        elif not self.least <= int(value) < 2**63:
            raise ValueError(f"{name} must be an integer >= {self.least}, {got}")

    def kept(self, value: Any) -> Any:
        return value if isinstance(value, Variable) else int(value)

    def seen(self, place: Place, name: str, value: Any) -> Any:
        return marked(as_input(place, name, value, self, "int64"), "int64", admits=self)

    def described(self, schedules: bool = True) -> tuple[str, str]:
        return "int, symbolic integer or shared variable", "> 0" if self.least else ">= 0"


@dataclass(frozen=True)
class ScheduleOrScalar(Scalar):
    """A scalar or a schedule, which the formula evaluates at a step of its own."""

    def check(self, name: str, value: Any, schedules: bool = True) -> None:
        super().check(name, value, schedules=True)

    def seen(self, place: Place, name: str, value: Any) -> Any:
        """Return a symbol, or for a schedule a function from the step to its symbol."""
        if not is_schedule(value):
            return super().seen(place, name, value)
        return functools.partial(self._value_at, place, name, value)

    def _value_at(self, place: Place, name: str, schedule: Any, step: Step) -> TensorVariable:
        return super().seen(place, name, evaluate(self, name, schedule, step, place))

    def described(self, schedules: bool = True) -> tuple[str, str]:
        return super().described(schedules=True)


@dataclass(frozen=True)
class ListOf(Kind):
    """A list of values of another kind."""

    item: Kind
    increases: bool = False

    def check(self, name: str, value: Any, schedules: bool = True) -> None:
        if isinstance(value, Variable | str) or not isinstance(value, Iterable):
            raise TypeError(f"{name} must be a list, got {value!r} of type {kind_of(value)}")
        items = list(value)
        for item in items:
            if self.increases and isinstance(item, Variable):
                raise TypeError(f"{name} must be an integer, got {item!r} of type {kind_of(item)}")
            self.item.check(name, item, schedules)
        if self.increases and any(left >= right for left, right in pairwise(items)):
            raise ValueError(f"{name} must be strictly increasing, got {items}")

    def kept(self, value: Any) -> Any:
        return tuple(map(self.item.kept, value))

    def seen(self, place: Place, name: str, value: Any) -> Any:
        return [self.item.seen(place, f"{name}/{i}", item) for i, item in enumerate(value)]

    def described(self, schedules: bool = True) -> tuple[str, str]:
        type_, range_ = self.item.described(schedules)
        type_ = "int" if self.increases else type_
        return f"list of {type_}", f"each {range_}" + ", strictly increasing" * self.increases


INNER = ScheduleOrScalar(NON_NEGATIVE)
HALFLIFE = ScheduleOrScalar(POSITIVE)
VALUE = Scalar(NON_NEGATIVE)

Steps = Annotated[int | Variable, StepNumber(1)]
Begin = Annotated[int | Variable, StepNumber(0)]
Boundaries = Annotated[Iterable[int], ListOf(StepNumber(0), increases=True)]
Values = Annotated[Iterable[Hyperparameter], ListOf(VALUE)]
Inner = Annotated[Hyperparameter, INNER]
InnerHalflife = Annotated[Hyperparameter, HALFLIFE]
Inners = Annotated[Iterable[Hyperparameter], ListOf(INNER)]
Shape = Annotated[str, OneOf(("cosine", "linear"))]


@public
@dataclass(frozen=True, repr=False)
class Schedule(HasNumbers):
    """A formula with all its arguments but the step; two with equal arguments are equal.

    Parameters
    ----------
    factory : function
        What made it, for instance `cosine_decay`.
    arguments : dict
        All arguments by name.

    Examples
    --------
    >>> import numpy as np
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
        return self.at(step, Place(declaration_of(self.factory).name))

    def at(self, step: Any, place: Place) -> TensorVariable:
        """Return the value as a call does; numbers are called after a place."""
        step = pt.as_tensor_variable(step)
        if np.dtype(step.type.dtype).kind not in "iu":
            raise TypeError(
                f"{self.factory.__name__}: the step must be an integer or an array of integers, "
                f"got dtype {step.type.dtype}"
            )
        step = pt.cast(step, "int64")
        if step.type.ndim:
            scalar = pt.scalar("step", dtype="int64")
            return pt.second(step, vectorize_graph(self.at(scalar, place), {scalar: step}))
        kinds = declaration_of(self.factory).kinds
        seen = {
            name: value if value is None else kinds[name].seen(place, name, value)
            for name, value in self.arguments.items()
        }
        with named(declaration_of(self.factory).name):
            return self.factory.__wrapped__(step, **seen)

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


def schedule(
    formula: Callable[Concatenate[TensorVariable, _P], Any], owner: str | None = None
) -> Callable[_P, Schedule]:
    """Turn a formula of the step into a function of its other arguments that gives a `Schedule`.

    The formula sees the step and counts as int64 scalars, values as float64 scalars, and flags,
    lists and schedules as they are. With `owner`, it is a part of another public function, and
    not exported itself.
    """
    parameters = parameters_of(formula)[1:]
    name = owner or formula.__name__
    declaration = Declaration(name, [], parameters, Schedule, schedules=False)

    def run(arguments: dict[str, Any]) -> Schedule:
        kept = {
            name: value if value is None else declaration.kinds[name].kept(value)
            for name, value in arguments.items()
        }
        made = Schedule(factory, kept)
        made(pt.scalar("step", dtype="int64"))  # so that what it cannot evaluate is refused now
        return made

    factory = declare(formula, declaration, run, _SHARED, is_public=owner is None)
    return factory


def as_float(count: Any) -> TensorVariable:
    """Cast a step or a count for division."""
    return pt.cast(count, wide())


def share_of(step: Step, steps: Any, begin: Any = 0) -> TensorVariable:
    """Give the share of the way that is over, in [0, 1]."""
    return as_float(pt.clip(step - begin, 0, steps)) / as_float(steps)


def between(start: Any, end: Any, share: TensorVariable) -> TensorVariable:
    """Interpolate, exactly at both ends."""
    return start * (1 - share) + end * share


def half_wave(share: TensorVariable) -> TensorVariable:
    """Fall from 1 to 0 along half a cosine wave."""
    pi = pt.constant(np.pi, dtype=wide())  # a plain number would be rounded to floatX
    return (1 + pt.cos(pi * share)) / 2


def value_at(value: Any, step: Step) -> TensorVariable:
    """Evaluate what may be a schedule."""
    return value(step) if is_schedule(value) else value


def checked_count(name: str, items: Any, boundaries: Any) -> None:
    """Refuse items that are not one more than what lies between them."""
    if len(items) != len(boundaries) + 1:
        raise ValueError(
            f"{name} must be one more than boundaries, got {len(items)} and {len(boundaries)} "
            "boundaries"
        )


def through(points: list[tuple[Any, Any]], step: Step, shape: str) -> TensorVariable:
    """Go through points, each a step and a value, in straight lines or half waves."""
    result = points[0][1]
    for (left, start), (right, end) in pairwise(points):
        share = pt.clip((as_float(step) - left) / pt.maximum(right - left, 1), 0, 1)
        share = share if shape == "linear" else 1 - half_wave(share)
        result = pt.switch(pt.lt(step, left), result, between(start, end, share))
    return result


def pieces(name: str, items: Any, step: Step, boundaries: Any) -> TensorVariable:
    """Select the item whose turn it is; each sees the steps since its turn began."""
    checked_count(name, items, boundaries)
    result = value_at(items[0], step)
    for boundary, item in zip(boundaries, items[1:], strict=True):
        value = value_at(item, pt.maximum(step - boundary, 0))
        result = pt.switch(pt.lt(step, boundary), result, value)
    return result


_SHARED = Shared(
    leading={},
    returns="Schedule\nFrom a symbolic step, 0 in the first call, to a float64 scalar.",
    raises="ValueError, TypeError\nIf an argument is out of range or of the wrong kind; the "
    "message names it.",
    example=lambda declaration: "",
    words={
        "initial_value": "where the schedule starts",
        "end_value": "where it stays in the end",
        "peak_value": "the largest value",
        "steps": "how long the change takes, or what its rate refers to",
        "warmup_steps": "how long the rise takes",
        "begin": "the step at which the change begins",
        "value": "the value",
        "boundaries": "the steps at which the next one takes over",
        "factor": "what the value is multiplied by",
        "decay_rate": "what `steps` steps multiply or divide by",
        "exponent": "exponent of the wave",
        "warmup_fraction": "share of the steps that the rise takes",
        "divisor": "how far the start is below the peak",
        "final_divisor": "how far the end is below the start",
        "shape": "waves or straight lines",
    },
)
