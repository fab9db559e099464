"""What can stand in the queue of a simulated world."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message reaches a node; one that was `injected` may be refused, whoever is named as its sender."""

    number: int
    sender: int
    receiver: int
    kind: int
    payload: bytes
    injected: bool = False


@dataclass(frozen=True, slots=True)
class Tick:
    """A node's clock ticks, in one life of it."""

    node: int
    life: int


@dataclass(frozen=True, slots=True)
class Synced:
    """What a node was writing has reached its disk; only the life that began it goes on."""

    node: int
    life: int


@dataclass(frozen=True, slots=True)
class Offer:
    """A source offers its next batch through a node."""

    source: int
    count: int
