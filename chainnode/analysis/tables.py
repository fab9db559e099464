"""The tables of an export: their columns, and the rows of a chunk of the log.

Here: schemas, which are plain types that DuckDB and Spark read alike, and Arrow tables with these columns. Not here:
where the fields of statements lie (`layouts`), files (`exporting`), what was proved of each block (`block_facts`).
A row's `event_id` is what `chainnode prove` takes; `height`, `index` and `log_index` are its event's place, from 0.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from chainnode.analysis import columns
from chainnode.analysis.block_facts import Facts
from chainnode.analysis.columns import DECIMAL, TIME, Array
from chainnode.analysis.layouts import AGENTS, TOKENS, Layouts, Located
from chainnode.analysis.log_walk import Chunk
from ledger.certificate_subjects import SUBJECT_BODIES, all_subjects
from ledger.event_json import body_to_json
from ledger.events import EVENT_SIZE_MAX, REFERENCE_SIZE, Event
from ledger.payments import COMMITMENT_SIZE, PAYMENT_STATEMENT, TOKEN_SIZE, Channel, Side, Status
from ledger.payments_json import word
from ledger.registry import KINDS
from primitives.encoding import decode
from primitives.ids import HASH_BYTES

_PLACE: Final = [
    ("event_id", pa.binary()),
    ("height", pa.int64()),
    ("index", pa.int32()),
    ("log_index", pa.int64()),
    ("time", TIME),
]
_OUTCOME: Final = [("applied", pa.bool_()), ("rule", pa.string())]

EVENTS: Final = pa.schema(
    [
        *_PLACE,
        ("kind", pa.string()),
        ("schema", pa.int32()),
        ("member", pa.string()),
        ("source", pa.binary()),
        ("batch_number", pa.int64()),
        *_OUTCOME,
        ("reference", pa.binary()),
        ("expires", TIME),
    ]
)
PAYMENTS: Final = pa.schema(
    [
        *_PLACE,
        ("member", pa.string()),
        *_OUTCOME,
        ("side", pa.string()),
        ("message_type", pa.string()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("amount", DECIMAL),
        ("currency", pa.string()),
        ("amount_commitment", pa.binary()),
        ("settlement_date", pa.date32()),
        *((name, pa.string()) for name in AGENTS),
        ("channel", pa.string()),
        ("uetr", pa.string()),
        ("reference_commitment", pa.binary()),
        ("pair_key", pa.binary()),
        *((name, pa.binary()) for name in TOKENS),
        ("fields_root", pa.binary()),
        ("terminal_certificate", pa.string()),
        ("source_digest", pa.binary()),
        ("message_time", TIME),
    ]
)
CERTIFICATES: Final = pa.schema(
    [
        *_PLACE,
        ("kind", pa.string()),
        ("member", pa.string()),
        *_OUTCOME,
        ("subject", pa.string()),
        ("body", pa.string()),
    ]
)
TABLES: Final[dict[str, Array]] = {"events": EVENTS, "payments": PAYMENTS, "certificates": CERTIFICATES}
REPEATED: Final = frozenset(
    {"height", "time", "kind", "schema", "member", "source", "batch_number", "applied", "rule", "side", "status"}
    | {"message_type", "reason", "currency", "settlement_date", *AGENTS, "channel", "terminal_certificate"}
)
"""Columns whose values repeat: they are written as numbers of a dictionary, and compressed."""

CACHED_ROWS: Final = 16384
_ANY_SIDE: Final = [None, *map(word, Side)]
_ANY_STATUS: Final = [None, *map(word, Status)]
_ANY_CHANNEL: Final = list(map(word, Channel))
_KIND_NAMES: Final = [KINDS[kind].name if kind in KINDS else f"kind {kind}" for kind in range(256)]
_CERTIFICATE_KINDS: Final = np.array(sorted({kind for kind, _ in SUBJECT_BODIES}))


@dataclass(frozen=True, slots=True)
class _Rows:
    """Which of a chunk's events a table is about, and what all tables say of them."""

    chunk: Chunk
    facts: Facts
    rows: NDArray[np.int64]

    def only(self, chosen: NDArray[np.bool_]) -> _Rows:
        return self if chosen.all() else _Rows(self.chunk, self.facts, self.rows[chosen])

    def place(self) -> dict[str, Array]:
        chunk, rows = self.chunk, self.rows
        block = chunk.block[rows]
        first = np.array([header.first_index for header in chunk.headers])
        heights = np.array([header.height for header in chunk.headers])
        times = np.array([header.time_ms for header in chunk.headers], np.int64)
        return {
            "event_id": columns.digests(self.ids(), HASH_BYTES),
            "height": columns.plain(heights[block], pa.int64()),
            "index": columns.plain((chunk.log_index[rows] - first[block]).astype(np.int32), pa.int32()),
            "log_index": columns.plain(chunk.log_index[rows], pa.int64()),
            "time": columns.times(times[block]),
        }

    def ids(self) -> Any:  # Any: bytes, or an array of them
        if len(self.rows) == len(self.chunk.starts):
            return self.chunk.ids
        chosen = np.frombuffer(self.chunk.ids, np.dtype(f"V{HASH_BYTES}"))[self.rows]
        return np.ascontiguousarray(chosen).view(np.uint8)

    def outcome(self) -> dict[str, Array]:
        facts, rows = self.facts, self.rows
        rule = facts.rule[rows]
        applied = pa.array(rule == 0, pa.bool_(), mask=rule < 0)
        names = columns.words(rule.clip(0), [None, *facts.rules])
        return {"applied": applied, "rule": names}


def tables_of(chunk: Chunk, facts: Facts, layouts: Layouts, kinds: Collection[int] | None) -> dict[str, Array]:
    """Return the rows of a chunk by table's name, in the order of the log; of `kinds` alone where there are some.

    Raises InputError for an entry that is no event, or no statement, that is known here.
    """
    kind = chunk.data[chunk.starts]
    every = _Rows(chunk, facts, np.arange(len(kind)))
    chosen = every if kinds is None else every.only(np.isin(kind, sorted(kinds)))
    kind = kind[chosen.rows]
    payments = chosen.only(kind == PAYMENT_STATEMENT)
    located = _located(payments, layouts)
    others = chosen.only(kind != PAYMENT_STATEMENT) if len(payments.rows) < len(chosen.rows) else None
    found = {
        "events": _events(chosen, kind, payments, others, located),
        "payments": _payments(payments, located),
        "certificates": _certificates(chosen.only(np.isin(kind, _CERTIFICATE_KINDS))),
    }
    for table in found.values():
        table.validate(full=True)
    return found


def _located(payments: _Rows, layouts: Layouts) -> Located:
    chunk, rows = payments.chunk, payments.rows
    return layouts.locate(chunk.data, chunk.starts[rows], chunk.sizes[rows])


def _event(rows: _Rows, row: int) -> Event:
    return decode(Event, rows.chunk.entry(row)[1:], size_max=EVENT_SIZE_MAX)


def _events(
    chosen: _Rows,
    kind: NDArray[np.uint8],
    payments: _Rows,
    others: _Rows | None,
    located: Located,
) -> Array:
    """Return the rows of all kinds: of statements what their forms tell, of the others what decoding does."""
    data, facts, at = chosen.chunk.data, chosen.facts, located.at
    member = columns.text(data, *at("member"))
    reference = columns.binary(data, *at("reference"), REFERENCE_SIZE)
    expires = columns.times(columns.integers(data, *at("expires")))
    schema = np.ones(len(chosen.rows), np.int32)
    if others is not None:
        events = [_event(others, row) for row in others.rows.tolist()]
        order = np.argsort(np.concatenate([payments.rows, others.rows]))
        schema = np.concatenate([schema[: len(payments.rows)], [event.schema for event in events]])[order]
        member = _merged(member, [event.member for event in events], order)
        reference = _merged(reference, [event.reference for event in events], order)
        expires = _merged(expires, [event.expires_ms for event in events], order)
    batch = facts.batch[chosen.rows]
    known = batch >= 0
    sources = columns.words(np.where(known, facts.source_of[batch], len(facts.sources)), [*facts.source_hex, None])
    numbers = np.where(known, facts.number_of[batch], 0)
    return pa.table(
        {
            **chosen.place(),
            "kind": columns.words(kind, _KIND_NAMES),
            "schema": columns.plain(schema.astype(np.int32), pa.int32()),
            "member": member,
            "source": _binary_words(sources),
            "batch_number": pa.array(numbers, pa.int64(), mask=~known),
            **chosen.outcome(),
            "reference": reference,
            "expires": expires,
        }
    )


def _merged(first: Array, second: list[Any], order: NDArray[np.int64]) -> Array:
    """Return two columns as one, in the order of the log."""
    return pa.concat_arrays([first, pa.array(second, first.type)]).take(pa.array(order))


def _binary_words(found: Array) -> Array:
    """Return words that are hex as the bytes that they say."""
    values = pa.array([bytes.fromhex(text) for text in found.dictionary.to_pylist()], pa.binary())
    return pa.DictionaryArray.from_arrays(found.indices, values)


def _payments(rows: _Rows, located: Located) -> Array:
    """Return the rows of statements, made of few at a time: their entries then stay in the processor's cache."""
    count = len(rows.rows)
    parts = [
        _some_payments(
            _Rows(rows.chunk, rows.facts, rows.rows[start : start + CACHED_ROWS]), located.part(start, CACHED_ROWS)
        )
        for start in range(0, max(count, 1), CACHED_ROWS)
    ]
    return pa.concat_tables(parts)


def _some_payments(rows: _Rows, located: Located) -> Array:
    data, at = rows.chunk.data, located.at

    def text(name: str) -> Array:
        return columns.text(data, *at(name))

    def commitment(name: str) -> Array:
        return columns.binary(data, *at(name), COMMITMENT_SIZE)

    return pa.table(
        {
            **rows.place(),
            "member": text("member"),
            **rows.outcome(),
            "side": columns.words(columns.integers(data, *at("side")), _ANY_SIDE),
            "message_type": text("message_type"),
            "status": columns.words(columns.integers(data, *at("status")), _ANY_STATUS),
            "reason": text("reason"),
            "amount": columns.decimals(columns.integers(data, *at("amount")), at("amount")[1] > 0),
            "currency": text("currency"),
            "amount_commitment": commitment("amount_commitment"),
            "settlement_date": columns.dates(columns.integers(data, *at("settlement_date"))),
            **{name: text(name) for name in AGENTS},
            "channel": columns.words(columns.integers(data, *at("channel")), _ANY_CHANNEL),
            "uetr": columns.uuids(data, *at("uetr")),
            "reference_commitment": commitment("reference_commitment"),
            "pair_key": commitment("pair_key"),
            **{name: columns.binary(data, *at(name), TOKEN_SIZE) for name in TOKENS},
            "fields_root": commitment("fields_root"),
            "terminal_certificate": text("terminal_certificate"),
            "source_digest": commitment("source_digest"),
            "message_time": columns.times(columns.integers(data, *at("message_time"))),
        }
    )


def _certificates(rows: _Rows) -> Array:
    """Return the events of certificates' lives; `subject` is what each is about, `body` its JSON."""
    events = [_event(rows, row) for row in rows.rows.tolist()]
    return pa.table(
        {
            **rows.place(),
            "kind": pa.array([_KIND_NAMES[event.kind] for event in events], pa.string()),
            "member": pa.array([event.member for event in events], pa.string()),
            **rows.outcome(),
            "subject": pa.array([_subject(event) for event in events], pa.string()),
            "body": pa.array(
                [
                    json.dumps(body_to_json(event.kind, event.schema, event.body), ensure_ascii=False)
                    for event in events
                ],
                pa.string(),
            ),
        }
    )


def _subject(event: Event) -> str | None:
    """Return the certificate, application or register that an event is about; None for schemas of a later release."""
    type_ = SUBJECT_BODIES.get((event.kind, event.schema))
    if type_ is None:
        return None
    body: Any = decode(type_, event.body, size_max=EVENT_SIZE_MAX)
    return " ".join(all_subjects(body)) or None
