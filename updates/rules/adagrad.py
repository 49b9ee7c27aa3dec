"""Rules that divide each step by what past gradients, all or the last ones, add up to.

- ``adagrad``: by the root of the sum of all squared gradients
- ``adagrad_window``: by the root of the sum of the last few
- ``adadelta``: by a decaying average, and in units of the steps themselves
"""

import pytensor.tensor as pt

from updates.call import State, Tensor
from updates.kinds import Count, Epsilon, Fraction, LearningRate, NonNegativeNumber
from updates.rule import rule


@rule
def adagrad(
    state: State,
    param: Tensor,
    grad: Tensor,
    learning_rate: LearningRate = 1.0,
    epsilon: Epsilon = 1e-6,
    initial_accumulator: NonNegativeNumber = 0.0,
    epsilon_outside: Epsilon = 0.0,
) -> Tensor:
    """AdaGrad: steps shrink by the root of the sum of all squared gradients.

    - ``a' = a + g^2``
    - ``p' = p - lr*g / (sqrt(a' + eps) + eps_outside)``

    when : sparse features, rows of tables, convex problems; 0.1
    initial_accumulator : where the sum starts
    epsilon_outside : the same outside the root
    state : sum_of_squares

    `adagrad_window` : forgets gradients after a number of calls
    `rmsprop` : forgets them gradually

    Duchi, Hazan, Singer (2011), "Adaptive Subgradient Methods for Online Learning and
    Stochastic Optimization", JMLR 12; epsilon under the root as in Lasagne. PyTorch's and blocks'
    rule is ``epsilon=0, epsilon_outside=1e-10``, optax's ``epsilon=1e-7, initial_accumulator=0.1``.
    """
    sum_of_squares = state.full("sum_of_squares", initial_accumulator)
    sum_of_squares = state.update(sum_of_squares, sum_of_squares + grad**2)
    size = pt.sqrt(sum_of_squares + epsilon) + epsilon_outside
    return param - learning_rate * grad / size


@rule
def adagrad_window(
    state: State,
    param: Tensor,
    grad: Tensor,
    learning_rate: LearningRate = 0.001,
    epsilon: Epsilon = 0.1,
    n_win: Count = 10,
) -> Tensor:
    """AdaGrad over a window: the sum holds the last `n_win` squared gradients only.

    - ``window'[..., t mod n_win] = g^2``
    - ``p' = p - lr*g / sqrt(sum(window', -1) + eps)``

    The state is `n_win` times as large as the parameter.

    when : PyMC's variational inference; 0.01
    n_win : number of last gradients that count; an integer, since it shapes the state
    state : squares, step

    `adagrad` : sums all squared gradients

    PyMC's rule of this name (2017), its default for variational inference; derived from
    `adagrad`.
    """
    squares = state.zeros("squares", extra_axes=(n_win,))
    oldest = squares[..., state.step % n_win]
    squares = state.update(squares, pt.set_subtensor(oldest, grad**2))
    return param - learning_rate * grad / pt.sqrt(squares.sum(axis=-1) + epsilon)


@rule
def adadelta(
    state: State,
    param: Tensor,
    grad: Tensor,
    learning_rate: LearningRate = 1.0,
    rho: Fraction = 0.95,
    epsilon: Epsilon = 1e-6,
) -> Tensor:
    """AdaDelta: the step has the size of past steps, scaled by the gradient.

    - ``a' = rho*a + (1 - rho)*g^2``
    - ``d = g * sqrt(s + eps) / sqrt(a' + eps)``
    - ``s' = rho*s + (1 - rho)*d^2``
    - ``p' = p - lr*d``

    when : nothing is known of any scale; 1.0
    learning_rate : factor of the step. The paper has none, so 1 is its rule
    rho : decay of the moving averages
    epsilon : keeps the division away from zero. Sets the size of the first steps too
    state : mean_square, mean_square_step

    `rmsprop` : the same denominator with a plain learning rate

    Zeiler (2012), "ADADELTA: An Adaptive Learning Rate Method", arXiv:1212.5701; the learning
    rate is Lasagne's addition.
    """
    mean_square = state.average("mean_square", grad**2, rho)
    mean_square_step = state.zeros("mean_square_step")
    step = grad * pt.sqrt(mean_square_step + epsilon) / pt.sqrt(mean_square + epsilon)
    state.update(mean_square_step, rho * mean_square_step + (1 - rho) * step**2)
    return param - learning_rate * step
