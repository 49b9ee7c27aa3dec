"""network3.py: networks with convolutional, fully connected and softmax layers.

The program of chapter 6 of Michael Nielsen's book "Neural Networks and Deep Learning" (2015),
written anew for PyTensor, in the book's order and with the book's names. The book's scripts run
as printed after ``import network3``. As there, importing this program sets ``floatX`` to float32,
and ``np.random.seed`` makes a run repeatable.

Unlike there, ``Network.SGD`` takes any rule of ``updates`` as ``rule`` and returns what it
measured. Loading the data is in ``mnist.py``, and convolution and pooling, which PyTensor does
not have, are in ``convolution.py``. ``python notebooks/network3.py --help`` tells how to train
the network of ``digit_cnn.py`` with one rule.
"""

import functools
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pytensor
import pytensor.tensor as pt
from convolution import conv_and_max_pool, pooled_shape
from mnist import SharedData
from mnist import load_data_shared as load_data_shared  # for the scripts of the book
from pytensor.graph.basic import Variable
from pytensor.tensor import sigmoid
from pytensor.tensor import tanh as tanh  # also for them
from pytensor.tensor.sharedvar import TensorSharedVariable
from pytensor.tensor.special import softmax
from pytensor.tensor.variable import TensorVariable as Tensor
from steps_per_call import function_of_indices
from training_log import TrainingLog

from updates import sgd

pytensor.config.floatX = "float32"

# ---- Activation functions for neurons, beside PyTensor's ``sigmoid`` and ``tanh``

Activation = Callable[[Tensor], Tensor]


def linear(z: Tensor) -> Tensor:
    """Return z itself."""
    return z


def ReLU(z: Tensor) -> Tensor:  # noqa: N802
    """Return z where it is positive, and zero elsewhere."""
    return pt.maximum(0.0, z)


# ---- Main class used to construct and train networks


class Network:
    """A stack of layers, given from input to output, that works on whole mini-batches.

    To be trained, it must end with a ``SoftmaxLayer``. Parameters get names such as "conv0.w" and
    "fc1.b".
    """

    def __init__(self, layers: Sequence[Any], mini_batch_size: int) -> None:
        self.layers = layers
        self.mini_batch_size = mini_batch_size
        self.params = [param for layer in layers for param in layer.params]
        self.x = pt.matrix("x")
        self.y = pt.ivector("y")
        inpt = inpt_dropout = self.x
        for index, layer in enumerate(layers):
            kind = getattr(layer, "kind", type(layer).__name__)  # a reader's own layer has none
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
    ) -> TrainingLog:
        """Train the network with mini-batches and the given update rule.

        The book's arguments end with ``lmbda``, the weight of the L2 regularization; ``test_data``
        may be None. A last mini-batch that is not full is left out.

        - ``rule(cost, params, eta)`` returns the updates.
        - ``progress`` wraps the range of all mini-batch numbers, as ``tqdm.tqdm`` does.
        - ``report`` is called with each line that the book's program prints.
        - ``steps_per_call`` is how many mini-batches one call of the compiled function trains on;
          more than 1 saves time on small networks and changes no result.
        """
        if mini_batch_size != self.mini_batch_size:
            raise ValueError(
                f"mini_batch_size is {mini_batch_size} here and {self.mini_batch_size} in the "
                "network; they must be equal"
            )
        for name, number in {"epochs": epochs, "steps_per_call": steps_per_call}.items():
            if number < 1:
                raise ValueError(f"{name} must be at least 1, got {number}")

        # compute number of mini-batches for training, validation and testing
        num_training_batches = self._num_batches("training_data", training_data)
        num_validation_batches = self._num_batches("validation_data", validation_data)
        num_test_batches = self._num_batches("test_data", test_data) if test_data else 0

        # define functions to train a mini-batch, and to compute the accuracy in validation and
        # test mini-batches
        start = time.perf_counter()
        train_mb = self.training_function(training_data, eta, lmbda, rule, steps_per_call)
        log = TrainingLog(compile_seconds=time.perf_counter() - start)
        train_mb = log.recorded(train_mb, num_training_batches, steps_per_call)
        i = pt.lscalar("i")  # mini-batch index
        accuracy, y_out = self.layers[-1].accuracy(self.y), self.layers[-1].y_out
        givens = self._mini_batch(validation_data, i)
        validate_mb_accuracy = pytensor.function([i], accuracy, givens=givens)
        if test_data:
            givens = self._mini_batch(test_data, i)
            test_mb_accuracy = pytensor.function([i], accuracy, givens=givens)
            givens = {self.x: givens[self.x]}
            self.test_mb_predictions = pytensor.function([i], y_out, givens=givens)

        # do the actual training
        best_validation_accuracy, best_iteration = 0.0, 0
        for iteration in progress(range(epochs * num_training_batches)):
            epoch, minibatch_index = divmod(iteration, num_training_batches)
            if iteration % 1000 == 0:
                report(f"Training mini-batch number {iteration}")
            train_mb(minibatch_index)
            if (iteration + 1) % num_training_batches == 0:
                validation_accuracy = float(
                    np.mean([validate_mb_accuracy(j) for j in range(num_validation_batches)])
                )
                report(f"Epoch {epoch}: validation accuracy {validation_accuracy:.2%}")
                test_accuracy = None
                if validation_accuracy >= best_validation_accuracy:
                    report("This is the best validation accuracy to date.")
                    best_validation_accuracy = validation_accuracy
                    best_iteration = iteration
                    if test_data:
                        test_accuracy = float(
                            np.mean([test_mb_accuracy(j) for j in range(num_test_batches)])
                        )
                        report(f"The corresponding test accuracy is {test_accuracy:.2%}")
                log.end_epoch(validation_accuracy, test_accuracy)
        report("Finished training network.")
        report(
            f"Best validation accuracy of {best_validation_accuracy:.2%} "
            f"obtained at iteration {best_iteration}"
        )
        if test_data:
            report(f"Corresponding test accuracy of {log.best.test_accuracy:.2%}")
        return log

    def training_function(
        self,
        training_data: SharedData,
        eta: Any,
        lmbda: float = 0.0,
        rule: Callable[..., Any] = sgd,
        steps_per_call: int = 1,
    ) -> Callable[[Any], Any]:
        """Compile the function that trains on the mini-batch of an index and returns its cost.

        The arguments are those of ``SGD``. With ``steps_per_call`` above 1 the function takes a
        vector of indices and returns a vector of costs.
        """
        num_training_batches = self._num_batches("training_data", training_data)
        # define the (regularized) cost function and updates
        l2_norm_squared = sum((layer.w**2).sum() for layer in self.layers)
        cost = self.layers[-1].cost(self) + 0.5 * lmbda * l2_norm_squared / num_training_batches
        updates = rule(cost, self.params, eta)

        i = pt.lscalar("i")  # mini-batch index
        givens = self._mini_batch(training_data, i)
        if steps_per_call > 1:
            return function_of_indices(i, cost, updates, givens)
        return pytensor.function([i], cost, updates=updates, givens=givens)

    def _num_batches(self, name: str, data: SharedData) -> int:
        num_batches = size(data) // self.mini_batch_size
        if num_batches == 0:
            raise ValueError(
                f"{name} has {size(data)} examples, fewer than one mini-batch of "
                f"{self.mini_batch_size}"
            )
        return num_batches

    def _mini_batch(self, data: SharedData, i: Tensor) -> dict[Variable, Variable]:
        # not the slice data[i * size : (i + 1) * size], whose length JAX would not know
        rows = i * self.mini_batch_size + np.arange(self.mini_batch_size)
        return {self.x: data[0][rows], self.y: data[1][rows]}


# ---- Layer types


class ConvPoolLayer:
    """A convolutional layer followed by max-pooling, with a bias and an activation function.

    ``filter_shape`` is the number of filters, the number of input feature maps, the filter height
    and the filter width. ``image_shape`` is the mini-batch size, the number of input feature
    maps, the image height and the image width. ``poolsize`` is the height and width of a pool; a
    border that the pools do not fill is dropped.
    """

    kind = "conv"

    def __init__(
        self,
        filter_shape: tuple[int, int, int, int],
        image_shape: tuple[int, int, int, int],
        poolsize: tuple[int, int] = (2, 2),
        activation_fn: Activation = sigmoid,
    ) -> None:
        self.filter_shape = filter_shape
        self.image_shape = image_shape
        self.poolsize = poolsize
        self.activation_fn = activation_fn
        self.pooled_shape = pooled_shape(filter_shape, image_shape, poolsize)
        # initialize weights and biases
        n_out = filter_shape[0] * np.prod(filter_shape[2:]) / np.prod(poolsize)
        self.w = _normal(filter_shape, scale=np.sqrt(1.0 / n_out))
        self.b = _normal(filter_shape[:1])
        self.params = [self.w, self.b]

    def set_inpt(self, inpt: Tensor, inpt_dropout: Tensor, mini_batch_size: int) -> None:
        """Define ``output``, and ``output_dropout`` with dropout in the layers before this one."""
        if self.image_shape[0] != mini_batch_size:
            raise ValueError(
                f"image_shape {self.image_shape} should start with the mini-batch size "
                f"{mini_batch_size}"
            )
        self.inpt = inpt.reshape(self.image_shape)
        self.output = self.output_dropout = self._output(self.inpt)
        if inpt_dropout is not inpt:  # some layer before this one has dropout
            self.output_dropout = self._output(inpt_dropout.reshape(self.image_shape))

    def _output(self, inpt: Tensor) -> Tensor:
        pooled_out = conv_and_max_pool(
            inpt, self.w, self.filter_shape, self.image_shape, self.poolsize
        )
        return self.activation_fn(pooled_out + self.b.dimshuffle("x", 0, "x", "x"))


class FullyConnectedLayer:
    """A layer whose ``n_out`` neurons each see all ``n_in`` inputs.

    In training, an input is dropped with probability ``p_dropout``, in 0 <= p < 1.
    """

    kind = "fc"

    def __init__(
        self, n_in: int, n_out: int, activation_fn: Activation = sigmoid, p_dropout: float = 0.0
    ) -> None:
        self.n_in = n_in
        self.n_out = n_out
        self.activation_fn = activation_fn
        self.p_dropout = p_dropout
        # initialize weights and biases
        self.w = _normal((n_in, n_out), scale=np.sqrt(1.0 / n_out))
        self.b = _normal((n_out,))
        self.params = [self.w, self.b]

    def set_inpt(self, inpt: Tensor, inpt_dropout: Tensor, mini_batch_size: int) -> None:
        """Define ``output``, and ``output_dropout`` with inputs dropped."""
        self.inpt = inpt.reshape((mini_batch_size, self.n_in))
        self.output = self.activation_fn((1 - self.p_dropout) * pt.dot(self.inpt, self.w) + self.b)
        self.y_out = pt.argmax(self.output, axis=1)
        self.inpt_dropout = dropout_layer(
            inpt_dropout.reshape((mini_batch_size, self.n_in)), self.p_dropout
        )
        self.output_dropout = self.activation_fn(pt.dot(self.inpt_dropout, self.w) + self.b)

    def accuracy(self, y: Tensor) -> Tensor:
        """Return the accuracy for the mini-batch: the fraction that is classified correctly."""
        return pt.mean(pt.eq(y, self.y_out))


class SoftmaxLayer(FullyConnectedLayer):
    """A fully connected layer whose outputs are the probabilities of ``n_out`` classes."""

    kind = "softmax"

    def __init__(self, n_in: int, n_out: int, p_dropout: float = 0.0) -> None:
        self.n_in = n_in
        self.n_out = n_out
        self.activation_fn = functools.partial(softmax, axis=-1)
        self.p_dropout = p_dropout
        # initialize weights and biases
        self.w = _shared(np.zeros((n_in, n_out)))
        self.b = _shared(np.zeros(n_out))
        self.params = [self.w, self.b]

    def cost(self, net: Network) -> Tensor:
        """Return the log-likelihood cost."""
        return -pt.mean(pt.log(self.output_dropout)[pt.arange(net.y.shape[0]), net.y])


# ---- Miscellanea


def size(data: SharedData) -> int:
    """Return the number of examples in the data."""
    return data[0].get_value(borrow=True).shape[0]


def dropout_layer(layer: Tensor, p_dropout: float) -> Tensor:
    """Set each element to zero with probability ``p_dropout``, drawn anew in every call."""
    if not 0.0 <= p_dropout < 1.0:
        raise ValueError(f"p_dropout must be in 0 <= p_dropout < 1, got {p_dropout}")
    if p_dropout == 0.0:
        return layer
    # each layer has its own generator, or layers of the same size would drop the same elements
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


if __name__ == "__main__":
    from network3_command_line import main

    main()
