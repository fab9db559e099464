"""The ledger as the replica's application: proposes, executes and commits blocks; pure.

Joins `ledger.chain` and `ledger.pool` behind `consensus.ports.Application`, and gathers the rows that the node has to
write before the effects of the same turn leave. Not here: disks, clocks, peers.
"""

from __future__ import annotations

from msgspec import Struct

from chainnode.evidence import rivals
from chainnode.fairness import Offer, OfferBook, Room, Taken
from consensus.ports import Invalid, LogHead, Missing, Ready, Verdict
from ledger.batches import ParsedBatch
from ledger.chain import BatchesMissing, Chain, CommitResult, ParentUnknown
from ledger.evidence_bodies import BatchesEvidence
from ledger.execution import BlockRefused
from ledger.policy import Policy
from ledger.pool import NumberTaken, Pool, PoolFull
from ledger.store import Put
from primitives.block import Block, CommittedBlock
from primitives.ids import Epoch, Hash, Height, SourceKey, TimeMs
from primitives.validators import ValidatorSet

RIVALS_MAX = 64
"""Sources of which contradictions are noted between two turns."""


class _Flight(Struct, frozen=True):
    """A block of mine that is not committed: its parent and the bytes of its batches."""

    parent: Hash
    size: int


class _Seen(Struct, frozen=True):
    """An executed block that is not delivered: when it first was, and whether that was to vote for it."""

    at_ms: TimeMs
    voted: bool


class LedgerApplication:
    """Owns the chain and the pool of one node; `take_rows` and `take_commits` hand over what a turn produced."""

    def __init__(self, chain: Chain, pool: Pool, timeout_base_ms: int) -> None:
        self.chain = chain
        self.pool = pool
        self.offers = OfferBook()
        self._timeout_ms = timeout_base_ms
        self._now_ms = TimeMs(0)
        self._rows: list[Put] = []
        self._commits: list[CommitResult] = []
        self._in_flight: dict[Hash, _Flight] = {}
        self._seen: dict[Hash, _Seen] = {}
        self._rivals: dict[SourceKey, BatchesEvidence] = {}
        self._moved: dict[SourceKey, None] = {}  # sources whose next batch may be another than when it was last noted

    # --- what the core calls

    def add_batch(self, batch: ParsedBatch, now_ms: TimeMs) -> bool:
        """Hold a verified batch, for the pool and for blocks that name it; return whether it was new.

        Raises `PoolFull`, `NumberTaken` or `BlockRefused` where it can't wait here; a block may still fetch it later.
        """
        if self.chain.holds(batch):
            return False
        self._now_ms = now_ms
        try:
            self.pool.add(self.chain, batch, now_ms)
        except NumberTaken:
            self.note_rival(batch)
            raise
        self._drop_evicted()
        self._rows.extend(self.chain.add_batch(batch))
        self._moved[SourceKey(batch.header.source)] = None
        self._note_offers(now_ms)
        return True

    def take_waiting(self, now_ms: TimeMs) -> None:
        """Put the batches that waited before a restart in the pool again."""
        self._now_ms = now_ms
        for batch_hash in list(self.chain.batches.waiting):
            batch = self.chain.get_batch(batch_hash)
            if batch is None:
                continue
            try:
                self.pool.add(self.chain, batch, now_ms)
                self._moved[SourceKey(batch.header.source)] = None
            except (PoolFull, NumberTaken, BlockRefused):
                continue  # it stays in the store while a block in flight may name it
        self.pool.take_evicted()  # and so do these

    def add_fetched(self, batch: ParsedBatch) -> bool:
        """Hold a verified batch that a block named; local limits do not apply. Return whether it was new."""
        if self.chain.holds(batch):
            return False
        self._rows.extend(self.chain.add_batch(batch))
        self._moved[SourceKey(batch.header.source)] = None
        try:
            self.pool.add(self.chain, batch, self._now_ms)
            self._drop_evicted()
        except PoolFull:
            self.pool.take_back(self.chain, batch, self._now_ms)
        except NumberTaken:
            self.note_rival(batch)  # only the block that names it can order it
        except BlockRefused:
            pass
        return True

    def note_rival(self, batch: ParsedBatch) -> None:
        """Note a verified batch whose number is taken, with the one that it contradicts: waiting, or ordered last.

        Of a source that contradicts itself at a number ordered long ago the other batch is not looked up.
        """
        header = batch.header
        number, previous = self.chain.next_number(self.chain.tip_hash, header.source)
        other: ParsedBatch | None
        if header.number == number - 1 or (header.number == number and header.previous != previous):
            other = self.chain.get_batch(previous)
        else:
            other = self.pool.rival_of(batch)
        if other is not None and other.hash != batch.hash and len(self._rivals) < RIVALS_MAX:
            self._rivals.setdefault(SourceKey(header.source), rivals(other, batch))

    def take_rivals(self) -> list[BatchesEvidence]:
        """Return the contradictions of sources that were noted since the last call, one of each source."""
        found, self._rivals = list(self._rivals.values()), {}
        return found

    @property
    def idle(self) -> bool:
        """Whether there is nothing to take."""
        return not self._rows and not self._commits

    def take_rows(self) -> list[Put]:
        """Return the rows to be written, synced, before anything of this turn is sent."""
        rows, self._rows = self._rows, []
        return rows

    def take_commits(self) -> list[CommitResult]:
        """Return the blocks committed in this turn; their rows are among `take_rows`."""
        commits, self._commits = self._commits, []
        return commits

    # --- consensus.ports.Application

    def propose(self, parent: Hash, height: Height, epoch: Epoch, proposer: int, time_ms: TimeMs) -> Block | None:
        """Return a block of waiting batches on `parent`, executed, or None where nothing waits."""
        del height
        batches = self.pool.select(self.chain, parent)
        if not batches:
            return None
        try:
            block = self.chain.build(parent, time_ms=time_ms, epoch=epoch, proposer=proposer, batches=batches)
        except BlockRefused:
            self._evict(parent, batches)
            return None  # the next call proposes the rest
        self._in_flight[block.header.hash()] = _Flight(parent, sum(batch.size for batch in batches))
        return block

    def _evict(self, parent: Hash, batches: list[ParsedBatch]) -> None:
        """Let go of batches that may not enter a block any more, so that they make no further proposal fail."""
        for batch in batches:
            try:
                self.chain.check_admission(parent, batch)
            except BlockRefused:
                self.pool.drop([batch.hash])

    def validate(self, block: Block) -> Verdict:
        """Execute a block on its parent."""
        try:
            block_hash = self.chain.check(block)
        except BatchesMissing as missing:
            return Missing(tuple(missing.hashes))
        except (BlockRefused, ParentUnknown) as refusal:
            return Invalid(str(refusal))
        # The replica executes a block once to vote for it and again to deliver it; one that it caught up on, once.
        seen = self._seen.get(block_hash)
        self._seen[block_hash] = _Seen(self._now_ms, False) if seen is None else _Seen(seen.at_ms, True)
        return Ready()

    def deliver(self, committed: CommittedBlock) -> LogHead:
        """Commit a validated block."""
        assert committed.certificate is not None, "only the genesis block has no certificate"
        policy = self.chain.policy_after(self.chain.tip_hash)
        result = self.chain.commit(committed.block.header.hash(), committed.certificate)
        self._rows.extend(result.puts)
        self._commits.append(result)
        self._judge(result, policy)
        self.pool.committed(result.batches, self._now_ms)
        if self.chain.rights_height(self.chain.tip_hash) == result.header.height:
            self.offers.forget(self.pool.drop_unadmitted(self.chain))
        self._take_back(result.returned, self._now_ms)
        self._in_flight.pop(result.block_hash, None)
        self._seen.pop(result.block_hash, None)
        self._forget_dropped()
        self._moved.update((SourceKey(batch.header.source), None) for batch in result.batches)
        self._note_offers(self._now_ms)
        return LogHead(result.log_size, result.log_root)

    def discard(self, block_hash: Hash) -> None:
        """Forget an undelivered block's execution."""
        self._take_back(self.chain.discard(block_hash), self._now_ms)
        self._forget_dropped()

    def something_to_order(self) -> bool:
        """Say whether a batch waits that the next block could take."""
        return self.pool.anything_to_order(self.chain, self.chain.tip_hash)

    def waiting_bytes(self, parent: Hash) -> int:
        """Return how many bytes of batches a block on `parent` could take."""
        size = self.pool.size_bytes
        while (flight := self._in_flight.get(parent)) is not None:
            size -= flight.size
            parent = flight.parent
        return size

    def view_entered(self, now_ms: TimeMs) -> None:
        """Offer what waits to the new leader."""
        self._now_ms = now_ms
        self.offers.view_entered(now_ms)
        self._moved.update(dict.fromkeys(self.pool.sources()))
        self._note_offers(now_ms)

    def passed_over(self, now_ms: TimeMs, timeout_ms: int) -> bool:
        """Say whether the leader passed over a batch that it was offered."""
        self._now_ms, self._timeout_ms = now_ms, timeout_ms
        return self.offers.passed_over()

    def validators(self) -> ValidatorSet:
        """Return the set that votes on the next height."""
        return self.chain.validators_after(self.chain.tip_hash)

    def missing_rules(self) -> str | None:
        """Return why no block can follow here."""
        return self.chain.missing_rules()

    def drop_stale(self) -> None:
        """Let go of batches that nobody can order any more; only while no block is in flight that may name them."""
        stale = [item for item in self.chain.batches.waiting if item not in self.pool]
        if stale:
            self._rows.extend(self.chain.drop_batches(stale))

    def _forget_dropped(self) -> None:
        """Let go of what is known of blocks that the chain does not hold any more."""
        self._in_flight = {item: flight for item, flight in self._in_flight.items() if self.chain.knows(item)}
        self._seen = {item: seen for item, seen in self._seen.items() if self.chain.knows(item)}

    def _drop_evicted(self) -> None:
        """Let go of batches that gave way in the pool; held but not waiting, they would never be asked for again."""
        evicted = self.pool.take_evicted()
        if evicted:  # so it hardly ever is, and looking for them passes over all blocks in flight
            self._rows.extend(self.chain.drop_batches(evicted))

    def _take_back(self, batch_hashes: tuple[Hash, ...], now_ms: TimeMs) -> None:
        """Let the batches of a dropped branch wait again."""
        for batch_hash in batch_hashes:
            batch = self.chain.get_batch(batch_hash)
            if batch is not None and batch_hash in self.chain.batches.waiting:
                self.pool.take_back(self.chain, batch, now_ms)
                self._moved[SourceKey(batch.header.source)] = None

    # --- fairness

    def _note_offers(self, now_ms: TimeMs) -> None:
        moved, self._moved = self._moved, {}
        for source in moved:
            waiting = self.pool.next_of(self.chain, self.chain.tip_hash, source)
            if waiting is not None:
                batch = waiting.batch
                self.offers.offered(source, _offer_of(batch, now_ms))

    def _judge(self, result: CommitResult, policy: Policy) -> None:
        proposed_ms = self._proposed_ms(result)
        self.offers.delivered(
            [_taken_of(batch, proposed_ms) for batch in result.batches],
            proposed_ms,
            Room(policy.block_events_max, policy.block_bytes_max, policy.block_batches_max),
            self._timeout_ms,
        )

    def _proposed_ms(self, result: CommitResult) -> TimeMs:
        """Return when a block was proposed at the earliest.

        By both clocks: the leader's may be ahead, so that a block looks proposed long after an offer that it missed.
        And no more than a time-out before this node executed it to vote: dating it back does not excuse the leader.
        """
        seen = self._seen.get(result.block_hash)
        proposed_ms = min(result.header.time_ms, self._now_ms if seen is None else seen.at_ms)
        if seen is not None and seen.voted:
            proposed_ms = TimeMs(max(proposed_ms, seen.at_ms - self._timeout_ms))
        return proposed_ms


def _offer_of(batch: ParsedBatch, now_ms: TimeMs) -> Offer:
    return Offer(batch.hash, batch.header.member, batch.header.count, batch.size, now_ms)


def _taken_of(batch: ParsedBatch, proposed_ms: TimeMs) -> Taken:
    return Taken(SourceKey(batch.header.source), batch.header.member, batch.header.count, batch.size, proposed_ms)
