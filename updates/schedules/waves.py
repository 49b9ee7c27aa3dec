"""Schedules that rise and fall in half waves of the cosine.

- ``cosine_decay``: once down
- ``cosine_restarts``: down again and again
- ``one_cycle``: up and far down, in waves or in straight lines
"""

from typing import Any

import pytensor.tensor as pt
from pytensor.tensor.variable import TensorVariable

from updates.given_numbers import given_as
from updates.kinds import AtLeastOne, Fraction, NonNegative, Positive, Share
from updates.schedules.schedule import (
    Shape,
    Step,
    Steps,
    as_float,
    between,
    half_wave,
    schedule,
    share_of,
    through,
)


@schedule
def cosine_decay(
    step: Step,
    initial_value: NonNegative,
    steps: Steps,
    alpha: NonNegative = 0.0,
    exponent: Positive = 1.0,
) -> Any:
    """Fall along half a cosine wave, and stay there.

    ``initial_value * (alpha + (1 - alpha) * c**exponent)``, with
    ``c = (1 + cos(pi * min(t / steps, 1))) / 2``

    alpha : what is left in the end, as a share of `initial_value`

    Loshchilov, Hutter (2016), "SGDR: Stochastic Gradient Descent with Warm Restarts",
    arXiv:1608.03983.

    >>> from updates import cosine_decay
    >>> cosine_decay(0.1, 100)([0, 50, 100, 200]).eval(mode="FAST_COMPILE")
    array([0.1 , 0.05, 0.  , 0.  ])
    """
    return initial_value * between(alpha, 1, half_wave(share_of(step, steps)) ** exponent)


@schedule
def cosine_restarts(
    step: Step,
    initial_value: NonNegative,
    steps: Steps,
    factor: AtLeastOne = 2.0,
    decay: Share = 1.0,
    end_value: NonNegative = 0.0,
) -> Any:
    """Fall along half a cosine wave again and again (SGDR).

    ``end_value + (initial_value - end_value) * decay**n * (1 + cos(pi * s)) / 2``, with n the
    number of the period, from 0, and s in [0, 1) the share of it that is over

    steps : the length of the first period
    factor : how much longer each period is than the one before. Periods start at whole steps,
        those nearest to ``steps * (1 + factor + factor**2 + ...)``
    decay : how much lower each peak is above `end_value` than the one before

    Loshchilov, Hutter (2016), "SGDR: Stochastic Gradient Descent with Warm Restarts",
    arXiv:1608.03983.

    >>> from updates import cosine_restarts
    >>> schedule = cosine_restarts(0.4, 10, decay=0.5)
    >>> schedule([0, 5, 10, 20, 30]).eval(mode="FAST_COMPILE")
    array([0.4, 0.2, 0.2, 0.1, 0.1])
    """
    step, steps = as_float(step), as_float(steps)
    longer, log_factor, growth = pt.gt(factor, 1), pt.log(factor), factor - 1

    def start(period: TensorVariable) -> TensorVariable:
        lengths = pt.expm1(period * log_factor) / pt.switch(longer, growth, 1)
        return pt.round(steps * pt.switch(longer, lengths, period))

    lengths = step / steps
    logarithm = pt.log1p(lengths * growth) / pt.switch(longer, log_factor, 1)
    period = pt.floor(pt.switch(longer, logarithm, lengths))
    period += pt.ge(step, start(period + 1))  # the logarithm and the start are rounded
    share = (step - start(period)) / (start(period + 1) - start(period))
    return between(end_value, initial_value, decay**period * half_wave(share))


@schedule
def one_cycle(
    step: Step,
    peak_value: NonNegative,
    steps: Steps,
    warmup_fraction: Fraction = 0.3,
    divisor: AtLeastOne = 25.0,
    final_divisor: AtLeastOne = 1e4,
    shape: Shape = "cosine",
    final_fraction: Share = 0.85,
) -> Any:
    """Rise to a peak and fall far below the start, in cosine waves or in straight lines.

    Through ``low = peak_value / divisor`` at 0, ``peak_value`` at ``floor(warmup_fraction*steps)``
    and ``low / final_divisor`` from ``steps`` on; linear also through ``low`` at
    ``floor(final_fraction*steps)``.

    final_fraction : at least `warmup_fraction`. For the linear shape only

    Smith, Topin (2017), "Super-Convergence: Very Fast Training of Neural Networks Using Large
    Learning Rates", arXiv:1708.07120.

    >>> from updates import one_cycle
    >>> one_cycle(0.5, 10, divisor=5, final_divisor=10)([0, 3, 10]).eval(mode="FAST_COMPILE")
    array([0.1 , 0.5 , 0.01])
    """
    first, last = given_as(warmup_fraction), given_as(final_fraction)
    if shape == "linear" and None not in (first, last) and first > last:
        raise ValueError(f"final_fraction must be >= warmup_fraction, got {last} < {first}")
    low = peak_value / divisor
    turns = [(0, low), (pt.floor(warmup_fraction * as_float(steps)), peak_value)]
    if shape == "linear":
        turns += [(pt.floor(final_fraction * as_float(steps)), low)]
    turns += [(as_float(steps), low / final_divisor)]
    return through(turns, step, shape)
