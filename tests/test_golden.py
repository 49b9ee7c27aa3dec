"""Every trajectory that the original systems computed on the original Theano is reproduced.

``golden/originals.json`` holds the parameters of a small network after 1, 2, 5, 20 and 60 steps.
"""

import json
from pathlib import Path

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from catalogue import AS_WRITTEN

import updates

GOLDEN = json.loads((Path(__file__).parent / "golden" / "originals.json").read_text())


def clipped_sgd(grads_to_grads):
    def rule(loss, params, learning_rate):
        return updates.sgd(
            grads_to_grads(updates.get_or_compute_grads(loss, params)), params, learning_rate
        )

    return rule


def compose(transform, first_rule):
    def rule(loss, params, first, second=None):
        return transform(first_rule(loss, params, **first), **(second or {}))

    return rule


def downhill_rmsprop(
    loss,
    params,
    learning_rate,
    rms_halflife,
    rms_regularizer,
    momentum=0,
    max_gradient_norm=None,
):
    grads = updates.get_or_compute_grads(loss, params)
    if max_gradient_norm is not None:
        grads = [
            updates.total_norm_constraint(grad, max_gradient_norm, epsilon=0)[0] for grad in grads
        ]
    return updates.graves_rmsprop(
        grads, params, learning_rate, rms_halflife, rms_regularizer, momentum
    )


def downhill_adam(loss, params, learning_rate, beta1_halflife, beta2_halflife):
    """Undo what downhill 0.4.0 does not do: its moments are corrected by constants."""
    start, beta2 = 2 ** (-1 / beta1_halflife), 2 ** (-1 / beta2_halflife)

    def beta1(step):
        return start * (1 - 1e-6) ** step

    def rate(step):
        corrections = pt.sqrt((1 - beta2) / (1 - beta2 ** (step + 1)))
        corrections *= (1 - beta1(step) ** (step + 1)) / (1 - beta1(step))
        return learning_rate * corrections

    return updates.adam(loss, params, rate, beta1, beta2, 1e-8 * np.sqrt(1 - beta2))


OURS = {
    ("downhill", "Adam"): downhill_adam,
    ("lasagne", "rmsprop+apply_momentum"): compose(updates.apply_momentum, updates.rmsprop),
    ("lasagne", "adam+apply_nesterov_momentum"): compose(
        updates.apply_nesterov_momentum, updates.adam
    ),
    ("lasagne", "total_norm_constraint+sgd"): lambda loss, params, learning_rate, max_norm: (
        clipped_sgd(lambda grads: updates.total_norm_constraint(grads, max_norm))(
            loss, params, learning_rate
        )
    ),
    ("downhill", "SGD"): updates.momentum,
    ("downhill", "RMSProp"): downhill_rmsprop,
    ("downhill", "RMSProp+max_gradient_norm"): downhill_rmsprop,
    ("downhill", "RProp"): lambda loss, params, learning_rate, **limits: updates.rprop(
        loss,
        params,
        learning_rate,
        limits["rprop_decrease"],
        limits["rprop_increase"],
        limits["rprop_min_step"],
        limits["rprop_max_step"],
    ),
    ("downhill", "ADAGRAD"): lambda loss, params, learning_rate, rms_regularizer: updates.adagrad(
        loss, params, learning_rate, rms_regularizer
    ),
    ("downhill", "ADADELTA"): lambda loss, params, rms_halflife, rms_regularizer: updates.adadelta(
        loss, params, rho=2 ** (-1 / rms_halflife), epsilon=rms_regularizer
    ),
    ("blocks", "Momentum"): updates.momentum,
    ("blocks", "AdaGrad"): lambda loss, params, learning_rate, epsilon: updates.adagrad(
        loss, params, learning_rate, epsilon=0, epsilon_outside=epsilon
    ),
    ("blocks", "RMSProp"): lambda loss, params, learning_rate, decay_rate, max_scaling: (
        updates.rmsprop(loss, params, learning_rate, decay_rate, epsilon=0, max_scaling=max_scaling)
    ),
    ("blocks", "AdaDelta"): lambda loss, params, decay_rate, epsilon: updates.adadelta(
        loss, params, rho=decay_rate, epsilon=epsilon
    ),
    ("blocks", "StepClipping+Scale"): lambda loss, params, threshold, learning_rate: clipped_sgd(
        lambda grads: updates.total_norm_constraint(grads, threshold, epsilon=0)
    )(loss, params, learning_rate),
}

CASES = GOLDEN["cases"]


def tolerances(case):
    """Give the relative tolerance for each number of steps."""
    if case["dtype"] == "float64":
        return {1: 1e-9, 2: 1e-9, 5: 1e-9, 20: 1e-9, 60: 1e-6}
    amplifies_rounding = case["kwargs"].get("learning_rate") == 1.0 and case["rule"] != "adadelta"
    steps = (1, 2, 5) if amplifies_rounding else (1, 2, 5, 20)
    return dict.fromkeys(steps, 2e-4)


@pytest.mark.parametrize(
    "case", CASES, ids=[f"{c['system']}-{c['rule']}-{c['dtype']}-{c['kwargs']}" for c in CASES]
)
def test_originals_are_reproduced(case):
    data = {name: np.array(value, case["dtype"]) for name, value in GOLDEN["data"].items()}
    w1, b1, w2, b2 = params = [
        pytensor.shared(data[name], name=name) for name in GOLDEN["param_names"]
    ]
    hidden = pt.tanh(pt.dot(data["X"], w1) + b1)
    loss = ((pt.dot(hidden, w2) + b2 - data["Y"]) ** 2).mean()
    key = (case["system"], case["rule"])
    rule = OURS[key] if key in OURS else getattr(updates, case["rule"])
    train = pytensor.function(
        [], loss, updates=rule(loss, params, **case["kwargs"]), mode=AS_WRITTEN
    )
    expected_after = tolerances(case)
    for step in range(1, max(expected_after) + 1):
        train()
        if step in expected_after:
            for param, expected in zip(params, case["params"][str(step)], strict=True):
                assert param.get_value().dtype == case["dtype"]
                # In float32 an element near zero is relative to its tensor, not to itself.
                in_float32 = case["dtype"] == "float32"
                scale = np.abs(expected).max() if in_float32 else np.abs(expected)
                difference = np.abs(param.get_value() - expected)
                assert (difference <= expected_after[step] * scale).all(), f"{param}, step {step}"
