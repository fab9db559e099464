"""A policy that was pinned before the validators changed: handovers lead on, or the page says what is missing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.browser.conftest import failed, pinned, settled, verdict
from tests.browser.lying_fixtures import LyingNode, flipped, lying_node
from tests.browser.test_checkpoints import alarm, compare
from tests.browser.test_standalone import FILE, give
from tests.e2e.governance_fixtures import pass_it, run
from tests.e2e.network_fixtures import NAMES, QUICK, Network, until
from tests.e2e.traffic_fixtures import row

if TYPE_CHECKING:
    from playwright.sync_api import Page


@dataclass
class Moved:
    """A network of which a validator has new keys: what stood before, and an event and a block of the later epoch."""

    net: Network
    policy: str
    note: str
    event: str
    height: int
    liar: LyingNode

    @property
    def path(self) -> str:
        return f"/event/{self.event}"


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moved]:
    net = Network(tmp_path_factory.mktemp("epochs"), QUICK)

    def text(path: str) -> str:
        return net.http("bank-a", "GET", path)[1].decode()

    def pay() -> str:
        (found,) = net.call("bank-a", "ledger_submit", events=[row()])["events"]
        return str(found["id"])

    try:
        net.start()
        pay()
        net.until_level()
        until(lambda: net.status("bank-a")["checkpoint_size"] == net.status("bank-a")["log_size"])
        policy, note = text("/policy"), text("/checkpoint")
        net.stop("bank-d")
        run(net.home("bank-d").root, "validator", "renew-keys")
        net.start("bank-d")
        entry = str(run(net.home("bank-d").root, "validator", "entry")["file"])
        pass_it(net, "validator", "propose", "rekey", entry)
        until(lambda: net.status("bank-a")["epoch"] == 1)
        event = pay()
        until(lambda: net.status("bank-a")["checkpoint_size"] == net.status("bank-a")["log_size"])
        height = net.call("bank-a", "ledger_getEvent", event_id=event)["event"]["height"]
        with lying_node(net.node("bank-a").rpc) as liar:
            yield Moved(net, policy, note, event, height, liar)
    finally:
        net.close()


@pytest.fixture
def node(moved: Moved) -> Iterator[LyingNode]:
    moved.liar.lies.clear()
    yield moved.liar
    moved.liar.lies.clear()


def seen(page: Page, node: LyingNode, moved: Moved) -> None:
    """Pin the policy of the first epoch, and accept its last checkpoint."""
    pinned(page, node.url, moved.policy)
    node.lies["/checkpoint"] = lambda text: moved.note
    page.goto(f"{node.url}/members")
    assert alarm(page) is None
    node.lies.clear()


@pytest.mark.parametrize("kind", ["receipt", "block", "completeness"])
def test_a_pinned_policy_is_led_on_by_handovers(page: Page, moved: Moved, node: LyingNode, kind: str) -> None:
    seen(page, node, moved)
    page.goto(node.url + {"receipt": moved.path, "block": f"/block/{moved.height}"}.get(kind, "/member/bank-a"))
    assert verdict(page, kind) == "verified"
    assert alarm(page) is None
    page.goto(f"{node.url}/verify")
    settled(page)
    size = moved.net.status("bank-a")["checkpoint_size"]
    assert f"Last accepted checkpoint: {size} leaves" in page.locator(".seen").inner_text()
    assert "now offers another policy" in page.locator("[data-place=trust]").inner_text()


def test_a_node_that_gives_no_handovers_is_told_what_is_missing(page: Page, moved: Moved, node: LyingNode) -> None:
    seen(page, node, moved)
    page.route("**/handovers/*", lambda route: route.fulfill(status=404, body="{}"))
    page.goto(f"{node.url}/block/{moved.height}")
    assert verdict(page, "block") == "unavailable"
    assert "your policy ends with epoch 0" in page.locator("section.proof .proof-head").inner_text()
    assert "your policy ends with epoch 0" in page.locator(".unwatched").inner_text()


def test_a_node_that_conceals_the_epoch_cannot_pass_its_blocks_off(page: Page, moved: Moved, node: LyingNode) -> None:
    """Its checkpoint may do: three of the validators kept their keys, and are a quorum of either epoch."""
    seen(page, node, moved)
    node.lies["/policy"] = lambda text: moved.policy
    page.goto(f"{node.url}/block/{moved.height}")
    assert verdict(page, "block") == "refused"
    assert failed(page, "block") == ["votes"]
    assert "no validators are known of epoch 1" in page.locator("li[data-step=votes]").inner_text()


def test_a_forged_handover_leads_nowhere(page: Page, moved: Moved, node: LyingNode) -> None:
    pinned(page, node.url, moved.policy)  # and asks nothing else before: handovers are kept for good
    node.lies["/handovers/"] = lambda text: flipped(text.encode("utf-8", "surrogateescape"), -40).decode(
        "utf-8", "surrogateescape"
    )
    page.goto(f"{node.url}/block/{moved.height}")
    assert alarm(page) == "refused"
    assert verdict(page, "block") == "refused"


def test_nodes_are_compared_over_a_change_of_validators(page: Page, moved: Moved, node: LyingNode) -> None:
    pinned(page, node.url, moved.policy)
    page.goto(f"{node.url}/verify")
    settled(page)
    other = moved.net.http("bank-b", "GET", "/checkpoint")[1].decode()
    found = compare(page, [], {"bank-b": other, "before": moved.note})
    assert found == {"this node": "extends", "bank-b": "same", "before": "behind"}


def test_the_standalone_verifier_follows_the_handovers_in_a_proof(page: Page, moved: Moved) -> None:
    proof = moved.net.http("bank-a", "GET", f"/events/{moved.event}.tlog-proof")[1]
    page.goto(FILE.as_uri())
    assert give(page, proof, moved.policy.encode()) == "verified"


def test_no_page_of_an_honest_node_is_refused(page: Page, moved: Moved, node: LyingNode) -> None:
    """Among them proposals, votes and statements that name nothing, on both sides of the change."""
    pinned(page, node.url, moved.policy)
    height = moved.net.status("bank-a")["height"]
    paths = [(f"/block/{each}", "block") for each in range(height + 1)]
    for each in range(height + 1):
        found = moved.net.call("bank-a", "ledger_getBlockEvents", height=each)["events"]
        paths += [(f"/event/{event['id']}", "receipt") for event in found]
    paths += [(f"/member/{name}", "completeness") for name in NAMES]
    wrong = {}
    for path, kind in paths:
        page.goto(node.url + path)
        if verdict(page, kind) != "verified":
            wrong[path] = page.locator("section.proof .step-what").all_inner_texts()
    assert wrong == {}
