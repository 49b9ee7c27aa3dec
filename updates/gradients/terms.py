"""Terms that are added to gradients: penalties of the parameters, and noise.

- ``add_weight_decay``: the gradient of a squared L2 norm
- ``add_l1_penalty``: the gradient of an L1 norm
- ``add_gradient_noise``: normal noise that fades with time

None of them spreads an infinity or a NaN: it stays in the element where it is.
"""

import warnings
from collections.abc import Callable, Iterable, Mapping, Set
from typing import Any

import numpy as np
import pytensor.tensor as pt
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Variable
from pytensor.tensor.variable import TensorVariable

from updates import provenance
from updates.arguments import Params, checked_grads, label
from updates.gradients.constraints import checked_scalar, checked_tensors
from updates.hyperparameters import Hyperparameter, check
from updates.state import generator, step_counter

Mask = Iterable[bool] | Callable[[Any], bool]


def add_weight_decay(
    grads: Variable | Iterable[Variable],
    params: Params,
    weight_decay: Hyperparameter,
    mask: Mask | None = None,
) -> list[TensorVariable]:
    """Add to each gradient a multiple of its parameter.

    ``g + weight_decay * p``, the gradient of ``loss + weight_decay / 2 * sum(p**2)``

    A rule that divides by the size of the gradient, such as `adam`, divides this term as well.

    Parameters
    ----------
    grads : symbolic tensor, or iterable of symbolic tensors
        One gradient a parameter, in the order of `params`.
    params : shared variable, or iterable of shared variables
        Floating-point parameters of any shapes and dtypes.
    weight_decay : float or symbolic scalar
        Factor of the parameters, finite and >= 0.
    mask : list of bool, or callable, optional
        Which parameters decay: one bool a parameter, or a function from parameter to bool. By
        default all do.

    Returns
    -------
    list of symbolic tensors
        The gradients in the dtypes of their parameters. An infinity or a NaN stays in its element.

    Raises
    ------
    TypeError
        If a parameter is not a floating-point shared variable, a gradient is not a floating-point
        tensor, or an argument is of the wrong type.
    ValueError
        If gradients, parameters and mask do not fit in number or shape, or `weight_decay` is out
        of range.

    See Also
    --------
    add_l1_penalty : pulls parameters to exactly zero.

    References
    ----------
    Krogh, Hertz (1991), "A Simple Weight Decay Can Improve Generalization", NIPS 4.

    Examples
    --------
    >>> import numpy as np, pytensor, updates
    >>> from updates import add_weight_decay
    >>> w = pytensor.shared(np.array([[1.0, -2.0]]), name="w")
    >>> b = pytensor.shared(np.array([3.0]), name="b")
    >>> grads = updates.get_or_compute_grads(w.sum() + b.sum(), [w, b])
    >>> grads = add_weight_decay(grads, [w, b], 0.5, mask=lambda param: param.ndim > 1)
    >>> [grad.eval() for grad in grads]
    [array([[1.5, 0. ]]), array([1.])]
    """
    owner = "add_weight_decay"
    tensors = checked_tensors(owner, "grads", grads)
    params, tensors = checked_grads(owner, tensors, params, rows=False)
    chosen = _chosen(owner, params, mask)
    decays = [checked_scalar(owner, "weight_decay", weight_decay, p.type.dtype) for p in params]
    decayed_grads = [
        grad + decay * param if decayed else grad
        for param, grad, decay, decayed in zip(params, tensors, decays, chosen, strict=True)
    ]
    return provenance.transformed(owner, tensors, decayed_grads)


def add_l1_penalty(
    grads: Variable | Iterable[Variable], params: Params, l1: Hyperparameter
) -> list[TensorVariable]:
    """Add to each gradient the signs of its parameter.

    ``g + l1 * sign(p)``, a gradient of ``loss + l1 * sum(abs(p))``

    Parameters
    ----------
    grads : symbolic tensor, or iterable of symbolic tensors
        One gradient a parameter, in the order of `params`.
    params : shared variable, or iterable of shared variables
        Floating-point parameters of any shapes and dtypes.
    l1 : float or symbolic scalar
        Factor of the signs, finite and >= 0. The sign of 0 is 0.

    Returns
    -------
    list of symbolic tensors
        The gradients in the dtypes of their parameters. An infinity or a NaN stays in its element.

    Raises
    ------
    TypeError
        If a parameter is not a floating-point shared variable, a gradient is not a floating-point
        tensor, or `l1` is of the wrong type.
    ValueError
        If gradients and parameters do not fit in number or shape, or `l1` is out of range.

    See Also
    --------
    add_weight_decay : pulls large parameters more than small ones.

    References
    ----------
    Tibshirani (1996), "Regression Shrinkage and Selection via the Lasso", Journal of the Royal
    Statistical Society B 58(1).

    Examples
    --------
    >>> import numpy as np, pytensor, updates
    >>> from updates import add_l1_penalty
    >>> w = pytensor.shared(np.array([5.0, 0.0, -5.0]), name="w")
    >>> grads = updates.get_or_compute_grads(w.sum(), w)
    >>> add_l1_penalty(grads, w, 0.5)[0].eval()
    array([1.5, 1. , 0.5])
    """
    owner = "add_l1_penalty"
    tensors = checked_tensors(owner, "grads", grads)
    params, tensors = checked_grads(owner, tensors, params, rows=False)
    penalized = [
        grad + checked_scalar(owner, "l1", l1, param.type.dtype) * pt.sign(param)
        for param, grad in zip(params, tensors, strict=True)
    ]
    return provenance.transformed(owner, tensors, penalized)


def add_gradient_noise(
    grads: Variable | Iterable[Variable],
    eta: Hyperparameter = 0.01,
    gamma: Hyperparameter = 0.55,
    seed: int = 0,
) -> list[TensorVariable]:
    """Add normal noise to gradients, the less the more calls there were.

    ``g + normal(mean=0, variance=eta / (1 + t)**gamma)``, with ``t = 0, 1, 2, ...`` calls before

    The generator and the counter of calls are shared variables with a default update: a function
    compiled by ``pytensor.function`` advances them whenever it uses these gradients, although no
    dictionary of updates names them. Each call of the transform makes its own; give two calls
    different seeds, or they draw the same noise. (JAX turns a seed into other numbers than NumPy.)

    Parameters
    ----------
    grads : symbolic tensor, or iterable of symbolic tensors
        Floating-point gradients of any shapes and dtypes.
    eta : float or symbolic scalar, optional
        Variance of the noise in the first call, finite and >= 0.
    gamma : float or symbolic scalar, optional
        How fast the variance falls, finite and >= 0; with 0 it stays.
    seed : int, optional
        Seed of the generator, >= 0.

    Returns
    -------
    list of symbolic tensors
        The gradients with dtypes kept. An infinity or a NaN stays in its element.

    Raises
    ------
    TypeError
        If a gradient is not a floating-point tensor, or an argument is of the wrong type.
    ValueError
        If there are no gradients, or an argument is out of range.

    References
    ----------
    Neelakantan et al. (2015), "Adding Gradient Noise Improves Learning for Very Deep Networks",
    arXiv:1511.06807.

    Examples
    --------
    >>> import numpy as np, pytensor
    >>> from updates import add_gradient_noise
    >>> w = pytensor.shared(np.zeros(10_000), name="w")
    >>> [noise] = add_gradient_noise(w, eta=4.0, gamma=2.0, seed=1)
    >>> call = pytensor.function([], noise)
    >>> [float(call().std().round(1)) for _ in range(4)]
    [2.0, 1.0, 0.7, 0.5]
    """
    owner = "add_gradient_noise"
    tensors = checked_tensors(owner, "grads", grads)
    check(owner, "seed", seed)
    eta = checked_scalar(owner, "eta", eta, "float64")
    gamma = checked_scalar(owner, "gamma", gamma, "float64")
    step = step_counter(f"{owner}/step")
    deviation = pt.sqrt(eta / pt.cast(step + 1, "float64") ** gamma)
    source = generator(f"{owner}/generator", seed)
    drawn: Any = source
    noisy = []
    for tensor in tensors:
        drawn, noise = pt.random.normal(
            size=tensor.shape, rng=drawn, dtype="float64", return_next_rng=True
        )
        provenance.mark(noise, symbol="normal()", param=tensor)
        noisy.append(tensor + pt.cast(deviation * noise, tensor.type.dtype))
    _advance(step, step + 1)
    _advance(source, drawn)
    return provenance.transformed(owner, tensors, noisy)


def _chosen(owner: str, params: list[Any], mask: Any) -> list[bool]:
    if mask is None:
        return [True] * len(params)
    if callable(mask) and not isinstance(mask, Variable):
        mask = [mask(param) for param in params]
    elif not isinstance(mask, Iterable) or isinstance(mask, Variable | str | Set | Mapping):
        raise TypeError(
            f"{owner}: mask must be a list of bools or a function from parameter to bool, got "
            f"{mask!r} of type {type(mask).__name__}"
        )
    chosen = list(mask)
    if len(chosen) != len(params):
        raise ValueError(
            f"{owner}: mask has {len(chosen)} entries for {len(params)} parameters; give one for "
            "each, or a function from parameter to bool"
        )
    for index, (param, choice) in enumerate(zip(params, chosen, strict=True)):
        if not isinstance(choice, bool | np.bool_):
            raise TypeError(
                f"{owner}: mask must say True or False for {label(param, index)}, got {choice!r} "
                f"of type {type(choice).__name__}"
            )
    return chosen


def _advance(variable: SharedVariable, next_value: Any) -> None:
    """Let every function that uses a variable update it."""
    with warnings.catch_warnings():
        # PyTensor 3 calls setting it deprecated, and names nothing to take its place.
        warnings.simplefilter("ignore", DeprecationWarning)
        variable.default_update = next_value
