"""Hyperparameters: what one may be is its type in the signature that uses it.

- ``NonNegative``, ``Positive``, ``Fraction``, ``Share``, ``AtLeastOne``, ``Finite``, ``Epsilon``,
  ``NonNegativeOrInfinite``: scalars that enter a formula
- ``LearningRate``, ``WeightDecay``, ``Mask``, ``StateDtype``: those that mean the same in most
  rules
- ``NonNegativeNumber``, ``PositiveNumber``: plain numbers that do not enter a formula: where
  state starts, when a loop stops
- ``Count``, ``Natural``, ``Flag``, ``WaitingRule``: what shapes the graph
- ``Kind``: what such a type carries: a check, a description, and the symbol that a formula sees
- ``kind_in``: the kind that an annotation carries, and whether it admits None
- ``is_schedule``: tells a schedule from a value

A message says which values are admitted and which was given, and names the argument. The name of
the public function is added by that function, once (``updates.declaration``).
"""

import types
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Annotated, Any, Union, get_args, get_origin

import numpy as np
import pytensor.tensor as pt
from pytensor.graph.basic import Constant, Variable
from pytensor.tensor.type import TensorType
from pytensor.tensor.variable import TensorVariable

from updates import provenance
from updates.choice import Choice, check_form
from updates.given_numbers import Place, as_input, given_as
from updates.interval import (
    AT_LEAST_ONE,
    FINITE,
    FRACTION,
    NON_NEGATIVE,
    NON_NEGATIVE_OR_INFINITE,
    POSITIVE,
    SHARE,
    Interval,
)
from updates.precision import wide

ScheduleFunction = Callable[[Any], Any]
Hyperparameter = Real | float | np.number | Variable | ScheduleFunction


class _Required:
    """Stands for the value of a hyperparameter that has no default and was not given."""

    def __repr__(self) -> str:
        return "<required>"

    def __reduce__(self) -> str:
        return "REQUIRED"


REQUIRED: Any = _Required()


class Kind(ABC):
    """What the annotation of a hyperparameter carries: what it admits, and how it is used.

    Attributes
    ----------
    example : str
        A value, for the message that one is missing.
    words : str
        What it is for, where the function itself does not say.
    """

    example = "0.01"
    words = ""

    @abstractmethod
    def check(self, name: str, value: Any, schedules: bool = True) -> None:
        """Raise a TypeError or a ValueError that names the argument if the value is not admitted.

        `schedules` tells whether a schedule is admitted where a scalar is.
        """

    @abstractmethod
    def described(self, schedules: bool = True) -> tuple[str, str]:
        """Return the type and the range, as a docstring has them."""

    def kept(self, value: Any) -> Any:
        """Return a checked value in the form in which a `Schedule` keeps it."""
        return value

    def seen(self, place: Place, name: str, value: Any) -> Any:
        """Return what the formula of a schedule sees of a checked value."""
        return value


@dataclass(frozen=True)
class Scalar(Kind):
    """A number, a symbolic scalar, a shared variable or a schedule; it enters the formula.

    A decay, which is below 1, is float32 beside float16: 0.9999 would be 1, and 0.999 would be
    0.99902. What a formula makes of it is rounded to float16 when it is kept.

    With `has_floor` it is an epsilon, at least the smallest normal number of its dtype: then a zero
    gradient divided by a size of zero is zero. Beside any other size that is lost in rounding,
    except in float16, where it is 6e-5 and 1e-8 would be 0.
    """

    interval: Interval
    words: str = ""
    has_floor: bool = False

    @property
    def example(self) -> str:  # type: ignore[override]
        return "0.9" if self.interval == FRACTION else "0.01"

    def check(self, name: str, value: Any, schedules: bool = True) -> None:
        if isinstance(value, Variable):
            _check_symbol(name, value)
            if isinstance(value, Constant):
                self.interval.check(name, value.data)
        elif isinstance(value, Real) and not isinstance(value, bool):
            self.interval.check(name, value)
        elif not schedules:
            raise wrong_type(name, "a number, a symbolic scalar or a shared variable", value)
        elif not is_schedule(value):
            expected = (
                "a number, a symbolic scalar, a shared variable or a schedule (a callable: "
                "symbolic step -> scalar)"
            )
            raise wrong_type(name, expected, value)

    def symbol(self, name: str, value: Any, dtype: str) -> TensorVariable:
        """Cast a variable that stands for a checked value to a dtype.

        Raises
        ------
        ValueError
            If rounding to `dtype` takes a number out of its range: ``1 - 1e-9`` is 1 in float32.
        """
        if self.interval == FRACTION and dtype == "float16":
            dtype = "float32"
        number = given_as(value)
        if number is not None:
            self.check_rounded(name, number, dtype)
        symbol: Any = marked(value, dtype, hyperparameter=name, admits=self)
        if not self.has_floor:
            return symbol
        return provenance.reads_as(pt.maximum(symbol, np.finfo(dtype).tiny))

    def check_rounded(self, name: str, number: Any, dtype: str) -> None:
        """Refuse a number that is outside of the interval when it is rounded to a dtype."""
        with np.errstate(over="ignore"):
            rounded = np.asarray(number, dtype=dtype)
        self.interval.check(name, rounded, f" (that is {number!r} in {dtype})")

    def seen(self, place: Place, name: str, value: Any) -> Any:
        return self.symbol(name, as_input(place, name, value, self, wide()), wide())

    def described(self, schedules: bool = True) -> tuple[str, str]:
        end = ", shared variable or schedule" if schedules else " or shared variable"
        return f"float, symbolic scalar{end}", self.interval.adjective


@dataclass(frozen=True)
class PlainNumber(Kind):
    """A number that does not enter the formula as a symbol."""

    interval: Interval

    def check(self, name: str, value: Any, schedules: bool = True) -> None:
        if not isinstance(value, Real) or isinstance(value, bool):
            raise wrong_type(name, "a number, not a symbol or a schedule", value)
        self.interval.check(name, value)

    def described(self, schedules: bool = True) -> tuple[str, str]:
        return "float", self.interval.adjective


@dataclass(frozen=True)
class Integer(Kind):
    """An integer that shapes the graph."""

    least: int
    example = "4"

    def check(self, name: str, value: Any, schedules: bool = True) -> None:
        if not isinstance(value, Integral) or isinstance(value, bool):
            raise wrong_type(name, "an integer (it shapes the graph)", value)
        if value < self.least:
            raise ValueError(f"{name} must be {self._words}, got {value}")

    def described(self, schedules: bool = True) -> tuple[str, str]:
        return "int", self._words

    @property
    def _words(self) -> str:
        return "> 0" if self.least == 1 else f">= {self.least}"


@dataclass(frozen=True)
class TrueOrFalse(Kind):
    """A switch that shapes the graph."""

    example = "True"

    def check(self, name: str, value: Any, schedules: bool = True) -> None:
        if not isinstance(value, bool | np.bool_):
            raise wrong_type(name, "True or False", value)

    def described(self, schedules: bool = True) -> tuple[str, str]:
        return "bool", ""


@dataclass(frozen=True)
class Waiting(Kind):
    """What waits for what it works on: a rule or a projection, or a function of the user's."""

    what: str
    instead: str
    example: str

    def check(self, name: str, value: Any, schedules: bool = True) -> None:
        if not callable(value) or isinstance(value, Variable):
            raise wrong_type(name, f"a {self.what}, such as {self.example}", value)

    def described(self, schedules: bool = True) -> tuple[str, str]:
        return f"{self.what.removesuffix(' for its loss')}, or {self.instead}", ""


@dataclass(frozen=True)
class OneOf(Kind):
    """One of a few words."""

    choices: tuple[str, ...]
    words: str = ""

    def check(self, name: str, value: Any, schedules: bool = True) -> None:
        if value not in self.choices:
            choices = " or ".join(map(repr, self.choices))
            raise ValueError(f"{name} must be {choices}, got {value!r}")

    def described(self, schedules: bool = True) -> tuple[str, str]:
        return f"{{{', '.join(map(repr, self.choices))}}}", ""


@dataclass(frozen=True)
class Which(Kind):
    """A choice of parameters, see ``updates.choice``; which it means, the call finds out."""

    words: str = ""
    example = "lambda param: param.ndim > 1"

    def check(self, name: str, value: Any, schedules: bool = True) -> None:
        check_form(name, value)

    def described(self, schedules: bool = True) -> tuple[str, str]:
        return "list of bool, of names or of parameters, or function of a parameter", ""


@dataclass(frozen=True)
class ScalarOfEach(Kind):
    """One scalar for all parameters, or one for each: see ``updates.choice``."""

    interval: Interval

    def check(self, name: str, value: Any, schedules: bool = True) -> None:
        if isinstance(value, Mapping):
            values = list(value.values())
        elif isinstance(value, list | tuple | np.ndarray):
            values = list(np.ravel(np.asarray(value, dtype=object)))
        else:
            values = [] if is_schedule(value) else [value]
        for each in values:
            Scalar(self.interval).check(name, each, schedules=False)

    def described(self, schedules: bool = True) -> tuple[str, str]:
        words = "float, symbolic scalar or shared variable, list of these, dict by name or"
        return f"{words} parameter, or function of a parameter", self.interval.adjective


Finite = Annotated[Hyperparameter, Scalar(FINITE)]
NonNegative = Annotated[Hyperparameter, Scalar(NON_NEGATIVE)]
Positive = Annotated[Hyperparameter, Scalar(POSITIVE)]
Fraction = Annotated[Hyperparameter, Scalar(FRACTION)]
Share = Annotated[Hyperparameter, Scalar(SHARE)]
AtLeastOne = Annotated[Hyperparameter, Scalar(AT_LEAST_ONE)]
NonNegativeOrInfinite = Annotated[Hyperparameter, Scalar(NON_NEGATIVE_OR_INFINITE)]

LearningRate = Annotated[Hyperparameter, Scalar(NON_NEGATIVE, "factor of the step")]
WeightDecay = Annotated[
    Hyperparameter,
    Scalar(NON_NEGATIVE, "how much of the parameter itself is added to the direction"),
]
Mask = Annotated[Choice, Which("which parameters decay; by default all do")]
_EPSILON = "keeps the division away from zero"
Epsilon = Annotated[Hyperparameter, Scalar(NON_NEGATIVE, _EPSILON, has_floor=True)]
PositiveEpsilon = Annotated[Hyperparameter, Scalar(POSITIVE, _EPSILON, has_floor=True)]

StateDtype = Annotated[
    str,
    OneOf(
        ("float16",),
        "keeps state in 16 bits, as `adam` explains. None is the dtype of the parameter",
    ),
]
FactorOfEach = Annotated[
    Hyperparameter | Iterable[Hyperparameter] | Mapping[Any, Hyperparameter], ScalarOfEach(FINITE)
]
NonNegativeNumber = Annotated[float, PlainNumber(NON_NEGATIVE)]
PositiveNumber = Annotated[float, PlainNumber(POSITIVE)]
Count = Annotated[int, Integer(1)]
Natural = Annotated[int, Integer(0)]
Flag = Annotated[bool, TrueOrFalse()]
WAITING_RULE = Waiting(
    "rule that waits for its loss",
    "function of a loss or gradients and of parameters",
    "updates.sgd(learning_rate=0.01)",
)
WAITING_PROJECTION = Waiting(
    "projection that waits", "function of a tensor", "updates.l2_ball(radius=1.0)"
)
WaitingRule = Annotated[Callable[..., Any], WAITING_RULE]
Projection = Annotated[Callable[..., Any], WAITING_PROJECTION]


def kind_in(annotation: Any) -> tuple[Kind | None, bool]:
    """Return the kind that an annotation carries, if any, and whether it admits None."""
    admits_none = False
    if get_origin(annotation) in (Union, types.UnionType):
        options = [option for option in get_args(annotation) if option is not types.NoneType]
        admits_none = len(options) < len(get_args(annotation))
        annotation = options[0] if len(options) == 1 else None
    if get_origin(annotation) is Annotated:
        for carried in annotation.__metadata__:
            if isinstance(carried, Kind):
                return carried, admits_none
    return None, admits_none


def is_schedule(value: Any) -> bool:
    """Tell a schedule from a number or a symbol."""
    return callable(value) and not isinstance(value, Variable)


def marked(value: Any, dtype: str, **facts: Any) -> Any:
    """Cast a hyperparameter to a dtype, and add facts to the record of the result.

    A variable that has the dtype is copied: only what the library made is marked, and a comparison
    with a shared variable would be turned around by Python.
    """
    is_cast = value.type.dtype != dtype
    symbol = pt.cast(value, dtype) if is_cast else pt.tensor_copy(value)
    return provenance.mark(symbol, reads_as=0, **facts)


def wrong_type(name: str, expected: str, value: Any) -> TypeError:
    """Say what an argument must be and what it is."""
    if isinstance(value, np.ndarray):
        advice = "; an array of one element gives its number by .item()"
    elif isinstance(value, list | tuple) and len(value) > 1:
        advice = (
            "; one value serves all parameters: for others of their own, join several calls with "
            "merge_updates"
        )
    else:
        advice = ""
    return TypeError(
        f"{name} must be {expected}, got {value!r} of type {type(value).__name__}{advice}"
    )


def _check_symbol(name: str, value: Variable) -> None:
    if not isinstance(value.type, TensorType) or np.dtype(value.type.dtype).kind not in "fiu":
        raise TypeError(
            f"{name} must be a real scalar, got the symbol {value} of type {value.type}"
        )
    if value.type.ndim != 0:
        raise ValueError(
            f"{name} must be a scalar, got the symbol {value} with {value.type.ndim} axes; index "
            "it or reduce it to a scalar first"
        )
