"""Schedules that are one formula: from steps to straight lines to exponentials.

- ``constant_schedule``, ``piecewise_constant``, ``step_decay``: steps
- ``linear_schedule``, ``polynomial_decay``: from one value to another
- ``exponential_decay``, ``inverse_time_decay``, ``inverse_sqrt``: ever slower
"""

from collections.abc import Iterable
from typing import Any

import pytensor.tensor as pt
from pytensor.tensor.variable import TensorVariable

from updates.schedules.schedule import (
    Count,
    Step,
    Value,
    as_float,
    between,
    pieces,
    schedule,
    share_of,
)


@schedule
def constant_schedule(step: Step, value: Value) -> Any:
    """Stay at one value: ``value``.

    Parameters
    ----------
    value : value

    Examples
    --------
    >>> from updates import constant_schedule
    >>> float(constant_schedule(0.1)(1000).eval(mode="FAST_COMPILE"))
    0.1
    """
    return value


@schedule
def piecewise_constant(step: Step, boundaries: Iterable[int], values: Iterable[Value]) -> Any:
    """Jump from value to value: ``values[i]``, i the number of boundaries that are <= t.

    Parameters
    ----------
    boundaries : list of int >= 0, strictly increasing
    values : list of values
        One more than boundaries.

    Examples
    --------
    >>> from updates import piecewise_constant
    >>> piecewise_constant([2, 3], [0.1, 0.05, 0.01])([0, 1, 2, 3, 4]).eval(mode="FAST_COMPILE")
    array([0.1 , 0.1 , 0.05, 0.01, 0.01])
    """
    return pieces("piecewise_constant", "values", values, step, boundaries)


@schedule
def step_decay(step: Step, initial_value: Value, steps: Count, factor: Value = 0.5) -> Any:
    """Multiply by a factor once in a while: ``initial_value * factor**floor(t / steps)``.

    Parameters
    ----------
    initial_value : value
    steps : count > 0
    factor : value in [0, 1], optional

    Examples
    --------
    >>> from updates import step_decay
    >>> step_decay(0.8, 10)([0, 9, 10, 20]).eval(mode="FAST_COMPILE")
    array([0.8, 0.8, 0.4, 0.2])
    """
    return initial_value * factor ** _periods(step, steps, True)


@schedule
def linear_schedule(
    step: Step, initial_value: Value, end_value: Value, steps: Count, begin: Count = 0
) -> Any:
    """Go straight from one value to another.

    ``initial_value*(1 - s) + end_value*s``, with ``s = clip((t - begin) / steps, 0, 1)``

    Parameters
    ----------
    initial_value, end_value : value
    steps : count > 0
    begin : count >= 0, optional

    Examples
    --------
    >>> from updates import linear_schedule
    >>> linear_schedule(0.1, 0.2, steps=2, begin=1)([0, 1, 2, 3]).eval(mode="FAST_COMPILE")
    array([0.1 , 0.1 , 0.15, 0.2 ])
    """
    return between(initial_value, end_value, share_of(step, steps, begin))


@schedule
def polynomial_decay(
    step: Step,
    initial_value: Value,
    end_value: Value,
    steps: Count,
    power: Value = 1.0,
    begin: Count = 0,
) -> Any:
    """Go from one value to another on a power of what is left of the way.

    ``end_value + (initial_value - end_value) * (1 - s)**power``, with
    ``s = clip((t - begin) / steps, 0, 1)``

    Parameters
    ----------
    initial_value, end_value : value
    steps : count > 0
    power : value > 0, optional
        At 1 this is `linear_schedule`.
    begin : count >= 0, optional

    Examples
    --------
    >>> from updates import polynomial_decay
    >>> polynomial_decay(0.4, 0.0, steps=4, power=2)([0, 2, 4]).eval(mode="FAST_COMPILE")
    array([0.4, 0.1, 0. ])
    """
    return between(end_value, initial_value, (1 - share_of(step, steps, begin)) ** power)


@schedule
def exponential_decay(
    step: Step,
    initial_value: Value,
    steps: Count,
    decay_rate: Value,
    begin: Count = 0,
    staircase: bool = False,
    end_value: Value | None = None,
) -> Any:
    """Decay (or grow) exponentially: ``initial_value * decay_rate**(max(t - begin, 0) / steps)``.

    Parameters
    ----------
    initial_value : value
    steps : count > 0
    decay_rate : value > 0
        Above 1 the value grows, and without an `end_value` it does not stop.
    begin : count >= 0, optional
    staircase : bool, optional
        Round the exponent down, which gives a jump every `steps` steps.
    end_value : value, optional
        A lower bound if `decay_rate` < 1, else an upper bound.

    Examples
    --------
    >>> from updates import exponential_decay
    >>> exponential_decay(0.8, 2, 0.25, end_value=0.1)([0, 1, 2, 9]).eval(mode="FAST_COMPILE")
    array([0.8, 0.4, 0.2, 0.1])
    """
    periods = _periods(pt.maximum(step - begin, 0), steps, staircase)
    large = pt.constant(1e300, dtype="float64")  # keeps 0 * inf out
    value = initial_value * pt.minimum(decay_rate**periods, large)
    if end_value is None:
        return value
    return pt.switch(decay_rate < 1, pt.maximum(value, end_value), pt.minimum(value, end_value))


@schedule
def inverse_time_decay(
    step: Step, initial_value: Value, steps: Count, decay_rate: Value, staircase: bool = False
) -> Any:
    """Decay like one over time: ``initial_value / (1 + decay_rate * t / steps)``.

    Parameters
    ----------
    initial_value : value
    steps : count > 0
    decay_rate : value
    staircase : bool, optional
        Round ``t / steps`` down.

    Examples
    --------
    >>> from updates import inverse_time_decay
    >>> inverse_time_decay(0.8, 10, 1.0)([0, 10, 30]).eval(mode="FAST_COMPILE")
    array([0.8, 0.4, 0.2])
    """
    return initial_value / (1 + decay_rate * _periods(step, steps, staircase))


@schedule
def inverse_sqrt(step: Step, peak_value: Value, warmup_steps: Count) -> Any:
    """Rise in a straight line, then fall like one over the root of time.

    ``peak_value * min(n / warmup_steps, sqrt(warmup_steps / n))``, with ``n = t + 1``

    The Transformer's ``d_model**-0.5 * min(n**-0.5, n * warmup_steps**-1.5)`` is this with
    ``peak_value = (d_model * warmup_steps)**-0.5``.

    Parameters
    ----------
    peak_value : value
        Reached at step `warmup_steps` - 1.
    warmup_steps : count > 0

    References
    ----------
    Vaswani et al. (2017), "Attention Is All You Need", arXiv:1706.03762, section 5.3.

    Examples
    --------
    >>> from updates import inverse_sqrt
    >>> inverse_sqrt(0.4, 4)([0, 3, 15]).eval(mode="FAST_COMPILE")
    array([0.1, 0.4, 0.2])
    """
    number, warmup_steps = as_float(step + 1), as_float(warmup_steps)
    return peak_value * pt.minimum(number / warmup_steps, pt.sqrt(warmup_steps / number))


def _periods(step: Step, steps: Any, staircase: bool) -> TensorVariable:
    return as_float(step // steps) if staircase else as_float(step) / as_float(steps)
