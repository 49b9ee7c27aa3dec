"""Norms over whole tensors, and quotients of them.

- ``sum_of_squares``, ``joint_norm``: over all elements of some tensors
- ``sum_of_products``: the inner product of some tensors with others
- ``norm_over``: over some axes of a tensor
- ``joint_norm_of_rows``: of each row of several matrices taken together
- ``root_mean_square``: of all elements of a tensor
- ``mean_over``: the mean over some axes of a tensor
- ``scaled``: a tensor times a factor that comes of its norm
- ``ratio``: a quotient in which 0 / 0 is 0
- ``is_finite``: what is neither infinite nor NaN

They are computed in float64, where the squares of narrower dtypes neither overflow nor underflow.
Float64 tensors whose squares would are scaled by a power of two, so that their norm is right
wherever it can be represented. All other norms are not changed by that, not in a single bit.
(Where the user forbids float64, the same holds of float32: see `updates.precision`.)
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pytensor.tensor as pt
from pytensor.tensor.variable import TensorVariable

from updates import provenance
from updates.precision import wide


def sum_of_squares(tensors: Iterable[TensorVariable]) -> TensorVariable:
    """Return the sum of the squares of all elements."""
    return _sum_of_squares(_widened(tensors))


def joint_norm(tensors: Iterable[TensorVariable]) -> TensorVariable:
    """Return the L2 norm of all tensors taken together."""
    return _root(tensors, root=lambda total: provenance.mark(pt.sqrt(total), joint="norm"))


def sum_of_products(
    tensors: Iterable[TensorVariable], others: Iterable[TensorVariable]
) -> TensorVariable:
    """Return the sum of the products of all elements of tensors with those of others."""
    pairs = zip(_widened(tensors), _widened(others), strict=True)
    return _total([pt.sum(tensor * other) for tensor, other in pairs])


def norm_over(tensor: TensorVariable, axes: Sequence[int]) -> TensorVariable:
    """Return the L2 norms over some axes, which stay with length 1."""
    return _root([tensor], lambda widened: pt.sum(widened[0] ** 2, axis=axes, keepdims=True))


def joint_norm_of_rows(matrices: Iterable[TensorVariable]) -> TensorVariable:
    """Return the L2 norm of each row of all matrices taken together, as a matrix of one column."""

    def squares(widened: Sequence[Any]) -> TensorVariable:
        return _total([pt.sum(matrix**2, axis=1, keepdims=True) for matrix in widened])

    return _root(matrices, squares)


def root_mean_square(tensor: TensorVariable) -> TensorVariable:
    """Return the root of the mean square of all elements; that of an empty tensor is 0."""
    return _root(
        [tensor],
        root=lambda total: pt.sqrt(total / pt.cast(pt.maximum(1, tensor.size), total.type.dtype)),
    )


def mean_over(tensor: TensorVariable, axes: Sequence[int]) -> TensorVariable:
    """Return the means over some axes, which stay with length 1, in the dtype of the tensor."""
    [widened] = _widened([tensor])
    return provenance.cast(pt.mean(widened, axis=axes, keepdims=True), tensor.type.dtype)


def scaled(tensor: TensorVariable, factor: TensorVariable, norm: TensorVariable) -> TensorVariable:
    """Multiply by a factor, or where the norm is not finite show why: NaN there, 0 elsewhere.

    Zero times infinity would say the same, but PyTensor's rewrites do not keep it.
    """
    dtype = tensor.type.dtype
    product = provenance.cast(tensor * factor, dtype)
    # A sine is finite, and NaN of an infinity. A constant NaN would alarm `NanGuardMode`.
    culprits = pt.switch(pt.isinf(tensor) | pt.isnan(tensor), pt.cast(pt.sin(norm), dtype), 0)
    guarded = pt.switch(pt.isinf(norm) | pt.isnan(norm), culprits, product)
    return provenance.reads_as(guarded, 2)


def ratio(numerator: TensorVariable, denominator: TensorVariable) -> TensorVariable:
    """Divide, and give 0 where the denominator is 0."""
    is_zero = pt.eq(denominator, 0)
    divisor = provenance.reads_as(pt.switch(is_zero, 1, denominator), 2)
    return provenance.reads_as(pt.switch(is_zero, 0, numerator / divisor), 2)


def is_finite(tensor: TensorVariable) -> Any:
    """Tell which elements are neither infinite nor NaN."""
    return ~(pt.isinf(tensor) | pt.isnan(tensor))


def _widened(tensors: Iterable[TensorVariable]) -> list[Any]:
    given = list(tensors)
    dtype = wide(*(tensor.type.dtype for tensor in given))
    return [provenance.cast(tensor, dtype) for tensor in given]


def _sum_of_squares(tensors: Sequence[Any]) -> TensorVariable:
    total = _total([pt.sum(tensor**2) for tensor in tensors])
    return provenance.mark(total, joint="sum of squares")


def _total(terms: Sequence[Any]) -> Any:
    return pt.add(*terms) if len(terms) > 1 else terms[0]


def _root(
    tensors: Iterable[TensorVariable],
    total_of: Callable[[Sequence[Any]], TensorVariable] = _sum_of_squares,
    root: Callable[[TensorVariable], TensorVariable] = pt.sqrt,
) -> TensorVariable:
    """Take a root of a sum of squares, though squares may be too large or too small for a dtype.

    The sum tells whether they are. If so, the root is that of the tensors in other units, powers
    of two. So there is one pass over the tensors more; finding the largest element would take as
    long in C, and far longer in numba.
    """
    given = list(tensors)
    widened = _widened(given)
    total = total_of(widened)
    plain = root(total)
    if all(tensor.type.dtype != total.type.dtype for tensor in given):
        return plain  # all squares fit
    # Neither of the two is a large number, which `NanGuardMode` would take for an error.
    info = np.finfo(total.type.dtype)
    reduction, unit = _reduction(total, info), _unit(total, info)
    root_in_units = root(total_of([tensor * reduction / unit for tensor in widened]))
    careful = root_in_units * unit / reduction
    fits = pt.eq(reduction, unit)
    return provenance.reads_as(pt.switch(fits, plain, careful), 1)


def _reduction(total: TensorVariable, info: np.finfo) -> TensorVariable:
    """Return what tensors are multiplied by so that no square overflows: 1 or a power of two."""
    reduction = pt.constant(np.ldexp(1.0, info.minexp // 2 - info.nmant), dtype=total.type.dtype)
    return pt.switch(pt.isinf(total), reduction, pt.constant(1, dtype=total.type.dtype))


def _unit(total: TensorVariable, info: np.finfo) -> TensorVariable:
    """Return what tensors are divided by so that no square underflows: 1 or a power of two."""
    least = info.minexp + 3 * info.nmant // 2
    low, unit, smaller_unit, one = (
        pt.constant(np.ldexp(1.0, exponent), dtype=total.type.dtype)
        for exponent in (least, least // 2 - 16, (info.minexp - info.nmant) // 2 - 8, 0)
    )
    return pt.switch(pt.eq(total, 0), smaller_unit, pt.switch(total < low, unit, one))
