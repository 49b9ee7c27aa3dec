"""Gradient descent along a gradient that is changed on purpose.

- ``noisy_sgd``: by noise, which dies out
- ``optimistic_gradient_descent``: by a guess of how it will change
"""

import pytensor.tensor as pt

from updates.call import State, Tensor, once_a_call
from updates.kinds import LearningRate, Natural, NonNegative
from updates.rule import rule


@rule
def noisy_sgd(
    state: State,
    param: Tensor,
    grad: Tensor,
    learning_rate: LearningRate,
    eta: NonNegative = 0.01,
    gamma: NonNegative = 0.55,
    seed: Natural = 0,
) -> Tensor:
    """Gradient descent with noise on the gradients, which dies out.

    - ``s_t^2 = eta / t^gamma``
    - ``p' = p - lr*(g + s_t*n)``

    ``n`` is standard normal, drawn anew for every element at every call; ``t`` counts calls from 1.

    when : very deep networks that start badly; 0.1
    eta : variance of the noise at the first call
    gamma : how fast the variance falls; 0 keeps it
    seed : where the random numbers start
    state : generator, step

    `sgd` : without the noise

    Neelakantan et al. (2015), "Adding Gradient Noise Improves Learning for Very Deep Networks",
    arXiv:1511.06807; the clock and the defaults are optax's.
    """
    deviation = _deviation(state, eta, gamma)
    return param - learning_rate * (grad + deviation * state.normal(seed))


@rule
def optimistic_gradient_descent(
    state: State,
    param: Tensor,
    grad: Tensor,
    learning_rate: LearningRate,
    alpha: NonNegative = 1.0,
    beta: NonNegative = 1.0,
) -> Tensor:
    """Optimistic gradient descent: the last change of the gradient is expected to come again.

    - ``p' = p - lr*(alpha*g + beta*(g - h))``
    - ``h' = g``

    ``h`` is the gradient of the call before; at the first call it is ``g``. The guess calms
    problems where one side descends and the other ascends, such as adversarial training.

    when : games between two losses, where `sgd` circles; 0.01
    alpha : weight of the gradient
    beta : weight of its change; 0 leaves `sgd`
    state : previous_gradient, step

    `sgd` : without the guess
    `nesterov_momentum` : looks ahead along a velocity

    Popov (1980), "A modification of the Arrow-Hurwicz method for search of saddle points",
    Mathematical Notes 28; Mokhtari, Ozdaglar, Pattathil (2019), "A Unified Analysis of
    Extra-gradient and Optimistic Gradient Methods for Saddle Point Problems", arXiv:1901.08511,
    for the two weights; the first call is optax's.
    """
    change = state.change("previous_gradient", grad)
    return param - learning_rate * (alpha * grad + beta * change)


@once_a_call
def _deviation(state: State, eta: NonNegative, gamma: NonNegative) -> Tensor:
    return state.cast(pt.sqrt(eta / state.time**gamma))
