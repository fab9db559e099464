"""The operators' audit log: what it holds, that it is private and chained, and that it goes on after a crash."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from chainnode import audit_log
from chainnode.audit_log import FIRST, AuditLog, kept_lines
from primitives.errors import ProofError
from rpc.ports import Privileged


def call(name: str = "desk", outcome: str = "ok") -> Privileged:
    return Privileged(f"token {name}", "submitter", "127.0.0.1", "ledger_submit", outcome, "t" * 32, ("ab" * 32,), 1)


def written(path: Path, *calls: Privileged) -> None:
    kept = AuditLog(path)
    for each in calls:
        kept.called(each)
    kept.close()


def test_calls_are_private_lines_each_bound_to_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    written(path, call("a"), call("b"))
    written(path, call("c", "role_insufficient"))
    assert path.stat().st_mode & 0o777 == 0o600
    lines = list(kept_lines(path))
    assert [(line.number, line.who, line.outcome) for line, _ in lines] == [
        (0, "token a", "ok"),
        (1, "token b", "ok"),
        (2, "token c", "role_insufficient"),
    ]
    assert [line.previous for line, _ in lines] == [FIRST, lines[0][1], lines[1][1]]
    assert json.loads(path.read_text().splitlines()[0])["ids"] == ["ab" * 32]


@pytest.mark.parametrize("how", ["changed", "taken out", "moved", "put in"])
def test_a_line_inside_that_is_not_as_it_was_is_seen(tmp_path: Path, how: str) -> None:
    path = tmp_path / "audit.log"
    written(path, *(call(str(number)) for number in range(5)))
    lines = path.read_text().splitlines()
    if how == "changed":
        lines[2] = lines[2].replace("token 2", "token 7")
    elif how == "taken out":
        del lines[2]
    elif how == "moved":
        lines[1], lines[2] = lines[2], lines[1]
    else:
        lines.insert(2, lines[2])
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(ProofError, match="does not hold together"):
        list(kept_lines(path))


def test_the_chain_goes_on_over_files_and_the_oldest_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_log, "FILE_BYTES_MAX", 1_000)
    monkeypatch.setattr(audit_log, "FILES_KEPT", 3)
    path = tmp_path / "audit.log"
    for number in range(20):
        written(path, call(str(number)))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["audit.log", "audit.log.1", "audit.log.2"]
    numbers = [line.number for line, _ in kept_lines(path)]
    assert numbers == list(range(numbers[0], 20))
    assert numbers[0] > 0
    (tmp_path / "audit.log.1").unlink()
    with pytest.raises(ProofError):
        list(kept_lines(path))


def test_a_line_that_a_crash_cut_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    written(path, call("a"), call("b"))
    path.write_bytes(path.read_bytes()[:-20])
    written(path, call("c"))
    assert [line.who for line, _ in kept_lines(path)] == ["token a", "token c"]


def test_a_damaged_end_stops_no_node_and_stays_seen(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    written(path, call("a"))
    path.write_text("not a line\n")
    written(path, call("b"))
    with pytest.raises(ProofError):
        list(kept_lines(path))
    assert "token b" in path.read_text()


@pytest.mark.parametrize("how", ["the first lines", "the older file"])
def test_lines_that_are_missing_at_the_beginning_are_seen_as_long_as_no_file_had_to_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    path = tmp_path / "audit.log"
    monkeypatch.setattr(audit_log, "FILE_BYTES_MAX", 1_000)
    for number in range(5):
        written(path, call(str(number)))
    older = max(tmp_path.iterdir(), key=lambda file: file.name)
    assert older != path
    assert len(list(kept_lines(path))) == 5
    if how == "the older file":
        older.unlink()
    else:
        older.write_text("".join(older.read_text().splitlines(keepends=True)[1:]))
    with pytest.raises(ProofError, match="does not hold together"):
        list(kept_lines(path))


def test_a_flood_of_refusals_pushes_nothing_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_log, "FILE_BYTES_MAX", 20_000)
    path = tmp_path / "audit.log"
    kept = AuditLog(path)
    kept.called(call("operator"))
    for number in range(5_000):
        outcome = "wrong_token" if number % 2 else "ok"
        kept.called(Privileged("nobody", "", f"10.0.0.{number % 256}", "login", outcome, "t" * 32))
        if number == 4_000:
            kept.called(call("desk"))
    kept.close()
    lines = [line for line, _ in kept_lines(path)]
    assert [line.who for line in lines if line.method != "login"] == ["token operator", "token desk"]
    told = [line for line in lines if line.who == "nobody"]
    assert len(told) == audit_log.REFUSALS_TOLD + 2
    assert sum(line.count for line in told[-2:]) == 5_000 - audit_log.REFUSALS_TOLD
    assert {line.outcome for line in told[-2:]} == {"wrong_token", "ok"}


async def test_after_a_while_refusals_have_lines_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_log, "REFUSALS_S", 0.2)
    monkeypatch.setattr(audit_log, "GATHER_S", 0.01)
    path = tmp_path / "audit.log"
    kept = AuditLog(path)
    writing = asyncio.create_task(kept.run())
    for _ in range(audit_log.REFUSALS_TOLD + 7):
        kept.called(call("desk", "role_insufficient"))
    async with asyncio.timeout(10):
        while not path.exists() or [line.count for line, _ in kept_lines(path)][-1] != 7:  # noqa: ASYNC110  a file has no event
            await asyncio.sleep(0.01)
    kept.called(call("desk", "role_insufficient"))
    kept.close()
    writing.cancel()
    assert len(list(kept_lines(path))) == audit_log.REFUSALS_TOLD + 2
