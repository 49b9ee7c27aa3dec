"""Draw what ``speed.py`` measured.

python benchmarks/speed_chart.py speed.json speed.png
"""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from speed_alone import LAYOUTS
from speed_common import BARE, OURS, median, number


def draw(results: dict[str, Any], path: str) -> None:
    """Draw a panel of bars for each task, the bare memory traffic as a line."""
    panels: dict[str, dict[str, list[float]]] = {}
    if "updates" in results:
        size = results["options"]["size"]
        panels[f"adam alone, {LAYOUTS[0]} of {size:,}"] = results["updates"]["adam"][LAYOUTS[0]]
        panels[f"adam alone, {LAYOUTS[2]}"] = results["updates"]["adam"][LAYOUTS[2]]
    for name, times in results.get("steps", {}).items():
        panels[f"{name}, a training step with adam"] = times
    if not panels:
        sys.exit("a chart shows the parts updates and steps, and neither was measured")
    bars = [sum(system != BARE for system in times) for times in panels.values()]
    heights = [max(bars[k : k + 2]) + 1.5 for k in range(0, len(bars), 2)]
    figure, grid = plt.subplots(
        len(heights),
        2,
        figsize=(9, 0.6 + 0.27 * sum(heights)),
        height_ratios=heights,
        layout="constrained",
        squeeze=False,
    )
    for axes, (title, times) in zip(grid.flat, panels.items(), strict=False):
        panel(axes, title, times)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def panel(axes: Axes, title: str, times: dict[str, list[float]]) -> None:
    """Draw one task."""
    medians = {system: median(values) or 0.0 for system, values in times.items()}
    bare = medians.pop(BARE, None)
    systems = list(medians)
    colors = ["0.4" if system == OURS else "0.75" for system in systems]
    bars = axes.barh(systems, list(medians.values()), color=colors, height=0.7)
    labels = [number(value) for value in medians.values()]
    white = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
    axes.bar_label(bars, labels, padding=4, fontsize=8, bbox=white)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.15 * max(*medians.values(), bare or 0))
    unit = "milliseconds"
    if bare is not None:
        axes.axvline(bare, color="black", linestyle="--", linewidth=1.2)
        unit += f" (dashed: bare traffic, {number(bare)})"
    axes.set_title(title, fontsize=9)
    axes.set_xlabel(unit, fontsize=8)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text()), sys.argv[2])
