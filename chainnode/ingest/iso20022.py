"""ISO 20022 payment messages: from a file to one `ParsedPayment` per transaction.

Here: messages as a whole. The XML is read in `chainnode.ingest.iso20022_xml`, transactions in
`chainnode.ingest.iso20022_types` and `iso20022_entries`; what must agree between header and transactions is in
`chainnode.ingest.iso20022_totals`. Known are pacs.008, 002, 004, 009, pain.001 and camt.054 of any version from .02 on,
whatever their namespace prefix and envelope. Source: the ISO 20022 message definition reports and the CBPR+ usage
guidelines.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from chainnode.ingest.errors import MessageError, located, shape_of
from chainnode.ingest.iso20022_entries import account_entries, entry_amounts
from chainnode.ingest.iso20022_fields import line_of, read_institution, required
from chainnode.ingest.iso20022_keys import MessageKeys
from chainnode.ingest.iso20022_totals import Tally, check_tally, payment_amounts
from chainnode.ingest.iso20022_types import (
    GroupHeader,
    credit_transfer,
    initiation,
    institution_transfer,
    payment_return,
    read_group_header,
    status_report,
)
from chainnode.ingest.iso20022_xml import Node, read_messages
from chainnode.ingest.parsed import Amount, ParsedPayment
from chainnode.ingest.privacy import message_digest_of
from ledger.payments import AgentRole
from primitives.errors import InputError

TRANSACTIONS_MAX = 1_000_000
VERSION_MIN = 2
_SHOWN_MAX = 60

Read = Callable[[Node, list[Node], GroupHeader], list[ParsedPayment]]


@dataclass(frozen=True, slots=True)
class MessageType:
    """A known message: its root element, the path to its transactions, and how one is read.

    `counted` tells whether the group header must have NbOfTxs; `total` is its element with the sum of all amounts, and
    with one, all amounts are of one currency. `group_count` and `group_sum` are the same of the element around the
    transactions, where it has some (pain.001's PmtInf, camt.054's Ntfctn). `amounts` are those that are summed.
    """

    name: str
    root: str
    path: tuple[str, ...]
    read: Read
    settles: bool = False
    counted: bool = False
    total: str = ""
    group_count: tuple[str, ...] = ()
    group_sum: tuple[str, ...] = ()
    amounts: Callable[[Node, list[ParsedPayment]], list[Amount]] = payment_amounts


_TRANSFER = ("CdtTrfTxInf",)
_SETTLED = "TtlIntrBkSttlmAmt"
_RETURNED = "TtlRtrdIntrBkSttlmAmt"
MESSAGE_TYPES: tuple[MessageType, ...] = (
    MessageType("pacs.008", "FIToFICstmrCdtTrf", _TRANSFER, credit_transfer, True, True, _SETTLED),
    MessageType("pacs.009", "FICdtTrf", _TRANSFER, institution_transfer, True, True, _SETTLED),
    MessageType("pacs.009", "FinInstnCdtTrf", _TRANSFER, institution_transfer, True, True, _SETTLED),
    MessageType("pacs.004", "PmtRtr", ("TxInf",), payment_return, True, True, _RETURNED),
    MessageType("pacs.002", "FIToFIPmtStsRpt", ("TxInfAndSts",), status_report),
    MessageType(
        "pain.001",
        "CstmrCdtTrfInitn",
        ("PmtInf", "CdtTrfTxInf"),
        initiation,
        counted=True,
        group_count=("NbOfTxs",),
        group_sum=("CtrlSum",),
    ),
    MessageType(
        "camt.054",
        "BkToCstmrDbtCdtNtfctn",
        ("Ntfctn", "Ntry"),
        account_entries,
        group_count=("TxsSummry", "TtlNtries", "NbOfNtries"),
        group_sum=("TxsSummry", "TtlNtries", "Sum"),
        amounts=entry_amounts,
    ),
)
_BY_ROOT = {kind.root: kind for kind in MESSAGE_TYPES}
_PATHS = {kind.root: kind.path for kind in MESSAGE_TYPES}
# ISO's own, or of a market infrastructure that follows its form (urn:cnaps:std:cnaps:2010:tech:xsd:), or SWIFT's.
_NAMESPACE = re.compile(r"urn:(?:[a-z0-9]+:std:[a-z0-9]+:[0-9]{4,5}:tech:xsd:|swift:xsd:)\$?[A-Za-z0-9._]+")
_IDENTIFIER = re.compile(r"(?:.*[:/$])?([a-z]{4}\.[0-9]{3})\.([0-9]{3})\.([0-9]{2})")


@dataclass(slots=True)
class Parsed:
    """What a file gave: its payments in order, and what was left out of it and why (only with `skip_bad`).

    `partial` holds the digests of messages of which a transaction was left out.
    """

    payments: list[ParsedPayment] = field(default_factory=list)
    refused: list[InputError] = field(default_factory=list)
    partial: set[bytes] = field(default_factory=set)


def parse_iso20022(data: bytes, *, where: str, skip_bad: bool = False, offset_minutes: int = 0) -> Parsed:
    """Return every payment of a file of ISO 20022 messages.

    `where` names the file in errors; times without an offset are taken at `offset_minutes` east of UTC. One bad
    transaction or message refuses the file, or, with `skip_bad`, is left out and reported; a file that is not safe,
    well-formed XML is always refused. Raises XmlError and MessageError, and InputError for bad amounts and codes.
    """
    collector = _Collector(where, skip_bad, offset_minutes)
    read_messages(data, _PATHS, collector, where=where)
    return collector.parsed


@dataclass(slots=True)
class _Message:
    """A message that is being read; `error` once all of it is refused, `numbers` the transaction of each payment."""

    kind: MessageType
    message_type: str
    application_header: Node | None
    tally: Tally
    header: GroupHeader | None = None
    key: tuple[str, ...] = ()
    groups: dict[int, Tally] = field(default_factory=dict)
    payments: list[ParsedPayment] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    keys: MessageKeys = field(default_factory=MessageKeys)
    error: InputError | None = None
    partial: bool = False


class _Collector:
    """The sink of one file: reads transactions as they come and checks each message at its end."""

    def __init__(self, where: str, skip_bad: bool, offset_minutes: int) -> None:
        self.parsed = Parsed()
        self._where = where
        self._skip_bad = skip_bad
        self._offset_minutes = offset_minutes
        self._message: _Message | None = None
        self._number = 0
        self._taken: dict[tuple[str, ...], int] = {}  # number of each message taken, by kind, sender and id

    def message_started(self, root: Node, namespace: str, header: Node | None) -> None:
        self._number += 1
        kind = _BY_ROOT[root.tag]
        self._message = message = _Message(kind, kind.name, header, Tally(root, one_currency=bool(kind.total)))
        try:
            message.message_type = _message_type(kind, root, namespace, header)
        except InputError as error:
            self._refuse(error, message)

    def document_refused(self, error: MessageError) -> None:
        self._number += 1
        self._refuse(error, None)

    def transaction_ended(self, transaction: Node, ancestors: list[Node], source: memoryview) -> None:
        message = self._message
        assert message is not None, "a transaction outside of a message"
        if message.error is not None:
            return
        tallies = [message.tally]
        if message.kind.group_count:
            group = ancestors[-1]
            tallies.append(message.groups.setdefault(id(group), Tally(group, one_currency=True)))
        for tally in tallies:
            tally.count += 1
        if message.header is None and not self._read_header(message, ancestors[0]):
            return
        assert message.header is not None
        payments: list[ParsedPayment] = []
        try:
            payments = message.kind.read(transaction, ancestors, message.header)
            amounts = message.kind.amounts(transaction, payments)
        except InputError as error:
            for tally in tallies:
                tally.complete = False
            message.partial = True
            self._refuse(located(error, f"transaction {message.tally.count}"), None)
            return
        try:
            for tally in tallies:
                tally.add(amounts, transaction)
        except MessageError as error:
            self._refuse(located(error, f"transaction {message.tally.count}"), message)
            return
        key = message.keys.key_of(message.message_type, ancestors, source)
        message.payments += [payment.keyed(key, message.keys.next_index(key)) for payment in payments]
        message.numbers += [message.tally.count] * len(payments)
        if len(self.parsed.payments) + len(message.payments) > TRANSACTIONS_MAX:
            raise MessageError("too many transactions", where=self._where, expected=f"at most {TRANSACTIONS_MAX}")

    def _read_header(self, message: _Message, root: Node) -> bool:
        try:
            message.header = header = read_group_header(
                root,
                message.message_type,
                message.application_header,
                settles=message.kind.settles,
                offset_minutes=self._offset_minutes,
            )
            sender = read_institution(header.instructing, AgentRole.INSTRUCTING_AGENT) or header.sender
            message.key = (message.kind.name, "" if sender is None else sender.code, header.message_id)
            if message.key in self._taken:
                raise MessageError(
                    "message id repeated in the file",
                    where=f"{line_of(header.node)}: MsgId",
                    expected="each message once",
                    got=f"the id of message {self._taken[message.key]} again",
                    hint="take one of them out of the file",
                )
        except InputError as error:
            self._refuse(error, message)
            return False
        return True

    def message_ended(self, root: Node, source: memoryview) -> None:
        message, self._message = self._message, None
        assert message is not None, "a message ends that has not begun"
        if message.error is not None:
            return
        try:
            _check_totals(message, root)
        except InputError as error:
            self._refuse(error, message)
            return
        self._taken[message.key] = self._number
        digest = message_digest_of(source)
        if message.partial:
            self.parsed.partial.add(bytes(digest))
        place = f"{self._where}: message {self._number}"
        self.parsed.payments += [
            payment.placed(digest, f"{place}: transaction {number}: {payment.where}")
            for payment, number in zip(message.payments, message.numbers, strict=True)
        ]

    def _refuse(self, error: InputError, message: _Message | None) -> None:
        """Refuse the file, or leave out one transaction, or all of `message`."""
        error = located(error, f"{self._where}: message {self._number}")
        if not self._skip_bad:
            raise error
        self.parsed.refused.append(error)
        if message is not None:
            message.error = error


def _check_totals(message: _Message, root: Node) -> None:
    """Raise MessageError where counts and sums in the headers are not those of the transactions."""
    kind = message.kind
    if message.tally.count == 0:
        raise MessageError(
            "message names no transaction",
            where=line_of(root),
            expected="/".join(kind.path),
            got="a status of the whole group" if root.one("OrgnlGrpInfAndSts") else "none",
        )
    group_header = required(root, "GrpHdr")
    if kind.counted:
        required(group_header, "NbOfTxs")
    check_tally(message.tally, group_header, ("NbOfTxs",), ("CtrlSum",), kind.total)
    for tally in message.groups.values():
        check_tally(tally, tally.node, kind.group_count, kind.group_sum)


def _message_type(kind: MessageType, root: Node, namespace: str, header: Node | None) -> str:
    """Return the message's identifier such as pacs.008.001.08, as namespace or application header give it."""
    if namespace and _NAMESPACE.fullmatch(namespace) is None:
        raise MessageError(
            "namespace is no payment message's",
            where=line_of(root),
            expected=f"urn:iso:std:iso:20022:tech:xsd:{kind.name}...",
            got=repr(namespace[:_SHOWN_MAX]) if ":" in namespace else shape_of(namespace),
        )
    declared = "" if header is None else header.text_at("MsgDefIdr")
    for source, identifier in (("namespace", namespace), ("MsgDefIdr", declared)):
        match = _IDENTIFIER.fullmatch(identifier)
        if match is None:
            continue
        if match.group(1) != kind.name:
            raise MessageError(f"{source} of another message", where=line_of(root), expected=kind.name, got=identifier)
        if int(match.group(3)) < VERSION_MIN:
            expected = f"version {VERSION_MIN:02d} or later"
            raise MessageError("version not supported", where=line_of(root), expected=expected, got=identifier)
    for identifier in (namespace, declared):
        match = _IDENTIFIER.fullmatch(identifier)
        if match is not None:
            return ".".join(match.groups())
    return kind.name
