"""A mark on a real network: licensed, drawn, scanned from its picture, misused and withdrawn, by the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.network_fixtures import Network, network, until

pytestmark = pytest.mark.e2e

CLI = str(Path(sys.executable).with_name("chainnode"))
NUMBER = "FTP-2026-06-000900"
APPLICATION = "bank-a.MARK-1"


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """A network of its own: elsewhere the keys of a localnet sign without the outbox that commands keep."""
    with network(tmp_path_factory.mktemp("mark")) as running:
        yield running


class Desk:
    """Runs commands in a directory, as the holders of a localnet's keys."""

    def __init__(self, net: Network, folder: Path) -> None:
        self.folder = folder
        self._keys = net.net.directory / "keys"
        self._endpoint = net.node("bank-a").rpc
        self._env = os.environ | {"CHAINNODE_LOCALNET": str(net.net.directory)}

    def run(self, key: str | None, *words: str) -> tuple[int, Any]:
        """Return a command's exit status, and what it said as JSON."""
        who = [] if key is None else ["--as", str(self._keys / f"{key}.key")]
        command = [CLI, "-o", "json", "--endpoint", self._endpoint, *who, "cert", *words]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=100, cwd=self.folder, env=self._env, check=False
        )
        text = done.stdout or done.stderr.splitlines()[-1]
        return done.returncode, json.loads(text)

    def must(self, key: str, *words: str) -> None:
        """Run a command that has to be applied."""
        status, said = self.run(key, *words)
        assert status == 0, said

    def document(self, name: str) -> str:
        """Return a new document."""
        (self.folder / name).write_text(name)
        return name

    def officers(self) -> list[str]:
        """Return the options by which two officers of the body sign."""
        return [word for n in (1, 2) for word in ("--officer", str(self._keys / f"cb-officer-{n}.key"))]


@pytest.fixture(scope="module")
def desk(net: Network, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    made = Desk(net, tmp_path_factory.mktemp("desk"))
    product = ["--product", "Counter terminal", "--model", "CT-1", "--version", "2.0", "--category", "6"]
    holder = ["--holder-name", "Bank A", "--holder-id", "91110000600037341L", "--scope", "contact"]
    papers = ["--serial", "MARK-1", "--evidence", made.document("specification")]
    made.must("bank-a-bank", "apply", *product, *holder, *papers)
    made.must("cb-reviewer", "accept", APPLICATION)
    made.must("lab-laboratory", "evidence", APPLICATION, "--evidence", made.document("examination"))
    made.must("ins-inspector", "evidence", APPLICATION, "--evidence", made.document("site"))
    made.must("cb-reviewer", "review", APPLICATION, "--evidence", made.document("review"))
    made.must("cb-decider", "grant", APPLICATION, "--number", NUMBER, *made.officers())
    return made


def picture_of(net: Network, name: str) -> bytes | None:
    """Return a picture from a node that may still be a block behind, None while it has none."""
    status, body = net.http("bank-b", "GET", f"/certificate/{NUMBER}/{name}")
    return body if status == 200 else None


def test_a_mark_lives_from_its_licence_to_its_withdrawal(net: Network, desk: Desk) -> None:
    assert desk.run(None, "mark", "qr", NUMBER, "-f", "mark.png")[0] == 2, "not licensed yet"
    desk.must("cb-decider", "mark", "license", NUMBER, "--medium", "packaging", "--terms", desk.document("terms"))
    artwork = ["--artwork", desk.document("artwork")]
    desk.must("bank-a-bank", "mark", "use", NUMBER, "--medium", "packaging", "--covers", "contact", *artwork)
    refused = desk.run("bank-a-bank", "mark", "use", NUMBER, "--medium", "promotion", *artwork)
    assert refused[0] == 1
    assert "mark_promotion" in json.dumps(refused[1])

    assert desk.run(None, "mark", "qr", NUMBER, "-f", "mark.png")[0] == 0
    status, row = desk.run(None, "scan", "mark.png")
    assert (status, row["status"], row["mark"], len(row["cosigners"]) >= 3) == (0, "valid", "licensed", True)
    assert desk.run(None, "scan", "mark.png", "--medium", "web")[1]["breach"] == "mark_medium"
    status, page = net.http("bank-a", "GET", "/" + row["code"].split("/", 3)[3])
    assert status == 200
    assert b"The code that you scanned matches this certificate." in page
    for name, type_ in (("mark.svg", b"<svg"), ("mark.png", b"\x89PNG")):
        picture = until(lambda name=name: picture_of(net, name))
        assert picture.startswith(type_)
    forged = row["code"][:-4] + "0000"
    assert desk.run(None, "scan", forged)[1]["error"]["reason"] == "forged_mark"

    report = ["--number", NUMBER, "--medium", "web", "--misuse", "beyond_scope"]
    desk.must("bank-b-bank", "mark", "report", *report, "--evidence", desk.document("screenshot"))
    desk.must("cb-reviewer", "mark", "decide", "1", "--finding", "confirmed", "--reason", "seen_by_us")
    desk.must("cb-decider", "mark", "withdraw", NUMBER, "--reason", "misused", "--report", "1")
    status, row = desk.run(None, "scan", "mark.png")
    assert (status, row["status"], row["mark"]) == (15, "valid", "withdrawn")
    assert net.http("bank-a", "GET", f"/certificate/{NUMBER}/mark.svg")[0] == 404
