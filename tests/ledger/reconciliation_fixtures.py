"""Statements of banks under one pair key, for the engine of reconciliation and for its index."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from msgspec.structs import replace

from ledger.payments import AgentRecord, AgentRole, AgentScheme, PaymentStatement, Side, Status, TokenField, TokenRecord
from ledger.policy import DAY_MS
from ledger.reconciliation import Said
from ledger.reconciliation_index import ReconciliationFollower
from ledger.reconciliation_reading import ReconciliationReader
from ledger.reconciliation_statements import said_of
from ledger.store import MemoryStore
from primitives.encoding import encode
from primitives.hashing import RULES_FIRST
from tests.rpc.conftest import BANKS, START_MS, MemoryNode, genesis_of_four_banks, statement

CODES = {bank: f"BKA{bank[-1].upper()}CNBJ" for bank in BANKS}
KEY = sha256(b"a pair key").digest()
DAY = DAY_MS
__all__ = ["BANKS", "DAY", "KEY", "START_MS", "Books", "agents", "body", "said", "tokens"]


def agents(one: str = "bank-a", other: str = "bank-b") -> list[AgentRecord]:
    """Return the agents of a payment from one bank to another."""
    return [
        AgentRecord(AgentRole.DEBTOR_AGENT, AgentScheme.BIC, CODES[one]),
        AgentRecord(AgentRole.CREDITOR_AGENT, AgentScheme.BIC, CODES[other]),
    ]


def tokens(**values: str) -> list[TokenRecord]:
    """Return tokens that are equal where fields and values are."""
    return [
        TokenRecord(field, sha256(f"{field} {values[field.name.lower()]}".encode()).digest()[:16])
        for field in TokenField
        if field.name.lower() in values
    ]


def body(**fields: Any) -> PaymentStatement:
    """Return a debtor's statement under the pair key, with its amount and accounts as tokens."""
    same = {
        "amount": None,
        "amount_commitment": bytes(32),
        "pair_key": KEY,
        "agents": agents(),
        "tokens": tokens(amount="CNY 1.00", debtor_account="1", creditor_account="2"),
    }
    return replace(statement(1), **(same | fields))


def said(member: str, other: str, at: int, time_ms: int = START_MS, **fields: Any) -> Said:
    """Return a statement as the engine has it: of a member about a payment with another, in the block at a height."""
    side = Side.DEBTOR if member == "bank-a" else Side.CREDITOR
    return said_of(body(**({"side": side, "status": Status.ACCEPTED} | fields)), member, other, at, 0, time_ms)


class Books:
    """A chain of four banks with a code each, and the index of reconciliation beside it."""

    def __init__(self, rules: int = RULES_FIRST) -> None:
        genesis = genesis_of_four_banks()
        members = tuple(
            replace(member, agents=(CODES[member.id],)) if member.id in CODES else member for member in genesis.members
        )
        self.node = MemoryNode(genesis=replace(genesis, members=members, rules=rules))
        self.store = MemoryStore()
        self.follower = ReconciliationFollower(self.store, self.node.reader)
        self.reader = ReconciliationReader(self.store, self.node.reader)

    @property
    def height(self) -> int:
        return int(self.node.chain.height)

    def tell(self, member: str, **fields: Any) -> None:
        """Commit a member's statement in a block of its own."""
        self.commit((member, body(**({"side": Side.DEBTOR if member == "bank-a" else Side.CREDITOR} | fields))))

    def commit(self, *told: tuple[str, PaymentStatement]) -> None:
        """Commit statements in one block, a batch each."""
        batches = []
        for member, each in told:
            self.node.member = member
            self.node.references += 1
            batches.append(self.node.batch([self.node.event(self.node.references, body=encode(each))]))
        self.node.commit(*batches)

    def wait(self, time_ms: int) -> None:
        """Let time pass, and a block be made of it."""
        self.node.now += time_ms
        self.commit(("cb", body()))

    def follow(self, pieces: int = 1_000) -> None:
        """Bring the index up to the log."""
        while self.follower.follow(self.height, pieces):
            pass
