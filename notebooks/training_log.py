"""What ``Network.SGD`` measures while it trains: costs, accuracies and durations.

- ``TrainingLog``: the epochs of a run, and how long compiling and the steps took
- ``Epoch``: the cost and the accuracies of one pass over the training data
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Epoch:
    """The cost and the accuracies of one pass over the training data.

    ``cost`` is the mean over the mini-batches, each measured before its step. ``test_accuracy``
    is measured only when the validation accuracy is the best to date, and is None otherwise.
    """

    cost: float
    validation_accuracy: float
    test_accuracy: float | None


@dataclass
class TrainingLog:
    """The epochs of a training run, and how long compiling and the steps took.

    ``compile_seconds`` covers building the training function and its first call, during which
    numba compiles. ``step_seconds`` has the duration of every later step.
    """

    compile_seconds: float
    step_seconds: list[float] = field(default_factory=list, repr=False)
    epochs: list[Epoch] = field(default_factory=list)
    epoch_costs: list[float] = field(default_factory=list, repr=False)  # of the current epoch

    def recorded(
        self, train_mb: Callable[[Any], Any], num_training_batches: int, steps_per_call: int
    ) -> Callable[[int], None]:
        """Return ``train_mb`` as a function of one index that records costs and durations.

        With ``steps_per_call`` above 1, ``train_mb`` takes a vector of indices. It is called for
        the first mini-batch of each group and trains on the whole group; a call for one of the
        others does nothing.
        """

        def train(minibatch_index: int) -> None:
            if minibatch_index % steps_per_call != 0:
                return
            steps = min(steps_per_call, num_training_batches - minibatch_index)
            indices = np.arange(minibatch_index, minibatch_index + steps)
            start = time.perf_counter()
            costs = train_mb(indices if steps_per_call > 1 else minibatch_index)
            seconds = time.perf_counter() - start
            if minibatch_index == 0 and not self.epochs:
                self.compile_seconds += seconds
            else:
                self.step_seconds += steps * [seconds / steps]
            self.epoch_costs += np.ravel(costs).tolist()

        return train

    def end_epoch(self, validation_accuracy: float, test_accuracy: float | None) -> None:
        """Close the current epoch with its accuracies."""
        self.epochs.append(
            Epoch(float(np.mean(self.epoch_costs)), validation_accuracy, test_accuracy)
        )
        self.epoch_costs.clear()

    @property
    def best(self) -> Epoch:
        """The epoch with the best validation accuracy, the last one if there are several."""
        return max(reversed(self.epochs), key=attrgetter("validation_accuracy"))

    @property
    def milliseconds_per_step(self) -> float:
        """The median duration of a step; NaN if there was only the first call."""
        return 1e3 * float(np.median(self.step_seconds)) if self.step_seconds else math.nan
