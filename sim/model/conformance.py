"""Trace acceptance: every simulated run is held, step by step, against the abstract model.

What a node makes durable is mapped to actions of `protocol` (PREPARE, COMMIT, deliver, VIEW-CHANGE, NEW-VIEW), and each
must be enabled in what the model remembers of that validator; what it sends it must have said, and what it restores
from its disk must be what it said. Malicious validators (and twins) have said whatever their key can sign. Written from
the model alone: it shares no rule with `consensus` or its monitors, only the types of what comes out of a node.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from consensus.effects import Broadcast, Delivered, Effect, Persist, Send
from consensus.invariants import InvariantBroken
from consensus.messages import Message, NewView, PrePrepare, ViewChange, Vote
from consensus.records import Accused, Committed, Prepared, Proposed, ViewChanged, ViewStarted
from consensus.state import ReplicaState
from primitives.block import BlockHeader, CommittedBlock
from primitives.encoding import Record
from primitives.validators import ValidatorSet
from primitives.votes import COMMIT, PREPARE, QuorumCertificate
from sim.disk import Written
from sim.model.protocol import (
    Block,
    Claim,
    Rules,
    Vow,
    choice_keeps,
    choose,
    commit_refused,
    deliver_refused,
    enter_refused,
    prepare_refused,
    quorum_of,
    vow_of,
    vow_refused,
)
from sim.model.witness import Chain, Witness

RULES: Final = Rules()
CERTIFICATES_MAX: Final = 8
"""Commit certificates that a vow carries at most, and at least if there are so many blocks (decision record 6)."""


VoteKey = tuple[int, int, int, int, Block]
"""Phase, epoch, view, height and block of a vote."""


class NotInModel(InvariantBroken):
    """A step of a run is no step of the model; the message names the rule and the step."""


class Conformance:
    """Holds one run against the model; what nodes say that are not `honest` (any more) binds nothing."""

    def __init__(self, honest: Callable[[int], bool]) -> None:
        self.actions = 0
        self._honest = honest
        self._twins: set[int] = set()
        self._genesis: Block = None
        self._nodes: dict[int, str] = {}
        self._states: dict[int, ReplicaState] = {}
        self._sets: dict[int, ValidatorSet] = {}
        self._chains: dict[int, Chain] = {}
        self._witnesses: dict[tuple[int, int], Witness] = {}
        self._mute: dict[int, set[bytes]] = {}
        self._blocks: dict[Block, tuple[int, Block]] = {}
        self._said: set[tuple[int, int, int, int, Block, str]] = set()
        self._certified: dict[int, tuple[Block, int, int]] = {}
        self._choices: dict[tuple[int, int], dict[NewView, tuple[Vow, ...]]] = {}

    # --- what a cluster tells (`sim.node.Tracer`)

    def started(self, node: int, state: ReplicaState) -> None:
        """A node was opened: what it restored must be what it had said. Twins are not held to anything."""
        self._states[node] = state
        self._genesis = state.genesis_hash
        self._learn(state)
        first = node not in self._nodes
        if first and state.name in self._nodes.values():
            self._twins |= {node, *(other for other, name in self._nodes.items() if name == state.name)}
        self._nodes[node] = state.name
        if first:
            self._chains[node] = Chain({0: self._genesis})
            self._witnesses[node, state.epoch] = Witness(state.name, state.epoch, self._chains[node])
        elif self._held(node):
            self._restored(node, state)

    def synced(self, node: int, effects: Sequence[Effect]) -> None:
        """A turn is on the disk and leaves."""
        if self._held(node):
            for effect in effects:
                self._performed(node, effect, sent=True)

    def crashed(self, node: int, effects: Sequence[Effect], kept: Written) -> None:
        """A node stopped: of the turn being written it kept nothing, its rows (what it delivered), or all of it."""
        if not self._held(node):
            return
        for effect in effects:
            if kept is Written.ALL:
                self._performed(node, effect, sent=False)
            elif kept >= Written.ROWS and isinstance(effect, Delivered):
                self._said_by_certificate(node, effect.committed)
                self._performed(node, effect, sent=False)

    def wiped(self, node: int, *, ledger: bool, log: bool) -> None:
        """A disk was lost. Without its ledger a node delivers, and until then claims, again what its log knows.

        Without its log that key is silent for ever.
        """
        chain = self._chains[node]
        if ledger:
            chain.floor, chain.height = max(chain.floor, chain.height), 0
            for (other, _), me in self._witnesses.items():
                if other == node:
                    me.claim_again()
        if log:
            self._mute.setdefault(node, set()).update(self._key_of(node, epoch) for epoch in self._sets)
            for (other, epoch), me in self._witnesses.items():
                if other == node:  # it remembers nothing, but what others hold of it was said
                    self._witnesses[node, epoch] = Witness(me.name, epoch, chain, vows=me.vows)

    def _said_by_certificate(self, node: int, committed: CommittedBlock) -> None:
        """A node's own COMMIT is said, though its record was lost, where it stands in a certificate that was kept."""
        certificate = committed.certificate
        assert certificate is not None, "only the genesis block has no certificate"
        mine = self._index(node, certificate.epoch)
        if mine in [index for index, _ in certificate.signatures]:
            me = self._witness(node, certificate.epoch)
            me.commit(certificate.view, certificate.height, certificate.block_hash)
            named = (certificate.epoch, certificate.view, certificate.height, certificate.block_hash)
            self._said.add((COMMIT, *named, me.name))

    def sets(self) -> list[ValidatorSet]:
        """Return the validator sets of all epochs that any node has reached, in order."""
        return [self._sets[epoch] for epoch in sorted(self._sets)]

    # --- from effects to actions

    def _performed(self, node: int, effect: Effect, *, sent: bool) -> None:
        match effect:
            case Persist(record):
                self._persisted(node, record)
            case Delivered(committed):
                self._delivered(node, committed)
            case Broadcast(message) | Send(_, message) if sent:
                self._sent(node, message)
            case _:
                pass

    def _persisted(self, node: int, record: Record) -> None:
        match record:
            case Proposed(proposal) if proposal.signature:
                self._proposed(node, proposal)
            case Prepared(vote):
                me = self._speaker(node, vote.epoch, vote.validator)
                height, parent = self._known(vote.block_hash)
                refused = prepare_refused(RULES, me, vote.view, height, vote.block_hash, parent)
                self._require(refused, me, vote)
                me.prepare(vote.view, height, vote.block_hash)
                self._said.add((*_key(vote), me.name))
            case Committed(vote, certificate):
                self._committed(node, vote, certificate)
            case ViewChanged(change):
                self._vowed(node, change)
            case ViewStarted(message):
                self._entered(node, message)
            case Accused(evidence):
                name = self._sets[evidence.first.epoch].validators[evidence.first.validator].name
                honest = None if self._is_malicious(name) else f"nobody accuses an honest validator: {name}"
                self._require(honest, self._witness(node, evidence.first.epoch), evidence)
            case _:
                pass

    def _proposed(self, node: int, proposal: PrePrepare) -> None:
        """Learn a block; a leader's own proposal is its PREPARE, and an honest leader's was said by it."""
        header, leader = proposal.block.header, self._leader(proposal.epoch, proposal.view)
        block = header.hash()
        said = (PREPARE, proposal.epoch, proposal.view, header.height, block)
        self._blocks[block] = (header.height, header.parent)
        me = self._witness(node, proposal.epoch)
        if self._index(node, proposal.epoch) != leader:
            self._require(self._never_said(said, leader), me, proposal)
            return
        me = self._speaker(node, proposal.epoch, leader)
        refused = prepare_refused(RULES, me, proposal.view, header.height, block, header.parent)
        self._require(refused, me, proposal)
        me.prepare(proposal.view, header.height, block)
        me.proposals[proposal.view, header.height] = proposal
        self._said.add((*said, me.name))

    def _committed(self, node: int, vote: Vote, certificate: QuorumCertificate) -> None:
        me = self._speaker(node, vote.epoch, vote.validator)
        height, parent = self._known(vote.block_hash)
        self._require(self._lacking(certificate, PREPARE, vote.epoch, height, vote.block_hash), me, vote)
        refused = commit_refused(RULES, me, vote.view, height, vote.block_hash, parent, certificate.view)
        self._require(refused, me, vote)
        me.commit(vote.view, height, vote.block_hash)
        self._said.add((*_key(vote), me.name))

    def _delivered(self, node: int, committed: CommittedBlock) -> None:
        header, certificate = committed.block.header, committed.certificate
        me = self._witness(node, header.epoch)
        assert certificate is not None, "only the genesis block has no certificate"
        block = certificate.block_hash
        self._blocks[block] = (header.height, header.parent)
        lacking = self._lacking(certificate, COMMIT, header.epoch, header.height, block)
        self._require(lacking, me, header)
        self._require(deliver_refused(me, header.height, header.parent, lacking is None), me, header)
        me.deliver(header.height, block)
        self._agreed(me, header, certificate)
        current = self._sets[header.epoch]
        if header.next_validators != current.hash:
            self._learn(self._states[node])
            self._witnesses.setdefault((node, header.epoch + 1), Witness(me.name, header.epoch + 1, me.chain))

    def _agreed(self, me: Witness, header: BlockHeader, certificate: QuorumCertificate) -> None:
        """No two blocks at a height, and no view started that dropped one committed before it."""
        held = self._certified.get(header.height)
        block, epoch, view = certificate.block_hash, certificate.epoch, certificate.view
        self._require(None if held is None or held[0] == block else "one block is committed at a height", me, header)
        if held is not None and held[2] <= view:
            return
        self._certified[header.height] = (block, epoch, view)
        for (at_epoch, at_view), messages in self._choices.items():
            if at_epoch == epoch and at_view > view:
                for vows in messages.values():
                    self._require_kept(me, vows, header.height, block)

    def _vowed(self, node: int, change: ViewChange) -> None:
        me = self._speaker(node, change.epoch, change.validator)
        self._require(vow_refused(me, change.view), me, change)
        vow, due = self._vow_said(change), vow_of(me)
        same = vow == due
        self._require(None if same else f"a vow says all that was delivered and committed to: {due}", me, vow)
        self._require(self._unproved(change), me, change)
        me.vow(change.view, vow)

    def _entered(self, node: int, message: NewView) -> None:
        me = self._witness(node, message.epoch)
        signers = [change.validator for change in message.view_changes]
        quorum = quorum_of(self._sets[message.epoch].n, RULES)
        self._require(enter_refused(RULES, me, message.view, signers, quorum), me, message)
        known = self._choices.setdefault((message.epoch, message.view), {})
        vows = known.get(message)
        if vows is None:
            for change in message.view_changes:
                self._require(self._foreign(message, change), me, change)
            vows = known[message] = tuple(self._vow_said(change) for change in message.view_changes)
            for height, (block, epoch, view) in self._certified.items():
                if epoch == message.epoch and view < message.view:
                    self._require_kept(me, vows, height, block)
        me.enter(message.view, choose(RULES, vows, self._parent_of), message)

    def _require_kept(self, me: Witness, vows: tuple[Vow, ...], height: int, block: Block) -> None:
        kept = choice_keeps(choose(RULES, vows, self._parent_of), height, block)
        self._require(None if kept else "a new view keeps every block committed before it", me, (height, vows))

    def _sent(self, node: int, message: Message) -> None:
        """Only what was said, and so written, leaves; of others' statements a leader's PREPARE is handed on."""
        match message:
            case PrePrepare():
                me = self._speaker(node, message.epoch, self._leader(message.epoch, message.view))
                said = me.proposals.get((message.view, message.block.header.height)) == message
            case Vote() if message.validator != self._index(node, message.epoch):
                me = self._witness(node, message.epoch)
                leads = message.validator == self._leader(message.epoch, message.view)
                said = message.phase == PREPARE and leads and self._never_said(_key(message), message.validator) is None
            case Vote():
                me = self._speaker(node, message.epoch, message.validator)
                votes = me.prepares if message.phase == PREPARE else me.commits
                said = votes.get((message.view, message.height)) == message.block_hash
            case ViewChange():
                me = self._speaker(node, message.epoch, message.validator)
                said = me.vows.get(message.view) == self._vow_said(message)
            case NewView():
                me = self._witness(node, message.epoch)
                said = me.new_view == message
            case _:
                return
        self._require(None if said else "only what was said and written is sent", me, message)

    # --- what statements are worth

    def _lacking(self, certificate: QuorumCertificate, phase: int, epoch: int, height: int, block: Block) -> str | None:
        """Return why a certificate does not stand: it names a quorum's votes that were cast."""
        named = (certificate.phase, certificate.epoch, certificate.height, certificate.block_hash)
        if named != (phase, epoch, height, block):
            return f"a certificate names what it is used for: {named}"
        signers = {index for index, _ in certificate.signatures}
        if len(signers) < quorum_of(self._sets[epoch].n, RULES):
            return f"a certificate holds a quorum's votes: {sorted(signers)}"
        said = (phase, epoch, certificate.view, height, block)
        for index in sorted(signers):
            never = self._never_said(said, index)
            if never is not None:
                return never
        return None

    def _never_said(self, vote: VoteKey, validator: int) -> str | None:
        """Return that an honest validator never cast a vote; a malicious one may have."""
        name = self._sets[vote[1]].validators[validator].name
        if (*vote, name) in self._said or self._is_malicious(name):
            return None
        return f"an honest validator's vote was cast: {name} {vote}"

    def _foreign(self, message: NewView, change: ViewChange) -> str | None:
        """Return why a vow in a NEW-VIEW is worth nothing: an honest one was said, another claims what exists."""
        if (change.epoch, change.view) != (message.epoch, message.view):
            return "a NEW-VIEW holds vows for its view"
        name = self._sets[change.epoch].validators[change.validator].name
        if self._is_malicious(name):
            return self._unproved(change)
        node = next(index for index, held in self._nodes.items() if held == name)
        said = self._witness(node, change.epoch).vows.get(change.view)
        return None if said == self._vow_said(change) else f"an honest validator's vow was said: {name} {said}"

    def _unproved(self, change: ViewChange) -> str | None:
        """Return what a vow says that no certificate proves."""
        chain = change.delivered
        heights = [item.height for item in chain]
        if heights != list(range(heights[0], heights[0] + len(heights)) if heights else []):
            return f"the certificates of a vow have no gap: {heights}"
        if chain and chain[0].epoch == change.epoch and len(chain) < min(CERTIFICATES_MAX, chain[-1].height):
            return f"a vow carries {CERTIFICATES_MAX} certificates: {heights}"
        for item in chain:
            lacking = self._lacking(item, COMMIT, item.epoch, item.height, item.block_hash)
            if lacking is not None:
                return lacking
        for claim in change.claims:
            item = claim.certificate
            lacking = self._lacking(item, PREPARE, change.epoch, claim.block.header.height, claim.block.header.hash())
            if lacking is not None or item.view >= change.view:
                return lacking or "a claim is of a view below the vow's"
        return None

    def _vow_said(self, change: ViewChange) -> Vow:
        """Return what a VIEW-CHANGE says, in the model's words."""
        claims = []
        for claim in change.claims:
            item = claim.certificate
            self._blocks[item.block_hash] = (item.height, claim.block.header.parent)
            claims.append(Claim(item.height, item.view, item.block_hash))
        if not change.delivered:
            return Vow(0, self._genesis, tuple(claims))
        return Vow(change.delivered[-1].height, change.delivered[-1].block_hash, tuple(claims))

    # --- restarts

    def _restored(self, node: int, state: ReplicaState) -> None:
        """What a node takes from its disk is what it had said and delivered: chain, view, vow, and claims."""
        me = self._witness(node, state.epoch)
        tip, chain = state.tip, me.chain
        stored = tip.height == chain.height or tip.height <= chain.floor
        same = stored and chain.blocks.get(tip.height) == tip.hash
        self._require(None if same else f"a restart keeps what was delivered: {chain.height}", me, tip.height)
        chain.height = tip.height
        if state.learner or chain.height < chain.floor:
            return
        place, due = (state.view, state.active), (me.view, me.active)
        self._require(None if place == due else f"a restart keeps the view and the vow: {due}", me, place)
        held = tuple(
            Claim(height, slot.claim.certificate.view, slot.claim.certificate.block_hash)
            for height, slot in sorted(state.slots.items())
            if slot.claim is not None
        )
        kept = held == me.claims()
        self._require(None if kept else f"a restart keeps what was committed to: {me.claims()}", me, held)

    # --- who is who

    def _learn(self, state: ReplicaState) -> None:
        self._sets.setdefault(state.validators.epoch, state.validators)
        if state.previous_validators is not None:
            self._sets.setdefault(state.previous_validators.epoch, state.previous_validators)

    def _witness(self, node: int, epoch: int) -> Witness:
        found = self._witnesses.get((node, epoch))
        if found is None:
            raise NotInModel(f"{self._nodes[node]} speaks of epoch {epoch}, which it has not reached")
        return found

    def _speaker(self, node: int, epoch: int, validator: int | None) -> Witness:
        """Return the memory of a node that speaks as a validator: as itself, with a key whose log it has."""
        me = self._witness(node, epoch)
        if validator != self._index(node, epoch):
            self._require("a validator speaks for itself", me, validator)
        if node in self._mute and self._key_of(node, epoch) in self._mute[node]:
            self._require("a key whose log was lost says nothing", me, validator)
        self.actions += 1
        return me

    def _index(self, node: int, epoch: int) -> int | None:
        return self._sets[epoch].indexes.get(self._nodes[node])

    def _key_of(self, node: int, epoch: int) -> bytes:
        validators = self._sets[epoch]
        index = validators.indexes.get(self._nodes[node])
        return b"" if index is None else validators.validators[index].vote_key

    def _is_malicious(self, name: str) -> bool:
        return not any(self._held(node) for node, held in self._nodes.items() if held == name)

    def _held(self, node: int) -> bool:
        """Say whether a node is held to what it says."""
        return node not in self._twins and self._honest(node)

    def _leader(self, epoch: int, view: int) -> int:
        return (epoch + view) % self._sets[epoch].n

    def _known(self, block: Block) -> tuple[int, Block]:
        found = self._blocks.get(block)
        if found is None:
            raise NotInModel(f"a vote names a block that was never written: {block!r}")
        return found

    def _parent_of(self, block: Block) -> Block:
        return self._known(block)[1]

    def _require(self, refused: str | None, me: Witness, step: object) -> None:
        if refused is not None:
            where = f"{me.name}, epoch {me.epoch}, view {me.view}{'' if me.active else ' (left)'}, height {me.height}"
            raise NotInModel(f"not in the model: {refused}: {step!r} at {where}")


def _key(vote: Vote) -> VoteKey:
    return vote.phase, vote.epoch, vote.view, vote.height, vote.block_hash
