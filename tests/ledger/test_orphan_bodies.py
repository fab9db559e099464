"""Bodies that a crash left without a row go at the next opening, and no other does."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import plyvel
import pytest

from ledger import store_leveldb
from ledger.arrival import BATCH, BODY, GOING, NUMBERED_BYTES_MIN, batch_key_of
from ledger.batch_headers import BatchHeader
from ledger.batches import Batch
from ledger.store import Put
from ledger.store_leveldb import BODIES, LevelDBStore
from primitives.encoding import encode
from primitives.ids import ZERO_HASH, Hash, SourceKey, TimeMs


class Crash(BaseException):
    """The process ends here."""


class Failing:
    """A database that lets so many writes pass and then ends the process, before the next or after it."""

    def __init__(self, opened: Any, left: list[int]) -> None:
        self._opened, self._left = opened, left

    def __getattr__(self, name: str) -> Any:
        return getattr(self._opened, name)

    def write_batch(self, *, sync: bool) -> Any:
        batch, left = self._opened.write_batch(sync=sync), self._left

        class Counted:
            put, delete = batch.put, batch.delete

            def write(self) -> None:
                if not left[0]:
                    raise Crash
                left[0] -= 1
                batch.write()

        return Counted()


def batch(number: int, size: int = NUMBERED_BYTES_MIN) -> tuple[bytes, bytes]:
    """Return the key and the bytes of a batch; nobody looks at its events here."""
    header = BatchHeader(
        suite=1, chain_id=ZERO_HASH, member="bank-a", source=SourceKey(bytes(32)), number=number, previous=ZERO_HASH,
        count=1, root=Hash(bytes(32)), time_ms=TimeMs(1),
    )  # fmt: skip
    raw = encode(Batch(header, bytes(64), (bytes(size),)))
    key = batch_key_of(raw)
    assert key == BATCH + header.hash()
    return key, raw


def crash_at(store: LevelDBStore, writes: int, puts: list[Put]) -> bool:
    """Write, and end the process after so many of the databases' writes; say whether it was ended. Closes the store."""
    left = [writes]
    rows, bodies = store._db, store._open_bodies()
    store._db, store._bodies = Failing(rows, left), Failing(bodies, left)
    try:
        store.write(puts, sync=True)
    except Crash:
        return True
    else:
        return False
    finally:
        store._db, store._bodies = rows, bodies
        store.close()


def numbers_of(path: Path) -> tuple[list[bytes], list[bytes], list[bytes]]:
    """Return the numbers that rows name, those of bodies, and those of marks."""
    with plyvel.DB(str(path)) as rows, plyvel.DB(str(path / BODIES)) as bodies:
        named = sorted(value for key, value in rows if key[:1] == BATCH and len(value) == 8)
        kept = list(bodies)
    return named, [key[1:] for key, _ in kept if key[:1] == BODY], [key[1:] for key, _ in kept if key[:1] == GOING]


def check_whole(path: Path) -> None:
    """Hold a store that was opened and closed to having a body for each row that names one, and no other."""
    named, kept, marks = numbers_of(path)
    assert named == kept
    assert marks == []


def opened_with(path: Path, *batches: tuple[bytes, bytes]) -> LevelDBStore:
    store = LevelDBStore(path)
    for item in batches:
        store.write([item], sync=True)
    return store


def test_a_body_whose_row_was_not_written_any_more_goes(tmp_path: Path) -> None:
    store = opened_with(tmp_path / "db", batch(0))
    assert crash_at(store, 1, [batch(1), batch(2)])
    assert len(numbers_of(store.path)[1]) == 3, "this is what the crash left"
    again = LevelDBStore(store.path)
    assert again.get(batch(0)[0]) == batch(0)[1]
    assert again.get(batch(1)[0]) is None
    again.write([batch(3)], sync=True)
    again.close()
    check_whole(store.path)
    assert numbers_of(store.path)[0] == [bytes(8), (3).to_bytes(8, "big")], "no number is given twice"


def test_a_body_whose_row_went_goes(tmp_path: Path) -> None:
    store = opened_with(tmp_path / "db", *map(batch, range(4)))
    assert crash_at(store, 2, [(batch(1)[0], None)])
    assert len(numbers_of(store.path)[1]) == 4, "this is what the crash left"
    LevelDBStore(store.path).close()
    check_whole(store.path)
    assert len(numbers_of(store.path)[1]) == 3


def test_a_marked_body_whose_row_did_not_go_stays(tmp_path: Path) -> None:
    store = opened_with(tmp_path / "db", *map(batch, range(3)))
    assert crash_at(store, 1, [(batch(1)[0], None)])
    assert len(numbers_of(store.path)[2]) == 1, "this is what the crash left"
    again = LevelDBStore(store.path)
    assert again.get(batch(1)[0]) == batch(1)[1]
    again.close()
    check_whole(store.path)


def test_of_a_batch_written_twice_the_body_that_its_row_names_stays(tmp_path: Path) -> None:
    for writes in range(4):
        store = opened_with(tmp_path / str(writes), batch(0), batch(1))
        assert crash_at(store, writes, [batch(0)]) == (writes < 3)
        again = LevelDBStore(store.path)
        assert [again.get(batch(number)[0]) for number in (0, 1)] == [batch(0)[1], batch(1)[1]]
        again.close()
        check_whole(store.path)


def test_all_newest_bodies_go_whose_rows_a_power_failure_took(tmp_path: Path) -> None:
    store = opened_with(tmp_path / "db", *map(batch, range(5)))
    store.close()
    with plyvel.DB(str(store.path)) as rows:
        for number in (2, 3, 4):
            rows.delete(batch(number)[0])
    LevelDBStore(store.path).close()
    check_whole(store.path)
    assert len(numbers_of(store.path)[1]) == 2


def test_an_opening_looks_at_so_many_bodies_and_the_next_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_leveldb, "ORPHANS_A_START_MAX", 3)
    store = opened_with(tmp_path / "db", *map(batch, range(8)))
    store.close()
    with plyvel.DB(str(store.path)) as rows:
        for number in range(8):
            rows.delete(batch(number)[0])
    for left in (5, 2, 0):
        LevelDBStore(store.path).close()
        assert len(numbers_of(store.path)[1]) == left


@pytest.mark.parametrize("seed", range(4))
def test_wherever_a_write_is_cut_short_each_row_has_its_body_and_each_body_its_row(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    made = [batch(number, chance.choice([100, NUMBERED_BYTES_MIN])) for number in range(8)]
    rows: dict[bytes, bytes | None] = {key: None for key, _ in made}
    path = tmp_path / "db"
    for _ in range(25):
        chosen = chance.sample(made, chance.randrange(1, 4))
        puts: list[Put] = [(key, chance.choice([None, raw, raw])) for key, raw in chosen]
        if crash_at(LevelDBStore(path), chance.randrange(4), puts):
            again = LevelDBStore(path)
            found = {key: again.get(key) for key in rows}
            again.close()
            assert found in (rows, rows | dict(puts)), "all of a write or nothing"
        else:
            found = rows | dict(puts)
            LevelDBStore(path).close()
        check_whole(path)
        rows = found
