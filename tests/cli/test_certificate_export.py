"""`cert export`: the list comes to the file part by part, and is no file before it is whole and what the node says."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

import pytest

from chainnode.cli import certificate_lists
from chainnode.cli.certificate_lists import BOM
from chainnode.cli.exits import Exit
from chainnode.cli.main import run
from chainnode.client import NodeClient, Unreachable
from ledger.certificate_index import Numbers
from ledger.certificate_search import Filters, search
from rpc.certificate_lists import Place, categories_of, list_parts
from rpc.methods.certificate_list import as_of_height
from tests.ledger.certificate_list_fixtures import Register
from tests.rpc.certificate_list_services import grown, services_over


class Fake(NodeClient):
    """A node that holds a register; `spoil` changes what it sends."""

    register: Register
    asked: ClassVar[list[str]]

    def call(self, method: str, /, **params: Any) -> Any:
        return {"as_of": len(self.register.kept) - 1}

    def get(self, path: str) -> bytes:
        raise AssertionError("a list is never held in memory as a whole")

    def parts(self, path: str, size_max: int) -> Iterator[bytes]:
        self.asked.append(path)
        height = len(self.register.kept) - 1
        as_of = as_of_height(services_over(self.register), height)
        walk = search(self.register.index, as_of, as_of.time_ms, Filters(), Numbers())
        place, form = Place("chain", "ab" * 32, height, as_of.time_ms), path.partition(".")[2].partition("?")[0]
        made = list_parts(walk, place, categories_of(self.register.reader), form, with_bom="bom=1" in path)
        yield from self.spoil(form, made)

    def spoil(self, form: str, parts: Iterator[bytes]) -> Iterator[bytes]:
        return parts


@pytest.fixture(scope="module")
def register() -> Register:
    return grown()


@pytest.fixture
def node(register: Register, monkeypatch: pytest.MonkeyPatch) -> type[Fake]:
    class Node(Fake):
        asked: ClassVar[list[str]] = []

    Node.register = register
    monkeypatch.setattr("chainnode.cli.context.Settings.client", lambda _self, **_: Node("http://127.0.0.1:1"))
    return Node


@pytest.mark.parametrize("name", ["list.csv", "marked.csv", "list.json", "list.html"])
def test_a_list_is_written_and_told_in_every_form(
    node: type[Fake], tmp_path: Path, name: str, register: Register, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / name
    words = ["--bom"] if name == "marked.csv" else []
    assert run(["-o", "json", "cert", "export", "-f", str(target), *words]) == Exit.OK
    row = json.loads(capsys.readouterr().out)
    data = target.read_bytes()
    assert (row["certificates"], row["bytes"]) == (len(register.kept[-1]), len(data))
    assert (row["as_of"], row["chain_id"]) == (len(register.kept) - 1, "ab" * 32)
    plain = b"".join(Fake.parts(node("http://127.0.0.1:1"), "/certificates.csv", 1))
    assert row["csv_sha256"] == sha256(plain).hexdigest()
    assert data.startswith(BOM) is bool(words)
    if name.endswith(".csv"):
        assert len(list(csv.reader(io.StringIO(data.decode(), newline="")))) == row["certificates"] + 1
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_list_that_is_cut_off_leaves_the_file_as_it_was(
    node: type[Fake], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(self: Fake, form: str, parts: Iterator[bytes]) -> Iterator[bytes]:
        yield next(parts)
        raise Unreachable("no node answers")

    monkeypatch.setattr(node, "spoil", cut)
    target = tmp_path / "list.csv"
    target.write_bytes(b"the old one")
    assert run(["cert", "export", "-f", str(target)]) == Exit.UNREACHABLE
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("list.csv", b"the old one")]


def test_a_list_that_is_not_what_the_node_says_is_not_written(
    node: type[Fake], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def other(self: Fake, form: str, parts: Iterator[bytes]) -> Iterator[bytes]:
        yield from (part.replace(b"FTP", b"FTQ") if form == "csv" else part for part in parts)

    monkeypatch.setattr(node, "spoil", other)
    assert run(["cert", "export", "-f", str(tmp_path / "list.csv")]) == Exit.VERIFICATION_FAILED
    assert "not what the node says" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("said", [b"", b"no JSON", b'{"chain":"x","certificates":[', b'{"certificates":[],"count":1}'])
def test_what_is_no_list_is_not_written(
    node: type[Fake], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(node, "spoil", lambda self, form, parts: iter([said] if said else []))
    assert run(["cert", "export", "-f", str(tmp_path / "list.json")]) == Exit.UNREACHABLE
    assert list(tmp_path.iterdir()) == []


def test_an_export_holds_no_more_than_the_ends_of_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    passing = certificate_lists._Passing()
    sizes = [len(passing._head) + len(passing._tail) for _ in passing.through(bytes(50_000) for _ in range(50))]
    assert (passing.size, max(sizes)) == (2_500_000, 2 * certificate_lists.END_BYTES)
