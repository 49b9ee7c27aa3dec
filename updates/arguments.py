"""Arguments: the checks that parameters, losses and gradients pass before a rule sees them.

- ``checked_params``: parameters as a list
- ``Training``, ``checked_training``: what stands for parameters in formulas, one matching gradient
  each, from a loss or as given, and the loss
- ``checked_grads``: parameters and one gradient each, with the names of their dimensions
- ``checked_loss``: a loss, for a rule that cannot do with its gradients
- ``checked_tensors``: a list of floating-point tensors
- ``kept``, ``as_items``: what can be gone through once, and one or several, as a list
- ``renamed``: tensors with the names of those that were given
- ``in_types_of``: gradients or next values in the types of their parameters
- ``is_float_tensor``, ``kind_of``: what a tensor must be, and how messages name its type
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeGuard

import numpy as np
import pytensor.tensor as pt
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Variable
from pytensor.graph.traversal import ancestors, apply_ancestors
from pytensor.tensor.elemwise import DimShuffle
from pytensor.tensor.shape import Reshape
from pytensor.tensor.sharedvar import TensorSharedVariable
from pytensor.tensor.subtensor import AdvancedSubtensor, Subtensor
from pytensor.tensor.type import TensorType
from pytensor.tensor.variable import TensorVariable

from updates import provenance
from updates.differentiation import check_rows, gradients, loss_above
from updates.mappings import gradients_of
from updates.named_dimensions import (
    has_names,
    lowered,
    lowered_for,
    named_source,
    names_of,
    with_names_of,
    without_names,
)
from updates.rows import label, stand_in, table_of, whole

LossOrGrads = Variable | Iterable[Variable] | Mapping[Any, Variable]
Params = Variable | Iterable[Variable]

# Iterables whose items cannot be paired with parameters by position.
_NOT_A_LIST = (str, set, frozenset, Mapping)


def checked_params(params: Any, *, rows: bool = False) -> list[Any]:
    """Return the parameters as a list, or say which one cannot be updated and why.

    With `rows`, ``W[index]`` may stand for a parameter as well.
    """
    if isinstance(params, Variable):
        params = [params]
    if isinstance(params, Mapping):
        are_values = any(isinstance(value, SharedVariable) for value in params.values())
        form = "list(params.values())" if are_values else "list(params)"
        raise TypeError(
            f"params must be a shared variable or a list of them, got a {type(params).__name__}; "
            f"write {form}"
        )
    if isinstance(params, set | frozenset) or not isinstance(params, Iterable):
        raise TypeError(
            f"params must be a shared variable or a list of them, got {params!r} of type "
            f"{type(params).__name__}"
            + (", which has no order" if isinstance(params, set | frozenset) else "")
        )
    params = list(params)
    if not params:
        raise ValueError("params is empty, give at least one shared variable")
    first_index: dict[Variable, int] = {}
    for index, param in enumerate(params):
        table = table_of(param) if isinstance(param, Variable) else None
        if table is not None and not rows:
            raise TypeError(
                f"params[{index}] is rows of {label(table, index)}, but whole parameters are "
                "needed here; give the table itself, or use a rule that works element by element"
            )
        if not isinstance(param, SharedVariable) and table is None:
            raise TypeError(
                f"params[{index}] must be a shared variable (made by pytensor.shared), got "
                f"{param!r} of type {type(param).__name__}{_advice_on_part(param)}"
            )
        if not is_float_tensor(param):
            raise TypeError(
                f"{label(param, index)} must be a floating-point tensor, got type {param.type}; "
                "make it with dtype 'float32' or 'float64', or leave it out"
            )
        variable = param if table is None else table
        if variable in first_index:
            raise ValueError(
                f"{label(variable, index)} is already params[{first_index[variable]}]; a variable "
                "can have one next value only, list it once"
                + ("" if table is None else ", with its indices joined by pt.concatenate")
            )
        first_index[variable] = index
    return params


class Training(NamedTuple):
    """What a rule works on, without names of dimensions.

    Parameters
    ----------
    params : list
        What stands for each parameter: itself, rows of it, or its values without names.
    grads : list of symbolic tensors
        Its gradient.
    loss : symbolic scalar, optional
        The loss, if there is one.
    """

    params: list[Any]
    grads: list[TensorVariable]
    loss: Any


def checked_grads(loss_or_grads: Any, params: Any) -> tuple[list[Any], list[Any]]:
    """Return parameters and their gradients as two lists, or say what does not match."""
    params = kept(params)
    training = checked_training(loss_or_grads, params)
    return as_items(params), renamed(params, training.grads)


def checked_training(
    loss_or_grads: Any, given: Any, *, rows: bool = True, needs_loss: str = ""
) -> Training:
    """Return what a rule works on, or say what does not match.

    With `needs_loss`, which says why, gradients cannot take the place of the loss.
    """
    loss_or_grads, given = kept(loss_or_grads), kept(given)
    _check_order(loss_or_grads, given)
    if needs_loss:
        _check_is_loss(loss_or_grads, needs_loss)
    given = checked_params(given, rows=rows)
    params, loss = list(map(stand_in, given)), None
    if isinstance(loss_or_grads, Variable):
        loss, params = lowered_for(loss_or_grads, given, params)
        _check_scalar(loss)
        grads: list[Any] = list(gradients(loss, params))
    elif isinstance(loss_or_grads, Mapping):
        grads = gradients_of(loss_or_grads, given)
    elif isinstance(loss_or_grads, Iterable) and not isinstance(loss_or_grads, _NOT_A_LIST):
        grads = list(loss_or_grads)
    else:
        raise TypeError(
            f"loss_or_grads must be a symbolic scalar, a list of gradients or a mapping, got "
            f"{loss_or_grads!r} of type {type(loss_or_grads).__name__}"
        )
    if len(grads) != len(params):
        raise ValueError(f"got {len(grads)} gradients for {len(params)} parameters")
    for index, (gradient, param) in enumerate(zip(grads, params, strict=True)):
        if gradient is None:
            raise TypeError(
                f"the gradient of {label(param, index)} is None, so the loss does not depend on "
                "it; leave the parameter out of params, or check how the loss is built"
            )
    _check_rows(grads, params)
    return Training(params, in_types_of(params, "gradient", grads), loss)


def checked_loss(loss: Any, why: str) -> Variable:
    """Return the loss itself, or say why gradients cannot take its place."""
    _check_is_loss(loss, why)
    loss = lowered(loss)
    _check_scalar(loss)
    return loss


def checked_tensors(name: str, tensors: Any) -> list[TensorVariable]:
    """Return symbolic floating-point tensors as a list, or say which one is none."""
    if isinstance(tensors, Variable):
        tensors = [tensors]
    if not isinstance(tensors, Iterable) or isinstance(tensors, _NOT_A_LIST):
        raise TypeError(
            f"{name} must be a symbolic tensor or a list of them, got {tensors!r} of type "
            f"{type(tensors).__name__}"
        )
    checked = [checked_tensor(f"{name}[{index}]", tensor) for index, tensor in enumerate(tensors)]
    if not checked:
        raise ValueError(f"{name} is empty, give at least one tensor")
    return checked


def renamed(given: Any, tensors: Iterable[Any]) -> list[Any]:
    """Return tensors with the names that those which were given have, one or a list."""
    return list(map(with_names_of, as_items(given), tensors))


def checked_tensor(name: str, tensor: Any) -> TensorVariable:
    """Return a symbolic floating-point tensor, or say what was given in its place."""
    tensor = without_names(tensor)
    if not is_float_tensor(tensor):
        raise TypeError(
            f"{name} must be a symbolic floating-point tensor, got {tensor!r} of type "
            f"{kind_of(tensor)}"
        )
    return tensor


def in_types_of(
    params: list[TensorSharedVariable], kind: str, symbols: list[Any]
) -> list[TensorVariable]:
    """Give each symbol the dtype and the known axis lengths of its parameter, or refuse it."""
    return [
        _in_type_of(param, f"the {kind} of {label(param, index)}", symbol)
        for index, (symbol, param) in enumerate(zip(symbols, params, strict=True))
    ]


def is_float_tensor(variable: Any) -> TypeGuard[TensorVariable]:
    """Tell whether something is a dense tensor of a floating-point dtype, with names or not."""
    return (
        isinstance(variable, Variable)
        and (isinstance(variable.type, TensorType) or has_names(variable))
        and np.dtype(variable.type.dtype).kind == "f"
    )


def kind_of(something: Any) -> str:
    """Name the type of anything in a message: a symbol's own type, or its class."""
    return str(something.type if isinstance(something, Variable) else type(something).__name__)


def kept(argument: Any) -> Any:
    """Make a list of what can be gone through once only."""
    return list(argument) if hasattr(argument, "__next__") else argument


def _check_order(loss_or_grads: Any, params: Any) -> None:
    """Refuse parameters where the loss or the gradients belong, and the other way round."""
    first, second = as_items(loss_or_grads), as_items(params)
    given_params = first and all(isinstance(item, SharedVariable) for item in first)
    given_grads = second and all(
        isinstance(item, Variable)
        and not isinstance(item, SharedVariable)
        and table_of(item) is None
        and is_float_tensor(item)
        and item.owner is not None
        and _advice_on_part(item) == ""
        for item in second
    )
    if given_params and given_grads:
        raise TypeError(
            "the first two arguments are swapped: the loss or the gradients come first, then the "
            f"parameters, and here the first are {first!r} and the second {second!r}"
        )


def as_items(argument: Any) -> list[Any]:
    """Return one variable, or several, as a list; of anything else an empty one."""
    if isinstance(argument, Variable):
        return [argument]
    is_list = isinstance(argument, Iterable) and not isinstance(argument, _NOT_A_LIST)
    return list(argument) if is_list else []


def _advice_on_part(param: Any) -> str:
    """Say what to write in the place of something that was made of a shared variable."""
    source = named_source(param) if isinstance(param, Variable) else param
    if source is not param and isinstance(source, SharedVariable):
        return f": it is the values of '{source.name or 'w'}'; give {source.name or 'w'} itself"
    node = getattr(param, "owner", None)
    while node is not None and isinstance(node.op, Reshape | DimShuffle):
        param, node = node.inputs[0], node.inputs[0].owner
        if isinstance(param, SharedVariable) or table_of(param) is not None:
            what = "rows of " * (param is not whole(param)) + (whole(param).name or "one")
            return f": it is {what} in another shape; give what was there before"
    if node is None or not isinstance(node.op, AdvancedSubtensor | Subtensor):
        return ""
    table = node.inputs[0]
    if not isinstance(table, SharedVariable):
        return ""
    name = table.name or "W"
    indices = [index for index in node.inputs[1:] if isinstance(index.type, TensorType)]
    if isinstance(node.op, Subtensor) and not isinstance(node.op.idx_list[0], slice):
        what, instead = "one row of", f"{name}[[number]], with the number in a list"
    elif isinstance(node.op, Subtensor):
        what, instead = "a slice of", f"{name}[pt.arange(start, stop)]"
    elif len(indices) == 1 and indices[0].type.dtype == "bool":
        what, instead = "a mask of", f"{name}[mask.nonzero()[0]]"
    else:
        what, instead = "a part of", f"{name}[index] with integers"
    return f": it is {what} '{name}'; give {name} itself, or its rows as {instead}"


def _in_dimensions_of(param: Any, subject: str, symbol: Any) -> Any:
    """Return a symbol without names, its dimensions in the order of the parameter's."""
    if not has_names(symbol):
        return symbol
    names, given = names_of(whole(param)), symbol.type.dims
    if names is None:
        raise ValueError(
            f"{subject} has the dimensions {given}, the parameter has no named dimensions; give "
            "its .values"
        )
    if table_of(param) is not None:  # an index has dimensions of its own
        names = *given[: len(given) - len(names) + 1], *names[1:]
        is_same = names == given
    else:
        is_same = set(names) == set(given)
    if not is_same:
        raise ValueError(f"{subject} has the dimensions {given}, the parameter has {names}")
    return without_names(symbol if names == given else symbol.transpose(*names))


def _check_is_loss(loss: Any, why: str) -> None:
    if not isinstance(loss, Variable):
        raise TypeError(
            f"needs the loss itself and not its gradients, because {why}; got {loss!r} of type "
            f"{type(loss).__name__}"
        )


def _check_scalar(loss: Variable) -> None:
    if not is_float_tensor(loss):
        raise TypeError(f"the loss must be a floating-point scalar, got type {loss.type}")
    if loss.type.ndim != 0:
        raise ValueError(
            f"the loss must be a scalar, got ndim {loss.type.ndim}; reduce it first, for example "
            "with loss.mean()"
        )


def _check_rows(grads: list[Any], params: list[Any]) -> None:
    """Refuse gradients of rows that are not the whole gradient, or not of these rows.

    Which loss given gradients are of, `pytensor.grad` leaves in their graph.
    """
    rows = [index for index, param in enumerate(params) if table_of(param) is not None]
    if not rows:
        return
    given = [g for g in grads if isinstance(g, Variable)]
    if any(getattr(node.op, "of_all_processes", False) for node in apply_ancestors(given)):
        raise TypeError(
            f"params[{rows[0]}] is rows of {label(params[rows[0]], rows[0])}, which are others in "
            "each process, so that gradients of all processes do not fit them; give the whole "
            "table, here and to get_or_compute_grads"
        )
    unknown = [g for g in given if not provenance.of(g).gradient_of]
    losses = dict.fromkeys(loss_above(variable) for variable in ancestors(unknown))
    check_rows([loss for loss in losses if loss is not None], params)


def _in_type_of(param: TensorSharedVariable, subject: str, symbol: Any) -> TensorVariable:
    if isinstance(symbol, np.ndarray | np.number | float):
        symbol = pt.as_tensor_variable(symbol)
    symbol = _in_dimensions_of(param, subject, symbol)
    if not is_float_tensor(symbol):
        raise TypeError(
            f"{subject} must be a floating-point tensor, got {symbol!r} of type {kind_of(symbol)}"
        )
    if symbol.type.ndim != param.type.ndim:
        raise ValueError(
            f"{subject} has ndim {symbol.type.ndim}, the parameter has ndim {param.type.ndim}"
        )
    is_rows = table_of(param) is not None
    shape = param.type.shape if is_rows else whole(param).get_value(borrow=True).shape
    known_shape = symbol.type.shape
    if any(
        None not in (known, length) and known != length
        for known, length in zip(known_shape, shape, strict=True)
    ):
        raise ValueError(f"{subject} has shape {known_shape}, the parameter has shape {shape}")
    symbol = provenance.cast(symbol, param.type.dtype)
    if any(length == 1 for length in param.type.shape):
        # Without this, a parameter that broadcasts would get a next value that need not.
        fixed = pt.specify_shape(symbol, param.type.shape)
        symbol = symbol if fixed is symbol else provenance.reads_as(fixed)
    lengths = zip(symbol.type.shape, param.type.shape, strict=True)
    if any(known == 1 != length for known, length in lengths):
        # Nor may a parameter that need not broadcast, or its state, get a next value that does.
        symbol = provenance.reads_as(pt.second(param, symbol), 1)
    return symbol
