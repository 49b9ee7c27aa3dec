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

from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NamedTuple

import pytensor.scalar as ps
from pytensor.graph.basic import Apply, Constant
from pytensor.graph.traversal import apply_ancestors
from pytensor.tensor.elemwise import DimShuffle, Elemwise

from updates.multi_tensor.membership import Graph, has_algebra, is_scalar


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
