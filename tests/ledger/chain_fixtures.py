"""A consortium of four banks for tests of the ledger's core: keys, a genesis, simple kinds of event, and a driver."""

from collections.abc import Sequence
from hashlib import sha256

from ledger.batches import ParsedBatch, build_batch, parse_batch, verify_batch
from ledger.chain import Chain, CommitResult
from ledger.events import Event
from ledger.evidence import EVIDENCE_KINDS
from ledger.genesis import Genesis, GenesisMember, GenesisSource, GenesisValidator
from ledger.kinds import ApplyContext, KindSpec, RuleBroken, assemble
from ledger.members import Role
from ledger.policy import Policy
from ledger.state import Transaction
from ledger.store import Store
from primitives.block import Block
from primitives.encoding import Record, encode
from primitives.errors import InputError
from primitives.ids import ZERO_HASH, Epoch, Hash, Height, TimeMs, View
from primitives.keys import SigningKey
from primitives.votes import COMMIT, QuorumCertificate, vote_statement

START_MS = 1_767_225_600_000
NAMES = ("bank-a", "bank-b", "bank-c", "bank-d")


def key_of(name: str, use: str) -> SigningKey:
    """Return the key of a name and use, the same in every run."""
    return SigningKey(sha256(f"{use} {name}".encode()).digest())


class Note(Record):
    """Recorded only."""

    text: str


class SetValue(Record):
    """Sets a value in the state; `fails` breaks a rule after having written."""

    key: str
    value: str
    fails: bool = False


class Value(Record):
    """A row of the state."""

    value: str


NOTE, SET, OFFICIAL = 200, 201, 202


def _check_note(body: Note) -> None:
    if not body.text:
        raise InputError("a note is empty", expected="some text", got="none")


def _set(context: ApplyContext, state: Transaction, body: SetValue) -> None:
    if body.value:
        state.put(f"value/{body.key}", Value(body.value))
    else:
        state.delete(f"value/{body.key}")
    if body.fails:
        raise RuleBroken("told_to_fail", body.key)


KINDS = assemble(
    (
        KindSpec(NOTE, "test.note", {1: Note}, changes_state=False, check_shape=_check_note),
        KindSpec(SET, "test.set", {1: SetValue}, changes_state=True, apply=_set),
        KindSpec(OFFICIAL, "test.official", {1: Note}, changes_state=False, roles=frozenset({"regulator"})),
    ),
    EVIDENCE_KINDS,
)


def genesis(policy: Policy | None = None) -> Genesis:
    """Return the genesis of the four banks; bank-d may also act as a regulator."""
    return Genesis(
        chain="test-net",
        time_ms=START_MS,
        members=tuple(
            GenesisMember(
                id=name,
                name=name,
                roles=(Role.BANK, Role.REGULATOR) if name == "bank-d" else (Role.BANK,),
                ca_certificate="",
                agents=(),
                sources=(
                    GenesisSource(
                        key_of(name, "source").public,
                        (Role.BANK, Role.REGULATOR) if name == "bank-d" else (Role.BANK,),
                    ),
                ),
                officers=(),
            )
            for name in NAMES
        ),
        validators=tuple(
            GenesisValidator(
                name=f"node-{name}",
                member=name,
                vote_key=key_of(name, "vote").public,
                cosign_key=key_of(name, "cosign").public,
                log_key=key_of(name, "log").public,
                address=f"127.0.0.1:{7400 + i}",
            )
            for i, name in enumerate(NAMES)
        ),
        policy=policy or Policy(),
        catalogues=(),
    )


def event(
    body: Record,
    *,
    kind: int = NOTE,
    member: str = "bank-a",
    reference: int = 0,
    expires_ms: int = START_MS + 3_600_000,
    schema: int = 1,
) -> bytes:
    """Return the canonical bytes of an event."""
    return encode(Event(member, reference.to_bytes(16, "big"), expires_ms, kind, schema, encode(body)))


class Bank:
    """A source that numbers its batches."""

    def __init__(self, name: str, chain_id: Hash) -> None:
        self.name = name
        self.chain_id = chain_id
        self.key = key_of(name, "source")
        self.number = 0
        self.previous = ZERO_HASH
        self.references = 0

    def raw(self, events: Sequence[bytes]) -> bytes:
        """Return the next signed batch."""
        raw = build_batch(
            events,
            chain_id=self.chain_id,
            member=self.name,
            key=self.key,
            number=self.number,
            previous=self.previous,
            time_ms=TimeMs(START_MS),
        )
        self.number += 1
        self.previous = parse_batch(raw, KINDS).hash
        return raw

    def batch(self, events: Sequence[bytes]) -> ParsedBatch:
        """Return the next batch, parsed and verified."""
        parsed = parse_batch(self.raw(events), KINDS)
        verify_batch(parsed)
        return parsed

    def event(self, body: Record, kind: int = NOTE, **fields: int) -> bytes:
        """Return an event of this bank under a fresh reference."""
        self.references += 1
        return event(body, kind=kind, member=self.name, **{"reference": self.references, **fields})

    def notes(self, count: int) -> ParsedBatch:
        """Return the next batch, of that many notes."""
        return self.batch([self.event(Note(f"note {self.references} of {self.name}")) for _ in range(count)])

    def sets(self, **values: str) -> ParsedBatch:
        """Return the next batch, setting these values (an empty one deletes)."""
        return self.batch([self.event(SetValue(key, value), SET) for key, value in values.items()])


def certificate_of(block: Block, genesis_: Genesis) -> QuorumCertificate:
    """Return a commit certificate signed by three of the four validators."""
    header, block_hash = block.header, block.header.hash()
    message = vote_statement(COMMIT, genesis_.chain_id, header.epoch, View(0), header.height, block_hash)
    signatures = tuple((i, key_of(name, "vote").sign(message)) for i, name in enumerate(NAMES[:3]))
    return QuorumCertificate(COMMIT, Epoch(0), View(0), Height(header.height), block_hash, signatures)


class Ledger:
    """A chain over a store, and its banks; writes what the chain hands out."""

    def __init__(self, store: Store, policy: Policy | None = None) -> None:
        self.store = store
        self.genesis = genesis(policy)
        self.chain = Chain(store, self.genesis, KINDS)
        self.banks = {name: Bank(name, self.genesis.chain_id) for name in NAMES}
        self.now_ms = self.chain.header.time_ms

    def add(self, *batches: ParsedBatch) -> None:
        """Hold batches and write them."""
        for batch in batches:
            self.store.write(self.chain.add_batch(batch), sync=True)
        self.chain.written(self.chain.ticket)

    def build(self, *batches: ParsedBatch, parent: Hash | None = None, time_ms: int | None = None) -> Block:
        """Add the batches and build a block of them on `parent` (default: the tip)."""
        self.add(*batches)
        self.now_ms = self.now_ms + 10 if time_ms is None else time_ms
        above = self.chain.tip_hash if parent is None else parent
        return self.chain.build(above, time_ms=self.now_ms, epoch=0, proposer=0, batches=batches)

    def commit(self, block: Block) -> CommitResult:
        """Commit a block and write its rows."""
        result = self.chain.commit(block.header.hash(), certificate_of(block, self.genesis))
        self.store.write(result.puts, sync=True)
        self.chain.written(result.ticket)
        return result

    def extend(self, *batches: ParsedBatch, time_ms: int | None = None) -> CommitResult:
        """Build and commit a block of these batches."""
        return self.commit(self.build(*batches, time_ms=time_ms))

    def reopen(self) -> "Ledger":
        """Replace the chain by one opened on the same store, as after a restart."""
        self.chain = Chain(self.store, self.genesis, KINDS)
        return self
