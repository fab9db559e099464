"""The manifest of an export: what the directory holds, and up to which signed checkpoint. JSON, the last to be written.

Here: its form, and reading it strictly. Not here: files (`export_files`), what is exported (`exporting`).
"""

from __future__ import annotations

import re
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from primitives.errors import InputError

FORMAT: Final = "chainnode-export/1"
MANIFEST_NAME: Final = "manifest.json"
MANIFEST_BYTES_MAX: Final = 256 << 20
FILE_NAME: Final = re.compile(
    r"(?P<table>events|payments|certificates)/day=(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})/"
    r"part-(?P<first>[0-9]{15})-(?P<next>[0-9]{15})\.parquet"
)

Hex32 = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
Count = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]


class ManifestDamaged(InputError):
    """A manifest is not what an export wrote; it names the file and the part."""

    reason = "manifest_damaged"


class FileEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file: its rows are of the log's entries [first, next)."""

    path: str
    rows: Count
    bytes: Count
    sha256: Hex32
    first: Count
    next: Count


class CheckpointEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The signed checkpoint under whose root every row was verified."""

    origin: str
    size: Count
    root: Hex32
    note: str
    policy_sha256: Hex32


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an export holds: events of blocks [from_height, next_height), the log's entries [first_index, next_index).

    `kinds` are the kinds of event that were chosen by name, None for all. `rows` counts by table; `unproved` counts
    blocks whose outcomes, or batches, nobody proved.
    """

    format: str
    chain_id: Hex32
    from_height: Count
    next_height: Count
    first_index: Count
    next_index: Count
    kinds: list[str] | None
    rows: dict[str, Count]
    unproved: dict[str, Count]
    checkpoint: CheckpointEntry
    files: list[FileEntry]


def manifest_bytes(manifest: Manifest) -> bytes:
    """Return the bytes of a manifest's file."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"


def parse_export_manifest(data: bytes, *, where: str) -> Manifest:
    """Return the manifest in a file's bytes. Raises ManifestDamaged, which names `where` and the part."""
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _damaged(where, "not an export's manifest", got=error) from None
    if manifest.format != FORMAT:
        raise _damaged(where, "manifest of another format", expected=FORMAT, got=manifest.format)
    if not manifest.from_height <= manifest.next_height or not manifest.first_index <= manifest.next_index:
        raise _damaged(where, "manifest that ends before it begins")
    seen: set[str] = set()
    rows = dict.fromkeys(manifest.rows, 0)
    for entry in manifest.files:
        match = FILE_NAME.fullmatch(entry.path)
        if match is None or (int(match["first"]), int(match["next"])) != (entry.first, entry.next):
            raise _damaged(where, "file of another name", expected="TABLE/day=DAY/part-FIRST-NEXT", got=entry.path)
        if entry.path in seen or not manifest.first_index <= entry.first < entry.next <= manifest.next_index:
            raise _damaged(where, "file twice, or of entries that are not covered", got=entry.path)
        seen.add(entry.path)
        rows[match["table"]] = rows.get(match["table"], 0) + entry.rows
    if rows != manifest.rows:
        raise _damaged(where, "counts of rows do not fit the files", expected=manifest.rows, got=rows)
    return manifest


def _damaged(where: str, what: str, *, expected: object = None, got: object = None) -> ManifestDamaged:
    hint = "export anew into an empty directory"
    return ManifestDamaged(what, where=where, expected=expected, got=got, hint=hint)
