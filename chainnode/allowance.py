"""What one peer may draw from a node: tiny requests must not make it hold or send much. Pure, with time passed in.

Here: how often a peer's requests are taken, and how many bytes answer them in one turn. Not here: what the answers are
(`chainnode.core`), how many bytes wait on a link (`p2p.lanes`), how many messages a peer may send (`p2p.quotas`).
"""

from __future__ import annotations

from typing import Final

from primitives.ids import TimeMs

SERVED_BYTES_MAX: Final = 8 * 1024 * 1024
"""What answers one peer's requests in a turn; only the answer that reaches it may go over it."""

VOWS_AT_ONCE: Final = 4
"""Rising VIEW-CHANGEs of one peer that are verified at once; then one in each pause."""


class Allowance:
    """Counts by peer. A turn that the disk holds up lasts long, so that a bound by time alone would not bound it."""

    def __init__(self, pause_ms: int) -> None:
        """Take the time that passes between two requests of a kind that `due` lets through."""
        self._pause_ms = pause_ms
        self._asked: set[tuple[str, int]] = set()
        self._spent: dict[str, int] = {}
        self._answered_ms: dict[str, dict[int, TimeMs]] = {}
        self._vows_ms: dict[str, int] = {}

    def ask(self, peer: str, kind: int) -> bool:
        """Say whether this is the peer's first request of a kind in the turn; note it."""
        first = (peer, kind) not in self._asked
        self._asked.add((peer, kind))
        return first

    def due(self, peer: str, kind: int, now_ms: TimeMs) -> bool:
        """Say whether a request of a kind is the first in the turn, and the pause since the last is over; note it."""
        answered = self._answered_ms.setdefault(peer, {})
        last_ms = answered.get(kind)
        if last_ms is not None and 0 <= now_ms - last_ms < self._pause_ms:
            return False
        if not self.ask(peer, kind):
            return False
        answered[kind] = now_ms
        return True

    def vow(self, peer: str, now_ms: TimeMs) -> bool:
        """Say whether a peer's VIEW-CHANGE, higher than its last one, may be verified now; note it.

        Each holds some hundred signatures, and whoever signs one for an ever higher view is new each time. An honest
        validator's that is turned away here comes again with its next status.
        """
        full_ms = self._vows_ms.get(peer, 0)  # at this time its bucket is full again
        whole_ms = VOWS_AT_ONCE * self._pause_ms
        if not 0 <= full_ms - now_ms <= whole_ms:
            full_ms = now_ms  # long ago, or the clock was set back
        if full_ms - now_ms > whole_ms - self._pause_ms:
            return False
        self._vows_ms[peer] = full_ms + self._pause_ms
        return True

    def room(self, peer: str) -> int:
        """Return how many bytes the peer may still be given in this turn."""
        return max(0, SERVED_BYTES_MAX - self._spent.get(peer, 0))

    def spend(self, peer: str, size: int) -> None:
        """Count bytes that the peer is given."""
        self._spent[peer] = self._spent.get(peer, 0) + size

    @property
    def fresh(self) -> bool:
        """Whether nobody was given or asked for anything in this turn."""
        return not self._asked and not self._spent

    def turn_taken(self) -> None:
        """The turn was handed over: the next one begins."""
        self._asked.clear()
        self._spent.clear()

    def forget(self, peer: str) -> None:
        """A peer is gone."""
        self._answered_ms.pop(peer, None)
        self._vows_ms.pop(peer, None)
