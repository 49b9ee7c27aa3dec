"""Rules that average: the parameters over the calls, or all gradients so far.

- ``asgd``: gradient descent, and the average of the parameters beside it
- ``schedule_free_sgd``: gradients are taken between a fast sequence and its average
- ``schedule_free_adamw``: the same with Adam's element-wise step sizes
- ``madgrad``: from the start, along the sum of all gradients (dual averaging)

The averages are state named ``average``, tagged with the parameter that they average.
"""

import pytensor.tensor as pt

from updates.call import State, Tensor, once_a_call
from updates.kinds import (
    Epsilon,
    Fraction,
    LearningRate,
    Mask,
    NonNegative,
    NonNegativeOrInfinite,
    WeightDecay,
)
from updates.norms import ratio
from updates.rule import rule


@rule
def asgd(
    state: State,
    param: Tensor,
    grad: Tensor,
    learning_rate: LearningRate = 0.01,
    decay: NonNegative = 1e-4,
    power: NonNegative = 0.75,
    start: NonNegativeOrInfinite = 1e6,
) -> Tensor:
    """Averaged gradient descent: steps that shrink, and the average of where they lead.

    - ``lr_k = lr / (1 + decay*lr*k)^power``
    - ``p' = p - lr_k*(g + decay*p)``
    - ``x' = x + (p' - x) / max(1, k - start)``

    ``k`` counts calls from 0. Training goes on at ``p``; ``x`` is what to use in the end. Up to
    ``k = start + 1`` it is the parameter itself.

    when : noisy convex problems; 0.01
    decay : how fast the steps shrink, and weight of the parameter in its gradient
    power : exponent with which the steps shrink
    start : calls before the average begins; infinity is never
    state : average, step

    `sgd` : without the average
    `schedule_free_sgd` : the average takes part in the training

    Polyak, Juditsky (1992), "Acceleration of stochastic approximation by averaging", SIAM Journal
    on Control and Optimization 30(4); the form is PyTorch's, whose ``lambd``, ``alpha`` and ``t0``
    are `decay`, `power` and `start`.

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
    rate, share = _rate_and_share(state, learning_rate, decay, power, start)
    param_new = param - rate * (grad + decay * param)
    average = state.copy("average", is_average=True)
    state.update(average, (1 - share) * average + share * param_new)
    return param_new


@rule
def schedule_free_sgd(
    state: State,
    param: Tensor,
    grad: Tensor,
    learning_rate: LearningRate = 1.0,
    momentum: Fraction = 0.9,
    weight_decay: WeightDecay = 0.0,
    weight_lr_power: NonNegative = 2.0,
    mask: Mask | None = None,
) -> Tensor:
    """Schedule-free gradient descent: averaging in the place of a falling learning rate.

    - ``z' = z - lr*(g + wd*p)``
    - ``x' = x + c*(z' - x)``
    - ``p' = mu*x' + (1 - mu)*z'``

    ``c = w_t / (w_1 + ... + w_t)`` with ``w_t = (largest lr so far)^weight_lr_power``. The
    parameter ``p`` is where gradients are taken; ``x`` is what to use in the end, and ``z`` the
    fast sequence that it averages. Warming the learning rate up helps, letting it fall does not.

    when : instead of a schedule; 0.1, up to 1
    momentum : how close the parameter is to the average; optax's ``b1``
    weight_decay : weight of the parameter in its gradient
    weight_lr_power : how strongly a larger learning rate makes a call count more
    state : base, average; max_learning_rate, weight_sum for the whole call

    `schedule_free_adamw` : with Adam's step sizes
    `asgd` : the average takes no part in the training

    Defazio et al. (2024), "The Road Less Scheduled", arXiv:2405.15682. The form is optax's, except
    that the average is stored, which optax works out from ``p`` and ``z``, and that a schedule is
    evaluated at 0, 1, 2, ... for the weights too, where optax is one ahead.
    """
    step = learning_rate * (grad + weight_decay * param)
    return moved(state, step, momentum)


@rule
def schedule_free_adamw(
    state: State,
    param: Tensor,
    grad: Tensor,
    learning_rate: LearningRate = 0.0025,
    beta1: Fraction = 0.9,
    beta2: Fraction = 0.999,
    epsilon: Epsilon = 1e-8,
    weight_decay: WeightDecay = 0.0,
    weight_lr_power: NonNegative = 2.0,
    mask: Mask | None = None,
) -> Tensor:
    """Schedule-free AdamW: Adam's step sizes, and averaging in the place of its first moment.

    - ``v' = b2*v + (1 - b2)*g^2``
    - ``z' = z - lr*(g / (sqrt(v' / (1 - b2^t)) + eps) + wd*p)``
    - ``x' = x + c*(z' - x)``
    - ``p' = b1*x' + (1 - b1)*z'``

    ``c = w_t / (w_1 + ... + w_t)`` with ``w_t = (largest lr so far)^weight_lr_power``. The
    parameter ``p`` is where gradients are taken; ``x`` is what to use in the end.

    when : instead of a schedule; 0.0025
    beta1 : how close the parameter is to the average
    beta2 : decay of the second moment
    weight_decay : how much of the parameter each step takes off, times the learning rate
    weight_lr_power : how strongly a larger learning rate makes a call count more
    state : second_moment, base, average, step; max_learning_rate, weight_sum for the whole call

    `schedule_free_sgd` : without the second moment
    `adam` : a first moment in the place of the average

    Defazio et al. (2024), "The Road Less Scheduled", arXiv:2405.15682; the form is optax's, with
    the exceptions that `schedule_free_sgd` names.
    """
    second_moment = state.average("second_moment", grad**2, beta2)
    size = pt.sqrt(state.unbiased(second_moment, beta2)) + epsilon
    step = learning_rate * (grad / size + weight_decay * param)
    return moved(state, step, beta1)


@rule
def madgrad(
    state: State,
    param: Tensor,
    grad: Tensor,
    learning_rate: LearningRate = 0.01,
    momentum: Fraction = 0.9,
    epsilon: Epsilon = 1e-6,
    weight_decay: WeightDecay = 0.0,
    mask: Mask | None = None,
) -> Tensor:
    """MADGRAD: from the start, along the sum of all gradients over the cube root of their squares.

    - ``l_t = (lr + eps) * sqrt(t)``
    - ``h = g + wd*p``
    - ``s' = s + l_t*h``
    - ``a' = a + l_t*h^2``
    - ``p' = mu*p + (1 - mu)*(p_0 - s' / (cbrt(a') + eps))``

    ``p_0`` is the parameter at the start; ``t`` counts calls from 1. ``l_t`` is 0 where ``lr`` is.

    when : sparse and dense parameters in one model; 0.01
    momentum : how much of the parameter is kept
    weight_decay : weight of the parameter in its gradient; often best at 0 here
    state : start, sum_of_gradients, sum_of_squares, step

    `adagrad` : the square root, and steps from where the parameter is

    Defazio, Jelassi (2021), "Adaptivity without Compromise: A Momentumized, Adaptive, Dual Averaged
    Gradient Method for Stochastic Optimization", arXiv:2101.11075; epsilon in the learning rate
    as in the authors' code and optax.
    """
    start = state.copy("start")
    state.update(start, start)
    rate = _growing_rate(state, learning_rate, epsilon)
    decayed_grad = grad + weight_decay * param
    gradients = state.zeros("sum_of_gradients")
    gradients = state.update(gradients, gradients + rate * decayed_grad)
    squares = state.zeros("sum_of_squares")
    squares = state.update(squares, squares + rate * decayed_grad**2)
    target = start - gradients / (squares ** pt.cast(1 / 3, param.dtype) + epsilon)
    return param + (1 - momentum) * (target - param)


@once_a_call
def _rate_and_share(
    state: State,
    learning_rate: LearningRate,
    decay: NonNegative,
    power: NonNegative,
    start: NonNegativeOrInfinite,
) -> tuple[Tensor, Tensor]:
    """Give the falling learning rate, and the weight of this call in the average."""
    calls_before = state.time - 1
    rate = learning_rate / (1 + decay * learning_rate * calls_before) ** power
    return state.cast(rate), state.cast(1 / pt.maximum(1, calls_before - start))


@once_a_call
def _growing_rate(state: State, learning_rate: LearningRate, epsilon: Epsilon) -> Tensor:
    return state.cast(
        pt.switch(learning_rate > 0, learning_rate + epsilon, 0) * pt.sqrt(state.time)
    )


@once_a_call
def _share_of_this_call(state: State) -> Tensor:
    """Weigh this call among all so far, by the largest learning rate that each had seen."""
    call, hyperparameters = state.call, state.call.hyperparameters
    largest, weights = call.scalar("max_learning_rate"), call.scalar("weight_sum")
    largest_new = call.update(largest, pt.maximum(largest, hyperparameters["learning_rate"]))
    weight = largest_new ** hyperparameters["weight_lr_power"]
    return ratio(weight, call.update(weights, weights + weight))


def moved(state: State, step: Tensor, momentum: Fraction) -> Tensor:
    """Move the base sequence and its average, and return the point between the two."""
    share = state.cast(_share_of_this_call(state))
    base, average = state.copy("base"), state.copy("average", is_average=True)
    base = state.update(base, base - step)
    average = state.update(average, average + share * (base - average))
    return average + (1 - momentum) * (base - average)
