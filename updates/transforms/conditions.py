"""Steps that are taken, skipped or scaled depending on what happens.

- ``apply_if_finite``: not when anything would become NaN or infinite (``is_guarded`` tells)
- ``accumulate_gradients``: every k calls, on the mean of their gradients
- ``reduce_on_plateau``: smaller when the loss no longer falls
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytensor.tensor as pt
from pytensor.graph.basic import Variable
from pytensor.tensor.variable import TensorVariable

from updates import provenance
from updates.arguments import LossOrGrads, Params, checked_loss, is_float_tensor
from updates.call import (
    Updates,
    UpdatesLike,
    checked_updates,
    rule,
    rule_call,
    transform_call,
)
from updates.hyperparameters import REQUIRED, Hyperparameter
from updates.rows import choose, touched
from updates.state import filled, is_state

_SKIPPED = "apply_if_finite/skipped"


def apply_if_finite(updates: UpdatesLike) -> Updates:
    """Skip the whole step when it would make anything NaN or infinite.

    ``v' = updates[v] if all new values are finite else v``, for every variable ``v``

    In a skipped call parameters, state and time keep their old values bit for bit; random
    generators move on. A counter says how often that has happened.

    Parameters
    ----------
    updates : dict or list of pairs
        Shared variable to next value, as a rule returns it.

    Returns
    -------
    OrderedDict
        A copy of `updates` with a choice in every item, and at the end the number of skipped calls,
        the int64 variable ``apply_if_finite/skipped``. Transforms applied afterwards are not
        under its protection.

    Raises
    ------
    ValueError, TypeError
        If `updates` is empty or no dictionary.

    See Also
    --------
    zero_nonfinite : goes on without the elements of a gradient that are not finite.

    References
    ----------
    ``optax.apply_if_finite``, which gives up after a number of skipped steps in a row; here the
    counter is yours to look at.

    Examples
    --------
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
    owner = "apply_if_finite"
    copy = checked_updates(owner, updates)
    finite: Any = np.True_
    for variable, new_value in copy.items():
        if is_float_tensor(variable):
            finite &= pt.isfinite(touched(variable, new_value)).all()
    if isinstance(finite, Variable):
        provenance.mark(finite, symbol="finite")
    for variable, new_value in copy.items():
        copy[variable] = _keep_unless(finite, variable, new_value)
    skipped = filled(_SKIPPED, "int64")
    copy[skipped] = pt.switch(finite, skipped, skipped + 1)
    return copy


def is_guarded(updates: Updates) -> bool:
    """Tell whether `apply_if_finite` made a dictionary of updates, or a part of it."""
    return any(is_state(variable) and variable.name == _SKIPPED for variable in updates)


@rule
def accumulate_gradients(
    loss_or_grads: LossOrGrads | None = None,
    params: Params | None = None,
    rule: Callable[..., Any] = REQUIRED,
    every: int = REQUIRED,
) -> Updates:
    """Apply a rule every k calls, to the mean of the gradients of these calls.

    In calls k, 2k, 3k, ..., with k = `every`:

    - ``p', state' = rule((s + g) / k, p)``
    - ``s' = 0``

    and in all others ``s' = s + g`` and everything else stays. k batches so count as one that is
    k times as large. Schedules and time of the rule count its steps, not the calls.

    Parameters
    ----------
    loss_or_grads : symbolic scalar, or list of symbolic tensors
        A loss to differentiate, or one gradient a parameter. Without it and `params` the call
        is deferred.
    params : shared variable, or list of shared variables
        Floating-point parameters of any shapes and dtypes.
    rule : callable
        Takes gradients and parameters and returns their updates: a rule of this library called
        without a loss, such as ``adam(learning_rate=0.01)``.
    every : int
        Calls for one step, > 0.

    Returns
    -------
    OrderedDict
        What `rule` returns, sum_of_gradients and step. A `Deferred` when the call is deferred.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of the wrong kind, or loss, gradients and parameters do
        not fit; the message names it.

    References
    ----------
    ``optax.MultiSteps`` does the same.

    Examples
    --------
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
    call = rule_call(accumulate_gradients, loss_or_grads, params, rows=False)
    applies = pt.eq((call.step + 1) % every, 0)
    means = []
    for param, grad, _ in call:
        total = call.zeros_like(param, "sum_of_gradients")
        total_new = total + grad
        call[total] = pt.switch(applies, 0, total_new)
        means.append(total_new / every)
    for variable, new_value in checked_updates(call.owner, rule(means, call.params)).items():
        call.updates[variable] = _keep_unless(applies, variable, new_value)
    return call.updates


def reduce_on_plateau(
    updates: UpdatesLike,
    loss: Variable,
    params: Params | None = None,
    factor: Hyperparameter = 0.1,
    patience: int = 10,
    rtol: Hyperparameter = 1e-4,
    atol: Hyperparameter = 0.0,
    cooldown: Hyperparameter = 0,
    min_scale: Hyperparameter = 0.0,
    every: int = 1,
) -> Updates:
    """Make the steps smaller when the loss has not fallen for a while.

    ``p' = p + scale*(updates[p] - p)``

    The scale starts at 1. When the loss has not been below ``(1 - rtol)*best - atol`` for
    `patience` times in a row, it is multiplied by `factor`, from that step on; for `cooldown`
    times afterwards nothing is counted.

    Parameters
    ----------
    updates : dict or list of pairs
        Shared variable to next value, as a rule returns it.
    loss : symbolic scalar
        What should fall, in the same graph. A NaN counts as not fallen.
    params : shared variable, or list of shared variables, optional
        The parameters whose steps are scaled. By default all floating-point variables of
        `updates` but those that the library made as state.
    factor : float, symbolic scalar, shared variable or schedule, optional
        What the scale is multiplied by, in [0, 1].
    patience : int, optional
        Losses in a row without progress that are too many, > 0.
    rtol, atol : float, symbolic scalar, shared variable or schedule, optional
        Progress that counts, relative and absolute, finite and >= 0.
    cooldown : float, symbolic scalar, shared variable or schedule, optional
        Losses that are not counted after a reduction, finite and >= 0.
    min_scale : float, symbolic scalar, shared variable or schedule, optional
        Where reduction ends, in [0, 1].
    every : int, optional
        Calls whose losses make one by their mean, > 0: mini-batch losses are noisy, the number of
        batches in an epoch is a good choice.

    Returns
    -------
    OrderedDict
        A copy of `updates` with new next values for `params`, and the scalars
        ``reduce_on_plateau/scale``, best_loss, mean_loss, plateau, cooldown and step.

    Raises
    ------
    ValueError, TypeError
        If `updates` is empty or no dictionary, does not change a parameter that was asked for, or
        an argument is out of range or of the wrong kind.

    References
    ----------
    This form is ``optax.contrib.reduce_on_plateau``; PyTorch's ``ReduceLROnPlateau`` waits for
    one loss more and is called from outside.

    Examples
    --------
    >>> import pytensor, updates
    >>> w = pytensor.shared(1.0, name="w")
    >>> flat = updates.sgd([pytensor.tensor.constant(1.0)], [w], learning_rate=0.1)
    >>> rule = updates.reduce_on_plateau(flat, loss=0 * w, factor=0.5, patience=1)
    >>> step = pytensor.function([], updates=rule)
    >>> _ = step(), step()
    >>> round(float(w.get_value()), 6)
    0.85
    """
    owner = "reduce_on_plateau"
    checked_loss(owner, loss, "its values tell when to reduce")
    call = transform_call(
        owner,
        updates,
        params,
        loss=loss,
        factor=factor,
        patience=patience,
        rtol=rtol,
        atol=atol,
        cooldown=cooldown,
        min_scale=min_scale,
        every=every,
    )
    factor, rtol, atol, cooldown, min_scale = call.scalars()
    scale, best = call.scalar("scale", 1.0), call.scalar("best_loss", np.inf)
    mean, plateau, rest = call.scalar("mean_loss"), call.scalar("plateau"), call.scalar("cooldown")

    position = call.step % every
    mean_new = (position * mean + pt.cast(loss, "float64")) / (position + 1)
    is_due = pt.eq(position, every - 1)
    improves = mean_new < (1 - rtol) * best - atol
    rests = rest > 0
    waited = pt.switch(improves, 0, plateau + 1)
    reduces = ~rests & (waited >= patience)
    scale_new = pt.switch(reduces, pt.maximum(scale * factor, min_scale), scale)

    call[scale] = pt.switch(is_due, scale_new, scale)
    call[best] = pt.switch(is_due & improves, mean_new, best)
    call[mean] = pt.switch(is_due, 0, mean_new)
    call[plateau] = pt.switch(is_due, pt.switch(rests | reduces, 0, waited), plateau)
    rest_new = pt.switch(reduces, cooldown, pt.maximum(rest - 1, 0))
    call[rest] = pt.switch(is_due, rest_new, rest)
    for param, proposed, _ in call:
        call[param] = param + pt.cast(call.updates[scale], param.dtype) * (proposed - param)
    return call.updates


def _keep_unless(condition: TensorVariable, variable: Variable, new_value: Variable) -> Any:
    """Return the old value unless a condition holds; a random generator moves on regardless."""
    if not isinstance(variable, TensorVariable):
        return new_value
    return choose(condition, variable, new_value)
