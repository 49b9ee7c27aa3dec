"""Rules that find the length of their steps by themselves.

- ``dog``: from the distance travelled and the gradients met
- ``dowg``: the same, with gradients that weigh more the farther out they are met
- ``prodigy``: Adam with a growing lower bound of the distance to the solution
- ``polyak_sgd``: from how far the loss is above its least value

Their learning rate is a mere factor: 1 needs no tuning, a schedule may shape it.
"""

import numpy as np
import pytensor.tensor as pt
from pytensor.graph.basic import Variable
from pytensor.tensor.variable import TensorVariable

from updates.arguments import LossOrGrads, Params
from updates.call import Call, Updates, rule, rule_call
from updates.hyperparameters import Hyperparameter
from updates.norms import ratio, sum_of_squares


@rule
def dog(
    loss_or_grads: LossOrGrads | None = None,
    params: Params | None = None,
    learning_rate: Hyperparameter = 1.0,
    initial_step: Hyperparameter = 1e-6,
    epsilon: Hyperparameter = 1e-8,
    weight_decay: Hyperparameter = 0.0,
) -> Updates:
    """DoG, distance over gradients: as long as the way so far, over the root of all squares.

    - ``h = g + wd*p``
    - ``r' = max(r, norm(p - p_0), initial_step*(1 + norm(p_0)))``
    - ``s' = s + norm(h)^2``
    - ``p' = p - lr * r'/sqrt(s' + eps) * h``

    ``p_0`` is the parameter at the start. The norms are over all elements of all parameters.

    Parameters
    ----------
    loss_or_grads : symbolic scalar, or list of symbolic tensors
        A loss to differentiate, or one gradient a parameter. Without it and `params` the call
        is deferred.
    params : shared variable, or list of shared variables
        Floating-point parameters of any shapes and dtypes.
    learning_rate : float, symbolic scalar, shared variable or schedule, optional
        Factor of the step, finite and >= 0.
    initial_step : float, symbolic scalar, shared variable or schedule, optional
        Length of the first step in units of ``1 + norm(p_0)``, finite and > 0; small enough
        to do no harm (1e-4 with batch normalization).
    epsilon : float, symbolic scalar, shared variable or schedule, optional
        Keeps the division away from zero, finite and >= 0.
    weight_decay : float, symbolic scalar, shared variable or schedule, optional
        Weight of the parameter in its gradient, finite and >= 0.

    Returns
    -------
    OrderedDict
        Shared variable to next value: start and parameter; max_distance and sum_of_squares
        for the whole call.
        A `Deferred` when the call is deferred.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of the wrong kind, or loss, gradients and parameters do
        not fit; the message names it.

    See Also
    --------
    dowg : weighs the gradients.

    References
    ----------
    Ivgi, Hinder, Carmon (2023), "DoG is SGD's Best Friend: A Parameter-Free Dynamic Step Size
    Schedule", arXiv:2302.12022; the form is optax's with its heuristic first step. The authors
    advise to average the parameters.

    Examples
    --------
    >>> import pytensor
    >>> from updates import dog
    >>> w = pytensor.shared(1.0, name="w")
    >>> step = pytensor.function([], updates=dog(w**2, [w], initial_step=0.1))
    >>> _ = step()
    >>> round(float(w.get_value()), 6)
    0.8
    """
    call = rule_call(
        dog,
        loss_or_grads,
        params,
        learning_rate,
        initial_step,
        epsilon,
        weight_decay,
        rows=False,
    )
    _, initial_step, epsilon, _ = call.scalars()
    starts = _starts(call)
    grads = [grad + weight_decay * param for param, grad, (*_, weight_decay) in call]
    max_distance = call.scalar("max_distance")
    squares = call.scalar("sum_of_squares")
    first_distance = initial_step * (1 + pt.sqrt(sum_of_squares(starts)))
    distance = pt.maximum(first_distance, pt.sqrt(_square_distance(call, starts)))
    max_distance_new = pt.maximum(max_distance, distance)
    squares_new = squares + sum_of_squares(grads)
    rate = ratio(max_distance_new, pt.sqrt(squares_new + epsilon))
    call[max_distance] = max_distance_new
    call[squares] = squares_new
    for (param, _, (learning_rate, *_)), grad in zip(call, grads, strict=True):
        call[param] = param - learning_rate * rate.astype(param.dtype) * grad
    return call.updates


@rule
def dowg(
    loss_or_grads: LossOrGrads | None = None,
    params: Params | None = None,
    learning_rate: Hyperparameter = 1.0,
    initial_distance: float | None = None,
    epsilon: Hyperparameter = 1e-4,
    weight_decay: Hyperparameter = 0.0,
) -> Updates:
    """DoWG: as DoG, but gradients weigh more the farther from the start they are met.

    - ``h = g + wd*p``
    - ``r2' = max(r2, norm(p - p_0)^2)``
    - ``s' = s + r2'*norm(h)^2``
    - ``p' = p - lr * r2'/(sqrt(s') + eps) * h``

    ``p_0`` is the parameter at the start. The norms are over all elements of all parameters.

    Parameters
    ----------
    loss_or_grads : symbolic scalar, or list of symbolic tensors
        A loss to differentiate, or one gradient a parameter. Without it and `params` the call
        is deferred.
    params : shared variable, or list of shared variables
        Floating-point parameters of any shapes and dtypes.
    learning_rate : float, symbolic scalar, shared variable or schedule, optional
        Factor of the step, finite and >= 0.
    initial_distance : float, optional
        Guess of the distance to the solution, finite and > 0; better too small than too large.
        Its square is where ``r2`` starts. None is ``sqrt(epsilon)``.
    epsilon : float, symbolic scalar, shared variable or schedule, optional
        Keeps the division away from zero, finite and >= 0. At 0 the rule needs
        `initial_distance` to begin at all.
    weight_decay : float, symbolic scalar, shared variable or schedule, optional
        Weight of the parameter in its gradient, finite and >= 0.

    Returns
    -------
    OrderedDict
        Shared variable to next value: start and parameter; max_square_distance and
        weighted_sum_of_squares for the whole call.
        A `Deferred` when the call is deferred.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of the wrong kind, or loss, gradients and parameters do
        not fit; the message names it.

    See Also
    --------
    dog : all gradients weigh the same.

    References
    ----------
    Khaled, Mishchenko, Jin (2023), "DoWG Unleashed: An Efficient Universal Parameter-Free Gradient
    Descent Method", arXiv:2305.16284; the form is optax's, whose ``init_estim_sq_dist`` is the
    square of `initial_distance`.

    Examples
    --------
    >>> import pytensor
    >>> from updates import dowg
    >>> w = pytensor.shared(1.0, name="w")
    >>> step = pytensor.function([], updates=dowg(w**2, [w], initial_distance=0.1))
    >>> _ = step()
    >>> round(float(w.get_value()), 6)
    0.90005
    """
    call = rule_call(
        dowg,
        loss_or_grads,
        params,
        learning_rate,
        epsilon,
        weight_decay,
        rows=False,
    )
    _, epsilon, _ = call.scalars()
    starts = _starts(call)
    grads = [grad + weight_decay * param for param, grad, (*_, weight_decay) in call]
    max_distance = call.scalar("max_square_distance")
    squares = call.scalar("weighted_sum_of_squares")
    first_distance = epsilon if initial_distance is None else initial_distance**2
    distance = pt.maximum(first_distance, _square_distance(call, starts))
    max_distance_new = pt.maximum(max_distance, distance)
    squares_new = squares + max_distance_new * sum_of_squares(grads)
    rate = ratio(max_distance_new, pt.sqrt(squares_new) + epsilon)
    call[max_distance] = max_distance_new
    call[squares] = squares_new
    for (param, _, (learning_rate, *_)), grad in zip(call, grads, strict=True):
        call[param] = param - learning_rate * rate.astype(param.dtype) * grad
    return call.updates


@rule
def prodigy(
    loss_or_grads: LossOrGrads | None = None,
    params: Params | None = None,
    learning_rate: Hyperparameter = 1.0,
    beta1: Hyperparameter = 0.9,
    beta2: Hyperparameter = 0.999,
    epsilon: Hyperparameter = 1e-8,
    weight_decay: Hyperparameter = 0.0,
    beta3: Hyperparameter | None = None,
    initial_distance: float = 1e-6,
    distance_coefficient: Hyperparameter = 1.0,
    safeguard_warmup: bool = False,
) -> Updates:
    """Prodigy: Adam whose learning rate is a growing lower bound of the distance to the solution.

    - ``l = d*lr * sqrt(1 - b2^t) / (1 - b1^t)``
    - ``n' = b3*n + d*l*sum(g*(p_0 - p))``
    - ``s' = b3*s + d*l*g                  (safeguard_warmup: b3*s + d*d*g)``
    - ``d' = max(d, coefficient * n' / sum(abs(s')))``
    - ``m' = b1*m + (1 - b1)*d*g``
    - ``v' = b2*v + (1 - b2)*(d*g)^2``
    - ``p' = p - l*(m' / (sqrt(v') + d'*eps) + wd*p)``

    ``p_0`` is the parameter at the start; ``t`` counts calls from 1. The sums are over all elements
    of all parameters, so ``d`` and ``n`` are one number each.

    Parameters
    ----------
    loss_or_grads : symbolic scalar, or list of symbolic tensors
        A loss to differentiate, or one gradient a parameter. Without it and `params` the call
        is deferred.
    params : shared variable, or list of shared variables
        Floating-point parameters of any shapes and dtypes.
    learning_rate : float, symbolic scalar, shared variable or schedule, optional
        Factor of the step, finite and >= 0. Best a schedule that begins at 1 and falls to 0.
    beta1 : float, symbolic scalar, shared variable or schedule, optional
        Decay of the first moment, in [0, 1).
    beta2 : float, symbolic scalar, shared variable or schedule, optional
        Decay of the second moment, in [0, 1).
    epsilon : float, symbolic scalar, shared variable or schedule, optional
        Keeps the division away from zero, finite and >= 0.
    weight_decay : float, symbolic scalar, shared variable or schedule, optional
        How much of the parameter each step takes off, times its length ``l``, finite and >= 0.
    beta3 : float, symbolic scalar, shared variable or schedule, optional
        Decay of ``n`` and ``s``, in [0, 1); None is ``sqrt(beta2)``.
    initial_distance : float, optional
        Where ``d`` starts, finite and > 0; surely below the true distance.
    distance_coefficient : float, symbolic scalar, shared variable or schedule, optional
        Factor of the bound, finite and > 0. Meant for tuning: 0.5 or 2.
    safeguard_warmup : bool, optional
        Whether the learning rate is left out of ``s``, for schedules that begin near 0.

    Returns
    -------
    OrderedDict
        Shared variable to next value: start, weighted_sum, first_moment, second_moment, parameter
        and step; distance and numerator for the whole call.
        A `Deferred` when the call is deferred.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of the wrong kind, or loss, gradients and parameters do
        not fit; the message names it.

    See Also
    --------
    adam : the learning rate is given.
    dog : gradient descent whose learning rate is found.

    References
    ----------
    Mishchenko, Defazio (2023), "Prodigy: An Expeditiously Adaptive Parameter-Free Learner",
    arXiv:2306.06101; the form is optax's, but ``n`` and ``s`` are not divided by
    `initial_distance`, which cancels, and 0 / 0 counts as 0.

    Examples
    --------
    >>> import pytensor
    >>> from updates import prodigy
    >>> w = pytensor.shared(1.0, name="w")
    >>> step = pytensor.function([], updates=prodigy(w**2, [w], initial_distance=0.1))
    >>> _ = step()
    >>> round(float(w.get_value()), 6)
    0.9
    """
    call = rule_call(
        prodigy,
        loss_or_grads,
        params,
        learning_rate,
        beta1,
        beta2,
        epsilon,
        weight_decay,
        beta3,
        distance_coefficient,
        rows=False,
    )
    learning_rate, beta1, beta2, _, _, beta3, coefficient = call.scalars()
    beta3 = pt.sqrt(beta2) if beta3 is None else beta3
    distance = call.scalar("distance", initial_distance)
    correction = pt.sqrt(1 - beta2**call.time) / (1 - beta1**call.time)
    rate = distance * learning_rate * correction
    weight = distance * (distance if safeguard_warmup else rate)

    progress, size = pt.zeros((), "float64"), pt.zeros((), "float64")
    for (param, grad, _), start in zip(call, _starts(call), strict=True):
        weighted_sum = call.zeros_like(param, "weighted_sum")
        dtype = param.type.dtype
        weighted_sum_new = beta3.astype(dtype) * weighted_sum + weight.astype(dtype) * grad
        call[weighted_sum] = weighted_sum_new
        progress += pt.sum(pt.cast(grad, "float64") * (start - param))
        size += pt.sum(abs(weighted_sum_new), dtype="float64")
    numerator = call.scalar("numerator")
    numerator_new = beta3 * numerator + distance * rate * progress
    distance_new = pt.maximum(distance, coefficient * ratio(numerator_new, size))
    call[numerator] = numerator_new
    call[distance] = distance_new

    for param, grad, (_, beta1, beta2, epsilon, weight_decay, *_) in call:
        scaled = distance.astype(param.dtype) * grad
        first_moment = call.average(param, "first_moment", scaled, beta1)
        second_moment = call.average(param, "second_moment", scaled**2, beta2)
        floor = distance_new.astype(param.dtype) * epsilon
        step = ratio(first_moment, pt.sqrt(second_moment) + floor) + weight_decay * param
        call[param] = param - rate.astype(param.dtype) * step
    return call.updates


@rule
def polyak_sgd(
    loss: Variable | None = None,
    params: Params | None = None,
    learning_rate: Hyperparameter = 1.0,
    max_learning_rate: Hyperparameter = 1.0,
    f_min: Hyperparameter = 0.0,
    epsilon: Hyperparameter = 0.0,
) -> Updates:
    """Gradient descent with Polyak's step: as long as it takes to bring the loss to its least.

    - ``h = lr*g``
    - ``p' = p - min((loss - f_min) / (norm(h)^2 + eps), max_lr) * h``

    The norm is over all elements of all parameters. Where the divisor is below 2.2e-16, nothing
    moves. A loss below `f_min` makes the step go uphill.

    Parameters
    ----------
    loss : symbolic scalar
        A loss to differentiate; gradients alone will not do. Without it and `params` the call is
        deferred.
    params : shared variable, or list of shared variables
        Floating-point parameters of any shapes and dtypes.
    learning_rate : float, symbolic scalar, shared variable or schedule, optional
        Factor of the gradients, finite and >= 0. Since their square divides, 2 doubles the
        step where `max_learning_rate` limits it and halves it elsewhere.
    max_learning_rate : float, symbolic scalar, shared variable or schedule, optional
        Limit of the factor that is found, finite and >= 0.
    f_min : float, symbolic scalar, shared variable or schedule, optional
        The least value of the loss, or a guess from below, finite.
    epsilon : float, symbolic scalar, shared variable or schedule, optional
        Keeps the division away from zero, finite and >= 0.

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
    sgd : the length of the step is given.

    References
    ----------
    Polyak (1987), "Introduction to Optimization", Optimization Software; Loizou et al. (2021),
    "Stochastic Polyak Step-size for SGD: An Adaptive Learning Rate for Fast Convergence", AISTATS,
    arXiv:2002.10542, for the limit. The form is what optax computes, whose ``scaling`` is
    `learning_rate`; optax's manual has the scaling outside the fraction only.

    Examples
    --------
    >>> import pytensor
    >>> from updates import polyak_sgd
    >>> w = pytensor.shared(1.0, name="w")
    >>> step = pytensor.function([], updates=polyak_sgd(w**2, [w]))
    >>> _ = step()
    >>> round(float(w.get_value()), 6)
    0.5
    """
    call = rule_call(
        polyak_sgd,
        loss,
        params,
        learning_rate,
        max_learning_rate,
        f_min,
        epsilon,
        rows=False,
        needs_loss="the step is as long as the loss is high",
    )
    learning_rate, max_learning_rate, f_min, epsilon = call.scalars()
    size = learning_rate**2 * sum_of_squares(call.grads) + epsilon
    is_flat = size <= np.finfo("float64").eps
    found = (pt.cast(loss, "float64") - f_min) / pt.switch(is_flat, 1, size)
    rate = pt.switch(is_flat, 0, pt.minimum(found, max_learning_rate))
    for param, grad, (learning_rate, *_) in call:
        call[param] = param - rate.astype(param.dtype) * learning_rate * grad
    return call.updates


def _starts(call: Call) -> list[TensorVariable]:
    """Keep where each parameter was at the start."""
    starts = [call.copy_of(param, "start") for param in call.params]
    for start in starts:
        call[start] = start
    return starts


def _square_distance(call: Call, starts: list[TensorVariable]) -> TensorVariable:
    return sum_of_squares(p - start for p, start in zip(call.params, starts, strict=True))
