"""Steps that are taken, skipped or scaled depending on what happens.

- ``apply_if_finite``: not when anything would become NaN or infinite (``is_guarded`` tells)
- ``accumulate_gradients``: every k calls, on the mean of their gradients
- ``reduce_on_plateau``: smaller when the loss no longer falls
"""

from typing import Any

import numpy as np
import pytensor.tensor as pt
from pytensor.graph.basic import Variable
from pytensor.raise_op import CheckAndRaise
from pytensor.tensor.variable import TensorVariable

from updates import provenance
from updates.arguments import checked_loss, is_float_tensor
from updates.call import Call, Updates, checked_updates
from updates.conditional import used_only_if
from updates.kinds import Count, NonNegative, Positive, Share, WaitingRule
from updates.named_dimensions import has_names, without_names
from updates.norms import is_finite, joint_norm
from updates.rows import choose, touched
from updates.rule import joint_rule
from updates.state import filled, is_state
from updates.update_transform import dictionary_transform, joint_update_transform

_SKIPPED = "apply_if_finite/skipped"


@dictionary_transform
def apply_if_finite(
    updates: Updates,
    max_norm: Positive | None = None,
    max_skips: Count | None = None,
) -> Updates:
    """Skip the whole step when it would make anything NaN or infinite.

    ``v' = updates[v] if all new values are finite else v``, for every variable ``v``

    In a skipped call parameters, state and time keep their old values bit for bit; random
    generators move on. A counter says how often that has happened. With `max_norm`, steps that are
    too long are skipped as well: ``norm(p' - p) > max_norm`` over all that rules step, or in a
    dictionary made by hand over all floating-point variables that are no state.

    max_norm : length of the longest step that is taken; None for any
    max_skips : skipped calls in a row after which the function raises a FloatingPointError and
        changes nothing; None for never. In JAX mode, where functions cannot raise, it is ignored
        with a warning of PyTensor's
    returns : transforms applied afterwards are not under its protection
    state : skipped, an int64 counter of skipped calls; with `max_skips` skipped_in_a_row

    `zero_nonfinite` : goes on without the elements of a gradient that are not finite
    `clip_by_global_norm` : takes steps that are too long in the same direction, but shorter

    ``optax.apply_if_finite``, which after a number of skipped steps in a row lets the next one
    through, and ``optax.skip_large_updates``.

    >>> import pytensor, updates
    >>> w, data = pytensor.shared(1.0, name="w"), pytensor.shared(float("nan"))
    >>> guarded = updates.apply_if_finite(updates.adam((w - data) ** 2, [w]))
    >>> step = pytensor.function([], updates=guarded)
    >>> _ = step(), step()
    >>> for variable in guarded:
    ...     print(variable.name, variable.get_value().item())
    w/adam/first_moment 0.0
    w/adam/second_moment 0.0
    adam/step 0
    w 1.0
    apply_if_finite/skipped 2
    """
    finite: Any = np.True_
    for variable, new_value in updates.items():
        if is_float_tensor(variable):
            finite &= pt.isfinite(without_names(touched(variable, new_value))).all()
    if isinstance(finite, Variable):
        provenance.mark(finite, symbol="finite")
    if max_norm is not None:
        own = [v for v in updates if is_float_tensor(v) and not is_state(v)]
        moved = provenance.stepped(updates) or own
        steps = [without_names(updates[v]) - without_names(v) for v in moved]
        finite &= joint_norm(steps) <= max_norm
    params = tuple(variable for variable in updates if not is_state(variable))
    skipped, in_a_row = (
        provenance.mark(filled(name, "int64"), params=params)
        for name in (_SKIPPED, f"{_SKIPPED}_in_a_row")
    )
    if max_skips is not None:
        message = (
            f"apply_if_finite: {max_skips} steps in a row were skipped, because they would have "
            "made something NaN or infinite or were too long"
        )
        is_due = ~finite & (in_a_row >= max_skips - 1)
        finite = provenance.reads_as(CheckAndRaise(FloatingPointError, message)(finite, ~is_due))
        # What changes must wait for the check, because memory may be reused in between.
        updates[in_a_row] = pt.switch(finite, 0, in_a_row + pt.cast(~finite, "int64"))
    for variable, new_value in updates.items():
        if variable is not in_a_row:
            updates[variable] = _keep_unless(finite, variable, new_value)
    updates[skipped] = pt.switch(finite, skipped, skipped + 1)
    return updates


def is_guarded(updates: Updates) -> bool:
    """Tell whether `apply_if_finite` made a dictionary of updates, or a part of it."""
    return any(is_state(variable) and variable.name == _SKIPPED for variable in updates)


@joint_rule
def accumulate_gradients(
    call: Call,
    rule: WaitingRule,
    every: Count,
) -> None:
    """Apply a rule every k calls, to the mean of the gradients of these calls.

    In calls k, 2k, 3k, ..., with k = `every`:

    - ``p', state' = rule((s + g) / k, p)``
    - ``s' = 0``

    and in all others ``s' = s + g`` and everything else stays. So k batches count as one that is k
    times as large. Schedules and time of the rule count its steps, not the calls. A rule that
    averages over processes (`updates.distributed`) exchanges only when it is applied.

    rule : takes gradients and parameters and returns their updates: a rule of this library
        called without a loss, such as ``adam(learning_rate=0.01)``
    every : calls for one step
    state : sum_of_gradients, step, and what `rule` keeps

    ``optax.MultiSteps`` does the same.

    >>> import pytensor, updates
    >>> w = pytensor.shared(1.0, name="w")
    >>> rule = updates.accumulate_gradients(rule=updates.sgd(learning_rate=0.1), every=2)
    >>> step = pytensor.function([], updates=rule(w**2, [w]))
    >>> _ = step()
    >>> float(w.get_value())
    1.0
    >>> _ = step()
    >>> float(w.get_value())
    0.8
    """
    applies = pt.eq((call.step + 1) % every, 0)
    means = []
    for state, _, grad in call:
        total = state.zeros("sum_of_gradients")
        total_new = total + grad
        state.update(total, pt.switch(applies, 0, total_new))
        means.append(total_new / every)
    with used_only_if(applies, means):
        updates = checked_updates(call.stepped_by(rule, means))
    for variable, new_value in updates.items():
        call.updates[variable] = _keep_unless(applies, variable, new_value)


@joint_update_transform
def reduce_on_plateau(
    call: Call,
    loss: Variable,
    factor: Share = 0.1,
    patience: Count = 10,
    rtol: NonNegative = 1e-4,
    atol: NonNegative = 0.0,
    cooldown: NonNegative = 0,
    min_scale: Share = 0.0,
    every: Count = 1,
) -> None:
    """Make the steps smaller when the loss has not fallen for a while.

    ``p' = p + scale*(updates[p] - p)``

    The scale starts at 1. When the loss has not been below ``(1 - rtol)*best - atol`` for
    `patience` times in a row, it is multiplied by `factor`, from that step on; for `cooldown`
    times afterwards nothing is counted.

    loss (symbolic scalar) : what should fall, in the same graph. A NaN counts as not fallen
    factor : what the scale is multiplied by
    patience : losses in a row without progress that are too many
    rtol, atol : progress that counts, relative and absolute
    cooldown : losses that are not counted after a reduction
    min_scale : where reduction ends
    every : calls whose losses make one by their mean: mini-batch losses are noisy, the number
        of batches in an epoch is a good choice
    state : scale, best_loss, has_best, mean_loss, plateau, cooldown, step

    This form is ``optax.contrib.reduce_on_plateau``; PyTorch's ``ReduceLROnPlateau`` waits for
    one loss more and is called from outside.
    """
    loss = checked_loss(loss, "its values tell when to reduce")
    scale, best, has_best = call.scalar("scale", 1.0), *map(call.scalar, ("best_loss", "has_best"))
    mean, plateau, rest = call.scalar("mean_loss"), call.scalar("plateau"), call.scalar("cooldown")
    position = call.step % every
    calls_before = pt.cast(position, call.dtype)
    mean_new = (calls_before * mean + pt.cast(loss, call.dtype)) / (calls_before + 1)
    is_due = pt.eq(position, every - 1)
    improves = pt.switch(has_best > 0, mean_new < (1 - rtol) * best - atol, is_finite(mean_new))
    rests = rest > 0
    waited = pt.switch(improves, 0, plateau + 1)
    reduces = ~rests & (waited >= patience)
    reduced = pt.switch(reduces, pt.maximum(scale * factor, min_scale), scale)
    scale_new = call.update(scale, pt.switch(is_due, reduced, scale))
    call.update(best, pt.switch(is_due & improves, mean_new, best))
    call.update(has_best, pt.switch(is_due & improves, 1, has_best))
    call.update(mean, pt.switch(is_due, 0, mean_new))
    call.update(plateau, pt.switch(is_due, pt.switch(rests | reduces, 0, waited), plateau))
    rest_new = pt.switch(reduces, cooldown, pt.maximum(rest - 1, 0))
    call.update(rest, pt.switch(is_due, rest_new, rest))
    for state, param, proposed in call:
        state.update(param, param + state.cast(scale_new) * (proposed - param))


def _keep_unless(condition: TensorVariable, variable: Variable, new_value: Variable) -> Any:
    """Return the old value unless a condition holds; a random generator moves on regardless."""
    if not isinstance(variable, TensorVariable) and not has_names(variable):
        return new_value
    return choose(condition, variable, new_value)
