"""ISO 20022 files: versions, envelopes and many transactions come in; what breaks the standard is refused by name."""

from __future__ import annotations

import re

import pytest

from chainnode.ingest.errors import MessageError, XmlError
from chainnode.ingest.iso20022 import Parsed, parse_iso20022
from chainnode.ingest.parsed import ParsedPayment
from ledger.payments import AgentRole, AgentScheme, Channel, Status, uetr_text
from primitives.errors import InputError
from tests.chainnode.ingest.ingest_fixtures import BAD, sample

PLAIN = sample("01").decode()


def parse(text: str | bytes, *, skip_bad: bool = False) -> Parsed:
    data = text.encode() if isinstance(text, str) else text
    return parse_iso20022(data, where="f.xml", skip_bad=skip_bad)


def single(text: str | bytes) -> ParsedPayment:
    (payment,) = parse(text).payments
    return payment


def amount_of(payment: ParsedPayment) -> str:
    assert payment.amount is not None
    return payment.amount.text()


def test_a_transfer_gives_all_that_a_statement_needs() -> None:
    payment = single(PLAIN)
    assert payment.message_type == "pacs.008.001.08"
    assert amount_of(payment) == "CNY 1250.00"
    assert payment.end_to_end_id == "E2E-20260413-0001"
    assert payment.transaction_id == "TX-00001"
    assert payment.settlement_date == 2026_04_13
    assert payment.channel is Channel.BEPS
    assert [(agent.role, agent.code) for agent in payment.agents] == [
        (AgentRole.DEBTOR_AGENT, "BKAACNBJXXX"),
        (AgentRole.CREDITOR_AGENT, "BKABCNBJXXX"),
        (AgentRole.INSTRUCTING_AGENT, "BKAACNBJXXX"),
        (AgentRole.INSTRUCTED_AGENT, "BKABCNBJXXX"),
    ]
    assert uetr_text(payment.uetr) in PLAIN
    assert payment.debtor.name
    assert payment.debtor.account in PLAIN
    assert payment.remittance in PLAIN


def test_the_repr_of_a_payment_shows_nothing_private() -> None:
    payment = single(PLAIN)
    shown = repr(payment)
    private = (
        payment.debtor.name,
        payment.debtor.account,
        payment.creditor.name,
        payment.remittance,
        payment.end_to_end_id,
        payment.message_id,
        payment.transaction_id,
        "125000",
        "1250.00",
    )
    assert all(private), "the sample carries every private field"
    for text in private:
        assert text not in shown


@pytest.mark.parametrize("version", [f"{number:02d}" for number in range(3, 14)])
def test_every_version_in_use_is_read(version: str) -> None:
    payment = single(PLAIN.replace("pacs.008.001.08", f"pacs.008.001.{version}"))
    assert payment.message_type == f"pacs.008.001.{version}"
    assert amount_of(payment) == "CNY 1250.00"


def test_version_02_names_its_agents_by_another_element() -> None:
    payment = single(sample("06"))
    assert payment.message_type == "pacs.008.001.02"
    assert {agent.code for agent in payment.agents} == {"BKABCNBJXXX", "BKACCNBJXXX"}


def test_a_version_before_02_is_refused() -> None:
    with pytest.raises(MessageError, match=r"version not supported: expected version 02 or later"):
        parse(PLAIN.replace("pacs.008.001.08", "pacs.008.001.01"))


def test_prefix_and_envelope_change_nothing_but_the_bytes() -> None:
    plain = single(PLAIN)
    body = PLAIN.split("?>", 1)[1]
    prefixed = re.sub(r"<(/?)(?=[A-Z])", r"<\1any:", body).replace("xmlns=", "xmlns:any=")
    header = (
        '<AppHdr xmlns="urn:iso:std:iso:20022:tech:xsd:head.001.001.02"><MsgDefIdr>pacs.008.001.08</MsgDefIdr></AppHdr>'
    )
    for text in (
        body,
        prefixed,
        f"<DataPDU><Body>{header}{body}</Body></DataPDU>",
        f"<s:Envelope xmlns:s='urn:soap'><s:Body>{prefixed}</s:Body></s:Envelope>",
    ):
        payment = single(text)
        assert (payment.amount, payment.uetr, payment.agents) == (plain.amount, plain.uetr, plain.agents)


def test_the_same_document_is_the_same_message_in_any_envelope() -> None:
    body = PLAIN.split("?>", 1)[1].strip()
    digests = {single(text).message_digest for text in (PLAIN, body, f"<E>{body}</E>", f"<E><!-- x -->{body}</E>")}
    assert len(digests) == 1
    assert single(PLAIN.replace("1250.00", "1250.01")).message_digest not in digests


def test_a_message_without_namespace_is_known_by_its_header_or_at_least_its_root() -> None:
    body = re.sub(r' xmlns="[^"]*"', "", PLAIN.split("?>", 1)[1])
    assert single(body).message_type == "pacs.008"
    header = "<AppHdr><MsgDefIdr>pacs.008.001.10</MsgDefIdr></AppHdr>"
    assert single(f"<E>{header}{body}</E>").message_type == "pacs.008.001.10"


NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:pacs.008.001.08"


@pytest.mark.parametrize(
    "namespace",
    [NAMESPACE, "urn:cnaps:std:cnaps:2010:tech:xsd:hvps.111.001.01", "urn:swift:xsd:$pacs.008.001.08"],
)
def test_a_namespace_is_isos_or_of_a_market_that_follows_its_form(namespace: str) -> None:
    text = PLAIN.replace(NAMESPACE, namespace)
    if "hvps" in namespace:
        with pytest.raises(MessageError, match="namespace of another message"):
            parse(text)
    else:
        assert single(text).message_type == "pacs.008.001.08"


@pytest.mark.parametrize(
    "namespace", ["http://example.com/foo", "http://example.com/pacs.008.001.08", "urn:x", NAMESPACE + "/x", "pacs.008"]
)
def test_any_other_namespace_is_refused(namespace: str) -> None:
    with pytest.raises(MessageError, match="namespace is no payment message's"):
        parse(PLAIN.replace(NAMESPACE, namespace))


def test_a_document_of_another_namespace_than_its_message_is_refused() -> None:
    inner = PLAIN.replace("<FIToFICstmrCdtTrf>", f'<FIToFICstmrCdtTrf xmlns="{NAMESPACE}">')
    assert single(inner).message_type == "pacs.008.001.08"
    with pytest.raises(XmlError, match="Document of another namespace"):
        parse(inner.replace(f'<Document xmlns="{NAMESPACE}"', '<Document xmlns="http://example.com/foo"'))


def with_iban(text: str) -> str:
    return re.sub(r"<Othr>\s*<Id>[^<]*</Id>\s*</Othr>", f"<IBAN>{text}</IBAN>", PLAIN, count=1)


@pytest.mark.parametrize("iban", ["GB82WEST12345698765432", "NO9386011117947", "MT84MALT011000012345MTLCAST001S"])
def test_an_iban_with_right_check_digits_is_an_account(iban: str) -> None:
    assert single(with_iban(f" {iban} ")).debtor.account == iban


@pytest.mark.parametrize(
    "iban", ["GB83WEST12345698765432", "GB82 WEST 1234 5698 7654 32", "GB82", "gb82WEST12345698765432"]
)
def test_a_wrong_iban_is_refused_and_not_repeated(iban: str) -> None:
    with pytest.raises(InputError, match="IBAN") as caught:
        parse(with_iban(iban))
    assert iban not in str(caught.value)


def test_a_message_without_document_element_is_read() -> None:
    body = PLAIN.split("?>", 1)[1].strip()
    inner = re.sub(r"</?Document[^>]*>", "", body).replace(
        "<FIToFICstmrCdtTrf>", '<FIToFICstmrCdtTrf xmlns="urn:iso:std:iso:20022:tech:xsd:pacs.008.001.08">'
    )
    assert single(f"<E>{inner}</E>").message_type == "pacs.008.001.08"


def test_each_transaction_of_a_message_has_its_own_key() -> None:
    payments = parse(sample("15")).payments
    assert len({(payment.key, payment.index) for payment in payments}) == 10
    assert len({payment.message_digest for payment in payments}) == 1
    assert {payment.settlement_date for payment in payments} == {2026_04_14}, "the group header's date holds for all"
    assert {len(payment.agents) for payment in payments} == {4}, "and so do its agents"


def test_messages_of_one_file_are_told_apart() -> None:
    payments = parse(sample("16")).payments
    assert len({(payment.key, payment.index) for payment in payments}) == 3
    assert [payment.message_type for payment in payments] == ["pacs.008.001.08", "pacs.008.001.09", "pacs.008.001.09"]
    assert len({payment.message_digest for payment in payments}) == 2


def test_messages_of_one_file_may_be_of_several_currencies() -> None:
    assert [amount_of(payment) for payment in parse(sample("14")).payments] == ["CNY 100.00", "JPY 5000", "BHD 1.005"]


@pytest.mark.parametrize("name", ["19", "20", "21"])
def test_other_encodings_and_all_that_xml_allows_are_read(name: str) -> None:
    assert single(sample(name)).amount is not None


def test_comments_and_cdata_inside_of_values_are_only_another_way_to_write_them() -> None:
    text = PLAIN.replace("1250.00<", "12<!-- no -->50.<![CDATA[00]]><", 1)
    assert amount_of(single(text)) == "CNY 1250.00"


def test_a_foreign_element_never_stands_for_one_of_the_message() -> None:
    foreign = '<x:UETR xmlns:x="urn:x">a1b2c3d4-e5f6-4890-abcd-ef1234567890</x:UETR></PmtId>'
    text = re.sub(r"<UETR>.*?</UETR>", "", PLAIN).replace("</PmtId>", foreign)
    assert single(text).uetr == b""


def test_an_agent_is_named_by_bic_then_cnaps_then_lei() -> None:
    def scheme(inner: str) -> AgentScheme:
        text = PLAIN.replace("<BICFI>BKAACNBJXXX</BICFI>", inner)
        agent = single(text).agent(AgentRole.DEBTOR_AGENT)
        assert agent is not None
        return agent.scheme

    cnaps = "<ClrSysMmbId><ClrSysId><Cd>CNAPS</Cd></ClrSysId><MmbId>999100000011</MmbId></ClrSysMmbId>"
    lei = "<LEI>315700LMNOPQRSTU3465</LEI>"
    assert scheme(f"<BICFI>BKAACNBJ</BICFI>{cnaps}{lei}") is AgentScheme.BIC
    assert scheme(cnaps + lei) is AgentScheme.CNAPS
    assert scheme(cnaps.replace("<ClrSysId><Cd>CNAPS</Cd></ClrSysId>", "")) is AgentScheme.CNAPS
    assert scheme(lei) is AgentScheme.LEI


def test_the_other_messages_give_their_payments() -> None:
    status = single(sample("24"))
    assert (status.status, status.amount, status.end_to_end_id) == (Status.SETTLED, None, "E2E-20260413-0001")
    returned = single(sample("25"))
    assert (returned.status, returned.reason, amount_of(returned)) == (Status.RETURNED, "AC04", "CNY 1250.00")
    assert returned.uetr == status.uetr == single(PLAIN).uetr
    cover = single(sample("26"))
    assert amount_of(cover) == "CNY 5000000.00"
    assert {agent.code for agent in cover.agents} == {"BKACCNBJXXX", "BKADCNBJXXX"}
    salaries = parse(sample("27")).payments
    assert [amount_of(payment) for payment in salaries] == ["CNY 9800.00", "CNY 10700.00"]
    assert {payment.status for payment in salaries} == {Status.RECEIVED}
    booked = single(sample("28"))
    assert (booked.status, booked.uetr) == (Status.SETTLED, status.uetr)


def test_a_proprietary_reason_stays_at_the_bank() -> None:
    text = sample("25").decode().replace("<Cd>AC04</Cd>", "<Prtry>closed by Chen Meiling</Prtry>")
    assert single(text).reason == "NARR"


@pytest.mark.parametrize("path", sorted(BAD.glob("pacs008-*.xml")), ids=lambda path: path.stem)
def test_a_broken_message_is_refused_with_file_line_expected_and_got(path: object) -> None:
    data = path.read_bytes()  # type: ignore[attr-defined]  # parametrized Path
    with pytest.raises(InputError) as caught:
        parse(data)
    message = str(caught.value)
    assert message.startswith("f.xml: ")
    assert re.search(r"line \d+", message)
    assert "expected" in message
    assert "\n" not in message


def test_without_its_bad_transaction_a_file_is_taken_where_that_is_asked() -> None:
    data = (BAD / "pacs008-one-of-five-bad.xml").read_bytes()
    parsed = parse(data, skip_bad=True)
    assert [amount_of(payment) for payment in parsed.payments] == ["CNY 10.00", "CNY 20.50", "CNY 1999.99", "CNY 0.01"]
    (error,) = parsed.refused
    assert "transaction 3" in str(error)
    assert "at most 2 for CNY, got 3" in str(error)
    assert "30.255" not in str(error)


def test_a_message_whose_sums_do_not_agree_is_left_out_whole() -> None:
    good = PLAIN.split("?>", 1)[1]
    bad = (BAD / "pacs008-wrong-control-sum.xml").read_text().split("?>", 1)[1]
    parsed = parse(f"<E>{bad}{good}</E>", skip_bad=True)
    assert len(parsed.payments) == 1
    assert "control sum" in str(parsed.refused[0])
    with pytest.raises(MessageError, match="control sum"):
        parse(f"<E>{good}{bad.replace('MSG-20260413-001', 'MSG-20260413-002')}</E>")


def test_an_unknown_message_among_known_ones_is_left_out_where_that_is_asked() -> None:
    good = PLAIN.split("?>", 1)[1]
    unknown = '<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pacs.003.001.08"><FIToFICstmrDrctDbt/></Document>'
    parsed = parse(f"<E>{unknown}{good}</E>", skip_bad=True)
    assert len(parsed.payments) == 1
    assert "message type not supported" in str(parsed.refused[0])


def test_two_messages_in_one_document_are_refused() -> None:
    text = PLAIN.replace("</Document>", "<FIToFICstmrCdtTrf/></Document>")
    with pytest.raises(MessageError, match="more than one message in a Document"):
        parse(text)


BROKEN = {
    "no message id": (r"<MsgId>.*?</MsgId>", ""),
    "no settlement method": (r"<SttlmMtd>.*?</SttlmMtd>", ""),
    "unknown settlement method": ("CLRG", "CASH"),
    "unknown charge bearer": ("SHAR", "NONE"),
    "no debtor": (r"<Dbtr>.*?</Dbtr>", ""),
    "no creditor agent": (r"<CdtrAgt>.*?</CdtrAgt>", ""),
    "no count": (r"<NbOfTxs>1</NbOfTxs>", ""),
    "a count in words": (r"<NbOfTxs>1<", "<NbOfTxs>one<"),
    "no currency": (r' Ccy="CNY">1250.00</Intr', ">1250.00</Intr"),
    "no transaction": (r"<CdtTrfTxInf>.*</CdtTrfTxInf>", ""),
    "no group header": (r"<GrpHdr>.*?</GrpHdr>", ""),
    "empty end-to-end id": (r"<EndToEndId>.*?<", "<EndToEndId>  <"),
    "a sum of words": ("</NbOfTxs>", "</NbOfTxs><CtrlSum>much</CtrlSum>"),
    "a BIC with a blank": ("BKABCNBJXXX", "BKABCNBJ XX"),
    "an LEI with wrong check digits": ("<BICFI>BKABCNBJXXX</BICFI>", "<LEI>315700LMNOPQRSTU3466</LEI>"),
    "an amount with an exponent": ("1250.00<", "1.25e3<"),
    "an upper-case UETR": (r"<UETR>(.*?)</UETR>", "<UETR>A1B2C3D4-E5F6-4890-ABCD-EF1234567890</UETR>"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_the_standard_asks_for_is_asked_for(name: str) -> None:
    pattern, replacement = BROKEN[name]
    broken = re.sub(pattern, replacement, PLAIN, flags=re.DOTALL)
    assert broken != PLAIN
    with pytest.raises(InputError):
        parse(broken)
    if name != "no transaction":
        assert parse(broken, skip_bad=True).refused


def test_private_values_are_not_repeated_in_errors() -> None:
    text = re.sub(r"<EndToEndId>.*?<", "<EndToEndId>Chen Meiling pays her rent for April 2026 early<", PLAIN)
    with pytest.raises(MessageError) as caught:
        parse(text)
    assert "Chen" not in str(caught.value)


def test_control_sums_of_an_initiation_are_held_against_each_group() -> None:
    text = sample("27").decode()
    head, tail = text.rsplit("<CtrlSum>20500.00", 1)
    with pytest.raises(MessageError, match="control sum"):
        parse(f"{head}<CtrlSum>20500.01{tail}")
