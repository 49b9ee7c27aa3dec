"""The picture of a race: trails over contours.

- ``draw``: one trail a rule
- ``checked_picture``: where to write it, from what was typed
"""

import io
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from updates.command_line.errors import CommandError
from updates.command_line.functions import Function
from updates.command_line.race import Walk

_SUFFIXES = (".png", ".svg", ".pdf", ".jpg")

# Seven colours of different lightness, eight markers and five dashes: no two of 280 trails are
# alike, and neighbours differ in all three.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#000000", "#CC79A7", "#56B4E9", "#B8860B")
_MARKERS = ("o", "s", "^", "D", "v", "X", "P", "*")
_DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))


def draw(function: Function, title: str, walks: Sequence[Walk], picture: Path) -> None:
    """Draw the trails of walks over the contours of their function.

    Parameters
    ----------
    function : Function
        What the contours are of.
    title : str
        What stands above the picture.
    walks : sequence of Walk
        One trail and one line of the legend each, in this order.
    picture : Path
        Where to write it, once it is done; the suffix gives the format.
    """
    figure_class = _matplotlib().figure.Figure
    rows = 22
    columns = -(-len(walks) // rows)
    figure = figure_class(figsize=(6.6 + 2.9 * columns, 5), layout="constrained")
    axes = figure.add_subplot()
    x1_ends, x2_ends = _window(function, walks)
    x1, x2 = np.meshgrid(np.linspace(*x1_ends, 201), np.linspace(*x2_ends, 201))
    loss = function.loss(x1, x2)
    levels = np.geomspace(loss.max() * 1e-4, loss.max(), 17)
    axes.contour(x1, x2, loss, levels, colors="0.8", linewidths=0.7)
    for index, walk in enumerate(walks):
        axes.plot(
            *walk.points.T,
            color=_COLOURS[index % len(_COLOURS)],
            marker=_MARKERS[index % len(_MARKERS)],
            linestyle=_DASHES[index % len(_DASHES)],
            markersize=4,
            markevery=max(1, len(walk.points) // 20),
            linewidth=1.2,
            label=_label(walk),
        )
    axes.plot(*function.start, "o", color="black", markersize=8, zorder=3, label="start")
    axes.plot(
        *np.transpose(function.minima),
        "*",
        color="red",
        markeredgecolor="black",
        markersize=13,
        linestyle="none",
        zorder=3,
        label="minimum",
    )
    axes.set(xlim=x1_ends, ylim=x2_ends, xlabel="x1", ylabel="x2", title=title)
    figure.legend(
        loc="outside right upper",
        ncols=columns,
        fontsize=8,
        handlelength=3.5,
        title="rule, learning rate: last loss",
        title_fontsize=8,
    )
    image = io.BytesIO()
    figure.savefig(image, format=picture.suffix[1:].lower(), dpi=130)
    picture.write_bytes(image.getvalue())


def checked_picture(text: str) -> Path:
    """Return the path of a picture that can be written.

    Raises
    ------
    CommandError
        If matplotlib is missing, the suffix is unknown, or the file cannot be written.
    """
    picture = Path(text)
    _matplotlib()
    if picture.suffix.lower() not in _SUFFIXES:
        raise CommandError(f"a picture's name must end in {', '.join(_SUFFIXES)}, got {text!r}")
    if not picture.parent.is_dir():
        raise CommandError(f"there is no folder {str(picture.parent)!r} for the picture")
    if picture.is_dir() or not os.access(picture if picture.exists() else picture.parent, os.W_OK):
        raise CommandError(f"the picture {text!r} cannot be written")
    return picture


def _matplotlib() -> Any:
    try:
        import matplotlib.figure
    except ImportError as error:
        raise CommandError("pictures need matplotlib: pip install matplotlib") from error
    return matplotlib


def _window(function: Function, walks: Sequence[Walk]) -> list[tuple[float, float]]:
    """Widen the function's window where trails leave it, by a third on each side at most."""
    points = np.concatenate([walk.points for walk in walks])
    ends = []
    for (low, high), trail in zip(function.window, points.T, strict=True):
        room = (high - low) / 3
        ends.append((max(low - room, min(low, *trail)), min(high + room, max(high, *trail))))
    return ends


def _label(walk: Walk) -> str:
    end = f"loss {walk.end:.2g}" if math.isfinite(walk.end) else "diverged"
    return f"{walk.rule} {walk.learning_rate:g}: {end}"
