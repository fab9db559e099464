"""Why a link ended or never began: one closed list of slugs for logs, metrics, tests and GOODBYE frames.

Here: the slugs that this layer gives, and which of them are held against the peer. Not here: slugs of a handler's own
`InputError` classes, which pass through unchanged (their number is bounded by the code, so metrics stay small).
"""

from __future__ import annotations

from enum import StrEnum

from primitives.errors import InputError


class Reason(StrEnum):
    """A stable slug; the comment says what happened."""

    # Before TLS is up
    TOO_MANY_HALF_OPEN = "too_many_half_open"  # handshakes under way, in all or from this address, at the limit
    HANDSHAKE_TIMEOUT = "handshake_timeout"  # TLS or HELLO not finished in time
    NOT_TLS = "not_tls"  # the first bytes are not a TLS handshake
    TLS_VERSION = "tls_version"  # something older than TLS 1.3
    TLS_FAILED = "tls_failed"  # any other failure of the TLS handshake
    CERTIFICATE_MISSING = "certificate_missing"  # the other side showed no certificate
    CERTIFICATE_UNKNOWN_CA = "certificate_unknown_ca"  # no member's CA issued it
    CERTIFICATE_EXPIRED = "certificate_expired"
    CERTIFICATE_NOT_YET_VALID = "certificate_not_yet_valid"
    CERTIFICATE_INVALID = "certificate_invalid"  # it chains to a member's CA but is not a node's certificate
    CERTIFICATE_WRONG_MEMBER = "certificate_wrong_member"  # one member's CA names a node of another member
    CERTIFICATE_WRONG_CHAIN = "certificate_wrong_chain"  # it names another chain
    CERTIFICATE_REFUSED = "certificate_refused"  # the other side did not accept ours: it closed where HELLO was due
    # HELLO
    BAD_HANDSHAKE = "bad_handshake"  # the preamble or the HELLO frame is not what it must be
    PROTOCOL_VERSION = "protocol_version"  # another version of frames or messages
    WRONG_CHAIN = "wrong_chain"  # HELLO names another chain
    WRONG_NAME = "wrong_name"  # HELLO or certificate does not bear the expected name
    NAME_TAKEN = "name_taken"  # this name belongs to another member's node
    SELF = "self"  # we reached ourselves
    BANNED = "banned"  # still serving a temporary ban
    TOO_MANY_LINKS = "too_many_links"  # unlisted peers at the limit, in all or of this member
    DUPLICATE = "duplicate"  # another connection between the same two nodes stays
    # Established links
    FRAME_TOO_LARGE = "frame_too_large"
    UNKNOWN_KIND = "unknown_kind"
    BAD_FRAGMENT = "bad_fragment"
    BAD_CONTROL = "bad_control"  # a malformed PING, PONG or GOODBYE, or a second HELLO
    TRUNCATED = "truncated"  # the stream ended inside a frame; a crash looks the same, so nobody is blamed
    FLOOD = "flood"  # held back by its quota for too long
    IDLE = "idle"  # nothing heard for the idle time-out
    SLOW_READER = "slow_reader"  # our writes made no progress for too long
    REPLACED = "replaced"  # the peer restarted and came back before we noticed
    CONNECTION_LOST = "connection_lost"  # reset, unreachable or closed without a word
    MEMBER_REMOVED = "member_removed"  # the certificate is no longer acceptable under the current members' CAs
    SHUTDOWN = "shutdown"
    SAID_GOODBYE = "said_goodbye"  # the other side closed, naming a reason that we do not know
    DIAL_FAILED = "dial_failed"  # no TCP connection


REMOTE = "remote_"
"""Stands before a slug that the other side gave in its GOODBYE."""

REMOTE_DUPLICATE = f"{REMOTE}{Reason.DUPLICATE}"

# A peer can only be blamed for these once its certificate has said who it is; a ban is by name, never by address,
# because banks share addresses behind NAT and an attacker could have an honest bank banned.
HELD_AGAINST = frozenset(
    {
        Reason.BAD_HANDSHAKE,
        Reason.WRONG_NAME,
        Reason.FRAME_TOO_LARGE,
        Reason.UNKNOWN_KIND,
        Reason.BAD_FRAGMENT,
        Reason.BAD_CONTROL,
        Reason.FLOOD,
    }
)


class PeerRefused(InputError):
    """A connection is not acceptable; `why` is the slug of the rule that refused it."""

    reason = "peer_refused"

    def __init__(
        self, why: str, what: str, *, expected: object = None, got: object = None, hint: str | None = None
    ) -> None:
        super().__init__(what, expected=expected, got=got, hint=hint)
        self.why = why


def slug_of(error: InputError) -> str:
    """Return the slug under which an error is logged and counted."""
    return str(error.why) if isinstance(error, PeerRefused) else error.reason


def is_held_against(slug: str) -> bool:
    """Say whether a peer is banned for this: our own list decides, and whatever a handler's InputError names is."""
    return slug in HELD_AGAINST or not (slug in _OWN_SLUGS or slug.startswith(REMOTE))


_OWN_SLUGS = frozenset(reason.value for reason in Reason)
