"""Archives in real directories: verifying offline, taking segments over, listing anew, and the node's task."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chainnode import archive_files, archive_keeper, files
from chainnode.archive import Mover, size_on_disk
from chainnode.archive_checking import check_archive, driven
from chainnode.archive_files import ArchiveDirectory, ArchiveInUse, Archives, DirectoryDisk, ForeignArchive
from chainnode.archive_keeper import ArchiveKeeper, order_height, problem_text
from chainnode.cli.main import run
from chainnode.config import LedgerSection
from chainnode.files import NotFound
from ledger import archive_writer as segments
from ledger import rows
from ledger.archive import ArchiveDamaged
from ledger.archive_manifest import MANIFEST_NAME, Manifest, manifest_text
from ledger.archive_store import BODIES_KEPT_BLOCKS_MIN, ArchivedStore, Pruned, moved_height
from ledger.batches import Batch
from ledger.fsck import verify_all
from ledger.genesis import Genesis
from ledger.handovers import first_span
from ledger.reader import LedgerReader
from ledger.store import MemoryStore
from ledger.store_leveldb import LevelDBStore
from ledger.trust_policy import policy_text
from primitives.encoding import decode, encode
from primitives.errors import ProofError, StorageError, UsageError
from primitives.ids import Hash, Height
from tests.chainnode.archive_fixtures import BY, Machine, cosigned, history, mover_of
from tests.ledger.chain_fixtures import KINDS, Ledger, genesis

UPTO = 8
ROOT = Path(__file__).parents[2]


def nothing() -> None:
    """Hear of a step."""


@pytest.fixture
def ledger() -> Ledger:
    return history()


def moved(ledger: Ledger, path: Path, upto: int = UPTO) -> ArchiveDirectory:
    """Move bodies of a copy of the ledger to an archive in a directory, three blocks to a segment."""
    assert isinstance(ledger.store, MemoryStore)
    store = MemoryStore()
    store.write(ledger.store.rows().items(), sync=True)
    directory = ArchiveDirectory.at(path, ledger.genesis.chain_id)
    reader = LedgerReader(ArchivedStore(store, Archives([directory])), ledger.genesis)
    for _ in Mover(store, reader, directory, now_ms=lambda: 0).run(upto, BY):
        pass
    return directory


@pytest.fixture(autouse=True)
def _small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "SEGMENT_BLOCKS_MAX", 3)


def policy_of(genesis_: Genesis) -> str:
    return policy_text(genesis_, (first_span(genesis_),))


# --- verifying


def test_a_whole_archive_verifies_from_the_genesis_to_a_signed_checkpoint(ledger: Ledger, tmp_path: Path) -> None:
    moved(ledger, tmp_path / "a")
    report = check_archive(tmp_path / "a", ledger.genesis, policy_of(ledger.genesis))
    assert report.problem == ""
    assert (report.segments, report.first_height, report.last_height, report.gaps) == (3, 1, UPTO, 0)
    assert (report.checkpoints, report.from_genesis) == (3, True)
    assert report.events == sum(len(LedgerReader(ledger.store, ledger.genesis).block_events(h)) for h in range(1, 9))
    bare = check_archive(tmp_path / "a", None, None)
    assert (bare.problem, bare.checkpoints, bare.from_genesis) == ("", 0, False)


def test_an_archive_of_another_genesis_or_policy_is_refused(ledger: Ledger, tmp_path: Path) -> None:
    moved(ledger, tmp_path / "a")
    other = msgspec.structs.replace(ledger.genesis, chain="other-net")
    assert "another chain" in check_archive(tmp_path / "a", other, None).problem
    assert "checkpoint does not hold" in check_archive(tmp_path / "a", ledger.genesis, policy_of(other)).problem
    with pytest.raises(ProofError):
        check_archive(tmp_path / "a", None, "no policy")
    with pytest.raises(NotFound):
        check_archive(tmp_path / "none", None, None)


def relisted_without(directory: ArchiveDirectory, first_height: int) -> None:
    """Take a segment off the manifest, as one who hides it would."""
    manifest = directory.manifest(fresh=True)
    kept = tuple(entry for entry in manifest.segments if entry.first_height != first_height)
    text = manifest_text(Manifest(manifest.chain_id, kept))
    (Path(directory.where) / MANIFEST_NAME).write_bytes(text)


def test_a_gap_is_counted_and_each_run_of_segments_needs_its_own_checkpoint(ledger: Ledger, tmp_path: Path) -> None:
    directory = moved(ledger, tmp_path / "a")
    relisted_without(directory, 4)
    report = check_archive(tmp_path / "a", ledger.genesis, policy_of(ledger.genesis))
    assert (report.problem, report.gaps, report.checkpoints) == ("", 1, 2)


def test_segments_that_no_checkpoint_covers_are_refused_under_a_policy(tmp_path: Path) -> None:
    ledger = Ledger(MemoryStore())
    for _ in range(4):
        ledger.extend(ledger.banks["bank-a"].notes(3))
    moved(ledger, tmp_path / "a", 4)
    assert check_archive(tmp_path / "a", ledger.genesis, None).problem == ""
    assert (
        "no signed checkpoint covers it"
        in check_archive(tmp_path / "a", ledger.genesis, policy_of(ledger.genesis)).problem
    )


def test_a_signed_checkpoint_of_another_history_proves_nothing(ledger: Ledger, tmp_path: Path) -> None:
    other = history(12, notes=19)
    (own,), (theirs,) = (list(each.store.iterate(*rows.all_of(b"c"))) for each in (ledger, other))
    ledger.store.write([(own[0], None), theirs], sync=True)
    moved(ledger, tmp_path / "a")
    found = check_archive(tmp_path / "a", ledger.genesis, policy_of(ledger.genesis))
    assert "its checkpoint does not hold" in found.problem


def forge(ledger: Ledger) -> tuple[bytes, bytes]:
    """Put another signature in the place of one in block 1; return the row that was there."""
    batch_hash = LedgerReader(ledger.store, ledger.genesis).block_events(1)[0].batch_hash
    key = rows.batch_key(batch_hash)
    body = ledger.store.get(key)
    assert body is not None
    forged = msgspec.structs.replace(decode(Batch, body, size_max=1 << 20), signature=bytes(64))
    ledger.store.write([(key, encode(forged))], sync=True)
    return key, body


def test_a_segment_with_a_forged_signature_is_neither_taken_nor_deleted_for(ledger: Ledger, tmp_path: Path) -> None:
    row = forge(ledger)
    theirs = moved(ledger, tmp_path / "theirs")
    ledger.store.write([row], sync=True)
    own = ArchiveDirectory.at(tmp_path / "own", ledger.genesis.chain_id)
    with pytest.raises(ArchiveDamaged, match="signature of a batch"):
        driven(own.take(theirs, theirs.manifest().segments[0]), nothing)
    assert own.manifest().segments == ()
    machine = Machine(ledger)
    for name in theirs.disk.names():
        machine.disk.files[name] = (tmp_path / "theirs" / name).read_bytes()
    machine.move(UPTO)
    assert len(machine.directory.manifest().covering(1)) == 2, "it made one of its own"
    empty = ArchiveDirectory.at(tmp_path / "none", ledger.genesis.chain_id)
    with pytest.raises(Pruned, match="signature of a batch does not verify"):
        Archives([empty, theirs]).body(Hash(row[0][1:]), Height(1))
    assert Archives([empty, theirs, moved(ledger, tmp_path / "good")]).body(Hash(row[0][1:]), Height(1)) == row[1]


def test_a_batch_that_its_source_did_not_sign_is_found(ledger: Ledger, tmp_path: Path) -> None:
    """A signature is under no hash of the chain: whoever archives could write another in its place."""
    moved(ledger, tmp_path / "good")
    forge(ledger)
    moved(ledger, tmp_path / "a", 12)
    assert check_archive(tmp_path / "good", ledger.genesis, None).problem == ""
    assert "signature of a batch does not verify" in check_archive(tmp_path / "a", ledger.genesis, None).problem


def test_segments_of_another_history_do_not_follow(ledger: Ledger, tmp_path: Path) -> None:
    mine = moved(ledger, tmp_path / "a")
    theirs = moved(history(12, notes=3), tmp_path / "b")
    entry = theirs.manifest().segments[1]
    relisted_without(mine, 4)
    driven(mine.take(theirs, entry), nothing)
    assert "does not follow what lies before it" in check_archive(tmp_path / "a", ledger.genesis, None).problem


# --- taking over, listing anew


def test_a_manifest_that_was_lost_is_written_anew_from_good_segments(ledger: Ledger, tmp_path: Path) -> None:
    directory = moved(ledger, tmp_path / "a")
    before = (tmp_path / "a" / MANIFEST_NAME).read_bytes()
    first = directory.manifest().segments[0]
    (tmp_path / "a" / MANIFEST_NAME).write_bytes(before[:-9])
    assert driven(directory.relist(), nothing) == list(directory.manifest().segments)
    assert (tmp_path / "a" / MANIFEST_NAME).read_bytes() == before
    (tmp_path / "a" / first.name).write_bytes(b"not a segment")
    told: list[str] = []
    assert len(driven(directory.relist(tell=told.append), nothing)) == 2
    assert [first.name in text for text in told] == [True]


def cli(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any]:
    status = run(["-o", "json", *arguments])
    out = capsys.readouterr()
    return status, msgspec.json.decode(out.out or out.err)


def test_add_takes_over_what_is_missing_or_damaged_and_mends_a_manifest(
    ledger: Ledger, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "chainnode.founding.read_genesis", lambda _path: ledger.genesis
    )  # without CAs, which none reads
    own, peer = moved(ledger, tmp_path / "own"), moved(ledger, tmp_path / "peer")
    here = ("archive", "add", str(tmp_path / "peer"), "--to", str(tmp_path / "own"), "--genesis")
    add = (*here, str(tmp_path / "genesis.json"))
    assert cli(capsys, *add)[1]["already_there"] == 3
    names = [entry.name for entry in own.manifest().segments]
    (tmp_path / "own" / names[0]).unlink()
    (tmp_path / "own" / names[1]).write_bytes(b"\0" * own.manifest().segments[1].size)
    (tmp_path / "own" / MANIFEST_NAME).write_bytes(b"lost")
    (tmp_path / "peer" / MANIFEST_NAME).unlink()
    status, found = cli(capsys, *add)
    assert (status, found["added"], found["already_there"]) == (0, 2, 1)
    assert check_archive(tmp_path / "own", ledger.genesis, policy_of(ledger.genesis)).problem == ""
    assert cli(capsys, "archive", "verify", str(tmp_path / "own"))[1]["ok"]
    assert len(peer.disk.names()) == 4, "three segments and a lock: the source is only read"


def test_nothing_is_written_to_the_archive_of_another_chain(
    ledger: Ledger, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    moved(ledger, tmp_path / "a")
    held = (tmp_path / "a" / MANIFEST_NAME).read_bytes()
    other = msgspec.structs.replace(ledger.genesis, chain="other-net")
    monkeypatch.setattr("chainnode.founding.read_genesis", lambda _path: other)
    for source, target in (("a", "b"), ("b", "a")):
        paths = (str(tmp_path / source), "--to", str(tmp_path / target), "--genesis", "genesis.json")
        status, found = cli(capsys, "archive", "add", *paths)
        assert (status, found["error"]["reason"]) == (2, "foreign_archive")
    assert (tmp_path / "a" / MANIFEST_NAME).read_bytes() == held
    with pytest.raises(ForeignArchive):
        ArchiveDirectory.at(tmp_path / "a", other.chain_id).manifest()


def test_one_process_writes_to_an_archive_at_a_time(ledger: Ledger, tmp_path: Path) -> None:
    directory = moved(ledger, tmp_path / "a")
    with directory.disk.lock(), pytest.raises(ArchiveInUse, match=str(os.getpid())), directory.disk.lock():
        pass


def test_verify_tells_damage_by_its_exit_status(
    ledger: Ledger, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = moved(ledger, tmp_path / "a")
    (tmp_path / "a" / directory.manifest().segments[2].name).unlink()
    status, found = cli(capsys, "archive", "verify", str(tmp_path / "a"))
    assert (status, found["ok"], found["segments"]) == (3, False, 2)
    assert "missing" in found["problem"]
    assert cli(capsys, "archive", "verify", str(tmp_path / "none"))[0] == 6


# --- LevelDB


def test_compaction_gives_the_room_of_moved_bodies_back(tmp_path: Path) -> None:
    ledger = Ledger(LevelDBStore(tmp_path / "db"))
    for _ in range(20):
        ledger.extend(ledger.banks["bank-a"].notes(800))
    cosigned(ledger)
    store = ledger.store
    assert isinstance(store, LevelDBStore)
    directory = ArchiveDirectory.at(tmp_path / "archive", ledger.genesis.chain_id)
    reader = LedgerReader(ArchivedStore(store, Archives([directory])), ledger.genesis)
    mover = Mover(
        store, reader, directory, now_ms=lambda: 0, compact=store.compact, measure=lambda: size_on_disk(store.path)
    )
    for _ in mover.run(18, BY):
        pass
    report = mover.report.as_row()
    assert report["freed_bytes"] > report["body_bytes"] // 2
    assert len(reader.block_events(1)) == 800
    store.close()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a LevelDB store of twelve blocks."""
    path = tmp_path_factory.mktemp("killed")
    made = history()
    assert isinstance(made.store, MemoryStore)
    store = LevelDBStore(path / "db")
    store.write(made.store.rows().items(), sync=True)
    store.close()
    return path


@pytest.mark.parametrize("steps", [2, 5, 6, 7, 8, 9, 10, 12, 16, 19, 25, 31, 40])
def test_a_process_that_is_killed_at_a_step_loses_no_body_and_the_next_goes_on(
    home: Path, tmp_path: Path, steps: int
) -> None:
    path = tmp_path / "home"
    shutil.copytree(home, path)
    held = LevelDBStore(path / "db")
    bodies = dict(held.iterate(*rows.all_of(b"B")))
    held.close()
    command = [sys.executable, "-m", "tests.chainnode.archive_fixtures", str(path), str(UPTO), str(steps)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    store, mover = mover_of(path)
    archived = ArchivedStore(store, Archives([ArchiveDirectory.at(path / "archive", genesis().chain_id)]))
    assert {key: archived.get(key) for key in bodies} == bodies
    for _ in mover.run(UPTO, BY):
        pass
    assert moved_height(store) == UPTO
    for _ in verify_all(archived, genesis(), KINDS):
        pass
    assert len(list(store.iterate(*rows.all_of(b"B")))) == 2 * (12 - UPTO)
    store.close()


# --- the node's task


class Index:
    """An index at a height."""

    def __init__(self, height: int | None) -> None:
        self.kept_height = height


def keeper_of(machine: Machine, height: int, **settings: Any) -> ArchiveKeeper:
    return ArchiveKeeper(
        store=machine.store,
        reader=machine.reader,
        archives=Archives([machine.directory]),
        index=Index(height),
        settings=LedgerSection(**settings),
        now_ms=lambda: 1_900_000_000_000,
        compact=lambda _start, _stop: None,
        measure=lambda: 0,
    )


@pytest.fixture(scope="module")
def long() -> Ledger:
    """A history that is longer than the floor."""
    ledger = Ledger(MemoryStore())
    for _ in range(BODIES_KEPT_BLOCKS_MIN + 40):
        ledger.extend(ledger.banks["bank-a"].notes(1))
    cosigned(ledger)
    return ledger


def drive(keeper: ArchiveKeeper, until: Callable[[], bool], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the task until something holds."""
    monkeypatch.setattr(archive_keeper, "FIRST_CHECK_S", 0.01)
    monkeypatch.setattr(archive_keeper, "CHECK_S", 0.01)

    async def work() -> None:
        task = asyncio.create_task(keeper.run())
        while not until():  # noqa: ASYNC110  the keeper tells nobody when it is done; whoever asks polls
            await asyncio.sleep(0.005)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(asyncio.wait_for(work(), 30))
    keeper.close()


def test_an_operator_moves_what_the_floor_allows_and_hears_how_it_went(
    long: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(long)
    keeper = keeper_of(machine, int(long.chain.height))
    with pytest.raises(UsageError, match="stay in the store"):
        keeper.start(41, None)
    assert keeper.start(30, None) == 30
    with pytest.raises(UsageError, match="being moved already"):
        keeper.start(40, None)
    drive(keeper, lambda: keeper.status().report is not None and not keeper.status().running, monkeypatch)
    found = keeper.status()
    assert (found.archived_height, found.missing_height, found.minimum_index, found.problem) == (30, 0, 0, "")
    assert found.report is not None
    assert found.report["blocks"] == 30
    assert found.segments[0].by == "operator"


def test_settings_move_bodies_in_passes_and_no_settings_move_none(
    long: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(long)
    keeper = keeper_of(machine, int(long.chain.height), keep_bodies_blocks=BODIES_KEPT_BLOCKS_MIN)
    drive(keeper, lambda: keeper.archived_height == 40, monkeypatch)
    assert moved_height(machine.store) == 40
    assert "keep_bodies_blocks = 256" in keeper.status().segments[0].by
    idle = keeper_of(Machine(long), int(long.chain.height))
    assert idle._due() is None
    idle.close()


def test_settings_move_nothing_for_less_than_a_tenth_of_what_is_here(long: Ledger) -> None:
    keeper = keeper_of(Machine(long), int(long.chain.height), keep_bodies_blocks=BODIES_KEPT_BLOCKS_MIN + 20)
    assert keeper._due() is None, "20 of 296 blocks"
    keeper.close()


def test_a_pass_that_fails_is_told_and_the_task_goes_on(long: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(long)
    keeper = keeper_of(machine, int(long.chain.height))
    machine.disk.files[archive_files.MANIFEST_NAME] = b"damaged"
    keeper.start(None, None)
    drive(keeper, lambda: bool(keeper.status().problem) and not keeper.status().running, monkeypatch)
    assert "not a whole manifest" in keeper.status().problem
    assert moved_height(machine.store) == 0


def test_bodies_that_no_archive_holds_any_more_are_missed_and_raise_the_minimum_index(
    long: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(long)
    machine.move(40)
    name = list(machine.segments())[4]
    machine.disk.files[name] = b""
    keeper = keeper_of(machine, int(long.chain.height))
    drive(keeper, lambda: bool(keeper.status().missing_height), monkeypatch)
    assert keeper.status().missing_height == 15
    assert keeper.minimum_index == 256


@pytest.mark.parametrize(
    ("height", "days", "expected"), [(None, None, 40), (7, None, 7), (None, 1, 40), (7, 1, 7), (50, None, None)]
)
def test_an_order_reaches_to_its_height_and_age_within_the_floor(
    long: Ledger, height: int | None, days: int | None, expected: int | None
) -> None:
    reader = LedgerReader(long.store, long.genesis)
    now_ms = long.now_ms + 2 * 86_400_000
    if expected is None:
        with pytest.raises(UsageError):
            order_height(reader, Height(long.chain.height), height, days, now_ms)
    else:
        assert order_height(reader, Height(long.chain.height), height, days, now_ms) == expected
    with pytest.raises(UsageError, match="nothing to move"):
        order_height(reader, Height(long.chain.height), None, 3, now_ms)


def test_whoever_asks_hears_what_went_wrong_and_not_where_files_lie() -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "/var/lib/bank/archive/unfinished.tmp")
    assert problem_text(full) == "files cannot be used, No space left on device"
    place = StorageError("file cannot be written", where="/var/lib/bank/archive", got="Input/output error: /dev/sdb")
    assert problem_text(place) == "file cannot be written"
    damaged = ArchiveDamaged("missing", where="segment 1-3.bodies", got="no such file")
    assert problem_text(damaged) == "missing, at segment 1-3.bodies, got no such file"


def test_a_task_whose_look_at_the_archive_fails_goes_on(long: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(long)
    keeper = keeper_of(machine, int(long.chain.height), keep_bodies_blocks=BODIES_KEPT_BLOCKS_MIN)
    faults = iter([StorageError("no list"), OSError(errno.EIO, "Input/output error")])

    def fail(*_: object) -> int:
        fault = next(faults, None)
        if fault is not None:
            raise fault
        return 0

    monkeypatch.setattr(Archives, "missing_height", fail)
    drive(keeper, lambda: keeper.archived_height == 40, monkeypatch)


def test_the_name_of_an_archive_is_on_the_disk_before_anything_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(files, "sync_directory", synced.append)
    disk = DirectoryDisk(tmp_path / "far" / "archive")
    with disk.lock():
        assert synced == [tmp_path, tmp_path / "far"]
    with disk.lock():
        assert synced[2:] == [tmp_path / "far"], "whoever made it may have been cut off before it was synced"
