"""What an adapter reads out of a message: clear values, which never leave the reporting bank.

The repr of everything private is hidden, so that neither a log line nor an assertion can print it. How it becomes a
statement for the chain is in `chainnode.ingest.statements`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from ledger.currencies import decimal_text
from ledger.payments import AgentRole, AgentScheme, Channel, Side, Status
from primitives.ids import Hash, TimeMs


@dataclass(frozen=True, slots=True)
class Amount:
    """Minor units of an ISO 4217 currency; the number's repr is hidden, because amounts are private."""

    minor: int = field(repr=False)
    currency: str

    def text(self) -> str:
        """Return the one form that tokens and commitments cover: `CNY 23.72`."""
        return f"{self.currency} {decimal_text(self.minor, self.currency)}"


@dataclass(frozen=True, slots=True)
class Agent:
    """An institution in its role, by its code."""

    role: AgentRole
    scheme: AgentScheme
    code: str


@dataclass(frozen=True, slots=True)
class Party:
    """A customer: name and account, both private; empty where the message does not say."""

    name: str = field(default="", repr=False)
    account: str = field(default="", repr=False)


class Direction(IntEnum):
    """What an entry of an account report does to the account."""

    NONE = 0
    DEBIT = 1
    CREDIT = 2


@dataclass(frozen=True, slots=True)
class ParsedPayment:
    """One payment as one message tells it.

    `message_digest` is SHA-256 of the message's own bytes and `index` the place of the payment in it; together they
    are the message key by which the same payment, submitted again, is known. `end_to_end_id` is empty where there is
    none. `status` None means that the reporter's side decides it. `sender` and `receiver` come from an application
    header and serve only where the message itself names no agents.
    """

    message_type: str
    where: str
    message_digest: Hash = field(repr=False)
    index: int
    created_ms: TimeMs
    amount: Amount | None
    agents: tuple[Agent, ...]
    end_to_end_id: str = field(repr=False)
    uetr: bytes = b""
    transaction_id: str = field(default="", repr=False)
    message_id: str = field(default="", repr=False)
    instructed_amount: Amount | None = None
    settlement_date: int = 0
    status: Status | None = None
    reason: str = ""
    debtor: Party = Party()
    creditor: Party = Party()
    remittance: str = field(default="", repr=False)
    channel: Channel = Channel.NONE
    side: Side | None = None
    direction: Direction = Direction.NONE
    terminal_certificate: str = ""
    sender: Agent | None = None
    receiver: Agent | None = None

    def placed(self, digest: Hash, index: int, where: str) -> ParsedPayment:
        """Set what only the end of its message tells, and return it; for the adapter that has just made it, alone.

        A copy with other values would cost as much as reading the payment's agents.
        """
        object.__setattr__(self, "message_digest", digest)
        object.__setattr__(self, "index", index)
        object.__setattr__(self, "where", where)
        return self

    def agent(self, role: AgentRole) -> Agent | None:
        """Return the agent in `role`, or None."""
        return next((agent for agent in self.agents if agent.role == role), None)
