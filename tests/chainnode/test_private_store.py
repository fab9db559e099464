"""The private store: encrypted, found again, refused by name once erased, and whole after a crash at any place."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from chainnode import private_store
from chainnode.files import UnsafeFile
from chainnode.private_store import (
    SLOT_BYTES,
    Erased,
    Kept,
    NotKept,
    PrivateStore,
    PrivateStoreDamaged,
)
from primitives.errors import StorageError, UsageError

NOW_MS = 1_790_000_000_000


def digest(text: str) -> bytes:
    """Return 32 bytes."""
    return sha256(text.encode()).digest()


def kept(number: int, message: int | None = 0, event_key: bytes | None = None) -> Kept:
    """Return what is kept of a statement of a number."""
    name = f"statement {number}"
    key = event_key or digest(f"{name} key")
    return Kept(digest(name)[:16], digest(f"{name} id"), key, f"{name} of Zhang Wei".encode(), message)


def event(number: int) -> bytes:
    """Return its event's id."""
    return kept(number).event_id


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "private"


def everything(folder: Path) -> bytes:
    """Return the bytes of all files of a directory."""
    return b"\n".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_what_is_kept_is_found_again_and_lies_encrypted(folder: Path) -> None:
    with PrivateStore(folder) as store:
        assert store.keep([kept(1), kept(2)], [b"a message of Zhang Wei"]) == 2
    with PrivateStore(folder) as store:
        found = store.content(event(1))
        assert (found.event_key, found.payload) == (kept(1).event_key, kept(1).payload)
        assert (found.message, found.message_events) == (b"a message of Zhang Wei", 2)
        assert store.event_key(kept(2).reference) == kept(2).event_key
        assert len(store) == 2
        assert store.holds(event(2))
    assert b"Zhang Wei" not in everything(folder)
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert folder.stat().st_mode & 0o777 == 0o700


def test_the_same_statement_is_kept_once(folder: Path) -> None:
    with PrivateStore(folder) as store:
        assert store.keep([kept(1), kept(1)], [b"m"]) == 1
        size = (folder / "keys.bin").stat().st_size
        assert store.keep([kept(1)], [b"m"]) == 0
        assert (folder / "keys.bin").stat().st_size == size
        with pytest.raises(UsageError, match="another event key"):
            store.keep([kept(1, event_key=digest("other"))], [b"m"])


def test_a_message_is_kept_with_all_of_its_statements_or_not_at_all(folder: Path) -> None:
    with PrivateStore(folder) as store:
        assert store.keep([kept(1)], [b"a message of both"]) == 1
        assert store.keep([kept(1), kept(2)], [b"a message of both"]) == 1
        assert store.content(event(2)).message is None
        store.erase([event(1)], NOW_MS)
        assert store.content(event(2)).payload == kept(2).payload
        assert store._one("SELECT count(*) FROM contents") == (1,)


def test_nothing_is_known_of_what_was_not_kept(folder: Path) -> None:
    with PrivateStore(folder) as store:
        assert store.event_key(bytes(16)) is None
        for call in (store.content, store.must_hold, lambda each: store.erase([each], NOW_MS)):
            with pytest.raises(NotKept):
                call(event(1))


def test_an_erased_event_leaves_no_key_and_no_content_and_says_so(folder: Path) -> None:
    with PrivateStore(folder) as store:
        store.keep([kept(1), kept(2), kept(3, 1)], [b"the first message", b"the second message"])
        before = store.content(event(1))
        assert store.erase([event(1)], NOW_MS) == 1
        for call in (store.content, lambda _: store.event_key(kept(1).reference)):
            with pytest.raises(Erased, match="was erased here"):
                call(event(1))
        assert not store.holds(event(1))
        # Its message named it; the other payment of that message keeps its own values.
        assert store.content(event(2)).message is None
        assert store.content(event(2)).payload == kept(2).payload
        assert store.content(event(3)).message == b"the second message"
        assert store.erase([event(1), event(2)], NOW_MS) == 1
        left = everything(folder)
    for secret in (before.event_key, before.payload_key, before.sealed):
        assert secret not in left
    with PrivateStore(folder) as store, pytest.raises(Erased):
        store.keep([kept(1)], [b"again"])


def test_an_erasure_of_one_that_is_not_here_erases_nothing(folder: Path) -> None:
    with PrivateStore(folder) as store:
        store.keep([kept(1)], [b"m"])
        with pytest.raises(NotKept):
            store.erase([event(1), event(2)], NOW_MS)
        assert store.holds(event(1))


@pytest.mark.parametrize("limit", [{"statements_max": 3}, {"bytes_max": 60_000}])
def test_the_store_is_bounded_and_a_full_one_keeps_nothing(folder: Path, limit: dict[str, int]) -> None:
    with PrivateStore(folder, **limit) as store:
        store.keep([kept(1)], [b"m"])
        with pytest.raises(StorageError, match="full"):
            store.keep([kept(2), kept(3, 1)], [b"m", b"n" * 60_000])
        assert len(store) == 1


def test_what_is_too_large_is_not_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private_store, "PAYLOAD_BYTES_MAX", 8)
    with PrivateStore(folder) as store, pytest.raises(UsageError, match="payload too large"):
        store.keep([kept(1, None)])
    monkeypatch.setattr(private_store, "PAYLOAD_BYTES_MAX", 80)
    monkeypatch.setattr(private_store, "MESSAGE_BYTES_MAX", 8)
    with PrivateStore(folder) as store, pytest.raises(UsageError, match="message too large"):
        store.keep([kept(1)], [bytes(9)])


def test_a_crash_between_keys_and_rows_leaves_slots_that_are_given_out_again(folder: Path) -> None:
    with PrivateStore(folder) as store:
        store.keep([kept(1)], [b"m"])
        store._write_slots(store._next_slot(), bytearray(b"k" * SLOT_BYTES))
    with PrivateStore(folder) as store:
        assert len(store) == 1
        store.keep([kept(2, None)])
        assert b"k" * SLOT_BYTES not in (folder / "keys.bin").read_bytes()
        assert store.content(event(2)).payload == kept(2).payload


KILLED = """
import os, sys
from pathlib import Path
from chainnode import private_store
from tests.chainnode.test_private_store import kept
real = getattr(os, sys.argv[2])
count = 0
def dying(*arguments):
    global count
    count += 1
    if count == int(sys.argv[3]):
        os.kill(os.getpid(), 9)
    return real(*arguments)
with private_store.PrivateStore(Path(sys.argv[1])) as store:
    setattr(os, sys.argv[2], dying)
    if sys.argv[4] == "keep":
        store.keep([kept(2), kept(3)], [b"second"])
    else:
        store.erase([kept(1).event_id], 5)
"""


@pytest.mark.parametrize("what", ["keep", "erase"])
@pytest.mark.parametrize(("call", "turn"), [("pwrite", 1), ("fsync", 1)])
def test_a_killed_process_leaves_no_row_without_its_key(folder: Path, call: str, turn: int, what: str) -> None:
    with PrivateStore(folder) as store:
        store.keep([kept(1)], [b"first"])
    done = subprocess.run([sys.executable, "-c", KILLED, str(folder), call, str(turn), what], check=False, timeout=60)
    assert done.returncode == -9
    with PrivateStore(folder) as store:
        rows = [row[0] for row in store._database.execute("SELECT event_id FROM statements WHERE erased_ms IS NULL")]
        if what == "keep":
            assert [store.content(each).payload for each in rows] == [kept(1).payload]
            assert store.keep([kept(2), kept(3)], [b"second"]) == 2
        else:
            if call == "fsync":
                with pytest.raises(PrivateStoreDamaged, match="erasure was cut off"):
                    store.content(event(1))
            # Erasing goes on where it was cut off, whether or not the key was overwritten already.
            assert store.erase(rows, NOW_MS) == 1
            with pytest.raises(Erased):
                store.content(event(1))


def test_damage_is_told_of(folder: Path) -> None:
    with PrivateStore(folder) as store:
        store.keep([kept(1), kept(2)], [b"m"])
    whole = folder.with_name("whole")
    shutil.copytree(folder, whole)
    keys = folder / "keys.bin"
    with keys.open("r+b") as file:
        file.seek(SLOT_BYTES * 3)
        file.write(os.urandom(SLOT_BYTES))
    with PrivateStore(folder) as store:
        store._database.execute("UPDATE contents SET data = zeroblob(60) WHERE address = ?", (bytes(32),))
        with pytest.raises(PrivateStoreDamaged, match="does not open with its key"):
            [store.content(event(number)) for number in (1, 2)]
    keys.write_bytes(b"not it" * 20)
    with pytest.raises(PrivateStoreDamaged, match="not a file of keys"):
        PrivateStore(folder)
    (whole / "payloads.db").write_bytes(b"no database" * 100)
    with pytest.raises(PrivateStoreDamaged, match="cannot be used"):
        PrivateStore(whole)


def test_a_store_that_others_can_read_is_refused(folder: Path) -> None:
    with PrivateStore(folder) as store:
        store.keep([kept(1)], [b"m"])
    (folder / "keys.bin").chmod(0o644)
    with pytest.raises(UnsafeFile):
        PrivateStore(folder)
