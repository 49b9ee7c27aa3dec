"""Compare two files of results and print what became slower and what became faster.

    make bench RESULTS=before.json
    make bench RESULTS=after.json
    python benchmarks/compare.py before.json after.json [--threshold 1.2]

The files are those of ``speed.py --json`` or ``compile_times.py --json``. Medians are compared, in
the unit of their part: milliseconds, CPU seconds for compiling, bytes for memory. The exit status
is 1 if anything of `updates` takes more than the threshold times what it took before. The other
systems do not count: where they became slower as well, the machine did.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import compile_tasks
from speed_common import BARE, FOREACH, FUSED, NUMPY, OPTAX, OURS, number, table

OTHER_SYSTEMS = {BARE, FOREACH, FUSED, NUMPY, OPTAX, compile_tasks.OPTAX}
CIRCUMSTANCES = ("machine", "options")
MAY_DIFFER = {OURS, "only", "chart", "json"}  # the code under comparison, and what changes no time

Name = tuple[str, ...]  # the keys that lead to a figure: part, task, system


def main() -> int:
    """Print the comparison and return the exit status."""
    parser = make_parser()
    options = parser.parse_args()
    old, new = options.old, options.new
    print(f"updates {old['machine'].get(OURS, '?')} -> {new['machine'].get(OURS, '?')}\n")
    if rows := circumstances_that_differ(old, new):
        print(table(["What differs", "old", "new"], rows))
        print("\nTimes of different machines, versions or options say little about the code.\n")
    before, after = dict(medians(old)), dict(medians(new))
    for file, only_there in (("old", before.keys() - after), ("new", after.keys() - before)):
        if only_there:
            print(f"Only in {file}: {'; '.join(sorted(map(' / '.join, only_there)))}\n")
    ratios = {name: after[name] / before[name] for name in before if name in after}
    if not ratios:
        parser.error("the two files have no figure in common")

    ascending = sorted(ratios, key=lambda name: ratios[name])
    faster = [name for name in ascending if ratios[name] < 1 / options.threshold]
    slower = [name for name in reversed(ascending) if ratios[name] > options.threshold]
    for heading, names in (("Slower", slower), ("Faster", faster)):
        if names:
            rows = [
                [" / ".join(name), number(before[name]), number(after[name]), f"{ratios[name]:.2f}"]
                for name in names
            ]
            print(table([heading, "old", "new", "new / old"], rows), end="\n\n")
    of_updates = sum(OTHER_SYSTEMS.isdisjoint(name) for name in slower)
    print(
        f"{len(ratios)} figures compared with a threshold of {options.threshold:g}: "
        f"{len(slower)} slower, {of_updates} of them of updates; {len(faster)} faster."
    )
    return 1 if of_updates else 0


def make_parser() -> argparse.ArgumentParser:
    """Return what reads the command line; a wrong one ends the program with status 2."""

    def results(path: str) -> dict[str, Any]:
        try:
            found = json.loads(Path(path).read_text())
        except (OSError, ValueError) as error:
            raise argparse.ArgumentTypeError(f"cannot read results from {path}: {error}") from error
        if not (isinstance(found, dict) and found.keys() >= set(CIRCUMSTANCES)):
            raise argparse.ArgumentTypeError(f"{path} holds no results of speed.py")
        return found

    def threshold(text: str) -> float:
        if not float(text) > 1:
            raise argparse.ArgumentTypeError(f"must be above 1, got {text}")
        return float(text)

    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("old", metavar="OLD.json", type=results)
    parser.add_argument("new", metavar="NEW.json", type=results)
    parser.add_argument(
        "--threshold", type=threshold, default=1.2, help="new / old (default: %(default)s)"
    )
    return parser


def circumstances_that_differ(old: dict[str, Any], new: dict[str, Any]) -> list[list[str]]:
    """Return a row for each fact about machine, versions and options that is not the same."""
    rows = []
    for part in CIRCUMSTANCES:
        for fact in dict.fromkeys([*old[part], *new[part]]):
            values = [str(results[part].get(fact, "?")) for results in (old, new)]
            if fact not in MAY_DIFFER and values[0] != values[1]:
                rows.append([fact, *values])
    return rows


def medians(results: Any, name: Name = ()) -> Iterator[tuple[Name, float]]:
    """Walk through the results; yield the name and the median of each figure."""
    if isinstance(results, dict):
        for key, value in results.items():
            if key not in CIRCUMSTANCES:
                yield from medians(value, (*name, key))
    else:
        yield name, statistics.median(results if isinstance(results, list) else [results])


if __name__ == "__main__":
    sys.exit(main())
