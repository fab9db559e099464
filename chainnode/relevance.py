"""Whether a peer's message can still tell the replica anything: judged before its signatures are verified.

A linked peer can replay what others signed as often as its quota lets it, and a NEW-VIEW holds hundreds of signatures.
Nothing is believed here: what is dropped has no effect in the replica even if it verifies. Messages of an epoch whose
validators are not known pass, since `consensus.verify` refuses them by name and at once.
"""

from __future__ import annotations

from typing import Final

from consensus.messages import (
    BUFFER_HEIGHTS,
    CheckpointVote,
    CosignatureEvidence,
    Evidence,
    Message,
    NewView,
    PrePrepare,
    ViewChange,
    Vote,
)
from consensus.state import ReplicaState
from primitives.block import CommittedBlock
from primitives.ids import Epoch, View
from primitives.votes import PREPARE

_OF_AN_EPOCH: Final = (PrePrepare, Vote, ViewChange, NewView)


def tells_something(state: ReplicaState, message: Message) -> bool:
    """Say whether the replica would do anything with the message if it verifies."""
    if isinstance(message, _OF_AN_EPOCH) and message.epoch != state.epoch:
        return state.set_of(message.epoch) is None
    match message:
        case PrePrepare():
            return _new_proposal(state, message)
        case Vote():
            return _new_vote(state, message)
        case ViewChange():
            held = state.view_changes.get(message.validator)
            return state.me is not None and (held is None or held.view < message.view)
        case NewView():
            return _to_come(state, message.view)
        case CheckpointVote():
            return _new_cosignature(state, message)
        case Evidence():
            return _new_evidence(state, message)
        case CosignatureEvidence():
            return _new_cosigner(state, message.first)
        case _:
            return True  # requests, and what proves itself without signatures


def asks_for_a_new_view(state: ReplicaState, message: ViewChange) -> bool:
    """Say whether a VIEW-CHANGE comes too late: its sender needs this view's NEW-VIEW, and gets no more."""
    return message.epoch == state.epoch and not _to_come(state, message.view)


def is_certified(state: ReplicaState, committed: CommittedBlock) -> bool:
    """Say whether this very block and certificate are held already, and so were verified."""
    slot = state.slots.get(committed.block.header.height)
    if slot is None or committed.certificate is None or slot.certificate != committed.certificate:
        return False
    return slot.blocks.get(committed.certificate.block_hash) == committed.block


def _to_come(state: ReplicaState, view: View) -> bool:
    return view > state.view or (view == state.view and not state.active)


def _new_proposal(state: ReplicaState, message: PrePrepare) -> bool:
    height = message.block.header.height
    if not state.in_window(height, BUFFER_HEIGHTS) or state.validators.leader(message.view) == state.me:
        return False  # nobody tells a leader what it proposed
    slot = state.slots.get(height)
    if message.view < state.view:
        return _other_proposal(state, message)
    return state.early.get(height) != message and (slot is None or slot.proposal != message)


def _other_proposal(state: ReplicaState, message: PrePrepare) -> bool:
    """Say whether a proposal of a view that was left is not counted yet: two of them are evidence."""
    slot, leader = state.slots.get(message.block.header.height), state.validators.leader(message.view)
    if slot is None or leader in state.accused:
        return slot is None
    held = slot.prepares.vote_of(leader, message.view)
    block_hash = message.block.header.hash()
    return slot.prepares.takes(leader, message.view) and (held is None or held[0] != block_hash)


def _new_vote(state: ReplicaState, vote: Vote) -> bool:
    if not state.in_window(vote.height, BUFFER_HEIGHTS):
        return False
    slot = state.slots.get(vote.height)
    if slot is None:
        return True
    tally = slot.prepares if vote.phase == PREPARE else slot.commits
    return tally.vote_of(vote.validator, vote.view) != (vote.block_hash, vote.signature)


def _new_cosignature(state: ReplicaState, vote: CheckpointVote) -> bool:
    if state.set_of(vote.epoch) is None:
        return True
    if not state.checkpoints.stable_height <= vote.height <= state.tip.height + BUFFER_HEIGHTS:
        return False
    held = state.checkpoints.votes.get((vote.epoch, vote.validator), {}).get(vote.height)
    if held is None or held.time_s < vote.time_s:
        return True
    return (held.size, held.root) != (vote.size, vote.root) and _new_cosigner(state, vote)


def _new_cosigner(state: ReplicaState, vote: CheckpointVote) -> bool:
    return state.set_of(vote.epoch) is None or (vote.epoch, vote.validator) not in state.accused_cosigners


def _new_evidence(state: ReplicaState, evidence: Evidence) -> bool:
    vote = evidence.first
    if vote.epoch != state.epoch:
        return state.set_of(Epoch(vote.epoch)) is None
    leads = vote.view == state.view and state.active and vote.validator == state.validators.leader(state.view)
    return leads or vote.validator not in state.accused
