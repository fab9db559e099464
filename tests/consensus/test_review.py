"""Schedules found by adversarial reading: each one once broke a rule or kept order from returning."""

from __future__ import annotations

from consensus.effects import Broadcast, Delivered, Halt, Tick
from consensus.messages import Blocks, Status, ViewChange
from consensus.records import Reached, encode_record
from consensus.replica import Received
from primitives.ids import TimeMs
from tests.consensus.toy_fixtures import (
    Group,
    batch_of,
    chain_of,
    claim_of,
    committed_of,
    new_view_of,
    verified,
    view_change_of,
)


def test_an_old_new_view_that_comes_late_does_not_halt_a_node_that_delivered_another_block() -> None:
    group = Group()
    (dropped,) = chain_of(1, branch=1)
    (committed,) = chain_of(1, branch=2, proposer=1)
    old = new_view_of(
        2, view_change_of(0, 2, claims=(claim_of(dropped, 0),)), view_change_of(1, 2), view_change_of(2, 2)
    )
    late = group.nodes[3]
    late.application.held.update((*dropped.batch_hashes, *committed.batch_hashes))
    effects = late.replica.step(Received("v1", verified(Blocks((committed_of(committed, view=5),), ()))), group.now)
    assert any(isinstance(effect, Delivered) for effect in effects)
    effects = late.replica.step(Received("v0", verified(old)), group.now)
    assert not any(isinstance(effect, Halt) for effect in effects)
    assert late.replica.state.halted is None


def test_a_new_view_that_drops_a_block_committed_before_it_halts_the_node() -> None:
    group = Group()
    (committed,) = chain_of(1, branch=2, proposer=0)
    (other,) = chain_of(1, branch=1)
    later = new_view_of(
        2, view_change_of(0, 2, claims=(claim_of(other, 1),)), view_change_of(1, 2), view_change_of(2, 2)
    )
    node = group.nodes[3]
    node.application.held.update((*other.batch_hashes, *committed.batch_hashes))
    node.replica.step(Received("v1", verified(Blocks((committed_of(committed, view=0),), ()))), group.now)
    effects = node.replica.step(Received("v2", verified(later)), group.now)
    assert any(isinstance(effect, Halt) for effect in effects)


def test_a_lost_ledger_with_a_cut_log_signs_nothing_up_to_where_the_log_reached() -> None:
    group = Group()
    for number in range(12):
        group.offer(batch_of(number))
        group.run(300)
    node = group.nodes[3]
    assert group.heights() == [12, 12, 12, 12]
    live = [record for record in node.replica.live_records() if type(record).__name__ != "Cosigned"]
    assert isinstance(live[0], Reached)
    node.wal = [encode_record(record) for record in live]
    group.crash(3)
    node.blocks = []
    node.monitor.ledger_lost()
    group.queue.clear()
    group.start(3)
    assert node.replica.state.floor == 12
    assert not node.replica.state.may_vote


def test_a_node_that_hears_from_nobody_does_not_leave_the_view_alone() -> None:
    group = Group()
    group.drop = lambda letter: 3 in (letter.sender, letter.receiver)
    node = group.nodes[3]
    node.application.held.add(batch_of(1))
    node.application.waiting.append(batch_of(1))
    for _ in range(20):
        group.tick(500, heard=False)
        group.deliver()
    assert node.replica.state.active
    assert node.replica.state.view == 0


def test_a_node_that_slept_does_not_leave_the_view_when_it_wakes() -> None:
    group = Group()
    node = group.nodes[3]
    node.application.held.add(batch_of(1))
    node.application.waiting.append(batch_of(1))
    group.tick(100)
    deadline = node.replica.state.deadline_ms
    assert deadline is not None
    group.now = type(group.now)(deadline + 3_000)
    group.tick(1)
    assert node.replica.state.active


def test_a_validator_that_waits_alone_in_the_next_view_is_joined_after_the_longest_timeout() -> None:
    group = Group()
    alone = view_change_of(3, 1)
    for index in (0, 1, 2):
        group.nodes[index].replica.step(Received("v3", verified(alone)), group.now)
    longest = group.nodes[0].replica.state.parameters.timeout_max_ms
    group.tick(longest - 1_000)
    assert [group.nodes[index].replica.state.view for index in (0, 1, 2)] == [0, 0, 0]
    group.run(3_000)
    assert all(group.nodes[index].replica.state.view >= 1 for index in (0, 1, 2))


def test_a_validator_far_ahead_is_never_joined_alone() -> None:
    group = Group()
    far: ViewChange = view_change_of(3, 1_000_000)
    for index in (0, 1, 2):
        group.nodes[index].replica.step(Received("v3", verified(far)), group.now)
    group.tick(3 * group.nodes[0].replica.state.parameters.timeout_max_ms)
    assert [group.nodes[index].replica.state.view for index in (0, 1, 2)] == [0, 0, 0]


def test_a_clock_set_back_does_not_keep_a_node_silent_until_it_is_there_again() -> None:
    group = Group()
    node = group.nodes[2]
    right = group.now
    for ahead_ms in (0, 30_000):
        node.replica.step(Tick(), TimeMs(right + ahead_ms))
    said = node.replica.step(Tick(), TimeMs(right + 100)) + node.replica.step(Tick(), TimeMs(right + 1_200))
    assert any(isinstance(effect, Broadcast) and isinstance(effect.message, Status) for effect in said)
    assert node.replica.state.status_due_ms <= right + 3_000
