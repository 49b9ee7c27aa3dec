"""Rules that divide each step by a moving average of the gradient's size.

- ``rmsprop``: by the root of the mean square
- ``deepmind_rmsprop``: by the standard deviation, the mean being taken out
- ``graves_rmsprop``: the same with a halflife in place of a decay, and with momentum on the step
"""

import pytensor.tensor as pt

from updates.call import State, Tensor
from updates.given_numbers import given_as
from updates.kinds import Epsilon, Flag, Fraction, LearningRate, Positive, StateDtype
from updates.rule import rule
from updates.rules.velocity import with_momentum


@rule
def rmsprop(
    state: State,
    param: Tensor,
    grad: Tensor,
    learning_rate: LearningRate = 1.0,
    rho: Fraction = 0.9,
    epsilon: Epsilon = 1e-6,
    max_scaling: Positive | None = None,
    epsilon_outside: Epsilon | None = None,
    state_dtype: StateDtype | None = None,
) -> Tensor:
    """RMSProp: steps divided by the root of the mean square of recent gradients.

    - ``a' = rho*a + (1 - rho)*g^2``
    - ``p' = p - lr*g / sqrt(a' + eps)``

    With `max_scaling` the divisor is ``max(sqrt(a' + eps), 1 / max_scaling)``, with
    `epsilon_outside` it is ``sqrt(a' + eps) + epsilon_outside``.

    when : recurrent networks, changing losses; 0.001
    learning_rate : about the length of the step of every element; 1 is Lasagne's default, 0.001
        the usual choice
    rho : decay of the moving averages
    max_scaling : by how much a small gradient is scaled up at most. None is without limit
    epsilon_outside : epsilon outside the root. None is without
    state : mean_square

    `deepmind_rmsprop` : takes the mean gradient out of the mean square
    `adagrad` : sums instead of averaging
    `adam` : averages the gradient as well

    Tieleman, Hinton (2012), "Lecture 6.5: rmsprop", COURSERA: Neural Networks for Machine
    Learning; epsilon under the root as in Lasagne. Blocks' rule is ``epsilon=0, max_scaling=1e5``,
    PyTorch's and Keras's ``epsilon=0, epsilon_outside=1e-8``.
    """
    size = pt.sqrt(state.average("mean_square", grad**2, rho) + epsilon)
    if max_scaling is not None:
        size = pt.maximum(size, 1 / max_scaling)
    if epsilon_outside is not None:
        size = size + epsilon_outside
    return param - learning_rate * grad / size


@rule
def deepmind_rmsprop(
    state: State,
    param: Tensor,
    grad: Tensor,
    learning_rate: LearningRate = 0.00025,
    rho: Fraction = 0.95,
    epsilon: Epsilon = 0.01,
) -> Tensor:
    """DeepMind's RMSProp: steps divided by the standard deviation of recent gradients.

    - ``m' = rho*m + (1 - rho)*g``
    - ``a' = rho*a + (1 - rho)*g^2``
    - ``p' = p - lr*g / sqrt(max(a' - m'^2, 0) + eps)``

    The ``max`` only removes negative rounding: a variance is not negative.

    when : deep Q-learning; 0.00025
    rho : decay of the moving averages
    state : mean, mean_square

    `rmsprop` : the mean stays in
    `graves_rmsprop` : with a halflife in place of rho, and with momentum

    Mnih et al. (2015), "Human-level control through deep reinforcement learning", Nature 518,
    and the code published with it; Graves (2013), arXiv:1308.0850, equations 38 to 45.
    """
    return param - learning_rate * grad / pt.sqrt(_variance(state, grad, rho) + epsilon)


@rule
def graves_rmsprop(
    state: State,
    param: Tensor,
    grad: Tensor,
    learning_rate: LearningRate = 1e-4,
    halflife: Positive = 14,
    epsilon: Epsilon = 1e-8,
    momentum: Fraction = 0,
    nesterov: Flag = False,
) -> Tensor:
    """Graves' RMSProp: DeepMind's with a halflife in place of a decay, and momentum on the step.

    - ``rho = exp(-ln(2) / halflife)``
    - ``m' = rho*m + (1 - rho)*g``
    - ``a' = rho*a + (1 - rho)*g^2``
    - ``d = lr*g / sqrt(max(a' - m'^2, 0) + eps)``
    - ``v' = mu*v - d``
    - ``p' = p + v'         (nesterov: p' = p + mu*v' - d)``

    when : sequences, downhill's users; 0.0001
    halflife : calls after which a gradient counts half in the averages
    momentum : how much of the velocity is kept
    nesterov : whether the momentum is that of `apply_nesterov_momentum`
    state : mean, mean_square, and velocity unless momentum is given as the number 0

    `deepmind_rmsprop` : with rho in place of the halflife, without momentum

    Graves (2013), "Generating Sequences With Recurrent Neural Networks", arXiv:1308.0850,
    equations 38 to 45; names and defaults are those of downhill's RMSProp (2015), whose nesterov
    flag stores another velocity.
    """
    rho = 2 ** (-1 / halflife)
    step = learning_rate * grad / pt.sqrt(_variance(state, grad, rho) + epsilon)
    if given_as(momentum) == 0:
        return param - step
    return with_momentum(state, param, step, momentum, nesterov)


def _variance(state: State, grad: Tensor, rho: Fraction) -> Tensor:
    """Update the means of the gradient and of its square, and return the new variance."""
    mean = state.average("mean", grad, rho)
    mean_square = state.average("mean_square", grad**2, rho)
    return pt.maximum(mean_square - mean**2, 0)
