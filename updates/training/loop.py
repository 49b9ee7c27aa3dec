"""The training loop: epochs, validations, the best parameters and the end.

- ``Training``: one run, whose ``epochs()`` gives the monitors of one epoch after the other
- ``Limits``: when a run validates and when it stops
"""

import math
import warnings
from collections import deque
from collections.abc import Generator
from dataclasses import dataclass
from itertools import islice
from typing import Any, NoReturn

import numpy as np

from updates.declaration import named
from updates.training.batches import Arrays, Stream
from updates.training.functions import Functions
from updates.training.history import History, append, last
from updates.training.interrupt import Interrupt
from updates.training.progress import Progress
from updates.training.saving import Position, RunCheckpoint

Monitors = dict[str, float]


@dataclass
class Limits:
    """When to validate and when to stop, see `minimize`."""

    max_updates: int | None
    max_epochs: int | None
    patience: int | None
    validate_every: int
    min_improvement: float

    @property
    def is_endless(self) -> bool:
        """Tell whether nothing but `patience`, or the user, ends training."""
        return self.max_updates is None and self.max_epochs is None

    def most_steps(self, per_epoch: int | None) -> int | None:
        """Return after how many steps training ends at the latest, or None if that is unknown."""
        bounds = [self.max_updates]
        if self.max_epochs and per_epoch:
            bounds.append(self.max_epochs * per_epoch)
        return min((bound for bound in bounds if bound is not None), default=None)


class Training:
    """A run of training: compiled functions, data, and where it is.

    Parameters
    ----------
    owner : str
        The public function that is called: it has returned when these errors are raised.
    functions : Functions
    train, valid : Arrays or Stream
        The batches; both may be the same object.
    limits : Limits
    checkpoint : RunCheckpoint
    progress : Progress
    """

    def __init__(
        self,
        owner: str,
        functions: Functions,
        train: Arrays | Stream,
        valid: Arrays | Stream,
        limits: Limits,
        checkpoint: RunCheckpoint,
        progress: Progress,
    ) -> None:
        self.owner = owner
        self.functions = functions
        self.train = train
        self.valid = valid
        self.limits = limits
        self.checkpoint = checkpoint
        self.progress = progress
        self.history = History()
        self.at = Position()
        self.interrupt = Interrupt()
        self._has_warned = False

    def epochs(self, give_way: bool = False) -> Generator[tuple[Monitors, Monitors], None, History]:
        """Train, yield the monitors of each epoch, and return the history.

        With `give_way`, the bar is cleared while the caller has them, because the caller may print.
        """
        try:
            with self.interrupt:
                self._begin()
            while not self.history.stopped:
                with self.interrupt:
                    trained = self._train()
                if trained:
                    if give_way:
                        self.progress.pause()
                    yield last(self.history.train), last(self.history.valid)
                    if give_way:
                        self.progress.resume()
        except GeneratorExit:  # the caller has left its loop and keeps the parameters as they are
            self.progress.close()
            raise
        except BaseException:
            self.progress.close()
            self._settle()
            raise
        self._settle()
        self.progress.close(self.history)
        return self.history

    def _settle(self) -> None:
        """Give the model its best parameters, or keep the last ones if none can be the best."""
        if not self._keeps_last():
            self.functions.restore_best()
        elif self.at.step:
            self._warn(
                "no validation since training began gave a finite loss, so none tells which "
                "parameters are best: they are those of the last step"
            )

    def _keeps_last(self) -> bool:
        """Tell whether no validation has judged trained parameters, which are finite now."""
        losses = self.history.valid.get("loss", [])
        is_judged = bool(self.history.best.get("step")) or all(map(math.isfinite, losses))
        return not is_judged and self.functions.is_finite()

    def _begin(self) -> None:
        """Continue from the checkpoint, or begin with a validation."""
        self.functions.keep_best()
        if self.checkpoint.exists():
            with named(self.owner):
                self.at, self.history = self.checkpoint.load()
            self._replay()
        self.progress.start(self.at.step)
        if not self.history.valid:
            self._validate()
        self.progress.valid = self.history.valid["loss"][-1]
        self._end_if_due()

    def _train(self) -> bool:
        """Train until the epoch or the training ends, and tell whether there were any data."""
        at = self.at
        complete = self._train_batches()
        if complete and not at.batches:
            if not at.step:
                self._refuse(ValueError("train gave no batches"))
            self.history.stopped = "the end of train"
        improved = False
        if complete and at.batches:
            self._record()
            at.epoch, at.batches, at.rows, at.sums = at.epoch + 1, 0, 0, None
            if at.epoch % self.limits.validate_every == 0:
                improved = self._validate()
        had_data = not self.history.stopped
        self._end_if_due(save_anyway=improved)
        return had_data

    def _train_batches(self) -> bool:
        """Train on the rest of an epoch, and tell whether it came to its end."""
        at, progress, checkpoint = self.at, self.progress, self.checkpoint
        step, names = self.functions.step, range(len(self.functions.names))
        sums = at.sums = at.sums or [0.0 for _ in names]
        last_step = math.inf if self.limits.max_updates is None else self.limits.max_updates
        gradient_sums: Any = None
        for batch, rows in self.train.epoch(at.epoch, at.batches):
            if at.step >= last_step:
                return False
            gradient_sums_before = gradient_sums
            *values, gradient_sums = step(*batch)
            at.step += 1
            at.batches += 1
            if math.isfinite(values[0]):
                at.rows += rows
                for index in names:
                    sums[index] += rows * float(values[index])
            elif not self.functions.is_guarded:
                self._refuse(self._diverged(values[0], gradient_sums_before, gradient_sums))
            progress.step(at.step, at.epoch + 1, sums[0] / (at.rows or 1))
            if self.interrupt.requested:
                return False
            if checkpoint.is_due():
                checkpoint.save(at, self.history)
        return True

    def _validate(self, counts: bool = True) -> bool:
        """Validate, and tell whether the parameters are the best so far.

        Only a validation that `counts` decides about `patience`.
        """
        functions, at, sums, total = self.functions, self.at, np.zeros(()), 0
        for batch, rows in self.valid.all():
            sums = sums + rows * np.array([float(x) for x in functions.evaluate(*batch)])
            total += rows
        if not total:
            self._refuse(
                ValueError(
                    "valid gave no batches; an iterator gives its batches only once, a list or a "
                    "callable gives them for every validation"
                )
            )
        means = dict(zip(functions.names, (sums / total).tolist(), strict=False))
        record = {"epoch": at.epoch, "step": at.step, **means}
        append(self.history.valid, record)
        loss, best = record["loss"], self.history.best
        self.progress.valid = loss
        is_finite = math.isfinite(loss)
        if not is_finite:
            self._report_not_finite(loss)
        improved = is_finite and loss < best.get("loss", math.inf)
        if improved:
            self.history.best = record
            functions.keep_best()
        if counts:
            target = math.inf if at.target is None else at.target
            least = self.limits.min_improvement * abs(target)
            if is_finite and (not math.isfinite(target) or target - loss > least):
                at.target, at.failures = loss, 0
            elif is_finite or self.limits.is_endless:
                at.failures += 1
        return improved

    def _report_not_finite(self, loss: float) -> None:
        """Stop where nothing is lost by it or nothing can be saved; else say once what happens."""
        at, functions = self.at, self.functions
        where = f"the validation loss is {loss} after step {at.step} (epoch {at.epoch})"
        if not functions.is_guarded and (not at.step or not functions.is_finite()):
            advice = self._kept() if at.step else "look for what is not finite in valid"
            self._refuse(FloatingPointError(f"{where}; {advice}"))
        if not self._has_warned:
            self._has_warned = True
            self._warn(
                f"{where}: such a validation does not tell whether parameters are the best, nor "
                "whether to stop by patience; look for what is not finite in valid"
            )

    def _warn(self, message: str) -> None:
        warnings.warn(f"{self.owner}: {message}", RuntimeWarning, stacklevel=2)

    def _end_if_due(self, save_anyway: bool = False) -> None:
        """Stop if it is time, with a last validation.

        The checkpoint is written before that validation: a longer run that continues from it has
        no such validation at this step.
        """
        at, limits, history = self.at, self.limits, self.history
        if self.interrupt.requested:
            history.stopped = "Ctrl-C"
        elif limits.patience is not None and at.failures > limits.patience:
            history.stopped = "patience"
        elif limits.max_epochs is not None and at.epoch >= limits.max_epochs:
            history.stopped = "max_epochs"
        elif limits.max_updates is not None and at.step >= limits.max_updates:
            history.stopped = "max_updates"
        if history.stopped or save_anyway:
            self.checkpoint.save(at, history)
        if history.stopped:
            if at.batches:
                self._record()
            if history.valid["step"][-1] != at.step:
                try:
                    self._validate(counts=False)
                except KeyboardInterrupt:  # the second Ctrl-C leaves out the validation
                    history.stopped = "Ctrl-C"

    def _record(self) -> None:
        """Add the current epoch to the history."""
        at = self.at
        assert at.sums is not None
        means = [total / at.rows if at.rows else math.nan for total in at.sums]
        names = self.functions.names
        record = {"epoch": at.epoch + 1, "step": at.step, **dict(zip(names, means, strict=True))}
        append(self.history.train, record)

    def _diverged(self, loss: Any, before: Any, now: Any) -> FloatingPointError:
        """Make the error for a loss that is no longer finite: where it happened, and why."""
        at, names = self.at, self.functions.param_names
        culprit = "all gradients are finite"
        for sums, when in (
            (before, "was already not finite one step before"),
            (now, "is not finite"),
        ):
            if sums is not None and not np.isfinite(sums).all():
                culprit = f"the gradient of {names[np.argmin(np.isfinite(sums))]!r} {when}"
                break
        return FloatingPointError(
            f"the loss is {float(loss)} in epoch {at.epoch + 1}, step {at.batches} "
            f"(step {at.step} of all); {culprit}; {self._kept()}"
        )

    def _refuse(self, error: Exception) -> NoReturn:
        with named(self.owner):
            raise error

    def _kept(self) -> str:
        best = self.history.best
        which = f"best ones (after step {best['step']}) again" if best else "initial ones again"
        which = "last ones" if self._keeps_last() else which
        return (
            f"the parameters are the {which}. Take a lower learning rate, "
            "clip_by_global_norm before the rule, or apply_if_finite after it"
        )

    def _replay(self) -> None:
        """Draw the batches from iterables and callables that the saved run had drawn."""
        for epoch in range(self.at.epoch + 1):
            if isinstance(self.valid, Stream) and epoch % self.limits.validate_every == 0:
                deque(self.valid.all(), maxlen=0)
            if isinstance(self.train, Stream):
                count = None if epoch < self.at.epoch else self.at.batches
                deque(islice(self.train.epoch(epoch), count), maxlen=0)
