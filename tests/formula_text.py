"""An evaluator of the formulas that `describe` prints, which knows nothing of how they are made.

- ``evaluate``: the value of a formula, from the values of the names in it

The grammar is Python's with ``^`` for powers, primes and numbers in names, and ``all x``.
"""

import re

import numpy as np
import scipy.linalg
import scipy.special

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:e-?\d+)?)"
    r"|(?P<name>(?:`[^`]*`|[^\W\d][\w.]*(?:\#\d+)?)'?)"
    r"|(?P<sign>//|<=|>=|==|!=|[-+*/%@^<>()\[\],:=]))"
)
_BINARY = [
    {"or": np.logical_or},
    {"and": np.logical_and},
    {},  # not
    {
        "<": np.less,
        "<=": np.less_equal,
        ">": np.greater,
        ">=": np.greater_equal,
        "==": np.equal,
        "!=": np.not_equal,
    },
    {"+": np.add, "-": np.subtract},
    {
        "*": np.multiply,
        "/": np.true_divide,
        "//": np.floor_divide,
        "%": np.mod,
        "@": np.matmul,
    },
]


def _set(target, value):
    base, index = target
    result = np.array(base)
    result[index] = value
    return result


def _increase(target, value):
    base, index = target
    result = np.array(base)
    np.add.at(result, index, value)
    return result


def _many_or_reduced(reduce, elementwise):
    def function(first, *others, **keywords):
        return elementwise(first, *others) if others else reduce(first, **keywords)

    return function


def _with(function, *first, **keywords):
    return lambda *args, **more: function(*first, *args, **keywords, **more)


def _ifelse(condition, *values, n_outs, **_):
    chosen = values[:n_outs] if condition else values[n_outs:]
    return chosen if n_outs > 1 else chosen[0]


FUNCTIONS = {
    "where": np.where,
    "fill": lambda like, value: np.broadcast_to(value, np.shape(like)),
    "max": _many_or_reduced(np.max, np.maximum),
    "min": _many_or_reduced(np.min, np.minimum),
    "norm": lambda *all_x: np.sqrt(sum(np.sum(np.square(x)) for x in all_x)),
    "round": np.round,
    "round_half_away": lambda x: np.sign(x) * np.floor(np.abs(x) + 0.5),
    "bitwise_and": np.bitwise_and,
    "bitwise_or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "sigmoid": scipy.special.expit,
    "softplus": lambda x: np.logaddexp(0, x),
    "log1mexp": lambda x: np.log(-np.expm1(x)),
    "clip": lambda x, low, high: np.where(x < low, low, np.where(x > high, high, x)),
    "gammal": lambda k, x: scipy.special.gammainc(k, x) * scipy.special.gamma(k),
    "gammau": lambda k, x: scipy.special.gammaincc(k, x) * scipy.special.gamma(k),
    "ndtriexp": getattr(scipy.special, "ndtri_exp", None),
    "trigamma": lambda x: scipy.special.polygamma(1, x),
    "bool": _with(np.asarray, dtype="bool"),
    "argmax": lambda x, axis: np.argmax(x, axis if np.ndim(axis) == 0 else axis[0]),
    "softmax": scipy.special.softmax,
    "logsumexp": scipy.special.logsumexp,
    "cum": lambda x, axis, mode: {"add": np.cumsum, "mul": np.cumprod}[mode](x, axis),
    "sort": lambda x, axis=-1, **_: np.sort(x, axis),
    "argsort": lambda x, axis=-1, **_: np.argsort(x, axis),
    "shape": lambda x: np.array(np.shape(x)),
    "reshape": lambda x, shape: np.reshape(x, tuple(np.ravel(shape).astype(int))),
    "broadcast_to": lambda x, shape: np.broadcast_to(x, tuple(np.ravel(shape).astype(int))),
    "transpose": lambda x, axes=None: np.transpose(x, axes),
    "ifelse": _ifelse,
    "eigh": lambda x, driver, **_: scipy.linalg.eigh(x, driver=driver),
    "qr": lambda x, mode, **_: scipy.linalg.qr(x, mode=mode),
    "set": _set,
    "increase": _increase,
}


def function_of(name):
    """Find a function by its name in NumPy or SciPy."""
    if name in FUNCTIONS:
        return FUNCTIONS[name]
    if re.fullmatch(r"float\d+", name):  # rounded to it, and computed with as a real number
        return lambda x: np.asarray(x, dtype=name).astype("float64")
    if re.fullmatch(r"u?int\d+", name):
        return _with(np.asarray, dtype=name)
    function = getattr(np, name, None) or getattr(scipy.special, name)
    return lambda *args, **keywords: function(*map(_as_number, args), **keywords)


def _as_number(value):
    return value.astype("float64") if getattr(value, "dtype", None) == "bool" else value


def evaluate(formula, values, call=None, for_all=None):
    """Evaluate the right-hand side of a formula, ``p' = a*a, with a = ...; b = ...``.

    Parameters
    ----------
    formula : str
    values : dict
        What names, also those with brackets such as ``velocity(b)``, stand for: arrays.
    call : function, optional
        Takes the name of a function and the text of its arguments, and returns its value, or None
        where it is one like all others.
    for_all : function, optional
        Takes a text and returns its values for all parameters.
    """
    formula, _, definitions = formula.partition(", with ")
    values = dict(values)
    for definition in definitions.split("; ") if definitions else []:
        name, _, text = definition.partition(" = ")
        values[name] = text
    _, _, right = formula.partition(" = ")
    return _Evaluation(right, values, call, for_all).whole()


class _Evaluation:
    def __init__(self, text, values, call, for_all):
        self.text, self.values, self.call, self.for_all = text, values, call, for_all
        self.tokens = []
        place = 0
        while place < len(text.rstrip()):
            match = _TOKEN.match(text, place)
            assert match, f"no formula at {text[place:]!r}"
            self.tokens.append((match.lastgroup, match[match.lastgroup], match.end()))
            place = match.end()
        self.at = 0

    def whole(self):
        value = self.binary(0)
        assert self.at == len(self.tokens), f"what is {self.tokens[self.at :]} in {self.text!r}?"
        return value

    def peek(self, ahead=0):
        inside = self.at + ahead < len(self.tokens)
        return self.tokens[self.at + ahead][:2] if inside else ("end", "")

    def take(self, sign=None):
        kind, text = self.peek()
        assert sign is None or text == sign, f"{sign} and not {text} in {self.text!r}"
        self.at += 1
        return kind, text

    def binary(self, level):
        if level == 2 and self.peek() == ("name", "not"):
            self.take()
            return np.logical_not(self.binary(2))
        if level == len(_BINARY):
            return self.negative()
        left = self.binary(level + 1)
        while self.peek()[1] in _BINARY[level]:
            operation = _BINARY[level][self.take()[1]]
            left = operation(left, self.binary(level + 1))
        return left

    def negative(self):
        if self.peek() == ("sign", "-"):
            self.take()
            return np.negative(self.negative())
        base = self.postfix()
        if self.peek() == ("sign", "^"):
            self.take()
            return np.power(base, self.negative())
        return base

    def postfix(self):
        value = self.atom()
        while self.peek() == ("sign", "["):
            value = value[self.index()]
        return value

    def index(self):
        self.take("[")
        entries = []
        while self.peek()[1] != "]":
            bounds = [self.bound()]
            while self.peek()[1] == ":":
                self.take()
                bounds.append(self.bound())
            entries.append(bounds[0] if len(bounds) == 1 else slice(*bounds))
            if self.peek()[1] == ",":
                self.take()
        self.take("]")
        return tuple(entries) if len(entries) > 1 else entries[0]

    def bound(self):
        return None if self.peek()[1] in (":", "]", ",") else self.binary(0)

    def atom(self):
        kind, text = self.take()
        if kind == "number":
            return np.float64(text) if re.search(r"[.e]", text) else _integer(text)
        if text == "(":
            value = self.binary(0)
            self.take(")")
            return value
        if text == "[":
            items = self.arguments("]")[0]
            return items if len({np.shape(item) for item in items}) > 1 else np.array(items)
        assert kind == "name", f"what is {text!r} in {self.text!r}?"
        if self.peek() == ("sign", "(") and self.tokens[self.at - 1][2] == self.start_of_next():
            return self.called(text)
        if text == "None":
            return None
        if text in ("inf", "nan"):
            return np.float64(text)
        if text in ("True", "False"):
            return np.bool_(text == "True")
        value = self.values[text]
        if isinstance(value, str):
            value = _Evaluation(value, self.values, self.call, self.for_all).whole()
            self.values[text] = value
        return value

    def start_of_next(self):
        return self.tokens[self.at][2] - 1

    def called(self, name):
        start = self.tokens[self.at][2]
        deep, end = 0, self.at
        while True:
            deep += {"(": 1, ")": -1}.get(self.tokens[end][1], 0)
            if deep == 0:
                break
            end += 1
        inside = self.text[start : self.tokens[end][2] - 1]
        full = f"{name}({inside})"
        if full in self.values:
            self.at = end + 1
            return self.values[full]
        if self.call is not None and (value := self.call(name, inside)) is not None:
            self.at = end + 1
            return value
        if inside.startswith("all "):
            self.at = end + 1
            parts = [function_of(name)(part) for part in self.for_all(inside.removeprefix("all "))]
            return function_of(name)(np.array(parts))
        self.take("(")
        if name in ("set", "increase"):
            base, index = self.atom(), self.index()
            while self.peek()[1] == "[":
                base, index = base[index], self.index()
            self.take(",")
            value = self.binary(0)
            self.take(")")
            return function_of(name)((base, index), value)
        args, keywords = self.arguments(")")
        return function_of(name)(*args, **keywords)

    def arguments(self, end):
        args, keywords = [], {}
        while self.peek()[1] != end:
            if self.peek()[0] == "name" and self.peek(1) == ("sign", "="):
                keyword = self.take()[1]
                self.take("=")
                keywords[keyword] = self.keyword()
            else:
                args.append(self.binary(0))
            if self.peek()[1] == ",":
                self.take()
        self.take(end)
        return args, keywords

    def keyword(self):
        if self.peek()[1] == "(":
            self.take()
            return tuple(int(v) for v in self.arguments(")")[0])
        is_word = self.peek()[0] == "name" and self.peek()[1] not in ("True", "False", "None")
        if is_word:
            return self.take()[1]
        value = self.binary(0)
        return bool(value) if isinstance(value, np.bool_) else value


def _integer(text):
    value = int(text)
    return np.int64(value) if value < 2**63 else np.float64(value)
