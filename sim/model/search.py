"""A bounded search over the real replica: every run that differs from the usual one in at most so many places.

Four validators of the real `consensus.replica` over the toy application, one of them a pair of twins that propose
different blocks. Usually letters arrive in the order in which they were sent. At each of them the search may deviate:
lose it, let it come last, restart its receiver, or let the time-out of its receiver or of everybody end. Depth first;
worlds are copied where a run deviates, and a world that was seen with as many deviations left is not entered again.
The monitors of `consensus.invariants` and the abstract model see every step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from random import Random
from typing import Any, Final

from consensus.effects import BatchesArrived, Tick
from consensus.invariants import ClusterMonitor, InvariantBroken, ReplicaMonitor
from consensus.replica import Replica
from consensus.state import Checkpoints, ReplicaState, Slot, Tip
from consensus.tally import Tally
from primitives.ids import TimeMs
from sim.model.conformance import Conformance
from sim.model.witness import Chain, Witness
from sim.toy import ToyApplication, batch_of
from sim.twins.scenario import REPLICAS, TWIN
from sim.twins.world import Node, World

LETTERS_MAX: Final = 400
MUTABLE: Final = (
    World,
    Node,
    Replica,
    ReplicaState,
    Slot,
    Tip,
    Tally,
    Checkpoints,
    ToyApplication,
    ReplicaMonitor,
    ClusterMonitor,
    Conformance,
    Witness,
    Chain,
)
"""What a copy of a world must not share; messages, blocks, keys and settings are values."""

FORGOTTEN: Final = frozenset({"heard_ms", "effects", "monitor", "validated"})
"""What does not tell two worlds apart: who was heard when, and what only watches."""


@dataclass(slots=True)
class Searched:
    """What a search counted, and the first run that broke a rule with its deviations."""

    runs: int = 0
    steps: int = 0
    worlds: int = 0
    complete: bool = True
    broken: str = ""
    deviations: tuple[str, ...] = ()


class Crossing(World):
    """A world whose letters are given one by one."""

    def begin(self) -> None:
        """Offer two batches, to the twins in different order, so that they propose different blocks."""
        for node in self.nodes:
            batches = [batch_of(1), batch_of(2)]
            node.application.held.update(batches)
            node.application.waiting.extend(reversed(batches) if node.index == TWIN else batches)
        for node in self.nodes:
            self._perform(node, node.replica.step(BatchesArrived(), self.now_ms))

    @property
    def letters(self) -> list[tuple[int, str, Any]]:
        """What is under way, oldest first; Any: a message."""
        return self._queue

    def arrive(self) -> None:
        """Let the oldest letter arrive."""
        self._give(self._queue.pop(0))

    def lose(self) -> None:
        """Lose the oldest letter."""
        del self._queue[0]

    def delay(self) -> None:
        """Let the oldest letter come last."""
        self._queue.append(self._queue.pop(0))

    def restart(self, index: int) -> None:
        """Stop a node and start it from its disk."""
        self._restart(self.nodes[index])

    def end_timeout(self, indexes: range) -> None:
        """Let the time-out of some nodes end, who all hear from each other."""
        self.now_ms = TimeMs(self.now_ms + 1)
        for index in indexes:
            node = self.nodes[index]
            node.state.heard_ms = dict.fromkeys(node.state.validators.indexes, self.now_ms)
            node.state.deadline_ms = self.now_ms
            self._perform(node, node.replica.step(Tick(), self.now_ms))

    def deviations(self) -> list[tuple[str, Callable[[Crossing], None]]]:
        """Return what may happen instead of the oldest letter's arrival."""
        index, sender, message = self._queue[0]
        letter = f"{type(message).__name__} of {sender} to {self.nodes[index].name}"
        return [
            (f"lost: {letter}", Crossing.lose),
            (f"late: {letter}", Crossing.delay),
            (f"before {letter}: it restarts", lambda world: world.restart(index)),
            (f"before {letter}: its time-out ends", lambda world: world.end_timeout(range(index, index + 1))),
            (f"before {letter}: everybody's time-out ends", lambda world: world.end_timeout(range(REPLICAS))),
        ]


def search(
    deviations: int,
    *,
    runs_max: int | None = None,
    twinned: int = 0,
    told: Callable[[Searched], None] | None = None,
) -> Searched:
    """Take every run with at most so many deviations, up to `runs_max`; stop at the first broken rule."""
    found = Searched()
    world = Crossing(twinned, Random(0))  # noqa: S311  nothing is drawn
    world.begin()
    seen: set[tuple[int, int]] = set()
    waiting: list[tuple[Crossing, int, tuple[str, ...]]] = [(world, deviations, ())]
    while waiting and not found.broken:
        if runs_max is not None and found.runs >= runs_max:
            found.complete = False
            break
        world, left, names = waiting.pop()
        try:
            _run(world, left, names, waiting, seen, found)
        except InvariantBroken as error:
            found.broken, found.deviations = str(error), found.deviations or names
        found.runs += 1
        if told is not None:
            told(found)
    found.worlds = len(seen)
    return found


def _run(
    world: Crossing,
    left: int,
    names: tuple[str, ...],
    waiting: list[tuple[Crossing, int, tuple[str, ...]]],
    seen: set[tuple[int, int]],
    found: Searched,
) -> None:
    """Let every letter arrive in order, and put aside the worlds in which a run deviates on the way."""
    for _ in range(LETTERS_MAX):
        if not world.letters:
            return
        for name, deviate in world.deviations() if left else ():
            other: Crossing = copied(world, {})
            try:
                deviate(other)
            except InvariantBroken:
                found.deviations = (*names, name)
                raise
            mark = (fingerprint(other), left - 1)
            if mark not in seen:
                seen.add(mark)
                waiting.append((other, left - 1, (*names, name)))
        world.arrive()
        found.steps += 1


def copied(value: Any, memo: dict[int, Any]) -> Any:  # Any: whatever a world consists of
    """Return a copy that shares nothing that changes; what is there twice stays one."""
    kind = type(value)
    if kind in (dict, list, set) or isinstance(value, MUTABLE):
        known = memo.get(id(value))
        if known is None:
            known = memo[id(value)] = _copy_of(value, kind, memo)
        return known
    return value


def _copy_of(value: Any, kind: type[Any], memo: dict[int, Any]) -> Any:  # Any: see above
    if kind is dict:
        return {key: copied(item, memo) for key, item in value.items()}
    if kind is list:
        return [copied(item, memo) for item in value]
    if kind is set:
        return set(value)
    new = memo[id(value)] = object.__new__(kind)
    for name in _names(value):
        item = getattr(value, name)
        object.__setattr__(new, name, item if name == "_verified" else copied(item, memo))
    return new


def _names(value: Any) -> list[str]:  # Any: see above
    """Return the names of what an object holds."""
    if is_dataclass(value):
        return [field.name for field in fields(value)]
    return list(getattr(value, "__slots__", ())) or list(vars(value))


def fingerprint(world: Crossing) -> int:
    """Return a hash of the replicas and of what is under way; clocks and watchers aside."""
    return hash((tuple(_mark(node) for node in world.nodes), tuple(world.letters)))


def _mark(value: Any) -> int:  # Any: see above
    if isinstance(value, dict):
        return hash(frozenset((key, _mark(item)) for key, item in value.items()))
    if isinstance(value, list | tuple):
        return hash(tuple(_mark(item) for item in value))
    if isinstance(value, set):
        return hash(frozenset(value))
    if isinstance(value, MUTABLE):
        return hash(tuple(_mark(getattr(value, name)) for name in _names(value) if _tells(name)))
    try:
        return hash(value)
    except TypeError:
        return 0  # signers and settings, the same in every world


def _tells(name: str) -> bool:
    return name not in FORGOTTEN and not name.endswith("_ms")
