"""Time and memory of Adam on a few rows of a large table, beside Adam on the whole table.

    python benchmarks/table_rows.py [--rows 1000000] [--columns 64] [--lookups 256]

Both forms train the same float32 table on the same looked-up rows, in one process, each with
arrays of its own. The memory of a step is how far the peak of the process rises above what it
holds before (Linux only).
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import pytensor
import pytensor.tensor as pt
from process_memory import peak_rise

import updates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--columns", type=int, default=64)
    parser.add_argument("--lookups", type=int, default=256)
    options = parser.parse_args()
    print(f"PyTensor {pytensor.__version__}, {pytensor.config.mode}, {options}")
    print("| form | ms a step | MB beyond table and state |")
    print("|---|---:|---:|")
    medians = {}
    for form, repeats in (("rows", 200), ("dense", 5)):
        step = compiled(form, options)
        indices = np.random.default_rng(0).integers(options.rows, size=(repeats, options.lookups))
        step(indices[0])
        memory = peak_rise(lambda: [step(index) for index in indices[:3]])  # noqa: B023
        medians[form] = statistics.median(seconds(step, index) for index in indices)
        print(f"| {form} | {medians[form] * 1e3:.3f} | {memory / 1e6:.1f} |")
    print(f"rows are {medians['dense'] / medians['rows']:.0f} times faster")


def compiled(form: str, options: argparse.Namespace) -> Callable[[np.ndarray], object]:
    """Compile one Adam step that pulls looked-up rows towards one."""
    values = np.random.default_rng(0).random((options.rows, options.columns), dtype="float32")
    table, index = pytensor.shared(values, name="table", borrow=True), pt.lvector("index")
    rows = table[index]
    loss = ((rows - 1) ** 2).sum()
    result = updates.adam(loss, rows if form == "rows" else table)
    for variable in result:
        value = variable.get_value(borrow=True)
        value += 0  # the system hands out zeros only when they are written
    return pytensor.function([index], updates=result)


def seconds(step: Callable[[np.ndarray], object], index: np.ndarray) -> float:
    """Time one step."""
    start = time.perf_counter()
    step(index)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
