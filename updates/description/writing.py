"""Writing: from the tree of a formula to text, and to mathematics for notebooks.

- ``Names``: what each leaf is called, so that no two have one name
- ``written``: a formula as text
- ``written_in_latex``: the same for MathJax

Text follows Python's grammar with ``^`` for powers, ``where(c, a, b)``, ``x'`` for the new value of
x, ``g(x)`` for the gradient of x or at x, and ``sum(all x)`` for a sum over all parameters. A name
that is no plain word, or that stands for something else, is put in backticks.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pytensor.graph.basic import Variable

from updates.description.formula import Leaf, Tree, age

_PLAIN = re.compile(r"[^\W\d][\w.]*(#\d+)?")
# What a name alone stands for, so that variables with such names are told apart.
_RESERVED = {
    "all",
    "and",
    "finite",
    "g",
    "Hu",
    "inf",
    "nan",
    "not",
    "or",
    "p",
    "t",
    "True",
    "False",
}
_RESERVED |= {"with", "where", "sum", "prod", "max", "min", "any", "norm", "normal", "fill", "next"}
_OR, _AND, _NOT, _COMPARE, _ADD, _DIVIDE, _MULTIPLY, _NEGATE, _POWER, _ATOM = range(10)
_PRECEDENCE = {"or": _OR, "and": _AND, "+": _ADD, "-": _ADD, "*": _MULTIPLY, "/": _MULTIPLY}
_PRECEDENCE |= dict.fromkeys(("<", "<=", ">", ">=", "==", "!="), _COMPARE)
_PRECEDENCE |= {"//": _DIVIDE, "%": _DIVIDE, "@": _DIVIDE, "^": _POWER}
# Lengths: a formula, all of it with its definitions, and what is worth a letter of its own.
_LIMIT, _WHOLE, _LONG = 600, 960, 30
_ENDLESS = 10**9
_LETTERS, _DIGITS = "abcdefhijklmnoqrsuvwxyz", ("", *map(str, range(1, 10**4)))
_DEPTHS = (60, 30, 20, 15, 12, 10, 8, 7, 6, 5, 4, 3, 2, 1)


class Names:
    """What each leaf of a dictionary is called.

    Parameters
    ----------
    params : dict
        The names of parameters, which are settled.
    leaves : iterable of Leaf
        All others. What belongs to a parameter is ``velocity`` in formulas of this
        parameter and ``velocity(w)`` in others.
    """

    def __init__(self, params: Mapping[Any, str], leaves: Iterable[Leaf]) -> None:
        self.params = {param: _quoted(name, _RESERVED - {"p"}) for param, name in params.items()}
        self._names: dict[Any, str] = {}
        self.leaves = sorted(dict.fromkeys(leaves), key=lambda leaf: age(leaf.variable))
        with_gradient = {o for leaf in self.leaves if leaf.name == "g" for o in leaf.owners}
        self.all = with_gradient or {*params}
        owned = [leaf for leaf in self.leaves if leaf.owners and leaf.variable not in params]
        taken = {*self.params.values()}
        for leaf, name in self._distinct(owned, taken):
            self._names[leaf.variable] = name
        taken |= {*self._names.values()}
        free = [leaf for leaf in self.leaves if not leaf.owners and leaf.variable not in params]
        for needs_clock in (False, True):
            some = [leaf for leaf in free if (leaf.of is not None) == needs_clock]
            for leaf, name in self._distinct(some, taken):
                self._names[leaf.variable] = name
                taken.add(name)

    def _distinct(self, leaves: list[Leaf], taken: set[str]) -> Iterator[tuple[Leaf, str]]:
        """Give leaves their brief names, or clear ones where these are needed twice."""

        def places(leaf: Leaf, name: str) -> list[Any]:
            """Return where nothing else may have this name; gradients differ in their points."""
            return [(owner, leaf.of, name) for owner in leaf.owners] or [name]

        briefs = Counter(p for leaf in leaves for p in places(leaf, self._text(leaf, leaf.name)))
        used: set[Any] = set()
        for leaf in leaves:
            name = self._text(leaf, leaf.name)
            if name in taken or any(briefs[place] > 1 for place in places(leaf, name)):
                name = self._text(leaf, leaf.clear)
            count, first = 1, name
            while name in taken or used & {*places(leaf, name)}:
                count += 1
                name = f"{first}#{count}" if "`" not in first else f"`{first.strip('`')}#{count}`"
            used |= {*places(leaf, name)}
            yield leaf, name

    def _text(self, leaf: Leaf, name: str) -> str:
        """Quote a name unless it is what it looks like; a time has the name of its counter."""
        if leaf.name == "t" and leaf.of is not None and leaf.of in self._names:
            head, count, number = self._names[leaf.of].partition("#")
            return f"{head.removesuffix('step')}t{count}{number}"
        return name if leaf.is_symbol else _quoted(name, _RESERVED)

    def of(self, leaf: Leaf, own: Any, own_name: str, prime: str = "") -> str:
        """Return what a leaf is called in a formula of a parameter, which is called `own_name`."""
        if leaf.variable in self.params:
            name = self.params[leaf.variable]
            if leaf.variable is own:
                return own_name + prime
            return ("`p`" if name == "p" == own_name else name) + prime
        name = self._names[leaf.variable] + prime
        if leaf.end == "(step)":
            return f"{name}({self._names.get(leaf.of, 'step')})"
        if leaf.owners and not any(owner is own for owner in leaf.owners):
            return f"{name}({self.params.get(leaf.owners[0], '?')})"
        return name + leaf.end

    def words(self) -> set[str]:
        """Return all names, which letters for parts of a formula must not repeat."""
        return {*self.params.values(), *self._names.values(), *_RESERVED}


def _quoted(name: str, reserved: set[str]) -> str:
    if _PLAIN.fullmatch(name) and name not in reserved:
        return name
    return f"`{name.replace('`', '')}`"


class Writer:
    """Writes one formula as text, down to some depth."""

    def __init__(self, names: Names, variable: Any, own: Any, own_name: str) -> None:
        self.names, self.variable, self.own, self.own_name = names, variable, own, own_name

    def formula(self, left: Tree, right: Tree, cut: bool) -> tuple[str, list[str]]:
        """Write a formula and the definitions of the letters in it, and cut what is too long."""
        self.repeated = _repeated(right, self.variable)
        words = self.names.words()
        for self.depth in _DEPTHS if cut else (_ENDLESS,):
            self.letters: dict[Any, str] = {}
            letters = (letter + digit for digit in _DIGITS for letter in _LETTERS)
            self.free = (letter for letter in letters if letter not in words)
            text = f"{self._at(left, _OR, 2, frozenset())} = "
            text += self._at(right, _OR, self.depth, frozenset(), is_root=True)
            if len(text) <= _LIMIT:
                break
        return text, self._definitions(_WHOLE - len(text) if cut else _ENDLESS)

    def _definitions(self, space: int) -> list[str]:
        """Explain the letters, which may need further letters, as far as there is space."""
        parts: list[str] = []
        while len(parts) < len(self.letters):
            (tree, active), letter = list(self.letters.items())[len(parts)]
            known = len(self.letters)
            text = f"{letter} = {self._at(tree, _OR, self.depth, active, is_root=True)}"
            if len(text) + sum(len(part) + 2 for part in parts) > space:
                self.letters = dict(list(self.letters.items())[:known])
                rest = ", ".join(list(self.letters.values())[len(parts) :])
                return [*parts, f"{rest} = {self._cut()}"]
            parts.append(text)
        return parts

    def _at(
        self, tree: Tree, outer: int, depth: int, active: frozenset[Variable], is_root: bool = False
    ) -> str:
        """Write a tree, in brackets where it binds less than what is around it."""
        tree = _unnamed(tree, active, self.variable)
        if (tree, active) in self.repeated and not is_root:
            if (tree, active) not in self.letters:
                self.letters[tree, active] = next(self.free)
            return self.letters[tree, active]
        if depth <= 0 and tree.length > 20:
            return self._cut()
        text, precedence = self._bare(tree, depth - 1, active)
        return self._brackets(text) if precedence < outer else text

    def _bare(self, tree: Tree, depth: int, active: frozenset[Variable]) -> tuple[str, int]:
        def at(index: int, outer: int = _OR, holds: frozenset[Variable] = active) -> str:
            return self._at(tree.args[index], outer, depth, holds)

        head, count = tree.head, len(tree.args)
        if head == "number":
            return self._number(tree.what), _NEGATE if tree.what.startswith("-") else _ATOM
        if head in ("leaf", "new"):
            prime = "'" * (head == "new")
            return self._name(self.names.of(tree.what, self.own, self.own_name, prime)), _ATOM
        if head == "infix":
            return self._infix(tree, at)
        if head == "prefix":
            level = _NOT if tree.what == "not " else _NEGATE
            return self._prefix(tree.what, at(0, level + (level == _NEGATE))), level
        if head == "call" and tree.what == "where":
            then = active | {tree.extra[0]}
            return self._where(at(0), at(1, _OR, then), at(2)), _ATOM
        if head == "call":
            return self._call(tree.what, [at(i) for i in range(count)], tree.extra), _ATOM
        if head == "index":
            return f"{at(0, _ATOM)}[{', '.join(self._entries(tree, at))}]", _ATOM
        if head == "list":
            return f"[{', '.join(at(i) for i in range(count))}]", _ATOM
        if head == "at":
            point = at(0)
            is_name = tree.args[0].head == "leaf"
            point = f"{self._name(self.own_name)}={point}" if is_name else point
            name = self._name(self.names.of(tree.what, self.own, self.own_name))
            return f"{name}({point})", _ATOM
        if head == "joint":
            parts = self._joint(tree, depth, active)
            if tree.what == "sum" and len(parts) > 1:
                return self._operator("+", [self._call("sum", [p], ()) for p in parts]), _ADD
            return self._call(tree.what, parts, ()), _ATOM
        return self._cut(), _ATOM

    def _infix(self, tree: Tree, at: Any) -> tuple[str, int]:
        level = _PRECEDENCE[tree.what]
        sides = (level, level + 1)
        if level in (_POWER, _COMPARE, _DIVIDE):
            level_inside = {_POWER: _ATOM, _COMPARE: _ADD, _DIVIDE: _NEGATE}[level]
            sides = (level_inside, level_inside)
        parts = [at(i, sides[i > 0]) for i in range(len(tree.args))]
        if tree.what in ("/", "^"):
            return self._binary(tree.what, parts, lambda index: at(index, _OR))
        return self._operator(tree.what, parts), level

    def _entries(self, tree: Tree, at: Any) -> Iterator[str]:
        for entry in tree.extra:
            if isinstance(entry, tuple):
                start, stop, step = ("" if number is None else at(number) for number in entry)
                yield f"{start}:{stop}" + (f":{step}" if step else "")
            else:
                yield at(entry) if isinstance(entry, int) else entry

    def _joint(self, tree: Tree, depth: int, active: frozenset[Variable]) -> list[str]:
        """Write what a norm is taken of: ``all g`` where it is the same of all parameters."""
        before = self.own, self.own_name, self.repeated
        self.repeated = set()  # what a letter stands for would depend on the parameter
        owners = [_owner(part) for part in tree.args]
        texts = []
        for part, owner in zip(tree.args, owners, strict=True):
            self.own, self.own_name = owner, "p"
            texts.append(self._at(part, _POWER, depth, active))
        self.own, self.own_name, _ = before
        is_of_each = len({*texts}) == 1 and None not in owners and len({*owners}) == len(owners) > 1
        if not is_of_each:
            texts = [self._at(part, _OR, depth, active) for part in tree.args]
        self.repeated = before[2]
        if not is_of_each:
            return texts
        if {*owners} == self.names.all:
            return [self._all_of(texts[0])]
        some = ", ".join(self.names.params[owner] for owner in owners[:3])
        some += f", ... ({len(owners)})" if len(owners) > 3 else ""
        return [f"{self._all_of(texts[0])} of {self._name(some)}"]

    # --- What text and LaTeX write in their own ways ------------------------------------------

    def _cut(self) -> str:
        return "..."

    def _number(self, text: str) -> str:
        return text

    def _name(self, text: str) -> str:
        return text

    def _brackets(self, text: str) -> str:
        return f"({text})"

    def _operator(self, sign: str, parts: list[str]) -> str:
        space = "" if sign == "*" else " "
        return f"{space}{sign}{space}".join(parts)

    def _binary(self, sign: str, parts: list[str], _: Any) -> tuple[str, int]:
        return f"{parts[0]}{sign}{parts[1]}" if len(parts) == 2 else sign.join(parts), (
            _PRECEDENCE[sign]
        )

    def _prefix(self, sign: str, text: str) -> str:
        return sign + text

    def _all_of(self, text: str) -> str:
        return f"all {text}"

    def _where(self, condition: str, yes: str, no: str) -> str:
        return self._call("where", [condition, yes, no], ())

    def _call(self, function: str, args: list[str], keywords: tuple[str, ...]) -> str:
        return f"{function}({', '.join([*args, *keywords])})"


_SIGNS = {
    "*": r" \cdot ",
    "//": r" \mathbin{//} ",
    "%": r" \bmod ",
    "@": r" \mathbin{@} ",
    "<": r" \lt ",
    "<=": r" \le ",
    ">": r" \gt ",
    ">=": r" \ge ",
    "==": " = ",
    "!=": r" \ne ",
    "and": r" \land ",
    "or": r" \lor ",
}
_FUNCTIONS = {"exp", "log", "sin", "cos", "tan", "sinh", "cosh", "tanh", "max", "min"}
_ESCAPES: dict[str, Any] = {c: rf"\{c}" for c in "{}$&#%_"} | {
    "\\": r"\backslash ",
    "^": r"\hat{}",
    "~": r"\sim ",
    "<": r"\lt ",
    ">": r"\gt ",
    "`": "",
    " ": r"\ ",
}


class LatexWriter(Writer):
    """Writes one formula as mathematics."""

    def _cut(self) -> str:
        return r"\ldots "

    def _number(self, text: str) -> str:
        mantissa, e, exponent = text.partition("e")
        if text.lstrip("-") in ("inf", "nan", "True", "False"):
            return text.replace("inf", r"\infty ") if "inf" in text else rf"\mathrm{{{text}}}"
        if not e:
            return text
        return (mantissa + r" \cdot " if mantissa != "1" else "") + f"10^{{{exponent}}}"

    def _name(self, text: str) -> str:
        return "'".join(map(self._upright, text.split("'")))

    def _upright(self, word: str) -> str:
        if len(word) < 2 and (not word or word.isalnum()):
            return word
        return rf"\mathrm{{{word.translate(str.maketrans(_ESCAPES))}}}"

    def _brackets(self, text: str) -> str:
        return rf"\left({text}\right)"

    def _operator(self, sign: str, parts: list[str]) -> str:
        return _SIGNS.get(sign, f" {sign} ").join(parts)

    def _binary(self, sign: str, parts: list[str], at: Any) -> tuple[str, int]:
        if sign == "/":
            return rf"\frac{{{at(0)}}}{{{at(1)}}}", _MULTIPLY
        return rf"{{{parts[0]}}}^{{{at(1)}}}", _POWER

    def _prefix(self, sign: str, text: str) -> str:
        return (r"\lnot " if sign == "not " else sign) + text

    def _all_of(self, text: str) -> str:
        return rf"\mathrm{{all}}\ {text}"

    def _where(self, condition: str, yes: str, no: str) -> str:
        return (
            rf"\begin{{cases}}{yes} & \text{{if }}{condition} \\ {no} & \text{{else}}\end{{cases}}"
        )

    def _call(self, function: str, args: list[str], keywords: tuple[str, ...]) -> str:
        inside = ", ".join(args)
        if function == "sqrt":
            return rf"\sqrt{{{inside}}}"
        if function == "transpose" and len(args) == 1:
            return rf"{{\left({inside}\right)}}^{{\top}}"
        if function == "abs":
            return rf"\left|{inside}\right|"
        if function == "norm":
            return rf"\left\|{inside}\right\|"
        name = rf"\{function}" if function in _FUNCTIONS else self._name(function)
        said = ", ".join([inside, *map(self._name, keywords)])
        return rf"{name}\left({said}\right)"


def written(
    names: Names,
    sides: tuple[Tree, Tree],
    variable: Any,
    own: Any,
    name: str,
    cut: bool = True,
) -> str:
    """Write a formula as text: ``w' = a*a, with a = ...; b = ...``."""
    text, definitions = Writer(names, variable, own, name).formula(*sides, cut)
    return text + (f", with {'; '.join(definitions)}" if definitions else "")


def written_in_latex(
    names: Names, sides: tuple[Tree, Tree], variable: Any, own: Any, name: str
) -> list[str]:
    """Write a formula, and each of its definitions, as mathematics."""
    text, definitions = LatexWriter(names, variable, own, name).formula(*sides, cut=True)
    return [text, *definitions]


def _repeated(root: Tree, own: Any) -> set[tuple[Tree, frozenset[Variable]]]:
    """Find the long parts of a tree that are needed several times, where which conditions hold."""
    counts: Counter[tuple[Tree, frozenset[Variable]]] = Counter()
    stack: list[tuple[Tree, frozenset[Variable]]] = [(root, frozenset())]
    while stack:
        tree, active = stack.pop()
        tree = _unnamed(tree, active, own)
        counts[tree, active] += 1
        if counts[tree, active] == 1 and tree.head != "joint":
            for index, arg in enumerate(tree.args):
                is_then = tree.head == "call" and tree.what == "where" and index == 1
                stack.append((arg, active | {tree.extra[0]} if is_then else active))
    return {key for key, count in counts.items() if count > 1 and key[0].length > _LONG}


def _unnamed(tree: Tree, active: frozenset[Variable], own: Any) -> Tree:
    """Return the name of the new value that a tree is, where conditions hold, or the tree itself.

    In the formula of a variable its own name says nothing, nor that of one which has the same
    value and whose formula is this name.
    """
    while tree.head == "named":
        for variable, new, conditions in tree.extra:
            if variable is own:
                break
            if conditions <= active:
                return new
        [tree] = tree.args
    return tree


def _owner(tree: Tree) -> Any:
    """Return the parameter that the leaves of a tree belong to, if they all belong to one."""
    owners: set[Any] = set()
    seen, stack = set(), [tree]
    while stack:
        inner = stack.pop()
        if inner not in seen:
            seen.add(inner)
            stack += inner.args
            if isinstance(inner.what, Leaf):
                owners |= {*inner.what.owners[:1]}
    return owners.pop() if len(owners) == 1 else None
