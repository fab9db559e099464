"""Snapshots: a chain that goes on from one is the same chain, and nothing false in one gets into a store."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import rows
from ledger.base import NotHere
from ledger.batches import parse_batch
from ledger.chain import Chain
from ledger.completeness import verify_completeness
from ledger.completeness_reading import make_completeness
from ledger.handovers import spans_of
from ledger.index_places import REACHED_KEY, Index, Reached
from ledger.indexes import IndexFollower
from ledger.log_tiles import TileReader
from ledger.reader import LedgerReader
from ledger.receipts import make_receipt, verify
from ledger.snapshots_making import NoCheckpoint, SnapshotMaking
from ledger.status_proofs import make_status_proof, verify_status
from ledger.store import MemoryStore, Store
from ledger.trust_policy import policy_text
from primitives.encoding import encode
from primitives.ids import Height
from tests.ledger.chain_fixtures import KINDS, START_MS, Ledger
from tests.ledger.genesis_fixtures import TIME_MS
from tests.ledger.governance_fixtures import Council
from tests.ledger.snapshot_fixtures import made, make_stable, restored
from tests.ledger.test_certificates_chain import FILES, OneNode

BLOCK = st.tuples(
    st.integers(0, 3),  # notes of bank-a
    st.dictionaries(st.sampled_from("abcdefgh"), st.sampled_from(["", "x", "y"]), max_size=3),  # sets of bank-b
    st.sampled_from(
        [10, 10, 10, 4_000_000]
    ),  # milliseconds since the block before: the last one lets references expire
)


def extend(ledger: Ledger, notes: int, values: dict[str, str], step_ms: int) -> None:
    """Commit a block as BLOCK describes it."""
    a, b = ledger.banks["bank-a"], ledger.banks["bank-b"]
    batches = [*([a.notes(notes)] if notes else []), *([b.sets(**values)] if values else [])]
    ledger.extend(*batches, time_ms=ledger.now_ms + step_ms)


def follow(chain: Chain, store: Store, source: LedgerReader) -> None:
    """Have a chain take every later block of another, through the one commit path; `check` holds its header to ours."""
    tip = source.tip()
    assert tip is not None
    for height in range(chain.height + 1, tip.height + 1):
        committed = source.committed_block(height)
        assert committed is not None
        assert committed.certificate is not None
        for batch_hash in committed.block.batch_hashes:
            raw = source.batch_bytes(batch_hash)
            assert raw is not None
            store.write(chain.add_batch(parse_batch(raw, chain._kinds)), sync=True)
        result = chain.commit(chain.check(committed.block), committed.certificate)
        store.write(result.puts, sync=True)
        chain.written(result.ticket)


def assert_alike(whole: MemoryStore, joined: MemoryStore, log_size: int) -> None:
    """Everything that a store from a snapshot has is what the whole store has; rows that change are the same."""
    mine, its = joined.rows(), whole.rows()
    for kind in (b"s", b"M"):
        assert {k: v for k, v in mine.items() if k[:1] == kind} == {k: v for k, v in its.items() if k[:1] == kind}
    apart = {key for key, value in mine.items() if key[:1] not in b"qcEm" and its.get(key) != value}
    assert apart == set()
    assert TileReader(joined).tip(log_size) == TileReader(whole).tip(log_size)
    assert mine[rows.TIP_KEY] == its[rows.TIP_KEY]


@settings(max_examples=60, deadline=None)
@given(before=st.lists(BLOCK, min_size=1, max_size=12), after=st.lists(BLOCK, max_size=8))
def test_a_chain_that_goes_on_from_a_snapshot_is_the_same_chain(
    before: list[tuple[int, dict[str, str], int]], after: list[tuple[int, dict[str, str], int]]
) -> None:
    ledger = Ledger(MemoryStore())
    for block in before:
        extend(ledger, *block)
    make_stable(ledger.store, ledger.genesis, ledger.chain.validators_after(ledger.chain.tip_hash))
    snapshot = made(ledger.store, ledger.genesis)
    assert snapshot.manifest.height == len(before)
    store = restored(snapshot, ledger.genesis)
    assert isinstance(ledger.store, MemoryStore)
    assert_alike(ledger.store, store, ledger.chain.log_size)
    for block in after:
        extend(ledger, *block)
    chain = Chain(store, ledger.genesis, KINDS)
    follow(chain, store, LedgerReader(ledger.store, ledger.genesis))
    assert chain.header == ledger.chain.header
    assert (chain.log_size, chain.log_root) == (ledger.chain.log_size, ledger.chain.log_root)
    assert_alike(ledger.store, store, ledger.chain.log_size)
    assert made(store, ledger.genesis) == snapshot  # what it was made from can be made of it again


@pytest.mark.parametrize("notes", [252, 253, 254, 255, 256, 509, 510, 511])
def test_a_snapshot_may_end_on_either_side_of_a_tiles_edge(notes: int) -> None:
    ledger = Ledger(MemoryStore())
    ledger.extend(ledger.banks["bank-a"].notes(notes))
    make_stable(ledger.store, ledger.genesis, ledger.chain.validators_after(ledger.chain.tip_hash))
    store = restored(made(ledger.store, ledger.genesis), ledger.genesis)
    for count in (1, 300, 1):
        ledger.extend(ledger.banks["bank-a"].notes(count))
    chain = Chain(store, ledger.genesis, KINDS)
    follow(chain, store, LedgerReader(ledger.store, ledger.genesis))
    reader, whole = LedgerReader(store, ledger.genesis), LedgerReader(ledger.store, ledger.genesis)
    size = chain.log_size
    for index in range(notes + 1, size):
        assert reader.inclusion(index, size) == whole.inclusion(index, size)
    for old in range(notes + 2, size):
        assert reader.consistency(old, size) == whole.consistency(old, size)
        assert reader.tile(0, old >> 8, (old & 255) + 1) == whole.tile(0, old >> 8, (old & 255) + 1)


def test_references_that_were_seen_before_a_snapshot_are_known_and_expire_after_it() -> None:
    ledger = Ledger(MemoryStore())
    bank = ledger.banks["bank-b"]
    ledger.extend(bank.sets(a="1", b="2"))
    make_stable(ledger.store, ledger.genesis, ledger.chain.validators_after(ledger.chain.tip_hash))
    store = restored(made(ledger.store, ledger.genesis), ledger.genesis)
    bank.references -= 2
    ledger.extend(bank.sets(a="1", b="other"))
    ledger.extend(time_ms=START_MS + 10_000_000)
    reader = LedgerReader(ledger.store, ledger.genesis)
    assert [outcome.rule for outcome in reader.outcomes(2)] == ["duplicate", "conflict"]
    chain = Chain(store, ledger.genesis, KINDS)
    follow(chain, store, reader)
    assert LedgerReader(store, ledger.genesis).outcomes(2) == reader.outcomes(2)
    seen = [key for key, _ in store.iterate(*rows.all_of(b"s")) if b"seen/" in key]
    assert seen == []


def council_through_epochs() -> Council:
    """Return a consortium in its third epoch, with a checkpoint of its newest block."""
    council = Council()
    council.rekey(1, 1)
    council.rekey(2, 1)
    council.block()
    make_stable(council.store, council.genesis, council.set)
    return council


def test_a_joiner_follows_handovers_to_the_present_epoch_and_serves_them_on() -> None:
    council = council_through_epochs()
    snapshot = made(council.store, council.genesis)
    assert len(snapshot.manifest.handovers) == 2
    store = restored(snapshot, council.genesis)
    base = snapshot.manifest.height
    proposal = council.propose(council.rekeying(3, 1))
    council.vote(proposal, 0, 1, 2)
    assert council.say("bank-3", council.ready(proposal, "node-3", height=base - 1)).applied
    council.block()
    chain = Chain(store, council.genesis)
    follow(chain, store, LedgerReader(council.store, council.genesis))
    assert chain.validators_after(chain.tip_hash) == council.set
    reader, whole = LedgerReader(store, council.genesis), LedgerReader(council.store, council.genesis)
    assert reader.base() == base
    assert spans_of(reader, 3) == spans_of(whole, 3)
    make_stable(store, council.genesis, council.set)
    again = made(store, council.genesis)
    assert len(again.manifest.handovers) == 3
    assert Chain(restored(again, council.genesis), council.genesis).header == council.chain.header


def test_a_snapshot_at_the_last_block_of_an_epoch_names_the_next_validators() -> None:
    council = Council()
    old = council.set
    council.rekey(1, 1)
    make_stable(council.store, council.genesis, old)
    store = restored(made(council.store, council.genesis), council.genesis)
    chain = Chain(store, council.genesis)
    assert chain.validators_after(chain.tip_hash) == council.set != old
    council.block()
    follow(chain, store, LedgerReader(council.store, council.genesis))
    assert spans_of(LedgerReader(store, council.genesis), 1) == spans_of(
        LedgerReader(council.store, council.genesis), 1
    )


def test_proofs_of_what_follows_a_snapshot_verify_and_what_lies_before_is_not_here() -> None:
    council = council_through_epochs()
    base = int(council.chain.height)
    store = restored(made(council.store, council.genesis), council.genesis)
    proposal = council.propose(council.rekeying(3, 1))
    council.vote(proposal, 0, 1)
    council.block()
    chain = Chain(store, council.genesis)
    follow(chain, store, LedgerReader(council.store, council.genesis))
    for each in (store, council.store):
        make_stable(each, council.genesis, council.set)
    reader, whole = LedgerReader(store, council.genesis), LedgerReader(council.store, council.genesis)
    policy = policy_text(council.genesis, spans_of(reader, 2))
    first = policy_text(council.genesis, spans_of(reader, 0))
    ids = [view.id for height in range(base + 1, int(chain.height)) for view in reader.block_events(height)]
    assert len(ids) == 3
    for event_id in ids:
        receipt = make_receipt(reader, event_id)
        assert receipt is not None
        assert receipt == make_receipt(whole, event_id)
        assert verify(receipt, policy).applied
        assert verify(receipt, first).epoch == 2
    status = make_status_proof(reader, f"proposal/{proposal.hex()}", base + 1)
    assert status is not None
    assert status == make_status_proof(whole, f"proposal/{proposal.hex()}", base + 1)
    assert verify_status(status, first).value is not None
    page = make_completeness(reader, "bank-0", base + 2, base + 3)
    assert page is not None
    assert page == make_completeness(whole, "bank-0", base + 2, base + 3)
    assert len(verify_completeness(page.proof, first).events) == 1
    early = whole.block_events(1)[0]
    for asked in (
        lambda: reader.block(1),
        lambda: reader.block(base),
        lambda: reader.block_events(base),
        lambda: reader.event_at(1, 0),
        lambda: reader.state_value("policy", base - 1),
        lambda: reader.state_value("policy", 0),
        lambda: reader.inclusion(early.position.log_index, chain.log_size),
        lambda: reader.consistency(3, chain.log_size),
        lambda: reader.log_root(3),
        lambda: reader.leaves(1, 3),
        lambda: reader.entry_bundle(0, 5),
        lambda: reader.height_at_log_index(1),
        lambda: reader.height_at_time(early.time_ms),
        lambda: make_status_proof(reader, "policy", 1),
        lambda: make_completeness(reader, "bank-0", 1, base + 3),
    ):
        with pytest.raises(NotHere, match=f"above block {base}"):
            asked()
    assert reader.position(early.id) is None
    assert reader.height_at_time(0) is None
    block = reader.block(0)
    assert block is not None
    assert block.hash == whole.block(0).hash  # type: ignore[union-attr]  # it is there


def test_an_index_begins_at_the_base_with_the_certificates_that_the_state_has() -> None:
    """Which certificates were granted before is in the state; their events are where the whole chain is."""
    node = OneNode()
    for file in FILES:
        node.submit(file, TIME_MS + 3_600_000)
    make_stable(node.store, node.genesis, node.chain.validators_after(node.chain.tip_hash))
    store, index, whole_index = (
        restored(made(node.store, node.genesis), node.genesis),
        MemoryStore(),
        MemoryStore(),
    )
    reader, whole = LedgerReader(store, node.genesis), LedgerReader(node.store, node.genesis)
    follower = IndexFollower(Index(index), reader)
    assert follower.follow() == 0
    assert follower.height == node.chain.height
    whole_follower = IndexFollower(Index(whole_index), whole)
    while whole_follower.follow():
        pass
    found = {key: value for key, value in index.rows().items() if key[:1] in b"ch"}
    expected = {key: value for key, value in whole_index.rows().items() if key[:1] in b"ch"}
    base = int(node.chain.height).to_bytes(6, "big")
    assert all(value[:6] <= base for key, value in expected.items() if key[:1] == b"c")
    assert found == {key: base + value[6:] if key[:1] == b"c" else value for key, value in expected.items()}, (
        "each is listed from the base on, for when it was granted the state does not say"
    )
    assert len(found) == 32
    before = index.rows()
    IndexFollower(Index(index), reader)
    assert index.rows() == before, "it goes on from there"
    IndexFollower(Index(index), whole).follow()
    index.write([(REACHED_KEY, encode(Reached(Height(3), whole.block(3).hash)))], sync=True)  # type: ignore[union-attr]  # there
    follower = IndexFollower(Index(index), reader)
    assert follower.height is None, "one that lies before the base begins anew"
    follower.follow()
    assert index.rows() == before


def test_there_is_no_snapshot_before_a_checkpoint_of_a_block() -> None:
    ledger = Ledger(MemoryStore())
    with pytest.raises(NoCheckpoint):
        SnapshotMaking(LedgerReader(ledger.store, ledger.genesis))
    make_stable(ledger.store, ledger.genesis, ledger.chain.validators_after(ledger.chain.tip_hash))
    with pytest.raises(NoCheckpoint):
        SnapshotMaking(LedgerReader(ledger.store, ledger.genesis))


def test_a_snapshot_is_of_its_block_however_far_the_chain_goes_on_meanwhile() -> None:
    ledger = Ledger(MemoryStore())
    a, b = ledger.banks["bank-a"], ledger.banks["bank-b"]
    for i in range(5):
        ledger.extend(a.notes(30), b.sets(**{f"k{i}": "v", f"k{i - 1}": ""}))
    make_stable(ledger.store, ledger.genesis, ledger.chain.validators_after(ledger.chain.tip_hash))
    quiet = made(ledger.store, ledger.genesis)
    making = SnapshotMaking(LedgerReader(ledger.store, ledger.genesis), chunk_bytes=1_024)
    chunks = []
    for chunk in making.chunks():
        chunks.append(chunk.data)
        ledger.extend(a.notes(40), b.sets(k1="again", k2="again"), ledger.banks["bank-c"].notes(1))
    assert len(chunks) > 3
    assert (making.manifest(), tuple(chunks)) == (quiet.manifest, quiet.chunks)
