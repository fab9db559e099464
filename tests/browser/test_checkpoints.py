"""One history: the last checkpoint that a browser accepted, a node that goes back or forks, and nodes side by side."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from chainnode.client import CallRefused
from ledger.forks import verify_fork
from tests.browser.bank_fixtures import Banks
from tests.browser.conftest import pinned, settled
from tests.browser.lying_fixtures import LyingNode, other_root, other_signature

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

FORGED = sha256(b"another history").digest()


def alarm(page: Page) -> str | None:
    """Return what the alarm on a page is about, if there is one."""
    settled(page)
    banner = page.locator(".alarm")
    return banner.get_attribute("data-relation") if banner.count() else None


def saved(page: Page, label: str, directory: Path) -> str:
    with page.expect_download() as download:
        page.locator(".alarm a", has_text=label).click()
    file = directory / "saved"
    download.value.save_as(file)
    return file.read_text("utf-8")


def size_of(note: str) -> int:
    return int(note.split("\n")[1])


@pytest.fixture
def watching(page: Page, bank: Banks, liar: LyingNode) -> Page:
    """A reader who pinned the policy and has seen the newest checkpoint."""
    pinned(page, liar.url, bank.policy())
    page.goto(liar.url)
    assert alarm(page) is None
    return page


def test_the_checkpoint_that_was_accepted_is_kept_with_the_policy(watching: Page, bank: Banks, liar: LyingNode) -> None:
    watching.goto(f"{liar.url}/verify")
    settled(watching)
    assert f"Last accepted checkpoint: {size_of(bank.note())} leaves" in watching.locator(".seen").inner_text()


def test_a_fork_raises_a_red_banner_on_every_page_with_both_signed_notes(
    watching: Page, bank: Banks, liar: LyingNode, tmp_path: Path
) -> None:
    true = bank.note()
    forged = bank.signed(size_of(true), FORGED)
    liar.lies["/checkpoint"] = lambda text: forged
    watching.goto(liar.url)
    assert alarm(watching) == "fork"
    assert size_of(saved(watching, "older", tmp_path)) == size_of(true)
    assert saved(watching, "newer", tmp_path) == forged
    found = verify_fork(saved(watching, "audit fork", tmp_path), bank.policy())
    assert {found.first.checkpoint.root, found.second.checkpoint.root} >= {FORGED}
    # The node tells the truth again, and the alarm stays until the reader puts it away.
    liar.lies.clear()
    watching.goto(f"{liar.url}/members")
    assert alarm(watching) == "fork"
    watching.locator(".alarm button").click()
    watching.reload()
    assert alarm(watching) is None


def test_a_larger_log_that_the_node_cannot_lead_to_is_told(watching: Page, bank: Banks, liar: LyingNode) -> None:
    liar.lies["/checkpoint"] = lambda text: bank.signed(size_of(bank.note()) + 5, FORGED)
    watching.goto(liar.url)
    assert alarm(watching) == "unproved"


def test_an_old_checkpoint_is_a_rollback(watching: Page, bank: Banks, liar: LyingNode) -> None:
    size = 0
    for height in range(1, 30):
        header = bank.net.call("bank-a", "ledger_getBlock", height=height)["header"]
        size = header["first_index"] + header["event_count"] + 1
        try:
            old = bank.net.call("bank-a", "ledger_getCheckpoint", size=size)["note"]
            break
        except CallRefused:  # not kept for this size
            continue
    else:
        pytest.fail("no older checkpoint is kept")
    liar.lies["/checkpoint"] = lambda text: old
    watching.goto(liar.url)
    assert alarm(watching) == "rollback"


def test_a_consistency_proof_that_does_not_lead_there_is_told(watching: Page, bank: Banks, liar: LyingNode) -> None:
    liar.lies["/checkpoint"] = lambda text: bank.signed(size_of(bank.note()) + 1, FORGED)
    liar.lies["ledger_getConsistency"] = lambda text: text.replace('"path":["', '"path":["00')
    watching.goto(liar.url)
    assert alarm(watching) == "unproved"


@pytest.mark.parametrize("lie", [other_root, other_signature], ids=["root", "cosignature"])
def test_a_checkpoint_that_the_pinned_policy_refuses_is_told_while_it_lasts(
    watching: Page, liar: LyingNode, lie: object
) -> None:
    assert callable(lie)
    liar.lies["/checkpoint"] = lie
    watching.goto(liar.url)
    assert alarm(watching) == "refused"
    liar.lies.clear()
    watching.goto(liar.url)
    assert alarm(watching) is None


def compare(page: Page, urls: list[str], notes: dict[str, str]) -> dict[str, str]:
    """Compare nodes, and return what is said of each source."""
    form = page.locator("form.compare")
    form.locator(".compared").evaluate("place => place.replaceChildren()")
    form.locator("textarea").fill("\n".join(urls))
    form.locator("input[type=file]").set_input_files(
        [{"name": name, "mimeType": "text/plain", "buffer": note.encode()} for name, note in notes.items()]
    )
    form.locator("button").click()
    form.locator("tbody tr").first.wait_for()
    rows = form.locator("tbody tr").all()
    return {row.locator("th").inner_text(): str(row.get_attribute("data-relation")) for row in rows}


def test_checkpoints_of_other_nodes_are_held_against_this_one_s(page: Page, bank: Banks, liar: LyingNode) -> None:
    pinned(page, liar.url, bank.policy())
    page.goto(f"{liar.url}/verify")
    settled(page)
    other = bank.net.http("bank-b", "GET", "/checkpoint")[1].decode()
    found = compare(page, [], {"bank-b": other, "bad": other_root(other)})
    assert found == {"this node": "extends", "bank-b": "same", "bad": "refused"}
    forged = bank.signed(size_of(other), FORGED)
    assert compare(page, [], {"liar": forged})["liar"] == "fork"
    assert alarm(page) == "fork"


def test_other_nodes_are_asked_where_both_sides_allow_it_and_else_it_is_explained(
    context: BrowserContext, bank: Banks
) -> None:
    page = context.new_page()  # a refusal by the policy of its content is what is looked for
    pinned(page, bank.url, bank.policy())
    page.goto(f"{bank.url}/verify")
    settled(page)
    listed, other = bank.net.node("bank-b").rpc, bank.net.node("bank-c").rpc
    found = compare(page, [listed, other, "nonsense"], {})
    assert found == {"this node": "extends", listed: "same", other: "none", "nonsense": "none"}
    said = page.locator("form.compare tbody").inner_text()
    assert "rpc.explorer_origins" in said
    assert "not an address" in said
