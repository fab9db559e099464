"""Client certificates over real TLS: who they make of their bearer, and how the chain takes that back."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from chainnode import client_certificates
from chainnode.client_certificates import ClientCertificates
from ledger.members import Member
from ledger.members import Role as MemberRole
from p2p.certificates import (
    certificate_pem,
    issue_client_certificate,
    issue_node_certificate,
    make_member_ca,
    private_key_pem,
)
from rpc.methods.catalogue import METHODS
from rpc.server import RpcServer, RpcSettings
from tests.rpc.tls_fixtures import self_signed

CHAIN = b"c" * 32
READ = b'{"jsonrpc":"2.0","id":7,"method":"net_status"}'
TOKENS = b'{"jsonrpc":"2.0","id":7,"method":"admin_listTokens"}'
JSON = {"Content-Type": "application/json"}


def now_ms() -> int:
    return int(time.time() * 1_000)


def member(name: str, *roles: MemberRole, excluded: bool = False) -> Member:
    return Member(name, name, roles or (MemberRole.BANK,), "", (), (), excluded)


class World:
    """A listener with client certificates, the members' CAs, and a client for each certificate."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cas = {name: make_member_ca(name, now_ms()) for name in ("bank-a", "bank-b", "stranger", "authority")}
        self.members = [member("bank-a"), member("bank-b"), member("authority", MemberRole.REGULATOR)]
        self.listed = ("bank-a", "bank-b", "authority")
        self.served, self.trusting = self_signed(folder)
        self.served.verify_mode = ssl.CERT_OPTIONAL
        self.clients = ClientCertificates(self.served, chain_id=CHAIN, member="bank-a")
        self.sessions: list[aiohttp.ClientSession] = []
        self.url = ""
        self.take_over()

    def take_over(self) -> None:
        cas = {name: certificate_pem(self.cas[name][1]) for name in self.listed}
        self.clients.update(cas, self.members, now_ms())

    def issue(self, issuer: str, role: str, *, of: str | None = None, chain: bytes = CHAIN, at_ms: int = 0) -> Any:
        ca_key, ca = self.cas[issuer]
        return issue_client_certificate(
            ca_key, ca, name="desk", member=of or issuer, role=role, chain_id=chain, now_ms=at_ms or now_ms(), days=1
        )

    def session(self, issued: Any | None) -> aiohttp.ClientSession:
        pem = certificate_pem(self.cas["bank-a"][1])  # any CA will do: the server's own certificate is trusted besides
        context = ssl.create_default_context(cadata=pem)
        context.load_verify_locations(self.folder / "server.pem")
        if issued is not None:
            key, certificate = issued
            path = self.folder / f"{len(self.sessions)}.pem"
            path.write_bytes(private_key_pem(key) + certificate_pem(certificate).encode())
            context.load_cert_chain(path)
        session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context))
        self.sessions.append(session)
        return session

    async def ask(self, session: aiohttp.ClientSession, body: bytes = READ) -> tuple[int, str, str]:
        """Return HTTP status, reason of the refusal and what it got."""
        async with session.post(self.url, data=body, headers=JSON) as response:
            data = (await response.json()).get("error", {}).get("data", {})
            return response.status, data.get("reason", ""), data.get("got", "")


@pytest.fixture
async def world(tmp_path: Path, services) -> AsyncIterator[World]:
    made = World(tmp_path)
    text = (tmp_path / "tls.pem").read_text()
    (tmp_path / "server.pem").write_text(text[: text.index("-----BEGIN PRIVATE")])
    settings = RpcSettings(port=0, on_loopback=False, tls=made.served)
    server = RpcServer(settings, replace(services, certificates=made.clients), METHODS)
    await server.start()
    made.url = server.address
    yield made
    for session in made.sessions:
        await session.close()
    await server.stop()


async def test_a_certificate_of_the_own_member_gives_the_role_that_it_names(world: World) -> None:
    auditor, operator = (world.session(world.issue("bank-a", role)) for role in ("auditor", "operator"))
    assert await world.ask(auditor) == (200, "", "")
    assert (await world.ask(auditor, TOKENS))[:2] == (403, "role_insufficient")
    assert (await world.ask(operator, TOKENS))[:2] == (200, "no_tokens")
    assert (await world.ask(world.session(None)))[:2] == (401, "token_required")


@pytest.mark.parametrize(
    ("issuer", "role", "reason"),
    [
        ("bank-b", "auditor", ""),
        ("bank-b", "submitter", "certificate_refused"),
        ("bank-b", "officer", "certificate_refused"),
        ("bank-b", "operator", "certificate_refused"),
        ("bank-b", "regulator", "certificate_refused"),
        ("bank-a", "regulator", "certificate_refused"),
        ("authority", "regulator", ""),
        ("authority", "operator", "certificate_refused"),
        ("bank-a", "king", "certificate_refused"),
    ],
)
async def test_a_member_grants_what_the_chain_lets_it(world: World, issuer: str, role: str, reason: str) -> None:
    status, got, why = await world.ask(world.session(world.issue(issuer, role)))
    assert (status, got) == (401 if reason else 200, reason)
    assert bool(why) is bool(reason)


async def test_a_members_ca_speaks_for_no_other_member_and_no_other_chain(world: World) -> None:
    for issued in (world.issue("bank-b", "operator", of="bank-a"), world.issue("bank-a", "auditor", chain=b"d" * 32)):
        assert (await world.ask(world.session(issued)))[:2] == (401, "certificate_refused")


async def test_a_nodes_certificate_is_no_clients(world: World) -> None:
    key, ca = world.cas["bank-a"]
    issued = issue_node_certificate(
        key, ca, node_name="bank-a", member="bank-a", chain_id=CHAIN, hosts=["127.0.0.1"], now_ms=now_ms()
    )
    assert (await world.ask(world.session(issued)))[:2] == (401, "certificate_refused")


async def test_a_certificate_of_no_member_or_out_of_its_time_ends_at_the_handshake(world: World) -> None:
    old = world.issue("bank-a", "auditor", at_ms=now_ms() - 3 * 86_400_000)
    for issued in (world.issue("stranger", "auditor"), old):
        with pytest.raises((aiohttp.ClientError, OSError)):
            await world.ask(world.session(issued))


@pytest.mark.parametrize("how", ["excluded", "another CA", "no regulator"])
async def test_a_right_ends_at_once_when_the_chain_takes_it_back(world: World, how: str) -> None:
    issuer, role = ("authority", "regulator") if how == "no regulator" else ("bank-b", "auditor")
    session = world.session(world.issue(issuer, role))
    async with session.ws_connect(world.url + "/ws") as socket:
        await socket.send_str(READ.decode())
        assert (await socket.receive_json(timeout=10))["id"] == 7
        assert (await world.ask(session))[0] == 200
        if how == "excluded":
            world.listed = ("bank-a", "authority")
            world.members[1] = member("bank-b", excluded=True)
        elif how == "another CA":
            world.cas["bank-b"] = make_member_ca("bank-b", now_ms())
        else:
            world.members[2] = member("authority", MemberRole.AUDITOR)
        world.take_over()
        message = await socket.receive(timeout=10)
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1008)
    assert (await world.ask(session))[:2] == (401, "certificate_refused")


async def test_no_flood_of_certificates_lets_one_that_is_in_use_outlive_its_member(world: World, monkeypatch) -> None:
    monkeypatch.setattr(client_certificates, "KNOWN_MAX", 3)
    session = world.session(world.issue("bank-b", "auditor"))
    async with session.ws_connect(world.url + "/ws") as socket:
        await socket.send_str(READ.decode())
        assert (await socket.receive_json(timeout=10))["id"] == 7
        for _ in range(5):
            issued = world.issue("bank-b", "auditor")[1]
            world.clients.find(issued.public_bytes(Encoding.DER), time.time())
        assert len(world.clients._known) == 3
        world.listed, world.members[1] = ("bank-a", "authority"), member("bank-b", excluded=True)
        world.take_over()
        message = await socket.receive(timeout=10)
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1008)


async def test_who_shows_a_certificate_is_judged_by_it_on_loopback_too(tmp_path: Path, services) -> None:
    made = World(tmp_path)
    text = (tmp_path / "tls.pem").read_text()
    (tmp_path / "server.pem").write_text(text[: text.index("-----BEGIN PRIVATE")])
    server = RpcServer(RpcSettings(port=0, tls=made.served), replace(services, certificates=made.clients), METHODS)
    await server.start()
    made.url = server.address
    try:
        assert await made.ask(made.session(None)) == (200, "", "")
        refused = made.session(made.issue("bank-b", "operator"))
        assert (await made.ask(refused))[:2] == (401, "certificate_refused")
    finally:
        for session in made.sessions:
            await session.close()
        await server.stop()


async def test_a_token_goes_before_a_certificate(world: World) -> None:
    session = world.session(world.issue("bank-a", "operator"))
    async with session.post(world.url, data=READ, headers=JSON | {"Authorization": "Bearer wrong"}) as response:
        assert (response.status, json.loads(await response.read())["error"]["data"]["reason"]) == (401, "wrong_token")


def test_a_new_members_certificates_count_without_a_new_start(world: World) -> None:
    newcomer = world.issue("stranger", "auditor")[1]
    world.listed, world.members = (*world.listed, "stranger"), [*world.members, member("stranger")]
    world.take_over()
    rights = world.clients.find(newcomer.public_bytes(Encoding.DER), time.time())
    assert (rights.who, rights.role) == ("certificate stranger/desk", "auditor")
