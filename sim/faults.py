"""Doing the faults of a plan to a cluster, and ending them.

A strike does just what its parameters say (`sim.plan`); nothing is drawn here. `heal` ends everything, `heal_core` only
what befell a quorum of honest nodes. Not here: which faults a run consists of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Final, assert_never

from chainnode.wal_format import LogDamaged
from consensus.invariants import require
from primitives.ids import TimeMs
from sim.cluster import Cluster
from sim.disk import Disk, Written
from sim.governance import rekeying
from sim.network import CALM, Link
from sim.node import SYNC_MS_MAX
from sim.plan import Fate, Fault, Strike, in_words
from sim.workload import START_MS, bank_of

SKEW_CALM_MS: Final = 200
SUPERVISOR_MS: Final = 500
"""After this time a node that stopped by itself is started again."""


def plan(cluster: Cluster, strikes: Iterable[Strike]) -> None:
    """Put faults in a cluster's queue; from now on nodes that stop by themselves are started again."""
    cluster.on_failure = lambda index: later(cluster, SUPERVISOR_MS, lambda: revive(cluster, index))
    for strike in strikes:
        cluster.schedule(START_MS + strike.at_ms, partial(do, cluster, strike))


def heal(cluster: Cluster) -> None:
    """End all faults: every node runs, every link is up, clocks are within SKEW_CALM_MS."""
    cluster.network.weather = CALM
    cluster.network.heal()
    cluster.note("all faults end")
    for node in cluster.nodes:
        _mend(cluster, node.index)


def heal_core(cluster: Cluster, core: Iterable[int], fate: Fate) -> None:
    """End the faults of these nodes and of the links among them; the others are dead, or cut off, or malicious."""
    core = frozenset(core)
    cluster.network.heal()
    cluster.network.calm = core
    cluster.note(f"the faults of {', '.join(map(bank_of, sorted(core)))} end, the others are {fate} or malicious")
    for node in cluster.nodes:
        if node.index in core:
            _mend(cluster, node.index)
        elif node.honest and fate is Fate.DEAD:
            node.dead = True
            cluster.crash(node.index)
        elif node.honest:
            for other in cluster.nodes:
                cluster.network.cut(node.index, other.index)
                cluster.network.cut(other.index, node.index)


def revive(cluster: Cluster, index: int) -> None:
    """Start a node that is down; where its disk is damaged, wipe what is to be wiped and start it again."""
    node = cluster.nodes[index]
    if node.core is not None or node.dead or cluster.start(index):
        return
    if node.disk.full is not None or node.core is not None:
        return
    _wipe_damaged(cluster, index)
    assert cluster.start(index), "a wiped node starts"


def _wipe_damaged(cluster: Cluster, index: int) -> None:
    """Do what an operator does on a node that refuses its disk: wipe what is damaged, or everything."""
    disk, everything = cluster.nodes[index].disk, cluster.nodes[index].wiped_whole
    log_damaged = _readable(disk) is None
    cluster.wipe(index, ledger=everything or disk.store.damaged, log=everything or log_damaged)


def leader_of(cluster: Cluster) -> int:
    """Return the leader of the newest view that a running node is in; the first node where none runs."""
    states = [node.core.replica.state for node in cluster.nodes if node.core is not None]
    newest = max(states, key=lambda state: (state.epoch, state.view), default=None)
    return 0 if newest is None else newest.validators.leader(newest.view)


def do(cluster: Cluster, strike: Strike) -> None:
    """Let one strike happen now, and end when its time is over."""
    if strike.fault not in (Fault.CRASH, Fault.LEADER_CRASH):  # a crash tells of itself
        cluster.note(in_words(strike))
    match strike.fault:
        case Fault.CRASH | Fault.WRITE_CRASH | Fault.LEADER_CRASH | Fault.POWER_LOSS:
            _crashes(cluster, strike)
        case Fault.PARTITION | Fault.ONE_WAY:
            _cuts(cluster, strike)
        case Fault.SLOW_LINK:
            _slow_links(cluster, strike)
        case Fault.SKEW | Fault.JUMP:
            _clocks(cluster, strike)
        case Fault.SLOW_DISK:
            for index in strike.nodes:
                cluster.nodes[index].sync_ms_max = strike.amounts[0]
        case Fault.FULL_DISK:
            _full_disk(cluster, strike)
        case Fault.LOST_LEDGER | Fault.LOST_LOG | Fault.LOST_DISK:
            _lost_disk(cluster, strike)
        case Fault.FLIPPED_LOG | Fault.FLIPPED_ROW:
            _flip(cluster, strike)
        case Fault.REKEY:
            _rekey(cluster, strike)
        case _:
            assert_never(strike.fault)


# --- one kind each


def _crashes(cluster: Cluster, strike: Strike) -> None:
    match strike.fault:
        case Fault.POWER_LOSS:
            each = zip(strike.nodes, *[iter(strike.amounts)] * 3, strict=True)
            for index, written, share, after_ms in each:
                _crash(cluster, index, written, share, after_ms)
        case Fault.WRITE_CRASH:
            written, share = strike.amounts
            for index in strike.nodes:
                cluster.nodes[index].doom = partial(_crash, cluster, index, written, share, strike.lasts_ms)
        case _:
            written, share = strike.amounts
            for index in strike.nodes or (leader_of(cluster),):
                _crash(cluster, index, written, share, strike.lasts_ms)


def _crash(cluster: Cluster, index: int, written: int, share: int, lasts_ms: int) -> None:
    cluster.crash(index, Written(written), share)
    later(cluster, lasts_ms, lambda: revive(cluster, index))


def _cuts(cluster: Cluster, strike: Strike) -> None:
    if strike.fault is Fault.PARTITION:
        side = set(strike.nodes)
        links = cluster.network.partition([side, {node.index for node in cluster.nodes} - side])
    else:
        links = list(zip(*[iter(strike.nodes)] * 2, strict=True))
        for link in links:
            cluster.network.cut(*link)
    later(cluster, strike.lasts_ms, lambda: cluster.network.join(links))


def _slow_links(cluster: Cluster, strike: Strike) -> None:
    links = [link for index in strike.nodes for link in _links_of(cluster, index)]
    for link in links:
        cluster.network.slow(*link, strike.amounts[0])
    later(cluster, strike.lasts_ms, lambda: cluster.network.hasten(links))


def _links_of(cluster: Cluster, index: int) -> list[Link]:
    others = [node.index for node in cluster.nodes if node.index != index]
    return [(index, other) for other in others] + [(other, index) for other in others]


def _clocks(cluster: Cluster, strike: Strike) -> None:
    for index in strike.nodes:
        node = cluster.nodes[index]
        if strike.fault is Fault.SKEW:
            node.skew_ms = strike.amounts[0]
        else:
            node.skew_ms += strike.amounts[0]
            later(cluster, strike.lasts_ms, partial(setattr, node, "skew_ms", 0))


def _full_disk(cluster: Cluster, strike: Strike) -> None:
    written, share = strike.amounts
    for index in strike.nodes:
        cluster.nodes[index].disk.full = (Written(written), share)
        later(cluster, strike.lasts_ms, partial(_space, cluster, index))


def _space(cluster: Cluster, index: int) -> None:
    cluster.nodes[index].disk.full = None
    revive(cluster, index)


def _lost_disk(cluster: Cluster, strike: Strike) -> None:
    for index in strike.nodes:
        cluster.crash(index)
        ledger, log = strike.fault is not Fault.LOST_LOG, strike.fault is not Fault.LOST_LEDGER
        cluster.wipe(index, ledger=ledger, log=log)
        later(cluster, strike.lasts_ms, partial(revive, cluster, index))


def _rekey(cluster: Cluster, strike: Strike) -> None:
    """Let a node begin anew with new keys, and all other banks approve them: then it is whole again and votes."""
    bank, after_ms = strike.amounts
    for index in strike.nodes:
        cluster.nodes[index].disk.full = None
        generation = cluster.rekey(index)
        later(cluster, after_ms, partial(_readmit, cluster, index, generation, bank))


def _readmit(cluster: Cluster, index: int, generation: int, bank: int) -> None:
    name = cluster.nodes[index].name
    proposal = cluster.gateways.propose(bank, rekeying(cluster.chain_id, name, name, generation))
    cluster.gateways.approve(proposal, [other for other in range(len(cluster.gateways.sources)) if other != index])


def _flip(cluster: Cluster, strike: Strike) -> None:
    """A flipped bit of the log shows when the node starts, so it is crashed; a damaged row when somebody reads it."""
    share, bit, everything = strike.amounts
    for index in strike.nodes:
        node = cluster.nodes[index]
        node.wiped_whole = bool(everything)
        if strike.fault is Fault.FLIPPED_LOG:
            cluster.crash(index)
            _flip_log(cluster, index, share, bit)
            later(cluster, strike.lasts_ms, partial(revive, cluster, index))
        else:
            node.disk.store.damage(share)


def _flip_log(cluster: Cluster, index: int, share: int, bit: int) -> None:
    """Flip a bit: the node's own reading must refuse the log, unless the bit lies in a torn tail that it cuts."""
    disk = cluster.nodes[index].disk
    before = _readable(disk)
    disk.log.flip(share, bit)
    after = _readable(disk)
    require(
        before is None or after is None or before == after,
        "a flipped bit of the log is found",
        (bank_of(index), share, bit),
    )


def _readable(disk: Disk) -> list[bytes] | None:
    try:
        return disk.records
    except LogDamaged:
        return None


def _mend(cluster: Cluster, index: int) -> None:
    """End all that befell one node; a damaged row that nobody has read yet is found by its operator."""
    node = cluster.nodes[index]
    node.skew_ms = max(-SKEW_CALM_MS, min(SKEW_CALM_MS, node.skew_ms))
    node.sync_ms_max = SYNC_MS_MAX
    node.doom = None
    node.disk.full = None
    if node.disk.store.damaged:
        cluster.crash(index)
        _wipe_damaged(cluster, index)
    revive(cluster, index)


def later(cluster: Cluster, after_ms: int, action: Callable[[], None]) -> None:
    """Do something after a time."""
    cluster.schedule(TimeMs(cluster.now_ms + after_ms), action)
