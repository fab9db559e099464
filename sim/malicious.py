"""What malicious validators do: each behaviour twists what its node's honest core wants to send.

They sign with their own key only; at most f of them stand in a run. Here: the plain ones, and the list of all. Not
here: liars (`sim.liars`), altered messages of every type (`sim.mutator`), when and how many there are (`sim.run`).
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final

from chainnode.core import BATCH, BATCH_HAVE
from consensus.messages import PrePrepare, Vote
from primitives.hashing import leaf_hash
from primitives.ids import Hash
from primitives.validators import Validator
from sim.liars import (
    EmptyLeader,
    EpochMixer,
    LyingLeader,
    LyingServer,
    NewViewForger,
    Relabeller,
    RisingViewChanger,
    SkippingLeader,
    SlowLeader,
    VoteWithholder,
)
from sim.mutator import Mutant
from sim.twister import Behaviour, Letter, Twister, decoded, letter_of, other_block

MEMORY_MAX: Final = 400


class Equivocator(Twister):
    """As leader proposes another block to every second validator, and votes to each for what it was shown."""

    def __init__(self, validator: Validator, chain_id: Hash) -> None:
        super().__init__(validator, chain_id)
        self._twins: dict[Hash, Hash] = {}

    def _one(self, letter: Letter, random: Random) -> list[Letter]:
        del random
        message, receiver = decoded(letter), letter.receiver
        if receiver % 2 == 0:
            return [letter]
        if isinstance(message, PrePrepare):
            block = other_block(message.block)
            self._twins[message.block.header.hash()] = block.header.hash()
            return [letter_of(receiver, self._proposal(message, block))]
        if isinstance(message, Vote) and message.block_hash in self._twins:
            fields = (message.phase, message.epoch, message.view, message.height, self._twins[message.block_hash])
            return [letter_of(receiver, self._signed(Vote(*fields, message.validator, b"")))]
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
        return [] if letter.kind in (BATCH, BATCH_HAVE) and letter.receiver != 1 else [letter]


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
            old = random.choice(self._memory)
            return [letter, Letter(letter.receiver, old.kind, old.payload)]
        return [letter]


class WrongVoter(Twister):
    """Votes for blocks that nobody proposed, in views and at heights near the right ones."""

    def _one(self, letter: Letter, random: Random) -> list[Letter]:
        message = decoded(letter)
        if not isinstance(message, Vote) or random.random() < 0.5:
            return [letter]
        view, height = message.view + random.choice((0, 0, 1)), max(1, message.height + random.choice((-1, 0, 0, 1)))
        invented = leaf_hash(random.randbytes(8))
        wrong = Vote(message.phase, message.epoch, view, height, invented, message.validator, b"")  # type: ignore[arg-type]  # ints
        return [letter_of(letter.receiver, self._signed(wrong)), letter]


class Garbler(Twister):
    """Flips a byte of every twentieth message: what does not decode or verify must be refused and counted."""

    def _one(self, letter: Letter, random: Random) -> list[Letter]:
        receiver, kind, payload, _ = letter
        if random.random() >= 0.05 or not payload:
            return [letter]
        at = random.randrange(len(payload))
        garbled = payload[:at] + bytes([payload[at] ^ (1 << random.randrange(8))]) + payload[at + 1 :]
        return [Letter(receiver, kind, garbled)]


BEHAVIOURS: Final[tuple[Callable[[Validator, Hash], Behaviour], ...]] = (
    Equivocator,
    Silent,
    Withholder,
    Replayer,
    WrongVoter,
    Garbler,
    Mutant,
    SlowLeader,
    LyingLeader,
    EmptyLeader,
    SkippingLeader,
    LyingServer,
    NewViewForger,
    VoteWithholder,
    RisingViewChanger,
)

EPOCH_BEHAVIOURS: Final[tuple[Callable[[Validator, Hash], Behaviour], ...]] = (Relabeller, EpochMixer)
"""Those that are drawn for runs whose validators change, in place of one of the others."""
