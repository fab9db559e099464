"""Histories and present statuses through the API: what is proved, as of when, and what has to wait."""

from __future__ import annotations

from typing import Any

import pytest

from ledger.certificate_history import joined, verify_certificate_history
from ledger.status_proofs import certificate_status, verify_status
from ledger.times import format_time, parse_time
from tests.rpc.test_records import NUMBER, REVOKE, granted, submit

__all__ = ["granted", "submit"]

YEARS_MS = 4 * 366 * 86_400_000
NEVER = "FTP-2026-06-000009"


async def policy_of(client: Any) -> str:
    return (await client.get("/policy"))[1].decode()


async def test_a_history_comes_with_its_proof_as_of_the_covered_block(client, node, submit, granted) -> None:
    node.checkpoint()
    revoked = await submit(*REVOKE)
    policy = await policy_of(client)
    answer = await client.call("cert_historyProof", [NUMBER])
    assert (answer["height"], answer["first"], answer["events"], answer["count"]) == (6, 0, 6, 6)
    assert (answer["next"], answer["as_of"]) == (None, 7)
    verdict = verify_certificate_history(answer["proof"], policy, NUMBER)
    assert [event.event_id.hex() for event in verdict.events] == granted
    error = await client.error("cert_historyProof", {"number": NUMBER, "at": 7})
    assert (error["code"], error["data"]["reason"], error["data"]["retryable"]) == (-32002, "checkpoint_pending", True)
    node.checkpoint()
    answer = await client.call("cert_historyProof", {"number": NUMBER, "at": 7})
    events = verify_certificate_history(answer["proof"], policy, NUMBER).events
    assert [event.event_id.hex() for event in events] == [*granted, revoked["id"]]


async def test_pages_of_a_history_begin_where_they_are_asked_to(client, node, granted) -> None:
    node.checkpoint()
    policy = await policy_of(client)
    answer = await client.call("cert_historyProof", {"number": NUMBER, "at": 6, "first": 4})
    verdict = verify_certificate_history(answer["proof"], policy, NUMBER)
    assert (verdict.first, len(verdict.events), verdict.count) == (4, 2, 6)
    whole = verify_certificate_history((await client.call("cert_historyProof", [NUMBER]))["proof"], policy, NUMBER)
    assert [event.event_id for event in joined([whole])][4:] == [event.event_id for event in verdict.events]
    error = await client.error("cert_historyProof", {"number": NUMBER, "first": 6})
    assert (error["code"], error["data"]["where"]) == (-32602, "$.first")


async def test_an_absent_certificate_has_no_history_and_that_is_proved(client, node, granted) -> None:
    node.checkpoint()
    policy = await policy_of(client)
    for number, at in ((NEVER, "latest"), (NUMBER, 5), (NUMBER, "earliest")):
        answer = await client.call("cert_historyProof", {"number": number, "at": at})
        verdict = verify_certificate_history(answer["proof"], policy, number)
        assert (answer["count"], answer["next"], verdict.certificate) == (0, None, None)


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"at": "2099-01-01T00:00:00Z"}, -32602),
        ({"at": "2020-01-01T00:00:00Z"}, -32001),
        ({"at": 99}, -32001),
        ({"first": -1}, -32602),
        ({"number": "x"}, -32602),
        ({"from_epoch": -1}, -32602),
    ],
)
async def test_a_history_of_nothing_that_there_is_is_refused(client, node, granted, params, code) -> None:
    node.checkpoint()
    assert (await client.error("cert_historyProof", {"number": NUMBER} | params))["code"] == code


async def test_a_history_waits_for_the_first_checkpoint(client, node, granted) -> None:
    for at in ("latest", 6):
        error = await client.error("cert_historyProof", {"number": NUMBER, "at": at})
        assert (error["code"], error["data"]["reason"]) == (-32002, "checkpoint_pending")


async def test_the_present_status_is_that_of_the_cosignatures_time_in_a_chain_that_is_not_used(
    client, node, granted
) -> None:
    """A term ends without any block: the newest block's time is not now."""
    node.now += YEARS_MS
    node.checkpoint()
    cosigned = format_time(node.now // 1_000 * 1_000)
    answer = await client.call("cert_getStatus", [NUMBER])
    assert (answer["height"], answer["time"], answer["status"]["status"]) == (6, cosigned, "expired")
    verdict = verify_status(answer["proof"], await policy_of(client))
    found = certificate_status(verdict, NUMBER, int(parse_time(answer["time"], where="time")))
    assert found is not None
    assert found.status.value == "expired"
    at_block = await client.call("cert_getStatus", [NUMBER, 6])
    assert at_block["status"]["status"] == "valid"


async def test_a_time_after_the_newest_block_is_proved_once_it_was_cosigned_then(client, node, granted) -> None:
    node.checkpoint()
    cosigned_ms = node.now // 1_000 * 1_000
    node.now = cosigned_ms + 10_000
    policy = await policy_of(client)
    for at_ms, proved in ((cosigned_ms, True), (cosigned_ms + 1, False), (cosigned_ms + 10_000, False)):
        answer = await client.call("cert_getStatus", [NUMBER, format_time(at_ms)])
        assert (answer["status"]["status"], answer["proof"] is not None) == ("valid", proved)
        assert (answer["proof_pending"] is None) == proved
        if proved:
            assert certificate_status(verify_status(answer["proof"], policy), NUMBER, at_ms) is not None
    node.checkpoint()
    answer = await client.call("cert_getStatus", [NUMBER, format_time(cosigned_ms + 10_000)])
    assert certificate_status(verify_status(answer["proof"], policy), NUMBER, cosigned_ms + 10_000) is not None


async def test_a_time_between_two_blocks_is_proved_by_both_headers(client, node, granted) -> None:
    first = node.now
    node.now += 5_000
    node.commit_events(1)
    node.checkpoint()
    policy = await policy_of(client)
    for at_ms, height in ((first - 1, 5), (first, 6), (first + 1, 6), (node.now - 1, 6), (node.now, 7)):
        answer = await client.call("cert_getStatus", [NUMBER, format_time(at_ms)])
        assert (answer["height"], answer["exists"]) == (height, height > 5)
        found = certificate_status(verify_status(answer["proof"], policy), NUMBER, at_ms)
        assert (found is not None) == answer["exists"]
