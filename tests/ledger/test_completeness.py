"""Completeness: every event of a member between two heights, and that none can be left out, added or changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger.completeness import COMPLETENESS_SIZE_MAX, BatchPart, Completeness, CompleteVerdict, verify_completeness
from ledger.completeness_reading import CompletePage, make_completeness
from ledger.handovers import first_span
from ledger.log_tiles import TileReader
from ledger.outcomes import APPLIED
from ledger.reader import LedgerReader
from ledger.store import MemoryStore
from ledger.tlog_proofs import TlogProof, parse_tlog_proof
from ledger.trust_policy import policy_text
from primitives import merkle
from primitives.encoding import decode, encode
from primitives.errors import ProofError
from primitives.hashing import leaf_hash
from tests.ledger.chain_fixtures import SET, Ledger, Note, SetValue
from tests.ledger.test_receipts import stable

NEWEST = 12


def history() -> Ledger:
    """Return a chain in which bank-a is in all blocks but 4 and 9, bank-b in 4, 5 and 9; block 13 is not covered."""
    ledger = Ledger(MemoryStore())
    a, b, c = (ledger.banks[name] for name in ("bank-a", "bank-b", "bank-c"))
    for height in range(1, NEWEST + 1):
        said = [a.notes(height)] if height not in (4, 9) else []
        if height in (4, 5):
            said.append(b.notes(2))
        if height == 9:
            said.append(b.batch([b.event(Note("fine")), b.event(SetValue("x", "1", fails=True), SET)]))
        if height == 7:
            said += [c.notes(1), a.notes(3)]
        ledger.extend(*said)
    stable(ledger)
    ledger.extend(a.notes(1), b.notes(1))
    return ledger


@pytest.fixture(scope="module")
def ledger() -> Ledger:
    return history()


@pytest.fixture(scope="module")
def policy(ledger: Ledger) -> str:
    return policy_text(ledger.genesis, (first_span(ledger.genesis),))


def made(ledger: Ledger, member: str, start: int, stop: int, page: int = 1 << 20) -> CompletePage:
    found = make_completeness(LedgerReader(ledger.store, ledger.genesis), member, start, stop, page=page)
    assert found is not None
    return found


def submitted(ledger: Ledger, member: str, start: int, stop: int) -> list[bytes]:
    """Return the ids of a member's events in these blocks, as the store has them."""
    reader = LedgerReader(ledger.store, ledger.genesis)
    views = [view for height in range(start, stop + 1) for view in reader.block_events(height)]
    return [view.id for view in views if view.event.member == member]


def changed(proof: str, change: Callable[[Completeness], Completeness]) -> str:
    """Return a proof with something in its extra data changed."""
    parsed = parse_tlog_proof(proof)
    extra = change(decode(Completeness, parsed.extra, size_max=COMPLETENESS_SIZE_MAX))
    return TlogProof(encode(extra), parsed.index, parsed.path, parsed.note).text()


def extra_of(proof: str) -> Completeness:
    return decode(Completeness, parse_tlog_proof(proof).extra, size_max=COMPLETENESS_SIZE_MAX)


@pytest.mark.parametrize("member", ["bank-a", "bank-b", "bank-c", "bank-d", "aaa", "bank-bb", "zzz"])
def test_every_range_of_heights_gives_all_events_and_no_others(ledger: Ledger, policy: str, member: str) -> None:
    for start in range(NEWEST + 1):
        for stop in range(start, NEWEST + 1):
            verdict = verify_completeness(made(ledger, member, start, stop).proof, policy)
            assert [event.event_id for event in verdict.events] == submitted(ledger, member, start, stop)
            assert (verdict.member, verdict.from_height, verdict.to_height) == (member, start, stop)
            assert len(verdict.cosigners) == 3


def test_a_verdict_says_what_became_of_each_event(ledger: Ledger, policy: str) -> None:
    verdict = verify_completeness(made(ledger, "bank-b", 6, 10).proof, policy)
    assert [event.outcome.applied for event in verdict.events] == [True, False]
    assert verdict.events[1].outcome.rule == "told_to_fail"
    assert verdict.events[0].outcome == APPLIED
    assert [(event.height, event.index) for event in verdict.events] == [(9, 0), (9, 1)]
    assert verdict.batch_count == 1


def test_a_verdict_covers_the_times_between_the_blocks_around(ledger: Ledger, policy: str) -> None:
    reader = LedgerReader(ledger.store, ledger.genesis)
    times = [header.time_ms for header in map(reader.header, range(NEWEST + 1)) if header is not None]
    inner = verify_completeness(made(ledger, "bank-a", 3, 6).proof, policy)
    assert (inner.from_ms, inner.until_ms) == (times[2] + 1, times[7])
    whole = verify_completeness(made(ledger, "bank-a", 0, 99).proof, policy)
    assert (whole.from_ms, whole.to_height) == (0, NEWEST)
    assert whole.until_ms is not None
    assert whole.until_ms >= times[NEWEST]


def test_heights_that_no_checkpoint_covers_are_left_for_later(ledger: Ledger, policy: str) -> None:
    reader = LedgerReader(ledger.store, ledger.genesis)
    assert make_completeness(reader, "bank-a", NEWEST + 1, NEWEST + 1) is None
    page = made(ledger, "bank-a", 0, NEWEST + 1)
    assert (page.to_height, page.covered) == (NEWEST, NEWEST)
    assert len(verify_completeness(page.proof, policy).events) == len(submitted(ledger, "bank-a", 0, NEWEST))
    empty = Ledger(MemoryStore())
    assert make_completeness(LedgerReader(empty.store, empty.genesis), "bank-a", 0, 0) is None


def test_pages_join_without_a_gap(ledger: Ledger, policy: str) -> None:
    found: list[bytes] = []
    start = 0
    pages = 0
    while start <= NEWEST:
        page = made(ledger, "bank-a", start, NEWEST, page=600)
        verdict = verify_completeness(page.proof, policy)
        assert verdict.from_height == start
        found.extend(event.event_id for event in verdict.events)
        start = verdict.to_height + 1
        pages += 1
    assert found == submitted(ledger, "bank-a", 0, NEWEST)
    assert pages > 3


def _without(number: int) -> Callable[[Completeness], Completeness]:
    return lambda extra: replace(extra, batches=extra.batches[:number] + extra.batches[number + 1 :])


def _batch(number: int, **fields: Any) -> Callable[[Completeness], Completeness]:  # Any: a field of a batch
    def change(extra: Completeness) -> Completeness:
        batches = list(extra.batches)
        batches[number] = replace(batches[number], **fields)
        return replace(extra, batches=tuple(batches))

    return change


def _head(**fields: Any) -> Callable[[Completeness], Completeness]:  # Any: a field of a head
    return lambda extra: replace(extra, heads=(replace(extra.heads[0], **fields),))


def lies(extra: Completeness) -> dict[str, Callable[[Completeness], Completeness]]:
    """Return changes of the proof for bank-a from 5 to 8, by what they pretend."""
    middle = extra.batches[2]
    head = extra.heads[0].head
    return {
        "the first left out": _without(0),
        "one in the middle left out": _without(2),
        "the last left out": _without(len(extra.batches) - 1),
        "all left out": lambda e: replace(e, batches=()),
        "all left out, and the log with them": lambda e: replace(e, batches=(), heads=(), first=0, before=(), after=()),
        "the range begins later": lambda e: replace(e, first=e.first + 1),
        "a wider range, below": lambda e: replace(e, from_height=3),
        "a wider range, above": lambda e: replace(e, to_height=10),
        "heights turned round": lambda e: replace(e, from_height=8, to_height=5),
        "beyond the checkpoint": lambda e: replace(e, to_height=NEWEST + 1),
        "another member": lambda e: replace(e, member="bank-b"),
        "a member without batches": lambda e: replace(e, member="bank-d"),
        "a batch moved below the range": _batch(2, height=4),
        "a batch moved above": _batch(2, height=9),
        "a neighbour moved into the range": _batch(0, height=5),
        "an event left out": _batch(2, events=middle.events[1:]),
        "an event changed": _batch(2, events=(middle.events[0][:-1] + b"\0", *middle.events[1:])),
        "no event": _batch(2, events=()),
        "no signature": _batch(2, signature=None),
        "another signature": _batch(2, signature=bytes(64)),
        "another place": _batch(2, log_index=middle.log_index + 1),
        "another subtree before it": _batch(2, before=(leaf_hash(b"x"), *middle.before[1:])),
        "a subtree after it missing": _batch(2, after=middle.after[1:]),
        "another number": _batch(2, header=replace(middle.header, number=middle.header.number + 1)),
        "a shorter log": _head(head=replace(head, size=head.size - 1)),
        "another root": _head(head=replace(head, root=leaf_hash(b"x"))),
        "another place among heads": _head(index=1),
        "fewer heads": _head(count=2),
        "a missing subtree": lambda e: replace(e, before=e.before[1:]),
        "one subtree more": lambda e: replace(e, after=(*e.after, leaf_hash(b"x"))),
        "blocks without the one before": lambda e: replace(e, blocks=e.blocks[1:]),
        "blocks without the one after": lambda e: replace(e, blocks=e.blocks[:-1]),
        "blocks turned round": lambda e: replace(e, blocks=e.blocks[::-1]),
        "outcomes changed": lambda e: replace(
            e, blocks=tuple(replace(b, rejected=((0, replace(APPLIED, code=1, rule="x")),)) for b in e.blocks)
        ),
        "another place in its block": _batch(2, place=replace(middle.place, index=middle.place.index + 1)),
        "another path in its block": _batch(2, place=replace(middle.place, path=(leaf_hash(b"x"),))),
        "a neighbour's place in its block": _batch(0, place=replace(extra.batches[0].place, path=(leaf_hash(b"x"),))),
        "blocks changed": lambda e: replace(
            e, blocks=tuple(replace(b, path=(*b.path, leaf_hash(b"x"))) for b in e.blocks)
        ),
        "another header": lambda e: replace(e, header=replace(e.header, height=e.header.height + 1)),
        "another version": lambda e: replace(e, version=2),
    }


def test_whatever_is_left_out_or_changed_is_refused(ledger: Ledger, policy: str) -> None:
    proof = made(ledger, "bank-a", 5, 8).proof
    assert [batch.height for batch in extra_of(proof).batches] == [3, 5, 6, 7, 7, 8, 10]
    for name, lie in lies(extra_of(proof)).items():
        with pytest.raises(ProofError) as refused:
            verify_completeness(changed(proof, lie), policy)
        assert refused.value.what, name


def _range(ledger: Ledger, low: int, high: int) -> Callable[[Completeness], Completeness]:
    """Show only batches `low` up to `high` of those of a proof, and prove them honestly as a range of the log."""

    def change(extra: Completeness) -> Completeness:
        tiles = TileReader(ledger.store, b"bank-a")
        first, stop = extra.first + low, extra.first + high
        before, after = merkle.range_proof(first, stop, extra.heads[0].head.size)
        return replace(
            extra,
            first=first,
            before=tuple(map(tiles.subtree, before)),
            after=tuple(map(tiles.subtree, after)),
            batches=extra.batches[low:high],
        )

    return change


def _first_event_left_out(ledger: Ledger, number: int) -> Callable[[Completeness], Completeness]:
    """Show a batch without its first event, and prove the others honestly as a range of the log."""

    def change(extra: Completeness) -> Completeness:
        batch = extra.batches[number]
        log, size = (
            LedgerReader(ledger.store, ledger.genesis).log,
            extra.header.first_index + extra.header.event_count + 1,
        )
        before, after = merkle.range_proof(batch.log_index + 1, batch.log_index + len(batch.events), size)
        return _batch(
            number,
            events=batch.events[1:],
            log_index=batch.log_index + 1,
            before=tuple(map(log.subtree, before)),
            after=tuple(map(log.subtree, after)),
        )(extra)

    return change


def said_twice() -> tuple[str, str, str]:
    """Return a policy, the proof of two batches of one event, and one that shows both where the first stands."""
    ledger = Ledger(MemoryStore())
    bank = ledger.banks["bank-a"]
    event = bank.event(SetValue("x", "1"), SET)
    ledger.extend(bank.batch([event]), bank.batch([event]))
    stable(ledger)
    policy = policy_text(ledger.genesis, (first_span(ledger.genesis),))
    proof = made(ledger, "bank-a", 1, 1).proof
    first = extra_of(proof).batches[0]
    lie = _batch(1, log_index=first.log_index, before=first.before, after=first.after)
    return policy, proof, changed(proof, lie)


def test_a_batch_is_not_shown_where_another_one_of_the_same_events_was_applied() -> None:
    policy, proof, forged = said_twice()
    assert [event.outcome.applied for event in verify_completeness(proof, policy).events] == [True, False]
    with pytest.raises(ProofError, match="batches overlap in the log"):
        verify_completeness(forged, policy)


def _without_block(height: int) -> Callable[[Completeness], Completeness]:
    return lambda extra: replace(extra, blocks=tuple(block for block in extra.blocks if block.header.height != height))


def test_a_smaller_range_that_is_proved_honestly_is_refused(ledger: Ledger, policy: str) -> None:
    proof = made(ledger, "bank-a", 5, 8).proof
    count = len(extra_of(proof).batches)
    assert verify_completeness(changed(proof, _range(ledger, 0, count)), policy).batch_count == count - 2
    for lie, complaint in (
        (_range(ledger, 1, count), "before the first are left out"),
        (_range(ledger, 2, count), "before the first are left out"),
        (_range(ledger, 0, count - 1), "after the last are left out"),
        (_range(ledger, 0, count - 2), "after the last are left out"),
        (_first_event_left_out(ledger, 4), "events are not those of the batch"),
        (_without_block(4), "block before the range missing"),
        (_without_block(9), "block after the range missing"),
    ):
        with pytest.raises(ProofError, match=complaint):
            verify_completeness(changed(proof, lie), policy)


def test_a_range_does_not_go_past_the_header(ledger: Ledger, policy: str) -> None:
    proof = made(ledger, "bank-c", 5, NEWEST).proof
    assert verify_completeness(proof, policy).to_height == NEWEST
    with pytest.raises(ProofError, match="heights of a proof of completeness"):
        verify_completeness(changed(proof, lambda extra: replace(extra, to_height=NEWEST + 8)), policy)


def test_heads_that_are_not_next_to_each_other_prove_no_absence(ledger: Ledger, policy: str) -> None:
    a = extra_of(made(ledger, "bank-a", 1, 2).proof).heads[0]
    b = extra_of(made(ledger, "bank-b", 1, 2).proof).heads[0]
    c = extra_of(made(ledger, "bank-c", 1, 2).proof).heads[0]
    absent = made(ledger, "bank-bb", 1, 2).proof
    assert extra_of(absent).heads == (b, c)
    for heads in ((a, c), (a, b), (b,), (c,), (), (b, c, c), (c, b, b), (a,), (replace(b, index=1, count=4), c)):
        with pytest.raises(ProofError):
            verify_completeness(changed(absent, lambda e, heads=heads: replace(e, heads=heads)), policy)  # type: ignore[misc]  # bound now
    hidden = changed(absent, lambda e: replace(e, member="bank-b", heads=(a, c)))
    with pytest.raises(ProofError, match="not next to each other"):
        verify_completeness(hidden, policy)


def test_every_byte_of_a_proof_counts(ledger: Ledger, policy: str) -> None:
    proof = made(ledger, "bank-b", 3, 6).proof
    parsed = parse_tlog_proof(proof)
    good = verify_completeness(proof, policy)
    for place in range(0, len(parsed.extra), 3):
        data = bytearray(parsed.extra)
        data[place] ^= 1 << (place % 8)
        text = TlogProof(bytes(data), parsed.index, parsed.path, parsed.note).text()
        assert _refused_or_same(text, policy, good), place


def _refused_or_same(text: str, policy: str, good: CompleteVerdict) -> bool:
    """Whether a changed proof is refused, or, where only a neighbour's unused field changed, says the same."""
    try:
        return verify_completeness(text, policy) == good
    except ProofError:
        return True


@given(st.integers(0, 40), st.data())
def test_a_range_of_leaves_with_its_neighbouring_subtrees_gives_the_root(size: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, size))
    stop = data.draw(st.integers(start, size))
    leaves = [leaf_hash(bytes([i])) for i in range(size)]
    left, right = merkle.range_proof(start, stop, size)

    def roots(parts: list[merkle.Subtree]) -> list[bytes]:
        return [merkle.root_of(leaves[index << level : (index + 1) << level]) for level, index in parts]

    before, after = roots(left), roots(right)
    assert merkle.root_from_range(size, start, leaves[start:stop], before, after) == merkle.root_of(leaves)
    if stop > start:
        other = [leaf_hash(b"other"), *leaves[start + 1 : stop]]
        assert merkle.root_from_range(size, start, other, before, after) != merkle.root_of(leaves)
    for wrong in ((before, [*after, leaves[0] if leaves else b""]), ([*before, b""], after)):
        with pytest.raises(ProofError):
            merkle.root_from_range(size, start, leaves[start:stop], *wrong)


def test_neighbours_bring_no_events(ledger: Ledger) -> None:
    first, *_, last = extra_of(made(ledger, "bank-a", 5, 8).proof).batches
    for neighbour in (first, last):
        assert neighbour == BatchPart(neighbour.header, neighbour.height, neighbour.place, None, (), 0, (), ())


def test_a_batch_that_begins_as_another_of_its_block_is_not_taken_at_its_place() -> None:
    """Both stand where their first event does, but only one of them stands there whole, with these outcomes."""
    ledger = Ledger(MemoryStore())
    a = ledger.banks["bank-a"]
    shared = a.event(Note("twice"))
    ledger.extend(
        a.batch([shared, a.event(Note("fine"))]), a.batch([shared, a.event(SetValue("x", "1", fails=True), SET)])
    )
    stable(ledger)
    policy = policy_text(ledger.genesis, (first_span(ledger.genesis),))
    proof = made(ledger, "bank-a", 1, 1).proof
    told = [event.outcome.applied for event in verify_completeness(proof, policy).events]
    assert (told[1], told[3]) == (True, False)
    fine, _ = extra_of(proof).batches
    place = {name: getattr(fine, name) for name in ("log_index", "before", "after")}
    with pytest.raises(ProofError, match="events do not stand there in the log"):
        verify_completeness(changed(proof, _batch(1, **place)), policy)
