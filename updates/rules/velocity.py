"""Momentum on the step of any rule.

- ``with_momentum``: move along a velocity, a decaying sum of steps
"""

from updates.call import State, Tensor
from updates.kinds import Fraction


def with_momentum(
    state: State, param: Tensor, step: Tensor, momentum: Fraction, nesterov: bool = False
) -> Tensor:
    """Keep a velocity and move along it: ``v' = mu*v - d; p' = p + v'``.

    With `nesterov` the step looks one call ahead: ``p' = p + mu*v' - d``.
    """
    velocity = state.zeros("velocity")
    velocity_new = state.update(velocity, momentum * velocity - step)
    return param + (momentum * velocity_new - step if nesterov else velocity_new)
