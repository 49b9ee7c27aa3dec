"""Rules that change the steps of another rule.

- ``cautious``: only where they agree with the gradient
"""

import pytensor.tensor as pt

from updates.call import Call, checked_updates
from updates.kinds import WaitingRule
from updates.named_dimensions import without_names
from updates.rows import label
from updates.rule import joint_rule


@joint_rule
def cautious(
    call: Call,
    rule: WaitingRule,
) -> None:
    """Make only those elements of a step that go down the gradient, and make these longer.

    - ``u = rule(g, p) - p``
    - ``m = 1 where u*g < 0, else 0``
    - ``p' = p + u*m * n / (1 + sum(m))``, n the number of elements of ``p``

    Momentum may point uphill after the gradient has turned; such elements wait. What else the rule
    does to a parameter, weight decay for instance, counts as part of its step.

    rule : takes gradients and parameters and returns their updates: a rule of this library
        called without a loss, such as ``adamw(learning_rate=0.001)``
    state : what `rule` keeps, which goes on as if its steps had been made

    Liang, Chen, Liu, Liu (2024), "Cautious Optimizers: Improving Training with One Line of Code",
    arXiv:2411.16085.
    """
    proposed = checked_updates(call.stepped_by(rule, call.grads))
    call.updates |= proposed
    for index, (state, param, grad) in enumerate(call):
        if state.owner not in proposed:
            raise ValueError(f"rule gives no next value to {label(state.owner, index)}")
        step = without_names(proposed[state.owner]) - param
        agrees = pt.cast(step * grad < 0, param.type.dtype)
        size = state.cast(pt.cast(param.size, call.dtype) / (1 + agrees.sum(dtype=call.dtype)))
        state.update(param, param + step * agrees * size)
