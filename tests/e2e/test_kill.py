"""kill -9 of any node at any time: nothing that was answered `committed` or `accepted` is lost, and order goes on.

Seeds are printed and replayed with CHAINNODE_E2E_SEED; CHAINNODE_E2E_KILLS makes the random test longer.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.network_fixtures import NAMES, Network, network, until
from tests.e2e.traffic_fixtures import Answers, Submitter, row, source_of, submit, traffic

pytestmark = pytest.mark.e2e

KILLS = int(os.environ.get("CHAINNODE_E2E_KILLS") or 5)


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with network(tmp_path_factory.mktemp("kill")) as running:
        yield running


def events_in_log(net: Network, top: int) -> int:
    return sum(block["header"]["event_count"] for block in net.blocks("bank-a", top))


def test_kill_9_of_any_node_loses_no_event_that_was_answered_committed(net: Network) -> None:
    seed = int(os.environ.get("CHAINNODE_E2E_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"seed {seed}")
    draw = random.Random(seed)
    answers = Answers()
    submitters = [
        Submitter(net, answers, node=node, key=key, events=3, pause_s=0.02)
        for node, key in [
            *((name, f"{name}-bank") for name in NAMES),  # each sends its source's batches to its own bank's node
            *((name, None) for name in NAMES),
        ]
    ]
    with traffic(submitters):
        for kill in range(KILLS):
            time.sleep(draw.uniform(0.2, 0.8))
            victim = net.leader() if kill in (0, 3) else draw.choice(NAMES)
            before = len(answers.committed)
            print(f"kill {kill}: {victim}, {before} events answered")
            net.kill(victim)
            time.sleep(draw.choice([0.0, 0.3, 1.2]))
            net.start(victim)
            until(lambda before=before: len(answers.committed) > before + 50, 10.0)
    top = net.check_all()
    for name in NAMES:
        answers.check_on(net, name)
    assert set(answers.committed) == answers.asked
    assert events_in_log(net, top) == len(answers.asked), "an event stands twice"
