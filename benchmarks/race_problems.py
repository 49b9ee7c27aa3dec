"""Three small problems on which ``race_rules.py`` races rules.

- ``PROBLEMS``: by name, what makes the problem: a CNN, a transformer, a logistic regression
- ``Problem``: a loss, its parameters, and where data come from
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytensor
import pytensor.tensor as pt
from sklearn.datasets import load_digits

Batch = tuple[np.ndarray, np.ndarray]
BATCH_SIZE = 32
VOCABULARY, LENGTH, WIDTH = 8, 6, 32


class Problem(NamedTuple):
    """A loss, its parameters, and where data come from."""

    inputs: list[Any]
    loss: Any
    params: list[Any]
    validation: Batch
    batches: Callable[[int], Iterator[Batch]]


class Parameters(list[Any]):
    """The parameters of a network, drawn from a seed."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.random = np.random.default_rng(seed)

    def weights(self, name: str, *shape: int, fan_in: int = 0) -> Any:
        """Make normal weights whose outputs are about as large as their inputs."""
        values = self.random.normal(size=shape) / np.sqrt(fan_in or shape[0])
        return self._shared(name, values)

    def full(self, name: str, *shape: int, value: float = 0) -> Any:
        """Make a parameter that starts at one number."""
        return self._shared(name, np.full(shape, value))

    def _shared(self, name: str, values: np.ndarray) -> Any:
        self.append(pytensor.shared(values.astype("float32"), name=name, shape=values.shape))
        return self[-1]


def regression(seed: int) -> Problem:
    """Tell ten digits by a linear function of their 64 pixels."""
    params = Parameters(seed)
    x, y = pt.fmatrix("x"), pt.lvector("y")
    scores = x @ params.weights("W", 64, 10) + params.full("b", 10)
    return Problem([x, y], cross_entropy(scores, y), params, *digits())


def cnn(seed: int) -> Problem:
    """Tell ten digits by a convolution, a maximum over 2 x 2 pixels, and two layers."""
    params = Parameters(seed)
    x, y = pt.fmatrix("x"), pt.lvector("y")
    images = x.reshape((-1, 1, 8, 8))
    filters = params.weights("filters", 16, 1, 3, 3, fan_in=9)
    # The sum over shifted images is a convolution, in every mode.
    shifted = [images[:, 0, i : i + 6, j : j + 6] for i in range(3) for j in range(3)]
    maps = pt.tensordot(pt.stack(shifted, axis=3), filters.reshape((16, 9)), [[3], [1]])
    maps = relu(maps + params.full("shift", 16))
    pooled = maps.reshape((-1, 3, 2, 3, 2, 16)).max(axis=(2, 4)).reshape((-1, 144))
    hidden = relu(pooled @ params.weights("W1", 144, 64) + params.full("b1", 64))
    scores = hidden @ params.weights("W2", 64, 10) + params.full("b2", 10)
    return Problem([x, y], cross_entropy(scores, y), params, *digits())


def transformer(seed: int) -> Problem:
    """Sort six numbers below eight by one block of attention and one hidden layer."""
    params = Parameters(seed)
    x, y = pt.lmatrix("x"), pt.lmatrix("y")
    embedded = params.weights("tokens", VOCABULARY, WIDTH, fan_in=1)[x]
    stream = embedded + params.weights("positions", LENGTH, WIDTH, fan_in=1)
    stream = stream + attention(params, normalized(params, "before_attention", stream))
    hidden = normalized(params, "before_hidden", stream) @ params.weights("W1", WIDTH, 4 * WIDTH)
    hidden = relu(hidden + params.full("b1", 4 * WIDTH))
    stream = stream + hidden @ params.weights("W2", 4 * WIDTH, WIDTH) + params.full("b2", WIDTH)
    scores = normalized(params, "before_scores", stream) @ params.weights("W", WIDTH, VOCABULARY)
    loss = cross_entropy(scores.reshape((-1, VOCABULARY)), y.flatten())

    def drawn(random: np.random.Generator, size: int) -> Batch:
        numbers = random.integers(0, VOCABULARY, (size, LENGTH))
        return numbers, np.sort(numbers, axis=1)

    def batches(seed: int) -> Iterator[Batch]:
        random = np.random.default_rng(seed)
        while True:
            yield drawn(random, BATCH_SIZE)

    return Problem([x, y], loss, params, drawn(np.random.default_rng(9999), 500), batches)


def attention(params: Parameters, stream: Any, heads: int = 2) -> Any:
    """Let every position look at all others."""

    def split(name: str) -> Any:
        mixed = stream @ params.weights(name, WIDTH, WIDTH)
        return mixed.reshape((-1, LENGTH, heads, WIDTH // heads)).dimshuffle(0, 2, 1, 3)

    query, key, value = map(split, ("query", "key", "value"))
    scores = query @ key.dimshuffle(0, 1, 3, 2) / np.float32(np.sqrt(WIDTH // heads))
    seen = (pt.special.softmax(scores, axis=3) @ value).dimshuffle(0, 2, 1, 3)
    return seen.reshape((-1, LENGTH, WIDTH)) @ params.weights("output", WIDTH, WIDTH)


def normalized(params: Parameters, name: str, stream: Any) -> Any:
    """Bring every position to mean 0 and variance 1, then scale and shift."""
    centred = stream - stream.mean(axis=2, keepdims=True)
    size = pt.sqrt((centred**2).mean(axis=2, keepdims=True) + np.float32(1e-5))
    scale, shift = params.full(f"{name}.scale", WIDTH, value=1), params.full(f"{name}.shift", WIDTH)
    return centred / size * scale + shift


def relu(values: Any) -> Any:
    """Cut off what is below zero."""
    return pt.maximum(values, np.float32(0))


def cross_entropy(scores: Any, labels: Any) -> Any:
    """Return the mean negative log-likelihood of labels."""
    return -pt.special.log_softmax(scores, axis=1)[pt.arange(labels.shape[0]), labels].mean()


def digits() -> tuple[Batch, Callable[[int], Iterator[Batch]]]:
    """Return 597 digits to validate with, and shuffled mini-batches of the other 1,200."""
    bunch = load_digits()
    order = np.random.default_rng(0).permutation(len(bunch.target))
    x, y = (bunch.data[order] / 16).astype("float32"), bunch.target[order]

    def batches(seed: int) -> Iterator[Batch]:
        random = np.random.default_rng(seed)
        while True:
            shuffled = random.permutation(1200)
            for start in range(0, 1200 - BATCH_SIZE + 1, BATCH_SIZE):
                rows = shuffled[start : start + BATCH_SIZE]
                yield x[rows], y[rows]

    return (x[1200:], y[1200:]), batches


PROBLEMS = {"CNN": cnn, "transformer": transformer, "logistic regression": regression}
