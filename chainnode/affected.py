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
    """A statement of the log that names the certificate: where it stands, who made it, and its body."""

    log_index: int
    event_id: str
    member: str
    body: PaymentStatement


def statements_naming(
    files: MirrorFiles, seen: Seen, number: str, advance: Callable[[], None] = lambda: None
) -> Iterator[Statement]:
    """Yield, in the order of the log, every payment statement that names a certificate, up to the mirror's checkpoint.

    `advance` is called after each bundle of 256 entries, which is hashed to the signed root before it is read. Raises
    TileMissing where the mirror lacks a part, ProofError where one is not the log's or does not decode.
    """
    tree = SignedTree(seen.checkpoint, [TileSource(_OWN, files.tile)], _damaged)
    name = number.encode()
    for index in range(bundles_of(seen)):
        hashes, data = tree.bundle(index, check_bundle)
        if name in data:
            for place, entry in enumerate(parse_bundle(data, len(hashes) // HASH_BYTES), index * TILE_WIDTH):
                if entry[:1] == bytes((PAYMENT_STATEMENT,)) and name in entry:
                    yield from _named(entry, place, number)
        advance()


def last_block(files: MirrorFiles, seen: Seen) -> BlockHeader:
    """Return the header with which the log of a mirror's checkpoint ends. Raises TileMissing, ProofError."""
    tree = SignedTree(seen.checkpoint, [TileSource(_OWN, files.tile)], _damaged)
    hashes, data = tree.bundle(bundles_of(seen) - 1, check_bundle)
    entry = parse_bundle(data, len(hashes) // HASH_BYTES)[-1]
    if entry[0] != HEADER_KIND:
        raise ProofError("log does not end with a block", where=f"entry {seen.checkpoint.size - 1} of the log")
    return decode(BlockHeader, entry[1:], size_max=LEAF_SIZE_MAX)


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
        self._versions = Versions(range(len(records)), list(records)[::-1])
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


def _named(entry: bytes, place: int, number: str) -> Iterator[Statement]:
    try:
        event = decode(Event, entry[1:], size_max=EVENT_SIZE_MAX)
        body = decode(PaymentStatement, event.body, size_max=EVENT_SIZE_MAX)
    except InputError as error:
        where = f"entry {place} of the log"
        raise ProofError("statement does not decode", where=where, expected="schema 1", got=error) from None
    if body.terminal_certificate == number:
        yield Statement(place, event_id(entry[1:], PAYMENT_STATEMENT).hex(), event.member, body)


def _damaged(name: str, error: ProofError) -> None:
    del name
    raise error
