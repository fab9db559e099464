"""A payment as plain named values: for whoever has a format that no adapter reads. JSON object or row of a CSV file.

    {"side": "debtor", "amount": "12.50", "currency": "CNY", "reference": "INV-1", "time": "2026-04-13T10:30:00+08:00",
     "debtor_agent": "BKAACNBJXXX", "creditor_agent": "BKBBCNSHXXX", "debtor_account": "...", ...}

Values are clear and stay at the bank, as with any other adapter.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chainnode.ingest.context import IngestContext
from chainnode.ingest.errors import JsonError, without_value
from chainnode.ingest.fields import agent_value, date_value, only_keys, text_value
from chainnode.ingest.parsed import Agent, Amount, ParsedPayment, Party
from chainnode.ingest.references import check_certificate_number, check_reason, check_uetr
from ledger.currencies import exponent_of, minor_units
from ledger.payments import AgentRole, Channel, Side, Status
from ledger.payments_json import from_word, word
from ledger.times import parse_time
from primitives.errors import InputError
from primitives.ids import Hash

MESSAGE_TYPE = "json"
REMITTANCE_LENGTH_MAX = 10_000
REQUIRED = frozenset({"amount", "currency", "reference", "time"})
AGENT_KEYS = {role: word(role).replace("-", "_") for role in AgentRole}
OPTIONAL = frozenset(
    {"side", "status", "reason", "settlement_date", "uetr", "transaction_id", "channel", "terminal_certificate"}
    | {"debtor_name", "debtor_account", "creditor_name", "creditor_account", "remittance"}
    | set(AGENT_KEYS.values())
)
COLUMNS = REQUIRED | OPTIONAL


def plain_payment(value: Mapping[str, Any], context: IngestContext, digest: Hash, *, where: str) -> ParsedPayment:
    """Return the payment that named values tell (Any: what JSON gives); JsonError or InputError names the key."""
    only_keys(value, REQUIRED, OPTIONAL, where=where)
    try:
        return _payment(value, context, digest, where)
    except InputError as error:
        raise without_key_value(error, value, where) from None


def without_key_value(error: InputError, value: Mapping[str, Any], where: str) -> InputError:
    """Return the error without the value of the key that it is about."""
    key = (error.where or "").removeprefix(f"{where}: ")
    return without_value(error, value[key]) if key in value else error


def _payment(value: Mapping[str, Any], context: IngestContext, digest: Hash, where: str) -> ParsedPayment:
    def optional(key: str, length_max: int = 140) -> str:
        return text_value(value, key, where, length_max=length_max, empty=True)

    currency = text_value(value, "currency", where)
    exponent_of(currency, where=f"{where}: currency")
    amount = Amount(minor_units(text_value(value, "amount", where), currency, where=f"{where}: amount"), currency)
    reason, uetr, certificate = optional("reason"), optional("uetr"), optional("terminal_certificate")
    side, status = optional("side"), optional("status")
    return ParsedPayment(
        message_type=MESSAGE_TYPE,
        where=where,
        message_digest=digest,
        index=0,
        created_ms=parse_time(
            text_value(value, "time", where),
            where=f"{where}: time",
            default_offset_minutes=context.utc_offset_minutes,
        ),
        amount=amount,
        agents=_agents(value, where),
        end_to_end_id=text_value(value, "reference", where, length_max=35),
        uetr=check_uetr(uetr, where=f"{where}: uetr") if uetr else b"",
        transaction_id=optional("transaction_id", 35),
        settlement_date=date_value(value, "settlement_date", where),
        status=from_word(Status, status, where=f"{where}: status") if status else None,
        reason=check_reason(reason, where=f"{where}: reason") if reason else "",
        debtor=Party(optional("debtor_name"), optional("debtor_account")),
        creditor=Party(optional("creditor_name"), optional("creditor_account")),
        remittance=optional("remittance", REMITTANCE_LENGTH_MAX),
        channel=from_word(Channel, optional("channel") or "none", where=f"{where}: channel"),
        side=from_word(Side, side, where=f"{where}: side") if side else None,
        terminal_certificate=check_certificate_number(certificate, where=f"{where}: terminal_certificate")
        if certificate
        else "",
    )


def _agents(value: Mapping[str, Any], where: str) -> tuple[Agent, ...]:
    agents = tuple(agent_value(value, key, role, where) for role, key in AGENT_KEYS.items() if value.get(key))
    if not agents:
        raise JsonError(
            "no institution named", where=where, expected="debtor_agent, creditor_agent or another", got="none"
        )
    return agents
