"""Statements: members that change their validators, by the events of governance.

A bank's removal is a barrier with the last vote; a re-keying with the word of the new node that it has caught up.
"""

from __future__ import annotations

from typing import Final

import msgspec

from ledger.batches import ParsedBatch
from ledger.governance_bodies import (
    CastVote,
    Propose,
    Ready,
    RekeyValidator,
    RemoveValidator,
    ValidatorKeys,
    key_statement,
    ready_statement,
    vote_statement,
)
from ledger.governance_records import passes
from ledger.governance_rules import GOVERNANCE_ROLE
from ledger.members import Officer
from ledger.registry import KINDS
from primitives.ids import TimeMs
from sim.scenario.ledger_level import DESKS, stateful_batch
from sim.scenario.stage import Stage
from sim.scenario.vocabulary import statement
from sim.scenario.words import Match, ScenarioError
from sim.scenario.world import key_use
from sim.workload import bank_of, key_of

PROPOSAL_TERM_MS: Final = 3_600_000
STEP_MS: Final = 1_000
USES: Final = ("vote", "cosign", "log")
NAMES: Final = {
    record: next(spec.name for spec in KINDS.values() if record in spec.schemas.values())
    for record in (Propose, CastVote, Ready)
}


@statement("governed", "each bank has an officer who votes on who the validators are")
def _governed(stage: Stage, found: Match) -> None:
    genesis = stage.setting.genesis
    members = tuple(
        msgspec.structs.replace(
            member,
            ca_certificate=f"the CA of {member.id}",
            officers=(Officer(key_of(member.id, "officer").public, GOVERNANCE_ROLE),),
        )
        for member in genesis.members
    )
    stage.set(found, genesis=msgspec.structs.replace(genesis, members=members))


@statement(
    "all but one vote to remove NODE as NAME",
    "the banks decide but for one vote; the name is the batch with that vote, whose block is the barrier",
)
def _remove(stage: Stage, found: Match) -> None:
    node = stage.node(found, "remove")
    proposal = _propose(stage, RemoveValidator(bank_of(node), False))
    needed = _needed(stage)
    voters = [index for index in stage.world.running() if stage.world.core(index) is not None][:needed]
    if len(voters) < needed:
        raise ScenarioError(found.line.number, "banks that can vote", str(needed), str(len(voters)))
    for voter in voters[:-1]:
        _say(stage, voter, _vote(stage, voter, proposal))
    stage.values[found.word("as")] = _batch(stage, voters[-1], _vote(stage, voters[-1], proposal))


@statement(
    "re-key NODE",
    "a stopped node starts with new keys and an empty log; the banks decide, it says that it has caught up, and votes",
)
def _re_key(stage: Stage, found: Match) -> None:
    node, world = stage.node(found, "re-key"), stage.world
    if world.core(node) is not None:
        raise ScenarioError(found.line.number, "keys of a node that runs", "a stopped one")
    before = stage.epoch()
    world.re_key(node)
    world.start(node)
    keys = {use: key_of(bank_of(node), key_use(use, world.generation[node])) for use in USES}
    publics = [key.public for key in keys.values()]
    proofs = [
        key.sign(key_statement(world.chain_id, use, bank_of(node), bank_of(node), key.public))
        for use, key in keys.items()
    ]
    proposal = _propose(stage, RekeyValidator(bank_of(node), ValidatorKeys(*publics, *proofs), ""))
    for voter in [index for index in world.running() if index != node][: _needed(stage)]:
        _say(stage, voter, _vote(stage, voter, proposal))
    core = world.core(node)
    assert core is not None, "it was started"
    height, block_hash = int(core.chain.height), core.chain.tip_hash
    signed = keys["vote"].sign(ready_statement(world.chain_id, proposal, height, block_hash))
    _say(stage, node, Ready(proposal, height, bytes(block_hash), signed))
    if stage.epoch() != before + 1:
        raise ScenarioError(found.line.number, "the epoch", str(before + 1), str(stage.epoch()))


def _needed(stage: Stage) -> int:
    """Return how many banks must approve."""
    count = len({validator.member for validator in stage.validators().validators})
    return next(approvals for approvals in range(count + 1) if passes(count, approvals))


def _propose(stage: Stage, action: RemoveValidator | RekeyValidator) -> bytes:
    """Let a bank propose an action, wait until it is ordered, and return the proposal's id."""
    member = next(index for index in stage.world.running() if stage.world.core(index) is not None)
    batch = _say(stage, member, Propose(action, TimeMs(stage.now_ms + PROPOSAL_TERM_MS)))
    return bytes(batch.ids[0])


def _vote(stage: Stage, node: int, proposal: bytes) -> CastVote:
    officer = key_of(bank_of(node), "officer")
    signature = officer.sign(vote_statement(stage.world.chain_id, proposal, True))
    return CastVote(proposal, True, officer.public, signature)


def _batch(stage: Stage, node: int, body: Propose | CastVote | Ready) -> ParsedBatch:
    return stateful_batch(stage, node, DESKS[0], NAMES[type(body)], body)


def _say(stage: Stage, node: int, body: Propose | CastVote | Ready) -> ParsedBatch:
    batch = _batch(stage, node, body)
    stage.world.hand_in(node, batch.raw)
    stage.world.run_until(stage.world.now_ms + STEP_MS)
    return batch
