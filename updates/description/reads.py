"""Reads: the old values that each next value is computed from.

- ``reads_of``: for each variable of a dictionary, what its next value reads, and how
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pytensor.graph.basic import Constant, Variable
from pytensor.graph.traversal import walk

from updates import provenance
from updates.description.bare import sources_of
from updates.description.recognition import gradients_in
from updates.given_numbers import is_number


@dataclass(frozen=True)
class Reads:
    """What one next value reads: directly, through a gradient, to tell whether all is finite."""

    directly: frozenset[Any]
    by_gradient: frozenset[Any]
    by_finite: frozenset[Any]

    def by_kind(self) -> dict[str, frozenset[Any]]:
        """Return them by the kind of line in the picture."""
        return {"itself": self.directly, "gradient": self.by_gradient, "finite": self.by_finite}


def reads_of(items: Mapping[Any, Variable]) -> dict[Any, Reads]:
    """Find what each next value reads: shared variables and inputs, and nothing else.

    A next value that contains another's next value reads what that reads: all are computed
    from old values before any is stored.
    """
    gradients = gradients_in(items.values())

    def kind(variable: Any) -> str:
        if variable in gradients:
            return "gradient"
        return "finite" if provenance.of(variable).symbol == "finite" else ""

    def above(variable: Any) -> list[Variable]:
        return [] if kind(variable) else _below(variable)

    @functools.cache
    def leaves_below(variable: Variable) -> frozenset[Any]:
        return frozenset(filter(_is_leaf, walk([variable], _below, bfs=False)))

    found = {}
    for variable, value in items.items():
        formula = list(walk([value], above, bfs=False))
        found[variable] = Reads(
            frozenset(v for v in formula if _is_leaf(v) and not kind(v)),
            *(
                frozenset().union(*(leaves_below(v) for v in formula if kind(v) == which))
                for which in ("gradient", "finite")
            ),
        )
    return found


def _below(variable: Any) -> list[Variable]:
    return [] if variable.owner is None else sources_of(variable)


def _is_leaf(variable: Any) -> bool:
    is_known = isinstance(variable, Constant) or is_number(variable)
    return variable.owner is None and not is_known
