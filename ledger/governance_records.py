"""What the state holds of governance: a row for each proposal, and each member's list of those that are under way.

Past its end a proposal counts as expired, whatever its row says. Of each member the rows of the newest ENDED_KEPT
proposals that ended stay; the one before them leaves the state, and only the log still tells of it.
Source: architecture §5 (Epochs).
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import NamedTuple, assert_never

from ledger.governance_bodies import (
    Accredit,
    ActivateRules,
    AddCatalogue,
    AddMember,
    AddSource,
    AddValidator,
    AnyAction,
    ChangePolicy,
    EndAccreditation,
    ExcludeMember,
    RekeyValidator,
    RemoveSource,
    RemoveValidator,
    ReplaceCa,
    SetOfficers,
    SetRoles,
    SetSchemePolicy,
    SetSourceRoles,
    SetStandards,
    SetThreshold,
    SetVoucherPolicy,
    SuspendWallet,
    type_of,
)
from ledger.members import MemberName, read_validators
from ledger.state import StateReader, Transaction
from ledger.thresholds import Thresholds, passes, read_thresholds, votes_needed
from primitives.encoding import Record
from primitives.ids import Hash

PROPOSALS_A_MEMBER_MAX = 4
"""Under way at a time of each member, so that all of them are bounded."""
SUSPENSIONS_A_MEMBER_MAX = 16
"""Proposals to suspend wallets under way at a time of each member, besides its others: proofs open them."""
ENDED_KEPT = 128
"""Ended proposals of each member whose rows stay: years of what it proposes, and a bound on what it could pile up.

Of each, since a member that proposes and withdraws all day must not make the others' leave.
"""
_UNDER_WAY_PREFIX = "under-way/"
_WALLETS = "/wallets"
_ENDED_PREFIX = "ended/"


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

    `height` is that of its block; `closed_height` 0 while it is under way; `failure` is the number of the rule that it
    failed by (`ledger.governance_errors.NUMBERS`), 0 where it did not fail.
    """

    member: MemberName
    action: AnyAction
    height: int
    expires_ms: int
    approvals: tuple[MemberName, ...] = ()
    rejections: tuple[MemberName, ...] = ()
    stage: Stage = Stage.OPEN
    closed_height: int = 0
    failure: int = 0

    def stage_at(self, time_ms: int) -> Stage:
        """Return the stage at a block time: past its end, a proposal under way has expired."""
        under_way = self.stage in (Stage.OPEN, Stage.APPROVED)
        return Stage.EXPIRED if under_way and time_ms > self.expires_ms else self.stage


class UnderWay(Record):
    """Ids of a member's proposals that wait for votes or readiness, at `under-way/<member>`, oldest first.

    Expired ones leave it with the member's next proposal. Those to suspend wallets are at `under-way/<member>/wallets`.
    """

    ids: tuple[bytes, ...]


class Ended(Record):
    """How many proposals of a member ended, at `ended/<member>`; the rows of the last ENDED_KEPT are there."""

    count: int


class EndedProposal(Record):
    """The id of an ended proposal, at `ended/<member>/<place>`: places are used again in turn."""

    id: bytes


def proposal_key(proposal: bytes) -> str:
    """Return the state key of a proposal's row."""
    return f"proposal/{proposal.hex()}"


def read_proposal(state: StateReader, proposal: bytes) -> Proposal | None:
    """Return a proposal by the id of the event that made it; None where there was none, or it ended long ago."""
    return state.get(proposal_key(proposal), Proposal)


def under_way(state: StateReader, time_ms: int) -> list[tuple[Hash, Proposal]]:
    """Return the proposals of all members that wait for votes or readiness at a block time, oldest first."""
    ids = [item for _, row in state.scan(_UNDER_WAY_PREFIX, UnderWay) for item in row.ids]
    return sorted(_waiting(state, ids, time_ms), key=lambda item: (item[1].height, item[0]))


def under_way_of(state: StateReader, member: str, action: AnyAction, time_ms: int) -> list[tuple[Hash, Proposal]]:
    """Return a member's proposals that wait for votes or readiness at a block time, oldest first.

    Those alone that are counted with `action`: see `under_way_max`.
    """
    return _waiting(state, _listed(state, _under_way_key(member, action)), time_ms)


def under_way_max(action: AnyAction) -> int:
    """Return how many proposals of a member that are counted with an action may be under way."""
    return SUSPENSIONS_A_MEMBER_MAX if isinstance(action, SuspendWallet) else PROPOSALS_A_MEMBER_MAX


def ended_of(state: StateReader, member: str, time_ms: int, count: int) -> list[tuple[Hash, Proposal]]:
    """Return proposals of a member that ended, also those that expired since; of those kept, the newest `count`."""
    counter = state.get(f"{_ENDED_PREFIX}{member}", Ended) or Ended(0)
    places = range(max(0, counter.count - min(count, ENDED_KEPT)), counter.count)
    rows = (state.get(_ended_key(member, place), EndedProposal) for place in places)
    listed = (_listed(state, _under_way_key(member) + lane) for lane in ("", _WALLETS))
    ids = [row.id for row in rows if row is not None] + [item for ids in listed for item in ids]
    found = ((Hash(item), read_proposal(state, item)) for item in ids)
    waits = (Stage.OPEN, Stage.APPROVED)
    return [(item, held) for item, held in found if held is not None and held.stage_at(time_ms) not in waits]


def put_open(state: Transaction, proposal_id: Hash, proposal: Proposal, time_ms: int) -> None:
    """Write a new proposal and list it as under way; its member's expired ones leave the list."""
    place = _under_way_key(proposal.member, proposal.action)
    listed = _listed(state, place)
    waiting = [bytes(item) for item, _ in _waiting(state, listed, time_ms)]
    for expired in sorted(set(listed) - set(waiting)):
        _note_ended(state, proposal.member, expired)
    state.put(proposal_key(proposal_id), proposal)
    state.put(place, UnderWay((*waiting, bytes(proposal_id))))


def put_closed(state: Transaction, proposal_id: bytes, closed: Proposal) -> None:
    """Write a proposal that ended, take it off its member's list, and let the oldest ended one go."""
    state.put(proposal_key(proposal_id), closed)
    place = _under_way_key(closed.member, closed.action)
    left = tuple(item for item in _listed(state, place) if item != proposal_id)
    if left:
        state.put(place, UnderWay(left))
    else:
        state.delete(place)
    _note_ended(state, closed.member, proposal_id)


def _note_ended(state: Transaction, member: str, proposal_id: bytes) -> None:
    """Remember a member's ended proposal in the place of its one that ended ENDED_KEPT before, whose row goes."""
    counted = f"{_ENDED_PREFIX}{member}"
    ended = state.get(counted, Ended) or Ended(0)
    place = _ended_key(member, ended.count)
    oldest = state.get(place, EndedProposal)
    if oldest is not None:
        state.delete(proposal_key(oldest.id))
    state.put(place, EndedProposal(bytes(proposal_id)))
    state.put(counted, Ended(ended.count + 1))


def _ended_key(member: str, place: int) -> str:
    return f"{_ENDED_PREFIX}{member}/{place % ENDED_KEPT:04d}"


def _listed(state: StateReader, place: str) -> tuple[bytes, ...]:
    row = state.get(place, UnderWay)
    return () if row is None else row.ids


def _waiting(state: StateReader, ids: Iterable[bytes], time_ms: int) -> list[tuple[Hash, Proposal]]:
    found = ((Hash(item), read_proposal(state, item)) for item in ids)
    waits = (Stage.OPEN, Stage.APPROVED)
    return [(item, held) for item, held in found if held is not None and held.stage_at(time_ms) in waits]


def _under_way_key(member: str, action: AnyAction | None = None) -> str:
    return f"{_UNDER_WAY_PREFIX}{member}{_WALLETS if isinstance(action, SuspendWallet) else ''}"


def subject_of(action: AnyAction) -> str:
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
        case SetSourceRoles(key=key):
            return f"roles of source {key.hex()}"
        case SetOfficers(member=member):
            return f"officers of {member}"
        case SetRoles(member=member):
            return f"roles of {member}"
        case ReplaceCa(member=member):
            return f"root CA of {member}"
        case ChangePolicy():
            return "policy"
        case AddCatalogue():
            return "catalogue"
        case SetThreshold(action=action_type):
            return f"threshold of {action_type}"
        case Accredit(member=member, role=role) | EndAccreditation(member=member, role=role):
            return f"accreditation of {member} as {role}"
        case SetSchemePolicy():
            return "policy of the scheme"
        case SetStandards(version=version):
            return f"standards of catalogue {version}"
        case SetVoucherPolicy():
            return "limits of vouchers"
        case SuspendWallet(wallet=wallet):
            return f"wallet {wallet.hex()}"
        case _:
            assert_never(action)


def voters(state: StateReader) -> tuple[str, ...]:
    """Return the members that run a validator of the present set, ascending: each has one vote."""
    return tuple(sorted({str(validator.member) for validator in read_validators(state).validators}))


class Electorate(NamedTuple):
    """Who votes, and which share of them decides on what."""

    members: tuple[str, ...]
    thresholds: Thresholds

    def needed(self, action: AnyAction) -> int:
        """Return how many approvals an action takes."""
        return votes_needed(len(self.members), self.thresholds.share_of(type_of(action)))


def electorate(state: StateReader) -> Electorate:
    """Return who votes at present, and how many decide."""
    return Electorate(voters(state), read_thresholds(state))


def verdict_of(proposal: Proposal, present: Electorate) -> Stage:
    """Return what the votes of these voters make of an open proposal: approved, refused, or open still.

    A vote of a member that has no validator any more does not count.
    """
    members, count = frozenset(present.members), len(present.members)
    share = present.thresholds.share_of(type_of(proposal.action))
    approvals = len(members.intersection(proposal.approvals))
    rejections = len(members.intersection(proposal.rejections))
    if passes(count, approvals, share):
        return Stage.APPROVED
    return Stage.OPEN if passes(count, count - rejections, share) else Stage.REFUSED
