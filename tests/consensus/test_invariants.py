"""The monitors themselves: each rule that they watch is broken here on purpose, and they must say so by its name.

Everywhere else replicas keep the rules, so a monitor that looked away would go unnoticed.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from consensus.effects import Broadcast, Delivered, Effect, Persist, Refused, Send
from consensus.invariants import ClusterMonitor, InvariantBroken, ReplicaMonitor, check_bounds
from consensus.messages import (
    BLOCKS_PER_FETCH_MAX,
    BUFFER_HEIGHTS,
    WINDOW,
    CosignatureEvidence,
    Evidence,
    Message,
)
from consensus.records import Committed, Cosigned, Prepared, Proposed, ViewChanged, ViewStarted
from consensus.state import BLOCKS_KEPT_PER_HEIGHT, ReplicaState, Slot, Tip
from consensus.tally import VIEWS_KEPT
from primitives.block import Block
from primitives.hashing import leaf_hash
from primitives.ids import ZERO_HASH, Epoch, Hash, Height, TimeMs, View
from primitives.votes import COMMIT, PREPARE
from tests.consensus.toy_fixtures import (
    Group,
    certificate_of,
    chain_of,
    checkpoint_vote_of,
    claim_of,
    committed_of,
    genesis_of,
    header_of,
    new_view_of,
    proposal_of,
    validators_of,
    view_change_of,
    vote_of,
)

ONE, TWO, THREE = chain_of(3)
(OTHER,) = chain_of(1, branch=1)
GENESIS = genesis_of(validators_of(4)).hash()


@pytest.fixture
def state() -> ReplicaState:
    """The state of validator 1, which does not lead view 0."""
    return Group()[1]


@pytest.fixture
def monitor() -> ReplicaMonitor:
    return ReplicaMonitor("v1")


def prepared(block: Block, view: int = 0, signer: int = 1) -> list[Effect]:
    """Return what a validator does to prepare a block: write the proposal and its vote, then send it."""
    vote = vote_of(PREPARE, signer, block.header.hash(), height=block.header.height, view=view)
    return [Persist(Proposed(proposal_of(block, view % 4, view=view))), Persist(Prepared(vote)), Broadcast(vote)]


def committed(block: Block, view: int = 0, certified_in: int | None = None) -> list[Effect]:
    """Return what a validator does to commit to a block."""
    vote = vote_of(COMMIT, 1, block.header.hash(), height=block.header.height, view=view)
    certificate = certificate_of(PREPARE, block, (0, 1, 2), view=view if certified_in is None else certified_in)
    return [Persist(Committed(vote, certificate)), Broadcast(vote)]


def started(view: int) -> list[Effect]:
    """Return what a validator writes and sends when it enters a view."""
    message = new_view_of(view % 4, *(view_change_of(signer, view) for signer in range(3)))
    return [Persist(ViewStarted(message)), Broadcast(message)]


def vowed(view: int) -> list[Effect]:
    change = view_change_of(1, view)
    return [Persist(ViewChanged(change)), Broadcast(change)]


def cosigned(height: int, size: int, root: Hash = ZERO_HASH) -> list[Effect]:
    vote = checkpoint_vote_of(1, height, size, root)
    return [Persist(Cosigned(vote)), Broadcast(vote)]


def sent_alone(message: Message) -> list[Effect]:
    return [Broadcast(message)]


def barrier() -> tuple[Block, Block]:
    """Return a block that changes the validator set, and one on top of it."""
    first = replace(ONE.header, next_validators=leaf_hash(b"another set"))
    second = header_of(
        first, TWO.batch_hashes, time_ms=first.time_ms + 1, epoch=0, proposer=0, next_validators=first.next_validators
    )
    return Block(first, ONE.batch_hashes), Block(second, TWO.batch_hashes)


def delivered(block: Block, **change: object) -> list[Effect]:
    held = committed_of(block)
    return [Delivered(replace(held, **change), View(0))]


BROKEN: dict[str, tuple[str, list[Effect]]] = {
    "a proposal": ("no send before its write", sent_alone(proposal_of(ONE, 0))),
    "a PREPARE": ("no send before its write", [prepared(ONE)[0], prepared(ONE)[2]]),
    "a COMMIT": ("no send before its write", [*prepared(ONE), committed(ONE)[1]]),
    "a VIEW-CHANGE": ("no send before its write", sent_alone(view_change_of(1, 1))),
    "a NEW-VIEW": ("no send before its write", [started(1)[1]]),
    "a cosignature": ("no send before its write", [cosigned(1, 2)[1]]),
    "a vote to one peer": ("no send before its write", [Send("v2", vote_of(PREPARE, 1, ONE.header.hash()))]),
    "two blocks prepared": ("one hash signed", [*prepared(ONE), *prepared(OTHER)]),
    "a vote below a vow": ("no vote below a signed VIEW-CHANGE", [*vowed(1), *prepared(ONE)]),
    "a vote below a view": ("no vote below a signed VIEW-CHANGE", [*started(1), *prepared(ONE)]),
    "a COMMIT below a vow": ("no vote below a signed VIEW-CHANGE", [*prepared(ONE), *vowed(1), *committed(ONE)]),
    "a vote in a view that did not begin": ("no vote above view 0 without its NEW-VIEW", prepared(ONE, view=1)),
    "a vote without its block": ("a block is written before its vote", prepared(ONE)[1:]),
    "a PREPARE above a gap": ("PREPARE rests on its parent", prepared(TWO)),
    "a PREPARE beside its parent": ("PREPARE rests on its parent", [*prepared(OTHER), *prepared(TWO)]),
    "a PREPARE on one of an earlier view": (
        "PREPARE rests on its parent",
        [*prepared(ONE), *started(1), *prepared(TWO, view=1)],
    ),
    "a COMMIT above a gap": ("COMMIT rests on its parent", [*prepared(ONE), *prepared(TWO), *committed(TWO)]),
    "a COMMIT on one of an earlier view": (
        "COMMIT rests on its parent",
        [
            *(effect for block in (ONE, TWO) for effect in prepared(block)), *committed(ONE), *started(1),
            *(effect for block in (ONE, TWO) for effect in prepared(block, view=1)), *committed(TWO, view=1),
        ],
    ),
    "a COMMIT without a PREPARE": (
        "COMMIT rests on a PREPARE of this view",
        [prepared(ONE)[0], *committed(ONE)],
    ),
    "a COMMIT on a PREPARE of another view": (
        "COMMIT rests on a PREPARE of this view",
        [*prepared(ONE), *started(1), *committed(ONE, view=1)],
    ),
    "a COMMIT on another view's certificate": (
        "COMMIT rests on a prepare certificate of its view",
        [*prepared(ONE), committed(ONE, certified_in=1)[0]],
    ),
    "a vote above a barrier": (
        "nobody votes above a barrier",
        [effect for block in barrier() for effect in prepared(block)],
    ),
    "another's vote": ("sends its own votes, or shows a leader's", sent_alone(vote_of(PREPARE, 2, ONE.header.hash()))),
    "a leader's COMMIT": ("sends its own votes, or shows a leader's", sent_alone(vote_of(COMMIT, 0, ZERO_HASH))),
    "a smaller log cosigned": ("the cosigned size and root never fall", [*cosigned(2, 9), cosigned(3, 8)[0]]),
    "another root cosigned": ("the cosigned size and root never fall", [*cosigned(2, 9), cosigned(2, 9, GENESIS)[0]]),
    "a block without a certificate": ("the committed chain is certified", delivered(ONE, certificate=None)),
    "a block under another's certificate": (
        "a certificate names its block",
        delivered(ONE, certificate=certificate_of(COMMIT, OTHER, (0, 1, 2))),
    ),
    "a block under a prepare certificate": (
        "a certificate names its block",
        delivered(ONE, certificate=certificate_of(PREPARE, ONE, (0, 1, 2))),
    ),
    "a height delivered twice": ("a height is delivered once", [*delivered(ONE), *delivered(ONE)]),
    "a block above a gap": ("the committed chain is gapless", delivered(TWO)),
    "a block beside its parent": ("the committed chain is gapless", [*delivered(OTHER), *delivered(TWO)]),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_monitor_names_the_rule_that_the_last_thing_done_breaks(
    case: str, state: ReplicaState, monitor: ReplicaMonitor
) -> None:
    rule, effects = BROKEN[case]
    for effect in effects[:-1]:
        monitor.watch(state, [effect])
    with pytest.raises(InvariantBroken, match=rule):
        monitor.watch(state, effects[-1:])


def test_a_monitor_lets_an_honest_validator_be(state: ReplicaState, monitor: ReplicaMonitor) -> None:
    first = [*prepared(ONE), *prepared(TWO), *committed(ONE), *committed(TWO), *cosigned(1, 3)]
    shown = vote_of(PREPARE, 0, OTHER.header.hash())
    monitor.watch(state, [*first, *first, Send("v2", shown), Refused("stale", "")])
    monitor.watch(state, [*vowed(1), *started(1), *prepared(ONE, view=1), *committed(ONE, view=1)])
    monitor.watch(state, [*delivered(ONE), *delivered(TWO), *prepared(THREE, view=1), *committed(THREE, view=1)])
    monitor.watch(state, [*cosigned(1, 3), *cosigned(2, 5), *vowed(2)])
    lower, upper = barrier()
    fresh = ReplicaMonitor("v1")
    fresh.watch(state, [*prepared(lower), *delivered(lower), *prepared(upper)])
    for watching, vote in ((monitor, prepared(OTHER, view=1)), (fresh, prepared(OTHER))):
        with pytest.raises(InvariantBroken, match="one hash signed per"):  # all of that was seen
            watching.watch(state, vote)


# --- what binds when


def test_what_a_crash_took_before_it_was_written_binds_nobody(state: ReplicaState, monitor: ReplicaMonitor) -> None:
    for taken in (False, True):
        monitor.after_step(state, prepared(ONE))
        if taken:
            monitor.turn_taken()
        monitor.crashed(rows=False, records=False)
    monitor.watch(state, prepared(OTHER))
    with pytest.raises(InvariantBroken, match="one hash signed"):
        monitor.watch(state, prepared(ONE))


def test_what_a_crash_left_on_the_disk_binds_as_if_it_were_sent(state: ReplicaState, monitor: ReplicaMonitor) -> None:
    monitor.after_step(state, prepared(ONE))
    monitor.turn_taken()
    monitor.after_step(state, prepared(OTHER))
    monitor.crashed(rows=True, records=True)
    with pytest.raises(InvariantBroken, match="one hash signed"):
        monitor.watch(state, prepared(OTHER))


def test_of_rows_without_records_the_blocks_bind_and_the_votes_do_not(
    state: ReplicaState, monitor: ReplicaMonitor
) -> None:
    monitor.after_step(state, [*delivered(ONE), *prepared(TWO)])
    monitor.turn_taken()
    monitor.crashed(rows=True, records=False)
    assert (monitor.delivered, monitor.signed) == ({1: ONE.header.hash()}, {})
    with pytest.raises(InvariantBroken, match="a height is delivered once"):
        monitor.watch(state, delivered(ONE))


def test_a_lost_ledger_is_fetched_again_and_what_was_signed_still_binds(
    state: ReplicaState, monitor: ReplicaMonitor
) -> None:
    monitor.watch(state, [*prepared(ONE), *delivered(ONE)])
    monitor.ledger_lost()
    monitor.watch(state, delivered(ONE))
    with pytest.raises(InvariantBroken, match="one hash signed"):
        monitor.watch(state, prepared(OTHER))


@pytest.mark.parametrize(
    "message",
    [proposal_of(ONE, 1), vote_of(PREPARE, 1, ONE.header.hash()), view_change_of(1, 1), cosigned(1, 2)[1].message],  # type: ignore[union-attr]  # a Broadcast
    ids=lambda message: type(message).__name__,
)
def test_who_lost_its_log_signs_nothing_until_it_has_new_keys(
    message: Message, state: ReplicaState, monitor: ReplicaMonitor
) -> None:
    monitor.watch(state, [])
    monitor.log_lost()
    with pytest.raises(InvariantBroken, match="who lost its log signs nothing"):
        monitor.watch(state, [Broadcast(message)])
    monitor.readmitted()
    with pytest.raises(InvariantBroken, match="no send before its write"):
        monitor.watch(state, [Broadcast(message)])


def test_who_lost_its_log_may_show_what_a_leader_signed(state: ReplicaState, monitor: ReplicaMonitor) -> None:
    monitor.watch(state, [])
    monitor.log_lost()
    monitor.watch(state, [Send("v2", vote_of(PREPARE, 0, ONE.header.hash()))])
    with pytest.raises(InvariantBroken, match="who lost its log signs nothing"):
        monitor.watch(state, [Send("v2", vote_of(PREPARE, 1, ONE.header.hash()))])


@pytest.mark.parametrize("what", ["epoch", "height", "view"])
def test_epoch_height_and_view_never_fall(what: str, state: ReplicaState, monitor: ReplicaMonitor) -> None:
    def go(epoch: int, height: int, view: int) -> None:
        state.validators = replace(validators_of(4), epoch=Epoch(epoch))
        state.tip, state.view = Tip(Height(height), ZERO_HASH, TimeMs(0)), View(view)
        monitor.watch(state, [])

    go(1, 7, 3)
    go(1, 8, 3)
    go(1, 8, 4)
    go(2, 8, 0)
    go(2, 8, 1)
    with pytest.raises(InvariantBroken, match=f"the {what} never falls"):
        go(*{"epoch": (1, 8, 9), "height": (2, 7, 9), "view": (2, 8, 0)}[what])


# --- bounds


def votes_beyond(slot: Slot, phase: int, count: int) -> None:
    tally = slot.prepares if phase == PREPARE else slot.commits
    for number in range(count):
        tally.add(number, View(0), ZERO_HASH, b"")


def accusations(count: int) -> dict[int, Evidence]:
    vote = vote_of(PREPARE, 0, ZERO_HASH)
    return {number: Evidence(vote, vote) for number in range(count)}


def cosigner_accusations(count: int) -> dict[tuple[Epoch, int], CosignatureEvidence]:
    vote = checkpoint_vote_of(0, 1, 1, ZERO_HASH)
    return {(Epoch(0), number): CosignatureEvidence(vote, vote) for number in range(count)}


def slot_with(state: ReplicaState, height: int = 1, **fields: object) -> Slot:
    slot = Slot(Height(height))
    for name, value in fields.items():
        setattr(slot, name, value)
    state.slots[slot.height] = slot
    return slot


FAR = max(BUFFER_HEIGHTS, BLOCKS_PER_FETCH_MAX)
BLOCKS = {leaf_hash(bytes([number])): ONE for number in range(BLOCKS_KEPT_PER_HEIGHT + 1)}
BOUNDS: dict[str, tuple[Callable[[ReplicaState, int], object], int]] = {
    "slots lie in the window": (lambda state, number: slot_with(state, number), FAR),
    "blocks of a height are bounded": (
        lambda state, number: slot_with(state, blocks=dict(list(BLOCKS.items())[:number])),
        BLOCKS_KEPT_PER_HEIGHT,
    ),
    "votes of a height are bounded": (
        lambda state, number: votes_beyond(slot_with(state), PREPARE, number),
        4 * VIEWS_KEPT,
    ),
    "each validator is shown": (lambda state, number: slot_with(state, shown=dict.fromkeys(range(number), View(0))), 4),
    "claims lie in the window": (lambda state, number: slot_with(state, number, claim=claim_of(ONE, 0)), WINDOW),
    "one VIEW-CHANGE of each": (
        lambda state, number: state.view_changes.update(dict.fromkeys(range(number), view_change_of(1, 1))),
        4,
    ),
    "chosen blocks are bounded": (
        lambda state, number: state.chosen.update({Height(height): ONE for height in range(number)}),
        2 * WINDOW,
    ),
    "records of claims": (
        lambda state, number: state.claim_records.update({Height(height): () for height in range(number)}),
        WINDOW,
    ),
    "early proposals are bounded": (
        lambda state, number: state.early.update({Height(height): proposal_of(ONE, 0) for height in range(number)}),
        BUFFER_HEIGHTS,
    ),
    "evidence is bounded: ": (lambda state, number: state.accused.update(accusations(number)), 4),
    "evidence is bounded": (lambda state, number: state.accused_cosigners.update(cosigner_accusations(number)), 4),
    "hands over all its effects": (lambda state, number: state.effects.extend([Refused("x", "")] * number), 0),
}


@pytest.mark.parametrize("rule", BOUNDS)
def test_memory_may_be_filled_to_its_bound_and_not_beyond(rule: str, state: ReplicaState) -> None:
    fill, bound = BOUNDS[rule]
    fill(state, bound)
    check_bounds(state)
    fill(state, bound + 1)
    with pytest.raises(InvariantBroken, match=rule):
        check_bounds(state)


def test_commits_are_bounded_like_prepares_and_slots_all_together(state: ReplicaState) -> None:
    votes_beyond(slot_with(state), COMMIT, 4 * VIEWS_KEPT + 1)
    with pytest.raises(InvariantBroken, match="votes of a height are bounded"):
        check_bounds(state)
    state.slots.clear()
    slot_with(state, 0)
    with pytest.raises(InvariantBroken, match="slots lie in the window"):
        check_bounds(state)
    state.slots.clear()
    state.floor = Height(1_000)
    for height in [*range(1, FAR + 1), *range(1_001, 1_001 + WINDOW)]:
        slot_with(state, height)
    check_bounds(state)
    slot_with(state, 1_001 + WINDOW)
    with pytest.raises(InvariantBroken, match="slots"):
        check_bounds(state)


def test_cosigners_of_the_epoch_before_have_room_as_well(state: ReplicaState) -> None:
    state.previous_validators = validators_of(4)
    state.accused_cosigners.update(cosigner_accusations(8))
    check_bounds(state)
    state.accused_cosigners.update(cosigner_accusations(9))
    with pytest.raises(InvariantBroken, match="evidence is bounded"):
        check_bounds(state)


# --- all validators together


def test_no_two_blocks_are_committed_at_a_height_by_any_two() -> None:
    cluster = ClusterMonitor(GENESIS)
    cluster.delivered(committed_of(ONE))
    cluster.delivered(committed_of(ONE, view=1))
    with pytest.raises(InvariantBroken, match="no two committed hashes at a height"):
        cluster.delivered(committed_of(OTHER, view=1))


def test_a_batch_is_ordered_at_one_height() -> None:
    cluster = ClusterMonitor(GENESIS)
    cluster.delivered(committed_of(ONE))
    cluster.delivered(committed_of(ONE))
    header = replace(TWO.header, batches_root=ONE.header.batches_root)
    with pytest.raises(InvariantBroken, match="a batch executes once"):
        cluster.delivered(committed_of(Block(header, ONE.batch_hashes)))


def entered(view: int, *claims: object, delivered: tuple[object, ...] = ()) -> object:
    changes = (view_change_of(signer, view, delivered, claims) for signer in (1, 2, 3))  # type: ignore[arg-type]  # see below
    return new_view_of(view % 4, *changes)


@pytest.mark.parametrize("first", ["the commit", "the view"])
def test_the_choice_of_a_new_view_keeps_what_was_committed_in_a_view_before(first: str) -> None:
    kept: list[object] = [
        entered(2, claim_of(ONE, 1)),
        entered(2, delivered=(certificate_of(COMMIT, ONE, (0, 1, 2)),)),
    ]
    lost: list[object] = [entered(2), entered(2, claim_of(OTHER, 1))]
    for message in [*kept, *lost]:
        cluster = ClusterMonitor(GENESIS)
        steps = [lambda seen: seen.delivered(committed_of(ONE, view=1)), lambda seen, m=message: seen.started(m)]
        one, other = steps if first == "the commit" else steps[::-1]
        one(cluster)
        if message in kept:
            other(cluster)
        else:
            with pytest.raises(InvariantBroken, match="the NEW-VIEW choice keeps every committed block"):
                other(cluster)


def test_a_new_view_need_not_keep_what_is_committed_in_it_or_after_it_or_in_another_epoch() -> None:
    for committed_in, epoch in ((2, 0), (3, 0), (1, 1)):
        cluster = ClusterMonitor(GENESIS)
        cluster.started(entered(2))  # type: ignore[arg-type]  # a NewView
        block = Block(replace(ONE.header, epoch=Epoch(epoch)), ONE.batch_hashes)
        cluster.delivered(committed_of(block, view=committed_in))
        kept = cluster.committed[block.header.height]
        assert (kept.block_hash, kept.epoch, kept.view) == (block.header.hash(), epoch, committed_in)


def test_the_lowest_view_that_committed_a_block_is_what_binds() -> None:
    cluster = ClusterMonitor(GENESIS)
    cluster.delivered(committed_of(ONE, view=3))
    cluster.started(entered(2))  # type: ignore[arg-type]  # a NewView
    with pytest.raises(InvariantBroken, match="the NEW-VIEW choice keeps every committed block"):
        cluster.delivered(committed_of(ONE, view=1))


def test_a_replicas_monitor_tells_the_clusters(state: ReplicaState) -> None:
    cluster = ClusterMonitor(GENESIS)
    ReplicaMonitor("v1", cluster).watch(state, delivered(ONE))
    assert cluster.committed.keys() == {1}
    with pytest.raises(InvariantBroken, match="no two committed hashes at a height"):
        ReplicaMonitor("v2", cluster).watch(state, delivered(OTHER))
    with pytest.raises(InvariantBroken, match="the NEW-VIEW choice keeps every committed block"):
        ReplicaMonitor("v1", cluster).watch(state, started(1))
