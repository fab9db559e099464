"""What the events of a random draw say, from its announcement to the selection.

Here: records, formats, and checks that need nothing but the body. What was found at those that were drawn is about
certificates and stands with their bodies (`ledger.certificate_bodies`); the rules are in `ledger.inspection_events`.
Source: domain §3 (random inspections). A commitment is a hash, so nobody learns a secret before its time.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import Meta

from ledger.catalogue import CATEGORY_MAX, CategoryNumber
from ledger.certificate_bodies import ApplicationId
from ledger.events import EventTimeMs
from primitives.encoding import Record
from primitives.errors import InputError
from primitives.ids import HASH_BYTES

DrawId = ApplicationId
"""MEMBER.SERIAL, of the member that announces."""
CATEGORY_WEIGHT_MAX = 16
SELECTED_MAX = 500
REPORT_DAYS_MAX = 365
SECRET_BYTES = 32

Secret = Annotated[bytes, Meta(min_length=SECRET_BYTES, max_length=SECRET_BYTES)]
Commitment = Annotated[bytes, Meta(min_length=HASH_BYTES, max_length=HASH_BYTES)]


class DrawCategory(Record):
    """A category that takes part in a draw, and the weight of its certificates beside those of others."""

    category: CategoryNumber
    weight: Annotated[int, Meta(ge=1, le=CATEGORY_WEIGHT_MAX)]


class AnnounceInspection(Record):
    """A certification body or the regulator announces a draw, before anybody can know what it selects.

    Commitments are taken before `commit_until_ms`, reveals for as long as lies between the two times from the closing
    on. `report_days` after the selection its reports are due. `replaces` names a draw that came to nothing.
    """

    draw: DrawId
    categories: Annotated[tuple[DrawCategory, ...], Meta(min_length=1, max_length=CATEGORY_MAX)]
    count: Annotated[int, Meta(ge=1, le=SELECTED_MAX)]
    commit_until_ms: EventTimeMs
    reveal_until_ms: EventTimeMs
    report_days: Annotated[int, Meta(ge=1, le=REPORT_DAYS_MAX)]
    replaces: DrawId | None


class CommitInspection(Record):
    """A member commits to a secret of its own: `ledger.inspection_selection.commitment_of`."""

    draw: DrawId
    commitment: Commitment


class CloseInspection(Record):
    """Any member confirms that the time for commitments is over: it closes without, but only with a block."""

    draw: DrawId


class RevealInspection(Record):
    """A member shows the secret that it committed to."""

    draw: DrawId
    secret: Secret


class DrawInspection(Record):
    """Any member has the draw go one step on: it looks at more certificates, and the last step gives the selection."""

    draw: DrawId


DrawBody: TypeAlias = AnnounceInspection | CommitInspection | CloseInspection | RevealInspection | DrawInspection


def check_draw_body(body: DrawBody) -> None:
    """Raise `InputError` where an announcement contradicts itself."""
    if isinstance(body, AnnounceInspection):
        numbers = [item.category for item in body.categories]
        if numbers != sorted(set(numbers)):
            raise InputError("categories of a draw", where="categories", expected="distinct, ascending", got=numbers)
        if body.reveal_until_ms <= body.commit_until_ms:
            raise InputError("reveals end before commitments", where="reveal_until", expected="after commit_until")
