"""Adam and its relatives: averages of the gradient and of its size, corrected for their start.

- ``adam``: the size is the root of the mean square
- ``adamax``: the size is a decaying maximum
- ``amsgrad``: the size never shrinks

``t`` counts calls from 1. It is an int64 variable, and what depends on it is computed in
float64, so that float32 parameters take full-precision steps from the first call on.
"""

import pytensor.tensor as pt

from updates.call import State, Tensor, once_a_call
from updates.kinds import Epsilon, Fraction, LearningRate, StateDtype
from updates.rule import rule
from updates.rules.moments import moments


@rule
def adam(
    state: State,
    param: Tensor,
    grad: Tensor,
    learning_rate: LearningRate = 0.001,
    beta1: Fraction = 0.9,
    beta2: Fraction = 0.999,
    epsilon: Epsilon = 1e-8,
    state_dtype: StateDtype | None = None,
) -> Tensor:
    """Adam: the mean gradient divided by the root of the mean squared gradient.

    - ``m' = b1*m + (1 - b1)*g``
    - ``v' = b2*v + (1 - b2)*g^2``
    - ``lr_t = lr * sqrt(1 - b2^t) / (1 - b1^t)``
    - ``p' = p - lr_t*m' / (sqrt(v') + eps)``

    This is Lasagne's form. PyTorch and optax add epsilon to the root of the corrected second
    moment; their Adam is `adamw` with ``weight_decay=0``.

    With ``state_dtype="float16"`` moments take half the memory. PyTensor compiles no float16 except
    under JAX, and the squares of gradients below 2e-4 would be zero in it: what is kept is an int16
    variable that holds the 16th root of each number, with its sign, in steps of 1/8192. Neighbours
    differ by 0.2 percent at 1 and by 2 at 1e-16, and numbers are rounded up or down in turn, so
    that averages are right over many calls. The step itself is taken with moments that are not yet
    rounded.

    when : Lasagne's numbers; 0.001
    beta1, beta2 : decays of the first and of the second moment
    state : first_moment, second_moment, step

    `adamw` : with weight decay, and with the epsilon of PyTorch and optax
    `adamax` : the size from a decaying maximum
    `amsgrad` : the size never shrinks
    `rmsprop` : without the mean of the gradient and without the correction

    Kingma, Ba (2014), "Adam: A Method for Stochastic Optimization", arXiv:1412.6980; epsilon
    is outside the root and not corrected, as in Lasagne and at the end of the paper's section 2.
    """
    first_moment, second_moment = moments(state, grad, beta1, beta2)
    rate = _corrected_rate(state, learning_rate, beta1, beta2)
    return param - rate * first_moment / (pt.sqrt(second_moment) + epsilon)


@rule
def adamax(
    state: State,
    param: Tensor,
    grad: Tensor,
    learning_rate: LearningRate = 0.002,
    beta1: Fraction = 0.9,
    beta2: Fraction = 0.999,
    epsilon: Epsilon = 1e-8,
) -> Tensor:
    """AdaMax: the mean gradient divided by a decaying maximum of its absolute value.

    - ``m' = b1*m + (1 - b1)*g``
    - ``u' = max(b2*u, abs(g))``
    - ``p' = p - lr / (1 - b1^t) * m' / (u' + eps)``

    when : embeddings, rare large gradients; 0.002
    beta1 : decay of the first moment
    beta2 : decay of the maximum
    state : first_moment, infinity_norm, step

    `adam` : the size from a mean square
    `adamaxw` : with weight decay, and with the epsilon of PyTorch and optax

    Kingma, Ba (2014), "Adam: A Method for Stochastic Optimization", arXiv:1412.6980, section
    7.1; epsilon is Lasagne's addition.
    """
    first_moment = state.average("first_moment", grad, beta1)
    infinity_norm = state.zeros("infinity_norm")
    size = state.update(infinity_norm, pt.maximum(beta2 * infinity_norm, abs(grad))) + epsilon
    return param - _corrected_rate(state, learning_rate, beta1) * first_moment / size


@rule
def amsgrad(
    state: State,
    param: Tensor,
    grad: Tensor,
    learning_rate: LearningRate = 0.001,
    beta1: Fraction = 0.9,
    beta2: Fraction = 0.999,
    epsilon: Epsilon = 1e-8,
) -> Tensor:
    """AMSGrad: Adam divided by the largest mean square so far.

    - ``m' = b1*m + (1 - b1)*g``
    - ``v' = b2*v + (1 - b2)*g^2``
    - ``w' = max(w, v')``
    - ``lr_t = lr * sqrt(1 - b2^t) / (1 - b1^t)``
    - ``p' = p - lr_t*m' / (sqrt(w') + eps)``

    when : when `adam` does not settle; 0.001
    beta1, beta2 : decays of the first and of the second moment
    state : first_moment, second_moment, max_second_moment, step

    `adam` : the size from the mean square itself

    Reddi, Kale, Kumar (2018), "On the Convergence of Adam and Beyond", ICLR, arXiv:1904.09237;
    the bias corrections are Lasagne's.
    """
    first_moment, second_moment = moments(state, grad, beta1, beta2)
    largest = state.zeros("max_second_moment")
    size = pt.sqrt(state.update(largest, pt.maximum(largest, second_moment))) + epsilon
    return param - _corrected_rate(state, learning_rate, beta1, beta2) * first_moment / size


@once_a_call
def _corrected_rate(
    state: State, learning_rate: LearningRate, beta1: Fraction, beta2: Fraction | None = None
) -> Tensor:
    """Correct the learning rate for moments that started at zero, in float64."""
    root = 1 if beta2 is None else pt.sqrt(1 - beta2**state.time)
    return state.cast(learning_rate * root / (1 - beta1**state.time))
