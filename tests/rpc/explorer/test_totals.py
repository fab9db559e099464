"""What pages tell of end-of-day totals: how many stand how, and the event that states them."""

from __future__ import annotations

import pytest

from ledger.totals_bodies import Flow
from tests.ledger.totals_fixtures import Books, key, line, totals
from tests.rpc.conftest import MemoryNode


@pytest.fixture
def books() -> Books:
    return Books()


@pytest.fixture
def node(books: Books) -> MemoryNode:
    return books.node


async def test_the_page_of_payments_says_how_totals_stand_once_there_are_any(browse, books) -> None:
    books.tell("bank-a", pair_key=key(1))
    assert "End-of-day totals" not in (await browse("/payments")).text
    books.total("bank-a", totals("bank-b", line(Flow.SENT, [key(1)])))
    books.total("bank-a", totals("bank-c"))
    books.total("bank-c", totals("bank-a"))
    page = await browse("/payments")
    assert "End-of-day totals of two banks: 1 agree, 1 stated by one side, 0 differ." in page.text
    events = await browse("/block/2")
    assert "End-of-day totals" in events.text


async def test_the_event_s_page_shows_its_lines(browse, books) -> None:
    books.total("bank-a", totals("bank-b", line(Flow.SENT, [key(1)])))
    page = await browse(f"/event/{books.reader.event_id((1, 0)).hex()}")
    assert "bank-b" in page.text
    assert line(Flow.SENT, [key(1)]).payments_root.hex() in page.text
