"""The record of a training run.

- ``History``: the monitors of every epoch and validation, the best validation, and what ended it
- ``append``, ``last``: add an entry to columns of records, and read the latest
"""

from dataclasses import dataclass, field
from typing import Any

from updates.declaration import named, public

Column = dict[str, list[float]]


@public
@dataclass
class History:
    """The monitors of a training run, by epoch and by validation.

    Parameters
    ----------
    train : dict of str to list
        One entry for each epoch: ``"epoch"`` (1, 2, ...), ``"step"``, which counts all updates
        until its end, ``"loss"`` and the other monitors, each averaged over the epoch's
        mini-batches while they were trained.
    valid : dict of str to list
        The same for each validation; ``"epoch"`` is 0 before the first.
    best : dict of str to float
        The entries of the best validation, whose parameters are kept.
    stopped : str
        What ended training: ``"patience"``, ``"max_epochs"``, ``"max_updates"``,
        ``"the end of train"`` or ``"Ctrl-C"``.

    Examples
    --------
    See `minimize`.
    """

    train: Column = field(default_factory=dict)
    valid: Column = field(default_factory=dict)
    best: dict[str, float] = field(default_factory=dict)
    stopped: str = ""

    def __str__(self) -> str:
        """Summarize the run in a line."""
        epochs, steps = (self.train.get(name, [0])[-1] for name in ("epoch", "step"))
        best = ""
        if self.best:
            best = f", best validation loss {self.best['loss']:.6g} after step {self.best['step']}"
        return f"{epochs} epochs, {steps} steps{best}, stopped by {self.stopped}"

    def __repr__(self) -> str:
        """Summarize the run in a line."""
        return f"<History: {self}>"

    @named("History.plot")
    def plot(self, monitor: str = "loss", axes: Any = None) -> Any:
        """Draw the curves of one monitor over the steps, with matplotlib.

        Parameters
        ----------
        monitor : str, optional
            Which monitor.
        axes : matplotlib Axes, optional
            Where to draw; a new figure if not given.

        Returns
        -------
        matplotlib Axes
            ``.figure.savefig(path)`` writes it to a file.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If there is no such monitor.
        """
        if monitor not in {**self.train, **self.valid}:
            known = ", ".join(name for name in self.valid if name not in ("epoch", "step"))
            raise ValueError(f"there is no monitor {monitor!r}, only {known}")
        if axes is None:
            try:
                from matplotlib import pyplot
            except ImportError as error:
                raise ImportError(
                    "History.plot needs matplotlib: pip install matplotlib"
                ) from error
            _, axes = pyplot.subplots(layout="constrained")
        for records, label, style in (
            (self.train, "training", {"color": "0.55"}),
            (self.valid, "validation", {"color": "tab:blue", "marker": "o", "markersize": 3}),
        ):
            if records.get(monitor):
                axes.plot(records["step"], records[monitor], label=label, **style)
        if monitor in self.best:
            at = (self.best["step"], self.best[monitor])
            axes.plot(*at, "*", color="tab:red", markersize=10, label="best", zorder=3)
        if monitor == "loss" and _spans_decades([*self.train["loss"], *self.valid["loss"]]):
            axes.set_yscale("log")
        axes.set_xlabel("step")
        axes.set_ylabel(monitor)
        axes.legend()
        return axes


def append(records: Column, record: dict[str, float]) -> None:
    """Add an entry to each column."""
    for name, value in record.items():
        records.setdefault(name, []).append(value)


def last(records: Column) -> dict[str, float]:
    """Return the latest entry of each column."""
    return {name: values[-1] for name, values in records.items()}


def _spans_decades(values: list[float]) -> bool:
    return bool(values) and min(values) > 0 and max(values) > 100 * min(values)
