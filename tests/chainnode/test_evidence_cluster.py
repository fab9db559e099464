"""Whole clusters: who contradicts itself ends up with one evidence event on the chain, and nobody else ever does."""

from __future__ import annotations

from random import Random

import pytest
from msgspec.structs import replace

from chainnode.core import BATCH
from consensus.messages import CheckpointVote, Vote, decode_message, encode_message, kind_of
from ledger.batches import build_batch, parse_batch
from ledger.evidence import RecordedEvidence, evidence_kinds, read_recorded, recorded_count
from ledger.evidence_bodies import EVIDENCE_BATCHES, EVIDENCE_COSIGNATURES, EVIDENCE_VOTES
from ledger.registry import KINDS
from primitives.errors import SignatureError
from primitives.hashing import leaf_hash
from primitives.ids import Hash, TimeMs
from primitives.notes import Checkpoint, cosign_statement
from sim.cluster import Cluster, Offer
from sim.malicious import Equivocator
from sim.network import CALM
from sim.signatures import stand_in_signature
from sim.twister import Letter, Twister
from sim.workload import START_MS, bank_of, key_of, statement

LIAR = 0


def cluster_with(behaviour: type[Twister] | None, liar: int = LIAR, seed: int = 1) -> Cluster:
    """Return a cluster of four; `liar` is malicious in the way given."""
    cluster = Cluster(seed, weather=CALM)
    if behaviour is not None:
        node = cluster.nodes[liar]
        node.malicious = behaviour(cluster.genesis_validators.validators[liar], cluster.chain_id)
        assert node.core is not None
        node.malicious.attach(node.core)
    for number in range(12):
        cluster.schedule(START_MS + 100 + 400 * number, Offer(1 + number % 3, 2))
    return cluster


def recorded(cluster: Cluster, index: int) -> list[RecordedEvidence]:
    """Return what the chain of a node has recorded."""
    core = cluster.nodes[index].core
    assert core is not None
    state = core.chain.state_after(core.chain.tip_hash)
    rows = [read_recorded(state, number) for number in range(recorded_count(state))]
    return [row for row in rows if row is not None]


def on_all_chains(cluster: Cluster) -> list[RecordedEvidence]:
    """Return what is recorded, which must be the same on every honest node."""
    honest = [node.index for node in cluster.nodes if node.honest]
    found = [recorded(cluster, index) for index in honest]
    assert all(rows == found[0] for rows in found)
    return found[0]


class TwoCosigner(Twister):
    """Cosigns another root to every second validator."""

    def _one(self, letter: Letter, random: Random) -> list[Letter]:
        message = decode_message(letter.kind, letter.payload) if letter.kind < BATCH else None
        if not isinstance(message, CheckpointVote) or letter.receiver % 2:
            return [letter]
        root = leaf_hash(message.root)
        text = Checkpoint(self.core.chain.genesis.origin, message.size, root).text()
        signature = stand_in_signature(self._validator.cosign_key, cosign_statement(text, message.time_s))
        lie = replace(message, root=root, signature=signature)
        return [Letter(letter.receiver, kind_of(lie), encode_message(lie)), letter]


class TwoVoter(Twister):
    """Votes for another block to one validator."""

    def _one(self, letter: Letter, random: Random) -> list[Letter]:
        message = decode_message(letter.kind, letter.payload) if letter.kind < BATCH else None
        if not isinstance(message, Vote) or message.validator != LIAR + 1 or letter.receiver != 3:
            return [letter]
        lie = self._signed(replace(message, block_hash=leaf_hash(message.block_hash)))
        return [letter, Letter(letter.receiver, kind_of(lie), encode_message(lie))]


@pytest.mark.parametrize("seed", range(3))
def test_a_leader_that_equivocates_has_one_evidence_event_on_the_chain(seed: int) -> None:
    cluster = cluster_with(Equivocator, seed=seed)
    cluster.run_until(START_MS + 20_000)
    (row,) = on_all_chains(cluster)
    assert (row.kind, row.name) == (EVIDENCE_VOTES, bank_of(LIAR))
    core = cluster.nodes[1].core
    assert core is not None
    view = core.reader.event(row.event_id)
    assert view is not None
    assert view.outcome.applied


def test_a_backup_that_votes_twice_has_one_evidence_event_on_the_chain() -> None:
    cluster = cluster_with(TwoVoter, liar=LIAR + 1)
    cluster.run_until(START_MS + 15_000)
    (row,) = on_all_chains(cluster)
    assert (row.kind, row.name) == (EVIDENCE_VOTES, bank_of(LIAR + 1))


def test_a_validator_that_cosigns_two_roots_has_one_evidence_event_on_the_chain() -> None:
    cluster = cluster_with(TwoCosigner)
    cluster.run_until(START_MS + 15_000)
    (row,) = on_all_chains(cluster)
    assert (row.kind, row.name) == (EVIDENCE_COSIGNATURES, bank_of(LIAR))


def test_honest_validators_and_sources_never_have_evidence_against_them() -> None:
    cluster = cluster_with(None)
    cluster.nodes[2].skew_ms = 900
    cluster.schedule(START_MS + 3_000, lambda: setattr(cluster.nodes[2], "skew_ms", -900))
    cluster.schedule(START_MS + 4_000, lambda: cluster.crash(1))
    cluster.schedule(START_MS + 6_000, lambda: cluster.start(1))
    cluster.run_until(START_MS + 15_000)
    assert on_all_chains(cluster) == []
    assert not any("evidence" in line for line in cluster.log)


def two_batches(cluster: Cluster, source: int, number: int = 0) -> list[bytes]:
    """Return two signed batches of one number."""
    member = bank_of(source)
    return [
        build_batch(
            [statement(member, 10**6 + branch, cluster.now_ms)], chain_id=cluster.chain_id, member=member,
            key=key_of(member, "source"), number=number, previous=Hash(bytes(32)), time_ms=TimeMs(cluster.now_ms),
        )
        for branch in range(2)
    ]  # fmt: skip


@pytest.mark.parametrize("second_ms", [100, 3_000], ids=["while the first waits", "after the first was ordered"])
def test_a_source_that_signs_a_number_twice_has_one_evidence_event_on_the_chain(second_ms: int) -> None:
    cluster = cluster_with(None)
    first, second = two_batches(cluster, 0)
    for at_ms, receiver, raw in ((100, 1, first), (second_ms, 2, second)):
        core = cluster.nodes[receiver].core
        assert core is not None
        cluster.schedule(
            START_MS + at_ms, lambda core=core, raw=raw: core.on_message(bank_of(0), BATCH, raw, cluster.now_ms)
        )
    cluster.run_until(START_MS + 20_000)
    (row,) = on_all_chains(cluster)
    assert (row.kind, row.member, row.key) == (EVIDENCE_BATCHES, bank_of(0), key_of(bank_of(0), "source").public)


@pytest.mark.parametrize("survives", [True, False], ids=["with its store", "with no store"])
def test_what_one_node_alone_found_of_a_source_outlives_its_crash(survives: bool) -> None:
    """Nobody else was shown the second batch, and of the two only the ordered one is kept."""
    cluster = cluster_with(None)
    first, second = two_batches(cluster, 0)
    last = parse_batch(first).header.source[0] % 4  # whose turn to submit it is the last, six seconds on
    for at_ms, receiver, raw in ((100, 1, first), (3_000, last, second)):
        core = cluster.nodes[receiver].core
        assert core is not None
        peer = bank_of((receiver + 1) % 4)
        cluster.schedule(
            START_MS + at_ms, lambda core=core, raw=raw, peer=peer: core.on_message(peer, BATCH, raw, cluster.now_ms)
        )

    def crash() -> None:
        cluster.crash(last)
        rows = cluster.nodes[last].disk.store.rows()
        findings = [key for key in rows if key[:1] == b"e"]
        assert len(findings) == 1, "written before it was told"
        if not survives:
            cluster.nodes[last].disk.store.write([(findings[0], None)], sync=True)

    cluster.schedule(START_MS + 4_000, crash)
    cluster.schedule(START_MS + 5_000, lambda: cluster.start(last))
    cluster.run_until(START_MS + 20_000)
    assert len(on_all_chains(cluster)) == (1 if survives else 0)


def test_a_batch_with_a_forged_signature_accuses_no_source() -> None:
    cluster = cluster_with(None)
    core = cluster.nodes[1].core
    assert core is not None
    first, second = (parse_batch(raw) for raw in two_batches(cluster, 0))
    forged = replace_signature(second.raw, first.signature)
    core.on_message(bank_of(0), BATCH, first.raw, START_MS)
    with pytest.raises(SignatureError):
        core.on_message(bank_of(0), BATCH, forged, START_MS)
    for seconds in (1, 60):  # it would be noted at the first, and be this node's turn by the second
        core.on_tick(TimeMs(START_MS + 1_000 * seconds))
        assert core.take_turn().submissions == []


def replace_signature(raw: bytes, signature: bytes) -> bytes:
    return raw.replace(parse_batch(raw).signature, signature)


def test_production_verifies_evidence_with_nothing_but_the_one_verifier() -> None:
    production = {spec.kind for spec in evidence_kinds()}
    assert production <= set(KINDS)
