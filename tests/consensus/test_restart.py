"""Restarts: a crash before and after every write, and what is sent again, byte for byte."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from consensus.effects import Broadcast, Effect, Persist
from consensus.messages import WINDOW, CheckpointVote, Message, NewView, PrePrepare, ViewChange, Vote, encode_message
from consensus.records import (
    Committed,
    Cosigned,
    Prepared,
    Proposed,
    Reached,
    ViewChanged,
    ViewStarted,
    decode_record,
    encode_record,
)
from primitives.encoding import Record, encode
from primitives.errors import StorageError
from primitives.ids import Epoch, Height, View
from primitives.votes import COMMIT, PREPARE
from tests.consensus.toy_fixtures import (
    Group,
    Letter,
    batch_of,
    chain_of,
    claim_of,
    new_view_of,
    proposal_of,
    view_change_of,
    vote_of,
)

KINDS = (Proposed, Prepared, Committed, ViewChanged, ViewStarted, Cosigned)
SIGNED = (Vote, PrePrepare, ViewChange, NewView, CheckpointVote)


def crash_when(kind: type[Record], fate: str) -> Callable[[list[Effect]], str | None]:
    """Crash once, at the first step that writes a record of a kind."""
    done = []

    def decide(effects: list[Effect]) -> str | None:
        hit = any(isinstance(effect, Persist) and isinstance(effect.record, kind) for effect in effects)
        if done or not hit:
            return None
        done.append(True)
        return fate

    return decide


@pytest.mark.parametrize("fate", ["before", "after"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_crash_at_any_write_neither_forks_nor_locks_out(index: int, kind: type[Record], fate: str) -> None:
    group = Group()
    group.nodes[index].crash_at = crash_when(kind, fate)
    if kind in (ViewChanged, ViewStarted):
        group.crash(3)  # a quorum needs the node that crashes
        group.drop = lambda letter: isinstance(letter.message, PrePrepare) and letter.message.view == 0
    group.offer(*(batch_of(number) for number in range(4)))
    group.run(6_000)
    writes_it = (index, kind) != (0, Prepared)  # a leader's proposal is its PREPARE
    assert (group.nodes[index].replica is None) is writes_it
    if writes_it:
        group.start(index)
    if group.nodes[3].replica is None:
        group.start(3)
    group.run(25_000)
    assert group.heights() == [4, 4, 4, 4]


@pytest.mark.parametrize("fate", ["before", "after"])
def test_all_lose_power_at_their_commits_and_the_block_survives(fate: str) -> None:
    group = Group()
    for node in group.nodes:
        node.crash_at = crash_when(Committed, fate)
    group.offer(batch_of(0))
    group.deliver()
    assert all(node.replica is None for node in group.nodes)
    for node in group.nodes:
        node.crash_at = None
        group.start(node.index)
    group.run(10_000)
    assert group.heights() == [1, 1, 1, 1]
    if fate == "after":
        assert all(group[index].view == 0 for index in range(4)), "their stored votes are enough"


def restarted(group: Group, index: int) -> list[Message]:
    """Restart a node and return the signed messages that it sends again."""
    group.crash(index)
    effects = group.start(index)
    return [item.message for item in effects if isinstance(item, Broadcast) and isinstance(item.message, SIGNED)]


def test_votes_are_sent_again_byte_for_byte_and_signed_once() -> None:
    group = Group()
    group.drop = lambda letter: isinstance(letter.message, Vote) and letter.message.phase == COMMIT
    group.offer(batch_of(0), batch_of(1))
    group.run(100)
    sent = [item for item in group.nodes[1].sent if isinstance(item, Vote)]
    assert {vote.phase for vote in sent} == {PREPARE, COMMIT}
    again = restarted(group, 1)
    assert {encode_message(item) for item in again} == {encode_message(item) for item in sent}
    assert not any(isinstance(effect, Persist) for effect in group.nodes[1].seen[-len(again) :])


def test_a_leader_sends_its_stored_proposals_again_and_proposes_nothing_else_there() -> None:
    group = Group()
    group.drop = lambda letter: True
    group.offer(batch_of(0))
    (proposal,) = [item for item in group.nodes[0].sent if isinstance(item, PrePrepare)]
    group.nodes[0].application.waiting.insert(0, batch_of(5))
    group.nodes[0].application.held.add(batch_of(5))
    again = restarted(group, 0)
    assert [item for item in again if isinstance(item, PrePrepare) and item.block.header.height == 1] == [proposal]


def test_a_view_change_is_sent_again_byte_for_byte_and_still_binds() -> None:
    group = Group()
    group.drop = lambda letter: True
    group.offer(batch_of(0))
    group.tick(10)
    group.tick(3_000)
    (vowed,) = [item for item in group.nodes[2].sent if isinstance(item, ViewChange)]
    assert restarted(group, 2) == [vowed]
    assert (group[2].view, group[2].active) == (1, False)
    (block,) = chain_of(1)
    group.give(Letter(0, 2, proposal_of(block, 0)))
    assert not any(isinstance(item, Vote) and item.view == 0 for item in restarted(group, 2))


def test_a_node_resumes_in_the_highest_view_that_it_entered_and_still_votes_there() -> None:
    group = Group()
    group.crash(0)
    group.offer(batch_of(0))
    group.run(4_000)
    assert group[2].view == 1
    restarted(group, 2)
    assert (group[2].view, group[2].active) == (1, True)
    group.offer(batch_of(1))
    group.run(500)
    assert group.heights() == [0, 2, 2, 2]


def test_a_stored_vote_of_an_older_view_is_no_vote_of_the_newer_one() -> None:
    group = Group()
    (block,) = chain_of(1)
    group.nodes[3].application.held.add(batch_of(0))
    group.give(Letter(0, 3, proposal_of(block, 0)))
    for signer in (1, 2):
        group.give(Letter(signer, 3, vote_of(PREPARE, signer, block.header.hash())))
    changes = (view_change_of(0, 1, (), (claim_of(block, 0),)), view_change_of(1, 1), view_change_of(2, 1))
    group.give(Letter(1, 3, new_view_of(1, *changes)))
    again = restarted(group, 3)
    assert not any(isinstance(item, Vote) for item in again)
    group.nodes[3].sent.clear()
    group.give(Letter(1, 3, proposal_of(block, 1, view=1)))
    assert [(item.phase, item.view) for item in group.nodes[3].sent if isinstance(item, Vote)] == [(PREPARE, 1)]


def test_a_restarted_leader_sends_its_new_view_again() -> None:
    group = Group()
    group.crash(0)
    group.offer(batch_of(0))
    group.drop = lambda letter: isinstance(letter.message, NewView)
    group.run(2_500)
    (started,) = {item for item in group.nodes[1].sent if isinstance(item, NewView)}
    assert started in restarted(group, 1)


def test_a_claim_survives_restarts_and_log_rewrites_into_the_next_view() -> None:
    group = Group()
    (block,) = chain_of(1)
    group.nodes[2].application.held.add(batch_of(0))
    group.give(Letter(0, 2, proposal_of(block, 0)))
    for signer in (1, 3):
        group.give(Letter(signer, 2, vote_of(PREPARE, signer, block.header.hash())))
    group.queue.clear()
    for _ in range(3):
        rewrite(group, 2)
        restarted(group, 2)
    group.queue.clear()
    group.nodes[2].application.waiting.append(batch_of(7))
    group.tick(10)
    group.tick(3_000)
    change = [item for item in group.nodes[2].sent if isinstance(item, ViewChange)][-1]
    assert [claim.block for claim in change.claims] == [block]
    rewrite(group, 2)
    restarted(group, 2)
    group.nodes[2].sent.clear()
    for signer in (0, 1):
        group.give(Letter(signer, 2, view_change_of(signer, 5)))
    (change,) = [item for item in group.nodes[2].sent if isinstance(item, ViewChange)]
    assert (change.view, [claim.block for claim in change.claims]) == (5, [block])


def rewrite(group: Group, index: int) -> None:
    """Cut a node's log down to what a restart still needs."""
    node = group.nodes[index]
    assert node.replica is not None
    node.wal = [encode_record(record) for record in node.replica.live_records()]


@pytest.mark.parametrize("when", ["in a view", "between views", "after commits"])
def test_a_cut_log_restores_what_the_whole_log_does(when: str) -> None:
    group = Group()
    if when == "after commits":
        group.offer(*(batch_of(number) for number in range(3)))
        group.run(1_000)
    group.drop = lambda letter: isinstance(letter.message, Vote) and letter.message.phase == COMMIT
    group.offer(batch_of(10), batch_of(11))
    group.run(200)
    if when == "between views":
        group.drop = lambda letter: not isinstance(letter.message, ViewChange)
        group.run(2_500)
    whole = restarted(group, 1)
    rewrite(group, 1)
    cut = restarted(group, 1)
    assert [encode_message(item) for item in cut] == [encode_message(item) for item in whole]
    assert whole


def test_the_cut_log_is_small() -> None:
    group = Group()
    for number in range(50):
        group.offer(batch_of(number))
        group.run(100)
    assert len(group.nodes[1].wal) > 100
    rewrite(group, 1)
    assert len(group.nodes[1].wal) <= 2


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (encode((99, b"\x90")), StorageError),
        (encode((-1, b"\x90")), StorageError),
    ],
)
def test_a_record_of_an_unknown_kind_is_refused(data: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        decode_record(data)


def test_records_round_trip() -> None:
    group = Group()
    group.crash(3)
    group.offer(batch_of(0), to=range(0, 3))
    group.run(1_000)
    group.crash(0)
    group.start(3)
    group.offer(batch_of(1))
    group.run(6_000)
    seen = {type(decode_record(data)) for node in group.nodes for data in node.wal}
    assert seen == set(KINDS)
    for node in group.nodes:
        for data in node.wal:
            assert encode_record(decode_record(data)) == data


def lose_ledger(group: Group, index: int) -> None:
    """Restart a node whose store is gone and whose write-ahead log is not."""
    group.crash(index)
    node = group.nodes[index]
    node.blocks = []
    node.monitor.ledger_lost()
    group.start(index)


@pytest.mark.parametrize("cut", [False, True])
def test_votes_bind_even_if_the_ledger_below_them_was_lost(cut: bool) -> None:
    group = Group()
    for number in range(30):
        group.offer(batch_of(number))
        group.run(100)
    group.drop = lambda letter: (
        isinstance(letter.message, Vote) and letter.message.phase == COMMIT and letter.receiver != 0
    )
    group.offer(batch_of(99))
    group.deliver()
    assert group.heights() == [31, 30, 30, 30]
    if cut:
        rewrite(group, 2)
    group.drop = lambda letter: True
    lose_ledger(group, 2)
    assert not group[2].may_vow
    group.nodes[2].sent.clear()
    for signer in (1, 3):
        group.give(Letter(signer, 2, view_change_of(signer, 1)))
    group.tick(10_000)
    assert not any(isinstance(item, SIGNED) for item in group.nodes[2].sent), "it signs nothing until it is back"
    group.crash(0)  # the only one that delivered the last block; whether it is kept depends on the claims
    group.drop = lambda letter: False
    group.offer(batch_of(100), to=range(1, 4))
    group.run(30_000)
    kept = group.nodes[0].blocks[30].block.header.hash()
    assert group.heights()[1:] == [32, 32, 32]
    assert group.nodes[2].blocks[30].block.header.hash() == kept


def test_claims_above_a_lost_ledger_are_made_once_it_is_back() -> None:
    group = Group()
    for number in range(20):
        group.offer(batch_of(number))
        group.run(100)
    group.drop = lambda letter: isinstance(letter.message, Vote) and letter.message.phase == COMMIT
    group.offer(batch_of(99))
    group.deliver()
    claimed = group[2].slots[Height(21)].claim
    assert claimed is not None
    group.drop = lambda letter: True
    lose_ledger(group, 2)
    group.drop = lambda letter: isinstance(letter.message, (Vote, PrePrepare, ViewChange))
    group.run(3_000)
    assert group.heights()[2] == 20
    assert group[2].slots[Height(21)].claim == claimed
    for signer in (1, 3):
        group.give(Letter(signer, 2, view_change_of(signer, 4)))
    change = [item for item in group.nodes[2].sent if isinstance(item, ViewChange)][-1]
    assert claimed in change.claims


def test_who_moved_on_while_the_ledger_was_fetched_is_followed_once_it_is_back() -> None:
    """Found by a real network: of four, one without its log, one fetching its ledger, two in the next view for ever."""
    group = Group()
    for number in range(20):
        group.offer(batch_of(number))
        group.run(100)
    for signer in (1, 3):
        group.give(Letter(signer, 2, view_change_of(signer, 1)))
    assert (group[2].view, group[2].active) == (1, False)
    group.drop = lambda letter: True
    group.deliver()
    lose_ledger(group, 2)
    for signer in (1, 3):
        group.give(Letter(signer, 2, view_change_of(signer, 2)))
    assert group[2].view == 1, "it signs nothing until it is back"
    group.drop = lambda letter: isinstance(letter.message, (Vote, PrePrepare, ViewChange, NewView))
    group.run(3_000)
    assert group.heights()[2] == 20
    assert (group[2].view, group[2].active) == (2, True), "it leads that view, and has its quorum"


def test_a_leaders_own_proposals_bind_it_even_if_its_ledger_was_lost() -> None:
    group = Group()
    for number in range(20):
        group.offer(batch_of(number))
        group.run(100)
    leader = group.nodes[0]
    proposals = [data for data in leader.wal if isinstance(decode_record(data), Proposed)]
    assert len(proposals) == 20
    leader.wal[:] = proposals  # its PREPAREs have no other record, and its COMMITs may not have come so far
    group.drop = lambda letter: True
    lose_ledger(group, 0)
    assert group[0].floor == 20 - WINDOW
    assert not group[0].may_vote


def test_a_log_of_a_later_epoch_than_the_ledger_makes_a_learner() -> None:
    group = Group()
    group.crash(2)
    later = vote_of(PREPARE, 2, batch_of(0), epoch=1)
    group.nodes[2].wal.append(encode_record(Prepared(later)))
    group.start(2)
    assert group[2].learner


def test_a_view_that_was_entered_in_a_later_epoch_than_the_ledgers_binds_too() -> None:
    """Its writer need not have signed anything there: accepting a NEW-VIEW alone ends all votes below."""
    group = Group()
    group.crash(2)
    entered = ViewStarted(replace(new_view_of(3, *(view_change_of(index, 3) for index in range(3))), epoch=Epoch(1)))
    group.nodes[2].wal.append(encode_record(entered))
    group.start(2)
    assert group[2].learner
    assert entered in group.nodes[2].replica.live_records()


def test_a_log_that_is_cut_while_the_ledger_is_an_epoch_behind_keeps_what_it_binds_to() -> None:
    """Else a validator whose ledger was lost, and its log not, signs a second time once the ledger is back."""
    group = Group()
    group.crash(2)
    wal = group.nodes[2].wal
    block = chain_of(20)[-1]
    vote = vote_of(COMMIT, 2, block.header.hash(), height=20, epoch=1)
    certificate = replace(claim_of(block, 0).certificate, epoch=Epoch(1))
    change = replace(view_change_of(2, 3), epoch=Epoch(1))
    prepared = Prepared(vote_of(PREPARE, 2, block.header.hash(), height=20, epoch=1))
    bare = Proposed(PrePrepare(Epoch(1), View(0), block, b""))
    binding: list[Record] = [bare, prepared, Committed(vote, certificate), ViewChanged(change)]
    settled = Prepared(vote_of(PREPARE, 2, batch_of(0), height=12, epoch=1))
    wal += [encode_record(record) for record in (settled, *binding)]
    group.start(2)
    for _ in range(2):
        assert group[2].learner
        kept = group.nodes[2].replica.live_records()
        assert [record for record in kept if record in binding] == binding
        assert settled not in kept, "what lies below the floor binds nobody"
        assert Reached(Epoch(1), Height(12)) in kept
        group.crash(2)
        wal[:] = [encode_record(record) for record in kept]
        group.start(2)


def test_of_stored_claims_for_a_height_the_one_of_the_highest_view_is_made() -> None:
    group = Group()
    group.crash(2)
    (older,), (newer,) = chain_of(1), chain_of(1, branch=1, proposer=2)
    for block, view in ((older, 1), (newer, 3)):
        vote = vote_of(COMMIT, 2, block.header.hash(), view=view)
        certificate = claim_of(block, view).certificate
        kept = PrePrepare(vote.epoch, vote.view, block, b"")
        group.nodes[2].wal += [encode_record(Proposed(kept)), encode_record(Committed(vote, certificate))]
    group.start(2)
    assert group[2].slots[Height(1)].claim == claim_of(newer, 3)


@pytest.mark.parametrize("phase", [PREPARE, COMMIT])
def test_a_stored_vote_shows_what_was_delivered_a_window_below_it(phase: int) -> None:
    group = Group()
    group.crash(2)
    block = chain_of(20)[-1]
    vote = vote_of(phase, 2, block.header.hash(), height=20, view=1)
    record = Prepared(vote) if phase == PREPARE else Committed(vote, claim_of(block, 1).certificate)
    group.nodes[2].wal.append(encode_record(record))
    group.start(2)
    assert group[2].floor == 20 - WINDOW
    assert not group[2].may_vow


def test_a_commit_that_only_the_ledger_remembers_binds_when_the_ledger_is_lost_later() -> None:
    group = Group()
    held: list[Letter] = []

    def late(letter: Letter) -> bool:
        """The COMMITs reach validator 3 before the PREPARE that lets it COMMIT: then it delivers at once."""
        vote = letter.message
        if letter.receiver != 3 or not isinstance(vote, Vote) or letter.sender == 0:
            return False
        held.extend([letter] if (vote.phase, letter.sender) == (PREPARE, 1) else [])
        return vote.phase == PREPARE or letter.sender == 2

    group.drop = late
    group.nodes[3].crash_at = crash_when(Committed, "between")
    group.offer(batch_of(1))
    group.deliver()
    group.give(held[0])
    node = group.nodes[3]
    assert node.replica is None, "the crash fell where it had to"
    certificate = node.blocks[0].certificate
    assert certificate is not None
    assert [index for index, _ in certificate.signatures] == [0, 1, 3]
    node.crash_at = None
    group.start(3)
    assert Reached(0, 1) in [decode_record(record) for record in node.wal]
    group.crash(3)
    node.blocks.clear()
    node.monitor.ledger_lost()
    group.start(3)
    assert (group[3].floor, group[3].may_vow) == (1, False), "it waits until it holds again what it committed to"
