"""Values: blocks and messages, signed by whom the file says, and altered after signing where it wants that."""

from __future__ import annotations

from typing import Final

from chainnode.core import BATCH_HAVE, BatchIds
from consensus.messages import (
    Blocks,
    Claim,
    Evidence,
    NewView,
    PrePrepare,
    Status,
    ViewChange,
    Vote,
)
from ledger.batches import ParsedBatch
from ledger.chain import Chain
from ledger.store import MemoryStore
from primitives.block import Block, CommittedBlock, batches_root
from primitives.encoding import encode
from primitives.hashing import leaf_hash
from primitives.ids import Epoch, Hash, Height, View
from primitives.votes import COMMIT, PREPARE, QuorumCertificate, vote_statement
from sim.scenario.altered import Raw, changed
from sim.scenario.stage import Stage
from sim.scenario.vocabulary import value
from sim.scenario.words import Match, ScenarioError, Unreadable
from sim.signatures import STAND_IN_KINDS

GENESIS: Final = "genesis"
INVENTED_MAX: Final = 100_000
"""Hashes of one announcement."""
PHASES: Final = {"prepare": PREPARE, "commit": COMMIT}


# --- blocks


def _workshop(stage: Stage, node: int | None) -> Chain:
    """Return a chain to build blocks on: one that stands at the genesis block, or where a node's disk stands."""
    key = f"workshop {node}"
    held = stage.notes.get(key)
    if isinstance(held, Chain) and (node is None or held.height == _height_of(stage, node)):
        return held
    store = MemoryStore()
    if node is not None:
        store.write(stage.world.nodes[node].disk.store.rows().items(), sync=True)
    chain = Chain(store, stage.world.genesis, STAND_IN_KINDS)
    stage.notes[key] = chain
    return chain


def _height_of(stage: Stage, node: int) -> int:
    core = stage.world.core(node)
    return -1 if core is None else core.chain.height


def _parent(stage: Stage, found: Match) -> tuple[Chain, Hash]:
    """Return the chain to build on and the parent's hash, by the parent's name."""
    name = found.word("on")
    if name == GENESIS:
        chain = _workshop(stage, None)
        return chain, chain.tip_hash
    parent = stage.value(found, name, Block).header.hash()
    chains = [held for key, held in stage.notes.items() if key.startswith("workshop") and isinstance(held, Chain)]
    for chain in reversed(chains):
        if chain.knows(parent):
            return chain, parent
    for node in stage.world.running():
        if (chain := _workshop(stage, node)).knows(parent):
            return chain, parent
    raise ScenarioError(found.line.number, f"the block {name!r} cannot be built on", "a tip, or a block made here")


@value(
    "block on NAME [with NAMES] by NODE [at TIME]",
    "a block on `genesis`, a block made here, or a tip, of these batches; its time is now, or counted from now",
)
def _block(stage: Stage, found: Match) -> Block:
    chain, parent = _parent(stage, found)
    batches = [stage.value(found, name, ParsedBatch) for name in found.words("with")]
    for batch in batches:
        chain.add_batch(batch)
    before = chain.header_of(parent)
    time_ms = stage.now_ms + stage.ms(found, "at")
    return chain.build(
        parent,
        time_ms=time_ms if found.has("at") else max(time_ms, before.time_ms + 1),
        epoch=chain.validators_after(parent).epoch,
        proposer=stage.index(stage.node(found, "by")),
        batches=batches,
    )


@value("lie on NAME with NAMES by NODE", "a block that names batches which no honest node would execute in it")
def _lie(stage: Stage, found: Match) -> Block:
    chain, parent = _parent(stage, found)
    below = chain.header_of(parent)
    batches = [stage.value(found, name, ParsedBatch) for name in found.words("with")]
    hashes = tuple(batch.hash for batch in batches)
    header = changed(
        below,
        height=below.height + 1,
        parent=parent,
        time_ms=max(int(stage.now_ms), below.time_ms + 1),
        proposer=stage.index(stage.node(found, "by")),
        batches_root=batches_root(hashes),
        first_index=below.first_index + below.event_count + 1,
        event_count=sum(batch.header.count for batch in batches),
    )
    return Block(header, hashes)


@value("block at height COUNT on NODE", "the block that a node delivered, or was proposed, at a height")
def _held(stage: Stage, found: Match) -> Block:
    node, height = stage.node(found, "on"), Height(found.count("height"))
    core = stage.world.core(node)
    if core is not None:
        view = core.reader.block(height)
        if view is not None:
            return Block(view.header, view.batch_hashes)
        slot = core.replica.state.slots.get(height)
        if slot is not None and slot.blocks:
            return next(reversed(slot.blocks.values()))
    raise ScenarioError(found.line.number, f"node {node} has no block at height {height}")


# --- votes and what is made of them


def _vote(stage: Stage, node: int, phase: int, block: Block, view: int, *, old: bool = False) -> Vote:
    header = block.header
    signed = vote_statement(phase, stage.world.chain_id, header.epoch, View(view), header.height, header.hash())
    index = stage.index(node, header.epoch)
    return Vote(phase, header.epoch, View(view), header.height, header.hash(), index, stage.sign(node, signed, old=old))


@value("prepare|commit of NAME by NODE [in view COUNT] [with its old keys]", "a vote for a block")
def _a_vote(stage: Stage, found: Match) -> Vote:
    block = stage.value(found, found.word("of"), Block)
    node, view = stage.node(found, "by"), found.count("view")
    return _vote(stage, node, PHASES[found.word("")], block, view, old=found.has("old"))


@value("proposal of NAME by NODE [in view COUNT]", "a PRE-PREPARE of a block")
def _proposal(stage: Stage, found: Match) -> PrePrepare:
    block, view = stage.value(found, found.word("of"), Block), found.count("view")
    vote = _vote(stage, stage.node(found, "by"), PREPARE, block, view)
    return PrePrepare(block.header.epoch, View(view), block, vote.signature)


@value("prepare|commit certificate of NAME by NODES [in view COUNT]", "the votes of these nodes as a certificate")
def _certificate(stage: Stage, found: Match) -> QuorumCertificate:
    block, view = stage.value(found, found.word("of"), Block), found.count("view")
    nodes = stage.nodes(found, "by", everybody=True)
    return _certified([_vote(stage, node, PHASES[found.word("")], block, view) for node in nodes])


@value("certificate from NAMES", "a certificate put together from votes, labelled as the first of them is")
def _put_together(stage: Stage, found: Match) -> QuorumCertificate:
    return _certified(list(stage.listed(found, "from", Vote)))


def _certified(votes: list[Vote]) -> QuorumCertificate:
    first = votes[0]
    signatures = tuple((vote.validator, vote.signature) for vote in votes)
    return QuorumCertificate(first.phase, first.epoch, first.view, first.height, first.block_hash, signatures)


@value("claim of NAME under NAME", "a block with the prepare certificate under which a VIEW-CHANGE claims it")
def _claim(stage: Stage, found: Match) -> Claim:
    return Claim(
        stage.value(found, found.word("of"), Block), stage.value(found, found.word("under"), QuorumCertificate)
    )


@value(
    "view-change to COUNT by NODE [delivered NAMES] [claims NAMES] [in epoch COUNT]",
    "a VIEW-CHANGE with commit certificates and with claims (prepare certificates, or `claim`s)",
)
def _view_change(stage: Stage, found: Match) -> ViewChange:
    node = stage.node(found, "by")
    epoch = Epoch(found.count("epoch", stage.epoch()))
    delivered = stage.listed(found, "delivered", QuorumCertificate)
    claims = tuple(_as_claim(stage, found, name) for name in found.words("claims"))
    unsigned = ViewChange(epoch, View(found.count("to")), stage.index(node, epoch), delivered, claims, b"")
    return changed(unsigned, signature=stage.sign(node, unsigned.statement(stage.world.chain_id)))


def _as_claim(stage: Stage, found: Match, name: str) -> Claim:
    held = stage.value(found, name, object)
    if isinstance(held, Claim):
        return held
    certificate = stage.value(found, name, QuorumCertificate)
    block = stage.blocks.get(certificate.block_hash)
    if block is None:
        raise ScenarioError(found.line.number, f"the block of {name!r} is not known", "a `claim`")
    return Claim(block, certificate)


@value("new-view COUNT by NODE of NAMES", "a NEW-VIEW on these VIEW-CHANGEs")
def _new_view(stage: Stage, found: Match) -> NewView:
    changes = stage.listed(found, "of", ViewChange)
    unsigned = NewView(changes[0].epoch, View(found.count("new-view")), changes, b"")
    node = stage.node(found, "by")
    return changed(unsigned, signature=stage.sign(node, unsigned.statement(stage.world.chain_id)))


@value("evidence of NAME and NAME", "two votes shown as a contradiction")
def _evidence(stage: Stage, found: Match) -> Evidence:
    return Evidence(*(stage.value(found, found.word(key), Vote) for key in ("of", "and")))


@value("committed NAMES under NAMES", "committed blocks with their certificates and batches, as catch-up serves them")
def _blocks(stage: Stage, found: Match) -> Blocks:
    blocks = stage.listed(found, "committed", Block)
    certificates = stage.listed(found, "under", QuorumCertificate)
    if len(blocks) != len(certificates):
        raise Unreadable(found.line.number, "certificates", str(len(blocks)), str(len(certificates)))
    named = dict.fromkeys(item for block in blocks for item in block.batch_hashes)
    batches = tuple(stage.batches[item].raw for item in named if item in stage.batches)
    return Blocks(tuple(CommittedBlock(*pair) for pair in zip(blocks, certificates, strict=True)), batches)


@value("status view COUNT height COUNT", "a status that says where its sender stands; unsigned, as all are")
def _status(stage: Stage, found: Match) -> Status:
    height = Height(found.count("height"))
    return Status(stage.epoch(), View(found.count("view")), True, height, height, Height(0), True)


@value("hashes of COUNT invented batches", "an announcement of batches that do not exist")
def _invented(stage: Stage, found: Match) -> Raw:
    count = stage.count(found, "of", 1, INVENTED_MAX)
    hashes = tuple(leaf_hash(f"invented {number}".encode()) for number in range(count))
    return Raw(BATCH_HAVE, encode(BatchIds(hashes)))


@value("announcement of NAMES", "a message that says which batches its sender has, and need not have")
def _announcement(stage: Stage, found: Match) -> Raw:
    return Raw(BATCH_HAVE, encode(BatchIds(tuple(batch.hash for batch in stage.listed(found, "of", ParsedBatch)))))


@value(
    "last KIND by NODE [to NODE] [in view COUNT]",
    "the last message of a kind that a node sent, as it went over the wire",
)
def _last(stage: Stage, found: Match) -> object:
    sender = stage.node(found, "by")
    for letter in reversed(stage.story.letters):
        fits = letter.name == found.word("last") and letter.sender == sender
        fits = fits and (not found.has("to") or letter.receiver == stage.node(found, "to"))
        fits = fits and (not found.has("view") or getattr(letter.message, "view", None) == found.count("view"))
        if fits:
            return Raw(letter.kind, letter.payload) if letter.message is None else letter.message
    raise ScenarioError(found.line.number, f"node {sender} sent no {found.word('last')}")
