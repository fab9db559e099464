"""The index of reconciliation says what the engine says of the whole log: at any height, in pieces, after a restart."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import astuple, replace

from ledger import reconciliation_index, reconciliation_reading, reconciliation_rows
from ledger.payments import AgentRecord, AgentRole, AgentScheme, PaymentStatement, Side, Status
from ledger.reconciliation import Standing, reconcile
from ledger.reconciliation_index import ReconciliationFollower
from ledger.reconciliation_reading import Asked, Found, ReconciliationReader, Spot
from ledger.reconciliation_rows import BUILD_AGAIN, FOLLOWED_KEY, PAYMENTS, Counts, day_of
from ledger.reconciliation_statements import Partners, said_of
from ledger.store import MemoryStore
from primitives.encoding import decoder_of, encode
from primitives.errors import StorageError
from tests.ledger.reconciliation_fixtures import BANKS, CODES, DAY, KEY, Books, agents, body, tokens

ALL = Asked()
OTHER = tokens(amount="CNY 2.00")


def key(number: int) -> bytes:
    return sha256(b"payment %d" % number).digest()


def scan(books: Books, height: int) -> dict[bytes, list[Any]]:
    """Return what the engine says of every pair key, out of all blocks up to a height."""
    told: dict[bytes, list[Any]] = {}
    codes = {code: bank for bank, code in CODES.items()}
    for at in range(1, height + 1):
        for view in books.node.reader.block_events(at):
            statement: PaymentStatement = decoder_of(PaymentStatement).decode(view.event.body)
            if not statement.pair_key or not view.outcome.applied:
                continue
            banks = {agent.role: codes.get(agent.code, "") for agent in statement.agents}
            ends = [banks.get(AgentRole.DEBTOR_AGENT, ""), banks.get(AgentRole.CREDITOR_AGENT, "")]
            other = next((end for end in ends if end != view.event.member), "") if view.event.member in ends else ""
            one = said_of(statement, view.event.member, other, at, view.position.index, int(view.time_ms))
            told.setdefault(statement.pair_key, []).append(one)
    header = books.node.reader.header(height)
    return {name: reconcile(said, int(header.time_ms)) for name, said in told.items()}


def everything(reader: ReconciliationReader, height: int, asked: Asked = ALL, **how: Any) -> list[Found]:
    """Return a whole list, a page of two at a time."""
    found: list[Found] = []
    after: Spot | None = None
    while True:
        page, after = reader.page(asked, height, 2, after, descending=how.get("descending", False))
        found += page
        if after is None:
            return found


def agrees(books: Books) -> None:
    """Every list, count and payment is what a scan of the log gives."""
    expected = scan(books, books.height)
    views = {(name, view.parties): view for name, each in expected.items() for view in each}
    reader, height = books.reader, int(books.reader.height() or 0)
    assert height == books.height
    for name, each in expected.items():
        assert sorted(item.view for item in reader.find(name, height)) == sorted(each)
    for state in (None, *Standing):
        for member in (None, *BANKS):
            for other in (None, "bank-b"):
                asked = Asked(state, member, other)
                fitting = {
                    at
                    for at, view in views.items()
                    if state in (None, view.state) and all(one in (None, *view.parties) for one in (member, other))
                }
                found = everything(reader, height, asked)
                assert {(item.pair_key, item.view.parties) for item in found} == fitting, asked
                assert [item.spot for item in found] == sorted({item.spot for item in found})
                assert everything(reader, height, asked, descending=True) == found[::-1]
                counted = astuple(reader.counts(asked))
                if state is not None:
                    assert counted[state - 1] == len(fitting), asked
    agrees_anew(books)


def agrees_anew(books: Books) -> None:
    """An index that is made anew holds the same rows."""
    fresh = MemoryStore()
    again = ReconciliationFollower(fresh, books.node.reader)
    while again.follow(books.height, 1):
        pass
    assert list(fresh.iterate(b"p", b"q")) == list(books.store.iterate(b"p", b"q"))


def test_each_state_is_listed_and_counted() -> None:
    books = Books()
    books.tell("bank-a", pair_key=key(1))
    books.follow()
    agrees(books)
    books.tell("bank-b", pair_key=key(1))
    books.tell("bank-a", pair_key=key(2))
    books.tell("bank-b", pair_key=key(2), tokens=OTHER)
    books.tell("bank-a", pair_key=key(3))
    books.tell("bank-b", pair_key=key(3))
    books.tell("bank-b", pair_key=key(3), tokens=OTHER)
    books.tell("bank-b", pair_key=key(4), agents=agents("bank-b", "bank-c"))
    books.follow(1)
    agrees(books)
    books.wait(DAY)
    books.tell("bank-c", agents=agents("bank-c", "bank-d"), pair_key=key(5))
    books.follow()
    agrees(books)
    assert astuple(books.reader.counts(Asked())) == (1, 1, 1, 1, 1, 0)
    assert astuple(books.reader.counts(Asked(member="bank-c"))) == (0, 1, 1, 0, 0, 0)


def test_a_payment_passes_its_deadline_with_the_block_whose_time_has_reached_it() -> None:
    books = Books()
    books.tell("bank-a")
    first_ms = int(books.node.reader.header(1).time_ms)
    books.wait(DAY - 1_000)
    books.follow()
    (found,) = everything(books.reader, 2)
    assert found.view.state is Standing.ONE_SIDED
    assert int(books.node.reader.header(2).time_ms) == first_ms + DAY - 500
    books.wait(0)
    books.follow()
    assert int(books.node.reader.header(3).time_ms) == first_ms + DAY
    (found,) = everything(books.reader, 3)
    assert (found.view.state, books.reader.counts(Asked()).orphan) == (Standing.ORPHAN, 1)
    (change,) = books.reader.changes(3)
    assert (change.before, change.state) == (Standing.ONE_SIDED, Standing.ORPHAN)
    assert books.reader.pair_key(change) == KEY.hex()
    books.tell("bank-b")
    books.follow()
    (found,) = everything(books.reader, 4)
    assert (found.view.state, found.view.legs[0].late) == (Standing.MATCHED, True)
    agrees(books)


@pytest.mark.parametrize("stops_after", [0, 1, 2, 3, 9])
def test_very_many_that_are_due_at_once_go_in_pieces_also_over_a_restart(
    monkeypatch: pytest.MonkeyPatch, stops_after: int
) -> None:
    monkeypatch.setattr(reconciliation_index, "DUE_A_WRITE", 2)
    books = Books()
    for number in range(7):
        books.tell("bank-a", pair_key=key(number), tokens=OTHER)
    for number in (0, 1, 0):
        books.tell("bank-a", pair_key=key(number), tokens=tokens(amount="CNY 3.00"))
    books.follow()
    books.node.now += DAY
    books.tell("bank-b", pair_key=key(5), tokens=OTHER)
    largest = 0
    write = books.store.write

    def written(puts: Any, *, sync: bool) -> None:
        nonlocal largest
        puts = list(puts)
        largest = max(largest, sum(name.startswith(PAYMENTS) for name, _ in puts))
        write(puts, sync=sync)

    monkeypatch.setattr(books.store, "write", written)
    for _ in range(stops_after):
        books.follower.follow(books.height, 1)
    books.follower = ReconciliationFollower(books.store, books.node.reader)
    books.follow(1)
    assert largest == 2
    agrees(books)
    changes = books.reader.changes(books.height)
    assert {change.state for change in changes} == {Standing.ORPHAN, Standing.MATCHED}
    assert len(changes) == 6


def test_statements_without_a_pair_key_stand_alone_and_are_counted() -> None:
    books = Books()
    books.tell("bank-a", pair_key=b"", tokens=[])
    books.tell("bank-a", pair_key=b"", tokens=[])
    books.follow()
    assert not everything(books.reader, 2)
    assert books.reader.counts(Asked(member="bank-a")) == Counts(unpaired=2)
    assert books.reader.counts(Asked(member="bank-b")) == Counts()


def test_a_customer_s_order_waits_for_no_other_bank_and_is_counted() -> None:
    books = Books()
    books.tell("bank-a", message_type="pain.001.001.09", status=Status.RECEIVED, tokens=OTHER)
    books.wait(2 * DAY)
    books.follow()
    assert everything(books.reader, books.height, Asked(member="bank-a")) == []
    assert books.reader.counts(Asked(member="bank-a")).unpaired == 1
    books.tell("bank-a")
    books.tell("bank-b")
    books.follow()
    (found,) = everything(books.reader, books.height, Asked(member="bank-a"))
    assert found.view.state is Standing.MATCHED
    agrees_anew(books)


def test_a_statement_that_was_not_applied_is_nobody_s_word() -> None:
    books = Books()
    books.tell("bank-a")
    books.tell("lab")
    books.follow()
    assert not books.node.reader.block_events(2)[0].outcome.applied
    (found,) = everything(books.reader, 2)
    assert (found.view.state, found.view.intruders) == (Standing.ONE_SIDED, ())


def test_a_day_s_list_holds_what_began_on_that_day() -> None:
    books = Books()
    books.tell("bank-a", pair_key=key(1))
    books.wait(DAY)
    books.tell("bank-a", pair_key=key(2))
    books.tell("bank-b", pair_key=key(1))
    books.follow()
    today = day_of(int(books.node.reader.header(1).time_ms))
    days = [[item.pair_key for item in everything(books.reader, 4, Asked(day=today + n))] for n in (-1, 0, 1, 2)]
    assert days == [[], [key(1)], [key(2)], []]
    assert books.reader.counts(Asked(day=today)) == Counts(matched=1)
    assert books.reader.counts(Asked(day=today + 1)) == Counts(one_sided=1)


def test_it_goes_on_after_a_restart_and_begins_anew_where_it_is_another_s() -> None:
    books = Books()
    books.tell("bank-a", pair_key=key(1))
    books.follow()
    books.tell("bank-b", pair_key=key(1))
    books.tell("bank-a", pair_key=b"", tokens=[])
    books.follower = ReconciliationFollower(books.store, books.node.reader)
    assert books.follower.height == 1
    books.follow()
    agrees(books)
    other = Books()
    other.node.now += 1
    other.tell("bank-c", pair_key=key(9), agents=agents("bank-c", "bank-d"))
    other.store = books.store
    other.follower = ReconciliationFollower(other.store, other.node.reader)
    assert other.follower.height is None
    assert not list(other.store.iterate(b"p", b"q"))


def test_a_damaged_row_is_named() -> None:
    books = Books()
    books.tell("bank-a")
    books.follow()
    ((row, _),) = books.store.iterate(PAYMENTS, PAYMENTS + b"\xff" * 9)
    books.store.write([(row, b"nonsense")], sync=False)
    with pytest.raises(StorageError, match="damaged") as raised:
        books.reader.find(KEY, 1)
    assert raised.value.hint == BUILD_AGAIN
    books.store.write([(row, None)], sync=False)
    books.tell("bank-b")
    with pytest.raises(StorageError, match="a row is missing"):
        books.follow()
    books.store.write([(FOLLOWED_KEY, b"nonsense")], sync=False)
    with pytest.raises(StorageError, match="damaged"):
        ReconciliationFollower(books.store, books.node.reader)


def test_a_member_that_repeats_itself_without_end_is_left_out_and_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciliation_index, "STATEMENTS_A_MEMBER_MAX", 3)
    books = Books()
    books.tell("bank-a")
    for _ in range(5):
        books.tell("bank-c", agents=agents("bank-c", "bank-a"))
    books.tell("bank-b")
    books.follow()
    found = {item.view.parties: item for item in books.reader.find(KEY, 7)}
    assert found["bank-a", "bank-b"].view.state is Standing.MATCHED
    assert (len(found["bank-a", "bank-c"].view.legs[0].said), found["bank-a", "bank-c"].left_out) == (3, 2)


def test_what_a_member_says_beyond_its_number_is_counted_and_not_reconciled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciliation_index, "STATEMENTS_A_MEMBER_MAX", 2)
    books = Books()
    for _ in range(2):
        books.tell("bank-a")
    books.follow()
    monkeypatch.setattr(reconciliation_index, "reconcile", lambda *_: pytest.fail("reconciled again"))
    books.tell("bank-a")
    books.follow()
    monkeypatch.undo()
    (found,) = books.reader.find(KEY, books.height)
    assert (found.left_out, len(found.view.legs[0].said)) == (1, 2)
    monkeypatch.setattr(reconciliation_index, "STATEMENTS_A_MEMBER_MAX", 2)
    books.node.now += DAY
    books.tell("bank-a")
    books.follow()
    (found,) = everything(books.reader, books.height, Asked(Standing.ORPHAN))
    assert found.left_out == 2
    agrees_anew(books)


def test_a_page_looks_at_a_bounded_number_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciliation_reading, "LOOKED_AT_MAX", 2)
    books = Books()
    for number in range(5):
        books.tell("bank-a", pair_key=key(number))
    books.tell("bank-b", pair_key=key(4))
    books.follow()
    page, after = books.reader.page(Asked(Standing.MATCHED), 6, 10, None, descending=False)
    assert (page, after) == ([], (2, 0, "bank-a", "bank-b"))
    assert [item.pair_key for item in everything(books.reader, 6, Asked(Standing.MATCHED))] == [key(4)]


def test_an_answer_for_a_height_knows_nothing_of_later_blocks() -> None:
    books = Books()
    books.tell("bank-a")
    books.tell("bank-b")
    books.follow()
    assert [item.view.state for item in books.reader.find(KEY, 1)] == [Standing.ONE_SIDED]
    assert [item.view.state for item in books.reader.find(KEY, 2)] == [Standing.MATCHED]


def test_old_changes_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciliation_rows, "CHANGES_KEPT", 10)
    books = Books()
    for number in range(64):
        books.tell("bank-a", pair_key=key(number))
    books.follow()
    assert books.reader.first_changes() == 54
    assert [len(books.reader.changes(height)) for height in (53, 54)] == [0, 1]


class Codes:
    """A state in which these codes are members'."""

    def __init__(self, **members: str) -> None:
        self._members = members

    def get(self, name: str, type_: type[Any]) -> Any:
        member = self._members.get(name.removeprefix("agent/"))
        return None if member is None else type_(member)


def hop(*codes: tuple[AgentRole, str]) -> bytes:
    return encode([AgentRecord(role, AgentScheme.BIC, code) for role, code in codes])


def test_the_other_side_is_at_the_other_end_of_the_hop() -> None:
    partners = Partners(Codes(BKAACNBJXXX="bank-a", BKABCNBJ="bank-b", BKACCNBJXXX="bank-c"))
    passed = hop(
        (AgentRole.DEBTOR_AGENT, "BKAACNBJ"),
        (AgentRole.CREDITOR_AGENT, "BKACCNBJ"),
        (AgentRole.INSTRUCTING_AGENT, "BKAACNBJ123"),
        (AgentRole.INSTRUCTED_AGENT, "BKABCNBJXXX"),
    )
    assert partners.other("bank-a", Side.DEBTOR, passed).member == "bank-b"
    assert partners.other("bank-b", Side.INTERMEDIARY, passed).member == "bank-a"
    assert partners.other("bank-c", Side.CREDITOR, passed).member == "bank-a"
    assert partners.other("bank-d", Side.CREDITOR, passed).member == ""
    assert partners.other("bank-d", Side.SWITCH, passed).member == "bank-a"
    assert partners.other("bank-a", Side.DEBTOR, hop((AgentRole.DEBTOR_AGENT, "BKAACNBJ"))).member == ""
    assert partners.other("bank-a", Side.SWITCH, hop((AgentRole.DEBTOR_AGENT, "BKAACNBJ"))).member == ""


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(
            st.sampled_from(BANKS[:3]),
            st.sampled_from([("bank-a", "bank-b"), ("bank-b", "bank-c"), ("bank-c", "bank-a")]),
            st.integers(0, 2),
            st.sampled_from([Status.ACCEPTED, Status.SETTLED, Status.RETURNED]),
            st.sampled_from([1, DAY // 3]),
        ),
        max_size=8,
    ),
    st.integers(1, 3),
)
def test_whatever_is_told_the_index_is_what_a_scan_gives(told: list[Any], pieces: int) -> None:
    books = Books()
    for member, ends, number, status, wait in told:
        books.node.now += wait
        each = replace(body(), side=Side.DEBTOR, status=status, pair_key=key(number), agents=agents(*ends))
        books.commit((member, replace(each, tokens=tokens(amount=str(wait)))))
        if number:
            books.follow(pieces)
    books.wait(DAY // 2)
    books.follow(pieces)
    agrees(books)
