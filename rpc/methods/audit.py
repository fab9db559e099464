"""audit_completeness: all that a member submitted between two heights or times, with the proof that nothing is missing.

Not here: the proof (`ledger.completeness`).
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from ledger.completeness_reading import covered_height, make_completeness
from ledger.times import parse_time
from ledger.views import Tip
from ledger.witnessed import checkpoint_for_proof
from rpc.errors import Code, invalid_params, not_found
from rpc.methods.heights import tip_of
from rpc.ports import Services
from rpc.proofs import checkpoint_pending
from rpc.registry import method
from rpc.types import AsOf, EpochNumber, HeightNumber, MemberName, Params, Result, WitnessNames


class GetCompleteness(Params, frozen=True, rename={"from_": "from"}):
    """A member, and two heights or times (RFC 3339 UTC), both included; without `to`, as far as a checkpoint covers.

    `from_epoch` is the epoch of the policy under which the proof will be verified, or an earlier one; `witnesses` are
    names of outside witnesses' keys, each of which must have cosigned the checkpoint.
    """

    member: MemberName
    from_: Annotated[HeightNumber | str, msgspec.Meta(description="The first height or time.")] = "earliest"
    to: Annotated[HeightNumber | str, msgspec.Meta(description="The last height or time.")] = "latest"
    from_epoch: EpochNumber = 0
    witnesses: WitnessNames = ()


class CompletenessResult(Result, frozen=True):
    """One page: a proof for `chainnode verify` of everything from one height to the other.

    `next` is the height to go on from, None where the page reaches as far as was asked, or as a stable checkpoint
    covers (`covered`).
    """

    member: str
    from_height: int
    to_height: int
    covered: int
    next: int | None
    proof: str
    as_of: AsOf


@method(
    "audit_completeness",
    params=GetCompleteness,
    result=CompletenessResult,
    errors=(Code.NOT_FOUND, Code.UNAVAILABLE),
    in_thread=True,
)
def get_completeness(services: Services, params: GetCompleteness) -> CompletenessResult:
    """All events of a member between two heights or times, with the proof that none is missing."""
    tip = tip_of(services)
    start, stop = _first(services, params.from_, tip), _last(services, params.to, tip)
    if start > stop:
        raise invalid_params("an empty range", where="$.to", expected=f"height {start} or later", got=stop)
    page = make_completeness(
        services.reads, params.member, start, stop, from_epoch=params.from_epoch, witnesses=params.witnesses
    )
    if page is None:
        checkpoint = checkpoint_for_proof(services.reads, 0, params.witnesses)
        covered = None if checkpoint is None else covered_height(services.reads, checkpoint)
        hint = f"the newest covered height is {covered}; ask again shortly"
        raise checkpoint_pending("height", params.witnesses, hint)
    reached = page.to_height >= min(stop, page.covered)
    return CompletenessResult(
        member=params.member,
        from_height=start,
        to_height=int(page.to_height),
        covered=int(page.covered),
        next=None if reached else int(page.to_height) + 1,
        proof=page.proof,
        as_of=int(tip.height),
    )


def _first(services: Services, at: int | str, tip: Tip) -> int:
    """Return the first height that is not before a height or time."""
    if at == "earliest":
        return 0
    if at == "latest":
        return int(tip.height)
    if isinstance(at, int):
        return _height(at, tip, "$.from")
    before = services.reads.height_at_time(int(parse_time(at, where="$.from")) - 1)
    start = 0 if before is None else int(before) + 1
    if start > tip.height:
        raise not_found("no block at or after this time yet", where="$.from", got=at)
    return start


def _last(services: Services, at: int | str, tip: Tip) -> int:
    """Return the last height that is not after a height or time."""
    if at == "latest":
        return int(tip.height)
    if at == "earliest":
        return 0
    if isinstance(at, int):
        return _height(at, tip, "$.to")
    height = services.reads.height_at_time(int(parse_time(at, where="$.to")))
    if height is None:
        raise not_found("a time before the chain began", where="$.to", got=at)
    return int(height)


def _height(at: int, tip: Tip, where: str) -> int:
    if at > tip.height:
        raise not_found("no block at this height yet", where=where, got=f"{at}, the newest is {tip.height}")
    return at


METHODS = (get_completeness,)
