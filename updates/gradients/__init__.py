"""Gradients: from a loss to gradients, and from gradients to gradients, one file an idea."""

from typing import TYPE_CHECKING

from updates.gradients.constraints import *
from updates.gradients.clipping import *
from updates.gradients.terms import *
from updates.gradients.examples import *
from updates.declaration import public_names

if not TYPE_CHECKING:  # type checkers cannot evaluate it, and see what is imported above
    __all__ = public_names(__name__)
