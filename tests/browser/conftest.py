"""Debian's Chromium under Playwright: one browser for all tests, a fresh profile for each."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.bank_fixtures import Banks, banks
from tests.browser.lying_fixtures import LyingNode, lying_node

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

BROWSER_TIMEOUT_S = 120
WAIT_MS = 20_000
HERE = "127.0.0.1"
"""Where names of other machines lead that tests make up."""
AXE = Path(__file__).resolve().parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here drives a browser, which `make browser` installs and other targets do without."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.timeout(BROWSER_TIMEOUT_S))


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium")
    assert program is not None, "Chromium is missing: run `make browser`, which says what to install"
    with sync_playwright() as playwright:
        # Without its sandbox, which root cannot have; it opens nothing but what these tests serve.
        running = playwright.chromium.launch(
            executable_path=program,
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                f"--host-resolver-rules=MAP *.example {HERE}",
            ],
        )
        yield running
        running.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    made = browser.new_context(locale="en-GB", timezone_id="UTC", viewport={"width": 1000, "height": 800})
    made.set_default_timeout(WAIT_MS)
    yield made
    made.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A tab; the test fails where anything on it raised an error or was refused by the policy of its content."""
    made, faults = context.new_page(), list[str]()
    made.on("pageerror", lambda error: faults.append(str(error)))
    made.on(
        "console",
        lambda message: faults.append(message.text) if "Content Security Policy" in message.text else None,
    )
    yield made
    assert faults == []


def violations(page: Page) -> list[str]:
    """Return what axe-core objects to on a page: rule, and where."""
    found = page.evaluate(
        f"async () => {{ {AXE.read_text('utf-8')}; return axe.run(document, {{ resultTypes: ['violations'] }}) }}"
    )
    return [
        f"{rule['id']}: {', '.join(' '.join(map(str, node['target'])) for node in rule['nodes'][:3])}"
        for rule in found["violations"]
    ]


@pytest.fixture(scope="session")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Banks]:
    """The real network that all tests look at; none of them changes it."""
    with banks(tmp_path_factory.mktemp("banks")) as running:
        yield running


@pytest.fixture
def liar(bank: Banks) -> Iterator[LyingNode]:
    """A node before bank-a that tells the truth until it is told to lie."""
    with lying_node(bank.url) as node:
        yield node


def pin(page: Page, url: str, policy: str, by: str = "Ann of bank-b, by telephone") -> None:
    """Pin a policy that somebody else vouches for, as a reader does it."""
    page.goto(f"{url}/verify")
    place = page.locator("[data-place=trust]")
    place.locator("input[type=file]").set_input_files(
        {"name": "policy-of-bank-b", "mimeType": "text/plain", "buffer": policy.encode()}
    )
    form = place.locator("form.pin").nth(1)  # the first one is for what the node offers
    form.locator("input[name=by]").fill(by)
    with page.expect_navigation():
        form.locator("button").click()
    page.locator("[data-place=trust] [data-pinned=yes]").wait_for()


def pinned(page: Page, url: str, policy: str) -> None:
    """Leave a policy pinned as `pin` does, without the clicks."""
    kept = {
        "policy": policy,
        "hash": sha256(policy.encode()).hexdigest(),
        "from": "a file",
        "by": "Ann",
        "at": "2026-01-02T03:04:05Z",
    }
    page.goto(f"{url}/policy")
    page.evaluate("kept => localStorage.setItem('chainnode.pin.v1', kept)", json.dumps(kept))


def settled(page: Page) -> None:
    """Wait until the scripts of a page have done all they do."""
    page.locator("html[data-scripts=done]").wait_for(state="attached")


def verdict(page: Page, kind: str) -> str:
    """Return how the verification of a page's proof of a kind ended."""
    settled(page)
    return str(page.locator(f"section.proof[data-kind={kind}] .proof-result").get_attribute("data-verdict"))


def failed(page: Page, kind: str) -> list[str]:
    """Return the steps of a page's proof that failed."""
    steps = page.locator(f"section.proof[data-kind={kind}] li[data-state=fails]").all()
    return [str(step.get_attribute("data-step")) for step in steps]
