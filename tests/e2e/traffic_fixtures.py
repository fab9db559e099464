"""Traffic for tests: events that name nobody, sources that sign their own batches, and threads that submit them.

What a node answers is kept as it was answered, so that tests can hold the node to it. A source behaves as the design
asks: it keeps the bytes that it signed, sends them again until they are committed, and never signs a number twice.
"""

from __future__ import annotations

import base64
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from chainnode.client import CallRefused, TimedOut, Unreachable
from chainnode.identity import KeyFile, read_key
from ledger.batches import build_batch, parse_batch
from ledger.events import TIME_MS_MAX, event_id
from ledger.payments import PAYMENT_STATEMENT, PaymentStatement
from ledger.payments_json import statement_to_json
from primitives.ids import ZERO_HASH, Hash
from tests.e2e.network_fixtures import NAMES, STUCK_S, Json, Network, until
from torment.payments import TIME_MS
from torment.payments import payment as payment_of
from torment.payments import statement as statement_of


def statement() -> PaymentStatement:
    """Return a payment statement that no other equals."""
    return statement_of(os.urandom(16))


def payment(member: str, *, expires_ms: int = TIME_MS_MAX) -> bytes:
    """Return the canonical bytes of a new payment event."""
    return payment_of(member, os.urandom(16), statement(), expires_ms=expires_ms)


def id_of(event: bytes) -> str:
    """Return a payment event's id in hex."""
    return event_id(event, PAYMENT_STATEMENT).hex()


def row(reference: bytes | None = None, body: PaymentStatement | None = None) -> Json:
    """Return a new payment as `ledger_submit` takes it."""
    body = statement() if body is None else body
    reference = os.urandom(16) if reference is None else reference
    return {"kind": "payment.statement", "body": statement_to_json(body), "reference": reference.hex()}


def key_file(net: Network, name: str) -> KeyFile:
    """Return the key of DIR/keys/<name>.key."""
    return read_key(net.net.keys / f"{name}.key", "source")


@dataclass
class Source:
    """A key that signs its own batches."""

    key: KeyFile
    chain_id: Hash
    number: int = 0
    previous: Hash = ZERO_HASH

    def sign(self, events: Sequence[bytes]) -> bytes:
        """Return the next batch; the number is taken."""
        raw = build_batch(
            events,
            chain_id=self.chain_id,
            member=self.key.member,
            key=self.key.signing_key,
            number=self.number,
            previous=self.previous,
            time_ms=TIME_MS,
        )
        self.number, self.previous = self.number + 1, parse_batch(raw).hash
        return raw

    def payments(self, count: int) -> bytes:
        """Return the next batch, of new payments."""
        return self.sign([payment(self.key.member) for _ in range(count)])


def source_of(net: Network, name: str) -> Source:
    """Return a source that has signed nothing yet."""
    return Source(key_file(net, name), net.genesis.chain_id)


def submit(net: Network, node: str, raw: bytes, wait: str = "committed") -> list[Json]:
    """Submit a signed batch; returns each event's row. A node that is slow to commit it is asked again."""
    params = {"batch": base64.b64encode(raw).decode(), "wait": wait}

    def settled() -> list[Json] | None:
        rows: list[Json] = net.call(node, "ledger_submitBatch", **params)["events"]
        late = wait == "committed" and any(found["status"] == "Pending" for found in rows)
        return None if late else rows

    end = time.monotonic() + STUCK_S
    while (rows := settled()) is None:
        assert time.monotonic() < end, "a batch stays pending"
    return rows


@dataclass
class Answers:
    """What nodes answered, by event id: all that were `committed`, and all that were asked for; and who signed."""

    committed: dict[str, Json] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)
    sources: dict[str, Source] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, rows: Sequence[Json]) -> None:
        with self.lock:
            for found in rows:
                if found["status"] == "Committed":
                    standing = {name: found[name] for name in ("height", "index", "outcome")}
                    known = self.committed.setdefault(found["id"], standing)
                    assert known == standing, f"{found['id']}: answered {known}, then {standing}"

    def wait_for_more(self, count: int) -> None:
        """Return once so many more are committed than now; a slow network is waited for, a standing one is not."""
        wanted = len(self.committed) + count
        until(lambda: len(self.committed) >= wanted, progress=lambda: len(self.committed))

    def check_on(self, net: Network, name: str) -> None:
        """Hold a node to every answer that any node gave."""
        ids = sorted(self.committed)
        found = net.calls(name, "ledger_getStatus", [{"event_id": item} for item in ids])
        for item, answer in zip(ids, found, strict=True):
            result = answer.get("result", answer)
            standing = {key: result.get(key) for key in ("height", "index", "outcome")}
            assert result.get("status") == "Committed", (name, item, self.committed[item], result)
            assert standing == self.committed[item], (name, item)


class Submitter(threading.Thread):
    """Submits without pause until told to stop, then until its last events are committed."""

    def __init__(
        self, net: Network, answers: Answers, *, node: str, key: str | None, events: int = 3, pause_s: float = 0.1
    ) -> None:
        super().__init__(name=f"submitter-{key or node}", daemon=True)
        self.net, self.answers, self.node, self.events, self.pause_s = net, answers, node, events, pause_s
        self.source = None if key is None else answers.sources.setdefault(key, source_of(net, key))
        self.stopping = threading.Event()
        self.failure: BaseException | None = None
        self.deadline = float("inf")

    def run(self) -> None:
        try:
            while not self.stopping.wait(self.pause_s):
                if self.source is None:
                    self._through_gateway([row() for _ in range(self.events)])
                else:
                    self._signed(self.source.payments(self.events))
        except Exception as error:  # noqa: BLE001  told to the test by `traffic`
            self.failure = error

    def finish(self, within_s: float) -> None:
        self.deadline = time.monotonic() + within_s
        self.stopping.set()

    def _signed(self, raw: bytes) -> None:
        """A batch goes to any node, and is sent again, the same bytes, until it is committed."""
        ids = [item.hex() for item in parse_batch(raw).ids]
        params = {"batch": base64.b64encode(raw).decode(), "wait": "committed"}
        self._until_committed(ids, "ledger_submitBatch", params, lambda: self.net.node(self.node).name)

    def _through_gateway(self, rows: list[Json]) -> None:
        """Events of a member go to its own node; the reference makes a second attempt the same events."""
        params = {"events": rows, "wait": "committed"}
        self._until_committed([], "ledger_submit", params, lambda: self.node)

    def _until_committed(self, ids: list[str], method: str, params: Json, where: Callable[[], str]) -> None:
        self.answers.asked.update(ids)
        pending = True
        while pending:
            assert time.monotonic() < self.deadline, f"{self.name}: not committed in time"
            client = self.net.new_client(where(), timeout_s=3.0)
            try:
                rows = client.call(method, **params)["events"]
                self.answers.asked.update(item["id"] for item in rows)
                self.answers.take(rows)
                assert all(item["status"] in ("Committed", "Pending") for item in rows), rows
                pending = any(item["status"] != "Committed" for item in rows)
            except (Unreachable, TimedOut):
                time.sleep(0.1)
            except CallRefused as refused:
                if not refused.retryable:
                    raise
                time.sleep((refused.retry_after_ms or 100) / 1_000)
            finally:
                client.close()


def submitters_of(net: Network, answers: Answers, names: Sequence[str] = NAMES) -> list[Submitter]:
    """Return, for each bank, a source that signs itself and a client of its gateway; both use the bank's own node."""
    signing = [Submitter(net, answers, node=name, key=f"{name}-bank") for name in names]
    return signing + [Submitter(net, answers, node=name, key=None) for name in names]


@contextmanager
def traffic(submitters: Sequence[Submitter], *, finish_s: float = STUCK_S) -> Iterator[None]:
    """Run submitters; at the end each must have got its last events committed."""
    for submitter in submitters:
        submitter.start()
    try:
        yield
    finally:
        for submitter in submitters:
            submitter.finish(finish_s)
        for submitter in submitters:
            submitter.join(finish_s + 5.0)
    for submitter in submitters:
        assert submitter.failure is None, (submitter.name, submitter.failure)
        assert not submitter.is_alive(), submitter.name
