"""Gradient descent and its momentum forms.

- ``sgd``: along the gradient
- ``momentum`` (also ``momentum_updates``): along a velocity, a decaying sum of gradients
- ``gradient_updates_momentum``: along the average gradient of the calls before
- ``nesterov_momentum``: along the velocity that the next call will have
"""

from updates.arguments import LossOrGrads, Params
from updates.call import Updates, rule, rule_call
from updates.hyperparameters import REQUIRED, Hyperparameter


@rule
def sgd(
    loss_or_grads: LossOrGrads | None = None,
    params: Params | None = None,
    learning_rate: Hyperparameter = REQUIRED,
) -> Updates:
    """Stochastic gradient descent.

    ``p' = p - lr*g``

    Parameters
    ----------
    loss_or_grads : symbolic scalar, or list of symbolic tensors
        A loss to differentiate, or one gradient a parameter. Without it and `params` the call
        is deferred.
    params : shared variable, or list of shared variables
        Floating-point parameters of any shapes and dtypes. ``W[index]`` stands for rows of a
        table ``W``; its other rows and their state rest.
    learning_rate : float, symbolic scalar, shared variable or schedule
        Factor of the step, finite and >= 0.

    Returns
    -------
    OrderedDict
        Shared variable to next value.
        A `Deferred` when the call is deferred.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of the wrong kind, or loss, gradients and parameters do
        not fit; the message names it.

    See Also
    --------
    momentum : the same with a velocity.

    References
    ----------
    Robbins, Monro (1951), "A Stochastic Approximation Method", Annals of Mathematical
    Statistics 22.

    Examples
    --------
    >>> import pytensor
    >>> from updates import sgd
    >>> w = pytensor.shared(1.0, name="w")
    >>> step = pytensor.function([], updates=sgd(w**2, [w], learning_rate=0.1))
    >>> _ = step()
    >>> round(float(w.get_value()), 6)
    0.8
    """
    call = rule_call(sgd, loss_or_grads, params, learning_rate)
    for param, grad, (learning_rate,) in call:
        call[param] = param - learning_rate * grad
    return call.updates


@rule
def momentum(
    loss_or_grads: LossOrGrads | None = None,
    params: Params | None = None,
    learning_rate: Hyperparameter = REQUIRED,
    momentum: Hyperparameter = 0.9,
    rate_in_velocity: bool = True,
) -> Updates:
    """Gradient descent with momentum.

    - ``v' = mu*v - lr*g``
    - ``p' = p + v'``

    The velocity starts at zero. The parameter moves by the new velocity, whatever the order of the
    items: the new value is written into the formula. Steps grow up to ``1 / (1 - mu)`` times those
    of `sgd`; scale the learning rate by ``1 - mu`` to keep their size. `momentum_updates` is the
    same function.

    Parameters
    ----------
    loss_or_grads : symbolic scalar, or list of symbolic tensors
        A loss to differentiate, or one gradient a parameter. Without it and `params` the call
        is deferred.
    params : shared variable, or list of shared variables
        Floating-point parameters of any shapes and dtypes. ``W[index]`` stands for rows of a
        table ``W``; its other rows and their state rest.
    learning_rate : float, symbolic scalar, shared variable or schedule
        Factor of the step, finite and >= 0.
    momentum : float, symbolic scalar, shared variable or schedule, optional
        How much of the velocity is kept, in [0, 1).
    rate_in_velocity : bool, optional
        Whether the velocity adds up steps, or gradients that the present learning rate multiplies,
        as in PyTorch and optax: ``v' = mu*v + g; p' = p - lr*v'``. The two differ only while the
        learning rate changes.

    Returns
    -------
    OrderedDict
        Shared variable to next value: velocity and parameter.
        A `Deferred` when the call is deferred.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of the wrong kind, or loss, gradients and parameters do
        not fit; the message names it.

    See Also
    --------
    nesterov_momentum : the step looks one call ahead.
    gradient_updates_momentum : the form of the Theano tutorial.
    apply_momentum : momentum for any dictionary of updates.

    References
    ----------
    Polyak (1964), "Some methods of speeding up the convergence of iteration methods", USSR
    Computational Mathematics and Mathematical Physics 4(5); this scaling is Lasagne's.

    Examples
    --------
    >>> import pytensor
    >>> from updates import momentum
    >>> w = pytensor.shared(1.0, name="w")
    >>> rule = momentum(w**2, [w], learning_rate=0.1, momentum=0.9)
    >>> step = pytensor.function([], updates=rule)
    >>> _ = step(), step()
    >>> round(float(w.get_value()), 6)
    0.46
    """
    # The alias names this function here: the argument hides its own name.
    call = rule_call(momentum_updates, loss_or_grads, params, learning_rate, momentum)
    for param, grad, (learning_rate, momentum) in call:
        velocity = call.zeros_like(param, "velocity")
        if rate_in_velocity:
            velocity_new = momentum * velocity - learning_rate * grad
            step = velocity_new
        else:
            velocity_new = momentum * velocity + grad
            step = -learning_rate * velocity_new
        call[velocity] = velocity_new
        call[param] = param + step
    return call.updates


momentum_updates = momentum


@rule
def gradient_updates_momentum(
    loss_or_grads: LossOrGrads | None = None,
    params: Params | None = None,
    learning_rate: Hyperparameter = REQUIRED,
    momentum: Hyperparameter = REQUIRED,
) -> Updates:
    """Gradient descent along the average gradient of the calls before.

    - ``p' = p - lr*v``
    - ``v' = mu*v + (1 - mu)*g``

    The step lags one call: the parameter moves by the old average, so the first call leaves it
    where it is, and the walk settles only while `learning_rate` times the curvature is below 1.

    Parameters
    ----------
    loss_or_grads : symbolic scalar, or list of symbolic tensors
        A loss to differentiate, or one gradient a parameter. Without it and `params` the call
        is deferred.
    params : shared variable, or list of shared variables
        Floating-point parameters of any shapes and dtypes. ``W[index]`` stands for rows of a
        table ``W``; its other rows and their state rest.
    learning_rate : float, symbolic scalar, shared variable or schedule
        Factor of the step, finite and >= 0.
    momentum : float, symbolic scalar, shared variable or schedule
        How much of the velocity is kept, in [0, 1).

    Returns
    -------
    OrderedDict
        Shared variable to next value: parameter and velocity.
        A `Deferred` when the call is deferred.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of the wrong kind, or loss, gradients and parameters do
        not fit; the message names it.

    See Also
    --------
    momentum : without the lag; ``momentum(lr*(1 - mu), mu)`` is this rule but for the lag.

    References
    ----------
    The Theano tutorial "Machine Learning with Theano" (Lisa lab, 2014), function
    ``gradient_updates_momentum``.

    Examples
    --------
    >>> import pytensor
    >>> from updates import gradient_updates_momentum
    >>> w = pytensor.shared(1.0, name="w")
    >>> rule = gradient_updates_momentum(w**2, [w], learning_rate=0.1, momentum=0.9)
    >>> step = pytensor.function([], updates=rule)
    >>> _ = step(), step()
    >>> round(float(w.get_value()), 6)
    0.98
    """
    call = rule_call(gradient_updates_momentum, loss_or_grads, params, learning_rate, momentum)
    for param, grad, (learning_rate, momentum) in call:
        velocity = call.zeros_like(param, "velocity")
        call[param] = param - learning_rate * velocity
        call[velocity] = momentum * velocity + (1 - momentum) * grad
    return call.updates


@rule
def nesterov_momentum(
    loss_or_grads: LossOrGrads | None = None,
    params: Params | None = None,
    learning_rate: Hyperparameter = REQUIRED,
    momentum: Hyperparameter = 0.9,
    rate_in_velocity: bool = True,
) -> Updates:
    """Gradient descent with Nesterov's momentum.

    - ``v' = mu*v - lr*g``
    - ``p' = p + mu*v' - lr*g``

    The form in which the gradient is taken at the parameters themselves, which stand for the
    looked-ahead point of the classic form.

    Parameters
    ----------
    loss_or_grads : symbolic scalar, or list of symbolic tensors
        A loss to differentiate, or one gradient a parameter. Without it and `params` the call
        is deferred.
    params : shared variable, or list of shared variables
        Floating-point parameters of any shapes and dtypes. ``W[index]`` stands for rows of a
        table ``W``; its other rows and their state rest.
    learning_rate : float, symbolic scalar, shared variable or schedule
        Factor of the step, finite and >= 0.
    momentum : float, symbolic scalar, shared variable or schedule, optional
        How much of the velocity is kept, in [0, 1).
    rate_in_velocity : bool, optional
        Whether the velocity adds up steps, or gradients that the present learning rate multiplies,
        as in PyTorch and optax: ``v' = mu*v + g; p' = p - lr*(mu*v' + g)``. The two differ only
        while the learning rate changes.

    Returns
    -------
    OrderedDict
        Shared variable to next value: velocity and parameter.
        A `Deferred` when the call is deferred.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of the wrong kind, or loss, gradients and parameters do
        not fit; the message names it.

    See Also
    --------
    momentum : the step along the new velocity itself.
    apply_nesterov_momentum : the same for any dictionary of updates.

    References
    ----------
    Nesterov (1983), "A method for solving the convex programming problem with convergence rate
    O(1/k^2)", Doklady AN SSSR 269; Sutskever et al. (2013), "On the importance of initialization
    and momentum in deep learning", ICML; this form is Lasagne's.

    Examples
    --------
    >>> import pytensor
    >>> from updates import nesterov_momentum
    >>> w = pytensor.shared(1.0, name="w")
    >>> rule = nesterov_momentum(w**2, [w], learning_rate=0.1, momentum=0.9)
    >>> step = pytensor.function([], updates=rule)
    >>> _ = step()
    >>> round(float(w.get_value()), 6)
    0.62
    """
    call = rule_call(nesterov_momentum, loss_or_grads, params, learning_rate, momentum)
    for param, grad, (learning_rate, momentum) in call:
        velocity = call.zeros_like(param, "velocity")
        if rate_in_velocity:
            velocity_new = momentum * velocity - learning_rate * grad
            step = momentum * velocity_new - learning_rate * grad
        else:
            velocity_new = momentum * velocity + grad
            step = -learning_rate * (momentum * velocity_new + grad)
        call[velocity] = velocity_new
        call[param] = param + step
    return call.updates
