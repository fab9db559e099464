"""Totals of a generated day: what makes two banks' differ is what was seeded, and nothing else."""

from __future__ import annotations

from collections import Counter
from datetime import date

from bench.reconciliation import Blocks, Statements, secret_of
from chainnode.generating import Answer, Plan, Seeded, Traffic
from chainnode.ingest.privacy import payment_keys
from ledger.policy import DAY_MS
from ledger.reconciliation_index import ReconciliationFollower
from ledger.reconciliation_reading import ReconciliationReader
from ledger.store import MemoryStore
from ledger.totals_reading import TotalsAsked

PLAN = Plan(date(2026, 11, 23), 4, 1_500, 7, 0.05)
PIECE = 200

IN_ONE_PLACE = {Seeded.MISSING_SIDE, Seeded.AMOUNT}
"""What one bank leaves out, or counts with another amount."""
IN_TWO_PLACES = {Seeded.DATE, Seeded.CURRENCY}
"""What both count, each elsewhere."""
SAME_SUM = {Seeded.ACCOUNT, Seeded.LATE_SIDE}


def differences(reader: ReconciliationReader) -> Counter[tuple[tuple[str, str], bytes]]:
    """Return in how many places each payment is not counted alike by both."""
    found: Counter[tuple[tuple[str, str], bytes]] = Counter()
    keys, after = [], None
    while True:
        page, after = reader.totals.page(TotalsAsked(), 50, after, descending=False)
        keys += [item.key for item in page]
        if after is None:
            break
    for key in keys:
        spot = None
        while True:
            payments, spot = reader.totals.payments(key, 50, spot, differences=True)
            found.update((key.parties, item.pair_key) for item in payments)
            if spot is None:
                break
    return found


def test_what_makes_totals_differ_is_what_was_seeded_and_charges_that_were_shared() -> None:
    traffic, making, blocks = Traffic(PLAN), Statements(PLAN), Blocks(PLAN)
    store = MemoryStore()
    follower = ReconciliationFollower(store, blocks)  # type: ignore[arg-type]  # of a reader it needs no more
    answers: dict[tuple[tuple[str, str], bytes], Answer] = {}
    told = list(traffic.statements())
    for start in range(0, len(told), PIECE):
        piece = told[start : start + PIECE]
        for one in piece:
            if one.answer is not None:
                key = payment_keys(secret_of(*one.answer.between), one.answer.reference).pair_key
                answers[one.answer.between, key] = one.answer
        blocks.add([making.event(one) for one in piece], piece[-1].time_ms)
        while follower.follow(blocks.height, 1 << 30):
            pass
    blocks.add((), PLAN.start_ms + 4 * DAY_MS)
    while follower.follow(blocks.height, 1 << 30):
        pass
    reader = ReconciliationReader(store, blocks)  # type: ignore[arg-type]  # as above
    found = differences(reader)
    for at, answer in answers.items():
        if answer.kind in IN_ONE_PLACE:
            assert found[at] == 1, answer
        elif answer.kind in IN_TWO_PLACES:
            assert found[at] == 2, answer
        elif answer.kind in SAME_SUM:
            assert found[at] == 0, answer
    assert {answer.kind for answer in answers.values()} >= IN_ONE_PLACE | IN_TWO_PLACES | SAME_SUM
    for parties, pair_key in found.keys() - answers.keys():
        (view,) = [item.view for item in reader.find(pair_key, blocks.height) if item.view.parties == parties]
        assert [leg.tolerated for leg in view.legs if leg.tolerated] == [("amount",)], view
