"""The journal of one file that was taken: what became of each of its messages, and in the end the file's report.

JSON lines, only appended to, each group of lines synced before the next group counts. The first line names the file by
its digest; then a line for each message whose event has its outcome; then, at once, those that were refused and a last
line with the sums and where the file belongs. What a crash cut off at the end is dropped when it is opened again, and
so is what was refused, since reading the file again tells it again: a report has each message once. Nothing private
stands in it: places, ids, outcomes and errors, which repeat no values.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from chainnode.files import PRIVATE_FILE_MODE
from primitives.errors import StorageError

VERSION: Final = 1
LINE_BYTES_MAX: Final = 64 * 1024

Row = Mapping[str, Any]  # Any: JSON
Key = tuple[str, str]
"""Reference, in hex, and place in the file: a message may stand in it twice and is one event."""


class Journal:
    """The journal of one file; owned by the process that holds the folder."""

    def __init__(self, path: Path) -> None:
        """Open or begin it; `ended` is its last line's, where it has one. Raises StorageError."""
        self.path = path
        self.digest = ""
        self.ended: Row | None = None
        self.settled: dict[Key, Row] = {}
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_APPEND, PRIVATE_FILE_MODE)
            os.ftruncate(self._fd, self._read())
        except OSError as error:
            raise self._failed(error) from None

    def _read(self) -> int:
        """Take in what is whole, and return how many bytes of it stand."""
        rows: list[tuple[int, Row]] = []
        with open(os.dup(self._fd), "rb") as file:
            file.seek(0)
            while (row := _row(line := file.readline(LINE_BYTES_MAX + 1))) is not None:
                rows.append((len(line), row))
        if not rows or rows[0][1].get("journal") != VERSION:
            return 0
        self.digest = str(rows[0][1].get("sha256"))
        self.ended = rows[-1][1] if rows[-1][1].get("end") else None
        good = rows[0][0]
        for length, row in rows[1:]:
            if "reference" in row and "where" in row:
                self.settled[str(row["reference"]), str(row["where"])] = row
            elif self.ended is None:
                break  # refused ones without the last line: reading the file tells them again
            good += length
        return good

    def begin(self, name: str, digest: str, size: int, taken: str) -> None:
        """Write the first line."""
        self.digest = digest
        self._append([{"journal": VERSION, "file": name, "sha256": digest, "size": size, "taken": taken}])

    def settle(self, rows: Iterable[Row]) -> None:
        """Note what became of messages, each with `reference` and `where`. On disk when it returns."""
        rows = list(rows)
        self._append(rows)
        self.settled |= {(str(row["reference"]), str(row["where"])): row for row in rows}

    def end(self, refused: Iterable[Row], end: Row) -> None:
        """Note what was refused, and that the file is finished. On disk when it returns."""
        self.ended = {"end": True, **end}
        self._append([*refused, self.ended])

    def _append(self, rows: Iterable[Row]) -> None:
        data = b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)
        try:
            while data:
                data = data[os.write(self._fd, data) :]
            os.fsync(self._fd)
        except OSError as error:
            raise self._failed(error) from None

    def _failed(self, error: OSError) -> StorageError:
        return StorageError("journal cannot be written", where=str(self.path), got=error.strerror or error)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._fd)


def _row(line: bytes) -> Row | None:
    """Return what a line says; None where it is cut off."""
    if not line.endswith(b"\n") or len(line) > LINE_BYTES_MAX:
        return None
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None
