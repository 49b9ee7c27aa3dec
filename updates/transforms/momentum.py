"""Momentum on the steps of any dictionary of updates.

- ``apply_momentum``: along the new velocity
- ``apply_nesterov_momentum``: along the velocity that the next call will have
"""

from updates.call import State, Tensor
from updates.kinds import Fraction
from updates.update_transform import update_transform


@update_transform
def apply_momentum(
    state: State,
    param: Tensor,
    proposed: Tensor,
    momentum: Fraction = 0.9,
) -> Tensor:
    """Add momentum to the steps of any dictionary of updates.

    - ``v' = mu*v + (updates[p] - p)``
    - ``p' = p + v'``

    momentum : how much of the velocity is kept
    state : velocity

    `momentum` : the same for `sgd`, in one call
    `apply_nesterov_momentum` : the step looks one call ahead

    Polyak (1964), "Some methods of speeding up the convergence of iteration methods", USSR
    Computational Mathematics and Mathematical Physics 4(5); this form is Lasagne's.
    """
    velocity = state.zeros("velocity")
    return param + state.update(velocity, momentum * velocity + (proposed - param))


@update_transform
def apply_nesterov_momentum(
    state: State,
    param: Tensor,
    proposed: Tensor,
    momentum: Fraction = 0.9,
) -> Tensor:
    """Add Nesterov's momentum to the steps of any dictionary of updates.

    - ``v' = mu*v + (updates[p] - p)``
    - ``p' = updates[p] + mu*v'``

    momentum : how much of the velocity is kept
    state : velocity

    `nesterov_momentum` : the same for `sgd`, in one call
    `apply_momentum` : the step along the new velocity itself

    Sutskever et al. (2013), "On the importance of initialization and momentum in deep
    learning", ICML; this form is Lasagne's.
    """
    velocity = state.zeros("velocity")
    return proposed + momentum * state.update(velocity, momentum * velocity + (proposed - param))
