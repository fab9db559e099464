"""The page of what ends by itself: certificates of products, of nodes and listeners, and members' root CAs."""

from __future__ import annotations

from collections.abc import Sequence

from rpc.errors import invalid_params
from rpc.explorer.asking import ROWS_A_PAGE, Asked, Page, path_to
from rpc.explorer.charts import chart
from rpc.explorer.people import at_this_moment
from rpc.methods.expiry import DAY_MS, ending_result, endings_within
from rpc.methods.heights import tip_of
from rpc.ports import Ending

SPANS_DAYS = (30, 90, 180)
"""How far ahead one may look, in days; the counts are of all of them."""

WEEK_DAYS = 7


def expiry(asked: Asked) -> Page:
    """What ends within some days, the first to end first."""
    days, start = _number(asked, "days", SPANS_DAYS[-1]), _number(asked, "after", 0)
    if days not in SPANS_DAYS:
        expected = " or ".join(map(str, SPANS_DAYS))
        raise invalid_params("not a span", where="days", expected=expected, got=days)
    services = at_this_moment(asked)
    now = int(services.now_ms())
    found, complete = endings_within(services, SPANS_DAYS[-1], now)
    within = [item for item in found if item.ends_ms <= now + days * DAY_MS]
    weeks = by_week(found, now)
    rows = within[start : start + ROWS_A_PAGE]
    more = len(within) > start + ROWS_A_PAGE
    values = {
        "days": days,
        "spans": [{"days": span, "count": counted(found, now, span)} for span in SPANS_DAYS],
        "ended": sum(item.ends_ms <= now for item in found),
        "ends": [ending_result(item, now) for item in rows],
        "chart": chart(weeks),
        "weeks": len(weeks),
        "complete": complete,
        "first": path_to("expiry", days=days) if start else None,
        "more": path_to("expiry", days=days, after=start + ROWS_A_PAGE) if more else None,
    }
    return Page("expiry.html", "expiry.title", values, as_of=int(tip_of(services).height))


def counted(found: Sequence[Ending], now_ms: int, days: int) -> int:
    """Return how many have not ended yet and end within some days."""
    return sum(now_ms < item.ends_ms <= now_ms + days * DAY_MS for item in found)


def by_week(found: Sequence[Ending], now_ms: int) -> list[int]:
    """Return how many end in each week of the longest span, this one first."""
    counts = [0] * -(-SPANS_DAYS[-1] // WEEK_DAYS)
    for item in found:
        week = (item.ends_ms - now_ms) // (WEEK_DAYS * DAY_MS)
        if 0 <= week < len(counts):
            counts[week] += 1
    return counts


def _number(asked: Asked, name: str, default: int) -> int:
    text = asked.word(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(DAY_MS))):
        raise invalid_params("not a number", where=name, expected="a number", got=text)
    return int(text)
