"""The convolutional network that the race, the walkthroughs and the command line train.

- ``cnn``: the book's network of two convolutional layers
- ``load_cnn_data``: the handwritten digits that it trains on
- ``one_blas_thread``: how to keep its training fast

``tuned_rules.py`` has the rules and the learning rates that suit it.
"""

import importlib
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from mnist import SharedData, expand, load_data_shared
from network3 import ConvPoolLayer, FullyConnectedLayer, Network, ReLU, SoftmaxLayer


def cnn(mini_batch_size: int = 10) -> Network:
    """Return the book's network of two convolutional layers, with rectified linear units."""
    return Network(
        [
            ConvPoolLayer(
                image_shape=(mini_batch_size, 1, 28, 28),
                filter_shape=(20, 1, 5, 5),
                poolsize=(2, 2),
                activation_fn=ReLU,
            ),
            ConvPoolLayer(
                image_shape=(mini_batch_size, 20, 12, 12),
                filter_shape=(40, 20, 5, 5),
                poolsize=(2, 2),
                activation_fn=ReLU,
            ),
            FullyConnectedLayer(n_in=40 * 4 * 4, n_out=100, activation_fn=ReLU),
            SoftmaxLayer(n_in=100, n_out=10),
        ],
        mini_batch_size,
    )


def load_cnn_data(filename: str | Path | None = None) -> list[SharedData]:
    """Load a file's data as they are or, without a file, scikit-learn's digits, expanded."""
    training_data, *rest = load_data_shared(filename)
    return [expand(training_data) if filename is None else training_data, *rest]


def one_blas_thread() -> AbstractContextManager[Any]:
    """Keep matrix products to one thread within a ``with`` block.

    Matrices as small as those of ``cnn`` gain nothing from a second thread. When anything else
    runs on the machine, the threads wait for each other, up to forty times as long as the product
    takes.
    """
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        sys.exit('threadpoolctl is not installed: pip install "pytensor-updates[demo]"')
    importlib.import_module("scipy.linalg.cython_blas")  # loads the BLAS that numba calls
    return threadpool_limits(limits=1, user_api="blas")
