"""Reading the committed ledger, over both stores."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ledger.checkpoint_rows import CHECKPOINTS_KEPT, checkpoint_rows
from ledger.events import event_id
from ledger.genesis import validator_set
from ledger.handovers import first_span
from ledger.index_places import Index
from ledger.indexes import IndexFollower
from ledger.reader import LedgerReader
from ledger.rows import checkpoint_key, state_row_key
from ledger.smt import verify_state
from ledger.status_proofs import StatusProof, certificate_status, make_status_proof, verify_status
from ledger.store import MemoryStore, Store
from ledger.store_leveldb import LevelDBStore
from ledger.tlog_proofs import parse_tlog_proof
from ledger.trust_policy import assemble_checkpoint, policy_text
from primitives.encoding import decode, encode
from primitives.errors import ProofError, StorageError
from primitives.hashing import leaf_hash
from primitives.merkle import verify_consistency, verify_inclusion
from primitives.notes import Checkpoint, cosign_statement
from tests.ledger.chain_fixtures import NAMES, SET, START_MS, Ledger, Note, SetValue, Value, key_of


@pytest.fixture(params=["memory", "leveldb"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    """A ledger of some blocks: three of notes, one that sets values, one that has a rejected event and deletes."""
    store: Store = MemoryStore() if request.param == "memory" else LevelDBStore(tmp_path / "db")
    made = Ledger(store)
    a, b = made.banks["bank-a"], made.banks["bank-b"]
    made.extend(a.notes(300), b.notes(2))
    made.extend(b.notes(1))
    made.extend(a.sets(x="1", y="1"), time_ms=START_MS + 1_000)
    failing = b.batch([b.event(Note("fine")), b.event(SetValue("x", "2", fails=True), SET)])
    made.extend(a.sets(y=""), failing, time_ms=START_MS + 2_000)
    yield made
    store.close()


@pytest.fixture
def reader(ledger: Ledger) -> LedgerReader:
    """The reader of that ledger."""
    return LedgerReader(ledger.store, ledger.genesis)


def sign_tip(ledger: Ledger, after_s: int = 30) -> str:
    """Store the stable checkpoint of the tip, cosigned that long after the second in which its block's time lies."""
    chain = ledger.chain
    text = Checkpoint(ledger.genesis.origin, chain.log_size, chain.log_root).text()
    time_s = chain.header.time_ms // 1000 + after_s
    signed = [(i, time_s, key_of(n, "cosign").sign(cosign_statement(text, time_s))) for i, n in enumerate(NAMES[:3])]
    key = key_of("bank-b", "log")
    validators = validator_set(ledger.genesis)
    note = assemble_checkpoint(ledger.genesis, validators, "node-bank-b", key, chain.log_size, chain.log_root, signed)
    ledger.store.write(checkpoint_rows(ledger.store, note), sync=True)
    return note


def test_every_event_is_found_by_its_id_where_it_stands(ledger: Ledger, reader: LedgerReader) -> None:
    seen = 0
    for height in range(5):
        for index, view in enumerate(reader.block_events(height)):
            assert view == reader.event_at(height, index) == reader.event(view.id)
            assert view.id == event_id(view.event_bytes, view.event.kind)
            assert (view.position.height, view.position.index) == (height, index)
            assert reader.log.leaf_hash(view.position.log_index) == leaf_hash(view.leaf)
            seen += 1
    assert seen == 308
    assert reader.event(bytes(32)) is None
    assert reader.event_at(1, 302) is None
    assert reader.event_at(9, 0) is None


def test_part_of_a_blocks_events_is_cut_out_of_all_its_batches(reader: LedgerReader) -> None:
    whole = reader.block_events(1)
    assert reader.block_events(1, 299, 2) == whole[299:301]
    assert reader.block_events(1, 301) == whole[301:]
    assert reader.block_events(1, 0, 1) == whole[:1]
    assert reader.block_events(9) == []


def test_outcomes_stand_with_their_events(reader: LedgerReader) -> None:
    assert [outcome.rule for outcome in reader.outcomes(4)] == ["", "", "told_to_fail"]
    rejected = reader.event_at(4, 2)
    assert rejected is not None
    assert rejected.outcome.detail == "x"
    block = reader.block(4)
    assert block is not None
    assert block.rejected_count == 1


def test_blocks_are_found_by_height_hash_range_time_and_log_index(ledger: Ledger, reader: LedgerReader) -> None:
    block = reader.block(3)
    assert block is not None
    assert reader.block_by_hash(block.hash) == block
    assert reader.block_by_hash(bytes(32)) is None
    assert reader.block(5) is None
    assert reader.block(-1) is None
    assert [found.header.height for found in reader.blocks(3, 9)] == [3, 4]
    assert [found.header.height for found in reader.blocks(1, 9, descending=True)] == [1, 0]
    assert block.certificate is not None
    assert [reader.height_at_log_index(i) for i in (0, 1, 302, 303, 304, block.log_index, 99_999)] == [
        0, 1, 1, 1, 2, 3, None,
    ]  # fmt: skip
    assert reader.height_at_time(START_MS - 1) is None
    assert reader.height_at_time(START_MS) == 0
    assert reader.height_at_time(START_MS + 1_999) == 3
    assert reader.height_at_time(START_MS + 99_999) == 4


def test_proofs_of_the_log_verify_at_every_block(reader: LedgerReader) -> None:
    size = reader.log_size()
    for index in (0, 1, 255, 256, 302, size - 1):
        proof = reader.inclusion(index, size)
        verify_inclusion(proof.root, size, index, proof.leaf_hash, proof.path)
    for old in (0, 1, 256, 304, size):
        proof_of = reader.consistency(old, size)
        verify_consistency(old, proof_of.old_root, size, proof_of.new_root, proof_of.path)
    for call in (lambda: reader.inclusion(0, size + 1), lambda: reader.consistency(5, 4), lambda: reader.log_root(-1)):
        with pytest.raises(ProofError):
            call()


def test_tiles_and_entry_bundles_are_what_c2sp_serves(reader: LedgerReader) -> None:
    size = reader.log_size()
    assert reader.tile(0, 0) is not None
    assert reader.tile(0, 1) is None
    tile = reader.tile(0, 1, size - 256)
    assert tile is not None
    bundle = reader.entry_bundle(0)
    rest = reader.entry_bundle(1, size - 256)
    assert bundle is not None
    assert rest is not None
    leaves = []
    data = bundle + rest
    while data:
        length = int.from_bytes(data[:2], "big")
        leaves.append(data[2 : 2 + length])
        data = data[2 + length :]
    assert len(leaves) == size
    hashes = b"".join(map(leaf_hash, leaves))
    assert hashes == (reader.tile(0, 0) or b"") + tile
    assert reader.entry_bundle(1) is None
    assert reader.tile(9, 0) is None


def test_state_is_proved_as_it_was_at_each_height(reader: LedgerReader) -> None:
    expected = {0: (None, None), 2: (None, None), 3: ("1", "1"), 4: ("1", None)}
    for height, values in expected.items():
        for key, value in zip("xy", values, strict=True):
            found = reader.state_value(f"value/{key}", height)
            assert found is not None
            shown = None if found.value is None else decode(Value, found.value, size_max=100).value
            assert shown == value
            verify_state(found.header.state_root, found.key, found.value, found.proof)
    assert reader.state_value("value/x", 5) is None


def test_status_proof_says_from_when_until_when(ledger: Ledger, reader: LedgerReader) -> None:
    assert make_status_proof(reader, "value/y", 3) is None
    sign_tip(ledger)
    policy = policy_text(ledger.genesis, (first_span(ledger.genesis),))
    before = make_status_proof(reader, "value/y", 3)
    now = make_status_proof(reader, "value/y", 4)
    assert before is not None
    assert now is not None
    verdict = verify_status(before, policy)
    assert verdict.value is not None
    assert decode(Value, verdict.value, size_max=100) == Value("1")
    assert (verdict.time_ms, verdict.until_ms) == (START_MS + 1_000, START_MS + 2_000)
    absent = verify_status(now, policy)
    assert absent.value is None
    assert (absent.time_ms, absent.until_ms) == (START_MS + 2_000, START_MS + 32_000)
    for text in (before, now):
        for place in range(0, len(text), 11):
            other = "B" if text[place] == "A" else "A"
            with pytest.raises(ProofError):
                verify_status(text[:place] + other + text[place + 1 :], policy)


@pytest.mark.parametrize("after_s", [0, -1], ids=["within the same second", "by a slow clock"])
def test_status_proof_reaches_no_further_back_than_its_block(ledger: Ledger, after_s: int) -> None:
    """Cosignatures tell whole seconds, block times milliseconds."""
    bank = ledger.banks["bank-a"]
    ledger.extend(bank.sets(y="2"), time_ms=START_MS + 94_828)
    sign_tip(ledger, after_s)
    reader = LedgerReader(ledger.store, ledger.genesis)
    text = make_status_proof(reader, "certificate/FTP-2026-06-000001", 5)
    assert text is not None
    verdict = verify_status(text, policy_text(ledger.genesis, (first_span(ledger.genesis),)))
    assert verdict.time_ms == verdict.until_ms == START_MS + 94_828
    assert certificate_status(verdict, "FTP-2026-06-000001") is None
    with pytest.raises(ProofError, match="says nothing about that time"):
        certificate_status(verdict, "FTP-2026-06-000001", START_MS + 94_829)


def test_status_proof_with_a_header_that_does_not_follow_is_refused(ledger: Ledger, reader: LedgerReader) -> None:
    sign_tip(ledger)
    policy = policy_text(ledger.genesis, (first_span(ledger.genesis),))
    text, later = make_status_proof(reader, "value/y", 1), make_status_proof(reader, "value/y", 2)
    assert text is not None
    assert later is not None
    proof, other = parse_tlog_proof(text), parse_tlog_proof(later)
    mine = decode(StatusProof, proof.extra, size_max=1 << 20)
    theirs = decode(StatusProof, other.extra, size_max=1 << 20)
    fields = {name: getattr(mine, name) for name in StatusProof.__struct_fields__}
    forged = StatusProof(**{**fields, "following": theirs.following})
    with pytest.raises(ProofError, match="next header does not follow"):
        verify_status(replace(proof, extra=encode(forged)).text(), policy)


def test_status_proof_answers_only_for_its_key_and_times(ledger: Ledger, reader: LedgerReader) -> None:
    sign_tip(ledger)
    policy = policy_text(ledger.genesis, (first_span(ledger.genesis),))
    text = make_status_proof(reader, "certificate/FTP-2026-06-000001", 3)
    assert text is not None
    verdict = verify_status(text, policy)
    assert certificate_status(verdict, "FTP-2026-06-000001") is None
    assert certificate_status(verdict, "FTP-2026-06-000001", START_MS + 1_999) is None
    with pytest.raises(ProofError, match="another key"):
        certificate_status(verdict, "FTP-2026-06-000002")
    for time_ms in (START_MS + 999, START_MS + 2_000):
        with pytest.raises(ProofError, match="says nothing about that time"):
            certificate_status(verdict, "FTP-2026-06-000001", time_ms)


def test_checkpoints_are_kept_up_to_a_number(ledger: Ledger, reader: LedgerReader) -> None:
    assert reader.checkpoint() is None
    sizes = []
    for _ in range(CHECKPOINTS_KEPT + 3):
        ledger.extend()
        sign_tip(ledger)
        sizes.append(ledger.chain.log_size)
    latest = reader.checkpoint()
    assert latest is not None
    assert (latest.size, latest.root) == (ledger.chain.log_size, ledger.chain.log_root)
    assert reader.checkpoint(size_min=latest.size + 1) is None
    assert [size for size in sizes if reader.checkpoint_at(size) is None] == sizes[:3]


def test_event_that_stands_twice_counts_where_it_was_applied(ledger: Ledger, reader: LedgerReader) -> None:
    bank = ledger.banks["bank-c"]
    note = bank.event(Note("twice"))
    late = bank.event(SetValue("z", "1"), SET, expires_ms=START_MS + 90_000_000)
    first = ledger.extend(bank.batch([note, late]), time_ms=START_MS + 3_000)
    ledger.extend(bank.batch([note, late]), time_ms=START_MS + 5_000_000)
    assert [place.height for place in reader.positions(first.event_ids[0])] == [5, 6]
    counted = [reader.position(identity) for identity in first.event_ids]
    assert [place.height for place in counted if place is not None] == [5, 6]
    assert first.outcomes[1].rule == "expires_too_late"


def test_an_event_is_found_wherever_the_index_stands(ledger: Ledger, reader: LedgerReader) -> None:
    expected: dict[bytes, list[tuple[int, int]]] = {}
    for height in range(1, ledger.chain.height + 1):
        header = reader.header(height)
        assert header is not None
        for index in range(header.event_count):
            leaf = reader.log.leaf_hash(header.first_index + index)
            expected.setdefault(leaf, []).append((height, index))
        own_leaf = header.hash()
        assert list(reader.positions(own_leaf)) == [], "a header is no event"
    index = Index(MemoryStore())
    follower = IndexFollower(index, reader)
    beside = LedgerReader(ledger.store, ledger.genesis, index)
    while True:
        for leaf, places in expected.items():
            assert [(place.height, place.index) for place in beside.positions(leaf)] == places
        assert list(beside.positions(bytes(32))) == []
        if not follower.follow(1):
            break
    assert follower.height == ledger.chain.height


def test_ids_that_share_their_first_bytes_are_told_apart(ledger: Ledger, reader: LedgerReader) -> None:
    view = reader.event_at(1, 0)
    assert view is not None
    index = Index(MemoryStore())
    IndexFollower(index, reader).follow()
    for each in (reader, LedgerReader(ledger.store, ledger.genesis, index)):
        assert each.event(view.id) == view
        assert each.event(view.id[:16] + bytes(16)) is None


def test_batch_of_an_event_is_at_hand_for_receipts(reader: LedgerReader) -> None:
    evidence = reader.batch_evidence(1, 301)
    assert (evidence.header.member, evidence.index) == ("bank-b", 1)
    assert len(evidence.ids) == evidence.header.count == 2
    assert reader.event_at(1, 301) is not None
    assert evidence.ids[1] == reader.event_at(1, 301).id  # type: ignore[union-attr]  # it is there


def test_empty_store_has_no_tip_and_no_events() -> None:
    ledger = Ledger(MemoryStore())
    empty = LedgerReader(MemoryStore(), ledger.genesis)
    assert empty.tip() is None
    assert empty.log_size() == 0
    assert empty.block(0) is None
    assert empty.state_value("policy") is None
    assert empty.height_at_log_index(0) is None


@pytest.mark.parametrize("row", [b"\x90", b"", b"no note", b"origin\n1\nnot a root\n"])
def test_a_damaged_checkpoint_is_a_fault_of_the_store(ledger: Ledger, reader: LedgerReader, row: bytes) -> None:
    """Fuzzing found one: bytes that are no text raised UnicodeDecodeError."""
    sign_tip(ledger)
    ledger.store.write([(checkpoint_key(ledger.chain.log_size), row)], sync=True)
    with pytest.raises(StorageError, match="row of the store damaged"):
        reader.checkpoint()


def test_a_damaged_row_of_the_state_is_a_fault_of_the_store_and_of_no_peer(ledger: Ledger) -> None:
    """Fuzzing found it: as InputError it would have been held against whoever sent the next block."""
    ledger.store.write([(state_row_key(b"policy"), b"\x01")], sync=True)
    with pytest.raises(StorageError, match="state, policy"):
        ledger.reopen().chain.policy_after(ledger.chain.tip_hash)
