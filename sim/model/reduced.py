"""Fewer states for the same certificates: canonical states, and actions joined where their order can't matter.

Canonical: validators are sorted, and what nothing can read again is dropped. Joined: a delivery happens just before the
vote that makes use of it (a vow never does: a lower base leaves a malicious validator more to choose from); a vow just
before the NEW-VIEW that holds it; a PREPARE at once, when the view is entered or when the parent that it rests on is
delivered, with all PREPAREs of the same validator that rest on it. Ordered: views come one after the other, PREPAREs
before COMMITs in each, unless a certificate of a later place was delivered. Each of these reads only what its own
validator holds, and doing it earlier (a vote) or later (a vow, a delivery) only leaves more to the others.
`tests/sim/model` hold the reduced system against the whole one: both reach the same certificates.
"""

from __future__ import annotations

from collections.abc import Iterator

from sim.model.actions import NAMES, Model, Step
from sim.model.protocol import vow_refused
from sim.model.states import ABSENT, GENESIS, NO_CLAIM, NO_VOW, Local, Round, State


def canonical(model: Model, state: State) -> State:
    """Return the state that stands for all that differ from it in nothing that any action can read."""
    pruned = [_pruned(model, state, index) for index in range(len(state.locals))]
    return State(tuple(sorted(pruned)), _useful(model, state), state.certified, state.front)


def _useful(model: Model, state: State) -> int:
    """Return the prepare certificates that matter: the newest of each block, and those that may still be committed on.

    An older one is never worth a claim: it wins where the newer would, or not at all.
    """
    count = len(model.blocks)
    if not model.rules.highest_view_wins or not model.rules.voted_afresh:
        return state.prepares
    lowest = min(len(local.chain) for local in state.locals)
    above = sum(1 << block for block, (height, _) in enumerate(model.blocks) if height > lowest)
    useful = newer = 0
    for view in range(model.bounds.views - 1, -1, -1):
        here = state.prepares >> view * count & above
        live = 0
        for local in state.locals:
            if local.active and local.view == view:
                for block in local.rounds[view].prepared:
                    live |= 1 << block
        useful |= (here & (~newer | live)) << view * count
        newer |= here
    return useful


def _pruned(model: Model, state: State, index: int) -> Local:
    """Drop a validator's vows for views that nobody can enter, and votes that can't add to a certificate any more."""
    me = state.locals[index]
    vows = tuple(
        vow if vow is not NO_VOW and any(_may_come(local, view) for local in state.locals) else NO_VOW
        for view, vow in enumerate(me.vows)
    )
    rounds = me.rounds
    if model.rules.vow_ends_votes:
        rounds = tuple(
            _mine(me, part) if view == me.view and me.active else _left(model, state, index, view, part)
            for view, part in enumerate(me.rounds)
        )
    return me._replace(vows=vows, rounds=rounds, known=me.known if me.known > len(me.chain) else 0)


def _mine(me: Local, part: Round) -> Round:
    """Return what still matters of the view that I am in: what binds heights on which I have not voted."""
    if not any(part.bound):
        return part
    bound = tuple(
        ABSENT if prepared or place < len(me.chain) else block
        for place, (block, prepared) in enumerate(zip(part.bound, part.prepared, strict=True))
    )
    return part._replace(bound=bound)


def _may_come(local: Local, view: int) -> bool:
    """Say whether a validator may still enter a view."""
    return local.view < view or (local.view == view and not local.active)


def _left(model: Model, state: State, index: int, view: int, part: Round) -> Round:
    """Return what still matters of a view that I left: votes that others may complete to a certificate."""
    if not (part.entered or any(part.prepared) or any(part.committed)):
        return part
    others = [local for place, local in enumerate(state.locals) if place != index]
    prepared = tuple(
        block if block and _may_complete(model, others, view, place, block, 0) else ABSENT
        for place, block in enumerate(part.prepared)
    )
    rests = model.rules.commit_rests_in_view
    committed = tuple(
        block if block and (not rests or _may_complete(model, others, view, place, block, 1)) else ABSENT
        for place, block in enumerate(part.committed)
    )
    return Round(False, (ABSENT,) * model.bounds.heights, prepared, committed)


def _may_complete(model: Model, others: list[Local], view: int, place: int, block: int, phase: int) -> bool:
    """Say whether others may vote like me for a block in a view, so often that it makes a new certificate."""
    votes, more = 1, 0
    for local in others:
        theirs = (local.rounds[view].committed if phase else local.rounds[view].prepared)[place]
        if theirs == block:
            votes += 1
        elif theirs == ABSENT and (local.view < view or (local.view == view)) and len(local.chain) <= place:
            more += 1
    return votes < model.needed <= votes + more


# --- joined actions ---------------------------------------------------------------------------------------------------


def steps(model: Model, state: State) -> Iterator[Step]:
    """Yield the joined actions: entering a view with PREPAREs, PREPAREs on a delivered parent, COMMITs."""
    for index in range(len(state.locals)):
        me = state.locals[index]
        if me.active:
            yield from _prepares(model, state, index)
            yield from _commits(model, state, index)
        if not model.rules.claims_kept and any(claim is not NO_CLAIM for claim in state.locals[index].claimed):
            yield Step(f"{NAMES[index]} restarts and has forgotten its claims", model.forgets(state, index))
    yield from _entries(model, state)


def _in_turn(model: Model, state: State, index: int, place: int) -> bool:
    """Say whether an action of a place (twice its view, one more for COMMIT) may have followed those of later places.

    It could have come before them unless its validator delivered a block that was certified there; with four
    validators, whoever is left behind a certificate is alone, so that nobody else hands on what came of it.
    """
    if place >= state.front or not model.rules.vow_ends_votes:
        return True
    chain = state.locals[index].chain
    return any(2 * top.view + 1 > place for top in state.certified[: len(chain)])


def delivered(model: Model, state: State, index: int) -> Iterator[State]:
    """Yield the state with none, one, two … of the certified blocks delivered."""
    following: State | None = state
    while following is not None:
        yield following
        following = model.deliver(following, index)


def _prepares(model: Model, state: State, index: int, label: str = "") -> Iterator[Step]:
    """Deliver, then PREPARE a chain that begins on the delivered block; nothing in this view had led there."""
    for later in delivered(model, state, index):
        me = later.locals[index]
        height = len(me.chain)
        if not _in_turn(model, later, index, 2 * me.view):
            continue
        if height and me.prepared(me.view, height) == me.chain[-1]:
            continue  # what rests on it could have been prepared before
        yield from _chain(model, later, index, me.chain[-1] if height else GENESIS, label)


def _chain(model: Model, state: State, index: int, parent: int, label: str) -> Iterator[Step]:
    view = state.locals[index].view
    for block in model.proposable(state, parent):
        if model.may_prepare(state, index, view, block):
            following = model.prepare(state, index, view, block)
            said = f"{label}{NAMES[index]} prepares {model.name(block)} in view {view}"
            yield Step(said, following)
            yield from _chain(model, following, index, block, f"{said}; ")


def _commits(model: Model, state: State, index: int) -> Iterator[Step]:
    """COMMIT, with as few deliveries as it needs."""
    view = state.locals[index].view
    done: set[int] = set()
    for later in delivered(model, state, index):
        if not _in_turn(model, later, index, 2 * view + 1):
            continue
        for block in range(1, len(model.blocks)):
            certificate = None if block in done else model.may_commit(later, index, view, block)
            if certificate is not None:
                done.add(block)
                label = f"{NAMES[index]} commits {model.name(block)} in view {view}"
                yield Step(label, model.commit(later, index, view, block, certificate))


def _worth_leaving(model: Model, state: State) -> bool:
    """Say whether the newest view may be left behind: every PREPARE there at the lowest height made a certificate.

    Without it the run is the same: nobody can complete such a certificate later, since that takes a delivery below.
    Not so where votes are of old views, or COMMITs rest on certificates of old ones.
    """
    view = state.front // 2
    plain = not (model.rules.vow_ends_votes and model.rules.voted_afresh)
    if plain or min(len(local.chain) for local in state.locals):
        return True
    here = [local.rounds[view].prepared for local in state.locals if local.active and local.view == view]
    certified = all(not votes[0] or state.prepares & model.bit(view, votes[0]) for votes in here)
    return certified and (view == 0 or any(any(votes) for votes in here))


def _entries(model: Model, state: State) -> Iterator[Step]:
    """Gather the vows for a view, let a validator enter it, and PREPARE there at once."""
    until = state.front // 2 + (2 if _worth_leaving(model, state) else 1)
    for view in range(1, min(until, model.bounds.views)):
        comers = [index for index, local in enumerate(state.locals) if _may_come(local, view)]
        for vowed, fresh, said in _vowed(model, state, view) if comers else ():
            for group in model.groups(vowed, view):
                if not fresh <= set(group):
                    continue
                for choice in model.choices(vowed, view, tuple(vowed.locals[member].vows[view] for member in group)):
                    model.check_choice(vowed, view, choice)
                    for index in comers:
                        if model.may_enter(vowed.locals[index], view, group):
                            entered = model.enter(vowed, index, view, choice)
                            label = f"{said}{NAMES[index]} enters view {view}, which {model.in_words(choice)}; "
                            yield from _prepares(model, entered, index, label)
                            if not model.rules.voted_afresh:
                                yield Step(label, entered)


def _vowed(model: Model, state: State, view: int) -> Iterator[tuple[State, set[int], str]]:
    """Yield the states in which some more have vowed for a view, no more than it needs, with who they are."""
    found: list[tuple[State, set[int], str]] = [(state, set(), "")]
    for index, local in enumerate(state.locals):
        if local.view >= view:
            continue
        for held, fresh, said in list(found):
            more = len(fresh) < model.needed and model.rules.distinct_vows
            if more and vow_refused(local, view) is None:
                label = f"{said}{NAMES[index]} vows for view {view}; "
                found.append((model.vow(held, index, view), {*fresh, index}, label))
    return iter(found)
