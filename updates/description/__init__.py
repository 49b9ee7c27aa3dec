"""Seeing: what a dictionary of updates holds and does, as a table and as a picture.

- ``describe``: ``describe``, ``Description``: the table, as text, HTML and data
- ``draw``: ``draw``: the diagram of which old values each new value reads
- ``variables``: variables with their roles, names and formulas, and those that share one
- ``mistakes``: what in a dictionary usually is none of what was meant
- ``recognition``: where in the graphs a formula ends, because a gradient begins
- ``formula``: from the graph of a next value to a tree
- ``bare``, ``constants``: what a formula does not show, and how it shows a constant
- ``operations``: trees, and how each operation is written
- ``writing``: from a tree to text, and to mathematics
- ``reads``: the old values that each next value needs
"""

from typing import TYPE_CHECKING

from updates.description.describe import *
from updates.description.draw import *
from updates.declaration import public_names

if not TYPE_CHECKING:  # type checkers cannot evaluate it, and see what is imported above
    __all__ = public_names(__name__)
