"""Which certificates take part in a draw, and with which weight: all as of the block that closed its commitments.

Who has seen the reveals knows what will be selected, so nothing that happens to certificates after the closing may
count: no grant of a fitting number, no suspension or finding. Instead of a copy of all certificates the state keeps
what those were like that change while a draw is closed and not finished (`keep_standings`, with every event). And a
draw looks at certificates step by step, some thousands at a time: no block is slow however many there are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from typing import Final

import msgspec

from ledger.certificate_records import Certificate, State, certificate_key
from ledger.inspection_records import (
    CertificateInspections,
    Drawn,
    Inspection,
    Kept,
    Standing,
    inspections_key,
    kept_key,
    read_certificate_inspections,
    read_open,
)
from ledger.inspection_replay import Candidate
from ledger.inspection_selection import lowest_ticket, risk_of
from ledger.scheme_records import CertificateScheme, certificate_scheme_key, read_certificate_scheme
from ledger.state import StateGetter, StateSource, StateView, Transaction, key_bytes
from primitives.encoding import decode
from primitives.errors import StorageError

RECORD_SIZE_MAX: Final = 1 << 20
_CERTIFICATES: Final = b"certificate/"
_SCHEMES: Final = b"certificate-scheme/"
_INSPECTIONS: Final = b"certificate-inspections/"
_KEPT: Final = b"inspection-kept/"
_WATCHED: Final = (_CERTIFICATES, _SCHEMES, _INSPECTIONS)


class _Certificate(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The fields of a `Certificate` that a draw looks at, the others unread."""

    number: str
    application: msgspec.Raw
    holder: msgspec.Raw
    holder_name: msgspec.Raw
    product: msgspec.Raw
    category: int
    catalogue: msgspec.Raw
    body: msgspec.Raw
    state: str
    since_ms: msgspec.Raw
    version: msgspec.Raw
    valid_from_ms: int
    valid_until_ms: int
    suspension: msgspec.Raw
    revocation: msgspec.Raw
    predecessor: msgspec.Raw
    successor: msgspec.Raw
    evidence: msgspec.Raw
    corrections: msgspec.Raw


_decode_certificate = msgspec.msgpack.Decoder(_Certificate).decode
_NOTHING: Final = b"\x90"  # an empty list


def keep_standings(after: Transaction, before: StateView, height: int) -> None:
    """Keep what the certificates that an event changes were like, for draws that were closed below its block.

    `before` is the state before the event, `after` the changes of the event, which this adds to.
    """
    numbers = sorted({key.partition(b"/")[2].decode() for key in after.changes if key.startswith(_WATCHED)})
    if not numbers:
        return
    closings = sorted(item.height for item in read_open(before).draws if item.height < height)
    if not closings:
        return
    for number in numbers:
        kept = before.get(kept_key(number), Kept)
        standings = () if kept is None else _needed(kept.standings, closings)
        covered = standings[-1].until_height if standings else -1
        if closings[-1] > covered:
            active, risk = _standing_in(before, number)
            after.put(kept_key(number), Kept((*standings, Standing(height - 1, active, risk))))


def _needed(standings: Iterable[Standing], closings: Collection[int]) -> tuple[Standing, ...]:
    """Return of what is kept, ascending by height, what a draw that was closed at one of these heights looks at.

    At most one for each draw: while one draw waits for its reveals, others may come and go without end.
    """
    found, below = list[Standing](), -1
    for standing in standings:
        if any(below < height <= standing.until_height for height in closings):
            found.append(standing)
        below = standing.until_height
    return tuple(found)


def _standing_in(state: StateSource, number: str) -> tuple[bool, int]:
    """Return (whether a certificate's record is active, its risk); (False, 0) where there is none."""
    raw = state.raw(key_bytes(certificate_key(number)))
    if raw is None:
        return False, 0
    scheme = state.raw(key_bytes(certificate_scheme_key(number)))
    certificate = _certificate_of(raw)
    inspections = state.raw(key_bytes(inspections_key(number)))
    return certificate.state == State.ACTIVE, _risk(certificate, scheme, inspections)


def _certificate_of(raw: bytes) -> _Certificate:
    try:
        return _decode_certificate(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise StorageError("row of the store damaged", where="state, a certificate", got=error) from None


def _risk(certificate: _Certificate, scheme: bytes | None, inspections: bytes | None) -> int:
    """Return a certificate's risk by what stands beside it."""
    surveillance = None if scheme is None else decode(CertificateScheme, scheme, size_max=RECORD_SIZE_MAX).surveillance
    fared = None if inspections is None else decode(CertificateInspections, inspections, size_max=RECORD_SIZE_MAX)
    return risk_of(
        failed_surveillance=surveillance is not None and not surveillance.passed,
        failed_inspection=fared is not None and not fared.last_passed,
        open_findings=fared is not None and fared.open > 0,
        was_suspended=bytes(certificate.corrections) != _NOTHING,
    )


def candidate_at(state: StateGetter, number: str, time_ms: int) -> Candidate | None:
    """Return a certificate as a draw sees it that was closed by the block after which `state` stands, at its time.

    None where it takes part in no draw. Reads single keys, so the state of any height will do.
    """
    certificate = state.get(certificate_key(number), Certificate)
    if certificate is None or certificate.state is not State.ACTIVE:
        return None
    if not certificate.valid_from_ms <= time_ms < certificate.valid_until_ms:
        return None
    surveillance = read_certificate_scheme(state, number).surveillance
    fared = read_certificate_inspections(state, number)
    risk = risk_of(
        failed_surveillance=surveillance is not None and not surveillance.passed,
        failed_inspection=not fared.last_passed,
        open_findings=fared.open > 0,
        was_suspended=bool(certificate.corrections),
    )
    return Candidate(number, certificate.category, risk)


def next_candidates(
    state: StateSource, draw: Inspection, others: tuple[int, ...], most: int
) -> tuple[list[Drawn], list[str], dict[str, Kept | None]]:
    """Return (the next certificates that take part, the numbers of all looked at, kept rows as they become).

    At most `most` certificates after the draw's cursor are looked at, ascending by number; fewer only at the end.
    `others` are the heights of the other draws that are closed and not finished: for those, what is kept stays.
    """
    assert draw.closing is not None
    assert draw.seed is not None
    weights = {item.category: item.weight for item in draw.categories}
    closed_ms = draw.closing.time_ms
    start = _CERTIFICATES + draw.cursor.encode() + b"\0" if draw.cursor else None
    found = list(islice(state.raw_scan(_CERTIFICATES, None, start), most))
    numbers = [key.removeprefix(_CERTIFICATES).decode() for key, _ in found]
    if not numbers:
        return [], [], {}
    beside = {prefix: _rows_between(state, prefix, numbers[0], numbers[-1]) for prefix in (_SCHEMES, _INSPECTIONS)}
    kept = _rows_between(state, _KEPT, numbers[0], numbers[-1])
    drawn, changed = list[Drawn](), dict[str, Kept | None]()
    for number, (_, raw) in zip(numbers, found, strict=True):
        certificate = _certificate_of(raw)
        standing = None
        if (row := kept.get(number)) is not None:
            standings = decode(Kept, row, size_max=RECORD_SIZE_MAX).standings
            standing = next((s for s in standings if s.until_height >= draw.closing.height), None)
            needed = _needed(standings, others)
            changed[number] = Kept(needed) if needed else None
        weight = weights.get(certificate.category)
        active = certificate.state == State.ACTIVE if standing is None else standing.active
        if weight is None or not active or not certificate.valid_from_ms <= closed_ms < certificate.valid_until_ms:
            continue
        if standing is not None:
            risk = standing.risk
        else:
            risk = _risk(certificate, beside[_SCHEMES].get(number), beside[_INSPECTIONS].get(number))
        ticket = lowest_ticket(draw.seed, number, weight * risk)
        drawn.append(Drawn(number, certificate.category, risk, weight * risk, ticket))
    return drawn, numbers, changed


def _rows_between(state: StateSource, prefix: bytes, first: str, last: str) -> dict[str, bytes]:
    pairs: Iterator[tuple[bytes, bytes]] = state.raw_scan(
        prefix, prefix + last.encode() + b"\0", prefix + first.encode()
    )
    return {key.removeprefix(prefix).decode(): raw for key, raw in pairs}
