"""A node that starts behind a change of the validators knows the set before: what peers say still rests on it."""

from __future__ import annotations

import pytest

from chainnode.core import NodeCore
from chainnode.opening import previous_validators
from consensus import view_change
from consensus.effects import Broadcast
from consensus.messages import ViewChange, encode_message, kind_of
from consensus.state import Parameters
from ledger import rows
from ledger.batches import ParsedBatch, build_batch, parse_batch
from ledger.chain import Chain
from ledger.events import Event
from ledger.genesis import validator_set
from ledger.kinds import ApplyContext, KindSpec, assemble
from ledger.members import put_validators, read_validators_of, validators_key
from ledger.pool import Pool
from ledger.reader import LedgerReader
from ledger.state import Transaction
from ledger.store import MemoryStore
from primitives.encoding import Record, encode
from primitives.errors import StorageError
from primitives.ids import ZERO_HASH, Epoch, Hash, TimeMs, View
from primitives.validators import ValidatorSet
from primitives.votes import COMMIT, QuorumCertificate, vote_statement
from sim.signatures import StandInSigner, stand_in_verify
from sim.workload import START_MS, bank_of, genesis_of, key_of

NOW = TimeMs(START_MS + 10_000)
GENESIS = genesis_of(4)
FIRST = validator_set(GENESIS)


class NextSet(Record):
    """Makes the validators of the next epoch those of this one, in the order turned by one."""

    epoch: int


def set_of(epoch: int) -> ValidatorSet:
    turn = epoch % FIRST.n
    return ValidatorSet(Epoch(epoch), (*FIRST.validators[turn:], *FIRST.validators[:turn]))


def _apply(context: ApplyContext, state: Transaction, body: NextSet) -> None:
    del context
    put_validators(state, set_of(body.epoch))


KINDS = assemble((KindSpec(200, "test.next_set", {1: NextSet}, changes_state=True, apply=_apply),))


class World:
    """A store with blocks of several epochs, written block by block."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.chain = Chain(self.store, GENESIS, KINDS)
        self.number, self.previous = 0, ZERO_HASH

    def extend(self, *, next_set: bool = False) -> None:
        """Commit a block; with `next_set` it is a barrier."""
        validators = self.chain.validators_after(self.chain.tip_hash)
        batches = [self._batch(validators.epoch + 1)] if next_set else []
        block = self.chain.build(
            self.chain.tip_hash,
            time_ms=self.chain.header.time_ms + 10,
            epoch=validators.epoch,
            proposer=0,
            batches=batches,
        )
        header, block_hash = block.header, block.header.hash()
        message = vote_statement(COMMIT, GENESIS.chain_id, header.epoch, View(0), header.height, block_hash)
        signatures = tuple((index, signer_of(validators, index).sign_vote(message)) for index in range(3))
        certificate = QuorumCertificate(COMMIT, header.epoch, View(0), header.height, block_hash, signatures)
        self.store.write(self.chain.commit(block_hash, certificate).puts, sync=True)

    def _batch(self, epoch: int) -> ParsedBatch:
        event = Event(bank_of(0), bytes(15) + bytes([epoch]), NOW + 1_000, 200, 1, encode(NextSet(epoch)))
        raw = build_batch(
            [encode(event)],
            chain_id=GENESIS.chain_id,
            member=bank_of(0),
            key=key_of(bank_of(0), "source"),
            number=self.number,
            previous=self.previous,
            time_ms=TimeMs(START_MS),
        )
        batch = parse_batch(raw, KINDS)
        self.number, self.previous = self.number + 1, Hash(batch.hash)
        self.store.write(self.chain.add_batch(batch), sync=True)
        return batch

    def restarted(self, index: int) -> NodeCore:
        """Return a core opened on what is written."""
        chain = Chain(self.store, GENESIS, KINDS)
        validators = chain.validators_after(chain.tip_hash)
        core = NodeCore(
            name=validators.validators[index].name,
            chain=chain,
            pool=Pool(),
            reader=LedgerReader(self.store, GENESIS),
            signer=signer_of(validators, index),
            parameters=Parameters(),
            verifier=stand_in_verify,
        )
        core.restore([], NOW)
        core.take_turn()
        return core


def signer_of(validators: ValidatorSet, index: int) -> StandInSigner:
    validator = validators.validators[index]
    return StandInSigner(validator.vote_key, validator.cosign_key)


def world_of(pattern: str) -> World:
    """Build a chain: `.` an ordinary block, `|` a barrier."""
    world = World()
    for letter in pattern:
        world.extend(next_set=letter == "|")
    return world


@pytest.mark.parametrize(
    ("pattern", "epoch"),
    [
        ("", 0),
        ("...", 0),
        ("|", 1),
        ("|.", 1),
        ("..|", 1),
        ("..|....", 1),
        ("||", 2),
        (".|.|", 2),
        (".|..|...", 2),
    ],
)
def test_after_a_start_the_set_before_is_known(pattern: str, epoch: int) -> None:
    state = world_of(pattern).restarted(0).replica.state
    assert state.validators == set_of(epoch)
    assert state.previous_validators == (set_of(epoch - 1) if epoch else None)


@pytest.mark.parametrize("pattern", ["..|", "..|."])
def test_after_all_restarted_behind_an_epochs_change_a_view_change_is_taken(pattern: str) -> None:
    world = world_of(pattern)
    core, other = world.restarted(0), world.restarted(2)
    view_change.start(other.replica.state, View(1), "the leader is dead", NOW)
    (change,) = [effect.message for effect in other.replica.state.effects if isinstance(effect, Broadcast)]
    assert isinstance(change, ViewChange)
    assert change.delivered[0].epoch == 0
    core.on_message(other.name, kind_of(change), encode_message(change), NOW)
    assert core.take_turn().notices == []
    assert core.replica.state.view_changes == {2: change}


@pytest.mark.parametrize("pattern", ["", "..|.", "||."])
def test_the_state_keeps_the_set_of_every_epoch(pattern: str) -> None:
    chain = world_of(pattern).chain
    state = chain.state_after(chain.tip_hash)
    epochs = pattern.count("|") + 1
    assert [read_validators_of(state, Epoch(epoch)) for epoch in range(epochs)] == list(map(set_of, range(epochs)))
    assert read_validators_of(state, Epoch(epochs)) is None


def test_a_store_whose_state_lacks_the_epoch_before_is_damaged() -> None:
    world = world_of("..|.")
    world.store.write([(rows.state_row_key(validators_key(0).encode()), None)], sync=True)
    with pytest.raises(StorageError, match="epoch before"):
        previous_validators(Chain(world.store, GENESIS, KINDS))
