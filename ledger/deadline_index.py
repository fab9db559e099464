"""The index of ends: what falls due, ordered by its time, so that whoever asks pays for what is answered.

It stands in the store of the other indexes with a height of its own, is no part of the consensus, and is made anew from
the ledger whenever it is missing or of another format. Of each block it reads what the state says of the subjects that
its events name, so that an appeal that brings a certificate back brings its ends back. Ends that changed stay as what
they were, with the heights at which they were so, for questions about the past. Reading needs no state. Here: the rows,
the follower, the reader. Not here: what falls due (`ledger.deadlines`), lists and what is due with a block
(`ledger.deadline_reading`). Rows:

    El owner, 0, kind, due, key, 0, from     an end that is so since a height; owner: "", or a member it is about
    Ed owner, 0, kind, due, key, 0, from     one that was; its value says up to which height
    Es key                                   the ends of a subject, each with the height since which they are so
    m  ends                                  format, height and hash of the last block that was followed
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from itertools import groupby, islice
from typing import Final, NamedTuple, TypeVar

from ledger import rows
from ledger.batches import BatchContents
from ledger.deadline_subjects import Named, SelectedInDraws, all_subjects, subjects_named, subjects_touched
from ledger.deadlines import NOTICES, DueKind, End, Figures, ends_at, read_figures, rows_of
from ledger.reader import LedgerReader
from ledger.state_after import KnownNodes, StateAfter, header_at
from ledger.store import Put, Store, prefix_stop
from primitives.block import BlockHeader
from primitives.encoding import Record, decode, encode
from primitives.errors import EncodingError, StorageError
from primitives.ids import Hash, Height

KINDS_KEPT: Final = tuple(kind for kind in DueKind if kind not in NOTICES)
"""The notices ahead of a certificate's end follow from that end."""
MOMENTARY: Final = (
    DueKind.CERTIFICATE_EXPIRED,
    DueKind.APPEAL_ENDED,
    DueKind.ACCREDITATION_ENDED,
    DueKind.PROPOSAL_EXPIRED,
)
"""With these something is over: a block whose time has reached one takes what is over out of the index."""
FORMAT: Final = "1 " + " ".join(KINDS_KEPT)
FOLLOWED_KEY: Final = b"m/ends"
BUILD_AGAIN: Final = "stop the node and remove the index: it is made anew from the ledger"
DUE_MAX: Final = (1 << 63) - 1
CLEARED_A_WRITE: Final = 10_000
OFFERED_BLOCKS_MAX: Final = 256
SUBJECTS_A_WRITE: Final = 1_000
_LIVE: Final = b"El"
_PAST: Final = b"Ed"
_SUBJECT: Final = b"Es"
_DUE_SIZE: Final = 8
_HEIGHT_SIZE: Final = 6
_ROW_SIZE_MAX: Final = 65_536
_NUMBERS: Final = {kind: bytes([number]) for number, kind in enumerate(KINDS_KEPT)}


T = TypeVar("T")


class Followed(Record):
    """How far the index of ends is, and what its rows look like."""

    format: str
    height: Height
    block_hash: Hash


class EndRow(Record):
    """The value of an end's row; `to_height` is the height from which it was so no more, None while it is."""

    member: str
    body: str
    gone_ms: int | None
    to_height: int | None = None


class HeldEnd(Record):
    """An end of a subject, and the height since which it is so."""

    kind: DueKind
    due_ms: int
    member: str
    body: str
    gone_ms: int | None
    from_height: int


class SubjectRow(Record):
    """All ends of a subject."""

    ends: tuple[HeldEnd, ...]


def owner_prefix(table: bytes, owner: str, kind: DueKind) -> bytes:
    """Return the prefix of the rows of a kind that are about a member, or, for "", of all."""
    return table + owner.encode() + b"\0" + _NUMBERS[kind]


def _suffix(end: End, from_height: int) -> bytes:
    return _due_bytes(end.due_ms) + end.key.encode() + b"\0" + from_height.to_bytes(_HEIGHT_SIZE, "big")


def _due_bytes(due_ms: int) -> bytes:
    return max(0, min(due_ms, DUE_MAX)).to_bytes(_DUE_SIZE, "big")


def _owners(end: End) -> list[str]:
    return list(dict.fromkeys(("", end.member, end.body) if end.body else ("", end.member)))


def followed_of(store: Store) -> Followed | None:
    """Return how far the index of ends is; None where there is none. StorageError where that does not read back."""
    data = store.get(FOLLOWED_KEY)
    return None if data is None else _read(Followed, data)


def _read(type_: type[T], data: bytes) -> T:
    try:
        return decode(type_, data, size_max=_ROW_SIZE_MAX)
    except EncodingError as error:
        raise StorageError("the index of ends is damaged", got=error, hint=BUILD_AGAIN) from None


class EndsFollower:
    """Brings the index of ends up to the log, some blocks at a time. One follower writes it."""

    def __init__(self, store: Store, reader: LedgerReader) -> None:
        """Open it; one of another format or another chain begins anew. StorageError where it is damaged."""
        self._store = store
        self._reader = reader
        followed = followed_of(store)
        if followed is not None and not self._is_ours(followed):
            followed = None
        self._height = None if followed is None else followed.height
        self._state: StateAfter | None = None
        self._named: dict[int, Named] = {}
        self._draws = SelectedInDraws(reader.store)
        self._nodes = KnownNodes(reader.store)

    def _is_ours(self, followed: Followed) -> bool:
        if followed.format != FORMAT or followed.height < self._reader.base():
            return False
        header = self._reader.header(followed.height)
        return header is not None and header.hash() == followed.block_hash

    @property
    def height(self) -> Height | None:
        """The height that it has reached; None before the first block."""
        return self._height

    def offer(self, height: int, batches: Sequence[BatchContents]) -> None:
        """Hand over the batches of a block that is to be followed, which need not be read again then."""
        if len(self._named) < OFFERED_BLOCKS_MAX:
            self._named[height] = subjects_named(batches)

    def follow(self, height: int, blocks_max: int) -> int:
        """Follow up to `blocks_max` further blocks, up to this height, and return how many there were."""
        count = 0
        if self._height is None:
            base = int(self._reader.base())
            if base > height or self._reader.header(base) is None:
                return 0
            self._begin(base)
        while count < blocks_max and (at := self._height) is not None and at < height:
            self._take(self._header(at + 1))
            count += 1
        return count

    def _begin(self, base: int) -> None:
        """Take all that the state at the base says, having removed whatever is left of an index before."""
        self.clear()
        header = self._header(base)
        self._state = StateAfter(self._reader, header, self._nodes)
        figures = read_figures(self._state, base)
        keys = all_subjects(self._reader.store)
        while subjects := list(islice(keys, SUBJECTS_A_WRITE)):
            self._store.write(self._updates(subjects, header, figures), sync=False)
        self._finish([], header)

    def clear(self) -> None:
        """Remove all rows, to make the index anew."""
        self._store.write([(FOLLOWED_KEY, None)], sync=True)
        self._height = self._state = None
        start, stop = rows.all_of(_LIVE[:1])
        while old := [key for key, _ in islice(self._store.iterate(start, stop), CLEARED_A_WRITE)]:
            self._store.write([(key, None) for key in old], sync=False)

    def _take(self, block: BlockHeader) -> None:
        """Take what a block changed, and what is over by its time."""
        height = int(block.height)
        before = self._state or StateAfter(self._reader, self._header(height - 1), self._nodes)
        after = self._state = before.through(block)
        keys = subjects_touched(self._reader, height, self._named.pop(height, None), self._draws, before)
        figures = read_figures(after, height)
        if figures != read_figures(before, height - 1):
            keys.update(key[len(_SUBJECT) :].decode() for key, _ in self._store.iterate(*_range(_SUBJECT)))
        keys.update(self._over(int(block.time_ms)))
        self._finish(self._updates(sorted(keys), block, figures), block)

    def _over(self, time_ms: int) -> Iterator[str]:
        """Yield the subjects of which something is over by a time."""
        for kind in MOMENTARY:
            prefix = owner_prefix(_LIVE, "", kind)
            for key, _ in self._store.iterate(prefix, prefix + _due_bytes(time_ms + 1)):
                yield key[len(prefix) + _DUE_SIZE : -_HEIGHT_SIZE - 1].decode()

    def _updates(self, keys: Sequence[str], block: BlockHeader, figures: Figures) -> list[Put]:
        """Return the rows that change where these subjects have the ends that the state after a block says."""
        state = StateAfter(self._reader, block)
        state.load(row for key in keys for row in rows_of(key))
        puts: list[Put] = []
        for key in keys:
            now = [end for end in ends_at(state, key, figures) if end.is_at(int(block.time_ms))]
            puts += self._update(key, now, int(block.height))
        return puts

    def _update(self, key: str, now: list[End], height: int) -> list[Put]:
        name = _SUBJECT + key.encode()
        data = self._store.get(name)
        held = {} if data is None else {_end_of(key, item): item.from_height for item in _read(SubjectRow, data).ends}
        if held.keys() == set(now):
            return []
        puts: list[Put] = []
        for end, from_height in held.items():
            if end not in now:
                puts += _rows(end, from_height, height)
        for end in now:
            if end not in held:
                puts += _rows(end, height, None)
        row = SubjectRow(tuple(_held(end, held.get(end, height)) for end in now))
        return [*puts, (name, encode(row) if now else None)]

    def _finish(self, puts: list[Put], block: BlockHeader) -> None:
        # In one write: a reader never sees rows of a block that is not followed. What a crash takes is followed again.
        followed = Followed(FORMAT, Height(int(block.height)), block.hash())
        self._store.write([*puts, (FOLLOWED_KEY, encode(followed))], sync=False)
        self._height = followed.height

    def _header(self, height: int) -> BlockHeader:
        return header_at(self._reader, height)


def _held(end: End, from_height: int) -> HeldEnd:
    return HeldEnd(end.kind, end.due_ms, end.member, end.body, end.gone_ms, from_height)


def _end_of(key: str, held: HeldEnd) -> End:
    return End(held.kind, held.due_ms, key, held.member, held.body, held.gone_ms)


def _rows(end: End, from_height: int, to_height: int | None) -> Iterator[Put]:
    """Yield the rows of an end: it is so from a height on, or was up to another one and is moved to the past."""
    value = encode(EndRow(end.member, end.body, end.gone_ms, to_height))
    for owner in _owners(end):
        suffix = _suffix(end, from_height)
        live = owner_prefix(_LIVE, owner, end.kind) + suffix
        if to_height is None:
            yield live, value
        else:
            yield live, None
            if to_height > from_height:
                yield owner_prefix(_PAST, owner, end.kind) + suffix, value


def _range(prefix: bytes) -> tuple[bytes, bytes]:
    return prefix, prefix_stop(prefix)


class Span(NamedTuple):
    """Which ends of a kind: those due from `from_ms` on and before `until_ms`, beyond a place of the list."""

    kind: DueKind
    from_ms: int
    until_ms: int
    after: tuple[int, str] | None = None


class EndsReader:
    """Answers out of the index of ends, beside its follower."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def height(self) -> Height | None:
        """Return the height that the index has reached; None before it began."""
        followed = followed_of(self._store)
        return None if followed is None or followed.format != FORMAT else followed.height

    def ends(self, span: Span, *, owner: str = "", height: int, descending: bool = False) -> Iterator[End]:
        """Yield ends as they were after the block at a height that is reached, in the order of (due, key)."""
        # Those that are so first: one that changes meanwhile is found twice then, and never not at all.
        tables = [self._table(table, span, owner, height, descending) for table in (_LIVE, _PAST)]
        merged = heapq.merge(*tables, key=lambda end: (end.due_ms, end.key), reverse=descending)
        for _, same in groupby(merged, key=lambda end: (end.due_ms, end.key)):
            yield next(same)

    def moments(self, kind: DueKind, from_ms: int, until_ms: int) -> Iterator[int]:
        """Yield when ends of a kind are due in a span, as the index has them now: by the rows' keys alone."""
        prefix = owner_prefix(_LIVE, "", kind)
        for key, _ in self._store.iterate(prefix + _due_bytes(from_ms), prefix + _due_bytes(until_ms)):
            yield int.from_bytes(key[len(prefix) : len(prefix) + _DUE_SIZE], "big")

    def _table(self, table: bytes, span: Span, owner: str, height: int, descending: bool) -> Iterator[End]:
        prefix = owner_prefix(table, owner, span.kind)
        start, stop = prefix + _due_bytes(span.from_ms), prefix + _due_bytes(span.until_ms)
        if span.after is not None:
            due_ms, name = span.after
            place = prefix + _due_bytes(due_ms) + name.encode() + b"\0"
            start, stop = (start, min(stop, place)) if descending else (max(start, prefix_stop(place)), stop)
        for key, data in self._store.iterate(start, stop, reverse=descending):
            if int.from_bytes(key[-_HEIGHT_SIZE:], "big") > height:
                continue
            row = _read(EndRow, data)
            if row.to_height is not None and row.to_height <= height:
                continue
            rest = key[len(prefix) :]
            due_ms = int.from_bytes(rest[:_DUE_SIZE], "big")
            name = rest[_DUE_SIZE : -_HEIGHT_SIZE - 1].decode()
            yield End(span.kind, due_ms, name, row.member, row.body, row.gone_ms)
