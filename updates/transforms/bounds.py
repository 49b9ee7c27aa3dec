"""What happens to parameters after their step: decay, and bounds that they keep.

- ``apply_weight_decay``: pull them towards zero, outside the rule
- ``apply_norm_constraint``: bound the norm of each unit's weights
- ``apply_bounds``: keep every element between two values
- ``apply_projection``: keep them in any set that can be projected on
"""

from collections.abc import Sequence

import pytensor.tensor as pt

from updates.call import State, Tensor
from updates.gradients import norm_constraint
from updates.gradients.constraints import unit_axes
from updates.kinds import Epsilon, Finite, Mask, NonNegative, Projection
from updates.named_dimensions import with_names_of, without_names
from updates.projections import check_bounds
from updates.rows import label
from updates.update_transform import update_transform


@update_transform
def apply_weight_decay(
    state: State,
    param: Tensor,
    proposed: Tensor,
    weight_decay: NonNegative = 1e-4,
    mask: Mask | None = None,
) -> Tensor:
    """Pull parameters towards zero beside their step: decoupled weight decay.

    ``p' = updates[p] - wd*p``

    The rule never sees the decay. AdamW's decay is ``learning_rate * weight_decay`` here.

    weight_decay : the part of a parameter that it loses in each call

    `add_weight_decay` : in the gradients, before the rule (L2 regularisation)

    Loshchilov, Hutter (2017), "Decoupled Weight Decay Regularization", arXiv:1711.05101.
    """
    return proposed - weight_decay * param


@update_transform(acts_on=lambda param: 2 <= param.ndim <= 5)
def apply_norm_constraint(
    state: State,
    param: Tensor,
    proposed: Tensor,
    max_norm: NonNegative,
    norm_axes: Sequence[int | str] | None = None,
    epsilon: Epsilon = 1e-7,
) -> Tensor:
    """Bound the norm of each unit's weights after the step (max-norm regularisation).

    ``p' = norm_constraint(updates[p], max_norm)``

    max_norm : the bound
    norm_axes (sequence of int or str, optional) : the axes that a norm sums over, as in
        `norm_constraint`
    returns : without `params` vectors and scalars are left alone

    `norm_constraint` : the same for one tensor

    Srivastava et al. (2014), "Dropout: A Simple Way to Prevent Neural Networks from
    Overfitting", JMLR 15.

    >>> import numpy as np, pytensor, updates
    >>> w = pytensor.shared(np.array([[3.0, 0.3], [4.0, 0.4]]), name="w")
    >>> plain = updates.sgd((w**2).sum(), [w], learning_rate=0.0)
    >>> step = pytensor.function([], updates=updates.apply_norm_constraint(plain, max_norm=1.0))
    >>> _ = step()
    >>> w.get_value().round(3)
    array([[0.6, 0.3],
           [0.8, 0.4]])
    """
    axes = unit_axes(state.param, norm_axes)
    return norm_constraint(proposed, state.wide(max_norm), axes, state.wide(epsilon))


@update_transform
def apply_bounds(
    state: State,
    param: Tensor,
    proposed: Tensor,
    low: Finite | None = None,
    high: Finite | None = None,
) -> Tensor:
    """Keep every element of the parameters between two bounds: projected steps.

    ``p' = min(max(updates[p], low), high)``

    low, high : the bounds; at least one of them, and ``low <= high``
    returns : a NaN stays NaN

    `apply_norm_constraint` : bounds a norm instead

    Goldstein (1964), "Convex programming in Hilbert space", Bulletin of the AMS 70(5).

    >>> import pytensor, updates
    >>> w = pytensor.shared(1.0, name="w")
    >>> plain = updates.sgd((w + 1) ** 2, [w], learning_rate=0.4)
    >>> step = pytensor.function([], updates=updates.apply_bounds(plain, low=0))
    >>> _ = step()
    >>> float(w.get_value())
    0.0
    """
    check_bounds(low, high)
    if low is not None:
        proposed = pt.maximum(proposed, low)
    return proposed if high is None else pt.minimum(proposed, high)


@update_transform
def apply_projection(
    state: State,
    param: Tensor,
    proposed: Tensor,
    projection: Projection,
) -> Tensor:
    """Move parameters to the nearest point of a set after every step: projected steps.

    ``p' = projection(updates[p])``

    projection (projection that waits, or function of a tensor) : `simplex`, `l1_ball`, `l2_ball`,
        `box`, `non_negative`, `halfspace`, `unit_sphere`, without their tensor, as
        ``updates.simplex(axis=1)``, or a function of yours from the proposed next value to another
        of its dtype and shape. Each parameter is projected by itself: give `params` those that
        belong into the set
    returns : the state of the rule is that of the step before it was projected

    `apply_bounds` : a box, with bounds that may be schedules
    `apply_norm_constraint` : Lasagne's bound on the norm of each unit

    Goldstein (1964), "Convex programming in Hilbert space", Bulletin of the AMS 70(5).

    >>> import numpy as np, pytensor, updates
    >>> w = pytensor.shared(np.array([0.5, 0.5]), name="w")
    >>> plain = updates.sgd((w * np.array([1.0, 2.0])).sum(), [w], learning_rate=0.25)
    >>> onto = updates.simplex()
    >>> step = pytensor.function([], updates=updates.apply_projection(plain, projection=onto))
    >>> _ = step()
    >>> w.get_value()
    array([0.625, 0.375])
    """
    projected = projection(with_names_of(state.owner, proposed))
    if getattr(getattr(projected, "type", None), "ndim", None) != proposed.type.ndim:
        raise TypeError(
            f"projection must return a tensor of ndim {proposed.type.ndim} for "
            f"{label(state.owner, 0)}, got {projected!r}"
        )
    return without_names(projected)
