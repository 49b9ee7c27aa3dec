"""Rules that take the gradient at another point than where the parameters are.

- ``sam``: at the worst point nearby
- ``nesterov_lookahead``: where the velocity alone would lead

The loss is a graph: its gradient elsewhere is the same graph with other parameters put in.
"""

from collections.abc import Callable
from typing import Any

import pytensor.tensor as pt
from pytensor.graph.basic import Variable
from pytensor.graph.replace import clone_replace
from pytensor.tensor.variable import TensorVariable

from updates import provenance
from updates.arguments import Params
from updates.call import Call, Updates, checked_updates, rule, rule_call
from updates.hyperparameters import REQUIRED, Hyperparameter
from updates.norms import joint_norm, ratio

_WHY = "it takes their values at another point than the parameters"


@rule
def sam(
    loss: Variable | None = None,
    params: Params | None = None,
    rule: Callable[..., Any] = REQUIRED,
    rho: Hyperparameter = 0.05,
) -> Updates:
    """Sharpness-aware minimisation: any rule, with the gradient of the worst point nearby.

    - ``q = p + rho*g(p) / norm(g(p))``, one norm over all parameters
    - ``p' = rule(g(q), p)``

    Random draws in the loss, dropout for instance, are the same at both points.

    Parameters
    ----------
    loss : symbolic scalar
        The loss itself: it is differentiated at two points. Without it and `params` the call is
        deferred.
    params : shared variable, or list of shared variables
        Floating-point parameters of any shapes and dtypes.
    rule : callable
        Takes gradients and parameters and returns their updates: a rule of this library called
        without a loss, such as ``sgd(learning_rate=0.1)``.
    rho : float, symbolic scalar, shared variable or schedule, optional
        How far away the gradient is taken, finite and >= 0.

    Returns
    -------
    OrderedDict
        What `rule` returns. A `Deferred` when the call is deferred.

    Raises
    ------
    ValueError, TypeError
        If gradients are given instead of a loss, an argument is out of range or of the wrong
        kind, or loss and parameters do not fit; the message names it.

    See Also
    --------
    nesterov_lookahead : the gradient further along the way.

    References
    ----------
    Foret, Kleiner, Mobahi, Neyshabur (2020), "Sharpness-Aware Minimization for Efficiently
    Improving Generalization", arXiv:2010.01412.

    Examples
    --------
    >>> import pytensor
    >>> from updates import sam, sgd
    >>> w = pytensor.shared(1.0, name="w")
    >>> rule = sam(w**2, [w], sgd(learning_rate=0.1), rho=0.5)
    >>> step = pytensor.function([], updates=rule)
    >>> _ = step()
    >>> round(float(w.get_value()), 6)
    0.7
    """
    call = rule_call(sam, loss, params, rho, rows=False, needs_loss=_WHY)
    scale = ratio(pt.constant(1), joint_norm(call.grads))
    points = [param + rho * scale.astype(param.dtype) * grad for param, grad, (rho,) in call]
    stepped = rule(_grads_at(call, points), call.params)
    return call.updates | checked_updates(call.owner, stepped)


@rule
def nesterov_lookahead(
    loss: Variable | None = None,
    params: Params | None = None,
    learning_rate: Hyperparameter = REQUIRED,
    momentum: Hyperparameter = 0.9,
) -> Updates:
    """Nesterov's momentum in its classic form: the gradient where the velocity leads.

    - ``v' = mu*v - lr*g(p + mu*v)``
    - ``p' = p + v'``

    Parameters
    ----------
    loss : symbolic scalar
        The loss itself: it is differentiated ahead of the parameters. Without it and `params` the
        call is deferred.
    params : shared variable, or list of shared variables
        Floating-point parameters of any shapes and dtypes.
    learning_rate : float, symbolic scalar, shared variable or schedule
        Factor of the step, finite and >= 0.
    momentum : float, symbolic scalar, shared variable or schedule, optional
        How much of the velocity is kept, in [0, 1).

    Returns
    -------
    OrderedDict
        Shared variable to next value: velocity and parameter.
        A `Deferred` when the call is deferred.

    Raises
    ------
    ValueError, TypeError
        If gradients are given instead of a loss, an argument is out of range or of the wrong
        kind, or loss and parameters do not fit; the message names it.

    See Also
    --------
    nesterov_momentum : the usual rewriting, which moves the parameters themselves ahead.

    References
    ----------
    Nesterov (1983), "A method for solving the convex programming problem with convergence rate
    O(1/k^2)", Doklady AN SSSR 269; in these words in Sutskever et al. (2013), "On the importance
    of initialization and momentum in deep learning", ICML.

    Examples
    --------
    >>> import pytensor
    >>> from updates import nesterov_lookahead
    >>> w = pytensor.shared(1.0, name="w")
    >>> rule = nesterov_lookahead(w**2, [w], learning_rate=0.1, momentum=0.5)
    >>> step = pytensor.function([], updates=rule)
    >>> _ = step(), step()
    >>> round(float(w.get_value()), 6)
    0.56
    """
    call = rule_call(
        nesterov_lookahead, loss, params, learning_rate, momentum, rows=False, needs_loss=_WHY
    )
    velocities = [call.zeros_like(param, "velocity") for param in call.params]
    ahead = [
        param + momentum * velocity
        for (param, _, (_, momentum)), velocity in zip(call, velocities, strict=True)
    ]
    grads = _grads_at(call, ahead)
    for (param, _, (learning_rate, momentum)), velocity, grad in zip(
        call, velocities, grads, strict=True
    ):
        velocity_new = momentum * velocity - learning_rate * grad
        call[velocity] = velocity_new
        call[param] = param + velocity_new
    return call.updates


def _grads_at(call: Call, points: list[TensorVariable]) -> Any:
    """Return the gradients with other values in the place of the parameters."""
    grads: Any = clone_replace(call.grads, dict(zip(call.params, points, strict=True)))
    provenance.gradient_at(grads, call.params, points)
    return grads
