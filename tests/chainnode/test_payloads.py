"""Statements of sample files with what is private of them kept beside: stated again alike, and gone once erased."""

from __future__ import annotations

import os
import re
from hashlib import sha256
from pathlib import Path

import pytest

from chainnode.ingest.drafts import Ingested
from chainnode.ingest.errors import NotAPartyError
from chainnode.ingest.formats import Options, ingest
from chainnode.ingest.iso20022 import parse_iso20022
from chainnode.ingest.privacy import PrivateField, commit_fields, event_secrets
from chainnode.payloads import Keeper, Payload, PayloadField, read_payload, source_messages
from chainnode.private_store import Erased, PrivateStore
from ledger.events import TIME_MS_MAX, Event, event_id
from ledger.payments import PaymentStatement
from primitives.encoding import decode, encode
from primitives.errors import InputError
from tests.chainnode.ingest.ingest_fixtures import MEMBERS, SAMPLES, context_of, sample
from tests.chainnode.ingest.test_nothing_private_in_clear import private_texts

NOW_MS = 1_790_000_000_000
FILES = sorted(path for path in SAMPLES.iterdir() if path.suffix in (".xml", ".jsonl", ".csv", ".iso8583"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "private"


def stated(folder: Path, data: bytes, member: str = "bank-a", *, dry: bool = False, skip_bad: bool = False) -> Ingested:
    """Return what `submit` would send of a file, after it has kept what is private."""
    with Keeper(folder, dry=dry) as keeper:
        context = context_of(member, event_key_of=keeper.event_key_of)
        found = ingest(data, context, where="file", options=Options(skip_bad=skip_bad))
        found.drafts = keeper.keep(member, found.drafts, data if found.kept is None else found.kept, found.partial)
    return found


def ids_of(found: Ingested, member: str = "bank-a") -> list[bytes]:
    """Return the ids of the events of drafts, as they are on the chain."""
    return [
        event_id(encode(Event(member, draft.reference or b"", TIME_MS_MAX, draft.kind, draft.schema, draft.body)), 32)
        for draft in found.drafts
    ]


def private_of(path: Path) -> set[bytes]:
    """Return the texts of a sample that may stand nowhere in clear; names of columns may."""
    if path.suffix == ".iso8583":
        return set(re.findall(rb"[0-9]{13,19}", path.read_bytes()))
    columns = set(path.read_bytes().partition(b"\n")[0].strip().split(b",")) if path.suffix == ".csv" else set()
    return private_texts(path) - columns


def everything(folder: Path) -> bytes:
    """Return the bytes of all files of a directory."""
    return b"\n".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_is_kept_of_a_sample_opens_its_commitments_and_lies_nowhere_in_clear(path: Path, tmp_path: Path) -> None:
    data = path.read_bytes()
    count = 0
    for member in MEMBERS:
        folder = tmp_path / member
        try:
            found = stated(folder, data, member)
        except NotAPartyError:
            continue
        left = everything(folder)
        assert [text for text in private_of(path) if text in left] == []
        with PrivateStore(folder) as store:
            for identity, draft in zip(ids_of(found, member), found.drafts, strict=True):
                content = store.content(identity)
                payload = read_payload(content.payload)
                body = decode(PaymentStatement, draft.body, size_max=4_096)
                assert payload.event == identity
                assert commit_fields(content.event_key, payload.values).root == body.fields_root
                assert content.message is not None
                assert sha256(content.message).digest() == payload.values[PrivateField.SOURCE]
                count += 1
    assert count


def test_the_same_file_gives_the_same_events_again_and_other_keys_elsewhere(folder: Path) -> None:
    data = sample("01")
    first, again = stated(folder, data), stated(folder, data)
    assert [draft.body for draft in first.drafts] == [draft.body for draft in again.drafts]
    other = stated(folder.with_name("other"), data)
    assert [draft.reference for draft in other.drafts] == [draft.reference for draft in first.drafts]
    assert all(one.body != two.body for one, two in zip(first.drafts, other.drafts, strict=True))


def test_a_dry_run_keeps_nothing_and_shows_what_was_drawn_before(folder: Path) -> None:
    data = sample("01")
    stated(folder, data, dry=True)
    assert not folder.exists()
    first = stated(folder, data)
    assert [draft.body for draft in stated(folder, data, dry=True).drafts] == [draft.body for draft in first.drafts]


def test_an_event_key_follows_from_nothing_that_is_left_after_an_erasure(folder: Path) -> None:
    data = sample("01")
    found = stated(folder, data)
    (identity,) = ids_of(found)
    with PrivateStore(folder) as store:
        content = store.content(identity)
        store.erase([identity], NOW_MS)
    values = read_payload(content.payload).values
    # Whoever has the home's secrets, and even the message, draws another key than the one that is gone.
    (payment,) = parse_iso20022(data, where="file").payments
    derived = event_secrets(context_of("bank-a").secrets.reporter, payment.key, payment.index)
    statement = found.drafts[0].statement
    assert statement is not None
    assert derived.reference == statement.reference
    assert derived.event_key != content.event_key
    assert commit_fields(derived.event_key, values).root != statement.body.fields_root


def test_a_message_whose_payment_was_erased_is_refused_by_name(folder: Path) -> None:
    data = sample("01")
    found = stated(folder, data)
    with PrivateStore(folder) as store:
        store.erase(ids_of(found), NOW_MS)
    with pytest.raises(Erased, match="was erased here"):
        stated(folder, data)
    with Keeper(folder) as keeper:
        context = context_of("bank-a", event_key_of=keeper.event_key_of)
        skipped = ingest(data, context, where="file", options=Options(skip_bad=True))
    assert [error.reason for error in skipped.refused] == ["payment_erased"]


def test_each_line_and_each_row_is_a_message_of_its_own() -> None:
    lines = b'{"b": 1, "a": "x"}\r\n{"a":"y"}\n'
    digests = [sha256(text).digest() for text in (b'{"a":"x","b":1}', b'{"a":"y"}')]
    messages, place_of = source_messages(lines, digests)
    assert [messages[place_of(digest) or 0] for digest in digests] == [b'{"a":"x","b":1}', b'{"a":"y"}']
    rows = sample("plain-bank-c")
    kept = ingest(rows, context_of("bank-c"), where="file").kept
    assert kept is not None
    digests = [sha256(line).digest() for line in kept.split(b"\n")]
    messages, place_of = source_messages(kept, digests)
    assert [messages[place_of(digest) or 0] for digest in digests] == kept.split(b"\n")


def test_a_document_is_found_in_its_envelope_and_what_is_unknown_is_not_kept() -> None:
    documents = [b"<Document><a/></Document>", b'<p:Document xmlns:p="x"> <p:b/></p:Document >']
    data = b"<Envelope><Document-2/>" + documents[0] + b"<Header/>" + documents[1] + b"</Envelope>"
    digests = [sha256(document).digest() for document in documents]
    messages, place_of = source_messages(data, [*digests, os.urandom(32)])
    assert messages == documents
    assert [place_of(digest) for digest in (*digests, os.urandom(32))] == [0, 1, None]
    assert source_messages(data, [sha256(data).digest()])[0] == [data]
    assert source_messages(data, [])[0] == []
    assert source_messages(b"0200\x00card", [os.urandom(32)])[0] == []


def test_a_payload_reads_as_it_was_written_and_nothing_else_does() -> None:
    fields = (PayloadField(PrivateField.AMOUNT, b"CNY 1.00"), PayloadField(PrivateField.REMITTANCE, b"rent"))
    payload = Payload(1, bytes(32), fields)
    assert read_payload(encode(payload)) == payload
    assert payload.values == {PrivateField.AMOUNT: b"CNY 1.00", PrivateField.REMITTANCE: b"rent"}
    for bad in (Payload(1, bytes(32), fields[::-1]), Payload(1, bytes(32), fields[:1] * 2)):
        with pytest.raises(InputError, match="out of order"):
            read_payload(encode(bad))
    for data in (b"", encode(payload)[:-1], encode(Payload(2, bytes(32), ())), encode(payload) + b"\0"):
        with pytest.raises(InputError):
            read_payload(data)


def test_a_message_of_which_a_payment_was_left_out_is_not_kept(folder: Path) -> None:
    data = (SAMPLES.parent / "bad" / "pacs008-one-of-five-bad.xml").read_bytes()
    found = stated(folder, data, skip_bad=True)
    assert (len(found.drafts), len(found.refused)) == (4, 1)
    with PrivateStore(folder) as store:
        assert {store.content(each).message for each in ids_of(found)} == {None}
    whole = stated(folder, sample("15"), skip_bad=True)
    with PrivateStore(folder) as store:
        assert None not in {store.content(each).message for each in ids_of(whole)}


def test_a_message_of_which_a_payment_was_erased_is_not_kept_again(folder: Path) -> None:
    data = sample("13")
    found = stated(folder, data)
    with PrivateStore(folder) as store:
        store.erase(ids_of(found)[:1], NOW_MS)
    again = stated(folder, data, skip_bad=True)
    assert [error.reason for error in again.refused] == ["payment_erased"]
    assert len(again.partial) == 1
    with PrivateStore(folder) as store:
        assert {store.content(each).message for each in ids_of(again)} == {None}
