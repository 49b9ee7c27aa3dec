"""Adam with decoupled weight decay: the decay is added to the direction, not to the gradient.

- ``adamw``: the size is the root of the mean square
- ``adamaxw``: the size is a decaying maximum
- ``ademamix``: as ``adamw``, with a second, slower mean of the gradient
- ``mars``: as ``adamw``, along gradients whose noise is reduced by those of the call before

Without weight decay the first is the Adam of PyTorch and of optax, whose epsilon is
not that of Lasagne's ``adam``.
"""

import pytensor.tensor as pt

from updates.call import State, Tensor
from updates.kinds import (
    Epsilon,
    Fraction,
    LearningRate,
    Mask,
    NonNegative,
    Positive,
    StateDtype,
    WeightDecay,
)
from updates.norms import joint_norm, scaled
from updates.rule import rule
from updates.rules.moments import adam_direction, unbiased_moments


@rule
def adamw(
    state: State,
    param: Tensor,
    grad: Tensor,
    learning_rate: LearningRate = 0.001,
    beta1: Fraction = 0.9,
    beta2: Fraction = 0.999,
    epsilon: Epsilon = 1e-8,
    weight_decay: WeightDecay = 1e-4,
    mask: Mask | None = None,
    state_dtype: StateDtype | None = None,
) -> Tensor:
    """AdamW: Adam with weight decay that is not part of the gradient.

    - ``m' = b1*m + (1 - b1)*g``
    - ``v' = b2*v + (1 - b2)*g^2``
    - ``m^ = m' / (1 - b1^t);  v^ = v' / (1 - b2^t)``
    - ``p' = p - lr*(m^ / (sqrt(v^) + eps) + wd*p)``

    With ``weight_decay=0`` this is the Adam of PyTorch and of optax.

    when : most networks; 0.001
    beta1, beta2 : decays of the first and of the second moment
    state : first_moment, second_moment, step

    `adam` : without weight decay, and with Lasagne's epsilon
    `nadamw` : the mean gradient looks one call ahead
    `lamb` : scaled to the norm of each tensor
    `ademamix` : remembers gradients for longer

    Loshchilov, Hutter (2017), "Decoupled Weight Decay Regularization", arXiv:1711.05101; the
    decay is multiplied by the learning rate and the default is 1e-4 as in optax. PyTorch's AdamW
    is the same with a default of 1e-2.
    """
    direction = adam_direction(state, grad, beta1, beta2, epsilon)
    return param - learning_rate * (direction + weight_decay * param)


@rule
def adamaxw(
    state: State,
    param: Tensor,
    grad: Tensor,
    learning_rate: LearningRate = 0.002,
    beta1: Fraction = 0.9,
    beta2: Fraction = 0.999,
    epsilon: Epsilon = 1e-8,
    weight_decay: WeightDecay = 1e-4,
    mask: Mask | None = None,
) -> Tensor:
    """AdaMax with weight decay that is not part of the gradient.

    - ``m' = b1*m + (1 - b1)*g``
    - ``u' = max(b2*u, abs(g) + eps)``
    - ``p' = p - lr*(m' / (1 - b1^t) / u' + wd*p)``

    Epsilon is inside the maximum, as in PyTorch and optax: with ``weight_decay=0`` this is their
    Adamax. Lasagne's `adamax` adds it to the maximum.

    when : embeddings, rare large gradients; 0.002
    beta1 : decay of the first moment
    beta2 : decay of the maximum
    state : first_moment, infinity_norm, step

    `adamax` : without weight decay, and with Lasagne's epsilon
    `adamw` : the size from a mean square

    Kingma, Ba (2014), "Adam: A Method for Stochastic Optimization", arXiv:1412.6980, section 7.1;
    Loshchilov, Hutter (2017), "Decoupled Weight Decay Regularization", arXiv:1711.05101; joined
    as in optax.
    """
    first_moment = state.average("first_moment", grad, beta1)
    infinity_norm = state.zeros("infinity_norm")
    size = state.update(infinity_norm, pt.maximum(beta2 * infinity_norm, abs(grad) + epsilon))
    direction = state.unbiased(first_moment, beta1) / size
    return param - learning_rate * (direction + weight_decay * param)


@rule
def ademamix(
    state: State,
    param: Tensor,
    grad: Tensor,
    learning_rate: LearningRate = 0.001,
    beta1: Fraction = 0.9,
    beta2: Fraction = 0.999,
    beta3: Fraction = 0.9999,
    alpha: NonNegative = 5.0,
    epsilon: Epsilon = 1e-8,
    weight_decay: WeightDecay = 0.0,
    mask: Mask | None = None,
) -> Tensor:
    """AdEMAMix: AdamW along a mix of a fast and a slow mean gradient.

    - ``m' = b1*m + (1 - b1)*g``
    - ``s' = b3*s + (1 - b3)*g``
    - ``v' = b2*v + (1 - b2)*g^2``
    - ``m^ = m' / (1 - b1^t);  v^ = v' / (1 - b2^t)``
    - ``p' = p - lr*((m^ + alpha*s') / (sqrt(v^) + eps) + wd*p)``

    The slow mean is not corrected for its start at zero and so comes in gently; the paper also
    lets `beta3` and `alpha` grow, for which they may be schedules.

    when : very long runs that profit from old gradients; 0.001
    beta1 : decay of the fast mean gradient
    beta2 : decay of the second moment
    beta3 : decay of the slow mean gradient
    alpha : weight of the slow mean beside the fast one
    state : first_moment, second_moment, slow_moment, step

    `adamw` : one mean only

    Pagliardini, Ablin, Grangier (2024), "The AdEMAMix Optimizer: Better, Faster, Older",
    arXiv:2409.03137; this form is optax's.
    """
    first_moment, second_moment = unbiased_moments(state, grad, beta1, beta2)
    slow_moment = state.average("slow_moment", grad, beta3)
    mix = first_moment + alpha * slow_moment
    direction = mix / (pt.sqrt(second_moment) + epsilon)
    return param - learning_rate * (direction + weight_decay * param)


@rule(rows=False)
def mars(
    state: State,
    param: Tensor,
    grad: Tensor,
    learning_rate: LearningRate = 0.003,
    beta1: Fraction = 0.95,
    beta2: Fraction = 0.99,
    epsilon: Epsilon = 1e-8,
    gamma: NonNegative = 0.025,
    max_norm: Positive = 1.0,
    weight_decay: WeightDecay = 0.0,
    mask: Mask | None = None,
) -> Tensor:
    """MARS: AdamW along gradients that are corrected by their change, and clipped.

    - ``d  = g - (gradient of the call before)         (g in the first call)``
    - ``c  = g + gamma*b1/(1 - b1)*d``
    - ``c^ = c * min(1, max_norm/norm(c))``
    - ``m' = b1*m + (1 - b1)*c^``
    - ``v' = b2*v + (1 - b2)*c^^2``
    - ``m^ = m' / (1 - b1^t);  v^ = v' / (1 - b2^t)``
    - ``p' = p - lr*(m^ / (sqrt(v^) + eps) + wd*p)``

    The change makes up for what is old in the mean gradient, which reduces its variance. The norm
    is that of one parameter.

    when : noisy gradients of language models; 0.003
    beta1, beta2 : decays of the first and of the second moment
    gamma : strength of the correction; 0 is AdamW with clipped gradients, 1 the full correction
    max_norm : largest norm of a corrected gradient
    weight_decay : how much of the parameter each step takes off, times the learning rate
    state : first_moment, second_moment, previous_gradient, step

    `adamw` : without correction and clipping
    `adan` : the change has a mean of its own

    Yuan, Liu, Wu, Zhou, Gu (2024), "MARS: Unleashing the Power of Variance Reduction for Training
    Large Models", arXiv:2411.10438. The form is MARS-AdamW-approx in the authors' code, with all
    parameters treated alike. The exact method has the earlier gradient computed on the present
    data.
    """
    previous = state.zeros("previous_gradient")
    state.update(previous, grad)
    corrected = grad + gamma * (beta1 / (1 - beta1)) * (grad - previous)
    norm, bound = joint_norm([corrected]), state.wide(max_norm)
    shrink = state.cast(bound / pt.maximum(norm, bound))
    direction = adam_direction(state, scaled(corrected, shrink, norm), beta1, beta2, epsilon)
    return param - learning_rate * (direction + weight_decay * param)
