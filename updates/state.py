"""State: how the variables that a rule keeps between calls are made, named and found.

- ``zeros_like(param, name)``: state of a parameter's dtype and shape, starting at zero
- ``full_like``, ``copy_of``: the same, starting at a number or at the parameter's value
- ``average_of``: a copy that will hold an average of the parameter, and says so
- ``filled(name, dtype, shape, start)``: state of any other shape or dtype
- ``step_counter(name)``: a counter of calls
- ``generator(name, seed)``: a random generator
- ``in_use``: averages that are in the place of their parameters now, see `use_averages`
- ``is_state(variable)``: tell a rule's state from a parameter
- ``start_of(state)``: the value that state starts from

A state variable is an ordinary shared variable whose name reads
``<param name>/<rule>/<slot>`` (``<rule>/step`` for a counter) and whose record in
`updates.provenance` says that it is state, what it starts from (a number, a seed, or the parameter
to copy), to which parameter it belongs, and of which it holds an average.
"""

from typing import Any

import numpy as np
import pytensor
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Variable
from pytensor.tensor.sharedvar import TensorSharedVariable

from updates import provenance
from updates.declaration import public
from updates.named_dimensions import shared_like

in_use: set[Variable] = set()


def zeros_like(
    param: TensorSharedVariable, name: str, extra_axes: tuple[int, ...] = (), dtype: str = ""
) -> TensorSharedVariable:
    """Make a state variable of zeros with the static shape, and the dtype, of a parameter.

    Parameters
    ----------
    param : shared variable
        The parameter that the state belongs to.
    name : str
        The full name of the state variable.
    extra_axes : tuple of int, optional
        Lengths of axes to add after those of the parameter.
    dtype : str, optional
        Another dtype.
    """
    shape = (*param.get_value(borrow=True).shape, *extra_axes)
    zeros = np.zeros(shape, dtype=dtype or param.type.dtype)
    return _state(zeros, name, 0, (*param.type.shape, *extra_axes), like=param)


def full_like(param: TensorSharedVariable, name: str, value: float) -> TensorSharedVariable:
    """Make a state variable like `zeros_like` that starts at one number."""
    full = np.full(param.get_value(borrow=True).shape, value, dtype=param.type.dtype)
    return _state(full, name, value, param.type.shape, like=param)


def copy_of(param: TensorSharedVariable, name: str) -> TensorSharedVariable:
    """Make a state variable that starts at the value that a parameter has now."""
    copy = np.array(param.get_value(borrow=True))
    return _state(copy, name, param, param.type.shape, like=param)


def average_of(param: TensorSharedVariable, name: str) -> TensorSharedVariable:
    """Make a state variable like `copy_of`, marked as the average of a parameter over calls."""
    return provenance.mark(copy_of(param, name), average_of=param)


def filled(
    name: str, dtype: str, shape: tuple[int, ...] = (), start: float = 0
) -> TensorSharedVariable:
    """Make a state variable of any dtype and shape that starts at one number."""
    return _state(np.full(shape, start, dtype=dtype), name, start, shape)


def generator(name: str, seed: int) -> SharedVariable:
    """Make a state variable that holds a NumPy random generator."""
    variable = pytensor.shared(np.random.default_rng(seed), name=name, borrow=True)
    return provenance.mark(variable, is_state=True, start=seed)


def step_counter(name: str) -> TensorSharedVariable:
    """Make an int64 state variable that counts the calls of the compiled function."""
    return filled(name, "int64")


@public
def is_state(variable: Variable) -> bool:
    """Tell whether a rule or an update transform made this variable to keep its state.

    Parameters
    ----------
    variable : any symbolic or shared variable

    Returns
    -------
    bool
        False for parameters and for what users made themselves.

    Examples
    --------
    >>> import pytensor, updates
    >>> w = pytensor.shared(1.0, name="w")
    >>> for variable in updates.momentum(w**2, [w], learning_rate=0.1):
    ...     print(variable, updates.is_state(variable))
    w/momentum/velocity True
    w False
    """
    return provenance.of(variable).is_state


def start_of(state: SharedVariable) -> Any:
    """Return the value that a state variable starts from, anew."""
    start, value = provenance.of(state).start, state.get_value(borrow=True)
    if isinstance(start, SharedVariable):  # a copy of this parameter
        return np.array(start.get_value(borrow=True))
    if isinstance(value, np.random.Generator):
        return np.random.default_rng(start)
    return np.full(np.shape(value), start, dtype=state.type.dtype)


def _state(
    value: np.ndarray,
    name: str,
    start: Any,
    static_shape: tuple[int | None, ...],
    like: Any = None,
) -> Any:
    variable = shared_like(like, value, name, static_shape)
    return provenance.mark(variable, is_state=True, start=start)
