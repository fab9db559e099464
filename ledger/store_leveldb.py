"""The store on disk: LevelDB through plyvel.

The only module of the ledger that touches the file system. LevelDB admits one process; everything else that wants to
read goes through the running node. Large bodies of batches lie in order of arrival (`ledger.arrival`), which nobody
sees from outside. Source: architecture §6, plyvel 1.5.
"""

import os
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from ledger.arrival import (
    BATCH,
    BODY,
    GOING,
    NUMBERED_BYTES_MIN,
    batch_key_of,
    bodies_between,
    body_key,
    going_key,
    is_number,
    numbers,
    touches,
)
from ledger.leveldb_format import bad_block, bad_frame, needed_log
from ledger.rows import FORMAT_KEY, FORMAT_VERSION, KINDS_DROPPED, all_of, check_format
from ledger.store import Put, prefix_stop
from primitives.errors import StorageError

WRITE_BUFFER_BYTES = 32 << 20  # fewer, larger tables: batches' keys are random and would otherwise be merged often
CACHE_BYTES = 32 << 20
BLOOM_BITS_A_KEY = 10
OPEN_FILES_MAX = 1_024
"""Tables that are not opened anew at each reading: 16 GiB of them. To open one is to read its index and filter, half a
megabyte; they stay in mapped pages, which the kernel takes back when it needs to."""
FILE_SIZE_MAX = 16 << 20
DROPPED_A_WRITE = 10_000
BODIES = "bodies"
"""The directory of the bodies, in that of the store."""

ORPHANS_A_START_MAX = 1_024
"""So many orphans are deleted when a store is opened; what more a crash left is found at the next opening."""

SEARCHED_BYTES_MAX = 64 << 20  # for the place of damage: some seconds
FETCH_AGAIN = "move the directory away and start: the node fetches the chain again from its peers and verifies it"


def _plyvel() -> Any:  # Any: plyvel has no type information
    try:
        import plyvel
    except ImportError as error:
        raise StorageError(
            "the LevelDB binding plyvel cannot be loaded",
            got=error,
            hint="install it anew; where it has no wheel, a C++ compiler and the package libleveldb-dev are needed",
        ) from None
    return plyvel


class _Bodies:
    """What a write does to bodies: those that come and go, by number, and the numbers that batches have after it."""

    def __init__(self) -> None:
        self.put: list[tuple[bytes, bytes]] = []
        self.gone: list[tuple[bytes, bytes]] = []  # with the batch's key
        self.given: dict[bytes, bytes | None] = {}


class LevelDBStore:
    """Rows in a LevelDB directory, which is created if it is not there and locked while open.

    Raises StorageError when another process holds it, when it is damaged, or when a later version wrote it.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        cache_bytes: int = CACHE_BYTES,
        write_buffer_bytes: int = WRITE_BUFFER_BYTES,
        remedy: str = FETCH_AGAIN,
    ) -> None:
        """Open or create it; `remedy` is what an operator can do where it is damaged."""
        self.path = Path(path)
        self._remedy = remedy
        self._sizes = write_buffer_bytes, cache_bytes
        self._bodies: Any = None  # as `_open` returns
        self._db = self._open(self.path)
        self._write_batch_errors = _plyvel().Error
        try:
            found = check_format(self.get(FORMAT_KEY), where=str(self.path))
            if (self.path / BODIES).exists():
                self._open_bodies()
            self._numbers = numbers(self._newest_body())
            self._collect_orphans()
        except StorageError:
            self.close()
            raise
        if not found:
            self._drop_old_rows()
            self.write([(FORMAT_KEY, FORMAT_VERSION)], sync=True)

    def _open(self, path: Path) -> Any:  # Any: plyvel has no type information
        plyvel = _plyvel()
        write_buffer_bytes, cache_bytes = self._sizes
        try:
            _check_begun(path, self._remedy)
            _check_frames(path, self._remedy)
            path.mkdir(parents=True, exist_ok=True)
            return plyvel.DB(
                os.fspath(path),
                create_if_missing=True,
                paranoid_checks=True,
                write_buffer_size=write_buffer_bytes,
                lru_cache_size=cache_bytes,
                bloom_filter_bits=BLOOM_BITS_A_KEY,
                max_open_files=OPEN_FILES_MAX,
                max_file_size=FILE_SIZE_MAX,
                compression=None,  # digests do not shrink, and each merge of tables would compress them anew
            )
        except (plyvel.Error, OSError) as error:
            raise _opening_error(path, error, plyvel, self._remedy) from None

    def _open_bodies(self) -> Any:  # Any: as above
        """Return the LevelDB of the bodies, opened where it is not: apart, so that no table holds them with other rows.

        A table of both spans all keys: LevelDB would merge it, and so all bodies, with every other table.
        """
        if self._bodies is None:
            self._bodies = self._open(self.path / BODIES)
        return self._bodies

    def _drop_old_rows(self) -> None:
        for kind in KINDS_DROPPED:
            while keys := [key for key, _ in islice(self.iterate(*all_of(kind)), DROPPED_A_WRITE)]:
                self.write([(key, None) for key in keys], sync=False)

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, or None."""
        try:
            value: bytes | None = self._db.get(key, verify_checksums=True)
            if value is None or not is_number(key, value):
                return value
            body = self._body(value)
            # Another thread may have deleted both rows between the two readings.
            gone = body is None and self._db.get(key, verify_checksums=True) != value
        except (self._write_batch_errors, RuntimeError) as error:
            raise _damage(self.path, error, self._remedy) from None
        if body is None and not gone:
            raise self._body_missing(key)
        return body

    def iterate(self, start: bytes, stop: bytes, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """Yield the rows with start <= key < stop of one moment."""
        try:
            if not reverse and not touches(start, stop):  # the way of most readings
                with self._db.iterator(start=start, stop=stop, verify_checksums=True) as rows:
                    yield from rows
                return
            with self._db.snapshot() as moment:
                found = _rows_of(moment, start, stop, reverse)
                yield from self._joined(found) if touches(start, stop) else found
        except (self._write_batch_errors, RuntimeError) as error:
            raise _damage(self.path, error, self._remedy) from None

    def _joined(self, rows: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
        """Yield rows, each batch's with its body for the number; a batch that was deleted meanwhile is left out."""
        for key, value in rows:
            whole = self._body(value) if is_number(key, value) else value
            if whole is not None:
                yield key, whole
            elif self._db.get(key, verify_checksums=True) == value:
                raise self._body_missing(key)

    def _body(self, number: bytes) -> bytes | None:
        body: bytes | None = None if self._bodies is None else self._bodies.get(body_key(number), verify_checksums=True)
        return body

    def _body_missing(self, key: bytes) -> StorageError:
        what = f"the store is damaged, the body of batch {key[1:].hex()} is missing"
        return StorageError(what, where=str(self.path), hint=self._remedy)

    def write(self, puts: Iterable[Put], *, sync: bool) -> None:
        """Write all rows in one LevelDB batch; with `sync` its log is flushed to the disk before this returns.

        Bodies are on the disk before the rows that name them, and go after these: what a crash leaves between is a body
        that no row names, which the next opening deletes.
        """
        rows: list[Put] = []
        bodies = _Bodies()
        try:
            for key, value in puts:
                rows.append((key, self._placed(bodies, key, value)) if key[:1] == BATCH else (key, value))
            if bodies.put or bodies.gone:
                self._write_bodies(bodies)
            batch = self._db.write_batch(sync=sync or bool(bodies.gone))
            put, delete = batch.put, batch.delete
            for key, value in rows:
                if value is None:
                    delete(key)
                else:
                    put(key, value)
            batch.write()
            self._delete_bodies(number for number, _ in bodies.gone)
        except (self._write_batch_errors, RuntimeError) as error:
            raise _damage(self.path, error, self._remedy) from None

    def _write_bodies(self, bodies: _Bodies) -> None:
        """Put those that come, and marks of those that are to go."""
        write = self._open_bodies().write_batch(sync=True)
        for number, body in bodies.put:
            write.put(body_key(number), body)
        for number, key in bodies.gone:
            write.put(going_key(number), key)
        write.write()

    def _delete_bodies(self, gone: Iterable[bytes]) -> None:
        """Delete bodies of these numbers with their marks; not synced, since the next opening deletes them else."""
        write = None
        for number in gone:
            write = write or self._open_bodies().write_batch(sync=False)
            write.delete(body_key(number))
            write.delete(going_key(number))
        if write is not None:
            write.write()

    def _collect_orphans(self) -> None:
        """Delete what crashes left: marked bodies whose row is gone, and the newest ones as long as no row names them.

        A power failure may take the last of the unsynced rows, so that several of the newest bodies have none. A body
        is deleted only if the row of its batch names another or is not there: whoever wrote it knew nothing more.
        """
        if self._bodies is None:
            return
        try:
            with self._bodies.iterator(start=GOING, stop=prefix_stop(GOING), verify_checksums=True) as marks:
                marked = [(mark[len(GOING) :], key) for mark, key in marks]
            orphans = [number for number, key in marked if self._number_of(key) != number]
            orphans += islice(self._newest_orphans(), ORPHANS_A_START_MAX)
            self._delete_bodies(orphans)
            for number, _ in marked:
                self._bodies.delete(going_key(number))
        except (self._write_batch_errors, RuntimeError) as error:
            raise _damage(self.path, error, self._remedy) from None

    def _newest_orphans(self) -> Iterator[bytes]:
        """Yield the numbers of the newest bodies that no row names, down to the first that is named."""
        with self._bodies.iterator(start=BODY, stop=prefix_stop(BODY), reverse=True, verify_checksums=True) as newest:
            for key, body in newest:
                number = key[len(BODY) :]
                batch = batch_key_of(body)
                if batch is None or self._number_of(batch) == number:
                    return
                yield number

    def _placed(self, bodies: _Bodies, key: bytes, value: bytes | None) -> bytes | None:
        """Return what stands under a batch's hash, a number where its body is large; note what becomes of bodies."""
        number = bodies.given[key] if key in bodies.given else self._number_of(key)
        if number is not None:
            bodies.gone.append((number, key))
        bodies.given[key] = number = None
        if value is not None and len(value) >= NUMBERED_BYTES_MIN:
            bodies.given[key] = number = next(self._numbers)
            bodies.put.append((number, value))
        return value if number is None else number

    def _number_of(self, key: bytes) -> bytes | None:
        held: bytes | None = self._db.get(key, verify_checksums=True)
        return held if held is not None and is_number(key, held) else None

    def _newest_body(self) -> bytes | None:
        """Return the key of the newest body, None where there is none."""
        if self._bodies is None:
            return None
        try:
            with self._bodies.iterator(
                start=BODY, stop=prefix_stop(BODY), reverse=True, include_value=False, verify_checksums=True
            ) as keys:
                newest: bytes | None = next(keys, None)
        except (self._write_batch_errors, RuntimeError) as error:
            raise _damage(self.path, error, self._remedy) from None
        return newest

    def compact(self, start: bytes, stop: bytes) -> None:
        """Return when LevelDB has merged the rows of a range, and so given back the room of what was deleted in it."""
        try:
            self._db.compact_range(start=start, stop=stop)
            if touches(start, stop):
                first, last = bodies_between(start, stop, self._newest_body())
                self._open_bodies().compact_range(start=first, stop=last)
        except (self._write_batch_errors, RuntimeError) as error:
            raise _damage(self.path, error, self._remedy) from None

    def close(self) -> None:
        """Release the directory; closing twice is allowed."""
        self._db.close()
        if self._bodies is not None:
            self._bodies.close()


def _rows_of(
    moment: Any, start: bytes, stop: bytes, reverse: bool
) -> Iterator[tuple[bytes, bytes]]:  # Any: plyvel has no type information
    """Yield the rows of a range. Backwards plyvel passes over the only row of one where its key is `start` itself."""
    empty = True
    with moment.iterator(start=start, stop=stop, reverse=reverse, verify_checksums=True) as rows:
        for row in rows:
            empty = False
            yield row
    if reverse and empty and start < stop and (value := moment.get(start, verify_checksums=True)) is not None:
        yield start, value


def _check_begun(path: Path, remedy: str) -> None:
    """Raise StorageError where a file is gone that LevelDB would not miss.

    Without CURRENT it begins anew and deletes the rest; without its log it opens a store that lost its last rows.
    """
    missing: str | None = None
    if not (path / "CURRENT").exists():
        missing = "CURRENT" if any(_own_files(path, item) for item in ("*.ldb", "*.log")) else None
    else:
        manifest = path / _manifest_name(path, remedy)
        log = needed_log(manifest.read_bytes()) if manifest.is_file() else None
        missing = log if log is not None and not (path / log).exists() else None
    if missing is not None:
        raise StorageError(f"the store is damaged, {missing} is missing", where=str(path), hint=remedy)


def _check_frames(path: Path, remedy: str) -> None:
    """Raise StorageError where LevelDB would take damage for the end of what was written, and drop what lies behind.

    With `paranoid_checks` it holds each whole frame against its checksum, but takes one that overruns its file for cut.
    """
    for file in _begun_files(path, remedy):
        try:
            data = file.read_bytes()
        except FileNotFoundError:
            continue  # the process that has the store open removes files: LevelDB's lock says so
        if bad_frame(data, checksums=False) is not None:
            place = f"{file.name} at offset {bad_frame(data)}"  # the first: a wrong length leads astray from there on
            raise StorageError(f"the store is damaged, {place}", where=str(path), hint=remedy)


def _manifest_name(path: Path, remedy: str) -> str:
    """Return the name of the MANIFEST that CURRENT holds. Raises StorageError where it holds anything else."""
    data = (path / "CURRENT").read_bytes()
    if _bad_current(data) is not None:
        raise StorageError(
            "the store is damaged, CURRENT at offset 0",
            where=str(path),
            expected="the name of a MANIFEST and a newline",
            got=repr(data[:32]),
            hint=remedy,
        )
    return data.decode("ascii").strip()


def _own_files(path: Path, pattern: str) -> list[Path]:
    """Return the files of a pattern that LevelDB numbered; it passes over others, which somebody put there."""
    return [file for file in sorted(path.glob(pattern)) if re.fullmatch(r"(MANIFEST-)?[0-9]+(\.\w+)?", file.name)]


def _begun_files(path: Path, remedy: str) -> Iterator[Path]:
    """Yield the MANIFEST that CURRENT names, and the logs whose rows are in no table yet."""
    if not (path / "CURRENT").exists():
        return  # nothing was begun
    manifest = path / _manifest_name(path, remedy)
    if not manifest.is_file():
        return  # LevelDB says so
    yield manifest
    needed = (needed_log(manifest.read_bytes()) or "0.log").removesuffix(".log")
    yield from (file for file in _own_files(path, "*.log") if int(file.stem) >= int(needed))


def _opening_error(
    path: Path, error: Exception, plyvel: Any, remedy: str
) -> StorageError:  # Any: plyvel has no type information
    text = _text(error)
    if isinstance(error, plyvel.IOError) and "lock" in text.lower():
        return StorageError(
            "home already in use",
            where=str(path),
            expected="no other process on this store",
            hint="stop the node that runs on this home, or choose another home",
        )
    if isinstance(error, plyvel.CorruptionError):
        return _damage(path, error, remedy)
    return StorageError(
        "cannot open the store", where=str(path), got=_text(error), hint="check that the path can be written"
    )


def _damage(path: Path, error: Exception, remedy: str) -> StorageError:
    text = _text(error)
    if "No space left" in text or "File too large" in text:
        return StorageError(
            "the store cannot be written", where=str(path), got=text, hint="make room, then start again"
        )
    place = find_damage(path) or _missing(path, text) or find_damage(path / BODIES)
    what = "the store is damaged or unusable" if place is None else f"the store is damaged, {place}"
    return StorageError(what, where=str(path), got=text, hint=remedy)


def _missing(path: Path, text: str) -> str | None:
    """Return which file is missing: the MANIFEST that CURRENT names, or the table of which LevelDB says so."""
    current = path / "CURRENT"
    name = current.read_text("ascii", "replace").strip() if current.exists() else ""
    if name and not (path / name).exists():
        return f"{name} is missing"
    found = re.search(r"missing files; e\.g\.: \S*?([^/\s]+)$", text)
    return None if found is None else f"{found[1]} is missing"


def _text(error: Exception) -> str:
    """Return what LevelDB said; plyvel passes its bytes on."""
    said = error.args[0] if error.args else ""
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else str(error)


def find_damage(path: Path, *, bytes_max: int = SEARCHED_BYTES_MAX) -> str | None:
    """Return the first damaged file and the offset in it, of at most so many bytes read; None where none is found.

    Small files first: what LevelDB reads when it opens a store, then its tables.
    """
    searched = 0
    for pattern, check in (
        ("CURRENT", _bad_current),
        ("MANIFEST-*", lambda data: bad_frame(data) if data else 0),
        ("*.log", bad_frame),
        ("*.ldb", bad_block),
    ):
        for file in [path / pattern] if pattern == "CURRENT" else _own_files(path, pattern):
            try:
                data = file.read_bytes()
            except OSError:
                continue  # LevelDB removes files in the background
            searched += len(data)
            if searched > bytes_max:
                return None
            offset = check(data)
            if offset is not None:
                return f"{file.name} at offset {offset}"
    return None


def _bad_current(data: bytes) -> int | None:
    """CURRENT holds the name of the MANIFEST and a newline, without a checksum."""
    return None if re.fullmatch(rb"MANIFEST-\d{6,}\n", data) else 0
