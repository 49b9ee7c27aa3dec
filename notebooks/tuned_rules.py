"""Every rule of ``updates`` with a learning rate that suits the network of ``digit_cnn.py``.

- ``TUNED_RULES``: for each name, the rule and its learning rate

A rule that is not named below has its own settings and the learning rate that its docstring
recommends to begin with.
"""

import inspect
from collections.abc import Callable
from typing import Any

from pytensor.graph.basic import Variable

import updates
from updates.command_line.catalogue import entries
from updates.declaration import public_names

# Rules around another one, and that one; `adam` for those that are missing.
INSIDE = {"sam": "momentum", "cautious": "adamw", "schedule_free": "rmsprop"}
SETTINGS: dict[str, dict[str, Any]] = {
    "gradient_updates_momentum": {"momentum": 0.9},
    "ademamix": {"beta3": 0.999},
    "acprop": {"epsilon": 0.001},
    "muon": {"adam_learning_rate": 0.001},
    "shampoo": {"update_interval": 10, "epsilon": 0.01, "adam_learning_rate": 0.001},
    "adafactor": {"min_dim_size_to_factor": 20},
    "dog": {"initial_step": 0.01},
    "dadapt_adamw": {"initial_distance": 1e-4},
    "lbfgs": {"max_trials": 5},
    "polyak_sgd": {"max_learning_rate": 0.1},
}
# Found by trying, where they are better here than what the rules recommend.
LEARNING_RATES = {
    "sgd": 0.03,
    "momentum": 0.003,
    "gradient_updates_momentum": 0.03,
    "nesterov_momentum": 0.003,
    "nesterov_lookahead": 0.003,
    "optimistic_gradient_descent": 0.03,
    "noisy_sgd": 0.03,
    "sign_sgd": 0.0002,
    "signum": 0.0002,
    "lion": 0.0002,
    "rprop": 0.0001,
    "adagrad": 0.01,
    "rmsprop": 0.002,
    "deepmind_rmsprop": 0.003,
    "graves_rmsprop": 0.001,
    "yogi": 0.003,
    "ademamix": 0.0003,
    "acprop": 0.0003,
    "laprop": 0.001,
    "mars": 0.001,
    "soap": 0.001,
    "momo": 0.1,
    "optimistic_adam": 0.0005,
    "lamb": 0.003,
    "novograd": 0.003,
    "muon": 0.01,
    "sm3": 0.03,
    "dowg": 0.7,
    "asgd": 0.03,
    "madgrad": 0.001,
    "sophia": 0.0003,
}


def _around(rule: Callable[..., Any], inside: str) -> Callable[..., Any]:
    """Return a rule around another one, whose learning rate is given."""

    def around(cost: Variable, params: list[Any], eta: float) -> Any:
        return rule(cost, params, getattr(updates, inside)(learning_rate=eta))

    return around


def _tuned() -> dict[str, tuple[Callable[..., Any], float]]:
    recommended = {entry.name: entry.first_rate.partition(",")[0] for entry in entries()}
    rates = {name: float(rate) for name, rate in recommended.items() if rate[0].isdigit()}
    rates |= LEARNING_RATES
    tuned = {}
    for name in public_names("updates.rules"):
        rule = getattr(updates, name)
        own = rule.__name__  # `momentum_updates` is `momentum`
        if "rule" in inspect.signature(rule).parameters:
            inside = INSIDE.get(own, "adam")
            tuned[name] = _around(rule, inside), rates.get(own, rates[inside])
        else:
            tuned[name] = rule(**SETTINGS[own]) if own in SETTINGS else rule, rates[own]
    return tuned


TUNED_RULES = _tuned()
