"""What the state holds of governance: a row for each proposal, and the list of those that are under way.

Source: architecture §5 (Epochs). A proposal's row stays for good; past its end it counts as expired, whatever it says.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import assert_never

from ledger.governance_bodies import (
    Action,
    ActivateRules,
    AddMember,
    AddSource,
    AddValidator,
    ExcludeMember,
    RekeyValidator,
    RemoveSource,
    RemoveValidator,
    SetOfficers,
)
from ledger.members import MemberName, read_validators
from ledger.state import StateReader
from primitives.encoding import Record
from primitives.ids import Hash

UNDER_WAY_KEY = "governance/under-way"
PROPOSALS_A_MEMBER_MAX = 4
"""Under way at a time: at most 4 of each member with a validator, so their list is bounded."""


class Stage(enum.StrEnum):
    """How far a proposal is; the last five are ends."""

    OPEN = "open"
    APPROVED = "approved"
    ENACTED = "enacted"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"
    FAILED = "failed"


class Proposal(Record):
    """A proposal at `proposal/<event id>`: what, whose, until when, who voted how, and what came of it.

    `height` is that of its block; `closed_height` 0 while it is under way; `detail` says why it failed.
    """

    member: MemberName
    action: Action
    height: int
    expires_ms: int
    approvals: tuple[MemberName, ...] = ()
    rejections: tuple[MemberName, ...] = ()
    stage: Stage = Stage.OPEN
    closed_height: int = 0
    detail: str = ""

    def stage_at(self, time_ms: int) -> Stage:
        """Return the stage at a block time: past its end, a proposal under way has expired."""
        under_way = self.stage in (Stage.OPEN, Stage.APPROVED)
        return Stage.EXPIRED if under_way and time_ms > self.expires_ms else self.stage


class UnderWay(Record):
    """The ids of the proposals that wait for votes or readiness, oldest first; ended ones leave it at the next."""

    ids: tuple[bytes, ...]


def proposal_key(proposal: bytes) -> str:
    """Return the state key of a proposal's row."""
    return f"proposal/{proposal.hex()}"


def read_proposal(state: StateReader, proposal: bytes) -> Proposal | None:
    """Return a proposal by the id of the event that made it."""
    return state.get(proposal_key(proposal), Proposal)


def under_way(state: StateReader, time_ms: int) -> Iterator[tuple[Hash, Proposal]]:
    """Yield the proposals that wait for votes or readiness at a block time, oldest first."""
    row = state.get(UNDER_WAY_KEY, UnderWay)
    for proposal_id in () if row is None else row.ids:
        proposal = read_proposal(state, proposal_id)
        if proposal is not None and proposal.stage_at(time_ms) in (Stage.OPEN, Stage.APPROVED):
            yield Hash(proposal_id), proposal


def subject_of(action: Action) -> str:
    """Return what an action changes: two of a member under way may not change the same."""
    match action:
        case AddValidator(name=name) | RemoveValidator(name=name) | RekeyValidator(name=name):
            return f"validator {name}"
        case ActivateRules():
            return "rules"
        case AddMember(member=entry):
            return f"member {entry.id}"
        case ExcludeMember(member=member):
            return f"member {member}"
        case AddSource(key=key) | RemoveSource(key=key):
            return f"source {key.hex()}"
        case SetOfficers(member=member):
            return f"officers of {member}"
        case _:
            assert_never(action)


def voters(state: StateReader) -> tuple[str, ...]:
    """Return the members that run a validator of the present set, ascending: each has one vote."""
    return tuple(sorted({str(validator.member) for validator in read_validators(state).validators}))


def votes_needed(voters_count: int) -> int:
    """Return the smallest number of approvals that passes a proposal."""
    return 2 * voters_count // 3 + 1


def passes(voters_count: int, approvals: int) -> bool:
    """Say whether votes decide a proposal: more than two thirds of the voters.

    Of m voters, f = floor((m-1)/3) may be malicious or gone. f votes never pass anything, as 3f < 2m; and f cannot keep
    the others from passing it, as m >= 3f+1 gives 3(m-f) > 2m.
    """
    return 3 * approvals > 2 * voters_count
