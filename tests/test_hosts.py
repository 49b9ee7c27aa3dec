"""updates.distributed on several hosts, with networks of their own (``hosts.py``)."""

import json
import os
import re
import signal
import threading
import time
from functools import cache
from pathlib import Path

import pytest
from hosts import Hosts, reason_against
from mpi_jobs import run
from test_distributed import KILLED

PROGRAM = Path(__file__).with_name("distributed_run.py")
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("mpi")]


@pytest.fixture(scope="module", autouse=True)
def _possible():
    if reason := reason_against():
        pytest.skip(reason)


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """Return a function: hosts, processes on each -> folder and what each process found."""

    @cache
    def run_on(number, per_host):
        folder = tmp_path_factory.mktemp(f"hosts{number}")
        arguments = [f"{number}x{per_host}", folder]
        if number * per_host == 2:  # which loads what four hosts have saved
            arguments.append(run_on(4, 1)[0])
        with Hosts(number, rate=1e9, delay=1e-4) as hosts:
            status, out, err = run(*hosts.processes(per_host), PROGRAM, *arguments, seconds=100)
        assert status == 0, out + err
        files = [folder / f"{rank}.jsonl" for rank in range(number * per_host)]
        found = [map(json.loads, file.read_text().splitlines()) for file in files]
        return folder, [{line["case"]: line for line in lines} for lines in found]

    def look_up(number, per_host, case):
        lines = [own[case] for own in run_on(number, per_host)[1]]
        for rank, line in enumerate(lines):
            assert "failed" not in line, f"rank {rank}: {line['failed']}"
        return [line["found"] for line in lines]

    return look_up


ON = pytest.mark.parametrize(("number", "per_host"), [(4, 1), (2, 2)])


@ON
def test_hosts_are_told_apart(number, per_host, job):
    for rank, own in enumerate(job(number, per_host, "machines")):
        first = rank // per_host * per_host
        assert own["ranks"] == list(range(first, first + per_host))
        assert own["hosts"] == number
        assert own["shares"] == (per_host > 1)
        assert own["right"]


def test_hosts_take_the_steps_of_one_process_with_larger_batches(job):
    found = {k: v for own in job(4, 1, "equivalence_on_hosts") for k, v in own.items()}
    assert len(found) == 10
    assert max(errors["error"] for errors in found.values()) < 1e-12
    assert min(errors["moved"] for errors in found.values()) > 1e-5


@ON
def test_hosts_hold_the_same_bits(number, per_host, job):
    found = job(number, per_host, "same_bits_on_hosts")
    starts, equal_starts, ends = zip(*(own["digests"] for own in found), strict=True)
    assert len(set(starts)) == number * per_host
    assert set(equal_starts) == {starts[0]}
    assert len(set(ends)) == 1


def test_a_checkpoint_of_four_hosts_resumes_on_two(job):
    saved = job(4, 1, "save")[0]["digest"]
    for own in job(2, 1, "resume"):
        assert own["loaded"] == saved
        assert own["extra"] == {"step": 10}
        assert own["trained"] != saved


def meanwhile(hosts, folder, ending, action):
    """Run a way to end, and do something to the hosts while they train; return what is written.

    Tell the job afterwards to come to its end, unless the action returns False.
    """

    def act():
        begun = [folder / f"begun{rank}" for rank in range(len(hosts.names))]
        while not all(file.exists() for file in begun):
            time.sleep(0.05)
        if action() is not False:
            time.sleep(1.5)  # for a process that looks once in a quarter of a second
            (folder / "told").touch()

    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    return run(*hosts.processes(1), PROGRAM, ending, folder, seconds=60)


def pause(hosts):
    """Stop the process on the last host for five seconds."""
    process = hosts.process_on(-1, str(PROGRAM))
    os.kill(process, signal.SIGSTOP)
    time.sleep(5)
    os.kill(process, signal.SIGCONT)


def cut(hosts):
    """Let the link of the last host be down for three seconds."""
    hosts.down.add(len(hosts.names) - 1)
    time.sleep(3)
    hosts.down.clear()


@pytest.mark.parametrize("trouble", [pause, cut])
def test_training_goes_on_after_trouble_and_says_for_whom_it_waited(trouble, tmp_path):
    with Hosts(2, rate=100e6, delay=1e-3) as hosts:
        status, out, err = meanwhile(hosts, tmp_path, "until_told", lambda: trouble(hosts))
        other = hosts.names[1]
    assert status == 0, out + err
    assert len(re.findall("digest .*", out)) == 2, out + err
    assert len(set(re.findall("digest .*", out))) == 1, out
    warning = r"waiting for \d s, rank 0 on host \S+: allreduce_(mean|sum) of . tensors? \(.*\)\. "
    assert re.search(f"{warning}It waits for at least one of rank 1 on {other}: ", err), err
    assert re.search(r"rank 0 goes on after \d s", err), err


def test_a_link_that_stays_down_ends_all_processes_with_a_status(tmp_path):
    with Hosts(2, rate=100e6, delay=1e-3, retries=4) as hosts:
        cut_at = []

        def cut_for_good():
            hosts.down.add(1)
            cut_at.append(time.monotonic())
            return False

        status, out, err = meanwhile(hosts, tmp_path, "until_cut_off", cut_for_good)
        seconds = time.monotonic() - cut_at[0]
        left = [hosts.process_on(place, str(PROGRAM)) for place in range(2)]
    assert status not in (0, None), out + err  # mpirun has given its connection up, too
    assert "after 3 s of waiting the job ends, by rank 0 on host" in err
    assert left == [None, None]
    assert seconds < 20


def test_a_killed_process_ends_the_job_on_all_hosts(tmp_path):
    with Hosts(2, rate=100e6, delay=1e-3) as hosts:
        status, out, err = run(*hosts.processes(1), PROGRAM, "killed", tmp_path)
        seconds = time.time() - float((tmp_path / "failed").read_text())
        left = [hosts.process_on(place, str(PROGRAM)) for place in range(2)]
    assert status != 0, out + err
    assert re.search(KILLED, out + err), out + err
    assert left == [None, None]
    assert seconds < 20
