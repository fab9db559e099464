"""Finding certificates: every filter, alone and with others, at every height, against looking at each by itself."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger.certificate_index import (
    CHUNK_BYTES,
    FACETED_STATES,
    Facet,
    Numbers,
    folded,
    numbers_by_text,
    state_after,
)
from ledger.certificate_reading import CertificatesAsOf, Found
from ledger.certificate_records import State, Status
from ledger.certificate_search import MONTHS_MAX, Filters, candidates, months_between, search
from ledger.certificates import ROWS
from ledger.index_places import Index
from ledger.index_reader import IndexReader
from ledger.indexes import IndexFollower
from ledger.scheme_events import SCHEME_ROWS
from ledger.store import MemoryStore
from tests.ledger.certificate_list_fixtures import (
    BLOCK_MS,
    DAY_MS,
    HOLDER_IDS,
    NAMES,
    Register,
    naive,
)
from tests.ledger.chain_fixtures import START_MS

BLOCKS = 60
FROM_THE_FIRST = Numbers()


@pytest.fixture(scope="module")
def register() -> Register:
    made = Register()
    made.grow(BLOCKS)
    assert len(made.kept[-1]) > 50
    return made


def found_by(
    register: Register, filters: Filters, height: int, time_ms: int, numbers: Numbers = FROM_THE_FIRST
) -> list[str]:
    header = register.reader.header(height)
    assert header is not None
    walk = search(register.index, CertificatesAsOf(register.reader, header), time_ms, filters, numbers)
    return [number for number, item in walk if item is not None]


def filters_of(register: Register) -> st.SearchStrategy[Filters]:
    numbers = sorted(register.kept[-1])
    beginnings = st.builds(lambda number, size: number[:size], st.sampled_from(numbers), st.integers(0, 20))
    parts = st.sampled_from([*NAMES, "bank", "BANK", "支付", "pos", "STRASSE", "term", "ct-", "型", "&", "nobody", " "])
    times = st.integers(START_MS - 450 * DAY_MS, START_MS + 1_500 * DAY_MS)
    one = st.none()
    return st.builds(
        Filters,
        number=st.just("") | beginnings,
        holder=one | st.sampled_from(["bank-a", "bank-b", "vendor", "nobody"]),
        holder_name=one | parts,
        holder_id=one | st.sampled_from([each for each in HOLDER_IDS if each]),
        product=one | parts,
        category=one | st.sampled_from([1, 6, 9, 12, 13]),
        catalogue=one | st.sampled_from([1, 2, 3]),
        status=one | st.sampled_from(list(Status)),
        granted_from_ms=one | times,
        granted_to_ms=one | times,
        until_from_ms=one | times,
        until_to_ms=one | times,
    )


def mostly_open(data: st.DataObject, filters: Filters) -> Filters:
    """Leave most filters out, so that something is found at all."""
    names = [each.name for each in dataclasses.fields(Filters)]
    kept = set(data.draw(st.lists(st.sampled_from(names), max_size=3)))
    return dataclasses.replace(
        filters, **{name: "" if name == "number" else None for name in names if name not in kept}
    )


def asked_by(filters: Filters) -> list[str]:
    """Return the names of the filters that are set, with statuses as words."""
    given = {each.name: getattr(filters, each.name) for each in dataclasses.fields(Filters)}
    return [str(value) if name == "status" else name for name, value in given.items() if value] or ["none"]


@given(data=st.data())
def test_a_search_finds_what_looking_at_each_certificate_finds(register: Register, data: st.DataObject) -> None:
    filters = mostly_open(data, data.draw(filters_of(register)))
    height = data.draw(st.integers(0, len(register.kept) - 1) | st.just(len(register.kept) - 1))
    header = register.reader.header(height)
    assert header is not None
    # A time for which the record as of that block speaks: from the block's own up to the next one's.
    time_ms = header.time_ms + data.draw(st.integers(0, BLOCK_MS - 1))
    descending = data.draw(st.booleans())
    wanted = naive(register, filters, height, time_ms)
    assert found_by(register, filters, height, time_ms) == wanted
    after = data.draw(st.none() | st.sampled_from(sorted(register.kept[-1])))
    rest = [n for n in wanted if after is None or (n < after if descending else n > after)]
    for granted_by in (None, height):
        walked = found_by(register, filters, height, time_ms, Numbers("", after, descending, granted_by))
        assert walked == (rest[::-1] if descending else rest)


def test_a_search_of_the_past_passes_over_what_was_granted_later(register: Register) -> None:
    header = register.reader.header(5)
    assert header is not None
    wanted = naive(register, Filters(), 5, header.time_ms)
    for filters in (
        Filters(),
        Filters(number="FTP"),
        Filters(category=6),
        Filters(product="ct"),
        Filters(holder="bank-a"),
    ):
        as_of = CertificatesAsOf(register.reader, header)
        looked_at = [n for n, _ in search(register.index, as_of, header.time_ms, filters, Numbers(height=5))]
        assert set(looked_at) <= set(register.kept[5]), "what later blocks granted is not looked at"
        assert as_of.past <= len(wanted)


def test_certificates_that_stand_far_apart_are_read_one_by_one(register: Register, monkeypatch) -> None:
    from ledger import certificate_reading

    monkeypatch.setattr(certificate_reading, "OTHERS_MAX", 0)
    header = register.reader.header(len(register.kept) - 1)
    assert header is not None
    numbers = sorted(register.kept[-1])
    apart = [numbers[0], numbers[-1]]
    as_of, read = CertificatesAsOf(register.reader, header), []
    monkeypatch.setattr(as_of, "find", lambda number, passes: read.append(number))
    assert [number for number, _ in as_of.find_each(apart)] == apart == read
    found = dict(CertificatesAsOf(register.reader, header).find_each(numbers))
    assert {number: item.certificate for number, item in found.items() if item is not None} == {
        number: item.certificate for number, item in register.kept[-1].items()
    }


@pytest.mark.parametrize(
    "filters",
    [
        Filters(number="FTP-2026-06"),
        Filters(holder="bank-b"),
        Filters(holder_name="PAY"),
        Filters(holder_name="支付"),
        Filters(holder_name="pos公司"),
        Filters(holder_name="STRASSE"),
        Filters(holder_id="HWUPKR0MPOU8FGXBT394"),
        Filters(product="ct-9"),
        Filters(product="型号"),
        Filters(category=9),
        Filters(catalogue=2),
        Filters(status=Status.SUSPENDED),
        Filters(status=Status.REVOKED),
        Filters(status=Status.CANCELLED),
        Filters(status=Status.EXPIRED),
        Filters(status=Status.NOT_YET_VALID),
        Filters(granted_from_ms=START_MS, granted_to_ms=START_MS + 40 * DAY_MS),
        Filters(until_from_ms=START_MS, until_to_ms=START_MS + 300 * DAY_MS),
    ],
    ids=lambda filters: "-".join(asked_by(filters)),
)
def test_each_filter_finds_some_and_leaves_some_out(register: Register, filters: Filters) -> None:
    height = len(register.kept) - 1
    time_ms = START_MS + height * BLOCK_MS
    wanted = naive(register, filters, height, time_ms)
    if filters != Filters(holder_name="PAY"):  # what stands in no name
        assert 0 < len(wanted) < len(register.kept[-1])
    assert found_by(register, filters, height, time_ms) == wanted


def test_what_a_certificate_was_is_found_at_a_height_where_it_was_and_not_where_it_is_not() -> None:
    register = Register()
    granted = register.granted(START_MS)
    term = {"valid_from_ms": START_MS, "valid_until_ms": START_MS + 30 * DAY_MS}
    found = Found(replace(granted.certificate, **term), granted.scheme)
    number = found.certificate.number
    register.commit(found)
    for state in (State.SUSPENDED, State.ACTIVE):
        changed = register.changed(found, START_MS)
        while changed.certificate.state is not state:
            changed = register.changed(found, START_MS)
        register.commit(changed)
        register.follow()
    suspended = Filters(status=Status.SUSPENDED)
    times = [START_MS + height * BLOCK_MS for height in range(4)]
    assert [found_by(register, suspended, height, times[height]) for height in range(4)] == [[], [], [number], []]


def test_the_index_of_one_walk_over_many_blocks_is_that_of_many_walks(register: Register) -> None:
    at_once = Index(MemoryStore())
    follower = IndexFollower(at_once, register.reader)
    while follower.follow():
        pass
    of_certificates = (b"c", b"h", b"f", b"x")
    rows, others = (
        {key: value for key, value in index.store.iterate(b"", b"\xff") if key[:1] in of_certificates}
        for index in (at_once, register.places)
    )
    assert rows == others
    assert {key[:1] for key in rows} == set(of_certificates)


def test_texts_fill_more_than_one_chunk_and_are_all_found(register: Register) -> None:
    del register
    grown = Register(seed=2)
    for _ in range(4):
        some = {each.certificate.number: each for each in (grown.granted(START_MS) for _ in range(80))}
        new = [each for number, each in some.items() if number not in grown.kept[-1]]
        grown.commit(*new)
        grown.follow()
    chunks = [value for key, value in grown.places.store.iterate(b"x", b"y")]
    assert len(chunks) > 1
    assert all(len(chunk) < CHUNK_BYTES + 1_000 for chunk in chunks)
    answers = IndexReader(grown.reader, grown.places)
    assert answers.numbers_by_text(folded("Terminal"), Numbers()) == naive(
        grown, Filters(product="Terminal"), 4, START_MS + 4 * BLOCK_MS
    )


def test_a_text_that_stands_in_no_name_costs_no_look_at_any_certificate(register: Register) -> None:
    assert numbers_by_text(register.places.store, folded("Nowhere"), Numbers()) == []


@pytest.mark.parametrize(
    ("filters", "looked_at"),
    [
        (Filters(), "all"),
        (Filters(holder_id=HOLDER_IDS[0], category=6), Facet.HOLDER_ID),
        (Filters(status=Status.REVOKED, category=6), Facet.STATE),
        (Filters(until_from_ms=START_MS, until_to_ms=START_MS + DAY_MS, category=6), Facet.UNTIL_MONTH),
        (Filters(granted_from_ms=START_MS, granted_to_ms=START_MS + DAY_MS), Facet.FROM_MONTH),
        (Filters(category=6), Facet.CATEGORY),
        (Filters(product="x", holder="bank-a"), "text"),
        (Filters(holder="bank-a", category=6), "bank-a"),
        (Filters(status=Status.VALID), "all"),
        (Filters(until_from_ms=START_MS, until_to_ms=START_MS + 6 * 366 * DAY_MS), "all"),
        (Filters(number="FTP-2026-06-000123", holder_id=HOLDER_IDS[0]), "all"),
    ],
    ids=lambda each: "-".join(asked_by(each)) if isinstance(each, Filters) else "",
)
def test_the_filter_that_leaves_the_fewest_says_what_is_looked_at(filters: Filters, looked_at: object) -> None:
    class Told:
        asked: object = None

        def numbers(self, holder: str | None, numbers: Numbers) -> list[str]:
            self.asked = holder or "all"
            return []

        def numbers_by_facet(self, facet: Facet, values: object, numbers: Numbers) -> list[str]:
            self.asked = facet
            return []

        def numbers_by_text(self, text: str, numbers: Numbers) -> list[str]:
            self.asked = "text"
            return []

    told = Told()
    candidates(told, filters, Numbers())  # type: ignore[arg-type]  # lists for iterators
    assert told.asked == looked_at


def test_months_of_a_span_are_all_that_it_touches_and_none_where_it_is_open_or_long() -> None:
    day = START_MS + 30 * DAY_MS  # the last of January
    assert months_between(day, day) == ["2026-01"]
    assert months_between(day, day + DAY_MS) == ["2026-01", "2026-02"]
    assert months_between(START_MS - 1, START_MS) == ["2025-12", "2026-01"]
    assert months_between(START_MS, None) is None
    assert months_between(None, START_MS) is None
    assert months_between(START_MS, START_MS - 40 * DAY_MS) == []
    assert len(months_between(START_MS, START_MS + 1_800 * DAY_MS) or []) == MONTHS_MAX
    assert months_between(START_MS, START_MS + 1_830 * DAY_MS) is None


def test_the_index_knows_of_every_kind_of_event_into_which_state_it_leads() -> None:
    for body_type, row in {**ROWS, **SCHEME_ROWS}.items():
        told = state_after(body_type)
        states = {state for state in (row.to_state, *row.also_to) if state in FACETED_STATES}
        if told is None:
            continue  # then the certificate itself is asked
        assert states <= {told}, body_type
        assert told is State.ACTIVE or states == {told}, body_type
