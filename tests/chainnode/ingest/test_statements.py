"""From payment to statement: sides, pairs that meet, ids that stay the same, and amounts behind a commitment."""

from __future__ import annotations

import re
from typing import Any

import pytest

from chainnode.ingest.errors import NotAPartyError
from chainnode.ingest.formats import ingest
from chainnode.ingest.iso20022 import parse_iso20022
from chainnode.ingest.privacy import PrivateField, disclose, verify_disclosure
from chainnode.ingest.statements import StatementDraft, pairing_reference, statement_for
from ledger.payments import AgentRole, Side, Status, TokenField, check_statement
from ledger.reconciliation_statements import Partners
from primitives.encoding import encode
from primitives.errors import ProofError, UsageError
from tests.chainnode.ingest.ingest_fixtures import CODES, context_of, sample
from tests.chainnode.ingest.message_fixtures import application_header, pacs008


def statement(
    name: str, member: str, *, index: int = 0, text: bytes | None = None, **changes: object
) -> StatementDraft:
    payment = parse_iso20022(text or sample(name), where=name).payments[index]
    draft = statement_for(payment, context_of(member, **changes))
    check_statement(draft.body)
    return draft


SIDES = [
    ("01", "bank-a", Side.DEBTOR, Status.ACCEPTED),
    ("01", "bank-b", Side.CREDITOR, Status.RECEIVED),
    ("17", "switch", Side.SWITCH, Status.RECEIVED),
    ("18", "switch", Side.SWITCH, Status.ACCEPTED),
    ("18", "bank-c", Side.CREDITOR, Status.RECEIVED),
    ("23", "bank-a", Side.DEBTOR, Status.ACCEPTED),
    ("24", "bank-b", Side.CREDITOR, Status.SETTLED),
    ("24", "bank-a", Side.DEBTOR, Status.SETTLED),
    ("25", "bank-b", Side.DEBTOR, Status.RETURNED),
    ("26", "bank-d", Side.CREDITOR, Status.RECEIVED),
    ("27", "bank-a", Side.DEBTOR, Status.RECEIVED),
    ("28", "bank-b", Side.CREDITOR, Status.SETTLED),
]


@pytest.mark.parametrize(("name", "member", "side", "status"), SIDES)
def test_side_and_status_follow_from_the_agents(name: str, member: str, side: Side, status: Status) -> None:
    body = statement(name, member).body
    assert (body.side, body.status) == (side, status)


def test_a_bank_between_debtor_and_creditor_is_an_intermediary() -> None:
    text = sample("17").replace(b"SWTCCNBJXXX", b"BKADCNBJXXX")
    assert statement("17", "bank-d", text=text).body.side is Side.INTERMEDIARY


@pytest.mark.parametrize(("member", "other"), [("bank-a", "switch"), ("switch", "bank-a")])
def test_a_hop_that_the_header_alone_names_stands_in_the_statement(member: str, other: str) -> None:
    header = application_header("pacs.008.001.08", 2, "BKAACNBJXXX", "SWTCCNBJXXX")
    bare = re.sub(r"<InstgAgt>.*?</InstdAgt>", "", pacs008(), flags=re.DOTALL)
    text = f"<E>{header}{bare}</E>".encode()
    body = statement("01", member, text=text).body
    roles = {agent.role: agent.code for agent in body.agents}
    assert (roles[AgentRole.INSTRUCTING_AGENT], roles[AgentRole.INSTRUCTED_AGENT]) == ("BKAACNBJXXX", "SWTCCNBJXXX")
    partner = Partners(Codes()).other(member, body.side, encode(body.agents))
    assert partner is not None
    assert partner.member == other
    assert len({statement("01", each, text=text).body.pair_key for each in (member, other)} - {b""}) == 1


class Codes:
    """A state in which the samples' codes are members'."""

    def get(self, key: str, type_: type[Any]) -> Any:
        member = CODES.get(key.removeprefix("agent/"))
        return None if member is None else type_(member)


def test_a_branch_speaks_for_its_bank() -> None:
    text = sample("01").replace(b"BKABCNBJXXX", b"BKABCNBJ123")
    assert statement("01", "bank-b", text=text).body.side is Side.CREDITOR
    text = sample("01").replace(b"BKABCNBJXXX", b"BKABCNBJ")
    assert statement("01", "bank-b", text=text).body.side is Side.CREDITOR


def test_a_member_without_a_part_in_the_payment_is_refused() -> None:
    with pytest.raises(NotAPartyError, match="expected one of BKAACNBJXXX, BKABCNBJXXX, got bank-c"):
        statement("01", "bank-c")


@pytest.mark.parametrize("name", ["01", "02", "03", "04", "05", "06", "09", "12", "20", "22", "25", "26"])
def test_both_ends_of_a_hop_meet_under_one_key_and_agree_in_every_token(name: str) -> None:
    ends = []
    for member in ("bank-a", "bank-b", "bank-c", "bank-d"):
        try:
            ends.append(statement(name, member).body)
        except NotAPartyError:
            continue
    left, right = ends
    assert left.pair_key == right.pair_key != b""
    assert left.tokens == right.tokens != []
    assert left.salt != right.salt
    assert left.fields_root != right.fields_root
    assert left.source_digest != right.source_digest, "even the digest is salted by each for itself"


def test_a_field_that_differs_shows_in_its_own_token() -> None:
    changed = sample("01").replace(b"1250.00", b"1250.01")
    left, right = statement("01", "bank-a").body, statement("01", "bank-b", text=changed).body
    assert left.pair_key == right.pair_key
    differing = {mine.field for mine, other in zip(left.tokens, right.tokens, strict=True) if mine.token != other.token}
    assert differing == {TokenField.AMOUNT, TokenField.INSTRUCTED_AMOUNT}


def test_hops_of_one_payment_have_keys_of_their_own_and_share_the_uetr() -> None:
    first, second = statement("17", "switch").body, statement("18", "switch").body
    assert first.pair_key == statement("17", "bank-a").body.pair_key
    assert second.pair_key == statement("18", "bank-c").body.pair_key
    assert first.pair_key != second.pair_key
    assert first.uetr == second.uetr != b""


def test_status_return_and_booking_meet_the_payment_that_they_are_about() -> None:
    key = statement("01", "bank-a").body.pair_key
    for name in ("24", "25", "28"):
        assert statement(name, "bank-b").body.pair_key == key


def test_a_payment_without_a_reference_goes_by_its_uetr_and_then_by_its_id() -> None:
    (payment,) = parse_iso20022(sample("12"), where="12").payments
    assert payment.end_to_end_id == "NOTPROVIDED"
    assert pairing_reference(payment).count("-") == 4


def test_without_a_shared_secret_there_is_neither_key_nor_token() -> None:
    text = sample("01").replace(b"BKABCNBJXXX", b"ZZZZDEFFXXX")
    body = statement("01", "bank-a", text=text).body
    assert (body.pair_key, body.tokens) == (b"", [])


def test_the_same_message_gives_the_same_event_however_often_it_is_read() -> None:
    one, two = statement("01", "bank-a"), statement("01", "bank-a")
    assert (one.reference, encode(one.body)) == (two.reference, encode(two.body))
    wrapped = b"<Envelope>" + sample("01").split(b"?>", 1)[1] + b"</Envelope>"
    assert statement("01", "bank-a", text=wrapped).reference == one.reference


def test_each_transaction_of_a_message_has_a_reference_and_a_salt_of_its_own() -> None:
    drafts = [statement("15", "bank-c", index=index) for index in range(10)]
    assert len({draft.reference for draft in drafts}) == len({draft.body.salt for draft in drafts}) == 10
    assert not {draft.reference for draft in drafts} & {statement("15", "bank-d").reference}


def test_an_amount_stands_behind_a_commitment_unless_the_context_says_clear() -> None:
    committed, clear = statement("04", "bank-c"), statement("04", "bank-c", clear_amounts=True)
    assert (committed.body.amount, committed.body.currency, len(committed.body.amount_commitment)) == (None, "BHD", 32)
    assert (clear.body.amount, clear.body.currency, clear.body.amount_commitment) == (75_125, "BHD", b"")


def test_one_field_can_be_disclosed_and_no_other_value_passes_for_it() -> None:
    draft = statement("04", "bank-c")
    opened = disclose(draft.secrets.event_key, draft.values, PrivateField.AMOUNT)
    assert verify_disclosure(draft.body.fields_root, opened) == b"BHD 75.125"
    assert b"75.125" not in repr(opened).encode()
    for forged in (
        type(opened)(opened.private, b"BHD 75.126", opened.salt, opened.path),
        type(opened)(PrivateField.INSTRUCTED_AMOUNT, opened.value, opened.salt, opened.path),
        type(opened)(opened.private, opened.value, bytes(32), opened.path),
        type(opened)(opened.private, opened.value, opened.salt[:31], opened.path),
        type(opened)(opened.private, opened.value, opened.salt, opened.path[:-1]),
    ):
        with pytest.raises(ProofError):
            verify_disclosure(draft.body.fields_root, forged)
    with pytest.raises(UsageError):
        disclose(draft.secrets.event_key, {}, PrivateField.AMOUNT)


def test_a_qr_payment_meets_the_payers_banks_word_about_it() -> None:
    payer = ingest(sample("qr-payer-bank-a"), context_of("bank-a"), where="q").drafts
    acquirers = [
        draft
        for bank in ("bank-b", "bank-c", "bank-d")
        for draft in ingest(sample(f"qr-{bank}"), context_of(bank), where="q").drafts
    ]
    keys = {draft.statement.body.pair_key for draft in acquirers if draft.statement}
    mine = {draft.statement.body.pair_key for draft in payer if draft.statement}
    assert len(mine) == len(payer) == 5
    assert b"" not in mine
    assert mine <= keys


def test_secrets_do_not_show() -> None:
    context, draft = context_of("bank-a"), statement("01", "bank-a")
    shown = repr(context) + repr(draft) + repr(draft.secrets)
    for secret in (context.secrets.reporter, context.secrets.pairs["bank-b"], draft.secrets.event_key):
        assert secret.hex() not in shown
        assert repr(secret)[2:-1] not in shown


def test_a_secret_of_a_wrong_size_is_refused() -> None:
    from chainnode.ingest.context import make_context

    with pytest.raises(UsageError, match="expected 32 bytes, got 5"):
        make_context("bank-a", {}, b"short", {})
    with pytest.raises(UsageError, match="pair secret with bank-b"):
        make_context("bank-a", {}, bytes(32), {"bank-b": b""})
