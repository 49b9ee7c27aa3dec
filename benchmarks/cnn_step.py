"""Time a training step of network3's CNN under PyTensor beside PyTorch's eager step on the CPU.

    pip install torch==2.13.0  # or -r benchmarks/requirements.txt
    python benchmarks/cnn_step.py

The same network from the same parameters on the same mini-batches: batch 10, 28x28 images, 20 and
40 filters of 5x5, 2x2 pools, 100 rectified linear units, float32, plain SGD. Both run in this one
process with their default numbers of threads, in rounds that take turns, so that whatever else
the machine does falls on both.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytensor
import pytensor.tensor as pt

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "notebooks"))
import network3

try:
    import torch
except ImportError:
    sys.exit("this benchmark compares with PyTorch: pip install -r benchmarks/requirements.txt")

BATCH = 10
BATCHES = 100
LEARNING_RATE = 0.03

Step = Callable[[int], Any]


def pytensor_step(net: network3.Network, x: np.ndarray, y: np.ndarray) -> Step:
    """Return network3's training step, the function that ``Network.SGD`` compiles."""
    data = pytensor.shared(x), pt.cast(pytensor.shared(y.astype(x.dtype)), "int32")
    return net.training_function(data, LEARNING_RATE)


def torch_step(net: network3.Network, x: np.ndarray, y: np.ndarray) -> Step:
    """Return the eager step of the same network with the same parameters."""
    nn = torch.nn
    model = nn.Sequential(
        nn.Conv2d(1, 20, 5),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(20, 40, 5),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(640, 100),
        nn.ReLU(),
        nn.Linear(100, 10),
    )
    with torch.no_grad():
        for theirs, ours in zip(model.parameters(), net.params, strict=True):
            values = ours.get_value()
            theirs.copy_(torch.from_numpy(values.T if values.ndim == 2 else values))
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)
    images = torch.from_numpy(x).reshape((-1, 1, 28, 28))
    labels = torch.from_numpy(y)

    def step(index: int) -> float:
        rows = slice(index * BATCH, (index + 1) * BATCH)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(images[rows]), labels[rows])
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def milliseconds(step: Step, steps: int) -> float:
    """Return the mean duration of a step over one round."""
    start = time.perf_counter()
    for index in range(steps):
        step(index % BATCHES)
    return 1e3 * (time.perf_counter() - start) / steps


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40, help="default: %(default)s")
    parser.add_argument("--steps", type=int, default=50, help="a round; default: %(default)s")
    options = parser.parse_args()

    np.random.seed(0)
    x = np.random.random((BATCH * BATCHES, 28 * 28)).astype("float32")
    y = np.random.randint(10, size=BATCH * BATCHES)
    net = network3.cnn(BATCH)
    # PyTorch first: it copies the initial parameters, which PyTensor's step then changes
    steps = {"PyTorch": torch_step(net, x, y), "PyTensor": pytensor_step(net, x, y)}
    start = time.perf_counter()
    costs = {name: [float(step(index)) for index in range(5)] for name, step in steps.items()}
    compile_seconds = time.perf_counter() - start
    if not np.allclose(costs["PyTensor"], costs["PyTorch"], rtol=1e-3):
        sys.exit(f"the two networks differ; the costs of their first steps: {costs}")

    rounds: dict[str, list[float]] = {name: [] for name in steps}
    for round_number in range(options.rounds + 2):
        for name, step in steps.items():
            duration = milliseconds(step, options.steps)
            if round_number >= 2:  # the first rounds warm up
                rounds[name].append(duration)

    print(f"pytensor {pytensor.__version__}, mode {pytensor.config.mode}")
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    print(f"first steps, in which numba compiles: {compile_seconds:.1f} s")
    for name, durations in rounds.items():
        median, fastest = statistics.median(durations), min(durations)
        print(f"{name:9s} {median:6.3f} ms a step (median), {fastest:6.3f} ms (fastest round)")
    ratios = [a / b for a, b in zip(rounds["PyTensor"], rounds["PyTorch"], strict=True)]
    print(f"PyTensor / PyTorch: {statistics.median(ratios):.2f} (median of the rounds)")


if __name__ == "__main__":
    main()
