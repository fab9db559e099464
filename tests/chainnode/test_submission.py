"""Sending events: groups that fit a request, patience with a node that is full, and a key's own numbering."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import chainnode.submission as module
from chainnode.client import CallRefused, TimedOut
from chainnode.identity import new_key
from chainnode.submission import (
    CHUNK_EVENTS,
    GatewayDoor,
    NewEvent,
    await_committed,
    chunks,
    key_door,
    retried,
    send_within,
)
from ledger.batches import parse_batch, verify_batch
from ledger.certificate_bodies import Accept
from primitives.encoding import encode
from primitives.errors import UsageError

CHAIN_ID = "07" * 32
NOW_MS = 1_790_000_000_000


def event(number: int, size: int = 0) -> NewEvent:
    body = encode(Accept(f"bank-a.{number}")) if not size else bytes(size)
    return NewEvent(2, 1, body, f"line {number}", reference=number.to_bytes(16, "big"))


class FakeNode:
    """Orders what it is sent, at once, unless it is told to lose the answer."""

    def __init__(self, member: str = "cb") -> None:
        self.member = member
        self.batches: list[bytes] = []
        self.lose_answer = False

    def call(self, method: str, /, **params: Any) -> Any:
        match method:
            case "ledger_getCapabilities":
                return {"chain_id": CHAIN_ID}
            case "ledger_getSource":
                previous = parse_batch(self.batches[-1]).hash.hex() if self.batches else "00" * 32
                return {"member": self.member, "next_number": len(self.batches), "previous": previous}
            case "ledger_getStatus":
                known = {item.hex() for raw in self.batches for item in parse_batch(raw).ids}
                return self.row(params["event_id"], params["event_id"] in known)
            case "ledger_submitBatch":
                return self.take(params["batch"])
        raise AssertionError(method)

    def call_many(self, method: str, calls: list[dict[str, Any]]) -> list[Any]:
        return [self.call(method, **params) for params in calls]

    def limit(self, timeout_s: float) -> None:
        pass

    def take(self, text: str) -> dict[str, Any]:
        import base64

        raw = base64.b64decode(text)
        batch = parse_batch(raw)
        verify_batch(batch)
        if raw not in self.batches:
            assert batch.header.number == len(self.batches), "a number was used twice or left out"
            self.batches.append(raw)
        if self.lose_answer:
            self.lose_answer = False
            raise ConnectionError("lost")
        return {"events": [self.row(item.hex(), True) for item in batch.ids]}

    def row(self, identity: str, known: bool) -> dict[str, Any]:
        return {"id": identity, "status": "Committed" if known else "Unknown"}


def test_groups_fit_a_request_by_number_and_by_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK_BYTES", 1_000)
    assert [len(group) for group in chunks([event(n, 300) for n in range(8)])] == [3, 3, 2]
    monkeypatch.setattr(module, "CHUNK_BYTES", 1 << 30)
    assert [len(group) for group in chunks([event(0)] * (CHUNK_EVENTS + 1))] == [CHUNK_EVENTS, 1]
    assert list(chunks([])) == []
    assert [len(group) for group in chunks([event(0, 2_000_000_0)])] == [1], (
        "one event too large is the node's to refuse"
    )


def refusing(times: int, *, retryable: bool) -> Callable[[], dict[str, Any]]:
    left = [times]

    def call() -> dict[str, Any]:
        if left[0]:
            left[0] -= 1
            raise CallRefused({"code": -32005, "data": {"retryable": retryable, "retry_after_ms": 1}})
        return {"ok": True}

    return call


def test_call_that_may_pass_later_is_made_again_and_no_other() -> None:
    assert retried(refusing(3, retryable=True)) == {"ok": True}
    with pytest.raises(CallRefused):
        retried(refusing(1, retryable=False))
    with pytest.raises(CallRefused):
        retried(refusing(3, retryable=True), patience_s=0.0)


def test_refusals_in_a_row_are_answered_with_longer_pauses_that_differ() -> None:
    slept: list[float] = []
    retried(refusing(6, retryable=True), clock=lambda: sum(slept), sleep=slept.append)
    for place, pause_s in enumerate(slept):
        assert 0.001 * 2**place <= pause_s <= 0.0015 * 2**place
    assert len({pause_s / 2**place for place, pause_s in enumerate(slept)}) == len(slept)


def test_patience_ends_within_its_time() -> None:
    slept: list[float] = []
    with pytest.raises(CallRefused):
        retried(refusing(1_000, retryable=True), patience_s=0.1, clock=lambda: sum(slept), sleep=slept.append)
    assert 0.09 < sum(slept) <= 0.1


def test_key_numbers_its_batches_and_an_event_that_is_known_is_not_signed_again(tmp_path: Path) -> None:
    node, key, path = FakeNode(), new_key("source", member="cb"), tmp_path / "cb.key"
    for _ in range(2):
        with key_door(node, path, key, lambda: NOW_MS) as door:  # type: ignore[arg-type]  # a stand-in for NodeClient
            rows = door.send([event(1), event(2)], "committed")
            assert [row["status"] for row in rows] == ["Committed", "Committed"]
    with key_door(node, path, key, lambda: NOW_MS) as door:  # type: ignore[arg-type]  # a stand-in for NodeClient
        door.send([event(2), event(3)], "committed")
    assert [parse_batch(raw).header.count for raw in node.batches] == [2, 1]


def test_batch_whose_answer_was_lost_is_sent_again_as_the_same_bytes(tmp_path: Path) -> None:
    node, key, path = FakeNode(), new_key("source", member="cb"), tmp_path / "cb.key"
    node.lose_answer = True
    with (
        pytest.raises(ConnectionError),
        key_door(node, path, key, lambda: NOW_MS) as door,  # type: ignore[arg-type]  # a stand-in for NodeClient
    ):
        door.send([event(1)], "committed")
    with key_door(node, path, key, lambda: NOW_MS) as door:  # type: ignore[arg-type]  # a stand-in for NodeClient
        assert door.send([event(1)], "committed")[0]["status"] == "Committed"
    assert len(node.batches) == 1


def test_key_of_another_member_or_use_is_refused(tmp_path: Path) -> None:
    node = FakeNode("lab")
    with (
        pytest.raises(UsageError, match="another member: expected lab, got cb"),
        key_door(node, tmp_path / "k", new_key("source", member="cb"), lambda: NOW_MS),  # type: ignore[arg-type]  # stands in for a client
    ):
        pass
    with (
        pytest.raises(UsageError, match="cannot submit events"),
        key_door(node, tmp_path / "k", new_key("vote"), lambda: NOW_MS),  # type: ignore[arg-type]  # stands in for a client
    ):
        pass


def test_pending_events_are_asked_for_until_they_are_committed() -> None:
    class Later(FakeNode):
        answers = iter([{"status": "Pending"}, {"status": "Committed", "height": 4}])

        def call(self, method: str, /, **params: Any) -> Any:
            assert method == "ledger_getStatus"
            return next(self.answers)

    rows = await_committed(Later(), [{"id": "x", "status": "Pending"}], timeout_s=5)  # type: ignore[arg-type]  # stands in for a client
    assert rows == [{"id": "x", "status": "Committed", "height": 4}]


class Stuck(FakeNode):
    """Accepts, and never commits more than `committed` of what it has accepted."""

    def __init__(self, committed: int = 0, silent_to: str = "") -> None:
        super().__init__()
        self.committed = committed
        self.silent_to = silent_to

    def call(self, method: str, /, **params: Any) -> Any:
        if method == self.silent_to:
            raise TimedOut("no answer in time")
        match method:
            case "ledger_submit":
                assert params["wait"] == "accepted"
                return {"events": [{"id": f"{n:064x}", "status": "Pending"} for n in range(len(params["events"]))]}
            case "ledger_getStatus":
                done = int(params["event_id"], 16) < self.committed
                return {"id": params["event_id"], "status": "Committed" if done else "Pending"}
        raise AssertionError(method)


@pytest.mark.parametrize("silent_to", ["", "ledger_getStatus"])
def test_time_out_leaves_every_event_its_id_and_says_how_to_ask_again(silent_to: str) -> None:
    node = Stuck(committed=1, silent_to=silent_to)
    started = time.monotonic()
    rows = send_within(node, GatewayDoor(node, "cb"), [event(n) for n in range(3)], timeout_s=0.1)  # type: ignore[arg-type]  # stands in for a client
    assert time.monotonic() - started < 2
    assert [row["id"] for row in rows] == [f"{n:064x}" for n in range(3)]
    assert [row["status"] for row in rows] == ["Pending" if silent_to else "Committed", "Pending", "Pending"]
    assert rows[2]["message"] == f"accepted, not committed yet; ask again with `chainnode get {rows[2]['id']}`"


def test_node_that_does_not_answer_at_all_leaves_events_unknown() -> None:
    node = Stuck(silent_to="ledger_submit")
    rows = send_within(node, GatewayDoor(node, "cb"), [event(0)], timeout_s=0.1)  # type: ignore[arg-type]  # stands in for a client
    assert [(row["id"], row["status"]) for row in rows] == [(None, "Unknown")]
