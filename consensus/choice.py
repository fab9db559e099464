"""Which blocks a new view must propose again: one pure function of the VIEW-CHANGEs in its NEW-VIEW.

The new leader and everybody who checks it call the same function. It keeps every block that was committed anywhere: a
quorum committed it, so one honest validator of any quorum of VIEW-CHANGEs delivered it or claims it, and no claim of a
higher view for another block exists at that height.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from consensus.messages import Claim, ViewChange
from primitives.block import Block
from primitives.ids import ZERO_HASH, Hash, Height
from primitives.votes import QuorumCertificate


@dataclass(frozen=True, slots=True)
class Choice:
    """The base that is delivered somewhere, the certificates that lead to it, and the blocks chosen above it."""

    base_height: Height
    base_hash: Hash
    certificates: tuple[QuorumCertificate, ...]
    blocks: tuple[Block, ...]


def choose(view_changes: Sequence[ViewChange], genesis_hash: Hash) -> Choice:
    """Return the choice of valid VIEW-CHANGEs: from the highest delivered height upward the claim of the highest view.

    Stops at the first height without a claim and at the first block that does not follow the one below it.
    """
    base = max(view_changes, key=lambda change: change.delivered_height)
    height = base.delivered_height
    parent = base.delivered[-1].block_hash if base.delivered else genesis_hash
    assert parent != ZERO_HASH, "the base is a block"
    best = _best_claims(view_changes)
    blocks: list[Block] = []
    tip = parent
    while (claim := best.get(Height(height + len(blocks) + 1))) is not None and claim.block.header.parent == tip:
        blocks.append(claim.block)
        tip = claim.certificate.block_hash
    return Choice(height, parent, base.delivered, tuple(blocks))


def _best_claims(view_changes: Sequence[ViewChange]) -> dict[Height, Claim]:
    """Return per height the claim whose prepare certificate is of the highest view."""
    best: dict[Height, Claim] = {}
    for change in view_changes:
        for claim in change.claims:
            held = best.get(claim.certificate.height)
            if held is None or claim.certificate.view > held.certificate.view:
                best[claim.certificate.height] = claim
    return best
