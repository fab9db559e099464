"""kill -9 of any node at any time: nothing that was answered `committed` or `accepted` is lost, and order goes on.

Seeds are printed and replayed with CHAINNODE_E2E_SEED; CHAINNODE_E2E_KILLS makes the random test longer.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.following_client import whole_lines
from tests.e2e.network_fixtures import NAMES, Network, network, until
from tests.e2e.traffic_fixtures import Answers, row, submitters_of, traffic

pytestmark = pytest.mark.e2e

KILLS = int(os.environ.get("CHAINNODE_E2E_KILLS") or 5)


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with network(tmp_path_factory.mktemp("kill")) as running:
        yield running


@pytest.fixture(scope="module")
def answers() -> Answers:
    """All answers of this module: later tests hold the nodes to those of earlier ones too."""
    return Answers()


def check_answers(net: Network, answers: Answers) -> None:
    """Hold every node to every answer: present, same place, same outcome, on one certified chain, and none twice."""
    top = net.check_all()
    for name in NAMES:
        answers.check_on(net, name)
    assert set(answers.committed) == answers.asked
    in_log = sum(block["header"]["event_count"] for block in net.blocks(NAMES[0], top))
    assert in_log == len(answers.asked), "an event stands twice in the log"


def test_no_event_answered_committed_is_lost_when_any_node_is_killed(net: Network, answers: Answers) -> None:
    seed = int(os.environ.get("CHAINNODE_E2E_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"CHAINNODE_E2E_SEED={seed}")
    draw = random.Random(seed)
    # Every node answers clients all the time, so whichever is killed was answering.
    with traffic(submitters_of(net, answers)):
        for kill in range(KILLS):
            time.sleep(draw.uniform(0.1, 0.6))
            victim = net.leader() if kill % 3 == 0 else draw.choice(NAMES)
            print(f"kill {kill}: {victim} after {len(answers.committed)} events")
            net.kill(victim)
            time.sleep(draw.choice([0.0, 0.3, 1.0]))
            net.start(victim)
            answers.wait_for_more(20)
    check_answers(net, answers)


def test_no_event_answered_committed_is_lost_when_all_nodes_are_killed_at_once(net: Network, answers: Answers) -> None:
    with traffic(submitters_of(net, answers)):
        answers.wait_for_more(20)
        net.kill(*NAMES)
        net.start()
        answers.wait_for_more(20)
    check_answers(net, answers)


def test_an_event_answered_accepted_is_committed_after_its_gateway_was_killed(net: Network, answers: Answers) -> None:
    net.kill("bank-c", "bank-d")  # no quorum: what is accepted now waits in the outbox
    events = [row() for _ in range(20)]
    accepted = net.call("bank-b", "ledger_submit", events=events, wait="accepted")["events"]
    ids = [item["id"] for item in accepted]
    assert {item["status"] for item in accepted} == {"Pending"}
    net.kill("bank-b")
    net.spawn("bank-b")
    known = until(lambda: net.calls("bank-b", "ledger_getStatus", [{"event_id": item} for item in ids]))
    assert {answer["result"]["status"] for answer in known} == {"Pending"}
    net.start("bank-c", "bank-d")
    again = net.call("bank-b", "ledger_submit", events=events, wait="committed")["events"]
    assert [item["id"] for item in again] == ids
    assert {item["status"] for item in again} == {"Committed"}
    answers.asked.update(ids)
    answers.take(again)
    check_answers(net, answers)


class Subscriber:
    """A subscriber of its own process, which is killed and started again, at another node each time."""

    def __init__(self, net: Network, file: Path) -> None:
        self.net, self.file = net, file
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, node: str) -> None:
        command = [sys.executable, "-m", "tests.e2e.following_client", self.net.node(node).rpc, str(self.file)]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def told(self) -> list[list[str]]:
        """Return log index, id and cursor of each event that it was told of."""
        return whole_lines(self.file)


def test_a_subscriber_is_told_each_event_once_though_it_and_its_nodes_are_killed(
    net: Network, answers: Answers, tmp_path: Path
) -> None:
    seed = int(os.environ.get("CHAINNODE_E2E_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"CHAINNODE_E2E_SEED={seed}")
    draw = random.Random(seed)
    subscribers = [Subscriber(net, tmp_path / f"told-{number}") for number in range(2)]
    nodes = [draw.choice(NAMES) for _ in subscribers]
    for subscriber, node in zip(subscribers, nodes, strict=True):
        subscriber.start(node)
    with traffic(submitters_of(net, answers)):
        for turn in range(KILLS - 2):
            time.sleep(draw.uniform(0.2, 0.8))
            place = turn % len(subscribers)
            if draw.random() < 0.6:
                victim = nodes[place]  # the node, under its subscriber, which waits for it to be back
                net.kill(victim)
                net.start(victim)
            else:
                subscribers[place].kill()
                nodes[place] = draw.choice(NAMES)
                subscribers[place].start(nodes[place])
            answers.wait_for_more(10)
        subscribers[0].kill()  # also at a place that no node chose
        subscribers[0].start(draw.choice(NAMES))
    top = net.until_level()
    expected = []
    for block in net.blocks(NAMES[0], top):
        first, count = block["header"]["first_index"], block["header"]["event_count"]
        expected += range(first, first + count)
    until(
        lambda: all(len(each.told()) >= len(expected) for each in subscribers),
        progress=lambda: [len(each.told()) for each in subscribers],
    )
    for subscriber in subscribers:
        subscriber.kill()
        assert [int(index) for index, _, _ in subscriber.told()] == expected, "a gap or a repetition"
    ids = {event_id for _, event_id, _ in subscribers[0].told()}
    assert ids == set(answers.committed)
    assert subscribers[0].told() == subscribers[1].told(), "the same cursors from all nodes"
