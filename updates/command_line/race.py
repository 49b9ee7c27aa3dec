"""Walks of rules on a function of two variables, and the table of how they ended.

- ``race``: the walk of each entrant
- ``table_text``: the walks as a table, the best first
- ``checked_entrants``: rules and learning rates from what was typed
- ``Walker``: a rule on a function, compiled once for all learning rates
- ``Walk``: the points that a rule went through, and what became of the loss
- ``Entrant``: a rule and its learning rate, if it was given
- ``RATES``: the learning rates to choose from otherwise

An entrant without a learning rate gets the best one of a grid. Best is, of the walks that never
rise above the loss at the start, the one whose largest loss in its last tenth is least: one that
jumps far away and comes back, or ends well by accident, is no good walk.
"""

import inspect
import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import pytensor

import updates
from updates import provenance, rules
from updates.command_line.errors import CommandError, unknown
from updates.command_line.functions import Function
from updates.declaration import public_names
from updates.kinds import REQUIRED, LearningRate, kind_in

# Learning rates to choose from: eight a decade, with as many digits as a table shows. None is
# round: steps of 1 or 0.5 along signs would land on a minimum by accident.
RATES = [float(f"{10 ** ((eighth + 0.5) / 8):.2g}") for eighth in range(-32, 24)]

# Part of the loss at the start that the table counts the steps to.
_SHARE = 0.01


_RATE: Any = kind_in(LearningRate)[0]


class Entrant(NamedTuple):
    """A rule by name, and its learning rate unless the best one is to be found."""

    rule: str
    learning_rate: float | None = None


class Walk(NamedTuple):
    """What a rule did: the points from the start on, and the loss at each of them.

    ``searched`` tells whether the learning rate is the best one of the grid.
    """

    rule: str
    learning_rate: float
    points: np.ndarray
    losses: np.ndarray
    searched: bool = False

    @property
    def end(self) -> float:
        """The last loss; infinity if the walk left the numbers."""
        return float(self.losses[-1])

    @property
    def worst_of_the_end(self) -> float:
        """The largest loss of the last tenth of the walk."""
        return float(self.losses[-max(1, len(self.losses) // 10) :].max())

    def steps_to(self, loss: float) -> int | None:
        """Return after how many steps the loss is first at most this, if it ever is."""
        reached = np.flatnonzero(self.losses <= loss)
        return int(reached[0]) if len(reached) else None


class Walker:
    """A rule on a function of two variables, compiled once for all learning rates.

    Parameters
    ----------
    function : Function
        Where to walk.
    rule : str
        The name of a rule. Those that go around another one go around `sgd`.
    **settings
        Other hyperparameters; the rule's defaults otherwise, and 0.9 for a momentum without one.

    Examples
    --------
    >>> from updates.command_line import FUNCTIONS
    >>> walk = Walker(FUNCTIONS["valley"], "sgd").walk(learning_rate=0.25, steps=2)
    >>> walk.points.tolist()
    [[-5.0, -2.0], [-4.75, 0.0], [-4.5125, 0.0]]
    """

    def __init__(self, function: Function, rule: str, **settings: Any) -> None:
        self.function = function
        self.rule = rule
        # A matrix of one row, because muon has its own way with matrices only.
        self._x = pytensor.shared(np.array([function.start]), name="x")
        self._rate = pytensor.shared(np.array(0.0), name="learning_rate")
        loss = function.loss(self._x[0, 0], self._x[0, 1])
        with pytensor.config.change_flags(mode="FAST_COMPILE"):  # the loops of rules, too
            self._updates = rule_at(rule, self._rate, **settings)(loss, [self._x])
            self._step = pytensor.function([], updates=self._updates)
        averages = (v for v in self._updates if provenance.of(v).average_of is not None)
        self._where: Any = next(averages, self._x)

    def walk(self, learning_rate: float, steps: int, bound: float = math.inf) -> Walk:
        """Walk from the start; the averages, where the rule keeps any.

        A walk whose loss exceeds the bound or is no number ends there, with an infinite loss.
        """
        self._rate.set_value(np.array(learning_rate))
        self._x.set_value(np.array([self.function.start]))
        updates.reset(self._updates)
        points = [self._where.get_value()[0]]
        losses = [self.function.loss(*points[0])]
        with np.errstate(all="ignore"):
            while len(points) <= steps and losses[-1] < math.inf:
                self._step()
                points.append(self._where.get_value()[0])
                loss = self.function.loss(*points[-1])
                losses.append(loss if loss <= bound else math.inf)
        return Walk(self.rule, learning_rate, np.array(points), np.array(losses))

    def best(self, steps: int) -> Walk:
        """Walk at all learning rates of the grid, and return the walk at the best one."""
        bound = self.function.loss(*self.function.start)
        walks = [self.walk(rate, steps, bound) for rate in RATES]
        best = min(walks, key=lambda walk: walk.worst_of_the_end)
        return self.walk(best.learning_rate, steps)._replace(searched=True)


def race(
    function: Function,
    entrants: Iterable[Entrant],
    steps: int,
    report: Callable[[str], None] = lambda rule: None,
) -> list[Walk]:
    """Walk with every entrant.

    Parameters
    ----------
    function : Function
        Where to walk.
    entrants : iterable of Entrant
        Who walks.
    steps : int
        How far, > 0.
    report : callable, optional
        Is given the name of each rule before it starts.

    Returns
    -------
    list of Walk
        The lowest loss at the end first.
    """
    walks = []
    for rule, learning_rate in entrants:
        report(rule)
        walker = Walker(function, rule)
        walks.append(
            walker.best(steps) if learning_rate is None else walker.walk(learning_rate, steps)
        )
    return sorted(walks, key=lambda walk: walk.end)


def table_text(function: Function, walks: list[Walk], steps: int) -> str:
    """Lay out how the walks ended, one line each."""
    share = _SHARE * function.loss(*function.start)
    rows = [("rule", "learning rate", f"loss after {steps}", "distance", "steps to 1%")]
    rows += [
        (
            walk.rule,
            f"{walk.learning_rate:g}{'*' if walk.searched else ' '}",
            *(
                (f"{walk.end:.2g}", f"{function.distance(walk.points[-1]):.2g}")
                if math.isfinite(walk.end)
                else ("diverged", "-")
            ),
            str(walk.steps_to(share) or "-"),
        )
        for walk in walks
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    notes = f"""
distance: from the last point to the nearest minimum, where the loss is 0
1%: of the loss at the start, {share / _SHARE:.3g}
"""
    if any(walk.searched for walk in walks):
        notes += "*: the best learning rate from 0.0001 to 1000, eight a decade\n"
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]]) + "\n" + notes


def checked_entrants(text: str) -> list[Entrant]:
    """Read ``rule`` or ``rule:learning_rate``, with commas between them.

    Raises
    ------
    CommandError
        If a rule is unknown or a learning rate no number in its range.

    Examples
    --------
    >>> checked_entrants("adam,sgd:0.1")
    [Entrant(rule='adam', learning_rate=None), Entrant(rule='sgd', learning_rate=0.1)]
    """
    # Who is named twice walks once.
    return list(dict.fromkeys(_checked_entrant(part.strip()) for part in text.split(",")))


def rule_at(name: str, learning_rate: Any, **settings: Any) -> Callable[..., Any]:
    """Return a rule that waits for its loss, with what has no default filled in."""
    rule = getattr(rules, name)
    filling = {"momentum": 0.9, "rule": updates.sgd(learning_rate=learning_rate)}
    for argument, parameter in inspect.signature(rule).parameters.items():
        if argument == "learning_rate":
            settings.setdefault(argument, learning_rate)
        elif parameter.default is REQUIRED:
            settings.setdefault(argument, filling[argument])
    return rule(**settings)


def _checked_entrant(text: str) -> Entrant:
    name, colon, rate = text.partition(":")
    if name not in (names := public_names(rules.__name__)):
        raise unknown("rule", name, names, "`python -m updates rules` lists them")
    if not colon:
        return Entrant(name)
    try:
        learning_rate = float(rate)
    except ValueError:
        raise CommandError(f"{name}: learning_rate must be a number, got {rate!r}") from None
    try:
        _RATE.check("learning_rate", learning_rate)
    except ValueError as error:
        raise CommandError(f"{name}: {error}") from None
    return Entrant(name, learning_rate)
