"""Every statement about a payment at a certificate's terminals, out of a mirror of the log: none can be left out.

A node's list of them is its word. A mirror holds the log's entries, each hashed to the root that the validators
cosigned; whoever reads them all has all that was ever stated, up to that checkpoint, and needs nobody's index. What the
certificate was worth comes from status proofs: of its newest record, which must be no older than the mirror's last
block, since a revocation may reach back to any time, and, from each to the one before it, of the moment before it
changed. Here: reading and judging. Not here: copying the log (`chainnode.mirror`), options and messages
(`chainnode.cli.payment_affected`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from chainnode.mirror_files import MirrorFiles
from chainnode.monitoring import Seen
from ledger.block_parts import all_applied
from ledger.certificate_records import Certificate, CertificateStatus
from ledger.certificate_versions import VERSIONS_MAX, TooManyVersions, Versions
from ledger.events import EVENT_SIZE_MAX, HEADER_KIND, LEAF_SIZE_MAX, Event, event_id
from ledger.log_tiles import TILE_WIDTH
from ledger.payments import PAYMENT_STATEMENT, PaymentStatement
from ledger.signed_trees import SignedTree, TileSource
from ledger.state import STATE_VALUE_SIZE_MAX
from ledger.status_proofs import certificate_status, verify_status
from ledger.tile_paths import check_bundle, parse_bundle
from primitives.block import BlockHeader
from primitives.encoding import decode
from primitives.errors import InputError, ProofError
from primitives.ids import HASH_BYTES

_OWN: Final = "the mirror"


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement of the log that names the certificate: where it stands, who made it, its body, and its block.

    `applied` is None where the block's header alone does not tell: some of its events were rejected.
    """

    log_index: int
    event_id: str
    member: str
    body: PaymentStatement
    height: int
    block_ms: int
    applied: bool | None


def statements_naming(
    files: MirrorFiles, seen: Seen, number: str, advance: Callable[[], None] = lambda: None
) -> Iterator[Statement]:
    """Yield, in the order of the log, every payment statement that names a certificate, up to the mirror's checkpoint.

    `advance` is called after each bundle of 256 entries, which is hashed to the signed root before it is read. Raises
    TileMissing where the mirror lacks a part, ProofError where one is not the log's or does not decode.
    """
    tree = SignedTree(seen.checkpoint, [TileSource(_OWN, files.tile)], _damaged)
    name = number.encode()
    waiting: list[tuple[int, bytes]] = []  # for the header of their block, which stands behind them
    for index in range(bundles_of(seen)):
        hashes, data = tree.bundle(index, check_bundle)
        if name in data or waiting:
            for place, entry in enumerate(parse_bundle(data, len(hashes) // HASH_BYTES), index * TILE_WIDTH):
                if entry[0] == HEADER_KIND and waiting:
                    yield from _of_block(waiting, _header(entry), number)
                    waiting.clear()
                elif entry[0] == PAYMENT_STATEMENT and name in entry:
                    waiting.append((place, entry))
        advance()
    if waiting:
        raise _open_ended(seen)


def last_block(files: MirrorFiles, seen: Seen) -> BlockHeader:
    """Return the header with which the log of a mirror's checkpoint ends. Raises TileMissing, ProofError."""
    tree = SignedTree(seen.checkpoint, [TileSource(_OWN, files.tile)], _damaged)
    hashes, data = tree.bundle(bundles_of(seen) - 1, check_bundle)
    entry = parse_bundle(data, len(hashes) // HASH_BYTES)[-1]
    if entry[0] != HEADER_KIND:
        raise _open_ended(seen)
    return _header(entry)


def bundles_of(seen: Seen) -> int:
    """Return how many bundles of entries the log of a checkpoint has."""
    return -(-seen.checkpoint.size // TILE_WIDTH)


def proved_versions(
    number: str, policy: str, newest: str, proof_at: Callable[[int], str] | None, *, height: int
) -> list[Certificate]:
    """Return a certificate's records as status proofs under a policy prove them, the newest first; none where absent.

    `newest` is the proof of the present, of the block at `height` or a later one; `proof_at` gives one of a time;
    without it the newest stands alone. Raises ProofError where one does not hold, or is older, or of another key or
    time, and TooManyVersions.
    """
    found: list[Certificate] = []
    text, time_ms = newest, None
    while True:
        verdict = verify_status(text, policy)
        certificate_status(verdict, number, time_ms)  # of this certificate and of that time
        if time_ms is None and verdict.height < height:
            raise ProofError(
                "status proof is older than the mirror, and tells nothing of what came since",
                expected=f"of block {height} or a later one",
                got=f"of block {verdict.height}",
                hint="take one that was made after the mirror, or ask another node",
            )
        if verdict.value is None:
            return found
        found.append(decode(Certificate, verdict.value, size_max=STATE_VALUE_SIZE_MAX))
        if len(found) > VERSIONS_MAX:
            raise TooManyVersions(
                "a certificate changed too often", expected=f"at most {VERSIONS_MAX} times", got=number
            )
        if proof_at is None:
            return found
        time_ms = found[-1].history.changed_ms - 1
        text = proof_at(time_ms)


class Worth:
    """What a certificate was worth at any time, by its proved records, the newest first."""

    def __init__(self, records: Sequence[Certificate], *, complete: bool) -> None:
        """Take them; they are `complete` where they reach back to the grant."""
        # Times stand for heights here: a record changes with a block, and blocks have times of their own.
        self._versions = Versions([record.history.changed_ms for record in records][::-1], list(records)[::-1])
        self._complete = complete

    def judged(self, time_ms: int) -> bool:
        """Say whether the records speak of a time."""
        newest = self._versions.records[-1] if self._versions.records else None
        if self._complete or newest is None or time_ms >= newest.history.changed_ms:
            return True
        return newest.revocation is not None and time_ms >= newest.revocation.invalid_from_ms

    def at(self, time_ms: int) -> CertificateStatus | None:
        """Return the status at a time that is judged, or None where there was no such certificate."""
        return self._versions.status_at(time_ms)

    def known(self, time_ms: int, block_ms: int) -> CertificateStatus | None:
        """Return the status at a time as it was known with the block of another; None too where that is not proved."""
        return self._versions.known_at(block_ms).status_at(time_ms) if self._complete else None


def _of_block(entries: Sequence[tuple[int, bytes]], header: BlockHeader, number: str) -> Iterator[Statement]:
    applied = True if all_applied(header) else None
    for place, entry in entries:
        where = f"entry {place} of the log"
        if place < header.first_index:
            raise ProofError("entry in no block", where=where, expected=f"block {header.height} to begin before it")
        try:
            event = decode(Event, entry[1:], size_max=EVENT_SIZE_MAX)
            body = decode(PaymentStatement, event.body, size_max=EVENT_SIZE_MAX)
        except InputError as error:
            raise ProofError("statement does not decode", where=where, expected="schema 1", got=error) from None
        if body.terminal_certificate == number:
            id_ = event_id(entry[1:], PAYMENT_STATEMENT).hex()
            yield Statement(place, id_, event.member, body, int(header.height), int(header.time_ms), applied)


def _header(entry: bytes) -> BlockHeader:
    return decode(BlockHeader, entry[1:], size_max=LEAF_SIZE_MAX)


def _open_ended(seen: Seen) -> ProofError:
    return ProofError("log does not end with a block", where=f"entry {seen.checkpoint.size - 1} of the log")


def _damaged(name: str, error: ProofError) -> None:
    del name
    raise error
