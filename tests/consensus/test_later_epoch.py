"""A log of an epoch that the ledger has not reached: nothing is signed until it is there, and then it all binds."""

from __future__ import annotations

from msgspec.structs import replace

from consensus.effects import Persist
from consensus.messages import NewView, PrePrepare, ViewChange, Vote
from consensus.records import Committed, Prepared, Proposed, Reached, ViewChanged, ViewStarted, encode_record
from consensus.state import BLOCKS_KEPT_PER_HEIGHT
from primitives.block import Block
from primitives.encoding import Record
from primitives.ids import Epoch, Height, View
from primitives.validators import ValidatorSet
from primitives.votes import COMMIT, PREPARE
from sim.signatures import stand_in_signature
from sim.toy import CHAIN_ID, validator_of
from tests.consensus.test_restart import SIGNED, lose_ledger
from tests.consensus.toy_fixtures import (
    Group,
    Letter,
    batch_of,
    chain_of,
    claim_of,
    new_view_of,
    view_change_of,
    vote_of,
)


def in_the_next_epoch(group: Group, count: int = 3) -> None:
    """Let the group end its epoch with the same validators, and order some blocks in the next."""
    change = batch_of(500)
    following = ValidatorSet(Epoch(1), group.validators.validators)
    group.set_changes[change] = following
    for node in group.nodes:
        node.application.change_set(change, following)
    group.offer(change)
    group.run(200)
    for number in range(count):
        group.offer(batch_of(number))
        group.run(200)
    assert {group[index].epoch for index in range(4)} == {1}


def test_a_log_of_a_later_epoch_is_taken_back_once_the_ledger_is_there_and_the_validator_votes_again() -> None:
    group = Group()
    in_the_next_epoch(group)
    height = group.heights()[2]
    group.drop = lambda letter: isinstance(letter.message, Vote) and letter.message.phase == COMMIT
    group.offer(batch_of(90))
    group.deliver()
    claimed = group[2].slots[Height(height + 1)].claim
    assert claimed is not None
    group.drop = lambda letter: True
    lose_ledger(group, 2)
    assert group[2].learner
    assert group[2].later is not None
    group.nodes[2].sent.clear()
    group.drop = lambda letter: isinstance(letter.message, (Vote, PrePrepare, ViewChange))
    group.run(5_000)
    assert group.heights()[2] == height
    assert not group[2].learner, "no restart is needed"
    assert group[2].later is None
    assert group[2].slots[Height(height + 1)].claim == claimed
    group.drop = lambda letter: False
    group.crash(3)
    group.offer(batch_of(91), to=range(3))
    group.run(15_000)
    assert group.heights()[:3] == [height + 2] * 3, "with one down, it takes the vote of who came back"


def test_nothing_is_signed_in_the_epochs_below_the_logs() -> None:
    group = Group()
    in_the_next_epoch(group)
    group.drop = lambda letter: True
    lose_ledger(group, 2)
    group.nodes[2].sent.clear()
    for signer in (0, 1, 3):
        group.give(Letter(signer, 2, view_change_of(signer, 1)))
    group.tick(5_000)
    assert not any(isinstance(item, SIGNED) for item in group.nodes[2].sent)


def test_a_learner_whose_log_was_lost_stays_one_when_its_own_later_log_is_taken_back() -> None:
    group = Group()
    in_the_next_epoch(group)
    group.crash(2)
    group.nodes[2].blocks = []
    group.nodes[2].monitor.ledger_lost()
    group.start(2, learner=True)
    assert group[2].later is not None
    group.run(5_000)
    assert group.heights()[2] == group.heights()[0]
    assert group[2].later is None
    assert group[2].learner


def test_a_vow_of_the_later_epoch_binds_when_the_ledger_is_there() -> None:
    group = Group()
    in_the_next_epoch(group)
    height = group.heights()[2]
    for signer in (0, 1):
        group.give(Letter(signer, 2, of_epoch_1(view_change_of(signer, 3))))
    assert (group[2].view, group[2].active) == (3, False)
    group.drop = lambda letter: True
    lose_ledger(group, 2)
    group.drop = lambda letter: isinstance(letter.message, (Vote, PrePrepare, ViewChange, NewView))
    group.run(5_000)
    assert group.heights()[2] == height
    assert not group[2].learner
    assert group[2].view >= 3


def of_epoch_1(change: ViewChange) -> ViewChange:
    """Return a VIEW-CHANGE as its signer would send it in epoch 1."""
    unsigned = replace(change, epoch=Epoch(1))
    signature = stand_in_signature(validator_of(f"v{change.validator}").vote_key, unsigned.statement(CHAIN_ID))
    return replace(unsigned, signature=signature)


def test_of_a_later_epochs_log_only_the_newest_views_are_kept() -> None:
    group = Group()
    group.crash(2)
    wal = group.nodes[2].wal
    chain = chain_of(20)
    views = range(1, 41)
    for view in views:
        changes = tuple(of_epoch_1(view_change_of(signer, view)) for signer in range(3))
        wal.append(encode_record(ViewStarted(new_view_of(view % 4, *changes))))
        for block in chain[-4:]:
            height = block.header.height
            proposal = PrePrepare(Epoch(1), View(view), block, b"signed")
            vote = vote_of(PREPARE, 2, block.header.hash(), height=height, epoch=1, view=view)
            commit = vote_of(COMMIT, 2, block.header.hash(), height=height, epoch=1, view=view)
            certificate = replace(claim_of(block, view).certificate, epoch=Epoch(1))
            records = (Proposed(proposal), Prepared(vote), Committed(commit, certificate))
            wal += [encode_record(record) for record in records]
    wal.append(encode_record(ViewChanged(of_epoch_1(view_change_of(2, 41)))))
    group.start(2)
    kept = group.nodes[2].replica.live_records()
    assert not [item for item in kept if isinstance(item, ViewStarted)], "the vow above it ended that view"
    assert [item.view_change.view for item in kept if isinstance(item, ViewChanged)] == [41]
    assert [item.vote.view for item in kept if isinstance(item, Committed)] == [40] * 4
    assert [item.vote.view for item in kept if isinstance(item, Prepared)] == [40] * 4
    assert len(kept) <= 4 + 4 + 4 + 3
    group.crash(2)
    wal[:] = [encode_record(record) for record in kept[:-1]]
    wal += [encode_record(ViewStarted(new_view_of(1, *(of_epoch_1(view_change_of(index, 45)) for index in range(3)))))]
    group.start(2)
    kept = group.nodes[2].replica.live_records()
    assert [item.new_view.view for item in kept if isinstance(item, ViewStarted)] == [45]
    assert not [item for item in kept if isinstance(item, ViewChanged)], "the view that began ended the vow below it"


def voted_for(block: Block, view: int, *, committed: bool) -> list[Record]:
    """Return what a log of epoch 1 holds of a view in which validator 2 voted for a block."""
    height, block_hash = block.header.height, block.header.hash()
    prepared = vote_of(PREPARE, 2, block_hash, height=height, epoch=1, view=view)
    records: list[Record] = [Proposed(PrePrepare(Epoch(1), View(view), block, b"signed")), Prepared(prepared)]
    if committed:
        commit = vote_of(COMMIT, 2, block_hash, height=height, epoch=1, view=view)
        records.append(Committed(commit, replace(claim_of(block, view).certificate, epoch=Epoch(1))))
    return records


def test_a_claim_of_a_later_epochs_log_outlives_as_many_other_blocks_as_a_slot_keeps() -> None:
    """Its block is the oldest of all, and was committed to again after the others: the older COMMIT is not kept."""
    group = Group()
    in_the_next_epoch(group)
    height = group.heights()[2] + 1
    claimed, *others = (chain_of(height, branch=branch)[-1] for branch in range(BLOCKS_KEPT_PER_HEIGHT + 1))
    last = len(others) + 2
    log = voted_for(claimed, 1, committed=True)
    for view, block in enumerate(others, 2):
        log += voted_for(block, view, committed=False)
    log += voted_for(claimed, last, committed=True)
    log.append(ViewChanged(of_epoch_1(view_change_of(2, last + 1))))
    group.drop = lambda letter: True
    group.nodes[2].wal += [encode_record(record) for record in log]
    lose_ledger(group, 2)
    later = group[2].later
    assert later is not None
    assert sum(isinstance(record, Proposed) for record in later.records) == BLOCKS_KEPT_PER_HEIGHT
    group.nodes[2].monitor = type(group.nodes[2].monitor)("v2")  # it saw none of this log written
    for record in log:
        group.nodes[2].monitor.after_step(group[2], [Persist(record)])
    group.drop = lambda letter: isinstance(letter.message, (Vote, PrePrepare, ViewChange, NewView))
    group.run(5_000)
    claim = group[2].slots[Height(height)].claim
    assert claim is not None
    assert (claim.block, claim.certificate.view) == (claimed, last)


def test_a_later_epochs_log_that_another_validator_wrote_stops_the_node_once_that_can_be_told() -> None:
    group = Group()
    in_the_next_epoch(group)
    kept = group.nodes[1].replica.live_records()
    assert not any(isinstance(record, Prepared | Committed) for record in kept), "all but its cosignature is settled"
    group.nodes[2].wal[:] = [encode_record(record) for record in kept]
    group.drop = lambda letter: True
    lose_ledger(group, 2)
    assert group[2].halted is None, "the set of that epoch is not known yet"
    group.nodes[2].sent.clear()
    group.drop = lambda letter: False
    group.run(5_000)
    assert "another validator's" in str(group[2].halted)
    assert not any(isinstance(item, SIGNED) for item in group.nodes[2].sent)


def test_a_later_epochs_log_that_names_another_voter_stops_the_node() -> None:
    group = Group()
    in_the_next_epoch(group)
    vote = vote_of(PREPARE, 1, batch_of(0), height=group.heights()[1] + 1, epoch=1)
    group.nodes[2].wal[:] = [encode_record(Reached(Epoch(1), Height(2))), encode_record(Prepared(vote))]
    group.drop = lambda letter: True
    lose_ledger(group, 2)
    group.drop = lambda letter: False
    group.run(5_000)
    assert "another validator's" in str(group[2].halted)
