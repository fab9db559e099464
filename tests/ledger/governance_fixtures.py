"""A consortium that governs itself: whole blocks on a chain, and events that its members submit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from msgspec.structs import replace

from ledger.batches import build_batch, parse_batch
from ledger.catalogue import CATALOGUE_1, CATALOGUE_2
from ledger.chain import Chain, CommitResult
from ledger.events import Event
from ledger.genesis import Genesis, GenesisAccreditation, GenesisMember, GenesisSource, GenesisValidator
from ledger.governance_bodies import (
    AddValidator,
    Amend,
    Amendment,
    AnyAction,
    CastVote,
    PaymentAction,
    Propose,
    Ready,
    Regulate,
    RekeyValidator,
    SchemeAction,
    Steer,
    ValidatorKeys,
    key_statement,
    ready_statement,
    vote_statement,
)
from ledger.governance_records import Proposal, Stage, read_proposal
from ledger.log_keys import DeclareLogKey
from ledger.members import GOVERNANCE_ROLE, Officer, Role
from ledger.outcomes import Outcome
from ledger.policy import Policy
from ledger.registry import KINDS
from ledger.state import StateView
from ledger.store import MemoryStore
from primitives.encoding import Record, encode
from primitives.ids import Epoch, Hash, Height, TimeMs, View
from primitives.keys import SigningKey
from primitives.validators import ValidatorSet
from primitives.votes import COMMIT, QuorumCertificate
from primitives.votes import vote_statement as commit_statement

START_MS = 1_767_225_600_000
DAY_MS = 86_400_000


def key_of(name: str, use: str) -> SigningKey:
    """Return the key of a name and use, the same in every run."""
    return SigningKey(sha256(f"{use} {name}".encode()).digest())


def proposing(action: AnyAction, expires_ms: int) -> Propose | Amend | Steer | Regulate:
    """Return the event's body by which an action is proposed."""
    if isinstance(action, SchemeAction):
        return Steer(action, expires_ms)
    if isinstance(action, PaymentAction):
        return Regulate(action, expires_ms)
    return Amend(action, expires_ms) if isinstance(action, Amendment) else Propose(action, expires_ms)


def bank(number: int) -> str:
    """Return a bank's name."""
    return f"bank-{number}"


def genesis_of(members: int, validators: int) -> Genesis:
    """Return the genesis of `members` banks, each with a CA and an officer; the first ones have a validator."""
    return Genesis(
        chain="council",
        time_ms=START_MS,
        members=tuple(
            GenesisMember(
                bank(i),
                bank(i),
                (Role.BANK,),
                f"a CA of {bank(i)}",
                (),
                (GenesisSource(key_of(bank(i), "source").public, (Role.BANK,)),),
                (
                    Officer(key_of(bank(i), "officer").public, GOVERNANCE_ROLE),
                    Officer(key_of(bank(i), "clerk").public, "approver"),
                ),
            )
            for i in range(members)
        ),
        validators=tuple(
            GenesisValidator(
                f"node-{i}",
                bank(i),
                key_of(f"node-{i}", "vote").public,
                key_of(f"node-{i}", "cosign").public,
                key_of(f"node-{i}", "log").public,
                f"127.0.0.1:{7400 + i}",
            )
            for i in range(validators)
        ),
        policy=Policy(),
        catalogues=(),
    )


_PLACES = {type_: (spec.kind, schema) for spec in KINDS.values() for schema, type_ in spec.schemas.items()}


def place_of(body: Record) -> tuple[int, int]:
    """Return the kind and schema of a body."""
    return _PLACES[type(body)]


@dataclass
class Council:
    """A chain of `validators` validators of as many members, and `outsiders` more members without one."""

    validators: int = 4
    outsiders: int = 1
    store: MemoryStore = field(default_factory=MemoryStore)
    rules: tuple[int, ...] = (1,)
    references: int = 0

    def __post_init__(self) -> None:
        self.genesis = self.founded()
        self.chain = Chain(self.store, self.genesis, rules=self.rules)
        self.chain_id = self.genesis.chain_id
        self.now_ms = START_MS

    def founded(self) -> Genesis:
        """Return the genesis."""
        return genesis_of(self.validators + self.outsiders, self.validators)

    @property
    def state(self) -> StateView:
        """The state after the newest block."""
        return self.chain.state_after(self.chain.tip_hash)

    @property
    def set(self) -> ValidatorSet:
        """The set that votes next."""
        return self.chain.validators_after(self.chain.tip_hash)

    def proposal(self, proposal: bytes) -> Proposal:
        """Return a proposal's row."""
        found = read_proposal(self.state, proposal)
        assert found is not None
        return found

    def stage(self, proposal: bytes) -> Stage:
        """Return a proposal's stage now."""
        return self.proposal(proposal).stage_at(self.now_ms)

    def block(self, *said: tuple[str, Record]) -> CommitResult:
        """Commit a block in which each member says what is given, in this order; `cb/decider` names one of its keys."""
        return self.events(*((who, self.event(who.partition("/")[0], body)) for who, body in said))

    def event(self, member: str, body: Record) -> Event:
        """Return a member's next event, for the next block."""
        self.references += 1
        reference = self.references.to_bytes(16, "big")
        return Event(member, reference, self.now_ms + 1_010, *place_of(body), encode(body))

    def events(self, *said: tuple[str, Event]) -> CommitResult:
        """Commit a block of these events, each in a batch of its own."""
        return self.batches(*((who, (event,)) for who, event in said))

    def batches(self, *said: tuple[str, Sequence[Event]]) -> CommitResult:
        """Commit a block of these batches."""
        self.now_ms += 10
        batches = []
        numbers: dict[str, tuple[int, Hash]] = {}
        for who, events in said:
            member, _, desk = who.partition("/")
            key = key_of(member, desk or "source")
            number, previous = numbers.get(who) or self.chain.next_number(self.chain.tip_hash, key.public)
            raw = build_batch(
                [encode(event) for event in events],
                chain_id=self.chain_id,
                member=member,
                key=key,
                number=number,
                previous=previous,
                time_ms=TimeMs(self.now_ms),
            )
            batch = parse_batch(raw)
            numbers[who] = number + 1, Hash(batch.hash)
            self.store.write(self.chain.add_batch(batch), sync=True)
            batches.append(batch)
        block = self.chain.build(
            self.chain.tip_hash, time_ms=self.now_ms, epoch=self.set.epoch, proposer=0, batches=batches
        )
        header, block_hash = block.header, block.header.hash()
        certificate = self.certificate(header.epoch, header.height, block_hash)
        result = self.chain.commit(block_hash, certificate)
        self.store.write(result.puts, sync=True)
        self.chain.written(result.ticket)
        return result

    def rekey(self, number: int, turn: int) -> None:
        """Give a bank's validator new keys, which begins an epoch."""
        proposal = self.propose(self.rekeying(number, turn))
        self.vote(proposal, 0, 1, 2)
        assert self.say(bank(number), self.ready(proposal, f"node-{number}", turn=turn)).applied

    def certificate(self, epoch: Epoch, height: Height, block_hash: Hash) -> QuorumCertificate:
        """Return the commit certificate of a quorum of the present set."""
        signed = commit_statement(COMMIT, self.chain_id, epoch, View(0), height, block_hash)
        signatures = []
        for index, validator in enumerate(self.set.validators[: self.set.quorum]):
            keys = (key_of(validator.name, use) for use in ("vote", "vote1", "vote2"))
            key = next(item for item in keys if item.public == validator.vote_key)
            signatures.append((index, key.sign(signed)))
        return QuorumCertificate(COMMIT, epoch, View(0), height, block_hash, tuple(signatures))

    def say(self, member: str, body: Record) -> Outcome:
        """Commit a block with one event and return its outcome."""
        return self.block((member, body)).outcomes[0]

    def rule(self, member: str, body: Record) -> str:
        """Commit a block with one event and return the rule that it broke."""
        return self.say(member, body).rule

    def propose(self, action: AnyAction, member: str = "bank-0", term_ms: int = DAY_MS) -> Hash:
        """Propose and return the proposal's id; the event must be applied."""
        result = self.block((member, proposing(action, self.now_ms + term_ms)))
        assert result.outcomes[0].applied, result.outcomes[0]
        return Hash(result.event_ids[0])

    def refused(self, action: AnyAction, member: str = "bank-0") -> str:
        """Propose and return the rule that this breaks."""
        return self.rule(member, proposing(action, self.now_ms + DAY_MS))

    def ballot(self, member: str, proposal: bytes, approve: bool = True, use: str = "officer") -> CastVote:
        """Return a member's vote, signed by its officer."""
        key = key_of(member, use)
        return CastVote(proposal, approve, key.public, key.sign(vote_statement(self.chain_id, proposal, approve)))

    def vote(self, proposal: bytes, *numbers: int, approve: bool = True) -> None:
        """Have these banks vote, a block each; each vote must be applied."""
        for number in numbers:
            outcome = self.say(bank(number), self.ballot(bank(number), proposal, approve))
            assert outcome.applied, outcome

    def ready(self, proposal: bytes, node: str, height: int | None = None, turn: int = 1, **change: object) -> Ready:
        """Return a node's word that it holds the chain up to a height (default: the newest)."""
        at = self.chain.height if height is None else height
        block_hash = bytes(change.get("block_hash") or self.hash_at(at))  # type: ignore[call-overload]  # bytes
        key = key_of(node, f"vote{turn}")
        return Ready(proposal, at, block_hash, key.sign(ready_statement(self.chain_id, proposal, at, block_hash)))

    def hash_at(self, height: int) -> bytes:
        """Return the hash of a committed block."""
        from ledger.reader import LedgerReader

        block = LedgerReader(self.store, self.genesis).block(height)
        return bytes(32) if block is None else bytes(block.hash)

    def keys(self, node: str, member: str, turn: int = 1, **uses: str) -> ValidatorKeys:
        """Return new keys of a node with their proofs; `turn` tells one change from the next."""
        keys = [key_of(node, f"{use}{turn}") for use in ("vote", "cosign", "log")]
        proofs = [
            key.sign(key_statement(self.chain_id, uses.get(use, use), node, member, key.public))
            for use, key in zip(("vote", "cosign", "log"), keys, strict=True)
        ]
        return ValidatorKeys(*(key.public for key in keys), *proofs)

    def log_key(self, node: str, member: str, **change: str) -> DeclareLogKey:
        """Return the event by which a member declares a node's log key; `change` is what the key signed otherwise."""
        key = key_of(node, "log")
        named = {"use": "log", "name": node, "owner": member, **change}
        proof = key.sign(key_statement(self.chain_id, named["use"], named["name"], named["owner"], key.public))
        return DeclareLogKey(node, key.public, proof)

    def addition(self, number: int = 4, node: str = "") -> AddValidator:
        """Return the action that makes a node of a bank a validator."""
        name = node or f"node-{number}"
        return AddValidator(name, bank(number), self.keys(name, bank(number)), f"127.0.0.1:{7500 + len(name) + number}")

    def rekeying(self, number: int, turn: int = 1, address: str = "") -> RekeyValidator:
        """Return the action that gives a bank's validator new keys."""
        return RekeyValidator(f"node-{number}", self.keys(f"node-{number}", bank(number), turn), address)


@dataclass
class Founded(Council):
    """A council whose chain begins with the second rules, and with a catalogue."""

    def founded(self) -> Genesis:
        plain = genesis_of(self.validators + self.outsiders, self.validators)
        return replace(plain, catalogues=(CATALOGUE_1, CATALOGUE_2), rules=2)


@dataclass
class Schemed(Council):
    """A council whose chain begins with the third rules; bank-1 is a laboratory and an inspector as well."""

    rules: tuple[int, ...] = (1, 2, 3)
    accreditations: tuple[GenesisAccreditation, ...] = ()

    def founded(self) -> Genesis:
        plain = genesis_of(self.validators + self.outsiders, self.validators)
        roles = (Role.BANK, Role.LABORATORY, Role.INSPECTOR)
        members = tuple(replace(each, roles=roles) if each.id == bank(1) else each for each in plain.members)
        catalogues = (CATALOGUE_1, CATALOGUE_2)
        return replace(plain, members=members, catalogues=catalogues, rules=3, accreditations=self.accreditations)
