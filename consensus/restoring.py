"""After a restart: what the write-ahead log says is mine again before anything new is signed.

The newest view vowed or entered stands; votes of that view are mine again; claims of every view stay claims. A log of
an epoch that the ledger has not reached waits, and is taken back when the ledger is there. Source: architecture §5
(invariants 10, 13 and 16).
"""

from __future__ import annotations

from collections.abc import Iterable

from consensus import evidence, view_change
from consensus.choice import choose
from consensus.effects import Broadcast
from consensus.messages import WINDOW, Claim, Message, PrePrepare, Vote
from consensus.records import (
    Accused,
    AccusedCosigner,
    Committed,
    Cosigned,
    Prepared,
    Proposed,
    Reached,
    ViewChanged,
    ViewStarted,
    own_signer,
)
from consensus.state import BLOCKS_KEPT_PER_HEIGHT, Later, ReplicaState
from primitives.block import Block
from primitives.encoding import Record
from primitives.ids import Epoch, Hash, Height, TimeMs, View
from primitives.votes import COMMIT, PREPARE


def restore(state: ReplicaState, held: list[Record], now_ms: TimeMs) -> None:
    """Take back a log's records, and send again what is of the view that they end in."""
    _restore_floor(state, held)
    _take_back(state, held)
    _remember_reached(state, held)
    state.progress_ms = state.ticked_ms = state.latest_ms = now_ms
    state.checkpoints.due_ms = TimeMs(now_ms + state.parameters.checkpoint_quiet_ms)
    _send_again(state)


def resume(state: ReplicaState, now_ms: TimeMs) -> bool:
    """Take back what the log said of the epoch that has begun here, and vote again; say whether that was due.

    It is as if the node were started now, with this ledger: what binds comes back before anything is signed.
    """
    later = state.later
    if later is None or state.epoch < later.epoch:
        return False
    state.later = None
    if _is_anothers(state, later):
        state.halt("the write-ahead log of this epoch is another validator's: what this one signed is not known")
        return True
    state.learner = later.learner
    _take_back(state, list(later.records))
    state.progress_ms = now_ms
    _send_again(state)
    return True


def _take_back(state: ReplicaState, held: list[Record]) -> None:
    for record in held:
        _restore_view(state, record)
    for record in held:
        _restore_slot(state, record)
        evidence.restore(state, record)
    if state.new_view is not None:
        view_change.adopt(state, choose(state.new_view.view_changes, state.genesis_hash))


def _is_anothers(state: ReplicaState, later: Later) -> bool:
    """Say whether another validator signed what the log says of the epoch that begins: at the start none could tell."""
    own = state.checkpoints.own
    records = later.records if own is None else (*later.records, Cosigned(own))
    signers = [signer for record in records if (signer := own_signer(record)) is not None]
    mine = (state.epoch, state.validators.indexes.get(state.name))
    return any(epoch == state.epoch and (epoch, index) != mine for epoch, index in signers)


def _send_again(state: ReplicaState) -> None:
    for message in _stored_messages(state):
        state.emit(Broadcast(message))


def note_claim(state: ReplicaState, record: Committed) -> None:
    """Keep a COMMIT's record with its block, until its height is delivered: a restart must be able to claim it."""
    slot = state.slots.get(record.vote.height)
    if slot is not None and slot.claim is not None and slot.claim.certificate.block_hash == record.vote.block_hash:
        state.claim_records[record.vote.height] = (Proposed(bare(state, slot.claim.block)), record)


def bare(state: ReplicaState, block: Block) -> PrePrepare:
    """Return a proposal that only keeps its block: no view's, without a signature."""
    return PrePrepare(state.epoch, View(0), block, b"")


def delivered_height(records: Iterable[Record]) -> Height:
    """Return the height up to which the writer of a log had delivered at least; it may have been WINDOW further."""
    heights = [found[1] for record in records if (found := _reached(record)) is not None]
    return Height(max(0, *heights, 0))


def _restore_floor(state: ReplicaState, records: list[Record]) -> None:
    """Find how far this validator was: a vote at a height shows that the one WINDOW below was delivered here.

    A log of a later epoch than the ledger's cannot be taken back yet: until the ledger has caught up with it this node
    only follows, and keeps in its log what binds it there.
    """
    floor = delivered_height(records)
    latest = max((found[0] for record in records if (found := _reached(record)) is not None), default=state.epoch)
    state.floor = Height(floor)
    if latest > state.epoch:
        state.later = Later(latest, state.learner, (Reached(latest, state.floor), *_binding(latest, floor, records)))
        state.learner = True


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
        case ViewStarted(new_view):
            return new_view.epoch, 0  # it says no height; who forgot this view could vote below it
        case _:
            return None


def _binding(epoch: Epoch, floor: int, records: list[Record]) -> list[Record]:
    """Return, in their order, the stored records that bind their signer in an epoch, above what it had delivered.

    Bounded like what a restart in that epoch would keep: of the views only the highest one's NEW-VIEW or vow and its
    proposals; at each height the highest PREPARE, the highest claim, and the blocks that were written last.
    """
    mine = [record for record in records if _binds_in(epoch, floor, record)]
    view = max((_view_of(record) for record in mine), default=View(0))
    votes: dict[tuple[int, Height], Prepared | Committed] = {}
    blocks: dict[Height, dict[Hash, Proposed]] = {}
    for record in mine:
        if isinstance(record, Prepared | Committed):
            held = votes.get((record.vote.phase, record.vote.height))
            if held is None or held.vote.view < record.vote.view:
                votes[record.vote.phase, record.vote.height] = record
        elif isinstance(record, Proposed):
            header = record.proposal.block.header
            blocks.setdefault(header.height, {}).setdefault(header.hash(), record)
    kept = {id(record) for record in votes.values()}
    for height, known in blocks.items():
        claim = votes.get((COMMIT, height))
        claimed = None if claim is None else known.get(claim.vote.block_hash)
        others = [record for record in known.values() if record is not claimed]
        # No more than a slot keeps: one too many would push out the claimed block, which is written before its claim.
        kept.update(map(id, others[-(BLOCKS_KEPT_PER_HEIGHT - (claimed is not None)) :]))
        kept.add(id(claimed))
    return [record for record in mine if id(record) in kept or _leads_to(view, record)]


def _view_of(record: Record) -> View:
    """Return the view that a record makes its signer leave all lower ones for."""
    match record:
        case ViewChanged(change):
            return change.view
        case ViewStarted(new_view):
            return new_view.view
        case _:
            return View(0)


def _leads_to(view: View, record: Record) -> bool:
    """Say whether a record is needed whatever else is: of the highest view, or an accusation."""
    match record:
        case Proposed(proposal):
            return bool(proposal.signature) and proposal.view == view
        case ViewChanged() | ViewStarted():
            return _view_of(record) == view
        case Accused() | AccusedCosigner():
            return True
        case _:
            return False


def _binds_in(epoch: Epoch, floor: int, record: Record) -> bool:
    """Say whether a stored record binds its signer in an epoch above what it had delivered, or accuses somebody."""
    match record:
        case Proposed(proposal):
            return proposal.epoch == epoch and proposal.block.header.height > floor
        case Prepared(vote) | Committed(vote, _):
            return vote.epoch == epoch and vote.height > floor
        case ViewChanged(change):
            return change.epoch == epoch
        case ViewStarted(new_view):
            return new_view.epoch == epoch
        case Accused(contradiction) | AccusedCosigner(contradiction):
            return contradiction.first.epoch == epoch
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
                    note_claim(state, record)
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
