"""Gradients of single examples, and what differential privacy makes of them.

- ``per_example_gradients``: one gradient for each example of a mini-batch
- ``differentially_private_mean``: their mean, each clipped, with noise

How much privacy that gives, after how many steps, is for an accountant to say, which is not part
of this library: Google's ``dp-accounting`` or Opacus'.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import pytensor.tensor as pt
from pytensor.graph.basic import Variable
from pytensor.graph.replace import vectorize_graph
from pytensor.graph.traversal import ancestors
from pytensor.tensor.type import TensorType

from updates import provenance
from updates.arguments import Params, as_items, checked_training, in_types_of, kept, kind_of
from updates.call import Tensor
from updates.declaration import declared
from updates.differentiation import gradients
from updates.gradient_transform import Gradients, joint_gradient_transform
from updates.gradients.terms import normal_noise
from updates.kinds import Natural, NonNegative, Positive
from updates.loss_graph import draws, inputs_of
from updates.named_dimensions import has_names
from updates.norms import is_finite, joint_norm_of_rows
from updates.rows import whole


@declared
def per_example_gradients(
    loss: Variable, params: Params, batch: Variable | Iterable[Variable]
) -> list[Tensor]:
    """Return for each parameter the gradients of all examples of a mini-batch, one by one.

    ``grads[i][k] = d loss(batch with example k only) / d params[i]``

    They are computed together, as one graph with one axis more. A loss that is the mean of the
    losses of examples has the mean of these gradients as its gradient.

    Parameters
    ----------
    loss : symbolic scalar
        The loss of a mini-batch: the mean, or the sum, over its examples. It must be defined for a
        mini-batch of one example. What looks at several examples at once, such as batch
        normalization, sees one; and a penalty on the parameters counts in each example. For what
        PyTensor has no vectorized form of, it goes from example to example, of which there must be
        one at least.
    params : shared variable, or list of shared variables
        Floating-point parameters of any shape.
    batch : symbolic tensor, or list of symbolic tensors
        All that holds the examples of the loss, along axis 0: inputs and targets.

    Returns
    -------
    list of symbolic tensors
        Of the dtypes of the parameters, with an axis of examples before their axes.

    Raises
    ------
    ValueError
        If the loss does not depend on a tensor of `batch`, or depends on an input that may hold
        examples and is not in it; if it draws random numbers, which all examples would share; for
        what `get_or_compute_grads` refuses.
    TypeError
        If an argument is of the wrong kind; rows ``W[index]`` cannot be parameters here.

    See Also
    --------
    differentially_private_mean : clips each of them, and adds noise to their mean

    References
    ----------
    Goodfellow (2015), "Efficient Per-Example Gradient Computations", arXiv:1510.01799; here the
    graph of one example is vectorized.

    Examples
    --------
    >>> import numpy as np, pytensor, pytensor.tensor as pt, updates
    >>> x, y = pt.matrix("x"), pt.vector("y")
    >>> w = pytensor.shared(np.zeros(2), name="w")
    >>> loss = ((x @ w - y) ** 2).mean()
    >>> [grads] = updates.per_example_gradients(loss, w, [x, y])
    >>> grads.eval({x: [[1, 2], [1, 1]], y: [1, 2]}).tolist()
    [[-2.0, -4.0], [-4.0, -4.0]]
    """
    training = checked_training(
        loss, params, rows=False, needs_loss="each example has a gradient of its own"
    )
    examples = _checked_batch(training.loss, batch, training.params)
    ones = [example.type.clone(shape=(1, *example.type.shape[1:]))() for example in examples]
    # Unlike `clone_replace`, this works out all shapes anew.
    of_one: Any = vectorize_graph(training.loss, dict(zip(examples, ones, strict=True)))
    _check_is_of_one_example(of_one, ones)
    grads = in_types_of(training.params, "gradient", list(gradients(of_one, training.params)))
    axes = {one: pt.expand_dims(x, 1) for one, x in zip(ones, examples, strict=True)}
    owners = list(map(whole, training.params))
    return provenance.computed_gradients(vectorize_graph(grads, axes), owners, training.loss)


@joint_gradient_transform
def differentially_private_mean(
    grads: Gradients,
    max_norm: Positive,
    noise_multiplier: NonNegative,
    batch_size: Positive | None = None,
    seed: Natural = 0,
) -> list[Tensor]:
    """Clip the gradients of each example, add them up with noise, and divide by their number.

    - ``c_k = min(1, max_norm / norm_k)``, with
      ``norm_k = sqrt(sum(g_k**2 over all parameters))``
    - ``(sum(c_k*g_k over k) + max_norm * noise_multiplier * normal()) / batch_size``

    With any rule after it this is DP-SGD: no example moves the sum by more than `max_norm`, and the
    noise hides whether it was there. The privacy spent follows from `noise_multiplier`, the share
    of examples in a mini-batch and the number of steps; an accountant computes it, such as Google's
    ``dp-accounting`` or Opacus', which is not part of this library. Do not let the loss of these
    mini-batches out, nor what else was computed from the examples without noise.

    The generator is a shared variable with a default update: a function compiled by
    ``pytensor.function`` advances it whenever it uses these gradients, and `save` keeps it. Whoever
    knows the seed can take the noise off again: draw it, and keep it secret, where it matters.

    grads : gradients with an axis of examples first, as `per_example_gradients` returns them
    max_norm : the largest norm of an example's gradients, over all parameters
    noise_multiplier : the noise's standard deviation in units of `max_norm`
    batch_size : what the sum is divided by. None is the number of examples; where each is drawn by
        itself, as accountants assume (Poisson sampling), the expected number
    seed : seed of the generator
    returns : gradients without the axis of examples. An example whose norm is infinite or NaN
        makes NaN

    `per_example_gradients` : makes them
    `clip_by_global_norm` : clips the mean, which bounds no example
    `add_gradient_noise` : noise that fades, for training and not for privacy

    Abadi et al. (2016), "Deep Learning with Differential Privacy", arXiv:1607.00133; the same as
    optax's ``differentially_private_aggregate``, and as Opacus' ``DPOptimizer`` but for the 1e-6
    that it adds to norms.

    >>> import numpy as np, pytensor, pytensor.tensor as pt, updates
    >>> x, y = pt.matrix("x"), pt.vector("y")
    >>> w = pytensor.shared(np.zeros(2), name="w")
    >>> loss = ((x @ w - y) ** 2).mean()
    >>> grads = updates.per_example_gradients(loss, w, [x, y])
    >>> grads = updates.differentially_private_mean(grads, max_norm=2.0, noise_multiplier=0.0)
    >>> rule = updates.sgd(grads, w, learning_rate=0.5)
    >>> step = pytensor.function([x, y], updates=rule)
    >>> _ = step([[1, 0], [0, 3]], [1, 2])
    >>> w.get_value()
    array([0.5, 0.5])
    """
    for index, grad in enumerate(grads):
        if grad.type.ndim == 0:
            raise ValueError(f"grads[{index}] must have an axis of examples first, got a scalar")
    rows = [provenance.reads_as(pt.reshape(grad, (grad.shape[0], -1))) for grad in grads]
    norms = provenance.mark(joint_norm_of_rows(rows)[:, 0], symbol="norms")
    factors = max_norm / pt.maximum(norms, max_norm)
    # The sine of an infinity is NaN.
    factors = provenance.reads_as(pt.switch(is_finite(norms), factors, pt.sin(norms)), 1)
    sums = [
        provenance.reads_as(
            pt.reshape(pt.dot(provenance.cast(factors, row.type.dtype), row), grad.shape[1:])
        )
        for row, grad in zip(rows, grads, strict=True)
    ]
    noise = normal_noise("differentially_private_mean", seed, sums, grads.wide)
    deviation = max_norm * noise_multiplier
    count = pt.cast(norms.shape[0], grads.wide) if batch_size is None else batch_size
    means = []
    for grad, total, z in zip(grads, sums, noise, strict=True):
        provenance.mark(z, param=grad)
        means.append(provenance.cast((total + deviation * z) / count, total.type.dtype))
    return means


def _checked_batch(loss: Variable, batch: Any, params: Sequence[Any]) -> list[Any]:
    """Return the tensors of examples as a list, or say what they cannot be."""
    examples = as_items(kept(batch))
    if not examples:
        raise TypeError(
            "batch must be the symbolic tensors that hold the examples, such as [x, y], got "
            f"{batch!r} of type {kind_of(batch)}"
        )
    graph = set(ancestors([loss]))
    for index, example in enumerate(examples):
        name = f"batch[{index}]"
        if not isinstance(example, Variable) or not isinstance(example.type, TensorType):
            advice = "; give the loss of tensors without names" * has_names(example)
            raise TypeError(
                f"{name} must be a symbolic tensor, got {example!r} of type "
                f"{kind_of(example)}{advice}"
            )
        if example.type.ndim == 0:
            raise ValueError(f"{name} must have an axis of examples first, {example} is a scalar")
        if example in params:
            raise ValueError(f"{name}, {example}, is a parameter; give what holds the examples")
        if example in examples[:index]:
            raise ValueError(f"{name}, {example}, is in the batch twice")
        if example not in graph:
            raise ValueError(
                f"the loss does not depend on {name}, {example}; leave it out, or build the loss "
                "on this very variable"
            )
    return examples


def _check_is_of_one_example(loss: Variable, ones: Sequence[Any]) -> None:
    """Refuse a loss in which more than the examples may be others from example to example."""
    others = [variable for variable in inputs_of([loss]) if variable not in ones]
    for variable in others:
        if getattr(variable.type, "ndim", 0) or "int" in str(getattr(variable.type, "dtype", "")):
            raise ValueError(
                f"the loss also depends on the input {variable}, which may hold examples; add it "
                "to batch, or if it is the same for all of them, make it a shared variable"
            )
    if draws(loss):
        raise ValueError(
            "the loss draws random numbers (dropout, noise), which would be the same for all "
            "examples; leave them out, or draw them outside and add them to batch"
        )
