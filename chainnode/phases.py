"""When a submitted batch was how far: taken in, ordered, committed; the node's share of what a client waits for.

Here: the times of batches that came in at this node, by hash, in memory and bounded. Not here: the answer's way to the
client, which only the client can time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Final

from chainnode.metrics import NodeMetrics
from primitives.ids import Hash

BATCHES_MAX: Final = 32_768
"""Batches that are followed at once; of more, none are observed until there is room."""


class Phases:
    """Observes, for each batch that came in here, the seconds from its arrival until it was so far.

    `received`: checked and handed to the core. `ordered`: in a proposal that this node prepared, synced. `committed`:
    in a block whose rows are synced.
    """

    def __init__(self, metrics: NodeMetrics, clock: Callable[[], float] = time.perf_counter) -> None:
        self._metrics = metrics
        self.clock = clock
        self._arrived: dict[Hash, float] = {}
        self._waiting: set[Hash] = set()  # for their order

    def received(self, batch_hash: Hash, arrived: float) -> None:
        """Begin to follow a batch that arrived then; one that is sent again keeps its first time."""
        if batch_hash in self._arrived or len(self._arrived) >= BATCHES_MAX:
            return
        self._arrived[batch_hash] = arrived
        self._waiting.add(batch_hash)
        self._observe("received", arrived)

    def ordered(self, batch_hashes: Iterable[Hash]) -> None:
        """Note what a proposal holds; another proposal of the same batch, after a view change, changes nothing."""
        for batch_hash in batch_hashes:
            if batch_hash in self._waiting:
                self._waiting.remove(batch_hash)
                self._observe("ordered", self._arrived[batch_hash])

    def committed(self, batch_hash: Hash) -> None:
        """Note that a batch is committed, and forget it."""
        arrived = self._arrived.pop(batch_hash, None)
        if arrived is None:
            return
        self._waiting.discard(batch_hash)
        self._metrics.commit_minutes.observe(self._observe("committed", arrived))

    def forget(self, held: Callable[[Hash], bool]) -> None:
        """Forget what the node let go."""
        for batch_hash in [batch_hash for batch_hash in self._arrived if not held(batch_hash)]:
            del self._arrived[batch_hash]
            self._waiting.discard(batch_hash)

    def _observe(self, phase: str, arrived: float) -> float:
        seconds = self.clock() - arrived
        self._metrics.submission_phase.labels(phase).observe(seconds)
        return seconds
