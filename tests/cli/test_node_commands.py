"""Keys, homes, genesis and settings from the command line."""

import json
import re
import shutil
import tomllib
from pathlib import Path

import pytest

from chainnode.cli.main import run
from chainnode.home import Home
from chainnode.identity import read_key
from ledger.store_leveldb import LevelDBStore


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CHAINNODE_HOME", raising=False)
    monkeypatch.delenv("CHAINNODE_LOCALNET", raising=False)
    monkeypatch.chdir(tmp_path)


def printed(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def test_new_key_is_private_and_shown_without_its_secret(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "lab.key"
    assert run(["keys", "new", str(path), "--member", "lab", "-o", "json"]) == 0
    public = printed(capsys)["public"]
    key = read_key(path, "source")
    assert key.public == public
    assert path.stat().st_mode & 0o777 == 0o600
    assert run(["keys", "show", str(path)]) == 0
    shown = capsys.readouterr().out
    assert key.public in shown
    assert key.seed not in shown
    assert run(["keys", "new", str(path), "--member", "lab"]) == 2
    assert "exists already" in capsys.readouterr().err


def test_source_key_without_a_member_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["keys", "new", "x.key"]) == 2
    assert "needs its member" in capsys.readouterr().err


def test_two_banks_found_a_chain_and_join_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    homes = [Home(tmp_path / name) for name in ("bank-a", "bank-b")]
    for index, home in enumerate(homes):
        address = f"127.0.0.1:{7400 + 10 * index}"
        assert run(["--home", str(home.root), "init", "--name", home.root.name, "--address", address]) == 0
    entries = [str(home.entry) for home in homes]
    assert (
        run(
            [
                "genesis",
                "create",
                *entries,
                "--chain",
                "pair",
                "-f",
                "genesis.json",
                "--policy",
                "checkpoint_slot_ms=300",
            ]
        )
        == 0
    )
    capsys.readouterr()
    for home in homes:
        assert run(["--home", str(home.root), "init", "--genesis", "genesis.json"]) == 0
        capsys.readouterr()
        assert run(["config", "check", "--home", str(home.root), "-o", "json"]) == 0
        assert printed(capsys)["ok"] is True
    assert run(["genesis", "hash", "genesis.json", "-o", "json"]) == 0
    chain_id = printed(capsys)["chain_id"]
    assert run(["genesis", "show", "--home", str(homes[1].root), "-o", "json"]) == 0
    shown = printed(capsys)
    assert shown["chain_id"] == chain_id
    policy = shown["policy"]
    assert isinstance(policy, dict)
    assert policy["checkpoint_slot_ms"] == 300
    assert run(["genesis", "show", "genesis.json"]) == 0
    assert re.search(r"^  checkpoint_slot_ms +300$", capsys.readouterr().out, re.MULTILINE)
    assert homes[0].wal.exists()
    assert run(["--home", str(homes[0].root), "init", "--genesis", "genesis.json"]) == 2
    assert "belongs to a chain already" in capsys.readouterr().err


def test_fsck_ends_with_status_0_2_or_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = Home(tmp_path / "bank-a")
    fsck = ["--home", str(home.root), "fsck", "-o", "json"]
    for wrong in ("-1", "1.5", "tip", "", "9" * 20):
        assert run([*fsck, "--from", wrong]) == 2
    assert run(["--home", str(home.root), "init", "--name", "bank-a", "--address", "127.0.0.1:9100"]) == 0
    assert run(["genesis", "create", str(home.entry), "--chain", "one", "-f", "genesis.json"]) == 0
    assert run(["--home", str(home.root), "init", "--genesis", "genesis.json"]) == 0
    capsys.readouterr()
    assert run([*fsck, "--archive", str(tmp_path / "none")]) == 6
    assert f"{tmp_path}/none: no archive is here" in capsys.readouterr().err
    assert run(fsck) == 6
    assert "there is no store to verify" in capsys.readouterr().err
    LevelDBStore(home.data / "ledger.ldb").close()
    assert run(fsck) == 0
    assert printed(capsys)["ok"] is True
    with home.lock():
        assert run(fsck) == 2
    assert "already in use" in capsys.readouterr().err
    home.wal.unlink()
    assert run(fsck) == 3
    assert "without its write-ahead log" in str(printed(capsys)["problem"])
    shutil.rmtree(home.data)
    assert run([*fsck[:-2]]) == 6
    said = capsys.readouterr().err
    assert said.startswith(f"error: {home.data / 'ledger.ldb'}: there is no store to verify; start the node")
    assert said.count("\n") == 1
    assert not home.data.exists()


@pytest.mark.parametrize("command", [["validator", "renew-keys"], ["keys", "rotate"]])
def test_new_keys_are_made_where_the_whole_data_directory_is_gone(command: list[str], tmp_path: Path) -> None:
    home = Home(tmp_path / "bank-a")
    assert run(["--home", str(home.root), "init", "--name", "bank-a", "--address", "127.0.0.1:9100"]) == 0
    assert run(["genesis", "create", str(home.entry), "--chain", "one", "-f", "genesis.json"]) == 0
    assert run(["--home", str(home.root), "init", "--genesis", "genesis.json"]) == 0
    shutil.rmtree(home.data)
    assert run(["--home", str(home.root), *command]) == 0
    assert home.data.stat().st_mode & 0o777 == 0o700


def test_home_is_not_made_twice_nor_in_a_used_directory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--home", str(tmp_path / "h"), "init", "--name", "bank-a"]) == 0
    assert run(["--home", str(tmp_path / "h"), "init", "--name", "bank-a"]) == 2
    assert "home already initialised" in capsys.readouterr().err
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "x").touch()
    assert run(["--home", str(tmp_path / "used"), "init", "--name", "bank-a"]) == 2
    assert "not empty" in capsys.readouterr().err


def test_genesis_of_other_keys_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("one", "two"):
        assert run(["--home", str(tmp_path / name), "init", "--name", "bank-a"]) == 0
    entry = str(Home(tmp_path / "one").entry)
    assert run(["genesis", "create", entry, "--chain", "c", "-f", "g.json"]) == 0
    assert run(["--home", str(tmp_path / "two"), "init", "--genesis", "g.json"]) == 2
    assert "genesis has another key for this node" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"member": 1}', '{"member": {}, "colour": 1}'])
def test_bad_entry_is_refused_by_its_file(content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "member.json"
    path.write_text(content)
    assert run(["genesis", "create", str(path), "--chain", "c", "-f", "g.json"]) == 1
    assert f"{path}: not a member's entry" in capsys.readouterr().err


def test_settings_are_shown_with_their_origin(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--home", str(tmp_path / "h"), "init", "--name", "bank-a"]) == 0
    capsys.readouterr()
    arguments = ["config", "show", "--home", str(tmp_path / "h"), "--origin", "-o", "json", "--set", "log.level=debug"]
    assert run(arguments) == 0
    rows = {row["key"]: row for row in json.loads(capsys.readouterr().out)["settings"]}
    assert re.search(r"node\.toml:\d+$", rows["node.name"]["origin"])
    assert rows["log.level"] == {"key": "log.level", "value": "debug", "origin": "flag log.level"}
    assert rows["rpc.listen"]["origin"] == "default"
    assert run(["config", "show"]) == 0
    assert tomllib.loads(capsys.readouterr().out)["rpc"]["listen"] == "127.0.0.1:7401"


def test_start_refuses_a_home_that_is_none_and_an_unknown_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["--home", str(tmp_path / "none"), "start"]) == 6
    assert "not a node's home" in capsys.readouterr().err


def test_nobody_listening_is_status_4(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["status", "--endpoint", "http://127.0.0.1:1"]) == 4
    assert "no node answers" in capsys.readouterr().err


def test_localnet_commands_without_a_localnet_say_how_to_make_one(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["status"], ["down"], ["kill", "bank-a"], ["start", "bank-a"], ["logs", "bank-a"]):
        assert run(["localnet", *arguments]) == 6
        assert "no localnet here; `chainnode localnet up` makes one" in capsys.readouterr().err


def test_verify_of_rubbish_is_status_3_and_of_nothing_status_6(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy, receipt = tmp_path / "policy", tmp_path / "r.tlog-proof"
    policy.write_text("quorum none\n")
    for content in (b"", b"rubbish\n", b"\xff\xfe"):
        receipt.write_bytes(content)
        assert run(["verify", str(receipt), "--policy", str(policy)]) == 3
        assert str(receipt) in capsys.readouterr().err
    assert run(["verify", str(tmp_path / "none"), "--policy", str(policy)]) == 6


def test_settings_without_the_nodes_name_and_a_missing_token_are_told_with_file_and_advice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = Home(tmp_path / "bank-a")
    at_home = ["--home", str(home.root)]
    assert run([*at_home, "init", "--name", "bank-a"]) == 0
    assert run(["genesis", "create", str(home.entry), "--chain", "one", "-f", "genesis.json"]) == 0
    assert run([*at_home, "init", "--genesis", "genesis.json"]) == 0
    sound = home.config.read_text()
    home.token.unlink()
    capsys.readouterr()
    assert run([*at_home, "config", "check"]) == 6
    assert f"{home.token}: no such file; write a new secret there" in capsys.readouterr().err
    for text, key in (("", "name"), ('[node]\nname = "bank-a"\n', "member")):
        home.config.write_text(text)
        for command in (["start"], ["config", "check"], ["validator", "entry"]):
            assert run([*at_home, *command]) == 2
            said = f"error: {home.config}: node.{key} is not set: expected section [node]"
            assert capsys.readouterr().err.startswith(said)
    home.config.write_text('[node]\nname = " "\nmember = "bank-a"\n')
    for command in (["start"], ["config", "check"]):
        assert run([*at_home, *command]) == 2
        assert f"{home.config}:2: node.name is not valid: expected to match [a-z0-9]" in capsys.readouterr().err
    home.config.write_text(sound)
