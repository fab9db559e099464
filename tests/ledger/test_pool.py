"""The pool: bounded per member, fair in blocks, in order of numbers."""

import msgspec
import pytest

from consensus.messages import KINDS as WIRE_KINDS
from consensus.messages import Blocks, PrePrepare
from consensus.verify import BATCHES_PER_BLOCK_MAX
from ledger.batches import BATCH_EVENTS_MAX, ParsedBatch, build_batch, parse_batch
from ledger.events import EVENT_SIZE_MAX
from ledger.execution import BlockRefused
from ledger.genesis import GenesisSource
from ledger.members import Role
from ledger.policy import Policy, check_policy
from ledger.pool import ExceedsPolicy, NumberTaken, Pool, PoolFull
from ledger.store import MemoryStore
from primitives.errors import InputError
from primitives.ids import ZERO_HASH, Hash, TimeMs
from tests.ledger.chain_fixtures import KINDS, NAMES, START_MS, Bank, Ledger, Note, key_of


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
        (Policy(block_bytes_max=128 * 1024), 3),
    ],
)
def test_selection_keeps_the_limits_of_the_policy(policy: Policy, expected: int) -> None:
    ledger = Ledger(MemoryStore(), policy)
    pool = Pool()
    size = 600 if policy.block_bytes_max == 128 * 1024 else 4
    put(pool, ledger, *[ledger.banks["bank-a"].notes(size) for _ in range(6)])
    chosen = pool.select(ledger.chain, ledger.chain.tip_hash)
    assert len(chosen) == expected
    ledger.build(*chosen)


def gaps(bank: Bank, count: int, start: int = 10**6) -> list[ParsedBatch]:
    """Return batches of far numbers that follow nothing."""
    event = bank.event(Note("gap"))
    raw = [
        build_batch(
            [event], chain_id=bank.chain_id, member=bank.name, key=bank.key, number=start + index,
            previous=Hash(b"\1" * 32), time_ms=TimeMs(START_MS),
        )
        for index in range(count)
    ]  # fmt: skip
    return [parse_batch(item, KINDS) for item in raw]


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


def test_a_place_full_of_gaps_gives_way_to_what_can_be_ordered_the_highest_first(ledger: Ledger) -> None:
    pool = Pool(member_batches_max=3)
    bank = ledger.banks["bank-a"]
    far = gaps(bank, 3)
    put(pool, ledger, *far)
    first, second, third = (bank.notes(1) for _ in range(3))
    with pytest.raises(PoolFull):
        pool.add(ledger.chain, third, TimeMs(0))
    put(pool, ledger, first, second)
    assert pool.take_evicted() == [far[2].hash, far[1].hash]
    assert pool.take_evicted() == []
    put(pool, ledger, third)
    assert selected(pool, ledger) == [("bank-a", number) for number in range(3)]
    with pytest.raises(PoolFull):
        pool.add(ledger.chain, bank.notes(1), TimeMs(0))


def test_a_sources_next_batch_enters_a_place_that_is_full_of_its_members_others(ledger: Ledger) -> None:
    pool = Pool(member_batches_max=2)
    bank = ledger.banks["bank-a"]
    first, second, third = (bank.notes(1) for _ in range(3))
    ledger.add(first, second, third)
    put(pool, ledger, second, third)
    put(pool, ledger, first)
    assert len(selected(pool, ledger)) == 3, "none of those that can be ordered had to go"


def test_a_batch_that_follows_nothing_cannot_take_the_place_of_the_one_that_fits(ledger: Ledger) -> None:
    pool = Pool()
    bank = ledger.banks["bank-a"]
    (wrong,) = gaps(bank, 1, start=1)
    first, second = bank.notes(1), bank.notes(1)
    put(pool, ledger, wrong, second, first)
    assert len(selected(pool, ledger)) == 2
    ledger.extend(first)
    pool.committed([first], TimeMs(1))
    assert wrong.hash not in pool
    assert second.hash in pool


@pytest.mark.parametrize("policy", [Policy(block_bytes_max=128 * 1024), Policy(block_events_max=1_000)])
def test_a_batch_above_the_policy_is_refused_at_the_door(policy: Policy) -> None:
    ledger = Ledger(MemoryStore(), policy)
    big = ledger.banks["bank-a"].batch([ledger.banks["bank-a"].event(Note("x" * 200)) for _ in range(1_001)])
    pool = Pool()
    with pytest.raises(ExceedsPolicy, match="batch above the chain's policy: expected at most"):
        pool.check_room(ledger.chain, big)
    with pytest.raises(InputError):
        pool.add(ledger.chain, big, TimeMs(0))
    pool.take_back(ledger.chain, big, TimeMs(0))  # as if the policy was another when it came
    assert not pool.anything_to_order(ledger.chain, ledger.chain.tip_hash), "no block could ever hold it"


def test_a_members_sources_take_turns_however_much_waits_of_one(ledger: Ledger) -> None:
    more = GenesisSource(key_of("bank-a/2", "source").public, (Role.BANK,))
    first, *others = ledger.genesis.members
    first = msgspec.structs.replace(first, sources=(*first.sources, more))
    ledger.genesis = msgspec.structs.replace(ledger.genesis, members=(first, *others))
    ledger.store = MemoryStore()
    ledger.reopen()
    backlog, late = Bank("bank-a", ledger.genesis.chain_id), Bank("bank-a", ledger.genesis.chain_id)
    late.key = key_of("bank-a/2", "source")
    pool = Pool()
    put(pool, ledger, *[backlog.notes(1) for _ in range(40)])
    lone = late.notes(1)
    put(pool, ledger, lone, now_ms=5)
    assert lone in pool.select(ledger.chain, ledger.chain.tip_hash)[:2]


def test_the_batch_that_is_next_for_longest_comes_first_among_members() -> None:
    ledger = Ledger(MemoryStore(), Policy(block_batches_max=1))
    pool = Pool()
    for at_ms, name in enumerate(("bank-c", "bank-a", "bank-d", "bank-b")):
        put(pool, ledger, ledger.banks[name].notes(1), ledger.banks[name].notes(1), now_ms=at_ms)
    order = []
    for step in range(8):
        (batch,) = pool.select(ledger.chain, ledger.chain.tip_hash)
        order.append(batch.header.member[-1])
        ledger.extend(batch)
        pool.committed([batch], TimeMs(10 + step))
    assert "".join(order) == "cadbcadb"


def test_a_batch_that_does_not_fit_leaves_its_room_to_the_next() -> None:
    limited = Ledger(MemoryStore(), Policy(block_events_max=10))
    pool = Pool()
    put(pool, limited, limited.banks["bank-a"].notes(6), now_ms=0)
    put(pool, limited, limited.banks["bank-b"].notes(6), now_ms=1)
    put(pool, limited, limited.banks["bank-c"].notes(4), now_ms=2)
    assert selected(pool, limited) == [("bank-a", 0), ("bank-c", 0)]


def test_what_the_policy_may_allow_fits_the_protocols_messages() -> None:
    largest = Policy(block_bytes_max=8 << 20, block_events_max=16_384, block_batches_max=BATCHES_PER_BLOCK_MAX)
    smallest = Policy(block_bytes_max=128 * 1024, block_events_max=1, block_batches_max=1)
    sizes = dict(WIRE_KINDS.values())
    check_policy(largest)
    check_policy(smallest)
    assert largest.block_bytes_max + sizes[PrePrepare] * 4 < sizes[Blocks]
    assert largest.block_batches_max * 40 < sizes[PrePrepare] // 2
    assert smallest.block_bytes_max > EVENT_SIZE_MAX + 4_096
    assert largest.block_events_max >= BATCH_EVENTS_MAX
    for above in (
        Policy(block_batches_max=BATCHES_PER_BLOCK_MAX + 1),
        Policy(block_bytes_max=largest.block_bytes_max + 1),
        Policy(block_bytes_max=smallest.block_bytes_max - 1),
        Policy(block_events_max=largest.block_events_max + 1),
    ):
        with pytest.raises(InputError, match="out of range"):
            check_policy(above)


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
