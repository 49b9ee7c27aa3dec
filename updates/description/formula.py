"""Formulas: from the graph of a next value to a tree that can be written.

- ``Formulas``: the trees of all next values of a dictionary

A tree says what the graph computes, operation by operation. It is as simple as it reads because
it ends at gradients, at old values and at new values that another variable has, and because
`updates.provenance` says which operations the library put there for reasons that are not the
formula's: casts and guards. A cast that the user wrote is shown where it can change a value.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.op import HasInnerGraph
from pytensor.graph.traversal import ancestors, walk_toposort
from pytensor.tensor.basic import Alloc, Join, MakeVector
from pytensor.tensor.blockwise import Blockwise
from pytensor.tensor.elemwise import CAReduce, DimShuffle, Elemwise
from pytensor.tensor.random.op import RandomVariable
from pytensor.tensor.shape import Shape_i
from pytensor.tensor.subtensor import AdvancedIncSubtensor, AdvancedSubtensor, IncSubtensor

from updates import provenance
from updates.description.bare import bare, inside, scalar_name, sources_of
from updates.description.constants import constant, constant_number, is_uniform
from updates.description.operations import (
    CUT,
    PRODUCTS,
    Leaf,
    Tree,
    call,
    index,
    joint_of,
    listed,
    number,
    operation,
)
from updates.given_numbers import is_number, present_value
from updates.loss_graph import by_age
from updates.rows import touched
from updates.state import is_state


class Formulas:
    """The trees of the next values of a dictionary.

    They end at gradients, at the loss if it is known, and at leaves: those that have a name in
    the dictionary are given, and others are added.
    """

    def __init__(
        self,
        items: Mapping[Any, Variable],
        leaves: Mapping[Any, Leaf],
        gradients: Mapping[Variable, provenance.Provenance],
        loss: Variable | None = None,
    ) -> None:
        self.items, self.gradients = items, gradients
        self.leaves: dict[Any, Leaf] = dict(leaves)
        self._losses: set[Any] = set()
        self._schedules: dict[Any, tuple[str, Any]] = {}
        formula = list(walk_toposort(items.values(), self._sources))
        self._losses = {loss, *map(provenance.loss_in, formula)} - {None}
        self._schedules = {
            value: (name.rpartition("/")[2], clock)
            for clock in {*formula, *items}
            for name, value in provenance.of(clock).schedules.items()
            if value.owner is not None
        }
        self._new = self._new_values()
        self._trees: dict[Variable, Tree] = {}
        rows = [index for key, new in items.items() for index in _index_of_rows(key, bare(new))]
        for variable in walk_toposort([*rows, *items.values()], self._sources):
            tree = self._tree(variable)
            if variable in self._new and not self._is_leaf(variable):
                named = tuple((v, self._new_tree(v), c) for v, c in self._new[variable])
                tree = Tree("$0", (tree,), kind="named", what=named)
            self._trees[variable] = tree

    def of(self, variable: Any) -> tuple[Tree, Tree]:
        """Return the trees of a new value's name, and of what it is."""
        value = bare(self.items[variable])
        if not hasattr(value.type, "dtype"):  # a random generator
            return self._new_tree(variable), call("next", [_leaf_tree(self.leaves[variable])])
        return self._new_tree(variable), self._trees[touched(variable, value)]

    def _new_tree(self, variable: Any) -> Tree:
        """Name a new value: ``p'``, or ``p'[index]``."""
        new = Tree("", kind="new", what=self.leaves[variable])
        rows = _index_of_rows(variable, bare(self.items[variable]))
        return index([0], (new, *(self._trees[row] for row in rows))) if rows else new

    def _new_values(self) -> dict[Variable, list[tuple[Any, frozenset[Variable]]]]:
        """Find the variables that are new values, and under which scalar conditions."""
        found: dict[Variable, list[tuple[Any, frozenset[Variable]]]] = {}
        for variable in sorted(by_age(self.items), key=lambda v: (is_state(v), str(v.name))):
            conditions: frozenset[Variable] = frozenset()
            value = bare(self.items[variable])
            while True:
                value = bare(touched(variable, value))
                if value.owner is not None:
                    found.setdefault(value, []).append((variable, conditions))
                if scalar_name(value) != "Switch":
                    break
                condition, yes, no = value.owner.inputs
                is_scalar = all(length == 1 for length in condition.type.shape)
                if not is_scalar or not _is_old(variable, bare(no)):
                    break
                conditions |= {bare(condition, broadcast=True)}
                value = bare(yes)
        return found

    def _sources(self, variable: Any) -> list[Any]:
        """Return what the tree of a variable is made of."""
        if variable in self.gradients:
            return list(self.gradients[variable].at)
        if self._is_leaf(variable):
            return []
        if provenance.of(variable).joint:
            return _parts(variable)
        inner = inside(variable)
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

    def _tree(self, variable: Any) -> Tree:
        if self._is_leaf(variable):
            return self._leaf(variable)
        if joint := provenance.of(variable).joint:
            parts = [self._trees[part] for part in _parts(variable)]
            return joint_of("norm" if joint == "norm" else "sum", parts)
        inner = inside(variable)
        return self._operation(variable) if inner is None else self._trees[inner]

    # --- Leaves -------------------------------------------------------------------------------

    def _leaf(self, variable: Any) -> Tree:
        if is_number(variable):
            return number(present_value(variable))
        if isinstance(variable, Constant) and (tree := constant(variable)) is not None:
            return tree
        if variable not in self.leaves:
            self.leaves[variable] = self._new_leaf(variable)
        leaf = self.leaves[variable]
        is_inner = variable.owner is not None and isinstance(variable.owner.op, HasInnerGraph)
        if is_inner and variable not in self.gradients and variable not in self._losses:
            return call(type(variable.owner.op).__name__.lower(), [CUT])
        if leaf.of is not None and variable in self.gradients:
            return Tree("", (self._trees[leaf.of],), kind="at", what=leaf)
        return _leaf_tree(leaf)

    def _new_leaf(self, variable: Any) -> Leaf:
        record = provenance.of(variable)
        name = variable.name or "nameless"
        owners = () if record.param is None else (record.param,)
        if variable in self.gradients:
            gradient = self.gradients[variable]
            at = zip(gradient.at, gradient.gradient_of, strict=False)
            point = next((p for p, own in at if p is not own), None)
            return Leaf(variable, gradient.kind, "", gradient.gradient_of, is_symbol=True, of=point)
        if variable in self._schedules:
            name, clock = self._schedules[variable]
            return Leaf(variable, name, end="(step)", of=clock)
        if record.symbol == "t":
            [clock] = [v for v in ancestors([variable]) if is_state(v)]
            same = [leaf for leaf in self.leaves.values() if (leaf.name, leaf.of) == ("t", clock)]
            time = Leaf(variable, "t", f"{record.owner}.t", is_symbol=True, of=clock)
            return same[0] if same else time
        if record.symbol:
            name, brackets, _ = record.symbol.partition("()")
            own = self.gradients.get(record.param)
            owners = owners if own is None else own.gradient_of
            return Leaf(variable, name, "", owners, brackets, is_symbol=True)
        if variable.owner is not None and isinstance(variable.owner.op, RandomVariable):
            return Leaf(variable, str(variable.owner.op.name), end="()", is_symbol=True)
        if isinstance(variable, Constant):
            name = "constant"
        elif variable in self._losses:
            name = variable.name or "loss"
        elif is_state(variable):
            parts = name.split("/")
            return Leaf(variable, parts[-1], ".".join(parts[-2:]), owners)
        return Leaf(variable, name)

    # --- Operations ---------------------------------------------------------------------------

    def _operation(self, variable: Any) -> Tree:
        node = variable.owner
        op: Any = node.op.core_op if isinstance(node.op, Blockwise) else node.op
        args = tuple(self._trees[v] for v in sources_of(variable))
        name = type(op).__name__
        if isinstance(op, Elemwise):
            return self._elementwise(variable)
        if isinstance(op, CAReduce):
            return _reduction(variable, args[0], keepdims=False)
        if isinstance(op, DimShuffle):
            return self._dimshuffle(variable)
        if isinstance(op, IncSubtensor | AdvancedIncSubtensor):
            part = index(op.idx_list, (args[0], *args[2:]))
            return call("set" if op.set_instead_of_inc else "increase", (part, args[1]))
        if hasattr(op, "idx_list"):
            return index(op.idx_list, args)
        if isinstance(op, Alloc):
            return call("broadcast_to", (args[0], listed(args[1:])))
        if isinstance(op, MakeVector):
            return listed(args)
        if isinstance(op, Join):
            # PyTensor 3.0 gives the axis as the first input.
            axis = getattr(op, "axis", None)
            args, axis = (args[1:], node.inputs[0].data) if axis is None else (args, axis)
            return call("concatenate", [listed(args)], [f"axis={axis}"])
        if isinstance(op, Shape_i):
            return index([str(op.i)], (call("shape", args),))
        if name in PRODUCTS:
            return operation(name, args)
        if hasattr(op, "name_of_each"):
            return call(op.name_of_each, args)
        said = () if name == "Reshape" else _keywords(op)
        tree = call(name.lower().removesuffix("op"), args, said)
        which = node.outputs.index(variable)
        return tree if len(node.outputs) == 1 else index([str(which)], (tree,))

    def _elementwise(self, variable: Any) -> Tree:
        name = type(variable.owner.op.scalar_op).__name__
        args = self._broadcast_args(variable)
        if name == "Cast":
            return call(variable.type.dtype, args)
        condition = bare(variable.owner.inputs[0], broadcast=True) if name == "Switch" else None
        return operation(name, args, variable.type.dtype == "bool", condition)

    def _broadcast_args(self, variable: Any) -> tuple[Tree, ...]:
        """Return the arguments of an elementwise operation, as briefly as NumPy would have them.

        An axis that NumPy adds by itself is not shown, nor is a shape that another argument has.
        """
        inputs = variable.owner.inputs
        brief = [self._brief(v, variable) for v in inputs]
        for place in sorted(range(len(inputs)), key=lambda place: -len(brief[place][1])):
            if _covers([shape for _, shape in brief], variable.type.shape):
                break
            brief[place] = self._trees[inputs[place]], inputs[place].type.shape
        return tuple(tree for tree, _ in brief)

    def _brief(self, variable: Any, user: Any) -> tuple[Tree, tuple[Any, ...]]:
        """Return the shortest text that broadcasts to a variable, and its shape."""
        inner = variable
        while inner is not None:
            variable = inner
            is_end = self._is_leaf(variable) or variable in self._new
            inner = None if is_end else inside(variable, broadcast=True)
        if isinstance(variable, Constant) and is_uniform(variable):
            return constant_number(variable, user), ()
        return self._trees.get(variable, CUT), tuple(variable.type.shape)

    def _dimshuffle(self, variable: Any) -> Tree:
        op, [source] = variable.owner.op, variable.owner.inputs
        order, ndim = list(op.new_order), source.type.ndim
        kept = [axis for axis in order if axis != "x"]
        inner = bare(source)
        if isinstance(getattr(inner.owner, "op", None), CAReduce) and inner not in self._new:
            new_axes = [place for place, axis in enumerate(order) if axis == "x"]
            if kept == sorted(kept) and new_axes == _axes_of(inner):
                return _reduction(inner, self._trees[inner.owner.inputs[0]], keepdims=True)
        tree = self._trees[source]
        if len(kept) < ndim:
            tree = index([":" if axis in kept else "0" for axis in range(ndim)], (tree,))
            kept = [sorted(kept).index(axis) for axis in kept]
        if kept != sorted(kept):
            is_reversed = kept == sorted(kept, reverse=True)
            given = [] if is_reversed else [listed([number(axis) for axis in kept])]
            tree = call("transpose", [tree, *given])
        if "x" in order:
            tree = index([None if axis == "x" else ":" for axis in order], (tree,))
        return tree


# --- What variables are -----------------------------------------------------------------------


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


def _index_of_rows(variable: Any, value: Any) -> list[Any]:
    """Return the index of the rows that a next value sets, if it sets rows."""
    return [] if touched(variable, value) is value else [value.owner.inputs[2]]


def _is_old(variable: Any, value: Any) -> bool:
    """Tell the old value of a variable, or old rows of it."""
    node = value.owner
    is_rows = node is not None and isinstance(node.op, AdvancedSubtensor)
    return value is variable or (is_rows and node.inputs[0] is variable)


# --- Parts of trees ---------------------------------------------------------------------------


def _leaf_tree(leaf: Leaf) -> Tree:
    return Tree("leaf", kind="leaf", what=leaf)


def _axes_of(variable: Any) -> list[int]:
    op, [inner] = variable.owner.op, variable.owner.inputs
    axes = range(inner.type.ndim) if op.axis is None else op.axis
    return sorted(axes)


def _reduction(variable: Any, arg: Tree, keepdims: bool) -> Tree:
    op, [inner] = variable.owner.op, variable.owner.inputs
    axes = _axes_of(variable)
    if not axes:
        return arg
    extra = []
    if len(axes) < inner.type.ndim:
        extra.append(f"axis={axes[0] if len(axes) == 1 else tuple(axes)}")
    extra += ["keepdims=True"] * keepdims
    dtypes = [np.dtype(v.type.dtype) for v in (inner, variable)]
    if dtypes[0].kind == "f" and dtypes[1].itemsize < dtypes[0].itemsize:
        extra.append(f"dtype={dtypes[1].name}")
    return call(type(op).__name__.lower(), [arg], extra)


def _keywords(op: Any) -> list[str]:
    """Return what tells one operation from another of its kind."""
    simple = bool | int | float | str
    values = {name: getattr(op, name) for name in getattr(op, "__props__", None) or ()}
    return [
        f"{name}={value}"
        for name, value in values.items()
        if all(isinstance(v, simple) for v in (value if isinstance(value, tuple) else [value]))
    ]
