"""Rules that scale the step of each tensor by norms of the whole tensor.

- ``lars``: momentum, with steps in proportion to the norm of the parameter
- ``lamb``: Adam, with steps in proportion to the norm of the parameter
- ``fromage``: the same for the plain gradient, without growth of the norm
- ``novograd``: momentum of gradients divided by a mean of their norms

The norm of a tensor is the root of the sum of all its squares, summed in float64.
"""

import pytensor.tensor as pt
from pytensor.tensor.variable import TensorVariable

from updates.arguments import LossOrGrads, Params
from updates.call import Updates, rule, rule_call
from updates.hyperparameters import REQUIRED, Hyperparameter
from updates.norms import joint_norm, sum_of_squares
from updates.rules.moments import adam_direction


@rule
def lars(
    loss_or_grads: LossOrGrads | None = None,
    params: Params | None = None,
    learning_rate: Hyperparameter = REQUIRED,
    momentum: Hyperparameter = 0.9,
    weight_decay: Hyperparameter = 0.0,
    trust_coefficient: Hyperparameter = 0.001,
    epsilon: Hyperparameter = 0.0,
    nesterov: bool = False,
) -> Updates:
    """LARS: momentum whose steps are in proportion to the norm of each parameter.

    - ``u = g + wd*p``
    - ``r = c*norm(p) / (norm(u) + eps)         (1 where norm(p) or norm(u) is 0)``
    - ``v' = mu*v - lr*r*u``
    - ``p' = p + v'                             (nesterov: p' = p + mu*v' - lr*r*u)``

    Parameters
    ----------
    loss_or_grads : symbolic scalar, or list of symbolic tensors
        A loss to differentiate, or one gradient a parameter. Without it and `params` the call
        is deferred.
    params : shared variable, or list of shared variables
        Floating-point parameters of any shapes and dtypes.
    learning_rate : float, symbolic scalar, shared variable or schedule
        Factor of the step, finite and >= 0.
    momentum : float, symbolic scalar, shared variable or schedule, optional
        How much of the velocity is kept, in [0, 1).
    weight_decay : float, symbolic scalar, shared variable or schedule, optional
        How much of the parameter itself is added to the gradient, finite and >= 0.
    trust_coefficient : float, symbolic scalar, shared variable or schedule, optional
        Length of a step of learning rate 1, in norms of the parameter, finite and > 0.
    epsilon : float, symbolic scalar, shared variable or schedule, optional
        Added to the norm that divides, finite and >= 0.
    nesterov : bool, optional
        Whether the momentum is that of `nesterov_momentum`.

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
    lamb : for Adam.
    momentum : without the norms.

    References
    ----------
    You, Gitman, Ginsburg (2017), "Large Batch Training of Convolutional Networks",
    arXiv:1708.03888; this form is optax's, where the paper divides by ``norm(g) + wd*norm(p)``.

    Examples
    --------
    >>> import pytensor
    >>> from updates import lars
    >>> w = pytensor.shared(1.0, name="w")
    >>> step = pytensor.function([], updates=lars(w**2, [w], learning_rate=1.0))
    >>> _ = step()
    >>> round(float(w.get_value()), 6)
    0.999
    """
    call = rule_call(
        lars,
        loss_or_grads,
        params,
        learning_rate,
        momentum,
        weight_decay,
        trust_coefficient,
        epsilon,
        rows=False,
    )
    for param, grad, scalars in call:
        learning_rate, momentum, weight_decay, trust_coefficient, epsilon = scalars
        direction = grad + weight_decay * param
        step = -learning_rate * _proportional(
            direction, joint_norm([direction]), joint_norm([param]), trust_coefficient, epsilon
        )
        velocity = call.zeros_like(param, "velocity")
        velocity_new = momentum * velocity + step
        call[velocity] = velocity_new
        call[param] = param + (momentum * velocity_new + step if nesterov else velocity_new)
    return call.updates


@rule
def lamb(
    loss_or_grads: LossOrGrads | None = None,
    params: Params | None = None,
    learning_rate: Hyperparameter = 0.001,
    beta1: Hyperparameter = 0.9,
    beta2: Hyperparameter = 0.999,
    epsilon: Hyperparameter = 1e-6,
    weight_decay: Hyperparameter = 0.0,
) -> Updates:
    """LAMB: AdamW whose steps are in proportion to the norm of each parameter.

    - ``m' = b1*m + (1 - b1)*g``
    - ``v' = b2*v + (1 - b2)*g^2``
    - ``m^ = m' / (1 - b1^t);  v^ = v' / (1 - b2^t)``
    - ``u = m^ / (sqrt(v^) + eps) + wd*p``
    - ``p' = p - lr*norm(p)/norm(u)*u           (p - lr*u where norm(p) or norm(u) is 0)``

    Parameters
    ----------
    loss_or_grads : symbolic scalar, or list of symbolic tensors
        A loss to differentiate, or one gradient a parameter. Without it and `params` the call
        is deferred.
    params : shared variable, or list of shared variables
        Floating-point parameters of any shapes and dtypes.
    learning_rate : float, symbolic scalar, shared variable or schedule, optional
        Length of the step in norms of the parameter, finite and >= 0.
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
    adamw : without the norms.
    lars : for momentum.

    References
    ----------
    You et al. (2019), "Large Batch Optimization for Deep Learning: Training BERT in 76 minutes",
    arXiv:1904.00962; norms are not bounded, as in optax.

    Examples
    --------
    >>> import pytensor
    >>> from updates import lamb
    >>> w = pytensor.shared(1.0, name="w")
    >>> step = pytensor.function([], updates=lamb(w**2, [w], learning_rate=0.01))
    >>> _ = step()
    >>> round(float(w.get_value()), 6)
    0.99
    """
    call = rule_call(
        lamb, loss_or_grads, params, learning_rate, beta1, beta2, epsilon, weight_decay, rows=False
    )
    for param, grad, (learning_rate, beta1, beta2, epsilon, weight_decay) in call:
        direction = adam_direction(call, param, grad, beta1, beta2, epsilon) + weight_decay * param
        step = learning_rate * _proportional(
            direction, joint_norm([direction]), joint_norm([param])
        )
        call[param] = param - step
    return call.updates


@rule
def fromage(
    loss_or_grads: LossOrGrads | None = None,
    params: Params | None = None,
    learning_rate: Hyperparameter = 0.01,
    min_norm: Hyperparameter = 1e-6,
) -> Updates:
    """Fromage: steps in proportion to the norm of each parameter, which does not grow by them.

    - ``r = max(norm(p), min_norm) / max(norm(g), min_norm)    (1 where one of them is 0)``
    - ``p' = (p - lr*r*g) / sqrt(1 + lr^2)``

    Parameters
    ----------
    loss_or_grads : symbolic scalar, or list of symbolic tensors
        A loss to differentiate, or one gradient a parameter. Without it and `params` the call
        is deferred.
    params : shared variable, or list of shared variables
        Floating-point parameters of any shapes and dtypes.
    learning_rate : float, symbolic scalar, shared variable or schedule, optional
        Length of the step in norms of the parameter, finite and >= 0.
    min_norm : float, symbolic scalar, shared variable or schedule, optional
        Norms count as at least this, finite and >= 0.

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
    lamb : for Adam's direction.
    lars : with momentum.

    References
    ----------
    Bernstein, Vahdat, Yue, Liu (2020), "On the distance between two neural networks and the
    stability of learning", arXiv:2002.03432; `min_norm` is optax's.

    Examples
    --------
    >>> import pytensor
    >>> from updates import fromage
    >>> w = pytensor.shared(1.0, name="w")
    >>> step = pytensor.function([], updates=fromage(w**2, [w], learning_rate=0.01))
    >>> _ = step()
    >>> round(float(w.get_value()), 6)
    0.989951
    """
    call = rule_call(fromage, loss_or_grads, params, learning_rate, min_norm, rows=False)
    for param, grad, (learning_rate, min_norm) in call:
        norms = (pt.maximum(joint_norm([tensor]), min_norm) for tensor in (grad, param))
        step = learning_rate * _proportional(grad, *norms)
        call[param] = (param - step) / pt.sqrt(1 + learning_rate**2)
    return call.updates


@rule
def novograd(
    loss_or_grads: LossOrGrads | None = None,
    params: Params | None = None,
    learning_rate: Hyperparameter = 0.001,
    beta1: Hyperparameter = 0.9,
    beta2: Hyperparameter = 0.25,
    epsilon: Hyperparameter = 1e-6,
    weight_decay: Hyperparameter = 0.0,
) -> Updates:
    """NovoGrad: momentum of gradients that are divided by a mean of their norm.

    - ``v' = b2*v + (1 - b2)*norm(g)^2          (first call: norm(g)^2)``
    - ``m' = b1*m + g / (sqrt(v') + eps) + wd*p``
    - ``p' = p - lr*m'``

    The second moment is one number a parameter.

    Parameters
    ----------
    loss_or_grads : symbolic scalar, or list of symbolic tensors
        A loss to differentiate, or one gradient a parameter. Without it and `params` the call
        is deferred.
    params : shared variable, or list of shared variables
        Floating-point parameters of any shapes and dtypes.
    learning_rate : float, symbolic scalar, shared variable or schedule, optional
        Factor of the step, finite and >= 0.
    beta1 : float, symbolic scalar, shared variable or schedule, optional
        How much of the first moment, a decaying sum, is kept, in [0, 1).
    beta2 : float, symbolic scalar, shared variable or schedule, optional
        Decay of the second moment, in [0, 1).
    epsilon : float, symbolic scalar, shared variable or schedule, optional
        Keeps the division away from zero, finite and >= 0.
    weight_decay : float, symbolic scalar, shared variable or schedule, optional
        How much of the parameter itself is added to the direction, finite and >= 0.

    Returns
    -------
    OrderedDict
        Shared variable to next value: second_moment, first_moment, parameter and step.
        A `Deferred` when the call is deferred.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of the wrong kind, or loss, gradients and parameters do
        not fit; the message names it.

    See Also
    --------
    adamw : a second moment for every element.

    References
    ----------
    Ginsburg et al. (2019), "Stochastic Gradient Methods with Layer-wise Adaptive Moments for
    Training of Deep Networks", arXiv:1905.11286; this form is optax's.

    Examples
    --------
    >>> import pytensor
    >>> from updates import novograd
    >>> w = pytensor.shared(1.0, name="w")
    >>> step = pytensor.function([], updates=novograd(w**2, [w], learning_rate=0.01))
    >>> _ = step()
    >>> round(float(w.get_value()), 6)
    0.99
    """
    call = rule_call(
        novograd,
        loss_or_grads,
        params,
        learning_rate,
        beta1,
        beta2,
        epsilon,
        weight_decay,
        rows=False,
    )
    for param, grad, (learning_rate, beta1, beta2, epsilon, weight_decay) in call:
        second_moment = call.zeros(param, "second_moment")
        memory = pt.switch(pt.eq(call.step, 0), 0, beta2)
        second_moment_new = memory * second_moment + (1 - memory) * sum_of_squares([grad])
        size = pt.sqrt(second_moment_new).astype(param.dtype) + epsilon
        first_moment = call.zeros_like(param, "first_moment")
        first_moment_new = beta1 * first_moment + grad / size + weight_decay * param
        call[second_moment] = second_moment_new.astype(param.dtype)
        call[first_moment] = first_moment_new
        call[param] = param - learning_rate * first_moment_new
    return call.updates


def _proportional(
    direction: TensorVariable,
    direction_norm: TensorVariable,
    param_norm: TensorVariable,
    coefficient: TensorVariable | int = 1,
    epsilon: TensorVariable | int = 0,
) -> TensorVariable:
    """Scale a direction to the norm of its parameter, or leave it where one norm is zero."""
    both = pt.and_(param_norm > 0, direction_norm > 0)
    length = pt.switch(both, coefficient * param_norm, 1).astype(direction.dtype)
    divisor = pt.switch(both, direction_norm + epsilon, 1).astype(direction.dtype)
    return length * (direction / divisor)
