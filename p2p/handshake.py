"""What two nodes say to each other right after TLS, and the control messages of a link.

Here: HELLO with its checks, and the kinds that this layer keeps for itself. Not here: TLS identity (tls), when to send
what (connection).
"""

from __future__ import annotations

from p2p.config import KIND_CONTROL_MIN
from p2p.frames import encode_frame
from p2p.reasons import REMOTE, PeerRefused, Reason
from primitives.encoding import Record, decode, encode
from primitives.errors import EncodingError

HELLO = KIND_CONTROL_MIN
PING = KIND_CONTROL_MIN + 1
PONG = KIND_CONTROL_MIN + 2
GOODBYE = KIND_CONTROL_MIN + 3

HELLO_BYTES_MAX = 1_024
PING_BYTES = 8
GOODBYE_BYTES_MAX = 64
INSTANCE_BYTES = 8

LIMITS_BEFORE_HELLO = {HELLO: HELLO_BYTES_MAX, GOODBYE: GOODBYE_BYTES_MAX}
LIMITS_AFTER_HELLO = {PING: PING_BYTES, PONG: PING_BYTES, GOODBYE: GOODBYE_BYTES_MAX}


class Hello(Record):
    """The first frame, each way. `instance` is drawn at each start of the process; `status` is the node's own.

    `protocol_oldest` to `protocol` are the versions that the node speaks.
    """

    protocol: int
    protocol_oldest: int
    chain_id: bytes
    name: str
    instance: bytes
    software: str
    status: bytes


def hello_frame(hello: Hello) -> bytes:
    """Return the HELLO frame."""
    return encode_frame(HELLO, encode(hello))


def check_hello(payload: bytes, *, own: Hello, certified_name: str) -> Hello:
    """Return the other side's HELLO; raises PeerRefused where it does not fit ours or its certificate."""
    try:
        hello = decode(Hello, payload, size_max=HELLO_BYTES_MAX)
    except EncodingError as error:
        raise PeerRefused(Reason.BAD_HANDSHAKE, f"HELLO cannot be read: {error}") from None
    if common_protocol(own, hello) is None:
        raise PeerRefused(
            Reason.PROTOCOL_VERSION,
            "protocol version",
            expected=_versions(own),
            got=_versions(hello),
            hint="run releases on both nodes that share a version",
        )
    if hello.chain_id != own.chain_id:
        raise PeerRefused(Reason.WRONG_CHAIN, "chain id", expected=own.chain_id, got=hello.chain_id)
    if hello.name != certified_name:
        raise PeerRefused(Reason.WRONG_NAME, "name in HELLO", expected=certified_name, got=hello.name)
    if len(hello.instance) != INSTANCE_BYTES:
        raise PeerRefused(Reason.BAD_HANDSHAKE, "instance in HELLO", expected=f"{INSTANCE_BYTES} bytes")
    return hello


def common_protocol(own: Hello, other: Hello) -> int | None:
    """Return the newest version that both nodes speak, None where there is none."""
    newest = min(own.protocol, other.protocol)
    return newest if newest >= max(own.protocol_oldest, other.protocol_oldest) else None


def _versions(hello: Hello) -> str:
    return f"{hello.protocol_oldest} to {hello.protocol}"


def goodbye_frame(reason: str) -> bytes:
    """Return a GOODBYE frame, which tells the other side why, as far as a slug can."""
    return encode_frame(GOODBYE, reason.encode("ascii", "replace")[:GOODBYE_BYTES_MAX])


def goodbye_reason(payload: bytes) -> str:
    """Return why the other side closes: one of our own slugs behind `remote_`, so that it cannot invent labels."""
    try:
        return f"{REMOTE}{Reason(payload.decode('ascii'))}"
    except ValueError:
        return Reason.SAID_GOODBYE.value
