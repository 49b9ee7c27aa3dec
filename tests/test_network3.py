"""network3's layers compute what they say, its scripts run as the book prints them."""

import inspect
import itertools
import subprocess
import sys
from operator import attrgetter
from pathlib import Path

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from pytensor.compile.mode import Mode
from pytensor.gradient import verify_grad

import updates

with pytensor.config.change_flags(floatX=pytensor.config.floatX):  # the import sets float32
    import network3
from digit_cnn import cnn, load_cnn_data, one_blas_thread
from network3 import ConvPoolLayer, FullyConnectedLayer, Network, ReLU, SoftmaxLayer, linear
from network3_command_line import main
from tuned_rules import INSIDE, LEARNING_RATES, SETTINGS, TUNED_RULES

PROGRAM = Path(network3.__file__)


@pytest.fixture(autouse=True)
def book_settings():
    """Run with the floatX that importing network3 sets, and with little to compile."""
    np.random.seed(0)
    with pytensor.config.change_flags(floatX="float32", mode="FAST_COMPILE"):
        yield


def shared_data(num_examples, num_pixels=784, seed=1):
    rng = np.random.default_rng(seed)
    x = rng.random((num_examples, num_pixels)).astype("float32")
    y = rng.integers(10, size=num_examples).astype("float32")
    return pytensor.shared(x), pt.cast(pytensor.shared(y), "int32")


# ---- the book's program

THE_BOOK = {  # its definitions and their arguments, in its order
    "linear": "z",
    "ReLU": "z",
    "Network": "layers, mini_batch_size",
    "Network.SGD": "training_data, epochs, mini_batch_size, eta, validation_data, test_data, lmbda",
    "ConvPoolLayer": "filter_shape, image_shape, poolsize, activation_fn",
    "ConvPoolLayer.set_inpt": "inpt, inpt_dropout, mini_batch_size",
    "FullyConnectedLayer": "n_in, n_out, activation_fn, p_dropout",
    "FullyConnectedLayer.set_inpt": "inpt, inpt_dropout, mini_batch_size",
    "FullyConnectedLayer.accuracy": "y",
    "SoftmaxLayer": "n_in, n_out, p_dropout",
    "SoftmaxLayer.cost": "net",
    "size": "data",
    "dropout_layer": "layer, p_dropout",
}


@pytest.mark.parametrize("name", THE_BOOK)
def test_a_definition_takes_the_arguments_that_it_has_in_the_book(name):
    definition = attrgetter(name)(network3)
    arguments = [a for a in inspect.signature(definition).parameters if a != "self"]
    expected = THE_BOOK[name].split(", ")
    assert arguments[: len(expected)] == expected


def test_the_program_has_the_order_of_the_book():
    lines = [inspect.getsourcelines(attrgetter(name)(network3))[1] for name in THE_BOOK]
    assert lines == sorted(lines)


def test_the_other_names_of_the_book_are_in_the_program():
    names = ("load_data_shared", "sigmoid", "tanh")
    assert all(callable(getattr(network3, name)) for name in names)


# ---- convolution and pooling

SHAPES = [  # image_shape, filter_shape, poolsize
    ((2, 1, 6, 6), (3, 1, 3, 3), (2, 2)),
    ((2, 3, 7, 6), (2, 3, 2, 3), (2, 2)),  # one row is left over
    ((3, 2, 9, 8), (4, 2, 3, 2), (3, 2)),
    ((1, 2, 8, 8), (2, 2, 3, 3), (4, 5)),  # 6 rows and columns for one pool
    ((2, 2, 5, 5), (3, 2, 1, 1), (1, 1)),
    ((2, 2, 4, 5), (1, 2, 4, 5), (1, 1)),  # filters as large as the images
]


def convolved_and_pooled(images, w, b, poolsize):
    """Loop over everything, as the definition has it."""
    filter_height, filter_width = w.shape[2:]
    height = (images.shape[2] - filter_height + 1) // poolsize[0]
    width = (images.shape[3] - filter_width + 1) // poolsize[1]
    out = np.full((len(images), len(w), height, width), -np.inf)
    for n, f, y, x in np.ndindex(out.shape):
        for pool_y, pool_x in np.ndindex(*poolsize):
            top, left = y * poolsize[0] + pool_y, x * poolsize[1] + pool_x
            patch = images[n, :, top : top + filter_height, left : left + filter_width]
            out[n, f, y, x] = max(out[n, f, y, x], (patch * w[f]).sum())
    return out + b[:, None, None]


@pytest.mark.parametrize(("image_shape", "filter_shape", "poolsize"), SHAPES)
def test_conv_pool_layer_convolves_and_pools(image_shape, filter_shape, poolsize):
    layer = ConvPoolLayer(filter_shape, image_shape, poolsize, activation_fn=linear)
    x = pt.matrix("x")
    layer.set_inpt(x, x, image_shape[0])
    images = np.random.normal(size=image_shape).astype("float32")
    output = layer.output.eval({x: images.reshape((image_shape[0], -1))})
    expected = convolved_and_pooled(images, layer.w.get_value(), layer.b.get_value(), poolsize)
    np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("image_shape", "filter_shape", "poolsize"), SHAPES)
def test_conv_pool_layer_has_the_numeric_gradient(image_shape, filter_shape, poolsize):
    rng = np.random.default_rng(3)
    with pytensor.config.change_flags(floatX="float64"):
        layer = ConvPoolLayer(filter_shape, image_shape, poolsize, activation_fn=pt.tanh)

        def output(images, w, b):
            layer.w, layer.b = w, b
            layer.set_inpt(images, images, image_shape[0])
            return layer.output

        values = [rng.normal(size=s) for s in (image_shape, filter_shape, filter_shape[:1])]
        verify_grad(output, values, rng=rng)


def test_equals_within_a_pool_receive_the_gradient_once():
    layer = ConvPoolLayer((1, 1, 3, 3), (1, 1, 8, 8), (3, 2), activation_fn=linear)
    x = pt.matrix("x")
    layer.set_inpt(x, x, 1)
    grad = pytensor.grad(layer.output.sum(), layer.w).eval({x: np.ones((1, 64), "float32")})
    np.testing.assert_allclose(grad, np.full((1, 1, 3, 3), 2 * 3), rtol=1e-6)


def test_no_gradient_is_computed_for_the_images_of_the_first_layer():
    net = small_cnn()
    train_mb = net.training_function(shared_data(4, 100), 0.1)
    scatters = [
        node
        for node in train_mb.maker.fgraph.apply_nodes
        if type(node.op).__name__.startswith("AdvancedInc") and node.outputs[0].ndim == 1
    ]
    assert len(scatters) == 1  # for the images of the second layer


# ---- networks


def small_cnn(p_dropout=0.0):
    return Network(
        [
            ConvPoolLayer((3, 1, 3, 3), (2, 1, 10, 10), activation_fn=ReLU),
            ConvPoolLayer((2, 3, 2, 2), (2, 3, 4, 4), (3, 3)),
            FullyConnectedLayer(2, 6, p_dropout=p_dropout),
            SoftmaxLayer(6, 10, p_dropout=p_dropout),
        ],
        2,
    )


BACKENDS = {
    "c": Mode(linker="cvm", optimizer="fast_run"),
    "python": Mode(linker="py", optimizer="fast_run"),
    "numba": "NUMBA",
    "jax": "JAX",
}


@pytest.mark.filterwarnings("ignore:PyTensor could not link to a BLAS")
@pytest.mark.parametrize(
    "backend",
    [
        *(pytest.param(backend, marks=pytest.mark.slow) for backend in ("c", "numba")),
        "python",
        "jax",
    ],
)
def test_every_backend_trains_alike(backend):
    if backend == "jax":
        pytest.importorskip("jax")
    data = shared_data(6, 100)

    def costs(mode):
        np.random.seed(5)
        with pytensor.config.change_flags(mode=mode):
            train_mb = small_cnn().training_function(data, 0.5, lmbda=0.1)
            return [float(train_mb(index)) for index in (0, 1, 2, 0, 1, 2)]

    np.testing.assert_allclose(costs(BACKENDS[backend]), costs("FAST_COMPILE"), rtol=1e-5)


def conv1(activation_fn=network3.sigmoid):
    return ConvPoolLayer(
        image_shape=(10, 1, 28, 28),
        filter_shape=(20, 1, 5, 5),
        poolsize=(2, 2),
        activation_fn=activation_fn,
    )


def conv2(activation_fn=network3.sigmoid):
    return ConvPoolLayer(
        image_shape=(10, 20, 12, 12),
        filter_shape=(40, 20, 5, 5),
        poolsize=(2, 2),
        activation_fn=activation_fn,
    )


BOOK = {  # the networks of the chapter, with their eta and lmbda
    "shallow": (
        lambda: [FullyConnectedLayer(n_in=784, n_out=100), SoftmaxLayer(n_in=100, n_out=10)],
        0.1,
        0.0,
    ),
    "one convolution": (
        lambda: [
            conv1(),
            FullyConnectedLayer(n_in=20 * 12 * 12, n_out=100),
            SoftmaxLayer(n_in=100, n_out=10),
        ],
        0.1,
        0.0,
    ),
    "no fully connected layer": (
        lambda: [conv1(), SoftmaxLayer(n_in=20 * 12 * 12, n_out=10)],
        0.1,
        0.0,
    ),
    "two convolutions": (
        lambda: [
            conv1(),
            conv2(),
            FullyConnectedLayer(n_in=40 * 4 * 4, n_out=100),
            SoftmaxLayer(n_in=100, n_out=10),
        ],
        0.1,
        0.0,
    ),
    "rectified linear units": (
        lambda: [
            conv1(ReLU),
            conv2(ReLU),
            FullyConnectedLayer(n_in=40 * 4 * 4, n_out=100, activation_fn=ReLU),
            SoftmaxLayer(n_in=100, n_out=10),
        ],
        0.03,
        0.1,
    ),
    "two fully connected layers": (
        lambda: [
            conv1(ReLU),
            conv2(ReLU),
            FullyConnectedLayer(n_in=40 * 4 * 4, n_out=100, activation_fn=ReLU),
            FullyConnectedLayer(n_in=100, n_out=100, activation_fn=ReLU),
            SoftmaxLayer(n_in=100, n_out=10),
        ],
        0.03,
        0.1,
    ),
    "dropout": (
        lambda: [
            conv1(ReLU),
            conv2(ReLU),
            FullyConnectedLayer(n_in=40 * 4 * 4, n_out=1000, activation_fn=ReLU, p_dropout=0.5),
            FullyConnectedLayer(n_in=1000, n_out=1000, activation_fn=ReLU, p_dropout=0.5),
            SoftmaxLayer(n_in=1000, n_out=10, p_dropout=0.5),
        ],
        0.03,
        0.0,
    ),
}


@pytest.mark.parametrize("name", BOOK)
def test_the_networks_of_the_book_train(name, capsys):
    layers, eta, lmbda = BOOK[name]
    training_data, validation_data, test_data = (shared_data(n) for n in (15, 10, 10))
    mini_batch_size = 10
    net = Network(layers(), mini_batch_size)
    net.SGD(training_data, 1, mini_batch_size, eta, validation_data, test_data, lmbda=lmbda)
    assert net.test_mb_predictions(0).shape == (10,)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Training mini-batch number 0"
    assert lines[1].startswith("Epoch 0: validation accuracy ")
    assert lines[-3] == "Finished training network."
    assert lines[-2].startswith("Best validation accuracy of ")
    assert lines[-1].startswith("Corresponding test accuracy of ")


def trained(report=print, test_data="test", rule=updates.sgd, p_dropout=0.0, steps_per_call=1):
    np.random.seed(7)
    net = small_cnn(p_dropout)
    log = net.SGD(
        shared_data(9, 100),
        3,
        2,
        0.1,
        shared_data(4, 100),
        shared_data(5, 100) if test_data else None,
        rule=rule,
        report=report,
        steps_per_call=steps_per_call,
    )
    return net, log


@pytest.mark.parametrize("p_dropout", [0.0, 0.5])
def test_same_seed_same_numbers(p_dropout):
    runs = []
    for _ in range(2):
        lines: list[str] = []
        net, log = trained(lines.append, p_dropout=p_dropout)
        runs.append((lines, log.epochs, [p.get_value().tolist() for p in net.params]))
    assert runs[0] == runs[1]


@pytest.mark.parametrize("steps_per_call", [3, 100])  # an epoch has 4: one call is shorter
def test_many_steps_in_a_call_give_the_same_numbers(steps_per_call):
    runs = []
    for steps in (1, steps_per_call):
        lines: list[str] = []
        net, log = trained(lines.append, rule=updates.adam, p_dropout=0.5, steps_per_call=steps)
        runs.append((lines, log.epochs, [p.get_value().tolist() for p in net.params]))
    assert runs[0] == runs[1]
    assert len(log.step_seconds) == 3 * 4 - min(4, steps_per_call)


def test_the_log_tells_how_training_went():
    _, log = trained()
    assert len(log.epochs) == 3
    assert len(log.step_seconds) == 3 * 4 - 1  # 9 examples fill 4 mini-batches of 2
    assert log.compile_seconds > 0
    assert log.milliseconds_per_step > 0
    assert log.best.validation_accuracy == max(e.validation_accuracy for e in log.epochs)
    assert log.best.test_accuracy is not None


def test_test_data_may_be_missing():
    lines: list[str] = []
    _, log = trained(lines.append, test_data=None)
    assert not any("test accuracy" in line for line in lines)
    assert log.best.test_accuracy is None


def test_parameters_have_names_of_their_own():
    names = [param.name for param in small_cnn().params]
    assert names[:3] == ["conv0.w", "conv0.b", "conv1.w"]
    assert names[-1] == "softmax3.b"
    assert len(set(names)) == len(names)


def test_one_rule_call_gives_the_updates():
    calls = []

    def rule(cost, params, eta):
        calls.append((cost.ndim, [param.name for param in params], eta))
        return updates.sgd(cost, params, eta)

    trained(rule=rule)
    assert calls == [(0, [param.name for param in small_cnn().params], 0.1)]


REFUSED = {
    "fewer than one mini-batch": lambda: small_cnn().SGD(
        shared_data(1, 100), 1, 2, 0.1, shared_data(2, 100), None
    ),
    "validation_data has 1": lambda: small_cnn().SGD(
        shared_data(2, 100), 1, 2, 0.1, shared_data(1, 100), None
    ),
    "test_data has 1": lambda: small_cnn().SGD(
        shared_data(2, 100), 1, 2, 0.1, shared_data(2, 100), shared_data(1, 100)
    ),
    "steps_per_call must be at least 1": lambda: small_cnn().SGD(
        shared_data(2, 100), 1, 2, 0.1, shared_data(2, 100), None, steps_per_call=0
    ),
    "epochs must be at least 1": lambda: small_cnn().SGD(
        shared_data(2, 100), 0, 2, 0.1, shared_data(2, 100), None
    ),
    "mini_batch_size is 3": lambda: small_cnn().SGD(
        shared_data(6, 100), 1, 3, 0.1, shared_data(6, 100), None
    ),
    "number of input feature maps": lambda: ConvPoolLayer((3, 2, 3, 3), (2, 1, 10, 10)),
    "nothing is left": lambda: ConvPoolLayer((3, 1, 9, 9), (2, 1, 10, 10), (3, 3)),
    "start with the mini-batch size": lambda: Network(
        [ConvPoolLayer((3, 1, 3, 3), (2, 1, 10, 10))], 5
    ),
    "p_dropout must be in": lambda: Network([SoftmaxLayer(4, 10, p_dropout=1.0)], 2),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_work_is_refused(message):
    with pytest.raises(ValueError, match=message):
        REFUSED[message]()


# ---- dropout


def test_dropout_drops_the_given_fraction_anew_in_every_call():
    x = pt.matrix("x")
    drop = pytensor.function([x], network3.dropout_layer(x, 0.3))
    ones = np.ones((100, 100), "float32")
    first, second = drop(ones), drop(ones)
    assert first.dtype == "float32"
    assert set(np.unique(first)) == {0.0, 1.0}
    assert abs(first.mean() - 0.7) < 0.03
    assert (first != second).any()


def test_every_dropout_layer_has_a_generator_of_its_own():
    x = pt.matrix("x")
    layers = [network3.dropout_layer(x, 0.5) for _ in range(3)]
    masks = pytensor.function([x], layers)(np.ones((20, 20), "float32"))
    assert all((a != b).any() for a, b in itertools.combinations(masks, 2))


def test_no_dropout_leaves_the_layer_alone():
    x = pt.matrix("x")
    assert network3.dropout_layer(x, 0.0) is x


def test_dropout_is_for_training_and_its_scale_for_the_rest():
    layer = FullyConnectedLayer(4, 3, activation_fn=linear, p_dropout=0.25)
    x = pt.matrix("x")
    layer.set_inpt(x, x, 2)
    values = np.random.random((2, 4)).astype("float32")
    w, b = layer.w.get_value(), layer.b.get_value()
    np.testing.assert_allclose(layer.output.eval({x: values}), 0.75 * values @ w + b, rtol=1e-5)
    dropped = pytensor.function([x], [layer.inpt_dropout, layer.output_dropout])
    inpt, output = dropped(values)
    np.testing.assert_allclose(output, inpt @ w + b, rtol=1e-5)


def test_dropout_reaches_through_a_convolution():
    fc = FullyConnectedLayer(16, 16, activation_fn=linear, p_dropout=0.5)
    conv = ConvPoolLayer((2, 1, 2, 2), (2, 1, 4, 4), (1, 1), activation_fn=linear)
    net = Network([fc, conv], 2)
    output, output_dropout = pytensor.function([net.x], [net.output, net.output_dropout])(
        np.ones((2, 16), "float32")
    )
    assert not np.allclose(output, output_dropout)


# ---- rules and the command line


def test_every_rule_has_a_learning_rate():
    modules = {name: getattr(updates, name).__module__ for name in updates.__all__}
    rules = {name for name, module in modules.items() if module.startswith("updates.rules")}
    assert set(TUNED_RULES) == rules
    assert {*INSIDE, *SETTINGS, *LEARNING_RATES} <= rules
    assert "adagrad_window" not in LEARNING_RATES
    assert TUNED_RULES["adagrad_window"][1] == 0.01  # what it recommends itself


@pytest.mark.parametrize("name", TUNED_RULES)
def test_every_rule_can_be_called_with_its_learning_rate(name):
    rule, eta = TUNED_RULES[name]
    w = pytensor.shared(np.ones(2, "float32"), name="w")
    assert w in rule((w**2).sum(), [w], eta)


BAD_ARGUMENTS = {
    "--rule adamms": "adagrad_window",
    "--eta 0": "expected a number above 0, got '0'",
    "--eta fast": "expected a number above 0, got 'fast'",
    "--eta nan": "expected a number above 0",
    "--epochs 0": "expected a whole number of 1 or more",
    "--epochs 1.5": "expected a whole number of 1 or more",
    "--mini-batch-size -1": "expected a whole number of 1 or more",
    "--steps-per-call 0": "expected a whole number of 1 or more",
    "--lmbda inf": "expected a number of 0 or more",
    "--seed -1": "expected a whole number of 0 or more",
    "--data no-such-file": "no-such-file",
    "--mini-batch-size 301 --epochs 1": "fewer than one mini-batch",
}


@pytest.mark.parametrize("arguments", BAD_ARGUMENTS)
def test_the_command_line_says_what_is_wrong(arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(arguments.split())
    assert BAD_ARGUMENTS[arguments] in capsys.readouterr().err


@pytest.mark.slow
def test_the_command_line_repeats_itself():
    command = [sys.executable, str(PROGRAM), "--rule", "adam", "--epochs", "2", "--seed", "4"]
    outputs = [
        subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2)
    ]
    assert outputs[0] == outputs[1]
    assert "Corresponding test accuracy of 9" in outputs[0]


@pytest.mark.slow
def test_the_digits_are_learned_on_numba():
    training_data, validation_data, test_data = load_cnn_data()
    rule, eta = TUNED_RULES["deepmind_rmsprop"]
    np.random.seed(0)
    with pytensor.config.change_flags(mode="NUMBA"), one_blas_thread():
        log = cnn().SGD(training_data, 8, 10, eta, validation_data, test_data, rule=rule)
    assert log.best.test_accuracy >= 0.97


@pytest.mark.slow
def test_momentum_updates_equals_the_hand_written_rule_of_the_network3_question():
    def by_hand(cost, params, eta, mu=0.9):
        result = []
        for param in params:
            velocity = pytensor.shared(np.zeros_like(param.get_value()))
            velocity_new = mu * velocity - eta * pytensor.grad(cost, param)
            result += [(velocity, velocity_new), (param, param + velocity_new)]
        return result

    def trained(rule):
        np.random.seed(0)
        net = cnn()
        train = net.training_function(network3.load_data_shared()[0], 0.003, rule=rule)
        for index in range(200):
            train(index % 119)
        return [param.get_value() for param in net.params]

    with (
        pytensor.config.change_flags(floatX="float64", mode="Mode"),
        one_blas_thread(),
    ):
        ours, theirs = trained(updates.momentum_updates), trained(by_hand)
    for first, second in zip(ours, theirs, strict=True):
        assert first.dtype == "float64"
        np.testing.assert_allclose(first, second, rtol=1e-12, atol=1e-15)
