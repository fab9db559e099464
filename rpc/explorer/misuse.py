"""The page of reports of misuse of certification marks: what was reported, by whom, and what was found."""

from __future__ import annotations

import re
from typing import get_args

from ledger.certificate_bodies import NUMBER_PATTERN
from rpc.errors import invalid_params
from rpc.explorer.asking import ROWS_A_PAGE, Asked, Page, ask, path_to
from rpc.explorer.people import members_of
from rpc.methods.misuse import MisuseState, list_misuse


def misuse(asked: Asked) -> Page:
    """Reports, the newest first: of a certificate, of a member, in a state."""
    number, member, state = asked.word("number"), asked.word("member"), asked.word("state")
    number = number and number.upper()
    if number is not None and re.match(NUMBER_PATTERN, number) is None:
        raise invalid_params(
            "not a certificate's number", where="number", expected="such as FTP-2026-06-000123", got=number
        )
    if state is not None and state not in get_args(MisuseState):
        expected = " or ".join(get_args(MisuseState))
        raise invalid_params("not a state of a report", where="state", expected=expected, got=state)
    cursor, order = asked.word("cursor"), asked.word("order")
    chosen = {"number": number, "member": member, "state": state, "order": order}
    found = ask(list_misuse, asked.services, limit=ROWS_A_PAGE, cursor=cursor, **chosen)
    values = {
        "reports": found.reports,
        "members": [item.id for item in members_of(asked.services)],
        "states": get_args(MisuseState),
        "chosen": chosen,
        "filtered": any((number, member, state)),
        "first": path_to("misuse", **chosen) if cursor else None,
        "more": path_to("misuse", **chosen, cursor=found.cursor) if found.cursor else None,
    }
    return Page("misuse.html", "misuse.title", values, as_of=found.as_of)
