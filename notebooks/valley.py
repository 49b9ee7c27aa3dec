"""Draw the walk of every rule down the same valley: ``0.1*x1^2 + 2*x2^2`` from (-5, -2).

    python notebooks/valley.py [--steps 40] [--picture notebooks/valley.png]

One small map a rule, with its learning rate and the loss at the end of the walk. The
learning rates are ones at which the rule does well here, not advice for networks.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytensor

import updates
from updates.rules import __all__ as names

START = (-5.0, -2.0)
LEARNING_RATES = {
    "adabelief": 0.4,
    "adadelta": 1.0,
    "adafactor": 0.3,
    "adagrad": 1.5,
    "adagrad_window": 0.8,
    "adam": 0.5,
    "adamax": 0.5,
    "adamaxw": 0.5,
    "adamw": 0.5,
    "adan": 0.15,
    "ademamix": 0.1,
    "adopt": 0.5,
    "amsgrad": 0.5,
    "asgd": 0.45,
    "deepmind_rmsprop": 0.2,
    "dog": 1.0,
    "dowg": 1.0,
    "esgd": 0.05,
    "fromage": 0.3,
    "gradient_updates_momentum": 0.15,
    "graves_rmsprop": 0.2,
    "lamb": 0.1,
    "lars": 50.0,
    "lion": 0.15,
    "madgrad": 0.3,
    "momentum": 0.05,
    "muon": 0.3,
    "nadam": 0.5,
    "nadamw": 0.5,
    "nesterov_lookahead": 0.1,
    "nesterov_momentum": 0.1,
    "noisy_sgd": 0.4,
    "novograd": 0.2,
    "optimistic_adam": 0.4,
    "optimistic_gradient_descent": 0.12,
    "polyak_sgd": 1.0,
    "prodigy": 0.7,
    "radam": 0.5,
    "rmsprop": 0.4,
    "rprop": 0.1,
    "sam": 0.3,
    "schedule_free_adamw": 1.0,
    "schedule_free_sgd": 0.45,
    "sgd": 0.45,
    "sign_sgd": 0.2,
    "signum": 0.15,
    "sm3": 1.0,
    "sophia": 0.2,
    "yogi": 0.5,
}
# What the defaults, meant for thousands of steps or for networks, would not show in a short walk.
SETTINGS: dict[str, dict[str, Any]] = {
    "adadelta": {"epsilon": 0.05},
    "ademamix": {"beta3": 0.95, "alpha": 2.0},
    "asgd": {"start": 10},
    "dog": {"initial_step": 0.05},
    "dowg": {"initial_distance": 0.5},
    "esgd": {"halflife": 3},
    "gradient_updates_momentum": {"momentum": 0.5},
    "muon": {"momentum": 0.7},
    "noisy_sgd": {"eta": 1.0},
    "polyak_sgd": {"max_learning_rate": 10.0},
    "prodigy": {"initial_distance": 0.1},
    "sophia": {"gamma": 1.0, "update_interval": 1, "beta1": 0.7, "beta2": 0.9},
}


def valley(x1: Any, x2: Any) -> Any:
    """Return the loss."""
    return 0.1 * x1**2 + 2 * x2**2


def rule_for(name: str) -> Callable[..., Any]:
    """Return a rule that waits for the loss."""
    if name == "sam":
        return updates.sam(rule=updates.sgd(learning_rate=LEARNING_RATES[name]), rho=0.2)
    return getattr(updates, name)(learning_rate=LEARNING_RATES[name], **SETTINGS.get(name, {}))


def walk(name: str, steps: int) -> np.ndarray:
    """Return the points of the walk, one row each, beginning with the start."""
    # A matrix of one row, because muon has its own way with matrices only.
    x = pytensor.shared(np.array([START]), name="x")
    rule = rule_for(name)(valley(x[0, 0], x[0, 1]), [x])
    step = pytensor.function([], updates=rule, mode="FAST_COMPILE")
    points = [x.get_value()[0]]
    for _ in range(steps):
        step()
        points.append(x.get_value()[0])
    return np.array(points)


def draw(walks: dict[str, np.ndarray], picture: Path, columns: int = 7) -> None:
    """Draw one map for each walk, all to the same scale."""
    try:
        import matplotlib as mpl

        mpl.use("Agg")
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise SystemExit("the picture needs matplotlib: pip install matplotlib") from error
    rows = -(-len(walks) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(2 * columns, 1.45 * rows), sharex=True, sharey=True
    )
    x1, x2 = np.meshgrid(np.linspace(-6, 2, 81), np.linspace(-3, 3, 61))
    for axis, (name, points) in zip(axes.flat, walks.items(), strict=False):
        axis.contour(
            x1, x2, valley(x1, x2), np.geomspace(0.05, 20, 9), colors="0.8", linewidths=0.6
        )
        axis.plot(*points.T, color="tab:blue", linewidth=0.8, marker=".", markersize=2.5)
        axis.plot(*START, "o", color="black", markersize=3)
        axis.plot(0, 0, "*", color="tab:red", markersize=5)
        axis.set_title(name, fontsize=7.5, pad=3)
        note = f"rate {LEARNING_RATES[name]:g}, loss {valley(*points[-1]):.0e}"
        axis.text(-5.8, 2.25, note, fontsize=5.5, color="0.25")
        axis.set(xlim=(-6, 2), ylim=(-3, 3))
        axis.tick_params(labelsize=6, length=2)
    for axis in list(axes.flat)[len(walks) :]:
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
    options = parser.parse_args()
    # `momentum_updates` is `momentum`.
    rules = [name for name in names if name != "momentum_updates"]
    draw({name: walk(name, options.steps) for name in rules}, options.picture)
    print(f"{len(rules)} walks of {options.steps} steps: {options.picture}")


if __name__ == "__main__":
    main()
