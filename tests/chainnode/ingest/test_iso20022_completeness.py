"""Every type of message, in every version in use and every envelope, says the same about the same two payments."""

from __future__ import annotations

import re

import pytest

from chainnode.ingest.errors import MessageError
from chainnode.ingest.formats import Options, detect_format, ingest
from chainnode.ingest.iso20022 import parse_iso20022
from chainnode.ingest.parsed import Direction, ParsedPayment
from chainnode.ingest.statements import statement_for
from ledger.payments import AgentRole, Channel, PaymentStatement, Side, Status, uetr_text
from tests.chainnode.ingest.ingest_fixtures import context_of
from tests.chainnode.ingest.message_fixtures import (
    AMOUNTS,
    BANK_A,
    BANK_B,
    BANK_C,
    BUILDERS,
    ENVELOPES,
    IBANS,
    REFERENCES,
    UETRS,
    VERSIONS,
    application_header,
    camt054,
    details,
    entry,
    pacs002,
    pacs004,
    pacs008,
    pacs009,
    pain001,
    underlying,
)

EVERY = [(name, version) for name, versions in VERSIONS.items() for version in versions]
ABOUT = {"pacs.009.001": (0,), "pacs.004.001": (1,)}  # and all others about both payments


def parse(text: str) -> list[ParsedPayment]:
    return parse_iso20022(text.encode(), where="f.xml").payments


def statements(text: str, member: str) -> list[PaymentStatement]:
    return [statement_for(payment, context_of(member)).body for payment in parse(text)]


@pytest.mark.parametrize(("name", "version"), EVERY, ids=lambda value: str(value))
def test_each_version_names_the_same_payments(name: str, version: int) -> None:
    payments = parse(BUILDERS[name](version))
    about = ABOUT.get(name, (0, 1))
    assert [payment.end_to_end_id for payment in payments] == [REFERENCES[index] for index in about]
    assert {payment.message_type for payment in payments} == {f"{name}.{version:02d}"}
    for payment, index in zip(payments, about, strict=True):
        assert not payment.uetr or uetr_text(payment.uetr) == UETRS[index]
        if name == "pacs.002.001":
            assert payment.amount is None
        else:
            assert payment.amount is not None
            assert payment.amount.text() == f"CNY {AMOUNTS[index]}"
        assert {agent.code for agent in payment.agents} == {BANK_A, BANK_B}


@pytest.mark.parametrize("name", BUILDERS)
@pytest.mark.parametrize("around", ENVELOPES)
def test_an_envelope_changes_nothing(name: str, around: str) -> None:
    version = 9
    identifier = f"{name}.{version:02d}"
    plain = BUILDERS[name](version)
    header = application_header(identifier, 2, BANK_A, BANK_B)
    enclosed = ENVELOPES[around](header, plain)
    assert detect_format(enclosed.encode(), where="f") == "iso20022"
    assert [(payment.message_digest, payment.index, payment.uetr, payment.amount) for payment in parse(enclosed)] == [
        (payment.message_digest, payment.index, payment.uetr, payment.amount) for payment in parse(plain)
    ]


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_each_version_of_the_application_header_is_read(version: int) -> None:
    bare = re.sub(r"<InstgAgt>.*?</InstdAgt>", "", pacs008())
    payment = parse(f"<E>{application_header('pacs.008.001.08', version, BANK_A, BANK_B)}{bare}</E>")[0]
    assert payment.sender is not None
    assert payment.receiver is not None
    assert (payment.sender.code, payment.receiver.code) == (BANK_A, BANK_B)


def test_an_application_header_of_another_message_is_refused() -> None:
    header = application_header("pacs.009.001.08", 2, BANK_A, BANK_B)
    with pytest.raises(MessageError, match=r"MsgDefIdr of another message: expected pacs.008"):
        parse(f"<E>{header}{pacs008()}</E>")


def test_both_banks_and_every_message_about_a_payment_give_the_same_pair_key() -> None:
    """What pacs.002, pacs.004, camt.054 and COV say meets what pacs.008 said, because they carry its ids."""
    told = [
        (pacs008(), ("bank-a", "bank-b")),
        (pacs002(), ("bank-a", "bank-b")),
        (camt054(), ("bank-b",)),
        (pain001(), ("bank-a",)),
    ]
    keys = [{body.pair_key for body in statements(text, member)} for text, members in told for member in members]
    assert all(key == keys[0] for key in keys)
    assert len(keys[0]) == 2
    assert b"" not in keys[0]
    first, second = (body.pair_key for body in statements(pacs008(), "bank-a"))
    for member in ("bank-a", "bank-b"):
        assert [body.pair_key for body in statements(pacs004(), member)] == [second]
        assert [body.pair_key for body in statements(pacs009(covered=underlying()), member)] == [first]


def test_a_return_is_told_by_both_ends_with_its_reason() -> None:
    for version in (2, 9):
        (body,) = statements(pacs004(version), "bank-b")
        assert (body.status, body.reason, body.side) == (Status.RETURNED, "AC04", Side.DEBTOR)
        (body,) = statements(pacs004(version), "bank-a")
        assert (body.status, body.reason, body.side) == (Status.RETURNED, "AC04", Side.CREDITOR)


def test_a_status_report_tells_of_each_payment() -> None:
    bodies = statements(pacs002(), "bank-a")
    assert [(body.status, body.reason) for body in bodies] == [(Status.SETTLED, ""), (Status.REJECTED, "AC01")]
    assert {body.side for body in bodies} == {Side.DEBTOR}
    assert {body.amount_commitment for body in bodies} == {b""}


def test_a_status_that_is_new_says_that_the_payment_has_arrived_and_which_it_is() -> None:
    bodies = statements(pacs002(statuses=("ZZZ9", "ab1")), "bank-b")
    assert [(body.status, body.reason) for body in bodies] == [(Status.RECEIVED, "ZZZ9"), (Status.RECEIVED, "NARR")]


@pytest.mark.parametrize("code", ["", "ACCEPTED", "A B", "否"])
def test_what_is_no_status_code_is_refused(code: str) -> None:
    with pytest.raises(MessageError, match="not a status code"):
        parse(pacs002(statuses=(code, "ACSC")))


def test_the_status_of_the_group_holds_where_a_transaction_has_none() -> None:
    text = pacs002(statuses=("", "RJCT")).replace("<TxSts></TxSts>", "")
    text = text.replace("</OrgnlGrpInfAndSts>", "<GrpSts>PART</GrpSts></OrgnlGrpInfAndSts>")
    assert [payment.status for payment in parse(text)] == [Status.ACCEPTED, Status.REJECTED]


def test_a_status_of_a_whole_group_names_no_payment_and_is_refused() -> None:
    text = re.sub(r"<TxInfAndSts>.*</TxInfAndSts>", "", pacs002())
    with pytest.raises(MessageError, match=r"message names no transaction: .* got a status of the whole group"):
        parse(text)


def test_a_cover_payment_tells_the_parties_and_remittance_of_what_it_covers() -> None:
    (payment,) = parse(pacs009(covered=underlying()))
    assert (payment.debtor.name, payment.debtor.account) == ("Zhao Min", IBANS[0])
    assert (payment.creditor.name, payment.creditor.account) == ("Sun Hong", IBANS[1])
    assert payment.remittance == "Invoice 77"
    assert payment.instructed_amount is not None
    assert payment.instructed_amount.text() == "CNY 1249.00"
    assert [agent.code for agent in payment.agents if agent.role is AgentRole.DEBTOR_AGENT] == [BANK_A]
    (plain,) = parse(pacs009())
    assert (plain.debtor.name, plain.remittance, plain.instructed_amount) == ("", "", None)


def test_the_channel_is_the_clearing_system_that_settles() -> None:
    assert {payment.channel for payment in parse(pacs008())} == {Channel.HVPS}
    for word, channel in (("BEPS", Channel.BEPS), ("CIPS", Channel.CIPS), ("RTGS", Channel.NONE)):
        assert {payment.channel for payment in parse(pacs008().replace("HVPS", word))} == {channel}


def test_a_batch_entry_gives_a_payment_for_each_transaction_or_one_for_itself() -> None:
    payments = parse(camt054())
    assert [payment.index for payment in payments] == [0, 1]
    assert {payment.status for payment in payments} == {Status.SETTLED}
    batch = '<Btch><NbOfTxs>40</NbOfTxs><TtlAmt Ccy="CNY">500.00</TtlAmt></Btch>'
    (whole,) = parse(camt054(entries=entry("500.00", batch)))
    assert whole.amount is not None
    assert whole.amount.text() == "CNY 500.00"
    assert whole.direction is Direction.CREDIT


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("<NbOfTxs>2<", "<NbOfTxs>3<", "count of a batch does not agree"),
        ('<TtlAmt Ccy="CNY">1349.50', '<TtlAmt Ccy="CNY">1349.51', "total of a batch does not agree"),
        ('<TtlAmt Ccy="CNY">1349.50', '<TtlAmt Ccy="USD">1349.50', "total of a batch does not agree"),
    ],
)
def test_a_batch_that_does_not_add_up_is_refused(old: str, new: str, match: str) -> None:
    text = camt054()
    assert old in text
    with pytest.raises(MessageError, match=match):
        parse(text.replace(old, new))


SUMMARY = "<TxsSummry><TtlNtries><NbOfNtries>2</NbOfNtries><Sum>1349.50</Sum></TtlNtries></TxsSummry>"


@pytest.mark.parametrize("wrong", ["", "2</Nb", "1349.50</Sum"])
def test_a_notification_counts_and_sums_its_entries(wrong: str) -> None:
    summary = SUMMARY.replace(wrong, "9" + wrong) if wrong else SUMMARY
    text = camt054(entries=entry(AMOUNTS[0], details(0)) + entry(AMOUNTS[1], details(1)), summary=summary)
    if not wrong:
        assert len(parse(text)) == 2
        return
    with pytest.raises(MessageError, match=r"(count of transactions|control sum) does not agree"):
        parse(text)


def test_an_entry_that_is_only_expected_or_told_is_not_settled() -> None:
    for word, status in (("PDNG", Status.ACCEPTED), ("FUTR", Status.ACCEPTED), ("INFO", Status.RECEIVED)):
        text = camt054(entries=entry(AMOUNTS[0], details(0), status=f"<Cd>{word}</Cd>"))
        assert [payment.status for payment in parse(text)] == [status]


@pytest.mark.parametrize("yes", ["true", "1"])
def test_a_reversal_stands_on_the_side_of_the_payment_that_it_undoes(yes: str) -> None:
    undone = entry(AMOUNTS[0], details(0), direction="DBIT", more=f"<RvslInd>{yes}</RvslInd>")
    (body,) = statements(camt054(entries=undone), "bank-b")
    assert (body.status, body.side) == (Status.REVERSED, Side.CREDITOR)
    assert body.pair_key == statements(pacs008(), "bank-a")[0].pair_key
    alone = undone.replace(details(0), details(0).split("<RltdAgts>")[0] + "</TxDtls>")
    (body,) = statements(camt054(entries=alone), "bank-b")
    assert body.side is Side.CREDITOR, "the account's servicer stands for the side that the entry undoes"


def test_a_return_in_an_entry_carries_its_reason_and_meets_its_payment() -> None:
    returned = details(1, more="<RtrInf><Rsn><Cd>AC04</Cd></Rsn></RtrInf>")
    (body,) = statements(camt054(entries=entry(AMOUNTS[1], returned)), "bank-b")
    assert (body.status, body.reason) == (Status.RETURNED, "AC04")
    assert body.pair_key == statements(pacs008(), "bank-a")[1].pair_key


def test_messages_of_one_file_may_be_of_different_types_and_stand_without_documents() -> None:
    text = f"<File>{pacs008()}{pacs002()}{camt054()}</File>"
    assert [payment.message_type[:8] for payment in parse(text)] == ["pacs.008"] * 2 + ["pacs.002"] * 2 + [
        "camt.054"
    ] * 2
    bulk = "".join(
        pacs008(message_id=name)
        .replace("<Document", "<FIToFICstmrCdtTrf", 1)
        .replace("><FIToFICstmrCdtTrf>", ">", 1)
        .replace("</Document>", "")
        for name in ("B-1", "B-2")
    )
    assert len(parse(f'<SCTBlkCredTrf xmlns="urn:bulk">{bulk}</SCTBlkCredTrf>')) == 4


def test_a_message_id_that_stands_twice_in_a_file_is_refused() -> None:
    text = f"<File>{pacs008()}{pacs002()}{pacs008(9)}</File>"
    with pytest.raises(MessageError, match=r"f\.xml: message 3: .*message id repeated in the file: .* message 1 again"):
        parse(text)
    found = ingest(text.encode(), context_of("bank-a"), where="f.xml", options=Options(skip_bad=True))
    assert (len(found.drafts), len(found.refused)) == (4, 1)


def test_a_message_that_was_refused_does_not_stand_in_the_way_of_its_correction() -> None:
    wrong = pacs008(header="<CtrlSum>1</CtrlSum>")
    found = parse_iso20022(f"<F>{wrong}{pacs008()}</F>".encode(), where="f.xml", skip_bad=True)
    assert (len(found.payments), len(found.refused)) == (2, 1)


def test_currencies_are_not_mixed_in_a_message_or_a_group() -> None:
    mixed = {
        "FIToFICstmrCdtTrf": pacs008().replace(f'"CNY">{AMOUNTS[1]}', f'"USD">{AMOUNTS[1]}'),
        "PmtInf": pain001(second="USD"),
        "Ntfctn": camt054(
            entries=entry(AMOUNTS[0], "") + entry(AMOUNTS[1], "").replace('Ccy="CNY"', 'Ccy="USD"'),
        ),
    }
    for name, text in mixed.items():
        match = f"message 1: transaction 2: .*currencies mixed: expected CNY, as in .* {name} before, got USD"
        with pytest.raises(MessageError, match=match):
            parse(text)
        assert parse_iso20022(text.encode(), where="f", skip_bad=True).payments == []


def test_groups_of_an_initiation_may_be_of_different_currencies() -> None:
    text = pain001()
    group = re.search(r"<PmtInf>.*</PmtInf>", text)
    assert group is not None
    text = text.replace(group[0], group[0] + group[0].replace('"CNY"', '"USD"'))
    text = text.replace("<NbOfTxs>2</NbOfTxs><CtrlSum>1349.50<", "<NbOfTxs>4</NbOfTxs><CtrlSum>2699.00<")
    assert len(parse(text)) == 4


def test_a_cnaps_message_is_that_of_iso_20022_behind_its_blocks() -> None:
    numbers = ("999100000011", "999100000020")
    text = pacs008(2)
    for code, number in zip((BANK_A, BANK_B), numbers, strict=True):
        text = text.replace(f"<BIC>{code}</BIC>", f"<ClrSysMmbId><MmbId>{number}</MmbId></ClrSysMmbId>")
    payments = parse(ENVELOPES["blocks of CNAPS 2"]("", text))
    assert {agent.code for payment in payments for agent in payment.agents} == set(numbers)
    assert not {BANK_C} & {agent.code for payment in payments for agent in payment.agents}


@pytest.mark.parametrize("blocks", ["{H:" + "x" * 5000 + "}", "{h:x}", "{H:{S:}}", "{H:x", "{H:x}" * 5, "{H:<}"])
def test_what_only_looks_like_a_block_is_not_passed_over(blocks: str) -> None:
    with pytest.raises(Exception, match="not well-formed"):
        parse(blocks + pacs008())
