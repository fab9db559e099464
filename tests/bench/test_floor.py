"""The floor does the work that it claims: the same trees as the node's, and no batch that does not fit passes."""

from __future__ import annotations

import ast
from hashlib import sha256
from pathlib import Path

import plyvel
import pytest
from nacl.exceptions import BadSignatureError

import bench.floor
from bench.floor import Log, read_frames, root_of, run
from bench.workload import BenchSource, write_frames
from ledger.batches import parse_batch, verify_batch
from primitives import merkle
from primitives.encoding import encode
from primitives.keys import SigningKey

PACKAGES = {"chainnode", "consensus", "ledger", "p2p", "primitives", "rpc", "sim", "bench"}
LEAVES = [sha256(bytes([number])).digest() for number in range(200)]


@pytest.fixture
def source() -> BenchSource:
    return BenchSource(bytes(32), "bank-a", SigningKey(bytes(range(32))))


def test_the_floor_shares_no_code_with_the_node() -> None:
    tree = ast.parse(Path(bench.floor.__file__).read_text("utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not {name.partition(".")[0] for name in names} & PACKAGES


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 200])
def test_its_trees_are_those_of_the_node(size: int) -> None:
    assert root_of(LEAVES[:size]) == merkle.root_of(LEAVES[:size])
    log = Log()
    log.extend(LEAVES[: size // 2])
    log.extend(LEAVES[size // 2 : size])
    assert log.root() == merkle.root_of(LEAVES[:size])


def test_prepared_batches_are_ones_that_the_node_takes(source: BenchSource) -> None:
    first, second = (parse_batch(source.batch(3)) for _ in range(2))
    verify_batch(first)
    assert (second.header.number, second.header.previous) == (1, first.hash)
    assert len({*first.ids, *second.ids}) == 6


def test_every_step_is_accounted_for(source: BenchSource, tmp_path: Path) -> None:
    write_frames(tmp_path / "batches", [source.batch(10) for _ in range(5)])
    figures = run(read_frames(tmp_path / "batches"), str(tmp_path / "store"))
    assert figures["events"] == 50
    assert figures["floor_cpu_us_per_event"] == pytest.approx(sum(figures["steps_us"].values()), abs=0.1)


def test_lone_events_share_a_block_and_their_verification_is_told_apart(source: BenchSource, tmp_path: Path) -> None:
    write_frames(tmp_path / "batches", [source.batch(1) for _ in range(7)])
    figures = run(read_frames(tmp_path / "batches"), str(tmp_path / "store"), 3)
    assert (figures["events"], figures["batches"], figures["blocks"]) == (7, 7, 3)
    apart = figures["verification_us_per_event"] + figures["beside_verification_us_per_event"]
    assert figures["floor_cpu_us_per_event"] == pytest.approx(apart, abs=0.1)
    assert figures["verification_us_per_event"] == pytest.approx(figures["steps_us"]["signature"], abs=0.1)


def test_every_row_of_a_block_is_written(source: BenchSource, tmp_path: Path) -> None:
    write_frames(tmp_path / "batches", [source.batch(2), source.batch(3), source.batch(1)])
    run(read_frames(tmp_path / "batches"), str(tmp_path / "store"), 2)
    with plyvel.DB(str(tmp_path / "store")) as ledger, plyvel.DB(str(tmp_path / "store.index")) as index:
        kinds = [key[:1] for key in ledger.iterator(include_value=False)]
        assert (kinds.count(b"B"), kinds.count(b"b")) == (3, 2)
        entries = {key: len(value) // 24 for key, value in index}
        first, second = (height.to_bytes(6, "big") for height in (1, 2))
        assert entries == {b"fe" + first: 5, b"fe" + second: 1, b"fu" + first: 5, b"fu" + second: 1}


def test_enough_entries_become_a_run(monkeypatch: pytest.MonkeyPatch, source: BenchSource, tmp_path: Path) -> None:
    monkeypatch.setattr("bench.floor.RUN_ENTRIES", 5)
    write_frames(tmp_path / "batches", [source.batch(2), source.batch(3), source.batch(1)])
    run(read_frames(tmp_path / "batches"), str(tmp_path / "store"), 2)
    with plyvel.DB(str(tmp_path / "store.index")) as index:
        entries = [(key[:2], len(value) // 24) for key, value in index]
    assert entries == [(b"fe", 1), (b"fu", 1), (b"re", 5), (b"ru", 5)]


def test_a_batch_whose_events_are_not_its_roots_stops_the_floor(source: BenchSource, tmp_path: Path) -> None:
    first, second = parse_batch(source.batch(2)), source.batch(2)
    write_frames(tmp_path / "batches", [second.replace(parse_batch(second).header.root, first.header.root)])
    with pytest.raises(SystemExit, match="does not fit"):
        run(read_frames(tmp_path / "batches"), str(tmp_path / "store"))


def test_a_batch_that_was_changed_stops_the_floor(source: BenchSource, tmp_path: Path) -> None:
    raw = source.batch(2)
    time_ms = parse_batch(raw).header.time_ms
    write_frames(tmp_path / "batches", [raw.replace(encode(time_ms), encode(time_ms + 1), 1)])
    with pytest.raises(BadSignatureError):
        run(read_frames(tmp_path / "batches"), str(tmp_path / "store"))
