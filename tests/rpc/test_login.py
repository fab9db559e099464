"""Off loopback: who sees what without a token, logging in to the explorer, and what its cookie is good for."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from chainnode.tokens import TokenBook
from rpc.access import token_hash
from rpc.login import _own_path
from rpc.methods.catalogue import METHODS
from rpc.rights import Rights, Role
from rpc.server import RpcServer, RpcSettings
from rpc.sessions import COOKIE, SESSION_S, SESSIONS_MAX, Sessions
from tests.rpc.tls_fixtures import self_signed

READ = b'{"jsonrpc":"2.0","id":7,"method":"net_status"}'
HTML = {"Accept": "text/html"}
JSON = {"Content-Type": "application/json"}


class Away:
    """A listener off loopback, and a client that trusts it and keeps no cookies of its own."""

    def __init__(self, server: RpcServer, session: aiohttp.ClientSession, book: TokenBook) -> None:
        self.url, self.session, self.book = server.address, session, book

    async def ask(
        self, verb: str, path: str, headers: dict[str, str] | None = None, **given: Any
    ) -> tuple[int, str, dict[str, str]]:
        url = self.url + path
        async with self.session.request(verb, url, headers=headers, allow_redirects=False, **given) as answer:
            return answer.status, await answer.text(), dict(answer.headers)

    async def log_in(self, token: str, **form: str) -> str:
        """Return the cookie of a log-in."""
        status, _, headers = await self.ask("POST", "/login", data={"token": token, **form})
        assert status == 303
        return headers["Set-Cookie"].partition(";")[0]


@pytest.fixture
async def away(tmp_path: Path, services, token: str) -> AsyncIterator[Callable[..., Any]]:
    served, trusting = self_signed(tmp_path)
    book = TokenBook(tmp_path / "tokens.json", lambda: int(time.time() * 1_000))
    servers, sessions = [], []

    async def start(**changes: Any) -> Away:
        settings = RpcSettings(port=0, on_loopback=False, tls=served, token_hashes=(token_hash(token),))
        server = RpcServer(replace(settings, hosts=("127.0.0.1",), **changes), replace(services, tokens=book), METHODS)
        await server.start()
        connector = aiohttp.TCPConnector(ssl=trusting)
        session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        servers.append(server)
        sessions.append(session)
        return Away(server, session, book)

    yield start
    for session in sessions:
        await session.close()
    for server in servers:
        await server.stop()


def an_auditor(away: Away, name: str = "desk", role: Role = Role.AUDITOR, valid_ms: int | None = None) -> str:
    return away.book.create(name, role, member="", valid_ms=valid_ms).token


async def test_a_stranger_gets_a_way_in_and_nothing_of_the_node(away) -> None:
    node = await away()
    status, page, headers = await node.ask("GET", "/payments?page=2", HTML)
    assert (status, "/login?to=%2Fpayments%3Fpage%3D2" in page, "node-bank-a" in page) == (401, True, False)
    assert headers["Cache-Control"] == "no-store"
    status, page, _ = await node.ask("GET", "/login", HTML)
    assert (status, 'type="password"' in page, "node-bank-a" in page) == (200, True, False)
    style = page.partition('rel="stylesheet" href="')[2].partition('"')[0]
    assert (await node.ask("GET", style))[0] == 200
    for path in ("/certificates", "/checkpoint", "/policy", "/openrpc.json", "/tile/0/000"):
        assert (await node.ask("GET", path))[0] == 401, path


async def test_the_public_sees_what_is_public_and_nothing_else(away) -> None:
    node = await away(public=True)
    for path in ("/certificates", "/policy", "/openrpc.json", "/verify"):
        assert (await node.ask("GET", path))[0] == 200, path
    assert (await node.ask("GET", "/consistency"))[0] == 400  # two sizes are missing: nothing that a token would mend
    for path in ("/", "/payments", "/members", "/search?q=1", "/blocks", "/tile/entries/000", "/events/x.tlog-proof"):
        status, text, _ = await node.ask("GET", path)
        assert (status, "token_required" in text) == (401, True), path
    for method, refused in (("ledger_getCapabilities", False), ("payment_list", True), ("admin_listTokens", True)):
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": {}})
        _, text, _ = await node.ask("POST", "/", JSON, data=body)
        assert ("token_required" in text) is refused, method


async def test_whoever_logs_in_sees_the_pages_until_logging_out(away) -> None:
    node = await away()
    token = an_auditor(node)
    status, _, headers = await node.ask("POST", "/login", data={"token": token, "to": "/payments"})
    assert (status, headers["Location"]) == (303, "/payments")
    said = headers["Set-Cookie"]
    assert said.startswith(COOKIE + "=")
    assert {"Secure", "HttpOnly", "SameSite=Strict", "Path=/"} <= {part.strip() for part in said.split(";")}
    assert token not in said
    cookie = {"Cookie": said.partition(";")[0]}
    assert (await node.ask("GET", "/payments", HTML | cookie))[0] == 200
    _, page, _ = await node.ask("GET", "/login", HTML | cookie)
    assert "token desk" in page
    assert (await node.ask("POST", "/logout", cookie))[0] == 303
    assert (await node.ask("GET", "/payments", HTML | cookie))[0] == 401


async def test_a_log_in_ends_with_its_token(away) -> None:
    node = await away()
    cookie = {"Cookie": await node.log_in(an_auditor(node))}
    assert (await node.ask("GET", "/members", cookie))[0] == 200
    node.book.revoke("desk")
    assert (await node.ask("GET", "/members", cookie))[0] == 401


@pytest.mark.parametrize("wrong", ["", "wrong", "cn_" + "0" * 64])
async def test_a_wrong_token_logs_nobody_in(away, wrong: str) -> None:
    node = await away()
    status, page, headers = await node.ask("POST", "/login", data={"token": wrong})
    assert (status, "Set-Cookie" in headers, 'role="alert"' in page) == (401, False, True)
    ended = an_auditor(node)
    node.book.revoke("desk")
    status, page, _ = await node.ask("POST", "/login", data={"token": ended})
    assert (status, "token_revoked" in page, ended in page) == (401, True, False)


async def test_a_cookie_reads_from_the_nodes_own_page_and_never_submits(away, token) -> None:
    node = await away()
    cookie = {"Cookie": await node.log_in(token)}  # the operator's
    own = {"Origin": node.url} | JSON | cookie
    assert (await node.ask("POST", "/", JSON | cookie, data=READ))[0] == 401
    assert (await node.ask("POST", "/", own, data=READ))[0] == 200
    for method, params in (("ledger_submitBatch", ["AAAA"]), ("ledger_submit", [[]]), ("admin_listTokens", [])):
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        status, text, _ = await node.ask("POST", "/", own, data=body)
        assert (status, "role_insufficient" in text) == (403, True), method
    for foreign in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        status, text, _ = await node.ask("POST", "/", JSON | cookie | foreign, data=READ)
        assert (status, "foreign_origin" in text) == (403, True)
        assert (await node.ask("POST", "/login", foreign, data={"token": token}))[0] == 403


async def test_a_cookie_opens_a_websocket_for_the_nodes_own_page_alone(away, token) -> None:
    node = await away()
    cookie = await node.log_in(token)
    for headers, status in (({}, 401), ({"Origin": "https://evil.example"}, 403)):
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await node.session.ws_connect(node.url + "/ws", headers={"Cookie": cookie, **headers})
        assert caught.value.status == status
    async with node.session.ws_connect(node.url + "/ws", headers={"Cookie": cookie, "Origin": node.url}) as socket:
        await socket.send_str('{"jsonrpc":"2.0","id":1,"method":"admin_listTokens"}')
        assert (await socket.receive_json(timeout=10))["error"]["data"]["reason"] == "role_insufficient"


async def test_an_authorization_goes_before_a_cookie(away) -> None:
    node = await away()
    cookie = await node.log_in(an_auditor(node))
    status, text, _ = await node.ask("GET", "/members", {"Cookie": cookie, "Authorization": "Bearer wrong"})
    assert (status, "wrong_token" in text) == (401, True)


async def test_a_form_is_small_and_a_form(away) -> None:
    node = await away()
    assert (await node.ask("POST", "/login", data={"token": "x" * 5_000}))[0] == 413
    assert (await node.ask("POST", "/login", JSON, data=b"{}"))[0] == 415


async def test_on_loopback_without_tls_there_is_no_log_in(client) -> None:
    assert (await client.get("/login"))[0] == 404


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("/payments?a=1", "/payments?a=1"),
        ("//evil.example", "/"),
        ("https://evil.example", "/"),
        ("/\\evil.example", "/"),
        ("", "/"),
        ("/a\r\nSet-Cookie: b", "/"),
    ],
)
def test_a_log_in_goes_on_to_a_page_of_this_node_alone(given: str, path: str) -> None:
    assert _own_path(given) == path


def test_sessions_end_by_themselves_and_are_bounded() -> None:
    sessions, rights = Sessions(), Rights("token x", Role.OPERATOR)
    cookie, granted = sessions.begin(rights, 100.0)
    assert granted.role is Role.AUDITOR
    assert sessions.find(cookie, 100.0 + SESSION_S - 1) is granted
    assert sessions.find(cookie, 100.0 + SESSION_S) is None
    assert sessions.find("x" * 1_000, 100.0) is None
    for _ in range(SESSIONS_MAX + 5):
        last, _ = sessions.begin(rights, 200.0 + SESSION_S)
    assert len(rights.watchers) == SESSIONS_MAX
    assert sessions.find(last, 200.0 + SESSION_S) is not None
    short = Rights("token y", Role.REGULATOR, ends_s=150.0)
    assert sessions.begin(short, 100.0)[1].ends_s == 150.0


async def test_guesses_of_tokens_count_against_the_rate_of_their_address(away) -> None:
    node = await away(requests_per_second_max=3)
    for ask in (
        lambda: node.ask("POST", "/", JSON | {"Authorization": "Bearer guessed"}, data=READ),
        lambda: node.ask("POST", "/login", data={"token": "guessed"}),
    ):
        statuses = [(await ask())[0] for _ in range(20)]
        assert (set(statuses), statuses[-1]) == ({401, 429}, 429)
        await asyncio.sleep(1.1)


async def test_browsers_name_the_page_that_a_form_came_from(away) -> None:
    node = await away()
    _, _, headers = await node.ask("GET", "/login", HTML)
    assert headers["Referrer-Policy"] == "same-origin", "with `no-referrer` they say `Origin: null` (Fetch, 3.2)"
    for origin, status in ((node.url, 303), ("null", 403), ("https://elsewhere.example", 403)):
        token = an_auditor(node, f"desk-{status}-{len(origin)}")
        got, _, _ = await node.ask("POST", "/login", {"Origin": origin}, data={"token": token})
        assert got == status, origin
