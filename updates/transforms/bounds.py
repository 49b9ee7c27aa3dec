"""What happens to parameters after their step: decay, and bounds that they keep.

- ``apply_weight_decay``: pull them towards zero, outside the rule
- ``apply_norm_constraint``: bound the norm of each unit's weights
- ``apply_bounds``: keep every element between two values
"""

from collections.abc import Sequence
from numbers import Real

import pytensor.tensor as pt

from updates.arguments import Params, is_float_tensor
from updates.call import Updates, UpdatesLike, checked_updates, transform_call
from updates.gradients import norm_constraint
from updates.gradients.constraints import unit_axes
from updates.hyperparameters import REQUIRED, Hyperparameter
from updates.state import is_state


def apply_weight_decay(
    updates: UpdatesLike, params: Params | None = None, weight_decay: Hyperparameter = 1e-4
) -> Updates:
    """Pull parameters towards zero beside their step: decoupled weight decay.

    ``p' = updates[p] - wd*p``

    The rule never sees the decay. AdamW's decay is ``learning_rate * weight_decay`` here.

    Parameters
    ----------
    updates : dict or list of pairs
        Shared variable to next value, as a rule returns it.
    params : shared variable, or list of shared variables, optional
        The parameters to decay. By default all floating-point variables of `updates` but those
        that the library made as state; name them to leave out biases.
    weight_decay : float, symbolic scalar, shared variable or schedule, optional
        The part of a parameter that it loses in each call, finite and >= 0.

    Returns
    -------
    OrderedDict
        A copy of `updates` with new next values for `params`.

    Raises
    ------
    ValueError, TypeError
        If `updates` is empty or no dictionary, does not change a parameter that was asked for, or
        `weight_decay` is out of range or of the wrong kind.

    See Also
    --------
    add_weight_decay : in the gradients, before the rule (L2 regularisation).

    References
    ----------
    Loshchilov, Hutter (2017), "Decoupled Weight Decay Regularization", arXiv:1711.05101.

    Examples
    --------
    >>> import pytensor, updates
    >>> w = pytensor.shared(1.0, name="w")
    >>> decayed = updates.apply_weight_decay(updates.sgd(w**2, [w], 0.1), weight_decay=0.05)
    >>> step = pytensor.function([], updates=decayed)
    >>> _ = step()
    >>> round(float(w.get_value()), 6)
    0.75
    """
    call = transform_call("apply_weight_decay", updates, params, weight_decay=weight_decay)
    for param, proposed, (weight_decay,) in call:
        call[param] = proposed - weight_decay * param
    return call.updates


def apply_norm_constraint(
    updates: UpdatesLike,
    params: Params | None = None,
    max_norm: Hyperparameter = REQUIRED,
    norm_axes: Sequence[int] | None = None,
    epsilon: Hyperparameter = 1e-7,
) -> Updates:
    """Bound the norm of each unit's weights after the step (max-norm regularisation).

    ``p' = norm_constraint(updates[p], max_norm)``

    Parameters
    ----------
    updates : dict or list of pairs
        Shared variable to next value, as a rule returns it.
    params : shared variable, or list of shared variables, optional
        The parameters to constrain. By default those of 2 to 5 dimensions that the library did
        not make as state: weights, and not biases.
    max_norm : float, symbolic scalar, shared variable or schedule
        The bound, finite and >= 0.
    norm_axes : sequence of int, optional
        The axes that a norm sums over, as in `norm_constraint`.
    epsilon : float, symbolic scalar, shared variable or schedule, optional
        Keeps the division away from zero, finite and >= 0.

    Returns
    -------
    OrderedDict
        A copy of `updates` with new next values for `params`.

    Raises
    ------
    ValueError, TypeError
        If `updates` is empty or no dictionary, does not change a parameter that was asked for, or
        an argument is out of range or of the wrong kind.

    See Also
    --------
    norm_constraint : the same for one tensor.

    References
    ----------
    Srivastava et al. (2014), "Dropout: A Simple Way to Prevent Neural Networks from
    Overfitting", JMLR 15.

    Examples
    --------
    >>> import numpy as np, pytensor, updates
    >>> w = pytensor.shared(np.array([[3.0, 0.3], [4.0, 0.4]]), name="w")
    >>> plain = updates.sgd((w**2).sum(), [w], learning_rate=0.0)
    >>> step = pytensor.function([], updates=updates.apply_norm_constraint(plain, max_norm=1.0))
    >>> _ = step()
    >>> w.get_value().round(3)
    array([[0.6, 0.3],
           [0.8, 0.4]])
    """
    owner = "apply_norm_constraint"
    copy = checked_updates(owner, updates)
    if params is None:
        params = [v for v in copy if is_float_tensor(v) and not is_state(v) and 2 <= v.ndim <= 5]
    call = transform_call(owner, copy, params, max_norm=max_norm, epsilon=epsilon)
    for param, proposed, (max_norm, epsilon) in call:
        axes = unit_axes(owner, proposed, norm_axes)
        call[param] = norm_constraint(proposed, max_norm, axes, epsilon)
    return call.updates


def apply_bounds(
    updates: UpdatesLike,
    params: Params | None = None,
    low: Hyperparameter | None = None,
    high: Hyperparameter | None = None,
) -> Updates:
    """Keep every element of the parameters between two bounds: projected steps.

    ``p' = min(max(updates[p], low), high)``

    Parameters
    ----------
    updates : dict or list of pairs
        Shared variable to next value, as a rule returns it.
    params : shared variable, or list of shared variables, optional
        The parameters to bound. By default all floating-point variables of `updates` but those
        that the library made as state.
    low, high : float, symbolic scalar, shared variable or schedule, optional
        The bounds, finite; at least one of them, and ``low <= high``.

    Returns
    -------
    OrderedDict
        A copy of `updates` with new next values for `params`. A NaN stays NaN.

    Raises
    ------
    ValueError, TypeError
        If `updates` is empty or no dictionary, does not change a parameter that was asked for,
        both bounds are missing, or they are out of order or of the wrong kind.

    See Also
    --------
    apply_norm_constraint : bounds a norm instead.

    References
    ----------
    Goldstein (1964), "Convex programming in Hilbert space", Bulletin of the AMS 70(5).

    Examples
    --------
    >>> import pytensor, updates
    >>> w = pytensor.shared(1.0, name="w")
    >>> plain = updates.sgd((w + 1) ** 2, [w], learning_rate=0.4)
    >>> step = pytensor.function([], updates=updates.apply_bounds(plain, low=0))
    >>> _ = step()
    >>> float(w.get_value())
    0.0
    """
    owner = "apply_bounds"
    if low is None and high is None:
        raise ValueError(f"{owner}: low and high are both missing, give at least one of them")
    call = transform_call(owner, updates, params, low=low, high=high)
    if isinstance(low, Real) and isinstance(high, Real) and low > high:
        raise ValueError(f"{owner}: low must be <= high, got low={low} and high={high}")
    for param, proposed, (low, high) in call:
        if low is not None:
            proposed = pt.maximum(proposed, low)
        if high is not None:
            proposed = pt.minimum(proposed, high)
        call[param] = proposed
    return call.updates
