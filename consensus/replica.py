"""The replica: one pure step from a typed input to typed effects.

Here: construction, dispatch, what the write-ahead log may be cut down to. The rules live in `ordering`, `view_change`,
`catch_up`, `checkpoints`, `epochs` and `restoring`. No clock, no socket, no randomness, no set-order; `now_ms` is an
argument.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from consensus import catch_up, checkpoints, evidence, ordering, restoring, view_change
from consensus.effects import BatchesArrived, Effect, Input, Persist, Received, Tick
from consensus.messages import (
    Blocks,
    CheckpointVote,
    CosignatureEvidence,
    Evidence,
    FetchBlocks,
    FetchProposals,
    Message,
    NewView,
    PrePrepare,
    Proposals,
    Status,
    ViewChange,
    Vote,
)
from consensus.ports import Application, LogHead, Signer
from consensus.records import Committed, Cosigned, Prepared, Proposed, Reached, ViewChanged, ViewStarted
from consensus.state import CheckpointHead, Parameters, ReplicaState, Tip
from consensus.verify import Verification, Verifier
from primitives.encoding import Record
from primitives.ids import Epoch, Hash, Height, TimeMs, View
from primitives.keys import verify as verify_ed25519
from primitives.validators import ValidatorSet

GENESIS_HEIGHT = Height(0)


class Replica:
    """One validator's (or, without a vote, an observer's) part in the protocol; owns its `state`."""

    def __init__(
        self,
        *,
        name: str,
        chain_id: Hash,
        origin: str,
        genesis_hash: Hash,
        validators: ValidatorSet,
        previous_validators: ValidatorSet | None,
        tip: Tip,
        head: LogHead,
        head_epoch: Epoch,
        application: Application,
        signer: Signer,
        parameters: Parameters,
        learner: bool = False,
        stable_height: Height = GENESIS_HEIGHT,
    ) -> None:
        self.state = ReplicaState(
            chain_id=chain_id,
            origin=origin,
            name=name,
            genesis_hash=genesis_hash,
            application=application,
            signer=signer,
            parameters=parameters,
            validators=validators,
            previous_validators=previous_validators,
            tip=tip,
            learner=learner,
        )
        checkpoints.note_head(self.state, CheckpointHead(head_epoch, tip.height, head.size, head.root))
        self.state.checkpoints.stable_height = stable_height
        if head_epoch != validators.epoch:
            self.state.barrier_height = tip.height

    def verification(self, verifier: Verifier = verify_ed25519) -> Verification:
        """Return what incoming messages are to be verified against now."""
        state = self.state
        return Verification(state.chain_id, state.origin, state.validators, state.previous_validators, verifier)

    def restore(self, records: Iterable[Record], now_ms: TimeMs) -> list[Effect]:
        """Take back what was written before a stop, and return the stored messages to send again."""
        restoring.restore(self.state, list(records), now_ms)
        ordering.advance(self.state, now_ms)
        return self._taken()

    def live_records(self) -> list[Record]:
        """Return the records that a restart still needs, in order: what the write-ahead log may be cut down to."""
        state = self.state
        later = () if state.later is None else state.later.records
        records: list[Record] = [*later, Reached(state.epoch, max(state.tip.height, state.floor))]
        if state.checkpoints.own is not None:
            records.append(Cosigned(state.checkpoints.own))
        if state.new_view is not None:
            records.append(ViewStarted(state.new_view))
        mine = None if state.me is None else state.view_changes.get(state.me)
        if mine is not None:
            records.append(ViewChanged(mine))
        for height in sorted(state.slots):
            slot = state.slots[height]
            records.extend(Proposed(restoring.bare(state, block)) for block in slot.blocks.values())
            records.extend(state.claim_records.get(height, ()))
            if slot.proposal is not None and slot.prepare is not None:
                records.append(Proposed(slot.proposal))
                records.append(Prepared(slot.prepare))
        return records + evidence.live_records(state)

    def step(self, event: Input, now_ms: TimeMs) -> list[Effect]:
        """Take one input and return what must be done, in order."""
        state = self.state
        if state.halted is not None:
            return []
        state.note_time(now_ms)
        match event:
            case Received():
                self._receive(event.peer, event.message.message, now_ms)
            case BatchesArrived():
                pass
            case Tick():
                view_change.on_tick(state, now_ms)
                catch_up.on_tick(state, now_ms)
                checkpoints.on_tick(state, now_ms)
            case _:
                assert_never(event)
        ordering.advance(state, now_ms)
        if restoring.resume(state, now_ms):
            ordering.advance(state, now_ms)
        if isinstance(event, Received) and isinstance(event.message.message, Blocks):
            catch_up.on_answer(state, event.peer, event.message.message, now_ms)
        return self._taken()

    def _taken(self) -> list[Effect]:
        """Hand over the step's effects, and note the claims among its records for `live_records`."""
        state = self.state
        effects, state.effects = state.effects, []
        for effect in effects:
            if isinstance(effect, Persist) and isinstance(effect.record, Committed):
                restoring.note_claim(state, effect.record)
        if state.claim_records:
            for height in [held for held in state.claim_records if held <= state.tip.height]:
                del state.claim_records[height]
        return effects

    def _receive(self, peer: str, message: Message, now_ms: TimeMs) -> None:
        state = self.state
        if peer in state.validators.indexes:
            state.heard_ms[peer] = now_ms
        honest = True
        match message:
            case PrePrepare():
                honest = ordering.on_pre_prepare(state, message, now_ms)
            case Vote():
                honest = ordering.on_vote(state, message)
            case ViewChange():
                view_change.on_view_change(state, message, peer, now_ms)
            case NewView():
                view_change.on_new_view(state, message, now_ms)
            case CheckpointVote():
                checkpoints.on_vote(state, message)
            case Status():
                catch_up.on_status(state, peer, message, now_ms)
            case FetchBlocks():
                catch_up.on_fetch_blocks(state, peer, message)
            case Blocks():
                catch_up.on_blocks(state, message)
            case FetchProposals():
                catch_up.on_fetch_proposals(state, peer, message)
            case Proposals():
                catch_up.on_proposals(state, message)
            case Evidence():
                honest = evidence.on_evidence(state, message)
            case CosignatureEvidence():
                evidence.accuse_cosigner(state, message)
            case _:
                assert_never(message)
        if not honest and state.active:
            view_change.start(state, View(state.view + 1), "the leader contradicts itself", now_ms)
