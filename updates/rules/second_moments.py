"""Adam with another second moment: what the mean gradient is divided by.

- ``adabelief``: the mean square of what the mean gradient did not predict
- ``yogi``: a mean square that changes by no more than the new square
- ``radam``: the mean square, once enough gradients are in it to be trusted
- ``adopt``: the mean square of earlier gradients only
- ``acprop``: the mean square of what earlier gradients did not predict, up to the call before
- ``laprop``: the mean square, by which each gradient is divided before the mean is taken
"""

import pytensor.tensor as pt

from updates.call import State, Tensor, once_a_call
from updates.kinds import Epsilon, Fraction, LearningRate, Mask, Positive, WeightDecay
from updates.rule import rule
from updates.rules.moments import unbiased_moments


@rule
def adabelief(
    state: State,
    param: Tensor,
    grad: Tensor,
    learning_rate: LearningRate = 0.001,
    beta1: Fraction = 0.9,
    beta2: Fraction = 0.999,
    epsilon: Epsilon = 1e-16,
    epsilon_root: Epsilon = 1e-16,
) -> Tensor:
    """AdaBelief: long steps where the gradient is as its mean predicts.

    - ``m' = b1*m + (1 - b1)*g``
    - ``s' = b2*s + (1 - b2)*(g - m')^2 + eps_root``
    - ``m^ = m' / (1 - b1^t);  s^ = s' / (1 - b2^t)``
    - ``p' = p - lr*m^ / (sqrt(s^) + eps)``

    when : between Adam's speed and SGD's test error; 0.001
    beta1 : decay of the first moment
    beta2 : decay of the variance
    epsilon_root : added to the variance in every call
    state : first_moment, variance, step

    `adamw` : the mean square of the gradient itself (``weight_decay=0``)
    `deepmind_rmsprop` : the variance without a mean in the numerator

    Zhuang et al. (2020), "AdaBelief Optimizer: Adapting Stepsizes by the Belief in Observed
    Gradients", arXiv:2010.07468; this form is optax's.
    """
    first_moment = state.average("first_moment", grad, beta1)
    variance = state.zeros("variance")
    surprise = (grad - first_moment) ** 2
    variance = state.update(variance, beta2 * variance + (1 - beta2) * surprise + epsilon_root)
    size = pt.sqrt(state.unbiased(variance, beta2)) + epsilon
    return param - learning_rate * state.unbiased(first_moment, beta1) / size


@rule
def yogi(
    state: State,
    param: Tensor,
    grad: Tensor,
    learning_rate: LearningRate = 0.01,
    beta1: Fraction = 0.9,
    beta2: Fraction = 0.999,
    epsilon: Epsilon = 1e-3,
) -> Tensor:
    """Yogi: Adam whose mean square forgets large gradients slowly.

    - ``m' = b1*m + (1 - b1)*g``
    - ``v' = v - (1 - b2)*sign(v - g^2)*g^2``
    - ``m^ = m' / (1 - b1^t);  v^ = v' / (1 - b2^t)``
    - ``p' = p - lr*m^ / (sqrt(v^) + eps)``

    Both moments start at 1e-6 and are corrected as if they had started at zero: this form is
    optax's. The paper corrects neither. A parameter without gradients therefore creeps at first,
    in all by ``lr/600`` with the defaults.

    when : very sparse or heavy-tailed gradients; 0.01
    beta1 : decay of the first moment
    beta2 : one minus the share of a squared gradient by which the second moment changes
    state : first_moment, second_moment, step

    `adamw` : the second moment is a mean (``weight_decay=0``)

    Zaheer, Reddi, Sachan, Kale, Kumar (2018), "Adaptive Methods for Nonconvex Optimization",
    NeurIPS; start values and corrections are optax's.
    """
    first_moment = state.full("first_moment", 1e-6)
    second_moment = state.full("second_moment", 1e-6)
    first_moment = state.update(first_moment, beta1 * first_moment + (1 - beta1) * grad)
    change = (1 - beta2) * pt.sign(second_moment - grad**2) * grad**2
    second_moment = state.update(second_moment, second_moment - change)
    size = pt.sqrt(state.unbiased(second_moment, beta2)) + epsilon
    return param - learning_rate * state.unbiased(first_moment, beta1) / size


@rule
def radam(
    state: State,
    param: Tensor,
    grad: Tensor,
    learning_rate: LearningRate = 0.001,
    beta1: Fraction = 0.9,
    beta2: Fraction = 0.999,
    epsilon: Epsilon = 1e-8,
    threshold: Positive = 5.0,
) -> Tensor:
    """RAdam: Adam that divides by the mean square only once that is reliable.

    - ``m' = b1*m + (1 - b1)*g``
    - ``v' = b2*v + (1 - b2)*g^2``
    - ``m^ = m' / (1 - b1^t);  v^ = v' / (1 - b2^t)``
    - ``n_oo = 2 / (1 - b2) - 1;  n = n_oo - 2*t*b2^t / (1 - b2^t)``
    - ``r = sqrt((n - 4)*(n - 2)*n_oo / ((n_oo - 4)*(n_oo - 2)*n))``
    - ``p' = p - lr*r*m^ / (sqrt(v^) + eps)        if n >= threshold``
    - ``p' = p - lr*m^                             otherwise``

    ``n`` is the number of gradients that the mean square holds in effect. As long as it is small,
    in the first five calls with the default decay, the step is along the mean gradient itself.

    when : instead of a warm-up; 0.001
    beta1, beta2 : decays of the first and of the second moment
    threshold : the ``n`` from which the mean square is used. There is an ``r`` above 4 only:
        less counts as 4
    state : first_moment, second_moment, step

    `adamw` : always divides (``weight_decay=0``)

    Liu et al. (2019), "On the Variance of the Adaptive Learning Rate and Beyond",
    arXiv:1908.03265; the paper's threshold is 4, its code's, optax's and PyTorch's 5. Epsilon is
    optax's; PyTorch adds it to the root before the correction.
    """
    first_moment, second_moment = unbiased_moments(state, grad, beta1, beta2)
    is_reliable, factor = _rectification(state, beta2, threshold)
    adapted = factor * first_moment / (pt.sqrt(second_moment) + epsilon)
    return param - learning_rate * pt.switch(is_reliable, adapted, first_moment)


@rule
def adopt(
    state: State,
    param: Tensor,
    grad: Tensor,
    learning_rate: LearningRate = 0.001,
    beta1: Fraction = 0.9,
    beta2: Fraction = 0.9999,
    epsilon: Epsilon = 1e-6,
) -> Tensor:
    """ADOPT: Adam that normalizes each gradient by the squares before it, then averages.

    - ``c = (t - 1)^(1/4)``
    - ``m' = b1*m + (1 - b1)*clip(g / max(sqrt(v), eps), -c, c)``
    - ``v' = b2*v + (1 - b2)*g^2                   (first call: g^2)``
    - ``p' = p - lr*m'``

    The first call only measures: ``c`` is 0 there, and the parameters stay.

    when : losses on which `adam` converges for few values of `beta2`; 0.001
    beta1, beta2 : decays of the first and of the second moment
    epsilon : least divisor of a gradient
    state : first_moment, second_moment, step

    `adamw` : the square of the present gradient counts as well (``weight_decay=0``)

    Taniguchi et al. (2024), "ADOPT: Modified Adam Can Converge with Any beta2 with the Optimal
    Rate", arXiv:2411.02853; with the clipping of its revision, as in optax.
    """
    second_moment = state.zeros("second_moment")
    size = pt.maximum(pt.sqrt(second_moment), epsilon)
    bound = _clipping(state, param.dtype) * size
    normalized = pt.clip(grad, -bound, bound) / size
    first_moment = state.average("first_moment", normalized, beta1)
    memory = pt.switch(pt.eq(state.step, 0), 0, beta2)
    state.update(second_moment, memory * second_moment + (1 - memory) * grad**2)
    return param - learning_rate * first_moment


@once_a_call
def _clipping(state: State, dtype: str) -> Tensor:
    """Bound normalized gradients by a root of time."""
    return (pt.cast(state.step, state.call.dtype) ** 0.25).astype(dtype)


@once_a_call
def _rectification(state: State, beta2: Fraction, threshold: Positive) -> tuple[Tensor, Tensor]:
    """Tell whether the mean square is reliable, and by which factor the step is shortened."""
    power = beta2**state.time
    longest = 2 / (1 - pt.cast(beta2, state.call.dtype)) - 1
    length = longest - 2 * state.time * power / (1 - power)
    is_reliable = pt.and_(length >= threshold, length > 4)
    # Where the factor does not exist, any lengths do: those of 5 give 1.
    length, longest = (pt.switch(is_reliable, n, 5) for n in (length, longest))
    square = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
    return is_reliable, state.cast(pt.sqrt(square))


@rule
def acprop(
    state: State,
    param: Tensor,
    grad: Tensor,
    learning_rate: LearningRate = 0.001,
    beta1: Fraction = 0.9,
    beta2: Fraction = 0.999,
    epsilon: Epsilon = 1e-16,
    epsilon_root: Epsilon = 1e-16,
    weight_decay: WeightDecay = 0.0,
    mask: Mask | None = None,
) -> Tensor:
    """ACProp: the gradient over the deviation of the gradients before it.

    - ``s^ = s / (1 - b2^(t - 1))                      (first call: 1)``
    - ``p' = p - lr*(g / (sqrt(s^) + eps) + wd*p)``
    - ``s' = b2*s + (1 - b2)*(g - m)^2 + eps_root``
    - ``m' = b1*m + (1 - b1)*g``

    The divisor does not know the gradient that it divides, so that the step is unbiased; a gradient
    far from all before it makes a long step. The mean only centres: there is no momentum.

    when : Adam's speed without its bias; 0.001
    beta1 : decay of the first moment
    beta2 : decay of the variance
    epsilon : keeps the division away from zero. With 1e-16 an element that had no gradient yet
        makes a huge step at its first; 1e-3 suits rectified units, for instance
    epsilon_root : added to the variance in every call
    state : first_moment, variance, step

    `adabelief` : the variance has the present gradient in it, the step is along the mean
    `adopt` : mean squares in the place of the variance

    Zhuang et al. (2021), "Momentum Centering and Asynchronous Update for Adaptive Gradient
    Methods", arXiv:2110.05454. The form is what optax computes; its manual, and the paper, centre
    by ``m'``.
    """
    first_moment, variance = state.zeros("first_moment"), state.zeros("variance")
    is_first, correction = _correction_before(state, beta2)
    size = pt.switch(is_first, 1, pt.sqrt(variance / correction)) + epsilon
    surprise = (grad - first_moment) ** 2
    state.update(variance, beta2 * variance + (1 - beta2) * surprise + epsilon_root)
    state.update(first_moment, beta1 * first_moment + (1 - beta1) * grad)
    return param - learning_rate * (grad / size + weight_decay * param)


@once_a_call
def _correction_before(state: State, decay: Fraction) -> tuple[Tensor, Tensor]:
    """Tell whether this is the first call, and give the bias correction of the call before."""
    calls_before = pt.maximum(1, pt.cast(state.step, state.call.dtype))
    return pt.eq(state.step, 0), state.cast(1 - decay**calls_before)


@rule
def laprop(
    state: State,
    param: Tensor,
    grad: Tensor,
    learning_rate: LearningRate = 0.0004,
    beta1: Fraction = 0.9,
    beta2: Fraction = 0.999,
    epsilon: Epsilon = 1e-15,
) -> Tensor:
    """LaProp: momentum over gradients that are already divided by their size.

    - ``v' = b2*v + (1 - b2)*g^2``
    - ``m' = b1*m + (1 - b1)*lr*g / ((sqrt(v') + eps) / sqrt(1 - b2^t))``
    - ``p' = p - m' / (1 - b1^t)``

    In Adam one large gradient shrinks the momentum that came before it; here it shrinks itself
    alone, so that `beta1` may be larger, and `beta2` smaller, than Adam's. The learning rate is
    in the momentum: a step keeps the rate of its time.

    when : gradients of very different size over time; 0.0004
    beta1 : decay of the momentum
    beta2 : decay of the mean square
    state : second_moment, momentum, step

    `adamw` : divides the mean instead (``weight_decay=0``)

    Ziyin, Wang, Ueda (2020), "LaProp: Separating Momentum and Adaptivity in Adam",
    arXiv:2002.04839.
    """
    second_moment = state.average("second_moment", grad**2, beta2)
    size = (pt.sqrt(second_moment) + epsilon) / _debias_root(state, beta2)
    momentum = state.average("momentum", learning_rate * grad / size, beta1)
    return param - state.unbiased(momentum, beta1)


@once_a_call
def _debias_root(state: State, decay: Fraction) -> Tensor:
    return state.cast(pt.sqrt(1 - decay**state.time))
