"""Catching up, re-sending what was lost, and memory that stays bounded whatever peers send."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.effects import Received, Send, ServeBlocks, Tick
from consensus.invariants import check_bounds
from consensus.messages import (
    BLOCKS_PER_FETCH_MAX,
    Blocks,
    CheckpointVote,
    Evidence,
    FetchBlocks,
    FetchProposals,
    Message,
    PrePrepare,
    Proposals,
    Status,
    Vote,
)
from consensus.verify import verify
from primitives.block import CommittedBlock
from primitives.hashing import leaf_hash
from primitives.ids import Epoch, Height, TimeMs, View
from primitives.notes import Checkpoint, cosign_statement
from primitives.votes import COMMIT, PREPARE
from sim.signatures import stand_in_signature
from tests.consensus.toy_fixtures import (
    ORIGIN,
    START_MS,
    Group,
    Letter,
    batch_of,
    certificate_of,
    chain_of,
    claim_of,
    committed_of,
    new_view_of,
    proposal_of,
    validator_of,
    view_change_of,
    vote_of,
)


def status(delivered: int, view: int = 0, active: bool = True) -> Status:
    return Status(Epoch(0), View(view), active, Height(delivered), Height(delivered), Height(0), True)


@pytest.mark.parametrize("count", [1, 5, 20, 150])
def test_a_node_that_was_away_catches_up(count: int) -> None:
    group = Group()
    group.crash(3)
    for number in range(count):
        group.offer(batch_of(number))
        group.deliver()
    assert group.heights() == [count, count, count, 0]
    group.start(3)
    group.run(6_000)
    assert group.heights() == [count] * 4
    group.offer(batch_of(9_999))
    group.run(200)
    assert any(isinstance(item, Vote) and item.height == count + 1 for item in group.nodes[3].sent), "it votes again"


def test_fetching_goes_on_at_once_while_blocks_come() -> None:
    group = Group()
    group.crash(3)
    for number in range(3 * BLOCKS_PER_FETCH_MAX):
        group.offer(batch_of(number))
        group.deliver()
    group.start(3)
    group.tick(1_100)
    group.deliver()
    assert group.heights()[3] == 3 * BLOCKS_PER_FETCH_MAX


def asked(group: Group) -> list[str]:
    return [
        item.peer for item in group.found(3, Send) if isinstance(item, Send) and isinstance(item.message, FetchBlocks)
    ]


def test_a_silent_server_is_replaced_by_another() -> None:
    group = Group()
    for index in range(3):
        group.give(Letter(index, 3, status(100)))
    for _ in range(6):
        group.tick(group.parameters.fetch_timeout_ms)
    assert set(asked(group)) == {"v0", "v1", "v2"}
    assert len(asked(group)) <= 8


def test_a_peer_that_does_not_hold_the_block_any_more_is_left_for_another_at_once() -> None:
    group = Group()
    for index in range(3):
        group.give(Letter(index, 3, status(100)))
    (first,) = asked(group)
    group.give(Letter(int(first[1:]), 3, Blocks((), ())))
    first, second = asked(group)
    assert first != second
    group.give(Letter(int(first[1:]), 3, Blocks((), ())))
    assert len(asked(group)) == 2, "who was not asked last has no say"
    group.give(Letter(int(second[1:]), 3, Blocks((), ())))
    assert sorted(asked(group)) == ["v0", "v1", "v2"]
    assert group[3].unserved == 0


def test_where_no_peer_holds_the_block_all_are_asked_again_after_a_while_and_not_before() -> None:
    group = Group()
    for index in range(3):
        group.give(Letter(index, 3, status(100)))
    for _ in range(20):
        group.give(Letter(int(asked(group)[-1][1:]), 3, Blocks((), ())))
    assert len(asked(group)) == 3
    assert group[3].unserved == 1
    group.tick(group.parameters.fetch_timeout_ms)
    assert len(asked(group)) == 4


def test_who_claims_to_be_ahead_and_is_not_cannot_stop_the_others() -> None:
    group = Group()
    group.offer(*(batch_of(number) for number in range(3)))
    group.drop = lambda letter: letter.receiver == 3
    group.run(500)
    group.drop = lambda letter: False
    group.give(Letter(0, 3, status(2**40)))
    group.nodes[0].blocks.clear()  # it serves nothing
    group.run(5_000)
    assert group.heights()[3] == 3


def test_blocks_are_served_from_the_store_and_only_those_that_are_there() -> None:
    group = Group()
    group.offer(batch_of(0), batch_of(1))
    group.run(100)
    group.nodes[1].seen.clear()
    group.give(Letter(3, 1, FetchBlocks(Height(1), 64)))
    group.give(Letter(3, 1, FetchBlocks(Height(3), 64)))
    assert group.found(1, ServeBlocks) == [ServeBlocks("v3", Height(1), 2)]


def test_blocks_of_the_same_height_again_change_nothing() -> None:
    group = Group()
    group.offer(batch_of(0))
    group.deliver()
    before = group[3].moves
    for view in (0, 1, 2):
        group.give(Letter(1, 3, Blocks((committed_of(group.nodes[0].blocks[0].block, view=view),), ())))
    assert (group[3].moves, group[3].slots) == (before, {})


def test_catching_up_and_deciding_the_same_height_commits_once() -> None:
    group = Group()
    (block,) = chain_of(1)
    group.nodes[3].application.held.add(batch_of(0))
    group.give(Letter(0, 3, proposal_of(block, 0)))
    for signer in (0, 1):
        group.give(Letter(signer, 3, vote_of(COMMIT, signer, block.header.hash())))
    group.give(Letter(2, 3, Blocks((committed_of(block),), ())))
    group.give(Letter(2, 3, vote_of(COMMIT, 2, block.header.hash())))
    assert group.heights()[3] == 1


@pytest.mark.parametrize("lost", [PrePrepare, Vote, "commits to one", "everything once"])
def test_what_was_lost_is_sent_again(lost: type | str) -> None:
    group = Group()
    group.offer(batch_of(0))
    if lost == "everything once":
        group.queue.clear()
    elif lost == "commits to one":
        group.drop = lambda letter: isinstance(letter.message, Vote) and letter.receiver == 3
    else:
        group.drop = lambda letter: isinstance(letter.message, lost)  # type: ignore[arg-type]  # a type
    group.deliver()
    group.drop = lambda letter: False
    group.run(4_000)
    assert group.heights() == [1, 1, 1, 1]
    assert all(group[index].view <= 1 for index in range(4))


def test_prepares_that_were_lost_are_sent_again_in_the_same_view() -> None:
    group = Group()
    group.drop = lambda letter: isinstance(letter.message, Vote)
    group.offer(batch_of(0))
    group.deliver()
    group.drop = lambda letter: False
    group.run(group.parameters.timeout_base_ms - 100)
    assert group.heights() == [1, 1, 1, 1]
    assert [group[index].view for index in range(4)] == [0, 0, 0, 0]


def test_nothing_is_signed_a_second_time_when_it_is_sent_again() -> None:
    group = Group()
    group.drop = lambda letter: isinstance(letter.message, Vote) and letter.message.phase == COMMIT
    group.offer(batch_of(0))
    group.run(1_900)
    votes = [item for item in group.nodes[1].sent if isinstance(item, Vote)]
    assert len(votes) > len(set(votes)) == 2


def test_a_laggard_and_a_dead_validator_do_not_stop_order() -> None:
    group = Group()
    group.drop = lambda letter: letter.receiver == 3
    group.offer(*(batch_of(number) for number in range(4)))
    group.run(1_000)
    assert group.heights() == [4, 4, 4, 0]
    group.drop = lambda letter: False
    group.crash(0)
    group.offer(batch_of(9))
    group.run(15_000)
    assert group.heights() == [4, 5, 5, 5]


def test_proposals_that_nobody_asked_for_are_not_kept() -> None:
    group = Group()
    blocks = chain_of(8)
    group.give(Letter(1, 3, vote_of(PREPARE, 1, blocks[0].header.hash())))
    group.give(Letter(1, 3, Proposals(tuple(blocks))))
    assert [slot.blocks for slot in group[3].slots.values()] == [{}]


# --- whatever a peer signs and sends


def _checkpoint_vote(signer: int, height: int, size: int) -> CheckpointVote:
    root = leaf_hash(size.to_bytes(8, "big"))
    signed = cosign_statement(Checkpoint(ORIGIN, size, root).text(), 5)
    signature = stand_in_signature(validator_of(f"v{signer}").cosign_key, signed)
    return CheckpointVote(Epoch(0), Height(height), size, root, 5, signer, signature)


HEIGHTS = st.one_of(st.integers(1, 20), st.sampled_from([63, 64, 65, 100, 2**40]))
VIEWS = st.one_of(st.integers(0, 9), st.sampled_from([1_000, 2**39]))
SIGNERS = st.integers(0, 3)
CHAIN = [chain_of(12, branch=branch) for branch in range(3)]
BLOCKS = st.builds(lambda branch, number: CHAIN[branch][number], st.integers(0, 2), st.integers(0, 11))


def _claims(block_numbers: set[int], branch: int, view: int) -> tuple:  # type: ignore[type-arg]  # of claims
    return tuple(claim_of(CHAIN[branch][number], view) for number in sorted(block_numbers))


VIEW_CHANGES = st.builds(
    lambda signer, view, numbers, branch, claimed: view_change_of(
        signer, view, (), _claims(numbers, branch, claimed % view)
    ),
    SIGNERS,
    st.integers(1, 9),
    st.sets(st.integers(0, 7)),
    st.integers(0, 2),
    st.integers(0, 8),
)

MESSAGES: st.SearchStrategy[Message] = st.one_of(
    st.builds(lambda block, view: proposal_of(block, view % 4, view=view), BLOCKS, VIEWS),
    st.builds(
        lambda phase, signer, number, height, view: vote_of(phase, signer, batch_of(number), height=height, view=view),
        st.sampled_from([PREPARE, COMMIT]), SIGNERS, st.integers(0, 3), HEIGHTS, VIEWS,
    ),
    VIEW_CHANGES,
    st.builds(
        lambda signer, view: view_change_of(signer, view), SIGNERS, st.sampled_from([1, 2, 50, 2**39])
    ),
    st.builds(
        lambda view: new_view_of(view % 4, *(view_change_of(index, view) for index in (0, 1, 2))), st.integers(1, 9)
    ),
    st.builds(_checkpoint_vote, SIGNERS, HEIGHTS, st.integers(1, 50)),
    st.builds(status, HEIGHTS, VIEWS, st.booleans()),
    st.builds(FetchBlocks, HEIGHTS, st.integers(1, 64)),
    st.builds(
        lambda numbers: FetchProposals(tuple(map(batch_of, numbers))), st.lists(st.integers(), min_size=1, max_size=8)
    ),
    st.builds(lambda branch, count: Proposals(tuple(CHAIN[branch][:count])), st.integers(0, 2), st.integers(0, 8)),
    st.builds(
        lambda signer, view, height: Evidence(
            vote_of(PREPARE, signer, batch_of(1), view=view, height=height),
            vote_of(PREPARE, signer, batch_of(2), view=view, height=height),
        ),
        SIGNERS, VIEWS, HEIGHTS,
    ),
)  # fmt: skip


@given(st.lists(st.tuples(SIGNERS, st.one_of(MESSAGES, st.none()), st.integers(0, 4_000)), max_size=60))
def test_no_run_of_signed_messages_raises_or_grows_memory(events: list[tuple[int, Message | None, int]]) -> None:
    group = Group()
    node = group.nodes[3]
    node.application.held.update(batch_of(1_000 * branch + number) for branch in range(3) for number in range(12))
    replica = node.replica
    assert replica is not None
    for sender, message, later_ms in events:
        group.now = TimeMs(group.now + later_ms)
        event = Tick() if message is None else Received(f"v{sender}", verify(message, group.verification()))
        replica.step(event, group.now)
        check_bounds(replica.state)


def test_a_flood_of_committed_blocks_far_ahead_is_bounded() -> None:
    group = Group()
    blocks = chain_of(200)
    for start in range(0, 200, 10):
        group.give(Letter(0, 3, Blocks(tuple(committed_of(block) for block in blocks[start + 1 : start + 10]), ())))
        check_bounds(group[3])
    assert len(group[3].slots) <= BLOCKS_PER_FETCH_MAX


def test_views_of_votes_are_bounded_per_validator() -> None:
    group = Group()
    for view in range(100):
        group.give(Letter(1, 3, vote_of(PREPARE, 1, batch_of(view), view=view)))
    assert group[3].slots[Height(1)].prepares.entries() == 4
    group.give(Letter(1, 3, vote_of(PREPARE, 1, batch_of(5), view=5)))
    for view in range(96, 100):
        assert group[3].slots[Height(1)].prepares.signatures(View(view), batch_of(view))


def test_statuses_of_many_peers_are_bounded() -> None:
    group = Group()
    for index in range(2_000):
        message = verify(status(0), group.verification())
        replica = group.nodes[3].replica
        assert replica is not None
        replica.step(Received(f"observer-{index}", message), START_MS)
    assert len(group[3].statuses) == 1_024
    replica.step(Received("observer-7", verify(status(9), group.verification())), START_MS)
    assert group[3].statuses["observer-7"].delivered == 9, "those that are known may go on"


def test_a_status_is_sent_once_an_interval() -> None:
    group = Group()
    group.tick(0)
    for _ in range(100):
        group.tick(50)
    sent = [item for item in group.nodes[2].sent if isinstance(item, Status)]
    assert len(sent) == 5_000 // group.parameters.status_interval_ms


def test_who_is_a_little_behind_asks_once_nothing_came_for_a_while() -> None:
    group = Group()
    group.run(50)
    for number in range(3):
        group[3].progress_ms = group.now
        group.give(Letter(0, 3, status(2)))
        assert asked(group) == [], "what is on its way will do"
        group.now = TimeMs(group.now + group.parameters.status_interval_ms // 2 - 1)
        group.give(Letter(0, 3, status(2 + number)))
        assert asked(group) == []
    group.now = TimeMs(group.now + 1)
    group.give(Letter(0, 3, status(2)))
    assert asked(group) == ["v0"]


def test_a_certified_block_is_asked_for_once_a_timeout_from_all_who_committed_it() -> None:
    group = Group()
    group.drop = lambda letter: True
    (block,) = chain_of(1)
    for signer in (0, 1, 2):
        group.give(Letter(signer, 3, vote_of(COMMIT, signer, block.header.hash())))
    for _ in range(39):
        group.tick(50)
    requests = [item for item in group.found(3, Send) if isinstance(item.message, FetchProposals)]  # type: ignore[union-attr]  # a Send
    assert [item.peer for item in requests] == ["v0", "v1", "v2"] * 2  # type: ignore[union-attr]  # a Send


def test_a_delivered_block_that_is_asked_for_by_hash_comes_alone_with_its_certificate() -> None:
    group = Group()
    group.offer(batch_of(0))
    group.run(100)
    group.offer(batch_of(1))
    group.run(100)
    group.give(Letter(3, 1, FetchProposals((group.nodes[1].blocks[0].block.header.hash(),))))
    assert group.found(1, ServeBlocks)[-1] == ServeBlocks("v3", Height(1), 1)


def test_a_certificate_of_another_view_than_the_first_is_as_good() -> None:
    group = Group()
    (block,) = chain_of(1)
    group.nodes[3].application.held.add(batch_of(0))
    certificate = certificate_of(COMMIT, block, (1, 2, 3), view=7)
    group.give(Letter(1, 3, Blocks((CommittedBlock(block, certificate),), ())))
    assert group.heights()[3] == 1


def test_blocks_that_nobody_asked_for_breed_no_requests() -> None:
    group = Group()
    blocks = chain_of(5)
    group.give(Letter(0, 3, status(100)))
    group.tick(group.parameters.fetch_timeout_ms)
    before = len(asked(group))
    assert before > 0
    for _ in range(10):
        group.give(Letter(1, 3, Blocks((committed_of(blocks[3]),), ())))
        group.give(Letter(0, 3, Blocks((committed_of(blocks[4]),), ())))
    assert len(asked(group)) == before
