"""One list of arguments for two functions.

- ``with_arguments_of``: give a function the signature of another, and what its docstring lacks
"""

import functools
import inspect
import re
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from updates.declaration import declaration_of

P = ParamSpec("P")
T = TypeVar("T")

# The sections of a docstring in numpy's order.
_SECTIONS = ("Parameters", "Returns", "Raises", "See Also", "References", "Examples")


def with_arguments_of(model: Callable[P, Any]) -> Callable[[Callable[..., T]], Callable[P, T]]:
    """Give a function the arguments of another, with their defaults and their documentation.

    The function gets all of them by name. Its own docstring has the sections in which it differs.
    """
    signature = inspect.signature(inspect.unwrap(model), eval_str=True)

    def decorate(function: Callable[..., T]) -> Callable[P, T]:
        @functools.wraps(function)
        def bound(*args: P.args, **kwargs: P.kwargs) -> T:
            return function(**declaration_of(model).bind(args, kwargs))

        returned = inspect.signature(function).return_annotation
        attributes: dict[str, Any] = vars(bound)
        attributes["__signature__"] = signature.replace(return_annotation=returned)
        bound.__annotations__ = {**model.__annotations__, "return": returned}
        bound.__doc__ = _completed(function.__doc__, model.__doc__)
        return bound

    return decorate


def _completed(own: str | None, other: str | None) -> str | None:
    """Return a docstring with those sections of another that it lacks."""
    if own is None or other is None:  # python -OO
        return own
    heading = re.compile(r"\n\n([A-Z][A-Za-z ]+)\n-+\n")
    _, *shared = heading.split(inspect.cleandoc(other))
    summary, *special = heading.split(inspect.cleandoc(own))
    sections = dict(zip(shared[::2], shared[1::2], strict=True))
    sections |= zip(special[::2], special[1::2], strict=True)
    parts = [f"{name}\n{'-' * len(name)}\n{sections[name]}" for name in _SECTIONS]
    return "\n\n".join([summary, *parts])
