"""The files that banks would have of a day of traffic: each channel's own messages, a directory for each bank.

    DIR/bank-a/20261123T08-hvps-cny-pacs008-sent-1.xml   what went out in that hour, or came in (`received`)
    DIR/bank-a/20261123T08-cards.iso8583                 card payments and cash machines
    DIR/bank-a/20261123T08-qr.jsonl                      payments by QR, with the code that was scanned
    DIR/bank-a/20261123T08-app.jsonl                     payments by app, as plain values
    DIR/answers.jsonl                                    the seeded discrepancies, one a line
    DIR/summary.json                                     what was made

Names ascend with time; what is told on a later day stands in files of that day. Held at once is an hour of messages, of
each file some thousand. Not here: the traffic (`chainnode.generating`), messages (`chainnode.generating_xml`,
`chainnode.generating_cards`).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from msgspec import to_builtins

from chainnode.generating import LINE, QR, Answer, Plan, Told, Traffic
from chainnode.generating_cards import CARD, card_frame
from chainnode.generating_xml import message_of
from chainnode.ingest.emvqr import build_qr
from chainnode.ingest.parsed import ParsedPayment
from chainnode.localnet import bank_agents
from chainnode.localnet_cards import institution_code
from ledger.currencies import decimal_text
from ledger.payments import AgentRole, date_text, uetr_text
from ledger.payments_json import word
from ledger.times import format_time
from primitives.errors import UsageError

TRANSACTIONS_A_FILE_MAX: Final = 5_000
LINES_HELD_MAX: Final = 5_000
HOUR_MS: Final = 3_600_000
ANSWERS: Final = "answers.jsonl"
SUMMARY: Final = "summary.json"
_APPENDED: Final = {LINE: "app.jsonl", QR: "qr.jsonl", CARD: "cards.iso8583"}
"""What is written message after message, into a file for each hour."""

Name = tuple[str, str, str, str]
"""Bank, kind of message, channel and currency, sent or received; of what is appended bank and kind alone."""


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
        (directory / bank).mkdir(mode=0o700, parents=True)  # as a drop folder has to be
    writer, made = _Writer(directory, plan), Made()
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

    def __init__(self, directory: Path, plan: Plan) -> None:
        self._directory = directory
        self._institutions = {bank_agents(index)[0]: institution_code(index) for index in range(plan.banks)}
        self._hour = 0
        self._held: dict[Name, list[Told]] = defaultdict(list)
        self._parts: dict[Name, int] = defaultdict(int)
        self._appended: set[Path] = set()
        self.files = 0

    def add(self, told: Told) -> None:
        """Take a statement; they come in the order of time."""
        hour = told.time_ms // HOUR_MS
        if hour != self._hour:
            self.flush()
            self._hour = hour
        kind = CARD if told.payment.message_type.startswith(CARD) else told.payment.message_type
        way = "sent" if told.is_sent else "received"
        name = (told.bank, kind, *(("", "") if kind in _APPENDED else (_system(told), way)))
        held = self._held[name]
        held.append(told)
        if len(held) >= (LINES_HELD_MAX if kind in _APPENDED else TRANSACTIONS_A_FILE_MAX):
            self._write(name, self._held.pop(name))

    def flush(self) -> None:
        """Write what is held."""
        for name in sorted(self._held):
            self._write(name, self._held[name])
        self._held.clear()
        self._parts.clear()
        self._appended.clear()

    def _write(self, name: Name, told: list[Told]) -> None:
        bank, kind, channel, way = name
        at = datetime.fromtimestamp(self._hour * HOUR_MS // 1_000, UTC).strftime("%Y%m%dT%H")
        if kind in _APPENDED:
            path = self._directory / bank / f"{at}-{_APPENDED[kind]}"
            self.files += path not in self._appended
            self._appended.add(path)
            with path.open("ab") as file:
                file.writelines(self._written(kind, one) for one in told)
            return
        self._parts[name] += 1
        self.files += 1
        short = kind[:8].replace(".", "")
        path = self._directory / bank / f"{at}-{channel.lower()}-{short}-{way}-{self._parts[name]}.xml"
        message_id = f"{bank}-{at}-{channel}{short[-3:]}{way[0]}{self._parts[name]}"
        path.write_text("".join(message_of(kind, message_id, channel, [one.payment for one in told])))

    def _written(self, kind: str, told: Told) -> bytes:
        if kind == CARD:
            return card_frame(told.payment, self._institutions)
        line = qr_line_of(told.payment, told.bank) if kind == QR else line_of(told.payment)
        return json.dumps(line).encode() + b"\n"


def _system(told: Told) -> str:
    """Return what has messages of its own: a channel, and a currency where there are amounts."""
    amount = told.payment.amount
    return told.channel.name + (f"-{amount.currency}" if amount is not None else "")


def qr_line_of(payment: ParsedPayment, reporter: str) -> dict[str, str]:
    """Return a QR payment as a JSON line has it, with the code that was scanned."""
    assert payment.amount is not None, "QR payments have amounts"
    assert payment.side is not None, "the generator says who stands where"
    assert payment.status is not None, "and how far it is"
    system, _, merchant = payment.creditor.account.partition(":")
    payload = build_qr(
        accounts={system: merchant},
        category="5411",
        currency=payment.amount.currency,
        country="CN",
        name=payment.creditor.name,
        city="BEIJING",
        amount_minor=payment.amount.minor,
    )
    debtor, creditor = payment.agent(AgentRole.DEBTOR_AGENT), payment.agent(AgentRole.CREDITOR_AGENT)
    assert debtor is not None, "QR payments name the payer's bank"
    assert creditor is not None, "and the payee's"
    return {
        "payload": payload,
        "reporter": reporter,
        "side": word(payment.side),
        "debtor_agent": debtor.code,
        "creditor_agent": creditor.code,
        "time": format_time(payment.created_ms),
        "reference": payment.end_to_end_id,
        "settlement_date": date_text(payment.settlement_date),
        "status": word(payment.status),
        "debtor_account": payment.debtor.account,
    }


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
        "uetr": uetr_text(payment.uetr) if payment.uetr else "",
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
