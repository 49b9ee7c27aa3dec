"""Variables: those of a dictionary with their roles, names and formulas.

- ``Described``: one variable
- ``described``: all variables of a dictionary, parameters first
- ``grouped``: variables of which the same is said, but for their parameter
- ``abbreviated``: many names in little space
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from pytensor.graph.basic import Variable

from updates import provenance
from updates.arguments import checked_loss, is_float_tensor
from updates.call import checked_updates
from updates.description.formula import Formulas
from updates.description.operations import Leaf, Tree
from updates.description.recognition import gradients_in
from updates.description.writing import Names, Writer
from updates.differentiation import NO_GRADIENT
from updates.keys import shown_names
from updates.loss_graph import default_updates, params_of
from updates.state import is_state

ROLES = ("parameter", "state", "time", "other")


@dataclass(frozen=True)
class Described:
    """One variable of a dictionary of updates.

    ``formula`` is written with the variable's own name, ``template`` with ``p`` for the parameter
    that the variable is or belongs to: equal templates say the same of different parameters.
    """

    variable: Any
    name: str
    role: str
    param: str | None
    shape: tuple[int, ...] | None
    dtype: str
    bytes: int
    own: Any = field(repr=False)
    sides: tuple[Tree, Tree] = field(repr=False)
    names: Names = field(repr=False)

    @cached_property
    def formula(self) -> str:
        """The formula, with the variable's own name."""
        return self.text(template=False)

    @cached_property
    def template(self) -> str:
        """The formula with ``p`` for the parameter that the variable is or belongs to."""
        return self.text(template=True)

    def text(self, template: bool, cut: bool = True) -> str:
        """Write the formula as text, all of it or as much as is readable."""
        text, *definitions = self._writer(template).formula(*self.sides, self.variable, cut)
        return text + (f", with {'; '.join(definitions)}" if definitions else "")

    def latex(self, template: bool) -> list[str]:
        """Write the formula, and each definition that it needs, as mathematics."""
        return self._writer(template, latex=True).formula(*self.sides, self.variable)

    def _writer(self, template: bool, latex: bool = False) -> Writer:
        own_name = "p" if template else self.names.params.get(self.own, "")
        return Writer(self.names, self.own, own_name, latex)


def described(
    updates: Any, loss: Variable | None
) -> tuple[list[Described], dict[Any, Variable], list[Any] | None]:
    """Describe each variable of a dictionary, and of what a function adds to it by itself.

    Returns the rows, all items, and the parameters of the loss: with a loss, nothing but these is
    a parameter.
    """
    items = dict(checked_updates(updates))
    items |= default_updates(items.values(), without=items)
    if loss is not None:
        loss = checked_loss(loss, "parameters are what it depends on")
    try:
        params = None if loss is None else params_of(loss)
    except NO_GRADIENT as error:
        raise ValueError(f"PyTensor cannot differentiate this loss: {error}") from error
    keys = shown_names(list(items))
    roles = {variable: _role(variable, params) for variable in items}
    gradients = gradients_in(items.values(), loss)
    formulas = Formulas(items, _leaves(keys, roles), gradients, loss)
    own = {v: v if roles[v] == "parameter" else provenance.of(v).param for v in items}
    params_named = {
        p: keys.get(p) or p.name or "a nameless parameter" for p in own.values() if p is not None
    }
    names = Names(params_named, formulas.leaves.values())
    rows = [
        Described(
            variable,
            keys[variable],
            roles[variable],
            params_named.get(own[variable]),
            *_facts(variable),
            own[variable],
            formulas.of(variable),
            names,
        )
        for variable in items
    ]
    return sorted(rows, key=lambda row: ROLES.index(row.role)), items, params


def grouped(rows: Sequence[Described]) -> list[list[Described]]:
    """Put variables together that differ in their parameter only."""
    groups: dict[Any, list[Described]] = {}
    for row in rows:
        is_own = row.param is None
        key = (row.role, row.dtype, row.template, row.name if is_own else "")
        groups.setdefault(key, []).append(row)
    return list(groups.values())


def abbreviated(names: Sequence[str], width: int) -> str:
    """Write as many of several names as fit, and how many there are."""
    if len(names) == 1:
        return names[0]
    for shown in range(len(names), 0, -1):
        text = ", ".join(names[:shown])
        text += "" if shown == len(names) else f", ... ({len(names)})"
        if len(text) <= width or shown == 1:
            break
    return text


def _role(variable: Any, params_of_loss: Iterable[Any] | None) -> str:
    if is_state(variable):
        is_counter = str(variable.name).endswith("/step") and variable.type.dtype == "int64"
        return "time" if is_counter else "state"
    if params_of_loss is None:
        return "parameter" if is_float_tensor(variable) else "other"
    return "parameter" if variable in set(params_of_loss) else "other"


def _leaves(keys: dict[Any, str], roles: dict[Any, str]) -> dict[Variable, Leaf]:
    """Name everything that a dictionary changes: state by its slot, as briefly as is clear."""
    leaves: dict[Variable, Leaf] = {}
    for variable, key in keys.items():
        own = variable if roles[variable] == "parameter" else provenance.of(variable).param
        parts = str(key if own is None else variable.name).split("/")
        brief, clear = (parts[-1], ".".join(parts[-2:])) if is_state(variable) else (key, key)
        leaves[variable] = Leaf(variable, brief, clear, () if own is None else (own,))
    return leaves


def _facts(variable: Any) -> tuple[tuple[int, ...] | None, str, int]:
    """Return shape, dtype and size in bytes of the present value."""
    value = variable.get_value(borrow=True)
    if isinstance(value, np.random.Generator):
        return None, "generator", 0
    shape = getattr(value, "shape", None)
    dtype = getattr(variable.type, "dtype", type(value).__name__)
    return (None if shape is None else tuple(map(int, shape))), dtype, getattr(value, "nbytes", 0)
