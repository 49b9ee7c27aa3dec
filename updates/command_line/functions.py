"""The functions of two variables that rules are raced on.

- ``FUNCTIONS``: by name
- ``Function``: a formula, where walks start, and where they should end
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Point = tuple[float, float]


class Function(NamedTuple):
    """A function of ``x1`` and ``x2`` with a least value of 0.

    ``loss`` takes numbers, arrays and symbols. ``window`` is what a picture shows at least: the
    ends of the axis of ``x1`` and those of ``x2``.
    """

    formula: str
    loss: Callable[[Any, Any], Any]
    start: Point
    minima: tuple[Point, ...]
    window: tuple[Point, Point]

    def distance(self, point: np.ndarray) -> float:
        """Return how far a point is from the nearest minimum.

        Examples
        --------
        >>> FUNCTIONS["saddle"].distance(np.array([-2.0, 3.0]))
        3.0
        """
        return float(min(np.hypot(*(point - minimum)) for minimum in self.minima))


FUNCTIONS = {
    # A curved valley: its floor is found soon, the way along it is long. The usual start,
    # (-1.2, 1), is on the floor already.
    "rosenbrock": Function(
        "(1 - x1)^2 + 100*(x2 - x1^2)^2",
        lambda x1, x2: (1 - x1) ** 2 + 100 * (x2 - x1**2) ** 2,
        start=(-0.5, 2.5),
        minima=((1.0, 1.0),),
        window=((-2.0, 2.0), (-1.0, 3.0)),
    ),
    # A straight valley, 20 times as steep across as along.
    "valley": Function(
        "0.1*x1^2 + 2*x2^2",
        lambda x1, x2: 0.1 * x1**2 + 2 * x2**2,
        start=(-5.0, -2.0),
        minima=((0.0, 0.0),),
        window=((-6.0, 2.0), (-3.0, 3.0)),
    ),
    # A saddle at (0, 0) between two minima. The start is nearly on its ridge, x1 = 0, from which
    # plain gradient descent takes long to depart.
    "saddle": Function(
        "0.01*(x1^2 - 4)^2 + x2^2",
        lambda x1, x2: 0.01 * (x1**2 - 4) ** 2 + x2**2,
        start=(0.001, 2.0),
        minima=((-2.0, 0.0), (2.0, 0.0)),
        window=((-1.0, 3.0), (-1.5, 2.5)),
    ),
}
