"""What the benchmarks submit: payment statements of about 300 bytes, in batches signed beforehand.

Here: statements, signed batches, and the HTTP requests that carry them, all made before anything is measured. Not here:
sending (`bench.driver`). Run as `python -m bench.workload FILE COUNT [EVENTS]` it writes batches for `bench.floor`,
which must not import the node's packages itself.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import time
from collections.abc import Iterable, Sequence
from hashlib import sha256, shake_256
from pathlib import Path
from typing import Any

from ledger.batch_headers import BatchHeader, batch_statement
from ledger.batches import build_batch
from ledger.events import Event
from ledger.payments import (
    PAYMENT_STATEMENT,
    AgentRecord,
    AgentRole,
    AgentScheme,
    Channel,
    PaymentStatement,
    Side,
    Status,
)
from ledger.payments_json import statement_to_json
from ledger.times import format_time
from primitives.encoding import decoder_of, encode
from primitives.ids import ZERO_HASH, Hash, TimeMs
from primitives.keys import SigningKey, verify

BATCH_EVENTS = 1_000
EVENT_LIFETIME_MS = 20 * 3_600_000


def statement(seed: bytes, now_ms: int) -> tuple[PaymentStatement, bytes]:
    """Return a debtor's statement with a commitment to its amount, two agents and a UETR, and its event's reference."""
    # Every digest differs, as in real statements: what repeats would be compressed on the disk.
    noise = shake_256(seed).digest(192)
    uetr = bytearray(noise[16:32])
    uetr[6], uetr[8] = uetr[6] & 0x0F | 0x40, uetr[8] & 0x3F | 0x80
    body = PaymentStatement(
        salt=noise[:16],
        side=Side.DEBTOR,
        message_type="pacs.008.001.08",
        status=Status.ACCEPTED,
        reason="",
        amount=None,
        currency="CNY",
        amount_commitment=noise[32:64],
        settlement_date=20260105 + noise[0] % 20,
        agents=[
            AgentRecord(AgentRole.DEBTOR_AGENT, AgentScheme.BIC, "BKAACNBJXXX"),
            AgentRecord(AgentRole.CREDITOR_AGENT, AgentScheme.BIC, "BKABCNBJXXX"),
        ],
        channel=Channel.BEPS,
        uetr=bytes(uetr),
        reference_commitment=noise[64:96],
        pair_key=b"",
        tokens=[],
        fields_root=noise[96:128],
        terminal_certificate="",
        source_digest=noise[128:160],
        time_ms=TimeMs(now_ms),
    )
    return body, noise[160:176]


def statement_event(member: str, seed: bytes, now_ms: int) -> bytes:
    """Return the bytes of a statement's event."""
    body, reference = statement(seed, now_ms)
    return encode(Event(member, reference, now_ms + EVENT_LIFETIME_MS, PAYMENT_STATEMENT, 1, encode(body)))


def statement_params(seed: bytes, now_ms: int) -> dict[str, Any]:  # Any: JSON
    """Return a statement's event as `ledger_submit` takes it: what a client sends that may have to send it again."""
    body, reference = statement(seed, now_ms)
    return {
        "kind": "payment.statement",
        "body": {key: value for key, value in statement_to_json(body).items() if value not in (None, {})},
        "reference": reference.hex(),
        "expires": format_time(TimeMs(now_ms + EVENT_LIFETIME_MS)),
    }


class BenchSource:
    """One source: numbers its batches without a gap. Its events differ from those of every other run."""

    def __init__(self, chain_id: bytes, member: str, key: SigningKey, node: int = 0) -> None:
        self.chain_id, self.member, self.key, self.node = chain_id, member, key, node
        self._number = 0
        self._previous = Hash(ZERO_HASH)
        self._salt = os.urandom(16)

    def batch(self, count: int) -> bytes:
        """Return its next signed batch of `count` statements."""
        now_ms = time.time_ns() // 1_000_000
        events = [
            statement_event(self.member, b"%b %d %d" % (self._salt, self._number, index), now_ms)
            for index in range(count)
        ]
        return self.signed(events)

    def signed(self, events: Sequence[bytes]) -> bytes:
        """Return its next batch, of these events, signed."""
        raw = build_batch(
            events,
            chain_id=Hash(self.chain_id),
            member=self.member,
            key=self.key,
            number=self._number,
            previous=self._previous,
            time_ms=TimeMs(time.time_ns() // 1_000_000),
        )
        self._number += 1
        self._previous = header_of(raw).hash()
        return raw

    @property
    def position(self) -> tuple[int, Hash]:
        """Its next number, and the hash of its last batch."""
        return self._number, self._previous

    def resume(self, number: int, previous: Hash) -> None:
        """Go on after batches that were built of a copy of it, or that nobody took."""
        self._number, self._previous = number, previous


def header_of(raw: bytes) -> BatchHeader:
    """Return the header of a batch that was just built."""
    from ledger.batches import Batch

    header: BatchHeader = decoder_of(Batch).decode(raw).header
    return header


def batch_body(raw: bytes, wait: str = "committed") -> bytes:
    """Return the JSON-RPC call that submits a signed batch and waits, as a rule until it is committed."""
    body = b'{"jsonrpc":"2.0","id":1,"method":"ledger_submitBatch","params":{"wait":"%b","batch":"%b"}}'
    return body % (wait.encode(), base64.b64encode(raw))


def submit_body(events: Sequence[dict[str, Any]]) -> bytes:  # Any: JSON
    """Return the JSON-RPC call that lets a node sign events and waits until they are committed."""
    params = {"wait": "committed", "events": events}
    return json.dumps(
        {"jsonrpc": "2.0", "id": 1, "method": "ledger_submit", "params": params}, separators=(",", ":")
    ).encode()


def http_request(body: bytes, token: str, host: str) -> bytes:
    """Return the whole HTTP request that makes a JSON-RPC call."""
    head = (
        f"POST / HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {token}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def upgrade_request(token: str, host: str) -> bytes:
    """Return the HTTP request that makes a connection a WebSocket of JSON-RPC."""
    key = base64.b64encode(os.urandom(16)).decode()
    return (
        f"GET /ws HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\nAuthorization: Bearer {token}\r\n\r\n"
    ).encode()


def websocket_frame(body: bytes) -> bytes:
    """Return the frame that carries a JSON-RPC call; its mask is of zeros, so that making it costs nothing."""
    size = len(body)
    if size < 126:
        head = bytes((0x81, 0x80 | size))
    elif size < 1 << 16:
        head = bytes((0x81, 0x80 | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x81, 0x80 | 127)) + size.to_bytes(8, "big")
    return head + bytes(4) + body


def write_frames(path: Path, items: Iterable[bytes]) -> None:
    """Write byte strings, each after its length in four bytes."""
    with path.open("wb") as file:
        for item in items:
            file.write(len(item).to_bytes(4, "big") + item)


def stand_alone(path: Path, count: int, events: int = BATCH_EVENTS) -> None:
    """Write `count` batches of `events` each, of one source, signed for a chain that does not exist."""
    source = BenchSource(sha256(b"bench").digest(), "bank-a", SigningKey(sha256(b"bench source").digest()))
    write_frames(path, (source.batch(events) for _ in range(count)))


def _self_check() -> None:
    raw = BenchSource(bytes(32), "bank-a", SigningKey(bytes(range(32)))).batch(1)
    from ledger.batches import parse_batch

    parsed = parse_batch(raw)
    assert verify(parsed.header.source, batch_statement(parsed.header), parsed.signature)


if __name__ == "__main__":
    _self_check()
    stand_alone(Path(sys.argv[1]), *map(int, sys.argv[2:]))
