"""What proves that a log contradicts itself, and what does not."""

from __future__ import annotations

import base64
import random

import pytest

from ledger.forks import HEADING, Contradiction, Fork, ForkExtra, make_fork, parse_fork, verify_fork
from ledger.handovers import first_span
from ledger.trust_policy import policy_text
from primitives.encoding import encode
from primitives.errors import InputError, ProofError
from primitives.ids import Hash
from tests.rpc.conftest import MemoryNode

MUTATIONS = 300


def grown(*blocks: int, first: int = 0) -> MemoryNode:
    node = MemoryNode()
    for count in blocks:
        node.commit_events(count, first=1_000_000 * first + node.chain.log_size)
    return node


ONE = grown(20, 30)
OTHER = grown(20, 30, 40, first=7)
POLICY = policy_text(ONE.genesis, (first_span(ONE.genesis),))
SIZE, LARGER = ONE.chain.log_size, OTHER.chain.log_size


def other_history() -> Fork:
    proof = OTHER.reader.consistency(SIZE, LARGER)
    return make_fork(ONE.checkpoint_at(SIZE), OTHER.checkpoint_at(LARGER), (), proof.old_root, proof.path)


def one_size() -> Fork:
    return make_fork(ONE.checkpoint_at(SIZE), OTHER.checkpoint_at(SIZE), ())


def rollback() -> Fork:
    node = grown(20, 30)
    larger = node.checkpoint()
    node.now += 2_000
    return make_fork(node.checkpoint_at(21), larger, ())


FORKS = {
    Contradiction.ONE_SIZE: one_size,
    Contradiction.OTHER_HISTORY: other_history,
    Contradiction.ROLLBACK: rollback,
}


@pytest.mark.parametrize("contradiction", FORKS)
def test_each_contradiction_convinces_whoever_has_the_policy(contradiction: Contradiction) -> None:
    text = FORKS[contradiction]().text()
    verdict = verify_fork(text, POLICY)
    assert verdict.contradiction is contradiction
    assert verdict.accused == verdict.first.cosigners or len(verdict.accused) == 3
    assert contradiction.value in verdict.sentence
    assert parse_fork(text).text() == text
    assert text.startswith(HEADING)


@pytest.mark.parametrize("contradiction", FORKS)
def test_no_change_of_a_forks_text_is_taken(contradiction: Contradiction) -> None:
    text = FORKS[contradiction]().text()
    draw = random.Random(20260122)
    for _ in range(MUTATIONS):
        place = draw.randrange(len(text))
        changed = chr(ord(text[place]) ^ (1 << draw.randrange(7)))
        forged = draw.choice(
            [
                text[:place] + changed + text[place + 1 :],
                text[:place],
                text[:place] + text[place] + text[place:],
                text[:place] + text[place + 1 :],
                text + text[place:],
            ]
        )
        if forged == text:
            continue
        with pytest.raises(InputError):
            verify_fork(forged, POLICY)


def test_two_checkpoints_of_one_history_contradict_nothing() -> None:
    small, large = ONE.checkpoint_at(21), ONE.checkpoint_at(SIZE)
    proof = ONE.reader.consistency(21, SIZE)
    honest = {
        "the same": make_fork(large, large, ()),
        "an older one": make_fork(small, large, ()),
        "with its own proof": make_fork(small, large, (), proof.old_root, proof.path),
        "a false root": make_fork(small, large, (), bytes(32), proof.path),
        "a false path": make_fork(small, large, (), ONE.reader.log_root(20), proof.path),
        "a short path": make_fork(small, large, (), proof.old_root, proof.path[:-1]),
        "a short root": make_fork(small, large, (), b"\1", proof.path),
    }
    for fork in honest.values():
        with pytest.raises(ProofError):
            verify_fork(fork.text(), POLICY)


def test_a_proof_of_another_history_needs_a_path_that_holds() -> None:
    fork = other_history()
    for extra in (
        ForkExtra(1, fork.extra.prefix_root, fork.extra.path[::-1], ()),
        ForkExtra(1, ONE.reader.log_root(SIZE), fork.extra.path, ()),
        ForkExtra(1, bytes(32), fork.extra.path, ()),
        ForkExtra(2, fork.extra.prefix_root, fork.extra.path, ()),
    ):
        with pytest.raises(ProofError):
            verify_fork(Fork(fork.first, fork.second, extra).text(), POLICY)


def test_the_order_of_the_notes_is_the_logs() -> None:
    fork = other_history()
    with pytest.raises(ProofError, match="wrong order"):
        verify_fork(Fork(fork.second, fork.first, fork.extra).text(), POLICY)


def test_a_note_that_the_policy_does_not_accept_accuses_nobody() -> None:
    fork = one_size()
    lines = fork.second.splitlines(keepends=True)
    unsigned = "".join(lines[:-2])
    with pytest.raises(ProofError, match=r"second note.*too few cosignatures"):
        verify_fork(Fork(fork.first, unsigned, fork.extra).text(), POLICY)
    with pytest.raises(ProofError, match="first note"):
        verify_fork(Fork(unsigned, fork.first, fork.extra).text(), POLICY)


@pytest.mark.parametrize(
    "text",
    [
        "",
        HEADING,
        f"{HEADING}\nextra AAAA\n\na\n\nb\n\nc\n\nd\n",
        f"{HEADING}\nextra ====\n\na\n\nb\n\nc\n\nd\n",
        f"{HEADING}\nmore\n\na\n\nb\n\nc\n\nd\n",
        "x" * (9 << 20),
    ],
)
def test_what_is_no_fork_says_so(text: str) -> None:
    with pytest.raises(ProofError):
        verify_fork(text, POLICY)


def test_the_extra_data_are_the_canonical_record() -> None:
    fork = other_history()
    line = fork.text().splitlines()[1]
    assert base64.b64decode(line.removeprefix("extra ")) == encode(fork.extra)
    assert isinstance(fork.extra.path[0], bytes)
    assert fork.extra.path == tuple(map(Hash, fork.extra.path))
