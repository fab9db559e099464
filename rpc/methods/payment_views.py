"""payment_trace, payment_reconciliation: what the statements about one payment say together.

Views over the log, made when they are asked for. They join by what members stated: a UETR names a payment from
end to end, a pair key one hop between two banks. Whoever states a name is shown with it, since nothing stops a
member from stating another's. Not here: finding single statements (`rpc.methods.payments`). Source: domain §4.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ledger.reconciliation import ANSWER_WITHIN_MS
from ledger.reconciliation_reading import Found
from ledger.views import Position
from rpc.errors import Code
from rpc.methods.events import EventResult, events_at
from rpc.methods.heights import index_of
from rpc.methods.payments import PairKey, Uetr, no_payment, payment_name
from rpc.methods.reconciliation import ReconciledResult, StandingName, WithinMs, reconciled, standing_name
from rpc.paging import page_of
from rpc.ports import IndexReads, Services
from rpc.registry import method
from rpc.types import (
    LIMIT_DEFAULT,
    AskedCursor,
    AskedOrder,
    AsOf,
    Limit,
    NextCursor,
    Offset,
    OutcomeResult,
    Params,
    Result,
    Time,
)

NAMES_MAX: Final = 16
STATEMENTS_MAX: Final = 500
"""How many names of a payment are followed, and how many statements looked at: members may state any number of both."""

COMPARED: Final = ("amount", "currency", "settlement_date", "uetr")
"""What both sides may state in clear and ought to agree on; how far a payment is, each learns in its own time."""


class NameKind(StrEnum):
    """By what statements meet."""

    UETR = "uetr"
    PAIR_KEY = "pair_key"


class TracePayment(Params, frozen=True):
    """Which payment: by its UETR, or by the pair key of any two banks that it passed."""

    uetr: Uetr | None = None
    pair_key: PairKey | None = None
    limit: Limit = LIMIT_DEFAULT
    order: AskedOrder = None
    cursor: AskedCursor = None


class NameResult(Result, frozen=True):
    """A name that statements of the payment bear, and the members that state it."""

    kind: NameKind
    name: str
    stated_by: list[str]


class HopResult(Result, frozen=True):
    """An institution that the payment passes: its role, its code in a scheme, and the members that name it."""

    role: str
    scheme: str
    code: str
    stated_by: list[str]


class StepResult(Result, frozen=True):
    """One statement: who said from which side how far the payment is, and where on the chain."""

    event_id: str
    member: str
    side: str
    status: str
    message_type: str
    uetr: str | None
    pair_key: str | None
    outcome: OutcomeResult
    height: int
    index: int
    time: Time
    stated: Time | None


class TraceResult(Result, frozen=True):
    """A payment from end to end: its names, whom it passes, how each hop stands, and a page of its statements.

    `initiated` is the earliest time that a message of it bears, `settled` the latest of those that say so, null while
    none does. `complete` is false where it has more names or statements than are followed, 16 and 500. They are of the
    blocks above `above_height`, where the history that this node holds begins (0: all of them). `payments` are as of
    `reconciled_as_of`, which may lie behind `as_of`.
    """

    names: list[NameResult]
    hops: list[HopResult]
    payments: list[ReconciledResult]
    initiated: Time | None
    settled: Time | None
    steps: list[StepResult]
    statements: int
    complete: bool
    cursor: NextCursor
    above_height: int
    answer_within_ms: WithinMs
    reconciled_as_of: AsOf | None
    as_of: AsOf


@method(
    "payment_trace",
    params=TracePayment,
    result=TraceResult,
    errors=(Code.NOT_FOUND, Code.UNAVAILABLE),
    in_thread=True,
)
def trace_payment(services: Services, params: TracePayment) -> TraceResult:
    """One payment from end to end: its names, the institutions that it passes, and who said what of it when.

    In the order of the log unless `order` says otherwise. Statements meet by UETR and by pair keys.
    """
    index = index_of(services)
    as_of = int(index.height())
    name = payment_name(params.uetr, params.pair_key)
    page = page_of(services, "payment_trace", params, tuple[Offset, Offset], "asc", payment=name)
    found = _gathered(services, index, name)
    above = int(services.reads.base())
    if not found.events:
        raise no_payment(name, above, as_of)
    steps = sorted(found.events, key=_place, reverse=page.descending)
    if page.after is not None:
        after = page.after
        steps = [event for event in steps if (_place(event) < after if page.descending else _place(event) > after)]
    shown = steps[: params.limit]
    payments, reconciled_as_of = _payments(index, [name for kind, name in found.names if kind is NameKind.PAIR_KEY])
    stated = [text for event in found.events if event.outcome.applied and (text := event.body.get("time"))]
    settled = [event.body["time"] for event in found.events if event.outcome.applied and _is_settled(event)]
    return TraceResult(
        names=_names(found),
        hops=_hops(found.events),
        payments=[reconciled(item, index.reconciliation) for item in payments],
        initiated=min(stated, default=None),
        settled=max(settled, default=None),
        steps=[_step(event) for event in shown],
        statements=len(found.events),
        complete=found.complete,
        cursor=page.cursor(*_place(shown[-1])) if len(steps) > params.limit else None,
        above_height=above,
        answer_within_ms=ANSWER_WITHIN_MS,
        reconciled_as_of=reconciled_as_of,
        as_of=as_of,
    )


def _is_settled(event: EventResult) -> bool:
    return event.body.get("status") == "settled"


def _payments(index: IndexReads, pair_keys: Sequence[str]) -> tuple[list[Found], int | None]:
    """Return how the payments under these pair keys stand, and as of which height; None before that index began."""
    height = index.reconciliation.height()
    if height is None:
        return [], None
    found = [item for key in pair_keys for item in index.reconciliation.find(bytes.fromhex(key), int(height))]
    return found, int(height)


class ReconcilePayment(Params, frozen=True):
    """Which payment: by its UETR, or by the pair key of two banks."""

    uetr: Uetr | None = None
    pair_key: PairKey | None = None


class Verdict(StrEnum):
    """What the sides say together: the same, something else, or too little to tell."""

    MATCHED = "matched"
    MISMATCHED = "mismatched"
    UNCOMPARED = "uncompared"


class SideResult(Result, frozen=True):
    """The newest applied statement of a member on a side, in each hop of the payment that it was in."""

    side: str
    member: str
    status: str
    event_id: str
    height: int
    time: Time


class SaidResult(Result, frozen=True):
    """What one of them says of a field: in clear, or the token that it made of it with the shared secret."""

    side: str
    member: str
    value: str


class FieldResult(Result, frozen=True):
    """A field that more than one may state; `agree` is null where fewer than two did whose words are compared."""

    field: str
    in_clear: bool
    agree: bool | None
    said: list[SaidResult]


class ReconciliationResult(Result, frozen=True):
    """What both sides say of the same payment, field by field.

    `verdict` is `matched` where at least one field is compared and all agree, `mismatched` where one does not,
    `uncompared` where no field was stated by two. Compared is what stands under one pair key, or under none, and
    nothing that an `intruder` says, so that nobody else decides on what two banks said. `complete` is false where the
    payment has more than 500 statements. `payments` say how it stands between each two members that share a pair key
    for it, as of `reconciled_as_of`, which may lie behind `as_of`; `state` is the gravest of them but of those of an
    `intruder`, null where no statement bears a pair key.
    """

    verdict: Verdict
    state: StandingName | None
    payments: list[ReconciledResult]
    answer_within_ms: WithinMs
    reconciled_as_of: AsOf | None
    sides: list[SideResult]
    fields: list[FieldResult]
    complete: bool
    above_height: int
    as_of: AsOf


@method(
    "payment_reconciliation",
    params=ReconcilePayment,
    result=ReconciliationResult,
    errors=(Code.NOT_FOUND, Code.UNAVAILABLE),
    in_thread=True,
)
def reconcile_payment(services: Services, params: ReconcilePayment) -> ReconciliationResult:
    """What the sides of one payment say of the same fields, and whether they agree.

    Compared is the newest applied statement of each member on each side of a hop: in clear, and by tokens of the
    shared secret.
    """
    index = index_of(services)
    as_of, above = int(index.height()), int(services.reads.base())
    name = payment_name(params.uetr, params.pair_key)
    places = _newest(index, name)
    if not places:
        raise no_payment(name, above, as_of)
    complete = len(places) <= STATEMENTS_MAX
    events = events_at(services, sorted(places[:STATEMENTS_MAX], key=lambda place: place.log_index))
    newest = _sides(events)
    first = [] if complete else events_at(services, index.payment(_key(name), count=NAMES_MAX))
    # The first ones too: who floods a payment with statements afterwards hides nothing of how it stands.
    keys = dict.fromkeys(
        name for event in (*first, *events) for kind, name in _names_in(event) if kind is NameKind.PAIR_KEY
    )
    payments, reconciled_as_of = _payments(index, list(keys)[:NAMES_MAX])
    gravest = max((item.view.state for item in payments if not item.view.is_intruder), default=None)
    fields = _compared(newest, _intruders(payments))
    agreed = [field.agree for field in fields if field.agree is not None]
    verdict = Verdict.UNCOMPARED if not agreed else Verdict.MATCHED if all(agreed) else Verdict.MISMATCHED
    return ReconciliationResult(
        verdict=verdict,
        state=None if gravest is None else standing_name(gravest),
        payments=[reconciled(item, index.reconciliation) for item in payments],
        answer_within_ms=ANSWER_WITHIN_MS,
        reconciled_as_of=reconciled_as_of,
        sides=[_side(event) for event in newest],
        fields=fields,
        complete=complete,
        above_height=above,
        as_of=as_of,
    )


@dataclass(frozen=True, slots=True)
class _Gathered:
    """The statements of a payment, its names in the order in which they were met, and whether these are all."""

    events: list[EventResult]
    names: list[tuple[NameKind, str]]
    complete: bool


def _gathered(services: Services, index: IndexReads, name: str) -> _Gathered:
    """Follow the names that statements bear, from one on."""
    events: dict[tuple[int, int], EventResult] = {}
    names = [(NameKind.UETR if "-" in name else NameKind.PAIR_KEY, name)]
    complete = True
    for _, named in names:  # it grows meanwhile
        places = index.payment(_key(named), count=STATEMENTS_MAX + 1)
        new = [place for place in places if (int(place.height), place.index) not in events]
        room = STATEMENTS_MAX - len(events)
        complete = complete and len(new) <= room
        for event in events_at(services, new[:room]):
            events[_place(event)] = event
            for each in _names_in(event):
                if each not in names and len(names) < NAMES_MAX:
                    names.append(each)
                complete = complete and each in names
    return _Gathered(list(events.values()), names, complete)


def _newest(index: IndexReads, name: str) -> Sequence[Position]:
    return index.payment(_key(name), count=STATEMENTS_MAX + 1, descending=True)


def _key(name: str) -> bytes:
    return bytes.fromhex(name.replace("-", ""))


def _place(event: EventResult) -> tuple[int, int]:
    return event.height, event.index


def _names_in(event: EventResult) -> list[tuple[NameKind, str]]:
    """Return the names that a statement bears; the UETR first. A schema of a later release has none that we know."""
    return [(kind, name) for kind in NameKind if isinstance(name := event.body.get(kind.value), str)]


def _names(found: _Gathered) -> list[NameResult]:
    return [
        NameResult(kind, name, _members(event for event in found.events if (kind, name) in _names_in(event)))
        for kind, name in found.names
    ]


def _members(events: Iterable[EventResult]) -> list[str]:
    return sorted({event.member for event in events})


def _hops(events: Sequence[EventResult]) -> list[HopResult]:
    """Return the institutions that statements name, in the order in which they are first named."""
    found: dict[tuple[str, str, str], set[str]] = {}
    for event in sorted(events, key=_place):
        for agent in event.body.get("agents") or ():
            found.setdefault((agent["role"], agent["scheme"], agent["code"]), set()).add(event.member)
    return [HopResult(*agent, sorted(members)) for agent, members in found.items()]


def _step(event: EventResult) -> StepResult:
    body = event.body
    return StepResult(
        event_id=event.id,
        member=event.member,
        side=body.get("side", ""),
        status=body.get("status", ""),
        message_type=body.get("message_type", ""),
        uetr=body.get("uetr"),
        pair_key=body.get("pair_key"),
        outcome=event.outcome,
        height=event.height,
        index=event.index,
        time=event.time,
        stated=body.get("time"),
    )


def _sides(events: Sequence[EventResult]) -> list[EventResult]:
    """Return the newest applied statement of each member on each side of a hop, out of some in the order of the log."""
    newest = {
        (event.body["side"], event.member, event.body["pair_key"] or ""): event
        for event in events
        if event.outcome.applied and "side" in event.body
    }
    return [event for _, event in sorted(newest.items())]


def _side(event: EventResult) -> SideResult:
    return SideResult(event.body["side"], event.member, event.body["status"], event.id, event.height, event.time)


def _intruders(payments: Sequence[Found]) -> set[tuple[str, str]]:
    """Return the pair keys under which a member only intrudes, and these members."""
    spoken: dict[bool, set[tuple[str, str]]] = {True: set(), False: set()}
    for item in payments:
        view = item.view
        spoken[view.is_intruder].update((item.pair_key.hex(), one.member) for leg in view.legs for one in leg.said)
    return spoken[True] - spoken[False]


def _compared(newest: Sequence[EventResult], intruders: Set[tuple[str, str]]) -> list[FieldResult]:
    """Return the fields that at least one side stated."""
    keys = [
        None if (key := event.body["pair_key"]) and (key, event.member) in intruders else key or "" for event in newest
    ]
    tokens = sorted({name for event in newest for name in event.body["tokens"]})
    clear = [_field(newest, keys, name, [event.body[name] for event in newest], in_clear=True) for name in COMPARED]
    keyed = [
        _field(newest, keys, name, [event.body["tokens"].get(name) for event in newest], in_clear=False)
        for name in tokens
    ]
    return [field for field in clear + keyed if field.said]


def _field(
    newest: Sequence[EventResult],
    keys: Sequence[str | None],
    name: str,
    values: Sequence[str | None],
    *,
    in_clear: bool,
) -> FieldResult:
    """Return what is said of a field; `keys` are those under which each is compared, None for one that is not."""
    said: list[SaidResult] = []
    under: dict[str, list[str]] = {}
    for event, key, value in zip(newest, keys, values, strict=True):
        if value is not None:
            said.append(SaidResult(event.body["side"], event.member, value))
            if key is not None:
                under.setdefault(key, []).append(value)
    several = [each for each in under.values() if len(each) > 1]
    return FieldResult(name, in_clear, all(len(set(each)) == 1 for each in several) if several else None, said)


METHODS = (trace_payment, reconcile_payment)
