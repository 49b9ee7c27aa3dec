"""Progress: a bar where one can be drawn, plain lines elsewhere.

- ``Progress``: reports on stderr how far training has come
"""

import importlib.util
import math
import sys
from time import perf_counter
from typing import Any

BAR_SECONDS, LINE_SECONDS = 0.1, 10.0


class Progress:
    """A bar by tqdm in a terminal or in a notebook with widgets, otherwise a line now and then.

    Parameters
    ----------
    owner : str
        The public function that is called, which begins each line.
    shown : bool
        Whether to report anything.
    total : int or None
        The updates after which training ends at the latest.

    Attributes
    ----------
    valid : float
        The latest validation loss; the training loop sets it.
    """

    def __init__(self, owner: str, shown: bool, total: int | None) -> None:
        self.owner = owner
        self.shown = shown
        self._total = total
        self._bar_class = _bar_class() if shown else None
        self._interval = LINE_SECONDS if self._bar_class is None else BAR_SECONDS
        self._bar: Any = None
        self._next = math.inf
        self._latest = (0, 0, math.nan)
        self.valid = math.nan

    def start(self, steps: int) -> None:
        """Begin, after a number of steps that an earlier run has taken."""
        if not self.shown:
            return
        if self._bar_class is not None:
            self._bar = self._bar_class(
                total=self._total, initial=steps, desc=self.owner, unit=" steps", file=sys.stderr
            )
        self._first = steps
        self._began = perf_counter()
        self._next = self._began + self._interval

    def step(self, steps: int, epoch: int, loss: float) -> None:
        """Note a step and its loss, and show them if it is time."""
        self._latest = steps, epoch, loss
        if perf_counter() >= self._next:
            self._show()

    def pause(self) -> None:
        """Clear the bar while others may print."""
        if self._bar is not None:
            self._bar.clear()

    def resume(self) -> None:
        """Draw the bar again."""
        if self._bar is not None:
            self._bar.refresh()

    def close(self, result: Any = None) -> None:
        """End; with a result, write it in a last line."""
        if self._bar is not None:
            self._show()
            self._bar.close()
            self._bar = None
        if result is not None and self.shown:
            print(f"{self.owner}: {result}", file=sys.stderr, flush=True)
        self._next = math.inf

    def _show(self) -> None:
        now = perf_counter()
        steps, epoch, loss = self._latest
        text = f"epoch {epoch}, loss {loss:.4g}, valid {self.valid:.4g}"
        if self._bar is None:
            rate = (steps - self._first) / (now - self._began)
            line = f"{self.owner}: {text}, {steps} steps, {rate:.3g} steps/s"
            print(line, file=sys.stderr, flush=True)
        else:
            self._bar.set_postfix_str(text, refresh=False)
            self._bar.update(steps - self._bar.n)
            self._bar.refresh()
        self._next = now + self._interval


def _bar_class() -> Any:
    """Return tqdm's class for where stderr is shown, or None if there can be no bar."""
    in_notebook = "ipykernel" in sys.modules and importlib.util.find_spec("ipywidgets") is not None
    if not (in_notebook or sys.stderr.isatty()):
        return None
    try:
        if in_notebook:
            from tqdm.notebook import tqdm
        else:
            from tqdm import tqdm
    except ImportError:
        return None
    return tqdm
