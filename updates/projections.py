"""Projections: the nearest point of a set, for `apply_projection` or for any tensor.

- ``box``, ``non_negative``, ``halfspace``: sets with flat sides
- ``simplex``: non-negative with a given sum
- ``l1_ball``, ``l2_ball``, ``unit_sphere``: bounded or fixed norms

Of several axes, or of all of them, a tensor's elements are one point; with `axis` each slice along
that axis is a point of its own.
"""

from numbers import Integral
from typing import Any

import numpy as np
import pytensor.tensor as pt
from pytensor.graph.basic import Variable

from updates import provenance
from updates.call import Tensor
from updates.given_numbers import given_as
from updates.gradient_transform import tensor_transform
from updates.kinds import Finite, Positive
from updates.named_dimensions import axis_number
from updates.norms import norm_over, scaled
from updates.precision import wide


@tensor_transform
def box(
    tensor_var: Tensor,
    low: Finite | None = None,
    high: Finite | None = None,
) -> Tensor:
    """Keep every element between two values.

    ``min(max(x, low), high)``

    low, high : the bounds; at least one of them, and ``low <= high``
    returns : a NaN stays NaN

    `apply_bounds` : the same, as a transform of updates

    ``optax.projections.projection_box``.

    >>> import numpy as np, pytensor, updates
    >>> w = pytensor.shared(np.array([-2.0, 0.5, 3.0]), name="w")
    >>> updates.box(w, low=-1, high=1).eval()
    array([-1. ,  0.5,  1. ])
    """
    check_bounds(low, high)
    bounded = tensor_var if low is None else pt.maximum(tensor_var, _like(tensor_var, low))
    return bounded if high is None else pt.minimum(bounded, _like(tensor_var, high))


@tensor_transform
def non_negative(
    tensor_var: Tensor,
) -> Tensor:
    """Put 0 in the place of every negative element.

    ``max(x, 0)``

    returns : a NaN stays NaN

    ``optax.projections.projection_non_negative``.

    >>> import numpy as np, pytensor, updates
    >>> w = pytensor.shared(np.array([-2.0, 0.5]), name="w")
    >>> updates.non_negative(w).eval()
    array([0. , 0.5])
    """
    return pt.maximum(tensor_var, 0)


@tensor_transform
def halfspace(
    tensor_var: Tensor,
    normal: Any,
    offset: Finite = 0.0,
) -> Tensor:
    """Move to the nearest point on one side of a plane.

    ``x + min((offset - <n, x>) / <n, n>, 0) * n``

    What is on that side already, ``<n, x> <= offset``, stays.

    normal (array or symbolic tensor) : perpendicular to the plane, of the tensor's shape
    offset : where the plane is
    returns : an infinity or a NaN makes all elements NaN

    ``optax.projections.projection_halfspace``.

    >>> import numpy as np, pytensor, updates
    >>> w = pytensor.shared(np.array([3.0, 1.0]), name="w")
    >>> updates.halfspace(w, normal=np.array([1.0, 1.0]), offset=2.0).eval()
    array([2., 0.])
    """
    n = _normal(tensor_var, normal)
    x = provenance.cast(tensor_var, n.type.dtype)
    excess = (offset - (n * x).sum()) / (n**2).sum()
    return _like(tensor_var, x + pt.minimum(excess, 0) * n)


@tensor_transform
def simplex(
    tensor_var: Tensor,
    scale: Positive = 1.0,
    axis: int | str | None = None,
) -> Tensor:
    """Move to the nearest point with non-negative elements of a given sum.

    ``max(x - tau, 0)``, with ``tau = max over k of (sum of the k greatest x - scale) / k``

    scale : the sum
    axis (int or str, optional) : along which axis each slice has this sum; a named dimension may
        be given by name. By default all elements together have
    returns : an infinity or a NaN makes all elements of its slice NaN

    `l1_ball` : at most this sum of absolute values

    Held, Wolfe, Crowder (1974), "Validation of subgradient optimization", Mathematical
    Programming 6; ``optax.projections.projection_simplex``.

    >>> import numpy as np, pytensor, updates
    >>> w = pytensor.shared(np.array([[0.5, 1.0], [2.0, 0.0]]), name="w")
    >>> updates.simplex(w, axis=1).eval()
    array([[0.25, 0.75],
           [1.  , 0.  ]])
    """
    x = provenance.cast(tensor_var, wide(tensor_var.type.dtype))
    return _like(tensor_var, pt.maximum(x - _excess(x, scale, _axis(tensor_var, axis)), 0))


@tensor_transform
def l1_ball(
    tensor_var: Tensor,
    radius: Positive = 1.0,
    axis: int | str | None = None,
) -> Tensor:
    """Move to the nearest point whose absolute values sum to at most a bound.

    ``sign(x) * max(abs(x) - max(tau, 0), 0)``, with `simplex`'s tau of ``abs(x)``

    Some elements become exactly 0. What keeps the bound stays exactly as it is.

    radius : the bound
    axis (int or str, optional) : along which axis each slice keeps it; a named dimension may be
        given by name. By default all elements together do
    returns : an infinity or a NaN makes all elements of its slice NaN

    `l2_ball` : the bound on the root of the sum of squares

    Duchi, Shalev-Shwartz, Singer, Chandra (2008), "Efficient Projections onto the l1-Ball for
    Learning in High Dimensions", ICML; ``optax.projections.projection_l1_ball``.

    >>> import numpy as np, pytensor, updates
    >>> w = pytensor.shared(np.array([3.0, -1.5, 0.5]), name="w")
    >>> updates.l1_ball(w, radius=2.0).eval()
    array([ 1.75, -0.25,  0.  ])
    """
    x = provenance.cast(tensor_var, wide(tensor_var.type.dtype))
    excess = pt.maximum(_excess(abs(x), radius, _axis(tensor_var, axis)), 0)
    return _like(tensor_var, pt.sign(x) * pt.maximum(abs(x) - excess, 0))


@tensor_transform
def l2_ball(
    tensor_var: Tensor,
    radius: Positive = 1.0,
    axis: int | str | None = None,
) -> Tensor:
    """Scale down to a bound on the L2 norm.

    ``x * radius / max(norm(x), radius)``

    What keeps the bound stays exactly as it is.

    radius : the bound
    axis (int or str, optional) : along which axis each slice keeps it; a named dimension may be
        given by name. By default all elements together do
    returns : in a slice that holds an infinity or a NaN, those elements become NaN and the
        others zero

    `norm_constraint` : Lasagne's, whose epsilon scales everything down a little

    ``optax.projections.projection_l2_ball``.

    >>> import numpy as np, pytensor, updates
    >>> w = pytensor.shared(np.array([3.0, 4.0]), name="w")
    >>> updates.l2_ball(w).eval()
    array([0.6, 0.8])
    """
    norm = norm_over(tensor_var, _axes(tensor_var, axis))
    return scaled(tensor_var, radius / pt.maximum(norm, radius), norm)


@tensor_transform
def unit_sphere(
    tensor_var: Tensor,
    axis: int | str | None = None,
) -> Tensor:
    """Scale to the L2 norm 1.

    ``x / norm(x)``, and where that is 0, ``x``

    axis (int or str, optional) : along which axis each slice has the norm 1; a named dimension
        may be given by name. By default all elements together have
    returns : zeros, from which no point of the sphere is nearest, stay zeros. In a slice that
        holds an infinity or a NaN, those elements become NaN and the others zero

    `l2_ball` : at most that norm

    ``optax.projections.projection_l2_sphere``.

    >>> import numpy as np, pytensor, updates
    >>> w = pytensor.shared(np.array([3.0, 4.0]), name="w")
    >>> updates.unit_sphere(w).eval()
    array([0.6, 0.8])
    """
    norm = norm_over(tensor_var, _axes(tensor_var, axis))
    return scaled(tensor_var, 1 / pt.switch(pt.eq(norm, 0), 1, norm), norm)


def check_bounds(low: Any, high: Any) -> None:
    """Refuse bounds of which there is none, or which leave nothing between them."""
    if low is None and high is None:
        raise ValueError("low and high are both missing, give at least one of them")
    if low is not None and high is not None:
        lowest, highest = given_as(low), given_as(high)
        if lowest is not None and highest is not None and lowest > highest:
            raise ValueError(f"low must be <= high, got low={lowest} and high={highest}")


def _excess(x: Tensor, scale: Any, axis: int | None) -> Tensor:
    """Return what to subtract from all elements so that the positive rest sums to the scale."""
    flat = x.flatten() if axis is None else pt.moveaxis(x, axis, -1)
    greatest = -pt.sort(-flat, axis=-1)
    counts = pt.cumsum(pt.ones_like(flat), axis=-1)  # JAX cannot count to a length it does not know
    excess = ((pt.cumsum(greatest, axis=-1) - scale) / counts).max(axis=-1)
    return excess if axis is None else pt.expand_dims(excess, axis)


def _axis(tensor: Tensor, axis: Any) -> int | None:
    """Return the number of an axis that is given by number or by name, None for all axes."""
    ndim = tensor.type.ndim
    axis = axis_number(tensor, axis, "axis")
    if axis is None:
        return None
    if not isinstance(axis, Integral) or isinstance(axis, bool):
        raise TypeError(
            f"axis must be an integer, the name of a dimension or None, got {axis!r} of type "
            f"{type(axis).__name__}"
        )
    if not -ndim <= axis < ndim:
        raise ValueError(f"axis must be one of a tensor of ndim {ndim}, got {axis}")
    return int(axis) % ndim


def _axes(tensor: Tensor, axis: Any) -> tuple[int, ...]:
    own = _axis(tensor, axis)
    return tuple(range(tensor.type.ndim)) if own is None else (own,)


def _normal(tensor: Tensor, normal: Any) -> Any:
    """Return the normal of a plane, or say why it is none."""
    if not isinstance(normal, Variable):
        given, normal = normal, np.asarray(normal)
        if normal.dtype.kind not in "fiu" or not np.isfinite(normal).all() or not normal.any():
            raise ValueError(
                f"normal must be an array of finite numbers that are not all 0, got {given!r}"
            )
    n: Any = pt.cast(pt.as_tensor_variable(normal), wide(tensor.type.dtype))
    if n.type.ndim != tensor.type.ndim:
        raise ValueError(f"normal has ndim {n.type.ndim}, the tensor has ndim {tensor.type.ndim}")
    lengths = zip(n.type.shape, tensor.type.shape, strict=True)
    if any(None not in pair and pair[0] != pair[1] for pair in lengths):
        raise ValueError(f"normal has shape {n.type.shape}, the tensor has {tensor.type.shape}")
    return n


def _like(tensor: Tensor, result: Any) -> Tensor:
    """Return a result, or a bound, in the dtype of the tensor that was given."""
    return provenance.cast(result, tensor.type.dtype)
