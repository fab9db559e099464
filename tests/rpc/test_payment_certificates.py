"""payment_affectedBy: payments at a certificate's terminals, judged by what it was worth when each was made."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace as changed

from ledger.certificate_versions import TooManyVersions, read_versions
from ledger.payments import Side
from ledger.times import parse_time
from primitives.encoding import encode
from rpc.methods import payment_certificates
from rpc.types import time_text
from tests.rpc.conftest import Client, MemoryNode, statement
from tests.rpc.test_records import NUMBER, granted, submit

__all__ = ["granted", "submit"]

OTHER = "FTP-2026-06-000002"
HOUR_MS = 3_600_000


def pay(node: MemoryNode, time_ms: int, number: str = NUMBER, count: int = 1, member: str = "bank-a") -> list[str]:
    """Commit a batch of statements about payments of a time at a certificate's terminals; return their ids."""
    node.member, node.key_use = member, "source"
    events = []
    for _ in range(count):
        node.references += 1
        body = changed(statement(node.references), side=Side.ACQUIRER, terminal_certificate=number, time_ms=time_ms)
        events.append(node.event(node.references, body=encode(body)))
    height = node.chain.height + 1
    node.commit(node.batch(events))
    return [view.id.hex() for view in node.reader.block_events(height)]


async def block_ms(client: Client, height: int) -> int:
    return int(parse_time((await client.call("ledger_getBlock", [height]))["header"]["time"]))


def ids(answer: dict[str, Any]) -> list[str]:
    return [item["event_id"] for item in answer["payments"]]


async def ask(client: Client, **params: Any) -> dict[str, Any]:
    found: dict[str, Any] = await client.call("payment_affectedBy", {"certificate": NUMBER, **params})
    return found


async def revoke(client: Client, submit: Any, invalid_from_ms: int) -> None:
    body = {"number": NUMBER, "reason": "fraud", "invalid_from": time_text(invalid_from_ms)}
    assert (await submit("cb", "source", "certificate.revoke", body))["outcome"]["applied"]


async def test_payments_at_a_valid_terminal_are_in_no_question(client, node, granted) -> None:
    at = await block_ms(client, 6)
    (paid,) = pay(node, at + 5)
    assert (await ask(client))["payments"] == []
    answer = await ask(client, all=True)
    (item,) = answer["payments"]
    assert (item["event_id"], item["in_question"]) == (paid, False)
    assert (item["now_known"]["status"], item["then_known"]["status"]) == ("valid", "valid")
    assert (answer["looked_at"], answer["cursor"], answer["above_height"], answer["as_of"]) == (1, None, 0, 7)
    assert answer["present"]["status"] == "valid"


async def test_a_retroactive_revocation_puts_the_payments_since_in_question_and_no_earlier_one(
    client, node, submit, granted
) -> None:
    at = await block_ms(client, 6)
    before, since, first = pay(node, at + 9), pay(node, at + 11), pay(node, at + 10, member="bank-b")
    pay(node, at + 11, OTHER)
    await revoke(client, submit, at + 10)
    after = pay(node, at + HOUR_MS)
    answer = await ask(client)
    assert ids(answer) == since + first + after
    assert answer["present"]["status"] == "revoked"
    told = [(item["then_known"]["status"], item["now_known"]["status"]) for item in answer["payments"]]
    assert told == [("valid", "revoked"), ("valid", "revoked"), ("revoked", "revoked")]
    everything = await ask(client, all=True, order="desc")
    assert ids(everything) == after + first + since + before
    assert [item["in_question"] for item in everything["payments"]] == [True, True, True, False]


async def test_a_payment_before_the_grant_or_at_a_number_that_nobody_granted_is_in_question(
    client, node, granted
) -> None:
    at = await block_ms(client, 6)
    (early,) = pay(node, at - 1)
    answer = await ask(client)
    assert ids(answer) == [early]
    assert answer["payments"][0]["now_known"]["status"] == "not_yet_valid"
    (never,) = pay(node, at, OTHER)
    answer = await ask(client, certificate=OTHER)
    assert (ids(answer), answer["present"]) == ([never], None)
    assert (answer["payments"][0]["now_known"], answer["payments"][0]["in_question"]) == (None, True)


async def test_a_suspension_counts_for_its_own_time_only(client, node, submit, granted) -> None:
    suspended = {"number": NUMBER, "reason": "seal_broken", "until": None, "days": 30}
    assert (await submit("cb", "source", "certificate.suspend", suspended))["outcome"]["applied"]
    down = await block_ms(client, 7)
    restored = {"number": NUMBER, "evidence": [
        {"kind": "corrective_action", "digest": "cd" * 32, "custodian": "bank-a", "size_bytes": 9}
    ]}  # fmt: skip
    outcome = (await submit("cb", "source", "certificate.restore", restored))["outcome"]
    assert outcome["applied"], outcome
    up = await block_ms(client, 8)
    paid = {time: pay(node, time)[0] for time in (down - 1, down, up - 1, up)}
    assert ids(await ask(client)) == [paid[down], paid[up - 1]]


async def test_pages_go_on_where_they_ended_in_both_orders_and_within_a_block(
    client, node, granted, monkeypatch
) -> None:
    at = await block_ms(client, 6)
    paid = [each for count in (3, 1, 5) for each in pay(node, at - 1, count=count)]
    for looked_at in (1_000, 2):
        monkeypatch.setattr(payment_certificates, "LOOKED_AT_MAX", looked_at)
        for order in ("asc", "desc"):
            found: list[str] = []
            cursor = None
            while True:
                answer = await ask(client, limit=4, order=order, **({} if cursor is None else {"cursor": cursor}))
                found += ids(answer)
                assert answer["looked_at"] <= looked_at
                cursor = answer["cursor"]
                if cursor is None:
                    break
            assert found == (paid if order == "asc" else paid[::-1])
    error = await client.error(
        "payment_affectedBy", {"certificate": OTHER, "cursor": (await ask(client, limit=1))["cursor"]}
    )
    assert error["data"]["reason"] == "bad_cursor"


async def test_a_span_of_time_holds_its_beginning_and_not_its_end(client, node, granted) -> None:
    at = await block_ms(client, 6)
    one, two, three = (pay(node, at + offset)[0] for offset in (1, 2, 3))
    assert ids(await ask(client, all=True, **{"from": time_text(at + 2)})) == [two, three]
    assert ids(await ask(client, all=True, to=time_text(at + 2))) == [one]
    span = {"from": time_text(at + 2), "to": time_text(at + 3)}
    assert ids(await ask(client, all=True, **span)) == [two]
    error = await client.error("payment_affectedBy", {"certificate": NUMBER, "from": span["to"], "to": span["from"]})
    assert (error["code"], error["data"]["got"]) == (-32602, span["from"])


async def test_a_statement_that_was_not_applied_is_not_listed(client, node, granted) -> None:
    at = await block_ms(client, 6)
    pay(node, at - 1, member="lab")  # which may not state payments
    assert (await ask(client, all=True))["payments"] == []


async def test_a_certificate_that_changed_too_often_is_refused_by_name(node, granted, monkeypatch) -> None:
    monkeypatch.setattr("ledger.certificate_versions.VERSIONS_MAX", 0)
    with pytest.raises(TooManyVersions, match=NUMBER):
        read_versions(node.reader, NUMBER, 6)


async def test_versions_know_what_the_chain_knew_at_each_height(client, node, submit, granted) -> None:
    at = await block_ms(client, 6)
    node.commit_events(2)
    await revoke(client, submit, at)
    versions = read_versions(node.reader, NUMBER, 8)
    assert versions.heights == [6, 8]
    status = versions.known_at(7).status_at(at)
    assert status is not None
    assert status.valid
    assert versions.known_at(5).status_at(at) is None
    now = versions.status_at(at)
    assert now is not None
    assert now.status == "revoked"
