"""What leaves the state of wallets that are over: when, how much a block, and that nothing is redeemed again."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import voucher_forgetting
from ledger.chain import Chain
from ledger.governance_records import under_way
from ledger.reader import LedgerReader
from ledger.rows import state_row_key
from ledger.state import DERIVED_PREFIX
from ledger.store import MemoryStore, prefix_stop
from ledger.voucher_bodies import DecideWallet, Voucher, WalletDecision, WalletReason, report_of
from ledger.voucher_forgetting import FORGOTTEN_A_BLOCK_MAX, KEPT_MS, ends_of, over_after_ms
from ledger.wallet_records import Wallet, WalletStatus, count_wallets
from tests.ledger.governance_fixtures import DAY_MS, START_MS, bank
from tests.ledger.payment_council import AUDITOR, Paying
from tests.ledger.snapshot_fixtures import made, make_stable, restored
from tests.ledger.test_snapshots import follow
from tests.ledger.voucher_fixtures import Device, redeeming

OVER_MS = START_MS + 30 * DAY_MS + DAY_MS + KEPT_MS
"""The last block time before the fixtures' wallets are over: they issue for 30 days, and redeem for one more."""


def voucher_rows(council: Paying) -> list[bytes]:
    """Return the keys of the state about redeemed vouchers."""
    return [key for key, _ in council.state.raw_scan(b"voucher")]


def derived(council: Paying) -> list[bytes]:
    """Return the derived rows by which what ends is found."""
    return [key for key, _ in council.state.raw_scan(DERIVED_PREFIX + b"over/")]


def block_at(council: Paying, time_ms: int) -> None:
    """Commit an empty block at a time."""
    council.now_ms = time_ms - 10
    council.block()


def spent(count: int = 3) -> tuple[Device, list[Voucher]]:
    """Return a wallet of which so many vouchers were redeemed, and these."""
    device = Device(Paying()).registered()
    vouchers = device.chain(count)
    assert device.council.rule(bank(1), redeeming(*vouchers)) == ""
    return device, vouchers


def test_vouchers_leave_once_their_wallet_is_over_and_the_wallet_stays() -> None:
    device, _ = spent()
    council = device.council
    assert over_after_ms(device.row()) == OVER_MS
    assert (len(voucher_rows(council)), len(derived(council))) == (6, 4)
    block_at(council, OVER_MS)
    assert (len(voucher_rows(council)), device.row().status) == (6, WalletStatus.ACTIVE)
    block_at(council, OVER_MS + 1)
    assert (voucher_rows(council), derived(council)) == ([], [])
    assert (device.row().status, device.row().redeemed, device.row().amount) == (WalletStatus.ENDED, 3, 3_750)
    assert count_wallets(council.state, bank(0)) == 0


@pytest.mark.parametrize(
    ("now_ms", "rule"),
    [
        (OVER_MS - KEPT_MS, "voucher_redeemed"),
        (OVER_MS - KEPT_MS + 1, "voucher_limit_age"),
        (OVER_MS, "voucher_limit_age"),
        (OVER_MS + 1, "wallet_ended"),
    ],
)
def test_nothing_is_redeemed_again_before_or_after_its_rows_left(now_ms: int, rule: str) -> None:
    """The wallet's last voucher, of the last moment of its time, once more."""
    device = Device(Paying()).registered()
    device.council.now_ms = START_MS + 30 * DAY_MS
    last = device.voucher(0)
    assert device.council.rule(bank(1), redeeming(last)) == ""
    device.council.now_ms = now_ms - 10
    assert device.council.rule(bank(1), redeeming(last)) == rule
    assert device.row().redeemed == 1


def test_a_wallet_whose_rows_leave_over_several_blocks_redeems_nothing_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(voucher_forgetting, "FORGOTTEN_A_BLOCK_MAX", 1)
    device, vouchers = spent()
    device.council.now_ms = OVER_MS
    rules = [device.council.rule(bank(1), redeeming(vouchers[0])) for _ in range(5)]
    assert rules == ["voucher_limit_age"] * 3 + ["wallet_ended"] * 2
    assert voucher_rows(device.council) == []


def test_a_key_has_one_life() -> None:
    device, _ = spent()
    block_at(device.council, OVER_MS + 1)
    now_ms = device.council.now_ms
    again = device.registration(valid_from_ms=now_ms, valid_until_ms=now_ms + DAY_MS)
    assert device.council.rule(bank(0), again) == "wallet_registered"
    assert (
        device.council.rule(bank(1), device.registration(bank(1), valid_until_ms=now_ms + DAY_MS))
        == "wallet_registered"
    )


def test_a_double_spending_is_proved_after_the_rows_left_by_whoever_holds_both() -> None:
    device, vouchers = spent()
    block_at(device.council, OVER_MS + 1)
    report = report_of(vouchers[0], device.voucher(0, amount=1, issued_at_ms=START_MS))
    result = device.council.block((AUDITOR, report))
    assert result.outcomes[0].applied
    assert (device.row().status, device.row().proof) == (WalletStatus.ENDED, result.event_ids[0])
    assert under_way(device.council.state, device.council.now_ms) == [], "nothing is left to suspend"


def test_a_block_removes_a_bounded_number_and_the_next_ones_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voucher_forgetting, "FORGOTTEN_A_BLOCK_MAX", 3)
    council = Paying()
    devices = [Device(council, name).registered() for name in ("first", "second")]
    for device in devices:
        assert council.rule(bank(1), redeeming(*device.chain(4))) == ""
    left = []
    for turn in range(5):
        block_at(council, OVER_MS + 1 + 10 * turn)
        left.append((len(voucher_rows(council)), len(derived(council))))
    assert left == [(10, 7), (4, 4), (0, 1), (0, 0), (0, 0)]
    assert {device.row().status for device in devices} == {WalletStatus.ENDED}
    assert FORGOTTEN_A_BLOCK_MAX == 512


def test_wallets_leave_room_for_their_banks_next_ones_once() -> None:
    council = Paying()
    open_, closed = Device(council, "open").registered(), Device(council, "closed").registered()
    close = DecideWallet(bytes(closed.id), WalletDecision.CLOSE, WalletReason.LOST)
    assert council.rule(bank(0), close) == ""
    assert count_wallets(council.state, bank(0)) == 1
    block_at(council, OVER_MS + 1)
    assert count_wallets(council.state, bank(0)) == 0
    assert {open_.row().status, closed.row().status} == {WalletStatus.ENDED}


def test_a_chain_that_is_replayed_and_one_out_of_a_snapshot_forget_what_the_first_did() -> None:
    device, _ = spent()
    council, genesis = device.council, device.council.genesis
    make_stable(council.store, genesis, council.set)
    joined = restored(made(council.store, genesis), genesis)
    for turn in range(3):
        block_at(council, OVER_MS - 10 + 10 * turn)
    assert voucher_rows(council) == []
    for store in (MemoryStore(), joined):
        chain = Chain(store, genesis, rules=council.rules)
        follow(chain, store, LedgerReader(council.store, genesis))
        assert chain.tip_hash == council.chain.tip_hash
        assert_same_state(store, council.store)


def assert_same_state(store: MemoryStore, other: MemoryStore) -> None:
    """Hold one store's rows of the state, the derived ones among them, to another's."""
    begin = state_row_key(b"")
    assert list(store.iterate(begin, prefix_stop(begin))) == list(other.iterate(begin, prefix_stop(begin)))


STEP = st.tuples(st.sampled_from(["register", "redeem", "close", "wait"]), st.integers(0, 2), st.integers(0, 4))


@settings(max_examples=40, deadline=None)
@given(st.lists(STEP, max_size=25))
def test_what_ends_is_always_found_by_what_the_tree_holds(steps: list[tuple[str, int, int]]) -> None:
    """Whatever happened in whatever order: derived rows are those that follow from the tree; nothing is paid twice."""
    council = Paying()
    devices = [Device(council, f"wallet {number}") for number in range(3)]
    paid: set[tuple[int, int]] = set()
    for what, number, more in steps:
        device = devices[number]
        match what:
            case "register":
                until_ms = council.now_ms + (1 + more) * DAY_MS
                council.say(bank(0), device.registration(valid_from_ms=council.now_ms, valid_until_ms=until_ms))
            case "redeem":
                voucher = device.chain(more + 1)[more]
                if council.rule(bank(1), redeeming(voucher)) == "":
                    assert (number, more) not in paid
                    paid.add((number, more))
            case "close":
                council.say(bank(0), DecideWallet(bytes(device.id), WalletDecision.CLOSE, WalletReason.LOST))
            case _:
                block_at(council, council.now_ms + (1 + 12 * more) * DAY_MS)
        held = [*council.state.raw_scan(b"voucher/"), *council.state.raw_scan(b"wallet/")]
        assert derived(council) == sorted(key for row in held for key in ends_of(*row))
        alive = [row for _, row in council.state.scan("wallet/", Wallet) if row.status is WalletStatus.ACTIVE]
        assert count_wallets(council.state, bank(0)) == len(alive)
        assert all(over_after_ms(row) >= council.now_ms for row in alive)


def test_a_snapshot_amid_what_leaves_goes_on_where_it_stood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voucher_forgetting, "FORGOTTEN_A_BLOCK_MAX", 1)
    device, _ = spent()
    council, genesis = device.council, device.council.genesis
    for turn in range(2):
        block_at(council, OVER_MS + 1 + 10 * turn)
    assert (len(voucher_rows(council)), len(derived(council))) == (2, 2)
    make_stable(council.store, genesis, council.set)
    joined = restored(made(council.store, genesis), genesis)
    for turn in range(2, 5):
        block_at(council, OVER_MS + 1 + 10 * turn)
    chain = Chain(joined, genesis, rules=council.rules)
    follow(chain, joined, LedgerReader(council.store, genesis))
    assert chain.tip_hash == council.chain.tip_hash
    assert_same_state(joined, council.store)


def test_blocks_upon_blocks_that_are_not_committed_forget_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voucher_forgetting, "FORGOTTEN_A_BLOCK_MAX", 1)
    device, _ = spent()
    council, genesis = device.council, device.council.genesis
    parent, built = council.chain.tip_hash, []
    for turn in range(5):
        now_ms = OVER_MS + 1 + 10 * turn
        block = council.chain.build(parent, time_ms=now_ms, epoch=council.set.epoch, proposer=0, batches=[])
        parent = block.header.hash()
        built.append(block.header)
    assert len(list(council.chain.state_after(parent).raw_scan(b"voucher/"))) == 0
    assert len(voucher_rows(council)) == 6
    for header in built:
        certificate = council.certificate(header.epoch, header.height, header.hash())
        result = council.chain.commit(header.hash(), certificate)
        council.store.write(result.puts, sync=True)
        council.chain.written(result.ticket)
    assert (voucher_rows(council), derived(council)) == ([], [])
    again = MemoryStore()
    follow(Chain(again, genesis, rules=council.rules), again, LedgerReader(council.store, genesis))
    assert_same_state(again, council.store)
