"""Line searches: how far to go along a direction.

- ``LineSearch``: the strong Wolfe conditions, by a bracket that is narrowed (zoom)
- ``Found``: where it ended
- ``norm``: the length of a vector

The search is a loop within the compiled function, which ends at the first good point.
"""

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.graph.basic import Apply, Variable
from pytensor.graph.fg import FunctionGraph
from pytensor.scan.utils import until

from updates.call import Tensor
from updates.norms import is_finite, ratio
from updates.private import JAX_SEARCH

NAME = "line_search"


class Found(NamedTuple):
    """Where a line search ended: the best point along the direction, 0 if none was good."""

    along: Any
    loss: Any
    gradient: Any
    is_good: Any
    trials: Any


class _Trial(NamedTuple):
    """A point along the direction, the loss there, and its slope."""

    along: Any
    loss: Any
    slope: Any

    @classmethod
    def finite(cls, along: Any, loss: Any, slope: Any) -> "_Trial":
        """Return a trial, infinitely high where its loss or slope is not finite."""
        is_number = is_finite(loss) & is_finite(slope)
        return cls(along, pt.switch(is_number, loss, np.inf), pt.switch(is_number, slope, 0))

    @classmethod
    def chosen(cls, condition: Any, first: "_Trial", second: "_Trial") -> "_Trial":
        """Choose one of two."""
        return cls(*(pt.switch(condition, a, b) for a, b in zip(first, second, strict=True)))


class LineSearch(NamedTuple):
    """A search for a point along a direction that meets the strong Wolfe conditions.

    Longer and longer steps are tried until an interval must hold a good point; then the interval is
    narrowed. ``low`` is the end of it with the least loss so far, ``high`` the other end.
    """

    evaluated: Callable[[Tensor], tuple[Tensor, Tensor]]
    sufficient_decrease: Any
    curvature: Any
    max_trials: int

    def run(
        self,
        start: Tensor,
        direction: Tensor,
        here: tuple[Tensor, Tensor, Tensor],
        first: Tensor,
        is_flat: Tensor,
    ) -> Found:
        """Evaluate trial points until one is good."""
        loss, slope, gradient = here
        dtype = start.type.dtype
        zero = pt.zeros((), dtype)
        is_hopeless = is_flat | ~is_finite(loss) | ~is_finite(slope)
        # The distance along the direction below which points are the same.
        resolution = np.finfo(dtype).eps * ratio(pt.max(abs(start)), pt.max(abs(direction)))
        no = pt.constant(0, dtype="int8")
        none_yet = _Trial(zero, loss, slope)
        begin = [no, no, no, pt.cast(first, dtype), *none_yet, *none_yet, gradient]
        begin.append(pt.constant(0, dtype="int64"))
        around = [start, direction, loss, slope, is_hopeless, resolution]

        def trial(*arguments: Any) -> Any:
            """Make one trial. Once the search is over, change nothing: JAX goes on."""
            carried = arguments[: len(begin)]
            is_over, is_bracketed, _, along, *ends, best, trials = carried
            low, high = _Trial(*ends[:3]), _Trial(*ends[3:])
            start, direction, loss, slope, is_hopeless, resolution = arguments[len(begin) :]
            there, gradient = self.evaluated(start + along * direction)
            tried = _Trial.finite(along, there, pt.dot(gradient, direction))

            is_high, is_good = self._judged(tried, _Trial(zero, loss, slope), low)
            is_bracketed = pt.eq(is_bracketed, 1)
            is_past = tried.slope * pt.switch(is_bracketed, high.along - low.along, 1) >= 0
            beyond = self._beyond(low, tried)
            high = _Trial.chosen(is_high, tried, _Trial.chosen(is_past, low, high))
            is_better = ~is_high | is_good
            low = _Trial.chosen(is_better, tried, low)
            best = pt.switch(is_better, gradient, best)
            is_bracketed = is_bracketed | is_high | is_past
            following = pt.switch(is_bracketed, self._between(low, high), beyond)
            is_spent = is_bracketed & (abs(high.along - low.along) <= resolution)

            ends_now = is_good | is_spent | is_hopeless
            flags = [pt.cast(flag, "int8") for flag in (ends_now, is_bracketed, is_good)]
            new = [*flags, following, *low, *high, best, trials + 1]
            was_over = pt.eq(is_over, 1)
            pairs = zip(carried, new, strict=True)
            return [pt.switch(was_over, old, value) for old, value in pairs], until(ends_now)

        # Without a mode, the loop would be optimized and compiled to C even in FAST_COMPILE.
        mode: Any = "FAST_COMPILE" if pytensor.config.mode == "FAST_COMPILE" else None
        with warnings.catch_warnings():
            # From PyTensor 3.3 on: that the loop takes after the function, which it does not here.
            warnings.simplefilter("ignore", FutureWarning)
            histories = pytensor.scan(
                trial,
                outputs_info=begin,
                non_sequences=around,
                n_steps=self.max_trials,
                mode=mode,
                name=NAME,
                return_updates=False,
            )
        _, _, is_good, _, along, loss, *_, best, trials = (history[-1] for history in histories)
        return Found(along, loss, best, pt.eq(is_good, 1), trials)

    def _judged(self, tried: _Trial, here: _Trial, low: _Trial) -> tuple[Any, Any]:
        """Tell whether a trial is too high, and whether it is good.

        Where losses differ by their rounding only, the slopes tell.
        """
        line = here.loss + self.sufficient_decrease * tried.along * here.slope
        is_high = ~(tried.loss <= line) | ((tried.loss >= low.loss) & (low.along > 0))
        rounding = 4 * np.finfo(here.loss.type.dtype).eps * abs(here.loss)
        is_level = (abs(tried.loss - here.loss) <= rounding) & (
            tried.slope <= (2 * self.sufficient_decrease - 1) * here.slope
        )
        is_less_steep = abs(tried.slope) <= -self.curvature * here.slope
        return is_high & ~is_level, (~is_high | is_level) & is_less_steep

    def _beyond(self, low: _Trial, tried: _Trial) -> Any:
        """Return a longer step, where the cubic has its minimum if that is not too far."""
        least = tried.along + 0.1 * (tried.along - low.along)
        return pt.clip(_cubic_minimum(low, tried, 10 * tried.along), least, 10 * tried.along)

    def _between(self, low: _Trial, high: _Trial) -> Any:
        """Return a point inside of an interval, not too close to its ends."""
        middle = (low.along + high.along) / 2
        cubic = pt.switch(pt.isinf(high.loss), middle, _cubic_minimum(low, high, middle))
        margin = 0.1 * abs(high.along - low.along)
        left, right = pt.minimum(low.along, high.along), pt.maximum(low.along, high.along)
        return pt.clip(cubic, left + margin, right - margin)


def _cubic_minimum(first: _Trial, second: _Trial, otherwise: Any) -> Any:
    """Return where the cubic with two losses and slopes has its minimum, if it has one."""
    way = second.along - first.along
    middle = first.slope + second.slope - 3 * ratio(second.loss - first.loss, way)
    radicand = middle**2 - first.slope * second.slope
    root = pt.sign(way) * pt.sqrt(pt.maximum(radicand, 0))
    divisor = second.slope - first.slope + 2 * root
    share = ratio(second.slope + root - middle, divisor)
    has_minimum = (radicand >= 0) & pt.neq(divisor, 0) & is_finite(share)
    return pt.switch(has_minimum, second.along - way * share, otherwise)


def register() -> None:
    """Let a search under JAX make all of its trials, which its loops cannot leave out."""
    from pytensor.compile.mode import optdb
    from pytensor.graph.rewriting.basic import in2out, node_rewriter
    from pytensor.scan.op import Scan

    @node_rewriter([Scan])
    def jax_line_search(_: FunctionGraph, node: Apply) -> list[Variable] | None:
        """Take the end out of a line search."""
        with JAX_SEARCH.optional():
            op: Any = node.op
            if op.name != NAME or not op.info.as_while:
                return None
            info = replace(op.info, as_while=False)
            graph = op.fgraph.unfreeze() if hasattr(op.fgraph, "unfreeze") else op.fgraph.clone()
            endless = Scan(graph.inputs, graph.outputs[:-1], info, mode=op.mode, name=NAME)
            return list(endless.make_node(*node.inputs).outputs)
        return None

    optdb.register("jax_line_search", in2out(jax_line_search), "jax", position=0.1)


with JAX_SEARCH.optional():
    register()


def norm(vector: Tensor) -> Tensor:
    """Return the length of a vector."""
    return pt.sqrt(pt.dot(vector, vector))
