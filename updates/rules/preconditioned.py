"""Rules that precondition by Kronecker factors: one small matrix for each axis of a parameter.

- ``soap``: Adam in the eigenvectors of the factors
- ``shampoo``: the gradient times inverse roots of the factors

The factor of an axis of length n is an n by n matrix that collects ``G_i @ G_i.T``, where ``G_i``
is the gradient as a matrix: that axis as its rows, all others as its columns. To decompose factors
is costly. It is done in every so many calls, in a branch that the others skip. With PyTensor 3.0.7
only the C backend skips it: numba gives the same, but computes the branch in every call.

For a float32 matrix of 512 rows and columns, in numba, on one BLAS thread of a busy machine, a call
of ``adam`` took 1.3 ms at best, of ``soap`` 63 ms, or 210 ms with the branch, of ``shampoo`` 21 ms,
or 190 ms with it.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytensor.tensor as pt

from updates import provenance
from updates.call import State, Tensor, once_a_call
from updates.conditional import ifelse
from updates.kinds import (
    Count,
    Epsilon,
    Fraction,
    LearningRate,
    Mask,
    NonNegative,
    WeightDecay,
)
from updates.norms import is_finite, ratio
from updates.rule import rule
from updates.rules.moments import adam_direction


@rule(rows=False)
def soap(
    state: State,
    param: Tensor,
    grad: Tensor,
    learning_rate: LearningRate = 0.003,
    beta1: Fraction = 0.95,
    beta2: Fraction = 0.95,
    epsilon: Epsilon = 1e-8,
    weight_decay: WeightDecay = 0.01,
    factor_beta: Fraction | None = None,
    update_interval: Count = 10,
    max_precondition_dim: Count = 10000,
    mask: Mask | None = None,
) -> Tensor:
    """SOAP: Adam along the eigenvectors of Shampoo's factors, which are followed as they turn.

    - ``m' = b1*m + (1 - b1)*g``
    - ``v' = b2*v + (1 - b2)*turned(g)^2``
    - ``lr_t = lr * sqrt(1 - b2^t) / (1 - b1^t)``
    - ``p' = (1 - lr*wd) * (p - lr_t*turned_back(turned(m') / (sqrt(v') + eps)))``
    - ``F_i' = fb*F_i + (1 - fb)*G_i@G_i.T``
    - ``Q_i' = QR(F_i'@Q_i)    (in calls 1 + update_interval, 1 + 2*update_interval, ...)``

    ``turned(g)`` of a matrix is ``Q_0.T@g@Q_1``, ``turned_back`` undoes it; of tensors likewise,
    along each axis. Before ``QR``, the columns of ``Q_i`` are sorted by falling ``F_i'``, and
    ``v'`` with them. The first call makes no step: it starts the factors, and ``Q_i`` as their
    eigenvectors. ``t`` counts calls from the second. Vectors and scalars are not turned and follow
    Adam; so do the axes of a tensor that are longer than `max_precondition_dim`. Where the first
    gradient has less rank than an axis is long, some eigenvectors are for LAPACK to choose, and
    another backend may walk another way.

    when : language models, fewer steps than `adamw`; 0.003
    beta1, beta2 : decays of the first and of the second moment
    factor_beta : decay of the factors; None is `beta2`
    update_interval : calls from one ``QR`` to the next
    max_precondition_dim : longest axis that is turned; an integer, since it shapes the state
    state : first_moment, second_moment, factor_0, basis_0, factor_1, ..., step

    `adam` : what it is where nothing is turned, one call late
    `shampoo` : inverse roots of the factors, without moments

    Vyas et al. (2024), "SOAP: Improving and Stabilizing Shampoo using Adam", arXiv:2409.11321. The
    order is that of the authors' code and of pytorch_optimizer, which rounds ``QR`` to float32.
    """
    kept_factors = _kept(state, "factor", max_precondition_dim)
    bases = _kept(state, "basis", max_precondition_dim)
    decay = _from_second_call(state, beta2)
    second_moment = state.zeros("second_moment")
    square = decay * second_moment + (1 - decay) * _times(bases, grad) ** 2
    mean = state.average("first_moment", grad, _from_second_call(state, beta1))
    direction = _times(bases, ratio(_times(bases, mean), pt.sqrt(square) + epsilon), side=1)

    factor_decay = beta2 if factor_beta is None else factor_beta
    factors = {
        axis: state.update(
            factor, factor_decay * factor + (1 - factor_decay) * _outer_product(state, grad, axis)
        )
        for axis, factor in kept_factors.items()
    }
    if factors:
        square = _followed(state, factors, bases, square, update_interval)
    state.update(second_moment, square)
    rate = _corrected_rate(state, learning_rate, beta1, beta2)
    shrink = _shrink(state, learning_rate, weight_decay)
    return (param - rate * direction) * shrink


@rule(rows=False)
def shampoo(
    state: State,
    param: Tensor,
    grad: Tensor,
    learning_rate: LearningRate = 0.01,
    epsilon: Epsilon = 1e-6,
    weight_decay: WeightDecay = 0.0,
    update_interval: Count = 1,
    max_precondition_dim: Count = 10000,
    adam_learning_rate: NonNegative | None = None,
    adam_beta1: Fraction = 0.9,
    adam_beta2: Fraction = 0.999,
    adam_epsilon: Epsilon = 1e-8,
    mask: Mask | None = None,
) -> Tensor:
    """Shampoo: AdaGrad with a matrix for each axis in the place of a number for each element.

    - ``F_i' = F_i + G_i@G_i.T``
    - ``R_i' = (F_i' + eps*I)^(-1 / (2*n))    (in calls 1, 1 + update_interval, ...)``
    - ``p' = p - lr*(turned(g) + wd*p)``

    ``turned(g)`` of a matrix is ``R_0'@g@R_1'``; of tensors likewise, along each axis. ``n`` is the
    number of axes that have a factor: all that are no longer than `max_precondition_dim`.

    Vectors, scalars, and what has no factor move by
    ``-lr * (m' / (1 - b1^t) / (sqrt(v' / (1 - b2^t)) + eps) + wd*p)``, as in `adamw`. For momentum
    of the steps there is `apply_momentum`.

    when : badly scaled matrices, where `adagrad` would do; 0.01
    epsilon : is added to the eigenvalues of the factors; keeps their roots finite, and limits steps
        in directions that were not seen before the last root: 0.01 if `update_interval` is 10
    weight_decay : decoupled weight decay
    update_interval : calls from one root to the next
    max_precondition_dim : longest axis that has a factor; an integer, since it shapes the state
    adam_learning_rate : factor of the steps of other parameters; None is `learning_rate`
    adam_beta1 : decay of the first moment of other parameters
    adam_beta2 : decay of their second moment
    adam_epsilon : keeps their division away from zero
    state : factor_0, root_0, factor_1, ..., or first_moment and second_moment; step

    `soap` : Adam along the eigenvectors of averaged factors
    `adagrad` : a sum of squares for every element
    `muon` : what the first step is for a matrix, but for epsilon

    Gupta, Koren, Singer (2018), "Shampoo: Preconditioned Stochastic Tensor Optimization",
    arXiv:1802.09568, algorithm 2. Matrices follow pytorch_optimizer's without momentum too, which
    makes no step before call `update_interval`, and mixes up the axes of other tensors.
    """
    kept_factors = _kept(state, "factor", max_precondition_dim)
    if not kept_factors:
        direction = adam_direction(state, grad, adam_beta1, adam_beta2, adam_epsilon)
        rate = learning_rate if adam_learning_rate is None else adam_learning_rate
        return param - rate * (direction + weight_decay * param)
    factors = [
        state.update(factor, factor + _outer_product(state, grad, axis))
        for axis, factor in kept_factors.items()
    ]
    kept_roots = _kept(state, "root", max_precondition_dim)
    exponent = pt.cast(-0.5 / len(factors), state.call.dtype)
    anew = [
        _like(root, _root(_wide(state, factor), epsilon, exponent))
        for root, factor in zip(kept_roots.values(), factors, strict=True)
    ]
    found = _branch(_is_due(state, update_interval), anew, [*kept_roots.values()])
    roots = {
        axis: state.update(kept, root)
        for (axis, kept), root in zip(kept_roots.items(), found, strict=True)
    }
    return param - learning_rate * (_times(roots, grad) + weight_decay * param)


def _root(factor: Any, epsilon: Any, exponent: Any) -> Any:
    """Raise a factor to a negative power; what has overflowed to 0, its limit."""
    eigenvalues, eigenvectors = _eigh(_finite(factor))
    # What is this small beside the largest is rounding, of either sign.
    dtype = factor.type.dtype
    least = pt.cast(factor.shape[0], dtype) * np.finfo(dtype).eps * eigenvalues[-1]
    powers = (pt.maximum(eigenvalues, least) + epsilon) ** exponent
    root = pt.dot(eigenvectors * powers, eigenvectors.T)
    return provenance.reads_as(pt.switch(pt.all(is_finite(factor)), root, 0), 1)


def _followed(
    state: State,
    factors: Mapping[int, Any],
    bases: Mapping[int, Any],
    square: Tensor,
    update_interval: int,
) -> Tensor:
    """Update the bases where it is time to, and return the second moment sorted as they are."""
    sorted_square, turned, eigenvectors = square, [], []
    for axis, basis in bases.items():
        factor = _finite(_wide(state, factors[axis]))
        product = pt.dot(factor, _wide(state, basis))
        order = pt.argsort(-pt.sum(_wide(state, basis) * product, axis=0))
        turned.append(_like(basis, pt.linalg.qr(product[:, order])[0]))
        eigenvectors.append(_like(basis, _eigh(factor)[1][:, ::-1]))
        sorted_square = pt.take(sorted_square, order, axis=axis)
    is_due = _is_due(state, update_interval)
    then = [*turned, _like(square, sorted_square)]
    *later, kept_square = _branch(is_due & ~_is_first(state), then, [*bases.values(), square])
    for basis, value in zip(
        bases.values(), _branch(_is_first(state), eigenvectors, later), strict=True
    ):
        state.update(basis, value)
    return kept_square


def _axes(state: State, max_dim: int) -> list[int]:
    """Return the axes that have a factor: none of vectors, scalars and what is empty."""
    shape = state.owner.get_value(borrow=True).shape
    has_factors = len(shape) > 1 and 0 not in shape
    return [axis for axis, length in enumerate(shape) if has_factors and length <= max_dim]


def _kept(state: State, slot: str, max_dim: int) -> dict[int, Any]:
    """Make a square state matrix for each axis that has a factor."""
    shape = state.owner.get_value(borrow=True).shape
    return {
        axis: state.array(f"{slot}_{axis}", (shape[axis], shape[axis]))
        for axis in _axes(state, max_dim)
    }


def _times(matrices: Mapping[int, Any], tensor: Tensor, side: int = 0) -> Tensor:
    """Contract axes of a tensor with rows of matrices, or with columns where the side is 1."""
    product: Any = tensor
    for axis, matrix in matrices.items():
        product = pt.moveaxis(pt.tensordot(matrix, product, axes=[[side], [axis]]), 0, axis)
    return product


def _outer_product(state: State, grad: Tensor, axis: int) -> Any:
    """Return ``G_i @ G_i.T``."""
    others = [other for other in range(grad.type.ndim) if other != axis]
    wide = _wide(state, grad)
    product = pt.tensordot(wide, wide, axes=[others, others])
    return provenance.cast(product, grad.type.dtype)


def _branch(condition: Any, then: list[Any], otherwise: list[Any]) -> list[Any]:
    """Compute one of two lists only."""
    found: Any = ifelse(condition, then, otherwise)
    return list(found)


def _eigh(matrix: Any) -> Any:
    """Return the eigenvalues of a symmetric matrix, rising, and its eigenvectors as columns."""
    return pt.linalg.eigh(matrix)


def _wide(state: State, matrix: Any) -> Any:
    return provenance.cast(matrix, state.call.dtype)


def _finite(matrix: Any) -> Any:
    """Return a matrix that can be decomposed. Where it is not finite, parameters show it."""
    return provenance.reads_as(pt.switch(is_finite(matrix), matrix, 0), 1)


def _like(variable: Any, value: Any) -> Any:
    """Give a value the type of a variable, which both values of a branch must have."""
    cast = provenance.cast(value, variable.type.dtype)
    result = pt.specify_shape(cast, variable.type.shape)
    return result if result is cast else provenance.reads_as(result)


@once_a_call
def _is_first(state: State) -> Any:
    return pt.eq(state.step, 0)


@once_a_call
def _is_due(state: State, update_interval: int) -> Any:
    return pt.eq(state.step % update_interval, 0)


@once_a_call
def _from_second_call(state: State, decay: Fraction) -> Any:
    """Return a decay that keeps the average as it is in the first call."""
    return pt.switch(_is_first(state), 1, decay)


@once_a_call
def _corrected_rate(
    state: State, learning_rate: LearningRate, beta1: Fraction, beta2: Fraction
) -> Any:
    """Return Adam's rate one call late: 0 in the first call."""
    time = pt.maximum(state.time - 1, 1)
    rate = learning_rate * pt.sqrt(1 - beta2**time) / (1 - beta1**time)
    return state.cast(pt.switch(_is_first(state), 0, rate))


@once_a_call
def _shrink(state: State, learning_rate: LearningRate, weight_decay: WeightDecay) -> Any:
    """Return what weight decay leaves of a parameter: all in the first call."""
    return pt.switch(_is_first(state), 1, 1 - learning_rate * weight_decay)
