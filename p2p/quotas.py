"""How much a peer may send, and for how long one that misbehaves is shut out: pure arithmetic over given times.

Here: token buckets, the measure of being held back, bans. Not here: pausing a transport or closing it.
"""

from __future__ import annotations

import msgspec

BANS_MAX = 1_024  # names remembered; a member's CA could invent any number of them


class Quota(msgspec.Struct, frozen=True, kw_only=True):
    """What one lane of one peer may send; a burst is what may come at once after silence."""

    bytes_per_second: int
    bytes_burst: int
    messages_per_second: int
    messages_burst: int
    held_back_ms_max: int | None = None
    """Held back for so long (quiet time counts half against it) is a flood; None only ever holds back."""


class TokenBucket:
    """Counts in thousandths, so that integers suffice; may go into debt, and `wait_ms` says how long that lasts."""

    def __init__(self, per_second: int, burst: int, now_ms: int) -> None:
        self._per_ms = per_second  # thousandths of a token in one millisecond
        self._burst = burst * 1_000
        self._tokens = self._burst
        self._at_ms = now_ms

    def charge(self, amount: int, now_ms: int) -> None:
        """Take tokens, after adding those that time has brought."""
        if now_ms > self._at_ms:
            self._tokens = min(self._burst, self._tokens + (now_ms - self._at_ms) * self._per_ms)
            self._at_ms = now_ms
        self._tokens -= amount * 1_000

    def wait_ms(self) -> int:
        """Return how long from the last charge until the debt is paid, 0 without debt."""
        return 0 if self._tokens >= 0 else -(self._tokens // self._per_ms)


class LaneMeter:
    """Holds one peer's traffic in one lane against its quota."""

    def __init__(self, quota: Quota, now_ms: int) -> None:
        self._bytes = TokenBucket(quota.bytes_per_second, quota.bytes_burst, now_ms)
        self._messages = TokenBucket(quota.messages_per_second, quota.messages_burst, now_ms)
        self._held_back_ms_max = quota.held_back_ms_max
        self._held_back_ms = 0
        self._at_ms = now_ms

    def charge(self, size: int, count: int, now_ms: int) -> int:
        """Count messages that arrived; return for how many milliseconds to stop reading."""
        self._bytes.charge(size, now_ms)
        self._messages.charge(count, now_ms)
        wait_ms = max(self._bytes.wait_ms(), self._messages.wait_ms())
        self._held_back_ms = max(0, self._held_back_ms - max(0, now_ms - self._at_ms) // 2) + wait_ms
        # The wait just ordered is not quiet time: it starts to count against the score only once it is over.
        self._at_ms = max(self._at_ms, now_ms + wait_ms)
        return wait_ms

    def is_flood(self) -> bool:
        """Say whether the peer has been over its quota for longer than it may."""
        return self._held_back_ms_max is not None and self._held_back_ms > self._held_back_ms_max


class Bans:
    """Temporary bans by peer name: each further offence doubles the time, a quiet spell halves the count."""

    def __init__(self, first_ms: int, longest_ms: int, forget_ms: int) -> None:
        self._first_ms = first_ms
        self._longest_ms = longest_ms
        self._forget_ms = forget_ms
        self._records: dict[str, tuple[int, int]] = {}  # name -> (offences, end of the ban in ms)

    def strike(self, name: str, now_ms: int) -> int:
        """Record an offence and return the length of the ban in milliseconds."""
        offences, until_ms = self._records.pop(name, (0, now_ms))
        quiet_spells = max(0, now_ms - until_ms) // self._forget_ms
        offences = (offences >> min(quiet_spells, 63)) + 1
        ban_ms = min(self._longest_ms, self._first_ms << min(offences - 1, 32))
        if len(self._records) >= BANS_MAX:
            del self._records[next(iter(self._records))]
        self._records[name] = (offences, now_ms + ban_ms)
        return ban_ms

    def left_ms(self, name: str, now_ms: int) -> int:
        """Return how much of a ban is left, 0 without one."""
        record = self._records.get(name)
        return 0 if record is None else max(0, record[1] - now_ms)
