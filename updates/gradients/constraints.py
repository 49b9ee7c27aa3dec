"""Gradients: from a loss to gradients, and from gradients to gradients.

- ``get_or_compute_grads``: the gradients of a loss, or the given ones, checked
- ``norm_constraint``: bound the norm of each unit's weights
- ``total_norm_constraint``: bound the norm of several tensors taken together
- ``centralize_gradients``: subtract the mean over each unit
- ``scale_gradients``: multiply by a number
- ``zero_nonfinite``: put zero where an infinity or a NaN is

Clipping is in ``clipping``, penalties and noise are in ``terms``; what they share with the above:

- ``checked_tensors``, ``checked_scalar``: the checks of a list of tensors and of a number
- ``unit_axes``: the axes that a norm of each unit sums over
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from numbers import Integral
from typing import Any

import pytensor.tensor as pt
from pytensor.graph.basic import Variable
from pytensor.tensor.variable import TensorVariable

from updates import provenance
from updates.arguments import LossOrGrads, Params, checked_grads, is_float_tensor, kind_of
from updates.hyperparameters import Hyperparameter, as_scalar, check
from updates.norms import scaled


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
        The bound, finite and >= 0.
    norm_axes : sequence of int, optional
        The axes that the norm sums over. By default every axis but the one of the units: axis
        0 of a matrix (inputs x units), all axes but the first of a tensor of 3 to 5 dimensions
        (the filters of a convolution).
    epsilon : float or symbolic scalar, optional
        Keeps the division away from zero, finite and >= 0.

    Returns
    -------
    symbolic tensor
        Of the dtype and shape of `tensor_var`. In a slice that holds an infinity or a NaN, those
        elements become NaN and the others zero.

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
    axes = unit_axes(owner, tensor, norm_axes)
    max_norm = checked_scalar(owner, "max_norm", max_norm, tensor.type.dtype)
    epsilon = checked_scalar(owner, "epsilon", epsilon, tensor.type.dtype)
    norms = pt.sqrt(pt.sum(tensor**2, axis=axes, keepdims=True))
    return scaled(tensor, pt.minimum(norms, max_norm) / (epsilon + norms), norms)


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
        The bound, finite and >= 0.
    epsilon : float or symbolic scalar, optional
        Keeps the division away from zero, finite and >= 0.
    return_norm : bool, optional
        Whether to return the norm before scaling as well.

    Returns
    -------
    list of symbolic tensors, or (list of symbolic tensors, symbolic scalar)
        The tensors with dtypes kept. An infinity or a NaN makes the norm infinite or NaN: then
        those elements become NaN, and all others zero, so that their parameters rest.

    Raises
    ------
    TypeError
        If a tensor is not a floating-point tensor, or an argument is of the wrong type.
    ValueError
        If there are no tensors, or an argument is out of range.

    See Also
    --------
    norm_constraint : a norm for each unit.
    clip_by_global_norm : leaves tensors under the bound exactly as they are.

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
    tensors = checked_tensors(owner, "tensor_vars", tensor_vars)
    check(owner, "return_norm", return_norm)
    norm = pt.sqrt(sum(pt.sum(tensor**2) for tensor in tensors))
    max_norm = checked_scalar(owner, "max_norm", max_norm, norm.type.dtype)
    epsilon = checked_scalar(owner, "epsilon", epsilon, norm.type.dtype)
    factor = pt.minimum(norm, max_norm) / (epsilon + norm)
    constrained = [scaled(tensor, pt.cast(factor, tensor.type.dtype), norm) for tensor in tensors]
    provenance.transformed(owner, tensors, constrained)
    return (constrained, norm) if return_norm else constrained


def centralize_gradients(grads: Variable | Iterable[Variable]) -> list[TensorVariable]:
    """Subtract from the gradient of each unit's weights its mean.

    ``g - mean(g, axes)``, where ``axes`` are all axes but the one of the units: axis 0 of a matrix
    (inputs x units), all axes but the first of a tensor of more dimensions (the filters of a
    convolution). Vectors and scalars stay as they are.

    Parameters
    ----------
    grads : symbolic tensor, or iterable of symbolic tensors
        Floating-point gradients of any shapes and dtypes.

    Returns
    -------
    list of symbolic tensors
        The gradients with dtypes kept. A unit that holds an infinity or a NaN is left as it is.

    Raises
    ------
    TypeError
        If a gradient is not a floating-point tensor.
    ValueError
        If there are no gradients.

    References
    ----------
    Yong, Huang, Hua, Zhang (2020), "Gradient Centralization: A New Optimization Technique for Deep
    Neural Networks", arXiv:2004.01461.

    Examples
    --------
    >>> import numpy as np, pytensor, updates
    >>> from updates import centralize_gradients
    >>> w = pytensor.shared(np.array([[1.0, 10.0], [2.0, 30.0]]), name="w")
    >>> grads = updates.get_or_compute_grads((w**2).sum() / 2, w)
    >>> centralize_gradients(grads)[0].eval()
    array([[ -0.5, -10. ],
           [  0.5,  10. ]])
    """
    tensors = checked_tensors("centralize_gradients", "grads", grads)
    centered = [_centralized(tensor) if tensor.type.ndim > 1 else tensor for tensor in tensors]
    return provenance.transformed("centralize_gradients", tensors, centered)


def scale_gradients(
    grads: Variable | Iterable[Variable], factor: Hyperparameter
) -> list[TensorVariable]:
    """Multiply gradients by a number.

    ``factor * g``

    Parameters
    ----------
    grads : symbolic tensor, or iterable of symbolic tensors
        Floating-point gradients of any shapes and dtypes.
    factor : float or symbolic scalar
        Any finite number. A negative one turns descent into ascent: -1 maximises the loss.

    Returns
    -------
    list of symbolic tensors
        The gradients with dtypes kept. An infinity or a NaN stays in its element (0 times an
        infinity is NaN).

    Raises
    ------
    TypeError
        If a gradient is not a floating-point tensor, or `factor` is of the wrong type.
    ValueError
        If there are no gradients, or `factor` is not finite.

    Examples
    --------
    >>> import pytensor, updates
    >>> from updates import scale_gradients
    >>> w = pytensor.shared(3.0, name="w")
    >>> [grad] = scale_gradients(updates.get_or_compute_grads(w**2, w), -1)
    >>> float(grad.eval())
    -6.0
    """
    owner = "scale_gradients"
    tensors = checked_tensors(owner, "grads", grads)
    scaled_tensors = [
        tensor * checked_scalar(owner, "factor", factor, tensor.type.dtype) for tensor in tensors
    ]
    return provenance.transformed(owner, tensors, scaled_tensors)


def zero_nonfinite(grads: Variable | Iterable[Variable]) -> list[TensorVariable]:
    """Put zero in the place of every infinite or NaN element of gradients.

    ``g if isfinite(g) else 0``

    It hides what went wrong: `apply_if_finite`, which skips the whole step instead, is the safer
    choice where a bad element makes its neighbours doubtful as well.

    Parameters
    ----------
    grads : symbolic tensor, or iterable of symbolic tensors
        Floating-point gradients of any shapes and dtypes.

    Returns
    -------
    list of symbolic tensors
        The gradients with dtypes kept, all finite.

    Raises
    ------
    TypeError
        If a gradient is not a floating-point tensor.
    ValueError
        If there are no gradients.

    Examples
    --------
    >>> import numpy as np, pytensor, updates
    >>> from updates import zero_nonfinite
    >>> w = pytensor.shared(np.array([0.0, 4.0]), name="w")
    >>> grads = updates.get_or_compute_grads(pytensor.tensor.sqrt(w).sum(), w)
    >>> zero_nonfinite(grads)[0].eval()
    array([0.  , 0.25])
    """
    tensors = checked_tensors("zero_nonfinite", "grads", grads)
    finite = [pt.switch(pt.isnan(tensor) | pt.isinf(tensor), 0, tensor) for tensor in tensors]
    return provenance.transformed("zero_nonfinite", tensors, finite)


def checked_tensors(owner: str, name: str, tensors: Any) -> list[TensorVariable]:
    """Return symbolic tensors, of which one may come without a list, as a list."""
    if isinstance(tensors, Variable):
        tensors = [tensors]
    if not isinstance(tensors, Iterable) or isinstance(tensors, str | Set | Mapping):
        raise TypeError(
            f"{owner}: {name} must be a symbolic tensor or a list of them, got {tensors!r} of "
            f"type {type(tensors).__name__}"
        )
    checked = [
        _check_float(owner, f"{name}[{index}]", tensor) for index, tensor in enumerate(tensors)
    ]
    if not checked:
        raise ValueError(f"{owner}: {name} is empty, give at least one tensor")
    return checked


def checked_scalar(owner: str, name: str, value: Hyperparameter, dtype: str) -> TensorVariable:
    """Check a hyperparameter of a gradient transform, which has no step for a schedule."""
    check(owner, name, value, schedules=False)
    return as_scalar(owner, name, value, dtype)


def unit_axes(
    owner: str, tensor: TensorVariable, axes: Any, name: str = "norm_axes"
) -> tuple[int, ...]:
    """Return the axes that a norm of each unit sums over: the given ones, or the default."""
    ndim = tensor.type.ndim
    if axes is None:
        if not 2 <= ndim <= 5:
            raise ValueError(
                f"{owner}: {name} has no default for a tensor of ndim {ndim}, give the axes to sum "
                "over"
            )
        return _all_but_the_units(ndim)
    if not isinstance(axes, Sequence) or not all(isinstance(axis, Integral) for axis in axes):
        raise TypeError(
            f"{owner}: {name} must be a sequence of integers such as (0,), got {axes!r}"
        )
    positive = tuple(axis + ndim if axis < 0 else axis for axis in axes)
    if (
        not positive
        or len(set(positive)) < len(positive)
        or any(not 0 <= axis < ndim for axis in positive)
    ):
        raise ValueError(
            f"{owner}: {name} must name axes of a tensor of ndim {ndim}, each once, got {axes}"
        )
    return positive


def _all_but_the_units(ndim: int) -> tuple[int, ...]:
    return (0,) if ndim == 2 else tuple(range(1, ndim))


def _centralized(tensor: TensorVariable) -> TensorVariable:
    mean = pt.mean(tensor, axis=_all_but_the_units(tensor.type.ndim), keepdims=True)
    return tensor - zero_nonfinite(mean)[0]


def _check_float(owner: str, name: str, tensor: Any) -> TensorVariable:
    if not is_float_tensor(tensor):
        raise TypeError(
            f"{owner}: {name} must be a symbolic floating-point tensor, got {tensor!r} of type "
            f"{kind_of(tensor)}"
        )
    return tensor
