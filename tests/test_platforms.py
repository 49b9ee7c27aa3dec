"""What the library does on Windows and macOS, played here, where ``os`` loses what they lack.

Each test runs in a process of its own, from which the names that a platform lacks are taken before
the library is imported.
"""

import json
import os
import subprocess
import sys

import pytest

NOT_ON_MACOS = ["memfd_create", "posix_fallocate", "sched_getaffinity", "sched_setaffinity"]
NOT_ON_WINDOWS = [
    *NOT_ON_MACOS,
    *["O_DIRECTORY", "fchmod", "fchown", "fork", "forkpty", "getuid", "geteuid", "killpg"],
    *["register_at_fork", "statvfs", "uname"],
]
PLATFORMS = {"macOS": ("posix", NOT_ON_MACOS), "Windows": ("nt", NOT_ON_WINDOWS)}
START = """
import json, os, sys, types, warnings
import numpy as np
import pytensor, pytensor.tensor
from pytensor.link.numba import NumbaLinker

name, absent = json.loads(sys.argv[1])
warnings.simplefilter("error", UserWarning)
for attribute in absent:
    delattr(os, attribute)

import updates
from updates import replacing

# `os.name` itself would change how pathlib works.
replacing.os = types.SimpleNamespace(**{**vars(os), "name": name})
w = pytensor.shared(np.array([1.0, -2.0]), name="w")
"""
TRAIN = """
from updates.multi_tensor import numba_is_ready
from updates.private import FEATURES

rule = updates.momentum((w**2).sum(), [w], 0.1)
step = pytensor.function([], updates=rule, mode="FAST_COMPILE")
step()
updates.save("run.npz", rule)
updates.save("run.npz", rule)  # in the place of the first
step()
end = w.get_value()
updates.load("run.npz", rule)
step()
assert np.array_equal(w.get_value(), end)
print(json.dumps([numba_is_ready(), [f.name for f in FEATURES if f.is_lost], os.listdir()]))
"""
REDUCE = """
from updates.distributed import allreduce_mean, broadcast
from updates.distributed.machines import machine_of, share_cores
from mpi4py import MPI

broadcast([w])
[grad] = allreduce_mean([2 * w])
pytensor.function([], updates=updates.sgd([grad], [w], 0.25), mode="FAST_COMPILE")()
machine = machine_of(MPI.COMM_WORLD)
share_cores(machine.local)
print(json.dumps([machine.can_share, w.get_value().tolist()]))
"""


def played(platform, program, folder):
    """Run a program as on a platform, and return what it prints."""
    command = [sys.executable, "-c", START + program, json.dumps(PLATFORMS[platform])]
    environment = {
        **os.environ,
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    }
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_training_and_checkpoints_lose_no_feature(platform, tmp_path):
    assert played(platform, TRAIN, tmp_path) == [True, [], ["run.npz"]]


@pytest.mark.parametrize("platform", PLATFORMS)
def test_reductions_need_no_shared_memory(platform, tmp_path):
    pytest.importorskip("updates.distributed", exc_type=ImportError)
    assert played(platform, REDUCE, tmp_path) == [False, [0.5, -1.0]]


@pytest.mark.parametrize("command", ["rules", "show adam", "race --rules sgd:0.1", "versions"])
def test_what_the_command_line_prints_fits_into_the_encodings_of_windows(command, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "updates", *command.split()],
        cwd=tmp_path,
        env={**os.environ, "PYTHONIOENCODING": "cp437"},  # the narrowest
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode("ascii")
