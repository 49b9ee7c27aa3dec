"""Adam with decoupled weight decay: the decay is added to the direction, not to the gradient.

- ``adamw``: the size is the root of the mean square
- ``adamaxw``: the size is a decaying maximum
- ``ademamix``: as ``adamw``, with a second, slower mean of the gradient

Without weight decay the first is the Adam of PyTorch and of optax, whose epsilon is
not that of Lasagne's ``adam``.
"""

import pytensor.tensor as pt

from updates.arguments import LossOrGrads, Params
from updates.call import Updates, rule, rule_call
from updates.hyperparameters import Hyperparameter
from updates.rules.moments import adam_direction, unbiased_moments


@rule
def adamw(
    loss_or_grads: LossOrGrads | None = None,
    params: Params | None = None,
    learning_rate: Hyperparameter = 0.001,
    beta1: Hyperparameter = 0.9,
    beta2: Hyperparameter = 0.999,
    epsilon: Hyperparameter = 1e-8,
    weight_decay: Hyperparameter = 1e-4,
) -> Updates:
    """AdamW: Adam with weight decay apart from the gradient.

    - ``m' = b1*m + (1 - b1)*g``
    - ``v' = b2*v + (1 - b2)*g^2``
    - ``m^ = m' / (1 - b1^t);  v^ = v' / (1 - b2^t)``
    - ``p' = p - lr*(m^ / (sqrt(v^) + eps) + wd*p)``

    With ``weight_decay=0`` this is the Adam of PyTorch and of optax.

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
    weight_decay : float, symbolic scalar, shared variable or schedule, optional
        How much of the parameter itself is added to the direction, finite and >= 0.

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
    adam : without weight decay, and with Lasagne's epsilon.
    nadamw : the mean gradient looks one call ahead.
    lamb : scaled to the norm of each tensor.
    ademamix : remembers gradients for longer.

    References
    ----------
    Loshchilov, Hutter (2017), "Decoupled Weight Decay Regularization", arXiv:1711.05101; the
    decay is multiplied by the learning rate and the default is 1e-4 as in optax. PyTorch's AdamW
    is the same with a default of 1e-2.

    Examples
    --------
    >>> import pytensor
    >>> from updates import adamw
    >>> w = pytensor.shared(1.0, name="w")
    >>> step = pytensor.function([], updates=adamw(w**2, [w], learning_rate=0.01))
    >>> _ = step()
    >>> round(float(w.get_value()), 6)
    0.989999
    """
    call = rule_call(
        adamw, loss_or_grads, params, learning_rate, beta1, beta2, epsilon, weight_decay
    )
    for param, grad, (learning_rate, beta1, beta2, epsilon, weight_decay) in call:
        direction = adam_direction(call, param, grad, beta1, beta2, epsilon) + weight_decay * param
        call[param] = param - learning_rate * direction
    return call.updates


@rule
def adamaxw(
    loss_or_grads: LossOrGrads | None = None,
    params: Params | None = None,
    learning_rate: Hyperparameter = 0.002,
    beta1: Hyperparameter = 0.9,
    beta2: Hyperparameter = 0.999,
    epsilon: Hyperparameter = 1e-8,
    weight_decay: Hyperparameter = 1e-4,
) -> Updates:
    """AdaMax with weight decay apart from the gradient.

    - ``m' = b1*m + (1 - b1)*g``
    - ``u' = max(b2*u, abs(g) + eps)``
    - ``p' = p - lr*(m' / (1 - b1^t) / u' + wd*p)``

    Epsilon is inside the maximum, as in PyTorch and optax: with ``weight_decay=0`` this is their
    Adamax. Lasagne's `adamax` adds it to the maximum.

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
    weight_decay : float, symbolic scalar, shared variable or schedule, optional
        How much of the parameter itself is added to the direction, finite and >= 0.

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
    adamax : without weight decay, and with Lasagne's epsilon.
    adamw : the size from a mean square.

    References
    ----------
    Kingma, Ba (2014), "Adam: A Method for Stochastic Optimization", arXiv:1412.6980, section 7.1;
    Loshchilov, Hutter (2017), "Decoupled Weight Decay Regularization", arXiv:1711.05101; joined
    as in optax.

    Examples
    --------
    >>> import pytensor
    >>> from updates import adamaxw
    >>> w = pytensor.shared(1.0, name="w")
    >>> step = pytensor.function([], updates=adamaxw(w**2, [w], learning_rate=0.01))
    >>> _ = step()
    >>> round(float(w.get_value()), 6)
    0.989999
    """
    call = rule_call(
        adamaxw, loss_or_grads, params, learning_rate, beta1, beta2, epsilon, weight_decay
    )
    for param, grad, (learning_rate, beta1, beta2, epsilon, weight_decay) in call:
        first_moment = call.average(param, "first_moment", grad, beta1)
        infinity_norm = call.zeros_like(param, "infinity_norm")
        infinity_norm_new = pt.maximum(beta2 * infinity_norm, abs(grad) + epsilon)
        direction = call.unbiased(first_moment, beta1) / infinity_norm_new + weight_decay * param
        call[infinity_norm] = infinity_norm_new
        call[param] = param - learning_rate * direction
    return call.updates


@rule
def ademamix(
    loss_or_grads: LossOrGrads | None = None,
    params: Params | None = None,
    learning_rate: Hyperparameter = 0.001,
    beta1: Hyperparameter = 0.9,
    beta2: Hyperparameter = 0.999,
    beta3: Hyperparameter = 0.9999,
    alpha: Hyperparameter = 5.0,
    epsilon: Hyperparameter = 1e-8,
    weight_decay: Hyperparameter = 0.0,
) -> Updates:
    """AdEMAMix: AdamW along a mix of a fast and a slow mean gradient.

    - ``m' = b1*m + (1 - b1)*g``
    - ``s' = b3*s + (1 - b3)*g``
    - ``v' = b2*v + (1 - b2)*g^2``
    - ``m^ = m' / (1 - b1^t);  v^ = v' / (1 - b2^t)``
    - ``p' = p - lr*((m^ + alpha*s') / (sqrt(v^) + eps) + wd*p)``

    The slow mean is not corrected for its start at zero and so comes in gently; the paper also
    lets `beta3` and `alpha` grow, for which they may be schedules.

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
        Decay of the fast mean gradient, in [0, 1).
    beta2 : float, symbolic scalar, shared variable or schedule, optional
        Decay of the second moment, in [0, 1).
    beta3 : float, symbolic scalar, shared variable or schedule, optional
        Decay of the slow mean gradient, in [0, 1).
    alpha : float, symbolic scalar, shared variable or schedule, optional
        Weight of the slow mean beside the fast one, finite and >= 0.
    epsilon : float, symbolic scalar, shared variable or schedule, optional
        Keeps the division away from zero, finite and >= 0.
    weight_decay : float, symbolic scalar, shared variable or schedule, optional
        How much of the parameter itself is added to the direction, finite and >= 0.

    Returns
    -------
    OrderedDict
        Shared variable to next value: first_moment, second_moment, slow_moment, parameter and
        step.
        A `Deferred` when the call is deferred.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of the wrong kind, or loss, gradients and parameters do
        not fit; the message names it.

    See Also
    --------
    adamw : one mean only.

    References
    ----------
    Pagliardini, Ablin, Grangier (2024), "The AdEMAMix Optimizer: Better, Faster, Older",
    arXiv:2409.03137; this form is optax's.

    Examples
    --------
    >>> import pytensor
    >>> from updates import ademamix
    >>> w = pytensor.shared(1.0, name="w")
    >>> step = pytensor.function([], updates=ademamix(w**2, [w], learning_rate=0.01))
    >>> _ = step()
    >>> round(float(w.get_value()), 6)
    0.989995
    """
    call = rule_call(
        ademamix,
        loss_or_grads,
        params,
        learning_rate,
        beta1,
        beta2,
        beta3,
        alpha,
        epsilon,
        weight_decay,
    )
    for param, grad, scalars in call:
        learning_rate, beta1, beta2, beta3, alpha, epsilon, weight_decay = scalars
        first_moment, second_moment = unbiased_moments(call, param, grad, beta1, beta2)
        slow_moment = call.average(param, "slow_moment", grad, beta3)
        mix = first_moment + alpha * slow_moment
        direction = mix / (pt.sqrt(second_moment) + epsilon) + weight_decay * param
        call[param] = param - learning_rate * direction
    return call.updates
