"""The picture: which old values each new value of a dictionary reads.

- ``draw``: the diagram, by matplotlib
- ``Diagram``: its boxes and lines
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Variable

from updates.call import UpdatesLike
from updates.declaration import declared
from updates.description.reads import reads_of
from updates.description.variables import (
    Described,
    abbreviated,
    described,
    grouped,
)

_TITLE = "Every new value is computed from old values only: the order of the items does not matter"
# Shades that differ in grey as well: fill, text.
_SHADES = {
    "parameter": ("#1f4e79", "white"),
    "state": ("#a9c9e2", "black"),
    "time": ("#e8e8e8", "black"),
    "other": ("#f6e3c5", "black"),
    "not updated": ("white", "#555555"),
}
_DARKS = ("#111111", "#3b3b3b", "#666666")
# The kinds of lines: what they are called, how they are drawn.
_KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "itself": ("reads it itself", {"color": _DARKS[0], "linewidth": 1.3}),
    "gradient": ("through the gradient", {"color": "#8a8a8a", "linestyle": (0, (4, 3))}),
    "finite": ("to skip bad steps", {"color": "#8a8a8a", "linestyle": (0, (1, 2))}),
}


@dataclass(frozen=True)
class Diagram:
    """The boxes of a picture and the lines between them.

    ``old`` and ``new`` are the labels of the columns, by what they are labels of, ``lines`` triples
    of a kind ("itself", "gradient" or "finite"), a key of ``old`` and one of ``new``.
    """

    old: dict[str, str]
    new: dict[str, str]
    roles: dict[str, str]
    lines: frozenset[tuple[str, str, str]]

    def through(self, hub: str) -> tuple[set[str], set[str]]:
        """Return what goes into a box in the middle, and what it goes out to."""
        lines = [(old, new) for kind, old, new in self.lines if kind == hub]
        return {old for old, _ in lines}, {new for _, new in lines}


@declared
def draw(updates: UpdatesLike, loss: Variable | None = None, axes: Any = None) -> Any:
    """Draw which old values each new value reads.

    Old values are on the left, new values on the right. A solid line means that the formula reads
    the old value itself, a dashed one that the gradient does. Variables that are updated alike
    share a box, as in `describe`. All lines start on the left: that is why the order of the
    items does not matter.

    Parameters
    ----------
    updates : dict or list of pairs
        Shared variable to next value, of the library or of your own making.
    loss : symbolic scalar, optional
        What is minimized. With it, parameters are what it depends on, as in `describe`.
    axes : matplotlib Axes, optional
        Where to draw; by default a new figure of the size that it takes.

    Returns
    -------
    matplotlib Axes
        With the figure as its ``figure``: ``draw(rule).figure.savefig("rule.png")``.

    Raises
    ------
    ValueError
        If `updates` is empty, or the loss no scalar or without a gradient.
    TypeError
        If `updates` is no dictionary of updates, `loss` no symbolic floating-point scalar, or
        `axes` no Axes.
    ImportError
        If matplotlib is not installed.

    See Also
    --------
    describe : the formulas, as a table.

    Examples
    --------
    >>> import pytensor, updates
    >>> from matplotlib.figure import Figure
    >>> w = pytensor.shared(1.0, name="w")
    >>> rule = updates.momentum(w**2, [w], learning_rate=0.1)
    >>> axes = updates.draw(rule, axes=Figure().subplots())
    >>> axes.get_title().partition(":")[0]
    'Every new value is computed from old values only'
    """
    if axes is not None and not hasattr(axes, "add_patch"):
        raise TypeError(f"axes must be matplotlib Axes, got {axes!r} of type {type(axes).__name__}")
    diagram = diagram_of(updates, loss)
    if axes is None:
        axes = _new_axes(diagram)
    _paint(diagram, axes)
    return axes


def diagram_of(updates: UpdatesLike, loss: Variable | None = None) -> Diagram:
    """Find what there is to draw; the order of the items has no part in it."""
    rows, items, _ = described(updates, loss)
    reads = reads_of(items)
    groups = grouped(sorted(rows, key=_place))
    keys = {row.variable: _label(group) for group in groups for row in group}
    roles = {_label(group): group[0].role for group in groups}
    new = {_label(group): _label(group, "'") for group in groups}
    outside = set().union(*(s for r in reads.values() for s in r.by_kind().values()))
    outside -= keys.keys()
    if outside:
        label = _outside_label(outside)
        keys |= dict.fromkeys(outside, label)
        roles[label] = "not updated"
    lines = {
        (kind, keys[old], keys[variable])
        for variable, read in reads.items()
        for kind, sources in read.by_kind().items()
        for old in sources
    }
    return Diagram({key: key for key in roles}, new, roles, frozenset(lines))


def _place(row: Described) -> tuple[Any, ...]:
    """Sort parameters first, names as people do: W2 before W10."""
    digits = "".join(c if c.isdigit() else " " for c in row.name).split()
    roles = list(_SHADES)
    return roles.index(row.role), row.name.partition("/")[2], [int(d) for d in digits], row.name


def _label(group: list[Described], prime: str = "") -> str:
    """Name a group of variables, or their new values."""
    names = [f"{row.name}{prime}" for row in group]
    slots = {row.name.partition("/")[2] for row in group}
    if group[0].param is not None and group[0].role != "parameter" and len(slots) == 1:
        slot = slots.pop().rpartition("/")[2]
        return f"{slot}{prime} of {_joined([str(row.param) for row in group])}"
    return _joined(names) + (f" ({len(names)})" if len(names) > 3 else "")


def _joined(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{names[0]} ... {names[-1]}"


def _outside_label(leaves: Iterable[Any]) -> str:
    """Name what is read and not updated: data and settings."""
    names = [v.name or ("shared" if isinstance(v, SharedVariable) else "input") for v in leaves]
    names.sort()
    return f"data: {abbreviated(names, 24)}"


def _new_axes(diagram: Diagram) -> Any:
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            "draw: needs matplotlib to draw; install it with: pip install matplotlib"
        ) from error
    rows = len(diagram.old) + bool(diagram.through("finite")[0])
    return plt.subplots(figsize=(9.5, 1.9 + 0.6 * rows))[1]


def _paint(diagram: Diagram, axes: Any) -> None:
    """Put boxes and lines on axes."""
    bottom = -float(len(diagram.old))
    fontsize = 9 if max(map(len, diagram.new.values())) <= 26 else 7.5

    def box(label: str, x: float, y: float, role: str, ha: str = "center") -> None:
        fill, color = _SHADES[role]
        label = label if len(label) <= 40 else label[:37] + "..."
        style = {"boxstyle": "round,pad=0.5", "facecolor": fill, "edgecolor": "#555555"}
        style["linestyle"] = "--" if role == "not updated" else "-"
        axes.text(x, y, label, color=color, ha=ha, va="center", size=fontsize, bbox=style)

    def line(start: tuple[float, float], end: tuple[float, float], style: dict[str, Any]) -> None:
        arrow = {"arrowstyle": "-|>", "shrinkA": 6, "shrinkB": 5, **style}
        axes.annotate("", end, start, arrowprops=arrow)

    heights = {key: -float(place) for place, key in enumerate(diagram.old)}
    for key, label in diagram.old.items():
        box(label, 0, heights[key], diagram.roles[key], "right")
    for key, label in diagram.new.items():
        box(label, 2, heights[key], diagram.roles[key], "left")
    for kind, source, target in sorted(diagram.lines):
        if kind == "itself":
            color = _DARKS[-int(heights[source]) % len(_DARKS)]
            style = _KINDS[kind][1] | {"color": color}
            line((0, heights[source]), (2, heights[target]), style)
    for kind, words, y in (("gradient", "gradient", 1.0), ("finite", "all finite?", bottom)):
        sources, targets = diagram.through(kind)
        if sources:
            box(words, 1, y, "not updated")
        for source in sources:
            line((0, heights[source]), (0.75, y), _KINDS[kind][1])
        for target in targets:
            line((1.25, y), (2, heights[target]), _KINDS[kind][1])
    for x, words, ha in ((0, "old values", "right"), (2, "new values", "left")):
        axes.text(x, 1, words, ha=ha, va="center", size=10, weight="bold")
    for kind, (words, style) in _KINDS.items():
        if diagram.through(kind)[0]:
            axes.plot([], [], label=words, **style)
    axes.legend(loc="lower center", ncols=3, frameon=False, fontsize=8.5)
    axes.set(xlim=(-1.5, 3.5), ylim=(bottom - 1, 1.5), title=_TITLE)
    axes.set_axis_off()
    axes.title.set_size(10)
