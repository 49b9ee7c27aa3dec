"""Terms that are added to gradients: penalties of the parameters, and noise.

- ``add_weight_decay``: the gradient of a squared L2 norm
- ``add_l1_penalty``: the gradient of an L1 norm
- ``add_gradient_noise``: normal noise that fades with time

None of them spreads an infinity or a NaN: it stays in the element where it is.
"""

import warnings
from collections.abc import Iterable
from typing import Any

import pytensor.tensor as pt
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.tensor.sharedvar import TensorSharedVariable

from updates import provenance
from updates.call import Tensor
from updates.choice import chosen
from updates.gradient_transform import (
    Gradients,
    gradient_and_parameter_transform,
    joint_gradient_transform,
)
from updates.kinds import Mask, Natural, NonNegative
from updates.state import generator, step_counter


@gradient_and_parameter_transform
def add_weight_decay(
    grads: Gradients,
    params: list[TensorSharedVariable],
    weight_decay: NonNegative,
    mask: Mask | None = None,
) -> list[Tensor]:
    """Add to each gradient a multiple of its parameter.

    ``g + weight_decay * p``, the gradient of ``loss + weight_decay / 2 * sum(p**2)``

    A rule that divides by the size of the gradient, such as `adam`, divides this term as well.

    weight_decay : factor of the parameters
    returns : an infinity or a NaN stays in its element

    `add_l1_penalty` : pulls parameters to exactly zero

    Krogh, Hertz (1991), "A Simple Weight Decay Can Improve Generalization", NIPS 4.

    >>> import numpy as np, pytensor, updates
    >>> from updates import add_weight_decay
    >>> w = pytensor.shared(np.array([[1.0, -2.0]]), name="w")
    >>> b = pytensor.shared(np.array([3.0]), name="b")
    >>> grads = updates.get_or_compute_grads(w.sum() + b.sum(), [w, b])
    >>> grads = add_weight_decay(grads, [w, b], 0.5, mask=lambda param: param.ndim > 1)
    >>> [grad.eval() for grad in grads]
    [array([[1.5, 0. ]]), array([1.])]
    """
    return [
        grad + grads.in_dtype_of(grad, weight_decay) * param if decays else grad
        for param, grad, decays in zip(params, grads, chosen("mask", mask, params), strict=True)
    ]


@gradient_and_parameter_transform
def add_l1_penalty(
    grads: Gradients,
    params: list[TensorSharedVariable],
    l1: NonNegative,
) -> list[Tensor]:
    """Add to each gradient the signs of its parameter.

    ``g + l1 * sign(p)``, a gradient of ``loss + l1 * sum(abs(p))``

    l1 : factor of the signs. The sign of 0 is 0
    returns : an infinity or a NaN stays in its element

    `add_weight_decay` : pulls large parameters more than small ones

    Tibshirani (1996), "Regression Shrinkage and Selection via the Lasso", Journal of the Royal
    Statistical Society B 58(1).

    >>> import numpy as np, pytensor, updates
    >>> from updates import add_l1_penalty
    >>> w = pytensor.shared(np.array([5.0, 0.0, -5.0]), name="w")
    >>> grads = updates.get_or_compute_grads(w.sum(), w)
    >>> add_l1_penalty(grads, w, 0.5)[0].eval()
    array([1.5, 1. , 0.5])
    """
    return [
        grad + grads.in_dtype_of(grad, l1) * pt.sign(param)
        for param, grad in zip(params, grads, strict=True)
    ]


@joint_gradient_transform
def add_gradient_noise(
    grads: Gradients,
    eta: NonNegative = 0.01,
    gamma: NonNegative = 0.55,
    seed: Natural = 0,
) -> list[Tensor]:
    """Add normal noise to gradients, the less the more calls there were.

    ``g + normal(mean=0, variance=eta / (1 + t)**gamma)``, with ``t = 0, 1, 2, ...`` calls before

    The generator and the counter of calls are shared variables with a default update: a function
    compiled by ``pytensor.function`` advances them whenever it uses these gradients, although no
    dictionary of updates names them. Each call of the transform makes its own; give two calls
    different seeds, or they draw the same noise. (JAX turns a seed into other numbers than NumPy.)

    eta : variance of the noise in the first call
    gamma : how fast the variance falls; with 0 it stays
    seed : seed of the generator
    returns : an infinity or a NaN stays in its element

    Neelakantan et al. (2015), "Adding Gradient Noise Improves Learning for Very Deep Networks",
    arXiv:1511.06807.

    >>> import numpy as np, pytensor
    >>> from updates import add_gradient_noise
    >>> w = pytensor.shared(np.zeros(10_000), name="w")
    >>> [noise] = add_gradient_noise(w, eta=4.0, gamma=2.0, seed=1)
    >>> call = pytensor.function([], noise)
    >>> [float(call().std().round(1)) for _ in range(4)]
    [2.0, 1.0, 0.7, 0.5]
    """
    step = step_counter("add_gradient_noise/step")
    deviation = pt.sqrt(eta / pt.cast(step + 1, grads.wide) ** gamma)
    noise = normal_noise("add_gradient_noise", seed, grads, grads.wide)
    _advance(step, step + 1)
    noisy = []
    for grad, z in zip(grads, noise, strict=True):
        provenance.mark(z, param=grad)
        noisy.append(grad + pt.cast(deviation * z, grad.type.dtype))
    return noisy


def normal_noise(owner: str, seed: int, tensors: Iterable[Tensor], dtype: str) -> list[Tensor]:
    """Draw standard normal noise of the shape of each tensor, anew in every call.

    Their generator is one shared variable with a default update.
    """
    source = generator(f"{owner}/generator", seed)
    drawn: Any = source
    noise = []
    for tensor in tensors:
        drawn, one = pt.random.normal(
            size=tensor.shape, rng=drawn, dtype=dtype, return_next_rng=True
        )
        noise.append(provenance.mark(one, symbol="normal()"))
    _advance(source, drawn)
    return noise


def _advance(variable: SharedVariable, next_value: Any) -> None:
    """Let every function that uses a variable update it."""
    with warnings.catch_warnings():
        # PyTensor 3 calls setting it deprecated, and names nothing to take its place.
        warnings.simplefilter("ignore", DeprecationWarning)
        variable.default_update = next_value
