"""Asking the peers that a new home is told of: who is there, and whether they would let its node in.

Here: how an operator writes a peer, what each answered, the words for why one does not link. Not here: the exchange
(`p2p.probe`), making the home (`chainnode.founding`), following (`chainnode.node`).

Nobody is believed: an address is a peer only where a certificate of a member that genesis names says so.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from chainnode.client import Unreachable
from chainnode.config import split_address
from chainnode.home import Home
from chainnode.version import VERSION
from ledger.genesis import Genesis
from p2p.config import NAME_PATTERN, TlsFiles
from p2p.handshake import INSTANCE_BYTES, Hello
from p2p.probe import PROBE_TIMEOUT_MS, probe
from p2p.reasons import REMOTE, PeerRefused, Reason
from p2p.tls import TrustAnchors, usable_cas
from primitives.errors import UsageError
from primitives.hashing import PROTOCOL_OLDEST, PROTOCOL_VERSION

PEERS_MAX: Final = 64
"""Most peers that one call asks, one after another."""

_PEER: Final = re.compile(rf"(?:({NAME_PATTERN.pattern})(?:/({NAME_PATTERN.pattern}))?@)?([^@]+)", re.ASCII)

_NOT_THERE: Final = "nobody answers there"
_UNKNOWN_CA: Final = "it does not know the CA that issued this node's certificate: only nodes of members are let in"
_WORDS: Final = {
    Reason.DIAL_FAILED: _NOT_THERE,
    Reason.CONNECTION_LOST: _NOT_THERE,
    Reason.HANDSHAKE_TIMEOUT: "it does not answer in time",
    Reason.NOT_TLS: "no node answers there: something else does",
    Reason.TLS_VERSION: "no node answers there: it speaks another TLS",
    Reason.CERTIFICATE_UNKNOWN_CA: "it is of another chain, or of a member that joined after this genesis",
    Reason.CERTIFICATE_WRONG_CHAIN: "it is a node of another chain",
    Reason.CERTIFICATE_REFUSED: _UNKNOWN_CA,
    Reason.SELF: "it bears this node's own name: choose another --name",
    Reason.WRONG_NAME: "another node answers there than the one named",
    REMOTE + Reason.CERTIFICATE_UNKNOWN_CA: _UNKNOWN_CA,
    REMOTE + Reason.CERTIFICATE_WRONG_MEMBER: _UNKNOWN_CA,
    REMOTE + Reason.CERTIFICATE_WRONG_CHAIN: "it is a node of another chain",
    REMOTE + Reason.SELF: "it bears this node's own name: choose another --name",
    REMOTE + Reason.NAME_TAKEN: "it knows a node of this name, of another member: choose another --name",
    REMOTE + Reason.TOO_MANY_LINKS: "it is linked to as many nodes without a vote as it takes",
}
"""By slug, for a person."""

NO_MEMBER_HINT: Final = (
    "take a certificate of the CA that the chain knows of the member, with --tls or --ca; who is no member is admitted "
    "first (`chainnode member propose add`), or follows without a node by `chainnode audit mirror` and `audit watch`"
)


class NoPeer(Unreachable):
    """None of the peers that were named lets the new node in."""

    reason = "no_peer"


@dataclass(frozen=True, slots=True)
class PeerText:
    """A peer as an operator writes it: its name and member where they are known."""

    name: str | None
    member: str | None
    host: str
    port: int

    @property
    def address(self) -> str:
        """The address as settings have it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Contact:
    """What asking one peer brought: who it is, as far as that is known, and why it does not link (empty: it does)."""

    address: str
    name: str | None
    member: str | None
    reason: str = ""
    detail: str = ""

    @property
    def setting(self) -> str | None:
        """The peer as `p2p.peers` has it; None while nobody knows who is there."""
        if self.name is None or self.member is None:
            return None
        who = self.name if self.name == self.member else f"{self.name}/{self.member}"
        return f"{who}@{self.address}"

    def sentence(self) -> str:
        """Return the contact for a person."""
        who = f"{self.address} ({self.name})" if self.name else self.address
        if not self.reason:
            return f"{who} of {self.member} lets this node in"
        return f"{who}: {_WORDS.get(self.reason, self.detail)} ({self.reason})"


def peer_of(text: str) -> PeerText:
    """Return a peer that is written as HOST:PORT, NAME@HOST:PORT or NAME/MEMBER@HOST:PORT. Raises `UsageError`."""
    found = _PEER.fullmatch(text)
    if found is None:
        expected = "HOST:PORT, NAME@HOST:PORT or NAME/MEMBER@HOST:PORT"
        raise UsageError("not a peer", where="--peer", expected=expected, got=repr(text))
    name, member, address = found.groups()
    host, port = split_address(address)
    return PeerText(name, member, host, port)


def ask_peers(
    home: Home,
    genesis: Genesis,
    peers: Sequence[PeerText],
    *,
    name: str,
    now_ms: int,
    timeout_ms: int = PROBE_TIMEOUT_MS,
) -> list[Contact]:
    """Ask each peer with the certificate of a home that has joined its chain; return what came of each, in order.

    Raises `UsageError` where the home's own certificate cannot be used, or there are more peers than are asked.
    """
    if len(peers) > PEERS_MAX:
        raise UsageError("too many peers", where="--peer", expected=f"at most {PEERS_MAX}", got=len(peers))
    cas = {member.id: member.ca_certificate for member in genesis.members if member.ca_certificate}
    anchors = TrustAnchors(usable_cas(cas), genesis.chain_id)
    own = Hello(
        protocol=PROTOCOL_VERSION,
        protocol_oldest=PROTOCOL_OLDEST,
        chain_id=genesis.chain_id,
        name=name,
        instance=os.urandom(INSTANCE_BYTES),
        software=f"chainnode/{VERSION}",
        status=b"",
    )
    files = TlsFiles(home.tls_key, home.tls_certificate)

    def ask(peer: PeerText) -> Contact:
        known_name, known_member = _known(peer, genesis)
        try:
            answer = probe(
                peer.host,
                peer.port,
                files=files,
                anchors=anchors,
                own=own,
                expects=peer.name,
                now_ms=now_ms,
                timeout_ms=timeout_ms,
            )
        except PeerRefused as refused:
            return Contact(peer.address, known_name, known_member, str(refused.why), str(refused))
        return Contact(peer.address, answer.identity.name, answer.identity.member)

    return [ask(peer) for peer in peers]


def check_contacts(contacts: Sequence[Contact], *, hint: str) -> None:
    """Raise `NoPeer` where none of the peers lets the node in; `hint` is for one whose member they know."""
    if all(contact.reason for contact in contacts):
        is_stranger = any(_WORDS.get(contact.reason) == _UNKNOWN_CA for contact in contacts)
        raise NoPeer(
            "no peer lets this node in",
            expected="one at least",
            got=", ".join(contact.reason for contact in contacts),
            hint=NO_MEMBER_HINT if is_stranger else hint,
        )


def _known(peer: PeerText, genesis: Genesis) -> tuple[str | None, str | None]:
    """Return name and member as the operator or genesis says them, for a peer that does not answer."""
    for node in genesis.validators:
        if node.name == peer.name or (peer.name is None and node.address == peer.address):
            return node.name, node.member
    return peer.name, peer.member or peer.name
