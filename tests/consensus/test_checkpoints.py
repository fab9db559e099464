"""Checkpoints: which blocks are cosigned, when a quorum makes one stable, and that the signed log never falls."""

from __future__ import annotations

from collections import Counter

import pytest
from msgspec.structs import replace

from consensus.effects import CheckpointStable, Effect, Halt, Persist, Send
from consensus.invariants import ReplicaMonitor
from consensus.messages import BUFFER_HEIGHTS, CheckpointVote, Status, Vote
from consensus.records import Cosigned, decode_record
from primitives.ids import ZERO_HASH, Epoch, Height, TimeMs, View
from primitives.votes import COMMIT
from tests.consensus.toy_fixtures import START_MS, Group, Letter, batch_of, checkpoint_vote_of


def cosigned(group: Group, index: int) -> list[int]:
    return [
        effect.record.vote.height
        for effect in group.nodes[index].seen
        if isinstance(effect, Persist) and isinstance(effect.record, Cosigned)
    ]


def stable(group: Group, index: int) -> list[int]:
    found: list[Effect] = group.found(index, CheckpointStable)
    return [effect.height for effect in found if isinstance(effect, CheckpointStable)]


def align(group: Group) -> None:
    """Bring the clock to the start of a slot."""
    slot_ms = group.parameters.checkpoint_slot_ms
    group.now = TimeMs(group.now + slot_ms - group.now % slot_ms)


def test_all_cosign_the_same_blocks_the_first_of_each_slot() -> None:
    group = Group()
    align(group)
    for number in range(20):
        group.offer(batch_of(number))
        group.run(50)
    signed = [cosigned(group, index) for index in range(4)]
    assert signed[0] == signed[1] == signed[2] == signed[3]
    assert 5 <= len(signed[0]) <= 6
    assert stable(group, 0) == signed[0]


def test_the_newest_block_is_cosigned_after_a_quiet_time() -> None:
    group = Group()
    align(group)
    group.offer(batch_of(0))
    group.run(10, step=10)
    group.offer(batch_of(1))  # in the same slot as its parent
    group.run(10, step=10)
    assert cosigned(group, 1) == [1]
    group.run(group.parameters.checkpoint_quiet_ms)
    assert cosigned(group, 1) == [1, 2]
    assert stable(group, 1)[-1] == 2


def test_an_idle_chain_cosigns_its_newest_block_again_each_minute() -> None:
    group = Group()
    group.offer(batch_of(0))
    group.run(1_000)
    before = len(cosigned(group, 0))
    group.run(3 * group.parameters.checkpoint_idle_ms, step=1_000)
    assert len(cosigned(group, 0)) - before == 3
    times = [effect.cosignatures[0][1] for effect in group.nodes[0].seen if isinstance(effect, CheckpointStable)]
    assert times == sorted(set(times))


def test_one_validator_that_is_gone_does_not_make_the_others_checkpoint_look_old() -> None:
    group = Group()
    group.offer(batch_of(0))
    group.run(1_000)
    for gone in (3, 0):
        before = group.nodes[1].state.checkpoints.stable_time_s
        group.drop = lambda letter, gone=gone: letter.sender == gone  # type: ignore[misc]  # bound now
        group.run(2 * group.parameters.checkpoint_idle_ms, step=1_000)
        newest = group.found(1, CheckpointStable)[-1]
        assert isinstance(newest, CheckpointStable)
        assert min(time_s for _, time_s, _ in newest.cosignatures) >= before + 60
        assert gone not in [index for index, _, _ in newest.cosignatures]


def test_one_validator_that_claims_an_old_time_does_not_make_the_others_checkpoint_look_old() -> None:
    group = Group()
    group.drop = lambda letter: isinstance(letter.message, CheckpointVote)
    group.offer(batch_of(0))
    group.run(1_000)
    head = group[1].checkpoints.head
    assert head is not None
    for signer, time_s in ((3, 1), (0, START_MS // 1_000), (2, START_MS // 1_000)):
        group.give(Letter(signer, 1, checkpoint_vote_of(signer, 1, head.size, head.root, time_s=time_s)))
    newest = group.found(1, CheckpointStable)[-1]
    assert isinstance(newest, CheckpointStable)
    assert [index for index, _, _ in newest.cosignatures] == [0, 1, 2]
    assert min(time_s for _, time_s, _ in newest.cosignatures) == START_MS // 1_000


@pytest.mark.parametrize("again", [False, True], ids=["running", "restarted"])
def test_no_log_is_vouched_for_into_the_time_of_a_block_prepared_above_it(again: bool) -> None:
    group = Group()
    align(group)
    group.offer(batch_of(0))
    group.run(1_000)
    assert group.heights() == [1] * 4
    group.run(group.parameters.checkpoint_idle_ms - 2_500, step=100)
    group.drop = lambda letter: isinstance(letter.message, Vote) and letter.message.phase == COMMIT
    group.offer(batch_of(1))
    group.run(400)
    (block,) = group[1].slots[Height(2)].blocks.values()
    if again:
        for index in range(4):
            group.crash(index)
            group.start(index)
    group.run(5_000)
    assert group.heights() == [1] * 4
    for index in range(4):
        own = group[index].checkpoints.own
        assert own is not None
        assert own.time_s * 1_000 < block.header.time_ms < group.now - 4_000
    group.drop = lambda letter: False
    group.run(3 * group.parameters.checkpoint_idle_ms, step=1_000)
    assert set(group.heights()) == {2}
    newest = group[1].checkpoints.own
    assert newest is not None
    assert newest.time_s * 1_000 > group.now - 2 * group.parameters.checkpoint_idle_ms


def test_a_checkpoint_is_stable_at_a_quorum_and_not_before() -> None:
    group = Group()
    group.drop = lambda letter: isinstance(letter.message, CheckpointVote)
    group.offer(batch_of(0))
    group.run(600)
    votes = {index: next(v for v in group.nodes[index].sent if isinstance(v, CheckpointVote)) for index in range(4)}
    group.give(Letter(1, 0, votes[1]))
    group.give(Letter(1, 0, votes[1]))
    assert stable(group, 0) == []
    group.give(Letter(2, 0, votes[2]))
    assert stable(group, 0) == [1]
    (found,) = group.found(0, CheckpointStable)
    assert isinstance(found, CheckpointStable)
    assert [index for index, _, _ in found.cosignatures] == [0, 1, 2]


def test_cosignatures_that_come_before_the_block_count_once_it_is_delivered() -> None:
    group = Group()
    group.drop = lambda letter: letter.receiver == 3 and not isinstance(letter.message, CheckpointVote)
    group.offer(batch_of(0))
    group.run(group.parameters.checkpoint_quiet_ms + 100)
    assert sum(1 in votes for votes in group[3].checkpoints.votes.values()) == 3
    assert (group.heights()[3], stable(group, 3)) == (0, [])
    group.drop = lambda letter: False
    group.run(4_000)
    assert (group.heights()[3], stable(group, 3)[0]) == (1, 1)


@pytest.mark.parametrize("differ", ["size", "root"])
def test_cosignatures_of_different_logs_do_not_add_up(differ: str) -> None:
    group = Group()
    group.drop = lambda letter: isinstance(letter.message, CheckpointVote)
    group.offer(batch_of(0))
    group.deliver()
    head = group[3].checkpoints.head
    assert head is not None
    for signer in (0, 1, 2):
        size = head.size + signer if differ == "size" else head.size
        root = batch_of(signer) if differ == "root" and signer else head.root
        group.give(Letter(signer, 3, checkpoint_vote_of(signer, 1, size, root)))
    assert stable(group, 3) == []
    for signer in (1, 2):
        group.give(
            Letter(signer, 3, checkpoint_vote_of(signer, 1, head.size, head.root, time_s=group.now // 1_000 + 1))
        )
    assert stable(group, 3) == [1]


def test_a_quorum_of_cosignatures_of_which_one_is_of_another_log_makes_nothing_stable() -> None:
    group = Group()
    group.drop = lambda letter: isinstance(letter.message, CheckpointVote)
    group.offer(batch_of(0))
    group.deliver()
    head = group[3].checkpoints.head
    assert head is not None
    roots = {0: head.root, 1: head.root, 2: batch_of(9)}
    for signer, root in roots.items():
        group.give(Letter(signer, 3, checkpoint_vote_of(signer, 1, head.size, root)))
    assert sum(1 in votes for votes in group[3].checkpoints.votes.values()) == len(roots)
    assert stable(group, 3) == []


def test_who_delivers_late_cosigns_the_same_blocks() -> None:
    group = Group()
    align(group)
    group.drop = lambda letter: letter.receiver == 3
    for number in range(20):
        group.offer(batch_of(number))
        group.run(50)
    group.drop = lambda letter: False
    group.run(400)
    assert group.heights() == [20] * 4
    assert [height for height in cosigned(group, 3) if height] == cosigned(group, 0)
    assert len(cosigned(group, 0)) in (5, 6)


def test_a_lost_cosignature_is_sent_again_until_the_checkpoint_is_stable() -> None:
    group = Group()
    group.drop = lambda letter: isinstance(letter.message, CheckpointVote) and letter.receiver == 3
    group.offer(batch_of(0))
    group.run(2_000)
    assert (stable(group, 0)[:1], stable(group, 3)) == ([1], [])
    group.drop = lambda letter: False
    group.run(2_100)
    assert stable(group, 3) != []


def test_a_cosignature_is_written_before_it_is_sent_and_restored() -> None:
    group = Group()
    group.offer(batch_of(0))
    group.run(1_000)
    own = group[1].checkpoints.own
    group.crash(1)
    group.start(1)
    assert own is not None
    assert group[1].checkpoints.own == own


def test_a_validator_whose_log_fell_signs_nothing_until_it_is_back_and_does_not_halt() -> None:
    group = Group()
    for number in range(3):
        group.offer(batch_of(number))
        group.run(500)
    group.crash(1)
    group.nodes[1].blocks = group.nodes[1].blocks[:1]  # the store came back from an old backup, the log did not
    group.nodes[1].sent.clear()
    group.nodes[1].wal = [data for data in group.nodes[1].wal if isinstance(decode_record(data), Cosigned)]
    group.nodes[1].monitor = ReplicaMonitor("v1")
    group.drop = lambda letter: True
    group.start(1)
    group.tick(1_000)
    assert not group.found(1, Halt)  # it fetches what is missing
    assert not any(isinstance(item, CheckpointVote) for item in group.nodes[1].sent)


def test_a_log_with_another_root_than_the_one_signed_halts() -> None:
    group = Group()
    group.offer(batch_of(0))
    group.run(1_000)
    own = group[1].checkpoints.own
    assert own is not None
    for size, root in ((own.size, batch_of(7)), (own.size + 1, own.root)):
        fields = (own.epoch, own.height, size, root, own.time_s, own.validator, own.signature)
        group[1].checkpoints.own = CheckpointVote(*fields)
        group[1].halted = None
        group.tick(group.parameters.checkpoint_idle_ms)
        assert "the log fell" in str(group[1].halted)


def test_a_clock_that_jumps_back_does_not_sign_the_same_log_with_an_older_time() -> None:
    group = Group()
    group.offer(batch_of(0))
    group.run(1_000)
    own = group[1].checkpoints.own
    group.now = TimeMs(group.now - 3_600_000)
    group.run(2 * group.parameters.checkpoint_idle_ms, step=1_000)
    assert group[1].checkpoints.own == own


def shown_at(votes: list[CheckpointVote], height: int) -> list[CheckpointVote]:
    """Return cosignatures as whoever holds them can show them: with another height, which none of them covers."""
    return [replace(vote, height=Height(height)) for vote in votes]


def cosignatures_of(group: Group, height: int) -> list[CheckpointVote]:
    sent = [item for node in group.nodes[:3] for item in node.sent if isinstance(item, CheckpointVote)]
    return list({item.validator: item for item in sent if item.height == height}.values())


def held_of(group: Group, validator: int, height: int) -> CheckpointVote | None:
    return group[3].checkpoints.votes.get((group[3].epoch, validator), {}).get(Height(height))


def test_cosignatures_are_kept_for_heights_near_the_newest_block() -> None:
    group = Group()
    for height in (BUFFER_HEIGHTS, BUFFER_HEIGHTS + 1):
        group.give(Letter(1, 3, checkpoint_vote_of(1, height, 1_000, ZERO_HASH)))
    assert held_of(group, 1, BUFFER_HEIGHTS) is not None
    assert held_of(group, 1, BUFFER_HEIGHTS + 1) is None


def test_of_two_cosignatures_of_a_height_the_later_one_is_kept_whichever_comes_first() -> None:
    early, late = (checkpoint_vote_of(1, 5, 1_000, ZERO_HASH, time_s=START_MS // 1_000 + s) for s in (0, 9))
    for order in ((early, late), (late, early)):
        group = Group()
        for vote in order:
            group.give(Letter(1, 3, vote))
        assert held_of(group, 1, 5) == late


def test_of_two_cosignatures_the_one_whose_size_its_height_may_have_is_kept() -> None:
    """Each block adds a leaf at least: at height 5 of a chain that stands at 0, no log has fewer than 5 more."""
    newest = Group()[3].checkpoints.head
    assert newest is not None
    small, large = (checkpoint_vote_of(1, 5, newest.size + more, ZERO_HASH) for more in (4, 5))
    for order in ((small, large), (large, small)):
        group = Group()
        for vote in order:
            group.give(Letter(1, 3, vote))
        assert held_of(group, 1, 5) == large


def test_a_cosignature_is_sent_again_to_whom_it_is_not_stable_for_and_to_nobody_else() -> None:
    group = Group()
    align(group)
    group.offer(batch_of(0))
    group.run(300)
    assert stable(group, 3) == [1]
    for height, again in ((0, True), (1, False), (2, False)):
        group.nodes[3].seen.clear()
        group.give(Letter(2, 3, Status(Epoch(0), View(0), True, Height(1), Height(1), Height(height), True)))
        sent = [item for item in group.found(3, Send) if isinstance(item.message, CheckpointVote)]  # type: ignore[union-attr]  # a Send
        assert bool(sent) is again


def test_after_a_restart_the_newest_block_is_cosigned_after_the_quiet_time() -> None:
    group = Group()
    group.run(5_000)
    group.crash(3)
    group.start(3)
    assert group[3].checkpoints.due_ms == group.now + group.parameters.checkpoint_quiet_ms


def test_cosignatures_shown_with_another_height_make_nothing_stable_there() -> None:
    group = Group()
    align(group)
    group.offer(batch_of(0))
    group.run(300)
    old = cosignatures_of(group, 1)
    assert (len(old), stable(group, 3)) == (3, [1])
    group.drop = lambda letter: isinstance(letter.message, CheckpointVote)
    for above in (2, 3):
        for vote in shown_at(old, above):
            group.give(Letter(3, 3, vote))
    group.offer(batch_of(1))
    group.run(300)
    assert group.heights()[3] == 2
    for vote in shown_at(old, 2):
        group.give(Letter(3, 3, vote))
    assert stable(group, 3) == [1]


def test_a_cosignature_shown_with_another_height_keeps_none_of_that_height_out() -> None:
    group = Group()
    align(group)
    group.offer(batch_of(0))
    group.run(300)
    old = cosignatures_of(group, 1)
    group.drop = lambda letter: letter.receiver == 3 and isinstance(letter.message, CheckpointVote)
    for vote in shown_at(old, 2):
        group.give(Letter(3, 3, vote))
    group.offer(batch_of(1))
    group.run(300)
    true = cosignatures_of(group, 2)
    assert {vote.time_s for vote in true} == {vote.time_s for vote in old}, "within one second"
    group.drop = lambda letter: False
    for vote in true:
        group.give(Letter(vote.validator, 3, vote))
    newest = group.found(3, CheckpointStable)[-1]
    assert isinstance(newest, CheckpointStable)
    assert (newest.height, newest.size) == (2, true[0].size)


@pytest.mark.parametrize("count", range(1, 8))
def test_the_genesis_block_of_a_fresh_chain_is_under_a_stable_checkpoint_within_a_second(count: int) -> None:
    group = Group(count, observers=1)
    group.run(1_000)
    for index in range(count + 1):
        found = group.found(index, CheckpointStable)[0]
        assert isinstance(found, CheckpointStable)
        assert (found.epoch, found.height, found.size) == (0, 0, 1)
        assert len({validator for validator, _, _ in found.cosignatures}) >= group.validators.quorum
    group.offer(batch_of(0))
    group.run(1_000)
    assert [stable(group, index)[-1] for index in range(count + 1)] == [1] * (count + 1)


def test_the_genesis_block_is_not_stable_below_a_quorum_of_cosignatures() -> None:
    group = Group()
    for absent in (2, 3):
        group.crash(absent)
    group.run(3_000)
    assert (stable(group, 0), stable(group, 1)) == ([], [])
    group.start(2)  # whose cosignature is the third, and which those of before it came to be are sent again
    group.run(2_100)
    assert [stable(group, index)[:1] for index in (0, 1, 2)] == [[0]] * 3


def test_a_fresh_chain_cosigns_its_genesis_block_again_each_minute() -> None:
    group = Group()
    group.run(1_000)
    group.run(2 * group.parameters.checkpoint_idle_ms, step=1_000)
    times = [effect.cosignatures[0][1] for effect in group.nodes[0].seen if isinstance(effect, CheckpointStable)]
    assert len(times) >= 3
    assert times == sorted(times)


def test_a_cosignature_of_the_genesis_block_that_was_lost_is_sent_again() -> None:
    group = Group()
    group.drop = lambda letter: letter.receiver == 3
    group.run(1_000)
    assert (stable(group, 0)[:1], stable(group, 3)) == ([0], [])
    group.drop = lambda letter: False
    group.run(2_100)
    assert stable(group, 3)[:1] == [0]


def test_a_validator_that_starts_again_on_a_fresh_chain_has_the_genesis_blocks_checkpoint_again() -> None:
    group = Group()
    group.run(1_000)
    group.crash(3)
    group.nodes[3].seen.clear()
    group.start(3)
    group.run(2_100)
    assert stable(group, 3)[:1] == [0]
    assert not group.found(3, Halt)


def test_another_root_than_the_genesis_blocks_is_never_stable() -> None:
    group = Group()
    group.drop = lambda letter: isinstance(letter.message, CheckpointVote)
    for signer in (0, 1, 2):
        group.give(Letter(signer, 3, checkpoint_vote_of(signer, 0, 1, batch_of(7))))
    group.run(1_000)
    assert stable(group, 3) == []


def test_what_is_counted_of_cosignatures_is_what_is_kept_and_goes_with_it() -> None:
    group = Group()
    for number in range(6):
        group.offer(batch_of(number))
        group.run(1_000)
        for node in group.nodes:
            kept = node.state.checkpoints
            counted = Counter((epoch, height) for (epoch, _), votes in kept.votes.items() for height in votes)
            assert kept.counts == counted
            assert len(counted) <= 2
    assert stable(group, 0)[-1] == group.heights()[0]
