"""`payment intake`: what it refuses at once, how it ends, and what a shell completes. The rest is in tests/e2e."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from chainnode.cli import payment_intake
from chainnode.cli.context import Settings
from chainnode.cli.exits import Exit, exit_of
from chainnode.cli.main import root
from chainnode.client import NodeClient
from chainnode.home import Home
from chainnode.localnet import Localnet
from primitives.errors import ChainError
from tests.chainnode.ingest.ingest_fixtures import SAMPLES, context_of

ROOT = Path(__file__).parents[2]
NOBODY = "http://127.0.0.1:1"
NOW_MS = 1_790_000_000_000


@pytest.fixture
def home(tmp_path: Path) -> Home:
    net = Localnet(tmp_path / "net")
    with net.held():
        file = net.found(1, base_port=None, now_ms=NOW_MS, step=lambda _: None)
    return Home(Path(file.nodes[0].home))


def taken(*words: str) -> tuple[int, str]:
    """Run the command; return its status, and what it said or why it ended."""
    result = CliRunner().invoke(root, list(words), obj=Settings(), standalone_mode=False)
    if isinstance(result.exception, ChainError):
        return exit_of(result.exception), str(result.exception)
    assert result.exception is None, result.exception
    return int(result.return_value or 0), result.output


def test_no_key_is_read_beside_files_of_others(home: Home, tmp_path: Path) -> None:
    words = ("--home", str(home.root), "--endpoint", NOBODY, "payment", "intake", str(tmp_path / "drop"))
    status, said = taken("--as", str(home.source_key), *words, "--once", "--timeout", "0.1")
    assert status == Exit.USAGE
    assert "beside no signing key" in said
    assert not (tmp_path / "drop").exists()


def test_following_has_no_document_of_json(home: Home, tmp_path: Path) -> None:
    status, said = taken("--home", str(home.root), "-o", "json", "payment", "intake", str(tmp_path / "drop"))
    assert (status, "-o jsonl" in said) == (Exit.USAGE, True)


def test_the_node_of_another_member_is_refused(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NodeClient, "call", lambda *_, **__: {"member": "bank-b"})
    status, said = taken("--home", str(home.root), "payment", "intake", str(tmp_path / "drop"), "--once")
    assert status == Exit.USAGE
    assert "another member's" in said


def test_what_was_begun_is_refused_without_reading_where_everybody_may_look(home: Home, tmp_path: Path) -> None:
    (tmp_path / "drop").mkdir(mode=0o755)
    (tmp_path / "drop").chmod(0o755)
    status, said = taken("--home", str(home.root), "payment", "intake", str(tmp_path / "drop"), "--once")
    assert status == Exit.USAGE
    assert "everybody can reach" in said


def test_without_a_node_it_ends_in_time_and_files_stay(home: Home, tmp_path: Path) -> None:
    drop = tmp_path / "drop"
    drop.mkdir(mode=0o700)
    (sample,) = SAMPLES.glob("01-*")
    (drop / "a.xml").write_bytes(sample.read_bytes())
    words = ("--endpoint", NOBODY, "payment", "intake", str(drop), "--once", "--settle", "0", "--timeout", "0.2")
    assert taken("--home", str(home.root), *words)[0] == Exit.UNREACHABLE
    assert (drop / "a.xml").exists()


def test_half_a_file_is_left_and_told(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NodeClient, "call", lambda *_, **__: {"member": "bank-a"})
    drop = tmp_path / "drop"
    drop.mkdir(mode=0o700)
    (drop / "half.part").write_bytes(b"<")
    words = ("--home", str(home.root), "payment", "intake", str(drop), "--once", "--settle", "0")
    assert taken(*words) == (0, "left: half.part: of a temporary name\n")
    (drop / "empty.xml").touch()
    status, said = taken(*words)
    assert status == Exit.UNHEALTHY
    assert "left: empty.xml: empty or still written to" in said


def test_a_file_that_cannot_be_taken_by_its_name_is_left_and_told_in_one_line(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(NodeClient, "call", lambda *_, **__: {"member": "bank-a"})
    drop = tmp_path / "drop"
    drop.mkdir(mode=0o700)
    (drop / "a\n\x1b[31mdone.xml").write_bytes(b"<")
    status, said = taken("--home", str(home.root), "payment", "intake", str(drop), "--once", "--settle", "0")
    assert status == Exit.UNHEALTHY
    assert said.startswith(r"passed over: 'a\n\x1b[31mdone.xml': a name")
    assert len(said.splitlines()) == 1


def test_a_file_without_any_message_is_refused_and_told_in_words_and_in_json(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(NodeClient, "call", lambda *_, **__: {"member": "bank-a"})
    monkeypatch.setattr(
        payment_intake,
        "make_ingest_context",
        lambda **_: context_of("bank-a"),
    )
    drop = tmp_path / "drop"
    drop.mkdir(mode=0o700)
    words = ("--home", str(home.root), "payment", "intake", str(drop), "--once", "--settle", "0")
    (drop / "a.bin").write_bytes(b"nothing that is known")
    status, said = taken(*words)
    assert status == Exit.ERROR
    assert said.startswith("refused    a.bin: format not recognised")
    assert said.splitlines()[-1] == "refused    a.bin: 0 committed, 1 refused"
    (drop / "b.bin").write_bytes(b"nothing that is known")
    status, said = taken("-o", "jsonl", *words)
    (row,) = [json.loads(line) for line in said.splitlines()]
    assert (status, row["file"], row["status"], row["reason"]) == (1, "b.bin", "Refused", "unknown_format")


def test_sigterm_ends_it_well_while_it_waits_for_its_node(home: Home, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cli", "--home", str(home.root), "--endpoint", NOBODY]
    process = subprocess.Popen(
        [*command, "payment", "intake", str(tmp_path / "drop")], stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stderr is not None
    assert "trying again" in process.stderr.readline()
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 0
    assert time.monotonic() - began < 10


def test_a_shell_completes_the_command_and_its_options() -> None:
    for words, place, wanted in (
        ("chainnode payment in", 2, "intake"),
        ("chainnode payment intake --skip", 3, "--skip-foreign"),
    ):
        environment = {
            "_CHAINNODE_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(place),
            "PATH": "",
        }
        program = "import sys; sys.argv[0]='chainnode'; from cli import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, env=environment, check=False
        )
        assert f"plain,{wanted}" in done.stdout, os.linesep.join((done.stdout, done.stderr))
