"""Certificates as a block left them, with what the scheme keeps beside: one at a time, or many in their order.

The present rows answer for every certificate that did not change since that block, as its record says itself; only for
the others is the state of then looked up. Pure; it only reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from ledger import rows
from ledger.certificate_bodies import Product
from ledger.certificate_records import Certificate, certificate_key
from ledger.reader import LedgerReader
from ledger.scheme_records import CertificateScheme, certificate_scheme_key, empty_certificate_scheme
from primitives.block import BlockHeader
from primitives.errors import StorageError

T = TypeVar("T")
OTHERS_MAX: Final = 16
"""So many others between some certificates, and as many as they are, are read with them rather than each alone."""


class Found(NamedTuple):
    """A certificate with what stands beside it."""

    certificate: Certificate
    scheme: CertificateScheme


class Glance(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The first fields of a `Certificate`, of which none changes once it is granted but its state, here unread."""

    number: str
    application: msgspec.Raw
    holder: str
    holder_name: str
    product: Product
    category: int
    catalogue: int
    body: msgspec.Raw
    state: msgspec.Raw
    since_ms: msgspec.Raw
    version: msgspec.Raw
    valid_from_ms: int
    valid_until_ms: int


Passes = Callable[[Glance], bool]
"""Whether a certificate is worth reading in full, by what never changes in it."""


def _any(_glance: Glance) -> bool:
    return True


class CertificatesAsOf:
    """The certificates as of a block. `past` counts how often the state of then had to be looked up."""

    def __init__(self, reader: LedgerReader, header: BlockHeader) -> None:
        self._reader = reader
        self._header = header
        self.past = 0

    @property
    def time_ms(self) -> int:
        """The block's time."""
        return int(self._header.time_ms)

    def find(self, number: str, passes: Passes = _any) -> Found | None:
        """Return a certificate; None where there was none, or it does not pass. StorageError where a row is damaged."""
        # What stands beside first: it changes with the certificate alone, so if that one is as of then, both are.
        scheme = self._present(certificate_scheme_key(number))
        certificate = self._present(certificate_key(number))
        return None if certificate is None else self._as_of(number, certificate, scheme, passes)

    def record(self, number: str) -> Certificate | None:
        """Return a certificate's record alone; None and errors as `find`."""
        raw = self._present(certificate_key(number))
        certificate = None if raw is None else _decoded(Certificate, raw, number)
        if certificate is None or certificate.history.changed_ms <= self._header.time_ms:
            return certificate
        then = self._past(certificate_key(number))
        return None if then is None else _decoded(Certificate, then, number)

    def find_each(self, numbers: Sequence[str], passes: Passes = _any) -> Iterator[tuple[str, Found | None]]:
        """Yield certificates with their numbers as `find` does: some hundreds, best with few others between them.

        Their present rows are read as one range, which is much faster; what else it takes, as they are asked for. Where
        many others stand between them, each is read by itself.
        """
        first, last = min(numbers), max(numbers)
        most = OTHERS_MAX + 2 * len(numbers)
        schemes = dict(islice(self._scan(certificate_scheme_key, first, last), most))
        present = dict(islice(self._scan(certificate_key, first, last), most))
        if max(len(present), len(schemes)) == most:
            yield from ((number, self.find(number, passes)) for number in numbers)
            return
        for number in numbers:
            raw = present.get(number)
            yield number, None if raw is None else self._as_of(number, raw, schemes.get(number), passes)

    def _as_of(self, number: str, raw: bytes, beside: bytes | None, passes: Passes) -> Found | None:
        if passes is not _any and not passes(_decoded(Glance, raw, number)):
            return None
        certificate = _decoded(Certificate, raw, number)
        if certificate.history.changed_ms <= self._header.time_ms:
            scheme = None if beside is None else _decoded(CertificateScheme, beside, number)
            return Found(certificate, scheme or empty_certificate_scheme(number))
        self.past += 1
        then = self._past(certificate_key(number))
        if then is None:
            return None
        beside = self._past(certificate_scheme_key(number))
        scheme = None if beside is None else _decoded(CertificateScheme, beside, number)
        return Found(_decoded(Certificate, then, number), scheme or empty_certificate_scheme(number))

    def _present(self, key: str) -> bytes | None:
        return self._reader.store.get(rows.state_row_key(key.encode()))

    def _past(self, key: str) -> bytes | None:
        value = self._reader.state_value(key, self._header.height)
        assert value is not None, "the block of this reading is there"
        return value.value

    def _scan(self, key_of: Callable[[str], str], first: str, last: str) -> Iterator[tuple[str, bytes]]:
        start, stop = (rows.state_row_key(key_of(number).encode()) for number in (first, last))
        before = len(rows.state_row_key(key_of("").encode()))
        for key, raw in self._reader.store.iterate(start, stop + b"\0"):
            yield key[before:].decode(), raw


_DECODERS: dict[type[Any], msgspec.msgpack.Decoder[Any]] = {  # Any: each gives its own type
    type_: msgspec.msgpack.Decoder(type_) for type_ in (Glance, Certificate, CertificateScheme)
}


def _decoded(type_: type[T], raw: bytes, number: str) -> T:
    try:
        return _DECODERS[type_].decode(raw)  # type: ignore[no-any-return]  # the decoder is of this type
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise StorageError("row of the store damaged", where=f"state, certificate {number}", got=error) from None
