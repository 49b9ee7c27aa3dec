"""Momentum on the steps of any dictionary of updates.

- ``apply_momentum``: along the new velocity
- ``apply_nesterov_momentum``: along the velocity that the next call will have
"""

from updates.arguments import Params
from updates.call import Updates, UpdatesLike, transform_call
from updates.hyperparameters import Hyperparameter


def apply_momentum(
    updates: UpdatesLike, params: Params | None = None, momentum: Hyperparameter = 0.9
) -> Updates:
    """Add momentum to the steps of any dictionary of updates.

    - ``v' = mu*v + (updates[p] - p)``
    - ``p' = p + v'``

    Parameters
    ----------
    updates : dict or list of pairs
        Shared variable to next value, as a rule returns it.
    params : shared variable, or list of shared variables, optional
        The parameters to give momentum to. By default all floating-point variables of `updates`
        but those that the library made as state. Name the parameters when `updates` also holds
        floating-point variables of your own that should not get it, running means for instance.
    momentum : float, symbolic scalar, shared variable or schedule, optional
        How much of the velocity is kept, in [0, 1).

    Returns
    -------
    OrderedDict
        A copy of `updates` with new next values for `params`, and their velocities.

    Raises
    ------
    ValueError
        If `updates` is empty, gives a variable twice or does not change a parameter that was
        asked for, or if `momentum` is out of range.
    TypeError
        If an argument is of the wrong kind.

    See Also
    --------
    momentum : the same for `sgd`, in one call.
    apply_nesterov_momentum : the step looks one call ahead.

    References
    ----------
    Polyak (1964), "Some methods of speeding up the convergence of iteration methods", USSR
    Computational Mathematics and Mathematical Physics 4(5); this form is Lasagne's.

    Examples
    --------
    >>> import pytensor, updates
    >>> w = pytensor.shared(1.0, name="w")
    >>> rule = updates.apply_momentum(updates.rmsprop(w**2, [w], learning_rate=0.01))
    >>> step = pytensor.function([], updates=rule)
    >>> _ = step(), step()
    >>> round(float(w.get_value()), 6)
    0.917328
    """
    call = transform_call("apply_momentum", updates, params, momentum=momentum)
    for param, proposed, (momentum,) in call:
        velocity = call.zeros_like(param, "velocity")
        velocity_new = momentum * velocity + (proposed - param)
        call[velocity] = velocity_new
        call[param] = param + velocity_new
    return call.updates


def apply_nesterov_momentum(
    updates: UpdatesLike, params: Params | None = None, momentum: Hyperparameter = 0.9
) -> Updates:
    """Add Nesterov's momentum to the steps of any dictionary of updates.

    - ``v' = mu*v + (updates[p] - p)``
    - ``p' = updates[p] + mu*v'``

    Parameters
    ----------
    updates : dict or list of pairs
        Shared variable to next value, as a rule returns it.
    params : shared variable, or list of shared variables, optional
        The parameters to give momentum to. By default all floating-point variables of `updates`
        but those that the library made as state.
    momentum : float, symbolic scalar, shared variable or schedule, optional
        How much of the velocity is kept, in [0, 1).

    Returns
    -------
    OrderedDict
        A copy of `updates` with new next values for `params`, and their velocities.

    Raises
    ------
    ValueError
        If `updates` is empty, gives a variable twice or does not change a parameter that was
        asked for, or if `momentum` is out of range.
    TypeError
        If an argument is of the wrong kind.

    See Also
    --------
    nesterov_momentum : the same for `sgd`, in one call.
    apply_momentum : the step along the new velocity itself.

    References
    ----------
    Sutskever et al. (2013), "On the importance of initialization and momentum in deep
    learning", ICML; this form is Lasagne's.

    Examples
    --------
    >>> import pytensor, updates
    >>> w = pytensor.shared(1.0, name="w")
    >>> rule = updates.apply_nesterov_momentum(updates.rmsprop(w**2, [w], learning_rate=0.01))
    >>> step = pytensor.function([], updates=rule)
    >>> _ = step()
    >>> round(float(w.get_value()), 6)
    0.939917
    """
    call = transform_call("apply_nesterov_momentum", updates, params, momentum=momentum)
    for param, proposed, (momentum,) in call:
        velocity = call.zeros_like(param, "velocity")
        velocity_new = momentum * velocity + (proposed - param)
        call[velocity] = velocity_new
        call[param] = proposed + momentum * velocity_new
    return call.updates
