"""What is computed in some calls of a function only.

- ``ifelse``: PyTensor's lazy condition, which has moved: of two branches, compute the one that is
  taken. Under numba before PyTensor 3.3, both are computed
- ``used_only_if``: note that what is made of some tensors matters only if a condition holds
- ``condition_on``: the condition that is noted for what is made of some tensors
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import pytensor.tensor as pt
from pytensor.graph.basic import Variable
from pytensor.graph.traversal import ancestors

try:
    from pytensor.conditional.op import ifelse
except ImportError:  # before PyTensor 3.3
    from pytensor.ifelse import ifelse  # type: ignore[no-redef]  # noqa: F401

_NOTED: ContextVar[tuple[tuple[Variable, Sequence[Variable]], ...]] = ContextVar(
    "conditions", default=()
)


@contextmanager
def used_only_if(condition: Variable, tensors: Sequence[Variable]) -> Iterator[None]:
    """Note that what is made of these tensors meanwhile is used only if a condition holds.

    It is computed in any case, but may leave out what takes long: a reduction over processes
    returns what it is given.
    """
    token = _NOTED.set((*_NOTED.get(), (condition, tensors)))
    try:
        yield
    finally:
        _NOTED.reset(token)


def condition_on(tensors: Sequence[Any]) -> Any:
    """Return the condition under which what is made of these tensors is used, None if always."""
    noted = _NOTED.get()
    sources = set(ancestors(tensors)) if noted else set()
    conditions = [condition for condition, made in noted if not sources.isdisjoint(made)]
    return pt.all(conditions) if len(conditions) > 1 else next(iter(conditions), None)
