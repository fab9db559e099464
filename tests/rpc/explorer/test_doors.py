"""What a page's request gets at the door, from outside: bad addresses, foreign names, links from elsewhere, caching."""

from __future__ import annotations

import asyncio
import gzip
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from rpc.explorer import mount
from rpc.explorer.mount import QUERY_CHARACTERS_MAX
from rpc.explorer.statics import Statics, statics
from rpc.methods.catalogue import METHODS
from rpc.ports import Services
from rpc.server import RpcServer, RpcSettings
from tests.rpc.explorer.html import read_html

HTML = {"Accept": "text/html,application/xhtml+xml"}


async def raw(url: str, target: str, host: str = "127.0.0.1") -> tuple[int, bytes]:
    """Send a request line as it stands, which clients would tidy up; return status and body."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(f"GET {target} HTTP/1.1\r\nHost: {host}\r\nAccept: text/html\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


@pytest.mark.parametrize(
    "target",
    [
        "/static/../explorer/mount.py",
        "/static/..%2fmount.py",
        "/static/%2e%2e/%2e%2e/server.py",
        "/static/css/../../mount.py",
        "/static//etc/passwd",
        "/static/..\\mount.py",
        "/static/css%00.css",
        "/static/",
        "/static/000000000000/css/explorer.css",
        "/../../etc/passwd",
        "/checkpoints/..%2f..%2fkeys%2ftoken",
        "/certificate/..%2f..%2fetc",
    ],
)
async def test_no_path_leads_out_of_the_explorers_files(client, node, target: str) -> None:
    status, body = await raw(client.url, target)
    assert status in (400, 404)
    assert b"root:" not in body
    assert b"def " not in body
    page = read_html(body.decode())
    assert page.one("p", class_="eyebrow").text == str(status)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "127.0.0.1@evil.example"])
async def test_a_foreign_host_gets_a_page_that_says_why(client, node, host: str) -> None:
    status, body = await raw(client.url, "/", host)
    assert status == 403
    assert read_html(body.decode()).one("h1").text == "Not permitted"


async def test_a_query_that_is_too_long_is_refused(client, node) -> None:
    for target, expected in ((f"/search?q={'a' * QUERY_CHARACTERS_MAX}", 414), (f"/search?q={'a' * 300}", 400)):
        status, body = await raw(client.url, target)
        assert status == expected
        assert read_html(body.decode()).all("h1")
    status, body = await raw(client.url, f"/search?q={'a' * 100_000}")
    assert status == 400  # before any of it is kept
    assert b"Traceback" not in body
    assert (await client.get("/"))[0] == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"/event/{'ab' * 32}", 404),
        ("/event/zz", 400),
        ("/block/99", 404),
        (f"/block/{'ab' * 32}", 404),
        ("/block/-1", 400),
        ("/block/1e3", 400),
        ("/block/99999999999999999999", 400),
        ("/certificate/FTP-2026-06-000009", 404),
        ("/certificate/x", 400),
        (f"/payment/{'ab' * 32}", 404),
        ("/payment/x", 400),
        ("/member/nobody", 404),
        (f"/member/{'9' * 400}", 404),
        ("/checkpoints/77.note", 404),
        ("/checkpoints/x", 400),
        ("/blocks?cursor=AAAA", 400),
        ("/blocks?order=up", 400),
        ("/payments?cursor=%00", 400),
        ("/member/bank-a?cursor=AAAA", 400),
        ("/nowhere", 404),
        ("/ws/x", 404),
    ],
)
async def test_what_is_not_there_or_not_asked_rightly_gets_a_page(client, node, path: str, status: int) -> None:
    got, body, headers = await client.get(path, HTML)
    assert got == status
    assert headers["Cache-Control"] == "no-store"
    page = read_html(body.decode())
    assert page.one("p", class_="eyebrow").text == str(status)
    assert headers["X-Trace-Id"] in page.text


async def test_programs_get_their_refusals_as_before(client, node) -> None:
    for path in ("/nowhere", "/favicon.ico", "/tile/0/000", "/static/x.js", "/certificate/x/status.tlog-proof"):
        status, body, headers = await client.get(path)
        assert status in (400, 404)
        assert headers["Content-Type"] == "application/json"
        assert b'"error"' in body
    status, _, headers = await client.get("/event/zz")  # a page's own path is answered with pages
    assert headers["Content-Type"].startswith("text/html")


async def test_a_link_from_elsewhere_opens_a_page_and_nothing_else(client, node) -> None:
    followed = {**HTML, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert (await client.get("/members", followed))[0] == 200
    for changed in ({"Sec-Fetch-Dest": "iframe"}, {"Sec-Fetch-Mode": "no-cors"}, {"Origin": "https://evil.example"}):
        assert (await client.get("/members", followed | changed))[0] == 403
    assert (await client.get("/checkpoint", followed))[0] == 403
    assert (await client.get("/openrpc.json", followed))[0] == 403
    status, _, _ = await client.post({"jsonrpc": "2.0", "id": 1, "method": "net_status"}, headers=followed)
    assert status == 403


async def test_pages_take_get_and_head_alone(client, node) -> None:
    for verb in ("POST", "PUT", "DELETE"):
        async with client.session.request(verb, f"{client.url}/members") as response:
            assert response.status == 405
    async with client.session.head(f"{client.url}/members") as response:
        assert response.status == 200
        assert int(response.headers["Content-Length"]) > 1_000
        assert await response.read() == b""
    async with client.session.head(f"{client.url}/member/nobody") as response:
        assert response.status == 404


async def test_pages_are_asked_for_again_and_files_are_kept_for_good(client, node) -> None:
    _, body, headers = await client.get("/", HTML)
    assert headers["Cache-Control"] == "no-cache"
    assert {"Accept-Language", "Cookie"} <= {name.strip() for name in headers["Vary"].split(",")}
    page = read_html(body.decode())
    links = [link.attributes["href"] for link in page.all("link", rel="stylesheet")]
    links += [script.attributes["src"] for script in page.all("script")]
    assert links
    for path in links:
        assert f"/{statics().hash}/" in path
        status, _, headers = await client.get(path)
        assert (status, headers["Cache-Control"]) == (200, "public, max-age=31536000, immutable")
        assert headers["Content-Type"] in ("text/css; charset=utf-8", "text/javascript; charset=utf-8")
        plain = path.replace(f"/{statics().hash}/", "/")
        status, _, headers = await client.get(plain)
        assert (status, headers["Cache-Control"]) == (200, "no-cache")
        status, body, _ = await client.get(plain, {"If-None-Match": headers["Etag"]})
        assert (status, body) == (304, b"")


async def test_pages_are_packed_where_the_browser_takes_it(client, node) -> None:
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        async with session.get(f"{client.url}/members", headers={"Accept-Encoding": "gzip"}) as response:
            packed = await response.read()
            assert response.headers["Content-Encoding"] == "gzip"
        async with session.get(f"{client.url}/members", headers={"Accept-Encoding": "identity"}) as response:
            assert gzip.decompress(packed) == await response.read()


async def test_a_choice_of_language_and_colours_stays(client, node) -> None:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        async with session.get(f"{client.url}/members?lang=zh&theme=dark") as response:
            assert "成员" in await response.text()
            for cookie in response.cookies.values():
                assert cookie["httponly"]
                assert cookie["samesite"] == "Lax"
        async with session.get(f"{client.url}/blocks", headers={"Accept-Language": "en"}) as response:
            html = read_html(await response.text()).one("html")
            assert (html.attributes["lang"], html.attributes["data-theme"]) == ("zh-Hans", "dark")
        async with session.get(f"{client.url}/blocks?lang=xx&theme=%22") as response:
            assert response.cookies == {}


async def test_an_explorer_that_is_switched_off_is_not_there(settings, services, node) -> None:
    server = RpcServer(replace(settings, explorer=False), services, METHODS)
    await server.start()
    try:
        async with aiohttp.ClientSession() as session:
            for path, status in (("/", 405), ("/blocks", 404), ("/static/css/explorer.css", 404), ("/policy", 200)):
                async with session.get(server.address + path, headers=HTML) as response:
                    assert response.status == status
    finally:
        await server.stop()


def test_the_files_are_those_of_the_directory_and_of_known_types(tmp_path: Path) -> None:
    (tmp_path / "js").mkdir()
    (tmp_path / "js" / "a.mjs").write_text("1")
    (tmp_path / "secret.key").write_text("2")
    (tmp_path / "js" / "b.py").write_text("3")
    files = Statics(tmp_path, tmp_path / "none")
    assert files.get("js/a.mjs") is not None
    assert files.get(f"{files.hash}/js/a.mjs") is not None
    assert [files.get(path) for path in ("secret.key", "js/b.py", "js", "", "../x", f"{files.hash}/")] == [None] * 6
    before = files.hash
    (tmp_path / "js" / "a.mjs").write_text("4")
    assert Statics(tmp_path, tmp_path / "none").hash != before


async def test_the_first_page_is_compiled_a_little_after_the_start(
    settings: RpcSettings, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = asyncio.Event()
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(mount, "COMPILE_AFTER_S", 0)
    monkeypatch.setattr(mount, "compile_first_page", lambda: loop.call_soon_threadsafe(compiled.set))
    server = RpcServer(settings, services, METHODS)
    await server.start()
    async with asyncio.timeout(10):
        await compiled.wait()
    await server.stop()
