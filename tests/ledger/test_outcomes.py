"""Outcomes: what breaks a rule ends as that rule, leaves no trace, and blocks nothing."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from ledger.committed_state import CommittedState
from ledger.execution import permitted
from ledger.kinds import ApplyContext, RuleBroken
from ledger.members import SourceGrant
from ledger.outcomes import (
    APPLIED,
    OUTCOMES_A_LEAF,
    Outcome,
    OutcomeProof,
    leaf_hashes,
    outcomes_root,
    prove_outcome,
    rejected,
    verify_outcome,
)
from ledger.policy import Policy
from ledger.references import FORGOTTEN_A_BLOCK_MAX, Seen, forget_expired, remember, seen_key
from ledger.state import StateView
from ledger.store import MemoryStore
from primitives import merkle
from primitives.errors import ProofError
from primitives.hashing import RULES_FIRST
from primitives.ids import ZERO_HASH, Epoch, EventId, Height, MemberId, SourceKey, TimeMs
from primitives.merkle import EMPTY_ROOT
from tests.ledger.chain_fixtures import KINDS, NOTE, OFFICIAL, SET, START_MS, Ledger, Note, SetValue, Value

AHEAD_MS = 60_000
CONTEXT = ApplyContext(
    chain_id=ZERO_HASH,
    epoch=Epoch(0),
    rules=RULES_FIRST,
    member=MemberId("bank-a"),
    source=SourceKey(bytes(32)),
    roles=frozenset(),
    source_roles=frozenset(),
    event_id=EventId(b"a" * 32),
    reference=bytes(16),
    height=Height(1),
    time_ms=TimeMs(1_000),
    policy=Policy(),
)


@pytest.fixture
def ledger() -> Ledger:
    """A ledger whose policy lets events expire a minute ahead."""
    return Ledger(MemoryStore(), Policy(event_expiry_ahead_ms_max=AHEAD_MS))


def value(ledger: Ledger, key: str) -> str | None:
    """Return a value of the committed state."""
    found = ledger.chain.state_after(ledger.chain.tip_hash).get(f"value/{key}", Value)
    return None if found is None else found.value


def rules(outcomes: tuple[Outcome, ...]) -> list[str]:
    """Return the rules of outcomes, empty where applied."""
    return [outcome.rule for outcome in outcomes]


def test_event_that_breaks_a_rule_leaves_no_trace_and_blocks_nothing(ledger: Ledger) -> None:
    bank = ledger.banks["bank-a"]
    ends = {"expires_ms": START_MS + 1_000}
    events = [
        bank.event(SetValue("a", "1"), SET, **ends),
        bank.event(SetValue("a", "2", fails=True), SET, **ends),
        bank.event(SetValue("b", "3"), SET, **ends),
    ]
    result = ledger.extend(bank.batch(events))
    assert rules(result.outcomes) == ["", "told_to_fail", ""]
    assert (value(ledger, "a"), value(ledger, "b")) == ("1", "3")


@pytest.mark.parametrize(("kind", "too_far"), [(NOTE, ""), (SET, "expires_too_late")])
def test_expiry_is_judged_by_the_block_time_to_the_millisecond(ledger: Ledger, kind: int, too_far: str) -> None:
    bank = ledger.banks["bank-a"]
    time_ms = START_MS + 5_000
    body = Note("x") if kind == NOTE else SetValue("x", "1")
    ends = [time_ms - 1, time_ms, time_ms + AHEAD_MS, time_ms + AHEAD_MS + 1]
    result = ledger.extend(bank.batch([bank.event(body, kind, expires_ms=end) for end in ends]), time_ms=time_ms)
    assert rules(result.outcomes) == ["expired", "", "", too_far]


def test_kind_that_needs_a_role_is_not_permitted_to_a_source_without_it(ledger: Ledger) -> None:
    end = START_MS + 1_000
    batches = [
        ledger.banks[name].batch([ledger.banks[name].event(Note("x"), OFFICIAL, expires_ms=end)])
        for name in ("bank-a", "bank-d")
    ]
    result = ledger.extend(*batches)
    assert rules(result.outcomes) == ["not_permitted", ""]
    assert "regulator" in result.outcomes[0].detail


def test_same_event_again_is_a_duplicate_and_another_body_a_conflict(ledger: Ledger) -> None:
    bank = ledger.banks["bank-a"]
    end = START_MS + 20_000
    first = bank.event(SetValue("a", "1"), SET, reference=7, expires_ms=end)
    other = bank.event(SetValue("a", "2"), SET, reference=7, expires_ms=end)
    result = ledger.extend(bank.batch([first, first, other]))
    assert rules(result.outcomes) == ["", "duplicate", "conflict"]
    assert result.event_ids[0].hex() in result.outcomes[2].detail
    assert rules(ledger.extend(bank.batch([first, other])).outcomes) == ["duplicate", "conflict"]
    neighbour = ledger.banks["bank-b"]
    mine = neighbour.event(SetValue("b", "1"), SET, reference=7, expires_ms=end)
    assert rules(ledger.extend(neighbour.batch([mine])).outcomes) == [""]
    assert value(ledger, "a") == "1"


def test_duplicates_are_seen_across_uncommitted_blocks(ledger: Ledger) -> None:
    bank = ledger.banks["bank-a"]
    event = bank.event(SetValue("a", "1"), SET, reference=7, expires_ms=START_MS + 20_000)
    first = ledger.build(bank.batch([event]))
    second = ledger.build(bank.batch([event]), parent=first.header.hash())
    ledger.commit(first)
    assert rules(ledger.commit(second).outcomes) == ["duplicate"]


def test_rejected_event_keeps_its_reference_so_that_an_id_has_one_fate(ledger: Ledger) -> None:
    bank = ledger.banks["bank-a"]
    event = bank.event(SetValue("a", "1", fails=True), SET, reference=7, expires_ms=START_MS + 20_000)
    ledger.extend(bank.batch([event]))
    assert rules(ledger.extend(bank.batch([event])).outcomes) == ["duplicate"]


def test_kinds_that_change_no_state_are_not_deduplicated(ledger: Ledger) -> None:
    bank = ledger.banks["bank-a"]
    event = bank.event(Note("a"), reference=7, expires_ms=START_MS + 20_000)
    assert rules(ledger.extend(bank.batch([event, event])).outcomes) == ["", ""]


def test_references_are_forgotten_once_they_have_expired(ledger: Ledger) -> None:
    bank = ledger.banks["bank-a"]
    end = START_MS + 1_000
    ledger.extend(bank.batch([bank.event(SetValue("a", "1"), SET, reference=7, expires_ms=end)]))
    state = ledger.chain.state_after(ledger.chain.tip_hash)
    key = seen_key("bank-a", (7).to_bytes(16, "big"))
    assert state.get(key, Seen) is not None
    ledger.extend(time_ms=end)
    assert ledger.chain.state_after(ledger.chain.tip_hash).get(key, Seen) is not None
    again = bank.event(SetValue("a", "2"), SET, reference=7, expires_ms=end + 5_000)
    result = ledger.extend(bank.batch([again]), time_ms=end + 1)
    assert rules(result.outcomes) == [""]
    ledger.extend(time_ms=end + 6_000)
    state = ledger.chain.state_after(ledger.chain.tip_hash)
    assert list(state.raw_scan(b"seen/")) == []
    assert list(state.raw_scan(b"\0seen/")) == []


def test_a_block_forgets_a_bounded_number_of_references_the_oldest_first(ledger: Ledger) -> None:
    view = ledger.chain.state_after(ledger.chain.tip_hash)
    ends = [1_000 + number // 2 for number in range(2 * FORGOTTEN_A_BLOCK_MAX + 5)]
    for number, end in enumerate(ends):
        reference = number.to_bytes(16, "big")
        remember(view, replace(CONTEXT, event_id=EventId(number.to_bytes(32, "big")), reference=reference), end)
    for left in (FORGOTTEN_A_BLOCK_MAX + 5, 5, 0):
        forget_expired(view, ends[-1] + 1)
        kept = sorted(int.from_bytes(key[-16:], "big") for key, _ in view.raw_scan(b"seen/"))
        assert kept == list(range(len(ends) - left, len(ends)))
        assert len(list(view.raw_scan(b"\0seen/"))) == left


def test_a_block_does_not_read_the_references_that_live_on(ledger: Ledger) -> None:
    """There may be hundreds of thousands, and each block looks for expired ones."""
    bank = ledger.banks["bank-a"]
    for number in range(3):
        sets = [
            bank.event(
                SetValue(f"{number}-{index}", "1"), SET, reference=index + 100 * number, expires_ms=START_MS + end
            )
            for index, end in enumerate((900, 60_000, 70_000))
        ]
        ledger.extend(bank.batch(sets))
    read: list[bytes] = []

    class Reading(MemoryStore):
        def iterate(self, start: bytes, stop: bytes, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
            for key, value in ledger.store.iterate(start, stop, reverse):
                read.append(key)
                yield key, value

    view = StateView(CommittedState(Reading()))
    forget_expired(view, START_MS + 901)
    assert len(read) == 3
    assert len(view.changes) == 6


def test_expired_reference_counts_for_nothing_even_before_it_is_removed(ledger: Ledger) -> None:
    view = ledger.chain.state_after(ledger.chain.tip_hash)
    remember(view, CONTEXT, 2_000)
    with pytest.raises(RuleBroken, match="duplicate"):
        remember(view, replace(CONTEXT, time_ms=TimeMs(2_000)), 3_000)
    remember(view, replace(CONTEXT, time_ms=TimeMs(2_001), event_id=EventId(b"b" * 32)), 4_000)
    assert view.get(seen_key("bank-a", bytes(16)), Seen) == Seen(EventId(b"b" * 32), 4_000)
    assert len(list(view.raw_scan(b"\0seen/"))) == 1


def test_table_of_references_survives_a_restart(ledger: Ledger) -> None:
    bank = ledger.banks["bank-a"]
    event = bank.event(SetValue("a", "1"), SET, reference=7, expires_ms=START_MS + 20_000)
    ledger.extend(bank.batch([event]))
    ledger.reopen()
    assert rules(ledger.extend(bank.batch([event])).outcomes) == ["duplicate"]


def _some(count: int) -> list[Outcome]:
    return [APPLIED if i % 7 else rejected("rule", f"event {i}") for i in range(count)]


@pytest.mark.parametrize("count", [1, 2, OUTCOMES_A_LEAF, OUTCOMES_A_LEAF + 1, 3 * OUTCOMES_A_LEAF + 5])
def test_every_outcome_is_provable_and_none_other(count: int) -> None:
    outcomes = _some(count)
    root = outcomes_root(outcomes)
    for index in {0, count // 2, count - 1}:
        proof = prove_outcome(outcomes, index)
        assert verify_outcome(proof, root, count, index) == outcomes[index]
        for wrong in (OutcomeProof(proof.leaf + b"\0", proof.path), OutcomeProof(proof.leaf[:-1], proof.path)):
            with pytest.raises(ProofError):
                verify_outcome(wrong, root, count, index)
        with pytest.raises(ProofError):
            verify_outcome(proof, root, count + OUTCOMES_A_LEAF, index)
        for outside in (-1, count):
            with pytest.raises(ProofError):
                verify_outcome(proof, root, count, outside)


def test_leaf_with_more_outcomes_than_the_block_has_events_is_refused() -> None:
    applied = [APPLIED] * 3
    with pytest.raises(ProofError, match="another length"):
        verify_outcome(prove_outcome(applied, 1), outcomes_root(applied), 2, 1)


def test_root_of_no_outcomes_is_the_empty_tree() -> None:
    assert outcomes_root([]) == EMPTY_ROOT


def test_leaf_of_applied_outcomes_only_has_the_hash_of_its_bytes() -> None:
    applied = [APPLIED] * OUTCOMES_A_LEAF
    assert verify_outcome(prove_outcome(applied, 3), outcomes_root(applied), OUTCOMES_A_LEAF, 3) == APPLIED
    assert outcomes_root(applied) != outcomes_root([*applied[:-1], rejected("rule")])


def test_detail_is_cut_at_its_limit() -> None:
    assert len(rejected("rule", "x" * 1_000).detail) == 200


def test_role_of_the_member_that_its_source_was_not_given_permits_nothing() -> None:
    spec = KINDS[OFFICIAL]
    member_alone = SourceGrant(MemberId("bank-d"), spec.roles, frozenset())
    assert not permitted(spec, member_alone)
    assert permitted(spec, SourceGrant(MemberId("bank-d"), spec.roles, spec.roles))


@pytest.mark.parametrize("count", [*range(1, 6), 31, 32, 33, 64, 65, 96, 100, 160, 161, 1_000, 10_000])
def test_the_proof_in_a_block_without_rejections_is_the_path_over_all_its_leaves(count: int) -> None:
    """Nearly every block is one, and its equal leaves are not hashed one by one."""
    outcomes = [APPLIED] * count
    root = outcomes_root(outcomes)
    assert root == merkle.root_of(leaf_hashes(outcomes))
    for index in sorted({0, count // 3, count // 2, count - 1}):
        proof = prove_outcome(outcomes, index)
        leaf = index // OUTCOMES_A_LEAF
        assert proof.path == merkle.inclusion_path(leaf_hashes(outcomes), leaf)
        assert verify_outcome(proof, root, count, index) == APPLIED
