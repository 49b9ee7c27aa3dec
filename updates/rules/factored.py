"""Rules whose state is smaller than the parameters: one number a row and a column.

- ``adafactor``: rows and columns of a mean square, whose product stands for it
- ``sm3``: rows and columns of a sum of squares, whose least bounds it

``sm3`` keeps a velocity as well, ``adafactor`` only if it is asked to.
"""

import functools

import pytensor.tensor as pt
from pytensor.tensor.sharedvar import TensorSharedVariable
from pytensor.tensor.variable import TensorVariable

from updates.arguments import LossOrGrads, Params
from updates.call import Call, Updates, rule, rule_call
from updates.hyperparameters import REQUIRED, Hyperparameter
from updates.norms import ratio, sum_of_squares


@rule
def adafactor(
    loss_or_grads: LossOrGrads | None = None,
    params: Params | None = None,
    learning_rate: Hyperparameter = 0.01,
    decay_rate: Hyperparameter = 0.8,
    epsilon: Hyperparameter = 1e-30,
    clipping_threshold: Hyperparameter = 1.0,
    momentum: Hyperparameter | None = None,
    weight_decay: Hyperparameter = 0.0,
    min_dim_size_to_factor: int = 128,
    multiply_by_parameter_scale: bool = True,
) -> Updates:
    """Adafactor: steps divided by the root of a mean square that is kept by rows and columns.

    - ``k = t^-decay_rate``
    - ``r' = r + k*(mean of g^2 + eps over columns - r)``
    - ``c' = c + k*(mean of g^2 + eps over rows - c)``
    - ``a' = r' * c' / mean(r')``
    - ``u = g / sqrt(a')``
    - ``d = lr * max(rms(p), 1e-3) * u / max(1, rms(u) / clipping_threshold)``
    - ``p' = p - d - wd*p``

    ``rms`` is the root of the mean square of all elements. The two longest axes of a tensor count
    as its rows and columns; where the second longest is below `min_dim_size_to_factor`, the mean
    square is kept for every element instead: ``a' = a + k*(g^2 + eps - a)``. ``t`` counts calls
    from 1.

    Parameters
    ----------
    loss_or_grads : symbolic scalar, or list of symbolic tensors
        A loss to differentiate, or one gradient a parameter. Without it and `params` the call
        is deferred.
    params : shared variable, or list of shared variables
        Floating-point parameters of any shapes and dtypes.
    learning_rate : float, symbolic scalar, shared variable or schedule, optional
        Factor of the step, finite and >= 0.
    decay_rate : float, symbolic scalar, shared variable or schedule, optional
        How fast the share ``k`` of the new gradient falls, finite and >= 0.
    epsilon : float, symbolic scalar, shared variable or schedule, optional
        Keeps the division away from zero, finite and >= 0.
    clipping_threshold : float, symbolic scalar, shared variable or schedule, optional
        Largest root mean square of ``u`` that is not scaled down, finite and > 0.
    momentum : float, symbolic scalar, shared variable or schedule, optional
        If given, ``d`` is replaced by its moving average with this decay, in [0, 1).
    weight_decay : float, symbolic scalar, shared variable or schedule, optional
        How much of the parameter each call takes off, finite and >= 0. The learning rate does not
        scale it.
    min_dim_size_to_factor : int, optional
        Shortest axis that is worth it, > 0; an integer, since it shapes the state.
    multiply_by_parameter_scale : bool, optional
        Whether steps are in units of the parameter's root mean square, or absolute:
        ``d = lr * u / max(...)``.

    Returns
    -------
    OrderedDict
        Shared variable to next value: row_mean_square and column_mean_square, or mean_square;
        velocity unless momentum is None; parameter and step.
        A `Deferred` when the call is deferred.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of the wrong kind, or loss, gradients and parameters do
        not fit; the message names it.

    See Also
    --------
    sm3 : a bound in the place of a product.
    rmsprop : a mean square for every element.

    References
    ----------
    Shazeer, Stern (2018), "Adafactor: Adaptive Learning Rates with Sublinear Memory Cost",
    arXiv:1804.04235. The form is optax's: PyTorch's clips the learning rate by ``1 / sqrt(t)`` and
    scales the weight decay by it.

    Examples
    --------
    >>> import pytensor
    >>> from updates import adafactor
    >>> w = pytensor.shared(1.0, name="w")
    >>> step = pytensor.function([], updates=adafactor(w**2, [w], learning_rate=0.01))
    >>> _ = step()
    >>> round(float(w.get_value()), 6)
    0.99
    """
    call = rule_call(
        adafactor,
        loss_or_grads,
        params,
        learning_rate,
        decay_rate,
        epsilon,
        clipping_threshold,
        momentum,
        weight_decay,
        rows=False,
    )
    for param, grad, hyperparameters in call:
        learning_rate, decay_rate, epsilon, clipping_threshold, momentum, weight_decay = (
            hyperparameters
        )
        share = (call.time**-decay_rate).astype(param.dtype)
        size = _factored_size(call, param, grad**2 + epsilon, share, min_dim_size_to_factor)
        step = ratio(grad, size)
        step = learning_rate * step / pt.maximum(1, _rms(step) / clipping_threshold)
        if multiply_by_parameter_scale:
            step = step * pt.maximum(_rms(param), pt.cast(1e-3, param.dtype))
        if momentum is not None:
            step = call.average(param, "velocity", step, momentum)
        call[param] = param - step - weight_decay * param
    return call.updates


@rule
def sm3(
    loss_or_grads: LossOrGrads | None = None,
    params: Params | None = None,
    learning_rate: Hyperparameter = REQUIRED,
    momentum: Hyperparameter = 0.9,
) -> Updates:
    """SM3: AdaGrad whose sum of squares is bounded by the least of a row's and a column's.

    - ``a = min(c_0, c_1, ...) + g^2``
    - ``c_i' = max of a over all axes but i``
    - ``m' = mu*m + (1 - mu)*g / sqrt(a + 1e-8)``
    - ``p' = p - lr*m'``

    There is one ``c_i`` for each axis, as long as the axis. For vectors and scalars ``c_0`` is the
    sum of squares itself, as in `adagrad`.

    Parameters
    ----------
    loss_or_grads : symbolic scalar, or list of symbolic tensors
        A loss to differentiate, or one gradient a parameter. Without it and `params` the call
        is deferred.
    params : shared variable, or list of shared variables
        Floating-point parameters of any shapes and dtypes.
    learning_rate : float, symbolic scalar, shared variable or schedule
        Factor of the step, finite and >= 0.
    momentum : float, symbolic scalar, shared variable or schedule, optional
        How much of the velocity is kept, in [0, 1).

    Returns
    -------
    OrderedDict
        Shared variable to next value: cover_0, cover_1, ... for the axes, velocity and parameter.
        A `Deferred` when the call is deferred.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of the wrong kind, or loss, gradients and parameters do
        not fit; the message names it.

    See Also
    --------
    adagrad : a sum for every element, without a velocity.
    adafactor : a product in the place of the least.

    References
    ----------
    Anil, Gupta, Koren, Singer (2019), "Memory-Efficient Adaptive Optimization", arXiv:1901.11150,
    algorithm SM3-II; epsilon and the averaging velocity are optax's, which has no scalars.

    Examples
    --------
    >>> import pytensor
    >>> from updates import sm3
    >>> w = pytensor.shared(1.0, name="w")
    >>> step = pytensor.function([], updates=sm3(w**2, [w], learning_rate=0.1))
    >>> _ = step()
    >>> round(float(w.get_value()), 6)
    0.99
    """
    call = rule_call(sm3, loss_or_grads, params, learning_rate, momentum, rows=False)
    for param, grad, (learning_rate, momentum) in call:
        covers = _covers(call, param)
        bound = functools.reduce(pt.minimum, covers) + grad**2
        for cover, own in covers.items():
            others = [axis for axis in range(param.ndim) if axis not in own]
            call[cover] = pt.max(bound, axis=others, keepdims=True)
        step = ratio(grad, pt.sqrt(bound + pt.cast(1e-8, param.dtype)))
        call[param] = param - learning_rate * call.average(param, "velocity", step, momentum)
    return call.updates


def _factored_size(
    call: Call,
    param: TensorSharedVariable,
    squares: TensorVariable,
    share: TensorVariable,
    min_dim_size: int,
) -> TensorVariable:
    """Average squares by rows and columns, or for every element, and return the root."""

    def averaged(slot: str, averaged_axis: int | None = None) -> TensorVariable:
        state_shape = tuple(1 if axis == averaged_axis else n for axis, n in enumerate(shape))
        state = call.zeros(param, slot, state_shape)
        value = squares if averaged_axis is None else _mean(squares, averaged_axis)
        new = state + share * (value - state)
        call[state] = new
        return new

    shape = param.get_value(borrow=True).shape
    shorter, longer = [None, None, *sorted(range(len(shape)), key=shape.__getitem__)][-2:]
    if shorter is None or shape[shorter] < min_dim_size:
        return pt.sqrt(averaged("mean_square"))
    row = averaged("row_mean_square", longer)
    column = averaged("column_mean_square", shorter)
    return pt.sqrt(ratio(row, _mean(row, shorter))) * pt.sqrt(column)


def _mean(tensor: TensorVariable, axis: int) -> TensorVariable:
    return pt.mean(tensor, axis=axis, keepdims=True)


def _rms(tensor: TensorVariable) -> TensorVariable:
    """Take the root of the mean square; that of an empty tensor is 0."""
    return pt.sqrt(sum_of_squares([tensor]) / pt.maximum(1, tensor.size)).astype(tensor.dtype)


def _covers(call: Call, param: TensorSharedVariable) -> dict[TensorSharedVariable, tuple[int, ...]]:
    """Make one state variable for each axis, and tell the axes that each of them has."""
    shape = param.get_value(borrow=True).shape
    axes = tuple(range(len(shape)))
    # There is nothing to take a maximum over in an empty tensor.
    kept = [(axis,) for axis in axes] if len(shape) > 1 and 0 not in shape else [axes]
    covers = {}
    for index, own in enumerate(kept):
        state_shape = tuple(n if axis in own else 1 for axis, n in enumerate(shape))
        covers[call.zeros(param, f"cover_{index}", state_shape)] = own
    return covers
