"""The graph rewrite ``multi_tensor``: group the elementwise updates of a compiled function.

It runs after PyTensor has fused elementwise operations and decided which of them work in place:
the whole update of a parameter is then one ``Elemwise`` node, and parameters under one rule have
equal formulas. Each group of equal formulas becomes one ``MultiTensor`` node. What does not
qualify, or cannot be merged without a cycle, stays as it is.
"""

import warnings
from collections.abc import Iterable, Iterator
from typing import Any

from pytensor.graph.basic import Apply, Variable
from pytensor.graph.features import FullHistory, ReplaceValidate
from pytensor.graph.fg import FunctionGraph
from pytensor.graph.rewriting.basic import GraphRewriter
from pytensor.graph.traversal import ancestors
from pytensor.graph.utils import InconsistencyError
from pytensor.scalar.basic import Composite
from pytensor.tensor.elemwise import CAReduce, DimShuffle, Elemwise
from pytensor.tensor.type import TensorType

from updates.multi_tensor import numba_is_ready
from updates.multi_tensor.op import MultiTensor
from updates.private import KERNEL

# float16 and complex numbers stay with PyTensor's own loops.
KINDS = "biuf"


class GroupUpdates(GraphRewriter):
    """Replace groups of elementwise updates with equal formulas by ``MultiTensor`` nodes."""

    def add_requirements(self, fgraph: FunctionGraph) -> None:
        """Ask for replacements that are undone when they would make a cycle."""
        with KERNEL.optional():
            fgraph.attach_feature(ReplaceValidate())

    def apply(self, fgraph: FunctionGraph) -> None:
        """Rewrite the graph of a function with updates, or leave it exactly as it was."""
        with KERNEL.optional():
            if fgraph.update_mapping and numba_is_ready():
                history = FullHistory()
                fgraph.attach_feature(history)
                try:
                    group(fgraph)
                    fgraph.remove_feature(history)
                except Exception:
                    history.goto(0)
                    raise


def group(fgraph: FunctionGraph) -> None:
    """Replace the updates of a graph, formula by formula."""
    positions: Any = fgraph.update_mapping  # of the outputs that are next values
    updated = {fgraph.outputs[position] for position in positions}
    candidates = [
        node
        for node in fgraph.toposort()
        if not updated.isdisjoint(node.outputs) and qualifies(node)
    ]
    groups: dict[tuple, list[Apply]] = {}
    nodes = without_sums(fgraph, candidates)
    read = read_elsewhere(fgraph)
    for node in nodes:
        # What a copy of the function without updates still needs must not keep the others.
        key = formula(node), read.isdisjoint(node.outputs)
        groups.setdefault(key, []).append(node)
    for nodes in filter(has_kernel, groups.values()):
        for independent in without_paths(fgraph, nodes):
            merge(fgraph, independent)


def qualifies(node: Apply) -> bool:
    """Say whether a node is elementwise, each input having the shape of the result or one number.

    Not when the result is one number itself, as a step counter is: there is nothing to gain.
    """
    if not isinstance(node.op, Elemwise) or is_scalar(node.outputs[0]):
        return False
    pattern = node.outputs[0].type.broadcastable
    full = [variable.type.broadcastable == pattern for variable in node.inputs]
    return (
        any(full)
        and all(
            same or is_scalar(variable) for same, variable in zip(full, node.inputs, strict=True)
        )
        and all(has_plain_dtype(variable) for variable in [*node.inputs, *node.outputs])
    )


def is_scalar(variable: Variable) -> bool:
    """Say whether a tensor is known to have one element."""
    return all(variable.type.broadcastable)


def has_plain_dtype(variable: Variable) -> bool:
    """Say whether a tensor is made of integers or of floating-point numbers of the machine."""
    dtype = variable.type.numpy_dtype if isinstance(variable.type, TensorType) else None
    return dtype is not None and dtype.kind in KINDS and dtype != "float16"


def without_sums(fgraph: FunctionGraph, nodes: list[Apply]) -> list[Apply]:
    """Compute outputs that are only summed, such as the squares of a penalty, in another node.

    PyTensor fuses them into the loop of the update because both read the same parameter. There,
    all of the squares would have to be stored before they are summed.
    """
    result: list[Apply] = []
    replacements: list[tuple[Variable, Variable]] = []
    for node in nodes:
        summed = [
            position
            for position, output in enumerate(node.outputs)
            if all(isinstance(client.op, CAReduce) for client, _ in fgraph.clients[output])
        ]
        if summed and isinstance(node.op.scalar_op, Composite):
            kept = [position for position in range(len(node.outputs)) if position not in summed]
            sums, rest = part(node, summed, in_place=False), part(node, kept, in_place=True)
            old = [node.outputs[position] for position in summed + kept]
            replacements += zip(old, sums.outputs + rest.outputs, strict=True)
            node = rest
        result.append(node)
    try:
        fgraph.replace_all_validate(replacements, reason="multi_tensor")
    except InconsistencyError:
        return nodes
    return result


def part(node: Apply, positions: list[int], *, in_place: bool) -> Apply:
    """Return a node for some outputs of an elementwise node, with the inputs that they need."""
    composite = node.op.scalar_op
    outputs = [composite.outputs[position] for position in positions]
    needed = set(ancestors(outputs))
    sources = [k for k, inner in enumerate(composite.inputs) if inner in needed]
    pattern = {
        positions.index(output): sources.index(source)
        for output, source in node.op.inplace_pattern.items()
        if in_place and output in positions and source in sources
    }
    scalar_op = Composite([composite.inputs[k] for k in sources], outputs)
    return Elemwise(scalar_op, pattern).make_node(*(node.inputs[k] for k in sources))


def read_elsewhere(fgraph: FunctionGraph) -> set[Variable]:
    """Return the variables that are more than next values: inputs of nodes, or returned."""
    positions: Any = fgraph.update_mapping
    read = {variable for node in fgraph.apply_nodes for variable in node.inputs}
    return read | {v for k, v in enumerate(fgraph.outputs) if k not in positions}


def formula(node: Apply) -> tuple:
    """Return what nodes that run as one have in common."""
    return node.op, scalars(node), tuple(variable.type.dtype for variable in node.inputs)


def scalars(node: Apply) -> tuple[bool, ...]:
    """Say for each input of a node whether it is one number for all elements."""
    return tuple(is_scalar(variable) for variable in node.inputs)


def has_kernel(nodes: list[Apply]) -> bool:
    """Say whether the formula of nodes can run in threads: without calls into Python, cachable."""
    from updates.multi_tensor.kernel import formula_function

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _, key = formula_function(nodes[0].op, nodes[0].inputs)
    return key is not None


def without_paths(fgraph: FunctionGraph, nodes: list[Apply]) -> Iterable[list[Apply]]:
    """Split nodes into lists in which no node needs the result of another."""
    if len(nodes) == 1:
        return [nodes]
    members = set(nodes)
    depth: dict[Apply, int] = {}
    levels: dict[int, list[Apply]] = {}
    for node in fgraph.toposort():
        parents = [variable.owner for variable in node.inputs if variable.owner is not None]
        depth[node] = max((depth[parent] + (parent in members) for parent in parents), default=0)
        if node in members:
            levels.setdefault(depth[node], []).append(node)
    return levels.values()


def merge(fgraph: FunctionGraph, nodes: list[Apply]) -> None:
    """Replace nodes by one, or by several where one would have to run before itself.

    That happens when an old value is still needed between two updates: one of them destroys it.
    """
    op = MultiTensor(nodes[0].op, scalars(nodes[0]), len(nodes))
    inputs = [variable for node in nodes for variable in streams(node, op)]
    merged = op.make_node(*inputs).outputs
    outputs = [variable for node in nodes for variable in node.outputs]
    try:
        fgraph.replace_all_validate(list(zip(outputs, merged, strict=True)), reason="multi_tensor")
    except InconsistencyError:
        half = len(nodes) // 2
        if half:
            merge(fgraph, nodes[:half])
            merge(fgraph, nodes[half:])


def streams(node: Apply, op: MultiTensor) -> Iterator[Variable]:
    """Return the inputs of a node, single numbers without axes."""
    for variable, scalar in zip(node.inputs, op.scalars, strict=True):
        yield without_axes(variable) if scalar else variable


def without_axes(number: Any) -> Variable:
    """Return a tensor of one element as 0-d, which it usually was before it got its axes."""
    if number.owner is not None and isinstance(number.owner.op, DimShuffle):
        [before] = number.owner.inputs
        if before.type.ndim == 0:
            return before
    return number.dimshuffle(())
