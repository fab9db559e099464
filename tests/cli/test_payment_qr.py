"""`payment qr`: a payload built from fields is drawn so that any reader gives it back, and a bad one is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import zxingcpp
from PIL import Image

from chainnode.cli.exits import Exit
from chainnode.cli.main import run

ACCOUNT = "1234567812345678ABCDEFGHIJKLMNO"
FIELDS = ["--unionpay", ACCOUNT, "--category", "5411", "--name", "LOTUS GARDEN", "--city", "BEIJING"]


def ask(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = run(["payment", "qr", *arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def built(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    status = run(["-o", "json", "payment", "qr", *FIELDS, *arguments])
    assert status == Exit.OK
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_payload_is_built_from_fields_and_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = ask(capsys, *FIELDS, "--amount", "23.72")
    assert status == Exit.OK
    assert "00020101021215311234567812345678ABCDEFGHIJKLMNO" in out
    assert "█" in out


def test_what_was_built_says_what_was_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    more = ["--amount", "23.72", "--additional", "05:REF1", "--account", "26=00:org.example,01:42", "--local", "zh"]
    found = built(capsys, *more, "莲花", "北京")
    assert (found["amount"], found["currency"], found["name"]) == ("23.72", "CNY", "LOTUS GARDEN")
    assert found["accounts"] == {"15": ACCOUNT, "26": "0011org.example010242"}
    assert found["templates"] == {
        "26": {"00": "org.example", "01": "42"},
        "62": {"05": "REF1"},
        "64": {"00": "zh", "01": "莲花", "02": "北京"},
    }
    assert run(["-o", "json", "payment", "qr", "--check", found["payload"]]) == Exit.OK
    assert json.loads(capsys.readouterr().out) == found


def test_a_drawn_payload_is_read_back_by_another_reader(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "code.png"
    found = built(capsys, "--local", "zh", "莲花餐厅", "北京", "--out", str(path))
    (code,) = zxingcpp.read_barcodes(Image.open(path))
    assert code.bytes.decode() == found["payload"]
    assert ask(capsys, *FIELDS, "--out", str(tmp_path / "code.svg"))[0] == Exit.OK
    assert (tmp_path / "code.svg").read_bytes().lstrip().startswith(b"<?xml")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "--category, --name, --city, --unionpay or --account"),
        ([*FIELDS, "--unionpay", "123"], "15: malformed value"),
        ([*FIELDS, "--account", "15=" + ACCOUNT], "account given twice"),
        ([*FIELDS, "--account", "1"], "ID=VALUE"),
        ([*FIELDS, "--additional", "05"], "data object"),
        ([*FIELDS, "--amount", "1.234"], "--amount: amount has too many decimals"),
        ([*FIELDS, "--currency", "XXX"], "unknown currency"),
        ([*FIELDS, "--name", "x" * 26], "59: malformed value"),
        ([*FIELDS, "--out", "code.bmp"], "unknown picture"),
        (["--check", "000201"], "payload of a wrong length"),
    ],
)
def test_what_makes_no_good_payload_is_refused(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, error = ask(capsys, *arguments)
    assert status in (Exit.ERROR, Exit.USAGE)
    assert expected in error
    assert out == ""
