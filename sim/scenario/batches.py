"""Values: batches of events, honest and crafted."""

from __future__ import annotations

from typing import Final

from ledger.batch_headers import BATCH_EVENTS_MAX
from ledger.batches import ParsedBatch, build_batch, parse_batch
from primitives.errors import InputError
from primitives.ids import Hash, TimeMs
from primitives.keys import SigningKey
from sim.scenario.stage import Stage
from sim.scenario.vocabulary import value
from sim.scenario.words import Match
from sim.workload import bank_of, key_of, statement

INVENTED: Final = Hash(b"\1" * 32)
CRAFTED_FROM: Final = 1_000_000
"""Crafted batches' events are numbered from here, apart from those of the sources."""


def keep(stage: Stage, raw: bytes) -> ParsedBatch | bytes:
    """Return the batch of its bytes, known from now on for blocks; the bytes where their shape is refused."""
    try:
        batch = parse_batch(raw)
    except InputError:
        return raw
    stage.batches[batch.hash] = batch
    return batch


def craft(
    stage: Stage, member: str, key: SigningKey, events: list[bytes], number: int, previous: Hash
) -> ParsedBatch | bytes:
    """Return a batch as the file wants it."""
    raw = build_batch(
        events,
        chain_id=stage.world.chain_id,
        member=member,
        key=key,
        number=number,
        previous=previous,
        time_ms=TimeMs(stage.now_ms),
    )
    return keep(stage, raw)


def fresh_events(stage: Stage, node: int, count: int) -> list[bytes]:
    """Return statements of a member that nobody has seen."""
    first = CRAFTED_FROM + stage.numbers.get(node, 0)
    stage.numbers[node] = stage.numbers.get(node, 0) + count
    return [statement(bank_of(node), first + index, stage.now_ms) for index in range(count)]


@value("batch from NODE [with COUNT event|events]", "the next batch of a bank's source; nobody has it yet")
def _next(stage: Stage, found: Match) -> object:
    node, count = stage.node(found, "from"), stage.count(found, "with", 1, BATCH_EVENTS_MAX, 1)
    return keep(stage, stage.world.gateways.sources[node].next_batch(count, stage.now_ms))


@value("batch from NODE at number COUNT", "a batch of a far number, which no block can hold")
def _gap(stage: Stage, found: Match) -> object:
    node = stage.node(found, "from")
    events = fresh_events(stage, node, 1)
    return craft(stage, bank_of(node), key_of(bank_of(node), "source"), events, found.count("number"), INVENTED)


@value("batch from NODE instead of NAME", "another batch with the number and predecessor of a given one")
def _rival(stage: Stage, found: Match) -> object:
    node = stage.node(found, "from")
    header = stage.value(found, found.word("of"), ParsedBatch).header
    events = fresh_events(stage, node, 1)
    key = key_of(bank_of(node), "source")
    return craft(stage, bank_of(node), key, events, header.number, Hash(header.previous))


@value(
    "batch from NODE copying NAME", "a batch of one bank that holds the events of another's, signed by its own source"
)
def _copy(stage: Stage, found: Match) -> object:
    node = stage.node(found, "from")
    source = stage.world.gateways.sources[node]
    events = list(stage.value(found, found.word("copying"), ParsedBatch).event_bytes)
    previous = parse_batch(source.batches[-1]).hash if source.batches else Hash(bytes(32))
    return craft(stage, bank_of(node), key_of(bank_of(node), "source"), events, len(source.batches), previous)


@value("batch from NODE of an unknown source", "a batch in a bank's name by a key that is not registered")
def _unknown(stage: Stage, found: Match) -> object:
    node = stage.node(found, "from")
    events = fresh_events(stage, node, 1)
    return craft(stage, bank_of(node), key_of(bank_of(node), "nobody"), events, 0, Hash(bytes(32)))
