"""Vouchers as files: what is read back, what is refused with its place, and how they become events."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from chainnode.cli.exits import Exit
from chainnode.cli.main import run
from chainnode.vouchers import (
    double_spend_of,
    proof_document,
    read_double_spend,
    read_vouchers,
    read_wallet_request,
    redemptions,
)
from ledger.event_json import record_to_json
from ledger.voucher_bodies import Voucher, check_redemption, report_of
from primitives.errors import InputError
from tests.ledger.payment_council import Paying
from tests.ledger.voucher_fixtures import Device


def lines(*vouchers: Voucher) -> bytes:
    """Return a file of vouchers."""
    return b"\n".join(json.dumps(record_to_json(each)).encode() for each in vouchers) + b"\n"


def test_a_file_of_vouchers_gives_them_back() -> None:
    vouchers = Device(Paying()).chain(3)
    assert read_vouchers(lines(*vouchers), where="file") == vouchers
    assert read_vouchers(b"\n\n", where="file") == []


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"amount": 0}, "line 2.amount"),
        ({"amount": 1.5}, "line 2.amount"),
        ({"currency": "yuan"}, "line 2.currency"),
        ({"counter": 0}, "line 2.*wrong place"),
        ({"signature": "00"}, "line 2.signature"),
        ({"owner": "somebody"}, "line 2.owner"),
        ({"issued_at": "yesterday"}, "line 2.issued_at"),
    ],
)
def test_a_bad_voucher_is_refused_with_its_line_and_field(change: dict[str, Any], match: str) -> None:
    first, second = Device(Paying()).chain(2)
    bad = json.dumps(record_to_json(second) | change).encode()
    with pytest.raises(InputError, match=match):
        read_vouchers(lines(first) + bad, where="file")


def test_bad_lines_are_left_out_and_told_of_where_that_is_asked_for() -> None:
    first, second = Device(Paying()).chain(2)
    data = b"\n".join((lines(first).strip(), b"{", b"[]", lines(second).strip(), b"\xff\xfe", b'{"key": 1}'))
    refused: list[InputError] = []
    assert read_vouchers(data, where="file", refused=refused) == [first, second]
    assert [str(error.where).partition(".")[0] for error in refused] == [f"file, line {n}" for n in (2, 3, 5, 6)]
    with pytest.raises(InputError, match="line 2"):
        read_vouchers(data, where="file")


def test_vouchers_become_events_by_wallet_in_order_each_once() -> None:
    council = Paying()
    one, other = Device(council), Device(council, "other")
    many, few = one.chain(70), other.chain(2)
    twin = replace(many[3], amount=2)
    found = list(redemptions([*reversed(many), *few, twin, *many]))
    for body in found:
        check_redemption(body)
    assert [len(body.vouchers) for body in found] == [64, 7, 2]
    assert sorted(each.counter for body in found[:2] for each in body.vouchers) == sorted([*range(70), 3])


def test_a_proof_is_found_in_two_spends_alone() -> None:
    device = Device(Paying())
    first, second = device.chain(2)
    chain_id = device.council.chain_id
    again = device.voucher(0, amount=7)
    assert double_spend_of(chain_id, first, again) == report_of(again, first)
    assert double_spend_of(chain_id, again, second) == report_of(again, second)
    assert double_spend_of(chain_id, first, second) is None
    assert double_spend_of(chain_id, first, replace(first, signature=bytes(64))) is None
    assert double_spend_of(chain_id, first, replace(again, signature=bytes(64))) is None


def test_a_proof_is_verified_without_a_node(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    device = Device(Paying())
    report = report_of(device.voucher(0), device.voucher(0, amount=7))
    document = proof_document(device.council.chain_id, report)
    assert read_double_spend(json.dumps(document).encode(), where="file") == (device.council.chain_id, report)
    file = tmp_path / "proof.json"
    file.write_text(json.dumps(document))
    assert run(["-o", "json", "voucher", "verify-double-spend", str(file)]) == Exit.OK
    assert json.loads(capsys.readouterr().out)["wallet"] == device.id.hex()
    for change in ({"chain_id": "00" * 32}, {"first": document["second"]}):
        file.write_text(json.dumps(document | change))
        assert run(["voucher", "verify-double-spend", str(file)]) == Exit.VERIFICATION_FAILED


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"key": 1, "holder_commitment": 1, "proof": 1}', b"{" * 4_096])
def test_what_is_no_request_and_no_proof_is_refused(data: bytes) -> None:
    for reader in (read_wallet_request, read_double_spend):
        with pytest.raises(InputError, match="file"):
            reader(data, where="file")
