"""The pool: batches that wait to be ordered, and which of them a block takes.

A batch stays until a committed block takes its number, so the batches of a dropped branch wait again by themselves.
Every member has a place of its own of bounded size, and of each block a fair share: one that floods delays nobody else.
A source's next batch always enters, and batches that only follow a missing number give way to those that can be
ordered: a member whose place is full of these neither silences its other sources nor gets a leader deposed that lacks
what the others hold. The pool is local: nothing in it affects what is valid. Source: architecture §5 (Against
censorship).
"""

import heapq
from collections.abc import Iterable, Iterator

from msgspec import Struct

from ledger.batches import ParsedBatch
from ledger.chain import Chain
from ledger.execution import BlockRefused
from ledger.policy import Policy
from primitives.errors import ChainError, InputError
from primitives.ids import Hash, SourceKey, TimeMs

MEMBER_BATCHES_MAX = 1_024
MEMBER_BYTES_MAX = 16 << 20
RETRY_MS = 500


class PoolFull(ChainError):
    """A member's place in the pool is taken: to be tried again after `retry_ms`; nobody's fault."""

    reason = "pool_full"

    def __init__(self, member: str, expected: str, got: str) -> None:
        super().__init__(
            "pool full", where=f"member {member}", expected=expected, got=got, hint=f"try again in {RETRY_MS} ms"
        )
        self.retry_ms = RETRY_MS


class NumberTaken(InputError):
    """A source's number is used twice, or was ordered already."""

    reason = "number_taken"


class ExceedsPolicy(BlockRefused):
    """A batch larger than a whole block may be; governance may have changed that since it was signed."""

    reason = "exceeds_policy"


class Waiting(Struct, frozen=True):
    """A batch in the pool and since when it is there."""

    batch: ParsedBatch
    added_ms: TimeMs


_Turn = tuple[int, TimeMs, bytes, ParsedBatch]
"""How many numbers a batch is ahead of its source's next at the tip, since when it is next, its source, itself."""


class Pool:
    """Waiting batches by source and number, bounded per member by number of batches and bytes."""

    def __init__(
        self, *, member_batches_max: int = MEMBER_BATCHES_MAX, member_bytes_max: int = MEMBER_BYTES_MAX
    ) -> None:
        self._batches_max = member_batches_max
        self._bytes_max = member_bytes_max
        # By number and previous hash: a batch that follows another one cannot take the place of the one that fits.
        self._sources: dict[bytes, dict[tuple[int, bytes], Waiting]] = {}
        self._ordered_ms: dict[bytes, TimeMs] = {}  # of waiting sources: when their last batch was ordered
        self._hashes: dict[Hash, Waiting] = {}
        self._count: dict[str, int] = {}
        self._bytes: dict[str, int] = {}
        self._evicted: list[Hash] = []

    def __len__(self) -> int:
        return len(self._hashes)

    def __contains__(self, batch_hash: object) -> bool:
        return batch_hash in self._hashes

    @property
    def size_bytes(self) -> int:
        """The bytes of all waiting batches."""
        return sum(self._bytes.values())

    def get(self, batch_hash: Hash) -> Waiting | None:
        """Return a waiting batch."""
        return self._hashes.get(batch_hash)

    def check_room(self, chain: Chain, batch: ParsedBatch) -> bool:
        """Say whether the batch would be new here, or raise why it cannot enter.

        Raises ExceedsPolicy, BlockRefused (foreign chain, unregistered source), NumberTaken, PoolFull.
        """
        return self._who_gives_way(chain, batch) is not None

    def add(self, chain: Chain, batch: ParsedBatch, now_ms: TimeMs) -> bool:
        """Take a verified batch in and say whether it was new; raises as `check_room` does."""
        giving_way = self._who_gives_way(chain, batch)
        if giving_way is None:
            return False
        self.drop(giving_way)
        self._evicted += giving_way
        self._put(batch, now_ms)
        return True

    def take_evicted(self) -> list[Hash]:
        """Return the batches that gave way to others since the last call."""
        evicted, self._evicted = self._evicted, []
        return evicted

    def take_back(self, chain: Chain, batch: ParsedBatch, now_ms: TimeMs) -> None:
        """Take in a batch of a dropped branch, whatever the limits: it was in a proposal, which bounds how many."""
        if not chain.admits(chain.tip_hash, batch.header.source):
            return
        next_number, _ = chain.next_number(chain.tip_hash, batch.header.source)
        rivals = self._sources.get(batch.header.source, {})
        if batch.header.number >= next_number and _place(batch) not in rivals:
            self._put(batch, now_ms)

    def committed(self, batches: Iterable[ParsedBatch], now_ms: TimeMs = TimeMs(0)) -> None:  # noqa: B008  an int
        """Let go of all batches whose numbers these committed batches took, and of those that follow a rival."""
        for batch in batches:
            number, source = batch.header.number, batch.header.source
            for place, waiting in list(self._sources.get(source, {}).items()):
                if place[0] <= number or (place[0] == number + 1 and place[1] != batch.hash):
                    self._remove(waiting.batch)
            if source in self._sources:
                self._ordered_ms[source] = now_ms

    def drop(self, batch_hashes: Iterable[Hash]) -> None:
        """Let go of these batches."""
        for batch_hash in batch_hashes:
            waiting = self._hashes.get(batch_hash)
            if waiting is not None:
                self._remove(waiting.batch)

    def drop_unadmitted(self, chain: Chain) -> list[SourceKey]:
        """Let go of all batches of sources that may not submit any more after the tip; return those sources.

        To be called once a block that changed members or sources is committed: a batch that no block may hold would
        look to this node like one that its leader withholds.
        """
        lost = [source for source in self._sources if not chain.admits(chain.tip_hash, source)]
        for source in lost:
            for waiting in list(self._sources[source].values()):
                self._remove(waiting.batch)
        return [SourceKey(source) for source in lost]

    def sources(self) -> list[SourceKey]:
        """Return the sources of which a batch waits."""
        return [SourceKey(source) for source in self._sources]

    def next_of(self, chain: Chain, parent: Hash, source: bytes) -> Waiting | None:
        """Return the batch that is this source's next after `parent`, if it waits and a block can hold it."""
        places = self._sources.get(source)
        if places is None:
            return None
        if chain.rights_height(parent) > chain.height and not chain.admits(parent, source):
            return None  # an uncommitted block takes its right away; committed ones did so in `drop_unadmitted`
        waiting = places.get(chain.next_number(parent, source))
        return waiting if waiting is not None and _exceeded(chain.policy_after(parent), waiting.batch) is None else None

    def rival_of(self, batch: ParsedBatch) -> ParsedBatch | None:
        """Return another waiting batch of the same source and number that follows the same one."""
        waiting = self._sources.get(batch.header.source, {}).get(_place(batch))
        return None if waiting is None or waiting.batch.hash == batch.hash else waiting.batch

    def orderable(self, chain: Chain, parent: Hash) -> Iterator[Waiting]:
        """Yield, source by source, the batch that is its source's next after `parent`."""
        for source in self._sources:
            waiting = self.next_of(chain, parent, source)
            if waiting is not None:
                yield waiting

    def anything_to_order(self, chain: Chain, parent: Hash) -> bool:
        """Say whether a block on `parent` would hold a batch."""
        return bool(self._sources) and next(self.orderable(chain, parent), None) is not None

    def oldest_ms(self, chain: Chain, parent: Hash) -> TimeMs | None:
        """Return since when the longest waiting orderable batch is here: what a liveness timer counts from."""
        return min((waiting.added_ms for waiting in self.orderable(chain, parent)), default=None)

    def select(self, chain: Chain, parent: Hash) -> list[ParsedBatch]:
        """Return the batches of a block on `parent`, in order, within the policy's limits after `parent`.

        The member that has the fewest bytes in the block comes next, until nothing fits; of those that have none yet,
        the one whose batch has been next for longest. Who is first among equals moves on with each height. A member's
        sources take turns alike. A source's batches keep their order; where a number is missing, the rest waits.
        """
        if not self._sources:
            return []  # so it mostly is when a leader asks
        policy = chain.policy_after(parent)
        height = chain.header_of(parent).height + 1
        queues = self._queues(chain, parent)
        members = sorted(queues)
        heap = [
            (0, *queues[member][0][:2], (rank - height) % len(members), member) for rank, member in enumerate(members)
        ]
        heapq.heapify(heap)
        batches_left, events_left, bytes_left = (
            policy.block_batches_max,
            policy.block_events_max,
            policy.block_bytes_max,
        )
        chosen: list[ParsedBatch] = []
        while heap and batches_left:
            taken, _, _, rank, member = heapq.heappop(heap)
            queue = queues[member]
            ahead, _, source, batch = heapq.heappop(queue)
            if batch.size <= bytes_left and batch.header.count <= events_left:
                chosen.append(batch)
                taken += batch.size
                batches_left, events_left, bytes_left = (
                    batches_left - 1,
                    events_left - batch.header.count,
                    bytes_left - batch.size,
                )
                following = self._sources[source].get((batch.header.number + 1, batch.hash))
                if following is not None:
                    heapq.heappush(queue, (ahead + 1, self._since(following), source, following.batch))
            if queue:
                heapq.heappush(heap, (taken, *queue[0][:2], rank, member))
        return chosen

    def _queues(self, chain: Chain, parent: Hash) -> dict[str, list[_Turn]]:
        """Return, by member, a heap of its sources' next batches."""
        queues: dict[str, list[_Turn]] = {}
        for waiting in self.orderable(chain, parent):
            header = waiting.batch.header
            ahead = header.number - chain.next_number(chain.tip_hash, header.source)[0]
            turn = (ahead, self._since(waiting), header.source, waiting.batch)
            heapq.heappush(queues.setdefault(header.member, []), turn)
        return queues

    def _since(self, waiting: Waiting) -> TimeMs:
        """Return since when a source's next batch is that: what `chainnode.fairness` counts from too."""
        return max(waiting.added_ms, self._ordered_ms.get(waiting.batch.header.source, TimeMs(0)))

    def _who_gives_way(self, chain: Chain, batch: ParsedBatch) -> list[Hash] | None:
        """Return which batches give way to a new one, None where it is not new; raises as `check_room` says."""
        if batch.hash in self._hashes:
            return None
        header = batch.header
        exceeded = _exceeded(chain.policy_after(chain.tip_hash), batch)
        where = f"source {header.source.hex()[:16]} of {header.member}"
        if exceeded is not None:
            limit, got, what = exceeded
            raise ExceedsPolicy(
                "batch above the chain's policy", where=where, expected=f"at most {limit} {what} in a block", got=got
            )
        chain.check_admission(chain.tip_hash, batch)
        next_number, previous = chain.next_number(chain.tip_hash, header.source)
        if header.number < next_number:
            raise NumberTaken("batch number ordered already", where=where, expected=next_number, got=header.number)
        if header.number == next_number and header.previous != previous:
            raise NumberTaken("batch follows another batch", where=where, expected=previous, got=header.previous)
        rival = self._sources.get(header.source, {}).get(_place(batch))
        if rival is not None:
            raise NumberTaken(
                f"batch number {header.number} used twice", where=where, expected=rival.batch.hash, got=batch.hash
            )
        count, size = self._count.get(header.member, 0) + 1, self._bytes.get(header.member, 0) + batch.size
        if count <= self._batches_max and size <= self._bytes_max:
            return []
        is_next = header.number == next_number
        giving_way: list[Hash] = []
        if is_next or header.previous in self._hashes:
            linked = self._linked(chain, batch)
            if batch.hash in linked:
                for gap in self._gaps(header.member, linked):
                    giving_way.append(gap.hash)
                    count, size = count - 1, size - gap.size
                    if count <= self._batches_max and size <= self._bytes_max:
                        return giving_way
        if is_next:
            return giving_way  # at most one of each registered source stands above the limits
        if count > self._batches_max:
            raise PoolFull(header.member, f"at most {self._batches_max} batches", f"{count - 1} waiting")
        raise PoolFull(
            header.member, f"at most {self._bytes_max} bytes", f"{size - batch.size} waiting and {batch.size} more"
        )

    def _linked(self, chain: Chain, new: ParsedBatch) -> set[bytes]:
        """Return the batches of a member that can be ordered from the tip on, once a new one of it is among them."""
        linked: set[bytes] = set()
        for source in {*self._sources, new.header.source}:
            places = {place: waiting.batch for place, waiting in self._sources.get(source, {}).items()}
            if source == new.header.source:
                places[_place(new)] = new
            if next(iter(places.values())).header.member != new.header.member:
                continue
            place: tuple[int, bytes] = chain.next_number(chain.tip_hash, source)
            while (batch := places.get(place)) is not None:
                place = (place[0] + 1, batch.hash)
                linked.add(batch.hash)
        return linked

    def _gaps(self, member: str, linked: set[bytes]) -> list[ParsedBatch]:
        """Return the other batches of a member, the highest numbers first."""
        gaps = [item.batch for item in self._hashes.values() if item.batch.header.member == member]
        return sorted(
            (batch for batch in gaps if batch.hash not in linked), key=lambda batch: (-batch.header.number, batch.hash)
        )

    def _put(self, batch: ParsedBatch, now_ms: TimeMs) -> None:
        header = batch.header
        waiting = Waiting(batch, now_ms)
        self._sources.setdefault(header.source, {})[_place(batch)] = waiting
        self._hashes[batch.hash] = waiting
        self._count[header.member] = self._count.get(header.member, 0) + 1
        self._bytes[header.member] = self._bytes.get(header.member, 0) + batch.size

    def _remove(self, batch: ParsedBatch) -> None:
        header = batch.header
        del self._hashes[batch.hash]
        places = self._sources[header.source]
        del places[_place(batch)]
        if not places:
            del self._sources[header.source]
            self._ordered_ms.pop(header.source, None)
        self._count[header.member] -= 1
        self._bytes[header.member] -= batch.size
        if not self._count[header.member]:
            del self._count[header.member], self._bytes[header.member]


def _place(batch: ParsedBatch) -> tuple[int, bytes]:
    return batch.header.number, batch.header.previous


def _exceeded(policy: Policy, batch: ParsedBatch) -> tuple[int, int, str] | None:
    """Return the limit of a block that a batch alone exceeds, how far it goes, and of what."""
    if batch.header.count > policy.block_events_max:
        return policy.block_events_max, batch.header.count, "events"
    if batch.size > policy.block_bytes_max:
        return policy.block_bytes_max, batch.size, "bytes"
    return None
