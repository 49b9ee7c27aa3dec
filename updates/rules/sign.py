"""Rules that step along signs: every element moves by the same length.

- ``sign_sgd``: the sign of the gradient
- ``signum``: the sign of the mean gradient
- ``lion``: the sign of the mean gradient with more of the present one, and weight decay
"""

import pytensor.tensor as pt

from updates.arguments import LossOrGrads, Params
from updates.call import Updates, rule, rule_call
from updates.hyperparameters import REQUIRED, Hyperparameter


@rule
def sign_sgd(
    loss_or_grads: LossOrGrads | None = None,
    params: Params | None = None,
    learning_rate: Hyperparameter = REQUIRED,
) -> Updates:
    """Gradient descent along the sign of the gradient.

    ``p' = p - lr*sign(g)``

    An element whose gradient is zero stays.

    Parameters
    ----------
    loss_or_grads : symbolic scalar, or list of symbolic tensors
        A loss to differentiate, or one gradient a parameter. Without it and `params` the call
        is deferred.
    params : shared variable, or list of shared variables
        Floating-point parameters of any shapes and dtypes. ``W[index]`` stands for rows of a
        table ``W``; its other rows and their state rest.
    learning_rate : float, symbolic scalar, shared variable or schedule
        Length of the step of every element, finite and >= 0.

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
    signum : the sign of the mean gradient.
    rprop : with a step length for every element.

    References
    ----------
    Bernstein, Wang, Azizzadenesheli, Anandkumar (2018), "signSGD: Compressed Optimisation for
    Non-Convex Problems", arXiv:1802.04434.

    Examples
    --------
    >>> import pytensor
    >>> from updates import sign_sgd
    >>> w = pytensor.shared(1.0, name="w")
    >>> step = pytensor.function([], updates=sign_sgd(w**2, [w], learning_rate=0.01))
    >>> _ = step()
    >>> round(float(w.get_value()), 6)
    0.99
    """
    call = rule_call(sign_sgd, loss_or_grads, params, learning_rate)
    for param, grad, (learning_rate,) in call:
        call[param] = param - learning_rate * pt.sign(grad)
    return call.updates


@rule
def signum(
    loss_or_grads: LossOrGrads | None = None,
    params: Params | None = None,
    learning_rate: Hyperparameter = REQUIRED,
    momentum: Hyperparameter = 0.9,
) -> Updates:
    """Gradient descent along the sign of the mean gradient.

    - ``m' = mu*m + (1 - mu)*g``
    - ``p' = p - lr*sign(m')``

    Parameters
    ----------
    loss_or_grads : symbolic scalar, or list of symbolic tensors
        A loss to differentiate, or one gradient a parameter. Without it and `params` the call
        is deferred.
    params : shared variable, or list of shared variables
        Floating-point parameters of any shapes and dtypes. ``W[index]`` stands for rows of a
        table ``W``; its other rows and their state rest.
    learning_rate : float, symbolic scalar, shared variable or schedule
        Length of the step of every element, finite and >= 0.
    momentum : float, symbolic scalar, shared variable or schedule, optional
        Decay of the mean gradient, in [0, 1).

    Returns
    -------
    OrderedDict
        Shared variable to next value: mean and parameter.
        A `Deferred` when the call is deferred.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of the wrong kind, or loss, gradients and parameters do
        not fit; the message names it.

    See Also
    --------
    sign_sgd : without the mean.
    lion : with two decays and weight decay.

    References
    ----------
    Bernstein, Wang, Azizzadenesheli, Anandkumar (2018), "signSGD: Compressed Optimisation for
    Non-Convex Problems", arXiv:1802.04434, algorithm 2.

    Examples
    --------
    >>> import pytensor
    >>> from updates import signum
    >>> w = pytensor.shared(1.0, name="w")
    >>> step = pytensor.function([], updates=signum(w**2, [w], learning_rate=0.01))
    >>> _ = step()
    >>> round(float(w.get_value()), 6)
    0.99
    """
    call = rule_call(signum, loss_or_grads, params, learning_rate, momentum)
    for param, grad, (learning_rate, momentum) in call:
        mean = call.average(param, "mean", grad, momentum)
        call[param] = param - learning_rate * pt.sign(mean)
    return call.updates


@rule
def lion(
    loss_or_grads: LossOrGrads | None = None,
    params: Params | None = None,
    learning_rate: Hyperparameter = 1e-4,
    beta1: Hyperparameter = 0.9,
    beta2: Hyperparameter = 0.99,
    weight_decay: Hyperparameter = 1e-3,
) -> Updates:
    """Lion: the sign of an average that weighs the present gradient more than it is remembered.

    - ``p' = p - lr*(sign(b1*m + (1 - b1)*g) + wd*p)``
    - ``m' = b2*m + (1 - b2)*g``

    Steps are as long as the learning rate: three to ten times shorter than Adam's serve, with a
    weight decay as many times larger.

    Parameters
    ----------
    loss_or_grads : symbolic scalar, or list of symbolic tensors
        A loss to differentiate, or one gradient a parameter. Without it and `params` the call
        is deferred.
    params : shared variable, or list of shared variables
        Floating-point parameters of any shapes and dtypes. ``W[index]`` stands for rows of a
        table ``W``; its other rows and their state rest.
    learning_rate : float, symbolic scalar, shared variable or schedule, optional
        Length of the step of every element, finite and >= 0.
    beta1 : float, symbolic scalar, shared variable or schedule, optional
        Share of the mean in the direction, in [0, 1).
    beta2 : float, symbolic scalar, shared variable or schedule, optional
        Decay of the mean gradient, in [0, 1).
    weight_decay : float, symbolic scalar, shared variable or schedule, optional
        How much of the parameter itself is added to the direction, finite and >= 0.

    Returns
    -------
    OrderedDict
        Shared variable to next value: mean and parameter.
        A `Deferred` when the call is deferred.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of the wrong kind, or loss, gradients and parameters do
        not fit; the message names it.

    See Also
    --------
    signum : one decay, no weight decay.
    adamw : divides by the size instead of taking the sign.

    References
    ----------
    Chen et al. (2023), "Symbolic Discovery of Optimization Algorithms", arXiv:2302.06675.

    Examples
    --------
    >>> import pytensor
    >>> from updates import lion
    >>> w = pytensor.shared(1.0, name="w")
    >>> step = pytensor.function([], updates=lion(w**2, [w], learning_rate=0.01))
    >>> _ = step()
    >>> round(float(w.get_value()), 6)
    0.98999
    """
    call = rule_call(lion, loss_or_grads, params, learning_rate, beta1, beta2, weight_decay)
    for param, grad, (learning_rate, beta1, beta2, weight_decay) in call:
        mean = call.zeros_like(param, "mean")
        direction = pt.sign(beta1 * mean + (1 - beta1) * grad) + weight_decay * param
        call[mean] = beta2 * mean + (1 - beta2) * grad
        call[param] = param - learning_rate * direction
    return call.updates
