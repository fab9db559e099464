"""Large bodies of batches lie in order of arrival, and nobody who reads or writes the store sees them apart."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import plyvel
import pytest

from ledger.arrival import BATCH, BODY, NUMBERED_BYTES_MIN, bodies_between, body_key, numbers
from ledger.store import MemoryStore
from ledger.store_leveldb import BODIES, LevelDBStore
from primitives.errors import StorageError

LARGE = bytes(NUMBERED_BYTES_MIN)
FIRST, SECOND, THIRD = (BATCH + bytes([number]) * 32 for number in (200, 100, 50))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LevelDBStore]:
    opened = LevelDBStore(tmp_path / "db")
    yield opened
    opened.close()


def laid(store: LevelDBStore) -> dict[bytes, bytes]:
    """Return the rows as they lie in the files."""
    store.close()
    with plyvel.DB(str(store.path)) as rows, plyvel.DB(str(store.path / BODIES), create_if_missing=True) as bodies:
        return {key: value for key, value in (*rows, *bodies) if key[:1] in (BATCH, BODY)}


def number(value: int) -> bytes:
    return value.to_bytes(8, "big")


def test_large_bodies_lie_in_order_of_arrival_and_small_ones_under_their_hash(store: LevelDBStore) -> None:
    store.write([(FIRST, LARGE + b"1"), (SECOND, b"small")], sync=False)
    store.write([(THIRD, LARGE + b"3")], sync=False)
    assert [store.get(key) for key in (FIRST, SECOND, THIRD)] == [LARGE + b"1", b"small", LARGE + b"3"]
    assert laid(store) == {
        FIRST: number(0), SECOND: b"small", THIRD: number(1), body_key(number(0)): LARGE + b"1",
        body_key(number(1)): LARGE + b"3",
    }  # fmt: skip


def test_numbers_go_on_after_a_restart(store: LevelDBStore) -> None:
    store.write([(FIRST, LARGE + b"1")], sync=False)
    store.close()
    again = LevelDBStore(store.path)
    again.write([(SECOND, LARGE + b"2")], sync=False)
    assert (again.get(FIRST), again.get(SECOND)) == (LARGE + b"1", LARGE + b"2")
    assert laid(again)[SECOND] == number(1)


def test_a_body_goes_with_its_batch_even_within_one_write(store: LevelDBStore) -> None:
    store.write([(FIRST, LARGE)], sync=False)
    store.write([(FIRST, None), (SECOND, LARGE), (SECOND, None)], sync=False)
    assert store.get(FIRST) is store.get(SECOND) is None
    assert laid(store) == {}


def test_a_batch_written_again_takes_the_place_of_its_body(store: LevelDBStore) -> None:
    for body in (LARGE + b"1", LARGE + b"2", b"small", LARGE + b"3"):
        store.write([(FIRST, body)], sync=False)
        assert store.get(FIRST) == body
    assert len(laid(store)) == 2


def test_rows_of_a_range_come_whole_and_in_the_order_of_their_keys(store: LevelDBStore) -> None:
    rows = [(b"A", b"0"), (FIRST, LARGE + b"1"), (SECOND, b"small"), (THIRD, LARGE), (b"c", b"2"), (b"e", b"3")]
    store.write(rows, sync=False)
    for start, stop in ((b"\0", b"f"), (b"B", b"C"), (SECOND, FIRST), (b"c", b"e"), (b"d", b"f"), (b"C", b"d")):
        for reverse in (False, True):
            expected = sorted((row for row in rows if start <= row[0] < stop), reverse=reverse)
            assert list(store.iterate(start, stop, reverse)) == expected


def test_whatever_is_written_reads_as_from_a_store_in_memory(store: LevelDBStore) -> None:
    chance, memory = random.Random(1), MemoryStore()
    keys = [BATCH + bytes([number]) for number in range(6)] + [b"b1", b"e1"]
    for step in range(300):
        puts = [
            (chance.choice(keys), chance.choice([None, b"%d" % step, bytes(8), LARGE + b"%d" % step]))
            for _ in range(chance.randrange(1, 5))
        ]
        # A value of 8 bytes is no batch: none is that short.
        puts = [(key, b"9 bytes!!" if key[:1] == BATCH and value == bytes(8) else value) for key, value in puts]
        for each in (store, memory):
            each.write(puts, sync=False)
        assert list(store.iterate(b"\0", b"f")) == list(memory.iterate(b"\0", b"f"))
    assert [store.get(key) for key in keys] == [memory.get(key) for key in keys]
    rows = laid(store)
    assert sorted(value for key, value in rows.items() if key[:1] == BATCH and len(value) == 8) == [
        key[1:] for key in sorted(rows) if key[:1] == BODY
    ]


def test_a_body_that_is_gone_from_the_disk_is_damage_and_no_missing_batch(store: LevelDBStore) -> None:
    store.write([(FIRST, LARGE)], sync=False)
    store.close()
    with plyvel.DB(str(store.path / BODIES)) as database:
        database.delete(body_key(number(0)))
    again = LevelDBStore(store.path)
    with pytest.raises(StorageError, match=f"the body of batch {FIRST[1:].hex()} is missing"):
        again.get(FIRST)
    with pytest.raises(StorageError, match="is missing"):
        list(again.iterate(b"B", b"C"))
    again.close()


def test_a_batch_that_goes_while_it_is_read_is_a_missing_batch_and_no_damage(
    store: LevelDBStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write([(FIRST, LARGE)], sync=False)
    database = store._db

    class Overtaken:
        def get(self, key: bytes, **settings: bool) -> bytes | None:
            found: bytes | None = database.get(key, **settings)
            if key == FIRST and found is not None:
                database.delete(FIRST)
                store._bodies.delete(body_key(found))
            return found

    monkeypatch.setattr(store, "_db", Overtaken())
    assert store.get(FIRST) is None
    monkeypatch.undo()


class Watched:
    """A database that notes what is written to it, and whether that is synced."""

    def __init__(self, opened: Any, name: str, noted: list[tuple[str, str, bool]]) -> None:
        self._opened, self._name, self._noted = opened, name, noted

    def __getattr__(self, name: str) -> Any:
        return getattr(self._opened, name)

    def write_batch(self, *, sync: bool) -> Any:
        batch = self._opened.write_batch(sync=sync)

        def write() -> None:
            self._noted.append((self._name, "write", sync))
            batch.write()

        return SimpleNamespace(put=batch.put, delete=batch.delete, write=write)


@pytest.mark.parametrize("sync", [False, True])
def test_a_body_is_on_the_disk_before_its_row_and_goes_only_after_it(
    store: LevelDBStore, monkeypatch: pytest.MonkeyPatch, sync: bool
) -> None:
    store.write([(SECOND, LARGE)], sync=sync)
    noted: list[tuple[str, str, bool]] = []
    monkeypatch.setattr(store, "_db", Watched(store._db, "rows", noted))
    monkeypatch.setattr(store, "_bodies", Watched(store._bodies, "bodies", noted))
    store.write([(FIRST, LARGE)], sync=sync)
    assert noted == [("bodies", "write", True), ("rows", "write", sync)]
    noted.clear()
    store.write([(FIRST, None)], sync=sync)
    assert noted == [("bodies", "write", True), ("rows", "write", True), ("bodies", "write", False)], "mark, row, body"
    monkeypatch.undo()


def test_a_body_that_is_no_batch_is_left_alone(store: LevelDBStore) -> None:
    store.write([(FIRST, LARGE)], sync=False)
    store.close()
    with plyvel.DB(str(store.path / BODIES)) as database:
        database.put(body_key(number(7)), LARGE)
    again = LevelDBStore(store.path)
    assert dict(again.iterate(b"A", b"e")) == {FIRST: LARGE}
    again.write([(SECOND, LARGE)], sync=False)
    assert laid(again)[SECOND] == number(8)


def test_damage_of_the_bodies_is_told_with_its_place(store: LevelDBStore) -> None:
    store.write([(FIRST, LARGE * 20)], sync=True)
    store.close()
    (log,) = (store.path / BODIES).glob("*.log")
    data = bytearray(log.read_bytes())
    data[len(data) // 2] ^= 1
    log.write_bytes(data)
    with pytest.raises(StorageError, match=r"bodies.*damaged, \d+\.log at offset"):
        LevelDBStore(store.path)


def test_bodies_are_compacted_in_as_many_parts_as_their_batches() -> None:
    newest = body_key(number(1_023))
    edges = [BATCH + bytes([part * 64]) for part in range(4)]
    ranges = [bodies_between(*pair, newest) for pair in zip(edges, [*edges[1:], b"C"], strict=True)]
    assert ranges == [(body_key(number(low)), body_key(number(low + 256))) for low in (0, 256, 512, 768)]
    assert bodies_between(b"A", b"\xff", newest) == (body_key(number(0)), body_key(number(1_024)))
    assert bodies_between(BATCH, BATCH + b"\0", None) == (body_key(number(0)), body_key(number(0)))


def test_compacting_the_batches_gives_back_the_room_of_deleted_bodies(store: LevelDBStore) -> None:
    chance = random.Random(2)
    keys = [BATCH + chance.randbytes(32) for _ in range(64)]
    store.write([(key, chance.randbytes(100_000)) for key in keys], sync=False)
    store.compact(BATCH, b"C")
    before = sum(file.stat().st_size for file in store.path.glob("*.ldb"))
    store.write([(key, None) for key in keys[:48]], sync=False)
    store.compact(BATCH, BATCH + b"\x80")
    store.compact(BATCH + b"\x80", b"C")
    after = sum(file.stat().st_size for file in store.path.glob("*.ldb"))
    assert after < before / 3


def test_numbers_rise_from_the_newest() -> None:
    assert next(numbers(None)) == number(0)
    assert next(numbers(body_key(number(255)))) == number(256)
