"""Checkpoints: which blocks all validators cosign, and when a quorum of cosignatures makes one stable.

A block is a checkpoint if its time falls in a later slot (200 ms) than its parent's, or if it ends an epoch; all
validators thereby sign the same ones. The newest block is signed as well after a quiet time, and again while idle, so
that a reader sees a fresh time. Signed size and root never fall. Source: PBFT's CHECKPOINT, as a C2SP cosignature.
"""

from __future__ import annotations

from typing import Final

from consensus import evidence
from consensus.effects import Broadcast, CheckpointStable, Send
from consensus.messages import BUFFER_HEIGHTS, CheckpointVote
from consensus.ports import LogHead
from consensus.records import Cosigned
from consensus.state import CheckpointHead, Checkpoints, ReplicaState
from primitives.block import BlockHeader
from primitives.ids import Epoch, Height, TimeMs
from primitives.notes import Checkpoint, cosign_statement

VOTES_KEPT_PER_VALIDATOR: Final = 2 * BUFFER_HEIGHTS
HEADS_KEPT: Final = 2 * BUFFER_HEIGHTS


def note_head(state: ReplicaState, head: CheckpointHead) -> None:
    """Note the log after the newest block."""
    checkpoints = state.checkpoints
    checkpoints.head = checkpoints.heads[head.height] = head
    checkpoints.heads.pop(Height(head.height - HEADS_KEPT), None)


def after_delivery(
    state: ReplicaState, header: BlockHeader, parent_time: TimeMs, head: LogHead, barrier: bool, now_ms: TimeMs
) -> None:
    """Note the newest block's log, and cosign it where it is a checkpoint."""
    checkpoints = state.checkpoints
    note_head(state, CheckpointHead(header.epoch, header.height, head.size, head.root))
    slot_ms = state.parameters.checkpoint_slot_ms
    if barrier or header.time_ms // slot_ms > parent_time // slot_ms:
        _cosign(state, now_ms)
        settle(state, header.height)  # others may have signed it before it was delivered here
    else:
        settle(state, header.height)
        checkpoints.due_ms = TimeMs(now_ms + state.parameters.checkpoint_quiet_ms)


def on_tick(state: ReplicaState, now_ms: TimeMs) -> None:
    """Cosign the newest block after a quiet time, and again while idle."""
    due = state.checkpoints.due_ms
    if due is not None and now_ms >= due:
        _cosign(state, now_ms)


def _cosign(state: ReplicaState, now_ms: TimeMs) -> None:
    """Sign the newest block's log; size and root are written first, so that they never fall, across restarts."""
    checkpoints, head = state.checkpoints, state.checkpoints.head
    checkpoints.due_ms = TimeMs(now_ms + state.parameters.checkpoint_idle_ms)
    validators = None if head is None else state.set_of(head.epoch)  # who leaves still cosigns the barrier
    me = None if validators is None else state.index_in(validators)
    if head is None or me is None:
        return
    own = checkpoints.own
    # A clock that was set back must not make this log's growth look like a fall: the time never falls either.
    time_s = max(_vouched_until(state, head, now_ms) // 1000, 0 if own is None else own.time_s)
    if own is not None and head.height < own.height:
        return  # the ledger was lost and is being fetched again: nothing below what was signed is signed anew
    if own is not None and (head.size < own.size or (head.size == own.size and head.root != own.root)):
        state.halt(f"the log fell: cosigned size {own.size}, now {head.size} with another root or fewer leaves")
        return
    if own is not None and own.size == head.size and time_s <= own.time_s:
        state.emit(Broadcast(own))
        return
    text = Checkpoint(state.origin, head.size, head.root).text()
    signature = state.signer.cosign(cosign_statement(text, time_s))
    vote = CheckpointVote(head.epoch, head.height, head.size, head.root, time_s, me, signature)
    checkpoints.own = vote
    state.persist(Cosigned(vote))
    state.emit(Broadcast(vote))
    on_vote(state, vote)


def _vouched_until(state: ReplicaState, head: CheckpointHead, now_ms: TimeMs) -> TimeMs:
    """Return up to when I may vouch that no log is newer: now, but not into the time of a block prepared above.

    Such a block may be committed elsewhere already, and what it changes holds from its own time on: a proof of the
    state below, for the time of this cosignature, would contradict it.
    """
    slot = state.slots.get(Height(head.height + 1))
    if slot is None or state.me is None:
        return now_ms
    prepared = slot.prepares.voted_for(state.me)
    above = [slot.blocks[each].header for each in prepared if each in slot.blocks]
    return min([now_ms, *(TimeMs(header.time_ms - 1) for header in above if header.parent == state.tip.hash)])


def on_vote(state: ReplicaState, vote: CheckpointVote) -> None:
    """Take a cosignature of a height that is not stable yet, or of the newest one with a later time."""
    checkpoints = state.checkpoints
    if not checkpoints.stable_height <= vote.height <= state.tip.height + BUFFER_HEIGHTS:
        return
    votes = checkpoints.votes.setdefault((vote.epoch, vote.validator), {})
    evidence.judge_cosignature(state, votes.values(), vote)
    held = votes.get(vote.height)
    if held is not None and (_fits(state, held), held.time_s) >= (_fits(state, vote), vote.time_s):
        return
    votes[vote.height] = vote
    if held is None:
        checkpoints.counts[vote.epoch, vote.height] = checkpoints.counts.get((vote.epoch, vote.height), 0) + 1
    while len(votes) > VOTES_KEPT_PER_VALIDATOR:
        _forget(checkpoints, vote.epoch, votes, min(votes))
    if vote.height > checkpoints.stable_height or vote.time_s > checkpoints.stable_time_s:
        settle(state, vote.height)  # else it can make nothing newer: of 100 validators every third comes too late


def _forget(checkpoints: Checkpoints, epoch: Epoch, votes: dict[Height, CheckpointVote], height: Height) -> None:
    """Let go of a validator's vote for a height, and of the count with the last one."""
    del votes[height]
    left = checkpoints.counts[epoch, height] - 1
    if left:
        checkpoints.counts[epoch, height] = left
    else:
        del checkpoints.counts[epoch, height]


def _fits(state: ReplicaState, vote: CheckpointVote) -> bool:
    """Say whether the log after the block of this height may have this size: anybody can show it with another height.

    Each block adds a leaf at least, so no height above mine has a log that small.
    """
    newest, delivered = state.checkpoints.head, state.checkpoints.heads.get(vote.height)
    if delivered is not None:
        return delivered.size == vote.size
    return newest is None or vote.size - newest.size >= vote.height - newest.height > 0


def resend(state: ReplicaState, peer: str, stable: Height) -> None:
    """Send my newest cosignature again to a peer for which it is not stable yet: it may have been lost.

    A peer without any stable checkpoint says height 0 as one does for which the genesis block's is: both get it.
    """
    own = state.checkpoints.own
    if own is not None and (own.height > stable or own.height == 0):
        state.emit(Send(peer, own))


def settle(state: ReplicaState, height: Height) -> None:
    """Make the checkpoint of a height stable where q validators signed the same log, newer than the last stable."""
    checkpoints = state.checkpoints
    head = checkpoints.heads.get(height)
    if head is None:
        return  # judged again once the block is delivered here
    # An epoch's validators cosign up to its barrier and no further; the first epoch's begin with the genesis block.
    validators = state.set_of(head.epoch)
    if validators is None or checkpoints.counts.get((validators.epoch, height), 0) < validators.quorum:
        return
    group = [
        vote
        for (epoch, _), votes in checkpoints.votes.items()
        if epoch == validators.epoch
        and (vote := votes.get(height)) is not None
        and vote.size == head.size
        and vote.root == head.root
    ]
    if len(group) < validators.quorum:
        return
    # The latest ones: who is gone since, or claims an old time, must not make what the others sign anew look old.
    latest = sorted(group, key=lambda vote: (-vote.time_s, vote.validator))[: validators.quorum]
    oldest = latest[-1].time_s
    if height > checkpoints.stable_height or oldest > checkpoints.stable_time_s:
        _make_stable(state, sorted(latest, key=lambda vote: vote.validator), oldest)


def _make_stable(state: ReplicaState, group: list[CheckpointVote], oldest_s: int) -> None:
    checkpoints, first = state.checkpoints, group[0]
    checkpoints.stable_height, checkpoints.stable_time_s = first.height, oldest_s
    for key, votes in list(checkpoints.votes.items()):
        for height in [held for held in votes if held < first.height]:
            _forget(checkpoints, key[0], votes, height)
        if not votes:
            del checkpoints.votes[key]
    cosignatures = tuple((vote.validator, vote.time_s, vote.signature) for vote in group)
    state.emit(CheckpointStable(first.epoch, first.height, first.size, first.root, cosignatures))
