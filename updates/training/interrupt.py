"""Ctrl-C as a request to stop after the current step, not in the middle of it.

- ``Interrupt``: a context that notes the first Ctrl-C; the second raises as usual
"""

import signal
import threading
from types import FrameType
from typing import Any


class Interrupt:
    """A context in which the first Ctrl-C only sets ``requested``.

    A ``KeyboardInterrupt`` in the middle of a compiled function could leave some variables with
    their new values and others with the old. Outside of the main thread, and in programs with a
    handler of their own, the context does nothing.
    """

    def __init__(self) -> None:
        self.requested = False

    def __enter__(self) -> None:
        self._noting = (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        )
        if self._noting:
            signal.signal(signal.SIGINT, self._note)

    def __exit__(self, *_: Any) -> None:
        if self._noting:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
