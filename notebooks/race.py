"""Race update rules on the digit-recognising CNN of ``digit_cnn.py``: a table and a picture.

``python notebooks/race.py`` (or ``make demo``) trains the same network, from the same start and on
the same data, with each rule in turn. It prints a table and draws ``learning_curves.png``.
"""

import argparse
import functools
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from digit_cnn import cnn, load_cnn_data, one_blas_thread
from training_log import TrainingLog
from tuned_rules import TUNED_RULES

try:
    import matplotlib.pyplot as plt
    from matplotlib.ticker import MaxNLocator, PercentFormatter
    from tqdm import tqdm
except ImportError as error:
    sys.exit(f'{error.name} is not installed: pip install "pytensor-updates[demo]"')

RACE = ["sgd", "momentum_updates", "nesterov_momentum", "rmsprop", "deepmind_rmsprop", "adam"]
MINI_BATCH_SIZE = 10
HEADER = (
    "rule",
    "learning rate",
    "best validation accuracy",
    "its test accuracy",
    "compile seconds",
    "ms per step",
)
LINES = [
    ("-", "o"),
    ("--", "s"),
    ("-.", "^"),
    (":", "D"),
    ((0, (5, 1, 1, 1, 1, 1)), "v"),
    ("-", "x"),
]


def race(names: Sequence[str], epochs: int, data: Path | None, seed: int) -> dict[str, TrainingLog]:
    """Train the CNN with each rule and return the log of each training run by the rule's name."""
    training_data, validation_data, test_data = load_cnn_data(data)
    logs = {}
    for name in names:
        rule, eta = TUNED_RULES[name]
        np.random.seed(seed)
        logs[name] = cnn(MINI_BATCH_SIZE).SGD(
            training_data,
            epochs,
            MINI_BATCH_SIZE,
            eta,
            validation_data,
            test_data,
            rule=rule,
            progress=functools.partial(tqdm, desc=f"{name:>17}", unit="step", ascii=" #"),
            report=lambda line: None,
        )
    return logs


def table(logs: dict[str, TrainingLog]) -> str:
    """Return a Markdown table with one row for each rule."""
    rows = [HEADER]
    for name, log in logs.items():
        best = log.best
        rows.append(
            (
                name,
                f"{TUNED_RULES[name][1]:g}",
                f"{best.validation_accuracy:.2%}",
                f"{best.test_accuracy:.2%}",
                f"{log.compile_seconds:.1f}",
                f"{log.milliseconds_per_step:.2f}",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    lines = [
        "| "
        + " | ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        + " |"
        for row in rows
    ]
    rule = (
        "|" + "|".join("-" * (w + 1) + ("-" if c == 0 else ":") for c, w in enumerate(widths)) + "|"
    )
    return "\n".join([lines[0], rule, *lines[1:]])


def draw(logs: dict[str, TrainingLog], path: Path) -> None:
    """Draw training cost and validation accuracy over the epochs."""
    figure, (cost_axes, accuracy_axes) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    looks = itertools.cycle(LINES)
    for name, log in logs.items():
        style, marker = next(looks)
        epochs = range(1, len(log.epochs) + 1)
        look = {"linestyle": style, "marker": marker, "markersize": 4, "linewidth": 1.5}
        cost_axes.plot(epochs, [epoch.cost for epoch in log.epochs], label=name, **look)
        accuracy_axes.plot(
            epochs, [epoch.validation_accuracy for epoch in log.epochs], label=name, **look
        )
    cost_axes.set(title="Training cost", ylabel="mean negative log-likelihood", yscale="log")
    accuracy_axes.set(title="Validation accuracy", ylabel="digits recognised")
    accuracy_axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    accuracy_axes.set_ylim(bottom=max(accuracy_axes.get_ylim()[0], 0.85), top=1.0)
    for axes in (cost_axes, accuracy_axes):
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
    accuracy_axes.legend(loc="lower right")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main(arguments: Sequence[str] | None = None) -> None:
    """Race the rules that the arguments name, by default those of the command line."""
    parser = argparse.ArgumentParser(description="Race update rules on a digit-recognising CNN.")
    parser.add_argument("--rules", nargs="+", default=RACE, choices=TUNED_RULES, metavar="NAME")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--data", type=Path, help="an mnist.pkl.gz; default: scikit-learn's digits")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--picture", type=Path, default=Path("learning_curves.png"))
    options = parser.parse_args(arguments)
    try:
        with one_blas_thread():
            logs = race(options.rules, options.epochs, options.data, options.seed)
    except (ImportError, OSError, ValueError) as error:
        parser.error(str(error))
    print()
    print(table(logs))
    draw(logs, options.picture)
    print(f"\nThe learning curves are in {options.picture}.")


if __name__ == "__main__":
    main()
