"""Pages of governance: what members propose, how they voted, and what it would do if it were done now.

The consequences are those of `gov_checkAction`: this node's view of this moment, found anew for each reader. Of what
has ended, the state keeps what came of it.
"""

from __future__ import annotations

import re
from typing import Any

from ledger.governance_records import Stage, ended_of
from rpc.errors import RpcError, invalid_params
from rpc.explorer.asking import Asked, Page, Redirect, ask, path_to
from rpc.explorer.people import at_this_moment, members_of, state_of
from rpc.methods.gov import ProposalResult, get_proposal, list_proposals, now_ms, proposal_result, proposals_under_way
from rpc.methods.gov_check import CheckResult, check
from rpc.ports import Services

ENDED_LOOKED_AT = 200
"""How many ended proposals are looked at in all, and at least one of each member."""

ENDED_SHOWN = 50
_ID = re.compile(r"[0-9a-f]{64}")
# The fields that say whom or what an action is about, the first that it has.
TELLING = ("name", "member", "key", "wallet", "action", "version", "height")

Row = dict[str, Any]  # Any: what a template shows


def proposals(asked: Asked) -> Page:
    """The proposals under way, and those of the newest that ended."""
    as_of = ask(list_proposals, asked.services, limit=1).as_of
    ended = newest_ended(asked.services)
    values = {
        "waiting": [proposal_row(item) for item in proposals_under_way(asked.services)],
        "ended": [proposal_row(item) for item in ended[:ENDED_SHOWN]],
        "more": len(ended) > ENDED_SHOWN,
    }
    return Page("proposals.html", "proposals.title", values, as_of=as_of)


def newest_ended(services: Services) -> list[ProposalResult]:
    """Return the newest proposals of each member that ended, the last proposed first."""
    state, members, now = state_of(services), members_of(services), now_ms(services)
    each = max(1, ENDED_LOOKED_AT // max(1, len(members)))
    rows = [row for member in members for row in ended_of(state, member.id, now, each)]
    rows.sort(key=lambda row: (row[1].height, row[0]), reverse=True)
    return [proposal_result(services, proposal_id.hex(), held) for proposal_id, held in rows]


def proposal_row(item: ProposalResult) -> Row:
    """Return what a list shows of a proposal."""
    return {
        "proposal": item,
        "type": item.action["type"],
        "about": about(item.action),
        "open": item.stage in (Stage.OPEN, Stage.APPROVED),
        "for": len(item.approvals),
        "against": len(item.rejections),
    }


def about(action: Row) -> str:
    """Return whom or what an action is about; empty where it says nothing short."""
    for name in TELLING:
        value = action.get(name)
        if isinstance(value, dict):
            value = value.get("id")
        if isinstance(value, str | int) and value:
            return str(value)
    return ""


def proposal(asked: Asked) -> Page | Redirect:
    """One proposal: what it says, who voted how, and what it would do if it were decided now."""
    name = asked.parts["id"]
    if _ID.fullmatch(name) is None:
        if _ID.fullmatch(name.lower()):
            return Redirect(path_to("proposal", name.lower()))
        raise invalid_params("not the id of a proposal", where="path", expected="64 hex digits", got=name)
    services = at_this_moment(asked)
    found = ask(get_proposal, services, id=name)
    item = found.proposal
    row = proposal_row(item)
    values = {
        **row,
        "votes": votes_on(item),
        "check": consequences(services, item) if row["open"] else None,
        "command": f"chainnode member status {item.id}",
        "vote": f"chainnode --home H member approve {item.id} --officer KEYFILE --dry-run",
    }
    return Page("proposal.html", "proposal.title", values, {"id": f"{item.id[:12]}…"}, as_of=found.as_of)


def votes_on(item: ProposalResult) -> list[Row]:
    """Return what each member said that may vote, and members that voted when they might, in their order."""
    cast = {**dict.fromkeys(item.approvals, "for"), **dict.fromkeys(item.rejections, "against")}
    names = [*item.voters, *sorted(cast.keys() - set(item.voters))]
    return [{"member": name, "vote": cast.get(name, "none"), "may": name in item.voters} for name in names]


def consequences(services: Services, item: ProposalResult) -> CheckResult | None:
    """Return what an action would do now; None where this release cannot say of a later one's."""
    try:
        return ask(check, services, action=item.action)
    except RpcError:
        return None
