"""Submissions that a node must refuse by name, made out of a source's next batch: malformed, foreign, twice, too large.

Here: what is wrong with each, and what the answer must say. Not here: sending them (`bench.overload`, the tests with
real processes). Every batch but those of a wrong signature is soundly signed: the refusal has to see what is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass

from msgspec import structs

from bench.workload import BenchSource, batch_body, statement_event
from ledger.batch_headers import BATCH_EVENTS_MAX, batch_statement
from ledger.batches import BATCH_SIZE_MAX, Batch, build_batch
from primitives.encoding import decode, encode
from primitives.ids import Hash, TimeMs
from primitives.keys import SigningKey
from rpc.limits import BODY_BYTES_MAX

INVALID_PARAMS = -32602
PARSE_ERROR = -32700
REJECTED = -32003
LIMIT_EXCEEDED = -32005
HTTP_TOO_LARGE = 413
STRANGER = SigningKey.generate(bytes(range(32)))


@dataclass(frozen=True)
class Bad:
    """A request's body and its refusal; a `code` of 0 is no refusal: the answer is where the events stand already."""

    name: str
    body: bytes
    code: int
    reason: str
    status: int = 200

    @property
    def told(self) -> str:
        """The refusal as `bench.flood` notes it."""
        return f"{self.code} {self.reason}"


def bad_requests(source: BenchSource, committed: bytes, *, events: int, others: str, wait: str) -> list[Bad]:
    """Return one bad request of each kind; `committed` is the last batch of the source that the chain has."""
    good = _next(source, events)
    batch = decode(Batch, good, size_max=BATCH_SIZE_MAX)

    def of(name: str, raw: bytes, code: int, reason: str) -> Bad:
        return Bad(name, batch_body(raw, wait), code, reason)

    changed = (*batch.events[:-1], statement_event(source.member, b"another", batch.header.time_ms))
    longer = b"\xdc\x00\x03" + good[1:]
    foreign = statement_event(others, b"foreign", batch.header.time_ms)
    rival = _rival(source, committed)
    return [
        Bad("no JSON", batch_body(good, wait)[:-3], PARSE_ERROR, "parse_error"),
        Bad("no base64", batch_body(good, wait)[:-4] + b'*"}}', INVALID_PARAMS, "invalid_params"),
        of("cut short", good[:-1], INVALID_PARAMS, "bad_encoding"),
        of("a byte too many", good + b"\0", INVALID_PARAMS, "bad_encoding"),
        of("a longer spelling", longer, INVALID_PARAMS, "bad_encoding"),
        of("another event than its root says", _with(batch, events=changed), INVALID_PARAMS, "bad_root"),
        of("fewer events than its header says", _with(batch, events=batch.events[:-1]), INVALID_PARAMS, "bad_count"),
        of("a signature of nobody", _with(batch, signature=bytes(64)), INVALID_PARAMS, "bad_signature"),
        of("another chain", _next(source, events, chain_id=bytes(32)), INVALID_PARAMS, "foreign_chain"),
        of("another member", _next(source, events, member=others), INVALID_PARAMS, "foreign_member"),
        of("an event of another member", _signed(source, batch, (foreign,)), INVALID_PARAMS, "foreign_event"),
        of("a key of nobody", _next(source, events, key=STRANGER), INVALID_PARAMS, "source_not_registered"),
        of("the same number again", rival, REJECTED, "number_used"),
        of("the same batch again", committed, 0, "committed"),
        of("more events than a batch may hold", _too_many(source, batch), INVALID_PARAMS, "bad_encoding"),
        of("more bytes than a batch may have", bytes(BATCH_SIZE_MAX + 3), INVALID_PARAMS, "invalid_params"),
        Bad("a body too large", bytes(BODY_BYTES_MAX + 1), LIMIT_EXCEEDED, "body_too_large", HTTP_TOO_LARGE),
    ]


def above_policy(source: BenchSource, events: int, wait: str) -> Bad:
    """Return a batch of more events than the chain's policy lets into a block."""
    return Bad("above the policy", batch_body(_next(source, events), wait), INVALID_PARAMS, "exceeds_policy")


def _next(
    source: BenchSource,
    events: int,
    *,
    chain_id: bytes | None = None,
    member: str | None = None,
    key: SigningKey | None = None,
) -> bytes:
    """Return what could be the source's next batch, and leave the source where it stands."""
    number, previous = source.position
    other = BenchSource(chain_id or source.chain_id, member or source.member, key or source.key)
    other.resume(number, previous)
    return other.batch(events)


def _with(batch: Batch, **changes: object) -> bytes:
    return encode(structs.replace(batch, **changes))


def _signed(source: BenchSource, batch: Batch, events: tuple[bytes, ...]) -> bytes:
    """Return a batch in the place of another, of other events."""
    header = batch.header
    return build_batch(
        events,
        chain_id=Hash(header.chain_id),
        member=header.member,
        key=source.key,
        number=header.number,
        previous=Hash(header.previous),
        time_ms=TimeMs(header.time_ms),
    )


def _rival(source: BenchSource, committed: bytes) -> bytes:
    batch = decode(Batch, committed, size_max=BATCH_SIZE_MAX)
    return _signed(source, batch, (statement_event(source.member, b"rival", batch.header.time_ms),))


def _too_many(source: BenchSource, batch: Batch) -> bytes:
    """Return a batch of one event more than the format allows; its header says so, and is signed."""
    events = (batch.events * (BATCH_EVENTS_MAX + 1))[: BATCH_EVENTS_MAX + 1]
    header = structs.replace(batch.header, count=len(events))
    return encode(Batch(header, source.key.sign(batch_statement(header)), events))
