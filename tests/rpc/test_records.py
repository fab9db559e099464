"""Certificates, payments and receipts through the API, out of a real chain with its real rules."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from ledger.receipts import verify
from ledger.status_proofs import certificate_status, verify_status
from ledger.times import parse_time
from rpc.methods.catalogue import METHODS
from rpc.methods.certificate_status import CHECKPOINT_WAIT_MS
from rpc.types import make_cursor

APPLICATION = "bank-a.0001"
NUMBER = "FTP-2026-06-000001"
UETR = "eb6305c9-1f7f-49de-aed0-16487c27b42d"


def evidence(kind: str, custodian: str) -> dict[str, Any]:
    digest = sha256(kind.encode()).hexdigest()
    return {"kind": kind, "digest": digest, "custodian": custodian, "size_bytes": 1_000}


def life(number: str = NUMBER, application: str = APPLICATION) -> list[tuple[str, str, str, dict[str, Any]]]:
    """Return (member, key, kind, body) of each event up to a granted certificate."""
    product = {"name": "Counter terminal", "model": "CT-1", "version": "2.0"}
    case = {"application": application}
    passed = case | {"passed": True}
    tested = [evidence("type_examination", "lab"), evidence("security_evaluation", "lab")]
    return [
        (
            "bank-a",
            "source",
            "certificate.apply",
            case
            | {"holder_name": "Bank A", "product": product, "category": 6}
            | {"evidence": [evidence("technical_documents", "bank-a")]},
        ),
        ("cb", "source", "certificate.accept", case),
        ("lab", "source", "certificate.type_test", passed | {"evidence": tested}),
        ("ins", "source", "certificate.site_check", passed | {"evidence": [evidence("site_check", "ins")]}),
        ("cb", "source", "certificate.review", case | {"evidence": [evidence("review_report", "cb")]}),
        (
            "cb",
            "decider",
            "certificate.grant",
            case | {"number": number, "valid_from": None, "valid_until": None, "valid_months": 36},
        ),
    ]


@pytest.fixture
def submit(client, node, token: str):
    """Submit one event as a member's source, and return its standing."""

    async def one(member: str, key: str, kind: str, body: dict[str, Any]) -> dict[str, Any]:
        node.member, node.key_use = member, key
        answer = await client.call("ledger_submit", {"events": [{"kind": kind, "body": body}]}, token=token)
        return answer["events"][0]

    return one


@pytest.fixture
async def granted(submit) -> list[str]:
    """Grant the certificate; return the ids of its events."""
    ids = []
    for step in life():
        event = await submit(*step)
        assert event["outcome"]["applied"], (step, event["outcome"])
        ids.append(event["id"])
    return ids


async def test_a_certificate_shows_its_record_and_status(client, granted) -> None:
    answer = await client.call("cert_get", [NUMBER])
    certificate = answer["certificate"]
    assert (certificate["holder"], certificate["category"], certificate["state"]) == ("bank-a", 6, "active")
    assert certificate["product"] == {"name": "Counter terminal", "model": "CT-1", "version": "2.0"}
    assert certificate["history"]["count"] == len(granted)
    assert (answer["status"]["status"], answer["status"]["status_zh"]) == ("valid", "有效")
    assert answer["as_of"] == answer["height"] == 6
    assert certificate["valid_until"].startswith("2029-01-01T00:00:")
    error = await client.error("cert_get", {"number": NUMBER, "height": 5})
    assert error["code"] == -32001


async def test_a_status_is_asked_for_at_heights_and_times(client, node, submit, granted) -> None:
    revoked = await submit(
        "cb", "source", "certificate.revoke", {"number": NUMBER, "reason": "fraud", "invalid_from": None}
    )
    assert revoked["outcome"]["applied"], revoked
    before = (await client.call("ledger_getBlock", [6]))["header"]["time"]
    absent = await client.call("cert_getStatus", [NUMBER, 5])
    assert (absent["exists"], absent["status"]) == (False, None)
    for at in (6, before):
        valid = await client.call("cert_getStatus", [NUMBER, at])
        assert (valid["height"], valid["time"], valid["status"]["status"]) == (6, before, "valid")
        assert valid["hindsight"] is None
    for at in (7, "latest", None):
        params = {"number": NUMBER} if at is None else {"number": NUMBER, "at": at}
        now = await client.call("cert_getStatus", params)
        assert (now["height"], now["status"]["status"], now["status"]["valid"]) == (7, "revoked", False)


async def test_a_revocation_from_an_earlier_time_shows_in_hindsight(client, node, submit, granted) -> None:
    at = (await client.call("ledger_getBlock", [6]))["header"]["time"]
    revoked = await submit(
        "cb", "source", "certificate.revoke", {"number": NUMBER, "reason": "fraud", "invalid_from": at}
    )
    assert revoked["outcome"]["applied"], revoked
    status = await client.call("cert_getStatus", [NUMBER, 6])
    assert status["status"]["status"] == "valid"
    assert status["hindsight"]["status"] == "revoked"


async def test_a_status_proof_verifies_offline_for_presence_absence_and_a_time(client, node, granted) -> None:
    waiting = await client.call("cert_getStatus", [NUMBER])
    assert (waiting["proof"], waiting["proof_pending"]["proved_height"]) == (None, None)
    node.commit_events(1)
    node.checkpoint()
    _, policy, _ = await client.get("/policy")
    for at, status in ((5, None), (6, "valid"), ("latest", "valid")):
        answer = await client.call("cert_getStatus", [NUMBER, at])
        found = certificate_status(verify_status(answer["proof"], policy.decode()), NUMBER)
        assert (None if found is None else found.status.value) == status
    moment = (
        (await client.call("ledger_getBlock", [6]))["header"]["time"]
        .replace(".500Z", ".501Z")
        .replace("00Z", "00.001Z")
    )
    answer = await client.call("cert_getStatus", [NUMBER, moment])
    verdict = verify_status(answer["proof"], policy.decode())
    found = certificate_status(verdict, NUMBER, parse_time(moment))
    assert (answer["height"], found.status.value) == (6, answer["status"]["status"])


REVOKE = ("cb", "source", "certificate.revoke", {"number": NUMBER, "reason": "fraud", "invalid_from": None})


def proved(answer: dict[str, Any], policy: str, number: str = NUMBER) -> tuple[int, str | None]:
    """Return the height and status that an answer's proof proves."""
    verdict = verify_status(answer["proof"], policy)
    found = certificate_status(verdict, number)
    return verdict.height, None if found is None else found.status.value


async def test_the_present_status_is_proved_where_the_checkpoint_reaches_while_blocks_follow(
    client, node, granted
) -> None:
    node.checkpoint()
    policy = (await client.get("/policy"))[1].decode()
    for ahead in range(1, 4):
        node.commit_events(1, first=ahead)
        for params in ({}, {"at": "latest"}):
            answer = await client.call("cert_getStatus", {"number": NUMBER} | params)
            assert proved(answer, policy) == (6, "valid")
            assert (answer["height"], answer["as_of"], answer["proof_pending"]) == (6, 6 + ahead, None)
            assert answer["time"] == answer["status"]["time"]
            assert answer["time"] == (await client.call("ledger_getBlock", [6]))["header"]["time"]
        absent = await client.call("cert_getStatus", ["FTP-2026-06-000009"])
        assert (absent["exists"], proved(absent, policy, "FTP-2026-06-000009")) == (False, (6, None))
        exact = await client.call("cert_getStatus", [NUMBER, 6 + ahead])
        assert (exact["height"], exact["proof"], exact["proof_pending"]["retryable"]) == (6 + ahead, None, True)
        assert exact["proof_pending"]["proved_height"] == 6


async def test_a_checkpoint_in_the_middle_of_a_block_covers_the_block_before(client, node, granted) -> None:
    node.checkpoint()
    size = node.chain.log_size
    node.commit_events(3)
    node.checkpoint_at(size + 2)
    policy = (await client.get("/policy"))[1].decode()
    assert proved(await client.call("cert_getStatus", [NUMBER]), policy) == (6, "valid")


async def test_a_change_that_no_checkpoint_covers_is_told_without_a_proof(
    client, node, services, server, submit, granted
) -> None:
    node.checkpoint()
    server._dispatcher._services = replace(services, wait_timeout_ms=150)
    await submit(*REVOKE)
    answer = await client.call("cert_getStatus", [NUMBER])
    assert (answer["status"]["status"], answer["status"]["valid"], answer["proof"]) == ("revoked", False, None)
    assert (answer["height"], answer["as_of"]) == (7, 7)
    pending = answer["proof_pending"]
    assert (pending["reason"], pending["retryable"], pending["proved_height"]) == ("checkpoint_pending", True, 6)
    assert 0 < pending["retry_after_ms"] <= 1_500


async def test_a_term_that_ended_since_the_checkpoint_is_told_without_a_proof(
    client, node, services, server, granted
) -> None:
    node.checkpoint()
    server._dispatcher._services = replace(services, wait_timeout_ms=0)
    node.now += 4 * 366 * 86_400_000
    node.commit_events(1)
    answer = await client.call("cert_getStatus", [NUMBER])
    assert (answer["status"]["status"], answer["proof"], answer["height"]) == ("expired", None, 7)


async def test_a_change_is_waited_for_until_a_checkpoint_covers_it(client, node, submit, granted, monkeypatch) -> None:
    node.checkpoint()
    await submit(*REVOKE)
    read, reads = node.reader.checkpoint, []

    def checkpoint(size_min: int = 0):
        reads.append(size_min)
        if len(reads) == 6:  # while the second answer is made, the chain goes on
            node.checkpoint()
            node.commit_events(1)
        return read(size_min)

    monkeypatch.setattr(node.reader, "checkpoint", checkpoint)
    policy = (await client.get("/policy"))[1].decode()
    answer = await client.call("cert_getStatus", [NUMBER])
    assert proved(answer, policy) == (7, "revoked")
    assert (answer["status"]["status"], answer["height"], answer["as_of"]) == ("revoked", 7, 8)


def test_a_status_waits_for_a_checkpoint_for_no_longer_than_a_person_would() -> None:
    assert METHODS["cert_getStatus"].wait_ms == CHECKPOINT_WAIT_MS <= 1_500


@pytest.mark.parametrize(
    ("at", "code", "got"),
    [
        ("2099-01-01T00:00:00Z", -32602, "2099"),
        ("2020-01-01T00:00:00Z", -32001, "2020"),
        ("yesterday", -32602, "yesterday"),
        (99, -32001, "99"),
        (-1, -32602, "-1"),
        (1.5, -32602, "float"),
        ("", -32602, ""),
    ],
)
async def test_a_moment_that_is_none_is_refused(client, at: object, code: int, got: str) -> None:
    error = await client.error("cert_getStatus", {"number": NUMBER, "at": at})
    assert (error["code"], error["data"]["where"]) == (code, "$.at" if at != 99 else "$.height")
    assert got in error["data"]["got"]


async def test_certificates_are_listed_in_pages_by_number(client, submit, granted) -> None:
    for serial in (2, 3):
        for step in life(f"FTP-2026-06-00000{serial}", f"bank-a.000{serial}"):
            assert (await submit(*step))["outcome"]["applied"]
    expected = [f"FTP-2026-06-00000{serial}" for serial in (1, 2, 3)]
    for order, numbers in (("asc", expected), ("desc", expected[::-1])):
        first = await client.call("cert_list", {"limit": 2, "order": order})
        rest = await client.call("cert_list", {"limit": 2, "order": order, "cursor": first["cursor"]})
        assert [item["number"] for item in first["certificates"] + rest["certificates"]] == numbers
        assert rest["cursor"] is None
    assert (await client.call("cert_list", {"holder": "bank-b"}))["certificates"] == []
    listed = (await client.call("cert_list", {"holder": "bank-a"}))["certificates"]
    assert [item["status"]["status"] for item in listed] == ["valid"] * 3


async def test_a_cursor_goes_on_in_its_own_order_and_in_no_other(client, node, submit, granted) -> None:
    for step in life("FTP-2026-06-000002", "bank-a.0002"):
        await submit(*step)
    node.member, node.key_use = "bank-a", "source"
    node.commit_events(2)
    for name, items in (("cert_list", "certificates"), ("payment_list", "statements"), ("ledger_getBlocks", "blocks")):
        for order, other in (("asc", "desc"), ("desc", "asc")):
            both = (await client.call(name, {"limit": 2, "order": order}))[items]
            cursor = (await client.call(name, {"limit": 1, "order": order}))["cursor"]
            for params in ({}, {"order": order}):
                assert (await client.call(name, {"limit": 1, "cursor": cursor} | params))[items] == both[1:]
            error = await client.error(name, {"limit": 1, "cursor": cursor, "order": other})
            assert (error["code"], error["data"]["where"]) == (-32602, "$.cursor")
            assert (error["data"]["expected"], error["data"]["got"]) == (other, order)


async def test_a_history_holds_every_event_rejected_ones_too(client, submit, granted) -> None:
    rejected = await submit("bank-a", "source", *life()[5][2:])
    assert not rejected["outcome"]["applied"]
    first = await client.call("cert_history", {"number": NUMBER, "limit": 4})
    rest = await client.call("cert_history", {"number": NUMBER, "limit": 4, "cursor": first["cursor"]})
    events = first["events"] + rest["events"]
    assert [event["id"] for event in events] == [*granted, rejected["id"]]
    assert [event["kind"] for event in events[:2]] == ["certificate.apply", "certificate.accept"]
    error = await client.error("cert_history", {"number": "FTP-2026-06-000009", "cursor": first["cursor"]})
    assert error["data"]["where"] == "$.cursor"


async def test_statements_about_a_payment_meet(client, node, make_statement) -> None:
    key = sha256(b"pair").digest()
    for number, member in enumerate(("bank-a", "bank-b")):
        node.member = member
        body = make_statement(number, pair_key=key, uetr=bytes.fromhex(UETR.replace("-", "")))
        node.commit(node.batch([node.event(number, body=body), node.event(10 + number)]))
    for params in ({"uetr": UETR}, {"pair_key": key.hex()}, [None, key.hex()]):
        answer = await client.call("payment_get", params)
        assert [item["member"] for item in answer["statements"]] == ["bank-a", "bank-b"]
        assert answer["as_of"] == 2
        assert [item["body"]["amount"] for item in answer["statements"]] == ["123.45", "123.46"]
    page = await client.call("payment_get", {"uetr": UETR, "limit": 1})
    rest = await client.call("payment_get", {"uetr": UETR, "limit": 1, "cursor": page["cursor"]})
    assert [item["member"] for item in page["statements"] + rest["statements"]] == ["bank-a", "bank-b"]


@pytest.mark.parametrize(
    ("params", "code", "part"),
    [
        ({}, -32602, "uetr or pair_key"),
        ({"uetr": UETR, "pair_key": "ab" * 32}, -32602, "uetr or pair_key"),
        ({"uetr": UETR.upper()}, -32602, "UUID"),
        ({"uetr": UETR}, -32001, UETR),
    ],
)
async def test_a_payment_that_is_none_is_refused(client, params: dict[str, str], code: int, part: str) -> None:
    error = await client.error("payment_get", params)
    assert error["code"] == code
    assert part in error["message"]


async def test_statements_are_listed_newest_first_of_one_member_or_all(client, node) -> None:
    for number, member in enumerate(("bank-a", "bank-b", "bank-a")):
        node.member = member
        node.commit_events(2, first=2 * number)
    everything = await client.call("payment_list")
    places = [item["log_index"] for item in everything["statements"]]
    assert places == sorted(places, reverse=True)
    assert len(places) == 6
    first = await client.call("payment_list", {"member": "bank-a", "limit": 3})
    rest = await client.call("payment_list", {"member": "bank-a", "limit": 3, "cursor": first["cursor"]})
    assert {item["member"] for item in first["statements"] + rest["statements"]} == {"bank-a"}
    assert len(first["statements"] + rest["statements"]) == 4


async def test_a_node_without_an_index_says_so(client, services, server) -> None:
    server._dispatcher._services = replace(services, index=None)
    for method in ("payment_list", "cert_list"):
        error = await client.error(method)
        assert (error["code"], error["data"]["reason"]) == (-32002, "no_index")


async def test_a_receipt_verifies_offline_under_the_policy_that_is_served(client, node) -> None:
    ids = node.commit_events(5)
    error = await client.error("ledger_getProof", [ids[3].hex()])
    assert (error["code"], error["data"]["reason"], error["data"]["retryable"]) == (-32002, "checkpoint_pending", True)
    node.checkpoint()
    receipt = (await client.call("ledger_getProof", [ids[3].hex()]))["receipt"]
    status, policy, headers = await client.get("/policy")
    assert (status, headers["Content-Type"]) == (200, "text/plain; charset=utf-8")
    verdict = verify(receipt, policy.decode())
    assert (verdict.event_id, verdict.applied, verdict.member) == (ids[3], True, "bank-a")
    status, served, headers = await client.get(f"/events/{ids[3].hex()}.tlog-proof")
    assert (status, served.decode()) == (200, receipt)
    assert headers["Content-Disposition"].startswith("attachment")


@pytest.mark.parametrize("place", [-1, 2**53, 2**63, 2**64 - 1, "x", None, 1.5])
async def test_a_cursor_that_somebody_made_up_is_refused(client, place: Any) -> None:
    forged = {
        "ledger_getBlocks": ({}, (place, "desc")),
        "ledger_getBlockEvents": ({"height": 0}, (0, place)),
        "payment_get": ({"uetr": UETR}, (UETR, place)),
        "payment_list": ({}, (place, "desc")),
        "cert_history": ({"number": NUMBER}, (NUMBER, place)),
    }
    for method, (params, position) in forged.items():
        error = await client.error(method, params | {"cursor": make_cursor(method, *position)})
        assert (error["code"], error["data"]["where"]) == (-32602, "$.cursor")
