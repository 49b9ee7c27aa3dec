"""Time a training step of network3's CNN under PyTensor beside PyTorch's eager step on the CPU.

    python -m pip install -r benchmarks/requirements.txt
    python benchmarks/cnn_step.py

The same network from the same parameters on the same mini-batches: batch 10, 28x28 images, 20 and
40 filters of 5x5, 2x2 pools, 100 rectified linear units, float32, plain SGD. The two take turns,
each time in a fresh process with its default number of threads: in one process their thread pools
would slow each other down. The costs of the first steps must agree.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "notebooks"))
import network3
import pytensor
import pytensor.tensor as pt

BATCH = 10
BATCHES = 100
LEARNING_RATE = 0.03

Step = Callable[[int], float]


def pytensor_step(net: network3.Network, x: np.ndarray, y: np.ndarray) -> Step:
    """Return network3's training step, the function that ``Network.SGD`` compiles."""
    data = pytensor.shared(x), pt.cast(pytensor.shared(y.astype(x.dtype)), "int32")
    train = net.training_function(data, LEARNING_RATE)
    return lambda index: float(train(index))


def torch_step(net: network3.Network, x: np.ndarray, y: np.ndarray) -> Step:
    """Return the eager step of the same network with the same parameters."""
    try:
        import torch
    except ImportError:
        sys.exit("this benchmark compares with PyTorch: pip install -r benchmarks/requirements.txt")
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
        for parameter, param in zip(model.parameters(), net.params, strict=True):
            value = torch.from_numpy(param.get_value())
            parameter.copy_(value.T if value.ndim == 2 else value)
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


STEPS = {"PyTensor": pytensor_step, "PyTorch": torch_step}


def measure(system: str, steps: int) -> dict[str, object]:
    """Return the first costs and the median milliseconds of a step of one system."""
    np.random.seed(0)
    x = np.random.random((BATCH * BATCHES, 28 * 28)).astype("float32")
    y = np.random.randint(10, size=BATCH * BATCHES)
    step = STEPS[system](network3.cnn(BATCH), x, y)
    start = time.perf_counter()
    costs = [step(index) for index in range(5)]
    first_seconds = time.perf_counter() - start
    durations = []
    for index in range(steps + 100):
        start = time.perf_counter()
        step(index % BATCHES)
        durations.append(1e3 * (time.perf_counter() - start))
    # The first hundred warm up.
    return {
        "costs": costs,
        "first": first_seconds,
        "milliseconds": statistics.median(durations[100:]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="default: %(default)s")
    parser.add_argument("--steps", type=int, default=1000, help="a round; default: %(default)s")
    parser.add_argument("--only", choices=STEPS, help="measure one system and print JSON")
    options = parser.parse_args()
    if options.only:
        print(json.dumps(measure(options.only, options.steps)))
        return
    rounds: dict[str, list[float]] = {system: [] for system in STEPS}
    for number in range(options.rounds):
        costs = {}
        for system, medians in rounds.items():
            command = [sys.executable, __file__, "--only", system, "--steps", str(options.steps)]
            run = subprocess.run(command, stdout=subprocess.PIPE, check=False, text=True)
            if run.returncode:
                sys.exit(run.returncode)
            result = json.loads(run.stdout)
            medians.append(result["milliseconds"])
            costs[system] = result["costs"]
        if not np.allclose(costs["PyTensor"], costs["PyTorch"], rtol=1e-3):
            sys.exit(f"the two networks differ; the costs of their first steps: {costs}")
        times = ", ".join(f"{system} {medians[-1]:.3f}" for system, medians in rounds.items())
        print(f"round {number + 1}: {times} ms a step", flush=True)
    ratios = [a / b for a, b in zip(*rounds.values(), strict=True)]
    for system, medians in rounds.items():
        print(f"{system}: {statistics.median(medians):.3f} ms a step (median of the rounds)")
    print(f"PyTensor {pytensor.__version__} / PyTorch: {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
