"""ledger_getArchive, admin_archive: bodies of old batches that were moved out of the store, and moving them.

Not here: when a node does so by itself, and how (`chainnode.archive_keeper`, `chainnode.archive`).
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from rpc.errors import Code, unavailable
from rpc.methods.heights import tip_of
from rpc.ports import ArchiveControl, ArchiveStatus, Services
from rpc.registry import method, waiting_method
from rpc.rights import Access
from rpc.types import AsOf, HeightNumber, NoParams, Params, Result


class MoveParams(Params, frozen=True):
    """Move bodies of blocks up to `height`, and older than so many days: of both what is less, of neither the most."""

    height: Annotated[HeightNumber | None, msgspec.Meta(description="The last height whose bodies move.")] = None
    older_than_days: (
        Annotated[int, msgspec.Meta(ge=1, le=36_500, description="How old bodies that move are at least.")] | None
    ) = None


class MoveResult(Result, frozen=True):
    """The height up to which bodies are being moved now; ledger_getArchive tells how far that is."""

    upto: int
    as_of: AsOf


@method("ledger_getArchive", params=NoParams, result=ArchiveStatus, errors=(Code.UNAVAILABLE,), in_thread=True)
def get_archive(services: Services, params: NoParams) -> ArchiveStatus:
    """What was moved to this node's archive, by whom, and where moving stands."""
    del params
    return _archive(services).status()


@waiting_method(
    "admin_archive",
    params=MoveParams,
    result=MoveResult,
    access=Access.OPERATE,
    errors=(Code.INVALID_PARAMS, Code.UNAVAILABLE),
)
async def archive(services: Services, params: MoveParams) -> MoveResult:
    """Begin to move bodies of old batches from this node's store to its archive; for operators."""
    upto = _archive(services).start(params.height, params.older_than_days)
    return MoveResult(upto, int(tip_of(services).height))


def _archive(services: Services) -> ArchiveControl:
    if services.archive is None:
        raise unavailable("no_archive", "this node keeps no archive", retryable=False)
    return services.archive


METHODS = (get_archive, archive)
