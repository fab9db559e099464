"""What the index keeps so that certificates are found by what stands in them: facets, and a column of their texts.

A facet is a property with few values: rows in the order of certificates' numbers lead from it to those that have it.
Names of holders and products are searched for parts, which no order helps with: they stand packed one after another, so
that all texts of 100,000 certificates are looked through in some hundredths of a second. Both may name more
certificates than they should, never fewer: whoever searches holds the record against what was asked for
(`ledger.certificate_search`). So a facet stays when a state ends, and what an answer is as of does not hang on the
moment of indexing. What a facet is made of stands in the record for good once the certificate is there.

Rows; they belong to the index (`ledger.indexes`), which is rebuilt from the log, and to no consensus:

    c  certificate number                    granted certificates; value: a height (6 bytes), the application
    h  holder, 0, certificate number         granted certificates by holder
    f  facet, value, 0, certificate number   granted certificates by facet; values empty
    x  chunk                                 texts of granted certificates, by line: number, tab, text
    t  time (8 bytes, ms)                    when a term of a granted certificate begins or ends; values empty
    v  height (6 bytes)                      blocks that may have changed certificates; values empty

The height beside an application is not above that of the grant, so that a list of the past passes over what came later
without reading it. With the last rows a list can tell that it is the same as at an earlier block and time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from enum import Enum
from heapq import merge
from itertools import groupby
from typing import NamedTuple
from unicodedata import normalize

from ledger import rows
from ledger.certificate_bodies import (
    NUMBER_PATTERN,
    Appeal,
    ApplyChange,
    Cancel,
    Extend,
    Grant,
    Product,
    Reduce,
    Reissue,
    Renew,
    Restore,
    Revoke,
    Suspend,
)
from ledger.certificate_records import Certificate, State
from ledger.scheme_records import CertificateScheme
from ledger.store import Put, Store, prefix_stop
from ledger.times import format_time
from primitives.encoding import Record

CHUNK_BYTES = 16_384
"""A chunk takes no further text from this size on: the last one is written again with each grant."""
_CHUNK_PREFIX = b"x"
_CHUNK_NUMBER_BYTES = 4
_FACET_PREFIX = b"f"
_NUMBERS = re.compile(NUMBER_PATTERN.removeprefix(r"\A").removesuffix(r"\Z").encode())
_MONTH_CHARACTERS = len("2026-01")
_HEIGHT_BYTES = 6
_TIME_BYTES = 8
_TERM_PREFIX = b"t"
_CHANGED_PREFIX = b"v"


class Facet(Enum):
    """The properties by which certificates are found, each with the byte that stands for it in keys."""

    HOLDER_ID = b"i"
    CATEGORY = b"g"
    FROM_MONTH = b"v"
    UNTIL_MONTH = b"u"
    STATE = b"z"


FACETED_STATES = (State.SUSPENDED, State.REVOKED, State.CANCELLED)
"""The states that few certificates are in. A certificate has the facet of each that it ever was in."""


class Numbers(NamedTuple):
    """Which part of a list in the order of numbers: those that begin so, beyond one, and in which direction.

    With a height none that was granted later, but for some that the block of their grant names.
    """

    begins: str = ""
    after: str | None = None
    descending: bool = False
    height: int | None = None


def certificate_row_key(number: str) -> bytes:
    """Return the key of the row of a granted certificate."""
    return b"c" + number.encode()


def holder_prefix(holder: str) -> bytes:
    """Return the prefix of the rows of a holder's certificates."""
    return b"h" + holder.encode() + b"\0"


def facet_prefix(facet: Facet, value: str) -> bytes:
    """Return the prefix of the rows of a facet's value."""
    return _FACET_PREFIX + facet.value + value.encode() + b"\0"


def month_of(time_ms: int) -> str:
    """Return the month of a time, in UTC, as facets have it."""
    return format_time(time_ms)[:_MONTH_CHARACTERS]


def category_value(category: int) -> str:
    """Return a category as facets have it."""
    return f"{category:02d}"


def folded(text: str) -> str:
    """Return a text as it is searched: without difference of case, and of the widths that East Asian letters have."""
    return normalize("NFKC", normalize("NFKC", text).casefold())


def name_text(holder_name: str) -> str:
    """Return what a search for a holder's name looks at."""
    return folded(holder_name)


def product_text(product: Product) -> str:
    """Return what a search for a product looks at: its name, model and version."""
    return folded(f"{product.name} {product.model} {product.version}")


def numbers_in(body: bytes) -> Iterator[str]:
    """Yield what looks like certificates' numbers in an event's body, of whatever kind: any kind may change one."""
    return (found.decode() for found in _NUMBERS.findall(body))


def granted_rows(number: str, application: str, holder: str, height: int) -> list[Put]:
    """Return the rows of a certificate that is granted in a block or later, under its number and its holder."""
    value = height.to_bytes(_HEIGHT_BYTES, "big") + application.encode()
    return [(certificate_row_key(number), value), (holder_prefix(holder) + number.encode(), b"")]


def application_in(value: bytes) -> str:
    """Return the application that the row of a granted certificate names."""
    return value[_HEIGHT_BYTES:].decode()


def _is_granted_by(value: bytes | None, height: int) -> bool:
    return value is not None and int.from_bytes(value[:_HEIGHT_BYTES], "big") <= height


def changed_row(height: int) -> Put:
    """Return the row of a block that may have changed certificates."""
    return _CHANGED_PREFIX + height.to_bytes(_HEIGHT_BYTES, "big"), b""


def last_change(store: Store, height: int) -> int:
    """Return the last block up to a height that may have changed certificates, 0 where there is none."""
    return _last(store, _CHANGED_PREFIX, _HEIGHT_BYTES, height)


def last_turn(store: Store, time_ms: int) -> int:
    """Return the last time up to one at which a term began or ended, 0 where there is none."""
    return _last(store, _TERM_PREFIX, _TIME_BYTES, time_ms)


def _last(store: Store, prefix: bytes, size: int, number: int) -> int:
    for key, _ in store.iterate(prefix, prefix + (number + 1).to_bytes(size, "big"), reverse=True):
        return int.from_bytes(key[len(prefix) :], "big")
    return 0


def facet_rows(certificate: Certificate, scheme: CertificateScheme) -> list[Put]:
    """Return the rows of what stays in a certificate's record."""
    facets = [
        (Facet.CATEGORY, category_value(certificate.category)),
        (Facet.FROM_MONTH, month_of(certificate.valid_from_ms)),
        (Facet.UNTIL_MONTH, month_of(certificate.valid_until_ms)),
    ]
    if scheme.holder_id:
        facets.append((Facet.HOLDER_ID, scheme.holder_id))
    number = certificate.number.encode()
    turns = (certificate.valid_from_ms, certificate.valid_until_ms)
    puts: list[Put] = [(_TERM_PREFIX + max(0, turn).to_bytes(_TIME_BYTES, "big"), b"") for turn in turns]
    return puts + [(facet_prefix(facet, value) + number, b"") for facet, value in facets]


def state_rows(number: str, state: State) -> list[Put]:
    """Return the row of a state that a certificate is in, where that has one."""
    if state not in FACETED_STATES:
        return []
    return [(facet_prefix(Facet.STATE, state.value) + number.encode(), b"")]


_STATES_AFTER: dict[type[Record], State] = {
    Suspend: State.SUSPENDED,
    Revoke: State.REVOKED,
    Cancel: State.CANCELLED,
    **dict.fromkeys((Grant, Renew, ApplyChange, Extend, Restore, Reduce, Reissue, Appeal), State.ACTIVE),
}


def state_after(body_type: type[Record] | None) -> State | None:
    """Return the state in which an applied event leaves its certificate, or `active` where that is none with a facet.

    None where only the certificate itself tells, as after every other kind of event.
    """
    bases = () if body_type is None else body_type.__mro__
    return next((_STATES_AFTER[base] for base in bases if base in _STATES_AFTER), None)


class CertificateRows:
    """Gathers the rows of certificates that blocks changed, on top of a store that has those of all blocks before.

    One gathers for one write: what it gathered counts for later blocks, and is forgotten with it.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: set[str] = set()
        self._chunk: tuple[int, bytes] | None = None

    def is_new(self, number: str) -> bool:
        """Say whether a certificate has no rows yet."""
        return number not in self._known and self._store.get(certificate_row_key(number)) is None

    def granted(self, certificate: Certificate, scheme: CertificateScheme, height: int) -> list[Put]:
        """Return the rows of a certificate that a block is the first to name, but for that of its state."""
        number = certificate.number
        self._known.add(number)
        puts = granted_rows(number, certificate.application, certificate.holder, height)
        puts += facet_rows(certificate, scheme)
        line = f"{number}\t{name_text(certificate.holder_name)}\t{product_text(certificate.product)}\n"
        puts.append(self._with_text(line.encode()))
        return puts

    def _with_text(self, line: bytes) -> Put:
        """Return the row of the last chunk with another line, or of the next one."""
        number, chunk = self._last_chunk() if self._chunk is None else self._chunk
        if len(chunk) >= CHUNK_BYTES:
            number, chunk = number + 1, b""
        self._chunk = number, chunk + line
        return _chunk_key(number), self._chunk[1]

    def _last_chunk(self) -> tuple[int, bytes]:
        for key, chunk in self._store.iterate(*rows.all_of(_CHUNK_PREFIX), reverse=True):
            return int.from_bytes(key[1:], "big"), chunk
        return 0, b""


def _chunk_key(number: int) -> bytes:
    return _CHUNK_PREFIX + number.to_bytes(_CHUNK_NUMBER_BYTES, "big")


def numbers_under(store: Store, prefix: bytes, numbers: Numbers) -> Iterator[str]:
    """Yield the numbers of rows under a prefix."""
    start = prefix + numbers.begins.encode()
    stop = prefix_stop(start)
    if numbers.after is not None:
        beyond = prefix + numbers.after.encode()
        start, stop = (start, min(stop, beyond)) if numbers.descending else (max(start, beyond + b"\0"), stop)
    holds_heights, height = prefix == certificate_row_key(""), numbers.height
    for key, value in store.iterate(start, stop, reverse=numbers.descending):
        number = key[len(prefix) :].decode()
        if height is not None:
            row = value if holds_heights else store.get(certificate_row_key(number))
            if not _is_granted_by(row, height):
                continue
        yield number


def numbers_by_facet(store: Store, facet: Facet, values: Iterable[str], numbers: Numbers) -> Iterator[str]:
    """Yield the numbers of the certificates that have any of these values of a facet, each once, in their order."""
    found = [numbers_under(store, facet_prefix(facet, value), numbers) for value in values]
    return (number for number, _ in groupby(merge(*found, reverse=numbers.descending)))


def numbers_by_text(store: Store, text: str, numbers: Numbers) -> list[str]:
    """Return the numbers of the certificates in whose texts this folded text stands, in their order."""
    found = {number for number in _with_text(store, text.encode()) if _is_within(number, numbers)}
    if numbers.height is not None:
        rows_of = ((number, store.get(certificate_row_key(number))) for number in found)
        found = {number for number, row in rows_of if _is_granted_by(row, numbers.height)}
    return sorted(found, reverse=numbers.descending)


def _with_text(store: Store, needle: bytes) -> Iterator[str]:
    for _, chunk in store.iterate(*rows.all_of(_CHUNK_PREFIX)):
        at = chunk.find(needle)
        while at >= 0:
            start = chunk.rfind(b"\n", 0, at) + 1
            yield chunk[start : chunk.index(b"\t", start)].decode()
            at = chunk.find(needle, chunk.index(b"\n", at))


def _is_within(number: str, numbers: Numbers) -> bool:
    if not number.startswith(numbers.begins):
        return False
    after = numbers.after
    return after is None or (number < after if numbers.descending else number > after)
