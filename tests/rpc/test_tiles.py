"""The log by plain GET, held against C2SP tlog-tiles: what a strange client may rely on."""

from __future__ import annotations

import gzip
import json

import pytest

from ledger.block_parts import BlockParts, verify_parts
from ledger.members import VALIDATORS_KEY
from ledger.tile_paths import Tile, check_bundle, edge_width, full_tiles, levels_of
from primitives.encoding import decode
from primitives.merkle import root_of
from primitives.notes import parse_checkpoint, parse_note
from rpc.resources import accepts_gzip
from tests.rpc.conftest import MemoryNode

IDENTITY = {"Accept-Encoding": "identity"}


def tiles_of(size: int) -> list[Tile]:
    """Return every tile of a log, as the specification counts them."""
    tiles = []
    for level in range(levels_of(size)):
        tiles += [Tile(level, index) for index in range(full_tiles(size, level))]
        if width := edge_width(size, level):
            tiles.append(Tile(level, full_tiles(size, level), width))
    return tiles


def test_the_tiles_of_a_size_are_those_of_the_specification() -> None:
    tiles = tiles_of(70_000)  # the example of the specification
    assert [sum(tile.level == level and tile.width == 256 for tile in tiles) for level in range(3)] == [273, 1, 0]
    assert [tile.width for tile in tiles if tile.width < 256] == [112, 17, 1]
    assert tiles_of(256) == [Tile(0, 0), Tile(1, 0, 1)]
    assert tiles_of(0) == []
    assert Tile(0, 1_234_067).path == "tile/0/x001/x234/067"
    assert Tile(3, 999, 7).path == "tile/3/999.p/7"
    assert Tile(None, 1_000).path == "tile/entries/x001/000"


async def test_every_tile_of_every_checkpoint_is_served_also_when_the_log_has_grown(client, node: MemoryNode) -> None:
    sizes = []
    for count in (3, 100, 149, 1, 300, 80):
        node.commit_events(count, first=node.chain.log_size)
        node.checkpoint()
        sizes.append(node.chain.log_size)
    assert 256 in sizes
    for size in sizes:
        edge: list[bytes] = []
        for tile in tiles_of(size):
            status, data, headers = await client.get(f"/{tile.path}", IDENTITY)
            assert (status, len(data)) == (200, tile.width * 32)
            assert headers["Content-Type"] == "application/octet-stream"
            assert headers["Cache-Control"] == "max-age=31536000, immutable"
            if tile.width < 256:
                edge.append(data)
        carry: list[bytes] = []
        for data in edge:
            carry = [root_of([*(data[start : start + 32] for start in range(0, len(data), 32)), *carry])]
        assert carry[0] == node.reader.log_root(size)
        for tile in (Tile(None, index) for index in range(size // 256)):
            bundle = (await client.get(f"/{tile.path}", IDENTITY))[1]
            check_bundle(bundle, (await client.get(f"/tile/0/{tile.path.rpartition('/')[2]}"))[1])


async def test_the_checkpoint_is_text_is_not_kept_and_has_no_extension_lines(client, node: MemoryNode) -> None:
    node.commit_events(3)
    node.checkpoint()
    status, data, headers = await client.get("/checkpoint")
    assert status == 200
    assert headers["Content-Type"] == "text/plain; charset=utf-8"
    assert headers["Cache-Control"] == "no-cache"
    note = parse_note(data.decode())
    assert parse_checkpoint(note.text).size == node.chain.log_size
    assert note.text.count("\n") == 3
    assert note.signatures[0].name == node.genesis.origin, "the log's own signature comes first"


@pytest.mark.parametrize(
    "path", ["tile/0/000.p/200", "tile/1/000", "tile/entries/000", "tile/entries/001.p/1", "handovers/0"]
)
async def test_what_is_not_there_yet_may_be_kept_by_no_cache(client, node: MemoryNode, path: str) -> None:
    node.commit_events(3)
    node.checkpoint()
    status, _, headers = await client.get(f"/{path}")
    assert status == 404
    assert headers["Cache-Control"] == "no-store"


async def test_empty_tiles_are_not_served(client, node: MemoryNode) -> None:
    node.commit_events(255)
    node.checkpoint()
    size = node.chain.log_size
    assert size > 256
    for path in ("tile/2/000.p/1", "tile/0/002.p/1", "tile/1/000.p/2"):
        assert (await client.get(f"/{path}"))[0] == 404


async def test_entries_are_packed_for_who_takes_gzip_and_for_nobody_else(server, client, node: MemoryNode) -> None:
    node.commit_events(100)
    node.checkpoint()
    path = f"{server.address}/tile/entries/000.p/101"
    async with client.session.get(path, headers=IDENTITY) as response:
        plain = await response.read()
        assert "Content-Encoding" not in response.headers
        assert response.headers["Vary"] == "Accept-Encoding"
    async with client.session.get(path, headers={"Accept-Encoding": "gzip"}, auto_decompress=False) as response:
        packed = await response.read()
        assert response.headers["Content-Encoding"] == "gzip"
        assert response.headers["Content-Length"] == str(len(packed))
        assert response.headers["Cache-Control"] == "max-age=31536000, immutable"
    assert gzip.decompress(packed) == plain
    assert len(packed) < len(plain)
    async with client.session.get(
        f"{server.address}/tile/0/000.p/101", headers={"Accept-Encoding": "gzip"}
    ) as response:
        assert "Content-Encoding" not in response.headers, "hashes do not shrink"


@pytest.mark.parametrize(
    ("headers", "taken"),
    [
        ([], False),
        (["identity"], False),
        (["gzip"], True),
        (["GZIP"], True),
        (["identity, gzip;q=0.5"], True),
        (["br", "gzip"], True),
        (["gzip;q=0"], False),
        (["gzip; q=0.000"], False),
        (["gzip;q=1.0, identity; q=0.5"], True),
        (["xgzip"], False),
        (["*"], False),
        ([""], False),
        (["," * 10_000 + "gzip"], False),
    ],
)
def test_what_a_client_accepts_is_read(headers: list[str], taken: bool) -> None:
    assert accepts_gzip(headers) is taken


@pytest.mark.parametrize(
    "path", ["handovers/-1", "handovers/00", "handovers/x", "handovers/1e3", "handovers/9999999999"]
)
async def test_a_handover_is_named_by_its_epoch(client, path: str) -> None:
    status, body, _ = await client.get(f"/{path}")
    assert status == 400
    assert json.loads(body)["error"]["data"]["reason"] == "bad_epoch"


async def test_what_the_log_does_not_say_of_a_block_is_served_and_fits_its_header(client, node: MemoryNode) -> None:
    ids = node.commit_events(3)
    header = node.reader.header(1)
    assert header is not None
    status, body, headers = await client.get("/blocks/1/parts")
    assert (status, "immutable" in headers["Cache-Control"]) == (200, True)
    verify_parts(decode(BlockParts, body, size_max=len(body)), header, ids)
    status, _, headers = await client.get("/blocks/2/parts")
    assert (status, headers["Cache-Control"]) == (404, "no-store")


@pytest.mark.parametrize("height", ["-1", "00", "x", "1e3", "9" * 19])
async def test_a_blocks_parts_are_named_by_its_height(client, height: str) -> None:
    status, body, _ = await client.get(f"/blocks/{height}/parts")
    assert status == 400
    assert json.loads(body)["error"]["data"]["reason"] == "bad_height"


async def test_the_present_epoch_has_no_handover_yet(client, node: MemoryNode) -> None:
    assert node.reader.state_value(VALIDATORS_KEY) is not None
    status, body, _ = await client.get("/handovers/0")
    assert status == 404
    assert "not over" in json.loads(body)["error"]["message"]
