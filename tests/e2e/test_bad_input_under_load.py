"""Bad submissions among good ones: each is refused by its name, and no good one is lost, delayed for ever or doubled.

Sources of all banks submit without pause while every bad request there is goes to a node that is busy with them, on
the same connection as good ones. Nothing is asked of the time that this takes.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest

from bench.bad_input import Bad, above_policy, bad_requests
from bench.workload import BenchSource, batch_body
from chainnode.client import retry_pause_s
from tests.e2e.network_fixtures import NAMES, STUCK_S, Json, Network, network
from tests.e2e.traffic_fixtures import Answers, key_file, submitters_of, traffic

pytestmark = pytest.mark.e2e

NODE = "bank-a"
BLOCK_EVENTS_MAX = 200
EVENTS = 50
ROUNDS = 2


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    policy = {"block_events_max": BLOCK_EVENTS_MAX}
    with network(tmp_path_factory.mktemp("bad-input"), policy=policy) as running:
        yield running


@pytest.fixture(scope="module")
def liar(net: Network) -> BenchSource:
    """A source of whose batches every other is bad; nobody else signs with its key."""
    key = key_file(net, "bank-d-bank")
    return BenchSource(bytes(net.genesis.chain_id), key.member, key.signing_key)


class Connection:
    """One kept connection to the node, opened again where the node closes it."""

    def __init__(self, net: Network) -> None:
        address = urlsplit(net.node(NODE).rpc)
        self._http = HTTPConnection(str(address.hostname), address.port, timeout=STUCK_S)
        self._headers = {"Content-Type": "application/json", "Authorization": f"Bearer {net.token(NODE)}"}

    def ask(self, body: bytes) -> tuple[int, Json]:
        """Return HTTP status and answer; a full node is asked again when it says."""
        for refusals in range(1_000):
            self._http.request("POST", "/", body, self._headers)
            response = self._http.getresponse()
            status, answer = response.status, json.loads(response.read())
            data = answer.get("error", {}).get("data", {})
            if data.get("reason") != "gateway_full":
                return status, answer
            time.sleep(retry_pause_s(data["retry_after_ms"], refusals, 0.5))
        raise AssertionError("a node stays full")

    def close(self) -> None:
        self._http.close()


def check_refused(bad: Bad, status: int, answer: Json, standing: list[Json]) -> None:
    """Fail unless the answer is the refusal that is due, or, of events that are known, where they stand."""
    if not bad.code:
        rows = [{**row, "as_of": None} for row in answer["result"]["events"]]
        assert rows == standing, bad.name
        return
    error = answer["error"]
    assert (status, error["code"], error["data"]["reason"]) == (bad.status, bad.code, bad.reason), (bad.name, error)
    assert not error["data"]["retryable"], bad.name
    assert error["data"]["trace_id"], bad.name
    assert len(error["message"]) < 1_000, bad.name


def committed(connection: Connection, raw: bytes) -> list[Json]:
    """Submit a good batch until it is committed; return its rows."""
    end = time.monotonic() + STUCK_S
    while True:
        status, answer = connection.ask(batch_body(raw))
        assert status == 200
        rows = answer["result"]["events"]
        if all(row["status"] == "Committed" for row in rows):
            return [{**row, "as_of": None} for row in rows]
        assert time.monotonic() < end, rows


def all_events(net: Network, name: str, top: int) -> Counter[str]:
    """Return how often each event stands in a node's blocks."""
    found: Counter[str] = Counter()
    for height in range(1, top + 1):
        cursor: Json = {}
        while cursor is not None:
            page = net.call(name, "ledger_getBlockEvents", height=height, limit=100, **cursor)
            found.update(item["id"] for item in page["events"])
            cursor = None if page["cursor"] is None else {"cursor": page["cursor"]}
    return found


def test_bad_submissions_under_load_are_refused_by_name_and_harm_no_other(net: Network, liar: BenchSource) -> None:
    answers = Answers()
    honest = submitters_of(net, answers, NAMES[:3])
    connection = Connection(net)
    good: set[str] = set()
    names: set[str] = set()
    with traffic(honest):
        for _ in range(ROUNDS):
            last = liar.batch(EVENTS)
            standing = committed(connection, last)
            bads = bad_requests(liar, last, events=EVENTS, others="bank-c", wait="committed")
            for bad in [*bads, above_policy(liar, BLOCK_EVENTS_MAX + 1, "none")]:
                check_refused(bad, *connection.ask(bad.body), standing)
                names.add(bad.name)
            good |= {row["id"] for row in standing}
        answers.wait_for_more(1)
    connection.close()
    assert len(names) >= 18
    good |= set(answers.committed)
    top = net.check_all()
    for name in NAMES:
        answers.check_on(net, name)
    found = all_events(net, NODE, top)
    assert good <= found.keys()
    assert {found[item] for item in good} == {1}, "each exactly once"
    strange = found.keys() - good
    kinds = {net.call(NODE, "ledger_getEvent", event_id=item)["event"]["kind"] for item in strange}
    assert kinds <= {"evidence.batches"}, "what else was ordered is the proof that a source contradicted itself"
