"""The members' batch logs: per member, an RFC 6962 tree of its batches' headers, and where each source stands.

One root over all members stands in every block header: the RFC 6962 root over the members' heads, ascending by member
id, a head being the canonical bytes of `[member, size, root, sources]` with each source's next number and last batch.
So a range of a member's log proves that an answer leaves none of its batches out, and a snapshot's source numbers are
as good as the header. Only the current heads are kept; the logs themselves stay, as tiles. Source: architecture §6.
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from ledger import rows
from ledger.batch_headers import BatchHeader
from ledger.batches import ParsedBatch
from ledger.log_tiles import EMPTY_TIP, Added, LogTip, TileReader, tile_rows
from ledger.rows import BatchLeafRow, MemberLogRow, SourceTip
from ledger.store import Put, StagedStore, Store
from primitives import merkle
from primitives.encoding import Record, encode
from primitives.errors import StorageError
from primitives.hashing import leaf_hash
from primitives.ids import ZERO_HASH, Hash, Height


class MemberHead(Record):
    """What the root over all batch logs says of one member."""

    member: str
    size: int
    root: Hash
    sources: tuple[SourceTip, ...]


class MemberLog(Struct, frozen=True):
    """One member's log: its right edge, its sources ascending by key, and the leaf hash of its head."""

    tip: LogTip
    sources: tuple[SourceTip, ...]
    head_hash: Hash


class MemberGrowth(Struct, frozen=True):
    """What one block added to a member's log."""

    before: LogTip
    added: Added
    headers: tuple[BatchHeader, ...]


class BatchLogs(Struct, frozen=True):
    """All members' batch logs after some block. Never changed in place."""

    members: dict[str, MemberLog]
    standings: dict[bytes, tuple[str, SourceTip]]  # of each source: the member under which it first submitted, its tip

    def root(self) -> Hash:
        """Return the root that a block header carries."""
        return merkle.root_of([self.members[member].head_hash for member in sorted(self.members)])

    def source_tip(self, source: bytes) -> SourceTip:
        """Return where a source stands; number 0 and a zero hash where it has not submitted yet."""
        standing = self.standings.get(source)
        return SourceTip(source, 0, ZERO_HASH) if standing is None else standing[1]

    def owner(self, source: bytes) -> str | None:
        """Return the member under which this source first submitted."""
        standing = self.standings.get(source)
        return None if standing is None else standing[0]

    def extend(self, batches: Sequence[ParsedBatch]) -> tuple["BatchLogs", dict[str, MemberGrowth]]:
        """Return the logs after these batches, whose numbers and members were checked, and what each member gained."""
        by_member: dict[str, list[ParsedBatch]] = {}
        for batch in batches:
            by_member.setdefault(batch.header.member, []).append(batch)
        if not by_member:
            return self, {}
        members = dict(self.members)
        standings = dict(self.standings)
        growth: dict[str, MemberGrowth] = {}
        for member, own in by_member.items():
            before = members.get(member)
            old_tip = EMPTY_TIP if before is None else before.tip
            sources = {} if before is None else {tip.source: tip for tip in before.sources}
            for batch in own:
                source = batch.header.source
                sources[source] = SourceTip(source, batch.header.number + 1, batch.hash)
                standings[source] = (member, sources[source])
            headers = tuple(batch.header for batch in own)
            tip, added = old_tip.extend([leaf_hash(encode(header)) for header in headers])
            members[member] = _member_log(member, tip, sources.values())
            growth[member] = MemberGrowth(old_tip, added, headers)
        return BatchLogs(members, standings), growth


EMPTY_LOGS = BatchLogs({}, {})


def _member_log(member: str, tip: LogTip, sources: Iterable[SourceTip]) -> MemberLog:
    ordered = tuple(sorted(sources, key=lambda source: source.source))
    return MemberLog(tip, ordered, leaf_hash(encode(MemberHead(member, tip.size, tip.root(), ordered))))


def load_batch_logs(store: Store | StagedStore) -> BatchLogs:
    """Return the logs as they stand in the store. Raises StorageError where a row is none."""
    members: dict[str, MemberLog] = {}
    standings: dict[bytes, tuple[str, SourceTip]] = {}
    start, stop = rows.all_of(b"M")
    for key, data in store.iterate(start, stop):
        try:
            member = key[1:].decode()
        except UnicodeDecodeError as error:
            raise StorageError(
                "key of a batch log names no member", where=f"row {key.hex()}", got=error, hint="run `chainnode fsck`"
            ) from None
        row = rows.read_row(MemberLogRow, data, where=f"batch log of {member}")
        tip = TileReader(store, member.encode()).tip(row.size)
        members[member] = _member_log(member, tip, row.sources)
        standings.update((source.source, (member, source)) for source in row.sources)
    return BatchLogs(members, standings)


def batch_log_rows(
    store: Store | StagedStore, logs: BatchLogs, growth: dict[str, MemberGrowth], height: int
) -> list[Put]:
    """Return the rows of a block's growth: heads, leaves with the height, tiles."""
    puts: list[Put] = []
    for member in sorted(growth):
        log, gained = logs.members[member], growth[member]
        puts.append((rows.member_log_key(member), encode(MemberLogRow(log.tip.size, log.sources))))
        for index, header in enumerate(gained.headers, gained.before.size):
            puts.append((rows.batch_leaf_key(member, index), encode(BatchLeafRow(Height(height), header))))
        puts.extend(tile_rows(store, member.encode(), gained.before, gained.added))
    return puts
