"""What a node gives the network and what it gets back: settings, limits with their names, ports, and a peer's figures.

Here: types only. The ports `Handler` and `NetworkMetrics` are this layer's; chainnode implements them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

import msgspec

from p2p.frames import MESSAGE_BYTES_MAX
from p2p.lanes import Lane
from p2p.quotas import Quota
from primitives.errors import UsageError

KIB = 1_024
MIB = 1_024 * KIB

STATUS_BYTES_MAX = 512
SOFTWARE_CHARACTERS_MAX = 64

KIND_CONTROL_MIN = 240
"""Kinds from here to 255 are this layer's own; a handler's kinds are below."""

NAME_PATTERN = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?", re.ASCII)
"""Names of nodes and members: they stand in certificates' URIs, logs and metrics."""

Direction: TypeAlias = Literal["in", "out"]


class KindSpec(msgspec.Struct, frozen=True):
    """One kind of message: its name for logs, its largest payload in bytes, and its lane."""

    name: str
    size_bytes_max: int
    lane: Lane


class PeerAddress(msgspec.Struct, frozen=True):
    """A node of the consortium that is expected; without a host it is known but never dialled."""

    name: str
    member: str
    host: str | None = None
    port: int = 0


class TlsFiles(msgspec.Struct, frozen=True):
    """Where this node's own TLS key and certificate lie, in PEM."""

    key: Path
    certificate: Path


class NetworkLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Every bound of the peer-to-peer layer. Quotas are per peer and lane."""

    handshake_timeout_ms: int = 5_000
    """TCP, TLS and HELLO together."""
    half_open_max: int = 128
    half_open_per_address_max: int = 32
    unlisted_links_max: int = 64
    """Links to nodes that are not listed, such as other members' observers; listed ones always find room."""
    unlisted_links_per_member_max: int = 8
    backoff_first_ms: int = 100
    backoff_longest_ms: int = 10_000
    backoff_reset_ms: int = 5_000
    """A link that lived so long lets the next dial start again at the first back-off."""
    tick_ms: int = 500
    ping_every_ms: int = 5_000
    idle_timeout_ms: int = 15_000
    """No byte from a peer for so long ends the link; three pings fit."""
    write_stall_timeout_ms: int = 60_000
    close_timeout_ms: int = 1_000
    """For flushing and the TLS closing alerts, then the connection is aborted."""
    consensus_queue_bytes_max: int = 16 * MIB
    bulk_queue_bytes_max: int = 64 * MIB
    cork_ms: int = 3
    """How long small messages of the bulk lane may wait for each other on a link that was just written to."""
    cork_bytes: int = 16 * KIB
    """What waits for so many bytes in the bulk lane is written without waiting for more."""
    write_ahead_bytes: int = 256 * KIB
    """Handed to the transport at once: what a vote may have to wait behind on our side."""
    unsent_bytes_max: int = 128 * KIB
    """TCP_NOTSENT_LOWAT: keeps the kernel's send buffer from hiding a slow link from the lanes."""
    read_buffer_bytes: int = 128 * KIB
    ban_first_ms: int = 2_000
    ban_longest_ms: int = 600_000
    ban_forget_ms: int = 600_000
    refusal_logs_per_second: int = 5
    consensus_quota: Quota = Quota(
        bytes_per_second=16 * MIB,
        bytes_burst=32 * MIB,
        messages_per_second=20_000,
        messages_burst=40_000,
        held_back_ms_max=10_000,
    )
    bulk_quota: Quota = Quota(
        bytes_per_second=128 * MIB, bytes_burst=128 * MIB, messages_per_second=20_000, messages_burst=40_000
    )


class NetworkConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One node's place in the network.

    `protocol_oldest` to `protocol` are the versions of the messages inside the frames that this node speaks: two peers
    use the newest that both know, and refuse each other by name where there is none. `status` is
    opaque (epoch, role) and shown to the other side. `member_cas` maps each member to the PEM of its CA certificates.
    """

    name: str
    member: str
    chain_id: bytes
    protocol: int
    protocol_oldest: int
    software: str
    tls: TlsFiles
    member_cas: Mapping[str, str]
    kinds: Mapping[int, KindSpec]
    peers: tuple[PeerAddress, ...] = ()
    status: bytes = b""
    listen_host: str | None = "127.0.0.1"
    """None: do not listen, only dial."""
    listen_port: int = 0
    accept_unlisted: bool = True
    limits: NetworkLimits = NetworkLimits()

    def __post_init__(self) -> None:
        for name in (self.name, self.member, *(peer.name for peer in self.peers)):
            check_name(name)
        check_status(self.status)
        if len(self.software) > SOFTWARE_CHARACTERS_MAX or not self.software.isascii():
            raise UsageError("software version", expected=f"ASCII, <= {SOFTWARE_CHARACTERS_MAX}", got=self.software)
        for kind, spec in self.kinds.items():
            if not 0 <= kind < KIND_CONTROL_MIN:
                raise UsageError(f"kind of {spec.name}", expected=f"0 to {KIND_CONTROL_MIN - 1}", got=kind)
            if not 0 <= spec.size_bytes_max <= MESSAGE_BYTES_MAX:
                raise UsageError(f"size limit of {spec.name}", expected=f"<= {MESSAGE_BYTES_MAX}", got=spec)


def check_name(name: str) -> None:
    """Raise UsageError unless a node's or member's name fits NAME_PATTERN."""
    if NAME_PATTERN.fullmatch(name) is None:
        raise UsageError("name of a node or member", expected=f"to match {NAME_PATTERN.pattern}", got=name)


def check_status(status: bytes) -> None:
    """Raise UsageError where a node's status is too large for HELLO."""
    if len(status) > STATUS_BYTES_MAX:
        raise UsageError("status for HELLO", expected=f"<= {STATUS_BYTES_MAX} bytes", got=len(status))


class PeerInfo(msgspec.Struct, frozen=True):
    """A linked peer's figures since its connection was made; `drops` counts messages that found its queues full.

    `protocol` is the version of messages that this link uses.
    """

    name: str
    member: str
    direction: Direction
    address: str
    since_ms: int
    bytes_in: int
    bytes_out: int
    messages_in: int
    messages_out: int
    queue_bytes: int
    rtt_ms: float | None
    drops: int
    protocol: int
    software: str
    status: bytes
    certificate_ends_ms: int = 0


class Handler(Protocol):
    """What the network tells its owner, always on the event loop and in each peer's order."""

    def on_message(self, peer: str, kind: int, payload: bytes) -> None:
        """Take one message; raise InputError to disconnect the peer and hold it against it. Must not block."""

    def on_connected(self, peer: str) -> None:
        """A link to this peer is up; messages can be sent."""

    def on_disconnected(self, peer: str, reason: str) -> None:
        """The link is gone, with everything that was queued for it."""


class NetworkMetrics(Protocol):
    """Counters that are bumped on rare happenings; steady figures are read from `PeerNetwork.peers()`."""

    def peer_disconnected(self, peer: str, reason: str) -> None:
        """An established link ended."""

    def connection_refused(self, reason: str) -> None:
        """A connection did not become a link."""

    def peer_banned(self, peer: str, duration_ms: int) -> None:
        """A peer is shut out for a time."""

    def peer_held_back(self, peer: str, duration_ms: int) -> None:
        """Reading from a peer was paused: it is over its quota."""

    def message_dropped(self, peer: str, lane: Lane) -> None:
        """A queue was full, and a message for this peer was dropped."""


class NoMetrics:
    """Counts nothing."""

    def peer_disconnected(self, peer: str, reason: str) -> None:
        """See NetworkMetrics."""

    def connection_refused(self, reason: str) -> None:
        """See NetworkMetrics."""

    def peer_banned(self, peer: str, duration_ms: int) -> None:
        """See NetworkMetrics."""

    def peer_held_back(self, peer: str, duration_ms: int) -> None:
        """See NetworkMetrics."""

    def message_dropped(self, peer: str, lane: Lane) -> None:
        """See NetworkMetrics."""
