"""A running node's maker of snapshots: one at a time on a thread of its own, the newest kept in `data/snapshots`.

The store admits one process, so the node itself reads it; what it reads is kept for every height, so blocks go on being
committed meanwhile. The thread rests a little after each chunk, for the node's loop comes first.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Final

import structlog
from msgspec.structs import replace

from chainnode.files import make_private_directory
from chainnode.snapshot_file import Step, write_snapshot
from ledger.reader import LedgerReader
from ledger.snapshots_making import SnapshotMaking
from primitives.errors import ChainError, StorageError, UsageError
from rpc.ports import SnapshotStatus

SUFFIX: Final = ".chainsnap"
REST_SHARE: Final = 0.25
"""How long the thread rests after a chunk, as a share of what the chunk took."""

JOIN_S: Final = 10.0
NONE: Final = SnapshotStatus("none", 0, 0, "", 0, "", "")

log = structlog.get_logger("snapshot")


class _Stopped(Exception):
    """The node ends."""


class SnapshotService:
    """Implements `rpc.ports.SnapshotMaker`; may be called from any thread."""

    def __init__(self, reader: LedgerReader, directory: Path) -> None:
        self._reader = reader
        self._directory = directory
        self._lock = threading.Lock()
        self._status = NONE
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()

    def create(self) -> SnapshotStatus:
        """Begin to make one, unless one is being made. Raises NoCheckpoint, `StorageError`."""
        with self._lock:
            if self._status.state == "making" or self._stopping.is_set():
                return self._status
            making = SnapshotMaking(self._reader)
            make_private_directory(self._directory)
            for left in self._directory.glob(".*"):
                left.unlink(missing_ok=True)  # what a node that was killed had begun
            name = f"height-{making.height}{SUFFIX}"
            self._status = SnapshotStatus("making", int(making.height), 0, name, 0, "", "")
            self._thread = threading.Thread(target=self._make, args=(making, name), name="snapshot", daemon=True)
            self._thread.start()
            return self._status

    def status(self) -> SnapshotStatus:
        """Return where the last one stands."""
        return self._status

    def read(self, name: str, offset: int, size: int) -> bytes:
        """Return bytes of the newest snapshot. Raises `UsageError` where it is not ready, or not named so."""
        found = self._status
        if found.state != "ready" or found.name != name:
            raise UsageError(
                "no such snapshot here",
                expected=found.name if found.state == "ready" else "one that is ready",
                got=name,
            )
        if offset >= found.size_bytes:  # a file system refuses places that no file reaches
            return b""
        try:
            with (self._directory / found.name).open("rb") as file:
                file.seek(offset)
                return file.read(size)
        except OSError as error:
            raise StorageError("snapshot cannot be read", where=name, got=error.strerror or error) from None

    def close(self) -> None:
        """End what is being made; the store may be closed after this."""
        self._stopping.set()
        thread = self._thread
        if thread is not None:
            thread.join(JOIN_S)

    def _make(self, making: SnapshotMaking, name: str) -> None:
        started = time.monotonic()
        try:
            written = write_snapshot(self._directory / name, making, step=self._step())
        except _Stopped:
            return
        except ChainError as error:
            log.error("snapshot_failed", error=str(error))
            self._status = replace(self._status, state="failed", message=str(error))
            return
        except Exception as error:  # the edge of this thread: who asks is told, and the node goes on
            log.exception("snapshot_failed")
            self._status = replace(
                self._status, state="failed", message=f"a fault of this node: {type(error).__name__}"
            )
            return
        for other in self._directory.glob(f"*{SUFFIX}"):
            if other.name != name:
                other.unlink(missing_ok=True)
        seconds = round(time.monotonic() - started, 3)
        self._status = replace(
            self._status, state="ready", percent=100, size_bytes=written.size_bytes, id=written.id.hex()
        )
        log.info("snapshot_made", height_made=int(making.height), bytes=written.size_bytes, seconds=seconds)

    def _step(self) -> Step:
        """Return what notes how much is made after each chunk, rests, and ends the making when the node ends."""
        since = time.monotonic()

        def step(done: int, of: int) -> None:
            nonlocal since
            self._status = replace(self._status, percent=min(99, done * 100 // of))
            if self._stopping.wait((time.monotonic() - since) * REST_SHARE):
                raise _Stopped
            since = time.monotonic()

        return step
