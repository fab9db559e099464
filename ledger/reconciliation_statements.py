"""From a payment statement on the chain to what reconciliation needs of it: its words, and with whom it was.

The other side is found as the bank found it when it made the statement (`chainnode.ingest.statements.counterparty`),
by what stands on the chain alone: the codes of the statement's agents, and the members that answer for them. Not here:
what statements say together (`ledger.reconciliation`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from ledger.events import Event
from ledger.member_index import holder_of_agent
from ledger.payments import PAYMENT_STATEMENT, AgentRecord, AgentRole, AgentScheme, PaymentStatement, Side, Status
from ledger.reconciliation import Said
from ledger.state import StateGetter
from ledger.times import day_of
from ledger.totals_bodies import PAYMENT_TOTALS, PaymentTotals
from ledger.totals_bodies import SCHEMA as TOTALS_SCHEMA
from primitives.encoding import decoder_of, encode

PARTNERS_KEPT: Final = 65_536
SCHEMA: Final = 1
REPORT: Final = "pacs.002"
ORDER: Final = "pain.001"
"""What a customer asked of its bank: nothing that another bank could confirm, whether it is carried out or not."""

CARD_REVERSAL: Final = "iso8583.04"
_INSTITUTION_SIZE: Final = 8
_HEAD_OFFICE: Final = "XXX"
_ENDS: Final = (
    (AgentRole.INSTRUCTING_AGENT, AgentRole.INSTRUCTED_AGENT),
    (AgentRole.DEBTOR_AGENT, AgentRole.CREDITOR_AGENT),
    (AgentRole.DEBTOR_AGENT, AgentRole.ACQUIRER),
    (AgentRole.ISSUER, AgentRole.ACQUIRER),
)
_PASSING: Final = frozenset({Side.SWITCH, Side.INTERMEDIARY})
_PAYS: Final[Mapping[int, bool]] = {Side.DEBTOR: True, Side.ISSUER: True, Side.CREDITOR: False, Side.ACQUIRER: False}
_OWN_SIDES: Final = ("pacs.004", "camt.054")


class _Brief(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A statement, read no further than reconciliation needs; of the same fields as `PaymentStatement`."""

    salt: msgspec.Raw
    side: int
    message_type: str
    status: int
    reason: msgspec.Raw
    amount: int | None
    currency: str
    amount_commitment: msgspec.Raw
    settlement_date: int
    agents: msgspec.Raw
    channel: msgspec.Raw
    uetr: bytes
    reference_commitment: msgspec.Raw
    pair_key: bytes
    tokens: msgspec.Raw
    fields_root: msgspec.Raw
    terminal_certificate: msgspec.Raw
    source_digest: msgspec.Raw
    time_ms: int


assert _Brief.__struct_fields__ == PaymentStatement.__struct_fields__
# What is on the chain was checked when it came in; a decoder of the whole costs three times as much.
_decode_brief = msgspec.msgpack.Decoder(_Brief).decode
_decode_event = msgspec.msgpack.Decoder(Event).decode
_SIDES: Final = {int(side): side for side in Side}
_STATUSES: Final = {int(status): status for status in Status}


def statement_in(raw: bytes) -> tuple[str, _Brief] | None:
    """Return who stated what in an event's canonical bytes; None for an event of another kind."""
    event = _decode_event(raw)
    if event.kind != PAYMENT_STATEMENT or event.schema != SCHEMA:
        return None
    return event.member, _decode_brief(event.body)


def is_between_banks(brief: _Brief) -> bool:
    """Say whether a statement is about a payment that another bank knows by the same key."""
    return bool(brief.pair_key) and not brief.message_type.startswith(ORDER)


def said_in(brief: _Brief, member: str, partner: Partner, height: int, index: int, time_ms: int) -> Said:
    """Return what counts of a statement at a place of the log, of a block's time."""
    status, message_type = _STATUSES[brief.status], brief.message_type
    is_report, is_reversal = message_type.startswith(REPORT), message_type.startswith(CARD_REVERSAL)
    is_payer = _PAYS.get(brief.side)
    if is_payer is None:
        is_payer = partner.is_after is not is_report
    return Said(
        height,
        index,
        time_ms,
        member,
        partner.member,
        _SIDES[brief.side],
        status,
        is_report,
        is_reversal,
        brief.amount,
        brief.currency,
        brief.settlement_date,
        brief.uetr,
        bytes(brief.agents),
        bytes(brief.tokens),
        brief.settlement_date or day_of(brief.time_ms),
        is_payer is not (is_reversal or _goes_back(status, message_type)),
    )


def _goes_back(status: Status, message_type: str) -> bool:
    """Say whether money goes against the message's sides: these are the payment's, but in a return's own message."""
    if status is Status.REVERSED:
        return True
    return status is Status.RETURNED and not message_type.startswith(_OWN_SIDES)


def said_of(
    body: PaymentStatement, member: str, other: str, height: int, index: int, time_ms: int, *, is_after: bool = False
) -> Said:
    """Return the same of a statement that is decoded."""
    return said_in(_decode_brief(encode(body)), member, Partner(other, is_after), height, index, time_ms)


def totals_in(raw: bytes) -> tuple[str, PaymentTotals] | None:
    """Return who stated which totals in an event's canonical bytes; None for an event of another kind."""
    event = _decode_event(raw)
    if event.kind != PAYMENT_TOTALS or event.schema != TOTALS_SCHEMA:
        return None
    body: PaymentTotals = decoder_of(PaymentTotals).decode(event.body)
    return event.member, body


class Partner(NamedTuple):
    """With whom a reporter had a payment, "" where its codes name none; `is_after` where that one comes behind it."""

    member: str
    is_after: bool


NOBODY: Final = Partner("", False)


class Partners:
    """With whom statements were, by the members' codes in one state; remembered, since few combinations occur."""

    def __init__(self, state: StateGetter) -> None:
        self._state = state
        self._members: dict[str, str] = {}
        self._found: dict[tuple[str, bool, bytes], Partner] = {}

    def other(self, member: str, side: int, agents: bytes) -> Partner:
        """Return with whom a reporter had a payment."""
        key = member, side in _PASSING, agents
        found = self._found.get(key)
        if found is None:
            if len(self._found) >= PARTNERS_KEPT:
                self._found.clear()
            found = self._found[key] = self._look(member, key[1], decoder_of(list[AgentRecord]).decode(agents))
        return found

    def _look(self, member: str, is_passing: bool, agents: Sequence[AgentRecord]) -> Partner:
        by_role: Mapping[AgentRole, str] = {agent.role: self._member(agent) for agent in agents}
        for left, right in _ENDS:
            for own, other in ((left, right), (right, left)):
                if by_role.get(own) == member and other in by_role and by_role[other] != member:
                    return Partner(by_role[other], own is left)
        debtor = by_role.get(AgentRole.DEBTOR_AGENT, "") if is_passing else ""
        return NOBODY if debtor in ("", member) else Partner(debtor, False)

    def _member(self, agent: AgentRecord) -> str:
        found = self._members.get(agent.code)
        if found is None:
            if len(self._members) >= PARTNERS_KEPT:
                self._members.clear()
            holders = (holder_of_agent(self._state, code) for code in _forms(agent))
            found = self._members[agent.code] = next((holder for holder in holders if holder is not None), "")
        return found


def _forms(agent: AgentRecord) -> list[str]:
    """Return the codes by which an institution may be known: as it is, and that of its head office."""
    code = agent.code
    if agent.scheme is not AgentScheme.BIC:
        return [code]
    institution = code[:_INSTITUTION_SIZE]
    own = [institution + _HEAD_OFFICE, institution] if code in (institution, institution + _HEAD_OFFICE) else [code]
    return list(dict.fromkeys([*own, institution + _HEAD_OFFICE, institution]))
