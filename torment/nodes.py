"""The nodes of one run: a localnet whose links, disks and clocks can be tampered with.

Here: founding it, starting and ending single nodes, asking them. Not here: what stands between them (`wires`), their
disks (`disks`), which fault comes when (`perturb`), what must hold afterwards (`checks`). Logs lie outside the homes:
a wiped disk leaves them. Calls come from several threads: one node belongs to one perturbation at a time.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from chainnode.client import CallRefused, NodeClient, TimedOut, Unreachable
from chainnode.founding import read_genesis
from chainnode.home import Home
from chainnode.identity import read_token
from chainnode.localnet import PORTS_A_NODE, Localnet, LocalNode, first_taken, planned, tail
from chainnode.processes import ProcessRecord, is_alive, send, start_process, wait_until_gone
from torment.disks import move_to_small_disk
from torment.manifest import Links, Manifest
from torment.namespaces import CannotDo, can_lay_cables, is_private
from torment.releases import Release, later_release, this_release
from torment.wires import Wires

PORTS_FROM: Final = 20_000
PORTS_TO: Final = 30_000
PORTS_TRIES: Final = 200
READY_S: Final = 60.0
STOP_S: Final = 15.0
CLI_S: Final = 120.0
FAKETIME: Final = (
    Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"),
    Path("/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1"),
)
SETTINGS: Final[Mapping[str, object]] = {
    "consensus.status_interval_ms": 500,
    "rpc.requests_per_second_max": 1_000_000,
    "p2p.reconnect_delay_ms_max": 1_000,
}

Json = dict[str, Any]  # Any: a node's answer


def faketime_library() -> Path | None:
    """Return the library that fakes the clock, None where it is not installed."""
    return next((path for path in FAKETIME if path.exists()), None)


def missing(manifest: Manifest) -> list[str]:
    """Return what this machine lacks for a manifest, each with what would help."""
    lacks = []
    if manifest.set_clocks and faketime_library() is None:
        lacks.append("clock: libfaketime (`apt-get install faketime`)")
    if manifest.links is Links.NAMESPACES and (what := can_lay_cables()):
        lacks.append(f"namespaces: {what}")
    return lacks


class Nodes:
    """Founded by `__init__`, gone after `close`; `directory` keeps homes, logs and clock files."""

    def __init__(self, directory: Path, manifest: Manifest) -> None:
        self.directory = directory
        self.manifest = manifest
        self.names = manifest.founders
        self.logs = directory / "logs"
        self.logs.mkdir(parents=True)
        self.net = Localnet(directory / "net")
        # A node's ten ports, and as many again for what stands between the nodes.
        ports = _free_ports(2 * len(manifest.names))
        self.net.found(manifest.nodes, base_port=ports, now_ms=time.time_ns() // 1_000_000 - 1_000, step=lambda _: None)
        self.genesis = read_genesis(self.net.directory / "genesis.json")
        self._nodes: dict[str, LocalNode] = {node.name: node for node in self.net.load().nodes}
        for place, name in enumerate(manifest.joiners, manifest.nodes):
            self._nodes[name] = planned(self.net.directory, name, ports + PORTS_A_NODE * place)
        self._processes: dict[str, ProcessRecord] = {}
        self._releases = dict.fromkeys(manifest.names, this_release())
        self.later = later_release(directory) if manifest.upgrades else None
        self.wires = Wires(
            directory / "routes.json",
            manifest.links,
            list(self._nodes.values()),
            joiners=manifest.joiners,
            link_ports=ports + PORTS_A_NODE * len(manifest.names),
        )
        self.peaks: dict[str, Json] = {name: {"rss_mib": 0, "fds": 0} for name in manifest.names}
        for name in manifest.names:
            self.clock_file(name).write_text("+0s\n")
        for name in self.names:
            self.configure(name)
            if name in manifest.small_disks and is_private():
                move_to_small_disk(self.home(name).data)

    def configure(self, name: str) -> None:
        """Write into a node's settings what this run asks of it."""
        settings: dict[str, object] = {**SETTINGS, "consensus.view_timeout_ms": self.manifest.view_timeout_ms}
        settings["p2p.listen"] = self.wires.listen(name)
        settings["p2p.peers"] = self.wires.peers_of(name)
        settings["rpc.listen"] = self._nodes[name].rpc.rpartition("/")[2]
        settings["ops.listen"] = self._nodes[name].ops.rpartition("/")[2]
        write_settings(self.home(name).config, settings)

    def add(self, name: str) -> None:
        """Count a joiner among the nodes from now on: it is where a founder would be."""
        self.names = (*self.names, name)

    # --- processes

    def home(self, name: str) -> Home:
        """Return a node's home."""
        return Home(Path(self._nodes[name].home))

    def log(self, name: str) -> Path:
        """Return the file that takes what a node says."""
        return self.logs / f"{name}.log"

    def clock_file(self, name: str) -> Path:
        """Return the file that libfaketime reads a node's offset from."""
        return self.directory / f"{name}.clock"

    def _environment(self, name: str) -> dict[str, str]:
        library = faketime_library()
        if name not in self.manifest.set_clocks or library is None:
            return {}
        # The monotonic clock stays real, as a machine's does when its wall clock is set; and without the fix for old C
        # libraries, which makes each wait for the interpreter's lock as long as the two clocks differ.
        return {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self.clock_file(name)),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",
            "FAKETIME_CACHE_DURATION": "1",
            "NO_FAKE_STAT": "1",
        }

    def _command(self, name: str) -> list[str]:
        return ["-m", "chainnode.main", "--home", self._nodes[name].home]

    def release(self, name: str) -> Release:
        """Return the release that a node is from its next start on, or already."""
        return self._releases[name]

    def upgrade(self, name: str) -> None:
        """Let a node be the later release from its next start on."""
        assert self.later is not None, "the manifest names an upgrade"
        self._releases[name] = self.later

    def start(self, name: str) -> None:
        """Start a node that does not run."""
        assert not self.runs(name), name
        self._processes[name] = start_process(
            self._command(name),
            mark=self._nodes[name].home,
            log=self.log(name),
            # Named behind `env`: what starts a process puts its own tree first.
            before=[*self.wires.before(name), "env", f"PYTHONPATH={self.release(name).tree}"],
            variables=self._environment(name),
        )

    def runs(self, name: str) -> bool:
        """Whether a node's process is there."""
        process = self._processes.get(name)
        return process is not None and is_alive(process)

    def pid(self, name: str) -> int | None:
        """Return the id of a node's process while it runs."""
        return self._processes[name].pid if self.runs(name) else None

    def signal(self, name: str, number: signal.Signals) -> bool:
        """Signal a node; False where it does not run."""
        process = self._processes.get(name)
        return process is not None and send(process, number)

    def kill(self, *names: str) -> None:
        """kill -9, all before any is waited for."""
        for name in names:
            self.signal(name, signal.SIGKILL)
        for name in names:
            self.wait_gone(name)

    def stop(self, name: str) -> None:
        """End a node in order; it must not need more than `STOP_S`."""
        self.signal(name, signal.SIGTERM)
        if not self.wait_gone(name):
            self.kill(name)
            raise TimedOut("did not stop in order", where=name, expected=f"within {STOP_S:g} s")

    def wait_gone(self, name: str, timeout_s: float = STOP_S) -> bool:
        """Return True once a node's process has ended, False where it has not in time."""
        process = self._processes.get(name)
        return process is None or wait_until_gone(process, timeout_s)

    def wait_ready(self, name: str, timeout_s: float = READY_S) -> Json:
        """Return what a node says of itself once it answers. Raises `TimedOut` with its last words."""
        end = time.monotonic() + timeout_s
        while (found := self.status(name)) is None:
            if not self.runs(name) or time.monotonic() > end:
                raise TimedOut("does not answer after its start", where=name, got=self.last_words(name))
            time.sleep(0.1)
        return found

    def start_by_hand(self, name: str, timeout_s: float = READY_S) -> tuple[int | None, str]:
        """Start a node by hand until it answers or ends; return its status (None where it runs) and its last line."""
        command = [*self.wires.before(name), sys.executable, *self._command(name)]
        release = self.release(name)
        variables = {**os.environ, **self._environment(name), **release.variables}
        with self.log(name).open("ab") as log:
            place = log.tell()
            process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=variables, cwd=release.tree
            )
            end = time.monotonic() + timeout_s
            while (status := process.poll()) is None and time.monotonic() < end and self.status(name) is None:
                time.sleep(0.1)
            if status is None:
                process.terminate()
                process.wait(STOP_S)
                return None, ""
        said = self.log(name).read_bytes()[place:].decode("utf-8", "replace").splitlines()
        return status, said[-1] if said else ""

    def last_words(self, name: str) -> str:
        """Return the last line of a node's log."""
        lines = tail(self.log(name), 1)
        return lines[-1] if lines else "nothing in its log"

    def cli(self, name: str, *words: str, timeout_s: float = CLI_S) -> subprocess.CompletedProcess[str]:
        """Run the command line of a node's release with its home. Raises `subprocess.TimeoutExpired`."""
        return self.release(name).run("--home", self._nodes[name].home, "-o", "json", *words, timeout_s=timeout_s)

    def fsck(self, name: str) -> tuple[int, Json]:
        """Verify a stopped node's home with the command line; returns its status and report."""
        done = self.cli(name, "fsck")
        try:
            report = json.loads(done.stdout or done.stderr)
        except ValueError:
            report = {"problem": (done.stderr or done.stdout)[-400:]}
        if "error" in report:  # it could not even begin
            report["problem"] = report["error"].get("message")
        return done.returncode, report

    # --- asking

    def rpc(self, name: str) -> str:
        """Return the endpoint of a node."""
        return self._nodes[name].rpc

    def token(self, name: str) -> str:
        """Return the token with which a node takes submissions."""
        return read_token(self.home(name).token)

    def call(self, name: str, method: str, /, *, timeout_s: float = 10.0, **params: Any) -> Any:  # Any: JSON both ways
        """Call a node once, over a connection of its own."""
        client = NodeClient(self.rpc(name), token=self.token(name), timeout_s=timeout_s)
        try:
            return client.call(method, **params)
        finally:
            client.close()

    def status(self, name: str, timeout_s: float = 2.0) -> Json | None:
        """Return what a node says of itself, None where it does not answer."""
        try:
            found: Json = self.call(name, "net_status", timeout_s=timeout_s)
        except (Unreachable, TimedOut, CallRefused):
            return None
        return found

    def leader(self) -> str:
        """Return the leader as most nodes that answer see it."""
        seen = [status["leader"] for name in self.names if (status := self.status(name, 1.0)) is not None]
        return max(sorted(set(seen)), key=seen.count) if seen else self.names[0]

    def clock_of(self, name: str) -> float | None:
        """Return a node's wall clock in seconds, by the Date of an answer of its server."""
        from email.utils import parsedate_to_datetime

        address = urlsplit(self._nodes[name].ops)
        connection = HTTPConnection(str(address.hostname), address.port, timeout=3.0)
        try:
            connection.request("GET", "/livez")
            said = connection.getresponse().getheader("Date")
        except (OSError, HTTPException):
            return None
        finally:
            connection.close()
        return parsedate_to_datetime(said).timestamp() if said else None

    def sample(self) -> None:
        """Note each node's resident memory and open files, for their peaks."""
        for name in self.names:
            pid = self.pid(name)
            if pid is None:
                continue
            with contextlib.suppress(OSError, IndexError):
                found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
                peak = self.peaks[name]
                peak["rss_mib"] = max(peak["rss_mib"], int(found[1]) // 1_024 if found else 0)
                peak["fds"] = max(peak["fds"], len(os.listdir(f"/proc/{pid}/fd")))

    # --- ending

    def close(self) -> None:
        """End every process of the run, and what stood between them."""
        for name in self.manifest.names:
            self.signal(name, signal.SIGCONT)
            self.signal(name, signal.SIGKILL)
        for name in self.manifest.names:
            self.wait_gone(name)
        self.wires.close()


def write_settings(path: Path, settings: Mapping[str, object]) -> None:
    """Write settings into a node's file, which shows each of them as a comment or a value."""
    text = path.read_text()
    for key, value in settings.items():
        section, _, field = key.partition(".")
        head, mark, rest = text.partition(f"[{section}]\n")
        setting = f"{field} = {json.dumps(value)}".replace("\\", r"\\")
        rest, count = re.subn(rf"(?m)^(# )?{field} = .*$", setting, rest, count=1)
        assert mark, key
        assert count, key
        text = head + mark + rest
    path.write_text(text)


def _free_ports(blocks: int) -> int:
    """Return a base port with so many blocks of ten whose ports nobody listens on."""
    draw = random.SystemRandom()
    for _ in range(PORTS_TRIES):
        base = draw.randrange(PORTS_FROM, PORTS_TO, PORTS_A_NODE)
        if first_taken(blocks, base) is None:
            return base
    raise CannotDo("no free ports", got=f"{PORTS_FROM} to {PORTS_TO}")


@contextlib.contextmanager
def nodes(directory: Path, manifest: Manifest) -> Iterator[Nodes]:
    """Give the founded nodes of a manifest, none started, and end all of it."""
    made = Nodes(directory, manifest)
    try:
        yield made
    finally:
        made.close()
