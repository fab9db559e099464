"""Answers whose checkpoint must bear the cosignatures of outside witnesses."""

from __future__ import annotations

import json

import pytest

from ledger.policy_witnesses import with_witnesses
from ledger.receipts import verify
from ledger.witnessed import WITNESSES_MAX, witnessed_rows
from primitives.notes import COSIGNATURE_V1, NoteKey, cosign, parse_note
from tests.rpc.conftest import key_of

NAME = "regulator.example/w"
WITNESS = key_of("regulator", "witness")
KEY = NoteKey(NAME, COSIGNATURE_V1, WITNESS.public)


def witnessed(node) -> None:
    """Make the present tip a stable checkpoint that the witness has cosigned."""
    note = node.checkpoint()
    line = cosign(parse_note(note).text, NAME, WITNESS, node.now // 1_000)
    node.store.write(witnessed_rows(note + line, [KEY]), sync=True)


async def test_a_receipt_is_made_under_what_the_witness_cosigned_as_soon_as_that_covers_it(client, node) -> None:
    (event_id,) = node.commit_events(1)
    node.checkpoint()
    path = f"/events/{event_id.hex()}.tlog-proof?witness={NAME}"
    for params in ([NAME], ["nobody"], [NAME, "nobody"]):
        error = await client.error("ledger_getProof", {"event_id": event_id.hex(), "witnesses": params})
        assert (error["code"], error["data"]["reason"]) == (-32002, "witness_pending")
        assert error["data"]["retryable"] is True
    status, body, _ = await client.get(path)
    assert (status, json.loads(body)["error"]["data"]["reason"]) == (503, "witness_pending")
    witnessed(node)
    policy = with_witnesses((await client.get("/policy"))[1].decode(), {"regulator": KEY})
    answer = await client.call("ledger_getProof", {"event_id": event_id.hex(), "witnesses": [NAME]})
    assert "regulator" in verify(answer["receipt"], policy).cosigners
    status, body, _ = await client.get(path)
    assert (status, body.decode()) == (200, answer["receipt"])
    node.commit_events(1)
    node.checkpoint()  # the chain runs ahead of the witness
    assert (await client.call("ledger_getProof", {"event_id": event_id.hex()}))["receipt"] == answer["receipt"]


async def test_the_newest_checkpoint_of_a_witness_is_served_beside_the_newest(client, node) -> None:
    node.commit_events(1)
    node.checkpoint()
    status, body, _ = await client.get(f"/checkpoint?witness={NAME}")
    assert (status, json.loads(body)["error"]["data"]["reason"]) == (503, "witness_pending")
    witnessed(node)
    node.commit_events(1)
    newest = node.checkpoint()
    assert (await client.get("/checkpoint"))[1].decode() == newest
    status, note, _ = await client.get(f"/checkpoint?witness={NAME}")
    assert status == 200
    assert [line.name for line in parse_note(note.decode()).signatures].count(NAME) == 1
    many = "&".join(f"witness={number}" for number in range(WITNESSES_MAX + 1))
    status, body, _ = await client.get(f"/checkpoint?{many}")
    assert (status, json.loads(body)["error"]["data"]["reason"]) == (400, "too_many_witnesses")


async def test_completeness_is_proved_as_far_as_the_witness_cosigned(client, node) -> None:
    node.commit_events(2)
    params = {"member": "bank-a", "witnesses": [NAME]}
    node.checkpoint()
    error = await client.error("audit_completeness", params)
    assert (error["code"], error["data"]["reason"]) == (-32002, "witness_pending")
    witnessed(node)
    height = node.chain.height
    node.commit_events(2)
    node.checkpoint()
    assert (await client.call("audit_completeness", params))["covered"] == height
    assert (await client.call("audit_completeness", {"member": "bank-a"}))["covered"] == height + 1


@pytest.mark.parametrize("witnesses", [[""], ["a"] * (WITNESSES_MAX + 1), "a", [1]])
async def test_names_of_witnesses_are_bounded(client, witnesses: object) -> None:
    error = await client.error("ledger_getProof", {"event_id": "00" * 32, "witnesses": witnesses})
    assert error["code"] == -32602
