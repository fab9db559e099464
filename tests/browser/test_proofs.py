"""Proofs in the explorer's pages: what a page says under a pinned policy, at first use, and of each lie."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.bank_fixtures import Banks
from tests.browser.conftest import failed, pin, pinned, settled, verdict
from tests.browser.lying_fixtures import (
    COMPLETENESS_LIES,
    HISTORY_LIES,
    RECEIPT_LIES,
    STATUS_LIES,
    Lie,
    LyingNode,
    flipped,
)

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

MS_MAX = 50
VERIFIED = re.compile(r"verified", re.IGNORECASE)


def answer(change: Callable[[dict[str, Any]], None]) -> Lie:
    """Return a lie about the result of a call."""

    def lie(text: str) -> str:
        found = json.loads(text)
        change(found["result"])
        return json.dumps(found)

    return lie


def other_leaf(block: dict[str, Any]) -> None:
    block["header_leaf"] = base64.b64encode(flipped(base64.b64decode(block["header_leaf"]), 70)).decode()


def fewer_votes(block: dict[str, Any]) -> None:
    del block["certificate"]["signatures"][2:]


def one_vote_thrice(block: dict[str, Any]) -> None:
    block["certificate"]["signatures"] = block["certificate"]["signatures"][:1] * 3


def other_vote(block: dict[str, Any]) -> None:
    signature = block["certificate"]["signatures"][0]
    signature["signature"] = flipped(bytes.fromhex(signature["signature"]), 40).hex()


BLOCK_LIES: dict[str, tuple[Lie, str]] = {
    "header": (answer(other_leaf), "votes"),
    "too few votes": (answer(fewer_votes), "votes"),
    "one vote thrice": (answer(one_vote_thrice), "votes"),
    "a vote": (answer(other_vote), "votes"),
    "no votes": (answer(lambda block: block.update(certificate=None)), "votes"),
    "view of the votes": (answer(lambda block: block["certificate"].update(view=7)), "votes"),
    "batches": (answer(lambda block: block.update(batch_hashes=["00" * 32])), "header"),
}


@pytest.fixture
def event(bank: Banks) -> str:
    """An event in the middle of the log, of a block with more events."""
    return bank.events["certificate.review"][3]


def page_of(kind: str, bank: Banks, event: str) -> str:
    paths = {
        "receipt": f"/event/{event}",
        "completeness": "/member/bank-a",
        "block": "/block/3",
        "payment": f"/payment/{bank.payment}",
    }
    return paths.get(kind, f"/certificate/{bank.number}")


@pytest.mark.parametrize("kind", ["receipt", "status", "history", "completeness", "block", "payment"])
def test_an_honest_node_s_proof_is_verified_in_all_steps_under_a_pinned_policy(
    page: Page, bank: Banks, event: str, kind: str
) -> None:
    pin(page, bank.url, bank.policy())
    page.goto(bank.url + page_of(kind, bank, event))
    assert verdict(page, kind) == "verified"
    section = page.locator(f"section.proof[data-kind={kind}]")
    assert section.locator("li[data-step]:not([data-state=holds])").count() == 0
    assert section.locator("li[data-step]").count() >= {"block": 5, "payment": 4}.get(kind, 8)
    said = section.locator(".trust").inner_text()
    assert "Ann of bank-b, by telephone" in said
    assert "policy-of-bank-b" in said
    assert (
        section.locator(".trust [data-hash]").get_attribute("data-hash") == sha256(bank.policy().encode()).hexdigest()
    )


def test_without_a_pinned_policy_nothing_is_called_verified(page: Page, bank: Banks, event: str) -> None:
    page.goto(f"{bank.url}/event/{event}")
    assert verdict(page, "receipt") == "provisional"
    section = page.locator("section.proof")
    assert "Compare this hash" in section.locator(".trust").inner_text()
    assert (
        section.locator(".trust [data-hash]").get_attribute("data-hash") == sha256(bank.policy().encode()).hexdigest()
    )
    heads = section.locator(".proof-head").all_inner_texts()
    assert heads == ["Holds under the policy that this same node gave: not verified yet"]


def test_a_policy_can_be_pinned_where_it_is_shown_and_forgotten_again(page: Page, bank: Banks, event: str) -> None:
    page.goto(f"{bank.url}/event/{event}")
    assert verdict(page, "receipt") == "provisional"
    with page.expect_navigation():
        page.locator("section.proof form.pin button").click()
    assert verdict(page, "receipt") == "verified"
    assert "nobody named" in page.locator("section.proof .trust").inner_text()
    page.goto(f"{bank.url}/verify")
    with page.expect_navigation():
        page.locator("button.forget").click()
    assert "No policy is pinned" in page.locator("[data-place=trust]").inner_text()


@pytest.mark.parametrize("library", ["noble", "webcrypto"])
def test_a_receipt_is_verified_within_50_ms(page: Page, bank: Banks, event: str, library: str) -> None:
    if library == "webcrypto":  # as in a tree in which `make web` did not run
        page.route("**/vendor/*", lambda route: route.abort())
    pinned(page, bank.url, bank.policy())
    took = []
    for _ in range(4):
        page.goto(f"{bank.url}/event/{event}")
        assert verdict(page, "receipt") == "verified"
        result = page.locator("section.proof .proof-result")
        assert result.get_attribute("data-crypto") == library
        took.append(float(result.get_attribute("data-ms") or "inf"))
    print(f"{library}: {took} ms")
    assert min(took) < MS_MAX, took


def test_where_nothing_can_verify_the_page_says_so(page: Page, bank: Banks, event: str) -> None:
    page.route("**/vendor/*", lambda route: route.abort())
    page.add_init_script("Object.defineProperty(globalThis, 'crypto', { value: {} })")
    page.goto(f"{bank.url}/event/{event}")
    assert verdict(page, "receipt") == "unavailable"
    assert "nothing to verify signatures with" in page.locator("section.proof .proof-head").inner_text()


# --- a node that lies


def refused(page: Page, node: LyingNode, bank: Banks, path: str, kind: str, step: str) -> None:
    """Assert that a page of a lying node says so, at the step, and calls nothing verified."""
    pinned(page, node.url, bank.policy())
    page.goto(node.url + path)
    assert verdict(page, kind) == "refused"
    assert step in failed(page, kind)
    assert {*failed(page, kind)} <= {step, "shown"}
    section = page.locator(f"section.proof[data-kind={kind}]")
    assert section.locator(".proof-head").inner_text() == "Refused: do not rely on this page"
    assert section.locator("li[data-state=fails] .step-what").first.inner_text() != ""


@pytest.mark.parametrize(("lie", "step"), RECEIPT_LIES.values(), ids=list(RECEIPT_LIES))
def test_a_lie_in_a_receipt_is_refused_by_the_step_that_notices(
    page: Page, bank: Banks, liar: LyingNode, event: str, lie: Lie, step: str
) -> None:
    liar.lies["/events/"] = lie
    refused(page, liar, bank, f"/event/{event}", "receipt", step)


@pytest.mark.parametrize(("lie", "step"), STATUS_LIES.values(), ids=list(STATUS_LIES))
def test_a_lie_in_a_status_proof_is_refused_by_the_step_that_notices(
    page: Page, bank: Banks, liar: LyingNode, event: str, lie: Lie, step: str
) -> None:
    liar.lies[f"/certificate/{bank.number}/status"] = lie
    refused(page, liar, bank, page_of("status", bank, event), "status", step)


@pytest.mark.parametrize(("lie", "step"), HISTORY_LIES.values(), ids=list(HISTORY_LIES))
def test_a_lie_in_a_history_is_refused_by_the_step_that_notices(
    page: Page, bank: Banks, liar: LyingNode, event: str, lie: Lie, step: str
) -> None:
    liar.lies[f"/certificate/{bank.number}/history"] = lie
    refused(page, liar, bank, page_of("history", bank, event), "history", step)


@pytest.mark.parametrize(("lie", "step"), COMPLETENESS_LIES.values(), ids=list(COMPLETENESS_LIES))
def test_a_lie_in_a_proof_of_completeness_is_refused_by_the_step_that_notices(
    page: Page, bank: Banks, liar: LyingNode, event: str, lie: Lie, step: str
) -> None:
    liar.lies["/member/bank-a/completeness"] = lie
    refused(page, liar, bank, page_of("completeness", bank, event), "completeness", step)


@pytest.mark.parametrize(("lie", "step"), BLOCK_LIES.values(), ids=list(BLOCK_LIES))
def test_a_lie_about_a_block_is_refused_by_the_step_that_notices(
    page: Page, bank: Banks, liar: LyingNode, lie: Lie, step: str
) -> None:
    liar.lies["ledger_getBlock"] = lie
    refused(page, liar, bank, "/block/3", "block", step)


def test_a_payment_with_a_receipt_that_does_not_hold_is_refused(page: Page, bank: Banks, liar: LyingNode) -> None:
    liar.lies[f"/events/{bank.statement}"] = RECEIPT_LIES["event body"][0]
    refused(page, liar, bank, f"/payment/{bank.payment}", "payment", "receipts")


def test_the_proof_of_another_event_is_not_taken_for_the_one_asked_for(
    page: Page, bank: Banks, liar: LyingNode, event: str
) -> None:
    other = bank.net.http("bank-a", "GET", f"/events/{bank.events['certificate.grant'][0]}.tlog-proof")[1].decode()
    liar.lies["/events/"] = lambda text: other
    refused(page, liar, bank, f"/event/{event}", "receipt", "asked")


def test_a_page_that_shows_something_else_than_it_proves_is_refused(
    page: Page, bank: Banks, liar: LyingNode, event: str
) -> None:
    liar.lies["/event/"] = lambda html: html.replace('data-value="applied"', 'data-value="rejected"')
    refused(page, liar, bank, f"/event/{event}", "receipt", "shown")
    assert "proved: applied" in page.locator(".lie").first.inner_text()
    assert page.locator(".proved").count() > 10


def test_a_status_that_the_page_shows_otherwise_is_refused(
    page: Page, bank: Banks, liar: LyingNode, event: str
) -> None:
    status = bank.net.call("bank-a", "cert_getStatus", number=bank.number)["status"]["status"]
    liar.lies[f"/certificate/{bank.number}"] = lambda text: text.replace(
        f'data-value="{status}"', 'data-value="suspended"'
    )
    refused(page, liar, bank, page_of("status", bank, event), "status", "shown")


def test_a_proof_that_is_withheld_leaves_the_page_unverified(
    page: Page, bank: Banks, liar: LyingNode, event: str
) -> None:
    def withheld(route: Route) -> None:
        route.fulfill(status=404, body='{"error": {"message": "no such proof"}}')

    pinned(page, liar.url, bank.policy())
    page.route("**/events/*", withheld)
    page.goto(f"{liar.url}/event/{event}")
    assert verdict(page, "receipt") == "unavailable"
    assert page.locator("section.proof .proof-head").inner_text() == "Not verified: no such proof"


def test_a_policy_of_the_node_s_own_making_is_worth_nothing_once_one_is_pinned(
    page: Page, bank: Banks, liar: LyingNode, event: str
) -> None:
    pinned(page, liar.url, bank.policy())
    liar.lies["/policy"] = lambda text: re.sub(r"(?m)^quorum .*$", "quorum none", text)
    page.goto(f"{liar.url}/event/{event}")
    assert verdict(page, "receipt") == "verified"
    page.goto(f"{liar.url}/verify")
    settled(page)
    assert "now offers another policy" in page.locator("[data-place=trust]").inner_text()


def test_a_pinned_policy_that_was_changed_in_the_browser_is_told_and_verifies_nothing(
    page: Page, bank: Banks, event: str
) -> None:
    pinned(page, bank.url, bank.policy())
    page.evaluate(
        "name => localStorage.setItem(name, localStorage.getItem(name).replace('quorum', 'Quorum'))", "chainnode.pin.v1"
    )
    page.goto(f"{bank.url}/event/{event}")
    assert verdict(page, "receipt") == "unavailable"
    page.goto(f"{bank.url}/verify")
    settled(page)
    assert "was damaged" in page.locator("[data-place=trust]").inner_text()
