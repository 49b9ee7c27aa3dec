"""pytensor-ml: its models train with rules of ours, and its transforms and ours mix."""

import numpy as np
import pytensor
import pytest
from pytensor.compile.mode import Mode
from pytensor.graph.traversal import explicit_graph_inputs

import updates

pytest.importorskip("pytensor_ml")
from pytensor_ml import optim
from pytensor_ml.activations import ReLU
from pytensor_ml.layers import (
    BatchNorm,
    Conv2D,
    Dropout,
    Flatten,
    Input,
    Linear,
    Sequential,
    TransformerBlock,
)
from pytensor_ml.loss import SquaredError, supervised_loss
from pytensor_ml.model import Model
from pytensor_ml.pytensorf import collect_non_trainable_updates

pytestmark = pytest.mark.filterwarnings("ignore:PyTensor could not link to a BLAS")
MODE = Mode("py", "fast_compile")
random = np.random.default_rng(0)
X = random.normal(size=(32, 4))
Y = X @ random.normal(size=(4, 1))


def network(*more):
    layers = [Linear("fc1", n_in=4, n_out=8), BatchNorm("bn", n_in=8), ReLU(), *more]
    output = Sequential(*layers, Linear("fc2", n_in=8, n_out=1))(Input("X", shape=(None, 4)))
    return Model(output, compile_kwargs={"mode": MODE}).initialize(0)


def trained(rule, steps=4, model=None, data=(X, Y)):
    """Return the losses of some steps, and all that they changed."""
    step = (network() if model is None else model).compile_train(rule, SquaredError())
    losses = [float(step(*data)) for _ in range(steps)]
    return losses, {v.name: v.get_value() for v in step.get_shared()}


def inputs_of(model):
    return list(explicit_graph_inputs([model.y]))


SGD, CLIPPED = optim.sgd(0.05), optim.chain(optim.clip_by_global_norm(0.5), optim.sgd(0.05))
our_sgd, our_clip = updates.sgd(learning_rate=0.05), updates.clip_by_global_norm(max_norm=0.5)
# Theirs, and what should do the same.
SAME = {
    "a rule": (SGD, our_sgd),
    "adam": (optim.adam(0.05), updates.adamw(learning_rate=0.05, weight_decay=0.0)),
    "a chain": (CLIPPED, updates.chain(our_clip, our_sgd)),
    "their chain, our transform": (CLIPPED, optim.chain(our_clip, optim.sgd(0.05))),
    "their chain, a transform that sees parameters": (
        updates.chain(updates.adaptive_clip(clipping=0.01), our_sgd),
        optim.chain(updates.adaptive_clip(clipping=0.01), optim.sgd(0.05)),
    ),
    "their chain, our rule": (CLIPPED, optim.chain(optim.clip_by_global_norm(0.5), our_sgd)),
    "their chain, both ours": (CLIPPED, optim.chain(our_clip, our_sgd)),
    "our chain, their transform": (
        CLIPPED,
        updates.chain(optim.clip_by_global_norm(0.5), our_sgd),
    ),
    "our chain, their rule": (CLIPPED, updates.chain(our_clip, optim.sgd(0.05))),
    "their rule, our guard": (SGD, optim.chain(SGD, updates.apply_if_finite())),
    "their rule, our average": (SGD, updates.chain(SGD, updates.apply_ema())),
    "our rule, their factor": (
        SGD,
        optim.chain(updates.sgd(learning_rate=0.5), optim.scale(0.1)),
    ),
    "their steps, clipped by us": (
        optim.chain(SGD, optim.clip_by_global_norm(0.01)),
        optim.chain(SGD, updates.clip_by_global_norm(max_norm=0.01)),
    ),
    "our steps, clipped by us": (
        optim.chain(SGD, optim.clip_by_global_norm(0.01)),
        optim.chain(our_sgd, updates.clip_by_global_norm(max_norm=0.01)),
    ),
    "a chain in a chain": (SGD, optim.chain(updates.chain(our_sgd, updates.apply_if_finite()))),
}


@pytest.mark.parametrize("name", SAME)
def test_ours_do_what_theirs_do(name):
    (losses, values), (got_losses, got) = (trained(rule) for rule in SAME[name])
    np.testing.assert_allclose(got_losses, losses, rtol=1e-7)
    for name in ("fc1_W", "bn_scale", "bn_running_mean", "bn_running_var", "fc2_b"):
        np.testing.assert_allclose(got[name], values[name], rtol=1e-6, err_msg=name)


def test_dropout_draws_anew_in_every_step():
    model = network(Dropout("dropout", p=0.5))
    step = model.compile_train(updates.sgd(learning_rate=1e-12), SquaredError())
    assert len({float(step(X, Y)) for _ in range(3)}) == 3


def test_minimize_trains_a_model_with_what_it_keeps_itself():
    model = network()
    loss, target = supervised_loss(model.y, SquaredError())
    [x] = inputs_of(model)
    history = updates.minimize(
        loss,
        model.weights,
        [x, target],
        rule=updates.adam(learning_rate=0.05),
        updates=collect_non_trainable_updates(loss),
        train=(X, Y),
        batch_size=16,
        max_epochs=20,
        progress=False,
        mode=MODE,
    )
    assert history
    assert np.square(model.predict(X) - Y).mean() < 0.5 * np.square(Y).mean()


def test_a_file_holds_a_model_and_its_rule(tmp_path):
    rule = updates.adam(learning_rate=0.05)

    def training():
        model = network()
        loss, target = supervised_loss(model.y, SquaredError())
        changes = rule(loss, model.weights) | collect_non_trainable_updates(loss)
        inputs = [*inputs_of(model), target]
        return changes, pytensor.function(inputs, loss, updates=changes, mode=MODE)

    changes, step = training()
    losses = [float(step(X, Y)) for _ in range(2)]
    updates.save(tmp_path / "model.npz", changes)
    rest = [float(step(X, Y)) for _ in range(2)]
    changes, step = training()
    assert float(step(X, Y)) == losses[0]
    updates.load(tmp_path / "model.npz", changes)
    assert [float(step(X, Y)) for _ in range(2)] == rest


RULE = updates.chain(
    updates.clip_by_global_norm(max_norm=1.0),
    updates.adamw(learning_rate=0.01),
    updates.apply_if_finite(),
)


def test_a_convolutional_network_trains():
    images = random.normal(size=(16, 8, 8, 1))
    sums = images[:, :4].sum(axis=(1, 2, 3))[:, None]
    output = Sequential(
        Conv2D("conv", in_channels=1, out_channels=4, kernel_size=3),
        ReLU(),
        Flatten,
        Linear("fc", n_in=4 * 6 * 6, n_out=1),
    )(Input("X", shape=(None, 8, 8, 1)))
    model = Model(output, compile_kwargs={"mode": MODE}).initialize(0)
    losses, _ = trained(RULE, 30, model, (images, sums))
    assert losses[-1] < 0.3 * losses[0]


def test_a_transformer_trains():
    sequences = random.normal(size=(16, 5, 8))
    means = np.repeat(sequences.mean(axis=1, keepdims=True), 5, axis=1)
    output = TransformerBlock("block", d_model=8, n_head=2)(Input("X", shape=(None, 5, 8)))
    model = Model(output, compile_kwargs={"mode": MODE}).initialize(0)
    losses, _ = trained(RULE, 40, model, (sequences, means))
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.filterwarnings("ignore:Skipping", "ignore:The RandomType SharedVariables")
@pytest.mark.parametrize("mode", ["NUMBA", "JAX", pytest.param("CVM", marks=pytest.mark.slow)])
def test_the_backends_take_the_same_steps(mode):
    if mode == "JAX":
        pytest.importorskip("jax")

    def losses(mode):
        layers = Linear("fc1", n_in=4, n_out=8), BatchNorm("bn", n_in=8), ReLU()
        output = Sequential(*layers, Linear("fc2", n_in=8, n_out=1))(Input("X", shape=(None, 4)))
        model = Model(output, compile_kwargs={"mode": mode}).initialize(0)
        return trained(RULE, 4, model)[0]

    np.testing.assert_allclose(losses(mode), losses(MODE), rtol=1e-5)
