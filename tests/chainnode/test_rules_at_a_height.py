"""Rules that a build lacks: it follows up to the last block before them, halts there by name, and votes for none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chainnode.core import NodeCore
from consensus.messages import Blocks, PrePrepare, Vote, encode_message, kind_of
from consensus.state import Parameters
from ledger.chain import Chain
from ledger.governance_bodies import ActivateRules, ChangePolicy, Figure
from ledger.pool import Pool
from ledger.reader import LedgerReader
from ledger.rules import RulesUnknown
from ledger.store import MemoryStore
from primitives.block import Block, CommittedBlock
from primitives.ids import TimeMs, View
from primitives.votes import PREPARE, vote_statement
from tests.chainnode.test_readiness import Signer
from tests.ledger.governance_fixtures import Council, Founded, key_of


def decided() -> tuple[Council, int]:
    """Return a chain that follows rules 2 from a height on, and stands three blocks above it."""
    council = Council(4, rules=(1, 2))
    height = council.chain.height + 40
    proposal = council.propose(ActivateRules(2, height))
    council.vote(proposal, 0, 1, 2)
    while council.chain.height < height + 3:
        council.block()
    return council, height


def core_of(council: Council, store: MemoryStore, rules: tuple[int, ...]) -> NodeCore:
    key = key_of("node-3", "vote")
    core = NodeCore(
        name="node-3",
        chain=Chain(store, council.genesis, rules=rules),
        pool=Pool(),
        reader=LedgerReader(store, council.genesis),
        signer=Signer(key),
        parameters=Parameters(),
    )
    core.restore([], TimeMs(council.now_ms))
    core.take_turn()
    return core


def blocks(council: Council, start: int, stop: int) -> Blocks:
    reader = LedgerReader(council.store, council.genesis)
    found = [reader.committed_block(height) for height in range(start, stop)]
    committed = tuple(item for item in found if item is not None)
    hashes = [batch_hash for item in committed for batch_hash in item.block.batch_hashes]
    return Blocks(committed, tuple(raw for item in hashes if (raw := reader.batch_bytes(item)) is not None))


def follow(core: NodeCore, council: Council, store: MemoryStore) -> str | None:
    """Have the core fetch the whole chain; return why it halted, None where it did not."""
    while core.chain.height < council.chain.height:
        message = blocks(council, core.chain.height + 1, min(core.chain.height + 33, council.chain.height + 1))
        core.on_message("node-0", kind_of(message), encode_message(message), TimeMs(council.now_ms))
        turn = core.take_turn()
        assert not any(isinstance(item, Vote) for item in turn.outgoing)
        store.write(turn.rows, sync=True)
        core.chain.written(core.chain.ticket)
        if turn.halted is not None:
            return turn.halted
    return None


def test_a_build_without_the_rules_halts_by_name_at_the_last_block_before_them() -> None:
    council, height = decided()
    store = MemoryStore()
    core = core_of(council, store, (1,))
    assert follow(core, council, store) == (
        f"this chain needs rules version 2 from height {height} on; this release knows 1: install a newer release"
    )
    assert core.chain.height == height - 1
    with pytest.raises(RulesUnknown, match=f"rules version 2 from height {height} on; this release knows 1"):
        core_of(council, store, (1,))
    later = core_of(council, store, (1, 2))
    assert follow(later, council, store) is None
    assert later.chain.height == council.chain.height


def test_a_build_without_the_rules_votes_for_no_block_by_them() -> None:
    council, height = decided()
    store = MemoryStore()
    core = core_of(council, store, (1,))
    message = blocks(council, 1, 33)
    core.on_message("node-0", kind_of(message), encode_message(message), TimeMs(council.now_ms))
    message = blocks(council, 33, height - 1)
    core.on_message("node-0", kind_of(message), encode_message(message), TimeMs(council.now_ms))
    core.take_turn()
    assert core.chain.height == height - 2
    reader = LedgerReader(council.store, council.genesis)
    for above in (height - 1, height):
        committed = reader.committed_block(above)
        assert isinstance(committed, CommittedBlock)
        core.on_message("node-0", *proposed(council, committed.block), TimeMs(committed.block.header.time_ms))
    votes = [item for item in core.take_turn().outgoing if item.kind == kind_of_vote()]
    assert len(votes) == 1, "the block before, and not the first by the new rules"
    assert core.replica.state.slots[committed.block.header.height].refused


def test_a_block_with_another_version_than_its_height_asks_for_gets_no_vote() -> None:
    council = Council(4, rules=(1, 2))
    block = council.chain.build(council.chain.tip_hash, time_ms=council.now_ms + 10, epoch=0, proposer=0, batches=[])
    from msgspec import structs

    core = core_of(council, MemoryStore(), (1, 2))
    forged = Block(structs.replace(block.header, version=2), ())
    core.on_message("node-0", *proposed(council, forged), TimeMs(forged.header.time_ms))
    assert not [item for item in core.take_turn().outgoing if item.kind == kind_of_vote()]
    assert core.replica.state.slots[forged.header.height].refused


def kind_of_vote() -> int:
    from consensus import messages

    return next(kind for kind, (type_, _) in messages.KINDS.items() if type_ is Vote)


def proposed(council: Council, block: Block) -> tuple[int, bytes]:
    """Return a proposal of the leader of view 0."""
    header = block.header
    signed = vote_statement(PREPARE, council.chain_id, header.epoch, View(0), header.height, header.hash())
    message = PrePrepare(header.epoch, View(0), block, key_of("node-0", "vote").sign(signed))
    return kind_of(message), encode_message(message)


def test_the_replica_goes_by_the_times_of_a_policy_from_its_height_on() -> None:
    council = Founded(4, rules=(1, 2))
    store = MemoryStore()
    core = core_of(council, store, (1, 2))
    figures = (Figure("checkpoint_slot_ms", 500), Figure("block_time_lag_ms_max", 20_000))
    council.vote(council.propose(ChangePolicy((*figures, Figure("block_time_drift_ms_max", 3_000)), 0)), 0, 1, 2)
    before = core.replica.state.parameters
    assert follow(core, council, store) is None
    assert core.replica.state.parameters == replace(before, checkpoint_slot_ms=500, lag_ms=20_000, drift_ms=3_000)
