"""A chain with something of everything on it, hostile texts in every field that takes any, and a reader of pages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import pytest
from msgspec.structs import replace

from ledger.batches import check_event
from ledger.event_json import event_from_json
from ledger.payments import AgentRecord, AgentRole, AgentScheme, PaymentStatement, Side, Status, TokenField, TokenRecord
from primitives.encoding import encode
from primitives.ids import EventId
from tests.rpc.conftest import Client, MemoryNode, genesis_of_four_banks, statement
from tests.rpc.explorer.html import Element, read_html
from tests.rpc.test_evidence import record, votes
from tests.rpc.test_records import life

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'`&lt;{{ 7*7 }}{% raw %}</td><!--javascript:"
NUMBER = "FTP-2026-06-000001"
REVOKED = "FTP-2026-09-000002"
UETR = bytes.fromhex("eb6305c91f7f49dead7016487c27b42d")
UETR_TEXT = "eb6305c9-1f7f-49de-ad70-16487c27b42d"
PAIR_KEY = sha256(b"pair").digest()
BIC = "BKAACNBJXXX"


@dataclass
class Everything:
    """The node, and what was committed to it by name."""

    node: MemoryNode
    events: dict[str, EventId]


@pytest.fixture
def node() -> MemoryNode:
    genesis = genesis_of_four_banks()
    first, *others = genesis.members
    return MemoryNode(replace(genesis, members=(replace(first, name=HOSTILE, agents=(BIC,)), *others)))


def say(node: MemoryNode, member: str, use: str, kind: str, body: dict[str, Any]) -> EventId:
    """Commit one event of a member in a block of its own."""
    node.references += 1
    reference = sha256(b"said %d" % node.references).digest()[:16]
    event = event_from_json(
        {"kind": kind, "body": body}, member=member, reference=reference, expires_ms=node.now + 9_000
    )
    data = encode(event)
    node.member, node.key_use = member, use
    node.commit(node.batch([data]))
    node.member, node.key_use = "bank-a", "source"
    return check_event(data)[1]


def pay(node: MemoryNode, member: str, body: PaymentStatement) -> EventId:
    node.member = member
    data = node.event(node.references + 1_000, body=encode(body))
    node.references += 1
    node.commit(node.batch([data]))
    node.member = "bank-a"
    return check_event(data)[1]


def paid(number: int, side: Side, status: Status, token: bytes) -> PaymentStatement:
    agents = [AgentRecord(AgentRole.DEBTOR_AGENT, AgentScheme.BIC, BIC)]
    tokens = [TokenRecord(TokenField.AMOUNT, token)]
    made = statement(number, pair_key=PAIR_KEY, uetr=UETR)
    return replace(made, side=side, status=status, agents=agents, tokens=tokens)


def certify(node: MemoryNode, number: str, application: str) -> EventId:
    """Grant a certificate whose every free text is hostile; the event that granted it."""
    event_id = None
    category = int(number.split("-")[2])
    for member, use, kind, given in life(number, application):
        body = dict(given)
        if kind == "certificate.apply":
            product = {"name": f"{HOSTILE}name", "model": f"{HOSTILE}model", "version": f"{HOSTILE}version"}
            body |= {"holder_name": f"{HOSTILE}holder", "product": product, "category": category}
        event_id = say(node, member, use, kind, body)
    assert event_id is not None
    return event_id


@pytest.fixture
def everything(node: MemoryNode) -> Everything:
    events = {"grant": certify(node, NUMBER, "bank-a.0001"), "second": certify(node, REVOKED, "bank-a.0002")}
    revocation = {"number": REVOKED, "reason": "withdrawn", "invalid_from": None}
    events["revoke"] = say(node, "cb", "decider", "certificate.revoke", revocation)
    events["rejected"] = say(node, "cb", "decider", "certificate.revoke", revocation)
    events["debtor"] = pay(node, "bank-a", paid(1, Side.DEBTOR, Status.ACCEPTED, b"t" * 16))
    events["creditor"] = pay(node, "bank-b", paid(2, Side.CREDITOR, Status.SETTLED, b"t" * 16))
    events["different"] = pay(node, "bank-c", paid(3, Side.INTERMEDIARY, Status.RECEIVED, b"u" * 16))
    node.checkpoint()
    return Everything(node, events)


@pytest.fixture
def accused(everything: Everything) -> Everything:
    """The same, with a validator that was proved to have signed twice."""
    record(everything.node, votes(everything.node))
    return everything


Browse = Callable[..., Awaitable[Element]]


@pytest.fixture
def browse(client: Client) -> Browse:
    """Return a function that gets a page, whose status must be the one expected."""

    async def get(path: str, status: int = 200, **headers: str) -> Element:
        sent = {"Accept": "text/html"} | {name.replace("_", "-"): value for name, value in headers.items()}
        found, body, answered = await client.get(path, sent)
        assert found == status, body[:400]
        assert answered["Content-Type"] == "text/html; charset=utf-8"
        return read_html(body.decode())

    return get
