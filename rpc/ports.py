"""What rpc needs of the node, and nothing more: the ports that the node implements.

Here: protocols and the frozen values that cross them, in the ledger's own terms (bytes, milliseconds); how they look in
JSON is `rpc.types`. Every port is called on the node's event loop, except `LedgerReads`, which must also bear being
called from a few threads while the node writes. A port refuses by raising `rpc.errors.RpcError` or an error of the
drawn tree in `primitives.errors`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

from ledger.certificate_index import Facet, Numbers
from ledger.deadline_index import EndsReader
from ledger.mark_index import MisuseFacet
from ledger.outcomes import Outcome
from ledger.reader import LedgerReader
from ledger.reconciliation_reading import ReconciliationReader
from ledger.views import Position
from primitives.ids import EventId, Hash, Height, SourceKey, TimeMs
from rpc.feed import Feed
from rpc.rights import Rights, Role

if TYPE_CHECKING:
    from rpc.subscriptions import MessageSubscriber

WAIT_TIMEOUT_MS = 30_000


class SubmitStatus(StrEnum):
    """Where an event stands, as docs/api.md words it."""

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


class SubmitResult(msgspec.Struct, frozen=True, gc=False):
    """Where one event stands. `outcome`, `height` and `index` (0-based in its block) come with Committed, `refusal`
    with Refused."""

    event_id: EventId
    status: SubmitStatus
    outcome: Outcome | None = None
    height: Height | None = None
    index: int | None = None
    refusal: Refusal | None = None


class NewEvent(msgspec.Struct, frozen=True, gc=False):
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


MESSAGE_FORMATS = ("auto", "jsonl", "csv", "iso20022", "iso8583", "emvqr")


class AskedMessage(msgspec.Struct, frozen=True):
    """A bank's message in its own format, as it came: `payload` is text, or base64 where `encoding` says so."""

    payload: str
    encoding: Literal["text", "base64"] = "text"
    format: str = "auto"
    skip_bad: bool = False
    clear_amounts: bool = False

    def __repr__(self) -> str:
        return f"AskedMessage({self.format!r}, {len(self.payload)} characters)"


class MessageEvent(msgspec.Struct, frozen=True):
    """A payment of a message: its place in it, the side from which this node's member states it, and the event.

    `differs` names the fields in which it would be stated otherwise now than it was first: the first counts.
    """

    where: str
    side: str
    event: NewEvent
    differs: list[str]


class RefusedPart(msgspec.Struct, frozen=True):
    """A part of a message that was left out, and why."""

    where: str
    reason: str
    message: str


class ReadMessage(msgspec.Struct, frozen=True):
    """What a message gave; what is private of it is kept already. `refused` names the first of `refused_count`."""

    format: str
    events: list[MessageEvent]
    refused: list[RefusedPart]
    refused_count: int


class MessageReads(Protocol):
    """Reads messages of this node's member, in a process that has no signing key."""

    async def read(self, asked: AskedMessage) -> ReadMessage:
        """Return the events of a message; raises RpcError for a bad one, a full queue, or where none can be read."""
        ...


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

    def check_room(self, events: int = 1) -> None:
        """Raise -32005 where so many events more would be refused; costs microseconds."""
        ...

    def expecting(self, size: int) -> AbstractContextManager[None]:
        """Raise as `check_room`; else count the bytes of a submission among those that wait while its body is read."""
        ...

    def status(self, event_id: EventId) -> SubmitResult:
        """Return where an event stands that the ledger does not hold: Pending, Refused or Unknown."""
        ...

    def source_position(self, source: SourceKey) -> SourcePosition | None:
        """Return where a source stands in the committed chain; None for a key that is not registered."""
        ...


class NodeStatus(msgspec.Struct, frozen=True):
    """What `net_status` tells of this node; `warnings` says what its operator has to mend, such as a wrong key file.

    `base_height` is where the history that it holds begins: 0, or the block of the snapshot that it joined from.
    `archived_height` is the height up to which the bodies of batches were moved to its archive. `behind_blocks` is how
    many blocks others have that it lacks, and `proved_until` the last time at which it can prove how the chain stood.
    """

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
    base_height: int = 0
    archived_height: int = 0
    warnings: list[str] = []
    behind_blocks: int = 0
    proved_until: str = ""


class PeerStatus(msgspec.Struct, frozen=True):
    """A peer as this node sees it; `height` is the last that it told of, and `votes` whether it has a vote."""

    name: str
    member: str
    address: str
    connected: bool
    height: int | None = None
    last_seen_ms: int | None = None
    software: str | None = None
    protocol: int | None = None
    votes: bool | None = None


class Ending(msgspec.Struct, frozen=True):
    """Something that ends at a time; `kind` and `where` as `net_expiry` tells them, `name` a node, member or number."""

    kind: str
    name: str
    member: str
    ends_ms: int
    where: str


class ArchivedSegment(msgspec.Struct, frozen=True):
    """Bodies that were moved to one segment of the archive, when and by whom; `segment` is its SHA-256 in hex."""

    first_height: int
    last_height: int
    segment: str
    batches: int
    events: int
    body_bytes: int
    segment_bytes: int
    time_ms: int
    by: str


class ArchiveStatus(msgspec.Struct, frozen=True):
    """What was moved to the archive, and where moving stands.

    `archived_height` is the height up to which bodies were moved, `missing_height` the highest of these that no archive
    here holds (0: none is missing), `minimum_index` the log's as C2SP tlog-tiles has it, `floor_height` the height up
    to which bodies may be moved now. `report` is of the last pass, with what the store took on the disk before and
    after; `segments` are the newest, newest first.
    """

    archived_height: int
    missing_height: int
    minimum_index: int
    floor_height: int
    running: bool
    doing: str
    height: int
    upto: int
    problem: str
    report: dict[str, float] | None
    segments: list[ArchivedSegment]
    as_of: int


class ArchiveControl(Protocol):
    """Moves old bodies to the archive, and knows what was moved."""

    @property
    def archived_height(self) -> int:
        """The height up to which bodies were moved."""
        ...

    @property
    def minimum_index(self) -> int:
        """The index of the log below which entries may not be served."""
        ...

    def start(self, height: int | None, older_than_days: int | None) -> int:
        """Begin to move bodies and return the height up to which; UsageError where that may not be."""
        ...

    def status(self) -> ArchiveStatus:
        """Return where moving stands, and the newest of what was moved."""
        ...


class SnapshotStatus(msgspec.Struct, frozen=True):
    """Where the making of a snapshot stands: `state` is none, making, ready or failed.

    `percent` is how much of it is made. Of one that is ready: its file's name and size in the node's home, and its id,
    which stands for its every byte. `message` says why one failed.
    """

    state: str
    height: int
    percent: int
    name: str
    size_bytes: int
    id: str
    message: str


class SnapshotMaker(Protocol):
    """Makes snapshots of the ledger in the node's home, one at a time, and keeps the newest."""

    def create(self) -> SnapshotStatus:
        """Begin to make one, unless one is being made; UsageError where there is no checkpoint yet."""
        ...

    def status(self) -> SnapshotStatus:
        """Return where the last one stands."""
        ...

    def read(self, name: str, offset: int, size: int) -> bytes:
        """Return bytes of the newest snapshot, which must be named so; UsageError where it is another by now."""
        ...


class TokenRow(msgspec.Struct, frozen=True):
    """A token that is known: `state` is valid, expired or revoked; times in ms since 1970, 0 for never."""

    name: str
    role: str
    member: str
    state: str
    created_ms: int
    expires_ms: int
    used_ms: int


class NewToken(msgspec.Struct, frozen=True):
    """A token that was just made, with the secret that nobody can read again."""

    token: str
    row: TokenRow

    def __repr__(self) -> str:
        return f"NewToken({self.row!r})"


class TokenControl(Protocol):
    """The node's tokens with roles. A name that is taken, or unknown, is a `UsageError`."""

    def find(self, digest: bytes) -> Rights | None:
        """Return the rights of the token with this SHA-256, also those that have ended; None for an unknown one."""
        ...

    def create(self, name: str, role: Role, *, member: str, valid_ms: int | None) -> NewToken:
        """Make a token, valid until it is revoked where no time is given."""
        ...

    def list(self) -> Sequence[TokenRow]:
        """Return all, the oldest first."""
        ...

    def revoke(self, name: str) -> TokenRow:
        """End one for good, at once."""
        ...


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

    def endings(self) -> Sequence[Ending]:
        """Return when the TLS certificates that this node sees, and the members' root CAs, end."""
        ...


LedgerReads = LedgerReader
"""The committed ledger. It reads the store only, and so may be used from a few threads while the node writes."""


class IndexReads(Protocol):
    """The indexes that follow the log (`ledger` keeps what they point to). Positions come in the order of the log."""

    @property
    def ends(self) -> EndsReader:
        """What falls due, by its time, with a height of its own."""
        ...

    @property
    def reconciliation(self) -> ReconciliationReader:
        """How payments stand, with a height of its own, which may lie behind."""
        ...

    def height(self) -> Height:
        """Return the height that the indexes have reached: what `as_of` says of their answers."""
        ...

    def certificates(self, *, holder: str | None, after: str | None, count: int, descending: bool) -> Sequence[str]:
        """Return up to `count` numbers of certificates in their order, those after `after`."""
        ...

    def certificates_since(self, height: int, time_ms: int) -> tuple[int, int]:
        """Return since which block and which time all certificates are what they are at a height and a time."""
        ...

    def numbers(self, holder: str | None, numbers: Numbers) -> Iterator[str]:
        """Yield the numbers of granted certificates, of one holder or of all, in their order."""
        ...

    def numbers_by_facet(self, facet: Facet, values: Sequence[str], numbers: Numbers) -> Iterator[str]:
        """Yield, in order, the numbers of the certificates that have, or ever had, any of these values of a facet."""
        ...

    def numbers_by_text(self, text: str, numbers: Numbers) -> Sequence[str]:
        """Return, in order, the numbers of the certificates in whose names this folded text stands; some in vain."""
        ...

    def certificate_events(
        self, number: str, *, count: int, after: tuple[int, int] | None = None, descending: bool = False
    ) -> Sequence[Position]:
        """Return up to `count` events of a certificate and of the application that led to it, those after a place.

        A place is height and index in the block.
        """
        ...

    def mark_events(
        self, number: str, *, count: int, after: tuple[int, int] | None = None, descending: bool = False
    ) -> Sequence[Position]:
        """Return up to `count` events about the mark of a certificate, those after a place."""
        ...

    def misuse_reports(self, facet: MisuseFacet, value: str, after: int | None, *, descending: bool) -> Iterator[int]:
        """Yield, in order, the numbers of the reports of misuse that have, or ever had, this value of a facet."""
        ...

    def payment(
        self, key: bytes, *, count: int, after: tuple[int, int] | None = None, descending: bool = False
    ) -> Sequence[Position]:
        """Return up to `count` statements of the payment with this pair key (32 bytes) or UETR (16), after a place."""
        ...

    def payments(self, *, member: str | None, after: int | None, count: int, descending: bool) -> Sequence[Position]:
        """Return up to `count` payment statements, those after log index `after`, of one member or of all."""
        ...

    def terminal_payments(
        self, number: str, *, after: tuple[int, int] | None = None, descending: bool = False
    ) -> Iterator[tuple[int, Sequence[int]]]:
        """Yield the blocks in which statements name a terminal's certificate, with their indexes, after a place."""
        ...

    def event_ids(self, digits: str, count: int) -> Sequence[EventId]:
        """Return up to `count` ids of events that begin with these lower-case hex digits, 4 or more of them."""
        ...


class CommitMinute(msgspec.Struct, frozen=True):
    """A minute from `start_ms` on: the batches that came in here and were committed in it, and how long that took.

    `median_ms` and `late_ms`, the 95th percentile, are from a batch's arrival here to its commit.
    """

    start_ms: int
    batches: int
    median_ms: float
    late_ms: float


class Activity(msgspec.Struct, frozen=True):
    """What this process counted since it started at `since_ms`.

    `commit_ms` are the median and the 95th percentile of the time from a batch's submission here to its commit, None
    where none was submitted, and `minutes` the same of the last minutes in which any was. `evidence_seen` counts
    contradicting signed pairs, also those not recorded on the chain.
    """

    since_ms: int
    view_changes: int
    evidence_seen: int
    commit_ms: tuple[float, float] | None = None
    batches_submitted: int = 0
    minutes: tuple[CommitMinute, ...] = ()


class CallObserver(Protocol):
    """Counts calls, for metrics."""

    def called(self, method: str, code: int, seconds: float) -> None:
        """Count one call: `method` is a name of the API or `unknown`, `code` 0 or the error's."""
        ...

    def subscribed(self, topic: str, change: int) -> None:
        """Count a subscription that is one more (1) or one less (-1)."""
        ...

    def notified(self, topic: str, count: int) -> None:
        """Count notifications that were handed to a connection."""
        ...

    def subscriber_slow(self) -> None:
        """Count a connection that was closed because its client did not take what it had subscribed to."""
        ...


class Certificates(Protocol):
    """Judges the client certificates that are shown, as the chain is now."""

    def find(self, der: bytes, now_s: float) -> Rights:
        """Return the rights of a certificate, the same object while it counts; -32004 where it does not."""
        ...


class Privileged(msgspec.Struct, frozen=True):
    """A call that only some may make, for the operators' audit log: names and ids, never what was sent.

    `ids` are the first of those that it was about, `count` how many there were; `outcome` is `ok` or the reason of the
    refusal.
    """

    who: str
    role: str
    remote: str
    method: str
    outcome: str
    trace_id: str
    ids: tuple[str, ...] = ()
    count: int = 0


class AuditTrail(Protocol):
    """Keeps what was done by whom."""

    def called(self, call: Privileged) -> None:
        """Note a call; costs microseconds."""
        ...


@dataclass(frozen=True, slots=True)
class Services:
    """All that methods use.

    `now_ms` is the node's clock; `wait_timeout_ms` bounds what a submission waits for; without an `index` the methods
    that list certificates and payments are unavailable, without an `archive` those that move bodies, without
    `snapshots` those that make a snapshot, without `tokens` those about tokens, without a `feed` those that subscribe,
    and without `messages` no message in a bank's own format is taken. `audit` is told of privileged calls. `activity`
    is for the explorer's first page. `here` is, for methods that ask for it, the connection by which they were called:
    None for a POST.
    """

    reads: LedgerReads
    gateway: Gateway
    node: NodeView
    now_ms: Callable[[], TimeMs]
    wait_timeout_ms: int = WAIT_TIMEOUT_MS
    index: IndexReads | None = None
    archive: ArchiveControl | None = None
    snapshots: SnapshotMaker | None = None
    activity: Callable[[], Activity] | None = None
    tokens: TokenControl | None = None
    feed: Feed | None = None
    here: MessageSubscriber | None = None
    audit: AuditTrail | None = None
    certificates: Certificates | None = None
    messages: MessageReads | None = None
