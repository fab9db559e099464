"""The standalone verifier, opened from disk: it verifies, refuses, speaks both languages, and asks nobody."""

from __future__ import annotations

import base64
import re
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from primitives.encoding import encode
from tests.browser.bank_fixtures import Banks
from tests.browser.conftest import violations
from tests.browser.lying_fixtures import COMPLETENESS_LIES, HISTORY_LIES, RECEIPT_LIES, STATUS_LIES, Lie, other_root
from tests.web.node_fixtures import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page, Request

FILE = ROOT / "web" / "dist" / "chainnode-verifier.html"
SAMPLES = ROOT / "samples" / "proofs"
MS_MAX = 50


@pytest.fixture
def opened(page: Page) -> Page:
    page.goto(FILE.as_uri())
    return page


def give(page: Page, proof: bytes, policy: bytes | None = None, **demanded: str) -> str:
    """Choose both files, verify, and return the verdict."""
    page.set_input_files("input[name=proof]", {"name": "proof", "mimeType": "text/plain", "buffer": proof})
    if policy is not None:
        page.set_input_files("input[name=policy]", {"name": "policy", "mimeType": "text/plain", "buffer": policy})
    if demanded:
        page.locator("form details").evaluate("element => { element.open = true }")
    for name, value in demanded.items():
        page.fill(f"input[name={name}]", value)
    page.locator(".proof-place").evaluate("place => place.replaceChildren()")
    page.click("button[type=submit]")
    page.wait_for_selector(".proof-place > *")
    result = page.locator(".proof-result")
    return str(result.get_attribute("data-verdict")) if result.count() else page.inner_text("[role=alert]")


def sample(name: str) -> bytes:
    return (SAMPLES / name).read_bytes()


@pytest.mark.parametrize("name", ["receipt.tlog-proof", "status.tlog-proof"])
def test_a_good_proof_is_verified_step_by_step_under_the_policy_that_was_chosen(opened: Page, name: str) -> None:
    assert give(opened, sample(name), sample("policy")) == "verified"
    assert opened.locator("li[data-step]").count() >= 10
    assert opened.locator("li[data-step]:not([data-state=holds])").count() == 0
    assert opened.locator(".trust [data-hash]").get_attribute("data-hash") == sha256(sample("policy")).hexdigest()


def test_a_receipt_takes_less_than_50_ms(opened: Page) -> None:
    took = []
    for _ in range(5):
        assert give(opened, sample("receipt.tlog-proof"), sample("policy")) == "verified"
        took.append(float(opened.locator(".proof-result").get_attribute("data-ms") or "inf"))
    assert min(took) < MS_MAX, took


def test_a_changed_proof_is_refused_by_the_step_that_fails(opened: Page) -> None:
    text = sample("receipt.tlog-proof").decode()
    top, _, note = text.partition("\n\n")
    first_of_path = top.split("\n")[3]
    assert give(opened, text.replace(first_of_path, note.split("\n")[2], 1).encode(), sample("policy")) == "refused"
    assert opened.locator("li[data-state=fails]").get_attribute("data-step") == "event"


def test_what_is_no_proof_or_too_little_is_told_in_words(opened: Page) -> None:
    assert give(opened, b"hello", sample("policy")) == "refused"
    assert "is no text" in give(opened, b"\xff\xfe", sample("policy"))
    opened.reload()
    assert "Choose a policy" in give(opened, sample("receipt.tlog-proof"))


def test_a_proof_of_something_else_than_what_is_demanded_is_refused(opened: Page) -> None:
    good = {"certificate": "FTP-2026-06-000001"}
    assert give(opened, sample("status.tlog-proof"), sample("policy"), **good) == "verified"
    assert give(opened, sample("status.tlog-proof"), sample("policy"), certificate="FTP-2026-06-000002") == "refused"
    assert opened.locator("li[data-step=asked]").get_attribute("data-state") == "fails"
    assert give(opened, sample("status.tlog-proof"), sample("policy"), certificate="", member="bank-a") == "refused"


def test_files_can_be_dropped(opened: Page) -> None:
    transfer = opened.evaluate_handle(
        "texts => { const data = new DataTransfer(); for (const [name, text] of texts) "
        "data.items.add(new File([text], name)); return data }",
        [[name, sample(name).decode()] for name in ("policy", "status.tlog-proof")],
    )
    opened.dispatch_event("form.files", "drop", {"dataTransfer": transfer})
    opened.locator(".loaded", has_text="status").wait_for()
    opened.click("button[type=submit]")
    assert opened.locator(".proof-result").get_attribute("data-verdict") == "verified"


def test_it_asks_nobody(context: BrowserContext) -> None:
    opened, asked = context.new_page(), list[str]()
    opened.goto(FILE.as_uri())

    def note(request: Request) -> None:
        asked.append(request.url)

    context.on("request", note)
    assert give(opened, sample("receipt.tlog-proof"), sample("policy")) == "verified"
    refused = opened.evaluate("fetch('http://127.0.0.1:9/').then(() => 'sent', error => error.name)")
    assert refused == "TypeError"
    assert [url for url in asked if not url.startswith("http://127.0.0.1:9/")] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_it_is_accessible_in_both_languages_light_and_dark(opened: Page, language: str, scheme: str) -> None:
    opened.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    opened.click(f"button[lang={language}]")
    for proof in (sample("receipt.tlog-proof"), b"hello"):
        give(opened, proof, sample("policy"))
        assert violations(opened) == []


def test_it_fits_a_narrow_screen(opened: Page) -> None:
    opened.set_viewport_size({"width": 320, "height": 700})
    give(opened, sample("receipt.tlog-proof"), sample("policy"))
    assert opened.evaluate("document.documentElement.scrollWidth") <= 320


def proof_of(bank: Banks, kind: str) -> str:
    """Return what a reader saves of a kind."""
    if kind == "fork":
        true = bank.note()
        extra = base64.b64encode(encode((1, b"", (), ()))).decode()
        other = bank.signed(int(true.split("\n")[1]), bytes(32))
        return f"chainnode.fork@v1\nextra {extra}\n\n{true}\n{other}"
    paths = {
        "receipt": f"/events/{bank.statement}.tlog-proof",
        "status": f"/certificate/{bank.number}/status.tlog-proof",
        "history": f"/certificate/{bank.number}/history.tlog-proof",
        "completeness": "/member/bank-a/completeness.tlog-proof",
        "checkpoint": "/checkpoint",
    }
    return bank.net.http("bank-a", "GET", paths[kind])[1].decode()


def same_twice(report: str) -> str:
    """Return a report of a fork whose notes are one and the same."""
    head, _, rest = report.partition("\n\n")
    first = rest[: rest.index("\n\n", rest.index("\n\n") + 2) + 1]
    return f"{head}\n\n{first}\n{first}"


FORGED = {
    "receipt": RECEIPT_LIES["event body"][0],
    "status": STATUS_LIES["status value"][0],
    "history": HISTORY_LIES["last event left out"][0],
    "completeness": COMPLETENESS_LIES["last batch left out"][0],
    "checkpoint": other_root,
    "fork": same_twice,
}


@pytest.mark.parametrize(("kind", "forged"), FORGED.items(), ids=list(FORGED))
def test_every_kind_of_proof_is_verified_from_disk_and_a_forged_one_is_red(
    opened: Page, bank: Banks, kind: str, forged: Lie
) -> None:
    proof = proof_of(bank, kind)
    assert give(opened, proof.encode(), bank.policy().encode()) == "verified"
    assert opened.locator("li[data-step]:not([data-state=holds])").count() == 0
    assert give(opened, forged(proof).encode(), bank.policy().encode()) == "refused"
    assert opened.locator("li[data-state=fails]").count() == 1
    colour = opened.locator("li[data-state=fails] .said").evaluate("element => getComputedStyle(element).color")
    red, green, blue = map(int, re.findall(r"[0-9]+", colour)[:3])
    assert red > 2 * max(green, blue)


def asks_for_a_file(page: Page, name: str) -> None:
    """Press Enter on a file's field, and wait until that asks for one: whether the browser's own window then opens is
    the browser's affair, and a headless one now and then opens none.
    """
    field = page.locator(f"input[name={name}]")
    field.evaluate(
        """field => field.addEventListener("click", event => {
            event.preventDefault();
            field.dataset.asked = String(event.isTrusted);
        }, { once: true })"""
    )
    field.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(f"input[name={name}][data-asked]")


def test_all_of_it_is_done_by_keys_alone(opened: Page) -> None:
    def focus() -> str:
        return str(opened.evaluate("() => document.activeElement.name || document.activeElement.textContent"))

    reached = []
    for _ in range(7):
        opened.keyboard.press("Tab")
        reached.append(focus())
    assert reached[:7] == ["English", "中文", "proof", "policy", "Demand more of it", "Verify", reached[6]]
    for name, file in (("proof", "receipt.tlog-proof"), ("policy", "policy")):
        asks_for_a_file(opened, name)
        opened.set_input_files(f"input[name={name}]", SAMPLES / file)
    opened.locator("button[type=submit]").focus()
    opened.keyboard.press("Enter")
    assert opened.locator(".proof-result").get_attribute("data-verdict") == "verified"
    assert opened.locator(".proof-head").get_attribute("role") == "status"
