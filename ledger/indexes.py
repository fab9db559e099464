"""The index that follows the log: which events concern a payment, a certificate or a member.

In a store of its own, so that a block's synced write carries none of it; it names the height that it has reached, goes
on from there after a restart, and is rebuilt from the log at any time (architecture §6). Here: the rows of a block as a
pure function, and the follower that writes them. Not here: reading (`ledger.index_reader`, `ledger.index_places`).

Three packed maps (`ledger.packed_map`) lead to the places of events: `e` from the first 16 bytes of their ids, `k` and
`u` to payment statements from the first 16 bytes of the pair key and from the UETR. What blocks add to them is in
memory until there is enough for a run (`ledger.index_places`). Rows; values empty unless named:

    P  run, name, row                        entries of a packed map, and fences
    R  name                                  its manifest
    b  height                                blocks that hold payment statements
    a  member, 0, height                     blocks that hold payment statements of a member
    s  subject, 0, position                  certificate events by application id and certificate number
    c, h, f, x, t, v                         what finds granted certificates (`ledger.certificate_index`)
    y, z                                     reports of misuse, events about marks (`ledger.mark_index`)
    m  reached                               height and hash of the last block that is indexed
    m  packed                                the same of the last block whose entries are in runs

Runs of all maps and the block that they reach are written at once. Blocks above it are indexed again after a restart;
but for entries that writes the rows that are there.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from itertools import islice
from typing import NamedTuple

from ledger import rows
from ledger.batches import Batch, BatchContents, ParsedBatch, contents_of
from ledger.certificate_index import CertificateRows, changed_row, numbers_in, state_after, state_rows
from ledger.certificate_reading import CertificatesAsOf
from ledger.certificate_records import Certificate, State, certificate_key
from ledger.certificate_subjects import SUBJECT_BODIES, SubjectBody, all_subjects
from ledger.committed_state import CommittedState
from ledger.deadline_index import EndsFollower
from ledger.events import Event
from ledger.index_places import (
    EVENTS,
    MAPS,
    PACKED_KEY,
    PAIR_KEYS,
    REACHED_KEY,
    UETRS,
    Index,
    Reached,
    packed_of,
    reached_of,
)
from ledger.kinds import QuickEvents
from ledger.mark_bodies import MarkBody
from ledger.mark_index import MARK_BODIES, MARK_ROWS, Marked, mark_rows, rows_at_base
from ledger.packed_map import BUILD_AGAIN, KEY_SIZE
from ledger.packed_merging import PackedMap
from ledger.payments import PAYMENT_STATEMENT, PaymentStatement
from ledger.reader import LedgerReader
from ledger.scheme_records import read_certificate_scheme
from ledger.store import Put, Store
from ledger.views import BlockView
from primitives.block import BlockHeader
from primitives.encoding import decoder_of, encode
from primitives.errors import StorageError
from primitives.ids import Hash, Height

INDEX_FORMAT_KEY = b"m/index-format"
INDEX_FORMAT = b"chainnode-index/6"
INDEX_FORMATS_OLD = tuple(b"chainnode-index/%d" % version for version in range(1, 6))
"""Indexes of these formats are built anew from the log."""

PAYMENT_BLOCKS = b"b"
BLOCKS_A_WRITE = 64
CLEARED_A_WRITE = 10_000
OFFERED_BLOCKS_MAX = 16
FRESH_ENTRIES = 65_536
FRESH_BLOCKS = 256
"""Runs are made of so many entries of a map, or of what so many blocks added: as much is in memory, and what one
block adds, and as much is indexed again after a crash. Bodies of as many blocks are kept from the archive anyway."""

_INDEXES = tuple(index.to_bytes(2, "big") for index in range(1 << 16))
Recorded = tuple[Sequence[bytes], Sequence[Batch] | Sequence[ParsedBatch], Container[int]]
"""The ids of a block's events, its batches, and the indexes of its events that were not applied."""


def subject_prefix(subject: str) -> bytes:
    """Return the prefix of the rows of an application id or certificate number."""
    return b"s" + subject.encode() + b"\0"


def member_prefix(member: str) -> bytes:
    """Return the prefix of the rows of the blocks that hold a member's payment statements."""
    return b"a" + member.encode() + b"\0"


def terminal_prefix(number: str) -> bytes:
    """Return the prefix of the rows of the blocks with statements about payments at a certificate's terminals."""
    return b"t" + number.encode() + b"\0"


Entries = dict[bytes, list[bytes]]
"""What a block adds to the maps, by their names, in the order of the log."""


class BlockRows(NamedTuple):
    """What a block's events give the index: rows, entries of maps, and the certificates that they may have changed.

    With each number the states in which events left it; None where only the certificate itself tells. `marked` are the
    events about marks.
    """

    puts: list[Put]
    entries: Entries
    certificates: dict[str, dict[State | None, None]]
    marked: list[Marked]


def index_rows(
    height: int, ids: Sequence[bytes], batches: Iterable[BatchContents], rejected: Container[int]
) -> BlockRows:
    """Return what a block's batches give the index; `rejected` holds the indexes of events that were not applied."""
    block = _BlockRows(height, ids)
    first = 0
    for batch in batches:
        if batch.quick is not None:
            block.add_statements(batch.member, first, batch.quick)
        else:
            block.add_each(first, batch.events, rejected)
        first += batch.length
    return BlockRows(block.rows(), block.entries, block.certificates, block.marked)


class _BlockRows:
    """Gathers what a block adds to the index."""

    def __init__(self, height: int, ids: Sequence[bytes]) -> None:
        self._height = height
        self._number = number = height.to_bytes(6, "big")
        self._puts: list[Put] = []
        self._payers: set[str] = set()
        self._terminals: dict[bytes, list[int]] = {}
        self.certificates: dict[str, dict[State | None, None]] = {}
        self.marked: list[Marked] = []
        self._places = [number + index for index in _INDEXES[: len(ids)]]
        self.entries: Entries = {name: [] for name in MAPS}
        self.entries[EVENTS] = [id_[:KEY_SIZE] + place for id_, place in zip(ids, self._places, strict=True)]

    def add_statements(self, member: str, first: int, quick: QuickEvents) -> None:
        """Take a member's statements, the first at an index of the block."""
        self._payers.add(member)
        places = self._places[first : first + len(quick.uetrs)]
        self.entries[UETRS] += [uetr + place for uetr, place in zip(quick.uetrs, places, strict=True) if uetr]
        pairs = zip(quick.pair_keys, places, strict=True)
        self.entries[PAIR_KEYS] += [key[:KEY_SIZE] + place for key, place in pairs if key]
        for index, number in enumerate(quick.certificates, first):
            if number:
                self._terminals.setdefault(number, []).append(index)

    def add_each(self, first: int, events: Sequence[bytes], rejected: Container[int]) -> None:
        """Take events of any kind, each decoded."""
        decode_event = decoder_of(Event).decode
        for index, data in enumerate(events, first):
            event: Event = decode_event(data)
            if event.kind == PAYMENT_STATEMENT:
                body: PaymentStatement = decoder_of(PaymentStatement).decode(event.body)
                self.add_statements(event.member, index, _quick(body))
                continue
            body_type = SUBJECT_BODIES.get((event.kind, event.schema))
            if body_type is not None:
                body_of_kind: SubjectBody = decoder_of(body_type).decode(event.body)
                position = rows.position_bytes(self._height, index)
                self._puts += [(subject_prefix(subject) + position, b"") for subject in all_subjects(body_of_kind)]
            mark_type = MARK_BODIES.get((event.kind, event.schema))
            if mark_type is not None:
                mark: MarkBody = decoder_of(mark_type).decode(event.body)
                self.marked.append(Marked(index, mark, index not in rejected))
            if index not in rejected:
                for number in numbers_in(event.body):
                    self.certificates.setdefault(number, {})[state_after(body_type)] = None

    def rows(self) -> list[Put]:
        """Return the rows of all that was taken."""
        puts = list(self._puts)
        for member in sorted(self._payers):
            puts += [(PAYMENT_BLOCKS + self._number, b""), (member_prefix(member) + self._number, b"")]
        for number, indexes in self._terminals.items():
            key = terminal_prefix(number.decode()) + self._number
            puts.append((key, b"".join(map(_INDEXES.__getitem__, indexes))))
        return puts


def _quick(body: PaymentStatement) -> QuickEvents:
    return QuickEvents(0, (body.uetr,), (body.pair_key,), (body.terminal_certificate.encode(),))


class IndexFollower:
    """Brings an index up to the log, some blocks at a time. One follower writes an index."""

    def __init__(self, index: Index, reader: LedgerReader) -> None:
        """Open the index; one that belongs to another chain, or reaches above this one, begins anew.

        Raises StorageError where a later version wrote it.
        """
        self._index = index
        self._store = store = index.store
        self._reader = reader
        self._offered: dict[Hash, Recorded] = {}
        if not is_begun(store):
            self._remove_rows()
        self._ends = EndsFollower(store, reader)
        self._begin_maps()
        reached = reached_of(store)
        if reached is not None and (
            reached.height < reader.base() or _hash_at(reader, reached.height) != reached.block_hash
        ):
            self.clear()

    @property
    def height(self) -> Height | None:
        """The height that the index has reached; None before the first block."""
        return None if self._index.reached is None else self._index.reached.height

    @property
    def kept_height(self) -> Height | None:
        """The height above which blocks are read again after a crash; None before the first."""
        return self._kept_height

    def offer(
        self, block_hash: Hash, ids: Sequence[bytes], batches: Sequence[ParsedBatch], rejected: Container[int]
    ) -> None:
        """Hand over what the store has just taken in, which need not be read again; beyond a few blocks it is.

        May be called from another thread than `follow`.
        """
        if len(self._offered) < OFFERED_BLOCKS_MAX:
            self._offered[block_hash] = ids, batches, rejected

    def follow(self, blocks_max: int = BLOCKS_A_WRITE) -> int:
        """Index up to `blocks_max` further blocks and return how many there were."""
        height = self.height
        if height is None and self._reader.base():
            height = self._begin_at_base()
        blocks = self._reader.blocks(0 if height is None else height + 1, blocks_max)
        # All of it first: where a body cannot be read, nothing has changed.
        certificates = CertificateRows(self._store)
        found = [self._rows_of(block, certificates) for block in blocks]
        if found:
            self._take(found)
        reached = self.height
        return max(len(found), 0 if reached is None else self._ends.follow(reached, blocks_max))

    def _rows_of(self, block: BlockView, certificates: CertificateRows) -> tuple[BlockView, list[Put], Entries]:
        """Return what a block adds: its own rows, and those of the certificates that it changed, as it left them."""
        ids, batches, rejected = self._recorded(block)
        contents = [contents_of(batch) for batch in batches]
        self._ends.offer(block.header.height, contents)
        puts, entries, numbers, marked = index_rows(block.header.height, ids, contents, rejected)
        puts += mark_rows(self._reader, block.header.height, marked)
        puts += [changed_row(block.header.height)] if numbers else []
        as_of, now = (CertificatesAsOf(self._reader, header) for header in (block.header, self._newest()))
        for number, states in numbers.items():
            if certificates.is_new(number):
                granted = now.find(number)  # what counts of it does not change, and the newest is read fastest
                if granted is None:
                    continue  # an event may name what is none
                puts += certificates.granted(*granted, block.header.height)
            for told in states:
                found = as_of.record(number) if told is None else None
                state = told if found is None else found.state
                puts += [] if state is None else state_rows(number, state)
        return block, puts, entries

    def _newest(self) -> BlockHeader:
        tip = self._reader.tip()
        header = None if tip is None else self._reader.header(tip.height)
        assert header is not None, "a chain that is indexed has a newest block"
        return header

    def _take(self, found: Sequence[tuple[BlockView, list[Put], Entries]]) -> None:
        """Add what blocks added, make runs where it is enough by now, and go on with the merging of runs."""
        index, puts, came = self._index, list[Put](), dict.fromkeys(MAPS, 0)
        for block, added, entries in found:
            puts += added
            for name in MAPS:
                index.fresh[name].add(entries[name])
                came[name] += len(entries[name])
            reached = Reached(block.header.height, block.hash)
            self._fresh_blocks += 1
            if self._fresh_blocks >= FRESH_BLOCKS or any(f.count >= FRESH_ENTRIES for f in index.fresh.values()):
                self._make_runs(puts, reached)
                puts = []
        # Not synced: what a crash takes is indexed again.
        self._store.write([*puts, (REACHED_KEY, encode(reached))], sync=False)
        index.reached = reached
        for name, packed in self._maps.items():
            packed.step(came[name])

    def _recorded(self, block: BlockView) -> Recorded:
        """Return what was offered of a block, or what the ledger has of it."""
        recorded = self._offered.pop(block.hash, None)
        if recorded is not None:
            return recorded
        first, count = block.header.first_index, block.header.event_count
        return self._reader.log.leaf_hashes(first, first + count), *self._reader.recorded_batches(block.header.height)

    def close(self) -> None:
        """Write what is in memory only, so that nothing is read again at the next start."""
        if self._fresh_blocks and self._index.reached is not None:
            self._make_runs([], self._index.reached)

    def _make_runs(self, puts: list[Put], reached: Reached) -> None:
        """Write what is in memory as runs, with these rows, in one write."""
        fresh = self._index.fresh
        made = [put for name, packed in self._maps.items() for put in packed.add(fresh[name].parts())]
        self._store.write([*puts, *made, *_reached_rows(reached)], sync=False)
        self._begin_fresh(reached)

    def _begin_maps(self) -> None:
        self._maps = {name: PackedMap(self._store, name) for name in MAPS}
        self._begin_fresh(packed_of(self._store))

    def _begin_fresh(self, reached: Reached | None) -> None:
        self._index.begin_fresh(reached)
        self._fresh_blocks = 0
        self._kept_height = None if reached is None else reached.height

    def _begin_at_base(self) -> Height:
        """Begin where a snapshot did, and return its height.

        The events before it are not here; which certificates there are is, in the state.
        """
        base = self._reader.base()
        puts: list[Put] = [changed_row(base)]
        state, certificates = CommittedState(self._reader.store), CertificateRows(self._store)
        for _, certificate in state.scan(certificate_key(""), Certificate):
            scheme = read_certificate_scheme(state, certificate.number)
            puts += certificates.granted(certificate, scheme, base)
            puts += state_rows(certificate.number, certificate.state)
            if len(puts) >= CLEARED_A_WRITE:
                self._store.write(puts, sync=False)
                puts, certificates = [], CertificateRows(self._store)
        for put in rows_at_base(state):
            puts.append(put)
            if len(puts) >= CLEARED_A_WRITE:
                self._store.write(puts, sync=False)
                puts = []
        block_hash = _hash_at(self._reader, base)
        assert block_hash is not None, "the block of the base is in the store"
        reached = Reached(base, block_hash)
        self._store.write([*puts, *_reached_rows(reached)], sync=False)
        self._begin_fresh(reached)
        return base

    def clear(self) -> None:
        """Remove all rows, to build the index anew."""
        self._ends.clear()
        self._remove_rows()
        self._begin_maps()

    def _remove_rows(self) -> None:
        """Remove all rows; while some are left it is no index, so that the next start goes on after a crash."""
        self._store.write([(key, None) for key in (INDEX_FORMAT_KEY, REACHED_KEY, PACKED_KEY)], sync=True)
        for kind in (b"P", b"k", b"u", b"r", b"R", b"f", b"b", b"a", b"s", b"c", b"h", b"x", b"t", b"v", *MARK_ROWS):
            start, stop = rows.all_of(kind)
            while True:
                keys = [key for key, _ in islice(self._store.iterate(start, stop), CLEARED_A_WRITE)]
                if not keys:
                    break
                self._store.write([(key, None) for key in keys], sync=False)
        self._store.write([(INDEX_FORMAT_KEY, INDEX_FORMAT)], sync=True)


def _reached_rows(reached: Reached) -> list[Put]:
    return [(key, encode(reached)) for key in (REACHED_KEY, PACKED_KEY)]


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
