"""A message submitted again leads to its first event: with other options, corrected, or by a later release."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from chainnode.ingest.drafts import Draft
from chainnode.ingest.formats import Options, ingest
from chainnode.ingest.iso20022 import parse_iso20022
from chainnode.payloads import Keeper, StatedOtherwise
from chainnode.private_store import Erased, PrivateStore
from ledger.events import TIME_MS_MAX, Event, event_id
from ledger.payments import PaymentStatement
from primitives.encoding import decode, encode
from tests.chainnode.ingest.ingest_fixtures import BAD, context_of, sample

ONE_BAD = (BAD / "pacs008-one-of-five-bad.xml").read_bytes()
NOW_MS = 1_790_000_000_000
BAD_PLACE = 2


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "private"


def stated(folder: Path, data: bytes, *, skip_bad: bool = False, dry: bool = False, **changes: Any) -> list[Draft]:
    """Return what bank-a would send of a file; `changes` are arguments of make_context."""
    with Keeper(folder, dry=dry) as keeper:
        context = context_of("bank-a", event_key_of=keeper.event_key_of, **changes)
        found = ingest(data, context, where="file", options=Options(skip_bad=skip_bad))
        return keeper.keep("bank-a", found.drafts, data if found.kept is None else found.kept, found.partial)


def id_of(draft: Draft) -> bytes:
    return event_id(
        encode(Event("bank-a", draft.reference or b"", TIME_MS_MAX, draft.kind, draft.schema, draft.body)), draft.kind
    )


def corrected(data: bytes) -> bytes:
    return data.replace(b">30.255<", b">30.25<")


@pytest.mark.parametrize("name", ["01", "13"])
def test_a_message_submitted_again_with_other_options_is_its_first_event(name: str, folder: Path) -> None:
    first = stated(folder, sample(name))
    again = stated(folder, sample(name), clear_amounts=True)
    assert [id_of(draft) for draft in again] == [id_of(draft) for draft in first]
    assert {draft.differs for draft in first} == {()}
    assert {draft.differs for draft in again} == {("amount", "amount_commitment")}
    body = decode(PaymentStatement, again[0].body, size_max=4_096)
    assert body.amount is None, "what was committed to first is not in clear later"


def test_a_secret_that_was_agreed_on_meanwhile_makes_no_second_event(folder: Path) -> None:
    first = stated(folder, sample("13"))
    again = stated(folder, sample("13"), agreed=lambda member, day: b"s" * 32)
    assert [id_of(draft) for draft in again] == [id_of(draft) for draft in first]
    assert {draft.differs for draft in again} == {("pair_key", "tokens")}
    assert {draft.differs for draft in stated(folder, sample("13"))} == {()}


def test_a_dry_run_shows_what_was_stated_first(folder: Path) -> None:
    assert {draft.differs for draft in stated(folder, sample("13"), dry=True, clear_amounts=True)} == {()}
    first = stated(folder, sample("13"))
    shown = stated(folder, sample("13"), dry=True, clear_amounts=True)
    assert [id_of(draft) for draft in shown] == [id_of(draft) for draft in first]


def test_the_good_ones_of_a_corrected_message_keep_their_events(folder: Path) -> None:
    first = stated(folder, ONE_BAD, skip_bad=True)
    whole = stated(folder, corrected(ONE_BAD))
    assert (len(first), len(whole)) == (4, 5)
    ids = [id_of(draft) for draft in whole]
    assert ids[:BAD_PLACE] + ids[BAD_PLACE + 1 :] == [id_of(draft) for draft in first]
    assert len(set(ids)) == 5
    with PrivateStore(folder) as store:
        assert len(store) == 5


def test_a_message_whose_totals_were_corrected_is_known_again() -> None:
    once, again = (parse_iso20022(data, where="f").payments for data in (corrected(ONE_BAD), without_totals()))
    assert [(each.key, each.index) for each in once] == [(each.key, each.index) for each in again]
    assert once[0].message_digest != again[0].message_digest


def without_totals() -> bytes:
    text = corrected(ONE_BAD)
    for name in (b"CtrlSum", b"TtlIntrBkSttlmAmt"):
        head, _, rest = text.partition(b"<" + name)
        text = head + rest.partition(b"</" + name + b">")[2]
    return text


@pytest.mark.parametrize(
    ("before", "after"), [(b"<MsgId>", b"<MsgId>A"), (b"<CreDtTm>2026", b"<CreDtTm>2025"), (b">30.25<", b">31.25<")]
)
def test_another_message_or_another_transaction_is_another_event(before: bytes, after: bytes) -> None:
    data = corrected(ONE_BAD)
    if b"CtrlSum" in data and b"31.25" in after:
        data = without_totals()
    once = parse_iso20022(data, where="f").payments
    again = parse_iso20022(data.replace(before, after, 1), where="f", skip_bad=True).payments
    kept = {each.key for each in once} & {each.key for each in again}
    assert len(kept) == (4 if b"31.25" in after else 0)


def test_transactions_that_are_alike_in_every_byte_are_two_payments() -> None:
    text = sample("01").decode()
    start, stop = text.index("<CdtTrfTxInf>"), text.index("</CdtTrfTxInf>") + len("</CdtTrfTxInf>")
    twice = text[:stop] + text[start:stop] + text[stop:]
    twice = twice.replace("<NbOfTxs>1<", "<NbOfTxs>2<")
    for name in ("CtrlSum", "TtlIntrBkSttlmAmt"):
        head, mark, rest = twice.partition(f"<{name}")
        twice = head + rest.partition(f"</{name}>")[2] if mark else twice
    payments = parse_iso20022(twice.encode(), where="f").payments
    assert [each.index for each in payments] == [0, 1]
    assert len({each.key for each in payments}) == 1


def test_what_an_earlier_release_kept_is_sent_again_only_as_it_was(folder: Path) -> None:
    first = stated(folder, sample("13"))
    database = sqlite3.connect(folder / "payloads.db")
    database.executescript("DROP TABLE bodies; PRAGMA user_version = 1;")
    database.close()
    assert [id_of(draft) for draft in stated(folder, sample("13"))] == [id_of(draft) for draft in first]
    with pytest.raises(StatedOtherwise, match="expected the options with which it was submitted first"):
        stated(folder, sample("13"), clear_amounts=True)


def test_erasing_leaves_nothing_to_send_again(folder: Path) -> None:
    first = stated(folder, sample("01"), clear_amounts=True)
    with PrivateStore(folder) as store:
        assert store.first(first[0].reference or b"") is not None
        store.erase([id_of(first[0])], NOW_MS)
        found = store.first(first[0].reference or b"")
        assert found is not None
        assert found.body is None
    with pytest.raises(Erased):
        stated(folder, sample("01"))
