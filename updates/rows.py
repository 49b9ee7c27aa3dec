"""Rows of a table: ``W[index]`` in the place of a parameter, so that a step touches few rows.

- ``table_of``: the shared variable whose rows an expression looks up
- ``stand_in``: what formulas see of a parameter: itself, its rows, or its values without names
- ``whole``, ``label``: the shared variable that is meant, and its name in messages
- ``combined``: looked-up rows and their gradients, with the gradients of repeated rows summed
- ``written``: the next value of the shared variable, from that of what stands for it
- ``touched``, ``choose``: what a next value changes, and a choice between it and the old value

Every array here has as many rows as the index has entries, so shapes stay static where a backend
needs that. A row that the index repeats appears as often, each time with the same sum, and
so is written several times with the same value.
"""

from typing import Any

import numpy as np
import pytensor.tensor as pt
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Constant, Variable
from pytensor.tensor.subtensor import AdvancedIncSubtensor, AdvancedSubtensor
from pytensor.tensor.variable import TensorVariable

from updates import provenance
from updates.named_dimensions import named_rows, named_source, with_names_of, without_names
from updates.private import ROWS


def stand_in(param: Variable) -> Any:
    """Return what formulas see of a parameter: a tensor whose dimensions have no names."""
    rows = named_rows(param)
    return without_names(param) if rows is None else rows


def table_of(expression: Variable) -> Any:
    """Return the shared variable of ``W[index]`` with integers of any shape, or None for others."""
    node = stand_in(expression).owner
    if node is None or not isinstance(node.op, AdvancedSubtensor):
        return None
    table, *indices = node.inputs
    with ROWS.needed():
        first, *others = node.op.idx_list
        along_first_axis = first == 0 and all(other == slice(None) for other in others)
    table = named_source(table)
    if not (isinstance(table, SharedVariable) and len(indices) == 1 and along_first_axis):
        return None
    [index] = indices
    return table if index.type.ndim and np.dtype(index.type.dtype).kind in "iu" else None


def whole(param: Variable) -> Any:
    """Return the parameter itself, or the shared variable that something stands for."""
    table = table_of(param)
    return named_source(param) if table is None else table


def label(param: Variable, index: int) -> str:
    """Name a parameter, or the table whose rows stand for one, in a message."""
    param = whole(param)
    return f"parameter '{param.name}' (params[{index}])" if param.name else f"params[{index}]"


def combined(rows: TensorVariable, gradient: TensorVariable) -> tuple[Any, TensorVariable]:
    """Sort looked-up rows by their number and sum the gradients of equal ones.

    Returns ``W[index']``, where ``index'`` is the sorted index, and the gradient of each of its
    rows. A matrix of indices, or a tensor, becomes a vector.
    """
    table, index = rows.owner.inputs
    if index.type.ndim > 1:
        # Flat here, they read as what was given: see `describe`.
        index = provenance.reads_as(index.flatten())
        gradient = provenance.reads_as(gradient.reshape((-1, *table.shape[1:])))
    if isinstance(index, Constant):
        return _combined_constant(table, index.data, gradient)
    # Here and below, what is sorted and combined reads as what was given: see `describe`.
    index = provenance.reads_as(pt.switch(index < 0, index + table.shape[0], index), 2)
    order = pt.argsort(index)
    index, gradient = (provenance.reads_as(unsorted[order]) for unsorted in (index, gradient))
    starts = pt.set_subtensor(pt.zeros_like(index)[1:], pt.neq(index[1:], index[:-1]))
    group = pt.cumsum(starts)
    zeros = pt.zeros((index.shape[0], *table.shape[1:]), dtype=gradient.dtype)
    total = provenance.reads_as(pt.inc_subtensor(zeros[group], gradient), 1)
    return table[index], provenance.reads_as(total[group])


def _combined_constant(
    table: TensorVariable, index: np.ndarray, gradient: TensorVariable
) -> tuple[Any, TensorVariable]:
    """Do the same for numbers that are known: here every row appears once."""
    length, *rest = whole(table).get_value(borrow=True).shape
    unique, group = np.unique(index % length, return_inverse=True)
    zeros = pt.zeros((len(unique), *rest), dtype=gradient.dtype)
    return table[unique], provenance.reads_as(pt.inc_subtensor(zeros[group], gradient), 1)


def written(param: TensorVariable, new_value: TensorVariable) -> Any:
    """Return the next value of a shared variable from that of its stand-in.

    The index of rows must be sorted.
    """
    if table_of(param) is not None:
        table, index = param.owner.inputs
        # Sorting again changes nothing, but without it PyTensor 3.0 turns `W[i] = W[i] + x` into
        # `W[i] += x`, which counts a repeated row twice.
        new_value = pt.set_subtensor(table[provenance.reads_as(pt.sort(index))], new_value)
    return with_names_of(whole(param), new_value)


def touched(variable: Variable, new_value: Variable) -> Any:
    """Return the part of a next value that can differ from the old: some rows, or all of it."""
    tensor = without_names(new_value)
    return tensor.owner.inputs[1] if _sets_rows(variable, tensor) else new_value


def choose(condition: TensorVariable, variable: Variable, new_value: Variable) -> Any:
    """Return the next value where a condition holds and the old one where not, row by row."""
    tensor = without_names(new_value)
    if _sets_rows(variable, tensor):
        table, new_rows, index = tensor.owner.inputs
        rows = table[index]
        chosen = pt.set_subtensor(rows, pt.switch(condition, new_rows, rows))
    else:
        chosen = pt.switch(condition, tensor, without_names(variable))
    return provenance.chosen(with_names_of(variable, chosen), new_value)


def _sets_rows(variable: Variable, new_value: Variable) -> bool:
    node = new_value.owner
    return (
        node is not None
        and isinstance(node.op, AdvancedIncSubtensor)
        and getattr(node.op, "set_instead_of_inc", False)
        and getattr(node.op, "idx_list", None) == (0,)
        and named_source(node.inputs[0]) is variable
    )
