"""Adam with another second moment: what the mean gradient is divided by.

- ``adabelief``: the mean square of what the mean gradient did not predict
- ``yogi``: a mean square that changes by no more than the new square
- ``radam``: the mean square, once enough gradients are in it to be trusted
- ``adopt``: the mean square of earlier gradients only
"""

import pytensor.tensor as pt
from pytensor.tensor.variable import TensorVariable

from updates.arguments import LossOrGrads, Params
from updates.call import Call, Updates, rule, rule_call
from updates.hyperparameters import Hyperparameter
from updates.rules.moments import unbiased_moments


@rule
def adabelief(
    loss_or_grads: LossOrGrads | None = None,
    params: Params | None = None,
    learning_rate: Hyperparameter = 0.001,
    beta1: Hyperparameter = 0.9,
    beta2: Hyperparameter = 0.999,
    epsilon: Hyperparameter = 1e-16,
    epsilon_root: Hyperparameter = 1e-16,
) -> Updates:
    """AdaBelief: long steps where the gradient is as its mean predicts.

    - ``m' = b1*m + (1 - b1)*g``
    - ``s' = b2*s + (1 - b2)*(g - m')^2 + eps_root``
    - ``m^ = m' / (1 - b1^t);  s^ = s' / (1 - b2^t)``
    - ``p' = p - lr*m^ / (sqrt(s^) + eps)``

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
        Decay of the variance, in [0, 1).
    epsilon : float, symbolic scalar, shared variable or schedule, optional
        Keeps the division away from zero, finite and >= 0.
    epsilon_root : float, symbolic scalar, shared variable or schedule, optional
        Added to the variance in every call, finite and >= 0.

    Returns
    -------
    OrderedDict
        Shared variable to next value: first_moment, variance, parameter and step.
        A `Deferred` when the call is deferred.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of the wrong kind, or loss, gradients and parameters do
        not fit; the message names it.

    See Also
    --------
    adamw : the mean square of the gradient itself (``weight_decay=0``).
    deepmind_rmsprop : the variance without a mean in the numerator.

    References
    ----------
    Zhuang et al. (2020), "AdaBelief Optimizer: Adapting Stepsizes by the Belief in Observed
    Gradients", arXiv:2010.07468; this form is optax's.

    Examples
    --------
    >>> import pytensor
    >>> from updates import adabelief
    >>> w = pytensor.shared(1.0, name="w")
    >>> step = pytensor.function([], updates=adabelief(w**2, [w], learning_rate=0.01))
    >>> _ = step()
    >>> round(float(w.get_value()), 6)
    0.988889
    """
    call = rule_call(
        adabelief, loss_or_grads, params, learning_rate, beta1, beta2, epsilon, epsilon_root
    )
    for param, grad, (learning_rate, beta1, beta2, epsilon, epsilon_root) in call:
        first_moment = call.average(param, "first_moment", grad, beta1)
        variance = call.zeros_like(param, "variance")
        variance_new = beta2 * variance + (1 - beta2) * (grad - first_moment) ** 2 + epsilon_root
        size = pt.sqrt(call.unbiased(variance_new, beta2)) + epsilon
        call[variance] = variance_new
        call[param] = param - learning_rate * call.unbiased(first_moment, beta1) / size
    return call.updates


@rule
def yogi(
    loss_or_grads: LossOrGrads | None = None,
    params: Params | None = None,
    learning_rate: Hyperparameter = 0.01,
    beta1: Hyperparameter = 0.9,
    beta2: Hyperparameter = 0.999,
    epsilon: Hyperparameter = 1e-3,
) -> Updates:
    """Yogi: Adam whose mean square forgets large gradients slowly.

    - ``m' = b1*m + (1 - b1)*g``
    - ``v' = v - (1 - b2)*sign(v - g^2)*g^2``
    - ``m^ = m' / (1 - b1^t);  v^ = v' / (1 - b2^t)``
    - ``p' = p - lr*m^ / (sqrt(v^) + eps)``

    Both moments start at 1e-6 and are corrected as if they had started at zero: this form is
    optax's. The paper corrects neither. A parameter without gradients therefore creeps at first,
    in all by ``lr/600`` with the defaults.

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
        One minus the share of a squared gradient by which the second moment changes, in [0, 1).
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
    adamw : the second moment is a mean (``weight_decay=0``).

    References
    ----------
    Zaheer, Reddi, Sachan, Kale, Kumar (2018), "Adaptive Methods for Nonconvex Optimization",
    NeurIPS; start values and corrections are optax's.

    Examples
    --------
    >>> import pytensor
    >>> from updates import yogi
    >>> w = pytensor.shared(1.0, name="w")
    >>> step = pytensor.function([], updates=yogi(w**2, [w], learning_rate=0.01))
    >>> _ = step()
    >>> round(float(w.get_value()), 6)
    0.990006
    """
    call = rule_call(yogi, loss_or_grads, params, learning_rate, beta1, beta2, epsilon)
    for param, grad, (learning_rate, beta1, beta2, epsilon) in call:
        first_moment = call.full_like(param, "first_moment", 1e-6)
        second_moment = call.full_like(param, "second_moment", 1e-6)
        first_moment_new = beta1 * first_moment + (1 - beta1) * grad
        square = grad**2
        second_moment_new = second_moment - (1 - beta2) * pt.sign(second_moment - square) * square
        size = pt.sqrt(call.unbiased(second_moment_new, beta2)) + epsilon
        call[first_moment] = first_moment_new
        call[second_moment] = second_moment_new
        call[param] = param - learning_rate * call.unbiased(first_moment_new, beta1) / size
    return call.updates


@rule
def radam(
    loss_or_grads: LossOrGrads | None = None,
    params: Params | None = None,
    learning_rate: Hyperparameter = 0.001,
    beta1: Hyperparameter = 0.9,
    beta2: Hyperparameter = 0.999,
    epsilon: Hyperparameter = 1e-8,
    threshold: Hyperparameter = 5.0,
) -> Updates:
    """RAdam: Adam that divides by the mean square only once that is reliable.

    - ``m' = b1*m + (1 - b1)*g``
    - ``v' = b2*v + (1 - b2)*g^2``
    - ``m^ = m' / (1 - b1^t);  v^ = v' / (1 - b2^t)``
    - ``n_oo = 2 / (1 - b2) - 1;  n = n_oo - 2*t*b2^t / (1 - b2^t)``
    - ``r = sqrt((n - 4)*(n - 2)*n_oo / ((n_oo - 4)*(n_oo - 2)*n))``
    - ``p' = p - lr*r*m^ / (sqrt(v^) + eps)        if n >= threshold``
    - ``p' = p - lr*m^                             otherwise``

    ``n`` is the number of gradients that the mean square holds in effect. As long as it is small,
    in the first five calls with the default decay, the step is along the mean gradient itself.

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
    threshold : float, symbolic scalar, shared variable or schedule, optional
        The ``n`` from which the mean square is used, finite and > 0. There is an ``r`` above 4
        only: less counts as 4.

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
    adamw : always divides (``weight_decay=0``).

    References
    ----------
    Liu et al. (2019), "On the Variance of the Adaptive Learning Rate and Beyond",
    arXiv:1908.03265; the paper's threshold is 4, its code's, optax's and PyTorch's 5. Epsilon is
    optax's; PyTorch adds it to the root before the correction.

    Examples
    --------
    >>> import pytensor
    >>> from updates import radam
    >>> w = pytensor.shared(1.0, name="w")
    >>> step = pytensor.function([], updates=radam(w**2, [w], learning_rate=0.01))
    >>> _ = step()
    >>> round(float(w.get_value()), 6)
    0.98
    """
    call = rule_call(radam, loss_or_grads, params, learning_rate, beta1, beta2, epsilon, threshold)
    for param, grad, (learning_rate, beta1, beta2, epsilon, threshold) in call:
        first_moment, second_moment = unbiased_moments(call, param, grad, beta1, beta2)
        is_reliable, factor = _rectification(call, beta2, threshold)
        adapted = factor.astype(param.dtype) * first_moment / (pt.sqrt(second_moment) + epsilon)
        call[param] = param - learning_rate * pt.switch(is_reliable, adapted, first_moment)
    return call.updates


@rule
def adopt(
    loss_or_grads: LossOrGrads | None = None,
    params: Params | None = None,
    learning_rate: Hyperparameter = 0.001,
    beta1: Hyperparameter = 0.9,
    beta2: Hyperparameter = 0.9999,
    epsilon: Hyperparameter = 1e-6,
) -> Updates:
    """ADOPT: Adam that normalizes each gradient by the squares before it, then averages.

    - ``c = (t - 1)^(1/4)``
    - ``m' = b1*m + (1 - b1)*clip(g / max(sqrt(v), eps), -c, c)``
    - ``v' = b2*v + (1 - b2)*g^2                   (first call: g^2)``
    - ``p' = p - lr*m'``

    The first call only measures: ``c`` is 0 there, and the parameters stay.

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
        Least divisor of a gradient, finite and >= 0.

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
    adamw : the square of the present gradient counts as well (``weight_decay=0``).

    References
    ----------
    Taniguchi et al. (2024), "ADOPT: Modified Adam Can Converge with Any beta2 with the Optimal
    Rate", arXiv:2411.02853; with the clipping of its revision, as in optax.

    Examples
    --------
    >>> import pytensor
    >>> from updates import adopt
    >>> w = pytensor.shared(1.0, name="w")
    >>> step = pytensor.function([], updates=adopt(w**2, [w], learning_rate=0.01))
    >>> _ = step(), step()
    >>> round(float(w.get_value()), 6)
    0.999
    """
    call = rule_call(adopt, loss_or_grads, params, learning_rate, beta1, beta2, epsilon)
    for param, grad, (learning_rate, beta1, beta2, epsilon) in call:
        second_moment = call.zeros_like(param, "second_moment")
        size = pt.maximum(pt.sqrt(second_moment), epsilon)
        bound = (call.step**0.25).astype(param.dtype) * size
        normalized = pt.clip(grad, -bound, bound) / size
        first_moment = call.average(param, "first_moment", normalized, beta1)
        memory = pt.switch(pt.eq(call.step, 0), 0, beta2)
        call[second_moment] = memory * second_moment + (1 - memory) * grad**2
        call[param] = param - learning_rate * first_moment
    return call.updates


def _rectification(
    call: Call, beta2: TensorVariable, threshold: TensorVariable
) -> tuple[TensorVariable, TensorVariable]:
    """Tell whether the mean square is reliable, and by which factor the step is shortened."""
    power = beta2**call.time
    longest = 2 / (1 - pt.cast(beta2, "float64")) - 1
    length = longest - 2 * call.time * power / (1 - power)
    is_reliable = pt.and_(length >= threshold, length > 4)
    # Where the factor does not exist, any lengths do: those of 5 give 1.
    length, longest = (pt.switch(is_reliable, n, 5) for n in (length, longest))
    square = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
    return is_reliable, pt.sqrt(square)
