"""Symbolic update rules for PyTensor: training is a dictionary.

Rules (loss or gradients, parameters -> OrderedDict of shared variable -> next value):
    sgd, momentum = momentum_updates, gradient_updates_momentum, nesterov_momentum,
    adagrad, adagrad_window, adadelta, rmsprop, deepmind_rmsprop, graves_rmsprop,
    adam, adamax, amsgrad

Update transforms (OrderedDict -> OrderedDict):
    apply_momentum, apply_nesterov_momentum

Gradients (loss -> gradients, gradients -> gradients):
    get_or_compute_grads, norm_constraint, total_norm_constraint

State:
    is_state
"""

from updates import jax_dtypes as jax_dtypes  # registers its rewrite
from updates.call import Deferred
from updates.gradients import get_or_compute_grads, norm_constraint, total_norm_constraint
from updates.rules import (
    adadelta,
    adagrad,
    adagrad_window,
    adam,
    adamax,
    amsgrad,
    deepmind_rmsprop,
    gradient_updates_momentum,
    graves_rmsprop,
    momentum,
    momentum_updates,
    nesterov_momentum,
    rmsprop,
    sgd,
)
from updates.state import is_state
from updates.transforms import apply_momentum, apply_nesterov_momentum

__version__ = "0.1.0"

__all__ = [
    "Deferred",
    "adadelta",
    "adagrad",
    "adagrad_window",
    "adam",
    "adamax",
    "amsgrad",
    "apply_momentum",
    "apply_nesterov_momentum",
    "deepmind_rmsprop",
    "get_or_compute_grads",
    "gradient_updates_momentum",
    "graves_rmsprop",
    "is_state",
    "momentum",
    "momentum_updates",
    "nesterov_momentum",
    "norm_constraint",
    "rmsprop",
    "sgd",
    "total_norm_constraint",
]
