"""Hosts for tests: network namespaces of this machine with names, addresses and links of their own.

    with Hosts(4, rate=100e6, delay=1e-3) as hosts:
        run(*hosts.processes(per_host=1), "program.py")

Each host has one device, whose packets a thread of this process reads, delays and hands on, as
a switch does with links of equal rate. A link that is down loses them.

- ``Hosts``: the hosts and their links
- ``reason_against``: why there can be none here
"""

import contextlib
import ctypes
import fcntl
import heapq
import os
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from functools import cache
from itertools import count
from pathlib import Path

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x1, 0x1000
CLONE_NEWNET = 0x40000000
MTU = 9000
BACKLOG_SECONDS = 2e-3  # what a link accepts ahead of time

AGENT = """#!/bin/sh
host=$1
shift
exec ip netns exec "$host" unshare --uts sh -c 'hostname "$0"; exec sh -c "$1"' "$host" "$*"
"""


class Hosts:
    """Hosts of this machine and the links between them.

    Parameters
    ----------
    number : int
        How many hosts.
    rate : float
        Bits a second of each link, in each direction.
    delay : float
        Seconds from host to host, beside those that the machine takes.
    retries : int
        How often a host sends data once more before it gives a connection up: 4 are 6 seconds.

    Attributes
    ----------
    names : list of str
        The names of the hosts.
    down : set of int
        The hosts whose link is down.
    """

    def __init__(self, number, rate=1e9, delay=0.0, retries=15):
        self.names = [f"updates{os.getpid()}-{k}" for k in range(number)]
        self.rate, self.delay, self.retries = rate, delay, retries
        self.down = set()

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self.devices = [self._host(name, k, stack) for k, name in enumerate(self.names)]
            stack.callback(self._end_processes)
            self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            self.agent = self.folder / "agent"
            self.agent.write_text(AGENT)
            self.agent.chmod(0o755)
            self.ends = threading.Event()
            switch = threading.Thread(target=self._switch)
            switch.start()
            stack.callback(switch.join)
            stack.callback(self.ends.set)
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *error):
        self.stack.close()

    def processes(self, per_host, *options):
        """Return the command that starts Python in so many processes on each host."""
        mpirun = Path(sys.executable).with_name("mpirun")
        listed = ",".join(f"{name}:{per_host}" for name in self.names)
        number = per_host * len(self.names)
        start = ["ip", "netns", "exec", self.names[0], "unshare", "--uts"]
        start += ["sh", "-c", 'hostname "$0"; exec "$@"', self.names[0]]
        start += [mpirun, "-n", number, "--host", listed]
        start += ["--map-by", "slot:oversubscribe", "--prtemca", "plm_ssh_agent", self.agent]
        return [*start, *options, sys.executable]

    def process_on(self, host, words):
        """Return the number of a process on a host whose command line has these words."""
        for number in self._numbers(self.names[host]):
            with contextlib.suppress(OSError):
                line = Path(f"/proc/{number}/cmdline").read_bytes().decode().split("\0")
                if line[0] == sys.executable and words in line:
                    return number
        return None

    def _host(self, name, place, stack):
        """Make a host; return the descriptor of its device."""
        _ip("netns", "add", name)
        stack.callback(_ip, "netns", "delete", name)
        device = _device(f"/run/netns/{name}")
        stack.callback(os.close, device)
        address = f"10.77.0.{place + 1}/24"
        _ip("-n", name, "address", "add", address, "dev", "eth")
        _ip("-n", name, "link", "set", "eth", "mtu", MTU, "txqueuelen", 1000, "up")
        _ip("-n", name, "link", "set", "lo", "up")
        setting = f"echo {self.retries} > /proc/sys/net/ipv4/tcp_retries2"
        _ip("netns", "exec", name, "sh", "-c", setting)
        return device

    def _end_processes(self):
        for name in self.names:
            for number in self._numbers(name):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)

    def _numbers(self, name):
        listed = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True)
        return list(map(int, listed.stdout.split()))

    def _switch(self):
        """Hand packets on, each when it has passed the link of its host and that of the other."""
        # Before the processes of the hosts, which wait at full speed.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), -15)
        places = {device: place for place, device in enumerate(self.devices)}
        sent = [0.0] * len(places)  # when a link has sent all that it has accepted
        received = list(sent)
        underway, numbers = [], count()
        while not self.ends.is_set():
            now = time.perf_counter()
            free_at = {device: sent[place] - BACKLOG_SECONDS for device, place in places.items()}
            accepting = [device for device, at in free_at.items() if at < now]
            times = [at for at in free_at.values() if at >= now]
            times += [underway[0][0]] if underway else []
            wait = max(0.0, min([now + 0.1, *times]) - now)
            for device in select.select(accepting, [], [], wait)[0]:
                packet = os.read(device, MTU + 100)
                target = packet[19] - 1
                if packet[0] >> 4 != 4 or target not in range(len(places)):
                    continue  # what is for all hosts
                source, seconds = places[device], len(packet) * 8 / self.rate
                sent[source] = max(time.perf_counter(), sent[source]) + seconds
                received[target] = max(sent[source], received[target] + seconds)
                if not {source, target} & self.down:
                    due = received[target] + self.delay
                    heapq.heappush(underway, (due, next(numbers), target, packet))
            now = time.perf_counter()
            while underway and underway[0][0] <= now:
                _, _, target, packet = heapq.heappop(underway)
                if target not in self.down:
                    os.write(self.devices[target], packet)


@cache
def reason_against():
    """Return why there can be no hosts here, or an empty text."""
    if sys.platform != "linux":
        return "there are network namespaces on Linux only"
    if os.geteuid() != 0:
        return "network namespaces need root"
    missing = [name for name in ("ip", "unshare", "hostname") if not shutil.which(name)]
    if missing:
        return f"there is no {missing[0]}"
    if not Path(sys.executable).with_name("prterun").exists():
        return "hosts are tried with Open MPI 5 beside Python only"
    try:
        with Hosts(1):
            return ""
    except (OSError, subprocess.CalledProcessError) as error:
        return f"network namespaces cannot be made: {error}"


def _ip(*arguments):
    subprocess.run(["ip", *map(str, arguments)], check=True, capture_output=True)


def _device(namespace):
    """Make a device in a network namespace; return the descriptor of its packets."""
    enter = ctypes.CDLL(None, use_errno=True).setns
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    other = os.open(namespace, os.O_RDONLY)
    try:
        if enter(other, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"cannot enter {namespace}")
        device = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", b"eth", IFF_TUN | IFF_NO_PI))
        return device
    finally:
        enter(home, CLONE_NEWNET)
        os.close(home)
        os.close(other)
