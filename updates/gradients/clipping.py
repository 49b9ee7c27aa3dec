"""Clipping: from gradients of any size to gradients of a bounded one.

- ``clip_by_value``: bound every element
- ``clip_by_norm``: bound the norm of each tensor
- ``clip_by_global_norm``: bound the norm of all tensors taken together
- ``adaptive_clip``: bound the norm of each unit relative to that of its weights
- ``normalize_gradients``: give all tensors taken together the norm 1

Norms are summed in float64. What is under its bound comes back unchanged to the last bit. What has
an infinite or NaN norm is multiplied by 0: finite elements become zero, so that their parameters
rest, while infinite and NaN elements become NaN and stay visible where they arose. To put
zero there as well, call `zero_nonfinite` first; to skip a whole step, use `apply_if_finite`.
"""

from collections.abc import Iterable, Sequence
from numbers import Real
from typing import Any

import pytensor.tensor as pt
from pytensor.graph.basic import Variable
from pytensor.tensor.variable import TensorVariable

from updates import provenance
from updates.arguments import Params, checked_grads
from updates.gradients.constraints import checked_scalar, checked_tensors, unit_axes
from updates.hyperparameters import Hyperparameter, check
from updates.norms import joint_norm, scaled


def clip_by_value(
    grads: Variable | Iterable[Variable],
    max_value: Hyperparameter,
    min_value: Hyperparameter | None = None,
) -> list[TensorVariable]:
    """Clip every element of gradients to an interval.

    ``min(max(g, min_value), max_value)``

    Parameters
    ----------
    grads : symbolic tensor, or iterable of symbolic tensors
        Floating-point gradients of any shapes and dtypes.
    max_value : float or symbolic scalar
        The upper bound, finite.
    min_value : float or symbolic scalar, optional
        The lower bound, finite and at most `max_value`. By default ``-max_value``.

    Returns
    -------
    list of symbolic tensors
        The gradients with dtypes kept. An infinity becomes a bound, a NaN stays in its element.

    Raises
    ------
    TypeError
        If a gradient is not a floating-point tensor, or a bound is of the wrong type.
    ValueError
        If there are no gradients, a bound is not finite, or the bounds are numbers and the lower
        one is above the upper one.

    See Also
    --------
    clip_by_norm : keeps the direction.

    References
    ----------
    Mikolov (2012), "Statistical Language Models Based on Neural Networks", PhD thesis, Brno.

    Examples
    --------
    >>> import numpy as np, pytensor, updates
    >>> from updates import clip_by_value
    >>> w = pytensor.shared(np.array([-3.0, 0.25, 4.0]), name="w")
    >>> grads = updates.get_or_compute_grads((w**2).sum(), w)
    >>> clip_by_value(grads, 1.0)[0].eval()
    array([-1. ,  0.5,  1. ])
    """
    owner = "clip_by_value"
    tensors = checked_tensors(owner, "grads", grads)
    check(owner, "max_value", max_value, schedules=False)
    check(owner, "min_value", min_value, schedules=False)
    _check_order(owner, min_value, max_value)
    clipped = []
    for tensor in tensors:
        high = checked_scalar(owner, "max_value", max_value, tensor.type.dtype)
        low = (
            -high
            if min_value is None
            else checked_scalar(owner, "min_value", min_value, tensor.type.dtype)
        )
        clipped.append(pt.clip(tensor, low, high))
    return provenance.transformed(owner, tensors, clipped)


def clip_by_norm(
    grads: Variable | Iterable[Variable], max_norm: Hyperparameter
) -> list[TensorVariable]:
    """Scale down each gradient whose own L2 norm is above a bound.

    ``g if norm <= max_norm else g * (max_norm / norm)``, where ``norm = sqrt(sum(g**2))``

    Parameters
    ----------
    grads : symbolic tensor, or iterable of symbolic tensors
        Floating-point gradients of any shapes and dtypes.
    max_norm : float or symbolic scalar
        The bound, finite and >= 0.

    Returns
    -------
    list of symbolic tensors
        The gradients with dtypes kept. In a gradient with an infinite or NaN norm the finite
        elements become zero and the others NaN; the other gradients are not affected.

    Raises
    ------
    TypeError
        If a gradient is not a floating-point tensor, or `max_norm` is of the wrong type.
    ValueError
        If there are no gradients, or `max_norm` is out of range.

    See Also
    --------
    clip_by_global_norm : one norm over all gradients, which keeps their joint direction.

    References
    ----------
    Pascanu, Mikolov, Bengio (2013), "On the difficulty of training recurrent neural networks",
    arXiv:1211.5063, tensor by tensor.

    Examples
    --------
    >>> import numpy as np, pytensor, updates
    >>> from updates import clip_by_norm
    >>> w = pytensor.shared(np.array([3.0, -4.0]), name="w")
    >>> b = pytensor.shared(np.array([0.25]), name="b")
    >>> grads = updates.get_or_compute_grads((w**2).sum() + (b**2).sum(), [w, b])
    >>> [grad.eval().round(3) for grad in clip_by_norm(grads, 1.0)]
    [array([ 0.6, -0.8]), array([0.5])]
    """
    owner = "clip_by_norm"
    tensors = checked_tensors(owner, "grads", grads)
    max_norm = checked_scalar(owner, "max_norm", max_norm, "float64")
    clipped = [_clipped(tensor, joint_norm([tensor]), max_norm) for tensor in tensors]
    return provenance.transformed(owner, tensors, clipped)


def clip_by_global_norm(
    grads: Variable | Iterable[Variable], max_norm: Hyperparameter, return_norm: bool = False
) -> Any:
    """Scale down all gradients by one factor when their joint L2 norm is above a bound.

    ``g if norm <= max_norm else g * (max_norm / norm)``, where
    ``norm = sqrt(sum(g**2 over all gradients))``

    Parameters
    ----------
    grads : symbolic tensor, or iterable of symbolic tensors
        Floating-point gradients of any shapes and dtypes.
    max_norm : float or symbolic scalar
        The bound, finite and >= 0.
    return_norm : bool, optional
        Whether to return the norm before clipping as well.

    Returns
    -------
    list of symbolic tensors, or (list of symbolic tensors, symbolic scalar)
        The gradients with dtypes kept, and the norm in float64. When the norm is infinite or NaN
        a finite element becomes zero and an infinite or NaN one becomes NaN, so that the other
        parameters rest and the culprit stays visible. (Float64 gradients above 1e154 have
        an infinite norm, too.)

    Raises
    ------
    TypeError
        If a gradient is not a floating-point tensor, or an argument is of the wrong type.
    ValueError
        If there are no gradients, or `max_norm` is out of range.

    See Also
    --------
    total_norm_constraint : Lasagne's form, which divides by the norm plus an epsilon.
    clip_by_norm : a norm for each gradient.
    zero_nonfinite : what to call first, so that a bad element does not stop the others.

    References
    ----------
    Pascanu, Mikolov, Bengio (2013), "On the difficulty of training recurrent neural networks",
    arXiv:1211.5063.

    Examples
    --------
    >>> import numpy as np, pytensor, updates
    >>> from updates import clip_by_global_norm
    >>> w = pytensor.shared(np.array([3.0, -4.0]), name="w")
    >>> grads = updates.get_or_compute_grads((w**2).sum(), w)
    >>> [grad], norm = clip_by_global_norm(grads, 5.0, return_norm=True)
    >>> grad.eval(), float(norm.eval())
    (array([ 3., -4.]), 10.0)
    """
    owner = "clip_by_global_norm"
    tensors = checked_tensors(owner, "grads", grads)
    check(owner, "return_norm", return_norm)
    max_norm = checked_scalar(owner, "max_norm", max_norm, "float64")
    norm = joint_norm(tensors)
    clipped = [_clipped(tensor, norm, max_norm) for tensor in tensors]
    provenance.transformed(owner, tensors, clipped)
    return (clipped, norm) if return_norm else clipped


def adaptive_clip(
    grads: Variable | Iterable[Variable],
    params: Params,
    clipping: Hyperparameter = 0.01,
    epsilon: Hyperparameter = 1e-3,
    norm_axes: Sequence[Sequence[int] | None] | None = None,
) -> list[TensorVariable]:
    """Scale down the gradient of each unit that is large beside the unit's weights.

    - ``bound = clipping * max(norm(p), eps)``
    - ``g if norm(g) <= bound else g * (bound / norm(g))``

    where ``norm(x) = sqrt(sum(x**2, axes))`` is taken unit by unit.

    Parameters
    ----------
    grads : symbolic tensor, or iterable of symbolic tensors
        One gradient a parameter, in the order of `params`.
    params : shared variable, or iterable of shared variables
        Floating-point parameters of any shapes and dtypes.
    clipping : float or symbolic scalar, optional
        The largest ratio of the norms of gradient and parameter, finite and >= 0.
    epsilon : float or symbolic scalar, optional
        The smallest norm of a parameter that counts, so that parameters that start at zero can
        move, finite and >= 0.
    norm_axes : list, optional
        For each parameter the axes that its norms sum over, as `norm_constraint` takes them, or
        None for the default: all axes of a scalar or a vector, axis 0 of a matrix (inputs x
        units), all axes but the first of a tensor of 3 to 5 dimensions (the filters of a
        convolution in Theano's layout; give ``(0, 1, 2)`` for filters along the last axis).

    Returns
    -------
    list of symbolic tensors
        The gradients in the dtypes of their parameters. In a unit whose gradient holds an infinity
        or a NaN the finite elements become zero and the others NaN; other units are not
        affected. A unit whose parameters hold a NaN gets NaN.

    Raises
    ------
    TypeError
        If a parameter is not a floating-point shared variable, a gradient is not a floating-point
        tensor, or an argument is of the wrong type.
    ValueError
        If gradients and parameters do not fit in number or shape, an argument is out of range, an
        axis does not exist or is given twice, or axes are needed and missing.

    See Also
    --------
    norm_constraint : a fixed bound for each unit.

    References
    ----------
    Brock, De, Smith, Simonyan (2021), "High-Performance Large-Scale Image Recognition Without
    Normalization", arXiv:2102.06171.

    Examples
    --------
    >>> import numpy as np, pytensor, updates
    >>> from updates import adaptive_clip
    >>> w = pytensor.shared(np.array([[3.0, 0.0], [4.0, 0.0]]), name="w")
    >>> grads = updates.get_or_compute_grads(w.sum(), w)
    >>> adaptive_clip(grads, w, clipping=0.1)[0].eval().round(5)
    array([[3.5355e-01, 7.0000e-05],
           [3.5355e-01, 7.0000e-05]])
    """
    owner = "adaptive_clip"
    tensors = checked_tensors(owner, "grads", grads)
    params, tensors = checked_grads(owner, tensors, params, rows=False)
    clipping = checked_scalar(owner, "clipping", clipping, "float64")
    epsilon = checked_scalar(owner, "epsilon", epsilon, "float64")
    clipped = []
    for param, grad, axes in zip(
        params, tensors, _axes_of_each(owner, params, norm_axes), strict=True
    ):
        bound = clipping * pt.maximum(_unit_norms(param, axes), epsilon)
        clipped.append(_clipped(grad, _unit_norms(grad, axes), bound))
    return provenance.transformed(owner, tensors, clipped)


def normalize_gradients(
    grads: Variable | Iterable[Variable], epsilon: Hyperparameter = 1e-12
) -> list[TensorVariable]:
    """Divide gradients by their joint L2 norm, which leaves their direction only.

    ``g / max(norm, eps)``, where ``norm = sqrt(sum(g**2 over all gradients))``

    Parameters
    ----------
    grads : symbolic tensor, or iterable of symbolic tensors
        Floating-point gradients of any shapes and dtypes.
    epsilon : float or symbolic scalar, optional
        The smallest norm that is divided by, finite and > 0: zero gradients stay zero.

    Returns
    -------
    list of symbolic tensors
        The gradients with dtypes kept. When the norm is infinite or NaN the factor is 0: a finite
        element becomes zero, an infinite or NaN element becomes NaN, so that the other
        parameters rest and the culprit stays visible.

    Raises
    ------
    TypeError
        If a gradient is not a floating-point tensor, or `epsilon` is of the wrong type.
    ValueError
        If there are no gradients, or `epsilon` is out of range.

    See Also
    --------
    clip_by_global_norm : divides only above a bound.

    References
    ----------
    Hazan, Levy, Shalev-Shwartz (2015), "Beyond Convexity: Stochastic Quasi-Convex Optimization",
    arXiv:1507.02030.

    Examples
    --------
    >>> import numpy as np, pytensor, updates
    >>> from updates import normalize_gradients
    >>> w = pytensor.shared(np.array([3.0, -4.0]), name="w")
    >>> grads = updates.get_or_compute_grads((w**2).sum(), w)
    >>> normalize_gradients(grads)[0].eval()
    array([ 0.6, -0.8])
    """
    owner = "normalize_gradients"
    tensors = checked_tensors(owner, "grads", grads)
    epsilon = checked_scalar(owner, "epsilon", epsilon, "float64")
    norm = joint_norm(tensors)
    normalized = [scaled(tensor, 1 / pt.maximum(norm, epsilon), norm) for tensor in tensors]
    return provenance.transformed(owner, tensors, normalized)


def _check_order(owner: str, min_value: Any, max_value: Any) -> None:
    if not isinstance(max_value, Real) or not isinstance(min_value, Real | None):
        return
    if float(max_value) < (-float(max_value) if min_value is None else float(min_value)):
        raise ValueError(
            f"{owner}: min_value must be <= max_value, got min_value={min_value} and "
            f"max_value={max_value}"
            + ("; without min_value, max_value must be >= 0" if min_value is None else "")
        )


def _axes_of_each(owner: str, params: list[Any], norm_axes: Any) -> list[tuple[int, ...]]:
    if norm_axes is None:
        norm_axes = [None] * len(params)
    if not isinstance(norm_axes, Sequence) or isinstance(norm_axes, str):
        raise TypeError(
            f"{owner}: norm_axes must be a list with the axes of each parameter, such as "
            f"[(0, 1, 2), None], got {norm_axes!r}"
        )
    if len(norm_axes) != len(params):
        raise ValueError(
            f"{owner}: got {len(norm_axes)} norm_axes for {len(params)} parameters; give one entry "
            "for each, None for the default"
        )
    return [
        tuple(range(param.type.ndim))
        if axes is None and param.type.ndim < 2
        else unit_axes(owner, param, axes, f"norm_axes[{index}]")
        for index, (param, axes) in enumerate(zip(params, norm_axes, strict=True))
    ]


def _unit_norms(tensor: TensorVariable, axes: tuple[int, ...]) -> TensorVariable:
    return pt.sqrt(pt.sum(pt.cast(tensor, "float64") ** 2, axis=axes, keepdims=True))


def _clipped(tensor: TensorVariable, norm: TensorVariable, bound: TensorVariable) -> TensorVariable:
    """Scale down to the bound, by a factor that is exactly 1 at or under it."""
    return scaled(tensor, pt.switch(norm <= bound, 1, bound / norm), norm)
