"""What one transaction of each message type says: one function per type, from element to payments.

Entries of account reports (camt.054) are in `chainnode.ingest.iso20022_entries`. Elements are read and checked by
`chainnode.ingest.iso20022_fields`; messages as a whole are in `chainnode.ingest.iso20022`. A transaction's own
elements go before those of the group header, as the standard says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chainnode.ingest.errors import MessageError, shape_of
from chainnode.ingest.iso20022_fields import (
    EXTERNAL_CODE_LENGTH_MAX,
    line_of,
    optional_amount,
    optional_text,
    read_agents,
    read_amount,
    read_channel,
    read_date,
    read_institution,
    read_party,
    read_reason,
    read_remittance,
    read_time,
    read_uetr,
    reason_code,
    required,
    required_text,
)
from chainnode.ingest.iso20022_xml import Node
from chainnode.ingest.parsed import Agent, ParsedPayment, Party
from ledger.payments import AgentRole, Channel, Status
from primitives.ids import ZERO_HASH, TimeMs

_CHARGE_BEARERS = frozenset({"DEBT", "CRED", "SHAR", "SLEV"})
_SETTLEMENT_METHODS = frozenset({"INDA", "INGA", "COVE", "CLRG"})
_STATUSES = {
    "RCVD": Status.RECEIVED,
    "PDNG": Status.RECEIVED,
    "PATC": Status.RECEIVED,
    "ACTC": Status.ACCEPTED,
    "ACCP": Status.ACCEPTED,
    "ACSP": Status.ACCEPTED,
    "ACWC": Status.ACCEPTED,
    "ACWP": Status.ACCEPTED,
    "ACFC": Status.ACCEPTED,
    "ACIS": Status.ACCEPTED,
    "ACPD": Status.ACCEPTED,
    "PART": Status.ACCEPTED,
    "ACSC": Status.SETTLED,
    "ACCC": Status.SETTLED,
    "RJCT": Status.REJECTED,
    "BLCK": Status.REJECTED,
    "CANC": Status.REJECTED,
}
INTERMEDIARIES = (
    (AgentRole.INTERMEDIARY_1, "IntrmyAgt1"),
    (AgentRole.INTERMEDIARY_2, "IntrmyAgt2"),
    (AgentRole.INTERMEDIARY_3, "IntrmyAgt3"),
)


@dataclass(frozen=True, slots=True)
class GroupHeader:
    """What a message says for all of its transactions."""

    node: Node
    message_type: str
    message_id: str
    created_ms: TimeMs
    settlement_date: int
    instructing: Node | None
    instructed: Node | None
    channel: Channel
    sender: Agent | None
    receiver: Agent | None
    group_status: str


def read_group_header(
    root: Node, message_type: str, application_header: Node | None, *, settles: bool, offset_minutes: int
) -> GroupHeader:
    """Return a message's group header; `settles` asks for the settlement method that interbank transfers carry."""
    node = required(root, "GrpHdr")
    created = required(node, "CreDtTm")
    if settles:
        method = required_text(node, "SttlmInf", "SttlmMtd")
        one_of(method, _SETTLEMENT_METHODS, required(node, "SttlmInf"))
    sender, receiver = (
        None if application_header is None else read_institution(application_header.one(way, "FIId"), role)
        for way, role in (("Fr", AgentRole.INSTRUCTING_AGENT), ("To", AgentRole.INSTRUCTED_AGENT))
    )
    return GroupHeader(
        node=node,
        message_type=message_type,
        message_id=required_text(node, "MsgId"),
        created_ms=read_time(created, offset_minutes),
        settlement_date=read_date(node, "IntrBkSttlmDt"),
        instructing=node.one("InstgAgt"),
        instructed=node.one("InstdAgt"),
        channel=read_channel(node.one("SttlmInf")),
        sender=sender,
        receiver=receiver,
        group_status=root.text_at("OrgnlGrpInfAndSts", "GrpSts"),
    )


def credit_transfer(transaction: Node, _parents: list[Node], header: GroupHeader) -> list[ParsedPayment]:
    """Read one CdtTrfTxInf of a pacs.008."""
    for name in ("Dbtr", "DbtrAgt", "CdtrAgt", "Cdtr"):
        required(transaction, name)
    one_of(required_text(transaction, "ChrgBr"), _CHARGE_BEARERS, transaction)
    return [
        make_payment(
            header,
            transaction,
            **_transfer(transaction, header, debtor="DbtrAgt", creditor="CdtrAgt"),
            debtor=read_party(transaction, "Dbtr"),
            creditor=read_party(transaction, "Cdtr"),
        )
    ]


def institution_transfer(transaction: Node, _parents: list[Node], header: GroupHeader) -> list[ParsedPayment]:
    """Read one CdtTrfTxInf of a pacs.009, whose debtor and creditor are institutions themselves.

    One that covers a customer's payment (COV) tells that payment's parties and remittance beside its own.
    """
    for name in ("Dbtr", "Cdtr"):
        required(transaction, name)
    facts = _transfer(transaction, header, debtor="Dbtr", creditor="Cdtr")
    covered = transaction.one("UndrlygCstmrCdtTrf")
    told = transaction if covered is None else covered
    if covered is not None:
        facts["instructed_amount"] = optional_amount(covered, "InstdAmt")
    return [
        make_payment(
            header,
            transaction,
            **facts,
            debtor=read_party(told, "Dbtr"),
            creditor=read_party(told, "Cdtr"),
            remittance=read_remittance(told),
        )
    ]


def _transfer(transaction: Node, header: GroupHeader, *, debtor: str, creditor: str) -> dict[str, Any]:
    """Return what pacs.008 and pacs.009 share (Any: keyword arguments of several types)."""
    return {
        "amount": read_amount(required(transaction, "IntrBkSttlmAmt")),
        "instructed_amount": optional_amount(transaction, "InstdAmt"),
        "settlement_date": read_date(transaction, "IntrBkSttlmDt") or header.settlement_date,
        "end_to_end_id": required_text(transaction, "PmtId", "EndToEndId"),
        "transaction_id": optional_text(transaction, "PmtId", "TxId"),
        "uetr": read_uetr(transaction, "PmtId", "UETR"),
        "agents": read_agents(
            (AgentRole.DEBTOR_AGENT, transaction.one("DbtrAgt")),
            (AgentRole.DEBTOR_AGENT, transaction.one(debtor)),
            (AgentRole.CREDITOR_AGENT, transaction.one("CdtrAgt")),
            (AgentRole.CREDITOR_AGENT, transaction.one(creditor)),
            *_hop(transaction, header),
            *((role, transaction.one(name)) for role, name in INTERMEDIARIES),
        ),
    }


def _hop(transaction: Node, header: GroupHeader) -> tuple[tuple[AgentRole, Node | None], ...]:
    """Return where the two ends of this message's own hop are named."""
    return (
        (AgentRole.INSTRUCTING_AGENT, transaction.one("InstgAgt")),
        (AgentRole.INSTRUCTING_AGENT, header.instructing),
        (AgentRole.INSTRUCTED_AGENT, transaction.one("InstdAgt")),
        (AgentRole.INSTRUCTED_AGENT, header.instructed),
    )


def payment_return(transaction: Node, _parents: list[Node], header: GroupHeader) -> list[ParsedPayment]:
    """Read one TxInf of a pacs.004; debtor and creditor are those of the return, the references the original's."""
    chain = transaction.one("RtrChain")
    original = transaction.one("OrgnlTxRef")
    places: list[tuple[AgentRole, Node | None]] = []
    if chain is not None:
        places += [(AgentRole.DEBTOR_AGENT, chain.one("DbtrAgt")), (AgentRole.CREDITOR_AGENT, chain.one("CdtrAgt"))]
    elif original is not None:  # money goes back: who received it pays it
        places += [
            (AgentRole.DEBTOR_AGENT, original.one("CdtrAgt")),
            (AgentRole.CREDITOR_AGENT, original.one("DbtrAgt")),
        ]
    return [
        make_payment(
            header,
            transaction,
            **_original_references(transaction),
            amount=read_amount(required(transaction, "RtrdIntrBkSttlmAmt")),
            instructed_amount=optional_amount(transaction, "RtrdInstdAmt"),
            settlement_date=read_date(transaction, "IntrBkSttlmDt") or header.settlement_date,
            agents=read_agents(*places, *_hop(transaction, header)),
            status=Status.RETURNED,
            reason=_first_reason(transaction, "RtrRsnInf"),
            debtor=read_party(chain, "Dbtr") if chain is not None else _party_of(original, "Cdtr"),
            creditor=read_party(chain, "Cdtr") if chain is not None else _party_of(original, "Dbtr"),
        )
    ]


def _party_of(original: Node | None, name: str) -> Party:
    return read_party(original if original is not None else Node("", 0), name)


def status_report(transaction: Node, _parents: list[Node], header: GroupHeader) -> list[ParsedPayment]:
    """Read one TxInfAndSts of a pacs.002; it has no amount, and the references are the original payment's."""
    status, unknown = status_of(transaction.text_at("TxSts") or header.group_status, _STATUSES, transaction)
    original = transaction.one("OrgnlTxRef")
    places: list[tuple[AgentRole, Node | None]] = []
    if original is not None:
        places += [
            (AgentRole.DEBTOR_AGENT, original.one("DbtrAgt")),
            (AgentRole.CREDITOR_AGENT, original.one("CdtrAgt")),
        ]
    return [
        make_payment(
            header,
            transaction,
            **_original_references(transaction),
            amount=None,
            settlement_date=read_date(transaction, "FctvIntrBkSttlmDt", "Dt"),
            agents=read_agents(*places, *_hop(transaction, header)),
            status=status,
            reason=_first_reason(transaction, "StsRsnInf") or unknown,
        )
    ]


def status_of(code: str, known: Mapping[str, Status], node: Node) -> tuple[Status, str]:
    """Return what a status code says, and for one that is not known the reason that tells so.

    ISO's lists of such codes are external to the messages and grow. One that is new here says at least that the
    payment has arrived; the code itself is told as the reason, as far as it has the form of one.
    """
    status = known.get(code)
    if status is not None:
        return status, ""
    if not 1 <= len(code) <= EXTERNAL_CODE_LENGTH_MAX or not code.isascii() or not code.isalnum():
        expected = f"1 to {EXTERNAL_CODE_LENGTH_MAX} letters or digits such as {' '.join(known)}"
        raise MessageError("not a status code", where=line_of(node), expected=expected, got=f"{len(code)} characters")
    return Status.RECEIVED, reason_code(code)


def _original_references(transaction: Node) -> dict[str, Any]:  # Any: keyword arguments of several types
    references = {
        "end_to_end_id": optional_text(transaction, "OrgnlEndToEndId"),
        "transaction_id": optional_text(transaction, "OrgnlTxId"),
        "uetr": read_uetr(transaction, "OrgnlUETR"),
    }
    if not any(references.values()):
        expected = "OrgnlEndToEndId, OrgnlUETR or OrgnlTxId"
        raise MessageError("original payment not named", where=line_of(transaction), expected=expected, got="none")
    return references


def _first_reason(transaction: Node, name: str) -> str:
    reasons = transaction.all(name)
    return read_reason(reasons[0]) if reasons else ""


def initiation(transaction: Node, parents: list[Node], header: GroupHeader) -> list[ParsedPayment]:
    """Read one CdtTrfTxInf of a pain.001; its debtor stands in the payment information around it."""
    payment = parents[-1]
    required(transaction, "Amt")
    amount = transaction.one("Amt", "InstdAmt") or required(transaction, "Amt", "EqvtAmt", "Amt")
    requested = payment.one("ReqdExctnDt")
    day = 0
    if requested is not None and requested.one("DtTm") is None:
        day = read_date(requested, "Dt") if requested.children else read_date(payment, "ReqdExctnDt")
    return [
        make_payment(
            header,
            transaction,
            amount=read_amount(amount),
            settlement_date=day,
            end_to_end_id=required_text(transaction, "PmtId", "EndToEndId"),
            uetr=read_uetr(transaction, "PmtId", "UETR"),
            agents=read_agents(
                (AgentRole.DEBTOR_AGENT, required(payment, "DbtrAgt")),
                (AgentRole.CREDITOR_AGENT, transaction.one("CdtrAgt")),
                *((role, transaction.one(name)) for role, name in INTERMEDIARIES),
            ),
            status=Status.RECEIVED,
            debtor=read_party(payment, "Dbtr"),
            creditor=read_party(transaction, "Cdtr"),
        )
    ]


def make_payment(header: GroupHeader, node: Node, **facts: Any) -> ParsedPayment:
    """Return a payment with what the header says; digest and index are set at the message's end (Any: as above)."""
    return ParsedPayment(
        message_type=header.message_type,
        where=line_of(node),
        message_digest=ZERO_HASH,
        index=0,
        created_ms=header.created_ms,
        message_id=header.message_id,
        channel=header.channel,
        sender=header.sender,
        receiver=header.receiver,
        **({"remittance": read_remittance(node)} | facts),
    )


def one_of(word: str, known: Any, node: Node) -> None:  # Any: a set or a mapping of words
    if word not in known:
        raise MessageError("unknown code", where=line_of(node), expected=" ".join(sorted(known)), got=shape_of(word))
