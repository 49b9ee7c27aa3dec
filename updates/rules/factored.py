"""Rules whose state is smaller than the parameters: one number for each row and each column.

- ``adafactor``: rows and columns of a mean square, whose product stands for it
- ``sm3``: rows and columns of a sum of squares, whose least bounds it

``sm3`` keeps a velocity as well, ``adafactor`` only if it is asked to.
"""

import functools
from typing import Any

import pytensor.tensor as pt

from updates.call import State, Tensor
from updates.kinds import (
    Count,
    Epsilon,
    Flag,
    Fraction,
    LearningRate,
    Mask,
    NonNegative,
    Positive,
    WeightDecay,
)
from updates.norms import mean_over, ratio, root_mean_square
from updates.rule import rule


@rule(rows=False)
def adafactor(
    state: State,
    param: Tensor,
    grad: Tensor,
    learning_rate: LearningRate = 0.01,
    decay_rate: NonNegative = 0.8,
    epsilon: Epsilon = 1e-30,
    clipping_threshold: Positive = 1.0,
    momentum: Fraction | None = None,
    weight_decay: WeightDecay = 0.0,
    min_dim_size_to_factor: Count = 128,
    multiply_by_parameter_scale: Flag = True,
    mask: Mask | None = None,
) -> Tensor:
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

    when : models that hardly fit into memory; 0.01
    decay_rate : how fast the share ``k`` of the new gradient falls
    clipping_threshold : largest root mean square of ``u`` that is not scaled down
    momentum : if given, ``d`` is replaced by its moving average with this decay
    weight_decay : how much of the parameter each call takes off. The learning rate does not
        scale it
    min_dim_size_to_factor : shortest axis that is worth it; an integer, since it shapes the
        state
    multiply_by_parameter_scale : whether steps are in units of the parameter's root mean
        square, or absolute: ``d = lr * u / max(...)``
    state : row_mean_square, column_mean_square, or mean_square; velocity unless momentum is
        None; step

    `sm3` : a bound in the place of a product
    `rmsprop` : a mean square for every element

    Shazeer, Stern (2018), "Adafactor: Adaptive Learning Rates with Sublinear Memory Cost",
    arXiv:1804.04235. The form is optax's: PyTorch's clips the learning rate by ``1 / sqrt(t)`` and
    scales the weight decay by it.
    """
    share = (state.time**-decay_rate).astype(param.dtype)
    size = _factored_size(state, grad**2 + epsilon, share, min_dim_size_to_factor)
    step = ratio(grad, size)
    step = learning_rate * step / pt.maximum(1, _rms(step) / clipping_threshold)
    if multiply_by_parameter_scale:
        step = step * pt.maximum(_rms(param), pt.cast(1e-3, param.dtype))
    if momentum is not None:
        step = state.average("velocity", step, momentum)
    return param - step - weight_decay * param


@rule(rows=False)
def sm3(
    state: State,
    param: Tensor,
    grad: Tensor,
    learning_rate: LearningRate,
    momentum: Fraction = 0.9,
) -> Tensor:
    """SM3: AdaGrad whose sum of squares is bounded by the least of a row's and a column's.

    - ``a = min(c_0, c_1, ...) + g^2``
    - ``c_i' = max of a over all axes but i``
    - ``m' = mu*m + (1 - mu)*g / sqrt(a + 1e-8)``
    - ``p' = p - lr*m'``

    There is one ``c_i`` for each axis, as long as the axis. For vectors and scalars ``c_0`` is the
    sum of squares itself, as in `adagrad`.

    when : models that hardly fit into memory, sparse features; 0.1
    momentum : how much of the velocity is kept
    state : cover_0, cover_1, ..., velocity

    `adagrad` : a sum for every element, without a velocity
    `adafactor` : a product in the place of the least

    Anil, Gupta, Koren, Singer (2019), "Memory-Efficient Adaptive Optimization", arXiv:1901.11150,
    algorithm SM3-II; epsilon and the averaging velocity are optax's, which has no scalars.
    """
    covers = _covers(state)
    bound = functools.reduce(pt.minimum, covers) + grad**2
    for cover, own in covers.items():
        others = [axis for axis in range(param.ndim) if axis not in own]
        state.update(cover, pt.max(bound, axis=others, keepdims=True))
    step = ratio(grad, pt.sqrt(bound + pt.cast(1e-8, param.dtype)))
    return param - learning_rate * state.average("velocity", step, momentum)


def _factored_size(state: State, squares: Tensor, share: Tensor, min_dim_size: int) -> Tensor:
    """Average squares by rows and columns, or for every element, and return the root."""

    def averaged(slot: str, averaged_axis: int | None = None) -> Tensor:
        state_shape = tuple(1 if axis == averaged_axis else n for axis, n in enumerate(shape))
        average = state.array(slot, state_shape)
        value = squares if averaged_axis is None else mean_over(squares, (averaged_axis,))
        return state.update(average, average + share * (value - average))

    shape = state.owner.get_value(borrow=True).shape
    shorter, longer = [None, None, *sorted(range(len(shape)), key=shape.__getitem__)][-2:]
    if shorter is None or shape[shorter] < min_dim_size:
        return pt.sqrt(averaged("mean_square"))
    row = averaged("row_mean_square", longer)
    column = averaged("column_mean_square", shorter)
    return pt.sqrt(ratio(row, mean_over(row, (shorter,)))) * pt.sqrt(column)


def _rms(tensor: Tensor) -> Tensor:
    return root_mean_square(tensor).astype(tensor.dtype)


def _covers(state: State) -> dict[Any, tuple[int, ...]]:
    """Make one state variable for each axis, and map it to the axes that it has."""
    shape = state.owner.get_value(borrow=True).shape
    axes = tuple(range(len(shape)))
    # There is nothing to take a maximum over in an empty tensor.
    kept = [(axis,) for axis in axes] if len(shape) > 1 and 0 not in shape else [axes]
    covers = {}
    for index, own in enumerate(kept):
        state_shape = tuple(n if axis in own else 1 for axis, n in enumerate(shape))
        covers[state.array(f"cover_{index}", state_shape)] = own
    return covers
