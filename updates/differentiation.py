"""Differentiation: the gradients of a loss, and that nothing of them is lost.

- ``gradients``: the gradient of a loss for each parameter, or why there is none
- ``check_rows``: refuse rows of a table on which a loss depends in other ways as well
- ``loss_above``: the loss that `pytensor.grad` started from
- ``NO_GRADIENT``: what PyTensor raises for an operation that has no gradient
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from pytensor.gradient import NullTypeGradError, grad
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.traversal import ancestors
from pytensor.scalar.basic import Second
from pytensor.tensor.elemwise import Elemwise
from pytensor.tensor.variable import TensorVariable

from updates import provenance
from updates.rows import label, table_of, whole

NO_GRADIENT = (NullTypeGradError, NotImplementedError, TypeError, ValueError)


def gradients(loss: Variable, params: Sequence[Any]) -> list[TensorVariable]:
    """Differentiate a scalar loss, or say on which parameter it does not depend."""
    grads = _grad(loss, params)
    for index, (param, gradient) in enumerate(zip(params, grads, strict=True)):
        if gradient is None:
            advice = (
                "leave it out of params, or check how the loss is built"
                if table_of(param) is None
                else "build the loss on these very rows, the same W[index] object"
            )
            raise ValueError(
                f"the loss does not depend on {label(param, index)} in a way that has a gradient; "
                f"{advice}"
            )
    check_rows([loss], params)
    return provenance.computed_gradients(grads, [whole(param) for param in params], loss)


def check_rows(losses: Iterable[Variable], params: Sequence[Any]) -> None:
    """Refuse rows of a table on which a loss depends in other ways as well.

    The gradient of the rows is not all of the table's gradient then: a penalty on the whole table,
    an output layer tied to it or a second look-up would be lost.
    """
    rows = {table: param for param in params if (table := table_of(param)) is not None}
    for loss in losses if rows else ():
        reached = set(ancestors([loss], blockers=list(rows.values())))
        tables = [table for table in rows if table in reached]
        others = _grad(loss, tables, consider_constant=list(rows.values())) if tables else []
        for table, gradient in zip(tables, others, strict=True):
            if gradient is not None:
                place = next(i for i, param in enumerate(params) if param is rows[table])
                name = table.name or "the table"
                raise ValueError(
                    f"params[{place}] is rows of {name}, and the loss depends on {name} in other "
                    "ways as well: the gradient of these rows is not all of its gradient. Give "
                    f"{name} itself in params; or if that is only another look-up, make one of "
                    "both, with pt.concatenate of the indices, and build the loss on its parts"
                )


def loss_above(variable: Variable) -> Any:
    """Return the loss in whose shape this is the ``1`` that `pytensor.grad` starts from."""
    node: Any = variable.owner
    is_one = (
        node is not None
        and isinstance(node.op, Elemwise)
        and isinstance(node.op.scalar_op, Second)
        and variable.type.ndim == 0
        and node.inputs[0].owner is not None
        and isinstance(node.inputs[1], Constant)
        and bool(np.all(node.inputs[1].data == 1))
    )
    return node.inputs[0] if is_one else None


def _grad(loss: Variable, wrt: Sequence[Any], **options: Any) -> list[Any]:
    try:
        grads: Any = grad(
            loss, wrt, disconnected_inputs="ignore", return_disconnected="none", **options
        )
    except NO_GRADIENT as error:
        raise ValueError(f"PyTensor cannot differentiate this loss: {error}") from error
    return grads
