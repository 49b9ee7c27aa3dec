"""Regions: the parts of a graph that are the elementwise update of one tensor.

- ``Formula``: what a region computes, whatever it computes it of
- ``Region``: a formula with what enters it and what comes out of it
- ``regions(fgraph)``: those of a graph that PyTensor has not rewritten yet

A region reaches from next values back to what is no elementwise operation (a product of matrices,
a sum), to variables that something outside of it needs as well, and to single numbers. So nothing
of the gradients is computed twice. What a function computes from next values to return it is left
to PyTensor: then rewrites see all of it, and a copy of the function without updates needs no
region. Next values that are returned themselves are a group of their own, for the same reason.

Some rewrites of PyTensor replace several operations at once, to keep them exact: that of
``log(sigmoid(x))`` for instance. No region ends within such a pattern. Where one would, it ends
later, at the one variable through which all of this enters the update, or there is no region.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NamedTuple

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


class Formula(NamedTuple):
    """What a region computes, whatever it computes it of.

    Parameters
    ----------
    steps : tuple
        For each operation, the scalar operation and where its arguments come from: ("leaf", number
        of the leaf), ("step", number of the step) or ("constant", dtype, bytes).
    results : tuple of int
        The steps that come out.
    owns : tuple of int or None
        For each of them, the leaf whose next value it is.
    is_returned : tuple of bool
        For each of them, whether the function returns it.
    dtypes : tuple of str
        Of the leaves.
    """

    steps: tuple[tuple[Any, tuple[Any, ...]], ...]
    results: tuple[int, ...]
    owns: tuple[int | None, ...]
    is_returned: tuple[bool, ...]
    dtypes: tuple[str, ...]


@dataclass(frozen=True)
class Region:
    """A formula with what enters it and what comes out of it.

    Parameters
    ----------
    formula : Formula
        What is computed.
    depth : int
        The number of regions that come before it, one after the other: what is computed at one
        depth does not depend on another region of that depth.
    leaves : list of variables
        What enters.
    outputs : list of lists of variables
        What comes out, each with all that are equal.
    scalars : tuple of bool, optional
        For each leaf, whether it is one number for all elements. None where the tensor is one
        number itself, so that nothing tells the two kinds from each other.
    """

    formula: Formula
    depth: int
    leaves: list[Any]
    outputs: list[list[Any]]
    scalars: tuple[bool, ...] | None


def regions(fgraph: Any) -> list[Region]:
    """Return the regions that compute next values, in the order of the graph."""
    graph = Graph(fgraph)
    found = []
    for nodes in graph.connected():
        region = Reading(graph, nodes).region()
        if region is not None:
            found.append(region)
    return found


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


class Reading:
    """Nodes on their way to a region.

    Parameters
    ----------
    graph : Graph
        The graph.
    nodes : list of nodes
        Nodes of it, each after those that it needs.
    entry : variable, optional
        The one leaf that may come from a pattern.

    Attributes
    ----------
    steps : list
        The operations so far, see `Formula`.
    number_of : dict
        Result to the number of its step.
    leaves : dict
        What enters, with its number.
    """

    def __init__(self, graph: Graph, nodes: list[Apply], entry: Any = None) -> None:
        self.graph, self.in_order, self.nodes, self.entry = graph, nodes, set(nodes), entry
        self.steps: list[tuple[Any, tuple[Any, ...]]] = []
        self.number_of: dict[Any, int] = {}
        self.leaves: dict[Any, int] = {}

    def region(self) -> Region | None:
        """Return the region, or None if there is none."""
        graph = self.graph
        outputs = self.outputs()
        if graph.next_of.keys().isdisjoint(outputs):
            return None
        results = tuple(self.source(output)[1] for output in outputs)
        leaves = list(self.leaves)
        is_one_number = is_scalar(outputs[0])
        tensors = leaves if is_one_number else [v for v in leaves if not is_scalar(v)]
        cut = {v for v in tensors if v is not self.entry and not self.may_enter(v)}
        if cut:
            return None if self.entry is not None else self.rest(cut)
        owns = tuple(self.leaves.get(graph.next_of.get(output)) for output in outputs)
        readers = [self.readers(output) for output in outputs]
        if not all(map(has_algebra, self.in_order)) and any(
            isinstance(node.op, Elemwise | DimShuffle) for nodes in readers for node in nodes
        ):
            return None
        if is_one_number and any(readers):
            return None  # depths do not count what one number leads to, such as a step counter
        formula = Formula(
            tuple(self.steps),
            results,
            owns,
            tuple(output in graph.returned for output in outputs),
            tuple(leaf.type.dtype for leaf in leaves),
        )
        scalars = None if is_one_number else tuple(map(is_scalar, leaves))
        equals = [graph.equals[output] for output in outputs]
        return Region(formula, graph.members[self.in_order[0]], leaves, equals, scalars)

    def may_enter(self, leaf: Any) -> bool:
        """Say whether no pattern is cut where a leaf enters. What is only chosen is in none."""
        readers = [node for node in self.graph.readers.get(leaf, ()) if node in self.nodes]
        is_chosen = all(isinstance(node.op.scalar_op, ps.Switch) for node in readers)
        return is_chosen or self.graph.is_algebraic(leaf)

    def rest(self, cut: set[Any]) -> Region | None:
        """Return a region that begins at a variable through which all of `cut` enters.

        Of several, the last has least of what rewrites should see. But each next value should be
        computed where its old value is read, which is what it overwrites.
        """
        best = None
        for entry in self.entries(cut)[::-1]:
            before = set(apply_ancestors([entry]))
            if any(node in before and node.outputs[0] in self.graph.next_of for node in self.nodes):
                continue
            kept = [node for node in self.in_order if node not in before]
            region = Reading(self.graph, kept, entry).region()
            if region is not None and None not in region.formula.owns:
                return region
            best = best or region
        return best

    def entries(self, cut: set[Any]) -> list[Any]:
        """Return the variables after which nothing else is used that depends on `cut`."""
        graph, found = self.graph, []
        left = {v: sum(node in self.nodes for node in graph.readers[v]) for v in cut}
        for node in self.in_order:
            sources = [v for v in graph.inputs(node) if v in left]
            for variable in sources:
                left[variable] -= 1
                if not left[variable]:
                    del left[variable]
            if sources:
                [output] = node.outputs
                readers, is_out = graph.updates_read(output), self.is_out(output)
                if readers or is_out:
                    left[output] = len(readers) + is_out
                is_last = list(left) == [output] and not is_out
                if is_last and all(map(has_algebra, [node, *readers])):
                    found.append(output)
        return found

    def outputs(self) -> list[Any]:
        """Return what is needed outside, in an order that does not depend on the dictionary."""
        names: dict[Any, str] = {}
        for node in self.in_order:
            operands = [names.get(variable, "") for variable in self.graph.inputs(node)]
            text = f"{node.op.scalar_op}({', '.join(operands)})"
            names[node.outputs[0]] = sha256(text.encode()).hexdigest()
        return sorted(filter(self.is_out, names), key=names.__getitem__)

    def is_out(self, variable: Any) -> bool:
        """Say whether an update outside needs a variable, or it is a next value."""
        return variable in self.graph.next_of or bool(self.readers(variable))

    def readers(self, output: Any) -> list[Apply]:
        """Return the nodes outside that an update needs an output for."""
        return [node for node in self.graph.updates_read(output) if node not in self.nodes]

    def source(self, variable: Any) -> tuple[Any, ...]:
        """Return where an argument comes from, after adding the steps that compute it."""
        waiting = [variable]
        while waiting:
            base = self.base(waiting[-1])
            if base in self.number_of or not self.is_step(base):
                waiting.pop()
                continue
            sources = [self.base(v) for v in self.graph.inputs(base.owner)]
            missing = [v for v in sources if self.is_step(v) and v not in self.number_of]
            if missing:
                waiting += missing[::-1]
            else:
                step = base.owner.op.scalar_op, tuple(map(self.known_source, sources))
                self.number_of[base] = len(self.steps)
                self.steps.append(step)
        return self.known_source(self.base(variable))

    def base(self, variable: Any) -> Any:
        """Return a variable without axes that a number got, and of equal ones the first."""
        return self.graph.first(without_axes(variable))

    def is_step(self, base: Any) -> bool:
        """Say whether a variable is computed in the region."""
        is_constant = isinstance(base, Constant) and is_scalar(base)
        return (
            not is_constant
            and base.owner is not None
            and (base.owner in self.nodes or is_known(base))
        )

    def known_source(self, base: Any) -> tuple[Any, ...]:
        """Return where an argument comes from whose steps are there."""
        if base in self.number_of:
            return "step", self.number_of[base]
        if isinstance(base, Constant) and is_scalar(base):
            return "constant", base.type.dtype, base.data.tobytes()
        return "leaf", self.leaves.setdefault(base, len(self.leaves))


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


def is_known(variable: Any) -> bool:
    """Say whether a single number is computed from constants alone."""
    node = variable.owner
    if node is None:
        return isinstance(variable, Constant)
    is_plain = isinstance(node.op, Elemwise | DimShuffle) and len(node.outputs) == 1
    return is_plain and is_scalar(variable) and all(map(is_known, node.inputs))


def without_axes(variable: Any) -> Any:
    """Return a single number as it was before it got axes, and anything else as it is."""
    node = variable.owner
    if node is not None and isinstance(node.op, DimShuffle) and node.inputs[0].type.ndim == 0:
        return without_axes(node.inputs[0])
    return variable
