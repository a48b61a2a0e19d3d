"""Network namespaces as hosts: each has an address, and a link with a bandwidth and a latency.

The links meet in a bridge in one more namespace, so the network of the machine does not change.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

DEVICE = "eth0"
_CLONE_NEWNET = 0x40000000
_NAME = "mlpkit-{process}-{number}"
_NAMESPACES = Path("/var/run/netns")


def missing() -> str | None:
    """Return what this machine lacks for namespaces with limited links, None if nothing."""
    commands = [name for name in ("ip", "tc") if shutil.which(name) is None]
    if commands:
        return f"the commands {' and '.join(commands)} of iproute2"
    if os.geteuid() != 0:
        return "root"
    try:
        with hosts(1) as (name,):
            _run(f"tc -n {name} qdisc replace dev {DEVICE} root {_token_bucket(100.0)}")
    except OSError as error:
        return f"a kernel and permissions for `{error}`"
    return None


def has_latency() -> bool:
    """Return whether the kernel can delay packets, which needs ``netem``."""
    with hosts(1) as (name,):
        try:
            _run(f"tc -n {name} qdisc replace dev {DEVICE} root netem delay 1ms")
        except OSError:
            return False
    return True


@contextlib.contextmanager
def hosts(count: int) -> Iterator[list[str]]:
    """Make connected namespaces and yield their names; remove them whatever happens.

    SIGTERM ends the process with its exit code, so that they are removed then too. Those that a
    killed process left are removed by the next one.
    """
    _remove_abandoned()
    switch, *names = (
        _NAME.format(process=os.getpid(), number=number) for number in range(count + 1)
    )
    previous = signal.signal(signal.SIGTERM, lambda signum, _: sys.exit(128 + signum))
    try:
        for name in (switch, *names):
            _run(f"ip netns add {name}")
        _run(f"ip -n {switch} link add bridge type bridge")
        _run(f"ip -n {switch} link set bridge up")
        for number, name in enumerate(names):
            port = f"port{number}"
            _run(f"ip link add {DEVICE} netns {name} type veth peer name {port} netns {switch}")
            _run(f"ip -n {switch} link set {port} master bridge up")
            _run(f"ip -n {name} address add 10.0.0.{number + 1}/24 dev {DEVICE}")
            _run(f"ip -n {name} link set {DEVICE} up")
        yield names
    finally:
        for name in (switch, *names):
            _remove(name)
        signal.signal(signal.SIGTERM, previous)


def enter(name: str) -> None:
    """Move this thread, and the threads and processes that it starts, to a namespace."""
    with (_NAMESPACES / name).open() as namespace:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(namespace.fileno(), _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), name)


def limit(megabits: float | None, milliseconds: float = 0.0) -> None:
    """Set what the namespace of this thread sends in a second, and how late it arrives."""
    queue = "pfifo"  # no limit
    if milliseconds:
        rate = "" if megabits is None else f" rate {megabits:g}mbit"
        queue = f"netem delay {milliseconds:g}ms limit 100000{rate}"
    elif megabits is not None:
        queue = _token_bucket(megabits)
    _run(f"tc qdisc replace dev {DEVICE} root pfifo")  # one kind does not replace another's options
    _run(f"tc qdisc replace dev {DEVICE} root {queue}")


def bytes_sent(device: str) -> int:
    """Return the bytes that a network device of this thread's namespace has sent, with headers."""
    for line in Path("/proc/thread-self/net/dev").read_text().splitlines():
        name, _, fields = line.partition(":")
        if name.strip() == device:
            return int(fields.split()[8])
    raise ValueError(f"device must be a network device, got {device!r}")


def _token_bucket(megabits: float) -> str:
    # With less than the bytes of about 2 ms, timers that are late lower the rate.
    burst = round(megabits * 1e6 / 8 * 2e-3)
    return f"tbf rate {megabits:g}mbit burst {max(burst, 10_000)}b limit 16mb"


def _remove(name: str) -> None:
    subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def _remove_abandoned() -> None:
    pattern = _NAME.format(process=r"(\d+)", number=r"\d+")
    for path in _NAMESPACES.glob("*"):
        found = re.fullmatch(pattern, path.name)
        if found is not None and not Path("/proc", found[1]).exists():
            _remove(path.name)


def _run(command: str) -> None:
    done = subprocess.run(command.split(), check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise OSError(f"{command}: {done.stderr.strip()}")
