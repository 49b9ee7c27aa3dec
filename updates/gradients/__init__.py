"""Gradients: from a loss to gradients, and from gradients to gradients, one file an idea."""

from updates.gradients.constraints import *
from updates.gradients.clipping import *
from updates.gradients.terms import *
from updates.declaration import public_names

__all__ = public_names(__name__)
