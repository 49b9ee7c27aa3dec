"""Gradients: from a loss to gradients, and from gradients to gradients, one file an idea."""

from updates.gradients.clipping import (
    adaptive_clip,
    clip_by_global_norm,
    clip_by_norm,
    clip_by_value,
    normalize_gradients,
)
from updates.gradients.constraints import (
    centralize_gradients,
    get_or_compute_grads,
    norm_constraint,
    scale_gradients,
    total_norm_constraint,
    zero_nonfinite,
)
from updates.gradients.terms import add_gradient_noise, add_l1_penalty, add_weight_decay

__all__ = [
    "adaptive_clip",
    "add_gradient_noise",
    "add_l1_penalty",
    "add_weight_decay",
    "centralize_gradients",
    "clip_by_global_norm",
    "clip_by_norm",
    "clip_by_value",
    "get_or_compute_grads",
    "norm_constraint",
    "normalize_gradients",
    "scale_gradients",
    "total_norm_constraint",
    "zero_nonfinite",
]
