"""What plain GET serves: checkpoint, tiles and entry bundles of the log, receipts, policy and OpenRPC document.

Here: paths, content types, caching and compression. Not here: who may ask (`rpc.server` lets nobody in without its
checks). Sources: C2SP tlog-tiles (paths of tiles and entry bundles, caching, gzip), tlog-checkpoint, tlog-proof,
tlog-policy.

A tile's index N is written in groups of three digits, all but the last with an `x` (1234067 is x001/x234/067); `.p/W`
names a partial tile of W hashes. There is one way to write each, so that caches hold one copy.
"""

from __future__ import annotations

import asyncio
import re
import zlib

import msgspec
from aiohttp import web

from ledger.witnessed import WITNESSES_MAX, checkpoint_for_proof
from primitives.ids import EventId
from rpc.errors import Code, RpcError, not_found, shown, unavailable
from rpc.methods.catalogue import document
from rpc.ports import LedgerReads, Services
from rpc.proofs import block_parts, checkpoint_pending, handover_bytes, policy_text, receipt_text

TEXT_TYPE = "text/plain"
BYTES_TYPE = "application/octet-stream"
IMMUTABLE = "max-age=31536000, immutable"
CHANGING = "no-cache"
TILE_LEVEL_MAX = 63
TILE_WIDTH = 256
GZIP_LEVEL = 1
"""The fastest: salts and hashes do not shrink, and what is left of an entry does at any level."""
SERVICES: web.AppKey[Services] = web.AppKey("services", Services)

_TILE = re.compile(
    r"(?P<level>0|[1-9][0-9]?|entries)/(?P<index>(?:x[0-9]{3}/)*[0-9]{3})(?:\.p/(?P<width>[1-9][0-9]{0,2}))?"
)
_INDEX_GROUPS_MAX = 5
_EPOCH = re.compile(r"0|[1-9][0-9]{0,8}")
_HEIGHT = re.compile(r"0|[1-9][0-9]{0,17}")
_GZIP_WBITS = 31
_ACCEPT_CHARACTERS_MAX = 1_024
_NO_QUALITY = re.compile(r"0(\.0*)?")
_EVENT_ID = re.compile(r"[0-9a-f]{64}")


def add_resources(app: web.Application, services: Services) -> None:
    """Add the paths that plain GET serves."""
    app[SERVICES] = services
    app.router.add_get("/checkpoint", _checkpoint)
    app.router.add_get("/tile/{path:.+}", _tile)
    app.router.add_get("/events/{name}", _receipt)
    app.router.add_get("/policy", _policy)
    app.router.add_get("/handovers/{epoch}", _handover)
    app.router.add_get("/blocks/{height}/parts", _parts)
    app.router.add_get("/openrpc.json", _document)


def _text(text: str, *, caching: str) -> web.Response:
    return web.Response(text=text, content_type=TEXT_TYPE, charset="utf-8", headers={"Cache-Control": caching})


async def _checkpoint(request: web.Request) -> web.Response:
    """Serve the newest stable checkpoint: a note signed by this node's log key and cosigned by a quorum."""
    reads, witnesses = request.app[SERVICES].reads, _witnesses(request)
    checkpoint = checkpoint_for_proof(reads, 0, witnesses) if witnesses else reads.checkpoint()
    if checkpoint is None and witnesses:
        raise checkpoint_pending("log", witnesses)
    if checkpoint is None:
        raise unavailable(
            "no_checkpoint",
            "no checkpoint is stable yet",
            hint="the first covers the genesis block, shortly after a quorum of validators is there",
        )
    return _text(checkpoint.note, caching=CHANGING)


async def _tile(request: web.Request) -> web.Response:
    """Serve a tile of hashes or an entry bundle."""
    level, index, width = parse_tile_path(request.match_info["path"])
    reads = request.app[SERVICES].reads
    headers = {"Cache-Control": IMMUTABLE}
    if level is None:
        zipped = accepts_gzip(request.headers.getall("Accept-Encoding", []))
        data = await asyncio.to_thread(_bundle, reads, index, width, zipped)
        headers |= {"Vary": "Accept-Encoding", **({"Content-Encoding": "gzip"} if zipped else {})}
    else:
        data = reads.tile(level, index, width)
    if data is None:
        raise not_found("the log has no such tile yet", got=request.path, hint="a checkpoint says how large the log is")
    return web.Response(body=data, content_type=BYTES_TYPE, headers=headers)


def _bundle(reads: LedgerReads, index: int, width: int, zipped: bool) -> bytes | None:
    data = reads.entry_bundle(index, width)
    if data is None or not zipped:
        return data
    packer = zlib.compressobj(GZIP_LEVEL, wbits=_GZIP_WBITS)
    return packer.compress(data) + packer.flush()


def accepts_gzip(headers: list[str]) -> bool:
    """Say whether a client's Accept-Encoding headers name gzip and do not refuse it."""
    for item in ",".join(headers)[:_ACCEPT_CHARACTERS_MAX].split(","):
        coding, _, quality = item.replace(" ", "").lower().partition(";q=")
        if coding == "gzip":
            return _NO_QUALITY.fullmatch(quality) is None
    return False


def parse_tile_path(path: str) -> tuple[int | None, int, int]:
    """Return (level, None for entries; index; width) of what follows `/tile/`; -32602 where it is not canonical."""
    match = _TILE.fullmatch(path)
    groups = match["index"].split("/") if match else []
    width = int(match["width"] or TILE_WIDTH) if match else 0
    partial_whole = match is not None and match["width"] is not None and width >= TILE_WIDTH
    if match is None or partial_whole or len(groups) > _INDEX_GROUPS_MAX or (len(groups) > 1 and groups[0] == "x000"):
        raise RpcError(
            Code.INVALID_PARAMS,
            "bad_tile_path",
            "not the path of a tile",
            expected="/tile/LEVEL/N or /tile/entries/N, N as x001/x234/067, then .p/WIDTH for a partial one",
            got=shown(path),
        )
    level = None if match["level"] == "entries" else int(match["level"])
    if level is not None and level > TILE_LEVEL_MAX:
        raise RpcError(
            Code.INVALID_PARAMS,
            "bad_tile_path",
            "a tile's level is out of range",
            expected=f"0 to {TILE_LEVEL_MAX}",
            got=level,
        )
    return level, int("".join(group.removeprefix("x") for group in groups)), width


async def _receipt(request: web.Request) -> web.Response:
    """Serve an event's receipt as a `.tlog-proof`."""
    name, _, suffix = request.match_info["name"].partition(".")
    if suffix != "tlog-proof" or _EVENT_ID.fullmatch(name) is None:
        raise RpcError(
            Code.INVALID_PARAMS,
            "bad_receipt_path",
            "not the path of a receipt",
            expected="/events/EVENT_ID.tlog-proof with 64 lower-case hex digits",
            got=shown(request.path),
        )
    from_epoch = _from_epoch(request)
    witnesses = _witnesses(request)
    event_id = EventId(bytes.fromhex(name))
    text = await asyncio.to_thread(receipt_text, request.app[SERVICES], event_id, from_epoch, witnesses)
    response = _text(text, caching=CHANGING)
    response.headers["Content-Disposition"] = f'attachment; filename="{name}.tlog-proof"'
    return response


def _witnesses(request: web.Request) -> list[str]:
    """Return the names of the outside witnesses that are to have cosigned; more than can be are refused."""
    names: list[str] = request.query.getall("witness", [])
    if len(names) > WITNESSES_MAX:
        raise RpcError(
            Code.INVALID_PARAMS,
            "too_many_witnesses",
            "more witnesses than a checkpoint bears",
            expected=f"at most {WITNESSES_MAX}",
            got=len(names),
        )
    return names


def _from_epoch(request: web.Request) -> int:
    return _epoch(request.query.get("from_epoch", "0"), "?from_epoch=NUMBER")


def _epoch(text: str, expected: str) -> int:
    if _EPOCH.fullmatch(text) is None:
        raise RpcError(
            Code.INVALID_PARAMS,
            "bad_epoch",
            "not the number of an epoch",
            expected=expected,
            got=shown(text),
        )
    return int(text)


async def _policy(request: web.Request) -> web.Response:
    """Serve the policy under which receipts of this chain are verified; take it from here only to compare."""
    return _text(policy_text(request.app[SERVICES]), caching=CHANGING)


async def _handover(request: web.Request) -> web.Response:
    """Serve the handover that ends an epoch: what later epochs' checkpoints are verified by, under an older policy."""
    epoch = _epoch(request.match_info["epoch"], "/handovers/EPOCH")
    data = await asyncio.to_thread(handover_bytes, request.app[SERVICES], epoch)
    if data is None:
        raise not_found("this epoch is not over", got=epoch)
    return web.Response(body=data, content_type=BYTES_TYPE, headers={"Cache-Control": IMMUTABLE})


async def _parts(request: web.Request) -> web.Response:
    """Serve the headers of a block's batches and the outcomes of what was not applied: the log holds neither."""
    text = request.match_info["height"]
    if _HEIGHT.fullmatch(text) is None:
        raise RpcError(
            Code.INVALID_PARAMS,
            "bad_height",
            "not a block's height",
            expected="/blocks/HEIGHT/parts",
            got=shown(text),
        )
    data = await asyncio.to_thread(block_parts, request.app[SERVICES], int(text))
    if data is None:
        raise not_found("no such block", got=text)
    return web.Response(body=data, content_type=BYTES_TYPE, headers={"Cache-Control": IMMUTABLE})


async def _document(request: web.Request) -> web.Response:
    """Serve the OpenRPC document."""
    body = msgspec.json.encode(document(request.app[SERVICES].node.version().version))
    return web.Response(body=body, content_type="application/json", headers={"Cache-Control": CHANGING})
