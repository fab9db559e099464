"""The topic `reconciliation`: what changes of how payments stand, in the chain's order, as far as its index is."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest

import rpc.announcing as announcing
from ledger import reconciliation_rows
from ledger.payments import Side
from primitives.encoding import encode
from tests.ledger.reconciliation_fixtures import DAY, Books, agents, body, tokens
from tests.rpc.conftest import MemoryNode
from tests.rpc.test_subscriptions import Said, connect, session, whole  # noqa: F401  fixtures


def key(number: int) -> bytes:
    return sha256(b"payment %d" % number).digest()


@pytest.fixture
def books() -> Books:
    return Books()


@pytest.fixture
def node(books: Books) -> MemoryNode:
    return books.node


def brief(said: list[Said]) -> list[tuple[str, Any, Any, int]]:
    return [(item["pair_key"], item["before"], item["state"], item["height"]) for item, _ in said]


async def test_each_change_is_told_once_in_the_order_of_the_chain(connect, books) -> None:  # noqa: F811
    talk = await connect()
    await talk.subscribe("reconciliation")
    books.tell("bank-a", pair_key=key(1))
    books.tell("bank-b", pair_key=key(1))
    books.tell("bank-b", pair_key=key(1))
    books.tell("bank-a", pair_key=key(2))
    books.wait(DAY)
    books.tell("bank-b", pair_key=key(2), tokens=tokens(amount="CNY 2.00"))
    said = await talk.next(5)
    assert brief(said) == [
        (key(1).hex(), None, "one_sided", 1), (key(1).hex(), "one_sided", "matched", 2),
        (key(2).hex(), None, "one_sided", 4), (key(2).hex(), "one_sided", "orphan", 5),
        (key(2).hex(), "orphan", "mismatch", 6),
    ]  # fmt: skip
    assert said[0][0]["members"] == ["bank-a", "bank-b"]
    assert await whole(connect, "reconciliation", 5) == said
    resumed = await connect()
    await resumed.subscribe("reconciliation", from_cursor=said[2][1])
    assert await resumed.next(2) == said[3:]


async def test_changes_are_filtered_by_member_and_payment_and_by_nothing_else(connect, books) -> None:  # noqa: F811
    books.tell("bank-a", pair_key=key(1))
    books.tell("bank-c", pair_key=key(2), agents=agents("bank-c", "bank-b"))
    assert brief(await whole(connect, "reconciliation", 1, member="bank-c")) == [
        (key(2).hex(), None, "one_sided", 2)
    ]  # fmt: skip
    assert len(await whole(connect, "reconciliation", 2, member="bank-b")) == 2
    assert len(await whole(connect, "reconciliation", 1, payment=key(1).hex())) == 1
    talk = await connect()
    assert (await talk.refused("reconciliation", kind="payment.statement"))["code"] == -32602
    assert (await talk.refused("blocks", member="bank-a"))["code"] == -32602


async def test_a_block_of_many_changes_is_told_in_pieces(connect, node, monkeypatch) -> None:  # noqa: F811
    monkeypatch.setattr(announcing, "EVENTS_A_PIECE", 2)
    told = [encode(body(side=Side.DEBTOR, pair_key=key(number))) for number in range(5)]
    node.commit(node.batch([node.event(number, body=each) for number, each in enumerate(told)]))
    said = await whole(connect, "reconciliation", 5)
    assert [item["pair_key"] for item, _ in said] == [key(number).hex() for number in range(5)]
    for place in range(5):
        talk = await connect()
        await talk.subscribe("reconciliation", from_cursor=said[place][1])
        assert await talk.next(4 - place) == said[place + 1 :]
        await talk.nothing_more()


async def test_nothing_is_told_of_blocks_that_the_index_has_not_reached(connect, node, books) -> None:  # noqa: F811
    talk = await connect()
    await talk.subscribe("reconciliation")
    follow, node.reconciliation.follow = node.reconciliation.follow, lambda height, most: 0
    tell, node.feed.reconciled_to = node.feed.reconciled_to, lambda height: None
    books.tell("bank-a", pair_key=key(1))
    await talk.nothing_more()
    while follow(1, 100):
        pass
    tell(1)
    assert brief(await talk.next(1)) == [(key(1).hex(), None, "one_sided", 1)]


async def test_changes_that_are_not_kept_any_more_are_refused(connect, books, monkeypatch) -> None:  # noqa: F811
    for number in range(3):
        books.tell("bank-a", pair_key=key(number))
    said = await whole(connect, "reconciliation", 3)
    monkeypatch.setattr(reconciliation_rows, "CHANGES_KEPT", 0)
    talk = await connect()
    error = await talk.refused("reconciliation", from_cursor=said[0][1])
    assert error["data"]["reason"] == "pruned"
