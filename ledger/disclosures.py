"""Disclosure as events: a request, its one answer by the member that stated the payments, and erasures.

A request stands in the state until it is answered or its time is over, so that an answer can be held against it: nobody
else answers, nothing is granted that was not asked for, and not twice. Here: kinds 35 to 37 and their rows
`disclosure/<id>` and `disclosures/<member>`. Not here: bodies (`ledger.disclosure_bodies`). Source: domain §4.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from ledger.disclosure_bodies import (
    ANSWER_DISCLOSURE,
    ERASE,
    REQUEST_DISCLOSURE,
    SCHEMA,
    AnswerDisclosure,
    Erase,
    ExchangeKey,
    Fields,
    Hash32,
    RequestDisclosure,
    check_answer,
    check_request,
)
from ledger.events import EventTimeMs
from ledger.kinds import APPLIED_A_MEMBER_MAX, ApplyContext, KindSpec, RuleBroken
from ledger.members import MemberName, Role, read_member
from ledger.rules import RULES_PAYMENTS
from ledger.state import StateReader, Transaction
from primitives.encoding import Record

PREFIX: Final = "disclosure/"
LIST_PREFIX: Final = "disclosures/"
REQUESTS_MAX: Final = 64
"""Requests of a member that may be under way; of more, those that are answered or over leave the state."""
DAY_MS: Final = 86_400_000
DAYS_MAX: Final = 366


class Disclosure(Record):
    """A request in the state, at `disclosure/<id>`; `answer` is the id of the event that answered it, or None."""

    requester: MemberName
    reporter: MemberName
    fields: Fields
    payload: bool
    until_ms: EventTimeMs
    key: ExchangeKey
    answer: Hash32 | None


class Disclosures(Record):
    """The requests of a member that the state keeps, at `disclosures/<member>`, the oldest first."""

    requests: tuple[Hash32, ...]


def disclosure_key(request: bytes) -> str:
    """Return the state key of a request."""
    return f"{PREFIX}{request.hex()}"


def disclosures_key(member: str) -> str:
    """Return the state key of a member's requests."""
    return f"{LIST_PREFIX}{member}"


def read_disclosure(state: StateReader, request: bytes) -> Disclosure | None:
    """Return a request; None where the state does not keep it."""
    return state.get(disclosure_key(request), Disclosure)


def read_disclosures(state: StateReader, member: str) -> tuple[bytes, ...]:
    """Return the ids of a member's requests, the oldest first."""
    row = state.get(disclosures_key(member), Disclosures)
    return () if row is None else row.requests


def _request(context: ApplyContext, state: Transaction, body: RequestDisclosure) -> None:
    if body.reporter == context.member:
        raise RuleBroken("own_payments", "a member asks others")
    reporter = read_member(state, body.reporter)
    if reporter is None or reporter.excluded or not {Role.BANK, Role.SWITCH} & set(reporter.roles):
        raise RuleBroken("unknown_reporter", body.reporter)
    if not context.time_ms < body.until_ms <= context.time_ms + DAYS_MAX * DAY_MS:
        raise RuleBroken("disclosure_term", f"after the block, within {DAYS_MAX} days")
    held = list(read_disclosures(state, context.member))
    if len(held) >= REQUESTS_MAX:
        over = next((each for each in held if _is_over(state, each, context.time_ms)), None)
        if over is None:
            raise RuleBroken("too_many_requests", f"at most {REQUESTS_MAX} under way")
        held.remove(over)
        state.delete(disclosure_key(over))
    state.put(disclosures_key(context.member), Disclosures((*held, bytes(context.event_id))))
    state.put(
        disclosure_key(context.event_id),
        Disclosure(
            requester=context.member,
            reporter=body.reporter,
            fields=body.fields,
            payload=body.payload,
            until_ms=body.until_ms,
            key=body.key,
            answer=None,
        ),
    )


def _is_over(state: Transaction, request: bytes, now_ms: int) -> bool:
    row = read_disclosure(state, request)
    return row is None or row.answer is not None or row.until_ms < now_ms


def _answer(context: ApplyContext, state: Transaction, body: AnswerDisclosure) -> None:
    row = read_disclosure(state, body.request)
    if row is None:
        raise RuleBroken("unknown_request", body.request.hex()[:16])
    if row.reporter != context.member:
        raise RuleBroken("not_the_reporter", row.reporter)
    if row.answer is not None:
        raise RuleBroken("already_answered", row.answer.hex()[:16])
    if context.time_ms > row.until_ms:
        raise RuleBroken("request_over", str(row.until_ms))
    if not set(body.fields) <= set(row.fields) or (body.payload and not row.payload):
        extra = [name for name in body.fields if name not in row.fields]
        raise RuleBroken("not_asked_for", ", ".join(extra) or "payload")
    state.put(disclosure_key(body.request), replace(row, answer=bytes(context.event_id)))


REPORTERS: Final = frozenset({Role.BANK, Role.SWITCH})

DISCLOSURE_KINDS: tuple[KindSpec, ...] = (
    KindSpec(
        kind=REQUEST_DISCLOSURE,
        name="payment.request_disclosure",
        schemas={SCHEMA: RequestDisclosure},
        changes_state=True,
        apply=_request,
        check_shape=check_request,
        roles=frozenset({Role.AUDITOR, Role.REGULATOR, Role.BANK}),
        rules_min=RULES_PAYMENTS,
        schema_applied_max={SCHEMA: APPLIED_A_MEMBER_MAX},
    ),
    KindSpec(
        kind=ANSWER_DISCLOSURE,
        name="payment.answer_disclosure",
        schemas={SCHEMA: AnswerDisclosure},
        changes_state=True,
        apply=_answer,
        check_shape=check_answer,
        roles=REPORTERS,
        rules_min=RULES_PAYMENTS,
    ),
    KindSpec(
        kind=ERASE,
        name="payment.erase",
        schemas={SCHEMA: Erase},
        changes_state=False,
        roles=REPORTERS,
        rules_min=RULES_PAYMENTS,
    ),
)
