"""When a node that is to become a validator says that it has caught up, and to whom; pure.

A new voting key counts once the chain holds a ready event under it (`ledger.governance`). The node that holds the key
may have no source of its own: a second node of a bank, or one whose disk was lost with its outbox. So it tells a
validator, another each time, and that one's gateway submits the event in its own member's name; who submits it means
nothing.
Not here: what the event must hold, sending it. Source: architecture §5 (Epochs, Lost disks).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from consensus.messages import WINDOW
from consensus.state import ReplicaState, Tip
from ledger.governance import READY, SCHEMA, check_ready
from ledger.governance_bodies import AddValidator, Ready, RekeyValidator, ready_statement
from ledger.governance_records import Stage, read_proposal, under_way
from ledger.kinds import RuleBroken
from ledger.recent_blocks import recent_hash
from ledger.state import StateReader
from primitives.encoding import encode
from primitives.hashing import domain_hash
from primitives.ids import Hash, TimeMs

LOOK_INTERVAL_MS: Final = 500
RETRY_INTERVAL_MS: Final = 3_000
REFERENCE_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Submission:
    """An event that a node wants its own gateway to sign and submit; the reference makes repeating it harmless."""

    kind: int
    schema: int
    body: bytes
    reference: bytes


class Readiness:
    """Remembers when a node last spoke, and to whom; `vote_key` is its own, which `sign` signs with."""

    def __init__(self, vote_key: bytes, sign: Callable[[bytes], bytes]) -> None:
        self._vote_key = vote_key
        self._sign = sign
        self._due_ms = TimeMs(0)
        self._told = ""

    def word(self, state: ReplicaState, ledger: StateReader, now_ms: TimeMs) -> tuple[str, Ready] | None:
        """Return what to say now and to which validator; None while there is nothing to say, or nobody to hear it.

        `ledger` is the state after the delivered block. A learner says nothing: its key may have signed what it lost.
        """
        if self._due_ms - now_ms > RETRY_INTERVAL_MS:
            self._due_ms = now_ms  # the clock was set back
        if now_ms < self._due_ms or state.learner or state.me is not None or not self._vote_key:
            return None
        self._due_ms = TimeMs(now_ms + LOOK_INTERVAL_MS)
        proposal = waiting_for(ledger, self._vote_key, state.tip.time_ms)
        peer = self._next_peer(state)
        if proposal is None or peer is None or not has_caught_up(state):
            return None
        self._due_ms = TimeMs(now_ms + RETRY_INTERVAL_MS)
        self._told = peer
        height, block_hash = state.tip.height, bytes(state.tip.hash)
        signature = self._sign(ready_statement(state.chain_id, proposal, height, block_hash))
        return peer, Ready(bytes(proposal), height, block_hash, signature)

    def _next_peer(self, state: ReplicaState) -> str | None:
        """Return the validator after the one told last, in a fixed cycle, so that a silent one is left."""
        linked = sorted(name for name in state.statuses if name in state.validators.indexes)
        return next((name for name in linked if name > self._told), linked[0] if linked else None)


def waiting_for(ledger: StateReader, vote_key: bytes, time_ms: int) -> Hash | None:
    """Return the approved proposal that waits for the node with this voting key, None where there is none."""
    for proposal_id, proposal in under_way(ledger, time_ms):
        action = proposal.action
        if not isinstance(action, AddValidator | RekeyValidator) or action.keys.vote_key != vote_key:
            continue
        if proposal.stage is Stage.APPROVED:
            return proposal_id
    return None


def has_caught_up(state: ReplicaState) -> bool:
    """Say whether a node is where the validators are: within a window of what f+1 of them say, and holds no gap.

    One of any f+1 is honest; what fewer say could hold a node back for ever, or call it forward too early.
    """
    heights = sorted(
        (status.delivered for name, status in state.statuses.items() if name in state.validators.indexes), reverse=True
    )
    f = state.validators.f
    return len(heights) > f and state.tip.height + WINDOW >= heights[f] and state.certified_height <= state.tip.height


def submission_of(ledger: StateReader, chain_id: Hash, word: Ready, tip: Tip) -> Submission:
    """Return the event by which a peer's word gets on the chain; RuleBroken where the chain would not take it now.

    `ledger` is the state after the delivered block `tip`.
    """
    proposal = read_proposal(ledger, word.proposal)
    if proposal is None or proposal.stage_at(tip.time_ms) is not Stage.APPROVED:
        raise RuleBroken("not_approved", f"proposal {word.proposal.hex()[:16]}")
    # The hash of a block gets into the state with the next one, so the newest one's is passed beside it.
    held = tip.hash if word.height == tip.height else recent_hash(ledger, word.height)
    check_ready(chain_id, proposal, word, tip.height + 1, held)
    body = encode(word)
    return Submission(READY, SCHEMA, body, domain_hash("ready-reference", body)[:REFERENCE_BYTES])
