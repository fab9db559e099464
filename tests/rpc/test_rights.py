"""Roles and tokens over a real listener: what each may do, and how rights end on both ways in and on what is open."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from chainnode.tokens import TOKENS_MAX, TokenBook
from primitives.errors import InputError, UsageError
from rpc.access import token_hash
from rpc.errors import RpcError
from rpc.explorer.statics import DIRECTORY
from rpc.methods.catalogue import METHODS
from rpc.ports import Privileged, Services
from rpc.rights import MAY, PUBLIC_PATHS, TILE_PATH, Access, Rights, Role, access_of
from rpc.server import RpcServer
from tests.rpc.test_quick_http import request, took_the_quick_way, wire

READ = b'{"jsonrpc":"2.0","id":7,"method":"net_status"}'
PUBLIC_METHODS = {
    "cert_get",
    "cert_getMark",
    "cert_getInspection",
    "cert_inspectionCandidates",
    "cert_inspections",
    "cert_getStatus",
    "cert_history",
    "cert_historyProof",
    "cert_list",
    "gov_getAccreditationProof",
    "gov_getPolicy",
    "gov_listAccreditations",
    "ledger_getCapabilities",
    "ledger_getCheckpoint",
    "ledger_getCheckpoints",
    "ledger_getConsistency",
    "rpc.discover",
}


def clock() -> int:
    return int(time.time() * 1_000)


@pytest.fixture
def book(tmp_path: Path) -> TokenBook:
    return TokenBook(tmp_path / "tokens.json", clock)


@pytest.fixture
def services(services: Services, book: TokenBook) -> Services:
    return replace(services, tokens=book)


def made(book: TokenBook, role: Role, valid_ms: int | None = None) -> str:
    return book.create(f"the-{role}", role, member="", valid_ms=valid_ms).token


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def call(method: str, params: object = ()) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}).encode()


BROUGHT: dict[str, tuple[bytes, str]] = {
    # A call of each access, and the reason of its refusal where the role suffices: nothing is changed.
    "read": (READ, ""),
    "govern": (call("ledger_submit", {"events": [{"kind": "governance.vote", "body": {}}]}), "bad_record"),
    "submit": (call("ledger_submitBatch", ["AAAA"]), "bad_encoding"),
    "operate": (call("admin_revokeToken", ["nobody"]), "usage"),
}


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.PUBLIC])
async def test_each_role_may_do_what_its_row_says_and_nothing_else(client, book, role: Role) -> None:
    token = made(book, role)
    for access, (body, otherwise) in BROUGHT.items():
        status, answer, _ = await client.post(body, headers=bearer(token))
        reason = answer.get("error", {}).get("data", {}).get("reason", "")
        if Access(access) in MAY[role]:
            assert (status, reason != "role_insufficient") == (200, True)
            assert bool(reason) is bool(otherwise), (access, reason)
        else:
            assert (status, answer["error"]["code"], reason) == (403, -32004, "role_insufficient")
            data = answer["error"]["data"]
            assert ("operator" in data["expected"], data["got"], "token create" in data["hint"]) == (True, role, True)


async def test_an_officer_brings_governance_and_nothing_else(client, book) -> None:
    token = made(book, Role.OFFICER)
    events = [{"kind": "governance.vote", "body": {}}, {"kind": "payment.statement", "body": {}}]
    status, answer, _ = await client.post(call("ledger_submit", {"events": events}), headers=bearer(token))
    assert (status, answer["error"]["data"]["reason"]) == (403, "role_insufficient")


async def test_an_officer_brings_no_message_of_a_bank(client, book) -> None:
    token = made(book, Role.OFFICER)
    for more in ({}, {"events": []}, {"events": [{"kind": "governance.vote", "body": {}}]}):
        body = call("ledger_submit", {"payload": "<Document/>", **more})
        status, answer, _ = await client.post(body, headers=bearer(token))
        assert (status, answer["error"]["data"]["reason"]) in ((403, "role_insufficient"), (200, "invalid_params"))
    status, answer, _ = await client.post(call("ledger_submit", {}), headers=bearer(token))
    assert (status, answer["error"]["data"]["reason"]) == (403, "role_insufficient")


async def test_a_role_that_does_not_suffice_for_one_call_of_a_batch_leaves_the_others(client, book) -> None:
    body = b"[" + READ + b"," + call("admin_listTokens") + b"]"
    status, answer, _ = await client.post(body, headers=bearer(made(book, Role.AUDITOR)))
    assert (status, answer[0]["result"]["height"]) == (200, 0)
    assert answer[1]["error"]["data"]["reason"] == "role_insufficient"


async def test_a_token_that_was_revoked_or_has_expired_is_refused_by_name(client, book) -> None:
    revoked, expired = made(book, Role.AUDITOR), made(book, Role.SUBMITTER, valid_ms=1)
    book.revoke("the-auditor")
    for token, reason in ((revoked, "token_revoked"), (expired, "token_expired")):
        status, answer, headers = await client.post(READ, headers=bearer(token))
        assert (status, answer["error"]["code"]) == (401, -32004)
        assert answer["error"]["data"]["reason"] == reason
        assert "WWW-Authenticate" in headers
        assert token not in str(answer)


async def test_a_remembered_head_is_forgotten_when_its_token_ends(server, book) -> None:
    token = made(book, Role.AUDITOR)
    asked = request(more=f"Authorization: Bearer {token}\r\n")
    async with wire(server) as first, wire(server) as second:
        assert (await first.ask(asked)).json["id"] == 7
        assert took_the_quick_way(server)
        book.revoke("the-auditor")
        for connection in (first, second):
            answer = await connection.ask(asked)
            assert (answer.status, answer.json["error"]["data"]["reason"]) == (401, "token_revoked")


async def test_a_remembered_head_is_forgotten_when_its_token_expires(server, book) -> None:
    token = made(book, Role.AUDITOR, valid_ms=60_000)
    asked = request(more=f"Authorization: Bearer {token}\r\n")
    async with wire(server) as connection:
        assert (await connection.ask(asked)).json["id"] == 7
        rights = book.find(token_hash(token))
        assert rights is not None
        rights.ends_s = time.time()
        answer = await connection.ask(asked)
        assert (answer.status, answer.json["error"]["data"]["reason"]) == (401, "token_expired")


@pytest.mark.parametrize("how", ["revoked", "expired"])
async def test_a_websocket_closes_when_its_rights_end(server, book, how: str) -> None:
    token = made(book, Role.AUDITOR, valid_ms=300 if how == "expired" else None)
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(server.address + "/ws", headers=bearer(token)) as socket,
    ):
        await socket.send_str(READ.decode())
        assert (await socket.receive_json(timeout=10))["id"] == 7
        if how == "revoked":
            book.revoke("the-auditor")
        message = await socket.receive(timeout=10)
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1008)
        assert message.extra.startswith("rights_ended")


async def test_a_websocket_closes_when_its_rights_end_though_the_timer_came_early(server, book) -> None:
    token = made(book, Role.AUDITOR, valid_ms=200)
    rights = book.find(token_hash(token))
    assert rights is not None
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(server.address + "/ws", headers=bearer(token)) as socket,
    ):
        rights.ends_s += 0.3  # as timers are by a millisecond, and clocks that were set by more
        message = await socket.receive(timeout=10)
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1008)
        assert rights.ends_s <= time.time()


async def test_operators_make_list_and_revoke_tokens(client, token) -> None:
    headers = bearer(token)
    _, answer, _ = await client.post(call("admin_createToken", ["desk", "auditor"]), headers=headers)
    secret = answer["result"]["token"]
    assert (await client.post(READ, headers=bearer(secret)))[0] == 200
    _, listed, _ = await client.post(call("admin_listTokens"), headers=headers)
    (row,) = listed["result"]["tokens"]
    assert (row["name"], row["role"], row["state"], row["last_used"] is None) == ("desk", "auditor", "valid", False)
    assert secret not in str(listed)
    _, answer, _ = await client.post(call("admin_createToken", ["desk", "auditor"]), headers=headers)
    assert "taken" in answer["error"]["message"]
    _, answer, _ = await client.post(call("admin_revokeToken", ["desk"]), headers=headers)
    assert answer["result"]["described"]["state"] == "revoked"
    assert (await client.post(READ, headers=bearer(secret)))[0] == 401


async def test_a_clients_rate_is_that_of_its_token_and_role_wherever_it_calls_from(settings, services, book) -> None:
    limited = replace(settings, requests_per_second_of_roles={"auditor": 2})
    server = RpcServer(limited, services, METHODS)
    await server.start()
    try:
        auditor, submitter = made(book, Role.AUDITOR), made(book, Role.SUBMITTER)
        headers = {"Content-Type": "application/json"}
        async with aiohttp.ClientSession() as session:
            answers: list[tuple[int, str | None, Any]] = []
            for _ in range(3):
                async with session.post(server.address, data=READ, headers=headers | bearer(auditor)) as response:
                    answers.append((response.status, response.headers.get("Retry-After"), await response.json()))
            async with session.post(server.address, data=READ, headers=headers | bearer(submitter)) as response:
                assert response.status == 200
        assert [status for status, _, _ in answers] == [200, 200, 429]
        data = answers[2][2]["error"]["data"]
        assert (data["reason"], data["retry_after_ms"] > 0, answers[2][1]) == ("rate_limited", True, "1")
    finally:
        await server.stop()


def test_what_is_public_is_a_short_list() -> None:
    assert {name for name, item in METHODS.items() if item.access is Access.PUBLIC} == PUBLIC_METHODS
    assert [access_of(TILE_PATH, tile) for tile in ("0/000", "entries/000", "")] == [
        Access.PUBLIC,
        Access.READ,
        Access.READ,
    ]
    for path in ("", "/", "/payments", "/event/{id}", "/search", "/members", "/events/{name}", "/ws", "/blocks"):
        assert access_of(path) is Access.READ


def test_scripts_that_run_on_every_page_call_what_is_public() -> None:
    called = {
        (file.name, name)
        for file in (DIRECTORY / "js").glob("*.mjs")
        for name in re.findall(r"\.call\('(\w+)'", file.read_text())
    }
    assert ("node.mjs", "ledger_getConsistency") in called
    for file, name in called:
        assert METHODS[name].access is Access.PUBLIC or (file, name) == ("section.mjs", "ledger_getBlock"), (file, name)


def test_public_paths_are_routes_of_the_listener(server) -> None:
    routes = {resource.canonical for resource in server.application().router.resources()}
    assert routes >= PUBLIC_PATHS
    assert TILE_PATH in routes


def test_every_role_has_less_than_the_operator() -> None:
    assert set(MAY) == set(Role)
    assert MAY[Role.OPERATOR] == tuple(Access)
    assert all(set(MAY[role]) < set(Access) for role in Role if role is not Role.OPERATOR)


# --- the file


def test_the_file_of_tokens_is_private_and_holds_no_token(tmp_path: Path, book: TokenBook) -> None:
    made_one = book.create("desk", Role.AUDITOR, member="bank-b", valid_ms=60_000)
    path = tmp_path / "tokens.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert made_one.token not in path.read_text()
    assert made_one.token not in repr(made_one)
    again = TokenBook(path, clock)
    rights = again.find(token_hash(made_one.token))
    assert rights is not None
    assert (rights.role, rights.member, rights.ended) == (Role.AUDITOR, "bank-b", "")
    assert again.find(token_hash("another")) is None


def test_a_revoked_token_stays_revoked_after_a_start(tmp_path: Path, book: TokenBook) -> None:
    token = made(book, Role.OPERATOR)
    book.revoke("the-operator")
    rights = TokenBook(tmp_path / "tokens.json", clock).find(token_hash(token))
    assert rights is not None
    with pytest.raises(RpcError, match="revoked"):
        rights.check(time.time())


def test_the_number_of_tokens_is_bounded_and_ended_ones_make_room(tmp_path: Path) -> None:
    now = [1_000]
    book = TokenBook(tmp_path / "tokens.json", lambda: now[0])
    book.save = lambda: None  # type: ignore[method-assign]  # hundreds of synced files prove nothing more
    for number in range(TOKENS_MAX):
        book.create(f"t{number}", Role.AUDITOR, member="", valid_ms=1_000 if number == 7 else None)
    with pytest.raises(UsageError, match="too many tokens"):
        book.create("more", Role.AUDITOR, member="", valid_ms=None)
    now[0] += 1_000
    book.create("more", Role.AUDITOR, member="", valid_ms=None)
    assert [row.name for row in book.list() if row.name in ("t7", "more")] == ["more"]


def test_a_damaged_file_of_tokens_is_refused_without_quoting_it(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    path.write_text('{"tokens": [{"name": "secret"')
    path.chmod(0o600)
    with pytest.raises(InputError, match="not a file of tokens") as caught:
        TokenBook(path, clock)
    assert "secret" not in str(caught.value)


def test_rights_tell_who_watches_them_of_their_end() -> None:
    rights, told = Rights("x", Role.AUDITOR), []
    rights.watchers.add(lambda: told.append(rights.ended))
    rights.end("token_revoked")
    assert told == ["token_revoked"]


# --- the audit log


class Trail:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.calls: list[Privileged] = []

    def called(self, call: Privileged) -> None:
        self.calls.append(call)


@pytest.mark.parametrize("way", ["quick", "long", "websocket"])
async def test_privileged_calls_are_told_with_who_and_what_became_of_them(settings, services, book, way: str) -> None:
    trail = Trail()
    server = RpcServer(settings, replace(services, audit=trail), METHODS)
    await server.start()
    headers = bearer(made(book, Role.AUDITOR)) | {"Content-Type": "application/json"}
    if way == "long":
        headers["X-Odd"] = "1"
    try:
        async with aiohttp.ClientSession() as session:
            for body in (READ, call("admin_listTokens")):
                if way == "websocket":
                    async with session.ws_connect(server.address + "/ws", headers=headers) as socket:
                        await socket.send_str(body.decode())
                        await socket.receive(timeout=10)
                else:
                    async with session.post(server.address, data=body, headers=headers) as response:
                        await response.read()
    finally:
        await server.stop()
    (told,) = trail.calls
    assert (told.who, told.role, told.remote) == ("token the-auditor", "auditor", "127.0.0.1")
    assert (told.method, told.outcome, len(told.trace_id)) == ("admin_listTokens", "role_insufficient", 32)


async def test_the_audit_log_names_what_was_submitted_and_never_what_was_in_it(
    settings, services, make_statement, token
) -> None:
    trail = Trail()
    server = RpcServer(settings, replace(services, audit=trail), METHODS)
    await server.start()
    headers = bearer(token) | {"Content-Type": "application/json"}
    try:
        async with aiohttp.ClientSession() as session:
            for body in (
                call("admin_createToken", ["desk", "auditor"]),
                call("admin_createToken", ["desk", "auditor"]),
            ):
                async with session.post(server.address, data=body, headers=headers) as response:
                    answer = await response.json()
                    assert answer["id"] == 7
    finally:
        await server.stop()
    assert [(told.method, told.ids, told.outcome) for told in trail.calls] == [
        ("admin_createToken", ("desk",), "ok"),
        ("admin_createToken", (), "usage"),
    ]
    assert "cn_" not in str(trail.calls)
