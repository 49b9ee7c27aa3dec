"""Train one network of ``network3`` with all processes of an MPI job.

- ``averaged``: a rule that steps from the mean of the gradients of all processes
- ``own_share``: the part of the training data that this process trains on
"""

from collections.abc import Callable
from typing import Any

import pytensor
from mnist import SharedData
from pytensor.graph.basic import Variable

import updates


def averaged(rule: Callable[..., Any]) -> Callable[..., Any]:
    """Return the rule for a network that all processes of an MPI job train together.

    The rule gets the mean of the gradients of all processes, so that ``k`` processes with
    mini-batches of ``B`` examples take the steps of one process with mini-batches of ``k * B``,
    with L2 regularization, too. Each process still logs the costs of its own mini-batches.
    Processes that seed ``np.random`` alike drop the same inputs in dropout.

    Raises
    ------
    ValueError
        When the returned rule is called, if the given one needs the loss itself and does not
        accept gradients.
    """
    from updates.distributed import allreduce_mean

    def rule_of_all(cost: Variable, params: list[Any], eta: Any) -> Any:
        grads = allreduce_mean(updates.get_or_compute_grads(cost, params))
        try:
            return rule(grads, params, eta)
        except TypeError as error:
            reason = str(error).partition("; got")[0]  # without the list of all gradients
            raise ValueError(f"what processes average are gradients; {reason}") from error

    return rule_of_all


def own_share(data: SharedData, seed: int = 0) -> SharedData:
    """Return this process's share of the examples.

    All processes get equally many; the seed determines which.
    """
    from updates.distributed import shard

    x, y = data
    own_x, own_y = shard([x.get_value(borrow=True), y.eval()], seed, drop_last=True)
    return pytensor.shared(own_x, borrow=True), pytensor.shared(own_y, borrow=True)
