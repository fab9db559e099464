"""Where pages come from: over TLS with a certificate of one's own making, and over plain HTTP from another machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.bank_fixtures import Banks
from tests.browser.conftest import WAIT_MS, pinned, verdict
from tests.browser.lying_fixtures import LyingNode, lying_node
from tests.rpc.tls_fixtures import self_signed

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

NAME = "node.bank-a.example"
"""A name that the browser is told to find on this machine: not one of those that it trusts without TLS."""


@pytest.fixture
def over_tls(bank: Banks, tmp_path: Path) -> Iterator[LyingNode]:
    context, _ = self_signed(tmp_path)
    with lying_node(bank.url, context) as node:
        yield node


@pytest.fixture
def trusting(browser: Browser) -> Iterator[BrowserContext]:
    """A reader who took the node's certificate for good."""
    made = browser.new_context(locale="en-GB", ignore_https_errors=True)
    made.set_default_timeout(WAIT_MS)
    yield made
    made.close()


def path_of(bank: Banks) -> str:
    return f"/event/{bank.events['certificate.review'][3]}"


@pytest.mark.parametrize("library", ["noble", "webcrypto"])
def test_over_tls_a_receipt_is_verified_by_either_library(
    trusting: BrowserContext, bank: Banks, over_tls: LyingNode, library: str
) -> None:
    page = trusting.new_page()
    if library == "webcrypto":
        page.route("**/vendor/*", lambda route: route.abort())
    pinned(page, over_tls.url, bank.policy())
    page.goto(over_tls.url + path_of(bank))
    assert page.evaluate("() => [isSecureContext, crypto.subtle !== undefined]") == [True, True]
    assert verdict(page, "receipt") == "verified"
    assert page.locator("section.proof .proof-result").get_attribute("data-crypto") == library


def test_a_browser_that_does_not_know_the_certificate_shows_nothing(page: Page, over_tls: LyingNode) -> None:
    with pytest.raises(Exception, match="ERR_CERT_AUTHORITY_INVALID"):
        page.goto(over_tls.url)


def test_over_plain_http_from_another_machine_noble_verifies_and_without_it_it_is_told(
    page: Page, bank: Banks, liar: LyingNode
) -> None:
    url = liar.url.replace("127.0.0.1", NAME)
    pinned(page, url, bank.policy())
    page.goto(url + path_of(bank))
    assert page.evaluate("() => [isSecureContext, crypto.subtle === undefined]") == [False, True]
    assert verdict(page, "receipt") == "verified"
    assert page.locator("section.proof .proof-result").get_attribute("data-crypto") == "noble"
    page.route("**/vendor/*", lambda route: route.abort())
    page.goto(url + path_of(bank))
    assert verdict(page, "receipt") == "unavailable"
    assert "Use the command, or the standalone verifier" in page.locator("section.proof .proof-head").inner_text()
