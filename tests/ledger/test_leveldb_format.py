"""Where a store is damaged is found by LevelDB's own checksums: of every byte that matters, and of no sound file."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from ledger.leveldb_format import (
    FOOTER_BYTES,
    LOG_BLOCK_BYTES,
    LOG_HEADER_BYTES,
    MAGIC,
    bad_block,
    bad_frame,
    crc32c,
    masked,
    needed_log,
)
from ledger.store_leveldb import LevelDBStore, find_damage
from primitives.errors import StorageError


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a closed store with a table of many blocks and a log of several frames."""
    path = tmp_path_factory.mktemp("leveldb") / "store"
    draw = Random(7)
    rows = [(b"%06d" % number, draw.randbytes(300)) for number in range(2_000)]
    first = LevelDBStore(path, write_buffer_bytes=64 << 10)
    for start in range(0, len(rows), 50):
        first.write(rows[start : start + 50], sync=True)
    first.close()
    again = LevelDBStore(path)  # what the log held is a table now
    for start in range(0, 500, 100):
        again.write(rows[start : start + 100], sync=True)
    again.close()
    return path


def test_the_checksum_is_that_of_leveldb() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert masked(crc32c(b"foo")) != crc32c(b"foo")


def test_sound_files_are_sound(store: Path) -> None:
    assert find_damage(store) is None
    assert list(store.glob("*.ldb"))


@pytest.mark.parametrize("pattern", ["*.ldb", "*.log", "MANIFEST-*", "CURRENT"])
def test_a_flipped_bit_anywhere_is_found_with_its_file_and_no_later_than_it_is(store: Path, pattern: str) -> None:
    path = max(store.glob(pattern), key=lambda file: file.stat().st_size)
    sound = path.read_bytes()
    draw = Random(3)
    dead = set(dead_places(path, sound))
    edges = (place for edge in dead for place in (edge - 1, edge) if place < len(sound))
    for place in {0, len(sound) // 2, *list(edges)[:6], *draw.sample(range(len(sound)), min(12, len(sound)))}:
        changed = bytearray(sound)
        changed[place] ^= 0x40
        path.write_bytes(changed)
        try:
            found = find_damage(store)
        finally:
            path.write_bytes(sound)
        if found is None:
            assert place in dead, (path.name, place)
            continue
        assert place not in dead, (path.name, place)
        name, _, offset = found.partition(" at offset ")
        assert name == path.name
        assert int(offset) <= place or place >= len(sound) - FOOTER_BYTES


def dead_places(path: Path, sound: bytes) -> Iterator[int]:
    """Yield the places that nobody reads: padding of a table's footer, and ends of blocks that no header fits in."""
    if path.suffix == ".ldb":
        place, ends = len(sound) - FOOTER_BYTES, 0
        while ends < 4:  # offset and size of two blocks, each ended by a byte without its highest bit
            ends += sound[place] < 0x80
            place += 1
        yield from range(place, len(sound) - len(MAGIC))
    elif path.name != "CURRENT":
        ends_of_frames = [offset + LOG_HEADER_BYTES + length for offset, length in frames(sound)]
        for end in ends_of_frames:
            left = -end % LOG_BLOCK_BYTES
            yield from range(end, end + left if left < LOG_HEADER_BYTES else end)


def frames(log: bytes) -> list[tuple[int, int]]:
    """Return offset and length of each frame of a sound log."""
    found, offset = [], 0
    while offset + LOG_HEADER_BYTES <= len(log):
        left = -offset % LOG_BLOCK_BYTES
        if 0 < left < LOG_HEADER_BYTES:
            offset += left
            continue
        length = int.from_bytes(log[offset + 4 : offset + 6], "little")
        found.append((offset, length))
        offset += LOG_HEADER_BYTES + length
    return found


@pytest.mark.parametrize("pattern", ["*.log", "MANIFEST-*"])
def test_every_flipped_bit_of_a_length_is_found_at_its_frame_and_refused(
    store: Path, tmp_path: Path, pattern: str
) -> None:
    """LevelDB itself takes a last frame that overruns its file for a cut one, and drops committed rows in silence."""
    copy = tmp_path / "store"
    shutil.copytree(store, copy)
    (path,) = copy.glob(pattern)
    sound = path.read_bytes()
    found = frames(sound)
    last_block = [offset for offset, _ in found if offset // LOG_BLOCK_BYTES == (len(sound) - 1) // LOG_BLOCK_BYTES]
    assert last_block
    for offset in [found[0][0], *last_block]:
        for bit in range(16):
            changed = bytearray(sound)
            changed[offset + 4 + bit // 8] ^= 1 << bit % 8
            path.write_bytes(changed)
            assert bad_frame(bytes(changed)) == offset, (offset, bit)
            if offset in last_block:
                with pytest.raises(StorageError, match=f"{path.name} at offset {offset}[;:].*fetches the chain again"):
                    LevelDBStore(copy)


def test_a_zeroed_header_of_the_log_is_refused_and_zeros_at_its_end_are_not(tmp_path: Path) -> None:
    """LevelDB drops what lies behind a header of zeros; of a file whose end was never written there is nothing else."""
    made = LevelDBStore(tmp_path / "made")
    for number in range(3):
        made.write([(b"%d" % number, bytes([number + 1]) * 40)], sync=True)
    made.close()
    (log,) = (tmp_path / "made").glob("*.log")
    sound = log.read_bytes()
    offset, length = frames(sound)[-2]
    log.write_bytes(sound[:offset] + bytes(LOG_HEADER_BYTES) + sound[offset + LOG_HEADER_BYTES :])
    with pytest.raises(StorageError, match=f"{log.name} at offset {offset}[;:]"):
        LevelDBStore(tmp_path / "made")
    log.write_bytes(sound[: offset + LOG_HEADER_BYTES + length] + bytes(len(sound)))
    again = LevelDBStore(tmp_path / "made")
    assert (again.get(b"1"), again.get(b"2")) == (b"\2" * 40, None)
    again.close()


def test_a_log_that_a_crash_cut_anywhere_in_its_last_frame_is_taken(store: Path, tmp_path: Path) -> None:
    (log,) = store.glob("*.log")
    sound = log.read_bytes()
    _, length = frames(sound)[-1]
    for missing in (1, 2, length // 2, length - 1, length, length + 1, length + LOG_HEADER_BYTES):
        assert bad_frame(sound[: len(sound) - missing]) is None, missing
    for missing in (1, length // 2, length):
        copy = tmp_path / f"store-{missing}"
        shutil.copytree(store, copy)
        (copy / log.name).write_bytes(sound[: len(sound) - missing])
        LevelDBStore(copy).close()


def test_the_store_says_which_file_and_where_and_what_to_do(store: Path, tmp_path: Path) -> None:
    copy = tmp_path / "store"
    shutil.copytree(store, copy)
    (log,) = copy.glob("*.log")
    data = bytearray(log.read_bytes())
    data[40_000] ^= 1
    log.write_bytes(data)
    with pytest.raises(StorageError, match=rf"damaged, {log.name} at offset \d+.*fetches the chain again"):
        LevelDBStore(copy)
    with pytest.raises(StorageError, match="have it built again"):
        LevelDBStore(copy, remedy="have it built again")


@pytest.mark.parametrize(
    ("pattern", "how", "named"),
    [
        ("CURRENT", "missing", "CURRENT is missing"),
        ("CURRENT", "empty", "CURRENT at offset 0"),
        ("MANIFEST-*", "missing", "{name} is missing"),
        ("MANIFEST-*", "empty", "{name} at offset 0"),
        ("*.log", "missing", "{name} is missing"),
        ("*.ldb", "missing", "{name} is missing"),
        ("*.ldb", "empty", "{name} at offset 0"),
        ("*.ldb", "cut", "{name} at offset"),
    ],
)
def test_a_file_that_is_gone_or_cut_is_named_and_nothing_is_begun_anew(
    store: Path, tmp_path: Path, pattern: str, how: str, named: str
) -> None:
    """Without CURRENT LevelDB itself would make an empty store of what its log still holds, and delete the tables."""
    copy = tmp_path / "store"
    shutil.copytree(store, copy)
    file = min(copy.glob(pattern))
    if how == "missing":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-100] if how == "cut" else b"")
    before = {path.name for path in copy.glob("*.ldb")}
    for _ in range(2):
        with pytest.raises(StorageError) as caught:
            LevelDBStore(copy)
        assert f"the store is damaged, {named.format(name=file.name)}" in str(caught.value)
        assert str(copy) in str(caught.value)
        assert "move the directory away and start" in str(caught.value)
    assert {path.name for path in copy.glob("*.ldb")} >= before


def test_the_log_that_is_needed_is_the_one_that_leveldb_writes(store: Path) -> None:
    (manifest,) = store.glob("MANIFEST-*")
    (log,) = store.glob("*.log")
    assert needed_log(manifest.read_bytes()) == log.name
    assert needed_log(b"") is None
    for place in range(manifest.stat().st_size):  # whatever it holds, it is read or said to be unreadable
        data = bytearray(manifest.read_bytes())
        data[place] ^= 0xFF
        needed_log(bytes(data))


def test_a_directory_in_which_nothing_was_begun_is_taken(tmp_path: Path) -> None:
    (tmp_path / "LOG").touch()
    (tmp_path / "MANIFEST-000001").touch()  # a crash may leave it before CURRENT is there
    store = LevelDBStore(tmp_path)
    store.write([(b"k", b"v")], sync=True)
    assert store.get(b"k") == b"v"
    store.close()


def test_files_that_leveldb_did_not_number_are_nobodys_damage(store: Path, tmp_path: Path) -> None:
    copy = tmp_path / "store"
    shutil.copytree(store, copy)
    for name in ("notes.log", "000001.old.log", "notes.ldb", "MANIFEST-old"):
        (copy / name).write_bytes(b"a note of an operator")
    (copy / "more.log").mkdir()
    LevelDBStore(copy).close()
    assert find_damage(copy) is None
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "notes.log").touch()
    LevelDBStore(bare).close()


def test_logs_are_compared_by_their_numbers_not_as_text(store: Path, tmp_path: Path) -> None:
    copy = tmp_path / "store"
    shutil.copytree(store, copy)
    (log,) = copy.glob("*.log")
    (manifest,) = copy.glob("MANIFEST-*")
    edit = b"\x01\x02" + bytes([0x80 | 999_999 & 0x7F, 0x80 | 999_999 >> 7 & 0x7F, 999_999 >> 14])  # the log 999999
    manifest.write_bytes(masked(crc32c(edit)).to_bytes(4, "little") + (len(edit) - 1).to_bytes(2, "little") + edit)
    log.rename(copy / "999999.log")
    (copy / "1000000.log").write_bytes(b"\xff" * 20)
    with pytest.raises(StorageError, match=r"the store is damaged, 1000000\.log at offset 0;"):
        LevelDBStore(copy)


@pytest.mark.parametrize(
    "data", [b"", b"MANIFEST-000002", b"M" * 5_000 + b"\n", b"../MANIFEST-000002\n", b".\n", b"\0\n"]
)
def test_a_current_that_names_no_manifest_is_damaged(store: Path, tmp_path: Path, data: bytes) -> None:
    copy = tmp_path / "store"
    shutil.copytree(store, copy)
    (copy / "CURRENT").write_bytes(data)
    with pytest.raises(StorageError, match=r"the store is damaged, CURRENT at offset 0: expected .*fetches the chain"):
        LevelDBStore(copy)


def test_no_more_is_read_than_it_may_take(store: Path) -> None:
    log = max(store.glob("*.log"))
    sound = log.read_bytes()
    log.write_bytes(bytes(len(sound)))
    try:
        assert find_damage(store, bytes_max=1) is None
    finally:
        log.write_bytes(sound)


@pytest.mark.parametrize("data", [b"", b"x", bytes(48), bytes(40) + b"\xff" * 8])
def test_what_is_no_table_is_damaged_at_its_footer(data: bytes) -> None:
    assert bad_block(data) == max(0, len(data) - FOOTER_BYTES)


def test_a_torn_last_frame_is_no_damage() -> None:
    body = b"\x01" + b"payload"
    frame = masked(crc32c(body)).to_bytes(4, "little") + len(body[1:]).to_bytes(2, "little") + body
    assert bad_frame(frame + frame) is None
    assert bad_frame(frame + frame[:-3]) is None
    assert bad_frame(frame[:-1] + b"x" + frame) == 0
    assert bad_frame(frame + frame[:-1] + b"x") == len(frame)


def test_a_last_frame_of_no_kind_that_a_log_has_is_no_torn_one() -> None:
    for kind, found in ((0, 0), (1, None), (4, None), (5, 0)):
        assert bad_frame(b"\1\2\3\4" + (100).to_bytes(2, "little") + bytes([kind]) + b"payload") == found


def test_a_length_that_no_block_has_room_for_is_no_torn_write() -> None:
    """LevelDB never writes one, whatever a crash cuts: it begins a frame of its own in each block."""
    room = LOG_BLOCK_BYTES - LOG_HEADER_BYTES
    for length, found in ((room, None), (room + 1, 0), (0xFFFF, 0)):
        assert bad_frame(b"\1\2\3\4" + length.to_bytes(2, "little") + b"\1payload") == found
