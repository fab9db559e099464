"""gov_getAccreditationProof: what a member was accredited for in a role, or that it never was, to be verified offline.

The proof is a status proof of the state's row (`ledger.status_proofs`), as that of a certificate is.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from ledger.accreditations import AccreditedRole, accreditation_key
from ledger.status_proofs import make_status_proof
from rpc.errors import Code
from rpc.methods.certificate_status import covered_by, moment_of
from rpc.methods.heights import tip_of
from rpc.methods.known_members import check_member
from rpc.ports import Services
from rpc.proofs import checkpoint_pending
from rpc.registry import method
from rpc.rights import Access
from rpc.types import AsOf, EpochNumber, HeightNumber, MemberName, Params, Result, WitnessNames


class GetAccreditationProof(Params, frozen=True):
    """A member's accreditations in a role, as of a height or time; without `at`, as far as a checkpoint covers.

    `from_epoch` is the epoch of the policy under which the proof will be verified, or an earlier one; `witnesses` are
    names of outside witnesses' keys, each of which must have cosigned the checkpoint.
    """

    member: MemberName
    role: AccreditedRole
    at: Annotated[HeightNumber | str, msgspec.Meta(description="A height, or a time in RFC 3339 UTC.")] = "latest"
    from_epoch: EpochNumber = 0
    witnesses: WitnessNames = ()


class AccreditationProofResult(Result, frozen=True):
    """A proof for `chainnode verify`, of the block at `height`: of the row, or that there is none."""

    member: str
    role: str
    height: int
    proof: str
    as_of: AsOf


@method(
    "gov_getAccreditationProof",
    params=GetAccreditationProof,
    result=AccreditationProofResult,
    errors=(Code.NOT_FOUND, Code.UNAVAILABLE),
    access=Access.PUBLIC,
    in_thread=True,
)
def get_accreditation_proof(services: Services, params: GetAccreditationProof) -> AccreditationProofResult:
    """The proof of what a member was accredited for in a role at a height or time, or that it never was."""
    tip = tip_of(services)
    check_member(services, params.member)
    found = covered_by(services.reads, tip, params.witnesses)
    height, at_ms = None if found is None else found[0], None
    if params.at != "latest":
        height, at_ms = moment_of(services, params.at, tip)
    key = accreditation_key(params.member, params.role)
    proof = None
    if height is not None:
        proof = make_status_proof(services.reads, key, height, params.from_epoch, params.witnesses, at_ms=at_ms)
    if height is None or proof is None:
        raise checkpoint_pending("height", params.witnesses)
    return AccreditationProofResult(params.member, params.role.value, height, proof, int(tip.height))


METHODS = (get_accreditation_proof,)
