"""The normal case: proposals, PREPARE, COMMIT and delivery, in order and within the window.

The two in-order rules live here (`_may_prepare`, `_may_commit`), and the single path on which blocks are committed
(`deliver`). Source: PBFT section 4.2, chained: height h+1 is proposed before h commits.
"""

from __future__ import annotations

from typing import Final

from consensus import checkpoints, epochs, evidence
from consensus.effects import Broadcast, Delivered, FetchBatches, Send
from consensus.messages import BUFFER_HEIGHTS, WINDOW, Claim, FetchProposals, PrePrepare, Vote
from consensus.ports import Invalid, Missing
from consensus.records import Committed, Prepared, Proposed
from consensus.state import ReplicaState, Slot
from primitives.block import Block, CommittedBlock
from primitives.ids import Hash, Height, TimeMs
from primitives.votes import COMMIT, PREPARE, QuorumCertificate, vote_statement

CERTIFICATES_KEPT: Final = 4 * WINDOW
HASHES_KEPT: Final = 4 * WINDOW
PROPOSAL: Final = "proposal"
PROPOSAL_TIME: Final = "proposal_time"
"""Why a proposal was refused, as it is counted."""


def on_pre_prepare(state: ReplicaState, message: PrePrepare, now_ms: TimeMs) -> bool:
    """Take a leader's proposal of the current view; return False where the leader contradicts itself.

    The vote that it stands for counts in every view, as others' votes do: two of them are evidence.
    """
    header = message.block.header
    if message.epoch != state.epoch or not state.in_window(header.height, BUFFER_HEIGHTS):
        return True
    leader = state.validators.leader(message.view)
    if leader == state.me:
        return True  # mine come from here or from my log; who sends me one runs a copy of my key
    slot = state.slot(header.height)
    block_hash = header.hash()
    vote = evidence.leader_vote(message, leader, block_hash)
    honest = evidence.count(state, slot, vote)
    evidence.show_proposal(state, slot, vote)
    if message.view > state.view or (message.view == state.view and not state.active):
        _keep_early(state, message)
        return True
    if message.view < state.view:
        return True
    if not honest:
        return False
    if slot.proposal is not None:
        return True
    refusal = _refusal(state, message.block, block_hash, leader, now_ms)
    if refusal is not None:
        reason, detail = refusal
        state.refuse(reason, f"height {header.height} in view {state.view}: {detail}")
        return True
    slot.proposal, slot.hashed = message, (message, block_hash)
    slot.keep(block_hash, message.block)
    return True


def _keep_early(state: ReplicaState, message: PrePrepare) -> None:
    """Keep a proposal that overtook its NEW-VIEW; of several views the lowest, which no later leader can displace."""
    held = state.early.get(message.block.header.height)
    if held is None or not state.view <= held.view <= message.view:
        state.early[message.block.header.height] = message


def take_early(state: ReplicaState, now_ms: TimeMs) -> bool:
    """Take the proposals that came before the view that has just begun; False where its leader contradicts itself."""
    early, state.early = state.early, {}
    honest = True
    for height in sorted(early):
        if early[height].view >= state.view:
            honest = on_pre_prepare(state, early[height], now_ms) and honest
    return honest


def _refusal(
    state: ReplicaState, block: Block, block_hash: Hash, leader: int, now_ms: TimeMs
) -> tuple[str, str] | None:
    """Return why a proposal cannot be accepted: not the chosen block, or a fresh one with a wrong proposer or time.

    A wrong time has a reason of its own, which is counted: it may be this node's clock that is wrong.
    """
    header = block.header
    chosen = state.chosen.get(header.height)
    if chosen is not None:
        return None if chosen.header.hash() == block_hash else (PROPOSAL, "not the block that the NEW-VIEW chose")
    if header.proposer != leader:
        return PROPOSAL, f"a fresh block names proposer {header.proposer}, expected {leader}"
    lag_ms = state.parameters.lag_ms * (1 + state.attempts)
    drift_ms = state.parameters.drift_ms
    if not now_ms - lag_ms <= header.time_ms <= now_ms + drift_ms:
        off_ms = header.time_ms - now_ms
        return PROPOSAL_TIME, f"its time is {off_ms} ms from this clock, expected -{lag_ms} to {drift_ms}"
    return None


def on_vote(state: ReplicaState, vote: Vote) -> bool:
    """Count a PREPARE or COMMIT, of any view; return False where its signer is the leader and contradicts itself."""
    if vote.epoch != state.epoch or not state.in_window(vote.height, BUFFER_HEIGHTS):
        return True
    slot = state.slot(vote.height)
    honest = evidence.count(state, slot, vote)
    evidence.show_proposal(state, slot, vote)
    return honest or vote.view != state.view or vote.validator != state.validators.leader(state.view)


def advance(state: ReplicaState, now_ms: TimeMs) -> None:
    """Do all that has become possible: deliver, propose, PREPARE, COMMIT, until nothing changes."""
    while state.halted is None:
        before = state.moves
        deliver(state, now_ms)
        _vote(state, now_ms)
        _propose(state, now_ms)
        if state.moves == before:
            return


# --- voting -----------------------------------------------------------------------------------------------------------


def _vote(state: ReplicaState, now_ms: TimeMs) -> None:
    """Sign what may be signed, upward from the delivered height, stopping at the first height that must wait."""
    if not (state.slots and state.may_vote):
        return
    parent_hash, parent_time = state.tip.hash, state.tip.time_ms
    parent_prepared = parent_committed = True
    for height in range(state.tip.height + 1, state.tip.height + WINDOW + 1):
        slot = state.slots.get(Height(height))
        if slot is None or slot.proposal is None or slot.refused:
            return
        block_hash = slot.hash_of(slot.proposal)
        if not _execute(state, slot, slot.proposal.block, parent_hash, parent_time):
            return
        if parent_prepared and not _has_prepared(state, slot):
            _prepare(state, slot, slot.proposal, block_hash, now_ms)
        certificate = _prepare_certificate(state, slot, block_hash)
        if certificate is not None and parent_committed and slot.commit is None and _has_prepared(state, slot):
            _commit(state, slot, slot.proposal.block, certificate, now_ms)
        parent_hash, parent_time = block_hash, slot.proposal.block.header.time_ms
        parent_prepared = _has_prepared(state, slot)
        parent_committed = slot.commit is not None
        if epochs.is_barrier(state, slot.proposal.block):
            return  # nobody prepares above a change of the validator set until it is delivered


def _has_prepared(state: ReplicaState, slot: Slot) -> bool:
    """Say whether I signed a PREPARE for the current proposal in this view (the leader's is its proposal)."""
    return slot.prepare is not None or (state.leads and slot.proposal is not None)


def _execute(state: ReplicaState, slot: Slot, block: Block, parent_hash: Hash, parent_time: TimeMs) -> bool:
    """Make sure the proposal follows its parent and executes to the roots in its header, all batches at hand."""
    if slot.executed:
        return True
    header = block.header
    if header.parent != parent_hash or header.time_ms <= parent_time:
        slot.refused = True
        state.refuse(PROPOSAL, f"height {header.height} does not follow its parent in hash and time")
        return False
    verdict = state.application.validate(block)
    if isinstance(verdict, Missing):
        state.emit(FetchBatches(verdict.hashes, _holders(state, slot, header.hash())))
        return False
    if isinstance(verdict, Invalid):
        slot.refused = True
        state.refuse("execution", f"height {header.height}: {verdict.detail}")
        if slot.prepare is not None:
            state.halt(f"a block that this validator prepared no longer executes alike: {verdict.detail}")
        return False
    slot.executed = True
    return True


def _holders(state: ReplicaState, slot: Slot, block_hash: Hash) -> tuple[str, ...]:
    """Return the peers that prepared a block and so hold its batches, the leader first."""
    leader = state.validators.leader(state.view)
    prepared = [index for index, _ in slot.prepares.signatures(state.view, block_hash)]
    certified = [] if slot.certificate is None else [index for index, _ in slot.certificate.signatures]
    claimed = [] if slot.claim is None else [index for index, _ in slot.claim.certificate.signatures]
    order = dict.fromkeys([leader, *prepared, *certified, *claimed])
    return tuple(state.validators.validators[index].name for index in order if index != state.me)


def _sign(state: ReplicaState, phase: int, height: Height, block_hash: Hash) -> Vote:
    me = state.me
    assert me is not None, "only a validator votes"
    signed = vote_statement(phase, state.chain_id, state.epoch, state.view, height, block_hash)
    return Vote(phase, state.epoch, state.view, height, block_hash, me, state.signer.sign_vote(signed))


def _prepare(state: ReplicaState, slot: Slot, proposal: PrePrepare, block_hash: Hash, now_ms: TimeMs) -> None:
    """PREPARE: proposal and vote are written first; the application writes the batches under the same rule."""
    vote = _sign(state, PREPARE, slot.height, block_hash)
    slot.prepare, slot.voted_ms = vote, now_ms
    evidence.count(state, slot, vote)
    state.persist(Proposed(proposal))
    state.persist(Prepared(vote))
    state.emit(Broadcast(vote))
    state.moves += 1


def _prepare_certificate(state: ReplicaState, slot: Slot, block_hash: Hash) -> QuorumCertificate | None:
    quorum = state.validators.quorum
    if slot.commit is not None or slot.prepares.count(state.view, block_hash) < quorum:
        return None
    signatures = slot.prepares.signatures(state.view, block_hash)[:quorum]
    return QuorumCertificate(PREPARE, state.epoch, state.view, slot.height, block_hash, signatures)


def _commit(state: ReplicaState, slot: Slot, block: Block, certificate: QuorumCertificate, now_ms: TimeMs) -> None:
    """COMMIT: certificate and vote are written first, since a VIEW-CHANGE must be able to claim them."""
    vote = _sign(state, COMMIT, slot.height, certificate.block_hash)
    slot.commit, slot.voted_ms = vote, now_ms
    slot.claim = Claim(block, certificate)
    evidence.count(state, slot, vote)
    state.persist(Committed(vote, certificate))
    state.emit(Broadcast(vote))
    state.moves += 1


# --- proposing --------------------------------------------------------------------------------------------------------


def _propose(state: ReplicaState, now_ms: TimeMs) -> None:
    """As the leader, propose the next height: the chosen block, or a fresh one where that is due."""
    if not (state.leads and state.may_vote):
        return
    height, parent_hash, parent_time = state.tip.height + 1, state.tip.hash, state.tip.time_ms
    while (slot := state.slots.get(Height(height))) is not None and slot.proposal is not None:
        if not slot.executed:
            return  # its batches were lost with the ledger, and are on their way again
        if slot.refused or epochs.is_barrier(state, slot.proposal.block):
            return
        parent_hash, parent_time = slot.hash_of(slot.proposal), slot.proposal.block.header.time_ms
        height += 1
    if not state.in_window(Height(height)):
        return
    chosen = state.chosen.get(Height(height))
    if chosen is not None:
        _propose_chosen(state, chosen, parent_hash, parent_time, now_ms)
        return
    in_flight = height - state.tip.height - 1
    if not _due(state, in_flight, parent_hash, now_ms):
        return
    time_ms = TimeMs(max(now_ms, parent_time + 1))
    me = state.me
    assert me is not None, "the leader is a validator"
    block = state.application.propose(parent_hash, Height(height), state.epoch, me, time_ms)
    if block is not None:
        _send_proposal(state, block, now_ms)


def _due(state: ReplicaState, in_flight: int, parent_hash: Hash, now_ms: TimeMs) -> bool:
    """While none is in flight a block once enough was gathered; behind others a full one, or any after the interval."""
    wait_ms = state.parameters.propose_interval_ms if in_flight else _gather_ms(state)
    if now_ms - state.proposed_ms >= wait_ms:
        return True
    return state.application.waiting_bytes(parent_hash) >= state.parameters.propose_bytes


def _gather_ms(state: ReplicaState) -> int:
    """Return how long after its last proposal a leader gathers batches: the more that one held, the more will come.

    What votes and writes a block costs is shared by its batches. A lone batch waits for nobody.
    """
    parameters = state.parameters
    return min(parameters.gather_ms * max(0, state.proposed_batches - 1), parameters.gather_ms_max)


def _propose_chosen(state: ReplicaState, block: Block, parent_hash: Hash, parent_time: TimeMs, now_ms: TimeMs) -> None:
    """Propose a chosen block again: the same block under a new PRE-PREPARE, voted afresh."""
    slot = state.slot(block.header.height)
    if not slot.refused and _execute(state, slot, block, parent_hash, parent_time):
        _send_proposal(state, block, now_ms)


def _send_proposal(state: ReplicaState, block: Block, now_ms: TimeMs) -> None:
    header = block.header
    block_hash = header.hash()
    vote = _sign(state, PREPARE, header.height, block_hash)
    proposal = PrePrepare(state.epoch, state.view, block, vote.signature)
    slot = state.slot(header.height)
    assert slot.proposal is None, "one proposal for each height and view"
    slot.proposal, slot.hashed = proposal, (proposal, block_hash)
    slot.executed, slot.prepare, slot.voted_ms = True, vote, now_ms
    slot.keep(block_hash, block)
    evidence.count(state, slot, vote)
    state.proposed_ms, state.proposed_batches = now_ms, len(block.batch_hashes)
    state.persist(Proposed(proposal))
    state.emit(Broadcast(proposal))
    state.moves += 1


# --- delivering -------------------------------------------------------------------------------------------------------


def _decided(state: ReplicaState, slot: Slot) -> QuorumCertificate | None:
    """Return the commit certificate of a height: learnt from others, or made of votes of one view."""
    if slot.certificate is not None:
        return slot.certificate
    decided = slot.commits.decided(state.validators.quorum)
    if decided is None:
        return None
    view, block_hash = decided
    signatures = slot.commits.signatures(view, block_hash)[: state.validators.quorum]
    return QuorumCertificate(COMMIT, state.epoch, view, slot.height, block_hash, signatures)


def deliver(state: ReplicaState, now_ms: TimeMs) -> None:
    """Commit, in order, every height that has its certificate, its block and its batches: the one commit path.

    A certificate above a gap waits. A certified block that does not execute to its roots here halts the node.
    """
    while state.halted is None:
        slot = state.slots.get(Height(state.tip.height + 1))
        certificate = None if slot is None else _decided(state, slot)
        if slot is None or certificate is None:
            return
        block = slot.blocks.get(certificate.block_hash)
        if block is None:
            _fetch_block(state, certificate, now_ms)
            return
        if block.header.parent != state.tip.hash:
            state.halt(f"the certified block {slot.height} does not follow the delivered block {state.tip.height}")
            return
        verdict = state.application.validate(block)
        if isinstance(verdict, Missing):
            state.emit(FetchBatches(verdict.hashes, _holders(state, slot, certificate.block_hash)))
            return
        if isinstance(verdict, Invalid):
            state.halt(f"the certified block {slot.height} does not execute alike here: {verdict.detail}")
            return
        _commit_block(state, slot, CommittedBlock(block, certificate), now_ms)
        missing = state.application.missing_rules()
        if missing is not None:
            state.halt(missing)


def _fetch_block(state: ReplicaState, certificate: QuorumCertificate, now_ms: TimeMs) -> None:
    """Ask those who committed a block for it; never replace it by another."""
    if now_ms < state.block_due_ms:
        return
    state.block_due_ms = TimeMs(now_ms + state.parameters.fetch_timeout_ms)
    for index, _ in certificate.signatures:
        if index != state.me and index < state.validators.n:
            peer = state.validators.validators[index].name
            state.emit(Send(peer, FetchProposals((certificate.block_hash,))))


def _commit_block(state: ReplicaState, slot: Slot, committed: CommittedBlock, now_ms: TimeMs) -> None:
    block, certificate = committed.block, committed.certificate
    assert certificate is not None, "a delivered block has its certificate"
    header = block.header
    parent_time = state.tip.time_ms
    head = state.application.deliver(committed)
    tip = state.tip
    tip.height, tip.hash, tip.time_ms = header.height, certificate.block_hash, header.time_ms
    tip.certificates = (*tip.certificates, certificate)[-CERTIFICATES_KEPT:]
    tip.recent[header.height] = certificate.block_hash
    tip.recent.pop(Height(header.height - HASHES_KEPT), None)
    del state.slots[slot.height]
    state.early.pop(header.height, None)
    state.chosen.pop(header.height, None)
    state.progress_ms = now_ms
    state.attempts = max(0, state.attempts - 1)
    state.deadline_ms = None
    state.block_due_ms = TimeMs(0)
    state.emit(Delivered(committed, certificate.view))
    state.moves += 1
    barrier = epochs.after_delivery(state, header, now_ms)
    checkpoints.after_delivery(state, header, parent_time, head, barrier, now_ms)
    following = state.slots.get(Height(header.height + 1))
    if following is not None and following.proposal is not None:
        _recheck_parent(state, following)


def _recheck_parent(state: ReplicaState, slot: Slot) -> None:
    """Drop the execution of a proposal whose parent was not the one delivered (an older view's block won)."""
    assert slot.proposal is not None, "the caller checked"
    if slot.proposal.block.header.parent != state.tip.hash:
        slot.executed, slot.refused = False, True
