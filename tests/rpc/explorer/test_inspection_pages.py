"""Pages of random inspections: what they tell of draws, in both languages, and what they refuse."""

from __future__ import annotations

from hashlib import sha256

import pytest

from ledger.policy import DAY_MS
from rpc.explorer.language import texts
from rpc.ports import Services
from rpc.types import time_text
from tests.rpc.explorer.test_pages import assert_whole
from tests.rpc.rich_fixtures import RichNode, services_of

PAGES = [
    "/inspections",
    "/inspections?phase=drawn",
    "/inspection/cb.0001",
    "/inspection/cb.open",
    "/inspection/cb.void",
]


@pytest.fixture(scope="module")
def drawn() -> RichNode:
    """A node with draws that are finished, one that waits for commitments, and one that came to nothing."""
    node = RichNode()
    said = {"categories": [{"category": 6, "weight": 2}], "count": 3, "report_days": 30, "replaces": None}
    for draw, span in (("cb.open", 2 * DAY_MS), ("cb.void", DAY_MS + 1_000)):
        windows = {"commit_until": time_text(node.now + span), "reveal_until": time_text(node.now + span + DAY_MS)}
        node.say("cb", "source", "inspection.announce", {"draw": draw, **windows, **said})
    node.say("ins", "source", "inspection.commit", {"draw": "cb.open", "commitment": sha256(b"x").hexdigest()})
    node.now += DAY_MS
    node.say("bank-a", "source", "inspection.close", {"draw": "cb.void"})
    return node


@pytest.fixture
def services(drawn: RichNode) -> Services:
    return services_of(drawn)


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("path", PAGES)
async def test_a_page_is_whole_in_both_languages(browse, path: str, language: str) -> None:
    assert_whole(await browse(f"{path}{'&' if '?' in path else '?'}lang={language}"), language)


async def test_the_list_names_every_draw_with_its_phase_and_goes_by_phase(browse) -> None:
    page = await browse("/inspections")
    shown = [row.text for row in page.one("tbody").all("tr")]
    assert len(shown) == 6
    assert any("cb.void" in row and texts("en")["phase.void"] in row for row in shown)
    only = await browse("/inspections?phase=announced")
    (row,) = only.one("tbody").all("tr")
    assert "cb.open" in row.text


async def test_a_draw_shows_who_was_selected_with_which_ticket_and_what_was_found(browse, drawn: RichNode) -> None:
    page = (await browse("/inspection/cb.0001")).text
    for word in ("cb", "ins", "lab", "seal_broken", "FTP-2026-06-", "chainnode cert inspection replay cb.0001"):
        assert word in page
    assert texts("en")["inspection.waiting"] in page


async def test_a_void_draw_says_why(browse) -> None:
    assert texts("en")["void.too_few_commitments"] in (await browse("/inspection/cb.void")).text


async def test_a_secret_that_is_not_revealed_is_not_shown(browse) -> None:
    assert texts("en")["inspection.not_shown"] in (await browse("/inspection/cb.open")).text


@pytest.mark.parametrize(
    ("path", "status"), [("/inspection/cb.none", 404), ("/inspection/x", 400), ("/inspections?phase=x", 400)]
)
async def test_what_there_is_not_is_refused(client, path: str, status: int) -> None:
    found, body, _ = await client.get(path, {"Accept": "text/html"})
    assert (found, b"<h1" in body) == (status, True)
