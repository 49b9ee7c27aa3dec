"""What ``python -m updates`` does; its arguments are in ``updates/__main__.py``.

- ``rules_text``: every rule with its formula, defaults and source
- ``show_text``: one public name in full
- ``race``: walk rules on a function of two variables
- ``table_text``, ``draw``: the walks as a table and as a picture
- ``versions_text``: what the library runs with, for a bug report
- ``CommandError``: what the one who typed the command can mend
"""

from updates.command_line.catalogue import rules_text, show_text
from updates.command_line.errors import CommandError
from updates.command_line.functions import FUNCTIONS
from updates.command_line.picture import checked_picture, draw
from updates.command_line.race import Entrant, checked_entrants, race, table_text
from updates.command_line.versions import versions_text

__all__ = [
    "FUNCTIONS",
    "CommandError",
    "Entrant",
    "checked_entrants",
    "checked_picture",
    "draw",
    "race",
    "rules_text",
    "show_text",
    "table_text",
    "versions_text",
]
