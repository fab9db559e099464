"""The index that follows the log: which events concern a payment, a certificate or a member.

In a store of its own, so that a block's synced write carries none of it; it names the height that it has reached, goes
on from there after a restart, and is rebuilt from the log at any time (architecture §6). Here: the rows of a block as a
pure function, and the follower that writes them. Not here: reading (`ledger.index_reader`, `ledger.index_places`).

Three packed maps (`ledger.packed_map`) lead to the places of events: `e` from the first 16 bytes of their ids, `k` and
`u` to payment statements from the first 16 bytes of the pair key and from the UETR. What a block adds to one stands in
a row of its own until there is enough for a run. Rows; values empty unless named:

    r  name, run, first entry                entries of a packed map
    R  name                                  its manifest
    f  name, height                          what a block adds to it: its entries, ascending
    b  height                                blocks that hold payment statements
    a  member, 0, height                     blocks that hold payment statements of a member
    s  subject, 0, position                  certificate events by application id and certificate number
    c  certificate number                    granted certificates; value: the application
    h  holder, 0, certificate number         granted certificates by holder
    m  reached                               height and hash of the last block that is indexed
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from itertools import islice

from ledger import rows
from ledger.batches import Batch, ParsedBatch
from ledger.certificate_bodies import Body, Grant, subjects_of
from ledger.certificate_records import Certificate, certificate_key
from ledger.certificates import CERTIFICATE_KINDS
from ledger.committed_state import CommittedState
from ledger.events import Event
from ledger.index_places import (
    BUILD_AGAIN,
    EVENTS,
    MAPS,
    PAIR_KEYS,
    REACHED_KEY,
    UETRS,
    Reached,
    fresh_prefix,
    reached_of,
)
from ledger.kinds import QuickEvents
from ledger.packed_map import ENTRY_SIZE, KEY_SIZE, ROW_ENTRIES, ROWS_A_STEP, PackedMap, entries_in
from ledger.payment_events import quick_statements
from ledger.payments import PAYMENT_STATEMENT, PaymentStatement
from ledger.reader import LedgerReader
from ledger.store import Put, Store, prefix_stop
from primitives.encoding import decoder_of, encode
from primitives.errors import StorageError
from primitives.ids import Hash, Height

INDEX_FORMAT_KEY = b"m/index-format"
INDEX_FORMAT = b"chainnode-index/2"
INDEX_FORMATS_OLD = (b"chainnode-index/1",)
"""Indexes of these formats are built anew from the log."""

PAYMENT_BLOCKS = b"b"
BLOCKS_A_WRITE = 64
CLEARED_A_WRITE = 10_000
OFFERED_BLOCKS_MAX = 16
FRESH_ENTRIES = 16_384
FRESH_BLOCKS = 64
"""A run is made of as many entries, or of what as many blocks added."""
ENTRIES_A_STEP = ROWS_A_STEP * ROW_ENTRIES
MERGES_OF_AN_ENTRY = 4
"""More often than an entry is merged up to 16**5 runs, so that merging keeps up with what comes."""

_CERTIFICATE_BODIES = {(spec.kind, number): body for spec in CERTIFICATE_KINDS for number, body in spec.schemas.items()}
Recorded = tuple[Sequence[bytes], Sequence[Batch] | Sequence[ParsedBatch], Container[int]]
"""The ids of a block's events, its batches, and the indexes of its events that were not applied."""


def subject_prefix(subject: str) -> bytes:
    """Return the prefix of the rows of an application id or certificate number."""
    return b"s" + subject.encode() + b"\0"


def member_prefix(member: str) -> bytes:
    """Return the prefix of the rows of the blocks that hold a member's payment statements."""
    return b"a" + member.encode() + b"\0"


def certificate_row_key(number: str) -> bytes:
    """Return the key of the row of a granted certificate."""
    return b"c" + number.encode()


def holder_prefix(holder: str) -> bytes:
    """Return the prefix of the rows of a holder's certificates."""
    return b"h" + holder.encode() + b"\0"


def index_rows(
    height: int, ids: Sequence[bytes], batches: Iterable[Batch | ParsedBatch], rejected: Container[int]
) -> list[Put]:
    """Return the rows of a block's batches; `rejected` holds the block's indexes of events that were not applied."""
    block = _BlockRows(height, ids)
    first = 0
    for batch in batches:
        member = batch.header.member
        quick = quick_statements(batch.events, member) if isinstance(batch, Batch) else batch.quick
        if quick is not None:
            block.add_statements(member, first, quick)
        else:
            block.add_each(first, batch.events if isinstance(batch, Batch) else batch.event_bytes, rejected)
        first += batch.header.count
    return block.rows()


class _BlockRows:
    """Gathers what a block adds to the index."""

    def __init__(self, height: int, ids: Sequence[bytes]) -> None:
        self._height = height
        self._number = number = height.to_bytes(6, "big")
        self._puts: list[Put] = []
        self._payers: set[str] = set()
        self._entries: dict[bytes, list[bytes]] = {name: [] for name in MAPS}
        self._entries[EVENTS] = [id_[:KEY_SIZE] + number + index.to_bytes(2, "big") for index, id_ in enumerate(ids)]

    def add_statements(self, member: str, first: int, quick: QuickEvents) -> None:
        """Take a member's statements, the first at an index of the block."""
        number = self._number
        self._payers.add(member)
        pairs, uetrs = enumerate(quick.pair_keys, first), enumerate(quick.uetrs, first)
        self._entries[UETRS] += [uetr + number + index.to_bytes(2, "big") for index, uetr in uetrs if uetr]
        self._entries[PAIR_KEYS] += [key[:KEY_SIZE] + number + index.to_bytes(2, "big") for index, key in pairs if key]

    def add_each(self, first: int, events: Sequence[bytes], rejected: Container[int]) -> None:
        """Take events of any kind, each decoded."""
        decode_event = decoder_of(Event).decode
        for index, data in enumerate(events, first):
            event: Event = decode_event(data)
            if event.kind == PAYMENT_STATEMENT:
                body: PaymentStatement = decoder_of(PaymentStatement).decode(event.body)
                self.add_statements(event.member, index, QuickEvents(0, (body.uetr,), (body.pair_key,)))
                continue
            body_type = _CERTIFICATE_BODIES.get((event.kind, event.schema))
            if body_type is not None:
                body_of_kind: Body = decoder_of(body_type).decode(event.body)
                position = rows.position_bytes(self._height, index)
                self._puts += _certificate_rows(body_of_kind, position, index not in rejected)

    def rows(self) -> list[Put]:
        """Return the rows of all that was taken."""
        puts = list(self._puts)
        for name, entries in self._entries.items():
            if entries:
                puts.append((fresh_prefix(name) + self._number, b"".join(sorted(entries))))
        for member in sorted(self._payers):
            puts += [(PAYMENT_BLOCKS + self._number, b""), (member_prefix(member) + self._number, b"")]
        return puts


def _certificate_rows(body: Body, position: bytes, applied: bool) -> list[Put]:
    puts: list[Put] = [(subject_prefix(subject) + position, b"") for subject in subjects_of(body)]
    if applied and isinstance(body, Grant):
        puts += _granted_rows(body.number, body.application)
    return puts


def _granted_rows(number: str, application: str) -> list[Put]:
    holder = application.partition(".")[0]  # an application's id begins with its holder's
    return [(certificate_row_key(number), application.encode()), (holder_prefix(holder) + number.encode(), b"")]


class IndexFollower:
    """Brings an index store up to the log, some blocks at a time. One follower writes an index store."""

    def __init__(self, store: Store, reader: LedgerReader) -> None:
        """Open the index; one that belongs to another chain, or reaches above this one, begins anew.

        Raises StorageError where a later version wrote it.
        """
        self._store = store
        self._reader = reader
        self._offered: dict[Hash, Recorded] = {}
        begun = is_begun(store)
        if not begun:
            self._remove_rows()
        self._begin_maps()
        reached = reached_of(store)
        if reached is not None and (
            reached.height < reader.base() or _hash_at(reader, reached.height) != reached.block_hash
        ):
            self.clear()
        if not begun:
            store.write([(INDEX_FORMAT_KEY, INDEX_FORMAT)], sync=True)

    @property
    def height(self) -> Height | None:
        """The height that the index has reached; None before the first block."""
        reached = reached_of(self._store)
        return None if reached is None else reached.height

    def offer(
        self, block_hash: Hash, ids: Sequence[bytes], batches: Sequence[ParsedBatch], rejected: Container[int]
    ) -> None:
        """Hand over what the store has just taken in, which need not be read again; beyond a few blocks it is.

        May be called from another thread than `follow`.
        """
        if len(self._offered) < OFFERED_BLOCKS_MAX:
            self._offered[block_hash] = ids, batches, rejected

    def follow(self, blocks_max: int = BLOCKS_A_WRITE) -> int:
        """Index up to `blocks_max` further blocks in one write and return how many there were."""
        height = self.height
        if height is None and self._reader.base():
            height = self._begin_at_base()
        puts: list[Put] = []
        count = 0
        for block in self._reader.blocks(0 if height is None else height + 1, blocks_max):
            recorded = self._offered.pop(block.hash, None)
            if recorded is None:
                first, count_of_events = block.header.first_index, block.header.event_count
                ids = self._reader.log.leaf_hashes(first, first + count_of_events)
                recorded = ids, *self._reader.recorded_batches(block.header.height)
            puts += index_rows(block.header.height, *recorded)
            reached = Reached(block.header.height, block.hash)
            count += 1
        if count:
            # Not synced: what a crash takes is indexed again, since the rows and the height go in one write.
            self._store.write([*puts, (REACHED_KEY, encode(reached))], sync=False)
            self._pack(puts, reached.height)
        return count

    def _begin_maps(self) -> None:
        self._maps = {name: PackedMap(self._store, name) for name in MAPS}
        self._fresh: dict[bytes, list[bytes]] = {name: [] for name in MAPS}
        self._fresh_entries = dict.fromkeys(MAPS, 0)
        for name in MAPS:
            prefix = fresh_prefix(name)
            for key, value in self._store.iterate(prefix, prefix_stop(prefix)):
                self._note_fresh(name, key, value)

    def _note_fresh(self, name: bytes, key: bytes, value: bytes) -> None:
        self._fresh[name].append(key)
        self._fresh_entries[name] += len(value) // ENTRY_SIZE

    def _pack(self, puts: list[Put], height: Height) -> None:
        """Make runs of what blocks added, where that is enough by now, and go on with the merging of runs."""
        for key, value in puts:
            if key[:1] == b"f" and value is not None:
                self._note_fresh(key[1:2], key, value)
        for name, packed in self._maps.items():
            keys, count = self._fresh[name], self._fresh_entries[name]
            if count >= FRESH_ENTRIES or len(keys) >= FRESH_BLOCKS:
                entries = sorted(item for key in keys for item in entries_in(self._store.get(key) or b""))
                self._store.write([*packed.add(entries, height), *((key, None) for key in keys)], sync=False)
                self._fresh[name], self._fresh_entries[name] = [], 0
            steps = 1 + MERGES_OF_AN_ENTRY * count // ENTRIES_A_STEP
            while steps and packed.step():
                steps -= 1

    def _begin_at_base(self) -> Height:
        """Begin where a snapshot did, and return its height.

        The events before it are not here; which certificates there are is, in the state.
        """
        base = self._reader.base()
        puts: list[Put] = []
        for _, certificate in CommittedState(self._reader.store).scan(certificate_key(""), Certificate):
            puts += _granted_rows(certificate.number, certificate.application)
            if len(puts) >= CLEARED_A_WRITE:
                self._store.write(puts, sync=False)
                puts = []
        block_hash = _hash_at(self._reader, base)
        assert block_hash is not None, "the block of the base is in the store"
        self._store.write([*puts, (REACHED_KEY, encode(Reached(base, block_hash)))], sync=False)
        return base

    def clear(self) -> None:
        """Remove all rows, to build the index anew."""
        self._remove_rows()
        self._begin_maps()

    def _remove_rows(self) -> None:
        self._store.write([(REACHED_KEY, None)], sync=True)
        for kind in (b"k", b"u", b"r", b"R", b"f", b"b", b"a", b"s", b"c", b"h"):
            start, stop = rows.all_of(kind)
            while True:
                keys = [key for key, _ in islice(self._store.iterate(start, stop), CLEARED_A_WRITE)]
                if not keys:
                    break
                self._store.write([(key, None) for key in keys], sync=False)


def _hash_at(reader: LedgerReader, height: int) -> Hash | None:
    committed = reader.committed_block(height)
    return None if committed is None else committed.block.header.hash()


def is_begun(store: Store) -> bool:
    """Say whether a store holds an index; StorageError where a later version wrote it."""
    found = store.get(INDEX_FORMAT_KEY)
    if found in INDEX_FORMATS_OLD:
        return False
    if found is not None and found != INDEX_FORMAT:
        raise StorageError(
            "index format not known",
            expected=INDEX_FORMAT.decode(),
            got=found[:64].decode(errors="replace"),
            hint=BUILD_AGAIN,
        )
    return found is not None
