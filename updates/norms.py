"""Norms over whole tensors, and quotients of them.

- ``sum_of_squares``, ``joint_norm``: over all elements of some tensors
- ``scaled``: a tensor times a factor that comes of its norm
- ``ratio``: a quotient in which 0 / 0 is 0
"""

from collections.abc import Iterable

import numpy as np
import pytensor.tensor as pt
from pytensor.tensor.variable import TensorVariable

from updates import provenance


def sum_of_squares(tensors: Iterable[TensorVariable]) -> TensorVariable:
    """Sum the squares of all elements in float64, where those of float32 cannot overflow."""
    squares = [pt.sum(provenance.cast(tensor, "float64") ** 2) for tensor in tensors]
    total = pt.add(*squares) if len(squares) > 1 else squares[0]
    return provenance.mark(total, joint="sum of squares")


def joint_norm(tensors: Iterable[TensorVariable]) -> TensorVariable:
    """Return the float64 L2 norm of all tensors taken together."""
    return provenance.mark(pt.sqrt(sum_of_squares(tensors)), joint="norm")


def scaled(tensor: TensorVariable, factor: TensorVariable, norm: TensorVariable) -> TensorVariable:
    """Multiply by a factor, or where the norm is not finite show why: NaN there, 0 elsewhere.

    Zero times infinity would say the same, but PyTensor's rewrites do not keep it.
    """
    product = provenance.cast(tensor * factor, tensor.type.dtype)
    culprits = pt.switch(pt.isinf(tensor) | pt.isnan(tensor), pt.constant(np.nan), 0)
    guarded = pt.switch(norm < np.inf, product, pt.cast(culprits, tensor.type.dtype))
    return provenance.reads_as(guarded, 1)


def ratio(numerator: TensorVariable, denominator: TensorVariable) -> TensorVariable:
    """Divide, and give 0 where the denominator is 0."""
    is_zero = pt.eq(denominator, 0)
    divisor = provenance.reads_as(pt.switch(is_zero, 1, denominator), 2)
    return provenance.reads_as(pt.switch(is_zero, 0, numerator / divisor), 2)
