"""Formulas: from the graph of a next value to an expression.

- ``Formulas``: the expressions of all next values of a dictionary
- ``is_clock``: whether a variable counts calls
- ``joins_finite``: whether a condition is that of `apply_if_finite`
- ``is_old_value``: whether a next value is the old one, up to its type

An expression ends at gradients, at old values, and at new values that another variable has.
What concerns types and shapes only, casts and broadcasts for instance, leaves no trace in it.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.op import HasInnerGraph
from pytensor.tensor.basic import Alloc
from pytensor.tensor.blockwise import Blockwise
from pytensor.tensor.elemwise import CAReduce, DimShuffle, Elemwise
from pytensor.tensor.math import All
from pytensor.tensor.random.op import RandomVariable
from pytensor.tensor.shape import Shape, SpecifyShape
from pytensor.tensor.subtensor import AdvancedIncSubtensor, AdvancedSubtensor, IncSubtensor

from updates.description.expression import (
    Term,
    add,
    apply,
    divide,
    multiply,
    negate,
    number,
    over_all,
    power,
    symbol,
    value_of,
    where,
)
from updates.description.gradients import Gradient
from updates.state import is_state

# What no formula goes deeper than: the model of a gradient that was not recognized, for instance.
_DEEPEST = 60

_ELEMENTWISE: dict[str, Callable[..., Term]] = {
    "Sub": lambda a, b: add([(1, a), (-1, b)]),
    "Mul": lambda *factors: multiply(factors),
    "TrueDiv": divide,
    "Reciprocal": lambda a: divide(number(1), a),
    "Pow": power,
    "Sqr": lambda a: power(a, number(2)),
    "Neg": negate,
    "Switch": where,
    "Second": lambda a, b: b,
    "Cast": lambda a: a,
    "Identity": lambda a: a,
}
_NAMES = {
    "ScalarMaximum": "max",
    "ScalarMinimum": "min",
    "Maximum": "max",
    "Minimum": "min",
    "LT": "<",
    "LE": "<=",
    "GT": ">",
    "GE": ">=",
    "EQ": "==",
    "NEQ": "!=",
    "OR": "or",
    "AND": "and",
    "XOR": "xor",
    "Invert": "not",
    "IntDiv": "//",
    "Mod": "%",
    "RoundHalfToEven": "round",
    "Dot": "@",
    "MatMul": "@",
    "Matmul": "@",
    "Dot22": "@",
    "BatchedDot": "@",
    "All": "alltrue",
}
_INVISIBLE = (
    "TensorFromScalar",
    "ScalarFromTensor",
    "SpecifyShape",
    "Reshape",
    "Unbroadcast",
    "DeepCopyOp",
    "ViewOp",
)


class Formulas:
    """The expressions of the next values of a dictionary.

    Parameters
    ----------
    updates : dict
        Shared variable to next value.
    symbols : dict
        What shared variables are called: terms.
    gradients : dict
        The gradients in these graphs.
    """

    def __init__(
        self,
        updates: Mapping[Any, Variable],
        symbols: dict[Variable, Term],
        gradients: dict[Variable, Gradient],
    ) -> None:
        self.updates = updates
        self.symbols = dict(symbols)
        self.gradients = gradients
        self._nameless = 0
        self._bared: dict[Variable, Any] = {}
        self._terms: dict[Any, Term] = {}
        self._active: frozenset[Variable] = frozenset()
        # Next values that formulas of others may name, each with the conditions under which.
        self._new: dict[Variable, tuple[Any, frozenset[Variable]]] = {}
        self.clocks = {v for v in updates if is_clock(v)}
        for variable, value in sorted(updates.items(), key=_parameters_first):
            conditions: frozenset[Variable] = frozenset()
            while True:
                value = self._bare(value)
                for new in (value, self._rows_set(variable, value)):
                    if new is not None and self._bare(new).owner and variable not in self.clocks:
                        self._new.setdefault(self._bare(new), (variable, conditions))
                choice = self._choice_against(variable, value)
                if choice is None:
                    break
                conditions |= {self._bare(choice[0])}
                value = choice[1]
        for clock in self.clocks:
            for name, value in getattr(clock.tag, "updates_schedules", {}).items():
                if value.owner is not None:
                    argument = self.symbols[clock].args[0]
                    self.symbols[value] = symbol(f"{name.rpartition('/')[2]}({argument})")

    def of(self, variable: Any) -> Term:
        """Return the expression of the next value of a variable."""
        value = self._bare(self.updates[variable])
        if not hasattr(value.type, "dtype"):
            return apply("next", self.symbols[variable])
        rows = self._rows_set(variable, value)
        return self._next(variable, value if rows is None else self._bare(rows))

    def _next(self, variable: Any, value: Any) -> Term:
        """Make the expression of a next value, whose name says nothing here."""
        choice = self._choice_against(variable, value)
        if choice is not None:
            condition, yes, no = value.owner.inputs
            test = self._term(condition, 0)
            with self._where(condition):
                then = self._next(variable, self._bare(yes))
            return where(test, then, self._term(no, 0))
        if value.owner is None:
            return self._leaf(value)
        if value in self.gradients:
            return self._gradient(value)
        if variable in self.clocks and self._time(value) is not None:
            return add([(1, self.symbols[variable]), (1, number(1))])
        return self._operation(value, 0)

    @contextmanager
    def _where(self, condition: Variable) -> Iterator[None]:
        """Make expressions that count where a condition holds only."""
        outside = self._active
        self._active = outside | {self._bare(condition)}
        yield
        self._active = outside

    def of_new(self, variable: Any) -> Term:
        """Return what the next value of a variable is called: ``p'``, or ``p'[index]``."""
        name, params, _ = self.symbols[variable].args
        value = self._bare(self.updates[variable])
        new = symbol(name, params, new=True)
        if self._rows_set(variable, value) is None:
            return new
        return apply("index", new, self._term(value.owner.inputs[2], 0))

    def _term(self, variable: Variable, depth: int) -> Term:
        variable = self._bare(variable)
        key = variable, self._active
        if key not in self._terms:
            self._terms[key] = self._made(variable, depth)
        return self._terms[key]

    def _made(self, variable: Variable, depth: int) -> Term:
        if variable in self.symbols:
            return self.symbols[variable]
        if variable.owner is None:
            return self._leaf(variable)
        if variable in self.gradients:
            return self._gradient(variable)
        owner, conditions = self._new.get(variable, (None, frozenset()))
        if owner is not None and conditions <= self._active:
            return self.of_new(owner)
        if getattr(variable.tag, "updates_loss", False):
            return symbol(variable.name or "loss")
        if depth > _DEEPEST:
            return symbol("...")
        return self._operation(variable, depth + 1)

    def _leaf(self, variable: Any) -> Term:
        if variable not in self.symbols:
            if isinstance(variable, Constant):
                self.symbols[variable] = _constant(variable)
            else:
                self._nameless += not variable.name
                name = variable.name or f"nameless_{self._nameless}"
                name = name.replace("/", ".") if is_state(variable) else name
                self.symbols[variable] = symbol(name)
        return self.symbols[variable]

    def _gradient(self, variable: Variable) -> Term:
        gradient = self.gradients[variable]
        term = symbol(gradient.kind, gradient.params)
        if gradient.points and gradient.points[0] not in gradient.params:
            return apply("at", term, self._term(gradient.points[0], 0))
        return term

    def _operation(self, variable: Any, depth: int) -> Term:
        node = variable.owner
        op = getattr(node.op, "core_op", node.op) if isinstance(node.op, Blockwise) else node.op
        inputs = node.inputs
        if isinstance(op, Elemwise):
            return self._elementwise(variable, depth)
        if isinstance(op, CAReduce):
            return self._reduction(variable, depth)
        if isinstance(op, RandomVariable):
            return symbol(f"{op.name}()")
        if isinstance(op, HasInnerGraph):
            return symbol(f"{type(op).__name__.lower()}(...)")  # a loop, see `many_steps`
        if isinstance(op, Shape):
            return symbol("shape")
        if isinstance(op, Alloc):
            return self._term(inputs[0], depth)
        if isinstance(op, DimShuffle):
            return apply("transpose", self._term(inputs[0], depth))
        if isinstance(op, IncSubtensor | AdvancedIncSubtensor):
            target, values, *indices = inputs
            name = "set" if op.set_instead_of_inc else "increase"
            part = self._index(op.idx_list, target, indices, depth)
            return apply(name, part, self._term(values, depth))
        if hasattr(op, "idx_list"):
            base = self._term(inputs[0], depth)
            if base is symbol("shape"):
                return symbol("size")
            return self._index(op.idx_list, inputs[0], inputs[1:], depth)
        name = type(op).__name__
        name = getattr(op, "name_of_each", _NAMES.get(name, name.lower().removesuffix("op")))
        sources = sources_of(variable)
        return apply(name, *(self._term(v, depth) for v in sources if hasattr(v.type, "dtype")))

    def _elementwise(self, variable: Any, depth: int) -> Term:
        node = variable.owner
        name = type(node.op.scalar_op).__name__
        if name == "Add":
            return self._sum(variable, depth)
        if name == "AND":
            finite = _is_finite(variable)
            if finite is not None:
                return apply("isfinite", self._term(finite, depth))
            leaves = self._leaves(variable, "AND")
            if _are_finite(leaves):
                return symbol("finite")  # all new values are, see `apply_if_finite`
            return apply("and", *self._chain(variable, "AND", depth))
        if name == "Switch":
            condition, yes, no = node.inputs
            test = self._term(condition, depth)
            with self._where(condition):
                then = self._term(yes, depth)
            return where(test, then, self._term(no, depth))
        terms = [self._term(v, depth) for v in node.inputs]
        if name == "ScalarMaximum" and value_of(terms[1]) == 0 and _is_least(node.inputs[1]):
            return terms[0]
        if name in _ELEMENTWISE:
            return _ELEMENTWISE[name](*terms)
        return apply(_NAMES.get(name, name.lower()), *terms)

    def _chain(self, variable: Any, name: str, depth: int) -> list[Term]:
        """Return the terms that one operation joins, however they are nested."""
        terms = [self._term(leaf, depth) for leaf in self._leaves(variable, name)]
        return over_all(terms) if len(terms) > 1 and variable.type.ndim == 0 else terms

    def _leaves(self, variable: Any, name: str) -> list[Any]:
        """Return the variables that one operation joins."""
        leaves: list[Any] = []
        apart: set[Any] = set()
        stack = [variable]
        while stack:
            item = stack.pop()
            is_leaf = _scalar_name(item) != name or item in apart
            if not is_leaf and (item is variable or not self._has_name(item)):
                apart.add(item)
                stack += [self._bare(v) for v in reversed(item.owner.inputs)]
            else:
                leaves.append(item)
        return leaves

    def _has_name(self, variable: Any) -> bool:
        """Tell whether an operation is called something, and not taken apart."""
        return (
            variable in self.symbols
            or variable in self.gradients
            or (variable in self._new and self._new[variable][1] <= self._active)
            or getattr(variable.tag, "updates_loss", False)
            or self._time(variable) is not None
            or _is_finite(variable) is not None
        )

    def _sum(self, variable: Any, depth: int) -> Term:
        clock = self._time(variable)
        if clock is not None:
            return clock
        if variable.type.ndim == 0:
            return add([(1, term) for term in self._chain(variable, "Add", depth)])
        return add([(1, self._term(v, depth)) for v in variable.owner.inputs])

    def _time(self, variable: Any) -> Term | None:
        """Return ``t`` for ``step + 1``, the number of a call."""
        if _scalar_name(variable) != "Add":
            return None
        inputs = [self._bare(v) for v in variable.owner.inputs]
        clocks = [v for v in inputs if v in self.clocks]
        if not (clocks and len(inputs) == 2 and _is_one(inputs)):
            return None
        name = self.symbols[clocks[0]].args[0]
        head, _, count = name.partition("#")
        return symbol(head.removesuffix("step") + "t" + (count and f"#{count}"))

    def _reduction(self, variable: Any, depth: int) -> Term:
        op, [inner] = variable.owner.op, variable.owner.inputs
        name = type(op).__name__
        name = _NAMES.get(name, name.lower())
        term = self._term(inner, depth)
        if term is symbol("shape") or inner.type.ndim == 0 or op.axis == ():
            return symbol("size") if term is symbol("shape") else term
        if op.axis is None or len(op.axis) == inner.type.ndim:
            return apply(name, term)
        axes = op.axis[0] if len(op.axis) == 1 else tuple(op.axis)
        axes = -1 if axes == inner.type.ndim - 1 else axes
        return apply(name, term, f"axis={axes}")

    def _index(self, entries: Any, base: Variable, indices: list[Variable], depth: int) -> Term:
        def entry(kind: Any) -> Any:
            if isinstance(kind, int | np.integer):
                return self._term(indices[int(kind)], depth)
            bounds = [kind.start, kind.stop, kind.step]
            texts = ["" if b is None else _short(self._term(indices[b], depth)) for b in bounds]
            return ":".join(texts[:2]) + (f":{texts[2]}" if texts[2] else "")

        whole = slice(None, None, None)
        leading = next((i for i, e in enumerate(entries) if e != whole), 0)
        is_last = leading and len(entries) == base.type.ndim
        said = [*(["..."] if is_last else []), *map(entry, entries[leading * bool(is_last) :])]
        return apply("index", self._term(base, depth), *said)

    def _choice_against(self, variable: Any, value: Any) -> tuple[Variable, Variable] | None:
        """Return condition and choice of a next value that may also be the old one."""
        rows = self._rows_set(variable, value)
        if rows is not None:
            value = self._bare(rows)
        if _scalar_name(value) != "Switch":
            return None
        condition, yes, no = value.owner.inputs
        no = self._bare(no)
        return (condition, yes) if no is variable or _is_rows_of(variable, no) else None

    def _rows_set(self, variable: Any, value: Any) -> Any:
        """Return what rows of a table are set to, if its next value is that."""
        node = value.owner
        if node is None or not isinstance(node.op, AdvancedIncSubtensor):
            return None
        is_rows = node.op.set_instead_of_inc and node.op.idx_list == (0,)
        return node.inputs[1] if is_rows and node.inputs[0] is variable else None

    def _bare(self, variable: Any) -> Any:
        """Look through what concerns types and shapes only, down to what has a name."""
        if variable not in self._bared:
            inner = variable
            while inner is not None and inner not in self.gradients and inner not in self.symbols:
                bare, inner = inner, _inside(inner)
            self._bared[variable] = bare if inner is None else inner
        return self._bared[variable]


def joins_finite(variable: Any, known: Any) -> bool:
    """Tell the condition of `apply_if_finite` from the conditions that it is made of."""
    inputs = [_innermost(v) for v in variable.owner.inputs]
    is_and = _scalar_name(variable) == "AND" and variable.type.ndim == 0
    return is_and and (any(v in known for v in inputs) or _are_finite(inputs))


def _innermost(variable: Any) -> Any:
    """Look through all that concerns types and shapes."""
    while (inner := _inside(variable)) is not None:
        variable = inner
    return variable


def sources_of(variable: Any) -> list[Any]:
    """Return what a result is computed from.

    An operation that does the same to each of several tensors has a ``name_of_each``: its results
    read as if they came from their own tensors alone.
    """
    node = variable.owner
    if hasattr(node.op, "name_of_each"):
        return [node.inputs[node.outputs.index(variable)]]
    return node.inputs


def is_old_value(variable: Any, value: Any) -> bool:
    """Tell whether a next value is the old one."""
    return _innermost(value) is variable


def _inside(variable: Any) -> Any:
    """Return what a variable is another type or shape of, or None."""
    instead = getattr(variable.tag, "updates_reads_as", None)
    node = variable.owner
    if instead is not None or node is None:
        return instead
    is_same = (
        isinstance(node.op, SpecifyShape)
        or type(node.op).__name__ in _INVISIBLE
        or (isinstance(node.op, DimShuffle) and _keeps_order(node.op))
        or _scalar_name(variable) in ("Cast", "Identity")
        # sorted rows of a table, see updates.rows.written
        or (type(node.op).__name__ == "SortOp" and hasattr(node.inputs[0].tag, "updates_reads_as"))
    )
    if is_same:
        return node.inputs[0]
    return node.inputs[1] if _scalar_name(variable) == "Second" else None


def _short(term: Term) -> str:
    """Write a bound of a slice."""
    return str(term.args[1]) if term.head == "number" else str(term.args[0])


def _scalar_name(variable: Variable) -> str:
    """Return the name of an elementwise operation."""
    op = variable.owner.op if variable.owner else None
    return type(op.scalar_op).__name__ if isinstance(op, Elemwise) else ""


def _is_finite(variable: Any) -> Any:
    """Return the ``x`` of ``isfinite(x)``, which PyTensor writes as two conditions, or None."""
    if _scalar_name(variable) != "AND":
        return None
    tests = [v.owner.inputs[0] for v in variable.owner.inputs if _scalar_name(v) == "Invert"]
    if sorted(map(_scalar_name, tests)) != ["IsInf", "IsNan"]:
        return None
    first, second = (test.owner.inputs[0] for test in tests)
    return first if first is second else None


def _are_finite(conditions: list[Any]) -> bool:
    """Tell the condition of `apply_if_finite`: True, and each of many is finite throughout."""
    rest = [c for c in conditions if not (isinstance(c, Constant) and c.data.all())]
    inner = [c.owner.inputs[0] if c.owner and isinstance(c.owner.op, All) else c for c in rest]
    return 0 < len(rest) < len(conditions) and all(_is_finite(c) is not None for c in inner)


def _parameters_first(item: tuple[Any, Variable]) -> tuple[bool, str]:
    variable, _ = item
    return is_state(variable), str(variable.name)


def _keeps_order(op: DimShuffle) -> bool:
    axes = [axis for axis in op.new_order if axis != "x"]
    return axes == sorted(axes)


def _is_one(variables: list[Any]) -> bool:
    return any(
        isinstance(v, Constant) and v.data.size == 1 and v.data.item() == 1 for v in variables
    )


def _is_least(variable: Any) -> bool:
    """Tell the least epsilon, see updates.hyperparameters.as_scalar."""
    bare = _innermost(variable)
    return isinstance(bare, Constant) and bool(np.all(bare.data > 0))


def is_clock(variable: Any) -> bool:
    """Tell a counter of calls of the library."""
    return (
        is_state(variable)
        and str(variable.name).endswith("/step")
        and variable.type.dtype == "int64"
    )


def _is_rows_of(variable: Any, value: Any) -> bool:
    node = value.owner
    return (
        node is not None and isinstance(node.op, AdvancedSubtensor) and node.inputs[0] is variable
    )


def _constant(variable: Any) -> Term:
    data = np.asarray(variable.data)
    if data.dtype.kind not in "biuf":
        return symbol(str(data.dtype))
    if data.size == 0:
        return symbol("[]")
    if (data == data.flat[0]).all() or (data != data).all():
        return number(data.flat[0])
    if data.ndim == 1 and data.size <= 4:
        return symbol(f"[{', '.join(str(x) for x in data.tolist())}]")
    return symbol("constant")
