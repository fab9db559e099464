"""net_expiry: what ends by itself, and when: TLS certificates and root CAs that this node sees, products' certificates.

Keys of validators, sources and officers have no end. Source: docs/membership.md, "What ends by itself".
"""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from ledger.certificate_ends import ending_certificates
from ledger.committed_state import CommittedState
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
    """What ends, in the order of its times; `complete` is false where there are more products than are looked at."""

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
    found, complete = endings_within(services, params.within_days, now_ms)
    page = page_of(services, "net_expiry", params, tuple[int, str, str, str], "asc", within_days=params.within_days)
    found.sort(key=_place, reverse=page.descending)
    if page.after is not None:
        after = page.after
        found = [item for item in found if (_place(item) < after if page.descending else _place(item) > after)]
    shown = found[: params.limit]
    cursor = page.cursor(*_place(shown[-1])) if len(found) > params.limit else None
    return ExpiryResult([ending_result(item, now_ms) for item in shown], cursor, complete, height)


def endings_within(services: Services, days: int, now_ms: int) -> tuple[list[Ending], bool]:
    """Return all that ends within some days, the first to end first; and whether all products were looked at."""
    until_ms = now_ms + days * DAY_MS
    products, complete = ending_certificates(CommittedState(services.reads.store), now_ms, until_ms)
    found = [item for item in services.node.endings() if item.ends_ms <= until_ms]
    found += [Ending("product_certificate", row.number, row.holder, row.valid_until_ms, "chain") for row in products]
    return sorted(found, key=_place), complete


def _place(item: Ending) -> tuple[int, str, str, str]:
    return item.ends_ms, item.kind, item.name, item.where


def ending_result(item: Ending, now_ms: int) -> EndingResult:
    """Return an end as JSON has it."""
    left = item.ends_ms - now_ms
    days = left // DAY_MS
    level = "ended" if left <= 0 else "urgent" if days < URGENT_DAYS else "warning" if days < WARN_DAYS else "ok"
    return EndingResult(item.kind, item.name, item.member, time_text(item.ends_ms), days, level, item.where)


METHODS = (expiry,)
