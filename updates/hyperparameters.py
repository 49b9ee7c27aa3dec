"""Hyperparameters: what each name means, which values it admits, how it enters a formula.

- ``RANGES``, ``COUNTS``, ``NATURALS``, ``FLAGS``, ``PLAIN``, ``RULES``, ``OPTIONAL``: what each
  hyperparameter of the library may be, by name, or by ``<rule>.<name>`` where a rule differs
- ``is_symbolic``: tell those that enter a formula from those that shape the graph
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

from updates import provenance

Schedule = Callable[[Variable], Any]
Hyperparameter = Real | float | Variable | Schedule


class Range(NamedTuple):
    """The values that a hyperparameter admits, in words and as a test."""

    words: str
    admits: Callable[[float], bool]


_FINITE = Range("a finite number", math.isfinite)
_NOT_NEGATIVE = Range("a finite number >= 0", lambda x: 0 <= x < math.inf)
_POSITIVE = Range("a finite number > 0", lambda x: 0 < x < math.inf)
_FRACTION = Range("in [0, 1)", lambda x: 0 <= x < 1)
_SHARE = Range("in [0, 1]", lambda x: 0 <= x <= 1)
_AT_LEAST_ONE = Range("a finite number >= 1", lambda x: 1 <= x < math.inf)

RANGES = {
    # rules
    "learning_rate": _NOT_NEGATIVE,
    "epsilon": _NOT_NEGATIVE,
    "epsilon_root": _NOT_NEGATIVE,
    "epsilon_outside": _NOT_NEGATIVE,
    "initial_accumulator": _NOT_NEGATIVE,
    "momentum": _FRACTION,
    "momentum_decay": _NOT_NEGATIVE,
    "rho": _FRACTION,
    "sam.rho": _NOT_NEGATIVE,
    "beta1": _FRACTION,
    "beta2": _FRACTION,
    "beta3": _FRACTION,
    "alpha": _NOT_NEGATIVE,
    "beta": _NOT_NEGATIVE,
    "gamma": _NOT_NEGATIVE,
    "eta": _NOT_NEGATIVE,
    "decay": _NOT_NEGATIVE,
    "power": _NOT_NEGATIVE,
    "start": Range("a number >= 0", lambda x: x >= 0),
    "halflife": _POSITIVE,
    "max_scaling": _POSITIVE,
    "weight_decay": _NOT_NEGATIVE,
    "threshold": _POSITIVE,
    "clip_threshold": _POSITIVE,
    "clipping_threshold": _POSITIVE,
    "trust_coefficient": _POSITIVE,
    "decay_rate": _NOT_NEGATIVE,
    "min_norm": _NOT_NEGATIVE,
    "max_learning_rate": _NOT_NEGATIVE,
    "f_min": _FINITE,
    "eta_minus": _SHARE,
    "eta_plus": _AT_LEAST_ONE,
    "min_step": _NOT_NEGATIVE,
    "max_step": _POSITIVE,
    "adam_learning_rate": _NOT_NEGATIVE,
    "adam_beta1": _FRACTION,
    "adam_beta2": _FRACTION,
    "initial_distance": _POSITIVE,
    "initial_step": _POSITIVE,
    "distance_coefficient": _POSITIVE,
    "weight_lr_power": _NOT_NEGATIVE,
    # gradient and update transforms
    "max_norm": _NOT_NEGATIVE,
    "max_value": _FINITE,
    "min_value": _FINITE,
    "clipping": _NOT_NEGATIVE,
    "l1": _NOT_NEGATIVE,
    "normalize_gradients.epsilon": _POSITIVE,
    "scale_gradients.factor": _FINITE,
    "low": _FINITE,
    "high": _FINITE,
    "apply_ema.decay": _FRACTION,
    "apply_lookahead.alpha": _SHARE,
    "reduce_on_plateau.factor": _SHARE,
    "rtol": _NOT_NEGATIVE,
    "atol": _NOT_NEGATIVE,
    "cooldown": _NOT_NEGATIVE,
    # training
    "min_improvement": _NOT_NEGATIVE,
    "checkpoint_every": _NOT_NEGATIVE,
    "min_scale": _SHARE,
    # schedules
    "value": _NOT_NEGATIVE,
    "values": _NOT_NEGATIVE,
    "initial_value": _NOT_NEGATIVE,
    "end_value": _NOT_NEGATIVE,
    "peak_value": _NOT_NEGATIVE,
    "schedule": _NOT_NEGATIVE,
    "schedules": _NOT_NEGATIVE,
    "step_decay.factor": _SHARE,
    "exponential_decay.decay_rate": _POSITIVE,
    "polynomial_decay.power": _POSITIVE,
    "exponent": _POSITIVE,
    "cosine_restarts.factor": _AT_LEAST_ONE,
    "cosine_restarts.decay": _SHARE,
    "warmup_fraction": _FRACTION,
    "final_fraction": _SHARE,
    "divisor": _AT_LEAST_ONE,
    "final_divisor": _AT_LEAST_ONE,
}
COUNTS = {
    "n_win",
    "min_dim_size_to_factor",
    "ns_steps",
    "update_interval",
    "every",
    "patience",
    "train_batches",
    "max_updates",
    "max_epochs",
    "validate_every",
}
NATURALS = {"seed", "root", "minimize.patience", "iterate.patience"}
FLAGS = {
    "nesterov",
    "rate_in_velocity",
    "safeguard_warmup",
    "staircase",
    "multiply_by_parameter_scale",
    "return_norm",
    "monitor_gradients",
    "monitor_updates",
    "progress",
    "drop_last",
}
# Numbers that do not enter a formula: where state starts, when a loop stops.
PLAIN = {"initial_accumulator", "initial_distance", "min_improvement", "checkpoint_every"}
RULES = {"rule"}
# Hyperparameters that may be None, which leaves out what they control.
OPTIONAL = {
    "adam_learning_rate",
    "high",
    "dowg.initial_distance",
    "prodigy.beta3",
    "low",
    "max_scaling",
    "min_value",
    "momentum_decay",
    "adafactor.momentum",
    "exponential_decay.end_value",
    "train_batches",
    "max_updates",
    "max_epochs",
    "minimize.patience",
    "iterate.patience",
}


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
        The argument, as the tables above name it.
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
        number = "4" if name in COUNTS else "0.01"
        example = "updates.sgd(learning_rate=0.01)" if name in RULES else number
        raise TypeError(f"{owner}: {name} is required, for example {name}={example}")
    names = {name, f"{owner}.{name}"}
    if value is None and names & OPTIONAL:
        return
    if name in RULES:
        if not callable(value) or isinstance(value, Variable):
            expected = "a rule that waits for its loss, such as updates.sgd(learning_rate=0.01)"
            raise _wrong_type(owner, name, expected, value)
    elif names & NATURALS:
        if not isinstance(value, Integral) or isinstance(value, bool):
            raise _wrong_type(owner, name, "an integer", value)
        if value < 0:
            raise ValueError(f"{owner}: {name} must be >= 0, got {value}")
    elif name in PLAIN:
        if not isinstance(value, Real) or isinstance(value, bool):
            raise _wrong_type(owner, name, "a number, not a symbol or a schedule", value)
        _check_range(owner, name, value)
    elif name in FLAGS:
        if not isinstance(value, bool | np.bool_):
            raise _wrong_type(owner, name, "True or False", value)
    elif name in COUNTS:
        if not isinstance(value, Integral) or isinstance(value, bool):
            raise _wrong_type(owner, name, "an integer (it shapes the graph)", value)
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


def is_symbolic(name: str) -> bool:
    """Tell whether a hyperparameter enters formulas as a scalar, or else shapes the graph."""
    return name not in FLAGS | COUNTS | NATURALS | PLAIN | RULES


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

    An epsilon becomes at least the smallest normal number of `dtype`, so that a zero gradient
    divided by a size of zero is zero. Beside any other size it is lost in rounding, except in
    float16, where it is 6e-5 and 1e-8 would be 0.

    Raises
    ------
    ValueError
        If rounding to `dtype` takes a number out of its range: ``1 - 1e-9`` is 1 in float32.
    """
    if isinstance(value, Constant):
        value = value.data.item()
    least = np.finfo(dtype).tiny if name.startswith("epsilon") else None
    if isinstance(value, Variable):
        symbol = provenance.cast(value, dtype)
        return symbol if least is None else provenance.reads_as(pt.maximum(symbol, least))
    with np.errstate(over="ignore"):
        rounded = np.asarray(value, dtype=dtype)
    _check_range(owner, name, rounded, f" (that is {value!r} in {dtype})")
    constant = pt.constant(rounded if least is None else np.maximum(rounded, least))
    return provenance.mark(constant, number=value)


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
    range_ = RANGES.get(f"{owner}.{name}") or RANGES[name]
    if not range_.admits(number):
        raise ValueError(f"{owner}: {name} must be {range_.words}, got {value}{remark}")
