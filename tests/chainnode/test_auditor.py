"""An auditor of several nodes: one history, each lie told once with its proof, and nothing forgotten by a restart."""

from __future__ import annotations

import base64
import json
import os
import socket
import threading
import time
from pathlib import Path

import pytest

from chainnode.audit_findings import Weight
from chainnode.auditor import Limits
from chainnode.client import CallRefused, TimedOut, Unreachable
from chainnode.log_source import HttpSource, LogSource
from ledger.forks import Contradiction, verify_fork
from primitives.errors import InputError, StorageError
from tests.chainnode.auditor_fixtures import Desk
from tests.chainnode.mirror_fixtures import Lie, Served, chain, grow, policy_of
from tests.ledger.test_proofs_over_epochs import Story
from tests.rpc.conftest import MemoryNode

A, B = "http://a", "http://b"


@pytest.fixture
def node() -> MemoryNode:
    return chain(5, 3)


@pytest.fixture
def desk(node: MemoryNode, tmp_path: Path) -> Desk:
    return Desk(tmp_path, policy_of(node), node.now)


def size_in(directory: Path, name: str | None = None) -> int:
    """Return the size that the state file has, of all nodes or of one."""
    row = json.loads((directory / "state.json").read_text())
    return int((row["note"] if name is None else row["nodes"][name]).splitlines()[1])


def test_nodes_of_one_history_give_no_finding_and_are_remembered(node: MemoryNode, desk: Desk) -> None:
    a, b = Served(node.reader, A), Served(node.reader, B, note=node.checkpoint_at(6))
    grow(node, 4)
    for _ in range(3):
        assert desk.look(a, b, rounds=2) == []
        assert size_in(desk.directory) == size_in(desk.directory, A) == node.chain.log_size
        grow(node, 300)
    assert size_in(desk.directory, B) == 6
    b.note = None
    assert desk.look(b, a) == []
    assert size_in(desk.directory, B) == node.chain.log_size


def test_a_quiet_log_costs_a_checkpoint_a_node(node: MemoryNode, desk: Desk) -> None:
    a, b = Served(node.reader, A), Served(node.reader, B)
    with desk.run(a, b) as auditor:
        auditor.round()
        a.asked.clear()
        b.asked.clear()
        auditor.round()
    assert a.asked == b.asked == ["checkpoint"]


# -- contradictions


@pytest.mark.parametrize(
    ("blocks", "restart"), [((5, 3), False), ((5, 9), True), ((5, 300), False), ((5, 300), True), ((5,), False)]
)
def test_two_histories_are_a_fork_told_once_with_a_proof_that_convinces(
    node: MemoryNode, desk: Desk, blocks: tuple[int, ...], restart: bool
) -> None:
    other = Served(chain(*blocks, first=7).reader, B)
    honest = Served(node.reader, A)
    if restart:
        assert desk.look(honest) == []
        told = desk.look(other)  # the first one has gone: what it showed is remembered
    else:
        told = desk.look(honest, other)
    (row,) = (row for row in told if row["kind"] == "fork")
    assert (row["node"], row["severity"], row["lasting"]) == (B, "critical", True)
    verdict = verify_fork(Path(row["proof"]).read_text(), desk.policy)
    assert verdict.contradiction is not Contradiction.ROLLBACK
    assert len(verdict.accused) == 3
    assert A in row["message"]
    assert size_in(desk.directory) == node.chain.log_size, "what was seen first stands"
    for _ in range(2):
        grow(node, 1)
        assert desk.kinds(honest, other, rounds=2) == []
    assert len(list((desk.directory / "forks").iterdir())) == 1
    with desk.run(honest, other) as auditor:
        assert auditor.findings.worst() is Weight.FAILED


def test_a_node_that_shows_each_client_another_log_is_found_as_soon_as_it_mixes_them_up(
    node: MemoryNode, desk: Desk
) -> None:
    one, other = node.reader, chain(5, 3, first=7).reader
    source = Served(one, A)
    assert desk.look(source) == []
    source.reader = other
    assert desk.kinds(source) == ["fork raised"]
    source.reader = one
    assert desk.kinds(source) == [], "a fork is never over"


def test_a_smaller_log_that_is_signed_later_is_a_proved_rollback_also_after_a_restart(
    node: MemoryNode, desk: Desk
) -> None:
    smaller = node.chain.log_size
    grow(node, 4)
    assert desk.look(Served(node.reader, A)) == []
    node.now += 5_000
    for name in (A, B):
        (row,) = desk.look(Served(node.reader, name, note=node.checkpoint_at(smaller)))
        assert (row["kind"], row["node"], row["lasting"]) == ("rollback", name, True)
        assert verify_fork(Path(row["proof"]).read_text(), desk.policy).contradiction is Contradiction.ROLLBACK
    assert size_in(desk.directory) == node.chain.log_size


@pytest.mark.parametrize("tiles", [True, False])
def test_a_replayed_old_checkpoint_is_a_rollback_without_proof_until_the_node_is_back(
    node: MemoryNode, desk: Desk, tiles: bool
) -> None:
    older, source = node.checkpoint(), Served(node.reader, A)
    grow(node, 4)
    assert desk.look(source) == []
    source.note = older
    if not tiles:
        source.lies["tile/"] = lambda data: None
    (row,) = desk.look(source)
    assert (row["kind"], row["proof"], row["lasting"]) == ("rollback", "", False)
    assert desk.kinds(source, rounds=2) == []
    source.note = None
    source.lies.clear()
    assert desk.kinds(source) == ["rollback cleared"]


def test_an_old_checkpoint_of_a_node_that_never_showed_more_is_no_rollback(node: MemoryNode, desk: Desk) -> None:
    older = Served(node.reader, B, note=node.checkpoint())
    grow(node, 4)
    assert desk.look(Served(node.reader, A), older, rounds=2) == []


# -- what is remembered


def test_nothing_here_stands_on_a_checkpoint_that_is_not_on_the_disk(node: MemoryNode, desk: Desk) -> None:
    source = Served(node.reader, A)
    with desk.run(source) as auditor:
        auditor.round()
        before, held = auditor.heads, (desk.directory / "state.json").read_bytes()
        grow(node, 4)
        write = auditor.state.write

        def full(*_: object) -> None:
            raise StorageError("file cannot be written", where="state.json")

        auditor.state.write = full  # type: ignore[method-assign]  # a disk that is full
        with pytest.raises(StorageError):
            auditor.round()
        assert auditor.heads == before
        assert (desk.directory / "state.json").read_bytes() == held
        auditor.state.write = write  # type: ignore[method-assign]  # there is room again
        auditor.round()
    assert size_in(desk.directory) == node.chain.log_size


def test_a_changed_state_is_refused_and_nothing_is_taken_in_its_place(node: MemoryNode, desk: Desk) -> None:
    assert desk.look(Served(node.reader, A)) == []
    path = desk.directory / "state.json"
    good = path.read_text()
    for bad in (good[:-20], good.replace("node-bank-a", "node-bank-x"), '{"policy": ""}', "[]"):
        path.write_text(bad)
        with pytest.raises(InputError, match=r"state\.json"):
            desk.look(Served(node.reader, A))
        assert path.read_text() == bad
    desk.policy += "# more\n"
    path.write_text(good)
    with pytest.raises(InputError, match="another policy"):
        desk.look(Served(node.reader, A))


def test_a_finding_that_a_crash_cut_is_told_again_and_a_whole_one_is_not(node: MemoryNode, desk: Desk) -> None:
    sources: list[LogSource] = [Served(node.reader, A), Served(chain(5, 3, first=7).reader, B)]
    assert desk.kinds(*sources) == ["fork raised"]
    path = desk.directory / "findings.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:40])
    assert desk.kinds(*sources) == []
    assert path.read_bytes() == whole
    path.write_bytes(whole[:-1])
    assert desk.kinds(*sources) == ["fork raised"]
    path.write_bytes(b"{}\n")
    with pytest.raises(InputError, match="not a finding"):
        desk.look(*sources)


def test_a_line_that_the_disk_takes_half_is_taken_back(
    node: MemoryNode, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources: list[LogSource] = [Served(node.reader, A), Served(chain(5, 3, first=7).reader, B)]
    write = os.write
    monkeypatch.setattr("chainnode.audit_findings.os.write", lambda fd, data: write(fd, data[:40]))
    with pytest.raises(StorageError, match="cannot be written"):
        desk.look(*sources)
    assert (desk.directory / "findings.jsonl").read_bytes() == b""
    monkeypatch.undo()
    assert desk.kinds(*sources) == ["fork raised"]


def test_a_full_file_of_findings_is_put_aside_and_what_is_open_goes_on(
    node: MemoryNode, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chainnode.audit_findings.FILE_BYTES_MAX", 1_500)
    fork, flaky = Served(chain(5, 3, first=7).reader, B), Served(node.reader, "http://c")
    told = []
    for turn in range(8):
        flaky.lies = {"checkpoint": lambda data: Unreachable("gone")} if turn % 2 else {}
        told += desk.kinds(Served(node.reader, A), fork, flaky)
    assert told == ["fork raised", *["unreachable raised", "unreachable cleared"] * 3, "unreachable raised"]
    assert (desk.directory / "findings.jsonl.1").exists()
    assert (desk.directory / "findings.jsonl").stat().st_size <= 1_500


# -- nodes that lie, and nodes that do not answer


def flipped(data: bytes | None) -> bytes:
    """Return a note whose last signature is another one."""
    head, _, last = (data or b"").rstrip(b"\n").rpartition(b" ")
    return b"%b %b\n" % (head, base64.b64encode(base64.b64decode(last)[:-1] + b"\0"))


def other_size(data: bytes | None) -> bytes:
    """Return a note that says another size."""
    origin, size, rest = (data or b"").split(b"\n", 2)
    return b"%b\n%d\n%b" % (origin, int(size) + 1, rest)


LIES: dict[str, tuple[str, Lie, str]] = {
    "garbage": ("checkpoint", lambda data: b"\xff\xfe\0", "bad_answer"),
    "text": ("checkpoint", lambda data: b"hello\n", "bad_answer"),
    "empty": ("checkpoint", lambda data: b"", "bad_answer"),
    "huge": ("checkpoint", lambda data: b"x" * 70_000, "bad_answer"),
    "other log": ("checkpoint", lambda data: (data or b"").replace(b"test-chain", b"best-chain"), "bad_answer"),
    "signature": ("checkpoint", flipped, "bad_signature"),
    "unsigned": (
        "checkpoint",
        lambda data: b"\n".join(line for line in (data or b"").split(b"\n") if b"node-bank-b" not in line),
        "not_enough_cosignatures",
    ),
    "other size": ("checkpoint", other_size, "bad_signature"),
    "none": ("checkpoint", lambda data: None, "unreachable"),
    "gone": ("checkpoint", lambda data: Unreachable("nobody answers"), "unreachable"),
    "slow": ("checkpoint", lambda data: TimedOut("no answer in time"), "unreachable"),
    "refusing": ("checkpoint", lambda data: CallRefused({"code": 1}), "unreachable"),
    "tiles": ("tile/", lambda data: bytes(len(data or b"")), "inconsistent"),
    "huge tiles": ("tile/", lambda data: b"\0" * (1 << 20), "inconsistent"),
    "slow tiles": ("tile/", lambda data: TimedOut("no answer in time"), "unreachable"),
    "handovers": ("handovers/", lambda data: b"\xc1" * 99, "bad_answer"),
    "huge handovers": ("handovers/", lambda data: b"\0" * (1 << 20), "bad_answer"),
    "refused handovers": ("handovers/", lambda data: CallRefused({"code": 1}), "unreachable"),
}


@pytest.mark.parametrize("name", LIES)
def test_each_lie_has_its_finding_and_keeps_nobody_from_judging_the_others(
    node: MemoryNode, desk: Desk, name: str
) -> None:
    place, lie, kind = LIES[name]
    liar = Served(node.reader, B)
    assert desk.look(Served(node.reader, A), liar) == []
    before = size_in(desk.directory, B)
    grow(node, 4)
    liar.lies[place] = lie
    honest = Served(node.reader, A)
    told = desk.look(liar, honest)
    assert [(row["kind"], row["node"]) for row in told] == [(kind, B)]
    assert size_in(desk.directory, A) == size_in(desk.directory) == node.chain.log_size
    if place == "checkpoint":
        assert size_in(desk.directory, B) == before
    grow(node, 2)
    assert desk.kinds(liar, honest) == []
    liar.lies.clear()
    assert desk.kinds(liar, honest) == [f"{kind} cleared"]


def test_a_larger_log_whose_tiles_nobody_has_is_not_taken(node: MemoryNode, desk: Desk) -> None:
    source = Served(node.reader, A)
    assert desk.look(source) == []
    before = size_in(desk.directory)
    grow(node, 4)
    source.lies["tile/"] = lambda data: None
    assert desk.kinds(source, rounds=2) == ["inconsistent raised"]
    assert size_in(desk.directory) == before
    source.lies.clear()
    assert desk.kinds(source) == ["inconsistent cleared"]


def test_what_cannot_be_compared_is_said_to_be_so(node: MemoryNode, desk: Desk) -> None:
    older = node.checkpoint()
    grow(node, 4)
    assert desk.look(Served(node.reader, A)) == []
    late = Served(node.reader, B, note=older, lies={"tile/": lambda data: None})
    assert desk.kinds(late) == ["unproven raised"]
    assert desk.kinds(late, Served(node.reader, A)) == ["unproven cleared"]
    forked = Served(chain(5, first=7).reader, "http://c")
    assert desk.kinds(forked) == ["unproven raised"], "whose the larger log was is not there"
    assert desk.kinds(forked, Served(node.reader, A)) == ["fork raised", "unproven cleared"]


@pytest.mark.parametrize("larger", [False, True])
def test_what_could_not_be_compared_is_kept_over_restarts_until_it_can_be(
    node: MemoryNode, desk: Desk, larger: bool
) -> None:
    assert desk.look(Served(node.reader, A)) == []
    forked = Served(chain(*((5, 9) if larger else (5,)), first=7).reader, B, lies={"tile/": lambda data: None})
    assert desk.kinds(forked) == ["inconsistent raised" if larger else "unproven raised"]
    honest = Served(node.reader, B)
    if larger:
        assert desk.kinds(honest) == ["unproven raised", "inconsistent cleared"], "nobody's log is so large yet"
        with desk.run(honest) as auditor:
            assert auditor.findings.worst() is Weight.UNHEALTHY
    grow(node, 9)
    (row,) = (row for row in desk.look(honest) if row["kind"] == "fork")
    assert row["node"] == B
    assert verify_fork(Path(row["proof"]).read_text(), desk.policy).contradiction is not Contradiction.ROLLBACK
    assert json.loads((desk.directory / "state.json").read_text())["kept"] == {}
    assert desk.kinds(honest, rounds=2) == []


def test_what_was_late_alone_is_kept_no_longer_than_until_it_fits(node: MemoryNode, desk: Desk) -> None:
    source = Served(node.reader, A)
    assert desk.look(source) == []
    grow(node, 4)
    source.lies["tile/"] = lambda data: None
    desk.look(source)
    assert list(json.loads((desk.directory / "state.json").read_text())["kept"]) == [A]
    source.lies.clear()
    assert desk.kinds(source) == ["inconsistent cleared"]
    assert json.loads((desk.directory / "state.json").read_text())["kept"] == {}


def test_a_state_from_before_these_were_kept_is_taken_up(node: MemoryNode, desk: Desk) -> None:
    assert desk.look(Served(node.reader, A)) == []
    path = desk.directory / "state.json"
    row = json.loads(path.read_text())
    del row["kept"]
    path.write_text(json.dumps(row))
    assert desk.look(Served(node.reader, A)) == []


def test_a_node_has_no_more_time_in_a_round_than_it_is_given(node: MemoryNode, desk: Desk) -> None:
    desk.limits = Limits(timeout_s=0)
    assert desk.kinds(Served(node.reader, A)) == ["unreachable raised"]


def test_a_mirror_has_a_nodes_time_in_a_round_and_no_more(node: MemoryNode, desk: Desk) -> None:
    honest, mirror = Served(node.reader, A), Served(node.reader, "http://mirror")

    def dawdling(data: bytes | None) -> None:
        time.sleep(0.06)

    mirror.lies["tile/"] = dawdling
    desk.limits = Limits()
    with desk.run(honest) as auditor:
        auditor.limits.timeout_s = 0.05  # the mirror's: the node has the usual
        auditor.use_mirror(mirror)
        auditor.round()
        for _ in range(3):
            grow(node, 300)
            mirror.asked.clear()
            auditor.round()
            assert len(mirror.asked) <= 1, "what takes longer is not waited for again"
        assert auditor.heads.newest is not None
        assert auditor.heads.newest.checkpoint.size == node.chain.log_size
    assert desk.told == []


def test_a_run_that_is_stopped_tells_nothing_more(node: MemoryNode, desk: Desk) -> None:
    with desk.run(Served(node.reader, A, lies={"checkpoint": lambda data: Unreachable("gone")})) as auditor:
        auditor.round()
        auditor.stop()
        auditor.round()
        assert auditor.rounds == 1
    assert [row["kind"] for row in desk.told] == ["unreachable"]


def test_who_is_waited_for_is_cut_off_when_the_auditor_is_to_end(desk: Desk) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(10)
        source = HttpSource(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=60)
        with desk.run(source) as auditor:
            running = threading.Thread(target=auditor.round)
            running.start()
            connection, _ = silent.accept()
            assert connection.recv(1_000).startswith(b"GET /checkpoint")
            auditor.stop()
            running.join(10)
            assert not running.is_alive()
            connection.close()
        source.close()
    assert desk.told == []


# -- time


def test_a_head_that_nobody_renews_is_stale_until_somebody_does(node: MemoryNode, desk: Desk) -> None:
    source = Served(node.reader, A)
    desk.now_ms = node.now + 179_000
    assert desk.look(source) == []
    desk.now_ms = node.now + 182_000
    assert desk.kinds(source, rounds=2) == ["stale raised"]
    node.now = desk.now_ms
    node.checkpoint()
    assert desk.kinds(source) == ["stale cleared"]
    desk.now_ms = node.now - 400_000
    (row,) = desk.look(source)
    assert (row["kind"], row["message"][:50]) == ("stale", "the newest checkpoint is signed in the future: thi")


def test_who_is_behind_the_others_lags(node: MemoryNode, desk: Desk) -> None:
    late = Served(node.reader, B, note=node.checkpoint())
    grow(node, 1)
    assert desk.look(Served(node.reader, A), late) == []
    node.now += 200_000
    desk.now_ms = node.now
    grow(node, 1)
    told = desk.look(Served(node.reader, A), late)
    assert [(row["kind"], row["node"]) for row in told] == [("lagging", B)]
    late.note = None
    assert desk.kinds(Served(node.reader, A), late) == ["lagging cleared"]


# -- epochs


def test_later_validators_are_followed_and_each_change_is_told_once(tmp_path: Path) -> None:
    story = Story()
    desk = Desk(tmp_path, story.policies[0], story.council.now_ms)
    found = []
    for epoch in (0, 1, 2, 2):
        source = Served(story.reader, A, note=story.notes[epoch])
        found += [row["subject"] for row in desk.look(source) if row["kind"] == "policy_changed"]
    assert found == ["epoch 1", "epoch 2"]
    held = json.loads((tmp_path / "state.json").read_text())
    assert len(held["handovers"]) == 2
