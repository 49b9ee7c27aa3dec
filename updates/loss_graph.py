"""What a loss depends on: the parameters to train and the inputs to feed, found in its graph.

- ``params_of(loss)``: the floating-point shared variables that it has a gradient for
- ``inputs_of(variables)``: the inputs that a function of these variables needs

Both come in the order in which the variables were made.
"""

from collections.abc import Collection, Iterable
from typing import Any

from pytensor.compile.sharedvalue import SharedVariable
from pytensor.gradient import grad
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.traversal import graph_inputs

from updates.arguments import is_float_tensor
from updates.state import is_state


def params_of(loss: Variable, without: Collection[Variable] = ()) -> list[Any]:
    """Find the shared variables that a loss can be minimized over.

    Left out are state of the library, what a function advances by itself, and `without`:
    variables that something else changes. Raises one of `NO_GRADIENT` if there is none.
    """
    roots: list[Any] = _by_age(graph_inputs([loss]))
    found = [
        variable
        for variable in roots
        if isinstance(variable, SharedVariable)
        and variable.default_update is None
        and is_float_tensor(variable)
        and not is_state(variable)
        and variable not in without
    ]
    grads: Any = grad(loss, found, disconnected_inputs="ignore", return_disconnected="none")
    return [param for param, gradient in zip(found, grads, strict=True) if gradient is not None]


def inputs_of(variables: Iterable[Variable]) -> list[Variable]:
    """Find the inputs that a function which returns these variables needs."""
    return [
        variable
        for variable in _by_age(graph_inputs(list(variables)))
        if not isinstance(variable, SharedVariable | Constant)
    ]


def _by_age(variables: Iterable[Variable]) -> list[Variable]:
    """Sort variables by the number that PyTensor gives each when it is made."""
    return sorted(set(variables), key=lambda variable: int(variable.auto_name.rpartition("_")[2]))
