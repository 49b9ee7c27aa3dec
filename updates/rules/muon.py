"""Muon: matrices move by orthogonal steps.

- ``muon``: the mean gradient of a matrix is orthogonalized; other parameters follow Adam
"""

from typing import Annotated, Any

import pytensor.tensor as pt

from updates.call import State, Tensor, once_a_call
from updates.choice import Choice, chosen
from updates.kinds import (
    Count,
    Epsilon,
    Flag,
    Fraction,
    LearningRate,
    Mask,
    NonNegative,
    OneOf,
    WeightDecay,
    Which,
)
from updates.norms import joint_norm, ratio
from updates.rows import label
from updates.rule import rule

Adjustment = Annotated[str, OneOf(("original", "match_rms_adamw"))]
Orthogonalized = Annotated[
    Choice, Which("which parameters, all of them matrices, move by Muon; by default all matrices")
]


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
    adam_weight_decay: WeightDecay = 0.0,
    adjust_learning_rate: Adjustment = "original",
    orthogonalized: Orthogonalized | None = None,
) -> Tensor:
    """Muon: matrices move by their orthogonalized mean gradient, other parameters by Adam.

    - ``m' = mu*m + (1 - mu)*g``
    - ``n = m' / (1 - mu^t)       (nesterov: mu*m' / (1 - mu^(t+1)) + (1 - mu)*g / (1 - mu^t))``
    - ``X = n / (norm(n) + eps)``
    - ``X <- 3.4445*X - 4.7750*(X@X.T)@X + 2.0315*(X@X.T)^2@X    (ns_steps times)``
    - ``p' = p - lr*(scale*X + wd*p)``
    - ``scale = sqrt(max(1, columns / rows))    (match_rms_adamw: 0.2*sqrt(max(rows, columns)))``

    The iteration brings the singular values of ``X`` between about 0.7 and 1.2 and keeps its
    singular vectors. All parameters but matrices move by
    ``-lr * (n / (sqrt(v' / (1 - b2^t)) + eps) + wd*p)``, where ``n`` is as above with ``b1`` for
    ``mu``, ``v' = b2*v + (1 - b2)*g^2``, and rate and decay may be others.

    Matrices are taken to map rows to columns, ``x @ W``. Those that look up rows, and the last
    layer, often do better with Adam: ``orthogonalized=["W1", "W2"]``, or a function of a parameter,
    leaves all others to it.

    when : hidden matrices of large networks; 0.02
    momentum : decay of the first moment of matrices
    epsilon : keeps the divisions away from zero
    weight_decay : how much of a matrix each step takes off, times the learning rate
    ns_steps : number of iterations; an integer, since it shapes the graph
    nesterov : whether the mean looks one call ahead
    adam_learning_rate : factor of the steps of other parameters; None is `learning_rate`
    adam_beta1 : decay of the first moment of other parameters
    adam_beta2 : decay of their second moment
    adam_weight_decay : how much of them each step takes off, times their learning rate
    adjust_learning_rate : how the step of a matrix grows with its shape. With "match_rms_adamw" its
        root mean square is about 0.2, as in AdamW, so that one learning rate and one decay suit
        all parameters
    state : first_moment, second_moment unless it is orthogonalized, step

    `nadam` : what other parameters follow with nesterov
    `adam` : what they follow without, but for epsilon

    Jordan et al. (2024), "Muon: An optimizer for hidden layers in neural networks",
    https://kellerjordan.github.io/posts/muon; Liu et al. (2025), "Muon is Scalable for LLM
    Training", arXiv:2502.16982, for match_rms_adamw. The form is optax's, whose `consistent_rms` is
    our 0.2. PyTorch's, for the transpose of each matrix and in bfloat16, is that of
    ``nesterov=False, epsilon=0``; with nesterov it leaves out the two divisors of ``n``, which tend
    to 1.

    >>> import numpy as np, pytensor
    >>> from updates import muon
    >>> W = pytensor.shared(np.diag([1.0, 3.0]), name="W")
    >>> rule = muon((W**2).sum(), [W], learning_rate=0.1)
    >>> step = pytensor.function([], updates=rule)
    >>> _ = step()
    >>> W.get_value().diagonal().round(4).tolist()
    [0.8866, 2.9247]
    """
    if state.owner in _orthogonalized(state):
        mean = _mean(state, grad, momentum, nesterov)
        rows, columns = state.owner.get_value(borrow=True).shape
        scale = pt.cast(_scale(rows, columns, adjust_learning_rate), param.dtype)
        direction = _orthogonal(mean, state.wide(epsilon), ns_steps, transposed=rows > columns)
        return param - learning_rate * (scale * direction + weight_decay * param)
    mean = _mean(state, grad, adam_beta1, nesterov)
    second_moment = state.average("second_moment", grad**2, adam_beta2)
    size = pt.sqrt(state.unbiased(second_moment, adam_beta2)) + epsilon
    rate = learning_rate if adam_learning_rate is None else adam_learning_rate
    return param - (rate * mean / size + rate * adam_weight_decay * param)


@once_a_call
def _orthogonalized(state: State) -> list[Any]:
    """Return the parameters of the call that move by Muon."""
    call = state.call
    choice: Any = call.hyperparameters["orthogonalized"]
    if choice is None:
        return [param for param in call.owners if param.ndim == 2]
    answers = chosen("orthogonalized", choice, call.owners)
    for index, (param, is_meant) in enumerate(zip(call.owners, answers, strict=True)):
        if is_meant and param.ndim != 2:
            raise ValueError(
                f"orthogonalized must choose matrices only, but {label(param, index)} has "
                f"{param.ndim} axes"
            )
    return [param for param, is_meant in zip(call.owners, answers, strict=True) if is_meant]


def _scale(rows: int, columns: int, adjustment: str) -> float:
    """Return what a matrix of singular values near 1 is multiplied by, for its shape."""
    if adjustment == "match_rms_adamw":
        return 0.2 * max(rows, columns) ** 0.5
    return max(1, columns / max(1, rows)) ** 0.5


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
