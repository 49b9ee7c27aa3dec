"""Schedules that are one formula: from steps to straight lines to exponentials.

- ``constant_schedule``, ``piecewise_constant``, ``step_decay``: steps
- ``linear_schedule``, ``polynomial_decay``: from one value to another
- ``exponential_decay``, ``inverse_time_decay``, ``inverse_sqrt``: ever slower
"""

from typing import Any

import pytensor.tensor as pt
from pytensor.tensor.variable import TensorVariable

from updates.kinds import Flag, NonNegative, Positive, Share
from updates.schedules.schedule import (
    Begin,
    Boundaries,
    Step,
    Steps,
    Values,
    as_float,
    between,
    pieces,
    schedule,
    share_of,
)


@schedule
def constant_schedule(
    step: Step,
    value: NonNegative,
) -> Any:
    """Stay at one value: ``value``.

    >>> from updates import constant_schedule
    >>> float(constant_schedule(0.1)(1000).eval(mode="FAST_COMPILE"))
    0.1
    """
    return value


@schedule
def piecewise_constant(
    step: Step,
    boundaries: Boundaries,
    values: Values,
) -> Any:
    """Jump from value to value: ``values[i]``, i the number of boundaries that are <= t.

    values : one more than boundaries

    >>> from updates import piecewise_constant
    >>> piecewise_constant([2, 3], [0.1, 0.05, 0.01])([0, 1, 2, 3, 4]).eval(mode="FAST_COMPILE")
    array([0.1 , 0.1 , 0.05, 0.01, 0.01])
    """
    return pieces("values", values, step, boundaries)


@schedule
def step_decay(
    step: Step,
    initial_value: NonNegative,
    steps: Steps,
    factor: Share = 0.5,
) -> Any:
    """Multiply by a factor once in a while: ``initial_value * factor**floor(t / steps)``.

    >>> from updates import step_decay
    >>> step_decay(0.8, 10)([0, 9, 10, 20]).eval(mode="FAST_COMPILE")
    array([0.8, 0.8, 0.4, 0.2])
    """
    return initial_value * factor ** _periods(step, steps, True)


@schedule
def linear_schedule(
    step: Step,
    initial_value: NonNegative,
    end_value: NonNegative,
    steps: Steps,
    begin: Begin = 0,
) -> Any:
    """Go straight from one value to another.

    ``initial_value*(1 - s) + end_value*s``, with ``s = clip((t - begin) / steps, 0, 1)``

    >>> from updates import linear_schedule
    >>> linear_schedule(0.1, 0.2, steps=2, begin=1)([0, 1, 2, 3]).eval(mode="FAST_COMPILE")
    array([0.1 , 0.1 , 0.15, 0.2 ])
    """
    return between(initial_value, end_value, share_of(step, steps, begin))


@schedule
def polynomial_decay(
    step: Step,
    initial_value: NonNegative,
    end_value: NonNegative,
    steps: Steps,
    power: Positive = 1.0,
    begin: Begin = 0,
) -> Any:
    """Go from one value to another on a power of what is left of the way.

    ``end_value + (initial_value - end_value) * (1 - s)**power``, with
    ``s = clip((t - begin) / steps, 0, 1)``

    power : at 1 this is `linear_schedule`

    >>> from updates import polynomial_decay
    >>> polynomial_decay(0.4, 0.0, steps=4, power=2)([0, 2, 4]).eval(mode="FAST_COMPILE")
    array([0.4, 0.1, 0. ])
    """
    return between(end_value, initial_value, (1 - share_of(step, steps, begin)) ** power)


@schedule
def exponential_decay(
    step: Step,
    initial_value: NonNegative,
    steps: Steps,
    decay_rate: Positive,
    begin: Begin = 0,
    staircase: Flag = False,
    end_value: NonNegative | None = None,
) -> Any:
    """Decay (or grow) exponentially: ``initial_value * decay_rate**(max(t - begin, 0) / steps)``.

    decay_rate : above 1 the value grows, and without an `end_value` it does not stop
    staircase : round the exponent down, which gives a jump every `steps` steps
    end_value : a lower bound if `decay_rate` < 1, else an upper bound

    >>> from updates import exponential_decay
    >>> exponential_decay(0.8, 2, 0.25, end_value=0.1)([0, 1, 2, 9]).eval(mode="FAST_COMPILE")
    array([0.8, 0.4, 0.2, 0.1])
    """
    periods = _periods(pt.maximum(step - begin, 0), steps, staircase)
    value = pt.switch(pt.eq(initial_value, 0), 0, initial_value * decay_rate**periods)
    if end_value is None:
        return value
    return pt.switch(decay_rate < 1, pt.maximum(value, end_value), pt.minimum(value, end_value))


@schedule
def inverse_time_decay(
    step: Step,
    initial_value: NonNegative,
    steps: Steps,
    decay_rate: NonNegative,
    staircase: Flag = False,
) -> Any:
    """Decay like one over time: ``initial_value / (1 + decay_rate * t / steps)``.

    staircase : round ``t / steps`` down

    >>> from updates import inverse_time_decay
    >>> inverse_time_decay(0.8, 10, 1.0)([0, 10, 30]).eval(mode="FAST_COMPILE")
    array([0.8, 0.4, 0.2])
    """
    return initial_value / (1 + decay_rate * _periods(step, steps, staircase))


@schedule
def inverse_sqrt(
    step: Step,
    peak_value: NonNegative,
    warmup_steps: Steps,
) -> Any:
    """Rise in a straight line, then fall like one over the root of time.

    ``peak_value * min(n / warmup_steps, sqrt(warmup_steps / n))``, with ``n = t + 1``

    The Transformer's ``d_model**-0.5 * min(n**-0.5, n * warmup_steps**-1.5)`` is this with
    ``peak_value = (d_model * warmup_steps)**-0.5``.

    peak_value : reached at step `warmup_steps` - 1

    Vaswani et al. (2017), "Attention Is All You Need", arXiv:1706.03762, section 5.3.

    >>> from updates import inverse_sqrt
    >>> inverse_sqrt(0.4, 4)([0, 3, 15]).eval(mode="FAST_COMPILE")
    array([0.1, 0.4, 0.2])
    """
    number, warmup_steps = as_float(step + 1), as_float(warmup_steps)
    return peak_value * pt.minimum(number / warmup_steps, pt.sqrt(warmup_steps / number))


def _periods(step: Step, steps: Any, staircase: bool) -> TensorVariable:
    return as_float(step // steps) if staircase else as_float(step) / as_float(steps)
