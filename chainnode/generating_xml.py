"""ISO 20022 messages about generated payments, as text.

A message is of one kind, channel and currency. Not here: which payments there are (`chainnode.generating`), and which
of them go into one message (`chainnode.generating_files`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from xml.sax.saxutils import escape

from chainnode.generating import INSTITUTIONS, NOTICE, ORDER, REPORT, RETURN, TRANSFER
from chainnode.ingest.parsed import Amount, ParsedPayment, Party
from ledger.currencies import decimal_text
from ledger.payments import AgentRole, Status, date_text, uetr_text
from ledger.times import format_time

_ROOTS: Final = {
    TRANSFER: "FIToFICstmrCdtTrf",
    INSTITUTIONS: "FICdtTrf",
    REPORT: "FIToFIPmtStsRpt",
    RETURN: "PmtRtr",
    ORDER: "CstmrCdtTrfInitn",
    NOTICE: "BkToCstmrDbtCdtNtfctn",
}
_SETTLING: Final = frozenset({TRANSFER, INSTITUTIONS, RETURN})
_REPORTED: Final = {Status.SETTLED: "ACSC", Status.REJECTED: "RJCT"}


def message_of(kind: str, message_id: str, channel: str, payments: list[ParsedPayment]) -> Iterator[str]:
    """Yield the parts of a message of these transactions, which a clearing system settles."""
    yield '<?xml version="1.0" encoding="UTF-8"?>\n'
    yield f'<Document xmlns="urn:iso:std:iso:20022:tech:xsd:{kind}"><{_ROOTS[kind]}><GrpHdr>'
    yield f"<MsgId>{message_id}</MsgId><CreDtTm>{format_time(payments[-1].created_ms)}</CreDtTm>"
    if kind in _SETTLING:
        system = f"<ClrSys><Prtry>{channel.partition('-')[0]}</Prtry></ClrSys>"
        yield f"<NbOfTxs>{len(payments)}</NbOfTxs><SttlmInf><SttlmMtd>CLRG</SttlmMtd>{system}</SttlmInf>"
    elif kind == ORDER:
        yield f"<NbOfTxs>{len(payments)}</NbOfTxs><InitgPty><Nm>Customers' orders</Nm></InitgPty>"
    yield "</GrpHdr>\n"
    render = _RENDERED[kind]
    for payment in payments:
        yield render(payment)
    yield f"</{_ROOTS[kind]}></Document>\n"


def _transfer(payment: ParsedPayment) -> str:
    assert payment.amount is not None, "transfers have amounts"
    instructed = payment.instructed_amount
    return (
        f"<CdtTrfTxInf><PmtId><EndToEndId>{payment.end_to_end_id}</EndToEndId>"
        f"<TxId>{payment.end_to_end_id}</TxId><UETR>{uetr_text(payment.uetr)}</UETR></PmtId>"
        f"{_amount('IntrBkSttlmAmt', payment.amount)}"
        f"<IntrBkSttlmDt>{date_text(payment.settlement_date)}</IntrBkSttlmDt>"
        f"{_amount('InstdAmt', instructed) if instructed is not None else ''}"
        f"<ChrgBr>{'SHAR' if instructed is not None else 'SLEV'}</ChrgBr>"
        f"{_agent(payment, 'InstgAgt', AgentRole.INSTRUCTING_AGENT)}"
        f"{_agent(payment, 'InstdAgt', AgentRole.INSTRUCTED_AGENT)}"
        f"{_party('Dbtr', payment.debtor)}{_agent(payment, 'DbtrAgt', AgentRole.DEBTOR_AGENT)}"
        f"{_agent(payment, 'CdtrAgt', AgentRole.CREDITOR_AGENT)}{_party('Cdtr', payment.creditor)}</CdtTrfTxInf>\n"
    )


def _between_institutions(payment: ParsedPayment) -> str:
    assert payment.amount is not None, "transfers have amounts"
    return (
        f"<CdtTrfTxInf><PmtId><InstrId>{payment.end_to_end_id}</InstrId><EndToEndId>{payment.end_to_end_id}</EndToEndId>"
        f"<TxId>{payment.end_to_end_id}</TxId><UETR>{uetr_text(payment.uetr)}</UETR></PmtId>"
        f"{_amount('IntrBkSttlmAmt', payment.amount)}"
        f"<IntrBkSttlmDt>{date_text(payment.settlement_date)}</IntrBkSttlmDt>"
        f"{_agent(payment, 'InstgAgt', AgentRole.INSTRUCTING_AGENT)}"
        f"{_agent(payment, 'InstdAgt', AgentRole.INSTRUCTED_AGENT)}"
        f"{_agent(payment, 'Dbtr', AgentRole.DEBTOR_AGENT)}{_account('DbtrAcct', payment.debtor)}"
        f"{_agent(payment, 'Cdtr', AgentRole.CREDITOR_AGENT)}{_account('CdtrAcct', payment.creditor)}</CdtTrfTxInf>\n"
    )


def _order(payment: ParsedPayment) -> str:
    assert payment.amount is not None, "orders have amounts"
    return (
        f"<PmtInf><PmtInfId>{payment.end_to_end_id}</PmtInfId><PmtMtd>TRF</PmtMtd><NbOfTxs>1</NbOfTxs>"
        f"<ReqdExctnDt><Dt>{date_text(payment.settlement_date)}</Dt></ReqdExctnDt>"
        f"{_party('Dbtr', payment.debtor)}{_agent(payment, 'DbtrAgt', AgentRole.DEBTOR_AGENT)}"
        f"<CdtTrfTxInf><PmtId><EndToEndId>{payment.end_to_end_id}</EndToEndId>"
        f"<UETR>{uetr_text(payment.uetr)}</UETR></PmtId><Amt>{_amount('InstdAmt', payment.amount)}</Amt>"
        f"{_agent(payment, 'CdtrAgt', AgentRole.CREDITOR_AGENT)}{_party('Cdtr', payment.creditor)}"
        "</CdtTrfTxInf></PmtInf>\n"
    )


def _notice(payment: ParsedPayment) -> str:
    assert payment.amount is not None, "notices have amounts"
    agents = "".join(
        _agent(payment, name, role)
        for name, role in (
            ("InstgAgt", AgentRole.INSTRUCTING_AGENT),
            ("InstdAgt", AgentRole.INSTRUCTED_AGENT),
            ("DbtrAgt", AgentRole.DEBTOR_AGENT),
            ("CdtrAgt", AgentRole.CREDITOR_AGENT),
        )
    )
    amount = _amount("Amt", payment.amount)
    return (
        f"<Ntfctn><Id>{payment.end_to_end_id}</Id>{_account('Acct', payment.creditor)}"
        f"<Ntry>{amount}<CdtDbtInd>CRDT</CdtDbtInd><Sts><Cd>BOOK</Cd></Sts><NtryDtls><TxDtls>"
        f"<Refs><EndToEndId>{payment.end_to_end_id}</EndToEndId><UETR>{uetr_text(payment.uetr)}</UETR></Refs>"
        f"{amount}<CdtDbtInd>CRDT</CdtDbtInd><RltdPties>{_parties_of_entry(payment)}</RltdPties>"
        f"<RltdAgts>{agents}</RltdAgts>"
        f"<RltdDts><IntrBkSttlmDt>{date_text(payment.settlement_date)}</IntrBkSttlmDt></RltdDts>"
        "</TxDtls></NtryDtls></Ntry></Ntfctn>\n"
    )


def _parties_of_entry(payment: ParsedPayment) -> str:
    return "".join(
        f"<{name}><Pty><Nm>{escape(party.name)}</Nm></Pty></{name}>{_account(f'{name}Acct', party)}"
        for name, party in (("Dbtr", payment.debtor), ("Cdtr", payment.creditor))
    )


def _report(payment: ParsedPayment) -> str:
    assert payment.status is not None, "reports say how far a payment is"
    return (
        f"<TxInfAndSts><OrgnlEndToEndId>{payment.end_to_end_id}</OrgnlEndToEndId>"
        f"<OrgnlUETR>{uetr_text(payment.uetr)}</OrgnlUETR><TxSts>{_REPORTED[payment.status]}</TxSts>"
        f"{_reason('StsRsnInf', payment)}{_agent(payment, 'InstgAgt', AgentRole.INSTRUCTING_AGENT)}"
        f"{_agent(payment, 'InstdAgt', AgentRole.INSTRUCTED_AGENT)}</TxInfAndSts>\n"
    )


def _return(payment: ParsedPayment) -> str:
    assert payment.amount is not None, "returns have amounts"
    return (
        f"<TxInf><OrgnlEndToEndId>{payment.end_to_end_id}</OrgnlEndToEndId>"
        f"<OrgnlUETR>{uetr_text(payment.uetr)}</OrgnlUETR>{_amount('RtrdIntrBkSttlmAmt', payment.amount)}"
        f"<IntrBkSttlmDt>{date_text(payment.settlement_date)}</IntrBkSttlmDt>"
        f"{_agent(payment, 'InstgAgt', AgentRole.INSTRUCTING_AGENT)}"
        f"{_agent(payment, 'InstdAgt', AgentRole.INSTRUCTED_AGENT)}{_reason('RtrRsnInf', payment)}</TxInf>\n"
    )


def _amount(name: str, amount: Amount) -> str:
    return f'<{name} Ccy="{amount.currency}">{decimal_text(amount.minor, amount.currency)}</{name}>'


def _agent(payment: ParsedPayment, name: str, role: AgentRole) -> str:
    agent = payment.agent(role)
    if agent is None:
        return ""
    return f"<{name}><FinInstnId><BICFI>{agent.code}</BICFI></FinInstnId></{name}>"


def _party(name: str, party: Party) -> str:
    return f"<{name}><Nm>{escape(party.name)}</Nm></{name}>{_account(f'{name}Acct', party)}"


def _account(name: str, party: Party) -> str:
    return f"<{name}><Id><Othr><Id>{party.account}</Id></Othr></Id></{name}>"


def _reason(name: str, payment: ParsedPayment) -> str:
    return f"<{name}><Rsn><Cd>{payment.reason}</Cd></Rsn></{name}>" if payment.reason else ""


_RENDERED: Final = {
    TRANSFER: _transfer,
    INSTITUTIONS: _between_institutions,
    REPORT: _report,
    RETURN: _return,
    ORDER: _order,
    NOTICE: _notice,
}
