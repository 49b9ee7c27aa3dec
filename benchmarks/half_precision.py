"""Adam with its moments in 16 bits, beside full precision: memory, losses and time.

    python benchmarks/half_precision.py [--epochs 2] [--picture docs/half_precision.png]

Trains the CNN of ``notebooks/digit_cnn.py`` from the same starts on the same mini-batches, and
times the update alone on an array of ten million values. Prints a table; draws the losses.
"""

import argparse
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytensor

import updates

sys.path.append(str(Path(__file__).parents[1] / "notebooks"))
from digit_cnn import cnn, load_cnn_data, one_blas_thread

PRECISIONS = {"float32": None, "16 bits": "float16"}
SEEDS = range(3)
BATCH_SIZE = 10
WINDOW = 50


def trained(state_dtype: str | None, epochs: int, seed: int) -> tuple[np.ndarray, float, int]:
    """Train the CNN; return the costs of all steps, the validation accuracy, bytes of moments."""
    training, validation, test = load_cnn_data()
    np.random.seed(seed)
    network = cnn(BATCH_SIZE)
    kept: dict[Any, int] = {}

    def rule(cost: Any, params: list[Any], eta: Any) -> Any:
        changes = updates.adam(cost, params, eta, state_dtype=state_dtype)
        kept.update({v: v.get_value().nbytes for v in changes if updates.is_state(v)})
        return changes

    costs = []
    step = network.training_function(training, 0.001, rule=rule)
    steps = training[0].get_value(borrow=True).shape[0] // BATCH_SIZE
    for _ in range(epochs):
        costs += [float(step(k)) for k in range(steps)]
    log = network.SGD(
        validation, 1, BATCH_SIZE, 0.0, validation, test, rule=updates.sgd, report=lambda _: None
    )  # a rate of 0 measures only
    return np.array(costs), log.epochs[0].validation_accuracy, sum(kept.values())


def milliseconds(state_dtype: str | None, size: int = 10**7) -> float:
    """Time the update of one large array, least of seven."""
    random = np.random.default_rng(0)
    w, gradient = (
        pytensor.shared(random.normal(size=size).astype("float32"), name=name) for name in "wg"
    )
    step = pytensor.function([], updates=updates.adam([gradient * 1], [w], state_dtype=state_dtype))
    step()
    times = []
    for _ in range(7):
        start = perf_counter()
        step()
        times.append(perf_counter() - start)
    return min(times) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    print("| moments | bytes | mean cost of the last 200 steps | validation accuracy | ms alone |")
    print("|---|---:|---:|---:|---:|")
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for (name, dtype), color in zip(PRECISIONS.items(), ("tab:blue", "tab:red"), strict=True):
        with one_blas_thread():
            runs = [trained(dtype, options.epochs, seed) for seed in SEEDS]
        costs = np.mean([run[0] for run in runs], axis=0)
        accuracy = np.mean([run[1] for run in runs])
        print(
            f"| {name} | {runs[0][2]:,} | {costs[-200:].mean():.4f} | {accuracy:.2%} "
            f"| {milliseconds(dtype):.1f} |"
        )
        smooth = np.convolve(costs, np.ones(WINDOW) / WINDOW, mode="valid")
        axes.plot(smooth, color=color, linestyle="-" if dtype is None else "--", label=name)
    axes.set(yscale="log", xlabel="step", ylabel=f"cost, mean of {len(SEEDS)} starts")
    axes.set_title("The digit CNN with Adam: moments in float32 and in 16 bits")
    axes.grid(alpha=0.3)
    axes.legend()
    if options.picture:
        figure.savefig(options.picture, dpi=110)


if __name__ == "__main__":
    main()
