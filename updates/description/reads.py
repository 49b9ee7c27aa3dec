"""Reads: the old values that each next value is computed from.

- ``reads_of``: for each variable of a dictionary, what its next value reads, and how
"""

import functools
import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.traversal import ancestors

from updates.description.formula import joins_finite, sources_of
from updates.description.gradients import gradients_in


@dataclass(frozen=True)
class Reads:
    """What one next value reads: directly, through a gradient, to tell whether all is finite."""

    directly: frozenset[Any]
    by_gradient: frozenset[Any]
    by_finite: frozenset[Any]


def reads_of(items: Mapping[Any, Variable]) -> dict[Any, Reads]:
    """Find what each next value reads: shared variables and inputs, and nothing else.

    A next value that contains another's next value reads what that reads: all are computed
    from old values before any is stored.
    """
    gradients = gradients_in(items.values())
    # Sets as the bits of integers: a graph has many variables and few leaves.
    leaves: list[Any] = []
    read: dict[Variable, tuple[int, int, int]] = {}
    anyhow: dict[Variable, int] = {}
    for variable in _inputs_first(list(items.values())):
        node: Any = variable.owner
        if node is None:
            bit = 0 if isinstance(variable, Constant) else 1 << len(leaves)
            leaves += [variable] * (bit > 0)
            anyhow[variable], read[variable] = bit, (bit, 0, 0)
            continue
        anyhow[variable] = _joined(anyhow[source] for source in sources_of(variable))
        if variable in gradients:
            read[variable] = (0, anyhow[variable], 0)
        elif joins_finite(variable):
            read[variable] = (0, 0, anyhow[variable])
        else:
            kinds = zip(*(read[source] for source in sources_of(variable)), strict=True)
            directly, by_gradient, by_finite = map(_joined, kinds)
            read[variable] = (directly, by_gradient, by_finite)

    def members(bits: int) -> frozenset[Any]:
        return frozenset(leaf for index, leaf in enumerate(leaves) if bits >> index & 1)

    return {variable: Reads(*map(members, read[value])) for variable, value in items.items()}


def _joined(bits: Iterable[int]) -> int:
    return functools.reduce(operator.or_, bits, 0)


def _inputs_first(roots: list[Variable]) -> list[Variable]:
    """Sort all variables of a graph so that each comes after what it is computed from."""
    remaining: dict[Variable, int] = {}
    users: dict[Variable, list[Variable]] = {}
    for variable in dict.fromkeys(ancestors(roots)):
        inputs = set(variable.owner.inputs) if variable.owner else set()
        remaining[variable] = len(inputs)
        for source in inputs:
            users.setdefault(source, []).append(variable)
    ready = [variable for variable, count in remaining.items() if count == 0]
    for variable in ready:
        for user in users.get(variable, []):
            remaining[user] -= 1
            if remaining[user] == 0:
                ready.append(user)
    return ready


def is_given(leaf: Any) -> bool:
    """Tell an input, which the caller of a compiled function gives, from a shared variable."""
    return not isinstance(leaf, SharedVariable)
