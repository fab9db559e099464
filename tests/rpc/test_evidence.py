"""net_evidence, and `chainnode evidence verify` over the receipt of what it lists."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from msgspec.structs import replace
from nacl.signing import VerifyKey

import chainnode.founding
from chainnode.cli.main import run
from ledger.batch_headers import batch_statement
from ledger.batches import parse_batch
from ledger.events import Event
from ledger.evidence_bodies import (
    BatchesEvidence,
    CosignaturesEvidence,
    EvidenceBody,
    SignedCheckpoint,
    SignedHeader,
    SignedVote,
    VotesEvidence,
    arranged,
    kind_of,
)
from ledger.handovers import first_span
from ledger.trust_policy import policy_text
from primitives.encoding import encode
from primitives.ids import Epoch, Hash, Height, View
from primitives.notes import Checkpoint, cosign_statement
from primitives.votes import PREPARE, vote_statement
from tests.rpc.conftest import MemoryNode, key_of
from tests.rpc.test_subscriptions import Talk, session  # noqa: F401  a fixture

A, B = Hash(b"\x0a" * 32), Hash(b"\x0b" * 32)


def votes(node: MemoryNode, height: int = 7) -> VotesEvidence:
    def signed(block_hash: Hash) -> SignedVote:
        message = vote_statement(PREPARE, node.genesis.chain_id, Epoch(0), View(3), Height(height), block_hash)
        return SignedVote(block_hash, key_of("bank-b", "vote").sign(message))

    return VotesEvidence(0, 3, height, PREPARE, 1, signed(A), signed(B))


def cosignatures(node: MemoryNode) -> EvidenceBody:
    def signed(root: Hash) -> SignedCheckpoint:
        statement = cosign_statement(Checkpoint(node.genesis.origin, 9, root).text(), 100)
        return SignedCheckpoint(9, root, 100, key_of("bank-b", "cosign").sign(statement))

    return arranged(CosignaturesEvidence(0, 1, node.genesis.origin, signed(A), signed(B)))


def batches(node: MemoryNode) -> EvidenceBody:
    header = parse_batch(node.batch([node.event(99)])).header

    def signed(root: Hash) -> SignedHeader:
        changed = replace(header, root=root)
        return SignedHeader(changed, key_of("bank-a", "source").sign(batch_statement(changed)))

    return arranged(BatchesEvidence(signed(A), signed(B)))


def record(node: MemoryNode, *bodies: EvidenceBody) -> None:
    """Put evidence in a block."""
    node.references += 1
    events = [
        encode(Event("bank-a", bytes([node.references, index]) * 8, node.now + 60_000, kind_of(body), 1, encode(body)))
        for index, body in enumerate(bodies)
    ]
    node.commit(node.batch(events))


async def test_evidence_comes_with_whom_it_names_and_what_was_signed(client, node) -> None:
    record(node, votes(node), cosignatures(node), batches(node))
    found = await client.call("net_evidence", {"order": "asc"})
    assert (found["count"], found["cursor"], found["as_of"]) == (3, None, 1)
    voted, cosigned, sourced = found["evidence"]
    assert [item["kind"] for item in found["evidence"]] == [
        "evidence.votes", "evidence.cosignatures", "evidence.batches",
    ]  # fmt: skip
    assert voted["accused"] == {
        "validator": "node-bank-b", "epoch": 0, "index": 1, "source": None, "member": "bank-b",
        "key": key_of("bank-b", "vote").public.hex(),
    }  # fmt: skip
    assert (voted["view"], voted["voted_height"], voted["phase"]) == (3, 7, "prepare")
    assert [voted[name]["says"]["block_hash"] for name in ("first", "second")] == [A.hex(), B.hex()]
    assert cosigned["first"]["says"] == {"size": 9, "root": A.hex(), "time_s": 100}
    assert sourced["accused"]["source"] == sourced["accused"]["key"] == key_of("bank-a", "source").public.hex()
    assert sourced["batch_number"] == sourced["first"]["says"]["number"]
    for item in found["evidence"]:
        assert (item["height"], item["reporter"]) == (1, "bank-a")
        for name in ("first", "second"):
            signed = base64.b64decode(item[name]["signed"])
            VerifyKey(bytes.fromhex(item["accused"]["key"])).verify(signed, bytes.fromhex(item[name]["signature"]))
        assert (await client.call("net_evidence", {"event_id": item["event_id"]}))["evidence"] == [item]


@pytest.mark.parametrize(("order", "expected"), [("desc", [4, 3, 2, 1, 0]), ("asc", [0, 1, 2, 3, 4])])
async def test_pages_of_evidence_come_without_gap_or_repetition(client, node, order: str, expected: list[int]) -> None:
    assert (await client.call("net_evidence"))["evidence"] == []
    for height in range(1, 6):
        record(node, votes(node, height))
    numbers: list[int] = []
    params: dict[str, object] = {"limit": 2, "order": order}
    while True:
        page = await client.call("net_evidence", params)
        assert (page["count"], page["as_of"]) == (5, 5)
        numbers += [item["number"] for item in page["evidence"]]
        if page["cursor"] is None:
            break
        params = {"limit": 2, "cursor": page["cursor"]}
    assert numbers == expected


async def test_an_event_that_is_no_recorded_evidence_is_not_found(client, node) -> None:
    (event_id,) = node.commit_events(1)
    record(node, votes(node))
    record(node, votes(node))  # a duplicate
    twice = node.reader.block_events(3)[0]
    assert twice.outcome.rule == "duplicate"
    for name in (event_id, twice.id, A):
        assert (await client.error("net_evidence", {"event_id": name.hex()}))["code"] == -32001


async def receipts(client, node, folder: Path) -> list[Path]:
    """Write the receipts of all evidence, and the policy, into a folder."""
    node.checkpoint()
    (folder / "policy").write_text(policy_text(node.genesis, (first_span(node.genesis),)))
    files = []
    for item in (await client.call("net_evidence", {"order": "asc"}))["evidence"]:
        files.append(folder / f"{item['kind']}.tlog-proof")
        files[-1].write_text((await client.call("ledger_getProof", {"event_id": item["event_id"]}))["receipt"])
    return files


async def test_evidence_is_verified_offline_with_the_keys_at_hand(
    client, node, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chainnode.founding, "read_genesis", lambda path: node.genesis)
    record(node, votes(node), cosignatures(node), batches(node))
    files = await receipts(client, node, tmp_path)
    capsys.readouterr()
    policy, genesis = ["--policy", str(tmp_path / "policy")], ["--genesis", "genesis.json"]
    checked = []
    for file in files:
        for more in ([], genesis):
            assert run(["-o", "json", "evidence", "verify", str(file), *policy, *more]) == 0, capsys.readouterr().err
            row = json.loads(capsys.readouterr().out)
            checked.append((row["verified"], row["checked"].endswith("here")))
    assert checked == [(True, False), (True, True), (True, True), (True, True), (True, True), (True, True)]


async def test_what_is_no_evidence_does_not_verify(
    client, node, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (event_id,) = node.commit_events(1)
    record(node, votes(node))
    record(node, votes(node))
    twice = node.reader.block_events(3)[0].id
    (good,) = await receipts(client, node, tmp_path)
    policy = ["--policy", str(tmp_path / "policy")]
    for name in (event_id, twice):
        file = tmp_path / "other"
        file.write_text((await client.call("ledger_getProof", {"event_id": name.hex()}))["receipt"])
        assert run(["evidence", "verify", str(file), *policy]) == 3
    damaged = tmp_path / "damaged"
    damaged.write_text(good.read_text().replace("A", "B", 1))
    assert run(["evidence", "verify", str(damaged), *policy]) == 3
    foreign = replace(node.genesis, chain="another")
    monkeypatch.setattr(chainnode.founding, "read_genesis", lambda path: foreign)
    assert run(["evidence", "verify", str(good), *policy, "--genesis", "foreign.json"]) == 3
    assert "genesis of another chain" in capsys.readouterr().err


async def proof_files(client, folder: Path) -> list[Path]:
    """Write what `chainnode evidence show --proof` writes of all evidence."""
    files = []
    for item in (await client.call("net_evidence", {"order": "asc"}))["evidence"]:
        found = await client.call("net_evidenceProof", {"event_id": item["event_id"]})
        assert found["as_of"] == 1
        files.append(folder / f"{item['kind']}.json")
        files[-1].write_text(json.dumps(found["proof"]))
    return files


async def test_a_proof_of_evidence_is_verified_with_the_genesis_and_nothing_else(
    client, node, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chainnode.founding, "read_genesis", lambda path: node.genesis)
    record(node, votes(node), cosignatures(node), batches(node))
    accused = []
    files = await proof_files(client, tmp_path)
    capsys.readouterr()
    for file in files:
        assert run(["-o", "json", "evidence", "verify", str(file), "--genesis", "genesis.json"]) == 0
        row = json.loads(capsys.readouterr().out)
        accused.append(
            (row["verified"], row["accused"], row["member"], row["accused_key"], row["epoch"], row["height"])
        )
    keys = [key_of(*name).public.hex() for name in (("bank-b", "vote"), ("bank-b", "cosign"), ("bank-a", "source"))]
    assert accused == [
        (True, "node-bank-b", "bank-b", keys[0], 0, 1),
        (True, "node-bank-b", "bank-b", keys[1], 0, 1),
        (True, None, "bank-a", keys[2], 0, 1),
    ]


async def test_a_proof_that_is_damaged_or_of_another_chain_does_not_verify(
    client, node, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    record(node, votes(node))
    (good,) = await proof_files(client, tmp_path)
    text = good.read_text()
    damaged = tmp_path / "damaged"
    monkeypatch.setattr(chainnode.founding, "read_genesis", lambda path: node.genesis)
    command = ["evidence", "verify", str(damaged), "--genesis", "genesis.json"]
    others = [
        text[:-20], "{}", "[" * 100_000, '{"a":' * 50_000, text.replace("{", '{"version": 1, ', 1), '{"version": 1e3}',
        text.replace('"number": 0', '"number": ' + "9" * 6_000), text.replace('"number": 0', '"number": 1'),
        json.dumps({**json.loads(text), "version": 2}),
    ]  # fmt: skip
    for other in others:
        assert other != text
        damaged.write_text(other)
        assert run(command) in ((3,) if other.startswith("{") else (2,)), other[:80]
        assert "Traceback" not in capsys.readouterr().err
    monkeypatch.setattr(chainnode.founding, "read_genesis", lambda path: replace(node.genesis, chain="another"))
    assert run(["evidence", "verify", str(good), "--genesis", "foreign.json"]) == 3
    assert "does not verify" in capsys.readouterr().err


async def test_each_form_of_evidence_asks_for_what_it_is_verified_under(
    client, node, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(node, votes(node))
    (proof,) = await proof_files(client, tmp_path)
    (receipt,) = await receipts(client, node, tmp_path)
    assert run(["evidence", "verify", str(proof), "--policy", str(tmp_path / "policy")]) == 2
    assert "--genesis" in capsys.readouterr().err
    assert run(["evidence", "verify", str(receipt)]) == 2
    assert "--policy" in capsys.readouterr().err


async def test_an_event_that_is_no_recorded_evidence_has_no_proof(client, node) -> None:
    (event_id,) = node.commit_events(1)
    assert (await client.error("net_evidenceProof", {"event_id": event_id.hex()}))["code"] == -32001


async def test_recorded_evidence_is_told_to_subscribers_as_it_is_listed(server, session, client, node) -> None:  # noqa: F811
    record(node, votes(node))
    talk = Talk(await session.ws_connect(server.address + "/ws"))
    await talk.subscribe("evidence", from_cursor="earliest")
    node.commit_events(1)
    record(node, votes(node), votes(node, 8), cosignatures(node))  # the first of them is recorded already
    told = await talk.next(3)
    listed = (await client.call("net_evidence", {"order": "asc"}))["evidence"]
    assert [evidence for evidence, _ in told] == listed
    again = Talk(await session.ws_connect(server.address + "/ws"))
    await again.subscribe("evidence", from_cursor=told[1][1])
    assert await again.next(1) == told[2:]
    await again.nothing_more()
