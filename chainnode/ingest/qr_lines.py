"""A QR payment as a JSON object: the payload that was scanned, and what the code itself cannot tell.

    {"payload": "000201...", "reporter": "bank-b", "side": "acquirer", "debtor_agent": "BKAACNBJXXX",
     "time": "2026-04-13T10:30:00+08:00", "reference": "QR-0001", "amount": "12.50"}

`amount` stands only where the code has none; `creditor_agent`, `settlement_date`, `status`, `terminal_certificate`
and `debtor_account` may be added. Side, time and agents are the reporter's word. Source: domain §4.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chainnode.ingest.context import IngestContext
from chainnode.ingest.emvqr import QrCode, parse_qr
from chainnode.ingest.errors import JsonError, NotAPartyError, QrError, shape_of
from chainnode.ingest.fields import agent_value, date_value, only_keys, text_value
from chainnode.ingest.parsed import NOBODY, Agent, Amount, ParsedPayment, Party
from chainnode.ingest.payment_lines import without_key_value
from chainnode.ingest.references import check_certificate_number, same_code
from ledger.currencies import minor_units
from ledger.payments import AgentRole, Channel, Side, Status
from ledger.payments_json import from_word
from ledger.times import parse_time
from primitives.errors import InputError
from primitives.ids import Hash

MESSAGE_TYPE = "emv.qr"
REQUIRED = frozenset({"payload", "reporter", "side", "debtor_agent", "time", "reference"})
OPTIONAL = frozenset(
    {"amount", "creditor_agent", "settlement_date", "status", "terminal_certificate", "debtor_account"}
)
_OWN_ROLES = {
    Side.DEBTOR: AgentRole.DEBTOR_AGENT,
    Side.ISSUER: AgentRole.ISSUER,
    Side.CREDITOR: AgentRole.CREDITOR_AGENT,
    Side.ACQUIRER: AgentRole.ACQUIRER,
}


def qr_payment(value: Mapping[str, Any], context: IngestContext, digest: Hash, *, where: str) -> ParsedPayment:
    """Return the payment that one JSON object tells (Any: what JSON gives); `digest` is that of its source bytes.

    Raises JsonError for keys and values, QrError for the payload, NotAPartyError where the reporter is somebody else.
    """
    only_keys(value, REQUIRED, OPTIONAL, where=where)
    try:
        return _payment(value, context, digest, where)
    except (NotAPartyError, QrError):
        raise
    except InputError as error:
        raise without_key_value(error, value, where) from None


def _payment(value: Mapping[str, Any], context: IngestContext, digest: Hash, where: str) -> ParsedPayment:
    code = parse_qr(text_value(value, "payload", where, length_max=4096), where=f"{where}: payload")
    side = from_word(Side, value["side"], where=f"{where}: side")
    _check_reporter(text_value(value, "reporter", where), context, where)
    created_ms = parse_time(
        text_value(value, "time", where),
        where=f"{where}: time",
        default_offset_minutes=context.utc_offset_minutes,
    )
    certificate = (
        text_value(value, "terminal_certificate", where, empty=True) if "terminal_certificate" in value else ""
    )
    status = text_value(value, "status", where, empty=True) if "status" in value else ""
    account = text_value(value, "debtor_account", where, empty=True) if "debtor_account" in value else ""
    return ParsedPayment(
        message_type=MESSAGE_TYPE,
        where=where,
        message_digest=digest,
        index=0,
        created_ms=created_ms,
        amount=_amount(code, value, where),
        agents=_agents(value, side, context, where),
        end_to_end_id=text_value(value, "reference", where, length_max=35),
        settlement_date=date_value(value, "settlement_date", where),
        status=from_word(Status, status, where=f"{where}: status") if status else Status.ACCEPTED,
        debtor=Party(account=account) if account else NOBODY,
        creditor=Party(name=code.merchant_name, account=_merchant_account(code)),
        channel=Channel.QR,
        side=side,
        terminal_certificate=check_certificate_number(certificate, where=f"{where}: terminal_certificate")
        if certificate
        else "",
    )


def _check_reporter(reporter: str, context: IngestContext, where: str) -> None:
    own = context.reporter
    if reporter != own.member and same_code(reporter) not in own.codes:
        named = reporter if reporter in context.directory.values() else context.directory.get(same_code(reporter))
        hint = None if named is None else f"submit it at the node of {named}"
        raise NotAPartyError(
            "another member reports", where=f"{where}: reporter", expected=own.member, got=shape_of(reporter), hint=hint
        )


def _amount(code: QrCode, value: Mapping[str, Any], where: str) -> Amount:
    """Return the amount of the code, or where it has none that beside it; an amount given twice must agree."""
    given = text_value(value, "amount", where, empty=True) if "amount" in value else ""
    if not given and code.amount_minor is None:
        raise JsonError("amount missing", where=where, expected="amount, as the code has none", got="none")
    minor = minor_units(given, code.currency, where=f"{where}: amount") if given else code.amount_minor
    if minor is None or (code.amount_minor is not None and code.amount_minor != minor):
        raise JsonError(
            "amount is not the code's", where=f"{where}: amount", expected="the amount of the payload", got="another"
        )
    if minor == 0:
        raise JsonError("amount is zero", where=f"{where}: amount", expected="an amount above zero", got=given)
    return Amount(minor, code.currency)


def _agents(value: Mapping[str, Any], side: Side, context: IngestContext, where: str) -> tuple[Agent, ...]:
    """Return payer's bank, merchant's bank where it is named, and the reporter in the role of its side."""
    debtor = agent_value(value, "debtor_agent", AgentRole.DEBTOR_AGENT, where)
    creditor = None
    if "creditor_agent" in value:
        creditor = agent_value(value, "creditor_agent", AgentRole.CREDITOR_AGENT, where)
    found = (debtor,) if creditor is None else (debtor, creditor)
    own_role, reporter = _OWN_ROLES.get(side), context.reporter
    own = debtor if own_role is AgentRole.DEBTOR_AGENT else creditor if own_role is AgentRole.CREDITOR_AGENT else None
    if own is not None and not reporter.is_agent(own):
        expected = ", ".join(sorted(reporter.codes))
        hint = context.who_could((own,))
        raise NotAPartyError(
            "side is another bank's", where=f"{where}: side", expected=expected, got=own.code, hint=hint
        )
    if own_role is None or own is not None or not reporter.codes:
        return found
    named = same_code(text_value(value, "reporter", where))
    added = {"own": named if named in reporter.codes else min(reporter.codes)}
    # Roles ascend: that of the merchant's bank stands between, those of acquirer and issuer after.
    return (*found, agent_value(added, "own", own_role, where))


def _merchant_account(code: QrCode) -> str:
    """Return all merchant accounts of the code in one text, for its commitment."""
    accounts = code.merchant_accounts
    return " ".join([f"{number}:{accounts[number]}" for number in sorted(accounts)])
