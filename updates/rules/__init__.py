"""Rules: from a loss or gradients to an ``OrderedDict`` of updates, one file a family."""

from typing import TYPE_CHECKING

# The order is that in which the families are listed.
from updates.rules.gradient_descent import *
from updates.rules.perturbed import *
from updates.rules.sign import *
from updates.rules.rprop import *
from updates.rules.adagrad import *
from updates.rules.rmsprop import *
from updates.rules.adam import *
from updates.rules.adamw import *
from updates.rules.nesterov_adam import *
from updates.rules.second_moments import *
from updates.rules.layerwise import *
from updates.rules.factored import *
from updates.rules.muon import *
from updates.rules.preconditioned import *
from updates.rules.distance import *
from updates.rules.polyak import *
from updates.rules.averaging import *
from updates.rules.curvature import *
from updates.rules.quasi_newton import *
from updates.rules.elsewhere import *
from updates.rules.around import *
from updates.declaration import public_names

if not TYPE_CHECKING:  # type checkers cannot evaluate it, and see what is imported above
    __all__ = public_names(__name__)
