"""Making and reading snapshots by RPC: with the token alone, one at a time, and never a file of the caller's choice."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest

from primitives.errors import UsageError
from rpc.errors import Code
from rpc.methods.snapshots import PART_BYTES_MAX
from rpc.ports import Services, SnapshotStatus

NAME = "height-7.chainsnap"


class Maker:
    """A maker whose snapshot is ready at the second look."""

    def __init__(self) -> None:
        self.data = bytes(range(256)) * 5_000
        self.made = 0

    def create(self) -> SnapshotStatus:
        self.made += 1
        return SnapshotStatus("making", 7, 3, NAME, 0, "", "")

    def status(self) -> SnapshotStatus:
        return SnapshotStatus("ready", 7, 100, NAME, len(self.data), "ab" * 32, "")

    def read(self, name: str, offset: int, size: int) -> bytes:
        if name != NAME:
            raise UsageError("no such snapshot here", expected=NAME, got=name)
        return self.data[offset : offset + size]


@pytest.fixture
def services(services: Services, node) -> Services:
    node.commit_events(1)
    return replace(services, snapshots=Maker())


async def test_a_snapshot_is_made_and_read_in_parts(client, token: str, services: Services) -> None:
    assert isinstance(services.snapshots, Maker)
    begun = await client.call("admin_createSnapshot", token=token)
    assert (begun["state"], begun["height"], begun["as_of"]) == ("making", 7, 1)
    ready = await client.call("admin_getSnapshot", token=token)
    data = b""
    while len(data) < ready["size_bytes"]:
        part = await client.call("admin_readSnapshot", {"name": ready["name"], "offset": len(data)}, token=token)
        piece = base64.b64decode(part["data"])
        assert 0 < len(piece) <= PART_BYTES_MAX
        data += piece
    assert data == services.snapshots.data
    end = await client.call("admin_readSnapshot", {"name": NAME, "offset": len(data)}, token=token)
    assert end["data"] == ""


@pytest.mark.parametrize("method", ["admin_createSnapshot", "admin_getSnapshot", "admin_readSnapshot"])
async def test_without_the_token_nothing_is_made_or_read(method: str, client, services: Services) -> None:
    assert isinstance(services.snapshots, Maker)
    error = await client.error(method, {"name": NAME} if method == "admin_readSnapshot" else None)
    assert (error["code"], error["data"]["reason"]) == (Code.NOT_PERMITTED, "token_required")
    assert services.snapshots.made == 0


async def test_another_name_is_refused(client, token: str) -> None:
    for params in ({"name": "../keys/vote.key"}, {"name": ""}, {"name": NAME, "offset": -1}, {"name": "x" * 200}):
        error = await client.error("admin_readSnapshot", params, token=token)
        assert error["code"] == Code.INVALID_PARAMS
