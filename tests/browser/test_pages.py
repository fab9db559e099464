"""All pages of the explorer in a real browser: accessible, narrow, light, and running nothing foreign."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.browser.bank_fixtures import HOSTILE, Banks
from tests.browser.conftest import settled, violations

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Request

WEIGHT_MAX = 150 * 1024
PAGES = {
    "overview": "/",
    "blocks": "/blocks",
    "block": "/block/3",
    "event": "/event/{event}",
    "rejected event": "/event/{rejected}",
    "certificates": "/certificates",
    "certificate": "/certificate/{number}",
    "certificate then": "/certificate/{number}?at=2",
    "payments": "/payments",
    "payment": "/payment/{payment}",
    "members": "/members",
    "member": "/member/bank-a",
    "checkpoints": "/checkpoints",
    "consistency": "/consistency?old=1&new=3",
    "proposals": "/proposals",
    "rules": "/rules",
    "expiry": "/expiry",
    "evidence": "/evidence",
    "archive": "/archive",
    "search": "/search?q=bank",
    "verify": "/verify",
    "no such page": "/no/such/page",
    "no such event": "/event/" + "0" * 64,
}


def address(bank: Banks, name: str) -> str:
    return bank.url + PAGES[name].format(
        event=bank.events["certificate.grant"][0],
        rejected=bank.rejected,
        number=bank.number,
        payment=bank.payment,
    )


def with_query(url: str, **words: str) -> str:
    query = "&".join(f"{name}={value}" for name, value in words.items())
    return f"{url}{'&' if '?' in url else '?'}{query}"


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_accessible_narrow_light_and_of_this_node_alone(page: Page, bank: Banks, name: str) -> None:
    asked: list[Request] = []
    page.on("requestfinished", lambda request: asked.append(request))
    page.goto(address(bank, name))
    settled(page)
    assert violations(page) == []
    assert [request.url for request in asked if not request.url.startswith((bank.url, "data:", "blob:"))] == []
    # What came before the scripts asked for anything of their own: the page with all of its files.
    files = [request for request in asked if request.resource_type in ("document", "stylesheet", "script")]
    weight = sum(request.sizes()["responseBodySize"] for request in files)
    assert 0 < weight < WEIGHT_MAX, weight
    page.set_viewport_size({"width": 320, "height": 640})
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 320


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_accessible_in_the_dark_and_in_chinese(page: Page, bank: Banks, name: str) -> None:
    page.emulate_media(color_scheme="dark")
    page.goto(with_query(address(bank, name), lang="zh"))
    settled(page)
    assert violations(page) == []
    assert re.search(r"[\u4e00-\u9fff]", page.title())


def test_one_clicks_from_a_search_to_an_event_its_block_and_its_member(page: Page, bank: Banks) -> None:
    page.goto(bank.url)
    page.fill("input[type=search]", bank.events["certificate.apply"][0])
    page.keyboard.press("Enter")
    page.wait_for_url("**/event/*")
    page.locator("main a[href^='/block/']").first.click()
    page.wait_for_url("**/block/*")
    page.locator("main a[href^='/event/']").first.click()
    page.wait_for_url("**/event/*")
    page.locator("main a[href^='/member/']").first.click()
    page.wait_for_url("**/member/*")
    assert page.locator("h1").count() == 1


def test_the_first_key_leads_past_the_navigation(page: Page, bank: Banks) -> None:
    page.goto(bank.url)
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.getAttribute('href')") == "#main"


def test_language_and_theme_are_kept_from_page_to_page(page: Page, bank: Banks) -> None:
    page.goto(bank.url)
    page.locator("footer a[hreflang=zh]").click()
    page.goto(f"{bank.url}/members")
    assert page.locator("html").get_attribute("lang") in ("zh", "zh-Hans", "zh-CN")
    page.locator("footer a[href*='theme=dark']").click()
    page.goto(f"{bank.url}/blocks")
    assert page.locator("html").get_attribute("data-theme") == "dark"


def test_the_overview_renews_itself(page: Page, bank: Banks) -> None:
    page.goto(bank.url)
    settled(page)
    with page.expect_response(lambda response: "fragment=live" in response.url) as renewed:
        pass
    assert renewed.value.ok


def test_what_an_event_contains_is_text_and_is_never_run(page: Page, bank: Banks) -> None:
    page.add_init_script("globalThis.ran = false")
    for path in (f"/event/{bank.hostile}", "/", "/search?q=%3Cimg%20src%3Dx%20onerror%3Dran%3Dtrue%3E"):
        page.goto(bank.url + path)
        settled(page)
        assert page.evaluate("() => globalThis.ran") is False
    page.goto(f"{bank.url}/event/{bank.hostile}")
    settled(page)
    assert HOSTILE in page.locator("main").inner_text()
    assert page.locator("main img").count() == 0


def test_without_scripts_pages_say_that_nothing_was_verified(bank: Banks, browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{bank.url}/event/{bank.events['certificate.grant'][0]}")
    said = page.locator("section.proof").inner_text()
    assert "not verified" in said.lower()
    assert page.locator("section.proof li[data-state]").count() == 0
    context.close()
