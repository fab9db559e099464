"""View changes: who leaves a view and when, what a new view must keep, and that order returns."""

from __future__ import annotations

import pytest

from consensus.choice import choose
from consensus.effects import Halt, Send, ViewEntered
from consensus.messages import BLOCKS_PER_FETCH_MAX, BUFFER_HEIGHTS, WINDOW, NewView, PrePrepare, ViewChange, Vote
from consensus.state import Parameters
from primitives.block import Block
from primitives.ids import Height, TimeMs, View
from primitives.votes import COMMIT, PREPARE
from tests.consensus.toy_fixtures import (
    START_MS,
    Group,
    Letter,
    batch_of,
    certificate_of,
    chain_of,
    claim_of,
    genesis_of,
    new_view_of,
    proposal_of,
    validators_of,
    view_change_of,
    vote_of,
)

GENESIS = genesis_of(validators_of(4)).hash()


def views(group: Group) -> list[tuple[int, bool]]:
    return [(node.state.view, node.state.active) for node in group.nodes if node.replica is not None]


def test_a_dead_leader_is_replaced_and_order_returns_within_two_timeouts() -> None:
    group = Group()
    group.crash(0)
    group.offer(batch_of(1))
    group.run(2 * group.parameters.timeout_base_ms)
    assert group.heights() == [0, 1, 1, 1]
    assert views(group) == [(1, True)] * 3


def test_nobody_leaves_a_view_while_there_is_nothing_to_order() -> None:
    group = Group()
    group.crash(0)
    group.run(20_000)
    assert views(group) == [(0, True)] * 3


def test_a_slow_link_of_one_validator_deposes_nobody() -> None:
    group = Group()
    group.drop = lambda letter: 3 in (letter.sender, letter.receiver)
    group.offer(*(batch_of(number) for number in range(6)))
    group.run(8_000)
    assert [group[index].view for index in range(3)] == [0, 0, 0]
    assert group.heights()[:3] == [6, 6, 6]


def test_f_plus_one_validators_above_are_joined_at_the_lowest_of_their_views() -> None:
    group = Group()
    group.give(Letter(1, 3, view_change_of(1, 7)))
    assert views(group)[3] == (0, True)
    group.give(Letter(2, 3, view_change_of(2, 4)))
    assert views(group)[3] == (4, False)


def test_huge_views_of_f_validators_are_ignored() -> None:
    group = Group()
    for view in (1, 1_000, 2**39):
        group.give(Letter(1, 3, view_change_of(1, view)))
    assert views(group)[3] == (0, True)
    assert len(group[3].view_changes) == 1


def test_two_view_changes_of_one_signer_count_once() -> None:
    group = Group()
    for view in (1, 2, 3):
        group.give(Letter(1, 3, view_change_of(1, view)))
    assert views(group)[3] == (0, True)


def test_an_old_view_change_does_nothing_in_a_newer_view() -> None:
    group = Group()
    group.crash(0)
    group.offer(batch_of(1))
    group.run(5_000)
    before = views(group)
    old = next(item for item in group.nodes[1].sent if isinstance(item, ViewChange))
    group.give(Letter(1, 2, old))
    assert views(group) == before


def test_a_view_change_after_the_view_began_is_answered_with_its_new_view() -> None:
    group = Group()
    group.crash(0)
    group.offer(batch_of(1))
    group.run(3_000)
    group.nodes[2].seen.clear()
    group.give(Letter(3, 2, view_change_of(3, 1)))
    (answer,) = [effect.message for effect in group.found(2, Send) if isinstance(effect, Send)]
    assert isinstance(answer, NewView)
    assert answer.view == 1


def commit_at(group: Group, index: int, *blocks: Block) -> None:
    """Let one node commit to blocks by hand-made votes, and lose what it sends."""
    group.nodes[index].application.held.update(item for block in blocks for item in block.batch_hashes)
    for block in blocks:
        group.give(Letter(0, index, proposal_of(block, 0)))
        for signer in (1, 2, 3):
            if signer != index:
                vote = vote_of(PREPARE, signer, block.header.hash(), height=block.header.height)
                group.give(Letter(signer, index, vote))
    group.queue.clear()


def test_a_new_view_keeps_a_block_that_one_validator_delivered() -> None:
    group = Group()
    group.offer(batch_of(0))
    group.drop = lambda letter: (
        isinstance(letter.message, Vote) and letter.message.phase == COMMIT and letter.receiver != 3
    )
    group.deliver()
    assert group.heights() == [0, 0, 0, 1]
    kept = group.nodes[3].blocks[0].block.header.hash()
    group.crash(3)
    group.crash(0)
    group.start(0)
    group.drop = lambda letter: isinstance(letter.message, Vote) and letter.message.view == 0
    group.run(6_000)
    assert [node.blocks[0].block.header.hash() for node in group.nodes[:3]] == [kept] * 3
    assert group[1].view >= 1


def test_a_chosen_block_keeps_its_hash_proposer_and_old_time_and_commits() -> None:
    group = Group()
    blocks = chain_of(2)
    commit_at(group, 1, *blocks)
    for index in (2, 3):
        group.nodes[index].application.held.update((batch_of(0), batch_of(1)))
    group.crash(0)
    group.now = type(START_MS)(START_MS + 86_400_000)  # a day later: too old for a fresh block
    group.offer(batch_of(9), to=range(1, 4))
    group.run(6_000)
    assert [item.block.header.hash() for item in group.nodes[2].blocks[:2]] == [item.header.hash() for item in blocks]
    assert group.heights() == [0, 3, 3, 3]


def test_batches_of_a_dropped_block_are_ordered_later_and_once() -> None:
    group = Group()
    group.offer(batch_of(0))
    group.queue.clear()  # the proposal is lost, and with it its leader
    group.crash(0)
    group.run(6_000)
    assert group.heights() == [0, 1, 1, 1]
    group.start(0)
    group.run(6_000)
    assert group.heights() == [1, 1, 1, 1]


def test_the_choice_takes_the_claim_of_the_highest_view() -> None:
    (low,), (high,) = chain_of(1), chain_of(1, branch=1)
    changes = [view_change_of(0, 3, (), (claim_of(low, 0),)), view_change_of(1, 3, (), (claim_of(high, 2),))]
    for order in (changes, changes[::-1]):
        assert [item.header.hash() for item in choose([*order, view_change_of(2, 3)], GENESIS).blocks] == [
            high.header.hash()
        ]


def test_the_choice_starts_at_the_highest_delivered_block() -> None:
    blocks = chain_of(3)
    delivered = tuple(certificate_of(COMMIT, block, (0, 1, 2)) for block in blocks[:2])
    changes = [
        view_change_of(0, 1, delivered[:1], (claim_of(blocks[1], 0),)),
        view_change_of(1, 1, delivered, (claim_of(blocks[2], 0),)),
        view_change_of(2, 1),
    ]
    choice = choose(changes, GENESIS)
    assert (choice.base_height, choice.base_hash) == (2, blocks[1].header.hash())
    assert [item.header.height for item in choice.blocks] == [3]


def test_the_choice_stops_at_a_gap() -> None:
    blocks = chain_of(3)
    changes = [view_change_of(0, 1, (), (claim_of(blocks[0], 0), claim_of(blocks[2], 0))), view_change_of(1, 1)]
    assert [item.header.height for item in choose(changes, GENESIS).blocks] == [1]


def test_the_choice_stops_at_a_block_that_does_not_follow_the_one_below() -> None:
    first = chain_of(1)[0]
    stray = chain_of(2, branch=1)[1]
    changes = [view_change_of(0, 2, (), (claim_of(first, 1), claim_of(stray, 0))), view_change_of(1, 2)]
    assert [item.header.height for item in choose(changes, GENESIS).blocks] == [1]


def enter(group: Group, index: int, *changes: ViewChange) -> None:
    group.give(Letter(1, index, new_view_of(1, *changes)))


def test_another_block_than_the_chosen_one_is_refused_at_its_height() -> None:
    group = Group()
    (chosen,), (other,) = chain_of(1), chain_of(1, branch=1, proposer=1)
    group.nodes[3].application.held.update((batch_of(0), batch_of(1_000)))
    enter(group, 3, view_change_of(0, 1, (), (claim_of(chosen, 0),)), view_change_of(1, 1), view_change_of(2, 1))
    assert views(group)[3] == (1, True)
    group.nodes[3].sent.clear()
    group.give(Letter(1, 3, proposal_of(other, 1, view=1)))
    assert not any(isinstance(item, Vote) for item in group.nodes[3].sent)
    # Now the leader contradicts itself by proposing the right one too; a node that saw only that prepares it.
    enter(group, 2, view_change_of(0, 1, (), (claim_of(chosen, 0),)), view_change_of(1, 1), view_change_of(2, 1))
    group.nodes[2].application.held.add(batch_of(0))
    group.give(Letter(1, 2, proposal_of(chosen, 1, view=1)))
    prepared = [item for item in group.nodes[2].sent if isinstance(item, Vote)]
    assert [(item.view, item.block_hash) for item in prepared] == [(1, chosen.header.hash())]


def test_nothing_is_voted_on_in_a_view_above_zero_without_its_new_view() -> None:
    group = Group()
    (block,) = chain_of(1, proposer=1)
    group.nodes[3].application.held.add(batch_of(0))
    group.give(Letter(1, 3, proposal_of(block, 1, view=1)))
    group.give(Letter(1, 3, view_change_of(1, 1)))
    group.give(Letter(2, 3, view_change_of(2, 1)))
    group.give(Letter(1, 3, proposal_of(block, 1, view=1)))
    assert views(group)[3] == (1, False)
    assert not any(isinstance(item, Vote) for item in group.nodes[3].sent)


def test_a_commit_never_rests_on_a_commit_of_an_earlier_view() -> None:
    group = Group()
    first = chain_of(1)[0]
    commit_at(group, 3, first)
    assert any(isinstance(item, Vote) and item.phase == COMMIT for item in group.nodes[3].sent)
    group.nodes[3].application.held.add(batch_of(1))
    fresh = chain_of(2, proposer=1)[1]
    header = type(fresh.header)(
        **{name: getattr(fresh.header, name) for name in fresh.header.__struct_fields__ if name != "parent"},
        parent=first.header.hash(),
    )
    second = Block(header, fresh.batch_hashes)
    enter(group, 3, view_change_of(0, 1, (), (claim_of(first, 0),)), view_change_of(1, 1), view_change_of(2, 1))
    group.give(Letter(1, 3, proposal_of(first, 1, view=1)))
    group.give(Letter(1, 3, proposal_of(second, 1, view=1)))
    for signer in (0, 2):
        group.give(Letter(signer, 3, vote_of(PREPARE, signer, second.header.hash(), height=2, view=1)))
    assert not any(isinstance(item, Vote) and (item.phase, item.view) == (COMMIT, 1) for item in group.nodes[3].sent)
    for signer in (0, 2):
        group.give(Letter(signer, 3, vote_of(PREPARE, signer, first.header.hash(), view=1)))
    committed = [item.height for item in group.nodes[3].sent if isinstance(item, Vote) and item.phase == COMMIT]
    assert committed == [1, 1, 2]


def test_nothing_is_voted_on_below_a_signed_view_change() -> None:
    group = Group()
    (block,) = chain_of(1)
    group.nodes[3].application.held.add(batch_of(0))
    group.nodes[3].application.waiting.append(batch_of(5))
    group.tick(10)
    group.tick(3_000)
    assert views(group)[3] == (1, False)
    group.give(Letter(0, 3, proposal_of(block, 0)))
    for signer in (1, 2):
        group.give(Letter(signer, 3, vote_of(PREPARE, signer, block.header.hash())))
    assert not any(isinstance(item, Vote) for item in group.nodes[3].sent)


def test_a_proposal_that_overtakes_its_new_view_is_taken_once_the_view_begins() -> None:
    group = Group()
    (block,) = chain_of(1, proposer=1)
    group.nodes[3].application.held.add(batch_of(0))
    group.give(Letter(3, 3, proposal_of(block, 3, view=3)))
    group.give(Letter(1, 3, proposal_of(block, 1, view=1)))
    group.give(Letter(2, 3, proposal_of(block, 2, view=2)))
    assert not any(isinstance(item, Vote) for item in group.nodes[3].sent)
    enter(group, 3, view_change_of(0, 1), view_change_of(1, 1), view_change_of(2, 1))
    (vote,) = [item for item in group.nodes[3].sent if isinstance(item, Vote)]
    assert (vote.phase, vote.view, vote.block_hash) == (PREPARE, 1, block.header.hash())
    assert group[3].early == {}


def test_a_new_view_that_contradicts_a_delivered_block_halts() -> None:
    group = Group()
    group.offer(batch_of(7))
    group.deliver()
    (other,) = chain_of(1, branch=1)
    enter(group, 3, view_change_of(0, 1, (), (claim_of(other, 0),)), view_change_of(1, 1), view_change_of(2, 1))
    assert len(group.found(3, Halt)) == 1


def test_a_new_view_below_the_one_vowed_is_ignored() -> None:
    group = Group()
    group.give(Letter(1, 3, view_change_of(1, 2)))
    group.give(Letter(2, 3, view_change_of(2, 2)))
    enter(group, 3, view_change_of(0, 1), view_change_of(1, 1), view_change_of(2, 1))
    assert views(group)[3] == (2, False)


def test_a_new_view_far_above_the_own_height_stops_votes_until_caught_up() -> None:
    group = Group()
    blocks = chain_of(30)
    delivered = tuple(certificate_of(COMMIT, block, (0, 1, 2)) for block in blocks[-8:])
    enter(group, 3, view_change_of(0, 1, delivered), view_change_of(1, 1), view_change_of(2, 1))
    assert views(group)[3] == (1, True)
    assert not group[3].may_vote
    for height, block in enumerate(blocks, 1):
        group.give(Letter(1, 3, vote_of(PREPARE, 1, block.header.hash(), height=height, view=1)))
    assert sorted(group[3].slots) == list(range(1, 17))


def test_a_quorum_spread_over_two_views_still_starts_the_timer() -> None:
    group = Group()
    group.crash(3)
    group.drop = lambda letter: True
    group.offer(batch_of(1), to=range(0, 3))
    group.tick(10)
    group.tick(3_000)
    assert views(group) == [(1, False)] * 3
    # The first validator alone heard both others and moved on; its vow for view 1 is lost for good.
    for signer in (1, 2):
        change = next(item for item in group.nodes[signer].sent if isinstance(item, ViewChange))
        group.give(Letter(signer, 0, change))
    group.tick(5_000)
    assert views(group) == [(2, False), (1, False), (1, False)]
    group.drop = lambda letter: (
        isinstance(letter.message, ViewChange) and (letter.sender, letter.message.view) == (0, 1)
    )
    group.run(20_000)
    assert group.heights()[:3] == [1, 1, 1]


def test_nodes_in_different_views_converge_by_what_they_resend() -> None:
    group = Group()
    group.give(Letter(1, 3, view_change_of(1, 2)))
    group.give(Letter(2, 3, view_change_of(2, 2)))
    assert views(group)[3] == (2, False)
    group.queue.clear()
    group.crash(2)  # three remain, one of them ahead
    group.offer(batch_of(1), batch_of(2))
    group.run(15_000)
    assert [group.heights()[index] for index in (0, 1, 3)] == [2, 2, 2]
    assert len({group[index].view for index in (0, 1, 3)}) == 1


def test_timeouts_double_without_progress_up_to_the_cap_and_fall_back_with_it() -> None:
    group = Group(parameters=Parameters(timeout_base_ms=1_000, timeout_max_ms=8_000))
    group.drop = lambda letter: not isinstance(letter.message, ViewChange)
    group.offer(batch_of(1))
    seen = []
    for _ in range(1_000):
        group.tick(100)
        group.deliver()
        seen.append(group[1].timeout_ms())
    assert list(dict.fromkeys(seen)) == [1_000, 2_000, 4_000, 8_000]
    group.drop = lambda letter: False
    group.run(20_000)
    for number in range(2, 8):
        group.offer(batch_of(number))
        group.run(1_000)
    assert group[1].timeout_ms() == 1_000


@pytest.mark.parametrize(
    ("heard", "views"), [(("v0", "v2"), True), (("v2", "v3"), True), (("v2",), False), ((), False)]
)
def test_who_hears_from_too_few_to_start_a_view_leaves_none(heard: tuple[str, ...], views: bool) -> None:
    group = Group()
    group.drop = lambda letter: True
    group.offer(batch_of(1))
    for _ in range(100):
        group[1].heard_ms = dict.fromkeys(heard, group.now)
        group.tick(50, heard=False)
    assert (group[1].view > 0) is views


def test_what_is_held_against_a_leader_counts_from_the_view_and_from_when_it_is_within_reach() -> None:
    group = Group()
    entered: dict[int, list[int]] = {}
    for node in group.nodes:
        node.application.view_entered = entered.setdefault(node.index, []).append  # type: ignore[method-assign]  # to listen
    group.drop = lambda letter: letter.sender == 0
    group.offer(batch_of(1))
    group.run(6_000)
    assert group[2].view == 1
    assert group[2].active
    assert len(entered[2]) == 1, "at its NEW-VIEW"
    group[2].heard_ms = {"v3": group.now}
    group.tick(50, heard=False)
    assert entered[2][1:] == [group.now], "while its leader is out of reach"
    group[1].heard_ms = {"v3": group.now}
    before = len(entered[1])
    group.tick(50, heard=False)
    assert len(entered[1]) == before, "a leader is within its own reach"


def test_the_timer_stops_when_there_is_nothing_to_order_any_more() -> None:
    group = Group()
    group.drop = lambda letter: True
    group.offer(batch_of(1), to=range(3, 4))
    group.tick(500)
    assert group[3].deadline_ms is not None
    group.nodes[3].application.waiting.clear()
    group.tick(50)
    assert group[3].deadline_ms is None


def test_all_times_that_something_waits_for_go_back_with_the_clock() -> None:
    state = Group()[1]
    state.note_time(TimeMs(START_MS + 9_000))
    names = ("status_due_ms", "fetch_due_ms", "progress_ms", "proposed_ms", "ticked_ms", "deadline_ms")
    for name in names:
        setattr(state, name, TimeMs(START_MS + 9_500))
    state.checkpoints.due_ms = TimeMs(START_MS + 9_500)
    state.heard_ms = {"v0": TimeMs(START_MS + 9_500)}
    state.vowed_ms = {0: TimeMs(START_MS + 9_500)}
    state.slot(Height(1)).voted_ms = TimeMs(START_MS + 9_500)
    state.note_time(TimeMs(START_MS + 9_000))
    assert state.status_due_ms == START_MS + 9_500, "a clock that stands"
    state.note_time(TimeMs(START_MS + 2_000))
    found = {getattr(state, name) for name in names}
    found |= {state.checkpoints.due_ms, state.slots[Height(1)].voted_ms, state.heard_ms["v0"], state.vowed_ms[0]}
    assert found == {START_MS + 2_500}


def test_the_figures_of_the_protocol_are_the_documented_ones() -> None:
    assert Parameters() == Parameters(
        timeout_base_ms=2_000, timeout_max_ms=60_000, lag_ms=10_000, drift_ms=5_000, status_interval_ms=1_000,
        fetch_timeout_ms=1_000, propose_interval_ms=25, propose_bytes=262_144, gather_ms=2, gather_ms_max=50,
        checkpoint_slot_ms=200, checkpoint_quiet_ms=500, checkpoint_idle_ms=60_000,
    )  # fmt: skip
    assert (WINDOW, BUFFER_HEIGHTS, BLOCKS_PER_FETCH_MAX) == (8, 16, 64)


@pytest.mark.parametrize("attempts", [0, 1, 5, 33, 10_000])
def test_a_timeout_never_exceeds_its_cap(attempts: int) -> None:
    group = Group()
    group[0].attempts = attempts
    assert 2_000 <= group[0].timeout_ms() <= 60_000


def test_a_leader_that_passes_over_batches_is_deposed() -> None:
    group = Group()
    for index in (1, 2, 3):
        group.nodes[index].application.accuses = True
        group.offer(batch_of(index), to=range(index, index + 1))
    group.tick(50)
    group.deliver()
    assert {view for view, _ in views(group)[1:]} == {1}
    entered = group.found(2, ViewEntered)
    assert any("passes over" in effect.why for effect in entered if isinstance(effect, ViewEntered))


def test_the_new_leader_writes_new_view_before_it_sends_it_and_proposes_after_it() -> None:
    group = Group()
    group.crash(0)
    group.offer(batch_of(1))
    group.run(4_000)
    kinds = [type(item) for item in group.nodes[1].sent if isinstance(item, (NewView, PrePrepare))]
    assert kinds[0] is NewView
    assert PrePrepare in kinds


def test_view_changes_name_the_delivered_blocks_and_only_claims_above_them() -> None:
    group = Group()
    for number in range(12):
        group.offer(batch_of(number))
        group.deliver()
    group.crash(0)
    group.offer(batch_of(99))
    group.run(3_000)
    change = next(item for item in group.nodes[2].sent if isinstance(item, ViewChange))
    assert [item.height for item in change.delivered] == list(range(5, 13))
    assert change.claims == ()
    assert change.view == View(1)


@pytest.mark.parametrize("proposer", [0, 1])
def test_a_proposal_of_the_view_before_is_not_taken_as_the_new_leaders(proposer: int) -> None:
    group = Group()
    (block,) = chain_of(1, proposer=proposer)
    group.nodes[3].application.held.add(batch_of(0))
    enter(group, 3, view_change_of(0, 1), view_change_of(1, 1), view_change_of(2, 1))
    group.give(Letter(0, 3, proposal_of(block, 0, view=0)))
    assert not any(isinstance(item, Vote) for item in group.nodes[3].sent)
    assert all(slot.proposal is None for slot in group[3].slots.values())


def test_a_proposal_that_came_while_the_view_was_awaited_does_not_get_round_the_choice() -> None:
    group = Group()
    (chosen,), (other,) = chain_of(1), chain_of(1, branch=1, proposer=1)
    group.nodes[3].application.held.update((batch_of(0), batch_of(1_000)))
    for signer in (1, 2):
        group.give(Letter(signer, 3, view_change_of(signer, 1)))
    assert views(group)[3] == (1, False)
    group.give(Letter(1, 3, proposal_of(other, 1, view=1)))
    enter(group, 3, view_change_of(0, 1, (), (claim_of(chosen, 0),)), view_change_of(1, 1), view_change_of(2, 1))
    assert views(group)[3] == (1, True)
    assert not any(isinstance(item, Vote) for item in group.nodes[3].sent)


def test_another_block_at_the_height_of_an_executed_one_is_executed_in_the_next_view() -> None:
    group = Group()
    (first,), (other,) = chain_of(1), chain_of(1, branch=1, proposer=1)
    group.nodes[3].application.held.update((batch_of(0), batch_of(1_000)))
    group.nodes[3].application.poison.add(batch_of(1_000))
    group.give(Letter(0, 3, proposal_of(first, 0)))
    enter(group, 3, view_change_of(0, 1), view_change_of(1, 1), view_change_of(2, 1))
    group.give(Letter(1, 3, proposal_of(other, 1, view=1)))
    assert {item.block_hash for item in group.nodes[3].sent if isinstance(item, Vote)} == {first.header.hash()}


def test_of_a_validators_view_changes_the_highest_counts() -> None:
    group = Group()
    for signer, view in ((0, 1), (0, 2), (1, 2)):
        group.give(Letter(signer, 3, view_change_of(signer, view)))
    assert views(group)[3] == (2, False)


def test_a_second_new_view_of_a_view_that_has_begun_changes_nothing() -> None:
    group = Group()
    (claimed,), (fresh,) = chain_of(1), chain_of(1, branch=1, proposer=1)
    group.nodes[3].application.held.update((batch_of(0), batch_of(1_000)))
    enter(group, 3, view_change_of(0, 1), view_change_of(1, 1), view_change_of(2, 1))
    first = group[3].new_view
    enter(group, 3, view_change_of(0, 1, (), (claim_of(claimed, 0),)), view_change_of(1, 1), view_change_of(2, 1))
    assert group[3].new_view == first
    group.give(Letter(1, 3, proposal_of(fresh, 1, view=1)))
    assert [item.block_hash for item in group.nodes[3].sent if isinstance(item, Vote)] == [fresh.header.hash()]


def test_the_base_of_a_new_view_is_delivered_by_the_certificates_that_come_with_it() -> None:
    group = Group()
    (block,) = chain_of(1)
    group.nodes[3].application.held.add(batch_of(0))
    group.give(Letter(0, 3, proposal_of(block, 0)))
    base = (certificate_of(COMMIT, block, (0, 1, 2)),)
    enter(group, 3, view_change_of(0, 1, base), view_change_of(1, 1), view_change_of(2, 1))
    assert group.heights()[3] == 1


def test_entering_a_view_drops_the_execution_of_blocks_that_were_not_chosen() -> None:
    group = Group()
    chosen, dropped = chain_of(2)
    commit_at(group, 3, chosen, dropped)
    assert group.nodes[3].application.executed.keys() == {chosen.header.hash(), dropped.header.hash()}
    enter(group, 3, view_change_of(0, 1, (), (claim_of(chosen, 0),)), view_change_of(1, 1), view_change_of(2, 1))
    assert group.nodes[3].application.executed.keys() == {chosen.header.hash()}
