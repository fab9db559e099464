"""Plain GET: the log's tiles and bundles as C2SP has them, and every path that is none."""

from __future__ import annotations

import json

import pytest

from ledger import rows
from ledger.log_tiles import TileReader
from primitives.encoding import encode
from primitives.hashing import leaf_hash
from primitives.ids import Height
from primitives.merkle import root_of
from rpc.resources import parse_tile_path


def entries_of(bundle: bytes) -> list[bytes]:
    entries = []
    while bundle:
        size = int.from_bytes(bundle[:2], "big")
        entries.append(bundle[2 : 2 + size])
        bundle = bundle[2 + size :]
    return entries


async def test_tiles_and_bundles_rebuild_the_root_of_the_checkpoint(client, node) -> None:
    for number in range(3):
        node.commit_events(100, first=100 * number)
    node.checkpoint()
    size = node.chain.log_size
    assert 256 < size < 512
    hashes, leaves = b"", []
    for path in ("000", f"001.p/{size - 256}"):
        status, tile, headers = await client.get(f"/tile/0/{path}")
        assert (status, headers["Content-Type"]) == (200, "application/octet-stream")
        assert "immutable" in headers["Cache-Control"]
        hashes += tile
        status, bundle, _ = await client.get(f"/tile/entries/{path}")
        assert status == 200
        leaves += entries_of(bundle)
    assert len(leaves) == size
    assert [leaf_hash(leaf) for leaf in leaves] == [hashes[i : i + 32] for i in range(0, len(hashes), 32)]
    status, top, _ = await client.get("/tile/1/000.p/1")
    assert (status, top) == (200, root_of([leaf_hash(leaf) for leaf in leaves[:256]]))
    status, note, headers = await client.get("/checkpoint")
    assert (status, headers["Content-Type"]) == (200, "text/plain; charset=utf-8")
    answer = await client.call("ledger_getCheckpoint")
    assert note.decode() == answer["note"]
    assert root_of([leaf_hash(leaf) for leaf in leaves]).hex() == answer["root"]


@pytest.mark.parametrize(
    ("path", "parsed"),
    [
        ("0/000", (0, 0, 256)),
        ("7/x001/x234/067", (7, 1_234_067, 256)),
        ("63/255.p/255", (63, 255, 255)),
        ("entries/x001/000.p/1", (None, 1_000, 1)),
    ],
)
def test_the_paths_of_the_specification_are_read(path: str, parsed: tuple[int | None, int, int]) -> None:
    assert parse_tile_path(path) == parsed


BAD_PATHS = [
    "/tile/00/000",
    "/tile/64/000",
    "/tile/-1/000",
    "/tile/0/0",
    "/tile/0/0000",
    "/tile/0/x000/000",
    "/tile/0/001/000",
    "/tile/0/000.p/0",
    "/tile/0/000.p/01",
    "/tile/0/000.p/256",
    "/tile/0/000.p/",
    "/tile/0/000/",
    "/tile/0/000%00",
    "/tile/entries/x",
    "/tile/data/000",
    "/tile/0/x999/x999/x999/x999/x999/999",
    "/tile/0/٠٠٠",
    "/events/abcd.tlog-proof",
    f"/events/{'AB' * 32}.tlog-proof",
    f"/events/{'ab' * 32}",
    f"/events/{'ab' * 32}.tlog-proof.exe",
    "/events/..%2f..%2fetc%2fpasswd",
]


@pytest.mark.parametrize("path", BAD_PATHS)
async def test_a_path_that_is_none_is_refused_by_name(client, path: str) -> None:
    status, body, headers = await client.get(path)
    error = json.loads(body)["error"]
    assert (status, error["code"]) == (400, -32602)
    assert error["data"]["reason"] in ("bad_tile_path", "bad_receipt_path")
    assert error["data"]["expected"] in error["message"]
    assert headers["Content-Type"] == "application/json"
    assert (await client.call("net_status"))["height"] == 0


@pytest.mark.parametrize(
    ("path", "status", "reason"),
    [
        ("/tile/0/000", 404, "not_found"),
        ("/tile/0/000.p/2", 404, "not_found"),
        ("/tile/9/000", 404, "not_found"),
        ("/tile/63/x999/999", 404, "not_found"),
        ("/tile/entries/000", 404, "not_found"),
        ("/tile/entries/x999/x999/x999/x999/999", 404, "not_found"),
        ("/checkpoint", 503, "no_checkpoint"),
        (f"/events/{'ab' * 32}.tlog-proof", 404, "not_found"),
        ("/favicon.ico", 404, "no_such_path"),
        ("/../../etc/passwd", 404, "no_such_path"),
    ],
)
async def test_what_is_not_there_says_so(client, path: str, status: int, reason: str) -> None:
    got, body, _ = await client.get(path)
    assert (got, json.loads(body)["error"]["data"]["reason"]) == (status, reason)


async def test_a_tile_before_the_base_is_said_to_be_pruned(client, node) -> None:
    """C2SP tlog-tiles: a log may refuse a tile that ends at or below its minimum index, and no other."""
    node.commit_events(600)
    height = int(node.chain.height)
    node.store.write([(rows.BASE_KEY, encode(rows.BaseRow(Height(height), Height(1))))], sync=True)
    node.store.write([(rows.tile_key(b"", 0, 0), None)], sync=True)
    node.reader.log = TileReader(node.store)  # as after a restart
    status, body, _ = await client.get("/tile/0/000")
    assert status == 404
    assert json.loads(body)["error"]["data"]["reason"] == "pruned"
    assert (await client.get("/tile/0/001"))[0] == 200
    assert (await client.get("/tile/0/009"))[0] == 404
