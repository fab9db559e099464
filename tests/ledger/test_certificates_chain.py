"""The sample certificates through the real chain: signed batches, blocks, outcomes, and the state that they leave."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

from msgspec.structs import replace

from ledger.batches import build_batch, parse_batch, verify_batch
from ledger.certificate_records import Certificate, read_certificate
from ledger.chain import Chain
from ledger.event_json import event_from_json
from ledger.genesis import Genesis, GenesisMember, GenesisSource, GenesisValidator
from ledger.members import Role
from ledger.outcomes import Outcome
from ledger.registry import KINDS
from ledger.store import MemoryStore
from primitives.encoding import encode
from primitives.ids import Epoch, Height, View
from primitives.keys import SigningKey
from primitives.votes import COMMIT, QuorumCertificate, vote_statement
from tests.ledger.genesis_fixtures import TIME_MS, certificate_pem, public_key, small_genesis

FILES = sorted((Path(__file__).resolve().parents[2] / "samples" / "certificates").glob("*.jsonl"))
ROLES = {
    "bank": Role.BANK,
    "reviewer": Role.CERTIFICATION_BODY,
    "decider": Role.CERTIFICATION_BODY,
    "laboratory": Role.LABORATORY,
    "inspector": Role.INSPECTOR,
    "regulator": Role.REGULATOR,
}


def signing_key(name: str) -> SigningKey:
    return SigningKey.generate(sha256(name.encode()).digest())


def genesis_of_the_samples() -> Genesis:
    """Return a genesis with the members and keys that the samples' file names hold, and one validator."""
    desks = sorted({file.stem[3:] for file in FILES})
    members: dict[str, GenesisMember] = {}
    for desk in desks:
        member, _, role_name = desk.rpartition("-")
        role = ROLES[role_name]
        source = GenesisSource(public_key(desk), (role,))
        pem = certificate_pem(member) if member == "bank-a" else ""
        known = members.get(member, GenesisMember(member, member, (role,), pem, (), (), ()))
        members[member] = replace(known, sources=(*known.sources, source))
    node = GenesisValidator(
        "n", "bank-a", public_key("vote"), public_key("cosign"), public_key("log"), "127.0.0.1:7400"
    )
    return replace(small_genesis(), members=tuple(members.values()), validators=(node,))


class OneNode:
    """A chain of one validator that commits each batch in a block of its own."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.genesis = genesis_of_the_samples()
        self.chain = Chain(self.store, self.genesis)
        self.now_ms = TIME_MS

    def submit(self, file: Path, expires_ms: int) -> tuple[Outcome, ...]:
        """Commit a file's events as one batch of the key that its name holds; return their outcomes."""
        desk = file.stem[3:]
        member = desk.rpartition("-")[0]
        lines = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
        events = [encode(event_from_json(line, member=member, expires_ms=expires_ms)) for line in lines]
        key = signing_key(desk)
        number, previous = self.chain.next_number(self.chain.tip_hash, key.public)
        raw = build_batch(
            events,
            chain_id=self.chain.chain_id,
            member=member,
            key=key,
            number=number,
            previous=previous,
            time_ms=self.chain.header.time_ms,
        )
        parsed = parse_batch(raw, KINDS)
        verify_batch(parsed)
        self.store.write(self.chain.add_batch(parsed), sync=True)
        self.now_ms += 1_000
        block = self.chain.build(self.chain.tip_hash, time_ms=self.now_ms, epoch=0, proposer=0, batches=[parsed])
        block_hash, height = block.header.hash(), Height(block.header.height)
        vote = signing_key("vote").sign(
            vote_statement(COMMIT, self.chain.chain_id, Epoch(0), View(0), height, block_hash)
        )
        certificate = QuorumCertificate(COMMIT, Epoch(0), View(0), height, block_hash, ((0, vote),))
        committed = self.chain.commit(block_hash, certificate)
        self.store.write(committed.puts, sync=True)
        self.chain.written(committed.ticket)
        return committed.outcomes


def test_every_sample_is_applied_and_a_second_run_changes_nothing() -> None:
    node = OneNode()
    expires_ms = TIME_MS + 3_600_000
    for file in FILES:
        assert {outcome.rule for outcome in node.submit(file, expires_ms)} == {""}, file.name
    before = certificates_of(node)
    assert len(before) == 16
    for file in FILES:
        assert {outcome.rule for outcome in node.submit(file, expires_ms)} == {"duplicate"}, file.name
    for file in FILES:  # with another expiry it is another event under a reference that is taken
        assert {outcome.rule for outcome in node.submit(file, expires_ms + 1)} == {"conflict"}, file.name
    assert certificates_of(node) == before


def certificates_of(node: OneNode) -> list[Certificate]:
    state = node.chain.state_after(node.chain.tip_hash)
    return [certificate for _, certificate in state.scan("certificate/", Certificate)]


def test_out_of_order_a_sample_is_rejected_by_its_rule_and_leaves_no_trace() -> None:
    node = OneNode()
    by_name = {file.stem: file for file in FILES}
    later = TIME_MS + 3_600_000
    assert {outcome.rule for outcome in node.submit(by_name["09-cb-decider"], later)} == {"unknown_application"}
    assert {outcome.rule for outcome in node.submit(by_name["11-regulator-regulator"], later)} == {
        "unknown_certificate"
    }
    assert read_certificate(node.chain.state_after(node.chain.tip_hash), "FTP-2026-03-000001") is None
