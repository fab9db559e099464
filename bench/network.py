"""A real network for a benchmark: four nodes as processes, with more sources than `localnet up` registers.

Here: founding and ending it, and running a driver against it. Not here: what is measured (`bench.__main__`).
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from bench.certificates import Group
from bench.driver import Job, Lane
from bench.measure import Snapshot, snapshot
from bench.workload import BenchSource, batch_body, http_request, upgrade_request, websocket_frame
from chainnode.founding import Json
from chainnode.home import Home
from chainnode.identity import new_key, read_key, read_token
from chainnode.localnet import Localnet, LocalNode, Outsider, first_taken, wait_until_ready
from primitives.keys import SigningKey

BASE_PORT = 8_600
SOURCES_A_BANK = 16
SETTLE_S = 0.3
CERTIFICATE_GROUPS = 4
DESKS_OF = {"cb": ("desk", "reviewer", "decider"), "lab": ("laboratory",), "ins": ("inspector",)}


class BenchNet(Localnet):
    """A localnet whose banks have more sources; their keys stay in this process."""

    def __init__(self, directory: Path, sources_a_bank: int = SOURCES_A_BANK) -> None:
        super().__init__(directory)
        self._sources_a_bank = sources_a_bank
        self.over_websocket = False
        self._keys: list[tuple[int, str, SigningKey]] = []
        self._applicants: list[tuple[int, str, SigningKey]] = []
        self._desks: dict[str, list[tuple[str, SigningKey]]] = {}

    def _found_bank(self, node: LocalNode, index: int, now_ms: int) -> Json:
        entry = super()._found_bank(node, index, now_ms)
        for _ in range(self._sources_a_bank):
            key = new_key("source", member=node.member, role="bank")
            entry["member"]["sources"].append({"key": key.public, "roles": ["bank"]})
            self._keys.append((index, node.member, key.signing_key))
        for _ in range(CERTIFICATE_GROUPS):
            key = new_key("source", member=node.member, role="bank")
            entry["member"]["sources"].append({"key": key.public, "roles": ["bank"]})
            self._applicants.append((index, node.member, key.signing_key))
        return entry

    def _found_outsider(self, outsider: Outsider) -> Json:
        entry = super()._found_outsider(outsider)
        desks = DESKS_OF.get(outsider.member, ())
        for desk in desks * CERTIFICATE_GROUPS:
            key = new_key("source", member=outsider.member, role=desk)
            entry["sources"].append({"key": key.public, "roles": list(outsider.roles)})
            self._desks.setdefault(desk, []).append((outsider.member, key.signing_key))
        return entry

    def groups(self) -> list[Group]:
        """Return groups of sources that lead certificates through their lives, each at a bank's node."""
        chain_id, found = bytes.fromhex(self.load().chain_id), []
        for number, (node, bank, key) in enumerate(self._spread(CERTIFICATE_GROUPS)):
            desks = {desk: BenchSource(chain_id, *held[number], node) for desk, held in self._desks.items()}
            officers = [read_key(path, "officer").signing_key for path in self.officers_of("cb")]
            found.append(Group(number, {"bank": BenchSource(chain_id, bank, key, node), **desks}, officers))
        return found

    def _spread(self, count: int) -> list[tuple[int, str, SigningKey]]:
        """Return applicants of as many banks as there are, one bank after another."""
        banks = len(self.load().nodes)
        return [self._applicants[number % banks * count + number // banks] for number in range(count)]

    def sources(self) -> list[BenchSource]:
        """Return all sources, the first of every bank first."""
        chain_id = bytes.fromhex(self.load().chain_id)
        made = [BenchSource(chain_id, member, key, index) for index, member, key in self._keys]
        order = sorted(range(len(made)), key=lambda place: (place % self._sources_a_bank, place))
        return [made[place] for place in order]

    def snapshots(self) -> list[Snapshot]:
        """Return every node's figures, once what trails behind the last answer is done."""
        time.sleep(SETTLE_S)
        return [snapshot(node.pid or 0, Path(node.home), node.ops) for node in self.load().nodes]

    def lane(self, source: BenchSource, batches: Sequence[bytes], events: int, due: Sequence[float] = ()) -> Lane:
        """Return a connection that submits a source's batches through its bank's node, at times if there are any.

        An empty batch stands for a step without one.
        """
        return self.node_lane(source.node, [batch_body(raw) if raw else b"" for raw in batches], events, due)

    def node_lane(
        self, index: int, bodies: Sequence[bytes], events: int, due: Sequence[float] = (), connections: int = 1
    ) -> Lane:
        """Return connections that send JSON-RPC calls to one node."""
        node = self.load().nodes[index]
        host = node.rpc.removeprefix("http://").rstrip("/")
        token = read_token(Home(Path(node.home)).token)
        name, _, port = host.rpartition(":")
        if self.over_websocket:
            frames = [websocket_frame(body) if body else b"" for body in bodies]
            upgrade = upgrade_request(token, host)
            return Lane(name, int(port), frames, events, list(due), connections, upgrade=upgrade)
        requests = [http_request(body, token, host) if body else b"" for body in bodies]
        return Lane(name, int(port), requests, events, list(due), connections)


def free_base(count: int) -> int:
    """Return a base port whose ports are free, not always the same: other networks on this machine look for theirs."""
    bases = random.sample(range(BASE_PORT, BASE_PORT + 4_000, 100), 40)
    return next(base for base in bases if first_taken(count, base) is None)


@contextmanager
def network(count: int, *, run: Sequence[str] = (), sources_a_bank: int = SOURCES_A_BANK) -> Iterator[BenchNet]:
    """Give a ready network of `count` nodes in a directory of its own; `run` replaces the nodes' module, to profile."""
    directory = Path(tempfile.mkdtemp(prefix="chainnode-bench-"))
    net = BenchNet(directory, sources_a_bank)
    try:
        base = free_base(count)
        net.found(count, base_port=base, now_ms=time.time_ns() // 1_000_000 - 1_000, step=lambda _: None)
        start(net, run)
        wait_until_ready(net, [node.name for node in net.load().nodes])
        yield net
    finally:
        if net.exists:
            net.stop()
        shutil.rmtree(directory, ignore_errors=True)


def start(net: BenchNet, run: Sequence[str]) -> None:
    """Start the nodes, or the first of them under another module."""
    if run:
        from chainnode.processes import start_process

        node = net.load().nodes[0]
        process = start_process([*run, "--home", node.home], mark=node.home, log=Home(Path(node.home)).log)
        net._replace(msgspec.structs.replace(node, process=process))
    net.start()


@dataclass(frozen=True)
class Run:
    """What a driver saw, and what it cost every node."""

    answer: dict[str, Any]  # Any: the driver's JSON
    growth: list[Snapshot]

    @property
    def events(self) -> int:
        """Events that were answered as committed."""
        return int(self.answer["committed"])

    @property
    def seconds(self) -> float:
        """From the first request to the last answer."""
        return float(self.answer["seconds"])

    @property
    def events_per_second(self) -> float:
        """Committed events a second."""
        return self.events / self.seconds

    @property
    def cpu_us(self) -> float:
        """CPU microseconds per event and validator, the mean over the nodes."""
        return self.mean("cpu_s") / self.events * 1e6

    def mean(self, name: str) -> float:
        """Return the mean over the nodes of one of their figures."""
        return sum(float(getattr(each, name)) for each in self.growth) / len(self.growth)


def drive(
    net: BenchNet, lanes: Sequence[Lane], *, pause_ms: int = 0, in_step: bool = False, tolerant: bool = False
) -> Run:
    """Run a driver process over these connections and read the nodes' figures before and after."""
    before: list[Snapshot] = []
    answer = send(
        net.directory / "job",
        lanes,
        pause_ms=pause_ms,
        in_step=in_step,
        loaded=lambda: before.extend(net.snapshots()),
        tolerant=tolerant,
    )
    return Run(answer, [late.since(early) for late, early in zip(net.snapshots(), before, strict=True)])


def send(
    path: Path,
    lanes: Sequence[Lane],
    *,
    pause_ms: int = 0,
    late_s_max: float = 0.0,
    in_step: bool = False,
    loaded: Callable[[], None] = lambda: None,
    tolerant: bool = False,
) -> dict[str, Any]:  # Any: the driver's JSON
    """Run a driver process over these connections, calling `loaded` before its first request; return what it saw.

    Raises RuntimeError where an answer was not good, unless the caller is `tolerant` and reads `refusals` itself.
    """
    job = msgspec.msgpack.encode(Job(list(lanes), pause_ms, late_s_max, in_step))
    answer: dict[str, Any] = run_senders("bench.driver", {path: job}, loaded)[0]
    if answer["trouble"] and not tolerant:
        raise RuntimeError(f"a node's answer was not what it should be: {answer['trouble']}")
    return answer


def run_senders(
    module: str, jobs: Mapping[Path, bytes], loaded: Callable[[], None] = lambda: None
) -> list[Any]:  # Any: their JSON
    """Run `module` in a process for each job, call `loaded` once all have read it, start them; return what they saw.

    What they saw comes in files: a pipe takes only part of a long answer from a process without buffers of its own.
    Raises RuntimeError where one fails.
    """
    answers = {path: path.with_suffix(".answer") for path in jobs}
    processes: list[subprocess.Popen[str]] = []
    try:
        for path, answer in answers.items():
            path.write_bytes(jobs[path])
            processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", module, str(path), str(answer)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    cwd=Path(__file__).parents[1],
                )
            )
        for process in processes:
            assert process.stdout is not None
            if process.stdout.readline() != "ready\n":
                raise RuntimeError(f"{module} could not load its job")
        loaded()
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        if any(process.wait() for process in processes):
            raise RuntimeError(f"{module} failed")
        return [json.loads(answer.read_bytes()) for answer in answers.values()]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
        for path, answer in answers.items():
            path.unlink(missing_ok=True)
            answer.unlink(missing_ok=True)
