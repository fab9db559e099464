"""Statements, values and expectations of votes on policy, roles, catalogue, shares and rules.

A motion's words are those of `sim.motions`. Whoever says which rules the chain begins with has a notary look at every
block (`sim.statute`).
"""

from __future__ import annotations

from msgspec.structs import replace

from ledger.batches import ParsedBatch
from ledger.governance_records import read_proposal
from ledger.policy import policy_figures
from ledger.rules import RULES_SUPPORTED, read_rules
from primitives.errors import InputError
from sim.governance import proposal, vote
from sim.motions import action_of
from sim.scenario.batches import keep
from sim.scenario.expectations import Seen, compare
from sim.scenario.stage import Stage
from sim.scenario.vocabulary import expectation, statement, value
from sim.scenario.words import Match, Unreadable
from sim.workload import bank_of


@statement("rules COUNT", "the version of the rules from the first block on, 1 if it is not said; a notary looks on")
def _rules(stage: Stage, found: Match) -> None:
    version = stage.count(found, "rules", RULES_SUPPORTED[0], RULES_SUPPORTED[-1])
    stage.set(found, genesis=replace(stage.setting.genesis, rules=version), notarised=True)


@value("batch from NODE that moves TEXT", "a bank's proposal in words, such as `policy block_batches_max 1 at 20`")
def _moves(stage: Stage, found: Match) -> object:
    node = stage.node(found, "from")
    try:
        action = action_of(found.text("moves").split(), 0)
    except InputError as error:
        raise Unreadable(found.line.number, error.what, str(error.expected), str(error.got)) from None
    _, event = proposal(bank_of(node), action, stage.now_ms)
    return keep(stage, stage.world.gateways.sources[node].batch_of([event], stage.now_ms))


@value("batch from NODE for|against NAME", "a bank's vote on what a batch moves, signed by its officer")
def _votes(stage: Stage, found: Match) -> object:
    node, moved = stage.node(found, "from"), stage.value(found, found.word("name"), ParsedBatch)
    cast = vote(bank_of(node), stage.world.chain_id, moved.ids[0], stage.now_ms, approve=found.words("")[0] == "for")
    return keep(stage, stage.world.gateways.sources[node].batch_of([cast], stage.now_ms))


@expectation(
    "stage of NAME on NODES is WORD",
    "how far what a batch moves is: `open`, `enacted`, `refused`, `failed` … or `none`",
)
def _stage_is(stage: Stage, found: Match) -> Seen:
    moved = stage.value(found, found.word("of"), ParsedBatch)
    seen = []
    for node in stage.nodes(found, "on"):
        core = stage.world.core(node)
        row = None if core is None else read_proposal(core.chain.state_after(core.chain.tip_hash), moved.ids[0])
        seen.append((node, "none" if row is None else row.stage_at(stage.world.now_ms).value))
    holds = bool(seen) and all(got == found.word("is") for _, got in seen)
    return holds, ", ".join(f"{node}: {got}" for node, got in seen)


@expectation("figure WORD OP COUNT on NODES", "the figure of the policy by which nodes judge the block after their tip")
def _figure(stage: Stage, found: Match) -> Seen:
    name = found.word("figure")
    seen = []
    for node in stage.nodes(found, "on"):
        core = stage.world.core(node)
        figures = {} if core is None else policy_figures(core.chain.policy_after(core.chain.tip_hash))
        if core is not None and name not in figures:
            raise Unreadable(found.line.number, "no such figure", ", ".join(figures), name)
        seen.append((node, figures.get(name, -1)))
    holds = bool(seen) and all(compare(found.word("op"), got, found.count("count")) for _, got in seen)
    return holds, ", ".join(f"{node}: {got}" for node, got in seen)


@expectation("version OP COUNT on NODES", "the version of the rules by which nodes judge the block after their tip")
def _version(stage: Stage, found: Match) -> Seen:
    seen = []
    for node in stage.nodes(found, "on"):
        core = stage.world.core(node)
        height = 0 if core is None else core.chain.height + 1
        seen.append((node, -1 if core is None else read_rules(core.chain.state_after(core.chain.tip_hash)).at(height)))
    holds = bool(seen) and all(compare(found.word("version"), got, found.count("count")) for _, got in seen)
    return holds, ", ".join(f"{node}: {got}" for node, got in seen)
