"""The table: what a dictionary of updates holds and does.

- ``describe``: the table of a dictionary
- ``Description``: its rows, as text, HTML and data
"""

import html
import re
import textwrap
from collections.abc import Iterable
from typing import Any

from pytensor.graph.basic import Variable

from updates.call import UpdatesLike
from updates.declaration import declared, public
from updates.description.mistakes import mistakes
from updates.description.variables import (
    ROLES,
    Described,
    abbreviated,
    described,
    grouped,
)
from updates.named_dimensions import names_of

_WIDTH = 100
_HEAD = ("variable", "role", "shape", "dtype", "bytes")
_NOUNS = {role: role for role in ROLES} | {"state": "state variable", "time": "step counter"}
# What occurs in formulas, and what it means.
_LEGEND = {
    r"'": "x' is the new value of x",
    r"(?<![\w.])p\b": "p the parameter of the row",
    r"(?<![\w.])g\b": "g its gradient",
    r"(?<![\w.])g\(": "g(x) that of x, or at x",
    r"(?<![\w.])Hu\b": "Hu the Hessian times a random u",
    r"\bt\b": "t the number of the call, step + 1",
    r"(?<![\w.])all\b": "all x the x of all parameters",
    r"(?<![\w.])finite\b": "finite whether all new values are",
    r"\.\.\.": "... what is too long",
}


@public
class Description:
    """The variables of a dictionary of updates; printing it gives a table.

    Parameters
    ----------
    rows : list
        One for each variable.
    warnings : list of str
        What usually is a mistake.

    Examples
    --------
    >>> import pytensor, updates
    >>> w = pytensor.shared(1.0, name="w")
    >>> description = updates.describe(updates.sgd(w**2, [w], learning_rate=0.1))
    >>> [row["formula"] for row in description.to_dict()["variables"]]
    ["w' = w - 0.1*g"]
    """

    def __init__(self, rows: list[Described], warnings: list[str]) -> None:
        self.rows = rows
        self.warnings = warnings

    def to_dict(self) -> dict[str, Any]:
        """Return everything as lists, dictionaries, text and numbers, variable by variable."""
        return {
            "variables": [
                {
                    "name": row.name,
                    "role": row.role,
                    "parameter": row.param,
                    "shape": None if row.shape is None else list(row.shape),
                    "dtype": row.dtype,
                    "bytes": row.bytes,
                    "formula": row.formula,
                }
                for row in self.rows
            ],
            "totals": {
                role: {"variables": len(members), "bytes": sum(row.bytes for row in members)}
                for role, members in self._by_role()
            },
            "warnings": list(self.warnings),
        }

    def __repr__(self) -> str:
        table = self._table()
        columns = list(zip(_HEAD, *(cells for cells, _ in table), strict=True))
        widths = [max(map(len, column)) for column in columns]
        rule = "-" * (sum(widths) + 2 * len(widths) - 2)

        def line(row: tuple[str, ...]) -> str:
            texts = [text.ljust(width) for text, width in zip(row, widths, strict=True)]
            return "  ".join([*texts[:-1], row[-1].rjust(widths[-1])])

        lines = [line(_HEAD), rule]
        for row, group in table:
            lines += [line(row), *_formula_lines(_formula(group))]
        lines += [rule, *_wrapped(self._totals(), "", ""), *_wrapped(self._legend(), "", "")]
        if self.warnings:
            lines += ["", "Is this what you meant?"]
            for warning in self.warnings:
                lines += _wrapped(warning, "  - ", "    ")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        def cells(kind: str, texts: tuple[str, ...]) -> str:
            style = "text-align: left; vertical-align: top"
            return "".join(f'<{kind} style="{style}">{html.escape(t)}</{kind}>' for t in texts)

        def mathematics(group: list[Described]) -> str:
            formulas = [f"${html.escape(f)}$" for f in group[0].latex(template=len(group) > 1)]
            return "<br>with ".join(formulas)

        body = "".join(
            f"<tr>{cells('td', row)}<td style='text-align: left'>{mathematics(group)}</td></tr>"
            for row, group in self._table()
        )
        warnings = "".join(f"<li>{html.escape(warning)}</li>" for warning in self.warnings)
        return (
            f"<table><thead><tr>{cells('th', (*_HEAD, 'next value'))}</tr></thead>"
            f"<tbody>{body}</tbody></table>"
            f"<p>{html.escape(self._totals())}<br><small>{html.escape(self._legend())}</small></p>"
            + (f"<p><b>Is this what you meant?</b></p><ul>{warnings}</ul>" if warnings else "")
        )

    def _table(self) -> list[tuple[tuple[str, ...], list[Described]]]:
        """Return the groups of rows that share a formula, each with its cells."""
        return [
            (
                (
                    _names(group),
                    group[0].role,
                    _several(dict.fromkeys(map(_shape, group))),
                    group[0].dtype,
                    "-" if group[0].shape is None else _size(sum(row.bytes for row in group)),
                ),
                group,
            )
            for group in grouped(self.rows)
        ]

    def _by_role(self) -> list[tuple[str, list[Described]]]:
        members = [(role, [row for row in self.rows if row.role == role]) for role in ROLES]
        return [(role, rows) for role, rows in members if rows]

    def _totals(self) -> str:
        parts = [
            f"{_count(len(rows), _NOUNS[role])} ({_size(sum(row.bytes for row in rows))})"
            for role, rows in self._by_role()
        ]
        total = f"{_count(len(self.rows), 'variable')}, {_size(sum(r.bytes for r in self.rows))}"
        return f"{total}: {', '.join(parts)}"

    def _legend(self) -> str:
        """Explain the symbols that occur."""
        groups = grouped(self.rows)
        text = re.sub("`[^`]*`", "", " ".join(map(_formula, groups)))
        alone = all(len(group) == 1 for group in groups)  # then no row calls its parameter p
        return ", ".join(
            words
            for sign, words in _LEGEND.items()
            if re.search(sign, text) and not (alone and words.startswith("p "))
        )


@declared
def describe(updates: UpdatesLike, loss: Variable | None = None) -> Description:
    """Show what a dictionary of updates holds and does: a table with a formula a row.

    Parameters
    ----------
    updates : dict or list of pairs
        Shared variable to next value, of the library or of your own making. What a function
        advances by itself, a generator with a ``default_update`` for instance, is listed as well.
    loss : symbolic scalar, optional
        What is minimized. With it, parameters are what it depends on, and one that no item
        updates is named; without it what next values read is.

    Returns
    -------
    Description
        Name, role (parameter, state, time, other), shape, dtype, bytes and formula of each
        variable. Variables of one formula share a row. It prints as text, shows as a table in a
        notebook, and `to_dict` gives plain data. Its ``warnings`` say what usually is a mistake:
        a parameter that nothing updates, state that nothing advances or whose parameter is
        missing, a next value that is the old one or of another type.

    Raises
    ------
    ValueError
        If `updates` is empty, or the loss no scalar or without a gradient.
    TypeError
        If `updates` is no dictionary of updates, or `loss` no symbolic floating-point scalar.

    See Also
    --------
    draw : which old values each new value reads, as a picture.

    Examples
    --------
    >>> import numpy as np, pytensor, updates
    >>> w, b = pytensor.shared(np.zeros((3, 2)), name="w"), pytensor.shared(np.zeros(2), name="b")
    >>> loss = ((w.sum(axis=0) + b) ** 2).sum()
    >>> updates.describe(updates.momentum(loss, [w, b], learning_rate=0.01))
    variable                 role       shape     dtype    bytes
    ------------------------------------------------------------
    w, b                     parameter  3 x 2, 2  float64   64 B
        p' = p + velocity'
    */momentum/velocity (2)  state      3 x 2, 2  float64   64 B
        velocity' = 0.9*velocity - 0.01*g
    ------------------------------------------------------------
    4 variables, 128 B: 2 parameters (64 B), 2 state variables (64 B)
    x' is the new value of x, p the parameter of the row, g its gradient
    """
    rows, items, params = described(updates, loss)
    names = {row.variable: row.name for row in rows}
    return Description(rows, mistakes(items, names, params))


def _formula(group: list[Described]) -> str:
    """Return the text of a formula that variables share, or of the only one."""
    return group[0].formula if len(group) == 1 else group[0].template


def _names(group: list[Described]) -> str:
    """Name the variables of a group: parameters as they fit, state by what it is."""
    names = [row.name for row in group]
    slots = {"/".join(name.split("/")[-2:]) for name in names}
    if len(group) > 1 and group[0].role != "parameter" and len(slots) == 1:
        return f"*/{slots.pop()} ({len(group)})"
    return abbreviated(names, 40)


def _wrapped(text: str, indent: str, further: str) -> list[str]:
    return textwrap.wrap(
        text, _WIDTH, initial_indent=indent, subsequent_indent=further, break_on_hyphens=False
    )


def _formula_lines(formula: str) -> list[str]:
    """Write a formula, and below it each of the letters that it uses."""
    formula, _, definitions = formula.partition(", with ")
    lines = _wrapped(formula + "," * bool(definitions), " " * 4, " " * 8)
    for place, definition in enumerate(definitions.split("; ") if definitions else []):
        indent = " " * 11 if place else " " * 6 + "with "
        lines += _wrapped(definition, indent, " " * (15 if place else 10))
    return lines


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + "s" * (number != 1)


def _shape(row: Described) -> str:
    if row.shape is None:
        return "-"
    names = names_of(row.variable) or [""] * len(row.shape)
    axes = [f"{name} {length}".strip() for name, length in zip(names, row.shape, strict=True)]
    return " x ".join(axes) or "scalar"


def _several(shapes: Iterable[str]) -> str:
    first, more = [*shapes][:2], [*shapes][2:]
    return ", ".join([*first, *["..."] * bool(more)])


def _size(size: float) -> str:
    """Write a number of bytes for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.3g} {unit}"
