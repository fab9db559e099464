"""The page of what ends and what falls due: kinds with counts, a list of each, and the ends by month."""

from __future__ import annotations

from typing import get_args

import pytest

from rpc.explorer import expiry
from rpc.explorer.expiry import MONTHS, by_month
from rpc.methods.deadlines import KindName
from tests.rpc.explorer.conftest import NUMBER
from tests.rpc.explorer.html import Element, read_html

DAY_MS = 86_400_000
YEAR_MS = 365 * DAY_MS


@pytest.fixture
def browse(client):
    async def page(path: str, status: int = 200) -> Element:
        found, body, _ = await client.get(path, {"Accept": "text/html"})
        assert found == status, body
        return read_html(body.decode())

    return page


def table(page: Element, section: str) -> list[list[str]]:
    rows = page.one("section", aria_labelledby=section).one("tbody").all("tr")
    return [[cell.text for cell in row.all("td")] for row in rows]


async def test_kinds_are_counted_and_lead_to_their_lists(browse, node, everything, monkeypatch) -> None:
    node.now += 3 * YEAR_MS - 20 * DAY_MS
    kinds = table(await browse("/expiry"), "due")
    assert len(kinds) == len(get_args(KindName))
    counts = {row[0]: row[1:3] for row in kinds}
    assert counts["Ends within 30 days"] == ["1", "0"]
    assert counts["Certificate ends"] == ["0", "1"]
    assert counts["Renewal window open"] == ["1", "0"]
    page = await browse("/expiry?kind=renewal_opened")
    [row] = table(page, "ends")
    assert row[0] == NUMBER
    assert row[1].startswith("! open 159")
    assert row[-1] == "bank-a"
    assert (await browse("/expiry?kind=suspension_ended")).one("p", class_="empty").text == "Nothing of this is due."
    await browse("/expiry?kind=nothing", 400)
    monkeypatch.setattr(expiry, "COUNTED_MAX", 1)
    counts = {row[0]: row[1:3] for row in table(await browse("/expiry"), "due")}
    assert counts["Ends within 30 days"] == ["1+", "0"]


async def test_a_list_of_a_kind_is_paged(browse, node, everything, monkeypatch) -> None:
    monkeypatch.setattr(expiry, "ROWS_A_PAGE", 1)
    node.now += 3 * YEAR_MS - 100 * DAY_MS
    node.commit_events(1, first=9_999)
    found, path = [], "/expiry?kind=expiring_180"
    while path:
        page = await browse(path)
        found += [row[0] for row in table(page, "ends")]
        more = page.all("a", rel="next")
        path = more[0].attributes["href"] if more else ""
    assert NUMBER in found
    assert len(found) == len(set(found))


async def test_ends_are_drawn_by_month(browse, node, everything) -> None:
    node.now += 3 * YEAR_MS - 100 * DAY_MS
    page = await browse("/expiry")
    bars = page.one("section", aria_labelledby="months").one("svg", role="img").all("rect")
    titles = [bar.one("title").text for bar in bars]
    assert len(titles) == MONTHS
    assert sum(int(title.rpartition(": ")[2]) for title in titles) >= 1


def test_a_month_begins_with_its_first_millisecond_and_what_has_ended_is_in_none() -> None:
    now_ms = 1_767_225_600_000 + 20 * DAY_MS  # 2026-01-21
    february_ms = 1_767_225_600_000 + 31 * DAY_MS
    counts = dict(by_month([now_ms, now_ms + 1, february_ms - 1, february_ms, now_ms + 400 * DAY_MS], now_ms))
    assert list(counts)[:2] == ["2026-01", "2026-02"]
    assert list(counts)[-1] == "2026-12"
    assert (counts["2026-01"], counts["2026-02"], sum(counts.values())) == (2, 1, 3)
