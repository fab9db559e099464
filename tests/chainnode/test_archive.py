"""Moving bodies to the archive: none is lost at any moment, and every proof stays what it was."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from chainnode import archive
from chainnode.archive_files import UNFINISHED, ArchiveDirectory, Archives
from ledger import archive_writer as segments
from ledger import rows
from ledger.archive import ArchiveDamaged
from ledger.archive_manifest import MANIFEST_NAME, manifest_text
from ledger.archive_store import (
    BODIES_KEPT_BLOCKS_MIN,
    ArchivedStore,
    Pruned,
    archived_rows,
    minimum_index,
    movable_height,
    moved_height,
)
from ledger.chain import Chain
from ledger.completeness_reading import make_completeness
from ledger.fsck import Damaged, verify_all
from ledger.held_batches import HeldBatches
from ledger.reader import LedgerReader
from ledger.receipts import make_receipt
from ledger.store import MemoryStore, Put, StagedStore
from primitives.encoding import encode
from primitives.errors import StorageError
from primitives.ids import Hash, Height
from tests.chainnode.archive_fixtures import BY, ForgetfulDisk, Machine, Plug, PowerCut, cosigned, history
from tests.ledger.chain_fixtures import KINDS, Ledger
from tests.ledger.governance_fixtures import Council
from tests.ledger.snapshot_fixtures import made, make_stable, restored
from tests.ledger.test_snapshots import follow

UPTO = 8


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a short history make several segments, frames and writes."""
    monkeypatch.setattr(segments, "SEGMENT_BLOCKS_MAX", 3)
    monkeypatch.setattr(segments, "FRAME_BYTES", 2_000)
    monkeypatch.setattr(archive, "ROWS_A_WRITE", 2)


@pytest.fixture(scope="module")
def ledger() -> Ledger:
    """A history of twelve blocks with a checkpoint."""
    return history()


def fsck(machine: Machine) -> None:
    """Verify the whole chain, bodies out of the archive too."""
    for _ in verify_all(machine.archived, machine.genesis, KINDS):
        pass


def bodies(ledger: Ledger) -> dict[bytes, bytes]:
    """Return every body of a ledger by its row's key."""
    return dict(ledger.store.iterate(*rows.all_of(b"B")))


def proofs(reader: LedgerReader) -> Iterator[object]:
    """Yield all that can be proved of a history out of bodies: receipts, completeness, entries, events."""
    tip = reader.tip()
    assert tip is not None
    for height in range(1, tip.height + 1):
        for view in reader.block_events(height):
            yield view
            yield make_receipt(reader, view.id)
        yield reader.recorded(height)
    for member in ("bank-a", "bank-b", "bank-c"):
        yield make_completeness(reader, member, 1, tip.height)
        yield make_completeness(reader, member, 2, max(2, tip.height - 2), page=500)
    for start in range(0, tip.log_size, 256):
        yield reader.entry_bundle(start // 256, min(256, tip.log_size - start))


def test_moved_bodies_are_in_listed_segments_and_no_longer_in_the_store(ledger: Ledger) -> None:
    machine = Machine(ledger)
    report = machine.move(UPTO).report
    assert (report.first_height, report.last_height, report.segments, report.blocks) == (1, UPTO, 3, UPTO)
    left = [key for key, _ in machine.store.iterate(*rows.all_of(b"B"))]
    assert len(left) == 2 * (ledger.chain.height - UPTO)
    assert {key: machine.archived.get(key) for key in bodies(ledger)} == bodies(ledger)
    assert report.body_bytes == sum(map(len, bodies(ledger).values())) - sum(
        len(machine.store.get(key) or b"") for key in left
    )
    moved = list(archived_rows(machine.store))
    assert [(row.first_height, row.last_height, row.by) for row in moved] == [(7, 8, BY), (4, 6, BY), (1, 3, BY)]
    assert {row.segment.hex() for row in moved} == {entry.sha256 for entry in machine.directory.manifest().segments}
    fsck(machine)


def test_moving_goes_on_where_it_ended_and_lists_no_block_twice(ledger: Ledger) -> None:
    machine = Machine(ledger)
    machine.move(2)
    machine.move(2)
    machine.move(UPTO)
    assert [(e.first_height, e.last_height) for e in machine.directory.manifest().segments] == [(1, 2), (3, 5), (6, 8)]
    assert Archives([machine.directory]).missing_height(0, UPTO) == 0
    fsck(machine)


@settings(max_examples=25, deadline=None)
@given(
    plan=st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 40)), min_size=2, max_size=8),
    data=st.data(),
)
def test_whatever_the_history_and_wherever_it_is_cut_every_proof_stays_byte_for_byte(
    plan: list[tuple[str, int]], data: st.DataObject
) -> None:
    ledger = Ledger(MemoryStore())
    for bank, count in plan:
        ledger.extend(ledger.banks[f"bank-{bank}"].notes(count))
    cosigned(ledger)
    machine = Machine(ledger)
    before = list(proofs(machine.reader))
    cuts = data.draw(st.lists(st.integers(1, len(plan)), min_size=1, max_size=3).map(sorted))
    for cut in cuts:
        machine.move(cut)
    assert moved_height(machine.store) == cuts[-1]
    assert list(proofs(machine.reader)) == before


def operations(ledger: Ledger) -> int:
    """Return the number of operations of the machine that moving takes."""
    plug = Plug()
    Machine(ledger, plug=plug).move(UPTO)
    return plug.count


def test_a_power_cut_at_any_operation_leaves_each_body_in_the_store_or_in_a_listed_segment(ledger: Ledger) -> None:
    count = operations(ledger)
    assert count > 30
    for at in range(count):
        for after in (False, True):
            machine = Machine(ledger, plug=Plug(at, after=after))
            with pytest.raises(PowerCut):
                machine.move(UPTO)
            machine.disk.lose_power()
            machine.plug_in(Plug())
            assert {key: machine.archived.get(key) for key in bodies(ledger)} == bodies(ledger), (at, after)
            recorded = {row.segment.hex() for row in archived_rows(machine.store)}
            assert recorded <= {entry.sha256 for entry in machine.directory.manifest().segments}, (at, after)
            machine.move(UPTO)
            assert len(list(machine.store.iterate(*rows.all_of(b"B")))) == 2 * (ledger.chain.height - UPTO)
            assert Archives([machine.directory]).missing_height(0, UPTO) == 0
    fsck(machine)


def test_a_store_that_was_cut_off_amid_deleting_passes_fsck_before_it_goes_on(ledger: Ledger) -> None:
    machine = Machine(ledger)
    steps = machine.mover().run(UPTO, BY)
    next(step for step in steps if step.doing == "deleting")
    steps.close()  # type: ignore[attr-defined]  # it is a generator
    assert moved_height(machine.store) == 3
    assert len(bodies(ledger)) > len(list(machine.store.iterate(*rows.all_of(b"B")))) > len(bodies(ledger)) - 6
    fsck(machine)


class RottingDisk(ForgetfulDisk):
    """A disk that gives back another bit than was written, from the first sync on."""

    def sync(self, name: str) -> None:
        """Keep a file with a bit of it flipped."""
        data = bytearray(self.files[name])
        data[len(data) // 3] ^= 4
        self.files[name] = bytes(data)
        super().sync(name)


def test_nothing_is_deleted_unless_the_segment_reads_back_as_it_was_written(ledger: Ledger) -> None:
    machine = Machine(ledger)
    machine.disk = RottingDisk()
    with pytest.raises(ArchiveDamaged, match="segment 000000000001-000000000003"):
        machine.move(UPTO)
    assert dict(machine.store.iterate(*rows.all_of(b"B"))) == bodies(ledger)
    assert list(archived_rows(machine.store)) == []
    assert MANIFEST_NAME not in machine.disk.files


class FullDisk(ForgetfulDisk):
    """A disk without room after so many bytes."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def append(self, name: str, data: bytes) -> None:
        """Write at the end of a file, as much as there is room."""
        self.room -= len(data)
        super().append(name, data if self.room >= 0 else data[: self.room])
        if self.room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_ends_a_pass_and_leaves_everything_in_its_place(ledger: Ledger) -> None:
    machine = Machine(ledger)
    machine.disk = FullDisk(5_000)
    with pytest.raises(OSError, match="No space left"):
        machine.move(UPTO)
    assert {key: machine.archived.get(key) for key in bodies(ledger)} == bodies(ledger)
    machine.disk.room = 1 << 20
    machine.move(UPTO)
    assert {key: machine.archived.get(key) for key in bodies(ledger)} == bodies(ledger)
    assert [entry.first_height for entry in machine.directory.manifest().segments] == [1, 4, 7]


def test_nothing_is_deleted_unless_the_manifest_lists_the_segment(ledger: Ledger) -> None:
    machine = Machine(ledger)
    empty = manifest_text(machine.directory.manifest())
    machine.disk.replace = lambda name, _data: machine.disk.files.__setitem__(name, empty)  # type: ignore[method-assign]  # a manifest that stays empty
    with pytest.raises(StorageError, match="a segment is not listed"):
        machine.move(UPTO)
    assert dict(machine.store.iterate(*rows.all_of(b"B"))) == bodies(ledger)


@pytest.mark.parametrize("manifest", [True, False])
def test_no_further_body_is_deleted_once_the_archive_was_taken_away(ledger: Ledger, *, manifest: bool) -> None:
    machine = Machine(ledger)
    mover = archive.Mover(machine.store, machine.reader, machine.directory, now_ms=lambda: 0)
    steps = mover.run(UPTO, BY)
    while next(steps).doing != "deleting":
        pass
    held = dict(machine.store.iterate(*rows.all_of(b"B")))
    name = MANIFEST_NAME if manifest else next(machine.segments())
    del machine.disk.files[name]
    with pytest.raises(StorageError, match="a segment is not"):
        list(steps)
    assert dict(machine.store.iterate(*rows.all_of(b"B"))) == held


def test_a_listed_segment_of_another_history_deletes_nothing(ledger: Ledger) -> None:
    other = Machine(history(4, notes=7))
    other.move(3)
    machine = Machine(ledger)
    machine.disk.files = dict(other.disk.files)
    with pytest.raises(StorageError, match="another block than the store"):
        machine.move(UPTO)
    assert dict(machine.store.iterate(*rows.all_of(b"B"))) == bodies(ledger)


def test_a_listed_segment_that_was_damaged_before_its_bodies_were_deleted_is_made_anew(ledger: Ledger) -> None:
    machine = Machine(ledger)
    steps = machine.mover().run(UPTO, BY)
    next(step for step in steps if step.doing == "listed")
    name = next(machine.segments())
    machine.disk.files[name] = machine.disk.files[name][:-1]
    machine.move(UPTO)
    assert {key: machine.archived.get(key) for key in bodies(ledger)} == bodies(ledger)


def test_without_any_archive_a_moved_body_is_refused_as_pruned_and_its_batch_still_known(ledger: Ledger) -> None:
    machine = Machine(ledger)
    first = machine.reader.block_events(1)[0]
    machine.move(UPTO)
    name = next(machine.segments())
    store = ArchivedStore(machine.store, Archives([]))
    reader = LedgerReader(store, machine.genesis)
    position = reader.position(first.id)
    assert position is not None
    for ask in (
        lambda: reader.event(first.id),
        lambda: make_receipt(reader, first.id),
        lambda: reader.entry_bundle(0),
        lambda: make_completeness(reader, "bank-a", 1, 3),
        lambda: reader.recorded(1),
    ):
        with pytest.raises(Pruned, match="no archive here"):
            ask()
    assert len(reader.block_events(UPTO + 1)) == len(machine.reader.block_events(UPTO + 1))
    held = HeldBatches(StagedStore(store), KINDS)
    assert held.has(first.batch_hash)
    assert held.get(first.batch_hash) is None
    assert held.raw(first.batch_hash) is None
    assert len(minimum_bundle(reader)) > 0
    with pytest.raises(Pruned):
        for _ in verify_all(store, machine.genesis, KINDS):
            pass
    told: list[str] = []
    del machine.disk.files[name]
    with pytest.raises(Pruned, match=name):
        Archives([machine.directory], told.append).body(first.batch_hash, position.height)
    assert [name in text for text in told] == [True]
    machine.disk.files[MANIFEST_NAME] = b"{}"
    with pytest.raises(Pruned, match="not a whole manifest") as refused:
        Archives([ArchiveDirectory(machine.disk, machine.genesis.chain_id, where="/operators/path")]).body(
            first.batch_hash, position.height
        )
    assert "operators" not in str(refused.value), "paths are the operator's"


def minimum_bundle(reader: LedgerReader) -> bytes:
    """Return the first entry bundle that must be served: the one at the minimum index."""
    index = minimum_index(reader, UPTO)
    assert index % 256 == 0
    tip = reader.tip()
    assert tip is not None
    header = reader.header(UPTO + 1)
    assert header is not None
    assert header.first_index <= index < header.first_index + 256
    width = min(256, tip.log_size - index)
    return reader.entry_bundle(index // 256, width) if width > 0 else b"none yet"  # type: ignore[return-value]  # it is there


def test_a_body_comes_from_whichever_archive_holds_it_whole(ledger: Ledger) -> None:
    machine = Machine(ledger)
    machine.move(UPTO)
    copy = ForgetfulDisk()
    copy.files = dict(machine.disk.files)
    name = next(machine.segments())
    data = bytearray(machine.disk.files[name])
    data[60] ^= 1
    machine.disk.files[name] = bytes(data)
    told: list[str] = []
    second = ArchiveDirectory(copy, machine.genesis.chain_id, where="copy")
    archives = Archives([machine.directory, second], told.append)
    store = ArchivedStore(machine.store, archives)
    assert {key: store.get(key) for key in bodies(ledger)} == bodies(ledger)
    assert len(told) == 1
    assert name in told[0]


def test_a_damaged_or_missing_segment_is_replaced_by_a_copy_and_a_bad_copy_is_refused(ledger: Ledger) -> None:
    machine = Machine(ledger)
    machine.move(UPTO)
    good = ForgetfulDisk()
    good.files = dict(machine.disk.files)
    names = list(machine.segments())
    machine.disk.files[names[0]] = b"nothing of it"
    del machine.disk.files[names[1]]
    source = ArchiveDirectory(good, machine.genesis.chain_id, where="copy")
    for entry in source.manifest().segments:
        for _ in machine.directory.take(source, entry):
            pass
    fsck(machine)
    good.files[names[0]] = good.files[names[0]][:-1]
    held = dict(machine.disk.files)
    with pytest.raises(ArchiveDamaged):
        for _ in machine.directory.take(source, source.manifest().segments[0]):
            pass
    assert {name: data for name, data in machine.disk.files.items() if name != UNFINISHED} == held


def test_what_is_missing_of_the_archive_is_found_by_its_highest_block(ledger: Ledger) -> None:
    machine = Machine(ledger)
    machine.move(UPTO)
    names = list(machine.segments())
    archives = Archives([machine.directory])
    assert archives.missing_height(0, UPTO) == 0
    machine.disk.files[names[1]] += b"more"
    assert archives.missing_height(0, UPTO) == 6
    del machine.disk.files[names[2]]
    assert archives.missing_height(0, UPTO) == 8
    machine.disk.files[MANIFEST_NAME] = b"{}"
    assert archives.missing_height(0, UPTO) == 8


def test_bodies_of_the_newest_blocks_and_above_the_checkpoint_or_the_index_stay() -> None:
    ledger = Ledger(MemoryStore())
    bank = ledger.banks["bank-a"]
    reader = LedgerReader(ledger.store, ledger.genesis)
    for _ in range(BODIES_KEPT_BLOCKS_MIN + 3):
        ledger.extend(bank.notes(1))
    assert movable_height(reader, ledger.chain.height) == 0, "no checkpoint is stable"
    cosigned(ledger)
    assert movable_height(reader, ledger.chain.height) == 3
    assert movable_height(reader, 2) == 2, "the index reads bodies"
    assert movable_height(reader, None) == 0
    for _ in range(BODIES_KEPT_BLOCKS_MIN + 10):
        ledger.extend(bank.notes(1))
    assert movable_height(reader, ledger.chain.height) == BODIES_KEPT_BLOCKS_MIN + 3, "what the checkpoint covers"


def test_settings_move_what_is_older_than_both_say_and_nothing_where_they_say_nothing() -> None:
    ledger = Ledger(MemoryStore())
    start_ms = ledger.now_ms
    for day in range(20):
        ledger.extend(ledger.banks["bank-a"].notes(1), time_ms=start_ms + day * archive.DAY_MS + 1)
    reader = LedgerReader(ledger.store, ledger.genesis)
    now_ms = start_ms + 20 * archive.DAY_MS

    def reach(floor: int, blocks: int, days: int) -> int:
        return archive.reachable_height(reader, floor, keep_blocks=blocks, keep_days=days, now_ms=now_ms)

    assert reach(20, 0, 0) == 0
    assert reach(20, 5, 0) == 15
    assert reach(20, 0, 5) == 15
    assert reach(20, 5, 10) == 10
    assert reach(20, 12, 10) == 8
    assert reach(3, 5, 5) == 3, "within the floor"
    assert reach(20, 500, 0) == 0


def _figures(key: bytes, value: bytes) -> list[Put]:
    """A row of what was moved that says more, less and other than its blocks hold; none for other rows."""
    if key[:1] != b"a":
        return []
    row = rows.read_row(rows.ArchivedRow, value, where="row")
    changes = ({"batches": row.batches + 1}, {"events": row.events - 1}, {"last_height": Height(1 << 40)})
    return [(key, encode(replace(row, **change))) for change in changes]


@pytest.mark.parametrize("kind", [b"A", b"a"])
def test_fsck_finds_rows_of_the_archive_that_are_missing_or_forged(ledger: Ledger, kind: bytes) -> None:
    machine = Machine(ledger)
    machine.move(UPTO)
    found = list(machine.store.iterate(*rows.all_of(kind)))
    key, value = found[0]
    forged = {
        b"A": [(key, None), (key, (9).to_bytes(8, "big")), (key, b"\x01"), (b"A" + bytes(32), value)],
        b"a": [(key, None), (key, found[-1][1]), (key, value[:-1]), (b"a" + bytes(8), value), *_figures(key, value)],
    }[kind]
    for put in forged:
        machine.store.write([put], sync=True)
        with pytest.raises((Damaged, Pruned)):
            fsck(machine)
        machine.store.write([(put[0], None), (key, value)], sync=True)
    fsck(machine)


def test_a_store_that_began_from_a_snapshot_moves_what_lies_above_its_base() -> None:
    council = Council()
    council.rekey(1, 1)
    council.block()
    make_stable(council.store, council.genesis, council.set)
    snapshot = made(council.store, council.genesis)
    store = restored(snapshot, council.genesis)
    council.vote(council.propose(council.rekeying(2, 1)), 0, 1)
    follow(Chain(store, council.genesis), store, LedgerReader(council.store, council.genesis))
    make_stable(store, council.genesis, council.set)
    checkpoint = LedgerReader(store, council.genesis).checkpoint()
    assert checkpoint is not None
    assert 0 < minimum_index(LedgerReader(store, council.genesis), 0) <= checkpoint.size, "what lies before the base"
    base, top = int(snapshot.manifest.height), int(Chain(store, council.genesis).height)
    assert base + 1 < top
    directory = ArchiveDirectory(ForgetfulDisk(), council.genesis.chain_id, where="archive")
    archived = ArchivedStore(store, Archives([directory]))
    reader = LedgerReader(archived, council.genesis)
    before = [reader.block_events(height) for height in range(base + 1, top + 1)]
    mover = archive.Mover(store, reader, directory, now_ms=lambda: 0)
    for _ in mover.run(top - 1, BY):
        pass
    assert (mover.report.first_height, mover.report.last_height, moved_height(store)) == (base + 1, top - 1, top - 1)
    assert [reader.block_events(height) for height in range(base + 1, top + 1)] == before
    assert Archives([directory]).missing_height(base, top - 1) == 0
    for _ in verify_all(archived, council.genesis):
        pass


def test_a_history_that_began_from_a_younger_snapshot_has_nothing_as_old_as_settings_move() -> None:
    council = Council()
    council.rekey(1, 1)
    council.block()
    make_stable(council.store, council.genesis, council.set)
    reader = LedgerReader(restored(made(council.store, council.genesis), council.genesis), council.genesis)
    header = reader.header(reader.base())
    assert header is not None
    now_ms = header.time_ms - 1 + archive.DAY_MS
    assert archive.reachable_height(reader, 10, keep_blocks=0, keep_days=1, now_ms=now_ms) == 0


def test_an_archive_whose_disk_fails_is_as_if_it_lacked_what_it_holds(tmp_path: Path) -> None:
    loop = tmp_path / "archive"
    loop.symlink_to(loop)
    told: list[str] = []
    archives = Archives([ArchiveDirectory.at(loop, Hash(bytes(32)))], told.append)
    with pytest.raises(Pruned, match="archive cannot be read"):
        archives.body(Hash(bytes(32)), Height(3))
    assert archives.missing_height(0, 8) == 8
    assert len(told) == 1
