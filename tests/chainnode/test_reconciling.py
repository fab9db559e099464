"""The node's follower of reconciliation: it goes along, takes a small share while blocks come, and counts."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from chainnode import reconciling
from chainnode.metrics import NodeMetrics
from chainnode.reconciling import count_payments, follow_reconciliation
from ledger.archive_store import Pruned
from rpc.feed import Feed
from tests.ledger.reconciliation_fixtures import Books


class Counting:
    """A follower that has so many statements before it; `height` is where it stands."""

    def __init__(self, steps: int, fault: Exception | None = None) -> None:
        self.left = steps
        self.height = 0
        self.fault = fault

    def follow(self, height: int, statements_max: int) -> int:
        if self.fault is not None:
            fault, self.fault = self.fault, None
            raise fault
        assert statements_max == reconciling.STATEMENTS_A_STEP
        self.left -= 1
        return 0 if self.left < 0 else statements_max


class NoCounts:
    def counts(self, asked: Any = None) -> Any:
        return SimpleNamespace(__struct_fields__=())

    @property
    def totals(self) -> NoCounts:
        return self


def metrics() -> NodeMetrics:
    return NodeMetrics(node="node-a", member="bank-a", version="0", start_time_s=0.0)


async def rests(monkeypatch: pytest.MonkeyPatch, follower: Counting, heights: list[int], steps: int) -> list[float]:
    """Return how long the follower's task rested each time, until it had rested so often."""
    found: list[float] = []
    done = asyncio.Event()
    real = asyncio.sleep

    async def sleep(seconds: float) -> None:
        found.append(seconds)
        if len(found) >= steps:
            done.set()
        await real(0)

    monkeypatch.setattr(reconciling.asyncio, "sleep", sleep)
    remaining = iter(heights)
    index = SimpleNamespace(
        reconciliation=follower,
        answers=SimpleNamespace(reconciliation=NoCounts()),
        follower=type("Index", (), {"height": property(lambda _: next(remaining, heights[-1]))})(),
    )
    with ThreadPoolExecutor(1) as executor:
        task = asyncio.create_task(follow_reconciliation(executor, index, metrics(), Feed(0)))  # type: ignore[arg-type]  # what it asks of it
        await done.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    return found


async def test_it_rests_only_while_blocks_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciling, "BUSY_S", 1_000.0)
    found = await rests(monkeypatch, Counting(50), list(range(1, 40)), 20)
    assert all(rest >= reconciling.REST_S_MIN and rest != reconciling.IDLE_S for rest in found)
    monkeypatch.setattr(reconciling, "BUSY_S", -1.0)
    assert set(await rests(monkeypatch, Counting(50), [5], 3)) == {reconciling.IDLE_S}, "after all 50 steps"


async def test_it_waits_for_bodies_that_are_in_the_archive(monkeypatch: pytest.MonkeyPatch) -> None:
    fault = Pruned("gone", expected="a", got="b")
    found = await rests(monkeypatch, Counting(0, fault), [5], 2)
    assert found == [reconciling.ARCHIVE_RETRY_S, reconciling.IDLE_S]


def test_payments_are_counted_by_how_they_stand() -> None:
    books = Books()
    books.tell("bank-a")
    books.follow()
    found = metrics()
    index = SimpleNamespace(reconciliation=books.follower, answers=SimpleNamespace(reconciliation=books.reader))
    count_payments(index, found)  # type: ignore[arg-type]  # as above
    text = found.render().decode()
    assert 'chainnode_payments_reconciliation{state="one_sided"} 1.0' in text
    assert 'chainnode_payments_totals{state="agreed"} 0.0' in text
    assert "chainnode_reconciliation_height 1.0" in text
