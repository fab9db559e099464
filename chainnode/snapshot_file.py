"""A snapshot's file: writing one while it is made, and reading it chunk by chunk with everything in it verified.

Layout (docs/formats.md, "Snapshots"): head, manifest, chunks. The manifest names the chunks, so it is known last: they
are written beside the file first and copied behind it. A file appears whole under its name or not at all. Not here:
what the chunks mean (`ledger.snapshots_restoring`), putting them into a home (`chainnode.snapshot_restore`).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Final

from chainnode.files import PRIVATE_FILE_MODE, NotFound, sync_directory
from ledger.genesis import Genesis
from ledger.snapshots import HEAD_BYTES, Manifest, SnapshotRefused, file_head, parse_head, parse_manifest, snapshot_id
from ledger.snapshots_making import PROGRESS_MAX, SnapshotMaking
from ledger.snapshots_restoring import Restoring
from ledger.store import Put
from primitives.encoding import encode
from primitives.errors import StorageError, UsageError
from primitives.ids import Hash
from primitives.notes import Checkpoint
from primitives.validators import ValidatorSet

PARTIAL: Final = ".part"
COPIED_BYTES: Final = 1 << 20

Step = Callable[[int, int], None]
"""Told (done, of) now and then: parts while a snapshot is made, chunks while it is read."""


@dataclass(frozen=True, slots=True)
class Written:
    """A snapshot's file as it was written."""

    id: Hash
    manifest: Manifest
    size_bytes: int


@dataclass(frozen=True, slots=True)
class LastPart:
    """What ends a snapshot: the rows with the tip, the checkpoint, its cosignatures and the set that gave them."""

    puts: list[Put]
    checkpoint: Checkpoint
    cosignatures: list[tuple[int, int, bytes]]
    validators: ValidatorSet


def write_snapshot(path: Path, making: SnapshotMaking, *, step: Step, replace: bool = True) -> Written:
    """Make a snapshot and write it to a file. Raises `UsageError` where it exists and may not be replaced.

    What `step` raises ends it; nothing is left behind then but what was there before.
    """
    beside, whole = (path.with_name(f".{path.name}.{os.getpid()}.{name}") for name in ("chunks", "new"))
    try:
        with ExitStack() as files:
            chunks = files.enter_context(_created(beside))
            for chunk in making.chunks():
                chunks.write(chunk.data)
                step(chunk.progress, PROGRESS_MAX)
            manifest = making.manifest()
            data = encode(manifest)
            target = files.enter_context(_created(whole))
            target.write(file_head(data) + data)
            chunks.seek(0)
            shutil.copyfileobj(chunks, target, COPIED_BYTES)
            size = target.tell()
            target.flush()
            os.fsync(target.fileno())
        if not replace and path.exists():
            raise UsageError("file exists already", where=str(path), hint="move it away first")
        os.replace(whole, path)
        sync_directory(path.parent)
    except OSError as error:
        raise StorageError("snapshot cannot be written", where=str(path), got=error.strerror or error) from None
    finally:
        beside.unlink(missing_ok=True)
        whole.unlink(missing_ok=True)
    return Written(snapshot_id(data), manifest, size)


def _created(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE_MODE), "w+b")


class SnapshotFile:
    """A snapshot's file, open for reading; its manifest was read, and nothing of it is verified yet but its digest."""

    def __init__(self, path: Path) -> None:
        """Open it. Raises `NotFound`, `StorageError`, SnapshotRefused."""
        self.path = path
        try:
            self._file = path.open("rb")
        except FileNotFoundError:
            raise NotFound("no such file", where=str(path)) from None
        except OSError as error:
            raise StorageError("file cannot be read", where=str(path), got=error.strerror or error) from None
        try:
            size, self.id = parse_head(self._read(HEAD_BYTES))
            self.manifest = parse_manifest(self._read(size), self.id)
            self.size_bytes = HEAD_BYTES + size + self.manifest.size_bytes
            found = os.fstat(self._file.fileno()).st_size
            if found != self.size_bytes:
                raise SnapshotRefused("file cut or padded", where="file", expected=self.size_bytes, got=found)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> SnapshotFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def rows(self, genesis: Genesis, *, step: Step = lambda _done, _of: None) -> Iterator[list[Put] | LastPart]:
        """Yield the rows of a store, each verified, as they are read; last, and only if all is good, a LastPart.

        SnapshotRefused names the chunk, and in it the item, that is not what the genesis leads to. To be called once.
        """
        restoring = Restoring(genesis, self.manifest)
        count = len(self.manifest.chunks)
        for number, entry in enumerate(self.manifest.chunks, 1):
            yield from restoring.take(self._read(entry.size))
            step(number, count)
        puts, cosignatures = restoring.finish()
        yield LastPart(puts, restoring.checkpoint, cosignatures, restoring.validators)

    def check_digests(self) -> None:
        """Raise SnapshotRefused unless every chunk has the digest that the manifest names. To be called once."""
        for number, entry in enumerate(self.manifest.chunks):
            digest = sha256(self._read(entry.size)).digest()
            if digest != entry.digest:
                raise SnapshotRefused("chunk is another", where=f"chunk {number}", expected=entry.digest, got=digest)

    def verify(self, genesis: Genesis, *, step: Step = lambda _done, _of: None) -> LastPart:
        """Verify all of it and keep nothing. Raises SnapshotRefused."""
        last: LastPart | None = None
        for part in self.rows(genesis, step=step):
            last = part if isinstance(part, LastPart) else None
        assert last is not None, "it comes last"
        return last

    def _read(self, size: int) -> bytes:
        try:
            return self._file.read(size)
        except OSError as error:
            raise StorageError("file cannot be read", where=str(self.path), got=error.strerror or error) from None
