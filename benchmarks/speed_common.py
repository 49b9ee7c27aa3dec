"""What the parts of ``speed.py`` share: the systems, the machine, tables."""

import importlib.metadata
import importlib.util
import os
import platform
import statistics
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

OURS = "updates"
OFF = "updates, multi_tensor off"
FUSED = "PyTorch fused"
FOREACH = "PyTorch foreach"
OPTAX = "optax under jit"
NUMPY = "NumPy"
BARE = "bare traffic"

NEEDS = {FUSED: ["torch"], FOREACH: ["torch"], OPTAX: ["jax", "optax"]}
PACKAGES = ["pytensor", "numba", "numpy", "torch", "jax", "optax"]


def is_installed(system: str) -> bool:
    """Say whether a system can take part."""
    return all(importlib.util.find_spec(package) for package in NEEDS.get(system, []))


def cores() -> int:
    """Return how many cores this process may use; every system gets as many threads."""
    return len(os.sched_getaffinity(0))


def mode(system: str) -> Any:
    """Return the PyTensor mode of ``OURS`` (the default) or ``OFF``."""
    from pytensor.compile.mode import get_mode

    return get_mode("NUMBA").excluding("multi_tensor") if system == OFF else None


def machine() -> dict[str, str]:
    """Describe processor and versions."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(": ")[1] for line in lines if line.startswith("model name")), "?")
    versions = {"updates": commit(), "Python": platform.python_version()}
    for package in PACKAGES:
        is_there = importlib.util.find_spec(package) is not None
        versions[package] = importlib.metadata.version(package) if is_there else "not installed"
    return {"processor": model, "cores used": str(cores()), **versions}


def commit() -> str:
    """Name the commit of the `updates` that is measured, which PYTHONPATH may choose."""
    spec = importlib.util.find_spec(OURS)
    assert spec is not None
    assert spec.origin is not None
    command = ["git", "-C", str(Path(spec.origin).parent), "describe", "--always", "--dirty"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "?"
    return found.stdout.strip()


def median(times: list[float] | None) -> float | None:
    """Return the median of what was measured, or None."""
    return statistics.median(times) if times else None


def ratio(numerator: float | None, denominator: float | None) -> float | None:
    """Divide what was measured; None where something was not."""
    return numerator / denominator if numerator and denominator else None


def number(value: float | None) -> str:
    """Write three digits or more, or a dash for what was not measured."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:#.3g}"


def beside(value: float | None, other: float | None) -> str:
    """Write a value and, in parentheses, how many times another one it is."""
    quotient = ratio(value, other)
    return number(value) if quotient is None else f"{number(value)} ({quotient:.2f})"


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Lay out a Markdown table: its first column to the left, the others to the right."""
    cells = [list(header), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    cells.insert(
        1, ["-" * width if k == 0 else "-" * (width - 1) + ":" for k, width in enumerate(widths)]
    )
    return "\n".join(
        "| "
        + " | ".join(
            cell.ljust(width) if k == 0 else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        + " |"
        for row in cells
    )
