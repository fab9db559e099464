"""The page of what ends by itself (products, links of nodes and listeners, root CAs), and of what falls due."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import get_args

from ledger.deadline_reading import deadlines_at
from ledger.deadlines import DueKind, End
from rpc.errors import invalid_params
from rpc.explorer.asking import ROWS_A_PAGE, Asked, Page, path_to
from rpc.explorer.charts import chart
from rpc.explorer.people import at_this_moment
from rpc.methods.deadlines import KindName, deadline_item
from rpc.methods.expiry import DAY_MS, ending_result, endings_within, ends_reached
from rpc.methods.heights import tip_of
from rpc.ports import Services

SPANS_DAYS = (30, 90, 180)
"""How far ahead one may look, in days; the counts are of all of them."""
MONTHS = 12
MONTHS_DAYS = 366
DUE_DAYS = 90
"""How far ahead what falls due is listed."""
COUNTED_MAX = 1_000
"""What falls due is counted up to here, so that the page costs the same however much it is."""
WEEK_DAYS = 7
KINDS = tuple(DueKind(kind) for kind in get_args(KindName))


def expiry(asked: Asked) -> Page:
    """What ends within some days, the first to end first; or what falls due of a kind."""
    days, start = _number(asked, "days", SPANS_DAYS[-1]), _number(asked, "after", 0)
    if days not in SPANS_DAYS:
        expected = " or ".join(map(str, SPANS_DAYS))
        raise invalid_params("not a span", where="days", expected=expected, got=days)
    kind = _kind(asked)
    services = at_this_moment(asked)
    now = int(services.now_ms())
    times = ends_ms(services, now)
    weeks = by_week(times, now)
    months = by_month(times, now)
    rows = list(islice(endings_within(services, days, now), start, start + ROWS_A_PAGE + 1)) if kind is None else []
    dues = list(islice(_dues(services, kind, now), start, start + ROWS_A_PAGE + 1)) if kind is not None else []
    more = max(len(rows), len(dues)) > ROWS_A_PAGE
    here = {"days": days} if kind is None else {"kind": kind.value}
    values = {
        "days": days,
        "kind": None if kind is None else kind.value,
        "spans": [{"days": span, "count": counted(times, now, span)} for span in SPANS_DAYS],
        "ended": sum(time <= now for time in times),
        "ends": [ending_result(item, now) for item in rows[:ROWS_A_PAGE]],
        "dues": [deadline_item(end, now) for end in dues[:ROWS_A_PAGE]],
        "kinds": _kinds(services, now),
        "due_days": DUE_DAYS,
        "counted_max": COUNTED_MAX,
        "chart": chart(weeks),
        "weeks": len(weeks),
        "months_chart": chart([count for _, count in months]),
        "months": [month for month, _ in months],
        "complete": ends_reached(services) is not None,
        "first": path_to("expiry", **here) if start else None,
        "more": path_to("expiry", **here, after=start + ROWS_A_PAGE) if more else None,
    }
    return Page("expiry.html", "expiry.title", values, as_of=int(tip_of(services).height))


def ends_ms(services: Services, now_ms: int) -> list[int]:
    """Return when something ends within the months shown, also what has ended: links by the node, products by keys."""
    until_ms = now_ms + MONTHS_DAYS * DAY_MS
    times = [item.ends_ms for item in services.node.endings() if item.ends_ms <= until_ms]
    if services.index is not None and ends_reached(services) is not None:
        times += services.index.ends.moments(DueKind.CERTIFICATE_EXPIRED, now_ms + 1, until_ms + 1)
    return times


def counted(times_ms: Sequence[int], now_ms: int, days: int) -> int:
    """Return how many have not ended yet and end within some days."""
    return sum(now_ms < time_ms <= now_ms + days * DAY_MS for time_ms in times_ms)


def by_week(times_ms: Sequence[int], now_ms: int) -> list[int]:
    """Return how many end in each week of the longest span, this one first."""
    counts = [0] * -(-SPANS_DAYS[-1] // WEEK_DAYS)
    until_ms = now_ms + SPANS_DAYS[-1] * DAY_MS
    for time_ms in times_ms:
        week = (time_ms - now_ms) // (WEEK_DAYS * DAY_MS)
        if 0 <= week < len(counts) and time_ms <= until_ms:
            counts[week] += 1
    return counts


def by_month(times_ms: Sequence[int], now_ms: int) -> list[tuple[str, int]]:
    """Return how many end in each calendar month (UTC) from this one on, without what has ended already."""
    first = datetime.fromtimestamp(now_ms / 1_000, UTC)
    names = [_month(first.year * 12 + first.month - 1 + number) for number in range(MONTHS)]
    counts = dict.fromkeys(names, 0)
    for time_ms in times_ms:
        moment = datetime.fromtimestamp(time_ms / 1_000, UTC)
        name = _month(moment.year * 12 + moment.month - 1)
        if time_ms > now_ms and name in counts:
            counts[name] += 1
    return list(counts.items())


def _month(number: int) -> str:
    return f"{number // 12:04d}-{number % 12 + 1:02d}"


def _dues(services: Services, kind: DueKind | None, now_ms: int, ahead_days: int = DUE_DAYS) -> Iterator[End]:
    reached = ends_reached(services)
    if services.index is None or reached is None or kind is None:
        return iter(())
    return deadlines_at(services.index.ends, (kind,), now_ms, now_ms + ahead_days * DAY_MS, height=reached)


def _kinds(services: Services, now_ms: int) -> list[dict[str, object]]:
    """Return of each kind how much is so, and how much will be, both counted up to a bound."""
    found: list[dict[str, object]] = []
    for kind in KINDS:
        so = sum(1 for _ in islice(_dues(services, kind, now_ms, 0), COUNTED_MAX))
        both = sum(1 for _ in islice(_dues(services, kind, now_ms), so + COUNTED_MAX))
        found.append({"kind": kind.value, "now": so, "ahead": both - so})
    return found


def _kind(asked: Asked) -> DueKind | None:
    text = asked.word("kind")
    if text is None:
        return None
    if text not in get_args(KindName):
        raise invalid_params("not a kind", where="kind", expected=" or ".join(get_args(KindName)), got=text)
    return DueKind(text)


def _number(asked: Asked, name: str, default: int) -> int:
    text = asked.word(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(DAY_MS))):
        raise invalid_params("not a number", where=name, expected="a number", got=text)
    return int(text)
