"""Update transforms: from a dictionary of updates to a new one, one file an idea.

They copy: the dictionary that they are given stays as it is. It may also come as a plain dict
or as a list of pairs.
"""

from updates.transforms.averages import apply_ema, apply_lookahead, averages, use_averages
from updates.transforms.bounds import apply_bounds, apply_norm_constraint, apply_weight_decay
from updates.transforms.conditions import accumulate_gradients, apply_if_finite, reduce_on_plateau
from updates.transforms.groups import freeze, merge_updates
from updates.transforms.momentum import apply_momentum, apply_nesterov_momentum

__all__ = [
    "accumulate_gradients",
    "apply_bounds",
    "apply_ema",
    "apply_if_finite",
    "apply_lookahead",
    "apply_momentum",
    "apply_nesterov_momentum",
    "apply_norm_constraint",
    "apply_weight_decay",
    "averages",
    "freeze",
    "merge_updates",
    "reduce_on_plateau",
    "use_averages",
]
