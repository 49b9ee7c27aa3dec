"""Schedules made of schedules, and their values in a dictionary of updates.

- ``warmup``, ``join_schedules``: one after the other
- ``halflife_to_decay``: from a halflife to a decay
- ``schedule_values``: the current value of every schedule in a dictionary of updates
"""

import functools
from collections import OrderedDict
from typing import Any

import pytensor.tensor as pt
from pytensor.graph.basic import Variable

from updates import provenance
from updates.call import UpdatesLike, checked_updates
from updates.declaration import declared
from updates.kinds import NonNegative, Positive, is_schedule
from updates.schedules.schedule import (
    Boundaries,
    Inner,
    InnerHalflife,
    Inners,
    Step,
    Steps,
    as_float,
    between,
    pieces,
    schedule,
    share_of,
    value_at,
)


@schedule
def warmup(
    step: Step,
    schedule: Inner,
    steps: Steps,
    initial_value: NonNegative = 0.0,
) -> Any:
    """Rise (or fall) in a straight line to where a schedule starts, then follow it.

    ``initial_value*(1 - s) + schedule(max(t - steps, 0))*s``, with ``s = min(t / steps, 1)``

    Goyal et al. (2017), "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour",
    arXiv:1706.02677, section 2.2.

    >>> from updates import cosine_decay, warmup
    >>> warmup(cosine_decay(0.4, 90), 10)([0, 5, 10, 55, 100]).eval(mode="FAST_COMPILE")
    array([0. , 0.2, 0.4, 0.2, 0. ])
    """
    value = value_at(schedule, pt.maximum(step - steps, 0))
    return between(initial_value, value, share_of(step, steps))


@schedule
def join_schedules(
    step: Step,
    schedules: Inners,
    boundaries: Boundaries,
) -> Any:
    """Follow one schedule after the other, each from its own start.

    ``schedules[i](t - boundaries[i - 1])``, i the number of boundaries that are <= t

    schedules : one more than boundaries

    >>> from updates import join_schedules, linear_schedule
    >>> schedule = join_schedules([linear_schedule(0.0, 0.4, 4), 0.1], [2])
    >>> schedule([0, 1, 2, 3]).eval(mode="FAST_COMPILE")
    array([0. , 0.1, 0.1, 0.1])
    """
    return pieces("schedules", schedules, step, boundaries)


@declared
def halflife_to_decay(halflife: Positive) -> Any:
    """Give the decay that halves in so many steps: ``2**(-1 / halflife)``.

    Parameters
    ----------
    halflife : float, symbolic scalar, shared variable or schedule
        Finite and > 0.

    Returns
    -------
    float, symbolic scalar or Schedule
        A float for a number, a `Schedule` for a schedule, else a float64 symbol.

    Raises
    ------
    ValueError, TypeError
        If `halflife` is out of range or of the wrong kind.

    Examples
    --------
    >>> from updates import halflife_to_decay
    >>> halflife_to_decay(0.5), round(halflife_to_decay(14), 4)
    (0.25, 0.9517)
    """
    if isinstance(halflife, Variable):
        return 2 ** (-1 / as_float(halflife))
    if is_schedule(halflife):
        return halflife_decay(halflife)
    return 2.0 ** (-1.0 / float(halflife))  # type: ignore[arg-type]


@functools.partial(schedule, owner="halflife_to_decay")
def halflife_decay(
    step: Step,
    halflife: InnerHalflife,
) -> Any:
    """Give the decay for a halflife that follows a schedule; see `halflife_to_decay`."""
    return 2 ** (-1 / value_at(halflife, step))


@declared
def schedule_values(updates: UpdatesLike) -> OrderedDict[str, Variable]:
    """Give the current value of every schedule in a dictionary of updates.

    ``.eval()`` gives the value that the next call will use; among the outputs of the function
    that runs the updates it is the value that this call used.

    Parameters
    ----------
    updates : dict or list of pairs
        Shared variable to next value, as a rule or an update transform returns it.

    Returns
    -------
    OrderedDict
        ``"<rule>/<hyperparameter>"`` to a symbolic scalar, in the order of `updates`. All names
        of the second call of a rule that would repeat one end in ``"#2"``, and so on. Empty if
        nothing is scheduled.

    Raises
    ------
    ValueError, TypeError
        If `updates` is empty or no dictionary of updates.

    Examples
    --------
    >>> from updates import linear_schedule, schedule_values
    >>> import pytensor, updates
    >>> w = pytensor.shared(1.0, name="w")
    >>> training = updates.adam(w**2, [w], learning_rate=linear_schedule(1.0, 0.0, steps=4))
    >>> values = schedule_values(training)
    >>> step = pytensor.function([], list(values.values()), updates=training, mode="FAST_COMPILE")
    >>> list(values), [float(step()[0]) for _ in range(2)]
    (['adam/learning_rate'], [1.0, 0.75])
    >>> float(values["adam/learning_rate"].eval(mode="FAST_COMPILE"))
    0.5
    """
    result: OrderedDict[str, Variable] = OrderedDict()
    for variable in checked_updates(updates):
        scheduled = provenance.of(variable).schedules
        number, suffix = 1, ""
        while any(name + suffix in result for name in scheduled):
            number += 1
            suffix = f"#{number}"
        result.update((name + suffix, value) for name, value in scheduled.items())
    return result
