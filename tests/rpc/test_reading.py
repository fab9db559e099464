"""What the reading methods answer, out of a real chain: places, pages, proofs and heights."""

from __future__ import annotations

import base64

import pytest

from primitives.hashing import leaf_hash
from primitives.ids import ZERO_HASH
from primitives.merkle import verify_consistency
from primitives.notes import ED25519, NoteKey, parse_checkpoint, parse_note, verify_log_signature


async def test_a_block_carries_header_and_certificate_and_its_hash_is_its_leafs(client, node) -> None:
    node.commit_events(2)
    block = await client.call("ledger_getBlock", {"height": 1})
    assert leaf_hash(base64.b64decode(block["header_leaf"])).hex() == block["hash"]
    assert block["header"]["height"] == 1
    assert block["header"]["event_count"] == 2
    assert block["header"]["time"] == "2026-01-01T00:00:01.500Z"
    assert block["certificate"]["block_hash"] == block["hash"]
    assert [item["validator"] for item in block["certificate"]["signatures"]] == [0, 1, 2]
    assert block["as_of"] == 1
    assert block == await client.call("ledger_getBlock", {"hash": block["hash"]})
    assert block == await client.call("ledger_getBlock", ["latest"])


async def test_the_earliest_block_has_no_certificate(client) -> None:
    block = await client.call("ledger_getBlock", {"height": "earliest"})
    assert (block["header"]["height"], block["certificate"]) == (0, None)


@pytest.mark.parametrize(("order", "expected"), [("desc", [5, 4, 3, 2, 1, 0]), ("asc", [0, 1, 2, 3, 4, 5])])
async def test_pages_of_blocks_come_without_gap_or_repetition(client, node, order: str, expected: list[int]) -> None:
    for number in range(5):
        node.commit_events(1, first=number)
    heights: list[int] = []
    params: dict[str, object] = {"limit": 2, "order": order}
    while True:
        page = await client.call("ledger_getBlocks", params)
        assert page["as_of"] == 5
        heights += [block["header"]["height"] for block in page["blocks"]]
        if page["cursor"] is None:
            break
        params = {"limit": 2, "cursor": page["cursor"]}
    assert heights == expected


async def test_events_of_a_block_come_in_pages(client, node) -> None:
    ids = node.commit_events(7)
    first = await client.call("ledger_getBlockEvents", {"height": 1, "limit": 5})
    rest = await client.call("ledger_getBlockEvents", {"height": 1, "limit": 5, "cursor": first["cursor"]})
    assert [event["id"] for event in first["events"] + rest["events"]] == [item.hex() for item in ids]
    assert rest["cursor"] is None
    error = await client.error("ledger_getBlockEvents", {"height": 0, "cursor": first["cursor"]})
    assert (error["code"], error["data"]["where"]) == (-32602, "$.cursor")
    error = await client.error("ledger_getBlocks", {"cursor": first["cursor"]})
    assert (error["data"]["expected"], error["data"]["got"]) == (
        "a cursor that ledger_getBlocks gave",
        "one of ledger_getBlockEvents",
    )


async def test_an_event_shows_its_leaf_body_place_and_outcome(client, node) -> None:
    ids = node.commit_events(3)
    answer = await client.call("ledger_getEvent", [ids[1].hex()])
    event = answer["event"]
    assert leaf_hash(base64.b64decode(event["leaf"])) == ids[1]
    assert (event["kind"], event["schema"], event["member"]) == ("payment.statement", 1, "bank-a")
    assert (event["height"], event["index"], event["log_index"]) == (1, 1, 2)
    assert event["outcome"] == {"applied": True, "rule": None, "detail": None}
    assert (event["body"]["amount"], event["body"]["currency"]) == ("123.46", "CNY")
    assert answer["as_of"] == 1


async def test_an_event_that_broke_a_rule_shows_which(client, node) -> None:
    from ledger.batches import check_event

    event = node.event(1, expires_ms=node.now)
    node.commit(node.batch([event]))
    event_id = check_event(event)[1].hex()
    outcome = (await client.call("ledger_getEvent", [event_id]))["event"]["outcome"]
    assert (outcome["applied"], outcome["rule"]) == (False, "expired")
    status = await client.call("ledger_getStatus", [event_id])
    assert (status["status"], status["outcome"]) == ("Committed", outcome)
    assert (await client.call("ledger_getBlock", [1]))["rejected_count"] == 1


async def test_a_status_is_unknown_pending_committed_or_refused(client, node) -> None:
    from ledger.batches import check_event
    from rpc.ports import SubmitStatus

    event = node.event(1)
    event_id = check_event(event)[1]
    assert (await client.call("ledger_getStatus", [event_id.hex()]))["status"] == "Unknown"
    node.waiting.append(event)
    assert (await client.call("ledger_getStatus", [event_id.hex()]))["status"] == "Pending"
    node.waiting.clear()
    node.known[event_id] = SubmitStatus.REFUSED
    refused = await client.call("ledger_getStatus", [event_id.hex()])
    assert (refused["status"], refused["reason"], refused["message"]) == ("Refused", "expired", "the event had expired")
    node.commit(node.batch([event]))
    committed = await client.call("ledger_getStatus", [event_id.hex()])
    assert (committed["status"], committed["height"], committed["index"]) == ("Committed", 1, 0)


async def test_a_checkpoint_is_the_note_that_the_node_signed(client, node) -> None:
    node.commit_events(3)
    note_text = node.checkpoint()
    answer = await client.call("ledger_getCheckpoint")
    assert answer["note"] == note_text
    note = parse_note(answer["note"])
    verify_log_signature(note, NoteKey(node.genesis.origin, ED25519, node.genesis.validators[0].log_key))
    checkpoint = parse_checkpoint(note.text)
    assert (checkpoint.size, checkpoint.root.hex()) == (answer["size"], answer["root"])
    assert answer["size"] == 5
    assert answer == await client.call("ledger_getCheckpoint", {"size": 5})


async def test_a_consistency_proof_holds(client, node) -> None:
    node.commit_events(5)
    old_size = node.chain.log_size
    node.commit_events(9, first=5)
    node.checkpoint()
    proof = await client.call("ledger_getConsistency", [old_size])
    assert proof["new_size"] == node.chain.log_size
    verify_consistency(
        proof["old_size"],
        bytes.fromhex(proof["old_root"]),
        proof["new_size"],
        bytes.fromhex(proof["new_root"]),
        [bytes.fromhex(item) for item in proof["path"]],
    )


async def test_a_source_learns_its_next_number(client, node) -> None:
    source = node.genesis.members[0].sources[0].key.hex()
    before = await client.call("ledger_getSource", [source])
    assert (before["member"], before["next_number"], before["previous"]) == ("bank-a", 0, ZERO_HASH.hex())
    node.commit_events(1)
    after = await client.call("ledger_getSource", [source])
    assert (after["next_number"], after["as_of"]) == (1, 1)
    assert after["previous"] == (await client.call("ledger_getBlock"))["batch_hashes"][0]


async def test_capabilities_name_kinds_and_limits(client, node) -> None:
    answer = await client.call("ledger_getCapabilities")
    assert answer["chain_id"] == node.chain.chain_id.hex()
    assert "payment.statement" in [kind["name"] for kind in answer["kinds"]]
    assert answer["limits"]["batch_calls_max"] == 100
    assert answer["limits"]["submit_events_max"] == 1_024


async def test_the_network_is_described(client) -> None:
    status = await client.call("net_status")
    needed = {"chain_id", "node", "role", "height", "epoch", "view", "leader", "peers", "catching_up"}
    assert needed <= status.keys()
    validators = await client.call("net_validators")
    assert [item["name"] for item in validators["validators"]] == [f"node-bank-{x}" for x in "abcd"]
    assert [item["leader"] for item in validators["validators"]] == [True, False, False, False]
    assert (validators["n"], validators["f"], validators["quorum"]) == (4, 1, 3)
    peers = await client.call("net_peers")
    assert [peer["name"] for peer in peers["peers"]] == ["node-bank-b", "node-bank-c", "node-bank-d"]
    assert peers["peers"][0]["last_seen"] == "2026-01-01T00:00:00Z"
