"""Gradient descent and its momentum forms.

- ``sgd``: along the gradient
- ``momentum`` (also ``momentum_updates``): along a velocity, a decaying sum of gradients
- ``gradient_updates_momentum``: along the average gradient of the calls before
- ``nesterov_momentum``: along the velocity that the next call will have
"""

from updates.call import State, Tensor
from updates.declaration import also_public
from updates.kinds import Flag, Fraction, LearningRate, StateDtype
from updates.rule import rule
from updates.rules.velocity import with_momentum


@rule
def sgd(
    state: State,
    param: Tensor,
    grad: Tensor,
    learning_rate: LearningRate,
) -> Tensor:
    """Stochastic gradient descent.

    ``p' = p - lr*g``

    when : the baseline, and for smooth convex problems; 0.1

    `momentum` : the same with a velocity

    Robbins, Monro (1951), "A Stochastic Approximation Method", Annals of Mathematical
    Statistics 22.
    """
    return param - learning_rate * grad


@rule
def momentum(
    state: State,
    param: Tensor,
    grad: Tensor,
    learning_rate: LearningRate,
    momentum: Fraction = 0.9,
    rate_in_velocity: Flag = True,
    state_dtype: StateDtype | None = None,
) -> Tensor:
    """Gradient descent with momentum.

    - ``v' = mu*v - lr*g``
    - ``p' = p + v'``

    The velocity starts at zero. The parameter moves by the new velocity, whatever the order of the
    items: the new value is written into the formula. Steps grow up to ``1 / (1 - mu)`` times those
    of `sgd`; scale the learning rate by ``1 - mu`` to keep their size. `momentum_updates` is the
    same function.

    when : convolutional networks, with a falling rate; 0.01
    momentum : how much of the velocity is kept
    rate_in_velocity : whether the velocity adds up steps, or gradients that the present
        learning rate multiplies, as in PyTorch and optax: ``v' = mu*v + g; p' = p - lr*v'``.
        The two differ only while the learning rate changes
    state : velocity

    `nesterov_momentum` : the step looks one call ahead
    `gradient_updates_momentum` : the form of the Theano tutorial
    `apply_momentum` : momentum for any dictionary of updates

    Polyak (1964), "Some methods of speeding up the convergence of iteration methods", USSR
    Computational Mathematics and Mathematical Physics 4(5); this scaling is Lasagne's.
    """
    if rate_in_velocity:
        return with_momentum(state, param, learning_rate * grad, momentum)
    velocity = state.zeros("velocity")
    return param - learning_rate * state.update(velocity, momentum * velocity + grad)


momentum_updates = also_public(momentum, "momentum_updates")


@rule
def gradient_updates_momentum(
    state: State,
    param: Tensor,
    grad: Tensor,
    learning_rate: LearningRate,
    momentum: Fraction,
) -> Tensor:
    """Gradient descent along the average gradient of the calls before.

    - ``p' = p - lr*v``
    - ``v' = mu*v + (1 - mu)*g``

    The step lags one call: the parameter moves by the old average, so the first call leaves it
    where it is, and the walk settles only while `learning_rate` times the curvature is below 1.

    when : to reproduce the Theano tutorial; 0.1
    momentum : how much of the velocity is kept
    state : velocity

    `momentum` : without the lag; ``momentum(lr*(1 - mu), mu)`` is this rule but for the lag

    Raffel (2014), "Theano Tutorial", github.com/craffel/theano-tutorial: the function of this name
    until September 2016. Since then the notebook has classical momentum, `momentum_updates`.
    """
    velocity = state.zeros("velocity")
    state.update(velocity, momentum * velocity + (1 - momentum) * grad)
    return param - learning_rate * velocity


@rule
def nesterov_momentum(
    state: State,
    param: Tensor,
    grad: Tensor,
    learning_rate: LearningRate,
    momentum: Fraction = 0.9,
    rate_in_velocity: Flag = True,
) -> Tensor:
    """Gradient descent with Nesterov's momentum.

    - ``v' = mu*v - lr*g``
    - ``p' = p + mu*v' - lr*g``

    The form in which the gradient is taken at the parameters themselves, which stand for the
    looked-ahead point of the classic form.

    when : convolutional networks, a little calmer than `momentum`; 0.01
    momentum : how much of the velocity is kept
    rate_in_velocity : whether the velocity adds up steps, or gradients that the present
        learning rate multiplies, as in PyTorch and optax: ``v' = mu*v + g; p' = p - lr*(mu*v' +
        g)``. The two differ only while the learning rate changes
    state : velocity

    `momentum` : the step along the new velocity itself
    `apply_nesterov_momentum` : the same for any dictionary of updates

    Nesterov (1983), "A method for solving the convex programming problem with convergence rate
    O(1/k^2)", Doklady AN SSSR 269; Sutskever et al. (2013), "On the importance of initialization
    and momentum in deep learning", ICML; this form is Lasagne's.
    """
    if rate_in_velocity:
        return with_momentum(state, param, learning_rate * grad, momentum, nesterov=True)
    velocity = state.zeros("velocity")
    velocity_new = state.update(velocity, momentum * velocity + grad)
    return param - learning_rate * (momentum * velocity_new + grad)
