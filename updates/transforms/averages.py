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
from updates.arguments import Params
from updates.call import Updates, UpdatesLike, checked_updates, transform_call
from updates.hyperparameters import Hyperparameter


def apply_ema(
    updates: UpdatesLike, params: Params | None = None, decay: Hyperparameter = 0.999
) -> Updates:
    """Keep an exponential moving average of the parameters, corrected for its start.

    - ``r = (1 - decay) / (1 - decay^t)``
    - ``a' = (1 - r)*a + r*updates[p]``

    This is ``e' / (1 - decay^t)`` with ``e' = decay*e + (1 - decay)*p'`` and ``e = 0`` at first, so
    the first call makes the average the parameter itself. Training is not changed.

    Parameters
    ----------
    updates : dict or list of pairs
        Shared variable to next value, as a rule returns it.
    params : shared variable, or list of shared variables, optional
        The parameters to average. By default all floating-point variables of `updates` but those
        that the library made as state.
    decay : float, symbolic scalar, shared variable or schedule, optional
        How much of the average is kept, in [0, 1).

    Returns
    -------
    OrderedDict
        A copy of `updates` with an average for each of `params`, and step. Read the averages with
        `averages`, evaluate with them in `use_averages`.

    Raises
    ------
    ValueError, TypeError
        If `updates` is empty or no dictionary, does not change a parameter that was asked for, or
        `decay` is out of range or of the wrong kind.

    See Also
    --------
    asgd : plain averaging from a given call on.
    schedule_free_sgd : an average that steers the gradients.

    References
    ----------
    Polyak, Juditsky (1992), "Acceleration of stochastic approximation by averaging", SIAM Journal
    on Control and Optimization 30(4); the correction is that of Adam's moments.

    Examples
    --------
    >>> import pytensor, updates
    >>> w = pytensor.shared(1.0, name="w")
    >>> averaged = updates.apply_ema(updates.sgd(w**2, [w], 0.25), decay=0.5)
    >>> step = pytensor.function([], updates=averaged)
    >>> _ = step(), step()
    >>> float(w.get_value()), round(float(updates.averages(averaged)[w].get_value()), 6)
    (0.25, 0.333333)
    """
    call = transform_call("apply_ema", updates, params, decay=decay)
    for param, proposed, (decay,) in call:
        average = call.average_of(param)
        rate = ((1 - decay) / (1 - decay**call.time)).astype(param.dtype)
        call[average] = (1 - rate) * average + rate * proposed
    return call.updates


def apply_lookahead(
    updates: UpdatesLike,
    params: Params | None = None,
    every: int = 5,
    alpha: Hyperparameter = 0.5,
) -> Updates:
    """Let slow parameters follow the fast ones, and the fast ones return to them.

    In calls k, 2k, 3k, ..., with k = `every`:

    - ``s' = s + alpha*(updates[p] - s)``
    - ``p' = s'``

    and in all others ``s' = s`` and ``p' = updates[p]``. The slow parameters start where the
    parameters are now.

    Parameters
    ----------
    updates : dict or list of pairs
        Shared variable to next value, as a rule returns it.
    params : shared variable, or list of shared variables, optional
        The parameters to pull back. By default all floating-point variables of `updates` but
        those that the library made as state.
    every : int, optional
        Calls from one return to the next, > 0.
    alpha : float, symbolic scalar, shared variable or schedule, optional
        How far the slow parameters go towards the fast ones, in [0, 1].

    Returns
    -------
    OrderedDict
        A copy of `updates` with new next values for `params`, their slow copies and step.

    Raises
    ------
    ValueError, TypeError
        If `updates` is empty or no dictionary, does not change a parameter that was asked for, or
        an argument is out of range or of the wrong kind.

    See Also
    --------
    apply_ema : an average that leaves training alone.

    References
    ----------
    Zhang, Lucas, Hinton, Ba (2019), "Lookahead Optimizer: k steps forward, 1 step back",
    arXiv:1907.08610.

    Examples
    --------
    >>> import pytensor, updates
    >>> w = pytensor.shared(1.0, name="w")
    >>> slow = updates.apply_lookahead(updates.sgd(w**2, [w], 0.25), every=2, alpha=0.5)
    >>> step = pytensor.function([], updates=slow)
    >>> _ = step(), step()
    >>> float(w.get_value())
    0.625
    """
    call = transform_call("apply_lookahead", updates, params, every=every, alpha=alpha)
    returns = pt.eq((call.step + 1) % every, 0)
    for param, proposed, (alpha,) in call:
        slow = call.copy_of(param, "slow")
        slow_new = slow + alpha * (proposed - slow)
        call[slow] = pt.switch(returns, slow_new, slow)
        call[param] = pt.switch(returns, slow_new, proposed)
    return call.updates


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
    return _averages("averages", updates)


@contextmanager
def use_averages(updates: UpdatesLike) -> Iterator[None]:
    """Put the averages in the place of the parameters for the length of a ``with`` block.

    Parameters and averages swap their values on the way in and again on the way out, whatever
    happens inside; no array is copied. Evaluate inside, but do not train.

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
    pairs = _averages("use_averages", updates)
    _swap_values(pairs)
    try:
        yield
    finally:
        _swap_values(pairs)


def _averages(
    owner: str, updates: UpdatesLike
) -> OrderedDict[TensorSharedVariable, TensorSharedVariable]:
    found = OrderedDict(
        (provenance.of(variable).average_of, variable)
        for variable in checked_updates(owner, updates)
        if provenance.of(variable).average_of is not None
    )
    if not found:
        raise ValueError(
            f"{owner}: updates holds no averages; make them with apply_ema, or with a rule that "
            "averages such as asgd or schedule_free_sgd"
        )
    return found


def _swap_values(pairs: OrderedDict[TensorSharedVariable, TensorSharedVariable]) -> None:
    for first, second in pairs.items():
        value = first.get_value(borrow=True)
        first.set_value(second.get_value(borrow=True), borrow=True)
        second.set_value(value, borrow=True)
