"""The picture: which old values each new value of a dictionary reads.

- ``draw``: the diagram, by matplotlib
- ``Diagram``: its boxes and lines
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pytensor.graph.basic import Variable

from updates.call import UpdatesLike
from updates.declaration import declared
from updates.description.reads import Reads, is_given, reads_of
from updates.description.variables import (
    Described,
    abbreviated,
    all_items,
    checked_params_of,
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
_STYLES: dict[str, dict[str, Any]] = {
    "itself": {"color": "#222222", "linewidth": 1.3, "zorder": 2},
    "gradient": {"color": "#8a8a8a", "linewidth": 1.0, "linestyle": (0, (4, 3)), "zorder": 1},
    "finite": {"color": "#8a8a8a", "linewidth": 1.0, "linestyle": (0, (1, 2)), "zorder": 1},
}
_WORDS = {
    "itself": "reads it itself",
    "gradient": "through the gradient",
    "finite": "to skip bad steps",
}
_LEFT, _MIDDLE, _RIGHT, _WIDTH = 0.0, 5.2, 10.4, 3.8


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
    items = all_items(updates)
    rows = described(items, loss, checked_params_of(loss))
    reads = reads_of(items)
    groups = sorted(map(_in_order, grouped(rows)), key=lambda group: _place(group[0]))
    keys = {row.variable: _label(group) for group in groups for row in group}
    roles = {_label(group): group[0].role for group in groups}
    new = {_label(group): _label(group, "'") for group in groups}
    outside = {leaf for read in reads.values() for leaf in _leaves(read)} - keys.keys()
    if outside:
        label = _outside_label(outside)
        keys |= dict.fromkeys(outside, label)
        roles[label] = "not updated"
    lines = {
        (kind, keys[old], keys[variable])
        for variable, read in reads.items()
        for kind, sources in _kinds(read)
        for old in sources
    }
    return Diagram({key: key for key in roles}, new, roles, frozenset(lines))


def _kinds(read: Reads) -> list[tuple[str, frozenset[Any]]]:
    return [
        ("itself", read.directly),
        ("gradient", read.by_gradient),
        ("finite", read.by_finite),
    ]


def _leaves(read: Reads) -> frozenset[Any]:
    return read.directly | read.by_gradient | read.by_finite


def _in_order(group: list[Described]) -> list[Described]:
    return sorted(group, key=_place)


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
    names = sorted(leaf.name or ("input" if is_given(leaf) else "shared") for leaf in leaves)
    return f"data: {abbreviated(names, 24)}"


def _new_axes(diagram: Diagram) -> Any:
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            "draw: needs matplotlib to draw; install it with: pip install matplotlib"
        ) from error
    rows = len(diagram.old) + bool(diagram.through("finite")[0])
    _, axes = plt.subplots(figsize=(9.5, 1.9 + 0.6 * rows))
    return axes


def _paint(diagram: Diagram, axes: Any) -> None:
    """Put boxes and lines on axes."""
    heights = {label: -float(index) for index, label in enumerate(diagram.old)}
    top, bottom = 1.15, min(heights.values())
    labels = [*diagram.old.values(), *diagram.new.values()]
    fontsize = 9 if max(map(len, labels)) <= 26 else 7.5
    for kind, old, new in sorted(diagram.lines):
        if kind == "itself":
            color = _DARKS[list(heights).index(old) % len(_DARKS)]
            start, end = (_LEFT + _WIDTH / 2, heights[old]), (_RIGHT - _WIDTH / 2, heights[new])
            _line(axes, start, end, color=color, linewidth=1.3, zorder=2)
    for hub, words, y in (("gradient", "gradient", top), ("finite", "all finite?", bottom - 1.15)):
        sources, targets = diagram.through(hub)
        for old in sources:
            start = (_LEFT + _WIDTH / 2, heights[old])
            _line(axes, start, (_MIDDLE - 0.75, y), **_STYLES[hub])
        for new in targets:
            end = (_RIGHT - _WIDTH / 2, heights[new])
            _line(axes, (_MIDDLE + 0.75, y), end, **_STYLES[hub])
        if sources:
            _box(axes, words, _MIDDLE, y, 1.5, ("white", "#555555"), fontsize, dashed=True)
            bottom = min(bottom, y)
    for key, label in diagram.old.items():
        role = diagram.roles[key]
        dashed = role == "not updated"
        _box(axes, label, _LEFT, heights[key], _WIDTH, _SHADES[role], fontsize, dashed)
    for key, label in diagram.new.items():
        _box(axes, label, _RIGHT, heights[key], _WIDTH, _SHADES[diagram.roles[key]], fontsize)
    for x, words in ((_LEFT, "old values"), (_RIGHT, "new values")):
        axes.text(x, top, words, ha="center", va="center", fontsize=10, weight="bold")
    kinds = [kind for kind in _STYLES if diagram.through(kind)[0]]
    _key(axes, bottom - 0.95, kinds)
    axes.set_xlim(_LEFT - _WIDTH / 2 - 0.1, _RIGHT + _WIDTH / 2 + 0.1)
    axes.set_ylim(bottom - 1.3, top + 0.5)
    axes.set_axis_off()
    axes.set_title(_TITLE, fontsize=10)


def _line(axes: Any, start: tuple[float, float], end: tuple[float, float], **style: Any) -> None:
    """Draw a curve that leaves and arrives level."""
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path

    (x0, y0), (x1, y1) = start, end
    middle = (x0 + x1) / 2
    points = [(x0, y0), (middle, y0), (middle, y1), (x1, y1)]
    path = Path(points, [Path.MOVETO, *[Path.CURVE4] * 3])
    axes.add_patch(FancyArrowPatch(path=path, arrowstyle="-|>", mutation_scale=9, **style))


def _box(
    axes: Any,
    label: str,
    x: float,
    y: float,
    width: float,
    shades: tuple[str, str],
    fontsize: float,
    dashed: bool = False,
) -> None:
    from matplotlib.patches import FancyBboxPatch

    fill, text = shades
    style: Any = {"facecolor": fill, "edgecolor": "#555555", "linestyle": "--" if dashed else "-"}
    shape = "round,pad=0,rounding_size=0.12"
    corner = (x - width / 2, y - 0.3)
    axes.add_patch(FancyBboxPatch(corner, width, 0.6, shape, linewidth=0.8, zorder=3, **style))
    label = label if len(label) <= 40 else label[:37] + "..."
    axes.text(x, y, label, ha="center", va="center", fontsize=fontsize, color=text, zorder=4)


def _key(axes: Any, y: float, kinds: list[str]) -> None:
    """Explain the kinds of lines."""
    for index, kind in enumerate(kinds):
        x = _MIDDLE + 4.2 * (index - len(kinds) / 2)
        axes.plot([x, x + 0.8], [y, y], **_STYLES[kind])
        axes.text(x + 1.0, y, _WORDS[kind], va="center", fontsize=8.5)
