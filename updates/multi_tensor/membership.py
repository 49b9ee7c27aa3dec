"""Which nodes of a graph belong to regions, see ``updates.multi_tensor.regions``.

- ``Graph``: a graph, its nodes that belong to regions, and which of them are connected
- ``updated``, ``returned``, ``of_returned``: next values, and what a function returns
- ``pattern``, ``has_algebra``, ``is_elementwise``, ``has_plain_dtype``, ``is_scalar``: what a node
  or a variable is
"""

from collections.abc import Iterable
from typing import Any

import pytensor.scalar as ps
from pytensor.graph.basic import Apply, Constant
from pytensor.graph.traversal import apply_ancestors
from pytensor.tensor.elemwise import DimShuffle, Elemwise
from pytensor.tensor.type import TensorType

from updates.named_dimensions import before_names, has_names, named_source

# float16 and complex numbers stay with PyTensor's own loops.
KINDS = "biuf"

# Operations that are part of no pattern which rewrites keep exact.
ALGEBRAIC = (
    *(ps.Add, ps.Sub, ps.Mul, ps.TrueDiv, ps.IntDiv, ps.Neg, ps.Reciprocal, ps.Abs, ps.Sign),
    *(ps.Sqr, ps.Sqrt, ps.Pow, ps.Maximum, ps.Minimum, ps.Clip, ps.Switch, ps.Second, ps.Cast),
    *(ps.Identity, ps.LogicalComparison, ps.FixedLogicalComparison, ps.BinaryBitOp, ps.UnaryBitOp),
)


class Graph:
    """A graph, and which of its nodes belong to regions.

    Equal computations count as one, as if PyTensor had merged them, which takes it far longer.

    Attributes
    ----------
    order : list of nodes
        The first of equal nodes, each after those that it needs.
    equals : dict
        The first of equal variables to all of them.
    next_of : dict
        Next value to the variable whose next value it is.
    of_returned : set of nodes
        What leads to something that the function returns and that is no next value.
    members : dict
        The nodes that belong to regions, each with the depth of its region.
    """

    def __init__(self, fgraph: Any) -> None:
        self._first: dict[Any, Any] = {}
        self.equals: dict[Any, list[Any]] = {}
        self.order = self._different(fgraph.toposort())
        self.next_of: dict[Any, Any] = {}
        for value, old in updated(fgraph):
            self.next_of.setdefault(self.first(value), self.first(old[0]))
        self.returned = {self.first(before_names(variable)) for variable in returned(fgraph)}
        self.of_returned = of_returned(fgraph)
        self.readers: dict[Any, list[Apply]] = {}
        naming = {v.owner for v in fgraph.outputs if before_names(v) is not v}
        for node in self.order:
            if node not in naming:
                for variable in self.inputs(node):
                    self.readers.setdefault(variable, []).append(node)
        self._of_patterns = self._find_patterns()
        self.members = self._depths(self._members())

    def first(self, variable: Any) -> Any:
        """Return the first of the variables that are equal to one."""
        return self._first.get(variable, variable)

    def inputs(self, node: Apply) -> list[Any]:
        """Return the inputs of a node, of equal ones the first."""
        return [self.first(variable) for variable in node.inputs]

    def _different(self, order: list[Apply]) -> list[Apply]:
        known: dict[Any, Any] = {}
        result = []
        for node in order:
            for variable in node.inputs:
                is_tensor = isinstance(variable.type, TensorType)
                if is_tensor and isinstance(variable, Constant) and variable not in self._first:
                    value = variable.signature()
                    self._first[variable] = known.setdefault((variable.type, value), variable)
            key = node.op, *self.inputs(node)
            equal = known.setdefault(key, node)
            if equal is node:
                result.append(node)
            for variable, first in zip(node.outputs, equal.outputs, strict=True):
                self._first[variable] = first
                self.equals.setdefault(first, []).append(variable)
        return result

    def is_algebraic(self, variable: Any) -> bool:
        """Say whether the elementwise operations that lead to a variable are part of no pattern."""
        return variable not in self._of_patterns

    def _find_patterns(self) -> set[Any]:
        found: set[Any] = set()
        for node in self.order:
            if isinstance(node.op, Elemwise | DimShuffle):
                is_own = isinstance(node.op, Elemwise) and not has_algebra(node)
                if is_own or not found.isdisjoint(self.inputs(node)):
                    found.update(node.outputs)
        return found

    def updates_read(self, variable: Any) -> list[Apply]:
        """Return the nodes that read a variable for updates, not for what is returned."""
        readers = self.readers.get(variable, ())
        return [node for node in readers if node not in self.of_returned]

    def connected(self) -> Iterable[list[Apply]]:
        """Return the nodes of each region."""
        parent = {node: node for node in self.members}

        def root(node: Apply) -> Apply:
            while parent[node] is not node:
                parent[node] = node = parent[parent[node]]
            return node

        for node in self.members:
            [output] = node.outputs
            # One region reads what it computes, and should also read what it overwrites.
            for variable in (output, self.next_of.get(output)):
                for reader in self.readers.get(variable, ()):
                    if reader in self.members and self.are_alike(node, reader):
                        parent[root(reader)] = root(node)
        groups: dict[Apply, list[Apply]] = {}
        for node in self.order:
            if node in self.members:
                groups.setdefault(root(node), []).append(node)
        return groups.values()

    def are_alike(self, node: Apply, other: Apply) -> bool:
        """Say whether two nodes may be in one region."""
        return self.members[node] == self.members[other] and pattern(node) == pattern(other)

    def _members(self) -> set[Apply]:
        """Go from next values backwards to where regions end."""
        elementwise = {node for node in self.order if is_elementwise(node)}
        # What depends on next values belongs to the update, whatever else needs it.
        after: set[Any] = set()
        for node in self.order:
            sources = [v for v in self.inputs(node) if not is_scalar(v)]
            if node in elementwise and any(v in self.next_of or v in after for v in sources):
                after.update(node.outputs)
        members: set[Apply] = set()
        for node in reversed(self.order):
            if node in elementwise:
                [output] = node.outputs
                readers = self.readers.get(output, ())
                belongs = output in after and not members.isdisjoint(readers)
                only = output not in self.returned and members.issuperset(readers)
                if output in self.next_of or belongs or only:
                    members.add(node)
        return members

    def _depths(self, members: set[Apply]) -> dict[Apply, int]:
        depths: dict[Apply, int] = {}
        for node in self.order:
            depths[node] = 0
            for variable in self.inputs(node):
                source = variable.owner
                if source is not None:
                    is_inside = node in members and pattern(node) == pattern(source)
                    step = source in members and not is_inside and not is_scalar(variable)
                    depths[node] = max(depths[node], depths[source] + step)
        # What only one region needs is part of it, even if it could be computed earlier.
        for node in reversed(self.order):
            if node in members:
                [output] = node.outputs
                readers = [] if output in self.next_of else self.readers.get(output, [])
                if all(r in members and pattern(r) == pattern(node) for r in readers):
                    depths[node] = min((depths[r] for r in readers), default=depths[node])
        return {node: depths[node] for node in members}


def updated(fgraph: Any) -> list[tuple[Any, list[Any]]]:
    """Return next values without names, and the variables without names that are the old ones."""
    pairs = []
    for output, source in fgraph.update_mapping.items():
        value, old = before_names(fgraph.outputs[output]), [fgraph.inputs[source]]
        if has_names(old[0]):
            readers = [v for node, _ in fgraph.clients[old[0]] for v in node.outputs]
            old = [v for v in readers if named_source(v) is old[0]]
        if old:
            pairs.append((value, old))
    return pairs


def returned(fgraph: Any) -> list[Any]:
    """Return the variables that a function returns."""
    return [v for k, v in enumerate(fgraph.outputs) if k not in fgraph.update_mapping]


def of_returned(fgraph: Any) -> set[Apply]:
    """Return the nodes that compute what a function returns, next values aside."""
    next_values = {fgraph.outputs[k] for k in fgraph.update_mapping}
    return set(apply_ancestors([v for v in returned(fgraph) if v not in next_values]))


def pattern(node: Apply) -> tuple[bool, ...] | None:
    """Return the axes of length 1 of what an elementwise node computes."""
    return getattr(node.outputs[0].type, "broadcastable", None)


def has_algebra(node: Apply) -> bool:
    """Say whether an elementwise node is of an operation that is part of no pattern."""
    return isinstance(node.op.scalar_op, ALGEBRAIC)


def is_elementwise(node: Apply) -> bool:
    """Say whether a node is elementwise, of inputs that have the shape of its output or no axes."""
    return (
        isinstance(node.op, Elemwise)
        and len(node.outputs) == 1
        and not node.op.inplace_pattern.items()
        and all(map(has_plain_dtype, [*node.inputs, *node.outputs]))
        and all(is_scalar(v) or v.type.broadcastable == pattern(node) for v in node.inputs)
    )


def has_plain_dtype(variable: Any) -> bool:
    """Say whether a tensor is made of integers or of floating-point numbers of the machine."""
    dtype = variable.type.numpy_dtype if isinstance(variable.type, TensorType) else None
    return dtype is not None and dtype.kind in KINDS and dtype != "float16"


def is_scalar(variable: Any) -> bool:
    """Say whether a variable is a tensor that is known to have one element."""
    return isinstance(variable.type, TensorType) and all(variable.type.broadcastable)
