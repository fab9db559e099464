"""The operators' audit log: what it holds, that it is private and chained, and that it goes on after a crash."""

from __future__ import annotations

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
