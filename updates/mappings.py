"""Gradients and steps in mappings, those of pytensor-ml included.

- ``kind_of_mapping``: whose mapping it is
- ``holds_steps``: whether it holds next values that a rule has computed
- ``gradients_of``: the gradient of each parameter
- ``differences``: by how much each parameter is changed
- ``beside``: what else such a mapping changes
- ``are_params``: whether an argument is a list of parameters
- ``like``: new gradients or steps in a mapping like the one that the old ones were in

pytensor-ml (0.3) hands over ``Gradients``, which map a parameter to its value plus the gradient,
and ``Steps``, which map it to its next value; both hold the next values of state as well. They are
known by the names of their classes, so that nothing is imported.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pytensor.tensor as pt
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Variable

from updates import provenance
from updates.rows import label

GRADIENTS, STEPS = "Gradients", "Steps"


def kind_of_mapping(mapping: Any) -> str:
    """Return ``Gradients`` or ``Steps`` for one of pytensor-ml's, and "" for any other mapping."""
    for base in type(mapping).__mro__:
        if base.__module__.partition(".")[0] == "pytensor_ml" and base.__name__ in (
            GRADIENTS,
            STEPS,
        ):
            return base.__name__
    return ""


def holds_steps(mapping: Any) -> bool:
    """Say whether a mapping holds what a rule has decided on, not gradients."""
    kind = kind_of_mapping(mapping)
    return kind == STEPS or (not kind and bool(provenance.stepped(mapping)))


def are_params(argument: Any) -> bool:
    """Say whether an argument is a list of parameters."""
    is_list = isinstance(argument, list | tuple) and bool(argument)
    return is_list and all(isinstance(item, SharedVariable) for item in argument)


def differences(mapping: Mapping[Any, Any], params: Iterable[Any]) -> list[Any]:
    """Return by how much each parameter is changed: a gradient of pytensor-ml's, or a step."""
    return [_difference(mapping[param], param) for param in params]


def _difference(value: Any, param: Any) -> Any:
    node = value.owner
    if node is not None and node.op == pt.add and len(node.inputs) == 2 and node.inputs[0] is param:
        return node.inputs[1]
    return value - param


def gradients_of(mapping: Mapping[Any, Any], params: Sequence[Any]) -> list[Any]:
    """Return the gradient of each parameter, or say for which there is none, or no parameter."""
    for key in mapping:
        if not isinstance(key, Variable):
            raise TypeError(
                f"loss_or_grads maps {key!r} of type {type(key).__name__} to a gradient; a mapping "
                "of gradients has the parameters themselves as keys"
            )
    if holds_steps(mapping):
        raise TypeError(
            "loss_or_grads holds next values that another rule has computed, not gradients; a "
            "chain has one rule, and what changes its steps comes after it"
        )
    for index, param in enumerate(params):
        if param not in mapping:
            raise ValueError(f"there is no gradient of {label(param, index)} in loss_or_grads")
    if kind_of_mapping(mapping) == GRADIENTS:
        return differences(mapping, params)
    unknown = [key for key in mapping if not any(key is param for param in params)]
    if unknown:
        raise ValueError(
            f"loss_or_grads has a gradient of {unknown[0]!r}, which is not among params; leave it "
            "out, or give the parameter as well"
        )
    return [mapping[param] for param in params]


def beside(mapping: Any, params: Iterable[Any]) -> OrderedDict[Any, Any]:
    """Return what pytensor-ml's gradients change beside parameters: clocks and state."""
    if kind_of_mapping(mapping) != GRADIENTS:
        return OrderedDict()
    known = set(params)
    return OrderedDict((v, value) for v, value in mapping.items() if v not in known)


def like(mapping: Any, params: Iterable[Any], new: Iterable[Any]) -> Any:
    """Return new gradients or steps as they were given: in a mapping of the same kind."""
    pairs = list(zip(params, new, strict=True))
    if kind_of_mapping(mapping) or holds_steps(mapping):
        changed = {param: param + difference for param, difference in pairs}
        return type(mapping)({**mapping, **changed})
    return OrderedDict(pairs)
