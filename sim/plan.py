"""What a simulated run consists of, as data: load, weather, faults, malicious nodes and how it ends.

A `Scenario` says everything: `draw` makes one of a seed, tests and shrinking make their own, and each is a small text
that can be kept and run again (`sim.plan_text`). Nothing is drawn while faults are done: a strike carries all its
parameters, so that one can be taken away and the rest stays as it was. Not here: doing them (`sim.faults`, `sim.run`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from random import Random
from typing import Final

from ledger.rules import RULES_SCHEME
from primitives.hashing import RULES_FIRST
from sim.cluster import RECORDS_MAX
from sim.disk import Written
from sim.lives import Life, draw_lives
from sim.malicious import BEHAVIOURS, EPOCH_BEHAVIOURS
from sim.membership import Change, draw_changes
from sim.motions import RULES_NEXT, Motion, draw_motions
from sim.network import Weather
from sim.workload import bank_of

NODES_MIN: Final = 4
NODES_MAX: Final = 100
CHAOS_MS: Final = 20_000
STRIKES_MAX: Final = 7
BATCHES: Final = (5, 80)
BATCH_EVENTS: Final = (1, 1, 2, 3, 5, 5, 40)
DRAWN_NAMES, EPOCH_NAMES = (
    tuple(behaviour.__name__ for behaviour in behaviours) for behaviours in (BEHAVIOURS, EPOCH_BEHAVIOURS)
)
BEHAVIOUR_NAMES: Final = DRAWN_NAMES + EPOCH_NAMES
CHANGE_SHARE: Final = 0.35
"""How many runs see members and validators come and go."""
MOTION_SHARE: Final = 0.3
"""How many runs see roles, root CAs, the policy, the catalogue or shares put to the vote."""
LIVES_SHARE: Final = 0.3
"""How many of the runs without such motions see certificates' lives."""
OLD_RULES_SHARE: Final = 0.25
"""How many of these begin with the first rules and vote for the second."""
OLD_RULES_LOADS: Final = 60
LOST_AFTER_MS: Final = 9_000
"""Within this time of a change's proposal its barrier comes, if it comes: a ledger is lost then on purpose."""


class Fault(StrEnum):
    """The kinds of faults that strike at a moment, with what their strikes carry; the weather is there all the time."""

    CRASH = "crash"
    """nodes: who; amounts: a `Written`, and the share of a torn frame in thousandths"""
    WRITE_CRASH = "write-crash"
    """the same, in the midst of the node's next write of records"""
    LEADER_CRASH = "leader-crash"
    """whoever leads then; amounts as of a crash"""
    POWER_LOSS = "power-loss"
    """nodes: who; amounts: for each of them a `Written`, a share, and after how many ms it starts"""
    PARTITION = "partition"
    """nodes: one side of it"""
    ONE_WAY = "one-way"
    """nodes: sender and receiver of each link that is cut"""
    SLOW_LINK = "slow-link"
    """nodes: whose links are slow, both ways; amounts: bytes a second"""
    SKEW = "skew"
    """nodes: whose clock is wrong until all is healed; amounts: by how many ms"""
    JUMP = "jump"
    """nodes: whose clock jumps, and back when the strike ends; amounts: by how many ms"""
    SLOW_DISK = "slow-disk"
    """nodes: whose disk takes long until all is healed; amounts: ms at the most"""
    FULL_DISK = "full-disk"
    """nodes: whose disk takes nothing more until the strike ends; amounts: what a write leaves, as of a crash"""
    LOST_LEDGER = "lost-ledger"
    """nodes: who loses the store and keeps the write-ahead log"""
    LOST_LOG = "lost-log"
    """nodes: who loses the write-ahead log and keeps the store"""
    LOST_DISK = "lost-disk"
    """nodes: who loses both"""
    FLIPPED_LOG = "flipped-log"
    """nodes: in whose log a bit flips; amounts: where in thousandths, which bit, 1 if all is wiped and not the log"""
    FLIPPED_ROW = "flipped-row"
    """nodes: in whose store a row is damaged; amounts: where in thousandths, 0, 1 if all is wiped and not the store"""

    REKEY = "rekey"
    """nodes: who loses both and comes back with new keys; amounts: the bank that proposes it, after how many ms"""


FORGETFUL: Final = frozenset(
    {
        Fault.LOST_LEDGER,
        Fault.LOST_LOG,
        Fault.LOST_DISK,
        Fault.FLIPPED_LOG,
        Fault.FLIPPED_ROW,
        Fault.REKEY,
    }
)
"""Faults that cost a validator its memory: together with the malicious ones they strike at most f nodes of a run."""

SKEWS_MS: Final = (-8_000, -3_000, -1_000, 1_000, 3_000)
SKEWS_FAULTY_MS: Final = (-40_000, 40_000, 8_000)
"""A clock ahead by more than the policy's drift counts among the f: q such clocks would order blocks of the future."""


class Fate(StrEnum):
    """What becomes of the nodes outside of the core that is healed; malicious ones go on as they are."""

    DEAD = "dead"
    CUT = "cut"


@dataclass(frozen=True, slots=True)
class Strike:
    """One fault: when it begins, counted from the run's start, how long it lasts, and its parameters (see `Fault`)."""

    fault: Fault
    at_ms: int
    lasts_ms: int
    nodes: tuple[int, ...] = ()
    amounts: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Load:
    """One batch of a bank, offered through its own node."""

    at_ms: int
    source: int
    events: int


@dataclass(frozen=True, slots=True)
class Scenario:
    """One run: `malicious` holds (node, name of its behaviour).

    `core` names the nodes that are healed at the end, a quorum of honest ones, with all that joined meanwhile; empty
    means that all faults end. `guests` are members without a validator, numbered after the banks that have one. A log
    of more than `records_max` records is cut. The first block follows version `rules` of the rules; `lives` are of
    certificates, by RULES_SCHEME or later.
    """

    seed: int
    nodes: int
    weather: Weather
    strikes: tuple[Strike, ...] = ()
    malicious: tuple[tuple[int, str], ...] = ()
    loads: tuple[Load, ...] = ()
    observers: int = 0
    core: tuple[int, ...] = ()
    fate: Fate = Fate.DEAD
    chaos_ms: int = CHAOS_MS
    changes: tuple[Change, ...] = ()
    guests: int = 0
    records_max: int = RECORDS_MAX
    motions: tuple[Motion, ...] = ()
    rules: int = RULES_FIRST
    lives: tuple[Life, ...] = ()

    def faulty(self) -> set[int]:
        """Return the nodes that are malicious or lose their memory: never more than f."""
        lost = {node for strike in self.strikes if strike.fault in FORGETFUL for node in strike.nodes}
        return lost | {node for node, _ in self.malicious}


# --- drawing


def draw(seed: int, nodes: int = 4) -> Scenario:
    """Return the scenario of a seed."""
    random = Random(f"scenario {seed} {nodes}")  # noqa: S311  repeatable
    f, quorum = (nodes - 1) // 3, (nodes + (nodes - 1) // 3) // 2 + 1
    faulty = random.sample(range(nodes), f)
    evil = faulty[: random.randint(1, f)] if random.random() < 0.5 else []
    malicious = tuple((node, random.choice(DRAWN_NAMES)) for node in evil)
    whole = [node for node in range(nodes) if node not in faulty]
    core = tuple(sorted(random.sample(whole, quorum))) if random.random() < 0.4 else ()
    forgetful = [node for node in faulty if node not in evil]
    drawn = Scenario(
        seed=seed,
        nodes=nodes,
        weather=draw_weather(random),
        strikes=draw_strikes(random, CHAOS_MS, nodes, forgetful),
        malicious=malicious,
        loads=draw_loads(random, random.randint(*BATCHES), nodes),
        observers=int(random.random() < 0.25),
        core=core,
        fate=random.choice(list(Fate)) if core else Fate.DEAD,
    )
    return _with_lives(_with_motions(_with_changes(drawn, forgetful)))


def _with_changes(drawn: Scenario, forgetful: list[int]) -> Scenario:
    """Let validators and members change in a share of all runs, drawn from a stream of its own.

    Such a run has logs that are cut often, ledgers lost about when an epoch begins, and lies about epochs.
    """
    random = Random(f"changes {drawn.seed} {drawn.nodes}")  # noqa: S311  repeatable
    if random.random() >= CHANGE_SHARE:
        return drawn
    guests = random.randint(0, 1)
    changes = draw_changes(random, drawn.chaos_ms, drawn.nodes, guests)
    loads = [Load(random.randrange(drawn.chaos_ms), drawn.nodes, 1) for _ in range(guests * random.randint(1, 8))]
    strikes = [
        _lost_about(random, change.at_ms, drawn.chaos_ms, node)
        for change in changes
        for node in forgetful
        if random.random() < 0.3
    ]
    malicious = drawn.malicious
    if malicious and random.random() < 0.3:
        malicious = ((malicious[0][0], random.choice(EPOCH_NAMES)), *malicious[1:])
    return replace(
        drawn,
        changes=changes,
        guests=guests,
        loads=tuple(sorted((*drawn.loads, *loads), key=lambda load: load.at_ms)),
        strikes=tuple(sorted((*drawn.strikes, *strikes), key=lambda strike: strike.at_ms)),
        malicious=malicious,
        records_max=random.choice((RECORDS_MAX, 60, 20)),
    )


def _with_motions(drawn: Scenario) -> Scenario:
    """Let members vote on more than who validates in a share of all runs, drawn from a stream of its own.

    Some of these runs begin with the first rules, by which most motions wait for the second: those are moved first, and
    batches enough come for the chain to reach their height.
    """
    random = Random(f"motions {drawn.seed} {drawn.nodes}")  # noqa: S311  repeatable
    if random.random() >= MOTION_SHARE:
        return drawn
    motions = draw_motions(random, drawn.chaos_ms, drawn.nodes)
    if random.random() >= OLD_RULES_SHARE:
        return replace(drawn, motions=motions, rules=RULES_FIRST + 1)
    everybody = tuple(range(drawn.nodes))
    first = Motion(random.randrange(BATCHES[1]), random.randrange(drawn.nodes), RULES_NEXT, everybody)
    loads = (*drawn.loads, *draw_loads(random, OLD_RULES_LOADS, drawn.nodes, drawn.chaos_ms))
    return replace(
        drawn, motions=(first, *motions), loads=tuple(sorted(loads, key=lambda load: load.at_ms)), rules=RULES_FIRST
    )


def _with_lives(drawn: Scenario) -> Scenario:
    """Let certificates live in a share of the runs without motions, by the rules of the scheme; from its own stream."""
    random = Random(f"lives {drawn.seed} {drawn.nodes}")  # noqa: S311  repeatable
    if drawn.motions or random.random() >= LIVES_SHARE:
        return drawn
    return replace(drawn, lives=draw_lives(random, drawn.chaos_ms, drawn.nodes), rules=RULES_SCHEME)


def draw_weather(random: Random) -> Weather:
    """Return a network between calm and 30 % loss, 50 % replay and delays with tails of seconds."""
    return Weather(
        loss=random.choice((0.0, 0.02, 0.1, 0.3)),
        replay=random.choice((0.0, 0.0, 0.1, 0.5)),
        delay_ms=random.choice((3, 20, 100)),
        tail_ms=random.choice((50, 500, 3_000)),
        tail_share=random.choice((0.0, 0.05, 0.2)),
    )


def draw_loads(random: Random, count: int, nodes: int, chaos_ms: int = CHAOS_MS) -> tuple[Load, ...]:
    """Return batches of all banks in order of time."""
    loads = [
        Load(random.randrange(chaos_ms), random.randrange(nodes), random.choice(BATCH_EVENTS)) for _ in range(count)
    ]
    return tuple(sorted(loads, key=lambda load: load.at_ms))


def draw_strikes(
    random: Random, chaos_ms: int, nodes: int, forgetful: list[int], kinds: tuple[Fault, ...] = tuple(Fault)
) -> tuple[Strike, ...]:
    """Return a few faults in order of time; only `forgetful` nodes may lose memory or be far in the future."""
    possible = [kind for kind in kinds if forgetful or kind not in FORGETFUL]
    strikes = [
        draw_strike(random, random.choice(possible), random.randrange(chaos_ms), nodes, forgetful)
        for _ in range(random.randint(0, STRIKES_MAX))
    ]
    return tuple(sorted(strikes, key=lambda strike: strike.at_ms))


def draw_strike(
    random: Random, fault: Fault, at_ms: int, nodes: int, forgetful: list[int], lasts_ms: int | None = None
) -> Strike:
    """Return one strike of a kind with parameters of its own."""
    lasts_ms = random.choice((200, 1_000, 4_000, 10_000)) if lasts_ms is None else lasts_ms
    node = random.choice(forgetful) if fault in FORGETFUL else random.randrange(nodes)
    who: tuple[int, ...] = (node,)
    amounts: tuple[int, ...] = ()
    match fault:
        case Fault.CRASH | Fault.WRITE_CRASH | Fault.LEADER_CRASH:
            who = () if fault is Fault.LEADER_CRASH else who
            amounts = (random.choice(list(Written)), random.randrange(1_000))
        case Fault.POWER_LOSS:
            who = tuple(range(nodes))
            amounts = tuple(
                amount
                for _ in who
                for amount in (random.choice(list(Written)), random.randrange(1_000), random.randint(1, lasts_ms))
            )
        case Fault.PARTITION:
            who = tuple(sorted(random.sample(range(nodes), random.randint(1, nodes // 2))))
        case Fault.ONE_WAY:
            links = [(a, b) for a in range(nodes) for b in range(nodes) if a != b and random.random() < 0.3]
            who = tuple(end for link in links for end in link)
        case Fault.SLOW_LINK:
            amounts = (random.choice((500, 2_000, 10_000, 50_000)),)
        case Fault.SKEW | Fault.JUMP:
            amounts = (random.choice(SKEWS_FAULTY_MS if node in forgetful else SKEWS_MS),)
        case Fault.SLOW_DISK:
            amounts = (random.choice((100, 500, 1_500)),)
        case Fault.FULL_DISK:
            amounts = (random.choice((Written.NOTHING, Written.ROWS, Written.TORN)), random.randrange(1_000))
        case Fault.FLIPPED_LOG | Fault.FLIPPED_ROW:
            amounts = (random.randrange(1_000), random.randrange(8), random.randint(0, 1))
        case Fault.REKEY:
            amounts = ((node + random.randrange(1, nodes)) % nodes, random.choice((0, 500, 3_000)))
        case Fault.LOST_LEDGER | Fault.LOST_LOG | Fault.LOST_DISK:
            pass
    return Strike(fault, at_ms, lasts_ms, who, tuple(map(int, amounts)))


def _lost_about(random: Random, at_ms: int, chaos_ms: int, node: int) -> Strike:
    at_ms = min(at_ms + random.randrange(LOST_AFTER_MS), chaos_ms - 1)
    return Strike(Fault.LOST_LEDGER, at_ms, random.choice((200, 1_000)), (node,))


def in_words(strike: Strike) -> str:
    """Say a strike in words, for the story of a run."""
    who = ", ".join(map(bank_of, strike.nodes))
    amounts = " ".join(map(str, strike.amounts))
    return " ".join(filter(None, (f"{strike.fault} for {strike.lasts_ms} ms", who and f"at {who}", amounts)))
