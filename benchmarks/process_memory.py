"""Memory of this process, from what Linux tells about it, for the other programs here."""

from collections.abc import Callable
from pathlib import Path


def peak_rise(run: Callable[[], object]) -> float:
    """Return by how many bytes the peak memory of this process rises during a run."""
    start_peak()
    before = status("VmRSS")
    run()
    return status("VmHWM") - before


def start_peak() -> None:
    """Let the peak, ``VmHWM``, start anew."""
    Path("/proc/self/clear_refs").write_text("5")


def status(field: str) -> float:
    """Read a size in bytes from the status of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(float(line.split()[1]) for line in lines if line.startswith(field))
