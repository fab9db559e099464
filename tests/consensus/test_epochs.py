"""Epochs: a block that changes the validator set is a barrier; old epochs' messages prove nothing in the next."""

from __future__ import annotations

import pytest

from consensus.effects import CheckpointStable, ViewEntered
from consensus.messages import Blocks, CheckpointVote, Evidence, PrePrepare, ViewChange, Vote
from consensus.records import Prepared, Proposed, encode_record
from consensus.verify import WrongEpoch, verify
from primitives.block import Block
from primitives.ids import Epoch, Hash, Height, TimeMs
from primitives.validators import Validator, ValidatorSet
from primitives.votes import COMMIT, PREPARE
from tests.consensus.toy_fixtures import (
    START_MS,
    Group,
    Letter,
    batch_of,
    checkpoint_vote_of,
    claim_of,
    committed_of,
    header_of,
    new_view_of,
    proposal_of,
    validator_of,
    validators_of,
    view_change_of,
    vote_of,
)

CHANGE = batch_of(500)


def next_set(*names: str) -> ValidatorSet:
    return ValidatorSet(Epoch(1), tuple(validator_of(name) for name in names))


def changing(group: Group, validators: ValidatorSet, change: Hash = CHANGE) -> None:
    group.set_changes[change] = validators
    for node in group.nodes:
        node.application.change_set(change, validators)


def heights_voted(group: Group, index: int, epoch: int) -> set[int]:
    return {item.height for item in group.nodes[index].sent if isinstance(item, Vote) and item.epoch == epoch}


def test_the_new_set_votes_from_the_block_after_the_barrier_on() -> None:
    group = Group(4, observers=1)
    changing(group, next_set("v0", "v1", "v2", "v4"))
    group.offer(batch_of(0), CHANGE, batch_of(1), batch_of(2))
    group.run(4_000)
    assert group.heights() == [4] * 5
    assert [group[index].epoch for index in range(5)] == [1] * 5
    assert group[3].me is None
    assert group[4].me == 3
    assert heights_voted(group, 4, 1)
    assert max(heights_voted(group, 3, 0)) == 2
    assert not heights_voted(group, 3, 1)


def test_nobody_proposes_or_prepares_above_a_barrier_until_it_is_delivered() -> None:
    group = Group()
    changing(group, next_set("v0", "v1", "v2", "v3"))
    group.drop = lambda letter: isinstance(letter.message, Vote) and letter.message.phase == COMMIT
    group.offer(batch_of(0), CHANGE, batch_of(1))
    group.run(1_500)
    proposed = {item.block.header.height for item in group.nodes[0].sent if isinstance(item, PrePrepare)}
    assert proposed == {1, 2}
    assert all(heights_voted(group, index, 0) <= {1, 2} for index in range(4))
    group.drop = lambda letter: False
    group.run(4_000)
    assert group.heights() == [3] * 4


def test_a_leader_that_proposes_above_a_barrier_gets_no_votes_there() -> None:
    group = Group()
    following = next_set("v0", "v1", "v2", "v3")
    changing(group, following)
    genesis = group.nodes[1].application.genesis
    group.nodes[1].application.held.update((CHANGE, batch_of(1)))
    fields = {"epoch": 0, "proposer": 0, "next_validators": following.hash}
    barrier = header_of(genesis, (CHANGE,), time_ms=START_MS + 1, **fields)  # type: ignore[arg-type]  # as named
    above = header_of(barrier, (batch_of(1),), time_ms=START_MS + 2, **fields)  # type: ignore[arg-type]  # as named
    group.give(Letter(0, 1, proposal_of(Block(barrier, (CHANGE,)), 0)))
    group.give(Letter(0, 1, proposal_of(Block(above, (batch_of(1),)), 0)))
    assert heights_voted(group, 1, 0) == {1}


def test_the_epoch_is_one_higher_its_view_zero_and_its_leader_the_next() -> None:
    group = Group()
    group.crash(0)
    changing(group, next_set("v0", "v1", "v2", "v3"))
    group.offer(CHANGE)
    group.run(4_000)
    assert group.heights()[1:] == [1, 1, 1]
    assert [(group[index].epoch, group[index].view, group[index].active) for index in (1, 2, 3)] == [(1, 0, True)] * 3
    assert group[1].leads, "(epoch + view) mod n"
    entered = [effect for effect in group.found(1, ViewEntered) if isinstance(effect, ViewEntered)]
    assert entered[-1].why == "a new epoch"
    assert [group[index].barrier_height for index in (1, 2, 3)] == [1] * 3, "who left is kept until it is cosigned"


def test_a_new_epoch_begins_with_the_shortest_timeout() -> None:
    group = Group()
    change = batch_of(500)
    changing(group, ValidatorSet(Epoch(1), validators_of(4).validators), change)
    for node in group.nodes:
        node.state.attempts = 5
    group.offer(change)
    group.run(200)
    assert [(node.state.epoch, node.state.attempts) for node in group.nodes] == [(1, 0)] * 4


def test_a_barrier_inside_the_window_survives_a_view_change() -> None:
    group = Group()
    changing(group, next_set("v0", "v1", "v2", "v3"))
    group.drop = lambda letter: (
        isinstance(letter.message, Vote) and letter.message.phase == COMMIT and letter.message.view == 0
    )
    group.offer(batch_of(0), CHANGE, batch_of(1))
    group.run(1_000)
    group.crash(0)
    group.run(8_000)
    assert group.heights()[1:] == [3, 3, 3]
    assert [group[index].epoch for index in (1, 2, 3)] == [1, 1, 1]


def test_a_laggard_of_the_old_epoch_is_given_the_barrier_and_joins() -> None:
    group = Group()
    changing(group, next_set("v0", "v1", "v2", "v3"))
    group.crash(3)
    group.offer(CHANGE, batch_of(0), batch_of(1))
    group.run(1_000)
    group.start(3)
    group.run(4_000)
    assert group.heights() == [3] * 4
    group.offer(batch_of(2))
    group.run(500)
    assert 4 in heights_voted(group, 3, 1)


def test_one_node_alone_delivered_the_barrier_and_the_rest_follow() -> None:
    group = Group()
    changing(group, next_set("v0", "v1", "v2", "v3"))
    group.drop = lambda letter: (
        isinstance(letter.message, Vote) and letter.message.phase == COMMIT and letter.receiver != 3
    )
    group.offer(CHANGE)
    group.deliver()
    assert (group.heights(), group[3].epoch) == ([0, 0, 0, 1], 1)
    group.drop = lambda letter: False
    group.offer(batch_of(0))
    group.run(6_000)
    assert group.heights() == [2] * 4


def test_view_changes_in_the_new_epoch_rest_on_certificates_of_both() -> None:
    group = Group()
    changing(group, next_set("v0", "v1", "v2", "v3"))
    group.offer(*(batch_of(number) for number in range(10)))
    group.run(600)
    group.offer(CHANGE)
    group.run(200)
    group.offer(batch_of(20))
    group.run(200)
    assert group.heights() == [12] * 4
    group.crash(1)  # it leads epoch 1 at view 0
    group.offer(batch_of(30))
    group.run(6_000)
    assert [group.heights()[index] for index in (0, 2, 3)] == [13] * 3
    change = next(item for item in group.nodes[2].sent if isinstance(item, ViewChange))
    assert {item.epoch for item in change.delivered} == {0, 1}


def test_old_epochs_are_left_out_of_view_changes() -> None:
    group = Group()
    for epoch in range(1, 5):
        change = batch_of(600 + epoch)
        validators = ValidatorSet(Epoch(epoch), validators_of(4).validators)
        changing(group, validators, change)
        group.offer(change)
        group.run(200)
    assert [group[index].epoch for index in range(4)] == [4] * 4
    leader = group[0].validators.leader(group[0].view)
    group.crash(leader)
    group.offer(batch_of(0))
    group.run(6_000)
    running = [index for index in range(4) if index != leader]
    assert [group.heights()[index] for index in running] == [5] * 3
    change_sent = next(item for item in group.nodes[running[0]].sent if isinstance(item, ViewChange))
    assert [item.epoch for item in change_sent.delivered] == [3]


@pytest.mark.parametrize("epochs_back", [2, 3])
def test_a_retired_epochs_key_signs_nothing_that_is_taken(epochs_back: int) -> None:
    group = Group()
    for epoch in range(1, epochs_back + 1):
        change = batch_of(600 + epoch)
        changing(group, ValidatorSet(Epoch(epoch), validators_of(4).validators), change)
        group.offer(change)
        group.run(200)
    old = next(item for item in group.nodes[0].sent if isinstance(item, Vote))
    replica = group.nodes[1].replica
    assert replica is not None
    with pytest.raises(WrongEpoch):
        verify(old, replica.verification())
    before = group[1].moves
    group.give(Letter(0, 1, old))
    assert group[1].moves == before


def test_a_leaving_validator_cosigns_the_barrier() -> None:
    group = Group()
    changing(group, next_set("v0", "v1", "v2"))
    group.offer(CHANGE)
    group.run(1_000)
    own = group[3].checkpoints.own
    assert own is not None
    assert (own.height, own.epoch) == (1, 0)
    assert group[0].checkpoints.stable_height == 1


def with_new_epoch() -> tuple[Group, Block]:
    """Return a group that has just begun epoch 1, and a block of epoch 0 above the barrier that no one may take."""
    group = Group()
    following = next_set("v0", "v1", "v2", "v3")
    changing(group, following)
    group.offer(CHANGE)
    group.run(200)
    assert [(group[index].epoch, group[index].view) for index in range(4)] == [(1, 0)] * 4
    for node in group.nodes:
        node.application.held.add(batch_of(9))
    return group, above(group, following)


def above(group: Group, following: ValidatorSet) -> Block:
    """Return a block of epoch 0 on the newest block of the first node."""
    header = header_of(
        group.nodes[0].application.tip,
        (batch_of(9),),
        time_ms=group.now,
        epoch=0,
        proposer=0,
        next_validators=following.hash,
    )
    return Block(header, (batch_of(9),))


def test_a_proposal_of_the_epoch_before_is_not_taken() -> None:
    group, block = with_new_epoch()
    group.give(Letter(0, 3, proposal_of(block, 0)))
    assert heights_voted(group, 3, 1) == set()
    assert group[3].slots == {}


def test_votes_of_the_epoch_before_decide_nothing() -> None:
    group, block = with_new_epoch()
    for signer in (0, 1, 2):
        group.give(Letter(signer, 3, vote_of(COMMIT, signer, block.header.hash(), height=2)))
    assert group[3].slots == {}


def test_a_block_that_a_retired_quorum_certified_above_its_barrier_is_not_taken() -> None:
    group, block = with_new_epoch()
    group.give(Letter(1, 3, Blocks((committed_of(block),), ())))
    assert group.heights()[3] == 1
    assert group[3].slots == {}


def test_view_changes_and_new_views_of_the_epoch_before_move_nobody() -> None:
    group, _ = with_new_epoch()
    for signer in (1, 2):
        group.give(Letter(signer, 3, view_change_of(signer, 1)))
    group.give(Letter(1, 3, new_view_of(1, *(view_change_of(signer, 1) for signer in (0, 1, 2)))))
    assert (group[3].epoch, group[3].view, group[3].active) == (1, 0, True)
    assert group[3].view_changes == {}


def test_evidence_of_the_epoch_before_deposes_nobody() -> None:
    group, _ = with_new_epoch()
    leader = group[3].validators.leader(group[3].view)
    first, second = (vote_of(PREPARE, leader, batch_of(number), height=2) for number in (1, 2))
    group.give(Letter(2, 3, Evidence(first, second)))
    assert (group[3].view, group[3].active) == (0, True)
    assert group[3].accused == {}


def test_what_was_gathered_in_an_epoch_is_dropped_at_its_end() -> None:
    group = Group()
    following = next_set("v0", "v1", "v2", "v3")
    changing(group, following)
    node, genesis = group.nodes[3], group.nodes[3].application.genesis
    node.application.held.update((CHANGE, batch_of(9)))
    fields = {"epoch": 0, "proposer": 0, "next_validators": following.hash}
    barrier = Block(header_of(genesis, (CHANGE,), time_ms=START_MS + 1, **fields), (CHANGE,))  # type: ignore[arg-type]  # fields of any type
    header = header_of(barrier.header, (batch_of(9),), time_ms=START_MS + 2, **fields)  # type: ignore[arg-type]  # fields of any type
    over = Block(header, (batch_of(9),))
    changes = (
        view_change_of(0, 1, (), (claim_of(barrier, 0), claim_of(over, 0))),
        *(view_change_of(i, 1) for i in (1, 2)),
    )
    group.give(Letter(1, 3, new_view_of(1, *changes)))
    group.give(Letter(0, 3, view_change_of(0, 5)))
    group.give(Letter(1, 3, proposal_of(over, 1, view=1)))
    group.give(Letter(2, 3, proposal_of(over, 2, view=2)))
    for signer in (0, 1, 2):
        group.give(Letter(signer, 3, vote_of(COMMIT, signer, over.header.hash(), height=2, view=1)))
    state = group[3]
    assert all((state.chosen, state.view_changes, state.early, state.slots))
    group.give(Letter(1, 3, Blocks((committed_of(barrier),), ())))
    assert (state.epoch, state.view, group.heights()[3]) == (1, 0, 1)
    assert (state.chosen, state.view_changes, state.early, state.slots) == ({}, {}, {}, {})


def test_a_stored_vote_of_the_epoch_before_is_none_of_the_present_one() -> None:
    group, block = with_new_epoch()
    group.crash(3)
    vote = vote_of(PREPARE, 3, block.header.hash(), height=2)
    group.nodes[3].wal += [encode_record(Proposed(proposal_of(block, 0))), encode_record(Prepared(vote))]
    group.start(3, previous=validators_of(4))
    assert (group[3].epoch, group[3].slots) == (1, {})


def test_the_block_that_ends_an_epoch_is_cosigned_in_whatever_slot_it_falls() -> None:
    group = Group()
    changing(group, next_set("v0", "v1", "v2", "v3"))
    slot_ms = group.parameters.checkpoint_slot_ms
    group.now = TimeMs(group.now + slot_ms - group.now % slot_ms)
    group.offer(batch_of(0))
    group.deliver()
    group.tick(10)
    group.offer(CHANGE)
    group.deliver()
    assert group.heights() == [2] * 4
    assert {item.height for item in group.nodes[2].sent if isinstance(item, CheckpointVote)} == {1, 2}


def test_the_validators_of_an_epoch_cosign_up_to_its_barrier_and_no_further() -> None:
    group, _ = with_new_epoch()
    group.offer(batch_of(10))
    group.run(200)
    assert group.heights() == [2] * 4
    state = group[3]
    head = state.checkpoints.head
    assert head is not None
    state.checkpoints.votes.clear()
    state.checkpoints.stable_height = Height(0)
    before = len(group.found(3, CheckpointStable))
    for epoch, height in ((0, 2), (1, 1)):
        for signer in (0, 1, 2):
            group.give(Letter(signer, 3, checkpoint_vote_of(signer, height, head.size, head.root, epoch=epoch)))
    assert len(group.found(3, CheckpointStable)) == before
    for signer in (0, 1, 2):
        group.give(Letter(signer, 3, checkpoint_vote_of(signer, 2, head.size, head.root, epoch=1)))
    assert len(group.found(3, CheckpointStable)) == before + 1


def test_a_validator_whose_key_was_replaced_signs_nothing_with_the_old_one() -> None:
    group = Group()
    fresh = validator_of("v3 with new keys")
    keys = (fresh.vote_key, fresh.cosign_key, fresh.log_key)
    changing(group, ValidatorSet(Epoch(1), (*validators_of(3).validators, Validator("v3", "v3", *keys))))
    group.offer(CHANGE)
    group.run(200)
    group.offer(batch_of(0))
    group.run(1_000)
    assert group.heights() == [2] * 4
    assert group[3].me is None
    assert heights_voted(group, 3, 1) == set()
    assert heights_voted(group, 3, 0) == {1}
