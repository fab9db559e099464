"""What all malicious validators share: hold of their own core, their own key, and the letters that they twist.

Not here: what each of them does (`sim.malicious`, `sim.liars`, `sim.mutator`).
"""

from __future__ import annotations

from random import Random
from typing import NamedTuple, Protocol

from chainnode.core import BATCH, NodeCore
from consensus.messages import Message, NewView, PrePrepare, ViewChange, Vote, decode_message, encode_message, kind_of
from consensus.state import ReplicaState
from primitives.block import Block
from primitives.ids import Hash, TimeMs
from primitives.validators import Validator
from primitives.votes import PREPARE, vote_statement
from sim.signatures import stand_in_signature


class Letter(NamedTuple):
    """A message to one node, by its index; it leaves `late_ms` after it should."""

    receiver: int
    kind: int
    payload: bytes
    late_ms: int = 0


class Behaviour(Protocol):
    """Makes of what a node would send what a malicious one sends."""

    def attach(self, core: NodeCore) -> None:
        """Its node starts with this core, whose state it may look at."""

    def takes(self, kind: int, payload: bytes) -> bool:
        """Say whether its core is to hear a message that arrives."""

    def twist(self, letters: list[Letter], random: Random) -> list[Letter]:
        """Return what is sent instead of one message's letters."""


class Twister:
    """Signs as one validator; sends everything as it is. Children change single letters, or single messages."""

    def __init__(self, validator: Validator, chain_id: Hash) -> None:
        self._validator = validator
        self._chain_id = chain_id
        self._core: NodeCore | None = None

    def attach(self, core: NodeCore) -> None:
        """Take hold of the honest core behind this behaviour."""
        self._core = core

    def takes(self, kind: int, payload: bytes) -> bool:
        """Hear everything."""
        del kind, payload
        return True

    def twist(self, letters: list[Letter], random: Random) -> list[Letter]:
        """Twist each letter by itself."""
        return [twisted for letter in letters for twisted in self._one(letter, random)]

    def _one(self, letter: Letter, random: Random) -> list[Letter]:
        del random
        return [letter]

    # --- its own core and key

    @property
    def core(self) -> NodeCore:
        """The core of its node's present life."""
        assert self._core is not None, "a behaviour twists what a running core sends"
        return self._core

    @property
    def state(self) -> ReplicaState:
        """The honest replica's state behind this behaviour."""
        return self.core.replica.state

    def _sign(self, statement: bytes) -> bytes:
        return stand_in_signature(self._validator.vote_key, statement)

    def _signed(self, vote: Vote) -> Vote:
        message = vote_statement(vote.phase, self._chain_id, vote.epoch, vote.view, vote.height, vote.block_hash)
        fields = (vote.phase, vote.epoch, vote.view, vote.height, vote.block_hash, vote.validator)
        return Vote(*fields, self._sign(message))

    def _proposal(self, message: PrePrepare, block: Block) -> PrePrepare:
        """Return a proposal of another block in a proposal's place."""
        header = block.header
        signed = vote_statement(PREPARE, self._chain_id, message.epoch, message.view, header.height, header.hash())
        return PrePrepare(message.epoch, message.view, block, self._sign(signed))

    def _view_change(self, change: ViewChange) -> ViewChange:
        """Return a VIEW-CHANGE with this validator's signature."""
        fields = (change.epoch, change.view, change.validator, change.delivered, change.claims)
        return ViewChange(*fields, self._sign(change.statement(self._chain_id)))

    def _new_view(self, message: NewView) -> NewView:
        """Return a NEW-VIEW with this validator's signature."""
        signature = self._sign(message.statement(self._chain_id))
        return NewView(message.epoch, message.view, message.view_changes, signature)


def decoded(letter: Letter) -> Message | None:
    """Return the consensus message of a letter; None where it is another kind."""
    return None if letter.kind >= BATCH else decode_message(letter.kind, letter.payload)


def letter_of(receiver: int, message: Message, late_ms: int = 0) -> Letter:
    """Return a message as a letter."""
    return Letter(receiver, kind_of(message), encode_message(message), late_ms)


def other_block(block: Block) -> Block:
    """Return a block that differs in nothing but its time, and so executes alike: the best lie of an equivocator."""
    return altered_block(block, time_ms=TimeMs(block.header.time_ms + 1))


def altered_block(block: Block, **fields: object) -> Block:
    """Return a block whose header has other values in some fields."""
    header = block.header
    held = {name: getattr(header, name) for name in header.__struct_fields__}
    return Block(type(header)(**{**held, **fields}), block.batch_hashes)
