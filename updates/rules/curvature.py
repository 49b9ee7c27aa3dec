"""Rules that look at the curvature of the loss, through products of its Hessian with noise.

- ``sophia``: the mean gradient divided by an estimate of the Hessian's diagonal, and clipped
- ``esgd``: the gradient divided by the root mean square of the rows of the Hessian

The product of the Hessian and a vector ``u`` is the gradient of ``sum(g*u)``: it is taken
symbolically and costs about as much as the gradient itself, in every call.
"""

from typing import Any

import pytensor
import pytensor.tensor as pt
from pytensor.graph.basic import Variable
from pytensor.tensor.variable import TensorVariable

from updates import provenance
from updates.arguments import NO_GRADIENT, Params
from updates.call import Call, Updates, rule, rule_call
from updates.hyperparameters import Hyperparameter

_WHY = "it differentiates the gradients once more, along noise"


@rule
def sophia(
    loss: Variable | None = None,
    params: Params | None = None,
    learning_rate: Hyperparameter = 0.001,
    beta1: Hyperparameter = 0.965,
    beta2: Hyperparameter = 0.99,
    epsilon: Hyperparameter = 1e-8,
    weight_decay: Hyperparameter = 1e-4,
    gamma: Hyperparameter = 0.01,
    clip_threshold: Hyperparameter = 1.0,
    update_interval: int = 10,
    seed: int = 0,
) -> Updates:
    """Sophia-H: the mean gradient divided by the Hessian's diagonal, each element clipped.

    - ``m' = b1*m + (1 - b1)*g``
    - ``d = clip(m' / (1 - b1^t) / max(gamma*h, eps), -clip_threshold, clip_threshold)``
    - ``p' = p - lr*(d + wd*p)``
    - ``h' = b2*h + (1 - b2)*u*(H u)`` in calls 1, 1 + update_interval, ..., else ``h' = h``

    ``u`` are random signs, ``H`` the Hessian of the loss. The step reads the old ``h``, so the
    first call takes full clipped steps.

    Parameters
    ----------
    loss : symbolic scalar
        The loss itself, twice differentiable: gradients do not tell its curvature. Without it and
        `params` the call is deferred.
    params : shared variable, or list of shared variables
        Floating-point parameters of any shapes and dtypes.
    learning_rate : float, symbolic scalar, shared variable or schedule, optional
        Factor of the step, finite and >= 0.
    beta1 : float, symbolic scalar, shared variable or schedule, optional
        Decay of the first moment, in [0, 1).
    beta2 : float, symbolic scalar, shared variable or schedule, optional
        Decay of the Hessian's diagonal from one estimate to the next, in [0, 1).
    epsilon : float, symbolic scalar, shared variable or schedule, optional
        The least divisor, finite and >= 0.
    weight_decay : float, symbolic scalar, shared variable or schedule, optional
        Decoupled weight decay, finite and >= 0.
    gamma : float, symbolic scalar, shared variable or schedule, optional
        Factor of the diagonal, finite and >= 0: the larger, the fewer elements are clipped.
    clip_threshold : float, symbolic scalar, shared variable or schedule, optional
        The largest element of the step before the learning rate, finite and > 0.
    update_interval : int, optional
        Calls from one estimate to the next, > 0.
    seed : int, optional
        Seed of the random signs, >= 0.

    Returns
    -------
    OrderedDict
        Shared variable to next value: first_moment, hessian_diagonal, parameter, step and
        generator. A `Deferred` when the call is deferred.

    Raises
    ------
    ValueError, TypeError
        If gradients are given instead of a loss, the loss has no second derivative, an
        argument is out of range or of the wrong kind, or loss and parameters do not fit.

    See Also
    --------
    esgd : divides by a root mean square instead of clipping.
    lion : the sign alone.

    References
    ----------
    Liu et al. (2023), "Sophia: A Scalable Stochastic Second-order Optimizer for Language Model
    Pre-training", arXiv:2305.14342; this form, its order and its signs are optax's.

    Examples
    --------
    >>> import pytensor
    >>> from updates import sophia
    >>> w = pytensor.shared(1.0, name="w")
    >>> step = pytensor.function([], updates=sophia(w**2, [w], learning_rate=0.01, weight_decay=0))
    >>> _ = step()
    >>> round(float(w.get_value()), 6)
    0.99
    """
    call = rule_call(
        sophia,
        loss,
        params,
        learning_rate,
        beta1,
        beta2,
        epsilon,
        weight_decay,
        gamma,
        clip_threshold,
        rows=False,
        needs_loss=_WHY,
    )
    signs = [
        pt.switch(call.normal(param, seed) < 0, -1, 1).astype(param.dtype) for param in call.params
    ]
    products = dict(zip(call.params, _hessian_times(call, signs), strict=True))
    for (param, grad, hyperparameters), sign in zip(call, signs, strict=True):
        learning_rate, beta1, beta2, epsilon, weight_decay, gamma, clip_threshold = hyperparameters
        first_moment = call.average(param, "first_moment", grad, beta1)
        diagonal = call.zeros_like(param, "hessian_diagonal")
        diagonal_new = beta2 * diagonal + (1 - beta2) * sign * products[param]
        call[diagonal] = pt.switch(pt.eq(call.step % update_interval, 0), diagonal_new, diagonal)
        size = pt.maximum(gamma * diagonal, epsilon)
        direction = pt.clip(
            call.unbiased(first_moment, beta1) / size, -clip_threshold, clip_threshold
        )
        call[param] = param - learning_rate * (direction + weight_decay * param)
    return call.updates


@rule
def esgd(
    loss: Variable | None = None,
    params: Params | None = None,
    learning_rate: Hyperparameter = 1e-4,
    halflife: Hyperparameter = 14,
    epsilon: Hyperparameter = 1e-8,
    seed: int = 0,
) -> Updates:
    """Equilibrated gradient descent: divided by the root mean square of the Hessian's rows.

    - ``rho = exp(-ln(2) / halflife)``
    - ``d' = rho*d + (1 - rho)*(H u)^2``
    - ``p' = p - lr*g / (sqrt(d') + eps)``

    ``u`` is standard normal noise, ``H`` the Hessian of the loss over all parameters together:
    the mean of ``(H u)^2`` is the squared norm of each row of ``H``.

    Parameters
    ----------
    loss : symbolic scalar
        The loss itself, twice differentiable: gradients do not tell its curvature. Without it and
        `params` the call is deferred.
    params : shared variable, or list of shared variables
        Floating-point parameters of any shapes and dtypes.
    learning_rate : float, symbolic scalar, shared variable or schedule, optional
        Factor of the step, finite and >= 0.
    halflife : float, symbolic scalar, shared variable or schedule, optional
        Calls after which a product counts half in the average, finite and > 0.
    epsilon : float, symbolic scalar, shared variable or schedule, optional
        Keeps the division away from zero, finite and >= 0.
    seed : int, optional
        Seed of the noise, >= 0.

    Returns
    -------
    OrderedDict
        Shared variable to next value: mean_square_product, parameter and generator.
        A `Deferred` when the call is deferred.

    Raises
    ------
    ValueError, TypeError
        If gradients are given instead of a loss, the loss has no second derivative, an
        argument is out of range or of the wrong kind, or loss and parameters do not fit.

    See Also
    --------
    rmsprop : divides by the root mean square of the gradient.
    sophia : divides by the diagonal of the Hessian.

    References
    ----------
    Dauphin, de Vries, Bengio (2015), "Equilibrated adaptive learning rates for non-convex
    optimization", arXiv:1502.04390; the moving average, names and defaults are those of
    downhill's ESGD (2015), which takes each parameter's own block of the Hessian. Both are the
    same for a single parameter. For momentum use `apply_momentum`.

    Examples
    --------
    >>> import pytensor
    >>> from updates import esgd
    >>> w = pytensor.shared(1.0, name="w")
    >>> step = pytensor.function([], updates=esgd(w**2, [w], learning_rate=0.001))
    >>> _ = step()
    >>> round(float(w.get_value()), 6)
    0.963812
    """
    call = rule_call(
        esgd, loss, params, learning_rate, halflife, epsilon, rows=False, needs_loss=_WHY
    )
    noise = [call.normal(param, seed) for param in call.params]
    products = dict(zip(call.params, _hessian_times(call, noise), strict=True))
    for param, grad, (learning_rate, halflife, epsilon) in call:
        rho = 2 ** (-1 / halflife)
        mean_square = call.average(param, "mean_square_product", products[param] ** 2, rho)
        call[param] = param - learning_rate * grad / (pt.sqrt(mean_square) + epsilon)
    return call.updates


def _hessian_times(call: Call, vectors: list[TensorVariable]) -> list[TensorVariable]:
    """Multiply the Hessian of the loss with one vector over all parameters."""
    along = sum(
        (gradient * vector).sum().astype("float64")
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
            f"{call.owner}: PyTensor cannot differentiate the gradients of this loss: {error}"
        ) from error
    products = provenance.computed_gradients(products, call.params, along, kind="Hu")
    return [
        product.astype(param.dtype) for product, param in zip(products, call.params, strict=True)
    ]
