"""How batches reach every node: push, announce, ask. A pure machine over opaque 32-byte ids, with time passed in.

Here: who is sent, told or asked what, and when. Not here: payloads, sockets, validity; the node performs the actions
and reports what came. The originator pushes a payload to all peers. Whoever receives one announces its id to the peers
that may lack it, a little later and many ids at once. Whoever lacks an announced id for a while asks one announcer, and
the next one when that takes too long. `need` asks for what consensus cannot do without, and does not give up.

Announcements are only hints: a false one costs its sender's own share of our asking and nobody else's. Every table is
bounded by GossipLimits. Actions come in a defined order: the same calls give the same actions.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterable, Iterator
from heapq import heappop, heappush
from itertools import islice
from typing import TypeAlias

import msgspec

from primitives.errors import EncodingError

ID_BYTES = 32
IDS_PER_MESSAGE_MAX = 128


class GossipLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Times and bounds of gossip; the tables' sizes are per peer where they say so."""

    announce_delay_ms: int = 100
    """How long ids are gathered before they are announced: what was ordered by then needs no announcement."""
    want_delay_ms: int = 100
    """How long an announced payload may still be under way from its originator before it is asked for."""
    want_timeout_ms: int = 500
    need_retry_ms: int = 1_000
    """Pause before all peers are asked again for a needed id that none of them gave."""
    wants_per_peer_max: int = 16
    """Asked of one peer at a time, and so given to one for each of its requests."""
    missing_per_peer_max: int = 2_048
    """Ids announced by one peer that we lack; further ones are ignored."""
    needs_max: int = 4_096
    pending_announcements_per_peer_max: int = 4_096
    known_per_peer_max: int = 4_096
    """Ids that a peer is known to hold, so that they are not announced to it; the oldest are forgotten."""
    serve_again_ms: int = 250
    """A peer is not given the same payload again sooner."""


class Push(msgspec.Struct, frozen=True):
    """Send the payload of an id to these peers."""

    peers: tuple[str, ...]
    id: bytes


class Announce(msgspec.Struct, frozen=True):
    """Send HAVE with these ids."""

    peer: str
    ids: tuple[bytes, ...]


class Want(msgspec.Struct, frozen=True):
    """Send WANT with these ids."""

    peer: str
    ids: tuple[bytes, ...]


Action: TypeAlias = Push | Announce | Want


class _Peer:
    """What is known of one linked peer."""

    def __init__(self) -> None:
        self.known: OrderedDict[bytes, None] = OrderedDict()  # ids that it holds, or was sent
        self.announcements: deque[bytes] = deque()  # to be told
        self.missing = 0  # ids that it announced and we lack
        self.wants = 0  # asked of it and neither come nor timed out
        self.served: OrderedDict[bytes, int] = OrderedDict()  # id -> when it was sent


class _Missing:
    """An id that we lack, and who may have it."""

    def __init__(self) -> None:
        self.announcers: dict[str, None] = {}  # not asked yet, first to announce first
        self.asked: str | None = None
        self.due_ms = 0  # when to ask, or to ask the next one
        self.needed = False  # by consensus: asked for until it comes


class Gossip:
    """Owned by the node's loop; every call takes the time in milliseconds and returns what to do at once."""

    def __init__(
        self,
        holds: Callable[[bytes], bool],
        limits: GossipLimits | None = None,
        *,
        worth: Callable[[bytes], bool] | None = None,
    ) -> None:
        """Take predicates: whether the node has the payload of an id, and whether that is still worth announcing."""
        self._holds = holds
        self._worth = worth or holds
        self._limits = limits or GossipLimits()
        self._peers: dict[str, _Peer] = {}
        self._missing: dict[bytes, _Missing] = {}
        self._dues: list[tuple[int, bytes]] = []  # a heap; entries that no longer match their id's due are stale
        self._needs = 0
        self._announce_at_ms: int | None = None

    # --- peers

    @property
    def peers(self) -> Collection[str]:
        """The linked peers, in the order in which they came."""
        return self._peers.keys()

    def connected(self, peer: str) -> None:
        """A peer is linked."""
        self._peers.setdefault(peer, _Peer())

    def disconnected(self, peer: str, now_ms: int) -> None:
        """A peer is gone: what was asked of it is asked of the next."""
        if self._peers.pop(peer, None) is None:
            return
        for id_, missing in list(self._missing.items()):
            missing.announcers.pop(peer, None)
            if missing.asked == peer:
                missing.asked = None
                self._wake(id_, missing, now_ms)

    # --- payloads

    def originated(self, id_: bytes) -> list[Action]:
        """This node made the payload, and holds it: push it to everybody."""
        self._arrived(id_)
        for peer in self._peers.values():
            self._mark_known(peer, id_)
        return [Push(tuple(self._peers), id_)] if self._peers else []

    def received(self, id_: bytes, sender: str, now_ms: int) -> None:
        """A valid payload came from a peer, and the node holds it now: tell those who may lack it."""
        self._arrived(id_)
        if sender in self._peers:
            self._mark_known(self._peers[sender], id_)
        for peer in self._peers.values():
            if id_ in peer.known or len(peer.announcements) >= self._limits.pending_announcements_per_peer_max:
                continue
            peer.announcements.append(id_)
            if self._announce_at_ms is None:
                self._announce_at_ms = now_ms + self._limits.announce_delay_ms

    def need(self, ids: Iterable[bytes], holders: Iterable[str], now_ms: int) -> None:
        """Fetch payloads that consensus waits for, from these peers first, until they come or `give_up`."""
        holders = list(holders)
        for id_ in ids:
            missing = self._missing.get(id_)
            if self._holds(id_) or self._needs >= self._limits.needs_max:
                continue
            if missing is None:
                missing = self._missing[id_] = _Missing()
            if not missing.needed:
                missing.needed = True
                self._needs += 1
            for peer in holders:
                if peer in self._peers:
                    self._add(missing, peer)
            if not missing.announcers:
                self._add_all(missing)
            if missing.asked is None:
                self._wake(id_, missing, now_ms)

    def give_up(self, id_: bytes) -> None:
        """Consensus needs it no longer."""
        if id_ in self._missing:
            self._arrived(id_)

    # --- messages

    def have(self, peer: str, ids: Iterable[bytes], now_ms: int) -> None:
        """A peer announces ids."""
        state = self._peers.get(peer)
        if state is None:
            return
        for id_ in ids:
            self._mark_known(state, id_)
            missing = self._missing.get(id_)
            if missing is None:
                if state.missing >= self._limits.missing_per_peer_max or self._holds(id_):
                    continue
                missing = self._missing[id_] = _Missing()
                self._wake(id_, missing, now_ms + self._limits.want_delay_ms)
            if state.missing < self._limits.missing_per_peer_max:
                self._add(missing, peer)

    def want(self, peer: str, ids: Iterable[bytes], now_ms: int) -> Iterator[Push]:
        """A peer asks for payloads: yield those that we hold and have not just given.

        The caller stops where the peer had enough: what is not taken does not count as given.
        """
        state = self._peers.get(peer)
        if state is None:
            return
        for id_ in islice(ids, self._limits.wants_per_peer_max):
            last_ms = state.served.get(id_)
            if (last_ms is not None and now_ms < last_ms + self._limits.serve_again_ms) or not self._holds(id_):
                continue
            state.served[id_] = now_ms
            state.served.move_to_end(id_)
            if len(state.served) > self._limits.known_per_peer_max:
                state.served.popitem(last=False)
            self._mark_known(state, id_)
            yield Push((peer,), id_)

    # --- time

    def tick(self, now_ms: int) -> list[Action]:
        """Announce and ask what is due."""
        if self._announce_at_ms is None and not self._dues:
            return []
        actions: list[Action] = []
        if self._announce_at_ms is not None and now_ms >= self._announce_at_ms:
            self._announce_at_ms = None
            for name, peer in self._peers.items():
                ids = [id_ for id_ in peer.announcements if id_ not in peer.known and self._worth(id_)]
                peer.announcements.clear()
                for id_ in ids:
                    self._mark_known(peer, id_)
                actions += [Announce(name, part) for part in _parts(ids)]
        wants: dict[str, list[bytes]] = {}
        while self._dues and self._dues[0][0] <= now_ms:
            due_ms, id_ = heappop(self._dues)
            missing = self._missing.get(id_)
            if missing is not None and missing.due_ms == due_ms:
                self._ask_next(id_, missing, wants, now_ms)
        actions += [Want(peer, part) for peer, ids in wants.items() for part in _parts(ids)]
        return actions

    def next_due_ms(self) -> int | None:
        """Return when `tick` has something to do, None if nothing waits."""
        while self._dues:
            due_ms, id_ = self._dues[0]
            missing = self._missing.get(id_)
            if missing is not None and missing.due_ms == due_ms:
                return due_ms if self._announce_at_ms is None else min(due_ms, self._announce_at_ms)
            heappop(self._dues)
        return self._announce_at_ms

    def missing(self) -> int:
        """Return how many ids are known of and lacking."""
        return len(self._missing)

    # --- inside

    def _ask_next(self, id_: bytes, missing: _Missing, wants: dict[str, list[bytes]], now_ms: int) -> None:
        """Ask the announcer that is asked for least; one whose quota is full is passed over until it has room."""
        if missing.asked is not None:  # it did not give it in time
            self._peers[missing.asked].wants -= 1
            missing.asked = None
        if not missing.announcers:
            if not missing.needed:
                del self._missing[id_]
                return
            self._add_all(missing)  # another round, after a pause
            self._wake(id_, missing, now_ms + self._limits.need_retry_ms)
            return
        free = [name for name in missing.announcers if self._peers[name].wants < self._limits.wants_per_peer_max]
        if free:
            peer = min(free, key=lambda name: self._peers[name].wants)
            del missing.announcers[peer]
            self._peers[peer].missing -= 1
            self._peers[peer].wants += 1
            missing.asked = peer
            wants.setdefault(peer, []).append(id_)
        self._wake(id_, missing, now_ms + self._limits.want_timeout_ms)

    def _arrived(self, id_: bytes) -> None:
        """Forget that an id was lacking."""
        missing = self._missing.pop(id_, None)
        if missing is None:
            return
        for peer in missing.announcers:
            self._peers[peer].missing -= 1
        if missing.asked is not None:
            self._peers[missing.asked].wants -= 1
        self._needs -= missing.needed

    def _add(self, missing: _Missing, peer: str) -> None:
        if peer != missing.asked and peer not in missing.announcers:
            missing.announcers[peer] = None
            self._peers[peer].missing += 1

    def _add_all(self, missing: _Missing) -> None:
        for peer in self._peers:
            self._add(missing, peer)

    def _wake(self, id_: bytes, missing: _Missing, due_ms: int) -> None:
        missing.due_ms = due_ms
        heappush(self._dues, (due_ms, id_))

    def _mark_known(self, peer: _Peer, id_: bytes) -> None:
        peer.known[id_] = None
        peer.known.move_to_end(id_)
        if len(peer.known) > self._limits.known_per_peer_max:
            peer.known.popitem(last=False)


def encode_ids(ids: Iterable[bytes]) -> bytes:
    """Return the payload of HAVE and WANT: the ids one after the other."""
    return b"".join(ids)


def decode_ids(payload: bytes) -> list[bytes]:
    """Return the ids of HAVE or WANT, at least one and at most IDS_PER_MESSAGE_MAX; raises EncodingError otherwise."""
    if len(payload) % ID_BYTES or not 0 < len(payload) <= ID_BYTES * IDS_PER_MESSAGE_MAX:
        raise EncodingError(
            "list of ids", expected=f"1 to {IDS_PER_MESSAGE_MAX} times {ID_BYTES} bytes", got=f"{len(payload)} bytes"
        )
    return [payload[at : at + ID_BYTES] for at in range(0, len(payload), ID_BYTES)]


def _parts(ids: list[bytes]) -> list[tuple[bytes, ...]]:
    return [tuple(ids[at : at + IDS_PER_MESSAGE_MAX]) for at in range(0, len(ids), IDS_PER_MESSAGE_MAX)]
