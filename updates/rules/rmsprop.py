"""Rules that divide each step by a moving average of the gradient's size.

- ``rmsprop``: by the root of the mean square
- ``deepmind_rmsprop``: by the standard deviation, the mean being taken out
- ``graves_rmsprop``: the same, told by a halflife, with momentum on the step
"""

from numbers import Real

import pytensor.tensor as pt
from pytensor.tensor.sharedvar import TensorSharedVariable
from pytensor.tensor.variable import TensorVariable

from updates.arguments import LossOrGrads, Params
from updates.call import Call, Updates, rule, rule_call
from updates.hyperparameters import Hyperparameter


@rule
def rmsprop(
    loss_or_grads: LossOrGrads | None = None,
    params: Params | None = None,
    learning_rate: Hyperparameter = 1.0,
    rho: Hyperparameter = 0.9,
    epsilon: Hyperparameter = 1e-6,
    max_scaling: Hyperparameter | None = None,
) -> Updates:
    """RMSProp: steps divided by the root of the mean square of recent gradients.

    - ``a' = rho*a + (1 - rho)*g^2``
    - ``p' = p - lr*g / sqrt(a' + eps)``

    With `max_scaling` the divisor is ``max(sqrt(a' + eps), 1 / max_scaling)``.

    Parameters
    ----------
    loss_or_grads : symbolic scalar, or list of symbolic tensors
        A loss to differentiate, or one gradient a parameter. Without it and `params` the call
        is deferred.
    params : shared variable, or list of shared variables
        Floating-point parameters of any shapes and dtypes. ``W[index]`` stands for rows of a
        table ``W``; its other rows and their state rest.
    learning_rate : float, symbolic scalar, shared variable or schedule, optional
        Factor of the step, finite and >= 0. About the length of the
        step of every element: 1 is Lasagne's default, 0.001 the usual choice.
    rho : float, symbolic scalar, shared variable or schedule, optional
        Decay of the moving averages, in [0, 1).
    epsilon : float, symbolic scalar, shared variable or schedule, optional
        Keeps the division away from zero, finite and >= 0.
    max_scaling : float, symbolic scalar, shared variable or schedule, optional
        By how much a small gradient is scaled up at most, finite and > 0. None is without limit.

    Returns
    -------
    OrderedDict
        Shared variable to next value: mean_square and parameter.
        A `Deferred` when the call is deferred.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of the wrong kind, or loss, gradients and parameters do
        not fit; the message names it.

    See Also
    --------
    deepmind_rmsprop : takes the mean gradient out of the mean square.
    adagrad : sums instead of averaging.
    adam : averages the gradient as well.

    References
    ----------
    Tieleman, Hinton (2012), "Lecture 6.5: rmsprop", COURSERA: Neural Networks for Machine
    Learning; epsilon under the root as in Lasagne. Blocks' rule is ``epsilon=0, max_scaling=1e5``.

    Examples
    --------
    >>> import pytensor
    >>> from updates import rmsprop
    >>> w = pytensor.shared(1.0, name="w")
    >>> step = pytensor.function([], updates=rmsprop(w**2, [w], learning_rate=0.01))
    >>> _ = step()
    >>> round(float(w.get_value()), 6)
    0.968377
    """
    call = rule_call(rmsprop, loss_or_grads, params, learning_rate, rho, epsilon, max_scaling)
    for param, grad, (learning_rate, rho, epsilon, max_scaling) in call:
        size = pt.sqrt(call.average(param, "mean_square", grad**2, rho) + epsilon)
        if max_scaling is not None:
            size = pt.maximum(size, 1 / max_scaling)
        call[param] = param - learning_rate * grad / size
    return call.updates


@rule
def deepmind_rmsprop(
    loss_or_grads: LossOrGrads | None = None,
    params: Params | None = None,
    learning_rate: Hyperparameter = 0.00025,
    rho: Hyperparameter = 0.95,
    epsilon: Hyperparameter = 0.01,
) -> Updates:
    """DeepMind's RMSProp: steps divided by the standard deviation of recent gradients.

    - ``m' = rho*m + (1 - rho)*g``
    - ``a' = rho*a + (1 - rho)*g^2``
    - ``p' = p - lr*g / sqrt(max(a' - m'^2, 0) + eps)``

    The ``max`` only removes negative rounding: a variance is not negative.

    Parameters
    ----------
    loss_or_grads : symbolic scalar, or list of symbolic tensors
        A loss to differentiate, or one gradient a parameter. Without it and `params` the call
        is deferred.
    params : shared variable, or list of shared variables
        Floating-point parameters of any shapes and dtypes. ``W[index]`` stands for rows of a
        table ``W``; its other rows and their state rest.
    learning_rate : float, symbolic scalar, shared variable or schedule, optional
        Factor of the step, finite and >= 0.
    rho : float, symbolic scalar, shared variable or schedule, optional
        Decay of the moving averages, in [0, 1).
    epsilon : float, symbolic scalar, shared variable or schedule, optional
        Keeps the division away from zero, finite and >= 0.

    Returns
    -------
    OrderedDict
        Shared variable to next value: mean, mean_square and parameter.
        A `Deferred` when the call is deferred.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of the wrong kind, or loss, gradients and parameters do
        not fit; the message names it.

    See Also
    --------
    rmsprop : the mean stays in.
    graves_rmsprop : told by a halflife, with momentum.

    References
    ----------
    Mnih et al. (2015), "Human-level control through deep reinforcement learning", Nature 518,
    and the code published with it; Graves (2013), arXiv:1308.0850, equations 38 to 45.

    Examples
    --------
    >>> import pytensor
    >>> from updates import deepmind_rmsprop
    >>> w = pytensor.shared(1.0, name="w")
    >>> step = pytensor.function([], updates=deepmind_rmsprop(w**2, [w], learning_rate=0.01))
    >>> _ = step()
    >>> round(float(w.get_value()), 6)
    0.955279
    """
    call = rule_call(deepmind_rmsprop, loss_or_grads, params, learning_rate, rho, epsilon)
    for param, grad, (learning_rate, rho, epsilon) in call:
        variance_new = _centred(call, param, grad, rho)
        call[param] = param - learning_rate * grad / pt.sqrt(variance_new + epsilon)
    return call.updates


@rule
def graves_rmsprop(
    loss_or_grads: LossOrGrads | None = None,
    params: Params | None = None,
    learning_rate: Hyperparameter = 1e-4,
    halflife: Hyperparameter = 14,
    epsilon: Hyperparameter = 1e-8,
    momentum: Hyperparameter = 0,
    nesterov: bool = False,
) -> Updates:
    """Graves' RMSProp: as DeepMind's, told by a halflife and with momentum on the step.

    - ``rho = exp(-ln(2) / halflife)``
    - ``m' = rho*m + (1 - rho)*g``
    - ``a' = rho*a + (1 - rho)*g^2``
    - ``d = -lr*g / sqrt(max(a' - m'^2, 0) + eps)``
    - ``v' = mu*v + d``
    - ``p' = p + v'         (nesterov: p' = p + mu*v' + d)``

    Parameters
    ----------
    loss_or_grads : symbolic scalar, or list of symbolic tensors
        A loss to differentiate, or one gradient a parameter. Without it and `params` the call
        is deferred.
    params : shared variable, or list of shared variables
        Floating-point parameters of any shapes and dtypes. ``W[index]`` stands for rows of a
        table ``W``; its other rows and their state rest.
    learning_rate : float, symbolic scalar, shared variable or schedule, optional
        Factor of the step, finite and >= 0.
    halflife : float, symbolic scalar, shared variable or schedule, optional
        Calls after which a gradient counts half in the averages, finite and > 0.
    epsilon : float, symbolic scalar, shared variable or schedule, optional
        Keeps the division away from zero, finite and >= 0.
    momentum : float, symbolic scalar, shared variable or schedule, optional
        How much of the velocity is kept, in [0, 1).
    nesterov : bool, optional
        Whether the momentum is that of `apply_nesterov_momentum`.

    Returns
    -------
    OrderedDict
        Shared variable to next value: mean, mean_square, parameter, and velocity unless
        momentum is the number 0.
        A `Deferred` when the call is deferred.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of the wrong kind, or loss, gradients and parameters do
        not fit; the message names it.

    See Also
    --------
    deepmind_rmsprop : told by rho, without momentum.

    References
    ----------
    Graves (2013), "Generating Sequences With Recurrent Neural Networks", arXiv:1308.0850,
    equations 38 to 45; names and defaults are those of downhill's RMSProp (2015), whose nesterov
    flag stores another velocity.

    Examples
    --------
    >>> import pytensor
    >>> from updates import graves_rmsprop
    >>> w = pytensor.shared(1.0, name="w")
    >>> step = pytensor.function([], updates=graves_rmsprop(w**2, [w], learning_rate=0.01))
    >>> _ = step()
    >>> round(float(w.get_value()), 6)
    0.95336
    """
    call = rule_call(
        graves_rmsprop, loss_or_grads, params, learning_rate, halflife, epsilon, momentum
    )
    has_momentum = not (isinstance(momentum, Real) and momentum == 0)
    for param, grad, (learning_rate, halflife, epsilon, momentum) in call:
        rho = 2 ** (-1 / halflife)
        variance_new = _centred(call, param, grad, rho)
        step = -learning_rate * grad / pt.sqrt(variance_new + epsilon)
        if not has_momentum:
            call[param] = param + step
            continue
        velocity = call.zeros_like(param, "velocity")
        velocity_new = momentum * velocity + step
        call[velocity] = velocity_new
        call[param] = param + (momentum * velocity_new + step if nesterov else velocity_new)
    return call.updates


def _centred(
    call: Call, param: TensorSharedVariable, grad: TensorVariable, rho: TensorVariable
) -> TensorVariable:
    """Update the means of the gradient and of its square, and return the new variance."""
    mean = call.average(param, "mean", grad, rho)
    mean_square = call.average(param, "mean_square", grad**2, rho)
    return pt.maximum(mean_square - mean**2, 0)
