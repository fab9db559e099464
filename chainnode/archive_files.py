"""Archives on the disk: directories of segments with a manifest, written so that a crash loses nothing, and read.

A segment's bytes are synced and found good before its file gets its name, and it has its name before the manifest lists
it; only what a manifest lists counts. Here: those file operations, reading a body out of any of several directories,
and taking segments over from another. Not here: bytes (`ledger.archive`, `ledger.archive_manifest`), and what is
deleted from the store (`chainnode.archive`).
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Final, Protocol

from chainnode.config import LedgerSection
from chainnode.files import PRIVATE_FILE_MODE, Busy, NotFound, locked, make_synced_directory, sync_directory, write_file
from chainnode.home import Home
from ledger.archive import (
    ArchiveDamaged,
    BodyPlace,
    Read,
    SegmentContent,
    SegmentEntry,
    SegmentIndex,
    body_of,
    describe,
    judge_signature,
    proved_body_of,
    read_index,
    unpack,
    verify_segment,
)
from ledger.archive_manifest import MANIFEST_BYTES_MAX, MANIFEST_NAME, Manifest, manifest_text, parse_manifest
from ledger.archive_store import Pruned
from ledger.batches import Batch
from primitives.block import Block
from primitives.errors import ChainError, StorageError, UsageError
from primitives.ids import Hash, Height

SEGMENT_SUFFIX: Final = ".bodies"
UNFINISHED: Final = "unfinished.tmp"
"""The file that a segment is written to; what a crash leaves of it is overwritten by the next."""

INDEXES_KEPT: Final = 16
FRAMES_KEPT: Final = 8
COPY_BYTES: Final = 1 << 20
FAULTS_TOLD_MAX: Final = 1_000
Judge = Callable[[Block, Batch], None]


class ArchiveInUse(Busy):
    """Another process writes to this archive."""

    reason = "archive_in_use"


class ForeignArchive(UsageError):
    """A directory holds the archive of another chain; nothing is written to it."""

    reason = "foreign_archive"


class Disk(Protocol):
    """The file operations that an archive needs; tests put one behind it that forgets what was not synced."""

    def read(self, name: str, offset: int, size: int) -> bytes:
        """Return bytes of a file, fewer at its end. Raises FileNotFoundError."""

    def stamp(self, name: str) -> object:
        """Return what changes when a file does, None where there is none."""

    def names(self) -> list[str]:
        """Return the names of all files."""

    def begin(self, name: str) -> None:
        """Make an empty file in place of what is there."""

    def append(self, name: str, data: bytes) -> None:
        """Write at the end of a file."""

    def sync(self, name: str) -> None:
        """Return when a file's bytes are on the disk and no longer read from memory."""

    def rename(self, old: str, new: str) -> None:
        """Give a file another name; returns when that is on the disk."""

    def replace(self, name: str, data: bytes) -> None:
        """Write a whole file; it appears complete and synced, or not at all."""

    def lock(self) -> AbstractContextManager[None]:
        """Keep every other writer out while this is entered."""


class DirectoryDisk:
    """A real directory, made when something is written."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, name: str, offset: int, size: int) -> bytes:
        """Return bytes of a file, fewer at its end."""
        with (self.path / name).open("rb") as file:
            return os.pread(file.fileno(), size, offset)

    def stamp(self, name: str) -> object:
        """Return what changes when a file does, None where there is none. Raises StorageError."""
        try:
            info = (self.path / name).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:  # a disk that fails, or is not reached: not the same as no archive
            raise StorageError("archive cannot be read", where=str(self.path), got=error.strerror or error) from None
        return info.st_ino, info.st_mtime_ns, info.st_size

    def names(self) -> list[str]:
        """Return the names of all files."""
        return sorted(item.name for item in self.path.iterdir()) if self.path.is_dir() else []

    def begin(self, name: str) -> None:
        """Make an empty file in place of what is there."""
        make_synced_directory(self.path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        os.close(os.open(self.path / name, flags, PRIVATE_FILE_MODE))

    def append(self, name: str, data: bytes) -> None:
        """Write at the end of a file."""
        with (self.path / name).open("ab") as file:
            file.write(data)

    def sync(self, name: str) -> None:
        """Return when a file's bytes are on the disk, and let go of those in memory, so that reading asks the disk."""
        fd = os.open(self.path / name, os.O_RDWR | os.O_CLOEXEC)
        try:
            os.fsync(fd)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(fd)

    def rename(self, old: str, new: str) -> None:
        """Give a file another name; returns when that is on the disk."""
        os.replace(self.path / old, self.path / new)
        sync_directory(self.path)

    def replace(self, name: str, data: bytes) -> None:
        """Write a whole file; it appears complete and synced, or not at all."""
        write_file(self.path / name, data, mode=PRIVATE_FILE_MODE)

    def lock(self) -> AbstractContextManager[None]:
        """Keep every other writer out; entering raises `ArchiveInUse`, naming the process that writes."""
        make_synced_directory(self.path)
        return locked(self.path / "lock", "archive", error=ArchiveInUse)


class ArchiveDirectory:
    """One archive of one chain. Owned by one writer at a time; any number may read beside it."""

    def __init__(self, disk: Disk, chain_id: Hash, *, where: str) -> None:
        self.disk = disk
        self.chain_id = chain_id
        self.where = where
        self._manifest: tuple[object, Manifest] | None = None

    @classmethod
    def at(cls, path: Path, chain_id: Hash) -> ArchiveDirectory:
        """Return the archive in a directory, which need not be there."""
        return cls(DirectoryDisk(path), chain_id, where=str(path))

    def manifest(self, *, fresh: bool = False) -> Manifest:
        """Return the manifest, read again where its file changed or where `fresh`; an empty one where there is none.

        Raises ArchiveDamaged where it is damaged, ForeignArchive where it is of another chain.
        """
        stamp = self.disk.stamp(MANIFEST_NAME)
        if stamp is None:
            return Manifest(self.chain_id)
        if fresh or self._manifest is None or self._manifest[0] != stamp:
            found = manifest_of(self.disk, self.where)
            if found.chain_id != self.chain_id:
                raise ForeignArchive(
                    "archive of another chain", where=self.where, expected=self.chain_id, got=found.chain_id
                )
            self._manifest = (stamp, found)
        return self._manifest[1]

    def reading(self, entry: SegmentEntry, name: str | None = None) -> Read:
        """Return what reads a segment's bytes; ArchiveDamaged, naming the segment, where the file is not there."""

        def read(offset: int, size: int) -> bytes:
            try:
                return self.disk.read(name or entry.name, offset, size)
            except FileNotFoundError:
                what, got = "missing", "no such file"
            except OSError as error:
                what, got = "cannot be read", error.strerror or str(error)
            raise ArchiveDamaged(
                what, where=f"segment {entry.name}", got=got,
                hint="put a copy in its place: `chainnode archive add DIR`",
            )  # fmt: skip

        return read

    def verify(
        self, entry: SegmentEntry, judge: Judge | None = None, *, name: str | None = None
    ) -> Generator[int, None, SegmentContent]:
        """Verify a segment as `verify_segment` does, out of its file or of another."""
        return verify_segment(self.reading(entry, name), entry, self.chain_id, judge)

    def is_whole(self, entry: SegmentEntry) -> bool:
        """Say whether a segment's file is there in its size; what it holds is verified when it is read."""
        try:
            return len(self.disk.read(entry.name, entry.size - 1, 2)) == 1
        except OSError:
            return False

    def finish(self, entry: SegmentEntry) -> None:
        """Give the unfinished file, which was synced and found good, its name, then list it."""
        self.disk.rename(UNFINISHED, entry.name)
        self.disk.replace(MANIFEST_NAME, manifest_text(self.manifest(fresh=True).with_segment(entry)))

    def unlisted(self) -> list[str]:
        """Return the names of files that the manifest does not list: what a crash left, or somebody put there."""
        listed = {entry.name for entry in self.manifest().segments}
        return [name for name in self.disk.names() if name.endswith(SEGMENT_SUFFIX) and name not in listed]

    def take(self, source: ArchiveDirectory, entry: SegmentEntry) -> Generator[int, None, None]:
        """Copy a segment of another archive, verify the copy and list it; yields the bytes done."""
        self.disk.begin(UNFINISHED)
        read = source.reading(entry)
        for offset in range(0, entry.size, COPY_BYTES):
            self.disk.append(UNFINISHED, read(offset, min(COPY_BYTES, entry.size - offset)))
            yield offset
        self.disk.sync(UNFINISHED)
        yield from self.verify(entry, judge_signature, name=UNFINISHED)
        self.finish(entry)

    def described(
        self, *, tell: Callable[[str], None] = lambda _fault: None
    ) -> Generator[int, None, list[SegmentEntry]]:
        """Return the segments of this chain that lie here, listed or not, as they describe themselves.

        `tell` hears of each that does not; yields the bytes read.
        """
        found: list[SegmentEntry] = []
        for name in self.disk.names():
            if not name.endswith(SEGMENT_SUFFIX):
                continue
            digest, size = sha256(), 0
            while data := self.disk.read(name, size, COPY_BYTES):
                digest.update(data)
                size += len(data)
                yield size
            try:
                chain_id, entry = describe(partial(self.disk.read, name), name, size, digest.hexdigest())
            except ArchiveDamaged as error:
                tell(str(error))
                continue
            if chain_id == self.chain_id:
                found.append(entry)
        return found

    def relist(self, *, tell: Callable[[str], None] = lambda _fault: None) -> Generator[int, None, list[SegmentEntry]]:
        """Write the manifest anew from the segments that lie here and are good; `tell` hears of the others."""
        manifest = Manifest(self.chain_id)
        for entry in (yield from self.described(tell=tell)):
            try:
                yield from self.verify(entry, judge_signature)
            except ArchiveDamaged as error:
                tell(str(error))
                continue
            manifest = manifest.with_segment(entry)
        self.disk.replace(MANIFEST_NAME, manifest_text(manifest))
        return list(manifest.segments)

    def is_sound(self, entry: SegmentEntry) -> Generator[int, None, bool]:
        """Say whether a listed segment is here and good; yields the bytes done."""
        if entry not in self.manifest().segments:
            return False
        try:
            yield from self.verify(entry)
        except ArchiveDamaged:
            return False
        return True


def manifest_of(disk: Disk, where: str) -> Manifest:
    """Return the manifest of a directory, of whatever chain. Raises NotFound, ArchiveDamaged, StorageError."""
    try:
        data = disk.read(MANIFEST_NAME, 0, MANIFEST_BYTES_MAX + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound("no archive", where=where, expected=MANIFEST_NAME) from None
    except OSError as error:
        raise StorageError("archive cannot be read", where=where, got=error.strerror or error) from None
    return parse_manifest(data, where=f"{where}/{MANIFEST_NAME}")


@dataclass(frozen=True, slots=True)
class _Opened:
    """A segment's index with its bodies by batch hash."""

    index: SegmentIndex
    places: dict[Hash, BodyPlace]


class Archives:
    """Several archives read as one: a body comes from the first that holds it whole. Used from several threads.

    What the first holds was verified when it was written or added. The others may be anybody's: of these each body is
    verified when it is read, events and signature too.
    """

    def __init__(self, directories: Sequence[ArchiveDirectory], tell: Callable[[str], None] = lambda _fault: None):
        """`tell` hears of each damaged or missing segment once."""
        self.directories = tuple(directories)
        self._tell = tell
        self._told: set[str] = set()
        self._lock = threading.Lock()  # held for the caches alone, never while reading
        self._indexes: OrderedDict[tuple[str, str], _Opened] = OrderedDict()
        self._frames: OrderedDict[tuple[str, str, int], bytes] = OrderedDict()

    def body(self, batch_hash: Hash, height: Height) -> bytes:
        """Return the body of a batch that was ordered at `height`. Raises Pruned where none holds it whole."""
        faults: list[str] = []
        listed = ""
        for directory in self.directories:
            try:
                for entry in directory.manifest().covering(height):
                    listed = listed or entry.name
                    try:
                        return self._body(directory, entry, batch_hash)
                    except ArchiveDamaged as error:
                        faults.append(self._fault(error))
            except (StorageError, UsageError) as error:  # its manifest
                faults.append(self._fault(error))
        raise Pruned(
            "the bodies of this block were moved away, and no archive here holds them whole",
            where=f"block {height}",
            expected=f"segment {listed}" if listed else "a segment with this block",
            got="; ".join(faults) or "none that lists it",
            hint="put the archive back: `chainnode archive add DIR`",
        )

    def missing_height(self, base: int, upto: int) -> int:
        """Return the highest height above `base`, up to `upto`, whose bodies no segment here holds; 0 where all are.

        By the manifests and whether the files are there in their size: what they hold is verified when it is read.
        """
        held: list[tuple[int, int]] = []
        for directory in self.directories:
            try:
                segments = directory.manifest().segments
            except (StorageError, UsageError) as error:
                self._fault(error)
                continue
            for entry in segments:
                if directory.is_whole(entry):
                    held.append((entry.last_height, entry.first_height))
        for last, first in sorted(held, reverse=True):
            if last < upto:
                break
            upto = min(upto, first - 1)
        return upto if upto > base else 0

    def _fault(self, error: ChainError) -> str:
        text = str(error)
        if text not in self._told and len(self._told) < FAULTS_TOLD_MAX:
            self._told.add(text)
            self._tell(text)
        # Whoever asks hears of segments by name; where an archive lies is the operator's, and told by the log.
        return (
            f"{error.where}: {error.what}"
            if isinstance(error, ArchiveDamaged) and _names_a_segment(error)
            else error.what
        )

    def _body(self, directory: ArchiveDirectory, entry: SegmentEntry, batch_hash: Hash) -> bytes:
        opened = self._opened(directory, entry)
        place = opened.places.get(batch_hash)
        if place is None:
            raise ArchiveDamaged("lacks a batch of its blocks", where=f"segment {entry.name}", got=batch_hash)
        key = (directory.where, entry.name, place.frame)
        with self._lock:
            raw = self._frames.get(key)
            if raw is not None:
                self._frames.move_to_end(key)
        if raw is None:
            raw = unpack(directory.reading(entry), entry, opened.index.frames[place.frame])
            with self._lock:
                self._frames[key] = raw
                while len(self._frames) > FRAMES_KEPT:
                    self._frames.popitem(last=False)
        if directory is self.directories[0]:
            return body_of(raw, entry, place)
        return proved_body_of(raw, entry, place, directory.chain_id)

    def _opened(self, directory: ArchiveDirectory, entry: SegmentEntry) -> _Opened:
        key = (directory.where, entry.name)
        with self._lock:
            opened = self._indexes.get(key)
            if opened is not None:
                self._indexes.move_to_end(key)
                return opened
        index = read_index(directory.reading(entry), entry, directory.chain_id)
        opened = _Opened(index, {place.batch: place for place in index.bodies})
        with self._lock:
            self._indexes[key] = opened
            while len(self._indexes) > INDEXES_KEPT:
                self._indexes.popitem(last=False)
        return opened


def _names_a_segment(error: ArchiveDamaged) -> bool:
    return error.where is not None and error.where.startswith("segment ")


def open_archives(
    home: Home,
    settings: LedgerSection,
    chain_id: Hash,
    tell: Callable[[str], None] = lambda _fault: None,
    *,
    more: Sequence[Path] = (),
) -> Archives:
    """Return the archives that a node reads: its own, then the others that its settings name, then `more`."""
    paths = [home.resolve(settings.archive_path), *map(home.resolve, settings.archive_more), *more]
    return Archives([ArchiveDirectory.at(path, chain_id) for path in paths], tell)
