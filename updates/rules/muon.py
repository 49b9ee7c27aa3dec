"""Muon: matrices move by orthogonal steps.

- ``muon``: the mean gradient of a matrix is orthogonalized; other parameters follow Adam
"""

import pytensor.tensor as pt
from pytensor.tensor.variable import TensorVariable

from updates.arguments import LossOrGrads, Params
from updates.call import Call, Updates, rule, rule_call
from updates.hyperparameters import Hyperparameter
from updates.norms import ratio, sum_of_squares


@rule
def muon(
    loss_or_grads: LossOrGrads | None = None,
    params: Params | None = None,
    learning_rate: Hyperparameter = 0.02,
    momentum: Hyperparameter = 0.95,
    epsilon: Hyperparameter = 1e-8,
    weight_decay: Hyperparameter = 0.0,
    ns_steps: int = 5,
    nesterov: bool = True,
    adam_learning_rate: Hyperparameter | None = None,
    adam_beta1: Hyperparameter = 0.9,
    adam_beta2: Hyperparameter = 0.999,
) -> Updates:
    """Muon: matrices move by their orthogonalized mean gradient, other parameters by Adam.

    - ``m' = mu*m + (1 - mu)*g``
    - ``n = m' / (1 - mu^t)       (nesterov: mu*m' / (1 - mu^(t+1)) + (1 - mu)*g / (1 - mu^t))``
    - ``X = n / (norm(n) + eps)``
    - ``X <- 3.4445*X - 4.7750*(X@X.T)@X + 2.0315*(X@X.T)^2@X    (ns_steps times)``
    - ``p' = p - lr*(sqrt(max(1, columns / rows))*X + wd*p)``

    The iteration brings the singular values of ``X`` between about 0.7 and 1.2 and keeps its
    singular vectors. All parameters but matrices move by
    ``-lr * n / (sqrt(v' / (1 - b2^t)) + eps)``, where ``n`` is as above with ``b1`` for ``mu``, and
    ``v' = b2*v + (1 - b2)*g^2``.

    Matrices are taken to map rows to columns, ``x @ W``. Those that look up rows, and the last
    layer, are often better left to another rule.

    Parameters
    ----------
    loss_or_grads : symbolic scalar, or list of symbolic tensors
        A loss to differentiate, or one gradient a parameter. Without it and `params` the call
        is deferred.
    params : shared variable, or list of shared variables
        Floating-point parameters of any shapes and dtypes.
    learning_rate : float, symbolic scalar, shared variable or schedule, optional
        Factor of the step, finite and >= 0.
    momentum : float, symbolic scalar, shared variable or schedule, optional
        Decay of the first moment of matrices, in [0, 1).
    epsilon : float, symbolic scalar, shared variable or schedule, optional
        Keeps the divisions away from zero, finite and >= 0.
    weight_decay : float, symbolic scalar, shared variable or schedule, optional
        How much of a matrix each step takes off, times the learning rate, finite and >= 0.
        Other parameters do not decay.
    ns_steps : int, optional
        Number of iterations, > 0; an integer, since it shapes the graph.
    nesterov : bool, optional
        Whether the mean looks one call ahead.
    adam_learning_rate : float, symbolic scalar, shared variable or schedule, optional
        Factor of the steps of other parameters, finite and >= 0; None is `learning_rate`.
    adam_beta1 : float, symbolic scalar, shared variable or schedule, optional
        Decay of the first moment of other parameters, in [0, 1).
    adam_beta2 : float, symbolic scalar, shared variable or schedule, optional
        Decay of their second moment, in [0, 1).

    Returns
    -------
    OrderedDict
        Shared variable to next value: first_moment, second_moment unless it is a matrix, parameter
        and step.
        A `Deferred` when the call is deferred.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of the wrong kind, or loss, gradients and parameters do
        not fit; the message names it.

    See Also
    --------
    nadam : what other parameters follow with nesterov.
    adam : what they follow without, but for epsilon.

    References
    ----------
    Jordan et al. (2024), "Muon: An optimizer for hidden layers in neural networks",
    https://kellerjordan.github.io/posts/muon; the form is optax's. PyTorch's, for the transpose of
    each matrix and in bfloat16, is that of ``nesterov=False, epsilon=0``; with nesterov it leaves
    out the two divisors of ``n``, which tend to 1.

    Examples
    --------
    >>> import numpy as np, pytensor
    >>> from updates import muon
    >>> W = pytensor.shared(np.diag([1.0, 3.0]), name="W")
    >>> rule = muon((W**2).sum(), [W], learning_rate=0.1)
    >>> step = pytensor.function([], updates=rule)
    >>> _ = step()
    >>> W.get_value().diagonal().round(4).tolist()
    [0.8866, 2.9247]
    """
    call = rule_call(
        muon,
        loss_or_grads,
        params,
        learning_rate,
        momentum,
        epsilon,
        weight_decay,
        adam_learning_rate,
        adam_beta1,
        adam_beta2,
        rows=False,
    )
    for param, grad, hyperparameters in call:
        learning_rate, momentum, epsilon, weight_decay, adam_rate, beta1, beta2 = hyperparameters
        if param.ndim == 2:
            mean = _mean(call, param, grad, momentum, nesterov)
            rows, columns = param.get_value(borrow=True).shape
            scale = pt.cast(max(1, columns / max(1, rows)) ** 0.5, param.dtype)
            direction = _orthogonal(mean, epsilon, ns_steps, transposed=rows > columns)
            step = learning_rate * (scale * direction + weight_decay * param)
        else:
            mean = _mean(call, param, grad, beta1, nesterov)
            second_moment = call.average(param, "second_moment", grad**2, beta2)
            size = pt.sqrt(call.unbiased(second_moment, beta2)) + epsilon
            step = (learning_rate if adam_rate is None else adam_rate) * mean / size
        call[param] = param - step
    return call.updates


def _mean(
    call: Call, param: TensorVariable, grad: TensorVariable, decay: TensorVariable, nesterov: bool
) -> TensorVariable:
    """Average the gradient, now or as if it came once more, corrected for the start at zero."""
    first_moment = call.average(param, "first_moment", grad, decay)
    if not nesterov:
        return call.unbiased(first_moment, decay)
    next_correction = (1 - decay ** (call.time + 1)).astype(param.dtype)
    return decay * first_moment / next_correction + (1 - decay) * call.unbiased(grad, decay)


def _orthogonal(
    matrix: TensorVariable, epsilon: TensorVariable, steps: int, transposed: bool
) -> TensorVariable:
    """Bring all singular values near 1 by Newton-Schulz iterations, through the smaller square."""
    a, b, c = (pt.cast(coefficient, matrix.dtype) for coefficient in (3.4445, -4.7750, 2.0315))
    norm = pt.sqrt(sum_of_squares([matrix])).astype(matrix.dtype)
    x = ratio(matrix, norm + epsilon)
    x = x.T if transposed else x
    for _ in range(steps):
        gram = pt.dot(x, x.T)
        x = a * x + pt.dot(b * gram + c * pt.dot(gram, gram), x)
    return x.T if transposed else x
