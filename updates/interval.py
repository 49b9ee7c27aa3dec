"""Intervals: the numbers that a hyperparameter admits.

- ``Interval``: the numbers in words and as bounds, and the check of a given one
- ``FINITE``, ``NON_NEGATIVE``, ``POSITIVE``, ``FRACTION``, ``SHARE``, ``AT_LEAST_ONE``,
  ``NON_NEGATIVE_OR_INFINITE``: those that hyperparameters need
"""

import math
from typing import Any, NamedTuple


class Interval(NamedTuple):
    """The numbers that a hyperparameter admits: in words, and as bounds."""

    words: str
    low: float = -math.inf
    high: float = math.inf
    has_low: bool = False
    has_high: bool = False

    def admits(self, number: float) -> bool:
        """Tell whether a number is in the interval, which no NaN is."""
        above = self.low <= number if self.has_low else self.low < number
        below = number <= self.high if self.has_high else number < self.high
        return above and below

    def check(self, name: str, value: Any, remark: str = "") -> None:
        """Refuse a number outside of the interval."""
        try:
            number = float(value)
        except OverflowError:  # an int beyond all floats
            number = math.inf
        if not self.admits(number):
            raise ValueError(f"{name} must be {self.words}, got {value}{remark}")

    @property
    def adjective(self) -> str:
        """The words as they stand behind a noun: ``finite and >= 0``."""
        words = self.words.removeprefix("a ").replace("number", "and").strip()
        return words.removeprefix("and ").removesuffix(" and")


FINITE = Interval("a finite number")
NON_NEGATIVE = Interval("a finite number >= 0", low=0, has_low=True)
POSITIVE = Interval("a finite number > 0", low=0)
FRACTION = Interval("in [0, 1)", low=0, high=1, has_low=True)
SHARE = Interval("in [0, 1]", low=0, high=1, has_low=True, has_high=True)
AT_LEAST_ONE = Interval("a finite number >= 1", low=1, has_low=True)
NON_NEGATIVE_OR_INFINITE = Interval("a number >= 0", low=0, has_low=True, has_high=True)
