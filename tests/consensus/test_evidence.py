"""Evidence in consensus: a leader that tells each half its own story is found out, cosigners too, and no honest one."""

from __future__ import annotations

import pytest

from consensus.effects import Broadcast, EvidenceFound
from consensus.invariants import InvariantBroken
from consensus.messages import CheckpointVote, CosignatureEvidence, Evidence, Message, PrePrepare, Vote
from consensus.records import Accused, encode_record
from primitives.block import Block
from primitives.hashing import leaf_hash
from primitives.ids import Epoch, Hash, Height, TimeMs
from primitives.notes import Checkpoint, cosign_statement
from primitives.votes import COMMIT, PREPARE
from sim.signatures import stand_in_signature
from sim.toy import ORIGIN, validator_of
from tests.consensus.toy_fixtures import (
    Group,
    Letter,
    batch_of,
    chain_of,
    new_view_of,
    proposal_of,
    view_change_of,
    vote_of,
)

ROOT, OTHER_ROOT = leaf_hash(b"a log"), leaf_hash(b"another log")
FAR_OFF = Height(1)


def cosignature(size: int, root: Hash, time_s: int, *, signer: int = 3, height: Height = FAR_OFF) -> CheckpointVote:
    statement = cosign_statement(Checkpoint(ORIGIN, size, root).text(), time_s)
    signature = stand_in_signature(validator_of(f"v{signer}").cosign_key, statement)
    return CheckpointVote(Epoch(0), height, size, root, time_s, signer, signature)


def against(group: Group, index: int) -> list[Evidence | CosignatureEvidence]:
    """Return the evidence that a node found."""
    found = [effect.evidence for effect in group.found(index, EvidenceFound) if isinstance(effect, EvidenceFound)]
    assert all(isinstance(evidence, Evidence | CosignatureEvidence) for evidence in found)
    return found


def shown(group: Group, index: int) -> list[Vote]:
    """Return the votes of others that a node sent."""
    return [item for item in group.nodes[index].sent if isinstance(item, Vote) and item.validator != index]


def two_stories() -> tuple[Group, Block, Block]:
    """Return a group whose leader v0 shows v1 one block and v2 another; nothing else of it arrives."""
    group = Group()
    (block,), (other,) = chain_of(1), chain_of(1, branch=1)
    for node in group.nodes:
        node.application.held.update((batch_of(0), batch_of(1_000)))
    group.drop = lambda letter: letter.sender == 0
    group.give(Letter(0, 1, proposal_of(block, 0)))
    group.give(Letter(0, 2, proposal_of(other, 0)))
    return group, block, other


def test_a_leader_that_shows_each_validator_one_consistent_block_is_found_out_at_once() -> None:
    group, block, other = two_stories()
    assert against(group, 1) == against(group, 2) == []
    group.deliver()
    for index in (1, 2, 3):
        (evidence,) = against(group, index)
        assert evidence.first.validator == 0
        assert isinstance(evidence, Evidence)
        assert {evidence.first.block_hash, evidence.second.block_hash} == {block.header.hash(), other.header.hash()}
        assert group[index].view == 1, "before any timer"


def test_a_leaders_signature_is_shown_once_to_a_validator_in_a_view() -> None:
    group, _, _ = two_stories()
    group.queue.clear()
    odd = vote_of(PREPARE, 2, leaf_hash(b"odd"))
    for vote in (odd, odd, vote_of(COMMIT, 2, leaf_hash(b"odder")), vote_of(PREPARE, 3, leaf_hash(b"odd"))):
        group.give(Letter(vote.validator, 1, vote))
    assert [vote.validator for vote in shown(group, 1)] == [0, 0]
    receivers = [letter.receiver for letter in group.queue if isinstance(letter.message, Vote) and letter.sender == 1]
    assert sorted(receivers) == [2, 3]


def test_a_leaders_signature_is_shown_to_who_voted_before_the_proposal_came() -> None:
    group = Group()
    (block,) = chain_of(1)
    group.give(Letter(2, 1, vote_of(PREPARE, 2, leaf_hash(b"odd"))))
    assert shown(group, 1) == []
    group.give(Letter(0, 1, proposal_of(block, 0)))
    assert [(vote.validator, vote.block_hash) for vote in shown(group, 1)] == [(0, block.header.hash())]


def test_a_learner_may_show_what_a_leader_signed_and_signs_nothing_itself() -> None:
    """Simulated runs found a monitor that took the shown vote for the shower's own."""
    group = Group()
    group.crash(1)
    group.nodes[1].wal.clear()
    group.nodes[1].monitor.log_lost()
    group.start(1, learner=True)
    (block,) = chain_of(1)
    group.give(Letter(0, 1, proposal_of(block, 0)))
    group.give(Letter(2, 1, vote_of(PREPARE, 2, leaf_hash(b"odd"))))
    assert [(vote.validator, vote.block_hash) for vote in shown(group, 1)] == [(0, block.header.hash())]
    own = vote_of(PREPARE, 1, block.header.hash())
    with pytest.raises(InvariantBroken, match="who lost its log signs nothing"):
        group.nodes[1].monitor.watch(group[1], [Broadcast(own)])


def test_nobody_is_shown_what_it_voted_for() -> None:
    group = Group()
    for number in range(5):
        group.offer(batch_of(number))
        group.run(500)
    assert group.heights() == [5, 5, 5, 5]
    assert [shown(group, index) for index in range(4)] == [[], [], [], []]
    assert [against(group, index) for index in range(4)] == [[], [], [], []]


def test_a_leader_is_found_out_by_a_view_that_was_left() -> None:
    group, block, other = two_stories()
    group.drop = lambda letter: not isinstance(letter.message, Vote) or letter.sender == 0
    group.queue.clear()
    group.run(10_000)
    assert group[1].view > 0
    group.drop = lambda letter: False
    group.give(Letter(2, 1, proposal_of(other, 0)))
    (evidence,) = against(group, 1)
    assert (evidence.first.validator, evidence.first.height) == (0, 1)
    assert block.header.hash() != other.header.hash()


def test_a_leader_is_found_out_by_a_view_to_come_and_deposed_when_it_comes() -> None:
    group = Group()
    (block,), (other,) = chain_of(1, proposer=1), chain_of(1, branch=1, proposer=1)
    group.give(Letter(1, 2, proposal_of(block, 1, view=1)))
    group.give(Letter(1, 2, proposal_of(other, 1, view=1)))
    (evidence,) = against(group, 2)
    assert evidence.first.validator == 1
    assert (group[2].view, group[2].active) == (0, True), "it does not lead yet"
    begin_view_one(group, 2)
    assert (group[2].view, group[2].active) == (2, False), "before any timer"
    assert not any(isinstance(item, Vote) for item in group.nodes[2].sent)


def test_a_leader_of_a_view_to_come_is_deposed_by_the_evidence_that_another_found() -> None:
    group = Group()
    hashes = leaf_hash(b"one"), leaf_hash(b"other")
    group.give(Letter(3, 2, Evidence(*(vote_of(PREPARE, 1, item, view=1) for item in hashes))))
    begin_view_one(group, 2)
    assert (group[2].view, group[2].active) == (2, False)


def test_evidence_of_another_view_is_no_reason_to_leave_the_one_that_begins() -> None:
    group = Group()
    hashes = leaf_hash(b"one"), leaf_hash(b"other")
    group.give(Letter(3, 2, Evidence(*(vote_of(PREPARE, 1, item, view=5) for item in hashes))))
    begin_view_one(group, 2)
    assert (group[2].view, group[2].active) == (1, True)


def test_an_early_proposal_that_contradicts_its_leaders_vote_deposes_it_when_the_view_begins() -> None:
    """Though other evidence is held against it already: of each validator only the first is kept."""
    group = Group()
    (block,) = chain_of(1, proposer=1)
    group.nodes[2].application.held.add(batch_of(0))
    hashes = leaf_hash(b"one"), leaf_hash(b"other")
    group.give(Letter(3, 2, Evidence(*(vote_of(PREPARE, 1, item, view=5) for item in hashes))))
    group.give(Letter(3, 2, vote_of(PREPARE, 1, leaf_hash(b"odd"), view=1)))  # shown by who voted for another block
    group.give(Letter(1, 2, proposal_of(block, 1, view=1)))
    assert list(group[2].early) == [1]
    begin_view_one(group, 2)
    assert (group[2].view, group[2].active) == (2, False)
    assert not any(isinstance(item, Vote) for item in group.nodes[2].sent), "it is prepared by nobody"


def begin_view_one(group: Group, index: int) -> None:
    """Give a node the NEW-VIEW of view 1, whose leader is v1."""
    group.give(Letter(1, index, new_view_of(1, *(view_change_of(signer, 1) for signer in (0, 1, 3)))))


def test_evidence_is_written_and_told_again_after_a_restart() -> None:
    group, _, _ = two_stories()
    group.deliver()
    (evidence,) = against(group, 3)
    assert isinstance(evidence, Evidence)
    node = group.nodes[3]
    assert encode_record(Accused(evidence)) in node.wal
    group.crash(3)
    assert EvidenceFound(evidence) in group.start(3)
    assert group[3].accused == {0: evidence}
    assert node.replica is not None
    node.wal = [encode_record(record) for record in node.replica.live_records()]
    group.crash(3)
    assert EvidenceFound(evidence) in group.start(3), "a log that is cut keeps it"


# --- cosignatures


CONTRADICTIONS = {
    "one size with two roots": (cosignature(9, ROOT, 100), cosignature(9, OTHER_ROOT, 100)),
    "one size with two roots at two heights": (
        cosignature(9, ROOT, 100),
        cosignature(9, OTHER_ROOT, 160, height=Height(2)),
    ),
    "a log that fell": (cosignature(9, ROOT, 100), cosignature(8, OTHER_ROOT, 101)),
    "a log that fell, heard in the other order": (cosignature(8, OTHER_ROOT, 101), cosignature(9, ROOT, 100)),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_a_cosigner_that_contradicts_itself_is_accused_once_and_all_are_told(name: str) -> None:
    group = Group()
    for vote in CONTRADICTIONS[name]:
        group.give(Letter(3, 1, vote))
    group.give(Letter(3, 1, cosignature(10, ROOT, 90)))
    (evidence,) = against(group, 1)
    assert isinstance(evidence, CosignatureEvidence)
    assert {evidence.first, evidence.second} == set(CONTRADICTIONS[name])
    group.deliver()
    assert all(list(group[index].accused_cosigners) == [(0, 3)] for index in range(3))
    assert group[1].active, "no reason to leave a view"


@pytest.mark.parametrize(
    "pair",
    [
        (cosignature(9, ROOT, 100), cosignature(9, ROOT, 160)),
        (cosignature(9, ROOT, 100), cosignature(10, OTHER_ROOT, 100, height=Height(2))),
        (cosignature(9, ROOT, 100), cosignature(10, OTHER_ROOT, 101, height=Height(2))),
        (cosignature(9, ROOT, 100), cosignature(9, OTHER_ROOT, 100, signer=2)),
    ],
)
def test_cosignatures_that_do_not_contradict_each_other_accuse_nobody(
    pair: tuple[CheckpointVote, CheckpointVote],
) -> None:
    group = Group()
    for vote in pair:
        group.give(Letter(vote.validator, 1, vote))
    assert against(group, 1) == []


def test_a_clock_that_is_set_back_makes_no_honest_cosigner_contradict_itself() -> None:
    group = Group()
    group.offer(batch_of(0))
    group.run(1_000)
    group.now = TimeMs(group.now - 5_000)
    group.offer(batch_of(1))
    group.run(20_000)
    own = [group[index].checkpoints.own for index in range(4)]
    assert {vote.height for vote in own if vote is not None} == {2}
    assert [against(group, index) for index in range(4)] == [[], [], [], []]


def test_written_evidence_of_cosignatures_is_told_again_after_a_restart() -> None:
    group = Group()
    for vote in CONTRADICTIONS["a log that fell"]:
        group.give(Letter(3, 1, vote))
    (evidence,) = against(group, 1)
    group.crash(1)
    assert EvidenceFound(evidence) in group.start(1)


def sent_kinds(messages: list[Message]) -> set[type]:
    return {type(message) for message in messages}


def test_only_who_votes_otherwise_makes_a_node_send_more() -> None:
    group, _, _ = two_stories()
    group.deliver()
    assert PrePrepare not in sent_kinds(group.nodes[1].sent), "its signature says as much as the whole proposal"
