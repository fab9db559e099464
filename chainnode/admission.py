"""How much may wait behind this node's door: what is taken in is ordered within a bound, the rest is refused at once.

Here: what waits, at what pace it is ordered, and from these whether there is room and when to ask again. Pure, with
time passed in. Not here: what is refused for other reasons (`gateway`), a member's place in the pool (`ledger.pool`).

What waits is counted in bytes of events, with BATCH_COST more for each batch, since a batch costs a signature and its
messages however small it is. By Little's law something that enters behind W bytes which are ordered at P bytes a
second waits for W / P seconds: room is left while that is within the bound. So the bound holds on any machine, for
lone events as for full batches, and with one member at work as with all.
"""

from __future__ import annotations

from typing import Final

BATCH_COST: Final = 8 * 1024
"""Bytes of events that cost about as much as one more batch does."""

WAITING_MIN: Final = 2 << 20
"""So much may always wait, at whatever pace: without it a network that has stood still could not begin again."""

HALF_LIFE_MS: Final = 2_000
"""The pace of so long ago, in time with something to do, counts half."""

RETRY_MS_MIN: Final = 100
RETRY_MS_MAX: Final = 5_000


class Admission:
    """Counts what waits here; `enter` and `leave` belong together, `ordered` says what the chain has taken of it."""

    def __init__(self, wait_ms_max: int) -> None:
        """Take the longest time, in ms, that what enters should wait until it is ordered."""
        self._wait_ms_max = wait_ms_max
        self._waiting = 0
        self._done = 0.0  # bytes ordered, and the ms with something waiting in which they were; both fade alike
        self._busy_ms = 0.0
        self._since_ms: int | None = None  # from when on the present stretch of busy time is not counted yet

    @property
    def waiting(self) -> int:
        """The bytes that wait."""
        return self._waiting

    def room(self, now_ms: int) -> int:
        """Return how many bytes may wait at the present pace; while nothing is ordered it falls to WAITING_MIN."""
        return max(WAITING_MIN, int(self._pace(now_ms) * self._wait_ms_max))

    def full(self, now_ms: int) -> bool:
        """Say whether whatever comes now is to be refused; what comes to an empty queue never is, however large."""
        return self._waiting >= self.room(now_ms)

    def retry_after_ms(self, now_ms: int) -> int:
        """Return when to ask again: once half of what waits should be ordered."""
        pace = self._pace(now_ms)
        half_ms = self._waiting / pace / 2 if pace else RETRY_MS_MAX
        return int(min(RETRY_MS_MAX, max(RETRY_MS_MIN, half_ms)))

    def enter(self, size: int, now_ms: int) -> None:
        """Let so many bytes wait."""
        if not self._waiting:
            self._since_ms = now_ms
        self._waiting += size

    def leave(self, size: int) -> None:
        """Let go of bytes that will not be ordered."""
        self._take(size)

    def ordered(self, size: int, now_ms: int) -> None:
        """Note that the chain has taken bytes that waited here."""
        self._count(size, now_ms)
        self._take(size)

    def _count(self, size: int, now_ms: int) -> None:
        """Add a stretch of busy time and what was ordered at its end."""
        if self._since_ms is None:
            return
        passed_ms = max(0, now_ms - self._since_ms)
        fading = 0.5 ** (passed_ms / HALF_LIFE_MS)
        self._done = self._done * fading + size
        self._busy_ms = self._busy_ms * fading + passed_ms
        self._since_ms = now_ms

    def _take(self, size: int) -> None:
        self._waiting -= size
        assert self._waiting >= 0, "nothing leaves that did not enter"
        if not self._waiting:
            self._since_ms = None

    def _pace(self, now_ms: int) -> float:
        """Return the bytes ordered in a millisecond, the time since the last of them included."""
        open_ms = 0 if self._since_ms is None else max(0, now_ms - self._since_ms)
        return self._done / max(1.0, self._busy_ms + open_ms)
