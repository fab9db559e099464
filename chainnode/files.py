"""Writing small files so that a crash leaves the old one or the new one, and refusing secrets that others can read.

Here: whole-file replacement, the 0600/0700 rules, advisory locks. Not here: what the files hold (`identity`, `home`,
`source_outbox`, `localnet`).
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from primitives.errors import InputError, StorageError, UsageError

INPUT_BYTES_MAX = 256 * 1024 * 1024
"""The largest file with events that is taken in."""
PRIVATE_FILE_MODE = 0o600
PRIVATE_DIRECTORY_MODE = 0o700
_OTHERS = 0o077


class UnsafeFile(UsageError):
    """A secret lies in a file or directory that others may read, or that is not a plain file of this user."""

    reason = "unsafe_file"


class NotFound(UsageError):
    """A file that is needed is not there."""

    reason = "file_not_found"


class Busy(UsageError):
    """Another process holds the lock."""

    reason = "locked"


def write_file(path: Path, data: bytes, *, mode: int = 0o644, replace: bool = True) -> None:
    """Write a whole file: it appears complete, synced, and with its mode, or not at all.

    Raises `UsageError` where it exists and may not be replaced, `StorageError` where the disk refuses.
    """
    write_parts(path, (data,), mode=mode, replace=replace)


def write_parts(path: Path, parts: Iterable[bytes], *, mode: int = 0o644, replace: bool = True) -> None:
    """Write a whole file as `write_file` does, part by part: of one that is cut off nothing is left.

    Raises what `write_file` raises, and what making the parts raises but for `OSError`.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        # Created with its mode: a secret is never readable by others, not even for a moment.
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(fd, "wb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            os.replace(temporary, path)
        else:
            os.link(temporary, path)
        sync_directory(path.parent)
    except FileExistsError:
        raise UsageError("file exists already", where=str(path), hint="move it away first") from None
    except OSError as error:
        raise StorageError("file cannot be written", where=str(path), got=error.strerror or error) from None
    finally:
        # A file system that refuses to write refuses to remove as well: its first refusal is what is told.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def read_file(path: Path, *, size_max: int) -> bytes:
    """Return a file's bytes. Raises `NotFound`, `InputError` above `size_max` bytes, `StorageError`."""
    try:
        with path.open("rb") as file:
            data = file.read(size_max + 1)
    except FileNotFoundError:
        raise NotFound("no such file", where=str(path)) from None
    except IsADirectoryError:
        raise StorageError("a directory, and no file", where=str(path), hint="name the files in it") from None
    except OSError as error:
        raise StorageError("file cannot be read", where=str(path), got=error.strerror or error) from None
    if len(data) > size_max:
        raise InputError("file too large", where=str(path), expected=f"at most {size_max} bytes")
    return data


def read_secret(path: Path, *, size_max: int) -> bytes:
    """Return the bytes of a file that only this user can read. Raises `UnsafeFile` and what `read_file` raises."""
    check_private(path)
    return read_file(path, size_max=size_max)


def check_private(path: Path) -> None:
    """Raise `UnsafeFile` unless `path` is a plain file (or a directory) of this user or root, closed to others."""
    try:
        info = path.stat()
    except FileNotFoundError:
        raise NotFound("no such file", where=str(path)) from None
    except OSError as error:
        raise StorageError("file cannot be read", where=str(path), got=error.strerror or error) from None
    directory = stat.S_ISDIR(info.st_mode)
    if not directory and not stat.S_ISREG(info.st_mode):
        raise UnsafeFile("a secret must lie in a plain file", where=str(path))
    if info.st_uid not in (os.geteuid(), 0):
        raise UnsafeFile("a secret belongs to another user", where=str(path), expected=os.geteuid(), got=info.st_uid)
    if info.st_mode & _OTHERS:
        wanted = PRIVATE_DIRECTORY_MODE if directory else PRIVATE_FILE_MODE
        raise UnsafeFile(
            "others can reach this secret",
            where=str(path),
            expected=f"mode {wanted:04o}",
            got=f"{stat.S_IMODE(info.st_mode):04o}",
            hint=f"chmod {wanted:o} {path}, and replace the key if others may have read it",
        )


def make_private_directory(path: Path) -> None:
    """Create a directory (and its parents) that only this user can enter; one that exists must be so already."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=PRIVATE_DIRECTORY_MODE)
    except FileExistsError:
        check_private(path)
    except OSError as error:
        raise StorageError("directory cannot be made", where=str(path), got=error.strerror or error) from None


def make_synced_directory(path: Path) -> None:
    """Create a directory (and its parents) closed to others; returns when its name is on the disk, as of what it holds.

    Synced where it exists already too: whoever made it may have been cut off before. Raises `OSError`.
    """
    for missing in reversed([item for item in path.parents if not item.exists()]):
        missing.mkdir(mode=PRIVATE_DIRECTORY_MODE, exist_ok=True)
        sync_directory(missing.parent)
    path.mkdir(mode=PRIVATE_DIRECTORY_MODE, exist_ok=True)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Return when the names in a directory are on the disk."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def locked(path: Path, what: str, *, wait: bool = False, error: type[Busy] = Busy) -> Iterator[None]:
    """Hold the advisory lock of a file, which then holds this process's id; the kernel lets go of it when we die.

    Raises `error`, naming the holder, unless `wait`.
    """
    try:
        # A link would have the id written over the file that it leads to.
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, PRIVATE_FILE_MODE)
    except OSError as failure:
        raise StorageError("lock file cannot be opened", where=str(path), got=failure.strerror or failure) from None
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            holder = os.pread(fd, 20, 0).decode("ascii", "replace").strip() or "unknown"
            raise error(
                f"{what} already in use",
                where=str(path.parent),
                got=f"process {holder}",
                hint="stop that process first",
            ) from None
        try:
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        except OSError as failure:
            raise StorageError("lock file cannot be written", where=str(path), got=failure.strerror) from None
        yield
    finally:
        os.close(fd)
