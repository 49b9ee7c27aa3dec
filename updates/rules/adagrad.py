"""Rules that divide each step by what past gradients, all or the last ones, add up to.

- ``adagrad``: by the root of the sum of all squared gradients
- ``adagrad_window``: by the root of the sum of the last few
- ``adadelta``: by a decaying average, and in units of the steps themselves
"""

import pytensor.tensor as pt

from updates.arguments import LossOrGrads, Params
from updates.call import Updates, rule, rule_call
from updates.hyperparameters import Hyperparameter


@rule
def adagrad(
    loss_or_grads: LossOrGrads | None = None,
    params: Params | None = None,
    learning_rate: Hyperparameter = 1.0,
    epsilon: Hyperparameter = 1e-6,
    initial_accumulator: float = 0.0,
    epsilon_outside: Hyperparameter = 0.0,
) -> Updates:
    """AdaGrad: steps shrink by the root of the sum of all squared gradients.

    - ``a' = a + g^2``
    - ``p' = p - lr*g / (sqrt(a' + eps) + eps_outside)``

    Parameters
    ----------
    loss_or_grads : symbolic scalar, or list of symbolic tensors
        A loss to differentiate, or one gradient a parameter. Without it and `params` the call
        is deferred.
    params : shared variable, or list of shared variables
        Floating-point parameters of any shapes and dtypes. ``W[index]`` stands for rows of a
        table ``W``; its other rows and their state rest.
    learning_rate : float, symbolic scalar, shared variable or schedule, optional
        Factor of the step, finite and >= 0.
    epsilon : float, symbolic scalar, shared variable or schedule, optional
        Keeps the division away from zero, finite and >= 0.
    initial_accumulator : float, optional
        Where the sum starts, finite and >= 0.
    epsilon_outside : float, symbolic scalar, shared variable or schedule, optional
        The same outside the root, finite and >= 0.

    Returns
    -------
    OrderedDict
        Shared variable to next value: sum_of_squares and parameter.
        A `Deferred` when the call is deferred.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of the wrong kind, or loss, gradients and parameters do
        not fit; the message names it.

    See Also
    --------
    adagrad_window : forgets gradients after a number of calls.
    rmsprop : forgets them gradually.

    References
    ----------
    Duchi, Hazan, Singer (2011), "Adaptive Subgradient Methods for Online Learning and
    Stochastic Optimization", JMLR 12; epsilon under the root as in Lasagne. PyTorch's and blocks'
    rule is ``epsilon=0, epsilon_outside=1e-10``, optax's ``epsilon=1e-7, initial_accumulator=0.1``.

    Examples
    --------
    >>> import pytensor
    >>> from updates import adagrad
    >>> w = pytensor.shared(1.0, name="w")
    >>> step = pytensor.function([], updates=adagrad(w**2, [w], learning_rate=0.1))
    >>> _ = step()
    >>> round(float(w.get_value()), 6)
    0.9
    """
    call = rule_call(adagrad, loss_or_grads, params, learning_rate, epsilon, epsilon_outside)
    for param, grad, (learning_rate, epsilon, epsilon_outside) in call:
        sum_of_squares = call.full_like(param, "sum_of_squares", initial_accumulator)
        sum_of_squares_new = sum_of_squares + grad**2
        size = pt.sqrt(sum_of_squares_new + epsilon) + epsilon_outside
        call[sum_of_squares] = sum_of_squares_new
        call[param] = param - learning_rate * grad / size
    return call.updates


@rule
def adagrad_window(
    loss_or_grads: LossOrGrads | None = None,
    params: Params | None = None,
    learning_rate: Hyperparameter = 0.001,
    epsilon: Hyperparameter = 0.1,
    n_win: int = 10,
) -> Updates:
    """AdaGrad over a window: the sum holds the last `n_win` squared gradients only.

    - ``window'[..., t mod n_win] = g^2``
    - ``p' = p - lr*g / sqrt(sum(window', -1) + eps)``

    The state is `n_win` times as large as the parameter.

    Parameters
    ----------
    loss_or_grads : symbolic scalar, or list of symbolic tensors
        A loss to differentiate, or one gradient a parameter. Without it and `params` the call
        is deferred.
    params : shared variable, or list of shared variables
        Floating-point parameters of any shapes and dtypes. ``W[index]`` stands for rows of a
        table ``W``; its other rows and their state rest.
    learning_rate : float, symbolic scalar, shared variable or schedule, optional
        Factor of the step, finite and >= 0.
    epsilon : float, symbolic scalar, shared variable or schedule, optional
        Keeps the division away from zero, finite and >= 0.
    n_win : int, optional
        Number of last gradients that count, > 0; an integer, since it shapes the state.

    Returns
    -------
    OrderedDict
        Shared variable to next value: squares, parameter and step.
        A `Deferred` when the call is deferred.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of the wrong kind, or loss, gradients and parameters do
        not fit; the message names it.

    See Also
    --------
    adagrad : sums all squared gradients.

    References
    ----------
    PyMC's rule of this name (2017), its default for variational inference; derived from
    `adagrad`.

    Examples
    --------
    >>> import pytensor
    >>> from updates import adagrad_window
    >>> w = pytensor.shared(1.0, name="w")
    >>> step = pytensor.function([], updates=adagrad_window(w**2, [w], learning_rate=0.1))
    >>> _ = step()
    >>> round(float(w.get_value()), 6)
    0.901227
    """
    call = rule_call(adagrad_window, loss_or_grads, params, learning_rate, epsilon)
    for param, grad, (learning_rate, epsilon) in call:
        squares = call.zeros_like(param, "squares", extra_axes=(n_win,))
        squares_new = pt.set_subtensor(squares[..., call.step % n_win], grad**2)
        call[squares] = squares_new
        call[param] = param - learning_rate * grad / pt.sqrt(squares_new.sum(axis=-1) + epsilon)
    return call.updates


@rule
def adadelta(
    loss_or_grads: LossOrGrads | None = None,
    params: Params | None = None,
    learning_rate: Hyperparameter = 1.0,
    rho: Hyperparameter = 0.95,
    epsilon: Hyperparameter = 1e-6,
) -> Updates:
    """AdaDelta: the step has the size of past steps, scaled by the gradient.

    - ``a' = rho*a + (1 - rho)*g^2``
    - ``d = g * sqrt(s + eps) / sqrt(a' + eps)``
    - ``s' = rho*s + (1 - rho)*d^2``
    - ``p' = p - lr*d``

    Parameters
    ----------
    loss_or_grads : symbolic scalar, or list of symbolic tensors
        A loss to differentiate, or one gradient a parameter. Without it and `params` the call
        is deferred.
    params : shared variable, or list of shared variables
        Floating-point parameters of any shapes and dtypes. ``W[index]`` stands for rows of a
        table ``W``; its other rows and their state rest.
    learning_rate : float, symbolic scalar, shared variable or schedule, optional
        Factor of the step, finite and >= 0. The paper has none, so 1 is its rule.
    rho : float, symbolic scalar, shared variable or schedule, optional
        Decay of the moving averages, in [0, 1).
    epsilon : float, symbolic scalar, shared variable or schedule, optional
        Keeps the division away from zero, finite and >= 0. Sets the size of the
        first steps too.

    Returns
    -------
    OrderedDict
        Shared variable to next value: mean_square, mean_square_step and parameter.
        A `Deferred` when the call is deferred.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of the wrong kind, or loss, gradients and parameters do
        not fit; the message names it.

    See Also
    --------
    rmsprop : the same denominator with a plain learning rate.

    References
    ----------
    Zeiler (2012), "ADADELTA: An Adaptive Learning Rate Method", arXiv:1212.5701; the learning
    rate is Lasagne's addition.

    Examples
    --------
    >>> import pytensor
    >>> from updates import adadelta
    >>> w = pytensor.shared(1.0, name="w")
    >>> step = pytensor.function([], updates=adadelta(w**2, [w]))
    >>> _ = step()
    >>> round(float(w.get_value()), 6)
    0.995528
    """
    call = rule_call(adadelta, loss_or_grads, params, learning_rate, rho, epsilon)
    for param, grad, (learning_rate, rho, epsilon) in call:
        mean_square = call.zeros_like(param, "mean_square")
        mean_square_step = call.zeros_like(param, "mean_square_step")
        mean_square_new = rho * mean_square + (1 - rho) * grad**2
        step = grad * pt.sqrt(mean_square_step + epsilon) / pt.sqrt(mean_square_new + epsilon)
        call[mean_square] = mean_square_new
        call[mean_square_step] = rho * mean_square_step + (1 - rho) * step**2
        call[param] = param - learning_rate * step
    return call.updates
