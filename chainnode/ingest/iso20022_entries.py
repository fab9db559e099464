"""What an entry of a camt.054 says: the payments of its transaction details, or of itself where it has none.

A batch that names its transactions gives a payment for each and must count and sum up to them; one that does not is
one payment. Returns carry their reason, reversals say so, and both keep the references of the payment that they undo,
so that they meet it under the same key. Source: ISO 20022 camt.054, CBPR+ usage guidelines.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chainnode.ingest.errors import MessageError
from chainnode.ingest.iso20022_fields import (
    line_of,
    optional_amount,
    optional_text,
    read_agents,
    read_amount,
    read_date,
    read_party,
    read_reason,
    read_uetr,
    required,
    required_text,
)
from chainnode.ingest.iso20022_types import INTERMEDIARIES, GroupHeader, make_payment, one_of, status_of
from chainnode.ingest.iso20022_xml import Node
from chainnode.ingest.parsed import Amount, Direction, ParsedPayment
from ledger.payments import AgentRole, Status

_STATUSES = {
    "BOOK": Status.SETTLED,
    "PDNG": Status.ACCEPTED,
    "FUTR": Status.ACCEPTED,
    "INFO": Status.RECEIVED,
}
_DIRECTIONS = {"CRDT": Direction.CREDIT, "DBIT": Direction.DEBIT}
_UNDONE = {Direction.CREDIT: Direction.DEBIT, Direction.DEBIT: Direction.CREDIT}
_YES = ("true", "1")
_NOTHING = Node("", 0)


def entry_amounts(entry: Node, _payments: Sequence[ParsedPayment]) -> list[Amount]:
    """Return the amount by which an entry counts in its account's sum."""
    return [read_amount(required(entry, "Amt"))]


def account_entries(entry: Node, parents: list[Node], header: GroupHeader) -> list[ParsedPayment]:
    """Read one Ntry of a camt.054: a payment for each of its transaction details, or for itself where it has none."""
    groups = entry.all("NtryDtls")
    details = [one for group in groups for one in group.all("TxDtls")]
    total = read_amount(required(entry, "Amt"))
    word = required_text(entry, "CdtDbtInd")
    one_of(word, _DIRECTIONS, entry)
    status, unknown = status_of(entry.text_at("Sts", "Cd") or entry.text_at("Sts"), _STATUSES, entry)
    reversed_entry = entry.text_at("RvslInd") in _YES
    servicer = parents[-1].one("Acct", "Svcr")
    payments = []
    for detail in details or [entry]:
        amount = _amount_of(detail, total, alone=len(details) < 2)
        # A reversal of a debit is booked as a credit: the side is that of the payment which it undoes.
        booked = _DIRECTIONS.get(detail.text_at("CdtDbtInd"), _DIRECTIONS[word])
        returned = detail.one("RtrInf")
        payments.append(
            _entry_payment(
                header,
                detail,
                servicer,
                amount=amount,
                status=Status.REVERSED if reversed_entry else status if returned is None else Status.RETURNED,
                reason=read_reason(returned) or unknown,
                direction=_UNDONE[booked] if reversed_entry else booked,
            )
        )
    for group in groups:
        _check_batch(group, [_amount_of(one, total, alone=len(details) < 2) for one in group.all("TxDtls")])
    return payments


def _amount_of(detail: Node, total: Amount, *, alone: bool) -> Amount:
    own = optional_amount(detail, "Amt")
    if own is not None:
        return own
    return total if alone else read_amount(required(detail, "AmtDtls", "TxAmt", "Amt"))


def _check_batch(group: Node, amounts: list[Amount]) -> None:
    """Raise MessageError where a batch names its transactions, and they are not as many or not of the sum it says."""
    batch = group.one("Btch")
    if batch is None or not amounts:
        return
    number = batch.one("NbOfTxs")
    if number is not None and number.text.strip().lstrip("0") != str(len(amounts)):
        expected = f"{len(amounts)}, as many as its TxDtls"
        raise MessageError("count of a batch does not agree", where=line_of(number), expected=expected, got="another")
    total = optional_amount(batch, "TtlAmt")
    if total is not None and (
        any(amount.currency != total.currency for amount in amounts)
        or sum(amount.minor for amount in amounts) != total.minor
    ):
        expected = "the sum of its TxDtls, in their currency"
        raise MessageError("total of a batch does not agree", where=line_of(batch), expected=expected, got="another")


def _entry_payment(header: GroupHeader, detail: Node, servicer: Node | None, **facts: Any) -> ParsedPayment:
    """Return the payment of one transaction detail (Any: keyword arguments of several types)."""
    agents, parties = detail.one("RltdAgts") or _NOTHING, detail.one("RltdPties") or _NOTHING
    serviced = AgentRole.CREDITOR_AGENT if facts["direction"] is Direction.CREDIT else AgentRole.DEBTOR_AGENT
    return make_payment(
        header,
        detail,
        settlement_date=read_date(detail, "RltdDts", "IntrBkSttlmDt"),
        end_to_end_id=optional_text(detail, "Refs", "EndToEndId"),
        transaction_id=optional_text(detail, "Refs", "TxId") or optional_text(detail, "Refs", "AcctSvcrRef"),
        uetr=read_uetr(detail, "Refs", "UETR"),
        agents=read_agents(
            (AgentRole.DEBTOR_AGENT, agents.one("DbtrAgt")),
            (AgentRole.CREDITOR_AGENT, agents.one("CdtrAgt")),
            (serviced, servicer),
            (AgentRole.INSTRUCTING_AGENT, agents.one("InstgAgt")),
            (AgentRole.INSTRUCTED_AGENT, agents.one("InstdAgt")),
            *((role, agents.one(name)) for role, name in INTERMEDIARIES),
        ),
        debtor=read_party(parties, "Dbtr"),
        creditor=read_party(parties, "Cdtr"),
        **facts,
    )
