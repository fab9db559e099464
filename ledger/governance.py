"""Governance: how the members change the validators and the rules of their chain, by events on it.

Here: the kinds 80 to 84 and what each writes. A member proposes; the members with a validator vote, one vote each,
signed by an officer; what passes takes effect in that block or, where a node has to catch up first, with its ready
event. What may be changed is judged in `ledger.governance_rules`. Source: architecture §5 (Epochs), decision record 10.

Several changes of one block compose: each is judged against the set that the ones before it left, and all of them make
the one next epoch. So no event fails for standing beside another, and nothing waits that no event would set off.
"""

from __future__ import annotations

from msgspec.structs import replace

from ledger.governance_bodies import (
    Action,
    ActivateRules,
    AddMember,
    AddSource,
    AddValidator,
    CastVote,
    ExcludeMember,
    Propose,
    Ready,
    RekeyValidator,
    RemoveSource,
    RemoveValidator,
    RetireSource,
    SetOfficers,
    Withdraw,
    ready_statement,
    retirement_statement,
    vote_statement,
)
from ledger.governance_errors import broken
from ledger.governance_records import (
    PROPOSALS_A_MEMBER_MAX,
    UNDER_WAY_KEY,
    Proposal,
    Stage,
    UnderWay,
    passes,
    proposal_key,
    read_proposal,
    subject_of,
    under_way,
    voters,
)
from ledger.governance_rules import (
    PROPOSAL_TERM_MS_MAX,
    READY_HEIGHTS_MAX,
    check_action,
    parties,
)
from ledger.kinds import ApplyContext, KindSpec, RuleBroken
from ledger.member_rules import enact_member_action, is_governance_officer, registered_source, remove_source
from ledger.members import read_member
from ledger.nodes import put_set
from ledger.recent_blocks import RECENT_BLOCKS, recent_hash
from ledger.rules import schedule_rules
from ledger.state import StateReader, Transaction
from primitives.encoding import Record
from primitives.ids import Epoch, Hash
from primitives.keys import verify
from primitives.validators import ValidatorSet

PROPOSE, VOTE, READY, WITHDRAW, RETIRE_SOURCE = 80, 81, 82, 83, 84
SCHEMA = 1
assert READY_HEIGHTS_MAX <= RECENT_BLOCKS


def _propose(context: ApplyContext, state: Transaction, body: Propose) -> None:
    members = voters(state)
    if context.member not in members and context.member not in parties(state, body.action):
        raise broken("not_a_party", context.member)
    if not context.time_ms < body.expires_ms <= context.time_ms + PROPOSAL_TERM_MS_MAX:
        raise broken("proposal_term", f"after {context.time_ms}, at most {context.time_ms + PROPOSAL_TERM_MS_MAX}")
    waiting = list(under_way(state, context.time_ms))
    own = [(proposal_id, proposal) for proposal_id, proposal in waiting if proposal.member == context.member]
    if len(own) >= PROPOSALS_A_MEMBER_MAX:
        raise broken("proposals_under_way", f"at most {PROPOSALS_A_MEMBER_MAX} of {context.member}")
    for proposal_id, proposal in own:  # of its own alone: else whom others would remove would propose first, for ever
        if subject_of(proposal.action) == subject_of(body.action):
            raise broken("pending_change", f"proposal {proposal_id.hex()}")
    check_action(state, context.chain_id, body.action, context.height)
    state.put(proposal_key(context.event_id), Proposal(context.member, body.action, context.height, body.expires_ms))
    state.put(UNDER_WAY_KEY, UnderWay((*(bytes(item) for item, _ in waiting), bytes(context.event_id))))


def _vote(context: ApplyContext, state: Transaction, body: CastVote) -> None:
    proposal = _waiting(context, state, body.proposal)
    if proposal.stage is not Stage.OPEN:
        raise broken("proposal_closed", "its votes are decided")
    members = voters(state)
    voter = _voter(context, state, members, body.officer)
    if voter in proposal.approvals or voter in proposal.rejections:
        raise broken("already_voted", voter)
    if not verify(body.officer, vote_statement(context.chain_id, body.proposal, body.approve), body.signature):
        raise broken("bad_signature", "the officer's")
    side = "approvals" if body.approve else "rejections"
    proposal = replace(proposal, **{side: tuple(sorted((*getattr(proposal, side), voter)))})
    approvals = sum(member_id in proposal.approvals for member_id in members)
    rejections = sum(member_id in proposal.rejections for member_id in members)
    if passes(len(members), approvals):
        _passed(context, state, body.proposal, proposal)
    elif not passes(len(members), len(members) - rejections):
        _close(context, state, body.proposal, proposal, Stage.REFUSED)
    else:
        state.put(proposal_key(body.proposal), proposal)


def _voter(context: ApplyContext, state: StateReader, members: tuple[str, ...], officer: bytes) -> str:
    """Return whose vote this is: of the member whose officer signed, whichever member carries it.

    A bank that lost its gateway must be able to vote its new one in, even where two lost theirs at once.
    """
    for member_id in members:
        member = read_member(state, member_id)
        if member is not None and is_governance_officer(member, officer):
            return member_id
    if context.member not in members:
        raise broken("not_a_voter", context.member)
    raise broken("unknown_officer", f"{officer.hex()[:16]} of {context.member}")


def _passed(context: ApplyContext, state: Transaction, proposal_id: bytes, proposal: Proposal) -> None:
    """Let an approved action wait for its node, or take effect; one that may not be any more ends as failed."""
    if needs_readiness(proposal.action):
        state.put(proposal_key(proposal_id), replace(proposal, stage=Stage.APPROVED))
        return
    try:
        _enact(context, state, proposal_id, proposal.action)
    except RuleBroken as reason:
        _close(context, state, proposal_id, proposal, Stage.FAILED, str(reason)[:200])
    else:
        _close(context, state, proposal_id, proposal, Stage.ENACTED)


def _ready(context: ApplyContext, state: Transaction, body: Ready) -> None:
    proposal = _waiting(context, state, body.proposal)
    check_ready(context.chain_id, proposal, body, context.height, recent_hash(state, body.height))
    _enact(context, state, body.proposal, proposal.action)
    _close(context, state, body.proposal, proposal, Stage.ENACTED)


def check_ready(chain_id: Hash, proposal: Proposal, body: Ready, height: int, held: Hash | None) -> None:
    """Raise RuleBroken unless the node that an approved proposal names shows that it holds one of the newest blocks.

    `height` is that of the block that orders the event; the one below it is the newest that can be named. `held` is the
    hash of the chain's block at the height that the event names.
    """
    action = proposal.action
    if proposal.stage is not Stage.APPROVED or not isinstance(action, AddValidator | RekeyValidator):
        raise broken("not_approved", f"it is {proposal.stage.value}")
    if not height - READY_HEIGHTS_MAX <= body.height < height:
        raise broken("stale_block", f"{height - READY_HEIGHTS_MAX} to {height - 1}, got {body.height}")
    if held != body.block_hash:
        raise broken("wrong_block", f"height {body.height}")
    signed = ready_statement(chain_id, body.proposal, body.height, body.block_hash)
    if not verify(action.keys.vote_key, signed, body.signature):
        raise broken("bad_signature", "the new voting key's")


def _withdraw(context: ApplyContext, state: Transaction, body: Withdraw) -> None:
    proposal = _waiting(context, state, body.proposal)
    if context.member != proposal.member:
        raise broken("not_the_proposer", f"it is {proposal.member}'s")
    _close(context, state, body.proposal, proposal, Stage.WITHDRAWN)


def _retire(context: ApplyContext, state: Transaction, body: RetireSource) -> None:
    source = registered_source(state, body.source)
    member = read_member(state, source.member)
    if member is None or not is_governance_officer(member, body.officer):
        raise broken("unknown_officer", f"{body.officer.hex()[:16]} of {source.member}")
    if not verify(body.officer, retirement_statement(context.chain_id, body.source), body.signature):
        raise broken("bad_signature", "the officer's")
    remove_source(state, body.source)


def needs_readiness(action: Action) -> bool:
    """Say whether an approved action waits until the node that it names has caught up."""
    return isinstance(action, AddValidator | RekeyValidator)


def next_set(state: StateReader, chain_id: Hash, action: Action, height: int, epoch: Epoch) -> ValidatorSet | None:
    """Return the set of the epoch after `epoch` with this change, None where it changes none. Raises RuleBroken."""
    following = check_action(state, chain_id, action, height)
    return None if following is None else ValidatorSet(Epoch(epoch + 1), following.validators)


def _enact(context: ApplyContext, state: Transaction, proposal_id: bytes, action: Action) -> None:
    """Make a change; what else was approved for the same validator fails: it was approved for the one before."""
    following = next_set(state, context.chain_id, action, context.height, context.epoch)
    match action:
        case AddValidator(name=name, address=address) | RekeyValidator(name=name, address=address):
            addresses = {name: address} if address else {}
        case RemoveValidator():
            addresses = {}
        case ActivateRules(version=version, height=height):
            schedule_rules(state, version, height, context.height)
            return
        case AddMember() | ExcludeMember() | AddSource() | RemoveSource() | SetOfficers():
            enact_member_action(state, action)
            return
    assert following is not None, "every other action changes the set"
    put_set(state, following, addresses)
    for other_id, other in list(under_way(state, context.time_ms)):
        same = other_id != proposal_id and subject_of(other.action) == subject_of(action)
        if same and other.stage is Stage.APPROVED:
            _close(context, state, other_id, other, Stage.FAILED, f"proposal {proposal_id.hex()} changed the same")


def _waiting(context: ApplyContext, state: StateReader, proposal_id: bytes) -> Proposal:
    """Return a proposal that is under way at the block's time."""
    proposal = read_proposal(state, proposal_id)
    if proposal is None:
        raise broken("unknown_proposal", proposal_id.hex())
    stage = proposal.stage_at(context.time_ms)
    if stage not in (Stage.OPEN, Stage.APPROVED):
        raise broken("proposal_closed", f"it is {stage.value}")
    return proposal


def _close(
    context: ApplyContext, state: Transaction, proposal_id: bytes, proposal: Proposal, stage: Stage, detail: str = ""
) -> None:
    closed = replace(proposal, stage=stage, closed_height=context.height, detail=detail)
    state.put(proposal_key(proposal_id), closed)
    left = tuple(bytes(item) for item, _ in under_way(state, context.time_ms))
    state.put(UNDER_WAY_KEY, UnderWay(left))


KIND_OF: dict[type[Record], int] = {
    Propose: PROPOSE,
    CastVote: VOTE,
    Ready: READY,
    Withdraw: WITHDRAW,
    RetireSource: RETIRE_SOURCE,
}

GOVERNANCE_KINDS: tuple[KindSpec, ...] = (
    KindSpec(PROPOSE, "governance.propose", {SCHEMA: Propose}, changes_state=True, apply=_propose, is_dear=True),
    KindSpec(VOTE, "governance.vote", {SCHEMA: CastVote}, changes_state=True, apply=_vote, is_dear=True),
    KindSpec(READY, "governance.ready", {SCHEMA: Ready}, changes_state=True, apply=_ready, is_dear=True),
    KindSpec(WITHDRAW, "governance.withdraw", {SCHEMA: Withdraw}, changes_state=True, apply=_withdraw),
    KindSpec(
        RETIRE_SOURCE,
        "governance.retire_source",
        {SCHEMA: RetireSource},
        changes_state=True,
        apply=_retire,
        is_dear=True,
    ),
)
