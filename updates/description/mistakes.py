"""Mistakes: what in a dictionary of updates usually is none of what was meant.

- ``mistakes``: a sentence for each
"""

from collections.abc import Iterable, Mapping
from typing import Any

from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Variable
from pytensor.graph.op import HasInnerGraph
from pytensor.graph.traversal import ancestors

from updates import provenance
from updates.arguments import is_float_tensor
from updates.description.formula import bare
from updates.description.variables import abbreviated
from updates.state import is_state


def mistakes(
    items: Mapping[Any, Variable], names: Mapping[Any, str], params: Iterable[Any] | None
) -> list[str]:
    """Find what usually is a mistake.

    Parameters
    ----------
    items : dict
        Shared variable to next value, with what a function advances by itself.
    names : dict
        What these variables are called.
    params : list of shared variables, or None
        The parameters of the loss, if it is known.
    """
    graph = dict.fromkeys(ancestors(list(items.values())))
    read = [
        variable
        for variable in graph
        if isinstance(variable, SharedVariable) and variable not in items
    ]
    still = [variable for variable in read if is_state(variable)]
    orphans: dict[Any, list[Any]] = {}
    for variable in items:
        param = provenance.of(variable).param
        if param is not None and param not in items:
            orphans.setdefault(param, []).append(variable)
    same = [v for v, new in items.items() if not is_state(v) and bare(new) is v]
    found: list[str] = []
    looked_up = {
        node.inputs[0]
        for node in dict.fromkeys(variable.owner for variable in graph)
        if node is not None and hasattr(node.op, "idx_list")
    }
    for variable in graph:
        if variable.owner is not None and isinstance(variable.owner.op, HasInnerGraph):
            looked_up.update(variable.owner.inputs)  # perhaps: it happens inside of the loop
    left = [
        variable
        for variable in (read if params is None else params)
        if is_float_tensor(variable)
        and (variable.type.ndim or params is not None)
        and variable not in {*items, *still, *orphans, *looked_up}
    ]
    reads = "next values read" if params is None else "the loss depends on"
    found += _told(left, f"{reads} {{}}, but nothing updates {{them}}: left out, or data?", names)
    found += _told(still, "next values read the state {}, but nothing advances {them}", names)
    for param, states in orphans.items():
        whose = f"nothing updates {_quoted(param, names)}, but {{}} still advance{{s}}"
        found += _told(states, whose, names)
    found += _told(same, "the next value of {} is the old one: {it_does} not change", names)
    types: dict[tuple[str, str], list[Any]] = {}
    for variable, new in items.items():
        types.setdefault((_kind(variable), _kind(new)), []).append(variable)
    for (old_kind, new_kind), variables in types.items():
        if old_kind != new_kind:
            but = f"the next value of {{}} has {new_kind}, not {old_kind}: PyTensor will refuse it"
            found += _told(variables, but, names)
    return found


def _kind(variable: Any) -> str:
    """Name what a next value must share with its variable."""
    if not hasattr(variable.type, "ndim"):
        return type(variable.type).__name__
    return f"dtype {variable.type.dtype} and ndim {variable.type.ndim}"


def _told(variables: list[Any], sentence: str, names: Mapping[Any, str]) -> list[str]:
    """Say one thing of several variables."""
    if not variables:
        return []
    said = [_quoted(variable, names) for variable in variables]
    many = len(said) > 1
    return [
        sentence.format(
            abbreviated(said, 60),
            them="them" if many else "it",
            s="" if many else "s",
            it_does="they do" if many else "it does",
        )
    ]


def _quoted(variable: Any, names: Mapping[Any, str]) -> str:
    return repr(names.get(variable) or variable.name or "a variable without a name")
