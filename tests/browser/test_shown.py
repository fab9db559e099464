"""What pages show is held against what is proved: of each lie in a page's HTML, the sentence that tells it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.browser.bank_fixtures import Banks
from tests.browser.conftest import failed, pinned, settled, verdict
from tests.browser.lying_fixtures import LyingNode
from tests.browser.page_lies import LIES, PageLie

if TYPE_CHECKING:
    from playwright.sync_api import Page


def path_of(page: str, bank: Banks) -> str:
    return {
        "grant": f"/event/{bank.events['certificate.grant'][0]}",
        "application": f"/event/{bank.events['certificate.apply'][0]}",
        "statement": f"/event/{bank.statement}",
        "rejected event": f"/event/{bank.rejected}",
        "certificate": f"/certificate/{bank.number}",
        "member": "/member/bank-a",
        "block": "/block/3",
        "payment": f"/payment/{bank.payment}",
    }[page]


@pytest.mark.parametrize("told", LIES, ids=lambda told: told.name)
def test_a_lie_that_a_page_shows_is_told_in_a_sentence(page: Page, bank: Banks, liar: LyingNode, told: PageLie) -> None:
    path = path_of(told.page, bank)
    liar.lies[path] = lambda html: told.lie(html) if html.startswith("<!doctype") or "<html" in html[:200] else html
    pinned(page, liar.url, bank.policy())
    page.goto(liar.url + path)
    section = page.locator(f"section.proof[data-kind={told.kind}]")
    if told.what == "a proof of another kind":  # what the address asks for decides, whatever the section says
        section = page.locator("section.proof")
        settled(page)
        assert section.locator("[data-verdict=verified]").count() == 1
        assert section.locator("li[data-step='source signature'][data-state=holds]").count() == 1
        return
    assert verdict(page, told.kind) == "refused"
    assert failed(page, told.kind) == ["shown"]
    said = section.locator("li[data-step=shown] .step-what").inner_text()
    assert re.search(told.says, said), said
    assert page.locator(".lie").count() > 0 or "leaves out" in said


@pytest.mark.parametrize(
    ("name", "language"),
    [
        ("statement", "en"),
        ("rejected event", "zh"),
        ("certificate", "zh"),
        ("member", "en"),
        ("block", "en"),
        ("payment", "zh"),
    ],
)
def test_an_honest_page_shows_what_is_proved_in_both_languages(
    page: Page, bank: Banks, name: str, language: str
) -> None:
    pinned(page, bank.url, bank.policy())
    page.goto(f"{bank.url}{path_of(name, bank)}?lang={language}")
    settled(page)
    for section in page.locator("section.proof").all():
        shown = section.locator("li[data-step=shown]")
        assert shown.get_attribute("data-state") == "holds", shown.inner_text()
        assert section.locator(".proof-result").get_attribute("data-verdict") == "verified"
    assert page.locator(".lie").count() == 0
    assert page.locator(".proved").count() > 8


def test_a_page_without_the_proof_that_belongs_to_it_says_that_nothing_is_verified(
    page: Page, bank: Banks, liar: LyingNode
) -> None:
    path = path_of("grant", bank)
    liar.lies[path] = lambda html: re.sub('<section class="proof.*?</section>', "", html, flags=re.DOTALL)
    pinned(page, liar.url, bank.policy())
    page.goto(liar.url + path)
    settled(page)
    assert "nothing on it is verified" in page.locator("main > .unproved").inner_text()


def test_what_no_proof_of_a_page_is_of_says_so(page: Page, bank: Banks, liar: LyingNode) -> None:
    path = path_of("certificate", bank)
    liar.lies[path] = lambda html: re.sub(
        "(<li data-row=)", r'<li class="rejected" data-unproved><p>and was rejected</p></li>\1', html, count=1
    )
    pinned(page, liar.url, bank.policy())
    page.goto(liar.url + path)
    assert verdict(page, "history") == "verified"
    assert "Not part of this proof" in page.locator("[data-unproved]").inner_text()
