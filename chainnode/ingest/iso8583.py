"""ISO 8583 card messages: from a file to one `ParsedPayment` per message.

Here: what a message's fields mean as a statement about a payment. Messages are found in a file by
`chainnode.ingest.iso8583_framing` and taken apart by `chainnode.ingest.iso8583_fields`. Known are authorisations
(01xx), financial messages (02xx) and reversals (04xx), as requests, advices and their answers. Source: ISO 8583:1987,
Q/CUP 006.2.

The reference by which acquirer and issuer know a payment is made of the fields that both see: transmission time, trace
number and acquirer (or retrieval reference and acquirer, as the card network chooses). A reversal, and a refund that
names its original in field 90, goes by its original's, so that all statements about one payment meet.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from functools import lru_cache

from chainnode.ingest.context import IngestContext
from chainnode.ingest.errors import FormatError, LeavesOut, MessageError, NotAPartyError, located, nothing_left_out
from chainnode.ingest.iso8583_fields import decode_fields
from chainnode.ingest.iso8583_framing import split_messages
from chainnode.ingest.parsed import Agent, Amount, ParsedPayment, Party
from chainnode.ingest.privacy import message_digest_of
from ledger.currencies import CODES, EXPONENTS
from ledger.payments import Channel, Side, Status, is_date
from primitives.errors import InputError
from primitives.ids import TimeMs

TYPES = frozenset(
    f"{kind}{function}{origin}" for kind in ("01", "02", "04") for function in "0123" for origin in "01"
)  # requests and advices, their answers, and the same repeated
APPROVED = frozenset({"00", "08", "10", "11", "16", "A2", "A4", "A5", "A6"})
# What the digest of a message covers, and all that is kept of it: what says which payment it is, in ascending order.
_DIGESTED = ("t", *map(str, (2, 3, 4, 7, 11, 12, 13, 15, 18, 22, 25, 32, 33, 37, 38, 39, 41, 42, 43, 49, 90, 95, 100)))
_RESPONSE = re.compile("[0-9A-Z]{2}")
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_DAY_MS = 86_400_000
_DAYS_AHEAD = 1  # a clock may be in a zone ahead of ours
_CASH_MACHINE = "6011"
_ENTRY_QR = "03"
_CONDITION_ONLINE = "59"
_REFUND = "20"
_ORIGINAL_DIGITS = 42
MEMORY_ENTRIES = 8_192


def parse_iso8583(
    data: bytes, context: IngestContext, *, where: str, leaves_out: LeavesOut = nothing_left_out
) -> Iterator[ParsedPayment | InputError]:
    """Yield the payment of every message of a file; a bad one is raised, or yielded as its error (`leaves_out`).

    `where` names the file in errors. Raises MessageError, NotAPartyError and FormatError, which name message and field.
    """
    network = context.card_network
    reader = _Reader(context)
    found = split_messages(data, where=where, encoding=network.encoding)
    for number, item in enumerate(found, start=1):
        place = f"{where}: message {number}"
        try:
            if isinstance(item, MessageError):
                raise item
            fields = decode_fields(*item, network.padding)
            yield reader.payment(fields, place)
        except InputError as error:
            refused = located(error, place)
            if not leaves_out(refused):
                raise refused from None
            yield refused


class _Reader:
    """Reads the messages of one file in order: a reversal may name its original by what came before it."""

    def __init__(self, context: IngestContext) -> None:
        if context.received_ms is None:
            raise FormatError("no time of arrival", expected="received_ms, for card messages have no year", got="none")
        self._context = context
        self._network = context.card_network
        self._by_retrieval = self._network.link == "retrieval"
        offset = self._network.utc_offset_minutes
        self._offset_ms = (context.utc_offset_minutes if offset is None else offset) * 60_000
        self._today = context.received_ms // _DAY_MS
        self._has_institutions = any(
            context.reporter.is_agent(acquirer) for acquirer, _ in self._network.institutions.values()
        )
        self._references: dict[tuple[str, str, str], str] = {}

    def payment(self, fields: dict[str, str], where: str) -> ParsedPayment:
        """Return the payment of a message; MessageError or NotAPartyError names the field."""
        get = fields.get
        message_type = fields["t"]
        if message_type not in TYPES:
            raise MessageError(
                "unknown message type", where="message type", expected="01xx, 02xx or 04xx", got="another"
            )
        trace, card, code = _required(fields, "11"), get("2", ""), get("32", "")
        amount = _amount(fields)
        created_ms = self._time(get("7", "") or get("13", "") + get("12", ""))
        acquirer, issuer, side = self._parties(code, get("100", ""), card)
        reversal = message_type[1] == "4"
        refund = get("3", "")[:2] == _REFUND and "90" in fields
        reference = (
            self._original(fields) if reversal or refund else self._reference(get("7", ""), trace, code, get("37", ""))
        )
        self._remember(fields, reference)
        status, reason = _status(message_type, get("39", ""), side, refund)
        merchant, terminal, settled = get("42", "").strip(), get("41", "").strip(), get("15", "")
        source = "\x1f".join([f"{name}={fields[name]}" for name in _DIGESTED if name in fields]).encode()
        return ParsedPayment(
            message_type=f"iso8583.{message_type}",
            where=where,
            message_digest=message_digest_of(source),
            index=0,
            created_ms=TimeMs(created_ms),
            amount=amount,
            agents=(acquirer, issuer)
            if acquirer and issuer
            else (acquirer,)
            if acquirer
            else (issuer,)
            if issuer
            else (),
            end_to_end_id=reference,
            transaction_id=get("37", "").strip(),
            message_id=trace,
            settlement_date=self._date(settled, created_ms) if settled else 0,
            status=status,
            reason=reason,
            debtor=Party(account=card),
            creditor=Party(_name(get("43", "")), merchant),
            channel=_channel(get("22", ""), get("18", ""), get("25", ""), terminal),
            side=side,
            source=source,
            terminal_certificate=self._network.certificate_of(merchant, terminal) if terminal else "",
        )

    def _parties(self, code: str, receiver: str, card: str) -> tuple[Agent | None, Agent | None, Side]:
        """Return acquirer and issuer as far as they are known, and where the reporter stands between them."""
        reporter, network = self._context.reporter, self._network
        sending = network.institution(code) if code else None
        receiving = network.institution(receiver) if receiver else None
        acquirer = sending[0] if sending else None
        issuer = receiving[1] if receiving else network.issuer_of(card)
        if reporter.is_switch:
            return acquirer, issuer, Side.SWITCH
        if reporter.is_agent(acquirer):
            return acquirer, issuer, Side.ACQUIRER
        if reporter.is_agent(issuer):
            return acquirer, issuer, Side.ISSUER
        if issuer is not None or not self._has_institutions or not code:
            raise NotAPartyError(
                "the reporter is neither acquirer nor issuer",
                where="fields 2, 32 and 100",
                expected=f"an institution of {reporter.member}",
                got="others, or none that the card network names",
                hint=self._context.who_could((acquirer, issuer))
                if acquirer or issuer
                else "name institutions and card prefixes in the card network's file",
            )
        return acquirer, None, Side.ISSUER  # it is not the acquirer, and the message came to it

    def _reference(self, transmitted: str, trace: str, code: str, retrieval: str) -> str:
        """Return the reference that both banks know a payment by."""
        if not self._by_retrieval and transmitted:
            return f"{transmitted}{trace}{code.zfill(11)}"
        if not retrieval.strip():
            expected = "field 37" if self._by_retrieval else "field 7 or 37"
            raise MessageError("message has no reference", where=expected, expected="a value", got="none")
        return f"{retrieval.strip()}{code.zfill(11)}"

    def _original(self, fields: dict[str, str]) -> str:
        """Return the reference of the payment that a reversal or refund is about."""
        code, trace, retrieval = fields.get("32", ""), fields["11"], fields.get("37", "").strip()
        named = fields.get("90", "")
        if self._by_retrieval:
            return self._reference("", trace, code, retrieval)
        if named.strip("0"):
            if len(named) != _ORIGINAL_DIGITS or named[:4] not in TYPES:
                expected = "type, trace number, time and institutions of the original"
                raise MessageError("original is not named", where="field 90", expected=expected, got="others")
            # Type 4, trace number 6, transmission time 10, acquirer 11, forwarder 11.
            return f"{named[10:20]}{named[4:10]}{(named[20:31].lstrip('0') or code).zfill(11)}"
        # An answer repeats what identifies its request; a reversal may repeat the original's retrieval reference.
        found = self._references.get(("", trace + fields.get("7", ""), code))
        found = found or (self._references.get((retrieval, "", code)) if retrieval else None)
        if found is None:
            raise MessageError(
                "reversal names no original",
                where="field 90",
                expected="field 90, or the original in the same file with the same fields 32 and 37",
                got="none",
                hint="banks that know payments by field 37 say so in the card network's file: link retrieval",
            )
        return found

    def _remember(self, fields: dict[str, str], reference: str) -> None:
        code, retrieval = fields.get("32", ""), fields.get("37", "").strip()
        self._references["", fields["11"] + fields.get("7", ""), code] = reference
        if retrieval:
            self._references.setdefault((retrieval, "", code), reference)

    def _time(self, text: str) -> int:
        """Return MMDDhhmmss in milliseconds since the epoch, in the year that makes it the latest time before now."""
        day = _day(text[:4], self._today) if len(text) == 10 else -1
        second = _second(text[4:])
        time_ms = day * _DAY_MS + second * 1_000 - self._offset_ms
        if day < 0 or second < 0 or time_ms < 0:
            expected = "field 7, or 12 and 13: month, day and time"
            raise MessageError("not a time", where="field 7", expected=expected, got=f"{len(text)} digits")
        return time_ms

    def _date(self, text: str, created_ms: int) -> int:
        """Return the settlement date as YYYYMMDD, in the year that brings it nearest to the message's time."""
        found = _nearest_date(text, created_ms // _DAY_MS)
        if not found:
            raise MessageError("not a date", where="field 15", expected="month and day", got=f"{len(text)} digits")
        return found


def _required(fields: dict[str, str], number: str) -> str:
    value = fields.get(number)
    if not value:
        raise MessageError("field missing", where=f"field {number}", expected="a value", got="none")
    return value


def _amount(fields: dict[str, str]) -> Amount:
    """Return the amount in minor units, as field 4 has it; a reversal may leave a part in place (field 95)."""
    number = _required(fields, "49")
    currency = CODES.get(number) or (number if number in EXPONENTS else None)
    if currency is None:
        expected = "an ISO 4217 number such as 156"
        raise MessageError("unknown currency", where="field 49", expected=expected, got="another")
    minor, kept = int(_required(fields, "4")), fields.get("95", "")[:12]
    if kept.strip("0 "):
        if not kept.isdecimal() or int(kept) > minor:
            raise MessageError(
                "replacement amount is no part", where="field 95", expected="at most field 4", got="more"
            )
        minor -= int(kept)
    return Amount(minor, currency)


def _status(message_type: str, response: str, side: Side, refund: bool) -> tuple[Status, str]:
    """Return how far the payment is, and the response code as a reason of 4 characters: 51 is 0051.

    No reason code of ISO 20022 begins with two zeros.
    """
    if response and _RESPONSE.fullmatch(response) is None:
        raise MessageError("malformed response code", where="field 39", expected="2 digits or capitals", got="others")
    done = Status.REVERSED if message_type[1] == "4" else Status.RETURNED if refund else None
    if message_type[2] in "13":
        if not response:
            raise MessageError("answer without a response code", where="field 39", expected="2 characters", got="none")
        if response not in APPROVED:
            return Status.REJECTED, f"00{response}"
        return done or Status.ACCEPTED, ""
    reason = f"00{response}" if response and response not in APPROVED else ""
    if done is not None:
        return done, reason
    return (Status.ACCEPTED if side is Side.ACQUIRER else Status.RECEIVED), reason


def _channel(entry: str, category: str, condition: str, terminal: str) -> Channel:
    if entry[:2] == _ENTRY_QR:
        return Channel.QR
    if category == _CASH_MACHINE:
        return Channel.ATM
    if condition == _CONDITION_ONLINE:
        return Channel.APP
    return Channel.POS if entry or terminal else Channel.NONE


def _name(text: str) -> str:
    """Return field 43 as text: ASCII, or as UnionPay has it GB 18030."""
    if text.isascii():
        return text.strip()
    try:
        return text.encode("latin-1").decode("gb18030").strip()
    except UnicodeDecodeError:
        raise MessageError("not text", where="field 43", expected="ASCII or GB 18030", got="other bytes") from None


@lru_cache(maxsize=MEMORY_ENTRIES)
def _day(text: str, today: int) -> int:
    """Return MMDD as days since the epoch: the latest such day that is at most tomorrow; -1 where there is none."""
    return max((day for day in _days(text, today) if day <= today + _DAYS_AHEAD), default=-1)


def _days(text: str, today: int) -> list[int]:
    """Return the days since the epoch that MMDD is in the years about `today`: a 29 February has one in four."""
    year = date.fromordinal(_EPOCH_ORDINAL + today).year
    numbers = [(year + step) * 10_000 + int(text) for step in (-4, -3, -2, -1, 0, 1)]
    dates = [date(number // 10_000, number // 100 % 100, number % 100) for number in numbers if is_date(number)]
    return [found.toordinal() - _EPOCH_ORDINAL for found in dates]


@lru_cache(maxsize=MEMORY_ENTRIES)
def _second(text: str) -> int:
    """Return hhmmss as seconds of a day; -1 where it is no time."""
    if len(text) != 6:
        return -1
    hour, minute, second = int(text[:2]), int(text[2:4]), int(text[4:])
    return hour * 3600 + minute * 60 + second if hour < 24 and minute < 60 and second < 60 else -1


@lru_cache(maxsize=MEMORY_ENTRIES)
def _nearest_date(text: str, today: int) -> int:
    """Return MMDD as YYYYMMDD in the year that brings it nearest to `today`; 0 where it is no date."""
    days = _days(text, today)
    if not days:
        return 0
    nearest = date.fromordinal(_EPOCH_ORDINAL + min(days, key=lambda day: abs(day - today)))
    return nearest.year * 10_000 + nearest.month * 100 + nearest.day
