"""Rules that step along signs: every element moves by the same length.

- ``sign_sgd``: the sign of the gradient
- ``signum``: the sign of the mean gradient
- ``lion``: the sign of the mean gradient with more of the present one, and weight decay
"""

import pytensor.tensor as pt

from updates.call import State, Tensor
from updates.kinds import Fraction, LearningRate, Mask, StateDtype, WeightDecay
from updates.rule import rule


@rule
def sign_sgd(
    state: State,
    param: Tensor,
    grad: Tensor,
    learning_rate: LearningRate,
) -> Tensor:
    """Gradient descent along the sign of the gradient.

    ``p' = p - lr*sign(g)``

    An element whose gradient is zero stays.

    when : gradients of wildly different sizes; 0.001
    learning_rate : length of the step of every element

    `signum` : the sign of the mean gradient
    `rprop` : with a step length for every element

    Bernstein, Wang, Azizzadenesheli, Anandkumar (2018), "signSGD: Compressed Optimisation for
    Non-Convex Problems", arXiv:1802.04434.
    """
    return param - learning_rate * pt.sign(grad)


@rule
def signum(
    state: State,
    param: Tensor,
    grad: Tensor,
    learning_rate: LearningRate,
    momentum: Fraction = 0.9,
) -> Tensor:
    """Gradient descent along the sign of the mean gradient.

    - ``m' = mu*m + (1 - mu)*g``
    - ``p' = p - lr*sign(m')``

    when : noisy gradients of wildly different sizes; 0.001
    learning_rate : length of the step of every element
    momentum : decay of the mean gradient
    state : mean

    `sign_sgd` : without the mean
    `lion` : with two decays and weight decay

    Bernstein, Wang, Azizzadenesheli, Anandkumar (2018), "signSGD: Compressed Optimisation for
    Non-Convex Problems", arXiv:1802.04434, algorithm 2.
    """
    mean = state.average("mean", grad, momentum)
    return param - learning_rate * pt.sign(mean)


@rule
def lion(
    state: State,
    param: Tensor,
    grad: Tensor,
    learning_rate: LearningRate = 1e-4,
    beta1: Fraction = 0.9,
    beta2: Fraction = 0.99,
    weight_decay: WeightDecay = 1e-3,
    mask: Mask | None = None,
    state_dtype: StateDtype | None = None,
) -> Tensor:
    """Lion: the sign of an average that weighs the present gradient more than it is remembered.

    - ``p' = p - lr*(sign(b1*m + (1 - b1)*g) + wd*p)``
    - ``m' = b2*m + (1 - b2)*g``

    Steps are as long as the learning rate: three to ten times shorter than Adam's serve, with a
    weight decay as many times larger.

    when : large models, half of Adam's memory; 0.0001, three to ten times below `adamw`
    learning_rate : length of the step of every element
    beta1 : share of the mean in the direction
    beta2 : decay of the mean gradient
    state : mean

    `signum` : one decay, no weight decay
    `adamw` : divides by the size instead of taking the sign

    Chen et al. (2023), "Symbolic Discovery of Optimization Algorithms", arXiv:2302.06675.
    """
    mean = state.zeros("mean")
    direction = pt.sign(beta1 * mean + (1 - beta1) * grad) + weight_decay * param
    state.update(mean, beta2 * mean + (1 - beta2) * grad)
    return param - learning_rate * direction
