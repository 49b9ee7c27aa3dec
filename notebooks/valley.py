"""Draw the walk of every rule down the same valley: ``0.1*x1^2 + 2*x2^2`` from (-5, -2).

    python notebooks/valley.py [--steps 40] [--picture notebooks/valley.png] [--each FOLDER]

There is one small map for each rule, with its learning rate and the loss at the end of the walk.
The learning rates are those that ``python -m updates race`` finds; they suit this valley, and are
no advice for networks.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from updates.command_line.functions import FUNCTIONS
from updates.command_line.race import Walk, Walker
from updates.declaration import public_names

VALLEY = FUNCTIONS["valley"]
# With their defaults, a short walk would not show what these rules do: the noise is too small to
# see, and the distance takes half of the walk to grow from 1e-6.
SETTINGS: dict[str, dict[str, Any]] = {
    "noisy_sgd": {"eta": 1.0},
    "prodigy": {"initial_distance": 0.3},
}


def walk(name: str, steps: int) -> Walk:
    """Return the walk of one rule at its best learning rate."""
    return Walker(VALLEY, name, **SETTINGS.get(name, {})).best(steps)


def draw(walks: Iterable[Walk], picture: Path, columns: int = 7) -> None:
    """Draw one map for each walk, all to the same scale."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise SystemExit("the picture needs matplotlib: pip install matplotlib") from error
    walks = list(walks)
    rows = -(-len(walks) // columns)
    figure = Figure(figsize=(2 * columns, 1.45 * rows))
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    x1, x2 = np.meshgrid(np.linspace(-6, 2, 81), np.linspace(-3, 3, 61))
    levels = np.geomspace(0.05, 20, 9)
    for axis, walk in zip(axes.flat, walks, strict=False):
        axis.contour(x1, x2, VALLEY.loss(x1, x2), levels, colors="0.8", linewidths=0.6)
        axis.plot(*walk.points.T, color="tab:blue", linewidth=0.8, marker=".", markersize=2.5)
        axis.plot(*VALLEY.start, "o", color="black", markersize=3)
        axis.plot(0, 0, "*", color="tab:red", markersize=5)
        axis.set_title(walk.rule, fontsize=7.5, pad=3)
        note = f"rate {walk.learning_rate:g}, loss {walk.end:.0e}"
        axis.text(-5.8, 2.25, note, fontsize=5.5, color="0.25")
        axis.set(xlim=(-6, 2), ylim=(-3, 3))
        axis.tick_params(labelsize=6, length=2)
    for axis in axes.flat[len(walks) :]:
        axis.set_axis_off()
    figure.supxlabel("x1", fontsize=8)
    figure.supylabel("x2", fontsize=8, x=0.002)
    figure.tight_layout(pad=0.6, h_pad=0.5, w_pad=0.4, rect=(0.008, 0, 1, 1))
    figure.savefig(picture, dpi=130)


def main() -> None:
    """Walk with every rule and draw the walks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--picture", type=Path, default=Path(__file__).with_name("valley.png"))
    parser.add_argument("--each", type=Path, help="a folder for a picture of each walk as well")
    options = parser.parse_args()
    # `momentum_updates` is another name for `momentum`
    rules = [name for name in public_names("updates.rules") if name != "momentum_updates"]
    walks = [walk(name, options.steps) for name in rules]
    draw(walks, options.picture)
    if options.each:
        for one in walks:
            draw([one], options.each / f"{one.rule}.png", columns=1)
    print(f"{len(rules)} walks of {options.steps} steps: {options.picture}")


if __name__ == "__main__":
    main()
