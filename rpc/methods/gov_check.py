"""gov_checkAction: what an action would do, before anybody votes: the rule it breaks, the quorum, who is up, what ends.

Here: joining what the state says (`ledger.consequences`) with what this node sees of the others. It is this node's
view: another may be linked with others. Source: docs/membership.md.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec

from ledger.committed_state import CommittedState
from ledger.consequences import Consequences, consequences_of
from ledger.governance_actions import proposing_body
from ledger.governance_bodies import AddValidator, AnyAction, RekeyValidator, type_of
from ledger.governance_errors import RULES
from ledger.governance_records import electorate
from ledger.kinds import RuleBroken
from ledger.members import read_validators
from ledger.outcome_texts import detail_text
from primitives.validators import ValidatorSet
from rpc.errors import Code
from rpc.methods.expiry import DAY_MS, WARN_DAYS, EndingResult, ending_result
from rpc.methods.gov import now_ms
from rpc.methods.heights import tip_of
from rpc.ports import PeerStatus, Services
from rpc.registry import method
from rpc.types import AsOf, Params, Result

Json = dict[str, Any]  # Any: JSON of an action
NEAR_HEIGHTS: Final = 8
"""How far a node that is up may be behind: as many heights are under way at once."""


class CheckAction(Params, frozen=True):
    """An action as a proposal's body has it: `type`, and its fields."""

    action: Annotated[Json, msgspec.Meta(description="`type`, and the fields of an action of this type.")]


class Figures(Result, frozen=True):
    """A set of validators in figures: n of them bear f faulty ones, and `quorum` decide."""

    epoch: int
    n: int
    f: int
    quorum: int
    validators: list[str]


class BrokenRule(Result, frozen=True):
    """The rule that an action would break."""

    rule: str
    meaning: str
    detail: str


class VotesResult(Result, frozen=True):
    """Who votes on it, and how many approvals pass it: more than `share` of them."""

    share: str
    voters: list[str]
    votes_needed: int


class SilentResult(Result, frozen=True):
    """A validator that this node does not see up, and why."""

    name: str
    why: str


class LivenessResult(Result, frozen=True):
    """Which validators are up after the change, as this node sees it now; `safe` where they are a quorum.

    A node that the action waits for counts as up.
    """

    n: int
    quorum: int
    up: list[str]
    silent: list[SilentResult]
    safe: bool


class ChangeResult(Result, frozen=True):
    """Something that would be otherwise; empty where it was not there before, or is not after."""

    what: str
    before: str
    after: str


class WarningResult(Result, frozen=True):
    """Something that members should know before they vote."""

    code: str
    text: str


class CheckResult(Result, frozen=True):
    """What an action would do in the next block: `broken` where it may not be, `following` where it changes the set.

    `ending` are the certificates of nodes and root CAs that end within 30 days.
    """

    broken: BrokenRule | None
    present: Figures
    following: Figures | None
    votes: VotesResult
    liveness: LivenessResult
    changes: list[ChangeResult]
    warnings: list[WarningResult]
    ending: list[EndingResult]
    as_of: AsOf


@method("gov_checkAction", params=CheckAction, result=CheckResult, errors=(Code.UNAVAILABLE,))
def check(services: Services, params: CheckAction) -> CheckResult:
    """What an action would do now: the rule that it breaks, the quorum before and after, who is up, what changes."""
    height = int(tip_of(services).height)
    state = CommittedState(services.reads.store)
    action = proposing_body(params.action, 0, where="$").action
    present, broken = read_validators(state), None
    found = Consequences((), (), present)
    try:
        found = consequences_of(state, services.reads.chain_id, action, height + 1, now_ms(services))
    except RuleBroken as refusal:
        broken = BrokenRule(refusal.rule, RULES.get(refusal.rule, ""), detail_text(refusal.rule, refusal.detail))
    liveness = _liveness(services, found.validators, action)
    warnings = [WarningResult(item.code, item.text) for item in found.warnings]
    if not liveness.safe:
        text = f"{len(liveness.up)} of {liveness.n} validators are up, {liveness.quorum} decide: order would stop"
        warnings.append(WarningResult("no_quorum_up", text))
    return CheckResult(
        broken=broken,
        present=_figures(present),
        following=None if found.validators == present else _figures(found.validators),
        votes=_votes(state, action),
        liveness=liveness,
        changes=[ChangeResult(item.what, item.before, item.after) for item in found.changes],
        warnings=warnings,
        ending=_ending(services, found.validators),
        as_of=height,
    )


def _votes(state: CommittedState, action: AnyAction) -> VotesResult:
    present = electorate(state)
    share = present.thresholds.share_of(type_of(action))
    return VotesResult(share.value, list(present.members), present.needed(action))


def _liveness(services: Services, validators: ValidatorSet, action: AnyAction) -> LivenessResult:
    status = services.node.status()
    peers = {peer.name: peer for peer in services.node.peers()}
    silent = []
    for validator in validators.validators:
        name = validator.name
        if isinstance(action, AddValidator | RekeyValidator) and name == action.name:
            continue
        if name == status.node:
            why = "" if status.role == "validator" and not status.catching_up else f"it is a {status.role}, or behind"
        else:
            why = _why_silent(peers.get(name), status.height)
        if why:
            silent.append(SilentResult(name, why))
    missing = {item.name for item in silent}
    up = [validator.name for validator in validators.validators if validator.name not in missing]
    return LivenessResult(validators.n, validators.quorum, up, silent, len(up) >= validators.quorum)


def _why_silent(peer: PeerStatus | None, height: int) -> str:
    """Return why a peer does not count as up, empty where it does; who has not told yet that it votes counts."""
    if peer is None or not peer.connected:
        return "not linked"
    if peer.votes is False:
        return "it has no vote"
    if peer.height is None or peer.height < height - NEAR_HEIGHTS:
        return "behind" if peer.height is None else f"behind, at height {peer.height}"
    return ""


def _ending(services: Services, validators: ValidatorSet) -> list[EndingResult]:
    """Return what ends soon of the nodes that would validate and of their members."""
    now = int(services.now_ms())
    members = {str(validator.member) for validator in validators.validators}
    near = [item for item in services.node.endings() if item.ends_ms - now < WARN_DAYS * DAY_MS]
    concerned = [item for item in near if item.name in validators.indexes or item.member in members]
    return [ending_result(item, now) for item in sorted(concerned, key=lambda item: (item.ends_ms, item.name))]


def _figures(validators: ValidatorSet) -> Figures:
    names = [validator.name for validator in validators.validators]
    return Figures(int(validators.epoch), validators.n, validators.f, validators.quorum, names)


METHODS = (check,)
