"""Documents against the digests that the ledger holds of them: which file is which piece, and which is none.

Here: pieces of evidence as records and events name them, hashing files as they stream, matching. Not here: where
records come from and whether they are proved (`chainnode.cli.certificate_evidence`).
"""

from __future__ import annotations

import enum
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from ledger.certificate_records import FiledEvidence
from ledger.certificate_subjects import SUBJECT_BODIES, all_subjects
from ledger.events import EVENT_SIZE_MAX, Event
from ledger.register_bodies import Import, OpenRegister
from ledger.times import format_time
from primitives.encoding import decode
from primitives.errors import InputError, ProofError, StorageError

CHUNK_BYTES: Final = 1 << 20
FILES_MAX: Final = 100_000


class Standing(enum.StrEnum):
    """What a file is worth beside the record."""

    MATCHES = "matches"
    NOT_ON_RECORD = "not_on_record"
    SIZE_DIFFERS = "size_differs"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of evidence as the ledger names it; `proved` says that more than a node's word stands for it."""

    kind: str
    digest: str
    custodian: str
    size_bytes: int
    member: str
    event_id: str
    time: str
    passed: bool
    proved: bool = False


@dataclass(frozen=True, slots=True)
class Checked:
    """A file beside the record: its digest and size, and the pieces that it is, none or several."""

    path: str
    standing: Standing
    digest: str | None
    size_bytes: int | None
    pieces: tuple[Piece, ...]
    note: str = ""


def piece_of_json(row: dict[str, Any]) -> Piece:  # Any: JSON of a node
    """Return a piece as a node tells of it."""
    return Piece(**{name: row[name] for name in _TOLD})


_TOLD: Final = ("kind", "digest", "custodian", "size_bytes", "member", "event_id", "time", "passed")


def piece_of_record(filed: FiledEvidence) -> Piece:
    """Return a piece of a record that was proved."""
    return Piece(
        filed.kind.value,
        filed.digest.hex(),
        filed.custodian,
        filed.size_bytes,
        filed.member,
        filed.event_id.hex(),
        format_time(filed.time_ms),
        filed.passed,
        proved=True,
    )


def check_in_event(piece: Piece, event: Event, subjects: Iterable[str]) -> None:
    """Raise ProofError unless an event files this piece for one of the subjects: by member, kind, digest and size."""
    type_ = SUBJECT_BODIES.get((event.kind, event.schema))
    body: Any = None if type_ is None else decode(type_, event.body, size_max=EVENT_SIZE_MAX)
    if body is None or isinstance(body, OpenRegister) or not set(all_subjects(body)) & set(subjects):
        raise ProofError("an event of another case", where=piece.event_id, expected=" or ".join(subjects))
    brought = body.row.evidence if isinstance(body, Import) else getattr(body, "evidence", ())
    said = (piece.kind, piece.digest, piece.custodian, piece.size_bytes)
    if event.member != piece.member or said not in {
        (each.kind.value, each.digest.hex(), each.custodian, each.size_bytes) for each in brought
    }:
        raise ProofError("an event without this document", where=piece.event_id, expected=piece.digest)


def files_of(paths: Sequence[Path]) -> list[Path]:
    """Return the files that paths name, directories with all that lies below them, in order.

    Links to directories are not followed. Raises StorageError for a directory that cannot be read, InputError for too
    many files.
    """
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        for folder, folders, names in os.walk(path, onerror=_unreadable):
            folders.sort()
            found += [Path(folder) / name for name in sorted(names)]
            if len(found) > FILES_MAX:
                raise InputError("too many files", where=str(path), expected=f"at most {FILES_MAX}")
    return found


def _unreadable(error: OSError) -> None:
    raise StorageError("directory cannot be read", where=str(error.filename), got=error.strerror or error)


def check_file(path: Path, pieces: Sequence[Piece], advance: Callable[[int], None]) -> Checked:
    """Hold a file against the pieces; `advance` is told of bytes as they are read.

    A pipe or a device is no document: reading one may never end.
    """
    if path.exists() and not path.is_file():
        return Checked(str(path), Standing.UNREADABLE, None, None, (), "not a plain file")
    digest, size = sha256(), 0
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
                size += len(chunk)
                advance(len(chunk))
    except OSError as error:
        return Checked(str(path), Standing.UNREADABLE, None, None, (), error.strerror or str(error))
    hexed = digest.hexdigest()
    same = tuple(piece for piece in pieces if piece.digest == hexed)
    if not same:
        sized = sorted({piece.kind for piece in pieces if piece.size_bytes == size})
        note = f"as long as the {' or '.join(sized)} on record, with other content" if sized else ""
        return Checked(str(path), Standing.NOT_ON_RECORD, hexed, size, (), note)
    wrong = [piece for piece in same if piece.size_bytes != size]
    if wrong:
        note = f"the record says {wrong[0].size_bytes} bytes"
        return Checked(str(path), Standing.SIZE_DIFFERS, hexed, size, same, note)
    return Checked(str(path), Standing.MATCHES, hexed, size, same)


def missing_of(pieces: Sequence[Piece], checked: Sequence[Checked]) -> list[Piece]:
    """Return the pieces of which no file was given."""
    held = {each.digest for each in checked if each.standing is Standing.MATCHES}
    return [piece for piece in pieces if piece.digest not in held]
