"""The pool: bounded per member, fair in blocks, in order of numbers."""

import pytest

from ledger.batches import ParsedBatch
from ledger.execution import BlockRefused
from ledger.policy import Policy
from ledger.pool import NumberTaken, Pool, PoolFull
from ledger.store import MemoryStore
from primitives.ids import ZERO_HASH, Hash, TimeMs
from tests.ledger.chain_fixtures import NAMES, Ledger


@pytest.fixture
def ledger() -> Ledger:
    """A ledger whose blocks hold at most 12 batches."""
    return Ledger(MemoryStore(), Policy(block_batches_max=12))


def put(pool: Pool, ledger: Ledger, *batches: ParsedBatch, now_ms: int = 0) -> None:
    """Add batches to the pool."""
    for batch in batches:
        assert pool.add(ledger.chain, batch, TimeMs(now_ms))


def selected(pool: Pool, ledger: Ledger, parent: Hash | None = None) -> list[tuple[str, int]]:
    """Return (member, number) of the batches that a block would take."""
    above = ledger.chain.tip_hash if parent is None else parent
    return [(batch.header.member, batch.header.number) for batch in pool.select(ledger.chain, above)]


def test_batches_of_a_source_come_in_order_whatever_the_order_of_arrival(ledger: Ledger) -> None:
    pool = Pool()
    batches = [ledger.banks["bank-a"].notes(1) for _ in range(4)]
    put(pool, ledger, batches[2], batches[0], batches[3])
    assert selected(pool, ledger) == [("bank-a", 0)]
    put(pool, ledger, batches[1])
    assert selected(pool, ledger) == [("bank-a", number) for number in range(4)]


def test_every_selection_is_a_block_that_the_chain_accepts(ledger: Ledger) -> None:
    pool = Pool()
    for name in NAMES:
        put(pool, ledger, *[ledger.banks[name].notes(size) for size in (3, 1, 2, 5, 1)])
    parent = ledger.chain.tip_hash
    while pool.anything_to_order(ledger.chain, parent):
        block = ledger.build(*pool.select(ledger.chain, parent), parent=parent)
        parent = block.header.hash()
    assert selected(pool, ledger, parent) == []
    assert len(pool) == 20


@pytest.mark.parametrize("flooder", NAMES)
def test_flooding_member_takes_only_what_others_leave(ledger: Ledger, flooder: str) -> None:
    pool = Pool()
    put(pool, ledger, *[ledger.banks[flooder].notes(50) for _ in range(40)])
    others = [name for name in NAMES if name != flooder]
    for name, count in zip(others, (3, 2, 1), strict=True):
        put(pool, ledger, *[ledger.banks[name].notes(1) for _ in range(count)])
    chosen = [member for member, _ in selected(pool, ledger)]
    assert len(chosen) == 12
    assert [chosen.count(name) for name in others] == [3, 2, 1]
    assert chosen[:7].count(flooder) == 1, "the small ones come first"


def test_batch_that_follows_a_rival_of_the_parents_is_not_selected(ledger: Ledger) -> None:
    pool = Pool()
    bank = ledger.banks["bank-a"]
    put(pool, ledger, bank.notes(1), bank.notes(1))
    bank.number, bank.previous = 0, ZERO_HASH
    block = ledger.build(bank.notes(3))
    assert selected(pool, ledger, block.header.hash()) == []
    assert len(selected(pool, ledger)) == 2


def test_first_place_among_equals_moves_on_with_the_height() -> None:
    ledger = Ledger(MemoryStore(), Policy(block_batches_max=1))
    pool = Pool()
    for name in NAMES:
        put(pool, ledger, *[ledger.banks[name].notes(1) for _ in range(2)])
    order = []
    for _ in range(8):
        (batch,) = pool.select(ledger.chain, ledger.chain.tip_hash)
        order.append(batch.header.member)
        ledger.extend(batch)
        pool.committed([batch])
    assert set(order[:4]) == set(order[4:]) == set(NAMES)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (Policy(block_events_max=10), 2),
        (Policy(block_batches_max=3), 3),
        (Policy(block_bytes_max=64 * 1024), 3),
    ],
)
def test_selection_keeps_the_limits_of_the_policy(policy: Policy, expected: int) -> None:
    ledger = Ledger(MemoryStore(), policy)
    pool = Pool()
    size = 300 if policy.block_bytes_max == 64 * 1024 else 4
    put(pool, ledger, *[ledger.banks["bank-a"].notes(size) for _ in range(6)])
    chosen = pool.select(ledger.chain, ledger.chain.tip_hash)
    assert len(chosen) == expected
    ledger.build(*chosen)


def test_members_place_is_bounded_in_batches_and_bytes_and_others_keep_theirs(ledger: Ledger) -> None:
    first, second, third = (ledger.banks["bank-a"].notes(10) for _ in range(3))
    by_count, by_size = Pool(member_batches_max=2), Pool(member_bytes_max=first.size + second.size)
    for pool in (by_count, by_size):
        put(pool, ledger, first, second)
        with pytest.raises(PoolFull, match="pool full") as full:
            pool.add(ledger.chain, third, TimeMs(0))
        assert full.value.retry_ms > 0
    for pool in (by_count, by_size):
        pool.drop([second.hash])
        put(pool, ledger, second)
        assert pool.size_bytes == first.size + second.size
    put(by_count, ledger, ledger.banks["bank-b"].notes(10))


def test_batch_again_is_not_new_and_another_of_its_number_is_refused(ledger: Ledger) -> None:
    pool = Pool()
    bank = ledger.banks["bank-a"]
    first = bank.notes(1)
    put(pool, ledger, first)
    assert not pool.add(ledger.chain, first, TimeMs(0))
    bank.number, bank.previous = 0, ZERO_HASH
    with pytest.raises(NumberTaken, match="number 0 used twice"):
        pool.add(ledger.chain, bank.notes(2), TimeMs(0))
    ledger.extend(first)
    pool.committed([first])
    with pytest.raises(NumberTaken, match="ordered already"):
        pool.add(ledger.chain, first, TimeMs(0))
    bank.number, bank.previous = 1, Hash(b"x" * 32)
    with pytest.raises(NumberTaken, match="follows another batch"):
        pool.add(ledger.chain, bank.notes(1), TimeMs(0))


def test_unregistered_source_is_refused_at_the_door(ledger: Ledger) -> None:
    bank = ledger.banks["bank-a"]
    bank.key = type(bank.key)(bytes(32))
    with pytest.raises(BlockRefused, match="source not registered"):
        Pool().add(ledger.chain, bank.notes(1), TimeMs(0))


def test_batches_of_a_dropped_branch_are_selected_again(ledger: Ledger) -> None:
    pool = Pool()
    one, two = ledger.banks["bank-a"].notes(1), ledger.banks["bank-b"].notes(1)
    put(pool, ledger, one, two)
    block = ledger.build(one, two)
    assert selected(pool, ledger, block.header.hash()) == []
    ledger.chain.discard(block.header.hash())
    assert len(selected(pool, ledger)) == 2
    pool.drop([one.hash])
    pool.take_back(ledger.chain, one, TimeMs(5))
    pool.take_back(ledger.chain, one, TimeMs(6))
    assert len(selected(pool, ledger)) == 2
    assert len(pool) == 2


def test_commit_takes_rivals_and_their_followers_with_it(ledger: Ledger) -> None:
    pool = Pool()
    bank = ledger.banks["bank-a"]
    rival, follower = bank.notes(2), bank.notes(1)
    put(pool, ledger, rival, follower)
    bank.number, bank.previous = 0, ZERO_HASH
    chosen = bank.notes(1)
    ledger.extend(chosen)
    pool.committed([chosen])
    assert len(pool) == 0
    assert pool.size_bytes == 0


def test_age_of_the_oldest_orderable_batch_counts_and_gaps_do_not(ledger: Ledger) -> None:
    pool = Pool()
    tip = ledger.chain.tip_hash
    assert pool.oldest_ms(ledger.chain, tip) is None
    first, second = ledger.banks["bank-a"].notes(1), ledger.banks["bank-a"].notes(1)
    put(pool, ledger, second, now_ms=10)
    assert pool.oldest_ms(ledger.chain, tip) is None
    assert not pool.anything_to_order(ledger.chain, tip)
    put(pool, ledger, first, now_ms=30)
    put(pool, ledger, ledger.banks["bank-b"].notes(1), now_ms=20)
    assert pool.oldest_ms(ledger.chain, tip) == 20
    assert first.hash in pool
    assert pool.get(first.hash) is not None
