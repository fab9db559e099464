"""Names for the plain values that travel through every layer, so that the type checker tells them apart.

The lengths of hashes and keys are part of their types: decoding a record refuses any other length.
"""

from __future__ import annotations

from typing import Annotated, NewType

import msgspec

HASH_BYTES = 32
_ThirtyTwoBytes = Annotated[bytes, msgspec.Meta(min_length=HASH_BYTES, max_length=HASH_BYTES)]

Hash = NewType("Hash", _ThirtyTwoBytes)
"""32 bytes: SHA-256."""

EventId = Hash
"""32 bytes: the RFC 6962 leaf hash of an event."""

MemberId = NewType("MemberId", str)
"""An organisation of the consortium, such as `bank-a`."""

SourceKey = NewType("SourceKey", _ThirtyTwoBytes)
"""32 bytes: the Ed25519 public key that signs a source's batches."""

Height = NewType("Height", int)
View = NewType("View", int)
Epoch = NewType("Epoch", int)

TimeMs = NewType("TimeMs", int)
"""Milliseconds since 1970-01-01T00:00:00Z, leap seconds left out."""

ZERO_HASH = Hash(bytes(HASH_BYTES))
