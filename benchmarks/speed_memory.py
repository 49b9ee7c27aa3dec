"""Peak memory of Adam's step on one large array, in a process of its own, for ``speed.py``.

What counts is how far the peak during three steps lies above what the process held before the
arrays were made, beside the bytes of parameter, gradient and two averages (Linux only). Before
that, a small array has gone through everything, so that compilers and libraries do not count.
"""

import json
import subprocess
import sys
from collections.abc import Callable

import numpy as np
from process_memory import start_peak, status
from speed_common import FUSED, OFF, OURS, cores, mode

SYSTEMS = [OURS, OFF, FUSED]


def peak(system: str, size: int) -> dict[str, float]:
    """Return the bytes of the arrays and of the peak."""
    print(f"  {system} ...", file=sys.stderr, flush=True)
    command = [sys.executable, __file__, system, str(size)]
    run = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return json.loads(run.stdout)


def measure(system: str, size: int) -> dict[str, float]:
    """Take steps with small arrays, then with large ones, and return the peak of the latter."""
    start = torch_start() if system == FUSED else pytensor_start(system)
    start(1000)()
    before = status("VmRSS")
    step = start(size)
    step()
    start_peak()
    for _ in range(3):
        step()
    return {"arrays": 4.0 * 4 * size, "peak": status("VmHWM") - before}


def pytensor_start(system: str) -> Callable[[int], Callable[[], object]]:
    """Compile Adam; return what fills its shared variables with arrays of a size."""
    import pytensor

    import updates

    pytensor.config.floatX = "float32"
    param, grad = (pytensor.shared(np.zeros(1, "float32")) for _ in range(2))
    made = updates.adam([grad], [param])
    step = pytensor.function([], updates=made, mode=mode(system))

    def start(size: int) -> Callable[[], object]:
        for variable in (grad, *made):
            if variable.ndim == 1:
                # ones, as the system hands out zeros only when they are written
                variable.set_value(np.ones(size, "float32"), borrow=True)
        return step

    return start


def torch_start() -> Callable[[int], Callable[[], object]]:
    """Return what makes an optimizer for an array of a size."""
    import torch

    torch.set_num_threads(cores())

    def start(size: int) -> Callable[[], object]:
        param = torch.nn.Parameter(torch.ones(size))
        param.grad = torch.ones(size)
        return torch.optim.Adam([param], fused=True).step

    return start


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
