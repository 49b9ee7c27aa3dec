"""What a graph depends on: parameters to train, inputs to feed, variables that advance.

- ``params_of(loss)``: the floating-point shared variables that it has a gradient for
- ``inputs_of(variables)``: the inputs that a function of these variables needs
- ``default_updates(variables)``: what such a function advances by itself
- ``trained(updates)``: the variables whose next values have a gradient of a loss of theirs
- ``draws(variable)``: whether it needs random draws
- ``by_age(variables)``: variables in the order in which they were made

The first two come in the order in which the variables were made.
"""

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from typing import Any

from pytensor.compile.sharedvalue import SharedVariable
from pytensor.gradient import grad
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.traversal import ancestors, graph_inputs
from pytensor.tensor.random.type import RandomType

from updates.arguments import is_float_tensor
from updates.differentiation import NO_GRADIENT, loss_above
from updates.given_numbers import is_number
from updates.private import age_of
from updates.state import is_state


def params_of(loss: Variable, without: Collection[Variable] = ()) -> list[Any]:
    """Find the shared variables that a loss can be minimized over.

    Left out are state of the library and numbers that were given, what a function advances by
    itself, and `without`: variables that something else changes. Raises one of `NO_GRADIENT` if
    there is none.
    """
    roots: list[Any] = by_age(graph_inputs([loss]))
    found = [
        variable
        for variable in roots
        if isinstance(variable, SharedVariable)
        and variable.default_update is None
        and is_float_tensor(variable)
        and not is_state(variable)
        and not is_number(variable)
        and variable not in without
    ]
    grads: Any = grad(loss, found, disconnected_inputs="ignore", return_disconnected="none")
    return [param for param, gradient in zip(found, grads, strict=True) if gradient is not None]


def inputs_of(variables: Iterable[Variable]) -> list[Variable]:
    """Find the inputs that a function which returns these variables needs."""
    return [
        variable
        for variable in by_age(graph_inputs(list(variables)))
        if not isinstance(variable, SharedVariable | Constant)
    ]


def default_updates(
    variables: Iterable[Variable], without: Collection[Variable]
) -> dict[Any, Variable]:
    """Find what a function of these variables advances by itself, random generators above all.

    Their next values may need more of it. Left out is what `without` already has.
    """
    found: dict[Any, Variable] = {}
    graph = list(variables)
    while graph:
        new = {
            variable: variable.default_update
            for variable in graph_inputs(graph)
            if isinstance(variable, SharedVariable)
            and variable.default_update is not None
            and variable not in without
            and variable not in found
        }
        found |= new
        graph = list(new.values())
    return found


def trained(updates: Mapping[Any, Variable]) -> list[Any]:
    """Return the variables whose next values contain a gradient of a loss that depends on them.

    The gradients are those that `pytensor.grad` made, in a dictionary of the user.
    """
    params: dict[Variable, list[Any]] = {}
    found = []
    for variable, value in updates.items():
        losses = {loss_above(inner) for inner in ancestors([value])} - {None}
        for loss in losses - params.keys():
            params[loss] = []
            with suppress(*NO_GRADIENT):
                params[loss] = params_of(loss)
        if any(variable in params[loss] for loss in losses):
            found.append(variable)
    return found


def draws(variable: Variable) -> bool:
    """Tell whether a variable needs random draws, in inner graphs as well."""
    return any(isinstance(leaf.type, RandomType) for leaf in graph_inputs([variable]))


def by_age(variables: Iterable[Variable]) -> list[Variable]:
    """Sort variables by the number that PyTensor gives each when it is made."""
    return sorted(dict.fromkeys(variables), key=age_of)
