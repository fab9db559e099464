"""The protocol, abstract: what an honest validator may say next, given what it remembers. Read beside docs/protocol.md.

No time, batches, roots, signatures or windows: blocks are names with a height and a parent, votes and vows are facts
that stay said. A malicious validator needs no state: whatever its key can sign may have been said.

Each rule is one function that returns why an action is not enabled, or None. The checker (`checker`) explores all that
they allow; simulated runs (`conformance`) are held against the same functions. Nothing of `consensus` is used here:
this is a second opinion. `Rules` can switch a rule off, to show that the checker finds the fork which it prevents.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

Block = Any
"""A block's name: a number where the model is explored, a hash where traces are held against it."""

GENESIS_HEIGHT: Final = 0


@dataclass(frozen=True, slots=True)
class Rules:
    """Which rules hold; each switched off is a protocol that somebody once proposed or shipped."""

    commit_rests_in_view: bool = True
    """COMMIT rests on a parent that is delivered or committed in this view, not in just any (scenario 41)."""
    vow_ends_votes: bool = True
    """VIEW-CHANGE(v) ends PREPARE and COMMIT below v (scenario 42)."""
    highest_view_wins: bool = True
    """Of several claims at a height the choice takes that of the highest view, not of the lowest (scenario 7)."""
    full_quorum: bool = True
    """A quorum is 2f+1 of 3f+1, not 2f."""
    voted_afresh: bool = True
    """A chosen block needs a prepare certificate of the new view before it is committed there."""
    gapless_base: bool = True
    """A vow carries the certificates that lead to its base, not one alone (scenario 43, decision record 6)."""
    distinct_vows: bool = True
    """The vows of a NEW-VIEW are of different validators (scenario 3)."""
    claims_kept: bool = True
    """What a validator committed to survives its restart (scenario 22)."""
    choice_binds: bool = True
    """The leader of a view proposes the chosen block at a chosen height, not a fresh one (scenarios 1, 2)."""


class Claim(NamedTuple):
    """A prepare certificate on which somebody committed."""

    height: int
    view: int
    block: Block


class Vow(NamedTuple):
    """What VIEW-CHANGE says: the newest delivered block, and claims above it in ascending order of height."""

    base: int
    base_block: Block
    claims: tuple[Claim, ...]


class Choice(NamedTuple):
    """What NEW-VIEW binds: nothing at or below the base but what is certified there, then the chosen chain."""

    base: int
    base_block: Block
    blocks: tuple[Block, ...]

    def at(self, height: int) -> Block | None:
        """Return the block chosen at a height."""
        place = height - self.base - 1
        return self.blocks[place] if 0 <= place < len(self.blocks) else None


class Memory(Protocol):
    """What an honest validator remembers, across restarts; `known` is a certified height that a NEW-VIEW showed it."""

    @property
    def view(self) -> int: ...
    @property
    def active(self) -> bool: ...
    @property
    def height(self) -> int: ...
    @property
    def known(self) -> int: ...
    def delivered(self, height: int) -> Block | None: ...
    def prepared(self, view: int, height: int) -> Block | None: ...
    def committed(self, view: int, height: int) -> Block | None: ...
    def committed_before(self, view: int, height: int) -> Sequence[Block]: ...
    def chosen(self, view: int, height: int) -> Block | None: ...
    def entered(self, view: int) -> bool: ...
    def claims(self) -> tuple[Claim, ...]: ...


def faulty_of(n: int) -> int:
    """Return f, the malicious or missing validators that n tolerate."""
    return (n - 1) // 3


def quorum_of(n: int, rules: Rules) -> int:
    """Return q: any two quorums share an honest validator."""
    f = faulty_of(n)
    return (n + f) // 2 + 1 if rules.full_quorum else 2 * f


# --- votes ------------------------------------------------------------------------------------------------------------


def _vote_refused(rules: Rules, me: Memory, view: int, height: int) -> str | None:
    """Return what forbids any vote of this view and height."""
    if not (view == me.view and me.active):
        left = view < me.view or not me.active
        if rules.vow_ends_votes or not (left and me.entered(view)):
            return "a vote is cast in the view that the validator is in, entered by its NEW-VIEW and not vowed to leave"
    if height <= me.height:
        return "nothing is voted on at a delivered height"
    if me.known > me.height:
        return "nobody votes who knows of a certified height above the delivered one"
    return None


def prepare_refused(rules: Rules, me: Memory, view: int, height: int, block: Block, parent: Block) -> str | None:
    """PREPARE, or a leader's proposal: once per view and height, in order, and the chosen block where there is one."""
    refused = _vote_refused(rules, me, view, height)
    if refused is not None:
        return refused
    if me.prepared(view, height) is not None:
        return "one PREPARE for each view and height"
    if parent not in (me.delivered(height - 1), me.prepared(view, height - 1)):
        return "PREPARE rests on a parent that is delivered, or prepared by the same validator in this view"
    chosen = me.chosen(view, height)
    if rules.choice_binds and chosen is not None and chosen != block:
        return "only the chosen block is prepared at a chosen height"
    return None


def commit_refused(
    rules: Rules, me: Memory, view: int, height: int, block: Block, parent: Block, certificate: int | None
) -> str | None:
    """COMMIT: on my PREPARE and a prepare certificate (of view `certificate`), both of this view, and in order."""
    refused = _vote_refused(rules, me, view, height)
    if refused is not None:
        return refused
    if me.committed(view, height) is not None:
        return "one COMMIT for each view and height"
    afresh = rules.voted_afresh or me.chosen(view, height) != block
    if afresh and (certificate != view or me.prepared(view, height) != block):
        return "COMMIT rests on the validator's PREPARE and a prepare certificate, both of this view"
    if certificate is None or certificate > view:
        return "COMMIT rests on a prepare certificate"
    rests = [me.delivered(height - 1), me.committed(view, height - 1)]
    if not rules.commit_rests_in_view:
        rests.extend(me.committed_before(view, height - 1))
    if parent not in rests:
        return "COMMIT rests on a parent that is delivered, or committed by the same validator in this view"
    return None


def deliver_refused(me: Memory, height: int, parent: Block, certified: bool) -> str | None:
    """Deliver: in order, what a quorum of COMMITs of one view certifies."""
    if height != me.height + 1:
        return "heights are delivered one after the other, each once"
    if not certified:
        return "a delivered block has a commit certificate of votes that were cast"
    if parent != me.delivered(height - 1):
        return "a delivered block follows the delivered one"
    return None


# --- view changes -----------------------------------------------------------------------------------------------------


def vow_of(me: Memory) -> Vow:
    """Return what an honest VIEW-CHANGE says: what I delivered, and all that I committed to above."""
    top = me.delivered(me.height)
    assert top is not None, "the newest delivered block is remembered"
    return Vow(me.height, top, me.claims())


def vow_refused(me: Memory, view: int) -> str | None:
    """VIEW-CHANGE: upward only."""
    if view <= me.view:
        return "VIEW-CHANGE leads to a higher view"
    return None


def enter_refused(rules: Rules, me: Memory, view: int, signers: Sequence[int], quorum: int) -> str | None:
    """NEW-VIEW: the vows of a quorum of different validators, for a view not below mine."""
    if view < me.view or (view == me.view and me.active):
        return "a NEW-VIEW leads to a view that the validator has not entered or left"
    counted = len(set(signers)) if rules.distinct_vows else len(signers)
    if counted < quorum:
        return "a NEW-VIEW holds the vows of a quorum of different validators"
    return None


def choose(rules: Rules, vows: Sequence[Vow], parent_of: Callable[[Block], Block]) -> Choice:
    """Return what vows bind: from the highest base upward the claims of the highest view, to the first gap."""
    base = max(vows, key=lambda vow: vow.base)
    best: dict[int, Claim] = {}
    for vow in vows:
        for claim in vow.claims:
            held = best.get(claim.height)
            better = held is None or (claim.view > held.view if rules.highest_view_wins else claim.view < held.view)
            if better:
                best[claim.height] = claim
    blocks: list[Block] = []
    tip = base.base_block
    while (claim_here := best.get(base.base + len(blocks) + 1)) is not None and parent_of(claim_here.block) == tip:
        blocks.append(claim_here.block)
        tip = claim_here.block
    return Choice(base.base, base.base_block, tuple(blocks))


def choice_keeps(choice: Choice, height: int, block: Block) -> bool:
    """Say whether a choice keeps a block that was committed in an earlier view."""
    return height < choice.base or (choice.base_block if height == choice.base else choice.at(height)) == block
