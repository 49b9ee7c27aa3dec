"""Writing: from the tree of a formula to text, and to mathematics for notebooks.

- ``Names``: what each leaf is called, so that no two have one name
- ``Writer``: a formula as text or for MathJax

Text follows Python's grammar with ``^`` for powers, ``where(c, a, b)``, ``x'`` for the new value of
x, ``g(x)`` for the gradient of x or at x, and ``sum(all x)`` for a sum over all parameters. A name
that is no plain word, or that stands for something else, is put in backticks.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from pytensor.graph.basic import Variable

from updates.description.operations import ATOM, CUT, OR, PLACE, POWER, Leaf, Tree, call, upright
from updates.loss_graph import by_age

_PLAIN = re.compile(r"[^\W\d][\w.]*(#\d+)?")
# What a name alone stands for, so that variables with such names are told apart.
_RESERVED = {"all", "and", "finite", "g", "Hu", "inf", "nan", "not", "or", "p", "t", "True"}
_RESERVED |= {"False", "with", "where", "sum", "prod", "max", "min", "any", "norm", "normal"}
_RESERVED |= {"fill", "next"}
# Lengths: a formula, all of it with its definitions, and what is worth a letter of its own.
_LIMIT, _WHOLE, _LONG = 600, 960, 30
_ENDLESS = 10**9
_LETTERS, _DIGITS = "abcdefhijklmnoqrsuvwxyz", ("", *map(str, range(1, 10**4)))
_DEPTHS = (60, 30, 20, 15, 12, 10, 8, 7, 6, 5, 4, 3, 2, 1)


class Names:
    """What each leaf of a dictionary is called.

    The names of parameters are settled. What belongs to a parameter is ``velocity`` in formulas of
    this parameter and ``velocity(w)`` in others.
    """

    def __init__(self, params: Mapping[Any, str], leaves: Iterable[Leaf]) -> None:
        self.params = {param: _quoted(name, _RESERVED - {"p"}) for param, name in params.items()}
        self._names: dict[Any, str] = {}
        leaf_of = {leaf.variable: leaf for leaf in leaves}
        self.leaves = [leaf_of[variable] for variable in by_age(leaf_of)]
        with_gradient = {o for leaf in self.leaves if leaf.name == "g" for o in leaf.owners}
        self.all = with_gradient or {*params}
        ranks: list[list[Leaf]] = [[], [], []]  # times are named after their counters
        for leaf in self.leaves:
            if leaf.variable not in params:
                ranks[0 if leaf.owners else 1 + (leaf.of is not None)].append(leaf)
        for some in ranks:
            self._names |= self._distinct(some)

    def _distinct(self, leaves: list[Leaf]) -> dict[Any, str]:
        """Give leaves their brief names, or clear ones where these are needed twice."""

        def places(leaf: Leaf, name: str) -> set[Any]:
            """Return where nothing else may have this name; gradients differ in their points."""
            return {(owner, leaf.of, name) for owner in leaf.owners} or {name}

        briefs = Counter(p for leaf in leaves for p in places(leaf, self._text(leaf, leaf.name)))
        taken = {*self.params.values(), *self._names.values()}
        used: set[Any] = set()
        names = {}
        for leaf in leaves:
            name = self._text(leaf, leaf.name)
            if name in taken or any(briefs[place] > 1 for place in places(leaf, name)):
                name = self._text(leaf, leaf.clear or leaf.name)
            count, first = 1, name
            while name in taken or used & places(leaf, name):
                count += 1
                name = f"{first}#{count}" if "`" not in first else f"`{first.strip('`')}#{count}`"
            used |= places(leaf, name)
            names[leaf.variable] = name
        return names

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
    """Writes the formulas of one parameter, which is called `own_name`, as text or as LaTeX."""

    def __init__(self, names: Names, own: Any, own_name: str, latex: bool = False) -> None:
        self.names, self.own, self.own_name, self.latex = names, own, own_name, latex
        self.letters: dict[Any, str] = {}

    def formula(self, left: Tree, right: Tree, variable: Any, cut: bool = True) -> list[str]:
        """Write a formula and the definitions of the letters in it, and cut what is too long."""
        self.variable = variable
        self.repeated = _repeated(right, variable)
        words = self.names.words()
        for self.depth in _DEPTHS if cut else (_ENDLESS,):
            self.letters = {}
            letters = (letter + digit for digit in _DIGITS for letter in _LETTERS)
            self.free = (letter for letter in letters if letter not in words)
            text = f"{self._at(left, OR, 2)} = {self._at(right, OR, self.depth, is_root=True)}"
            if len(text) <= _LIMIT:
                break
        return [text, *self._definitions(_WHOLE - len(text) if cut else _ENDLESS)]

    def _definitions(self, space: int) -> list[str]:
        """Explain the letters, which may need further letters, as far as there is space."""
        parts: list[str] = []
        while len(parts) < len(self.letters):
            (tree, active), letter = list(self.letters.items())[len(parts)]
            known = list(self.letters.values())
            text = f"{letter} = {self._at(tree, OR, self.depth, active, is_root=True)}"
            if len(text) + sum(len(part) + 2 for part in parts) > space:
                return [*parts, f"{', '.join(known[len(parts) :])} = {self._filled(CUT, [])}"]
            parts.append(text)
        return parts

    def _at(
        self,
        tree: Tree,
        outer: int,
        depth: int,
        active: frozenset[Variable] = frozenset(),
        is_root: bool = False,
    ) -> str:
        """Write a tree, in brackets where it binds less than what is around it."""
        tree = _unnamed(tree, active, self.variable)
        if (tree, active) in self.repeated and not is_root:
            if (tree, active) not in self.letters:
                self.letters[tree, active] = next(self.free)
            return self.letters[tree, active]
        if depth <= 0 and tree.length > 20:
            tree = CUT
        text, level = self._bare(tree, depth - 1, active)
        if level >= outer:
            return text
        return rf"\left({text}\right)" if self.latex else f"({text})"

    def _bare(self, tree: Tree, depth: int, active: frozenset[Variable]) -> tuple[str, int]:
        if tree.kind == "joint" and (text := self._of_all(tree, depth, active)):
            return self._filled(call(tree.what[0], [CUT]), [text]), ATOM
        inside = tree.inside
        if self.latex and tree.inside_latex is not None:
            inside = tree.inside_latex
        parts = []
        repeated = self.repeated
        if tree.kind == "joint":
            self.repeated = set()
        for place, arg in enumerate(tree.args):
            then = active | {tree.what} if tree.kind == "where" and place == 1 else active
            parts.append(self._at(arg, inside[place] if place < len(inside) else OR, depth, then))
        self.repeated = repeated
        if tree.kind not in ("leaf", "new", "at"):
            return self._filled(tree, parts), tree.level
        prime = "'" * (tree.kind == "new")
        name = self._name(self.names.of(tree.what, self.own, self.own_name, prime))
        if parts:
            is_name = tree.args[0].kind == "leaf"
            name += f"({self._name(self.own_name)}={parts[0]})" if is_name else f"({parts[0]})"
        return name, ATOM

    def _filled(self, tree: Tree, parts: list[str]) -> str:
        pattern = (self.latex and tree.latex) or tree.text
        return PLACE.sub(lambda place: parts[int(place[1])], pattern)

    def _name(self, text: str) -> str:
        return "'".join(map(upright, text.split("'"))) if self.latex else text

    def _of_all(self, tree: Tree, depth: int, active: frozenset[Variable]) -> str:
        """Write ``all g`` where something is the same of all parameters, and "" where not."""
        _, parts = tree.what
        owners = [_owner(part) for part in parts]
        if None in owners or not len({*owners}) == len(owners) > 1:
            return ""
        before = self.own, self.own_name, self.repeated
        self.own_name, self.repeated = "p", set()  # letters would depend on the parameter
        texts = set()
        for part, self.own in zip(parts, owners, strict=True):
            texts.add(self._at(part, POWER, depth, active))
        self.own, self.own_name, self.repeated = before
        if len(texts) > 1:
            return ""
        text = (r"\mathrm{all}\ " if self.latex else "all ") + texts.pop()
        if {*owners} == self.names.all:
            return text
        some = ", ".join(self.names.params[owner] for owner in owners[:3])
        some += f", ... ({len(owners)})" if len(owners) > 3 else ""
        return f"{text} of {self._name(some)}"


def _repeated(root: Tree, own: Any) -> set[tuple[Tree, frozenset[Variable]]]:
    """Find the long parts of a tree that are needed several times, where which conditions hold."""
    counts: Counter[tuple[Tree, frozenset[Variable]]] = Counter()
    stack: list[tuple[Tree, frozenset[Variable]]] = [(root, frozenset())]
    while stack:
        tree, active = stack.pop()
        tree = _unnamed(tree, active, own)
        counts[tree, active] += 1
        if counts[tree, active] == 1 and tree.kind != "joint":
            for place, arg in enumerate(tree.args):
                is_then = tree.kind == "where" and place == 1
                stack.append((arg, active | {tree.what} if is_then else active))
    return {key for key, count in counts.items() if count > 1 and key[0].length > _LONG}


def _unnamed(tree: Tree, active: frozenset[Variable], own: Any) -> Tree:
    """Return the name of the new value that a tree is, where conditions hold, or the tree itself.

    In the formula of a variable its own name says nothing, nor that of one which has the same
    value and whose formula is this name.
    """
    while tree.kind == "named":
        for variable, new, conditions in tree.what:
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
