"""payment_disclosures: who asked whom for private fields of payments, until when, and whether it was answered."""

from __future__ import annotations

from typing import Annotated

import msgspec

from ledger.committed_state import CommittedState
from ledger.disclosures import PREFIX, Disclosure
from rpc.errors import Code
from rpc.methods.heights import tip_of
from rpc.methods.known_members import check_member
from rpc.paging import page_of
from rpc.ports import Services
from rpc.registry import method
from rpc.types import (
    LIMIT_DEFAULT,
    AskedCursor,
    AskedOrder,
    AsOf,
    HashHex,
    Limit,
    MemberName,
    NextCursor,
    Params,
    Result,
    Time,
    time_text,
)


class ListDisclosures(Params, frozen=True):
    """A page of the requests for disclosure that the state keeps, by their end."""

    requester: Annotated[MemberName | None, msgspec.Meta(description="That this member made.")] = None
    reporter: Annotated[MemberName | None, msgspec.Meta(description="That this member is to answer.")] = None
    answered: Annotated[bool | None, msgspec.Meta(description="Those with an answer alone, or without.")] = None
    limit: Limit = LIMIT_DEFAULT
    cursor: AskedCursor = None
    order: AskedOrder = None


class DisclosureResult(Result, frozen=True):
    """A request: its event's id, who asks whom for which fields, or the payload too, and the id of the answer."""

    id: HashHex
    requester: str
    reporter: str
    fields: list[str]
    payload: bool
    until: Time
    key: HashHex
    answer: HashHex | None


class DisclosuresAnswer(Result, frozen=True):
    """Requests for disclosure, of each member the newest 64."""

    requests: list[DisclosureResult]
    cursor: NextCursor
    as_of: AsOf


@method(
    "payment_disclosures",
    params=ListDisclosures,
    result=DisclosuresAnswer,
    errors=(Code.NOT_FOUND, Code.UNAVAILABLE),
    in_thread=True,
)
def list_disclosures(services: Services, params: ListDisclosures) -> DisclosuresAnswer:
    """Requests for private fields of payments: who asked whom, until when, and whether it was answered."""
    tip = tip_of(services)
    check_member(services, params.requester, "$.requester")
    check_member(services, params.reporter, "$.reporter")
    filters = {"requester": params.requester, "reporter": params.reporter, "answered": params.answered}
    page = page_of(services, "payment_disclosures", params, tuple[int, str], "asc", **filters)
    rows = sorted(
        (
            ((row.until_ms, place.decode().removeprefix(PREFIX)), row)
            for place, row in CommittedState(services.reads.store).scan(PREFIX, Disclosure)
            if params.requester in (None, row.requester)
            and params.reporter in (None, row.reporter)
            and params.answered in (None, row.answer is not None)
        ),
        key=lambda item: item[0],
        reverse=page.descending,
    )
    if page.after is not None:
        after = page.after
        rows = [item for item in rows if (item[0] < after if page.descending else item[0] > after)]
    shown = rows[: params.limit]
    cursor = page.cursor(*shown[-1][0]) if len(rows) > params.limit else None
    return DisclosuresAnswer([_result(place[1], row) for place, row in shown], cursor, int(tip.height))


def _result(identity: str, row: Disclosure) -> DisclosureResult:
    return DisclosureResult(
        identity,
        row.requester,
        row.reporter,
        [name.value for name in row.fields],
        row.payload,
        time_text(row.until_ms),
        row.key.hex(),
        None if row.answer is None else row.answer.hex(),
    )


METHODS = (list_disclosures,)
