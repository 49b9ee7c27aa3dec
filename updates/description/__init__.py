"""Seeing: what a dictionary of updates holds and does, as a table and as a picture.

- ``describe``: ``describe``, ``Description``: the table, as text, HTML and data
- ``draw``: ``draw``: the diagram of which old values each new value reads
- ``rows``: variables with their roles, symbols and formulas, and rows that share one
- ``mistakes``: what in a dictionary usually is none of what was meant
- ``formula``: from the graph of a next value to an expression
- ``gradients``: where in these graphs a formula ends, because a gradient begins
- ``expression``: expressions, their simplification and their text
- ``reads``: the old values that each next value needs
"""

from updates.description.describe import *
from updates.description.draw import *
from updates.declaration import public_names

__all__ = public_names(__name__)
