"""Lost messages and catch-up: the status that peers exchange, what is re-sent, and fetching committed blocks.

A status proves nothing; it only says what to send or whom to ask. Fetched blocks go through the one commit path in
`ordering`. Only certificates prove heights.
"""

from __future__ import annotations

from consensus import checkpoints, view_change
from consensus.effects import Broadcast, Send, ServeBlocks, ServeProposals
from consensus.messages import (
    BLOCKS_PER_FETCH_MAX,
    BUFFER_HEIGHTS,
    WINDOW,
    Blocks,
    FetchBlocks,
    FetchProposals,
    Proposals,
    Status,
)
from consensus.state import ReplicaState
from primitives.block import Block
from primitives.ids import Hash, Height, TimeMs

STATUSES_MAX = 1_024


def status_of(state: ReplicaState) -> Status:
    """Return where this replica stands."""
    prepared = state.tip.height
    while (slot := state.slots.get(Height(prepared + 1))) is not None and slot.prepare is not None:
        prepared = Height(prepared + 1)
    stable = state.checkpoints.stable_height
    return Status(state.epoch, state.view, state.active, state.tip.height, prepared, stable, state.may_vow)


def on_tick(state: ReplicaState, now_ms: TimeMs) -> None:
    """Say each second where I stand, and fetch when peers are ahead and I make no progress."""
    if now_ms >= state.status_due_ms:
        state.status_due_ms = TimeMs(now_ms + state.parameters.status_interval_ms)
        state.emit(Broadcast(status_of(state)))
    fetch(state, now_ms)


def on_status(state: ReplicaState, peer: str, status: Status, now_ms: TimeMs) -> None:
    """Re-send stored messages that a peer seems to lack; remember who is ahead."""
    if len(state.statuses) < STATUSES_MAX or peer in state.statuses:
        state.statuses[peer] = status
    if status.epoch == state.epoch:
        view_change.answer_status(state, peer, status)
        checkpoints.resend(state, peer, status.stable)
        if status.view == state.view and state.active:
            _resend_votes(state, peer, status, now_ms)
    fetch(state, now_ms)


def _resend_votes(state: ReplicaState, peer: str, status: Status, now_ms: TimeMs) -> None:
    """Send stored proposals and votes again that are old enough to have been lost; nothing is signed a second time."""
    for height in range(status.delivered + 1, status.delivered + WINDOW + 1):
        slot = state.slots.get(Height(height))
        if slot is None or slot.proposal is None:
            continue
        if now_ms - slot.voted_ms < state.parameters.status_interval_ms:
            continue
        if state.leads:
            state.emit(Send(peer, slot.proposal))
        elif slot.prepare is not None:
            state.emit(Send(peer, slot.prepare))
        if slot.commit is not None:
            state.emit(Send(peer, slot.commit))


def fetch(state: ReplicaState, now_ms: TimeMs) -> None:
    """Ask a peer that is ahead for blocks: at once when far behind, else when nothing was delivered for a while.

    One request at a time; a server that stays silent for the time-out is replaced by another, and one that said that it
    does not hold the next block is not asked for it again before all were.
    """
    ahead = [name for name, status in state.statuses.items() if status.delivered > state.tip.height]
    if not ahead:
        state.fetch_peer = None
        return
    if now_ms < state.fetch_due_ms:
        return
    wanted = Height(state.tip.height + 1)
    ahead = [name for name in ahead if state.lacking.get(name) != wanted]
    if not ahead:
        state.fetch_peer, state.unserved = None, wanted  # whoever says so once more changes nothing
        state.lacking.clear()
        state.fetch_due_ms = TimeMs(now_ms + state.parameters.fetch_timeout_ms)
        return
    ahead.sort(key=lambda name: (-state.statuses[name].delivered, name))
    far = state.statuses[ahead[0]].delivered > state.tip.height + WINDOW or state.me is None
    certified = state.certified_height > state.tip.height
    quiet = now_ms - state.progress_ms >= state.parameters.status_interval_ms // 2
    if not (far or certified or quiet or state.fetch_peer is not None):
        return
    peer = _next_server(state, ahead)
    state.fetch_peer, state.fetch_start = peer, wanted
    state.fetch_due_ms = TimeMs(now_ms + state.parameters.fetch_timeout_ms)
    state.emit(Send(peer, FetchBlocks(wanted, BLOCKS_PER_FETCH_MAX)))


def _next_server(state: ReplicaState, ahead: list[str]) -> str:
    """Return the first peer after the one asked last, in a fixed cycle, so that a silent one is left."""
    if state.fetch_peer not in ahead:
        return ahead[0]
    return ahead[(ahead.index(state.fetch_peer) + 1) % len(ahead)]


def on_fetch_blocks(state: ReplicaState, peer: str, request: FetchBlocks) -> None:
    """Serve committed blocks from the store."""
    count = min(request.count, state.tip.height - request.start + 1)
    if count > 0:
        state.emit(ServeBlocks(peer, request.start, count))


def on_blocks(state: ReplicaState, message: Blocks) -> None:
    """Note committed blocks near my height; `ordering.deliver` commits them in order."""
    for committed in message.blocks:
        height = committed.block.header.height
        if not state.in_window(height, max(BUFFER_HEIGHTS, BLOCKS_PER_FETCH_MAX)) or committed.certificate is None:
            continue
        if committed.certificate.epoch != state.epoch:
            continue  # verified again under its own epoch's set, once that epoch has begun here
        slot = state.slot(height)
        slot.certificate = committed.certificate
        slot.keep(committed.certificate.block_hash, committed.block)
        slot.blocks[committed.certificate.block_hash] = committed.block


def on_answer(state: ReplicaState, peer: str, message: Blocks, now_ms: TimeMs) -> None:
    """Ask for more at once when the peer that was asked brought this replica on, or has none of the blocks (any more).

    Otherwise the time-out decides. Called once for each message of blocks, not for each block: else every answer would
    breed as many requests.
    """
    if peer != state.fetch_peer:
        return
    served = state.tip.height >= state.fetch_start
    if not served and not message.blocks and peer in state.statuses:
        state.lacking[peer] = state.fetch_start
        served = True
    if served:
        state.fetch_due_ms = TimeMs(0)
        fetch(state, now_ms)


def on_fetch_proposals(state: ReplicaState, peer: str, request: FetchProposals) -> None:
    """Serve blocks by hash: those still in flight here, and those delivered lately with their certificates."""
    held: dict[Hash, Block] = {}
    for slot in state.slots.values():
        held.update(slot.blocks)
    state.emit(ServeProposals(peer, tuple(held[item] for item in request.hashes if item in held)))
    for height, block_hash in state.tip.recent.items():
        if block_hash in request.hashes:
            state.emit(ServeBlocks(peer, height, 1))


def on_proposals(state: ReplicaState, message: Proposals) -> None:
    """Keep blocks that a certificate here names; others were not asked for."""
    for block in message.blocks:
        slot = state.slots.get(block.header.height)
        if slot is None:
            continue
        block_hash = block.header.hash()
        decided = slot.commits.decided(state.validators.quorum)
        wanted = {slot.certificate.block_hash} if slot.certificate is not None else set()
        if decided is not None:
            wanted.add(decided[1])
        if block_hash in wanted:
            slot.keep(block_hash, block)
            state.block_due_ms = TimeMs(0)
