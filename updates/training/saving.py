"""The checkpoint of a training run: its variables, where it is, and what it has recorded.

- ``Position``: where a run is
- ``RunCheckpoint``: the file, and what has to be the same for a run to continue from it
- ``check_path``: refuse a path that cannot be written to
"""

import os
from dataclasses import asdict, dataclass
from time import monotonic
from typing import Any

from updates.call import Updates
from updates.checkpoint import read, save
from updates.keys import keyed
from updates.state_dict import CheckpointError, assign
from updates.training.history import History


@dataclass
class Position:
    """Where a run is.

    In the current epoch, ``batches`` have been trained on, and ``sums`` holds the monitors summed
    over their ``rows`` rows. ``target`` is the loss to improve upon, and the last ``failures``
    validations have not done so.
    """

    epoch: int = 0
    step: int = 0
    batches: int = 0
    rows: int = 0
    sums: list[float] | None = None
    target: float | None = None
    failures: int = 0


class RunCheckpoint:
    """The checkpoint of a run; without a path, nothing is saved.

    Parameters
    ----------
    path : path or None
        The file.
    seconds : float
        How long after one checkpoint the next is due.
    variables : dict
        The updates whose variables are saved.
    fingerprint : dict
        What has to be the same for a run to continue from the file.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None,
        seconds: float,
        variables: Updates,
        fingerprint: dict[str, Any],
    ) -> None:
        self.path = path
        self.seconds = seconds
        self.variables = variables
        self.fingerprint = fingerprint
        self._saved = monotonic()
        if path is not None:
            keyed(variables)  # what cannot be saved is refused before training

    def exists(self) -> bool:
        """Tell whether there is a file to continue from."""
        return self.path is not None and os.path.exists(self.path)

    def is_due(self) -> bool:
        """Tell whether it is time for the next checkpoint."""
        return self.path is not None and monotonic() >= self._saved + self.seconds

    def save(self, at: Position, history: History) -> None:
        """Write the file."""
        if self.path is None:
            return
        extra = {
            "training": self.fingerprint,
            "at": asdict(at),
            "train": history.train,
            "valid": history.valid,
            "best": history.best,
        }
        save(self.path, self.variables, extra)
        self._saved = monotonic()

    def load(self) -> tuple[Position, History]:
        """Restore the variables and return the rest; if anything does not match, change nothing."""
        assert self.path is not None
        values, extra, _ = read(self.path, self.variables)
        subject = repr(os.fspath(self.path))
        made = extra.get("training") if isinstance(extra, dict) else None
        if not isinstance(made, dict) or made.keys() != self.fingerprint.keys():
            raise CheckpointError(f"{subject} is not a checkpoint of iterate or minimize")
        for name, value in self.fingerprint.items():
            if made[name] != value:
                raise CheckpointError(
                    f"{subject} was made with {name} = {made[name]!r}, and now it is {value!r}; "
                    "give the same, or another path to start anew"
                )
        assign(values)
        return Position(**extra["at"]), History(extra["train"], extra["valid"], extra["best"])


def check_path(checkpoint: Any) -> None:
    """Refuse a path that cannot become a file."""
    if checkpoint is None:
        return
    if not isinstance(checkpoint, str | os.PathLike):
        raise TypeError(
            f"checkpoint must be a path, got {checkpoint!r} of type {type(checkpoint).__name__}"
        )
    folder = os.path.dirname(os.path.abspath(checkpoint))
    if not os.path.isdir(folder):
        raise FileNotFoundError(
            f"checkpoint cannot be written to {folder!r}, which is not a folder"
        )
    if os.path.isdir(checkpoint or "."):
        raise IsADirectoryError(f"checkpoint must be a file, and {checkpoint!r} is a folder")
