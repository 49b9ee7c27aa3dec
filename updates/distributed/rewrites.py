"""What PyTensor does with reductions when it compiles a function that has some.

- ``OrderReductions``: the rewrite that brings the reductions of a function into one order
- ``LoadConversion``: the rewrite that loads what numba or JAX need to run a reduction
"""

from importlib import import_module
from typing import Any

from pytensor.compile.mode import optdb
from pytensor.graph.basic import Apply
from pytensor.graph.features import ReplaceValidate
from pytensor.graph.fg import FunctionGraph
from pytensor.graph.rewriting.basic import GraphRewriter

from updates.distributed.operation import AllReduce
from updates.multi_tensor import numba_is_ready
from updates.private import JAX_REDUCTION, KERNEL, REDUCTION_ORDER


class OrderReductions(GraphRewriter):
    """Let every reduction of a function wait for the one before it.

    Processes that reduce in different orders exchange the wrong tensors, or wait for each other
    forever. Reductions that do not need each other's results keep the order in which the program
    made them.
    """

    def add_requirements(self, fgraph: FunctionGraph) -> None:
        """Ask for replacements that are validated."""
        with REDUCTION_ORDER.needed():
            fgraph.attach_feature(ReplaceValidate())

    def apply(self, fgraph: FunctionGraph) -> None:
        """Give each reduction a result of the one before it as a further input."""
        with REDUCTION_ORDER.needed():
            order_reductions(fgraph)


def order_reductions(fgraph: FunctionGraph) -> None:
    """Give each reduction a result of the one before it as a further input."""
    depth: dict[Apply, int] = {}
    for node in fgraph.toposort():
        parents = [variable.owner for variable in node.inputs if variable.owner is not None]
        before = max((depth[parent] for parent in parents), default=0)
        depth[node] = before + isinstance(node.op, AllReduce)
    nodes: Any = [node for node in depth if isinstance(node.op, AllReduce)]
    nodes.sort(key=lambda node: (depth[node], node.op.made, node.op.number))
    for position in range(1, len(nodes)):
        node, token = nodes[position], nodes[position - 1].outputs[0]
        if token not in node.inputs:
            nodes[position] = node.op.make_node(*node.inputs[: node.op.n_inputs], token)
            pairs = list(zip(node.outputs, nodes[position].outputs, strict=True))
            fgraph.replace_all_validate(pairs, reason="order_reductions")


class LoadConversion(GraphRewriter):
    """Load the module that tells a backend how to run a reduction, if a function has one."""

    def __init__(self, backend: str) -> None:
        self.backend = backend

    def apply(self, fgraph: FunctionGraph) -> None:
        """Import the module; without it numba would leave the operation to Python."""
        if any(isinstance(node.op, AllReduce) for node in fgraph.apply_nodes):
            load_conversion(self.backend)


def load_conversion(backend: str) -> None:
    """Import the module; numba can do without, by calling Python."""
    if backend == "jax":
        with JAX_REDUCTION.needed():
            import_module("updates.distributed.jax_reduction")
    elif numba_is_ready():
        with KERNEL.optional():
            import_module("updates.distributed.numba_reduction")


# After elementwise fusion (49), before the in-place rewrites (49.5 on).
optdb.register("order_reductions", OrderReductions(), "fast_run", "fast_compile", position=49.4)
for backend in ("numba", "jax"):
    optdb.register(f"{backend}_reduction", LoadConversion(backend), backend, position=49.4)
