"""Operations: how each is written, as text and as mathematics.

- ``Tree``, ``Leaf``: an operation on trees, and what is not taken apart
- ``operation``: the tree of an elementwise operation
- ``call``, ``joint_of``, ``index``, ``listed``, ``number``: other trees
- ``upright``: a word in mathematics

In a pattern ``$0`` is the first operand. A level tells how strongly an operation binds, and an
operand that binds less than its place asks for is put in brackets.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

OR, AND, NOT, COMPARE, ADD, DIVIDE, MULTIPLY, NEGATE, POWER, ATOM = range(10)
PLACE = re.compile(r"\$(\d+)")
_CASES = r"\begin{cases}$1 & \text{if }$0 \\ $2 & \text{else}\end{cases}"
# By the name of the scalar operation: text, LaTeX, level, levels of operands in text, in LaTeX.
_PATTERNS: dict[str, tuple[str, str, int, tuple[int, ...], tuple[int, ...]]] = {
    "Neg": ("-$0", "-$0", NEGATE, (POWER,), (POWER,)),
    "Not": ("not $0", r"\lnot $0", NOT, (NOT,), (NOT,)),
    "Sqr": ("$0^2", "{$0}^{2}", POWER, (ATOM,), (ATOM,)),
    "Pow": ("$0^$1", "{$0}^{$1}", POWER, (ATOM, ATOM), (ATOM,)),
    "Reciprocal": ("1/$0", r"\frac{1}{$0}", MULTIPLY, (NEGATE,), ()),
    "TrueDiv": ("$0/$1", r"\frac{$0}{$1}", MULTIPLY, (MULTIPLY, NEGATE), ()),
    "Switch": ("where($0, $1, $2)", _CASES, ATOM, (), ()),
}
# What is written between operands: text, LaTeX, level, level of the first and of the others.
_SIGNS = {
    "Or": (" or ", r" \lor ", OR, OR, AND),
    "And": (" and ", r" \land ", AND, AND, NOT),
    "LT": (" < ", r" \lt ", COMPARE, ADD, ADD),
    "LE": (" <= ", r" \le ", COMPARE, ADD, ADD),
    "GT": (" > ", r" \gt ", COMPARE, ADD, ADD),
    "GE": (" >= ", r" \ge ", COMPARE, ADD, ADD),
    "EQ": (" == ", " = ", COMPARE, ADD, ADD),
    "NEQ": (" != ", r" \ne ", COMPARE, ADD, ADD),
    "Add": (" + ", " + ", ADD, ADD, DIVIDE),
    "Sub": (" - ", " - ", ADD, ADD, DIVIDE),
    "IntDiv": (" // ", r" \mathbin{//} ", DIVIDE, NEGATE, NEGATE),
    "Mod": (" % ", r" \bmod ", DIVIDE, NEGATE, NEGATE),
    "Matmul": (" @ ", r" \mathbin{@} ", DIVIDE, NEGATE, NEGATE),
    "Mul": ("*", r" \cdot ", MULTIPLY, MULTIPLY, NEGATE),
}
_ALIASES = {"OR": "Or", "AND": "And", "Invert": "Not"}  # of truth values
PRODUCTS = ("Dot", "BatchedDot", "MatMul", "Matmul", "Dot22")
_ALIASES |= dict.fromkeys(PRODUCTS, "Matmul")
# Functions that are not called what their operation is.
_FUNCTIONS = {
    "ScalarMaximum": "max",
    "ScalarMinimum": "min",
    "Maximum": "max",
    "Minimum": "min",
    "Second": "fill",
    "OR": "bitwise_or",
    "AND": "bitwise_and",
    "Invert": "invert",
    "RoundHalfToEven": "round",
    "RoundHalfAwayFromZero": "round_half_away",
}
# What is around the arguments of a function in LaTeX.
_AROUND = {
    "sqrt": (r"\sqrt{", "}"),
    "abs": (r"\left|", r"\right|"),
    "norm": (r"\left\|", r"\right\|"),
    "transpose": (r"{\left(", r"\right)}^{\top}"),
}
_AROUND |= {
    name: (rf"\{name}\left(", r"\right)")
    for name in ("exp", "log", "sin", "cos", "tan", "sinh", "cosh", "tanh", "max", "min")
}
_ESCAPES: dict[str, Any] = {c: rf"\{c}" for c in "{}$&#%_"} | {
    "<": r"\lt ",
    ">": r"\gt ",
    "`": "",
    " ": r"\ ",
}
_ESCAPES |= {"\\": r"\backslash ", "^": r"\hat{}", "~": r"\sim "}


@dataclass(frozen=True, eq=False)
class Leaf:
    """What is not taken apart; two leaves are two variables."""

    variable: Any  # what it stands for
    name: str  # what it is called where that is clear
    clear: str = ""  # and where it is not
    owners: tuple[Any, ...] = ()  # the parameters in whose formulas it needs no other name
    end: str = ""  # what follows the name: "()" for random draws, "(step)" for schedules
    is_symbol: bool = False  # whether the name is the library's own word for it
    of: Any = None  # the step counter of a time, the point that a gradient is taken at


@dataclass(frozen=True, eq=False)
class Tree:
    """An operation on trees, with the patterns to write it, or a leaf.

    The kinds are "leaf", "new" (the new value of a leaf), "at" (a gradient at a point), "joint"
    (may be written as one for all parameters), "named" (may have the name of a new value) and
    "where"; ``what`` is the leaf, the function and the tensors that it joins, the new values, or
    the condition.
    """

    text: str
    args: tuple["Tree", ...] = ()
    latex: str = ""  # as in text where there is none
    level: int = ATOM
    inside: tuple[int, ...] = ()  # what places ask for: nothing where there is no entry
    inside_latex: tuple[int, ...] | None = None
    kind: str = ""
    what: Any = None
    length: int = field(default=0, repr=False)

    def __post_init__(self) -> None:
        own = len(PLACE.sub("", self.text).strip()) + 2
        object.__setattr__(self, "length", own + sum(arg.length for arg in self.args))


CUT = Tree("...", latex=r"\ldots ")


def operation(name: str, args: tuple[Tree, ...], is_bool: bool = False, what: Any = None) -> Tree:
    """Write an elementwise operation, or a product of matrices."""
    name = _ALIASES.get(name, name) if is_bool or name not in _FUNCTIONS else name
    if name in _PATTERNS:
        kind = "where" if name == "Switch" else ""
        text, latex, level, inside, inside_latex = _PATTERNS[name]
        return Tree(text, args, latex, level, inside, inside_latex, kind, what)
    if name in _SIGNS:
        sign, latex, level, first, others = _SIGNS[name]
        places = _places(args)
        inside = (first, *[others] * (len(args) - 1))
        return Tree(sign.join(places), args, latex.join(places), level, inside)
    return call(_FUNCTIONS.get(name, name.lower()), args)


def call(name: str, args: Sequence[Tree], keywords: Iterable[str] = ()) -> Tree:
    """Write ``name(x, y, axis=0)``."""
    text = ", ".join([*_places(args), *keywords])
    inside = ", ".join([*_places(args), *map(upright, keywords)])
    before, after = _AROUND.get(name, (rf"{upright(name)}\left(", r"\right)"))
    return Tree(f"{name}({text})", tuple(args), before + inside + after)


def joint_of(function: str, parts: Sequence[Tree]) -> Tree:
    """Write what joins all elements of tensors: a norm, or a sum of squares."""
    if function == "norm":
        return replace(call("norm", parts), kind="joint", what=("norm", parts))
    squares = [operation("Sqr", (part,)) for part in parts]
    sums = tuple(call("sum", [square]) for square in squares)
    tree = sums[0] if len(sums) == 1 else operation("Add", sums)
    return replace(tree, kind="joint", what=("sum", squares))


def index(entries: Sequence[Any], args: tuple[Tree, ...]) -> Tree:
    """Write ``base[i, 1:n]``: entries are numbers of further operands, slices of such, or text."""

    def bound(entry: Any) -> str:
        return "" if entry is None else f"${int(entry) + 1}"

    said = []
    for entry in entries:
        if isinstance(entry, slice):
            step = f":{bound(entry.step)}" if entry.step is not None else ""
            said.append(f"{bound(entry.start)}:{bound(entry.stop)}{step}")
        else:
            said.append(str(entry) if entry is None or isinstance(entry, str) else bound(entry))
    return Tree(f"$0[{', '.join(said)}]", args, inside=(ATOM,))


def listed(args: Sequence[Tree]) -> Tree:
    """Write ``[x, y]``."""
    return Tree(f"[{', '.join(_places(args))}]", tuple(args))


def number(value: Any) -> Tree:
    """Write a number as briefly as its own type allows without another value."""
    if isinstance(value, bool | np.bool_):
        return Tree(str(bool(value)), latex=upright(str(bool(value))))
    text = str(value.item() if isinstance(value, np.integer) else value)
    latex = ""
    if isinstance(value, float | np.floating):
        mantissa, e, exponent = str(np.asarray(value)[()]).partition("e")
        text = mantissa = mantissa.removesuffix(".0")
        if e:
            text += f"e{int(exponent)}"
            latex = rf"{mantissa} \cdot " * (mantissa != "1") + f"10^{{{int(exponent)}}}"
        latex = {"nan": upright("nan")}.get(text, latex or text.replace("inf", r"\infty "))
    return Tree(text, latex=latex, level=NEGATE if text.startswith("-") else ATOM)


def upright(word: str) -> str:
    """Write a word in LaTeX; a single letter is one already."""
    if len(word) < 2 and (not word or word.isalnum()):
        return word
    return rf"\mathrm{{{word.translate(str.maketrans(_ESCAPES))}}}"


def _places(args: Sequence[Tree]) -> list[str]:
    return [f"${position}" for position in range(len(args))]
