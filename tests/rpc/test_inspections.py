"""Draws as a node lists them: page by page, without reading all that there are."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from ledger.committed_state import CommittedState
from ledger.inspection_records import Phase, inspection_key, read_inspection
from ledger.rows import state_row_key
from primitives.encoding import encode
from tests.rpc.rich_fixtures import Asked, RichNode, services_of

DRAWN = [f"cb.{number:04d}" for number in range(1, 5)]
"""The draws of the fixtures' node."""
VOID = [f"lab.{number:04d}" for number in range(9)]
IDS = [*DRAWN, *VOID, "zz.1"]


@pytest.fixture(scope="module")
def asked() -> Iterator[Asked]:
    """Ask a node with fourteen draws, of which the first four and the last are drawn."""
    node = RichNode()
    services = services_of(node)
    pattern = read_inspection(CommittedState(services.reads.store), DRAWN[0])
    assert pattern is not None
    void = replace(pattern, phase=Phase.VOID, selection=())
    rows = [replace(void, id=name) for name in VOID] + [replace(pattern, id=IDS[-1])]
    node.store.write([(state_row_key(inspection_key(row.id).encode()), encode(row)) for row in rows], sync=True)
    with asyncio.Runner() as runner:
        yield Asked(services, runner)


def pages(asked: Asked, **params: Any) -> list[list[str]]:
    """Return the ids of all pages."""
    found: list[list[str]] = []
    while not found or params.get("cursor") is not None:
        answer = asked.call("cert_inspections", params)
        found.append([item["id"] for item in answer["inspections"]])
        params["cursor"] = answer["cursor"]
    return found


@pytest.mark.parametrize("limit", [1, 4, 13, 14, 100])
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_pages_together_are_all_draws_in_order(asked: Asked, limit: int, order: str) -> None:
    found = pages(asked, limit=limit, order=order)
    assert [name for page in found for name in page] == (IDS if order == "asc" else IDS[::-1])
    assert [len(page) for page in found[:-1]] == [limit] * (len(found) - 1)
    assert found[-1], "no page comes that is empty"


def test_a_page_looks_at_so_many_draws_and_goes_on_from_the_last(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rpc.methods.inspections.LOOKED_THROUGH_MAX", 4)
    read = list[str]()
    monkeypatch.setattr(
        "rpc.methods.inspections.read_inspection", lambda state, name: read.append(name) or read_inspection(state, name)
    )
    assert pages(asked, limit=3, phase="drawn") == [DRAWN[:3], DRAWN[3:], [], ["zz.1"]]
    assert read == IDS, "each once"
    assert pages(asked, limit=3, phase="drawn", order="desc") == [["zz.1"], [], DRAWN[:1:-1], DRAWN[1::-1]]
