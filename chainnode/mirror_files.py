"""A mirror's directory: a log as C2SP tlog-tiles, which any web server can serve as it is.

    checkpoint                  the note that the mirror stands at
    tile/L/N, tile/L/N.p/W      tiles of hashes; tile/entries/N, tile/entries/N.p/W their entries
    policy, handovers/EPOCH     what checkpoints are judged by: pinned at the first use, and each later change of a set
    forks/SIZE-SIZE-HASH.txt    two checkpoints that contradict each other
    .mirror/                    its own notes: the lock, and up to which size the entries are here

Here: paths, and writing so that a crash at any point leaves a mirror: tiles are on the disk before the checkpoint that
needs them, and every file appears whole. A full tile never changes; a partial one is removed once the full one is
there. Not here: what may be written (`chainnode.mirror`).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from chainnode.files import NotFound, locked, read_file, sync_directory, write_file
from ledger.forks import Fork
from ledger.log_tiles import TILE_WIDTH
from ledger.tile_paths import CHECKPOINT_PATH, HANDOVERS_PATH, POLICY_PATH, Tile, full_tiles, levels_of
from ledger.trust_policy import POLICY_SIZE_MAX
from primitives.errors import InputError, StorageError, UsageError
from primitives.notes import NOTE_BYTES_MAX

FORKS = "forks"
OWN = ".mirror"
HANDOVER_BYTES_MAX = 1 << 18
_PARTIAL = ".p"
_NEW = ".new"
_SIZE_DIGITS_MAX = 20
_HASH_DIGITS = 16


class MirrorFiles:
    """The files of one mirror; `opened` holds it against a second process."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._unsynced: list[Path] = []

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Make the directory where it is not there, hold its lock, and remove what a crash left half written."""
        own = self.directory / OWN
        try:
            own.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError("directory cannot be made", where=str(own), got=error.strerror or error) from None
        with locked(own / "lock", "mirror"):
            self._tidy()
            yield

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Hold the mirror while it is only read; one that cannot be written, as on a read-only disk, needs no lock."""
        if not os.access(self.directory / OWN, os.W_OK):
            yield
            return
        with self.opened():
            yield

    # -- what is there

    def tile(self, tile: Tile) -> bytes | None:
        """Return a tile's bytes as they lie there, None where it is not."""
        try:
            return read_file(self.directory / tile.path, size_max=tile.bytes_max)
        except NotFound:
            return None
        except InputError:
            return b""  # longer than a tile can be: damaged, and written anew

    def checkpoint(self) -> str | None:
        """Return the note that the mirror stands at."""
        return self._text(CHECKPOINT_PATH, NOTE_BYTES_MAX)

    def policy(self) -> str | None:
        """Return the pinned policy."""
        return self._text(POLICY_PATH, POLICY_SIZE_MAX)

    def handover(self, epoch: int) -> bytes | None:
        """Return the bytes of the handover that ends an epoch."""
        try:
            return read_file(self.directory / HANDOVERS_PATH / str(epoch), size_max=HANDOVER_BYTES_MAX)
        except NotFound:
            return None

    def entries_size(self) -> int:
        """Return the size of the log up to which the entries are here."""
        text = self._text(f"{OWN}/entries", _SIZE_DIGITS_MAX)
        return int(text) if text is not None and text.isascii() and text.isdigit() else 0

    def _text(self, name: str, size_max: int) -> str | None:
        path = self.directory / name
        try:
            return read_file(path, size_max=size_max).decode()
        except NotFound:
            return None
        except UnicodeDecodeError:
            raise InputError("not text", where=str(path), expected="UTF-8") from None

    # -- writing

    def put(self, tile: Tile, data: bytes) -> bool:
        """Write a tile, unless it lies there as it is; return whether it was written. On the disk after `settle`."""
        if self.tile(tile) == data:
            return False
        path = self.directory / tile.path
        temporary = path.with_name(f".{path.name}{_NEW}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(data)
            os.replace(temporary, path)
        except OSError as error:
            raise StorageError("tile cannot be written", where=str(path), got=error.strerror or error) from None
        self._unsynced.append(path)
        return True

    def settle(self) -> None:
        """Return when everything that was written is on the disk."""
        folders: set[Path] = set()
        for path in self._unsynced:
            _sync(path)
            folders.update(self._parents(path))
        for folder in sorted(folders, reverse=True):
            sync_directory(folder)
        self._unsynced.clear()

    def _parents(self, path: Path) -> list[Path]:
        """Return the directories from a file's up to the mirror's own."""
        return [parent for parent in path.parents if parent == self.directory or self.directory in parent.parents]

    def put_policy(self, text: str) -> None:
        """Pin the policy."""
        self._whole(POLICY_PATH, text.encode())

    def put_handover(self, epoch: int, data: bytes) -> None:
        """Keep the handover that ends an epoch."""
        self._whole(f"{HANDOVERS_PATH}/{epoch}", data)

    def put_checkpoint(self, note: str) -> None:
        """Let the mirror stand at a note, everything that it needs being written; on the disk on return."""
        self.settle()
        self._whole(CHECKPOINT_PATH, note.encode())

    def put_entries_size(self, size: int) -> None:
        """Note up to which size of the log the entries are here and on the disk."""
        self._whole(f"{OWN}/entries", str(size).encode())

    def put_fork(self, fork: Fork, sizes: tuple[int, int]) -> Path:
        """Keep a fork, unless it is kept already; return its file."""
        text = fork.text().encode()
        name = f"{sizes[0]}-{sizes[1]}-{sha256(text).hexdigest()[:_HASH_DIGITS]}.txt"
        self._whole(f"{FORKS}/{name}", text)
        return self.directory / FORKS / name

    def drop_partials(self, level: int | None, index: int) -> None:
        """Remove the partial tiles of a place at which there is a full one."""
        full = self.directory / Tile(level, index).path
        shutil.rmtree(full.with_name(full.name + _PARTIAL), ignore_errors=True)

    def _whole(self, name: str, data: bytes) -> None:
        path = self.directory / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError("directory cannot be made", where=str(path), got=error.strerror or error) from None
        write_file(path, data)

    def _tidy(self) -> None:
        """Remove files that were not whole yet when a process ended."""
        for folder in ("", FORKS, HANDOVERS_PATH, OWN):
            for path in (self.directory / folder).glob(f".*{_NEW}"):
                path.unlink(missing_ok=True)
        for place, _, files in os.walk(self.directory / "tile"):
            for name in files:
                if name.endswith(_NEW):
                    (Path(place) / name).unlink(missing_ok=True)

    def drop_old_partials(self, size: int) -> None:
        """Remove partial tiles beside their full one, but those of the checkpoint of this size, which a crash left."""
        edge = [Tile(level, full_tiles(size, level), 1) for level in (None, *range(levels_of(size)))]
        needed = {(self.directory / tile.path).parent for tile in edge}
        for place, folders, files in os.walk(self.directory / "tile"):
            for name in [name for name in folders if name.endswith(_PARTIAL)]:
                folders.remove(name)
                if name.removesuffix(_PARTIAL) in files and Path(place) / name not in needed:
                    shutil.rmtree(Path(place) / name, ignore_errors=True)


def check_directory(directory: Path) -> None:
    """Raise UsageError for a directory that holds something else than a mirror."""
    if directory.is_dir() and any(directory.iterdir()) and not (directory / OWN).is_dir():
        raise UsageError("not a mirror's directory", where=str(directory), expected=f"an empty one, or {OWN} in it")


def _sync(path: Path) -> None:
    try:
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
    except FileNotFoundError:
        return  # a partial tile that was replaced by its full one meanwhile
    except OSError as error:
        raise StorageError("file cannot be synced", where=str(path), got=error.strerror or error) from None


assert TILE_WIDTH == 256, "the directory's form is that of tlog-tiles"
