"""The rules that must hold after every step, checked by tests and simulations; never run in production.

`ReplicaMonitor` watches what one validator writes and sends, across its restarts; `ClusterMonitor` what all of them
commit. A broken rule raises `InvariantBroken`, which names it. What a step produced binds nobody until it is synced: a
crash before that loses it, and nothing of it was sent. So a step is held as tentative until its turn is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from consensus.choice import Choice, choose
from consensus.effects import Broadcast, Delivered, Effect, Persist, Send
from consensus.messages import (
    BLOCKS_PER_FETCH_MAX,
    BUFFER_HEIGHTS,
    WINDOW,
    CheckpointVote,
    Message,
    NewView,
    PrePrepare,
    ViewChange,
    Vote,
)
from consensus.records import Committed, Cosigned, Prepared, Proposed, ViewChanged, ViewStarted
from consensus.state import BLOCKS_KEPT_PER_HEIGHT, ReplicaState
from consensus.tally import VIEWS_KEPT
from primitives.block import Block, CommittedBlock
from primitives.encoding import Record
from primitives.ids import ZERO_HASH, Epoch, Hash, Height, View
from primitives.votes import COMMIT, PREPARE

VoteKey = tuple[Epoch, View, Height, int]

SLOTS_ABOVE_MAX: Final = max(BUFFER_HEIGHTS, BLOCKS_PER_FETCH_MAX)
"""Heights above the delivered one of which anything is known: votes come so far ahead, or blocks that were fetched."""
SLOTS_MAX: Final = SLOTS_ABOVE_MAX + WINDOW


class InvariantBroken(AssertionError):
    """A rule of the protocol does not hold; the message names the rule and what was seen."""


def require(condition: bool, rule: str, seen: object = "") -> None:
    """Raise `InvariantBroken` unless the condition holds."""
    if not condition:
        raise broken(rule, seen)


def broken(rule: str, seen: object) -> InvariantBroken:
    """Return the error of a rule that does not hold."""
    return InvariantBroken(f"{rule}: {seen}")


class Place(Struct, frozen=True):
    """How far a replica is."""

    epoch: Epoch
    height: Height
    view: View


class _Step(Struct, frozen=True):
    """A step that is not synced yet: its effects, and where it left the replica."""

    effects: tuple[Effect, ...]
    place: Place


class _Seat(Struct, frozen=True):
    """A node's place among the validators of an epoch: one step may vote in an epoch and deliver its end.

    `named` is the validator of its name, also while it has no vote.
    """

    me: int | None
    named: int | None
    n: int
    validators: Hash


class ReplicaMonitor:
    """Watches one validator; survives its restarts, as its own memory does not.

    Call `after_step` after every step, `turn_taken` when the node begins to write a turn, and then either `synced` or
    `crashed`. Where nothing is ever lost, `watch` does all of it. `cluster` hears of what became durable.
    """

    def __init__(self, name: str, cluster: ClusterMonitor | None = None) -> None:
        self.name = name
        self.signed: dict[VoteKey, Hash] = {}
        self.delivered: dict[Height, Hash] = {}
        self.place = Place(Epoch(0), Height(0), View(0))
        self._cluster = cluster
        self._blocks: dict[Hash, Block] = {}
        self._written: set[Message] = set()
        self._vowed: dict[Epoch, View] = {}
        self._started: set[tuple[Epoch, View]] = set()
        self._cosigned: CheckpointVote | None = None
        self._mute = False
        self._seats: dict[Epoch, _Seat] = {}
        self._steps: list[_Step] = []
        self._turn: list[_Step] = []

    def after_step(self, state: ReplicaState, effects: Sequence[Effect]) -> None:
        """Check the state that a step left, and hold its effects as tentative."""
        check_bounds(state)
        place = Place(state.validators.epoch, state.tip.height, state.view)
        held = self._seats.get(state.epoch)
        if held is None or held.me != state.me:
            validators = state.validators
            named = validators.indexes.get(self.name)
            self._seats[state.epoch] = _Seat(state.me, named, validators.n, validators.hash)
        steps = self._steps or self._turn
        if not effects and place == (steps[-1].place if steps else self.place):
            return  # nothing was done
        self._steps.append(_Step(tuple(effects), place))

    def watch(self, state: ReplicaState, effects: Sequence[Effect]) -> None:
        """Check a step whose effects are synced and sent at once."""
        self.after_step(state, effects)
        self.turn_taken()
        self.synced()

    def turn_taken(self) -> None:
        """All steps up to now are one turn, which is being written."""
        self._turn += self._steps
        self._steps = []

    def synced(self) -> None:
        """The turn is on disk and leaves: from now on it binds."""
        turn, self._turn = self._turn, []
        for step in turn:
            for effect in step.effects:
                match effect:
                    case Persist(record):
                        self._persisted(record)
                    case Broadcast(message) | Send(_, message):
                        self._sent(message)
                    case Delivered(committed):
                        self._delivered(committed)
                    case _:
                        pass
            self._moved(step.place)

    def crashed(self, *, rows: bool, records: bool) -> None:
        """The node stopped; of the turn being written the disk keeps its rows, or all of it, or nothing.

        A vote that is on disk binds as if it were sent: it will be sent after the restart.
        """
        self._steps = []
        if records:
            self.synced()
            return
        turn, self._turn = self._turn, []
        for step in turn if rows else []:
            for effect in step.effects:
                if isinstance(effect, Delivered):
                    self._delivered(effect.committed)
            entered = step.place.epoch > self.place.epoch
            self._moved(Place(step.place.epoch, step.place.height, View(0) if entered else self.place.view))

    def ledger_lost(self) -> None:
        """The node's store is gone, its write-ahead log is not: what it delivered comes again, what it signed binds."""
        self.delivered = {}
        self.place = Place(Epoch(0), Height(0), View(0))

    def log_lost(self) -> None:
        """The node's write-ahead log is gone: nobody knows what it signed and saw, so it must sign nothing more."""
        self._mute = True
        self.place = Place(self.place.epoch, self.place.height, View(0))

    def readmitted(self) -> None:
        """The validator has new keys, by which nothing was signed before."""
        self._mute = False
        self._cosigned = None

    # --- rules of what is written and sent

    def _persisted(self, record: Record) -> None:
        match record:
            case Proposed(proposal):
                self._blocks[proposal.block.header.hash()] = proposal.block
                self._written.add(proposal)
            case Prepared(vote):
                self._written.add(vote)
            case Committed(vote, certificate):
                named = (certificate.phase, certificate.epoch, certificate.view, certificate.block_hash)
                expected = (PREPARE, vote.epoch, vote.view, vote.block_hash)
                require(named == expected, "COMMIT rests on a prepare certificate of its view", (self.name, vote))
                self._written.add(vote)
            case ViewChanged(change):
                self._written.add(change)
                self._vow(change.epoch, change.view)
            case ViewStarted(message):
                self._started.add((message.epoch, message.view))
                self._written.add(message)
                self._vow(message.epoch, message.view)
                if self._cluster is not None:
                    self._cluster.started(message)
            case Cosigned(vote):
                self._cosigned_next(vote)
            case _:
                pass

    def _vow(self, epoch: Epoch, view: View) -> None:
        self._vowed[epoch] = max(self._vowed.get(epoch, View(0)), view)

    def _cosigned_next(self, vote: CheckpointVote) -> None:
        last = self._cosigned
        if last is not None:
            rises = vote.size > last.size or (vote.size == last.size and vote.root == last.root)
            require(rises, "the cosigned size and root never fall", (self.name, last.size, vote.size))
        self._cosigned = vote
        self._written.add(vote)

    def _sent(self, message: Message) -> None:
        if self._mute:
            signed = isinstance(message, PrePrepare | Vote | ViewChange | NewView | CheckpointVote)
            shown = isinstance(message, Vote) and message.validator != self._named(message.epoch)  # a leader's
            require(shown or not signed, "who lost its log signs nothing", (self.name, message))
        match message:
            case PrePrepare():
                header = message.block.header
                require(message in self._written, "no send before its write", (self.name, message))
                self._voted((message.epoch, message.view, header.height, PREPARE), header.hash())
            case Vote() if (seat := self._seats.get(message.epoch)) is not None and message.validator != seat.me:
                shown = message.phase == PREPARE and message.validator == (message.epoch + message.view) % seat.n
                require(shown, "a validator sends its own votes, or shows a leader's", (self.name, message))
            case Vote():
                require(message in self._written, "no send before its write", (self.name, message))
                self._voted((message.epoch, message.view, message.height, message.phase), message.block_hash)
            case ViewChange() | NewView() | CheckpointVote():
                require(message in self._written, "no send before its write", (self.name, message))
            case _:
                pass

    def _named(self, epoch: Epoch) -> int | None:
        seat = self._seats.get(epoch)
        return None if seat is None else seat.named

    def _voted(self, key: VoteKey, block_hash: Hash) -> None:
        epoch, view, height, phase = key
        first = self.signed.get(key)
        if first is not None:
            require(first == block_hash, "one hash signed per epoch, view, height and type", (self.name, key))
            return  # the same vote sent again
        require(view >= self._vowed.get(epoch, View(0)), "no vote below a signed VIEW-CHANGE", (key, self._vowed))
        require(view == 0 or (epoch, view) in self._started, "no vote above view 0 without its NEW-VIEW", key)
        self.signed[key] = block_hash
        block = self._blocks.get(block_hash)
        require(block is not None, "a block is written before its vote", (self.name, key))
        assert block is not None, "just required"
        parent = block.header.parent
        below = self.signed.get((epoch, view, Height(height - 1), phase))
        delivered = self.delivered.get(Height(height - 1))
        in_order = delivered == parent or below == parent or height == 1
        rule = "PREPARE rests on its parent" if phase == PREPARE else "COMMIT rests on its parent"
        require(in_order, rule, (self.name, key, below, parent, delivered))
        self._above_barrier(block)
        if phase == COMMIT:
            prepared = self.signed.get((epoch, view, height, PREPARE))
            require(prepared == block_hash, "COMMIT rests on a PREPARE of this view", (self.name, key))

    def _above_barrier(self, block: Block) -> None:
        """Nobody votes above a change of the validator set until it is delivered."""
        parent = self._blocks.get(block.header.parent)
        if parent is None or self.delivered.get(parent.header.height) == block.header.parent:
            return
        seat = self._seats.get(block.header.epoch)
        changes = seat is not None and parent.header.next_validators != seat.validators
        require(not changes, "nobody votes above a barrier that is not delivered", (self.name, block.header.height))

    def _delivered(self, committed: CommittedBlock) -> None:
        header, certificate = committed.block.header, committed.certificate
        block_hash = header.hash()
        before = self.delivered.get(Height(header.height - 1))
        require(certificate is not None, "the committed chain is certified", (self.name, header.height))
        assert certificate is not None, "just required"
        named = (certificate.phase, certificate.height, certificate.block_hash)
        fits = named == (COMMIT, header.height, block_hash)
        require(fits, "a certificate names its block", (self.name, header.height))
        require(header.height not in self.delivered, "a height is delivered once", (self.name, header.height))
        gapless = before == header.parent or (before is None and header.height == 1)
        require(gapless, "the committed chain is gapless", (self.name, header.height))
        self.delivered[header.height] = block_hash
        self._blocks[block_hash] = committed.block
        if self._cluster is not None:
            self._cluster.delivered(committed)

    def _moved(self, place: Place) -> None:
        if place == self.place:
            return
        require(place.epoch >= self.place.epoch, "the epoch never falls", (self.name, self.place, place))
        require(place.height >= self.place.height, "the height never falls", (self.name, self.place, place))
        if place.epoch == self.place.epoch:
            require(place.view >= self.place.view, "the view never falls", (self.name, self.place, place))
        self.place = place


def check_bounds(state: ReplicaState) -> None:
    """Check that memory is bounded, whatever peers sent."""
    if state.slots:
        _check_slots(state)
    if state.view_changes or state.chosen or state.claim_records or state.early:
        _check_view(state)
    if state.accused or state.accused_cosigners:
        _check_evidence(state)
    if state.effects:
        raise broken("a step hands over all its effects", len(state.effects))


def _check_view(state: ReplicaState) -> None:
    if len(state.view_changes) > state.validators.n:
        raise broken("one VIEW-CHANGE of each validator", len(state.view_changes))
    if len(state.chosen) > 2 * WINDOW:
        raise broken("chosen blocks are bounded", len(state.chosen))
    if len(state.claim_records) > WINDOW:
        raise broken("records of claims are bounded", len(state.claim_records))
    if len(state.early) > BUFFER_HEIGHTS:
        raise broken("early proposals are bounded", len(state.early))


def _check_evidence(state: ReplicaState) -> None:
    n = state.validators.n
    if len(state.accused) > n:
        raise broken("evidence is bounded", len(state.accused))
    if len(state.accused_cosigners) > n + (0 if state.previous_validators is None else state.previous_validators.n):
        raise broken("evidence is bounded", len(state.accused_cosigners))


def _check_slots(state: ReplicaState) -> None:
    n, tip, floor = state.validators.n, state.tip.height, state.floor
    if len(state.slots) > SLOTS_MAX:
        raise broken("slots are bounded", len(state.slots))
    for height, slot in state.slots.items():
        restored = floor < height <= floor + WINDOW
        if not (tip < height and (height <= tip + SLOTS_ABOVE_MAX or restored)):
            raise broken("slots lie in the window", (tip, height))
        if len(slot.blocks) > BLOCKS_KEPT_PER_HEIGHT:
            raise broken("blocks of a height are bounded", height)
        if not slot.prepares.entries() <= n * VIEWS_KEPT >= slot.commits.entries():
            raise broken("votes of a height are bounded", height)
        if len(slot.shown) > n:
            raise broken("each validator is shown a proposal once", height)
        if slot.claim is not None and height > max(tip, floor) + WINDOW:
            raise broken("claims lie in the window", height)


class _Commitment(Struct, frozen=True):
    """A committed block, and the epoch and view of a certificate that committed it."""

    block_hash: Hash
    epoch: Epoch
    view: View


class ClusterMonitor:
    """Watches what all honest validators commit and which views they enter."""

    def __init__(self, genesis_hash: Hash = ZERO_HASH) -> None:
        self.committed: dict[Height, _Commitment] = {}
        self.ordered: dict[Hash, Height] = {}
        self._genesis_hash = genesis_hash
        self._choices: dict[NewView, Choice] = {}

    def delivered(self, committed: CommittedBlock) -> None:
        """Note a delivery by any honest validator: no two hashes at a height, no batch twice, no choice without it."""
        header, certificate = committed.block.header, committed.certificate
        assert certificate is not None, "the caller checked"
        known = self.committed.get(header.height)
        if known is not None:
            same = known.block_hash == certificate.block_hash
            require(same, "no two committed hashes at a height", (header.height, known, certificate.block_hash.hex()))
            if known.view <= certificate.view:
                return
        commitment = _Commitment(certificate.block_hash, certificate.epoch, certificate.view)
        self.committed[header.height] = commitment
        for batch_hash in committed.block.batch_hashes:
            first = self.ordered.setdefault(batch_hash, header.height)
            require(first == header.height, "a batch executes once", (batch_hash.hex(), first, header.height))
        for message, choice in self._choices.items():
            _check_kept(message, choice, header.height, commitment)

    def started(self, message: NewView) -> None:
        """Note a view that an honest validator entered: its choice keeps every block committed anywhere before."""
        if message in self._choices:
            return
        choice = self._choices[message] = choose(message.view_changes, self._genesis_hash)
        for height, commitment in self.committed.items():
            _check_kept(message, choice, height, commitment)


def _check_kept(message: NewView, choice: Choice, height: Height, commitment: _Commitment) -> None:
    """A block committed in an earlier view is below the choice's base, or chosen."""
    if commitment.epoch != message.epoch or commitment.view >= message.view:
        return
    named = {item.height: item.block_hash for item in choice.certificates}
    named |= {block.header.height: block.header.hash() for block in choice.blocks}
    kept = named.get(height) == commitment.block_hash if height in named else height <= choice.base_height
    require(kept, "the NEW-VIEW choice keeps every committed block", (message.view, height, choice.base_height))
