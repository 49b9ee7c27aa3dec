"""CPU seconds to compile, and time to call, a function of many arrays that does next to nothing.

    python benchmarks/many_arguments.py [--arrays 2,60,120,240,480,960] [--ways ...] [--limit 120]

Each figure is that of a process of its own: "cold" with nothing cached, "next" with what the cold
one has left. `updates` is not imported: what this shows is PyTensor's and numba's own. The report
about it is upstream_many_arguments.md. The ways:

updates: PyTensor, n shared arrays, x + 1 is the next value of each
sum: PyTensor, n shared arrays, their sum is returned
one: numba alone, of n arrays, x + 1 of the first is returned
list: numba alone, of n arrays, a list of x + 1 of each is returned
tuple: numba alone, of n arrays, a tuple of x + 1 of each is returned
"""

import argparse
import importlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from compile_tasks import microseconds
from fresh_processes import cpu_seconds, empty_caches, run
from speed_common import machine, number, table

BODIES = {"one": "plus_one(x0)", "list": "[{}]", "tuple": "({},)"}
WAYS = ["updates", "sum", *BODIES]

SOURCE = """from numba import njit

@njit(cache=True, no_cpython_wrapper=True)
def plus_one(x):
    return x + 1

@njit(cache=True)
def many({arguments}):
    return {body}
"""


def main() -> None:
    options = parse()
    if options.one:
        way, arrays = options.one
        print(json.dumps(measure(way, int(arrays))))
        return
    print(", ".join(f"{name}: {value}" for name, value in machine().items()))
    for way in options.ways:
        rows = []
        for arrays in options.arrays:
            with empty_caches() as environment:
                cold, warm = (run(environment, __file__, "--one", way, arrays) for _ in range(2))
            figures = [cold["seconds"], warm["seconds"], warm["us"]]
            print(f"  {way}, {arrays} arrays: {figures}", file=sys.stderr, flush=True)
            rows.append([str(arrays), *map(number, figures)])
            if cold["seconds"] > options.limit:
                break
        print(f"\n{way}:\n")
        print(table(["arrays", "cold, s", "next, s", "a call, us"], rows), flush=True)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument(
        "--arrays",
        type=lambda text: [int(word) for word in text.split(",")],
        default=[2, 60, 120, 240, 480, 960],
    )
    parser.add_argument("--ways", type=lambda text: text.split(","), default=WAYS)
    parser.add_argument(
        "--limit", type=float, default=120, help="seconds after which a way goes no further"
    )
    parser.add_argument("--one", nargs=2, metavar=("WAY", "ARRAYS"), help=argparse.SUPPRESS)
    return parser.parse_args()


def measure(way: str, arrays: int) -> dict[str, float]:
    """Compile and call in this process; return the seconds, and the microseconds of a call."""
    prepare = prepare_numba if way in BODIES else prepare_pytensor
    compile_function = prepare(way, [np.ones((4, 4)) for _ in range(arrays)])
    start = cpu_seconds()
    function = compile_function()
    function()
    return {"seconds": cpu_seconds() - start, "us": microseconds(function)}


def prepare_pytensor(way: str, values: list[np.ndarray]) -> Callable:
    """Import PyTensor and return what compiles the function."""
    import pytensor
    import pytensor.link.numba.dispatch  # which PyTensor would import while it compiles
    import pytensor.tensor as pt

    def compile_function() -> Any:
        shared = [pytensor.shared(value) for value in values]
        if way == "sum":
            return pytensor.function([], pt.add(*shared))
        return pytensor.function([], updates=[(x, x + 1) for x in shared])

    return compile_function


def prepare_numba(way: str, values: list[np.ndarray]) -> Callable:
    """Write a module with the function, and return what imports and compiles it."""
    import numba  # noqa: F401

    folder = Path(os.environ["NUMBA_CACHE_DIR"])
    folder.mkdir(exist_ok=True)
    source = folder / "many_arguments_source.py"
    names = [f"x{k}" for k in range(len(values))]
    if not source.exists():  # numba's cache wants the old file
        body = BODIES[way].format(", ".join(f"plus_one({name})" for name in names))
        source.write_text(SOURCE.format(arguments=", ".join(names), body=body))
    sys.path.insert(0, str(folder))

    def compile_function() -> Callable:
        many = importlib.import_module(source.stem).many
        return lambda: many(*values)

    return compile_function


if __name__ == "__main__":
    main()
