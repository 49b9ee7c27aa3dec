"""Rules that find the length of their steps by themselves.

- ``dog``: from the distance travelled and the gradients met
- ``dowg``: the same, with gradients that weigh more the farther out they are met
- ``prodigy``: Adam with a growing lower bound of the distance to the solution
- ``dadapt_adamw``: AdamW with another such bound
- ``cocob``: by betting on the next gradient

Their learning rate is a mere factor: 1 needs no tuning, a schedule may shape it.
"""

import pytensor.tensor as pt

from updates import provenance
from updates.call import Call, State, Tensor
from updates.kinds import (
    Epsilon,
    Flag,
    Fraction,
    LearningRate,
    Mask,
    Positive,
    PositiveNumber,
    WeightDecay,
)
from updates.norms import joint_norm, ratio, sum_of_products, sum_of_squares
from updates.rule import joint_rule, rule
from updates.rules.moments import moments


@joint_rule
def dog(
    call: Call,
    learning_rate: LearningRate = 1.0,
    initial_step: Positive = 1e-6,
    epsilon: Epsilon = 1e-8,
    weight_decay: WeightDecay = 0.0,
    mask: Mask | None = None,
) -> None:
    """DoG, distance over gradients: as long as the way so far, over the root of all squares.

    - ``h = g + wd*p``
    - ``r' = max(r, norm(p - p_0), initial_step*(1 + norm(p_0)))``
    - ``s' = s + norm(h)^2``
    - ``p' = p - lr * r'/sqrt(s' + eps) * h``

    ``p_0`` is the parameter at the start. The norms are over all elements of all parameters.

    when : fine-tuning with `sgd`; 1, with `initial_step=0.01` in short runs
    initial_step : length of the first step in units of ``1 + norm(p_0)``; small enough to do no
        harm (1e-4 with batch normalization)
    weight_decay : weight of the parameter in its gradient
    state : start; max_distance, sum_of_squares for the whole call

    `dowg` : weighs the gradients

    Ivgi, Hinder, Carmon (2023), "DoG is SGD's Best Friend: A Parameter-Free Dynamic Step Size
    Schedule", arXiv:2302.12022; the form is optax's with its heuristic first step. The authors
    advise to average the parameters.
    """
    starts, grads = _starts(call), _decayed_grads(call, weight_decay)
    max_distance, squares = call.scalar("max_distance"), call.scalar("sum_of_squares")
    first_distance = initial_step * (1 + joint_norm(starts))
    distance = pt.maximum(first_distance, joint_norm(_ways(call, starts)))
    max_distance = call.update(max_distance, pt.maximum(max_distance, distance))
    squares = call.update(squares, squares + sum_of_squares(grads))
    rate = _rest_at_zero(squares, ratio(max_distance, pt.sqrt(squares + epsilon)))
    _descend(call, learning_rate, rate, grads)


@joint_rule
def dowg(
    call: Call,
    learning_rate: LearningRate = 1.0,
    initial_distance: PositiveNumber | None = None,
    epsilon: Epsilon = 1e-4,
    weight_decay: WeightDecay = 0.0,
    mask: Mask | None = None,
) -> None:
    """DoWG: as DoG, but gradients weigh more the farther from the start they are met.

    - ``h = g + wd*p``
    - ``r2' = max(r2, norm(p - p_0)^2)``
    - ``s' = s + r2'*norm(h)^2``
    - ``p' = p - lr * r2'/(sqrt(s') + eps) * h``

    ``p_0`` is the parameter at the start. The norms are over all elements of all parameters.

    when : fine-tuning with `sgd`, faster away from the start than `dog`; 1
    initial_distance : guess of the distance to the solution; better too small than too large.
        Its square is where ``r2`` starts. None is ``sqrt(epsilon)``
    epsilon : keeps the division away from zero. At 0 the rule needs `initial_distance` to begin
        at all
    weight_decay : weight of the parameter in its gradient
    state : start; max_square_distance, weighted_sum_of_squares for the whole call

    `dog` : all gradients weigh the same

    Khaled, Mishchenko, Jin (2023), "DoWG Unleashed: An Efficient Universal Parameter-Free Gradient
    Descent Method", arXiv:2305.16284; the form is optax's, whose ``init_estim_sq_dist`` is the
    square of `initial_distance`.
    """
    starts, grads = _starts(call), _decayed_grads(call, weight_decay)
    max_distance = call.scalar("max_square_distance")
    squares = call.scalar("weighted_sum_of_squares")
    first_distance = epsilon if initial_distance is None else initial_distance**2
    distance = pt.maximum(first_distance, sum_of_squares(_ways(call, starts)))
    max_distance = call.update(max_distance, pt.maximum(max_distance, distance))
    squares = call.update(squares, squares + max_distance * sum_of_squares(grads))
    rate = _rest_at_zero(squares, ratio(max_distance, pt.sqrt(squares) + epsilon))
    _descend(call, learning_rate, rate, grads)


@joint_rule
def prodigy(
    call: Call,
    learning_rate: LearningRate = 1.0,
    beta1: Fraction = 0.9,
    beta2: Fraction = 0.999,
    epsilon: Epsilon = 1e-8,
    weight_decay: WeightDecay = 0.0,
    beta3: Fraction | None = None,
    initial_distance: PositiveNumber = 1e-6,
    distance_coefficient: Positive = 1.0,
    safeguard_warmup: Flag = False,
    mask: Mask | None = None,
) -> None:
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

    when : fine-tuning, first runs; 1
    learning_rate : factor of the step. Best a schedule that begins at 1 and falls to 0
    beta1, beta2 : decays of the first and of the second moment
    weight_decay : how much of the parameter each step takes off, times its length ``l``
    beta3 : decay of ``n`` and ``s``; None is ``sqrt(beta2)``
    initial_distance : where ``d`` starts; surely below the true distance
    distance_coefficient : factor of the bound. Meant for tuning: 0.5 or 2
    safeguard_warmup : whether the learning rate is left out of ``s``, for schedules that begin
        near 0
    state : start, weighted_sum, first_moment, second_moment, step; distance, numerator for the
        whole call

    `adam` : the learning rate is given
    `dog` : gradient descent whose learning rate is found

    Mishchenko, Defazio (2023), "Prodigy: An Expeditiously Adaptive Parameter-Free Learner",
    arXiv:2306.06101; the form is optax's, but ``n`` and ``s`` are not divided by
    `initial_distance`, which cancels, and 0 / 0 counts as 0.
    """
    beta3 = pt.sqrt(beta2) if beta3 is None else beta3
    distance = call.scalar("distance", initial_distance)
    correction = pt.sqrt(1 - beta2**call.time) / (1 - beta1**call.time)
    rate = distance * learning_rate * correction
    weight = distance * (distance if safeguard_warmup else rate)

    progress, size = pt.zeros((), call.dtype), pt.zeros((), call.dtype)
    for (state, param, grad), start in zip(call, _starts(call), strict=True):
        total = state.zeros("weighted_sum")
        total = state.update(total, state.cast(beta3) * total + state.cast(weight) * grad)
        progress += pt.sum(pt.cast(grad, call.dtype) * (start - param))
        size += pt.sum(abs(total), dtype=call.dtype)
    numerator = call.scalar("numerator")
    numerator = call.update(numerator, beta3 * numerator + distance * rate * progress)
    bound = distance_coefficient * ratio(numerator, size)
    distance_new = call.update(distance, pt.maximum(distance, bound))

    for state, param, grad in call:
        scaled = state.cast(distance) * grad
        first_moment, second_moment = moments(state, scaled, state.cast(beta1), state.cast(beta2))
        floor = state.cast(distance_new) * state.cast(epsilon)
        direction = ratio(first_moment, pt.sqrt(second_moment) + floor)
        step = direction + state.cast(weight_decay) * param
        state.update(param, param - state.cast(rate) * step)


@joint_rule
def dadapt_adamw(
    call: Call,
    learning_rate: LearningRate = 1.0,
    beta1: Fraction = 0.9,
    beta2: Fraction = 0.999,
    epsilon: Epsilon = 1e-8,
    weight_decay: WeightDecay = 0.0,
    initial_distance: PositiveNumber = 1e-6,
    mask: Mask | None = None,
) -> None:
    """D-Adapted AdamW: its learning rate grows with a bound of the distance to the solution.

    - ``l = d*lr * sqrt(1 - b2^t) / (1 - b1^t)``
    - ``n' = sqrt(b2)*n + (1 - sqrt(b2))*l*sum(g*s / (sqrt(v) + eps))``
    - ``s' = sqrt(b2)*s + (1 - sqrt(b2))*l*g``
    - ``d' = max(d, n' / ((1 - sqrt(b2)) * sum(abs(s'))))``
    - ``m' = b1*m + (1 - b1)*l*g``
    - ``v' = b2*v + (1 - b2)*g^2``
    - ``p' = p - m' / (sqrt(v') + eps) - l*wd*p``

    ``t`` counts calls from 1. The sums are over all elements of all parameters, so ``d`` and ``n``
    are one number each.

    when : as `prodigy`, slower and calmer; 1
    learning_rate : factor of the step. Best a schedule that begins at 1 and falls to 0
    beta1, beta2 : decays of the first and of the second moment
    weight_decay : how much of the parameter each step takes off, times its length ``l``
    initial_distance : where ``d`` starts; surely below the true distance
    state : weighted_sum, first_moment, second_moment, step; distance, numerator for the whole call

    `prodigy` : finds the distance faster
    `adamw` : the learning rate is given

    Defazio, Mishchenko (2023), "Learning-Rate-Free Learning by D-Adaptation", arXiv:2301.07733;
    the form is optax's, but 0 / 0 counts as 0.
    """
    distance, numerator = call.scalar("distance", initial_distance), call.scalar("numerator")
    correction = pt.sqrt(1 - beta2**call.time) / (1 - beta1**call.time)
    rate, decay = distance * learning_rate * correction, pt.sqrt(beta2)

    progress, size = pt.zeros((), call.dtype), pt.zeros((), call.dtype)
    for state, param, grad in call:
        own_rate, floor = state.cast(rate), state.cast(epsilon)
        first_moment, second_moment = state.zeros("first_moment"), state.zeros("second_moment")
        total, b1, b2 = state.zeros("weighted_sum"), state.cast(beta1), state.cast(beta2)
        scaled = ratio(total, pt.sqrt(second_moment) + floor)
        progress += sum_of_products([grad], [scaled])
        own_decay = state.cast(decay)
        total = state.update(total, own_decay * total + (1 - own_decay) * own_rate * grad)
        size += pt.sum(abs(total), dtype=call.dtype)
        first = state.update(first_moment, b1 * first_moment + (1 - b1) * own_rate * grad)
        second = state.update(second_moment, b2 * second_moment + (1 - b2) * grad**2)
        shrinkage = own_rate * state.cast(weight_decay) * param
        state.update(param, param - ratio(first, pt.sqrt(second) + floor) - shrinkage)
    numerator = call.update(numerator, decay * numerator + (1 - decay) * rate * progress)
    call.update(distance, pt.maximum(distance, ratio(numerator, (1 - decay) * size)))


@rule
def cocob(
    state: State,
    param: Tensor,
    grad: Tensor,
    learning_rate: LearningRate = 1.0,
    alpha: Positive = 100.0,
    epsilon: Epsilon = 1e-8,
    weight_decay: WeightDecay = 0.0,
    mask: Mask | None = None,
) -> Tensor:
    """COCOB, continuous coin betting: each element bets what it has won on its next gradient.

    - ``c = lr*(g + wd*p)``
    - ``L' = max(L, abs(c));  G' = G + abs(c);  C' = C - c``
    - ``R' = max(R - c*(p - p_0), 0)``
    - ``p' = p_0 + C'/max(G' + l, alpha*l) * (1 + R'/l)``, with ``l = max(L', eps)``

    ``p_0`` is the parameter at the start. ``R`` is what was won so far.

    when : no learning rate at all; 1
    learning_rate : factor of the gradients; its size hardly matters, a schedule may shape it
    alpha : the larger, the smaller are the first bets
    weight_decay : weight of the parameter in its gradient
    state : start, max_gradient, sum_of_sizes, sum_of_gradients, reward

    `dog` : from the distance travelled

    Orabona, Tommasi (2017), "Training Deep Networks without Learning Rates Through Coin Betting",
    arXiv:1705.07795, algorithm 2; the form is optax's.
    """
    start = state.copy("start")
    state.update(start, start)
    outcome = learning_rate * (grad + weight_decay * param)
    largest, sizes = state.zeros("max_gradient"), state.zeros("sum_of_sizes")
    sums, reward = state.zeros("sum_of_gradients"), state.zeros("reward")
    largest = state.update(largest, pt.maximum(largest, abs(outcome)))
    sizes = state.update(sizes, sizes + abs(outcome))
    sums = state.update(sums, sums - outcome)
    reward = state.update(reward, pt.maximum(reward - outcome * (param - start), 0))
    scale = pt.maximum(largest, epsilon)
    bet = sums / pt.maximum(sizes + scale, alpha * scale)
    return start + bet * (1 + reward / scale)


def _starts(call: Call) -> list[Tensor]:
    """Keep where each parameter was at the start."""
    starts = [state.copy("start") for state in call.states]
    return [call.update(start, start) for start in starts]


def _decayed_grads(call: Call, weight_decay: WeightDecay) -> list[Tensor]:
    return [grad + state.cast(weight_decay) * param for state, param, grad in call]


def _ways(call: Call, starts: list[Tensor]) -> list[Tensor]:
    """Return how far each parameter has come."""
    return [param - start for param, start in zip(call.params, starts, strict=True)]


def _rest_at_zero(squares: Tensor, rate: Tensor) -> Tensor:
    """Return 0 while all gradients were 0: over the least epsilon, float32 has no such rate."""
    return provenance.reads_as(pt.switch(pt.eq(squares, 0), 0, rate), 2)


def _descend(call: Call, learning_rate: LearningRate, rate: Tensor, grads: list[Tensor]) -> None:
    for (state, param, _), grad in zip(call, grads, strict=True):
        state.update(param, param - state.cast(learning_rate) * state.cast(rate) * grad)
