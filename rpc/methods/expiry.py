"""net_expiry: what ends by itself, and when: TLS certificates and root CAs that this node sees, products' certificates.

Keys of validators, sources and officers have no end. Source: docs/membership.md, "What ends by itself".
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import islice
from typing import Annotated, Final

from msgspec import Meta

from ledger.certificate_records import certificate_key
from ledger.deadline_reading import ORDER, deadlines_at
from ledger.deadlines import DueKind
from rpc.errors import Code
from rpc.methods.heights import tip_of
from rpc.paging import page_of
from rpc.ports import Ending, Services
from rpc.registry import method
from rpc.types import LIMIT_DEFAULT, AskedCursor, AskedOrder, AsOf, Limit, NextCursor, Params, Result, Time, time_text

DAY_MS: Final = 86_400_000
WARN_DAYS: Final = 30
URGENT_DAYS: Final = 7
WITHIN_DAYS: Final = 90
WITHIN_DAYS_MAX: Final = 36_500
PRODUCT: Final = "product_certificate"
LAST_KEY: Final = "\x7f"
"""Above the keys of all certificates, which are ASCII."""
_Position = tuple[int, str, str, str]


class Expiry(Params, frozen=True):
    """How many days ahead to look; what has ended already is listed too, but for certificates of products."""

    within_days: Annotated[int, Meta(ge=0, le=WITHIN_DAYS_MAX, description="How far to look.")] = WITHIN_DAYS
    limit: Limit = LIMIT_DEFAULT
    cursor: AskedCursor = None
    order: AskedOrder = None


class EndingResult(Result, frozen=True):
    """Something that ends; `kind` is `node_certificate`, `rpc_certificate`, `root_ca` or `product_certificate`.

    `where` says whence this is known: a file of this node, the link to a peer, the chain. `level` is `ended`,
    `urgent` (less than 7 days), `warning` (less than 30) or `ok`.
    """

    kind: str
    name: str
    member: str
    ends: Time
    days_left: int
    level: str
    where: str


class ExpiryResult(Result, frozen=True):
    """What ends, in the order of its times; `complete` is false where a node keeps no index, and lists no products."""

    ends: list[EndingResult]
    cursor: NextCursor
    complete: bool
    as_of: AsOf


@method("net_expiry", params=Expiry, result=ExpiryResult, errors=(Code.UNAVAILABLE,), in_thread=True)
def expiry(services: Services, params: Expiry) -> ExpiryResult:
    """What ends by itself within some days: TLS certificates, root CAs, certificates of products.

    The first to end first, unless `order` says otherwise.
    """
    height, now_ms = int(tip_of(services).height), int(services.now_ms())
    page = page_of(services, "net_expiry", params, tuple[int, str, str, str], "asc", within_days=params.within_days)
    found = endings_within(services, params.within_days, now_ms, after=page.after, descending=page.descending)
    rows = list(islice(found, params.limit + 1))
    shown = rows[: params.limit]
    cursor = page.cursor(*_place(shown[-1])) if len(rows) > params.limit else None
    return ExpiryResult(
        [ending_result(item, now_ms) for item in shown], cursor, ends_reached(services) is not None, height
    )


def ends_reached(services: Services) -> int | None:
    """Return the height that the index of ends has reached; None where there is none, or it has not begun."""
    return None if services.index is None else services.index.ends.height()


def endings_within(
    services: Services, days: int, now_ms: int, *, after: _Position | None = None, descending: bool = False
) -> Iterator[Ending]:
    """Yield all that ends within some days, the first to end first, those beyond a place."""
    until_ms = now_ms + days * DAY_MS
    found = sorted(services.node.endings(), key=_place, reverse=descending)
    links = [item for item in found if item.ends_ms <= until_ms]
    if after is not None:
        links = [item for item in links if (_place(item) < after if descending else _place(item) > after)]
    products = _products(services, now_ms, until_ms, after, descending=descending)
    return heapq.merge(links, products, key=_place, reverse=descending)


def _products(
    services: Services, now_ms: int, until_ms: int, after: _Position | None, *, descending: bool
) -> Iterator[Ending]:
    """Yield the certificates of products that end in a span of time, out of the index of ends."""
    reached = ends_reached(services)
    if services.index is None or reached is None:
        return
    beyond = None
    if after is not None:
        ends_ms, kind, name, _ = after
        # Of what ends at one moment, the kinds before and after products are all before or after each of them.
        key = certificate_key(name) if kind == PRODUCT else "" if kind < PRODUCT else LAST_KEY
        beyond = ends_ms, ORDER[DueKind.CERTIFICATE_EXPIRED], key
    for end in deadlines_at(
        services.index.ends,
        (DueKind.CERTIFICATE_EXPIRED,),
        now_ms,
        until_ms,
        height=reached,
        after=beyond,
        descending=descending,
    ):
        yield Ending(PRODUCT, end.subject, end.member, end.due_ms, "chain")


def _place(item: Ending) -> _Position:
    return item.ends_ms, item.kind, item.name, item.where


def ending_result(item: Ending, now_ms: int) -> EndingResult:
    """Return an end as JSON has it."""
    left = item.ends_ms - now_ms
    days = left // DAY_MS
    level = "ended" if left <= 0 else "urgent" if days < URGENT_DAYS else "warning" if days < WARN_DAYS else "ok"
    return EndingResult(item.kind, item.name, item.member, time_text(item.ends_ms), days, level, item.where)


METHODS = (expiry,)
