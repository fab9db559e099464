"""`voucher redeem` beside a chain in memory: what is sent, in which order, and what becomes of each voucher."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from chainnode.cli.voucher import ALREADY, NOT_SENT, PENDING, REDEEMED, REFUSED, _Desk
from chainnode.client import NOT_FOUND, CallRefused
from chainnode.submission import NewEvent
from chainnode.vouchers import batched, read_double_spend, redemptions
from ledger.event_json import record_to_json
from ledger.events import Event
from ledger.governance_records import read_proposal
from ledger.outcomes import TOO_MANY_IN_BLOCK
from ledger.voucher_bodies import REPORT_DOUBLE_SPEND, Voucher, verify_double_spend
from ledger.wallet_records import (
    VoucherPlace,
    WalletStatus,
    read_voucher,
    voucher_after_key,
)
from ledger.wallets import REDEMPTIONS_A_MEMBER_MAX
from tests.ledger.governance_fixtures import bank
from tests.ledger.payment_council import Paying
from tests.ledger.voucher_fixtures import Device, redeeming

Json = dict[str, Any]  # Any: JSON of a node


class Node:
    """A node's answers out of a chain's state, and the way in for a bank's events, a block each time."""

    member = bank(1)

    def __init__(self, council: Paying) -> None:
        self.council = council
        self.sent: list[list[int]] = []
        self.asked = 0
        self.full = 0

    def call(self, method: str, **params: Any) -> Json:  # Any: JSON
        """Answer."""
        self.asked += 1
        state = self.council.state
        match method:
            case "ledger_getCapabilities":
                return {"chain_id": self.council.chain_id.hex()}
            case "gov_getProposal":
                proposal = read_proposal(state, bytes.fromhex(params["id"]))
                if proposal is not None:
                    return {"proposal": {"stage": proposal.stage.value}}
            case "voucher_get":
                wallet, counter = bytes.fromhex(params["wallet"]), params.get("counter")
                if counter is None:
                    place = state.get(voucher_after_key(wallet, bytes.fromhex(params["previous"])), VoucherPlace)
                    counter = -1 if place is None else place.counter
                row = read_voucher(state, wallet, counter)
                if row is not None:
                    return {"voucher": record_to_json(row.voucher), "member": row.member}
        raise CallRefused({"code": NOT_FOUND, "message": "not found", "data": {}})

    def call_many(self, method: str, calls: Sequence[Json]) -> list[Json]:
        """Answer several."""
        answers = [self.call(method, **each) for each in calls]
        self.asked -= len(calls) - 1
        return answers

    def limit(self, timeout_s: float) -> None:
        """Take a limit."""

    def send(self, events: Sequence[NewEvent], wait: str, *, patience_s: float = 0) -> list[Json]:
        """Commit a block of events, of which the first so many find no room."""
        self.sent.append([event.kind for event in events])
        said = []
        for event in events:
            made = Event(
                self.member, event.reference or b"", self.council.now_ms + 1_000, event.kind, event.schema, event.body
            )
            said.append((self.member, made))
        full, self.full = self.full, 0
        rows = [{"id": "00" * 32, "status": "Committed", "outcome": _outcome(TOO_MANY_IN_BLOCK, "")}] * full
        result = self.council.events(*said[full:])
        for identity, outcome in zip(result.event_ids, result.outcomes, strict=True):
            told = _outcome(outcome.rule, outcome.detail)
            rows.append({"id": identity.hex(), "status": "Committed", "outcome": told})
        return rows

    def settle(self) -> None:
        """Take note."""


def _outcome(rule: str, detail: str) -> Json:
    return {"applied": not rule, "rule": rule or None, "detail": detail or None}


class Told:
    """What was told of each voucher."""

    def __init__(self) -> None:
        self.rows: list[Json] = []

    def add(self, row: Json, line: str) -> None:
        """Take a row."""
        self.rows.append(row)


def run(node: Node, vouchers: Sequence[Voucher], *, proofs: Path | None = None, end_s: float = 60) -> list[Json]:
    """Redeem vouchers and return what was told."""
    told = Told()
    desk = _Desk(node, node, told, proofs, time.monotonic() + end_s)  # type: ignore[arg-type]  # all that it uses
    for bodies in batched(redemptions(vouchers), REDEMPTIONS_A_MEMBER_MAX):
        desk.redeem(bodies)
    desk.prove()
    assert [row["result"] for row in told.rows] == desk.told
    return told.rows


def results(rows: Sequence[Json]) -> Counter[str]:
    """Return how many vouchers came to what."""
    return Counter(row["result"] for row in rows)


def wallet(count_max: int = 1_000) -> tuple[Device, Node]:
    """Return a wallet that is registered, and a bank's node."""
    device = Device(Paying()).registered(count_max=count_max)
    return device, Node(device.council)


def test_a_file_is_redeemed_as_many_at_once_as_a_block_applies_and_again_costs_few_calls() -> None:
    device, node = wallet()
    vouchers = device.chain(300)
    assert results(run(node, vouchers)) == {REDEEMED: 300}
    assert node.sent == [[40] * 4, [40]]
    node.sent.clear()
    node.asked = 0
    assert results(run(node, vouchers)) == {ALREADY: 300}
    assert (node.sent, node.asked) == ([], 1 + 5 + 5)


def test_a_run_that_broke_off_anywhere_goes_on() -> None:
    device, node = wallet()
    vouchers = device.chain(70)
    for place in (0, 3, 40, 63, 69):
        assert device.council.rule(bank(1), redeeming(vouchers[place])) == ""
    assert results(run(node, vouchers)) == {ALREADY: 5, REDEEMED: 65}
    assert device.row().redeemed == 70


def test_what_another_bank_redeemed_is_refused_here() -> None:
    device, node = wallet()
    vouchers = device.chain(3)
    assert device.council.rule(bank(0), redeeming(*vouchers[:2])) == ""
    rows = run(node, vouchers)
    assert results(rows) == {REFUSED: 2, REDEEMED: 1}
    assert {row["why"] for row in rows if row["result"] == REFUSED} == {f"voucher_redeemed: by {bank(0)}"}


def test_one_bad_voucher_costs_the_others_nothing() -> None:
    device, node = wallet()
    vouchers = device.chain(64)
    bad: dict[int, Json] = {5: {"signature": bytes(64)}, 9: {"amount": 7}}
    mixed = [replace(each, **bad.get(number, {})) for number, each in enumerate(vouchers)]
    rows = run(node, mixed)
    assert results(rows) == {REDEEMED: 62, REFUSED: 2}
    assert {row["counter"] for row in rows if row["result"] == REFUSED} == {5, 9}
    assert device.row().status is WalletStatus.ACTIVE, "what it did not sign proves nothing"


def test_a_wallet_that_is_stopped_is_told_of_at_once() -> None:
    device, node = wallet()
    stranger = Device(device.council, "stranger")
    assert results(run(node, stranger.chain(64))) == {REFUSED: 64}
    assert node.sent == [[40]]


def test_what_else_a_double_spender_signed_is_redeemed_before_its_proof_stops_it(tmp_path: Path) -> None:
    device, node = wallet()
    vouchers = device.chain(80)
    again = [device.voucher(2, vouchers[1], amount=1), device.voucher(2, vouchers[1], amount=2)]
    rows = run(node, [*again, *vouchers[:2], *vouchers[3:]], proofs=tmp_path / "proofs")
    assert results(rows)[REDEEMED] >= 79
    assert node.sent[-1] == [REPORT_DOUBLE_SPEND]
    assert sum(REPORT_DOUBLE_SPEND in kinds for kinds in node.sent) == 1
    assert device.row().status is WalletStatus.ACCUSED
    (file,) = (tmp_path / "proofs").iterdir()
    chain_id, report = read_double_spend(file.read_bytes(), where="proof")
    assert verify_double_spend(chain_id, report) == device.id


def test_a_second_voucher_that_comes_too_late_is_proved_all_the_same() -> None:
    device, node = wallet()
    voucher, again = device.voucher(0), device.voucher(0, amount=1)
    assert device.council.rule(bank(0), redeeming(voucher)) == ""
    device.council.now_ms += 5 * 86_400_000
    (row,) = run(node, [again])
    assert row["why"].startswith("voucher_limit_age")
    assert device.row().status is WalletStatus.ACCUSED


def test_what_a_block_had_no_room_for_is_sent_again() -> None:
    device, node = wallet()
    node.full = 2
    assert results(run(node, device.chain(200))) == {REDEEMED: 200}
    assert [len(kinds) for kinds in node.sent] == [4, 2]


@pytest.mark.parametrize("end_s", [0, -1])
def test_once_the_time_is_over_nothing_is_sent(end_s: float) -> None:
    device, node = wallet()
    rows = run(node, device.chain(300), end_s=end_s)
    assert (results(rows), node.sent) == ({PENDING: 300}, [])
    assert {row["why"] for row in rows} == {NOT_SENT}
