"""View changes: when to leave a view, what a VIEW-CHANGE says, and what starts the next view.

Signing VIEW-CHANGE(v) or accepting NEW-VIEW(v) ends PREPARE and COMMIT below v, across restarts. Nobody votes in a view
above 0 without its valid, stored NEW-VIEW. Source: PBFT section 4.4; the choice is in `choice`.
"""

from __future__ import annotations

from typing import Final

from consensus import evidence, ordering
from consensus.choice import Choice, choose
from consensus.effects import Broadcast, Send, ViewEntered
from consensus.messages import BUFFER_HEIGHTS, WINDOW, NewView, Status, ViewChange
from consensus.records import ViewChanged, ViewStarted
from consensus.state import ReplicaState
from primitives.ids import Hash, Height, TimeMs, View

HEARD_PERCENT: Final = 150
"""Percent of the interval of status after which a validator that said nothing counts as not heard."""


def start(state: ReplicaState, view: View, why: str, now_ms: TimeMs) -> None:
    """Vow to end voting below `view`: write the VIEW-CHANGE with its claims, then send it."""
    me = state.me
    if me is None or not state.may_vow or view <= state.view:
        return
    state.attempt()
    state.view, state.active, state.new_view, state.deadline_ms = view, False, None, None
    state.chosen.clear()
    claims = tuple(
        claim
        for height in sorted(state.slots)
        if state.in_window(height) and (claim := state.slots[height].claim) is not None
    )
    for slot in state.slots.values():
        slot.leave_view()
    delivered = tuple(held for held in state.tip.certificates[-WINDOW:] if held.epoch >= state.epoch - 1)
    unsigned = ViewChange(state.epoch, view, me, delivered, claims, b"")
    signature = state.signer.sign_vote(unsigned.statement(state.chain_id))
    change = ViewChange(state.epoch, view, me, delivered, claims, signature)
    state.view_changes = {index: held for index, held in state.view_changes.items() if held.view >= view}
    state.view_changes[me] = change
    state.persist(ViewChanged(change))
    state.emit(Broadcast(change), ViewEntered(state.epoch, view, False, why))
    _gather(state, now_ms)


def on_view_change(state: ReplicaState, change: ViewChange, peer: str, now_ms: TimeMs) -> None:
    """Take a VIEW-CHANGE: join f+1 validators above my view, or gather a quorum for the view I moved to."""
    if change.epoch != state.epoch or state.me is None:
        return
    if change.view < state.view or (change.view == state.view and state.active):
        if state.active and state.new_view is not None:
            state.emit(Send(peer, state.new_view))
        return
    held = state.view_changes.get(change.validator)
    if held is not None and held.view >= change.view:
        return  # one of each validator, the highest
    state.view_changes[change.validator] = change
    state.vowed_ms[change.validator] = now_ms
    _follow(state, now_ms)


def _follow(state: ReplicaState, now_ms: TimeMs) -> None:
    """Join f+1 validators above my view at the lowest of theirs, or gather a quorum for mine.

    On each tick too: what came while I might not vow, my ledger still below what I had signed, comes only once.
    """
    above = sorted(held.view for held in state.view_changes.values() if held.view > state.view)
    if len(above) >= state.validators.f + 1:
        start(state, above[0], "f+1 validators moved on", now_ms)
    else:
        _gather(state, now_ms)


def _gather(state: ReplicaState, now_ms: TimeMs) -> None:
    """At a quorum of VIEW-CHANGEs for my view: the leader starts it, everybody else's timer starts."""
    if state.active:
        return
    gathered = sorted(
        (change for change in state.view_changes.values() if change.view == state.view),
        key=lambda change: change.validator,
    )
    # Whoever moved on further left this view as well, and may have sent its vow for it to others only: if that did not
    # count, a quorum spread over two views would wait for ever, nobody with a timer.
    moved = sum(1 for change in state.view_changes.values() if change.view >= state.view)
    if moved >= state.validators.quorum and state.deadline_ms is None:
        state.deadline_ms = TimeMs(now_ms + state.timeout_ms())
    if len(gathered) >= state.validators.quorum and state.leads:
        _start_view(state, _quorum_with_mine(state, gathered), now_ms)


def _quorum_with_mine(state: ReplicaState, gathered: list[ViewChange]) -> tuple[ViewChange, ...]:
    others = [change for change in gathered if change.validator != state.me][: state.validators.quorum - 1]
    mine = [change for change in gathered if change.validator == state.me]
    return tuple(sorted(others + mine, key=lambda change: change.validator))


def _start_view(state: ReplicaState, changes: tuple[ViewChange, ...], now_ms: TimeMs) -> None:
    unsigned = NewView(state.epoch, state.view, changes, b"")
    signature = state.signer.sign_vote(unsigned.statement(state.chain_id))
    message = NewView(state.epoch, state.view, changes, signature)
    enter(state, message, now_ms)
    if state.halted is None:
        state.emit(Broadcast(message))


def on_new_view(state: ReplicaState, message: NewView, now_ms: TimeMs) -> None:
    """Enter a view on its valid NEW-VIEW, unless it is older than what I vowed."""
    if message.epoch != state.epoch or message.view < state.view or (message.view == state.view and state.active):
        return
    enter(state, message, now_ms)


def enter(state: ReplicaState, message: NewView, now_ms: TimeMs) -> None:
    """Make a view active: NEW-VIEW is written first; its choice binds all proposals at the chosen heights."""
    choice = choose(message.view_changes, state.genesis_hash)
    contradiction = _contradiction(state, message, choice)
    if contradiction is not None:
        state.halt(contradiction)
        return
    if message.view > state.view:
        state.attempt()
        for slot in state.slots.values():
            slot.leave_view()
    state.view, state.active, state.new_view = message.view, True, message
    state.view_changes = {index: held for index, held in state.view_changes.items() if held.view > message.view}
    state.persist(ViewStarted(message))
    adopt(state, choice)
    state.deadline_ms = TimeMs(now_ms + state.timeout_ms())
    state.application.view_entered(now_ms)
    state.emit(ViewEntered(state.epoch, state.view, True, "NEW-VIEW"))
    if not ordering.take_early(state, now_ms) or evidence.leader_is_accused(state):
        start(state, View(state.view + 1), "the leader contradicts itself", now_ms)


def adopt(state: ReplicaState, choice: Choice) -> None:
    """Bind the chosen heights, note certified heights above mine, and drop the execution of branches not chosen."""
    state.chosen = {block.header.height: block for block in choice.blocks if block.header.height > state.tip.height}
    for height, block in state.chosen.items():
        if state.in_window(height, BUFFER_HEIGHTS):
            state.slot(height).keep(block.header.hash(), block)
    for certificate in choice.certificates:
        state.certified_height = max(state.certified_height, certificate.height)
        if state.in_window(certificate.height, BUFFER_HEIGHTS):  # further ones come with their blocks
            state.slot(certificate.height).certificate = certificate
    kept = {block.header.hash() for block in choice.blocks} | {item.block_hash for item in choice.certificates}
    for slot in state.slots.values():
        for block_hash in slot.blocks:
            if block_hash not in kept:
                state.application.discard(block_hash)


def _contradiction(state: ReplicaState, message: NewView, choice: Choice) -> str | None:
    """Return how a choice contradicts what I delivered: then more than f validators are malicious.

    Only a block committed in an earlier view binds a NEW-VIEW. An old one that comes late may well have chosen a block
    that a later view dropped, because it was never committed.
    """
    committed = {held.height: (held.epoch, held.view) for held in state.tip.certificates}
    named: list[tuple[Height, Hash]] = [(item.height, item.block_hash) for item in choice.certificates]
    named += [(block.header.height, block.header.hash()) for block in choice.blocks]
    for height, block_hash in named:
        delivered = state.tip.recent.get(height)
        earlier = committed.get(height, (message.epoch, message.view)) < (message.epoch, message.view)
        if earlier and delivered is not None and delivered != block_hash:
            return f"a NEW-VIEW chose another block at the delivered height {height}"
    return None


def on_tick(state: ReplicaState, now_ms: TimeMs) -> None:
    """Run the timer while there is something to order and nothing commits.

    It does not end a view while this node was itself asleep, or hears from too few to change the view with: who leaves
    alone can't vote until the others follow, and the others do not miss it.
    """
    if state.me is None:
        return
    if state.view_changes:
        _follow(state, now_ms)
    asleep = now_ms - state.ticked_ms > state.parameters.status_interval_ms
    state.ticked_ms = now_ms
    if state.deadline_ms is not None and (asleep or not _hears_a_quorum(state, now_ms)):
        state.deadline_ms = TimeMs(max(state.deadline_ms, now_ms + state.parameters.status_interval_ms))
    leader = state.validators.validators[state.validators.leader(state.view)].name
    if state.active and not state.leads and not _heard(state, leader, now_ms):
        state.application.view_entered(now_ms)  # what was offered to a leader out of reach was not offered
    if state.active and (stranded := _stranded(state, now_ms)) is not None:
        start(state, stranded, "a validator waits there alone", now_ms)
        return
    if state.active:
        waiting = bool(state.slots) and any(slot.proposal is not None for slot in state.slots.values())
        if not (waiting or state.chosen or state.application.something_to_order()):
            state.deadline_ms = None
            return
        if state.deadline_ms is None:
            state.deadline_ms = TimeMs(now_ms + state.timeout_ms())
        if not state.leads and state.application.passed_over(now_ms, state.timeout_ms()):
            start(state, View(state.view + 1), "the leader passes over what it was offered", now_ms)
            return
    if state.deadline_ms is not None and now_ms >= state.deadline_ms:
        start(state, View(state.view + 1), f"no progress in {state.timeout_ms()} ms", now_ms)


def _hears_a_quorum(state: ReplicaState, now_ms: TimeMs) -> bool:
    """Say whether enough that vote were heard of late that, with me, they could start a view."""
    heard = state.voters_among(name for name in state.heard_ms if _heard(state, name, now_ms))
    return heard + 1 >= state.validators.quorum


def _heard(state: ReplicaState, name: str, now_ms: TimeMs) -> bool:
    """Say whether a validator was heard of late."""
    at_ms = state.heard_ms.get(name)
    return at_ms is not None and now_ms - at_ms <= HEARD_PERCENT * state.parameters.status_interval_ms // 100


def _stranded(state: ReplicaState, now_ms: TimeMs) -> View | None:
    """Return a view just above mine in which a validator has waited for the longest time-out: the others follow it.

    It vowed to vote in no lower one, so until a view change the group would have to do without it. Only near views
    count, and only after so long: a malicious validator gains one view change a minute.
    """
    if not state.view_changes:
        return None
    since = now_ms - state.parameters.timeout_max_ms
    near = [
        change.view
        for index, change in state.view_changes.items()
        if state.view < change.view <= state.view + state.validators.n and state.vowed_ms.get(index, now_ms) <= since
    ]
    return min(near, default=None)


def answer_status(state: ReplicaState, peer: str, status: Status) -> None:
    """Re-send what a peer in an older or inactive view lacks to join mine."""
    if state.me is None or status.view > state.view or (status.view == state.view and status.active):
        return
    if state.active:
        if state.new_view is not None:
            state.emit(Send(peer, state.new_view))
    elif (mine := state.view_changes.get(state.me)) is not None:
        state.emit(Send(peer, mine))
