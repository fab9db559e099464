"""Governance: how the members change the validators and the rules of their chain, by events on it.

Here: the kinds 80 to 87 and what each writes. A member proposes; the members with a validator vote, one vote each,
signed by an officer; what passes takes effect in that block or, where a node has to catch up first, with its ready
event. What may be changed is judged in `ledger.governance_rules`. Source: architecture §5 (Epochs), decision record 10.

Several changes of one block compose: each is judged against the set that the ones before it left, and all of them make
the one next epoch. So no event fails for standing beside another, and nothing waits that no event would set off.
"""

from __future__ import annotations

from msgspec.structs import replace

from ledger.amendment_rules import RULES_AMENDMENTS, check_begin, enact_amendment
from ledger.governance_bodies import (
    Accredit,
    ActivateRules,
    AddCatalogue,
    AddMember,
    AddSource,
    AddValidator,
    Amend,
    AnyAction,
    CastVote,
    ChangePolicy,
    EndAccreditation,
    ExcludeMember,
    Propose,
    Ready,
    Regulate,
    RekeyValidator,
    RemoveSource,
    RemoveValidator,
    ReplaceCa,
    RetireSource,
    SetOfficers,
    SetRoles,
    SetSchemePolicy,
    SetSourceRoles,
    SetStandards,
    SetThreshold,
    SetVoucherPolicy,
    Steer,
    SuspendWallet,
    Withdraw,
    ready_statement,
    retirement_statement,
    vote_statement,
)
from ledger.governance_errors import NUMBERS, broken
from ledger.governance_records import (
    Electorate,
    Proposal,
    Stage,
    electorate,
    proposal_key,
    put_closed,
    put_open,
    read_proposal,
    subject_of,
    under_way,
    under_way_max,
    under_way_of,
    verdict_of,
    voters,
)
from ledger.governance_rules import (
    PROPOSAL_TERM_MS_MAX,
    READY_HEIGHTS_MAX,
    check_action,
    parties,
)
from ledger.kinds import ApplyContext, KindSpec, RuleBroken
from ledger.member_index import voter_of
from ledger.member_rules import enact_member_action, registered_source, remove_source
from ledger.members import read_validators
from ledger.nodes import put_set
from ledger.policy import read_policy
from ledger.recent_blocks import RECENT_BLOCKS, recent_hash
from ledger.rules import RULES_PAYMENTS, RULES_SCHEME, read_rules, schedule_rules
from ledger.scheme_governance import check_scheme_time, enact_scheme_action
from ledger.state import StateReader, StateSource, Transaction
from ledger.voucher_governance import enact_payment_action, opened_by_proof
from primitives.encoding import Record
from primitives.ids import Epoch, EventId, Hash, Height, MemberId, SourceKey, TimeMs
from primitives.keys import verify
from primitives.validators import ValidatorSet

PROPOSE, VOTE, READY, WITHDRAW, RETIRE_SOURCE, AMEND, STEER, REGULATE = 80, 81, 82, 83, 84, 85, 86, 87
SCHEMA = 1
assert READY_HEIGHTS_MAX <= RECENT_BLOCKS


def _propose(context: ApplyContext, state: Transaction, body: Propose | Amend | Steer | Regulate) -> None:
    members = voters(state)
    if context.member not in members and context.member not in parties(state, body.action):
        raise broken("not_a_party", context.member)
    if not context.time_ms < body.expires_ms <= context.time_ms + PROPOSAL_TERM_MS_MAX:
        raise broken("proposal_term", f"after {context.time_ms}, at most {context.time_ms + PROPOSAL_TERM_MS_MAX}")
    own, most = under_way_of(state, context.member, body.action, context.time_ms), under_way_max(body.action)
    if len(own) >= most:
        raise broken("proposals_under_way", f"at most {most} of {context.member}")
    for proposal_id, proposal in own:  # of its own alone: else whom others would remove would propose first, for ever
        if subject_of(proposal.action) == subject_of(body.action):
            raise broken("pending_change", f"proposal {proposal_id.hex()}")
    check_action(state, context.chain_id, body.action, context.height)
    check_begin(body.action, context.time_ms)
    check_scheme_time(state, body.action, context.time_ms)
    proposal = Proposal(context.member, body.action, context.height, body.expires_ms)
    put_open(state, context.event_id, proposal, context.time_ms)


def _vote(context: ApplyContext, state: Transaction, body: CastVote) -> None:
    proposal = _waiting(context, state, body.proposal)
    if proposal.stage is not Stage.OPEN:
        raise broken("proposal_closed", "its votes are decided")
    before = electorate(state)
    voter = _voter(context, state, before.members, body.officer)
    if voter in proposal.approvals or voter in proposal.rejections:
        raise broken("already_voted", voter)
    if not verify(body.officer, vote_statement(context.chain_id, body.proposal, body.approve), body.signature):
        raise broken("bad_signature", "the officer's")
    side = "approvals" if body.approve else "rejections"
    proposal = replace(proposal, **{side: tuple(sorted((*getattr(proposal, side), voter)))})
    state.put(proposal_key(body.proposal), proposal)
    _decide(context, state, body.proposal, proposal, before)
    _tally_again(context, state, before)


def _voter(context: ApplyContext, state: StateReader, members: tuple[str, ...], officer: bytes) -> str:
    """Return whose vote this is: of the member whose officer signed, whichever member carries it.

    A bank that lost its gateway must be able to vote its new one in, even where two lost theirs at once.
    """
    voter = voter_of(state, officer)
    if voter in members:
        return voter
    if context.member not in members:
        raise broken("not_a_voter", context.member)
    raise broken("unknown_officer", f"{officer.hex()[:16]} of {context.member}")


def _decide(
    context: ApplyContext, state: Transaction, proposal_id: bytes, proposal: Proposal, present: Electorate
) -> bool:
    """Let an open proposal pass or end where the votes of these members decide it; say whether they do."""
    verdict = verdict_of(proposal, present)
    if verdict is Stage.APPROVED:
        _passed(context, state, proposal_id, proposal)
    elif verdict is Stage.REFUSED:
        _close(context, state, proposal_id, proposal, Stage.REFUSED)
    return verdict is not Stage.OPEN


def _tally_again(context: ApplyContext, state: Transaction, before: Electorate) -> None:
    """Where members lost their vote in this event or got one, or fewer or more decide, count anew what is open.

    Oldest first. Fewer voters may make votes that were cast enough, and so may one that comes back, whose votes count
    again; no later event would look: another vote may never come. What passes may take the next voter away, and then
    all that is still open is counted once more. Each round after the first but the last one ends a proposal, so there
    are no more rounds than proposals under way.
    """
    present = electorate(state)
    if before == present:
        return
    waiting = [item for item in under_way(state, context.time_ms) if item[1].stage is Stage.OPEN]
    counted: Electorate | None = None
    while counted != present:
        counted = present
        for item in list(waiting):
            if _decide(context, state, *item, present):
                waiting.remove(item)
                present = electorate(state)


def _passed(context: ApplyContext, state: Transaction, proposal_id: bytes, proposal: Proposal) -> None:
    """Let an approved action wait for its node, or take effect; one that may not be any more ends as failed."""
    if needs_readiness(proposal.action):
        state.put(proposal_key(proposal_id), replace(proposal, stage=Stage.APPROVED))
        return
    try:
        _enact(context, state, proposal_id, proposal.action)
    except RuleBroken as reason:
        _close(context, state, proposal_id, proposal, Stage.FAILED, NUMBERS[reason.rule])
    else:
        _close(context, state, proposal_id, proposal, Stage.ENACTED)


def _ready(context: ApplyContext, state: Transaction, body: Ready) -> None:
    proposal, before = _waiting(context, state, body.proposal), electorate(state)
    check_ready(context.chain_id, proposal, body, context.height, recent_hash(state, body.height))
    _enact(context, state, body.proposal, proposal.action)
    _close(context, state, body.proposal, proposal, Stage.ENACTED)
    _tally_again(context, state, before)


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
    if opened_by_proof(state, body.proposal, proposal):
        raise broken("not_the_proposer", "a proof of double spending opened it")
    _close(context, state, body.proposal, proposal, Stage.WITHDRAWN)


def _retire(context: ApplyContext, state: Transaction, body: RetireSource) -> None:
    source = registered_source(state, body.source)
    if voter_of(state, body.officer) != source.member:
        raise broken("unknown_officer", f"{body.officer.hex()[:16]} of {source.member}")
    if not verify(body.officer, retirement_statement(context.chain_id, body.source), body.signature):
        raise broken("bad_signature", "the officer's")
    remove_source(state, body.source)


def needs_readiness(action: AnyAction) -> bool:
    """Say whether an approved action waits until the node that it names has caught up."""
    return isinstance(action, AddValidator | RekeyValidator)


def next_set(state: StateReader, chain_id: Hash, action: AnyAction, height: int, epoch: Epoch) -> ValidatorSet | None:
    """Return the set of the epoch after `epoch` with this change, None where it changes none. Raises RuleBroken."""
    following = check_action(state, chain_id, action, height)
    return None if following is None else ValidatorSet(Epoch(epoch + 1), following.validators)


def _enact(context: ApplyContext, state: Transaction, proposal_id: bytes, action: AnyAction) -> None:
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
        case SetRoles() | SetSourceRoles() | ReplaceCa() | ChangePolicy() | AddCatalogue() | SetThreshold():
            enact_amendment(context, state, action)
            return
        case Accredit() | EndAccreditation() | SetSchemePolicy() | SetStandards():
            enact_scheme_action(context, state, action)
            return
        case SetVoucherPolicy() | SuspendWallet():
            enact_payment_action(state, action)
            return
    assert following is not None, "every other action changes the set"
    put_set(state, following, addresses)
    for other_id, other in under_way(state, context.time_ms):
        same = other_id != proposal_id and subject_of(other.action) == subject_of(action)
        if same and other.stage is Stage.APPROVED:
            _close(context, state, other_id, other, Stage.FAILED, NUMBERS["superseded"])


def preview(source: StateSource, chain_id: Hash, action: AnyAction, height: int, time_ms: int) -> Transaction:
    """Return the state after an action that is decided on in the block at `height`. Raises RuleBroken.

    An approved action that waits for its node is taken as if that were ready.
    """
    state = Transaction(source)
    context = ApplyContext(
        chain_id=chain_id,
        epoch=read_validators(state).epoch,
        rules=read_rules(state).at(height),
        member=MemberId(""),
        source=SourceKey(b""),
        roles=frozenset(),
        source_roles=frozenset(),
        event_id=EventId(b""),
        reference=b"",
        height=Height(height),
        time_ms=TimeMs(time_ms),
        policy=read_policy(state),
    )
    _enact(context, state, b"", action)
    return state


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
    context: ApplyContext, state: Transaction, proposal_id: bytes, proposal: Proposal, stage: Stage, failure: int = 0
) -> None:
    put_closed(state, proposal_id, replace(proposal, stage=stage, closed_height=context.height, failure=failure))


KIND_OF: dict[type[Record], int] = {
    Propose: PROPOSE,
    CastVote: VOTE,
    Ready: READY,
    Withdraw: WITHDRAW,
    RetireSource: RETIRE_SOURCE,
    Amend: AMEND,
    Steer: STEER,
    Regulate: REGULATE,
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
    KindSpec(
        AMEND,
        "governance.amend",
        {SCHEMA: Amend},
        changes_state=True,
        apply=_propose,
        is_dear=True,
        rules_min=RULES_AMENDMENTS,
    ),
    KindSpec(
        STEER,
        "governance.steer",
        {SCHEMA: Steer},
        changes_state=True,
        apply=_propose,
        is_dear=True,
        rules_min=RULES_SCHEME,
    ),
    KindSpec(
        REGULATE,
        "governance.regulate",
        {SCHEMA: Regulate},
        changes_state=True,
        apply=_propose,
        is_dear=True,
        rules_min=RULES_PAYMENTS,
    ),
)
