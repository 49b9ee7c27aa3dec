"""Rules that average: the parameters over the calls, or all gradients so far.

- ``asgd``: gradient descent, and the average of the parameters beside it
- ``schedule_free_sgd``: gradients are taken between a fast sequence and its average
- ``schedule_free_adamw``: the same with Adam's element-wise step sizes
- ``madgrad``: from the start, along the sum of all gradients (dual averaging)

The averages are state named ``average``, tagged with the parameter that they average.
"""

import pytensor.tensor as pt
from pytensor.tensor.variable import TensorVariable

from updates.arguments import LossOrGrads, Params
from updates.call import Call, Updates, rule, rule_call
from updates.hyperparameters import Hyperparameter
from updates.norms import ratio


@rule
def asgd(
    loss_or_grads: LossOrGrads | None = None,
    params: Params | None = None,
    learning_rate: Hyperparameter = 0.01,
    decay: Hyperparameter = 1e-4,
    power: Hyperparameter = 0.75,
    start: Hyperparameter = 1e6,
) -> Updates:
    """Averaged gradient descent: steps that shrink, and the average of where they lead.

    - ``lr_k = lr / (1 + decay*lr*k)^power``
    - ``p' = p - lr_k*(g + decay*p)``
    - ``x' = x + (p' - x) / max(1, k - start)``

    ``k`` counts calls from 0. Training goes on at ``p``; ``x`` is what to use in the end. Up to
    ``k = start + 1`` it is the parameter itself.

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
    decay : float, symbolic scalar, shared variable or schedule, optional
        How fast the steps shrink, and weight of the parameter in its gradient, finite and >= 0.
    power : float, symbolic scalar, shared variable or schedule, optional
        Exponent with which the steps shrink, finite and >= 0.
    start : float, symbolic scalar, shared variable or schedule, optional
        Calls before the average begins, >= 0; infinity is never.

    Returns
    -------
    OrderedDict
        Shared variable to next value: average, parameter and step.
        A `Deferred` when the call is deferred.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of the wrong kind, or loss, gradients and parameters do
        not fit; the message names it.

    See Also
    --------
    sgd : without the average.
    schedule_free_sgd : the average takes part in the training.

    References
    ----------
    Polyak, Juditsky (1992), "Acceleration of stochastic approximation by averaging", SIAM Journal
    on Control and Optimization 30(4); the form is PyTorch's, whose ``lambd``, ``alpha`` and ``t0``
    are `decay`, `power` and `start`.

    Examples
    --------
    >>> import pytensor
    >>> from updates import asgd
    >>> w = pytensor.shared(1.0, name="w")
    >>> rule = asgd(w**2, [w], learning_rate=0.1, decay=0.0, start=0)
    >>> step = pytensor.function([], updates=rule)
    >>> _ = step(), step(), step()
    >>> for variable in list(rule)[-2:]:
    ...     print(variable, round(float(variable.get_value()), 6))
    w/asgd/average 0.576
    w 0.512
    """
    call = rule_call(asgd, loss_or_grads, params, learning_rate, decay, power, start)
    for param, grad, (learning_rate, decay, power, start) in call:
        rate = learning_rate / (1 + decay * learning_rate * (call.time - 1)) ** power
        param_new = param - rate.astype(param.dtype) * (grad + decay * param)
        share = (1 / pt.maximum(1, call.time - 1 - start)).astype(param.dtype)
        average = call.average_of(param)
        call[average] = (1 - share) * average + share * param_new
        call[param] = param_new
    return call.updates


@rule
def schedule_free_sgd(
    loss_or_grads: LossOrGrads | None = None,
    params: Params | None = None,
    learning_rate: Hyperparameter = 1.0,
    momentum: Hyperparameter = 0.9,
    weight_decay: Hyperparameter = 0.0,
    weight_lr_power: Hyperparameter = 2.0,
) -> Updates:
    """Schedule-free gradient descent: averaging in the place of a falling learning rate.

    - ``z' = z - lr*(g + wd*p)``
    - ``x' = x + c*(z' - x)``
    - ``p' = mu*x' + (1 - mu)*z'``

    ``c = w_t / (w_1 + ... + w_t)`` with ``w_t = (largest lr so far)^weight_lr_power``. The
    parameter ``p`` is where gradients are taken; ``x`` is what to use in the end, and ``z`` the
    fast sequence that it averages. Warming the learning rate up helps, letting it fall does not.

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
    momentum : float, symbolic scalar, shared variable or schedule, optional
        How close the parameter is to the average, in [0, 1); optax's ``b1``.
    weight_decay : float, symbolic scalar, shared variable or schedule, optional
        Weight of the parameter in its gradient, finite and >= 0.
    weight_lr_power : float, symbolic scalar, shared variable or schedule, optional
        How strongly a larger learning rate makes a call count more, finite and >= 0.

    Returns
    -------
    OrderedDict
        Shared variable to next value: base, average and parameter; max_learning_rate and
        weight_sum for the whole call.
        A `Deferred` when the call is deferred.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of the wrong kind, or loss, gradients and parameters do
        not fit; the message names it.

    See Also
    --------
    schedule_free_adamw : with Adam's step sizes.
    asgd : the average takes no part in the training.

    References
    ----------
    Defazio et al. (2024), "The Road Less Scheduled", arXiv:2405.15682. The form is optax's, except
    that the average is stored, which optax works out from ``p`` and ``z``, and that a schedule is
    evaluated at 0, 1, 2, ... for the weights too, where optax is one ahead.

    Examples
    --------
    >>> import pytensor
    >>> from updates import schedule_free_sgd
    >>> w = pytensor.shared(1.0, name="w")
    >>> step = pytensor.function([], updates=schedule_free_sgd(w**2, [w], learning_rate=0.1))
    >>> _ = step(), step()
    >>> round(float(w.get_value()), 6)
    0.712
    """
    call = rule_call(
        schedule_free_sgd,
        loss_or_grads,
        params,
        learning_rate,
        momentum,
        weight_decay,
        weight_lr_power,
    )
    share = _share_of_this_call(call)
    for param, grad, (learning_rate, momentum, weight_decay, _) in call:
        step = learning_rate * (grad + weight_decay * param)
        _move_schedule_free(call, param, step, momentum, share)
    return call.updates


@rule
def schedule_free_adamw(
    loss_or_grads: LossOrGrads | None = None,
    params: Params | None = None,
    learning_rate: Hyperparameter = 0.0025,
    beta1: Hyperparameter = 0.9,
    beta2: Hyperparameter = 0.999,
    epsilon: Hyperparameter = 1e-8,
    weight_decay: Hyperparameter = 0.0,
    weight_lr_power: Hyperparameter = 2.0,
) -> Updates:
    """Schedule-free AdamW: Adam's step sizes, and averaging in the place of its first moment.

    - ``v' = b2*v + (1 - b2)*g^2``
    - ``z' = z - lr*(g / (sqrt(v' / (1 - b2^t)) + eps) + wd*p)``
    - ``x' = x + c*(z' - x)``
    - ``p' = b1*x' + (1 - b1)*z'``

    ``c = w_t / (w_1 + ... + w_t)`` with ``w_t = (largest lr so far)^weight_lr_power``. The
    parameter ``p`` is where gradients are taken; ``x`` is what to use in the end.

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
        How close the parameter is to the average, in [0, 1).
    beta2 : float, symbolic scalar, shared variable or schedule, optional
        Decay of the second moment, in [0, 1).
    epsilon : float, symbolic scalar, shared variable or schedule, optional
        Keeps the division away from zero, finite and >= 0.
    weight_decay : float, symbolic scalar, shared variable or schedule, optional
        How much of the parameter each step takes off, times the learning rate, finite and >= 0.
    weight_lr_power : float, symbolic scalar, shared variable or schedule, optional
        How strongly a larger learning rate makes a call count more, finite and >= 0.

    Returns
    -------
    OrderedDict
        Shared variable to next value: second_moment, base, average, parameter and step;
        max_learning_rate and weight_sum for the whole call.
        A `Deferred` when the call is deferred.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of the wrong kind, or loss, gradients and parameters do
        not fit; the message names it.

    See Also
    --------
    schedule_free_sgd : without the second moment.
    adam : a first moment in the place of the average.

    References
    ----------
    Defazio et al. (2024), "The Road Less Scheduled", arXiv:2405.15682; the form is optax's, with
    the exceptions that `schedule_free_sgd` names.

    Examples
    --------
    >>> import pytensor
    >>> from updates import schedule_free_adamw
    >>> w = pytensor.shared(1.0, name="w")
    >>> step = pytensor.function([], updates=schedule_free_adamw(w**2, [w], learning_rate=0.1))
    >>> _ = step(), step()
    >>> round(float(w.get_value()), 6)
    0.847965
    """
    call = rule_call(
        schedule_free_adamw,
        loss_or_grads,
        params,
        learning_rate,
        beta1,
        beta2,
        epsilon,
        weight_decay,
        weight_lr_power,
    )
    share = _share_of_this_call(call)
    for param, grad, (learning_rate, beta1, beta2, epsilon, weight_decay, _) in call:
        second_moment = call.average(param, "second_moment", grad**2, beta2)
        size = pt.sqrt(call.unbiased(second_moment, beta2)) + epsilon
        step = learning_rate * (grad / size + weight_decay * param)
        _move_schedule_free(call, param, step, beta1, share)
    return call.updates


@rule
def madgrad(
    loss_or_grads: LossOrGrads | None = None,
    params: Params | None = None,
    learning_rate: Hyperparameter = 0.01,
    momentum: Hyperparameter = 0.9,
    epsilon: Hyperparameter = 1e-6,
    weight_decay: Hyperparameter = 0.0,
) -> Updates:
    """MADGRAD: from the start, along the sum of all gradients over the cube root of their squares.

    - ``l_t = (lr + eps) * sqrt(t)``
    - ``h = g + wd*p``
    - ``s' = s + l_t*h``
    - ``a' = a + l_t*h^2``
    - ``p' = mu*p + (1 - mu)*(p_0 - s' / (cbrt(a') + eps))``

    ``p_0`` is the parameter at the start; ``t`` counts calls from 1. ``l_t`` is 0 where ``lr`` is.

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
    momentum : float, symbolic scalar, shared variable or schedule, optional
        How much of the parameter is kept, in [0, 1).
    epsilon : float, symbolic scalar, shared variable or schedule, optional
        Keeps the division away from zero, finite and >= 0.
    weight_decay : float, symbolic scalar, shared variable or schedule, optional
        Weight of the parameter in its gradient, finite and >= 0; often best at 0 here.

    Returns
    -------
    OrderedDict
        Shared variable to next value: start, sum_of_gradients, sum_of_squares, parameter and step.
        A `Deferred` when the call is deferred.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of the wrong kind, or loss, gradients and parameters do
        not fit; the message names it.

    See Also
    --------
    adagrad : the square root, and steps from where the parameter is.

    References
    ----------
    Defazio, Jelassi (2021), "Adaptivity without Compromise: A Momentumized, Adaptive, Dual Averaged
    Gradient Method for Stochastic Optimization", arXiv:2101.11075; epsilon in the learning rate
    as in the authors' code and optax.

    Examples
    --------
    >>> import pytensor
    >>> from updates import madgrad
    >>> w = pytensor.shared(1.0, name="w")
    >>> step = pytensor.function([], updates=madgrad(w**2, [w], learning_rate=0.1))
    >>> _ = step()
    >>> round(float(w.get_value()), 6)
    0.972856
    """
    call = rule_call(madgrad, loss_or_grads, params, learning_rate, momentum, epsilon, weight_decay)
    for param, grad, (learning_rate, momentum, epsilon, weight_decay) in call:
        start = call.copy_of(param, "start")
        sum_of_gradients = call.zeros_like(param, "sum_of_gradients")
        sum_of_squares = call.zeros_like(param, "sum_of_squares")
        rate = pt.switch(learning_rate > 0, learning_rate + epsilon, 0) * pt.sqrt(call.time)
        rate = rate.astype(param.dtype)
        decayed_grad = grad + weight_decay * param
        sum_of_gradients_new = sum_of_gradients + rate * decayed_grad
        sum_of_squares_new = sum_of_squares + rate * decayed_grad**2
        size = sum_of_squares_new ** pt.cast(1 / 3, param.dtype) + epsilon
        target = start - sum_of_gradients_new / size
        call[start] = start
        call[sum_of_gradients] = sum_of_gradients_new
        call[sum_of_squares] = sum_of_squares_new
        call[param] = param + (1 - momentum) * (target - param)
    return call.updates


def _share_of_this_call(call: Call) -> TensorVariable:
    """Weigh this call among all so far, by the largest learning rate that each had seen."""
    learning_rate, *_, power = call.scalars()
    largest = call.scalar("max_learning_rate")
    weight_sum = call.scalar("weight_sum")
    largest_new = pt.maximum(largest, learning_rate)
    weight = largest_new**power
    call[largest] = largest_new
    call[weight_sum] = weight_sum + weight
    return ratio(weight, weight_sum + weight)


def _move_schedule_free(
    call: Call,
    param: TensorVariable,
    step: TensorVariable,
    momentum: TensorVariable,
    share: TensorVariable,
) -> None:
    """Move the fast sequence, its average, and the parameter between them."""
    base = call.copy_of(param, "base")
    average = call.average_of(param)
    base_new = base - step
    average_new = average + share.astype(param.dtype) * (base_new - average)
    call[base] = base_new
    call[average] = average_new
    call[param] = average_new + (1 - momentum) * (base_new - average_new)
