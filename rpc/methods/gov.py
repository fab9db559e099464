"""gov_*: what the members propose, how they voted, and who they are.

Here: reading. Whether an action could be taken now is in `rpc.methods.gov_check`. Proposing and voting are events like
any other (`ledger_submit`). Source: docs/protocol.md, "Governance".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec

from ledger.committed_state import CommittedState
from ledger.event_json import record_to_json
from ledger.governance_errors import RULES, rule_of
from ledger.governance_records import (
    ENDED_KEPT,
    Proposal,
    Stage,
    electorate,
    read_proposal,
    under_way,
)
from ledger.members import Member, read_members, read_sources, read_validators
from rpc.errors import Code, not_found
from rpc.methods.heights import tip_of
from rpc.paging import page_of
from rpc.ports import Services
from rpc.registry import method
from rpc.types import (
    LIMIT_DEFAULT,
    AskedCursor,
    AskedOrder,
    AsOf,
    HashHex,
    HeightNumber,
    Limit,
    NextCursor,
    Params,
    Result,
    Time,
    time_text,
)

Json = dict[str, Any]  # Any: JSON of an action


class GetProposal(Params, frozen=True):
    """A proposal, by the id of the event that made it."""

    id: Annotated[HashHex, msgspec.Meta(description="The id of the event that made the proposal.")]


class ListMembers(Params, frozen=True):
    """A page of the members, upwards by id unless `order` says otherwise."""

    limit: Limit = LIMIT_DEFAULT
    cursor: AskedCursor = None
    order: AskedOrder = None


class ListProposals(Params, frozen=True):
    """A page of the proposals under way, the oldest first unless `order` says otherwise."""

    limit: Limit = LIMIT_DEFAULT
    order: AskedOrder = None
    cursor: AskedCursor = None


class SourceResult(Result, frozen=True):
    """A signing key of a member; one that was removed may submit nothing, and never comes back."""

    key: str
    roles: list[str]
    removed: bool


class OfficerResult(Result, frozen=True):
    """An officer's key and what for."""

    key: str
    role: str


class MemberResult(Result, frozen=True):
    """A member as the state has it, with its sources and its validators of the present set."""

    id: str
    name: str
    roles: list[str]
    agents: list[str]
    sources: list[SourceResult]
    officers: list[OfficerResult]
    validators: list[str]
    ca_certificate: str
    excluded: bool


class MembersAnswer(Result, frozen=True):
    """The members by id, in their order; `cursor` asks for the next."""

    members: list[MemberResult]
    cursor: NextCursor
    as_of: AsOf


class ProposalResult(Result, frozen=True):
    """A proposal: the stage that it is at, and the votes; `voters` may vote, and `votes_needed` of them decide."""

    id: str
    stage: str
    member: str
    action: Json
    height: int
    expires: Time
    approvals: list[str]
    rejections: list[str]
    voters: list[str]
    votes_needed: int
    waits_for: str | None
    closed_height: int | None
    detail: str | None


class ProposalAnswer(Result, frozen=True):
    """One proposal."""

    proposal: ProposalResult
    as_of: AsOf


class ProposalsAnswer(Result, frozen=True):
    """The proposals that wait for votes or for their node; `cursor` asks for the next."""

    proposals: list[ProposalResult]
    cursor: NextCursor
    as_of: AsOf


@method("gov_getProposal", params=GetProposal, result=ProposalAnswer, errors=(Code.NOT_FOUND, Code.UNAVAILABLE))
def get_proposal(services: Services, params: GetProposal) -> ProposalAnswer:
    """A proposal with its votes, also one that has ended."""
    tip = tip_of(services)
    state = CommittedState(services.reads.store)
    proposal = read_proposal(state, bytes.fromhex(params.id))
    if proposal is None:
        raise not_found(
            "there is no such proposal",
            where="$.id",
            got=params.id,
            hint=f"the newest {ENDED_KEPT} of each member that ended are kept; older ones are in the log",
        )
    return ProposalAnswer(proposal_result(services, params.id, proposal), int(tip.height))


@method("gov_listProposals", params=ListProposals, result=ProposalsAnswer, errors=(Code.UNAVAILABLE,))
def list_proposals(services: Services, params: ListProposals) -> ProposalsAnswer:
    """The proposals under way, with their votes: the oldest first unless `order` says otherwise."""
    tip = tip_of(services)
    page = page_of(services, "gov_listProposals", params, tuple[HeightNumber, str], "asc")
    found = sorted(proposals_under_way(services), key=_place, reverse=page.descending)
    if page.after is not None:
        after = page.after
        found = [item for item in found if (_place(item) < after if page.descending else _place(item) > after)]
    shown = found[: params.limit]
    cursor = page.cursor(*_place(shown[-1])) if len(found) > params.limit else None
    return ProposalsAnswer(shown, cursor, int(tip.height))


def _place(proposal: ProposalResult) -> tuple[int, str]:
    return proposal.height, proposal.id


@method("gov_listMembers", params=ListMembers, result=MembersAnswer, errors=(Code.UNAVAILABLE,))
def list_members(services: Services, params: ListMembers) -> MembersAnswer:
    """The members with their roles, codes, root CA, sources and officers, also those that were excluded."""
    tip = tip_of(services)
    state = CommittedState(services.reads.store)
    page = page_of(services, "gov_listMembers", params, tuple[str], "asc")
    members = sorted(read_members(state), key=lambda member: member.id, reverse=page.descending)
    if page.after is not None:
        (after,) = page.after
        members = [member for member in members if (member.id < after if page.descending else member.id > after)]
    shown = members[: params.limit]
    cursor = page.cursor(shown[-1].id) if len(members) > params.limit else None
    return MembersAnswer(described_members(services, shown), cursor, int(tip.height))


def described_members(services: Services, members: Sequence[Member]) -> list[MemberResult]:
    """Return members as JSON has them, with their sources and the validators of the present set."""
    state = CommittedState(services.reads.store)
    sources: dict[str, list[SourceResult]] = {member.id: [] for member in members}
    for key, row in read_sources(state):
        if row.member in sources:
            sources[row.member].append(SourceResult(key.hex(), list(row.roles), row.removed))
    validators: dict[str, list[str]] = {}
    for validator in read_validators(state).validators:
        validators.setdefault(validator.member, []).append(validator.name)
    return [
        MemberResult(
            member.id,
            member.name,
            list(member.roles),
            list(member.agents),
            sources[member.id],
            [OfficerResult(officer.key.hex(), officer.role) for officer in member.officers],
            validators.get(member.id, []),
            member.ca_certificate,
            member.excluded,
        )
        for member in members
    ]


def proposals_under_way(services: Services) -> list[ProposalResult]:
    """Return the proposals that wait for votes or for their node at the newest block's time."""
    state = CommittedState(services.reads.store)
    found = under_way(state, now_ms(services))
    return [proposal_result(services, proposal_id.hex(), proposal) for proposal_id, proposal in found]


def proposal_result(services: Services, proposal_id: str, proposal: Proposal) -> ProposalResult:
    """Return a proposal as JSON has it, at the newest block's time."""
    present = electorate(CommittedState(services.reads.store))
    stage = proposal.stage_at(now_ms(services))
    waits_for = {Stage.OPEN: "votes", Stage.APPROVED: "its node to catch up"}.get(stage)
    return ProposalResult(
        id=proposal_id,
        stage=stage.value,
        member=proposal.member,
        action=record_to_json(proposal.action),
        height=proposal.height,
        expires=time_text(proposal.expires_ms),
        approvals=list(proposal.approvals),
        rejections=list(proposal.rejections),
        voters=list(present.members),
        votes_needed=present.needed(proposal.action),
        waits_for=waits_for,
        closed_height=proposal.closed_height or None,
        detail=failure_text(proposal.failure),
    )


def failure_text(number: int) -> str | None:
    """Return why a proposal failed, by the number that the state holds; None where it did not fail."""
    if not number:
        return None
    rule = rule_of(number)
    return f"{rule}: {RULES[rule]}" if rule in RULES else f"a rule that this release does not know, number {number}"


def now_ms(services: Services) -> int:
    """Return the newest block's time, 0 before there is one."""
    tip = services.reads.tip()
    header = None if tip is None else services.reads.header(tip.height)
    return 0 if header is None else int(header.time_ms)


METHODS = (get_proposal, list_proposals, list_members)
