"""Recognition: where in the graph of a next value the formula ends and the model begins.

- ``gradients_in``: the variables that are gradients, and of which parameters

The library knows the gradients that it computed, and which a rule was given, see
`updates.provenance`. Others are recognized: `pytensor.grad` starts from a ``1`` in the shape of the
loss, so losses can be found, differentiated once more and compared. What was given as a gradient
and contains known ones is a formula of these.
"""

from collections.abc import Collection, Iterable
from contextlib import suppress
from typing import Any

import pytensor
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.traversal import graph_inputs, walk, walk_toposort

from updates import provenance
from updates.arguments import is_float_tensor
from updates.differentiation import NO_GRADIENT, loss_above
from updates.given_numbers import is_number
from updates.provenance import Provenance
from updates.state import is_state


def gradients_in(
    next_values: Iterable[Variable], loss: Variable | None = None
) -> dict[Variable, Provenance]:
    """Find the gradients that next values are made of, each with the parameters that it is of."""
    roots = list(next_values)
    found: dict[Variable, Provenance] = {}
    new = roots
    while new:  # points at which gradients are taken have formulas, too
        marked = [v for v in _formula(new, found) if _is_computed(v) and v not in found]
        records = {variable: provenance.of(variable) for variable in marked}
        found |= records
        new = [v for r in records.values() for v in r.at if v not in r.gradient_of]
        roots = roots + new
    formula = _formula(roots, found)
    found |= _recognized(formula, [] if loss is None else [loss])
    given = _given(formula)
    for gradient, params in given.items():
        below = _formula([gradient], found)[1:]
        if gradient not in found and not any(v in found or v in given for v in below):
            found[gradient] = Provenance(gradient_of=params)
    return found


def _is_computed(variable: Variable) -> bool:
    """Tell a gradient that the library computed from a copy of it at other values."""
    return bool(provenance.of(variable).gradient_of) and provenance.is_unchanged(variable)


def _formula(roots: Iterable[Variable], ends: Collection[Variable]) -> list[Variable]:
    """Return the variables above the gradients that are known, and these."""

    def above(variable: Variable) -> list[Variable]:
        return [] if variable in ends or _is_computed(variable) else inputs_of(variable)

    return list(walk(roots, above, bfs=False))


def inputs_of(variable: Any) -> list[Variable]:
    """Return what a variable is computed from."""
    return [] if variable.owner is None else variable.owner.inputs


def _given(formula: Iterable[Variable]) -> dict[Variable, tuple[Any, ...]]:
    """Find the expressions that rules were given as gradients."""
    given: dict[Variable, tuple[Any, ...]] = {}
    for variable in formula:
        gradient = provenance.given_gradient(variable)
        params = provenance.of(variable).gradient_params
        if gradient is None or not params or not provenance.is_unchanged(variable):
            continue
        if gradient.owner is not None and not provenance.of(gradient).gradient_of:
            given[gradient] = tuple(dict.fromkeys([*given.get(gradient, ()), *params]))
    return given


def _recognized(formula: list[Variable], losses: list[Variable]) -> dict[Variable, Provenance]:
    """Recognize gradients that nobody marked by computing them again."""
    losses = [*losses, *(found for v in formula if (found := loss_above(v)) is not None)]
    again: list[tuple[Any, Any]] = []
    for loss in dict.fromkeys(losses):
        shared = [v for v in graph_inputs([loss]) if isinstance(v, SharedVariable)]
        params = [v for v in shared if is_float_tensor(v) and not (is_state(v) or is_number(v))]
        options: Any = {"disconnected_inputs": "ignore", "return_disconnected": "none"}
        with suppress(*NO_GRADIENT):
            grads: Any = pytensor.grad(loss, params, **options)
            again += zip(params, grads, strict=True)
    again = [(p, g) for p, g in again if g is not None and g.owner is not None]
    numbers = _numbers([*formula, *(g for _, g in again)] if again else [])
    params_of: dict[int, list[Any]] = {}
    for param, gradient in again:
        params_of.setdefault(numbers[gradient], []).append(param)
    return {
        variable: Provenance(gradient_of=tuple(dict.fromkeys(params_of[numbers[variable]])))
        for variable in formula
        if numbers.get(variable) in params_of
    }


def _numbers(variables: list[Variable]) -> dict[Variable, int]:
    """Give variables numbers that are equal where their structure is."""
    numbers: dict[Variable, int] = {}
    known: dict[Any, int] = {}
    for variable in walk_toposort(variables, inputs_of):
        node: Any = variable.owner
        key: Any = variable
        if node is not None:
            key = (node.op, node.outputs.index(variable), *map(numbers.get, node.inputs))
        elif isinstance(variable, Constant):
            key = (variable.type, variable.signature())
        numbers[variable] = known.setdefault(key, len(known))
    return numbers
