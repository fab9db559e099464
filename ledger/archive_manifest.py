"""The manifest of an archive: which segments a directory holds, in lines of JSON that end with their own hash.

The first line names the format and the chain, each further one a segment, ascending by heights; the last holds the
SHA-256 of all bytes before it. Only one text says one thing: a manifest that is not written as `manifest_text` writes
it is refused. Pure. Layout: docs/formats.md, "The archive".
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, TypeVar

import msgspec

from ledger.archive import SEGMENT_BLOCKS_MAX, ArchiveDamaged, SegmentEntry, segment_name
from ledger.rows import HEIGHT_MAX
from primitives.ids import Hash

T = TypeVar("T")

FORMAT: Final = "chainnode-archive/1"
MANIFEST_NAME: Final = "manifest.jsonl"
MANIFEST_BYTES_MAX: Final = 64 << 20
SEGMENT_FILE_BYTES_MAX: Final = 1 << 40
"""What a manifest may say of a file's size: far above any, and a place that a file system can be asked for."""


class _Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: str
    chain_id: str


class _End(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """The segments of a chain in one directory, ascending by first height, then by name."""

    chain_id: Hash
    segments: tuple[SegmentEntry, ...] = ()

    def covering(self, height: int) -> list[SegmentEntry]:
        """Return the segments that hold the bodies of the block at `height`; archives made by others may overlap."""
        found: list[SegmentEntry] = []
        index = bisect_right(self.segments, height, key=lambda entry: entry.first_height)
        while index and self.segments[index - 1].first_height > height - SEGMENT_BLOCKS_MAX:
            index -= 1
            if self.segments[index].last_height >= height:
                found.append(self.segments[index])
        return found[::-1]

    def with_segment(self, entry: SegmentEntry) -> Manifest:
        """Return the manifest with one more segment; one that is listed stays listed once."""
        return Manifest(self.chain_id, tuple(sorted({*self.segments, entry}, key=_order)))


def _order(entry: SegmentEntry) -> tuple[int, str]:
    return entry.first_height, entry.name


def manifest_text(manifest: Manifest) -> bytes:
    """Return the bytes of a manifest's file."""
    head = _Head(FORMAT, manifest.chain_id.hex())
    body = b"".join(msgspec.json.encode(line) + b"\n" for line in (head, *manifest.segments))
    return body + msgspec.json.encode(_End(sha256(body).hexdigest())) + b"\n"


def parse_manifest(data: bytes, *, where: str) -> Manifest:
    """Return the manifest in a file's bytes. Raises ArchiveDamaged, which names `where` and the line."""
    lines = data.split(b"\n")
    if len(data) > MANIFEST_BYTES_MAX or len(lines) < 3 or lines[-1]:
        raise _damaged(where, "not a whole manifest", got=f"{len(data)} bytes")
    body = data[: -len(lines[-2]) - 1]
    head = _line(_Head, lines[0], where, 1)
    if head.format != FORMAT:
        raise _damaged(where, "another format", expected=FORMAT, got=head.format)
    end = _line(_End, lines[-2], where, len(lines) - 1)
    if end.sha256 != sha256(body).hexdigest():
        raise _damaged(where, "hash of the manifest", expected=end.sha256, got=sha256(body).hexdigest())
    entries = [_line(SegmentEntry, line, where, number) for number, line in enumerate(lines[1:-2], 2)]
    for number, entry in enumerate(entries, 2):
        _check_entry(entry, f"{where}, line {number}")
    if entries != sorted(set(entries), key=_order):
        raise _damaged(where, "segments out of order, or twice")
    try:
        chain_id = bytes.fromhex(head.chain_id)
    except ValueError:
        chain_id = b""
    manifest = Manifest(Hash(chain_id), tuple(entries))
    if len(chain_id) != 32 or manifest_text(manifest) != data:
        raise _damaged(where, "not written as a manifest is")
    return manifest


def _line(type_: type[T], line: bytes, where: str, number: int) -> T:
    try:
        return msgspec.json.decode(line, type=type_)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _damaged(f"{where}, line {number}", "not a line of a manifest", got=error) from None


def _check_entry(entry: SegmentEntry, where: str) -> None:
    """A name is a plain file's, made of the heights and the hash: it leads nowhere else."""
    if entry.name != segment_name(entry.first_height, entry.last_height, entry.sha256):
        raise _damaged(where, "a segment's name is not that of its heights and hash", got=entry.name)
    plain = set(entry.sha256) <= set("0123456789abcdef") and len(entry.sha256) == 64
    span = entry.last_height - entry.first_height
    sizes = 1 <= entry.size <= SEGMENT_FILE_BYTES_MAX and entry.last_height <= HEIGHT_MAX
    if not plain or entry.first_height < 1 or not 0 <= span < SEGMENT_BLOCKS_MAX or not sizes:
        raise _damaged(where, "a segment's figures", got=entry.name)


def _damaged(where: str, what: str, *, expected: object = None, got: object = None) -> ArchiveDamaged:
    return ArchiveDamaged(
        f"damaged: {what}",
        where=where,
        expected=expected,
        got=got,
        hint="restore the manifest, or make it anew from its segments: `chainnode archive add DIR`",
    )
