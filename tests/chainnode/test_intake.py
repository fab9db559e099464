"""A drop folder without a network: which files are whole, what a crash leaves, and what becomes of each message."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from threading import Event as Flag
from typing import Any

import pytest

from chainnode.client import CallRefused, TimedOut, Unreachable
from chainnode.files import Busy, UnsafeFile
from chainnode.ingest.formats import Options
from chainnode.intake import GROUPS_IN_FLIGHT, Pace, Sender, Stopped
from chainnode.intake_folder import ENTRIES_MAX, DropFolder, open_folder
from chainnode.intake_journal import Journal
from chainnode.intake_runner import Runner, Taking
from chainnode.private_store import PrivateStore
from chainnode.submission import CHUNK_EVENTS, NewEvent, event_row
from primitives.errors import StorageError
from tests.chainnode.ingest.ingest_fixtures import context_of, sample

Json = dict[str, Any]
LINE = {
    "time": "2026-11-20T12:00:00+08:00",
    "currency": "CNY",
    "debtor_agent": "BKAACNBJXXX",
    "creditor_agent": "BKABCNBJXXX",
    "debtor_name": "Ouyang Xiaolan",
}
FOREIGN = {"debtor_agent": "BKACCNBJXXX", "creditor_agent": "BKADCNBJXXX"}
SETTLE_S = 2.0
PATIENCE_S = 0.3


class Killed(BaseException):
    """The process dies here."""


def lines(*numbers: int, **changes: str) -> bytes:
    payments = [{**LINE, "amount": f"{number + 1}.00", "reference": f"R-{number}", **changes} for number in numbers]
    return "\n".join(json.dumps({"payment": payment}) for payment in payments).encode()


class Node:
    """Stands for a node with its gateway: takes events, commits them when it is asked, refuses and dies as told."""

    def __init__(self) -> None:
        self.member = "bank-a"
        self.log: list[str] = []
        self.pending: dict[str, Json] = {}
        self.sent: list[int] = []
        self.refuse: Callable[[Json], str | None] = lambda row: None
        self.trouble: list[Exception] = []
        self.room = 10**9
        self.forgets = False
        self.die_after: int | None = None

    def _tick(self) -> None:
        if self.die_after is not None:
            self.die_after -= 1
            if self.die_after < 0:
                raise Killed
        if self.trouble:
            raise self.trouble.pop(0)

    # --- as a door

    def send(self, events: Sequence[NewEvent], wait: str, *, patience_s: float = 0.0) -> list[Json]:
        del patience_s
        assert wait == "accepted"
        self._tick()
        if len(self.pending) + len(events) > self.room:
            raise full()
        self.sent.append(len(events))
        rows = []
        for event in events:
            row = event_row(event)
            identity = sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()
            reason = self.refuse(row)
            if reason is not None:
                rows.append({"id": identity, "status": "Refused", "reason": reason, "message": reason})
                continue
            if identity not in self.log:
                self.pending[identity] = row
            rows.append(self._standing(identity))
        return rows

    def settle(self) -> None:
        pass

    # --- as a client

    def limit(self, timeout_s: float) -> None:
        del timeout_s

    def call_many(self, method: str, calls: Sequence[Json]) -> list[Json]:
        assert method == "ledger_getStatus"
        self._tick()
        if self.forgets:
            self.forgets = False
            self.pending.clear()
        self.log += [identity for identity in self.pending if identity not in self.log]
        self.pending.clear()
        return [self._standing(call["event_id"]) for call in calls]

    def _standing(self, identity: str) -> Json:
        if identity in self.log:
            return {"id": identity, "status": "Committed", "outcome": {"applied": True}, "height": 1, "index": 0}
        return {"id": identity, "status": "Pending" if identity in self.pending else "Unknown"}


def full() -> CallRefused:
    data = {"reason": "gateway_full", "retryable": True, "retry_after_ms": 1}
    return CallRefused({"code": -32005, "message": "full", "data": data})


class Told:
    """What was told."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, Json]] = []
        self.files: list[tuple[str, str, Json]] = []
        self.total = 0

    def message(self, file: str, row: Json) -> None:
        self.messages.append((file, row))

    def file(self, file: str, place: str, sums: Json) -> None:
        self.files.append((file, place, sums))

    @contextmanager
    def progress(self, file: str, total: int) -> Iterator[Told]:
        del file
        self.total = total
        yield self

    def advance(self, count: int = 1) -> None:
        self.total -= count


class Desk:
    """A folder, a store and a node, over the deaths of the process that takes the files in."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "drop"
        self.private = root / "private"
        self.node = Node()
        self.told = Told()
        self.stop = Flag()
        self.options = Options(skip_bad=False)
        self.changes: Json = {}
        self.folder.mkdir(mode=0o700)

    def drop(self, name: str, data: bytes) -> None:
        (self.folder / name).write_bytes(data)

    def run(self) -> int:
        """Take everything in as one process does; returns how many files were bad."""
        pace = Pace(self.stop, PATIENCE_S, lambda text: None)
        sender = Sender(self.node, self.node, pace)  # type: ignore[arg-type]  # a stand-in
        taking = Taking(
            "auto", self.options, self.private, lambda of: context_of("bank-a", event_key_of=of, **self.changes)
        )
        with open_folder(self.folder, settle_s=SETTLE_S) as folder:
            runner = Runner(folder, taking, sender, self.told)
            runner.resume()
            folder.look(0)
            for name in folder.look(SETTLE_S).ready:
                taken = folder.take(name)
                assert taken is not None
                runner.take(taken)
            return runner.bad

    def report(self, name: str) -> list[Json]:
        (path,) = self.folder.glob(f"*/{name}.report.jsonl")
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()]

    def files(self, place: str) -> list[str]:
        return sorted(path.name for path in (self.folder / place).iterdir() if path.is_file())


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


# --- the folder


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[DropFolder]:
    with open_folder(tmp_path / "drop", settle_s=SETTLE_S) as found:
        yield found


def test_a_file_is_taken_once_it_stayed_the_same(folder: DropFolder) -> None:
    path = folder.directory / "a.xml"
    path.write_bytes(b"half")
    assert folder.look(0).growing == ["a.xml"]
    assert folder.look(SETTLE_S - 0.1).ready == []
    path.write_bytes(b"half and more")
    assert folder.look(SETTLE_S).growing == ["a.xml"], "it grew"
    os.utime(path, (1, 1))
    assert folder.look(SETTLE_S + 1).growing == ["a.xml"], "it was written to"
    other = folder.directory / ".other"
    other.write_bytes(b"HALF AND MORE")
    os.utime(other, (1, 1))
    other.rename(path)
    assert folder.look(2 * SETTLE_S + 1).growing == ["a.xml"], "it is another file"
    assert folder.look(3 * SETTLE_S + 1).ready == ["a.xml"]


def test_files_are_ready_in_the_order_of_their_names_and_empty_ones_never(folder: DropFolder) -> None:
    for name in ("b", "c", "a"):
        (folder.directory / name).write_bytes(b"x")
    (folder.directory / "empty").touch()
    folder.look(0)
    look = folder.look(SETTLE_S)
    assert (look.ready, look.growing) == (["a", "b", "c"], ["empty"])


def test_a_file_of_a_temporary_name_waits_and_is_ready_at_once_when_renamed(folder: DropFolder) -> None:
    path = folder.directory / "a.xml.PART"
    path.write_bytes(b"x")
    folder.look(0)
    assert folder.look(SETTLE_S).temporary == ["a.xml.PART"]
    path.rename(folder.directory / "a.xml")
    assert folder.look(SETTLE_S + 0.1).ready == ["a.xml"]


def test_what_is_no_file_is_passed_over_and_named(folder: DropFolder, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"x")
    (folder.directory / "link").symlink_to(tmp_path / "secret")
    (folder.directory / "sub").mkdir()
    os.mkfifo(folder.directory / "pipe")
    (folder.directory / ("n" * 201)).write_bytes(b"x")
    (folder.directory / ".hidden").write_bytes(b"x")
    folder.look(0)
    look = folder.look(SETTLE_S)
    assert look.ready == []
    (folder.directory / "a\nb").write_bytes(b"x")
    (folder.directory / "a\udcff").write_bytes(b"x")
    folder.look(SETTLE_S)
    look = folder.look(2 * SETTLE_S)
    assert look.ready == []
    assert sorted(name for name, _ in look.passed) == ["link", "pipe", "sub"]
    assert sorted(name for name, _ in look.misnamed) == ["a\nb", "a\udcff", "n" * 201]


def test_a_file_that_is_named_as_a_journal_is_never_taken_for_one(folder: DropFolder) -> None:
    (folder.directory / "a.journal").write_bytes(b"payments")
    folder.look(0)
    look = folder.look(SETTLE_S)
    assert look.ready == []
    assert [name for name, _ in look.misnamed] == ["a.journal"]


def test_a_file_that_went_or_changed_since_the_look_is_not_taken(folder: DropFolder) -> None:
    for name in ("gone", "changed", "linked", "same"):
        (folder.directory / name).write_bytes(b"x")
    folder.look(0)
    assert len(folder.look(SETTLE_S).ready) == 4
    (folder.directory / "gone").unlink()
    (folder.directory / "changed").write_bytes(b"xx")
    (folder.directory / "linked").unlink()
    (folder.directory / "linked").symlink_to("same")
    taken = [folder.take(name) for name in ("gone", "changed", "linked", "same")]
    assert taken == [None, None, None, "same"]
    assert folder.in_work() == ["same"]


def test_a_look_takes_in_a_limited_number_of_entries(folder: DropFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chainnode.intake_folder.ENTRIES_MAX", 3)
    for number in range(9):
        (folder.directory / f"{number}").write_bytes(b"x")
    look = folder.look(0)
    assert len(look.growing) <= 3 < ENTRIES_MAX
    assert [name for name, _ in look.passed] == ["..."]


def test_nothing_is_overwritten_where_a_name_comes_again(folder: DropFolder) -> None:
    for content in (b"first", b"second", b"third"):
        (folder.directory / "a.xml").write_bytes(content)
        name = folder.take("a.xml")
        assert name is not None
        folder.journal_path(name).write_bytes(content)
        folder.finish(name, "done")
    done = folder.directory / "done"
    assert {path.name: path.read_bytes() for path in done.iterdir()} == {
        **{"a.xml": b"first", "a-2.xml": b"second", "a-3.xml": b"third"},
        **{"a.xml.report.jsonl": b"first", "a-2.xml.report.jsonl": b"second", "a-3.xml.report.jsonl": b"third"},
    }


def test_a_folder_is_held_by_one_process_and_closed_to_everybody(tmp_path: Path) -> None:
    with open_folder(tmp_path / "drop", settle_s=1):
        assert {path.stat().st_mode & 0o777 for path in (tmp_path / "drop").iterdir() if path.is_dir()} == {0o700}
        assert (tmp_path / "drop").stat().st_mode & 0o777 == 0o700
        with pytest.raises(Busy), open_folder(tmp_path / "drop", settle_s=1):
            pass
    (tmp_path / "drop").chmod(0o770)
    with open_folder(tmp_path / "drop", settle_s=1):
        pass
    (tmp_path / "drop").chmod(0o775)
    with pytest.raises(UnsafeFile, match="everybody"), open_folder(tmp_path / "drop", settle_s=1):
        pass


@pytest.mark.parametrize("place", ["work", "done", "refused", "foreign"])
def test_who_may_drop_files_has_none_of_another_directory_taken(tmp_path: Path, place: str) -> None:
    (tmp_path / "keys").mkdir(mode=0o750)
    (tmp_path / "drop").mkdir(mode=0o770)
    (tmp_path / "drop" / place).symlink_to(tmp_path / "keys")
    with pytest.raises(UnsafeFile, match="a link"), open_folder(tmp_path / "drop", settle_s=1):
        pass
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o750


def test_who_may_drop_files_has_no_other_file_written_over_by_a_lock(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"secret")
    (tmp_path / "drop").mkdir(mode=0o770)
    (tmp_path / "drop" / ".intake.lock").symlink_to(tmp_path / "key")
    with pytest.raises(StorageError, match="lock file"), open_folder(tmp_path / "drop", settle_s=1):
        pass
    assert (tmp_path / "key").read_bytes() == b"secret"


def test_a_full_disk_is_told_with_the_place_where_a_folder_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("chainnode.files.os.pwrite", full_disk)
    with pytest.raises(StorageError, match=r"\.intake\.lock.*No space"), open_folder(tmp_path / "drop", settle_s=1):
        pass


# --- the journal


def test_a_journal_drops_what_was_cut_off_and_keeps_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "a.journal"
    journal = Journal(path)
    journal.begin("a", "d1", 3, "now")
    journal.settle([{"reference": "01", "where": "a:1", "status": "Committed"}])
    whole = path.read_bytes()
    journal.end([{"where": "a:2", "status": "Refused"}], {"to": "done"})
    ended = path.read_bytes()
    journal.close()
    for size in range(len(ended) + 1):
        path.write_bytes(ended[:size])
        journal = Journal(path)
        kept = path.read_bytes()
        assert (journal.ended is not None) == (size == len(ended))
        assert journal.digest == ("d1" if kept else "")
        assert bool(journal.settled) == (size >= len(whole))
        assert kept in (b"", whole.splitlines(keepends=True)[0], whole, ended), (
            "whole lines, and refused ones at the end"
        )
        journal.close()
    assert path.stat().st_mode & 0o777 == 0o600


# --- files


def test_a_file_is_stated_reported_and_moved(desk: Desk) -> None:
    desk.drop("a.jsonl", lines(0, 1))
    desk.drop("b.xml", sample("13"))
    assert desk.run() == 0
    assert desk.files("done") == ["a.jsonl", "a.jsonl.report.jsonl", "b.xml", "b.xml.report.jsonl"]
    assert len(desk.node.log) == 7
    head, *rows, end = desk.report("a.jsonl")
    assert head["sha256"] == sha256(lines(0, 1)).hexdigest()
    assert [row["where"] for row in rows] == ["a.jsonl:1", "a.jsonl:2"]
    assert [row["id"] for row in rows] == desk.node.log[:2]
    assert end == {
        **{"end": True, "file": "a.jsonl", "format": "jsonl", "messages": 2, "to": "done"},
        **{"committed": 2, "rejected": 0, "refused": 0, "foreign": 0},
    }
    assert [(name, place) for name, place, _ in desk.told.files] == [("a.jsonl", "done"), ("b.xml", "done")]
    assert desk.told.total == 0, "the bar reached its end"
    assert not list(desk.folder.glob("work/*"))


def test_a_bad_message_refuses_its_file_by_name_and_the_others_go_on(desk: Desk) -> None:
    desk.drop("a.jsonl", lines(0) + b"\n" + lines(1, currency="XXX"))
    desk.drop("b.jsonl", lines(2))
    assert desk.run() == 1
    assert (desk.files("refused"), desk.files("done")) == (
        ["a.jsonl", "a.jsonl.report.jsonl"],
        ["b.jsonl", "b.jsonl.report.jsonl"],
    )
    assert len(desk.node.log) == 1
    _, row, end = desk.report("a.jsonl")
    assert (row["status"], end["committed"], end["refused"]) == ("Refused", 0, 1)
    assert row["message"].startswith("a.jsonl:2: ")


def test_a_file_that_was_refused_before_a_crash_is_told_and_counted_after_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise Killed

    desk.drop("a.jsonl", b"bad")
    with monkeypatch.context() as patch:
        patch.setattr(DropFolder, "finish", killed)
        with pytest.raises(Killed):
            desk.run()
    assert desk.told.files == []
    assert desk.run() == 1
    assert desk.told.files == [("a.jsonl", "refused", {"committed": 0, "rejected": 0, "refused": 1, "foreign": 0})]


def test_a_directory_that_got_into_work_is_refused_and_stops_nobody(desk: Desk) -> None:
    (desk.folder / "work").mkdir()
    (desk.folder / "work" / "a.jsonl").mkdir()
    desk.drop("b.jsonl", lines(1))
    assert desk.run() == 1
    assert (desk.folder / "refused" / "a.jsonl").is_dir()
    assert desk.report("a.jsonl")[-1]["to"] == "refused"
    assert "b.jsonl" in desk.files("done")


def test_with_skip_bad_the_good_ones_are_stated_and_the_bad_ones_reported(desk: Desk) -> None:
    desk.options = Options(skip_bad=True)
    desk.drop("a.jsonl", lines(0) + b"\n" + lines(1, currency="XXX") + b"\n" + lines(2))
    desk.drop("b.jsonl", lines(3, currency="XXX"))
    assert desk.run() == 2
    assert (len(desk.node.log), len(desk.report("a.jsonl"))) == (2, 5)
    assert desk.files("refused") == ["b.jsonl", "b.jsonl.report.jsonl"]
    assert "a.jsonl" in desk.files("done")


def test_a_message_of_others_is_refused_with_who_could_take_it(desk: Desk) -> None:
    desk.drop("a.jsonl", lines(0) + b"\n" + lines(1, **FOREIGN))
    assert desk.run() == 1
    assert not desk.node.log
    (row,) = desk.report("a.jsonl")[1:-1]
    assert row["reason"] == "not_a_party"
    assert "submit it at the node of bank-c or bank-d" in row["message"]


def test_with_skip_foreign_messages_of_others_are_set_aside_and_bad_ones_still_refuse(desk: Desk) -> None:
    desk.options = Options(skip_foreign=True)
    desk.drop("a.jsonl", lines(0) + b"\n" + lines(1, **FOREIGN))
    desk.drop("b.jsonl", lines(2, 3, **FOREIGN))
    desk.drop("c.jsonl", lines(4) + b"\n" + lines(5, currency="XXX"))
    assert desk.run() == 1
    assert [(name, place, sums["foreign"]) for name, place, sums in desk.told.files] == [
        *(("a.jsonl", "done", 1), ("b.jsonl", "foreign", 2), ("c.jsonl", "refused", 0)),
    ]
    assert len(desk.node.log) == 1


def test_events_in_json_form_are_no_payments_of_a_drop_folder(desk: Desk) -> None:
    desk.drop("a.jsonl", b'{"kind": "cert.apply", "body": {}}')
    assert desk.run() == 1
    assert "events are not taken here" in desk.report("a.jsonl")[1]["message"]


def test_what_the_gateway_refuses_for_good_is_reported(desk: Desk) -> None:
    desk.node.refuse = lambda row: "too_large" if row["body"]["time"].startswith("2026-11-21") else None
    desk.drop("a.jsonl", lines(0) + b"\n" + lines(1, time="2026-11-21T12:00:00+08:00"))
    assert desk.run() == 1
    assert [row["status"] for row in desk.report("a.jsonl")[1:-1]] == ["Committed", "Refused"]
    assert "a.jsonl" in desk.files("refused")


def test_a_file_that_is_too_large_or_cannot_be_read_is_refused(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chainnode.intake_runner.INPUT_BYTES_MAX", 1_000)
    desk.drop("a.jsonl", b"x" * 1_001)
    desk.drop("b.jsonl", lines(0))
    assert desk.run() == 1
    assert "file too large" in desk.report("a.jsonl")[1]["message"]
    assert len(desk.node.log) == 1


def test_a_file_on_which_the_reader_runs_out_of_memory_does_not_stop_the_others(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chainnode import intake_runner

    state = intake_runner.state

    def greedy(data: bytes, *arguments: Any, **options: Any) -> Any:
        if data == b"much":
            raise MemoryError
        return state(data, *arguments, **options)

    monkeypatch.setattr(intake_runner, "state", greedy)
    desk.drop("a.jsonl", b"much")
    desk.drop("b.jsonl", lines(0))
    assert desk.run() == 1
    assert desk.report("a.jsonl")[1]["reason"] == "unknown_format"
    assert len(desk.node.log) == 1


def test_a_message_that_stands_twice_in_a_file_is_one_event_and_two_lines_of_the_report(desk: Desk) -> None:
    desk.drop("a.jsonl", lines(0, 1, 0))
    assert desk.run() == 0
    rows = desk.report("a.jsonl")[1:-1]
    assert len(rows) == 3
    assert rows[0]["id"] == rows[2]["id"]
    assert len(desk.node.log) == 2


def test_a_file_that_grew_while_it_was_taken_is_read_again(desk: Desk) -> None:
    send, grown = desk.node.send, Flag()

    def growing(events: Sequence[NewEvent], wait: str, *, patience_s: float = 0.0) -> list[Json]:
        if not grown.is_set():
            grown.set()
            with (desk.folder / "work" / "a.jsonl").open("ab") as file:
                file.write(b"\n" + lines(7))
        return send(events, wait, patience_s=patience_s)

    desk.node.send = growing  # type: ignore[method-assign]  # for this test
    desk.drop("a.jsonl", lines(0))
    assert desk.run() == 0
    assert len(desk.node.log) == 2
    assert len(desk.report("a.jsonl")) == 4
    assert desk.files("refused") == ["a.jsonl.before-2.report.jsonl"], "the journal of what it was before"


# --- crashes and a node that is not there


@pytest.mark.parametrize("seed", range(3))
def test_killed_anywhere_every_message_is_stated_once_and_reported_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr("chainnode.submission.CHUNK_EVENTS", 3)
    desk.options = Options(skip_bad=True, skip_foreign=seed == 1)
    desk.drop("a.jsonl", lines(*range(10)) + b"\n" + lines(10, currency="XXX") + b"\n" + lines(11, **FOREIGN))
    desk.drop("b.xml", sample("13"))
    steps = Steps(monkeypatch)
    for deaths in range(300):
        steps.left = deaths % 23 + seed
        try:
            desk.run()
        except Killed:
            desk.changes = {"clear_amounts": deaths % 2 == 0}  # whoever begins it anew gives other options
            continue
        break
    else:
        raise AssertionError("it never came to an end")
    assert deaths > 5
    assert len(desk.node.log) == 15
    for name, count in (("a.jsonl", 12), ("b.xml", 5)):
        rows = desk.report(name)[1:-1]
        assert len(rows) == len({row["where"] for row in rows}) == count
    refused = [row["where"] for _, row in desk.told.messages if "id" not in row]
    assert len(refused) == len(set(refused)) <= 2, "told once, if it did not die in between"
    assert desk.files("done") == ["a.jsonl", "a.jsonl.report.jsonl", "b.xml", "b.xml.report.jsonl"]
    assert not list(desk.folder.glob("work/*"))


class Steps:
    """Counts writes, syncs and renames, and dies at one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = 10**9
        for name in ("rename", "fsync", "write"):
            monkeypatch.setattr(os, name, self._counted(getattr(os, name), torn=name == "write"))

    def _counted(self, real: Callable[..., Any], *, torn: bool) -> Callable[..., Any]:
        def step(*arguments: Any) -> Any:
            self.left -= 1
            if self.left < 0:
                if torn:
                    real(arguments[0], arguments[1][: len(arguments[1]) // 2])
                raise Killed
            return real(*arguments)

        return step


def test_other_options_after_a_crash_make_no_second_event(desk: Desk) -> None:
    desk.drop("a.jsonl", lines(0, 1))
    desk.node.die_after = 1  # accepted, and nobody noted it
    with pytest.raises(Killed):
        desk.run()
    desk.node.die_after = None
    desk.changes = {"clear_amounts": True}
    assert desk.run() == 0
    assert len(desk.node.log) == 2
    assert {tuple(row["differs"]) for row in desk.report("a.jsonl")[1:-1]} == {("amount", "amount_commitment")}


def test_what_has_its_outcome_is_not_sent_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chainnode.submission.CHUNK_EVENTS", 2)
    desk.drop("a.jsonl", lines(*range(20)))
    desk.node.die_after = 12
    with pytest.raises(Killed):
        desk.run()
    desk.node.die_after = None
    settled = len(desk.told.messages)
    before = sum(desk.node.sent)
    assert desk.run() == 0
    assert 0 < settled < 20
    assert sum(desk.node.sent) - before == 20 - settled
    assert len(desk.told.messages) == 20


def test_a_gateway_that_is_full_is_waited_for_and_no_more_than_some_groups_are_in_flight(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chainnode.submission.CHUNK_EVENTS", 2)
    desk.node.room = 4
    desk.node.trouble = [full(), full()]
    desk.drop("a.jsonl", lines(*range(30)))
    assert desk.run() == 0
    assert len(desk.node.log) == 30
    assert max(desk.node.sent) <= 2
    assert GROUPS_IN_FLIGHT * CHUNK_EVENTS <= 10_000


def test_a_node_that_takes_fewer_than_a_group_gets_parts_of_it(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chainnode.intake.retry_pause_s", lambda *_: 0.001)
    send = desk.node.send

    def narrow(events: Sequence[NewEvent], wait: str, *, patience_s: float = 0.0) -> list[Json]:
        if len(events) > 3:
            raise full()
        return send(events, wait, patience_s=patience_s)

    desk.node.send = narrow  # type: ignore[method-assign]  # for this test
    desk.drop("a.jsonl", lines(*range(10)))
    assert desk.run() == 0
    assert [row["where"] for row in desk.report("a.jsonl")[1:-1]] == [f"a.jsonl:{number}" for number in range(1, 11)]
    assert len(desk.node.log) == 10


def test_a_node_that_goes_away_is_asked_again(desk: Desk) -> None:
    desk.node.trouble = [Unreachable("gone"), TimedOut("slow"), full(), Unreachable("gone")]
    desk.drop("a.jsonl", lines(0))
    monkey = Pace(desk.stop, 30.0, lambda text: None)
    assert monkey.patience_s is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.chainnode.test_intake.PATIENCE_S", 30.0)
        patch.setattr("chainnode.intake.retry_pause_s", lambda *_: 0.001)
        patch.setattr("chainnode.intake.PAUSE_S", 0.001)
        assert desk.run() == 0
    assert len(desk.node.log) == 1


def test_without_progress_it_ends_and_loses_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chainnode.intake.retry_pause_s", lambda *_: 0.05)
    desk.node.trouble = [Unreachable("gone")] * 1_000
    desk.drop("a.jsonl", lines(0))
    with pytest.raises(Unreachable):
        desk.run()
    assert "a.jsonl" in desk.files("work")
    desk.node.trouble = []
    assert desk.run() == 0
    assert len(desk.node.log) == 1


def test_what_the_node_forgot_is_sent_again(desk: Desk) -> None:
    desk.node.forgets = True
    desk.drop("a.jsonl", lines(0, 1))
    assert desk.run() == 0
    assert len(desk.node.log) == 2


def test_a_refusal_for_good_of_the_door_itself_ends_it(desk: Desk) -> None:
    data = {"reason": "no_source", "retryable": False}
    desk.node.trouble = [CallRefused({"code": -32002, "message": "no source", "data": data})]
    desk.drop("a.jsonl", lines(0))
    with pytest.raises(CallRefused):
        desk.run()
    assert "a.jsonl" in desk.files("work")


def test_who_asks_for_an_end_gets_it_between_groups(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chainnode.submission.CHUNK_EVENTS", 1)
    desk.drop("a.jsonl", lines(*range(30)))
    tell = desk.told.message

    def stopping(file: str, row: Json) -> None:
        tell(file, row)
        desk.stop.set()

    desk.told.message = stopping  # type: ignore[method-assign]  # for this test
    with pytest.raises(Stopped):
        desk.run()
    assert 0 < len(desk.told.messages) < 30
    desk.stop.clear()
    desk.told.message = tell  # type: ignore[method-assign]  # for this test
    assert desk.run() == 0
    assert len(desk.node.log) == 30


def test_a_full_store_ends_it_before_anything_is_sent(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PrivateStore, "_check_room", lambda *_: (_ for _ in ()).throw(StorageError("full")))
    desk.drop("a.jsonl", lines(0))
    with pytest.raises(StorageError):
        desk.run()
    assert not desk.node.sent
    assert desk.files("work") == ["a.jsonl", "a.jsonl.journal"]


def test_a_file_that_was_taken_away_leaves_its_journal_and_stops_nobody(desk: Desk) -> None:
    desk.drop("a.jsonl", lines(0))
    desk.node.die_after = 1
    with pytest.raises(Killed):
        desk.run()
    desk.node.die_after = None
    (desk.folder / "work" / "a.jsonl").unlink()
    desk.drop("b.jsonl", lines(1))
    assert desk.run() == 0
    assert desk.files("refused") == ["a.jsonl.before-2.report.jsonl"]
    assert "b.jsonl" in desk.files("done")


def test_reports_hold_nothing_private(desk: Desk) -> None:
    desk.options = Options(skip_bad=True)
    desk.drop("a.jsonl", lines(0) + b"\n" + lines(1, amount="8765.432") + b"\n" + lines(2, **FOREIGN))
    desk.run()
    text = "".join(path.read_text("utf-8") for path in desk.folder.glob("*/*.report.jsonl"))
    assert not any(word in text for word in ("Ouyang", "8765", "R-0", "R-1", "R-2"))
