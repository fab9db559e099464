"""A consortium on this machine: its members, homes and processes, under one directory.

Here: founding it, starting, stopping and watching its nodes. Not here: what the commands print (`chainnode.cli`), the
demonstration (`demo`). Everything runs on loopback.

    DIR/localnet.json      what was founded and what runs      DIR/genesis.json
    DIR/nodes/<name>/      a home for each bank's node          DIR/keys/<member>-<role>.key   for `--as`
                                                                DIR/keys/<member>-officer-<n>.key   for `--officer`
"""

from __future__ import annotations

import secrets
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import msgspec

from chainnode.client import CallRefused, NodeClient, TimedOut, Unhealthy, Unreachable
from chainnode.files import Busy, NotFound, locked, make_private_directory, read_file, write_file
from chainnode.founding import (
    Json,
    assemble_genesis,
    found_home,
    join_chain,
    member_entry,
    plain_member,
    write_reporter_secret,
)
from chainnode.home import Home
from chainnode.identity import PAIR_SECRET_BYTES, new_key, write_key, write_pairs
from chainnode.localnet_cards import card_network_file
from chainnode.processes import ProcessRecord, is_alive, send, start_process, stop, wait_until_gone
from ledger.certificate_bodies import APPROVALS
from ledger.genesis_json import genesis_to_json
from ledger.members import CERTIFICATION_ROLE, DECIDING_ROLES, GOVERNANCE_ROLE
from ledger.rules import RULES_NEWEST
from primitives.errors import InputError, UsageError

CHAIN_NAME = "localnet"
HOST = "127.0.0.1"
BASE_PORT = 7400
PORTS_A_NODE = 10
BASE_PORT_TRIES = 40
NODES_MAX = 31
READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 15.0
FILE_BYTES_MAX = 1 << 20


class Outsider(NamedTuple):
    """A member that runs no node: its roles, and a source key file for each of `keys`."""

    member: str
    title: str
    roles: tuple[str, ...]
    keys: tuple[str, ...]
    agents: tuple[str, ...] = ()


OUTSIDERS = (
    Outsider("cb", "Certification body", ("certification_body",), ("reviewer", "decider", "appeals")),
    Outsider("lab", "Laboratory", ("laboratory",), ("laboratory",)),
    Outsider("ins", "Inspection body", ("inspector",), ("inspector",)),
    Outsider("switch", "Payment switch", ("switch",), ("switch",), ("SWTCCNBJ",)),
    Outsider("regulator", "Regulator", ("regulator",), ("regulator", "appeals")),
    Outsider("auditor", "Auditor", ("auditor",), ("auditor",)),
)


class LocalNode(msgspec.Struct, frozen=True, kw_only=True):
    """One node as localnet.json keeps it; `process` is the last that was started."""

    name: str
    member: str
    role: str
    home: str
    p2p: str
    rpc: str
    ops: str
    explorer: str
    process: ProcessRecord | None = None

    @property
    def pid(self) -> int | None:
        """The process id while the node runs."""
        return self.process.pid if self.process is not None and is_alive(self.process) else None

    def row(self) -> Json:
        """Return the node as `-o json` prints it."""
        keys = ("name", "role", "pid", "rpc", "ops", "explorer", "member", "p2p", "home")
        return {key: getattr(self, key) for key in keys}


class NetFile(msgspec.Struct, frozen=True):
    """The content of localnet.json."""

    version: int
    chain: str
    chain_id: str
    base_port: int
    nodes: tuple[LocalNode, ...]


class PortTaken(UsageError):
    """A port that the network needs belongs to another process."""

    reason = "port_taken"


class NodeEnded(Unhealthy):
    """A node's process ended where it should run."""

    reason = "node_ended"


class Localnet:
    """The network of one directory; each change is written to localnet.json at once."""

    def __init__(
        self, directory: Path, policy: Mapping[str, int] = MappingProxyType({}), *, rules: int = RULES_NEWEST
    ) -> None:
        """Take the directory; and by which policy, above its defaults, and which rules its chain is founded."""
        self.directory = directory.expanduser().absolute()
        self._policy = dict(policy)
        self._rules = rules
        self.path = self.directory / "localnet.json"

    @property
    def exists(self) -> bool:
        """Whether a network was founded here."""
        return self.path.exists()

    @property
    def keys(self) -> Path:
        """The directory of key files for `--as`."""
        return self.directory / "keys"

    def officers_of(self, member: str) -> list[Path]:
        """Return the key files of the officers who sign what a member decides, none for one that decides nothing."""
        return sorted(self.keys.glob(f"{member}-officer-*.key"))

    def load(self) -> NetFile:
        """Return what is recorded. Raises `NotFound` where no network was founded, `InputError` on a damaged file."""
        try:
            data = read_file(self.path, size_max=FILE_BYTES_MAX)
        except NotFound:
            raise NotFound(
                "no localnet here",
                where=str(self.directory),
                hint="`chainnode localnet up` makes one; --dir names another",
            ) from None
        try:
            return msgspec.json.decode(data, type=NetFile)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InputError("not a localnet's record", where=str(self.path), got=error) from None

    def node(self, name: str) -> LocalNode:
        """Return a node by its name. Raises `NotFound`, listing the names."""
        nodes = self.load().nodes
        for node in nodes:
            if node.name == name:
                return node
        raise NotFound("no such node", got=name, expected=" or ".join(node.name for node in nodes))

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the directory against another command that changes it."""
        make_private_directory(self.directory)
        with locked(self.directory / "lock", "localnet", error=Busy):
            yield

    def found(self, count: int, *, base_port: int | None, now_ms: int, step: Callable[[str], None]) -> NetFile:
        """Make members, keys, homes and genesis for `count` banks. Raises `PortTaken`, `UsageError`."""
        if not 1 <= count <= NODES_MAX:
            raise UsageError("number of nodes", expected=f"1 to {NODES_MAX}", got=count)
        base = choose_base_port(count, base_port)
        make_private_directory(self.keys)
        names = [bank_name(index) for index in range(count)]
        nodes = [planned(self.directory, name, base + PORTS_A_NODE * index) for index, name in enumerate(names)]
        entries: list[Json] = []
        for index, node in enumerate(nodes):
            step(node.name)
            entries.append(self._found_bank(node, index, now_ms))
        entries += [{"member": self._found_outsider(outsider)} for outsider in OUTSIDERS]
        genesis = assemble_genesis(CHAIN_NAME, entries, now_ms=now_ms, policy=self._policy, rules=self._rules)
        self._share_pairs(names)
        self._tell_cards(names)
        for node in nodes:
            join_chain(Home(Path(node.home)), genesis, name=node.name, member=node.member, hosts=[HOST], now_ms=now_ms)
        write_file(self.directory / "genesis.json", genesis_to_json(genesis))
        found = NetFile(1, CHAIN_NAME, genesis.chain_id.hex(), base, tuple(nodes))
        self._save(found)
        return found

    def _found_bank(self, node: LocalNode, index: int, now_ms: int) -> Json:
        home = Home(Path(node.home))
        port = {name: address.rpartition("/")[2] for name, address in (("rpc", node.rpc), ("ops", node.ops))}
        settings = {"p2p.listen": node.p2p, "rpc.listen": port["rpc"], "ops.listen": port["ops"]}
        found_home(home, name=node.name, member=node.member, settings=settings, now_ms=now_ms)
        return member_entry(
            home,
            name=node.name,
            member=node.member,
            title=f"Bank {node.member.removeprefix('bank-').upper()}",
            roles=("bank",),
            address=node.p2p,
            agents=bank_agents(index),
            sources=[self._source(node.member, "bank", ("bank",))],
            officers=[self._officer(node.member)],
        )

    def _officer(self, member: str, name: str = GOVERNANCE_ROLE) -> Json:
        role = GOVERNANCE_ROLE if name == GOVERNANCE_ROLE else CERTIFICATION_ROLE
        key = new_key("officer", member=member, role=role)
        write_key(self.keys / f"{member}-{name}.key", key)
        return {"key": key.public, "role": role}

    def _found_outsider(self, outsider: Outsider) -> Json:
        write_reporter_secret(self.keys / f"{outsider.member}-reporter.secret")
        return plain_member(
            outsider.member,
            outsider.title,
            outsider.roles,
            agents=outsider.agents,
            sources=[self._source(outsider.member, role, outsider.roles) for role in outsider.keys],
            officers=self._deciding(outsider),
        )

    def _deciding(self, outsider: Outsider) -> list[Json]:
        """Return the officers who sign a member's grants and revocations, each with a key file of its own."""
        if not DECIDING_ROLES & set(outsider.roles):
            return []
        return [self._officer(outsider.member, f"officer-{number}") for number in range(1, APPROVALS + 1)]

    def _source(self, member: str, role: str, roles: Sequence[str]) -> Json:
        key = new_key("source", member=member, role=role)
        write_key(self.keys / f"{member}-{role}.key", key)
        return {"key": key.public, "roles": list(roles)}

    def _share_pairs(self, banks: Sequence[str]) -> None:
        """Give each two members that report payments a secret of their own."""
        members = [*banks, "switch"]
        shared = {name: dict[str, bytes]() for name in members}
        for place, one in enumerate(members):
            for other in members[place + 1 :]:
                secret = secrets.token_bytes(PAIR_SECRET_BYTES)
                shared[one][other] = shared[other][one] = secret
        for bank in banks:
            write_pairs(Home(self.directory / "nodes" / bank).pairs, shared[bank])
        write_pairs(self.keys / "switch-pairs.json", shared["switch"])

    def _tell_cards(self, banks: Sequence[str]) -> None:
        """Write whose the invented institution codes and cards are, for messages of ISO 8583."""
        data = card_network_file([bank_agents(index)[0] for index in range(len(banks))])
        for bank in banks:
            write_file(Home(self.directory / "nodes" / bank).cards, data)
        write_file(self.keys / "switch-cards.json", data)

    def start(self, names: Sequence[str] | None = None) -> list[LocalNode]:
        """Start the named nodes, or all, leaving alone those that run. Raises `PortTaken`."""
        started = []
        for node in self.load().nodes:
            if (names is not None and node.name not in names) or node.pid is not None:
                continue
            _check_ports(node)
            arguments = ["-m", "chainnode.main", "--home", node.home]
            Home(Path(node.home)).make_data()  # its log lies there
            process = start_process(arguments, mark=node.home, log=Home(Path(node.home)).log)
            self._replace(msgspec.structs.replace(node, process=process))
            started.append(node)
        return started

    def stop(self) -> list[str]:
        """End every node that this directory has recorded; returns the names of those that had to be killed."""
        running = {node.name: node.process for node in self.load().nodes if node.pid and node.process}
        late = stop(list(running.values()), timeout_s=STOP_TIMEOUT_S)
        return [name for name, process in running.items() if process in late]

    def kill(self, name: str) -> bool:
        """End a node as a crash would (SIGKILL); False where it did not run."""
        process = self.node(name).process
        if process is None or not send(process, signal.SIGKILL):
            return False
        wait_until_gone(process, STOP_TIMEOUT_S)
        return True

    def add(self, node: LocalNode) -> None:
        """Record a further node."""
        file = self.load()
        self._save(msgspec.structs.replace(file, nodes=(*file.nodes, node)))

    def _save(self, file: NetFile) -> None:
        write_file(self.path, msgspec.json.format(msgspec.json.encode(file)) + b"\n")

    def _replace(self, changed: LocalNode) -> None:
        file = self.load()
        nodes = tuple(changed if node.name == changed.name else node for node in file.nodes)
        self._save(msgspec.structs.replace(file, nodes=nodes))


def bank_name(index: int) -> str:
    """Return the name of the bank with this index: bank-a … bank-z, then bank-aa …"""
    letters = "abcdefghijklmnopqrstuvwxyz"
    return f"bank-{letters[index]}" if index < 26 else f"bank-{letters[index // 26 - 1]}{letters[index % 26]}"


def bank_agents(index: int) -> tuple[str, ...]:
    """Return the invented codes of the bank with this index, as the samples have them: BIC, CNAPS code and LEI."""
    from stdnum.iso7064 import mod_11_10, mod_97_10

    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    base = f"300300{bank_name(index).replace('-', '').upper()}000DEMO"[:18].ljust(18, "0")
    line = f"{99_910_000_001 + index}"
    return (
        f"BK{letters[index // 26]}{letters[index % 26]}CNBJ",
        line + mod_11_10.calc_check_digit(line),
        base + mod_97_10.calc_check_digits(base),
    )


def planned(directory: Path, name: str, port: int) -> LocalNode:
    """Return a node as it will be: its home below the directory, its ports from `port` on."""
    rpc = f"http://{HOST}:{port + 1}"
    return LocalNode(
        name=name,
        member=name,
        role="validator",
        home=str(directory / "nodes" / name),
        p2p=f"{HOST}:{port}",
        rpc=rpc,
        ops=f"http://{HOST}:{port + 2}",
        explorer=f"{rpc}/",
    )


def choose_base_port(count: int, wanted: int | None) -> int:
    """Return the wanted base port or, where none is wanted, the first free one. Raises `PortTaken`, naming the port."""
    if wanted is not None:
        if not 1 <= wanted <= 65_535 - PORTS_A_NODE * count:
            raise UsageError("base port", expected=f"1 to {65_535 - PORTS_A_NODE * count}", got=wanted)
        taken = first_taken(count, wanted)
        if taken is not None:
            raise PortTaken("port is taken", got=taken, hint="choose another --base-port")
        return wanted
    for attempt in range(BASE_PORT_TRIES):
        base = BASE_PORT + attempt * max(100, PORTS_A_NODE * count)
        if base + PORTS_A_NODE * count > 65_535:
            break
        if first_taken(count, base) is None:
            return base
    raise PortTaken("no free range of ports found", got=f"{BASE_PORT} and above", hint="name one with --base-port")


def first_taken(count: int, base: int) -> int | None:
    """Return the first port of the range that somebody listens on, or None."""
    ports = (base + PORTS_A_NODE * node + offset for node in range(count) for offset in range(3))
    return next((port for port in ports if not _is_free(port)), None)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As asyncio's servers do: a port in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _check_ports(node: LocalNode) -> None:
    for address in (node.p2p, node.rpc, node.ops):
        port = int(address.rstrip("/").rpartition(":")[2])
        if not _is_free(port):
            raise PortTaken("port is taken", where=node.name, got=port, hint="end what listens there")


def is_ready(node: LocalNode) -> bool:
    """Whether the node says that it can serve and vote."""
    client = NodeClient(node.ops, timeout_s=2.0)
    try:
        client.get("/readyz")
    except (CallRefused, Unreachable, TimedOut):
        return False
    finally:
        client.close()
    return True


def wait_until_ready(
    net: Localnet,
    names: Sequence[str],
    *,
    timeout_s: float = READY_TIMEOUT_S,
    step: Callable[[str], None] = lambda _: None,
) -> None:
    """Return when the named nodes are ready. Raises `TimedOut`, or `NodeEnded` with a node's last words."""
    waiting = list(names)
    end = time.monotonic() + timeout_s
    while waiting:
        for name in list(waiting):
            node = net.node(name)
            if is_ready(node):
                waiting.remove(name)
                step(name)
            elif node.pid is None:
                raise NodeEnded(
                    "a node ended", where=name, got=last_words(node), hint=f"see `chainnode localnet logs {name}`"
                )
        if waiting and time.monotonic() >= end:
            raise TimedOut("not ready in time", where=", ".join(waiting), expected=f"within {timeout_s:g} s")
        if waiting:
            time.sleep(0.05)


def last_words(node: LocalNode) -> str:
    """Return the last line of a node's log."""
    lines = tail(Home(Path(node.home)).log, 1)
    return lines[-1] if lines else "nothing in its log"


def tail(path: Path, count: int, *, bytes_max: int = 1 << 20) -> list[str]:
    """Return the last lines of a file, reading at most `bytes_max` of its end; none where there is no file."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - bytes_max))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return []
    return lines[-count:] if count else []


def net_status(node: LocalNode) -> Json | None:
    """Return a node's own status, None where it does not answer."""
    client = NodeClient(node.rpc, timeout_s=5.0)
    try:
        status = client.call("net_status")
    except (CallRefused, Unreachable, TimedOut):
        return None
    finally:
        client.close()
    return status if isinstance(status, dict) else None
