"""Muon: matrices move by orthogonal steps.

- ``muon``: the mean gradient of a matrix is orthogonalized; other parameters follow Adam
"""

import pytensor.tensor as pt

from updates.call import State, Tensor
from updates.kinds import (
    Count,
    Epsilon,
    Flag,
    Fraction,
    LearningRate,
    Mask,
    NonNegative,
    WeightDecay,
)
from updates.norms import joint_norm, ratio
from updates.rule import rule


@rule(rows=False)
def muon(
    state: State,
    param: Tensor,
    grad: Tensor,
    learning_rate: LearningRate = 0.02,
    momentum: Fraction = 0.95,
    epsilon: Epsilon = 1e-8,
    weight_decay: WeightDecay = 0.0,
    ns_steps: Count = 5,
    nesterov: Flag = True,
    adam_learning_rate: NonNegative | None = None,
    adam_beta1: Fraction = 0.9,
    adam_beta2: Fraction = 0.999,
    mask: Mask | None = None,
) -> Tensor:
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

    momentum : decay of the first moment of matrices
    epsilon : keeps the divisions away from zero
    weight_decay : how much of a matrix each step takes off, times the learning rate. Other
        parameters do not decay
    ns_steps : number of iterations; an integer, since it shapes the graph
    nesterov : whether the mean looks one call ahead
    adam_learning_rate : factor of the steps of other parameters; None is `learning_rate`
    adam_beta1 : decay of the first moment of other parameters
    adam_beta2 : decay of their second moment
    state : first_moment, second_moment unless it is a matrix, step

    `nadam` : what other parameters follow with nesterov
    `adam` : what they follow without, but for epsilon

    Jordan et al. (2024), "Muon: An optimizer for hidden layers in neural networks",
    https://kellerjordan.github.io/posts/muon; the form is optax's. PyTorch's, for the transpose of
    each matrix and in bfloat16, is that of ``nesterov=False, epsilon=0``; with nesterov it leaves
    out the two divisors of ``n``, which tend to 1.

    >>> import numpy as np, pytensor
    >>> from updates import muon
    >>> W = pytensor.shared(np.diag([1.0, 3.0]), name="W")
    >>> rule = muon((W**2).sum(), [W], learning_rate=0.1)
    >>> step = pytensor.function([], updates=rule)
    >>> _ = step()
    >>> W.get_value().diagonal().round(4).tolist()
    [0.8866, 2.9247]
    """
    if param.ndim == 2:
        mean = _mean(state, grad, momentum, nesterov)
        rows, columns = state.owner.get_value(borrow=True).shape
        scale = pt.cast(max(1, columns / max(1, rows)) ** 0.5, param.dtype)
        direction = _orthogonal(mean, state.wide(epsilon), ns_steps, transposed=rows > columns)
        step = learning_rate * (scale * direction + weight_decay * param)
    else:
        mean = _mean(state, grad, adam_beta1, nesterov)
        second_moment = state.average("second_moment", grad**2, adam_beta2)
        size = pt.sqrt(state.unbiased(second_moment, adam_beta2)) + epsilon
        step = (learning_rate if adam_learning_rate is None else adam_learning_rate) * mean / size
    return param - step


def _mean(state: State, grad: Tensor, decay: Fraction, nesterov: bool) -> Tensor:
    """Average the gradient, now or as if it came once more, corrected for the start at zero."""
    first_moment = state.average("first_moment", grad, decay)
    if not nesterov:
        return state.unbiased(first_moment, decay)
    next_correction = (1 - decay ** (state.time + 1)).astype(grad.dtype)
    return decay * first_moment / next_correction + (1 - decay) * state.unbiased(grad, decay)


def _orthogonal(matrix: Tensor, epsilon: Epsilon, steps: int, transposed: bool) -> Tensor:
    """Bring all singular values near 1 by Newton-Schulz iterations, through the smaller square."""
    a, b, c = (pt.cast(coefficient, matrix.dtype) for coefficient in (3.4445, -4.7750, 2.0315))
    x = ratio(matrix, joint_norm([matrix]) + epsilon).astype(matrix.dtype)
    x = x.T if transposed else x
    for _ in range(steps):
        gram = pt.dot(x, x.T)
        x = a * x + pt.dot(b * gram + c * pt.dot(gram, gram), x)
    return x.T if transposed else x
