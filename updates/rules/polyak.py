"""Rules whose step is as long as the loss is above its least value.

- ``polyak_sgd``: along the gradient
- ``momo``: along a mean gradient, with a model of the loss from all gradients in it
- ``momo_adam``: the same in Adam's coordinates
"""

from typing import Any

import numpy as np
import pytensor.tensor as pt

from updates import provenance
from updates.call import Call, Tensor
from updates.kinds import (
    Epsilon,
    Finite,
    Flag,
    Fraction,
    LearningRate,
    NonNegative,
    WeightDecay,
)
from updates.norms import sum_of_products, sum_of_squares
from updates.rule import joint_rule
from updates.rules.moments import moments

_WHY = "the step is as long as the loss is high"


@joint_rule(needs_loss=_WHY)
def polyak_sgd(
    call: Call,
    learning_rate: LearningRate = 1.0,
    max_learning_rate: NonNegative = 1.0,
    f_min: Finite = 0.0,
    epsilon: Epsilon = 0.0,
) -> None:
    """Gradient descent with Polyak's step: as long as it takes to bring the loss to its least.

    - ``h = lr*g``
    - ``p' = p - min((loss - f_min) / (norm(h)^2 + eps), max_lr) * h``

    The norm is over all elements of all parameters. Where the divisor is below 2.2e-16, nothing
    moves. A loss below `f_min` makes the step go uphill.

    when : when the least loss is known, 0 for instance; 1
    learning_rate : factor of the gradients. Since their square divides, 2 doubles the step
        where `max_learning_rate` limits it and halves it elsewhere
    max_learning_rate : limit of the factor that is found
    f_min : the least value of the loss, or a guess from below

    `sgd` : the length of the step is given

    Polyak (1987), "Introduction to Optimization", Optimization Software; Loizou et al. (2021),
    "Stochastic Polyak Step-size for SGD: An Adaptive Learning Rate for Fast Convergence", AISTATS,
    arXiv:2002.10542, for the limit. The form is what optax computes, whose ``scaling`` is
    `learning_rate`; optax's manual has the scaling outside the fraction only.
    """
    size = learning_rate**2 * sum_of_squares(call.grads) + epsilon
    above = provenance.cast(call.loss, call.dtype) - f_min
    rate = pt.minimum(_over(above, size), max_learning_rate)
    for state, param, grad in call:
        state.update(param, param - state.cast(rate) * state.cast(learning_rate) * grad)


@joint_rule(needs_loss=_WHY)
def momo(
    call: Call,
    learning_rate: LearningRate = 1.0,
    momentum: Fraction = 0.9,
    f_min: Finite = 0.0,
    weight_decay: WeightDecay = 0.0,
    adapt_f_min: Flag = False,
) -> None:
    """MoMo: momentum, at most as far as a model of the loss says that its least value lies.

    - ``d' = mu*d + (1 - mu)*g``
    - ``f' = mu*f + (1 - mu)*loss``
    - ``c' = mu*c + (1 - mu)*sum(g*p)``
    - ``s = 1 + lr*wd``
    - ``a = min(lr, max(s*(f' - f_min - c') + sum(d'*p), 0) / norm(d')^2)``
    - ``p' = p/s - a*d'``

    The first call takes ``mu = 0``. Sums and the norm are over all elements of all parameters.
    Where the divisor is below 2.2e-16, ``a`` is 0.

    when : `sgd` whose learning rate may be ten times too large; 1
    learning_rate : the longest step; it may be ten times what gradient descent can do with
    momentum : decay of the three means
    f_min : the least value of the loss, or a guess from below
    weight_decay : how much each step takes off the parameter, times the learning rate
    adapt_f_min : whether a higher guess is found on the way, for losses whose least value is not
        known: `f_min` is where it starts, and what it never falls below
    state : mean_gradient, step; mean_loss, mean_product and perhaps found_f_min for the whole
        call; the last is counted from `f_min`

    `polyak_sgd` : without momentum
    `momo_adam` : in Adam's coordinates

    Schaipp, Ohana, Eickenberg, Defazio, Gower (2023), "MoMo: Momentum Models for Adaptive Learning
    Rates", arXiv:2305.07583; the form is optax's, whose ``beta`` and ``lower_bound`` are `momentum`
    and `f_min`.
    """
    mean = pt.switch(pt.eq(call.step, 0), 0, momentum)
    means = [state.average("mean_gradient", grad, state.cast(mean)) for state, _, grad in call]
    squares = sum_of_squares(means)
    length, shrinkage = _model(call, mean, means, squares, 1)
    for (state, param, _), direction in zip(call, means, strict=True):
        state.update(param, param / state.cast(shrinkage) - state.cast(length) * direction)


@joint_rule(needs_loss=_WHY)
def momo_adam(
    call: Call,
    learning_rate: LearningRate = 0.01,
    beta1: Fraction = 0.9,
    beta2: Fraction = 0.999,
    epsilon: Epsilon = 1e-8,
    f_min: Finite = 0.0,
    weight_decay: WeightDecay = 0.0,
    adapt_f_min: Flag = False,
) -> None:
    """MoMo-Adam: Adam, at most as far as a model of the loss says that its least value lies.

    - ``m' = b1*m + (1 - b1)*g;  v' = b2*v + (1 - b2)*g^2``
    - ``f' = b1*f + (1 - b1)*loss``
    - ``c' = b1*c + (1 - b1)*sum(g*p)``
    - ``D = sqrt(v' / (1 - b2^t)) + eps``
    - ``s = 1 + lr*wd``
    - ``l = max(s*(f' - (1 - b1^t)*f_min - c') + sum(m'*p), 0) / sum(m'^2 / D)``
    - ``p' = p/s - min(lr / (1 - b1^t), l) * m'/D``

    Sums are over all elements of all parameters. Where the divisor is below 2.2e-16, ``l`` is 0.

    when : `adam` whose learning rate may be ten times too large; 0.01
    learning_rate : the longest step; it may be ten times what Adam can do with
    beta1 : decay of the first moment, of the loss and of ``c``
    beta2 : decay of the second moment
    f_min : the least value of the loss, or a guess from below
    weight_decay : how much each step takes off the parameter, times the learning rate
    adapt_f_min : whether a higher guess is found on the way, see `momo`
    state : first_moment, second_moment, step; mean_loss, mean_product and perhaps found_f_min for
        the whole call

    `adamw` : the length of the step is given
    `momo` : along the mean gradient itself

    Schaipp, Ohana, Eickenberg, Defazio, Gower (2023), "MoMo: Momentum Models for Adaptive Learning
    Rates", arXiv:2305.07583; the form is optax's, whose ``lower_bound`` is `f_min`.
    """
    means, directions = [], []
    for state, _, grad in call:
        mean, square = moments(state, grad, state.cast(beta1), state.cast(beta2))
        size = pt.sqrt(state.unbiased(square, state.cast(beta2))) + state.cast(epsilon)
        means.append(mean)
        directions.append(mean / size)
    squares = sum_of_products(means, directions)
    correction = 1 - beta1**call.time
    length, shrinkage = _model(call, beta1, means, squares, correction)
    for (state, param, _), direction in zip(call, directions, strict=True):
        state.update(param, param / state.cast(shrinkage) - state.cast(length) * direction)


def _model(
    call: Call, decay: Tensor, means: list[Tensor], squares: Tensor, correction: Any
) -> tuple[Tensor, Tensor]:
    """Return how far the model of the loss says to go, and what the parameters are divided by."""
    given = call.hyperparameters
    rate, f_min = given["learning_rate"], given["f_min"]
    loss, product = call.scalar("mean_loss"), call.scalar("mean_product")
    present_loss = provenance.cast(call.loss, call.dtype)
    present_product = sum_of_products(call.grads, call.params)
    loss = call.update(loss, decay * loss + (1 - decay) * present_loss)
    product = call.update(product, decay * product + (1 - decay) * present_product)
    along, shrinkage = sum_of_products(means, call.params), 1 + rate * given["weight_decay"]
    level = shrinkage * (loss - product) + along
    bound, above = f_min, None
    if given["adapt_f_min"]:
        above = call.scalar("found_f_min")
        is_too_high = level < shrinkage * correction * (f_min + above)
        lower = pt.maximum(level / (2 * correction * shrinkage), f_min)
        bound = pt.switch(is_too_high, lower, f_min + above)
    found = pt.maximum(level - shrinkage * correction * bound, 0)
    length = pt.minimum(rate / correction, _over(found, squares))
    if above is not None:
        reached = (loss + along - product - length * squares / 2) / correction
        call.update(above, pt.maximum(reached - f_min, 0))
    return length, shrinkage


def _over(height: Tensor, squares: Tensor) -> Tensor:
    """Divide by a sum of squares, or return 0 where it is as good as 0."""
    is_flat = squares <= np.finfo("float64").eps
    return pt.switch(is_flat, 0, height / pt.switch(is_flat, 1, squares))
