"""A day of payments among some banks, as each of them would state it, with seeded discrepancies and their answers.

Deterministic from the seed and in the order of time; what is held at once is a minute of payments and what is told
later of earlier ones. The banks have the names and codes of a localnet's. Here: the traffic. Not here: the files that
banks would have of it (`chainnode.generating_files`), and scoring (`bench.reconciliation`).

The figures are plausible, not measured: shares of channels, a curve of the day for each, log-normal amounts.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from dataclasses import replace as with_fields
from datetime import UTC, date, datetime
from enum import StrEnum
from itertools import pairwise
from typing import Any, Final

from msgspec.structs import replace

from chainnode.generating_cards import CARD, card_outcome, card_payment
from chainnode.generating_profiles import CHANNELS, CURRENCIES, Medium, Profile
from chainnode.ingest.parsed import Agent, Amount, Direction, ParsedPayment, Party
from chainnode.localnet import bank_agents, bank_name
from chainnode.localnet_cards import SWITCH, card_prefix, institution_code
from ledger.payments import AgentRole, AgentScheme, Channel, Side, Status
from ledger.policy import DAY_MS
from primitives.errors import UsageError
from primitives.ids import ZERO_HASH, TimeMs

BANKS_MIN: Final = 2
BANKS_MAX: Final = 100
PAYMENTS_MAX: Final = 100_000_000
ACCOUNTS_A_BANK: Final = 5_000
MINUTES: Final = 24 * 60
MINUTE_MS: Final = 60_000
LATE_MS_MIN: Final = 120 * MINUTE_MS
"""So that a side is late too where files are handed in by the hour."""
DISCREPANCIES: Final = 0.001
TRANSFER, REPORT, RETURN, LINE = "pacs.008.001.08", "pacs.002.001.10", "pacs.004.001.09", "json"
INSTITUTIONS, ORDER, NOTICE, QR = "pacs.009.001.08", "pain.001.001.09", "camt.054.001.08", "emv.qr"
_WITHOUT_CHANNEL: Final = frozenset({REPORT, ORDER, NOTICE})
_REJECTED: Final = ("AC04", "AM04", "AC06", "FF01")
_RETURNED: Final = ("AC03", "AC04", "CUST")


class Seeded(StrEnum):
    """A discrepancy that is put into the traffic."""

    MISSING_SIDE = "missing_side"
    AMOUNT = "amount"
    DATE = "date"
    ACCOUNT = "account"
    CURRENCY = "currency"
    DUPLICATE = "duplicate_with_other_content"
    LATE_SIDE = "late_side"
    RETURN_ONLY = "return_without_payment"


@dataclass(frozen=True, slots=True)
class Answer:
    """A discrepancy as reconciliation has to find it a day after the last statement: between whom, and how it stands.

    `fields` are those that differ; `late` says that the second side comes after the deadline.
    """

    kind: Seeded
    reference: str
    between: tuple[str, str]
    state: str
    leg: str
    fields: tuple[str, ...] = ()
    late: bool = False
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, order=True)
class Told:
    """A statement that a bank makes at a time, out of a message that it sends (`is_sent`) or gets.

    The payment is what an adapter reads of that message, but for its digest; `channel` is the payment's own, of which
    some messages say nothing.
    """

    time_ms: int
    number: int
    bank: str = field(compare=False)
    is_sent: bool = field(compare=False)
    channel: Channel = field(compare=False)
    payment: ParsedPayment = field(compare=False)
    answer: Answer | None = field(compare=False, default=None)


@dataclass(frozen=True, slots=True)
class Plan:
    """Which day: its first moment is in UTC, as are the hours of its traffic."""

    day: date
    banks: int
    payments: int
    seed: int
    discrepancies: float = DISCREPANCIES

    def check(self) -> None:
        """Raise UsageError where it is out of bounds."""
        for name, got, low, high in (
            ("banks", self.banks, BANKS_MIN, BANKS_MAX),
            ("payments", self.payments, 1, PAYMENTS_MAX),
        ):
            if not low <= got <= high:
                raise UsageError(f"number of {name} out of range", expected=f"{low} to {high}", got=got)
        if not 0 <= self.discrepancies <= 1:
            raise UsageError("share of discrepancies out of range", expected="0 to 1", got=self.discrepancies)

    @property
    def start_ms(self) -> int:
        """The first moment of the day."""
        return int(datetime(self.day.year, self.day.month, self.day.day, tzinfo=UTC).timestamp()) * 1_000

    @property
    def names(self) -> list[str]:
        """The banks."""
        return [bank_name(index) for index in range(self.banks)]


def codes_of(plan: Plan) -> dict[str, str]:
    """Return the bank behind each code."""
    return {code: bank_name(index) for index in range(plan.banks) for code in bank_agents(index)}


class Traffic:
    """The statements of a day, in the order of time; `answers` grows meanwhile."""

    def __init__(self, plan: Plan) -> None:
        """Raises UsageError as `Plan.check`."""
        plan.check()
        self._plan = plan
        self._random = random.Random(f"{plan.seed} {plan.day} {plan.banks} {plan.payments}")  # noqa: S311  # no secret
        self._bics = [bank_agents(index)[0] for index in range(plan.banks)]
        self._names = plan.names
        self._made = self._numbered = self._seeded = 0
        self._date = plan.day.year * 10_000 + plan.day.month * 100 + plan.day.day
        after = date.fromordinal(plan.day.toordinal() + 1)
        self._next_date = after.year * 10_000 + after.month * 100 + after.day
        self.made_payments = 0
        self.seeded: dict[str, int] = dict.fromkeys(Seeded, 0)

    def statements(self) -> Iterator[Told]:
        """Yield what banks state, by time; of a discrepancy the first statement bears the answer."""
        waiting: list[Told] = []
        for minute, channels in enumerate(self._minutes()):
            start_ms = self._plan.start_ms + minute * MINUTE_MS
            times = sorted((start_ms + self._random.randrange(MINUTE_MS), channel) for channel in channels)
            for time_ms, channel in times:
                for told in self._payment(CHANNELS[channel], time_ms):
                    heapq.heappush(waiting, told)
                self.made_payments += 1
            while waiting and waiting[0].time_ms < start_ms + MINUTE_MS:
                yield heapq.heappop(waiting)
        while waiting:
            yield heapq.heappop(waiting)

    def _minutes(self) -> Iterator[list[int]]:
        """Yield, for each minute, the channels of its payments, so that all of them together are as many as planned."""
        weights = [[profile.share * profile.hours[minute // 60] for profile in CHANNELS] for minute in range(MINUTES)]
        left, weight_left = self._plan.payments, sum(map(sum, weights))
        for of_minute in weights:
            weight = sum(of_minute)
            share = 1.0 if weight_left <= weight else weight / weight_left
            exact = left * share
            count = min(left, int(exact) + (self._random.random() < exact - int(exact)))
            if of_minute is weights[-1]:
                count = left
            left, weight_left = left - count, weight_left - weight
            yield self._random.choices(range(len(CHANNELS)), of_minute, k=count) if count else []

    def _payment(self, profile: Profile, time_ms: int) -> list[Told]:
        """Return what is told of a payment: of each hop by both of its banks."""
        chance = self._random
        self._made += 1
        debtor, creditor = chance.sample(range(self._plan.banks), 2)
        path = [debtor, creditor]
        if self._plan.banks > 2 and chance.random() < profile.intermediary:
            between = chance.randrange(self._plan.banks)
            if between not in path:
                path.insert(1, between)
        kind = self._seed()
        if kind is not None:
            path = path[:2]
        payment = self._first(profile, time_ms, path)
        if profile.medium is Medium.CARDS:
            path.reverse()  # the payee's bank sends
        if kind is not None:
            return self._wrong(kind, profile, payment, path, time_ms)
        draw = chance.random()
        told: list[Told] = []
        if chance.random() < profile.initiated:
            told.append(self._order(payment, path, time_ms))
        for hop, (sender, receiver) in enumerate(pairwise(path)):
            sent = self._hop(payment, profile, path, hop)
            at_ms = time_ms + hop * chance.randrange(200, 3_000)
            both = self._both(
                sent, sender, receiver, at_ms, shared=not hop and chance.random() < profile.shared_charges
            )
            told += both
            told += self._outcome(sent, profile, sender, receiver, at_ms, draw)
        if draw >= profile.failing and payment.message_type == TRANSFER and chance.random() < profile.notified:
            told.append(self._notice(both[1].payment, path[-1], at_ms + chance.randrange(10_000, 600_000)))
        return told

    def _seed(self) -> Seeded | None:
        if self._random.random() >= self._plan.discrepancies:
            return None
        kind = list(Seeded)[self._seeded % len(Seeded)]
        self._seeded += 1
        self.seeded[kind] += 1
        return kind

    # --- a payment that is as it should be

    def _first(self, profile: Profile, time_ms: int, path: list[int]) -> ParsedPayment:
        chance = self._random
        currency = chance.choices(profile.currencies, profile.currency_weights)[0]
        number = chance.getrandbits(128)
        uetr = (number & ~(0xF << 76) & ~(0x3 << 62) | 4 << 76 | 2 << 62).to_bytes(16, "big")
        kind = {Medium.LINES: LINE, Medium.QR: QR}.get(profile.medium, TRANSFER)
        if chance.random() < profile.institutional:
            kind = INSTITUTIONS
        debtor, creditor = self._parties(profile, path, named=kind != INSTITUTIONS)
        payment = ParsedPayment(
            message_type=kind,
            where="",
            message_digest=ZERO_HASH,
            index=0,
            created_ms=TimeMs(time_ms),
            amount=Amount(profile.amount(chance, CURRENCIES[currency], currency), currency),
            agents=(),
            end_to_end_id=f"{profile.channel.name}{self._date}{self._made:09d}",
            uetr=uetr if profile.medium is Medium.TRANSFERS else b"",
            settlement_date=self._date,
            debtor=debtor,
            creditor=creditor,
            channel=profile.channel,
        )
        return (
            card_payment(payment, institution_code(path[-1]), self._made) if profile.medium is Medium.CARDS else payment
        )

    def _parties(self, profile: Profile, path: list[int], *, named: bool) -> tuple[Party, Party]:
        """Return payer and payee, as far as messages of a medium tell of them."""
        one, other = (self._random.randrange(ACCOUNTS_A_BANK) for _ in range(2))
        payer, payee = path[0], path[-1]
        shop = f"Shop {other} of {self._names[payee]}"
        match profile.medium:
            case Medium.CARDS:
                return Party(account=f"{card_prefix(payer)}{one:09d}"), Party(shop, f"10{payee:04d}{other:09d}")
            case Medium.QR:
                merchant = f"15:{institution_code(payee)}{SWITCH[0]}{other:015d}"
                return Party(account=f"62{payer:03d}{one:011d}"), Party(shop, merchant)
        debtor, creditor = (
            Party(f"Customer {number} of {self._names[bank]}" if named else "", f"62{bank:03d}{number:011d}")
            for bank, number in ((payer, one), (payee, other))
        )
        return debtor, creditor

    def _order(self, payment: ParsedPayment, path: list[int], time_ms: int) -> Told:
        """Return the customer's order to the payer's bank."""
        agents = self._agents({AgentRole.DEBTOR_AGENT: path[0], AgentRole.CREDITOR_AGENT: path[-1]})
        order = replace(payment, message_type=ORDER, agents=agents, status=Status.RECEIVED)
        return self._told(order, path[0], time_ms, is_sent=False)

    def _notice(self, payment: ParsedPayment, bank: int, time_ms: int) -> Told:
        """Return what the payee's bank tells its customer of a payment that arrived."""
        notice = replace(
            payment,
            message_type=NOTICE,
            status=Status.SETTLED,
            direction=Direction.CREDIT,
            instructed_amount=None,
        )
        return self._told(notice, bank, time_ms, is_sent=True)

    def _hop(self, payment: ParsedPayment, profile: Profile, path: list[int], hop: int) -> ParsedPayment:
        """Return the message of a hop: the customers' banks, and between which two it goes."""
        if profile.medium is Medium.CARDS:
            return replace(payment, agents=self._agents({AgentRole.ACQUIRER: path[0], AgentRole.ISSUER: path[1]}))
        roles = {AgentRole.DEBTOR_AGENT: path[0], AgentRole.CREDITOR_AGENT: path[-1]}
        if profile.medium is Medium.TRANSFERS:
            roles |= {AgentRole.INSTRUCTING_AGENT: path[hop], AgentRole.INSTRUCTED_AGENT: path[hop + 1]}
        return replace(payment, agents=self._agents(roles))

    def _agents(self, roles: dict[AgentRole, int]) -> tuple[Agent, ...]:
        return tuple(Agent(role, AgentScheme.BIC, self._bics[bank]) for role, bank in sorted(roles.items()))

    def _both(
        self, payment: ParsedPayment, sender: int, receiver: int, time_ms: int, *, shared: bool = False
    ) -> list[Told]:
        """Return a message as both its banks tell of it; where charges are shared, less arrives than was instructed."""
        chance = self._random
        got = payment
        if shared and payment.amount is not None and payment.amount.minor > 10_000:
            payment = replace(payment, instructed_amount=payment.amount)
            arrived = Amount(payment.amount.minor - chance.randrange(500, 5_000), payment.amount.currency)  # type: ignore[union-attr]  # as above
            got = replace(payment, amount=arrived)
        return [
            self._told(payment, sender, time_ms, is_sent=True),
            self._told(got, receiver, time_ms + chance.randrange(100, 5_000), is_sent=False),
        ]

    def _told(
        self, payment: ParsedPayment, bank: int, time_ms: int, *, is_sent: bool, answer: Answer | None = None
    ) -> Told:
        self._numbered += 1
        facts: dict[str, Any] = {}  # Any: keyword arguments of several types
        is_card, is_first = payment.message_type.startswith(CARD), payment.agents[0].code == self._bics[bank]
        if not is_card:  # a card message bears its time, whoever tells of it
            facts["created_ms"] = TimeMs(time_ms)
        if is_card:
            facts["side"] = Side.ACQUIRER if is_first else Side.ISSUER
        elif payment.message_type in (LINE, QR):
            facts["side"] = Side.DEBTOR if is_first else Side.CREDITOR
        if "side" in facts and payment.status is None:
            facts["status"] = Status.ACCEPTED if is_sent else Status.RECEIVED
        if payment.message_type in _WITHOUT_CHANNEL:
            facts["channel"] = Channel.NONE
        told = replace(payment, **facts)
        return Told(time_ms, self._numbered, self._names[bank], is_sent, payment.channel, told, answer)

    def _outcome(
        self, payment: ParsedPayment, profile: Profile, sender: int, receiver: int, time_ms: int, draw: float
    ) -> list[Told]:
        """Return what comes of a message: settled, rejected, reversed or returned, as both its banks tell of it."""
        chance = self._random
        for share, status, reasons in (
            (profile.rejected, Status.REJECTED, _REJECTED),
            (profile.reversed, Status.REVERSED, _REJECTED),
            (profile.returned, Status.RETURNED, _RETURNED),
        ):
            if draw < share:
                later = time_ms + chance.randrange(5_000, 3_600_000 if status is Status.RETURNED else 60_000)
                return self._answered(
                    payment, sender, receiver, later, status, reasons[int(draw / share * len(reasons))]
                )
            draw -= share
        if chance.random() < profile.reported:
            return self._answered(
                payment, sender, receiver, time_ms + chance.randrange(5_000, 30_000), Status.SETTLED, ""
            )
        return []

    def _answered(
        self, payment: ParsedPayment, sender: int, receiver: int, time_ms: int, status: Status, reason: str
    ) -> list[Told]:
        """Return the message that goes back: a report, a return, or for lines the same with another status."""
        if payment.message_type.startswith(CARD):
            back = card_outcome(payment, status, time_ms, self._made)
        elif payment.message_type in (LINE, QR):  # with a QR payment goes no reason
            back = replace(payment, status=status, reason=reason if payment.message_type == LINE else "")
        else:
            turned = {AgentRole.INSTRUCTING_AGENT: receiver, AgentRole.INSTRUCTED_AGENT: sender}
            back = replace(
                payment,
                message_type=RETURN if status is Status.RETURNED else REPORT,
                status=status,
                reason=reason,
                agents=self._agents(turned),
                instructed_amount=None,
                debtor=Party(),
                creditor=Party(),
            )
            if status is not Status.RETURNED:
                back = replace(back, amount=None, settlement_date=0)
        return self._both(back, receiver, sender, time_ms)

    # --- discrepancies

    def _wrong(
        self, kind: Seeded, profile: Profile, payment: ParsedPayment, path: list[int], time_ms: int
    ) -> list[Told]:
        """Return what is told of a payment of one hop with a discrepancy of a kind."""
        chance = self._random
        sender, receiver = path
        sent = self._hop(payment, profile, path, 0)
        between = tuple(sorted((self._names[sender], self._names[receiver])))
        answer = _answer(kind, payment.end_to_end_id, between)  # type: ignore[arg-type]  # two of them
        if kind is Seeded.RETURN_ONLY:
            first, second = self._answered(sent, sender, receiver, time_ms, Status.RETURNED, "AC03")
            return [with_fields(first, answer=answer), second]
        first = self._told(sent, sender, time_ms, is_sent=True)
        second = self._told(self._changed(kind, sent), receiver, time_ms + chance.randrange(100, 5_000), is_sent=False)
        if kind is Seeded.MISSING_SIDE:
            here = chance.random() < 0.5
            answer = with_fields(answer, missing=(self._names[receiver if here else sender],))
            return [with_fields(first if here else second, answer=answer)]
        first = with_fields(first, answer=answer)
        if kind is Seeded.DUPLICATE:
            again = self._told(
                self._changed(Seeded.AMOUNT, sent), sender, time_ms + chance.randrange(5_000, 600_000), is_sent=True
            )
            return [first, second, again]
        if kind is Seeded.LATE_SIDE:
            late_ms = time_ms + DAY_MS + chance.randrange(LATE_MS_MIN, DAY_MS // 2)
            return [first, self._told(sent, receiver, late_ms, is_sent=False)]
        return [first, second]

    def _changed(self, kind: Seeded, payment: ParsedPayment) -> ParsedPayment:
        """Return the message as the other side has it."""
        amount = payment.amount
        assert amount is not None, "a transfer has an amount"
        match kind:
            case Seeded.AMOUNT:
                more = self._random.randrange(1, max(2, amount.minor // 10))
                return replace(payment, amount=Amount(amount.minor + more, amount.currency))
            case Seeded.CURRENCY:
                other = "USD" if amount.currency != "USD" else "EUR"
                return replace(payment, amount=Amount(amount.minor, other))
            case Seeded.DATE:
                return replace(payment, settlement_date=self._next_date)
            case Seeded.ACCOUNT:
                account = payment.creditor.account
                other = f"{account[:-1]}{(int(account[-1]) + 1) % 10}"
                return replace(payment, creditor=replace(payment.creditor, account=other))
            case _:
                return payment


def _answer(kind: Seeded, reference: str, between: tuple[str, str]) -> Answer:
    match kind:
        case Seeded.MISSING_SIDE:
            return Answer(kind, reference, between, "orphan", "payment")
        case Seeded.AMOUNT:
            return Answer(kind, reference, between, "mismatch", "payment", ("amount",))
        case Seeded.DATE:
            return Answer(kind, reference, between, "mismatch", "payment", ("settlement_date",))
        case Seeded.ACCOUNT:
            return Answer(kind, reference, between, "mismatch", "payment", ("creditor_account",))
        case Seeded.CURRENCY:
            return Answer(kind, reference, between, "mismatch", "payment", ("amount", "currency"))
        case Seeded.DUPLICATE:
            return Answer(kind, reference, between, "equivocation", "payment", ("amount",))
        case Seeded.LATE_SIDE:
            return Answer(kind, reference, between, "matched", "payment", late=True)
        case Seeded.RETURN_ONLY:
            return Answer(kind, reference, between, "orphan", "payment", missing=between)
