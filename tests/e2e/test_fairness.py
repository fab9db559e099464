"""One member floods the network with full batches; another's lone events still commit within a bound.

The bound is two base time-outs (docs/performance.md, "Fairness"): far above what is measured, so that it holds on a
machine that does other things too.
"""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Iterator

import pytest

from chainnode.client import CallRefused, NodeClient
from tests.e2e.network_fixtures import Network, network
from tests.e2e.traffic_fixtures import Source, source_of, submit

pytestmark = pytest.mark.e2e

BASE_TIMEOUT_S = 2.0
BOUND_S = 2 * BASE_TIMEOUT_S
FLOOD_S = 3 * BOUND_S
"""The flood lasts at least so long, so that a lone event that waits past the bound does so within it."""
LONE_EVENTS = 20
MEASURED_S_MAX = 100.0
FLOOD_SHARE = 100
"""The flood pushes at least so many events for each lone one."""
BATCH_EVENTS = 1_000


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    settings = {"consensus.view_timeout_ms": int(BASE_TIMEOUT_S * 1_000), "rpc.requests_per_second_max": 1_000_000}
    with network(tmp_path_factory.mktemp("fairness"), settings) as running:
        yield running


class Flood(threading.Thread):
    """Pumps signed batches into its bank's node without waiting for any; told to come back later, it does at once."""

    def __init__(self, net: Network, source: Source) -> None:
        super().__init__(daemon=True)
        self.net, self.source = net, source
        self.pushed = 0
        self.begun, self.ending = threading.Event(), threading.Event()
        self.failure: BaseException | None = None

    def run(self) -> None:
        client = self.net.new_client("bank-a", timeout_s=30.0)
        try:
            while not self.ending.is_set():
                self._push(client, self.source.payments(BATCH_EVENTS), "none")
                self.pushed += 1
                self.begun.set()
            self._push(client, self.source.payments(BATCH_EVENTS), "committed")
        except Exception as error:  # noqa: BLE001  told to the test
            self.failure = error
            self.begun.set()
        finally:
            client.close()

    def _push(self, client: NodeClient, raw: bytes, wait: str) -> None:
        while True:
            try:
                rows = client.call("ledger_submitBatch", batch=base64.b64encode(raw).decode(), wait=wait)["events"]
            except CallRefused as refused:
                if not refused.retryable:
                    raise
                time.sleep(0.05)
                continue
            if wait == "none" or all(row["status"] == "Committed" for row in rows):
                return


def test_a_flooding_member_delays_nobody_elses_lone_event_past_two_base_timeouts(net: Network) -> None:
    source, lone = source_of(net, "bank-a-bank"), source_of(net, "bank-c-bank")
    flood = Flood(net, source)
    flood.start()
    assert flood.begun.wait(30.0)
    waited: list[float] = []
    start = time.monotonic()
    while len(waited) < LONE_EVENTS or time.monotonic() < start + FLOOD_S:
        assert time.monotonic() < start + MEASURED_S_MAX, f"{len(waited)} lone events in {MEASURED_S_MAX} s"
        assert flood.is_alive(), flood.failure
        began = time.monotonic()
        (row,) = submit(net, "bank-c", lone.payments(1))
        waited.append(time.monotonic() - began)
        assert row["status"] == "Committed"
    flood.ending.set()
    flood.join(60.0)
    assert not flood.is_alive()
    assert flood.failure is None
    print(f"{len(waited)} lone events beside {flood.pushed * BATCH_EVENTS} of the flood: at most {max(waited):.2f} s")
    assert flood.pushed * BATCH_EVENTS > FLOOD_SHARE * len(waited), "it was a flood"
    assert max(waited) < BOUND_S
