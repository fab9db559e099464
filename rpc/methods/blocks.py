"""ledger_getBlock, ledger_getBlocks: blocks with their commit certificates."""

from __future__ import annotations

from typing import Annotated

import msgspec

from ledger.views import BlockView, Tip
from primitives.votes import QuorumCertificate
from rpc.errors import Code, invalid_params, not_found
from rpc.methods.heights import height_of, tip_of
from rpc.paging import page_of
from rpc.ports import Services
from rpc.registry import method
from rpc.types import (
    LIMIT_DEFAULT,
    AskedCursor,
    AskedOrder,
    AsOf,
    HashHex,
    HeightParam,
    Limit,
    NextCursor,
    Offset,
    Params,
    Result,
    Time,
    base64_text,
    time_text,
)


class GetBlock(Params, frozen=True):
    """Which block: by height, or by hash."""

    height: Annotated[HeightParam, msgspec.Meta(description="The block's height.")] = "latest"
    hash: Annotated[HashHex | None, msgspec.Meta(description="The block's hash, instead of its height.")] = None


class HeaderResult(Result, frozen=True):
    """A block's header; hashes in hex. `proposer` is an index in the epoch's validator set."""

    suite: int
    version: int
    chain_id: str
    height: int
    epoch: int
    parent: str
    time: Time
    proposer: int
    batches_root: str
    first_index: int
    event_count: int
    outcomes_root: str
    log_root: str
    state_root: str
    batch_logs_root: str
    next_validators: str


class SignatureResult(Result, frozen=True):
    """One vote: the validator's index in the epoch's set, and its signature in hex."""

    validator: int
    signature: str


class CertificateResult(Result, frozen=True):
    """The commit certificate: a quorum's votes for exactly this block."""

    epoch: int
    view: int
    height: int
    block_hash: str
    signatures: list[SignatureResult]


class BlockResult(Result, frozen=True):
    """A committed block. `header_leaf` is the header's leaf in the log (base64), at `log_index`; only height 0 has no
    certificate."""

    hash: str
    header: HeaderResult
    header_leaf: str
    certificate: CertificateResult | None
    batch_hashes: list[str]
    rejected_count: int
    log_index: int
    as_of: AsOf


@method("ledger_getBlock", params=GetBlock, result=BlockResult, errors=(Code.NOT_FOUND,))
def get_block(services: Services, params: GetBlock) -> BlockResult:
    """A block with its commit certificate, by height (default the newest) or by hash."""
    tip = tip_of(services)
    if params.hash is not None:
        if params.height != "latest":
            raise invalid_params("a block has one name", where="$", expected="height or hash", got="both")
        block = services.reads.block_by_hash(bytes.fromhex(params.hash))
    else:
        block = services.reads.block(height_of(params.height, tip))
    if block is None:
        raise not_found("no such block", got=params.hash or params.height)
    return block_result(block, tip)


def block_result(block: BlockView, tip: Tip) -> BlockResult:
    """Return a block as JSON has it."""
    header = block.header
    described = HeaderResult(
        suite=header.suite,
        version=header.version,
        chain_id=header.chain_id.hex(),
        height=header.height,
        epoch=header.epoch,
        parent=header.parent.hex(),
        time=time_text(header.time_ms),
        proposer=header.proposer,
        batches_root=header.batches_root.hex(),
        first_index=header.first_index,
        event_count=header.event_count,
        outcomes_root=header.outcomes_root.hex(),
        log_root=header.log_root.hex(),
        state_root=header.state_root.hex(),
        batch_logs_root=header.batch_logs_root.hex(),
        next_validators=header.next_validators.hex(),
    )
    return BlockResult(
        hash=block.hash.hex(),
        header=described,
        header_leaf=base64_text(header.leaf()),
        certificate=None if block.certificate is None else certificate_result(block.certificate),
        batch_hashes=[item.hex() for item in block.batch_hashes],
        rejected_count=block.rejected_count,
        log_index=block.log_index,
        as_of=int(tip.height),
    )


def certificate_result(certificate: QuorumCertificate) -> CertificateResult:
    """Return a commit certificate as JSON has it."""
    return CertificateResult(
        certificate.epoch,
        certificate.view,
        certificate.height,
        certificate.block_hash.hex(),
        [SignatureResult(index, signature.hex()) for index, signature in certificate.signatures],
    )


class GetBlocks(Params, frozen=True):
    """A range of blocks, from a height on, downwards unless `order` says otherwise."""

    start: Annotated[
        HeightParam | None,
        msgspec.Meta(description="The first block; unless told the newest, or upwards the earliest."),
    ] = None
    limit: Limit = LIMIT_DEFAULT
    order: AskedOrder = None
    cursor: AskedCursor = None


class BlocksResult(Result, frozen=True):
    """Blocks in order; `cursor` asks for those after them, None where there are none at present."""

    blocks: list[BlockResult]
    cursor: NextCursor
    as_of: AsOf


@method("ledger_getBlocks", params=GetBlocks, result=BlocksResult, errors=(Code.NOT_FOUND,), in_thread=True)
def get_blocks(services: Services, params: GetBlocks) -> BlocksResult:
    """Blocks from a height on: the newest first, or with order `asc` from the earliest."""
    tip = tip_of(services)
    if params.cursor is not None and params.start is not None:
        raise invalid_params("a page has one start", where="$.start", expected="start or cursor", got="both")
    page = page_of(services, "ledger_getBlocks", params, tuple[Offset])
    descending = page.descending
    first: HeightParam = "latest" if descending else "earliest"
    start = height_of(params.start if params.start is not None else first, tip, "$.start")
    if page.after is not None:
        start = page.after[0]
    blocks = [block_result(block, tip) for block in services.reads.blocks(start, params.limit, descending=descending)]
    after = start - len(blocks) if descending else start + len(blocks)
    more = 0 <= after <= tip.height and bool(blocks)
    cursor = page.cursor(after) if more else None
    return BlocksResult(blocks, cursor, int(tip.height))


METHODS = (get_block, get_blocks)
