"""Named dimensions: tensors of `pytensor.xtensor`, and those without names that formulas see.

- ``has_names``, ``names_of``: whether a variable's dimensions have names, and which
- ``axis_number``: an axis that is given by the name of its dimension
- ``without_names``, ``with_names_of``: a variable without them, and with those of another
- ``named_source``: the variable whose values without names an expression is
- ``before_names``: the tensor that got names
- ``named_rows``: ``W.isel(word=index)`` as rows of a table without names
- ``shared_like``: a shared variable with the names of another
- ``lowered``: a loss in whose graph dimensions have no names
- ``lowered_for``: the same, as a function of what stands for parameters
- ``lowered_graph``: such a graph of any expressions

Nothing is imported here: whoever has a variable with named dimensions has imported them.
"""

import sys
from typing import Any

import pytensor
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Apply, Constant, Variable
from pytensor.graph.replace import clone_replace
from pytensor.graph.rewriting.utils import rewrite_graph
from pytensor.graph.traversal import ancestors

from updates import provenance


def has_names(variable: Any) -> bool:
    """Say whether the dimensions of a variable have names."""
    xtensor = sys.modules.get("pytensor.xtensor")
    return (
        xtensor is not None
        and isinstance(variable, Variable)
        and isinstance(variable.type, xtensor.type.XTensorType)
    )


def names_of(variable: Any) -> tuple[str, ...] | None:
    """Return the names of a variable's dimensions, or of what it is the values of."""
    source = named_source(variable)
    return source.type.dims if has_names(source) else None


def axis_number(tensor: Any, axis: Any, argument: str) -> Any:
    """Return the number of the axis that has a name, and what is no name as it is."""
    if not isinstance(axis, str):
        return axis
    names = names_of(tensor)
    if names is None or axis not in names:
        has = "no named dimensions" if names is None else f"the dimensions {names}"
        raise ValueError(f"{argument} names {axis!r}, but the tensor has {has}")
    return names.index(axis)


def named_source(variable: Any) -> Any:
    """Return the variable whose values without names an expression is, or the expression."""
    node = getattr(variable, "owner", None)
    return node.inputs[0] if node is not None and _is(node.op, "TensorFromXTensor") else variable


def before_names(variable: Any) -> Any:
    """Return the tensor to which names were given, or the variable."""
    node = getattr(variable, "owner", None)
    return node.inputs[0] if node is not None and _is(node.op, "XTensorFromTensor") else variable


def without_names(variable: Any) -> Any:
    """Return a variable without names of its dimensions; any other as it is."""
    tensor = before_names(variable)
    return provenance.reads_as(tensor.values) if has_names(tensor) else tensor


def with_names_of(like: Any, tensor: Any) -> Any:
    """Return a tensor with the names of another variable's dimensions, if these have any.

    As little is known of its shape as of the other's: a next value of which more is known is none.
    """
    if not has_names(like):
        return tensor
    xtensor = sys.modules["pytensor.xtensor"]
    named = xtensor.as_xtensor(tensor, dims=like.type.dims)
    kind = type(like.type)(tensor.type.dtype, dims=like.type.dims, shape=like.type.shape)
    return provenance.reads_as(Apply(named.owner.op, [tensor], [kind()]).outputs[0])


def named_rows(expression: Any) -> Any:
    """Return ``W.isel(word=index)`` as ``W.values[index]``, or None for anything else.

    Only rows along the first dimension of a shared variable are rows of a table.
    """
    node = expression.owner
    if node is None or not has_names(expression) or not _is(node.op, "Index", "indexing"):
        return None
    table, first, *others = node.inputs
    index = without_names(first)
    n_axes = getattr(index.type, "ndim", 0)
    are_whole = all(isinstance(o, Constant) and o.data == slice(None) for o in others)
    if not (isinstance(table, SharedVariable) and n_axes and are_whole):
        return None
    is_outer = expression.type.dims[n_axes:] == table.type.dims[1:]
    return without_names(table)[index] if is_outer else None


def shared_like(like: Any, value: Any, name: str, shape: tuple[int | None, ...]) -> Any:
    """Make a shared variable of a value that has the names of another variable's dimensions.

    More axes than these come last.
    """
    if not has_names(like):
        return pytensor.shared(value, name=name, shape=shape, borrow=True)
    names = [*like.type.dims]
    names += [f"axis_{axis}" for axis in range(len(names), value.ndim)]
    make = sys.modules["pytensor.xtensor"].type.xtensor_shared
    return make(value, dims=names, name=name, shape=shape, borrow=True)


def lowered(loss: Any) -> Any:
    """Return a loss in whose graph dimensions have no names; any other as it is.

    `pytensor.grad` cannot differentiate named dimensions; PyTensor itself takes the names away when
    it compiles a function.
    """
    return lowered_for(loss, [], [])[0]


def lowered_for(loss: Any, params: list[Any], stand_ins: list[Any]) -> tuple[Any, list[Any]]:
    """Return such a loss as a function of what stands for parameters, and the stand-ins in it."""
    if not isinstance(loss, Variable) or not any(map(has_names, ancestors([loss]))):
        return loss, stand_ins
    pairs = zip(params, stand_ins, strict=True)
    named = {param: stand_in.type() for param, stand_in in pairs if param is not stand_in}
    copy: Any = clone_replace(loss, {p: with_names_of(p, tensor) for p, tensor in named.items()})
    [plain] = _rewritten([copy])
    tensors = [named.get(param, param) for param in params]
    in_place_of = {t: s for t, s in zip(tensors, stand_ins, strict=True) if t is not s}
    loss, *found = clone_replace([plain, *tensors], in_place_of)
    return loss, found


def lowered_graph(copy: list[Any]) -> list[Any]:
    """Take the names away in a graph that was copied for that: rewriting changes the graph."""
    return _rewritten(copy) if any(map(has_names, ancestors(copy))) else copy


def _rewritten(copy: list[Any]) -> list[Any]:
    tensors = list(map(without_names, copy))
    rewritten: Any = rewrite_graph(tensors, include=("lower_xtensor",), clone=False)
    return list(rewritten)


def _is(op: Any, name: str, module: str = "basic") -> bool:
    """Say whether an operation is one of `pytensor.xtensor`."""
    kind = type(op)
    return kind.__name__ == name and kind.__module__ == f"pytensor.xtensor.{module}"
