"""`python -m tests.browser.screenshots`: takes the pictures of docs/img anew, of a real network and a lying node."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.browser.bank_fixtures import Banks, banks
from tests.browser.conftest import pin, pinned, settled
from tests.browser.lying_fixtures import RECEIPT_LIES, lying_node
from tests.e2e.traffic_fixtures import row
from tests.web.node_fixtures import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Page

PICTURES = ROOT / "docs" / "img"
BYTES_MAX = 60_000
QUALITY = 60
WIDTH, HEIGHT = 860, 760


def take(page: Page, name: str, at: str | None = None) -> None:
    """Write a picture of what a window shows, from where `at` is downwards."""
    page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
    if at is not None:
        page.locator(at).first.evaluate("element => element.scrollIntoView()")
    session = page.context.new_cdp_session(page)
    found = session.send("Page.captureScreenshot", {"format": "webp", "quality": QUALITY})
    data = base64.b64decode(found["data"])
    assert len(data) < BYTES_MAX, (name, len(data))
    (PICTURES / f"explorer-{name}.webp").write_bytes(data)
    print(f"explorer-{name}.webp {len(data)}")


def proposed(bank: Banks) -> str:
    """Propose a change of the policy as a member does, and return the proposal's id."""
    command = [sys.executable, "-m", "chainnode.cli.main", "--home", bank.net.node("bank-a").home, "-o", "json"]
    done = subprocess.run(
        [*command, "member", "propose", "policy", "appeal_window_days=90"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        check=True,
    )
    return str(json.loads(done.stdout)["id"])


def stated(bank: Banks) -> None:
    """Let the creditor's bank state the same payment, of another amount and with the way that it took."""
    said = row()
    agents = [("debtor-agent", "BKAACNBJXXX"), ("creditor-agent", "BKBACNBJXXX"), ("intermediary-1", "SWTCCNBJXXX")]
    said["body"] |= {"uetr": bank.payment, "side": "creditor", "status": "settled", "amount": "132.45"}
    said["body"]["agents"] = [{"role": role, "scheme": "BIC", "code": code} for role, code in agents]
    bank.net.call("bank-b", "ledger_submit", events=[said])
    bank.until_proved()


def main() -> None:
    from playwright.sync_api import sync_playwright

    with (
        tempfile.TemporaryDirectory() as directory,
        banks(Path(directory)) as bank,
        lying_node(bank.url) as liar,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_context(locale="en-GB", timezone_id="UTC").new_page()
        event = bank.events["certificate.review"][3]
        stated(bank)
        page.goto(bank.url)
        settled(page)
        page.locator(".drawn canvas").last.wait_for()
        take(page, "overview")
        page.goto(f"{bank.url}/payment/{bank.payment}")
        settled(page)
        take(page, "payment")
        page.goto(f"{bank.url}/proposal/{proposed(bank)}")
        settled(page)
        take(page, "proposal", "section.card")
        page.goto(f"{bank.url}/event/{event}")
        settled(page)
        take(page, "first-use", "section.proof")
        pin(page, bank.url, bank.policy(), by="Ann of bank-b, by telephone")
        page.goto(f"{bank.url}/certificate/{bank.number}")
        settled(page)
        take(page, "certificate")
        page.goto(f"{bank.url}/event/{event}")
        settled(page)
        take(page, "verified", "section.proof")
        liar.lies["/events/"] = RECEIPT_LIES["outcome"][0]
        pinned(page, liar.url, bank.policy())
        page.goto(f"{liar.url}/event/{event}")
        settled(page)
        take(page, "refused", "section.proof")
        true = bank.note()
        page.goto(liar.url)
        settled(page)
        liar.lies["/checkpoint"] = lambda text: bank.signed(int(true.split("\n")[1]), bytes(32))
        page.goto(liar.url)
        settled(page)
        take(page, "fork")
        browser.close()


if __name__ == "__main__":
    main()
