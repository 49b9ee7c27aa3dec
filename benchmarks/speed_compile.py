"""Seconds to compile a training function, each time in a fresh process, for ``speed.py``.

Counted is ``pytensor.function`` and the first call, in which numba compiles; imports are not.
Cold starts with empty folders for what PyTensor and numba keep, warm is the next process with the
same folders. The loss pulls a number of matrices (20x30) and vectors (30) in turn towards one.
"""

import json
import os
import subprocess
import sys
import tempfile
import time

from speed_common import OFF, OURS, mode

RULES = ["sgd", "adam"]
SYSTEMS = [OURS, OFF]


def cold_and_warm(system: str, rule: str, parameters: int, timeout: float) -> list[float | None]:
    """Return the seconds of a cold and of a warm process; None for what exceeds the time."""
    print(f"  {system}, {rule}, {parameters} parameters ...", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        flags = [os.environ.get("PYTENSOR_FLAGS", ""), f"base_compiledir={folder}/pytensor"]
        environment = {
            **os.environ,
            "PYTENSOR_FLAGS": ",".join(filter(None, flags)),
            "NUMBA_CACHE_DIR": f"{folder}/numba",
        }
        command = [sys.executable, __file__, system, rule, str(parameters)]
        seconds: list[float | None] = []
        for _ in range(2):
            try:
                run = subprocess.run(
                    command, env=environment, timeout=timeout, stdout=subprocess.PIPE, check=True
                )
            except subprocess.TimeoutExpired:
                return [*seconds, None, None][:2]
            seconds.append(json.loads(run.stdout))
    return seconds


def seconds_to_compile(system: str, rule: str, parameters: int) -> float:
    """Compile, call once, and return how long both took."""
    import numpy as np
    import pytensor
    import pytensor.link.numba.dispatch  # which PyTensor would import while it compiles

    import updates

    pytensor.config.floatX = "float32"
    random = np.random.default_rng(0)
    params = [
        pytensor.shared(random.random((20, 30) if k % 2 == 0 else 30, dtype="float32"))
        for k in range(parameters)
    ]
    loss = sum(((param - 1) ** 2).sum() for param in params)
    made = getattr(updates, rule)(loss, params, learning_rate=0.01)
    start = time.perf_counter()
    train = pytensor.function([], loss, updates=made, mode=mode(system))
    train()
    seconds = time.perf_counter() - start
    first = params[0].get_value()
    train()
    assert np.square(params[0].get_value() - 1).sum() < np.square(first - 1).sum()
    return seconds


if __name__ == "__main__":
    print(json.dumps(seconds_to_compile(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
