"""Statements read by their forms, against the same statements decoded: every form, every field, every order."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace as replaced
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from chainnode.analysis import layouts
from chainnode.analysis.block_facts import Facts
from chainnode.analysis.columns import PADDING
from chainnode.analysis.layouts import Layouts, layout_of
from chainnode.analysis.log_walk import Chunk
from chainnode.analysis.tables import tables_of
from ledger.events import Event
from ledger.payments import (
    AgentRecord,
    AgentRole,
    AgentScheme,
    Channel,
    PaymentStatement,
    Side,
    Status,
    TokenField,
    TokenRecord,
    check_statement,
    uetr_text,
)
from ledger.payments_json import word
from primitives.encoding import decode, encode
from primitives.errors import ProofError
from primitives.hashing import leaf_hash
from tests.ledger.test_payments_quick import STATEMENT, bodies, is_taken
from tests.rpc.conftest import MemoryNode

CODES = {
    AgentScheme.BIC: ["BKAACNBJ", "BKAACNBJXXX"],
    AgentScheme.CNAPS: ["999100000017"],
    AgentScheme.LEI: ["A" * 18 + "07"],
}


def digest() -> st.SearchStrategy[bytes]:
    return st.binary(min_size=32, max_size=32)


@st.composite
def statements(draw: st.DrawFn) -> PaymentStatement:
    """Sound statements of any form."""
    is_clear, is_paired = draw(st.booleans()), draw(st.booleans())
    uetr = bytearray(draw(st.binary(min_size=16, max_size=16)))
    uetr[6], uetr[8] = uetr[6] & 0x0F | 0x40, uetr[8] & 0x3F | 0x80
    schemes = st.sampled_from(sorted(CODES))
    agents = [
        AgentRecord(role, scheme, draw(st.sampled_from(CODES[scheme])))
        for role in sorted(draw(st.sets(st.sampled_from(AgentRole))))
        for scheme in [draw(schemes)]
    ]
    fields = sorted(draw(st.sets(st.sampled_from(TokenField)))) if is_paired else []
    body = replace(
        STATEMENT,
        salt=draw(st.binary(min_size=16, max_size=16)),
        side=draw(st.sampled_from(Side)),
        message_type=draw(st.sampled_from(["pacs.008.001.08", "pain.001", "emv.qr", "iso8583.0200", "json"])),
        status=draw(st.sampled_from(Status)),
        reason=draw(st.sampled_from(["", "AC04"])),
        amount=draw(st.integers(0, 10**18 - 1) | st.integers(0, 70_000)) if is_clear else None,
        currency=draw(st.sampled_from(["CNY", "JPY"])),
        amount_commitment=b"" if is_clear else draw(digest()),
        settlement_date=draw(st.just(0) | st.dates().map(lambda day: day.year * 10_000 + day.month * 100 + day.day)),
        agents=agents,
        channel=draw(st.sampled_from(Channel)),
        uetr=draw(st.sampled_from([b"", bytes(uetr)])),
        reference_commitment=draw(digest()),
        pair_key=draw(digest()) if is_paired else b"",
        tokens=[TokenRecord(field, draw(st.binary(min_size=16, max_size=16))) for field in fields],
        terminal_certificate=draw(st.sampled_from(["", "FTP-2026-06-000123"])),
        time_ms=draw(st.integers(0, 200) | st.integers(0, 253_402_300_799_999)),
    )
    check_statement(body)
    return body


def chunk_of(events: list[bytes]) -> Chunk:
    """Return a chunk of one block with these events, which are statements."""
    node = MemoryNode()
    header = node.reader.header(0)
    assert header is not None
    entries = [b"\x20" + event for event in events]
    sizes = np.array([len(entry) for entry in entries], np.int64)
    return Chunk(
        data=np.frombuffer(b"".join(entries) + bytes(PADDING), np.uint8),
        starts=np.cumsum(sizes) - sizes,
        sizes=sizes,
        ids=b"".join(leaf_hash(entry) for entry in entries),
        log_index=np.arange(len(events)) + header.first_index,
        block=np.zeros(len(events), np.int64),
        headers=[replace(header, event_count=len(events))],
        next_index=len(events) + 1,
    )


def rows_of(events: list[bytes], known: Layouts | None = None) -> list[dict[str, Any]]:
    chunk = chunk_of(events)
    facts = Facts(np.zeros(len(events), np.int32), np.full(len(events), -1, np.int64))
    found: list[dict[str, Any]] = tables_of(chunk, facts, known or Layouts(), None)["payments"].to_pylist()
    return found


def event_of(body: bytes, member: str = "bank-a", expires_ms: int = 1_767_225_600_000) -> bytes:
    return encode(Event(member, bytes(16), expires_ms, 32, 1, body))


def expected(body: PaymentStatement) -> dict[str, Any]:
    day = body.settlement_date
    agents = {agent.role: agent.code for agent in body.agents}
    tokens = {token.field: token.token for token in body.tokens}
    return {
        "side": word(body.side),
        "message_type": body.message_type,
        "status": word(body.status),
        "reason": body.reason or None,
        "amount": body.amount,
        "currency": body.currency or None,
        "amount_commitment": body.amount_commitment or None,
        "settlement_date": f"{day // 10_000:04d}-{day // 100 % 100:02d}-{day % 100:02d}" if day else None,
        **{role.name.lower(): agents.get(role) for role in AgentRole},
        "channel": word(body.channel),
        "uetr": uetr_text(body.uetr) if body.uetr else None,
        "reference_commitment": body.reference_commitment,
        "pair_key": body.pair_key or None,
        **{f"token_{field.name.lower()}": tokens.get(field) for field in TokenField},
        "fields_root": body.fields_root,
        "terminal_certificate": body.terminal_certificate or None,
        "source_digest": body.source_digest,
        "message_time": body.time_ms,
    }


def shown(row: dict[str, Any]) -> dict[str, Any]:
    day, amount = row["settlement_date"], row["amount"]
    found = {name: value for name, value in row.items() if name in expected(STATEMENT)}
    return {
        **found,
        "settlement_date": None if day is None else day.isoformat(),
        "amount": None if amount is None else int(amount),
        "message_time": round(row["message_time"].timestamp() * 1_000),
    }


@given(st.lists(st.tuples(statements(), st.sampled_from(["bank-a", "b", "b" * 40, "银行"])), min_size=1, max_size=12))
def test_every_field_of_every_form_is_read_as_decoding_reads_it(found: list[tuple[PaymentStatement, str]]) -> None:
    rows = rows_of([event_of(encode(body), member) for body, member in found])
    assert [row["member"] for row in rows] == [member for _, member in found]
    assert [shown(row) for row in rows] == [expected(body) for body, _ in found]


@given(st.lists(bodies(), min_size=1, max_size=6))
def test_whatever_the_full_check_takes_is_read_and_other_bytes_do_no_harm(found: list[bytes]) -> None:
    taken = [body for body in found if is_taken(body)]
    if taken:
        decoded = [decode(PaymentStatement, body, size_max=65_535) for body in taken]
        assert [shown(row) for row in rows_of([event_of(body) for body in taken])] == list(map(expected, decoded))
    for body in found:
        try:
            layout_of(b"\x20" + event_of(body))
        except ProofError:
            assert not is_taken(body)


@given(st.binary(max_size=80), st.integers(0, 400), st.booleans())
def test_no_bytes_make_it_read_past_their_end_or_raise_anything_else(noise: bytes, place: int, cut: bool) -> None:
    entry = b"\x20" + event_of(encode(STATEMENT))
    place = min(place, len(entry))
    changed = entry[:place] + noise + (b"" if cut else entry[place + len(noise) :])
    with suppress(ProofError):
        found = layout_of(changed)
        assert int((found.starts + found.sizes).max()) <= len(changed)


def test_an_entry_that_is_no_statement_is_named_among_good_ones() -> None:
    good = event_of(encode(STATEMENT))
    with pytest.raises(ProofError, match="entry 1: entry is not a payment statement"):
        rows_of([good, good[:-1], good])
    with pytest.raises(ProofError, match="entry 2"):
        rows_of([good, good, good.replace(b"\xdc\x00\x13", b"\xdc\x00\x14")])


def test_a_byte_out_of_its_enumeration_is_refused_though_the_form_is_known() -> None:
    good = event_of(encode(STATEMENT))
    side = good.index(bytes(16) + b"\x01\xaf") + 16
    bad = good[:side] + b"\x07" + good[side + 1 :]
    with pytest.raises(ProofError, match=r"entry 3: .*side out of range"):
        rows_of([good, good, good, bad])


def test_forms_are_forgotten_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layouts, "LAYOUTS_KEPT", 3)
    known = Layouts()
    events = [event_of(encode(replace(STATEMENT, amount=10**power, amount_commitment=b""))) for power in range(8)]
    for _ in range(3):
        assert [int(row["amount"]) for row in rows_of(events, known)] == [10**power for power in range(8)]
        assert len(known._all) <= 4 + 4


def test_entries_of_ever_new_forms_are_not_held_against_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layouts, "LAYOUTS_KEPT", 5)
    held: list[int] = []
    real = Layouts._settle

    def settle(known: Layouts, number: int, data: Any, starts: Any, rows: Any, form: Any) -> Any:
        held.append(len(rows))
        return real(known, number, data, starts, rows, form)

    monkeypatch.setattr(Layouts, "_settle", settle)
    schemes = sorted(set(permutations([AgentScheme.BIC] * 2 + [AgentScheme.CNAPS] * 2 + [AgentScheme.LEI] * 2)))
    roles = sorted(AgentRole)[:6]
    events = [
        event_of(encode(replace(STATEMENT, agents=list(map(AgentRecord, roles, each, [CODES[s][0] for s in each])))))
        for each in schemes
    ]
    rows = rows_of(events, Layouts())
    for row, each in zip(rows, schemes, strict=True):
        assert [row[role.name.lower()] for role in roles] == [CODES[scheme][0] for scheme in each]
    assert len(events) == 90
    assert sum(held) <= 5 * len(events)


def test_a_layout_is_the_same_whoever_is_walked_first() -> None:
    body = encode(STATEMENT)
    one, other = layout_of(b"\x20" + event_of(body)), layout_of(b"\x20" + event_of(body.replace(b"BKAA", b"BKBB")))
    assert (one.heads.tolist(), one.values.tolist()) == (other.heads.tolist(), other.values.tolist())
    assert replaced(one).sizes.tolist() == other.sizes.tolist()
