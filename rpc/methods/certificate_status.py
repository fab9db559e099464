"""cert_getStatus: what a certificate is or was worth, with a proof of it.

Here: which height an answer speaks for. While the chain is in use its newest block is always a little ahead of the
newest stable checkpoint, so the present status is proved where the checkpoint reaches, if nothing about it changed
since. Not here: status as a function of record and time (`ledger.certificate_records`), proofs
(`ledger.status_proofs`). Source: domain §3.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Final

import msgspec

from ledger.certificate_records import Certificate, CertificateStatus, certificate_key, status_at
from ledger.status_proofs import make_status_proof, proved_until
from ledger.times import parse_time
from ledger.views import CheckpointView, StateValue, Tip
from ledger.witnessed import checkpoint_for_proof
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
    if params.at != "latest":
        height, time_ms = moment_of(services, params.at, tip)
        return _answer(services, params, height, time_ms, tip, covered)
    if found is None:
        return _answer(services, params, int(tip.height), None, tip, covered)
    height, checkpoint = found
    present_ms = _present_ms(services.reads, height, checkpoint)
    if not _unchanged(services.reads, certificate_key(params.number), height, present_ms, int(tip.height)):
        return Unsettled(_answer(services, params, int(tip.height), None, tip, covered))
    answer = _answer(services, params, height, present_ms, tip, covered)
    return Unsettled(answer) if answer.proof is None else answer


def _answer(
    services: Services, params: GetCertificateStatus, height: int, time_ms: int | None, tip: Tip, covered: int | None
) -> CertificateStatusResult:
    """Return the status as the record at `height` says it, at `time_ms` or the block's own time."""
    key = certificate_key(params.number)
    value = _value(services.reads, key, height)
    at_ms = value.header.time_ms if time_ms is None else time_ms
    certificate = certificate_of(value)
    status = None if certificate is None else status_words(status_at(certificate, at_ms))
    hindsight = _hindsight(services.reads, key, int(tip.height), at_ms)
    proof = make_status_proof(services.reads, key, height, params.from_epoch, params.witnesses, at_ms=at_ms)
    return CertificateStatusResult(
        number=params.number,
        exists=certificate is not None,
        status=status,
        hindsight=None if hindsight == status else hindsight,
        height=height,
        time=time_text(at_ms),
        proof=proof,
        proof_pending=_pending(covered) if proof is None else None,
        as_of=int(tip.height),
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


def _present_ms(reads: LedgerReads, covered: int, checkpoint: CheckpointView) -> int:
    """Return the newest time for which a checkpoint speaks that covers a height: by its cosignatures, or the block's.

    In a chain that is not in use, cosignatures are renewed each minute and blocks are not: a term ends all the same.
    """
    header = reads.header(covered)
    assert header is not None, "a covered height has a block"
    return int(proved_until(header, None, checkpoint))


def _unchanged(reads: LedgerReads, key: str, covered: int, present_ms: int, newest: int) -> bool:
    """Whether record and status are the same at both heights; a term may also end without any event."""
    if covered == newest:
        return True
    before, now = _value(reads, key, covered), _value(reads, key, newest)
    if before.value != now.value:
        return False
    certificate = certificate_of(now)
    return certificate is None or _worth(certificate, present_ms) == _worth(certificate, now.header.time_ms)


def _worth(certificate: Certificate, time_ms: int) -> CertificateStatus:
    """Return the status at a time, with that time left out, for comparing."""
    return msgspec.structs.replace(status_at(certificate, time_ms), time_ms=0)


def _value(reads: LedgerReads, key: str, height: int) -> StateValue:
    value = reads.state_value(key, height)
    assert value is not None, "heights up to the tip have a state"
    return value


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


def _hindsight(reads: LedgerReads, key: str, newest: int, at_ms: int) -> StatusWords | None:
    """Return what the newest record says of a time, None where it does not reach back so far."""
    certificate = certificate_of(_value(reads, key, newest))
    if certificate is None:
        return None
    try:
        return status_words(status_at(certificate, at_ms))
    except InputError:  # only the record as of then speaks for that time
        return None


METHODS = (get_certificate_status,)
