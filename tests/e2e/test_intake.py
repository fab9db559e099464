"""A drop folder on a real network, its process killed at random moments: each message on the chain exactly once.

Seeds are printed and replayed with CHAINNODE_E2E_SEED; CHAINNODE_E2E_MESSAGES makes the test longer.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.formats_xml import pacs008
from tests.e2e.network_fixtures import STUCK_S, Json, Network, network

pytestmark = pytest.mark.e2e

MESSAGES = int(os.environ.get("CHAINNODE_E2E_MESSAGES") or 5_000)
KILLS = 3
BAD = 3
FOREIGN = 2
CSV = ("time", "amount", "currency", "reference", "debtor_agent", "creditor_agent", "debtor_name", "debtor_account")
NAME = "Ouyang Xiaolan"
ACCOUNT = "6238977499386610805"


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with network(tmp_path_factory.mktemp("intake")) as running:
        yield running


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("drop") / "folder"
    path.mkdir(mode=0o700)
    return path


def payment(draw: random.Random, number: int, creditor: str = "BKABCNBJXXX", debtor: str = "BKAACNBJXXX") -> Json:
    return {
        "time": f"2026-11-20T12:{number // 60 % 60:02d}:{number % 60:02d}+08:00",
        "amount": f"{draw.randrange(1, 10**6)}.{draw.randrange(100):02d}",
        "currency": "CNY",
        "reference": f"REF-{number}",
        "debtor_agent": debtor,
        "creditor_agent": creditor,
        "debtor_name": NAME,
        "debtor_account": ACCOUNT,
    }


def dropped(folder: Path, seed: int) -> int:
    """Drop files of several formats, with bad messages and such of others; return how many are good."""
    draw = random.Random(seed)
    part = MESSAGES // 4
    (folder / "10-transfers.xml").write_bytes(pacs008(part, seed % 10_000, 1))
    lines = [json.dumps({"payment": payment(draw, number)}) for number in range(part)]
    bad = {**payment(draw, 0), "amount": "12.345"}
    lines[5:5] = [json.dumps({"payment": bad})] * BAD
    lines[9:9] = [json.dumps({"payment": payment(draw, n, "BKACCNBJXXX", "BKADCNBJXXX")}) for n in range(FOREIGN)]
    (folder / "20-lines.jsonl").write_text("\n".join(lines), "utf-8")
    for name, start in (("30-rows.csv", part), ("40-rows.csv", 2 * part)):
        rows = [payment(draw, number) for number in range(start, start + part)]
        text = "\n".join([",".join(CSV), *(",".join(row[key] for key in CSV) for row in rows)])
        (folder / name).write_text(text, "utf-8")
    (folder / "50-nothing.bin").write_bytes(b"no payments at all")
    (folder / "60-half.xml.part").write_bytes(b"<Document")
    return 4 * part


def started(net: Network, folder: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "cli", "-o", "jsonl", "--home", str(net.home("bank-a").root), "payment", "intake"]
    options = ["--skip-bad", "--skip-foreign", "--settle", "0.2", *words]
    return subprocess.Popen([*command, str(folder), *options], stdout=subprocess.PIPE, text=True)


def taken_once(net: Network, folder: Path) -> tuple[int, list[Json]]:
    process = started(net, folder, "--once", "--timeout", str(STUCK_S))
    out, _ = process.communicate(timeout=4 * STUCK_S)
    return process.returncode, [json.loads(line) for line in out.splitlines()]


def reports(folder: Path) -> dict[str, list[Json]]:
    """Return the lines of all reports by place and file."""
    return {
        f"{path.parent.name}/{path.name.removesuffix('.report.jsonl')}": [
            json.loads(line) for line in path.read_text("utf-8").splitlines()
        ]
        for path in sorted(folder.glob("*/*.report.jsonl"))
    }


def events_of(net: Network) -> int:
    """Return how many events are in the log of a node."""
    top = net.until_level()
    return sum(int(block["header"]["event_count"]) for block in net.blocks("bank-b", top))


def test_each_message_is_on_the_chain_exactly_once_after_three_kills(net: Network, folder: Path) -> None:
    seed = int(os.environ.get("CHAINNODE_E2E_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"CHAINNODE_E2E_SEED={seed}")
    draw = random.Random(seed)
    count = dropped(folder, seed)
    before = events_of(net)
    # No signing key is needed here: the node read its own when it began.
    key = net.home("bank-a").source_key
    key.rename(key.with_suffix(".away"))
    killed = 0
    while killed < KILLS:
        process = started(net, folder)  # it follows, so it is there to be killed
        time.sleep(draw.uniform(0.8, 3.5))
        assert process.poll() is None, "it follows until it is ended"
        process.send_signal(signal.SIGKILL)
        process.communicate()
        killed += 1
    status, _ = taken_once(net, folder)
    key.with_suffix(".away").rename(key)
    assert status == 1, "something was refused"
    assert sorted(path.name for path in folder.iterdir() if path.is_file() and path.name[0] != ".") == [
        "60-half.xml.part"
    ]
    assert sorted(path.name for path in (folder / "work").iterdir()) == []
    found = reports(folder)
    assert sorted(found) == [
        *("done/10-transfers.xml", "done/20-lines.jsonl", "done/30-rows.csv", "done/40-rows.csv"),
        "refused/50-nothing.bin",
    ]
    rows = [row for lines in found.values() for row in lines[1:-1]]
    ids = [row["id"] for row in rows if row["status"] == "Committed"]
    assert len(ids) == len(set(ids)) == count
    assert Counter(row["status"] for row in rows) == {"Committed": count, "Refused": BAD + 1, "Foreign": FOREIGN}
    assert events_of(net) - before == count, "nothing stands twice in the log"
    answers = net.calls("bank-c", "ledger_getStatus", [{"event_id": each} for each in ids])
    assert all(answer["result"]["outcome"]["applied"] for answer in answers)
    for path in folder.glob("*/*.report.jsonl"):
        assert path.stat().st_mode & 0o777 == 0o600
        assert not any(word in path.read_text("utf-8") for word in (NAME, ACCOUNT, "12.345"))


def test_the_same_files_dropped_again_are_the_same_events(net: Network, folder: Path) -> None:
    before, first = events_of(net), reports(folder)
    for name in ("10-transfers.xml", "30-rows.csv"):
        shutil.copy(folder / "done" / name, folder / name)
    process = started(net, folder, "--clear-amounts", "--once")
    out, _ = process.communicate(timeout=4 * STUCK_S)
    rows = [json.loads(line) for line in out.splitlines()]
    assert process.returncode == 0
    assert {row["id"] for row in rows} == {
        row["id"] for name in ("done/10-transfers.xml", "done/30-rows.csv") for row in first[name][1:-1]
    }
    assert {tuple(row["differs"]) for row in rows} == {("amount", "amount_commitment")}
    assert events_of(net) == before
    assert {"done/10-transfers-2.xml", "done/30-rows-2.csv"} <= set(reports(folder))


def test_what_is_dropped_while_it_follows_is_taken_and_sigterm_ends_it(net: Network, folder: Path) -> None:
    process = started(net, folder)
    line = json.dumps({"payment": payment(random.Random(7), 77)})
    (folder / "70-late.jsonl.tmp").write_text(line, "utf-8")
    time.sleep(1.5)
    (folder / "70-late.jsonl.tmp").rename(folder / "70-late.jsonl")
    end = time.monotonic() + STUCK_S
    while not (folder / "done" / "70-late.jsonl.report.jsonl").exists():
        assert time.monotonic() < end
        time.sleep(0.05)
    net.stop("bank-a")  # a node that goes away for a while is waited for
    (folder / "80-later.jsonl").write_text(line.replace("REF-77", "REF-78"), "utf-8")
    time.sleep(1.5)
    net.start("bank-a")
    while not (folder / "done" / "80-later.jsonl.report.jsonl").exists():
        assert time.monotonic() < end + STUCK_S
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=STUCK_S)
    assert process.returncode == 0
