"""Exporting the log to Parquet: chunk by chunk, each on the disk with its manifest before the next begins.

Here: the order of a run, files by day, and holding a later run to the same log. Not here: what rows say (`tables`), the
directory (`export_files`), reading the log (`log_walk`). A row is written only if its entry was hashed to the root of a
checkpoint that the policy accepts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from itertools import pairwise
from typing import Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from chainnode.analysis.block_facts import facts_of
from chainnode.analysis.columns import Array
from chainnode.analysis.export_files import ExportFiles, Sink
from chainnode.analysis.layouts import Layouts
from chainnode.analysis.log_walk import CHUNK_ENTRIES, Chunk, find_block, walk
from chainnode.analysis.manifest import FORMAT, CheckpointEntry, FileEntry, Manifest
from chainnode.analysis.tables import REPEATED, TABLES, tables_of
from chainnode.log_source import LogSource, read_tile
from chainnode.monitoring import Seen, Trust
from ledger.registry import KINDS_BY_NAME
from ledger.signed_trees import SignedTree, TileSource
from primitives.errors import ProofError, UsageError

DAY_MS: Final = 86_400_000
ROW_GROUP_ROWS: Final = 1 << 17
OUTCOMES: Final = "outcomes"
BATCHES: Final = "batches"


class OtherChain(UsageError):
    """The export is of another chain than the log that was named, or of another choice of kinds."""

    reason = "other_export"


class OtherHistory(ProofError):
    """The log does not begin with what was exported: one of both is a lie."""

    reason = "other_history"


@dataclass(slots=True)
class Exported:
    """What a run brought: rows by table, files and bytes, and where the export stands now."""

    manifest: Manifest
    seen: Seen
    rows: dict[str, int] = field(default_factory=dict)
    files: int = 0
    bytes: int = 0


def _nothing(count: int) -> None:
    del count


@dataclass(slots=True)
class Exporter:
    """One export; owned by one thread while its files are held open.

    `source` gives the log; `parts` are asked for what the log does not say of a block. `expect` and `advance` are told
    of entries.
    """

    files: ExportFiles
    trust: Trust
    source: LogSource
    parts: Sequence[LogSource] = ()
    kinds: Collection[str] | None = None
    from_height: int | None = None
    expect: Callable[[int], None] = _nothing
    advance: Callable[[int], None] = _nothing
    chunk_entries: int = CHUNK_ENTRIES
    _layouts: Layouts = field(default_factory=Layouts)

    def run(self) -> Exported:
        """Export what is new up to the newest checkpoint. Raises InputError where something does not hold."""
        before = self.files.manifest()
        if before is not None:
            self.files.check(before)
        self._check_choice(before)
        seen = self.trust.read(self.source)
        if seen is None:
            raise UsageError("no checkpoint is there", where=self.source.name, expected="a mirror, or a node")
        tree = SignedTree(seen.checkpoint, [TileSource(self.source.name, self._tile)], _refuse)
        manifest = before or self._begin(tree, seen)
        self._check_history(manifest, tree)
        if self.files.policy() is None:
            self.files.put_policy(self.trust.policy_text)
        done = Exported(manifest, seen)
        self.expect(seen.checkpoint.size - manifest.next_index)
        chain_id = self.trust.policy.chain_id
        chunks = walk(tree, chain_id, manifest.next_index, manifest.next_height, entries=self.chunk_entries)
        checkpoint = _checkpoint_entry(seen, self.trust)
        for chunk in chunks:
            self._write(chunk, checkpoint, done)
            self.advance(chunk.next_index - int(chunk.headers[0].first_index))
        if before is None or checkpoint != done.manifest.checkpoint:
            done.manifest = msgspec.structs.replace(done.manifest, checkpoint=checkpoint)
            self.files.put_manifest(done.manifest)
        return done

    # -- before anything is written

    def _check_choice(self, before: Manifest | None) -> None:
        """Raise OtherChain where a later run asks for something else than the first one did."""
        unknown = sorted(set(self.kinds or ()) - set(KINDS_BY_NAME))
        if unknown:
            raise UsageError("unknown kind", expected=f"one of {', '.join(KINDS_BY_NAME)}", got=unknown[0])
        chain_id = self.trust.policy.chain_id.hex()
        if before is None:
            return
        where = str(self.files.directory)
        if before.chain_id != chain_id:
            raise OtherChain("export of another chain", where=where, expected=before.chain_id, got=chain_id)
        if self.kinds is not None and sorted(self.kinds) != before.kinds:
            held = "all kinds" if before.kinds is None else ", ".join(before.kinds)
            raise OtherChain("export of other kinds", where=where, expected=held, got=", ".join(sorted(self.kinds)))
        if self.from_height not in (None, before.from_height):
            expected = f"from height {before.from_height}, or no --from"
            raise OtherChain("export that begins elsewhere", where=where, expected=expected, got=self.from_height)

    def _begin(self, tree: SignedTree, seen: Seen) -> Manifest:
        height = self.from_height or 0
        first = find_block(tree, height)
        if first is None:
            raise UsageError("no such block in the log", where=self.source.name, got=f"height {height}")
        return Manifest(
            format=FORMAT,
            chain_id=self.trust.policy.chain_id.hex(),
            from_height=height,
            next_height=height,
            first_index=first,
            next_index=first,
            kinds=None if self.kinds is None else sorted(self.kinds),
            rows=dict.fromkeys(TABLES, 0),
            unproved={OUTCOMES: 0, BATCHES: 0},
            checkpoint=_checkpoint_entry(seen, self.trust),
            files=[],
        )

    def _check_history(self, manifest: Manifest, tree: SignedTree) -> None:
        held = manifest.checkpoint
        where = self.source.name
        if tree.size < held.size:
            raise OtherHistory(
                "log is shorter than what was exported", where=where, expected=f"{held.size} entries", got=tree.size
            )
        found = tree.root_of_first(held.size).hex()
        if found != held.root:
            raise OtherHistory(
                "log does not begin with what was exported",
                where=where,
                expected=held.root,
                got=found,
                hint=f"both are signed: the note in {self.files.directory}/manifest.json and this one show a fork",
            )

    # -- a chunk

    def _write(self, chunk: Chunk, checkpoint: CheckpointEntry, done: Exported) -> None:
        """Write a chunk's rows, then the manifest that has them."""
        manifest = done.manifest
        numbers = None if manifest.kinds is None else [KINDS_BY_NAME[name].kind for name in manifest.kinds]
        facts = facts_of(chunk, self.parts)
        found = tables_of(chunk, facts, self._layouts, numbers)
        entries: list[FileEntry] = []
        for name, table in found.items():
            entries += self._put(name, table, manifest.next_index, chunk.next_index)
            done.rows[name] = done.rows.get(name, 0) + table.num_rows
        done.files += len(entries)
        done.bytes += sum(entry.bytes for entry in entries)
        done.manifest = msgspec.structs.replace(
            manifest,
            next_height=manifest.next_height + len(chunk.headers),
            next_index=chunk.next_index,
            rows={name: manifest.rows[name] + found[name].num_rows for name in TABLES},
            unproved={
                OUTCOMES: manifest.unproved[OUTCOMES] + facts.without_outcomes,
                BATCHES: manifest.unproved[BATCHES] + facts.without_batches,
            },
            checkpoint=checkpoint,
            files=[*manifest.files, *entries],
        )
        self.files.put_manifest(done.manifest)

    def _put(self, name: str, table: Array, first: int, stop: int) -> list[FileEntry]:
        """Write a table's rows, a file for each day of block times."""
        days = np.asarray(table["time"].cast(pa.int64())) // DAY_MS
        edges = [0, *(np.flatnonzero(np.diff(days)) + 1).tolist(), len(days)]
        by_day: dict[int, list[Array]] = {}
        for start, end in pairwise(edges):
            if end > start:
                by_day.setdefault(int(days[start]), []).append(table.slice(start, end - start))
        entries: list[FileEntry] = []
        for day, parts in by_day.items():
            rows = parts[0] if len(parts) == 1 else pa.concat_tables(parts)
            written = datetime.fromtimestamp(day * DAY_MS / 1_000, UTC).date().isoformat()
            path = f"{name}/day={written}/part-{first:015d}-{stop:015d}.parquet"
            with self.files.writing(path) as sink:
                write_parquet(rows, sink)
            entries.append(FileEntry(path, rows.num_rows, sink.size, sink.sha256, first, stop))
        return entries

    def _tile(self, tile: object) -> bytes | None:
        return read_tile(self.source, tile)  # type: ignore[arg-type]  # what a TileSource is asked for


def write_parquet(table: Array, sink: Sink) -> None:
    """Write a table as a Parquet file whose types are those of `tables`, of any reader."""
    repeated = [name for name in table.column_names if name in REPEATED]
    pq.write_table(
        table,
        pa.PythonFile(sink, mode="w"),
        row_group_size=ROW_GROUP_ROWS,
        use_dictionary=repeated,
        compression={name: "SNAPPY" if name in REPEATED or name == "body" else "NONE" for name in table.column_names},
        write_statistics=[*repeated, "log_index"],
        store_schema=False,  # dictionaries are of memory: whoever reads the file finds plain text
    )


def _checkpoint_entry(seen: Seen, trust: Trust) -> CheckpointEntry:
    checkpoint = seen.checkpoint
    digest = sha256(trust.policy_text.encode()).hexdigest()
    return CheckpointEntry(checkpoint.origin, checkpoint.size, checkpoint.root.hex(), seen.note, digest)


def _refuse(name: str, error: ProofError) -> None:
    raise ProofError(
        error.what, where=f"{name}: {error.where or 'log'}", expected=error.expected, got=error.got, hint=error.hint
    )
