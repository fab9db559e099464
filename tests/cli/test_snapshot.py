"""`chainnode snapshot`: what it prints, and by which status it ends."""

from __future__ import annotations

import base64
import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from chainnode.cli import snapshot as module
from chainnode.cli.context import Settings
from chainnode.cli.exits import Exit
from chainnode.cli.main import run
from chainnode.snapshot_file import SnapshotFile
from tests.chainnode.snapshot_fixtures import BLOCKS, World, world_in

PART = 700


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return world_in(tmp_path_factory.mktemp("snapshots"))


@pytest.fixture
def genesis(world: World) -> str:
    return str(world.homes[0].genesis)


class Node:
    """A node that makes a snapshot in two looks and gives it out in parts; `change` alters the bytes."""

    def __init__(self, file: Path) -> None:
        self.data = file.read_bytes()
        with SnapshotFile(file) as found:
            self.id = found.id.hex()
        self.looks = 0
        self.failure = ""
        self.called: list[str] = []

    def call(self, name: str, /, **params: Any) -> dict[str, Any]:
        self.called.append(name)
        if name == "admin_readSnapshot":
            assert params["name"] == "height-5.chainsnap"
            return {"data": base64.b64encode(self.data[params["offset"] : params["offset"] + PART]).decode()}
        self.looks += 1
        state = "making" if self.looks < 3 else "failed" if self.failure else "ready"
        size, name_ = len(self.data), "height-5.chainsnap"
        return {
            "state": state,
            "percent": 40,
            "name": name_,
            "size_bytes": size,
            "id": self.id,
            "message": self.failure,
        }


@pytest.fixture
def node(world: World, monkeypatch: pytest.MonkeyPatch) -> Node:
    made = Node(world.file)
    monkeypatch.setattr(Settings, "client", lambda _, **__: made)
    monkeypatch.setattr(module, "POLL_S", 0.001)
    return made


def test_a_snapshot_is_fetched_whole_and_described(
    world: World, node: Node, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "a.chainsnap"
    assert run(["-o", "json", "snapshot", "create", str(target)]) == Exit.OK
    out = json.loads(capsys.readouterr().out)
    assert (out["height"], out["id"], out["size_bytes"]) == (BLOCKS, node.id, len(node.data))
    assert target.read_bytes() == world.file.read_bytes()
    assert target.stat().st_mode & 0o777 == 0o600
    assert node.called[:3] == ["admin_createSnapshot", "admin_getSnapshot", "admin_getSnapshot"]
    assert run(["snapshot", "create", str(target)]) == Exit.USAGE
    assert "--replace" in capsys.readouterr().err
    assert run(["snapshot", "create", str(target), "--replace"]) == Exit.OK


def test_what_a_node_does_not_make_or_gives_out_damaged_leaves_no_file(
    node: Node, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "a.chainsnap"
    node.failure = "no room on the disk"
    assert run(["snapshot", "create", str(target)]) == Exit.UNHEALTHY
    assert "no room on the disk" in capsys.readouterr().err
    node.failure, node.looks = "", 0
    whole = node.data
    for place, complaint in ((20, "manifest is another"), (len(whole) - 9, "chunk is another")):
        node.data = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
        assert run(["snapshot", "create", str(target)]) == Exit.VERIFICATION_FAILED
        assert complaint in capsys.readouterr().err
    node.data, node.id = whole, "00" * 32
    assert run(["snapshot", "create", str(target)]) == Exit.VERIFICATION_FAILED
    assert "another than the node made" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_is_named_before_the_node_works(
    node: Node, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for target in (tmp_path, tmp_path / "none" / "a.chainsnap"):
        assert run(["snapshot", "create", "--replace", str(target)]) == Exit.USAGE
        assert f"{target}: not a file's name" in capsys.readouterr().err
    assert node.called == []


def test_a_disk_that_refuses_is_told_with_the_name_that_was_asked_for(
    node: Node, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_fd: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    target = tmp_path / "a.chainsnap"
    assert run(["snapshot", "create", str(target)]) == Exit.ERROR
    assert capsys.readouterr().err == f"error: {target}: file cannot be written: got No space left on device\n"
    assert list(tmp_path.iterdir()) == []


def test_verifying_needs_the_genesis_alone_and_ends_with_status_3_for_what_does_not_hold(
    world: World, genesis: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["-o", "json", "snapshot", "verify", str(world.file), "--genesis", genesis]) == Exit.OK
    out = json.loads(capsys.readouterr().out)
    assert out["verified"]
    assert out["cosigned_by"] == ["bank-a", "bank-b", "bank-c"]
    bad = tmp_path / "bad"
    data = world.file.read_bytes()
    bad.write_bytes(data[:-5] + bytes([data[-5] ^ 1]) + data[-4:])
    for command in (["verify", str(bad), "--genesis", genesis], ["verify", genesis, "--genesis", genesis]):
        assert run(["snapshot", *command]) == Exit.VERIFICATION_FAILED
        err = capsys.readouterr().err
        assert len(err.strip().splitlines()) == 1
        assert err.startswith(f"error: {command[1]}: ")
    assert run(["snapshot", "show", str(bad)]) == Exit.OK, "its manifest is whole"
    assert run(["snapshot", "verify", str(tmp_path / "nothing"), "--genesis", genesis]) == Exit.NOT_FOUND
    assert run(["snapshot", "verify", str(world.file)]) == Exit.USAGE


def test_restoring_says_how_to_start_and_refuses_a_second_time(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    home = tmp_path / "home"
    shutil.copytree(world.homes[2].root, home)
    bad = tmp_path / "bad"
    bad.write_bytes(world.file.read_bytes()[:-1])
    assert run(["--home", str(home), "snapshot", "restore", str(bad)]) == Exit.VERIFICATION_FAILED
    assert run(["--home", str(home), "-o", "json", "snapshot", "restore", str(world.file)]) == Exit.OK
    told = capsys.readouterr()
    assert json.loads(told.out)["height"] == BLOCKS
    assert f"chainnode start --home {home}" in told.err
    assert run(["--home", str(home), "snapshot", "restore", str(world.file)]) == Exit.USAGE
    assert "has a store already" in capsys.readouterr().err
    assert run(["snapshot", "restore", str(world.file)]) == Exit.USAGE
    assert run(["--home", str(home), "-o", "json", "fsck"]) == Exit.OK
    assert json.loads(capsys.readouterr().out)["base_height"] == BLOCKS
