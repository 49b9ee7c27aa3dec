"""State: how the variables that a rule keeps between calls are made, named and found.

- ``zeros_like(param, name)``: state of a parameter's dtype and shape, starting at zero
- ``full_like``, ``copy_of``: the same, starting at a number or at the parameter's value
- ``average_of``: a copy that will hold an average of the parameter, and says so
- ``array(value, name)``: state of any other shape or dtype
- ``step_counter(name)``: a counter of calls
- ``generator(name, seed)``: a random generator
- ``is_state(variable)``: tell a rule's state from a parameter

A state variable is an ordinary shared variable whose name reads
``<param name>/<rule>/<slot>`` (``<rule>/step`` for a counter) and whose ``tag`` says that it
is state, of which parameter (``updates_param``), and of which it holds an average
(``updates_average_of``).
"""

import numpy as np
import pytensor
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Variable
from pytensor.tensor.sharedvar import TensorSharedVariable


def zeros_like(
    param: TensorSharedVariable, name: str, extra_axes: tuple[int, ...] = ()
) -> TensorSharedVariable:
    """Make a state variable of zeros with the dtype and the static shape of a parameter.

    Parameters
    ----------
    param : shared variable
        The parameter that the state belongs to.
    name : str
        The full name of the state variable.
    extra_axes : tuple of int, optional
        Lengths of axes to add after those of the parameter.
    """
    value = param.get_value(borrow=True)
    return _state(
        np.zeros((*value.shape, *extra_axes), dtype=param.type.dtype),
        name,
        static_shape=(*param.type.shape, *extra_axes),
    )


def full_like(param: TensorSharedVariable, name: str, value: float) -> TensorSharedVariable:
    """Make a state variable like `zeros_like` that starts at one number."""
    full = np.full(param.get_value(borrow=True).shape, value, dtype=param.type.dtype)
    return _state(full, name, static_shape=param.type.shape)


def copy_of(param: TensorSharedVariable, name: str) -> TensorSharedVariable:
    """Make a state variable that starts at the value that a parameter has now."""
    return _state(np.array(param.get_value(borrow=True)), name, static_shape=param.type.shape)


def average_of(param: TensorSharedVariable, name: str) -> TensorSharedVariable:
    """Make a state variable like `copy_of`, tagged as the average of a parameter over calls."""
    average = copy_of(param, name)
    average.tag.updates_average_of = param
    return average


def array(value: np.ndarray, name: str) -> TensorSharedVariable:
    """Make a state variable that starts at a value of its own, which fixes its shape."""
    return _state(value, name, static_shape=value.shape)


def generator(name: str, seed: int) -> SharedVariable:
    """Make a state variable that holds a NumPy random generator."""
    variable = pytensor.shared(np.random.default_rng(seed), name=name, borrow=True)
    variable.tag.updates_state = True
    return variable


def step_counter(name: str) -> TensorSharedVariable:
    """Make an int64 state variable that counts the calls of the compiled function."""
    return array(np.zeros((), dtype="int64"), name)


def is_state(variable: Variable) -> bool:
    """Tell whether a rule or an update transform made this variable to keep its state.

    Examples
    --------
    >>> import pytensor, updates
    >>> w = pytensor.shared(1.0, name="w")
    >>> for variable in updates.momentum(w**2, [w], learning_rate=0.1):
    ...     print(variable, updates.is_state(variable))
    w/momentum/velocity True
    w False
    """
    return getattr(variable.tag, "updates_state", False)


def _state(
    value: np.ndarray, name: str, static_shape: tuple[int | None, ...]
) -> TensorSharedVariable:
    variable = pytensor.shared(value, name=name, shape=static_shape, borrow=True)
    variable.tag.updates_state = True
    return variable
