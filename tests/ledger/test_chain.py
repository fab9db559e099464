"""The chain: execution before votes, branches, commits in one write, and standing exactly there after a restart."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ledger.batches import parse_batch
from ledger.chain import OVERLAYS_MAX, WINDOW, BatchesMissing, Chain, ParentUnknown
from ledger.committed_state import CommittedState
from ledger.execution import BlockRefused, admitted
from ledger.members import Role, Source, source_grant, source_key
from ledger.policy import Policy
from ledger.rows import TIP_KEY, all_of, state_row_key
from ledger.smt import EMPTY, MapUpdate
from ledger.state import DERIVED_PREFIX, StateView
from ledger.store import MemoryStore, Store
from ledger.store_leveldb import LevelDBStore
from primitives.block import Block
from primitives.encoding import encode
from primitives.errors import StorageError, UsageError
from primitives.ids import ZERO_HASH, Hash
from tests.ledger.chain_fixtures import (
    KINDS,
    NAMES,
    SET,
    START_MS,
    Ledger,
    SetValue,
    Value,
    certificate_of,
    genesis,
    key_of,
)


@pytest.fixture
def ledger() -> Ledger:
    """A fresh ledger in memory."""
    return Ledger(MemoryStore())


@pytest.fixture(params=["memory", "leveldb"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty store of each kind."""
    opened: Store = MemoryStore() if request.param == "memory" else LevelDBStore(tmp_path / "db")
    yield opened
    opened.close()


def value(ledger: Ledger, key: str, block: Hash | None = None) -> str | None:
    """Return a value of the state after a block (default: the tip)."""
    found = ledger.chain.state_after(ledger.chain.tip_hash if block is None else block).get(f"value/{key}", Value)
    return None if found is None else found.value


def standing(chain: Chain) -> tuple[Any, ...]:
    """Return all by which one could tell two chains apart."""
    sources = [chain.next_number(chain.tip_hash, chain.genesis.members[i].sources[0].key) for i in range(4)]
    waiting = sorted(chain.batches.waiting)
    return chain.header, chain.tip_hash, chain.log_size, chain.log_root, sources, waiting


def test_two_nodes_that_execute_the_same_block_have_equal_roots(ledger: Ledger) -> None:
    other = Ledger(MemoryStore())
    for size in (1, 300, 2):
        batches = [ledger.banks[name].notes(size) for name in NAMES] + [ledger.banks["bank-a"].sets(a=str(size), b="1")]
        block = ledger.build(*batches)
        other.add(*batches)
        other.chain.check(block)
        assert ledger.commit(block).log_root == other.commit(block).log_root
    assert standing(ledger.chain) == standing(other.chain)


def test_block_names_its_place_time_and_contents(ledger: Ledger) -> None:
    first = ledger.extend(ledger.banks["bank-a"].notes(3)).header
    second = ledger.extend(ledger.banks["bank-a"].notes(2), time_ms=START_MS + 500).header
    assert (first.height, first.first_index, first.event_count) == (1, 1, 3)
    assert (second.height, second.first_index, second.event_count) == (2, 5, 2)
    assert second.parent == first.hash()
    assert second.time_ms == START_MS + 500
    assert ledger.chain.log_size == 8


def test_block_without_batches_is_a_block(ledger: Ledger) -> None:
    result = ledger.extend()
    assert result.header.event_count == 0
    assert ledger.chain.log_size == 2


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("suite", 2),
        ("version", 2),
        ("chain_id", b"x" * 32),
        ("height", 7),
        ("first_index", 2),
        ("event_count", 4),
        ("outcomes_root", b"x" * 32),
        ("log_root", b"x" * 32),
        ("state_root", b"x" * 32),
        ("batch_logs_root", b"x" * 32),
        ("next_validators", b"x" * 32),
        ("batches_root", b"x" * 32),
        ("epoch", 1),
        ("proposer", 4),
        ("proposer", -1),
        ("time_ms", START_MS),
    ],
)
def test_header_with_a_wrong_field_is_refused_naming_that_field(ledger: Ledger, field: str, wrong: object) -> None:
    block = ledger.build(ledger.banks["bank-a"].notes(3))
    header = block.header
    changed = type(header)(**{**{name: getattr(header, name) for name in header.__struct_fields__}, field: wrong})
    ledger.chain.discard(header.hash())
    name = "time" if field == "time_ms" else field
    with pytest.raises(BlockRefused, match=rf"{name}: expected"):
        ledger.chain.check(Block(changed, block.batch_hashes))
    assert ledger.chain.overlay_count == 0


def test_batches_in_another_order_or_of_another_list_are_refused(ledger: Ledger) -> None:
    one, two = ledger.banks["bank-a"].notes(1), ledger.banks["bank-b"].notes(1)
    block = ledger.build(one, two)
    ledger.chain.discard(block.header.hash())
    with pytest.raises(BlockRefused, match="batches_root"):
        ledger.chain.check(Block(block.header, block.batch_hashes[::-1]))
    ledger.chain.check(block)
    with pytest.raises(BlockRefused, match="batches_root"):  # executed before or not
        ledger.chain.check(Block(block.header, block.batch_hashes[:1]))


def test_missing_batches_and_unknown_parents_are_named_for_fetching(ledger: Ledger) -> None:
    other = Ledger(MemoryStore())
    one, two = ledger.banks["bank-a"].notes(1), ledger.banks["bank-b"].notes(1)
    block = ledger.build(one, two)
    child = ledger.build(ledger.banks["bank-c"].notes(1), parent=block.header.hash())
    other.add(one)
    with pytest.raises(BatchesMissing) as missing:
        other.chain.check(block)
    assert missing.value.hashes == (two.hash,)
    with pytest.raises(ParentUnknown) as unknown:
        other.chain.check(child)
    assert unknown.value.parent == block.header.hash()


def test_wrong_number_or_previous_hash_makes_the_block_refused(ledger: Ledger) -> None:
    bank = ledger.banks["bank-a"]
    first, second, third = bank.notes(1), bank.notes(1), bank.notes(1)
    for batches in ([second], [first, third], [first, first], [second, first]):
        with pytest.raises(BlockRefused, match="batch out of order"):
            ledger.build(*batches)
    for number, previous in ((2, first.hash), (1, ZERO_HASH)):
        bank.number, bank.previous = number, previous
        with pytest.raises(BlockRefused, match="batch out of order"):
            ledger.build(first, bank.notes(1))
    bank.number, bank.previous = 1, Hash(b"x" * 32)
    with pytest.raises(BlockRefused, match="batch out of order"):
        ledger.build(first, bank.notes(1))
    ledger.extend(first, second)
    for batches in ([first], [second]):
        with pytest.raises(BlockRefused, match="batch out of order"):
            ledger.build(*batches)
    ledger.extend(third)


def test_unregistered_foreign_and_mismatched_sources_cannot_enter(ledger: Ledger) -> None:
    bank = ledger.banks["bank-a"]
    bank.chain_id = Hash(b"x" * 32)
    with pytest.raises(BlockRefused, match="another chain"):
        ledger.build(bank.notes(1))
    bank = Ledger(MemoryStore()).banks["bank-a"]
    bank.name = "bank-b"
    with pytest.raises(BlockRefused, match="another member"):
        ledger.build(bank.notes(1))
    good = ledger.banks["bank-a"]
    good.chain_id = ledger.genesis.chain_id
    good.number, good.previous = 0, ZERO_HASH
    first = good.notes(1)
    good.name = "bank-b"
    with pytest.raises(BlockRefused, match="another member"):
        ledger.build(first, good.notes(1))
    bank = Ledger(MemoryStore()).banks["bank-a"]
    bank.key = type(bank.key)(bytes(32))
    with pytest.raises(BlockRefused, match="source not registered"):
        ledger.build(bank.notes(1))


def test_a_source_that_was_moved_to_another_member_cannot_enter(ledger: Ledger) -> None:
    """No rule moves a source; if a fault did, no batch of either member would be ordered under its key."""
    mine, own = ledger.banks["bank-a"], key_of("bank-a", "source").public
    theirs = Ledger(MemoryStore()).banks["bank-a"]
    theirs.name = "bank-b"
    standing = ledger.chain._standing(ledger.chain.tip_hash)
    view = StateView(standing.state)
    here = source_grant(view, own)
    view.changes[source_key(own).encode()] = encode(Source("bank-b", (Role.BANK,)))
    moved = source_grant(view, own)
    assert admitted(standing, here, mine.notes(1)).member == "bank-a"
    assert admitted(standing, moved, theirs.notes(1)).member == "bank-b", "one that never submitted has no log to leave"
    mine = Ledger(MemoryStore()).banks["bank-a"]
    ledger.extend(mine.notes(1))
    for chain in (ledger.chain, ledger.reopen().chain):
        standing = chain._standing(chain.tip_hash)
        for bank in (mine, theirs):
            with pytest.raises(BlockRefused, match="another member"):
                admitted(standing, moved, bank.notes(1))
        assert admitted(standing, here, mine.notes(1)).member == "bank-a"


def test_the_state_root_is_that_of_all_rows_but_those_derived_from_others(ledger: Ledger) -> None:
    bank = ledger.banks["bank-a"]
    for values in ({"a": "1", "b": "2"}, {"c": "3", "a": ""}):
        header = ledger.extend(bank.sets(**values)).header
        rows = dict(ledger.chain.state_after(ledger.chain.tip_hash).raw_scan(b""))
        derived = {key for key in rows if key.startswith(DERIVED_PREFIX)}
        assert derived, "the table of references derives its order by expiry"
        kept = {key: value for key, value in rows.items() if key not in derived}
        assert MapUpdate(lambda _: None).apply(EMPTY, kept) == header.state_root


@pytest.mark.parametrize(
    ("policy", "sizes", "message"),
    [
        (Policy(block_batches_max=2), [1, 1, 1], "too many batches"),
        (Policy(block_events_max=10), [6, 5], "too many events"),
        (Policy(block_bytes_max=128 * 1024), [800, 800, 800], "too many bytes"),
    ],
)
def test_block_over_a_limit_of_the_policy_is_refused(policy: Policy, sizes: list[int], message: str) -> None:
    ledger = Ledger(MemoryStore(), policy)
    batches = [ledger.banks["bank-a"].notes(size) for size in sizes]
    with pytest.raises(BlockRefused, match=message):
        ledger.build(*batches)
    ledger.build(*batches[:-1])


def test_block_above_the_window_is_refused(ledger: Ledger) -> None:
    parent = None
    for _ in range(WINDOW):
        parent = ledger.build(ledger.banks["bank-a"].notes(1), parent=parent).header.hash()
    with pytest.raises(BlockRefused, match="above the window"):
        ledger.build(ledger.banks["bank-a"].notes(1), parent=parent)


def test_children_see_the_state_of_their_uncommitted_parents(ledger: Ledger) -> None:
    bank = ledger.banks["bank-a"]
    parents: list[Hash] = []
    blocks = []
    for i in range(WINDOW):
        batch = bank.sets(**{"same": str(i), f"key{i}": "x", **({f"key{i - 1}": ""} if i else {})})
        blocks.append(ledger.build(batch, parent=parents[-1] if parents else None))
        parents.append(blocks[-1].header.hash())
    assert value(ledger, "same") is None
    for i, parent in enumerate(parents):
        assert value(ledger, "same", parent) == str(i)
        assert value(ledger, f"key{i - 1}", parent) is None
    for i, block in enumerate(blocks):
        ledger.commit(block)
        assert value(ledger, "same") == str(i)
        assert value(ledger, "same", parents[-1]) == str(WINDOW - 1)
    assert ledger.chain.overlay_count == 0
    # The same, one block at a time, leads to the same roots.
    other = Ledger(MemoryStore())
    for block in blocks:
        other.add(*[b for h in block.batch_hashes if (b := ledger.chain.get_batch(h)) is not None])
        other.chain.check(block)
        other.commit(block)
    assert standing(other.chain) == standing(ledger.chain)


def test_committed_overlays_are_let_go_of(ledger: Ledger) -> None:
    base = ledger.build(ledger.banks["bank-a"].sets(a="1"))
    child = ledger.build(ledger.banks["bank-a"].sets(a="2"), parent=base.header.hash())
    ledger.commit(base)
    view = ledger.chain.state_after(child.header.hash()).parent
    assert isinstance(view, StateView)
    assert isinstance(view.parent, CommittedState)


def test_commit_drops_other_branches_and_returns_their_batches(ledger: Ledger) -> None:
    a, b, c = (ledger.banks[name] for name in NAMES[:3])
    common, left, right, above = a.notes(1), b.notes(1), c.notes(1), c.notes(1)
    chosen = ledger.build(common, left)
    lost = ledger.build(common, right, time_ms=START_MS + 77)
    ledger.build(above, parent=lost.header.hash(), time_ms=START_MS + 99)
    result = ledger.commit(chosen)
    assert set(result.returned) == {right.hash, above.hash}
    assert ledger.chain.overlay_count == 0
    assert ledger.chain.has_batch(right.hash)
    ledger.extend(right, above, time_ms=START_MS + 1_000)


def test_discard_drops_a_block_and_what_stands_on_it(ledger: Ledger) -> None:
    one, two, three = (ledger.banks[name].notes(1) for name in NAMES[:3])
    base = ledger.build(one)
    child = ledger.build(two, parent=base.header.hash())
    ledger.build(three, parent=child.header.hash())
    assert set(ledger.chain.discard(child.header.hash())) == {two.hash, three.hash}
    assert ledger.chain.overlay_count == 1
    ledger.commit(base)


def test_overlays_are_bounded_and_an_evicted_block_can_be_checked_again(ledger: Ledger) -> None:
    batch = ledger.banks["bank-a"].notes(1)
    blocks = [ledger.build(batch, time_ms=START_MS + 1 + i) for i in range(OVERLAYS_MAX + 5)]
    assert ledger.chain.overlay_count == OVERLAYS_MAX
    assert not ledger.chain.knows(blocks[0].header.hash())
    ledger.chain.check(blocks[0])
    ledger.commit(blocks[0])


def test_commit_of_what_is_not_next_is_the_callers_fault(ledger: Ledger) -> None:
    one = ledger.build(ledger.banks["bank-a"].notes(1))
    two = ledger.build(ledger.banks["bank-b"].notes(1), parent=one.header.hash())
    for block, certified in ((two, two), (one, two)):
        with pytest.raises(UsageError):
            ledger.chain.commit(block.header.hash(), certificate_of(certified, ledger.genesis))
    with pytest.raises(UsageError):
        ledger.chain.commit(ZERO_HASH, certificate_of(one, ledger.genesis))


def test_chain_stands_exactly_where_it_was_after_a_restart(store: Store) -> None:
    ledger = Ledger(store)
    for i in range(12):
        batches = [ledger.banks[name].notes(40 * i + 1) for name in NAMES[: 1 + i % 4]]
        ledger.extend(*batches, ledger.banks["bank-d"].sets(**{f"k{i}": "v", f"k{i - 3}": ""}))
        before = standing(ledger.chain)
        assert standing(ledger.reopen().chain) == before
    waiting = ledger.banks["bank-c"].notes(2)
    ledger.add(waiting)
    assert ledger.reopen().chain.get_batch(waiting.hash) == waiting
    ledger.extend(waiting)


def test_nothing_of_a_block_is_there_before_its_write(ledger: Ledger) -> None:
    before = standing(ledger.chain)
    block = ledger.build(ledger.banks["bank-a"].sets(a="1"))
    waiting = sorted(ledger.chain.batches.waiting)
    ledger.chain.commit(block.header.hash(), certificate_of(block, ledger.genesis))
    assert ledger.chain.height == 1
    assert value(ledger, "a") == "1"
    assert standing(ledger.reopen().chain) == (*before[:-1], waiting)
    ledger.chain.check(block)
    ledger.commit(block)
    assert standing(ledger.chain) == standing(ledger.reopen().chain)


def test_chain_goes_on_while_several_blocks_wait_for_their_write(ledger: Ledger) -> None:
    other = Ledger(MemoryStore())
    results = []
    for i in range(5):
        batch = ledger.banks["bank-a"].sets(a=str(i), **{f"b{i}": "1"})
        ledger.store.write(ledger.chain.add_batch(batch), sync=True)
        above = ledger.chain.tip_hash
        block = ledger.chain.build(above, time_ms=START_MS + 1 + i, epoch=0, proposer=0, batches=[batch])
        results.append(ledger.chain.commit(block.header.hash(), certificate_of(block, ledger.genesis)))
        other.add(batch)
        other.chain.check(block)
        other.commit(block)
    assert ledger.store.get(b"m/tip") == Ledger(MemoryStore()).store.get(b"m/tip")
    for result in results:
        ledger.store.write(result.puts, sync=True)
        ledger.chain.written(result.ticket)
    assert standing(ledger.chain) == standing(other.chain) == standing(ledger.reopen().chain)


def test_rivals_for_a_number_that_was_ordered_are_dropped_from_the_store(ledger: Ledger) -> None:
    bank = ledger.banks["bank-a"]
    rival = bank.notes(2)
    bank.number, bank.previous = 0, ZERO_HASH
    chosen, later = bank.notes(1), bank.notes(1)
    ledger.add(rival, later)
    ledger.extend(chosen)
    assert not ledger.chain.has_batch(rival.hash)
    assert ledger.chain.has_batch(chosen.hash)
    assert set(ledger.chain.batches.waiting) == {later.hash}
    assert set(ledger.reopen().chain.batches.waiting) == {later.hash}


def test_waiting_batches_can_be_dropped_but_not_those_of_executed_blocks(ledger: Ledger) -> None:
    used, free = ledger.banks["bank-a"].notes(1), ledger.banks["bank-b"].notes(1)
    block = ledger.build(used)
    ledger.add(free)
    ledger.store.write(ledger.chain.drop_batches([used.hash, free.hash]), sync=True)
    assert ledger.chain.has_batch(used.hash)
    assert not ledger.chain.has_batch(free.hash)
    ledger.commit(block)
    assert ledger.chain.drop_batches([used.hash]) == []


def test_store_of_another_chain_or_a_damaged_one_is_refused(ledger: Ledger) -> None:
    ledger.extend(ledger.banks["bank-a"].notes(1))
    with pytest.raises(StorageError, match="store of another chain"):
        Chain(ledger.store, genesis(Policy(block_events_max=9)), KINDS)
    tip = ledger.store.get(TIP_KEY)
    assert tip is not None
    ledger.store.write([(TIP_KEY, tip.replace(bytes(ledger.chain.tip_hash), bytes(32)))], sync=True)
    with pytest.raises(StorageError, match="block of the tip"):
        Chain(ledger.store, ledger.genesis, KINDS)


def test_disk_per_event_stays_below_its_size_and_120_bytes(ledger: Ledger) -> None:
    ledger.extend(ledger.banks["bank-a"].notes(1))
    before = sum(len(k) + len(v) for k, v in ledger.store.rows().items())  # type: ignore[attr-defined]  # a MemoryStore
    batches = [ledger.banks["bank-a"].notes(1_000) for _ in range(10)]
    for batch in batches:
        ledger.extend(batch)
    after = sum(len(k) + len(v) + 12 for k, v in ledger.store.rows().items())  # type: ignore[attr-defined]  # a MemoryStore
    events = sum(len(event) for batch in batches for event in batch.event_bytes)
    assert (after - before - events) / 10_000 < 120


def test_batch_of_the_state_changes_inside_a_batch_apply_in_order(ledger: Ledger) -> None:
    bank = ledger.banks["bank-a"]
    events = [bank.event(SetValue("a", str(i)), SET) for i in range(5)]
    ledger.extend(bank.batch(events))
    assert value(ledger, "a") == "4"
    assert parse_batch(bank.raw(events), KINDS).header.number == 1


@pytest.mark.parametrize("key", ["policy", "validators"])
def test_a_store_whose_state_lacks_what_every_chain_has_is_said_to_be_damaged(key: str) -> None:
    """Fuzzing found it: a row that a disk lost ended the start with an assertion."""
    ledger = Ledger(MemoryStore())
    ledger.store.write([(state_row_key(key.encode()), None)], sync=True)
    with pytest.raises(StorageError, match=f"{key}: row of the state missing"):
        ledger.reopen()


def test_the_versioned_state_grows_with_changes_and_not_with_blocks() -> None:
    """Old states stay provable because nodes are kept; a block that changes nothing keeps none."""
    ledger = Ledger(MemoryStore())
    bank = ledger.banks["bank-a"]

    def nodes() -> int:
        return sum(1 for _ in ledger.store.iterate(*all_of(b"n")))

    began = nodes()
    for _ in range(20):
        ledger.extend(bank.notes(5))
        ledger.extend()
    assert nodes() == began
    ledger.extend(bank.sets(key="value"))
    assert began < nodes() < began + 40


def test_a_batch_log_whose_key_names_no_member_is_said_to_be_damaged(ledger: Ledger) -> None:
    """Fuzzing found it: a key that is no text ended the start with a stack trace."""
    ledger.extend(ledger.banks["bank-a"].notes(1))
    key, row = next(ledger.store.iterate(*all_of(b"M")))
    ledger.store.write([(key[:3] + b"\x90" + key[4:], row)], sync=True)
    with pytest.raises(StorageError, match="key of a batch log names no member"):
        ledger.reopen()
