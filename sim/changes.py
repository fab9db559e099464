"""Doing the changes and motions of a plan to a cluster: a bank proposes, banks vote, and again, since batches get lost.

Whether a change may be is for the chain to say, and for `check_sets` to look at: no epoch bears fewer faulty validators
than the run began with. Not here: which changes a run consists of (`sim.membership`, `sim.motions`), the events
themselves (`sim.governance`), what must hold of every decision (`sim.statute`).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Final

from consensus.invariants import require
from ledger.amendment_rules import RULES_AMENDMENTS
from ledger.chain import Chain
from ledger.governance_bodies import Amendment, ExcludeMember, SchemeAction
from ledger.members import read_member, read_source
from ledger.rules import RULES_SCHEME, read_rules
from sim.cluster import Cluster
from sim.disk import Written
from sim.faults import later, revive
from sim.governance import addition, removal, retirement
from sim.membership import Change, Deed, change_in_words
from sim.motions import Motion, action_of, motion_in_words
from sim.workload import START_MS, bank_of, key_of

PORT: Final = 7_600
VALIDATORS_MIN: Final = 4
VOTES_AFTER_MS: Final = (600, 2_000, 5_000)
AGAIN_MS: Final = 500
WAITS_MS: Final = 30_000
"""How long a motion waits for the rules that have its action."""


def plan_changes(cluster: Cluster, changes: Iterable[Change]) -> None:
    """Put changes in a cluster's queue."""
    for change in changes:
        cluster.schedule(START_MS + change.at_ms, partial(do, cluster, change))


def do(cluster: Cluster, change: Change) -> None:
    """Let one change be proposed now, and voted for some times from now on."""
    cluster.note(change_in_words(change))
    gateways = cluster.gateways
    match change.deed:
        case Deed.JOIN:
            index = cluster.add_node(change.who, change.bank)
            _trouble(cluster, index, change)
            member = bank_of(change.bank)
            proposal = gateways.propose(change.bank, addition(cluster.chain_id, change.who, member, PORT + index))
        case Deed.LEAVE:
            proposal = gateways.propose(change.bank, removal(change.who, fewer_faults=bool(change.amounts)))
        case Deed.EXCLUDE:
            proposal = gateways.propose(change.bank, ExcludeMember(change.who))
        case Deed.STOP_SOURCE:
            gateways.submit(change.bank, retirement(bank_of(change.bank), change.who, cluster.chain_id, cluster.now_ms))
            return
    for after_ms in VOTES_AFTER_MS:
        later(cluster, after_ms, lambda: gateways.approve(proposal, range(len(gateways.sources))))


def plan_motions(cluster: Cluster, motions: Iterable[Motion]) -> None:
    """Put motions in a cluster's queue."""
    for motion in motions:
        cluster.schedule(START_MS + motion.at_ms, partial(move, cluster, motion))


def move(cluster: Cluster, motion: Motion) -> None:
    """Let a motion be proposed now, and voted on some times from now on; wait where the rules lack its action yet.

    A bank's gateway refuses such an event at the door: no block could hold it.
    """
    gateways = cluster.gateways
    node = cluster.nodes[gateways.node_of(motion.bank)]
    chain = None if node.core is None else node.core.chain
    action = action_of(motion.words, 0 if chain is None else int(chain.height))
    needed = RULES_SCHEME if isinstance(action, SchemeAction) else RULES_AMENDMENTS
    if isinstance(action, Amendment | SchemeAction) and (chain is None or _rules_of(chain) < needed):
        if cluster.elapsed_ms < motion.at_ms + WAITS_MS:
            later(cluster, AGAIN_MS, lambda: move(cluster, motion))
        return
    cluster.note(motion_in_words(motion))
    proposal = gateways.propose(motion.bank, action)
    for after_ms in VOTES_AFTER_MS:
        later(cluster, after_ms, lambda: gateways.approve(proposal, motion.approve))
        later(cluster, after_ms, lambda: gateways.approve(proposal, motion.reject, approve=False))


def _rules_of(chain: Chain) -> int:
    return read_rules(chain.state_after(chain.tip_hash)).at(chain.height + 1)


def _trouble(cluster: Cluster, index: int, change: Change) -> None:
    """Let a joiner stop once on its way, and start again."""
    if change.amounts:
        after_ms, down_ms = change.amounts
        later(cluster, after_ms, lambda: cluster.crash(index, Written.NOTHING))
        later(cluster, after_ms + down_ms, lambda: revive(cluster, index))


def silenced(cluster: Cluster, bank: int) -> bool:
    """Say whether a bank's source may submit nothing any more, by the state of the node that is furthest."""
    chains = [node.core.chain for node in cluster.nodes if node.core is not None]
    newest = max(chains, key=lambda chain: chain.height)
    state = newest.state_after(newest.tip_hash)
    member, source = read_member(state, bank_of(bank)), read_source(state, key_of(bank_of(bank), "source").public)
    return member is None or member.excluded or source is None or source.removed


def check_sets(cluster: Cluster) -> None:
    """Require that no epoch's validators bear fewer faulty ones than those that the run began with."""
    first = cluster.genesis_validators
    for validators in cluster.conformance.sets():
        safe = validators.f >= first.f and validators.n >= min(VALIDATORS_MIN, first.n)
        require(safe, "no change leaves fewer than a safe quorum needs", (validators.epoch, validators.n, first.n))
