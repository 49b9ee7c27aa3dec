"""Quasi-Newton rules: they learn the curvature of the loss from its gradients.

- ``lbfgs``: limited-memory BFGS with a line search

One call is one iteration: the loss and its gradient are evaluated at trial points within the
compiled function, in a loop that ends as soon as one is good.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytensor.tensor as pt
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.replace import clone_replace
from pytensor.graph.traversal import graph_inputs
from pytensor.tensor.type import TensorType

from updates import provenance
from updates.call import Call, Tensor
from updates.conditional import ifelse
from updates.kinds import Count, Fraction, LearningRate, NonNegative
from updates.line_search import LineSearch, norm
from updates.loss_graph import draws
from updates.norms import ratio
from updates.rule import joint_rule

GOLDEN_RATIO = 0.6180339887498949


@joint_rule(needs_loss="a line search evaluates it at trial points")
def lbfgs(
    call: Call,
    learning_rate: LearningRate = 1.0,
    memory: Count = 10,
    max_trials: Count = 25,
    tolerance: NonNegative = 1e-7,
    sufficient_decrease: Fraction = 1e-4,
    curvature: Fraction = 0.9,
) -> None:
    """L-BFGS: Newton's steps by a curvature that is learned, as long as a line search finds good.

    - ``d = -H*g``
    - ``p' = p + a*d``

    ``H`` is made of the last `memory` steps and the changes of the gradient that came with them.
    ``a`` meets the strong Wolfe conditions,
    ``f(p + a*d) <= f(p) + sufficient_decrease*a*sum(g*d)`` and
    ``abs(sum(g(p + a*d)*d)) <= curvature*abs(sum(g*d))``.

    The loss must be that of all data, without random draws: a line search on mini-batches follows
    their noise. The first ``a`` that is tried is the learning rate (where ``H`` is not known yet,
    times ``1 / norm(g)`` if that is less than 1). While the loss still falls steeply, longer steps
    are tried; once an interval holds a good ``a``, cubic interpolation closes in on it (zoom).
    Trials that are not finite are too long.

    The loss and the gradient of the point that was reached are kept for the next call, which
    evaluates them anew only where the parameters, or a number that tells apart other data, have
    changed since. In numba mode before PyTensor 3.3 they are always evaluated.

    when : full batches: MAP estimates, small models; 1
    learning_rate : first trial of each search; 1 is right for nearly all losses
    memory : number of steps that ``H`` is made of
    max_trials : points that are tried in one call at most. If none of them is good, the best one
        that lowers the loss enough is taken, or the parameters stay and ``H`` begins anew; either
        way ``failed`` is 1
    tolerance : largest element of the gradient at which nothing more is done
    sufficient_decrease : share of the decrease that the slope promises; below `curvature`
    curvature : share of the slope that may be left
    state : for the whole call steps, gradient_changes, curvatures, pairs, point, gradient, loss,
        data; evaluations of the last call, and whether its search failed

    `sgd` : for mini-batches
    `adam` : for noise

    Liu, Nocedal (1989), "On the limited memory BFGS method for large scale optimization",
    Mathematical Programming 45; the search is that of Nocedal, Wright (2006), "Numerical
    Optimization", algorithms 3.5 and 3.6.

    >>> import numpy as np, pytensor
    >>> from updates import lbfgs
    >>> x = pytensor.shared(np.array([-1.2, 1.0]), name="x")
    >>> loss = (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2
    >>> rule = lbfgs(loss, x)
    >>> step = pytensor.function([], updates=rule)
    >>> for _ in range(40):
    ...     _ = step()
    >>> x.get_value().round(6).tolist()
    [1.0, 1.0]
    """
    _check_is_the_same_in_every_call(call.loss)
    vectors = _Vectors(call)
    kept, history = _Kept(vectors), _History(vectors, memory)
    loss, gradient = kept.here()
    direction, slope = history.descent(gradient)
    is_flat = pt.max(abs(gradient)) <= tolerance
    shortened = pt.minimum(1, ratio(pt.constant(1.0), norm(direction)))
    first = learning_rate * pt.switch(history.pairs > 0, 1, shortened)
    search = LineSearch(vectors.evaluated, sufficient_decrease, curvature, max_trials)
    found = search.run(kept.start, direction, (loss, slope, gradient), first, is_flat)

    names = {"all_p": kept.start, "all_g": gradient, "d": direction}
    names |= dict(zip(("a", "f_a", "g_a", "good", "trials"), found, strict=True))
    for symbol, variable in names.items():
        provenance.mark(variable, symbol=symbol)
    moves = (found.along > 0) & ~is_flat
    parts = vectors.parts(kept.start + found.along * direction)
    reached = [
        provenance.reads_as(pt.switch(moves, part, param), 1)
        for part, param in zip(parts, call.params, strict=True)
    ]
    point, gradient_there = vectors.joined(reached), pt.switch(moves, found.gradient, gradient)
    failed = ~found.is_good & ~is_flat
    is_stuck = failed & ~moves
    history.add(point - kept.start, gradient_there - gradient, moves, is_stuck)
    kept.keep(point, gradient_there, pt.switch(moves, found.loss, loss), is_stuck)
    for slot, value in (
        ("evaluations", found.trials + pt.cast(~kept.is_known, "int64")),
        ("failed", failed),
    ):
        call.update(call.array(slot, dtype="int64"), pt.cast(value, "int64"))
    for state, value in zip(call.states, reached, strict=True):
        state.update(state.param, value)


class _Vectors:
    """The elements of all parameters as one vector, and the loss as a function of it."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.shapes = [owner.get_value(borrow=True).shape for owner in call.owners]
        self.size = sum(math.prod(shape) for shape in self.shapes)

    def joined(self, tensors: Sequence[Tensor]) -> Tensor:
        """Return tensors like the parameters as a vector of the dtype of the call."""
        parts = [pt.flatten(provenance.cast(tensor, self.call.dtype)) for tensor in tensors]
        return pt.specify_shape(pt.concatenate(parts), (self.size,))

    def parts(self, vector: Tensor) -> list[Any]:
        """Return what `joined` made one vector of, each part in the type of its parameter."""
        parts, begin = [], 0
        for param, shape in zip(self.call.params, self.shapes, strict=True):
            end = begin + math.prod(shape)
            part = provenance.cast(pt.reshape(vector[begin:end], shape), param.type.dtype)
            parts.append(part)
            begin = end
        return parts

    def evaluated(self, point: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss and its gradient at a point."""
        given = dict(zip(self.call.params, self.parts(point), strict=True))
        loss, *grads = clone_replace([self.call.loss, *self.call.grads], given)
        return pt.cast(loss, self.call.dtype), self.joined(grads)


class _Kept:
    """The point that the last call reached, and what the loss and its gradient were there.

    They hold as long as the parameters are that point, and the loss depends on the same data.
    """

    def __init__(self, vectors: _Vectors) -> None:
        call = self.call = vectors.call
        self.vectors, self.start = vectors, vectors.joined(call.params)
        self.data = _fingerprint(call)
        self.states = [
            call.array("point", (vectors.size,)),
            call.array("gradient", (vectors.size,)),
            call.array("loss"),
            call.array("data"),
        ]
        point, _, _, data = self.states
        is_known = pt.all(pt.eq(self.start, point)) & pt.eq(self.data, data)
        self.is_known = is_known & (call.step > 0)

    def here(self) -> tuple[Tensor, Tensor]:
        """Return the loss and its gradient at the parameters."""
        _, gradient, loss, _ = self.states
        anew = pt.cast(self.call.loss, self.call.dtype), self.vectors.joined(self.call.grads)
        found: Any = ifelse(self.is_known, [loss, gradient], list(anew))
        # Inputs are the condition, and what holds if it does, then what holds if it does not.
        return provenance.reads_as(found[0], 3), provenance.reads_as(found[1], 4)

    def keep(self, point: Tensor, gradient: Tensor, loss: Tensor, is_doubtful: Tensor) -> None:
        """Keep them for the next call, unless that had better evaluate them anew."""
        data = pt.switch(is_doubtful, self.data + 1, self.data)
        for state, value in zip(self.states, (point, gradient, loss, data), strict=True):
            self.call.update(state, value)


def _fingerprint(call: Call) -> Tensor:
    """Return a number that tells apart what else the loss depends on: sums with uneven weights.

    NaN, which no number equals, where something is no tensor of numbers.
    """
    params = {*call.params, *call.owners}
    total, before = pt.zeros((), call.dtype), pt.zeros((), call.dtype)
    for leaf in graph_inputs([call.loss]):
        if isinstance(leaf, Constant) or leaf in params:
            continue
        if not isinstance(leaf.type, TensorType) or leaf.type.dtype.startswith("complex"):
            return pt.constant(np.nan, dtype=call.dtype)
        values = pt.flatten(pt.cast(leaf, call.dtype))
        # Whatever is no number counts as one, as masks and bounds may be infinite.
        values = pt.switch(pt.isinf(values), pt.sign(values) * np.e, values)
        values = pt.switch(pt.isnan(values), np.pi, values)
        places = before + pt.cumsum(pt.ones_like(values))
        total = total + pt.sum(values * (places * GOLDEN_RATIO % 1))
        before = before + pt.cast(values.size, call.dtype)
    return total


def _check_is_the_same_in_every_call(loss: Variable) -> None:
    if draws(loss):
        raise ValueError(
            "the loss draws random numbers (dropout, noise, variational inference), and a line "
            "search needs the same loss at all points; leave them out, or use a rule such as adam"
        )


class _History:
    """The last steps and changes of the gradient, of which the curvature is made.

    They are rows that are written in turn. ``pairs`` counts those that were ever written.
    """

    def __init__(self, vectors: _Vectors, memory: int) -> None:
        call = self.call = vectors.call
        self.memory = memory
        self.steps = call.array("steps", (memory, vectors.size))
        self.changes = call.array("gradient_changes", (memory, vectors.size))
        self.curvatures = call.array("curvatures", (memory,))
        self.pairs = call.array("pairs", dtype="int64")

    def descent(self, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``-H*g`` and the slope along it, by the two loops of L-BFGS; at worst ``-g``."""
        rows = [(self.pairs - 1 - k) % self.memory for k in range(self.memory)]
        weights = [
            pt.switch(self.pairs > k, ratio(pt.constant(1.0), self.curvatures[row]), 0)
            for k, row in enumerate(rows)
        ]
        left, factors = gradient, []
        for row, weight in zip(rows, weights, strict=True):
            factor = weight * pt.dot(self.steps[row], left)
            left = left - factor * self.changes[row]
            factors.append(factor)
        last = self.changes[rows[0]]
        scale = ratio(self.curvatures[rows[0]], pt.dot(last, last))
        left = pt.switch(self.pairs > 0, scale, 1) * left
        for row, weight, factor in reversed(list(zip(rows, weights, factors, strict=True))):
            left = left + (factor - weight * pt.dot(self.changes[row], left)) * self.steps[row]
        slope = -pt.dot(gradient, left)
        is_downhill = slope < 0
        steepest = -pt.dot(gradient, gradient)
        return pt.switch(is_downhill, -left, -gradient), pt.switch(is_downhill, slope, steepest)

    def add(self, step: Tensor, change: Tensor, moves: Tensor, begins_anew: Tensor) -> None:
        """Write a pair down if the curvature along it is positive."""
        product = pt.dot(step, change)
        least = np.finfo(self.call.dtype).eps * pt.dot(change, change)
        is_kept = moves & (product > least)
        row = self.pairs % self.memory
        for state, value in (
            (self.steps, step),
            (self.changes, change),
            (self.curvatures, product),
        ):
            kept = pt.switch(is_kept, value, state[row])
            self.call.update(state, pt.set_subtensor(state[row], kept))
        self.call.update(self.pairs, pt.switch(begins_anew, 0, self.pairs + is_kept))
