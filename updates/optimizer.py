"""Optimizers as other libraries know them: arrays by name, and steps that are added.

- ``Optimizer``: what pymc-extras asks of an optimizer, for everything that waits
- ``on_gradients``: apply a transform to gradients in any form
- ``updated``: steps as updates
"""

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import pytensor
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Variable

from updates.arguments import checked_grads
from updates.mappings import differences, gradients_of, holds_steps, kind_of_mapping, like


def updated(params: Sequence[Any], steps: Sequence[Any]) -> OrderedDict[Any, Any]:
    """Return the updates that add a step to each parameter."""
    return OrderedDict((p, p + step) for p, step in zip(params, steps, strict=True))


def on_gradients(transform: Callable[..., Any], stage: Any, params: list[Any]) -> Any:
    """Apply a transform of gradients to those of a loss, or in a list or mapping, or to steps."""
    if not isinstance(stage, Mapping):
        params, grads = checked_grads(stage, params)
        return transform(grads, params)
    are_steps = bool(kind_of_mapping(stage)) or holds_steps(stage)
    grads = differences(stage, params) if are_steps else gradients_of(stage, params)
    return like(stage, params, transform(grads, params))


class Optimizer(ABC):
    """What pymc-extras asks of an optimizer: ``init``, ``update`` and ``pytensor``.

    `pytensor` is what ``Trainer`` and ``fit_advi`` compile; `init` and `update` do the same with
    arrays, as in optax.
    """

    @abstractmethod
    def applied(self, stage: Any, params: list[Any]) -> Any:
        """Apply it to gradients or to updates, whichever it works on."""

    def pytensor(
        self, grads: Sequence[Variable], shared_params: Sequence[SharedVariable]
    ) -> tuple[list[Variable], OrderedDict[Any, Variable]]:
        """Return what to add to each parameter, and the next values of the state.

        Parameters
        ----------
        grads : list of symbolic tensors
            One gradient for each parameter, or, for a transform of updates, one step.
        shared_params : list of shared variables
            The parameters.

        Returns
        -------
        steps : list of symbolic tensors
            ``next value - value`` of each parameter; of a transform of gradients, new gradients.
        state : OrderedDict
            Shared variable to next value. No two have the same name. A random generator is not
            among them: its function advances it by itself.
        """
        from updates.keys import shown_names
        from updates.state import is_state

        grads, params = list(grads), list(shared_params)
        new = self.applied(grads, params)
        if isinstance(new, list):
            return new, OrderedDict()
        if not isinstance(new, Mapping) or any(param not in new for param in params):
            raise TypeError(
                f"{self!r} must return a dictionary with the next value of each parameter, got "
                f"{new!r}"
            )
        state = OrderedDict((v, value) for v, value in new.items() if v not in set(params))
        for variable, name in shown_names(list(state)).items():
            if is_state(variable):
                variable.name = name
        for generator in [v for v in state if isinstance(v.get_value(), np.random.Generator)]:
            generator.default_update = state.pop(generator)
        return differences(new, params), state

    def init(self, params: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Return the state before the first step: arrays by name.

        Parameters
        ----------
        params : dict of str to array
            The parameters.
        """
        _, _, _, state = _symbolic(self, params)
        return {variable.name: variable.get_value() for variable in state}

    def update(
        self,
        updates: Mapping[str, Any],
        state: Mapping[str, Any],
        params: Mapping[str, Any] | None = None,
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Return what to add to each parameter, and the next state.

        Parameters
        ----------
        updates : dict of str to array
            The gradients.
        state : dict of str to array
            What `init` or the last call returned.
        params : dict of str to array
            The parameters, by the same names as the gradients.
        """
        if params is None:
            raise TypeError(
                "params is needed: what is added to a parameter is computed from its value; give "
                "the parameters as a dictionary of arrays"
            )
        values = {name: np.asarray(params[name]) for name in updates}
        key = tuple((name, value.dtype.str, value.shape) for name, value in values.items())
        compiled = _compiled.setdefault(self, {})
        if key not in compiled:
            compiled[key] = _ArrayStep(self, values)
        return compiled[key](updates, state, values)


def _symbolic(optimizer: Optimizer, values: Mapping[str, Any]) -> tuple[Any, Any, Any, Any]:
    """Return the parameters by name, their gradients, the steps and the state of an optimizer."""
    params = {name: pytensor.shared(np.asarray(v), name=name) for name, v in values.items()}
    grads = [variable.type() for variable in params.values()]
    return params, grads, *optimizer.pytensor(grads, list(params.values()))


class _ArrayStep:
    """One step of an optimizer as a function of arrays."""

    def __init__(self, optimizer: Optimizer, values: Mapping[str, np.ndarray]) -> None:
        self.params, grads, steps, state = _symbolic(optimizer, values)
        self.state = {variable.name: variable for variable in state}
        self.function: Callable[..., Any] = pytensor.function(grads, steps, updates=state)

    def __call__(self, grads: Mapping[str, Any], state: Mapping[str, Any], values: Any) -> Any:
        if state.keys() != self.state.keys():
            raise ValueError(f"state must be of {list(self.state)}, got {list(state)}; use init")
        for name, variable in self.params.items():
            variable.set_value(values[name])
        for name, variable in self.state.items():
            variable.set_value(np.asarray(state[name], variable.type.dtype))
        given = [np.asarray(grads[name], v.type.dtype) for name, v in self.params.items()]
        steps = self.function(*given)
        return (
            dict(zip(self.params, steps, strict=True)),
            {name: variable.get_value() for name, variable in self.state.items()},
        )


_compiled: WeakKeyDictionary[Optimizer, dict[Any, _ArrayStep]] = WeakKeyDictionary()
