"""Adam that looks ahead: the direction anticipates where the gradient is going.

- ``nadam``: the mean gradient is that of one call later, as far as it is known
- ``nadamw``: the same with decoupled weight decay
- ``adan``: the gradient is continued along its mean change
- ``optimistic_adam``: the direction is continued along its last change
"""

import pytensor.tensor as pt
from pytensor.tensor.variable import TensorVariable

from updates.arguments import LossOrGrads, Params
from updates.call import Call, Updates, rule, rule_call
from updates.hyperparameters import Hyperparameter
from updates.rules.moments import adam_direction


@rule
def nadam(
    loss_or_grads: LossOrGrads | None = None,
    params: Params | None = None,
    learning_rate: Hyperparameter = 0.001,
    beta1: Hyperparameter = 0.9,
    beta2: Hyperparameter = 0.999,
    epsilon: Hyperparameter = 1e-8,
    momentum_decay: Hyperparameter | None = None,
) -> Updates:
    """NAdam: Adam with Nesterov's momentum.

    - ``m' = b1*m + (1 - b1)*g``
    - ``v' = b2*v + (1 - b2)*g^2``
    - ``m^ = b1*m' / (1 - b1^(t+1)) + (1 - b1)*g / (1 - b1^t);  v^ = v' / (1 - b2^t)``
    - ``p' = p - lr*m^ / (sqrt(v^) + eps)``

    This is optax's form. With `momentum_decay` the momentum warms up as in PyTorch: ``m^`` has
    ``mu_t = b1*(1 - 0.5*0.96^(t*momentum_decay))`` in the place of ``b1``, and the product of all
    mu so far in the place of its power. PyTorch's default is ``momentum_decay=0.004``, with a
    learning rate of 0.002.

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
    momentum_decay : float, symbolic scalar, shared variable or schedule, optional
        How fast the momentum warms up from half of `beta1`, finite and >= 0. None: it is
        `beta1` from the start.

    Returns
    -------
    OrderedDict
        Shared variable to next value: first_moment, second_moment, parameter and step, and
        momentum_product with `momentum_decay`.
        A `Deferred` when the call is deferred.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of the wrong kind, or loss, gradients and parameters do
        not fit; the message names it.

    See Also
    --------
    nadamw : with weight decay.
    adam : without looking ahead.
    nesterov_momentum : without the second moment.

    References
    ----------
    Dozat (2016), "Incorporating Nesterov Momentum into Adam", ICLR workshop, whose warm-up is
    PyTorch's; the form with a constant momentum is optax's.

    Examples
    --------
    >>> import pytensor
    >>> from updates import nadam
    >>> w = pytensor.shared(1.0, name="w")
    >>> step = pytensor.function([], updates=nadam(w**2, [w], learning_rate=0.01))
    >>> _ = step()
    >>> round(float(w.get_value()), 6)
    0.985263
    """
    call = rule_call(
        nadam, loss_or_grads, params, learning_rate, beta1, beta2, epsilon, momentum_decay
    )
    momentum_product = _momentum_product(call, momentum_decay)
    for param, grad, (learning_rate, beta1, beta2, epsilon, momentum_decay) in call:
        direction = _nesterov_direction(
            call, param, grad, beta1, beta2, epsilon, momentum_decay, momentum_product
        )
        call[param] = param - learning_rate * direction
    return call.updates


@rule
def nadamw(
    loss_or_grads: LossOrGrads | None = None,
    params: Params | None = None,
    learning_rate: Hyperparameter = 0.001,
    beta1: Hyperparameter = 0.9,
    beta2: Hyperparameter = 0.999,
    epsilon: Hyperparameter = 1e-8,
    weight_decay: Hyperparameter = 1e-4,
    momentum_decay: Hyperparameter | None = None,
) -> Updates:
    """NAdamW: NAdam with weight decay apart from the gradient.

    - ``m' = b1*m + (1 - b1)*g``
    - ``v' = b2*v + (1 - b2)*g^2``
    - ``m^ = b1*m' / (1 - b1^(t+1)) + (1 - b1)*g / (1 - b1^t);  v^ = v' / (1 - b2^t)``
    - ``p' = p - lr*(m^ / (sqrt(v^) + eps) + wd*p)``

    This is optax's form; `momentum_decay` warms the momentum up as in `nadam`, which is PyTorch's
    NAdam with ``decoupled_weight_decay=True``.

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
    momentum_decay : float, symbolic scalar, shared variable or schedule, optional
        How fast the momentum warms up from half of `beta1`, finite and >= 0. None: it is
        `beta1` from the start.

    Returns
    -------
    OrderedDict
        Shared variable to next value: first_moment, second_moment, parameter and step, and
        momentum_product with `momentum_decay`.
        A `Deferred` when the call is deferred.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of the wrong kind, or loss, gradients and parameters do
        not fit; the message names it.

    See Also
    --------
    nadam : without weight decay.
    adamw : without looking ahead.

    References
    ----------
    Dozat (2016), "Incorporating Nesterov Momentum into Adam", ICLR workshop; Loshchilov, Hutter
    (2017), "Decoupled Weight Decay Regularization", arXiv:1711.05101.

    Examples
    --------
    >>> import pytensor
    >>> from updates import nadamw
    >>> w = pytensor.shared(1.0, name="w")
    >>> step = pytensor.function([], updates=nadamw(w**2, [w], learning_rate=0.01))
    >>> _ = step()
    >>> round(float(w.get_value()), 6)
    0.985262
    """
    call = rule_call(
        nadamw,
        loss_or_grads,
        params,
        learning_rate,
        beta1,
        beta2,
        epsilon,
        weight_decay,
        momentum_decay,
    )
    momentum_product = _momentum_product(call, momentum_decay)
    for param, grad, (learning_rate, beta1, beta2, epsilon, weight_decay, momentum_decay) in call:
        direction = _nesterov_direction(
            call, param, grad, beta1, beta2, epsilon, momentum_decay, momentum_product
        )
        call[param] = param - learning_rate * (direction + weight_decay * param)
    return call.updates


@rule
def adan(
    loss_or_grads: LossOrGrads | None = None,
    params: Params | None = None,
    learning_rate: Hyperparameter = 0.001,
    beta1: Hyperparameter = 0.98,
    beta2: Hyperparameter = 0.92,
    beta3: Hyperparameter = 0.99,
    epsilon: Hyperparameter = 1e-8,
    epsilon_root: Hyperparameter = 1e-8,
    weight_decay: Hyperparameter = 0.0,
) -> Updates:
    """Adan: Adam along the gradient and its mean change from call to call.

    - ``d  = g - (gradient of the call before)         (0 in the first call)``
    - ``m' = b1*m + (1 - b1)*g``
    - ``c' = b2*c + (1 - b2)*d``
    - ``n' = b3*n + (1 - b3)*(g + (1 - b2)*d)^2``
    - ``m^ = m' / (1 - b1^t);  c^ = c' / (1 - b2^t);  n^ = n' / (1 - b3^t)``
    - ``p' = p - lr*((m^ + (1 - b2)*c^) / (sqrt(n^ + eps_root) + eps) + wd*p)``

    This is optax's form, which weighs the change by ``1 - b2``. The paper's weight is ``b2`` (its
    betas are one minus these), and its decay divides by ``1 + lr*wd``: at the default `beta2` it
    looks much further ahead.

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
        Decay of the mean change of the gradient, in [0, 1).
    beta3 : float, symbolic scalar, shared variable or schedule, optional
        Decay of the second moment, in [0, 1).
    epsilon : float, symbolic scalar, shared variable or schedule, optional
        Keeps the division away from zero, finite and >= 0.
    epsilon_root : float, symbolic scalar, shared variable or schedule, optional
        The same under the root, finite and >= 0.
    weight_decay : float, symbolic scalar, shared variable or schedule, optional
        How much of the parameter itself is added to the direction, finite and >= 0.

    Returns
    -------
    OrderedDict
        Shared variable to next value: first_moment, mean_change, second_moment,
        previous_gradient, parameter and step.
        A `Deferred` when the call is deferred.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of the wrong kind, or loss, gradients and parameters do
        not fit; the message names it.

    See Also
    --------
    nadam : looks ahead along the mean gradient.
    optimistic_adam : looks ahead along the last change only.

    References
    ----------
    Xie, Zhou, Li, Lin, Yan (2022), "Adan: Adaptive Nesterov Momentum Algorithm for Faster
    Optimizing Deep Models", arXiv:2208.06677; this form is optax's.

    Examples
    --------
    >>> import pytensor
    >>> from updates import adan
    >>> w = pytensor.shared(1.0, name="w")
    >>> step = pytensor.function([], updates=adan(w**2, [w], learning_rate=0.01))
    >>> _ = step()
    >>> round(float(w.get_value()), 6)
    0.99
    """
    call = rule_call(
        adan,
        loss_or_grads,
        params,
        learning_rate,
        beta1,
        beta2,
        beta3,
        epsilon,
        epsilon_root,
        weight_decay,
    )
    for param, grad, scalars in call:
        learning_rate, beta1, beta2, beta3, epsilon, epsilon_root, weight_decay = scalars
        previous_gradient = call.zeros_like(param, "previous_gradient")
        change = pt.switch(pt.eq(call.step, 0), 0, grad - previous_gradient)
        first_moment = call.average(param, "first_moment", grad, beta1)
        mean_change = call.average(param, "mean_change", change, beta2)
        ahead = grad + (1 - beta2) * change
        second_moment = call.average(param, "second_moment", ahead**2, beta3)
        mean_ahead = call.unbiased(first_moment, beta1) + (1 - beta2) * call.unbiased(
            mean_change, beta2
        )
        size = pt.sqrt(call.unbiased(second_moment, beta3) + epsilon_root) + epsilon
        call[previous_gradient] = grad
        call[param] = param - learning_rate * (mean_ahead / size + weight_decay * param)
    return call.updates


@rule
def optimistic_adam(
    loss_or_grads: LossOrGrads | None = None,
    params: Params | None = None,
    learning_rate: Hyperparameter = 0.001,
    beta1: Hyperparameter = 0.9,
    beta2: Hyperparameter = 0.999,
    epsilon: Hyperparameter = 1e-8,
    alpha: Hyperparameter = 1.0,
    beta: Hyperparameter = 1.0,
    nesterov: bool = False,
) -> Updates:
    """Optimistic Adam: each direction of Adam is continued along its change since the last.

    - ``m' = b1*m + (1 - b1)*g``
    - ``v' = b2*v + (1 - b2)*g^2``
    - ``d' = m' / (1 - b1^t) / (sqrt(v' / (1 - b2^t)) + eps)    (nesterov: nadam's)``
    - ``p' = p - lr*(alpha*d' + beta*(d' - d))                  (first call: d = d')``

    Made for games, such as generative adversarial networks, in which plain descent circles.

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
    alpha : float, symbolic scalar, shared variable or schedule, optional
        Weight of the direction itself, finite and >= 0.
    beta : float, symbolic scalar, shared variable or schedule, optional
        Weight of its change since the call before, finite and >= 0.
    nesterov : bool, optional
        Whether the direction is that of `nadam`.

    Returns
    -------
    OrderedDict
        Shared variable to next value: first_moment, second_moment, previous_direction,
        parameter and step.
        A `Deferred` when the call is deferred.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of the wrong kind, or loss, gradients and parameters do
        not fit; the message names it.

    See Also
    --------
    adamw : ``beta=0`` and no weight decay.
    adan : averages the change.

    References
    ----------
    Daskalakis, Ilyas, Syrgkanis, Zeng (2017), "Training GANs with Optimism", arXiv:1711.00141;
    Mokhtari, Ozdaglar, Pattathil (2019), "A Unified Analysis of Extra-gradient and Optimistic
    Gradient Methods for Saddle Point Problems", arXiv:1901.08511, for alpha and beta. This form
    is optax's ``optimistic_adam_v2``, where `nesterov` is the default.

    Examples
    --------
    >>> import pytensor
    >>> from updates import optimistic_adam
    >>> w = pytensor.shared(1.0, name="w")
    >>> step = pytensor.function([], updates=optimistic_adam(w**2, [w], learning_rate=0.01))
    >>> _ = step()
    >>> round(float(w.get_value()), 6)
    0.99
    """
    call = rule_call(
        optimistic_adam,
        loss_or_grads,
        params,
        learning_rate,
        beta1,
        beta2,
        epsilon,
        alpha,
        beta,
    )
    for param, grad, scalars in call:
        learning_rate, beta1, beta2, epsilon, alpha, beta = scalars
        direction_of = _nesterov_direction if nesterov else adam_direction
        direction = direction_of(call, param, grad, beta1, beta2, epsilon)
        previous_direction = call.zeros_like(param, "previous_direction")
        change = pt.switch(pt.eq(call.step, 0), 0, direction - previous_direction)
        call[previous_direction] = direction
        call[param] = param - learning_rate * (alpha * direction + beta * change)
    return call.updates


def _momentum_product(call: Call, momentum_decay: Hyperparameter | None) -> TensorVariable | None:
    """Make the product of all warm-up factors so far, if there is a warm-up."""
    return None if momentum_decay is None else call.scalar("momentum_product", 1.0)


def _nesterov_direction(
    call: Call,
    param: TensorVariable,
    grad: TensorVariable,
    beta1: TensorVariable,
    beta2: TensorVariable,
    epsilon: TensorVariable,
    momentum_decay: TensorVariable | None = None,
    momentum_product: TensorVariable | None = None,
) -> TensorVariable:
    """Update both moments and return Adam's direction, the first moment being one call ahead."""
    first_moment = call.average(param, "first_moment", grad, beta1)
    second_moment = call.average(param, "second_moment", grad**2, beta2)
    momentum, momentum_next = beta1, beta1
    product, product_next = beta1**call.time, beta1 ** (call.time + 1)
    if momentum_product is not None:
        warmth = 1 - 0.5 * 0.96 ** (call.time * momentum_decay)
        warmth_next = 1 - 0.5 * 0.96 ** ((call.time + 1) * momentum_decay)
        momentum, momentum_next = beta1 * warmth, beta1 * warmth_next
        product *= momentum_product * warmth
        product_next *= momentum_product * warmth * warmth_next
        call[momentum_product] = momentum_product * warmth
    of_moment = (momentum_next / (1 - product_next)).astype(param.dtype)
    of_grad = ((1 - momentum) / (1 - product)).astype(param.dtype)
    size = pt.sqrt(call.unbiased(second_moment, beta2)) + epsilon
    return (of_moment * first_moment + of_grad * grad) / size
