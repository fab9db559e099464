"""The rows of the store: every key's layout, in one place.

Keys start with one byte that names the kind of row; numbers in keys are big-endian, so that order is by number.

    m  format, tip, base                    what this store is, where the chain stands, and where its history begins
    b  height                               block with its certificate
    h  block hash                           height
    x  height                               digest of the execution: events per batch, rejected events
    B  batch hash                           a batch's bytes, written before PREPARE and only referred to later
    d  number                               the bytes of a large batch, whose B row then holds the number (`arrival`)
    g  number                               key of the batch whose body is to go, beside the bodies
    W  batch hash                           a batch that no committed block holds yet
    A  batch hash                           height of an ordered batch whose bytes were moved to the archive
    a  first height                         what was moved to a segment of the archive, when and by whom
    t  log, level, index                    full tile of hashes
    q  log, level, index, offset            hashes of a tile that is not full yet
    s  state key                            current value
    n  node hash                            node of the state's tree, of whatever height
    M  member                               a member's batch log: size and the tips of its sources
    L  member, index                        leaf of a member's batch log
    c  size                                 stable checkpoint (note)
    w  key id, name                         the newest checkpoint that an outside witness cosigned (note)
    e  kind, accused                        evidence found here that the chain has not recorded yet
    E  epoch                                its handover, where its last block lies below the base

Nothing is stored here per event but its bytes and its leaf: where an event stands, the index knows (`ledger.indexes`),
and for what the index has not reached, the tiles are searched. A position is the height (6 bytes) and the index in the
block (2 bytes).
"""

from typing import Annotated, TypeVar

from msgspec import Meta

from ledger.batch_headers import BatchHeader
from ledger.outcomes import Outcome
from ledger.store import prefix_stop
from primitives.encoding import Record, decode
from primitives.errors import EncodingError, StorageError
from primitives.ids import Hash, Height, SourceKey, TimeMs

T = TypeVar("T")

FORMAT_KEY = b"m/format"
FORMAT_NAME = "chainnode-ledger"
FORMAT_NEWEST = 2
"""The format that this release writes."""

FORMATS_READ = (1, 2)
"""The formats that this release reads, ascending; opening a store makes an older one the newest.

A store of format 1 has a row for the place of each event besides (`p`), which is deleted.
"""

KINDS = frozenset(bytes([byte]) for byte in b"mbhxBWAatqsnMLcweE")
"""Kinds of rows, as listed above."""

KINDS_DROPPED = (b"p",)
"""Kinds of rows of older formats."""

FORMAT_VERSION = f"{FORMAT_NAME}/{FORMAT_NEWEST}".encode()
TIP_KEY = b"m/tip"
BASE_KEY = b"m/base"

POSITION_SIZE = 8
HEIGHT_MAX = (1 << 48) - 1
ROW_SIZE_MAX = 1 << 26


def check_format(found: bytes | None, *, where: str) -> bool:
    """Say whether the store names the newest format; StorageError names one that this release does not read."""
    if found is None or found == FORMAT_VERSION:
        return found is not None
    readable = [f"{FORMAT_NAME}/{number}" for number in FORMATS_READ]
    name = found[:64].decode(errors="replace")
    if name in readable:
        return False
    number = name.removeprefix(f"{FORMAT_NAME}/")
    if number.isdecimal() and int(number) > FORMAT_NEWEST:
        what, hint = "the store was written by a newer release", "a release does not go back: install that one"
    else:
        what, hint = "store format not known", "run the release that wrote it"
    raise StorageError(
        what,
        where=where,
        expected=" or ".join(readable),
        got=name,
        hint=f"{hint}, or start with an empty store and catch up",
    )


class TipRow(Record):
    """Where the committed chain stands."""

    chain_id: Hash
    height: Height
    block_hash: Hash
    log_size: int


class BaseRow(Record):
    """Where the history of a store begins that a snapshot was put into; a store without this row has all of it.

    Blocks and events above `height` are here, and the state from `height` on; headers from `first_header` on, and the
    genesis block's.
    """

    height: Height
    first_header: Height


class ExecutionRow(Record):
    """What a block's execution gave: the number of events of each batch, and the events that were not applied."""

    event_counts: tuple[int, ...]
    rejected: tuple[tuple[int, Outcome], ...]

    def locate(self, index: int) -> tuple[int, int]:
        """Return the number of the batch that holds event `index` of the block, and its index in that batch."""
        for number, count in enumerate(self.event_counts):
            if index < count:
                return number, index
            index -= count
        raise StorageError("event outside of its block", got=index)


class WaitingRow(Record):
    """A batch that is held but not ordered: its place and its size in bytes."""

    member: str
    source: SourceKey
    number: int
    size: int


class ArchivedRow(Record):
    """A segment of the archive to which the bodies of some blocks were moved; written with the first that is deleted.

    `segment` is the SHA-256 of its file, `by` what asked for it: an operator, or the node's own setting.
    """

    first_height: Height
    last_height: Height
    segment: Hash
    batches: int
    events: int
    body_bytes: int
    segment_bytes: int
    time_ms: TimeMs
    by: Annotated[str, Meta(max_length=128)]


class SourceTip(Record):
    """Where a source stands: the number it must use next and the hash of its last batch."""

    source: Annotated[bytes, Meta(min_length=32, max_length=32)]
    next_number: int
    previous: Hash


class MemberLogRow(Record):
    """A member's batch log: the number of its leaves and its sources, ascending by key."""

    size: int
    sources: tuple[SourceTip, ...]


class BatchLeafRow(Record):
    """A leaf of a member's batch log with the height at which the batch was ordered."""

    height: Height
    header: BatchHeader


def read_row(type_: type[T], data: bytes, *, where: str) -> T:
    """Return a row of ours decoded; StorageError where the disk gave back other bytes than were written."""
    try:
        return decode(type_, data, size_max=ROW_SIZE_MAX)
    except EncodingError as error:
        raise StorageError(
            "row of the store damaged", where=where, got=error, hint="run `chainnode fsck`, then restore or catch up"
        ) from None


def block_key(height: int) -> bytes:
    """Return the key of the block at `height`."""
    return b"b" + height.to_bytes(8, "big")


def block_hash_key(block_hash: bytes) -> bytes:
    """Return the key of a block's height by its hash."""
    return b"h" + block_hash


def execution_key(height: int) -> bytes:
    """Return the key of the execution of the block at `height`."""
    return b"x" + height.to_bytes(8, "big")


def batch_key(batch_hash: bytes) -> bytes:
    """Return the key of a batch's bytes."""
    return b"B" + batch_hash


def waiting_key(batch_hash: bytes) -> bytes:
    """Return the key that marks a batch as not ordered yet."""
    return b"W" + batch_hash


def archived_body_key(batch_hash: bytes) -> bytes:
    """Return the key that says at which height a batch was ordered whose bytes are in the archive."""
    return b"A" + batch_hash


def archived_key(first_height: int) -> bytes:
    """Return the key of what was moved to the segment that begins with this height."""
    return b"a" + first_height.to_bytes(8, "big")


def position_bytes(height: int, index: int) -> bytes:
    """Return a position: 6 bytes of height, 2 bytes of index in the block."""
    return height.to_bytes(6, "big") + index.to_bytes(2, "big")


def parse_position(data: bytes) -> tuple[int, int]:
    """Return (height, index in the block) of the 8 bytes of a position."""
    return int.from_bytes(data[:6], "big"), int.from_bytes(data[6:8], "big")


def tile_key(log: bytes, level: int, index: int) -> bytes:
    """Return the key of a full tile; `log` is empty for the log, the member's id for a batch log."""
    return b"t" + _log_part(log) + bytes([level]) + index.to_bytes(8, "big")


def piece_key(log: bytes, level: int, index: int, offset: int) -> bytes:
    """Return the key of the hashes of a partial tile from `offset` on."""
    return piece_prefix(log, level, index) + bytes([offset])


def piece_prefix(log: bytes, level: int, index: int) -> bytes:
    """Return the prefix of all pieces of a partial tile."""
    return b"q" + _log_part(log) + bytes([level]) + index.to_bytes(8, "big")


def _log_part(log: bytes) -> bytes:
    return bytes([len(log)]) + log


def state_row_key(key: bytes) -> bytes:
    """Return the key of the current value of a state key."""
    return b"s" + key


def node_key(node_hash: bytes) -> bytes:
    """Return the key of a node of the state's tree."""
    return b"n" + node_hash


def member_log_key(member: str) -> bytes:
    """Return the key of a member's batch log."""
    return b"M" + member.encode()


def batch_leaf_key(member: str, index: int) -> bytes:
    """Return the key of a leaf of a member's batch log."""
    return b"L" + _log_part(member.encode()) + index.to_bytes(8, "big")


def checkpoint_key(size: int) -> bytes:
    """Return the key of the stable checkpoint at a log size."""
    return b"c" + size.to_bytes(8, "big")


def witness_key(key_id: bytes, name: str) -> bytes:
    """Return the key of the newest checkpoint that a witness cosigned: 4 bytes of its key's id, and its name."""
    return b"w" + key_id + name.encode()


def parse_witness(key: bytes) -> tuple[bytes, str]:
    """Return (key id, name) of such a key."""
    return key[1:5], key[5:].decode("utf-8", "replace")


def finding_key(kind: int, accused: bytes) -> bytes:
    """Return the key of evidence of a kind against whom `accused` names: of each the first that was found."""
    return b"e" + bytes([kind]) + accused


def handover_key(epoch: int) -> bytes:
    """Return the key of the handover that ended an epoch."""
    return b"E" + epoch.to_bytes(8, "big")


def all_of(kind: bytes) -> tuple[bytes, bytes]:
    """Return the range of all rows of a kind (its first byte)."""
    return kind, prefix_stop(kind)
