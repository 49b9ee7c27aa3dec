"""Rules that take the gradient at another point than where the parameters are.

- ``sam``: at the worst point nearby
- ``nesterov_lookahead``: where the velocity alone would lead

The loss is a graph: its gradient elsewhere is the same graph with other parameters put in.
"""

from typing import Any

import pytensor.tensor as pt
from pytensor.graph.replace import clone_replace

from updates import provenance
from updates.call import Call, Tensor, Updates
from updates.kinds import Fraction, LearningRate, NonNegative, WaitingRule
from updates.norms import joint_norm, ratio
from updates.rule import joint_rule

_WHY = "it takes their values at another point than the parameters"


@joint_rule(needs_loss=_WHY)
def sam(
    call: Call,
    rule: WaitingRule,
    rho: NonNegative = 0.05,
) -> Updates:
    """Sharpness-aware minimisation: any rule, with the gradient of the worst point nearby.

    - ``q = p + rho*g(p) / norm(g(p))``, one norm over all parameters
    - ``p' = rule(g(q), p)``

    Random draws in the loss, dropout for instance, are the same at both points.

    when : better generalization at twice the price; that of the rule inside
    rule : takes gradients and parameters and returns their updates: a rule of this library
        called without a loss, such as ``sgd(learning_rate=0.1)``
    rho : how far away the gradient is taken
    state : what `rule` keeps

    `nesterov_lookahead` : the gradient further along the way

    Foret, Kleiner, Mobahi, Neyshabur (2020), "Sharpness-Aware Minimization for Efficiently
    Improving Generalization", arXiv:2010.01412.
    """
    scale = ratio(pt.constant(1), joint_norm(call.grads))
    points = [param + state.cast(rho * scale * grad) for state, param, grad in call]
    grads = _grads_at(call, points)
    return call.stepped_by(rule, grads)


@joint_rule(needs_loss=_WHY)
def nesterov_lookahead(
    call: Call,
    learning_rate: LearningRate,
    momentum: Fraction = 0.9,
) -> None:
    """Nesterov's momentum in its classic form: the gradient where the velocity leads.

    - ``v' = mu*v - lr*g(p + mu*v)``
    - ``p' = p + v'``

    when : to follow the theory to the letter; 0.01
    momentum : how much of the velocity is kept
    state : velocity

    `nesterov_momentum` : the usual rewriting, which moves the parameters themselves ahead

    Nesterov (1983), "A method for solving the convex programming problem with convergence rate
    O(1/k^2)", Doklady AN SSSR 269; in these words in Sutskever et al. (2013), "On the importance
    of initialization and momentum in deep learning", ICML.
    """
    velocities = [state.zeros("velocity") for state in call.states]
    leads = [
        state.cast(momentum) * velocity
        for state, velocity in zip(call.states, velocities, strict=True)
    ]
    points = [
        state.cast(state.param + lead) for state, lead in zip(call.states, leads, strict=True)
    ]
    grads = _grads_at(call, points)
    for state, velocity, lead, grad in zip(call.states, velocities, leads, grads, strict=True):
        velocity_new = state.update(velocity, lead - state.cast(learning_rate) * grad)
        state.update(state.param, state.param + velocity_new)


def _grads_at(call: Call, points: list[Tensor]) -> list[Tensor]:
    """Return the gradients with other values in the place of the parameters."""
    grads: Any = clone_replace(call.grads, dict(zip(call.params, points, strict=True)))
    provenance.gradient_at(grads, call.grads, call.owners, points)
    return grads
