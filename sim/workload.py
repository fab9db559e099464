"""What a simulated consortium consists of and says: members, keys, a genesis, and batches of payment statements.

Everything is derived from names and numbers, so that a run depends on its seed alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from ledger.accreditations import USUAL_STANDARD, AccreditedRole
from ledger.batches import ParsedBatch, build_batch, parse_batch
from ledger.catalogue import PUBLISHED_CATALOGUES
from ledger.events import Event
from ledger.genesis import Genesis, GenesisAccreditation, GenesisMember, GenesisSource, GenesisValidator
from ledger.members import GOVERNANCE_ROLE, Officer, Role
from ledger.payments import (
    PAYMENT_STATEMENT,
    AgentRecord,
    AgentRole,
    AgentScheme,
    Channel,
    PaymentStatement,
    Side,
    Status,
)
from ledger.policy import Policy
from ledger.rules import RULES_SCHEME
from primitives.encoding import encode
from primitives.hashing import RULES_FIRST
from primitives.ids import ZERO_HASH, Hash, TimeMs
from primitives.keys import SigningKey

START_MS: Final = TimeMs(1_767_225_600_000)
EVENT_LIFETIME_MS: Final = 23 * 3_600_000


def key_of(name: str, use: str) -> SigningKey:
    """Return the key of a name and use, the same in every run."""
    return SigningKey(sha256(f"{use} {name}".encode()).digest())


def bank_of(index: int) -> str:
    """Return the name of a simulated bank."""
    return f"bank-{index}"


SOURCE: Final = "source"
DECIDER: Final = "decider"
"""Uses of a bank's keys that submit; the second only by rules that know certificates' schemes."""
OFFICER: Final = "officer"
CLERK: Final = "clerk"
"""A bank's two officers, the second by the same rules."""
CATEGORIES: Final = tuple(range(1, 15))
ACCREDITED_MS: Final = 1_000 * 24 * 3_600_000
SCHEME_ROLES: Final = (Role.BANK, Role.CERTIFICATION_BODY, Role.LABORATORY, Role.INSPECTOR, Role.REGULATOR)
"""What every bank is then: of each product another one is the body that certifies it."""


def genesis_of(count: int, guests: int = 0, rules: int = RULES_FIRST) -> Genesis:
    """Return the genesis of `count` banks, each with a validator of its name and one source; guests have only that.

    `rules` is the version that the first block follows. From RULES_SCHEME on all may certify, and have keys for it.
    """
    certifies = rules >= RULES_SCHEME
    roles = SCHEME_ROLES if certifies else (Role.BANK,)
    names = [bank_of(index) for index in range(count + guests)]
    return Genesis(
        chain="sim",
        time_ms=START_MS,
        members=tuple(
            GenesisMember(
                id=name,
                name=name,
                roles=roles,
                ca_certificate="a stand-in",
                agents=(),
                sources=tuple(
                    GenesisSource(key_of(name, use).public, roles)
                    for use in ((SOURCE, DECIDER) if certifies else (SOURCE,))
                ),
                officers=(
                    Officer(key_of(name, OFFICER).public, GOVERNANCE_ROLE),
                    *([Officer(key_of(name, CLERK).public, "certification")] if certifies else []),
                ),
            )
            for name in names
        ),
        validators=tuple(
            GenesisValidator(
                name=name,
                member=name,
                vote_key=key_of(name, "vote").public,
                cosign_key=key_of(name, "cosign").public,
                log_key=key_of(name, "log").public,
                address=f"127.0.0.1:{7400 + index}",
            )
            for index, name in enumerate(names[:count])
        ),
        policy=Policy(),
        catalogues=PUBLISHED_CATALOGUES if certifies else (),
        rules=rules,
        accreditations=tuple(
            GenesisAccreditation(
                name, role, CATEGORIES, START_MS, TimeMs(START_MS + ACCREDITED_MS), USUAL_STANDARD[role]
            )
            for name in names
            for role in AccreditedRole
            if certifies
        ),
    )


def statement(member: str, number: int, now_ms: TimeMs) -> bytes:
    """Return the canonical bytes of one payment statement of a member, different for each number."""
    digest = sha256(f"{member} {number}".encode()).digest()
    body = PaymentStatement(
        salt=digest[:16],
        side=Side.DEBTOR,
        message_type="pacs.008.001.08",
        status=Status.ACCEPTED,
        reason="",
        amount=100 + number,
        currency="CNY",
        amount_commitment=b"",
        settlement_date=20260101,
        agents=[AgentRecord(AgentRole.DEBTOR_AGENT, AgentScheme.BIC, "BKAACNBJXXX")],
        channel=Channel.NONE,
        uetr=b"",
        reference_commitment=digest,
        pair_key=b"",
        tokens=[],
        fields_root=digest,
        terminal_certificate="",
        source_digest=digest,
        time_ms=now_ms,
    )
    event = Event(member, digest[16:], now_ms + EVENT_LIFETIME_MS, PAYMENT_STATEMENT, 1, encode(body))
    return encode(event)


def reference_of(body: bytes) -> bytes:
    """Return the reference of an event that its body alone decides."""
    return sha256(body).digest()[:16]


class Source:
    """One bank's signing source in the simulation: numbers its batches and remembers them."""

    def __init__(self, member: str, chain_id: Hash, use: str = SOURCE) -> None:
        self.member = member
        self.batches: list[bytes] = []
        self.parsed: list[ParsedBatch] = []
        self._chain_id = chain_id
        self._key = key_of(member, use)
        self._events = 0

    def next_batch(self, count: int, now_ms: TimeMs) -> bytes:
        """Return the next signed batch of `count` statements."""
        events = [statement(self.member, self._events + index, now_ms) for index in range(count)]
        self._events += count
        return self.batch_of(events, now_ms)

    def batch_of(self, events: Sequence[bytes], now_ms: TimeMs) -> bytes:
        """Return the next signed batch, of these events."""
        raw = build_batch(
            events,
            chain_id=self._chain_id,
            member=self.member,
            key=self._key,
            number=len(self.batches),
            previous=self.parsed[-1].hash if self.parsed else ZERO_HASH,
            time_ms=now_ms,
        )
        self.parsed.append(parse_batch(raw))
        self.batches.append(raw)
        return raw
