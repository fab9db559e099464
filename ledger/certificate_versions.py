"""What a certificate was worth at many times at once: each version of its record, and what they say together.

A payment names its terminal's certificate, and thousands name the same: so its versions are read once, from the newest
back to the grant, and each time is judged by them. Not here: a single height or time with its proof
(`ledger.status_proofs`), the list of the events that made the versions (`ledger.certificate_history`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ledger.base import NotHere
from ledger.certificate_reading import CertificatesAsOf
from ledger.certificate_records import Certificate, CertificateStatus, Status, status_at
from ledger.reader import LedgerReader
from primitives.errors import InputError

VERSIONS_MAX: Final = 4_096
"""Blocks that changed one certificate: by the rules of its life a few dozen in three years, appeals included."""


class TooManyVersions(InputError):
    """A certificate changed in more blocks than are looked at together."""

    reason = "too_many_versions"


@dataclass(frozen=True, slots=True)
class Versions:
    """The versions of a certificate's record as blocks left them, oldest first, each with its block's height."""

    heights: Sequence[int]
    records: Sequence[Certificate]

    def known_at(self, height: int) -> Versions:
        """Return those that were there after the block at a height: what the chain knew then."""
        count = bisect_right(self.heights, height)
        return Versions(self.heights[:count], self.records[:count])

    def status_at(self, time_ms: int) -> CertificateStatus | None:
        """Return what they say of a time, or None for one at which there was no such certificate.

        The newest speaks first, since a revocation may name an earlier time from which the certificate counts as
        invalid; of every other time, the version that was the newest then. Before the grant there is no certificate,
        unless its term had yet to begin. None too where the version of that time is not here.
        """
        if not self.records:
            return None
        newest = self.records[-1]
        if newest.revocation is not None and time_ms >= newest.revocation.invalid_from_ms:
            return status_at(newest, time_ms)
        number = bisect_right([record.history.changed_ms for record in self.records], time_ms) - 1
        if number >= 0:
            return status_at(self.records[number], time_ms)
        first = self.records[0]
        if time_ms < first.valid_from_ms:
            return CertificateStatus(Status.NOT_YET_VALID, time_ms, None, first.valid_from_ms)
        return None


NO_VERSIONS: Final = Versions((), ())
"""Of a number under which nothing was granted."""


def read_versions(reader: LedgerReader, number: str, height: int) -> Versions:
    """Return the versions of a certificate up to the block at a height, which must exist; none where there is none.

    The oldest is the one that stood at the store's base, as if it had begun there, where its block is before that.
    Raises TooManyVersions, and StorageError where a row is damaged.
    """
    heights: list[int] = []
    records: list[Certificate] = []
    while height >= 0:
        header = reader.header(height)
        record = None if header is None else CertificatesAsOf(reader, header).record(number)
        if record is None:
            break
        try:
            block = reader.height_at_time(record.history.changed_ms)
        except NotHere:
            block = reader.base()
        assert block is not None, "a record changes with a block"
        changed = int(block)
        heights.append(changed)
        records.append(record)
        if len(records) > VERSIONS_MAX:
            raise TooManyVersions(
                "a certificate changed too often", expected=f"at most {VERSIONS_MAX} times", got=number
            )
        height = changed - 1
        if height < reader.base():
            break
    return Versions(heights[::-1], records[::-1])
