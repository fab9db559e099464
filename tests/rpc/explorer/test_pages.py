"""Every page of the explorer, read as HTML: what it shows, its landmarks, and that it says so in both languages."""

from __future__ import annotations

import pytest

from tests.rpc.explorer.html import read_html

PATHS = ["/", "/blocks", "/block/1", "/certificates", "/payments", "/members", "/member/bank-a", "/checkpoints"]
PATHS += ["/search", "/search?q=nothing+at+all", "/verify", "/block/999", "/nowhere"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("language", ["en", "zh"])
async def test_a_page_has_its_landmarks(client, node, path: str, language: str) -> None:
    node.commit_events(3)
    node.checkpoint()
    _, body, _ = await client.get(path, {"Accept": "text/html", "Accept-Language": language})
    page = read_html(body.decode())
    html = page.one("html")
    assert html.attributes["lang"] == {"en": "en", "zh": "zh-Hans"}[language]
    assert page.one("main").attributes["id"] == "main"
    assert page.all("a", class_="skip")[0].attributes["href"] == "#main"
    assert len(page.all("h1")) == 1
    assert page.one("header", class_="top")
    assert page.one("footer", class_="bottom")
    assert page.one("form", role="search")
    assert page.one("head").one("title").text
