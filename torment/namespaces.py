"""A private corner of the machine for one run: mounts, and a network namespace for each node, gone with the run.

Here: whether the machine can do it, re-running this command in a mount namespace of its own, small file systems, and
cables between nodes and their bandwidth. Everything is made inside that mount namespace: what the kernel's reference
counts hold ends when the last process of the run does. Needs root, `unshare` (util-linux) and `ip` and `tc` (iproute2).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from primitives.errors import UsageError

INSIDE: Final = "TORMENT_IN_ITS_OWN_NAMESPACE"
NETNS: Final = Path("/run/netns")
SUBNET: Final = "10.77.0"
COMMAND_TIMEOUT_S: Final = 10.0


class CannotDo(UsageError):
    """The machine lacks what a perturbation needs; never passed over in silence."""

    reason = "machine_cannot"


def can_mount() -> bool:
    """Whether this process may mount in a namespace of its own."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return False
    probe = ["unshare", "--mount", "--propagation", "private", "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(probe, capture_output=True, timeout=COMMAND_TIMEOUT_S, check=False).returncode == 0


def can_lay_cables() -> str:
    """Return what is missing for network namespaces with narrow links, or nothing."""
    if os.geteuid() != 0:
        return "root"
    if shutil.which("unshare") is None:
        return "the package util-linux (`apt-get install util-linux`)"
    if not can_mount():
        return "the right to mount (CAP_SYS_ADMIN)"
    if shutil.which("ip") is None or shutil.which("tc") is None:
        return "the package iproute2 (`apt-get install iproute2`)"
    probe = (
        "ip link add type veth && ip link set lo up && tc qdisc add dev lo root tbf rate 1mbit burst 32kbit limit 9k"
    )
    command = ["unshare", "--net", "sh", "-c", probe]
    done = subprocess.run(command, capture_output=True, timeout=COMMAND_TIMEOUT_S, check=False, text=True)
    return "" if done.returncode == 0 else f"a kernel with veth and tbf ({done.stderr.strip()})"


def enter_private_mounts(arguments: Sequence[str]) -> None:
    """Run this program again in a mount namespace of its own, unless it is there already or may not."""
    if os.environ.get(INSIDE) or not can_mount():
        return
    command = ["unshare", "--mount", "--propagation", "private", sys.executable, "-m", "torment", *arguments]
    os.execvpe(command[0], command, {**os.environ, INSIDE: "1"})


def is_private() -> bool:
    """Whether mounts of this process are seen by nobody else."""
    return bool(os.environ.get(INSIDE))


def mount_small(path: Path, size_bytes: int) -> None:
    """Mount an empty file system of so many bytes, closed to others."""
    assert is_private(), "mounts of a run are its own"
    _run("mount", "-t", "tmpfs", "-o", f"size={size_bytes},mode=0700", "torment", str(path))


class Cables:
    """A namespace for each node and one for the switch between them; `close` takes all of it away."""

    def __init__(self, names: Sequence[str]) -> None:
        assert is_private(), "names of namespaces of a run are its own"
        self._prefix = f"tmt{os.getpid()}"
        self._index = {name: place for place, name in enumerate(names, 1)}
        NETNS.mkdir(parents=True, exist_ok=True)
        _run("mount", "-t", "tmpfs", "torment", str(NETNS))
        self._switch = f"{self._prefix}-switch"
        self._made: list[str] = []
        self._make(self._switch)
        _run("ip", "-n", self._switch, "link", "add", "bridge", "type", "bridge")
        _run("ip", "-n", self._switch, "link", "set", "bridge", "up")
        for name in names:
            self._plug(name)

    def _make(self, namespace: str) -> None:
        _run("ip", "netns", "add", namespace)
        self._made.append(namespace)
        _run("ip", "-n", namespace, "link", "set", "lo", "up")

    def _plug(self, name: str) -> None:
        node, port = self.namespace(name), f"port{self._index[name]}"
        self._make(node)
        _run("ip", "-n", node, "link", "add", "wire", "type", "veth", "peer", "name", port, "netns", self._switch)
        _run("ip", "-n", node, "address", "add", f"{self.host(name)}/24", "dev", "wire")
        _run("ip", "-n", node, "link", "set", "wire", "up")
        _run("ip", "-n", self._switch, "link", "set", port, "master", "bridge", "up")

    def namespace(self, name: str) -> str:
        """Return the name of a node's namespace."""
        return f"{self._prefix}-{self._index[name]}"

    def path(self, name: str) -> str:
        """Return the file by which a node's namespace is entered."""
        return str(NETNS / self.namespace(name))

    def host(self, name: str) -> str:
        """Return a node's address."""
        return f"{SUBNET}.{self._index[name]}"

    def cut(self, name: str, *, is_cut: bool) -> None:
        """Pull a node's plug at the switch, or put it back; neither side is told."""
        port = f"port{self._index[name]}"
        _run("ip", "-n", self._switch, "link", "set", port, "down" if is_cut else "up")

    def narrow(self, name: str, bytes_per_second: int) -> None:
        """Let so little through a node's cable each way (tbf, which drops what its queue cannot hold); 0 for all."""
        for namespace, device in ((self.namespace(name), "wire"), (self._switch, f"port{self._index[name]}")):
            if bytes_per_second:
                shape = ("tbf", "rate", f"{bytes_per_second}bps", "burst", "8kb", "latency", "400ms")
                _run("tc", "-n", namespace, "qdisc", "replace", "dev", device, "root", *shape)
            else:
                _run("tc", "-n", namespace, "qdisc", "del", "dev", device, "root")

    def close(self) -> None:
        """Take the namespaces away, their cables with them."""
        for namespace in self._made:
            subprocess.run(
                ["ip", "netns", "del", namespace], capture_output=True, timeout=COMMAND_TIMEOUT_S, check=False
            )
        self._made.clear()


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, timeout=COMMAND_TIMEOUT_S, check=False, text=True)
    if done.returncode:
        raise CannotDo("the machine refuses", where=" ".join(command), got=done.stderr.strip())
