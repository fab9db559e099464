"""What can stand in the queue of a simulated world."""

from __future__ import annotations

from typing import NamedTuple


class Arrival(NamedTuple):
    """A message reaches a node; one that was `injected` may be refused, whoever is named as its sender."""

    number: int
    sender: int
    receiver: int
    kind: int
    payload: bytes
    injected: bool = False


class Tick(NamedTuple):
    """A node's clock ticks, in one life of it."""

    node: int
    life: int


class Synced(NamedTuple):
    """What a node was writing has reached its disk; only the life that began it goes on."""

    node: int
    life: int


class Offer(NamedTuple):
    """A source offers its next batch through a node."""

    source: int
    events: int
