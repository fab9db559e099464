"""Which products' certificates end in a span of time, for forecasts. Not here: what one is worth.

A forecast looks at every certificate there is, and needs four fields of each: only these are decoded.
"""

from __future__ import annotations

from typing import Final

import msgspec

from ledger.certificate_records import State
from ledger.state import StateSource
from primitives.errors import StorageError

SCANNED_MAX: Final = 200_000
"""Certificates that are looked at for one answer."""
_PREFIX: Final = b"certificate/"
_LIVE: Final = frozenset({State.ACTIVE.value, State.SUSPENDED.value})


class CertificateEnd(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The first fields of a `Certificate`, those in between unread: who holds it, and until when it is valid."""

    number: str
    application: msgspec.Raw
    holder: str
    holder_name: msgspec.Raw
    product: msgspec.Raw
    category: msgspec.Raw
    catalogue: msgspec.Raw
    body: msgspec.Raw
    state: str
    since_ms: msgspec.Raw
    version: msgspec.Raw
    valid_from_ms: msgspec.Raw
    valid_until_ms: int


_decode = msgspec.msgpack.Decoder(CertificateEnd).decode


def ending_certificates(state: StateSource, from_ms: int, until_ms: int) -> tuple[list[CertificateEnd], bool]:
    """Return the certificates whose validity ends after `from_ms` and not after `until_ms`, the first to end first.

    Those that were revoked or cancelled are left out. The second value says whether all certificates were looked at.
    Raises StorageError for a row that is no certificate.
    """
    found, looked_at = list[CertificateEnd](), 0
    for key, raw in state.raw_scan(_PREFIX):
        looked_at += 1
        if looked_at > SCANNED_MAX:
            break
        try:
            row = _decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise StorageError("row of the store damaged", where=f"state, {key!r}", got=error) from None
        if from_ms < row.valid_until_ms <= until_ms and row.state in _LIVE:
            found.append(row)
    return sorted(found, key=lambda row: (row.valid_until_ms, row.number)), looked_at <= SCANNED_MAX
