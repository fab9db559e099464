"""A source's outbox: no number is signed twice, whatever happens between signing and sending."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import chainnode.source_outbox as module
from chainnode.source_outbox import OutboxLost, SourceOutbox
from chainnode.wal import LogFile
from ledger.batches import Batch
from ledger.events import Event
from primitives.encoding import decode, encode
from primitives.errors import StorageError
from primitives.ids import ZERO_HASH, Hash
from primitives.keys import SigningKey

CHAIN = Hash(b"\x07" * 32)
KEY = SigningKey.generate(b"\x01" * 32)


def opened(path: Path, key: SigningKey = KEY) -> SourceOutbox:
    return SourceOutbox(path, chain_id=CHAIN, member="bank-a", key=key)


def event(number: int) -> bytes:
    return encode(Event("bank-a", number.to_bytes(16, "big"), 10**12, 1, 1, b"\x90"))


def header(raw: bytes) -> tuple[int, bytes, bytes]:
    found = decode(Batch, raw, size_max=1 << 20).header
    return found.number, found.previous, found.hash()


def test_numbers_follow_each_other_and_name_the_batch_before(tmp_path: Path) -> None:
    box = opened(tmp_path / "outbox")
    first, second = header(box.sign([event(1)], time_ms=5)), header(box.sign([event(2)], time_ms=6))
    assert first[:2] == (0, ZERO_HASH)
    assert second[:2] == (1, first[2])


def test_synced_batches_come_back_as_the_same_bytes_after_a_crash(tmp_path: Path) -> None:
    box = opened(tmp_path / "outbox")
    first = box.sign([event(1)], time_ms=5)
    box.sync()
    box.sign([event(2)], time_ms=5)
    box.close()
    again = opened(tmp_path / "outbox")
    assert again.pending == [first]
    assert header(again.sign([event(3)], time_ms=9))[:2] == (1, header(first)[2])


def test_settled_batches_are_forgotten_and_numbering_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SETTLED_BYTES_MAX", 300)
    box = opened(tmp_path / "outbox")
    raws = [box.sign([event(number)], time_ms=5) for number in range(6)]
    box.sync()
    box.settle(4, header(raws[3])[2])
    assert box.pending == raws[4:]
    box.sync()
    box.close()
    again = opened(tmp_path / "outbox")
    assert again.pending == raws[4:]
    assert again.next_number == 6
    again.settle(6, header(raws[5])[2])
    assert again.pending == []
    again.sign([event(9)], time_ms=5)
    again.close()


def test_chain_that_is_behind_settles_nothing(tmp_path: Path) -> None:
    box = opened(tmp_path / "outbox")
    raw = box.sign([event(1)], time_ms=5)
    box.settle(0, ZERO_HASH)
    assert box.pending == [raw]


@pytest.mark.parametrize(("number", "previous"), [(1, b"\x09" * 32), (2, b"\x09" * 32)])
def test_key_that_signed_elsewhere_is_refused(number: int, previous: bytes, tmp_path: Path) -> None:
    box = opened(tmp_path / "outbox")
    box.sign([event(1)], time_ms=5)
    with pytest.raises(OutboxLost, match="replace the key"):
        box.settle(number, previous)


def test_lost_outbox_of_a_used_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutboxLost):
        opened(tmp_path / "outbox").settle(1, b"\x01" * 32)


def test_outbox_of_another_key_is_refused(tmp_path: Path) -> None:
    box = opened(tmp_path / "outbox")
    box.sign([event(1)], time_ms=5)
    box.sync()
    box.close()
    with pytest.raises(StorageError, match="does not follow"):
        opened(tmp_path / "outbox", SigningKey.generate(b"\x02" * 32))


class SlowFile:
    """A file whose sync waits until it is let through."""

    def __init__(self, file: LogFile) -> None:
        self.file = file
        self.begun, self.go = threading.Event(), threading.Event()

    def write(self, data: bytes) -> None:
        self.file.write(data)

    def datasync(self) -> None:
        self.begun.set()
        assert self.go.wait(10)
        self.file.datasync()

    def close(self) -> None:
        self.file.close()


def test_settling_and_signing_during_a_sync_neither_wait_for_the_disk_nor_harm_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SETTLED_BYTES_MAX", 300)
    box = opened(tmp_path / "outbox")
    raws = [box.sign([event(number)], time_ms=5) for number in range(3)]
    box.sync()
    raws.append(box.sign([event(3)], time_ms=5))
    slow = box._log._file = SlowFile(box._log._file)
    with ThreadPoolExecutor(1) as disk:
        syncing = disk.submit(box.sync)
        assert slow.begun.wait(10)
        box.settle(3, header(raws[2])[2])  # much is settled: the file is to be rewritten
        raws.append(box.sign([event(4)], time_ms=5))
        assert not syncing.done()
        slow.go.set()
        syncing.result()
        disk.submit(box.sync).result()
    box.close()
    again = opened(tmp_path / "outbox")
    assert again.pending == raws[3:]
    assert again.next_number == 5
