"""CPU seconds to compile training functions: with gradients alone, with adam, and with optax.

    python -m pip install -r benchmarks/requirements.txt
    python benchmarks/compile_times.py [--only network,alone] [--arrays 20,40,80] [--repeats 3]
                                       [--systems gradients,adam,off,jax,optax] [--json PATH]

Each figure is that of a process of its own (compile_tasks.py), the median of the repeats. "cold"
starts with empty folders for what PyTensor and numba keep, "next process" and those after it find
what the ones before have left. JAX keeps nothing. `updates` may be that of another commit:
PYTHONPATH says where it is.
"""

import argparse
import contextlib
import json
import statistics
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from compile_tasks import ADAM, GRADIENTS, JAX, OFF, OPTAX
from fresh_processes import empty_caches, run
from speed_common import machine, number, table

TASKS = Path(__file__).with_name("compile_tasks.py")

NETWORK = "network"
ALONE = "alone"
SYSTEMS = {
    GRADIENTS: "gradients alone",
    ADAM: "with adam",
    OFF: "with adam, multi_tensor off",
    JAX: "with adam, mode JAX",
    OPTAX: "optax, jit",
}
NEEDS = {JAX: ["jax"], OPTAX: ["jax", "optax"]}

COLD = "cold"
NEXT = "next process"
RATE = "another learning rate"
RULE = "another rule"
STARTS = {
    COLD: ("adam", 0.001),
    NEXT: ("adam", 0.001),
    RATE: ("adam", 0.002),
    RULE: ("rmsprop", 0.001),
}
MORE = {20: [RATE], 40: [RATE, RULE]}  # what networks of so many arrays go on with after NEXT

ARRAYS = {NETWORK: [20, 40, 80], ALONE: [10, 40, 80, 160]}
HEADINGS = {
    NETWORK: "A tanh network with a matrix and a vector in each layer, CPU seconds",
    ALONE: "adam alone, gradients given, CPU seconds, and microseconds of a call",
}
OF = {NETWORK: list(SYSTEMS), ALONE: [ADAM, OFF]}

# {start or "us": the median}, for each task, number of arrays and system
Found = dict[str, dict[int, dict[str, dict[str, float]]]]


def main() -> None:
    options = parse()
    described = machine()
    print(", ".join(f"{name}: {value}" for name, value in described.items()))
    found = measure(options.only, options.arrays, options.systems, options.repeats)
    if options.json:
        everything = {"machine": described, "options": vars(options), **found}
        Path(options.json).write_text(json.dumps(everything, indent=1))


def parse() -> argparse.Namespace:
    """Read the command line."""

    def words(*known: str) -> Any:
        def split(text: str) -> list[str]:
            if unknown := set(text.split(",")) - set(known):
                raise argparse.ArgumentTypeError(f"{unknown.pop()!r} is none of {', '.join(known)}")
            return text.split(",")

        return split

    def numbers(text: str) -> list[int]:
        return [int(word) for word in text.split(",")]

    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--only", type=words(*OF), default=list(OF), metavar=",".join(OF))
    parser.add_argument("--arrays", type=numbers, help=f"{ARRAYS} if not given")
    parser.add_argument(
        "--systems", type=words(*SYSTEMS), default=list(SYSTEMS), metavar=",".join(SYSTEMS)
    )
    parser.add_argument("--repeats", type=int, default=3, help="of each sequence of processes")
    parser.add_argument("--json", metavar="PATH", help="write all that was measured")
    return parser.parse_args()


def measure(
    only: Iterable[str] = OF,
    arrays: list[int] | None = None,
    systems: Iterable[str] = SYSTEMS,
    repeats: int = 3,
) -> Found:
    """Measure the tasks, print tables, and return the medians."""
    missing = [system for system in systems if not all(map(find_spec, NEEDS.get(system, [])))]
    if missing:
        left_out = ", ".join(SYSTEMS[system] for system in missing)
        print(f"Left out, as not installed: {left_out} (see benchmarks/requirements.txt)")
    found: Found = {}
    for task in only:
        present = [system for system in OF[task] if system in systems and system not in missing]
        found[task] = {
            count: measure_systems(task, present, count, repeats)
            for count in arrays or ARRAYS[task]
        }
        print(f"\n{HEADINGS[task]}:\n")
        print(results_table(found[task], present))
    if rows := compare_with_targets(found):
        print("\nTargets:\n")
        print(table(["seconds or ratio", "measured", "at most", "met"], rows))
    return found


def measure_systems(
    task: str, systems: list[str], arrays: int, repeats: int
) -> dict[str, dict[str, float]]:
    """Return the medians of each system; stop the program where the systems' losses differ."""
    figures: dict[str, dict[str, list[float]]] = {system: defaultdict(list) for system in systems}
    losses: dict[str, list[float]] = {}
    for _ in range(repeats):
        for system in systems:
            for start, result in run_processes(task, system, arrays):
                figures[system][start].append(result["seconds"])
                if "us" in result:
                    figures[system]["us"].append(result["us"])
                if "losses" in result and system != GRADIENTS and start == COLD:
                    losses[system] = result["losses"]
    for system, values in losses.items():
        if not np.allclose(values, next(iter(losses.values())), rtol=1e-3):
            sys.exit(f"{arrays} arrays: {system} comes to other losses than the first of {losses}")
    return {
        system: {start: statistics.median(values) for start, values in starts.items()}
        for system, starts in figures.items()
    }


def run_processes(task: str, system: str, arrays: int) -> list[tuple[str, dict[str, Any]]]:
    """Run the processes that share a folder, in their order; return what each has measured."""
    has_more = task == NETWORK and system != GRADIENTS
    starts = [COLD, NEXT, *(MORE.get(arrays, []) if has_more else [])]
    results = []
    with empty_caches() as environment:
        for start in starts:
            print(f"  {task}, {arrays} arrays, {system}, {start}:", end=" ", file=sys.stderr)
            result = run(environment, str(TASKS), task, system, *STARTS[start], arrays)
            call = f", {result['us']:.1f} us a call" if "us" in result else ""
            print(f"{result['seconds']:.2f} s{call}", file=sys.stderr, flush=True)
            results.append((start, result))
    return results


def results_table(found: dict[int, dict[str, dict[str, float]]], systems: list[str]) -> str:
    """Lay out a row for each start of each number of arrays, and a column for each system."""
    rows = []
    for arrays, results in found.items():
        for start in [*STARTS, "us"]:
            if any(start in results[system] for system in systems):
                cells = [number(results[system].get(start)) for system in systems]
                rows.append([f"{arrays} arrays, {'us a call' if start == 'us' else start}", *cells])
    return table(["", *(SYSTEMS[system] for system in systems)], rows)


def compare_with_targets(found: Found) -> list[list[str]]:
    """Return a row for each target of which this run has measured all that it needs."""

    def network(arrays: int, system: str, start: str) -> float:
        return found[NETWORK][arrays][system][start]

    def alone(arrays: int, start: str) -> float:
        return found[ALONE][arrays][ADAM][start]

    targets: list[tuple[str, Callable[[], float], float]] = [
        (
            "network, 40 arrays, next process: adam adds",
            lambda: network(40, ADAM, NEXT) - network(40, GRADIENTS, NEXT),
            0.7,
        ),
        (
            "network, 40 arrays: another learning rate adds to that",
            lambda: network(40, ADAM, RATE) - network(40, ADAM, NEXT),
            0.3,
        ),
        ("network, 40 arrays: another rule, in all", lambda: network(40, ADAM, RULE), 4),
        (
            "network, 20 arrays, cold: adam adds",
            lambda: network(20, ADAM, COLD) - network(20, GRADIENTS, COLD),
            6,
        ),
        ("adam alone, 160 arrays, next process", lambda: alone(160, NEXT), 2),
        (
            "adam alone, next process: 160 arrays / 40 arrays",
            lambda: alone(160, NEXT) / alone(40, NEXT),
            4,
        ),
        (
            "adam alone, cold: 160 arrays / 40 arrays",
            lambda: alone(160, COLD) / alone(40, COLD),
            4,
        ),
    ]
    rows = []
    for what, measured, bound in targets:
        with contextlib.suppress(KeyError):
            value = measured()
            rows.append([what, number(value), f"{bound:g}", "yes" if value <= bound else "no"])
    return rows


if __name__ == "__main__":
    main()
