"""Statements: the policy of the chain, and members that change their validators, by the events of governance.

A bank's removal is a barrier with the last vote; a re-keying with the word of the new node that it has caught up.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from ledger.governance_bodies import Action
from ledger.policy import policy_figures, policy_of
from ledger.thresholds import passes
from primitives.errors import InputError
from primitives.ids import EventId
from sim.governance import addition, rekeying, removal, vote
from sim.scenario.batches import keep
from sim.scenario.stage import Stage
from sim.scenario.vocabulary import statement
from sim.scenario.words import Match, ScenarioError, Unreadable
from sim.workload import bank_of

STEP_MS: Final = 1_000
PORT: Final = 7_500
RE_KEYED_MS_MAX: Final = 20_000


@statement("policy WORD COUNT", "a figure of the chain's policy from the start on, such as `block_batches_max`")
def _policy(stage: Stage, found: Match) -> None:
    genesis = stage.setting.genesis
    figures = {**policy_figures(genesis.policy), found.word("policy"): found.count("count")}
    try:
        policy = policy_of(figures)
    except InputError as error:
        raise Unreadable(found.line.number, f"a figure of the policy: {error}") from None
    stage.set(found, genesis=replace(genesis, policy=policy))


@statement(
    "joiner of NODE",
    "a bank's further node, the last number, starts with nothing; the banks approve it, and it says when it can vote",
)
def _joiner(stage: Stage, found: Match) -> None:
    bank, world = stage.node(found, "of"), stage.world
    index = len(world.nodes)
    world.gateways.closed = False
    world.add_node(bank_of(index), bank)
    proposal = _propose(stage, bank, addition(world.chain_id, bank_of(index), bank_of(bank), PORT + index))
    world.gateways.approve(proposal, _voters(stage, found))


@statement(
    "all but one vote to remove NODE as NAME",
    "the banks decide but for one vote; the name is the batch with that vote, whose block is the barrier",
)
def _remove(stage: Stage, found: Match) -> None:
    world = stage.world
    voters = _voters(stage, found)
    world.gateways.closed = False
    proposal = _propose(stage, voters[0], removal(bank_of(stage.node(found, "remove"))))
    world.gateways.approve(proposal, voters[:-1])
    world.run_until(world.now_ms + STEP_MS)
    world.gateways.closed = True
    last = vote(bank_of(voters[-1]), world.chain_id, proposal, stage.now_ms)
    stage.values[found.word("as")] = keep(stage, world.gateways.sources[voters[-1]].batch_of([last], stage.now_ms))


@statement(
    "re-key NODE",
    "a stopped node starts with new keys and an empty disk; the banks decide, it says that it has caught up, and votes",
)
def _re_key(stage: Stage, found: Match) -> None:
    node, world = stage.node(found, "re-key"), stage.world
    if world.core(node) is not None:
        raise Unreadable(found.line.number, "keys of a node that runs", "a stopped one")
    voters, before = _voters(stage, found), stage.epoch()
    world.gateways.closed = False
    generation = world.rekey(node)
    proposal = _propose(stage, voters[0], rekeying(world.chain_id, bank_of(node), bank_of(node), generation))
    world.gateways.approve(proposal, voters)
    limit_ms = world.now_ms + RE_KEYED_MS_MAX
    while stage.epoch() == before and world.now_ms < limit_ms:
        world.run_until(world.now_ms + STEP_MS)
    world.gateways.closed = True
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
    proposal = stage.world.gateways.propose(bank, action)
    stage.world.run_until(stage.world.now_ms + STEP_MS)
    return proposal
