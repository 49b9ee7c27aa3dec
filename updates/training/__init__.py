"""Training without writing the loop: minimize, iterate.

- ``minimize.py``: the two functions and their arguments
- ``functions.py``: what is compiled
- ``batches.py``: the forms in which data may come
- ``loop.py``: epochs, validations, the best parameters, checkpoints and the end
- ``interrupt.py``, ``progress.py``, ``history.py``: Ctrl-C, what is shown, what is returned
"""

from updates.training.history import *
from updates.training.minimize import *
from updates.declaration import public_names

__all__ = public_names(__name__)
