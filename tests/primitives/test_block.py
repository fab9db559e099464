"""Blocks: a header's hash is its leaf in the log and covers every field; bytes that are no block are refused."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from primitives.block import Block, BlockHeader, CommittedBlock, batches_root
from primitives.encoding import decode, encode
from primitives.errors import EncodingError
from primitives.hashing import domain_hash, leaf_hash, node_hash
from primitives.ids import Epoch, Hash, Height, TimeMs, View
from primitives.merkle import CompactRange, inclusion_path, verify_inclusion
from primitives.votes import COMMIT, QuorumCertificate


def named(name: str) -> Hash:
    return domain_hash("test", name.encode())


HEADER = BlockHeader(
    suite=1,
    version=1,
    chain_id=named("chain"),
    height=Height(7),
    epoch=Epoch(2),
    parent=named("parent"),
    time_ms=TimeMs(1_700_000_000_000),
    proposer=3,
    batches_root=batches_root((named("batch"),)),
    first_index=40,
    event_count=2,
    outcomes_root=named("outcomes"),
    log_root=named("log"),
    state_root=named("state"),
    batch_logs_root=named("batch logs"),
    next_validators=named("validators"),
)
BLOCK = Block(HEADER, (named("batch"),))
CERTIFICATE = QuorumCertificate(COMMIT, Epoch(2), View(0), Height(7), HEADER.hash(), ((0, bytes(64)),))


def test_block_hash_is_the_leaf_hash_that_the_log_holds() -> None:
    assert HEADER.leaf() == b"\0" + encode(HEADER)
    assert HEADER.hash() == leaf_hash(HEADER.leaf())
    leaves = [named("event 0"), named("event 1"), HEADER.hash()]
    log = CompactRange().extend(leaves)
    verify_inclusion(log.root(), 3, 2, HEADER.hash(), inclusion_path(leaves, 2))


@pytest.mark.parametrize("field", [field.name for field in msgspec.structs.fields(BlockHeader)])
def test_hash_covers_every_field_of_the_header(field: str) -> None:
    value: Any = getattr(HEADER, field)
    other = msgspec.structs.replace(HEADER, **{field: named("other") if isinstance(value, bytes) else value + 1})
    assert other.hash() != HEADER.hash()


def test_hash_of_the_batch_list_covers_order_and_number() -> None:
    one, two = named("one"), named("two")
    lists: list[tuple[Hash, ...]] = [(), (one,), (two,), (one, two), (two, one), (one, one)]
    assert len({batches_root(hashes) for hashes in lists}) == len(lists)


def test_root_of_two_batches_is_not_that_of_a_list_of_one() -> None:
    one, two = named("one"), named("two")
    for inner in (node_hash(one, two), node_hash(leaf_hash(one), leaf_hash(two))):
        assert batches_root((one, two)) != batches_root((inner,))


@pytest.mark.parametrize("certificate", [None, CERTIFICATE])
def test_committed_block_comes_back_from_its_bytes(certificate: QuorumCertificate | None) -> None:
    committed = CommittedBlock(BLOCK, certificate)
    assert decode(CommittedBlock, encode(committed), size_max=4096) == committed


def test_header_with_a_hash_of_wrong_length_is_refused() -> None:
    for field in msgspec.structs.fields(BlockHeader):
        if isinstance(getattr(HEADER, field.name), bytes):
            for bad in (b"", bytes(31), bytes(33)):
                data = encode(msgspec.structs.replace(HEADER, **{field.name: bad}))
                with pytest.raises(EncodingError, match="of length"):
                    decode(BlockHeader, data, size_max=4096)


def test_header_cut_anywhere_is_refused() -> None:
    data = encode(HEADER)
    for length in range(len(data)):
        with pytest.raises(EncodingError):
            decode(BlockHeader, data[:length], size_max=4096)
