"""A structure-aware mutator of everything that peers send: it alters fields by what they mean, and signs anew.

`Mutator.altered` takes a payload of any wire kind and returns another: numbers of epoch, view, height and validator a
step off or at their limits, a hash of another known block, phases swapped, signatures of other messages, lists with
entries doubled, left out, reordered or put in from elsewhere, an old message, or the same bytes under another kind. A
malicious validator may sign anything with its own key, so most altered messages carry its valid signature; others keep
the old one. Used by `Mutant` in random runs, and by the tests that feed single cores.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any, Final, TypeVar

from chainnode.core import BATCH, BATCH_HAVE, BATCH_WANT, READY, WIRE_KINDS, BatchIds
from consensus.messages import (
    KINDS,
    CheckpointVote,
    Claim,
    NewView,
    PrePrepare,
    ViewChange,
    Vote,
    decode_message,
)
from ledger.batches import Batch
from ledger.governance_bodies import Ready
from primitives.block import Block, BlockHeader, batches_root
from primitives.encoding import Record, decode, encode
from primitives.errors import InputError
from primitives.hashing import leaf_hash
from primitives.ids import HASH_BYTES, Hash
from primitives.keys import SIGNATURE_BYTES
from primitives.notes import Checkpoint, cosign_statement
from primitives.validators import Validator
from primitives.votes import COMMIT, PREPARE, vote_statement
from sim.signatures import stand_in_signature
from sim.twister import Letter, Twister

Sign = Callable[[bytes], bytes]
R = TypeVar("R", bound=Record)

REMEMBERED_MAX: Final = 64
SHARE_ALTERED: Final = 0.15
SHARE_SIGNED: Final = 0.75
NUMBERS: Final = (0, 1, 2**31, 2**40, 2**53, 2**63 - 1)
"""Where limits lie."""

TYPES: Final[dict[int, type[Record]]] = {
    **{kind: type_ for kind, (type_, _) in KINDS.items()},
    BATCH: Batch,
    BATCH_WANT: BatchIds,
    BATCH_HAVE: BatchIds,
    READY: Ready,
}
"""Every kind that crosses the wire, and the Record that it holds."""


def replaced(record: R, **fields: object) -> R:
    """Return a Record with other values in some fields."""
    held = {name: getattr(record, name) for name in record.__struct_fields__}
    return type(record)(**{**held, **fields})


class Mutator:
    """Remembers what it saw, bounded, and makes altered messages of it; signs as one validator of a chain."""

    def __init__(self, chain_id: Hash, origin: str, sign: Sign, cosign: Sign) -> None:
        """Take the chain, the name of its log, and how the validator's two keys sign."""
        self._chain_id = chain_id
        self._origin = origin
        self._sign = sign
        self._cosign = cosign
        self._payloads: deque[tuple[int, bytes]] = deque(maxlen=REMEMBERED_MAX)
        self._entries: dict[type, deque[Any]] = {}  # Any: entries of any list, by their type
        self._hashes: deque[Hash] = deque(maxlen=REMEMBERED_MAX)
        self._signatures: deque[bytes] = deque(maxlen=REMEMBERED_MAX)

    def note(self, kind: int, payload: bytes) -> None:
        """Remember a message and what is in it."""
        self._payloads.append((kind, payload))
        record = _record(kind, payload)
        if record is not None:
            self._note(record)

    def altered(self, kind: int, payload: bytes, random: Random) -> tuple[int, bytes]:
        """Return a message that differs from this one in what it means, or how it is sent."""
        fate = random.random()
        if fate < 0.1 and self._payloads:
            return random.choice(self._payloads)  # an old one
        if fate < 0.15:
            return random.choice(list(WIRE_KINDS)), payload  # the same bytes as another kind
        record = _record(kind, payload)
        if record is None:
            return kind, payload[: random.randrange(len(payload) + 1)]
        for _ in range(random.choice((1, 1, 1, 2, 4))):
            record = self._altered(record, random)
        if random.random() < SHARE_SIGNED:
            record = self._signed(record)
        return kind, encode(record)

    # --- memory

    def _note(self, value: object) -> None:
        """Remember hashes, signatures, and Records that stand in lists."""
        if isinstance(value, Record):
            self._entries.setdefault(type(value), deque(maxlen=REMEMBERED_MAX)).append(value)
            if isinstance(value, BlockHeader):
                self._hashes.append(value.hash())
            for name in value.__struct_fields__:
                self._note(getattr(value, name))
        elif isinstance(value, tuple | list):
            for item in value:
                self._note(item)
        elif isinstance(value, bytes) and len(value) == HASH_BYTES:
            self._hashes.append(Hash(value))
        elif isinstance(value, bytes) and len(value) == SIGNATURE_BYTES:
            self._signatures.append(value)

    # --- altering

    def _altered(self, record: R, random: Random) -> R:
        """Return a Record with one field altered, here or further down."""
        names = record.__struct_fields__
        if not names:
            return record
        name = random.choice(names)
        return replaced(record, **{name: self._field(name, getattr(record, name), random)})

    def _field(self, name: str, value: object, random: Random) -> object:
        if isinstance(value, bool):
            return not value
        if isinstance(value, int):
            return self._number(name, value, random)
        if isinstance(value, bytes):
            return self._bytes(value, random)
        if isinstance(value, str):
            return random.choice(("", value[:-1], value + "x", "bank-0", "bank-1"))
        if isinstance(value, tuple | list):
            return type(value)(self._list(list(value), random))
        if isinstance(value, Record):
            known = self._entries.get(type(value))
            return random.choice(known) if known and random.random() < 0.2 else self._altered(value, random)
        return value

    def _number(self, name: str, value: int, random: Random) -> int:
        if name == "phase" and random.random() < 0.8:
            return COMMIT if value == PREPARE else PREPARE
        if random.random() < 0.1:
            return random.choice(NUMBERS)
        return max(0, value + random.choice((-2, -1, -1, 1, 1, 2, 10)))

    def _bytes(self, value: bytes, random: Random) -> bytes:
        if random.random() < 0.1:
            return value[: random.randrange(len(value) + 1)]
        if len(value) == HASH_BYTES:
            return random.choice(self._hashes) if self._hashes and random.random() < 0.8 else leaf_hash(value)
        if len(value) == SIGNATURE_BYTES and self._signatures:
            return random.choice(self._signatures)
        return random.randbytes(len(value))

    def _list(self, items: list[Any], random: Random) -> list[Any]:  # Any: entries of any list
        """Return a list with entries doubled, left out, reordered, altered, or put in from elsewhere."""
        if not items:
            known = [entry for held in self._entries.values() for entry in held]
            return [random.choice(known)] if known and random.random() < 0.5 else items
        at = random.randrange(len(items))
        match random.randrange(6):
            case 0:
                return [*items, items[at]]
            case 1:
                return items[:at] + items[at + 1 :]
            case 2:
                return random.sample(items, len(items))
            case 3:
                return [*items[:at], items[at], *items[at:]]
            case 4:
                known_alike = self._entries.get(type(items[at]))
                return [*items[:at], random.choice(known_alike) if known_alike else items[at], *items[at + 1 :]]
            case _:
                return [*items[:at], self._field("", items[at], random), *items[at + 1 :]]

    # --- signing

    def _signed(self, record: R) -> R:
        """Return a Record made consistent and signed with this validator's key, as far as it may be."""
        match record:
            case Vote() if record.phase in (PREPARE, COMMIT):
                return replaced(record, signature=self._vote(record.phase, record))
            case PrePrepare():
                block = _consistent(record.block)
                header = block.header
                fields = (record.epoch, record.view, header.height, header.hash())
                signature = self._sign(vote_statement(PREPARE, self._chain_id, *fields))
                return replaced(record, block=block, signature=signature)
            case ViewChange():
                changed = replaced(record, claims=tuple(map(_consistent_claim, record.claims)))
                return replaced(changed, signature=self._sign(changed.statement(self._chain_id)))
            case NewView():
                return replaced(record, signature=self._sign(record.statement(self._chain_id)))
            case CheckpointVote() if record.root:
                text = Checkpoint(self._origin, record.size, record.root).text()
                return replaced(record, signature=self._cosign(cosign_statement(text, record.time_s)))
            case _:
                return record

    def _vote(self, phase: int, vote: Vote) -> bytes:
        return self._sign(vote_statement(phase, self._chain_id, vote.epoch, vote.view, vote.height, vote.block_hash))


def _record(kind: int, payload: bytes) -> Record | None:
    """Return what a payload holds; None where it does not decode."""
    try:
        if kind in KINDS:
            return decode_message(kind, payload)
        return decode(TYPES[kind], payload, size_max=WIRE_KINDS[kind][1])
    except InputError:
        return None


def _consistent(block: Block) -> Block:
    """Return a block whose header names its list of batches; a list with something else in it stays as it is."""
    if not all(isinstance(item, bytes) for item in block.batch_hashes):
        return block
    return Block(replaced(block.header, batches_root=batches_root(block.batch_hashes)), block.batch_hashes)


def _consistent_claim(claim: Claim) -> Claim:
    """Return a claim whose block is consistent; what was put in a claim's place stays as it is."""
    return replaced(claim, block=_consistent(claim.block)) if isinstance(claim, Claim) else claim


class Mutant(Twister):
    """Sends altered messages of every type beside its honest ones, and other validators' messages altered as well."""

    def __init__(self, validator: Validator, chain_id: Hash) -> None:
        super().__init__(validator, chain_id)
        self._mutator: Mutator | None = None

    def takes(self, kind: int, payload: bytes) -> bool:
        """Remember what others say."""
        self._made().note(kind, payload)
        return True

    def _one(self, letter: Letter, random: Random) -> list[Letter]:
        mutator = self._made()
        mutator.note(letter.kind, letter.payload)
        if random.random() >= SHARE_ALTERED:
            return [letter]
        try:
            lie = Letter(letter.receiver, *mutator.altered(letter.kind, letter.payload, random))
        except InputError:
            return [letter]  # what was made has no bytes, such as a number too large
        return random.choice(([lie], [lie, letter], [letter, lie]))

    def _made(self) -> Mutator:
        if self._mutator is None:
            cosign_key = self._validator.cosign_key
            self._mutator = Mutator(
                self._chain_id,
                self.core.chain.genesis.origin,
                self._sign,
                lambda statement: stand_in_signature(cosign_key, statement),
            )
        return self._mutator
