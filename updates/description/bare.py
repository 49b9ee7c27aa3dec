"""What a formula does not show.

- ``bare``: a variable without what concerns types and shapes only
- ``inside``: one such step
- ``sources_of``: what a result is computed from
- ``scalar_name``: the name of an elementwise operation
"""

from typing import Any

import numpy as np
from pytensor.graph.basic import Constant, Variable
from pytensor.tensor.basic import Alloc
from pytensor.tensor.elemwise import DimShuffle, Elemwise
from pytensor.tensor.shape import SpecifyShape

from updates import provenance

_INVISIBLE = {"TensorFromScalar", "ScalarFromTensor", "Unbroadcast", "DeepCopyOp", "OwnCopy"}
_INVISIBLE |= {"ViewOp", "ConsiderConstant", "ZeroGrad", "DisconnectedGrad"}
_INVISIBLE |= {"TensorFromXTensor", "XTensorFromTensor", "Rename"}  # names of dimensions


def bare(variable: Any, broadcast: bool = False) -> Any:
    """Look through all that concerns types and shapes only, and what the library says so of."""
    while (inner := inside(variable, broadcast)) is not None:
        variable = inner
    return variable


def sources_of(variable: Any) -> list[Any]:
    """Return what a result is computed from.

    An operation that does the same to each of several tensors has a ``name_of_each``: its results
    read as if they came from their own tensors alone.
    """
    node = variable.owner
    if hasattr(node.op, "name_of_each"):
        return [node.inputs[node.outputs.index(variable)]]
    return node.inputs


def inside(variable: Any, broadcast: bool = False) -> Any:
    """Return what a variable is another type of, or perhaps another shape of, or None."""
    node = variable.owner
    record = provenance.of(variable)
    if node is None or record.symbol or record.joint:
        return None
    if record.reads_as is not None:
        return node.inputs[record.reads_as]
    name = scalar_name(variable)
    if isinstance(node.op, SpecifyShape) or type(node.op).__name__ in _INVISIBLE:
        return node.inputs[0]
    if name == "Cast" and isinstance(node.inputs[0], Constant):
        return None  # 0.1 in float32 is not 0.1 in float64
    if name == "Identity" or (name == "Cast" and _is_wider(node.inputs[0], variable)):
        return node.inputs[0]
    if name == "Second" or isinstance(node.op, Alloc):
        source = node.inputs[name == "Second"]
    elif isinstance(node.op, DimShuffle) and _adds_axes_in_front(node.op):
        [source] = node.inputs
    else:
        return None
    ones = [[length == 1 for length in v.type.shape] for v in (source, variable)]
    return source if broadcast or ones[0] == ones[1] else None


def _is_wider(narrow: Any, wide: Any) -> bool:
    """Tell a cast that keeps every value and every operation on it."""
    kinds = {np.dtype(v.type.dtype).kind for v in (narrow, wide)}
    return narrow.type.dtype == wide.type.dtype or (
        kinds == {"f"} and np.can_cast(narrow.type.dtype, wide.type.dtype)
    )


def scalar_name(variable: Variable) -> str:
    """Return the name of an elementwise operation."""
    op = variable.owner.op if variable.owner else None
    return type(op.scalar_op).__name__ if isinstance(op, Elemwise) else ""


def _adds_axes_in_front(op: DimShuffle) -> bool:
    axes = [axis for axis in op.new_order if axis != "x"]
    front = len(op.new_order) - len(axes)
    return axes == list(range(op.input_ndim)) and set(op.new_order[:front]) <= {"x"}
