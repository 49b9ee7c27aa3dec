"""Run downhill's published examples, and write what they start from and come to.

    python -m venv downhill && downhill/bin/pip install "pytensor>=3" click
    downhill/bin/pip install --no-deps downhill==0.4.0
    downhill/bin/python tests/golden/make_downhill.py > tests/golden/downhill.json

The examples are the matrix factorization of its README, through ``minimize`` and ``iterate``,
and the Rosenbrock walk of its documentation. downhill itself runs, with PyTensor under the name of
Theano; the little that differs between the two is made up for below.
"""

import collections
import collections.abc
import contextlib
import io
import json
import sys
import types

import numpy as np
import pytensor
import pytensor.compile
import pytensor.tensor as pt


def shared(value, name=None, broadcastable=None):
    shape = broadcastable and tuple(1 if fixed else None for fixed in broadcastable)
    return pytensor.shared(value, name=name, shape=shape)


theano = types.ModuleType("theano")
tensor = types.ModuleType("theano.tensor")
vars(tensor).update({name: getattr(pt, name) for name in dir(pt) if not name.startswith("__")})
tensor.grad = pytensor.grad
tensor.Constant = pytensor.graph.basic.Constant
theano.tensor = tensor
theano.compile = pytensor.compile
theano.config = pytensor.config
theano.shared = shared
theano.function = pytensor.function
generators = types.ModuleType("theano.sandbox.rng_mrg")  # which these examples do not use
generators.MRG_RandomStreams = None
sandbox = types.ModuleType("theano.sandbox")
for module in (theano, tensor, sandbox, generators):
    sys.modules[module.__name__] = module
collections.Callable = collections.abc.Callable

import downhill  # noqa: E402


def factorization():
    """Return the problem of the README, with start and data."""
    random = np.random.RandomState(0)
    rows, columns, basis = 20, 5, 3
    start = {"u": random.randn(rows, basis), "v": random.randn(basis, columns)}
    u, v = (shared(value.copy(), name=name) for name, value in start.items())
    y = random.randn(rows, basis) @ random.randn(basis, columns) + random.randn(rows, columns)
    z = pt.matrix()
    err = pt.sqr(z - pt.dot(u, v))
    loss = err.mean() + abs(u).mean() + (v * v).mean()
    monitors = (
        ("err", err.mean()),
        ("|u|<0.1", (abs(u) < 0.1).mean()),
        ("|v|<0.1", (abs(v) < 0.1).mean()),
    )
    return {**start, "y": y}, (u, v), loss, monitors, y, rows


def minimized():
    given, (u, v), loss, monitors, y, rows = factorization()
    training, validation = downhill.minimize(
        loss=loss,
        train=[y],
        patience=0,
        batch_size=rows,
        max_gradient_norm=1,
        learning_rate=0.1,
        monitors=monitors,
        monitor_gradients=True,
    )
    result = {"u": u.get_value(), "v": v.get_value()}
    return given, {"training": training, "validation": validation, **result}


def iterated():
    _, _, loss, monitors, y, rows = factorization()
    optimizer = downhill.build("rmsprop", loss=loss, monitors=monitors, monitor_gradients=True)
    losses = [
        training["loss"]
        for training, _ in optimizer.iterate(
            train=[[y]], patience=0, batch_size=rows, max_gradient_norm=1, learning_rate=0.1
        )
    ]
    return {"losses": losses}


def rosenbrock():
    x = shared(np.array([-1.0, 0.0]), name="x")
    optimizer = downhill.build(
        "nag",
        loss=(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum(),
        params=[x],
        inputs=[],
        monitors=[("x", x[:-1].sum()), ("y", x[1:].sum())],
        monitor_gradients=True,
    )
    walk = []
    for training, _ in optimizer.iterate(
        [[]], learning_rate=0.001, momentum=0.95, max_gradient_norm=100
    ):
        walk.append([training["x"], training["y"], training["loss"]])
        if len(walk) == 300:
            break
    return walk


def main():
    with contextlib.redirect_stdout(io.StringIO()):
        given, found = minimized()
        golden = {"given": given, "minimize": found, "iterate": iterated(), "walk": rosenbrock()}
    print(json.dumps(golden, default=np.ndarray.tolist))


if __name__ == "__main__":
    main()
