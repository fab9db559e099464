"""The transcript of a run: one readable line for each thing that mattered, the same in every run.

It is the cluster's journal and tracer. Messages are named by the blocks and batches that they speak of; what a node
sends a second time is left out, and nodes that do the same in the same millisecond share a line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from chainnode.core import BATCH, BATCH_HAVE, BATCH_WANT
from consensus.effects import Delivered, Effect, EvidenceFound, Halt, ViewEntered
from consensus.messages import (
    KINDS,
    Blocks,
    CheckpointVote,
    Evidence,
    FetchBlocks,
    FetchProposals,
    Message,
    NewView,
    PrePrepare,
    Proposals,
    ViewChange,
    Vote,
    decode_message,
)
from consensus.state import ReplicaState
from primitives.errors import InputError
from primitives.ids import Epoch, Hash, Height
from primitives.validators import ValidatorSet
from primitives.votes import COMMIT, PREPARE
from sim.disk import Written
from sim.journal import Entry, Happened, Journal, Sent
from sim.workload import bank_of

PHASES: Final = {PREPARE: "prepare", COMMIT: "commit"}
NAMES_OF_KINDS: Final = {
    **{
        kind: "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in type_.__name__).strip("-")
        for kind, (type_, _) in KINDS.items()
    },
    BATCH: "batch",
    BATCH_WANT: "want",
    BATCH_HAVE: "have",
}
"""Wire kind to its name in the language; a vote goes by its phase."""

NAMES_OF_KINDS[next(kind for kind, (type_, _) in KINDS.items() if type_ is CheckpointVote)] = "cosignature"
_HASH: Final = re.compile(r"\b[0-9a-f]{16,}")
"""Left out of transcripts: hashes follow from every byte of the genesis, and say nothing to a reader."""

_TORN: Final = re.compile(r"(\d+) torn bytes cut")
_STOPS: Final = re.compile(r" (stops: .*)$|^the disk of .* is full$")
MESSAGE_NAMES: Final = frozenset({*NAMES_OF_KINDS.values(), *PHASES.values()} - {"vote"})


def decoded(kind: int, payload: bytes) -> Message | None:
    """Return a consensus message, None of what is another or does not decode."""
    try:
        return decode_message(kind, payload) if kind in KINDS else None
    except InputError:
        return None


def name_of(kind: int, payload: bytes) -> str:
    """Return what the language calls a message."""
    message = decoded(kind, payload)
    if isinstance(message, Vote):
        return PHASES.get(message.phase, "vote")
    return NAMES_OF_KINDS.get(kind, f"kind {kind}")


@dataclass(slots=True)
class Said:
    """Something that nodes did in one millisecond."""

    at_ms: int
    what: str
    nodes: list[int]

    def text(self) -> str:
        """Return its line."""
        names = " ".join(bank_of(node) for node in sorted(self.nodes))
        return f"{self.at_ms / 1_000:10.3f} s  {names}{': ' if names else ''}{self.what}"


@dataclass(frozen=True, slots=True)
class Letter:
    """A message that a node's own core sent, decoded where it is consensus'; what it passes on is not its `own`."""

    name: str
    sender: int
    receiver: int
    kind: int
    payload: bytes
    message: Message | None
    own: bool


@dataclass(slots=True)
class Story(Journal):
    """All lines of a run, and what was sent and refused in it.

    `brief` leaves out the normal case (proposals, votes, cosignatures), and sums up deliveries after each
    statement. `injecting` is set while the file itself sends.
    `letters` are kept since the last `mark`; `declined` too: (node, why).
    """

    lines: list[str] = field(default_factory=list)
    letters: list[Letter] = field(default_factory=list)
    declined: list[tuple[int, str]] = field(default_factory=list)
    moved: list[tuple[int, str]] = field(default_factory=list)
    labels: dict[Hash, str] = field(default_factory=dict)
    unstartable: dict[int, str] = field(default_factory=dict)
    brief: bool = False
    injecting: bool = False
    now_ms: int = 0
    sets: Callable[[int, Epoch], ValidatorSet] = field(default=lambda _, epoch: ValidatorSet(epoch, ()))
    _open: list[Said] = field(default_factory=list)
    _told: set[tuple[int, bytes]] = field(default_factory=set)
    _heights: dict[Height, int] = field(default_factory=dict)
    _delivered: dict[int, Height] = field(default_factory=dict)

    # --- lines

    def say(self, what: str, *nodes: int) -> None:
        """Add what nodes did, to the line of those who did the same in this millisecond if there is one."""
        for said in reversed(self._open):
            if said.at_ms != self.now_ms:
                break
            if said.what == what and said.nodes and nodes:
                said.nodes.extend(node for node in nodes if node not in said.nodes)
                return
        self._open.append(Said(self.now_ms, what, list(nodes)))

    def write(self, line: str) -> None:
        """Add a line as it is: a statement, or what an expectation saw."""
        self._sum_up()
        self.lines += [_HASH.sub("(hash)", said.text()) for said in self._open]
        self._open.clear()
        self.lines.append(_HASH.sub("(hash)", line))

    def _sum_up(self) -> None:
        """Say how far nodes delivered since the last line."""
        delivered, self._delivered = self._delivered, {}
        for node, height in sorted(delivered.items()):
            self.say(f"has delivered up to height {height}", node)

    def mark(self) -> None:
        """Forget what was sent and refused up to now, for the expectations that look back."""
        self.letters.clear()
        self.declined.clear()
        self.moved.clear()

    # --- blocks by name

    def label(self, block_hash: Hash, height: Height) -> str:
        """Return a block's name: what the file calls it, else its height, with a letter for each further one there."""
        if block_hash not in self.labels:
            number = self._heights.get(height, 0)
            self._heights[height] = number + 1
            self.labels[block_hash] = f"block {height}{'' if number == 0 else chr(ord('a') + number)}"
        return self.labels[block_hash]

    # --- the journal

    def add(self, entry: Entry) -> None:
        """Tell of a message that leaves, unless the same was told before; and of what a node's disk does to it."""
        if isinstance(entry, Happened):
            self._happened(entry)
        if not isinstance(entry, Sent):
            return
        message = decoded(entry.kind, entry.payload)
        if not self.injecting:
            name = name_of(entry.kind, entry.payload)
            own = message is None or self._signer(entry.sender, message) == self._index(entry.sender, message)
            letter = Letter(name, entry.sender, entry.receiver, entry.kind, entry.payload, message, own)
            self.letters.append(letter)
        if (entry.sender, entry.payload) in self._told or self.injecting:
            return
        self._told.add((entry.sender, entry.payload))
        what = "" if message is None else self.describe(message, entry.receiver)
        if message is not None and isinstance(message, Vote | PrePrepare):
            signer = self._signer(entry.sender, message)
            if what and signer != self._index(entry.sender, message):
                what = f"passes on what validator {signer} said: {what}"
        if what:
            self.say(what, entry.sender)

    def _happened(self, entry: Happened) -> None:
        """Tell of starts that the disk forbids, and of torn logs: the rest comes from the tracer and the cores."""
        if entry.node is None:
            return
        _, refused, why = entry.text.partition(" refuses to start: ")
        if refused:
            self.unstartable[entry.node] = why
            self.say(f"does not start: {why}", entry.node)
        elif torn := _TORN.search(entry.text):
            self.say(f"cuts {torn[1]} torn bytes off its write-ahead log", entry.node)
        elif stopped := _STOPS.search(entry.text):
            self.say(stopped[1] or "finds its disk full", entry.node)

    def _index(self, node: int, message: Message) -> int:
        """Return a node's index in the set of a message's epoch."""
        validators = self.sets(node, getattr(message, "epoch", Epoch(0)))
        return validators.indexes.get(bank_of(node), node)

    def _signer(self, node: int, message: Message) -> int:
        """Return the index of the validator that signed a vote or proposal, the sender's of anything else."""
        match message:
            case Vote() | ViewChange():
                return message.validator
            case PrePrepare(epoch, view, _):
                return self.sets(node, epoch).leader(view)
            case _:
                return self._index(node, message)

    def describe(self, message: Message, receiver: int) -> str:
        """Return what sending a message is called, empty where it is not worth a line."""
        to = bank_of(receiver)
        match message:
            case PrePrepare(epoch, view, block) if not self.brief:
                return f"proposes {self._block(block.header.hash(), block.header.height)} in {_place(epoch, view)}"
            case Vote() if not self.brief:
                verb = "prepares" if message.phase == PREPARE else "commits to"
                return (
                    f"{verb} {self._block(message.block_hash, message.height)} in {_place(message.epoch, message.view)}"
                )
            case ViewChange():
                held = [claim.certificate for claim in message.claims]
                claims = [f"{self._block(item.block_hash, item.height)} of view {item.view}" for item in held]
                what = (
                    f"sends VIEW-CHANGE to {_place(message.epoch, message.view)}, delivered {message.delivered_height}"
                )
                return f"{what}, claims {', '.join(claims)}" if claims else what
            case NewView():
                signers = " ".join(str(change.validator) for change in message.view_changes)
                return f"sends NEW-VIEW of {_place(message.epoch, message.view)} on the VIEW-CHANGEs of {signers}"
            case CheckpointVote() if not self.brief and (message.validator, bytes(message.root)) not in self._told:
                self._told.add((message.validator, bytes(message.root)))
                return f"cosigns the log at height {message.height}"
            case Evidence(first, _):
                return f"sends evidence against validator {first.validator}"
            case FetchBlocks(start, _):
                return f"asks {to} for committed blocks from {start} on"
            case FetchProposals():
                return f"asks {to} for a block by its hash"
            case Blocks(blocks, _):
                heights = [item.block.header.height for item in blocks]
                return f"sends {to} the committed blocks {heights[0]} to {heights[-1]}"
            case Proposals(blocks) if blocks:
                return f"sends {to} the blocks that it asked for"
            case _:
                return ""

    def _block(self, block_hash: Hash, height: Height) -> str:
        return self.label(block_hash, height)

    # --- the tracer: what became durable

    def started(self, node: int, state: ReplicaState) -> None:
        """A node starts."""
        what = "a learner" if state.learner else f"in {_place(state.epoch, state.view)}"
        self.say(f"starts at height {state.tip.height}, {what}", node)

    def synced(self, node: int, effects: Sequence[Effect]) -> None:
        """Tell of the effects of a turn that is on the disk."""
        for effect in effects:
            match effect:
                case ViewEntered(epoch, view, active, why):
                    self.moved.append((node, why))
                    self.say(f"{'enters' if active else 'leaves for'} {_place(epoch, view)}: {why}", node)
                case EvidenceFound(evidence):
                    self.say(f"finds evidence against validator {evidence.first.validator}", node)
                case Delivered(committed) if self.brief:
                    self._delivered[node] = committed.block.header.height
                case Delivered(committed, view):
                    header = committed.block.header
                    self.say(f"delivers {self._block(header.hash(), header.height)}, committed in view {view}", node)
                case Halt(reason):
                    self.say(f"halts: {reason}", node)
                case _:
                    pass

    def crashed(self, node: int, effects: Sequence[Effect], kept: Written) -> None:
        """A node stops."""
        del effects
        said = {Written.NOTHING: "nothing", Written.ROWS: "the rows", Written.ALL: "all", Written.TORN: "half"}[kept]
        self.say(f"crashes; of what it was writing its disk keeps {said}", node)

    def wiped(self, node: int, *, ledger: bool, log: bool) -> None:
        """A disk is lost, in whole or in part."""
        lost = " and ".join(name for name, gone in (("ledger", ledger), ("write-ahead log", log)) if gone)
        self.say(f"loses its {lost}", node)

    def declines(self, node: int, why: str) -> None:
        """A node counts a refusal that it holds against nobody."""
        self.declined.append((node, why))
        self.say(f"declines: {why}", node)


def _place(epoch: int, view: int) -> str:
    return f"view {view}" if epoch == 0 else f"view {view} of epoch {epoch}"
