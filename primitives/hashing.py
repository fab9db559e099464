"""Hashes and the statements that signatures cover, each under a domain tag of its own.

A tag keeps a signature or hash made for one purpose from standing for another (a PREPARE replayed as a COMMIT). Suite 1
is SHA-256 with Ed25519; the number goes with every header so that another suite can be added at a height.
"""

from __future__ import annotations

from hashlib import sha256

from primitives.encoding import encode
from primitives.ids import Hash

SUITE = 1
PROTOCOL_VERSION = 1
"""The newest version of the messages between nodes that this release speaks."""

PROTOCOL_OLDEST = 1
"""The oldest one that it still speaks: two nodes use the newest that both know."""

RULES_FIRST = 1
"""The version of the rules by which every chain begins; which one a block carries is the chain's (`ledger.rules`)."""

DOMAIN = b"chainnode/v1/"


def domain_hash(tag: str, data: bytes) -> Hash:
    """Return SHA-256 of the domain, `tag`, a zero byte and `data`."""
    return Hash(sha256(DOMAIN + tag.encode() + b"\0" + data).digest())


def statement(tag: str, *fields: object) -> bytes:
    """Return the bytes that a signature covers: the domain, `tag`, a zero byte and the fields' canonical bytes."""
    return DOMAIN + tag.encode() + b"\0" + encode(fields)


def leaf_hash(leaf: bytes) -> Hash:
    """Return the RFC 6962 hash of a leaf's bytes."""
    return Hash(sha256(b"\0" + leaf).digest())


def node_hash(left: bytes, right: bytes) -> Hash:
    """Return the RFC 6962 hash of an inner node."""
    return Hash(sha256(b"\1" + left + right).digest())
