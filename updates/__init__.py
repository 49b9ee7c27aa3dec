"""Symbolic update rules for PyTensor: training is a dictionary.

What there is, by kind; each package lists what it holds:

- ``updates.rules``: loss or gradients, parameters -> OrderedDict of shared variable -> next value
- ``updates.gradients``: loss -> gradients, gradients -> gradients
- ``updates.projections``: tensor -> nearest tensor of a set
- ``updates.transforms``: OrderedDict -> OrderedDict; averages of parameters
- ``updates.chain``: transforms and a rule as one value
- ``updates.ready_made``: compositions that are ready to use
- ``updates.schedules``: symbolic step -> symbolic scalar
- ``updates.training``, ``updates.many_steps``: training loops, and many steps in one call
- ``updates.hyperparameters``: what is changed between calls without compiling
- ``updates.state_dict``, ``updates.checkpoint``: state as arrays and in files
- ``updates.description``: what a dictionary of updates does, as a table and as a picture
- ``updates.distributed``: several processes (imported separately)
"""

from typing import TYPE_CHECKING

from updates import jax_dtypes as jax_dtypes  # registers its rewrite
from updates import multi_tensor as multi_tensor  # so does this
from updates.declaration import *
from updates.state import *
from updates.rules import *
from updates.gradients import *
from updates.projections import *
from updates.transforms import *
from updates.chain import *
from updates.schedules import *
from updates.ready_made import *
from updates.many_steps import *
from updates.state_dict import *
from updates.hyperparameters import *
from updates.checkpoint import *
from updates.training import *
from updates.description import *
from updates.declaration import public_names

__version__ = "0.1.0"

if not TYPE_CHECKING:  # type checkers cannot evaluate it, and see what is imported above
    __all__ = public_names(__name__)
