"""Named dimensions: losses of `pytensor.xtensor`, as tensors that can be differentiated.

- ``lowered``: a loss in whose graph dimensions have no names
"""

import sys
from typing import Any

from pytensor.graph.basic import Variable
from pytensor.graph.replace import clone_replace
from pytensor.graph.rewriting.utils import rewrite_graph
from pytensor.graph.traversal import ancestors


def lowered(loss: Any) -> Any:
    """Return a loss in whose graph dimensions have no names; any other as it is.

    `pytensor.grad` cannot differentiate named dimensions; PyTensor itself takes the names away when
    it compiles a function.
    """
    xtensor = sys.modules.get("pytensor.xtensor")
    if xtensor is None or not isinstance(loss, Variable):
        return loss
    named = xtensor.type.XTensorType
    if not any(isinstance(variable.type, named) for variable in ancestors([loss])):
        return loss
    # A copy, because rewriting changes the graph itself.
    copy: Any = clone_replace(loss)
    tensor = copy.values if isinstance(loss.type, named) else copy
    return rewrite_graph(tensor, include=("lower_xtensor",), clone=False)
