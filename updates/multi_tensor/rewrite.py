"""The graph rewrites ``multi_tensor``: group the elementwise updates of a compiled function.

- ``GroupUpdates``: make one ``MultiTensor`` node of regions with equal formulas (before PyTensor
  rewrites anything)
- ``InPlace``: let these nodes write next values in the memory of the old ones

Each formula is rewritten once, by PyTensor's own rewrites, as a graph of vectors and numbers; then
it is one elementwise loop. What does not become one stays as it was.
"""

import warnings
from abc import abstractmethod
from typing import Any, NamedTuple

import numpy as np
import pytensor.tensor as pt
from pytensor.compile.aliasing import Supervisor
from pytensor.compile.mode import get_mode
from pytensor.graph.basic import Apply, Constant, Variable
from pytensor.graph.features import FullHistory, ReplaceValidate
from pytensor.graph.fg import FunctionGraph, Output
from pytensor.graph.replace import clone_replace
from pytensor.graph.rewriting.basic import GraphRewriter
from pytensor.graph.utils import InconsistencyError
from pytensor.tensor.elemwise import Elemwise
from pytensor.tensor.type import TensorType

from updates.multi_tensor import numba_is_ready
from updates.multi_tensor.membership import is_scalar, of_returned, updated
from updates.multi_tensor.op import COMMON, NUMBER, TENSOR, MultiTensor, arranged
from updates.multi_tensor.regions import Formula, Region, regions, without_axes
from updates.private import KERNEL

# Tensors of a node until the last rewrite puts all into one. PyTensor's rewrites need time that
# grows with the product of a node's inputs and outputs.
FEW = 8


class Rewrite(GraphRewriter):
    """A rewrite of functions with updates; if anything goes wrong, the graph is as it was."""

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
                    self.rewritten(fgraph)
                    fgraph.remove_feature(history)
                except Exception:
                    history.goto(0)
                    raise

    @abstractmethod
    def rewritten(self, fgraph: FunctionGraph) -> None:
        """Rewrite the graph."""


class GroupUpdates(Rewrite):
    """Replace regions with equal formulas by ``MultiTensor`` nodes."""

    def rewritten(self, fgraph: FunctionGraph) -> None:
        """Group regions, and reserve the memory of old values for new ones."""
        returned = of_returned(fgraph)  # these nodes stay
        for group, members in enumerate(grouped(regions(fgraph))):
            loop = Loop.of(members[0].formula, members[0].scalars or ())
            if loop is not None and loop.has_kernel():
                replace(fgraph, loop, members, group, returned)
        reserved = [own for owns in own_of(fgraph).values() for own in owns]
        if reserved:
            fgraph.attach_feature(Reserved(reserved))


class Reserved(Supervisor):
    """Keeps other nodes from overwriting what ``MultiTensor`` nodes will overwrite.

    These do so last, because PyTensor looks at all of their inputs again for each other node that
    might work in place.
    """

    def on_attach(self, fgraph: Any) -> None:
        """Stand beside the supervisor that each graph has."""
        self.fgraph = fgraph
        fgraph.reserved_for_updates = self

    def on_detach(self, fgraph: Any) -> None:
        """Give the memory free."""
        del fgraph.reserved_for_updates


def grouped(found: list[Region]) -> list[list[Region]]:
    """Return regions that can be computed together; at least one is of more than one number."""
    groups: dict[Any, dict[Any, list[Region]]] = {}
    for region in found:
        kinds = groups.setdefault((region.formula, region.depth), {})
        kinds.setdefault(region.scalars, []).append(region)
    result: list[list[Region]] = []
    for kinds in groups.values():
        numbers = kinds.pop(None, [])
        result += kinds.values()
        for members in list(kinds.values())[:1]:
            members += numbers
    return result


class Loop(NamedTuple):
    """A formula as one elementwise operation.

    Parameters
    ----------
    elemwise : Elemwise
        The operation.
    leaves : list of variables
        The leaves of the formula.
    inputs : list of variables
        What the operation is applied to: leaves, and numbers computed from them.
    results : list of int
        For each result of the formula, the output of the operation.
    """

    elemwise: Elemwise
    leaves: list[Any]
    inputs: list[Any]
    results: list[int]

    @classmethod
    def of(cls, formula: Formula, scalars: tuple[bool, ...]) -> "Loop | None":
        """Rewrite a formula, and return it if it is one operation."""
        leaves = [
            TensorType(dtype, () if scalar else (None,))()
            for dtype, scalar in zip(formula.dtypes, scalars, strict=True)
        ]
        values: list[Any] = []

        def value(kind: str, *which: Any) -> Any:
            if kind == "constant":
                dtype, data = which
                return pt.constant(np.frombuffer(data, dtype)[0], dtype=dtype)
            return (leaves if kind == "leaf" else values)[which[0]]

        for scalar_op, arguments in formula.steps:
            values.append(Elemwise(scalar_op)(*(value(*argument) for argument in arguments)))
        graph = FunctionGraph(leaves, [values[k] for k in formula.results], clone=False)
        get_mode("NUMBA").excluding("inplace", "multi_tensor").optimizer.rewrite(graph)
        nodes = {output.owner for output in graph.outputs}
        node = nodes.pop()
        if nodes or node is None or not isinstance(node.op, Elemwise):
            return None
        inputs = [number_of(variable) for variable in node.inputs]
        if any(v.type.ndim and v not in leaves for v in inputs):
            return None
        return cls(node.op, leaves, inputs, [node.outputs.index(v) for v in graph.outputs])

    def has_kernel(self) -> bool:
        """Say whether the loop can run in threads: without calls into Python, cachable."""
        from updates.multi_tensor.kernel import formula_function

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _, key = formula_function(self.elemwise, self.inputs)
        return key is not None


def replace(
    fgraph: FunctionGraph, loop: Loop, members: list[Region], group: int, returned: set[Apply]
) -> None:
    """Replace regions by nodes of a few tensors each."""
    numbers: dict[Any, list[Any]] = {}
    inputs = [streams(loop, region, numbers) for region in members]
    roles = tuple(
        TENSOR if not is_scalar(variable) else COMMON if len(set(given)) == 1 else NUMBER
        for variable, given in zip(loop.inputs, zip(*inputs, strict=True), strict=True)
    )
    for start in range(0, len(members), FEW):
        few = inputs[start : start + FEW]
        op = MultiTensor(loop.elemwise, roles, len(few), group)
        node = op.make_node(*arranged(roles, few))
        for tensor, region in enumerate(members[start : start + FEW]):
            results = op.outputs_of(node.outputs, tensor)
            for equals, position in zip(region.outputs, loop.results, strict=True):
                for output in equals:
                    replace_in_updates(fgraph, output, results[position], returned)


def replace_in_updates(fgraph: Any, variable: Any, new: Any, returned: set[Apply]) -> None:
    """Replace a variable, but not where something that is returned is computed from it."""
    new = variable.type.filter_variable(new, allow_convert=True)
    for client, index in list(fgraph.clients[variable]):
        is_there = isinstance(client.op, Output) or client in fgraph.apply_nodes
        if is_there and client not in returned:
            fgraph.change_node_input(client, index, new, reason="multi_tensor", import_missing=True)


def streams(loop: Loop, region: Region, numbers: dict[Any, list[Any]]) -> list[Variable]:
    """Return what a region has for the inputs of a loop, single numbers without axes.

    `numbers` keeps what is computed from the numbers of the regions so far.
    """
    given = {
        leaf: own if leaf.type.ndim else as_number(own)
        for leaf, own in zip(loop.leaves, region.leaves, strict=True)
    }
    known = {leaf: own for leaf, own in given.items() if leaf.type.ndim == 0}
    computed = [v for v in loop.inputs if v not in given and not isinstance(v, Constant)]
    key = tuple(known.values())
    if computed and key not in numbers:
        numbers[key] = clone_replace(computed, known)
    given |= zip(computed, numbers.get(key, ()), strict=True)
    return [given.get(variable, variable) for variable in loop.inputs]


def number_of(variable: Any) -> Variable:
    """Return a constant of one element, or a number that got axes, as 0-d; others as they are."""
    if isinstance(variable, Constant) and is_scalar(variable):
        return pt.constant(variable.data.item(), dtype=variable.type.dtype)
    return without_axes(variable)


def as_number(variable: Any) -> Variable:
    """Return a tensor of one element as 0-d."""
    return variable if variable.type.ndim == 0 else variable.dimshuffle(())


class InPlace(Rewrite):
    """Let ``MultiTensor`` nodes write next values in the memory of the old ones."""

    def rewritten(self, fgraph: Any) -> None:
        """Make one node in place of each group, or as few as possible."""
        if hasattr(fgraph, "reserved_for_updates"):
            fgraph.remove_feature(fgraph.reserved_for_updates)
        own = own_of(fgraph)
        tensors: dict[tuple[LoopKind, Pattern], list[TensorUpdate]] = {}
        for node in fgraph.toposort():
            if isinstance(op := node.op, MultiTensor):
                for number in range(op.n_tensors):
                    tensor = TensorUpdate(
                        op.inputs_of(node.inputs, number), op.outputs_of(node.outputs, number)
                    )
                    kind = LoopKind(op.elemwise.scalar_op, op.roles, op.group)
                    tensors.setdefault((kind, tensor.overwritten(own)), []).append(tensor)
        for (kind, pattern), members in tensors.items():
            overwrite(fgraph, kind, pattern, members)


# Which outputs take the memory of which inputs.
Pattern = tuple[tuple[int, int], ...]


class LoopKind(NamedTuple):
    """What tensors of one node have in common."""

    scalar_op: Any
    roles: tuple[str, ...]
    group: int


class TensorUpdate(NamedTuple):
    """What enters and what comes out of a ``MultiTensor`` node for one of its tensors."""

    inputs: list[Any]
    outputs: list[Any]

    def overwritten(self, own: dict[Any, set[Any]]) -> Pattern:
        """Return which outputs may take the memory of which inputs."""
        result: dict[int, int] = {}
        for position, output in enumerate(self.outputs):
            for source, variable in enumerate(self.inputs):
                if variable in own.get(output, ()) and source not in result.values():
                    result[position] = source
                    break
        return tuple(result.items())


def own_of(fgraph: Any) -> dict[Any, set[Any]]:
    """Return, for what ``MultiTensor`` nodes compute, the variables whose memory it may take."""
    own: dict[Any, set[Any]] = {}
    for value, old in updated(fgraph):
        node = value.owner
        if node is not None and isinstance(node.op, MultiTensor):
            own.setdefault(value, set()).update(set(old).intersection(node.inputs))
    return {value: variables for value, variables in own.items() if variables}


def overwrite(
    fgraph: FunctionGraph, kind: LoopKind, pattern: Pattern, tensors: list[TensorUpdate]
) -> None:
    """Give tensors of one formula one node that works in place, or several such nodes.

    One does not do where it would have to run before itself, as an old value is still needed
    between two updates.
    """
    if in_place(fgraph, kind, pattern, tensors):
        return
    half = len(tensors) // 2
    if half:
        overwrite(fgraph, kind, pattern, tensors[:half])
        overwrite(fgraph, kind, pattern, tensors[half:])
    else:
        possible: Pattern = ()
        for pair in pattern:
            changed = in_place(fgraph, kind, (*possible, pair), tensors)
            if changed:
                possible, tensors = (*possible, pair), changed


def in_place(
    fgraph: FunctionGraph, kind: LoopKind, pattern: Pattern, tensors: list[TensorUpdate]
) -> list[TensorUpdate]:
    """Replace the nodes of some tensors by one that overwrites what the pattern says, if it may."""
    elemwise = Elemwise(kind.scalar_op, dict(pattern))
    op = MultiTensor(elemwise, kind.roles, len(tensors), kind.group)
    node = op.make_node(*arranged(kind.roles, [tensor.inputs for tensor in tensors]))
    old = [variable for tensor in tensors for variable in tensor.outputs]
    pairs = list(zip(old, node.outputs, strict=True))
    try:
        fgraph.replace_all_validate(pairs, reason="multi_tensor")
    except InconsistencyError:
        return []
    return [
        tensor._replace(outputs=op.outputs_of(node.outputs, k)) for k, tensor in enumerate(tensors)
    ]
