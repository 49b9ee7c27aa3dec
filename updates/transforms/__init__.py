"""Update transforms: from a dictionary of updates to a new one, one file an idea.

They copy: the dictionary that they are given stays as it is. It may also come as a plain dict
or as a list of pairs.
"""

from typing import TYPE_CHECKING

from updates.transforms.momentum import *
from updates.transforms.averages import *
from updates.transforms.bounds import *
from updates.transforms.conditions import *
from updates.transforms.groups import *
from updates.declaration import public_names

if not TYPE_CHECKING:  # type checkers cannot evaluate it, and see what is imported above
    __all__ = public_names(__name__)
