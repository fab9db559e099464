"""payment_get, payment_list: payment statements, found by the index that follows the log.

A payment is what several members' statements are about: they meet by the pair key that two banks share, or by the UETR
where there is one. Not here: what statements say together (tracing, reconciliation).
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from rpc.errors import Code, RpcError, invalid_params, not_found
from rpc.methods.events import EventResult, events_at
from rpc.methods.heights import index_of
from rpc.methods.known_members import check_member
from rpc.paging import page_of
from rpc.ports import Services
from rpc.registry import method
from rpc.types import (
    HASH_PATTERN,
    LIMIT_DEFAULT,
    UETR_PATTERN,
    AskedCursor,
    AskedOrder,
    AsOf,
    Limit,
    MemberName,
    NextCursor,
    Offset,
    Params,
    Result,
)

Uetr = Annotated[
    str,
    msgspec.Meta(
        pattern=UETR_PATTERN,
        description="The payment's UETR: a UUID of version 4 in lower case.",
        examples=["eb6305c9-1f7f-49de-aed0-16487c27b42d"],
    ),
]
PairKey = Annotated[
    str, msgspec.Meta(pattern=HASH_PATTERN, description="The key that two banks share for it, in lower-case hex.")
]


class GetPayment(Params, frozen=True):
    """Which payment: by its UETR, or by the pair key of two banks."""

    uetr: Uetr | None = None
    pair_key: PairKey | None = None
    limit: Limit = LIMIT_DEFAULT
    cursor: AskedCursor = None
    order: AskedOrder = None


class StatementsResult(Result, frozen=True):
    """Payment statements as the events that they are; `cursor` asks for the next.

    They are those of the blocks above `above_height`, where the history that this node holds begins (0: all of them).
    """

    statements: list[EventResult]
    cursor: NextCursor
    above_height: int
    as_of: AsOf


@method(
    "payment_get",
    params=GetPayment,
    result=StatementsResult,
    errors=(Code.NOT_FOUND, Code.UNAVAILABLE),
    in_thread=True,
)
def get_payment(services: Services, params: GetPayment) -> StatementsResult:
    """Every statement about one payment, in the order of the log unless `order` says otherwise."""
    index = index_of(services)
    as_of = index.height()
    name = payment_name(params.uetr, params.pair_key)
    page = page_of(services, "payment_get", params, tuple[Offset, Offset], "asc", payment=name)
    above = int(services.reads.base())
    key = bytes.fromhex(name.replace("-", ""))
    places = index.payment(key, count=params.limit, after=page.after, descending=page.descending)
    if not places and page.after is None:
        raise no_payment(name, above, int(as_of))
    cursor = page.cursor(places[-1].height, places[-1].index) if len(places) == params.limit else None
    return StatementsResult(events_at(services, places), cursor, above, int(as_of))


def payment_name(uetr: str | None, pair_key: str | None) -> str:
    """Return the one name of a payment; -32602 where there is none, or two."""
    name = uetr or pair_key
    if name is None or (uetr is not None and pair_key is not None):
        got = "none" if name is None else "both"
        raise invalid_params("a payment has one name", where="$", expected="uetr or pair_key", got=got)
    return name


def no_payment(name: str, above: int, as_of: int) -> RpcError:
    """Return the error for a payment of which nobody here has heard."""
    return not_found("no statement about this payment", got=name, hint=_looked_through(above, as_of))


def _looked_through(above: int, as_of: int) -> str:
    if not above:
        return f"the index has reached height {as_of}"
    return f"this node holds blocks {above + 1} to {as_of} alone: ask one that holds the whole chain"


class ListPayments(Params, frozen=True):
    """Payment statements, of one member or of all, the newest first unless `order` says otherwise."""

    member: MemberName | None = None
    limit: Limit = LIMIT_DEFAULT
    order: AskedOrder = None
    cursor: AskedCursor = None


@method(
    "payment_list",
    params=ListPayments,
    result=StatementsResult,
    errors=(Code.NOT_FOUND, Code.UNAVAILABLE),
    in_thread=True,
)
def list_payments(services: Services, params: ListPayments) -> StatementsResult:
    """Payment statements in the order of the log, of one member or of all.

    The newest first, unless `order` says otherwise.
    """
    index = index_of(services)
    as_of = index.height()
    check_member(services, params.member)
    page = page_of(services, "payment_list", params, tuple[Offset], member=params.member)
    after = None if page.after is None else page.after[0]
    above = int(services.reads.base())
    places = index.payments(member=params.member, after=after, count=params.limit, descending=page.descending)
    cursor = page.cursor(places[-1].log_index) if len(places) == params.limit else None
    return StatementsResult(events_at(services, places), cursor, above, int(as_of))


METHODS = (get_payment, list_payments)
