"""A joiner says that it has caught up when that is so and the chain waits for it, and a validator passes it on once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from chainnode.core import READY, NodeCore
from chainnode.readiness import LOOK_INTERVAL_MS, RETRY_INTERVAL_MS, Readiness, has_caught_up, submission_of
from consensus.effects import Refused
from consensus.messages import WINDOW, Status
from consensus.state import Parameters
from ledger.chain import Chain
from ledger.governance_bodies import Ready
from ledger.kinds import RuleBroken
from ledger.pool import Pool
from ledger.reader import LedgerReader
from primitives.encoding import decode, encode
from primitives.errors import InputError
from primitives.ids import Epoch, Height, TimeMs, View
from primitives.keys import SigningKey
from tests.ledger.governance_fixtures import Council, key_of

JOINER = key_of("node-4", "vote1")


class Signer:
    """A validator's keys, as a node has them."""

    def __init__(self, vote: SigningKey) -> None:
        self._vote = vote
        self.vote_key = vote.public

    def sign_vote(self, statement: bytes) -> bytes:
        return self._vote.sign(statement)

    def cosign(self, statement: bytes) -> bytes:
        return self._vote.sign(statement)


def core_of(council: Council, name: str, key: SigningKey, *, learner: bool = False) -> NodeCore:
    """Return a node's core on the council's chain, held as if it had fetched it."""
    chain = Chain(council.store, council.genesis)
    core = NodeCore(
        name=name,
        chain=chain,
        pool=Pool(),
        reader=LedgerReader(council.store, council.genesis),
        signer=Signer(key),
        parameters=Parameters(),
        learner=learner,
        readiness=Readiness(key.public, key.sign),
    )
    core.restore([], TimeMs(council.now_ms))
    core.take_turn()
    return core


def hear(core: NodeCore, heights: dict[str, int]) -> None:
    """Let the core have heard where its peers stand."""
    core.replica.state.statuses.update(
        {
            name: Status(Epoch(0), View(0), True, Height(height), Height(height), Height(0), True)
            for name, height in heights.items()
        }
    )


def approved() -> tuple[Council, bytes]:
    council = Council(4)
    proposal = council.propose(council.addition())
    council.vote(proposal, 0, 1, 2)
    return council, proposal


def said(core: NodeCore, now_ms: int) -> list[tuple[str | None, Ready]]:
    """Return what the core says at a time about being ready, and to whom."""
    core.on_tick(TimeMs(now_ms))
    turn = core.take_turn()
    return [(item.peer, decode(Ready, item.payload, size_max=512)) for item in turn.outgoing if item.kind == READY]


def test_a_joiner_tells_one_validator_after_the_other_until_the_chain_knows() -> None:
    council, proposal = approved()
    core = core_of(council, "node-4", JOINER)
    hear(core, dict.fromkeys(("node-0", "node-2", "stranger"), council.chain.height))
    now_ms = council.now_ms + 10
    told = []
    for step in range(4):
        words = said(core, now_ms + step * RETRY_INTERVAL_MS)
        assert len(words) == 1
        told.append(words[0][0])
        assert said(core, now_ms + step * RETRY_INTERVAL_MS + RETRY_INTERVAL_MS - 1) == []
    assert told == ["node-0", "node-2", "node-0", "node-2"]
    word = words[0][1]
    assert (word.proposal, word.height) == (proposal, council.chain.height)
    assert council.say("bank-2", word).applied
    assert said(core_of(council, "node-4", JOINER), now_ms) == []


@pytest.mark.parametrize("case", ["not approved", "another key", "learner", "validator", "unheard", "behind", "gap"])
def test_whoever_the_chain_does_not_wait_for_or_is_not_there_says_nothing(case: str) -> None:
    council = Council(4)
    proposal = council.propose(council.addition())
    if case != "not approved":
        council.vote(proposal, 0, 1, 2)
    key = {"another key": key_of("node-4", "vote2"), "validator": key_of("node-0", "vote")}.get(case, JOINER)
    core = core_of(council, "node-0" if case == "validator" else "node-4", key, learner=case == "learner")
    height = council.chain.height + (WINDOW + 1 if case == "behind" else 0)
    hear(core, {} if case == "unheard" else dict.fromkeys(("node-0", "node-1"), height))
    if case == "gap":
        core.replica.state.certified_height = Height(height + 1)
    assert said(core, council.now_ms + 10) == []


def test_one_liar_neither_holds_a_joiner_back_nor_calls_it_forward() -> None:
    def caught_up(tip: int, *heights: int) -> bool:
        state: Any = SimpleNamespace(
            validators=SimpleNamespace(f=1, indexes={f"node-{i}": i for i in range(4)}),
            statuses={f"node-{i}": SimpleNamespace(delivered=height) for i, height in enumerate(heights)},
            tip=SimpleNamespace(height=tip),
            certified_height=0,
        )
        return has_caught_up(state)

    assert caught_up(100, 10_000, 100, 100, 100)
    assert not caught_up(0, 0, 100, 100, 100)
    assert not caught_up(0, 0)
    assert caught_up(92, 100, 100, 100)
    assert not caught_up(91, 100, 100, 100)


def test_a_clock_that_is_set_back_does_not_silence_a_joiner() -> None:
    council, _ = approved()
    core = core_of(council, "node-4", JOINER)
    hear(core, {"node-0": council.chain.height, "node-1": council.chain.height})
    assert said(core, council.now_ms + 3_600_000)
    assert said(core, council.now_ms + 10)


def test_a_validator_passes_a_word_on_that_the_chain_would_take_and_no_other() -> None:
    council, proposal = approved()
    core = core_of(council, "node-0", key_of("node-0", "vote"))
    word = council.ready(proposal, "node-4")
    now_ms = council.now_ms
    for number, (bad, rule) in enumerate(
        [
            (replace(word, signature=bytes(64)), "bad_signature"),
            (replace(word, block_hash=bytes(32)), "wrong_block"),
            (replace(word, proposal=bytes(32)), "not_approved"),
            (replace(word, height=word.height + 1), "stale_block"),
        ]
    ):
        core.on_message(f"peer-{number}", READY, encode(bad), TimeMs(now_ms))
        turn = core.take_turn()
        assert turn.submissions == []
        assert [notice.reason for notice in turn.notices if isinstance(notice, Refused)] == [rule]
    core.on_message("peer", READY, encode(word), TimeMs(now_ms))
    core.on_message("peer", READY, encode(word), TimeMs(now_ms))
    (submission,) = core.take_turn().submissions
    assert submission == submission_of(council.state, council.chain_id, word, core.replica.state.tip)
    core.on_message("peer", READY, encode(word), TimeMs(now_ms + 1))
    assert core.take_turn().submissions == [], "one word of a peer in half a status interval"
    with pytest.raises(InputError):
        core.on_message("peer", READY, b"\x90", TimeMs(now_ms))


def test_a_word_for_an_expired_proposal_goes_no_further() -> None:
    council = Council(4)
    proposal = council.propose(council.addition(), term_ms=1_000)
    council.vote(proposal, 0, 1, 2)
    word = council.ready(proposal, "node-4")
    council.now_ms += 5_000
    council.block()
    core = core_of(council, "node-0", key_of("node-0", "vote"))
    with pytest.raises(RuleBroken, match="not_approved"):
        submission_of(council.state, council.chain_id, word, core.replica.state.tip)
    joiner = core_of(council, "node-4", JOINER)
    hear(joiner, {"node-0": council.chain.height, "node-1": council.chain.height})
    assert said(joiner, council.now_ms + LOOK_INTERVAL_MS) == []
