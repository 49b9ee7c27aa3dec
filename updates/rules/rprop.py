"""Resilient backpropagation: steps of which the gradient tells the direction only.

- ``rprop``: each element keeps its own step size, told by the signs of its gradients
"""

import pytensor.tensor as pt

from updates.arguments import LossOrGrads, Params
from updates.call import Updates, rule, rule_call
from updates.hyperparameters import Hyperparameter


@rule
def rprop(
    loss_or_grads: LossOrGrads | None = None,
    params: Params | None = None,
    learning_rate: Hyperparameter = 0.01,
    eta_minus: Hyperparameter = 0.5,
    eta_plus: Hyperparameter = 1.2,
    min_step: Hyperparameter = 1e-6,
    max_step: Hyperparameter = 50.0,
) -> Updates:
    """Rprop: step sizes grow while the gradient keeps its sign, and shrink when it turns.

    - ``c = sign(g) * s``
    - ``d' = d * (eta_plus where c > 0, eta_minus where c < 0, 1 where c = 0)``
    - ``lr*d'`` is kept in ``[min_step, max_step]``
    - ``s' = 0 where c < 0, sign(g) elsewhere``
    - ``p' = p - lr*d'*s'``

    An element whose gradient has turned rests for one call and then forgets the turn (the form
    called iRprop-). Meant for gradients of all the data: the noise of small batches turns signs.

    Parameters
    ----------
    loss_or_grads : symbolic scalar, or list of symbolic tensors
        A loss to differentiate, or one gradient a parameter. Without it and `params` the call
        is deferred.
    params : shared variable, or list of shared variables
        Floating-point parameters of any shapes and dtypes. ``W[index]`` stands for rows of a
        table ``W``; its other rows and their state rest.
    learning_rate : float, symbolic scalar, shared variable or schedule, optional
        Size of the first step of every element and a factor of all that follow, finite and >= 0.
        The state holds the step sizes in units of it, so a schedule scales all of them. At 0
        everything but the signs rests.
    eta_minus : float, symbolic scalar, shared variable or schedule, optional
        Factor of the step size where the gradient has turned, in [0, 1].
    eta_plus : float, symbolic scalar, shared variable or schedule, optional
        Factor of the step size where it has not, finite and >= 1.
    min_step : float, symbolic scalar, shared variable or schedule, optional
        Smallest step, finite and >= 0.
    max_step : float, symbolic scalar, shared variable or schedule, optional
        Largest step, finite and > 0.

    Returns
    -------
    OrderedDict
        Shared variable to next value: scale, sign and parameter.
        A `Deferred` when the call is deferred.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of the wrong kind, or loss, gradients and parameters do
        not fit; the message names it.

    See Also
    --------
    sign_sgd : one step size for all.

    References
    ----------
    Riedmiller, Braun (1993), "A direct adaptive method for faster backpropagation learning: the
    RPROP algorithm", ICNN; Igel, Huesken (2000), "Improving the Rprop Learning Algorithm", NC,
    algorithm 4. The form is PyTorch's and downhill's, the defaults are PyTorch's; downhill's are
    ``learning_rate=1e-4, eta_minus=0.99, eta_plus=1.01, min_step=0, max_step=100``. No setting
    gives optax's (0.2.8), which takes every step one call late. All three multiply gradients to
    compare their signs, which fails when the product underflows; here the signs are multiplied.

    Examples
    --------
    >>> import pytensor
    >>> from updates import rprop
    >>> w = pytensor.shared(1.0, name="w")
    >>> step = pytensor.function([], updates=rprop(w**2, [w], learning_rate=0.1))
    >>> _ = step(), step()
    >>> round(float(w.get_value()), 6)
    0.78
    """
    call = rule_call(
        rprop, loss_or_grads, params, learning_rate, eta_minus, eta_plus, min_step, max_step
    )
    for param, grad, (learning_rate, eta_minus, eta_plus, min_step, max_step) in call:
        scale = call.full_like(param, "scale", 1)
        sign = call.zeros_like(param, "sign")
        agreement = pt.sign(grad) * sign
        factor = pt.switch(agreement > 0, eta_plus, pt.switch(agreement < 0, eta_minus, 1))
        moves = learning_rate > 0
        unit = pt.switch(moves, learning_rate, 1)
        scale_new = pt.clip(scale * factor, min_step / unit, max_step / unit)
        scale_new = pt.switch(moves, scale_new, scale)
        sign_new = pt.switch(agreement < 0, 0, pt.sign(grad))
        call[scale] = scale_new
        call[sign] = sign_new
        call[param] = param - learning_rate * scale_new * sign_new
    return call.updates
