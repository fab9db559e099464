"""`chainnode token` on a home whose node does not run: the file, what is shown, and what bad input is told."""

import json
from pathlib import Path

import pytest

from chainnode.cli.main import run
from chainnode.cli.token import seconds_of
from primitives.errors import UsageError


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    monkeypatch.delenv("CHAINNODE_HOME", raising=False)
    place = tmp_path / "bank-a"
    assert run(["--home", str(place), "init", "--name", "bank-a"]) == 0
    (place / "config" / "genesis.json").write_text("{}")
    capsys.readouterr()
    return place


def printed(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def test_a_token_is_shown_once_listed_and_revoked(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    at = ["--home", str(home), "-o", "json"]
    assert run([*at, "token", "create", "desk", "--role", "auditor", "--expires", "12h", "--member", "bank-b"]) == 0
    made = printed(capsys)
    token = str(made["token"])
    assert (made["role"], made["member"], made["state"], len(token)) == ("auditor", "bank-b", "valid", 67)
    assert run([*at, "token", "list"]) == 0
    listed = capsys.readouterr().out
    assert token not in listed
    assert json.loads(listed)["tokens"][0]["name"] == "desk"
    path = home / "keys" / "tokens.json"
    assert (token in path.read_text(), path.stat().st_mode & 0o777) == (False, 0o600)
    assert run([*at, "token", "create", "desk", "--role", "auditor"]) == 2
    assert "taken" in capsys.readouterr().err
    assert run([*at, "token", "revoke", "desk"]) == 0
    assert printed(capsys)["state"] == "revoked"
    assert run([*at, "token", "revoke", "nobody"]) == 2


def test_a_token_may_go_to_a_private_file_and_not_to_the_screen(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = home.parent / "desk.token"
    command = ["--home", str(home), "token", "create", "desk", "--role", "submitter", "-f", str(target)]
    assert run(command) == 0
    token = target.read_text().strip()
    captured = capsys.readouterr()
    assert token not in captured.out + captured.err
    assert target.stat().st_mode & 0o777 == 0o600
    assert run(command) == 2
    assert "exists already" in capsys.readouterr().err


def test_what_is_done_while_no_node_runs_is_in_the_audit_log_too(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at = ["--home", str(home)]
    for arguments in (["create", "desk", "--role", "operator"], ["list"], ["revoke", "desk"], ["revoke", "nobody"]):
        run([*at, "token", *arguments])
    capsys.readouterr()
    assert run([*at, "-o", "json", "audit-log", "show"]) == 0
    told = [(line["who"], line["method"], line["ids"]) for line in json.loads(capsys.readouterr().out)["calls"]]
    assert told == [
        ("the command line", "admin_createToken", ["desk"]),
        ("the command line", "admin_revokeToken", ["desk"]),
    ]


def test_no_token_is_made_for_a_file_that_cannot_be(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = home.parent / "nowhere" / "desk.token"
    assert run(["--home", str(home), "token", "create", "desk", "--role", "auditor", "-f", str(target)]) == 2
    assert "no such directory" in capsys.readouterr().err
    assert not (home / "keys" / "tokens.json").exists()


@pytest.mark.parametrize("arguments", [["Desk!", "--role", "auditor"], ["d", "--role", "king"], ["d"]])
def test_a_token_that_cannot_be_is_refused(home: Path, arguments: list[str]) -> None:
    assert run(["--home", str(home), "token", "create", *arguments]) == 2
    assert not (home / "keys" / "tokens.json").exists()


@pytest.mark.parametrize(
    ("text", "seconds"), [("90d", 7_776_000), ("12h", 43_200), ("5m", 300), ("1s", 1), ("never", 0)]
)
def test_a_length_of_time_is_a_number_and_a_unit(text: str, seconds: int) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "d", "0d", "-1d", "1.5h", "90", "1w", "forever"])
def test_any_other_length_of_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not a length of time"):
        seconds_of(text)
