"""Members as parameters name them: one that the chain does not know is told, and not answered with an empty list."""

from __future__ import annotations

from typing import Final

from ledger.committed_state import CommittedState
from ledger.members import read_member
from rpc.errors import not_found
from rpc.ports import Services

HINT: Final = "`gov_listMembers`, or `chainnode member list`, names the members"


def check_member(services: Services, name: str | None, where: str = "$.member") -> None:
    """Raise -32001 where a name is given that is no member's; excluded members stay known."""
    if name is not None and read_member(CommittedState(services.reads.store), name) is None:
        raise not_found("no such member", where=where, got=name, hint=HINT)
