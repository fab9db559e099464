"""A manifest from a seed: the same seed, the same manifest, on every machine.

Here: what can be covered (`GOALS`, and `LIVES` of validators beside them), which goals a seed must reach, and placing
perturbations so that no node meets two at once and at most f lose their vote. Not here: carrying one out (`run`). Goals
and lives go round: `SEEDS` consecutive seeds reach each of them, and what else a seed draws is chance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Final

from chainnode.localnet import bank_name
from torment.manifest import (
    LEADER,
    Amend,
    Clock,
    Cut,
    Damaged,
    Delay,
    FillDisk,
    Flip,
    Join,
    Kill,
    Leave,
    Links,
    Load,
    Loss,
    Manifest,
    Narrow,
    Pause,
    Perturbation,
    PowerLoss,
    Readmit,
    Stop,
    Upgrade,
    Wipe,
    Wiped,
    loses_outbox,
    loses_vote,
    node_of,
)

SEEDS: Final = 24
GOALS_A_SEED: Final = 3
STRIDE: Final = 9
MORE_MAX: Final = 3
FIRST_AT_S: Final = 2.0
GAP_S: Final = (0.8, 2.5)
SETTLE_S: Final = 6.0
WIPED_S: Final = 1.0
QUIET_AFTER_S: Final = 3.0
VIEW_TIMEOUTS_MS: Final = (1_000, 2_000)
LIVES: Final = ("rolling_upgrade", "readmit", "join_and_leave", "join")
"""What happens to validators while the faults go on, one for each seed in turn."""

AMENDED: Final = "amend"
AMEND_EVERY: Final = 3
"""In each so many-th seed the members vote on a figure of the policy among the faults."""
FIGURES: Final = (("block_batches_max", 32), ("checkpoint_slot_ms", 400), ("appeal_window_days", 30))

Draw = Callable[[Random, str, float], Perturbation]
"""Makes a perturbation of a node that begins at a time."""


def _s(draw: Random, low: float, high: float) -> float:
    return round(draw.uniform(low, high), 1)


def _flip(file: Damaged) -> Draw:
    return lambda draw, node, at_s: Flip(
        at_s=at_s, for_s=_s(draw, 0, 2), node=node, file=file, place=_s(draw, 0.1, 0.9)
    )


def _wipe(what: Wiped) -> Draw:
    return lambda draw, node, at_s: Wipe(at_s=at_s, for_s=_s(draw, 0, 3), node=node, what=what)


GOALS: Final[Mapping[str, Draw]] = {
    "kill": lambda draw, node, at_s: Kill(at_s=at_s, for_s=_s(draw, 0, 4), node=node),
    "kill_leader": lambda draw, _, at_s: Kill(at_s=at_s, for_s=_s(draw, 1, 6), node=LEADER),
    "power_loss": lambda draw, _, at_s: PowerLoss(at_s=at_s, for_s=_s(draw, 0, 2)),
    "pause_short": lambda draw, node, at_s: Pause(at_s=at_s, for_s=_s(draw, 0.2, 0.8), node=node),
    "pause_long": lambda draw, node, at_s: Pause(at_s=at_s, for_s=_s(draw, 5, 9), node=node),
    "pause_leader": lambda draw, _, at_s: Pause(at_s=at_s, for_s=_s(draw, 4, 8), node=LEADER),
    "restart": lambda _, node, at_s: Stop(at_s=at_s, node=node),
    "stop": lambda draw, node, at_s: Stop(at_s=at_s, for_s=_s(draw, 2, 6), node=node),
    "wipe_all": _wipe(Wiped.ALL),
    "wipe_ledger": _wipe(Wiped.LEDGER),
    "wipe_log": _wipe(Wiped.LOG),
    "wipe_index": _wipe(Wiped.INDEX),
    "flip_table": _flip(Damaged.TABLE),
    "flip_store_log": _flip(Damaged.STORE_LOG),
    "flip_manifest": _flip(Damaged.MANIFEST),
    "flip_current": _flip(Damaged.CURRENT),
    "flip_index": _flip(Damaged.INDEX),
    "flip_wal_head": _flip(Damaged.WAL_HEAD),
    "flip_wal_middle": _flip(Damaged.WAL_MIDDLE),
    "flip_wal_tail": _flip(Damaged.WAL_TAIL),
    "flip_outbox": _flip(Damaged.OUTBOX),
    "fill_disk": lambda draw, node, at_s: FillDisk(at_s=at_s, for_s=_s(draw, 3, 6), node=node),
    "clock_skew": lambda draw, node, at_s: Clock(
        at_s=at_s, for_s=_s(draw, 4, 8), node=node, offset_s=draw.choice([-1.5, -0.5, 0.5, 1.5])
    ),
    "clock_back": lambda draw, node, at_s: Clock(
        at_s=at_s, for_s=_s(draw, 4, 8), node=node, offset_s=draw.choice([-3600.0, -60.0, -15.0])
    ),
    "clock_ahead": lambda draw, node, at_s: Clock(
        at_s=at_s, for_s=_s(draw, 4, 8), node=node, offset_s=draw.choice([15.0, 60.0, 3600.0])
    ),
    "delay": lambda draw, node, at_s: Delay(
        at_s=at_s,
        for_s=_s(draw, 4, 8),
        node=node,
        delay_ms=draw.choice([50, 200, 500]),
        jitter_ms=draw.choice([0, 100]),
    ),
    "delay_one_way": lambda draw, node, at_s: Delay(
        at_s=at_s, for_s=_s(draw, 4, 8), node=node, delay_ms=draw.choice([200, 800]), jitter_ms=50, one_way=True
    ),
    "loss": lambda draw, node, at_s: Loss(
        at_s=at_s, for_s=_s(draw, 4, 8), node=node, share=draw.choice([0.02, 0.1, 0.3])
    ),
    "cut": lambda draw, node, at_s: Cut(at_s=at_s, for_s=_s(draw, 2, 6), node=node),
    "stall": lambda draw, node, at_s: Cut(at_s=at_s, for_s=_s(draw, 4, 9), node=node, stalled=True),
    "cut_one_way": lambda draw, node, at_s: Cut(at_s=at_s, for_s=_s(draw, 4, 8), node=node, stalled=True, one_way=True),
    "narrow": lambda draw, node, at_s: Narrow(
        at_s=at_s, for_s=_s(draw, 4, 8), node=node, kib_per_second=draw.choice([8, 32, 128])
    ),
    "namespace_cut": lambda draw, node, at_s: Cut(at_s=at_s, for_s=_s(draw, 3, 8), node=node, stalled=True),
    "namespace_narrow": lambda draw, node, at_s: Narrow(
        at_s=at_s, for_s=_s(draw, 4, 8), node=node, kib_per_second=draw.choice([8, 32, 128])
    ),
}
"""What a manifest can be meant to cover, by name; `namespace_…` need a namespace for each node."""

_ON_NAMESPACES: Final = frozenset({"namespace_cut", "namespace_narrow"})
_ON_PROXY: Final = frozenset({"delay", "delay_one_way", "loss", "cut", "stall", "cut_one_way", "narrow"})
_ALL_NODES: Final = frozenset({"power_loss", "kill_leader", "pause_leader"})


def generate(seed: int) -> Manifest:
    """Return the manifest of a seed."""
    draw = Random(seed)
    wanted = _goals_of(seed)
    links = Links.NAMESPACES if _ON_NAMESPACES & set(wanted) else Links.PROXY
    possible = [name for name in GOALS if name not in (_ON_PROXY if links is Links.NAMESPACES else _ON_NAMESPACES)]
    wanted = [name for name in wanted if name in possible]
    wanted += draw.choices(possible, k=draw.randint(1, MORE_MAX))
    draw.shuffle(wanted)
    nodes = 7 if draw.random() < 0.2 else 4
    names = [bank_name(index) for index in range(nodes)]
    placed = _place(draw, wanted, names)
    # Drawn apart: what else a seed holds does not depend on it.
    placed += _live(Random(f"life of {seed}"), LIVES[(seed - 1) % len(LIVES)], placed, names)
    if seed % AMEND_EVERY == 0:
        placed.append((AMENDED, _amendment(Random(f"amendment of {seed}"), placed)))
    perturbations = tuple(sorted((item for _, item in placed), key=lambda item: item.at_s))
    end_s = max(item.at_s + item.for_s for item in perturbations)
    banks = draw.sample(names, k=draw.randint(3, 4))
    load = Load(
        banks=tuple(sorted(banks)),
        batches_per_second=draw.choice([1.0, 2.0, 5.0]),
        events_a_batch=draw.choice([5, 20, 50]),
        lone_per_second=draw.choice([2.0, 5.0, 10.0]),
    )
    return Manifest(
        seed=seed,
        nodes=nodes,
        links=links,
        seconds=round(end_s + QUIET_AFTER_S, 1),
        view_timeout_ms=draw.choice(VIEW_TIMEOUTS_MS),
        load=load,
        goals=tuple(sorted({goal for goal, _ in placed})),
        perturbations=perturbations,
    )


def _goals_of(seed: int) -> list[str]:
    """Return what this seed must reach; those of namespaces and of the proxy are never asked of the same seed."""
    plain = [name for name in GOALS if name not in _ON_NAMESPACES | _ON_PROXY]
    special = [name for name in GOALS if name in _ON_PROXY | _ON_NAMESPACES]
    # Strides keep apart what stands together: at most f nodes can lose their vote in one run.
    asked = [plain[(seed - 1 + STRIDE * step) % len(plain)] for step in range(GOALS_A_SEED)]
    return [*asked, special[(seed - 1) % len(special)]]


def _place(draw: Random, wanted: list[str], names: list[str]) -> list[tuple[str, Perturbation]]:
    """Give each goal a node and a time: no node meets two at once, and losses of votes and outboxes stay bounded."""
    free_at = dict.fromkeys(names, FIRST_AT_S)
    voteless: set[str] = set()
    outboxless: set[str] = set()
    faults_max = (len(names) - 1) // 3
    placed: list[tuple[str, Perturbation]] = []
    at_s = FIRST_AT_S
    for goal in wanted:
        node = draw.choice(names)
        probe = GOALS[goal](draw, node, 0.0)
        if loses_vote(probe) and node not in voteless and len(voteless) >= faults_max:
            node = draw.choice(sorted(voteless))
        if loses_vote(probe):
            # Its log is lost once: what a learner writes instead is nobody's vote.
            if node in voteless:
                continue
            voteless.add(node)
        if loses_outbox(probe):
            if node in outboxless:
                continue
            outboxless.add(node)
        who = names if goal in _ALL_NODES else [node]
        at_s = round(max(at_s, *(free_at[name] for name in who)), 1)
        item = GOALS[goal](draw, node, at_s)
        placed.append((goal, item))
        for name in who:
            free_at[name] = at_s + item.for_s + SETTLE_S
        at_s += draw.uniform(*GAP_S)
    return placed


Placed = list[tuple[str, Perturbation]]
"""Perturbations with the goals that they are for."""


def _live(draw: Random, life: str, placed: Placed, names: list[str]) -> Placed:
    """Return what a seed's validators go through, between the faults that are placed already."""
    faults = [item for _, item in placed]
    lost = [item for item in faults if loses_vote(item)]
    match life:
        case "rolling_upgrade":
            return [(life, item) for item in _upgrades(draw, faults, names)]
        case "readmit":
            added: Placed = []
            if not lost:
                node = draw.choice(names)
                wipe = Wipe(at_s=_free_from(faults, node, FIRST_AT_S), for_s=WIPED_S, node=node, what=Wiped.LOG)
                added, lost, faults = [("wipe_log", wipe)], [wipe], [*faults, wipe]
            node = node_of(lost[0])
            return [*added, (life, Readmit(at_s=_free_from(faults, node, lost[0].at_s), node=node))]
        case _:
            member = draw.choice(names)
            join = Join(at_s=_s(draw, 1, 4), node=f"{member}-2", member=member)
            if life == "join":
                return [(life, join)]
            able = [name for name in names if name not in {node_of(item) for item in lost}]
            leave = Leave(at_s=round(join.at_s + _s(draw, 5, 12), 1), node=draw.choice([*able, join.node]))
            return [(life, join), (life, leave)]


def _amendment(draw: Random, placed: Placed) -> Amend:
    """Return a vote on a figure, asked for between the first fault and the last."""
    figure, value = draw.choice(FIGURES)
    return Amend(at_s=_s(draw, 0.5, max(item.at_s for _, item in placed)), figure=figure, value=value)


def _upgrades(draw: Random, faults: list[Perturbation], names: list[str]) -> list[Perturbation]:
    """Return the upgrade of one node after the other, of who is free first; now and then one stays what it is."""
    waiting = draw.sample(names, k=len(names) - draw.choice([0, 0, 1]))
    made: list[Perturbation] = []
    at_s = FIRST_AT_S
    while waiting:
        at_s, node = min(((_free_from(faults, name, at_s), name) for name in waiting), key=lambda found: found[0])
        waiting.remove(node)
        made.append(Upgrade(at_s=at_s, node=node))
        at_s += draw.uniform(*GAP_S)
    return made


def _free_from(faults: list[Perturbation], node: str, at_s: float) -> float:
    """Return the first moment from `at_s` on when nothing is done to a node, nor will be before it has settled."""
    on_node = [item for item in faults if node_of(item) in (node, LEADER, "")]
    for item in sorted(on_node, key=lambda item: item.at_s):
        if at_s + SETTLE_S > item.at_s:
            at_s = max(at_s, item.at_s + item.for_s + SETTLE_S)
    return round(at_s, 1)
