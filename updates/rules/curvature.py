"""Rules that look at the curvature of the loss, through products of its Hessian with noise.

- ``sophia``: the mean gradient divided by an estimate of the Hessian's diagonal, and clipped
- ``esgd``: the gradient divided by the root mean square of the rows of the Hessian

The product of the Hessian and a vector ``u`` is the gradient of ``sum(g*u)``: it is taken
symbolically and costs about as much as the gradient itself, in every call.
"""

from typing import Any

import pytensor
import pytensor.tensor as pt

from updates import provenance
from updates.call import Call, Tensor
from updates.differentiation import NO_GRADIENT
from updates.kinds import (
    Count,
    Epsilon,
    Fraction,
    LearningRate,
    Mask,
    Natural,
    NonNegative,
    Positive,
    WeightDecay,
)
from updates.rule import joint_rule

_WHY = "it differentiates the gradients once more, along noise"


@joint_rule(needs_loss=_WHY)
def sophia(
    call: Call,
    learning_rate: LearningRate = 0.001,
    beta1: Fraction = 0.965,
    beta2: Fraction = 0.99,
    epsilon: Epsilon = 1e-8,
    weight_decay: WeightDecay = 1e-4,
    gamma: NonNegative = 0.01,
    clip_threshold: Positive = 1.0,
    update_interval: Count = 10,
    seed: Natural = 0,
    mask: Mask | None = None,
) -> None:
    """Sophia-H: the mean gradient divided by the Hessian's diagonal, each element clipped.

    - ``m' = b1*m + (1 - b1)*g``
    - ``d = clip(m' / (1 - b1^t) / max(gamma*h, eps), -clip_threshold, clip_threshold)``
    - ``p' = p - lr*(d + wd*p)``
    - ``h' = b2*h + (1 - b2)*u*(H u)`` in calls 1, 1 + update_interval, ..., else ``h' = h``

    ``u`` are random signs, ``H`` the Hessian of the loss. The step reads the old ``h``, so the
    first call takes full clipped steps.

    when : language models; 0.0001
    beta1 : decay of the first moment
    beta2 : decay of the Hessian's diagonal from one estimate to the next
    epsilon : the least divisor
    weight_decay : decoupled weight decay
    gamma : factor of the diagonal: the larger, the fewer elements are clipped
    clip_threshold : the largest element of the step before the learning rate
    update_interval : calls from one estimate to the next
    seed : seed of the random signs
    state : first_moment, hessian_diagonal, step, generator

    `esgd` : divides by a root mean square instead of clipping
    `lion` : the sign alone

    Liu et al. (2023), "Sophia: A Scalable Stochastic Second-order Optimizer for Language Model
    Pre-training", arXiv:2305.14342; this form, its order and its signs are optax's.
    """
    signs = [
        pt.switch(state.normal(seed) < 0, -1, 1).astype(param.dtype) for state, param, _ in call
    ]
    is_due = pt.eq(call.step % update_interval, 0)
    products = _hessian_times(call, signs)
    for (state, param, grad), sign, product in zip(call, signs, products, strict=True):
        decay, bound = state.cast(beta2), state.cast(clip_threshold)
        first_moment = state.average("first_moment", grad, state.cast(beta1))
        diagonal = state.zeros("hessian_diagonal")
        estimate = decay * diagonal + (1 - decay) * sign * product
        state.update(diagonal, pt.switch(is_due, estimate, diagonal))
        size = pt.maximum(state.cast(gamma) * diagonal, state.cast(epsilon))
        direction = pt.clip(state.unbiased(first_moment, state.cast(beta1)) / size, -bound, bound)
        step = state.cast(learning_rate) * (direction + state.cast(weight_decay) * param)
        state.update(param, param - step)


@joint_rule(needs_loss=_WHY)
def esgd(
    call: Call,
    learning_rate: LearningRate = 1e-4,
    halflife: Positive = 14,
    epsilon: Epsilon = 1e-8,
    seed: Natural = 0,
) -> None:
    """Equilibrated gradient descent: divided by the root mean square of the Hessian's rows.

    - ``rho = exp(-ln(2) / halflife)``
    - ``d' = rho*d + (1 - rho)*(H u)^2``
    - ``p' = p - lr*g / (sqrt(d') + eps)``

    ``u`` is standard normal noise, ``H`` the Hessian of the loss over all parameters together:
    the mean of ``(H u)^2`` is the squared norm of each row of ``H``.

    when : narrow valleys, small networks; 0.01
    halflife : calls after which a product counts half in the average
    seed : seed of the noise
    state : mean_square_product, generator

    `rmsprop` : divides by the root mean square of the gradient
    `sophia` : divides by the diagonal of the Hessian

    Dauphin, de Vries, Bengio (2015), "Equilibrated adaptive learning rates for non-convex
    optimization", arXiv:1502.04390; the moving average, names and defaults are those of
    downhill's ESGD (2015), which takes each parameter's own block of the Hessian. Both are the
    same for a single parameter. For momentum use `apply_momentum`.
    """
    products = _hessian_times(call, [state.normal(seed) for state in call.states])
    for (state, param, grad), product in zip(call, products, strict=True):
        rho = 2 ** (-1 / state.cast(halflife))
        mean_square = state.average("mean_square_product", product**2, rho)
        size = pt.sqrt(mean_square) + state.cast(epsilon)
        state.update(param, param - state.cast(learning_rate) * grad / size)


def _hessian_times(call: Call, vectors: list[Tensor]) -> list[Tensor]:
    """Multiply the Hessian of the loss with one vector over all parameters."""
    along = sum(
        (gradient * vector).sum().astype(call.dtype)
        for gradient, vector in zip(call.grads, vectors, strict=True)
    )
    try:
        products: Any = pytensor.grad(
            along,
            call.params,
            consider_constant=vectors,
            disconnected_inputs="ignore",
            return_disconnected="zero",
        )
    except NO_GRADIENT as error:
        raise ValueError(
            f"PyTensor cannot differentiate the gradients of this loss: {error}"
        ) from error
    products = provenance.computed_gradients(products, call.owners, along, kind="Hu")
    return [
        provenance.cast(product, param.dtype)
        for product, param in zip(products, call.params, strict=True)
    ]
