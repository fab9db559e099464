"""fsck of a chain: a good store passes, whatever row is damaged is found, and the first bad block is named."""

from collections.abc import Callable

import pytest

from ledger import rows
from ledger.batches import Batch
from ledger.checkpoint_rows import checkpoint_rows
from ledger.evidence_bodies import EVIDENCE_VOTES, SignedVote, VotesEvidence, accused_bytes
from ledger.fsck import COUNTED, Damaged, Shadow, verify_all
from ledger.fsck_positions import EntrySum, check_positions
from ledger.index_places import EVENTS, PACKED_KEY, Index, Reached
from ledger.indexes import IndexFollower
from ledger.packed_map import FENCES, all_entries, row_key, run_prefix
from ledger.packed_merging import PackedMap
from ledger.reader import LedgerReader
from ledger.store import MemoryStore
from primitives.block import CommittedBlock
from primitives.encoding import decode, encode
from primitives.errors import StorageError
from primitives.ids import Hash, Height, View
from primitives.notes import COSIGNATURE_V1, Checkpoint, NoteKey, assemble_note, cosign, sign_note
from primitives.votes import QuorumCertificate
from tests.ledger.chain_fixtures import KINDS, Ledger, key_of

Rows = dict[bytes, bytes]
SECRET = bytes(range(32))


@pytest.fixture(scope="module")
def good() -> tuple[Ledger, Rows]:
    """A ledger of four blocks with a checkpoint and a batch that waits, and its rows."""
    ledger = Ledger(MemoryStore())
    a, b = ledger.banks["bank-a"], ledger.banks["bank-b"]
    for i in range(4):
        ledger.extend(a.notes(120), b.sets(**{f"k{i}": "v", f"k{i - 1}": ""}))
    text = Checkpoint(ledger.genesis.origin, ledger.chain.log_size, ledger.chain.log_root).text()
    note = assemble_note(text, [sign_note(text, ledger.genesis.origin, key_of("bank-a", "log"))])
    ledger.store.write(checkpoint_rows(ledger.store, note), sync=True)
    ledger.add(b.notes(1))
    assert isinstance(ledger.store, MemoryStore)
    return ledger, ledger.store.rows()


def changed(all_rows: Rows, key: bytes, value: bytes | None) -> MemoryStore:
    store = MemoryStore()
    store.write(all_rows.items(), sync=True)
    store.write([(key, value)], sync=True)
    return store


def damage_of(store: MemoryStore, ledger: Ledger) -> Damaged | None:
    """Return what fsck finds."""
    try:
        for _ in verify_all(store, ledger.genesis, KINDS):
            pass
    except Damaged as found:
        return found
    return None


def finding(block_hash: bytes = b"\x02" * 32) -> tuple[bytes, bytes]:
    """Return the row of two votes, by default for different blocks."""
    pair = (SignedVote(bytes([1]) * 32, bytes(64)), SignedVote(block_hash, bytes(64)))
    body = VotesEvidence(0, 0, 7, 1, 2, *pair)
    return rows.finding_key(EVIDENCE_VOTES, accused_bytes(body)), encode(body)


def test_evidence_that_waits_for_the_chain_is_held_to_its_form(good: tuple[Ledger, Rows]) -> None:
    ledger, all_rows = good
    key, value = finding()
    assert damage_of(changed(all_rows, key, value), ledger) is None
    for other_key, other, complaint in (
        (b"e\x07" + key[2:], value, "unknown kind"),
        (b"e", value, "unknown kind"),
        (key[:-1] + b"\x03", value, "another key than its own"),
        (key, value[:-1], "row of the store damaged"),
        (key, finding(b"\x01" * 32)[1], "no evidence"),
    ):
        found = damage_of(changed(all_rows, other_key, other), ledger)
        assert found is not None
        assert complaint in str(found)


@pytest.mark.parametrize("row", [b"\x90", b"\x91\x90", b"\x00", b"\xc0", b""])
def test_a_batch_that_is_no_batch_is_named_with_its_block(good: tuple[Ledger, Rows], row: bytes) -> None:
    """Fuzzing found one: an empty list ended fsck with an IndexError."""
    ledger, all_rows = good
    committed = decode(CommittedBlock, all_rows[rows.block_key(2)], size_max=1 << 16)
    found = damage_of(changed(all_rows, rows.batch_key(committed.block.batch_hashes[0]), row), ledger)
    assert found is not None
    assert found.height == 2
    assert "empty store and catch up" in str(found)


def test_good_store_passes_block_by_block(good: tuple[Ledger, Rows]) -> None:
    ledger, _ = good
    progress = list(verify_all(ledger.store, ledger.genesis, KINDS))
    assert [(item.height, item.height_max) for item in progress] == [(height, 4) for height in range(5)]
    assert sum(item.event_count for item in progress) == ledger.chain.log_size - 5
    assert [item.batch_count for item in progress] == [0, 2, 2, 2, 2]
    assert {item.validators for item in progress} == {ledger.chain.validators_after(ledger.chain.tip_hash)}


DAMAGES: dict[str, Callable[[bytes], bytes | None]] = {
    "last byte flipped": lambda value: value[:-1] + bytes([value[-1] ^ 1]) if value else b"\x01",
    "row gone": lambda _: None,
    "row cut": lambda value: value[:-1] if value else None,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_of_any_row_is_found(damage: str, good: tuple[Ledger, Rows]) -> None:
    ledger, all_rows = good
    kinds, missed = set(), []
    for number, (key, value) in enumerate(sorted(all_rows.items())):
        # Nodes are many and alike: a sample of them is enough.
        if key[:1] == b"n" and number % 41:
            continue
        # What a checkpoint's signatures must be is the policy's affair, and one that is gone is no damage.
        if key[:1] == b"c" and damage != "row cut":
            continue
        kinds.add(key[:1])
        if damage_of(changed(all_rows, key, DAMAGES[damage](value)), ledger) is None:
            missed.append(key)
    assert missed == []
    assert kinds >= {b"b", b"x", b"h", b"B", b"W", b"t", b"q", b"s", b"n", b"M", b"L", b"m"}


@pytest.mark.parametrize("height", [1, 3])
@pytest.mark.parametrize("damage", DAMAGES)
def test_first_bad_block_is_named(damage: str, height: int, good: tuple[Ledger, Rows]) -> None:
    ledger, all_rows = good
    key = rows.block_key(height)
    store = changed(all_rows, key, DAMAGES[damage](all_rows[key]))
    passed = []
    with pytest.raises(Damaged) as found:
        passed += [item.height for item in verify_all(store, ledger.genesis, KINDS)]
    assert found.value.height == height
    assert f"block {height}" in str(found.value)


CERTIFICATES: dict[str, Callable[[QuorumCertificate], QuorumCertificate | None]] = {
    "none": lambda _: None,
    "too few signers": lambda c: QuorumCertificate(c.phase, c.epoch, c.view, c.height, c.block_hash, c.signatures[:2]),
    "of another view": lambda c: QuorumCertificate(c.phase, c.epoch, View(1), c.height, c.block_hash, c.signatures),
    "of prepares": lambda c: QuorumCertificate(1, c.epoch, c.view, c.height, c.block_hash, c.signatures),
}


@pytest.mark.parametrize("damage", CERTIFICATES)
def test_block_that_no_quorum_committed_is_found(damage: str, good: tuple[Ledger, Rows]) -> None:
    ledger, all_rows = good
    key = rows.block_key(2)
    block = decode(CommittedBlock, all_rows[key], size_max=1 << 20)
    assert block.certificate is not None
    forged = encode(CommittedBlock(block.block, CERTIFICATES[damage](block.certificate)))
    found = damage_of(changed(all_rows, key, forged), ledger)
    assert found is not None
    assert found.height == 2


def test_certificate_of_another_block_is_found(good: tuple[Ledger, Rows]) -> None:
    ledger, all_rows = good
    block, other = (decode(CommittedBlock, all_rows[rows.block_key(h)], size_max=1 << 20) for h in (2, 3))
    forged = encode(CommittedBlock(block.block, other.certificate))
    found = damage_of(changed(all_rows, rows.block_key(2), forged), ledger)
    assert found is not None
    assert "certificate of another block" in str(found)


STRAY = {
    "state": (rows.state_row_key(b"value/forged"), "is one too many"),
    "member": (rows.member_log_key("nobody"), "is one too many"),
    "piece of a tile": (b"q" + bytes(12), "is one too many"),
    "block": (rows.block_key(9), "number of rows of kind b"),
    "block hash": (rows.block_hash_key(bytes(32)), "number of rows of kind h"),
    "execution": (rows.execution_key(9), "number of rows of kind x"),
    "position, as older stores have": (b"p" + bytes(16) + rows.position_bytes(1, 0), "of no known kind"),
    "tile": (rows.tile_key(b"", 0, 99), "number of rows of kind t"),
    "leaf of a batch log": (rows.batch_leaf_key("bank-a", 99), "number of rows of kind L"),
    "batch": (rows.batch_key(bytes(32)), "number of rows of kind B"),
    "waiting mark": (rows.waiting_key(bytes(32)), "waiting batch missing"),
}


@pytest.mark.parametrize("name", STRAY)
def test_row_that_nothing_wrote_is_found(name: str, good: tuple[Ledger, Rows]) -> None:
    ledger, all_rows = good
    key, problem = STRAY[name]
    found = damage_of(changed(all_rows, key, b"x"), ledger)
    assert found is not None
    assert problem in str(found)
    assert found.height is None


def test_ordered_batch_that_is_marked_as_waiting_is_found(good: tuple[Ledger, Rows]) -> None:
    """Such a mark would let the node drop a batch that a block refers to."""
    ledger, all_rows = good
    mark = next(key for key in all_rows if key[:1] == b"W")
    ordered = next(key for key in all_rows if key[:1] == b"B" and key[1:] != mark[1:])
    assert damage_of(changed(all_rows, rows.waiting_key(ordered[1:]), all_rows[mark]), ledger) is not None


def test_store_without_rows_is_no_problem(good: tuple[Ledger, Rows]) -> None:
    store = MemoryStore()
    assert list(verify_all(store, good[0].genesis, KINDS)) == []
    store.write([(rows.FORMAT_KEY, rows.FORMAT_VERSION)], sync=True)
    assert list(verify_all(store, good[0].genesis, KINDS)) == []


def test_store_is_only_read(good: tuple[Ledger, Rows]) -> None:
    ledger, all_rows = good
    store = ledger.store
    assert isinstance(store, MemoryStore)
    assert damage_of(store, ledger) is None
    assert store.rows() == all_rows
    real = MemoryStore()
    Shadow(real).write([(rows.TIP_KEY, b"x")], sync=True)
    assert real.rows() == {}
    assert set(COUNTED) - {b"E"} <= {key[:1] for key in all_rows}, "E is that of stores from a snapshot alone"


def with_signature(raw: bytes, signature: bytes) -> bytes:
    """Return a batch under another signature: its hash, which is its header's, stays."""
    batch = decode(Batch, raw, size_max=1 << 20)
    return encode(Batch(batch.header, signature, batch.events))


def test_batch_that_its_source_did_not_sign_is_found_ordered_or_waiting(good: tuple[Ledger, Rows]) -> None:
    ledger, all_rows = good
    waiting = next(key[1:] for key in all_rows if key[:1] == b"W")
    ordered = decode(CommittedBlock, all_rows[rows.block_key(3)], size_max=1 << 20).block.batch_hashes[0]
    for batch_hash, height in ((ordered, 3), (waiting, None)):
        key = rows.batch_key(batch_hash)
        found = damage_of(changed(all_rows, key, with_signature(all_rows[key], bytes(64))), ledger)
        assert found is not None
        assert found.height == height
        assert "signature" in str(found)


def test_mark_of_another_batch_that_waits_is_found(good: tuple[Ledger, Rows]) -> None:
    ledger, all_rows = good
    mark = next(key for key in all_rows if key[:1] == b"W")
    row = decode(rows.WaitingRow, all_rows[mark], size_max=1 << 10)
    for wrong in (
        rows.WaitingRow("bank-a", row.source, row.number, row.size),
        rows.WaitingRow(row.member, row.source, row.number + 1, row.size),
        rows.WaitingRow(row.member, row.source, row.number, row.size + 1),
    ):
        found = damage_of(changed(all_rows, mark, encode(wrong)), ledger)
        assert found is not None
        assert "waiting batch is another" in str(found)


@pytest.mark.parametrize(
    ("size", "root", "origin", "problem"),
    [
        (0, None, None, "checkpoint in the wrong place"),
        (0, None, "other-net/" + "0" * 64, "checkpoint in the wrong place"),
        (1, bytes(32), None, "root of the checkpoint"),
    ],
    ids=["under another size", "of another log", "with another root"],
)
def test_checkpoint_that_is_not_of_this_log_is_found(
    size: int, root: bytes | None, origin: str | None, problem: str, good: tuple[Ledger, Rows]
) -> None:
    ledger, all_rows = good
    at = ledger.chain.log_size - size
    name, log_key = origin or ledger.genesis.origin, key_of("bank-a", "log")
    text = Checkpoint(name, at, Hash(root or ledger.chain.log_root)).text()
    note = assemble_note(text, [sign_note(text, name, log_key)]).encode()
    place = rows.checkpoint_key(at if root or origin else at - 1)
    found = damage_of(changed(all_rows, place, note), ledger)
    assert found is not None
    assert problem in str(found)


def test_what_a_witness_cosigned_stands_under_its_key_and_is_of_this_log(good: tuple[Ledger, Rows]) -> None:
    ledger, all_rows = good
    origin, size = ledger.genesis.origin, ledger.chain.log_size
    witness = key_of("regulator", "witness")
    vkey = NoteKey("regulator.example/w", COSIGNATURE_V1, witness.public)

    def note(root: Hash) -> bytes:
        text = Checkpoint(origin, size, root).text()
        lines = [sign_note(text, origin, key_of("bank-a", "log")), cosign(text, vkey.name, witness, 7)]
        return assemble_note(text, lines).encode()

    sound, place = note(ledger.chain.log_root), rows.witness_key(vkey.key_id, vkey.name)
    assert damage_of(changed(all_rows, place, sound), ledger) is None
    elsewhere = damage_of(changed(all_rows, rows.witness_key(vkey.key_id, "other"), sound), ledger)
    assert "checkpoint in the wrong place" in str(elsewhere)
    forged = damage_of(changed(all_rows, place, note(Hash(bytes(32)))), ledger)
    assert "root of the checkpoint" in str(forged)


def test_block_of_another_place_is_found(good: tuple[Ledger, Rows]) -> None:
    ledger, all_rows = good
    store = changed(all_rows, rows.block_key(2), all_rows[rows.block_key(3)])
    found = damage_of(store, ledger)
    assert found is not None
    assert (found.height, "does not follow" in str(found)) == (2, True)


def test_a_place_in_the_index_that_is_missing_moved_or_too_many_is_named(good: tuple[Ledger, Rows]) -> None:
    ledger, _ = good
    reader, index = LedgerReader(ledger.store, ledger.genesis), indexed(ledger)
    check_positions(reader, index, secret=SECRET)
    kept = sorted(all_entries(index, EVENTS))
    first = kept[0]
    moved = first[:-2] + (int.from_bytes(first[-2:], "big") ^ 1).to_bytes(2, "big")
    beyond = first[:-8] + rows.position_bytes(99, 0)
    for entries, what in (
        (kept[1:], "is missing"),
        ([moved, *kept[1:]], "is missing"),
        ([first, beyond, *kept[1:]], "is one too many"),
        ([first, *kept], "is one too many"),
    ):
        damaged = MemoryStore()
        rows_of = PackedMap(damaged, EVENTS).add(iter([entries]))
        damaged.write([*index.rows().items(), *rows_of], sync=True)
        with pytest.raises(StorageError, match=f"{what}|out of order"):
            check_positions(reader, damaged, secret=SECRET)


@pytest.mark.parametrize("change", ["cut", "swapped", "gone", "fences", "no fences"])
def test_damage_of_the_rows_of_a_map_is_found_with_what_to_do(change: str, good: tuple[Ledger, Rows]) -> None:
    ledger, _ = good
    damaged = indexed(ledger)
    prefix = run_prefix(EVENTS, 0)
    row, fences = row_key(prefix, 0), row_key(prefix, FENCES)
    value = damaged.rows()[row]
    swapped = value[24:48] + value[:24] + value[48:]
    key, changed = {
        "cut": (row, value[:-24]),
        "swapped": (row, swapped),
        "gone": (row, None),
        "fences": (fences, bytes(16) + damaged.rows()[fences][16:]),
        "no fences": (fences, None),
    }[change]
    damaged.write([(key, changed)], sync=True)
    with pytest.raises(StorageError, match=r"the index is damaged.*builds its indexes again"):
        check_positions(LedgerReader(ledger.store, ledger.genesis), damaged, secret=SECRET)


def indexed(ledger: Ledger) -> MemoryStore:
    """Return an index of all of a ledger, its entries in runs."""
    store = MemoryStore()
    follower = IndexFollower(Index(store), LedgerReader(ledger.store, ledger.genesis))
    while follower.follow():
        pass
    follower.close()
    return store


def test_an_index_above_the_chain_is_not_judged(good: tuple[Ledger, Rows]) -> None:
    ledger, all_rows = good
    index = indexed(ledger)
    above = MemoryStore()
    above.write([*index.rows().items(), (PACKED_KEY, encode(Reached(Height(99), Hash(bytes(32)))))], sync=True)
    check_positions(LedgerReader(changed(all_rows, b"z", None), ledger.genesis), above, secret=SECRET)
    assert above.rows() != index.rows()


def test_sums_of_entries_know_no_order_and_differ_for_other_sets_and_secrets() -> None:
    def sum_of(keys: list[bytes], secret: bytes = SECRET) -> EntrySum:
        made = EntrySum(secret)
        for key in keys:
            made.add(key)
        return made

    keys = [b"a", b"b", b"c"]
    assert sum_of(keys).equals(sum_of(keys[::-1]))
    for others in ([b"a", b"b"], [b"a", b"b", b"d"], [b"a", b"b", b"c", b"c"], [b"a", b"a", b"c"]):
        assert not sum_of(keys).equals(sum_of(others))
    assert not sum_of(keys).equals(sum_of(keys, bytes(32)))
