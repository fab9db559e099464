"""Status proofs: what the state held under a key, or that it held nothing, at a height or a time; offline.

A status proof is a C2SP tlog-proof of a block header's leaf. Its extra data hold the header, the value and its path in
the state's map. For a time it also carries the next header: the first block is the last one not after that time.
Pure. Source: architecture §6. Not here: what a certificate's record says of its status (`ledger.certificate_records`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from ledger.batch_places import Path
from ledger.certificate_records import Certificate, CertificateStatus, certificate_key, status_at
from ledger.events import TIME_MS_MAX
from ledger.handovers import HANDOVERS_MAX, Handover
from ledger.proof_steps import EXTRA, HEADER, NEXT_HEADER, RECORD, STATE, TIME, step
from ledger.reader import LedgerReader
from ledger.receipts import check_header, check_place, handovers_to
from ledger.smt import StateProof, verify_state
from ledger.state import STATE_KEY_SIZE_MAX, STATE_VALUE_SIZE_MAX
from ledger.times import format_time
from ledger.tlog_proofs import PROOF_SIZE_MAX, TlogProof, parse_tlog_proof
from ledger.trust_policy import CheckedCheckpoint, parse_policy
from ledger.views import CheckpointView, StateValue
from ledger.witnessed import checkpoint_for_proof
from primitives.block import BlockHeader
from primitives.encoding import Record, decode, encode
from primitives.errors import ProofError
from primitives.ids import Hash, Height, TimeMs
from primitives.notes import cosignature_times, parse_note

STATUS_PROOF_VERSION = 2


class NextHeader(Record):
    """The header after the one that is proved, with its path in the same log."""

    header: BlockHeader
    path: Path


class StatusProof(Record):
    """The extra data of a status proof; `value` None says that the key is absent; `handovers` as in a receipt."""

    version: int
    key: Annotated[bytes, Meta(min_length=1, max_length=STATE_KEY_SIZE_MAX)]
    value: Annotated[bytes, Meta(max_length=STATE_VALUE_SIZE_MAX)] | None
    proof: StateProof
    header: BlockHeader
    following: NextHeader | None
    handovers: Annotated[tuple[Handover, ...], Meta(max_length=HANDOVERS_MAX)]


@dataclass(frozen=True, slots=True)
class StatusVerdict:
    """What a status proof proves: the value from the block's time up to `until_ms`.

    `until_ms` is the time of the next block, at which another one may begin. Where the block `is_newest`, it is the
    earliest time at which a cosigner vouched for the log's end being this block, itself included, but never before the
    block's own time: cosignatures tell whole seconds only, and the clock behind one may be slow. None where the
    checkpoint lies further on; then the value is proved at the block's time alone. `rules` are the block's.
    """

    key: bytes
    value: bytes | None
    chain_id: Hash
    origin: str
    header_hash: Hash
    height: Height
    time_ms: TimeMs
    until_ms: TimeMs | None
    is_newest: bool
    epoch: int | None
    witnesses: int
    cosigners: tuple[str, ...]
    rules: int

    @property
    def last_ms(self) -> int:
        """The last time at which the value is proved."""
        if self.until_ms is None:
            return self.time_ms
        return self.until_ms if self.is_newest else self.until_ms - 1

    def covers(self, time_ms: int) -> bool:
        """Say whether the value is proved at a time."""
        return self.time_ms <= time_ms <= self.last_ms


def make_status_proof(
    reader: LedgerReader,
    key: str | bytes,
    height: int,
    from_epoch: int = 0,
    witnesses: Collection[str] = (),
    *,
    at_ms: int | None = None,
    found: StateValue | None = None,
) -> str | None:
    """Return the proof of a state key at `height` under a stable checkpoint; None where none covers it.

    It is for policies of `from_epoch` and later; the checkpoint is chosen as for a receipt.
    The next header goes with it where the checkpoint covers that too.
    With `at_ms` it must prove the value at that time as well, which no checkpoint may do yet. `found` is the key's
    value there, where the caller has looked it up already.
    """
    made = status_proof_at(reader, key, height, from_epoch, witnesses, at_ms=at_ms, found=found)
    if made is None:
        return None
    extra, checkpoint = made
    place = extra.header.first_index + extra.header.event_count
    path = tuple(reader.log.inclusion(place, checkpoint.size))
    return TlogProof(encode(extra), place, path, checkpoint.note).text()


def _speaks_for(
    checkpoint: CheckpointView | None, header: BlockHeader, following: BlockHeader | None, at_ms: int | None
) -> bool:
    """Say whether a proof of this header under a checkpoint proves what stood in the state at a time."""
    if checkpoint is None:
        return False
    return at_ms is None or header.time_ms <= at_ms <= proved_until(header, following, checkpoint)


def proved_until(header: BlockHeader, following: BlockHeader | None, checkpoint: CheckpointView) -> TimeMs:
    """Return the last time at which a proof of this header under a checkpoint proves what stood in the state."""
    if following is not None and following.first_index + following.event_count < checkpoint.size:
        return TimeMs(following.time_ms - 1)
    if checkpoint.size != header.first_index + header.event_count + 1:
        return header.time_ms
    times = cosignature_times(parse_note(checkpoint.note))
    return TimeMs(max(min(times, default=0) * 1_000, header.time_ms))


def status_proof_at(
    reader: LedgerReader,
    key: str | bytes,
    height: int,
    from_epoch: int = 0,
    witnesses: Collection[str] = (),
    *,
    at_ms: int | None = None,
    found: StateValue | None = None,
) -> tuple[StatusProof, CheckpointView] | None:
    """Return the extra data of such a proof, and the checkpoint under which it stands."""
    if found is None:
        found = reader.state_value(key, height)
    if found is None:
        return None
    place = found.header.first_index + found.header.event_count
    next_header = reader.header(height + 1)
    next_place = place if next_header is None else next_header.first_index + next_header.event_count
    newest = reader.checkpoint()
    # Without the next header nothing is proved of the time up to it, so no older checkpoint may leave it out.
    covered = next_place if newest is not None and next_place < newest.size else place
    checkpoint = checkpoint_for_proof(reader, covered + 1, witnesses)
    header = found.header
    if not _speaks_for(checkpoint, header, next_header, at_ms) and not witnesses:
        checkpoint = reader.checkpoint(covered + 1)  # cosigned anew since the witnesses cosigned it
    if checkpoint is None or not _speaks_for(checkpoint, header, next_header, at_ms):
        return None
    following: NextHeader | None = None
    if next_header is not None and next_place < checkpoint.size:
        following = NextHeader(next_header, tuple(reader.log.inclusion(next_place, checkpoint.size)))
    handovers = handovers_to(reader, checkpoint.size, from_epoch)
    extra = StatusProof(STATUS_PROOF_VERSION, found.key, found.value, found.proof, found.header, following, handovers)
    return extra, checkpoint


def verify_status(proof_text: str, policy: str) -> StatusVerdict:
    """Return what a status proof proves under a policy. Raises ProofError where anything does not hold."""
    proof = parse_tlog_proof(proof_text)
    with step(EXTRA):
        extra = decode(StatusProof, proof.extra, size_max=PROOF_SIZE_MAX)
        check_version(extra)
    return check_status(extra, proof, parse_policy(policy).check(proof.note, extra.handovers))


def check_status(extra: StatusProof, proof: TlogProof, checked: CheckedCheckpoint) -> StatusVerdict:
    """Return what a status proof proves that came in this tlog-proof, under its accepted checkpoint."""
    header = extra.header
    place = header.first_index + header.event_count
    with step(HEADER):
        check_place(proof, header)
        check_header(header, proof.path, checked)
    with step(STATE):
        verify_state(header.state_root, extra.key, extra.value, extra.proof)
    until_ms: TimeMs | None = None
    if extra.following is not None:
        with step(NEXT_HEADER):
            until_ms = _next_time(extra.following, header, checked)
    elif checked.checkpoint.size == place + 1:
        until_ms = TimeMs(max(checked.first_s * 1_000, header.time_ms))
    return StatusVerdict(
        key=extra.key,
        value=extra.value,
        chain_id=header.chain_id,
        origin=checked.checkpoint.origin,
        header_hash=header.hash(),
        height=header.height,
        time_ms=header.time_ms,
        until_ms=until_ms,
        is_newest=extra.following is None and until_ms is not None,
        epoch=checked.epoch,
        witnesses=checked.witnesses,
        cosigners=checked.cosigners,
        rules=header.version,
    )


def check_version(extra: StatusProof) -> None:
    """Raise ProofError where a status proof is of a version that this release does not know."""
    if extra.version != STATUS_PROOF_VERSION:
        raise ProofError("status proof of an unknown version", expected=STATUS_PROOF_VERSION, got=extra.version)


def _next_time(following: NextHeader, header: BlockHeader, checked: CheckedCheckpoint) -> TimeMs:
    """Return the time of the next block, proved to be that."""
    check_header(following.header, following.path, checked)
    if following.header.parent != header.hash():
        raise ProofError("next header does not follow", expected=header.hash(), got=following.header.parent)
    if following.header.height != header.height + 1:
        raise ProofError("next header does not follow", expected=header.height + 1, got=following.header.height)
    return following.header.time_ms


def told_time(time_ms: int) -> str:
    """Return a time for a message: RFC 3339, or milliseconds where a cosignature says more than that can write."""
    return format_time(time_ms) if 0 <= time_ms <= TIME_MS_MAX else f"{time_ms} ms"


def check_covers(verdict: StatusVerdict, at_ms: int) -> None:
    """Raise ProofError where a verdict says nothing about a time."""
    if not verdict.covers(at_ms):
        raise ProofError(
            "proof says nothing about that time",
            where=TIME,
            expected=f"{told_time(verdict.time_ms)} to {told_time(verdict.last_ms)}",
            got=told_time(at_ms),
        )


def certificate_status(verdict: StatusVerdict, number: str, time_ms: int | None = None) -> CertificateStatus | None:
    """Return a certificate's status at a time (default: the block's) as a verdict proves it; None: no such certificate.

    Raises ProofError where the verdict is of another key, or says nothing about that time.
    """
    if verdict.key != certificate_key(number).encode():
        raise ProofError(
            "proof of another key",
            where=STATE,
            expected=certificate_key(number),
            got=verdict.key.decode(errors="replace"),
        )
    at_ms = verdict.time_ms if time_ms is None else time_ms
    check_covers(verdict, at_ms)
    if verdict.value is None:
        return None
    with step(RECORD):
        certificate = decode(Certificate, verdict.value, size_max=STATE_VALUE_SIZE_MAX)
    return status_at(certificate, at_ms)
