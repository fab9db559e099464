"""What waits to be sent to one peer: two bounded lanes, of which the consensus lane goes first.

Here: the order and bounds of outgoing frames. Not here: writing them (connection). A message of the bulk lane is made
of fragments, and consensus messages pass between them: a vote waits for one write, never for a 4 MiB batch.
"""

from __future__ import annotations

from collections import deque
from enum import IntEnum


class Lane(IntEnum):
    """The class of a kind: its place in the queue and its quota."""

    CONSENSUS = 0
    BULK = 1


class Outbox:
    """The frames that one peer has not been sent yet; a message that does not fit is dropped whole and counted."""

    def __init__(self, bytes_max: tuple[int, int]) -> None:
        self._bytes_max = bytes_max  # by lane
        self._consensus: deque[bytes] = deque()
        self._bulk: deque[tuple[bytes, ...]] = deque()
        self._bulk_sent = 0  # fragments of the first bulk message that have been taken
        self.queued_bytes = [0, 0]  # by lane
        self.drops = [0, 0]  # messages, by lane

    def __bool__(self) -> bool:
        return bool(self._consensus or self._bulk)

    def put_consensus(self, frame: bytes) -> bool:
        """Queue one frame of the consensus lane; False if it was dropped."""
        if not self._fits(Lane.CONSENSUS, len(frame)):
            return False
        self._consensus.append(frame)
        return True

    def put_bulk(self, fragments: tuple[bytes, ...], size: int) -> bool:
        """Queue one message of the bulk lane, `size` bytes in all; False if it was dropped."""
        if not self._fits(Lane.BULK, size):
            return False
        self._bulk.append(fragments)
        return True

    def take(self, budget: int, *, small: int = 0) -> list[bytes]:
        """Remove and return frames to write, consensus first, stopping once `budget` bytes are reached.

        Where the bulk lane holds at most `small` bytes it goes first, lest a proposal overtake the batches it names.
        """
        taken: list[bytes] = []
        left = budget
        if self.queued_bytes[Lane.BULK] <= small:
            left = self._take_bulk(taken, left)
        while self._consensus and left > 0:
            frame = self._consensus.popleft()
            self.queued_bytes[Lane.CONSENSUS] -= len(frame)
            left -= len(frame)
            taken.append(frame)
        self._take_bulk(taken, left)
        return taken

    def _take_bulk(self, taken: list[bytes], left: int) -> int:
        """Move fragments of the bulk lane to `taken` while `left` is above 0; return what is left then."""
        while self._bulk and left > 0:
            fragments = self._bulk[0]
            frame = fragments[self._bulk_sent]
            self._bulk_sent += 1
            if self._bulk_sent == len(fragments):
                self._bulk.popleft()
                self._bulk_sent = 0
            self.queued_bytes[Lane.BULK] -= len(frame)
            left -= len(frame)
            taken.append(frame)
        return left

    def rewind(self) -> None:
        """Start a half-sent bulk message from its beginning: another connection takes over."""
        if self._bulk_sent:
            self.queued_bytes[Lane.BULK] += sum(map(len, self._bulk[0][: self._bulk_sent]))
            self._bulk_sent = 0

    def _fits(self, lane: Lane, size: int) -> bool:
        if self.queued_bytes[lane] + size > self._bytes_max[lane]:
            self.drops[lane] += 1
            return False
        self.queued_bytes[lane] += size
        return True
