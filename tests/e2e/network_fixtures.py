"""A real network for tests: four processes on free ports, in a temporary directory, ended with the test.

Here: starting, killing and asking nodes, and what is checked of a whole chain. Not here: traffic (`traffic_fixtures`).
Every process is known by id and start time (`chainnode.processes`), and only those that this file started are ended.
"""

from __future__ import annotations

import base64
import json
import os
import random
import re
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from chainnode.client import CallRefused, NodeClient, TimedOut, Unreachable
from chainnode.founding import read_genesis
from chainnode.home import Home
from chainnode.identity import read_token
from chainnode.localnet import PORTS_A_NODE, Localnet, LocalNode, first_taken, tail, wait_until_ready
from chainnode.processes import ProcessRecord, is_alive, send, wait_until_gone
from ledger.genesis import Genesis
from ledger.rules import RULES_NEWEST
from primitives.block import BlockHeader
from primitives.encoding import decode
from primitives.ids import Epoch, Hash, Height, View
from primitives.validators import Validator, ValidatorSet
from primitives.votes import COMMIT, QuorumCertificate, verify_certificate

Json = dict[str, Any]

NAMES = ("bank-a", "bank-b", "bank-c", "bank-d")
CALLS_A_REQUEST = 100
STUCK_S = 60.0
"""Nothing of a test takes as long, on a machine that does much else: whoever waits longer is told what stands still."""
_GIVEN: set[int] = set()
PORTS_FROM, PORTS_TO = 20_000, 30_000  # below the system's ephemeral ports, above those of localnets by hand
QUICK = {
    "consensus.view_timeout_ms": 600,
    "consensus.status_interval_ms": 300,
    "rpc.requests_per_second_max": 1_000_000,
}

NO_POLICY: Mapping[str, int] = MappingProxyType({})


class Network:
    """Four nodes; owned by one test or module, which must `close` it."""

    def __init__(
        self,
        directory: Path,
        settings: Mapping[str, object] = QUICK,
        policy: Mapping[str, int] = NO_POLICY,
        *,
        rules: int = RULES_NEWEST,
    ) -> None:
        self.net = Localnet(directory / "net", policy, rules=rules)
        with self.net.held():
            self.net.found(len(NAMES), base_port=free_ports(), now_ms=time.time_ns() // 1_000_000, step=lambda _: None)
        for name in NAMES:
            self.set(name, settings)
        self.genesis: Genesis = read_genesis(self.net.directory / "genesis.json")
        self.sets = {0: ValidatorSet(Epoch(0), tuple(self.genesis.validators))}
        self._clients: dict[str, NodeClient] = {}

    # --- processes

    def set(self, name: str, settings: Mapping[str, object]) -> None:
        """Write settings into a node's file; they count from its next start."""
        path = self.home(name).config
        text = path.read_text()
        for key, value in settings.items():
            section, _, field = key.partition(".")
            head, mark, rest = text.partition(f"[{section}]\n")
            rest, count = re.subn(rf"(?m)^(# )?{field} = .*$", f"{field} = {json.dumps(value)}", rest, count=1)
            assert mark, key
            assert count, key
            text = head + mark + rest
        path.write_text(text)

    def start(self, *names: str) -> None:
        """Start the named nodes, or all, and return when they are ready."""
        self.spawn(*names)
        wait_until_ready(self.net, names or NAMES)

    def spawn(self, *names: str) -> None:
        """Start the named nodes, or all, without waiting."""
        self.net.start(names or NAMES)

    def kill(self, *names: str) -> None:
        """kill -9, all at once."""
        processes = [self._process(name) for name in names]
        for name, process in zip(names, processes, strict=True):
            self._clients.pop(name, None)
            assert send(process, signal.SIGKILL), f"{name} did not run"
        for process in processes:
            assert wait_until_gone(process, STUCK_S)

    def stop(self, name: str) -> None:
        """End one node in order."""
        process = self._process(name)
        assert send(process, signal.SIGTERM), f"{name} did not run"
        assert wait_until_gone(process, STUCK_S), name
        self._clients.pop(name, None)

    def wait_gone(self, name: str) -> str:
        """Return the last line of a node that ends by itself."""
        assert wait_until_gone(self._process(name), STUCK_S), f"{name} still runs"
        self._clients.pop(name, None)
        return tail(self.home(name).log, 1)[0]

    @contextmanager
    def held_up(self, name: str) -> Iterator[None]:
        """Let one node stand still, its links open, while the block runs."""
        process = self._process(name)
        assert send(process, signal.SIGSTOP), f"{name} did not run"
        try:
            yield
        finally:
            send(process, signal.SIGCONT)

    def runs(self, name: str) -> bool:
        process = self.node(name).process
        return process is not None and is_alive(process)

    def _process(self, name: str) -> ProcessRecord:
        process = self.node(name).process
        assert process is not None, f"{name} was never started"
        return process

    def close(self) -> None:
        for client in self._clients.values():
            client.close()
        self.net.stop()

    # --- asking

    def node(self, name: str) -> LocalNode:
        return self.net.node(name)

    def home(self, name: str) -> Home:
        return Home(self.net.directory / "nodes" / name)

    def token(self, name: str) -> str:
        return read_token(self.home(name).token)

    def new_client(self, name: str, *, timeout_s: float = STUCK_S / 2, token: bool = True) -> NodeClient:
        return NodeClient(self.node(name).rpc, token=self.token(name) if token else None, timeout_s=timeout_s)

    def call(self, name: str, method: str, /, **params: Any) -> Any:
        """Call as the node's own member; one client a node, for the test's own thread."""
        if name not in self._clients:
            self._clients[name] = self.new_client(name)
        return self._clients[name].call(method, **params)

    def calls(self, name: str, method: str, params: Sequence[Json]) -> list[Json]:
        """Return the answers (`result` or `error`) to many calls of one method, sent as JSON-RPC batches."""
        answers: list[Json] = []
        for start in range(0, len(params), CALLS_A_REQUEST):
            part = params[start : start + CALLS_A_REQUEST]
            body = [{"jsonrpc": "2.0", "id": i, "method": method, "params": item} for i, item in enumerate(part)]
            found = json.loads(self.http(name, "POST", "/", json.dumps(body).encode())[1])
            answers += sorted(found, key=lambda answer: answer["id"])
        return answers

    def http(
        self, name: str, verb: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Return status and body of one plain HTTP exchange with a node's RPC listener."""
        address = urlsplit(self.node(name).rpc)
        connection = HTTPConnection(str(address.hostname), address.port, timeout=STUCK_S / 2)
        try:
            given = {"Content-Type": "application/json"} if headers is None else dict(headers)
            connection.request(verb, path, body, given)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def ops(self, name: str, path: str) -> tuple[int, str]:
        """Return status and text of the operations listener."""
        address = urlsplit(self.node(name).ops)
        connection = HTTPConnection(str(address.hostname), address.port, timeout=STUCK_S / 2)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def status(self, name: str) -> Json:
        found: Json = self.call(name, "net_status")
        return found

    def leader(self, names: Iterable[str] = NAMES) -> str:
        """Return the leader as most of the named nodes see it."""
        seen = [str(self.status(name)["leader"]) for name in names]
        return max(set(seen), key=seen.count)

    def log_lines(self, name: str) -> list[Json]:
        """Return a node's log; every line must be a JSON object."""
        return [json.loads(line) for line in self.home(name).log.read_text().splitlines()]

    # --- the chain

    def until_level(self, names: Sequence[str] = NAMES, *, at_least: int = 0) -> int:
        """Return the height at which all named nodes stand still together, or fail with where each stands."""

        seen: dict[str, int] = {}

        def level() -> set[int] | None:
            seen.update({name: self.status(name)["height"] for name in names})
            heights = set(seen.values())
            return heights if len(heights) == 1 and min(heights) >= at_least else None

        found: set[int] = until(level, describe=lambda: f"{[self.status(name) for name in names]}", progress=seen.copy)
        return found.pop()

    def blocks(self, name: str, top: int) -> list[Json]:
        """Return a node's blocks from 0 to `top`."""
        params = [{"start": start, "limit": 100, "order": "asc"} for start in range(0, top + 1, 100)]
        pages = [answer["result"]["blocks"] for answer in self.calls(name, "ledger_getBlocks", params)]
        return [block for page in pages for block in page][: top + 1]

    def note_validators(self, name: str) -> int:
        """Take note of the set that votes now, as a node says, for checking certificates; return its epoch."""
        found = self.call(name, "net_validators")
        keys = ("vote_key", "cosign_key", "log_key")
        validators = tuple(
            Validator(row["name"], row["member"], *(bytes.fromhex(row[key]) for key in keys))
            for row in found["validators"]
        )
        self.sets[found["epoch"]] = ValidatorSet(Epoch(found["epoch"]), validators)
        assert self.sets[found["epoch"]].hash.hex() == found["hash"]
        return int(found["epoch"])

    def check_chain(self, name: str, top: int) -> list[str]:
        """Return the hashes of blocks 0 to `top`, having checked gaplessness, links and every certificate."""
        hashes: list[str] = []
        log_index = 0
        for height, block in enumerate(self.blocks(name, top)):
            header = decode(BlockHeader, base64.b64decode(block["header_leaf"])[1:], size_max=4_096)
            assert (header.height, header.first_index) == (height, log_index)
            assert header.hash().hex() == block["hash"]
            log_index += header.event_count + 1
            if height:
                assert header.parent.hex() == hashes[-1]
                certificate = _certificate(block["certificate"])
                verify_certificate(certificate, self.genesis.chain_id, self.sets[header.epoch])
                assert block["certificate"]["block_hash"] == block["hash"]
                assert block["certificate"]["height"] == height
            hashes.append(block["hash"])
        assert len(hashes) == top + 1
        return hashes

    def check_all(self, names: Sequence[str] = NAMES) -> int:
        """Wait until the nodes are level, check each chain and that they are the same; returns the height."""
        top = self.until_level(names)
        chains = [self.check_chain(name, top) for name in names]
        assert all(chain == chains[0] for chain in chains)
        roots = {json.dumps(self.call(name, "ledger_getBlock", height=top)["header"], sort_keys=True) for name in names}
        assert len(roots) == 1
        return top


def _certificate(found: Json) -> QuorumCertificate:
    signatures = tuple((item["validator"], bytes.fromhex(item["signature"])) for item in found["signatures"])
    return QuorumCertificate(
        COMMIT,
        Epoch(found["epoch"]),
        View(found["view"]),
        Height(found["height"]),
        Hash(bytes.fromhex(found["block_hash"])),
        signatures,
    )


def free_ports(count: int = len(NAMES)) -> int:
    """Return a base port whose whole range nobody listens on, and nobody else is given: a node may be down for a while.

    Processes that test beside each other draw from parts of their own.
    """
    draw = random.Random(os.urandom(8))
    of, place = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")), os.environ.get("PYTEST_XDIST_WORKER", "gw0")
    width = (PORTS_TO - PORTS_FROM) // of // PORTS_A_NODE
    first = PORTS_FROM + int(place.removeprefix("gw")) * width * PORTS_A_NODE
    for _ in range(200):
        base = draw.randrange(first, first + (width - count) * PORTS_A_NODE, PORTS_A_NODE)
        bases = set(range(base, base + count * PORTS_A_NODE, PORTS_A_NODE))
        if not bases & _GIVEN and first_taken(count, base) is None:
            _GIVEN.update(bases)
            return base
    raise AssertionError("no free ports")


def until(
    found: Callable[[], Any],
    *,
    describe: Callable[[], str] = lambda: "",
    progress: Callable[[], object] = lambda: None,
    within_s: float = STUCK_S,
) -> Any:
    """Return the first true value of `found`; a node that does not answer for the moment counts as false.

    Fails after `within_s` in which `progress` returned the same: a slow machine is no failure, a standing one is.
    """
    seen, end = progress(), time.monotonic() + within_s
    while True:
        try:
            value = found()
        except (Unreachable, TimedOut, CallRefused, ConnectionError):
            value = None
        if value:
            return value
        if (now := progress()) != seen:
            seen, end = now, time.monotonic() + within_s
        assert time.monotonic() < end, f"no progress for {within_s:g} s: {describe()}"
        time.sleep(0.05)


@contextmanager
def network(
    directory: Path,
    settings: Mapping[str, object] = QUICK,
    policy: Mapping[str, int] = NO_POLICY,
    *,
    rules: int = RULES_NEWEST,
) -> Iterator[Network]:
    """Give a running network, and end all of it."""
    running = Network(directory, settings, policy, rules=rules)
    try:
        running.start()
        yield running
    finally:
        running.close()
