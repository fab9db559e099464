"""The page of what this node keeps: where its history begins, what is in its archive, and how to check both."""

from __future__ import annotations

from typing import Any

from rpc.errors import Code, RpcError
from rpc.explorer.asking import Asked, Page, ask
from rpc.methods.archive import get_archive
from rpc.methods.heights import tip_of
from rpc.ports import ArchivedSegment, ArchiveStatus
from rpc.types import time_text

Row = dict[str, Any]  # Any: what a template shows


def archive(asked: Asked) -> Page:
    """The range of blocks that this node holds, and the newest segments of its archive."""
    status = asked.on_loop(asked.services.node.status)
    kept = _archive(asked)
    values = {
        "status": status,
        "archive": kept,
        "segments": [] if kept is None else [_segment(item) for item in kept.segments],
        "range": held(status.base_height, 0 if kept is None else kept.archived_height, status.height),
    }
    return Page("archive.html", "archive.title", values, as_of=int(tip_of(asked.services).height))


def _archive(asked: Asked) -> ArchiveStatus | None:
    """Return where the archive stands; None of a node that keeps none."""
    try:
        return ask(get_archive, asked.services)
    except RpcError as error:
        if error.code is not Code.UNAVAILABLE:
            raise
        return None


def _segment(item: ArchivedSegment) -> Row:
    return {"segment": item, "time": time_text(item.time_ms)}


def held(base: int, archived: int, height: int) -> list[Row]:
    """Return the parts of the chain, in thousandths of it: what is not here, what is archived, what is in the store."""
    edges = [("absent", 0, base), ("archived", base, max(base, archived)), ("stored", max(base, archived), height)]
    unit = 1_000 / max(1, height)
    return [
        {
            "part": part,
            "first": start,
            "last": stop,
            "x": round(start * unit, 1),
            "width": round((stop - start) * unit, 1),
        }
        for part, start, stop in edges
        if stop > start
    ]
