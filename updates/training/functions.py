"""What training compiles: a step and an evaluation.

- ``Functions``: a problem and a rule, as compiled functions and the variables that they change
- ``check_mode``: refuse a mode that PyTensor does not know
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.compile.mode import Mode, get_mode
from pytensor.tensor.variable import TensorVariable

from updates.arguments import is_float_tensor
from updates.call import Updates, checked_updates
from updates.declaration import unnamed
from updates.loss_graph import default_updates, inputs_of
from updates.named_dimensions import without_names
from updates.norms import joint_norm
from updates.precision import wide
from updates.state import copy_of
from updates.training.problem import Problem
from updates.transforms.conditions import is_guarded


class Functions:
    """The compiled functions of a training run, and what they change.

    ``step`` returns the values of the monitors called ``names``, the loss first, and then an array
    with the sum of each gradient, which shows the gradient that is not finite. ``evaluate`` returns
    the loss and the user's monitors, and changes nothing.

    Parameters
    ----------
    problem : Problem
    rule, monitor_gradients, monitor_updates, mode
        What the user gave, see `minimize`.
    """

    def __init__(
        self,
        problem: Problem,
        rule: Callable[..., Any],
        monitor_gradients: bool,
        monitor_updates: bool,
        mode: Any,
    ) -> None:
        with unnamed():
            rule_updates = rule(*problem.given)
        rule_updates = checked_updates(rule_updates)
        for variable in problem.updates:
            if variable in rule_updates:
                raise ValueError(
                    f"{variable} gets a next value from rule and another from updates; "
                    "leave it out of params or of updates"
                )
        self.updates: Any = OrderedDict({**problem.updates, **rule_updates})
        self.is_guarded = is_guarded(rule_updates)
        inputs = [each.variable for each in problem.inputs]
        for needed in inputs_of(self.updates.values()):
            if needed not in inputs:
                raise ValueError(
                    f"the updates of rule need the input {needed!r}, for which there is "
                    "no data; use a shared variable or a schedule"
                )

        trained = problem.trained_variables
        self.param_names = _distinct_names(trained)
        outputs = {"loss": problem.loss, **problem.monitors}
        evaluated = list(outputs.values())
        norms: dict[str, Any] = {}
        if monitor_gradients:
            norms |= self._norms("grad", problem.grads)
        if monitor_updates:
            norms |= self._norms("update", [_step(rule_updates, p) for p in trained])
        for name in norms:
            if name in outputs:
                raise ValueError(
                    f"monitors has {name!r}, which is the name of a norm that is recorded as well; "
                    "give yours another name"
                )
        outputs |= norms
        self.names = list(outputs)
        dtype = wide(*(gradient.type.dtype for gradient in problem.grads))
        sums = pt.stack([pt.sum(gradient, dtype=dtype) for gradient in problem.grads])
        returned = [*outputs.values(), sums]

        model = dict.fromkeys([*trained, *filter(is_float_tensor, problem.updates)])
        self._best = {
            variable: copy_of(variable, f"{variable.name or f'variable_{index}'}/best")
            for index, variable in enumerate(model)
        }
        advanced: Any = default_updates([*returned, *self.updates.values()], without=self.updates)
        kept_best = {best: best for best in self._best.values()}
        self.kept = OrderedDict({**self.updates, **advanced, **kept_best})

        compiled = partial(pytensor.function, inputs, mode=mode, on_unused_input="ignore")
        with unnamed():
            self.step = compiled(returned, updates=self.updates)
            resting = {variable: variable for variable in default_updates(evaluated, without=())}
            self.evaluate = compiled(evaluated, updates=resting)

    def keep_best(self) -> None:
        """Remember the present values of the model as the best."""
        for variable, best in self._best.items():
            best.set_value(variable.get_value(borrow=True))

    def restore_best(self) -> None:
        """Give the model its best values back."""
        for variable, best in self._best.items():
            variable.set_value(best.get_value(borrow=True))

    def is_finite(self) -> bool:
        """Tell whether the model is free of NaN and infinities."""
        return all(np.isfinite(variable.get_value(borrow=True)).all() for variable in self._best)

    def _norms(self, kind: str, tensors: Iterable[Any]) -> dict[str, TensorVariable]:
        names = [f"{kind}({name})" for name in self.param_names]
        return {name: joint_norm([x]) for name, x in zip(names, tensors, strict=True)}


def _step(updates: Updates, param: Any) -> Any:
    """Return by how much a parameter is changed."""
    return without_names(updates.get(param, param)) - without_names(param)


def _distinct_names(params: list[Any]) -> list[str]:
    """Name each parameter, and those without a name of their own by their place, too."""
    names = [param.name for param in params]
    return [
        f"params[{index}]" if not name else name if names.count(name) == 1 else f"{name}, {place}"
        for index, name in enumerate(names)
        for place in [f"params[{index}]"]
    ]


def check_mode(mode: Any) -> None:
    """Refuse a mode that PyTensor does not know."""
    try:
        known = isinstance(get_mode(mode), Mode)
    except Exception:  # whatever PyTensor raises for such a name
        known = False
    if not known:
        raise ValueError(
            "mode must be one that pytensor.function knows, such as 'FAST_COMPILE', "
            f"'NUMBA' or 'JAX', got {mode!r}"
        )
