"""The turn of the node's loop: what is said or answered was written and synced before, rows before records."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest

from chainnode.config import load_config
from chainnode.core import BATCH, Outgoing, Turn
from chainnode.home import Home
from chainnode.localnet import Localnet
from chainnode.logs import Position
from chainnode.node import Node
from consensus.effects import CheckpointStable, Refused
from primitives.errors import StorageError, UsageError
from primitives.ids import Epoch, Height
from primitives.validators import ValidatorSet

ROWS = [(b"row", b"value")]
RECORDS = [b"vote"]
TICKET = 7
PATIENCE_S = 5.0
NOW_MS = 1_790_000_000_000


class Recorded:
    """A node whose disk, network and gateway note in `steps` what they are told; `gate` holds up the disk."""

    def __init__(self, node: Node, replaced: pytest.MonkeyPatch) -> None:
        self.node = node
        self.steps: list[tuple[object, ...]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.at_disk = threading.Event()
        self.broken: str | None = None
        self.core = MagicMock(replica=node.core.replica)
        self.core.live_records.return_value = [b"live"]
        self.core.chain.ticket = TICKET
        self.core.chain.written = self.noting("settled")
        self.wal = MagicMock(size_bytes=10)
        for name in ("append", "sync", "rewrite"):
            setattr(self.wal, name, self.noting(name, slow=True))
        doubles = {
            "core": self.core,
            "wal": self.wal,
            "metrics": MagicMock(),
            "network": MagicMock(send=self.noting("send"), broadcast=self.noting("broadcast")),
            "gateway": MagicMock(synced=self.noting("accepted"), committed=self.noting("committed"), awaits_sync=False),
            "_store": MagicMock(write=self.noting("rows", slow=True)),
        }
        replaced.setattr(node.feed, "committed", self.noting("announced"))
        replaced.setattr(node.feed, "checkpoint_kept", self.noting("checkpoint"))
        for name, double in doubles.items():
            replaced.setattr(node, name, double)

    def noting(self, name: str, *, slow: bool = False) -> Any:
        def note(*args: object, **settings: object) -> int:
            if slow:
                self.at_disk.set()
                assert self.gate.wait(PATIENCE_S)
            if self.broken == name:
                raise StorageError("the disk is gone")
            self.steps.append((name, *args, *settings.items()))
            return 1

        return note

    def start(self, *turns: Turn) -> asyncio.Task[None]:
        """Let the loop take these turns, of which the last must end it."""
        left = list(turns)

        def taken() -> Turn:
            if len(left) > 1:
                self.node._dirty.set()
            return left.pop(0)

        self.core.take_turn.side_effect = taken
        self.node._dirty.set()
        return asyncio.create_task(self.node._flush_forever())

    async def run(self, *turns: Turn) -> list[str]:
        """Return the names of the steps of these turns."""
        async with asyncio.timeout(PATIENCE_S):
            await self.start(*turns)
        return [str(step[0]) for step in self.steps]


def full_turn(**fields: Any) -> Turn:
    """Return a turn in which everything happens, and which ends the loop."""
    message = SimpleNamespace(peer=None, kind=1, payload=b"to all")
    letter = SimpleNamespace(peer="node-bank-b", kind=2, payload=b"to one")
    result = MagicMock(outcomes=[], batches=[])
    everything: dict[str, Any] = {"rows": ROWS, "records": RECORDS, "outgoing": [message, letter], "commits": [result]}
    return Turn(**everything | fields, halted="the test is over")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    net = Localnet(tmp_path_factory.mktemp("turn") / "net")
    return Home(Path(net.found(4, base_port=None, now_ms=NOW_MS, step=lambda _: None).nodes[0].home))


@pytest.fixture
def recorded(home: Home) -> Iterator[Recorded]:
    node = Node(home, load_config(home.config).config, Position())
    with pytest.MonkeyPatch.context() as replaced:
        found = Recorded(node, replaced)
        yield found
        found.gate.set()
    node._close()


SAID = ["settled", "broadcast", "send", "accepted", "committed", "announced"]


async def test_a_turn_is_written_and_synced_rows_first_then_sent_then_answered(recorded: Recorded) -> None:
    assert await recorded.run(full_turn()) == ["rows", "append", "sync", *SAID]
    assert recorded.steps[0] == ("rows", ROWS, ("sync", True))
    assert recorded.steps[1] == ("append", RECORDS)
    assert recorded.steps[3] == ("settled", TICKET)


async def test_the_gateway_notes_a_block_before_its_rows_are_written(recorded: Recorded) -> None:
    recorded.node.gateway.writing = recorded.noting("noted")  # type: ignore[method-assign]  # a stand-in
    turn = full_turn()
    assert await recorded.run(turn) == ["noted", "rows", "append", "sync", *SAID]
    assert recorded.steps[0] == ("noted", turn.commits)


async def test_rows_are_on_the_disk_before_the_log_is_rewritten(recorded: Recorded) -> None:
    recorded.wal.size_bytes = recorded.node.config.consensus.wal_bytes_max
    assert await recorded.run(full_turn()) == ["rows", "rewrite", *SAID]
    assert recorded.steps[:2] == [("rows", ROWS, ("sync", True)), ("rewrite", [b"live"])]


@pytest.mark.parametrize(
    ("fields", "steps"),
    [
        ({"rows": []}, ["append", "sync", *SAID]),
        ({"records": []}, ["rows", *SAID]),
        ({"rows": [], "records": []}, SAID[1:]),
    ],
)
async def test_what_a_turn_does_not_hold_is_not_written(
    recorded: Recorded, fields: dict[str, Any], steps: list[str]
) -> None:
    assert await recorded.run(full_turn(**fields)) == steps


def waiting_turn(number: int) -> Turn:
    """Return a turn that holds the row of a waiting batch, and tells a peer of it."""
    pushed = Outgoing("node-bank-b", BATCH, b"%d" % number)
    return Turn(rows=[(b"batch %d" % number, b"")], outgoing=[pushed], patient=True)


async def test_batches_are_sent_on_at_once_and_written_with_the_next_vote(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chainnode.node.ROWS_HELD_S", PATIENCE_S)  # however long the machine stands still
    steps = await recorded.run(waiting_turn(1), waiting_turn(2), full_turn())
    assert steps == ["send", "send", "rows", "append", "sync", *SAID]
    assert recorded.steps[2] == ("rows", [(b"batch 1", b""), (b"batch 2", b""), *ROWS], ("sync", True))


async def test_a_batch_leaves_before_its_turn_is_written_and_a_vote_after_it(recorded: Recorded) -> None:
    turn = full_turn()
    turn.outgoing += waiting_turn(1).outgoing
    assert await recorded.run(turn) == ["send", "rows", "append", "sync", *SAID]
    assert recorded.steps[0][2] == BATCH


async def test_rows_of_waiting_batches_are_held_back_for_a_moment_only(recorded: Recorded) -> None:
    recorded.node._held_since = 0.0
    assert (await recorded.run(waiting_turn(1), full_turn()))[:4] == ["send", "rows", "settled", "accepted"]


async def test_whoever_waits_for_a_batch_to_be_written_does_not_wait_longer(recorded: Recorded) -> None:
    recorded.node.gateway.awaits_sync = True  # type: ignore[misc]  # a stand-in
    assert (await recorded.run(waiting_turn(1), full_turn()))[:4] == ["send", "rows", "settled", "accepted"]


async def test_nothing_is_said_while_the_disk_is_at_work(recorded: Recorded) -> None:
    recorded.gate.clear()
    task = recorded.start(full_turn())
    assert await asyncio.to_thread(recorded.at_disk.wait, PATIENCE_S)
    for _ in range(20):
        await asyncio.sleep(0)
    assert recorded.steps == []
    recorded.gate.set()
    async with asyncio.timeout(PATIENCE_S):
        await task
    assert [step[0] for step in recorded.steps][-len(SAID) :] == SAID


@pytest.mark.parametrize("broken", ["rows", "append", "sync"])
async def test_nothing_is_said_of_what_the_disk_did_not_take_and_the_node_ends(recorded: Recorded, broken: str) -> None:
    recorded.broken = broken
    assert not set(SAID) & set(await recorded.run(full_turn()))
    assert isinstance(recorded.node._fault, StorageError)
    assert recorded.node._stopping.is_set()


async def test_a_checkpoint_is_announced_once_the_turn_that_holds_its_rows_is_written(recorded: Recorded) -> None:
    recorded.node.feed.checkpoint_comes()
    recorded.node._held_since = asyncio.get_running_loop().time() + PATIENCE_S
    steps = await recorded.run(waiting_turn(1), full_turn())
    assert steps == ["send", "rows", "append", "sync", *SAID[:4], "checkpoint", *SAID[4:]]


async def test_a_halt_is_told_to_the_others_and_ends_the_node(recorded: Recorded) -> None:
    assert await recorded.run(full_turn()) == ["rows", "append", "sync", *SAID]
    assert isinstance(recorded.node._fault, UsageError)


async def test_a_checkpoint_is_kept_though_the_replica_is_two_epochs_further_by_then(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = Node(home, load_config(home.config).config, Position())
    state, chain = node.core.replica.state, node.core.chain
    old = state.validators
    monkeypatch.setattr(state, "previous_validators", ValidatorSet(Epoch(1), old.validators))
    monkeypatch.setattr(state, "validators", ValidatorSet(Epoch(2), old.validators))
    cosignatures = tuple((index, 1_790_000_000, bytes(64)) for index in range(old.quorum))
    stable = CheckpointStable(Epoch(0), Height(0), chain.log_size, chain.log_root, cosignatures)
    node._note(stable)
    kept = node.core.take_turn().rows
    node.feed.written()
    node._close()
    assert node.feed.checkpoints == 1
    assert any(value is not None and chain.genesis.origin.encode() in value for _, value in kept)


async def test_a_proposal_refused_for_its_time_is_counted_as_such(home: Home) -> None:
    node = Node(home, load_config(home.config).config, Position())
    for reason in ("proposal", "proposal_time", "execution"):
        node._note(Refused(reason, "its detail"))
    node._close()
    lines = node.metrics.render().decode().splitlines()
    assert "chainnode_proposal_times_refused_total 1.0" in lines
    assert 'chainnode_messages_dropped_total{reason="proposal_time"} 1.0' in lines


def test_a_validator_that_lost_its_log_follows_though_an_older_copy_is_put_back(tmp_path: Path) -> None:
    net = Localnet(tmp_path / "net")
    home = Home(Path(net.found(4, base_port=None, now_ms=NOW_MS, step=lambda _: None).nodes[0].home))
    older = home.wal.read_bytes()
    roles = []
    for change in (lambda: None, home.wal.unlink, lambda: home.wal.write_bytes(older)):
        change()
        node = Node(home, load_config(home.config).config, Position())
        roles.append(node.core.replica.state.learner)
        node._close()
    assert roles == [False, True, True]
