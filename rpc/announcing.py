"""From a block to its notifications: the one function for what was and what is, so that they cannot differ.

A piece is what a stream has of a block, or of EVENTS_A_PIECE of its events: rendered once, cut where every node cuts
it, and shared as bytes by all who want the same. Runs on worker threads, beside the loop. What is rendered depends on
the chain alone, but for a block's commit certificate, which may hold other votes on another node, and for checkpoints.
Not here: who gets a piece (`rpc.subscriptions`).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from hashlib import sha256
from typing import Final

import structlog

from ledger.base import NotHere
from ledger.certificate_subjects import SUBJECT_BODIES, SubjectBody, all_subjects
from ledger.checkpoint_rows import CHECKPOINTS_KEPT
from ledger.deadline_reading import dues_after
from ledger.deadlines import Due
from ledger.evidence import recorded_count
from ledger.payments import PAYMENT_STATEMENT, PaymentStatement
from ledger.reconciliation_rows import Change
from ledger.registry import KINDS
from ledger.state_at import StateAt
from ledger.status_proofs import proved_until
from ledger.views import CheckpointView, EventView, Tip
from primitives.encoding import decoder_of
from primitives.errors import ChainError
from primitives.ids import Height
from rpc.errors import RpcError, from_chain_error
from rpc.jsonrpc import encode
from rpc.methods.blocks import block_result
from rpc.methods.events import event_result
from rpc.methods.evidence import recorded_evidence
from rpc.methods.heights import index_of
from rpc.methods.reconciliation import StandingName, standing_name
from rpc.methods.totals import totals_notice
from rpc.ports import Services
from rpc.streams import Place, Stream, cursor_of, pruned
from rpc.types import Result, Time, time_text
from rpc.websocket_frames import text_frame_head

EVENTS_A_PIECE: Final = 256
PIECES_A_RUN: Final = 128
RUN_BYTES: Final = 512 * 1024
"""What catching up renders before others have their turn."""
CACHE_BYTES_MAX: Final = 48 * 1024 * 1024
PIECE_BYTES: Final = 512
"""What a piece is counted for besides its items."""
IDS_A_PIECE: Final = 4
"""Subscription ids under which a piece's frames are kept; connections count theirs from 1, so that nearly all share."""
TAG_BYTES: Final = 6

log = structlog.get_logger("rpc")


class DeadlineResult(Result, frozen=True):
    """What fell due after a block, by the state after it: `kind` as `cert_deadlines` has it, or `proposal_expired`.

    `subject` is a certificate's number, an application's or a proposal's id, `member` its holder or proposer; `due` is
    the first moment at which it is so, `height` that of the first block whose time has reached it, or of the next one.
    """

    kind: str
    subject: str
    member: str
    due: Time
    height: int


class ReconciliationNotice(Result, frozen=True):
    """A payment that stands otherwise after a block: how, and how before (null where it is new).

    `state` is null where the statements under the pair key no more tell of a payment between these members, but of one
    between others. `height` is that of the block. More of it tells `payment_reconciliation`.
    """

    pair_key: str
    members: list[str]
    before: StandingName | None
    state: StandingName | None
    height: int


class CheckpointNotice(Result, frozen=True):
    """A stable checkpoint that this node keeps; `note` is what is verified (C2SP)."""

    origin: str
    size: int
    root: str
    note: str


class Piece:
    """Some notifications of a stream, from a place to another; without items nothing there was of the stream."""

    def __init__(
        self, stream: Stream, start: Place, end: Place, indexes: Sequence[int], tails: Sequence[bytes]
    ) -> None:
        self.stream = stream
        self.start = start
        self.end = end
        self._indexes = indexes
        self._tails = tails
        self._frames: dict[str, bytes] = {}
        self.size = PIECE_BYTES + sum(map(len, tails))

    def __len__(self) -> int:
        return len(self._tails)

    def frames(self, subscription: str, after: Place) -> tuple[bytes, int]:
        """Return the WebSocket frames of the notifications from a place on, under an id; and how many they are."""
        if after <= self.start:
            found = self._frames.get(subscription)
            if found is None:
                found = _framed(subscription, self._tails)
                if len(self._frames) < IDS_A_PIECE:
                    self._frames[subscription] = found
            return found, len(self._tails)
        left = [tail for index, tail in zip(self._indexes, self._tails, strict=True) if index >= after.nth]
        return _framed(subscription, left), len(left)


def _framed(subscription: str, tails: Sequence[bytes]) -> bytes:
    head = b'{"jsonrpc":"2.0","method":"ledger_subscription","params":{"subscription":"%b",' % subscription.encode()
    return b"".join(part for tail in tails for part in (text_frame_head(len(head) + len(tail)), head, tail))


class _Events:
    """A piece's events, and which of them are about what; rendered when somebody wants them."""

    def __init__(self, views: Sequence[EventView]) -> None:
        self.views = views
        self.results: list[bytes | None] = [None] * len(views)
        self._about: dict[tuple[str, str], set[int]] | None = None

    def fitting(self, stream: Stream) -> Sequence[int]:
        """Return the places in the piece of the events that a stream has."""
        if not stream.filtered:
            return range(len(self.views))
        if self._about is None:
            self._about = _about(self.views)
        asked = [("member", stream.member), ("kind", stream.kind), ("certificate", stream.certificate)]
        asked.append(("payment", stream.payment))
        sets = [self._about.get((name, value), set()) for name, value in asked if value is not None]
        return sorted(set.intersection(*sets))

    def result(self, place: int) -> bytes:
        """Return an event as JSON."""
        found = self.results[place]
        if found is None:
            found = self.results[place] = encode(event_result(self.views[place]))
        return found


def _about(views: Sequence[EventView]) -> dict[tuple[str, str], set[int]]:
    found: dict[tuple[str, str], set[int]] = {}
    for place, view in enumerate(views):
        for name in _names_of(view):
            found.setdefault(name, set()).add(place)
    return found


def _names_of(view: EventView) -> list[tuple[str, str]]:
    """Return what an event can be asked for by."""
    event = view.event
    spec = KINDS.get(event.kind)
    names = [("member", event.member)]
    if spec is not None:
        names.append(("kind", spec.name))
    body_type = SUBJECT_BODIES.get((event.kind, event.schema))
    if body_type is not None:
        body: SubjectBody = decoder_of(body_type).decode(event.body)
        names += [("certificate", subject) for subject in all_subjects(body)]
    elif event.kind == PAYMENT_STATEMENT:
        statement: PaymentStatement = decoder_of(PaymentStatement).decode(event.body)
        names += [("payment", key.hex()) for key in (statement.uetr, statement.pair_key) if key]
    return names


class Announcer:
    """Renders pieces, and keeps those of the newest blocks; called on a few threads."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._reads = services.reads
        self._chain_id = services.reads.chain_id
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[Stream | None, Place], Piece | _Events] = OrderedDict()
        self._kept_bytes = 0

    def first_height(self, stream: Stream) -> int:
        """Return the lowest height whose notifications this node can still make."""
        base = int(self._reads.base())
        first = base + 1 if base else 0
        archive = self._services.archive
        if stream.topic != "blocks" and archive is not None and archive.archived_height:
            first = max(first, archive.status().missing_height + 1)
        if stream.lags and self._services.index is not None:
            first = max(first, self._services.index.reconciliation.first_changes())
        return first

    def live(self, asks: Sequence[tuple[Stream, Place]]) -> list[Piece | RpcError]:
        """Return the next piece of each of these streams, or why there is none."""
        return [self._answered(stream, place) for stream, place in asks]

    def run(self, stream: Stream, place: Place, height: int) -> list[Piece] | RpcError:
        """Return pieces from a place on, of blocks up to a height, a bounded number of them; or why there are none."""
        found: list[Piece] = []
        size = 0
        while len(found) < PIECES_A_RUN and size < RUN_BYTES and (place.height <= height or stream.by_checkpoints):
            piece = self._answered(stream, place)
            if isinstance(piece, RpcError):
                return found or piece
            if stream.by_checkpoints and piece.end == place:
                break
            found.append(piece)
            size += piece.size
            place = piece.end
        return found

    def _answered(self, stream: Stream, place: Place) -> Piece | RpcError:
        try:
            return self._piece(stream, place)
        except NotHere:
            return pruned(self.first_height(stream), place)
        except RpcError as error:
            return error
        except ChainError as error:
            log.error("rpc_subscription_failed", topic=stream.topic, height=place.height, error=str(error))
            return from_chain_error(error)

    def _piece(self, stream: Stream, place: Place) -> Piece:
        """Return the piece that holds a place of a committed block; of deadlines also what the next one begins with."""
        if stream.topic == "checkpoints":
            return self._checkpoints(stream, place)
        if stream.topic == "deadlines" and place.height > self._newest():
            return self._early(stream, place)
        in_pieces = stream.topic == "events" or stream.lags
        aligned = place.nth - place.nth % EVENTS_A_PIECE if in_pieces else 0
        start = Place(place.height, aligned)
        kept = self._find(stream, start)
        if isinstance(kept, Piece):
            return kept
        piece = self._rendered(stream, start)
        self._keep(stream, start, piece)
        return piece

    def _rendered(self, stream: Stream, start: Place) -> Piece:
        match stream.topic:
            case "blocks":
                items = self._block(start.height)
            case "evidence":
                items = self._evidence(start.height)
            case "deadlines":
                items = self._deadlines(start.height)
            case "reconciliation":
                return self._reconciliation(stream, start)
            case "totals":
                return self._totals(stream, start)
            case _:
                return self._events(stream, start)
        end = Place(start.height + 1)
        places = [Place(start.height, index + 1) for index in range(len(items))]
        if items and stream.topic != "deadlines":  # of these it is not known which is the last while no block comes
            places[-1] = end
        return self._made(stream, start, end, range(len(items)), items, places)

    def _made(
        self,
        stream: Stream,
        start: Place,
        end: Place,
        indexes: Sequence[int],
        results: Sequence[bytes],
        places: Sequence[Place],
    ) -> Piece:
        """Return a piece of these results, each with the cursor of the place after it."""
        tails = [
            b'"result":%b,"cursor":"%b"}}' % (result, cursor_of(self._chain_id, stream.topic, place).encode())
            for result, place in zip(results, places, strict=True)
        ]
        return Piece(stream, start, end, indexes, tails)

    # --- the topics

    def _block(self, height: int) -> list[bytes]:
        block = self._reads.block(height)
        assert block is not None, "only committed blocks are announced"
        # As of itself: what is said of a block must not depend on when it is said.
        return [encode(block_result(block, Tip(Height(height), block.hash, block.log_index + 1)))]

    def _events(self, stream: Stream, start: Place) -> Piece:
        header = self._reads.header(start.height)
        assert header is not None, "only committed blocks are announced"
        count = header.event_count
        end = min(start.nth + EVENTS_A_PIECE, count)
        events = self._events_of(start)
        found = events.fitting(stream)
        indexes = [start.nth + place for place in found]
        places = [
            Place(start.height + 1) if index + 1 == count else Place(start.height, index + 1) for index in indexes
        ]
        following = Place(start.height + 1) if end == count or start.nth >= count else Place(start.height, end)
        return self._made(stream, start, following, indexes, [events.result(place) for place in found], places)

    def _reconciliation(self, stream: Stream, start: Place) -> Piece:
        reader = index_of(self._services).reconciliation
        if start.height < reader.first_changes():
            raise pruned(reader.first_changes(), start)
        changes = reader.changes(start.height)
        piece = changes[start.nth : start.nth + EVENTS_A_PIECE]
        told = [
            (start.nth + place, encode(_standing(change, pair_key, start.height)))
            for place, (change, pair_key) in enumerate(zip(piece, map(reader.pair_key, piece), strict=True))
            if stream.member in (None, *change.parties) and stream.payment in (None, pair_key)
        ]
        return self._changed(stream, start, len(changes), told)

    def _totals(self, stream: Stream, start: Place) -> Piece:
        reader = index_of(self._services).reconciliation
        if start.height < reader.first_changes():
            raise pruned(reader.first_changes(), start)
        changes = reader.totals.changes(start.height)
        told = [
            (start.nth + place, encode(totals_notice(change, start.height)))
            for place, change in enumerate(changes[start.nth : start.nth + EVENTS_A_PIECE])
            if stream.member in (None, *change.parties)
        ]
        return self._changed(stream, start, len(changes), told)

    def _changed(self, stream: Stream, start: Place, count: int, told: Sequence[tuple[int, bytes]]) -> Piece:
        """Return the piece of some of a block's changes, each with its index among all of them."""
        ends = [Place(start.height + 1) if index + 1 == count else Place(start.height, index + 1) for index, _ in told]
        end = Place(start.height, start.nth + EVENTS_A_PIECE)
        following = end if end.nth < count else Place(start.height + 1)
        return self._made(stream, start, following, [index for index, _ in told], [item for _, item in told], ends)

    def _events_of(self, start: Place) -> _Events:
        kept = self._find(None, start)
        if isinstance(kept, _Events):
            return kept
        events = _Events(self._reads.block_events(start.height, start.nth, EVENTS_A_PIECE))
        self._keep(None, start, events)
        return events

    def _evidence(self, height: int) -> list[bytes]:
        if height <= self._reads.base() or height == 0:
            self._reads.block(height)  # NotHere below the base
            return []
        before, after = (recorded_count(StateAt(self._reads, at)) for at in (height - 1, height))
        state = StateAt(self._reads, height)
        return [encode(recorded_evidence(self._services, state, number)) for number in range(before, after)]

    def _deadlines(self, height: int) -> list[bytes]:
        if height == 0:
            return []
        header = self._reads.header(height)
        assert header is not None, "only committed blocks are announced"
        return [encode(_deadline(due, height)) for due in self._dues(height - 1, int(header.time_ms))]

    def _newest(self) -> int:
        """Return the height of the newest block that may be told of."""
        feed, tip = self._services.feed, self._reads.tip()
        return feed.height if feed is not None else 0 if tip is None else int(tip.height)

    def _early(self, stream: Stream, place: Place) -> Piece:
        """Return what is due already while no block comes, from a place on; nothing where that is not agreed upon.

        While nothing happens the validators cosign their newest block each minute: what is due by the earliest of these
        times is due with the next block, whose notifications begin with it. No node tells by its own clock.
        """
        height = place.height - 1
        header, checkpoint = self._reads.header(height), self._reads.checkpoint()
        assert header is not None, "only what follows the newest block is asked for"
        until_ms = 0 if checkpoint is None else proved_until(header, None, checkpoint)
        dues = self._dues(height, until_ms) if until_ms > header.time_ms else []
        indexes = range(place.nth, len(dues))
        items = [encode(_deadline(dues[index], place.height)) for index in indexes]
        end = Place(place.height, max(place.nth, len(dues)))
        return self._made(stream, place, end, indexes, items, [Place(place.height, index + 1) for index in indexes])

    def _dues(self, height: int, until_ms: int) -> list[Due]:
        """Return what is due after the block at a height, by the state after it, up to a time."""
        index = self._services.index
        return dues_after(self._reads, None if index is None else index.ends, height, until_ms)

    def _checkpoints(self, stream: Stream, place: Place) -> Piece:
        """Return the kept checkpoints after one, the oldest first; one that was cosigned again counts as another."""
        kept = self._reads.checkpoints(None, CHECKPOINTS_KEPT)[::-1]
        newer = [view for view in kept if view.size >= place.height and _place_of(view) != place]
        if place.height and len(kept) >= CHECKPOINTS_KEPT and kept[0].size > place.height:
            raise pruned(kept[0].size, place)  # those in between are gone
        places = [_place_of(view) for view in newer]
        results = [encode(CheckpointNotice(self._reads.origin, v.size, v.root.hex(), v.note)) for v in newer]
        end = places[-1] if places else place
        return self._made(stream, place, end, range(len(newer)), results, places)

    def newest_checkpoint(self) -> Place:
        """Return the place after the newest checkpoint."""
        newest = self._reads.checkpoint()
        return Place(0) if newest is None else _place_of(newest)

    # --- what is kept

    def _find(self, stream: Stream | None, start: Place) -> Piece | _Events | None:
        with self._lock:
            found = self._kept.get((stream, start))
            if found is not None:
                self._kept.move_to_end((stream, start))
            return found

    def _keep(self, stream: Stream | None, start: Place, item: Piece | _Events) -> None:
        with self._lock:
            if (stream, start) in self._kept:
                return
            self._kept[stream, start] = item
            self._kept_bytes += _cost(item)
            while self._kept_bytes > CACHE_BYTES_MAX:
                _, old = self._kept.popitem(last=False)
                self._kept_bytes -= _cost(old)


def _cost(item: Piece | _Events) -> int:
    """Return how many bytes something is counted for, the same whenever it is asked."""
    if isinstance(item, Piece):
        return 2 * item.size  # its items, and their frames
    return PIECE_BYTES + sum(8 * len(view.event_bytes) for view in item.views)


def _place_of(view: CheckpointView) -> Place:
    return Place(view.size, int.from_bytes(sha256(view.note.encode()).digest()[:TAG_BYTES], "big"))


def _standing(change: Change, pair_key: str, height: int) -> ReconciliationNotice:
    before, state = (None if each is None else standing_name(each) for each in (change.before, change.state))
    return ReconciliationNotice(pair_key, [member for member in change.parties if member], before, state, height)


def _deadline(due: Due, height: int) -> DeadlineResult:
    return DeadlineResult(due.kind.value, due.subject, due.member, time_text(due.time_ms), height)
