"""From a snapshot to the rows of a store, and the proof on the way that they are the chain's.

What leads to what: the genesis names the first validators, handovers those of the block's epoch, and a quorum of these
committed the block's header. The header's parent is the hash of the block below, and so on down the newest blocks; its
log root stands over the log's right edge, its batch logs' root over every member's, its state root over every row of
the state. So a row that is changed, left out or added, or that stands in another place, is found, without trusting
whoever made the snapshot. The rows come as they are read, the tip with the last: a store without it holds no chain.
Pure, in memory bounded by one chunk and the number of members. Not here: files (`chainnode.snapshot_file`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar, assert_never

from ledger import rows
from ledger.batch_logs import MemberHead
from ledger.chain_rows import genesis_block, genesis_block_rows
from ledger.genesis import Genesis
from ledger.handovers import check_committed, verified_sets
from ledger.log_tiles import TILE_WIDTH, Added, LogTip, tail_widths, tip_of_tails, tip_rows
from ledger.members import VALIDATORS_KEY
from ledger.recent_blocks import recent_rows
from ledger.references import derived_rows
from ledger.rows import BaseRow, MemberLogRow, TipRow
from ledger.snapshots import LogPart, Manifest, MemberPart, Section, SnapshotRefused, StateRow, unpack_chunk
from ledger.snapshots_making import Anchor, first_kept
from ledger.snapshots_state import MapBuilder
from ledger.state import STATE_VALUE_SIZE_MAX
from ledger.store import Put
from ledger.trust_policy import cosigner_key
from ledger.voucher_forgetting import ends_of
from primitives import merkle
from primitives.block import CommittedBlock, batches_root
from primitives.encoding import decode, encode
from primitives.errors import InputError
from primitives.hashing import leaf_hash
from primitives.ids import HASH_BYTES, Hash, Height
from primitives.notes import Checkpoint, parse_checkpoint, parse_note, verify_cosignature
from primitives.validators import ValidatorSet

ITEM_BYTES_MAX = 1 << 22

T = TypeVar("T")


class Rebuilding:
    """The rows of a store at one block, from the items of a snapshot in their order, each verified as it comes.

    Owned by one reading; after an error it is of no use.
    """

    def __init__(self, genesis: Genesis, anchor: Anchor) -> None:
        """Verify the block. SnapshotRefused, ProofError or SignatureError where the genesis does not lead to it."""
        header = anchor.header
        self._genesis = genesis
        self._anchor = anchor
        self._section = Section.LOG
        self._log: LogTip | None = None
        self._blocks: dict[int, Hash] = {0: genesis_block(genesis)[0].header.hash()}
        self._heads: list[Hash] = []
        self._last_member = ""
        self._map = MapBuilder()
        self._next_validators: Hash | None = None
        self.counts = dict.fromkeys(Section, 0)
        if header.chain_id != genesis.chain_id:
            raise SnapshotRefused("snapshot of another chain", expected=genesis.chain_id, got=header.chain_id)
        self.sets = verified_sets(genesis, anchor.handovers)
        if header.epoch != len(anchor.handovers) or header.height < 1:
            raise SnapshotRefused(
                "handovers do not lead to the block", expected=f"epoch {len(anchor.handovers)}", got=header.epoch
            )
        check_committed(header, anchor.certificate, genesis.chain_id, self.validators)

    @property
    def validators(self) -> ValidatorSet:
        """The set that committed the block."""
        return self.sets[-1]

    def take(self, section: Section, item: bytes) -> list[Put]:
        """Return the rows of the next item. Raises SnapshotRefused, ProofError, SignatureError or EncodingError."""
        if section < self._section:
            raise SnapshotRefused("sections out of order", expected=f"section {self._section}", got=section)
        self._section = section
        self.counts[section] += 1
        match section:
            case Section.LOG:
                return self._take_log(_decode(LogPart, item))
            case Section.BLOCKS:
                return self._take_block(_decode(CommittedBlock, item), item)
            case Section.MEMBERS:
                return self._take_member(_decode(MemberPart, item))
            case Section.STATE:
                return self._take_state(_decode(StateRow, item))
            case _:
                assert_never(section)

    def finish(self) -> list[Put]:
        """Return the last rows, the tip's among them, once all that the header names was there."""
        header, height = self._anchor.header, int(self._anchor.header.height)
        if self._log is None:
            raise SnapshotRefused("snapshot without the log's right edge")
        if self._blocks.get(height) != header.hash():
            raise SnapshotRefused("newest block missing", expected=header.hash(), got=self._blocks.get(height))
        found = merkle.root_of(self._heads)
        if found != header.batch_logs_root:
            raise SnapshotRefused("root of the batch logs", expected=header.batch_logs_root, got=found)
        root, nodes = self._map.finish()
        if root != header.state_root:
            raise SnapshotRefused("root of the state", expected=header.state_root, got=root)
        if self._next_validators != header.next_validators:
            raise SnapshotRefused("validators of the next block", expected=header.next_validators)
        return [
            *((rows.node_key(node), row) for node, row in nodes),
            *((rows.state_row_key(key), value) for key, value in recent_rows(self._blocks, height).items()),
            *genesis_block_rows(self._genesis),
            *((rows.handover_key(epoch), encode(each)) for epoch, each in enumerate(self._anchor.handovers)),
            (rows.BASE_KEY, encode(BaseRow(header.height, Height(first_kept(height))))),
            (rows.TIP_KEY, encode(TipRow(header.chain_id, header.height, header.hash(), self._log.size))),
        ]

    def checkpoint(self) -> Checkpoint:
        """Return what a checkpoint that ends with the block says. Only after the log's part was taken."""
        assert self._log is not None, "the log comes first"
        return Checkpoint(self._genesis.origin, self._log.size, self._log.root())

    def _take_log(self, part: LogPart) -> list[Put]:
        """The log's right edge before the header's own leaf, which the header's root stands over, and that leaf."""
        header = self._anchor.header
        if self._log is not None:
            raise SnapshotRefused("second right edge of the log")
        before = _tip_of(header.first_index + header.event_count, part.tails)
        if before.root() != header.log_root:
            raise SnapshotRefused("root of the log", expected=header.log_root, got=before.root())
        self._log, added = before.extend([header.hash()])
        return [*tip_rows(b"", self._log), *_completed(before, added)]

    def _take_block(self, committed: CommittedBlock, item: bytes) -> list[Put]:
        """One of the newest blocks, ascending: each names the one below as its parent, and the last is the header's."""
        header, certificate = committed.block.header, committed.certificate
        last = self._anchor.header
        height = first_kept(int(last.height)) + self.counts[Section.BLOCKS] - 1
        where = f"block {height}"
        if header.height != height or height > last.height:
            raise SnapshotRefused("block of another place", where=where, got=header.height)
        block_hash = header.hash()
        below = self._blocks.get(height - 1)
        if below is not None and header.parent != below:
            raise SnapshotRefused("block does not follow the one below it", where=where, expected=below)
        if height == last.height and header != last:
            raise SnapshotRefused("newest block is another", where=where, expected=last.hash(), got=block_hash)
        if certificate is None or certificate.height != header.height or not 0 <= header.epoch < len(self.sets):
            raise SnapshotRefused("certificate of another block, or none", where=where)
        check_committed(header, certificate, self._genesis.chain_id, self.sets[header.epoch])
        if batches_root(committed.block.batch_hashes) != header.batches_root:
            raise SnapshotRefused("batches of a block", where=where, expected=header.batches_root)
        self._blocks[height] = block_hash
        return [(rows.block_key(height), item), (rows.block_hash_key(block_hash), height.to_bytes(8, "big"))]

    def _take_member(self, part: MemberPart) -> list[Put]:
        """A member's batch log; members ascend, and the root over all their heads is held against the header's."""
        if part.member <= self._last_member:
            raise SnapshotRefused("members out of order", expected=f"after {self._last_member}", got=part.member)
        self._last_member = part.member
        tip = _tip_of(part.size, part.tails)
        self._heads.append(leaf_hash(encode(MemberHead(part.member, part.size, tip.root(), part.sources))))
        log = part.member.encode()
        return [
            (rows.member_log_key(part.member), encode(MemberLogRow(part.size, part.sources))),
            *tip_rows(log, tip),
        ]

    def _take_state(self, row: StateRow) -> list[Put]:
        """A row of the state, in the order of the map's paths, with the rows that follow from it."""
        nodes = self._map.add(row.key, row.value)
        if row.key == VALIDATORS_KEY.encode():
            self._next_validators = decode(ValidatorSet, row.value, size_max=STATE_VALUE_SIZE_MAX).hash
        return [
            (rows.state_row_key(row.key), row.value),
            *((rows.node_key(node), data) for node, data in nodes),
            *((rows.state_row_key(key), value) for key, value in derived_rows(row.key, row.value).items()),
            *((rows.state_row_key(key), value) for key, value in ends_of(row.key, row.value).items()),
        ]


class Restoring:
    """A whole snapshot, chunk by chunk: first every chunk in the order of the file, then `finish`."""

    def __init__(self, genesis: Genesis, manifest: Manifest) -> None:
        """Verify the block and its certificates. Raises SnapshotRefused where the genesis does not lead to it."""
        header = manifest.header
        if (manifest.chain_id, manifest.height) != (header.chain_id, header.height):
            raise SnapshotRefused("manifest names another block than its header", where="manifest", got=manifest.height)
        self._manifest = manifest
        try:
            self._rebuilding = Rebuilding(genesis, Anchor(header, manifest.certificate, manifest.handovers))
        except InputError as error:
            raise _placed(error, "manifest") from None
        self._genesis = genesis
        self._taken = 0

    def take(self, data: bytes) -> Iterator[list[Put]]:
        """Yield the rows of the next chunk, item by item; what it raises names chunk and item."""
        number = self._taken
        where = f"chunk {number} of {len(self._manifest.chunks)}"
        item = -1
        try:
            if number >= len(self._manifest.chunks):
                raise SnapshotRefused("more chunks than the manifest names")
            chunk = unpack_chunk(self._manifest.chunks[number], data)
            for each in chunk.items:
                item += 1
                yield self._rebuilding.take(chunk.section, each)
        except InputError as error:
            raise _placed(error, where if item < 0 else f"{where}, item {item}") from None
        self._taken += 1

    def finish(self) -> tuple[list[Put], list[tuple[int, int, bytes]]]:
        """Return the last rows, and the cosignatures of the checkpoint: (validator, time in seconds, signature)."""
        manifest, counts = self._manifest, self._rebuilding.counts
        if self._taken != len(manifest.chunks):
            raise SnapshotRefused("chunks missing", expected=len(manifest.chunks), got=self._taken)
        try:
            last = self._rebuilding.finish()
            cosignatures = cosignatures_of(
                manifest.checkpoint, self._rebuilding.checkpoint(), self._genesis, self._rebuilding.validators
            )
        except InputError as error:
            raise _placed(error, f"block {manifest.height}") from None
        named = (1, manifest.blocks, manifest.members, manifest.state_rows)
        if tuple(counts[section] for section in Section) != named:
            raise SnapshotRefused(
                "counts of the manifest", where="manifest", expected=tuple(counts.values()), got=named
            )
        return last, cosignatures

    @property
    def validators(self) -> ValidatorSet:
        """The set that committed the snapshot's block and cosigned its checkpoint."""
        return self._rebuilding.validators

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint that ends with the snapshot's block; known once the first chunk was taken."""
        return self._rebuilding.checkpoint()


def rebuilt(genesis: Genesis, anchor: Anchor, items: Iterable[tuple[Section, bytes]]) -> Iterator[list[Put]]:
    """Yield the rows of a store at a block from items that were read elsewhere, the tip's last; each is verified."""
    rebuilding = Rebuilding(genesis, anchor)
    for section, item in items:
        yield rebuilding.take(section, item)
    yield rebuilding.finish()


def cosignatures_of(
    note_text: str, expected: Checkpoint, genesis: Genesis, validators: ValidatorSet
) -> list[tuple[int, int, bytes]]:
    """Return (validator, time in seconds, signature) of a checkpoint's cosigners.

    ProofError unless the note is of this checkpoint and a quorum of the set cosigned it.
    """
    note = parse_note(note_text)
    checkpoint = parse_checkpoint(note.text)
    if checkpoint != expected:
        raise SnapshotRefused(
            "checkpoint of another log or size", expected=expected.text().split(), got=checkpoint.text().split()
        )
    found: list[tuple[int, int, bytes]] = []
    for index, validator in enumerate(validators.validators):
        key = cosigner_key(genesis, validator)
        line = note.signature_by(key)
        if line is not None:
            found.append((index, verify_cosignature(note, key), line.signature[8:]))
    if len(found) < validators.quorum:
        raise SnapshotRefused("too few cosignatures of the checkpoint", expected=validators.quorum, got=len(found))
    return found


def _decode(type_: type[T], item: bytes) -> T:
    return decode(type_, item, size_max=ITEM_BYTES_MAX)


def _tip_of(size: int, tails: tuple[bytes, ...]) -> LogTip:
    """Return the tip of a log of `size` leaves; SnapshotRefused where the hashes are more or fewer than it needs."""
    widths = [width * HASH_BYTES for width in tail_widths(size)]
    if [len(tail) for tail in tails] != widths:
        raise SnapshotRefused("hashes of a log's right edge", expected=widths, got=[len(tail) for tail in tails])
    return tip_of_tails(size, tails)


def _completed(before: LogTip, added: Added) -> list[Put]:
    """Return the rows of the tiles that the header's leaf completes: the edge after it does not hold them."""
    puts: list[Put] = []
    for level, hashes in added.items():
        tile = [*(before.tails[level] if level < len(before.tails) else ()), *hashes]
        if len(tile) == TILE_WIDTH:
            index = (before.size >> (8 * level)) // TILE_WIDTH
            puts.append((rows.tile_key(b"", level, index), b"".join(tile)))
    return puts


def _placed(error: InputError, where: str) -> SnapshotRefused:
    """Return an error as one of the snapshot, with its place before what it says of its own."""
    place = where if error.where is None else f"{where}, {error.where}"
    return SnapshotRefused(error.what, where=place, expected=error.expected, got=error.got, hint=error.hint)
