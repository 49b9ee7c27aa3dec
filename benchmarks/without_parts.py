"""What each part of `updates.multi_tensor` brings: adam with it and without it, numba mode.

    python benchmarks/without_parts.py [--repeats 3]

Each figure is that of a process of its own, the median of the repeats; all start with empty caches,
but for "again", which finds what the one before has kept. The parts are taken out by hand, so this
program knows the insides of the package.
"""

import argparse
import json
import statistics
import sys
from typing import Any

import numpy as np
from compile_tasks import microseconds
from fresh_processes import cpu_seconds, empty_caches, run
from speed_common import machine, number, table

ALL, THREADS, LIST = "all", "threads", "outputs as a list"
CONVERSION, REWRITE = "own conversion to numba", "the rewrite"
PARTS = [ALL, THREADS, LIST, CONVERSION, REWRITE]
FIGURES: dict[str, tuple[list[tuple[int, ...]], str, float]] = {
    "compile 40 arrays, CPU s": ([(4, 4), (4,)] * 20, "cold", 1),
    "again": ([(4, 4), (4,)] * 20, "cold", 1),
    "10^7 values, ms": ([(10_000_000,)], "call", 1e-3),
    "100 x 1,000, us": ([(1000,)] * 100, "call", 1),
    "20 x 16, us": ([(4, 4)] * 20, "call", 1),
}


def take_out(part: str) -> Any:
    """Take a part out of this process; return the mode to compile in."""
    from pytensor.compile.mode import get_mode

    from updates.multi_tensor import function_graph, numba_is_ready

    assert numba_is_ready()
    if part == THREADS:
        function_graph.SERIAL = function_graph.SERIAL_BESIDE_BLAS = 2**62
    elif part == LIST:
        made = function_graph.Conversion.__init__

        def without_list(self: Any, *args: Any, **kwargs: Any) -> None:
            made(self, *args, **kwargs)
            self.outermost = False

        function_graph.Conversion.__init__ = without_list  # type: ignore[method-assign]
    elif part == CONVERSION:
        function_graph.WRITERS.clear()
    return get_mode("NUMBA").excluding("multi_tensor") if part == REWRITE else None


def measure(part: str, figure: str) -> float:
    """Compile the update and return the CPU seconds, or the median time of a call."""
    import pytensor
    import pytensor.link.numba.dispatch

    import updates

    shapes, kind, unit = FIGURES[figure]
    pytensor.config.floatX = "float32"
    mode, random = take_out(part), np.random.default_rng(0)

    def variables() -> list[Any]:
        arrays = [random.random(shape, dtype="float32") for shape in shapes]
        return [pytensor.shared(array, borrow=True) for array in arrays]

    start = cpu_seconds()
    step = pytensor.function([], updates=updates.adam(variables(), variables()), mode=mode)
    step()
    return cpu_seconds() - start if kind == "cold" else unit * microseconds(step)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--figure", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.figure:
        print(json.dumps({"value": measure(*arguments.figure)}))
        return
    found: dict[tuple[str, str], list[float]] = {}
    for _ in range(arguments.repeats):
        for part in PARTS:
            with empty_caches() as environment:
                for figure in FIGURES:
                    value = run(environment, __file__, "--figure", part, figure)["value"]
                    found.setdefault((part, figure), []).append(value)
                    print(part, figure, number(value), file=sys.stderr)
    rows = [
        [f"without {part}" if part != ALL else "with all parts"]
        + [number(statistics.median(found[part, figure])) for figure in FIGURES]
        for part in PARTS
    ]
    print(machine())
    print(table(["", *FIGURES], rows))


if __name__ == "__main__":
    main()
