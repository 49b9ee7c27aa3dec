"""Several mini-batches in one call of the training function of ``network3``.

- ``function_of_indices``: compile the function that trains on the mini-batches of many indices
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Variable
from pytensor.graph.replace import graph_replace
from pytensor.graph.traversal import graph_inputs
from pytensor.tensor.variable import TensorVariable

from updates import many_steps


def function_of_indices(
    index: TensorVariable, cost: Variable, updates: Any, givens: dict[Variable, Variable]
) -> Callable[[np.ndarray], np.ndarray]:
    """Compile the function that trains on many mini-batches and returns their costs.

    It gives the numbers that ``pytensor.function([index], cost, updates=updates, givens=givens)``
    gives when it is called for one index after the other.
    """
    # The generators of dropout are among what changes: how many numbers they draw depends on the
    # shape of the mini-batch, so that the mini-batch has to be put into their next values, too.
    changed: dict[Any, Any] = {
        variable: variable.default_update
        for variable in graph_inputs([cost])
        if isinstance(variable, SharedVariable) and variable.default_update is not None
    }
    changed |= dict(updates)
    cost, *new_values = graph_replace([cost, *changed.values()], givens, strict=False)
    indices = pt.lvector("indices")
    many, costs = many_steps(dict(zip(changed, new_values, strict=True)), cost, index, indices)
    return pytensor.function([indices], costs, updates=many)
