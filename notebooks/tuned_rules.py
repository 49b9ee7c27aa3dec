"""Every rule of ``updates`` with a learning rate that suits the network of ``digit_cnn.py``.

- ``TUNED_RULES``: for each name, the rule and its learning rate
"""

from collections.abc import Callable
from typing import Any

from pytensor.graph.basic import Variable

import updates


def sam_around_momentum(cost: Variable, params: list[Any], eta: float) -> Any:
    """Step as ``momentum_updates``, with the gradients at the worst point nearby."""
    return updates.sam(cost, params, updates.momentum_updates(learning_rate=eta))


def cautious_adamw(cost: Variable, params: list[Any], eta: float) -> Any:
    """Step as ``adamw`` where that goes down the gradient."""
    return updates.cautious(cost, params, updates.adamw(learning_rate=eta))


def schedule_free_rmsprop(cost: Variable, params: list[Any], eta: float) -> Any:
    """Average the points of ``rmsprop``."""
    return updates.schedule_free(cost, params, updates.rmsprop(learning_rate=eta))


def mechanized_adam(cost: Variable, params: list[Any], eta: float) -> Any:
    """Let the length of Adam's steps be found."""
    return updates.mechanize(cost, params, updates.adam(learning_rate=eta))


TUNED_RULES: dict[str, tuple[Callable[..., Any], float]] = {
    "sgd": (updates.sgd, 0.03),
    "momentum": (updates.momentum, 0.003),
    "momentum_updates": (updates.momentum_updates, 0.003),
    # Type checkers miss the learning rate, which comes later.
    "gradient_updates_momentum": (
        updates.gradient_updates_momentum(momentum=0.9),  # type: ignore[call-overload]
        0.03,
    ),
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
    "acprop": (updates.acprop, 0.0003),
    "laprop": (updates.laprop, 0.0005),
    "cautious": (cautious_adamw, 0.001),
    "adabelief": (updates.adabelief, 0.001),
    "yogi": (updates.yogi, 0.003),
    "adan": (updates.adan, 0.001),
    "mars": (updates.mars, 0.001),
    "adopt": (updates.adopt, 0.001),
    "ademamix": (updates.ademamix(beta3=0.999), 0.0003),
    "optimistic_adam": (updates.optimistic_adam, 0.0005),
    "lars": (updates.lars, 1.0),
    "lamb": (updates.lamb, 0.003),
    "novograd": (updates.novograd, 0.003),
    "fromage": (updates.fromage, 0.03),
    "muon": (updates.muon(adam_learning_rate=0.001), 0.01),
    "soap": (updates.soap, 0.001),
    "shampoo": (updates.shampoo(update_interval=10, adam_learning_rate=0.001), 0.03),
    "adafactor": (updates.adafactor(min_dim_size_to_factor=20), 0.01),
    "sm3": (updates.sm3, 0.03),
    "dog": (updates.dog(initial_step=0.01), 1.0),
    "dowg": (updates.dowg, 0.7),
    "prodigy": (updates.prodigy, 1.0),
    "dadapt_adamw": (updates.dadapt_adamw(initial_distance=1e-4), 1.0),
    "cocob": (updates.cocob, 1.0),
    "momo": (updates.momo, 0.1),
    "momo_adam": (updates.momo_adam, 0.003),
    "mechanize": (mechanized_adam, 1.0),
    "schedule_free": (schedule_free_rmsprop, 0.001),
    "lbfgs": (updates.lbfgs(max_trials=5), 1.0),
    "polyak_sgd": (updates.polyak_sgd(max_learning_rate=0.1), 1.0),
    "asgd": (updates.asgd, 0.03),
    "schedule_free_sgd": (updates.schedule_free_sgd, 0.1),
    "schedule_free_adamw": (updates.schedule_free_adamw, 0.0025),
    "madgrad": (updates.madgrad, 0.001),
    "sophia": (updates.sophia, 0.0003),
    "esgd": (updates.esgd, 0.01),
}
