"""Schedules through given points.

- ``piecewise_interpolate``: from value to value, in straight lines or half waves
- ``warmup_stable_decay``: up, level, down
"""

from typing import Annotated, Any

import pytensor.tensor as pt

from updates.given_numbers import given_as
from updates.kinds import NonNegative, OneOf
from updates.schedules.schedule import (
    Boundaries,
    Shape,
    Step,
    Steps,
    Values,
    as_float,
    between,
    checked_count,
    half_wave,
    schedule,
    share_of,
    through,
)

Fall = Annotated[str, OneOf(("linear", "cosine", "sqrt"))]


@schedule
def piecewise_interpolate(
    step: Step,
    boundaries: Boundaries,
    values: Values,
    shape: Shape = "linear",
) -> Any:
    """Go from value to value: ``values[0]`` at 0, ``values[i]`` at ``boundaries[i - 1]``.

    In between in straight lines, or along half cosine waves; after the last boundary the last
    value stays.

    values : one more than boundaries

    ``optax.piecewise_interpolate_schedule``, which takes factors in the place of values.

    >>> from updates import piecewise_interpolate
    >>> schedule = piecewise_interpolate([4, 8], [1.0, 0.5, 0.1])
    >>> schedule([0, 2, 4, 6, 8, 9]).eval(mode="FAST_COMPILE")
    array([1.  , 0.75, 0.5 , 0.3 , 0.1 , 0.1 ])
    """
    checked_count("values", values, boundaries)
    turns = map(as_float, [0, *boundaries])
    return through(list(zip(turns, values, strict=True)), step, shape)


@schedule
def warmup_stable_decay(
    step: Step,
    peak_value: NonNegative,
    steps: Steps,
    warmup_steps: Steps,
    decay_steps: Steps,
    initial_value: NonNegative = 0.0,
    end_value: NonNegative = 0.0,
    shape: Fall = "linear",
) -> Any:
    """Rise, stay at the peak, and fall at the end: training can be prolonged on the level part.

    - ``initial_value*(1 - s) + peak_value*s``, with ``s = t / warmup_steps``, up to there
    - ``peak_value`` until ``steps - decay_steps``
    - ``end_value + (peak_value - end_value)*f(s)``, with
      ``s = (t - steps + decay_steps) / decay_steps``, up to `steps`, and ``end_value`` after it

    ``f(s)`` is ``1 - s``, ``(1 + cos(pi*s)) / 2`` or ``1 - sqrt(s)``.

    steps : of all three parts, at least ``warmup_steps + decay_steps``
    shape : how it falls, ``f``. "sqrt" did best where it was proposed

    Hu et al. (2024), "MiniCPM: Unveiling the Potential of Small Language Models with Scalable
    Training Strategies", arXiv:2404.06395; Hägele et al. (2024), "Scaling Laws and
    Compute-Optimal Training Beyond Fixed Training Durations", arXiv:2405.18392, for "sqrt".

    >>> from updates import warmup_stable_decay
    >>> schedule = warmup_stable_decay(0.4, 20, warmup_steps=4, decay_steps=4, shape="sqrt")
    >>> schedule([0, 2, 4, 16, 17, 20]).eval(mode="FAST_COMPILE")
    array([0. , 0.2, 0.4, 0.4, 0.2, 0. ])
    """
    total, first, last = map(given_as, (steps, warmup_steps, decay_steps))
    if None not in (total, first, last) and first + last > total:
        raise ValueError(
            f"steps must be at least warmup_steps + decay_steps, got {total} < {first} + {last}"
        )
    rising = between(initial_value, peak_value, share_of(step, warmup_steps))
    share = share_of(step, decay_steps, begin=steps - decay_steps)
    left = {"linear": 1 - share, "cosine": half_wave(share), "sqrt": 1 - pt.sqrt(share)}[shape]
    is_early = pt.lt(as_float(step), as_float(steps - decay_steps))
    return pt.switch(is_early, rising, between(end_value, peak_value, left))
