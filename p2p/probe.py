"""Asks one address who is there, and whether it would let this node in, without becoming a link.

Here: one blocking exchange, for an operator who sets a node up. Not here: links (peers), who may link (members, tls).

A node says HELLO as soon as it has judged our certificate, and takes only a connection whose HELLO it has read for a
link. So its HELLO is awaited, and GOODBYE said: nothing is pushed to us, and no link of ours is disturbed. Nothing is
sent before: who closes on us could otherwise answer with a reset, and its reason be lost.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from dataclasses import dataclass
from typing import Final

from p2p.config import TlsFiles
from p2p.frames import PREAMBLE, FrameDecoder
from p2p.handshake import GOODBYE, HELLO, LIMITS_BEFORE_HELLO, Hello, check_hello, goodbye_frame, goodbye_reason
from p2p.reasons import PeerRefused, Reason, slug_of
from p2p.tls import PeerIdentity, TrustAnchors, make_context, reason_of_failure
from primitives.errors import InputError

PROBE_TIMEOUT_MS: Final = 5_000
"""For one address: TCP, TLS and HELLO together."""
READ_BYTES: Final = 4_096


@dataclass(frozen=True, slots=True)
class Answer:
    """Who answered, as its certificate proves, and the release that it runs."""

    identity: PeerIdentity
    software: str


def probe(
    host: str,
    port: int,
    *,
    files: TlsFiles,
    anchors: TrustAnchors,
    own: Hello,
    expects: str | None,
    now_ms: int,
    timeout_ms: int = PROBE_TIMEOUT_MS,
) -> Answer:
    """Return who answers at an address and would link with us; `expects` is its name where that is known.

    Raises PeerRefused with the reason, by either side, and UsageError where our own key or certificate cannot be used.
    """
    context = make_context(files, anchors, server_side=False)
    end = time.monotonic() + timeout_ms / 1_000
    try:
        with socket.create_connection((host, port), timeout_ms / 1_000) as plain:
            plain.settimeout(_left_s(end))
            with context.wrap_socket(plain) as stream:
                identity = anchors.identify(stream.getpeercert(binary_form=True), now_ms)
                _check_name(identity, own.name, expects)
                hello = check_hello(_await_hello(stream, end), own=own, certified_name=identity.name)
                with contextlib.suppress(OSError):
                    stream.sendall(PREAMBLE + goodbye_frame(Reason.SHUTDOWN))
                return Answer(identity, hello.software)
    except PeerRefused:
        raise
    except InputError as error:  # what came is no stream of ours
        raise PeerRefused(slug_of(error), error.what, expected=error.expected, got=error.got) from None
    except OSError as error:  # ssl.SSLError and TimeoutError are OSErrors
        reason = reason_of_failure(error)
        if not isinstance(error, ssl.SSLError | TimeoutError):
            reason = Reason.DIAL_FAILED if isinstance(error, ConnectionRefusedError | socket.gaierror) else reason
        raise PeerRefused(reason, "no link", got=error.strerror or error) from None


def _left_s(end: float) -> float:
    """Return what is left of the time in seconds; raises TimeoutError where nothing is."""
    left_s = end - time.monotonic()
    if left_s <= 0:
        raise TimeoutError("time is over")
    return left_s


def _check_name(identity: PeerIdentity, own_name: str, expects: str | None) -> None:
    if identity.name == own_name:
        raise PeerRefused(Reason.SELF, "this node's own name", got=identity.name)
    if expects is not None and identity.name != expects:
        raise PeerRefused(Reason.WRONG_NAME, "dialled node", expected=expects, got=identity.name)


def _await_hello(stream: ssl.SSLSocket, end: float) -> bytes:
    """Return the payload of the other side's HELLO; raises PeerRefused with the reason of its GOODBYE."""
    decoder = FrameDecoder(LIMITS_BEFORE_HELLO)
    while True:
        stream.settimeout(_left_s(end))
        try:
            data = stream.recv(READ_BYTES)
        except (ConnectionError, ssl.SSLEOFError):
            data = b""
        if not data:
            # TLS 1.3 is done here before the other side has judged our certificate, and its alert is seldom sent.
            raise PeerRefused(Reason.CERTIFICATE_REFUSED, "it closed where its HELLO was due")
        for kind, payload in decoder.feed(data):
            if kind == HELLO:
                return payload
            if kind == GOODBYE:
                raise PeerRefused(goodbye_reason(payload), "it says goodbye")
