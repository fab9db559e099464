"""Names for the plain values that travel through every layer, so that the type checker tells them apart."""

from __future__ import annotations

from typing import NewType

Hash = NewType("Hash", bytes)
"""32 bytes: SHA-256."""

EventId = Hash
"""32 bytes: the RFC 6962 leaf hash of an event."""

MemberId = NewType("MemberId", str)
"""An organisation of the consortium, such as `bank-a`."""

SourceKey = NewType("SourceKey", bytes)
"""32 bytes: the Ed25519 public key that signs a source's batches."""

Height = NewType("Height", int)
View = NewType("View", int)
Epoch = NewType("Epoch", int)

TimeMs = NewType("TimeMs", int)
"""Milliseconds since 1970-01-01T00:00:00Z, leap seconds left out."""

HASH_BYTES = 32
ZERO_HASH = Hash(bytes(HASH_BYTES))
