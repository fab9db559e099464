"""What bad callers get of a running node with TLS, from outside: each is refused by name, on both ways in.

One process: a node of four that runs alone, which is enough to answer. It is on loopback, where reading is open.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from tests.e2e.governance_fixtures import run
from tests.e2e.network_fixtures import Json, Network, until

pytestmark = pytest.mark.e2e

NODE = "bank-a"
READ = b'{"jsonrpc":"2.0","id":7,"method":"net_status"}'
TOKENS = b'{"jsonrpc":"2.0","id":7,"method":"admin_listTokens"}'
BATCH = b'{"jsonrpc":"2.0","id":7,"method":"ledger_submitBatch","params":["AAAA"]}'
WAYS = {"quick": {}, "long": {"X-Odd": "1"}}
SLOW_HEADERS_S = 10
PATIENCE_S = 30


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def reason(self) -> str:
        found: Json = json.loads(self.body)
        return str(found.get("error", {}).get("data", {}).get("reason", ""))


@dataclass
class World:
    net: Network
    tokens: dict[str, str] = field(default_factory=dict)
    slow: socket.socket | None = None

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.net.node(NODE).rpc)
        return str(parts.hostname), int(parts.port or 0)

    def link(self, certificate: Path | None = None) -> ssl.SSLSocket:
        context = ssl.create_default_context(cafile=str(self.net.home(NODE).ca_certificate))
        if certificate is not None:
            context.load_cert_chain(certificate.with_suffix(".crt"), certificate.with_suffix(".key"))
        plain = socket.create_connection(self.address, timeout=PATIENCE_S)
        return context.wrap_socket(plain, server_hostname=self.address[0])

    def ask(
        self,
        verb: str,
        target: str,
        headers: dict[str, str] | None = None,
        body: bytes = b"",
        *,
        certificate: Path | None = None,
        length: int | None = None,
    ) -> Answer:
        """Send a request to the byte as it is given, and return the answer."""
        given = {"Host": f"{self.address[0]}:{self.address[1]}", **(headers or {})}
        if body or length is not None:
            given |= {"Content-Type": given.get("Content-Type", "application/json")}
            given["Content-Length"] = str(len(body) if length is None else length)
        head = f"{verb} {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in given.items())
        with self.link(certificate) as link:
            link.sendall(head.encode() + b"\r\n" + body)
            return read_answer(link)

    def post(self, body: bytes, token: str = "", way: str = "quick", **headers: str) -> Answer:
        if token:
            headers["Authorization"] = f"Bearer {token}"
        return self.ask("POST", "/", {**headers, **WAYS[way]}, body)

    def websocket(self, token: str = "", **headers: str) -> tuple[ssl.SSLSocket, Answer]:
        given = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
        given |= {"Host": f"{self.address[0]}:{self.address[1]}", **headers}
        given["Sec-WebSocket-Key"] = base64.b64encode(os.urandom(16)).decode()
        if token:
            given["Authorization"] = f"Bearer {token}"
        link = self.link()
        lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
        link.sendall(f"GET /ws HTTP/1.1\r\n{lines}\r\n".encode())
        return link, read_answer(link)


def read_answer(link: ssl.SSLSocket) -> Answer:
    data = b""
    while b"\r\n\r\n" not in data:
        part = link.recv(65_536)
        if not part:
            break
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    while len(body) < int(headers.get("content-length", "0")):
        part = link.recv(65_536)
        if not part:
            break
        body += part
    return Answer(int(lines[0].split()[1]), headers, body)


def close_code(link: ssl.SSLSocket) -> int:
    """Return the code of the close frame that comes next."""
    data = b""
    while len(data) < 4:
        data += link.recv(4 - len(data)) or b"\0" * 4
    assert data[0] == 0x88, data
    return int(struct.unpack("!H", data[2:4])[0])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(Network(tmp_path_factory.mktemp("refusals")))
    home = made.net.home(NODE)
    settings = {
        "rpc.tls_certificate_file": "keys/tls.crt",
        "rpc.tls_key_file": "keys/tls.key",
        "rpc.client_certificates": "optional",
        "rpc.requests_per_second_of_roles": ["regulator=2"],
    }
    made.net.set(NODE, settings)
    before = os.environ.get("SSL_CERT_FILE")
    os.environ["SSL_CERT_FILE"] = str(home.ca_certificate)
    try:
        made.net.spawn(NODE)
        until(lambda: made.post(READ).status == 200)
        made.slow = made.link()
        made.slow.sendall(b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        made.tokens["operator"] = made.net.token(NODE)
        for name, role, expires in (
            ("auditor", "auditor", "1h"),
            ("officer", "officer", "1h"),
            ("regulator", "regulator", "1h"),
            ("revoked", "submitter", "1h"),
            ("expired", "submitter", "1s"),
        ):
            row = run(home.root, "token", "create", name, "--role", role, "--expires", expires)
            made.tokens[name] = str(row["token"])
        # Both heads are remembered before the rights end.
        for name in ("revoked", "expired"):
            made.post(READ, made.tokens[name])
        run(home.root, "token", "revoke", "revoked")
        time.sleep(1.0)
        yield made
    finally:
        if before is None:
            os.environ.pop("SSL_CERT_FILE")
        else:
            os.environ["SSL_CERT_FILE"] = before
        if made.slow is not None:
            made.slow.close()
        made.net.close()


@pytest.mark.parametrize("way", WAYS)
def test_tokens_that_have_ended_or_do_not_suffice_are_refused_by_name_on_both_ways(world: World, way: str) -> None:
    tokens = world.tokens
    for token, body, status, reason in (
        (tokens["revoked"], READ, 401, "token_revoked"),
        (tokens["expired"], READ, 401, "token_expired"),
        ("cn_" + "0" * 64, READ, 401, "wrong_token"),
        (tokens["auditor"], BATCH, 403, "role_insufficient"),
        (tokens["officer"], BATCH, 403, "role_insufficient"),
        (tokens["officer"], TOKENS, 403, "role_insufficient"),
        (tokens["auditor"], READ, 200, ""),
        (tokens["operator"], TOKENS, 200, ""),
    ):
        answer = world.post(body, token, way)
        assert (answer.status, answer.reason) == (status, reason), (token[:8], body)
        assert token.encode() not in answer.body


@pytest.mark.parametrize("way", WAYS)
def test_who_calls_above_the_rate_of_its_role_is_told_when_to_come_back(world: World, way: str) -> None:
    answers = [world.post(READ, world.tokens["regulator"], way) for _ in range(6)]
    refused = [answer for answer in answers if answer.status == 429]
    assert refused
    assert all(answer.reason == "rate_limited" and int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert world.post(READ, world.tokens["auditor"], way).status == 200


def test_foreign_names_and_pages_are_refused_by_name(world: World) -> None:
    own = f"https://{world.address[0]}:{world.address[1]}"
    for headers, reason in (
        ({"Host": "evil.example"}, "foreign_host"),
        ({"Host": "127.0.0.1.evil.example"}, "foreign_host"),
        ({"Origin": "https://evil.example"}, "foreign_origin"),
        ({"Origin": "null"}, "foreign_origin"),
        ({"Origin": own.replace("https", "http")}, "foreign_origin"),
        ({"Sec-Fetch-Site": "cross-site"}, "foreign_origin"),
    ):
        for body in (READ, BATCH):
            answer = world.ask("POST", "/", {"Authorization": f"Bearer {world.tokens['operator']}", **headers}, body)
            assert (answer.status, answer.reason) == (403, reason), headers
        link, answer = world.websocket(**headers)
        link.close()
        assert (answer.status, answer.reason) == (403, reason), headers
    assert world.ask("POST", "/", {"Origin": own}, READ).status == 200
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert world.ask("POST", "/", form, READ).reason == "wrong_content_type"


@pytest.mark.parametrize(
    "path",
    [
        "/tile/../keys/token",
        "/tile/%2e%2e/%2e%2e/keys/token",
        "/tile/%252e%252e/keys/token",
        "/tile/..%5c..%5ckeys%5ctoken",
        "/tile/..\\..\\keys\\token",
        "/tile/entries/%2e%2e/000",
        "/tile/0/x000/000",
        "/tile/0//000",
        "/static/%2e%2e/%2e%2e/server.py",
        "/static/%252e%252e%252fserver.py",
        "/static/..%5c..%5cserver.py",
        "/static/..\\..\\server.py",
        "/static//etc/passwd",
        "/static/%00",
        "/events/..%2f..%2fkeys%2ftoken",
        "/checkpoints/..%2f..%2fkeys%2ftoken",
        "/handovers/..%2f0",
    ],
)
def test_no_path_leads_anywhere_else(world: World, path: str) -> None:
    answer = world.ask("GET", path, {"Accept": "application/json"})
    assert answer.status in (400, 404)
    if answer.headers["content-type"].startswith("application/json"):  # a page's path is refused by a page
        assert answer.reason in ("bad_tile_path", "not_found", "no_such_path", "bad_receipt_path", "bad_epoch")
    for secret in (world.tokens["operator"].encode(), b"root:", b"def "):
        assert secret not in answer.body


def test_what_is_too_large_is_refused_by_name_before_it_has_come(world: World) -> None:
    for length, token in ((9 << 20, world.tokens["operator"]), (2 << 20, world.tokens["auditor"]), (2 << 20, "")):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = world.ask("POST", "/", headers, length=length)
        assert (answer.status, answer.reason) == (413, "body_too_large")
    assert world.ask("GET", "/", {"X-Long": "x" * 70_000}).status in (400, 431)
    link, answer = world.websocket()
    with link:
        assert answer.status == 101
        link.sendall(b"\x81\xff" + struct.pack("!Q", 64 << 20) + b"mask")  # the head of a frame of 64 MiB
        assert close_code(link) == 1009


def test_html_in_whatever_is_sent_is_never_run(world: World) -> None:
    evil = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'"
    for path in (f"/search?q={quote(evil)}", f"/certificate/{quote(evil, safe='')}", f"/member/{quote(evil, safe='')}"):
        answer = world.ask("GET", path, {"Accept": "text/html", "User-Agent": evil, "Cookie": f"theme={quote(evil)}"})
        assert b"<script>alert" not in answer.body
        assert b"<img src=x" not in answer.body
        policy = answer.headers["content-security-policy"]
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
    answer = world.ask(
        "POST", "/login", {"Content-Type": "application/x-www-form-urlencoded"}, b"token=" + evil.encode()
    )
    assert (answer.status, b"<script>alert" in answer.body) == (401, False)
    body = json.dumps({"jsonrpc": "2.0", "id": evil, "method": evil}).encode()
    answer = world.post(body)
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_log_in_reads_and_its_cookie_submits_nothing(world: World) -> None:
    own = f"https://{world.address[0]}:{world.address[1]}"
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    body = f"token={world.tokens['operator']}".encode()
    assert world.ask("POST", "/login", form | {"Origin": "https://evil.example"}, body).status == 403
    assert world.ask("POST", "/login", form, f"token={world.tokens['revoked']}".encode()).status == 401
    answer = world.ask("POST", "/login", form | {"Origin": own}, body)
    assert answer.status == 303
    said = answer.headers["set-cookie"]
    assert all(part in said for part in ("__Host-", "Secure", "HttpOnly", "SameSite=Strict"))
    cookie = {"Cookie": said.partition(";")[0]}
    assert world.ask("GET", "/members", cookie).status == 200
    for sent in (BATCH, TOKENS):
        refused = world.ask("POST", "/", cookie | {"Origin": own}, sent)
        assert (refused.status, refused.reason) == (403, "role_insufficient")
        assert world.ask("POST", "/", cookie, sent).reason == "token_required"


def test_client_certificates_count_as_the_chain_says(world: World, tmp_path: Path) -> None:
    homes = {name: world.net.home(name).root for name in ("bank-a", "bank-b")}
    for name, role in (("bank-a", "operator"), ("bank-a", "regulator"), ("bank-b", "auditor"), ("bank-b", "operator")):
        out = ("--out", str(tmp_path))
        run(homes[name], "keys", "client-certificate", f"{name}-{role}", "--role", role, "--days", "1", *out)
    assert world.ask("POST", "/", {}, TOKENS, certificate=tmp_path / "bank-a-operator").status == 200
    answer = world.ask("POST", "/", {}, TOKENS, certificate=tmp_path / "bank-b-auditor")
    assert (answer.status, answer.reason) == (403, "role_insufficient")
    refused = [tmp_path / "bank-b-operator", tmp_path / "bank-a-regulator", homes["bank-b"] / "keys" / "tls"]
    for certificate in refused:
        answer = world.ask("POST", "/", {}, READ, certificate=certificate)
        assert (answer.status, answer.reason) == (401, "certificate_refused"), certificate
    stranger(tmp_path)
    with pytest.raises((ssl.SSLError, ConnectionError, IndexError, ValueError)):
        world.ask("POST", "/", {}, READ, certificate=tmp_path / "stranger")


def stranger(folder: Path) -> None:
    """Write a client certificate of a CA that no member has."""
    from p2p.certificates import certificate_pem, issue_client_certificate, make_member_ca, private_key_pem

    now_ms = int(time.time() * 1_000)
    ca_key, ca = make_member_ca("bank-a", now_ms)
    key, made = issue_client_certificate(
        ca_key, ca, name="x", member="bank-a", role="operator", chain_id=b"c" * 32, now_ms=now_ms, days=1
    )
    (folder / "stranger.key").write_bytes(private_key_pem(key))
    (folder / "stranger.crt").write_text(certificate_pem(made))


def test_an_open_websocket_is_closed_when_its_token_is_revoked(world: World) -> None:
    home = world.net.home(NODE).root
    token = str(run(home, "token", "create", "caller", "--role", "auditor")["token"])
    link, answer = world.websocket(token)
    with link:
        assert answer.status == 101
        run(home, "token", "revoke", "caller")
        assert close_code(link) == 1008


def test_what_was_refused_and_done_is_recorded_and_whole(world: World) -> None:
    home = world.net.home(NODE)
    world.post(BATCH, world.tokens["auditor"])

    def told() -> list[Json]:
        rows: list[Json] = run(home.root, "audit-log", "show", "--last", "1000")["calls"]
        return rows if any(row["outcome"] == "role_insufficient" for row in rows) else []

    rows = until(told)
    found = {(row["who"], row["method"], row["outcome"]) for row in rows}
    assert ("token auditor", "ledger_submitBatch", "role_insufficient") in found
    assert ("the node's own token", "admin_revokeToken", "ok") in found
    assert run(home.root, "audit-log", "verify")["verified"] is True
    text = home.audit_log.read_text() + home.log.read_text()
    assert [name for name, token in world.tokens.items() if token in text] == []


def test_whoever_sends_headers_too_slowly_is_cut_off(world: World) -> None:
    assert world.slow is not None
    world.slow.settimeout(SLOW_HEADERS_S + PATIENCE_S)
    try:
        answer = world.slow.recv(4_096)
    except ConnectionError:
        answer = b""
    assert not answer.startswith(b"HTTP/1.1 200")
