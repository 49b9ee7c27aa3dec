"""Rules that scale the step of each tensor by norms of the whole tensor.

- ``lars``: momentum, with steps in proportion to the norm of the parameter
- ``lamb``: Adam, with steps in proportion to the norm of the parameter
- ``fromage``: the same for the plain gradient, without growth of the norm
- ``novograd``: momentum of gradients divided by a mean of their norms

The norm of a tensor is the root of the sum of all its squares, summed in float64.
"""

import pytensor.tensor as pt

from updates.call import State, Tensor
from updates.kinds import (
    Epsilon,
    Flag,
    Fraction,
    LearningRate,
    Mask,
    NonNegative,
    Positive,
    WeightDecay,
)
from updates.norms import joint_norm
from updates.rule import rule
from updates.rules.moments import adam_direction
from updates.rules.velocity import with_momentum


@rule(rows=False)
def lars(
    state: State,
    param: Tensor,
    grad: Tensor,
    learning_rate: LearningRate,
    momentum: Fraction = 0.9,
    weight_decay: WeightDecay = 0.0,
    trust_coefficient: Positive = 0.001,
    epsilon: Epsilon = 0.0,
    nesterov: Flag = False,
    mask: Mask | None = None,
) -> Tensor:
    """LARS: momentum whose steps are in proportion to the norm of each parameter.

    - ``u = g + wd*p``
    - ``r = c*norm(p) / (norm(u) + eps)         (1 where norm(p) or norm(u) is 0)``
    - ``v' = mu*v - lr*r*u``
    - ``p' = p + v'                             (nesterov: p' = p + mu*v' - lr*r*u)``

    when : batches of thousands, convolutional; 1
    momentum : how much of the velocity is kept
    weight_decay : how much of the parameter itself is added to the gradient
    trust_coefficient : length of a step of learning rate 1, in norms of the parameter
    epsilon : added to the norm that divides
    nesterov : whether the momentum is that of `nesterov_momentum`
    state : velocity

    `lamb` : for Adam
    `momentum` : without the norms

    You, Gitman, Ginsburg (2017), "Large Batch Training of Convolutional Networks",
    arXiv:1708.03888; this form is optax's, where the paper divides by ``norm(g) + wd*norm(p)``.
    """
    direction = grad + weight_decay * param
    norms = joint_norm([direction]), joint_norm([param])
    coefficient, epsilon = state.wide(trust_coefficient), state.wide(epsilon)
    step = learning_rate * _proportional(direction, *norms, coefficient, epsilon)
    return with_momentum(state, param, step, momentum, nesterov)


@rule(rows=False)
def lamb(
    state: State,
    param: Tensor,
    grad: Tensor,
    learning_rate: LearningRate = 0.001,
    beta1: Fraction = 0.9,
    beta2: Fraction = 0.999,
    epsilon: Epsilon = 1e-6,
    weight_decay: WeightDecay = 0.0,
    mask: Mask | None = None,
) -> Tensor:
    """LAMB: AdamW whose steps are in proportion to the norm of each parameter.

    - ``m' = b1*m + (1 - b1)*g``
    - ``v' = b2*v + (1 - b2)*g^2``
    - ``m^ = m' / (1 - b1^t);  v^ = v' / (1 - b2^t)``
    - ``u = m^ / (sqrt(v^) + eps) + wd*p``
    - ``p' = p - lr*norm(p)/norm(u)*u           (p - lr*u where norm(p) or norm(u) is 0)``

    when : batches of thousands, transformers; 0.001
    learning_rate : length of the step in norms of the parameter
    beta1, beta2 : decays of the first and of the second moment
    state : first_moment, second_moment, step

    `adamw` : without the norms
    `lars` : for momentum

    You et al. (2019), "Large Batch Optimization for Deep Learning: Training BERT in 76 minutes",
    arXiv:1904.00962; norms are not bounded, as in optax.
    """
    direction = adam_direction(state, grad, beta1, beta2, epsilon) + weight_decay * param
    return param - learning_rate * _proportional(
        direction, joint_norm([direction]), joint_norm([param])
    )


@rule(rows=False)
def fromage(
    state: State,
    param: Tensor,
    grad: Tensor,
    learning_rate: LearningRate = 0.01,
    min_norm: NonNegative = 1e-6,
) -> Tensor:
    """Fromage: steps in proportion to the norm of each parameter, which does not grow by them.

    - ``r = max(norm(p), min_norm) / max(norm(g), min_norm)    (1 where one of them is 0)``
    - ``p' = (p - lr*r*g) / sqrt(1 + lr^2)``

    when : one rate for every architecture; 0.03
    learning_rate : length of the step in norms of the parameter
    min_norm : norms count as at least this

    `lamb` : for Adam's direction
    `lars` : with momentum

    Bernstein, Vahdat, Yue, Liu (2020), "On the distance between two neural networks and the
    stability of learning", arXiv:2002.03432; `min_norm` is optax's.
    """
    least = state.wide(min_norm)
    norms = (pt.maximum(joint_norm([tensor]), least) for tensor in (grad, param))
    step = learning_rate * _proportional(grad, *norms)
    return (param - step) / pt.sqrt(1 + learning_rate**2)


@rule(rows=False)
def novograd(
    state: State,
    param: Tensor,
    grad: Tensor,
    learning_rate: LearningRate = 0.001,
    beta1: Fraction = 0.9,
    beta2: Fraction = 0.25,
    epsilon: Epsilon = 1e-6,
    weight_decay: WeightDecay = 0.0,
    mask: Mask | None = None,
) -> Tensor:
    """NovoGrad: momentum of gradients that are divided by a mean of their norm.

    - ``r' = sqrt(b2*r^2 + (1 - b2)*norm(g)^2)          (first call: norm(g))``
    - ``m' = b1*m + g / (r' + eps) + wd*p``
    - ``p' = p - lr*m'``

    ``r`` is one number for each parameter, the root of its second moment, whose square would soon
    be beyond float16.

    when : speech and large batches, little memory; 0.01
    beta1 : how much of the first moment, a decaying sum, is kept
    beta2 : decay of the second moment
    state : mean_norm, first_moment, step

    `adamw` : a second moment for every element

    Ginsburg et al. (2019), "Stochastic Gradient Methods with Layer-wise Adaptive Moments for
    Training of Deep Networks", arXiv:1905.11286; this form is optax's.
    """
    mean_norm = state.array("mean_norm")
    memory = pt.switch(pt.eq(state.step, 0), 0, state.wide(beta2))
    # The cast is for JAX, which would take the number for a float32 one beside a float32 variable.
    before = pt.sqrt(memory) * pt.cast(mean_norm, state.call.dtype)
    size = joint_norm([before, pt.sqrt(1 - memory) * joint_norm([grad])])
    state.update(mean_norm, size.astype(param.dtype))
    normalized = (grad / (size + state.wide(epsilon))).astype(param.dtype)
    first_moment = state.zeros("first_moment")
    decaying_sum = beta1 * first_moment + normalized + weight_decay * param
    return param - learning_rate * state.update(first_moment, decaying_sum)


def _proportional(
    direction: Tensor,
    direction_norm: Tensor,
    param_norm: Tensor,
    coefficient: Positive | int = 1,
    epsilon: Epsilon | int = 0,
) -> Tensor:
    """Scale a direction to the norm of its parameter, or leave it where one norm is zero.

    The norms are in float64: that of a long float16 vector may be beyond all of float16.
    """
    both = pt.and_(param_norm > 0, direction_norm > 0)
    length = pt.switch(both, coefficient * param_norm, 1)
    divisor = pt.switch(both, direction_norm + epsilon, 1)
    return (length * (direction / divisor)).astype(direction.dtype)
