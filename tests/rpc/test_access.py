"""Who may knock: hosts, origins, content types and tokens, over a real listener; the rate, as arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

import aiohttp
import pytest

from rpc.access import CLIENTS_MAX, Door, RateLimit, host_name, token_hash
from rpc.errors import RpcError
from rpc.methods.catalogue import METHODS
from rpc.server import RpcServer, RpcSettings
from tests.rpc.tls_fixtures import self_signed

READ = b'{"jsonrpc":"2.0","id":7,"method":"net_status"}'
SUBMIT = b'{"jsonrpc":"2.0","id":7,"method":"ledger_submitBatch","params":["AAAA"]}'


@dataclass
class Knock:
    """Headers of one request, its HTTP status, and the reason of its refusal (None: it is answered)."""

    name: str
    headers: dict[str, str]
    status: int
    reason: str | None = None
    got: str | None = None
    body: bytes = READ


CSRF = [
    Knock("a program without origin", {}, 200),
    Knock("a form", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "wrong_content_type"),
    Knock("an upload", {"Content-Type": "multipart/form-data; boundary=x"}, 415, "wrong_content_type"),
    Knock("text without origin", {"Content-Type": "text/plain"}, 415, "wrong_content_type"),
    Knock("text of a page", {"Content-Type": "text/plain", "Origin": "https://evil.example"}, 403, "foreign_origin"),
    Knock("a page elsewhere", {"Origin": "https://evil.example"}, 403, "foreign_origin", "https://evil.example"),
    Knock("a sandboxed page", {"Origin": "null"}, 403, "foreign_origin", "null"),
    Knock("another port of this machine", {"Origin": "http://127.0.0.1:1"}, 403, "foreign_origin", "127.0.0.1:1"),
    Knock("an allowed name as a prefix", {"Origin": "https://desk.bank-a.example.evil.example"}, 403, "foreign_origin"),
    Knock("the allowed page without TLS", {"Origin": "http://desk.bank-a.example"}, 403, "foreign_origin"),
    Knock("an image of a page elsewhere", {"Sec-Fetch-Site": "cross-site"}, 403, "foreign_origin", "cross-site"),
    Knock("a page of a sister site", {"Sec-Fetch-Site": "same-site"}, 403, "foreign_origin", "same-site"),
    Knock("an address typed by a person", {"Sec-Fetch-Site": "none"}, 200),
    Knock("the allowed page", {"Origin": "https://desk.bank-a.example"}, 200),
    Knock("a rebound name", {"Host": "evil.example"}, 403, "foreign_host", "evil.example"),
    Knock("a rebound name with a port", {"Host": "evil.example:7401"}, 403, "foreign_host", "evil.example:7401"),
    Knock(
        "a rebound name and its own page",
        {"Host": "evil.example", "Origin": "http://evil.example"},
        403,
        "foreign_host",
    ),
    Knock("a name that ends in ours", {"Host": "notlocalhost"}, 403, "foreign_host"),
    Knock("a name in a user part", {"Host": "localhost@evil.example"}, 403, "foreign_host"),
    Knock("another address", {"Host": "10.0.0.1"}, 403, "foreign_host"),
    Knock("no name", {"Host": ""}, 403, "foreign_host"),
    Knock("a bad port", {"Host": "localhost:port"}, 403, "foreign_host"),
    Knock("this machine by name", {"Host": "localhost:7401"}, 200),
    Knock("this machine in capitals", {"Host": "LOCALHOST"}, 200),
    Knock("this machine by IPv6", {"Host": "[::1]:7401"}, 200),
    Knock("the operator's name for it", {"Host": "node.bank-a.example"}, 200),
]

TOKENS = [
    Knock("reading without", {}, 200),
    Knock("reading with the right one", {"Authorization": "Bearer a-token-of-this-test"}, 200),
    Knock("reading with a wrong one", {"Authorization": "Bearer wrong"}, 401, "wrong_token"),
    Knock("a part of it", {"Authorization": "Bearer a-token-of-this-tes"}, 401, "wrong_token"),
    Knock("one letter more", {"Authorization": "Bearer a-token-of-this-testx"}, 401, "wrong_token"),
    Knock("another scheme", {"Authorization": "Basic YTpi"}, 401, "bad_authorization"),
    Knock("a scheme alone", {"Authorization": "Bearer"}, 401, "bad_authorization"),
    Knock("a scheme and spaces", {"Authorization": "Bearer   "}, 401, "bad_authorization"),
    Knock("nothing but the token", {"Authorization": "a-token-of-this-test"}, 401, "bad_authorization"),
    Knock("a long one", {"Authorization": "Bearer " + "t" * 4_000}, 401, "wrong_token"),
    Knock("letters beyond ASCII", {"Authorization": "Bearer tökén"}, 401, "wrong_token"),
    Knock("submitting without", {}, 200, "token_required", body=SUBMIT),
    Knock("submitting with a wrong one", {"Authorization": "Bearer wrong"}, 401, "wrong_token", body=SUBMIT),
    Knock(
        "submitting with the right one",
        {"Authorization": "Bearer a-token-of-this-test"},
        200,
        "bad_encoding",
        body=SUBMIT,
    ),
]


@pytest.mark.parametrize("knock", [*CSRF, *TOKENS], ids=lambda knock: knock.name)
async def test_only_those_who_may_are_answered(client, knock: Knock) -> None:
    status, answer, headers = await client.post(knock.body, headers=knock.headers)
    assert status == knock.status
    if knock.reason is None:
        assert answer["result"]["node"] == "node-bank-a"
    else:
        data = answer["error"]["data"]
        assert data["reason"] == knock.reason
        if knock.got is not None:
            assert knock.got in data["got"]
            assert "expected" in answer["error"]["message"]
    assert ("WWW-Authenticate" in headers) is (status == 401)
    assert "a-token-of-this-test" not in str(answer)
    assert (await client.call("net_status"))["height"] == 0


async def test_a_page_learns_of_an_allowed_origin_only(client) -> None:
    _, _, allowed = await client.post(READ, headers={"Origin": "https://desk.bank-a.example"})
    assert allowed["Access-Control-Allow-Origin"] == "https://desk.bank-a.example"
    assert allowed["Vary"] == "Origin"
    for headers in ({"Origin": "https://evil.example"}, {}):
        _, _, refused = await client.post(READ, headers=headers)
        assert not [name for name in refused if name.startswith("Access-Control")]


async def test_a_page_of_the_node_itself_may_call(client) -> None:
    origin = client.url
    status, _, headers = await client.post(READ, headers={"Origin": origin})
    assert (status, "Access-Control-Allow-Origin" in headers) == (200, False)


@pytest.mark.parametrize(("origin", "status"), [("https://desk.bank-a.example", 204), ("https://evil.example", 403)])
async def test_a_preflight_is_answered_for_allowed_origins(client, origin: str, status: int) -> None:
    async with client.session.options(client.url, headers={"Origin": origin}) as response:
        assert response.status == status
        assert ("Access-Control-Allow-Headers" in response.headers) is (status == 204)


@pytest.mark.parametrize("path", ["/checkpoint", "/tile/0/000", "/policy", "/openrpc.json", "/nothing"])
async def test_plain_get_has_the_same_door(client, path: str) -> None:
    for headers in ({"Host": "evil.example"}, {"Origin": "https://evil.example"}, {"Authorization": "Bearer wrong"}):
        status, _, _ = await client.get(path, headers)
        assert status in (401, 403)


@pytest.mark.parametrize("verb", ["PUT", "DELETE", "PATCH", "TRACE"])
async def test_other_http_methods_are_named_and_refused(client, verb: str) -> None:
    async with client.session.request(verb, client.url) as response:
        assert response.status == 405
        data = (await response.json())["error"]["data"]
        assert (data["reason"], data["expected"], data["got"]) == (
            "method_not_allowed",
            "GET or HEAD or OPTIONS or POST",
            verb,
        )


async def test_every_answer_has_its_security_headers_and_trace_id(client) -> None:
    for headers in ({}, {"Host": "evil.example"}, {"Content-Type": "text/plain"}):
        _, _, answered = await client.post(READ, headers=headers)
        assert answered["X-Content-Type-Options"] == "nosniff"
        assert answered["X-Frame-Options"] == "DENY"
        assert answered["Server"] == "chainnode"
        assert len(answered["X-Trace-Id"]) == 32


async def test_a_callers_own_trace_id_is_kept(client) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    _, _, headers = await client.post(READ, headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"})
    assert headers["X-Trace-Id"] == trace
    for made_up in ("x" * 55, f"00-{'0' * 32}-00f067aa0ba902b7-01", f"00-{trace}\t"):
        _, _, headers = await client.post(READ, headers={"traceparent": made_up})
        assert headers["X-Trace-Id"] != trace


async def test_off_loopback_everything_needs_tls_and_a_token(tmp_path, services, token: str) -> None:
    served, trusting = self_signed(tmp_path)
    settings = RpcSettings(port=0, on_loopback=False, tls=served, token_hashes=(token_hash(token),))
    server = RpcServer(settings, services, METHODS)
    await server.start()
    try:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting)) as session:
            headers = {"Content-Type": "application/json"}
            async with session.post(server.address, data=READ, headers=headers) as response:
                assert response.status == 401
                assert (await response.json())["error"]["data"]["reason"] == "token_required"
            async with session.get(f"{server.address}/checkpoint") as response:
                assert response.status == 401
            headers["Authorization"] = f"Bearer {token}"
            async with session.post(server.address, data=READ, headers=headers) as response:
                assert (await response.json())["result"]["node"] == "node-bank-a"
    finally:
        await server.stop()


def test_a_listener_off_loopback_without_tls_is_our_own_mistake(services) -> None:
    with pytest.raises(AssertionError, match="TLS"):
        RpcServer(RpcSettings(on_loopback=False), services, METHODS)


def test_without_a_token_nobody_submits() -> None:
    door = Door(hosts=(), origins=(), token_hashes=(), on_loopback=True, scheme="http")
    assert not door.rights_of([], 0.0).may_submit
    with pytest.raises(RpcError, match="not known"):
        door.rights_of(["Bearer x"], 0.0)


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("localhost", "localhost"),
        ("LocalHost:7401", "localhost"),
        ("[::1]:80", "::1"),
        ("a/b", None),
        ("a?b", None),
        ("a@b", None),
        ("", None),
        (":80", None),
        ("[::1", None),
        ("a:99999", None),
    ],
)
def test_a_host_header_is_a_name_and_maybe_a_port(host: str, name: str | None) -> None:
    assert host_name(host) == name


def test_a_client_above_its_rate_is_told_when_to_come_back() -> None:
    rate = RateLimit(10)
    rate.take("a", 10, 0)
    with pytest.raises(RpcError) as caught:
        rate.take("a", 1, 0)
    assert (caught.value.reason, caught.value.retryable, caught.value.retry_after_ms) == (
        "rate_limited",
        True,
        100,
    )
    rate.take("b", 10, 0)
    with pytest.raises(RpcError):
        rate.take("a", 1, 99)
    rate.take("a", 1, 100)


def test_a_batch_larger_than_the_bucket_passes_when_it_is_full_and_leaves_a_debt() -> None:
    rate = RateLimit(10)
    rate.take("a", 100, 0)
    with pytest.raises(RpcError) as caught:
        rate.take("a", 1, 0)
    assert caught.value.retry_after_ms == 9_100
    rate.take("a", 1, 9_100)


def test_the_table_of_clients_is_bounded() -> None:
    rate = RateLimit(1)
    for client in range(CLIENTS_MAX + 10):
        rate.take(str(client), 1, 0)
    assert len(rate._buckets) == CLIENTS_MAX


def test_settings_show_no_secret() -> None:
    assert token_hash("t").hex() not in repr(RpcSettings(token_hashes=(token_hash("t"),)))
