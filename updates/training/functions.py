"""What training compiles, a step and an evaluation, and the checks of what they are made of.

- ``Problem``: a loss, what to minimize it over, what to feed, what to watch
- ``Functions``: a problem and a rule, as compiled functions and the variables that they change
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytensor
import pytensor.tensor as pt
from pytensor.compile.mode import Mode, get_mode
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Constant, Variable
from pytensor.tensor.sharedvar import TensorSharedVariable
from pytensor.tensor.type import TensorType
from pytensor.tensor.variable import TensorVariable

from updates.arguments import checked_grads, checked_loss, is_float_tensor, kind_of
from updates.call import Updates, checked_updates
from updates.loss_graph import default_updates, inputs_of, params_of
from updates.norms import joint_norm
from updates.rows import table_of
from updates.state import copy_of
from updates.training.batches import Input
from updates.transforms.conditions import is_guarded

OWN_NAMES = ("epoch", "step", "loss")


class Problem:
    """A loss, its parameters with a gradient each, inputs, monitors, and updates besides a rule's.

    Parameters
    ----------
    owner : str
        Who is called, for messages.
    loss, params, inputs, updates, monitors
        What the user gave, see `minimize`.
    """

    def __init__(
        self, owner: str, loss: Any, params: Any, inputs: Any, updates: Any, monitors: Any
    ) -> None:
        self.loss: Any = checked_loss(loss, "training shows its value")
        self.updates: Updates = OrderedDict()
        if updates is not None and not (isinstance(updates, Mapping | list) and not updates):
            self.updates = checked_updates(updates)
        self.monitors = _checked_monitors(owner, monitors)
        if params is None:
            params = params_of(self.loss, without=self.updates)
            if not params:
                raise ValueError(
                    f"{owner}: the loss depends on no floating-point shared variable, there is "
                    "nothing to train; make the parameters with pytensor.shared"
                )
        self.params, self.grads = checked_grads(self.loss, params)
        needed = inputs_of([self.loss, *self.monitors.values(), *self.updates.values()])
        self.inputs = [
            Input(variable)
            for variable in (needed if inputs is None else _checked_inputs(owner, inputs, needed))
        ]

    @property
    def wholes(self) -> list[TensorSharedVariable]:
        """The parameters, and tables in the place of their rows."""
        tables = map(table_of, self.params)
        return [p if table is None else table for p, table in zip(self.params, tables, strict=True)]


class Functions:
    """The compiled functions of a training run, and what they change.

    ``step`` returns the values of the monitors called ``names``, the loss first, and at the end an
    array with the sum of each gradient, by which one that is not finite is found. ``evaluate``
    returns the first of these values and changes nothing.

    Parameters
    ----------
    owner : str
        Who is called, for messages.
    problem : Problem
    rule, monitor_gradients, monitor_updates, mode
        What the user gave, see `minimize`.
    """

    def __init__(
        self,
        owner: str,
        problem: Problem,
        rule: Callable[..., Any],
        monitor_gradients: bool,
        monitor_updates: bool,
        mode: Any,
    ) -> None:
        own = checked_updates(rule(problem.loss, problem.params))
        for variable in problem.updates:
            if variable in own:
                raise ValueError(
                    f"{owner}: {variable} gets a next value from rule and another from updates; "
                    "leave it out of params or of updates"
                )
        self.updates: Any = OrderedDict({**problem.updates, **own})
        self.is_guarded = is_guarded(own)
        inputs = [each.variable for each in problem.inputs]
        for needed in inputs_of(self.updates.values()):
            if needed not in inputs:
                raise ValueError(
                    f"{owner}: the updates of rule need the input {needed!r}, for which there is "
                    "no data; use a shared variable or a schedule"
                )

        wholes = problem.wholes
        self.param_names = [p.name or f"params[{index}]" for index, p in enumerate(wholes)]
        outputs = {"loss": problem.loss, **problem.monitors}
        evaluated = list(outputs.values())
        if monitor_gradients:
            outputs |= self._norms("grad", problem.grads)
        if monitor_updates:
            outputs |= self._norms("update", [own.get(p, p) - p for p in wholes])
        self.names = list(outputs)
        sums = pt.stack([pt.sum(gradient, dtype="float64") for gradient in problem.grads])
        returned = [*outputs.values(), sums]

        model = dict.fromkeys([*wholes, *filter(is_float_tensor, problem.updates)])
        self._best = {
            variable: copy_of(variable, f"{variable.name or f'variable_{index}'}/best")
            for index, variable in enumerate(model)
        }
        advanced: Any = default_updates([*returned, *self.updates.values()], without=self.updates)
        kept_best = {best: best for best in self._best.values()}
        self.kept = OrderedDict({**self.updates, **advanced, **kept_best})

        self.step = pytensor.function(
            inputs, returned, updates=self.updates, mode=mode, on_unused_input="ignore"
        )
        self.evaluate = pytensor.function(
            inputs, evaluated, mode=mode, no_default_updates=True, on_unused_input="ignore"
        )

    def keep_best(self) -> None:
        """Make the values that the model has now the best."""
        for variable, best in self._best.items():
            best.set_value(variable.get_value(borrow=True))

    def restore_best(self) -> None:
        """Give the model its best values."""
        for variable, best in self._best.items():
            variable.set_value(best.get_value(borrow=True))

    def _norms(self, kind: str, tensors: Iterable[Any]) -> dict[str, TensorVariable]:
        names = [f"{kind}({name})" for name in self.param_names]
        return {name: joint_norm([x]) for name, x in zip(names, tensors, strict=True)}


def check_mode(owner: str, mode: Any) -> None:
    """Refuse a mode that PyTensor does not know."""
    try:
        known = isinstance(get_mode(mode), Mode)
    except Exception:  # whatever PyTensor raises for such a name
        known = False
    if not known:
        raise ValueError(
            f"{owner}: mode must be one that pytensor.function knows, such as 'FAST_COMPILE', "
            f"'NUMBA' or 'JAX', got {mode!r}"
        )


def _checked_monitors(owner: str, monitors: Any) -> dict[str, TensorVariable]:
    if monitors is None:
        return {}
    pairs = list(monitors.items()) if isinstance(monitors, Mapping) else monitors
    if not isinstance(pairs, list | tuple) or not all(
        isinstance(pair, tuple) and len(pair) == 2 for pair in pairs
    ):
        raise TypeError(
            f"{owner}: monitors must be a dictionary of name to symbolic scalar, got {monitors!r} "
            f"of type {type(monitors).__name__}"
        )
    checked: dict[str, TensorVariable] = {}
    for name, expression in pairs:
        if not isinstance(name, str):
            raise TypeError(
                f"{owner}: the names of monitors must be strings, got {name!r} of type "
                f"{type(name).__name__}"
            )
        if name in OWN_NAMES or name in checked:
            raise ValueError(f"{owner}: monitors may not be called {name!r}, which is taken")
        is_tensor = isinstance(expression, Variable) and isinstance(expression.type, TensorType)
        if not is_tensor or expression.type.ndim != 0:
            raise TypeError(
                f"{owner}: monitors[{name!r}] must be a symbolic scalar, such as error.mean(), got "
                f"{expression!r} of type {kind_of(expression)}"
            )
        checked[name] = expression
    return checked


def _checked_inputs(owner: str, inputs: Any, needed: list[Variable]) -> list[Variable]:
    if isinstance(inputs, Variable):
        inputs = [inputs]
    if not isinstance(inputs, list | tuple):
        raise TypeError(
            f"{owner}: inputs must be a list of symbolic inputs, got {inputs!r} of type "
            f"{type(inputs).__name__}"
        )
    for index, variable in enumerate(inputs):
        if (
            not isinstance(variable, Variable)
            or variable.owner is not None
            or isinstance(variable, SharedVariable | Constant)
        ):
            raise TypeError(
                f"{owner}: inputs[{index}] must be a symbolic input, such as pt.matrix('x'), got "
                f"{variable!r} of type {kind_of(variable)}"
            )
        if variable in inputs[:index]:
            raise ValueError(f"{owner}: inputs has {variable!r} twice")
    for variable in needed:
        if variable not in inputs:
            raise ValueError(
                f"{owner}: inputs lacks {variable!r}, which loss, monitors or updates need"
            )
    return list(inputs)
