"""Gradients: from a loss to gradients, and from gradients to gradients.

- ``get_or_compute_grads``: the gradients of a loss, or the given ones, checked
- ``norm_constraint``: bound the norm of each unit's weights
- ``total_norm_constraint``: bound the norm of several tensors taken together
"""

from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any

import pytensor.tensor as pt
from pytensor.graph.basic import Variable
from pytensor.tensor.variable import TensorVariable

from updates.arguments import LossOrGrads, Params, checked_grads, is_float_tensor, kind_of
from updates.hyperparameters import Hyperparameter, as_scalar, check


def get_or_compute_grads(loss_or_grads: LossOrGrads, params: Params) -> list[TensorVariable]:
    """Return one gradient a parameter: those of a loss, or those that were given.

    ``grads[i] = d loss / d params[i]``

    Parameters
    ----------
    loss_or_grads : symbolic scalar, or iterable of symbolic tensors
        A loss to differentiate, or gradients in the order of `params`.
    params : shared variable, or iterable of shared variables
        Floating-point parameters of any shape.

    Returns
    -------
    list of symbolic tensors
        Each has the dtype and at least the static shape of its parameter.

    Raises
    ------
    ValueError
        If `params` is empty or names a variable twice; if the loss is not a scalar or does not
        depend on a parameter; if the gradients do not fit the parameters in number or shape.
    TypeError
        If a parameter is not a floating-point shared variable, or a gradient or the loss is
        not a floating-point expression.

    References
    ----------
    The function of the same name in Lasagne (2014), which returns given gradients unchecked.

    Examples
    --------
    >>> import pytensor, updates
    >>> w = pytensor.shared(3.0, name="w")
    >>> [gradient] = updates.get_or_compute_grads(w**2, w)
    >>> float(gradient.eval())
    6.0
    """
    return checked_grads("get_or_compute_grads", loss_or_grads, params)[1]


def norm_constraint(
    tensor_var: Variable,
    max_norm: Hyperparameter,
    norm_axes: Sequence[int] | None = None,
    epsilon: Hyperparameter = 1e-7,
) -> TensorVariable:
    """Scale down those slices of a tensor whose L2 norm is above a bound.

    ``norms = sqrt(sum(x**2, norm_axes)); x * min(norms, max_norm) / (epsilon + norms)``

    Give it a gradient, or the next value of a weight (as an alternative to weight decay).

    Parameters
    ----------
    tensor_var : symbolic tensor or shared variable
        Floating-point tensor to constrain.
    max_norm : float or symbolic scalar
        The bound, >= 0.
    norm_axes : sequence of int, optional
        The axes that the norm sums over. By default every axis but the one of the units: axis
        0 of a matrix (inputs x units), all axes but the first of a tensor of 3 to 5 dimensions
        (the filters of a convolution).
    epsilon : float or symbolic scalar, optional
        Keeps the division away from zero, >= 0. With 0, a slice of zeros becomes NaN.

    Returns
    -------
    symbolic tensor
        Of the dtype and shape of `tensor_var`. A slice that holds an infinity or a NaN comes
        back with NaN in it.

    Raises
    ------
    TypeError
        If `tensor_var` is not a floating-point tensor, or an argument is of the wrong type.
    ValueError
        If an argument is out of range, an axis does not exist or is given twice, or
        `norm_axes` is needed and missing.

    See Also
    --------
    total_norm_constraint : one norm over several tensors.

    References
    ----------
    Srivastava et al. (2014), "Dropout: A Simple Way to Prevent Neural Networks from
    Overfitting", JMLR 15; this form is Lasagne's.

    Examples
    --------
    >>> import numpy as np, pytensor, updates
    >>> w = pytensor.shared(np.array([[3.0, 0.3], [4.0, 0.4]]), name="w")
    >>> updates.norm_constraint(w, max_norm=1.0).eval().round(3)
    array([[0.6, 0.3],
           [0.8, 0.4]])
    """
    owner = "norm_constraint"
    tensor = _check_float(owner, "tensor_var", tensor_var)
    axes = _norm_axes(owner, tensor, norm_axes)
    max_norm = _scalar(owner, "max_norm", max_norm, tensor)
    epsilon = _scalar(owner, "epsilon", epsilon, tensor)
    norms = pt.sqrt(pt.sum(tensor**2, axis=axes, keepdims=True))
    return tensor * (pt.minimum(norms, max_norm) / (epsilon + norms))


def total_norm_constraint(
    tensor_vars: Iterable[Variable],
    max_norm: Hyperparameter,
    epsilon: Hyperparameter = 1e-7,
    return_norm: bool = False,
) -> Any:
    """Scale several tensors by one factor, so that their joint L2 norm keeps a bound.

    ``norm = sqrt(sum(x**2 over all tensors)); x * min(norm, max_norm) / (epsilon + norm)``

    Parameters
    ----------
    tensor_vars : symbolic tensor, or iterable of symbolic tensors
        Floating-point tensors, gradients for instance, of any shapes and dtypes.
    max_norm : float or symbolic scalar
        The bound, >= 0.
    epsilon : float or symbolic scalar, optional
        Keeps the division away from zero, >= 0.
    return_norm : bool, optional
        Whether to return the norm before scaling as well.

    Returns
    -------
    list of symbolic tensors, or (list of symbolic tensors, symbolic scalar)
        The tensors with dtypes kept. An infinity or a NaN in one tensor makes the norm
        infinite or NaN, which shows in every tensor: look at the norm to find out.

    Raises
    ------
    TypeError
        If a tensor is not a floating-point tensor, or an argument is of the wrong type.
    ValueError
        If there are no tensors, or an argument is out of range.

    See Also
    --------
    norm_constraint : a norm for each unit.

    References
    ----------
    Pascanu, Mikolov, Bengio (2013), "On the difficulty of training recurrent neural networks",
    arXiv:1211.5063; this form is Lasagne's.

    Examples
    --------
    >>> import numpy as np, pytensor, updates
    >>> w = pytensor.shared(np.array([3.0, 4.0]), name="w")
    >>> grads = updates.get_or_compute_grads((w**2).sum(), [w])
    >>> [grad], norm = updates.total_norm_constraint(grads, max_norm=1.0, return_norm=True)
    >>> grad.eval().round(3), float(norm.eval())
    (array([0.6, 0.8]), 10.0)
    """
    owner = "total_norm_constraint"
    if isinstance(tensor_vars, Variable):
        tensor_vars = [tensor_vars]
    if not isinstance(tensor_vars, Iterable):
        raise TypeError(
            f"{owner}: tensor_vars must be a symbolic tensor or a list of them, got {tensor_vars!r}"
        )
    tensors = [
        _check_float(owner, f"tensor_vars[{index}]", tensor)
        for index, tensor in enumerate(tensor_vars)
    ]
    if not tensors:
        raise ValueError(f"{owner}: tensor_vars is empty, give at least one tensor")
    norm = pt.sqrt(sum(pt.sum(tensor**2) for tensor in tensors))
    max_norm = _scalar(owner, "max_norm", max_norm, norm)
    epsilon = _scalar(owner, "epsilon", epsilon, norm)
    factor = pt.minimum(norm, max_norm) / (epsilon + norm)
    scaled = [tensor * pt.cast(factor, tensor.type.dtype) for tensor in tensors]
    return (scaled, norm) if return_norm else scaled


def _check_float(owner: str, name: str, tensor: Any) -> TensorVariable:
    if not is_float_tensor(tensor):
        raise TypeError(
            f"{owner}: {name} must be a symbolic floating-point tensor, got {tensor!r} of type "
            f"{kind_of(tensor)}"
        )
    return tensor


def _scalar(owner: str, name: str, value: Hyperparameter, like: TensorVariable) -> TensorVariable:
    """Check a hyperparameter of a gradient transform, which has no step for a schedule."""
    check(owner, name, value, schedules=False)
    return as_scalar(owner, name, value, like.type.dtype)


def _norm_axes(
    owner: str, tensor: TensorVariable, norm_axes: Sequence[int] | None
) -> tuple[int, ...]:
    ndim = tensor.type.ndim
    if norm_axes is None:
        if ndim == 2:
            return (0,)
        if ndim in (3, 4, 5):
            return tuple(range(1, ndim))
        raise ValueError(
            f"{owner}: norm_axes has no default for a tensor of ndim {ndim}, give the axes to sum "
            "over"
        )
    if not isinstance(norm_axes, Sequence) or not all(isinstance(a, Integral) for a in norm_axes):
        raise TypeError(
            f"{owner}: norm_axes must be a sequence of integers such as (0,), got {norm_axes!r}"
        )
    axes = tuple(axis + ndim if axis < 0 else axis for axis in norm_axes)
    if not axes or len(set(axes)) < len(axes) or any(not 0 <= axis < ndim for axis in axes):
        raise ValueError(
            f"{owner}: norm_axes must name axes of a tensor of ndim {ndim}, each once, got "
            f"{norm_axes}"
        )
    return axes
