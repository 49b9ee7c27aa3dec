"""Training without writing the loop: minimize, iterate.

- ``minimize.py``: the two functions; ``same_arguments.py``: how they share one signature
- ``problem.py``: loss, parameters, inputs and monitors; ``functions.py``: what is compiled
- ``batches.py``: the forms in which data may come; ``inputs.py``: the arrays for each input
- ``loop.py``: epochs, validations, the best parameters and the end
- ``saving.py``: checkpoints of a run
- ``interrupt.py``, ``progress.py``, ``history.py``: Ctrl-C, what is shown, what is returned
"""

from typing import TYPE_CHECKING

from updates.training.history import *
from updates.training.minimize import *
from updates.declaration import public_names

if not TYPE_CHECKING:  # type checkers cannot evaluate it, and see what is imported above
    __all__ = public_names(__name__)
