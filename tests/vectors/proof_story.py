"""The chain of which the published vectors of proofs are made: four epochs, certificates, lone and big batches.

Keys, times and events follow from names and numbers, so the same release makes the same bytes. Not here: what is proved
of it and how that is forged (`proof_goods`, `proof_forging`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from msgspec.structs import replace

from ledger.certificate_bodies import Revoke, Suspend
from ledger.events import Event
from ledger.genesis import Genesis
from ledger.governance_bodies import RemoveValidator, Withdraw
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
from primitives.encoding import encode
from primitives.ids import Hash
from primitives.keys import SigningKey
from primitives.notes import Checkpoint, cosign_statement
from primitives.validators import ValidatorSet
from tests.ledger.certificate_fixtures import CORRECTION, DAY_MS, EVENTS, NUMBER, Restore, State, grant
from tests.ledger.certifying_fixtures import Certifying
from tests.ledger.governance_fixtures import bank, key_of

ABSENT = "FTP-2026-06-000009"
EXPIRING = "FTP-2026-06-000002"
USES = ("", "1", "2")


def cosigning_key(name: str, public: bytes) -> SigningKey:
    """Return the cosigning key of a validator whose public part is this."""
    return next(key for use in USES if (key := key_of(name, f"cosign{use}")).public == public)


def voting_key(name: str, public: bytes) -> SigningKey:
    """Return the voting key of a validator whose public part is this."""
    return next(key for use in USES if (key := key_of(name, f"vote{use}")).public == public)


def payment(number: int) -> PaymentStatement:
    """Return a bank's statement of a payment, the same for the same number."""
    byte = bytes([number])
    return PaymentStatement(
        salt=byte * 16,
        side=Side.DEBTOR,
        message_type="pacs.008.001.08",
        status=Status.ACCEPTED,
        reason="",
        amount=100 * number,
        currency="CNY",
        amount_commitment=b"",
        settlement_date=2026_04_13,
        agents=[
            AgentRecord(AgentRole.DEBTOR_AGENT, AgentScheme.BIC, "BKAACNBJXXX"),
            AgentRecord(AgentRole.CREDITOR_AGENT, AgentScheme.BIC, "BKABCNBJ"),
        ],
        channel=Channel.HVPS,
        uetr=bytes.fromhex("a1b2c3d4e5f64890abcdef12345678") + byte,
        reference_commitment=byte * 32,
        pair_key=b"",
        tokens=[],
        fields_root=b"f" * 32,
        terminal_certificate="",
        source_digest=b"d" * 32,
        time_ms=1_776_076_200_000,
    )


@dataclass
class Story(Certifying):
    """What happened on the chain, by names: heights, ids of events, sizes of checkpointed logs and their notes."""

    height: dict[str, int] = field(default_factory=dict)
    event_ids: dict[str, Hash] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    sets: list[ValidatorSet] = field(default_factory=list)

    def tell(self) -> Story:
        """Make the chain."""
        self.sets.append(self.set)
        self._first_epoch()
        self.rekey(3, 1)
        self._begin_epoch()
        self._second_epoch()
        proposal = self.propose(self.addition(4))
        self.vote(proposal, 0, 1, 2)
        assert self.say(bank(4), self.ready(proposal, "node-4")).applied
        self._begin_epoch()
        self._third_epoch()
        self.vote(self.propose(RemoveValidator("node-1", False)), 0, 1, 2, 3)
        self._begin_epoch()
        self._fourth_epoch()
        return self

    def _first_epoch(self) -> None:
        lone = ("bank-0", [self._payment("bank-0", 1)])
        big = ("bank-1", [self._payment("bank-1", number) for number in range(2, 42)])
        wrong = self.event("bank-2", Suspend(NUMBER, "inspection_failed", None, None))
        mixed = ("bank-2", [self._payment("bank-2", 42), wrong, self._payment("bank-2", 43)])
        result = self.batches(lone, big, mixed)
        names = {0: "lone", 1: "first of big", 18: "of big", 40: "last of big", 42: "rejected", 43: "behind rejected"}
        self.event_ids.update({name: Hash(result.event_ids[index]) for index, name in names.items()})
        assert result.outcomes[42].rule, "a bank may not suspend"
        self.height["payments"] = self.chain.height
        self.event_ids["applied for"], *_, self.event_ids["granted"] = self.bring_to(State.ACTIVE)
        self.height["granted"] = self.chain.height
        self._stable("epoch 0")
        self.event_ids["suspended"] = self.act("cb", "first", Suspend(NUMBER, "inspection_failed", None, None))
        self.height["suspended"] = self.chain.height
        self._stable("epoch 0, later")

    def _second_epoch(self) -> None:
        self.event_ids["restored"] = self.act("cb", "first", Restore(NUMBER, CORRECTION))
        self.height["restored"] = self.chain.height
        for number, name in enumerate(("apply", "accept", "type_test", "site_check", "review")):
            member, desk, body = EVENTS[f"certificate.{name}"]
            self.act(member, desk, replace(body, application="bank-a.0002"))
            if number == 2:
                self._stable("epoch 1")
        self.event_ids["second granted"] = self.act("cb", "decider", grant("bank-a.0002", EXPIRING))
        self.height["second granted"] = self.chain.height

    def _third_epoch(self) -> None:
        result = self.batches(
            ("bank-1", [self._payment("bank-1", number) for number in range(50, 53)]),
            ("bank-3", [self._payment("bank-3", 60)]),
            ("bank-1", [self._payment("bank-1", 53)]),
        )
        self.event_ids["paid in epoch 2"] = Hash(result.event_ids[1])
        self.height["paid in epoch 2"] = self.chain.height
        self._stable("epoch 2")

    def _fourth_epoch(self) -> None:
        self.event_ids["revoked"] = self.act("cb", "first", Revoke(NUMBER, "mark_misused", None))
        self.height["revoked"] = self.chain.height
        self._stable("epoch 3")
        self.now_ms += 4 * 365 * DAY_MS
        self.block(("bank-0", Withdraw(bytes(32))))
        self.height["years later"] = self.chain.height
        self._stable("years later", log="node-4")

    def _payment(self, member: str, number: int) -> Event:
        event = self.event(member, Withdraw(bytes(32)))
        return replace(event, kind=PAYMENT_STATEMENT, body=encode(payment(number)))

    def _begin_epoch(self) -> None:
        """Commit the first block of the epoch that has just been decided."""
        self.block(("bank-0", Withdraw(bytes(32))))
        self.sets.append(self.set)
        self.height[f"epoch {self.set.epoch}"] = self.chain.height

    def _stable(self, name: str, log: str = "") -> None:
        key = key_of(log, "log1") if log else None
        self.notes[name] = self.stable(node=log or "node-0", log=key)


@dataclass
class OtherStory(Story):
    """The same story with the same keys on a chain of another genesis, and so of another id."""

    def founded(self) -> Genesis:
        """Return a genesis that differs in its time alone."""
        genesis = super().founded()
        return replace(genesis, time_ms=genesis.time_ms + 1)


def cosigned(
    story: Story, validators: ValidatorSet, size: int, root: Hash, time_s: int, indexes: tuple[int, ...] = ()
) -> tuple[str, list[tuple[int, int, bytes]]]:
    """Return the text of a checkpoint, and cosignatures of validators of a set by its keys (default: a quorum)."""
    text = Checkpoint(story.genesis.origin, size, root).text()
    made = []
    for index in indexes or range(validators.quorum):
        validator = validators.validators[index]
        key = cosigning_key(validator.name, validator.cosign_key)
        made.append((index, time_s, key.sign(cosign_statement(text, time_s))))
    return text, made
