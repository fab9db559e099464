"""Logging in off loopback with a real browser: the form, the cookie, and pages elsewhere that would use it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from chainnode.tokens import TokenBook
from rpc.methods.catalogue import METHODS
from rpc.ports import Services
from rpc.rights import Role
from rpc.server import RpcServer, RpcSettings
from tests.rpc.conftest import living  # noqa: F401  a fixture
from tests.rpc.tls_fixtures import self_signed

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SOCKET = """async url => await new Promise(done => {
    const socket = new WebSocket(url);
    socket.onopen = () => done("open");
    socket.onerror = () => done("refused");
})"""


@pytest.fixture
def away(tmp_path: Path, living: Services) -> Iterator[tuple[str, TokenBook]]:  # noqa: F811
    """A listener with TLS off loopback, by its rules, and its tokens; it runs on a loop in a thread of its own."""
    served, _ = self_signed(tmp_path)
    book = TokenBook(tmp_path / "tokens.json", lambda: int(time.time() * 1_000))
    settings = RpcSettings(port=0, on_loopback=False, tls=served, hosts=("127.0.0.1",))
    server = RpcServer(settings, replace(living, tokens=book), METHODS)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(server.start(), loop).result(20)
    yield server.address, book
    asyncio.run_coroutine_threadsafe(server.stop(), loop).result(20)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(20)
    loop.close()


@pytest.fixture
def stranger(browser: Browser) -> Iterator[Page]:
    """A tab of a browser that takes the listener's own certificate."""
    context = browser.new_context(ignore_https_errors=True)
    yield context.new_page()
    context.close()


def test_a_person_logs_in_with_a_token_reads_and_logs_out(away: tuple[str, TokenBook], stranger: Page) -> None:
    url, book = away
    token = book.create("desk", Role.AUDITOR, member="", valid_ms=None).token
    stranger.goto(f"{url}/blocks")
    stranger.click("main a[href^='/login']")
    stranger.fill("#token", "cn_guessed")
    stranger.click("main form button")
    assert stranger.locator("[role=alert]").inner_text().endswith("wrong_token")
    stranger.fill("#token", token)
    stranger.click("main form button")
    stranger.wait_for_url(f"{url}/blocks")
    assert stranger.evaluate(SOCKET, url.replace("https", "wss") + "/ws") == "open"
    assert "session" not in stranger.evaluate("document.cookie")
    stranger.goto(f"{url}/login")
    stranger.click("main form button")
    stranger.wait_for_url(f"{url}/login")
    answer = stranger.goto(f"{url}/blocks")
    assert answer is not None
    assert answer.status == 401


def test_a_page_elsewhere_cannot_use_a_log_in(away: tuple[str, TokenBook], stranger: Page) -> None:
    url, book = away
    stranger.goto(f"{url}/login")
    stranger.fill("#token", book.create("desk", Role.AUDITOR, member="", valid_ms=None).token)
    stranger.click("main form button")
    stranger.wait_for_url(f"{url}/")
    stranger.route("https://elsewhere.example/", lambda route: route.fulfill(body="<p>", content_type="text/html"))
    stranger.goto("https://elsewhere.example/")
    assert stranger.evaluate(SOCKET, url.replace("https", "wss") + "/ws") == "refused"
