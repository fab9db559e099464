"""A register comes to a real network by the command line: checked, imported, killed half-way and gone on with."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from chainnode.cli.exits import Exit
from chainnode.ingest.register_rows import COLUMNS
from tests.e2e.network_fixtures import NAMES, Json, Network, network

pytestmark = pytest.mark.e2e

LEI = "HWUPKR0MPOU8FGXBT394"
KILLED_ROWS = 2_500
PIECES = {"exam.pdf": b"what the laboratory found", "site/visit.pdf": b"what the inspector saw"}


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with network(tmp_path_factory.mktemp("imports")) as running:
        yield running


def cells(serial: int, scheme: str = "FTP", **changes: str) -> dict[str, str]:
    """Return a row that no rule refuses, but for its changes."""
    year = time.gmtime().tm_year - 1
    plain = {
        "number": f"{scheme}-{year}-06-{serial:06d}",
        "holder": NAMES[serial % len(NAMES)],
        "holder_name": f"Holder {serial}",
        "holder_id": LEI,
        "product": "Counter terminal",
        "model": "CT-1",
        "version": f"{serial}.0",
        "category": "6",
        "granted": f"{year}-03-10",
        "valid_until": f"{year + 3}-03-09",
    }
    return {**plain, **changes}


def write(path: Path, rows: list[dict[str, str]]) -> Path:
    """Write a register's file."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return path


def command(net: Network, *words: str, key: str | None = "cb-decider.key") -> list[str]:
    """Return a command of the certification body to the first node."""
    who = [] if key is None else ["--as", str(net.net.keys / key)]
    return [sys.executable, "-m", "cli", *who, "--endpoint", net.node("bank-a").rpc, "-o", "jsonl", *words]


def officers(net: Network) -> list[str]:
    return [word for i in (1, 2) for word in ("--officer", str(net.net.keys / f"cb-officer-{i}.key"))]


def run(words: list[str]) -> tuple[int, list[Json], str]:
    """Run a command; return its status, the rows that it printed, and what it said."""
    ended = subprocess.run(words, capture_output=True, text=True, timeout=240, check=False)
    return ended.returncode, [json.loads(line) for line in ended.stdout.splitlines()], ended.stderr


def statuses(rows: list[Json]) -> Counter[str]:
    return Counter(row["status"] for row in rows)


def rules(row: Json) -> set[str]:
    return {problem["rule"] for problem in row["problems"]}


def register_of(path: Path) -> str:
    return f"cb.{sha256(path.read_bytes()).hexdigest()[:16].upper()}"


def test_a_dry_run_tells_of_each_row_and_sends_nothing(net: Network, tmp_path: Path) -> None:
    bad = cells(2, holder_id="HWUPKR0MPOU8FGXBT395", category="15")
    path = write(tmp_path / "r.csv", [cells(1), bad, cells(3, holder="lab")])
    height = net.status("bank-a")["height"]
    status, rows, said = run(command(net, "cert", "import", str(path), "--dry-run"))
    assert (status, [row["status"] for row in rows]) == (Exit.ERROR, ["ready", "bad", "bad"])
    assert rules(rows[1]) == {"bad_holder_id", "unknown_category", "number_of_other_category"}
    assert rules(rows[2]) == {"not_a_holder"}
    assert all({"field", "rule", "expected", "got"} == set(problem) for row in rows for problem in row["problems"])
    assert "nothing was sent" in said
    assert net.status("bank-a")["height"] == height


def test_one_bad_row_holds_all_back_unless_bad_rows_are_left_out(net: Network, tmp_path: Path) -> None:
    path = write(tmp_path / "r.csv", [cells(11), cells(12, granted="2999-01-01"), cells(13)])
    status, rows, said = run(command(net, "cert", "import", str(path), *officers(net)))
    assert (status, statuses(rows)) == (Exit.ERROR, {"ready": 2, "bad": 1})
    assert "--skip-bad" in said
    report = tmp_path / "report.jsonl"
    more = ["--skip-bad", "--report", str(report)]
    status, rows, _ = run(command(net, "cert", "import", str(path), *officers(net), *more))
    assert (status, statuses(rows)) == (Exit.ERROR, {"imported": 2, "bad": 1})
    assert [json.loads(line) for line in report.read_text().splitlines()] == rows
    found = net.call("bank-b", "cert_getRegister", register=register_of(path))
    assert (found["count"], found["imported"], len(found["officers"])) == (3, 2, 2)
    shown = net.call("bank-b", "cert_get", number=cells(11)["number"])
    assert shown["imported"]["register"] == register_of(path)
    assert shown["status"]["status"] == "valid"
    assert net.call("bank-b", "cert_history", number=cells(11)["number"])["events"][0]["kind"] == "certificate.import"


def test_two_officers_of_the_body_have_to_sign(net: Network, tmp_path: Path) -> None:
    path = write(tmp_path / "r.csv", [cells(21)])
    assert run(command(net, "cert", "import", str(path)))[0] == Exit.USAGE
    one = officers(net)[:2]
    assert run(command(net, "cert", "import", str(path), *one, *one))[0] == Exit.USAGE
    foreign = ["--officer", str(net.net.keys / "regulator-officer-1.key")]
    status, _, said = run(command(net, "cert", "import", str(path), *one, *foreign))
    assert (status, "unknown_officer" in said) == (Exit.ERROR, True)
    status, rows, _ = run(command(net, "cert", "import", str(path), *officers(net)))
    assert (status, statuses(rows)) == (Exit.OK, {"imported": 1})


def test_numbers_that_are_taken_and_registers_that_are_others_are_told(net: Network, tmp_path: Path) -> None:
    path = write(tmp_path / "r.csv", [cells(31)])
    assert run(command(net, "cert", "import", str(path), "--register", "A", *officers(net)))[0] == Exit.OK
    again = write(tmp_path / "again.csv", [cells(31), cells(32)])
    status, rows, _ = run(command(net, "cert", "import", str(again), "--dry-run"))
    assert (status, rules(rows[0]), rules(rows[1])) == (Exit.ERROR, {"number_taken"}, set())
    assert "cb.A" in rows[0]["problems"][0]["got"]
    status, _, said = run(command(net, "cert", "import", str(again), "--register", "A", *officers(net)))
    assert (status, "holds other rows" in said) == (Exit.ERROR, True)


def test_an_import_that_was_killed_goes_on_without_a_row_twice(net: Network, tmp_path: Path) -> None:
    path = write(tmp_path / "r.csv", [cells(serial, "KLD") for serial in range(1, KILLED_ROWS + 1)])
    report = tmp_path / "report.jsonl"
    words = command(net, "cert", "import", str(path), *officers(net), "--report", str(report))
    first = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (report.exists() and report.stat().st_size) and first.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(0.05)  # into the next group
    os.kill(first.pid, signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL, "it was killed before it was done"
    status, rows, _ = run(command(net, "cert", "import", str(path)))
    counted = statuses(rows)
    assert status == Exit.OK
    assert counted["present"] >= 1_000, "a whole group was reported"
    assert counted["present"] + counted["imported"] == KILLED_ROWS == len(rows)
    assert net.call("bank-c", "cert_getRegister", register=register_of(path))["imported"] == KILLED_ROWS
    status, rows, _ = run(command(net, "cert", "import", str(path)))
    assert (status, statuses(rows)) == (Exit.OK, {"present": KILLED_ROWS})
    net.check_all()


def test_documents_are_held_against_what_was_imported(net: Network, tmp_path: Path) -> None:
    folder = tmp_path / "documents"
    (folder / "site").mkdir(parents=True)
    pieces = []
    for (name, data), kind in zip(PIECES.items(), ("type_examination", "site_check"), strict=True):
        (folder / name).write_bytes(data)
        pieces.append(f"{kind}:{sha256(data).hexdigest()}:{len(data)}")
    number = cells(41)["number"]
    path = write(tmp_path / "r.csv", [cells(41, evidence=" ".join(pieces))])
    assert run(command(net, "cert", "import", str(path), *officers(net)))[0] == Exit.OK
    later = tmp_path / "later.pdf"
    later.write_bytes(b"what surveillance found")
    surveil = ("cert", "surveil", number, "--passed", "--evidence", f"site_check={later}")
    assert run(command(net, *surveil, key="ins-inspector.key"))[0] == Exit.OK
    policy = tmp_path / "policy"
    assert run(command(net, "policy", "export", "-f", str(policy), key=None))[0] == Exit.OK

    check = ["cert", "verify-evidence", number, str(folder), str(later)]
    for options in ([], ["--policy", str(policy)]):
        status, rows, _ = run(command(net, *check, "--all", *options, key=None))
        assert (status, [row["standing"] for row in rows]) == (Exit.OK, ["matches"] * 3)
        assert {row["pieces"][0]["proved"] for row in rows} == {bool(options)}
    history = tmp_path / "history.proof"
    assert run(command(net, "cert", "history", number, "--proof", str(history), key=None))[0] == Exit.OK
    verify = ["verify", str(history), "--policy", str(policy), "--certificate", number]
    status, rows, _ = run(command(net, *verify, key=None))
    assert (status, [row["kind"] for row in rows[0]["events"]]) == (
        Exit.OK,
        ["certificate.import", "certificate.surveil"],
    )
    proof = tmp_path / "status.proof"
    assert run(command(net, "cert", "status", number, "--proof", str(proof), key=None))[0] == Exit.OK
    offline = ["--proof", str(proof), "--policy", str(policy)]
    alone = [sys.executable, "-m", "cli", "-o", "jsonl", "cert", "verify-evidence", number, *offline]
    assert run([*alone, str(folder)])[0] == Exit.OK
    (folder / "exam.pdf").write_bytes(b"what the laboratory fOund")
    status, rows, _ = run([*alone, str(folder)])
    assert (status, rows[0]["standing"]) == (Exit.VERIFICATION_FAILED, "not_on_record")
    assert "with other content" in rows[0]["note"]
    assert run([*alone, str(folder / "nothing.pdf")])[0] == Exit.NOT_FOUND
