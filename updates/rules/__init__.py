"""Rules: from a loss or gradients to an ``OrderedDict`` of updates, one file a family."""

from updates.rules.adagrad import adadelta, adagrad, adagrad_window
from updates.rules.adam import adam, adamax, amsgrad
from updates.rules.adamw import adamaxw, adamw, ademamix
from updates.rules.averaging import asgd, madgrad, schedule_free_adamw, schedule_free_sgd
from updates.rules.curvature import esgd, sophia
from updates.rules.distance import dog, dowg, polyak_sgd, prodigy
from updates.rules.elsewhere import nesterov_lookahead, sam
from updates.rules.factored import adafactor, sm3
from updates.rules.gradient_descent import (
    gradient_updates_momentum,
    momentum,
    momentum_updates,
    nesterov_momentum,
    sgd,
)
from updates.rules.layerwise import fromage, lamb, lars, novograd
from updates.rules.muon import muon
from updates.rules.nesterov_adam import adan, nadam, nadamw, optimistic_adam
from updates.rules.perturbed import noisy_sgd, optimistic_gradient_descent
from updates.rules.rmsprop import deepmind_rmsprop, graves_rmsprop, rmsprop
from updates.rules.rprop import rprop
from updates.rules.second_moments import adabelief, adopt, radam, yogi
from updates.rules.sign import lion, sign_sgd, signum

__all__ = [
    "adabelief",
    "adadelta",
    "adafactor",
    "adagrad",
    "adagrad_window",
    "adam",
    "adamax",
    "adamaxw",
    "adamw",
    "adan",
    "ademamix",
    "adopt",
    "amsgrad",
    "asgd",
    "deepmind_rmsprop",
    "dog",
    "dowg",
    "esgd",
    "fromage",
    "gradient_updates_momentum",
    "graves_rmsprop",
    "lamb",
    "lars",
    "lion",
    "madgrad",
    "momentum",
    "momentum_updates",
    "muon",
    "nadam",
    "nadamw",
    "nesterov_lookahead",
    "nesterov_momentum",
    "noisy_sgd",
    "novograd",
    "optimistic_adam",
    "optimistic_gradient_descent",
    "polyak_sgd",
    "prodigy",
    "radam",
    "rmsprop",
    "rprop",
    "sam",
    "schedule_free_adamw",
    "schedule_free_sgd",
    "sgd",
    "sign_sgd",
    "signum",
    "sm3",
    "sophia",
    "yogi",
]
