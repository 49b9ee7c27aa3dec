"""Resilient backpropagation: steps of which the gradient tells the direction only.

- ``rprop``: each element keeps its own step size, which the signs of its gradients change
"""

import pytensor.tensor as pt

from updates.call import State, Tensor
from updates.kinds import AtLeastOne, LearningRate, NonNegative, Positive, Share
from updates.rule import rule


@rule
def rprop(
    state: State,
    param: Tensor,
    grad: Tensor,
    learning_rate: LearningRate = 0.01,
    eta_minus: Share = 0.5,
    eta_plus: AtLeastOne = 1.2,
    min_step: NonNegative = 1e-6,
    max_step: Positive = 50.0,
) -> Tensor:
    """Rprop: step sizes grow while the gradient keeps its sign, and shrink when it turns.

    - ``c = sign(g) * s``
    - ``d' = d * (eta_plus where c > 0, eta_minus where c < 0, 1 where c = 0)``
    - ``lr*d'`` is kept in ``[min_step, max_step]``
    - ``s' = 0 where c < 0, sign(g) elsewhere``
    - ``p' = p - lr*d'*s'``

    An element whose gradient has turned rests for one call and then forgets the turn (the form
    called iRprop-). Meant for gradients of all the data: the noise of small batches turns signs.

    when : full batches only: fast and untuned there; 0.01
    learning_rate : size of the first step of every element and a factor of all that follow. The
        state holds the step sizes in units of it, so a schedule scales all of them. At 0
        everything but the signs rests
    eta_minus : factor of the step size where the gradient has turned
    eta_plus : factor of the step size where it has not
    min_step : smallest step
    max_step : largest step
    state : scale, sign

    `sign_sgd` : one step size for all

    Riedmiller, Braun (1993), "A direct adaptive method for faster backpropagation learning: the
    RPROP algorithm", ICNN; Igel, Huesken (2000), "Improving the Rprop Learning Algorithm", NC,
    algorithm 4. The form is PyTorch's and downhill's, the defaults are PyTorch's; downhill's are
    ``learning_rate=1e-4, eta_minus=0.99, eta_plus=1.01, min_step=0, max_step=100``. No setting
    gives optax's (0.2.8), which takes every step one call late. All three multiply gradients to
    compare their signs, which fails when the product underflows; here the signs are multiplied.
    """
    scale = state.full("scale", 1)
    sign = state.zeros("sign")
    agreement = pt.sign(grad) * sign
    factor = pt.switch(agreement > 0, eta_plus, pt.switch(agreement < 0, eta_minus, 1))
    moves = learning_rate > 0
    unit = pt.switch(moves, learning_rate, 1)
    scale_new = pt.clip(scale * factor, min_step / unit, max_step / unit)
    scale_new = pt.switch(moves, scale_new, scale)
    sign_new = pt.switch(agreement < 0, 0, pt.sign(grad))
    state.update(scale, scale_new)
    state.update(sign, sign_new)
    return param - learning_rate * scale_new * sign_new
