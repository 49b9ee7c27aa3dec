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
from updates.description.bare import bare
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
    read = [v for v in graph if isinstance(v, SharedVariable) and v not in items]
    still = [variable for variable in read if is_state(variable)]
    orphans: dict[Any, list[Any]] = {}
    types: dict[tuple[str, str], list[Any]] = {}
    for variable, new in items.items():
        types.setdefault((_kind(variable), _kind(new)), []).append(variable)
        param = provenance.of(variable).param
        if param is not None and param not in items:
            orphans.setdefault(param, []).append(variable)
    same = [v for v, new in items.items() if not is_state(v) and bare(new) is v]
    known = {*items, *still, *orphans}
    for node in {variable.owner for variable in graph} - {None}:
        if hasattr(node.op, "idx_list"):  # data that is looked up
            known.add(node.inputs[0])
        elif isinstance(node.op, HasInnerGraph):  # perhaps: it happens inside of the loop
            known.update(node.inputs)
    left = [v for v in (read if params is None else params) if is_float_tensor(v)]
    left = [v for v in left if (v.type.ndim or params is not None) and v not in known]

    def called(variable: Any) -> str:
        return repr(names.get(variable) or variable.name or "a variable without a name")

    def said(variables: list[Any], sentence: str, **more: str) -> list[str]:
        """Say one thing of several variables."""
        quoted = [called(variable) for variable in variables]
        many = len(quoted) > 1
        words = {"them": ("it", "them"), "s": ("s", ""), "they_do": ("it does", "they do")}
        more |= {word: forms[many] for word, forms in words.items()}
        return [sentence.format(abbreviated(quoted, 60), **more)] if quoted else []

    reads = "next values read" if params is None else "the loss depends on"
    found = said(left, f"{reads} {{}}, but nothing updates {{them}}: left out, or data?")
    found += said(still, "next values read the state {}, but nothing advances {them}")
    for param, states in orphans.items():
        sentence = "nothing updates {param}, but {} still advance{s}"
        found += said(states, sentence, param=called(param))
    found += said(same, "the next value of {} is the old one: {they_do} not change")
    for (old, kind), variables in types.items():
        sentence = f"the next value of {{}} has {kind}, not {old}: PyTensor will refuse it"
        found += said(variables if old != kind else [], sentence)
    return found


def _kind(variable: Any) -> str:
    """Name what a next value must share with its variable."""
    if not hasattr(variable.type, "ndim"):
        return type(variable.type).__name__
    return f"dtype {variable.type.dtype} and ndim {variable.type.ndim}"
