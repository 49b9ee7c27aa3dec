"""Which rules train in a mode of PyTensor, and what is missing where they do not.

    pip install "pytensor-updates[test]" torch   (or mlx, jax)
    python benchmarks/backends.py PYTORCH        (or MLX, JAX, NUMBA, CVM)

Takes three steps in float32 with every rule and composition that the tests have, and compares the
parameters with those that PyTensor computes in Python.
"""

import argparse
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytensor

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from catalogue import AS_WRITTEN, COMPOSITIONS, RULES, loss_of, parameters

TOLERANCE = 1e-3


def after_three_steps(rule: Any, mode: Any) -> list[np.ndarray]:
    params = parameters(("float32",) * 4)
    step = pytensor.function([], updates=rule(loss_of(params), params), mode=mode)
    for _ in range(3):
        step()
    return [np.asarray(param.get_value()) for param in params]


def problem_with(rule: Any, mode: str) -> str:
    """Return what goes wrong, "" if nothing does."""
    expected = after_three_steps(rule, AS_WRITTEN)
    try:
        got = after_three_steps(rule, mode)
    except Exception as error:
        return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"[:150]
    pairs = zip(got, expected, strict=True)
    difference = max(float(np.max(abs(a - b) / (TOLERANCE + abs(b)))) for a, b in pairs)
    return "other values" if difference > TOLERANCE else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("mode")
    mode = parser.parse_args().mode
    problems: dict[str, list[str]] = defaultdict(list)
    for rule in [*(row.rule for row in RULES), *COMPOSITIONS]:
        name = getattr(rule, "__name__", repr(rule).partition("(")[0])
        problems[problem_with(rule, mode)].append(name)
    print(f"{mode}, PyTensor {pytensor.__version__}: {len(problems.pop('', []))} train")
    for problem, names in problems.items():
        print(f"{len(names):3} {problem}: {', '.join(dict.fromkeys(names))}")


if __name__ == "__main__":
    main()
