"""What every adapter gives: events that are ready but for what the gateway adds when it sends them.

The member is the gateway's own. A statement's reference follows from the message and the reporter's secret, and its
body from the message and how it is stated. The reporter's private store keeps the first event of each reference, and
`chainnode.payloads.Keeper` gives that one whenever the message comes again; the gateway knows events by their ids and
sends none twice. A statement never expires; of other events `expires_ms` None means that the gateway sets it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from chainnode.ingest.statements import StatementDraft
from ledger.payments import PAYMENT_STATEMENT
from primitives.encoding import encode
from primitives.errors import InputError

STATEMENT_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Draft:
    """An event to be: kind, schema and canonical body; `where` tells which part of the file it came from.

    `statement` holds what the reporter keeps of a payment (event key, private values), for its store of payloads.
    `differs` names the fields in which the message would be stated otherwise now than it was first: the first counts.
    """

    kind: int
    schema: int
    body: bytes
    reference: bytes | None
    expires_ms: int | None
    where: str
    statement: StatementDraft | None = field(default=None, repr=False)
    differs: tuple[str, ...] = ()


@dataclass(slots=True)
class Ingested:
    """What a file gave: drafts in order, and what was left out of it and why (only where that was asked for).

    `kept` stands for the file wherever its messages are kept: a line for each, without what must not be stored. None
    where the file may be kept as it is. `partial` holds the digests of messages of which something was left out: they
    tell of more than the drafts, so they are not kept.
    """

    format: str
    drafts: list[Draft] = field(default_factory=list)
    refused: list[InputError] = field(default_factory=list)
    kept: bytes | None = field(default=None, repr=False)
    partial: set[bytes] = field(default_factory=set, repr=False)

    def refuse(self, error: InputError) -> None:
        """Take note of what was left out, without the frames that it came from: they hold what was read."""
        error.__traceback__ = error.__context__ = error.__cause__ = None
        self.refused.append(error)


def statement_draft(statement: StatementDraft, where: str) -> Draft:
    """Return the event of a payment statement."""
    return Draft(
        kind=PAYMENT_STATEMENT,
        schema=STATEMENT_SCHEMA,
        body=encode(statement.body),
        reference=statement.reference,
        expires_ms=None,
        where=where,
        statement=statement,
    )
