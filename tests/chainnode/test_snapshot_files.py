"""Snapshots as files: written whole or not at all, put into homes without a store, and what ended restoring leaves."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from chainnode.files import NotFound
from chainnode.fsck import Report, check_home
from chainnode.home import Home, HomeInUse
from chainnode.logs import Position
from chainnode.node import Node
from chainnode.snapshot_file import SnapshotFile, write_snapshot
from chainnode.snapshot_restore import RestoringUnfinished, StoreNotEmpty, restore_home, unfinished_path
from chainnode.snapshot_service import SnapshotService
from ledger.chain import Chain
from ledger.reader import LedgerReader
from ledger.snapshots import HEAD_BYTES, SnapshotRefused
from ledger.snapshots_making import NoCheckpoint, SnapshotMaking
from ledger.store import MemoryStore, Put
from ledger.store_leveldb import LevelDBStore
from primitives.errors import UsageError
from tests.chainnode.snapshot_fixtures import BLOCKS, World, world_in

WAIT_S = 60.0
RESTORE = """
import sys, time
from pathlib import Path
from chainnode.config import load_config
from chainnode.home import Home
from chainnode.snapshot_restore import restore_home

def step(done, of):
    if done == int(sys.argv[3]):
        print("there", flush=True)
        time.sleep(600)

home = Home(Path(sys.argv[1]))
restore_home(home, load_config(home.config).config, Path(sys.argv[2]), step=step)
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return world_in(tmp_path_factory.mktemp("snapshots"))


@pytest.fixture
def home(world: World, tmp_path: Path) -> Home:
    """The second bank's home, which holds no store."""
    shutil.copytree(world.homes[1].root, tmp_path / "home")
    return Home(tmp_path / "home")


def checked(world: World, home: Home) -> Report:
    return check_home(home, world.config(home))


def test_a_home_with_a_snapshot_starts_there_and_passes_fsck(world: World, home: Home) -> None:
    steps: list[tuple[int, int]] = []
    done = restore_home(home, world.config(home), world.file, step=lambda at, of: steps.append((at, of)))
    assert (done.height, done.store) == (BLOCKS, home.data / "ledger.ldb")
    assert [at for at, _ in steps] == list(range(1, steps[-1][1] + 1))
    report = checked(world, home)
    assert report.problem == ""
    assert (report.height, report.base_height, report.blocks, report.checkpoints) == (BLOCKS, BLOCKS, 0, 1)
    node = Node(home, world.config(home), Position())
    try:
        assert node.core.chain.tip_hash == Chain(world.store, world.genesis).tip_hash
        assert node.core.replica.state.tip.height == BLOCKS
        assert len(node.core.replica.state.tip.certificates) == BLOCKS
        assert node.core.replica.state.me == 1
        assert node.reader.base() == BLOCKS
        node.index.follow()
        assert node.index.height == BLOCKS
        assert SnapshotMaking(node.reader).height == BLOCKS
    finally:
        node._close()


def test_an_index_of_the_store_before_is_put_away_each_time_and_fsck_holds(world: World, home: Home) -> None:
    for text in (b"older", b"newer"):
        index = LevelDBStore(home.index)
        index.write([Put((b"event", text))], sync=True)
        index.close()
        restore_home(home, world.config(home), world.file)
        assert not home.index.exists()
        aside = LevelDBStore(home.index.with_name("index.ldb.before-restore"))
        assert aside.get(b"event") == text
        aside.close()
        assert checked(world, home).problem == ""
        shutil.rmtree(home.data / "ledger.ldb")


def test_a_snapshot_is_put_into_no_home_that_has_a_store_or_runs(world: World, home: Home) -> None:
    with home.lock(), pytest.raises(HomeInUse):
        restore_home(home, world.config(home), world.file)
    store = LevelDBStore(home.data / "ledger.ldb")
    Chain(store, world.genesis)
    store.close()
    before = sorted((home.data / "ledger.ldb").iterdir())
    with pytest.raises(StoreNotEmpty, match="has a store already"):
        restore_home(home, world.config(home), world.file)
    assert sorted((home.data / "ledger.ldb").iterdir()) == before


def test_a_snapshot_that_is_refused_leaves_the_home_as_it_was(world: World, home: Home, tmp_path: Path) -> None:
    data = world.file.read_bytes()
    bad = tmp_path / "bad"
    for damaged in (data[:-1], data + b"x", data[:-9] + bytes([data[-9] ^ 1]) + data[-8:], data[: HEAD_BYTES - 1], b""):
        bad.write_bytes(damaged)
        with pytest.raises(SnapshotRefused):
            restore_home(home, world.config(home), bad)
        assert not (home.data / "ledger.ldb").exists()
        assert not unfinished_path(home.data / "ledger.ldb").exists()
    with pytest.raises(NotFound):
        restore_home(home, world.config(home), tmp_path / "nothing")
    restore_home(home, world.config(home), world.file)


def test_a_restored_store_is_on_the_disk_before_it_has_its_name(
    world: World, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: set[tuple[int, int]] = set()
    unsynced: list[str] = []
    sync, rename = os.fsync, os.rename

    def noted_sync(fd: int) -> None:
        sync(fd)
        info = os.fstat(fd)
        synced.add((info.st_ino, info.st_size))

    def checked_rename(source: Path, target: Path) -> None:
        places = [source, *source.iterdir()]
        unsynced.extend(p.name for p in places if (p.stat().st_ino, p.stat().st_size) not in synced)
        rename(source, target)

    monkeypatch.setattr(os, "fsync", noted_sync)
    monkeypatch.setattr(os, "rename", checked_rename)
    restore_home(home, world.config(home), world.file)
    assert unsynced == []
    assert synced


@pytest.fixture
def killed(world: World, home: Home) -> Home:
    """A home in which a restoring was killed after the tenth chunk."""
    command = [sys.executable, "-c", RESTORE, str(home.root), str(world.file), "10"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "there\n"
        process.send_signal(signal.SIGKILL)
        process.wait(WAIT_S)
    return home


def test_a_restoring_that_was_killed_leaves_no_chain_but_what_to_do(world: World, killed: Home) -> None:
    assert not (killed.data / "ledger.ldb").exists()
    for use in (lambda: Node(killed, world.config(killed), Position()), lambda: checked(world, killed)):
        with pytest.raises(RestoringUnfinished, match="`chainnode snapshot restore FILE` again, or remove"):
            use()
    assert not (killed.data / "ledger.ldb").exists()
    restore_home(killed, world.config(killed), world.file)
    assert checked(world, killed).problem == ""
    assert not unfinished_path(killed.data / "ledger.ldb").exists()


def test_without_what_the_killed_restoring_left_a_node_begins_at_the_genesis(world: World, killed: Home) -> None:
    shutil.rmtree(unfinished_path(killed.data / "ledger.ldb"))
    node = Node(killed, world.config(killed), Position())
    try:
        assert node.core.chain.height == 0
    finally:
        node._close()


def test_a_file_is_whole_under_its_name_or_not_there(world: World, tmp_path: Path) -> None:
    def fail(done: int, of: int) -> None:
        del of
        if done:
            raise RuntimeError("a fault")

    target = tmp_path / "b.chainsnap"
    with pytest.raises(RuntimeError):
        write_snapshot(target, world.making(), step=fail)
    assert list(tmp_path.iterdir()) == []
    write_snapshot(target, world.making(), step=lambda _done, _of: None)
    assert target.read_bytes() == world.file.read_bytes()
    assert target.stat().st_mode & 0o777 == 0o600
    with SnapshotFile(target) as found:
        assert found.verify(world.genesis).checkpoint.size == BLOCKS + 1


def until_ready(service: SnapshotService) -> None:
    end = time.monotonic() + WAIT_S
    while service.status().state == "making":
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_nodes_maker_keeps_the_newest_and_gives_it_out_in_parts(world: World, tmp_path: Path) -> None:
    service = SnapshotService(LedgerReader(world.store, world.genesis), tmp_path / "made")
    assert service.status().state == "none"
    with pytest.raises(UsageError, match="no such snapshot"):
        service.read("height-5.chainsnap", 0, 10)
    (tmp_path / "made").mkdir(mode=0o700)
    (tmp_path / "made" / "height-1.chainsnap").touch()
    (tmp_path / "made" / ".height-1.chainsnap.1.chunks").touch()  # of a node that was killed
    started = service.create()
    assert (started.state, started.height, started.name) == ("making", BLOCKS, "height-5.chainsnap")
    until_ready(service)
    status = service.status()
    assert (status.state, status.percent) == ("ready", 100)
    data = b"".join(service.read(status.name, at, 1_000) for at in range(0, status.size_bytes, 1_000))
    assert service.read(status.name, status.size_bytes, 10) == b""
    assert service.read(status.name, 1 << 53, 10) == b"", "no file system reaches there"
    (tmp_path / "copy").write_bytes(data)
    with SnapshotFile(tmp_path / "copy") as found:
        assert found.id.hex() == status.id
        found.verify(world.genesis)
    assert [file.name for file in (tmp_path / "made").iterdir()] == [status.name]
    with pytest.raises(UsageError):
        service.read("../net/genesis.json", 0, 10)
    service.close()


def test_a_maker_that_fails_says_why_and_one_without_a_checkpoint_makes_none(world: World, tmp_path: Path) -> None:
    empty = MemoryStore()
    Chain(empty, world.genesis)
    with pytest.raises(NoCheckpoint):
        SnapshotService(LedgerReader(empty, world.genesis), tmp_path / "made").create()
    broken = MemoryStore()
    broken.write([(key, value) for key, value in world.store.rows().items() if key[:1] != b"n"], sync=True)
    service = SnapshotService(LedgerReader(broken, world.genesis), tmp_path / "made")
    service.create()
    until_ready(service)
    assert service.status().state == "failed"
    assert "node of the state missing" in service.status().message
    assert list((tmp_path / "made").iterdir()) == []


def test_a_node_that_ends_ends_what_it_makes(world: World, tmp_path: Path) -> None:
    service = SnapshotService(LedgerReader(world.store, world.genesis), tmp_path / "made")
    service.create()
    service.close()
    assert all(thread.name != "snapshot" for thread in threading.enumerate())
    assert service.create().state in ("making", "ready")
    assert [file.name for file in (tmp_path / "made").iterdir() if file.name.startswith(".")] == []
