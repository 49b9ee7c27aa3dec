"""Rules that change the steps of another rule.

- ``cautious``: only where they agree with the gradient
- ``schedule_free``: between a fast sequence and its average, in the place of a falling rate
- ``mechanize``: as long as it would have paid to make them so far
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytensor.tensor as pt

from updates.call import Call, Tensor, checked_updates
from updates.kinds import (
    Count,
    Epsilon,
    Fraction,
    LearningRate,
    NonNegative,
    PositiveNumber,
    WaitingRule,
)
from updates.named_dimensions import without_names
from updates.norms import joint_norm, sum_of_products
from updates.rows import label
from updates.rule import joint_rule
from updates.rules.averaging import moved


@joint_rule
def cautious(
    call: Call,
    rule: WaitingRule,
) -> None:
    """Make only those elements of a step that go down the gradient, and make these longer.

    - ``u = rule(g, p) - p``
    - ``m = 1 where u*g < 0, else 0``
    - ``p' = p + u*m * n / (1 + sum(m))``, n the number of elements of ``p``

    Momentum may point uphill after the gradient has turned; such elements wait. What else the rule
    does to a parameter, weight decay for instance, counts as part of its step.

    when : momentum that outlives its gradient; that of the rule inside
    rule : takes gradients and parameters and returns their updates: a rule of this library
        called without a loss, such as ``adamw(learning_rate=0.001)``
    state : what `rule` keeps, which goes on as if its steps had been made

    Liang, Chen, Liu, Liu (2024), "Cautious Optimizers: Improving Training with One Line of Code",
    arXiv:2411.16085.
    """
    for (state, param, grad), step in zip(call, _steps(call, rule), strict=True):
        agrees = pt.cast(step * grad < 0, param.type.dtype)
        size = state.cast(pt.cast(param.size, call.dtype) / (1 + agrees.sum(dtype=call.dtype)))
        state.update(param, param + step * agrees * size)


@joint_rule
def schedule_free(
    call: Call,
    rule: WaitingRule,
    learning_rate: LearningRate = 1.0,
    momentum: Fraction = 0.9,
    weight_lr_power: NonNegative = 2.0,
) -> None:
    """Any rule without a falling learning rate: an average of its points takes that place.

    - ``z' = z + rule(g, p) - p``
    - ``x' = x + c*(z' - x)``
    - ``p' = mu*x' + (1 - mu)*z'``

    ``c = w_t / (w_1 + ... + w_t)`` with ``w_t = (largest lr so far)^weight_lr_power``. The
    parameter ``p`` is where gradients are taken; ``x`` is what to use in the end, and ``z`` the
    fast sequence that it averages. The rule should have no momentum of its own.

    when : training whose length is not known beforehand; that of the rule inside
    rule : takes gradients and parameters and returns their updates: a rule of this library
        called without a loss, such as ``rmsprop(learning_rate=0.001)``
    learning_rate : what the calls are weighed by. Give the schedule of the rule inside, if it has
        one, which should warm up and not fall; any number is as good as another
    momentum : how close the parameter is to the average; optax's ``b1``
    weight_lr_power : how strongly a larger learning rate makes a call count more
    state : base, average; max_learning_rate, weight_sum for the whole call; what `rule` keeps

    `schedule_free_sgd` : the same around gradient descent
    `schedule_free_adamw` : the same around Adam without its first moment
    `apply_ema` : averages take no part in the training

    Defazio et al. (2024), "The Road Less Scheduled", arXiv:2405.15682; the form is optax's, with
    the exceptions that `schedule_free_sgd` names.
    """
    for (state, param, _), step in zip(call, _steps(call, rule), strict=True):
        state.update(param, moved(state, -step, state.cast(momentum)))


@joint_rule
def mechanize(
    call: Call,
    rule: WaitingRule,
    weight_decay: NonNegative = 0.01,
    epsilon: Epsilon = 1e-8,
    initial_scale: PositiveNumber = 1e-6,
    num_betas: Count = 6,
) -> None:
    """Mechanic: any rule, its steps scaled by how well they would have done so far.

    - ``D = (p_0 - p) / (sum(s) + eps)``
    - ``h = sum((g + wd*sum(s)*norm(g)/(norm(p) + eps)*p) * D)``
    - ``r' = b*r + clip(h, -m, m)*s``
    - ``m' = max(b*m, abs(h) + eps)``
    - ``v' = b^2*v + h^2``
    - ``s' = (initial_scale/n*m' + max(r', 0)) / (sqrt(v') + eps)``
    - ``p' = p_0 - sum(s')*(D + p - rule(g, p))``

    ``p_0`` is the parameter at the start; ``s``, ``r``, ``m`` and ``v`` are vectors of ``n``
    numbers, one for each decay ``b = 0.9, 0.99, 0.999, ...``. Norms and sums are over all elements
    of all parameters. The learning rate of the rule inside is a mere factor: 1, or a schedule
    that begins there.

    when : a rule whose learning rate nobody knows; 1
    rule : takes gradients and parameters and returns their updates: a rule of this library
        called without a loss, such as ``adam(learning_rate=1.0)``. Those whose steps do not depend
        on the size of the gradient of the whole (`lars`, `lamb`) do not go well with it
    weight_decay : weight of the parameters in the gradients of ``h``
    initial_scale : what the scale starts from; anything small
    num_betas : number of decays ``n``
    state : start; scales, rewards, max_products, sums_of_squares for the whole call; what `rule`
        keeps

    `prodigy` : finds the learning rate of Adam
    `schedule_free` : leaves out its fall

    Cutkosky, Defazio, Mehta (2023), "Mechanic: A Learning Rate Tuner", arXiv:2306.00144; the form
    is optax's, but for where the start is taken from: here the value when the rule is built.
    """
    proposed = _steps(call, rule)
    names = ("rewards", "max_products", "sums_of_squares")
    scales = call.array("scales", (num_betas,), start=initial_scale)
    rewards, largest, squares = (call.array(name, (num_betas,)) for name in names)
    starts = [state.copy("start") for state in call.states]
    scale = pt.sum(scales)
    ways = [
        (call.update(start, start) - param) / state.cast(scale + epsilon)
        for (state, param, _), start in zip(call, starts, strict=True)
    ]
    pull = weight_decay * scale * joint_norm(call.grads) / (joint_norm(call.params) + epsilon)
    product = sum_of_products(call.grads, ways) + pull * sum_of_products(call.params, ways)

    betas = pt.constant(1 - 0.1 ** np.arange(1, num_betas + 1), dtype=call.dtype)
    clipped = pt.clip(product, -largest, largest)
    largest = call.update(largest, pt.maximum(betas * largest, abs(product) + epsilon))
    squares = call.update(squares, betas**2 * squares + product**2)
    rewards = call.update(rewards, betas * rewards + clipped * scales)
    wealth = initial_scale / num_betas * largest + pt.maximum(rewards, 0)
    scale_new = pt.sum(call.update(scales, wealth / (pt.sqrt(squares) + epsilon)))
    for state, start, way, step in zip(call.states, starts, ways, proposed, strict=True):
        state.update(state.param, start - state.cast(scale_new) * (way - step))


def _steps(call: Call, rule: Callable[..., Any]) -> list[Tensor]:
    """Return what a rule would add to each parameter, and keep what it keeps."""
    proposed = checked_updates(call.stepped_by(rule, call.grads))
    call.updates |= proposed
    steps = []
    for index, (state, param, _) in enumerate(call):
        if state.owner not in proposed:
            raise ValueError(f"rule gives no next value to {label(state.owner, index)}")
        steps.append(without_names(proposed[state.owner]) - param)
    return steps
