"""Damaged and forged snapshots: whatever byte, row, chunk or signature is not the chain's is refused, with its place.

Damage keeps the manifest's digests as they were; a forger makes them anew, so that only the roots and signatures count.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from ledger.genesis import Genesis
from ledger.snapshots import (
    HEAD_BYTES,
    LogPart,
    Manifest,
    MemberPart,
    Section,
    SnapshotChunk,
    SnapshotRefused,
    StateRow,
    file_head,
    pack_chunk,
    parse_head,
    parse_manifest,
    snapshot_id,
    unpack_chunk,
)
from ledger.store import MemoryStore
from primitives.block import CommittedBlock
from primitives.encoding import decode, encode
from primitives.ids import Epoch, Hash, Height
from primitives.votes import QuorumCertificate
from tests.ledger.governance_fixtures import Council, genesis_of
from tests.ledger.snapshot_fixtures import Snapshot, made, make_stable, note_of, restored

Parts = dict[Section, list[bytes]]
SIZE_MAX = 1 << 24


@pytest.fixture(scope="module")
def council() -> Council:
    """A consortium in its second epoch, with a checkpoint of its newest block."""
    council = Council()
    council.rekey(1, 1)
    council.vote(council.propose(council.rekeying(2, 1)), 0, 1)
    make_stable(council.store, council.genesis, council.set)
    return council


@pytest.fixture(scope="module")
def snapshot(council: Council) -> Snapshot:
    return made(council.store, council.genesis)


@pytest.fixture(scope="module")
def file(snapshot: Snapshot) -> bytes:
    """The snapshot as one file."""
    manifest = encode(snapshot.manifest)
    return file_head(manifest) + manifest + b"".join(snapshot.chunks)


def from_file(data: bytes, genesis: Genesis) -> MemoryStore:
    """Return the store of a snapshot's file, read as a node reads it. Raises SnapshotRefused."""
    size, name = parse_head(data[:HEAD_BYTES])
    end = HEAD_BYTES + size
    manifest = parse_manifest(data[HEAD_BYTES:end], name)
    chunks = []
    for entry in manifest.chunks:
        chunks.append(data[end : end + entry.size])
        end += entry.size
    if end < len(data):
        chunks.append(data[end:])
    return restored(Snapshot(manifest, ()), genesis, chunks)


def parts_of(snapshot: Snapshot) -> Parts:
    """Return the items of a snapshot by section."""
    parts: Parts = {section: [] for section in Section}
    for entry, data in zip(snapshot.manifest.chunks, snapshot.chunks, strict=True):
        chunk = unpack_chunk(entry, data)
        parts[chunk.section] += chunk.items
    return parts


def forged(snapshot: Snapshot, parts: Parts, **fields: object) -> Snapshot:
    """Return a snapshot of these items whose manifest has their digests and counts, and other fields as given."""
    packed = [pack_chunk(section, items) for section, items in parts.items() if items]
    counts = {"blocks": Section.BLOCKS, "members": Section.MEMBERS, "state_rows": Section.STATE}
    counted = {name: len(parts[section]) for name, section in counts.items()}
    manifest = replace(snapshot.manifest, chunks=tuple(entry for entry, _ in packed), **{**counted, **fields})
    return Snapshot(manifest, tuple(data for _, data in packed))


def test_the_file_reads_back_and_forging_nothing_changes_nothing(
    council: Council, snapshot: Snapshot, file: bytes
) -> None:
    expected = restored(snapshot, council.genesis).rows()
    assert from_file(file, council.genesis).rows() == expected
    assert restored(forged(snapshot, parts_of(snapshot)), council.genesis).rows() == expected


def test_every_changed_cut_or_moved_byte_of_a_file_is_refused(council: Council, file: bytes) -> None:
    """600 damages, drawn by a seed: flips, bytes set, spans swapped, left out or doubled, the end cut or padded."""
    draw = random.Random(7)
    places = set()
    for number in range(600):
        data, at = bytearray(file), draw.randrange(len(file))
        match number % 6:
            case 0 | 1:
                data[at] ^= 1 << draw.randrange(8)
            case 2:
                data[at] = (data[at] + draw.randrange(1, 256)) % 256
            case 3:
                del data[at : at + draw.randrange(1, 64)]
            case 4:
                data[at:at] = data[at : at + draw.randrange(1, 64)] or b"\0"
            case _:
                data = data[: max(0, at)] if draw.random() < 0.5 else data + bytes(draw.randrange(1, 64))
        if bytes(data) == file:
            continue
        with pytest.raises(SnapshotRefused) as refused:
            from_file(bytes(data), council.genesis)
        assert refused.value.where
        places.add(refused.value.where.partition(" ")[0])
    assert places >= {"head", "manifest", "chunk"}


def state_rows(parts: Parts) -> list[StateRow]:
    return [decode(StateRow, item, size_max=SIZE_MAX) for item in parts[Section.STATE]]


def test_a_forged_row_of_the_state_is_found_wherever_it_stands(council: Council, snapshot: Snapshot) -> None:
    """Each row in turn: its value changed, left out, doubled, swapped with the next, moved to the end."""
    rows, tried = parts_of(snapshot)[Section.STATE], 0
    for index in range(len(rows)):
        row = decode(StateRow, rows[index], size_max=SIZE_MAX)
        others = [
            [
                *rows[:index],
                encode(replace(row, value=row.value[:-1] + bytes([row.value[-1] ^ 1]))),
                *rows[index + 1 :],
            ],
            [*rows[:index], *rows[index + 1 :]],
            [*rows[: index + 1], *rows[index:]],
            [*rows[:index], encode(replace(row, key=row.key + b"x")), *rows[index + 1 :]],
        ]
        if index + 1 < len(rows):
            others.append([*rows[:index], rows[index + 1], rows[index], *rows[index + 2 :]])
        for other in others:
            tried += 1
            with pytest.raises(SnapshotRefused):
                restored(forged(snapshot, {**parts_of(snapshot), Section.STATE: other}), council.genesis)
    assert tried > 200


def test_a_row_that_is_derived_cannot_be_smuggled_into_the_state(council: Council, snapshot: Snapshot) -> None:
    parts = parts_of(snapshot)
    extra = StateRow(b"\0block/" + bytes(8), b"\x91\xc4\x20" + bytes(32))
    for at in range(len(parts[Section.STATE]) + 1):
        rows = [*parts[Section.STATE][:at], encode(extra), *parts[Section.STATE][at:]]
        with pytest.raises(SnapshotRefused):
            restored(forged(snapshot, {**parts, Section.STATE: rows}), council.genesis)


def flipped(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1]) if data else b"\1"


def with_log(change: Callable[[LogPart], LogPart]) -> Callable[[Parts], Parts]:
    def of(parts: Parts) -> Parts:
        return {**parts, Section.LOG: [encode(change(decode(LogPart, parts[Section.LOG][0], size_max=SIZE_MAX)))]}

    return of


def with_member(change: Callable[[MemberPart], MemberPart]) -> Callable[[Parts], Parts]:
    def of(parts: Parts) -> Parts:
        first, *others = parts[Section.MEMBERS]
        return {
            **parts,
            Section.MEMBERS: [encode(change(decode(MemberPart, first, size_max=SIZE_MAX))), *others],
        }

    return of


def with_block(index: int, change: Callable[[CommittedBlock], CommittedBlock]) -> Callable[[Parts], Parts]:
    def of(parts: Parts) -> Parts:
        items = list(parts[Section.BLOCKS])
        items[index] = encode(change(decode(CommittedBlock, items[index], size_max=SIZE_MAX)))
        return {**parts, Section.BLOCKS: items}

    return of


def without(section: Section, index: int) -> Callable[[Parts], Parts]:
    return lambda parts: {
        **parts,
        section: [item for place, item in enumerate(parts[section]) if place != index % len(parts[section])],
    }


def swapped(section: Section) -> Callable[[Parts], Parts]:
    return lambda parts: {**parts, section: [parts[section][1], parts[section][0], *parts[section][2:]]}


def fewer_signers(committed: CommittedBlock) -> CommittedBlock:
    assert committed.certificate is not None
    certificate = replace(committed.certificate, signatures=committed.certificate.signatures[:2])
    return replace(committed, certificate=certificate)


FORGERIES: dict[str, tuple[Callable[[Parts], Parts], str]] = {
    "a hash of the log's edge": (
        with_log(lambda part: LogPart((flipped(part.tails[0]), *part.tails[1:]))),
        "root of the log",
    ),
    "a hash too few in the log's edge": (
        with_log(lambda part: LogPart((part.tails[0][32:], *part.tails[1:]))),
        "right edge",
    ),
    "a level too many in the log's edge": (with_log(lambda part: LogPart((*part.tails, b""))), "right edge"),
    "no log": (lambda parts: {**parts, Section.LOG: []}, "right edge"),
    "two logs": (lambda parts: {**parts, Section.LOG: parts[Section.LOG] * 2}, "second right edge"),
    "another member": (with_member(lambda part: replace(part, member="bank-00")), "root of the batch logs"),
    "another number of batches": (with_member(lambda part: replace(part, size=part.size ^ 256)), "right edge"),
    "another next number of a source": (
        with_member(
            lambda part: replace(part, sources=(replace(part.sources[0], next_number=part.sources[0].next_number + 1),))
        ),
        "root of the batch logs",
    ),
    "another last batch of a source": (
        with_member(lambda part: replace(part, sources=(replace(part.sources[0], previous=Hash(bytes(32))),))),
        "root of the batch logs",
    ),
    "a hash of a member's edge": (
        with_member(lambda part: replace(part, tails=(flipped(part.tails[0]),))),
        "root of the batch logs",
    ),
    "a member left out": (without(Section.MEMBERS, 1), "root of the batch logs"),
    "members swapped": (swapped(Section.MEMBERS), "members out of order"),
    "a member twice": (
        lambda parts: {**parts, Section.MEMBERS: [parts[Section.MEMBERS][0], *parts[Section.MEMBERS]]},
        "members out of order",
    ),
    "the oldest block left out": (without(Section.BLOCKS, 0), "block of another place"),
    "a block in the middle left out": (without(Section.BLOCKS, 3), "block of another place"),
    "the newest block left out": (without(Section.BLOCKS, -1), "newest block missing"),
    "blocks swapped": (swapped(Section.BLOCKS), "block of another place"),
    "an older block with other batches": (
        with_block(2, lambda c: replace(c, block=replace(c.block, batch_hashes=(Hash(bytes(32)),)))),
        "batches of a block",
    ),
    "an older block with a certificate of too few": (with_block(2, fewer_signers), "too few signers"),
    "an older block without a certificate": (
        with_block(2, lambda c: replace(c, certificate=None)),
        "certificate of another block, or none",
    ),
    "an older block that is another": (
        with_block(2, lambda c: replace(c, block=replace(c.block, header=replace(c.block.header, time_ms=1)))),
        "certificate of another block",
    ),
    "no state": (lambda parts: {**parts, Section.STATE: []}, "root of the state"),
    "the state before the members": (
        lambda parts: {
            section: parts[section] for section in (Section.LOG, Section.BLOCKS, Section.STATE, Section.MEMBERS)
        },
        "sections out of order",
    ),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_part_is_refused_for_what_it_is(name: str, council: Council, snapshot: Snapshot) -> None:
    forge, complaint = FORGERIES[name]
    with pytest.raises(SnapshotRefused, match=complaint) as refused:
        restored(forged(snapshot, forge(parts_of(snapshot))), council.genesis)
    assert refused.value.where


def other_certificate(certificate: QuorumCertificate, **fields: object) -> QuorumCertificate:
    return replace(certificate, **fields)


def test_a_forged_manifest_is_refused(council: Council, snapshot: Snapshot) -> None:
    manifest, tip = snapshot.manifest, council.chain
    note = manifest.checkpoint
    cosigned = [line for line in note.split("\n") if line.startswith("— ")]
    forgeries: list[tuple[dict[str, object], str]] = [
        ({"chain_id": Hash(bytes(32))}, "names another block"),
        ({"height": Height(manifest.height - 1)}, "names another block"),
        ({"header": replace(manifest.header, state_root=Hash(bytes(32)))}, "certificate of another block"),
        ({"header": replace(manifest.header, version=9)}, "rules version"),
        ({"certificate": other_certificate(manifest.certificate, signatures=())}, "too few signers"),
        ({"certificate": other_certificate(manifest.certificate, phase=1)}, "phase"),
        ({"certificate": other_certificate(manifest.certificate, epoch=Epoch(0))}, "epoch"),
        ({"handovers": ()}, "do not lead"),
        ({"handovers": manifest.handovers * 2}, "handover|epoch"),
        ({"checkpoint": note.replace(cosigned[1] + "\n", "")}, "too few cosignatures"),
        ({"checkpoint": note_of(council.genesis, council.set, tip.log_size, Hash(bytes(32)))}, "another log"),
        ({"checkpoint": note_of(council.genesis, council.set, tip.log_size - 1, tip.log_root)}, "another log"),
        ({"checkpoint": ""}, "note|checkpoint"),
        ({"blocks": manifest.blocks + 1}, "counts"),
        ({"members": manifest.members - 1}, "counts"),
        ({"state_rows": manifest.state_rows + 1}, "counts"),
    ]
    for fields, complaint in forgeries:
        with pytest.raises(SnapshotRefused, match=complaint):
            restored(forged(snapshot, parts_of(snapshot), **fields), council.genesis)


def test_a_snapshot_of_another_chain_is_refused(snapshot: Snapshot) -> None:
    with pytest.raises(SnapshotRefused, match="another chain"):
        restored(snapshot, replace(genesis_of(5, 4), chain="another"))


def test_a_block_that_an_old_epoch_committed_is_refused(council: Council, snapshot: Snapshot) -> None:
    """An old set's keys say nothing of a block of a later epoch: they may have got into one hand since."""
    handover = snapshot.manifest.handovers[0]
    parts = parts_of(snapshot)
    fields = {"handovers": (), "header": handover.header, "height": handover.header.height}
    with pytest.raises(SnapshotRefused):
        restored(forged(snapshot, parts, **fields, certificate=handover.certificate), council.genesis)


def test_swapped_chunks_are_refused(council: Council, snapshot: Snapshot) -> None:
    first, second, *others = snapshot.chunks
    with pytest.raises(SnapshotRefused, match="chunk 0"):
        restored(snapshot, council.genesis, [second, first, *others])
    with pytest.raises(SnapshotRefused, match="chunks missing"):
        restored(snapshot, council.genesis, snapshot.chunks[:-1])
    with pytest.raises(SnapshotRefused, match="more chunks"):
        restored(snapshot, council.genesis, [*snapshot.chunks, b""])
    entries = snapshot.manifest.chunks
    swapped_manifest = replace(snapshot.manifest, chunks=(*entries[:-2], entries[-1], entries[-2]))
    chunks = (*snapshot.chunks[:-2], snapshot.chunks[-1], snapshot.chunks[-2])
    with pytest.raises(SnapshotRefused, match="out of order"):
        restored(Snapshot(swapped_manifest, chunks), council.genesis)


def test_a_chunk_inflates_to_no_more_than_its_entry_says() -> None:
    bomb = zlib.compress(bytes(1 << 26))
    entry, data = pack_chunk(Section.STATE, [b"x"])
    from hashlib import sha256

    lying = replace(entry, size=len(bomb), digest=sha256(bomb).digest())
    with pytest.raises(SnapshotRefused, match="another length"):
        unpack_chunk(lying, bomb)
    tail = data + b"tail"
    with pytest.raises(SnapshotRefused, match="another length"):
        unpack_chunk(replace(entry, size=len(tail), digest=sha256(tail).digest()), tail)
    assert unpack_chunk(entry, data) == SnapshotChunk(Section.STATE, (b"x",))


def test_nothing_of_a_refused_snapshot_makes_a_chain(council: Council, snapshot: Snapshot) -> None:
    """The tip comes with the last rows: what was written before is no chain, however far it got."""
    from ledger import rows
    from ledger.snapshots_restoring import Restoring

    restoring, store = Restoring(council.genesis, snapshot.manifest), MemoryStore()
    for chunk in snapshot.chunks:
        for puts in restoring.take(chunk):
            store.write(puts, sync=False)
    assert store.get(rows.TIP_KEY) is None
    assert isinstance(snapshot.manifest, Manifest)


def test_a_chunk_of_the_right_length_is_known_by_its_digest() -> None:
    """Damage is told as such, before anything is inflated or decoded."""
    entry, data = pack_chunk(Section.STATE, [b"x" * 100])
    other = pack_chunk(Section.STATE, [b"y" * 100])[1]
    assert len(other) == len(data)
    with pytest.raises(SnapshotRefused, match="chunk is another"):
        unpack_chunk(entry, other)


def test_rows_of_the_state_out_of_order_are_refused_where_they_stand(council: Council, snapshot: Snapshot) -> None:
    parts = swapped(Section.STATE)(parts_of(snapshot))
    with pytest.raises(SnapshotRefused, match="row of the state out of order") as refused:
        restored(forged(snapshot, parts), council.genesis)
    assert refused.value.where is not None
    assert refused.value.where.endswith("item 1")


def test_a_chunk_that_is_said_to_be_larger_than_any_is_refused_before_it_is_read(snapshot: Snapshot) -> None:
    entry = replace(snapshot.manifest.chunks[0], size=1 << 40)
    data = encode(replace(snapshot.manifest, chunks=(entry,)))
    with pytest.raises(SnapshotRefused, match="manifest"):
        parse_manifest(data, snapshot_id(data))
