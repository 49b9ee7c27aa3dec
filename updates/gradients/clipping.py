"""Gradient transforms that bound gradients.

- ``clip_by_value``: every element
- ``clip_by_norm``: each gradient by its own norm
- ``clip_by_global_norm``: all gradients by their joint norm
- ``adaptive_clip``: the gradient of each unit by the norm of its weights
- ``normalize_gradients``: all gradients to a joint norm of 1

Norms are computed in float64.
"""

from collections.abc import Sequence
from typing import Any

import pytensor.tensor as pt
from pytensor.tensor.sharedvar import TensorSharedVariable

from updates import provenance
from updates.call import Tensor
from updates.given_numbers import given_as
from updates.gradient_transform import (
    Gradients,
    gradient_and_parameter_transform,
    gradient_transform,
    joint_gradient_transform,
)
from updates.gradients.constraints import unit_axes
from updates.kinds import Epsilon, Finite, Flag, NonNegative, PositiveEpsilon
from updates.norms import joint_norm, norm_over, scaled


@gradient_transform
def clip_by_value(
    grad: Tensor,
    max_value: Finite,
    min_value: Finite | None = None,
) -> Tensor:
    """Clip every element of gradients to an interval.

    ``min(max(g, min_value), max_value)``

    max_value : the upper bound
    min_value : the lower bound, finite and at most `max_value`. By default ``-max_value``
    returns : an infinity becomes a bound, a NaN stays in its element

    `clip_by_norm` : keeps the direction

    Mikolov (2012), "Statistical Language Models Based on Neural Networks", PhD thesis, Brno.

    >>> import numpy as np, pytensor, updates
    >>> from updates import clip_by_value
    >>> w = pytensor.shared(np.array([-3.0, 0.25, 4.0]), name="w")
    >>> grads = updates.get_or_compute_grads((w**2).sum(), w)
    >>> clip_by_value(grads, 1.0)[0].eval()
    array([-1. ,  0.5,  1. ])
    """
    _check_order(min_value, max_value)
    return pt.clip(grad, -max_value if min_value is None else min_value, max_value)


@joint_gradient_transform
def clip_by_norm(
    grads: Gradients,
    max_norm: NonNegative,
) -> list[Tensor]:
    """Scale down each gradient whose own L2 norm is above a bound.

    ``g if norm <= max_norm else g * (max_norm / norm)``, where ``norm = sqrt(sum(g**2))``

    max_norm : the bound
    returns : in a gradient with an infinite or NaN norm the finite elements become zero and
        the others NaN; the other gradients are not affected

    `clip_by_global_norm` : one norm over all gradients, which keeps their joint direction

    Pascanu, Mikolov, Bengio (2013), "On the difficulty of training recurrent neural networks",
    arXiv:1211.5063, tensor by tensor.

    >>> import numpy as np, pytensor, updates
    >>> from updates import clip_by_norm
    >>> w = pytensor.shared(np.array([3.0, -4.0]), name="w")
    >>> b = pytensor.shared(np.array([0.25]), name="b")
    >>> grads = updates.get_or_compute_grads((w**2).sum() + (b**2).sum(), [w, b])
    >>> [grad.eval().round(3) for grad in clip_by_norm(grads, 1.0)]
    [array([ 0.6, -0.8]), array([0.5])]
    """
    return [_clipped(grad, joint_norm([grad]), max_norm) for grad in grads]


@joint_gradient_transform
def clip_by_global_norm(
    grads: Gradients,
    max_norm: NonNegative,
    return_norm: Flag = False,
) -> Any:
    """Scale down all gradients by one factor when their joint L2 norm is above a bound.

    ``g if norm <= max_norm else g * (max_norm / norm)``, where
    ``norm = sqrt(sum(g**2 over all gradients))``

    max_norm : the bound
    return_norm : whether to return the norm before clipping as well
    returns : with `return_norm` a pair of them and of the norm in float64. When the norm is
        infinite or NaN a finite element becomes zero and an infinite or NaN one becomes
        NaN, so that the other parameters rest and the culprit stays visible

    `total_norm_constraint` : Lasagne's form, which divides by the norm plus an epsilon
    `clip_by_norm` : a norm for each gradient
    `zero_nonfinite` : what to call first, so that a bad element does not stop the others

    Pascanu, Mikolov, Bengio (2013), "On the difficulty of training recurrent neural networks",
    arXiv:1211.5063.

    >>> import numpy as np, pytensor, updates
    >>> from updates import clip_by_global_norm
    >>> w = pytensor.shared(np.array([3.0, -4.0]), name="w")
    >>> grads = updates.get_or_compute_grads((w**2).sum(), w)
    >>> [grad], norm = clip_by_global_norm(grads, 5.0, return_norm=True)
    >>> grad.eval(), float(norm.eval())
    (array([ 3., -4.]), 10.0)
    """
    norm = joint_norm(grads)
    clipped = [_clipped(grad, norm, max_norm) for grad in grads]
    return (clipped, norm) if return_norm else clipped


@gradient_and_parameter_transform
def adaptive_clip(
    grads: Gradients,
    params: list[TensorSharedVariable],
    clipping: NonNegative = 0.01,
    epsilon: Epsilon = 1e-3,
    norm_axes: Sequence[Sequence[int] | None] | None = None,
) -> list[Tensor]:
    """Scale down the gradient of each unit that is large beside the unit's weights.

    - ``bound = clipping * max(norm(p), eps)``
    - ``g if norm(g) <= bound else g * (bound / norm(g))``

    where ``norm(x) = sqrt(sum(x**2, axes))`` is taken unit by unit.

    clipping : the largest ratio of the norms of gradient and parameter
    epsilon : the smallest norm of a parameter that counts, so that parameters that start at
        zero can move
    norm_axes (list, optional) : for each parameter the axes that its norms sum over, as
        `norm_constraint` takes them, or None for the default: all axes of a scalar or a vector,
        axis 0 of a matrix (inputs x units), all axes but the first of a tensor of 3 to 5
        dimensions (the filters of a convolution in Theano's layout; give ``(0, 1, 2)`` for
        filters along the last axis)
    returns : in a unit whose gradient holds an infinity or a NaN the finite elements become
        zero and the others NaN; other units are not affected. A unit whose parameters hold
        a NaN gets NaN

    `norm_constraint` : a fixed bound for each unit

    Brock, De, Smith, Simonyan (2021), "High-Performance Large-Scale Image Recognition Without
    Normalization", arXiv:2102.06171.

    >>> import numpy as np, pytensor, updates
    >>> from updates import adaptive_clip
    >>> w = pytensor.shared(np.array([[3.0, 0.0], [4.0, 0.0]]), name="w")
    >>> grads = updates.get_or_compute_grads(w.sum(), w)
    >>> adaptive_clip(grads, w, clipping=0.1)[0].eval().round(5)
    array([[3.5355e-01, 7.0000e-05],
           [3.5355e-01, 7.0000e-05]])
    """
    clipped = []
    for param, grad, axes in zip(params, grads, _axes_of_each(params, norm_axes), strict=True):
        bound = clipping * pt.maximum(norm_over(param, axes), epsilon)
        clipped.append(_clipped(grad, norm_over(grad, axes), bound))
    return clipped


@joint_gradient_transform
def normalize_gradients(
    grads: Gradients,
    epsilon: PositiveEpsilon = 1e-12,
) -> list[Tensor]:
    """Divide gradients by their joint L2 norm, which leaves their direction only.

    ``g / max(norm, eps)``, where ``norm = sqrt(sum(g**2 over all gradients))``

    epsilon : the smallest norm that is divided by: zero gradients stay zero
    returns : when the norm is infinite or NaN the factor is 0: a finite element becomes
        zero, an infinite or NaN element becomes NaN, so that the other parameters rest and
        the culprit stays visible

    `clip_by_global_norm` : divides only above a bound

    Hazan, Levy, Shalev-Shwartz (2015), "Beyond Convexity: Stochastic Quasi-Convex Optimization",
    arXiv:1507.02030.

    >>> import numpy as np, pytensor, updates
    >>> from updates import normalize_gradients
    >>> w = pytensor.shared(np.array([3.0, -4.0]), name="w")
    >>> grads = updates.get_or_compute_grads((w**2).sum(), w)
    >>> normalize_gradients(grads)[0].eval()
    array([ 0.6, -0.8])
    """
    norm = joint_norm(grads)
    return [scaled(grad, 1 / pt.maximum(norm, epsilon), norm) for grad in grads]


def _check_order(low: Any, high: Any) -> None:
    highest, lowest = given_as(high), None if low is None else given_as(low)
    if highest is None or (low is not None and lowest is None):
        return
    if highest < (-highest if low is None else lowest):
        raise ValueError(
            f"min_value must be <= max_value, got min_value={lowest} and max_value={highest}"
            + ("; without min_value, max_value must be >= 0" if low is None else "")
        )


def _axes_of_each(params: list[Any], norm_axes: Any) -> list[tuple[int, ...]]:
    if norm_axes is None:
        norm_axes = [None] * len(params)
    if not isinstance(norm_axes, Sequence) or isinstance(norm_axes, str):
        raise TypeError(
            "norm_axes must be a list with the axes of each parameter, such as "
            f"[(0, 1, 2), None], got {norm_axes!r}"
        )
    if len(norm_axes) != len(params):
        raise ValueError(
            f"got {len(norm_axes)} norm_axes for {len(params)} parameters; give one entry for "
            "each, None for the default"
        )
    return [
        tuple(range(param.type.ndim))
        if axes is None and param.type.ndim < 2
        else unit_axes(param, axes, f"norm_axes[{index}]")
        for index, (param, axes) in enumerate(zip(params, norm_axes, strict=True))
    ]


def _clipped(tensor: Tensor, norm: Tensor, bound: Tensor) -> Tensor:
    """Scale down to the bound, by a factor that is exactly 1 at or under it."""
    fits = norm <= bound
    divisor = provenance.reads_as(pt.switch(fits, 1, norm), 2)
    return scaled(tensor, pt.switch(fits, 1, bound / divisor), norm)
