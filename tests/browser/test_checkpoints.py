"""One history: the last checkpoint that a browser accepted, a node that goes back or forks, and nodes side by side."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from chainnode.client import CallRefused
from ledger.forks import verify_fork
from tests.browser.bank_fixtures import DOUBLES, Banks
from tests.browser.conftest import pinned, settled
from tests.browser.lying_fixtures import LyingNode, other_root, other_signature

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page, Route

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
    old = older(bank)
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
    form.locator("tbody tr").nth(len(urls) + len(notes)).wait_for()
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


def test_several_nodes_are_told_apart_one_lags_one_forks_one_is_away_and_one_is_slow(
    context: BrowserContext, bank: Banks, tmp_path: Path
) -> None:
    page = context.new_page()  # nothing listens where one of the nodes is said to be
    same, lags, forks, slow = DOUBLES
    away = bank.net.node("bank-b").rpc.replace("127.0.0.1", "bank-b.example")
    true, old = bank.note(), older(bank)
    forged = bank.signed(size_of(true), FORGED)
    for url, note in ((same, true), (lags, old), (forks, forged)):
        answers(page, url, note)
    page.route(f"{slow}/**", lambda route: None)
    pinned(page, bank.url, bank.policy())
    page.goto(f"{bank.url}/verify")
    settled(page)
    found = compare(page, [same, lags, forks, slow, away], {})
    assert found == {"this node": "extends", same: "same", lags: "behind", forks: "fork", slow: "none", away: "none"}
    said = dict(zip(found, page.locator("form.compare tbody td:last-child").all_inner_texts(), strict=True))
    assert said[same] == "the same log, of the same size"
    assert said[lags] == "a smaller log, with which that of this node begins"
    assert said[forks] == "ANOTHER HISTORY, signed by a quorum as well"
    assert said[slow].startswith("no answer within 5 s: ask it again")
    assert said[away].startswith("not reached: ")
    assert alarm(page) == "fork"
    assert {saved(page, "older", tmp_path), saved(page, "newer", tmp_path)} == {true, forged}
    assert verify_fork(saved(page, "audit fork", tmp_path), bank.policy()).first.checkpoint.size == size_of(true)


def test_a_node_that_is_ahead_is_asked_itself_how_its_log_goes_on(page: Page, bank: Banks, liar: LyingNode) -> None:
    true, old = bank.note(), older(bank)
    answers(page, DOUBLES[0], true, bank)
    liar.lies["/checkpoint"] = lambda text: old
    liar.lies["ledger_getConsistency"] = lambda text: "{}"
    pinned(page, liar.url, bank.policy())
    page.goto(f"{liar.url}/verify")
    settled(page)
    assert compare(page, [DOUBLES[0]], {}) == {"this node": "extends", DOUBLES[0]: "extends"}


def answers(page: Page, url: str, note: str, bank: Banks | None = None) -> None:
    """Let a node be found at a URL that shows a note, and knows the way to it where it is given a bank."""
    allowed = {"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": "*"}

    def answer(route: Route) -> None:
        if route.request.method == "POST" and bank is not None:
            found = bank.net.call("bank-a", "ledger_getConsistency", **route.request.post_data_json["params"])
            route.fulfill(headers=allowed, json={"jsonrpc": "2.0", "id": 1, "result": found})
        else:
            route.fulfill(headers=allowed, body=note)

    page.route(f"{url}/**", answer)


def older(bank: Banks) -> str:
    """Return a checkpoint of bank-a before its newest one."""
    for height in range(1, 30):
        header = bank.net.call("bank-a", "ledger_getBlock", height=height)["header"]
        size = header["first_index"] + header["event_count"] + 1
        try:
            return str(bank.net.call("bank-a", "ledger_getCheckpoint", size=size)["note"])
        except CallRefused:  # not kept for this size
            continue
    pytest.fail("no older checkpoint is kept")
