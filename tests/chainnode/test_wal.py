"""The write-ahead log: every cut, every flip, every crash between write and sync."""

import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainnode.wal import WriteAheadLog, was_begun
from chainnode.wal_format import (
    BODY_BYTES_MAX,
    HEADER_BYTES,
    LogDamaged,
    encode_body,
    encode_frame,
    encode_header,
    scan,
)
from primitives.errors import StorageError, UsageError

CHAIN = bytes(range(32))
GROUPS = [[b"propose"], [b"prepare", b""], [b"x" * 700], [b"commit"]]


def build(groups: list[list[bytes]], chain: bytes = CHAIN) -> bytes:
    data = encode_header(chain)
    for group in groups:
        data += encode_frame(chain, len(data), encode_body(group))
    return data


def ends(groups: list[list[bytes]]) -> list[int]:
    return [len(build(groups[:count])) for count in range(len(groups) + 1)]


@given(st.lists(st.lists(st.binary(max_size=60), min_size=1, max_size=4), max_size=6))
def test_what_was_framed_is_scanned_back(groups: list[list[bytes]]) -> None:
    data = build(groups)
    assert scan(data, CHAIN) == ([record for group in groups for record in group], len(data), 0)


def test_cut_at_every_byte_gives_the_whole_frames_before_it() -> None:
    data = build(GROUPS)
    boundaries = ends(GROUPS)
    for cut in range(len(data) + 1):
        found = scan(data[:cut], CHAIN)
        whole = sum(1 for end in boundaries if end <= cut)
        assert found.records == [record for group in GROUPS[: max(whole - 1, 0)] for record in group]
        assert found.sound_bytes + found.torn_bytes == cut


@pytest.mark.parametrize("flip", [0x01, 0x80, 0xFF])
def test_flip_of_any_byte_is_refused_with_the_offset_of_its_frame(flip: int) -> None:
    data = build(GROUPS)
    boundaries = [0, *ends(GROUPS)]
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= flip
        with pytest.raises(StorageError) as caught:
            scan(bytes(damaged), CHAIN)
        if isinstance(caught.value, LogDamaged):
            assert caught.value.offset == max(end for end in boundaries if end <= position)


def test_last_write_of_which_sectors_never_arrived_is_cut() -> None:
    groups = [*GROUPS[:2], [b"y" * 2000]]
    data = build(groups)
    start = ends(groups)[2]
    for sector in range(start // 512, len(data) // 512 + 1):
        lost = bytearray(data)
        begin, end = max(start, sector * 512), min(len(data), (sector + 1) * 512)
        lost[begin:end] = bytes(end - begin)
        found = scan(bytes(lost), CHAIN)
        assert found.sound_bytes == start
        assert found.records == [b"propose", b"prepare", b""]


def test_lost_sector_before_a_sound_frame_is_damage_not_a_torn_tail() -> None:
    groups = [[b"a"], [b"z" * 3000], [b"voted"]]
    data = bytearray(build(groups))
    start = ends(groups)[1]
    data[1024:1536] = bytes(512)
    with pytest.raises(LogDamaged) as caught:
        scan(bytes(data), CHAIN)
    assert caught.value.offset == start
    header_lost = bytearray(build(groups))
    header_lost[start : start + 512 - start % 512] = bytes(512 - start % 512)
    with pytest.raises(LogDamaged):
        scan(bytes(header_lost), CHAIN)


def test_frame_moved_to_another_place_is_refused() -> None:
    first = encode_frame(CHAIN, HEADER_BYTES, encode_body([b"one"]))
    with pytest.raises(LogDamaged):
        scan(encode_header(CHAIN) + first + first, CHAIN)


def test_log_of_another_chain_or_version_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match=r"another chain: expected .*, got 0000.*put this node's own log back"):
        scan(build(GROUPS, bytes(32)), CHAIN)

    head = b"CHAINWAL" + (2).to_bytes(2, "little") + CHAIN
    with pytest.raises(StorageError, match=r"format version: expected 1, got 2; run the release that wrote it"):
        scan(head + hashlib.sha256(head).digest()[:8], CHAIN)


def test_synced_records_come_back_and_gathered_ones_do_not(tmp_path: Path) -> None:
    path = tmp_path / "consensus.wal"
    log = WriteAheadLog(path, CHAIN)
    assert log.created
    log.append([b"a", b"b"])
    log.sync()
    log.append([b"never synced"])
    log.close()
    again = WriteAheadLog(path, CHAIN)
    assert not again.created
    assert again.replay() == [b"a", b"b"]
    assert again.size_bytes == path.stat().st_size
    assert path.stat().st_mode & 0o777 == 0o600


def test_torn_tail_is_cut_from_the_file_and_the_log_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "consensus.wal"
    data = build([[b"kept"], [b"torn"]])
    path.write_bytes(data[:-3])
    log = WriteAheadLog(path, CHAIN)
    assert log.torn_bytes > 0
    log.append([b"next"])
    log.sync()
    log.close()
    assert WriteAheadLog(path, CHAIN).replay() == [b"kept", b"next"]


def test_rewrite_replaces_all_records_and_later_ones_follow(tmp_path: Path) -> None:
    path = tmp_path / "consensus.wal"
    log = WriteAheadLog(path, CHAIN)
    log.append([b"x" * 10_000])
    log.sync()
    before = log.size_bytes
    log.rewrite([b"kept"])
    assert log.size_bytes < before
    log.append([b"later"])
    log.sync()
    log.close()
    assert WriteAheadLog(path, CHAIN).replay() == [b"kept", b"later"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["consensus.wal"]


def test_left_over_of_an_interrupted_rewrite_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "consensus.wal"
    path.write_bytes(build([[b"kept"]]))
    (tmp_path / "consensus.wal.new").write_bytes(b"half a")
    assert WriteAheadLog(path, CHAIN).replay() == [b"kept"]
    assert not (tmp_path / "consensus.wal.new").exists()


class ForgetfulFile:
    """A file whose unsynced bytes survive a crash only up to `survive` bytes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.path.touch()
        self.cache = b""
        self.fail = False

    def write(self, data: bytes) -> None:
        self.cache += data

    def datasync(self) -> None:
        if self.fail:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self.path.write_bytes(self.path.read_bytes() + self.cache)
        self.cache = b""

    def crash(self, survive: int) -> None:
        self.path.write_bytes(self.path.read_bytes() + self.cache[:survive])

    def close(self) -> None:
        pass


def test_crash_between_write_and_sync_keeps_what_was_acknowledged(tmp_path: Path) -> None:
    files: list[ForgetfulFile] = []

    def opener(path: Path) -> ForgetfulFile:
        files.append(ForgetfulFile(path))
        return files[-1]

    frame = len(encode_frame(CHAIN, 0, encode_body([b"in flight"])))
    for survive in range(frame + 1):
        path = tmp_path / f"{survive}.wal"
        log = WriteAheadLog(path, CHAIN, opener=opener)
        log.append([b"acknowledged"])
        log.sync()
        files[-1].fail = True
        log.append([b"in flight"])
        with pytest.raises(StorageError, match="cannot be written"):
            log.sync()
        files[-1].crash(survive)
        expected = [b"acknowledged", b"in flight"] if survive == frame else [b"acknowledged"]
        assert WriteAheadLog(path, CHAIN).replay() == expected


def test_nothing_is_accepted_after_a_failed_sync(tmp_path: Path) -> None:
    files: list[ForgetfulFile] = []

    def opener(path: Path) -> ForgetfulFile:
        files.append(ForgetfulFile(path))
        return files[-1]

    log = WriteAheadLog(tmp_path / "w", CHAIN, opener=opener)
    files[-1].fail = True
    log.append([b"a"])
    with pytest.raises(StorageError):
        log.sync()
    files[-1].fail = False
    log.append([b"b"])
    with pytest.raises(StorageError, match="failed before"):
        log.sync()
    with pytest.raises(StorageError, match="failed before"):
        log.rewrite([])


def test_log_whose_header_was_never_synced_counts_as_not_made(tmp_path: Path) -> None:
    for content in (b"", encode_header(CHAIN)[:20], bytes(HEADER_BYTES)):
        path = tmp_path / "consensus.wal"
        path.write_bytes(content)
        log = WriteAheadLog(path, CHAIN)
        assert log.created
        log.close()
        assert path.read_bytes() == encode_header(CHAIN)
        assert not WriteAheadLog(path, CHAIN).created


def test_a_log_counts_as_begun_once_any_of_its_header_is_on_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "consensus.wal"
    assert not was_begun(path)
    damaged = bytes(8) + encode_header(CHAIN)[8:]
    for content, begun in (
        (b"", False),
        (bytes(HEADER_BYTES), False),
        (encode_header(CHAIN)[:-1], False),
        (encode_header(CHAIN), True),
        (damaged, True),
        (build(GROUPS), True),
    ):
        path.write_bytes(content)
        assert was_begun(path) is begun


class DiskCalls:
    """Notes, in order, which files and directories of a folder were synced, at which size, replaced or closed."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.noted: list[tuple[str, str, int]] = []
        for name in ("fdatasync", "fsync", "close"):
            monkeypatch.setattr(os, name, self._watched(name, getattr(os, name)))
        replace = os.replace

        def replaced(source: Path, target: Path) -> None:
            self.noted.append(("replace", Path(source).name, Path(target).stat().st_size))
            replace(source, target)

        monkeypatch.setattr(os, "replace", replaced)

    def _watched(self, name: str, call: Callable[[int], None]) -> Callable[[int], None]:
        def watched(fd: int) -> None:
            found = os.fstat(fd)
            names = {path.stat().st_ino: path.name for path in (self.folder, *self.folder.iterdir())}
            is_folder = found.st_ino == self.folder.stat().st_ino
            self.noted.append((name, names.get(found.st_ino, "gone"), 0 if is_folder else found.st_size))
            call(fd)

        return watched

    def take(self) -> list[tuple[str, str, int]]:
        noted, self.noted = self.noted, []
        return noted


def test_every_write_is_on_the_disk_when_it_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "consensus.wal"
    disk = DiskCalls(tmp_path, monkeypatch)
    log = WriteAheadLog(path, CHAIN)
    began = [("fdatasync", path.name, HEADER_BYTES), ("fsync", tmp_path.name, 0), ("close", tmp_path.name, 0)]
    assert disk.take() == began, "the file and its name"
    log.append([b"a"])
    assert disk.take() == []
    for record in (b"b", b"c"):
        log.append([record])
        log.sync()
        assert disk.take() == [("fdatasync", path.name, log.size_bytes)]
    log.close()
    path.write_bytes(path.read_bytes()[:-1])
    disk.take()
    assert WriteAheadLog(path, CHAIN).torn_bytes > 0
    assert disk.take() == [("fdatasync", path.name, path.stat().st_size)], "the cut"


def test_a_rewrite_is_on_the_disk_before_the_old_log_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "consensus.wal"
    log = WriteAheadLog(path, CHAIN)
    log.append([b"x" * 10_000])
    log.sync()
    before = log.size_bytes
    disk = DiskCalls(tmp_path, monkeypatch)
    log.rewrite([b"kept", b"too"])
    after = len(build([[b"kept", b"too"]]))
    assert disk.take() == [
        ("fdatasync", "consensus.wal.new", after),
        ("replace", "consensus.wal.new", before),
        ("fsync", tmp_path.name, 0),
        ("close", tmp_path.name, 0),
        ("close", "gone", before),
    ]
    assert log.size_bytes == after


@pytest.mark.parametrize("fails", ["fdatasync", "fsync", "replace"])
def test_a_rewrite_that_did_not_reach_the_disk_ends_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    path = tmp_path / "consensus.wal"
    log = WriteAheadLog(path, CHAIN)
    log.append([b"old"])
    log.sync()

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as broken:
        broken.setattr(os, fails, fail)
        with pytest.raises(StorageError, match="cannot be written"):
            log.rewrite([b"new"])
    log.append([b"later"])
    with pytest.raises(StorageError, match="failed before"):
        log.sync()
    assert WriteAheadLog(path, CHAIN).replay() == ([b"new"] if fails == "fsync" else [b"old"])


def test_frame_of_another_chains_log_is_refused() -> None:
    with pytest.raises(LogDamaged):
        scan(encode_header(CHAIN) + encode_frame(bytes(32), HEADER_BYTES, encode_body([b"one"])), CHAIN)


def head_of(offset: int, size: int) -> bytes:
    """Return the first nine bytes of a frame that declares a body of this size, with their checksum."""
    length = size.to_bytes(4, "little")
    place = offset.to_bytes(8, "little")
    start = encode_frame(CHAIN, offset, b"")[:1]
    return start + length + hashlib.sha256(b"head" + CHAIN + place + length).digest()[:4]


def test_a_frame_above_its_limit_is_damage_and_no_torn_tail() -> None:
    offset = len(build(GROUPS))
    for size, torn in ((BODY_BYTES_MAX, True), (BODY_BYTES_MAX + 1, False)):
        data = build(GROUPS) + head_of(offset, size) + b"x" * 100
        if torn:
            assert scan(data, CHAIN).sound_bytes == offset
        else:
            with pytest.raises(LogDamaged) as found:
                scan(data, CHAIN)
            assert found.value.offset == offset


@pytest.mark.parametrize("body", [b"\x04\0\0\0abc", b"\x01\0\0\0ab", b"\xff\xff\xff\xff", b"\x01\0"])
def test_a_record_that_overruns_its_frame_is_damage(body: bytes) -> None:
    start = encode_header(CHAIN)
    with pytest.raises(LogDamaged, match="overruns its frame"):
        scan(start + encode_frame(CHAIN, len(start), body), CHAIN)


def test_only_the_last_frame_can_be_torn() -> None:
    groups = [[b"a"], [b"z" * 3000], [b"y" * 3000]]
    data = bytearray(build(groups))
    for _, end in zip(groups[1:], ends(groups)[2:], strict=True):
        sector = end // 512 * 512 - 1024
        data[sector : sector + 512] = bytes(512)
    with pytest.raises(LogDamaged) as caught:
        scan(bytes(data), CHAIN)
    assert caught.value.offset == ends(groups)[1]
