"""No page executes what an event, a member's name or an address contains: all of it comes out as text."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from tests.rpc.explorer.conftest import HOSTILE, NUMBER, PAIR_KEY, REVOKED, UETR_TEXT
from tests.rpc.explorer.html import Element

PAGES = ["/", "/blocks", "/block/1", "/certificates", f"/certificate/{NUMBER}", f"/certificate/{REVOKED}", "/payments"]
PAGES += [
    f"/payment/{UETR_TEXT}",
    f"/payment/{PAIR_KEY.hex()}",
    "/members",
    "/member/bank-a",
    "/checkpoints",
    "/verify",
]
PAGES += ["/checkpoints", "/verify", "/search?q=bank", "EVENT:grant", "EVENT:second", "EVENT:revoke", "EVENT:rejected"]
PAGES += ["EVENT:debtor", "APPLY", "/evidence"]
ECHOES = [
    "/search?q={}",
    "/block/{}",
    "/blocks?start={}",
    "/blocks?cursor={}",
    "/event/{}",
    "/certificate/{}",
    "/certificates?status={}",
    "/certificates?holder={}",
    "/certificates?category={}",
    f"/certificate/{NUMBER}?at={{}}",
    "/payment/{}",
    "/payments?member={}",
    "/member/{}",
    "/proposal/{}",
    "/consistency?old={}&new={}",
    "/evidence/{}",
    "/evidence?cursor={}",
    "/expiry?days={}&after={}",
    "/checkpoints?size={}",
    "/checkpoints/{}",
    "/?lang={}&theme={}",
    "/{}",
    "/static/{}",
]


def assert_harmless(page: Element) -> None:
    """Nothing on the page is a script but ours, and no attribute can run or style anything."""
    for element in page:
        assert element.tag not in ("img", "iframe", "object", "embed", "base", "style", "audio", "video"), element
        for name, value in element.attributes.items():
            assert not name.startswith("on"), (element.tag, name)
            assert name not in ("style", "srcdoc", "formaction"), (element.tag, name)
            if name in ("href", "src", "action"):
                assert value == "data:," or value.startswith(("/", "#")), (element.tag, value)
                assert not value.startswith("//")
    for script in page.all("script"):
        assert script.children == []
        assert script.attributes["src"].startswith("/static/")
        assert script.attributes["type"] == "module"


@pytest.mark.parametrize("path", PAGES)
async def test_hostile_texts_of_the_chain_are_text(browse, everything, accused, path: str) -> None:
    if path.startswith("EVENT:"):
        path = f"/event/{everything.events[path.removeprefix('EVENT:')].hex()}"
    if path == "APPLY":
        path = f"/event/{everything.node.reader.block_events(1)[0].id.hex()}"
    assert_harmless(await browse(path))


async def test_hostile_texts_come_out_whole(browse, everything) -> None:
    apply = everything.node.reader.block_events(1)[0].id.hex()
    page = await browse(f"/event/{apply}")
    shown = [item.raw_text.strip() for item in page.one("section", aria_labelledby="body").all("dd")]
    for end in ("name", "model", "version", "holder"):
        assert HOSTILE + end in shown
    page = await browse(f"/certificate/{NUMBER}")
    assert HOSTILE + "holder" in page.one("section", aria_labelledby="record").raw_text
    assert f"{HOSTILE}name {HOSTILE}model" in page.raw_text
    assert HOSTILE in (await browse("/member/bank-a")).one("h1").raw_text
    assert HOSTILE in (await browse("/members")).one("tbody").raw_text
    assert HOSTILE in (await browse("/")).one("ul", class_="tiles").raw_text
    assert f"{HOSTILE}name {HOSTILE}model" in (await browse("/certificates")).one("tbody").raw_text


@pytest.mark.parametrize("path", ECHOES)
@pytest.mark.parametrize(
    "text", [HOSTILE, '" onmouseover=alert(1) x="', "javascript:alert(1)", "'><svg/onload=alert(1)>"]
)
async def test_hostile_addresses_are_text(client, browse, everything, path: str, text: str) -> None:
    filled = path.replace("{}", quote(text, safe=""))
    status, _, _ = await client.get(filled, {"Accept": "text/html"})
    page = await browse(filled, status)
    assert status < 500
    assert_harmless(page)


async def test_a_page_may_run_no_script_and_style_of_its_own(client, everything) -> None:
    for path in ("/", "/nowhere", "/search?q=x", f"/certificate/{NUMBER}"):
        _, _, headers = await client.get(path, {"Accept": "text/html"})
        policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["form-action"] == "'self'"
        assert policy["base-uri"] == policy["frame-ancestors"] == "'none'"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
