"""Validators that lie with a purpose: as leader, in catch-up answers, in view changes, by withholding votes.

Each keeps to the protocol otherwise, so that its lie is all that is wrong. Source: the faults of PBFT implementations
that reviews found; which they are is said at each.
"""

from __future__ import annotations

from random import Random
from typing import Final

from chainnode.core import BATCH
from consensus.messages import (
    Blocks,
    CheckpointVote,
    Message,
    NewView,
    PrePrepare,
    Proposals,
    Status,
    ViewChange,
    Vote,
    decode_message,
)
from consensus.state import Parameters
from ledger.batches import parse_batch
from ledger.chain import ParentUnknown
from ledger.execution import BlockRefused
from primitives.block import Block, CommittedBlock, batches_root
from primitives.errors import InputError
from primitives.hashing import leaf_hash
from primitives.ids import Epoch, Hash, Height, TimeMs, View
from primitives.validators import Validator
from primitives.votes import COMMIT
from sim.twister import Letter, Twister, altered_block, decoded, letter_of

MARGIN_MS: Final = 150
AHEAD_HEIGHTS: Final = 100
HUGE_BYTES: Final = 256 * 1024
PARTS: Final = 3
HEARD_MAX: Final = 16


class SlowLeader(Twister):
    """As leader lets everybody wait for a time-out, almost: now a little less, now a little more."""

    def twist(self, letters: list[Letter], random: Random) -> list[Letter]:
        """Hold back proposals and NEW-VIEWs, for all receivers alike."""
        if not letters or not isinstance(decoded(letters[0]), PrePrepare | NewView):
            return letters
        base_ms = Parameters().timeout_base_ms
        late_ms = base_ms + random.choice((-MARGIN_MS, MARGIN_MS)) if random.random() < 0.5 else 0
        return [letter._replace(late_ms=late_ms) for letter in letters]


class LyingLeader(Twister):
    """As leader proposes blocks that do not hold: wrong roots, wrong times, batches that nobody has or left out."""

    def twist(self, letters: list[Letter], random: Random) -> list[Letter]:
        """Tell everybody the same lie about a third of the blocks."""
        message = decoded(letters[0]) if letters else None
        if not isinstance(message, PrePrepare) or random.random() > 1 / PARTS:
            return letters
        lie = self._proposal(message, _untrue(message.block, random))
        return [letter_of(letter.receiver, lie) for letter in letters]


def _untrue(block: Block, random: Random) -> Block:
    header = block.header
    match random.randrange(6):
        case 0:
            name = random.choice(("outcomes_root", "log_root", "state_root", "batch_logs_root", "next_validators"))
            return altered_block(block, **{name: leaf_hash(random.randbytes(8))})
        case 1:
            steps = (-60_000, -1_000, 4_000, 60_000)
            return altered_block(block, time_ms=TimeMs(max(0, header.time_ms + random.choice(steps))))
        case 2:
            return _listing(block, (*block.batch_hashes, leaf_hash(random.randbytes(8))))
        case 3:
            return _listing(block, block.batch_hashes[1:])
        case 4:
            return altered_block(block, event_count=header.event_count + 1, first_index=header.first_index + 1)
        case _:
            return altered_block(block, parent=leaf_hash(random.randbytes(8)))


def _listing(block: Block, batch_hashes: tuple[Hash, ...]) -> Block:
    """Return a block that lists other batches, and says so in its header."""
    return Block(altered_block(block, batches_root=batches_root(batch_hashes)).header, batch_hashes)


class EmptyLeader(Twister):
    """As leader proposes blocks that execute alike everywhere and order nothing: progress in name only."""

    def __init__(self, validator: Validator, chain_id: Hash) -> None:
        super().__init__(validator, chain_id)
        self._instead: dict[Hash, Hash] = {}

    def twist(self, letters: list[Letter], random: Random) -> list[Letter]:
        """Put an empty block on the same parent, or on the empty block that stands for it."""
        del random
        message = decoded(letters[0]) if letters else None
        if not isinstance(message, PrePrepare) or message.block.header.proposer != self.state.me:
            return letters
        header = message.block.header
        parent = self._instead.get(header.parent, header.parent)
        try:
            fields = {"time_ms": header.time_ms, "epoch": header.epoch, "proposer": header.proposer}
            block = self.core.chain.build(parent, batches=[], **fields)
        except (ParentUnknown, BlockRefused):
            return []
        self._instead = {**dict(list(self._instead.items())[-16:]), header.hash(): block.header.hash()}
        return [letter_of(letter.receiver, self._proposal(message, block)) for letter in letters]


class SkippingLeader(Twister):
    """Never hears the batches of one bank, so that it can't order them as leader."""

    def takes(self, kind: int, payload: bytes) -> bool:
        """Turn a deaf ear to the batches of the first bank that is not its own."""
        if kind != BATCH:
            return True
        skipped = "bank-1" if self._validator.member == "bank-0" else "bank-0"
        try:
            return parse_batch(payload).header.member != skipped
        except InputError:
            return True


class LyingServer(Twister):
    """Claims heights that it has not, and answers whoever asks with wrong, partial, huge, or no blocks."""

    def _one(self, letter: Letter, random: Random) -> list[Letter]:
        message = decoded(letter)
        match message:
            case Status():
                far = Height(message.delivered + random.choice((1, AHEAD_HEIGHTS, 2**40)))
                view = View(message.view + random.choice((0, 1, 2**20)))
                claim = Status(message.epoch, view, random.random() < 0.5, far, far, far, random.random() < 0.5)
                return [letter_of(letter.receiver, random.choice((message, claim)))]
            case Blocks():
                lie = _served(message, random)
                return [] if lie is None else [letter_of(letter.receiver, lie)]
            case Proposals():
                blocks = tuple(altered_block(block, state_root=leaf_hash(b"lie")) for block in message.blocks)
                return random.choice(([], [letter_of(letter.receiver, Proposals(blocks))], [letter]))
            case _:
                return [letter]


def _served(message: Blocks, random: Random) -> Blocks | None:
    """Return another answer than the blocks asked for; None is no answer."""
    blocks, batches = message.blocks, message.batches
    match random.randrange(7):
        case 0:
            return None
        case 1:
            return Blocks(blocks[: len(blocks) // 2], batches)
        case 2:
            return Blocks(blocks[1:], batches)
        case 3:
            return Blocks(blocks[::-1], batches)
        case 4:
            return Blocks(blocks, ())
        case 5:
            lies = [
                CommittedBlock(altered_block(held.block, state_root=leaf_hash(b"lie")), held.certificate)
                for held in blocks
            ]
            return Blocks(tuple(lies), batches)
        case _:
            return Blocks(blocks, (*batches, bytes(HUGE_BYTES)))


class NewViewForger(Twister):
    """As a new leader picks whose VIEW-CHANGEs count, claims nothing itself, and tells two halves different things."""

    def __init__(self, validator: Validator, chain_id: Hash) -> None:
        super().__init__(validator, chain_id)
        self._changes: dict[tuple[View, int], ViewChange] = {}

    def takes(self, kind: int, payload: bytes) -> bool:
        """Keep everybody's VIEW-CHANGEs of the last views."""
        message = _message(kind, payload)
        if isinstance(message, ViewChange):
            self._keep(message)
        return True

    def _keep(self, change: ViewChange) -> None:
        self._changes[change.view, change.validator] = change
        while len(self._changes) > 8 * self.state.validators.n:
            del self._changes[min(self._changes)]

    def twist(self, letters: list[Letter], random: Random) -> list[Letter]:
        """Send one half, or all, a NEW-VIEW of the VIEW-CHANGEs that claim least, or of old ones."""
        message = decoded(letters[0]) if letters else None
        if isinstance(message, ViewChange):
            self._keep(message)
            if random.random() < 0.5:
                return [letter_of(letter.receiver, self._bare(message)) for letter in letters]
        if not isinstance(message, NewView):
            return letters
        lie = self._least(message, random)
        told = [letter_of(letter.receiver, lie) if letter.receiver % 2 else letter for letter in letters]
        return told if random.random() < 0.7 else [letter_of(letter.receiver, lie) for letter in letters]

    def _bare(self, change: ViewChange) -> ViewChange:
        return self._view_change(ViewChange(change.epoch, change.view, change.validator, change.delivered, (), b""))

    def _least(self, message: NewView, random: Random) -> NewView:
        """Return a NEW-VIEW of the quorum that claims least, or (refused) of VIEW-CHANGEs for an earlier view."""
        view = message.view - 1 if random.random() < 0.2 else message.view
        known = [change for (of, _), change in sorted(self._changes.items()) if of == view]
        me = self.state.me
        bare = [self._bare(change) if change.validator == me else change for change in known]
        bare.sort(key=lambda change: (len(change.claims), change.delivered_height))
        quorum = sorted(bare[: self.state.validators.quorum], key=lambda change: change.validator)
        return self._new_view(NewView(message.epoch, message.view, tuple(quorum), b""))


class VoteWithholder(Twister):
    """Withholds its COMMITs of every second height, or all its votes of every fourth: certificates above gaps."""

    def _one(self, letter: Letter, random: Random) -> list[Letter]:
        del random
        message = decoded(letter)
        if not isinstance(message, Vote):
            return [letter]
        withheld = message.height % 4 == 0 or (message.phase == COMMIT and message.height % 2 == 1)
        return [] if withheld else [letter]


class RisingViewChanger(Twister):
    """Sends a VIEW-CHANGE for an ever higher view with each of its messages: each is new, and must be verified."""

    def __init__(self, validator: Validator, chain_id: Hash) -> None:
        super().__init__(validator, chain_id)
        self._highest = 0

    def _one(self, letter: Letter, random: Random) -> list[Letter]:
        state = self.state
        if state.me is None:
            return [letter]
        self._highest = max(self._highest, state.view) + random.choice((1, 1, 1, 1_000))
        delivered = tuple(held for held in state.tip.certificates[-8:] if held.epoch >= state.epoch - 1)
        vow = self._view_change(ViewChange(state.epoch, View(self._highest), state.me, delivered, (), b""))
        return [letter, letter_of(letter.receiver, vow)]


def _message(kind: int, payload: bytes) -> Message | None:
    """Return a peer's message; None where it is not consensus' or does not decode."""
    try:
        return None if kind >= BATCH else decode_message(kind, payload)
    except InputError:
        return None


class Relabeller(Twister):
    """Sends everybody's newest cosignatures under heights to come, before their own: a cosigner signs no height.

    Its own it gives to nobody, half of the time, so that those of the others are needed.
    """

    def __init__(self, validator: Validator, chain_id: Hash) -> None:
        super().__init__(validator, chain_id)
        self._heard: dict[tuple[Epoch, int], CheckpointVote] = {}

    def takes(self, kind: int, payload: bytes) -> bool:
        """Keep the newest cosignature of everybody."""
        message = _message(kind, payload)
        if isinstance(message, CheckpointVote):
            self._heard.pop((message.epoch, message.validator), None)
            self._heard[message.epoch, message.validator] = message
            self._heard = dict(list(self._heard.items())[-HEARD_MAX:])
        return True

    def _one(self, letter: Letter, random: Random) -> list[Letter]:
        message = decoded(letter)
        if not isinstance(message, CheckpointVote | Status):
            return [letter]
        tip = self.state.tip.height
        lies = [letter_of(letter.receiver, _relabelled(vote, tip, random)) for vote in self._heard.values()]
        withheld = isinstance(message, CheckpointVote) and random.random() < 0.5
        return lies if withheld else [*lies, letter]


def _relabelled(vote: CheckpointVote, tip: Height, random: Random) -> CheckpointVote:
    """Return a cosignature under another height, mostly the next one, and now and then another epoch."""
    height = max(1, tip + random.choice((-2, -1, 1, 1, 1, 2, 8)))
    epoch = max(0, vote.epoch + random.choice((-1, 0, 0, 0, 1)))
    labels = (Epoch(epoch), Height(height), vote.size, vote.root, vote.time_s)
    return CheckpointVote(*labels, vote.validator, vote.signature)


class EpochMixer(Twister):
    """Signs its votes for the epochs before and after as well, as one who never heard of a barrier, or too early."""

    def _one(self, letter: Letter, random: Random) -> list[Letter]:
        message = decoded(letter)
        if not isinstance(message, Vote) or message.validator != self.state.me:
            return [letter]
        epoch = Epoch(max(0, message.epoch + random.choice((-1, 1))))
        fields = (message.phase, epoch, message.view, message.height, message.block_hash, message.validator)
        return [letter_of(letter.receiver, self._signed(Vote(*fields, b""))), letter]
