"""Gradients: where in the graph of a next value the formula ends and the model begins.

- ``gradients_in``: the variables that are gradients, and of which parameters

Gradients that the library made carry ``tag.updates_gradient_of``, those that it was given
``tag.updates_given_for``. Others are recognized: `pytensor.grad` starts from a ``1`` in the shape
of the loss, so losses can be found, differentiated once more and compared.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytensor
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.traversal import ancestors, graph_inputs, walk
from pytensor.scalar.basic import Second
from pytensor.tensor.elemwise import Elemwise

from updates.arguments import NO_GRADIENT, is_float_tensor
from updates.state import is_state


class Gradient:
    """What a variable is the gradient of.

    Parameters
    ----------
    params : tuple of shared variables
        The parameters; two that enter the loss in the same way have one gradient.
    kind : {"g", "Hu"}
        A gradient of the loss, or of a product with gradients, which is that of the Hessian.
    points : tuple of variables
        Where it is taken, for each of `params`, if not at the parameters.
    """

    def __init__(
        self, params: tuple[Any, ...], kind: str = "g", points: tuple[Any, ...] = ()
    ) -> None:
        self.params, self.kind, self.points = params, kind, points


def gradients_in(next_values: Iterable[Variable]) -> dict[Variable, Gradient]:
    """Find the gradients that next values are made of."""
    roots = list(next_values)
    found: dict[Variable, Gradient] = {}
    for variable in _formula(roots):
        params = _tagged(variable)
        if params is not None:
            gradient = found[variable] = Gradient(params, points=_points(variable, params))
            roots += gradient.points
    for variable in _formula(roots):  # those at which others are taken
        params = _tagged(variable)
        if params is not None and variable not in found:
            found[variable] = Gradient(params)
    found |= _recognized(roots, found)
    return found | _given(roots, found)


def _tagged(variable: Variable) -> tuple[Any, ...] | None:
    """Return the parameters that a variable was made as a gradient of."""
    tag = getattr(variable.tag, "updates_gradient_of", None)
    return None if tag is None else tag.params


def _formula(roots: list[Variable], ends: Any = ()) -> list[Variable]:
    """Return the variables above the gradients that are known."""

    def inputs(variable: Any) -> list[Variable]:
        if variable.owner is None or variable in ends or _tagged(variable) is not None:
            return []
        return variable.owner.inputs

    return list(walk(roots, inputs, bfs=False))


def _points(variable: Variable, params: tuple[Any, ...]) -> tuple[Any, ...]:
    """Find where a gradient is taken: a copy has other values in the place of parameters."""
    original = variable.tag.updates_gradient_of.gradient
    if original is variable or original is None:
        return ()
    points: dict[Variable, Variable] = {}
    seen, queue = set(), [(original, variable)]
    while queue and len(points) < len(params):
        pair = old, new = queue.pop()
        if pair in seen or old is new:
            continue
        seen.add(pair)
        if old in params:
            points[old] = new
        elif old.owner is not None and new.owner is not None:
            queue += zip(old.owner.inputs, new.owner.inputs, strict=False)
    return tuple(points.get(param, param) for param in params)


def _recognized(roots: list[Variable], found: dict[Variable, Gradient]) -> dict[Any, Gradient]:
    """Recognize gradients that nobody tagged by computing them again."""
    formula = _formula(roots, found)
    losses = list(dict.fromkeys(v.owner.inputs[0] for v in formula if _is_one_of_a_loss(v)))
    recognized: dict[Any, Gradient] = {}
    kinds = {}
    again: list[tuple[Variable, Any, Any]] = []
    for loss in losses:
        below = list(ancestors([loss]))
        kinds[loss] = "Hu" if any(v in found or _is_one_of_a_loss(v) for v in below) else "g"
        params = [v for v in graph_inputs([loss]) if _may_be_a_parameter(v)]
        try:
            grads: Any = pytensor.grad(
                loss, params, disconnected_inputs="ignore", return_disconnected="none"
            )
        except NO_GRADIENT:
            continue
        again += [(loss, p, g) for p, g in zip(params, grads, strict=True) if g is not None]
    if not again:
        return {}
    numbers = _numbers([*formula, *(gradient for _, _, gradient in again)])
    by_number: dict[int, list[Variable]] = {}
    for variable in formula:
        if variable.owner is not None:
            by_number.setdefault(numbers[variable], []).append(variable)
    for loss, param, gradient in again:
        for variable in by_number.get(numbers[gradient], []):
            before = recognized[variable].params if variable in recognized else ()
            if param not in before:
                recognized[variable] = Gradient((*before, param), kinds[loss])
    return recognized


def _may_be_a_parameter(variable: Any) -> bool:
    return isinstance(variable, SharedVariable) and (
        is_float_tensor(variable) and not is_state(variable)
    )


def _is_one_of_a_loss(variable: Variable) -> bool:
    """Tell the ``1`` that `pytensor.grad` starts from."""
    node: Any = variable.owner
    return (
        node is not None
        and isinstance(node.op, Elemwise)
        and isinstance(node.op.scalar_op, Second)
        and variable.type.ndim == 0
        and node.inputs[0].owner is not None
        and isinstance(node.inputs[1], Constant)
        and bool(np.all(node.inputs[1].data == 1))
    )


def _numbers(variables: list[Variable]) -> dict[Variable, int]:
    """Give variables numbers that are equal where their structure is."""
    numbers: dict[Variable, int] = {}
    known: dict[Any, int] = {}
    stack = list(variables)
    while stack:
        variable: Any = stack[-1]
        if variable in numbers:
            stack.pop()
            continue
        node = variable.owner
        missing = [] if node is None else [v for v in node.inputs if v not in numbers]
        if missing:
            stack += missing
            continue
        stack.pop()
        key: Any = variable
        if node is not None:
            inputs = tuple(numbers[v] for v in node.inputs)
            key = (node.op, node.outputs.index(variable), inputs)
        elif isinstance(variable, Constant):
            key = (variable.type, variable.signature())
        numbers[variable] = known.setdefault(key, len(known))
    return numbers


def _given(roots: list[Variable], found: dict[Variable, Gradient]) -> dict[Variable, Gradient]:
    """Take what a rule was given for gradients as such, unless it is made of known ones."""
    formula = _formula(roots, found)
    marked = [v for v in formula if hasattr(v.tag, "updates_given_for") and v not in found]
    if not marked:
        return {}
    known, numbers = set(found), {v: i for i, v in enumerate(formula)}
    contains: dict[Variable, bool] = {}
    stack: list[Any] = list(marked)
    while stack:
        variable = stack[-1]
        below = [] if variable.owner is None or variable in known else variable.owner.inputs
        missing = [v for v in below if v not in contains and v in numbers]
        if missing and variable not in contains:
            stack += missing
            continue
        stack.pop()
        here = hasattr(variable.tag, "updates_given_for") or variable in known
        contains[variable] = here or any(contains.get(v, False) for v in below)
    innermost = [v for v in marked if not any(contains.get(i, False) for i in v.owner.inputs)]
    return {v: Gradient(v.tag.updates_given_for) for v in innermost}
