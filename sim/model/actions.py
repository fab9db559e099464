"""What may happen next in the model: every action of every honest validator that the rules of `protocol` allow.

Messages are not in the state: what was said stays said, so a vote, a vow and a certificate once possible can be
received at any time, or never. A malicious validator's vote counts wherever it is needed, its vows claim any
certificates that exist or leave them out, and every leader may be malicious: it proposes what it likes, and shows
different validators different NEW-VIEWs, as far as honest validators accept them. A crash changes nothing, since what
binds is written first; only with `claims_kept` off does a restart forget.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, product
from typing import NamedTuple

from sim.model.protocol import (
    Block,
    Choice,
    Claim,
    Rules,
    Vow,
    choice_keeps,
    choose,
    commit_refused,
    deliver_refused,
    enter_refused,
    faulty_of,
    prepare_refused,
    quorum_of,
    vow_of,
    vow_refused,
)
from sim.model.states import (
    ABSENT,
    GENESIS,
    NO_CLAIM,
    NO_VOW,
    NOT_CERTIFIED,
    Bounds,
    Certified,
    Local,
    Round,
    State,
    initial,
)

NAMES = "ABCDEFGHIJKL"


class Step(NamedTuple):
    """What happened, in words, and where it leads."""

    label: str
    state: State


class Fork(AssertionError):
    """Two blocks of one height are certified, a NEW-VIEW drops what was committed, or whatever a look found wrong.

    `last` is the state that is wrong by itself, where it is not the step that leads on from it.
    """

    last: int | None = None


class Model:
    """The transition system for some bounds and rules; states are values, nothing is kept but tables and a cache."""

    def __init__(self, bounds: Bounds, rules: Rules | None = None, *, watch_choices: bool = True) -> None:
        self.bounds = bounds
        self.rules = rules or Rules()
        self.watch_choices = watch_choices
        self.blocks = bounds.blocks()
        self.initial = initial(bounds)
        self.quorum = quorum_of(bounds.n, self.rules)
        self.malicious = faulty_of(bounds.n)
        self.needed = self.quorum - self.malicious
        """Honest votes that a certificate needs besides those of the malicious."""
        self._children: dict[int, list[int]] = {}
        for block, (height, parent) in enumerate(self.blocks):
            if height:
                self._children.setdefault(parent, []).append(block)
        self._choices: dict[object, tuple[Choice, ...]] = {}

    def parent_of(self, block: Block) -> Block:
        """Return a block's parent."""
        parent: int = self.blocks[block][1]
        return parent

    # --- all actions, one by one

    def steps(self, state: State) -> Iterator[Step]:
        """Yield every action that is enabled and what it leads to; raises `Fork` where it breaks agreement."""
        for index in range(len(state.locals)):
            yield from self.prepares(state, index)
            yield from self.commits(state, index)
            yield from self.deliveries(state, index)
            yield from self.vows(state, index)
            yield from self.entries(state, index)
            if not self.rules.claims_kept and any(claim is not NO_CLAIM for claim in state.locals[index].claimed):
                yield Step(f"{NAMES[index]} restarts and has forgotten its claims", self.forgets(state, index))

    def prepares(self, state: State, index: int) -> Iterator[Step]:
        """PREPARE of what any leader may propose."""
        for view in self._voting_views(state.locals[index]):
            for block in (item for parent in range(len(self.blocks)) for item in self.proposable(state, parent)):
                if self.may_prepare(state, index, view, block):
                    label = f"{NAMES[index]} prepares {self.name(block)} in view {view}"
                    yield Step(label, self.prepare(state, index, view, block))

    def commits(self, state: State, index: int) -> Iterator[Step]:
        """COMMIT of what has its prepare certificate."""
        for view in self._voting_views(state.locals[index]):
            for block in range(1, len(self.blocks)):
                certificate = self.may_commit(state, index, view, block)
                if certificate is not None:
                    label = f"{NAMES[index]} commits {self.name(block)} in view {view}"
                    yield Step(label, self.commit(state, index, view, block, certificate))

    def deliveries(self, state: State, index: int) -> Iterator[Step]:
        """Deliver the next block that is certified."""
        delivered = self.deliver(state, index)
        if delivered is not None:
            block = delivered.locals[index].chain[-1]
            yield Step(f"{NAMES[index]} delivers {self.name(block)}", delivered)

    def vows(self, state: State, index: int) -> Iterator[Step]:
        """VIEW-CHANGE to any higher view."""
        for view in range(state.locals[index].view + 1, self.next_view(state)):
            if vow_refused(state.locals[index], view) is None:
                yield Step(f"{NAMES[index]} vows for view {view}", self.vow(state, index, view))

    def entries(self, state: State, index: int) -> Iterator[Step]:
        """NEW-VIEW of any vows that were, or could have been, signed."""
        me = state.locals[index]
        for view in range(max(1, me.view), self.next_view(state)):
            for group in self.groups(state, view):
                if not self.may_enter(me, view, group):
                    continue
                vows = [state.locals[member].vows[view] for member in group]
                for choice in self.choices(state, view, tuple(vows)):
                    self.check_choice(state, view, choice)
                    label = f"{NAMES[index]} enters view {view}, which {self.in_words(choice)}"
                    yield Step(label, self.enter(state, index, view, choice))

    def next_view(self, state: State) -> int:
        """Return a view above those that may come next: an unused view between two others would only rename them."""
        return min(state.front // 2 + 2, self.bounds.views)

    # --- enabling conditions

    def may_prepare(self, state: State, index: int, view: int, block: int) -> bool:
        """Say whether a PREPARE is enabled."""
        height, parent = self.blocks[block]
        return prepare_refused(self.rules, state.locals[index], view, height, block, parent) is None

    def may_commit(self, state: State, index: int, view: int, block: int) -> int | None:
        """Return the view of the prepare certificate that a COMMIT may rest on, or None where it is not enabled."""
        height, parent = self.blocks[block]
        certificates = [view] if self.rules.voted_afresh else range(view, -1, -1)
        for certificate in certificates:
            if state.prepares & self.bit(certificate, block):
                refused = commit_refused(self.rules, state.locals[index], view, height, block, parent, certificate)
                if refused is None:
                    return certificate
        return None

    def may_enter(self, me: Local, view: int, group: tuple[int, ...]) -> bool:
        """Say whether the vows of these honest validators, filled up with malicious ones, may start a view for me."""
        missing = self.quorum - len(group)
        malicious = [-1 - (number if self.rules.distinct_vows else 0) for number in range(missing)]
        return enter_refused(self.rules, me, view, [*group, *malicious], self.quorum) is None

    def groups(self, state: State, view: int) -> Iterator[tuple[int, ...]]:
        """Yield the groups of honest validators whose vows suffice beside malicious ones: no more than are needed.

        A further honest vow holds only certificates that a malicious one can show as well.
        """
        vowed = [index for index, local in enumerate(state.locals) if local.vows[view] is not NO_VOW]
        needed = self.needed if self.rules.distinct_vows else 0
        yield from combinations(vowed, needed)

    def choices(self, state: State, view: int, vows: tuple[Vow, ...]) -> tuple[Choice, ...]:
        """Return the different choices that honest vows allow, with whatever a malicious validator vows beside them."""
        below = state.prepares & (self.bit(view, 0) - 1)
        key = (frozenset(vows), below, state.certified, view)
        found = self._choices.get(key)
        if found is None:
            lies = self._malicious_vows(below, state.certified)
            chosen = dict.fromkeys(choose(self.rules, [*vows, lie], self.parent_of) for lie in lies)
            found = self._choices[key] = tuple(chosen)
        return found

    def chosen_of(self, vows: Sequence[Vow]) -> Choice:
        """Return the choice of these vows."""
        return choose(self.rules, vows, self.parent_of)

    def _malicious_vows(self, prepares: int, certified: tuple[Certified, ...]) -> Iterator[Vow]:
        """Yield what a malicious validator may vow: any base that it can prove, any claims that exist, or none."""
        claims: dict[int, list[Claim | None]] = {height: [None] for height in range(1, self.bounds.heights + 1)}
        for place in range(prepares.bit_length()):
            if prepares >> place & 1:
                view, block = divmod(place, len(self.blocks))
                height = self.blocks[block][0]
                claims[height].append(Claim(height, view, block))
        yield from self._vows_on(0, GENESIS, claims)
        for height, top in enumerate(certified, start=1):
            if top is not NOT_CERTIFIED:
                yield from self._vows_on(height, top.block, claims)
            elif self.rules.gapless_base:
                return

    def _vows_on(self, base: int, block: int, claims: dict[int, list[Claim | None]]) -> Iterator[Vow]:
        above = [claims[height] for height in range(base + 1, self.bounds.heights + 1)]
        for picked in product(*above):
            yield Vow(base, block, tuple(claim for claim in picked if claim is not None))

    # --- effects

    def prepare(self, state: State, index: int, view: int, block: int) -> State:
        """Return the state after a PREPARE."""
        height = self.blocks[block][0]
        me = state.locals[index]
        held = me.rounds[view]
        prepared = _with(held.prepared, height - 1, block)
        me = me._replace(rounds=_with(me.rounds, view, held._replace(prepared=prepared)))
        locals_ = _with(state.locals, index, me)
        votes = sum(1 for local in locals_ if local.rounds[view].prepared[height - 1] == block)
        prepares = state.prepares | (self.bit(view, block) if votes >= self.needed else 0)
        return State(locals_, prepares, state.certified, max(state.front, 2 * view))

    def commit(self, state: State, index: int, view: int, block: int, certificate: int) -> State:
        """Return the state after a COMMIT that rests on a prepare certificate of view `certificate`."""
        height = self.blocks[block][0]
        me = state.locals[index]
        held = me.rounds[view]
        committed = _with(held.committed, height - 1, block)
        me = me._replace(
            rounds=_with(me.rounds, view, held._replace(committed=committed)),
            claimed=_with(me.claimed, height - 1, Claim(height, certificate, block)),
        )
        locals_ = _with(state.locals, index, me)
        votes = sum(1 for local in locals_ if local.rounds[view].committed[height - 1] == block)
        certified = state.certified if votes < self.needed else self._certify(state, view, height, block)
        return State(locals_, state.prepares, certified, max(state.front, 2 * view + 1))

    def _certify(self, state: State, view: int, height: int, block: int) -> tuple[Certified, ...]:
        """Note a commit certificate; raises `Fork` where there is one of another block."""
        held = state.certified[height - 1]
        if held is not NOT_CERTIFIED and held.block != block:
            raise Fork(f"{self.name(held.block)} and {self.name(block)} are both committed at height {height}")
        below = state.certified[height - 2].block if height > 1 else GENESIS
        above = state.certified[height].block if height < self.bounds.heights else ABSENT
        if (height > 1 and below not in (ABSENT, self.parent_of(block))) or (above and self.parent_of(above) != block):
            raise Fork(f"{self.name(block)} is committed at height {height}, and what is committed beside it is no kin")
        lowest = view if held is NOT_CERTIFIED else min(view, held.view)
        return _with(state.certified, height - 1, Certified(block, lowest))

    def deliver(self, state: State, index: int) -> State | None:
        """Return the state after the next delivery; None where nothing can be delivered."""
        me = state.locals[index]
        height = len(me.chain) + 1
        top = state.certified[height - 1] if height <= self.bounds.heights else NOT_CERTIFIED
        if top is NOT_CERTIFIED or deliver_refused(me, height, self.parent_of(top.block), True) is not None:
            return None
        me = me._replace(chain=(*me.chain, top.block), claimed=_with(me.claimed, height - 1, NO_CLAIM))
        return state._replace(locals=_with(state.locals, index, me))

    def vow(self, state: State, index: int, view: int) -> State:
        """Return the state after a VIEW-CHANGE."""
        me = state.locals[index]
        me = me._replace(view=view, active=False, vows=_with(me.vows, view, vow_of(me)))
        return state._replace(locals=_with(state.locals, index, me))

    def check_choice(self, state: State, view: int, choice: Choice) -> None:
        """Raise `Fork` where a choice drops a block that is certified in an earlier view."""
        if self.watch_choices:
            for height, top in enumerate(state.certified, start=1):
                if top is not NOT_CERTIFIED and top.view < view and not choice_keeps(choice, height, top.block):
                    raise Fork(f"the choice of view {view} drops {self.name(top.block)}, committed in view {top.view}")

    def enter(self, state: State, index: int, view: int, choice: Choice) -> State:
        """Return the state after a validator accepted a NEW-VIEW."""
        me = state.locals[index]
        nothing = (ABSENT,) * self.bounds.heights
        bound = tuple(choice.at(height) or ABSENT for height in range(1, self.bounds.heights + 1))
        rounds = _with(me.rounds, view, Round(True, bound, nothing, nothing))
        me = me._replace(view=view, active=True, known=max(me.known, choice.base), rounds=rounds)
        return state._replace(locals=_with(state.locals, index, me), front=max(state.front, 2 * view))

    def forgets(self, state: State, index: int) -> State:
        """Return the state after a restart that lost what the validator had committed to."""
        me = state.locals[index]._replace(claimed=(NO_CLAIM,) * self.bounds.heights)
        return state._replace(locals=_with(state.locals, index, me))

    # --- names and tables

    def bit(self, view: int, block: int) -> int:
        """Return the bit of a prepare certificate."""
        return 1 << (view * len(self.blocks) + block)

    def name(self, block: int) -> str:
        """Return a block's name: a, b at height 1; ax, ay, bx, by at height 2."""
        height, parent = self.blocks[block]
        if height == 0:
            return "genesis"
        letter = ("abcd", "xyzw", "klmn")[height - 1][self._children[parent].index(block)]
        return letter if height == 1 else self.name(parent) + letter

    def children(self, parent: int) -> list[int]:
        """Return the blocks that follow a parent."""
        return self._children.get(parent, [])

    def _voting_views(self, me: Local) -> Iterator[int]:
        """Yield the views that a vote may be of."""
        if self.rules.vow_ends_votes:
            if me.active:
                yield me.view
        else:
            yield from (view for view in range(self.bounds.views) if me.entered(view))

    def proposable(self, state: State, parent: int) -> Iterator[int]:
        """Yield the blocks that a leader may propose on a parent; of those that nobody ever voted on, the first."""
        used = used_blocks(state, len(self.blocks))
        for block in self.children(parent):
            yield block
            if not used >> block & 1:
                return

    def in_words(self, choice: Choice) -> str:
        names = [self.name(block) for block in choice.blocks]
        above = f"on {self.name(choice.base_block)} " if choice.base else ""
        return f"chooses {above}{' and '.join(names) or 'nothing'}"


def used_blocks(state: State, blocks: int) -> int:
    """Return which of so many blocks a state refers to, as the lowest bits: all others are interchangeable."""
    used = 0
    prepares = state.prepares
    while prepares:
        used |= prepares
        prepares >>= blocks
    for top in state.certified:
        used |= 1 << top.block
    for local in state.locals:
        for part in local.rounds:
            for block in part.prepared:
                used |= 1 << block
        for block in local.chain:
            used |= 1 << block
        for vow in local.vows:
            for claim in vow.claims:
                used |= 1 << claim.block
        for held in local.claimed:
            used |= 1 << held.block
    return used


def _with(items: tuple, place: int, item: object) -> tuple:  # type: ignore[type-arg]  # of whatever the items are
    """Return a tuple with one item replaced."""
    return (*items[:place], item, *items[place + 1 :])
