"""admin_createSnapshot, admin_getSnapshot, admin_readSnapshot: a snapshot of the ledger, for nodes that join.

The file is written in the node's own home, never where a caller says, and read from there in parts. All three are
for operators: making one costs the node work, and reading one its bandwidth. Not here: what it is (`ledger.snapshots`).
"""

from __future__ import annotations

import asyncio
from typing import Annotated

import msgspec

from rpc.errors import Code, unavailable
from rpc.methods.heights import tip_of
from rpc.ports import Services, SnapshotMaker, SnapshotStatus
from rpc.registry import waiting_method
from rpc.rights import Access
from rpc.types import AsOf, NoParams, Params, Result, base64_text

PART_BYTES_MAX = 1 << 20


class ReadSnapshot(Params, frozen=True):
    """The name of the newest snapshot's file, and the place in it to read from."""

    name: Annotated[
        str, msgspec.Meta(min_length=1, max_length=128, description="The file's name, as admin_getSnapshot tells it.")
    ]
    offset: Annotated[int, msgspec.Meta(ge=0, le=1 << 53, description="The byte to read from.")] = 0


class SnapshotResult(Result, frozen=True):
    """Where the making of a snapshot stands: `state` is none, making, ready or failed.

    `percent` is how much of it is made. Of one that is ready: its file's name and size in the node's home, and its id,
    which stands for its every byte. `message` says why one failed.
    """

    state: str
    height: int
    percent: int
    name: str
    size_bytes: int
    id: str
    message: str
    as_of: AsOf


class SnapshotPart(Result, frozen=True):
    """Bytes of a snapshot's file in base64, from the place that was asked for; none after its end."""

    data: str
    size_bytes: int
    as_of: AsOf


@waiting_method(
    "admin_createSnapshot",
    params=NoParams,
    result=SnapshotResult,
    access=Access.OPERATE,
    errors=(Code.INVALID_PARAMS, Code.UNAVAILABLE),
)
async def create_snapshot(services: Services, params: NoParams) -> SnapshotResult:
    """Begin to make a snapshot at the newest stable checkpoint, unless one is being made; for operators.

    The node goes on working meanwhile. admin_getSnapshot tells how far it is.
    """
    del params
    return _result(services, await asyncio.to_thread(_maker(services).create))


@waiting_method(
    "admin_getSnapshot", params=NoParams, result=SnapshotResult, access=Access.OPERATE, errors=(Code.UNAVAILABLE,)
)
async def get_snapshot(services: Services, params: NoParams) -> SnapshotResult:
    """Where the making of a snapshot stands; for operators."""
    del params
    return _result(services, _maker(services).status())


@waiting_method(
    "admin_readSnapshot",
    params=ReadSnapshot,
    result=SnapshotPart,
    access=Access.OPERATE,
    errors=(Code.INVALID_PARAMS, Code.UNAVAILABLE),
)
async def read_snapshot(services: Services, params: ReadSnapshot) -> SnapshotPart:
    """A part of the newest snapshot's file, at most 1 MiB; for operators."""
    maker = _maker(services)
    data = await asyncio.to_thread(maker.read, params.name, params.offset, PART_BYTES_MAX)
    return SnapshotPart(base64_text(data), maker.status().size_bytes, int(tip_of(services).height))


def _result(services: Services, status: SnapshotStatus) -> SnapshotResult:
    return SnapshotResult(**msgspec.structs.asdict(status), as_of=int(tip_of(services).height))


def _maker(services: Services) -> SnapshotMaker:
    if services.snapshots is None:
        raise unavailable("no_snapshots", "this node makes no snapshots", retryable=False)
    return services.snapshots


METHODS = (create_snapshot, get_snapshot, read_snapshot)
