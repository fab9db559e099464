"""What malicious validators do: each behaviour twists what its node's honest core wants to send.

They sign with their own key only; at most f of them stand in a run. Not here: when and how many (`sim.run`).
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final, Protocol

from chainnode.core import BATCH, BATCH_HAVE
from consensus.messages import Message, PrePrepare, Vote, decode_message, encode_message, kind_of
from primitives.block import Block
from primitives.hashing import leaf_hash
from primitives.ids import Hash, TimeMs
from primitives.validators import Validator
from primitives.votes import PREPARE, vote_statement
from sim.signatures import stand_in_signature

Letter = tuple[int, int, bytes]
"""Receiver's index, kind, payload."""

MEMORY_MAX: Final = 400


class Behaviour(Protocol):
    """Makes of what a node would send what a malicious one sends."""

    def twist(self, letters: list[Letter], random: Random) -> list[Letter]:
        """Return what is sent instead of one message's letters."""


def other_block(block: Block) -> Block:
    """Return a block that differs in nothing but its time, and so executes alike: the best lie of an equivocator."""
    header = block.header
    fields = {name: getattr(header, name) for name in header.__struct_fields__}
    return Block(type(header)(**{**fields, "time_ms": TimeMs(header.time_ms + 1)}), block.batch_hashes)


class Twister:
    """Signs as one validator; `decode` leaves messages that are not consensus' alone."""

    def __init__(self, validator: Validator, chain_id: Hash) -> None:
        self._validator = validator
        self._chain_id = chain_id

    def twist(self, letters: list[Letter], random: Random) -> list[Letter]:
        """Twist each letter by itself."""
        return [twisted for letter in letters for twisted in self._one(letter, random)]

    def _one(self, letter: Letter, random: Random) -> list[Letter]:
        del random
        return [letter]

    def _signed(self, vote: Vote) -> Vote:
        message = vote_statement(vote.phase, self._chain_id, vote.epoch, vote.view, vote.height, vote.block_hash)
        signature = stand_in_signature(self._validator.vote_key, message)
        return Vote(vote.phase, vote.epoch, vote.view, vote.height, vote.block_hash, vote.validator, signature)


def _decoded(letter: Letter) -> Message | None:
    return None if letter[1] >= BATCH else decode_message(letter[1], letter[2])


def _letter(receiver: int, message: Message) -> Letter:
    return receiver, kind_of(message), encode_message(message)


class Equivocator(Twister):
    """As leader proposes another block to every second validator, and votes to each for what it was shown."""

    def __init__(self, validator: Validator, chain_id: Hash) -> None:
        super().__init__(validator, chain_id)
        self._twins: dict[Hash, Hash] = {}

    def _one(self, letter: Letter, random: Random) -> list[Letter]:
        del random
        message, receiver = _decoded(letter), letter[0]
        if receiver % 2 == 0:
            return [letter]
        if isinstance(message, PrePrepare):
            block = other_block(message.block)
            header = block.header
            self._twins[message.block.header.hash()] = header.hash()
            vote = Vote(PREPARE, message.epoch, message.view, header.height, header.hash(), 0, b"")
            signature = self._signed(vote).signature
            return [_letter(receiver, PrePrepare(message.epoch, message.view, block, signature))]
        if isinstance(message, Vote) and message.block_hash in self._twins:
            fields = (message.phase, message.epoch, message.view, message.height, self._twins[message.block_hash])
            return [_letter(receiver, self._signed(Vote(*fields, message.validator, b"")))]
        return [letter]


class Silent(Twister):
    """Says nothing of consensus for long stretches: a leader that lets everybody wait."""

    def __init__(self, validator: Validator, chain_id: Hash) -> None:
        super().__init__(validator, chain_id)
        self._left = 0

    def _one(self, letter: Letter, random: Random) -> list[Letter]:
        if self._left == 0 and random.random() < 0.002:
            self._left = random.randint(100, 2_000)
        if self._left == 0:
            return [letter]
        self._left -= 1
        return []


class Withholder(Twister):
    """Names batches in its proposals and gives them to one validator only."""

    def _one(self, letter: Letter, random: Random) -> list[Letter]:
        del random
        return [] if letter[1] in (BATCH, BATCH_HAVE) and letter[0] != 1 else [letter]


class Replayer(Twister):
    """Sends what it sent long ago, again and to others, between its honest messages."""

    def __init__(self, validator: Validator, chain_id: Hash) -> None:
        super().__init__(validator, chain_id)
        self._memory: list[Letter] = []

    def _one(self, letter: Letter, random: Random) -> list[Letter]:
        if len(self._memory) < MEMORY_MAX:
            self._memory.append(letter)
        else:
            self._memory[random.randrange(MEMORY_MAX)] = letter
        if random.random() < 0.3:
            _, kind, payload = random.choice(self._memory)
            return [letter, (letter[0], kind, payload)]
        return [letter]


class WrongVoter(Twister):
    """Votes for blocks that nobody proposed, in views and at heights near the right ones."""

    def _one(self, letter: Letter, random: Random) -> list[Letter]:
        message = _decoded(letter)
        if not isinstance(message, Vote) or random.random() < 0.5:
            return [letter]
        view, height = message.view + random.choice((0, 0, 1)), max(1, message.height + random.choice((-1, 0, 0, 1)))
        invented = leaf_hash(random.randbytes(8))
        wrong = Vote(message.phase, message.epoch, view, height, invented, message.validator, b"")  # type: ignore[arg-type]  # ints
        return [_letter(letter[0], self._signed(wrong)), letter]


class Garbler(Twister):
    """Flips a byte of every twentieth message: what does not decode or verify must be refused and counted."""

    def _one(self, letter: Letter, random: Random) -> list[Letter]:
        receiver, kind, payload = letter
        if random.random() >= 0.05 or not payload:
            return [letter]
        at = random.randrange(len(payload))
        garbled = payload[:at] + bytes([payload[at] ^ (1 << random.randrange(8))]) + payload[at + 1 :]
        return [(receiver, kind, garbled)]


BEHAVIOURS: Final[tuple[Callable[[Validator, Hash], Behaviour], ...]] = (
    Equivocator,
    Silent,
    Withholder,
    Replayer,
    WrongVoter,
    Garbler,
)
