"""Evidence: two signed statements of one validator that contradict each other, and how they come to one place.

Here: which votes and cosignatures contradict each other, what is kept and written of it, and showing a leader's
proposal to those to whom it showed another one. Not here: how evidence gets on the chain (`chainnode.evidence`,
`ledger.evidence`). A contradiction never invalidates a block. Source: architecture §5 (Evidence).
"""

from __future__ import annotations

from collections.abc import Iterable

from consensus.effects import EvidenceFound, Send
from consensus.messages import CheckpointVote, CosignatureEvidence, Evidence, PrePrepare, Vote
from consensus.records import Accused, AccusedCosigner
from consensus.state import ReplicaState, Slot
from consensus.verify import are_contradictory
from primitives.encoding import Record
from primitives.ids import Hash, View
from primitives.votes import PREPARE


def leader_vote(message: PrePrepare, leader: int, block_hash: Hash) -> Vote:
    """Return the PREPARE that a leader's proposal stands for."""
    height = message.block.header.height
    return Vote(PREPARE, message.epoch, message.view, height, block_hash, leader, message.signature)


def count(state: ReplicaState, slot: Slot, vote: Vote) -> bool:
    """Add a vote to its tally; a second one for another block is evidence, and False is returned."""
    tally = slot.prepares if vote.phase == PREPARE else slot.commits
    first = tally.add(vote.validator, vote.view, vote.block_hash, vote.signature)
    if first is None:
        return True
    earlier = Vote(vote.phase, vote.epoch, vote.view, vote.height, first[0], vote.validator, first[1])
    accuse(state, Evidence(earlier, vote))
    return False


def accuse(state: ReplicaState, evidence: Evidence) -> None:
    """Keep and write the first evidence against each validator; more of it tells nothing new."""
    if evidence.first.validator not in state.accused:
        state.accused[evidence.first.validator] = evidence
        state.persist(Accused(evidence))
        state.emit(EvidenceFound(evidence))


def on_evidence(state: ReplicaState, evidence: Evidence) -> bool:
    """Take verified evidence of votes; return False where it names the leader of the current view."""
    vote = evidence.first
    if vote.epoch != state.epoch:
        return True
    accuse(state, evidence)
    return not (
        vote.view == state.view
        and vote.validator == state.validators.leader(state.view)
        and state.in_window(vote.height)
    )


def leader_is_accused(state: ReplicaState) -> bool:
    """Say whether the leader of the view that begins here contradicted itself in it already, before it began."""
    held = state.accused.get(state.validators.leader(state.view))
    return held is not None and held.first.view == state.view and state.in_window(held.first.height)


# --- a leader that shows each half another block


def show_proposal(state: ReplicaState, slot: Slot, vote: Vote) -> None:
    """Show the leader's signature for the block held here to whoever voted for another one in that view.

    A leader that shows every validator one consistent block leaves no two signatures in one place, and PREPAREs do not
    carry its own. Two who were shown different blocks learn that from each other's votes; then each sends the other
    what the leader signed: its PREPARE, for which its PRE-PREPARE stands. Once for each slot, view and validator.
    """
    leader = state.validators.leader(vote.view)
    held = slot.prepares.vote_of(leader, vote.view)
    if held is None or leader == state.me:
        return  # who leads proposed one block, and sent it to all
    block_hash, signature = held
    if vote.validator == leader:
        voters = slot.prepares.of_view(vote.view)
    else:
        voters = ((vote.validator, vote.block_hash),)
    for validator, other in voters:
        shown = slot.shown.get(validator, View(-1))
        if other == block_hash or validator in (leader, state.me) or shown >= vote.view:
            continue
        slot.shown[validator] = vote.view
        proposed = Vote(PREPARE, state.epoch, vote.view, slot.height, block_hash, leader, signature)
        state.emit(Send(state.validators.validators[validator].name, proposed))


# --- cosignatures


def judge_cosignature(state: ReplicaState, held: Iterable[CheckpointVote], vote: CheckpointVote) -> None:
    """Accuse a cosigner where a new cosignature contradicts one of those that are held of it."""
    if (vote.epoch, vote.validator) in state.accused_cosigners:
        return
    for other in held:
        if are_contradictory(other, vote):
            accuse_cosigner(state, CosignatureEvidence(other, vote))
            return


def accuse_cosigner(state: ReplicaState, evidence: CosignatureEvidence) -> None:
    """Keep and write the first evidence against each cosigner of this epoch and the one before."""
    vote = evidence.first
    key = (vote.epoch, vote.validator)
    if key not in state.accused_cosigners and state.set_of(vote.epoch) is not None:
        state.accused_cosigners[key] = evidence
        state.persist(AccusedCosigner(evidence))
        state.emit(EvidenceFound(evidence))


# --- epochs and restarts


def after_epoch(state: ReplicaState) -> None:
    """Forget what was held against validators of epochs whose sets are not known any more."""
    state.accused.clear()
    known = {key: held for key, held in state.accused_cosigners.items() if state.set_of(key[0]) is not None}
    state.accused_cosigners = known


def restore(state: ReplicaState, record: Record) -> None:
    """Take back written evidence, and tell of it again: it may not be on the chain yet."""
    match record:
        case Accused(evidence) if evidence.first.epoch == state.epoch:
            state.accused.setdefault(evidence.first.validator, evidence)
            state.emit(EvidenceFound(evidence))
        case AccusedCosigner(evidence) if state.set_of(evidence.first.epoch) is not None:
            state.accused_cosigners.setdefault((evidence.first.epoch, evidence.first.validator), evidence)
            state.emit(EvidenceFound(evidence))
        case _:
            pass


def live_records(state: ReplicaState) -> list[Record]:
    """Return the records that a restart still needs."""
    votes = [Accused(state.accused[validator]) for validator in sorted(state.accused)]
    return [*votes, *(AccusedCosigner(state.accused_cosigners[key]) for key in sorted(state.accused_cosigners))]
