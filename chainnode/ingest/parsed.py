"""What an adapter reads out of a message: clear values, which never leave the reporting bank.

The repr of everything private is hidden, so that neither a log line nor an assertion can print it. How it becomes a
statement for the chain is in `chainnode.ingest.statements`. What is made for every message is a struct of msgspec,
which takes a tenth of the time of a frozen dataclass.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import msgspec
from msgspec.structs import force_setattr

from ledger.currencies import decimal_text
from ledger.payments import AgentRole, AgentScheme, Channel, Side, Status
from primitives.ids import Hash, TimeMs


class Amount(msgspec.Struct, frozen=True, gc=False):
    """Minor units of an ISO 4217 currency; the number's repr is hidden, because amounts are private."""

    minor: int
    currency: str

    def __repr__(self) -> str:
        return f"Amount(currency={self.currency!r})"

    def text(self) -> str:
        """Return the one form that tokens and commitments cover: `CNY 23.72`."""
        return f"{self.currency} {decimal_text(self.minor, self.currency)}"


@dataclass(frozen=True, slots=True)
class Agent:
    """An institution in its role, by its code."""

    role: AgentRole
    scheme: AgentScheme
    code: str


class Party(msgspec.Struct, frozen=True, gc=False):
    """A customer: name and account, both private; empty where the message does not say."""

    name: str = ""
    account: str = ""

    def __repr__(self) -> str:
        return "Party()"


NOBODY = Party()


class Direction(IntEnum):
    """What an entry of an account report does to the account."""

    NONE = 0
    DEBIT = 1
    CREDIT = 2


HIDDEN = frozenset({"message_digest", "key", "end_to_end_id", "transaction_id", "message_id", "remittance", "source"})


class ParsedPayment(msgspec.Struct, frozen=True, gc=False):
    """One payment as one message tells it.

    `message_digest` is SHA-256 of the message's own bytes. `key` tells the payment from all others of its reporter, and
    `index` from those of the same key: by both the same payment, submitted again, is known, also where its message was
    corrected elsewhere. Without a `key` the digest is it. `end_to_end_id` is empty where there is none. `status` None
    means that the reporter's side decides it. `sender` and `receiver` come from an application header and serve only
    where the message itself names no agents. `source` is the message as it may be kept and as the digest covers it, in
    one line, where the file holds what must not be kept; else it is empty.
    """

    message_type: str
    where: str
    message_digest: Hash
    index: int
    created_ms: TimeMs
    amount: Amount | None
    agents: tuple[Agent, ...]
    end_to_end_id: str
    uetr: bytes = b""
    transaction_id: str = ""
    message_id: str = ""
    instructed_amount: Amount | None = None
    settlement_date: int = 0
    status: Status | None = None
    reason: str = ""
    debtor: Party = NOBODY
    creditor: Party = NOBODY
    remittance: str = ""
    channel: Channel = Channel.NONE
    side: Side | None = None
    direction: Direction = Direction.NONE
    terminal_certificate: str = ""
    sender: Agent | None = None
    receiver: Agent | None = None
    source: bytes = b""
    key: bytes = b""

    def keyed(self, key: bytes, index: int) -> ParsedPayment:
        """Set by what it is known again, and return it; for the adapter that has just made it, alone.

        A copy with other values would cost as much as reading the payment's agents.
        """
        force_setattr(self, "key", key)
        force_setattr(self, "index", index)
        return self

    def placed(self, digest: Hash, where: str) -> ParsedPayment:
        """Set what only the end of its message tells, and return it; as `keyed` does."""
        force_setattr(self, "message_digest", digest)
        force_setattr(self, "where", where)
        return self

    def agent(self, role: AgentRole) -> Agent | None:
        """Return the agent in `role`, or None."""
        for agent in self.agents:  # several times for each payment
            if agent.role is role:
                return agent
        return None

    def __repr__(self) -> str:
        shown = ((name, getattr(self, name)) for name in self.__struct_fields__ if name not in HIDDEN)
        return f"ParsedPayment({', '.join(f'{name}={value!r}' for name, value in shown)})"
