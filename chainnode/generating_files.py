"""The files that banks would have of a day of traffic: ISO 20022 messages and JSON lines, a directory for each bank.

    DIR/bank-a/20261123T08-hvps-cny-pacs008-sent-1.xml   what went out in that hour, or came in (`received`)
    DIR/bank-a/20261123T08-retail.jsonl                  payments by QR, app, card and at machines
    DIR/answers.jsonl                                    the seeded discrepancies, one a line
    DIR/summary.json                                     what was made

Names ascend with time; what is told on a later day stands in files of that day. Held at once is an hour of messages, of
each file some thousand. Not here: the traffic (`chainnode.generating`).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape

from msgspec import to_builtins

from chainnode.generating import LINE, REPORT, RETURN, TRANSFER, Answer, Plan, Told, Traffic
from chainnode.ingest.parsed import Amount, ParsedPayment, Party
from ledger.currencies import decimal_text
from ledger.payments import AgentRole, Status, date_text, uetr_text
from ledger.payments_json import word
from ledger.times import format_time
from primitives.errors import UsageError

TRANSACTIONS_A_FILE_MAX: Final = 5_000
LINES_HELD_MAX: Final = 5_000
HOUR_MS: Final = 3_600_000
ANSWERS: Final = "answers.jsonl"
SUMMARY: Final = "summary.json"
_KINDS: Final = {TRANSFER: "pacs008", REPORT: "pacs002", RETURN: "pacs004"}
_ROOTS: Final = {TRANSFER: "FIToFICstmrCdtTrf", REPORT: "FIToFIPmtStsRpt", RETURN: "PmtRtr"}
_REPORTED: Final = {Status.SETTLED: "ACSC", Status.REJECTED: "RJCT"}

Name = tuple[str, str, str, str]
"""Bank, kind of message, channel and currency, sent or received; of lines the bank alone."""


@dataclass
class Made:
    """What was written."""

    payments: int = 0
    statements: int = 0
    files: int = 0
    seeded: dict[str, int] = field(default_factory=dict)


def write_day(plan: Plan, directory: Path, advance: Callable[[int], None] = lambda _: None) -> Made:
    """Write a day's files into a new or empty directory; `advance` is told how many payments there are so far.

    Raises UsageError for a plan out of bounds or a directory in use.
    """
    traffic = Traffic(plan)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise UsageError("directory in use", expected="a new or empty directory", got=str(directory))
    for bank in plan.names:
        (directory / bank).mkdir(parents=True, exist_ok=True)
    writer, made = _Writer(directory), Made()
    with (directory / ANSWERS).open("w") as answers:
        for told in traffic.statements():
            made.statements += 1
            writer.add(told)
            if told.answer is not None:
                answers.write(json.dumps(answer_to_json(told.answer)) + "\n")
            if not made.statements % 1_000:
                advance(traffic.made_payments)
    writer.flush()
    made.payments, made.files, made.seeded = traffic.made_payments, writer.files, {**traffic.seeded}
    text = json.dumps({"day": plan.day.isoformat(), "banks": plan.names, "seed": plan.seed, **to_builtins(made)})
    (directory / SUMMARY).write_text(text + "\n")
    advance(made.payments)
    return made


def answer_to_json(answer: Answer) -> dict[str, Any]:  # Any: JSON
    """Return a discrepancy as a line of the answer key has it."""
    found: dict[str, Any] = to_builtins(answer)
    return found


class _Writer:
    """Gathers messages by file, and writes each hour's when it is over."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._hour = 0
        self._held: dict[Name, list[Told]] = defaultdict(list)
        self._parts: dict[Name, int] = defaultdict(int)
        self._lines: set[Path] = set()
        self.files = 0

    def add(self, told: Told) -> None:
        """Take a statement; they come in the order of time."""
        hour = told.time_ms // HOUR_MS
        if hour != self._hour:
            self.flush()
            self._hour = hour
        kind = told.payment.message_type
        way = "sent" if told.is_sent else "received"
        name = (told.bank, kind, *(("", "") if kind == LINE else (_system(told.payment), way)))
        held = self._held[name]
        held.append(told)
        if len(held) >= (LINES_HELD_MAX if kind == LINE else TRANSACTIONS_A_FILE_MAX):
            self._write(name, self._held.pop(name))

    def flush(self) -> None:
        """Write what is held."""
        for name in sorted(self._held):
            self._write(name, self._held[name])
        self._held.clear()
        self._parts.clear()
        self._lines.clear()

    def _write(self, name: Name, told: list[Told]) -> None:
        bank, kind, channel, way = name
        at = datetime.fromtimestamp(self._hour * HOUR_MS // 1_000, UTC).strftime("%Y%m%dT%H")
        if kind == LINE:
            path = self._directory / bank / f"{at}-retail.jsonl"
            self.files += path not in self._lines
            self._lines.add(path)
            with path.open("a") as file:
                file.writelines(json.dumps(line_of(one.payment)) + "\n" for one in told)
            return
        self._parts[name] += 1
        self.files += 1
        path = self._directory / bank / f"{at}-{channel.lower()}-{_KINDS[kind]}-{way}-{self._parts[name]}.xml"
        message_id = f"{bank}-{at}-{channel}{_KINDS[kind][-3:]}{way[0]}{self._parts[name]}"
        path.write_text("".join(message_of(kind, message_id, channel, [one.payment for one in told])))


def _system(payment: ParsedPayment) -> str:
    """Return what has messages of its own: a channel, and a currency where there are amounts."""
    return payment.channel.name + (f"-{payment.amount.currency}" if payment.amount is not None else "")


def line_of(payment: ParsedPayment) -> dict[str, Any]:  # Any: JSON
    """Return a payment as a JSON line has it."""
    assert payment.amount is not None, "lines have amounts"
    assert payment.side is not None, "the generator says who stands where"
    values = {
        "side": word(payment.side),
        "status": word(payment.status) if payment.status is not None else "",
        "reason": payment.reason,
        "amount": decimal_text(payment.amount.minor, payment.amount.currency),
        "currency": payment.amount.currency,
        "reference": payment.end_to_end_id,
        "time": format_time(payment.created_ms),
        "settlement_date": date_text(payment.settlement_date),
        "channel": word(payment.channel),
        **{word(agent.role).replace("-", "_"): agent.code for agent in payment.agents},
        "debtor_name": payment.debtor.name,
        "debtor_account": payment.debtor.account,
        "creditor_name": payment.creditor.name,
        "creditor_account": payment.creditor.account,
    }
    return {"payment": {name: value for name, value in values.items() if value}}


def message_of(kind: str, message_id: str, channel: str, payments: list[ParsedPayment]) -> Iterator[str]:
    """Yield the parts of a message of these transactions, which a clearing system settles."""
    yield '<?xml version="1.0" encoding="UTF-8"?>\n'
    yield f'<Document xmlns="urn:iso:std:iso:20022:tech:xsd:{kind}"><{_ROOTS[kind]}><GrpHdr>'
    yield f"<MsgId>{message_id}</MsgId><CreDtTm>{format_time(payments[-1].created_ms)}</CreDtTm>"
    if kind != REPORT:
        system = f"<ClrSys><Prtry>{channel.partition('-')[0]}</Prtry></ClrSys>"
        yield f"<NbOfTxs>{len(payments)}</NbOfTxs><SttlmInf><SttlmMtd>CLRG</SttlmMtd>{system}</SttlmInf>"
    yield "</GrpHdr>\n"
    render = {TRANSFER: _transfer, REPORT: _report, RETURN: _return}[kind]
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
    account = f"<{name}Acct><Id><Othr><Id>{party.account}</Id></Othr></Id></{name}Acct>"
    return f"<{name}><Nm>{escape(party.name)}</Nm></{name}>{account}"


def _reason(name: str, payment: ParsedPayment) -> str:
    return f"<{name}><Rsn><Cd>{payment.reason}</Cd></Rsn></{name}>" if payment.reason else ""
