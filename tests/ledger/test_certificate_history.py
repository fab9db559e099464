"""The whole history of a certificate: every list of its events but the true one is refused."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from msgspec.structs import replace

from ledger.base import NotHere
from ledger.certificate_bodies import Renew, Suspend
from ledger.certificate_history import (
    HISTORY_SIZE_MAX,
    CertificateHistory,
    HistoryVerdict,
    verify_certificate_history,
)
from ledger.certificate_history_reading import HistoryPage, make_certificate_history
from ledger.chain import Chain
from ledger.outcomes import APPLIED, prove_outcome
from ledger.reader import LedgerReader
from ledger.tlog_proofs import TlogProof, parse_tlog_proof
from primitives.encoding import decode, encode
from primitives.errors import InputError, ProofError, StorageError
from primitives.ids import ZERO_HASH, Hash
from tests.ledger.certificate_fixtures import CORRECTION, DAY_MS, DOCUMENTS, EVENTS, NUMBER, Restore, State, grant
from tests.ledger.certifying_fixtures import Certifying
from tests.ledger.snapshot_fixtures import made, make_stable, restored
from tests.ledger.test_snapshots import follow

SUCCESSOR = "FTP-2028-06-000002"
DAMAGED = 200
TWO_APPLIED = prove_outcome([APPLIED, APPLIED], 0)


class Life:
    """A certificate that was suspended and restored in one block, renewed, and then suspended for good.

    `ids` are its events'; beside them stand rejected ones, a repetition, another certificate's, and changes of the set.
    """

    def __init__(self) -> None:
        chain = Certifying()
        self.chain = chain
        self.ids: list[Hash] = chain.bring_to(State.ACTIVE)
        self.granted = chain.chain.height
        assert chain.block(("cb/first", Suspend("FTP-2026-06-000009", "unknown", None, None))).outcomes[0].rule
        both = chain.block(
            ("cb/first", Suspend(NUMBER, "inspection_failed", None, 3)), ("cb/first", Restore(NUMBER, CORRECTION))
        )
        assert [outcome.applied for outcome in both.outcomes] == [True, True]
        self.ids += map(Hash, both.event_ids)
        assert chain.block(("cb/first", Restore(NUMBER, CORRECTION))).outcomes[0].rule == "wrong_state"
        chain.next_epoch(1)
        chain.now_ms += 3 * 365 * DAY_MS - 60 * DAY_MS  # within the window for renewals
        chain.act("bank-a", "first", Renew("bank-a.0002", NUMBER, DOCUMENTS))
        for name in ("accept", "type_test", "site_check", "review"):
            member, desk, body = EVENTS[f"certificate.{name}"]
            chain.act(member, desk, replace(body, application="bank-a.0002"))
        self.renewing = Hash(chain.act("cb", "decider", grant("bank-a.0002", SUCCESSOR)))
        self.ids.append(self.renewing)
        chain.next_epoch(2)
        last = chain.event("cb", Suspend(NUMBER, "inspection_failed", None, 3))
        suspended = chain.events(("cb/first", last))
        self.ids.append(Hash(suspended.event_ids[0]))
        repeated = chain.events(("cb/first", last))
        assert repeated.outcomes[0].rule == "duplicate"
        self.repeated = chain.chain.height
        chain.stable()
        self.policy = chain.policy(0)

    def page(self, height: int | None = None, number: str = NUMBER, **options: int) -> HistoryPage:
        """Return a page of a history as of a height, by default the newest."""
        at = self.chain.chain.height if height is None else height
        page = make_certificate_history(self.chain.reader, number, at, **options)
        assert page is not None
        return page

    def proved(self, text: str, number: str = NUMBER) -> HistoryVerdict:
        return verify_certificate_history(text, self.policy, number)


@pytest.fixture(scope="module")
def life() -> Life:
    return Life()


def extra_of(text: str) -> CertificateHistory:
    return decode(CertificateHistory, parse_tlog_proof(text).extra, size_max=HISTORY_SIZE_MAX)


def changed(text: str, change: Callable[[CertificateHistory], CertificateHistory]) -> str:
    """Return a page with something in its extra data changed."""
    proof = parse_tlog_proof(text)
    return TlogProof(encode(change(extra_of(text))), proof.index, proof.path, proof.note).text()


def test_a_history_shows_all_events_of_a_certificate_from_its_application_on(life: Life) -> None:
    page = life.page()
    verdict = life.proved(page.proof)
    assert [event.event_id for event in verdict.events] == life.ids
    assert (verdict.first, verdict.count, page.next) == (0, len(life.ids), None)
    assert verdict.certificate is not None
    assert verdict.certificate.successor == SUCCESSOR
    assert verdict.events[-2].event_id == life.renewing
    headers = [life.chain.reader.header(event.height) for event in verdict.events]
    assert [event.time_ms for event in verdict.events] == [header.time_ms for header in headers if header is not None]


def test_a_history_is_that_of_the_height_that_was_asked_for(life: Life) -> None:
    verdict = life.proved(life.page(life.granted).proof)
    assert [event.event_id for event in verdict.events] == life.ids[:6]
    assert verdict.status.height == life.granted
    between = [life.proved(life.page(height).proof).count for height in range(life.chain.chain.height + 1)]
    assert between == sorted(between)
    assert set(between) == {0, 6, 8, 9, 10}


def test_of_a_certificate_that_there_is_not_the_absence_is_proved(life: Life) -> None:
    for number, height in ((NUMBER, life.granted - 1), ("FTP-2026-06-000009", None)):
        verdict = life.proved(life.page(height, number).proof, number)
        assert (verdict.certificate, verdict.events, verdict.count) == (None, (), 0)
        assert verdict.status.value is None


def test_a_successor_has_a_history_of_its_own(life: Life) -> None:
    verdict = life.proved(life.page(number=SUCCESSOR).proof, SUCCESSOR)
    assert verdict.count == 6
    assert verdict.events[-1].event_id == life.renewing


@pytest.mark.parametrize("size", [1, 2_500, 9_000])
def test_pages_show_together_what_one_page_shows(life: Life, size: int) -> None:
    shown, first, previous = [], 0, ZERO_HASH
    for _ in life.ids:
        page = life.page(first=first, page=size)
        verdict = life.proved(page.proof)
        assert (verdict.first, verdict.previous, verdict.count) == (first, previous, len(life.ids))
        assert len(verdict.events) == page.events
        shown += [event.event_id for event in verdict.events]
        previous = verdict.reached
        if page.next is None:
            break
        first = page.next
    assert shown == life.ids
    assert verdict.certificate is not None
    assert previous == verdict.certificate.history.hash


def test_a_page_beyond_the_end_is_refused(life: Life) -> None:
    for first in (len(life.ids), 99, -1):
        with pytest.raises(ProofError, match="page beyond the end"):
            life.page(first=first)


def test_a_height_that_no_checkpoint_covers_has_no_proof_yet() -> None:
    chain = Certifying()
    chain.bring_to(State.ACTIVE)
    assert make_certificate_history(chain.reader, NUMBER, chain.chain.height) is None
    chain.stable()
    assert make_certificate_history(chain.reader, NUMBER, chain.chain.height) is not None
    assert make_certificate_history(chain.reader, NUMBER, chain.chain.height + 1) is None


def moved(life: Life, page: str) -> str:
    """Return a history whose last event stands where it was repeated, with everything about that place true."""
    reader, height = life.chain.reader, life.repeated
    block = reader.block(height)
    assert block is not None
    size = life.chain.chain.log_size
    place = block.header.first_index

    def change(extra: CertificateHistory) -> CertificateHistory:
        last = replace(
            extra.events[-1],
            log_index=place,
            path=tuple(reader.log.inclusion(place, size)),
            header=block.header,
            header_path=tuple(reader.log.inclusion(block.log_index, size)),
            outcome=reader.outcome_proof(height, 0),
        )
        return replace(extra, events=(*extra.events[:-1], last))

    return changed(page, change)


CHANGES: dict[str, tuple[Callable[[CertificateHistory], CertificateHistory], str]] = {
    "an event left out": (lambda e: replace(e, events=e.events[1:]), "not as many"),
    "the last one left out": (lambda e: replace(e, events=e.events[:-1]), "not as many"),
    "one in place of another": (lambda e: replace(e, events=(*e.events[:-1], e.events[0])), "not those of the record"),
    "two swapped": (
        lambda e: replace(e, events=(e.events[1], e.events[0], *e.events[2:])),
        "not those of the record",
    ),
    "one said to stand before": (lambda e: replace(e, first=1, events=e.events[1:]), "not those of the record"),
    "another hash before": (lambda e: replace(e, previous=Hash(bytes(31) + b"\1")), "not those of the record"),
    "one told as its id": (
        lambda e: replace(e, events=e.events[:-1], later=(bytes(32),)),
        "not those of the record",
    ),
    "a later one that there is not": (lambda e: replace(e, later=(bytes(32),)), "not as many"),
    "counted from another place": (lambda e: replace(e, first=2), "not as many"),
    "nothing but ids": (lambda e: replace(e, events=()), "not as many"),
    "another outcome": (
        lambda e: replace(e, events=(replace(e.events[0], outcome=TWO_APPLIED), *e.events[1:])),
        "does not lead to the root",
    ),
    "another block's header": (
        lambda e: replace(e, events=(replace(e.events[0], header=e.events[1].header), *e.events[1:])),
        "does not lead to the root",
    ),
    "another place": (
        lambda e: replace(e, events=(replace(e.events[0], log_index=e.events[0].log_index + 1), *e.events[1:])),
        "does not lead to the root",
    ),
    "an unknown version": (lambda e: replace(e, version=2), "unknown version"),
    "a status of another key": (lambda e: replace(e, status=replace(e.status, key=b"x")), "state root"),
    "a status without its value": (lambda e: replace(e, status=replace(e.status, value=None)), "state root"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_history_is_refused_in_which_one_thing_does_not_fit(life: Life, name: str) -> None:
    change, complaint = CHANGES[name]
    with pytest.raises(ProofError, match=complaint):
        life.proved(changed(life.page().proof, change))


def test_an_event_that_was_repeated_cannot_be_told_as_of_its_repetition(life: Life) -> None:
    with pytest.raises(ProofError, match="not applied there") as caught:
        life.proved(moved(life, life.page().proof))
    assert caught.value.got == "duplicate"
    assert caught.value.where == f"event {len(life.ids) - 1}: outcome"


def test_a_place_in_the_log_that_is_another_events_is_refused(life: Life) -> None:
    """Inclusion alone holds an event to its place: outcome and block may be true of the neighbour in the same block."""
    page = life.page()
    one, other = extra_of(page.proof).events[6:8]
    assert one.header == other.header
    swapped = replace(one, log_index=other.log_index, path=other.path)
    with pytest.raises(ProofError, match="does not lead to the root"):
        life.proved(changed(page.proof, lambda e: replace(e, events=(*e.events[:6], swapped, *e.events[7:]))))


def test_a_page_without_events_is_refused(life: Life) -> None:
    page = life.page()
    with pytest.raises(ProofError, match="page of a history without events"):
        life.proved(changed(page.proof, lambda e: replace(e, events=(), later=tuple(life.ids))))


def test_the_history_of_one_certificate_is_not_that_of_another(life: Life) -> None:
    with pytest.raises(ProofError, match="proof of another key"):
        life.proved(life.page(number=SUCCESSOR).proof)
    text, other = life.page().proof, extra_of(life.page(number=SUCCESSOR).proof)
    with pytest.raises(ProofError, match="not as many"):
        life.proved(changed(text, lambda e: replace(e, events=other.events)))


def test_an_older_history_is_no_newer_one(life: Life) -> None:
    """What a page says as of a height stays true of that height, and its status says which one it is."""
    older = life.page(life.granted)
    assert life.proved(older.proof).status.height == life.granted
    events = extra_of(older.proof).events
    with pytest.raises(ProofError, match="not as many"):
        life.proved(changed(life.page().proof, lambda e: replace(e, events=events)))


def test_every_damage_to_a_history_is_refused(life: Life) -> None:
    """Flipped, dropped, doubled and swapped bytes of the extra data, at places drawn from a seed."""
    page = life.page()
    proof, random = parse_tlog_proof(page.proof), Random(7)
    refused = 0
    for _ in range(DAMAGED):
        data = bytearray(proof.extra)
        place = random.randrange(len(data))
        match random.randrange(4):
            case 0:
                data[place] ^= 1 << random.randrange(8)
            case 1:
                del data[place]
            case 2:
                data.insert(place, random.randrange(256))
            case _:
                other = random.randrange(len(data))
                data[place], data[other] = data[other], data[place]
        if bytes(data) == proof.extra:
            data[place] ^= 1
        with pytest.raises(InputError):
            life.proved(TlogProof(bytes(data), proof.index, proof.path, proof.note).text())
        refused += 1
    assert refused == DAMAGED


def test_a_store_whose_events_are_not_those_of_its_record_says_so(life: Life) -> None:
    class Forgetful(LedgerReader):
        def recorded(self, height: int):  # type: ignore[no-untyped-def]  # as its parent's
            events, rejected = super().recorded(height)
            return events, rejected | frozenset(range(len(events)))

    reader = Forgetful(life.chain.store, life.chain.genesis)
    with pytest.raises(StorageError, match="events of a certificate are not those of its record"):
        make_certificate_history(reader, NUMBER, life.chain.chain.height)


def test_a_store_that_begins_above_the_history_says_that_it_is_not_here() -> None:
    """The certificate's record came with the snapshot, its events did not; what began later is proved as anywhere."""
    chain = Certifying()
    chain.bring_to(State.ACTIVE)
    chain.block()
    make_stable(chain.store, chain.genesis, chain.set)
    base = int(chain.chain.height)
    store = restored(made(chain.store, chain.genesis), chain.genesis)
    chain.act(*EVENTS["certificate.suspend"])
    chain.block()
    joined_later = Chain(store, chain.genesis)
    follow(joined_later, store, chain.reader)
    for each in (store, chain.store):
        make_stable(each, chain.genesis, chain.set)
    reader = LedgerReader(store, chain.genesis)
    assert make_certificate_history(chain.reader, NUMBER, base + 1) is not None
    for height in (base, base + 1):
        with pytest.raises(NotHere, match=f"above block {base}"):
            make_certificate_history(reader, NUMBER, height)
    page = make_certificate_history(reader, SUCCESSOR, base + 1)
    assert page is not None
    assert verify_certificate_history(page.proof, chain.policy(0), SUCCESSOR).certificate is None
