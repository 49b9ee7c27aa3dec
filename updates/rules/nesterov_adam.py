"""Adam that looks ahead: the direction anticipates where the gradient is going.

- ``nadam``: the mean gradient is that of one call later, as far as it is known
- ``nadamw``: the same with decoupled weight decay
- ``adan``: the gradient is continued along its mean change
- ``optimistic_adam``: the direction is continued along its last change
"""

import pytensor.tensor as pt

from updates.call import State, Tensor, once_a_call
from updates.kinds import (
    Epsilon,
    Flag,
    Fraction,
    LearningRate,
    Mask,
    NonNegative,
    StateDtype,
    WeightDecay,
)
from updates.rule import rule
from updates.rules.moments import adam_direction, moments


@rule
def nadam(
    state: State,
    param: Tensor,
    grad: Tensor,
    learning_rate: LearningRate = 0.001,
    beta1: Fraction = 0.9,
    beta2: Fraction = 0.999,
    epsilon: Epsilon = 1e-8,
    momentum_decay: NonNegative | None = None,
    state_dtype: StateDtype | None = None,
) -> Tensor:
    """NAdam: Adam with Nesterov's momentum.

    - ``m' = b1*m + (1 - b1)*g``
    - ``v' = b2*v + (1 - b2)*g^2``
    - ``m^ = b1*m' / (1 - b1^(t+1)) + (1 - b1)*g / (1 - b1^t);  v^ = v' / (1 - b2^t)``
    - ``p' = p - lr*m^ / (sqrt(v^) + eps)``

    This is optax's form. With `momentum_decay` the momentum warms up as in PyTorch: ``m^`` has
    ``mu_t = b1*(1 - 0.5*0.96^(t*momentum_decay))`` in the place of ``b1``, and the product of all
    mu so far in the place of its power. PyTorch's default is ``momentum_decay=0.004``, with a
    learning rate of 0.002.

    when : a little faster than `adamw`; 0.001
    beta1, beta2 : decays of the first and of the second moment
    momentum_decay : how fast the momentum warms up from half of `beta1`. None: it is `beta1`
        from the start
    state : first_moment, second_moment, step, and momentum_product with `momentum_decay`

    `nadamw` : with weight decay
    `adam` : without looking ahead
    `nesterov_momentum` : without the second moment

    Dozat (2016), "Incorporating Nesterov Momentum into Adam", ICLR workshop, whose warm-up is
    PyTorch's; the form with a constant momentum is optax's.
    """
    direction = _nesterov_direction(state, grad, beta1, beta2, epsilon, momentum_decay)
    return param - learning_rate * direction


@rule
def nadamw(
    state: State,
    param: Tensor,
    grad: Tensor,
    learning_rate: LearningRate = 0.001,
    beta1: Fraction = 0.9,
    beta2: Fraction = 0.999,
    epsilon: Epsilon = 1e-8,
    weight_decay: WeightDecay = 1e-4,
    momentum_decay: NonNegative | None = None,
    mask: Mask | None = None,
) -> Tensor:
    """NAdamW: NAdam with weight decay that is not part of the gradient.

    - ``m' = b1*m + (1 - b1)*g``
    - ``v' = b2*v + (1 - b2)*g^2``
    - ``m^ = b1*m' / (1 - b1^(t+1)) + (1 - b1)*g / (1 - b1^t);  v^ = v' / (1 - b2^t)``
    - ``p' = p - lr*(m^ / (sqrt(v^) + eps) + wd*p)``

    This is optax's form; `momentum_decay` warms the momentum up as in `nadam`, which is PyTorch's
    NAdam with ``decoupled_weight_decay=True``.

    when : a little faster than `adamw`; 0.001
    beta1, beta2 : decays of the first and of the second moment
    momentum_decay : how fast the momentum warms up from half of `beta1`. None: it is `beta1`
        from the start
    state : first_moment, second_moment, step, and momentum_product with `momentum_decay`

    `nadam` : without weight decay
    `adamw` : without looking ahead

    Dozat (2016), "Incorporating Nesterov Momentum into Adam", ICLR workshop; Loshchilov, Hutter
    (2017), "Decoupled Weight Decay Regularization", arXiv:1711.05101.
    """
    direction = _nesterov_direction(state, grad, beta1, beta2, epsilon, momentum_decay)
    return param - learning_rate * (direction + weight_decay * param)


@rule
def adan(
    state: State,
    param: Tensor,
    grad: Tensor,
    learning_rate: LearningRate = 0.001,
    beta1: Fraction = 0.98,
    beta2: Fraction = 0.92,
    beta3: Fraction = 0.99,
    epsilon: Epsilon = 1e-8,
    epsilon_root: Epsilon = 1e-8,
    weight_decay: WeightDecay = 0.0,
    mask: Mask | None = None,
) -> Tensor:
    """Adan: Adam along the gradient and its mean change from call to call.

    - ``d  = g - (gradient of the call before)         (0 in the first call)``
    - ``m' = b1*m + (1 - b1)*g``
    - ``c' = b2*c + (1 - b2)*d``
    - ``n' = b3*n + (1 - b3)*(g + (1 - b2)*d)^2``
    - ``m^ = m' / (1 - b1^t);  c^ = c' / (1 - b2^t);  n^ = n' / (1 - b3^t)``
    - ``p' = p - lr*((m^ + (1 - b2)*c^) / (sqrt(n^ + eps_root) + eps) + wd*p)``

    This is optax's form, which weighs the change by ``1 - b2``. The paper's weight is ``b2`` (its
    betas are one minus these), and its decay divides by ``1 + lr*wd``: at the default `beta2` it
    looks much further ahead.

    when : vision transformers, large steps; 0.001
    beta1 : decay of the first moment
    beta2 : decay of the mean change of the gradient
    beta3 : decay of the second moment
    epsilon_root : the same under the root
    state : first_moment, mean_change, second_moment, previous_gradient, step

    `nadam` : looks ahead along the mean gradient
    `optimistic_adam` : looks ahead along the last change only

    Xie, Zhou, Li, Lin, Yan (2022), "Adan: Adaptive Nesterov Momentum Algorithm for Faster
    Optimizing Deep Models", arXiv:2208.06677; this form is optax's.
    """
    change = state.change("previous_gradient", grad)
    first_moment = state.average("first_moment", grad, beta1)
    mean_change = state.average("mean_change", change, beta2)
    ahead = grad + (1 - beta2) * change
    second_moment = state.average("second_moment", ahead**2, beta3)
    mean_change = (1 - beta2) * state.unbiased(mean_change, beta2)
    mean_ahead = state.unbiased(first_moment, beta1) + mean_change
    size = pt.sqrt(state.unbiased(second_moment, beta3) + epsilon_root) + epsilon
    return param - learning_rate * (mean_ahead / size + weight_decay * param)


@rule
def optimistic_adam(
    state: State,
    param: Tensor,
    grad: Tensor,
    learning_rate: LearningRate = 0.001,
    beta1: Fraction = 0.9,
    beta2: Fraction = 0.999,
    epsilon: Epsilon = 1e-8,
    alpha: NonNegative = 1.0,
    beta: NonNegative = 1.0,
    nesterov: Flag = False,
) -> Tensor:
    """Optimistic Adam: each direction of Adam is continued along its change since the last.

    - ``m' = b1*m + (1 - b1)*g``
    - ``v' = b2*v + (1 - b2)*g^2``
    - ``d' = m' / (1 - b1^t) / (sqrt(v' / (1 - b2^t)) + eps)    (nesterov: nadam's)``
    - ``p' = p - lr*(alpha*d' + beta*(d' - d))                  (first call: d = d')``

    Made for games, such as generative adversarial networks, in which plain descent circles.

    when : adversarial training; 0.0001
    beta1, beta2 : decays of the first and of the second moment
    alpha : weight of the direction itself
    beta : weight of its change since the call before
    nesterov : whether the direction is that of `nadam`
    state : first_moment, second_moment, previous_direction, step

    `adamw` : ``beta=0`` and no weight decay
    `adan` : averages the change

    Daskalakis, Ilyas, Syrgkanis, Zeng (2017), "Training GANs with Optimism", arXiv:1711.00141;
    Mokhtari, Ozdaglar, Pattathil (2019), "A Unified Analysis of Extra-gradient and Optimistic
    Gradient Methods for Saddle Point Problems", arXiv:1901.08511, for alpha and beta. This form
    is optax's ``optimistic_adam_v2``, where `nesterov` is the default.
    """
    direction_of = _nesterov_direction if nesterov else adam_direction
    direction = direction_of(state, grad, beta1, beta2, epsilon)
    change = state.change("previous_direction", direction)
    return param - learning_rate * (alpha * direction + beta * change)


def _nesterov_direction(
    state: State,
    grad: Tensor,
    beta1: Fraction,
    beta2: Fraction,
    epsilon: Epsilon,
    momentum_decay: NonNegative | None = None,
) -> Tensor:
    """Update both moments and return Adam's direction, the first moment being one call ahead."""
    first_moment, second_moment = moments(state, grad, beta1, beta2)
    of_moment, of_grad = _weights_ahead(state, beta1, momentum_decay)
    size = pt.sqrt(state.unbiased(second_moment, beta2)) + epsilon
    return (of_moment * first_moment + of_grad * grad) / size


@once_a_call
def _weights_ahead(
    state: State, beta1: Fraction, momentum_decay: NonNegative | None
) -> tuple[Tensor, Tensor]:
    """Give the weights of the first moment and of the gradient, corrected, one call ahead."""
    momentum, momentum_next = beta1, beta1
    product, product_next = beta1**state.time, beta1 ** (state.time + 1)
    if momentum_decay is not None:
        so_far = state.call.scalar("momentum_product", 1.0)
        warmth = 1 - 0.5 * 0.96 ** (state.time * momentum_decay)
        warmth_next = 1 - 0.5 * 0.96 ** ((state.time + 1) * momentum_decay)
        momentum, momentum_next = beta1 * warmth, beta1 * warmth_next
        product *= so_far * warmth
        product_next *= so_far * warmth * warmth_next
        state.call.update(so_far, so_far * warmth)
    of_moment = momentum_next / (1 - product_next)
    return state.cast(of_moment), state.cast((1 - momentum) / (1 - product))
