"""payment_pairingKeys: by which public keys members agree on the secrets of their payments, and from which day on."""

from __future__ import annotations

from typing import Annotated

import msgspec

from ledger.committed_state import CommittedState
from ledger.pairing_keys import announced_in
from rpc.errors import Code
from rpc.methods.heights import tip_of
from rpc.methods.known_members import check_member
from rpc.paging import page_of
from rpc.ports import Services
from rpc.registry import method
from rpc.types import (
    LIMIT_DEFAULT,
    AskedCursor,
    AskedOrder,
    AsOf,
    HashHex,
    Limit,
    MemberName,
    NextCursor,
    Params,
    Result,
)


class ListPairingKeys(Params, frozen=True):
    """A page of the pairing keys by member and day."""

    member: Annotated[MemberName | None, msgspec.Meta(description="Of this member alone.")] = None
    limit: Limit = LIMIT_DEFAULT
    cursor: AskedCursor = None
    order: AskedOrder = None


class PairingKeyResult(Result, frozen=True):
    """A member's X25519 public key, and the first day (YYYYMMDD, UTC) on which it holds."""

    member: str
    key: HashHex
    from_day: int


class PairingKeysAnswer(Result, frozen=True):
    """Pairing keys, of each member the newest 64."""

    keys: list[PairingKeyResult]
    cursor: NextCursor
    as_of: AsOf


@method(
    "payment_pairingKeys",
    params=ListPairingKeys,
    result=PairingKeysAnswer,
    errors=(Code.NOT_FOUND, Code.UNAVAILABLE),
    in_thread=True,
)
def list_pairing_keys(services: Services, params: ListPairingKeys) -> PairingKeysAnswer:
    """The public keys by which members agree on pair secrets, and the day from which each holds until the next does."""
    tip = tip_of(services)
    check_member(services, params.member)
    page = page_of(services, "payment_pairingKeys", params, tuple[str, int], "asc", member=params.member)
    rows = [
        PairingKeyResult(member, each.key.hex(), each.from_day)
        for member, keys in announced_in(CommittedState(services.reads.store)).items()
        if params.member in (None, member)
        for each in keys
    ]
    rows.sort(key=lambda row: (row.member, row.from_day), reverse=page.descending)
    if page.after is not None:
        after = page.after
        rows = [
            row
            for row in rows
            if ((row.member, row.from_day) < after if page.descending else (row.member, row.from_day) > after)
        ]
    shown = rows[: params.limit]
    cursor = page.cursor(shown[-1].member, shown[-1].from_day) if len(rows) > params.limit else None
    return PairingKeysAnswer(shown, cursor, int(tip.height))


METHODS = (list_pairing_keys,)
