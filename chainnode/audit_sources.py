"""Sources of an auditor, each with a time for a round, so that one who dawdles keeps nobody from judging the others.

Not here: what is fetched (`chainnode.log_source`), and what is made of it (`chainnode.auditor`).
"""

from __future__ import annotations

import time
from collections.abc import Callable

from chainnode.client import CallRefused, TimedOut, Unreachable
from chainnode.log_source import HttpSource, LogSource, read_tile
from ledger.tile_paths import Tile
from primitives.errors import ProofError, StorageError


class OutOfTime(TimedOut):
    """A node's time in this round is used up."""


class Stopped(Exception):
    """The auditor is to end: nobody is asked any more."""


class Budgeted:
    """A source whose answers of one round must come within one time; owned by one thread at a time."""

    def __init__(self, source: LogSource, timeout_s: float, stopped: Callable[[], bool]) -> None:
        self.name = source.name
        self._source, self._timeout_s, self._stopped = source, timeout_s, stopped
        self._left_s = timeout_s

    def begin(self) -> None:
        """Begin a round."""
        self._left_s = self._timeout_s

    def get(self, path: str, size_max: int) -> bytes | None:
        """Return what `LogSource.get` does. Raises OutOfTime once the round's time is used up, Stopped."""
        if self._stopped():
            raise Stopped
        if self._left_s <= 0:
            raise OutOfTime("no time left in this round", where=self.name, expected=f"within {self._timeout_s:g} s")
        began = time.monotonic()
        try:
            return self._source.get(path, size_max)
        except (Unreachable, TimedOut):
            if self._stopped():
                raise Stopped from None  # it was cut off
            raise
        finally:
            self._left_s -= time.monotonic() - began

    def tile(self, tile: Tile) -> bytes | None:
        """Return a tile, None for any reason why there is none. Raises Stopped."""
        try:
            return read_tile(self, tile)
        except (ProofError, Unreachable, TimedOut, CallRefused, StorageError):
            return None

    @property
    def tls_ends_s(self) -> float | None:
        """When the TLS certificate of who answered last ends, Unix time; None where there is none."""
        return self._source.tls_ends_s if isinstance(self._source, HttpSource) else None

    def cut(self) -> None:
        """End what is under way in another thread; once it is stopped."""
        if isinstance(self._source, HttpSource):
            self._source.cut()

    def close(self) -> None:
        """Close the source."""
        self._source.close()
