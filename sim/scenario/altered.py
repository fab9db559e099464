"""Values: messages changed after they were signed, and other bytes than our own encoder would make of them."""

from __future__ import annotations

from typing import Final, TypeVar

from chainnode.core import BATCH
from consensus.messages import KINDS, encode_message, kind_of
from ledger.batches import Batch, ParsedBatch
from primitives.block import Block
from primitives.encoding import Record, encode
from sim.scenario.stage import Stage
from sim.scenario.vocabulary import value
from sim.scenario.words import Match, Unreadable

R = TypeVar("R", bound=Record)

IDENTITY: Final = b"\1" + bytes(31)
"""The neutral point: with it as key and as R, and S = 0, some verifiers take any message."""

DEGENERATE: Final = IDENTITY + bytes(32)


class Raw(Record):
    """Bytes for the wire that are no message of ours: a kind and a payload."""

    kind: int
    payload: bytes


def changed(record: R, **fields: object) -> R:
    """Return a record with other fields: what an attacker does to a signed message."""
    held = {name: getattr(record, name) for name in record.__struct_fields__}
    return type(record)(**{**held, **fields})


def payload_of(held: object) -> tuple[int, bytes] | None:
    """Return the wire kind and payload of a value, None where it is nothing to send."""
    match held:
        case Raw(kind, payload):
            return kind, payload
        case ParsedBatch():
            return BATCH, held.raw
        case bytes():
            return BATCH, held
        case _ if any(isinstance(held, type_) for type_, _ in KINDS.values()):
            return kind_of(held), encode_message(held)  # type: ignore[arg-type]  # one of the messages, just checked
        case _:
            return None


def _altered(stage: Stage, found: Match, field: str, to: object) -> Record:
    held = stage.value(found, found.word("name"), Record)
    if isinstance(held, Block) and field in held.header.__struct_fields__:
        return Block(changed(held.header, **{field: to}), held.batch_hashes)
    if field not in held.__struct_fields__:
        fields = ", ".join(held.__struct_fields__)
        raise Unreadable(found.line.number, f"{type(held).__name__} has no {field}", f"one of {fields}")
    return changed(held, **{field: to})


@value("NAME but WORD COUNT", "the same with another number in a field, and the old signature")
def _number(stage: Stage, found: Match) -> Record:
    field = found.words("but")[0]
    return _altered(stage, found, field, found.count("count"))


@value("NAME but WORD of NAME", "the same with a field of another value, and the old signature")
def _field(stage: Stage, found: Match) -> Record:
    field = found.words("but")[0]
    other = stage.value(found, found.word("of"), Record)
    if field == "block_hash" and isinstance(other, Block):
        return _altered(stage, found, field, other.header.hash())
    to = other if type(other).__name__.lower() == field else getattr(other, field, None)
    if to is None:
        raise Unreadable(found.line.number, f"{type(other).__name__} has no {field}")
    return _altered(stage, found, field, to)


@value("NAME but no WORD", "the same with an empty list in a field, and the old signature")
def _nothing(stage: Stage, found: Match) -> Record:
    return _altered(stage, found, found.word("no"), ())


@value("NAME with longer integers", "the same bytes but for one integer, which takes more of them than it needs")
def _longer(stage: Stage, found: Match) -> Raw:
    sent = payload_of(stage.value(found, found.word("name"), object))
    if sent is None:
        raise Unreadable(found.line.number, f"{found.word('name')!r} is nothing to send")
    kind, payload = sent
    at = next((index for index in range(1, 4) if payload[index] < 0x80), None)
    if at is None:
        raise Unreadable(found.line.number, f"{found.word('name')!r} does not begin with a small integer")
    return Raw(kind, payload[:at] + b"\xcc" + payload[at:])


@value("NAME with a degenerate signature", "the same with R the neutral point and S = 0 as its signature")
def _degenerate(stage: Stage, found: Match) -> object:
    held = stage.value(found, found.word("name"), object)
    if isinstance(held, ParsedBatch):
        return encode(Batch(held.header, DEGENERATE, held.event_bytes))
    return changed(stage.value(found, found.word("name"), Record), signature=DEGENERATE)
