"""What the one who typed a command can mend.

- ``CommandError``: its message is the one line that the command prints
- ``unknown``: a name that is none, with those that are close to it
"""

import difflib
from collections.abc import Iterable


class CommandError(Exception):
    """A command that cannot be carried out; the message says why and what to do."""


def unknown(what: str, name: str, names: Iterable[str], otherwise: str) -> CommandError:
    """Say that a name is unknown, and which close ones there are, or else where to look.

    Examples
    --------
    >>> unknown("rule", "adan", ["sgd", "adam"], "see the list")
    CommandError("unknown rule 'adan'; did you mean adam?")
    >>> unknown("rule", "x", ["sgd", "adam"], "see the list")
    CommandError("unknown rule 'x'; see the list")
    """
    close = difflib.get_close_matches(name.lower(), sorted(names), n=3)
    advice = f"did you mean {' or '.join(close)}?" if close else otherwise
    return CommandError(f"unknown {what} {name!r}; {advice}")
