"""The pure core of a node: joins the replica and the ledger, and turns inputs into what must be written and sent.

Here: decoding and verifying what peers send, fetching and serving batches and blocks, notes of stable checkpoints, and
the `Turn` that collects effects. Not here: sockets, disks, clocks and tasks (`chainnode.node`), which perform a turn in
this order: rows and records are written and synced, then messages leave, then clients are answered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile
from typing import Final, assert_never

from msgspec import Struct, field

from chainnode.allowance import Allowance
from chainnode.application import LedgerApplication
from chainnode.evidence import EvidenceBook, body_of, turn_of
from chainnode.opening import check_log_owner, genesis_hash, previous_validators, replica_tip, timed_by
from chainnode.readiness import Readiness, Submission, submission_of
from chainnode.relevance import asks_for_a_new_view, is_certified, tells_something
from consensus import messages as wire
from consensus.catch_up import status_of
from consensus.effects import (
    BatchesArrived,
    Broadcast,
    CheckpointStable,
    Delivered,
    Effect,
    EvidenceFound,
    FetchBatches,
    Halt,
    Input,
    Persist,
    Received,
    Refused,
    Send,
    ServeBlocks,
    ServeProposals,
    Tick,
    ViewEntered,
)
from consensus.messages import (
    BLOCKS_PER_FETCH_MAX,
    Blocks,
    FetchBlocks,
    FetchProposals,
    Message,
    Status,
    ViewChange,
    Vote,
    decode_message,
    encode_message,
    kind_of,
)
from consensus.ports import LogHead, Signer
from consensus.records import Proposed, decode_record, encode_record
from consensus.replica import Replica
from consensus.state import Parameters, ReplicaState
from consensus.verify import Verified, Verifier, WrongEpoch, verify, verify_committed
from ledger.batches import BATCH_SIZE_MAX, ParsedBatch, parse_batch, verify_batch
from ledger.chain import Chain, CommitResult
from ledger.checkpoint_rows import checkpoint_rows
from ledger.evidence_bodies import BatchesEvidence, EvidenceBody
from ledger.execution import BlockRefused
from ledger.governance_bodies import Ready
from ledger.kinds import RuleBroken
from ledger.pool import NumberTaken, Pool, PoolFull
from ledger.reader import LedgerReader
from ledger.store import Put
from p2p.gossip import Action, Announce, Gossip, Push, Want
from primitives.block import CommittedBlock
from primitives.encoding import Record, decode, encode
from primitives.errors import InputError
from primitives.ids import HASH_BYTES, Hash, SourceKey, TimeMs
from primitives.keys import verify as verify_ed25519
from primitives.votes import PREPARE

BATCH: Final = 16
BATCH_WANT: Final = 17
BATCH_HAVE: Final = 18
READY: Final = 19
IDS_MAX: Final = 1_024
IDS_A_MESSAGE: Final = 128
ANNOUNCED_MAX: Final = 2_048
NEEDED_MAX: Final = 4_096

WIRE_KINDS: Final[dict[int, tuple[str, int, bool]]] = {
    **{kind: (type_.__name__, size, type_ is not Blocks) for kind, (type_, size) in wire.KINDS.items()},
    BATCH: ("Batch", BATCH_SIZE_MAX, False),
    BATCH_WANT: ("BatchWant", 64 * 1024, True),
    BATCH_HAVE: ("BatchHave", 64 * 1024, True),
    READY: ("Ready", 512, True),
}
"""Kind to name, largest payload in bytes, and whether it goes before bulk data."""

FREE_KINDS: Final = frozenset({BATCH, BATCH_WANT, BATCH_HAVE})
"""Kinds that bind this node to nothing and stand on no write of it: a batch was signed, and is kept, by its source."""


Observer = Callable[[ReplicaState, Sequence[Effect]], None]
"""Sees every step of the replica: how simulations check its invariants."""


class BatchIds(Record):
    """Hashes of batches that a peer wants, or has."""

    hashes: tuple[bytes, ...]


class Outgoing(Struct, frozen=True):
    """A message to one peer, or to all where `peer` is None."""

    peer: str | None
    kind: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class RivalsFound:
    """A source contradicted itself: it signed two batches that cannot both be."""

    source: SourceKey
    member: str
    number: int


Notice = ViewEntered | EvidenceFound | RivalsFound | Refused | CheckpointStable
"""What a turn tells the shell, to be counted and logged."""


class Turn(Struct):
    """What one turn of the node's loop must do: first `rows` and `records`, synced; then the rest.

    `ordered` names the batches of proposals that were prepared in this turn.

    Messages of `FREE_KINDS` alone may leave at once. The rows of a `patient` turn are of waiting batches, on which
    nothing rests before a proposal or vote that names them: they may be written with those of a later turn.
    """

    rows: list[Put] = field(default_factory=list)
    records: list[bytes] = field(default_factory=list)
    outgoing: list[Outgoing] = field(default_factory=list)
    ordered: list[Hash] = field(default_factory=list)
    commits: list[CommitResult] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    submissions: list[Submission] = field(default_factory=list)
    halted: str | None = None
    patient: bool = False

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do; rows alone may wait for a turn that sends."""
        return not (self.records or self.outgoing or self.commits or self.notices or self.submissions or self.halted)


class NodeCore:
    """One node's pure state; every method takes the time and adds to the current turn."""

    def __init__(
        self,
        *,
        name: str,
        chain: Chain,
        pool: Pool,
        reader: LedgerReader,
        signer: Signer,
        parameters: Parameters,
        learner: bool = False,
        verifier: Verifier = verify_ed25519,
        check_batch: Callable[[ParsedBatch], None] = verify_batch,
        observe: Observer | None = None,
        readiness: Readiness | None = None,
    ) -> None:
        self.name = name
        self.chain = chain
        self.reader = reader
        self.application = LedgerApplication(chain, pool, parameters.timeout_base_ms)
        self.gossip = Gossip(
            lambda batch_hash: chain.has_batch(Hash(batch_hash)),
            worth=lambda batch_hash: batch_hash in chain.batches.waiting,
        )
        self._allowance = Allowance(parameters.status_interval_ms // 2)
        self._book = EvidenceBook(chain.chain_id, verify_ed25519)
        self._needed: set[Hash] = set()
        self._verifier = verifier
        self._check_batch = check_batch
        self._observe = observe
        self._readiness = readiness
        self._turn = Turn()
        self._arrived_ms: TimeMs | None = None
        self._stepped_ms = TimeMs(0)
        self._policy = chain.policy_after(chain.tip_hash)
        validators = chain.validators_after(chain.tip_hash)
        checkpoint = reader.checkpoint()
        stable = chain.height if checkpoint is not None and checkpoint.size == chain.log_size else 0
        self.replica = Replica(
            name=name,
            chain_id=chain.chain_id,
            origin=chain.genesis.origin,
            genesis_hash=genesis_hash(reader),
            validators=validators,
            previous_validators=previous_validators(chain),
            tip=replica_tip(chain, reader),
            head=LogHead(chain.log_size, chain.log_root),
            head_epoch=chain.header.epoch,
            application=self.application,
            signer=signer,
            parameters=parameters,
            learner=learner,
            stable_height=stable,  # type: ignore[arg-type]  # 0 or a height
        )

    # --- inputs

    def restore(self, records: Iterable[bytes], now_ms: TimeMs, *, where: str = "records") -> None:
        """Take back the write-ahead log's records and the batches that wait in the store.

        `where` names the log. Raises StorageError where it is another validator's.
        """
        self.application.take_waiting(now_ms)
        held = [decode_record(record) for record in records]
        check_log_owner(held, self.chain.state_after(self.chain.tip_hash), self.name, where=where)
        self._book.restore(self.reader.store, self._turn_against, now_ms)
        self._perform(self.replica.restore(held, now_ms), now_ms)
        self._turn.rows.extend(self._book.take_rows())

    def on_tick(self, now_ms: TimeMs) -> None:
        """Let time pass."""
        self._gossip(self.gossip.tick(now_ms))
        self._step(Tick(), now_ms)
        self._submit_evidence(now_ms)
        self._say_ready(now_ms)
        if not self.replica.state.slots:
            self.application.drop_stale()

    def on_message(self, peer: str, kind: int, payload: bytes, now_ms: TimeMs) -> None:
        """Take a peer's message; `InputError` where it must be held against the peer."""
        if kind == BATCH:
            self._on_batch(peer, payload, now_ms)
        elif kind == BATCH_WANT:
            self._on_want(peer, _ids(payload), now_ms)
        elif kind == BATCH_HAVE:
            self.gossip.have(peer, _ids(payload), now_ms)
        elif kind == READY:
            self._on_ready(peer, payload, now_ms)
        else:
            self._on_consensus(peer, decode_message(kind, payload), now_ms)

    def submit_batch(self, batch: ParsedBatch, now_ms: TimeMs) -> None:
        """Take a verified batch from a client and push it to all peers; `PoolFull` where there is no room."""
        if self.application.add_batch(batch, now_ms):
            self._gossip(self.gossip.originated(batch.hash))
            self._batches_arrived(now_ms)

    def offer_again(self, batch: ParsedBatch, now_ms: TimeMs) -> None:
        """Push a batch that is held but was not ordered for a while: peers may have lost it."""
        self._gossip(self.gossip.originated(batch.hash))
        del now_ms

    def announce(self, batch_hashes: Sequence[Hash], peer: str | None = None) -> None:
        """Tell a peer, or all, which batches wait here; who lacks one asks for it."""
        for start in range(0, len(batch_hashes), IDS_A_MESSAGE):
            part = tuple(batch_hashes[start : start + IDS_A_MESSAGE])
            self._send(peer, BATCH_HAVE, encode(BatchIds(part)))

    def connected(self, peer: str) -> None:
        """A peer is linked: tell it where this node stands and what waits here.

        What was under way on a link is gone with it, and a batch that a crash kept from being sent is known to nobody.
        """
        self.gossip.connected(peer)
        status = status_of(self.replica.state)
        self._send(peer, kind_of(status), encode_message(status))
        self.announce(list(islice(self.chain.batches.waiting, ANNOUNCED_MAX)), peer)

    def disconnected(self, peer: str, now_ms: TimeMs) -> None:
        """A peer is gone."""
        self.gossip.disconnected(peer, now_ms)
        self._allowance.forget(peer)
        self.replica.state.statuses.pop(peer, None)

    def keep_checkpoint(self, note: str) -> None:
        """Keep the signed note of a stable checkpoint with the next write."""
        self._turn.rows.extend(checkpoint_rows(self.reader.store, note))

    def keep_rows(self, rows: list[Put]) -> None:
        """Keep rows about what is committed, with the next write: what witnesses signed."""
        self._turn.rows.extend(rows)

    @property
    def idle(self) -> bool:
        """Whether a turn that is taken now would hold nothing."""
        turn = self._turn
        waits = turn.rows or self._arrived_ms is not None
        return not waits and turn.empty and self.application.idle and self._allowance.fresh

    def take_turn(self) -> Turn:
        """Hand over what is to be done since the last call."""
        if self._arrived_ms is not None:
            arrived_ms, self._arrived_ms = self._arrived_ms, None
            self._step(BatchesArrived(), TimeMs(max(arrived_ms, self._stepped_ms)))
        self._turn.commits.extend(self.application.take_commits())
        self._follow_policy()
        rows = self.application.take_rows()
        self._turn.patient = bool(rows) and not (self._turn.rows or self._turn.records or self._turn.commits)
        self._turn.rows.extend(rows)
        self._allowance.turn_taken()
        turn, self._turn = self._turn, Turn()
        return turn

    def _follow_policy(self) -> None:
        """Let the replica go by the times of a policy that came into force with the newest block."""
        policy = self.chain.policy_after(self.chain.tip_hash)
        if policy is not self._policy:
            self._policy = policy
            self.replica.state.parameters = timed_by(self.replica.state.parameters, policy)

    def live_records(self) -> list[bytes]:
        """Return the records that a restart still needs: what the write-ahead log may be cut down to."""
        return [encode_record(record) for record in self.replica.live_records()]

    # --- peers' messages

    def _on_consensus(self, peer: str, message: Message, now_ms: TimeMs) -> None:
        if isinstance(message, Blocks):
            self._on_blocks(peer, message, now_ms)
            return
        if not self._relevant(peer, message, now_ms):
            return
        try:
            verified = verify(message, self.replica.verification(self._verifier))
        except WrongEpoch as error:
            self._turn.notices.append(Refused(error.reason, str(error)))
            return
        if self._allowed(peer, message, now_ms):
            self._step(Received(peer, verified), now_ms)

    def _relevant(self, peer: str, message: Message, now_ms: TimeMs) -> bool:
        """Say whether a message is worth its verification; one that is late and has an answer is so now and then."""
        state = self.replica.state
        if not isinstance(message, ViewChange):
            return tells_something(state, message)
        if asks_for_a_new_view(state, message):
            return self._allowance.due(peer, kind_of(message), now_ms)
        return tells_something(state, message) and self._allowance.vow(peer, now_ms)

    def _allowed(self, peer: str, message: Message, now_ms: TimeMs) -> bool:
        """Say whether a message may be answered: requests once a turn, a status once in half of its interval."""
        if isinstance(message, (FetchBlocks, FetchProposals)):
            return self._allowance.ask(peer, kind_of(message))
        return not isinstance(message, Status) or self._allowance.due(peer, kind_of(message), now_ms)

    def _on_blocks(self, peer: str, message: Blocks, now_ms: TimeMs) -> None:
        """Take committed blocks, those of one epoch at a time: its end changes the set that the next are verified by.

        Only batches that a certified block names are held, and only of heights that this node would ask for now: nobody
        fills this disk with others.
        """
        if not message.blocks:
            self._step(Received(peer, Verified(message)), now_ms)
            return
        base = self.chain.height
        blocks = [item for item in message.blocks if base < item.block.header.height <= base + BLOCKS_PER_FETCH_MAX]
        offered = {batch.hash: batch for batch in map(parse_batch, message.batches)} if blocks else {}
        while blocks:
            verified = self._verified_blocks(blocks)
            for batch_hash in (item for committed in verified for item in committed.block.batch_hashes):
                batch = offered.get(batch_hash)
                if batch is not None and not self.chain.holds(batch):
                    self._check_batch(batch)
                    self._arrived(batch_hash)
                    self.application.add_fetched(batch)
            if not verified:
                return
            self._step(Received(peer, Verified(Blocks(tuple(verified), ()))), now_ms)
            blocks = blocks[len(verified) :]

    def _verified_blocks(self, blocks: list[CommittedBlock]) -> list[CommittedBlock]:
        """Return the blocks up to the first of another epoch than this one; raises as `verify_committed`."""
        present = list(takewhile(lambda item: item.block.header.epoch == self.replica.state.epoch, blocks))
        for committed in present:
            if not is_certified(self.replica.state, committed):
                verify_committed(committed, self.replica.verification(self._verifier))
        return present

    def _arrived(self, batch_hash: Hash) -> None:
        """Stop asking for a batch: it came, by whatever way."""
        self._needed.discard(batch_hash)
        self.gossip.give_up(batch_hash)

    def _give_up(self) -> None:
        """Stop asking for what blocks of an older view named; those that are proposed again ask again."""
        for batch_hash in sorted(self._needed):
            self._arrived(batch_hash)

    def _on_batch(self, peer: str, payload: bytes, now_ms: TimeMs) -> None:
        batch = parse_batch(payload)
        if self.chain.holds(batch):
            self._arrived(batch.hash)
        else:
            self._check_batch(batch)
            try:
                self.application.add_batch(batch, now_ms)
            except (PoolFull, NumberTaken, BlockRefused) as error:
                if batch.hash not in self._needed:
                    # No fault of the peer: it may know another batch of that number. A block that names it fetches it.
                    self._turn.notices.append(Refused(error.reason, str(error)))
                    return
                self.application.add_fetched(batch)
            self._needed.discard(batch.hash)
            self.gossip.received(batch.hash, peer, now_ms)
            self._batches_arrived(now_ms)

    def _on_want(self, peer: str, ids: tuple[bytes, ...], now_ms: TimeMs) -> None:
        """Give a peer the batches that it asks for, as far as its allowance reaches; it asks others for the rest."""
        pushes = self.gossip.want(peer, ids, now_ms)
        while self._allowance.room(peer) and (push := next(pushes, None)) is not None:
            raw = self.chain.batches.raw(Hash(push.id))
            if raw is not None:
                self._serve(peer, BATCH, raw)

    def _say_ready(self, now_ms: TimeMs) -> None:
        """Tell a validator, now and then, that this node has caught up, while the chain waits to hear it."""
        state = self.replica.state
        if self._readiness is None or state.me is not None or state.halted is not None:
            return
        said = self._readiness.word(state, self.chain.state_after(self.chain.tip_hash), now_ms)
        if said is not None:
            self._send(said[0], READY, encode(said[1]))

    def _on_ready(self, peer: str, payload: bytes, now_ms: TimeMs) -> None:
        """Take a joiner's word to the chain, now and then, if the chain would have it: it may have no source itself."""
        word = decode(Ready, payload, size_max=WIRE_KINDS[READY][1])
        if not self._allowance.due(peer, READY, now_ms):
            return
        state = self.chain.state_after(self.chain.tip_hash)
        try:
            submission = submission_of(state, self.chain.chain_id, word, self.replica.state.tip)
        except RuleBroken as broken:
            self._turn.notices.append(Refused(broken.rule, broken.detail))
            return
        self._turn.submissions.append(submission)

    def _gossip(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Push(peers, batch_hash):
                    raw = self.chain.batches.raw(Hash(batch_hash))
                    if raw is not None:
                        for peer in peers:
                            self._send(peer, BATCH, raw)
                case Announce(peer, hashes):
                    self._send(peer, BATCH_HAVE, encode(BatchIds(hashes)))
                case Want(peer, hashes):
                    self._send(peer, BATCH_WANT, encode(BatchIds(hashes)))
                case _:
                    assert_never(action)

    # --- evidence

    def _submit_evidence(self, now_ms: TimeMs) -> None:
        """Submit the evidence that it is this node's turn to submit, through its member's source."""
        for body in self.application.take_rivals():
            if self._book.found(body, self._turn_against(body), now_ms):
                header = body.first.header
                notice = RivalsFound(SourceKey(header.source), header.member, body.second.header.number)
                self._turn.notices.append(notice)
        if len(self._book):
            self._turn.submissions += self._book.due(self.chain.state_after(self.chain.tip_hash), now_ms)
        self._turn.rows.extend(self._book.take_rows())

    def _turn_against(self, body: EvidenceBody) -> int:
        """Return after how many others it is this node's turn to submit evidence."""
        state = self.replica.state
        accused = body.first.header.source[0] if isinstance(body, BatchesEvidence) else body.validator
        return turn_of(state.me, accused, state.validators.n)

    # --- effects

    def _batches_arrived(self, now_ms: TimeMs) -> None:
        """Let the replica see new batches once a turn: nothing that it does about them can leave before the turn."""
        self._arrived_ms = now_ms

    def _step(self, event: Input, now_ms: TimeMs) -> None:
        self._stepped_ms = now_ms
        self._perform(self.replica.step(event, now_ms), now_ms)

    def _perform(self, effects: list[Effect], now_ms: TimeMs) -> None:
        if self._observe is not None:
            self._observe(self.replica.state, effects)
        for effect in effects:
            self._perform_one(effect, now_ms)

    def _perform_one(self, effect: Effect, now_ms: TimeMs) -> None:
        match effect:
            case Persist(record):
                self._turn.records.append(encode_record(record))
                if isinstance(record, Proposed):
                    self._turn.ordered.extend(record.proposal.block.batch_hashes)
            case Send(peer, message):
                self._send(peer, kind_of(message), encode_message(message))
            case Broadcast(message):
                self._broadcast(message)
            case FetchBatches(hashes, peers):
                if len(self._needed) < NEEDED_MAX:
                    self._needed.update(hashes)
                self.gossip.need(hashes, peers, now_ms)
                self._gossip(self.gossip.tick(now_ms))
            case ServeBlocks(peer, start, count):
                self._serve_blocks(peer, start, count)
            case ServeProposals(peer, blocks):
                if blocks:
                    proposals = wire.Proposals(blocks)
                    self._serve(peer, kind_of(proposals), encode_message(proposals))
            case Delivered():
                pass  # the application has its rows
            case ViewEntered():
                self._give_up()
                self._turn.notices.append(effect)
            case CheckpointStable() | Refused():
                self._turn.notices.append(effect)
            case EvidenceFound(evidence):
                self._turn.notices.append(effect)
                self._send(None, kind_of(evidence), encode_message(evidence))
                body = body_of(evidence, self.chain.genesis.origin)
                self._book.found(body, self._turn_against(body), now_ms)
                self._turn.rows.extend(self._book.take_rows())
            case Halt(reason):
                self._turn.halted = reason
            case _:
                assert_never(effect)

    def _broadcast(self, message: Message) -> None:
        """Send a message to all; a PREPARE only to those that may vote, where others are linked too.

        Who follows waits for COMMITs: a quorum of them proves the block, and PREPAREs would tell it nothing.
        """
        kind, payload = kind_of(message), encode_message(message)
        if isinstance(message, Vote) and message.phase == PREPARE:
            voters = [peer for peer in self.gossip.peers if peer in self.replica.state.validators.indexes]
            if len(voters) < len(self.gossip.peers):
                for peer in voters:
                    self._send(peer, kind, payload)
                return
        self._send(None, kind, payload)

    def _send(self, peer: str | None, kind: int, payload: bytes) -> None:
        self._turn.outgoing.append(Outgoing(peer, kind, payload))

    def _serve(self, peer: str, kind: int, payload: bytes) -> None:
        self._allowance.spend(peer, len(payload))
        self._send(peer, kind, payload)

    def _serve_blocks(self, peer: str, start: int, count: int) -> None:
        """Send committed blocks with their batches, as many as fit what the peer is allowed; the first always does.

        An empty answer says that the first is not here any more (it lies before the base of a snapshot, or its batches
        were pruned), so that the peer asks another at once.
        """
        room = self._allowance.room(peer)
        if not room:
            return
        base = self.reader.base()
        pruned = start <= base
        blocks: list[CommittedBlock] = []
        batches: list[bytes] = []
        size = 0
        for height in range(start, start + count):
            found = self.reader.committed_block(height) if height > base else None
            if found is None:
                break
            hashes = found.block.batch_hashes
            held = [raw for item in hashes if (raw := self.chain.batches.raw(item)) is not None]
            if len(held) < len(hashes):
                pruned = not blocks
                break
            size += sum(len(raw) for raw in held)
            if blocks and size > room:
                break
            blocks.append(found)
            batches.extend(held)
        if blocks or pruned:
            message = Blocks(tuple(blocks), tuple(batches))
            self._serve(peer, kind_of(message), encode_message(message))


def _ids(payload: bytes) -> tuple[bytes, ...]:
    """Return the batch hashes of a WANT or HAVE; `InputError` where there are too many or they are no hashes."""
    hashes = decode(BatchIds, payload, size_max=WIRE_KINDS[BATCH_WANT][1]).hashes
    if len(hashes) > IDS_MAX or any(len(item) != HASH_BYTES for item in hashes):
        raise InputError("batch hashes of a peer", expected=f"at most {IDS_MAX} of {HASH_BYTES} bytes", got=len(hashes))
    return hashes
