"""Many steps in one call: the loop over mini-batches runs inside the compiled function.

- ``many_steps``: from updates and outputs for one mini-batch to those for many
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.replace import clone_replace
from pytensor.graph.traversal import ancestors, graph_inputs
from pytensor.tensor.type import TensorType, discrete_dtypes
from pytensor.tensor.variable import TensorVariable

from updates.arguments import kind_of
from updates.call import UpdatesLike, checked_updates
from updates.declaration import declared
from updates.loss_graph import default_updates
from updates.named_dimensions import has_names, lowered_graph, with_names_of, without_names
from updates.private import LOOP


@declared
def many_steps(
    updates: UpdatesLike,
    outputs: Variable | Sequence[Variable],
    index: TensorVariable,
    indices: TensorVariable,
) -> tuple[OrderedDict[Any, Any], Any]:
    """Run the steps of many mini-batches in one call of the compiled function.

    For ``i`` in `indices`: all variables of `updates` take their next values, computed for
    ``index = i``, and `outputs`, computed from the values before that step, are kept.

    On small networks calling the function takes as long as the step itself; here one call makes
    many steps. Everything happens as in single calls: schedules, transforms and random generators
    advance with each step, including generators that have a ``default_update``. The results are
    those of single calls bit for bit if the backend rounds equally inside and outside of a loop,
    see Notes.

    Parameters
    ----------
    updates : dict or list of pairs
        Shared variable to next value, as a rule returns it, for one mini-batch.
    outputs : symbolic tensor, or list of them
        What the training function returns for one mini-batch, for instance the loss.
    index : symbolic integer scalar
        The input that selects the mini-batch, such as ``pt.lscalar("i")``. `updates` and `outputs`
        may depend on it, on shared variables and on constants, and on nothing else.
    indices : symbolic integer vector
        The mini-batches to go through in one call, such as ``pt.lvector("batches")``. It may be
        empty when the function is called: then nothing changes, and the outputs have length 0.

    Returns
    -------
    updates : OrderedDict
        The same shared variables, and those that have a ``default_update``, each with its value
        after the last step.
    outputs : symbolic tensor, or list of them
        As given, each with a new first axis as long as `indices`; its dimensions have no names.

    Raises
    ------
    ValueError, TypeError
        If an argument is of the wrong kind, or `updates` or `outputs` need an input besides
        `index`; the message names it.
    RuntimeError
        If PyTensor's loops have changed so that this release of `updates` cannot build one.

    Notes
    -----
    Set the mode in ``pytensor.config``: in functions that run as C or Python code, PyTensor
    compiles the loop in that mode and not in the one given as ``mode=``. Numba is free to reorder
    sums, and may do so differently in a loop and in a single call, which can change the last bit.
    JAX must know the number of steps when it compiles: give it `indices` of a constant length, for
    instance ``start + pt.arange(100)``.

    Examples
    --------
    >>> import numpy as np, pytensor, pytensor.tensor as pt, updates
    >>> data = pytensor.shared(np.array([1.0, 2.0, 4.0, 8.0]))
    >>> w = pytensor.shared(0.0, name="w")
    >>> i, batches = pt.lscalar("i"), pt.lvector("batches")
    >>> loss = ((w - data[2 * i + np.arange(2)]) ** 2).mean()
    >>> rule = updates.sgd(loss, [w], learning_rate=0.25)
    >>> with pytensor.config.change_flags(mode="FAST_COMPILE"):
    ...     many, losses = updates.many_steps(rule, loss, i, batches)
    ...     train = pytensor.function([batches], losses, updates=many)
    >>> train([0, 1, 0])
    array([ 2.5     , 31.5625  ,  3.765625])
    >>> float(w.get_value())
    2.4375
    """
    copy = checked_updates(updates)
    is_single = isinstance(outputs, Variable)
    kept = _checked_outputs([outputs] if is_single else outputs)
    _check_indices(index, indices)
    for variable, new_value in copy.items():
        copy[variable] = _converted(variable, new_value)
    copy |= default_updates([*kept, *copy.values()], without=copy)
    graph = [*kept, *copy.values()]
    _check_inputs(graph, index)

    fixed = [v for v in graph_inputs(graph) if isinstance(v, SharedVariable) and v not in copy]
    outside = [index, *copy, *fixed]
    inside = [without_names(variable).type() for variable in outside]
    named = map(with_names_of, outside, inside)
    results: Any = lowered_graph(clone_replace(graph, dict(zip(outside, named, strict=True))))
    changing, fixed = list(map(without_names, copy)), list(map(without_names, fixed))
    with LOOP.needed():
        from updates.loop import loop

        stacked, last = loop(inside, results, indices.astype(index.dtype), changing, fixed)
    after = OrderedDict(zip(copy, map(with_names_of, copy, last), strict=True))
    return after, stacked[0] if is_single else stacked


def _checked_outputs(outputs: Any) -> list[TensorVariable]:
    if not isinstance(outputs, list | tuple):
        raise TypeError(
            f"outputs must be a symbolic tensor or a list of them ([] for none), got "
            f"{outputs!r} of type {kind_of(outputs)}"
        )
    for position, output in enumerate(outputs):
        is_tensor = isinstance(output, Variable) and isinstance(output.type, TensorType)
        if not (is_tensor or has_names(output)):
            raise TypeError(
                f"outputs[{position}] must be a symbolic tensor, got {output!r} of type "
                f"{kind_of(output)}"
            )
    return list(outputs)


def _check_indices(index: Any, indices: Any) -> None:
    for name, variable, ndim, kind in (
        ("index", index, 0, "scalar, such as pt.lscalar('i')"),
        ("indices", indices, 1, "vector, such as pt.lvector('batches')"),
    ):
        is_integer = isinstance(variable, TensorVariable) and variable.dtype in discrete_dtypes
        if not is_integer or variable.ndim != ndim:
            raise TypeError(
                f"{name} must be a symbolic integer {kind}, got {variable!r} of type "
                f"{kind_of(variable)}"
            )
    if not _is_input(index):
        raise ValueError(
            f"index must be an input that takes one value after the other, such as "
            f"pt.lscalar('i'), got {index!r}"
        )
    if index in ancestors([indices]):
        raise ValueError("indices must not depend on index, which takes its values from them")
    if not np.can_cast(indices.dtype, index.dtype):
        raise TypeError(
            f"index is {index.dtype} and cannot take the values of indices, which are "
            f"{indices.dtype}; make it {indices.dtype} as well"
        )


def _converted(variable: SharedVariable, new_value: Variable) -> Variable:
    """Convert a next value to the type of its variable, as pytensor.function does."""
    try:
        return variable.type.filter_variable(new_value)
    except TypeError:
        raise TypeError(
            f"the next value of {variable} in updates is {new_value.type}, not {variable.type}"
        ) from None


def _check_inputs(graph: list[Variable], index: TensorVariable) -> None:
    for variable in graph_inputs(graph):
        if _is_input(variable) and variable is not index:
            raise ValueError(
                f"updates, outputs and the default_update of a generator may depend on no "
                f"input but index, but they need {variable!r} of type {variable.type}; put the "
                f"data into shared variables and replace {variable!r} by the part that index "
                "selects, for example with pytensor.graph.replace.graph_replace"
            )


def _is_input(variable: Variable) -> bool:
    return variable.owner is None and not isinstance(variable, SharedVariable | Constant)
