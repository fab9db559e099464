"""Disks of a run: wiping, filling to the last byte, and small file systems of their own.

Not here: which node's and when (`perturb`), flipped bytes (`damage`).
"""

from __future__ import annotations

import contextlib
import resource
import shutil
from pathlib import Path
from typing import Final

from torment.namespaces import is_private, mount_small

DISK_BYTES: Final = 192 << 20
FILE_BYTES_LEFT: Final = 64 << 10
BALLAST: Final = "ballast"


def full_disk_by() -> str:
    """Say how this run fills a disk."""
    return "a tmpfs of its own" if is_private() else "a limit on the size of its files (RLIMIT_FSIZE)"


def wipe(path: Path) -> None:
    """Remove a file, or what a directory holds and, unless a file system is mounted on it, the directory."""
    if not path.is_dir():
        path.unlink(missing_ok=True)
    elif path.is_mount():
        empty(path)
    else:
        shutil.rmtree(path)


def empty(directory: Path) -> None:
    """Remove what a directory holds."""
    for inner in directory.iterdir():
        wipe(inner)


def fill_disk(data: Path, pid: int | None) -> None:
    """Leave no byte on the disk that holds a node's `data`, or to its process where it has no disk of its own."""
    if not is_private():
        if pid is not None:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (FILE_BYTES_LEFT, resource.RLIM_INFINITY))
        return
    with contextlib.suppress(OSError), (data / BALLAST).open("ab", buffering=0) as file:
        for size in (1 << 20, 4_096, 1):
            with contextlib.suppress(OSError):
                while file.write(bytes(size)) == size:
                    pass


def free_disk(data: Path) -> None:
    """Give a node its disk back; a limit went with the process that had it."""
    if is_private():
        (data / BALLAST).unlink(missing_ok=True)


def move_to_small_disk(data: Path) -> None:
    """Put what a home's `data` holds on a file system of its own in the same place."""
    kept = data.with_name(f"{data.name}.before")
    shutil.copytree(data, kept)
    mount_small(data, DISK_BYTES)
    shutil.copytree(kept, data, dirs_exist_ok=True)
    shutil.rmtree(kept)
