"""Gradient descent along a gradient that is changed on purpose.

- ``noisy_sgd``: by noise, which dies out
- ``optimistic_gradient_descent``: by a guess of how it will change
"""

import pytensor.tensor as pt

from updates.arguments import LossOrGrads, Params
from updates.call import Updates, rule, rule_call
from updates.hyperparameters import REQUIRED, Hyperparameter


@rule
def noisy_sgd(
    loss_or_grads: LossOrGrads | None = None,
    params: Params | None = None,
    learning_rate: Hyperparameter = REQUIRED,
    eta: Hyperparameter = 0.01,
    gamma: Hyperparameter = 0.55,
    seed: int = 0,
) -> Updates:
    """Gradient descent with noise on the gradients, which dies out.

    - ``s_t^2 = eta / t^gamma``
    - ``p' = p - lr*(g + s_t*n)``

    ``n`` is standard normal, drawn anew for every element at every call; ``t`` counts calls from 1.

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
    eta : float, symbolic scalar, shared variable or schedule, optional
        Variance of the noise at the first call, finite and >= 0.
    gamma : float, symbolic scalar, shared variable or schedule, optional
        How fast the variance falls, finite and >= 0; 0 keeps it.
    seed : int, optional
        Where the random numbers start, >= 0.

    Returns
    -------
    OrderedDict
        Shared variable to next value: generator, parameter and step.
        A `Deferred` when the call is deferred.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of the wrong kind, or loss, gradients and parameters do
        not fit; the message names it.

    See Also
    --------
    sgd : without the noise.

    References
    ----------
    Neelakantan et al. (2015), "Adding Gradient Noise Improves Learning for Very Deep Networks",
    arXiv:1511.06807; the clock and the defaults are optax's.

    Examples
    --------
    >>> import pytensor
    >>> from updates import noisy_sgd
    >>> w = pytensor.shared(1.0, name="w")
    >>> rule = noisy_sgd(w**2, [w], learning_rate=0.1, eta=0.0)
    >>> step = pytensor.function([], updates=rule)
    >>> _ = step()
    >>> round(float(w.get_value()), 6)
    0.8
    """
    call = rule_call(noisy_sgd, loss_or_grads, params, learning_rate, eta, gamma)
    for param, grad, (learning_rate, eta, gamma) in call:
        deviation = pt.sqrt(eta / call.time**gamma).astype(param.dtype)
        call[param] = param - learning_rate * (grad + deviation * call.normal(param, seed))
    return call.updates


@rule
def optimistic_gradient_descent(
    loss_or_grads: LossOrGrads | None = None,
    params: Params | None = None,
    learning_rate: Hyperparameter = REQUIRED,
    alpha: Hyperparameter = 1.0,
    beta: Hyperparameter = 1.0,
) -> Updates:
    """Optimistic gradient descent: the last change of the gradient is expected to come again.

    - ``p' = p - lr*(alpha*g + beta*(g - h))``
    - ``h' = g``

    ``h`` is the gradient of the call before; at the first call it is ``g``. The guess calms
    problems where one side descends and the other ascends, such as adversarial training.

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
    alpha : float, symbolic scalar, shared variable or schedule, optional
        Weight of the gradient, finite and >= 0.
    beta : float, symbolic scalar, shared variable or schedule, optional
        Weight of its change, finite and >= 0; 0 leaves `sgd`.

    Returns
    -------
    OrderedDict
        Shared variable to next value: previous_gradient, parameter and step.
        A `Deferred` when the call is deferred.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of the wrong kind, or loss, gradients and parameters do
        not fit; the message names it.

    See Also
    --------
    sgd : without the guess.
    nesterov_momentum : looks ahead along a velocity.

    References
    ----------
    Popov (1980), "A modification of the Arrow-Hurwicz method for search of saddle points",
    Mathematical Notes 28; Mokhtari, Ozdaglar, Pattathil (2019), "A Unified Analysis of
    Extra-gradient and Optimistic Gradient Methods for Saddle Point Problems", arXiv:1901.08511,
    for the two weights; the first call is optax's.

    Examples
    --------
    >>> import pytensor
    >>> from updates import optimistic_gradient_descent
    >>> w = pytensor.shared(1.0, name="w")
    >>> rule = optimistic_gradient_descent(w**2, [w], learning_rate=0.1)
    >>> step = pytensor.function([], updates=rule)
    >>> _ = step(), step()
    >>> round(float(w.get_value()), 6)
    0.68
    """
    call = rule_call(optimistic_gradient_descent, loss_or_grads, params, learning_rate, alpha, beta)
    for param, grad, (learning_rate, alpha, beta) in call:
        previous = call.zeros_like(param, "previous_gradient")
        change = pt.switch(pt.eq(call.step, 0), 0, grad - previous)
        call[previous] = grad
        call[param] = param - learning_rate * (alpha * grad + beta * change)
    return call.updates
