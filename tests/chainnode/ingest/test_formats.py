"""One door for all formats: what a file is shows in its bytes, every sample comes in, everything broken is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from chainnode.ingest.drafts import Draft
from chainnode.ingest.errors import FormatError, JsonError, NotAPartyError
from chainnode.ingest.formats import ADAPTERS, FORMATS, Options, detect_format, ingest
from ledger.events import REFERENCE_SIZE, Event
from ledger.payments import PaymentStatement, check_statement
from ledger.registry import KINDS
from primitives.encoding import decode, encode
from primitives.errors import InputError
from tests.chainnode.ingest.ingest_fixtures import BAD, MEMBERS, SAMPLES, context_of, sample

FILES = sorted(path for path in SAMPLES.iterdir() if path.suffix in (".xml", ".jsonl", ".csv", ".iso8583"))
BAD_FILES = sorted(path for path in BAD.iterdir() if path.suffix in (".xml", ".jsonl", ".csv", ".bin", ".iso8583"))


def drafts_of(path: Path) -> dict[str, list[Draft]]:
    """Return what each member that has a part in it makes of a file."""
    found = {}
    for member in MEMBERS:
        try:
            found[member] = ingest(path.read_bytes(), context_of(member), where=path.name).drafts
        except NotAPartyError:
            continue
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_sample_becomes_well_formed_events(path: Path) -> None:
    found = drafts_of(path)
    assert found, "some member reports it"
    for member, drafts in found.items():
        assert drafts
        for draft in drafts:
            assert draft.reference is not None
            assert len(draft.reference) == REFERENCE_SIZE
            body = decode(KINDS[draft.kind].schemas[draft.schema], draft.body, size_max=4096)
            assert isinstance(body, PaymentStatement)
            check_statement(body)
            event = Event(member, draft.reference, 1_800_000_000_000, draft.kind, draft.schema, draft.body)
            assert len(encode(event)) < 600


def test_the_samples_are_as_many_as_the_demo_needs() -> None:
    transfers = [path for path in FILES if "pacs008" in path.name]
    assert len(transfers) >= 20
    assert {member for path in FILES for member in drafts_of(path)} == set(MEMBERS)


def test_an_interbank_transfer_is_reported_by_both_ends() -> None:
    for path in FILES:
        if "pacs008" in path.name and not path.name.startswith(("16", "23")):
            assert len(drafts_of(path)) >= 2, path.name


@pytest.mark.parametrize("path", BAD_FILES, ids=lambda path: path.stem)
def test_every_broken_sample_is_refused_in_one_line_with_its_place(path: Path) -> None:
    with pytest.raises(InputError) as caught:
        ingest(path.read_bytes(), context_of("bank-a"), where=path.name)
    message = str(caught.value)
    assert message.startswith(path.name)
    assert "expected" in message
    assert "got" in message
    assert "\n" not in message


@pytest.mark.parametrize("path", BAD_FILES, ids=lambda path: path.stem)
def test_a_broken_sample_is_never_taken_silently_where_bad_messages_may_be_left_out(path: Path) -> None:
    try:
        ingested = ingest(path.read_bytes(), context_of("bank-a"), where=path.name, options=Options(skip_bad=True))
    except InputError:
        return
    assert ingested.refused


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_format_shows_in_the_bytes(path: Path) -> None:
    expected = {".xml": "iso20022", ".jsonl": "jsonl", ".csv": "csv", ".iso8583": "iso8583"}[path.suffix]
    assert detect_format(path.read_bytes(), where=path.name) == expected


def test_a_format_can_be_named() -> None:
    data = sample("qr-bank-a")
    named = ingest(data, context_of("bank-a"), where="q", format_name="emvqr")
    assert named.format == "emvqr"
    assert [draft.body for draft in named.drafts] == [
        draft.body for draft in ingest(data, context_of("bank-a"), where="q").drafts
    ]
    with pytest.raises(InputError):
        ingest(data, context_of("bank-a"), where="q", format_name="iso20022")


def test_an_unknown_format_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(FormatError, match="expected auto, iso20022, iso8583, emvqr, jsonl, csv, got 'iso9999'"):
        ingest(b"x", context_of("bank-a"), where="f", format_name="iso9999")
    assert tuple(adapter.name for adapter in ADAPTERS) == FORMATS


def test_a_bare_qr_payload_is_told_where_to_go() -> None:
    payload = json.loads(sample("qr-bank-a").splitlines()[0])["payload"]
    with pytest.raises(FormatError, match="a bare QR payload; put it into a JSON line"):
        ingest(payload.encode(), context_of("bank-a"), where="f")


def test_empty_lines_and_a_byte_order_mark_do_no_harm() -> None:
    data = b"\xef\xbb\xbf\n" + sample("qr-bank-a").replace(b"\n", b"\r\n\r\n")
    plain = ingest(sample("qr-bank-a"), context_of("bank-a"), where="q").drafts
    assert [draft.body for draft in ingest(data, context_of("bank-a"), where="q").drafts] == [
        draft.body for draft in plain
    ]


def test_spaces_and_order_of_keys_make_no_other_event() -> None:
    value = json.loads(sample("qr-bank-a").splitlines()[0])
    turned = json.dumps(dict(reversed(list(value.items()))), indent=None, separators=(" , ", " : ")).encode()
    (one,) = ingest(json.dumps(value).encode(), context_of("bank-a"), where="q").drafts
    (two,) = ingest(turned, context_of("bank-a"), where="q").drafts
    assert (one.reference, one.body) == (two.reference, two.body)


def test_without_its_bad_lines_a_file_is_taken_where_that_is_asked() -> None:
    data = sample("qr-bank-a") + b"{\n" + (BAD / "qr-bad-crc.jsonl").read_bytes()
    ingested = ingest(data, context_of("bank-a"), where="q", options=Options(skip_bad=True))
    assert len(ingested.drafts) == 5
    assert [error.where for error in ingested.refused] == ["q:6: character 1", "q:7: payload: 63"]


def test_a_line_with_an_event_goes_to_whoever_reads_events() -> None:
    def event_line(value: Mapping[str, Any], where: str) -> Draft:
        assert where == "e.jsonl:1"
        return Draft(kind=1, schema=1, body=b"\x90", reference=None, expires_ms=None, where=where)

    data = b'{"kind": "certificate.apply", "body": {}}\n'
    ingested = ingest(data, context_of("bank-a"), where="e.jsonl", options=Options(event_line=event_line))
    assert [draft.kind for draft in ingested.drafts] == [1]
    with pytest.raises(JsonError, match="events are not taken here"):
        ingest(data, context_of("bank-a"), where="e.jsonl")


BAD_LINES = {
    "a reporter that is another member": {"reporter": "bank-b"},
    "an unknown side": {"side": "payer"},
    "a debtor agent that is no code": {"debtor_agent": "Bank A"},
    "a time without an hour": {"time": "2026-04-13"},
    "an empty reference": {"reference": ""},
    "a reference that is a number": {"reference": 5},
    "a long reference": {"reference": "X" * 36},
    "an amount in words": {"amount": "ten"},
    "an unknown key": {"colour": "red"},
    "a certificate number in words": {"terminal_certificate": "terminal seven"},
    "a date that is none": {"settlement_date": "2026-02-30"},
    "an unknown status": {"status": "done"},
    "a payer's side of another bank": {"side": "debtor"},
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_a_qr_line_that_is_wrong_is_refused(name: str) -> None:
    value = json.loads(sample("qr-bank-a").splitlines()[0])
    with pytest.raises(InputError, match=r"^q:1"):
        ingest(json.dumps({**value, **BAD_LINES[name]}).encode(), context_of("bank-a"), where="q")


def test_an_amount_that_the_code_does_not_have_must_be_given() -> None:
    values = [json.loads(line) for line in sample("qr-bank-a").splitlines()]
    value = next(value for value in values if "amount" in value)
    del value["amount"]
    with pytest.raises(JsonError, match="amount missing"):
        ingest(json.dumps(value).encode(), context_of("bank-a"), where="q")


BAD_PLAIN = {
    "no institution": {"debtor_agent": None, "creditor_agent": None},
    "a channel that is unknown": {"channel": "pigeon"},
    "a UETR that is none": {"uetr": "1"},
    "a reason in words": {"reason": "closed"},
    "too many decimals": {"amount": "1.001"},
    "an unknown currency": {"currency": "CNX"},
    "a name as agent": {"debtor_agent": "Bank of A"},
}


@pytest.mark.parametrize("name", BAD_PLAIN)
def test_a_plain_payment_that_is_wrong_is_refused(name: str) -> None:
    value = json.loads(sample("plain-bank-b").splitlines()[0])["payment"]
    changed = {key: text for key, text in {**value, **BAD_PLAIN[name]}.items() if text is not None}
    with pytest.raises(InputError, match=r"^p:1"):
        ingest(json.dumps({"payment": changed}).encode(), context_of("bank-b"), where="p")


def test_csv_may_use_semicolons() -> None:
    rows = [row.split(",")[:6] for row in sample("plain-bank-c").decode().splitlines()]
    data = "\n".join(";".join(row) for row in rows).encode()
    assert len(ingest(data, context_of("bank-c"), where="c").drafts) == 2


PRIVATE = "6222020200112233445"


@pytest.mark.parametrize(
    "data",
    [
        f"{PRIVATE} is the account\n",
        f"time,amount,currency,reference,debtor_agent\n2026-04-13T10:30:00+08:00,1.00,CNY,R,{PRIVATE}\n",
        "000201" + PRIVATE,
        json.dumps(
            {
                "payload": "00020101021115" + PRIVATE,
                "reporter": "bank-a",
                "side": "debtor",
                "debtor_agent": "BKAACNBJXXX",
                "time": "2026-04-13T10:30:00+08:00",
                "reference": "R",
            }
        ),
        json.dumps(
            {
                "payment": {
                    "time": "2026-04-13T10:30:00+08:00",
                    "amount": "1.00",
                    "currency": "CNY",
                    "reference": "R",
                    "debtor_agent": "BKAACNBJXXX",
                    "uetr": PRIVATE,
                }
            }
        ),
    ],
    ids=["no format", "account as agent", "bare payload", "payload", "account as uetr"],
)
def test_what_is_wrong_is_told_without_what_was_private(data: str) -> None:
    with pytest.raises(InputError) as caught:
        ingest(data.encode(), context_of("bank-a"), where="f")
    told = str(caught.value)
    for text in (PRIVATE, PRIVATE[-8:], PRIVATE[:8], PRIVATE[:8].encode().hex()):
        assert text not in told


def test_a_row_where_the_header_should_be_is_not_repeated() -> None:
    with pytest.raises(FormatError, match="wrong columns") as caught:
        ingest(f"{PRIVATE},1.00,CNY\n".encode(), context_of("bank-a"), where="f", format_name="csv")
    assert PRIVATE not in str(caught.value)
