"""From the code-like formulas of docstrings to LaTeX.

- ``in_latex``: a formula, or several with semicolons between them, or None where it is no formula
"""

import ast
import re

NAMES = {
    "lr": r"\eta", "mu": r"\mu", "rho": r"\rho", "eps": r"\varepsilon", "wd": r"\lambda",
    "b1": r"\beta_1", "b2": r"\beta_2", "b3": r"\beta_3", "alpha": r"\alpha", "beta": r"\beta",
    "gamma": r"\gamma", "eta": r"\eta", "delta": r"\delta", "theta": r"\theta", "sigma": r"\sigma",
    "pi": r"\pi", "lr_t": r"\eta_t", "inf": r"\infty",
}  # fmt: skip
FUNCTIONS = {
    "max": r"\max", "min": r"\min", "exp": r"\exp", "log": r"\log", "sign": r"\operatorname{sign}",
}  # fmt: skip
# How tightly an operator binds.
SUM, PRODUCT, POWER = 1, 2, 3


class NoFormulaError(Exception):
    """The text is more than a formula."""


def in_latex(text: str) -> str | None:
    """Return a formula as LaTeX, or None where it is no formula."""
    try:
        parts = [_assignment(part.strip()) for part in text.split(";") if part.strip()]
    except (NoFormulaError, SyntaxError):
        return None
    return r",\qquad ".join(parts) if parts else None


def _assignment(text: str) -> str:
    # x' is the new value, x^ the corrected one.
    text = re.sub(r"\b([A-Za-z_]\w*)\^(?![\w(])", r"\1_HAT", text)
    text = re.sub(r"([A-Za-z_]\w*)'", r"\1_NEW", text).replace("^", "**")
    tree = ast.parse(text).body
    if len(tree) != 1 or not isinstance(tree[0], ast.Assign) or len(tree[0].targets) != 1:
        raise NoFormulaError
    return f"{_latex(tree[0].targets[0], 0)} = {_latex(tree[0].value, 0)}"


def _latex(node: ast.expr, around: int) -> str:
    match node:
        case ast.Constant(value=int() | float() as number):
            return _number(number)
        case ast.Name(id=name):
            return _name(name)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return _bracketed(f"-{_latex(operand, PRODUCT)}", SUM, around)
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() as op, right=right):
            sign = "+" if isinstance(op, ast.Add) else "-"
            after = _latex(right, SUM if sign == "+" else PRODUCT)
            return _bracketed(f"{_latex(left, 0)} {sign} {after}", SUM, around)
        case ast.BinOp(left=left, op=ast.Mult() | ast.MatMult(), right=right):
            first, second = _latex(left, PRODUCT), _latex(right, PRODUCT)
            between = r" \cdot " if second[0].isdigit() else r"\, "
            return _bracketed(f"{first}{between}{second}", PRODUCT, around)
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            return rf"\frac{{{_latex(left, 0)}}}{{{_latex(right, 0)}}}"
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            base = _latex(left, POWER + 1)
            if base.endswith("'") or ("^" in base and not base.startswith(r"\left")):
                base = f"{{{base}}}"
            return rf"{base}^{{{_latex(right, 0)}}}"
        case ast.Call(func=ast.Name(id=function), args=args, keywords=[]):
            return _call(function, [_latex(arg, 0) for arg in args])
        case ast.Attribute(value=inner, attr="T"):
            return rf"{_latex(inner, POWER + 1)}^\top"
    raise NoFormulaError


def _call(function: str, args: list[str]) -> str:
    listed = ", ".join(args)
    match function:
        case "sqrt":
            return rf"\sqrt{{{listed}}}"
        case "cbrt":
            return rf"\sqrt[3]{{{listed}}}"
        case "norm":
            return rf"\lVert {listed} \rVert"
        case "abs":
            return rf"\lvert {listed} \rvert"
    name = FUNCTIONS.get(function) or (
        _name(function)
        if len(function) == 1 or "_NEW" in function
        else rf"\operatorname{{{_words(function)}}}"
    )
    return rf"{name}\left({listed}\right)"


def _name(name: str) -> str:
    if name.endswith("_NEW"):
        return f"{_name(name.removesuffix('_NEW'))}'"
    if name.endswith("_HAT"):
        inner = _name(name.removesuffix("_HAT"))
        return rf"\hat{{{inner}}}"
    if name in NAMES:
        return NAMES[name]
    if len(name) == 1:
        return name
    first, _, rest = name.partition("_")
    if len(first) == 1 and rest:
        return rf"{first}_{{\text{{{_words(rest)}}}}}" if len(rest) > 1 else f"{first}_{rest}"
    return rf"\text{{{_words(name)}}}"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _number(number: float) -> str:
    text = f"{number:g}"
    mantissa, _, exponent = text.partition("e")
    if not exponent:
        return text
    factor = "" if mantissa == "1" else rf"{mantissa} \cdot "
    return rf"{factor}10^{{{int(exponent)}}}"


def _bracketed(text: str, own: int, around: int) -> str:
    return rf"\left({text}\right)" if own < around else text
