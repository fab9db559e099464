"""What was added to the API for people who look around: searching, kept checkpoints, a member's events, filters."""

from __future__ import annotations

import itertools

import pytest

from ledger.id_prefixes import PREFIX_DIGITS_MIN
from ledger.index_reader import IndexReader
from ledger.packed_map import manifest_of
from tests.rpc.conftest import MemoryNode


def ids_of(node: MemoryNode) -> list[str]:
    heights = range(1, node.chain.height + 1)
    return sorted(view.id.hex() for height in heights for view in node.reader.block_events(height))


def found(node: MemoryNode, digits: str, count: int = 1_000) -> list[str]:
    return [event_id.hex() for event_id in IndexReader(node.reader, node.places).event_ids(digits, count)]


def beginnings(ids: list[str]) -> list[str]:
    drawn = ids[:: max(1, len(ids) // 40)]
    return [event_id[:digits] for event_id in drawn for digits in (PREFIX_DIGITS_MIN, 5, 8, 31, 32, 33, 63, 64)]


def assert_all_are_found(node: MemoryNode) -> None:
    ids = ids_of(node)
    for beginning in [*beginnings(ids), "0" * 64, "f" * 64, "00000", "fffff"]:
        assert found(node, beginning) == [event_id for event_id in ids if event_id.startswith(beginning)], beginning


def test_ids_are_found_by_any_beginning_in_the_newest_rows_and_in_runs(monkeypatch) -> None:
    monkeypatch.setattr("ledger.indexes.FRESH_BLOCKS", 3)
    node = MemoryNode()
    for first in range(0, 4_000, 400):
        node.commit_events(400, first=first)
    assert len(manifest_of(node.places.store, b"e").runs) > 1
    assert node.places.fresh[b"e"].count  # the newest are not in runs yet
    assert_all_are_found(node)


def test_ids_are_found_that_the_index_has_not_reached(monkeypatch) -> None:
    node = MemoryNode()
    node.commit_events(300)
    monkeypatch.setattr(node.index, "follow", lambda: None)
    node.commit_events(300, first=300)
    node.commit_events(1, first=600)
    assert_all_are_found(node)
    header = node.reader.header(2)
    assert header is not None
    assert found(node, header.hash().hex()) == []  # a header's leaf is no event


def test_ids_are_found_before_there_is_an_index(monkeypatch) -> None:
    node = MemoryNode()
    monkeypatch.setattr(node.index, "follow", lambda: None)
    node.commit_events(20)
    assert_all_are_found(node)


def test_no_more_ids_are_given_than_asked_for() -> None:
    node = MemoryNode()
    node.commit_events(1_000)
    ids = ids_of(node)
    often = next(first[:4] for first, second in itertools.pairwise(ids) if first[:4] == second[:4])
    assert len(found(node, often, 1)) == 1
    assert found(node, often, 1)[0].startswith(often)


async def test_a_members_events_come_newest_first_in_pages_that_meet(client, node) -> None:
    for first, count in ((0, 7), (10, 1), (20, 12)):
        node.commit_events(count, first=first)
    node.member = "bank-b"
    node.commit(node.batch([node.event(50)]))
    expected = [view.id.hex() for height in (3, 2, 1) for view in reversed(node.reader.block_events(height))]
    for limit in (1, 3, 7, 20, 100):
        seen, cursor = [], None
        for _ in range(40):
            page = await client.call("ledger_getMemberEvents", {"member": "bank-a", "limit": limit, "cursor": cursor})
            assert page["as_of"] == 4
            assert len(page["events"]) <= limit
            seen += [event["id"] for event in page["events"]]
            cursor = page["cursor"]
            if cursor is None:
                break
        assert seen == expected
    assert len((await client.call("ledger_getMemberEvents", {"member": "bank-b"}))["events"]) == 1
    assert (await client.call("ledger_getMemberEvents", {"member": "lab"}))["events"] == []
    error = await client.error("ledger_getMemberEvents", {"member": "nobody"})
    assert error["code"] == -32001
    page = await client.call("ledger_getMemberEvents", {"member": "bank-a", "limit": 1})
    error = await client.error("ledger_getMemberEvents", {"member": "bank-b", "cursor": page["cursor"]})
    assert "another member" in error["message"]


async def test_what_a_member_submitted_beside_others_is_its_own(client, node) -> None:
    mine = node.batch([node.event(1), node.event(2)])
    node.member = "bank-b"
    theirs = node.batch([node.event(3)])
    node.commit(theirs, mine)
    views = node.reader.block_events(1)
    for member in ("bank-a", "bank-b"):
        page = await client.call("ledger_getMemberEvents", {"member": member})
        assert [event["id"] for event in page["events"]] == [
            v.id.hex() for v in reversed(views) if v.event.member == member
        ]


async def test_kept_checkpoints_come_newest_first_in_pages_that_meet(client, node) -> None:
    for number in range(6):
        node.commit_events(1, first=number)
        node.checkpoint()
    sizes = [1 + 2 * number for number in range(6, 0, -1)]
    seen, cursor = [], None
    for _ in range(5):
        page = await client.call("ledger_getCheckpoints", {"limit": 4, "cursor": cursor})
        for item in page["checkpoints"]:
            one = await client.call("ledger_getCheckpoint", {"size": item["size"]})
            assert (one["root"], one["note"]) == (item["root"], item["note"])
            assert item["height"] == (item["size"] - 1) // 2
        seen += [item["size"] for item in page["checkpoints"]]
        cursor = page["cursor"]
        if cursor is None:
            break
    assert seen == sizes


@pytest.mark.parametrize("query", ["", "x" * 201])
async def test_a_search_has_a_query_of_a_bounded_length(client, query: str) -> None:
    assert (await client.error("audit_search", {"query": query}))["code"] == -32602


async def test_a_search_names_what_it_found_and_how(client, node) -> None:
    (event_id,) = node.commit_events(1)
    answer = await client.call("audit_search", [f" {event_id.hex()} "])
    assert answer["hits"] == [{"kind": "event", "name": event_id.hex(), "by": "id"}]
    assert (answer["more"], answer["as_of"], answer["query"]) == (False, 1, event_id.hex())
    answer = await client.call("audit_search", ["1"])
    assert [hit["kind"] for hit in answer["hits"]] == ["block"]
