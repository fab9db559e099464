"""Pages of blocks: the list, and one block with its header, its certificate and its events."""

from __future__ import annotations

import re
from typing import Any

from rpc.errors import invalid_params
from rpc.explorer.asking import ROWS_A_PAGE, Asked, Page, ask, path_to
from rpc.explorer.events import row_of
from rpc.explorer.people import Signers
from rpc.explorer.proofs import block_steps
from rpc.methods.blocks import BlockResult, get_block, get_blocks
from rpc.methods.events import get_block_events

_HASH = re.compile(r"[0-9a-f]{64}")
_HEIGHT = re.compile(r"0|[1-9][0-9]{0,14}")

Row = dict[str, Any]  # Any: what a template shows


def height_of(text: str) -> int | str | None:
    """Return a height as the API takes it; None where the text is none."""
    if text in ("latest", "earliest"):
        return text
    return int(text) if _HEIGHT.fullmatch(text) else None


def blocks(asked: Asked) -> Page:
    """The newest blocks, or those from a height on."""
    start, text = None, asked.word("start")
    if text is not None:
        start = height_of(text.replace(",", ""))
        if start is None:
            raise invalid_params("not a height", where="start", expected="a number", got=text)
    cursor = asked.word("cursor")
    found = ask(
        get_blocks,
        asked.services,
        start=None if cursor else start,
        limit=ROWS_A_PAGE,
        order=asked.word("order"),
        cursor=cursor,
    )
    signers = Signers(asked.services)
    values = {
        "blocks": [block_row(block, signers) for block in found.blocks],
        "more": path_to("blocks", cursor=found.cursor) if found.cursor else None,
        "first": path_to("blocks") if cursor or start is not None else None,
        "start": "" if text is None else text,
    }
    return Page("blocks.html", "blocks.title", values, as_of=found.as_of)


def block_row(block: BlockResult, signers: Signers) -> Row:
    """Return what a list shows of a block."""
    header, certificate = block.header, block.certificate
    return {
        "height": header.height,
        "hash": block.hash,
        "time": header.time,
        "events": header.event_count,
        "rejected": block.rejected_count,
        "batches": len(block.batch_hashes),
        "proposer": signers.name(header.epoch, header.proposer) if certificate else None,
        "view": certificate.view if certificate else None,
        "signatures": len(certificate.signatures) if certificate else 0,
    }


def block(asked: Asked) -> Page:
    """One block, by its height or its hash."""
    name = asked.parts["name"].lower()
    height = height_of(name)
    if height is None and not _HASH.fullmatch(name):
        raise invalid_params("not a block", where="path", expected="a height, or 64 hex digits", got=name)
    if height is None:
        found = ask(get_block, asked.services, hash=name)
    else:
        found = ask(get_block, asked.services, height=height)
    header = found.header
    events = ask(get_block_events, asked.services, height=header.height, limit=ROWS_A_PAGE, cursor=asked.word("cursor"))
    signers = Signers(asked.services)
    values = {
        "block": found,
        "header": header,
        "proposer": signers.name(header.epoch, header.proposer) if found.certificate else None,
        "signers": _signers(found, signers),
        "quorum": _quorum(header.epoch, signers),
        "events": [row_of(event) for event in events.events],
        "first": path_to("block", header.height) if asked.word("cursor") else None,
        "more": path_to("block", header.height, cursor=events.cursor) if events.cursor else None,
        "newest": found.as_of,
        "steps": block_steps(found),
        "command": f"chainnode block {header.height} -o json",
    }
    return Page("block.html", "block.title", values, {"height": f"{header.height:,}"}, as_of=found.as_of)


def _signers(block: BlockResult, signers: Signers) -> list[Row]:
    if block.certificate is None:
        return []
    epoch = block.certificate.epoch
    return [
        {
            "index": item.validator,
            "name": signers.name(epoch, item.validator),
            "member": signers.member(epoch, item.validator),
            "signature": item.signature,
        }
        for item in block.certificate.signatures
    ]


def _quorum(epoch: int, signers: Signers) -> tuple[int, int] | None:
    """Return the votes that decide in an epoch, and of how many."""
    found = signers.set_of(epoch)
    return None if found is None else (found.quorum, found.n)
