"""A draw of random inspections by commands on a real network: commitments, reveals, the draw, reports, and replays."""

from __future__ import annotations

import json
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from chainnode.cli.context import Settings
from chainnode.cli.exits import exit_of
from chainnode.cli.main import root
from chainnode.client import CallRefused
from ledger.times import format_time
from primitives.errors import ChainError
from tests.e2e.governance_fixtures import pass_it
from tests.e2e.network_fixtures import Json, Network, network, until

pytestmark = pytest.mark.e2e

COMMITTERS = {"regulator": "regulator", "lab": "laboratory", "ins": "inspector", "cb": "decider"}
CERTIFICATES = 6


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with network(tmp_path_factory.mktemp("inspections")) as running:
        yield running


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for documents."""
    return tmp_path_factory.mktemp("papers")


class Desk:
    """Runs commands as the keys of the network's members."""

    def __init__(self, net: Network, papers: Path) -> None:
        self.net, self.papers, self.written = net, papers, 0

    def paper(self, kind: str) -> str:
        """Return `KIND=FILE` of a new document."""
        self.written += 1
        path = self.papers / f"{self.written}.txt"
        path.write_text(f"{kind} {self.written}")
        return f"{kind}={path}"

    def invoke(self, key: str, *arguments: str) -> Result:
        """Run a command of `cert`, as a key if one is named, and return what came of it."""
        who = ["--as", str(self.net.net.keys / f"{key}.key")] if key else []
        words = [*who, "--endpoint", self.net.node("bank-b").rpc, "-o", "json", "cert", *arguments]
        return CliRunner().invoke(root, words, obj=Settings(), standalone_mode=False)

    def run(self, key: str, *arguments: str) -> Json:
        """Run a command that must end with status 0, and return what it prints."""
        result = self.invoke(key, *arguments)
        assert result.exception is None, (arguments, result.exception, result.stderr)
        assert (result.return_value or 0) == 0, (arguments, result.stdout, result.stderr)
        found: Json = json.loads(result.stdout) if result.stdout.strip() else {}
        return found

    def until_covered(self, *arguments: str) -> None:
        """Wait until a checkpoint covers what a command proves: it says so, and that one may ask again."""

        def covered() -> bool:
            refused = self.invoke("", *arguments).exception
            return not (isinstance(refused, CallRefused) and refused.slug == "checkpoint_pending")

        until(covered)

    def status(self, key: str, *arguments: str) -> int:
        """Return the status with which a command ends."""
        result = self.invoke(key, *arguments)
        if isinstance(result.exception, ChainError):
            return int(exit_of(result.exception))
        assert result.exception is None, (arguments, result.exception, result.stderr)
        return int(result.return_value or 0)

    def certified(self, serial: int) -> str:
        """Bring a certificate into force, and return its number."""
        case, number = f"bank-a.{serial:04d}", f"FTP-2026-06-{serial:06d}"
        product = ("--product", "Terminal", "--model", "T-1", "--version", str(serial), "--category", "6")
        named = ("--holder-name", "Bank A", "--serial", f"{serial:04d}")
        home = ["--home", str(self.net.home("bank-a").root), "-o", "json", "cert", "apply", *product, *named]
        words = [*home, "--evidence", self.paper("technical_documents")]
        assert CliRunner().invoke(root, words, obj=Settings(), standalone_mode=False).return_value == 0
        self.run("cb-reviewer", "accept", case)
        self.run("lab-laboratory", "evidence", case, "--evidence", self.paper("type_examination"))
        self.run("ins-inspector", "evidence", case, "--evidence", self.paper("site_check"))
        self.run("cb-reviewer", "review", case, "--evidence", self.paper("review_report"))
        officers = [str(self.net.net.keys / f"cb-officer-{index}.key") for index in (1, 2)]
        signed = [word for officer in officers for word in ("--officer", officer)]
        self.run("cb-decider", "grant", case, "--number", number, *signed)
        return number


@pytest.fixture(scope="module")
def desk(net: Network, papers: Path) -> Desk:
    return Desk(net, papers)


def inspection(desk: Desk, draw: str) -> Json:
    """Return a draw as the API tells of it."""
    found: Json = desk.net.call("bank-b", "cert_getInspection", draw=draw)["inspection"]
    return found


def test_a_draw_goes_from_its_announcement_to_a_report_and_is_replayed_by_anybody(desk: Desk, papers: Path) -> None:
    numbers = {desk.certified(serial) for serial in range(1, CERTIFICATES + 1)}
    pass_it(desk.net, "member", "propose", "scheme-policy", "inspection_window_s_min=1")
    now_ms = time.time_ns() // 1_000_000
    windows = ("--commit-until", format_time(now_ms + 12_000), "--reveal-until", format_time(now_ms + 60_000))
    desk.run("regulator-regulator", "inspection", "announce", "q3", "--category", "6=2", "--count", "2", *windows)
    draw = "regulator.q3"
    for member, role in COMMITTERS.items():
        desk.run(f"{member}-{role}", "inspection", "commit", draw)
    secret = desk.net.net.keys / f"{draw}.lab.secret"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    shown = json.loads(secret.read_text())["secret"]
    assert desk.status("lab-laboratory", "inspection", "reveal", draw) != 0, "nobody shows a secret before the closing"
    assert desk.status("ins-inspector", "inspection", "close", draw) == 1
    time.sleep(max(0.0, (now_ms + 12_500) / 1_000 - time.time()))
    desk.run("switch-switch", "inspection", "close", draw)
    for member, role in COMMITTERS.items():
        desk.run(f"{member}-{role}", "inspection", "reveal", draw)
    drawn = desk.run("auditor-auditor", "inspection", "draw", draw)
    assert (drawn["phase"], drawn["eligible"], drawn["weight"]) == ("drawn", CERTIFICATES, 2 * CERTIFICATES)
    selected = [item["number"] for item in drawn["selection"]]
    assert len(set(selected)) == 2
    assert set(selected) <= numbers
    for log in desk.net.net.directory.rglob("*.log"):
        assert shown not in log.read_text(errors="replace"), log

    policy, exported = papers / "policy", papers / "draw.json"
    policy.write_bytes(desk.net.new_client("bank-b").get("/policy"))
    proving = ("inspection", "replay", draw, "--prove", "--policy", str(policy))
    desk.until_covered(*proving)
    proved = desk.run("", *proving, "--export", str(exported))
    assert (proved["holds"], proved["selection"]) == (True, selected)
    assert proved["proofs"] == 4 + 2 * len(COMMITTERS) + 2
    assert desk.run("", "inspection", "replay", "--file", str(exported))["holds"] is True
    changed = json.loads(exported.read_text())
    other = next(number for number in sorted(numbers) if number not in selected)
    changed["inspection"]["selection"][0]["number"] = other
    exported.write_text(json.dumps(changed))
    assert desk.status("", "inspection", "replay", "--file", str(exported)) == 3

    good, bad = selected
    desk.run("ins-inspector", "inspection", "report", draw, good, "--passed", "--evidence", desk.paper("site_check"))
    found = ("--failed", "--grave", "--finding", "seal_broken", "--evidence", desk.paper("site_check"))
    desk.run("ins-inspector", "inspection", "report", draw, bad, *found)
    assert desk.net.call("bank-b", "cert_getStatus", number=bad)["status"]["status"] == "suspended"
    evidence = ("--evidence", desk.paper("corrective_action"))
    desk.run("cb-reviewer", "inspection", "resolve", draw, bad, *evidence)
    reports = {item["number"]: item["report"] for item in inspection(desk, draw)["selection"]}
    assert (reports[good]["passed"], reports[bad]["findings"]) == (True, ["seal_broken"])
    assert reports[bad]["resolved"] is not None
    listed = desk.run("", "inspection", "list", "--phase", "drawn")["inspections"]
    assert [row["id"] for row in listed] == [draw]
