"""payment_totals, payment_listTotals: end-of-day totals of two banks, signed by each, and what makes them differ.

Out of the index of reconciliation, which follows the log at its own pace: `as_of` is the height that it has reached.
Not here: what is counted, and how totals stand (`ledger.totals`). Source: domain §4.
"""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

import msgspec

from ledger.currencies import decimal_text
from ledger.payments import date_text
from ledger.reconciliation import Place, Said
from ledger.reconciliation_reading import ReconciliationReader
from ledger.times import parse_date
from ledger.totals import (
    ALL_LINES,
    ANSWER_TOTALS_WITHIN_MS,
    BOTH,
    FIRST,
    SECOND,
    UNLIKE,
    Key,
    Line,
    Stated,
    TotalsState,
    all_differing,
    deadline_of,
    differing,
    lines_of,
)
from ledger.totals_bodies import TotalsLine
from ledger.totals_reading import CountedPayment, FoundTotals, Spot, TotalsAsked
from ledger.totals_rows import TotalsChange, TotalsCounts
from primitives.errors import InputError
from primitives.ids import Hash
from rpc.errors import Code, invalid_params, not_found
from rpc.methods.known_members import check_member
from rpc.methods.reconciliation import Day, WithinMs, read_at_one_height, reconciliation_of, time_at
from rpc.paging import page_of
from rpc.ports import Services
from rpc.registry import method
from rpc.types import (
    LIMIT_DEFAULT,
    AskedCursor,
    AskedOrder,
    AsOf,
    Limit,
    MemberName,
    NextCursor,
    Params,
    Result,
    Time,
    time_text,
)

TotalsStateName = Literal["unstated", "one_sided", "agreed", "differs"]
TotalsLegName = Literal["payment", "return", "reversal"]
TotalsFieldName = Literal["amount", "count", "payments"]
Currency = Annotated[
    str, msgspec.Meta(pattern=r"\A[A-Z]{3}\Z", description="A currency of ISO 4217.", examples=["CNY"])
]
DayNumber = Annotated[int, msgspec.Meta(ge=0, le=9999_12_31)]
CurrencyText = Annotated[str, msgspec.Meta(min_length=3, max_length=3)]
LineNumber = Annotated[int, msgspec.Meta(ge=0, lt=len(ALL_LINES))]
NameText = Annotated[str, msgspec.Meta(pattern=r"\A(?:[0-9a-f]{2}){32,48}\Z")]


class TotalsEventResult(Result, frozen=True):
    """The totals of a member that count: the newest. `replaced` are those that it stated before, oldest first.

    `replaced` names at most 15; `left_out` counts those before.
    """

    member: str
    event_id: str
    height: int
    index: int
    time: Time
    replaced: list[str]
    left_out: int


class TotalsResult(Result, frozen=True):
    """Two members' totals of a day (UTC) in a currency: how they stand, and in which fields they differ.

    The day is that of settlement, or the message's own where it names none. `deadline` is when the other side's totals
    are due, null where nobody stated any; `overdue` says that it has passed without them. `differences` counts
    the payments which both do not count alike, by their statements on the chain.
    """

    members: list[str]
    day: str
    currency: str
    state: TotalsStateName
    fields: list[TotalsFieldName]
    deadline: Time | None
    overdue: bool
    stated: list[TotalsEventResult]
    differences: int


class StatedLineResult(Result, frozen=True):
    """What a member states of a line: how many payments, their sum where it is in clear, its token, and their root."""

    count: int
    amount: str | None
    token: str | None
    payments_root: str | None


class TotalsSideResult(Result, frozen=True):
    """A line as a member has it: as its totals state it, null where it stated none, and as its statements count it.

    `counted_root` is null where it is of none, or where the lines up to this one are of more than 100,000 payments.
    `unlike_statements` names what of its own totals is not what its own statements on the chain come to.
    """

    member: str
    stated: StatedLineResult | None
    counted: int
    counted_root: str | None
    unlike_statements: list[TotalsFieldName]


class TotalsLineResult(Result, frozen=True):
    """A line of both members' totals: who sent, on which leg, what each has, and in what their totals differ."""

    sender: str
    leg: TotalsLegName
    sides: list[TotalsSideResult]
    fields: list[TotalsFieldName]


class CountingResult(Result, frozen=True):
    """A member's statement by which it counts a payment; `amount` is null where it is not in clear."""

    member: str
    event_id: str
    amount: str | None


class ElsewhereResult(Result, frozen=True):
    """Where else a member counts the same payment: on another day, in another currency or the other way."""

    member: str
    day: str
    currency: str
    sender: str
    leg: TotalsLegName


class CountedResult(Result, frozen=True):
    """A payment that is counted on a line: by whom, by which statements, and where a member counts it else.

    `part` tells several returns or reversals of one payment apart, by their amounts; it is empty for a payment itself.
    `amounts_differ` says that both count it, with amounts that are not the same.
    """

    pair_key: str
    part: str
    sender: str
    leg: TotalsLegName
    counted_by: list[CountingResult]
    amounts_differ: bool
    elsewhere: list[ElsewhereResult]


class AskTotals(Params, frozen=True):
    """Whose totals of which day (UTC) in which currency, and which of the payments in them to list."""

    member: MemberName
    counterparty: MemberName
    day: Day
    currency: Currency
    payments: Annotated[
        Literal["differences", "all"], msgspec.Meta(description="Those that both do not count alike, or all.")
    ] = "differences"
    limit: Limit = LIMIT_DEFAULT
    order: AskedOrder = None
    cursor: AskedCursor = None


class TotalsAnswer(Result, frozen=True):
    """Two members' totals, line by line, and a page of the payments in them; as they stand at `time`.

    Lines come with the first page alone, that without a cursor.
    They are of the blocks above `above_height`, where the history that this node holds begins (0: all of them).
    """

    totals: TotalsResult
    lines: list[TotalsLineResult]
    payments: list[CountedResult]
    cursor: NextCursor
    answer_within_ms: WithinMs
    time: Time
    above_height: int
    as_of: AsOf


class _Read(NamedTuple):
    """What is read of the index of two members' totals, all at one height."""

    found: FoundTotals
    lines: list[TotalsLineResult]
    payments: list[CountedPayment]
    last: Spot | None


@method(
    "payment_totals",
    params=AskTotals,
    result=TotalsAnswer,
    errors=(Code.NOT_FOUND, Code.UNAVAILABLE),
    in_thread=True,
)
def get_totals(services: Services, params: AskTotals) -> TotalsAnswer:
    """End-of-day totals of two members: what each states, whether both agree, and which payments make the difference.

    Payments go by line and pair key. A page of differences may be short where they are few: `cursor` is null at the end
    alone.
    """
    check_member(services, params.member)
    check_member(services, params.counterparty, where="$.counterparty")
    if params.member == params.counterparty:
        raise invalid_params("totals are of two members", where="$.counterparty", expected="another", got=params.member)
    reader, height = reconciliation_of(services)
    first, second = sorted((params.member, params.counterparty))
    key = Key((first, second), _day(params.day), params.currency)
    page = page_of(
        services,
        "payment_totals",
        params,
        tuple[LineNumber, NameText],
        "asc",
        totals=[*key.parties, key.day, key.currency, params.payments],
    )
    after = None if page.after is None else (page.after[0], bytes.fromhex(page.after[1]))
    differences = params.payments == "differences"

    def read() -> _Read | None:
        found = reader.totals.find(key)
        if found is None:
            return None
        lines = _lines(found, reader) if after is None else []
        counted = reader.totals.payments(key, params.limit, after, differences=differences, descending=page.descending)
        return _Read(found, lines, *counted)

    answer, height = read_at_one_height(reader, height, read)
    if answer is None:
        what = "neither of them stated totals, or payments with the other, of this day in this currency"
        raise not_found(what, got=f"{first}, {second}, {params.day}, {params.currency}")
    return TotalsAnswer(
        totals=totals_result(answer.found, reader, time_ms_at(services, height)),
        lines=answer.lines,
        payments=[_counted(item, key, reader) for item in answer.payments],
        cursor=None if answer.last is None else page.cursor(answer.last[0], answer.last[1].hex()),
        answer_within_ms=ANSWER_TOTALS_WITHIN_MS,
        time=time_at(services, height),
        above_height=int(services.reads.base()),
        as_of=height,
    )


class ListTotals(Params, frozen=True):
    """Which totals: of a member and with whom, of which day (UTC) and currency, and by how they stand."""

    member: MemberName | None = None
    counterparty: MemberName | None = None
    day: Day | None = None
    currency: Currency | None = None
    state: Annotated[TotalsStateName | None, msgspec.Meta(description="How they stand.")] = None
    limit: Limit = LIMIT_DEFAULT
    order: AskedOrder = None
    cursor: AskedCursor = None


class TotalsCountsResult(Result, frozen=True):
    """How many totals stand how, each of two members, a day and a currency, of which one stated anything."""

    one_sided: int
    agreed: int
    differs: int


class TotalsListResult(Result, frozen=True):
    """Totals by day, members and currency, as they stand at `time`; `counts` are of all that there are.

    They are of the blocks above `above_height`, where the history that this node holds begins (0: all of them).
    """

    totals: list[TotalsResult]
    counts: TotalsCountsResult
    cursor: NextCursor
    answer_within_ms: WithinMs
    time: Time
    above_height: int
    as_of: AsOf


@method(
    "payment_listTotals",
    params=ListTotals,
    result=TotalsListResult,
    errors=(Code.NOT_FOUND, Code.UNAVAILABLE),
    in_thread=True,
)
def list_totals(services: Services, params: ListTotals) -> TotalsListResult:
    """End-of-day totals by how both members' stand: unstated, one-sided, agreed or differing.

    The newest day first, unless `order` says otherwise. A page may be short where few are what is asked for: `cursor`
    is null at the end alone.
    """
    check_member(services, params.member)
    check_member(services, params.counterparty, where="$.counterparty")
    reader, height = reconciliation_of(services)
    page = page_of(
        services,
        "payment_listTotals",
        params,
        tuple[DayNumber, str, str, CurrencyText],
        member=params.member,
        counterparty=params.counterparty,
        day=params.day,
        currency=params.currency,
        state=params.state,
    )
    asked = TotalsAsked(
        None if params.state is None else TotalsState[params.state.upper()],
        params.member,
        params.counterparty,
        None if params.day is None else _day(params.day),
        params.currency,
    )
    after = None if page.after is None else Key((page.after[1], page.after[2]), page.after[0], page.after[3])

    def read() -> tuple[tuple[list[FoundTotals], Key | None], TotalsCounts]:
        return reader.totals.page(asked, params.limit, after, descending=page.descending), reader.totals.counts()

    ((found, last), counts), height = read_at_one_height(reader, height, read)
    time_ms = time_ms_at(services, height)
    return TotalsListResult(
        totals=[totals_result(item, reader, time_ms) for item in found],
        counts=TotalsCountsResult(counts.one_sided, counts.agreed, counts.differs),
        cursor=None if last is None else page.cursor(last.day, *last.parties, last.currency),
        answer_within_ms=ANSWER_TOTALS_WITHIN_MS,
        time=time_text(time_ms),
        above_height=int(services.reads.base()),
        as_of=height,
    )


class TotalsNotice(Result, frozen=True):
    """End-of-day totals that a member stated in a block: how both members' stand since, and how before.

    `height` is that of the block. More of it tells `payment_totals`.
    """

    members: list[str]
    day: str
    currency: str
    member: str
    before: TotalsStateName
    state: TotalsStateName
    height: int


def totals_notice(change: TotalsChange, height: int) -> TotalsNotice:
    """Return what subscribers are told of totals that a member stated."""
    before, state = totals_state_name(change.before), totals_state_name(change.state)
    day = date_text(change.day)
    return TotalsNotice(list(change.parties), day, change.currency, change.member, before, state, height)


def time_ms_at(services: Services, height: int) -> int:
    """Return the time of a block that an index has reached, in milliseconds."""
    header = services.reads.header(height)
    assert header is not None, "the index never reaches above the log"
    return int(header.time_ms)


def totals_result(found: FoundTotals, reader: ReconciliationReader, now_ms: int) -> TotalsResult:
    """Return how two members' totals stand at a block's time."""
    first, second = found.stated
    deadline_ms = deadline_of(first, second)
    state = found.state
    stated = [
        _event(member, words, left_out, reader)
        for member, words, left_out in zip(found.key.parties, found.stated, found.left_out, strict=True)
        if words
    ]
    return TotalsResult(
        members=list(found.key.parties),
        day=date_text(found.key.day),
        currency=found.key.currency,
        state=totals_state_name(state),
        fields=_field_names(_differing(found)),
        deadline=None if deadline_ms is None else time_text(deadline_ms),
        overdue=state is TotalsState.ONE_SIDED and deadline_ms is not None and now_ms >= deadline_ms,
        stated=stated,
        differences=found.numbers.unlike,
    )


def totals_state_name(state: TotalsState) -> TotalsStateName:
    """Return the written form of how totals stand."""
    names: dict[TotalsState, TotalsStateName] = {
        TotalsState.UNSTATED: "unstated",
        TotalsState.ONE_SIDED: "one_sided",
        TotalsState.AGREED: "agreed",
        TotalsState.DIFFERS: "differs",
    }
    return names[state]


def _differing(found: FoundTotals) -> tuple[str, ...]:
    if not all(found.stated):
        return ()
    return all_differing(*(lines_of(words[-1], side) for side, words in enumerate(found.stated)))


def _event(member: str, words: tuple[Stated, ...], left_out: int, reader: ReconciliationReader) -> TotalsEventResult:
    newest = words[-1]
    replaced = [_event_id(reader, one.place) for one in words[:-1]]
    event_id, time = _event_id(reader, newest.place), time_text(newest.time_ms)
    return TotalsEventResult(member, event_id, newest.height, newest.index, time, replaced, left_out)


def _lines(found: FoundTotals, reader: ReconciliationReader) -> list[TotalsLineResult]:
    words = [each[-1] if each else None for each in found.stated]
    lines = [lines_of(each, side) for side, each in enumerate(words)]
    roots = reader.totals.roots(found)
    results = []
    for line in ALL_LINES:
        said = [lines[side].get(line) for side in (0, 1)]
        counts = [found.numbers.of(line.number, side) for side in (0, 1)]
        if not any(said) and not any(counts):
            continue
        sides = [
            _side(found.key, side, said[side], counts[side], root, is_stated=words[side] is not None)
            for side, root in enumerate(roots.get(line.number, (None, None)))
        ]
        fields = differing(*said) if all(words) else ()
        results.append(TotalsLineResult(found.key.parties[line.sender], _leg_name(line), sides, _field_names(fields)))
    return results


def _side(
    key: Key, side: int, said: TotalsLine | None, counted: int, root: Hash | None, *, is_stated: bool
) -> TotalsSideResult:
    stated = StatedLineResult(0, None, None, None) if is_stated else None
    if said is not None:
        amount = None if said.amount is None else _amount_text(said.amount, key.currency)
        stated = StatedLineResult(said.count, amount, said.token.hex(), said.payments_root.hex())
    unlike: list[str] = []
    if stated is not None and stated.count != counted:
        unlike.append("count")
    if said is not None and root is not None and said.payments_root != root:
        unlike.append("payments")
    shown = None if root is None else root.hex()
    return TotalsSideResult(key.parties[side], stated, counted, shown, _field_names(unlike))


def _counted(item: CountedPayment, key: Key, reader: ReconciliationReader) -> CountedResult:
    elsewhere = [
        ElsewhereResult(
            key.parties[side], date_text(other.day), other.currency, key.parties[line.sender], _leg_name(line)
        )
        for other, line, words in item.elsewhere
        for side in (0, 1)
        if words[side] is not None and not item.bits & (FIRST, SECOND)[side]
    ]
    return CountedResult(
        pair_key=item.pair_key.hex(),
        part=item.part.hex(),
        sender=key.parties[item.line.sender],
        leg=_leg_name(item.line),
        counted_by=[_counting(one, reader) for one in item.said if one is not None],
        amounts_differ=item.bits == BOTH | UNLIKE,
        elsewhere=elsewhere,
    )


def _counting(said: Said, reader: ReconciliationReader) -> CountingResult:
    amount = None if said.amount is None else _amount_text(said.amount, said.currency)
    return CountingResult(said.member, _event_id(reader, said.place), amount)


def _event_id(reader: ReconciliationReader, place: Place) -> str:
    return reader.event_id(place).hex()


def _amount_text(minor: int, currency: str) -> str | None:
    """Return an amount as people write it; None in a currency that is not known here."""
    try:
        return decimal_text(minor, currency)
    except InputError:
        return None


def _leg_name(line: Line) -> TotalsLegName:
    return line.leg.value


def _field_names(fields: tuple[str, ...] | list[str]) -> list[TotalsFieldName]:
    return list(fields)  # type: ignore[arg-type]  # they are of ledger.totals.FIELDS; a test holds them to these words


def _day(text: str) -> int:
    return parse_date(text, where="$.day")


METHODS = (get_totals, list_totals)
