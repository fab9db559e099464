"""What the log does not say of a block: each part is held against the header that commits to it."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from ledger.block_parts import BlockParts, all_applied, make_parts, verify_parts
from ledger.outcomes import Outcome
from primitives.block import BlockHeader
from primitives.encoding import decode, encode
from primitives.errors import ProofError
from tests.rpc.conftest import MemoryNode, key_of


def node_with_a_rejection() -> MemoryNode:
    """Two batches in one block; an event of the second has expired when it is executed."""
    node = MemoryNode()
    late = node.event(7, expires_ms=node.now + 100)
    first = node.batch([node.event(number) for number in range(3)])
    node.member = "bank-b"
    second = node.batch([late.replace(b"\xa6bank-a", b"\xa6bank-b"), node.event(8)])
    node.commit(first, second)
    return node


def parts_of(node: MemoryNode) -> tuple[BlockParts, BlockHeader, list[bytes]]:
    header = node.reader.header(1)
    assert header is not None
    ids = [bytes(view.id) for view in node.reader.block_events(1)]
    return make_parts(node.reader, 1), header, ids


def test_parts_name_the_batches_in_their_order_and_what_was_not_applied() -> None:
    parts, header, ids = parts_of(node_with_a_rejection())
    verify_parts(parts, header, ids)
    assert [(batch.member, batch.source, batch.number, batch.count) for batch in parts.batches] == [
        ("bank-a", key_of("bank-a", "source").public, 0, 3),
        ("bank-b", key_of("bank-b", "source").public, 0, 2),
    ]
    assert [(index, outcome.rule) for index, outcome in parts.rejected] == [(3, "expired")]
    assert not all_applied(header)
    assert decode(BlockParts, encode(parts), size_max=1 << 20) == parts


def test_a_header_alone_proves_that_all_events_were_applied() -> None:
    node = MemoryNode()
    node.commit_events(40)
    header = node.reader.header(1)
    assert header is not None
    assert all_applied(header)
    assert not all_applied(replace(header, event_count=39))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batches": lambda parts: parts.batches[::-1]}, "batches are not the block's"),
        ({"batches": lambda parts: parts.batches[:1]}, "batches are not the block's"),
        ({"rejected": lambda parts: ()}, "outcomes are not the block's"),
        ({"rejected": lambda parts: ((4, parts.rejected[0][1]),)}, "outcomes are not the block's"),
        ({"rejected": lambda parts: ((3, Outcome(1, "expired", "x")),)}, "outcomes are not the block's"),
        ({"rejected": lambda parts: ((5, parts.rejected[0][1]),)}, "outcome of no event"),
        ({"rejected": lambda parts: ((-1, parts.rejected[0][1]),)}, "outcome of no event"),
    ],
)
def test_parts_that_are_not_the_blocks_are_refused(change: dict[str, Any], message: str) -> None:
    parts, header, ids = parts_of(node_with_a_rejection())
    changed = replace(parts, **{name: make(parts) for name, make in change.items()})
    with pytest.raises(ProofError, match=message):
        verify_parts(changed, header, ids)


def test_events_that_are_not_those_of_the_batches_are_refused() -> None:
    parts, header, ids = parts_of(node_with_a_rejection())
    with pytest.raises(ProofError, match="another number of events"):
        verify_parts(parts, header, ids[:-1])
    with pytest.raises(ProofError, match="events are not the batch's"):
        verify_parts(parts, header, [ids[1], ids[0], *ids[2:]])
