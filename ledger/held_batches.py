"""The batches that this node holds: those that wait to be ordered, and those that committed blocks refer to.

A batch's bytes are written once, when it is added, with a mark that it waits; the block that orders it takes the mark
away. A batch whose number another batch of its source took can never be ordered and goes in the same write. How many
batches may wait is the pool's decision; `drop` carries it out. Source: architecture §5 (kept across restarts) and §6.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping

from ledger import rows
from ledger.base import NotHere
from ledger.batches import ParsedBatch, parse_batch
from ledger.kinds import KindSpec
from ledger.rows import WaitingRow
from ledger.store import Put, StagedStore
from primitives.encoding import encode
from primitives.ids import Hash, SourceKey

PARSED_BYTES_MAX = 64 << 20


class HeldBatches:
    """Batches by hash: the rows of waiting ones, and a cache of parsed ones bounded by PARSED_BYTES_MAX."""

    def __init__(self, store: StagedStore, kinds: Mapping[int, KindSpec]) -> None:
        self._store = store
        self._kinds = kinds
        self._parsed: OrderedDict[Hash, ParsedBatch] = OrderedDict()
        self._parsed_bytes = 0
        self._by_number: dict[bytes, dict[int, set[Hash]]] = {}
        self.waiting: dict[Hash, WaitingRow] = {}
        start, stop = rows.all_of(b"W")
        for key, data in store.iterate(start, stop):
            self._wait(Hash(key[1:]), rows.read_row(WaitingRow, data, where="waiting batch"))

    def has(self, batch_hash: Hash) -> bool:
        """Say whether the batch is held, waiting or ordered, be its body in the store or in the archive."""
        if batch_hash in self.waiting or self._store.get(rows.archived_body_key(batch_hash)) is not None:
            return True
        return self._store.get(rows.batch_key(batch_hash)) is not None

    def get(self, batch_hash: Hash) -> ParsedBatch | None:
        """Return the batch, from the cache or parsed again from the store."""
        parsed = self._parsed.get(batch_hash)
        if parsed is not None:
            self._parsed.move_to_end(batch_hash)
            return parsed
        raw = self.raw(batch_hash)
        if raw is None:
            return None
        parsed = parse_batch(raw, self._kinds)
        self._cache(parsed)
        return parsed

    def raw(self, batch_hash: Hash) -> bytes | None:
        """Return the batch's bytes, for a peer that asks; None where it was moved to an archive that is not here."""
        try:
            return self._store.get(rows.batch_key(batch_hash))
        except NotHere:
            return None

    def add(self, parsed: ParsedBatch) -> list[Put]:
        """Hold a batch that is not held yet and return the rows that keep it."""
        header = parsed.header
        row = WaitingRow(header.member, SourceKey(header.source), header.number, parsed.size)
        self._wait(parsed.hash, row)
        self._cache(parsed)
        return [(rows.batch_key(parsed.hash), parsed.raw), (rows.waiting_key(parsed.hash), encode(row))]

    def ordered(self, batches: Iterable[ParsedBatch]) -> list[Put]:
        """Return the rows after these batches were committed: marks gone, and rivals for their numbers with them."""
        puts: list[Put] = []
        for batch in batches:
            self._forget(batch.hash)
            puts.append((rows.waiting_key(batch.hash), None))
            numbers = self._by_number.get(batch.header.source, {})
            for number in [number for number in numbers if number <= batch.header.number]:
                puts += self.drop(list(numbers[number]))
        return puts

    def drop(self, batch_hashes: Iterable[Hash]) -> list[Put]:
        """Let go of waiting batches and return the rows that delete them; ordered batches stay."""
        puts: list[Put] = []
        for batch_hash in batch_hashes:
            if batch_hash in self.waiting:
                self._forget(batch_hash)
                puts += [(rows.batch_key(batch_hash), None), (rows.waiting_key(batch_hash), None)]
        return puts

    def _wait(self, batch_hash: Hash, row: WaitingRow) -> None:
        self.waiting[batch_hash] = row
        self._by_number.setdefault(row.source, {}).setdefault(row.number, set()).add(batch_hash)

    def _forget(self, batch_hash: Hash) -> None:
        row = self.waiting.pop(batch_hash, None)
        if row is not None:
            numbers = self._by_number[row.source]
            numbers[row.number].discard(batch_hash)
            if not numbers[row.number]:
                del numbers[row.number]
            if not numbers:
                del self._by_number[row.source]
        parsed = self._parsed.pop(batch_hash, None)
        if parsed is not None:
            self._parsed_bytes -= parsed.size

    def _cache(self, parsed: ParsedBatch) -> None:
        self._parsed[parsed.hash] = parsed
        self._parsed_bytes += parsed.size
        while self._parsed_bytes > PARSED_BYTES_MAX and len(self._parsed) > 1:
            _, oldest = self._parsed.popitem(last=False)
            self._parsed_bytes -= oldest.size
