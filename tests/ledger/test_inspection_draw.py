"""The selection: a second implementation beside ours, its odds, and that nothing after the closing moves it."""

from __future__ import annotations

import math
from collections import Counter
from hashlib import sha256
from itertools import permutations
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger.certificate_bodies import Restore, Surveil
from ledger.certificate_records import Certificate, State, certificate_key
from ledger.inspection_bodies import DrawCategory, DrawInspection
from ledger.inspection_records import (
    Drawn,
    Inspection,
    Kept,
    Phase,
    Standing,
    kept_key,
    read_certificate_inspections,
)
from ledger.inspection_replay import Candidate, replay
from ledger.inspection_selection import lowest_of, lowest_ticket, risk_of, seed_of
from ledger.inspection_standing import keep_standings, next_candidates
from ledger.state import Transaction
from primitives.errors import InputError
from primitives.ids import ZERO_HASH
from tests.ledger.certificate_fixtures import CORRECTION, DAY_MS, NUMBER
from tests.ledger.inspection_fixtures import DRAW, FAILED, Inspections, number_of, secret_of
from tests.ledger.scheme_fixtures import SUSPENSION, VISIT

MANY = tuple(number_of(serial) for serial in range(2, 40))


# The second implementation: other libraries, and straight from the description in docs/formats.md.


def plain_seed(chain: bytes, draw: str, parent: bytes, reveals: dict[str, bytes]) -> bytes:
    fields = [chain, draw, parent, [[member, reveals[member]] for member in sorted(reveals)]]
    return sha256(b"chainnode/v1/inspection-seed\0" + msgpack.packb(fields)).digest()


def plain_tickets(seed: bytes, number: str, weight: int) -> list[int]:
    found = []
    for index in range(weight):
        block = sha256(b"chainnode/v1/inspection-tickets\0" + seed + bytes([index // 4]) + number.encode()).digest()
        found.append(int.from_bytes(block[8 * (index % 4) :][:8], "big"))
    return found


def plain_selection(seed: bytes, weights: dict[str, int], count: int) -> list[str]:
    """Draw ticket after ticket, lowest first, and pass over those of certificates that have won."""
    tickets = sorted((ticket, number) for number, w in weights.items() for ticket in plain_tickets(seed, number, w))
    won: list[str] = []
    for _, number in tickets:
        if number not in won:
            won.append(number)
    return won[:count]


def drawn_from(seed: bytes, weights: dict[str, int], count: int) -> list[str]:
    """Return our selection."""
    items = [Drawn(n, 6, 1, weight, lowest_ticket(seed, n, weight)) for n, weight in weights.items()]
    return [item.number for item in lowest_of(items, count)]


weights_by_number = st.dictionaries(st.integers(1, 9_999).map(number_of), st.integers(1, 112), min_size=1, max_size=30)


@given(st.binary(min_size=32, max_size=32), weights_by_number, st.integers(1, 40))
def test_the_selection_is_that_of_a_second_implementation(seed: bytes, weights: dict[str, int], count: int) -> None:
    assert drawn_from(seed, weights, count) == plain_selection(seed, weights, count)


@given(
    st.binary(min_size=32, max_size=32),
    st.dictionaries(st.sampled_from(["cb", "lab", "ins", "regulator", "auditor"]), st.binary(min_size=32, max_size=32)),
)
def test_the_seed_is_that_of_a_second_implementation(parent: bytes, reveals: dict[str, bytes]) -> None:
    ours = seed_of(ZERO_HASH, DRAW, parent, sorted(reveals.items(), reverse=True))
    assert ours == plain_seed(ZERO_HASH, DRAW, parent, reveals)


@given(st.binary(min_size=32, max_size=32), weights_by_number, st.integers(1, 40), st.data())
def test_a_selection_hangs_on_no_order_and_loses_only_places_to_those_that_come(
    seed: bytes, weights: dict[str, int], count: int, data: st.DataObject
) -> None:
    shuffled = dict(data.draw(st.permutations(sorted(weights.items()))))
    selected = drawn_from(seed, shuffled, count)
    assert selected == drawn_from(seed, weights, count)
    assert len(selected) == len(set(selected)) == min(count, len(weights))
    without = data.draw(st.sampled_from(sorted(weights)))
    fewer = {number: weight for number, weight in weights.items() if number != without}
    kept = [number for number in drawn_from(seed, fewer, count) if number in selected]
    assert kept == [number for number in selected if number != without], "the others keep their order"


def test_more_tickets_never_come_later() -> None:
    seed = sha256(b"seed").digest()
    lowest = [lowest_ticket(seed, NUMBER, weight) for weight in range(1, 113)]
    assert lowest == sorted(lowest, reverse=True)


def seeds(count: int) -> list[bytes]:
    """Return seeds, the same in every run."""
    return [sha256(f"seed {number}".encode()).digest() for number in range(count)]


def test_the_first_place_goes_by_weight() -> None:
    weights = {number_of(serial): weight for serial, weight in enumerate((1, 2, 3, 4, 6), 1)}
    runs, total = 20_000, sum(weights.values())
    won = Counter(drawn_from(seed, weights, 1)[0] for seed in seeds(runs))
    squares = sum((won[n] - runs * w / total) ** 2 / (runs * w / total) for n, w in weights.items())
    assert squares < 18.5, "chi square with four degrees of freedom: beyond it once in 1,000 draws of fair lots"


def test_later_places_go_by_weight_among_those_that_remain() -> None:
    weights = {number_of(serial): weight for serial, weight in enumerate((1, 2, 5), 1)}
    runs, squares = 20_000, 0.0
    orders = Counter(tuple(drawn_from(seed, weights, 3)) for seed in seeds(runs))
    for order in permutations(weights):
        left, odds = dict(weights), 1.0
        for number in order:
            odds *= left[number] / sum(left.values())
            del left[number]
        squares += (orders[order] - runs * odds) ** 2 / (runs * odds)
    assert squares < 20.6, "chi square with five degrees of freedom: beyond it once in 1,000 draws of fair lots"


def test_equal_weights_give_each_certificate_the_same_chance_of_a_place() -> None:
    weights, runs, count = dict.fromkeys((number_of(serial) for serial in range(1, 41)), 4), 4_000, 5
    won = Counter(number for seed in seeds(runs) for number in drawn_from(seed, weights, count))
    expected = runs * count / len(weights)
    spread = math.sqrt(expected * (1 - count / len(weights)))
    assert all(abs(won[number] - expected) < 4.5 * spread for number in weights), won


def test_a_second_implementation_selects_what_the_ledger_selects() -> None:
    world = Inspections().certified(*MANY).announced(count=7, categories=(DrawCategory(6, 3),)).committed().closed()
    draw = world.revealed().drawn().draw()
    assert draw.closing is not None
    assert draw.closing.block is not None
    reveals = {item.member: secret_of(item.member, DRAW) for item in draw.committed}
    seed = plain_seed(ZERO_HASH, DRAW, draw.closing.block, reveals)
    assert draw.seed == seed
    weights = dict.fromkeys((NUMBER, *MANY), 3)
    assert [item.number for item in draw.selection] == plain_selection(seed, weights, 7)


def test_risk_grows_with_what_was_found_and_is_at_most_seven() -> None:
    names = ("failed_surveillance", "failed_inspection", "open_findings", "was_suspended")
    nothing = dict.fromkeys(names, False)
    assert risk_of(**nothing) == 1
    assert [risk_of(**{**nothing, name: True}) for name in names] == [3, 3, 2, 2]
    assert risk_of(**dict.fromkeys(names, True)) == 7


def weight_of(world: Inspections, number: str = NUMBER) -> int | None:
    """Return the weight of a certificate in the finished draw of everything, None where it took no part."""
    found = world.draw().selected(number)
    return None if found is None else found.weight


def all_of(world: Inspections) -> Inspections:
    """Announce a draw that selects all that take part, up to its closing."""
    return world.announced(count=500).committed().closed()


def finish(world: Inspections) -> Inspections:
    """Let everybody reveal, and draw."""
    return world.revealed().drawn()


def test_what_was_found_before_the_closing_weighs() -> None:
    world = Inspections().certified(*MANY[:4])
    member, desk, body = SUSPENSION
    world.must(member, body, desk)
    world.must("cb", Restore(NUMBER, CORRECTION))
    world.must("ins", Surveil(NUMBER, False, False, ("seal_broken",), None, VISIT))
    finish(all_of(world))
    assert weight_of(world) == 1 + 2 + 1
    assert weight_of(world, MANY[0]) == 1


def test_a_failed_inspection_weighs_in_the_next_draw() -> None:
    world = finish(all_of(Inspections().certified(*MANY[:4])))
    world.must("ins", FAILED)
    assert read_certificate_inspections(world.view, NUMBER).open == 1
    world.announced("cb.2", count=500).committed("cb.2").closed("cb.2").revealed("cb.2").drawn("cb.2")
    found = world.draw("cb.2").selected(NUMBER)
    assert found is not None
    assert (found.risk, found.weight) == (4, 4)


def test_categories_take_part_with_their_weights_and_others_do_not() -> None:
    others = (number_of(50, 7), number_of(51, 8))
    world = Inspections().certified(*others)
    categories = (DrawCategory(6, 2), DrawCategory(8, 16))
    finish(world.announced(count=500, categories=categories).committed().closed())
    assert {item.number: item.weight for item in world.draw().selection} == {NUMBER: 2, others[1]: 16}


@pytest.mark.parametrize("state", [State.SUSPENDED, State.REVOKED, State.CANCELLED])
def test_only_active_certificates_take_part(state: State) -> None:
    world = Inspections().certified(*MANY[:4])
    world.change(MANY[0], state=state)
    finish(all_of(world))
    assert weight_of(world, MANY[0]) is None
    assert world.draw().eligible == 4


def test_only_certificates_within_their_term_at_the_closing_take_part() -> None:
    world = Inspections().certified(*MANY[:4])
    world.announced(count=500).committed()
    closed_ms = world.draw().commit_until_ms
    world.change(MANY[0], valid_from_ms=closed_ms + 1)
    world.change(MANY[1], valid_until_ms=closed_ms)
    world.change(MANY[2], valid_from_ms=closed_ms, valid_until_ms=closed_ms + 1)
    finish(world.closed())
    assert [weight_of(world, number) for number in MANY[:4]] == [None, None, 1, 1]


def test_nothing_that_happens_after_the_closing_counts() -> None:
    quiet = finish(all_of(Inspections().certified(*MANY)))
    world = all_of(Inspections().certified(*MANY))
    world.change(MANY[0], state=State.SUSPENDED)
    world.change(MANY[1], state=State.CANCELLED)
    world.must("ins", Surveil(NUMBER, False, True, ("seal_broken",), None, VISIT))
    world.must("cb", Restore(NUMBER, CORRECTION))
    world.change(MANY[0], state=State.ACTIVE)
    world.change(MANY[2], state=State.SUSPENDED)
    record = world.certificate()
    world.next_block()
    grown = number_of(77)
    rows = Transaction(world.view)
    rows.put(certificate_key(grown), replace(record, number=grown, state=State.ACTIVE))
    keep_standings(rows, world.view, world.height)
    rows.apply(world.view)
    finish(world)
    assert world.draw().selection == quiet.draw().selection
    assert weight_of(world, grown) is None, "a certificate that came later, even with a term that began before"
    assert world.view.get(kept_key(NUMBER), Kept) is None, "what was kept goes when it was looked at"


def test_a_certificate_changed_in_the_block_of_a_step_counts_as_it_was() -> None:
    world = all_of(Inspections().certified(*MANY[:4])).revealed()
    member, desk, body = SUSPENSION
    world.must(member, body, desk)
    assert world.submit("bank-a", DrawInspection(DRAW), same_block=True) == ""
    assert weight_of(world) == 1


def test_two_draws_see_a_certificate_each_as_of_its_own_closing() -> None:
    world = Inspections().certified(*MANY[:4])
    late = world.now_ms + 90_000
    world.announced(count=500).committed()
    world.announced("cb.1", count=500, commit_until_ms=late, reveal_until_ms=late + 60_000).committed("cb.1")
    world.closed()
    world.change(NUMBER, state=State.SUSPENDED)
    world.closed("cb.1")
    world.change(NUMBER, state=State.ACTIVE)
    world.revealed().drawn()
    kept = world.view.get(kept_key(NUMBER), Kept)
    assert kept is not None, "the other draw needs it still"
    world.revealed("cb.1").drawn("cb.1")
    assert world.draw().selected(NUMBER) is not None
    assert world.draw("cb.1").selected(NUMBER) is None
    assert world.view.get(kept_key(NUMBER), Kept) is None


def test_a_certificate_that_changes_again_and_again_is_kept_once() -> None:
    world = all_of(Inspections().certified(*MANY[:4]))
    for state in (State.SUSPENDED, State.ACTIVE, State.SUSPENDED):
        world.change(NUMBER, state=state)
    kept = world.view.get(kept_key(NUMBER), Kept)
    assert kept is not None
    assert [standing.active for standing in kept.standings] == [True]


def test_draws_that_come_and_go_beside_one_that_waits_leave_nothing_behind() -> None:
    world = Inspections().certified()
    world.announced(reveal_until_ms=world.now_ms + 80 * DAY_MS).committed(DRAW, ("auditor", "lab")).closed()
    for serial in range(6):
        draw = f"cb.{serial}"
        world.announced(draw).committed(draw, ("cb", "lab")).closed(draw).revealed(draw, ("cb", "lab"))
        world.change(NUMBER, version=serial + 2)
        world.drawn(draw)
    assert len(kept_of(world)) == 1, "one for the draw that waits: else a row grows up to what a state holds"
    world.change(NUMBER, state=State.SUSPENDED)
    world.revealed(DRAW, ("auditor", "lab")).drawn()
    assert world.draw().selected(NUMBER) is not None


def kept_of(world: Inspections) -> tuple[Standing, ...]:
    """Return what is kept of the certificate of the fixtures."""
    kept = world.view.get(kept_key(NUMBER), Kept)
    return () if kept is None else kept.standings


def test_what_happens_in_the_block_that_closes_a_draw_counts() -> None:
    world = Inspections().certified().announced().committed(DRAW, ("cb", "lab")).closed()
    member, desk, body = SUSPENSION
    assert world.submit(member, body, desk, same_block=True) == ""
    world.revealed(DRAW, ("cb", "lab")).drawn()
    assert world.draw().selection == (), "nobody has seen a secret in that block"


changes = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from(["active", "suspended", "close 1", "close 2", "step"])), max_size=25
)


@settings(max_examples=60, deadline=None)
@given(changes, st.integers(1, 3))
def test_what_is_kept_of_certificates_is_what_they_were_at_each_closing(said: list[tuple[int, str]], step: int) -> None:
    """A model that copies all certificates at a closing says the same as the rows that the state keeps."""
    numbers = MANY[:6]
    draws = {"close 1": "cb.1", "close 2": "cb.2"}
    world = Inspections().certified(*numbers)
    for minutes, draw in enumerate(draws.values(), 1):
        until = world.now_ms + 60_000 * minutes
        world.announced(draw, count=500, commit_until_ms=until, reveal_until_ms=until + 60_000)
        world.committed(draw, ("cb", "lab"))
    copies: dict[str, set[str]] = {}
    state = dict.fromkeys(numbers, "active")
    for place, what in (*said, (0, "close 1"), (0, "close 2")):
        if what in draws:
            world.closed(draws[what])
            for draw in draws.values():  # the second closes the first, where that was not closed yet
                if draw not in copies and world.draw(draw).closing is not None:
                    copies[draw] = {number for number in numbers if state[number] == "active"} | {NUMBER}
                    world.revealed(draw, ("cb", "lab"))
        elif what == "step":
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("ledger.inspection_events.STEP_CERTIFICATES", step)
                world.submit("cb", DrawInspection("cb.1"))
        else:
            state[numbers[place]] = what
            world.change(numbers[place], state=State(what))
    for draw, expected in copies.items():
        world.drawn(draw)
        assert {item.number for item in world.draw(draw).selection} == expected


def candidates_of(world: Inspections) -> list[Candidate]:
    """Return all certificates as candidates of risk 1."""
    found = [record for _, record in world.view.scan("certificate/", Certificate)]
    return [Candidate(item.number, item.category, 1) for item in found]


def finished() -> tuple[Inspection, list[Candidate]]:
    world = finish(Inspections().certified(*MANY).announced(count=5).committed().closed())
    return world.draw(), candidates_of(world)


def test_a_replay_finds_what_was_recorded() -> None:
    draw, candidates = finished()
    found = replay(ZERO_HASH, draw, candidates)
    assert (found.holds, found.selection, found.eligible, found.weight) == (True, draw.selection, 39, 39)


def test_a_replay_by_risk_holds() -> None:
    world = Inspections().certified(*MANY)
    for number in MANY:
        world.change(number, corrections=world.certificate().evidence[:1])
    draw = finish(world.announced(count=500).committed().closed()).draw()
    candidates = [Candidate(NUMBER, 6, 1), *(Candidate(number, 6, 2) for number in MANY)]
    found = replay(ZERO_HASH, draw, candidates)
    assert (found.differences, found.weight) == ((), 1 + 2 * len(MANY))


def _other_secret(draw: Inspection) -> Inspection:
    return replace(draw, committed=(replace(draw.committed[0], secret=bytes(32)), *draw.committed[1:]))


LIES: dict[str, Any] = {
    "another secret": _other_secret,
    "the seed is": lambda draw: replace(draw, seed=bytes(32)),
    "certificates take part": lambda draw: replace(draw, eligible=38),
    "weight in all": lambda draw: replace(draw, weight=40),
    "place 1": lambda draw: replace(draw, selection=draw.selection[1:]),
    "place 5": lambda draw: replace(draw, selection=draw.selection[:4]),
    "place 6": lambda draw: replace(draw, selection=(*draw.selection, draw.selection[0])),
    "ticket": lambda draw: replace(draw, selection=(replace(draw.selection[0], ticket=bytes(8)), *draw.selection[1:])),
}


@pytest.mark.parametrize("difference", LIES)
def test_a_replay_says_where_a_record_differs(difference: str) -> None:
    draw, candidates = finished()
    found = replay(ZERO_HASH, LIES[difference](draw), candidates)
    assert any(difference in line for line in found.differences), found.differences


def test_a_replay_without_one_certificate_or_with_another_differs() -> None:
    draw, candidates = finished()
    assert not replay(ZERO_HASH, draw, candidates[1:]).holds
    assert not replay(ZERO_HASH, draw, [*candidates, Candidate(number_of(99), 6, 1)]).holds
    assert not replay(b"\1" * 32, draw, candidates).holds, "commitments and seed are of a chain"


def test_a_replay_needs_a_finished_draw_and_each_certificate_once() -> None:
    draw, candidates = finished()
    for other in (replace(draw, phase=Phase.DRAWING), replace(draw, phase=Phase.VOID, void="not_revealed")):
        with pytest.raises(InputError, match="nothing was drawn"):
            replay(ZERO_HASH, other, candidates)
    with pytest.raises(InputError, match="twice"):
        replay(ZERO_HASH, draw, [*candidates, candidates[0]])


def test_a_step_looks_at_as_many_certificates_as_it_may_whatever_there_are() -> None:
    world = Inspections().certified(*MANY)
    draw = replace(finish(world.announced(count=3).committed().closed()).draw(), cursor="")
    for most in (1, 7, 39, 100):
        _, numbers, _ = next_candidates(world.view, draw, (), most)
        assert len(numbers) == min(most, 39)
    _, numbers, _ = next_candidates(world.view, replace(draw, cursor=MANY[-2]), (), 100)
    assert numbers == [MANY[-1]]
