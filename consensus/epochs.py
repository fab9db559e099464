"""Epochs: a block that changes the validator set is a barrier, and delivering it starts the next epoch at view 0."""

from __future__ import annotations

from consensus import evidence
from consensus.effects import ViewEntered
from consensus.state import ReplicaState
from primitives.block import Block, BlockHeader
from primitives.ids import TimeMs, View


def is_barrier(state: ReplicaState, block: Block) -> bool:
    """Say whether a block names another next validator set than the current one."""
    return block.header.next_validators != state.validators.hash


def after_delivery(state: ReplicaState, header: BlockHeader, now_ms: TimeMs) -> bool:
    """Enter the next epoch where the delivered block changed the set; return whether it did."""
    if header.next_validators == state.validators.hash:
        return False
    validators = state.application.validators()
    assert validators.hash == header.next_validators, "the application's set is the one that the header names"
    assert validators.epoch == state.epoch + 1, "epochs rise by one"
    state.previous_validators, state.validators = state.validators, validators
    state.view, state.active, state.new_view = View(0), True, None
    state.view_changes.clear()
    state.vowed_ms.clear()
    evidence.after_epoch(state)
    state.barrier_height = header.height
    state.chosen.clear()
    state.slots.clear()
    state.early.clear()
    state.attempts = 0
    state.application.view_entered(now_ms)
    state.emit(ViewEntered(state.epoch, state.view, True, "a new epoch"))
    return True
