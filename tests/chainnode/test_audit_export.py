"""The log as Parquet: every row is its event's, later runs add, nothing is lost or there twice, lies are refused."""

from __future__ import annotations

import errno
import os
import shutil
from datetime import date
from hashlib import sha256
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from msgspec.structs import replace

from chainnode.analysis import export_files
from chainnode.analysis.export_files import ExportFiles, ForeignFile
from chainnode.analysis.exporting import OtherChain, OtherHistory
from chainnode.analysis.log_walk import entry_places
from chainnode.analysis.manifest import ManifestDamaged, parse_export_manifest
from chainnode.analysis.tables import TABLES
from chainnode.log_source import DirectorySource
from ledger.event_json import body_to_json
from ledger.receipts import make_receipt
from ledger.receipts import verify as verify_receipt
from ledger.signed_trees import TileMissing
from primitives.errors import ProofError, StorageError, UsageError
from tests.chainnode.analysis_fixtures import export, rows_of, snapshot
from tests.chainnode.mirror_fixtures import Served, chain, grow, policy_of
from tests.chainnode.test_mirror import step
from tests.ledger.scheme_chain_fixtures import SchemeChain
from tests.ledger.test_block_parts import node_with_a_rejection
from tests.rpc.conftest import MemoryNode, key_of

DAY_MS = 86_400_000


def test_every_row_is_its_events_and_its_id_proves_it(tmp_path: Path) -> None:
    node = chain(300, 20)
    served = Served(node.reader)
    done = export(tmp_path / "out", policy_of(node), served, [served])
    rows = rows_of(tmp_path / "out")
    views = [view for height in (1, 2) for view in node.reader.block_events(height)]
    assert len(rows) == len(views) == done.manifest.rows["events"] == 320
    for row, view in zip(rows, views, strict=True):
        assert row["event_id"] == view.id
        assert (row["height"], row["index"], row["log_index"]) == (
            view.position.height,
            view.position.index,
            view.position.log_index,
        )
        assert (row["kind"], row["schema"], row["member"]) == ("payment.statement", 1, "bank-a")
        assert (row["source"], row["batch_number"]) == (view.source, view.position.height - 1)
        assert (row["applied"], row["rule"]) == (True, None)
        assert row["reference"] == view.event.reference
        assert round(row["expires"].timestamp() * 1_000) == view.event.expires_ms
        assert round(row["time"].timestamp() * 1_000) == view.time_ms
        assert row["day"] == row["time"].date().isoformat()
    receipt = make_receipt(node.reader, rows[17]["event_id"])
    assert receipt is not None
    assert verify_receipt(receipt, policy_of(node)).index == rows[17]["index"]


def test_a_rejected_event_is_told_with_its_rule_where_that_is_proved(tmp_path: Path) -> None:
    node = node_with_a_rejection()
    node.checkpoint()
    served = Served(node.reader)
    export(tmp_path / "proved", policy_of(node), served, [served])
    found = [(row["member"], row["applied"], row["rule"]) for row in rows_of(tmp_path / "proved")]
    applied = [("bank-a", True, None)] * 3
    assert found == [*applied, ("bank-b", False, "expired"), ("bank-b", True, None)]
    assert rows_of(tmp_path / "proved", "payments")[3]["rule"] == "expired"
    assert {row["source"] for row in rows_of(tmp_path / "proved")} == {
        key_of(bank, "source").public for bank in ("bank-a", "bank-b")
    }
    done = export(tmp_path / "unknown", policy_of(node), served)
    assert done.manifest.unproved == {"outcomes": 1, "batches": 1}
    assert {(row["applied"], row["rule"], row["source"]) for row in rows_of(tmp_path / "unknown")} == {
        (None, None, None)
    }


def test_what_the_header_alone_proves_needs_no_node(tmp_path: Path) -> None:
    node = chain(40)
    done = export(tmp_path, policy_of(node), Served(node.reader))
    assert done.manifest.unproved == {"outcomes": 0, "batches": 1}
    assert {(row["applied"], row["batch_number"]) for row in rows_of(tmp_path)} == {(True, None)}


def test_a_node_that_lies_about_a_blocks_parts_is_refused(tmp_path: Path) -> None:
    node = node_with_a_rejection()
    node.checkpoint()
    good = Served(node.reader).get("blocks/1/parts", 1 << 20)
    assert good is not None
    served = Served(node.reader, lies={"blocks/": lambda _: good.replace(b"expired", b"exqired")})
    with pytest.raises(ProofError, match="outcomes are not the block's"):
        export(tmp_path, policy_of(node), served, [served])
    assert not (tmp_path / "manifest.json").exists()


def test_events_of_certificates_stand_beside_payments_with_what_they_are_about(tmp_path: Path) -> None:
    chain_ = SchemeChain().granted()
    chain_.stable()
    served = Served(chain_.reader)
    export(tmp_path, chain_.policy(0), served, [served])
    views = [view for height in range(1, chain_.chain.height + 1) for view in chain_.reader.block_events(height)]
    rows = rows_of(tmp_path)
    assert [(row["event_id"], row["member"]) for row in rows] == [(view.id, view.event.member) for view in views]
    assert [row["applied"] for row in rows] == [view.outcome.applied for view in views]
    found = rows_of(tmp_path, "certificates")
    kinds = {row["kind"] for row in found}
    assert {"certificate.apply", "certificate.grant"} <= kinds
    grant = next(row for row in found if row["kind"] == "certificate.grant")
    view = next(view for view in views if view.id == grant["event_id"])
    body = body_to_json(view.event.kind, view.event.schema, view.event.body)
    assert str(body["number"]) in grant["subject"].split()
    assert str(body["number"]) in grant["body"]


def test_a_later_run_adds_what_came_since_by_new_files(tmp_path: Path) -> None:
    node = chain(300)
    served = Served(node.reader)
    first = export(tmp_path, policy_of(node), served)
    before = snapshot(tmp_path)
    node.now += DAY_MS
    grow(node, 20, 5)
    second = export(tmp_path, policy_of(node), served)
    after = snapshot(tmp_path)
    assert (first.rows["events"], second.rows["events"]) == (300, 25)
    kept = {name: data for name, data in before.items() if name != "manifest.json"}
    assert kept.items() < after.items()
    assert len({row["log_index"] for row in rows_of(tmp_path)}) == 325
    assert {row["day"] for row in rows_of(tmp_path)} == {"2026-01-01", "2026-01-02"}
    assert second.manifest.next_height == 4
    third = export(tmp_path, policy_of(node), served)
    assert (third.files, snapshot(tmp_path)) == (0, after)


def test_a_block_that_lasts_over_midnight_stands_whole_in_its_day(tmp_path: Path) -> None:
    node = chain(3)
    node.now += DAY_MS
    grow(node, 2)
    export(tmp_path, policy_of(node), Served(node.reader))
    names = sorted(path.parent.name for path in (tmp_path / "events").rglob("*.parquet"))
    assert names == ["day=2026-01-01", "day=2026-01-02"]


class Killed(BaseException):
    """The process ends here, as by a kill."""


@pytest.mark.parametrize("writes", range(1, 14))
def test_a_run_that_is_killed_at_any_write_is_resumed_without_loss_or_duplicates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    node = chain(300, 300, 300)
    served = Served(node.reader)
    export(tmp_path / "whole", policy_of(node), served, chunk_entries=256)
    left = iter(range(writes))
    real = os.replace

    def killed(source: Path, target: Path) -> None:
        if next(left, None) is None:
            shutil.copy(source, f"{source}.kept")  # what a kill leaves: nothing is tidied up
            raise Killed
        real(source, target)

    monkeypatch.setattr("chainnode.files.os.replace", killed)
    try:
        export(tmp_path / "out", policy_of(node), served, chunk_entries=256)
    except Killed:
        for path in (tmp_path / "out").rglob("*.kept"):
            path.rename(path.with_suffix(""))
    monkeypatch.undo()
    export(tmp_path / "out", policy_of(node), served, chunk_entries=256)
    assert snapshot(tmp_path / "out") == snapshot(tmp_path / "whole")


def test_an_export_begins_at_a_height_and_holds_the_kinds_that_were_chosen(tmp_path: Path) -> None:
    node = chain(300, 20, 30, 1)
    served = Served(node.reader)
    done = export(tmp_path / "late", policy_of(node), served, from_height=3)
    assert [row["height"] for row in rows_of(tmp_path / "late")] == [3] * 30 + [4]
    assert (done.manifest.from_height, done.manifest.first_index) == (3, 323)
    with pytest.raises(OtherChain, match="begins elsewhere"):
        export(tmp_path / "late", policy_of(node), served, from_height=2)
    with pytest.raises(UsageError, match="no such block"):
        export(tmp_path / "never", policy_of(node), served, from_height=5)
    none = export(tmp_path / "none", policy_of(node), served, kinds=["certificate.grant"])
    assert (none.manifest.rows["events"], none.manifest.kinds) == (0, ["certificate.grant"])
    with pytest.raises(OtherChain, match="other kinds"):
        export(tmp_path / "none", policy_of(node), served, kinds=["payment.statement"])
    with pytest.raises(UsageError, match="unknown kind"):
        export(tmp_path / "other", policy_of(node), served, kinds=["payment"])


def test_who_lacks_the_oldest_entries_gives_the_blocks_whose_entries_are_there(tmp_path: Path) -> None:
    node = chain(300, 300, 300, 300)
    served = Served(node.reader, lies={f"tile/entries/00{number}": lambda _: None for number in range(3)})
    done = export(tmp_path / "late", policy_of(node), served, from_height=4)
    assert (done.rows["events"], {row["height"] for row in rows_of(tmp_path / "late")}) == (300, {4})
    for height in (None, 1, 2, 3):
        with pytest.raises(TileMissing, match="tile/entries/00"):
            export(tmp_path / "whole", policy_of(node), served, from_height=height)


def test_files_hold_the_types_that_are_published_and_the_manifest_their_hashes(tmp_path: Path) -> None:
    node = chain(30)
    done = export(tmp_path, policy_of(node), Served(node.reader))
    for entry in done.manifest.files:
        data = (tmp_path / entry.path).read_bytes()
        assert (entry.bytes, entry.sha256) == (len(data), sha256(data).hexdigest())
        found = pq.ParquetFile(tmp_path / entry.path)
        assert found.schema_arrow.equals(TABLES[entry.path.partition("/")[0]])
        assert found.metadata.num_rows == entry.rows
    row = rows_of(tmp_path, "payments")[4]
    assert (row["amount"], row["currency"], row["settlement_date"]) == (12_345 + 4 + 1, "CNY", date(2026, 1, 2))


# -- what does not hold


def mirrored(tmp_path: Path, node: MemoryNode) -> DirectorySource:
    step(tmp_path / "mirror", policy_of(node), Served(node.reader))
    return DirectorySource(tmp_path / "mirror")


def test_a_mirror_directory_gives_the_same_export_as_the_node(tmp_path: Path) -> None:
    node = chain(300, 20)
    export(tmp_path / "node", policy_of(node), Served(node.reader))
    export(tmp_path / "copy", policy_of(node), mirrored(tmp_path, node))
    assert snapshot(tmp_path / "copy") == snapshot(tmp_path / "node")


@pytest.mark.parametrize("place", ["tile/entries/000", "tile/0/000"])
def test_a_damaged_mirror_is_refused_by_the_file_and_nothing_is_written(tmp_path: Path, place: str) -> None:
    node = chain(300, 20)
    source = mirrored(tmp_path, node)
    path = tmp_path / "mirror" / place
    data = bytearray(path.read_bytes())
    data[20] ^= 1
    path.write_bytes(data)
    with pytest.raises(ProofError) as caught:
        export(tmp_path / "out", policy_of(node), source)
    assert place in str(caught.value)
    assert not (tmp_path / "out" / "manifest.json").exists()
    path.unlink()
    with pytest.raises(TileMissing, match=place):
        export(tmp_path / "out", policy_of(node), source)


def test_a_log_that_went_back_or_forked_is_no_continuation(tmp_path: Path) -> None:
    node, other = chain(300, 20), chain(300, 40, first=1)
    export(tmp_path, policy_of(node), Served(node.reader))
    before = snapshot(tmp_path)
    with pytest.raises(OtherHistory, match="does not begin with what was exported"):
        export(tmp_path, policy_of(node), Served(other.reader))
    with pytest.raises(OtherHistory, match="shorter"):
        export(tmp_path, policy_of(node), Served(chain(300).reader))
    assert snapshot(tmp_path) == before


def test_an_export_of_another_chain_is_refused(tmp_path: Path) -> None:
    node = chain(3)
    done = export(tmp_path, policy_of(node), Served(node.reader))
    other = replace(done.manifest, chain_id="ab" * 32)
    ExportFiles(tmp_path).put_manifest(other)
    with pytest.raises(OtherChain, match="export of another chain"):
        export(tmp_path, policy_of(node), Served(node.reader))


@pytest.mark.parametrize(
    "name", ["notes.txt", "events/part-1.parquet", "events/day=2026-01-01/other.parquet", "sub/x", ".hidden.1.new"]
)
def test_a_directory_that_holds_something_else_is_refused_and_left_as_it_is(tmp_path: Path, name: str) -> None:
    node = chain(3)
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(b"mine")
    with pytest.raises(ForeignFile, match="not an export's directory"):
        export(tmp_path, policy_of(node), Served(node.reader))
    assert snapshot(tmp_path) == {name: b"mine"}
    assert not (tmp_path / ".lock").exists()


def test_a_file_that_was_changed_or_is_gone_is_named(tmp_path: Path) -> None:
    node = chain(30)
    done = export(tmp_path, policy_of(node), Served(node.reader))
    path = tmp_path / done.manifest.files[0].path
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    with pytest.raises(ManifestDamaged, match="file was changed"):
        ExportFiles(tmp_path).check(done.manifest, hashes=True)
    path.write_bytes(data[:-1])
    with pytest.raises(ManifestDamaged, match="another size"):
        export(tmp_path, policy_of(node), Served(node.reader))
    path.unlink()
    with pytest.raises(ManifestDamaged, match="file missing"):
        export(tmp_path, policy_of(node), Served(node.reader))


@pytest.mark.parametrize("name", ["part-000000000000000-000000000000040.parquet", ".part.7.new", "x.parquet"])
def test_a_file_that_the_manifest_does_not_name_is_told_by_the_check(tmp_path: Path, name: str) -> None:
    node = chain(30)
    done = export(tmp_path, policy_of(node), Served(node.reader))
    ExportFiles(tmp_path).check(done.manifest, hashes=True)
    first = tmp_path / done.manifest.files[0].path
    shutil.copy(first, first.with_name(name))
    with pytest.raises((ManifestDamaged, ForeignFile), match=r"manifest does not name|not an export's"):
        ExportFiles(tmp_path).check(done.manifest, hashes=True)


def test_a_chunk_ends_at_its_size_in_bytes_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = chain(*[100] * 12)
    monkeypatch.setattr("chainnode.analysis.log_walk.CHUNK_BYTES", 50_000)
    done = export(tmp_path, policy_of(node), Served(node.reader))
    assert len(done.manifest.files) > 2 * 2, "a table has several files"
    assert [row["log_index"] for row in rows_of(tmp_path)] == [1 + 101 * (n // 100) + n % 100 for n in range(1_200)]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"chainnode-export/1"', b'"chainnode-export/2"'),
        (b'"rows": 30', b'"rows": 31'),
        (b"events/day=", b"../day="),
        (b'"first": 0', b'"first": 1'),
        (b"}", b""),
        (b'"kinds"', b'"sorts"'),
    ],
)
def test_a_damaged_manifest_is_refused(tmp_path: Path, old: bytes, new: bytes) -> None:
    node = chain(30)
    export(tmp_path, policy_of(node), Served(node.reader))
    data = (tmp_path / "manifest.json").read_bytes()
    assert old in data
    with pytest.raises(ManifestDamaged):
        parse_export_manifest(data.replace(old, new, 1), where="manifest.json")


@pytest.mark.parametrize("writes", [0, 3, 60])
def test_a_full_disk_leaves_the_export_of_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int) -> None:
    node = chain(30)
    served = Served(node.reader)
    export(tmp_path, policy_of(node), served)
    before = snapshot(tmp_path)
    grow(node, 20)
    real, written = export_files.Sink.write, []

    def full(sink: export_files.Sink, data: bytes) -> int:
        written.append(len(data))
        if len(written) > writes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(sink, data)

    monkeypatch.setattr(export_files.Sink, "write", full)
    with pytest.raises(StorageError, match="No space left"):
        export(tmp_path, policy_of(node), served)
    monkeypatch.undo()
    assert snapshot(tmp_path).items() >= before.items()
    assert not list(tmp_path.rglob("*.new"))
    export(tmp_path, policy_of(node), served)
    assert len({row["log_index"] for row in rows_of(tmp_path)}) == len(rows_of(tmp_path)) == 50


def test_a_bundle_of_more_or_fewer_entries_is_refused() -> None:
    assert entry_places(b"\0\1a\0\2bc", 2) == [2, 5]
    for data, count in ((b"\0\1a\0\2b", 2), (b"\0\1a", 2), (b"\0\1a\0\1b", 1), (b"\0", 1)):
        with pytest.raises(ProofError, match="another length"):
            entry_places(data, count)


def test_a_block_that_does_not_follow_is_refused(tmp_path: Path) -> None:
    node = chain(3, 2)
    done = export(tmp_path, policy_of(node), Served(node.reader))
    grow(node, 2)
    ExportFiles(tmp_path).put_manifest(replace(done.manifest, next_height=7))
    with pytest.raises(ProofError, match="does not follow"):
        export(tmp_path, policy_of(node), Served(node.reader))
