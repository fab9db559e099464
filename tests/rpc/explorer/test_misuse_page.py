"""The page of reports of misuse: what it tells in both languages, by which filters, and what it refuses."""

from __future__ import annotations

import pytest

from rpc.explorer import misuse
from rpc.explorer.language import texts
from rpc.ports import Services
from tests.rpc.explorer.test_pages import assert_whole
from tests.rpc.rich_fixtures import RichNode, number_of, services_of


@pytest.fixture(scope="module")
def reported() -> RichNode:
    """A node with reports of misuse by and about several members, two of them decided on."""
    return RichNode()


@pytest.fixture
def services(reported: RichNode) -> Services:
    return services_of(reported)


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("query", ["", "state=undecided&", "member=lab&", f"number={number_of(1)}&order=asc&"])
async def test_the_page_is_whole_in_both_languages(browse, query: str, language: str) -> None:
    assert_whole(await browse(f"/misuse?{query}lang={language}"), language)


async def test_every_report_says_what_it_is_about_by_whom_and_what_was_found(browse) -> None:
    rows = [row.text for row in (await browse("/misuse")).one("tbody").all("tr")]
    assert [row.split()[0] for row in rows] == ["4", "3", "2", "1"]
    words = texts("en")
    assert number_of(4) in rows[0]
    assert words["misuse_state.undecided"] in rows[0]
    assert all(word in rows[1] for word in ("bank-b", "bank-c", "seen_by_us", words["misuse_state.confirmed"]))
    assert words["misuse.beyond_scope"] in rows[2]


async def test_filters_and_order_choose_the_rows(browse) -> None:
    async def shown(query: str) -> list[str]:
        page = await browse(f"/misuse?{query}")
        return [row.text.split()[0] for body in page.all("tbody") for row in body.all("tr")]

    assert await shown("state=undecided") == ["4", "2"]
    assert await shown(f"number={number_of(1).lower()}") == ["1"]
    assert await shown("member=bank-c&order=asc") == ["3"]
    assert await shown("member=lab") == []
    assert texts("en")["misuse.none_fit"] in (await browse("/misuse?member=lab")).text


async def test_the_pages_of_the_list_meet(browse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(misuse, "ROWS_A_PAGE", 1)
    seen, path = [], "/misuse?order=asc&member=bank-b"
    while path:
        page = await browse(path)
        seen += [row.text.split()[0] for row in page.one("tbody").all("tr")]
        more = page.all("a", rel="next")
        path = more[0].attributes["href"] if more else ""
    assert seen == ["1", "2", "3", "4"]


async def test_a_certificate_leads_to_the_reports_of_its_mark(browse) -> None:
    page = await browse(f"/certificate/{number_of(1)}")
    assert f"/misuse?number={number_of(1)}" in [link.attributes["href"] for link in page.all("a")]


@pytest.mark.parametrize(
    ("query", "status"), [("state=x", 400), ("number=x", 400), ("cursor=x", 400), ("member=nosuch", 404)]
)
async def test_what_there_is_not_is_refused(client, query: str, status: int) -> None:
    found, body, _ = await client.get(f"/misuse?{query}", {"Accept": "text/html"})
    assert (found, b"<h1" in body) == (status, True)
