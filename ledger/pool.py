"""The pool: batches that wait to be ordered, and which of them a block takes.

A batch stays until a committed block takes its number, so the batches of a dropped branch wait again by themselves.
Every member has a place of its own of bounded size, and of each block a fair share: one that floods delays nobody else.
The pool is local: nothing in it affects what is valid. Source: architecture §5 (Against censorship).
"""

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ledger.batches import ParsedBatch
from ledger.chain import Chain
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


@dataclass(frozen=True, slots=True)
class Waiting:
    """A batch in the pool and since when it is there."""

    batch: ParsedBatch
    added_ms: TimeMs


class Pool:
    """Waiting batches by source and number, bounded per member by number of batches and bytes."""

    def __init__(
        self, *, member_batches_max: int = MEMBER_BATCHES_MAX, member_bytes_max: int = MEMBER_BYTES_MAX
    ) -> None:
        self._batches_max = member_batches_max
        self._bytes_max = member_bytes_max
        self._sources: dict[bytes, dict[int, Waiting]] = {}
        self._hashes: dict[Hash, Waiting] = {}
        self._count: dict[str, int] = {}
        self._bytes: dict[str, int] = {}

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

        Raises BlockRefused (foreign chain, unregistered source), NumberTaken, PoolFull.
        """
        if batch.hash in self._hashes:
            return False
        header = batch.header
        chain.check_admission(chain.tip_hash, batch)
        next_number, previous = chain.next_number(chain.tip_hash, header.source)
        where = f"source {header.source.hex()[:16]} of {header.member}"
        if header.number < next_number:
            raise NumberTaken("batch number ordered already", where=where, expected=next_number, got=header.number)
        if header.number == next_number and header.previous != previous:
            raise NumberTaken("batch follows another batch", where=where, expected=previous, got=header.previous)
        rival = self._sources.get(header.source, {}).get(header.number)
        if rival is not None:
            raise NumberTaken(
                f"batch number {header.number} used twice", where=where, expected=rival.batch.hash, got=batch.hash
            )
        count, size = self._count.get(header.member, 0), self._bytes.get(header.member, 0)
        if count + 1 > self._batches_max:
            raise PoolFull(header.member, f"at most {self._batches_max} batches", f"{count} waiting")
        if size + batch.size > self._bytes_max:
            raise PoolFull(header.member, f"at most {self._bytes_max} bytes", f"{size} waiting and {batch.size} more")
        return True

    def add(self, chain: Chain, batch: ParsedBatch, now_ms: TimeMs) -> bool:
        """Take a verified batch in and say whether it was new; raises as `check_room` does."""
        if not self.check_room(chain, batch):
            return False
        self._put(batch, now_ms)
        return True

    def take_back(self, chain: Chain, batch: ParsedBatch, now_ms: TimeMs) -> None:
        """Take in a batch of a dropped branch, whatever the limits: it was in a proposal, which bounds how many."""
        next_number, _ = chain.next_number(chain.tip_hash, batch.header.source)
        rivals = self._sources.get(batch.header.source, {})
        if batch.header.number >= next_number and batch.header.number not in rivals:
            self._put(batch, now_ms)

    def committed(self, batches: Iterable[ParsedBatch]) -> None:
        """Let go of all batches whose numbers these committed batches took, rivals of another hash included."""
        for batch in batches:
            numbers = self._sources.get(batch.header.source, {})
            for number in [number for number in numbers if number <= batch.header.number]:
                self._remove(numbers[number].batch)
            following = numbers.get(batch.header.number + 1)
            if following is not None and following.batch.header.previous != batch.hash:
                self._remove(following.batch)  # it follows a rival and can never be ordered

    def drop(self, batch_hashes: Iterable[Hash]) -> None:
        """Let go of these batches."""
        for batch_hash in batch_hashes:
            waiting = self._hashes.get(batch_hash)
            if waiting is not None:
                self._remove(waiting.batch)

    def sources(self) -> list[SourceKey]:
        """Return the sources of which a batch waits."""
        return [SourceKey(source) for source in self._sources]

    def next_of(self, chain: Chain, parent: Hash, source: bytes) -> Waiting | None:
        """Return the batch that is this source's next after `parent`, if it waits."""
        numbers = self._sources.get(source)
        if numbers is None:
            return None
        number, previous = chain.next_number(parent, source)
        waiting = numbers.get(number)
        return waiting if waiting is not None and waiting.batch.header.previous == previous else None

    def orderable(self, chain: Chain, parent: Hash) -> Iterator[Waiting]:
        """Yield, source by source, the batch that is its source's next after `parent`."""
        for source in self._sources:
            waiting = self.next_of(chain, parent, source)
            if waiting is not None:
                yield waiting

    def anything_to_order(self, chain: Chain, parent: Hash) -> bool:
        """Say whether a block on `parent` would hold a batch."""
        return next(self.orderable(chain, parent), None) is not None

    def oldest_ms(self, chain: Chain, parent: Hash) -> TimeMs | None:
        """Return since when the longest waiting orderable batch is here: what a liveness timer counts from."""
        return min((waiting.added_ms for waiting in self.orderable(chain, parent)), default=None)

    def select(self, chain: Chain, parent: Hash) -> list[ParsedBatch]:
        """Return the batches of a block on `parent`, in order, within the policy's limits after `parent`.

        The member that has the fewest bytes in the block comes next, until nothing fits. Who is first among equals
        moves on with each height. A source's batches keep their order; where a number is missing, the rest waits.
        """
        policy = chain.policy_after(parent)
        height = chain.header_of(parent).height + 1
        queues = self._queues(chain, parent)
        members = sorted(queues)
        heap = [(0, (rank - height) % len(members), member) for rank, member in enumerate(members)]
        heapq.heapify(heap)
        batches_left, events_left, bytes_left = (
            policy.block_batches_max,
            policy.block_events_max,
            policy.block_bytes_max,
        )
        chosen: list[ParsedBatch] = []
        while heap and batches_left:
            taken, rank, member = heapq.heappop(heap)
            batch = next(queues[member], None)
            if batch is None or batch.size > bytes_left or batch.header.count > events_left:
                continue
            chosen.append(batch)
            batches_left, events_left, bytes_left = (
                batches_left - 1,
                events_left - batch.header.count,
                bytes_left - batch.size,
            )
            heapq.heappush(heap, (taken + batch.size, rank, member))
        return chosen

    def _queues(self, chain: Chain, parent: Hash) -> dict[str, Iterator[ParsedBatch]]:
        """Return, by member, its orderable batches: sources in order of their keys, each in order of numbers."""
        heads: dict[str, list[Waiting]] = {}
        for waiting in self.orderable(chain, parent):
            heads.setdefault(waiting.batch.header.member, []).append(waiting)
        return {member: self._queue(waiting) for member, waiting in heads.items()}

    def _queue(self, heads: list[Waiting]) -> Iterator[ParsedBatch]:
        """Yield the batches of one member, the longest waiting source first, then its following numbers."""
        for head in sorted(heads, key=lambda waiting: (waiting.added_ms, waiting.batch.header.source)):
            numbers = self._sources[head.batch.header.source]
            current: Waiting | None = head
            while current is not None:
                yield current.batch
                following = numbers.get(current.batch.header.number + 1)
                linked = following is not None and following.batch.header.previous == current.batch.hash
                current = following if linked else None

    def _put(self, batch: ParsedBatch, now_ms: TimeMs) -> None:
        header = batch.header
        waiting = Waiting(batch, now_ms)
        self._sources.setdefault(header.source, {})[header.number] = waiting
        self._hashes[batch.hash] = waiting
        self._count[header.member] = self._count.get(header.member, 0) + 1
        self._bytes[header.member] = self._bytes.get(header.member, 0) + batch.size

    def _remove(self, batch: ParsedBatch) -> None:
        header = batch.header
        del self._hashes[batch.hash]
        numbers = self._sources[header.source]
        del numbers[header.number]
        if not numbers:
            del self._sources[header.source]
        self._count[header.member] -= 1
        self._bytes[header.member] -= batch.size
        if not self._count[header.member]:
            del self._count[header.member], self._bytes[header.member]
