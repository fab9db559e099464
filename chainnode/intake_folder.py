"""A drop folder: which files are whole, and where each goes; nothing is ever deleted.

    DIR/           files as they are dropped
    DIR/work/      files that were taken, each with NAME.journal beside it
    DIR/done/      files that were stated, each with NAME.report.jsonl
    DIR/refused/   files of which something was refused, likewise
    DIR/foreign/   files of which nothing concerns this member, likewise

Here: looking, moving, the lock. Not here: what is in files (`chainnode.intake`) and journals (`intake_journal`). Files
are moved within one file system, by renaming, so each has one place whenever the process dies. A file is taken once it
was the same for a while (inode, size, time of change), or at once where it was seen under a temporary name before.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from chainnode.files import PRIVATE_DIRECTORY_MODE, UnsafeFile, locked, make_private_directory, sync_directory
from primitives.errors import StorageError

TEMPORARY: Final = (".tmp", ".part", ".partial", ".filepart", ".writing", ".crdownload", "~")
ENTRIES_MAX: Final = 100_000
"""Entries of the folder that one look takes in."""
FILES_A_ROUND: Final = 1_000
JOURNAL: Final = ".journal"
REPORT: Final = ".report.jsonl"
WORK: Final = "work"
DONE: Final = "done"
REFUSED: Final = "refused"
FOREIGN: Final = "foreign"
PLACES: Final = (WORK, DONE, REFUSED, FOREIGN)
NAME_BYTES_MAX: Final = 200
"""A report's name is longer than its file's, and a file system takes 255 bytes."""
_OTHERS: Final = 0o007


@dataclass(frozen=True, slots=True)
class Shape:
    """What changes where a file is written to."""

    inode: int
    size: int
    mtime_ns: int


def shape_of(path: Path) -> Shape:
    """Return the shape of a file. Raises OSError."""
    info = path.stat(follow_symlinks=False)
    return Shape(info.st_ino, info.st_size, info.st_mtime_ns)


@dataclass(slots=True)
class Look:
    """What one look at the folder found, by names in order: `passed` over, each with why.

    `growing` are empty or changed of late, `temporary` by their names not whole yet, `misnamed` files of a name that
    they cannot be taken under.
    """

    ready: list[str] = field(default_factory=list)
    growing: list[str] = field(default_factory=list)
    temporary: list[str] = field(default_factory=list)
    passed: list[tuple[str, str]] = field(default_factory=list)
    misnamed: list[tuple[str, str]] = field(default_factory=list)


class DropFolder:
    """One folder, held by one process at a time (`open_folder`)."""

    def __init__(self, directory: Path, *, settle_s: float) -> None:
        self.directory = directory
        self._settle_s = settle_s
        self._seen: dict[str, tuple[Shape, float]] = {}
        self._temporary: set[int] = set()

    def look(self, now_s: float) -> Look:
        """Look at the folder once; `now_s` is a monotonic clock's."""
        look = Look()
        seen: dict[str, tuple[Shape, float]] = {}
        temporary: set[int] = set()
        for name, shape, why in self._entries():
            if shape is None:
                look.passed.append((name, why))
            elif _wrong_name(name):
                look.misnamed.append((name, _wrong_name(name)))
            elif why:
                temporary.add(shape.inode)
                look.temporary.append(name)
            else:
                before = self._seen.get(name)
                since = before[1] if before is not None and before[0] == shape else now_s
                seen[name] = (shape, since)
                settled = now_s - since >= self._settle_s or shape.inode in self._temporary
                # An empty file is one that nobody has written to yet.
                (look.ready if settled and shape.size else look.growing).append(name)
        self._seen, self._temporary = seen, temporary
        for names in (look.ready, look.growing, look.temporary):
            names.sort()
        return look

    def _entries(self) -> Iterator[tuple[str, Shape | None, str]]:
        """Yield name, shape and why it waits or is passed over, of all that is no part of the folder itself."""
        with os.scandir(self.directory) as entries:
            for count, entry in enumerate(entries):
                if count >= ENTRIES_MAX:
                    yield "...", None, f"more than {ENTRIES_MAX} entries: the rest is looked at once these are taken"
                    return
                if entry.name in PLACES or entry.name.startswith("."):
                    continue
                try:
                    info = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if not stat.S_ISREG(info.st_mode):
                    yield entry.name, None, "no regular file"
                else:
                    why = "temporary" if entry.name.lower().endswith(TEMPORARY) else ""
                    yield entry.name, Shape(info.st_ino, info.st_size, info.st_mtime_ns), why

    def in_work(self) -> list[str]:
        """Return the names of the files that were taken and are not finished, in order."""
        return sorted(name for name in os.listdir(self.directory / WORK) if not name.endswith(JOURNAL))

    def journals(self) -> list[str]:
        """Return the names of the files that have a journal, whether they are still in work or not."""
        names = os.listdir(self.directory / WORK)
        return sorted(name.removesuffix(JOURNAL) for name in names if name.endswith(JOURNAL))

    def take(self, name: str) -> str | None:
        """Move a file into work, and return the name that it has there; None where it went or changed since the look.

        A round may take minutes, and who drops files may take one back.
        """
        taken = self._free(name)
        before = self._seen.get(name)
        try:
            if before is not None and shape_of(self.directory / name) != before[0]:
                return None
            os.rename(self.directory / name, self.directory / WORK / taken)
        except FileNotFoundError:
            return None
        sync_directory(self.directory / WORK)
        sync_directory(self.directory)
        return taken

    def _free(self, name: str) -> str:
        """Return a name that no file or report has in any place: files of one name come again."""
        stem, dot, ending = name.partition(".")
        number, free = 1, name
        while any(
            os.path.lexists(self.directory / place / f"{free}{suffix}")
            for place in PLACES
            for suffix in ("", JOURNAL, REPORT)
        ):
            number += 1
            free = f"{stem}-{number}{dot}{ending}"
        return free

    def path(self, name: str) -> Path:
        """Return where a file that was taken lies."""
        return self.directory / WORK / name

    def journal_path(self, name: str) -> Path:
        """Return where its journal lies, or will lie."""
        return self.directory / WORK / f"{name}{JOURNAL}"

    def finish(self, name: str, place: str) -> None:
        """Move a file and its journal, as its report, to `place`; goes on where an earlier call was cut off."""
        target = self.directory / place
        # The file first: as long as the journal lies in work, the next start knows what is left to do.
        for source, moved in ((self.path(name), target / name), (self.journal_path(name), target / f"{name}{REPORT}")):
            if os.path.lexists(source):
                os.rename(source, moved)
                sync_directory(target)
        sync_directory(self.directory / WORK)

    def set_journal_aside(self, name: str) -> Path:
        """Move the journal of what was another file to the refused ones, and return where it lies."""
        number = 2
        while os.path.lexists(self.directory / REFUSED / f"{name}.before-{number}{REPORT}"):
            number += 1
        target = self.directory / REFUSED / f"{name}.before-{number}{REPORT}"
        os.rename(self.journal_path(name), target)
        sync_directory(target.parent)
        return target


@contextmanager
def open_folder(directory: Path, *, settle_s: float) -> Iterator[DropFolder]:
    """Hold a folder, made where there is none, against other processes.

    Raises `UnsafeFile` where everybody may look into it, `files.Busy` where it is held, `StorageError`.
    """
    if not directory.exists():
        make_private_directory(directory)
    _check(directory)
    try:
        for place in PLACES:
            path = directory / place
            path.mkdir(mode=PRIVATE_DIRECTORY_MODE, exist_ok=True)
            if path.is_symlink():  # by it, who may drop files would have those of another directory taken
                raise UnsafeFile("a link where files are kept", where=str(path), expected="a directory of its own")
            path.chmod(PRIVATE_DIRECTORY_MODE)
        sync_directory(directory)
    except OSError as error:
        raise StorageError("folder cannot be used", where=str(directory), got=error.strerror or error) from None
    with locked(directory / ".intake.lock", "drop folder"):
        try:
            yield DropFolder(directory, settle_s=settle_s)
        except OSError as error:
            where = str(error.filename or directory)
            raise StorageError("folder cannot be used", where=where, got=error.strerror or error) from None


def _wrong_name(name: str) -> str:
    """Return why a file cannot be taken under a name, nothing where it can."""
    if len(os.fsencode(name)) > NAME_BYTES_MAX or not name.isprintable():
        return f"a name of more than {NAME_BYTES_MAX} bytes, or one that cannot be shown"
    # In work it would pass for the journal of another file, and be cut down to what a journal has.
    return f"a name that ends as journals do, in {JOURNAL}" if name.endswith(JOURNAL) else ""


def _check(directory: Path) -> None:
    info = directory.stat()
    if not stat.S_ISDIR(info.st_mode):
        raise UnsafeFile("not a directory", where=str(directory))
    if info.st_mode & _OTHERS:
        # A group may have it: whoever drops the files is often another user.
        raise UnsafeFile(
            "everybody can reach the payments here",
            where=str(directory),
            expected="mode 0700, or 3770 with the group of who drops the files",
            got=f"{stat.S_IMODE(info.st_mode):04o}",
            hint=f"chmod o= {directory}",
        )
