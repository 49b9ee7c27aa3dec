"""What is to be trained: a loss, its parameters, inputs and monitors, all of them checked.

- ``Problem``: what the user gave to `minimize`, except for data and rule
"""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.traversal import ancestors, apply_ancestors
from pytensor.tensor.sharedvar import TensorSharedVariable
from pytensor.tensor.subtensor import AdvancedSubtensor, Subtensor
from pytensor.tensor.type import TensorType
from pytensor.tensor.variable import TensorVariable

from updates.arguments import checked_loss, checked_params, checked_training, kind_of
from updates.call import Updates, checked_updates
from updates.loss_graph import inputs_of, params_of
from updates.rows import whole
from updates.training.inputs import Input

TAKEN_NAMES = ("epoch", "step", "loss")  # what every record has


class Problem:
    """A loss, its parameters and their gradients, inputs, monitors, and updates besides the rule's.

    Parameters
    ----------
    loss, params, inputs, updates, monitors
        What the user gave, see `minimize`.
    """

    def __init__(self, loss: Any, params: Any, inputs: Any, updates: Any, monitors: Any) -> None:
        checked_loss(loss, "training shows its value")
        self.updates: Updates = OrderedDict()
        if updates is not None:
            self.updates = checked_updates(updates, may_be_empty=True)
        self.monitors = _checked_monitors(monitors)
        if params is None:
            params = _found_params(loss, self.updates)
        self.given = loss, checked_params(params, rows=True)
        self.params, self.grads, self.loss = checked_training(*self.given)
        needed = inputs_of([self.loss, *self.monitors.values(), *self.updates.values()])
        self.inputs = [
            Input(variable)
            for variable in (needed if inputs is None else _checked_inputs(inputs, needed))
        ]

    @property
    def trained_variables(self) -> list[TensorSharedVariable]:
        """The shared variables that are trained: parameters, and the tables that rows belong to."""
        return [whole(param) for param in self.params]


def _found_params(loss: Any, updates: Updates) -> list[Any]:
    """Find the parameters of a loss, if nothing speaks for data among its shared variables.

    Where no input has any, data are among the shared variables. So they may be where an input
    indexes a shared variable: a mini-batch of data looks like an embedding.
    """
    found = params_of(loss, without=updates)
    if not found:
        raise ValueError(
            "the loss depends on no floating-point shared variable, so there is "
            "nothing to train; make the parameters with pytensor.shared"
        )
    inputs = inputs_of([loss])
    has_data = any(
        getattr(v.type, "ndim", 0) > 0 and "float" in str(getattr(v.type, "dtype", ""))
        for v in inputs
    )
    looked_up = {
        node.inputs[0]
        for node in apply_ancestors([loss])
        if isinstance(node.op, Subtensor | AdvancedSubtensor)
        and not set(inputs).isdisjoint(ancestors(node.inputs[1:]))
    }
    unclear = [v for v in found if (v in looked_up if has_data else v.type.ndim)]
    if len(found) > 1 and unclear:
        names = ", ".join(str(variable) for variable in found)
        which = ", ".join(str(variable) for variable in unclear)
        reason = (
            f"{which} may be data that mini-batches are taken from"
            if has_data
            else "the data may be among them, as no input has any"
        )
        raise ValueError(
            f"params is needed here: the loss depends on the shared variables {names}, and "
            f"{reason}; give params, a list of those to train"
        )
    return found


def _checked_monitors(monitors: Any) -> dict[str, TensorVariable]:
    if monitors is None:
        return {}
    pairs = list(monitors.items()) if isinstance(monitors, Mapping) else monitors
    if not isinstance(pairs, list | tuple) or not all(
        isinstance(pair, tuple) and len(pair) == 2 for pair in pairs
    ):
        raise TypeError(
            f"monitors must be a dictionary of name to symbolic scalar, got {monitors!r} "
            f"of type {type(monitors).__name__}"
        )
    checked: dict[str, TensorVariable] = {}
    for name, expression in pairs:
        if not isinstance(name, str):
            raise TypeError(
                f"the names of monitors must be strings, got {name!r} of type {type(name).__name__}"
            )
        if name in TAKEN_NAMES or name in checked:
            raise ValueError(f"monitors may not be called {name!r}, which is taken")
        is_tensor = isinstance(expression, Variable) and isinstance(expression.type, TensorType)
        if not is_tensor or expression.type.ndim != 0:
            raise TypeError(
                f"monitors[{name!r}] must be a symbolic scalar, such as error.mean(), got "
                f"{expression!r} of type {kind_of(expression)}"
            )
        checked[name] = expression
    return checked


def _checked_inputs(inputs: Any, needed: list[Variable]) -> list[Variable]:
    if isinstance(inputs, Variable):
        inputs = [inputs]
    if not isinstance(inputs, list | tuple):
        raise TypeError(
            f"inputs must be a list of symbolic inputs, got {inputs!r} of type "
            f"{type(inputs).__name__}"
        )
    for index, variable in enumerate(inputs):
        if (
            not isinstance(variable, Variable)
            or variable.owner is not None
            or isinstance(variable, SharedVariable | Constant)
        ):
            raise TypeError(
                f"inputs[{index}] must be a symbolic input, such as pt.matrix('x'), got "
                f"{variable!r} of type {kind_of(variable)}"
            )
        if variable in inputs[:index]:
            raise ValueError(f"inputs has {variable!r} twice")
    for variable in needed:
        if variable not in inputs:
            raise ValueError(f"inputs lacks {variable!r}, which loss, monitors or updates need")
    return list(inputs)
