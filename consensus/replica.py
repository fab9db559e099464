"""The replica: one pure step from a typed input to typed effects.

Here: construction, restoring from write-ahead records, dispatch. The rules live in `ordering`, `view_change`,
`catch_up`, `checkpoints` and `epochs`. No clock, no socket, no randomness, no set-order; `now_ms` is an argument.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from consensus import catch_up, checkpoints, evidence, ordering, view_change
from consensus.choice import choose
from consensus.effects import BatchesArrived, Broadcast, Effect, Input, Persist, Received, Tick
from consensus.messages import (
    WINDOW,
    Blocks,
    CheckpointVote,
    Claim,
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
from primitives.block import Block
from primitives.encoding import Record
from primitives.ids import Epoch, Hash, Height, TimeMs, View
from primitives.keys import verify as verify_ed25519
from primitives.validators import ValidatorSet
from primitives.votes import COMMIT, PREPARE

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
        """Take back what was written before a stop, and return the stored messages to send again.

        The newest view vowed or entered stands; votes of that view are mine again; claims of every view stay claims.
        """
        state = self.state
        held = list(records)
        _restore_floor(state, held)
        for record in held:
            _restore_view(state, record)
        for record in held:
            _restore_slot(state, record)
            evidence.restore(state, record)
        _remember_reached(state, held)
        if state.new_view is not None:
            view_change.adopt(state, choose(state.new_view.view_changes, state.genesis_hash))
        state.progress_ms = state.ticked_ms = state.latest_ms = now_ms
        state.checkpoints.due_ms = TimeMs(now_ms + state.parameters.checkpoint_quiet_ms)
        for message in _stored_messages(state):
            state.emit(Broadcast(message))
        ordering.advance(state, now_ms)
        return self._taken()

    def live_records(self) -> list[Record]:
        """Return the records that a restart still needs, in order: what the write-ahead log may be cut down to."""
        state = self.state
        records: list[Record] = [*state.later, Reached(state.epoch, max(state.tip.height, state.floor))]
        if state.checkpoints.own is not None:
            records.append(Cosigned(state.checkpoints.own))
        if state.new_view is not None:
            records.append(ViewStarted(state.new_view))
        mine = None if state.me is None else state.view_changes.get(state.me)
        if mine is not None:
            records.append(ViewChanged(mine))
        for height in sorted(state.slots):
            slot = state.slots[height]
            records.extend(Proposed(_bare(state, block)) for block in slot.blocks.values())
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
        if isinstance(event, Received) and isinstance(event.message.message, Blocks):
            catch_up.on_answer(state, event.peer, now_ms)
        return self._taken()

    def _taken(self) -> list[Effect]:
        """Hand over the step's effects, and note the claims among its records for `live_records`."""
        state = self.state
        effects, state.effects = state.effects, []
        for effect in effects:
            if isinstance(effect, Persist) and isinstance(effect.record, Committed):
                _note_claim(state, effect.record)
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


def _note_claim(state: ReplicaState, record: Committed) -> None:
    """Keep a COMMIT's record with its block, until its height is delivered: a restart must be able to claim it."""
    slot = state.slots.get(record.vote.height)
    if slot is not None and slot.claim is not None and slot.claim.certificate.block_hash == record.vote.block_hash:
        state.claim_records[record.vote.height] = (Proposed(_bare(state, slot.claim.block)), record)


def _bare(state: ReplicaState, block: Block) -> PrePrepare:
    """Return a proposal that only keeps its block: no view's, without a signature."""
    return PrePrepare(state.epoch, View(0), block, b"")


def _restore_floor(state: ReplicaState, records: list[Record]) -> None:
    """Find how far this validator was: a vote at a height shows that the one WINDOW below was delivered here.

    A log of a later epoch than the ledger's cannot be taken back: then this node only follows, until it is started
    again with a ledger that has caught up, and keeps in its log what binds it there.
    """
    floor, latest = 0, state.epoch
    for record in records:
        found = _reached(record)
        if found is not None:
            floor, latest = max(floor, found[1]), max(latest, found[0])
    state.floor = Height(floor)
    if latest > state.epoch:
        state.learner = True
        state.later = (Reached(latest, state.floor), *(item for item in records if _binds_in(latest, floor, item)))


def _reached(record: Record) -> tuple[Epoch, int] | None:
    """Return the epoch that a record is of, and a height that its writer had delivered; None where it tells neither."""
    match record:
        case Proposed(proposal) if proposal.signature:  # a leader's PREPARE has no other record
            return proposal.epoch, proposal.block.header.height - WINDOW
        case Prepared(vote) | Committed(vote, _):
            return vote.epoch, vote.height - WINDOW
        case Cosigned(cosigned):
            return cosigned.epoch, cosigned.height
        case ViewChanged(change):
            return change.epoch, change.delivered_height
        case Reached(epoch, height):
            return epoch, height
        case _:
            return None


def _binds_in(epoch: Epoch, floor: int, record: Record) -> bool:
    """Say whether a stored record binds its signer in an epoch above what it had delivered."""
    match record:
        case Proposed(proposal):
            return proposal.epoch == epoch and proposal.block.header.height > floor
        case Prepared(vote) | Committed(vote, _):
            return vote.epoch == epoch and vote.height > floor
        case ViewChanged(change):
            return change.epoch == epoch
        case ViewStarted(new_view):
            return new_view.epoch == epoch
        case _:
            return False


def _remember_reached(state: ReplicaState, records: list[Record]) -> None:
    """Write how far the ledger is where a commit certificate in it holds a COMMIT of mine that the log lacks.

    Rows are synced before records, so a stop between them leaves that vote in the ledger alone. It goes out with the
    certificate from now on: should the ledger be lost later, the log alone must keep this validator from vowing as if
    it had never committed there.
    """
    logged = {record.vote for record in records if isinstance(record, Committed)}
    cast = {(vote.epoch, vote.view, vote.height, vote.block_hash) for vote in logged}
    unlogged: Reached | None = None
    for certificate in state.tip.certificates:
        validators = state.set_of(certificate.epoch)
        mine = None if validators is None else validators.indexes.get(state.name)
        named = (certificate.epoch, certificate.view, certificate.height, certificate.block_hash)
        voted = any(index == mine for index, _ in certificate.signatures)
        if voted and named not in cast and certificate.height > state.floor:
            unlogged = Reached(certificate.epoch, certificate.height)
    if unlogged is not None and not state.learner:
        state.persist(unlogged)


def _binds(state: ReplicaState, epoch: Epoch, height: Height) -> bool:
    """Say whether a stored proposal or vote is of an undelivered height of this epoch."""
    base = max(state.tip.height, state.floor)
    return epoch == state.epoch and base < height <= base + WINDOW


def _restore_view(state: ReplicaState, record: Record) -> None:
    """Find the newest view of this epoch that was vowed or entered."""
    if isinstance(record, ViewStarted) and record.new_view.epoch == state.epoch:
        message = record.new_view
        if message.view >= state.view:
            state.view, state.active, state.new_view = message.view, True, message
    elif isinstance(record, ViewChanged) and record.view_change.epoch == state.epoch:
        change = record.view_change
        if change.view > state.view:
            state.view, state.active, state.new_view = change.view, False, None
            state.view_changes = {change.validator: change}


def _restore_slot(state: ReplicaState, record: Record) -> None:
    """Put a stored proposal or vote of an undelivered height back in its slot."""
    match record:
        case Proposed(proposal):
            header = proposal.block.header
            if _binds(state, proposal.epoch, header.height):
                slot = state.slot(header.height)
                slot.keep(header.hash(), proposal.block)
                if proposal.view == state.view and state.active and proposal.signature:
                    slot.proposal = proposal
                    leader = state.validators.leader(state.view)
                    slot.prepares.add(leader, proposal.view, header.hash(), proposal.signature)
                    if leader == state.me:
                        slot.prepare = evidence.leader_vote(proposal, leader, header.hash())
        case Prepared(vote):
            _restore_vote(state, vote)
        case Committed(vote, certificate):
            _restore_vote(state, vote)
            slot_held = state.slots.get(vote.height)
            block = None if slot_held is None else slot_held.blocks.get(vote.block_hash)
            if slot_held is not None and block is not None and vote.epoch == state.epoch:
                if slot_held.claim is None or slot_held.claim.certificate.view < certificate.view:
                    slot_held.claim = Claim(block, certificate)
                    _note_claim(state, record)
                for index, signature in certificate.signatures:
                    slot_held.prepares.add(index, certificate.view, certificate.block_hash, signature)
        case Cosigned(cosigned):
            own = state.checkpoints.own
            if own is None or (cosigned.size, cosigned.time_s) >= (own.size, own.time_s):
                state.checkpoints.own = cosigned
        case _:
            pass


def _restore_vote(state: ReplicaState, vote: Vote) -> None:
    if not _binds(state, vote.epoch, vote.height):
        return
    slot = state.slot(vote.height)
    tally = slot.prepares if vote.phase == PREPARE else slot.commits
    tally.add(vote.validator, vote.view, vote.block_hash, vote.signature)
    if vote.view == state.view and state.active:
        if vote.phase == PREPARE:
            slot.prepare = vote
        elif vote.phase == COMMIT:
            slot.commit = vote


def _stored_messages(state: ReplicaState) -> list[Message]:
    """Return what this replica had sent and may have been lost: its VIEW-CHANGE, or its votes of the current view."""
    if state.me is None:
        return []
    if not state.active:
        mine = state.view_changes.get(state.me)
        return [] if mine is None else [mine]
    messages: list[Message] = []
    if state.leads and state.new_view is not None:
        messages.append(state.new_view)
    for height in sorted(state.slots):
        slot = state.slots[height]
        if state.leads and slot.proposal is not None:
            messages.append(slot.proposal)
        elif slot.prepare is not None:
            messages.append(slot.prepare)
        if slot.commit is not None:
            messages.append(slot.commit)
    return messages
