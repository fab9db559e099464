"""The stores: one suite over both of them, and what only LevelDB can do wrong."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import plyvel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import store_leveldb
from ledger.rows import FORMAT_KEY
from ledger.store import MERGED_ROWS_MAX, MemoryStore, StagedStore, Store, prefix_stop
from ledger.store_leveldb import LevelDBStore
from primitives.errors import StorageError


@pytest.fixture(params=["memory", "leveldb"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty store of each kind."""
    opened: Store = MemoryStore() if request.param == "memory" else LevelDBStore(tmp_path / "db")
    yield opened
    opened.close()


def test_rows_come_back_in_order_of_their_keys(store: Store) -> None:
    store.write([(b"b2", b"2"), (b"a", b"1"), (b"b1", b""), (b"c", b"3")], sync=True)
    assert store.get(b"b1") == b""
    assert store.get(b"b") is None
    assert list(store.iterate(b"a", b"c")) == [(b"a", b"1"), (b"b1", b""), (b"b2", b"2")]
    assert list(store.iterate(b"b", b"b2", reverse=True)) == [(b"b1", b"")]
    assert list(store.iterate(b"a", b"c", reverse=True)) == [(b"b2", b"2"), (b"b1", b""), (b"a", b"1")]
    assert list(store.iterate(b"x", b"z")) == []


def test_the_only_row_of_a_range_is_found_from_either_end(store: Store) -> None:
    store.write([(b"a1", b"1"), (b"a2", b"2"), (b"a3", b"3")], sync=False)
    for reverse in (False, True):
        assert list(store.iterate(b"a2", b"a3", reverse)) == [(b"a2", b"2")]
        assert list(store.iterate(b"a2", b"a2", reverse)) == []


def test_later_write_of_a_batch_wins_and_none_deletes(store: Store) -> None:
    store.write([(b"a", b"1"), (b"b", b"1")], sync=True)
    store.write([(b"a", b"2"), (b"a", None), (b"b", None), (b"b", b"3"), (b"nothing", None)], sync=False)
    assert store.get(b"a") is None
    assert store.get(b"b") == b"3"
    assert [key for key, _ in store.iterate(b"a", b"l")] == [b"b"]


def test_iteration_sees_the_moment_at_which_it_began(store: Store) -> None:
    store.write([(b"a", b"1"), (b"c", b"3")], sync=True)
    rows = store.iterate(b"a", b"d")
    assert next(rows) == (b"a", b"1")
    store.write([(b"b", b"2"), (b"c", None)], sync=True)
    assert list(rows) == [(b"c", b"3")]


def test_staged_rows_are_seen_until_settled(store: Store) -> None:
    store.write([(b"a", b"1"), (b"b", b"1")], sync=True)
    staged = StagedStore(store)
    first = staged.stage([(b"a", b"2"), (b"b", None), *((b"more %d" % n, b"") for n in range(MERGED_ROWS_MAX))])
    second = staged.stage([(b"a", b"3"), (b"c", b"3")])
    assert [staged.get(key) for key in (b"a", b"b", b"c", b"d")] == [b"3", None, b"3", None]
    assert list(staged.iterate(b"a", b"d")) == [(b"a", b"3"), (b"c", b"3")]
    assert list(staged.iterate(b"a", b"d", reverse=True)) == [(b"c", b"3"), (b"a", b"3")]
    assert (staged.layer_count, staged.last_ticket) == (2, second)
    staged.settle(first)
    assert staged.get(b"b") == b"1"
    staged.settle(second)
    assert staged.layer_count == 0
    assert list(staged.iterate(b"a", b"d")) == [(b"a", b"1"), (b"b", b"1")]


def test_small_stagings_share_a_layer_until_the_last_of_them_is_settled(store: Store) -> None:
    staged = StagedStore(store)
    tickets = [staged.stage([(b"a", b"%d" % n), (b"b%d" % n, b"")]) for n in range(3)]
    assert list(staged.iterate(b"b", b"c")) == [(b"b0", b""), (b"b1", b""), (b"b2", b"")]
    tickets.append(staged.stage([(b"b0", None)]))
    assert (staged.layer_count, staged.get(b"a")) == (1, b"2")
    assert list(staged.iterate(b"b", b"c")) == [(b"b1", b""), (b"b2", b"")]
    staged.settle(tickets[1])
    assert staged.get(b"a") == b"2", "the newest row of the layer is not written yet"
    staged.settle(tickets[-1])
    assert (staged.layer_count, staged.get(b"a")) == (0, None)


@given(st.binary(max_size=4), st.binary(max_size=6))
def test_prefix_stop_bounds_exactly_the_keys_with_the_prefix(prefix: bytes, key: bytes) -> None:
    prefix = b"p" + prefix
    for candidate in (key, prefix + key, prefix[:-1] + key):
        assert (prefix <= candidate < prefix_stop(prefix)) == candidate.startswith(prefix)


def test_leveldb_keeps_rows_over_a_restart(tmp_path: Path) -> None:
    first = LevelDBStore(tmp_path / "db")
    first.write([(b"a", b"1")], sync=True)
    first.close()
    second = LevelDBStore(tmp_path / "db")
    assert second.get(b"a") == b"1"
    second.close()
    second.close()


class WatchedDatabase:
    """A plyvel database that notes how each batch is begun, and that it is written."""

    def __init__(self, opened: Any, noted: list[object]) -> None:
        self._opened = opened
        self._noted = noted

    def __getattr__(self, name: str) -> Any:
        return getattr(self._opened, name)

    def write_batch(self, **settings: object) -> Any:
        batch = self._opened.write_batch(**settings)
        self._noted.append(settings)
        return SimpleNamespace(put=batch.put, delete=batch.delete, write=lambda: self._written(batch))

    def _written(self, batch: Any) -> None:
        batch.write()
        self._noted.append("written")


def test_leveldb_is_told_to_sync_what_is_to_be_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noted: list[object] = []
    opened = plyvel.DB
    monkeypatch.setattr(plyvel, "DB", lambda *args, **settings: WatchedDatabase(opened(*args, **settings), noted))
    store = LevelDBStore(tmp_path / "db")
    assert noted == [{"sync": True}, "written"], "the format of a new store"
    for sync in (True, False):
        noted.clear()
        store.write([(b"a", b"1"), (b"b", None)], sync=sync)
        assert noted == [{"sync": sync}, "written"]
    store.close()


def test_directory_in_use_is_refused_by_name(tmp_path: Path) -> None:
    store = LevelDBStore(tmp_path / "db")
    with pytest.raises(StorageError, match="home already in use"):
        LevelDBStore(tmp_path / "db")
    store.close()
    LevelDBStore(tmp_path / "db").close()


def test_store_of_a_later_format_is_refused_by_name(tmp_path: Path) -> None:
    store = LevelDBStore(tmp_path / "db")
    store.write([(FORMAT_KEY, b"chainnode-ledger/99")], sync=True)
    store.close()
    with pytest.raises(StorageError, match=r"newer release.*chainnode-ledger/1.*chainnode-ledger/99.*does not go back"):
        LevelDBStore(tmp_path / "db")


@pytest.mark.parametrize("name", [b"chainnode-ledger/0", b"chainnode-ledger/x", b"something"])
def test_store_of_a_format_that_no_release_names_is_refused(tmp_path: Path, name: bytes) -> None:
    store = LevelDBStore(tmp_path / "db")
    store.write([(FORMAT_KEY, name)], sync=True)
    store.close()
    with pytest.raises(StorageError, match="store format not known"):
        LevelDBStore(tmp_path / "db")


def test_store_of_an_older_format_that_is_read_becomes_one_of_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_leveldb, "DROPPED_A_WRITE", 2)
    store = LevelDBStore(tmp_path / "db")
    dropped = [(b"p" + bytes([number]), b"") for number in range(5)]
    store.write([(FORMAT_KEY, b"chainnode-ledger/1"), (b"a", b"1"), (b"q", b"2"), *dropped], sync=True)
    store.close()
    store = LevelDBStore(tmp_path / "db")
    held = {FORMAT_KEY: b"chainnode-ledger/2", b"a": b"1", b"q": b"2"}
    assert dict(store.iterate(b"\0", b"\xff")) == held, "rows of kinds that are no more are gone"
    store.close()


def test_damaged_files_are_reported_and_not_read(tmp_path: Path) -> None:
    store = LevelDBStore(tmp_path / "db")
    store.write([(b"a%05d" % i, bytes(100)) for i in range(1000)], sync=True)
    store.close()
    manifest = next((tmp_path / "db").glob("MANIFEST-*"))
    manifest.write_bytes(b"rubbish" * 20)
    with pytest.raises(StorageError, match="damaged"):
        LevelDBStore(tmp_path / "db")


def test_path_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "db").write_text("not a directory")
    with pytest.raises(StorageError, match="cannot open the store"):
        LevelDBStore(tmp_path / "db")


def test_closed_store_is_an_error_of_storage(tmp_path: Path) -> None:
    store = LevelDBStore(tmp_path / "db")
    store.close()
    with pytest.raises(StorageError):
        store.get(b"a")
    with pytest.raises(StorageError):
        store.write([(b"a", b"1")], sync=True)


def test_missing_plyvel_names_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plyvel", None)
    with pytest.raises(StorageError, match=r"compiler.*libleveldb-dev"):
        LevelDBStore(tmp_path / "db")


@given(
    st.lists(
        st.one_of(
            st.tuples(st.binary(min_size=1, max_size=2), st.none() | st.binary(max_size=2)),
            st.none(),  # iterate
            st.integers(1, 400),  # so many at once
        ),
        max_size=40,
    )
)
def test_a_store_in_memory_yields_the_rows_of_a_dictionary_in_order(
    steps: list[tuple[bytes, bytes | None] | int | None],
) -> None:
    store, held = MemoryStore(), dict[bytes, bytes]()
    for step in (*steps, None):
        if step is None:
            assert list(store.iterate(b"", b"\xff\xff\xff")) == sorted(held.items())
            assert list(store.iterate(b"a", b"b", reverse=True)) == sorted(
                ((key, value) for key, value in held.items() if b"a" <= key < b"b"), reverse=True
            )
            continue
        many = [(b"a%03d" % number, b"") for number in range(step)] if isinstance(step, int) else [step]
        store.write(many, sync=False)
        for key, value in many:
            if value is None:
                held.pop(key, None)
            else:
                held[key] = value
