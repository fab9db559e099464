"""One node of the simulation: what outlives its crashes, and its core while it runs.

Here: which validator it is, its disk, clock and monitor. Not here: the world around it (`sim.cluster`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from msgspec import Struct

from chainnode.core import NodeCore, Turn
from consensus.effects import Effect
from consensus.invariants import ReplicaMonitor
from consensus.state import ReplicaState
from primitives.ids import Hash, Height
from sim.disk import Disk, Written
from sim.recording import Recording
from sim.twister import Behaviour

SYNC_MS_MAX = 4


class Tracer(Protocol):
    """Sees what each node does, in the order in which it becomes durable: how a run is held against a model.

    Node indices are the cluster's; whether one is honest is in `Cluster.nodes`.
    """

    def started(self, node: int, state: ReplicaState) -> None:
        """A node was opened and restored from its disk, at the beginning or after a crash; sees the restored state."""

    def synced(self, node: int, effects: Sequence[Effect]) -> None:
        """The effects of one turn, in order, are on the disk and their messages leave now."""

    def crashed(self, node: int, effects: Sequence[Effect], kept: Written) -> None:
        """A node stopped; of the effects of the turn being written its disk keeps so much, and none of them left."""

    def wiped(self, node: int, *, ledger: bool, log: bool) -> None:
        """The disk of a stopped node lost its ledger, its write-ahead log, or both."""


class Write(Struct, frozen=True):
    """A turn on its way to the disk, the store's ticket that it settles, and the log's replacement where it is due."""

    turn: Turn
    ticket: int
    rewrite: list[bytes] | None
    effects: tuple[Effect, ...]


@dataclass(slots=True)
class SimNode:
    """One node: its disk outlives it, its core does not. Its `doom` strikes when it next writes records.

    `seat` is its validator's index at genesis, None of an observer or of a node that came later; a twin has the name
    and seat of another node. `generation` is that of its keys (`sim.governance`), None of an observer; `bank` is the
    index of the bank whose node it is.
    `learner` says that it may only follow, `dead` that nobody starts it again, `wiped_whole` that its operator answers
    damage of one part by wiping all.
    """

    index: int
    name: str
    seat: int | None
    disk: Disk
    monitor: ReplicaMonitor
    malicious: Behaviour | None = None
    generation: int | None = None
    bank: int = 0
    core: NodeCore | None = None
    life: int = 0
    writing: Write | None = None
    effects: list[Effect] = field(default_factory=list)
    answered: dict[Height, Hash] = field(default_factory=dict)
    stable: Height = field(default_factory=lambda: Height(0))
    skew_ms: int = 0
    sync_ms_max: int = SYNC_MS_MAX
    learner: bool = False
    dead: bool = False
    wiped_whole: bool = False
    refusals: int = 0
    doom: Callable[[], None] | None = None
    recording: Recording | None = None

    @property
    def honest(self) -> bool:
        """Whether the invariants are held against this node."""
        return self.malicious is None

    @property
    def idle(self) -> bool:
        """Whether nothing is in flight or waits at a running node: no block, batch, write, view change or fetch."""
        if self.core is None or self.writing is not None:
            return False
        state = self.core.replica.state
        return state.active and not state.slots and state.fetch_peer is None and not len(self.core.application.pool)

    def found_out(self, torn_bytes: int) -> str:
        """Say what a start found out."""
        torn = f", {torn_bytes} torn bytes cut" if torn_bytes else ""
        return f"{torn}, without a vote" if self.learner and self.seat is not None else torn
