"""Time, compile time and memory of updates beside PyTorch, optax, NumPy and bare memory traffic.

    python -m pip install -r benchmarks/requirements.txt
    python benchmarks/speed.py [--only updates,steps] [--chart speed.png] [--json speed.json]

Systems take turns, each in a process of its own with as many threads as there are cores; times
are medians over all turns, in milliseconds, and in parentheses how many times that of `updates`.
The parts: speed_alone.py, speed_networks.py, compile_times.py (CPU seconds) and speed_memory.py.
PyTorch and optax are left out where they are not installed. compare.py compares two files of
results.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import compile_times
import speed_alone
import speed_memory
import speed_networks
from speed_common import (
    BARE,
    FUSED,
    NEEDS,
    OFF,
    OPTAX,
    OURS,
    beside,
    is_installed,
    machine,
    median,
    number,
    ratio,
    table,
)
from speed_workers import Worker, take_turns

PARTS = ["updates", "steps", "compile", "memory"]


def main() -> None:
    options = parse()
    if options.json:
        Path(options.json).parent.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {"machine": machine(), "options": vars(options)}
    print(", ".join(f"{name}: {value}" for name, value in results["machine"].items()))
    missing = [system for system in NEEDS if not is_installed(system)]
    if missing:
        print(f"Left out, as not installed: {', '.join(missing)} (see benchmarks/requirements.txt)")
    for part in options.only:
        results[part] = {
            "updates": time_updates,
            "steps": time_steps,
            "compile": time_compiling,
            "memory": measure_memory,
        }[part](options)
    print_ratios(results)
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=1))
    if options.chart:
        import speed_chart

        speed_chart.draw(results, options.chart)


def parse() -> argparse.Namespace:
    """Read the command line."""

    def parts(text: str) -> list[str]:
        if unknown := set(text.split(",")) - set(PARTS):
            raise argparse.ArgumentTypeError(f"{unknown.pop()!r} is none of {', '.join(PARTS)}")
        return text.split(",")

    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--only", type=parts, default=PARTS, metavar=",".join(PARTS))
    parser.add_argument("--size", type=int, default=10_000_000, help="values to update")
    parser.add_argument("--rounds", type=int, default=9, help="turns of each system")
    parser.add_argument("--seconds", type=float, default=0.3, help="a turn, of 5 steps or more")
    parser.add_argument("--repeats", type=int, default=3, help="of each compilation")
    parser.add_argument("--memory-size", type=int, default=100_000_000)
    parser.add_argument("--chart", metavar="PATH", help="draw the parts updates and steps")
    parser.add_argument("--json", metavar="PATH", help="write all that was measured")
    return parser.parse_args()


def start(systems: list[str]) -> dict[str, Worker]:
    """Start a worker for each system that is installed."""
    return {system: Worker() for system in systems if is_installed(system)}


def time_updates(options: argparse.Namespace) -> dict[str, Any]:
    """Time the update alone."""
    results: dict[str, Any] = {}
    workers = start(speed_alone.SYSTEMS)
    for rule in speed_alone.RULES:
        results[rule] = {}
        for layout in speed_alone.LAYOUTS:
            results[rule][layout] = take_turns(
                workers,
                speed_alone.make,
                (rule, layout, options.size),
                options.rounds,
                options.seconds,
            )
        headings = [f"{layout}, ms" for layout in speed_alone.LAYOUTS]
        print(f"\n{rule}: the update alone, {options.size:,} float32 values in the first two:\n")
        print(times_table(rule, headings, results[rule], speed_alone.SYSTEMS))
    return results


def time_steps(options: argparse.Namespace) -> dict[str, Any]:
    """Time whole training steps."""
    workers = start(speed_networks.SYSTEMS)
    results = {
        name: take_turns(workers, speed_networks.make, (name,), options.rounds, options.seconds)
        for name in speed_networks.NETWORKS
    }
    headings = [f"{name}, batch {batch}, ms" for name, batch in speed_networks.NETWORKS.items()]
    print("\nA training step with adam:\n")
    print(times_table("adam", headings, results, speed_networks.SYSTEMS))
    return results


def times_table(corner: str, headings: list[str], results: dict, systems: list[str]) -> str:
    """Lay out medians, a row for each system and a column for each task."""
    rows = []
    for system in filter(is_installed, systems):
        cells = [
            beside(median(times.get(system)), median(times[OURS])) for times in results.values()
        ]
        rows.append([system, *cells])
    return table([corner, *headings], rows)


def time_compiling(options: argparse.Namespace) -> dict[str, Any]:
    """Measure compile times, cold and in later processes."""
    return compile_times.measure(repeats=options.repeats)


def measure_memory(options: argparse.Namespace) -> dict[str, Any]:
    """Measure peaks of memory."""
    results = {
        system: speed_memory.peak(system, options.memory_size)
        for system in filter(is_installed, speed_memory.SYSTEMS)
    }
    print(f"\nadam's step on {options.memory_size:,} float32 values:\n")
    rows = [
        [system, number(found["arrays"] / 1e6), number(found["peak"] / 1e6), f"{share(found):.2f}"]
        for system, found in results.items()
    ]
    print(table(["adam", "arrays, MB", "peak, MB", "peak / arrays"], rows))
    return results


def share(found: dict[str, float]) -> float:
    """Return the peak in units of the arrays."""
    return found["peak"] / found["arrays"]


def print_ratios(results: dict[str, Any]) -> None:
    """Print what `updates` promises beside what this run has found."""
    rows: list[tuple[str, float | None, float]] = []

    def compare(task: str, times: dict[str, list[float]], bounds: dict[str, float]) -> None:
        for system, bound in bounds.items():
            quotient = ratio(median(times[OURS]), median(times.get(system)))
            rows.append((f"{task}: {OURS} / {system}", quotient, bound))

    if "updates" in results:
        one, _, many = (results["updates"]["adam"][layout] for layout in speed_alone.LAYOUTS)
        compare("adam, one array", one, {BARE: 1.2, FUSED: 0.95, OPTAX: 0.6, OFF: 0.55})
        compare("adam, 100 arrays of 1,000", many, {OFF: 0.6, FUSED: 0.5})
    for name, times in results.get("steps", {}).items():
        compare(f"{name}, a training step", times, {FUSED: 0.9})
    if "memory" in results:
        rows.append(("memory: peak / arrays", share(results["memory"][OURS]), 1.05))
    if rows:
        print("\nRatios:\n")
        cells = [[task, number(value), f"{bound:g}"] for task, value, bound in rows]
        print(table(["ratio", "measured", "at most"], cells))


if __name__ == "__main__":
    main()
