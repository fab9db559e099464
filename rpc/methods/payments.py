"""payment_get, payment_list: payment statements, found by the index that follows the log.

A payment is what several members' statements are about: they meet by the pair key that two banks share, or by the UETR
where there is one. Not here: what statements say together (tracing, reconciliation).
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from rpc.errors import Code, invalid_params, not_found
from rpc.methods.events import EventResult, events_at
from rpc.methods.heights import index_of
from rpc.ports import Services
from rpc.registry import method
from rpc.types import (
    LIMIT_DEFAULT,
    UETR_PATTERN,
    Cursor,
    HashHex,
    Limit,
    Offset,
    Order,
    Params,
    Result,
    make_cursor,
    order_of_cursor,
    read_cursor,
)

Uetr = Annotated[str, msgspec.Meta(pattern=UETR_PATTERN, description="UUID version 4 in lower case")]


class GetPayment(Params, frozen=True):
    """Which payment: by its UETR, or by the pair key of two banks."""

    uetr: Uetr | None = None
    pair_key: HashHex | None = None
    limit: Limit = LIMIT_DEFAULT
    cursor: Cursor | None = None


class StatementsResult(Result, frozen=True):
    """Payment statements as the events that they are; `cursor` asks for the next.

    They are those of the blocks above `above_height`, where the history that this node holds begins (0: all of them).
    """

    statements: list[EventResult]
    cursor: str | None
    above_height: int
    as_of: int


@method(
    "payment_get",
    params=GetPayment,
    result=StatementsResult,
    errors=(Code.NOT_FOUND, Code.UNAVAILABLE),
    in_thread=True,
)
def get_payment(services: Services, params: GetPayment) -> StatementsResult:
    """Every statement about one payment, in the order of the log."""
    index = index_of(services)
    as_of = index.height()
    name = params.uetr or params.pair_key
    if name is None or (params.uetr is not None and params.pair_key is not None):
        got = "none" if name is None else "both"
        raise invalid_params("a payment has one name", where="$", expected="uetr or pair_key", got=got)
    start = 0
    if params.cursor is not None:
        of, start = read_cursor(params.cursor, "payment_get", tuple[str, Offset])
        if of != name:
            raise invalid_params("the cursor is of another payment", where="$.cursor", got=params.cursor[:40])
    above = int(services.reads.base())
    places = index.payment(bytes.fromhex(name.replace("-", "")), start=start, count=params.limit)
    if not places and start == 0:
        raise not_found("no statement about this payment", got=name, hint=_looked_through(above, int(as_of)))
    cursor = make_cursor("payment_get", name, start + len(places)) if len(places) == params.limit else None
    return StatementsResult(events_at(services, places), cursor, above, int(as_of))


def _looked_through(above: int, as_of: int) -> str:
    if not above:
        return f"the index has reached height {as_of}"
    return f"this node holds blocks {above + 1} to {as_of} alone: ask one that holds the whole chain"


class ListPayments(Params, frozen=True):
    """Payment statements, of one member or of all, the newest first unless `order` says otherwise."""

    member: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    limit: Limit = LIMIT_DEFAULT
    order: Order | None = None
    cursor: Cursor | None = None


@method("payment_list", params=ListPayments, result=StatementsResult, errors=(Code.UNAVAILABLE,), in_thread=True)
def list_payments(services: Services, params: ListPayments) -> StatementsResult:
    """Payment statements in the order of the log, of one member or of all.

    The newest first, unless `order` says otherwise.
    """
    index = index_of(services)
    as_of = index.height()
    after: int | None = None
    order = params.order or "desc"
    if params.cursor is not None:
        after, given = read_cursor(params.cursor, "payment_list", tuple[Offset, Order])
        order = order_of_cursor(given, params.order)
    above = int(services.reads.base())
    places = index.payments(member=params.member, after=after, count=params.limit, descending=order == "desc")
    cursor = make_cursor("payment_list", places[-1].log_index, order) if len(places) == params.limit else None
    return StatementsResult(events_at(services, places), cursor, above, int(as_of))


METHODS = (get_payment, list_payments)
