"""The index of totals says what a plain reading of the whole log says, in pieces and after a restart."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger import totals_reading, totals_rows
from ledger.currencies import MINOR_UNITS_MAX
from ledger.execution import BlockRefused
from ledger.payments import PAYMENT_STATEMENT, AgentRole, PaymentStatement, Side, Status
from ledger.reconciliation_index import ReconciliationFollower
from ledger.store import MemoryStore
from ledger.times import day_of
from ledger.totals import ALL_LINES, BOTH, FIRST, SECOND, UNLIKE, Key, TotalsState, lines_of, payments_root
from ledger.totals_bodies import PAYMENT_TOTALS, Flow, PaymentTotals, TotalsLeg
from ledger.totals_reading import FoundTotals, TotalsAsked, TotalsReader
from ledger.totals_rows import TotalsCounts
from primitives.encoding import decoder_of
from primitives.errors import StorageError
from tests.ledger.reconciliation_fixtures import CODES, agents, tokens
from tests.ledger.totals_fixtures import TOTALS_DAY, Books, key, line, totals

BANKS = ("bank-a", "bank-b", "bank-c")
ALL = TotalsAsked()
A_B = Key(("bank-a", "bank-b"), TOTALS_DAY, "CNY")


def plainly(books: Books) -> tuple[dict[Any, Any], dict[Any, Any]]:
    """Return who counts which payments where, and the totals that each member stated, by reading the whole log."""
    codes = {code: bank for bank, code in CODES.items()}
    words: dict[Any, dict[str, Any]] = defaultdict(dict)  # (name, parties, leg) -> member -> (day, ...)
    said: dict[Any, list[Any]] = defaultdict(list)
    for height in range(1, books.height + 1):
        for view in books.node.reader.block_events(height):
            member, event = view.event.member, view.event
            if not view.outcome.applied:
                continue
            if event.kind == PAYMENT_TOTALS:
                told: PaymentTotals = decoder_of(PaymentTotals).decode(event.body)
                if told.counterparty in CODES and told.counterparty != member:
                    parties = tuple(sorted((member, told.counterparty)))
                    said[Key(parties, told.day, told.currency)].append((member, told.lines))  # type: ignore[arg-type]  # two
            elif event.kind == PAYMENT_STATEMENT:
                body: PaymentStatement = decoder_of(PaymentStatement).decode(event.body)
                ends = {agent.role: codes.get(agent.code, "") for agent in body.agents}
                payer, payee = ends[AgentRole.DEBTOR_AGENT], ends[AgentRole.CREDITOR_AGENT]
                if member not in (payer, payee) or body.status is Status.REJECTED or not body.pair_key:
                    continue
                other = payee if member == payer else payer
                returned = body.status is Status.RETURNED
                sends = (body.side is Side.DEBTOR) != returned
                sender = member if sends else other
                amount = b"".join(token.token for token in body.tokens[:1])
                leg, name = ("return", body.pair_key + amount) if returned else ("payment", body.pair_key)
                place = name, tuple(sorted((member, other))), leg
                before = words[place].get(member)
                if body.settlement_date or before is None or not before[-1]:
                    day = body.settlement_date or day_of(body.time_ms)
                    words[place][member] = (day, body.currency, sender, amount, body.settlement_date)
    found: dict[Any, dict[Any, dict[str, Any]]] = defaultdict(lambda: defaultdict(dict))
    for (pair_key, parties, leg), each in words.items():
        for member, (day, currency, sender, amount, _) in each.items():
            found[Key(parties, day, currency)][sender, leg, pair_key][member] = amount
    return found, said


def bits(key_: Key, each: dict[str, Any]) -> int:
    if len(each) == 1:
        return FIRST if key_.parties[0] in each else SECOND
    one, other = each.values()
    return BOTH | UNLIKE if one != other else BOTH


def everything(reader: TotalsReader, asked: TotalsAsked = ALL, **how: Any) -> list[FoundTotals]:
    found: list[FoundTotals] = []
    after = None
    while True:
        page, after = reader.page(asked, 2, after, descending=how.get("descending", False))
        found += page
        if after is None:
            return found


def payments(reader: TotalsReader, at: Key, *, differences: bool, descending: bool = False) -> dict[Any, int]:
    found: dict[Any, int] = {}
    after = None
    while True:
        page, after = reader.payments(at, 1, after, differences=differences, descending=descending)
        for item in page:
            found[at.parties[item.line.sender], item.line.leg.value, item.pair_key + item.part] = item.bits
        if after is None:
            return found


def agrees(books: Books) -> None:
    counted, said = plainly(books)
    reader = books.reader.totals
    listed = {item.key: item for item in everything(reader)}
    assert list(listed) == sorted(listed, key=lambda at: (at.day, at.parties, at.currency))
    assert list(listed) == [item.key for item in everything(reader, descending=True)][::-1]
    assert listed.keys() == {at for at, each in counted.items() if each} | said.keys()
    states = [0, 0, 0, 0]
    for at, item in listed.items():
        expected = {where: bits(at, each) for where, each in counted[at].items()}
        assert payments(reader, at, differences=False) == expected
        assert (
            list(payments(reader, at, differences=False, descending=True))
            == list(payments(reader, at, differences=False))[::-1]
        )
        assert payments(reader, at, differences=True) == {
            where: each for where, each in expected.items() if each != BOTH
        }
        assert item.numbers.unlike == len(payments(reader, at, differences=True))
        for number, one in enumerate(ALL_LINES):
            for side, member in enumerate(at.parties):
                mine = [
                    name
                    for (sender, leg, name), each in counted[at].items()
                    if (sender, leg) == (at.parties[one.sender], one.leg.value) and member in each
                ]
                assert item.numbers.of(number, side) == len(mine)
        for side, member in enumerate(at.parties):
            assert [each.lines for each in item.stated[side]] == [lines for who, lines in said[at] if who == member]
        states[item.state] += 1
        assert reader.find(at) == item
    assert reader.counts() == TotalsCounts(*states[1:])
    for state in TotalsState:
        assert len(everything(reader, TotalsAsked(state))) == states[state]
    fresh = MemoryStore()
    again = ReconciliationFollower(fresh, books.node.reader)
    while again.follow(books.height, 1):
        pass
    assert list(fresh.iterate(b"p", b"q")) == list(books.store.iterate(b"p", b"q"))


def test_totals_of_two_banks_meet_and_payments_that_one_leaves_out_are_found() -> None:
    books = Books()
    for number in (1, 2):
        books.tell("bank-a", pair_key=key(number))
    books.tell("bank-b", pair_key=key(1))
    books.total("bank-a", totals("bank-b", line(Flow.SENT, [key(1), key(2)], 2)))
    books.follow()
    (found,) = everything(books.reader.totals)
    assert (found.key, found.state, found.numbers.unlike) == (A_B, TotalsState.ONE_SIDED, 1)
    books.total("bank-b", totals("bank-a", line(Flow.RECEIVED, [key(1)], 1)))
    books.follow()
    agrees(books)
    assert everything(books.reader.totals)[0].state is TotalsState.DIFFERS
    assert payments(books.reader.totals, A_B, differences=True) == {("bank-a", "payment", key(2)): FIRST}
    books.tell("bank-b", pair_key=key(2))
    books.total("bank-b", totals("bank-a", line(Flow.RECEIVED, [key(1), key(2)], 2)))
    books.follow()
    agrees(books)
    (found,) = everything(books.reader.totals)
    assert (found.state, found.numbers.unlike, len(found.stated[1])) == (TotalsState.AGREED, 0, 2)


def test_no_block_by_earlier_rules_holds_totals() -> None:
    with pytest.raises(BlockRefused, match=r"payment\.totals is of later rules"):
        Books(rules=3).total("bank-a", totals("bank-b"))


def test_what_changed_in_a_block_is_told() -> None:
    books = Books()
    books.total("bank-b", totals("bank-a"))
    books.total("bank-a", totals("bank-b", line(Flow.SENT, [key(1)])))
    books.total("bank-a", totals("bank-b"))
    books.follow()
    told = [books.reader.totals.changes(height) for height in range(4)]
    assert [[(each.member, each.before.name, each.state.name) for each in block] for block in told] == [
        [], [("bank-b", "UNSTATED", "ONE_SIDED")], [("bank-a", "ONE_SIDED", "DIFFERS")],
        [("bank-a", "DIFFERS", "AGREED")],
    ]  # fmt: skip
    assert books.reader.totals.counts() == TotalsCounts(agreed=1)


@pytest.mark.parametrize("counterparty", ["bank-a", "nobody"])
def test_totals_with_oneself_or_with_no_member_concern_nobody(counterparty: str) -> None:
    books = Books()
    books.total("bank-a", totals(counterparty))
    books.follow()
    assert everything(books.reader.totals) == []
    assert books.reader.totals.counts() == TotalsCounts()


def test_of_a_member_the_newest_totals_are_kept_and_the_others_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(totals_rows, "STATED_MAX", 2)
    books = Books()
    for number in range(4):
        books.total("bank-a", totals("bank-b", line(Flow.SENT, [key(number)])))
    books.follow()
    (found,) = everything(books.reader.totals)
    assert [each.height for each in found.stated[0]] == [3, 4]
    assert found.left_out == (2, 0)


def test_a_page_looks_at_a_bounded_number_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(totals_reading, "LOOKED_AT_MAX", 1)
    books = Books()
    for number in range(3):
        books.tell("bank-a", pair_key=key(number))
        books.tell("bank-b", pair_key=key(number))
    books.tell("bank-a", pair_key=key(7))
    books.total("bank-c", totals("bank-b"))
    books.follow()
    _, after = books.reader.totals.payments(A_B, 5, None, differences=True)
    assert after is not None
    assert payments(books.reader.totals, A_B, differences=True) == {("bank-a", "payment", key(7)): FIRST}
    assert books.reader.totals.page(TotalsAsked(member="bank-c"), 5, None, descending=False)[1] is not None
    (found,) = everything(books.reader.totals, TotalsAsked(member="bank-c"))
    assert found.key.parties == ("bank-b", "bank-c")


def test_a_root_is_made_of_a_bounded_number_of_payments(monkeypatch: pytest.MonkeyPatch) -> None:
    books = Books()
    books.tell("bank-a", pair_key=key(1))
    books.tell("bank-b", pair_key=key(2))
    books.follow()
    reader = books.reader.totals
    (found,) = everything(reader)
    assert reader.roots(found) == {0: tuple(payments_root([key(number)]) for number in (1, 2))}
    monkeypatch.setattr(totals_reading, "ROOTED_MAX", 1)
    assert reader.roots(found) == {}
    monkeypatch.setattr(totals_reading, "ROOTED_MAX", 2)
    books.tell("bank-a", pair_key=key(3), side=Side.CREDITOR)
    books.follow()
    (found,) = everything(reader)
    assert list(reader.roots(found)) == [0], "those before are of enough already"


def test_a_payment_that_a_member_counts_elsewhere_says_where() -> None:
    books = Books()
    books.tell("bank-a", pair_key=key(1))
    books.tell("bank-b", pair_key=key(1), settlement_date=2026_01_02)
    books.follow()
    ((item,), _) = books.reader.totals.payments(A_B, 5, None, differences=True)
    assert (item.bits, item.said[1]) == (FIRST, None)
    ((at, line_, words),) = item.elsewhere
    assert (at.day, line_, words[0], words[1] is not None) == (2026_01_02, ALL_LINES[0], None, True)


def test_a_statement_that_moves_a_payment_to_another_day_takes_it_out_of_the_first() -> None:
    books = Books()
    books.tell("bank-a", pair_key=key(1))
    books.follow()
    books.tell("bank-a", pair_key=key(1), settlement_date=2026_01_05)
    books.follow()
    agrees(books)
    assert [item.key.day for item in everything(books.reader.totals)] == [2026_01_05]


def test_a_block_that_could_not_be_written_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    books = Books()
    books.tell("bank-a", pair_key=key(1))
    books.total("bank-a", totals("bank-b"))
    write, left = books.store.write, [2]

    def failing(puts: Any, *, sync: bool) -> None:
        left[0] -= 1
        if left[0] in (0, 1):
            raise StorageError("the disk is full")
        write(puts, sync=sync)

    books.follower.follow(0, 1)
    monkeypatch.setattr(books.store, "write", failing)
    for _ in range(2):
        with pytest.raises(StorageError):
            books.follow()
    books.follow()
    agrees(books)


STATEMENTS = st.tuples(
    st.just("statement"),
    st.sampled_from(BANKS),
    st.sampled_from([("bank-a", "bank-b"), ("bank-b", "bank-c"), ("bank-b", "bank-a")]),
    st.integers(0, 2),
    st.sampled_from([Status.ACCEPTED, Status.SETTLED, Status.RETURNED, Status.REJECTED]),
    st.sampled_from([0, 2026_01_02]),
    st.sampled_from(["CNY", "USD"]),
    st.sampled_from(["1", "2"]),
)
TOTALS = st.tuples(
    st.just("totals"),
    st.sampled_from(BANKS),
    st.sampled_from([*BANKS, "nobody"]),
    st.sampled_from(Flow),
    st.integers(1, 2),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.one_of(STATEMENTS, TOTALS), max_size=10), st.integers(1, 3))
def test_whatever_is_told_the_index_is_what_a_plain_reading_gives(told: list[Any], pieces: int) -> None:
    books = Books()
    for what, member, *rest in told:
        if what == "totals":
            other, flow, count = rest
            books.total(member, totals(other, line(flow, map(key, range(count)), leg=TotalsLeg.PAYMENT)))
        else:
            ends, number, status, date, currency, amount = rest
            side = Side.DEBTOR if member == ends[0] else Side.CREDITOR
            fields = {"status": status, "settlement_date": date, "currency": currency, "tokens": tokens(amount=amount)}
            books.tell(member, side=side, agents=agents(*ends), pair_key=key(number), **fields)
        books.follow(pieces)
    books.follow(pieces)
    agrees(books)


def test_the_largest_sum_in_clear_stands_in_totals() -> None:
    books = Books()
    largest = replace(line(Flow.SENT, [key(1)]), amount=MINOR_UNITS_MAX)
    books.total("bank-a", totals("bank-b", largest))
    books.follow()
    agrees(books)
    (found,) = everything(books.reader.totals)
    stated = lines_of(found.stated[0][-1], 0)
    assert [each.amount for each in stated.values()] == [MINOR_UNITS_MAX]
