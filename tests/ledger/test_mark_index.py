"""What the index has of marks: reports of misuse are found as looking at each finds them, events by certificate."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from msgspec.structs import replace

from ledger.committed_state import CommittedState
from ledger.index_places import Index
from ledger.index_reader import IndexReader
from ledger.indexes import IndexFollower
from ledger.mark_bodies import DecideMisuse, MarkBody, MisuseFinding
from ledger.mark_index import MARK_ROWS, MISUSE_STATES, UNDECIDED, mark_prefix, rows_at_base
from ledger.mark_records import MISUSE_COUNT_KEY, MisuseReport, read_count, read_report
from ledger.mark_search import MisuseAsOf, MisuseFilters, search_reports, state_of
from ledger.state_at import StateAt
from ledger.store import MemoryStore
from tests.ledger.certificate_fixtures import NUMBER
from tests.ledger.mark_chain_fixtures import MarkChain
from tests.ledger.mark_fixtures import LICENSE, REPORT, USE, WITHDRAW, document

OTHER_NUMBER = "FTP-2026-06-000002"
HOLDERS = {NUMBER: "bank-a", OTHER_NUMBER: "bank-a"}
EVERY = [
    MisuseFilters(number, member, state)
    for number in (None, NUMBER, OTHER_NUMBER, "FTP-2026-06-000777")
    for member in (None, "bank-a", "bank-b", "bank-c", "regulator", "cb")
    for state in (None, *MISUSE_STATES)
]


@dataclass
class Reported:
    """A chain with reports of misuse, the index beside it."""

    chain: MarkChain
    index: MemoryStore = field(default_factory=MemoryStore)

    def __post_init__(self) -> None:
        self.places = Index(self.index)
        self.follower = IndexFollower(self.places, self.chain.reader)
        self.answers = IndexReader(self.chain.reader, self.places)

    def follow(self) -> None:
        while self.follower.follow():
            pass

    def naive(self, filters: MisuseFilters, height: int) -> list[int]:
        """Return the numbers of the reports that fit, by looking at each as the block left it."""
        state = StateAt(self.chain.reader, height)
        found = []
        for number in range(1, read_count(state, MISUSE_COUNT_KEY) + 1):
            report = read_report(state, number)
            assert report is not None
            concerned = {report.reporter, report.holder, HOLDERS.get(report.number or "")}
            if (
                filters.number in (None, report.number)
                and filters.member in (None, *concerned)
                and filters.state in (None, state_of(report))
            ):
                found.append(number)
        return found

    def searched(self, filters: MisuseFilters, height: int, after: int | None = None, *, down: bool) -> list[int]:
        header = self.chain.reader.header(height)
        assert header is not None
        as_of = MisuseAsOf(self.chain.reader, header)
        walk = search_reports(self.answers, as_of, filters, after, descending=down)
        return [number for number, report in walk if report is not None]


def reported(*, follow_each: bool = True) -> Reported:
    """Return a chain on which reports about everything were brought, and some decided on, one of them twice."""
    found = Reported(MarkChain().licensed())
    found.chain.granted("bank-a.0002", OTHER_NUMBER)
    abouts: list[dict[str, str | None]] = [
        {"number": NUMBER, "holder": None, "product": None},
        {"number": OTHER_NUMBER, "holder": None, "product": None},
        {"number": None, "holder": "bank-c", "product": None},
        {"number": None, "holder": None, "product": "Terminal X"},
    ]
    chance, undecided = random.Random(5), list[int]()
    for number in range(1, 25):
        reporter = chance.choice(("bank-b", "bank-c", "regulator"))
        body = replace(REPORT, **chance.choice(abouts), evidence=(document(f"seen {number}", "bank-b"),))
        found.chain.act(reporter, "decider", body)
        undecided.append(number)
        if chance.random() < 0.6:
            place = undecided.pop(chance.randrange(len(undecided)))
            finding = chance.choice(list(MisuseFinding))
            found.chain.act("cb", "first", DecideMisuse(place, finding, "seen", ()))
            if finding is MisuseFinding.CONFIRMED and chance.random() < 0.5:
                found.chain.act("cb", "first", DecideMisuse(place, MisuseFinding.RESOLVED, "put_right", ()))
        if follow_each:
            found.follow()
    found.follow()
    return found


@pytest.fixture(scope="module")
def found() -> Reported:
    return reported()


def test_reports_are_found_as_looking_at_each_finds_them_as_of_every_block(found: Reported) -> None:
    tip, sizes = found.chain.chain.height, set[int]()
    for height in (tip, tip - 1, tip - 9, tip - 20, tip - 30):
        for filters in EVERY:
            if filters.state == UNDECIDED and height < tip:
                continue  # its rows are those of the newest block
            wanted = found.naive(filters, height)
            assert found.searched(filters, height, down=False) == wanted, filters
            assert found.searched(filters, height, down=True) == wanted[::-1], filters
            for after in wanted[:2]:
                assert found.searched(filters, height, after, down=False) == [each for each in wanted if each > after]
                assert (
                    found.searched(filters, height, after, down=True) == [each for each in wanted if each < after][::-1]
                )
            sizes.add(len(wanted))
    assert len(sizes) > 8


def test_what_is_undecided_is_found_without_looking_at_what_is_decided(found: Reported) -> None:
    header = found.chain.reader.header(found.chain.chain.height)
    assert header is not None
    as_of = MisuseAsOf(found.chain.reader, header)
    walk = search_reports(found.answers, as_of, MisuseFilters(state=UNDECIDED), None, descending=False)
    looked_at = [number for number, _ in walk]
    assert 2 < len(looked_at) < 20
    assert looked_at == found.naive(MisuseFilters(state=UNDECIDED), found.chain.chain.height)


def test_events_about_a_mark_are_found_by_its_certificate_rejected_ones_and_findings_too(found: Reported) -> None:
    of_other = found.answers.mark_events(OTHER_NUMBER, count=100)
    views = [found.chain.reader.event_at(place.height, place.index) for place in of_other]
    kinds = [view.event.kind for view in views if view is not None]
    assert set(kinds) == {29, 105}
    assert kinds.count(29) == len(found.naive(MisuseFilters(number=OTHER_NUMBER), found.chain.chain.height))
    first = found.answers.mark_events(NUMBER, count=1)[0]
    again = found.answers.mark_events(NUMBER, count=100, after=(first.height, first.index))
    assert found.answers.mark_events(NUMBER, count=100) == [first, *again]
    assert found.answers.mark_events(NUMBER, count=100, descending=True) == [*again[::-1], first]
    assert found.answers.mark_events("FTP-2026-06-00000", count=100) == []


def test_a_rejected_event_about_a_mark_is_found_and_makes_no_report() -> None:
    found = Reported(MarkChain().licensed())
    found.chain.act("bank-a", "first", USE)
    found.chain.block(("cb/first", LICENSE))  # rejected: one counts already
    found.chain.block(("bank-b/first", replace(REPORT, number=None, holder="nobody")))  # rejected
    found.chain.act("bank-b", "first", REPORT)
    found.chain.act("cb", "first", WITHDRAW)
    found.follow()
    height = found.chain.chain.height
    places = [place.height for place in found.answers.mark_events(NUMBER, count=9)]
    assert places == [height - 5, height - 4, height - 3, height - 1, height]
    assert found.searched(MisuseFilters(number=NUMBER), height, down=True) == [1]


def test_several_reports_of_one_block_are_told_apart() -> None:
    found = Reported(MarkChain().licensed())
    about: list[MarkBody] = [
        replace(REPORT, evidence=(document("1", "bank-b"),)),
        replace(REPORT, number=None, holder="bank-d", evidence=(document("2", "bank-b"),)),
        replace(REPORT, number=None, holder="bank-c", evidence=(document("3", "bank-b"),)),
    ]
    found.chain.block(*(("bank-b/first", body) for body in about))
    found.chain.act("bank-b", "first", replace(about[2], holder="bank-d"))
    found.follow()
    height = found.chain.chain.height
    for member in ("bank-a", "bank-b", "bank-c", "bank-d"):
        filters = MisuseFilters(member=member)
        assert found.searched(filters, height, down=False) == found.naive(filters, height) != []


def test_the_index_of_many_walks_is_that_of_one_and_that_of_a_state_has_what_counts() -> None:
    found = reported(follow_each=False)
    other = Reported(found.chain, MemoryStore())
    while other.follower.follow(1):
        pass
    for follower in (found.follower, other.follower):
        follower.close()

    def of_marks(store: MemoryStore) -> dict[bytes, bytes]:
        return {key: value for key, value in store.rows().items() if key[:1] in MARK_ROWS}

    assert of_marks(found.index) == of_marks(other.index)
    begun = MemoryStore()
    begun.write(list(rows_at_base(CommittedState(found.chain.reader.store))), sync=True)
    found.index.write([(key, None) for key in of_marks(found.index)], sync=True)
    found.index.write(list(begun.rows().items()), sync=True)
    height = found.chain.chain.height
    for filters in EVERY:
        assert found.searched(filters, height, down=False) == found.naive(filters, height)
    assert not [key for key in begun.rows() if key.startswith(mark_prefix("")[:1])]


def test_a_report_says_what_it_is(found: Reported) -> None:
    rows = [row for _, row in CommittedState(found.chain.reader.store).scan("mark-misuse/", MisuseReport)]
    assert {state_of(row) for row in rows} == set(MISUSE_STATES)
