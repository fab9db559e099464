"""A listener on loopback over a real chain in memory: four banks, a gateway that commits at once or when told."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import aiohttp
import pytest

from ledger.batches import build_batch, check_event, parse_batch, verify_batch
from ledger.catalogue import PUBLISHED_CATALOGUES
from ledger.chain import Chain
from ledger.checkpoint_rows import checkpoint_rows
from ledger.events import Event
from ledger.genesis import Genesis, GenesisMember, GenesisSource, GenesisValidator, validator_set
from ledger.index_places import Index
from ledger.index_reader import IndexReader
from ledger.indexes import IndexFollower
from ledger.members import Role
from ledger.payments import PAYMENT_STATEMENT, Channel, PaymentStatement, Side, Status
from ledger.policy import Policy
from ledger.reader import LedgerReader
from ledger.reconciliation_index import ReconciliationFollower
from ledger.store import MemoryStore
from ledger.trust_policy import assemble_checkpoint
from primitives.encoding import encode
from primitives.ids import EventId, SourceKey, TimeMs
from primitives.keys import SigningKey
from primitives.notes import Checkpoint, cosign_statement
from primitives.votes import COMMIT, QuorumCertificate, vote_statement
from rpc.access import token_hash
from rpc.errors import Code, RpcError
from rpc.feed import Feed
from rpc.methods.catalogue import METHODS
from rpc.ports import (
    Check,
    Ending,
    NewEvent,
    NodeStatus,
    PeerStatus,
    Refusal,
    Services,
    SourcePosition,
    SubmitResult,
    SubmitStatus,
    Version,
    Wait,
)
from rpc.server import RpcServer, RpcSettings

TOKEN = "a-token-of-this-test"
START_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
BANKS = ("bank-a", "bank-b", "bank-c", "bank-d")
EVENT_LIFE_MS = 3_600_000
# Banks come first: they run the validators.
ROLES = {
    **dict.fromkeys(BANKS, Role.BANK),
    "cb": Role.CERTIFICATION_BODY,
    "lab": Role.LABORATORY,
    "ins": Role.INSPECTOR,
}


def key_of(name: str, use: str) -> SigningKey:
    return SigningKey(sha256(f"{name} {use}".encode()).digest())


def genesis_of_four_banks() -> Genesis:
    return Genesis(
        "test-chain",
        START_MS,
        tuple(
            GenesisMember(
                name,
                name.title(),
                (role,),
                "",
                (),
                (
                    GenesisSource(key_of(name, "source").public, (role,)),
                    GenesisSource(key_of(name, "decider").public, (role,)),
                ),
                (),
            )
            for name, role in ROLES.items()
        ),
        tuple(
            GenesisValidator(
                f"node-{bank}",
                bank,
                key_of(bank, "vote").public,
                key_of(bank, "cosign").public,
                key_of(bank, "log").public,
                f"127.0.0.1:{7400 + 10 * index}",
            )
            for index, bank in enumerate(BANKS)
        ),
        Policy(),
        PUBLISHED_CATALOGUES,
    )


def statement(number: int = 0, *, pair_key: bytes = b"", uetr: bytes = b"") -> PaymentStatement:
    return PaymentStatement(
        salt=number.to_bytes(16, "big"),
        side=Side.DEBTOR,
        message_type="pacs.008",
        status=Status.ACCEPTED,
        reason="",
        amount=12_345 + number,
        currency="CNY",
        amount_commitment=b"",
        settlement_date=2026_01_02,
        agents=[],
        channel=Channel.QR,
        uetr=uetr,
        reference_commitment=sha256(b"reference").digest(),
        pair_key=pair_key,
        tokens=[],
        fields_root=sha256(b"fields").digest(),
        terminal_certificate="",
        source_digest=sha256(b"source").digest(),
        time_ms=START_MS,
    )


@dataclass
class MemoryNode:
    """Everything behind the ports, honest and small: one chain, whose blocks are made by whoever commits."""

    genesis: Genesis = field(default_factory=genesis_of_four_banks)
    store: MemoryStore = field(default_factory=MemoryStore)
    now: int = START_MS + 1_000
    auto_commit: bool = True
    is_ready: bool = True
    refuse_next: Exception | None = None
    full: RpcError | None = None
    member: str = "bank-a"
    key_use: str = "source"

    def __post_init__(self) -> None:
        self.chain = Chain(self.store, self.genesis)
        self.reader = LedgerReader(self.store, self.genesis)
        self.places = Index(MemoryStore())
        self.index = IndexFollower(self.places, self.reader)
        self.reconciliation = ReconciliationFollower(self.places.store, self.reader)
        self.feed = Feed(0)
        self.waiting: list[bytes] = []
        self.known: dict[EventId, SubmitStatus] = {}
        self.references = 0
        self.asked_for_room = 0
        self.expected: list[int] = []

    def now_ms(self) -> TimeMs:
        return TimeMs(self.now)

    # -- making blocks

    def event(self, number: int = 0, *, expires_ms: int | None = None, body: bytes | None = None) -> bytes:
        reference = sha256(b"reference %d" % number).digest()[:16]
        expires = self.now + EVENT_LIFE_MS if expires_ms is None else expires_ms
        return encode(Event(self.member, reference, expires, PAYMENT_STATEMENT, 1, body or encode(statement(number))))

    def batch(self, events: Iterable[bytes]) -> bytes:
        key = key_of(self.member, self.key_use)
        number, previous = self.chain.next_number(self.chain.tip_hash, key.public)
        return build_batch(
            list(events),
            chain_id=self.chain.chain_id,
            member=self.member,
            key=key,
            number=number,
            previous=previous,
            time_ms=TimeMs(self.now),
        )

    def commit(self, *batches: bytes) -> None:
        parsed = [parse_batch(batch) for batch in batches]
        for item in parsed:
            self.store.write(self.chain.add_batch(item), sync=True)
        self.now += 500
        block = self.chain.build(self.chain.tip_hash, time_ms=self.now, epoch=0, proposer=0, batches=parsed)
        block_hash = block.header.hash()
        height = block.header.height
        message = vote_statement(COMMIT, self.chain.chain_id, 0, 0, height, block_hash)  # type: ignore[arg-type]  # plain numbers
        votes = tuple((index, key_of(BANKS[index], "vote").sign(message)) for index in range(3))
        result = self.chain.commit(
            block_hash,
            QuorumCertificate(COMMIT, 0, 0, height, block_hash, votes),  # type: ignore[arg-type]  # plain numbers
        )
        self.store.write(result.puts, sync=True)
        self.chain.written(result.ticket)
        self.index.follow()
        while self.reconciliation.follow(int(height), 1_000):
            pass
        self.feed.reconciled_to(int(height))
        self.feed.committed(int(height))

    def commit_events(self, count: int, first: int = 0) -> list[EventId]:
        events = [self.event(first + number) for number in range(count)]
        self.commit(self.batch(events))
        return [check_event(event)[1] for event in events]

    def checkpoint(self) -> str:
        """Make the present tip a stable checkpoint."""
        return self.checkpoint_at(self.chain.log_size)

    def checkpoint_at(self, size: int) -> str:
        """Make the first `size` leaves a stable checkpoint."""
        root = self.reader.log_root(size)
        text = Checkpoint(self.genesis.origin, size, root).text()
        time_s = self.now // 1_000
        cosigned = [
            (index, time_s, key_of(bank, "cosign").sign(cosign_statement(text, time_s)))
            for index, bank in enumerate(BANKS[:3])
        ]
        note = assemble_checkpoint(
            self.genesis,
            validator_set(self.genesis),
            "node-bank-a",
            key_of("bank-a", "log"),
            size,
            root,
            cosigned,
        )
        self.store.write(checkpoint_rows(self.store, note), sync=True)
        self.feed.checkpoint_kept()
        return note

    # -- the gateway

    async def submit(self, events: Sequence[NewEvent], wait: Wait, timeout_ms: int) -> list[SubmitResult]:
        self._maybe_refuse()
        made = [self._made(item) for item in events]
        fresh = [data for data, event_id in made if self.reader.position(event_id) is None]
        self.waiting += fresh
        if self.waiting and self.auto_commit:
            self.commit(self.batch(self.waiting))
            self.waiting.clear()
        return [self._standing(event_id) for _, event_id in made]

    def _made(self, item: NewEvent) -> tuple[bytes, EventId]:
        self.references += 1
        reference = item.reference or sha256(b"made %d" % self.references).digest()[:16]
        expires = item.expires_ms if item.expires_ms is not None else self.now + EVENT_LIFE_MS
        data = encode(Event(self.member, reference, expires, item.kind, item.schema, item.body))
        return data, check_event(data)[1]

    async def submit_batch(self, batch: bytes, wait: Wait, timeout_ms: int) -> list[SubmitResult]:
        self._maybe_refuse()
        parsed = parse_batch(batch)
        verify_batch(parsed)
        expected = self.chain.next_number(self.chain.tip_hash, parsed.header.source)[0]
        if parsed.header.number != expected:
            raise RpcError(
                Code.REJECTED, "batch_number", "number of a batch", expected=expected, got=parsed.header.number
            )
        self.chain.check_admission(self.chain.tip_hash, parsed)
        self.commit(batch)
        return [self._standing(event_id) for event_id in parsed.ids]

    def _maybe_refuse(self) -> None:
        if self.refuse_next is not None:
            error, self.refuse_next = self.refuse_next, None
            raise error

    def _standing(self, event_id: EventId) -> SubmitResult:
        place = self.reader.position(event_id)
        if place is None:
            return self.standing_of_unordered(event_id)
        outcome = self.reader.outcome(place.height, place.index)
        return SubmitResult(event_id, SubmitStatus.COMMITTED, outcome, place.height, place.index)

    def standing_of_unordered(self, event_id: EventId) -> SubmitResult:
        if any(check_event(data)[1] == event_id for data in self.waiting):
            return SubmitResult(event_id, SubmitStatus.PENDING)
        if self.known.get(event_id) is SubmitStatus.REFUSED:
            refusal = Refusal("expired", "the event had expired", False)
            return SubmitResult(event_id, SubmitStatus.REFUSED, refusal=refusal)
        return SubmitResult(event_id, SubmitStatus.UNKNOWN)

    def event_status(self, event_id: EventId) -> SubmitResult:
        return self.standing_of_unordered(event_id)

    def source_position(self, source: SourceKey) -> SourcePosition | None:
        for name in ROLES:
            if key_of(name, "source").public == source:
                return SourcePosition(name, *self.chain.next_number(self.chain.tip_hash, source))
        return None

    # -- the node

    def status(self) -> NodeStatus:
        return NodeStatus(
            chain_id=self.chain.chain_id.hex(),
            node="node-bank-a",
            member="bank-a",
            role="validator",
            height=self.chain.height,
            epoch=0,
            view=0,
            leader="node-bank-a",
            peers=3,
            catching_up=False,
            version="0.1.0",
            log_size=self.chain.log_size,
        )

    def validators(self) -> object:
        return validator_set(self.genesis)

    def peers(self) -> list[PeerStatus]:
        return [PeerStatus(f"node-{bank}", bank, "127.0.0.1:7410", True, 0, START_MS) for bank in BANKS[1:]]

    def ready(self) -> tuple[bool, list[Check]]:
        return self.is_ready, [Check("store", True), Check("caught_up", self.is_ready, "12 blocks behind")]

    def version(self) -> Version:
        return Version("0.1.0", 1, "chainnode-ledger/1", "3.11")

    def endings(self) -> list[Ending]:
        return [Ending("tls_certificate", "bank-a", "bank-a", self.now + 90 * 86_400_000, "keys/tls.crt")]


class MemoryGateway:
    """The gateway's port over a `MemoryNode`, whose `status` is the node's own."""

    def __init__(self, node: MemoryNode) -> None:
        self.submit = node.submit
        self.submit_batch = node.submit_batch
        self.status = node.event_status
        self.source_position = node.source_position
        self.node = node

    def check_room(self, events: int = 1) -> None:
        del events
        self.node.asked_for_room += 1
        if self.node.full is not None:
            raise self.node.full

    @contextmanager
    def expecting(self, size: int) -> Iterator[None]:
        self.check_room()
        self.node.expected.append(size)
        yield


@dataclass
class Observed:
    """What the metrics were told."""

    calls: list[tuple[str, int]] = field(default_factory=list)
    subscriptions: Counter[str] = field(default_factory=Counter)
    notifications: Counter[str] = field(default_factory=Counter)
    slow: int = 0

    def called(self, method: str, code: int, seconds: float) -> None:
        assert seconds >= 0
        self.calls.append((method, code))

    def subscribed(self, topic: str, change: int) -> None:
        self.subscriptions[topic] += change

    def notified(self, topic: str, count: int) -> None:
        self.notifications[topic] += count

    def subscriber_slow(self) -> None:
        self.slow += 1


@dataclass
class Client:
    """Talks to a listener as a program would."""

    url: str
    session: aiohttp.ClientSession

    async def post(
        self, body: bytes | object, *, token: str | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any, dict[str, str]]:
        """Return (HTTP status, JSON body or None, headers)."""
        sent = {"Content-Type": "application/json", **(headers or {})}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with self.session.post(self.url, data=data, headers=sent) as response:
            text = await response.read()
            return response.status, json.loads(text) if text else None, dict(response.headers)

    async def call(self, method: str, params: object = None, *, token: str | None = None) -> Any:
        """Return the result of a call; its error is an AssertionError."""
        answer = await self.answer(method, params, token=token)
        assert "error" not in answer, answer["error"]
        return answer["result"]

    async def error(self, method: str, params: object = None, *, token: str | None = None) -> Any:
        """Return the error of a call that must fail."""
        answer = await self.answer(method, params, token=token)
        assert "result" not in answer, answer
        return answer["error"]

    async def answer(self, method: str, params: object = None, *, token: str | None = None) -> Any:
        request: dict[str, object] = {"jsonrpc": "2.0", "id": 7, "method": method}
        if params is not None:
            request["params"] = params
        status, answer, _ = await self.post(request, token=token)
        assert status == 200
        assert answer["jsonrpc"] == "2.0"
        assert answer["id"] == 7
        return answer

    async def get(self, path: str, headers: dict[str, str] | None = None) -> tuple[int, bytes, dict[str, str]]:
        async with self.session.get(self.url + path, headers=headers) as response:
            return response.status, await response.read(), dict(response.headers)


@pytest.fixture
def make_statement() -> Callable[..., bytes]:
    """Return the maker of a payment statement's canonical bytes."""
    return lambda number, **fields: encode(statement(number, **fields))


@pytest.fixture
def node() -> MemoryNode:
    return MemoryNode()


@pytest.fixture
def services(node: MemoryNode) -> Services:
    index = IndexReader(node.reader, node.places)
    return Services(node.reader, MemoryGateway(node), node, node.now_ms, 2_000, index, feed=node.feed)


@pytest.fixture(scope="module")
def living() -> Services:
    """Services over a chain that all tests of a module share: a few events under a checkpoint."""
    node = MemoryNode()
    node.commit_events(3)
    node.checkpoint()
    index = IndexReader(node.reader, node.places)
    return Services(node.reader, MemoryGateway(node), node, node.now_ms, 200, index, feed=node.feed)


@pytest.fixture
def settings() -> RpcSettings:
    return RpcSettings(
        port=0,
        origins=("https://desk.bank-a.example",),
        hosts=("node.bank-a.example",),
        token_hashes=(token_hash(TOKEN),),
        requests_per_second_max=100_000,
    )


@pytest.fixture
def observed() -> Observed:
    return Observed()


@pytest.fixture
async def server(settings: RpcSettings, services: Services, observed: Observed) -> AsyncIterator[RpcServer]:
    server = RpcServer(settings, services, METHODS, observed)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def client(server: RpcServer) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession() as session:
        yield Client(server.address, session)


@pytest.fixture
def token() -> str:
    return TOKEN
