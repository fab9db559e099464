"""Exports of small chains, and what stands in them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds

from chainnode.analysis.export_files import ExportFiles
from chainnode.analysis.exporting import Exported, Exporter
from chainnode.log_source import LogSource
from chainnode.monitoring import Trust


def export(
    directory: Path,
    policy: str,
    source: LogSource,
    parts: Sequence[LogSource] = (),
    **options: Any,  # Any: fields of an Exporter
) -> Exported:
    files = ExportFiles(directory)
    with files.opened():
        return Exporter(files, Trust(files.policy() or policy), source, parts, **options).run()


def rows_of(directory: Path, table: str = "events") -> list[dict[str, Any]]:
    """Return a table's rows as any reader of Parquet finds them, in the order of the log."""
    found = ds.dataset(directory / table, partitioning="hive").to_table().to_pylist()
    return sorted(found, key=lambda row: row["log_index"])


def snapshot(directory: Path) -> dict[str, bytes]:
    """Return the files of an export by name."""
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }
