"""Rows of a table: ``W[index]`` in the place of a parameter, so that a step touches few rows.

- ``table_of``: the shared variable whose rows an expression looks up
- ``combined``: looked-up rows and their gradients, with the gradients of repeated rows summed

Every array here has as many rows as the index has entries, so shapes stay static where a backend
needs that. A row that the index repeats appears as often, each time with the same sum, and
so is written several times with the same value.
"""

from typing import Any

import numpy as np
import pytensor.tensor as pt
from pytensor.graph.basic import Variable
from pytensor.tensor.sharedvar import TensorSharedVariable
from pytensor.tensor.subtensor import AdvancedSubtensor, AdvancedSubtensor1
from pytensor.tensor.variable import TensorVariable


def table_of(expression: Variable) -> TensorSharedVariable | None:
    """Return the shared variable of ``W[index]`` with an integer vector, or None for others."""
    node = expression.owner
    if node is None or not isinstance(node.op, AdvancedSubtensor | AdvancedSubtensor1):
        return None
    table, *indices = node.inputs
    along_first_axis = getattr(node.op, "idx_list", (0,)) == (0,)
    if not (isinstance(table, TensorSharedVariable) and len(indices) == 1 and along_first_axis):
        return None
    [index] = indices
    is_vector = index.type.ndim == 1 and np.dtype(index.type.dtype).kind in "iu"
    return table if is_vector else None


def combined(rows: TensorVariable, gradient: TensorVariable) -> tuple[Any, TensorVariable]:
    """Sort looked-up rows by their number and sum the gradients of equal ones.

    Returns ``W[index']``, where ``index'`` is the sorted index, and the gradient of each of its
    rows.
    """
    table, index = rows.owner.inputs
    index = pt.switch(index < 0, index + table.shape[0], index)
    order = pt.argsort(index, kind="stable")
    index, gradient = index[order], gradient[order]
    starts = pt.zeros_like(index)
    starts = pt.set_subtensor(starts[1:], pt.neq(index[1:], index[:-1]))
    group = pt.cumsum(starts)
    sums = pt.inc_subtensor(pt.zeros_like(gradient)[group], gradient)
    return table[index], sums[group]
