"""cert_getStatus: what a certificate is or was worth, with a proof of it.

Here: which height an answer speaks for. While the chain is in use its newest block is always a little ahead of the
newest stable checkpoint, so the present status is proved where the checkpoint reaches, if nothing about it changed
since. Not here: status as a function of record and time (`ledger.certificate_records`), proofs
(`ledger.status_proofs`). Source: domain §3.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Final, NamedTuple

import msgspec

from ledger.certificate_reading import CertificatesAsOf
from ledger.certificate_records import Certificate, CertificateStatus, certificate_key, status_at
from ledger.status_proofs import make_status_proof, proved_until
from ledger.times import parse_time
from ledger.views import CheckpointView, StateValue, Tip
from ledger.witnessed import checkpoint_for_proof
from primitives.block import BlockHeader
from primitives.errors import InputError
from rpc.errors import Code, invalid_params, not_found
from rpc.methods.certificates import CertificateNumber, StatusWords, certificate_of, status_words
from rpc.methods.heights import height_of, tip_of
from rpc.ports import LedgerReads, Services
from rpc.proofs import CHECKPOINT_RETRY_MS
from rpc.registry import Unsettled, patient_method
from rpc.rights import Access
from rpc.types import AsOf, EpochNumber, HeightNumber, Params, Result, Time, WitnessNames, time_text

# A stable checkpoint follows its block within a few hundred milliseconds while the validators agree.
CHECKPOINT_WAIT_MS: Final = 1_500


class GetCertificateStatus(Params, frozen=True):
    """A certificate, at a height or at a time that has come (RFC 3339 UTC); without `at`, now.

    `from_epoch` is the epoch of the policy under which the proof will be verified, or an earlier one; `witnesses` are
    names of outside witnesses' keys, each of which must have cosigned the checkpoint.
    """

    number: CertificateNumber
    at: Annotated[HeightNumber | str, msgspec.Meta(description="A height, or a time in RFC 3339 UTC.")] = "latest"
    from_epoch: EpochNumber = 0
    witnesses: WitnessNames = ()


class ProofPending(Result, frozen=True):
    """Why there is no proof yet, and when to ask again; `proved_height` is the newest height that has one now."""

    reason: str
    retryable: bool
    retry_after_ms: int
    hint: str
    proved_height: int | None


class CertificateStatusResult(Result, frozen=True):
    """A certificate's status at a time, as the record of then said it; None where there was no such certificate.

    `height` is the last block not after that time. Asked for the present, it is the newest block under a stable
    checkpoint and `time` that of its cosignatures, `status` being the same up to the newest block, `as_of`; where
    something changed in between, it is the newest block, without a proof. `hindsight` is what the newest record says of
    the same time, where it says something else: a revocation may name an earlier time from which the certificate counts
    as invalid. `proof` is a status proof for `chainnode verify`, None until a stable checkpoint covers height and time,
    as `proof_pending` then says.
    """

    number: str
    exists: bool
    status: StatusWords | None
    hindsight: StatusWords | None
    height: int
    time: Time
    proof: str | None
    proof_pending: ProofPending | None
    as_of: AsOf


@patient_method(
    "cert_getStatus",
    params=GetCertificateStatus,
    result=CertificateStatusResult,
    errors=(Code.NOT_FOUND,),
    access=Access.PUBLIC,
    wait_ms=CHECKPOINT_WAIT_MS,
)
def get_certificate_status(
    services: Services, params: GetCertificateStatus
) -> CertificateStatusResult | Unsettled[CertificateStatusResult]:
    """What a certificate was worth at a height or at a time, and whether there was one at all."""
    tip = tip_of(services)
    found = covered_by(services.reads, tip, params.witnesses)
    covered = None if found is None else found[0]
    newest = _header(services.reads, int(tip.height))
    certificate = CertificatesAsOf(services.reads, newest).record(params.number)
    about = _About(services.reads, params, newest, certificate, covered)
    if params.at != "latest":
        height, time_ms = moment_of(services, params.at, tip)
        return _answer(about, about.value(height), time_ms)
    if found is None:
        return _answer(about, about.value(int(tip.height)), None)
    height, checkpoint = found
    present_ms, value = proved_now_ms(services.reads, height, checkpoint), about.value(height)
    if not _unchanged(about, value, present_ms):
        return Unsettled(_answer(about, about.value(int(tip.height)), None))
    answer = _answer(about, value, present_ms)
    return Unsettled(answer) if answer.proof is None else answer


class _About(NamedTuple):
    """What is asked, and the certificate as the newest block left it; `covered` is the newest height with a proof."""

    reads: LedgerReads
    params: GetCertificateStatus
    newest: BlockHeader
    certificate: Certificate | None
    covered: int | None

    def value(self, height: int) -> StateValue:
        """Return the certificate's row at a height, with its path in the state."""
        value = self.reads.state_value(certificate_key(self.params.number), height)
        assert value is not None, "heights up to the tip have a state"
        return value


def _answer(about: _About, value: StateValue, time_ms: int | None) -> CertificateStatusResult:
    """Return the status as the record at a height says it, at `time_ms` or the block's own time."""
    params, height = about.params, int(value.header.height)
    at_ms = value.header.time_ms if time_ms is None else time_ms
    certificate = certificate_of(value)
    status = None if certificate is None else status_words(status_at(certificate, at_ms))
    hindsight = _hindsight(about.certificate, at_ms)
    proof = make_status_proof(
        about.reads, value.key, height, params.from_epoch, params.witnesses, at_ms=at_ms, found=value
    )
    return CertificateStatusResult(
        number=params.number,
        exists=certificate is not None,
        status=status,
        hindsight=None if hindsight == status else hindsight,
        height=height,
        time=time_text(at_ms),
        proof=proof,
        proof_pending=_pending(about.covered) if proof is None else None,
        as_of=int(about.newest.height),
    )


def _pending(covered: int | None) -> ProofPending:
    return ProofPending(
        reason="checkpoint_pending",
        retryable=True,
        retry_after_ms=CHECKPOINT_RETRY_MS,
        hint="no stable checkpoint covers this height or time yet: ask again shortly",
        proved_height=covered,
    )


def covered_by(reads: LedgerReads, tip: Tip, witnesses: Collection[str] = ()) -> tuple[int, CheckpointView] | None:
    """Return the newest height up to the tip whose header leaf a stable checkpoint covers, and that checkpoint."""
    checkpoint = checkpoint_for_proof(reads, 0, witnesses) if witnesses else reads.checkpoint()
    if checkpoint is None:
        return None
    size = min(checkpoint.size, tip.log_size)  # one that became stable since the tip was read reaches beyond it
    height = reads.height_at_log_index(size - 1)
    header = None if height is None else reads.header(height)
    if header is None:
        return None
    covered = int(header.height) if header.first_index + header.event_count < size else int(header.height) - 1
    return (covered, checkpoint) if covered >= 0 else None


def proved_now_ms(reads: LedgerReads, covered: int, checkpoint: CheckpointView) -> int:
    """Return the newest time for which a checkpoint speaks that covers a height: by its cosignatures, or the block's.

    In a chain that is not in use, cosignatures are renewed each minute and blocks are not: a term ends all the same.
    """
    header = _header(reads, covered)
    return int(proved_until(header, None, checkpoint))


def _unchanged(about: _About, value: StateValue, present_ms: int) -> bool:
    """Whether record and status are the same at a covered height and the newest; a term may end without any event."""
    if value.header.height == about.newest.height:
        return True
    now = about.certificate
    if certificate_of(value) != now:
        return False
    return now is None or _worth(now, present_ms) == _worth(now, about.newest.time_ms)


def _worth(certificate: Certificate, time_ms: int) -> CertificateStatus:
    """Return the status at a time, with that time left out, for comparing."""
    return msgspec.structs.replace(status_at(certificate, time_ms), time_ms=0)


def moment_of(services: Services, at: int | str, tip: Tip) -> tuple[int, int | None]:
    """Return the height that `at` means and, where it is a time, that time in milliseconds."""
    if isinstance(at, int):
        return height_of(at, tip), None
    if at == "earliest":
        return 0, None
    time_ms = parse_time(at, where="$.at")
    if time_ms > services.now_ms():
        raise invalid_params("a time that has not come", where="$.at", expected="a time up to now", got=at)
    height = services.reads.height_at_time(time_ms)
    if height is None:
        raise not_found("a time before the chain began", where="$.at", got=at)
    return int(height), time_ms


def _hindsight(newest: Certificate | None, at_ms: int) -> StatusWords | None:
    """Return what the newest record says of a time, None where it does not reach back so far."""
    if newest is None:
        return None
    try:
        return status_words(status_at(newest, at_ms))
    except InputError:  # only the record as of then speaks for that time
        return None


def _header(reads: LedgerReads, height: int) -> BlockHeader:
    header = reads.header(height)
    assert header is not None, "heights up to the tip have a block"
    return header


METHODS = (get_certificate_status,)
