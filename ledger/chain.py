"""The chain: the committed tip, the uncommitted blocks above it, and the batches that are held.

Pure over a store: it reads the store, and hands out the rows that its owner writes. Blocks are executed before anybody
votes for them (architecture §2.2); each keeps its changes as an overlay over its parent until it is committed or
discarded. `commit` moves the tip in memory at once; everything of a block goes to disk in one write, so that after a
restart the chain stands exactly where the last write left it. Not here: votes, certificates' signatures, and which
block is chosen.

Rows that were handed out are visible to the chain until `written` says that the store holds them.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain as joined

from msgspec import Struct
from msgspec.structs import replace

from ledger import rows
from ledger.batches import ParsedBatch
from ledger.chain_rows import commit_rows, genesis_rows, load_standing
from ledger.committed_state import CommittedState
from ledger.execution import BlockRefused, Executed, Standing, admitted, check_kinds, execute
from ledger.genesis import Genesis
from ledger.held_batches import HeldBatches
from ledger.kinds import KindSpec
from ledger.members import SourceGrant
from ledger.outcomes import Outcome, rejected_of
from ledger.policy import Policy
from ledger.recent_nodes import RecentNodes
from ledger.registry import KINDS
from ledger.rules import RULES_SUPPORTED, RulesUnknown, missing_rules
from ledger.state import StateView
from ledger.store import Put, StagedStore, Store
from primitives.block import Block, BlockHeader, batches_root
from primitives.errors import InputError, UsageError
from primitives.ids import EventId, Hash, Height
from primitives.validators import ValidatorSet
from primitives.votes import QuorumCertificate

WINDOW = 8
OVERLAYS_MAX = 4 * WINDOW


class ParentUnknown(InputError):
    """A block's parent is neither the tip nor an executed block above it."""

    reason = "parent_unknown"

    def __init__(self, parent: Hash, height: int) -> None:
        super().__init__("parent of a block not known", where=f"block {height}", got=parent)
        self.parent = parent


class BatchesMissing(InputError):
    """A block names batches that are not held; `hashes` are to be fetched."""

    reason = "batches_missing"

    def __init__(self, hashes: tuple[Hash, ...], height: int) -> None:
        super().__init__("batches of a block not held", where=f"block {height}", got=f"{len(hashes)} missing")
        self.hashes = hashes


class CommitResult(Struct, frozen=True):
    """What became of a commit: the rows to write synced, as one write, before any answer, and what they say.

    `returned` are batches of branches that this commit dropped and that wait again. `ticket` goes to `Chain.written`.
    """

    puts: list[Put]
    ticket: int
    header: BlockHeader
    block_hash: Hash
    log_size: int
    log_root: Hash
    event_ids: tuple[EventId, ...]
    outcomes: tuple[Outcome, ...]
    rejected: tuple[tuple[int, Outcome], ...]
    batches: tuple[ParsedBatch, ...]
    returned: tuple[Hash, ...]


class Chain:
    """The committed tip and at most OVERLAYS_MAX executed blocks above it, none more than WINDOW heights up."""

    def __init__(
        self,
        store: Store,
        genesis: Genesis,
        kinds: Mapping[int, KindSpec] = KINDS,
        rules: Sequence[int] = RULES_SUPPORTED,
    ) -> None:
        """Open the chain that `store` holds, or begin one: then the rows of the genesis block are written at once.

        `rules` are the versions by which blocks can be executed here. Raises StorageError where the store holds another
        chain or is damaged, RulesUnknown where its next block follows rules that are none of these.
        """
        self.genesis = genesis
        self.chain_id = genesis.chain_id
        self._store = StagedStore(store)
        self._kinds = kinds
        self._rules = tuple(rules)
        if store.get(rows.TIP_KEY) is None:
            store.write(genesis_rows(genesis), sync=True)
        self._tip = load_standing(self._store, self.chain_id)
        missing = self.missing_rules()
        if missing is not None:
            raise RulesUnknown(missing)
        self._overlays: dict[Hash, Executed] = {}
        self._nodes = RecentNodes()
        self.batches = HeldBatches(self._store, kinds)

    # -- where the chain stands

    @property
    def height(self) -> Height:
        """The height of the last committed block."""
        return self._tip.header.height

    @property
    def tip_hash(self) -> Hash:
        """The hash of the last committed block."""
        return self._tip.hash

    @property
    def header(self) -> BlockHeader:
        """The header of the last committed block."""
        return self._tip.header

    @property
    def log_size(self) -> int:
        """The number of leaves of the committed log, the tip's header included."""
        return self._tip.log.size

    @property
    def log_root(self) -> Hash:
        """The root of the committed log at `log_size`: what a checkpoint of the tip names."""
        return self._tip.log.root()

    @property
    def overlay_count(self) -> int:
        """The number of uncommitted blocks that are kept."""
        return len(self._overlays)

    def knows(self, block_hash: Hash) -> bool:
        """Say whether a block can stand on this one: it is the tip or executed above it."""
        return block_hash == self._tip.hash or block_hash in self._overlays

    def header_of(self, block_hash: Hash) -> BlockHeader:
        """Return the header of the tip or of an executed block. Raises ParentUnknown."""
        return self._standing(block_hash).header

    def validators_after(self, block_hash: Hash) -> ValidatorSet:
        """Return the validators of the block that follows this one."""
        return self._standing(block_hash).validators

    def policy_after(self, block_hash: Hash) -> Policy:
        """Return the policy by which the block that follows this one is judged."""
        return self._standing(block_hash).policy

    def state_after(self, block_hash: Hash) -> StateView:
        """Return the state after this block, for reading."""
        return StateView(self._standing(block_hash).state)

    def missing_rules(self) -> str | None:
        """Return why no block can follow the committed ones here: they need rules that this build lacks; else None."""
        return missing_rules(self._tip.rules, self.height + 1, self._rules)

    def next_number(self, parent: Hash, source: bytes) -> tuple[int, Hash]:
        """Return the number and the previous hash of the batch that a source must bring after `parent`."""
        tip = self._standing(parent).batch_logs.source_tip(source)
        return tip.next_number, tip.previous

    def check_admission(self, parent: Hash, batch: ParsedBatch) -> None:
        """Raise BlockRefused where the batch's chain or source could not enter a block after `parent`."""
        standing = self._standing(parent)
        check_kinds(standing, batch, self._kinds)
        admitted(standing, standing.grant_of(batch.header.source), batch)

    def rights_height(self, block_hash: Hash) -> Height:
        """Return the height of the newest block up to this one that changed members or sources, since the start."""
        return self._standing(block_hash).rights_height

    def admits(self, parent: Hash, source: bytes) -> bool:
        """Say whether a block after `parent` may hold batches of this source."""
        return self.grant_of(parent, source) is not None

    def grant_of(self, parent: Hash, source: bytes) -> SourceGrant | None:
        """Return what a source may do in a block after `parent`, None where it may submit nothing."""
        return self._standing(parent).grant_of(source)

    # -- batches

    def has_batch(self, batch_hash: Hash) -> bool:
        """Say whether the batch is held, waiting or ordered."""
        return self.batches.has(batch_hash)

    def holds(self, batch: ParsedBatch) -> bool:
        """Say whether a batch is held, as `has_batch`: one whose number is still to be ordered waits or is new."""
        if batch.hash in self.batches.waiting:
            return True
        return batch.header.number < self._tip.batch_logs.source_tip(batch.header.source).next_number and (
            self.has_batch(batch.hash)
        )

    def get_batch(self, batch_hash: Hash) -> ParsedBatch | None:
        """Return the batch, waiting or ordered, or None."""
        return self.batches.get(batch_hash)

    def add_batch(self, parsed: ParsedBatch) -> list[Put]:
        """Hold a batch whose signature was verified and return the rows to write, synced, before a PREPARE on it."""
        if self.holds(parsed):
            return []
        puts = self.batches.add(parsed)
        self._store.stage(puts)
        return puts

    def drop_batches(self, batch_hashes: Iterable[Hash]) -> list[Put]:
        """Let go of waiting batches, except those of executed blocks, and return the rows that delete them."""
        in_use = {batch.hash for executed in self._overlays.values() for batch in executed.batches}
        puts = self.batches.drop(batch_hash for batch_hash in batch_hashes if batch_hash not in in_use)
        if puts:
            self._store.stage(puts)
        return puts

    # -- blocks

    def build(self, parent: Hash, *, time_ms: int, epoch: int, proposer: int, batches: Sequence[ParsedBatch]) -> Block:
        """Return the block of these batches on `parent`, executed and kept. Raises ParentUnknown, BlockRefused."""
        standing = self._standing(parent)
        for batch in batches:
            assert self.has_batch(batch.hash), "a batch is added before it is proposed"
        executed = self._execute(standing, time_ms, epoch, proposer, batches)
        self._keep(executed)
        return executed.block

    def check(self, block: Block) -> Hash:
        """Execute a block, keep it and return its hash, or raise why this node cannot vote for it.

        ParentUnknown and BatchesMissing pass once the block or batches have come; BlockRefused is final.
        """
        header = block.header
        block_hash = header.hash()
        if block_hash in self._overlays and self._overlays[block_hash].block == block:
            return block_hash
        if header.parent != self._tip.hash and header.parent not in self._overlays:
            raise ParentUnknown(header.parent, header.height)
        standing = self._standing(header.parent)
        where = f"block {header.height}"
        count_max = standing.policy.block_batches_max
        if len(block.batch_hashes) > count_max:
            raise BlockRefused(
                "block of too many batches", where=where, expected=f"at most {count_max}", got=len(block.batch_hashes)
            )
        if batches_root(block.batch_hashes) != header.batches_root:
            raise BlockRefused(
                "batches_root", where=where, expected=batches_root(block.batch_hashes), got=header.batches_root
            )
        missing = tuple(item for item in block.batch_hashes if not self.has_batch(item))
        if missing:
            raise BatchesMissing(missing, header.height)
        batches = [batch for batch in map(self.get_batch, block.batch_hashes) if batch is not None]
        executed = self._execute(standing, header.time_ms, header.epoch, header.proposer, batches)
        _check_equal(header, executed.block.header)
        self._keep(executed)
        return block_hash

    def commit(self, block_hash: Hash, certificate: QuorumCertificate) -> CommitResult:
        """Make an executed child of the tip the new tip; the certificate was verified by the caller.

        Raises UsageError where the block is not executed here or not the tip's child. Other branches are dropped.
        """
        executed = self._overlays.get(block_hash)
        if executed is None or executed.block.header.parent != self._tip.hash:
            raise UsageError("commit of a block that is not next", expected=f"a child of {self._tip.hash.hex()}")
        if certificate.block_hash != block_hash:
            raise UsageError("certificate of another block", expected=block_hash, got=certificate.block_hash)
        puts = commit_rows(self._store, executed, certificate)
        puts += self.batches.ordered(executed.batches)
        ticket = self._store.stage(puts)
        returned = self._move_tip(executed)
        return CommitResult(
            puts=puts,
            ticket=ticket,
            header=executed.block.header,
            block_hash=block_hash,
            log_size=executed.after.log.size,
            log_root=executed.after.log.root(),
            event_ids=tuple(joined.from_iterable(batch.ids for batch in executed.batches)),
            outcomes=executed.outcomes,
            rejected=rejected_of(executed.outcomes),
            batches=executed.batches,
            returned=returned,
        )

    def discard(self, block_hash: Hash) -> tuple[Hash, ...]:
        """Drop an executed block and all that stand on it; return the hashes of their batches."""
        dropped: list[Hash] = []
        waiting = [block_hash]
        while waiting:
            current = waiting.pop()
            executed = self._overlays.pop(current, None)
            if executed is not None:
                dropped += executed.block.batch_hashes
            waiting += [key for key, other in self._overlays.items() if other.block.header.parent == current]
        return tuple(dropped)

    @property
    def ticket(self) -> int:
        """The ticket of the rows handed out last: once they and all before are written, it goes to `written`."""
        return self._store.last_ticket

    def written(self, ticket: int) -> None:
        """Let go of the rows up to this ticket: the store holds them now."""
        self._store.settle(ticket)

    # -- inside

    def _standing(self, block_hash: Hash) -> Standing:
        if block_hash == self._tip.hash:
            return self._tip
        executed = self._overlays.get(block_hash)
        if executed is None:
            raise ParentUnknown(block_hash, self.height + 1)
        return executed.after

    def _execute(
        self, parent: Standing, time_ms: int, epoch: int, proposer: int, batches: Sequence[ParsedBatch]
    ) -> Executed:
        if parent.header.height >= self.height + WINDOW:
            raise BlockRefused(
                "block above the window", expected=f"at most {self.height + WINDOW}", got=parent.header.height + 1
            )
        return execute(
            parent,
            time_ms=time_ms,
            epoch=epoch,
            proposer=proposer,
            batches=batches,
            read_node=lambda node: self._read_node(parent.hash, node),
            kinds=self._kinds,
            supported=self._rules,
        )

    def _read_node(self, above: Hash, node: bytes) -> bytes | None:
        """Return a node of the state's tree as the block `above` and its ancestors know it."""
        executed = self._overlays.get(above)
        while executed is not None:
            row = executed.nodes.get(Hash(node))
            if row is not None:
                return row
            executed = self._overlays.get(executed.block.header.parent)
        row = self._nodes.get(node)
        if row is None:
            row = self._store.get(rows.node_key(node))
            if row is not None:
                self._nodes.add(node, row)
        return row

    def _keep(self, executed: Executed) -> None:
        """Keep an overlay; beyond OVERLAYS_MAX the oldest that nothing stands on goes: it can be executed again."""
        self._overlays[executed.after.hash] = executed
        parents = {other.block.header.parent for other in self._overlays.values()}
        while len(self._overlays) > OVERLAYS_MAX:
            oldest = next(key for key in self._overlays if key not in parents)
            del self._overlays[oldest]

    def _move_tip(self, executed: Executed) -> tuple[Hash, ...]:
        """Make the block the tip, re-base its children on the committed state and drop the other branches."""
        block_hash = executed.after.hash
        del self._overlays[block_hash]
        self._nodes.move(executed.replaced, executed.nodes)
        committed = CommittedState(self._store)
        self._tip = replace(executed.after, state=committed)
        returned: list[Hash] = []
        parent = executed.block.header.parent
        for key in [key for key, other in self._overlays.items() if other.block.header.parent == parent]:
            returned += self.discard(key)
        for other in self._overlays.values():
            if other.block.header.parent == block_hash:
                other.view.parent = committed
        ordered = {batch.hash for batch in executed.batches}
        return tuple(dict.fromkeys(item for item in returned if item not in ordered))


def _check_equal(proposed: BlockHeader, executed: BlockHeader) -> None:
    """Raise BlockRefused naming the first field in which a proposed header differs from the one that was computed."""
    if proposed == executed:
        return
    for field in BlockHeader.__struct_fields__:
        claimed, computed = getattr(proposed, field), getattr(executed, field)
        if claimed != computed:
            raise BlockRefused(field, where=f"header of block {executed.height}", expected=computed, got=claimed)
