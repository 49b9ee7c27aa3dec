"""A whole training step of two networks with Adam, beside PyTorch's eager step, for ``speed.py``.

Both train the same network from the same parameters on the same mini-batches, float32: the CNN of
notebooks/digit_cnn.py (20 and 40 filters of 5x5, 2x2 pools, 100 rectified linear units) and a
784-512-512-10 network of rectified linear units. The step takes the number of a mini-batch and
returns its cost. The costs of the first steps must agree.
"""

import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from speed_common import FUSED, OFF, OURS, cores, mode
from speed_workers import Task

NETWORKS = {"CNN": 10, "MLP": 64}  # and their mini-batches
SYSTEMS = [OURS, OFF, FUSED]
BATCHES = 100
STEPS = 5  # that all must agree about


def make(system: str, name: str) -> Task:
    """Prepare the training step of one system."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "notebooks"))
    import network3
    from digit_cnn import cnn

    batch = NETWORKS[name]
    np.random.seed(0)
    images = np.random.random((batch * BATCHES, 28 * 28)).astype("float32")
    labels = np.random.randint(10, size=batch * BATCHES)
    if name == "CNN":
        net = cnn(batch)
    else:
        layers = [
            network3.FullyConnectedLayer(784, 512, network3.ReLU),
            network3.FullyConnectedLayer(512, 512, network3.ReLU),
            network3.SoftmaxLayer(512, 10),
        ]
        net = network3.Network(layers, batch)
    if system == FUSED:
        train = torch_step(name, net, images, labels)
    else:
        train = pytensor_step(system, net, images, labels)
    turn = itertools.cycle(range(BATCHES))
    return Task(
        lambda: train(next(turn)), lambda: np.array([train(next(turn)) for _ in range(STEPS)])
    )


def pytensor_step(
    system: str, net: Any, images: np.ndarray, labels: np.ndarray
) -> Callable[[int], float]:
    """Compile the step as ``Network.training_function`` does, with a mode."""
    import pytensor
    import pytensor.tensor as pt

    import updates

    x, y = pytensor.shared(images), pytensor.shared(labels.astype("int32"))
    cost = net.layers[-1].cost(net)
    i = pt.lscalar("i")
    rows = i * net.mini_batch_size + np.arange(net.mini_batch_size)
    train = pytensor.function(
        [i],
        cost,
        updates=updates.adam(cost, net.params),
        givens={net.x: x[rows], net.y: y[rows]},
        mode=mode(system),
    )
    return lambda index: float(train(index))


def torch_step(
    name: str, net: Any, images: np.ndarray, labels: np.ndarray
) -> Callable[[int], float]:
    """Return the eager step of the same network with the same parameters."""
    import torch

    torch.set_num_threads(cores())
    nn = torch.nn
    layers: list[torch.nn.Module]
    if name == "CNN":
        layers = [
            nn.Unflatten(1, (1, 28, 28)),
            *(nn.Conv2d(1, 20, 5), nn.MaxPool2d(2), nn.ReLU()),
            *(nn.Conv2d(20, 40, 5), nn.MaxPool2d(2), nn.ReLU()),
            nn.Flatten(),
            *(nn.Linear(640, 100), nn.ReLU()),
            nn.Linear(100, 10),
        ]
    else:
        layers = [
            *(nn.Linear(784, 512), nn.ReLU()),
            *(nn.Linear(512, 512), nn.ReLU()),
            nn.Linear(512, 10),
        ]
    model = nn.Sequential(*layers)
    with torch.no_grad():
        for parameter, param in zip(model.parameters(), net.params, strict=True):
            value = torch.from_numpy(param.get_value())
            parameter.copy_(value.T if value.ndim == 2 else value)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    x, y = torch.from_numpy(images), torch.from_numpy(labels)
    batch = net.mini_batch_size

    def train(index: int) -> float:
        rows = slice(index * batch, (index + 1) * batch)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
        loss.backward()
        optimizer.step()
        return loss.item()

    return train
