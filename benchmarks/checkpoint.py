"""Speed and memory of saving a large state, beside ``np.save`` of the same bytes.

    python benchmarks/checkpoint.py [--megabytes 1000] [--variables 8] [--folder .]

Both write the same float32 arrays into the same folder and wait until they are on the disk,
taking turns. The memory of a save is how far the peak of the process rises above what it holds
before (Linux only).
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytensor
from process_memory import peak_rise

import updates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--variables", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", default=".")
    options = parser.parse_args()
    size = options.megabytes * 1_000_000 // options.variables // 4
    random = np.random.default_rng(0)
    variables = [
        pytensor.shared(random.random(size, dtype="float32"), name=f"w{index}", borrow=True)
        for index in range(options.variables)
    ]
    state = {variable: variable for variable in variables}
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "run.npz"
        forms: dict[str, Callable[[], object]] = {
            "np.save and fsync": lambda: plain(variables, Path(folder)),
            "updates.save": lambda: updates.save(path, state),
            "updates.load": lambda: updates.load(path, state),
        }
        runs: dict[str, list[float]] = {form: [] for form in forms}
        rises: dict[str, list[float]] = {form: [] for form in forms}
        for _ in range(options.repeats):
            for form, run in forms.items():
                start = time.perf_counter()
                rises[form].append(peak_rise(run))
                runs[form].append(time.perf_counter() - start)
    print(f"NumPy {np.__version__}, {options}")
    print("| form | seconds | MB a second | MB of memory beyond the state |")
    print("|---|---:|---:|---:|")
    medians = {form: statistics.median(times) for form, times in runs.items()}
    for form, median in medians.items():
        speed, rise = options.megabytes / median, max(rises[form]) / 1e6
        print(f"| {form} | {median:.2f} | {speed:.0f} | {rise:.1f} |")
    ratio = medians["np.save and fsync"] / medians["updates.save"]
    print(f"updates.save has {ratio:.2f} times the speed of np.save")


def plain(variables: list, folder: Path) -> None:
    """Save each array with NumPy, to the disk."""
    for variable in variables:
        with open(folder / f"{variable.name}.npy", "wb") as file:
            np.save(file, variable.get_value(borrow=True))
            file.flush()
            os.fsync(file.fileno())


if __name__ == "__main__":
    main()
