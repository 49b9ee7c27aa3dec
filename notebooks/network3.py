"""Small neural networks, among them the convolutional network that the walkthroughs train.

The program of chapter 6 of Michael Nielsen's book "Neural Networks and Deep Learning" (2015),
written anew for PyTensor: the book's scripts run as printed after ``import network3``.

- ``Network``: a stack of layers, and ``Network.SGD``, which trains it with any update rule
- ``ConvPoolLayer``, ``FullyConnectedLayer``, ``SoftmaxLayer``: the layers
- ``sigmoid``, ``tanh``, ``ReLU``, ``linear``: activation functions
- ``load_data_shared``: the data, see ``mnist.py``
- ``RULES``: the rules of ``updates`` by name, each with a learning rate that suits ``cnn``
- ``cnn``: the book's network of two convolutional layers; ``load_cnn_data``, what it trains on;
  ``one_blas_thread``, how
- ``averaged``, ``own_share``: rule and training data where several processes train one network

``python notebooks/network3.py --help`` trains ``cnn`` with one rule. As in the book, importing
this program sets ``floatX`` to float32, and ``np.random.seed`` makes a run repeatable.
"""

import argparse
import contextlib
import functools
import importlib
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pytensor
import pytensor.tensor as pt
from mnist import SharedData, expand, load_data_shared
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Variable
from pytensor.graph.replace import graph_replace
from pytensor.graph.traversal import graph_inputs
from pytensor.tensor import sigmoid, tanh
from pytensor.tensor.sharedvar import TensorSharedVariable
from pytensor.tensor.special import softmax
from pytensor.tensor.variable import TensorVariable

import updates
from updates import sgd

__all__ = [
    "RULES",
    "ConvPoolLayer",
    "Epoch",
    "FullyConnectedLayer",
    "History",
    "Network",
    "ReLU",
    "SoftmaxLayer",
    "averaged",
    "cnn",
    "dropout_layer",
    "linear",
    "load_cnn_data",
    "load_data_shared",
    "one_blas_thread",
    "own_share",
    "sigmoid",
    "size",
    "tanh",
]

pytensor.config.floatX = "float32"

Activation = Callable[[TensorVariable], TensorVariable]


def sam_around_momentum(cost: Variable, params: list[Any], eta: float) -> Any:
    """Take the gradients of ``momentum_updates`` at the worst point nearby."""
    return updates.sam(cost, params, updates.momentum_updates(learning_rate=eta))


RULES: dict[str, tuple[Callable[..., Any], float]] = {
    "sgd": (updates.sgd, 0.03),
    "momentum": (updates.momentum, 0.003),
    "momentum_updates": (updates.momentum_updates, 0.003),
    "gradient_updates_momentum": (updates.gradient_updates_momentum(momentum=0.9), 0.03),
    "nesterov_momentum": (updates.nesterov_momentum, 0.003),
    "nesterov_lookahead": (updates.nesterov_lookahead, 0.003),
    "optimistic_gradient_descent": (updates.optimistic_gradient_descent, 0.03),
    "noisy_sgd": (updates.noisy_sgd, 0.03),
    "sam": (sam_around_momentum, 0.003),
    "sign_sgd": (updates.sign_sgd, 0.0002),
    "signum": (updates.signum, 0.0002),
    "lion": (updates.lion, 0.0002),
    "rprop": (updates.rprop, 0.0001),
    "adagrad": (updates.adagrad, 0.01),
    "adagrad_window": (updates.adagrad_window, 0.01),
    "adadelta": (updates.adadelta, 1.0),
    "rmsprop": (updates.rmsprop, 0.002),
    "deepmind_rmsprop": (updates.deepmind_rmsprop, 0.003),
    "graves_rmsprop": (updates.graves_rmsprop, 0.001),
    "adam": (updates.adam, 0.001),
    "adamw": (updates.adamw, 0.001),
    "adamax": (updates.adamax, 0.002),
    "adamaxw": (updates.adamaxw, 0.002),
    "amsgrad": (updates.amsgrad, 0.001),
    "nadam": (updates.nadam, 0.001),
    "nadamw": (updates.nadamw, 0.001),
    "radam": (updates.radam, 0.001),
    "adabelief": (updates.adabelief, 0.001),
    "yogi": (updates.yogi, 0.003),
    "adan": (updates.adan, 0.001),
    "adopt": (updates.adopt, 0.001),
    "ademamix": (updates.ademamix(beta3=0.999), 0.0003),
    "optimistic_adam": (updates.optimistic_adam, 0.0005),
    "lars": (updates.lars, 1.0),
    "lamb": (updates.lamb, 0.003),
    "novograd": (updates.novograd, 0.003),
    "fromage": (updates.fromage, 0.03),
    "muon": (updates.muon(adam_learning_rate=0.001), 0.01),
    "adafactor": (updates.adafactor(min_dim_size_to_factor=20), 0.01),
    "sm3": (updates.sm3, 0.03),
    "dog": (updates.dog(initial_step=0.01), 1.0),
    "dowg": (updates.dowg, 0.7),
    "prodigy": (updates.prodigy, 1.0),
    "polyak_sgd": (updates.polyak_sgd(max_learning_rate=0.1), 1.0),
    "asgd": (updates.asgd, 0.03),
    "schedule_free_sgd": (updates.schedule_free_sgd, 0.1),
    "schedule_free_adamw": (updates.schedule_free_adamw, 0.0025),
    "madgrad": (updates.madgrad, 0.001),
    "sophia": (updates.sophia, 0.0003),
    "esgd": (updates.esgd, 0.01),
}


def linear(z: TensorVariable) -> TensorVariable:
    """Return z itself."""
    return z


def ReLU(z: TensorVariable) -> TensorVariable:  # noqa: N802
    """Return z where it is positive, and zero elsewhere."""
    return pt.maximum(0.0, z)


@dataclass(frozen=True)
class Epoch:
    """What one pass over the training data came to.

    ``cost`` is the mean over its mini-batches, each before its step. ``test_accuracy`` is
    measured when the validation accuracy is the best to date, and None otherwise.
    """

    cost: float
    validation_accuracy: float
    test_accuracy: float | None


@dataclass
class History:
    """What ``Network.SGD`` measured.

    ``compile_seconds`` covers the building of the training function and its first call, in
    which numba compiles; ``step_seconds`` has the duration of every step of the later calls.
    """

    compile_seconds: float
    step_seconds: list[float] = field(default_factory=list, repr=False)
    epochs: list[Epoch] = field(default_factory=list)

    @property
    def best(self) -> Epoch:
        """The last epoch of those with the best validation accuracy."""
        return max(reversed(self.epochs), key=attrgetter("validation_accuracy"))

    @property
    def milliseconds_per_step(self) -> float:
        """The median duration of a step."""
        return 1e3 * float(np.median(self.step_seconds)) if self.step_seconds else math.nan


class Network:
    """A stack of layers.

    Parameters
    ----------
    layers : list of layers
        From input to output; to be trained, the last one must be a ``SoftmaxLayer``. The
        parameters get names such as "conv0.w" and "fc1.b".
    mini_batch_size : int
        How many examples the network takes at once.
    """

    def __init__(self, layers: Sequence[Any], mini_batch_size: int) -> None:
        self.layers = layers
        self.mini_batch_size = mini_batch_size
        self.params = [param for layer in layers for param in layer.params]
        self.x = pt.matrix("x")
        self.y = pt.ivector("y")
        inpt = inpt_dropout = self.x
        for index, layer in enumerate(layers):
            kind = getattr(layer, "kind", type(layer).__name__)  # layers of your own have none
            layer.w.name, layer.b.name = f"{kind}{index}.w", f"{kind}{index}.b"
            layer.set_inpt(inpt, inpt_dropout, mini_batch_size)
            inpt, inpt_dropout = layer.output, layer.output_dropout
        self.output, self.output_dropout = inpt, inpt_dropout

    def SGD(  # noqa: N802
        self,
        training_data: SharedData,
        epochs: int,
        mini_batch_size: int,
        eta: Any,
        validation_data: SharedData,
        test_data: SharedData | None,
        lmbda: float = 0.0,
        rule: Callable[..., Any] = sgd,
        progress: Callable[[Iterable[int]], Iterable[int]] = iter,
        report: Callable[[str], Any] = print,
        steps_per_call: int = 1,
    ) -> History:
        """Train with mini-batches, one compiled function and the given update rule.

        Parameters
        ----------
        training_data, validation_data, test_data : (x, y)
            As from ``load_data_shared``. ``test_data`` may be None. A last mini-batch that
            is not full is left out.
        epochs : int
            How many times to go over the training data.
        mini_batch_size : int
            The same as the network's.
        eta : float, symbolic scalar or schedule
            The learning rate, handed to the rule.
        lmbda : float
            Weight of the L2 regularization, as in the book.
        rule : callable
            ``rule(cost, params, eta)`` gives the updates.
        progress : callable
            Wraps the range of mini-batch numbers that is iterated over: ``tqdm.tqdm`` fits.
        report : callable
            Takes the lines that tell how training goes.
        steps_per_call : int
            How many mini-batches one call of the training function goes through; more than 1
            save time on small networks and change no result.

        Returns
        -------
        History
            Cost and accuracies of every epoch, and how long compiling and steps took.

        Raises
        ------
        ValueError
            If there is nothing to do, or the data are fewer than one mini-batch.
        """
        if mini_batch_size != self.mini_batch_size:
            raise ValueError(
                f"mini_batch_size is {mini_batch_size} here and {self.mini_batch_size} in the "
                "network; they must be equal"
            )
        if epochs < 1:
            raise ValueError(f"epochs must be at least 1, got {epochs}")
        if steps_per_call < 1:
            raise ValueError(f"steps_per_call must be at least 1, got {steps_per_call}")
        num_training_batches = self._num_batches("training_data", training_data)
        num_validation_batches = self._num_batches("validation_data", validation_data)
        num_test_batches = 0 if test_data is None else self._num_batches("test_data", test_data)

        # functions of the index of a mini-batch
        start = time.perf_counter()
        train_mb = self.training_function(training_data, eta, lmbda, rule, steps_per_call)
        history = History(compile_seconds=time.perf_counter() - start)
        i = pt.lscalar("i")
        accuracy = self.layers[-1].accuracy(self.y)
        validate_mb_accuracy = pytensor.function(
            [i], accuracy, givens=self._mini_batch(validation_data, i)
        )
        if test_data is not None:
            test_mb = self._mini_batch(test_data, i)
            test_mb_accuracy = pytensor.function([i], accuracy, givens=test_mb)
            self.test_mb_predictions = pytensor.function(
                [i], self.layers[-1].y_out, givens=[(self.x, test_mb[self.x])]
            )

        best_validation_accuracy, best_iteration = 0.0, 0
        test_accuracy = None
        costs: list[float] = []
        for iteration in progress(range(epochs * num_training_batches)):
            epoch, minibatch_index = divmod(iteration, num_training_batches)
            if iteration % 1000 == 0:
                report(f"Training mini-batch number {iteration}")
            if minibatch_index % steps_per_call == 0:
                steps = min(steps_per_call, num_training_batches - minibatch_index)
                indices = np.arange(minibatch_index, minibatch_index + steps)
                start = time.perf_counter()
                new_costs = train_mb(indices if steps_per_call > 1 else minibatch_index)
                seconds = time.perf_counter() - start
                costs += np.ravel(new_costs).tolist()
                if iteration == 0:
                    history.compile_seconds += seconds
                else:
                    history.step_seconds += steps * [seconds / steps]
            if minibatch_index < num_training_batches - 1:
                continue

            validation_accuracy = float(
                np.mean([validate_mb_accuracy(j) for j in range(num_validation_batches)])
            )
            report(f"Epoch {epoch}: validation accuracy {validation_accuracy:.2%}")
            is_best = validation_accuracy >= best_validation_accuracy
            if is_best:
                report("This is the best validation accuracy to date.")
                best_validation_accuracy, best_iteration = validation_accuracy, iteration
                if test_data is not None:
                    test_accuracy = float(
                        np.mean([test_mb_accuracy(j) for j in range(num_test_batches)])
                    )
                    report(f"The corresponding test accuracy is {test_accuracy:.2%}")
            history.epochs.append(
                Epoch(
                    float(np.mean(costs)), validation_accuracy, test_accuracy if is_best else None
                )
            )
            costs.clear()
        report("Finished training network.")
        report(
            f"Best validation accuracy of {best_validation_accuracy:.2%} "
            f"obtained at iteration {best_iteration}"
        )
        if test_data is not None:
            report(f"Corresponding test accuracy of {test_accuracy:.2%}")
        return history

    def training_function(
        self,
        training_data: SharedData,
        eta: Any,
        lmbda: float = 0.0,
        rule: Callable[..., Any] = sgd,
        steps_per_call: int = 1,
    ) -> Callable[[Any], np.ndarray]:
        """Compile the function that trains on the mini-batch of an index and returns its cost.

        The parameters are those of ``SGD``. With ``steps_per_call`` above 1 the function takes
        a vector of indices and returns a vector of costs.
        """
        num_training_batches = self._num_batches("training_data", training_data)
        # the regularized cost, and what the rule makes of it
        l2_norm_squared = sum((layer.w**2).sum() for layer in self.layers)
        cost = self.layers[-1].cost(self) + 0.5 * lmbda * l2_norm_squared / num_training_batches
        rule_updates = rule(cost, self.params, eta)
        i = pt.lscalar("i")  # mini-batch index
        givens = self._mini_batch(training_data, i)
        if steps_per_call == 1:
            return pytensor.function([i], cost, updates=rule_updates, givens=givens)
        # dropout's generators too: how many numbers they draw is told by the mini-batch
        changed: dict[Any, Any] = {
            variable: variable.default_update
            for variable in graph_inputs([cost])
            if isinstance(variable, SharedVariable) and variable.default_update is not None
        }
        changed |= dict(rule_updates)
        cost, *new_values = graph_replace([cost, *changed.values()], givens, strict=False)
        indices = pt.lvector("indices")
        many, costs = updates.many_steps(
            dict(zip(changed, new_values, strict=True)), cost, i, indices
        )
        return pytensor.function([indices], costs, updates=many)

    def _num_batches(self, name: str, data: SharedData) -> int:
        num_batches = size(data) // self.mini_batch_size
        if num_batches == 0:
            raise ValueError(
                f"{name} has {size(data)} examples, fewer than one mini-batch of "
                f"{self.mini_batch_size}"
            )
        return num_batches

    def _mini_batch(self, data: SharedData, index: TensorVariable) -> dict[Variable, Variable]:
        # a range of known length, where a slice would leave it open and JAX would refuse
        rows = index * self.mini_batch_size + np.arange(self.mini_batch_size)
        return {self.x: data[0][rows], self.y: data[1][rows]}


class ConvPoolLayer:
    """A convolution, max-pooling, a bias and an activation function.

    Parameters
    ----------
    filter_shape : tuple of 4 int
        Number of filters, number of input feature maps, filter height, filter width.
    image_shape : tuple of 4 int
        Mini-batch size, number of input feature maps, image height, image width.
    poolsize : tuple of 2 int
        Height and width of the windows that are pooled; a border that they do not fill is
        dropped.
    activation_fn : callable
        Applied after pooling.

    Notes
    -----
    Filters are applied as they are, as PyTorch does (cross-correlation); Theano flipped them.
    """

    kind = "conv"

    def __init__(
        self,
        filter_shape: tuple[int, int, int, int],
        image_shape: tuple[int, int, int, int],
        poolsize: tuple[int, int] = (2, 2),
        activation_fn: Activation = sigmoid,
    ) -> None:
        if filter_shape[1] != image_shape[1]:
            raise ValueError(
                f"filter_shape {filter_shape} and image_shape {image_shape} differ in the "
                "number of input feature maps"
            )
        self.filter_shape = filter_shape
        self.image_shape = image_shape
        self.poolsize = poolsize
        self.activation_fn = activation_fn
        self.pooled_shape = tuple(
            (image - window + 1) // pool
            for image, window, pool in zip(image_shape[2:], filter_shape[2:], poolsize, strict=True)
        )
        if min(self.pooled_shape) < 1:
            raise ValueError(
                f"nothing is left of images {image_shape[2:]} after filters "
                f"{filter_shape[2:]} and pools {poolsize}"
            )
        n_out = filter_shape[0] * np.prod(filter_shape[2:]) / np.prod(poolsize)
        self.w = _normal(filter_shape, scale=np.sqrt(1.0 / n_out))
        self.b = _normal(filter_shape[:1])
        self.params = [self.w, self.b]

    def set_inpt(
        self, inpt: TensorVariable, inpt_dropout: TensorVariable, mini_batch_size: int
    ) -> None:
        """Compute ``output``, and ``output_dropout`` with dropout in the layers before this."""
        if self.image_shape[0] != mini_batch_size:
            raise ValueError(
                f"image_shape {self.image_shape} should start with the mini-batch size "
                f"{mini_batch_size}"
            )
        self.inpt = inpt.reshape(self.image_shape)
        self.output = self._output(self.inpt)
        # a convolutional layer has no dropout of its own
        self.output_dropout = (
            self.output
            if inpt is inpt_dropout
            else self._output(inpt_dropout.reshape(self.image_shape))
        )

    def _output(self, images: TensorVariable) -> TensorVariable:
        """Gather the patches, multiply all of them with all filters, and pool.

        One product of two matrices does the whole mini-batch. The first axis of ``patches``
        runs over the positions within a pool, so that pooling is a maximum of contiguous arrays.
        """
        num_filters = self.filter_shape[0]
        # a constant, because PyTensor walks through every element of a NumPy index
        patches = images.flatten()[pt.constant(self._patch_index())]
        num_windows, patch_size = patches.type.shape[1:]
        conv_out = pt.dot(
            patches.reshape((-1, patch_size)), self.w.reshape((num_filters, patch_size)).T
        ).reshape((-1, num_windows, num_filters))
        # maximum by twos, because Max would give its gradient to every one of several equals
        pooled_out = functools.reduce(
            pt.maximum, [conv_out[k] for k in range(math.prod(self.poolsize))]
        )
        return (
            self.activation_fn(pooled_out + self.b)
            .reshape((self.image_shape[0], *self.pooled_shape, num_filters))
            .transpose((0, 3, 1, 2))
        )

    def _patch_index(self) -> np.ndarray:
        """Return where each patch lies in the flattened images.

        The axes are the position within a pool, the pool (of all images), and the position
        within the filter (of all input feature maps).
        """
        num_images, num_maps, height, width = self.image_shape
        pool_y, pool_x, image, y, x, feature_map, filter_y, filter_x = np.ogrid[
            tuple(
                slice(n)
                for n in (*self.poolsize, num_images, *self.pooled_shape, *self.filter_shape[1:])
            )
        ]
        row = y * self.poolsize[0] + pool_y + filter_y
        column = x * self.poolsize[1] + pool_x + filter_x
        index = ((image * num_maps + feature_map) * height + row) * width + column
        return index.reshape((math.prod(self.poolsize), -1, math.prod(self.filter_shape[1:])))


class FullyConnectedLayer:
    """A matrix product, a bias and an activation function.

    Parameters
    ----------
    n_in, n_out : int
        Number of inputs and of neurons.
    activation_fn : callable
        Applied to what the neurons sum up.
    p_dropout : float
        Probability that an input is dropped in training, in 0 <= p < 1.
    """

    kind = "fc"

    def __init__(
        self, n_in: int, n_out: int, activation_fn: Activation = sigmoid, p_dropout: float = 0.0
    ) -> None:
        self.n_in = n_in
        self.n_out = n_out
        self.activation_fn = activation_fn
        self.p_dropout = p_dropout
        self.w = _normal((n_in, n_out), scale=np.sqrt(1.0 / n_out))
        self.b = _normal((n_out,))
        self.params = [self.w, self.b]

    def set_inpt(
        self, inpt: TensorVariable, inpt_dropout: TensorVariable, mini_batch_size: int
    ) -> None:
        """Compute ``output``, and ``output_dropout`` with inputs dropped."""
        self.inpt = inpt.reshape((mini_batch_size, self.n_in))
        self.output = self.activation_fn((1 - self.p_dropout) * pt.dot(self.inpt, self.w) + self.b)
        self.y_out = pt.argmax(self.output, axis=1)
        self.inpt_dropout = dropout_layer(
            inpt_dropout.reshape((mini_batch_size, self.n_in)), self.p_dropout
        )
        self.output_dropout = self.activation_fn(pt.dot(self.inpt_dropout, self.w) + self.b)

    def accuracy(self, y: TensorVariable) -> TensorVariable:
        """Return the fraction of the mini-batch that is classified rightly."""
        return pt.mean(pt.eq(y, self.y_out))


class SoftmaxLayer(FullyConnectedLayer):
    """A fully connected layer of zeros to start with, its output the probability of each class.

    Parameters
    ----------
    n_in, n_out : int
        Number of inputs and of classes.
    p_dropout : float
        Probability that an input is dropped in training, in 0 <= p < 1.
    """

    kind = "softmax"

    def __init__(self, n_in: int, n_out: int, p_dropout: float = 0.0) -> None:
        self.n_in = n_in
        self.n_out = n_out
        self.activation_fn = functools.partial(softmax, axis=-1)
        self.p_dropout = p_dropout
        self.w = _shared(np.zeros((n_in, n_out)))
        self.b = _shared(np.zeros(n_out))
        self.params = [self.w, self.b]

    def cost(self, net: Network) -> TensorVariable:
        """Return the negative log-likelihood of the labels, averaged over the mini-batch."""
        return -pt.mean(pt.log(self.output_dropout)[pt.arange(net.y.shape[0]), net.y])


def size(data: SharedData) -> int:
    """Return the number of examples."""
    return data[0].get_value(borrow=True).shape[0]


def dropout_layer(layer: TensorVariable, p_dropout: float) -> TensorVariable:
    """Set elements to zero, each with probability ``p_dropout``, anew in every call.

    Raises
    ------
    ValueError
        If not 0 <= p_dropout < 1.
    """
    if not 0.0 <= p_dropout < 1.0:
        raise ValueError(f"p_dropout must be in 0 <= p_dropout < 1, got {p_dropout}")
    if p_dropout == 0.0:
        return layer
    # a generator for each layer, or layers of one size would drop the same elements
    rng = pytensor.shared(np.random.default_rng(np.random.randint(2**31 - 1)))
    next_rng, mask = pt.random.bernoulli(
        1 - p_dropout, size=layer.shape, rng=rng, return_next_rng=True
    )
    rng.default_update = next_rng
    return layer * pt.cast(mask, pytensor.config.floatX)


def _normal(shape: tuple[int, ...], scale: float = 1.0) -> TensorSharedVariable:
    return _shared(np.random.normal(loc=0.0, scale=scale, size=shape))


def _shared(values: np.ndarray) -> TensorSharedVariable:
    return pytensor.shared(values.astype(pytensor.config.floatX), shape=values.shape, borrow=True)


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


def load_cnn_data(filename: Path | None = None) -> list[SharedData]:
    """Load what ``cnn`` trains on: a file's data as they are, or the digits, expanded."""
    training_data, *rest = load_data_shared(filename)
    return [expand(training_data) if filename is None else training_data, *rest]


def one_blas_thread() -> AbstractContextManager[Any]:
    """Keep matrix products to one thread within a ``with`` block.

    For matrices as small as here a second thread gains nothing, and when anything else runs on
    the machine the two wait for each other, up to forty times as long as the product takes.
    """
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        sys.exit('threadpoolctl is not installed: pip install "pytensor-updates[demo]"')
    importlib.import_module("scipy.linalg.cython_blas")  # loads the BLAS that numba calls
    return threadpool_limits(limits=1, user_api="blas")


def averaged(rule: Callable[..., Any]) -> Callable[..., Any]:
    """Let the processes of an MPI job take their steps together.

    The rule gets the means over all processes of the gradients, so that ``k`` processes with
    mini-batches of ``B`` train as one does with mini-batches of ``k * B``, also with ``lmbda``.
    The costs in a ``History`` stay those of the process's own mini-batches.
    Dropout drops the same in all of them where they seed ``np.random`` alike.

    Raises
    ------
    ValueError
        By what is returned, if the rule cannot do with gradients.
    """
    from updates.distributed import allreduce_mean

    def rule_of_all(cost: Variable, params: list[Any], eta: Any) -> Any:
        grads = allreduce_mean(updates.get_or_compute_grads(cost, params))
        try:
            return rule(grads, params, eta)
        except TypeError as error:
            reason = str(error).partition("; got")[0]  # without the list of all gradients
            raise ValueError(f"what processes average are gradients; {reason}") from error

    return rule_of_all


def own_share(data: SharedData, seed: int = 0) -> SharedData:
    """Return this process's examples: as many for each process, drawn by the seed."""
    from updates.distributed import shard

    x, y = data
    own_x, own_y = shard([x.get_value(borrow=True), y.eval()], seed, drop_last=True)
    return pytensor.shared(own_x, borrow=True), pytensor.shared(own_y, borrow=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train ``cnn`` with one rule, as the command line says."""
    distribution = argparse.ArgumentParser(add_help=False)
    distribution.add_argument(
        "--distributed",
        action="store_true",
        help="train with all processes of an MPI job, each on its share of the training data and "
        "with mini-batches of its own: mpirun -n 4 python network3.py --distributed",
    )
    parser = _parser(distribution)
    voice: AbstractContextManager[Any] = contextlib.nullcontext()
    # known before the rest is looked at, whose errors are to be printed once
    if distribution.parse_known_args(arguments)[0].distributed:
        try:
            from updates.distributed import is_root
        except ImportError as error:
            parser.error(str(error))
        if not is_root():
            voice = _silence()
    with voice:
        _train(parser, parser.parse_args(arguments))


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Write nothing within a ``with`` block; exceptions that leave it will be shown."""
    with (
        open(os.devnull, "w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        yield


def _parser(*parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
    def number(
        kind: type, lowest: float, allowed: str, is_open: bool = False
    ) -> Callable[[str], Any]:
        def parse(text: str) -> Any:
            try:
                value = kind(text)
            except ValueError:
                value = math.nan
            if not (lowest < value if is_open else lowest <= value) or math.isinf(value):
                raise argparse.ArgumentTypeError(f"expected {allowed}, got {text!r}")
            return value

        return parse

    parser = argparse.ArgumentParser(
        parents=parents,
        description="Train a convolutional network on handwritten digits with an update rule.",
        epilog="Results go to standard output, progress and timings to standard error.",
    )
    parser.add_argument(
        "--rule",
        default="sgd",
        choices=RULES,
        metavar="NAME",
        help=f"one of {', '.join(RULES)}; default: %(default)s",
    )
    parser.add_argument(
        "--eta",
        type=number(float, 0, "a number above 0", is_open=True),
        metavar="X",
        help="learning rate; default: one that suits the rule",
    )
    for name, default in {"--epochs": 8, "--mini-batch-size": 10}.items():
        parser.add_argument(
            name,
            type=number(int, 1, "a whole number of 1 or more"),
            default=default,
            metavar="N",
            help="default: %(default)s",
        )
    parser.add_argument(
        "--steps-per-call",
        type=number(int, 1, "a whole number of 1 or more"),
        default=1,
        metavar="N",
        help="mini-batches that one call of the training function goes through, for speed: the "
        "results are the same; default: %(default)s",
    )
    parser.add_argument(
        "--lmbda",
        type=number(float, 0, "a number of 0 or more"),
        default=0.0,
        metavar="X",
        help="weight of the L2 regularization; default: %(default)s",
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="PATH",
        help="an mnist.pkl.gz; default: the digits of scikit-learn, expanded by shifts",
    )
    parser.add_argument(
        "--seed",
        type=number(int, 0, "a whole number of 0 or more"),
        default=0,
        metavar="S",
        help="of the initial weights; default: %(default)s",
    )
    return parser


def _train(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    try:
        from tqdm import tqdm
    except ImportError:
        parser.error('tqdm is not installed: pip install "pytensor-updates[demo]"')
    try:
        training_data, validation_data, test_data = load_cnn_data(options.data)
    except (ImportError, OSError, ValueError) as error:
        parser.error(str(error))

    rule, eta = RULES[options.rule]
    np.random.seed(options.seed)
    net = cnn(options.mini_batch_size)
    try:
        if options.distributed:
            from updates.distributed import broadcast

            rule = averaged(rule)
            training_data = own_share(training_data, options.seed)
            broadcast(net.params)
        with one_blas_thread():
            history = net.SGD(
                training_data,
                options.epochs,
                options.mini_batch_size,
                eta if options.eta is None else options.eta,
                validation_data,
                test_data,
                lmbda=options.lmbda,
                rule=rule,
                progress=functools.partial(tqdm, desc=options.rule, unit="step"),
                report=tqdm.write,
                steps_per_call=options.steps_per_call,
            )
    except ValueError as error:
        parser.error(str(error))
    print(
        f"Compiled in {history.compile_seconds:.1f} s, "
        f"then {history.milliseconds_per_step:.2f} ms per step.",
        file=sys.stderr,
    )


if __name__ == "__main__":
    main()
