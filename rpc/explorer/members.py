"""Pages of members: the list, and one member with its codes, keys, validators and what it submitted."""

from __future__ import annotations

from rpc.errors import not_found
from rpc.explorer.asking import ROWS_A_PAGE, Asked, Page, ask, path_to
from rpc.explorer.events import row_of
from rpc.explorer.people import member_of
from rpc.explorer.proofs import completeness_steps
from rpc.methods.events import get_member_events
from rpc.methods.gov import described_members, list_members
from rpc.methods.gov_accreditations import list_accreditations
from rpc.methods.net import net_validators
from rpc.types import LIMIT_MAX


def members(asked: Asked) -> Page:
    """All members, by id."""
    cursor = asked.word("cursor")
    found = ask(list_members, asked.services, limit=ROWS_A_PAGE, cursor=cursor)
    values = {
        "members": found.members,
        "first": path_to("members") if cursor else None,
        "more": path_to("members", cursor=found.cursor) if found.cursor else None,
    }
    return Page("members.html", "members.title", values, as_of=found.as_of)


def member(asked: Asked) -> Page:
    """One member."""
    name = asked.parts["name"]
    record = member_of(asked.services, name)
    if record is None:
        raise not_found("no such member", where="path", got=name)
    (described,) = described_members(asked.services, [record])
    events = ask(get_member_events, asked.services, member=name, limit=ROWS_A_PAGE, cursor=asked.word("cursor"))
    voting = asked.on_loop(lambda: ask(net_validators, asked.services))
    accredited = ask(list_accreditations, asked.services, member=name, limit=LIMIT_MAX)
    values = {
        "accreditations": accredited.accreditations,
        "member": described,
        "validators": [item for item in voting.validators if item.member == name],
        "events": [row_of(event) for event in events.events],
        "above": events.above_height,
        "first": path_to("member", name) if asked.word("cursor") else None,
        "more": path_to("member", name, cursor=events.cursor) if events.cursor else None,
        "steps": completeness_steps(name),
        "proof_url": path_to("member", name, "completeness.tlog-proof"),
        "command": f"chainnode audit completeness --member {name} -f {name}.proofs",
        "check": f"chainnode verify {name}.proofs --policy policy --member {name}",
    }
    return Page("member.html", "member.title", values, {"name": described.name}, as_of=events.as_of)
