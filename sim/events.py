"""What can stand in the queue of a simulated world."""

from __future__ import annotations

from msgspec import Struct


class Arrival(Struct, frozen=True):
    """A message reaches a node; one that was `injected` may be refused, whoever is named as its sender."""

    number: int
    sender: int
    receiver: int
    kind: int
    payload: bytes
    injected: bool = False


class Tick(Struct, frozen=True):
    """A node's clock ticks, in one life of it."""

    node: int
    life: int


class Synced(Struct, frozen=True):
    """What a node was writing has reached its disk; only the life that began it goes on."""

    node: int
    life: int


class Offer(Struct, frozen=True):
    """A source offers its next batch through a node."""

    source: int
    events: int
