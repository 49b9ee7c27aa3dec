"""Hyperparameters: what each name means, which values it admits, how it enters a formula.

- ``RANGES``, ``COUNTS``, ``FLAGS``: what each hyperparameter of the library may be, by name
- ``check``: refuse a bad value with a message that names it
- ``evaluate``: turn a schedule into a symbolic scalar
- ``as_scalar``: cast a checked value to the dtype of a parameter
"""

import math
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
import pytensor.tensor as pt
from pytensor.graph.basic import Constant, Variable
from pytensor.tensor.type import TensorType
from pytensor.tensor.variable import TensorVariable

Schedule = Callable[[Variable], Any]
Hyperparameter = Real | float | Variable | Schedule


class Range(NamedTuple):
    """The values that a hyperparameter admits, in words and as a test."""

    words: str
    admits: Callable[[float], bool]


_NOT_NEGATIVE = Range("a finite number >= 0", lambda x: 0 <= x < math.inf)
_POSITIVE = Range("a finite number > 0", lambda x: 0 < x < math.inf)
_FRACTION = Range("in [0, 1)", lambda x: 0 <= x < 1)

RANGES = {
    "learning_rate": _NOT_NEGATIVE,
    "epsilon": _NOT_NEGATIVE,
    "max_norm": _NOT_NEGATIVE,
    "momentum": _FRACTION,
    "rho": _FRACTION,
    "beta1": _FRACTION,
    "beta2": _FRACTION,
    "halflife": _POSITIVE,
}
COUNTS = {"n_win"}
FLAGS = {"nesterov"}


class _Required:
    """Stands in a signature where Lasagne has no default."""

    def __repr__(self) -> str:
        return "<required>"

    def __reduce__(self) -> str:
        return "REQUIRED"


REQUIRED: Any = _Required()


def check(owner: str, name: str, value: Any, *, schedules: bool = True) -> None:
    """Refuse a value that a hyperparameter cannot have.

    Parameters
    ----------
    owner : str
        The rule or transform that is being called, for the message.
    name : str
        The argument: a key of `RANGES`, or in `COUNTS` or `FLAGS`.
    value : object
        What the user gave.
    schedules : bool, optional
        Whether this argument may be a schedule.

    Raises
    ------
    TypeError
        If the value is neither a real number, nor a symbolic real scalar, nor a schedule (a
        count takes an integer only, a flag a bool only, since they shape the graph).
    ValueError
        If it is a symbol with axes, or a number that is not in the range of its name.
    """
    if value is REQUIRED:
        raise TypeError(f"{owner}: {name} is required, for example {name}=0.01")
    if name in FLAGS:
        if not isinstance(value, bool | np.bool_):
            raise _wrong_type(owner, name, "True or False", value)
    elif name in COUNTS:
        if not isinstance(value, Integral) or isinstance(value, bool):
            raise _wrong_type(owner, name, "an integer (it sets the shape of state)", value)
        if value <= 0:
            raise ValueError(f"{owner}: {name} must be > 0, got {value}")
    elif isinstance(value, Variable):
        _check_symbol(owner, name, value)
    elif isinstance(value, Real) and not isinstance(value, bool):
        _check_range(owner, name, value)
    elif not schedules:
        raise _wrong_type(owner, name, "a number, a symbolic scalar or a shared variable", value)
    elif not is_schedule(value):
        raise _wrong_type(
            owner,
            name,
            "a number, a symbolic scalar, a shared variable or a schedule (a callable: symbolic "
            "step -> scalar)",
            value,
        )


def is_schedule(value: Any) -> bool:
    """Tell a schedule from a number or a symbol."""
    return callable(value) and not isinstance(value, Variable)


def evaluate(owner: str, name: str, schedule: Schedule, step: Variable) -> Any:
    """Call a schedule with the symbolic step and check what it returns.

    Raises
    ------
    ValueError
        If the schedule fails on a symbolic step, or returns a symbol that is not a scalar or
        a number out of range.
    TypeError
        If it returns something else.
    """
    try:
        value = schedule(step)
    except Exception as error:
        raise ValueError(
            f"{owner}: the schedule given as {name} failed on a symbolic step ({error}); it must "
            "build its value from PyTensor operations, for example pytensor.tensor.switch "
            "where Python would use if"
        ) from error
    returned = f"{owner}: the schedule given as {name} returned a bad value"
    check(returned, name, value, schedules=False)
    return value


def as_scalar(owner: str, name: str, value: Any, dtype: str) -> TensorVariable:
    """Cast a checked hyperparameter to the dtype of a parameter.

    Raises
    ------
    ValueError
        If rounding to `dtype` takes a number out of its range: ``1 - 1e-9`` is 1 in float32.
    """
    if isinstance(value, Constant):
        value = value.data.item()
    if isinstance(value, Variable):
        return pt.cast(value, dtype)
    with np.errstate(over="ignore"):
        rounded = np.asarray(value, dtype=dtype)
    _check_range(owner, name, rounded, f" (that is {value!r} in the {dtype} of the parameter)")
    return pt.constant(rounded)


def _wrong_type(owner: str, name: str, expected: str, value: Any) -> TypeError:
    advice = "; an array of one element gives its number by .item()"
    return TypeError(
        f"{owner}: {name} must be {expected}, got {value!r} of type {type(value).__name__}"
        + (advice if isinstance(value, np.ndarray) else "")
    )


def _check_symbol(owner: str, name: str, value: Variable) -> None:
    if not isinstance(value.type, TensorType) or np.dtype(value.type.dtype).kind not in "fiu":
        raise TypeError(
            f"{owner}: {name} must be a real scalar, got the symbol {value} of type {value.type}"
        )
    if value.type.ndim != 0:
        raise ValueError(
            f"{owner}: {name} must be a scalar, got the symbol {value} with {value.type.ndim} "
            "axes; index it or reduce it to a scalar first"
        )
    if isinstance(value, Constant):
        _check_range(owner, name, value.data)


def _check_range(owner: str, name: str, value: Any, remark: str = "") -> None:
    try:
        number = float(value)
    except OverflowError:  # an int beyond all floats
        number = math.inf
    if not RANGES[name].admits(number):
        raise ValueError(f"{owner}: {name} must be {RANGES[name].words}, got {value}{remark}")
