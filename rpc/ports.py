"""What rpc needs of the node, and nothing more: the ports that the node implements.

Here: protocols and the frozen values that cross them, in the ledger's own terms (bytes, milliseconds); how they look in
JSON is `rpc.types`. Every port is called on the node's event loop, except `LedgerReads`, which must also bear being
called from a few threads while the node writes. A port refuses by raising `rpc.errors.RpcError` or an error of the
drawn tree in `primitives.errors`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

import msgspec

from ledger.genesis import Genesis
from ledger.outcomes import Outcome
from ledger.reader import (
    BlockView,
    CheckpointView,
    ConsistencyView,
    EventView,
    InclusionView,
    Position,
    StateValue,
    Tip,
)
from primitives.ids import EventId, Hash, Height, SourceKey, TimeMs

WAIT_TIMEOUT_MS = 30_000


class SubmitStatus(StrEnum):
    """Where an event stands, as interfaces.md words it."""

    UNKNOWN = "Unknown"
    PENDING = "Pending"
    COMMITTED = "Committed"
    REFUSED = "Refused"


class Wait(StrEnum):
    """What a submission waits for: its block, the gateway's synced outbox, or nothing."""

    COMMITTED = "committed"
    ACCEPTED = "accepted"
    NONE = "none"


class Refusal(msgspec.Struct, frozen=True):
    """Why the door refused an event: a slug, a line for a person, and whether the same event may pass later."""

    reason: str
    message: str
    retryable: bool = False


class SubmitResult(msgspec.Struct, frozen=True):
    """Where one event stands. `outcome`, `height` and `index` (0-based in its block) come with Committed, `refusal`
    with Refused."""

    event_id: EventId
    status: SubmitStatus
    outcome: Outcome | None = None
    height: Height | None = None
    index: int | None = None
    refusal: Refusal | None = None


class NewEvent(msgspec.Struct, frozen=True):
    """An event that a client asks the node to sign as its member's gateway.

    `body` is the canonical bytes of the record that (kind, schema) names. The gateway fills in a random `reference` and
    the longest expiry that the policy allows where they are None; a client that retries sends both, since the event's
    id, by which a submission is idempotent, covers them.
    """

    kind: int
    schema: int
    body: bytes
    reference: bytes | None = None
    expires_ms: TimeMs | None = None


class SourcePosition(msgspec.Struct, frozen=True):
    """Where a registered source stands in the committed chain; `previous` is the zero hash before its first batch."""

    member: str
    next_number: int
    previous: Hash


class Gateway(Protocol):
    """Takes events and batches in, and knows what became of them."""

    async def submit(self, events: Sequence[NewEvent], wait: Wait, timeout_ms: int) -> list[SubmitResult]:
        """Sign and offer events; return where each stands, in order, when all are as far as `wait` says.

        After `timeout_ms` it returns the present status instead. Events that the door refuses come back as Refused,
        the others go on; -32002 where nothing can be taken at present, -32005 where too many are waiting.
        """
        ...

    async def submit_batch(self, batch: bytes, wait: Wait, timeout_ms: int) -> list[SubmitResult]:
        """Offer a batch that its source has signed; as `submit`, but a bad batch raises and none of it is taken."""
        ...

    def status(self, event_id: EventId) -> SubmitResult:
        """Return where an event stands that the ledger does not hold: Pending, Refused or Unknown."""
        ...

    def source_position(self, source: SourceKey) -> SourcePosition | None:
        """Return where a source stands in the committed chain; None for a key that is not registered."""
        ...


class NodeStatus(msgspec.Struct, frozen=True):
    """What `net_status` tells of this node."""

    chain_id: str
    node: str
    member: str
    role: str
    height: int
    epoch: int
    view: int
    leader: str
    peers: int
    catching_up: bool
    version: str
    log_size: int = 0
    checkpoint_size: int = 0


class PeerStatus(msgspec.Struct, frozen=True):
    """A peer as this node sees it; `height` is the last that it told of."""

    name: str
    member: str
    address: str
    connected: bool
    height: int | None = None
    last_seen_ms: int | None = None


class Check(msgspec.Struct, frozen=True):
    """One condition of readiness."""

    name: str
    ok: bool
    detail: str = ""


class Version(msgspec.Struct, frozen=True):
    """What runs."""

    version: str
    protocol: int
    store_format: str
    python: str


class NodeView(Protocol):
    """The node's view of itself and its peers, as of now."""

    def status(self) -> NodeStatus:
        """Return the node's position and role."""
        ...

    def peers(self) -> Sequence[PeerStatus]:
        """Return the peers that the node knows, by name."""
        ...

    def ready(self) -> tuple[bool, Sequence[Check]]:
        """Return whether the node can serve and, if a validator, vote; and the checks that say so."""
        ...

    def version(self) -> Version:
        """Return what runs."""
        ...


class LedgerReads(Protocol):
    """The committed ledger: `ledger.reader.LedgerReader`, whose docstrings hold."""

    chain_id: Hash
    origin: str
    genesis: Genesis

    def tip(self) -> Tip | None: ...

    def block(self, height: int) -> BlockView | None: ...

    def block_by_hash(self, block_hash: bytes) -> BlockView | None: ...

    def blocks(self, start: int, count: int, *, descending: bool = False) -> list[BlockView]: ...

    def block_events(self, height: int, start: int = 0, count: int | None = None) -> list[EventView]: ...

    def height_at_time(self, time_ms: int) -> Height | None: ...

    def position(self, event_id: bytes) -> Position | None: ...

    def event(self, event_id: bytes) -> EventView | None: ...

    def outcome(self, height: int, index: int) -> Outcome: ...

    def log_size(self) -> int: ...

    def inclusion(self, log_index: int, size: int) -> InclusionView: ...

    def consistency(self, old_size: int, new_size: int) -> ConsistencyView: ...

    def tile(self, level: int, index: int, width: int = 256) -> bytes | None: ...

    def entry_bundle(self, index: int, width: int = 256) -> bytes | None: ...

    def checkpoint(self, size_min: int = 0) -> CheckpointView | None: ...

    def checkpoint_at(self, size: int) -> CheckpointView | None: ...

    def state_value(self, key: bytes | str, height: int | None = None) -> StateValue | None: ...


class CallObserver(Protocol):
    """Counts calls, for metrics."""

    def called(self, method: str, code: int, seconds: float) -> None:
        """Count one call: `method` is a name of the API or `unknown`, `code` 0 or the error's."""
        ...


@dataclass(frozen=True, slots=True)
class Services:
    """All that methods use. `now_ms` is the node's clock; `wait_timeout_ms` bounds what a submission waits for."""

    reads: LedgerReads
    gateway: Gateway
    node: NodeView
    now_ms: Callable[[], TimeMs]
    wait_timeout_ms: int = field(default=WAIT_TIMEOUT_MS)
