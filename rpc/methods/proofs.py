"""ledger_getCheckpoint, ledger_getProof, ledger_getConsistency: what a stranger verifies offline.

Not here: the bytes of receipts (`ledger.receipts`).
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from ledger.base import NotHere
from ledger.views import CheckpointView
from primitives.ids import EventId
from rpc.errors import Code, invalid_params, not_found, unavailable
from rpc.methods.events import EventIdHex
from rpc.methods.heights import tip_of
from rpc.paging import page_of
from rpc.ports import Services
from rpc.proofs import receipt_text
from rpc.registry import method
from rpc.rights import Access
from rpc.types import (
    LIMIT_DEFAULT,
    AskedCursor,
    AskedOrder,
    AsOf,
    EpochNumber,
    Limit,
    LogSize,
    NextCursor,
    Params,
    Result,
    WitnessNames,
)


class GetCheckpoint(Params, frozen=True):
    """Which checkpoint: the newest, or that of exactly a log size."""

    size: Annotated[LogSize | None, msgspec.Meta(description="The log's size under it; unless told the newest.")] = None


class CheckpointResult(Result, frozen=True):
    """A stable checkpoint: a quorum's word on the log's size and root. `note` is what is verified (C2SP)."""

    origin: str
    size: int
    root: str
    note: str
    as_of: AsOf


@method(
    "ledger_getCheckpoint",
    params=GetCheckpoint,
    result=CheckpointResult,
    errors=(Code.NOT_FOUND, Code.UNAVAILABLE),
    access=Access.PUBLIC,
)
def get_checkpoint(services: Services, params: GetCheckpoint) -> CheckpointResult:
    """The newest stable checkpoint, or one of exactly this log size that is still kept."""
    tip = tip_of(services)
    if params.size is None:
        found = services.reads.checkpoint()
        if found is None:
            raise unavailable("no_checkpoint", "no checkpoint is stable yet")
    else:
        found = services.reads.checkpoint_at(params.size)
        if found is None:
            raise not_found(
                "no checkpoint of this size is kept", got=params.size, hint="ask without size for the newest"
            )
    return CheckpointResult(services.reads.origin, found.size, found.root.hex(), found.note, int(tip.height))


class GetCheckpoints(Params, frozen=True):
    """A page of the checkpoints that are kept."""

    limit: Limit = LIMIT_DEFAULT
    cursor: AskedCursor = None
    order: AskedOrder = None


class ListedCheckpoint(Result, frozen=True):
    """A checkpoint in a list, with the height of the block that its last leaf belongs to, None before the base."""

    size: int
    root: str
    note: str
    height: int | None


class CheckpointsResult(Result, frozen=True):
    """Checkpoints by size, the largest first unless `order` says otherwise; `cursor` asks for the next."""

    origin: str
    checkpoints: list[ListedCheckpoint]
    cursor: NextCursor
    as_of: AsOf


@method("ledger_getCheckpoints", params=GetCheckpoints, result=CheckpointsResult, in_thread=True, access=Access.PUBLIC)
def get_checkpoints(services: Services, params: GetCheckpoints) -> CheckpointsResult:
    """The stable checkpoints that this node still keeps, the newest first unless `order` says otherwise."""
    tip = tip_of(services)
    page = page_of(services, "ledger_getCheckpoints", params, tuple[LogSize])
    after = None if page.after is None else page.after[0]
    found = services.reads.checkpoints(after, params.limit, descending=page.descending)
    listed = [ListedCheckpoint(view.size, view.root.hex(), view.note, _height_of(services, view)) for view in found]
    cursor = page.cursor(found[-1].size) if len(found) == params.limit else None
    return CheckpointsResult(services.reads.origin, listed, cursor, int(tip.height))


def _height_of(services: Services, checkpoint: CheckpointView) -> int | None:
    try:
        height = services.reads.height_at_log_index(checkpoint.size - 1)
    except NotHere:
        return None
    return None if height is None else int(height)


class GetProof(Params, frozen=True):
    """An event; `from_epoch` is the epoch of the policy under which its receipt will be verified, or an earlier one.

    `witnesses` are names of outside witnesses' keys: the checkpoint must bear the cosignature of each.
    """

    event_id: EventIdHex
    from_epoch: EpochNumber = 0
    witnesses: WitnessNames = ()


class ProofResult(Result, frozen=True):
    """An event's receipt: the text of a `.tlog-proof`, for `chainnode verify`."""

    event_id: str
    receipt: str
    as_of: AsOf


@method(
    "ledger_getProof",
    params=GetProof,
    result=ProofResult,
    errors=(Code.NOT_FOUND, Code.UNAVAILABLE),
    in_thread=True,
)
def get_proof(services: Services, params: GetProof) -> ProofResult:
    """An event's receipt, which anybody can verify offline under the consortium's policy."""
    tip = tip_of(services)
    receipt = receipt_text(services, EventId(bytes.fromhex(params.event_id)), params.from_epoch, params.witnesses)
    return ProofResult(params.event_id, receipt, int(tip.height))


class GetConsistency(Params, frozen=True):
    """Two sizes of the log; the newer one defaults to the newest checkpoint's."""

    old_size: Annotated[LogSize, msgspec.Meta(description="The size of the older log.")]
    new_size: Annotated[
        LogSize | None, msgspec.Meta(description="The size of the newer; unless told the newest checkpoint's.")
    ] = None


class ConsistencyResult(Result, frozen=True):
    """The RFC 6962 proof that the newer log extends the older."""

    old_size: int
    old_root: str
    new_size: int
    new_root: str
    path: list[str]
    as_of: AsOf


@method("ledger_getConsistency", params=GetConsistency, result=ConsistencyResult, in_thread=True, access=Access.PUBLIC)
def get_consistency(services: Services, params: GetConsistency) -> ConsistencyResult:
    """The proof that nothing of the log at `old_size` was changed or removed up to `new_size`."""
    tip = tip_of(services)
    new_size = params.new_size
    if new_size is None:
        checkpoint = services.reads.checkpoint()
        new_size = tip.log_size if checkpoint is None else checkpoint.size
    if not params.old_size <= new_size <= tip.log_size:
        raise invalid_params(
            "sizes of a consistency proof",
            where="$.old_size" if params.old_size > new_size else "$.new_size",
            expected=f"old_size <= new_size <= {tip.log_size}",
            got=f"{params.old_size} and {new_size}",
        )
    proof = services.reads.consistency(params.old_size, new_size)
    return ConsistencyResult(
        proof.old_size,
        proof.old_root.hex(),
        proof.new_size,
        proof.new_root.hex(),
        [item.hex() for item in proof.path],
        int(tip.height),
    )


METHODS = (get_checkpoint, get_checkpoints, get_proof, get_consistency)
