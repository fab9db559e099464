"""An export's directory: Parquet files by table and day, the policy, and a manifest that is written last.

    manifest.json                                     what is here, with the SHA-256 of each file
    policy                                            what checkpoints are judged by, pinned at the first use
    TABLE/day=YYYY-MM-DD/part-FIRST-NEXT.parquet      rows of the log's entries [FIRST, NEXT)

A file that the manifest does not name is no part of the export: a run that was killed left it, and the next removes
it. So a crash at any point leaves the export of before, or that of after. Anything else that lies here is somebody's,
and is not touched: the directory is refused.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Final

from chainnode.analysis.manifest import (
    FILE_NAME,
    MANIFEST_BYTES_MAX,
    MANIFEST_NAME,
    FileEntry,
    Manifest,
    ManifestDamaged,
    manifest_bytes,
    parse_export_manifest,
)
from chainnode.files import NotFound, locked, read_file, sync_directory, write_file
from ledger.trust_policy import POLICY_SIZE_MAX
from primitives.errors import StorageError, UsageError

LOCK: Final = ".lock"
POLICY: Final = "policy"
_NEW: Final = ".new"


class ForeignFile(UsageError):
    """Something lies in an export's directory that no export wrote."""

    reason = "foreign_file"


class Sink:
    """A file that is written from beginning to end, and hashed on the way; what pyarrow takes for one."""

    closed = False

    def __init__(self, file: io.FileIO) -> None:
        self._file, self._hash, self.size = file, sha256(), 0

    def write(self, data: bytes) -> int:
        """Append bytes."""
        view = memoryview(data)
        self._hash.update(view)
        self.size += len(view)
        while view:
            view = view[self._file.write(view) or 0 :]
        return len(data)

    def flush(self) -> None:
        """Do nothing: all that was written is with the system."""

    def tell(self) -> int:
        """Return how many bytes were written."""
        return self.size

    @property
    def sha256(self) -> str:
        """The SHA-256 of what was written, in hex."""
        return self._hash.hexdigest()


class ExportFiles:
    """The files of one export; `opened` holds it against a second process."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Make the directory where it is not there, hold it, and remove what a killed run left. Raises ForeignFile."""
        if self.directory.is_dir():
            self._leftovers()  # before anything is written here
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(
                "directory cannot be made", where=str(self.directory), got=error.strerror or error
            ) from None
        with locked(self.directory / LOCK, "export"):
            for path in self._leftovers():
                path.unlink(missing_ok=True)
            yield

    def manifest(self) -> Manifest | None:
        """Return what is here, None where nothing was exported yet. Raises ManifestDamaged."""
        path = self.directory / MANIFEST_NAME
        try:
            data = read_file(path, size_max=MANIFEST_BYTES_MAX)
        except NotFound:
            return None
        return parse_export_manifest(data, where=str(path))

    def policy(self) -> str | None:
        """Return the pinned policy."""
        path = self.directory / POLICY
        try:
            return read_file(path, size_max=POLICY_SIZE_MAX).decode()
        except NotFound:
            return None
        except UnicodeDecodeError:
            raise ManifestDamaged("not text", where=str(path), expected="UTF-8") from None

    def put_policy(self, text: str) -> None:
        """Pin the policy."""
        write_file(self.directory / POLICY, text.encode())

    @contextmanager
    def writing(self, path: str) -> Iterator[Sink]:
        """Write one of the export's files: whole, and on the disk when the block ends; not at all where it fails."""
        target = self.directory / path
        temporary = target.with_name(f".{target.name}.{os.getpid()}{_NEW}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("xb", buffering=0) as file:
                yield Sink(file)
                os.fsync(file.fileno())
            os.replace(temporary, target)
            sync_directory(target.parent)
            sync_directory(target.parent.parent)
        except OSError as error:
            raise StorageError("file cannot be written", where=str(target), got=error.strerror or error) from None
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)

    def put_manifest(self, manifest: Manifest) -> None:
        """Let the export be what a manifest says, every file of it being written."""
        write_file(self.directory / MANIFEST_NAME, manifest_bytes(manifest))

    def check(self, manifest: Manifest, *, hashes: bool = False) -> None:
        """Raise ManifestDamaged for a file that is not there as it was written.

        Where `hashes`, the files' bytes are read, and one more than the manifest names is an error too.
        """
        for entry in manifest.files:
            self._check(entry, hashes)
        if hashes:  # whoever reads the directory as a whole reads these too
            for path in self._leftovers():
                raise ManifestDamaged(
                    "file that the manifest does not name",
                    where=str(path),
                    hint="an export that runs or was killed leaves such: let it end, or run it again, which removes it",
                )

    def _check(self, entry: FileEntry, hashes: bool) -> None:
        path = self.directory / entry.path
        hint = "copy it from where it is whole, or export anew into an empty directory"
        try:
            size = path.stat().st_size
            if size != entry.bytes:
                raise ManifestDamaged(
                    "file of another size", where=str(path), expected=entry.bytes, got=size, hint=hint
                )
            if hashes:
                with path.open("rb") as file:
                    found = file_digest(file, "sha256").hexdigest()
                if found != entry.sha256:
                    raise ManifestDamaged(
                        "file was changed", where=str(path), expected=entry.sha256, got=found, hint=hint
                    )
        except FileNotFoundError:
            raise ManifestDamaged("file missing", where=str(path), hint=hint) from None
        except OSError as error:
            raise StorageError("file cannot be read", where=str(path), got=error.strerror or error) from None

    def _leftovers(self) -> list[Path]:
        """Return the files of a run that was killed. Raises ForeignFile for what no run wrote."""
        manifest = self.manifest()
        known = set() if manifest is None else {entry.path for entry in manifest.files}
        own = {MANIFEST_NAME, POLICY, LOCK}
        found: list[Path] = []
        for place, _, names in os.walk(self.directory):
            for name in names:
                path = Path(place) / name
                relative = path.relative_to(self.directory).as_posix()
                if relative in own or relative in known:
                    continue
                whole = _whole_name(relative)
                if whole not in own and FILE_NAME.fullmatch(whole) is None:
                    raise ForeignFile(
                        "not an export's directory",
                        where=str(path),
                        expected="an empty directory, or one that an export made",
                        hint="name another directory, or move this file away",
                    )
                if relative != whole or whole not in own:
                    found.append(path)
        if manifest is None and any(path.is_dir() for path in self.directory.iterdir()) and not found:
            self._refuse_folders()
        return found

    def _refuse_folders(self) -> None:
        """Raise ForeignFile for directories that no run made; those of a run that was killed early are empty."""
        for path in self.directory.iterdir():
            if path.is_dir() and path.name not in ("events", "payments", "certificates"):
                raise ForeignFile("not an export's directory", where=str(path), expected="an empty directory")


def _whole_name(relative: str) -> str:
    """Return the name that a file was to have which was not whole yet (`.NAME.PID.new`), else its own."""
    folder, _, name = relative.rpartition("/")
    if name.startswith(".") and name.endswith(_NEW):
        name = name[1 : -len(_NEW)].rpartition(".")[0]
    return f"{folder}/{name}" if folder else name
