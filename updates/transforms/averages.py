"""Averages of the parameters over time, and how to read and use them.

- ``apply_ema``: an exponential moving average beside the parameters
- ``apply_lookahead``: slow parameters that the fast ones return to
- ``averages``: where a dictionary keeps the averages of its parameters
- ``use_averages``: put them in the place of the parameters for a while
"""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

import pytensor.tensor as pt
from pytensor.tensor.sharedvar import TensorSharedVariable

from updates import provenance
from updates.call import State, Tensor, UpdatesLike, checked_updates, once_a_call
from updates.declaration import declared, named, public
from updates.kinds import Count, Fraction, Share
from updates.state import in_use
from updates.update_transform import update_transform


@update_transform
def apply_ema(
    state: State,
    param: Tensor,
    proposed: Tensor,
    decay: Fraction = 0.999,
) -> Tensor:
    """Keep an exponential moving average of the parameters, corrected for its start.

    - ``r = (1 - decay) / (1 - decay^t)``
    - ``a' = (1 - r)*a + r*updates[p]``

    This is ``e' / (1 - decay^t)`` with ``e' = decay*e + (1 - decay)*p'`` and ``e = 0`` at first, so
    the first call makes the average the parameter itself. Training is not changed.

    decay : how much of the average is kept
    returns : read the averages with `averages`, evaluate with them in `use_averages`
    state : average, step

    `asgd` : plain averaging from a given call on
    `schedule_free_sgd` : an average that steers the gradients

    Polyak, Juditsky (1992), "Acceleration of stochastic approximation by averaging", SIAM Journal
    on Control and Optimization 30(4); the correction is that of Adam's moments.

    >>> import pytensor, updates
    >>> w = pytensor.shared(1.0, name="w")
    >>> averaged = updates.apply_ema(updates.sgd(w**2, [w], 0.25), decay=0.5)
    >>> step = pytensor.function([], updates=averaged)
    >>> _ = step(), step()
    >>> float(w.get_value()), round(float(updates.averages(averaged)[w].get_value()), 6)
    (0.25, 0.333333)
    """
    average, rate = state.copy("average", is_average=True), _rate(state, decay)
    state.update(average, (1 - rate) * average + rate * proposed)
    return proposed


@update_transform
def apply_lookahead(
    state: State,
    param: Tensor,
    proposed: Tensor,
    every: Count = 5,
    alpha: Share = 0.5,
) -> Tensor:
    """Let slow parameters follow the fast ones, and the fast ones return to them.

    In calls k, 2k, 3k, ..., with k = `every`:

    - ``s' = s + alpha*(updates[p] - s)``
    - ``p' = s'``

    and in all others ``s' = s`` and ``p' = updates[p]``. The slow parameters start where the
    parameters are now.

    every : calls from one return to the next
    alpha : how far the slow parameters go towards the fast ones
    state : slow, step

    `apply_ema` : an average that leaves training alone

    Zhang, Lucas, Hinton, Ba (2019), "Lookahead Optimizer: k steps forward, 1 step back",
    arXiv:1907.08610.

    >>> import pytensor, updates
    >>> w = pytensor.shared(1.0, name="w")
    >>> slow = updates.apply_lookahead(updates.sgd(w**2, [w], 0.25), every=2, alpha=0.5)
    >>> step = pytensor.function([], updates=slow)
    >>> _ = step(), step()
    >>> float(w.get_value())
    0.625
    """
    slow = state.copy("slow")
    slow_new = slow + alpha * (proposed - slow)
    returns = _is_every(state, every)
    state.update(slow, pt.switch(returns, slow_new, slow))
    return pt.switch(returns, slow_new, proposed)


@declared
def averages(updates: UpdatesLike) -> OrderedDict[TensorSharedVariable, TensorSharedVariable]:
    """Return where a dictionary keeps the averages of its parameters.

    Parameters
    ----------
    updates : dict or list of pairs
        Updates of `apply_ema`, or of a rule that averages: `asgd`, `schedule_free_sgd`,
        `schedule_free_adamw`.

    Returns
    -------
    OrderedDict
        Parameter to the shared variable that holds its average. Where a parameter has several,
        the one that was added last.

    Raises
    ------
    ValueError, TypeError
        If `updates` is empty, no dictionary, or holds no averages.

    Examples
    --------
    >>> import pytensor, updates
    >>> w = pytensor.shared(1.0, name="w")
    >>> list(updates.averages(updates.apply_ema(updates.sgd(w**2, [w], 0.25))).items())
    [(w, w/apply_ema/average)]
    """
    return _averages(updates)


@public
@contextmanager
def use_averages(updates: UpdatesLike) -> Iterator[None]:
    """Put the averages in the place of the parameters for the length of a ``with`` block.

    Parameters and averages swap their values on the way in and again on the way out, whatever
    happens inside; no array is copied. Evaluate inside, but do not train. To save the averaged
    parameters, give `save` a list of them. A block within a block for the same averages changes
    nothing.

    Parameters
    ----------
    updates : dict or list of pairs
        Updates that hold averages, see `averages`.

    Raises
    ------
    ValueError, TypeError
        If `updates` is empty, no dictionary, or holds no averages.

    Examples
    --------
    >>> import pytensor, updates
    >>> w = pytensor.shared(1.0, name="w")
    >>> averaged = updates.apply_ema(updates.sgd(w**2, [w], 0.25), decay=0.5)
    >>> step = pytensor.function([], updates=averaged)
    >>> _ = step(), step()
    >>> with updates.use_averages(averaged):
    ...     print(round(float(w.get_value()), 6))
    0.333333
    >>> float(w.get_value())
    0.25
    """
    with named("use_averages"):
        pairs = _averages(updates)
    pairs = OrderedDict((p, average) for p, average in pairs.items() if average not in in_use)
    _swap_values(pairs)
    in_use.update(pairs.values())
    try:
        yield
    finally:
        in_use.difference_update(pairs.values())
        _swap_values(pairs)


def _averages(
    updates: UpdatesLike,
) -> OrderedDict[TensorSharedVariable, TensorSharedVariable]:
    found = OrderedDict(
        (provenance.of(variable).average_of, variable)
        for variable in checked_updates(updates)
        if provenance.of(variable).average_of is not None
    )
    if not found:
        raise ValueError(
            "updates holds no averages; make them with apply_ema, or with a rule that "
            "averages such as asgd or schedule_free_sgd"
        )
    return found


def _swap_values(pairs: OrderedDict[TensorSharedVariable, TensorSharedVariable]) -> None:
    for first, second in pairs.items():
        value = first.get_value(borrow=True)
        first.set_value(second.get_value(borrow=True), borrow=True)
        second.set_value(value, borrow=True)


@once_a_call
def _rate(state: State, decay: Fraction) -> Tensor:
    """Correct the weight of the new value for the start of the average."""
    return state.cast((1 - decay) / (1 - decay**state.time))


@once_a_call
def _is_every(state: State, every: int) -> Tensor:
    return pt.eq((state.step + 1) % every, 0)
