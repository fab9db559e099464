"""The rules that must hold after every step, checked by tests and simulations; never run in production.

`ReplicaMonitor` watches one validator's inputs to disk and network across restarts; `ClusterMonitor` what all of them
commit. A broken rule raises `InvariantBroken`, which names it.
"""

from __future__ import annotations

from collections.abc import Sequence

from consensus.effects import Broadcast, Delivered, Effect, Persist, Send
from consensus.messages import (
    BLOCKS_PER_FETCH_MAX,
    BUFFER_HEIGHTS,
    WINDOW,
    Message,
    NewView,
    PrePrepare,
    ViewChange,
    Vote,
)
from consensus.records import Committed, Prepared, Proposed, ViewChanged, ViewStarted
from consensus.state import BLOCKS_KEPT_PER_HEIGHT, ReplicaState
from consensus.tally import VIEWS_KEPT
from primitives.ids import ZERO_HASH, Epoch, Hash, Height, View
from primitives.votes import COMMIT, PREPARE

VoteKey = tuple[Epoch, View, Height, int]


class InvariantBroken(AssertionError):
    """A rule of the protocol does not hold; the message names the rule and what was seen."""


def require(condition: bool, rule: str, seen: object = "") -> None:
    """Raise `InvariantBroken` unless the condition holds."""
    if not condition:
        raise InvariantBroken(f"{rule}: {seen}")


class ReplicaMonitor:
    """Watches one validator; survives its restarts, as its own memory does not."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.signed: dict[VoteKey, Hash] = {}
        self.parents: dict[Hash, Hash] = {}
        self.written: set[Message] = set()
        self.vowed: dict[Epoch, View] = {}
        self.started: set[tuple[Epoch, View]] = set()
        self.delivered: dict[Height, Hash] = {}
        self.place: tuple[Epoch, Height, View] = (Epoch(0), Height(0), View(0))

    def after_step(self, state: ReplicaState, effects: Sequence[Effect]) -> None:
        """Check a step's effects, in order, and the state that it left."""
        for effect in effects:
            match effect:
                case Persist(record):
                    self._persisted(record)
                case Broadcast(message) | Send(_, message):
                    self._sent(state, message)
                case Delivered(committed):
                    self._delivered(
                        committed.block.header.height, committed.block.header.hash(), committed.block.header.parent
                    )
                case _:
                    pass
        self._never_falls(state)
        check_bounds(state)

    def _persisted(self, record: object) -> None:
        match record:
            case Proposed(proposal):
                self.parents[proposal.block.header.hash()] = proposal.block.header.parent
                self.written.add(proposal)
            case Prepared(vote) | Committed(vote, _):
                self.written.add(vote)
            case ViewChanged(change):
                self.written.add(change)
                self.vowed[change.epoch] = max(self.vowed.get(change.epoch, View(0)), change.view)
            case ViewStarted(message):
                self.started.add((message.epoch, message.view))
                self.written.add(message)
                self.vowed[message.epoch] = max(self.vowed.get(message.epoch, View(0)), message.view)
            case _:
                pass

    def _sent(self, state: ReplicaState, message: Message) -> None:
        match message:
            case PrePrepare():
                header = message.block.header
                require(message in self.written, "no send before its write", message)
                key = (message.epoch, message.view, header.height, PREPARE)
                self._voted(key, header.hash(), header.parent)
            case Vote():
                if message.validator == state.me:
                    require(message in self.written, "no send before its write", message)
                    key = (message.epoch, message.view, message.height, message.phase)
                    self._voted(key, message.block_hash, self.parents.get(message.block_hash, ZERO_HASH))
            case ViewChange() | NewView():
                require(message in self.written, "no send before its write", type(message).__name__)
            case _:
                pass

    def _voted(self, key: VoteKey, block_hash: Hash, parent: Hash) -> None:
        epoch, view, height, phase = key
        first = self.signed.get(key)
        if first is not None:
            require(first == block_hash, "one hash signed per epoch, view, height and type", (key, first, block_hash))
            return  # the same vote sent again
        require(view >= self.vowed.get(epoch, View(0)), "no vote below a signed VIEW-CHANGE", (key, self.vowed))
        require(view == 0 or (epoch, view) in self.started, "no vote above view 0 without its NEW-VIEW", key)
        self.signed[key] = block_hash
        below = self.signed.get((epoch, view, Height(height - 1), phase))
        in_order = self.delivered.get(Height(height - 1)) == parent or below == parent or height == 1
        rule = "PREPARE rests on its parent" if phase == PREPARE else "COMMIT rests on its parent"
        require(in_order, rule, (self.name, key, below, parent, self.delivered.get(Height(height - 1))))
        if phase == COMMIT:
            prepared = self.signed.get((epoch, view, height, PREPARE))
            require(prepared == block_hash, "COMMIT rests on a PREPARE of this view", key)

    def _delivered(self, height: Height, block_hash: Hash, parent: Hash) -> None:
        before = self.delivered.get(Height(height - 1))
        require(height not in self.delivered, "a height is delivered once", height)
        require(before is None or before == parent, "the committed chain is gapless", height)
        self.delivered[height] = block_hash

    def _never_falls(self, state: ReplicaState) -> None:
        place = (state.epoch, state.tip.height, state.view)
        require(place[0] >= self.place[0], "the epoch never falls", (self.place, place))
        require(place[1] >= self.place[1], "the height never falls", (self.place, place))
        if place[0] == self.place[0]:
            require(place[2] >= self.place[2], "the view never falls", (self.place, place))
        self.place = place


def check_bounds(state: ReplicaState) -> None:
    """Check that memory is bounded, whatever peers sent."""
    window = max(BUFFER_HEIGHTS, BLOCKS_PER_FETCH_MAX)
    require(len(state.slots) <= window, "slots are bounded", len(state.slots))
    for height, slot in state.slots.items():
        require(state.tip.height < height <= state.tip.height + window, "slots lie in the window", height)
        require(len(slot.blocks) <= BLOCKS_KEPT_PER_HEIGHT, "blocks of a height are bounded", len(slot.blocks))
        votes = max(slot.prepares.entries(), slot.commits.entries())
        require(votes <= state.validators.n * VIEWS_KEPT, "votes of a height are bounded", votes)
        if slot.claim is not None:
            require(height <= state.tip.height + WINDOW, "claims lie in the window", height)
    require(len(state.view_changes) <= state.validators.n, "one VIEW-CHANGE of each validator", len(state.view_changes))
    require(len(state.effects) == 0, "a step hands over all its effects")


class ClusterMonitor:
    """Watches what all validators commit: no two hashes at a height, anywhere, ever."""

    def __init__(self) -> None:
        self.committed: dict[Height, Hash] = {}

    def delivered(self, height: Height, block_hash: Hash) -> None:
        """Note a delivery by any honest validator."""
        first = self.committed.setdefault(height, block_hash)
        require(first == block_hash, "no two committed hashes at a height", (height, first.hex(), block_hash.hex()))
