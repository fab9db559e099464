"""What the statements about one payment say together: matched, differing, or still waiting for the other side.

A deterministic view over the log: the statements that bear one pair key, in the order of the log, and a block time give
the state, the same on every node. Nothing is changed by it; returns, reversals and rejections are legs of their own.
Here: the pure engine. Not here: following the log (`ledger.reconciliation_index`), and what is shown of it
(`rpc.methods.reconciliation`). Source: domain §4.

Whose word counts. A pair key stands on the chain for everybody to read, so that anybody can state it. A statement says
with whom its reporter had the payment: by the codes of its agents, which the chain's members answer for. Two members
that a key is stated between are a payment of their own, and nothing that a third member says under the same key is
counted in it. A statement that names nobody (no codes, or none of a member) counts with whom its member named under the
key, else with whoever named its member. Only where nobody did before, the first two such members are taken for the two
sides, which `by_codes` tells: there a third one that is faster takes the other's place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from enum import IntEnum
from typing import Final, NamedTuple

from ledger.payments import AgentRecord, AgentRole, AgentScheme, Side, Status, TokenField, TokenRecord
from ledger.policy import DAY_MS
from primitives.encoding import Record, decoder_of

ANSWER_WITHIN_MS: Final = DAY_MS
"""How long after the first statement of a leg, in block time, the other side may take."""

EQUIVOCATIONS_MAX: Final = 8
"""Of a leg; one is enough, and more change nothing."""

Place = tuple[int, int]
"""Height, and index in the block."""


class Leg(IntEnum):
    """What a statement is about: the payment itself, or what came of it."""

    PAYMENT = 1
    RETURN = 2
    REVERSAL = 3
    REJECTION = 4


class Standing(IntEnum):
    """How a leg stands; of a payment the gravest of its legs' counts."""

    MATCHED = 1
    ONE_SIDED = 2
    ORPHAN = 3
    MISMATCH = 4
    EQUIVOCATION = 5


_LEGS: Final = {Status.RETURNED: Leg.RETURN, Status.REVERSED: Leg.REVERSAL, Status.REJECTED: Leg.REJECTION}
_TURNED: Final = {
    AgentRole.INSTRUCTING_AGENT: AgentRole.INSTRUCTED_AGENT,
    AgentRole.INSTRUCTED_AGENT: AgentRole.INSTRUCTING_AGENT,
}
_SEVERAL: Final = frozenset({Leg.RETURN, Leg.REVERSAL})
"""What may come of a payment more than once, such as a purchase that is refunded in parts."""

_BIC_INSTITUTION: Final = 8
"""Characters of a BIC that name the institution; the others name its branch, which one side may leave out."""


class Said(Record):
    """What counts of a statement here; `agents` and `tokens` are their canonical bytes.

    `other` is the member with whom the reporter had the payment, "" where its codes name none. `is_report` says that
    the message went against the payment's direction, so that its agents are named the other way round, `is_reversal`
    that it asks for a reversal or answers that: one that is declined rejects the reversal, and not the payment. `day`
    is the settlement date, or the message's own day in UTC (YYYYMMDD), `is_sent` says that money left the reporter:
    totals are by both.
    """

    height: int
    index: int
    time_ms: int
    member: str
    other: str
    side: Side
    status: Status
    is_report: bool
    is_reversal: bool
    amount: int | None
    currency: str
    settlement_date: int
    uetr: bytes
    agents: bytes
    tokens: bytes
    day: int
    is_sent: bool

    @property
    def place(self) -> Place:
        """Where it stands on the chain."""
        return self.height, self.index

    @property
    def leg(self) -> Leg:
        """What it is about."""
        return Leg.REVERSAL if self.is_reversal else _LEGS.get(self.status, Leg.PAYMENT)


class Equivocation(NamedTuple):
    """Two statements of one member that cannot both be so, and the fields in which they differ."""

    first: Place
    second: Place
    fields: tuple[str, ...]


class LegView(NamedTuple):
    """A leg: how it stands, what the comparison of both sides gives, and until when the other side may take.

    `state` is `compared` unless a member said two things. `missing` are the members that said nothing of it. `late`
    says that the second side came after the deadline.
    """

    leg: Leg
    state: Standing
    compared: Standing
    fields: tuple[str, ...]
    tolerated: tuple[str, ...]
    missing: tuple[str, ...]
    deadline_ms: int
    late: bool
    equivocations: tuple[Equivocation, ...]
    said: tuple[Said, ...]


class PaymentView(NamedTuple):
    """A payment between two members, as their statements under one pair key give it.

    `parties` ascend; the first is "" where nobody but the second said anything and it named nobody. `intruders` said
    something under the same key and are none of the two. `is_intruder` marks a payment of which one side alone spoke
    where the other one spoke of another payment under the key, and that one's other side too; or where two sides had
    spoken of one before. So two members that use a key together after another's first word do not make that one theirs.
    """

    parties: tuple[str, str]
    by_codes: bool
    state: Standing
    legs: tuple[LegView, ...]
    intruders: tuple[str, ...]
    is_intruder: bool

    @property
    def deadline_ms(self) -> int | None:
        """The next time at which a leg that is one-sided becomes an orphan; None where none can."""
        return min((leg.deadline_ms for leg in self.legs if leg.compared is Standing.ONE_SIDED), default=None)


def reconcile(said: Sequence[Said], now_ms: int, within_ms: int = ANSWER_WITHIN_MS) -> list[PaymentView]:
    """Return the payments that statements with one pair key tell of, at a block's time; in the order of the log.

    `said` are in the order of the log. Two sides that both spoke stand beside whoever else used the key.
    """
    groups = _between(said)
    spoken = [{one.member for one in group} for _, _, group in groups]
    speakers = set().union(*spoken)
    return [
        _payment(
            *(parties, by_codes, group, now_ms, within_ms),
            intruders=tuple(sorted(speakers.difference(parties))) if len(speakers) > 2 else (),
            is_intruder=len(spoken[number]) == 1 and _is_intruder(parties, number, spoken),
        )
        for number, (parties, by_codes, group) in enumerate(groups)
    ]


def _is_intruder(parties: tuple[str, str], number: int, spoken: Sequence[set[str]]) -> bool:
    """Say whether a payment of which one alone spoke stands beside that of two who had the key; in their order."""
    silent = next((member for member in parties if member not in spoken[number]), "")
    return any(
        len(members) > 1 and (not silent or silent in members or place < number) for place, members in enumerate(spoken)
    )


Group = tuple[tuple[str, str], bool, Sequence[Said]]


def _between(said: Sequence[Said]) -> list[Group]:
    """Return the statements between each two members, and whether codes name them."""
    one, other = said[0].member, said[0].other
    if other and all(
        (it.member == one and it.other == other) or (it.member == other and it.other == one) for it in said
    ):
        return [((one, other) if one < other else (other, one), True, said)]
    pairs: dict[tuple[str, str], None] = {}
    for it in said:
        if it.other:
            pairs[min(it.member, it.other), max(it.member, it.other)] = None
    named: dict[str, set[str]] = {}
    """By each member that named others: these."""
    for it in said:
        if it.other:
            named.setdefault(it.member, set()).add(it.other)
    couples = _couples(said, named.keys())
    coupled = {member for couple in couples for member in couple}
    groups: list[Group] = [
        (
            (one, other),
            True,
            [
                it
                for it in said
                if (it.member == one and _is_with(it, other, named, coupled))
                or (it.member == other and _is_with(it, one, named, coupled))
            ],
        )
        for one, other in pairs
    ]
    groups += [((a, b) if a < b else (b, a), False, [it for it in said if it.member in (a, b)]) for a, b in couples]
    return sorted(groups, key=lambda group: (group[2][0].place, group[0]))


def _is_with(said: Said, other: str, named: Mapping[str, Set[str]], coupled: Set[str]) -> bool:
    """Say whether a statement is about a payment with another member, one of the two having named the other."""
    if said.other:
        return said.other == other
    if said.member in named:
        return other in named[said.member]
    return said.member not in coupled


def _couples(said: Sequence[Said], naming: Set[str]) -> list[tuple[str, str]]:
    """Return the members that name nobody, two by two as they come; those that somebody named before are left out.

    The last one stands with "" where nobody else came and nobody named it at all.
    """
    named: set[str] = set()
    couples: list[tuple[str, str]] = []
    waiting = ""
    for it in said:
        if it.other:
            named.add(it.other)
        elif it.member not in naming and it.member != waiting and all(it.member not in couple for couple in couples):
            if waiting and waiting not in named and it.member not in named:
                couples.append((waiting, it.member))
                waiting = ""
            elif it.member not in named:
                waiting = it.member
    return [*couples, ("", waiting)] if waiting and waiting not in named else couples


def _payment(
    parties: tuple[str, str],
    by_codes: bool,
    said: Sequence[Said],
    now_ms: int,
    within_ms: int,
    *,
    intruders: tuple[str, ...],
    is_intruder: bool,
) -> PaymentView:
    by_leg: dict[Leg, list[Said]] = {}
    for one in said:
        by_leg.setdefault(one.leg, []).append(one)
    legs = [_leg(leg, by_leg[leg], parties, now_ms, within_ms) for leg in sorted(by_leg)]
    if Leg.PAYMENT not in by_leg and (Leg.RETURN in by_leg or Leg.REVERSAL in by_leg):
        # Money went back of which nobody said that it came: both owe a statement about the payment.
        legs.insert(0, _unstated(said, parties, now_ms, within_ms))
    state = legs[0].state if len(legs) == 1 else max(leg.state for leg in legs)
    return PaymentView(parties, by_codes, state, tuple(legs), intruders, is_intruder)


def _unstated(said: Sequence[Said], parties: tuple[str, str], now_ms: int, within_ms: int) -> LegView:
    deadline_ms = min(it.time_ms for it in said if it.leg is not Leg.REJECTION) + within_ms
    state = Standing.ORPHAN if now_ms >= deadline_ms else Standing.ONE_SIDED
    return LegView(Leg.PAYMENT, state, state, (), (), tuple(filter(None, parties)), deadline_ms, False, (), ())


def _leg(leg: Leg, said: list[Said], parties: tuple[str, str], now_ms: int, within_ms: int) -> LegView:
    first = said[0]
    deadline_ms = first.time_ms + within_ms
    if len(said) == 1:
        state = Standing.ORPHAN if now_ms >= deadline_ms else Standing.ONE_SIDED
        missing = tuple([member for member in parties if member and member != first.member])
        return LegView(leg, state, state, (), (), missing, deadline_ms, False, (), tuple(said))
    sides: dict[str, list[Said]] = {}
    for one in said:
        sides.setdefault(one.member, []).append(one)
    fields: tuple[str, ...] = ()
    tolerated: tuple[str, ...] = ()
    late = several = False
    if len(sides) == 1:
        compared = Standing.ORPHAN if now_ms >= deadline_ms else Standing.ONE_SIDED
    else:
        left, right = sides.values()
        late = right[0].time_ms >= deadline_ms
        several = leg in _SEVERAL and len(said) > len(sides) and _say_the_same_several(left, right)
        fields, tolerated = ((), ()) if several else _compared(left, right)
        compared = Standing.MISMATCH if fields else Standing.MATCHED
    twice = () if several or len(sides) == len(said) else tuple(_equivocations(said))
    return LegView(
        leg,
        Standing.EQUIVOCATION if twice else compared,
        compared,
        fields,
        tolerated,
        tuple([member for member in parties if member and member not in sides]),
        deadline_ms,
        late,
        twice,
        tuple(said),
    )


def _compared(left: Sequence[Said], right: Sequence[Said]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the fields in which two sides differ, by what each said of them last, and those that are tolerated."""
    if len(left) == len(right) == 1 and _say_the_same(left[0], right[0]):
        return (), ()
    one, other = _last_words(left), _last_words(right)
    fields = _differing(one, other)
    instructed = one.get((_INSTRUCTED, True)), other.get((_INSTRUCTED, True))
    if "amount" in fields and "currency" not in fields and instructed[0] == instructed[1] is not None:
        return tuple(name for name in fields if name != "amount"), ("amount",)  # charges were shared on the way
    return fields, ()


def _say_the_same(one: Said, other: Said) -> bool:
    return (
        one.tokens == other.tokens
        and one.agents == other.agents
        and one.is_report is other.is_report
        and one.amount == other.amount
        and one.currency == other.currency
        and one.settlement_date == other.settlement_date
        and one.uetr == other.uetr
    )


def _say_the_same_several(left: Sequence[Said], right: Sequence[Said]) -> bool:
    """Say whether two sides tell of the same several returns or reversals, in any order and each ever so often."""
    one, other = _distinct(left), _distinct(right)
    for terms in one:
        same = next((each for each in other if not _differing(terms, each)), None)
        if same is None:
            return False
        other.remove(same)
    return not other


def _distinct(said: Sequence[Said]) -> list[Terms]:
    """Return what statements say, without what one before said too."""
    found: list[Terms] = []
    for terms in map(_terms, said):
        if all(_differing(terms, each) for each in found):
            found.append(terms)
    return found


def _equivocations(said: Sequence[Said]) -> list[Equivocation]:
    """Return where a member says of one leg, side and status first one thing and then another."""
    before: dict[tuple[str, Side, Status], list[tuple[Said, Terms]]] = {}
    found: list[Equivocation] = []
    for one in said:
        same, terms = before.setdefault((one.member, one.side, one.status), []), _terms(one)
        for earlier, other in same:
            fields = () if _say_the_same(earlier, one) else _differing(other, terms)
            if fields:
                found.append(Equivocation(earlier.place, one.place, fields))
                break
        if len(found) == EQUIVOCATIONS_MAX:  # more would be held against each other for nothing
            break
        same.append((one, terms))
    return found


Terms = Mapping[tuple[str, object], object]
"""What was said of a field in one form (a token, clear, or an agent's role and scheme), by its name and that form."""

_INSTRUCTED: Final = TokenField.INSTRUCTED_AMOUNT.name.lower()


def _last_words(said: Sequence[Said]) -> Terms:
    words: dict[tuple[str, object], object] = {}
    for one in said:
        words.update(_terms(one))
    return words


def _terms(said: Said) -> Terms:
    terms: dict[tuple[str, object], object] = {}
    tokens: list[TokenRecord] = decoder_of(list[TokenRecord]).decode(said.tokens)
    for token in tokens:
        terms[token.field.name.lower(), True] = token.token
    for name, value in (
        ("amount", said.amount),
        ("currency", said.currency or None),
        ("settlement_date", said.settlement_date or None),
        ("uetr", said.uetr or None),
    ):
        if value is not None:
            terms[name, False] = value
    agents: list[AgentRecord] = decoder_of(list[AgentRecord]).decode(said.agents)
    for agent in agents:
        role = _TURNED.get(agent.role, agent.role) if said.is_report else agent.role
        code = agent.code[:_BIC_INSTITUTION] if agent.scheme is AgentScheme.BIC else agent.code
        terms["agents", (role, agent.scheme)] = code
    return terms


def _differing(one: Terms, other: Terms) -> tuple[str, ...]:
    """Return the names of the fields that both said, in one form, and not alike; ascending."""
    return tuple(sorted({name[0] for name in one.keys() & other.keys() if one[name] != other[name]}))
