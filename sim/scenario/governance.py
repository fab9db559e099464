"""Statements: members that change their validators, by the events of governance.

A bank's removal is a barrier with the last vote; a re-keying with the word of the new node that it has caught up.
"""

from __future__ import annotations

from typing import Final

from ledger.governance_bodies import Action
from ledger.governance_records import passes
from primitives.ids import EventId
from sim.governance import rekeying, removal, vote
from sim.scenario.batches import keep
from sim.scenario.stage import Stage
from sim.scenario.vocabulary import statement
from sim.scenario.words import Match, ScenarioError
from sim.workload import bank_of

STEP_MS: Final = 1_000
RE_KEYED_MS_MAX: Final = 20_000


@statement(
    "all but one vote to remove NODE as NAME",
    "the banks decide but for one vote; the name is the batch with that vote, whose block is the barrier",
)
def _remove(stage: Stage, found: Match) -> None:
    world = stage.world
    voters = _voters(stage, found)
    world.governing = True
    proposal = _propose(stage, voters[0], removal(bank_of(stage.node(found, "remove"))))
    world.approve(proposal, voters[:-1])
    world.run_until(world.now_ms + STEP_MS)
    world.governing = False
    last = vote(bank_of(voters[-1]), world.chain_id, proposal, stage.now_ms)
    stage.values[found.word("as")] = keep(stage, world.sources[voters[-1]].batch_of([last], stage.now_ms))


@statement(
    "re-key NODE",
    "a stopped node starts with new keys and an empty disk; the banks decide, it says that it has caught up, and votes",
)
def _re_key(stage: Stage, found: Match) -> None:
    node, world = stage.node(found, "re-key"), stage.world
    if world.core(node) is not None:
        raise ScenarioError(found.line.number, "keys of a node that runs", "a stopped one")
    voters, before = _voters(stage, found), stage.epoch()
    world.governing = True
    generation = world.rekey(node)
    proposal = _propose(stage, voters[0], rekeying(world.chain_id, bank_of(node), bank_of(node), generation))
    world.approve(proposal, voters)
    limit_ms = world.now_ms + RE_KEYED_MS_MAX
    while stage.epoch() == before and world.now_ms < limit_ms:
        world.run_until(world.now_ms + STEP_MS)
    world.governing = False
    if stage.epoch() != before + 1:
        raise ScenarioError(found.line.number, "the epoch", str(before + 1), str(stage.epoch()))


def _voters(stage: Stage, found: Match) -> list[int]:
    """Return so many banks of those whose nodes run as must approve."""
    count = len({validator.member for validator in stage.validators().validators})
    needed = next(approvals for approvals in range(count + 1) if passes(count, approvals))
    voters = stage.world.running()[:needed]
    if len(voters) < needed:
        raise ScenarioError(found.line.number, "banks that can vote", str(needed), str(len(voters)))
    return voters


def _propose(stage: Stage, bank: int, action: Action) -> EventId:
    """Let a bank propose an action, wait until it is ordered, and return the proposal's id."""
    proposal = stage.world.propose(bank, action)
    stage.world.run_until(stage.world.now_ms + STEP_MS)
    return proposal
