"""Card messages become payments like any others, whichever way they are written, and bad ones are refused by field."""

from __future__ import annotations

import time
from hashlib import sha256

import pytest

from chainnode.ingest.errors import FormatError, MessageError, NotAPartyError
from chainnode.ingest.formats import ADAPTERS, Options, detect_format, ingest
from chainnode.ingest.iso8583 import parse_iso8583
from chainnode.ingest.iso8583_fields import DROPPED, FIELDS, SPECIFICATIONS, Encoding, decode_fields
from chainnode.ingest.iso8583_framing import split_messages
from chainnode.ingest.parsed import ParsedPayment
from chainnode.ingest.privacy import PrivateField
from chainnode.ingest.statements import statement_for
from chainnode.payloads import source_messages
from ledger.payments import AgentRole, Channel, Side, Status
from primitives.encoding import encode
from primitives.errors import InputError
from tests.chainnode.ingest.card_fixtures import (
    ANSWER,
    CARD,
    ORIGINAL,
    PURCHASE,
    REVERSAL,
    SENSITIVE,
    TERMINAL_HEADER,
    TPDU,
    card_context,
    message,
    network_header,
    payment,
    payments,
    with_lengths,
    without,
)
from tests.chainnode.ingest.ingest_fixtures import SAMPLES, context_of

ENCODINGS: tuple[Encoding, ...] = ("ascii", "unionpay", "bcd")
REFERENCE = "042008301501139200090000000"


def refused(fields: dict[str, str] | bytes, member: str = "bank-a", **changes: object) -> str:
    data = fields if isinstance(fields, bytes) else message(fields)
    with pytest.raises((MessageError, NotAPartyError)) as caught:
        list(parse_iso8583(data, card_context(member, **changes), where="f"))
    return str(caught.value)


# --- what a message means


def test_a_purchase_becomes_the_acquirers_payment() -> None:
    found = payment(PURCHASE)
    assert found.message_type == "iso8583.0200"
    assert found.amount is not None
    assert found.amount.text() == "CNY 12.50"
    assert (found.side, found.status, found.channel) == (Side.ACQUIRER, Status.ACCEPTED, Channel.POS)
    assert [(agent.role, agent.code) for agent in found.agents] == [
        (AgentRole.ACQUIRER, "BKAACNBJ"),
        (AgentRole.ISSUER, "BKABCNBJ"),
    ]
    assert found.end_to_end_id == REFERENCE
    assert found.created_ms == 1_776_645_015_000  # 2026-04-20T08:30:15+08:00
    assert found.settlement_date == 2026_04_21
    assert (found.debtor.account, found.creditor.account, found.creditor.name) == (
        CARD,
        "103900000000001",
        "LOTUS GARDEN",
    )
    assert (found.transaction_id, found.message_id) == ("011083011392", "011392")
    assert found.terminal_certificate == "FTP-2026-06-000001"


def test_the_issuer_and_the_switch_say_where_they_stand() -> None:
    assert (payment(PURCHASE, "bank-b").side, payment(PURCHASE, "bank-b").status) == (Side.ISSUER, Status.RECEIVED)
    assert (payment(PURCHASE, "switch").side, payment(PURCHASE, "switch").status) == (Side.SWITCH, Status.RECEIVED)
    assert payment({**without(PURCHASE, "2"), "100": "90020000"}, "bank-c").side is Side.ISSUER
    assert payment(without(PURCHASE, "2"), "bank-c").side is Side.ISSUER, "it is not the acquirer, and has the message"
    assert payment({**PURCHASE, "32": "90000123"}).side is Side.ACQUIRER, "a branch is its head office's"


@pytest.mark.parametrize(
    ("fields", "member"),
    [
        (PURCHASE, "bank-c"),
        ({**PURCHASE, "32": "90020000"}, "bank-a"),
        (without(PURCHASE, "2", "32"), "bank-a"),
        ({**without(PURCHASE, "2"), "100": "90010000", "32": "12345678"}, "bank-d"),
    ],
)
def test_a_message_among_others_is_not_the_reporters(fields: dict[str, str], member: str) -> None:
    assert "neither acquirer nor issuer" in refused(fields, member)


def test_a_bank_that_named_no_institution_of_its_own_is_told_to() -> None:
    assert "card network's file" in refused(PURCHASE, institutions={}, card_prefixes={})


def test_both_banks_statements_meet_and_so_does_all_that_follows() -> None:
    refund = {**PURCHASE, "t": "0220", "3": "200000", "7": "0421100000", "11": "000009", "90": ORIGINAL}
    keys = set()
    for fields in (PURCHASE, ANSWER, REVERSAL, {**REVERSAL, "t": "0430", "39": "00"}, refund):
        for member in ("bank-a", "bank-b"):
            body = statement_for(payment(fields, member), card_context(member)).body
            assert body.tokens
            keys.add(body.pair_key)
    assert len(keys) == 1
    completion = {**PURCHASE, "t": "0220", "7": "0420093015", "11": "000010", "90": ORIGINAL}
    assert payment(completion).end_to_end_id != REFERENCE, "a completion is a payment of its own"


def test_a_reversal_without_field_90_goes_by_its_original_in_the_same_file() -> None:
    bare = without(REVERSAL, "90")
    lines = b"\n".join(message(fields) for fields in (PURCHASE, bare, {**without(bare, "37"), "t": "0430", "39": "00"}))
    assert [found.end_to_end_id for found in payments(lines)] == [REFERENCE] * 3
    assert "reversal names no original" in refused(bare)


def test_a_network_may_know_payments_by_their_retrieval_reference() -> None:
    by_retrieval = {payment(fields, link="retrieval").end_to_end_id for fields in (PURCHASE, ANSWER, REVERSAL)}
    assert by_retrieval == {"01108301139200090000000"}
    assert "no reference" in refused(without(PURCHASE, "37"), link="retrieval")
    assert payment(without(PURCHASE, "7")).end_to_end_id == "01108301139200090000000", "a terminal sends no field 7"
    assert "no reference" in refused(without(PURCHASE, "7", "37"))


@pytest.mark.parametrize(
    ("fields", "status", "reason"),
    [
        (ANSWER, Status.ACCEPTED, ""),
        ({**ANSWER, "39": "11"}, Status.ACCEPTED, ""),
        ({**ANSWER, "39": "51"}, Status.REJECTED, "0051"),
        ({**ANSWER, "39": "A0"}, Status.REJECTED, "00A0"),
        ({**PURCHASE, "t": "0110", "39": "05"}, Status.REJECTED, "0005"),
        (REVERSAL, Status.REVERSED, "0098"),
        ({**REVERSAL, "t": "0400", "39": "00"}, Status.REVERSED, ""),
        ({**REVERSAL, "t": "0430", "39": "00"}, Status.REVERSED, ""),
        ({**REVERSAL, "t": "0410", "39": "25"}, Status.REJECTED, "0025"),
        ({**PURCHASE, "t": "0220", "3": "200000", "90": ORIGINAL}, Status.RETURNED, ""),
        ({**PURCHASE, "t": "0201"}, Status.ACCEPTED, ""),
    ],
)
def test_status_and_reason_follow_from_type_and_response(fields: dict[str, str], status: Status, reason: str) -> None:
    found = payment(fields)
    assert (found.status, found.reason) == (status, reason)


@pytest.mark.parametrize(
    ("changes", "channel"),
    [
        ({}, Channel.POS),
        ({"22": "032"}, Channel.QR),
        ({"18": "6011"}, Channel.ATM),
        ({"25": "59"}, Channel.APP),
    ],
)
def test_the_channel_follows_from_entry_category_and_condition(changes: dict[str, str], channel: Channel) -> None:
    assert payment({**PURCHASE, **changes}).channel is channel
    assert payment(without(PURCHASE, "22", "25", "41")).channel is Channel.NONE


@pytest.mark.parametrize(
    ("number", "text"), [("156", "CNY 12.50"), ("392", "JPY 1250"), ("048", "BHD 1.250"), ("CNY", "CNY 12.50")]
)
def test_an_amount_has_the_exponent_of_its_currency(number: str, text: str) -> None:
    found = payment({**PURCHASE, "49": number}).amount
    assert found is not None
    assert found.text() == text


def test_a_partial_reversal_reverses_what_is_not_kept() -> None:
    found = payment({**REVERSAL, "95": "000000001000".ljust(42, "0")}).amount
    assert found is not None
    assert found.text() == "CNY 2.50"
    assert "field 95" in refused({**REVERSAL, "95": "000000001251".ljust(42, "0")})


@pytest.mark.parametrize(
    ("sent", "time_ms"),
    [
        ("0420083015", 1_776_645_015_000),
        ("0421083015", 1_776_731_415_000),  # tomorrow: its clock is ahead
        ("0422083015", 1_745_281_815_000),  # 2025: no message comes from the future
        ("0229235959", 1_709_222_399_000),  # 2024
    ],
)
def test_the_year_is_the_last_in_which_the_time_has_been(sent: str, time_ms: int) -> None:
    assert payment({**PURCHASE, "7": sent}).created_ms == time_ms


def test_a_settlement_date_lies_in_the_year_that_brings_it_near() -> None:
    assert payment({**PURCHASE, "7": "1231235900", "15": "0101"}).settlement_date == 2026_01_01


def test_a_name_in_chinese_is_read() -> None:
    name = "竹林书店".encode("gb18030").decode("latin-1").ljust(40)
    assert payment({**PURCHASE, "43": name}).creditor.name == "竹林书店"
    assert "field 43" in refused({**PURCHASE, "43": "\xff".ljust(40)})


# --- how it is written


def test_one_message_is_the_same_payment_in_every_way_of_writing() -> None:
    found = [payments(message(PURCHASE, encoding)) for encoding in ENCODINGS]
    assert found[0] == found[1] == found[2]
    assert payments(message({**PURCHASE, "2": CARD + "9"}, "bcd", "left"), encoding="bcd", padding="left") == payments(
        message({**PURCHASE, "2": CARD + "9"})
    )


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("wrap", ["bare", "tpdu", "network", "tpdu-network", "terminal"])
@pytest.mark.parametrize("framing", ["binary", "text", "alone"])
def test_lengths_and_headers_around_a_message_do_not_change_it(encoding: Encoding, wrap: str, framing: str) -> None:
    bodies = [message(fields, encoding) for fields in (PURCHASE, ANSWER)]
    if "network" in wrap:
        bodies = [network_header(body) for body in bodies]
    if wrap == "terminal":
        bodies = [TERMINAL_HEADER + body for body in bodies]
    if wrap.startswith(("tpdu", "terminal")):
        bodies = [TPDU + body for body in bodies]
    data = bodies[0] if framing == "alone" else with_lengths(bodies, text=framing == "text")
    assert detect_format(data, where="f") == "iso8583"
    expected = [payment(PURCHASE), payment(ANSWER)][: 1 if framing == "alone" else 2]
    assert [(found.message_digest, found.end_to_end_id) for found in payments(data)] == [
        (each.message_digest, each.end_to_end_id) for each in expected
    ]


def test_lines_may_end_either_way_and_be_empty() -> None:
    lines = message(PURCHASE) + b"\r\n\n" + message(ANSWER) + b"\n"
    assert [found.where for found in payments(lines)] == ["f: message 1", "f: message 2"]


def test_nothing_else_is_taken_for_a_card_message() -> None:
    for path in sorted(SAMPLES.iterdir()):
        data = path.read_bytes()
        known = [adapter.name for adapter in ADAPTERS if adapter.name != "emvqr" and adapter.detect(data[:4096])]
        if path.name == "cards.json":
            continue
        assert len(known) == 1, path.name
        assert (known == ["iso8583"]) == (path.suffix == ".iso8583")
    for text in (b"0200 hello world and so on", b"0200,1,2,3,4,5,6,7,8", b"000201010211", b"0" * 40, b"\0" * 40):
        with pytest.raises(FormatError):
            detect_format(text, where="f")


# --- what must not leave the bank


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_tracks_pin_and_chip_are_dropped_at_once(encoding: Encoding) -> None:
    raw = message({**PURCHASE, **SENSITIVE}, encoding)
    fields = decode_fields(raw, encoding)
    assert fields.keys().isdisjoint(SENSITIVE)
    assert set(SENSITIVE) | {"57"} == set(DROPPED)
    (found,) = payments(raw)
    assert found == payment(PURCHASE), "and the digest of the message does not cover them"
    draft = statement_for(found, card_context("bank-a"))
    kept = b"\n".join([encode(draft.body), *draft.values.values(), repr(found).encode()])
    for value in SENSITIVE.values():
        assert value.encode() not in kept or len(value) < 5


def test_what_is_kept_of_a_file_has_no_tracks_pin_or_chip_and_is_what_the_digests_cover() -> None:
    bodies = [message({**fields, **SENSITIVE}, "unionpay") for fields in (PURCHASE, ANSWER)]
    found = ingest(with_lengths(bodies), context_of("bank-a"), where="f")
    assert found.kept is not None
    for value in SENSITIVE.values():
        assert value.encode() not in found.kept or len(value) < 5
    lines = found.kept.split(b"\n")
    said = [draft.statement.values[PrivateField.SOURCE] for draft in found.drafts if draft.statement is not None]
    assert [sha256(line).digest() for line in lines] == said
    messages, place_of = source_messages(found.kept, said)
    assert [messages[place_of(digest)] for digest in said] == lines


def test_a_card_number_stands_nowhere_in_clear() -> None:
    for fields in (PURCHASE, ANSWER, REVERSAL):
        found = payment(fields)
        assert CARD not in repr(found)
        assert CARD.encode() not in encode(statement_for(found, card_context("bank-a")).body)


@pytest.mark.parametrize("number", ["4", "32", "37", "41", "49"])
def test_a_refusal_repeats_neither_card_nor_pin(number: str) -> None:
    spoilt = {**PURCHASE, **SENSITIVE, number: "\x01" * len(PURCHASE[number])}
    text = refused(spoilt)
    assert CARD not in text
    assert SENSITIVE["52"] not in text


# --- bad input

GOOD = message(PURCHASE)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (GOOD[:14], "bitmap: field has a wrong length: expected 8 bytes"),
        (GOOD[:90], "field 22: field has a wrong length: expected 3 digits"),
        (GOOD + b"0", "message is longer than its fields"),
        (GOOD.replace(b"01100005000030", b"1_100005000030"), "field 60: length is not a number"),
        (GOOD.replace(b"01100005000030", b"+1100005000030"), "field 60: length is not a number"),
        (GOOD.replace(b"01100005000030", b"x1100005000030"), "field 60: field cannot be read"),
        (
            GOOD.replace(b"16" + CARD.encode(), b"20" + CARD.encode()),
            "field 2: field has a wrong length: expected at most",
        ),
        (b"0200G23A44810AE08010" + GOOD[20:], "bitmap: field cannot be read"),
        (GOOD[:4] + b"8000000000000000" + b"8000000000000000" + b"8000000000000000", "unknown"),
        (b"0200\xff\xff", "message of a wrong length"),
    ],
    ids=range(10),
)
def test_a_message_that_is_not_whole_is_refused_by_field(data: bytes, expected: str) -> None:
    head = message(ANSWER) + b"\n"
    text = refused(head + data)
    assert text.startswith("f: message 2: ")
    assert expected in text


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"t": "0290"}, "unknown message type"),
        ({"t": "0800"}, "unknown message type"),
        ({"t": "1200"}, "unknown message type"),
        ({"4": "00000000A250"}, "field 4: not a number"),
        ({"4": "0000000012.5"}, "field 4: not a number"),
        ({"11": "11\xb2392"}, "field 11: not a number"),
        ({"49": "999"}, "field 49: unknown currency"),
        ({"7": "1320083015"}, "field 7: not a time"),
        ({"7": "0420243015"}, "field 7: not a time"),
        ({"7": "0431083015"}, "field 7: not a time"),
        ({"15": "0230"}, "field 15: not a date"),
        ({"39": "0a"}, "field 39: malformed response code"),
        ({"41": "12345\x0078"}, "field 41: control character"),
        ({"t": "0420", "90": "9999".ljust(42, "1")}, "field 90: original is not named"),
    ],
)
def test_a_bad_value_is_refused_by_field(changes: dict[str, str], expected: str) -> None:
    assert expected in refused(message(PURCHASE) + b"\n" + message({**PURCHASE, **changes}))


@pytest.mark.parametrize("number", ["4", "11", "49"])
def test_a_missing_field_is_named(number: str) -> None:
    assert f"field {number}: field missing" in refused(without(PURCHASE, number))
    assert "not a time" in refused(without(PURCHASE, "7", "12"))
    assert "answer without a response code" in refused(without(ANSWER, "39"))


def test_a_nibble_that_is_no_digit_is_refused() -> None:
    raw = message(PURCHASE, "bcd")
    at = raw.index(bytes.fromhex("000000001250"))
    assert "field 4: not a number" in refused(raw[: at + 5] + b"\x5a" + raw[at + 6 :])
    at = raw.index(b"\x16" + bytes.fromhex(CARD))
    assert "field 2: field cannot be read" in refused(raw[:at] + b"\x1f" + raw[at + 1 :])
    odd = message({**PURCHASE, "2": CARD + "9"}, "bcd")
    at = odd.index(bytes.fromhex(CARD + "90"))
    assert "field 2: field has a wrong length" in refused(odd[: at + 8] + b"\x95" + odd[at + 9 :])


def test_a_length_that_leads_nowhere_ends_the_file_and_what_was_before_it_is_taken() -> None:
    context = card_context("bank-a")
    for bad in (b"\x01\x00" + GOOD, b"\x00", b"\x00\x05hello", b"\xff\xff"):
        found = list(parse_iso8583(with_lengths([GOOD]) + bad, context, where="f", leaves_out=lambda _: True))
        assert isinstance(found[0], ParsedPayment)
        assert "length of a message leads nowhere" in str(found[1])
        assert len(found) == 2


def test_without_its_bad_messages_a_file_is_taken_where_that_is_asked() -> None:
    bodies = [GOOD, GOOD[:60], message(ANSWER), message({**PURCHASE, "49": "999"}), network_header(GOOD)[:-1]]
    found = ingest(with_lengths(bodies), context_of("bank-a"), where="f", options=Options(skip_bad=True))
    assert len(found.drafts) == 2
    assert [error.where for error in found.refused] == [
        "f: message 2: field 7",
        "f: message 4: field 49",
        "f: message 5: header",
    ]


def test_card_messages_need_to_know_when_they_came() -> None:
    with pytest.raises(FormatError, match="no time of arrival"):
        list(parse_iso8583(GOOD, context_of("bank-a", received_ms=None), where="f"))


def test_a_named_format_tells_what_is_wrong_with_the_first_message() -> None:
    bodies = [message({**PURCHASE, "t": "9999"}), GOOD]
    for text in (False, True):
        with pytest.raises(MessageError, match="f: message 1: message type: unknown message type"):
            ingest(with_lengths(bodies, text=text), context_of("bank-a"), where="f", format_name="iso8583")


def test_limits_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chainnode.ingest.iso8583_framing.MESSAGES_MAX", 2)
    with pytest.raises(FormatError, match="too many messages"):
        list(split_messages(with_lengths([GOOD] * 3), where="f"))
    with pytest.raises(FormatError, match="too many lines"):
        list(split_messages(GOOD + b"\n" * 3, where="f"))
    monkeypatch.setattr("chainnode.ingest.iso8583_framing.FILE_SIZE_MAX", 100)
    with pytest.raises(FormatError, match="file too large"):
        list(split_messages(GOOD, where="f"))


def test_reading_takes_time_in_proportion_to_the_file() -> None:
    def seconds(count: int) -> float:
        data = with_lengths([GOOD, b"\0" * 40] * count)
        start = time.process_time()
        assert len(list(parse_iso8583(data, card_context("bank-a"), where="f", leaves_out=lambda _: True))) == 2 * count
        return time.process_time() - start

    small, large = min(seconds(100) for _ in range(3)), min(seconds(1_600) for _ in range(3))
    assert large < 48 * small


def test_every_field_of_the_standard_is_known_in_every_way_of_writing() -> None:
    numbers = {str(number) for number in range(2, 129)} - {"65"}
    assert set(FIELDS) == numbers
    for specification in SPECIFICATIONS.values():
        assert set(specification) == numbers | {"h", "t", "p", "1"}


def test_a_refusal_is_an_input_error_whatever_the_bytes() -> None:
    raised: set[type[Exception]] = set()
    taken = 0
    for at in range(len(GOOD)):
        for byte in (0x00, 0x2B, 0x41, 0xFF):
            data = GOOD[:at] + bytes([byte]) + GOOD[at + 1 :]
            try:
                list(parse_iso8583(data, card_context("bank-a"), where="f"))
            except Exception as error:  # noqa: BLE001  which ones there are is what is asked
                raised.add(type(error))
            else:
                taken += 1
    assert raised
    assert all(issubclass(error, InputError) for error in raised), raised
    assert taken, "some bytes may be others, such as those of a name"
