"""Moments: what the rules of Adam's family have in common.

- ``unbiased_moments``: averages of the gradient and of its square, corrected for their start
- ``adam_direction``: the one divided by the root of the other

``t`` counts calls from 1. It is an int64 variable, and what depends on it is computed in float64.
"""

import pytensor.tensor as pt
from pytensor.tensor.variable import TensorVariable

from updates.call import Call


def unbiased_moments(
    call: Call,
    param: TensorVariable,
    grad: TensorVariable,
    beta1: TensorVariable,
    beta2: TensorVariable,
) -> tuple[TensorVariable, TensorVariable]:
    """Update both moments and return them corrected: ``m'/(1 - b1^t)``, ``v'/(1 - b2^t)``."""
    first_moment = call.average(param, "first_moment", grad, beta1)
    second_moment = call.average(param, "second_moment", grad**2, beta2)
    return call.unbiased(first_moment, beta1), call.unbiased(second_moment, beta2)


def adam_direction(
    call: Call,
    param: TensorVariable,
    grad: TensorVariable,
    beta1: TensorVariable,
    beta2: TensorVariable,
    epsilon: TensorVariable,
) -> TensorVariable:
    """Update both moments and return ``m^ / (sqrt(v^) + eps)``, PyTorch's and optax's Adam."""
    first_moment, second_moment = unbiased_moments(call, param, grad, beta1, beta2)
    return first_moment / (pt.sqrt(second_moment) + epsilon)
