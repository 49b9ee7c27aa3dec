"""Moments: what the rules of Adam's family have in common.

- ``moments``: averages of the gradient and of its square
- ``unbiased_moments``: the same, corrected for their start at zero
- ``adam_direction``: the one divided by the root of the other

``t`` counts calls from 1. It is an int64 variable, and what depends on it is computed in float64,
once for all parameters of a call.
"""

import pytensor.tensor as pt

from updates.call import State, Tensor
from updates.kinds import Epsilon, Fraction


def moments(state: State, grad: Tensor, beta1: Fraction, beta2: Fraction) -> tuple[Tensor, Tensor]:
    """Update both moments and return them: ``m'``, ``v'``."""
    first_moment = state.average("first_moment", grad, beta1)
    return first_moment, state.average("second_moment", grad**2, beta2)


def unbiased_moments(
    state: State, grad: Tensor, beta1: Fraction, beta2: Fraction
) -> tuple[Tensor, Tensor]:
    """Update both moments and return them corrected: ``m'/(1 - b1^t)``, ``v'/(1 - b2^t)``."""
    first_moment, second_moment = moments(state, grad, beta1, beta2)
    return state.unbiased(first_moment, beta1), state.unbiased(second_moment, beta2)


def adam_direction(
    state: State, grad: Tensor, beta1: Fraction, beta2: Fraction, epsilon: Epsilon
) -> Tensor:
    """Update both moments and return ``m^ / (sqrt(v^) + eps)``, PyTorch's and optax's Adam."""
    first_moment, second_moment = unbiased_moments(state, grad, beta1, beta2)
    return first_moment / (pt.sqrt(second_moment) + epsilon)
