"""Reads: the old values that each next value is computed from.

- ``reads_of``: for each variable of a dictionary, what its next value reads, and how
- ``is_given``: whether that is an input of the compiled function
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.traversal import walk

from updates import provenance
from updates.description.formula import sources_of
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

    def joins_finite(variable: Any) -> bool:
        return provenance.of(variable).symbol == "finite"

    def above(variable: Any) -> list[Variable]:
        is_end = variable in gradients or joins_finite(variable)
        return [] if is_end else below(variable)

    @functools.cache
    def leaves_below(variable: Variable) -> frozenset[Any]:
        return frozenset(filter(_is_leaf, walk([variable], below, bfs=False)))

    found = {}
    for variable, value in items.items():
        formula = list(walk([value], above, bfs=False))
        through = [v for v in formula if v in gradients]
        finite = [v for v in formula if joins_finite(v) and v not in gradients]
        found[variable] = Reads(
            frozenset(v for v in formula if _is_leaf(v) and v not in gradients),
            frozenset().union(*map(leaves_below, through)),
            frozenset().union(*map(leaves_below, finite)),
        )
    return found


def below(variable: Any) -> list[Variable]:
    """Return what a variable is computed from."""
    return [] if variable.owner is None else sources_of(variable)


def is_given(leaf: Any) -> bool:
    """Tell an input, which the caller of a compiled function gives, from a shared variable."""
    return not isinstance(leaf, SharedVariable)


def _is_leaf(variable: Any) -> bool:
    return variable.owner is None and not isinstance(variable, Constant)
