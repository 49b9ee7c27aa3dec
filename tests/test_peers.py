"""Every rule walks where its peer in optax, PyTorch or madgrad walks: 50 steps in float64.

``golden/peers.json`` holds what the peers computed; ``golden/make_peers.py`` says how.
"""

import functools
import inspect
import json
from pathlib import Path

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from catalogue import AROUND_A_RULE, AS_WRITTEN, RULES

import updates

PEERS = json.loads((Path(__file__).parent / "golden" / "peers.json").read_text())
DATA = {name: np.array(value) for name, value in PEERS["data"].items()}
NAMES = PEERS["param_names"]

# Rules that no peer has: they are compared with the original systems or with NumPy.
WITHOUT_PEERS = {"adagrad_window", "esgd", "graves_rmsprop", "gradient_updates_momentum"}


def network(w, b, t, s, x, y):
    hidden = pt.tanh((x[:, :, None] * w).sum(axis=1) + b)
    out = pt.tanh((hidden[:, None, :, None] * t).sum(axis=2))
    return ((s * out - y) ** 2).mean()


def separable(*params):
    centres = [DATA[f"centre_{name}"] for name in NAMES]
    return sum(pt.cosh(p - c).sum() for p, c in zip(params, centres, strict=True))


@functools.cache
def loss_and_gradients():
    """Compile the network's loss and gradients once: a rule takes them as they are."""
    symbols = [pt.tensor(name, shape=DATA[name].shape) for name in NAMES]
    x, y = pt.tensor("X", shape=(None, 4)), pt.tensor("Y", shape=(None, 2, 2))
    loss = network(*symbols, x, y)
    outputs = [loss, *pytensor.grad(loss, symbols)]
    return pytensor.function([*symbols, x, y], outputs, mode=AS_WRITTEN)


def named_rule(spec):
    name, hyperparameters = spec
    return getattr(updates, name)(**hyperparameters)


def make_updates(case, loss, loss_or_grads, params):
    """Build the updates of a case, which may wrap a rule."""
    name, kwargs = case["rule"], dict(case["kwargs"])
    if "rule" not in kwargs:
        return getattr(updates, name)(loss_or_grads, params, **kwargs)
    inner = named_rule(kwargs.pop("rule"))
    if name in {*AROUND_A_RULE, "accumulate_gradients"}:
        return getattr(updates, name)(loss_or_grads, params, inner, **kwargs)
    if name == "reduce_on_plateau":
        kwargs["loss"] = loss
    return getattr(updates, name)(inner(loss_or_grads, params), **kwargs)


def walk(case):
    """Yield the values of parameters and averages after each step."""
    params = [pytensor.shared(DATA[name].copy(), name=name) for name in NAMES]
    trained = [param for param in params if param.name in case.get("only", NAMES)]
    needs_loss = next(iter(inspect.signature(getattr(updates, case["rule"])).parameters)) == "loss"
    if needs_loss:
        on_network = case["problem"] == "network"
        loss = network(*params, DATA["X"], DATA["Y"]) if on_network else separable(*params)
        result = make_updates(case, loss, loss, trained)
        step = pytensor.function([], updates=result, mode=AS_WRITTEN)
    else:
        loss = pt.dscalar("loss")
        grads = [param.type(f"gradient of {param.name}") for param in params]
        given = [grad for grad, param in zip(grads, params, strict=True) if param in trained]
        result = make_updates(case, loss, given, trained)
        step = pytensor.function(
            [loss, *grads], updates=result, mode=AS_WRITTEN, on_unused_input="ignore"
        )
    batches = case.get("batches", [slice(None)])
    for call in range(max(PEERS["steps"])):
        rows = batches[call % len(batches)]
        values = [param.get_value(borrow=True) for param in params]
        step(
            *([] if needs_loss else loss_and_gradients()(*values, DATA["X"][rows], DATA["Y"][rows]))
        )
        averages = updates.averages(result) if "average" in case else {}
        yield {
            "params": [param.get_value() for param in params],
            "average": [averages[p].get_value() for p in trained] if averages else [],
        }


def title(case):
    return f"{case['rule']}-{case['peer']}"


def every_case():
    """Give each rule and transform once to the fast tests; its other peers are slow ones."""
    known = set()
    for case in PEERS["cases"] + PEERS["transforms"]:
        marks = [pytest.mark.slow] * (case["rule"] in known)
        known.add(case["rule"])
        yield pytest.param(case, id=title(case), marks=marks)


@pytest.mark.parametrize("case", every_case())
def test_a_rule_walks_where_its_peer_walks(case):
    for step, values in enumerate(walk(case), start=1):
        for kind in ("params", "average"):
            if kind in case and step in PEERS["steps"]:
                for name, value, expected in zip(
                    NAMES, values[kind], case[kind][str(step)], strict=True
                ):
                    np.testing.assert_allclose(
                        value, expected, rtol=1e-7, err_msg=f"{kind} {name}, step {step}"
                    )


def test_every_rule_has_a_peer():
    compared = {case["rule"] for case in PEERS["cases"]}
    compared |= {"lbfgs"}  # in test_lbfgs.py
    assert {row.name for row in RULES} - compared == WITHOUT_PEERS


def test_rows_of_a_table_walk_where_sparse_adam_walks():
    sparse = PEERS["sparse"]
    table, index = pytensor.shared(np.array(sparse["start"]), name="table"), pt.lvector("index")
    gradient = pt.matrix("gradient")
    result = updates.adam([gradient], [table[index]], **sparse["kwargs"])
    step = pytensor.function([index, gradient], updates=result, mode=AS_WRITTEN)
    for number, (rows, values) in enumerate(
        zip(sparse["indices"], sparse["gradients"], strict=True), start=1
    ):
        step(rows, values)
        if str(number) in sparse["tables"]:
            expected = sparse["tables"][str(number)]
            np.testing.assert_allclose(table.get_value(), expected, rtol=1e-7)
