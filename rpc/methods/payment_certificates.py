"""payment_affectedBy: the payments at a certificate's terminals, and what the certificate was worth when each was made.

A statement names the certificate of the terminal or app that took the payment; its own time is when that was. Judged
here twice: by what the chain knew when it recorded the statement, and by what it knows now, since a revocation may name
an earlier time. A view made when it is asked for: a wrong number refuses no statement. Not here: status at a single
time with its proof (`rpc.methods.certificate_status`). Source: domain §4, which joins payments to section 3 so.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final

import msgspec

from ledger.certificate_versions import NO_VERSIONS, Versions, read_versions
from ledger.payments import PaymentStatement
from ledger.payments_json import statement_to_json
from ledger.times import parse_time
from ledger.views import EventView
from primitives.encoding import decoder_of
from rpc.errors import Code, invalid_params
from rpc.methods.certificates import CertificateNumber, StatusWords, status_words
from rpc.methods.heights import index_of
from rpc.paging import page_of
from rpc.ports import Services
from rpc.registry import method
from rpc.types import (
    LIMIT_DEFAULT,
    AskedCursor,
    AskedOrder,
    AsOf,
    Limit,
    NextCursor,
    Offset,
    Params,
    Result,
    Time,
    time_text,
)

LOOKED_AT_MAX: Final = 1_000
"""How many statements one call looks at: a page may hold fewer than asked for, and its cursor goes on all the same."""

VIEWS_AT_ONCE: Final = 128

AskedTime = Annotated[str, msgspec.Meta(description="A time in RFC 3339 UTC.", examples=["2026-06-01T00:00:00Z"])]


class AffectedBy(Params, frozen=True, rename={"from_": "from"}):
    """Which certificate, and payments of which time: `from` up to, not including, `to`, by the statements' own times.

    Those in question alone, unless `all`: payments at a time at which the certificate is not known to have been valid.
    """

    certificate: CertificateNumber
    from_: AskedTime | None = None
    to: AskedTime | None = None
    all: Annotated[bool, msgspec.Meta(description="Payments in no question too.")] = False
    limit: Limit = LIMIT_DEFAULT
    order: AskedOrder = None
    cursor: AskedCursor = None


class AffectedPayment(Result, frozen=True):
    """A statement, its payment's time, and what the certificate was worth then: as known now, and when recorded.

    `now_known` and `then_known` are null where there was no such certificate, or nothing is said of that time.
    `in_question` is whether `now_known` is anything but valid. `time` is that of the block.
    """

    event_id: str
    member: str
    side: str
    status: str
    channel: str
    uetr: str | None
    pair_key: str | None
    payment_time: Time
    now_known: StatusWords | None
    then_known: StatusWords | None
    in_question: bool
    height: int
    index: int
    time: Time


class AffectedResult(Result, frozen=True):
    """Payments at a certificate's terminals, a page of them; `looked_at` is how many statements were judged for it.

    `cursor` is null only where there are no more. The statements are of the blocks above `above_height`, where the
    history that this node holds begins (0: all of them), up to `as_of`.
    """

    certificate: str
    present: StatusWords | None
    payments: list[AffectedPayment]
    looked_at: int
    cursor: NextCursor
    above_height: int
    as_of: AsOf


@method("payment_affectedBy", params=AffectedBy, result=AffectedResult, errors=(Code.UNAVAILABLE,), in_thread=True)
def payments_affected_by(services: Services, params: AffectedBy) -> AffectedResult:
    """The payments at a certificate's terminals that are in question, or all of them, with what it was worth at each.

    In the order of the log unless `order` says otherwise.
    """
    as_of = int(index_of(services).height())
    asked = _Asked(services, params, as_of)
    page = page_of(
        services,
        "payment_affectedBy",
        params,
        tuple[Offset, Offset],
        "asc",
        certificate=params.certificate,
        start=params.from_,
        to=params.to,
        all=params.all,
    )
    found: list[AffectedPayment] = []
    looked_at, last = 0, None
    for view in asked.statements(page.after, page.descending):
        if len(found) == params.limit or looked_at == LOOKED_AT_MAX:
            break
        looked_at, last = looked_at + 1, (int(view.position.height), view.position.index)
        judged = asked.judged(view)
        if judged is not None:
            found.append(judged)
    else:
        last = None
    header = services.reads.header(as_of)
    present = None if header is None else asked.versions.status_at(int(header.time_ms))
    return AffectedResult(
        certificate=params.certificate,
        present=None if present is None else status_words(present),
        payments=found,
        looked_at=looked_at,
        cursor=None if last is None else page.cursor(*last),
        above_height=int(services.reads.base()),
        as_of=as_of,
    )


class _Asked:
    """What is asked about a certificate, and its versions up to the height that the index has reached."""

    def __init__(self, services: Services, params: AffectedBy, as_of: int) -> None:
        self._services = services
        self._params = params
        self._as_of = as_of
        self._from_ms = None if params.from_ is None else int(parse_time(params.from_, where="$.from"))
        self._to_ms = None if params.to is None else int(parse_time(params.to, where="$.to"))
        if self._from_ms is not None and self._to_ms is not None and self._to_ms <= self._from_ms:
            raise invalid_params(
                "a span that ends before it begins", where="$.to", expected="after from", got=params.to
            )
        tip = services.reads.tip()
        self.versions: Versions = (
            NO_VERSIONS if tip is None else read_versions(services.reads, params.certificate, int(tip.height))
        )

    def statements(self, after: tuple[int, int] | None, descending: bool) -> Iterator[EventView]:
        """Yield the statements that name the certificate, after a place, up to the height of the answer."""
        index = index_of(self._services)
        for height, places in index.terminal_payments(self._params.certificate, after=after, descending=descending):
            if height > self._as_of:
                continue
            for start in range(0, len(places), VIEWS_AT_ONCE):
                views = self._services.reads.events_of(height, places[start : start + VIEWS_AT_ONCE])
                yield from reversed(views) if descending else views

    def judged(self, view: EventView) -> AffectedPayment | None:
        """Return a statement with what the certificate was worth at its payment; None where it is not asked for."""
        body: PaymentStatement = decoder_of(PaymentStatement).decode(view.event.body)
        time_ms = int(body.time_ms)
        early = self._from_ms is not None and time_ms < self._from_ms
        if early or (self._to_ms is not None and time_ms >= self._to_ms) or not view.outcome.applied:
            return None
        now = self.versions.status_at(time_ms)
        in_question = now is None or not now.valid
        if not in_question and not self._params.all:
            return None
        then = self.versions.known_at(int(view.position.height)).status_at(time_ms)
        told = statement_to_json(body)
        return AffectedPayment(
            event_id=view.id.hex(),
            member=view.event.member,
            side=told["side"],
            status=told["status"],
            channel=told["channel"],
            uetr=told["uetr"],
            pair_key=told["pair_key"],
            payment_time=time_text(time_ms),
            now_known=None if now is None else status_words(now),
            then_known=None if then is None else status_words(then),
            in_question=in_question,
            height=int(view.position.height),
            index=view.position.index,
            time=time_text(view.time_ms),
        )


METHODS = (payments_affected_by,)
