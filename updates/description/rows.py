"""Rows: the variables of a dictionary with their roles, names and formulas.

- ``Row``: one variable
- ``rows_of``: all variables of a dictionary, parameters first
- ``checked_params_of``: the parameters of a loss, if there is one
- ``grouped``: rows that say the same of different parameters, together
- ``abbreviated``: many names in little space
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pytensor.graph.basic import Variable

from updates.arguments import NO_GRADIENT, checked_loss, is_float_tensor
from updates.call import checked_updates
from updates.declaration import named
from updates.description.expression import Term, symbol, written
from updates.description.formula import Formulas, is_clock
from updates.description.gradients import gradients_in
from updates.loss_graph import default_updates, params_of
from updates.state import is_state
from updates.state_dict import keyed

ROLES = ("parameter", "state", "time", "other")


@dataclass(frozen=True)
class Row:
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
    formula: str
    template: str


def rows_of(
    owner: str, items: dict[Any, Variable], params_of_loss: Iterable[Any] | None = None
) -> list[Row]:
    """Describe each variable of a dictionary that `all_items` returned.

    With `params_of_loss`, nothing but these is a parameter.
    """
    keys = {variable: key for key, variable in keyed(owner, items).items()}
    roles = {variable: _role(variable, params_of_loss) for variable in items}
    names = _names_of_params(items, keys, roles)
    formulas = Formulas(items, _symbols(items, keys, roles), gradients_in(items.values()))
    rows = []
    for variable in items:
        own = variable if roles[variable] == "parameter" else _param_of(variable)
        shape, dtype, size = _facts(variable)
        formula, template = (
            " = ".join(
                written(side, own, name, names)
                for side in (formulas.of_new(variable), formulas.of(variable))
            )
            for name in (names.get(own, ""), "p")
        )
        row = Row(
            variable,
            keys[variable],
            roles[variable],
            names.get(own),
            shape,
            dtype,
            size,
            formula,
            template,
        )
        rows.append(row)
    return sorted(rows, key=lambda row: ROLES.index(row.role))


def all_items(owner: str, updates: Any) -> dict[Any, Variable]:
    """Return the items of a dictionary with those that a function adds by itself."""
    with named(owner):
        copy = checked_updates(updates)
    return {**copy, **default_updates(copy.values(), without=copy)}


def checked_params_of(owner: str, loss: Variable | None) -> list[Any] | None:
    """Find the parameters of a loss, or say why there are none."""
    if loss is None:
        return None
    with named(owner):
        checked_loss(loss, "parameters are what it depends on")
    try:
        return params_of(loss)
    except NO_GRADIENT as error:
        raise ValueError(f"{owner}: PyTensor cannot differentiate this loss: {error}") from error


def grouped(rows: Sequence[Row]) -> list[list[Row]]:
    """Put rows together that differ in their parameter only."""
    groups: dict[Any, list[Row]] = {}
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
        return "time" if is_clock(variable) else "state"
    if params_of_loss is None:
        return "parameter" if is_float_tensor(variable) else "other"
    return "parameter" if variable in set(params_of_loss) else "other"


def _param_of(variable: Any) -> Any:
    return getattr(variable.tag, "updates_param", None)


def _names_of_params(
    items: Mapping[Any, Variable], keys: dict[Any, str], roles: dict[Any, str]
) -> dict[Any, str]:
    """Name the parameters, and those that state is left of."""
    own = {variable: keys[variable] for variable in items if roles[variable] == "parameter"}
    others = (_param_of(variable) for variable in items)
    return {p: p.name or "a nameless parameter" for p in others if p is not None} | own


def _symbols(
    items: Mapping[Any, Variable], keys: dict[Any, str], roles: dict[Any, str]
) -> dict[Variable, Term]:
    """Name everything that a dictionary changes: state by its slot, as briefly as is clear."""
    names: dict[Any, tuple[str, str]] = {}
    for variable, key in keys.items():
        if roles[variable] == "parameter":
            continue
        own = _param_of(variable)
        parts = str(key if own is None else variable.name).split("/")
        brief, clear = parts[-1], ".".join(parts[-2:])
        names[variable] = (brief, clear) if is_state(variable) else (key, key)
    briefs = Counter((_param_of(variable), brief) for variable, (brief, _) in names.items())
    symbols: dict[Variable, Term] = {}
    for variable, (brief, clear) in names.items():
        own = _param_of(variable)
        name = brief if briefs[own, brief] == 1 else clear
        while (term := symbol(name, () if own is None else (own,))) in symbols.values():
            name += "*"
        symbols[variable] = term
    parameters = [variable for variable in items if roles[variable] == "parameter"]
    return symbols | {variable: symbol("p", (variable,)) for variable in parameters}


def _facts(variable: Any) -> tuple[tuple[int, ...] | None, str, int]:
    """Return shape, dtype and size in bytes of the present value."""
    value = variable.get_value(borrow=True)
    if isinstance(value, np.random.Generator):
        return None, "generator", 0
    shape = getattr(value, "shape", None)
    dtype = getattr(variable.type, "dtype", type(value).__name__)
    return (None if shape is None else tuple(map(int, shape))), dtype, getattr(value, "nbytes", 0)
