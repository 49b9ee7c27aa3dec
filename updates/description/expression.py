"""Expressions: small trees of names, numbers and operations, simplified and written as text.

- ``Term``: an operation or a leaf; two equal ones are one object
- ``number``, ``symbol``, ``apply``: make leaves and operations, simplified
- ``add``, ``multiply``, ``divide``, ``power``, ``where``: those with rules of their own
- ``over_all``: one term in the place of many that differ in their parameter only
- ``written``: the text of a term in the formula of one parameter

Simplified is what changes the way a formula reads and not what it says: ``x + 0``, ``1*x``,
``a + (x - a)``, numbers among themselves, and the guards of ``updates.norms`` against 0 / 0.
"""

import math
import operator
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

# Stands for each parameter in turn in a term that runs over all of them.
EACH = "each"

# What sums and products of sums and products are taken apart up to.
_LONGEST = 40

_OR, _AND, _NOT, _COMPARE, _ADD, _MULTIPLY, _POWER, _ATOM = range(8)
_INFIX = {
    "or": _OR,
    "and": _AND,
    "<": _COMPARE,
    "<=": _COMPARE,
    ">": _COMPARE,
    ">=": _COMPARE,
    "==": _COMPARE,
    "!=": _COMPARE,
    "*": _MULTIPLY,
    "/": _MULTIPLY,
    "//": _MULTIPLY,
    "%": _MULTIPLY,
    "@": _MULTIPLY,
    "^": _POWER,
}
_COMPARISONS = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_INVERSES = {"<": ">=", ">=": "<", ">": "<=", "<=": ">", "==": "!=", "!=": "=="}


@dataclass(frozen=True, eq=False)
class Term:
    """An operation on terms, or a leaf: a number or the name of something.

    ``params`` are the parameters that the leaves below belong to, ``length`` is about that of
    the text.
    """

    head: str
    args: tuple[Any, ...]
    params: frozenset[Any] = field(repr=False)
    length: int = field(repr=False)

    @property
    def terms(self) -> list["Term"]:
        """The terms that this one is made of."""
        return [arg for arg in self.args if isinstance(arg, Term)]


_KNOWN: "WeakValueDictionary[Any, Term]" = WeakValueDictionary()


def _term(head: str, *args: Any, params: Iterable[Any] = (), length: int = 0) -> Term:
    known = _KNOWN.get((head, *args))
    if known is not None:
        return known
    below = [arg for arg in args if isinstance(arg, Term)]
    params = frozenset(params).union(*(term.params for term in below))
    length += len(head) + sum(term.length + 2 for term in below)
    return _KNOWN.setdefault((head, *args), Term(head, args, params, length))


def symbol(name: str, params: tuple[Any, ...] = (), new: bool = False) -> Term:
    """Name something: for all of a call, or that of one parameter (or of any of several)."""
    own = () if params[:1] == (EACH,) else params[:1]
    return _term("symbol", name, params, new, params=own, length=len(name) - 6)


def number(value: Any) -> Term:
    """Write a number as the user did: as briefly as its own dtype allows."""
    value = np.asarray(value)[()]
    if value.dtype.kind == "b":
        return symbol(str(bool(value)).lower())
    if value.dtype.kind == "f" and 0 < value <= np.finfo(value.dtype).tiny < 1e-30:
        value = value * 0  # an epsilon of 0, see updates.hyperparameters.as_scalar
    text = str(value)
    if value.dtype.kind == "f" and np.isfinite(value):
        decimals = f"{value if value.dtype.itemsize == 8 else float(text):.12g}"
        text = _plain(decimals if len(decimals.strip("-0.")) <= 7 else f"{value:.6g}")
        if value.dtype.itemsize < 8:
            return _number(float(text), text)  # 1 - 0.999 is 0.001 and not 0.000999987
    return _number(float(value), text)


def _plain(text: str) -> str:
    """Write 1e-08 as 1e-8, and 1.0 as 1."""
    mantissa, e, exponent = text.partition("e")
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    return mantissa + (e and f"e{int(exponent)}")


def _number(value: float, text: str) -> Term:
    return _term("number", value, text, length=len(text) - 6)


def value_of(term: Term) -> float | None:
    """Return the value of a number, and None for other terms."""
    return term.args[0] if term.head == "number" else None


def _rounded(value: float) -> Term:
    """Make a number that was computed from others, without the digits of rounding."""
    return number(np.float64(value if value == round(value, 0) else f"{value:.6g}"))


def apply(name: str, *args: Any) -> Term:
    """Apply a function or an infix operator that nothing is known of."""
    if name == "not":
        [term] = args
        if term.head == "not":
            return term.args[0]
        if term.head in _INVERSES:
            return _term(_INVERSES[term.head], *term.args)
    if name == "and" and symbol("true") in args:
        rest = [term for term in args if term is not symbol("true")]
        return _term("and", *rest) if len(rest) > 1 else (*rest, symbol("true"))[0]
    if name == "or" and [term.head for term in args] in (["isinf", "isnan"], ["isnan", "isinf"]):
        return _term("not", _term("isfinite", args[0].args[0]))
    if name == "sqrt" and args[0].head == "sum" and (square := _square_in(args[0])):
        return _term("norm", square, *args[0].args[1:])
    if name == "%" and value_of(args[1]) == 1:
        return number(0)
    if name == "max" and args == (number(1), symbol("size")):
        return args[1]  # no array is empty in a formula
    if name in _COMPARISONS:
        left, right = map(value_of, args)
        if left is not None and right is not None:
            return symbol(str(_COMPARISONS[name](left, right)).lower())
        if name == ">" and right == 0 and _is_positive(args[0]):
            return symbol("true")
    if name in ("sqrt", "abs", "sign", "log", "exp") and value_of(args[0]) is not None:
        computed: Callable[[float], float] = getattr(np, name)
        return _rounded(computed(args[0].args[0]))
    return _term(name, *args)


def _is_positive(term: Term) -> bool:
    """Tell ``max(x, 1e-6)``."""
    return term.head == "max" and any((value_of(arg) or 0) > 0 for arg in term.terms)


def _square_in(term: Term) -> Term | None:
    """Return the ``x`` of ``sum(x^2)`` or ``sum(all x^2)``."""
    inner = term.args[0]
    if inner.head == "all" and _is_square(inner.args[0]):
        return _term("all", inner.args[0].args[0])
    return inner.args[0] if _is_square(inner) else None


def _is_square(term: Term) -> bool:
    return term.head == "^" and value_of(term.args[1]) == 2


def power(base: Term, exponent: Term) -> Term:
    """Raise a term to a power."""
    values = value_of(base), value_of(exponent)
    if values[1] == 1:
        return base
    if None not in values:
        with np.errstate(all="ignore"):
            return _rounded(float(np.power(*values)))  # type: ignore[arg-type]
    return _term("^", base, exponent)


def negate(term: Term) -> Term:
    """Change the sign of a term."""
    return add([(-1, term)])


def add(signed: Sequence[tuple[int, Term]]) -> Term:
    """Add and subtract terms."""
    first, *rest = [_without_sign(sign, term) for sign, term in signed]
    flat = [*_summands(*first), *rest]
    split = [pair for sign, term in flat for pair in _summands(sign, term)]
    balance: Counter[Term] = Counter()
    for sign, term in split:
        balance[term] += sign
    if any(balance[term] == 0 for _, term in split):
        # a + (x - a) is x, and says so
        flat = []
        for sign, term in split:
            if sign * balance[term] > 0:
                flat.append((sign, term))
                balance[term] -= sign
    numbers = [sign * value for sign, term in flat if (value := value_of(term)) is not None]
    if len(numbers) > 1 or 0 in numbers:
        flat = [(sign, term) for sign, term in flat if value_of(term) is None]
        total = _rounded(sum(numbers))
        if value_of(total):
            flat.insert(0, _without_sign(1, total))
    if not flat:
        return number(0)
    if flat[0][0] < 0:  # 1 - x and not -x + 1
        flat.sort(key=lambda pair: -pair[0])
    if len(flat) == 1 and flat[0][0] > 0:
        return flat[0][1]
    return _term("+", *(term for _, term in flat), tuple(sign for sign, _ in flat))


def _summands(sign: int, term: Term) -> list[tuple[int, Term]]:
    """Take a sum apart."""
    if term.head != "+" or len(term.args) > _LONGEST:
        return [(sign, term)]
    *terms, signs = term.args
    return [(sign * inner, each) for inner, each in zip(signs, terms, strict=True)]


def _without_sign(sign: int, term: Term) -> tuple[int, Term]:
    """Move the sign of a number, of a product's first factor, or of a whole sum, outside."""
    value = value_of(term)
    if value is not None and value < 0:
        return -sign, _number(-value, term.args[1].lstrip("-"))
    if term.head == "+" and set(term.args[-1]) == {-1}:
        return -sign, add([(1, inner) for inner in term.args[:-1]])
    if term.head == "*":
        inner, first = _without_sign(1, term.args[0])
        if inner < 0:
            return -sign, multiply([first, *term.args[1:]])
    if term.head == "/":
        inner, first = _without_sign(1, term.args[0])
        if inner < 0:
            return -sign, divide(first, term.args[1])
    return sign, term


def multiply(factors: Sequence[Term]) -> Term:
    """Multiply terms."""
    sign, flat = 1, []
    for factor in factors:
        inner, factor = _without_sign(1, factor)
        sign *= inner
        outside, factor = _number_out(factor)
        flat += [outside] * (value_of(outside) != 1)
        is_product = factor.head == "*" and len(factor.args) <= _LONGEST
        flat += factor.args if is_product else [factor]
    flat = _squared(_with_ratio(flat))
    values = [value for term in flat if (value := value_of(term)) is not None]
    if 0 in values:
        return number(0)
    if values:
        numbers = [term for term in flat if value_of(term) is not None]
        product = numbers[0] if len(numbers) == 1 else _rounded(math.prod(values))
        flat = [term for term in flat if value_of(term) is None]
        if flat and flat[0].head == "/" and flat[0].args[0] is number(1):
            flat[0] = divide(product, flat[0].args[1])
        elif value_of(product) != 1 or not flat:
            flat.insert(0, product)
    joined = flat[:1]
    for term in flat[1:]:
        if term.head == "/" and term.args[0] is number(1):
            joined[-1] = divide(joined[-1], term.args[1])
        else:
            joined.append(term)
    result = joined[0] if len(joined) == 1 else _term("*", *joined)
    return result if sign > 0 else negate(result)


def _number_out(term: Term) -> tuple[Term, Term]:
    """Take the number out of ``0.1*x`` or ``0.1*x/y``."""
    one = number(1)
    if term.head == "*" and value_of(term.args[0]) is not None:
        return term.args[0], multiply(term.args[1:])
    if term.head == "/" and value_of(term.args[0]) is not None and term.args[0] is not one:
        return term.args[0], _term("/", one, term.args[1])
    if term.head == "/" and value_of(term.args[0]) is None:
        value, above = _number_out(term.args[0])
        return value, term if value is one else divide(above, term.args[1])
    return one, term


def _squared(factors: list[Term]) -> list[Term]:
    """Write ``x*x`` as ``x^2``."""
    result: list[Term] = []
    for factor in factors:
        if result and factor is result[-1] and value_of(factor) is None:
            result[-1] = factor if factor is symbol("size") else power(factor, number(2))
        else:
            result.append(factor)
    return result


def _with_ratio(factors: list[Term]) -> list[Term]:
    """Write ``where(c, x, 1) * y / where(c, z, 1)`` as ``where(c, x/z, 1) * y``."""
    chosen = {f.args[0]: f for f in factors if f.head == "where" and value_of(f.args[2]) == 1}
    for factor in factors:
        below = factor.args[1] if factor.head == "/" else factor
        if factor is not below and below.head == "where" and value_of(below.args[2]) == 1:
            above = chosen.get(below.args[0])
            if above is not None:
                ratio = divide(above.args[1], below.args[1])
                joint = where(below.args[0], ratio, number(1))
                others = [factor.args[0] if f is factor else f for f in factors]
                return [joint if f is above else f for f in others]
    return factors


def divide(above: Term, below: Term) -> Term:
    """Divide one term by another."""
    values = value_of(above), value_of(below)
    if values[1] == 1:
        return above
    if values[0] is not None and values[1]:
        return _rounded(values[0] / values[1])
    if above.head == "sum" and below is symbol("size"):
        return _term("mean", *above.args)
    sign, above = _without_sign(1, above)
    result = _term("/", above, below)
    return result if sign > 0 else negate(result)


def where(condition: Term, yes: Term, no: Term) -> Term:
    """Choose between terms; the guards of ``updates.norms`` are no choice of the formula."""
    if yes is no or condition is symbol("true"):
        return yes
    if condition is symbol("false"):
        return no
    if condition.head == "not":
        return where(condition.args[0], no, yes)
    if condition.head in ("==", "<=", ">=") and value_of(yes) in (0, 1):
        small, large = condition.args if condition.head != ">=" else condition.args[::-1]
        guarded = _term("where", condition, number(1), small)
        if value_of(yes) == 0 and (unguarded := _unguarded(no, guarded, small)) is not no:
            return unguarded
        if condition.head != "==" and value_of(yes) == 1 and no is divide(large, small):
            return apply("min", yes, no)
    if condition.head == "<" and value_of(condition.args[1]) == math.inf and _shows_nan(no):
        return yes
    return _term("where", condition, yes, no)


def _unguarded(term: Term, guarded: Term, below: Term) -> Term:
    """Replace the divisor that is never 0 by the one that it guards."""
    return _replaced(term, {guarded: below})


def _replaced(term: Term, known: dict[Term, Term]) -> Term:
    """Replace terms in a term; `known` collects what has been done."""
    if term not in known:
        known[term] = term
        if term.terms:
            args = [_replaced(arg, known) if isinstance(arg, Term) else arg for arg in term.args]
            known[term] = _term(term.head, *args)
    return known[term]


def _shows_nan(term: Term) -> bool:
    """Tell ``where(isfinite(x), 0, nan)``."""
    return (
        term.head == "where"
        and term.args[0].head == "isfinite"
        and math.isnan(value_of(term.args[2]) or 0)
    )


def over_all(terms: Sequence[Term]) -> list[Term]:
    """Put one term in the place of those that are equal but for the parameter they are of.

    ``sum(g(W)^2), sum(g(b)^2)`` become ``sum(all g^2)``.
    """
    alike: dict[Term, list[Term]] = {}
    for term in terms:
        alike.setdefault(_of_each(term), []).append(term)
    result = []
    for each, members in alike.items():
        if len(members) == 1 or each is members[0]:
            result += members
        elif each.head == "sum":
            result.append(_term("sum", _term("all", each.args[0]), *each.args[1:]))
        else:
            result.append(_term("all", each))
    return result


def _of_each(term: Term) -> Term:
    """Write a term that is of one parameter as one of each parameter."""
    if len(term.params) != 1:
        return term
    symbols, seen, queue = {}, set(), [term]
    while queue:
        inner = queue.pop()
        if inner not in seen:
            seen.add(inner)
            queue += inner.terms
            if inner.head == "symbol" and inner.params:
                symbols[inner] = symbol(inner.args[0], (EACH,), inner.args[2])
    return _replaced(term, symbols)


# --- Text -------------------------------------------------------------------------------------


def written(term: Term, param: Any, name: str, names: dict[Any, str], limit: int = 320) -> str:
    """Write a term in the formula of a parameter, which is called by `name`.

    What is long and needed several times gets a letter: ``a*b, with a = ...; b = ...``.
    What is longer than the limit even so is cut, from the inside; the rest of 640 is for letters.
    """
    for depth in (40, 12, 9, 7, 6, 5, 4, 3, 2, 1):
        writer = _Writer(param, name, names, depth)
        text = writer.text(term)
        if len(text) <= limit:
            break
    return text + writer.definitions(640 - len(text))


class _Writer:
    """Writes one formula, down to some depth."""

    def __init__(self, param: Any, name: str, names: dict[Any, str], depth: int) -> None:
        self.param, self.name, self.names, self.depth = param, name, names, depth
        self.repeated: set[Term] = set()
        self.free: Iterator[str] = iter(())
        self.letters: dict[Term, str] = {}

    def text(self, term: Term) -> str:
        """Write a term, and then what is long and repeated in it."""
        if term.length > 70:
            self.repeated, used = _repeated(term), _used_names(term)
            self.free = (letter for letter in "abcdefhijklmnoqrsuvwxyz" if letter not in used)
        return self._of(term, _OR, self.depth)

    def definitions(self, limit: int) -> str:
        """Explain the letters, which may need further letters, as far as there is space."""
        parts: list[str] = []
        while len(parts) < len(self.letters):
            term, letter = list(self.letters.items())[len(parts)]
            before = len(self.letters)
            text = f"{letter} = {self._of(term, _OR, self.depth, named=True)}"
            if len(text) + sum(map(len, parts)) > limit:
                self.letters = dict(list(self.letters.items())[:before])
                parts.append(f"{', '.join(list(self.letters.values())[len(parts) :])} = ...")
                break
            parts.append(text)
        return f", with {'; '.join(parts)}" if parts else ""

    def _of(self, term: Term, outer: int, depth: int, named: bool = False) -> str:
        if term in self.repeated and not named:
            if term not in self.letters:
                letter = next(self.free, None)
                if letter is None:
                    return "..."
                self.letters[term] = letter
            return self.letters[term]
        text, precedence = self._bare(term, depth)
        return f"({text})" if precedence < outer else text

    def _bare(self, term: Term, depth: int) -> tuple[str, int]:
        head, args = term.head, term.args
        if head == "number":
            return args[1], _ATOM if args[0] >= 0 else _ADD
        if head == "symbol":
            return self._symbol(*args), _ATOM
        if depth <= 0 and term.length > 12:
            return "...", _ATOM
        below = depth - 1
        if head == "+":
            return self._sum(args, below), _ADD
        if head == "not":
            return f"not {self._of(args[0], _NOT, below)}", _NOT
        if head == "transpose":
            return f"{self._of(args[0], _ATOM, below)}.T", _ATOM
        if head == "index":
            base, *indices = args
            inside = ", ".join(self._argument(index, below) for index in indices)
            return f"{self._of(base, _ATOM, below)}[{inside}]", _ATOM
        if head == "at":
            gradient, point = args
            return f"{self._of(gradient, _ATOM, below)}({self._of(point, _OR, below)})", _ATOM
        if head == "all":
            return f"all {self._of(args[0], _POWER, below)}", _ATOM
        if head in _INFIX:
            precedence = _INFIX[head]
            space = "" if head in ("*", "/", "^") else " "
            first, *rest = args
            left = self._of(first, precedence + (head == "^"), below)
            joins = {"and": ("and",), "or": ("or",), "*": ("*", "/"), "@": ()}.get(head, ())
            right = [self._of(arg, precedence + (arg.head not in joins), below) for arg in rest]
            return f"{space}{head}{space}".join([left, *right]), precedence
        inside = ", ".join(self._argument(arg, below) for arg in args)
        return f"{'all' if head == 'alltrue' else head}({inside})", _ATOM

    def _sum(self, args: tuple[Any, ...], depth: int) -> str:
        *terms, signs = args
        text = ""
        for sign, term in zip(signs, terms, strict=True):
            part = self._of(term, _ADD + (sign < 0), depth)
            text += (" - " if sign < 0 else " + ") + part if text else "-" * (sign < 0) + part
        return text

    def _argument(self, arg: Any, depth: int) -> str:
        return self._of(arg, _OR, depth) if isinstance(arg, Term) else str(arg)

    def _symbol(self, name: str, params: tuple[Any, ...], new: bool) -> str:
        prime = "'" * new
        if not params:
            return name + prime
        is_own = self.param in params
        if name == "p":
            if params[0] == EACH:
                return "p" + prime
            return (self.name if is_own else self.names[params[0]]) + prime
        if is_own or params[0] == EACH:
            return name + prime
        return f"{name}{prime}({self.names.get(params[0], params[0])})"


def _repeated(root: Term) -> set[Term]:
    """Find the long terms that a term needs several times."""
    needed: Counter[Term] = Counter()
    queue = [root]
    while queue:
        term = queue.pop()
        needed[term] += 1
        if needed[term] == 1:
            queue += term.terms
    return {term for term, count in needed.items() if count > 1 and term.length > 30}


def _used_names(root: Term) -> set[str]:
    """Find the names in a term, so that letters are none of them."""
    used, seen, queue = {"g", "p", "t"}, set(), [root]
    while queue:
        term = queue.pop()
        if term not in seen:
            seen.add(term)
            queue += term.terms
            if term.head == "symbol":
                used |= {term.args[0], *(str(param) for param in term.args[1])}
    return used
