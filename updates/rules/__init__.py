"""Rules: from a loss or gradients to an ``OrderedDict`` of updates, one file a family."""

from updates.rules.adagrad import adadelta, adagrad, adagrad_window
from updates.rules.adam import adam, adamax, amsgrad
from updates.rules.gradient_descent import (
    gradient_updates_momentum,
    momentum,
    momentum_updates,
    nesterov_momentum,
    sgd,
)
from updates.rules.rmsprop import deepmind_rmsprop, graves_rmsprop, rmsprop

__all__ = [
    "adadelta",
    "adagrad",
    "adagrad_window",
    "adam",
    "adamax",
    "amsgrad",
    "deepmind_rmsprop",
    "gradient_updates_momentum",
    "graves_rmsprop",
    "momentum",
    "momentum_updates",
    "nesterov_momentum",
    "rmsprop",
    "sgd",
]
