"""The write-ahead log of consensus records: what was signed and must never be signed otherwise again.

Here: the file that holds it. Not here: its bytes (`chainnode.wal_format`) and what a record means; the records are
opaque bytes. One call of `sync` writes one frame and returns when it is on the disk.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

from chainnode.files import sync_directory
from chainnode.wal_format import (
    BODY_BYTES_MAX,
    HEADER_BYTES,
    Scan,
    encode_body,
    encode_frame,
    encode_header,
    encode_log,
    is_begun,
    scan,
)
from primitives.errors import StorageError, UsageError


class LogFile(Protocol):
    """The file operations that the log needs; tests put a file behind it that forgets what was not synced."""

    def write(self, data: bytes) -> None:
        """Append all of `data`."""

    def datasync(self) -> None:
        """Return when everything written is on the disk."""

    def close(self) -> None:
        """Release the file."""


def was_begun(path: Path) -> bool:
    """Say whether a log was ever made at this path, sound or not: without one it is not known what was signed."""
    try:
        with path.open("rb") as file:
            head = file.read(HEADER_BYTES)
    except FileNotFoundError:
        return False
    return is_begun(head)


def was_lost(path: Path, stand_in: Path) -> bool:
    """Say whether it is unknown what was signed: nothing was begun here, or a log stands in for one that was lost.

    Once it was lost, whatever is put back in its place may be older than what the key signed last.
    """
    return stand_in.exists() or not was_begun(path)


class _OsFile:
    """A real file, opened for appending."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]

    def datasync(self) -> None:
        os.fdatasync(self._fd)

    def close(self) -> None:
        os.close(self._fd)


class WriteAheadLog:
    """One chain's log in one file, owned by one process.

    `append` gathers, `sync` writes one frame; `replay` gives what was there when the log was opened and what was synced
    since. After a failed write or sync nothing more is accepted: what the disk then holds is unknown, so the node must
    stop and read it again. `torn_bytes` were cut at opening; `created` says that there was no log before.
    """

    def __init__(self, path: Path, chain_id: bytes, *, opener: Callable[[Path], LogFile] = _OsFile) -> None:
        """Open or create the log; cuts a torn tail. Raises `LogDamaged`, `StorageError` or `UsageError`."""
        self.path = path
        self._chain_id = chain_id
        self._opener = opener
        self._pending: list[bytes] = []
        self._failed = False
        _temporary(path).unlink(missing_ok=True)
        found = scan(path.read_bytes(), chain_id, where=str(path)) if path.exists() else Scan([], 0, 0)
        self.created = found.sound_bytes == 0
        self._records = found.records
        self._size_bytes = found.sound_bytes
        self.torn_bytes = found.torn_bytes
        if found.torn_bytes:
            os.truncate(path, found.sound_bytes)
        self._file = opener(path)
        if self._size_bytes == 0:
            self._write(encode_header(chain_id))
            sync_directory(path.parent)
        elif found.torn_bytes:
            self._file.datasync()

    @property
    def size_bytes(self) -> int:
        """Bytes of the file, for deciding when to rewrite it."""
        return self._size_bytes

    @property
    def pending(self) -> int:
        """Records that `sync` has yet to write."""
        return len(self._pending)

    def replay(self) -> list[bytes]:
        """Return the records found when the log was opened, oldest first, and let go of them."""
        records, self._records = self._records, []
        return records

    def append(self, records: Iterable[bytes]) -> None:
        """Gather records for the next `sync`; nothing is written yet."""
        self._pending += records

    def sync(self) -> None:
        """Write what was gathered as one frame and return when it is on the disk. Raises `StorageError`."""
        pending, self._pending = self._pending, []
        if pending:
            body = encode_body(pending)
            if len(body) > BODY_BYTES_MAX:
                raise UsageError("too much for one write of the log", expected=f"{BODY_BYTES_MAX} bytes", got=len(body))
            self._write(encode_frame(self._chain_id, self._size_bytes, body))

    def rewrite(self, records: Sequence[bytes]) -> None:
        """Replace everything, gathered records too, by `records`: the old log or the new one survives a crash."""
        self._refuse_if_failed()
        temporary = _temporary(self.path)
        temporary.unlink(missing_ok=True)
        replacement = self._opener(temporary)
        try:
            size = self._fill(replacement, records)
            replacement.datasync()
            os.replace(temporary, self.path)
            sync_directory(self.path.parent)
        except OSError as error:
            replacement.close()
            self._fail(error)
        self._file.close()
        self._file = replacement
        self._size_bytes = size
        self._pending = []

    def close(self) -> None:
        """Release the file; what was gathered and not synced is dropped."""
        self._file.close()

    def _fill(self, file: LogFile, records: Sequence[bytes]) -> int:
        """Write a whole new log in frames of bounded size; returns its bytes."""
        size = 0
        for part in encode_log(self._chain_id, records):
            file.write(part)
            size += len(part)
        return size

    def _write(self, data: bytes) -> None:
        self._refuse_if_failed()
        try:
            self._file.write(data)
            self._file.datasync()
        except OSError as error:
            self._fail(error)
        self._size_bytes += len(data)

    def _fail(self, error: OSError) -> None:
        # After a failed fdatasync the kernel may drop the dirty pages and report the next one as done.
        self._failed = True
        raise StorageError(
            "the write-ahead log cannot be written",
            where=str(self.path),
            got=error.strerror or error,
            hint="stop the node",
        ) from error

    def _refuse_if_failed(self) -> None:
        if self._failed:
            raise StorageError("the write-ahead log failed before", where=str(self.path), hint="start the node again")


def _temporary(path: Path) -> Path:
    return path.with_name(path.name + ".new")
