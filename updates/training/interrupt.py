"""Ctrl-C as a wish to stop after the step that is under way, not in the middle of it.

- ``Interrupt``: a context that notes the first Ctrl-C; the second raises as usual
"""

import signal
import threading
from types import FrameType
from typing import Any


class Interrupt:
    """While entered, note Ctrl-C in ``wanted``.

    A ``KeyboardInterrupt`` in the middle of a compiled function could leave some variables with
    their new values and others with the old. Other threads than the main one, and
    programs with a handler of their own, are left alone.
    """

    def __init__(self) -> None:
        self.wanted = False

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
        self.wanted = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
