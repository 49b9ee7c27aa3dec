"""CPU seconds of tasks that run in processes of their own, with cache folders of their own.

Processor time, and not time on the wall, so that what else the machine does hardly matters.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

Environment = dict[str, str]


def cpu_seconds() -> float:
    """Return the user and system time of this process and of the children it has waited for."""
    return sum(os.times()[:4])


@contextlib.contextmanager
def empty_caches() -> Iterator[Environment]:
    """Give an environment in which PyTensor and numba keep what they compile in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        flags = [os.environ.get("PYTENSOR_FLAGS", ""), f"base_compiledir={folder}/pytensor"]
        yield {
            **os.environ,
            "PYTENSOR_FLAGS": ",".join(filter(None, flags)),
            "NUMBA_CACHE_DIR": f"{folder}/numba",
        }


def run(environment: Environment, program: str, *arguments: object) -> dict[str, Any]:
    """Run a Python program in a process of its own and return what it writes, which is JSON."""
    command = [sys.executable, program, *map(str, arguments)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)
