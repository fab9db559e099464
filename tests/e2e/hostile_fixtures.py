"""A hostile peer: bytes by hand over TCP or TLS, with whatever certificate a test gives it."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from pathlib import Path

from cryptography import x509

from p2p.certificates import (
    PrivateKey,
    certificate_pem,
    issue_node_certificate,
    load_private_key,
    make_member_ca,
    private_key_pem,
)
from p2p.frames import MESSAGE_BYTES_MAX, PREAMBLE, FrameDecoder, FrameError, encode_frame
from p2p.handshake import GOODBYE, Hello, hello_frame
from primitives.hashing import PROTOCOL_VERSION
from tests.e2e.network_fixtures import Network

TIMEOUT_S = 30.0


def port_of(net: Network, name: str) -> int:
    return int(net.node(name).p2p.rpartition(":")[2])


class Credentials:
    """Certificates that bank-d's CA, or a CA of nobody, issues to whatever name."""

    def __init__(self, net: Network, directory: Path) -> None:
        self._net, self._directory = net, directory
        home = net.home("bank-d")
        self._ca_key = load_private_key(home.ca_key.read_bytes())
        self._ca = x509.load_pem_x509_certificate(home.ca_certificate.read_bytes())

    def own(self) -> tuple[Path, Path]:
        """Return bank-d's real certificate and key."""
        home = self._net.home("bank-d")
        return home.tls_certificate, home.tls_key

    def issue(self, name: str, *, member: str = "bank-d", foreign: bool = False) -> tuple[Path, Path]:
        """Return a new certificate and its key."""
        now_ms = time.time_ns() // 1_000_000
        key: PrivateKey = self._ca_key
        authority = self._ca
        if foreign:
            key, authority = make_member_ca(member, now_ms)
        node_key, certificate = issue_node_certificate(
            key,
            authority,
            node_name=name,
            member=member,
            chain_id=self._net.genesis.chain_id,
            hosts=["127.0.0.1"],
            now_ms=now_ms,
        )
        paths = self._directory / f"{name}.crt", self._directory / f"{name}.key"
        paths[0].write_text(certificate_pem(certificate))
        paths[1].write_bytes(private_key_pem(node_key))
        return paths


class Hostile:
    """One connection to a node's peer port."""

    def __init__(self, port: int, files: tuple[Path, Path] | None) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
        if files is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            context.load_cert_chain(*files)
            self.socket = context.wrap_socket(self.socket)

    def write(self, data: bytes) -> None:
        """Send; a node that has hung up already is no failure of the test."""
        with contextlib.suppress(OSError):
            self.socket.sendall(data)

    def hello(self, net: Network, name: str, chain_id: bytes | None = None) -> None:
        """Send preamble and HELLO."""
        own = net.genesis.chain_id if chain_id is None else chain_id
        self.write(
            PREAMBLE + hello_frame(Hello(PROTOCOL_VERSION, PROTOCOL_VERSION, own, name, b"instance", "hostile", b""))
        )

    def send(self, kind: int, payload: bytes) -> None:
        self.write(encode_frame(kind, payload))

    def messages(self, seconds: float = TIMEOUT_S, *, count: int | None = None) -> list[tuple[int, bytes]]:
        """Return what the node sends in this time, or until it hangs up or has sent `count`."""
        decoder = FrameDecoder(dict.fromkeys(range(256), MESSAGE_BYTES_MAX))
        found: list[tuple[int, bytes]] = []
        end = time.monotonic() + seconds
        with contextlib.suppress(OSError, FrameError):
            while (left := end - time.monotonic()) > 0 and (count is None or len(found) < count):
                self.socket.settimeout(left)
                data = self.socket.recv(65_536)
                if not data:
                    break
                found += decoder.feed(data)
        return found

    def goodbye(self) -> str | None:
        """Return the reason that the node gives as it hangs up; fails if it does not."""
        started = time.monotonic()
        found = self.messages()
        assert time.monotonic() - started < TIMEOUT_S - 0.1, "the node did not hang up"
        self.close()
        return next((payload.decode() for kind, payload in found if kind == GOODBYE), None)

    def close(self) -> None:
        self.socket.close()
