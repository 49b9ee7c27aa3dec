"""Gradients: from a loss to gradients, and from gradients to gradients.

- ``get_or_compute_grads``: the gradients of a loss, or the given ones, checked
- ``norm_constraint``: bound the norm of each unit's weights
- ``total_norm_constraint``: bound the norm of several tensors taken together
- ``centralize_gradients``: subtract the mean over each unit
- ``scale_gradients``: multiply by a number, or each by its own
- ``zero_nonfinite``: put zero where an infinity or a NaN is
- ``unit_axes``: the axes that a norm of each unit sums over

Clipping is in ``clipping``, penalties and noise are in ``terms``.
"""

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
import pytensor.tensor as pt

from updates import provenance
from updates.arguments import LossOrGrads, Params, checked_grads, checked_params
from updates.call import Tensor
from updates.choice import factors_of
from updates.declaration import declared
from updates.given_numbers import as_input
from updates.gradient_transform import (
    Gradients,
    gradient_transform,
    joint_gradient_transform,
    tensor_transform,
    tensors_transform,
)
from updates.interval import FINITE
from updates.kinds import Epsilon, FactorOfEach, Flag, NonNegative, Scalar
from updates.named_dimensions import axis_number
from updates.norms import joint_norm, mean_over, norm_over, scaled


@declared
def get_or_compute_grads(loss_or_grads: LossOrGrads, params: Params) -> list[Tensor]:
    """Return one gradient for each parameter: those of a loss, or those that were given.

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
        depend on a parameter; if the gradients do not match the parameters in number or shape.
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
    return checked_grads(loss_or_grads, params)[1]


@tensor_transform
def norm_constraint(
    tensor_var: Tensor,
    max_norm: NonNegative,
    norm_axes: Sequence[int | str] | None = None,
    epsilon: Epsilon = 1e-7,
) -> Tensor:
    """Scale down those slices of a tensor whose L2 norm is above a bound.

    ``norms = sqrt(sum(x**2, norm_axes)); x * min(norms, max_norm) / (epsilon + norms)``

    Give it a gradient, or the next value of a weight (as an alternative to weight decay).

    max_norm : the bound
    norm_axes (sequence of int or str, optional) : the axes that the norm sums over; named
        dimensions may be given by name. By default every axis but the one of the units: axis 0
        of a matrix (inputs x units), all axes but the first of a tensor of 3 to 5 dimensions
        (the filters of a convolution)
    returns : in a slice that holds an infinity or a NaN, those elements become NaN and the
        others zero

    `total_norm_constraint` : one norm over several tensors

    Srivastava et al. (2014), "Dropout: A Simple Way to Prevent Neural Networks from
    Overfitting", JMLR 15; this form is Lasagne's.

    >>> import numpy as np, pytensor, updates
    >>> w = pytensor.shared(np.array([[3.0, 0.3], [4.0, 0.4]]), name="w")
    >>> updates.norm_constraint(w, max_norm=1.0).eval().round(3)
    array([[0.6, 0.3],
           [0.8, 0.4]])
    """
    norms = norm_over(tensor_var, unit_axes(tensor_var, norm_axes))
    return scaled(tensor_var, pt.minimum(norms, max_norm) / (epsilon + norms), norms)


@tensors_transform
def total_norm_constraint(
    tensor_vars: Gradients,
    max_norm: NonNegative,
    epsilon: Epsilon = 1e-7,
    return_norm: Flag = False,
) -> Any:
    """Scale several tensors by one factor, so that their joint L2 norm keeps a bound.

    ``norm = sqrt(sum(x**2 over all tensors)); x * min(norm, max_norm) / (epsilon + norm)``

    max_norm : the bound
    return_norm : whether to return the norm before scaling as well
    returns : with `return_norm` a pair of them and of the norm, in the widest of their dtypes.
        An infinity or a NaN makes the norm infinite or NaN: then those elements become NaN,
        and all others zero, so that their parameters rest

    `norm_constraint` : a norm for each unit
    `clip_by_global_norm` : leaves tensors under the bound exactly as they are

    Pascanu, Mikolov, Bengio (2013), "On the difficulty of training recurrent neural networks",
    arXiv:1211.5063; this form is Lasagne's.

    >>> import numpy as np, pytensor, updates
    >>> w = pytensor.shared(np.array([3.0, 4.0]), name="w")
    >>> grads = updates.get_or_compute_grads((w**2).sum(), [w])
    >>> [grad], norm = updates.total_norm_constraint(grads, max_norm=1.0, return_norm=True)
    >>> grad.eval().round(3), float(norm.eval())
    (array([0.6, 0.8]), 10.0)
    """
    norm = joint_norm(tensor_vars)
    factor = pt.minimum(norm, max_norm) / (epsilon + norm)
    constrained = [scaled(tensor, factor, norm) for tensor in tensor_vars]
    widest = np.result_type(*(tensor.type.dtype for tensor in tensor_vars)).name
    return (constrained, provenance.cast(norm, widest)) if return_norm else constrained


@gradient_transform
def centralize_gradients(
    grad: Tensor,
) -> Tensor:
    """Subtract from the gradient of each unit's weights its mean.

    ``g - mean(g, axes)``, where ``axes`` are all axes but the one of the units: axis 0 of a matrix
    (inputs x units), all axes but the first of a tensor of more dimensions (the filters of a
    convolution). Vectors and scalars stay as they are.

    returns : a unit that holds an infinity or a NaN is left as it is

    Yong, Huang, Hua, Zhang (2020), "Gradient Centralization: A New Optimization Technique for Deep
    Neural Networks", arXiv:2004.01461.

    >>> import numpy as np, pytensor, updates
    >>> from updates import centralize_gradients
    >>> w = pytensor.shared(np.array([[1.0, 10.0], [2.0, 30.0]]), name="w")
    >>> grads = updates.get_or_compute_grads((w**2).sum() / 2, w)
    >>> centralize_gradients(grads)[0].eval()
    array([[ -0.5, -10. ],
           [  0.5,  10. ]])
    """
    if grad.type.ndim < 2:
        return grad
    return grad - _finite_or_zero(mean_over(grad, _all_but_the_units(grad.type.ndim)))


@joint_gradient_transform
def scale_gradients(
    grads: Gradients,
    factor: FactorOfEach,
    params: Params | None = None,
) -> list[Tensor]:
    """Multiply gradients by a number, or each by its own.

    ``factor * g``

    factor : one for all gradients, one for each in a list, or by the name of the parameter, by
        the parameter itself or by a function of it; those that a dictionary does not have keep
        their gradient. A negative one turns descent into ascent: -1 maximises the loss
    params (shared variable, or list of shared variables) : the parameter of each
        gradient, for factors by parameter. Of gradients that the library computed it knows them
    returns : an infinity or a NaN stays in its element (0 times an infinity is NaN)

    >>> import pytensor, updates
    >>> from updates import scale_gradients
    >>> w = pytensor.shared(3.0, name="w")
    >>> [grad] = scale_gradients(updates.get_or_compute_grads(w**2, w), -1)
    >>> float(grad.eval())
    -6.0

    Twice the learning rate for a bias, as Caffe had it:

    >>> b = pytensor.shared(1.0, name="b")
    >>> grads = updates.get_or_compute_grads((w + b) ** 2, [w, b])
    >>> [float(grad.eval()) for grad in scale_gradients(grads, {"b": 2})]
    [8.0, 16.0]
    """
    owners = checked_params(params) if params is not None else _owners(grads)
    if owners is not None and len(owners) != len(grads):
        raise ValueError(f"got {len(grads)} gradients for {len(owners)} parameters")
    scalar, results, inputs = Scalar(FINITE), [], {}
    factors = factors_of("factor", factor, owners, len(grads))
    for index, (grad, own) in enumerate(zip(grads, factors, strict=True)):
        if own is not None:
            scalar.check("factor", own, schedules=False)
            name = "factor" if own is factor else f"factor/{_name_of(owners, index)}"
            if name not in inputs or own is not factor:
                inputs[name] = as_input(grads.place, name, own, scalar, grads.wide)
            grad = grad * scalar.symbol(name, inputs[name], grad.type.dtype)
        results.append(grad)
    return results


@gradient_transform
def zero_nonfinite(
    grad: Tensor,
) -> Tensor:
    """Put zero in the place of every infinite or NaN element of gradients.

    ``g if isfinite(g) else 0``

    It hides what went wrong: `apply_if_finite`, which skips the whole step instead, is the safer
    choice where a bad element makes its neighbours doubtful as well.

    returns : all are finite

    >>> import numpy as np, pytensor, updates
    >>> from updates import zero_nonfinite
    >>> w = pytensor.shared(np.array([0.0, 4.0]), name="w")
    >>> grads = updates.get_or_compute_grads(pytensor.tensor.sqrt(w).sum(), w)
    >>> zero_nonfinite(grads)[0].eval()
    array([0.  , 0.25])
    """
    return _finite_or_zero(grad)


def unit_axes(tensor: Any, axes: Any, name: str = "norm_axes") -> tuple[int, ...]:
    """Return the axes that a norm of each unit sums over: the given ones, or the default."""
    ndim = tensor.type.ndim
    if axes is None:
        if not 2 <= ndim <= 5:
            raise ValueError(
                f"{name} has no default for a tensor of ndim {ndim}, give the axes to sum over"
            )
        return _all_but_the_units(ndim)
    listed: Any = [axes] if isinstance(axes, str) else axes
    if isinstance(listed, Sequence):
        listed = [axis_number(tensor, axis, name) for axis in listed]
    if not isinstance(listed, Sequence) or not all(isinstance(axis, Integral) for axis in listed):
        raise TypeError(f"{name} must be a sequence of integers such as (0,), got {axes!r}")
    positive = tuple(axis + ndim if axis < 0 else axis for axis in listed)
    if (
        not positive
        or len(set(positive)) < len(positive)
        or any(not 0 <= axis < ndim for axis in positive)
    ):
        raise ValueError(f"{name} must name axes of a tensor of ndim {ndim}, each once, got {axes}")
    return positive


def _all_but_the_units(ndim: int) -> tuple[int, ...]:
    return (0,) if ndim == 2 else tuple(range(1, ndim))


def _finite_or_zero(tensor: Tensor) -> Tensor:
    return pt.switch(pt.isnan(tensor) | pt.isinf(tensor), 0, tensor)


def _name_of(owners: list[Any] | None, index: int) -> str:
    """Name a gradient by its parameter, if that is known and has a name, or by its place."""
    return str(index) if owners is None else owners[index].name or str(index)


def _owners(grads: Gradients) -> list[Any] | None:
    """Return the parameters of gradients that the library computed, or None for others."""
    found = [provenance.source_of(grad) for grad in grads]
    owners = {gradient: iter(provenance.of(gradient).gradient_of) for gradient in found}
    own = [next(owners[gradient], None) for gradient in found]
    return None if any(owner is None for owner in own) else own
