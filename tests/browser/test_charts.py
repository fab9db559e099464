"""Charts and the live part of the first page, in a real browser: drawn, read by keys, renewed, paused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.browser.bank_fixtures import Banks
from tests.browser.conftest import settled, violations
from tests.browser.lying_fixtures import LyingNode

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


def renewed(page: Page) -> None:
    with page.expect_response(lambda response: "fragment=live" in response.url) as answer:
        pass
    assert answer.value.ok
    page.wait_for_function("() => performance.getEntriesByType('resource').at(-1).responseEnd > 0")


def test_charts_are_drawn_from_their_tables_and_read_with_the_arrow_keys(page: Page, bank: Banks) -> None:
    page.goto(bank.url)
    settled(page)
    drawn = page.locator("figure[data-chart] .drawn canvas")
    drawn.nth(1).wait_for()
    assert drawn.count() == 2
    assert page.locator("figure[data-chart] svg:visible").count() == 0
    figure = page.locator("figure[data-key=rate]")
    figure.locator(".drawn").focus()
    page.keyboard.press("End")
    last = figure.locator("tbody tr").last
    said = figure.locator(".readout").inner_text()
    assert last.locator("th").evaluate("cell => cell.textContent") in said
    assert last.locator("td").evaluate("cell => cell.dataset.value") in said.replace(",", "")
    assert violations(page) == []


def test_without_scripts_the_servers_drawing_and_the_tables_stand(bank: Banks, browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(bank.url)
    assert page.locator("figure[data-chart] svg:visible").count() == 2
    assert page.locator("[data-live]").is_hidden()
    page.locator("figure[data-key=rate] summary").click()
    assert page.locator("figure[data-key=rate] tbody tr").count() > 0
    context.close()


def test_a_renewal_leaves_focus_open_parts_and_charts_where_they_are(page: Page, bank: Banks) -> None:
    page.goto(bank.url)
    settled(page)
    page.locator("figure[data-chart] .drawn canvas").first.wait_for()
    page.locator("figure[data-key=rate] summary").click()
    page.evaluate("() => document.querySelector('figure[data-key=rate] canvas').marked = true")
    link = page.locator("section[data-key=validators] h3 a").nth(1)
    link.focus()
    renewed(page)
    renewed(page)
    assert page.locator("figure[data-key=rate] details").get_attribute("open") is not None
    assert page.evaluate("() => document.querySelector('figure[data-key=rate] canvas').marked") is True
    assert page.evaluate("() => document.activeElement.textContent") == link.inner_text()


def test_the_live_part_can_be_paused_and_says_when_the_node_is_away(page: Page, liar: LyingNode) -> None:
    page.goto(liar.url)
    settled(page)
    said = page.locator("[data-live] [role=status]")
    assert said.inner_text().startswith("Live: block")
    page.locator("[data-live] button").click()
    assert said.inner_text().startswith("Paused")
    with pytest.raises(Exception, match="Timeout"), page.expect_response("**/?fragment=live", timeout=6_000):
        pass
    page.route("**/?fragment=live", lambda route: route.abort())
    page.locator("[data-live] button").click()
    page.wait_for_function("() => document.querySelector('[data-live] [role=status]').dataset.state === 'away'")
    page.unroute("**/?fragment=live")
    again = page.locator("[data-live] button")
    again.click()
    page.route("**/?fragment=live", lambda route: route.fulfill(status=401, body="token_revoked"))
    again.click()  # asks at once, however long it would have waited
    page.wait_for_function("() => document.querySelector('[data-live] [role=status]').dataset.state === 'ended'")
    assert "rights to read here have ended" in said.inner_text()
    again.click()
    page.unroute("**/?fragment=live")
    again.click()
    page.wait_for_function("() => document.querySelector('[data-live] [role=status]').dataset.state === 'on'")
