"""cert_historyProof: the whole history of a certificate, with the proof that no event of it is left out.

Not here: the proof (`ledger.certificate_history`); the events with those that were rejected, without a proof that there
are no more (`cert_history`, `rpc.methods.certificates`).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated

import msgspec

from ledger.certificate_history_reading import make_certificate_history
from primitives.errors import ProofError
from rpc.errors import Code, RpcError, invalid_params
from rpc.methods.certificate_status import covered_by, moment_of
from rpc.methods.certificates import CertificateNumber
from rpc.methods.heights import tip_of
from rpc.ports import Services
from rpc.proofs import checkpoint_pending
from rpc.registry import method
from rpc.rights import Access
from rpc.types import AsOf, EpochNumber, HeightNumber, Offset, Params, Result, WitnessNames


class GetHistoryProof(Params, frozen=True):
    """A certificate, as of a height or time (RFC 3339 UTC); without `at`, as far as a checkpoint covers.

    `first` is the event with which the page begins, counted from 0. `from_epoch` is the epoch of the policy under which
    the proof will be verified, or an earlier one; `witnesses` are names of outside witnesses' keys, each of which must
    have cosigned the checkpoint.
    """

    number: CertificateNumber
    at: Annotated[HeightNumber | str, msgspec.Meta(description="A height, or a time in RFC 3339 UTC.")] = "latest"
    first: Annotated[Offset, msgspec.Meta(description="The event with which the page begins, from 0.")] = 0
    from_epoch: EpochNumber = 0
    witnesses: WitnessNames = ()


class HistoryProofResult(Result, frozen=True):
    """One page: a proof for `chainnode verify` of `events` events from `first` on, of the `count` that there are.

    `height` is the block as of which the history is whole: ask for the other pages at that height. `next` is the event
    with which the next page begins, None after the last. A certificate that there is not has no events.
    """

    number: str
    height: int
    first: int
    events: int
    count: int
    next: int | None
    proof: str
    as_of: AsOf


@method(
    "cert_historyProof",
    params=GetHistoryProof,
    result=HistoryProofResult,
    errors=(Code.NOT_FOUND, Code.UNAVAILABLE),
    access=Access.PUBLIC,
    in_thread=True,
)
def get_history_proof(services: Services, params: GetHistoryProof) -> HistoryProofResult:
    """The whole history of a certificate, with the proof that no event of it is left out."""
    tip = tip_of(services)
    found = covered_by(services.reads, tip, params.witnesses)
    covered = None if found is None else found[0]
    height = covered if params.at == "latest" else moment_of(services, params.at, tip)[0]
    if height is None:
        raise _pending(covered, params.witnesses)
    try:
        page = make_certificate_history(
            services.reads,
            params.number,
            height,
            first=params.first,
            from_epoch=params.from_epoch,
            witnesses=params.witnesses,
        )
    except ProofError as error:
        raise invalid_params(error.what, where="$.first", expected=error.expected, got=error.got) from None
    if page is None:
        raise _pending(covered, params.witnesses)
    return HistoryProofResult(
        number=params.number,
        height=height,
        first=page.first,
        events=page.events,
        count=page.count,
        next=page.next,
        proof=page.proof,
        as_of=int(tip.height),
    )


def _pending(covered: int | None, witnesses: Collection[str]) -> RpcError:
    return checkpoint_pending("height", witnesses, f"the newest covered height is {covered}; ask again shortly")


METHODS = (get_history_proof,)
