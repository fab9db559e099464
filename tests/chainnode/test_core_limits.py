"""What one peer can draw from a node by tiny requests: a turn's memory stays bounded, whatever is asked how often."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chainnode import allowance
from chainnode.allowance import Allowance
from chainnode.core import BATCH, BATCH_WANT, BatchIds, NodeCore
from consensus.messages import (
    FetchBlocks,
    FetchProposals,
    Message,
    NewView,
    Status,
    decode_message,
    encode_message,
    kind_of,
)
from ledger.batches import parse_batch
from primitives.encoding import encode
from primitives.ids import Epoch, Height, TimeMs, View
from sim.cluster import Cluster
from sim.events import Offer
from sim.network import CALM
from sim.workload import START_MS

FLOOD = 100
BUDGET = 20_000
BLOCKS, NEW_VIEW = 8, 4


@pytest.fixture(scope="module")
def ran() -> Cluster:
    """A cluster that ordered blocks of about 3 KiB each and then changed its view: its first leader was cut off."""
    cluster = Cluster(5, weather=CALM)
    for number in range(30):
        cluster.schedule(START_MS + 100 * number, Offer(1 + number % 3, 10))
    cluster.run_until(START_MS + 6_000)
    for other in (1, 2, 3):
        cluster.network.cut(0, other)
    cluster.schedule(START_MS + 6_100, Offer(1, 10))
    cluster.run_until(START_MS + 16_000)
    return cluster


@pytest.fixture
def core(ran: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[NodeCore]:
    """A node of that cluster, with a small budget and no turn begun."""
    monkeypatch.setattr(allowance, "SERVED_BYTES_MAX", BUDGET)
    found = ran.nodes[1].core
    assert found is not None
    found._allowance = Allowance(found.replica.state.parameters.status_interval_ms // 2)
    found.take_turn()
    yield found
    found.take_turn()


def say(core: NodeCore, message: Message, now_ms: TimeMs, peer: str = "bank-3") -> None:
    core.on_message(peer, kind_of(message), encode_message(message), now_ms)


def drawn(core: NodeCore, peer: str = "bank-3") -> list[tuple[int, bytes]]:
    return [(item.kind, item.payload) for item in core.take_turn().outgoing if item.peer == peer]


def size_of(answers: list[tuple[int, bytes]]) -> int:
    return sum(len(payload) for _, payload in answers)


def test_a_flood_of_requests_for_blocks_is_answered_once_a_turn(core: NodeCore, ran: Cluster) -> None:
    for start in range(FLOOD):
        say(core, FetchBlocks(Height(1 + start % 4), 64), ran.now_ms)
    answers = drawn(core)
    assert [kind for kind, _ in answers] == [BLOCKS]
    assert size_of(answers) < 2 * BUDGET
    say(core, FetchBlocks(Height(1), 64), ran.now_ms)
    assert [kind for kind, _ in drawn(core)] == [BLOCKS], "the next turn answers again"


def test_one_peers_flood_leaves_the_others_answers_alone(core: NodeCore, ran: Cluster) -> None:
    for _ in range(FLOOD):
        say(core, FetchBlocks(Height(1), 64), ran.now_ms)
    say(core, FetchBlocks(Height(1), 64), ran.now_ms, "bank-2")
    assert [kind for kind, _ in drawn(core, "bank-2")] == [BLOCKS]


def test_a_request_for_blocks_by_hash_draws_no_more_than_the_budget(core: NodeCore, ran: Cluster) -> None:
    recent = tuple(core.replica.state.tip.recent.values())
    for start in range(FLOOD):
        say(core, FetchProposals(recent[start % 8 : start % 8 + 8]), ran.now_ms)
    answers = drawn(core)
    assert 1 < len(answers) <= 8
    assert size_of(answers) < 2 * BUDGET


def test_a_flood_of_wants_draws_no_more_than_the_budget(core: NodeCore, ran: Cluster) -> None:
    hashes = [parse_batch(raw).hash for source in ran.gateways.sources for raw in source.batches]
    now_ms = TimeMs(ran.now_ms + 1_000)
    for start in range(0, len(hashes), 4):
        core.on_message("bank-3", BATCH_WANT, encode(BatchIds(tuple(hashes[start : start + 4]))), now_ms)
    first = drawn(core)
    assert {kind for kind, _ in first} == {BATCH}
    assert BUDGET <= size_of(first) < 2 * BUDGET
    core.on_message("bank-3", BATCH_WANT, encode(BatchIds(tuple(hashes))), now_ms)
    assert not set(drawn(core)) & set(first), "what was held back is given when it is asked for again"


def test_all_kinds_of_requests_share_the_budget(core: NodeCore, ran: Cluster) -> None:
    hashes = [parse_batch(raw).hash for source in ran.gateways.sources for raw in source.batches]
    core.on_message("bank-3", BATCH_WANT, encode(BatchIds(tuple(hashes))), TimeMs(ran.now_ms + 2_000))
    for _ in range(FLOOD):
        say(core, FetchBlocks(Height(1), 64), ran.now_ms)
    assert size_of(drawn(core)) < 2 * BUDGET


def test_a_status_is_answered_once_in_half_its_interval(core: NodeCore, ran: Cluster) -> None:
    behind = Status(Epoch(0), View(0), True, Height(0), Height(0), Height(0), True)
    for _ in range(FLOOD):
        say(core, behind, ran.now_ms)
    answers = drawn(core)
    assert [kind for kind, _ in answers].count(NEW_VIEW) == 1
    assert isinstance(decode_message(NEW_VIEW, dict(answers)[NEW_VIEW]), NewView)
    half = core.replica.state.parameters.status_interval_ms // 2
    say(core, behind, TimeMs(ran.now_ms + half - 1))
    assert drawn(core) == []
    for later in range(FLOOD):  # one turn that lasts long
        say(core, behind, TimeMs(ran.now_ms + half * (1 + later)))
    assert [kind for kind, _ in drawn(core)].count(NEW_VIEW) == 1


def test_a_status_after_a_new_link_or_a_clock_set_back_is_answered(core: NodeCore, ran: Cluster) -> None:
    behind = Status(Epoch(0), View(0), True, Height(0), Height(0), Height(0), True)
    for now_ms in (ran.now_ms, ran.now_ms - 5_000):
        say(core, behind, TimeMs(now_ms))
        assert drawn(core)
    core.disconnected("bank-3", TimeMs(ran.now_ms - 5_000))
    core.connected("bank-3")
    core.take_turn()
    say(core, behind, TimeMs(ran.now_ms - 5_000))
    assert drawn(core)


def test_small_requests_are_answered_once_a_turn_too(core: NodeCore, ran: Cluster) -> None:
    for _ in range(3):
        say(core, FetchBlocks(Height(1), 1), ran.now_ms)
    assert [kind for kind, _ in drawn(core)] == [BLOCKS]
