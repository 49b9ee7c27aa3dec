"""Compositions that are ready to use.

- ``advi_optimizer``: the safe choice for variational inference
"""

from updates.chain import Chain, chain
from updates.declaration import declared
from updates.gradients.clipping import clip_by_global_norm
from updates.kinds import Count, NonNegative, Positive
from updates.rules.adam import adam
from updates.schedules import one_cycle
from updates.transforms.conditions import apply_if_finite


@declared
def advi_optimizer(
    n: Count, learning_rate: NonNegative = 0.1, max_norm: Positive = 100.0
) -> Chain:
    """Return an optimizer of the ELBO that needs no tuning and survives bad draws.

    ``chain(clip_by_global_norm(max_norm), adam(one_cycle(learning_rate, n)), apply_if_finite())``
    """
    return chain(
        clip_by_global_norm(max_norm=max_norm),
        adam(learning_rate=one_cycle(learning_rate, n)),
        apply_if_finite(),
    )
