"""Adam and its relatives: averages of the gradient and of its size, corrected for their start.

- ``adam``: the size is the root of the mean square
- ``adamax``: the size is a decaying maximum
- ``amsgrad``: the size never shrinks

``t`` counts calls from 1. It is an int64 variable, and what depends on it is computed in
float64, so that float32 parameters take full-precision steps from the first call on.
"""

import pytensor.tensor as pt
from pytensor.tensor.variable import TensorVariable

from updates.arguments import LossOrGrads, Params
from updates.call import Call, Updates, rule, rule_call
from updates.hyperparameters import Hyperparameter


@rule
def adam(
    loss_or_grads: LossOrGrads | None = None,
    params: Params | None = None,
    learning_rate: Hyperparameter = 0.001,
    beta1: Hyperparameter = 0.9,
    beta2: Hyperparameter = 0.999,
    epsilon: Hyperparameter = 1e-8,
) -> Updates:
    """Adam: the mean gradient divided by the root of the mean squared gradient.

    - ``m' = b1*m + (1 - b1)*g``
    - ``v' = b2*v + (1 - b2)*g^2``
    - ``lr_t = lr * sqrt(1 - b2^t) / (1 - b1^t)``
    - ``p' = p - lr_t*m' / (sqrt(v') + eps)``

    This is Lasagne's form. PyTorch and optax add epsilon to the root of the corrected second
    moment; their Adam is `adamw` with ``weight_decay=0``.

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
    beta1 : float, symbolic scalar, shared variable or schedule, optional
        Decay of the first moment, in [0, 1).
    beta2 : float, symbolic scalar, shared variable or schedule, optional
        Decay of the second moment, in [0, 1).
    epsilon : float, symbolic scalar, shared variable or schedule, optional
        Keeps the division away from zero, finite and >= 0.

    Returns
    -------
    OrderedDict
        Shared variable to next value: first_moment, second_moment, parameter and step.
        A `Deferred` when the call is deferred.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of the wrong kind, or loss, gradients and parameters do
        not fit; the message names it.

    See Also
    --------
    adamw : with weight decay, and with the epsilon of PyTorch and optax.
    adamax : the size from a decaying maximum.
    amsgrad : the size never shrinks.
    rmsprop : without the mean of the gradient and without the correction.

    References
    ----------
    Kingma, Ba (2014), "Adam: A Method for Stochastic Optimization", arXiv:1412.6980; epsilon
    is outside the root and not corrected, as in Lasagne and at the end of the paper's section 2.

    Examples
    --------
    >>> import pytensor
    >>> from updates import adam
    >>> w = pytensor.shared(1.0, name="w")
    >>> step = pytensor.function([], updates=adam(w**2, [w], learning_rate=0.01))
    >>> _ = step()
    >>> round(float(w.get_value()), 6)
    0.99
    """
    call = rule_call(adam, loss_or_grads, params, learning_rate, beta1, beta2, epsilon)
    for param, grad, (learning_rate, beta1, beta2, epsilon) in call:
        first_moment = call.average(param, "first_moment", grad, beta1)
        second_moment = call.average(param, "second_moment", grad**2, beta2)
        rate = _corrected_rate(call, learning_rate, beta1, beta2)
        call[param] = param - rate * first_moment / (pt.sqrt(second_moment) + epsilon)
    return call.updates


@rule
def adamax(
    loss_or_grads: LossOrGrads | None = None,
    params: Params | None = None,
    learning_rate: Hyperparameter = 0.002,
    beta1: Hyperparameter = 0.9,
    beta2: Hyperparameter = 0.999,
    epsilon: Hyperparameter = 1e-8,
) -> Updates:
    """AdaMax: the mean gradient divided by a decaying maximum of its absolute value.

    - ``m' = b1*m + (1 - b1)*g``
    - ``u' = max(b2*u, abs(g))``
    - ``p' = p - lr / (1 - b1^t) * m' / (u' + eps)``

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
    beta1 : float, symbolic scalar, shared variable or schedule, optional
        Decay of the first moment, in [0, 1).
    beta2 : float, symbolic scalar, shared variable or schedule, optional
        Decay of the maximum, in [0, 1).
    epsilon : float, symbolic scalar, shared variable or schedule, optional
        Keeps the division away from zero, finite and >= 0.

    Returns
    -------
    OrderedDict
        Shared variable to next value: first_moment, infinity_norm, parameter and step.
        A `Deferred` when the call is deferred.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of the wrong kind, or loss, gradients and parameters do
        not fit; the message names it.

    See Also
    --------
    adam : the size from a mean square.
    adamaxw : with weight decay, and with the epsilon of PyTorch and optax.

    References
    ----------
    Kingma, Ba (2014), "Adam: A Method for Stochastic Optimization", arXiv:1412.6980, section
    7.1; epsilon is Lasagne's addition.

    Examples
    --------
    >>> import pytensor
    >>> from updates import adamax
    >>> w = pytensor.shared(1.0, name="w")
    >>> step = pytensor.function([], updates=adamax(w**2, [w], learning_rate=0.01))
    >>> _ = step()
    >>> round(float(w.get_value()), 6)
    0.99
    """
    call = rule_call(adamax, loss_or_grads, params, learning_rate, beta1, beta2, epsilon)
    for param, grad, (learning_rate, beta1, beta2, epsilon) in call:
        first_moment = call.average(param, "first_moment", grad, beta1)
        infinity_norm = call.zeros_like(param, "infinity_norm")
        infinity_norm_new = pt.maximum(beta2 * infinity_norm, abs(grad))
        rate = learning_rate / (1 - beta1**call.time)
        size = infinity_norm_new + epsilon
        call[infinity_norm] = infinity_norm_new
        call[param] = param - rate.astype(param.dtype) * first_moment / size
    return call.updates


@rule
def amsgrad(
    loss_or_grads: LossOrGrads | None = None,
    params: Params | None = None,
    learning_rate: Hyperparameter = 0.001,
    beta1: Hyperparameter = 0.9,
    beta2: Hyperparameter = 0.999,
    epsilon: Hyperparameter = 1e-8,
) -> Updates:
    """AMSGrad: Adam divided by the largest mean square so far.

    - ``m' = b1*m + (1 - b1)*g``
    - ``v' = b2*v + (1 - b2)*g^2``
    - ``w' = max(w, v')``
    - ``lr_t = lr * sqrt(1 - b2^t) / (1 - b1^t)``
    - ``p' = p - lr_t*m' / (sqrt(w') + eps)``

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
    beta1 : float, symbolic scalar, shared variable or schedule, optional
        Decay of the first moment, in [0, 1).
    beta2 : float, symbolic scalar, shared variable or schedule, optional
        Decay of the second moment, in [0, 1).
    epsilon : float, symbolic scalar, shared variable or schedule, optional
        Keeps the division away from zero, finite and >= 0.

    Returns
    -------
    OrderedDict
        Shared variable to next value: first_moment, second_moment, max_second_moment,
        parameter and step.
        A `Deferred` when the call is deferred.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of the wrong kind, or loss, gradients and parameters do
        not fit; the message names it.

    See Also
    --------
    adam : the size from the mean square itself.

    References
    ----------
    Reddi, Kale, Kumar (2018), "On the Convergence of Adam and Beyond", ICLR, arXiv:1904.09237;
    the bias corrections are Lasagne's.

    Examples
    --------
    >>> import pytensor
    >>> from updates import amsgrad
    >>> w = pytensor.shared(1.0, name="w")
    >>> step = pytensor.function([], updates=amsgrad(w**2, [w], learning_rate=0.01))
    >>> _ = step()
    >>> round(float(w.get_value()), 6)
    0.99
    """
    call = rule_call(amsgrad, loss_or_grads, params, learning_rate, beta1, beta2, epsilon)
    for param, grad, (learning_rate, beta1, beta2, epsilon) in call:
        first_moment = call.average(param, "first_moment", grad, beta1)
        second_moment = call.average(param, "second_moment", grad**2, beta2)
        max_second_moment = call.zeros_like(param, "max_second_moment")
        max_second_moment_new = pt.maximum(max_second_moment, second_moment)
        rate = _corrected_rate(call, learning_rate, beta1, beta2)
        call[max_second_moment] = max_second_moment_new
        size = pt.sqrt(max_second_moment_new) + epsilon
        call[param] = param - rate * first_moment / size
    return call.updates


def _corrected_rate(
    call: Call, learning_rate: TensorVariable, beta1: TensorVariable, beta2: TensorVariable
) -> TensorVariable:
    """Correct the learning rate for moments that started at zero, in float64."""
    rate = learning_rate * pt.sqrt(1 - beta2**call.time) / (1 - beta1**call.time)
    return rate.astype(learning_rate.dtype)
