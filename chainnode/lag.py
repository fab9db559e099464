"""How far a node is behind the chain, by what its peers say and by what it can prove; pure.

What peers say may be false or held back. A checkpoint's cosignatures bear times, and an idle chain renews them each
minute: so whoever has a new one knows how the chain stood then, whatever its peers keep from it. Not here: fetching
(`consensus.catch_up`), proofs for a time (`ledger.status_proofs`). Source: architecture §5 (Checkpoints).
"""

from __future__ import annotations

from consensus.messages import WINDOW
from consensus.state import ReplicaState
from ledger.views import CheckpointView
from primitives.block import BlockHeader
from primitives.notes import cosignature_times, parse_note


def behind_blocks(state: ReplicaState) -> int:
    """Return how many blocks a node lacks of what is certified, or of what more validators claim than may lie.

    Where it hears of fewer validators, of what each of these claims: one that lies cannot say that much is missing.
    """
    tip, known = state.tip.height, state.validators.indexes
    claims = sorted((status.delivered for name, status in state.statuses.items() if name in known), reverse=True)
    claimed = claims[min(state.validators.f, len(claims) - 1)] if claims else tip
    return max(0, state.certified_height - tip, claimed - tip)


def is_catching_up(state: ReplicaState, *, is_stuck: bool) -> bool:
    """Say whether a node has to fetch blocks that others have; `is_stuck` where nobody linked holds the next one.

    Who has no vote hears of each block a little later than the validators decide it, and is there within a window.
    """
    if state.me is None:
        return behind_blocks(state) > WINDOW
    if state.certified_height > state.tip.height:
        return True
    return (state.fetch_peer is not None or is_stuck) and _is_claimed(state)


def _is_claimed(state: ReplicaState) -> bool:
    heard = sum(name in state.validators.indexes for name in state.statuses)
    return heard > state.validators.f and behind_blocks(state) > 0


def proved_ms(header: BlockHeader, checkpoint: CheckpointView | None, quorum: int) -> int:
    """Return the last time, in milliseconds, at which a node can prove how the chain stood.

    That of its newest block, or later where a quorum cosigned a checkpoint of just that block later. Outside witnesses'
    lines stand among the cosignatures and are not renewed, so the latest of a quorum's number count.
    """
    if checkpoint is None or checkpoint.size != header.first_index + header.event_count + 1:
        return int(header.time_ms)
    times = sorted(cosignature_times(parse_note(checkpoint.note)), reverse=True)[:quorum]
    return max(int(header.time_ms), min(times, default=0) * 1_000)
