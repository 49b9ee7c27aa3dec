"""Formulas: from the graph of a next value to a tree that can be written.

- ``Tree``: an operation on trees, or a leaf
- ``Leaf``: what is not taken apart, which is always a variable
- ``Formulas``: the trees of all next values of a dictionary
- ``bare``: a variable without what concerns types and shapes only
- ``joins_finite``: whether a variable is the condition of `apply_if_finite`
- ``is_clock``: whether a variable counts calls

A tree says what the graph computes, operation by operation. It is as simple as it reads because
it ends at gradients, at old values and at new values that another variable has, and because
`updates.provenance` says which operations the library put there for reasons that are not the
formula's: casts and guards. A cast that the user wrote is shown where it can change a value.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.op import HasInnerGraph
from pytensor.graph.traversal import ancestors, walk
from pytensor.tensor.basic import Alloc, Join, MakeVector
from pytensor.tensor.blockwise import Blockwise
from pytensor.tensor.elemwise import CAReduce, DimShuffle, Elemwise
from pytensor.tensor.random.op import RandomVariable
from pytensor.tensor.shape import Reshape, Shape_i, SpecifyShape
from pytensor.tensor.subtensor import AdvancedIncSubtensor, AdvancedSubtensor, IncSubtensor

from updates import provenance
from updates.description.gradients import Gradient
from updates.state import is_state

# Scalar operations that are written between their operands.
_INFIX = {
    "Add": "+",
    "Sub": "-",
    "Mul": "*",
    "TrueDiv": "/",
    "IntDiv": "//",
    "Mod": "%",
    "Pow": "^",
    "LT": "<",
    "LE": "<=",
    "GT": ">",
    "GE": ">=",
    "EQ": "==",
    "NEQ": "!=",
}
_LOGIC = {"OR": "or", "AND": "and"}
_NAMES = {
    "ScalarMaximum": "max",
    "ScalarMinimum": "min",
    "Maximum": "max",
    "Minimum": "min",
    "Switch": "where",
    "Second": "fill",
    "OR": "bitwise_or",
    "AND": "bitwise_and",
    "XOR": "xor",
    "Invert": "invert",
    "RoundHalfToEven": "round",
    "RoundHalfAwayFromZero": "round_half_away",
}
_PRODUCTS = ("Dot", "BatchedDot", "MatMul", "Matmul", "Dot22")
_INVISIBLE = (
    "TensorFromScalar",
    "ScalarFromTensor",
    "Unbroadcast",
    "DeepCopyOp",
    "OwnCopy",
    "ViewOp",
    "ConsiderConstant",
    "ZeroGrad",
    "DisconnectedGrad",
)
# What no formula goes deeper than: the model of a gradient that was not recognized, for instance.
_DEEPEST = 150
# Up to how many elements a constant is written out.
_FEW = 8


@dataclass(frozen=True, eq=False)
class Leaf:
    """What is not taken apart.

    Parameters
    ----------
    variable : symbolic or shared variable
        What it stands for; two leaves are two variables.
    name, clear : str
        What it is called, briefly and where that is not clear.
    owners : tuple of shared variables
        The parameters that it belongs to, in whose formulas it needs no other name.
    end : str
        What follows the name: "()" for random draws, "(step)" for schedules.
    is_symbol : bool
        Whether the name is the library's own word for it.
    of : variable, optional
        The step counter that it is the time of, or the point that a gradient is taken at.
    """

    variable: Any
    name: str
    clear: str
    owners: tuple[Any, ...] = ()
    end: str = ""
    is_symbol: bool = False
    of: Any = None


@dataclass(frozen=True, eq=False)
class Tree:
    """An operation on trees, or a leaf.

    Parameters
    ----------
    head : str
        "leaf", "new" (the new value of a leaf), "number", "infix", "prefix", "call", "index",
        "list", "at", "joint", "named" (has the name of a new value, perhaps) or "..." (cut).
    what : str, Leaf
        The operator, function, number or leaf.
    args : tuple of trees
        What it is applied to.
    extra : tuple
        Keywords of a call, entries of an index, new values that a tree may be the value of.
    """

    head: str
    what: Any = ""
    args: tuple["Tree", ...] = ()
    extra: tuple[Any, ...] = ()
    length: int = field(default=0, repr=False)

    def __post_init__(self) -> None:
        own = 8 if isinstance(self.what, Leaf) else len(str(self.what)) + 2
        object.__setattr__(self, "length", own + sum(arg.length for arg in self.args))


_CUT = Tree("...")


class Formulas:
    """The trees of the next values of a dictionary.

    Parameters
    ----------
    items : dict
        Shared variable to next value.
    leaves : dict
        The leaves of shared variables that have a name in the dictionary.
    gradients : dict
        The gradients in these graphs.
    loss : symbolic scalar, optional
        What is minimized, if it is known.
    """

    def __init__(
        self,
        items: Mapping[Any, Variable],
        leaves: Mapping[Any, Leaf],
        gradients: Mapping[Variable, Gradient],
        loss: Variable | None = None,
    ) -> None:
        self.items, self.gradients = items, gradients
        self.leaves: dict[Any, Leaf] = dict(leaves)
        self._losses: set[Any] = set()
        self._schedules: dict[Any, tuple[str, Any]] = {}
        roots = [*items.values(), *(point for g in gradients.values() for point in g.at)]
        formula = list(walk(roots, self._sources, bfs=False))
        self._losses = {found for v in formula if (found := provenance.loss_in(v)) is not None}
        self._losses |= {loss} - {None}
        self._schedules = {
            value: (name.rpartition("/")[2], clock)
            for clock in {*formula, *items}
            for name, value in provenance.of(clock).schedules.items()
            if value.owner is not None
        }
        self._new = self._new_values()
        self._trees: dict[Variable, Tree] = {}
        self._depths = self._depths_from(roots)
        for root in roots:
            self._build(root)

    def of(self, variable: Any) -> tuple[Tree, Tree]:
        """Return the trees of a new value's name, and of what it is."""
        leaf, value = self.leaves[variable], bare(self.items[variable])
        if not hasattr(value.type, "dtype"):  # a random generator
            return Tree("new", leaf), Tree("call", "next", (Tree("leaf", leaf),))
        rows = _rows_set(variable, value)
        if rows is None:
            return Tree("new", leaf), self._build(value)
        return self._new_tree(variable), self._build(rows)

    def _new_tree(self, variable: Any) -> Tree:
        """Name a new value: ``p'``, or ``p'[index]``."""
        new = Tree("new", self.leaves[variable])
        value = bare(self.items[variable])
        if _rows_set(variable, value) is None:
            return new
        return Tree("index", args=(new, self._build(value.owner.inputs[2])), extra=(1,))

    def _new_values(self) -> dict[Variable, list[tuple[Any, frozenset[Variable]]]]:
        """Find the variables that are new values, and under which scalar conditions."""
        found: dict[Variable, list[tuple[Any, frozenset[Variable]]]] = {}
        for variable, value in sorted(self.items.items(), key=_parameters_first):
            conditions: frozenset[Variable] = frozenset()
            value = bare(value)
            while True:
                rows = _rows_set(variable, value)
                value = value if rows is None else bare(rows)
                if value.owner is not None:
                    found.setdefault(value, []).append((variable, conditions))
                if _scalar_name(value) != "Switch":
                    break
                condition, yes, no = value.owner.inputs
                is_scalar = all(length == 1 for length in condition.type.shape)
                if not is_scalar or not _is_old(variable, bare(no)):
                    break
                conditions |= {condition_of(condition)}
                value = bare(yes)
        return found

    # --- Building, inputs first ---------------------------------------------------------------

    def _depths_from(self, roots: Sequence[Variable]) -> dict[Variable, int]:
        depths = dict.fromkeys(roots, 0)
        queue = list(roots)
        for variable in queue:
            for source in self._sources(variable):
                if source not in depths:
                    depths[source] = depths[variable] + 1
                    queue.append(source)
        return depths

    def _sources(self, variable: Any) -> list[Any]:
        """Return what the tree of a variable is made of."""
        if variable in self.gradients:
            return list(self.gradients[variable].at)
        if self._is_leaf(variable):
            return []
        record = provenance.of(variable)
        if record.joint:
            return _parts(variable)
        inner = _inside(variable)
        return sources_of(variable) if inner is None else [inner]

    def _is_leaf(self, variable: Any) -> bool:
        return (
            variable.owner is None
            or variable in self.gradients
            or variable in self._losses
            or variable in self._schedules
            or bool(provenance.of(variable).symbol)
            or isinstance(variable.owner.op, RandomVariable | HasInnerGraph)
            or not hasattr(variable.type, "dtype")
        )

    def _build(self, root: Variable) -> Tree:
        stack = [root]
        while stack:
            variable = stack[-1]
            if variable in self._trees:
                stack.pop()
                continue
            if self._depths.get(variable, 0) > _DEEPEST:
                self._trees[variable] = _CUT
                continue
            missing = [v for v in self._sources(variable) if v not in self._trees]
            if missing:
                stack += missing
                continue
            tree = self._tree(variable)
            if variable in self._new and not self._is_leaf(variable):
                named = tuple((v, self._new_tree(v), c) for v, c in self._new[variable])
                tree = Tree("named", args=(tree,), extra=named)
            self._trees[variable] = tree
        return self._trees[root]

    def _tree(self, variable: Any) -> Tree:
        if self._is_leaf(variable):
            return self._leaf(variable)
        record = provenance.of(variable)
        if record.joint:
            name = "norm" if record.joint == "norm" else "sum"
            parts = [self._trees[part] for part in _parts(variable)]
            if name == "sum":
                parts = [Tree("infix", "^", (part, _number(2))) for part in parts]
            return Tree("joint", name, tuple(parts))
        inner = _inside(variable)
        return self._operation(variable) if inner is None else self._trees[inner]

    # --- Leaves -------------------------------------------------------------------------------

    def _leaf(self, variable: Any) -> Tree:
        if isinstance(variable, Constant) and (tree := _constant(variable)) is not None:
            return tree
        if variable not in self.leaves:
            self.leaves[variable] = self._new_leaf(variable)
        leaf = self.leaves[variable]
        if variable.owner is not None and isinstance(variable.owner.op, HasInnerGraph):
            return Tree("call", type(variable.owner.op).__name__.lower(), (_CUT,))
        if leaf.of is not None and variable in self.gradients:
            return Tree("at", leaf, (self._trees[leaf.of],))
        return Tree("leaf", leaf)

    def _new_leaf(self, variable: Any) -> Leaf:
        record = provenance.of(variable)
        if variable in self.gradients:
            gradient = self.gradients[variable]
            moved = [
                p for p, own in zip(gradient.at, gradient.params, strict=False) if p is not own
            ]
            point = moved[0] if moved else None
            kind = gradient.kind
            return Leaf(variable, kind, kind, gradient.params, is_symbol=True, of=point)
        if variable in self._schedules:
            name, clock = self._schedules[variable]
            return Leaf(variable, name, name, end="(step)", of=clock)
        if record.symbol == "t":
            [clock] = [v for v in ancestors([variable]) if is_state(v)]
            same = [leaf for leaf in self.leaves.values() if (leaf.name, leaf.of) == ("t", clock)]
            time = Leaf(variable, "t", f"{record.owner}.t", is_symbol=True, of=clock)
            return same[0] if same else time
        if record.symbol:
            name = record.symbol.removesuffix("()")
            own = self.gradients.get(record.param)
            owners = (record.param,) if own is None else own.params
            end = record.symbol[len(name) :]
            owners = owners if record.param is not None else ()
            return Leaf(variable, name, name, owners, end, is_symbol=True)
        if variable.owner is not None and isinstance(variable.owner.op, RandomVariable):
            name = str(variable.owner.op.name)
            return Leaf(variable, name, name, end="()", is_symbol=True)
        if variable in self._losses:
            name = variable.name or "loss"
            return Leaf(variable, name, name)
        if isinstance(variable, Constant):
            return Leaf(variable, "constant", "constant")
        name = variable.name or "nameless"
        if is_state(variable):
            parts = name.split("/")
            owners = () if record.param is None else (record.param,)
            return Leaf(variable, parts[-1], ".".join(parts[-2:]), owners)
        return Leaf(variable, name, name)

    # --- Operations ---------------------------------------------------------------------------

    def _operation(self, variable: Any) -> Tree:
        node = variable.owner
        op = node.op.core_op if isinstance(node.op, Blockwise) else node.op
        args = tuple(self._trees[v] for v in sources_of(variable))
        if isinstance(op, Elemwise):
            return self._elementwise(variable)
        if isinstance(op, CAReduce):
            return _reduction(variable, args, keepdims=False)
        if isinstance(op, DimShuffle):
            return self._dimshuffle(variable)
        if isinstance(op, IncSubtensor | AdvancedIncSubtensor):
            name = "set" if op.set_instead_of_inc else "increase"
            part = _index(op.idx_list, (args[0], *args[2:]))
            return Tree("call", name, (part, args[1]))
        if hasattr(op, "idx_list"):
            return _index(op.idx_list, args)
        if isinstance(op, Alloc):
            return Tree("call", "broadcast_to", (args[0], Tree("list", args=args[1:])))
        if isinstance(op, MakeVector):
            return Tree("list", args=args)
        if isinstance(op, Join):
            # PyTensor 3.0 gives the axis as the first input.
            axis = getattr(op, "axis", None)
            joined = Tree("list", args=args[1:] if axis is None else args)
            axis = node.inputs[0].data if axis is None else axis
            return Tree("call", "concatenate", (joined,), (f"axis={int(axis)}",))
        if isinstance(op, Shape_i):
            shape = Tree("call", "shape", args)
            return Tree("index", args=(shape, _number(int(op.i))), extra=(1,))
        if isinstance(op, Reshape):
            return Tree("call", "reshape", args)
        name = type(op).__name__
        if name in _PRODUCTS:
            return Tree("infix", "@", args)
        if hasattr(op, "name_of_each"):
            return Tree("call", op.name_of_each, args)
        tree = Tree("call", name.lower().removesuffix("op"), args, tuple(_keywords(op)))
        if len(node.outputs) == 1:
            return tree
        which = _number(node.outputs.index(variable))
        return Tree("index", args=(tree, which), extra=(1,))

    def _elementwise(self, variable: Any) -> Tree:
        node = variable.owner
        name = type(node.op.scalar_op).__name__
        args = self._broadcast_args(variable)
        is_bool = variable.type.dtype == "bool"
        if name in _INFIX:
            return Tree("infix", _INFIX[name], args)
        if name in _LOGIC and is_bool:
            return Tree("infix", _LOGIC[name], args)
        if name == "Invert" and is_bool:
            return Tree("prefix", "not ", args)
        if name == "Neg":
            return Tree("prefix", "-", args)
        if name == "Sqr":
            return Tree("infix", "^", (*args, _number(2)))
        if name == "Reciprocal":
            return Tree("infix", "/", (_number(1), *args))
        if name == "Cast":
            return Tree("call", variable.type.dtype, args)
        if name == "Switch":
            condition = condition_of(node.inputs[0])
            return Tree("call", "where", args, (condition,))
        return Tree("call", _NAMES.get(name, name.lower()), args)

    def _broadcast_args(self, variable: Any) -> tuple[Tree, ...]:
        """Return the arguments of an elementwise operation, as briefly as NumPy would have them.

        An axis that NumPy adds by itself is not shown, nor is a shape that another argument has.
        """
        inputs = variable.owner.inputs
        brief = [self._brief(v, variable) for v in inputs]
        lengths = [tuple(v.type.shape) for v in inputs]
        by_size = sorted(range(len(inputs)), key=lambda i: -len(brief[i][1]))
        used = [shape for _, shape in brief]
        trees = [tree for tree, _ in brief]
        for index in [None, *by_size]:
            if index is not None:
                trees[index], used[index] = self._trees[inputs[index]], lengths[index]
            if _covers(used, variable.type.shape):
                break
        return tuple(trees)

    def _brief(self, variable: Any, user: Any) -> tuple[Tree, tuple[Any, ...]]:
        """Return the shortest text that broadcasts to a variable, and its shape."""
        outer = variable
        while (
            not self._is_leaf(outer) and outer not in self._new and not provenance.of(outer).joint
        ):
            inner = _inside(outer)
            op = outer.owner.op
            if inner is not None:
                outer = inner
            elif isinstance(op, DimShuffle) and _adds_axes_in_front(op):
                outer = outer.owner.inputs[0]
            elif _scalar_name(outer) == "Second":
                outer = outer.owner.inputs[1]
            elif isinstance(op, Alloc):
                outer = outer.owner.inputs[0]
            else:
                break
        if isinstance(outer, Constant) and _is_uniform(outer):
            return _constant_number(outer, user), ()
        return self._trees.get(outer, _CUT), tuple(outer.type.shape)

    def _dimshuffle(self, variable: Any) -> Tree:
        op, [source] = variable.owner.op, variable.owner.inputs
        order = list(op.new_order)
        kept = [axis for axis in order if axis != "x"]
        inner = bare(source)
        node = inner.owner
        if node is not None and isinstance(node.op, CAReduce) and inner not in self._new:
            axes = _axes_of(inner)
            if kept == sorted(kept) and [i for i, axis in enumerate(order) if axis == "x"] == axes:
                summed = self._trees.get(node.inputs[0], _CUT)
                return _reduction(inner, (summed,), keepdims=True)
        tree = self._trees[source]
        dropped = [axis for axis in range(source.type.ndim) if axis not in kept]
        if dropped:
            entries = ["0" if axis in dropped else ":" for axis in range(source.type.ndim)]
            tree = Tree("index", args=(tree,), extra=tuple(entries))
            kept = [axis - sum(d < axis for d in dropped) for axis in kept]
        if kept != sorted(kept):
            is_reversed = kept == sorted(kept, reverse=True)
            order_given = [] if is_reversed else [Tree("list", args=tuple(map(_number, kept)))]
            tree = Tree("call", "transpose", (tree, *order_given))
        if "x" in order:
            entries = ["None" if axis == "x" else ":" for axis in order]
            tree = Tree("index", args=(tree,), extra=tuple(entries))
        return tree


# --- What variables are -----------------------------------------------------------------------


def bare(variable: Any) -> Any:
    """Look through all that concerns types and shapes only, and what the library says so of."""
    while (inner := _inside(variable)) is not None:
        variable = inner
    return variable


def condition_of(variable: Any) -> Any:
    """Return a scalar condition as it was before it got the axes of what it chooses from."""
    while True:
        variable = bare(variable)
        node = variable.owner
        if node is None or not (isinstance(node.op, DimShuffle) and _adds_axes_in_front(node.op)):
            return variable
        variable = node.inputs[0]


def joins_finite(variable: Any) -> bool:
    """Tell the condition of `apply_if_finite`."""
    return provenance.of(variable).symbol == "finite"


def is_clock(variable: Any) -> bool:
    """Tell a counter of calls of the library."""
    return (
        is_state(variable)
        and str(variable.name).endswith("/step")
        and variable.type.dtype == "int64"
    )


def sources_of(variable: Any) -> list[Any]:
    """Return what a result is computed from.

    An operation that does the same to each of several tensors has a ``name_of_each``: its results
    read as if they came from their own tensors alone.
    """
    node = variable.owner
    if hasattr(node.op, "name_of_each"):
        return [node.inputs[node.outputs.index(variable)]]
    return node.inputs


def _inside(variable: Any) -> Any:
    """Return what a variable is another type or shape of, or None."""
    node = variable.owner
    if node is None:
        return None
    record = provenance.of(variable)
    if record.symbol or record.joint:
        return None
    if record.reads_as is not None:
        return node.inputs[record.reads_as]
    name = _scalar_name(variable)
    if isinstance(node.op, SpecifyShape) or type(node.op).__name__ in _INVISIBLE:
        return node.inputs[0]
    if name == "Cast" and isinstance(node.inputs[0], Constant):
        return None  # 0.1 in float32 is not 0.1 in float64
    if name == "Identity" or (name == "Cast" and _is_wider(node.inputs[0], variable)):
        return node.inputs[0]
    if name == "Second" and _same_axes(node.inputs[1], variable):
        return node.inputs[1]
    if isinstance(node.op, Alloc) and _same_axes(node.inputs[0], variable):
        return node.inputs[0]
    if isinstance(node.op, DimShuffle) and list(node.op.new_order) == list(
        range(node.inputs[0].type.ndim)
    ):
        return node.inputs[0]
    return None


def _is_wider(narrow: Any, wide: Any) -> bool:
    """Tell a cast that keeps every value and every operation on it."""
    kinds = {np.dtype(v.type.dtype).kind for v in (narrow, wide)}
    return narrow.type.dtype == wide.type.dtype or (
        kinds == {"f"} and np.can_cast(narrow.type.dtype, wide.type.dtype)
    )


def _same_axes(value: Any, result: Any) -> bool:
    """Tell whether a value is broadcast to what it is already."""
    shapes = value.type.shape, result.type.shape
    return len(shapes[0]) == len(shapes[1]) and all(
        (old == 1) == (new == 1) for old, new in zip(*shapes, strict=True)
    )


def _scalar_name(variable: Variable) -> str:
    """Return the name of an elementwise operation."""
    op = variable.owner.op if variable.owner else None
    return type(op.scalar_op).__name__ if isinstance(op, Elemwise) else ""


def _adds_axes_in_front(op: DimShuffle) -> bool:
    axes = [axis for axis in op.new_order if axis != "x"]
    front = len(op.new_order) - len(axes)
    return axes == list(range(op.input_ndim)) and set(op.new_order[:front]) <= {"x"}


def _covers(shapes: Sequence[tuple[Any, ...]], result: tuple[Any, ...]) -> bool:
    """Tell whether arguments of some shapes broadcast to a result, as far as types tell."""
    if max(map(len, shapes)) < len(result):
        return False
    return all(
        length == 1 or any(len(s) >= place and s[-place] != 1 for s in shapes)
        for place, length in enumerate(reversed(result), 1)
    )


def _parts(variable: Any) -> list[Any]:
    """Return the tensors of a joint norm or sum of squares, see `updates.norms`."""
    if provenance.of(variable).joint == "norm":
        [variable] = variable.owner.inputs
    is_sum = isinstance(variable.owner.op, CAReduce)
    sums = [variable] if is_sum else variable.owner.inputs
    return [total.owner.inputs[0].owner.inputs[0] for total in sums]


def _rows_set(variable: Any, value: Any) -> Any:
    """Return what rows of a table are set to, if its next value is that."""
    node = value.owner
    if node is None or not isinstance(node.op, AdvancedIncSubtensor):
        return None
    is_rows = node.op.set_instead_of_inc and node.op.idx_list == (0,)
    return node.inputs[1] if is_rows and node.inputs[0] is variable else None


def _is_old(variable: Any, value: Any) -> bool:
    """Tell the old value of a variable, or old rows of it."""
    node = value.owner
    is_rows = node is not None and isinstance(node.op, AdvancedSubtensor)
    return value is variable or (is_rows and node.inputs[0] is variable)


def _parameters_first(item: tuple[Any, Variable]) -> tuple[bool, str, int]:
    variable, _ = item
    return is_state(variable), str(variable.name), age(variable)


def age(variable: Variable) -> int:
    """Return the number that PyTensor gives each variable when it is made."""
    return int(variable.auto_name.rpartition("_")[2])


# --- Parts of trees ---------------------------------------------------------------------------


def _number(value: Any) -> Tree:
    """Write a number as briefly as its own type allows without another value."""
    if isinstance(value, bool | np.bool_):
        return Tree("number", str(bool(value)))
    text = str(value.item() if isinstance(value, np.integer) else value)
    if isinstance(value, float | np.floating):
        text = str(np.asarray(value)[()])
        mantissa, e, exponent = text.partition("e")
        text = mantissa.removesuffix(".0") + (e and f"e{int(exponent)}")
    return Tree("number", text)


def _is_uniform(variable: Any) -> bool:
    data = np.asarray(variable.data)
    is_plain = data.dtype.kind in "biuf" and data.size > 0
    return is_plain and bool((data == data.flat[0]).all() or (data != data).all())


def _constant_number(variable: Any, user: Any = None) -> Tree:
    """Write a constant as one number; where it is used in a wider type, say which it is."""
    record = provenance.of(variable)
    if record.number is not None:
        return _number(record.number)
    value = np.asarray(variable.data).flat[0]
    tree = _number(value)
    if user is None or value.dtype.kind != "f" or np.dtype(user.type.dtype).kind != "f":
        return tree
    is_wider = np.dtype(user.type.dtype).itemsize > value.dtype.itemsize
    if is_wider and np.isfinite(value) and float(tree.what) != float(value):
        return Tree("call", value.dtype.name, (tree,))
    return tree


def _constant(variable: Any) -> Tree | None:
    """Write a small constant out, and None for others."""
    data = np.asarray(variable.data)
    if data.dtype.kind not in "biuf":
        return None
    if data.ndim == 0:
        return _constant_number(variable)
    if _is_uniform(variable) and data.size > 1:
        shape = Tree("list", args=tuple(map(_number, data.shape)))
        return Tree("call", "broadcast_to", (_constant_number(variable), shape))
    return _listed(data) if data.size <= _FEW else None


def _listed(data: np.ndarray) -> Tree:
    return Tree("list", args=tuple(_listed(row) if row.ndim else _number(row[()]) for row in data))


def _axes_of(variable: Any) -> list[int]:
    op, [inner] = variable.owner.op, variable.owner.inputs
    axes = range(inner.type.ndim) if op.axis is None else op.axis
    return sorted(axes)


def _reduction(variable: Any, args: tuple[Tree, ...], keepdims: bool) -> Tree:
    op, [inner] = variable.owner.op, variable.owner.inputs
    axes = _axes_of(variable)
    if not axes:
        return args[0]
    extra = []
    if len(axes) < inner.type.ndim:
        extra.append(f"axis={axes[0] if len(axes) == 1 else tuple(axes)}")
    extra += ["keepdims=True"] * keepdims
    dtypes = [np.dtype(v.type.dtype) for v in (inner, variable)]
    if dtypes[0].kind == "f" and dtypes[1].itemsize < dtypes[0].itemsize:
        extra.append(f"dtype={dtypes[1].name}")
    return Tree("call", type(op).__name__.lower(), args, tuple(extra))


def _index(entries: Sequence[Any], args: tuple[Tree, ...]) -> Tree:
    """Write ``base[i, 1:n]``; an entry of `extra` is the number of an argument, or text."""
    said: list[Any] = []
    for entry in entries:
        if isinstance(entry, slice):
            bounds = (entry.start, entry.stop, entry.step)
            said.append(tuple(None if b is None else int(b) + 1 for b in bounds))
        else:
            said.append("None" if entry is None else int(entry) + 1)
    return Tree("index", args=args, extra=tuple(said))


def _keywords(op: Any) -> Iterator[str]:
    """Return what tells one operation from another of its kind."""
    for name in getattr(op, "__props__", None) or ():
        value = getattr(op, name)
        simple = bool | int | float | str
        if isinstance(value, simple) or (
            isinstance(value, tuple) and all(isinstance(v, simple) for v in value)
        ):
            yield f"{name}={value}"
