"""Compositions that are ready to use.

- ``advi_optimizer``: the safe choice for variational inference
"""

from updates.chain import Chain, chain
from updates.declaration import declared
from updates.gradients import clip_by_global_norm
from updates.kinds import Count, PositiveNumber
from updates.rules import adam
from updates.schedules import one_cycle
from updates.transforms import apply_if_finite


@declared
def advi_optimizer(
    n: Count, learning_rate: PositiveNumber = 0.1, max_norm: PositiveNumber = 100.0
) -> Chain:
    """Return an optimizer for variational inference that survives bad draws and ends calmly.

    ``chain(clip_by_global_norm(max_norm), adam(one_cycle(learning_rate, n)), apply_if_finite())``

    Draws far out, of which there are most at the start, give huge gradients, and without a bound
    these stay in Adam's second moment for thousands of iterations; a draw without a finite
    gradient is skipped; and the learning rate falls to nothing in the end, so that the noise of
    the draws does not keep the fit from its best.

    Parameters
    ----------
    n : int
        The number of iterations of the fit, > 0; the schedule ends there.
    learning_rate : float, optional
        The highest learning rate, finite and > 0, after three tenths of the iterations.
    max_norm : float, optional
        Gradients whose joint norm is above it are scaled down to it; finite and > 0.

    Returns
    -------
    Chain
        What waits for gradients and parameters: `obj_optimizer` of ``pm.fit``, `optimizer` of
        pymc-extras' ``fit_advi`` and ``Trainer``.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of the wrong kind; the message names it.

    See Also
    --------
    chain : to compose your own

    References
    ----------
    Kucukelbir et al. (2017), "Automatic Differentiation Variational Inference", JMLR 18,
    arXiv:1603.00788, for the problem; the parts name their own sources.

    Examples
    --------
    >>> import pytensor, updates
    >>> optimizer = updates.advi_optimizer(20_000)  # pm.fit(20_000, obj_optimizer=optimizer)
    >>> w = pytensor.shared(3.0, name="w")
    >>> step = pytensor.function([], updates=optimizer([2 * w], [w]))
    >>> _ = step()
    >>> round(float(w.get_value()), 6)
    2.996
    """
    return chain(
        clip_by_global_norm(max_norm=max_norm),
        adam(learning_rate=one_cycle(learning_rate, n)),
        apply_if_finite(),
    )
